//! Training steps of this project and of the frameworks that are installed, timed in turn.
//!
//! Each figure is from a process of its own, and the processes alternate: this program, then every peer, and over again,
//! so that a drift of the machine's speed favours nobody. The peers are `peers/steps.py`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use autodiff::kernels::{Kernel, Lanes};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::engine::lock::Lock;
use crate::engine::provenance::{self, DataSet, Provenance};
use crate::engine::tell;
use crate::methods::{Kind, Method};
use crate::report::Report;
use crate::results::{Column, Header, Protocol, Table};
use crate::stats;
use crate::timing::{Timed, WORKLOADS};

/// The program that steps the peers, so that a built binary needs no file beside it.
const SCRIPT: &str = include_str!("../peers/steps.py");
/// Its exit status where a framework is not installed.
const NOT_INSTALLED: i32 = 3;
/// Peers, by the name that the script knows them by and that readers do.
const PEERS: [(&str, &str); 3] = [
    ("torch", "PyTorch"),
    ("torch-compile", "torch.compile"),
    ("jax", "JAX"),
];
/// This project among the engines.
const OURS: &str = "autodiff";
/// In what the work differs, whomever it favours.
const NOT_ALIKE: [&str; 6] = [
    "Regression: ours multiplies W1·W2 first, with about half of the operations of the peers' W1·(W2·x).",
    "Convolutions: ours makes most of stride 1 by Winograd's minimal filtering, with a quarter (3×3) or 36 % (5×5) of the \
     multiplications of a direct one, and several times its rounding error; the peers choose their own algorithms. Products of ours \
     skip zeros where half of an operand is 0, as behind ReLU and dropout. So a step of ours can be faster than the peak allows for all \
     multiplications.",
    "PyTorch has no L4Adam: its columns have one of `_foreach` calls, which torch.compile (in its default mode) compiles apart from the \
     loss and its gradient. JAX compiles the whole step as one.",
    "Ours prepares its minibatch within the step, for ResNet-32 with crop, flip and standardising; the peers' lie ready.",
    "JAX's batch normalisation keeps no running statistics.",
    "A process's figure is the median of 6 (resnet32), 12 (convnet), 40 (dnc), 400 (mlp) or 2,000 (regression) steps of a peer, of ours \
     of a few seconds, after a warm-up in which torch.compile and JAX compile. On Linux a peer has as many processors as it has threads.",
];
/// What is large enough to be shared out among threads.
const SHARED_OUT: [Timed; 2] = [Timed::Convnet, Timed::Resnet32];

/// What to compare.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Python with the peers in it.
    pub python: &'a Path,
    /// Threads of every engine, on the workloads that are large enough, beside one thread on all.
    pub threads: u16,
    /// Processes of each engine and workload.
    pub rounds: u32,
    /// Directory for the tables.
    pub out: &'a Path,
}

/// Figures of one engine on one workload, one a round.
#[derive(Clone, Debug, Default)]
struct Measured {
    /// Median milliseconds a step of each process.
    step_ms: Vec<f64>,
    /// Peak memory of each process, less what importing took.
    memory: Vec<f64>,
}

/// A workload on so many threads, by all engines.
#[derive(Clone, Debug)]
struct Row {
    workload: Timed,
    threads: u16,
    /// In the order of the engines.
    measured: Vec<Measured>,
}

