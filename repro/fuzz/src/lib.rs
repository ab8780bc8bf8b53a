//! A run to be damaged: what it holds when it is whole, and what becomes of it when a file is changed.

use std::fs;
use std::path::PathBuf;

use repro::engine::checkpoint::Checkpoint;
use repro::engine::experiment::{Advance, Experiment, Stop};
use repro::engine::metrics::MetricLog;
use repro::engine::run::{RunResult, RunSpec};
use repro::engine::runner::{Options, Planned, Runner};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Newton's method for the square root of 2.
struct Newton {
    step: u64,
    x: f64,
}

const STEPS: u64 = 4;

impl Experiment for Newton {
    fn advance(&mut self, max_steps: u64, log: &mut MetricLog) -> Result<Advance, Stop> {
        for _ in 0..max_steps.min(STEPS.saturating_sub(self.step)) {
            let error = self.x * self.x - 2.0;
            self.x -= error / (2.0 * self.x);
            self.step += 1;
            log.push(self.step, &[("error", error.abs())])?;
        }
        Ok(Advance::of(self.step == STEPS))
    }

    fn position(&self) -> u64 {
        self.step
    }

    fn save(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        checkpoint.put_scalar("step", self.step);
        checkpoint.put_scalar("x", self.x);
        checkpoint
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        self.step = checkpoint.scalar("step")?;
        self.x = checkpoint.scalar("x")?;
        anyhow::ensure!(self.step <= STEPS, "step {} of {STEPS}", self.step);
        Ok(())
    }

    fn summary(&self) -> Map<String, Value> {
        Map::from_iter([("root".to_owned(), json!(self.x))])
    }
}

/// A finished run, and a runner that finds it.
pub struct Run {
    runner: Runner,
    planned: Vec<Planned<'static>>,
    folder: PathBuf,
    /// The files that a finished run has, by name.
    files: Vec<(String, Vec<u8>)>,
    result: RunResult,
    _out: TempDir,
}

impl Run {
    /// Computes it.
    pub fn new() -> anyhow::Result<Self> {
        let out = tempfile::tempdir()?;
        let settings = Map::from_iter([("optimizer".to_owned(), json!("Newton"))]);
        let spec = RunSpec::new(settings, 0, STEPS);
        let planned = vec![Planned::new(spec, |_| Ok(Newton { step: 0, x: 1.0 }))];
        let runner = Runner::open(Options::new(out.path()))?;
        let result = runner.run(&planned)?.remove(0);
        let folder = fs::read_dir(out.path().join("runs"))?
            .next()
            .ok_or_else(|| anyhow::anyhow!("a run has a folder"))??
            .path();
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // A hidden file is a lock.
            if !name.starts_with('.') {
                files.push((name.into_owned(), fs::read(&path)?));
            }
        }
        files.sort();
        Ok(Self {
            runner,
            planned,
            folder,
            files,
            result,
            _out: out,
        })
    }

    /// The names of its files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(name, _)| name.as_str())
    }

    /// Runs it again with one of its files changed, and one taken away if `without` names it. What comes of it is an error,
    /// or the very same result.
    pub fn check(&self, name: &str, change: Change<'_>, without: &str) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.folder).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        fs::create_dir_all(&self.folder)?;
        for (file, content) in self.files.iter().filter(|(file, _)| file != without) {
            let changed = match file == name {
                true => change.of(content),
                false => content.clone(),
            };
            fs::write(self.folder.join(file), changed)?;
        }
        if let Ok(results) = self.runner.run(&self.planned) {
            let found = &results[0];
            assert_eq!(found.metrics, self.result.metrics, "{name}");
            assert_eq!(found.summary, self.result.summary, "{name}");
            assert_eq!(found.outcome, self.result.outcome, "{name}");
        }
        Ok(())
    }
}

/// What becomes of a file's content.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    /// Other content.
    Whole(&'a [u8]),
    /// Other bytes from a place on, for some that stood there.
    Part {
        /// Where.
        at: usize,
        /// How many go.
        removed: usize,
        /// What comes there.
        bytes: &'a [u8],
    },
}

impl<'a> Change<'a> {
    /// The change that an input asks for, and its first byte.
    pub fn read(input: &'a [u8]) -> Option<(u8, Self)> {
        let (&first, rest) = input.split_first()?;
        let change = match rest {
            [0, whole @ ..] => Self::Whole(whole),
            [1, at, page, removed, bytes @ ..] => Self::Part {
                at: usize::from(*at) + 256 * usize::from(*page),
                removed: usize::from(*removed),
                bytes,
            },
            _ => return None,
        };
        Some((first, change))
    }

    fn of(&self, content: &[u8]) -> Vec<u8> {
        match *self {
            Self::Whole(bytes) => bytes.to_vec(),
            Self::Part { at, removed, bytes } => {
                let at = at.min(content.len());
                let rest = (at + removed).min(content.len());
                [&content[..at], bytes, &content[rest..]].concat()
            }
        }
    }
}
