//! When a run first came below a fraction of its first loss.

use crate::engine::checkpoint::Checkpoint;
use crate::engine::metrics::MetricLog;

/// Losses relative to the first, whose first passing is noted: how far regression converges.
pub const TOLERANCES: [(&str, f64); 3] = [("1e-6", 1e-6), ("1e-10", 1e-10), ("1e-14", 1e-14)];

/// Notes as milestones which of [`TOLERANCES`] a run has passed.
#[derive(Default)]
pub struct Marks {
    first_loss: Option<f64>,
    passed: usize,
}

impl Marks {
    /// Takes the loss at the weights after `step` updates.
    pub fn observe(&mut self, step: u64, loss: f64, log: &mut MetricLog) {
        let first = *self.first_loss.get_or_insert(loss);
        while let Some((name, _)) = TOLERANCES
            .get(self.passed)
            .filter(|(_, tolerance)| loss <= tolerance * first)
        {
            log.milestone(step, name);
            self.passed += 1;
        }
    }

    /// The first loss of the run, once there is one.
    #[must_use]
    pub fn first_loss(&self) -> Option<f64> {
        self.first_loss
    }

    /// Whether the last was passed.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.passed == TOLERANCES.len()
    }

    /// Stores it.
    pub fn save(&self, checkpoint: &mut Checkpoint) {
        let first = self.first_loss.as_slice();
        checkpoint.put("first_loss", &[first.len()], first);
        checkpoint.put_scalar("tolerances_passed", self.passed as u64);
    }

    /// What [`save`](Self::save) stored.
    ///
    /// # Errors
    /// If the checkpoint has none.
    pub fn load(checkpoint: &Checkpoint) -> anyhow::Result<Self> {
        Ok(Self {
            first_loss: checkpoint.values("first_loss")?.first().copied(),
            passed: checkpoint.scalar::<u64>("tolerances_passed")?.try_into()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_passed_at_its_part_of_the_first_loss_and_two_at_once() {
        let (mut marks, mut log) = (Marks::default(), MetricLog::default());
        let losses = [4.0, 4.000_001e-6, 4e-6, 5.0, 4.1e-14, 4e-14];
        for (step, loss) in (0..).zip(losses) {
            assert!(!marks.complete());
            marks.observe(step, loss, &mut log);
        }
        let passed = TOLERANCES.map(|(name, _)| log.timing().milestones[name].step);
        assert_eq!(passed, [2, 4, 5]);
        assert!(marks.complete());
    }
}
