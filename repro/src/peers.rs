//! Training steps of this project and of the frameworks that are installed, timed in turn.
//!
//! Each figure is from a process of its own, and the processes alternate: this program, then every peer, and over again,
//! so that a drift of the machine's speed favours nobody. The peers are `peers/steps.py`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use autodiff::kernels::{Kernel, Lanes};
use serde_json::{Value, json};

use crate::engine::provenance;
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

/// What to compare.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Python with the peers in it.
    pub python: &'a Path,
    /// Threads of every engine.
    pub threads: u16,
    /// Processes of each engine and workload.
    pub rounds: u32,
}

/// Figures of one engine on one workload, one a round.
#[derive(Clone, Debug, Default)]
struct Measured {
    /// Median milliseconds a step of each process.
    step_ms: Vec<f64>,
    /// Peak memory of each process, less what importing took.
    memory: Vec<f64>,
}

/// All figures.
#[derive(Debug)]
pub struct Comparison {
    threads: u16,
    rounds: u32,
    /// Multiply-adds on registers alone, in GFLOP/s on one thread, before each round.
    peaks: Vec<f64>,
    /// By engine, ours first: its name, and its figures by workload.
    engines: Vec<(&'static str, Vec<Measured>)>,
    /// Sentences on the peers that are not there.
    left_out: Vec<String>,
}

/// Times all workloads of all engines.
///
/// # Errors
/// If a program fails for another reason than that a framework is not installed.
pub fn compare(settings: Settings<'_>) -> Result<Comparison> {
    let unmeasured = || WORKLOADS.map(|_| Measured::default()).to_vec();
    let mut comparison = Comparison {
        threads: settings.threads,
        rounds: settings.rounds,
        peaks: Vec::new(),
        engines: vec![(OURS, unmeasured())],
        left_out: Vec::new(),
    };
    for (engine, name) in PEERS {
        match installed(settings.python, engine)? {
            true => comparison.engines.push((engine, unmeasured())),
            false => comparison.left_out.push(format!(
                "{name} is left out: {} cannot import it.",
                settings.python.display()
            )),
        }
    }
    for _ in 0..settings.rounds {
        comparison.peaks.push(peak());
        for (which, workload) in WORKLOADS.into_iter().enumerate() {
            for (engine, measured) in &mut comparison.engines {
                let line = match *engine {
                    OURS => ours(workload, settings.threads)?,
                    _ => peer(settings.python, engine, workload, settings.threads)?,
                };
                measured[which]
                    .add(&line)
                    .with_context(|| format!("what {engine} printed: {line}"))?;
            }
        }
    }
    Ok(comparison)
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

impl Comparison {
    /// The figures as a table in Markdown, with what it is a table of.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from("| workload |");
        for (engine, _) in &self.engines {
            let _ = write!(text, " {} |", name_of(engine));
        }
        text += " best peer : ours | memory, MiB: ours |";
        for (engine, _) in &self.engines[1..] {
            let _ = write!(text, " {} |", name_of(engine));
        }
        text += "\n|---|";
        text += &"---|".repeat(2 * self.engines.len() + 1);
        for (which, workload) in WORKLOADS.iter().enumerate() {
            let _ = write!(text, "\n| {} |", workload.name());
            for (_, measured) in &self.engines {
                let _ = write!(text, " {} |", interval(&measured[which].step_ms));
            }
            let ratio = self
                .ratio(which)
                .map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
            let _ = write!(text, " {ratio} |");
            for (_, measured) in &self.engines {
                let mebibytes =
                    stats::median(&measured[which].memory).map(|bytes| bytes / f64::from(1 << 20));
                let _ = write!(
                    text,
                    " {} |",
                    mebibytes.map_or_else(|| "–".to_owned(), |m| format!("{m:.0}"))
                );
            }
        }
        let _ = write!(
            text,
            "\n\nMilliseconds a training step with L4Adam, {} thread{}: the median over the rounds of a process's median, and \
             [least, most] of {} alternating rounds. Memory is the process's peak, less what importing took. Multiply-adds on \
             registers alone, on one thread in the same run: {} GFLOP/s.\n",
            self.threads,
            if self.threads == 1 { "" } else { "s" },
            self.rounds,
            interval(&self.peaks),
        );
        for sentence in &self.left_out {
            let _ = writeln!(text, "{sentence}");
        }
        text
    }

    /// The figures, for a page to be made of.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = |(engine, measured): &(&str, Vec<Measured>)| -> Vec<Value> {
            let row = |(workload, measured): (&Timed, &Measured)| {
                json!({
                    "engine": engine,
                    "workload": workload.name(),
                    "step_ms": measured.step_ms,
                    "memory_bytes": measured.memory,
                })
            };
            WORKLOADS.iter().zip(measured).map(row).collect()
        };
        json!({
            "threads": self.threads,
            "rounds": self.rounds,
            "peak_gflops": self.peaks,
            "simd": autodiff::kernels::simd_level(),
            "cpu": provenance::this_cpu(),
            "git_commit": provenance::GIT_COMMIT,
            "rows": self.engines.iter().flat_map(rows).collect::<Vec<_>>(),
            "left_out": self.left_out,
        })
    }

    /// How many times our time the fastest peer takes.
    fn ratio(&self, which: usize) -> Option<f64> {
        let median =
            |(_, measured): &(&str, Vec<Measured>)| stats::median(&measured[which].step_ms);
        let ours = median(&self.engines[0])?;
        let peers = self.engines[1..].iter().filter_map(median);
        peers.reduce(f64::min).map(|best| best / ours)
    }
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
        _ => "–".to_owned(),
    }
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

