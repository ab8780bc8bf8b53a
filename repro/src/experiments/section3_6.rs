//! Section 3.6, sweeping over batch sizes: its half on MNIST, Figure 8.

use datasets::Dataset;
use serde_json::{Map, Value, json};

use crate::claims::{self, Finding};
use crate::cli::{Common, Preset, Section, Size};
use crate::data;
use crate::experiments::comparison::{Comparison, Line, Runs};
use crate::experiments::images::{ImageOptions, Network, Setting};
use crate::methods::{ALPHA, L4_ADAM, L4_MOM, Method};
use crate::results::{Axes, Axis, Cell, Figure, Header, Series, Verdict};
use crate::stats::{Curve, Spread};

/// What the command line says.
pub const SECTION: Section = Section {
    number: "3.6",
    binary: "section3_6",
    about: "Section 3.6, sweeping over batch sizes, on MNIST: Figure 8 (training loss of L4Adam and L4Mom at their default \
            alpha with batches of 8, 16, 32 and 64, against the examples processed), and what it bears on claim C11. The \
            paper's other half, on the DNC, is not part of this program.",
    presets: &[
        Size {
            preset: Preset::Smoke,
            seeds: 2,
            length: 2,
            about: "2 runs of 2 epochs on a synthetic stand-in for MNIST: seconds, and no results",
        },
        Size {
            preset: Preset::Quick,
            seeds: 1,
            length: 3,
            about: "1 run of 3 epochs: about a minute on 2 cores",
        },
        Size {
            preset: Preset::Paper,
            seeds: 5,
            length: 10,
            about: "5 runs of 10 epochs, which are 600,000 examples: about 10 minutes on 2 cores",
        },
    ],
    default_preset: Preset::Quick,
    methods: &[L4_ADAM, L4_MOM],
};

/// The batch sizes of the sweep; the last is that of section 3.2.
const BATCHES: [usize; 4] = [8, 16, 32, 64];

/// A method at its default, which is the only setting here.
fn method(name: &str) -> Method {
    match name {
        L4_MOM => Method::L4Mom { alpha: ALPHA },
        _ => Method::L4Adam { alpha: ALPHA },
    }
}

/// What results call a method at a batch size.
fn name(method: &str, batch: usize) -> String {
    format!("{method}, batch {batch}")
}

/// Runs the section and writes its files.
///
/// # Errors
/// If the data cannot be had, a run fails or a file cannot be written.
pub fn run(common: &Common, options: &ImageOptions) -> anyhow::Result<()> {
    let epochs = options.epochs.unwrap_or(common.length);
    let data = data::load(Dataset::Mnist, common.preset, &options.data)?;
    let line = |method_name: &&'static str, batch| Line {
        name: name(method_name, batch),
        method: method(method_name),
        setting: Setting::new(&data, Network::Mlp, batch, epochs),
    };
    let lines = common
        .methods
        .iter()
        .flat_map(|method| BATCHES.map(|batch| line(method, batch)));
    let comparison = Comparison {
        section: &SECTION,
        common,
        options,
        data: &data,
        lines: lines.collect(),
        deviations: vec![
            "The paper says neither how many examples it processed nor how many runs it made: the 600,000 examples, 10 epochs, and \
             5 runs of `--preset paper` are our choice."
                .to_owned(),
        ],
    };
    let (runs, mut report) = comparison.run()?;
    let title =
        "Training on MNIST with batches of different sizes: mean loss over tenths of an epoch";
    report.figure(&figure8(
        report.header("figure8", title),
        &common.methods,
        &runs,
    )?)?;
    report.claims(match data::is_synthetic(&data) {
        true => None,
        false => smaller_batches(&runs),
    })?;
    report.print()
}

/// A panel for each method.
fn figure8(header: Header, methods: &[&str], runs: &Runs<'_>) -> anyhow::Result<Figure> {
    let panels = || methods.iter().zip(["a", "b"]);
    let axes = panels().map(|(method, panel)| Axes {
        panel: panel.to_owned(),
        title: (*method).to_owned(),
        x: Axis::linear("examples processed"),
        y: Axis::log("training loss"),
    });
    let lines = panels().flat_map(|(method, panel)| {
        let of_size = |batch| runs.line(&name(method, batch));
        BATCHES
            .into_iter()
            .filter_map(of_size)
            .map(move |line| (panel, line))
    });
    let series = lines.map(|(panel, (line, results))| {
        let batch = line.setting.batch as f64;
        let curve = |result| Curve::of(result, "loss").over(|step| step * batch);
        let curves: Vec<Curve> = results.iter().map(curve).collect();
        Series::over(panel, &line.name, &curves, Spread::Range)
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
    /// `None` unless all batch sizes were run.
    fn of(method: &str, runs: &Runs<'_>) -> Option<Self> {
        let losses = BATCHES.map(|batch| runs.final_losses(&name(method, batch)));
        let losses = losses.into_iter().collect::<Option<_>>()?;
        Some(Self { losses })
    }

    fn heights(&self) -> impl Iterator<Item = f64> {
        self.losses.iter().map(Cell::height)
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
fn smaller_batches(runs: &Runs<'_>) -> Option<Finding> {
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
        "MNIST only. Mean training loss over the batches of epoch {}: {}. Reproduced would be, for both methods, a loss that \
         rises with every doubling of the batch; partly, one that is largest at 64.",
        runs.epochs(),
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
