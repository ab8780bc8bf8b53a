//! The running time and memory of L4 against its base methods: claim C2.

use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cli::{self, Preset};
use crate::data::DataOptions;
use crate::methods::{Kind, Method};
use crate::numbers::{ArmNumbers, Numbers, RunNumbers, TaskName};
use crate::report::Report;
use crate::results::{Cell, CellOfRuns, Column, Entry, Table};
use crate::stats;
use crate::timing::{
    BEFORE, Timed, WORKLOADS, optimizer_cost, paired_ratios, peak_memory, timed_steps,
};

/// L4 and its base method at a rate of Table 1's size. The time of a step does not depend on it.
const PAIRS: [(Kind, Kind, f64); 2] = [
    (Kind::L4Adam, Kind::Adam, 1e-3),
    (Kind::L4Mom, Kind::Momentum, 5e-4),
];

/// How much is timed.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Processes, each with a ratio of its own.
    pub processes: u32,
    /// Pairs of blocks of steps in each.
    pub pairs: u32,
    /// On which workloads.
    workloads: &'static [Timed],
}

impl Size {
    /// That of a preset.
    #[must_use]
    pub fn of(preset: Preset) -> Self {
        let (processes, pairs, workloads): (_, _, &[Timed]) = match preset {
            Preset::Smoke => (2, 4, &[Timed::Regression, Timed::Dnc]),
            Preset::Quick | Preset::Reduced => (3, 4, &WORKLOADS),
            Preset::Paper => (10, 8, &WORKLOADS),
        };
        Self {
            processes,
            pairs,
            workloads,
        }
    }
}

/// What was measured of a variant on a workload. Of two the first is the variant's, the second its base method's.
#[derive(Serialize, Deserialize)]
pub struct Cost {
    workload: String,
    variant: String,
    /// Of whole steps: one of each process.
    ratios: Vec<f64>,
    state_bytes_per_parameter: [f64; 2],
    /// Of the update alone, by processes.
    optimizer_seconds: [Vec<f64>; 2],
    /// Of processes that make a few steps by the one or by the other; none where the system does not tell.
    peak_memory_bytes: [Vec<u64>; 2],
}

/// What one process measures.
#[derive(Serialize, Deserialize)]
struct Timing {
    /// The geometric mean over the pairs.
    ratio: f64,
    optimizer_seconds: [f64; 2],
    state_bytes_per_parameter: [f64; 2],
}

fn method(kind: Kind, rate: f64) -> Method {
    Method::new(kind, Method::default_alpha(kind).unwrap_or(rate))
}

/// Asks processes of their own for the ratios of whole steps and for their memory, and times the optimisers alone.
///
/// # Errors
/// If a step fails.
pub fn measure(size: Size) -> Result<Vec<Cost>> {
    let mut costs = Vec::new();
    for &workload in size.workloads {
        for (variant, base, _) in PAIRS {
            cli::tell(&format!(
                "timing {} against {} on {}",
                variant.name(),
                base.name(),
                workload.name()
            ));
            let timing = |process| timing_of_another(workload, variant, size.pairs, process);
            let timings: Vec<Timing> = (0..size.processes).map(timing).collect::<Result<_>>()?;
            let memory = |kind| -> Result<Vec<u64>> {
                let told = (0..size.processes).map(|_| peak_memory_of(workload, kind));
                told.filter_map(Result::transpose).collect()
            };
            let first = timings.first().context("no process is to time anything")?;
            costs.push(Cost {
                workload: workload.name(),
                variant: variant.name().to_owned(),
                ratios: timings.iter().map(|timing| timing.ratio).collect(),
                state_bytes_per_parameter: first.state_bytes_per_parameter,
                optimizer_seconds: [0, 1].map(|i| {
                    timings
                        .iter()
                        .map(|timing| timing.optimizer_seconds[i])
                        .collect()
                }),
                peak_memory_bytes: [memory(variant)?, memory(base)?],
            });
        }
    }
    Ok(costs)
}

