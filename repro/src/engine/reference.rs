//! The numbers that are committed: `numbers.json.gz` in the folders of `repro/reference`. A run that is finished there need
//! not be computed again, on this machine or any other.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::files::{self, Durability, FileError};
use crate::engine::json;
use crate::engine::metrics::{Metrics, Timing};
use crate::engine::provenance::{GIT_COMMIT, this_machine};
use crate::engine::run::{Outcome, RunResult, RunSpec};
use crate::numbers::{Numbers, RunNumbers};

/// The file of a section, or of a part of one.
pub const NUMBERS: &str = "numbers.json.gz";

/// Bytes that such a file may unpack to: over thirty times the largest that is committed.
const LARGEST: u64 = 1 << 28;

/// Why numbers cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NumbersError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is there but does not hold what it should.
    #[error("{} is damaged: {reason}. Restore it from version control, or delete it: its section's binary, or tune, makes it again", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What the file holds: the numbers, and the digest of their JSON, so that a changed digit is found.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    sha256: String,
    parts: Vec<Numbers>,
}

/// Writes a section's numbers into its directory.
///
/// # Errors
/// If the system refuses, or these are numbers that [`read`] would refuse, as where one is not finite.
pub fn write(directory: &Path, parts: Vec<Numbers>) -> Result<PathBuf, NumbersError> {
    let file = directory.join(NUMBERS);
    let damaged = |reason: String| NumbersError::Damaged {
        file: file.clone(),
        reason,
    };
    let text = sealed(parts).map_err(|error| damaged(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        let bytes = text.len();
        return Err(damaged(format!(
            "its {bytes} bytes are more than the {LARGEST} that are read back; ask for fewer seeds"
        )));
    }
    opened(&text).map_err(damaged)?;
    let compressed = compress(&text).map_err(|error| damaged(error.to_string()))?;
    files::write(&file, &compressed, Durability::Power)?;
    Ok(file)
}

fn sealed(parts: Vec<Numbers>) -> serde_json::Result<Vec<u8>> {
    let sha256 = json::digest(&parts)?;
    serde_json::to_vec(&Sealed { sha256, parts })
}

/// The numbers in a text, or what is wrong with it.
fn opened(text: &[u8]) -> Result<Vec<Numbers>, String> {
    let sealed: Sealed = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let sha256 = json::digest(&sealed.parts).map_err(|error| error.to_string())?;
    if sha256 != sealed.sha256 {
        return Err(format!(
            "its numbers have the SHA-256 {sha256}, expected {}",
            sealed.sha256
        ));
    }
    for numbers in &sealed.parts {
        numbers.check()?;
    }
    Ok(sealed.parts)
}

fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// What some bytes unpack to, unless it is more than `limit` bytes.
fn unpack(compressed: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = GzDecoder::new(compressed).take(limit);
    rest.read_to_end(&mut bytes)?;
    match rest.into_inner().read(&mut [0])? {
        0 => Ok(bytes),
        _ => Err(io::Error::other(format!(
            "it unpacks to more than {limit} bytes"
        ))),
    }
}

/// The numbers in a section's directory; `None` if there are none.
///
/// # Errors
/// If the file cannot be read or is damaged.
pub fn read(directory: &Path) -> Result<Option<Vec<Numbers>>, NumbersError> {
    let file = directory.join(NUMBERS);
    let Some(compressed) = files::read(&file)? else {
        return Ok(None);
    };
    let damaged = |reason: String| NumbersError::Damaged {
        file: file.clone(),
        reason,
    };
    let text = unpack(&compressed, LARGEST).map_err(|error| damaged(error.to_string()))?;
    opened(&text).map(Some).map_err(damaged)
}

/// The folders at or below `root` that hold a file of this name, in order of name.
///
/// # Errors
/// If a folder cannot be read. One that is not there holds none.
pub fn folders(root: &Path, file: &str) -> Result<Vec<PathBuf>, FileError> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(FileError::on("read", root)(error)),
    };
    if root.join(file).exists() {
        found.push(root.to_owned());
    }
    for entry in entries {
        let path = entry.map_err(FileError::on("read", root))?.path();
        if path.is_dir() {
            found.extend(folders(&path, file)?);
        }
    }
    found.sort();
    Ok(found)
}

/// Finished runs of a committed store, by identity.
#[derive(Debug, Default)]
pub struct Reference {
    runs: HashMap<String, RunNumbers>,
    /// Identities of the runs of a task and setting, whatever the code.
    by_task: HashMap<String, Vec<String>>,
    accept_other_code: bool,
}

