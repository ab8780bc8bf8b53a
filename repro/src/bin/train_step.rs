//! Times training steps (forward, backward and update): of one workload, as one JSON line, or of all workloads beside the
//! frameworks that are installed, as a table.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use repro::cli;
use repro::data::DataOptions;
use repro::engine::provenance;
use repro::methods::{Kind, Method};
use repro::peers::{PYTHON, Settings, compare};
use repro::stats::{median, range};
use repro::timing::{Timed, peak_memory};
use serde_json::json;

/// Times the training steps of one workload: median, minimum and maximum over the counted steps, after a warm-up. With --compare,
/// of all workloads, in turn with PyTorch, torch.compile and JAX as far as they are installed.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[arg(long, required_unless_present = "compare")]
    workload: Option<Timed>,

    /// Any method that the experiments know, as Adam or L4Adam
    #[arg(long, value_parser = kind, required_unless_present = "compare")]
    optimizer: Option<Kind>,

    /// Threads to split one step among; regression, mlp and dnc are too small for more than one, and a comparison times them,
    /// and the others too, on one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,

    /// Steps to count [default: as many as take a few seconds]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    steps: Option<u64>,

    /// Time all workloads and all installed peers, with L4Adam
    #[arg(long, conflicts_with_all = ["workload", "optimizer", "steps"])]
    compare: bool,

    /// Alternating rounds of a comparison
    #[arg(long, requires = "compare", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// The Python that has the peers
    #[arg(
        long,
        requires = "compare",
        value_name = "PROGRAM",
        default_value = PYTHON
    )]
    python: PathBuf,

    /// Where the tables of a comparison go [default: repro/out/train_step]
    #[arg(long, requires = "compare", value_name = "DIR")]
    out: Option<PathBuf>,

    #[command(flatten)]
    data: DataOptions,
}

fn kind(name: &str) -> Result<Kind, String> {
    let mut kinds = Kind::ALL.iter().copied();
    let known = || Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>();
    kinds
        .find(|kind| kind.name().eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("there are {}", known().join(", ")))
}

fn main() -> ExitCode {
    cli::main(|| {
        let arguments = Arguments::try_parse()?;
        if let (Some(workload), Some(optimizer)) = (arguments.workload, arguments.optimizer) {
            return time(workload, optimizer, &arguments);
        }
        let out = arguments.out.clone();
        compare(Settings {
            python: &arguments.python,
            threads: arguments.threads,
            rounds: arguments.rounds,
            out: &out.unwrap_or_else(|| cli::default_out(Path::new("train_step"))),
        })
    })
}

/// Times one workload, and prints a line of JSON.
fn time(workload: Timed, optimizer: Kind, arguments: &Arguments) -> anyhow::Result<()> {
    let data = workload.data(&arguments.data)?;
    let task = workload.workload(data.as_ref(), arguments.threads.into())?;
    let setting = Method::default_alpha(optimizer).unwrap_or(1e-3);
    let mut step = task.stepper(Method::new(optimizer, setting), 0)?;
    let steps = arguments.steps.unwrap_or(match workload {
        Timed::Regression => 2000,
        Timed::Mlp | Timed::Dnc => 400,
        Timed::MlpMnist => 937,
        Timed::Convnet => 12,
        Timed::Resnet32 => 6,
    });
    for _ in 0..(steps / 10).max(3) {
        step()?;
    }
    let (mut times, mut loss) = (Vec::new(), f64::NAN);
    for _ in 0..steps {
        let start = Instant::now();
        loss = step()?;
        times.push(1e3 * start.elapsed().as_secs_f64());
    }
    let (min, max) = range(&times).unwrap_or((f64::NAN, f64::NAN));
    let line = json!({
        "engine": "autodiff",
        "workload": workload.name(),
        "optimizer": optimizer.name(),
        "threads": arguments.threads,
        "step_ms": median(&times),
        "min_ms": min,
        "max_ms": max,
        "steps": steps,
        "loss": loss,
        "peak_memory_bytes": peak_memory(),
        "simd": autodiff::kernels::simd_level(),
        "git_commit": provenance::GIT_COMMIT,
    });
    Ok(cli::print(&format!("{line}\n"))?)
}
