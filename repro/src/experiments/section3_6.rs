//! Section 3.6, sweeping over batch sizes: Figure 8, on MNIST, and Figure 9, on the DNC.

use clap::{Args, ValueEnum};
use datasets::Dataset;
use serde_json::{Map, Value, json};

use crate::claims::{self, Finding};
use crate::cli::{Common, Preset, Section, Size};
use crate::data;
use crate::experiments::comparison::Comparison;
use crate::experiments::dnc;
use crate::experiments::images::{ImageOptions, Network, Setting};
use crate::experiments::lines::{Line, Runs};
use crate::methods::{ALPHA, L4_ADAM, L4_MOM, Method};
use crate::report::Report;
use crate::results::{Axes, Axis, Cell, CellOfRuns, Figure, Header, Series, SeriesOfRuns, Verdict};
use crate::stats::{Curve, Spread};

/// What the command line says.
pub const SECTION: Section = Section {
    number: "3.6",
    binary: "section3_6",
    about: "Section 3.6, sweeping over batch sizes: training loss of L4Adam and L4Mom at their default alpha with batches of 8, \
            16, 32 and 64, against the examples processed, on MNIST (Figure 8) and with the DNC on repeat-copy (Figure 9), and \
            what that bears on claim C11.",
    presets: &[
        Size {
            preset: Preset::Smoke,
            seeds: 2,
            length: 2,
            about: "2 runs of 2 epochs on a synthetic stand-in for MNIST, and of 4,800 sequences: seconds, and no results",
        },
        Size {
            preset: Preset::Quick,
            seeds: 1,
            length: 3,
            about: "1 run of 3 epochs, and of 160,000 sequences: about 2 minutes on 2 cores",
        },
        Size {
            preset: Preset::Paper,
            seeds: 5,
            length: 10,
            about: "5 runs of 10 epochs, which are 600,000 examples, and of 640,000 sequences: about 20 minutes on 2 cores",
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

/// The section's own options.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The half of the section to run [default: both]
    #[arg(long)]
    pub task: Option<Task>,

    /// The half on MNIST.
    #[command(flatten)]
    pub images: ImageOptions,

    /// Sequences of each run of the DNC [default: as the preset has it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub sequences: Option<u64>,
}

/// A half of the section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// The perceptron of section 3.2
    Mnist,
    /// The DNC of section 3.4
    Dnc,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Task::Mnist => "MNIST",
            Task::Dnc => "DNC",
        }
    }
}

/// What became of a half.
struct Half {
    task: Task,
    report: Report,
    /// What its final losses are.
    losses: String,
    /// Of both methods; `None` if there is nothing to be said of the paper.
    sweeps: Option<[Sweep; 2]>,
}

/// Runs the section, or the half that was asked for, and writes its files.
///
/// # Errors
/// If the data cannot be had, a run fails or a file cannot be written.
pub fn run(common: &Common, options: &Options) -> anyhow::Result<()> {
    let asked = |task| options.task.is_none_or(|asked| asked == task);
    let mut halves = Vec::new();
    if asked(Task::Mnist) {
        halves.push(mnist(common, &options.images)?);
    }
    if asked(Task::Dnc) {
        halves.push(repeat_copy(common, options.sequences)?);
    }
    let finding = smaller_batches(&halves);
    let parts = halves.into_iter();
    let parts = parts.map(|half| (half.task.name(), half.report)).collect();
    let mut report = Report::join(parts);
    report.claims(finding)?;
    report.print()
}

fn mnist(common: &Common, options: &ImageOptions) -> anyhow::Result<Half> {
    let epochs = options.epochs.unwrap_or(common.length);
    let data = data::load(Dataset::Mnist, common.preset, &options.data)?;
    let setting = |batch| Setting::new(&data, Network::Mlp, batch, epochs);
    let comparison = Comparison {
        section: &SECTION,
        common,
        options,
        data: &data,
        lines: lines(common, setting),
        deviations: vec![
            "The paper says neither how many examples it processed nor how many runs it made: the 600,000 examples, 10 epochs, and \
             5 runs of `--preset paper` are our choice."
                .to_owned(),
        ],
    };
    let (runs, mut report) = comparison.run()?;
    let title =
        "Training on MNIST with batches of different sizes: mean loss over tenths of an epoch";
    let header = report.header("figure8", title);
    report.figure(&figure(header, common, &runs, |setting| setting.batch)?)?;
    Ok(Half {
        task: Task::Mnist,
        report,
        losses: format!("over the batches of epoch {epochs}"),
        sweeps: if data::is_synthetic(&data) {
            None
        } else {
            sweeps(&runs)
        },
    })
}

/// Sequences of each run of the DNC.
fn sequences(preset: Preset) -> u64 {
    match preset {
        Preset::Smoke => 4_800,
        Preset::Quick => 160_000,
        Preset::Reduced | Preset::Paper => 640_000,
    }
}

