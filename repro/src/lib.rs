//! The experiments of the L4 paper: what all sections share.
//!
//! A section of the paper is a list of runs, methods × seeds, and what is made of their results. It says what a run is
//! ([`RunSpec`](run::RunSpec)), how one is computed ([`Experiment`](experiment::Experiment)), and which tables, figures and
//! claims come out ([`results`]). The [`runner`] does the rest: it computes runs in parallel, keeps them, and goes on after
//! any interruption. What is on disk after a crash, and what makes results reproducible to the bit, is said there.
//!
//! A whole section, here Newton's method for the square root of 2 + seed:
//!
//! ```
//! use repro::engine::checkpoint::Checkpoint;
//! use repro::engine::experiment::{Advance, Experiment, Stop};
//! use repro::engine::metrics::MetricLog;
//! use repro::results::Cell;
//! use repro::engine::run::RunSpec;
//! use repro::engine::runner::{Options, Planned, Runner};
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
//!         Ok(if self.step == self.spec.steps { Advance::Finished } else { Advance::Running })
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
//! let planned: Vec<Planned> = (0..5)
//!     .map(|seed| {
//!         let (section, method) = ("3.1".to_owned(), "Newton".to_owned());
//!         Planned::new(RunSpec { section, method, hyperparameters: Map::new(), seed, steps: 6 }, set_up)
//!     })
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
pub mod report;
pub mod results;
pub mod sections;
pub mod stats;
pub mod table;
pub mod tasks;
pub mod timing;
pub mod tune;
