//! One run's directory, and what is in it after a crash at any moment.
//!
//! | file | written | how |
//! |---|---|---|
//! | `config.json` | first, never changed | whole |
//! | `metrics.jsonl` | appended after every slice | may be ahead of the checkpoint, and end in half a line |
//! | `timing.json` | with every checkpoint, and at the end | whole |
//! | `checkpoint.safetensors` | periodically, when interrupted, and at the end | whole; says how long `metrics.jsonl` was |
//! | `result.json` | last | whole |
//!
//! - A run is finished when `result.json` exists; all other files are then complete.
//! - Otherwise it goes on from `checkpoint.safetensors`: `metrics.jsonl` is cut to the length given there and what was cut
//!   off is computed and logged again, with the same values. Without a checkpoint it starts from nothing.
//! - "Whole" files are replaced by a rename. What a checkpoint relies on is on the disk before the checkpoint is.
//!
//! That holds for the death of the process at any instant. After a power cut it holds for every run that took longer than
//! the checkpoint period: shorter ones do not wait for the disk, as a grid search has hundreds. A file that was lost so
//! is reported, not trusted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::checkpoint::{self, Checkpoint, Header};
use crate::engine::files::{self, Durability, FileError};
use crate::engine::metrics::{MetricLog, Metrics, Timing};
use crate::engine::provenance;
use crate::engine::run::{Outcome, RunResult, RunSpec};

/// Version of the layout of a run's directory.
const FORMAT: u32 = 1;

/// Why a run's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirectoryError {
    /// The system refused to read or write.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is there but does not hold what it should.
    #[error(
        "{} is damaged: {reason}. Delete the directory {} to compute that run again, or pass --fresh to compute all of them \
         again",
        file.display(),
        file.parent().unwrap_or(file).display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    format: u32,
    /// The code that started the run.
    git_commit: String,
    run: RunSpec,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredResult {
    outcome: Outcome,
    summary: Map<String, Value>,
    metrics_bytes: u64,
}

/// A run's directory, held by a process that owns the output directory.
pub(crate) struct RunDirectory {
    path: PathBuf,
    spec: RunSpec,
    git_commit: String,
    metrics: File,
    metrics_bytes: u64,
}

/// What was found.
pub(crate) enum Stored {
    Finished(RunResult),
    Unfinished(RunDirectory, Resume),
}

/// Where an unfinished run goes on.
pub(crate) struct Resume {
    pub log: MetricLog,
    /// The state and its position; `None` at the start.
    pub checkpoint: Option<(Checkpoint, u64)>,
}

/// Creates or reads the directory of a run under `runs`.
pub(crate) fn open(runs: &Path, spec: &RunSpec) -> Result<Stored, RunDirectoryError> {
    let path = runs.join(spec.directory_name());
    fs::create_dir_all(&path).map_err(FileError::on("create", &path))?;
    let git_commit = open_config(&path.join("config.json"), spec)?;
    match read_result(&path, spec, &git_commit)? {
        Some(result) => Ok(Stored::Finished(result)),
        None => resume(path, spec, git_commit),
    }
}

/// Whether the run that this directory is for is finished.
pub(crate) fn is_finished(directory: &Path) -> bool {
    directory.join("result.json").exists()
}

/// The last state of the run that this directory is for; `None` if it has none or it was not kept.
pub(crate) fn last_checkpoint(
    directory: &Path,
    spec: &RunSpec,
) -> Result<Option<Checkpoint>, RunDirectoryError> {
    let found = read_checkpoint(&directory.join("checkpoint.safetensors"), spec)?;
    Ok(found.map(|(checkpoint, _)| checkpoint))
}

