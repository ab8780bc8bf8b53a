//! What a run measures: deterministic values by step, and apart from them the time it took.

use std::time::Instant;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::experiment::Stop;

/// Measured values by name. Each name has its own steps, as not everything is measured at every step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    columns: IndexMap<String, Column>,
}

/// The values of one metric, in the order in which they were logged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The step at which each value was measured.
    pub steps: Vec<u64>,
    /// The values, all finite; as many as steps.
    pub values: Vec<f64>,
}

impl Metrics {
    /// The values of one metric; `None` if nothing was logged under that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Column> {
        self.columns.get(name)
    }

    pub(crate) fn from_columns(columns: IndexMap<String, Column>) -> Self {
        Self { columns }
    }

    /// All values, by name.
    #[must_use]
    pub fn columns(&self) -> &IndexMap<String, Column> {
        &self.columns
    }

    fn push(&mut self, step: u64, name: &str, value: f64) {
        // A look-up first: `entry` would allocate the name for every value.
        let column = match self.columns.get_index_of(name) {
            Some(index) => &mut self.columns[index],
            None => self.columns.entry(name.to_owned()).or_default(),
        };
        column.steps.push(step);
        column.values.push(value);
    }

    /// Reads what [`MetricLog`] writes. An error names the line.
    pub(crate) fn parse(json_lines: &[u8]) -> Result<Self, ParseError> {
        let mut metrics = Self::default();
        let lines = json_lines.split_inclusive(|&byte| byte == b'\n');
        for (index, line) in lines.enumerate() {
            metrics.parse_line(line).map_err(|reason| ParseError {
                line: index + 1,
                reason,
            })?;
        }
        Ok(metrics)
    }

    fn parse_line(&mut self, line: &[u8]) -> Result<(), String> {
        if line.last() != Some(&b'\n') {
            return Err("it is cut short".to_owned());
        }
        let row: Map<String, Value> =
            serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let step = row
            .get("step")
            .and_then(Value::as_u64)
            .ok_or("it has no step")?;
        for (name, value) in row.iter().filter(|(name, _)| *name != "step") {
            let value = value
                .as_f64()
                .ok_or_else(|| format!("`{name}` is not a number"))?;
            self.push(step, name, value);
        }
        Ok(())
    }
}

/// A line of `metrics.jsonl` that is not a row of metrics.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(crate) struct ParseError {
    line: usize,
    reason: String,
}

/// Seconds are kept apart from the metrics, because they differ from run to run.
///
/// The clock runs only while the experiment advances: neither its set-up nor the runner's own work counts. The time of steps that a
/// crash undid is lost with them, unless it came between the times and the checkpoint: then it counts each time they are done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Time spent training, summed over all resumptions.
    pub wall_seconds: f64,
    /// When the run first passed each of the marks that its experiment names.
    pub milestones: IndexMap<String, Milestone>,
}

/// When a run passed a mark.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Milestone {
    /// At which step.
    pub step: u64,
    /// After how many seconds of training.
    pub seconds: f64,
}

/// Where an experiment writes what it measures.
#[derive(Debug)]
pub struct MetricLog {
    metrics: Metrics,
    /// Rows that are not on disk yet, as JSON lines.
    pending: Vec<u8>,
    timing: Timing,
    slice_start: Instant,
}

impl Default for MetricLog {
    fn default() -> Self {
        Self::resume(Metrics::default(), Timing::default())
    }
}

impl MetricLog {
    pub(crate) fn resume(metrics: Metrics, timing: Timing) -> Self {
        Self {
            metrics,
            pending: Vec::new(),
            timing,
            slice_start: Instant::now(),
        }
    }

    /// Logs what was measured at `step`. Values are deterministic: no times.
    ///
    /// # Errors
    /// A value that is not finite ends the run as diverged at this step, and the row is not logged. So `?` after this call
    /// is all that an experiment does about a loss that overflows. A name may occur once in a row, and `step` not at all.
    pub fn push(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), Stop> {
        if let Some((name, value)) = values.iter().find(|(_, value)| !value.is_finite()) {
            return Err(Stop::Diverged {
                step,
                reason: format!("{name} is {value}"),
            });
        }
        let taken = |index: usize, name| {
            name == "step" || values[..index].iter().any(|(other, _)| *other == name)
        };
        if let Some((_, (name, _))) = values
            .iter()
            .enumerate()
            .find(|(index, (name, _))| taken(*index, *name))
        {
            return Err(Stop::Failed(anyhow::anyhow!(
                "the name `{name}` is taken in a row of metrics"
            )));
        }
        self.write_row(step, values)?;
        for (name, value) in values {
            self.metrics.push(step, name, *value);
        }
        Ok(())
    }

