// Which code computes in a run, and its hash: part of a run's identity. Included by the build script and by its test.

use sha2::{Digest, Sha256};

/// What computes in a run, beside the libraries in [`LIBRARIES`]: folders and files. But for [`NOT_TRAINING`].
const TRAINING: [&str; 7] = [
    "autodiff/src",
    "datasets/src",
    "l4/src",
    "models/src",
    "repro/src/engine/streams.rs",
    "repro/src/methods.rs",
    "repro/src/tasks",
];

/// What gets data sets, whose content is part of a run's identity by itself, and what is for other frameworks.
const NOT_TRAINING: [&str; 4] = [
    "datasets/src/bin",
    "datasets/src/fetch",
    "l4/src/burn.rs",
    "l4/src/candle.rs",
];

/// Libraries that draw random numbers or multiply matrices: other versions may give other bits.
const LIBRARIES: [&str; 7] = [
    "matrixmultiply",
    "nalgebra",
    "num-traits",
    "pulp",
    "rand",
    "rand_chacha",
    "rand_distr",
];

/// Hash of the code that trains, without comments, blank lines and tests: editing prose makes no new runs.
fn fingerprint(root: &Path) -> Result<String, String> {
    let mut hash = Sha256::new();
    let mut files = Vec::new();
    for place in TRAINING.map(|place| root.join(place)) {
        match place.extension() {
            Some(_) => files.push(place),
            None => sources(&place, &mut files)?,
        }
    }
    files.retain(|file| {
        !NOT_TRAINING
            .iter()
            .any(|path| file.starts_with(root.join(path)))
    });
    files.sort();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file);
        hash.update(name.to_string_lossy().as_bytes());
        for line in code_lines(&read(&file)?) {
            hash.update(line.as_bytes());
            hash.update(b"\n");
        }
    }
    let lock = read(&root.join("Cargo.lock"))?;
    let named = |entry: &&str| {
        let name = entry.lines().nth(1).unwrap_or_default();
        LIBRARIES
            .iter()
            .any(|library| name == format!("name = \"{library}\""))
    };
    for entry in lock.split("\n\n").filter(named) {
        entry
            .lines()
            .take(3)
            .for_each(|line| hash.update(line.as_bytes()));
    }
    let digest = hash.finalize();
    Ok(digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

/// The sources in a folder but for files and folders of tests.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |error| format!("cannot read {}: {error}", folder.display());
    for entry in folder.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let stem = path.file_stem();
        if stem.is_some_and(|stem| stem == "tests" || stem == "testing") {
            continue;
        } else if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// The lines of a source file that are neither blank, nor all comment, nor in the module of tests that ends it.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    let tests = text
        .find("\n#[cfg(test)]\nmod tests {")
        .unwrap_or(text.len());
    let lines = text[..tests].lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//"))
}