/// The commit under which the run was started: this one's, if it starts now.
fn open_config(file: &Path, spec: &RunSpec) -> Result<String, RunDirectoryError> {
    let Some(config) = read_json::<Config>(file)? else {
        let git_commit = provenance::GIT_COMMIT.to_owned();
        let config = Config {
            format: FORMAT,
            git_commit,
            run: spec.clone(),
        };
        write_json(file, &config, Durability::Process)?;
        return Ok(config.git_commit);
    };
    if config.format != FORMAT {
        return Err(damaged(
            file,
            format!(
                "it has format {}, this program writes {FORMAT}",
                config.format
            ),
        ));
    }
    if config.run != *spec {
        return Err(damaged(
            file,
            "it describes another run than the directory's name does",
        ));
    }
    Ok(config.git_commit)
}

fn read_result(
    path: &Path,
    spec: &RunSpec,
    git_commit: &str,
) -> Result<Option<RunResult>, RunDirectoryError> {
    let Some(stored) = read_json::<StoredResult>(&path.join("result.json"))? else {
        return Ok(None);
    };
    let file = path.join("metrics.jsonl");
    let bytes = read_metrics(&file, stored.metrics_bytes)?;
    if bytes.len() as u64 != stored.metrics_bytes {
        return Err(damaged(
            &file,
            format!("{} bytes, expected {}", bytes.len(), stored.metrics_bytes),
        ));
    }
    Ok(Some(RunResult {
        spec: spec.clone(),
        outcome: stored.outcome,
        summary: stored.summary,
        metrics: parse_metrics(&file, &bytes)?,
        timing: read_timing(path)?,
        git_commit: git_commit.to_owned(),
    }))
}

fn resume(path: PathBuf, spec: &RunSpec, git_commit: String) -> Result<Stored, RunDirectoryError> {
    let found = read_checkpoint(&path.join("checkpoint.safetensors"), spec)?;
    let metrics_bytes = found.as_ref().map_or(0, |(_, header)| header.metrics_bytes);
    let file = path.join("metrics.jsonl");
    let (metrics, timing) = match &found {
        None => (Metrics::default(), Timing::default()),
        Some((_, header)) => {
            let bytes = read_metrics(&file, metrics_bytes)?;
            let metrics = parse_metrics(&file, &bytes[..metrics_bytes as usize])?;
            // A crash between the two may leave the times one checkpoint ahead of the state.
            let mut timing = read_timing(&path)?;
            timing
                .milestones
                .retain(|_, milestone| milestone.step <= header.position);
            (metrics, timing)
        }
    };
    let metrics_file = open_cut(&file, metrics_bytes).map_err(FileError::on("write", &file))?;
    let directory = RunDirectory {
        path,
        spec: spec.clone(),
        git_commit,
        metrics: metrics_file,
        metrics_bytes,
    };
    let checkpoint = found.map(|(checkpoint, header)| (checkpoint, header.position));
    Ok(Stored::Unfinished(
        directory,
        Resume {
            log: MetricLog::resume(metrics, timing),
            checkpoint,
        },
    ))
}

impl RunDirectory {
    /// The code that started the run.
    pub fn git_commit(&self) -> &str {
        &self.git_commit
    }

    /// Hands the rows that were logged since the last call to the system.
    pub fn append(&mut self, log: &mut MetricLog) -> Result<(), RunDirectoryError> {
        let rows = log.take_pending();
        self.metrics
            .write_all(&rows)
            .map_err(FileError::on("write", &self.path.join("metrics.jsonl")))?;
        self.metrics_bytes += rows.len() as u64;
        Ok(())
    }

    /// Makes `checkpoint` the point from which the run goes on.
    pub fn checkpoint(
        &self,
        checkpoint: &Checkpoint,
        position: u64,
        timing: &Timing,
        durability: Durability,
    ) -> Result<(), RunDirectoryError> {
        if durability == Durability::Power {
            self.metrics
                .sync_all()
                .map_err(FileError::on("write", &self.path.join("metrics.jsonl")))?;
        }
        write_json(&self.path.join("timing.json"), timing, durability)?;
        let header = Header {
            format: FORMAT,
            run: self.spec.id(),
            position,
            metrics_bytes: self.metrics_bytes,
        };
        let file = self.path.join("checkpoint.safetensors");
        let bytes =
            checkpoint::to_bytes(checkpoint, &header).map_err(|error| damaged(&file, error))?;
        Ok(files::write(&file, &bytes, durability)?)
    }

