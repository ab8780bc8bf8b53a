//! How long what is about to be run will take.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::part::Resolved;
use crate::cli;

/// Steps that are made to tell how long a run will take.
const TRIAL_STEPS: u32 = 5;
/// Seconds that are not worth a word.
const SHORT: f64 = 60.0;

/// How long runs will take, from a few steps of each.
#[derive(Default)]
pub(super) struct TimeEstimate {
    seconds: f64,
    runs: usize,
}

impl TimeEstimate {
    /// Runs of an arm. What is timed is short, and its solver takes no steps of a method.
    pub(super) fn add(&mut self, arm: &Resolved<'_>, runs: usize) -> Result<()> {
        let Some(method) = arm.method.filter(|_| !arm.is_timed()) else {
            return Ok(());
        };
        let mut step = arm.workload.stepper(method, 0)?;
        // A method may diverge at once: its run then takes less, or no time.
        if step().is_err() {
            return Ok(());
        }
        let start = Instant::now();
        let made = (0..TRIAL_STEPS)
            .take_while(|_| step().is_ok())
            .count()
            .max(1);
        let per_step = start.elapsed().as_secs_f64() / made as f64;
        self.seconds += per_step * runs as f64 * arm.workload.course().steps as f64;
        self.runs += runs;
        Ok(())
    }

    /// Says so on standard error, if it is worth a word.
    pub(super) fn tell(&self, jobs: usize) {
        let (runs, at_once) = (self.runs, jobs.min(self.runs.max(1)));
        let wall = self.seconds / at_once as f64;
        if wall > SHORT {
            let minutes = Duration::from_secs((wall / 60.0).ceil() as u64).saturating_mul(60);
            cli::tell(&format!(
                "{runs} runs, {at_once} at a time: about {}, tests not counted",
                humantime::format_duration(minutes)
            ));
        }
    }
}
