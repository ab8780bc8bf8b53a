//! Steps between two rows of metrics: their mean loss, and how the effective learning rate moved.
//!
//! | metric | what it is |
//! |---|---|
//! | `loss` | mean training loss of the batches |
//! | `learning_rate`, `…_min`, `…_max` | median and range of the effective learning rate |

use crate::engine::checkpoint::Checkpoint;
use crate::engine::experiment::Stop;
use crate::engine::metrics::MetricLog;

/// The steps since the last row.
#[derive(Default)]
pub struct Window {
    loss_sum: f64,
    rates: Vec<f64>,
}

impl Window {
    /// Takes a step's loss and rate.
    pub fn observe(&mut self, loss: f64, rate: f64) {
        self.loss_sum += loss;
        self.rates.push(rate);
    }

    /// Logs the window that ends with this step, and begins the next.
    ///
    /// # Errors
    /// If a value is not finite.
    pub fn log(&mut self, step: u64, log: &mut MetricLog) -> Result<(), Stop> {
        let Self {
            loss_sum,
            mut rates,
        } = std::mem::take(self);
        rates.sort_by(f64::total_cmp);
        let at = |index: usize| rates.get(index).copied().unwrap_or(f64::NAN);
        let last = rates.len().saturating_sub(1);
        let row = [
            ("loss", loss_sum / rates.len() as f64),
            ("learning_rate", (at(last / 2) + at(last.div_ceil(2))) / 2.0),
            ("learning_rate_min", at(0)),
            ("learning_rate_max", at(last)),
        ];
        log.push(step, &row)
    }

    /// Stores it under `window/…`.
    pub fn save(&self, checkpoint: &mut Checkpoint) {
        checkpoint.put_scalar("window/loss_sum", self.loss_sum);
        checkpoint.put("window/rates", &[self.rates.len()], &self.rates);
    }

    /// What [`save`](Self::save) stored.
    ///
    /// # Errors
    /// If the checkpoint has no window.
    pub fn load(checkpoint: &Checkpoint) -> anyhow::Result<Self> {
        Ok(Self {
            loss_sum: checkpoint.scalar("window/loss_sum")?,
            rates: checkpoint.values("window/rates")?.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_median_and_its_range() {
        let mut window = Window::default();
        for (loss, rate) in [(1.0, 8.0), (2.0, 1.0), (3.0, 0.0), (6.0, 2.0)] {
            window.observe(loss, rate);
        }
        let mut log = MetricLog::default();
        window.log(4, &mut log).unwrap();
        let value = |name| log.metrics().get(name).unwrap().values[0];
        let logged = [
            "loss",
            "learning_rate",
            "learning_rate_min",
            "learning_rate_max",
        ]
        .map(value);
        assert_eq!(logged, [3.0, 1.5, 0.0, 8.0]);
    }
}
