//! Section 3, before its subsections: Table 1 and what it rests on, Figure 1, and the running time.

mod illustration;
mod running_time;
mod table1;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::cli::{self, Preset, reference_root};
use crate::engine::provenance::{DataSet, GIT_COMMIT, NOT_RECORDED, this_machine};
use crate::engine::reference;
use crate::engine::runner::{Options, Runner};
use crate::judge::{committed, judge_section};
use crate::numbers::Numbers;
use crate::report::Report;
use crate::results::{Header, Protocol};

pub use running_time::{memory_of, timing_of};

/// Section 3: Table 1 (the best rates and alphas of the committed searches, see `tune`), how the final loss depends on rate and
/// alpha, Figure 1 (the update rule, drawn), and the running time and memory of L4 against its base methods, which claim C2 is
/// about.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many processes time training steps: smoke 2 on the small networks, quick and reduced 3, paper 10
    #[arg(long, value_enum, default_value_t = Preset::Quick)]
    preset: Preset,

    /// Time nothing: show the running time as it is committed
    #[arg(long, conflicts_with = "preset")]
    finished: bool,

    /// Directory for the results [default: repro/out/section3]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Prints the peak memory of a few steps of a workload by an optimiser, and does nothing else
    #[arg(long, hide = true, value_name = "WORKLOAD,OPTIMIZER")]
    memory_of: Option<String>,

    /// Prints the times of whole steps and of updates, an L4's and its base method's, and does nothing else
    #[arg(long, hide = true, value_name = "WORKLOAD,OPTIMIZER,PAIRS,PROCESS")]
    timing_of: Option<String>,
}

/// The `main` of the binary.
pub fn main() -> ExitCode {
    cli::main(|| {
        let arguments = Arguments::try_parse()?;
        match (&arguments.memory_of, &arguments.timing_of) {
            (Some(what), _) => memory_of(what),
            (None, Some(what)) => timing_of(what),
            (None, None) => run(&arguments),
        }
    })
}

fn run(arguments: &Arguments) -> Result<()> {
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| cli::default_out(Path::new("section3")));
    let runner = Runner::open(Options::new(out))?;
    // First, so that what is damaged there is said before all is timed.
    let searches = table1::searches(&reference_root())?;
    let others = committed(&reference_root(), "3")?;
    let numbers = match arguments.finished {
        true => committed_times(&reference_root())?,
        false => time(arguments.preset)?,
    };
    let timed = running_time::measured(&numbers)?;
    let mut deviations = vec![
        "Table 1 and the sensitivity rest on the searches committed below repro/reference/tune; a task whose search is not there \
         has no entry."
            .to_owned(),
        "Running time: on the DNC Adam and mSGD are timed without the clipping of gradients that section 3.4's baselines have."
            .to_owned(),
        "Running time: images are made up and have no zeros. Most pixels of MNIST's are zeros, which products leave out: there a step of \
         the perceptron is shorter, and what L4 adds to it a greater part."
            .to_owned(),
    ];
    deviations.extend(searches.iter().flat_map(table1::TaskSearch::reduced));
    deviations.extend(searches.iter().flat_map(table1::TaskSearch::edges));
    deviations.extend(timed_before(&numbers));
    if numbers.length < numbers.paper_length {
        deviations.push(format!(
            "Running time: {} processes; `--preset paper` has {}.",
            numbers.length, numbers.paper_length
        ));
    }
    let shared = Header {
        id: String::new(),
        title: String::new(),
        section: "3".to_owned(),
        protocol: Protocol {
            preset: numbers.preset.clone(),
            seeds: Vec::new(),
            hyperparameters: running_time::hyperparameters()?,
            search: table1::search_rule(),
            ..Protocol::default()
        },
        deviations,
        provenance: runner.provenance(DataSet::generated(
            "as sections 3.1 to 3.5; running times on synthetic stand-ins",
        )),
        paper: None,
    };
    let mut report = Report::new(runner.out().to_owned(), shared);
    report.figure(&illustration::figure1(&report)?)?;
    report.table(&table1::table1(&searches, &report))?;
    if let Some(figure) = table1::sensitivity(&searches, &report) {
        report.figure(&figure)?;
    }
    report.table(&table1::searched(&searches, &report))?;
    report.table(&running_time::table(&timed, &report))?;
    let numbers = vec![numbers];
    let findings = judge_section(&numbers, &others);
    report.claims(numbers, findings)?;
    report.finish()
}

fn time(preset: Preset) -> Result<Numbers> {
    let size = running_time::Size::of(preset);
    let timed = running_time::measure(size)?;
    running_time::numbers(&timed, preset, size)
}

/// That the running times are of another command, of which code and on which machines; nothing if they are of this one.
fn timed_before(numbers: &Numbers) -> Option<String> {
    let runs = || numbers.arms.iter().flat_map(|arm| &arm.runs);
    let commits: BTreeSet<&str> = runs().map(|run| run.git_commit.as_str()).collect();
    let machines = runs().map(|run| run.machine.as_deref().unwrap_or(NOT_RECORDED));
    let machines: BTreeSet<&str> = machines.collect();
    let here = this_machine();
    let ours = commits == BTreeSet::from([GIT_COMMIT]) && machines == BTreeSet::from([&*here]);
    let list = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(" and ");
    (!ours).then(|| {
        let (commits, machines) = (list(commits), list(machines));
        format!("Running time: measured before, by the code of {commits}; machine: {machines}.")
    })
}

fn committed_times(root: &Path) -> Result<Numbers> {
    let folder = root.join("section3");
    let numbers = reference::read(&folder)?.unwrap_or_default();
    let first = numbers.into_iter().next();
    first.with_context(|| {
        format!(
            "there are no committed times in {}: leave out --finished to measure them",
            folder.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_nobody_committed_are_not_made_up() {
        let root = tempfile::tempdir().unwrap();
        let error = committed_times(root.path()).unwrap_err().to_string();
        assert!(error.contains("no committed times in") && error.contains("--finished"));
        let committed = committed_times(&reference_root()).unwrap();
        assert_eq!(committed.section, "3");
    }
}