impl Reference {
    /// The runs in all folders below `root`. Where several codes computed one, that in the folder `own` is found.
    ///
    /// # Errors
    /// If a file is damaged or cannot be read.
    pub fn open(root: &Path, own: &Path, accept_other_code: bool) -> Result<Self, NumbersError> {
        let mut reference = Self {
            accept_other_code,
            ..Self::default()
        };
        let mut folders = folders(root, NUMBERS)?;
        folders.sort_by_key(|folder| *folder == root.join(own));
        for folder in folders {
            let parts = read(&folder)?.into_iter().flatten();
            let arms = parts.flat_map(|numbers| numbers.arms);
            arms.flat_map(|arm| arm.runs)
                .for_each(|run| reference.add(run));
        }
        Ok(reference)
    }

    fn add(&mut self, run: RunNumbers) {
        if let Some((task, _)) = run.id.split_once('-') {
            let ids = self.by_task.entry(task.to_owned()).or_default();
            ids.push(run.id.clone());
        }
        self.runs.insert(run.id.clone(), run);
    }

    /// The run of this specification, if it is there; by other code only if that was asked for.
    #[must_use]
    pub fn find(&self, spec: &RunSpec) -> Option<RunResult> {
        Some(result(self.stored(spec)?, spec))
    }

    /// Whether there is what [`find`](Self::find) would find.
    #[must_use]
    pub fn has(&self, spec: &RunSpec) -> bool {
        self.stored(spec).is_some()
    }

    fn stored(&self, spec: &RunSpec) -> Option<&RunNumbers> {
        let same = self.runs.get(&spec.id());
        let other = || {
            let ids = self.by_task.get(&spec.task_id())?;
            self.runs.get(ids.last()?)
        };
        match self.accept_other_code {
            true => same.or_else(other),
            false => same,
        }
    }
}

fn result(run: &RunNumbers, spec: &RunSpec) -> RunResult {
    let (_, code) = run.id.split_once('-').unwrap_or_default();
    RunResult {
        spec: RunSpec {
            code: code.to_owned(),
            ..spec.clone()
        },
        outcome: match run.diverged_at {
            Some(step) => Outcome::Diverged {
                step,
                reason: "it is in the reference as a run that diverged".to_owned(),
            },
            None => Outcome::Finished,
        },
        summary: run.summary.clone(),
        metrics: Metrics::from_columns(run.metrics.clone()),
        timing: Timing {
            wall_seconds: run.seconds,
            milestones: run.milestones.clone(),
        },
        git_commit: run.git_commit.clone(),
        machine: run.machine.clone(),
    }
}

impl RunNumbers {
    /// What a finished run contributes.
    #[must_use]
    pub fn of(result: &RunResult) -> Self {
        Self {
            id: result.spec.id(),
            seed: result.spec.seed,
            diverged_at: result.diverged_at(),
            metrics: result.metrics.columns().clone(),
            summary: result.summary.clone(),
            seconds: result.timing.wall_seconds,
            milestones: result.timing.milestones.clone(),
            git_commit: result.git_commit.clone(),
            machine: result.machine.clone(),
        }
    }

