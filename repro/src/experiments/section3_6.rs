//! Section 3.6, sweeping over batch sizes: its half on MNIST, Figure 8.

use anyhow::Context;
use autodiff::kernels::simd_level;
use datasets::Dataset;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::claims::{self, Finding};
use crate::cli::{self, Common, Preset, Section};
use crate::data;
use crate::experiments::mnist::{self, MnistOptions, Setting};
use crate::methods::{ALPHA, L4_ADAM, L4_MOM, Method};
use crate::results::{self, Axes, Axis, Cell, Claims, Figure, Header, Protocol, Series, Verdict};
use crate::run::RunResult;
use crate::runner::{Planned, Runner};
use crate::stats::{Curve, Spread};

/// What the command line says.
pub const SECTION: Section = Section {
    number: "3.6",
    binary: "section3_6",
    about: "Section 3.6, sweeping over batch sizes, on MNIST: Figure 8 (training loss of L4Adam and L4Mom at their default \
            alpha with batches of 8, 16, 32 and 64, against the examples processed), and what it bears on claim C11. The \
            paper's other half, on the DNC, is not part of this program.",
    presets: &[
        (
            Preset::Smoke,
            "2 runs of 2 epochs on a synthetic stand-in for MNIST: seconds, and no results",
        ),
        (
            Preset::Quick,
            "1 run of 3 epochs: about a minute on 2 cores",
        ),
        (
            Preset::Paper,
            "5 runs of 10 epochs, which are 600,000 examples: about 10 minutes on 2 cores",
        ),
    ],
    default_preset: Preset::Quick,
    methods: &[L4_ADAM, L4_MOM],
};

/// The batch sizes of the sweep; the last is that of section 3.2.
const BATCHES: [usize; 4] = [8, 16, 32, 64];

/// Seeds and epochs of a preset.
fn size(preset: Preset) -> (u64, u64) {
    match preset {
        Preset::Smoke => (2, 2),
        Preset::Quick => (1, 3),
        Preset::Paper => (5, 10),
    }
}

/// A method at its default, which is the only setting here.
fn method(name: &str) -> Method {
    match name {
        L4_MOM => Method::L4Mom { alpha: ALPHA },
        _ => Method::L4Adam { alpha: ALPHA },
    }
}

/// One curve of the figure.
#[derive(Clone, Copy)]
struct Line<'d> {
    method: &'static str,
    setting: Setting<'d>,
}

impl<'d> Line<'d> {
    fn name(&self) -> String {
        format!("{}, batch {}", self.method, self.setting.batch)
    }

    fn hyperparameters(&self) -> Map<String, Value> {
        self.setting.hyperparameters(method(self.method))
    }

    fn plan(&self, seed: u64) -> Planned<'d> {
        let method = method(self.method);
        self.setting
            .plan(SECTION.number, &self.name(), method, seed)
    }
}

/// Runs the section and writes its files.
///
/// # Errors
/// If the data cannot be had, a run fails or a file cannot be written.
pub fn run(common: &Common, options: &MnistOptions) -> anyhow::Result<()> {
    let (seeds, epochs) = size(common.preset);
    let seeds = common.seeds.unwrap_or(seeds);
    let epochs = options.epochs.unwrap_or(epochs);
    let data = data::load(Dataset::Mnist, common.preset, &options.data)?;
    let runner = Runner::open(common.runner_options())?;
    let setting = |batch| Setting {
        data: &data,
        batch,
        epochs,
    };
    let lines: Vec<Line> = common
        .methods
        .iter()
        .flat_map(|&method| BATCHES.map(setting).map(|setting| Line { method, setting }))
        .collect();
    let planned: Vec<Planned> = lines
        .iter()
        .flat_map(|line| (0..seeds).map(|seed| line.plan(seed)))
        .collect();
    let results = runner.run(&planned)?;
    let runs: Vec<(Line, &[RunResult])> = lines
        .iter()
        .copied()
        .zip(results.chunks(seeds as usize))
        .collect();

    let mut deviations = mnist::deviations(&data);
    deviations.push(format!(
        "The paper says neither how many examples it processed nor how many runs it made; {epochs} epochs, which are {} \
         examples, and {seeds} run{} are our choice{}.",
        epochs * data.train.len() as u64,
        if seeds == 1 { "" } else { "s" },
        match common.preset {
            Preset::Paper => "",
            _ => "; `--preset paper` runs more",
        }
    ));
    let hyperparameters: IndexMap<String, Map<String, Value>> = lines
        .iter()
        .map(|line| (line.name(), line.hyperparameters()))
        .collect();
    let header = |id: &str, title: &str| Header {
        id: id.to_owned(),
        title: title.to_owned(),
        section: SECTION.number.to_owned(),
        protocol: Protocol {
            preset: common.preset.name().to_owned(),
            seeds: (0..seeds).collect(),
            epochs: Some(epochs),
            hyperparameters: hyperparameters.clone(),
            ..Protocol::default()
        },
        deviations: deviations.clone(),
        provenance: runner.provenance(simd_level(), data::provenance(&data)),
        paper: None,
    };
    let title =
        "Training on MNIST with batches of different sizes: mean loss over tenths of an epoch";
    let figure = figure8(header("figure8", title), &common.methods, &runs)?;
    let finding = match data::is_synthetic(&data) {
        true => None,
        false => smaller_batches(epochs, &runs),
    };
    let claims = Claims {
        header: header("claims", "Claims tested in section 3.6"),
        claims: finding.into_iter().map(Finding::into_claim).collect(),
    };
    let written = [
        results::write(runner.out(), &figure)?,
        results::write(runner.out(), &claims)?,
    ];
    let files = written.map(|path| format!("wrote {}\n", path.display()));
    let notes: String = deviations.iter().map(|note| format!("{note}\n")).collect();
    let text = format!("{}{notes}{}", claims::render(&claims), files.concat());
    cli::print(&text).context("standard output")
}

