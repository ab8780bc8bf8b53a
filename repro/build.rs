//! Tells the program which code and compiler made it, for the provenance of its results.
//!
//! `REPRO_GIT_COMMIT` is the commit, with `-dirty` when the code differs from it, or `unknown` outside the project's own
//! git tree. "The code" is what shapes a result: manifests, the lock file, sources and build scripts. Editing prose or
//! generated results neither makes a build dirty nor causes one.
//!
//! `REPRO_FINGERPRINT` tells the code that trains from any other, commit or not: it is part of a run's identity.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let code = code_paths(&root);
    for path in &code {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let commit = commit(&root, &code).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=REPRO_GIT_COMMIT={commit}");
    println!("cargo::rustc-env=REPRO_FINGERPRINT={}", fingerprint(&root));

    let rustc = env::var("RUSTC").expect("cargo sets it");
    let compiler = output(Command::new(rustc).arg("-V")).unwrap_or_else(|| "unknown".to_owned());
    // Cargo calls the profile by the directory that it builds into.
    let profile = match env::var("PROFILE").as_deref() {
        Ok("debug") => "dev".to_owned(),
        profile => profile.unwrap_or("unknown").to_owned(),
    };
    println!("cargo::rustc-env=REPRO_COMPILER={compiler}, {profile} profile");
}

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
fn fingerprint(root: &Path) -> String {
    let mut hash = Sha256::new();
    let mut files = Vec::new();
    for folder in TRAINING {
        sources(&root.join(folder), &mut files);
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
        for line in code_lines(&fs::read_to_string(&file).unwrap_or_default()) {
            hash.update(line.as_bytes());
            hash.update(b"\n");
        }
    }
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
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
    digest[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The sources in a folder but for files and folders of tests.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        let stem = path.file_stem();
        if stem.is_some_and(|stem| stem == "tests" || stem == "testing") {
            continue;
        } else if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The lines of a source file that are neither blank, nor all comment, nor in the module of tests that ends it.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    let tests = text
        .find("\n#[cfg(test)]\nmod tests {")
        .unwrap_or(text.len());
    let lines = text[..tests].lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//"))
}

/// What is compiled into the program, over all members of the workspace.
fn code_paths(root: &Path) -> Vec<PathBuf> {
    let members = root
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut paths: Vec<_> = members
        .filter(|member| member.join("Cargo.toml").is_file())
        .flat_map(|member| ["Cargo.toml", "build.rs", "src"].map(|name| member.join(name)))
        .chain(["Cargo.toml", "Cargo.lock"].map(|name| root.join(name)))
        .filter(|path| path.exists())
        .collect();
    paths.sort();
    paths
}

fn commit(root: &Path, code: &[PathBuf]) -> Option<String> {
    // A copy of the project inside some other repository must not be labelled with that repository's commit.
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // HEAD moves when a branch is checked out, the files under refs/heads when something is committed to it.
    for name in ["HEAD", "refs/heads", "packed-refs"] {
        let path = root.join(git(root, &["rev-parse", "--git-path", name])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    let head = git(root, &["rev-parse", "HEAD"])?;
    // Without optional locks `status` leaves the index alone.
    let mut status = vec![
        "--no-optional-locks",
        "status",
        "--porcelain",
        "--untracked-files=all",
        "--",
    ];
    status.extend(
        code.iter()
            .filter_map(|path| path.strip_prefix(root).ok()?.to_str()),
    );
    let dirty = !git(root, &status)?.is_empty();
    Some(if dirty { head + "-dirty" } else { head })
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    output(Command::new("git").current_dir(root).args(arguments))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