/// All figures.
#[derive(Debug)]
struct Comparison {
    rounds: u32,
    /// Multiply-adds on registers alone, in GFLOP/s on one thread, before each round.
    peaks: Vec<f64>,
    /// By the names of [`PEERS`], ours first; the version of each peer.
    engines: Vec<(&'static str, Option<String>)>,
    rows: Vec<Row>,
    /// Sentences on the peers that are not there, that failed, or whose loss was no number.
    left_out: Vec<String>,
}

/// Times all workloads of all engines, and writes and shows the tables `train_step` (times) and `memory`. A peer that fails on the way
/// is without that figure, and the tables say so.
///
/// # Errors
/// If the directory cannot be written or is in use, this program's own steps fail, or Python does not answer.
pub fn compare(settings: Settings<'_>) -> Result<()> {
    let (out, started) = (settings.out, SystemTime::now());
    std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let _lock = Lock::of_results(out)?;
    let mut comparison = Comparison::of_installed(settings)?;
    for round in 1..=settings.rounds {
        comparison.peaks.push(peak());
        for row in 0..comparison.rows.len() {
            let Row {
                workload, threads, ..
            } = comparison.rows[row];
            let (name, rounds) = (workload.name(), settings.rounds);
            tell(&format!(
                "round {round} of {rounds}: {name}, threads: {threads}"
            ));
            for engine in 0..comparison.engines.len() {
                comparison.time(row, engine, settings.python)?;
            }
        }
    }
    comparison.report(out, started)
}

impl Measured {
    fn add(&mut self, line: &Value) -> Result<()> {
        let number = |name: &str| line[name].as_f64();
        self.step_ms
            .push(number("step_ms").ok_or_else(|| anyhow!("no step_ms"))?);
        if let Some(peak) = number("peak_memory_bytes") {
            self.memory
                .push(peak - number("import_memory_bytes").unwrap_or(0.0));
        }
        Ok(())
    }
}

impl Row {
    /// How many times our time the fastest peer takes.
    fn ratio(&self) -> Option<f64> {
        let median = |measured: &Measured| stats::median(&measured.step_ms);
        let ours = median(&self.measured[0])?;
        let peers = self.measured[1..].iter().filter_map(median);
        peers.reduce(f64::min).map(|best| best / ours)
    }
}

impl Comparison {
    /// Nothing timed yet, of the engines that are there.
    fn of_installed(settings: Settings<'_>) -> Result<Self> {
        let mut engines = vec![(OURS, None)];
        let mut left_out = Vec::new();
        for (engine, name) in PEERS {
            if !installed(settings.python, engine)? {
                let python = settings.python.display();
                left_out.push(format!("{name} is left out: {python} cannot import it."));
                continue;
            }
            // What cannot compile, say, is found here and not after the others' rounds.
            match peer(settings.python, engine, Timed::Regression, 1) {
                Ok(line) => engines.push((engine, version(&line))),
                Err(error) => left_out.push(format!("{name} is left out: {error:#}.")),
            }
        }
        let row = |workload, threads| Row {
            workload,
            threads,
            measured: vec![Measured::default(); engines.len()],
        };
        let mut rows: Vec<Row> = WORKLOADS.map(|workload| row(workload, 1)).into();
        if settings.threads > 1 {
            rows.extend(SHARED_OUT.map(|workload| row(workload, settings.threads)));
        }
        Ok(Self {
            rounds: settings.rounds,
            peaks: Vec::new(),
            engines,
            rows,
            left_out,
        })
    }

    /// One process of one engine on one workload, by their places in the lists.
    fn time(&mut self, row: usize, engine: usize, python: &Path) -> Result<()> {
        let (row, (name, _)) = (&mut self.rows[row], &self.engines[engine]);
        let line = match *name {
            OURS => ours(row.workload, row.threads)?,
            _ => match peer(python, name, row.workload, row.threads) {
                Ok(line) => line,
                Err(error) => {
                    let engine = name_of(name);
                    self.left_out
                        .push(format!("{engine} lacks a figure: {error:#}."));
                    return Ok(());
                }
            },
        };
        row.measured[engine]
            .add(&line)
            .with_context(|| format!("what {name} printed: {line}"))?;
        if line["loss"].as_f64().is_none() {
            let (engine, workload) = (name_of(name), row.workload.name());
            let sentence = format!("{engine}: the last loss of {workload} was no number.");
            if !self.left_out.contains(&sentence) {
                self.left_out.push(sentence);
            }
        }
        Ok(())
    }