    fn write_row(&mut self, step: u64, values: &[(&str, f64)]) -> serde_json::Result<()> {
        self.pending.extend(b"{\"step\":");
        serde_json::to_writer(&mut self.pending, &step)?;
        for (name, value) in values {
            self.pending.push(b',');
            serde_json::to_writer(&mut self.pending, name)?;
            self.pending.push(b':');
            serde_json::to_writer(&mut self.pending, value)?;
        }
        self.pending.extend(b"}\n");
        Ok(())
    }

    /// Notes the time at which the run passes a mark. Only the first time counts.
    pub fn milestone(&mut self, step: u64, name: &str) {
        if !self.timing.milestones.contains_key(name) {
            let seconds = self.timing.wall_seconds + self.slice_start.elapsed().as_secs_f64();
            self.timing
                .milestones
                .insert(name.to_owned(), Milestone { step, seconds });
        }
    }

    /// All that was logged so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Runs `slice` with the clock running.
    pub(crate) fn timed<T>(&mut self, slice: impl FnOnce(&mut Self) -> T) -> T {
        self.slice_start = Instant::now();
        let outcome = slice(self);
        self.timing.wall_seconds += self.slice_start.elapsed().as_secs_f64();
        outcome
    }

    /// The rows that came since the last call, as JSON lines.
    pub(crate) fn take_pending(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    pub(crate) fn into_parts(self) -> (Metrics, Timing) {
        (self.metrics, self.timing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(rows: &[(u64, &[(&str, f64)])]) -> MetricLog {
        let mut log = MetricLog::default();
        for (step, values) in rows {
            log.push(*step, values).unwrap();
        }
        log
    }

    #[test]
    fn what_is_written_is_read_back_bit_by_bit() {
        // These two lose their last bit in a parser that is not exact.
        let hard = [8.167_461_914_863_694e-103, 1.795_636_221_674_573_7e-308];
        let mut log = logged(&[
            (1, &[("loss", 0.1 + 0.2), ("rate \"η\"", -0.0)]),
            (2, &[("loss", hard[0])]),
            (
                u64::MAX,
                &[("loss", hard[1]), ("accuracy", f64::MIN_POSITIVE / 4.0)],
            ),
        ]);
        let read = Metrics::parse(&log.take_pending()).unwrap();
        assert_eq!(&read, log.metrics());
        assert_eq!(read.get("loss").unwrap().steps, [1, 2, u64::MAX]);
        assert!(read.get("rate \"η\"").unwrap().values[0].is_sign_negative());
    }

    #[test]
    fn random_values_are_read_back_bit_by_bit() {
        use rand_chacha::rand_core::Rng;
        let mut rng = crate::engine::streams::stream(1, crate::engine::streams::Purpose::Data);
        let mut log = MetricLog::default();
        for step in 0..10_000 {
            let value = f64::from_bits(rng.next_u64());
            if value.is_finite() {
                log.push(step, &[("loss", value)]).unwrap();
            }
        }
        assert_eq!(&Metrics::parse(&log.take_pending()).unwrap(), log.metrics());
    }

    #[test]
    fn a_value_that_is_not_finite_is_divergence_and_is_not_logged() {
        let mut log = logged(&[(1, &[("loss", 1.0)])]);
        let stop = log
            .push(2, &[("rate", 0.5), ("loss", f64::NAN)])
            .unwrap_err();
        assert!(matches!(stop, Stop::Diverged { step: 2, reason } if reason == "loss is NaN"));
        assert_eq!(log.take_pending(), b"{\"step\":1,\"loss\":1.0}\n");
        assert_eq!(log.metrics().columns().keys().collect::<Vec<_>>(), ["loss"]);
    }

    #[test]
    fn a_name_that_would_be_lost_on_reading_is_refused() {
        for row in [&[("step", 1.0)][..], &[("loss", 1.0), ("loss", 2.0)]] {
            assert!(matches!(
                MetricLog::default().push(1, row),
                Err(Stop::Failed(_))
            ));
        }
    }

    #[test]
    fn a_damaged_line_is_named() {
        for (line, reason) in [
            ("{\"step\":2,\"lo", "line 2: it is cut short"),
            (
                "{\"step\":2,\"loss\":null}\n",
                "line 2: `loss` is not a number",
            ),
            ("{\"loss\":1.0}\n", "line 2: it has no step"),
            ("\0\0\n", "line 2: expected value"),
        ] {
            let error = Metrics::parse(format!("{{\"step\":1}}\n{line}").as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with(reason), "{error}");
        }
    }

    #[test]
    fn only_the_first_passing_of_a_mark_counts_and_the_clock_goes_on_after_a_resumption() {
        let timing = Timing {
            wall_seconds: 100.0,
            ..Timing::default()
        };
        let mut log = MetricLog::resume(Metrics::default(), timing);
        log.timed(|log| log.milestone(3, "1e-6"));
        log.timed(|log| log.milestone(4, "1e-6"));
        let milestone = log.timing().milestones["1e-6"];
        assert_eq!(milestone.step, 3);
        assert!((100.0..101.0).contains(&milestone.seconds));
        assert!((100.0..101.0).contains(&log.timing().wall_seconds));
    }
}