/// Whether Python can import what the engine needs.
fn installed(python: &Path, engine: &str) -> Result<bool> {
    let module = if engine == "jax" { "jax" } else { "torch" };
    let test = format!(
        "import importlib.util, sys\nsys.exit(0 if importlib.util.find_spec('{module}') else {NOT_INSTALLED})"
    );
    let Ok(output) = script(python, &test, &[]) else {
        return Ok(false);
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

    fn measured(step_ms: &[f64]) -> Measured {
        Measured {
            step_ms: step_ms.to_vec(),
            memory: vec![f64::from(3 << 20)],
        }
    }

    fn comparison() -> Comparison {
        let all = |step_ms: &[f64]| WORKLOADS.map(|_| measured(step_ms)).to_vec();
        Comparison {
            threads: 1,
            rounds: 3,
            peaks: vec![250.0, 240.0, 245.0],
            engines: vec![
                (OURS, all(&[2.0, 1.5, 4.0])),
                ("torch", all(&[5.0, 7.0, 6.0])),
                ("jax", all(&[9.0; 3])),
            ],
            left_out: vec!["torch.compile is left out: python3 cannot import it.".to_owned()],
        }
    }

    #[test]
    fn the_table_has_medians_and_intervals() {
        let table = comparison().markdown();
        let row = "| mlp | 2.00 [1.50, 4.00] | 6.00 [5.00, 7.00] | 9.00 [9.00, 9.00] | 3.00 | 3 | 3 | 3 |";
        assert!(table.contains(row), "{table}");
        assert!(
            table.contains("| workload | ours | PyTorch | JAX |"),
            "{table}"
        );
        assert!(table.contains("245 [240, 250] GFLOP/s"), "{table}");
        assert!(
            table.ends_with("torch.compile is left out: python3 cannot import it.\n"),
            "{table}"
        );
    }

    #[test]
    fn the_json_has_every_figure() {
        let json = comparison().json();
        assert_eq!(json["rows"].as_array().unwrap().len(), 3 * WORKLOADS.len());
        assert_eq!(json["rows"][0]["step_ms"], json!([2.0, 1.5, 4.0]));
        assert_eq!(json["peak_gflops"][1], json!(240.0));
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
    fn a_python_that_is_not_there_has_no_peers() {
        assert!(!installed(Path::new("/nowhere/python"), "jax").unwrap());
    }

    #[test]
    fn the_peak_is_a_rate() {
        assert!(peak() > 0.1);
    }
}
