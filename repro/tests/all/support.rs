//! An experiment with nothing to it but what the runner can get wrong, and a command line around it.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, thread};

use anyhow::bail;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use repro::cli;
use repro::engine::checkpoint::Checkpoint;
use repro::engine::experiment::{Advance, Experiment, Stop};
use repro::engine::metrics::MetricLog;
use repro::engine::run::RunSpec;
use repro::engine::runner::{Options, Planned, Runner};
use repro::engine::streams::{self, Purpose};
use serde_json::{Map, Value, json};

/// A random walk in f64 with a running mean in f32: each of its arrays changes the metrics if it is lost.
pub struct Walk {
    steps: u64,
    fate: Fate,
    position: u64,
    place: [f64; 3],
    mean: [f32; 3],
    rng: ChaCha8Rng,
}

/// What happens at which step.
#[derive(Clone, Copy, Default, clap::Args)]
pub struct Fate {
    #[arg(long)]
    pub diverge_at: Option<u64>,
    #[arg(long)]
    pub fail_at: Option<u64>,
    #[arg(long)]
    pub panic_at: Option<u64>,
    /// Duration of a step.
    #[arg(long, default_value_t = 0)]
    pub step_ms: u64,
}

impl Walk {
    pub fn new(spec: &RunSpec, fate: Fate) -> Self {
        let mut init = streams::stream(spec.seed, Purpose::Init);
        let rng = streams::stream(spec.seed, Purpose::Batches);
        let place = std::array::from_fn(|_| uniform(&mut init));
        Self {
            steps: spec.steps,
            fate,
            position: 0,
            place,
            mean: [0.0; 3],
            rng,
        }
    }

    fn step(&mut self, log: &mut MetricLog) -> Result<(), Stop> {
        let step = self.position + 1;
        thread::sleep(Duration::from_millis(self.fate.step_ms));
        for (place, mean) in self.place.iter_mut().zip(&mut self.mean) {
            *place += uniform(&mut self.rng) - 0.5;
            *mean = 0.9 * *mean + 0.1 * *place as f32;
        }
        let square: f64 = self.place.iter().map(|place| place * place).sum();
        let loss = if self.fate.diverge_at == Some(step) {
            f64::NAN
        } else {
            square
        };
        if self.fate.fail_at == Some(step) {
            return Err(anyhow::anyhow!("fate struck at step {step}").into());
        }
        assert!(self.fate.panic_at != Some(step), "fate struck");
        log.push(step, &[("loss", loss), ("mean", self.mean[0].into())])?;
        if step.is_multiple_of(10) {
            log.push(step, &[("epoch_loss", loss / 10.0)])?;
            log.milestone(step, "tenth step");
        }
        self.position = step;
        Ok(())
    }
}

/// Where a run keeps what it has.
pub fn run_directory(out: &Path, seed: u64, steps: u64) -> PathBuf {
    out.join("runs").join(spec(seed, steps).directory_name())
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    rng.next_u64() as f64 / 2_f64.powi(64)
}

