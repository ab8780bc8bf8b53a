//! The experiments of the L4 paper.
//!
//! | module | what it is |
//! |---|---|
//! | [`sections`] | the paper, section by section: what is trained, by which methods, what is shown. Start here |
//! | [`tasks`] | what is learnt: data, a model and a loss, and the training of one by a method |
//! | [`methods`] | the optimisers, a line each, with their settings as they tell them themselves |
//! | [`engine`] | runs: sliced, saved, resumed, kept, and taken from what is committed |
//! | [`tune`], [`searched`] | the search for the best rates and α, and what it found, which the sections read |
//! | [`numbers`] | what runs measured, arm by arm: what is committed, and what verdicts rest on |
//! | [`judge`] | verdicts on the paper's claims, pure functions of committed numbers |
//!
//! Data flow one way: sections → tasks → models → autodiff, and sections → judge.
//!
//! # A run of one's own
//!
//! The engine knows nothing of training. Here it computes Newton's method for the square root of 2 + seed, five times:
//!
//! ```
//! use repro::engine::checkpoint::Checkpoint;
//! use repro::engine::experiment::{Advance, Experiment, Stop};
//! use repro::engine::metrics::MetricLog;
//! use repro::engine::run::RunSpec;
//! use repro::engine::runner::{Options, Planned, Runner};
//! use repro::results::{Cell, CellOfRuns};
//! use serde_json::{Map, Value, json};
//!
//! struct Newton {
//!     spec: RunSpec,
//!     step: u64,
//!     x: f64,
//! }
//!
//! impl Experiment for Newton {
//!     fn advance(&mut self, max_steps: u64, log: &mut MetricLog) -> Result<Advance, Stop> {
//!         for _ in 0..max_steps.min(self.spec.steps - self.step) {
//!             let error = self.x * self.x - (2 + self.spec.seed) as f64;
//!             self.x -= error / (2.0 * self.x);
//!             self.step += 1;
//!             log.push(self.step, &[("error", error.abs())])?;
//!         }
//!         Ok(Advance::of(self.step == self.spec.steps))
//!     }
//!
//!     fn position(&self) -> u64 {
//!         self.step
//!     }
//!
//!     fn save(&self) -> Checkpoint {
//!         let mut checkpoint = Checkpoint::default();
//!         checkpoint.put_scalar("step", self.step);
//!         checkpoint.put_scalar("x", self.x);
//!         checkpoint
//!     }
//!
//!     fn load(&mut self, checkpoint: &Checkpoint) -> anyhow::Result<()> {
//!         self.step = checkpoint.scalar("step")?;
//!         self.x = checkpoint.scalar("x")?;
//!         Ok(())
//!     }
//!
//!     fn summary(&self) -> Map<String, Value> {
//!         Map::from_iter([("root".to_owned(), json!(self.x))])
//!     }
//! }
//!
//! let set_up = |spec: &RunSpec| Ok(Newton { spec: spec.clone(), step: 0, x: 1.0 });
//! let settings = Map::from_iter([("optimizer".to_owned(), json!("Newton"))]);
//! let planned: Vec<Planned> = (0..5)
//!     .map(|seed| Planned::new(RunSpec::new(settings.clone(), seed, 6), set_up))
//!     .collect();
//!
//! # let directory = tempfile::tempdir()?;
//! # let out = directory.path();
//! let runner = Runner::open(Options { jobs: 2, ..Options::new(out) })?;
//! let results = runner.run(&planned)?;
//! let error = Cell::over(&results, |run| run.metrics.get("error")?.values.last().copied());
//! assert!(error.n == 5 && error.mean < Some(1e-9));
//! # Ok::<(), anyhow::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod cli;
pub mod data;
pub mod engine;
pub mod judge;
pub mod methods;
pub mod numbers;
pub mod peers;
pub mod report;
pub mod results;
pub mod searched;
pub mod sections;
pub mod stats;
pub mod tasks;
pub mod timing;
pub mod tune;
