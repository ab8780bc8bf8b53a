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

// So that it is tested.
include!("fingerprint.rs");

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let code = code_paths(&root);
    for path in &code {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let commit = commit(&root, &code).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=REPRO_GIT_COMMIT={commit}");
    let fingerprint = fingerprint(&root).unwrap_or_else(|error| panic!("{error}"));
    println!("cargo::rustc-env=REPRO_FINGERPRINT={fingerprint}");

    let rustc = env::var("RUSTC").expect("cargo sets it");
    let compiler = output(Command::new(rustc).arg("-V")).unwrap_or_else(|| "unknown".to_owned());
    // Cargo calls the profile by the directory that it builds into.
    let profile = match env::var("PROFILE").as_deref() {
        Ok("debug") => "dev".to_owned(),
        profile => profile.unwrap_or("unknown").to_owned(),
    };
    println!("cargo::rustc-env=REPRO_COMPILER={compiler}, {profile} profile");
}

/// What of a member is compiled into the program, or makes it.
const COMPILED: [&str; 5] = ["Cargo.toml", "build.rs", "fingerprint.rs", "src", "peers"];

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
        .flat_map(|member| COMPILED.map(|name| member.join(name)))
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