    /// Writes the tables into a directory, and shows them.
    fn report(&self, out: &Path, started: SystemTime) -> Result<()> {
        let data = DataSet::generated("stand-ins of the tasks' sizes");
        let shared = Header {
            id: String::new(),
            title: String::new(),
            section: "train_step".to_owned(),
            protocol: Protocol {
                preset: "compare".to_owned(),
                hyperparameters: self.hyperparameters()?,
                ..Protocol::default()
            },
            deviations: self.deviations(),
            provenance: Provenance {
                threads: self.most_threads(),
                wall_seconds: started.elapsed().unwrap_or_default().as_secs_f64(),
                ..provenance::of_this_program(started, data)
            },
            paper: None,
        };
        let mut report = Report::new(out.to_owned(), shared);
        report.table(&self.times(&report))?;
        report.table(&self.memory(&report))?;
        report.finish()
    }

    fn most_threads(&self) -> usize {
        let threads = self.rows.iter().map(|row| usize::from(row.threads));
        threads.max().unwrap_or(1)
    }

    fn deviations(&self) -> Vec<String> {
        let said = NOT_ALIKE.iter().map(|sentence| (*sentence).to_owned());
        said.chain(self.left_out.iter().cloned()).collect()
    }

    /// Of L4Adam, with which all step; of each peer its version.
    fn hyperparameters(&self) -> Result<IndexMap<String, Map<String, Value>>> {
        let alpha = Method::default_alpha(Kind::L4Adam).context("L4Adam has an α")?;
        let settings = Method::new(Kind::L4Adam, alpha).settings()?;
        let mut all = IndexMap::from([(name_of(OURS).to_owned(), settings)]);
        for (engine, version) in &self.engines[1..] {
            let version = Map::from_iter([("version".to_owned(), json!(version))]);
            all.insert(name_of(engine).to_owned(), version);
        }
        Ok(all)
    }

    fn times(&self, report: &Report) -> Table {
        let title = format!(
            "A training step with L4Adam in milliseconds: median and [least, most] of {} processes that alternate; multiply-adds on \
             registers reach {} GFLOP/s a thread",
            self.rounds,
            interval(&self.peaks)
        );
        let mut table = self.table(report.header("train_step", &title), |measured| {
            interval(&measured.step_ms)
        });
        table.columns.push(Column::new("ratio", "Best peer : ours"));
        for (row, entries) in self.rows.iter().zip(&mut table.rows) {
            if let Some(ratio) = row.ratio() {
                entries.insert("ratio".to_owned(), format!("{ratio:.2}").as_str().into());
            }
        }
        table
    }

    fn memory(&self, report: &Report) -> Table {
        let title = "Peak memory of the process of such steps in MiB: the median over the processes. Of the peers less what importing took, of \
                     torch.compile and JAX with what compiling takes; of ours all";
        self.table(report.header("memory", title), |measured| {
            let bytes = stats::median(&measured.memory);
            bytes.map_or_else(unknown, |bytes| {
                format!("{:.0}", bytes / f64::from(1 << 20))
            })
        })
    }

