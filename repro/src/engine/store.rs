//! One run's directory, and what is in it after a crash at any moment.
//!
//! | file | written | how |
//! |---|---|---|
//! | `.lock` | by whoever computes the run, as long as that lasts | see `lock.rs`; stays behind |
//! | `config.json` | first, and when another machine goes on | whole |
//! | `metrics.jsonl` | appended after every slice | may be ahead of the checkpoint, and end in half a line |
//! | `timing.json` | with every checkpoint, and at the end | whole |
//! | `checkpoint.safetensors` | periodically, when interrupted, and at the end | whole; says how long `metrics.jsonl` was |
//! | `result.json` | last | whole; says how long `metrics.jsonl` is |
//!
//! - A run is finished when `result.json` exists; all other files are then complete, and are read without the lock.
//! - Otherwise it goes on from `checkpoint.safetensors`: `metrics.jsonl` is cut to the length given there and what was cut
//!   off is computed and logged again, with the same values. Without a checkpoint it starts from nothing.
//! - "Whole" files are replaced by a rename. What a checkpoint relies on is on the disk before the checkpoint is.
//! - Whole files name their run and carry the SHA-256 of their content, and that of the metrics where they say how long these
//!   are. So a changed digit is found, and a file of another run: a damaged run is an error that names the file, never a result
//!   and never computed again unasked.
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
use sha2::{Digest, Sha256};

use crate::engine::checkpoint::{self, Checkpoint, Header};
use crate::engine::files::{self, Durability, FileError};
use crate::engine::json::{self, hex};
use crate::engine::lock::Lock;
use crate::engine::metrics::{MetricLog, Metrics, Timing};
use crate::engine::provenance;
use crate::engine::run::{Outcome, RunResult, RunSpec};

/// Version of the layout of a run's directory.
const FORMAT: u32 = 2;

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

/// What a JSON file holds, of which run, and the digest of both.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<T> {
    run: String,
    sha256: String,
    content: T,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    format: u32,
    /// The code that started the run.
    git_commit: String,
    /// The machine that did, and any on which it was resumed; absent in directories of before that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    run: RunSpec,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredResult {
    outcome: Outcome,
    summary: Map<String, Value>,
    metrics_bytes: u64,
    metrics_sha256: String,
}

/// The directory of a run that this process computes.
pub(crate) struct RunDirectory {
    path: PathBuf,
    config: Config,
    metrics: File,
    metrics_bytes: u64,
    metrics_digest: Sha256,
    _lock: Lock,
}

/// What was found.
pub(crate) enum Stored {
    Finished(RunResult),
    /// Another process computes it: which.
    Held(String),
    Unfinished(RunDirectory, Resume),
}

/// Where an unfinished run goes on.
pub(crate) struct Resume {
    pub log: MetricLog,
    /// The state and its position; `None` at the start.
    pub checkpoint: Option<(Checkpoint, u64)>,
}

/// Creates or reads the directory of a run under `runs`; with `discard`, what is in it is removed first.
pub(crate) fn open(
    runs: &Path,
    spec: &RunSpec,
    discard: bool,
) -> Result<Stored, RunDirectoryError> {
    let path = runs.join(spec.directory_name());
    // What is wrong without the lock may be half of what another process is writing, or discarding.
    if !discard && let Ok(Some(result)) = read_result(&path, spec) {
        return Ok(Stored::Finished(result));
    }
    fs::create_dir_all(&path).map_err(FileError::on("create", &path))?;
    let lock = match Lock::take(&path)? {
        Ok(lock) => lock,
        Err(holder) => return Ok(Stored::Held(holder)),
    };
    if discard {
        empty(&path)?;
    }
    // Whoever had the lock until now may have finished the run.
    match read_result(&path, spec)? {
        Some(result) => Ok(Stored::Finished(result)),
        None => resume(path, spec, lock),
    }
}

/// Removes what there is of a run; false if another process computes it.
pub(crate) fn discard(directory: &Path) -> Result<bool, FileError> {
    if !directory.exists() {
        return Ok(true);
    }
    match Lock::take(directory)? {
        Ok(_lock) => empty(directory).map(|()| true),
        Err(_holder) => Ok(false),
    }
}