    /// Ends the run. Its last checkpoint stays or goes.
    pub fn finish(
        self,
        outcome: Outcome,
        summary: Map<String, Value>,
        log: MetricLog,
        keep_checkpoint: bool,
        durability: Durability,
    ) -> Result<RunResult, RunDirectoryError> {
        write_json(&self.path.join("timing.json"), log.timing(), durability)?;
        let stored = StoredResult {
            outcome,
            summary,
            metrics_bytes: self.metrics_bytes,
        };
        write_json(&self.path.join("result.json"), &stored, durability)?;
        let file = self.path.join("checkpoint.safetensors");
        if !keep_checkpoint && file.exists() {
            fs::remove_file(&file).map_err(FileError::on("delete", &file))?;
        }
        let (metrics, timing) = log.into_parts();
        let StoredResult {
            outcome, summary, ..
        } = stored;
        Ok(RunResult {
            spec: self.spec,
            outcome,
            summary,
            metrics,
            timing,
            git_commit: self.git_commit,
        })
    }
}

fn damaged(file: &Path, reason: impl ToString) -> RunDirectoryError {
    RunDirectoryError::Damaged {
        file: file.to_owned(),
        reason: reason.to_string(),
    }
}

fn write_json(
    file: &Path,
    value: &impl Serialize,
    durability: Durability,
) -> Result<(), RunDirectoryError> {
    let mut json = serde_json::to_vec_pretty(value).map_err(|error| damaged(file, error))?;
    json.push(b'\n');
    Ok(files::write(file, &json, durability)?)
}

fn read_json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>, RunDirectoryError> {
    let Some(json) = files::read(file)? else {
        return Ok(None);
    };
    serde_json::from_slice(&json)
        .map(Some)
        .map_err(|error| damaged(file, error))
}

fn read_timing(path: &Path) -> Result<Timing, RunDirectoryError> {
    let file = path.join("timing.json");
    read_json(&file)?.ok_or_else(|| damaged(&file, "it is missing"))
}

/// The content of `metrics.jsonl`, which has at least `needed` bytes.
fn read_metrics(file: &Path, needed: u64) -> Result<Vec<u8>, RunDirectoryError> {
    let bytes = files::read(file)?.unwrap_or_default();
    if (bytes.len() as u64) < needed {
        return Err(damaged(
            file,
            format!("{} bytes, expected at least {needed}", bytes.len()),
        ));
    }
    Ok(bytes)
}

fn parse_metrics(file: &Path, bytes: &[u8]) -> Result<Metrics, RunDirectoryError> {
    Metrics::parse(bytes).map_err(|error| damaged(file, error))
}

fn read_checkpoint(
    file: &Path,
    spec: &RunSpec,
) -> Result<Option<(Checkpoint, Header)>, RunDirectoryError> {
    let Some(bytes) = files::read(file)? else {
        return Ok(None);
    };
    let (checkpoint, header) =
        checkpoint::from_bytes(&bytes).map_err(|error| damaged(file, error))?;
    if header.format != FORMAT {
        return Err(damaged(
            file,
            format!(
                "it has format {}, this program writes {FORMAT}",
                header.format
            ),
        ));
    }
    if header.run != spec.id() {
        return Err(damaged(file, "it is the checkpoint of another run"));
    }
    Ok(Some((checkpoint, header)))
}

/// Opens `file` for appending after its first `length` bytes.
fn open_cut(file: &Path, length: u64) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(file)?;
    file.set_len(length)?;
    file.seek(io::SeekFrom::End(0))?;
    Ok(file)
}