    /// What this process measured, or checked, without training.
    #[must_use]
    pub fn measured(id: String, summary: Map<String, Value>) -> Self {
        Self {
            id,
            summary,
            git_commit: GIT_COMMIT.to_owned(),
            machine: Some(this_machine()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::ArmNumbers;
    use serde_json::json;

    fn spec(code: &str) -> RunSpec {
        RunSpec {
            settings: Map::from_iter([("alpha".to_owned(), json!(0.15))]),
            seed: 1,
            steps: 10,
            code: code.to_owned(),
        }
    }

    fn numbers(code: &str) -> Vec<Numbers> {
        let mut run = RunNumbers {
            seed: 1,
            seconds: 2.5,
            machine: Some("a processor (SSE2)".to_owned()),
            ..RunNumbers::measured(spec(code).id(), Map::new())
        };
        let values = vec![0.1 + 0.2, 1e-300];
        let steps = vec![5, 10];
        run.metrics.insert(
            "loss".to_owned(),
            crate::engine::metrics::Column { steps, values },
        );
        vec![Numbers {
            section: "3.2".to_owned(),
            arms: vec![ArmNumbers::measurement("L4Adam", vec![run])],
            ..Numbers::default()
        }]
    }

    #[test]
    fn a_committed_run_is_found_bit_by_bit_and_by_its_code() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("section3_2");
        fs::create_dir(&folder).unwrap();
        write(&folder, numbers("aaaaaaaaaaaa")).unwrap();
        let own = Path::new("section3_2");
        let reference = |accept| Reference::open(root.path(), own, accept).unwrap();
        let found = reference(false).find(&spec("aaaaaaaaaaaa")).unwrap();
        assert_eq!(
            found.metrics.get("loss").unwrap().values,
            [0.1 + 0.2, 1e-300]
        );
        assert_eq!(
            RunNumbers::of(&found),
            numbers("aaaaaaaaaaaa")[0].arms[0].runs[0]
        );
        assert!(reference(false).find(&spec("bbbbbbbbbbbb")).is_none());
        let other = reference(true).find(&spec("bbbbbbbbbbbb")).unwrap();
        assert_eq!(other.spec.code, "aaaaaaaaaaaa", "it says whose it is");
    }

    #[test]
    fn of_several_codes_that_of_the_sections_own_folder_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let codes = ["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"];
        for (folder, code) in ["section3_1", "section3_2", "section3_6"].iter().zip(codes) {
            let folder = root.path().join(folder);
            fs::create_dir(&folder).unwrap();
            write(&folder, numbers(code)).unwrap();
        }
        let of = |own: &str| {
            let reference = Reference::open(root.path(), Path::new(own), true).unwrap();
            reference.find(&spec("dddddddddddd")).unwrap().spec.code
        };
        assert_eq!([of("section3_1"), of("section3_2")], codes[..2]);
    }

    #[test]
    fn no_more_is_unpacked_than_fits() {
        let compressed = compress(&[7; 1000]).unwrap();
        assert_eq!(unpack(&compressed, 1000).unwrap(), [7; 1000]);
        let error = unpack(&compressed, 999).unwrap_err().to_string();
        assert!(error.contains("more than 999 bytes"), "{error}");
    }

    #[test]
    fn numbers_that_no_rule_can_read_are_refused_at_the_door() {
        let reads = |change: &dyn Fn(&mut Numbers)| {
            let mut parts = numbers("aaaaaaaaaaaa");
            change(&mut parts[0]);
            opened(&sealed(parts).unwrap())
        };
        assert!(reads(&|_| ()).is_ok());
        let no_steps = reads(&|numbers| numbers.arms[0].steps_per_unit = 0).unwrap_err();
        assert!(no_steps.contains("`L4Adam` has 0"), "{no_steps}");
        let endless = |numbers: &mut Numbers| {
            (numbers.length, numbers.arms[0].steps_per_unit) = (u64::MAX, 2);
        };
        assert!(reads(&endless).is_err());
        let loss = |numbers: &mut Numbers| numbers.arms[0].runs[0].metrics["loss"].clone();
        let with_steps = |steps: &'static [u64]| {
            move |numbers: &mut Numbers| {
                let column = crate::engine::metrics::Column {
                    steps: steps.to_vec(),
                    ..loss(numbers)
                };
                numbers.arms[0].runs[0].metrics["loss"] = column;
            }
        };
        for steps in [&[5][..], &[10, 5], &[5, 5]] {
            let error = reads(&with_steps(steps)).unwrap_err();
            assert!(error.contains("the steps of `loss`"), "{error}");
        }
    }

    #[test]
    fn what_could_not_be_read_back_does_not_replace_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), numbers("aaaaaaaaaaaa")).unwrap();
        let mut bad = numbers("bbbbbbbbbbbb");
        bad[0].arms[0].runs[0].metrics["loss"].values[0] = f64::NAN;
        assert!(write(folder.path(), bad).is_err());
        assert_eq!(read(folder.path()).unwrap(), Some(numbers("aaaaaaaaaaaa")));
    }

    #[test]
    fn a_changed_digit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = write(folder.path(), numbers("aaaaaaaaaaaa")).unwrap();
        let mut json = String::new();
        let bytes = fs::read(&file).unwrap();
        GzDecoder::new(&bytes[..])
            .read_to_string(&mut json)
            .unwrap();
        let changed = json.replace("\"seconds\":2.5", "\"seconds\":2.6");
        assert_ne!(json, changed);
        fs::write(&file, compress(changed.as_bytes()).unwrap()).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("is damaged") && error.contains("SHA-256"),
            "{error}"
        );
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        assert!(read(folder.path()).is_err());
    }
}
