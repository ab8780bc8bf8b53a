//! The runner in processes of its own that are killed, interrupted and doubled.

#![cfg(unix)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{CHILD, deterministic_files, spec};
use tempfile::tempdir;

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

/// Not a test: what the child processes run. Without a command line for it there is nothing to do.
#[test]
fn child() {
    if env::var_os(CHILD).is_some() {
        std::process::exit(repro::cli::report(support::child_main()).into());
    }
}

fn spawn(out: &Path, options: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(CHILD, format!("--out {} {options}", out.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn complete(out: &Path, options: &str) -> Output {
    spawn(out, options).wait_with_output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn run_directory(out: &Path, seed: u64, steps: u64) -> PathBuf {
    out.join("runs").join(spec(seed, steps).directory_name())
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "waited in vain until {what}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

fn rows(path: &Path) -> usize {
    fs::read(path.join("metrics.jsonl"))
        .map_or(0, |text| text.iter().filter(|&&byte| byte == b'\n').count())
}

/// Steps that the checkpoint in a run's directory holds; 0 without one.
fn checkpointed(path: &Path) -> u64 {
    let Ok(bytes) = fs::read(path.join("checkpoint.safetensors")) else {
        return 0;
    };
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    u64::from_le_bytes(
        tensors
            .tensor("position")
            .unwrap()
            .data()
            .try_into()
            .unwrap(),
    )
}

#[test]
fn killed_at_any_moment_a_run_ends_as_if_it_had_not_been() {
    let options = "--seeds 3 --jobs 2 --steps 300 --step-ms 1 --checkpoint-ms 1";
    let whole = tempdir().unwrap();
    assert!(
        complete(whole.path(), "--seeds 3 --jobs 1 --steps 300")
            .status
            .success()
    );

    let out = tempdir().unwrap();
    let (mut lives, mut resumed) = (0, 0);
    loop {
        let before: Vec<u64> = (0..3)
            .map(|seed| checkpointed(&run_directory(out.path(), seed, 300)))
            .collect();
        resumed += before
            .iter()
            .filter(|&&steps| 0 < steps && steps < 300)
            .count();
        let mut child = spawn(out.path(), options);
        // Longer from life to life, so that it ends on any machine.
        thread::sleep(Duration::from_millis(70 + 13 * lives));
        lives += 1;
        if let Some(status) = child.try_wait().unwrap() {
            assert!(
                status.success(),
                "{}",
                stderr(&child.wait_with_output().unwrap())
            );
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(
        lives > 2 && resumed > 0,
        "{lives} lives, {resumed} resumptions: the kill came too late to show anything"
    );
    assert!(
        deterministic_files(out.path()) == deterministic_files(whole.path()),
        "after {lives} lives"
    );
}

#[test]
fn an_interrupt_loses_no_step_and_says_how_to_resume() {
    for signal in ["INT", "TERM"] {
        let options = "--seeds 2 --jobs 1 --steps 400 --step-ms 1";
        let out = tempdir().unwrap();
        let child = spawn(out.path(), options);
        let path = run_directory(out.path(), 0, 400);
        wait_until("some steps are logged", || rows(&path) > 20);
        send(signal, &child);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("0 of 2 runs finished")
                && stderr(&output).contains("To resume")
        );

        let steps = checkpointed(&path);
        assert!(0 < steps && steps < 400, "{steps}");
        // Every tenth step has a row more.
        assert_eq!(rows(&path) as u64, steps + steps / 10);

        assert!(complete(out.path(), options).status.success());
        let whole = tempdir().unwrap();
        assert!(
            complete(whole.path(), "--seeds 2 --steps 400")
                .status
                .success()
        );
        assert!(deterministic_files(out.path()) == deterministic_files(whole.path()));
    }
}

#[test]
fn a_second_interrupt_ends_the_process_at_once() {
    // A step that takes a minute is not waited for.
    let out = tempdir().unwrap();
    let mut child = spawn(out.path(), "--steps 2 --step-ms 60000");
    let path = run_directory(out.path(), 0, 2);
    wait_until("the run has begun", || path.join("metrics.jsonl").exists());
    send("INT", &child);
    thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "the first only asks");
    send("INT", &child);
    wait_until("it has ended", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_second_process_says_who_has_the_directory_and_stops() {
    let out = tempdir().unwrap();
    let mut first = spawn(out.path(), "--steps 100000 --step-ms 1");
    wait_until("the first holds the lock", || {
        fs::read(out.path().join(".lock")).is_ok_and(|text| !text.is_empty())
    });
    let second = complete(out.path(), "--steps 100000 --step-ms 1");
    assert_eq!(second.status.code(), Some(1));
    let message = stderr(&second);
    assert!(
        message.contains(&format!("in use by process {} since 2", first.id())),
        "{message}"
    );
    assert!(
        message.contains(out.path().to_str().unwrap()) && message.contains("--out"),
        "{message}"
    );

    // The lock dies with its holder, however that dies.
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(complete(out.path(), "--steps 5").status.success());
}

#[test]
fn an_output_directory_that_cannot_be_is_one_clear_error() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    for out in [
        file.clone(),
        file.join("below"),
        PathBuf::from("/proc/nothing/here"),
    ] {
        let output = complete(&out, "");
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let message = stderr(&output);
        assert!(
            message.contains(&format!(
                "error: cannot create {}",
                out.join("runs").display()
            )),
            "{message}"
        );
        assert!(!message.contains("panicked"), "{message}");
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
    assert_eq!(directory.path().read_dir().unwrap().count(), 1);
}

#[test]
fn wrong_usage_does_nothing_and_exits_with_2() {
    let directory = tempdir().unwrap();
    let out = directory.path().join("out");
    for options in ["--seeds 0", "--methods L5", "--threads 65535", "--jobs 0"] {
        let output = complete(&out, options);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{options}: {}",
            stderr(&output)
        );
        assert!(!out.exists());
    }
    let help = complete(&out, "--help");
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("Random walks"));
}

#[test]
fn results_go_to_standard_output_and_progress_to_standard_error() {
    let out = tempdir().unwrap();
    let mut child = spawn(out.path(), "--seeds 2 --steps 5");
    let mut progress = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut progress)
        .unwrap();
    let results: Vec<String> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .collect();
    child.wait().unwrap();
    assert!(
        results
            .iter()
            .any(|line| line.ends_with(&format!("2 results in {}", out.path().display()))),
        "{results:?}"
    );
    assert!(
        progress.starts_with("2 runs, ") && progress.contains("2 runs computed in "),
        "{progress}"
    );
}