    /// A row a workload, a column an engine.
    fn table(&self, header: Header, entry: impl Fn(&Measured) -> String) -> Table {
        let mut columns = vec![
            Column::new("workload", "Workload"),
            Column::new("threads", "Threads"),
        ];
        let of_engines = self.engines.iter();
        columns.extend(of_engines.map(|(engine, _)| Column::new(engine, name_of(engine))));
        let rows = self.rows.iter().map(|row| {
            let mut entries = IndexMap::from([
                ("workload".to_owned(), row.workload.name().as_str().into()),
                ("threads".to_owned(), u64::from(row.threads).into()),
            ]);
            for ((engine, _), measured) in self.engines.iter().zip(&row.measured) {
                entries.insert((*engine).to_owned(), entry(measured).as_str().into());
            }
            entries
        });
        Table {
            header,
            columns,
            rows: rows.collect(),
        }
    }
}

fn unknown() -> String {
    "–".to_owned()
}

fn name_of(engine: &str) -> &str {
    let known = PEERS.iter().find(|(other, _)| *other == engine);
    known.map_or("ours", |(_, name)| name)
}

/// The median, and \[least, most\].
fn interval(values: &[f64]) -> String {
    let digits = |x: f64| match x {
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 1.0 => format!("{x:.2}"),
        x => format!("{x:.4}"),
    };
    match (stats::median(values), stats::range(values)) {
        (Some(median), Some((least, most))) => {
            format!("{} [{}, {}]", digits(median), digits(least), digits(most))
        }
        _ => unknown(),
    }
}

fn version(line: &Value) -> Option<String> {
    line["version"].as_str().map(str::to_owned)
}

fn ours(workload: Timed, threads: u16) -> Result<Value> {
    let program = std::env::current_exe().context("the path of this program")?;
    let arguments = [
        "--optimizer",
        "l4adam",
        "--workload",
        &workload.name(),
        "--threads",
        &threads.to_string(),
    ];
    let output = Command::new(&program).args(arguments).output();
    let output = output.with_context(|| format!("running {}", program.display()))?;
    last_line(
        &format!("{} {}", program.display(), arguments.join(" ")),
        &output,
    )
}

fn peer(python: &Path, engine: &str, workload: Timed, threads: u16) -> Result<Value> {
    let arguments = [engine, &workload.name(), &threads.to_string()];
    let output = script(python, SCRIPT, &arguments)?;
    last_line(
        &format!(
            "{} peers/steps.py {}",
            python.display(),
            arguments.join(" ")
        ),
        &output,
    )
}

/// The Python that is asked unless another is named; it need not be there.
pub const PYTHON: &str = "python3";

/// Whether Python can import what the engine needs.
fn installed(python: &Path, engine: &str) -> Result<bool> {
    let module = if engine == "jax" { "jax" } else { "torch" };
    let test = format!(
        "import importlib.util, sys\nsys.exit(0 if importlib.util.find_spec('{module}') else {NOT_INSTALLED})"
    );
    let output = match script(python, &test, &[]) {
        Ok(output) => output,
        Err(_) if python == Path::new(PYTHON) => return Ok(false),
        Err(error) => return Err(error),
    };
    match output.status.code() {
        Some(0) => Ok(true),
        Some(NOT_INSTALLED) => Ok(false),
        _ => bail!(
            "{} cannot say whether it has {module}: {}",
            python.display(),
            text(&output.stderr)
        ),
    }
}

/// Runs a program that Python reads from its standard input.
fn script(python: &Path, program: &str, arguments: &[&str]) -> Result<Output> {
    let mut child = Command::new(python)
        .arg("-")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", python.display()))?;
    let mut input = child.stdin.take().context("Python's standard input")?;
    input
        .write_all(program.as_bytes())
        .with_context(|| format!("writing to {}", python.display()))?;
    drop(input);
    Ok(child.wait_with_output()?)
}

/// The JSON on the last line that a program printed.
fn last_line(command: &str, output: &Output) -> Result<Value> {
    ensure!(
        output.status.success(),
        "`{command}` failed with {}: {}",
        output.status,
        text(&output.stderr)
    );
    let printed = text(&output.stdout);
    let line = printed.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .with_context(|| format!("`{command}` printed no JSON on its last line but `{line}`"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// Independent sums of multiply-adds: more than their latency (4 cycles) × throughput (2 a cycle).
const SUMS: usize = 12;

/// Multiply-adds that wait for nothing but their own latency.
struct MultiplyAdds {
    rounds: u32,
}

impl Kernel<f32> for MultiplyAdds {
    /// A sum that depends on all of them, and how many operations they were.
    type Output = (f32, f64);

    #[inline(always)]
    fn run<L: Lanes<f32>>(self, lanes: L) -> (f32, f64) {
        let [x, y] = [0.999, 0.001].map(|x| lanes.splat(std::hint::black_box(x)));
        let mut sums = [lanes.splat(1.0); SUMS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = lanes.mul_add(*sum, x, y);
            }
        }
        let total = sums
            .into_iter()
            .fold(lanes.splat(0.0), |a, b| lanes.add(a, b));
        (
            lanes.sum(total),
            2.0 * f64::from(self.rounds) * (SUMS * L::WIDTH) as f64,
        )
    }
}

/// GFLOP/s of multiply-adds on registers alone, on this thread: the best of some milliseconds.
fn peak() -> f64 {
    let rate = |_| {
        let start = Instant::now();
        let (sum, operations) = autodiff::kernels::run(MultiplyAdds { rounds: 200_000 });
        std::hint::black_box(sum);
        operations / start.elapsed().as_secs_f64() / 1e9
    };
    (0..20).map(rate).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison() -> Comparison {
        let measured = |step_ms: &[f64]| Measured {
            step_ms: step_ms.to_vec(),
            memory: vec![f64::from(3 << 20)],
        };
        let row = |workload| Row {
            workload,
            threads: 1,
            measured: [[2.0, 1.5, 4.0], [5.0, 7.0, 6.0], [9.0; 3]]
                .map(|step_ms| measured(&step_ms))
                .into(),
        };
        Comparison {
            rounds: 3,
            peaks: vec![250.0, 240.0, 245.0],
            engines: vec![
                (OURS, None),
                ("torch", Some("2.0".to_owned())),
                ("jax", Some("0.4".to_owned())),
            ],
            rows: WORKLOADS.map(row).into(),
            left_out: vec!["torch.compile is left out: python3 cannot import it.".to_owned()],
        }
    }

    #[test]
    fn the_tables_have_medians_and_intervals() {
        let out = tempfile::tempdir().unwrap();
        comparison().report(out.path(), SystemTime::now()).unwrap();
        let read = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap();
        let times = read("train_step.md");
        let row = "| mlp | 1 | 2.00 [1.50, 4.00] | 6.00 [5.00, 7.00] | 9.00 [9.00, 9.00] | 3.00 |";
        assert!(times.replace('\\', "").contains(row), "{times}");
        assert!(
            times.contains("| Workload | Threads | ours | PyTorch | JAX |"),
            "{times}"
        );
        assert!(read("memory.md").contains("| mlp | 1 | 3 | 3 | 3 |"));
        let json: Value = serde_json::from_str(&read("train_step.json")).unwrap();
        let deviations = json["deviations"].as_array().unwrap();
        let (not_alike, left_out) = deviations.split_at(NOT_ALIKE.len());
        assert_eq!(json!(not_alike), json!(NOT_ALIKE));
        assert_eq!(json!(left_out), json!(comparison().left_out));
        assert_eq!(
            json["protocol"]["hyperparameters"]["JAX"]["version"],
            json!("0.4")
        );
        assert!(
            json["title"]
                .as_str()
                .unwrap()
                .contains("245 [240, 250] GFLOP/s")
        );
    }

    #[test]
    fn a_peer_that_fails_on_the_way_leaves_what_the_others_have() {
        let mut comparison = comparison();
        comparison.time(0, 1, Path::new("false")).unwrap();
        assert_eq!(comparison.rows[0].measured[1].step_ms.len(), 3);
        let said = &comparison.left_out[1];
        assert!(said.starts_with("PyTorch lacks a figure: "), "{said}");
    }

    #[test]
    fn what_a_program_printed_is_read_or_named() {
        let output = |code: &str| Command::new("sh").args(["-c", code]).output().unwrap();
        let line = last_line("sh", &output("echo note; echo '{\"step_ms\": 1.5}'")).unwrap();
        let mut figures = Measured::default();
        figures.add(&line).unwrap();
        assert_eq!(figures.step_ms, [1.5]);
        assert!(figures.add(&json!({})).is_err());
        let error = last_line("sh", &output("echo no >&2; exit 7"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`sh` failed") && error.ends_with("no"),
            "{error}"
        );
        let error = last_line("sh", &output("echo words"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("`words`"), "{error}");
    }

    #[test]
    fn a_python_that_was_named_has_to_be_there() {
        let error = installed(Path::new("/nowhere/python"), "jax").unwrap_err();
        assert!(error.to_string().contains("/nowhere/python"), "{error}");
    }

    #[test]
    fn the_peak_is_a_rate() {
        assert!(peak() > 0.1);
    }
}