fn repeat_copy(common: &Common, asked: Option<u64>) -> anyhow::Result<Half> {
    let sequences_each = asked.unwrap_or(sequences(common.preset));
    let setting = |batch| dnc::Setting::of_sequences(batch, sequences_each);
    let comparison = dnc::Comparison {
        section: &SECTION,
        common,
        sequences: sequences_each,
        paper_sequences: sequences(Preset::Paper),
        lines: lines(common, setting),
        deviations: vec![
            "The paper says neither how many sequences it processed nor how many runs it made: the 640,000 sequences, as many as \
             in section 3.4, and 5 runs of `--preset paper` are our choice."
                .to_owned(),
        ],
    };
    let (runs, mut report) = comparison.run()?;
    let title = "Training the DNC on repeat-copy with batches of different sizes: mean loss over windows of 1,600 sequences";
    let header = report.header("figure9", title);
    report.figure(&figure(header, common, &runs, |setting| setting.batch)?)?;
    Ok(Half {
        task: Task::Dnc,
        report,
        losses: format!("over the last tenth of {sequences_each} sequences"),
        sweeps: if sequences_each < SETTLING {
            None
        } else {
            sweeps(&runs)
        },
    })
}

/// Sequences below which C11 is not tested: the losses are still those of the start.
const SETTLING: u64 = 80_000;

/// Every method with every batch size.
fn lines<S>(common: &Common, setting: impl Fn(usize) -> S) -> Vec<Line<S>> {
    let line = |method_name: &str, batch| Line {
        name: name(method_name, batch),
        method: method(method_name),
        setting: setting(batch),
    };
    let methods = common.methods.iter();
    methods
        .flat_map(|method| BATCHES.map(|batch| line(method, batch)))
        .collect()
}

/// A panel for each method.
fn figure<S>(
    header: Header,
    common: &Common,
    runs: &Runs<S>,
    batch: impl Fn(&S) -> usize,
) -> anyhow::Result<Figure> {
    let panels = || common.methods.iter().zip(["a", "b"]);
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
        let batch = batch(&line.setting) as f64;
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

/// What is measured of one method for C11: the mean training loss at the end, from the smallest batch on.
struct Sweep {
    method: &'static str,
    losses: Vec<Cell>,
}

/// `None` unless both methods were run.
fn sweeps<S>(runs: &Runs<S>) -> Option<[Sweep; 2]> {
    Some([Sweep::of(L4_ADAM, runs)?, Sweep::of(L4_MOM, runs)?])
}

impl Sweep {
    /// `None` unless all batch sizes were run.
    fn of<S>(method: &'static str, runs: &Runs<S>) -> Option<Self> {
        let losses = BATCHES.map(|batch| runs.final_losses(&name(method, batch)));
        let losses = losses.into_iter().collect::<Option<_>>()?;
        Some(Self { method, losses })
    }

    fn heights(&self) -> Vec<f64> {
        self.losses.iter().map(Cell::height).collect()
    }

    /// Whether batch 8 is the limit: no better than 16, or the only one with which runs diverge.
    fn ends_at_smallest(&self) -> bool {
        let diverges = |cell: &Cell| !cell.diverged.is_empty();
        let [smallest, larger @ ..] = &self.losses[..] else {
            return false;
        };
        let alone = diverges(smallest) && !larger.iter().any(diverges);
        let better = larger
            .first()
            .is_some_and(|next| smallest.height() < next.height());
        alone || !better
    }

    fn evidence(&self) -> String {
        let losses = BATCHES.iter().zip(&self.losses);
        let losses: Vec<String> = losses
            .map(|(batch, cell)| format!("{} at {batch}", claims::mean(cell)))
            .collect();
        format!("{} {}", self.method, losses.join(", "))
    }

    fn measured(&self) -> Value {
        let losses = BATCHES.iter().zip(&self.losses);
        losses
            .map(|(batch, cell)| (batch.to_string(), json!(cell)))
            .collect::<Map<_, _>>()
            .into()
    }
}

/// Whether every doubling of the batch makes the loss larger.
fn rises(heights: &[f64]) -> bool {
    heights.windows(2).all(|pair| pair[0] < pair[1])
}

/// Whether the largest batch has the largest loss.
fn largest_is_worst(heights: &[f64]) -> bool {
    match heights {
        [smaller @ .., largest] => smaller.iter().all(|loss| loss < largest),
        [] => false,
    }
}

/// How the losses of both methods depend on the batch, for the sizes from the `first` on.
fn sweep_verdict(sweeps: &[Sweep; 2], first: usize) -> Verdict {
    let all = |test: fn(&[f64]) -> bool| sweeps.iter().all(|sweep| test(&sweep.heights()[first..]));
    if all(rises) {
        Verdict::Reproduced
    } else if all(largest_is_worst) {
        Verdict::Partly
    } else {
        Verdict::NotReproduced
    }
}

fn half_verdict(task: Task, sweeps: &[Sweep; 2]) -> Verdict {
    match task {
        Task::Mnist => sweep_verdict(sweeps, 0),
        Task::Dnc => match sweep_verdict(sweeps, 1) {
            Verdict::Reproduced if !sweeps.iter().any(Sweep::ends_at_smallest) => Verdict::Partly,
            verdict => verdict,
        },
    }
}

fn rule(task: Task) -> &'static str {
    match task {
        Task::Mnist => {
            "Reproduced would be, for both methods, a loss that rises with every doubling of the batch; partly, one that is \
             largest at 64."
        }
        Task::Dnc => {
            "Reproduced would be, for both methods, a loss that rises with every doubling of the batch from 16 on, and for one of \
             them 8 as the limit: no lower than at 16, or the only size at which runs diverge; partly, a loss that is largest at \
             64 of those from 16 on."
        }
    }
}