/// A panel for each method.
fn figure8(
    header: Header,
    methods: &[&'static str],
    runs: &[(Line<'_>, &[RunResult])],
) -> anyhow::Result<Figure> {
    let panels = methods.iter().zip(["a", "b"]);
    let axes = panels.clone().map(|(method, panel)| Axes {
        panel: panel.to_owned(),
        title: (*method).to_owned(),
        x: Axis::linear("examples processed"),
        y: Axis::log("training loss"),
    });
    let lines = panels.clone().flat_map(|(method, panel)| {
        let its = runs.iter().filter(move |(line, _)| line.method == *method);
        its.map(move |run| (panel, run))
    });
    let series = lines.map(|(panel, (line, results))| {
        let batch = line.setting.batch as f64;
        let curve = |result| Curve::of(result, "loss").over(|step| step * batch);
        let curves: Vec<Curve> = results.iter().map(curve).collect();
        Series::over(panel, &line.name(), &curves, Spread::Range)
    });
    Ok(Figure {
        header,
        axes: axes.collect(),
        series: series.collect::<Result<_, _>>()?,
    })
}

/// What is measured of one method for C11: the mean training loss over the last epoch, from the smallest batch on.
struct Sweep {
    losses: Vec<Cell>,
}

impl Sweep {
    fn of(method: &str, runs: &[(Line<'_>, &[RunResult])]) -> Option<Self> {
        let losses: Vec<Cell> = runs
            .iter()
            .filter(|(line, _)| line.method == method)
            .map(|(_, results)| {
                Cell::over(*results, |result| {
                    result.summary.get("final_loss")?.as_f64()
                })
            })
            .collect();
        (losses.len() == BATCHES.len()).then_some(Self { losses })
    }

    /// The mean losses; a batch size of which a run diverged is worse than any other.
    fn heights(&self) -> impl Iterator<Item = f64> {
        self.losses.iter().map(|cell| match cell.mean {
            Some(mean) if cell.diverged.is_empty() => mean,
            _ => f64::INFINITY,
        })
    }

    /// Whether every doubling of the batch makes the loss larger.
    fn rises(&self) -> bool {
        self.heights()
            .zip(self.heights().skip(1))
            .all(|(smaller, larger)| smaller < larger)
    }

    /// Whether the largest batch has the largest loss.
    fn largest_is_worst(&self) -> bool {
        let last = self.heights().last();
        self.heights()
            .take(BATCHES.len() - 1)
            .all(|loss| last.is_some_and(|last| loss < last))
    }
}

/// C11 on MNIST.
fn smaller_batches(epochs: u64, runs: &[(Line<'_>, &[RunResult])]) -> Option<Finding> {
    let sweeps = [
        (L4_ADAM, Sweep::of(L4_ADAM, runs)?),
        (L4_MOM, Sweep::of(L4_MOM, runs)?),
    ];
    let parts = sweeps.iter().map(|(name, sweep)| {
        let losses = BATCHES.iter().zip(&sweep.losses);
        let losses: Vec<String> = losses
            .map(|(batch, cell)| format!("{} at {batch}", claims::mean(cell)))
            .collect();
        format!("{name} {}", losses.join(", "))
    });
    let evidence = format!(
        "MNIST only. Mean training loss over the batches of epoch {epochs}: {}. Reproduced would be, for both methods, a loss \
         that rises with every doubling of the batch; partly, one that is largest at 64.",
        parts.collect::<Vec<_>>().join("; ")
    );
    let measured: Map<String, Value> = sweeps
        .iter()
        .map(|(name, sweep)| {
            let by_batch: Map<String, Value> = BATCHES
                .iter()
                .zip(&sweep.losses)
                .map(|(batch, cell)| (batch.to_string(), json!(cell)))
                .collect();
            ((*name).to_owned(), Value::Object(by_batch))
        })
        .collect();
    Some(Finding {
        id: "C11",
        verdict: sweep_verdict(&sweeps.map(|(_, sweep)| sweep)),
        evidence,
        measured: json!({"final_loss_by_batch": measured}),
    })
}

fn sweep_verdict(sweeps: &[Sweep]) -> Verdict {
    if sweeps.iter().all(Sweep::rises) {
        Verdict::Reproduced
    } else if sweeps.iter().all(Sweep::largest_is_worst) {
        Verdict::Partly
    } else {
        Verdict::NotReproduced
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Measured;

    fn sweep(losses: [Measured; 4]) -> Sweep {
        let losses = losses.map(|loss| Cell::from_runs([(0, loss)]));
        Sweep {
            losses: losses.into(),
        }
    }

    #[test]
    fn a_verdict_looks_at_every_batch_size_and_both_methods() {
        use Measured::{Diverged, Value};
        let values = |losses: [f64; 4]| sweep(losses.map(Value));
        let verdict = |second| sweep_verdict(&[values([0.1, 0.2, 0.3, 0.4]), second]);
        assert_eq!(verdict(values([0.1, 0.2, 0.3, 0.4])), Verdict::Reproduced);
        assert_eq!(verdict(values([0.2, 0.1, 0.3, 0.4])), Verdict::Partly);
        assert_eq!(
            verdict(values([0.2, 0.2, 0.4, 0.4])),
            Verdict::NotReproduced
        );
        let diverged = sweep([Diverged(7), Value(0.2), Value(0.3), Value(0.4)]);
        assert_eq!(verdict(diverged), Verdict::NotReproduced);
    }
}
