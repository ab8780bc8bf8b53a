//! Section 3.1, badly conditioned regression (Figure 2), and 3.1.1, the comparison with Levenberg–Marquardt (Table 2).

use anyhow::Result;
use indexmap::IndexMap;
use models::TwoLayerShape;

use super::{
    Arm, LMA, LOSS, Outcome, Part, RATE, Section, Show, Task, Unit, arm, epsilon, invariance, size,
};
use crate::cli::Preset;
use crate::engine::metrics::Milestone;
use crate::engine::run::RunResult;
use crate::methods::Kind;
use crate::report::Report;
use crate::results::{Cell, CellOfRuns, Column, Entry, Table};
use crate::stats;
use crate::tasks::Workload;
use crate::tasks::marks::TOLERANCES;

/// Table 2's sizes. The paper says both "192 weights", which doubles the hidden layer, and "all dimensions doubled".
const W96: TwoLayerShape = TwoLayerShape::PAPER;
const W192: TwoLayerShape = TwoLayerShape { hidden: 12, ..W96 };
const W384: TwoLayerShape = TwoLayerShape {
    inputs: 12,
    hidden: 12,
    outputs: 20,
};

const L4_ADAM: Arm = arm("L4Adam*", Kind::L4Adam).searched();
const L4_MOM: Arm = arm("L4Mom*", Kind::L4Mom).searched();

/// The section.
pub static SECTION: Section = Section {
    number: "3.1",
    binary: "section3_1",
    about: "Section 3.1, badly conditioned regression: Figure 2 (training loss and effective learning rate), Table 2 (steps and \
            seconds to convergence, with the Levenberg-Marquardt algorithm, LMA*), and the claims they bear on. L4Adam and L4Mom \
            run at the default alpha; a star marks the best rate or alpha that `tune` found; mSGD and Adam run at the rates of \
            Table 1 too.",
    parts: &[Part {
        name: "regression",
        task: Task::Regression,
        unit: Unit::Steps,
        sizes: &[
            size(Preset::Smoke, 2, 300),
            size(Preset::Quick, 3, 10_000),
            size(Preset::Paper, 5, 30_000),
        ],
        arms: &[
            arm("mSGD*", Kind::Momentum).searched(),
            arm("Adam*", Kind::Adam).searched(),
            arm("L4Adam", Kind::L4Adam),
            L4_ADAM,
            arm("L4Mom", Kind::L4Mom),
            L4_MOM,
            arm("mSGD", Kind::Momentum).at(0.0005),
            arm("Adam", Kind::Adam).at(0.001),
            L4_ADAM.until_converged(W96),
            L4_MOM.until_converged(W96),
            LMA.until_converged(W96),
            L4_ADAM.until_converged(W192),
            L4_MOM.until_converged(W192),
            LMA.until_converged(W192),
            L4_ADAM.until_converged(W384),
            L4_MOM.until_converged(W384),
            LMA.until_converged(W384),
        ],
        shows: &[
            Show::Figure {
                id: "figure2",
                title: "Training on badly conditioned regression, by windows of 100 steps: (a) the mean loss over all runs; (b) \
                        median and range of the effective learning rate in the run with seed 0",
                panels: &[LOSS, RATE],
            },
            Show::Own(table2),
        ],
        deviations: &[
            "A = diag(linspace(1, 1e-5, 10))·U[0,1]^(10×6), as in the code that the paper names. The condition number that the \
             paper gives, 1e5, is that of the diagonal; that of A itself is in the caption of Table 2.",
            "The paper does not say how many steps it ran; 30,000 is our choice.",
            "The paper's \"192 weights\" (the hidden layer doubled) and \"all dimensions doubled\" (384 weights) do not agree; \
             both are run.",
        ],
    }],
    default: Preset::Paper,
    extra: Some(|| Ok([invariance::measure()?, epsilon::measure()?].concat())),
};

/// Table 2: the arms that are run until they converge, one at a time.
fn table2(outcome: &Outcome<'_>, report: &mut Report) -> Result<()> {
    let mut columns = vec![
        Column::new("weights", "Trainable weights"),
        Column::new("method", "Method"),
    ];
    for (name, _) in TOLERANCES {
        let (steps, seconds) = (format!("Steps to {name}"), format!("Time to {name}"));
        columns.push(Column::with_unit(&format!("steps_{name}"), &steps, "steps"));
        columns.push(Column::with_unit(&format!("seconds_{name}"), &seconds, "s"));
    }
    let mut rows = Vec::new();
    let mut conditions = Vec::new();
    for arm in &outcome.arms {
        let (Some(shape), Workload::Regression(task)) =
            (arm.resolved.arm.until_converged, arm.resolved.workload)
        else {
            continue;
        };
        if shape == W96 && conditions.is_empty() {
            let seeds = 0..outcome.size.seeds;
            conditions = seeds
                .map(|seed| task.condition_of_a(seed))
                .collect::<Result<_>>()?;
        }
        let mut row: IndexMap<String, Entry> = IndexMap::new();
        row.insert("weights".to_owned(), (shape.weights() as u64).into());
        row.insert("method".to_owned(), arm.name().into());
        for (mark, _) in TOLERANCES {
            let steps = Cell::over(&arm.results, |result| {
                Some(milestone(result, mark)?.step as f64)
            });
            row.insert(format!("steps_{mark}"), steps.into());
            let seconds = Cell::over(&arm.results, |result| median_seconds(result, mark));
            row.insert(format!("seconds_{mark}"), seconds.into());
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let condition = match stats::range(&conditions) {
        Some((low, high)) => format!(". The condition number of A is {low:.0} to {high:.0}"),
        None => String::new(),
    };
    let title = format!(
        "Steps and seconds to convergence, compared with Levenberg–Marquardt; each run alone on the machine, seconds the median \
         of three{condition}"
    );
    Ok(report.table(&Table {
        header: report.header("table2", &title),
        columns,
        rows,
    })?)
}

fn milestone<'r>(result: &'r RunResult, mark: &str) -> Option<&'r Milestone> {
    result.timing.milestones.get(mark)
}

fn median_seconds(result: &RunResult, mark: &str) -> Option<f64> {
    let times = result
        .summary
        .get("repetitions_seconds")?
        .get(mark)?
        .as_array()?;
    let times = times.iter().filter_map(serde_json::Value::as_f64);
    stats::median(&times.collect::<Vec<_>>())
}