/// C11, on what there is of its two halves.
fn smaller_batches(halves: &[Half]) -> Option<Finding> {
    let judged = halves
        .iter()
        .filter_map(|half| Some((half, half.sweeps.as_ref()?)));
    let judged: Vec<(&Half, &[Sweep; 2])> = judged.collect();
    let verdicts = judged
        .iter()
        .map(|(half, sweeps)| half_verdict(half.task, sweeps));
    let verdict = both(&verdicts.collect::<Vec<_>>())?;
    let rests_on = match &judged[..] {
        [(half, _)] => format!("{} only. ", half.task.name()),
        _ => "Reproduced or not if both halves are, else partly. ".to_owned(),
    };
    let evidence = judged.iter().map(|(half, [adam, momentum])| {
        format!(
            "{}: mean training loss {}: {}; {}. {}",
            half.task.name(),
            half.losses,
            adam.evidence(),
            momentum.evidence(),
            rule(half.task)
        )
    });
    let evidence: Vec<String> = evidence.collect();
    let measured = judged.iter().map(|(half, sweeps)| {
        let by_method = sweeps
            .iter()
            .map(|sweep| (sweep.method.to_owned(), sweep.measured()));
        (
            half.task.name().to_owned(),
            Value::Object(by_method.collect()),
        )
    });
    Some(Finding {
        id: "C11",
        verdict,
        evidence: rests_on + &evidence.join(" "),
        measured: json!({"final_loss_by_batch": measured.collect::<Map<_, _>>()}),
    })
}

/// Of all halves; `None` of none.
fn both(verdicts: &[Verdict]) -> Option<Verdict> {
    let first = *verdicts.first()?;
    Some(match verdicts.iter().all(|verdict| *verdict == first) {
        true => first,
        false => Verdict::Partly,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Measured::{self, Diverged, Value};

    fn sweep(losses: [Measured; 4]) -> Sweep {
        let losses = losses.map(|loss| Cell::from_runs([(0, loss)]));
        Sweep {
            method: L4_ADAM,
            losses: losses.into(),
        }
    }

    fn values(losses: [f64; 4]) -> Sweep {
        sweep(losses.map(Value))
    }

    #[test]
    fn a_verdict_looks_at_every_batch_size_and_both_methods() {
        let verdict = |second| half_verdict(Task::Mnist, &[values([0.1, 0.2, 0.3, 0.4]), second]);
        assert_eq!(verdict(values([0.1, 0.2, 0.3, 0.4])), Verdict::Reproduced);
        assert_eq!(verdict(values([0.2, 0.1, 0.3, 0.4])), Verdict::Partly);
        assert_eq!(
            verdict(values([0.2, 0.2, 0.4, 0.4])),
            Verdict::NotReproduced
        );
        let diverged = sweep([Diverged(7), Value(0.2), Value(0.3), Value(0.4)]);
        assert_eq!(verdict(diverged), Verdict::NotReproduced);
    }

    #[test]
    fn on_the_dnc_the_smallest_batch_is_the_limit() {
        let rising = || values([0.1, 0.2, 0.3, 0.4]);
        let verdict = |second| half_verdict(Task::Dnc, &[rising(), second]);
        assert_eq!(verdict(rising()), Verdict::Partly);
        assert_eq!(verdict(values([0.2, 0.2, 0.3, 0.4])), Verdict::Reproduced);
        let [two, three, four] = [0.2, 0.3, 0.4].map(Value);
        assert_eq!(
            verdict(sweep([Diverged(7), two, three, four])),
            Verdict::Reproduced
        );
        assert_eq!(
            verdict(sweep([Diverged(7), two, Diverged(7), four])),
            Verdict::NotReproduced
        );
        assert_eq!(verdict(values([0.2, 0.3, 0.2, 0.4])), Verdict::Partly);
        assert_eq!(
            verdict(values([0.5, 0.5, 0.3, 0.4])),
            Verdict::NotReproduced
        );
    }

    #[test]
    fn halves_that_differ_make_a_part() {
        use Verdict::{NotReproduced, Partly, Reproduced};
        assert_eq!(both(&[]), None);
        assert_eq!(both(&[NotReproduced]), Some(NotReproduced));
        assert_eq!(both(&[Reproduced, Reproduced]), Some(Reproduced));
        assert_eq!(both(&[Reproduced, NotReproduced]), Some(Partly));
    }
}
