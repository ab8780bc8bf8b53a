//! Metrics as TensorBoard event files, for those who like to look at runs there.
//!
//! A finished run becomes `OUT/tensorboard/RUN/events.out.tfevents.metrics`, where `RUN` is the name of its directory below
//! `OUT/runs`: `tensorboard --logdir OUT/tensorboard` shows them all. The times in it are those of its writing.

use std::fs;
use std::io;
use std::path::Path;

use syntaxdot_summary::SummaryWriter;

use crate::engine::files::{self, Durability, FileError};
use crate::engine::metrics::Metrics;
use crate::engine::run::RunResult;

/// Writes the event file of a run.
///
/// # Errors
/// If the system refuses.
pub(crate) fn write(out: &Path, result: &RunResult) -> Result<(), FileError> {
    let directory = out.join("tensorboard").join(result.spec.directory_name());
    fs::create_dir_all(&directory).map_err(FileError::on("create", &directory))?;
    let file = directory.join("events.out.tfevents.metrics");
    let events = events(&result.metrics).map_err(FileError::on("write", &file))?;
    files::write(&file, &events, Durability::Process)
}

fn events(metrics: &Metrics) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = SummaryWriter::new(&mut bytes)?;
    for (name, column) in metrics.columns() {
        for (&step, &value) in column.steps.iter().zip(&column.values) {
            writer.write_scalar(name, step as i64, value as f32)?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::metrics::MetricLog;

    /// The contents of a file of records: each has its length (8 bytes), a checksum (4), the content, a checksum (4).
    fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut records = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk() {
            let length = u64::from_le_bytes(*length) as usize;
            records.push(&rest[4..][..length]);
            bytes = &rest[4 + length + 4..];
        }
        records
    }

    #[test]
    fn every_value_is_an_event_with_its_step_and_name() {
        let mut log = MetricLog::default();
        log.push(10, &[("loss", 0.5), ("rate", 2.0)]).unwrap();
        log.push(20, &[("loss", 0.25)]).unwrap();
        let bytes = events(log.metrics()).unwrap();
        let records = records(&bytes);
        assert!(records[0].ends_with(b"brain.Event:2"));
        // The step as field 2, after 9 bytes for the time. At the end the tag, then the value as field 2 of 32 bits.
        let start = |step| [2 << 3, step];
        let end = |tag: &str, value: f32| {
            let mut bytes = tag.as_bytes().to_vec();
            bytes.push(2 << 3 | 5);
            bytes.extend(value.to_le_bytes());
            bytes
        };
        let expected = [
            (start(10), end("loss", 0.5)),
            (start(20), end("loss", 0.25)),
            (start(10), end("rate", 2.0)),
        ];
        assert_eq!(records.len(), 1 + expected.len());
        for (record, (start, end)) in records[1..].iter().zip(expected) {
            assert_eq!(record[9..11], start);
            assert!(record.ends_with(&end), "{record:?}");
        }
    }
}
