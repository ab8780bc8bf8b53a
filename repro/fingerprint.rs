// Which code computes in a run, and its hash: part of a run's identity. Included by the build script and by its test.

use sha2::{Digest, Sha256};

/// What computes in a run, beside the libraries in [`LIBRARIES`]: folders. But for [`NOT_TRAINING`].
const TRAINING: [&str; 5] = [
    "autodiff/src",
    "datasets/src",
    "l4/src",
    "models/src",
    "repro/src/tasks",
];

/// More that does, with the hash of its code when it came to be counted, after runs had been committed: it counts from its first
/// change on, so that these runs keep their identity.
const COUNTED_SINCE: [(&str, &str); 2] = [
    ("repro/src/engine/streams.rs", "987141532a20"),
    ("repro/src/methods.rs", "c4132907fd8d"),
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
    for folder in TRAINING {
        sources(&root.join(folder), &mut files)?;
    }
    files.retain(|file| {
        !NOT_TRAINING
            .iter()
            .any(|path| file.starts_with(root.join(path)))
    });
    files.sort();
    for (file, then) in COUNTED_SINCE {
        let file = root.join(file);
        let mut of_file = Sha256::new();
        add_code(&mut of_file, &file)?;
        if short(of_file) != then {
            files.push(file);
        }
    }
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file);
        hash.update(name.to_string_lossy().as_bytes());
        add_code(&mut hash, &file)?;
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
    Ok(short(hash))
}

fn add_code(hash: &mut Sha256, file: &Path) -> Result<(), String> {
    for line in code_lines(&read(file)?) {
        hash.update(line.as_bytes());
        hash.update(b"\n");
    }
    Ok(())
}

fn short(hash: Sha256) -> String {
    let digest = hash.finalize();
    digest[..6].iter().map(|byte| format!("{byte:02x}")).collect()
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