impl Experiment for Walk {
    fn advance(&mut self, max_steps: u64, log: &mut MetricLog) -> Result<Advance, Stop> {
        for _ in 0..max_steps.min(self.steps - self.position) {
            self.step(log)?;
        }
        Ok(Advance::of(self.position == self.steps))
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn save(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        checkpoint.put_scalar("position", self.position);
        checkpoint.put("place", &[3], &self.place);
        checkpoint.put("mean", &[3, 1], &self.mean);
        streams::save(&mut checkpoint, "rng", &self.rng);
        checkpoint
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        self.position = checkpoint.scalar("position")?;
        if self.position > self.steps {
            bail!("position {} of {} steps", self.position, self.steps);
        }
        checkpoint.read_into("place", &mut self.place)?;
        checkpoint.read_into("mean", &mut self.mean)?;
        self.rng = streams::load(checkpoint, "rng")?;
        Ok(())
    }

    fn summary(&self) -> Map<String, Value> {
        Map::from_iter([("place".to_owned(), json!(self.place))])
    }
}

/// A walk that breaks one of the promises of [`Experiment`].
pub struct Flawed {
    pub walk: Walk,
    pub flaw: Flaw,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flaw {
    MakesNoProgress,
    ExceedsItsSlice,
    LogsOncePerSlice,
    ForgetsItsMean,
    ForgetsItsPosition,
    LogsAfterTheEnd,
}

impl Experiment for Flawed {
    fn advance(&mut self, max_steps: u64, log: &mut MetricLog) -> Result<Advance, Stop> {
        match self.flaw {
            Flaw::MakesNoProgress => return Ok(Advance::Running),
            Flaw::LogsOncePerSlice => log.push(self.walk.position, &[("slices", 1.0)])?,
            Flaw::LogsAfterTheEnd if self.walk.position == self.walk.steps => {
                log.push(0, &[("end", 1.0)])?
            }
            _ => {}
        }
        self.walk.advance(
            max_steps.saturating_add((self.flaw == Flaw::ExceedsItsSlice).into()),
            log,
        )
    }

    fn position(&self) -> u64 {
        self.walk.position()
    }

    fn save(&self) -> Checkpoint {
        self.walk.save()
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        self.walk.load(checkpoint)?;
        match self.flaw {
            Flaw::ForgetsItsMean => self.walk.mean = [0.0; 3],
            Flaw::ForgetsItsPosition => self.walk.position = 0,
            _ => {}
        }
        Ok(())
    }

    fn summary(&self) -> Map<String, Value> {
        self.walk.summary()
    }
}

pub fn spec(seed: u64, steps: u64) -> RunSpec {
    let settings = json!({"optimizer": "walk*", "alpha": 0.25, "batch": 64});
    RunSpec::new(
        settings.as_object().cloned().unwrap_or_default(),
        seed,
        steps,
    )
}

pub fn walk(seed: u64, steps: u64, fate: Fate) -> Planned<'static> {
    Planned::new(spec(seed, steps), move |spec| Ok(Walk::new(spec, fate)))
}

/// Random walks.
#[derive(clap::Parser)]
#[command(name = "walk")]
struct ChildOptions {
    #[command(flatten)]
    fate: Fate,
    #[arg(long, default_value_t = 100)]
    steps: u64,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    #[arg(long, default_value_t = 30_000)]
    checkpoint_ms: u64,
    /// What it goes on with after its runs.
    #[arg(long, default_value_t = 0)]
    then_ms: u64,
    #[command(flatten)]
    execution: cli::Execution,
}

/// Set in a child process: its command line.
pub const CHILD: &str = "REPRO_TEST_CHILD";

/// What a section's binary does: `main` of the child process.
pub fn child_main() -> anyhow::Result<()> {
    let line = env::var(CHILD)?;
    let words = ["walk"].into_iter().chain(line.split_whitespace());
    let child = <ChildOptions as clap::Parser>::try_parse_from(words)?;
    let checkpoint_period = Duration::from_millis(child.checkpoint_ms);
    let runner = Runner::open(Options {
        checkpoint_period,
        ..child.execution.runner_options("walk")
    })?;
    let planned: Vec<_> = (0..child.seeds)
        .map(|seed| walk(seed, child.steps, child.fate))
        .collect();
    let results = runner.run(&planned)?;
    cli::print(&format!(
        "{} results in {}\n",
        results.len(),
        runner.out().display()
    ))?;
    std::thread::sleep(Duration::from_millis(child.then_ms));
    Ok(())
}

/// All files under a directory with their content, but for those that depend on time.
pub fn deterministic_files(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    collect(out, out, &mut files);
    files.retain(|(name, _)| !name.ends_with("timing.json") && !name.ends_with(".lock"));
    files.sort();
    files
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            files.push((name, std::fs::read(path).unwrap()));
        }
    }
}