/// What another process of this program prints when it is asked by a hidden option.
fn ask(option: &str, what: &str) -> Result<String> {
    let program = env::current_exe()?;
    let output = Command::new(&program).args([option, what]).output();
    let output = output.with_context(|| format!("cannot start {} again", program.display()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{option} {what}: {errors}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// What a process of its own measures. Where memory lies, which differs from process to process and with the order in which the
/// two are set up, moves the ratio more than the pairs of one process tell: so every second process sets up the base method first.
fn timing_of_another(workload: Timed, variant: Kind, pairs: u32, process: u32) -> Result<Timing> {
    let what = format!("{},{},{pairs},{process}", workload.name(), variant.name());
    let printed = ask("--timing-of", &what)?;
    serde_json::from_str(&printed).with_context(|| format!("expected times, found {printed:?}"))
}

/// Times pairs of blocks of steps that alternate in this process, and the updates alone, and prints that.
///
/// # Errors
/// If there is no such workload or variant, or a step fails.
pub fn timing_of(what: &str) -> Result<()> {
    let words: Vec<&str> = what.split(',').collect();
    let [workload, variant, pairs, process] = words[..] else {
        bail!("expected WORKLOAD,OPTIMIZER,PAIRS,PROCESS");
    };
    let workload = Timed::from_str(workload, true).map_err(anyhow::Error::msg)?;
    let pair = PAIRS.into_iter().find(|(kind, ..)| kind.name() == variant);
    let (variant, base, rate) = pair.context("no such variant")?;
    let pairs: u32 = pairs.parse()?;
    let data = workload.data(&DataOptions::default())?;
    let task = workload.workload(data.as_ref(), 1)?;
    let [variant, base] = [variant, base].map(|kind| method(kind, rate));
    let base_first = process.parse::<u32>()? % 2 == 1;
    let (first, second) = if base_first {
        (base, variant)
    } else {
        (variant, base)
    };
    let steps = timed_steps(task)?;
    let (mut first, mut second) = (steps(first)?, steps(second)?);
    let ratios = paired_ratios(&mut first, &mut second, pairs)?;
    let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let mean = stats::mean(&logs).context("there are no pairs")?;
    let alone = |method| optimizer_cost(task, method, 100 * pairs);
    let alone = [alone(variant)?, alone(base)?];
    let timing = Timing {
        ratio: if base_first { -mean } else { mean }.exp(),
        optimizer_seconds: alone.map(|alone| alone.seconds),
        state_bytes_per_parameter: alone.map(|alone| alone.state_bytes_per_parameter),
    };
    Ok(cli::print(&format!(
        "{}\n",
        serde_json::to_string(&timing)?
    ))?)
}

/// The peak memory of another process that makes a few steps, in bytes; `None` on a system that does not tell it.
fn peak_memory_of(workload: Timed, kind: Kind) -> Result<Option<u64>> {
    let what = format!("{},{}", workload.name(), kind.name());
    let told = ask("--memory-of", &what)?;
    serde_json::from_str(&told).with_context(|| format!("expected bytes or null, found {told}"))
}

/// Makes a few steps and prints the peak memory of this process, in bytes, or `null` if the system does not tell it.
///
/// # Errors
/// If there is no such workload or method, or a step fails.
pub fn memory_of(what: &str) -> Result<()> {
    let (workload, name) = what
        .split_once(',')
        .context("expected WORKLOAD,OPTIMIZER")?;
    let workload = Timed::from_str(workload, true).map_err(anyhow::Error::msg)?;
    let kind = Kind::ALL
        .iter()
        .find(|kind| kind.name() == name)
        .context("no such method")?;
    let data = workload.data(&DataOptions::default())?;
    let task = workload.workload(data.as_ref(), 1)?;
    let mut step = task.stepper(method(*kind, 5e-4), 0)?;
    for _ in 0..3 {
        let loss = step()?;
        ensure!(loss.is_finite(), "the loss is {loss}");
    }
    let bytes = serde_json::to_string(&peak_memory())?;
    Ok(cli::print(&format!("{bytes}\n"))?)
}

/// Every setting of the methods that are timed.
///
/// # Errors
/// If one is out of range.
pub fn hyperparameters() -> Result<IndexMap<String, Map<String, Value>>> {
    let mut all = IndexMap::new();
    for (variant, base, rate) in PAIRS {
        for kind in [variant, base] {
            all.insert(kind.name().to_owned(), method(kind, rate).settings()?);
        }
    }
    Ok(all)
}

/// What claim C2 is judged by.
///
/// # Errors
/// If a setting is out of range.
pub fn numbers(costs: &[Cost], preset: Preset, size: Size) -> Result<Numbers> {
    let arm = |cost: &Cost| {
        let name = format!("{} {}", cost.workload, cost.variant);
        let summary = serde_json::to_value(cost)?;
        let summary = summary.as_object().cloned().unwrap_or_default();
        let run = RunNumbers::measured(format!("running time of {name}"), summary);
        Ok(ArmNumbers::measurement(name, vec![run]))
    };
    Ok(Numbers {
        section: "3".to_owned(),
        task: TaskName::RunningTime,
        preset: preset.name().to_owned(),
        unit: format!(
            "processes with {} pairs of blocks of steps each",
            size.pairs
        ),
        length: size.processes.into(),
        paper_length: Size::of(Preset::Paper).processes.into(),
        arms: costs.iter().map(arm).collect::<Result<_>>()?,
        ..Numbers::default()
    })
}

/// What was measured, from the numbers that are kept of it.
///
/// # Errors
/// If they are not such.
pub fn measured(numbers: &Numbers) -> Result<Vec<Cost>> {
    let runs = numbers.arms.iter().flat_map(|arm| &arm.runs);
    let cost = |run: &RunNumbers| {
        let summary = Value::Object(run.summary.clone());
        serde_json::from_value(summary).with_context(|| format!("{} is damaged", run.id))
    };
    runs.map(cost).collect()
}

fn by_process(values: impl Iterator<Item = f64>) -> Entry {
    Cell::of_values(values).into()
}

/// To four digits: the number of parameters makes the rest.
fn rounded(value: f64) -> Entry {
    format!("{value:.3e}").parse().unwrap_or(value).into()
}

/// `running_time.json`.
#[must_use]
pub fn table(costs: &[Cost], report: &Report) -> Table {
    let columns = vec![
        Column::new("workload", "Workload"),
        Column::new("method", "Method"),
        Column::new("base", "Base method"),
        Column::new("ratio", "Whole step, times the base method's"),
        Column::with_unit("optimizer", "Optimiser alone", "µs"),
        Column::with_unit("optimizer_base", "Base alone", "µs"),
        Column::with_unit("state", "State a parameter", "B"),
        Column::with_unit("state_base", "Base's state a parameter", "B"),
        Column::with_unit("memory", "Peak memory of the process", "MiB"),
        Column::with_unit("memory_base", "Base's", "MiB"),
    ];
    let title = format!(
        "Running time and memory of L4 against its base methods, one thread: whole training steps (forward, backward, update) in \
         pairs that alternate in one process, all made from the same weights, those of seed 0 after {BEFORE} steps of Adam; \
         the update alone; and memory; by processes"
    );
    Table {
        header: report.header("running_time", &title),
        columns,
        rows: costs.iter().map(row).collect(),
    }
}

fn row(cost: &Cost) -> IndexMap<String, Entry> {
    let mut row: IndexMap<String, Entry> = IndexMap::new();
    row.insert("workload".to_owned(), cost.workload.as_str().into());
    row.insert("method".to_owned(), cost.variant.as_str().into());
    let base = PAIRS.iter().find(|(kind, ..)| kind.name() == cost.variant);
    if let Some((_, base, _)) = base {
        row.insert("base".to_owned(), base.name().into());
    }
    row.insert("ratio".to_owned(), by_process(cost.ratios.iter().copied()));
    let names = [
        ("optimizer", "state", "memory"),
        ("optimizer_base", "state_base", "memory_base"),
    ];
    for (i, (time, state, memory)) in names.into_iter().enumerate() {
        let seconds = cost.optimizer_seconds[i].iter();
        row.insert(time.to_owned(), by_process(seconds.map(|s| s * 1e6)));
        row.insert(state.to_owned(), rounded(cost.state_bytes_per_parameter[i]));
        let bytes = &cost.peak_memory_bytes[i];
        if !bytes.is_empty() {
            let mebibytes = bytes.iter().map(|&bytes| bytes as f64 / f64::from(1 << 20));
            row.insert(memory.to_owned(), by_process(mebibytes));
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost() -> Cost {
        Cost {
            workload: "mlp".to_owned(),
            variant: "L4Adam".to_owned(),
            ratios: vec![1.0, 1.2],
            state_bytes_per_parameter: [8.0, 4.0],
            optimizer_seconds: [vec![2e-6, 4e-6], vec![1e-6, 1e-6]],
            peak_memory_bytes: [vec![3 << 20, 5 << 20], Vec::new()],
        }
    }

    #[test]
    fn what_is_measured_is_shown_by_processes() {
        let row = serde_json::to_value(row(&cost())).unwrap();
        let shown = [
            ("ratio", [1.0, 1.2]),
            ("optimizer", [2.0, 4.0]),
            ("memory", [3.0, 5.0]),
        ];
        for (key, values) in shown {
            let found = row[key]["values"].as_array().unwrap();
            for (found, value) in found.iter().zip(values) {
                assert!((found.as_f64().unwrap() - value).abs() < 1e-12, "{key}");
            }
            assert_eq!(row[key]["n"], 2, "{key}");
        }
        assert_eq!(
            (&row["base"], &row["state_base"]),
            (&"Adam".into(), &4.0.into())
        );
        assert!(row.get("memory_base").is_none(), "no system told");
    }

    #[test]
    fn what_is_kept_is_what_was_measured() {
        let numbers = numbers(&[cost()], Preset::Smoke, Size::of(Preset::Smoke)).unwrap();
        let [again] = &measured(&numbers).unwrap()[..] else {
            panic!("one was kept");
        };
        assert_eq!(row(again), row(&cost()));
        let mut damaged = numbers;
        damaged.arms[0].runs[0].summary.remove("ratios");
        assert!(measured(&damaged).is_err());
    }
}