/// Removes all but the lock, which is held; first what would make no sense without the rest.
fn empty(directory: &Path) -> Result<(), FileError> {
    let discard = || {
        for name in ["result.json", "checkpoint.safetensors"] {
            files::remove(&directory.join(name))?;
        }
        for entry in directory.read_dir()? {
            let entry = entry?;
            if entry.file_name() != ".lock" {
                files::remove(&entry.path())?;
            }
        }
        Ok(())
    };
    discard().map_err(FileError::on("discard what is in", directory))
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

/// What the run was started as; `None` if it has not been.
fn read_config(path: &Path, spec: &RunSpec) -> Result<Option<Config>, RunDirectoryError> {
    let file = path.join("config.json");
    let Some(config) = read_json::<Config>(&file, spec)? else {
        return Ok(None);
    };
    check_format(&file, config.format)?;
    if config.run != *spec {
        return Err(damaged(
            &file,
            "it describes another run than the directory's name does",
        ));
    }
    Ok(Some(config))
}

fn missing_config(path: &Path) -> RunDirectoryError {
    damaged(&path.join("config.json"), "it is missing")
}

fn read_result(path: &Path, spec: &RunSpec) -> Result<Option<RunResult>, RunDirectoryError> {
    let Some(stored) = read_json::<StoredResult>(&path.join("result.json"), spec)? else {
        return Ok(None);
    };
    let config = read_config(path, spec)?.ok_or_else(|| missing_config(path))?;
    let (metrics, _) = read_metrics(path, stored.metrics_bytes, &stored.metrics_sha256)?;
    Ok(Some(RunResult {
        spec: config.run,
        outcome: stored.outcome,
        summary: stored.summary,
        metrics,
        timing: read_timing(path, spec)?,
        git_commit: config.git_commit,
        machine: config.machine,
    }))
}

fn resume(path: PathBuf, spec: &RunSpec, lock: Lock) -> Result<Stored, RunDirectoryError> {
    let found = read_checkpoint(&path.join("checkpoint.safetensors"), spec)?;
    let config = match (&found, read_config(&path, spec)?) {
        (None, _) => begin(&path, spec)?,
        (Some(_), Some(config)) => go_on(&path, spec, config)?,
        (Some(_), None) => return Err(missing_config(&path)),
    };
    let (log, digest, metrics_bytes) = match &found {
        None => (MetricLog::default(), Sha256::new(), 0),
        Some((_, header)) => {
            let (bytes, sha256) = (header.metrics_bytes, &header.metrics_sha256);
            let (metrics, digest) = read_metrics(&path, bytes, sha256)?;
            // A crash between the two may leave the times one checkpoint ahead of the state.
            let mut timing = read_timing(&path, spec)?;
            timing
                .milestones
                .retain(|_, milestone| milestone.step <= header.position);
            (MetricLog::resume(metrics, timing), digest, bytes)
        }
    };
    let file = path.join("metrics.jsonl");
    let metrics = open_cut(&file, metrics_bytes).map_err(FileError::on("write", &file))?;
    let directory = RunDirectory {
        path,
        config,
        metrics,
        metrics_bytes,
        metrics_digest: digest,
        _lock: lock,
    };
    let checkpoint = found.map(|(checkpoint, header)| (checkpoint, header.position));
    Ok(Stored::Unfinished(directory, Resume { log, checkpoint }))
}

/// Begins a run: it is of the code of this program.
fn begin(path: &Path, spec: &RunSpec) -> Result<Config, RunDirectoryError> {
    let config = Config {
        format: FORMAT,
        git_commit: provenance::GIT_COMMIT.to_owned(),
        machine: Some(provenance::this_machine()),
        run: spec.clone(),
    };
    write_config(path, spec, config, Durability::Process)
}

/// Goes on with a run: if on another machine than before, that one is named too, as its instruction set may give other bits.
fn go_on(path: &Path, spec: &RunSpec, mut config: Config) -> Result<Config, RunDirectoryError> {
    let here = provenance::this_machine();
    let before = config
        .machine
        .as_deref()
        .unwrap_or(provenance::NOT_RECORDED);
    if before.ends_with(&here) {
        return Ok(config);
    }
    config.machine = Some(format!("{before}, then {here}"));
    // There may be a checkpoint, which relies on it.
    write_config(path, spec, config, Durability::Power)
}

fn write_config(
    path: &Path,
    spec: &RunSpec,
    config: Config,
    durability: Durability,
) -> Result<Config, RunDirectoryError> {
    let file = path.join("config.json");
    write_json(&file, spec, &config, durability)?;
    Ok(config)
}

impl RunDirectory {
    /// Hands the rows that were logged since the last call to the system.
    pub fn append(&mut self, log: &mut MetricLog) -> Result<(), RunDirectoryError> {
        let rows = log.take_pending();
        self.metrics
            .write_all(&rows)
            .map_err(FileError::on("write", &self.path.join("metrics.jsonl")))?;
        self.metrics_bytes += rows.len() as u64;
        self.metrics_digest.update(&rows);
        Ok(())
    }

    /// Brings to the disk what was written once or by rows, before a file that refers to it is.
    fn keep(&self, durability: Durability) -> Result<(), FileError> {
        let (rows, config) = (
            self.path.join("metrics.jsonl"),
            self.path.join("config.json"),
        );
        if durability == Durability::Power {
            self.metrics
                .sync_all()
                .map_err(FileError::on("write", &rows))?;
            let file = File::open(&config).and_then(|file| file.sync_all());
            file.map_err(FileError::on("write", &config))?;
        }
        Ok(())
    }

    fn metrics_sha256(&self) -> String {
        hex(&self.metrics_digest.clone().finalize())
    }

    /// Makes `checkpoint` the point from which the run goes on.
    pub fn checkpoint(
        &self,
        checkpoint: &Checkpoint,
        position: u64,
        timing: &Timing,
        durability: Durability,
    ) -> Result<(), RunDirectoryError> {
        self.keep(durability)?;
        write_json(
            &self.path.join("timing.json"),
            &self.config.run,
            timing,
            durability,
        )?;
        let header = Header {
            format: FORMAT,
            run: self.config.run.id(),
            position,
            metrics_bytes: self.metrics_bytes,
            metrics_sha256: self.metrics_sha256(),
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
        self.keep(durability)?;
        write_json(
            &self.path.join("timing.json"),
            &self.config.run,
            log.timing(),
            durability,
        )?;
        let stored = StoredResult {
            outcome,
            summary,
            metrics_bytes: self.metrics_bytes,
            metrics_sha256: self.metrics_sha256(),
        };
        write_json(
            &self.path.join("result.json"),
            &self.config.run,
            &stored,
            durability,
        )?;
        let file = self.path.join("checkpoint.safetensors");
        if !keep_checkpoint {
            files::remove(&file).map_err(FileError::on("delete", &file))?;
        }
        let (metrics, timing) = log.into_parts();
        let StoredResult {
            outcome, summary, ..
        } = stored;
        Ok(RunResult {
            spec: self.config.run,
            outcome,
            summary,
            metrics,
            timing,
            git_commit: self.config.git_commit,
            machine: self.config.machine,
        })
    }
}

fn damaged(file: &Path, reason: impl ToString) -> RunDirectoryError {
    RunDirectoryError::Damaged {
        file: file.to_owned(),
        reason: reason.to_string(),
    }
}

fn check_format(file: &Path, found: u32) -> Result<(), RunDirectoryError> {
    match found {
        FORMAT => Ok(()),
        _ => Err(damaged(
            file,
            format!("it has format {found}, this program writes {FORMAT}"),
        )),
    }
}

fn write_json(
    file: &Path,
    spec: &RunSpec,
    content: &impl Serialize,
    durability: Durability,
) -> Result<(), RunDirectoryError> {
    let sealed = || {
        let run = spec.id();
        let sha256 = json::digest(&(&run, content))?;
        serde_json::to_vec_pretty(&Sealed {
            run,
            sha256,
            content,
        })
    };
    let mut json = sealed().map_err(|error| damaged(file, error))?;
    json.push(b'\n');
    Ok(files::write(file, &json, durability)?)
}

fn read_json<T: Serialize + DeserializeOwned>(
    file: &Path,
    spec: &RunSpec,
) -> Result<Option<T>, RunDirectoryError> {
    let Some(json) = files::read(file)? else {
        return Ok(None);
    };
    let Sealed::<T> {
        run,
        sha256,
        content,
    } = serde_json::from_slice(&json).map_err(|error| damaged(file, error))?;
    check_run(file, spec, &run)?;
    let found = json::digest(&(&run, &content)).map_err(|error| damaged(file, error))?;
    check_digest(file, &sha256, &found)?;
    Ok(Some(content))
}

fn check_run(file: &Path, spec: &RunSpec, found: &str) -> Result<(), RunDirectoryError> {
    match found == spec.id() {
        true => Ok(()),
        false => Err(damaged(file, format!("it is of another run, {found}"))),
    }
}

fn check_digest(file: &Path, expected: &str, found: &str) -> Result<(), RunDirectoryError> {
    if found == expected {
        return Ok(());
    }
    let reason = format!("its content has the SHA-256 {found}, but was written with {expected}");
    Err(damaged(file, reason))
}

fn read_timing(path: &Path, spec: &RunSpec) -> Result<Timing, RunDirectoryError> {
    let file = path.join("timing.json");
    read_json(&file, spec)?.ok_or_else(|| damaged(&file, "it is missing"))
}

/// What is in the first `length` bytes of `metrics.jsonl`, and the digest of these so far.
fn read_metrics(
    path: &Path,
    length: u64,
    sha256: &str,
) -> Result<(Metrics, Sha256), RunDirectoryError> {
    let file = path.join("metrics.jsonl");
    let bytes = files::read(&file)?.unwrap_or_default();
    let found = bytes.len();
    let whole = usize::try_from(length).ok();
    let bytes = whole
        .and_then(|length| bytes.get(..length))
        .ok_or_else(|| damaged(&file, format!("{found} bytes, expected at least {length}")))?;
    let digest = Sha256::new_with_prefix(bytes);
    check_digest(&file, sha256, &hex(&digest.clone().finalize()))?;
    let metrics = Metrics::parse(bytes).map_err(|error| damaged(&file, error))?;
    Ok((metrics, digest))
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
    check_format(file, header.format)?;
    check_run(file, spec, &header.run)?;
    Ok(Some((checkpoint, header)))
}

/// Opens `file` for appending after its first `length` bytes.
fn open_cut(file: &Path, length: u64) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.create(true).write(true).truncate(false);
    let mut file = files::open(file, &how)?;
    file.set_len(length)?;
    file.seek(io::SeekFrom::End(0))?;
    Ok(file)
}
