//! The runner in processes of its own that are killed, interrupted and doubled.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::tempdir;

use crate::support::{self, CHILD, deterministic_files, run_directory};

mod shards;

/// Not a test: what the child processes run. Without a command line for it there is nothing to do.
#[test]
fn child() {
    if env::var_os(CHILD).is_some() {
        std::process::exit(repro::cli::report(support::child_main()).into());
    }
}

fn spawn(out: &Path, options: &str) -> Child {
    as_child(Command::new(env::current_exe().unwrap()), out, options)
        .spawn()
        .unwrap()
}

/// The child behind a line of shell, as `ulimit -f 8`.
fn spawn_after(shell: &str, out: &Path, options: &str) -> Child {
    let mut command = Command::new("sh");
    let line = format!("{shell}; exec \"$0\" \"$@\"");
    command.args(["-c", &line]).arg(env::current_exe().unwrap());
    as_child(command, out, options).spawn().unwrap()
}

fn as_child(mut command: Command, out: &Path, options: &str) -> Command {
    command
        .args(["survival::child", "--exact", "--nocapture"])
        .env(CHILD, format!("--out {} {options}", out.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn complete(out: &Path, options: &str) -> Output {
    spawn(out, options).wait_with_output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An output directory of a process that nothing disturbed.
fn undisturbed(options: &str) -> tempfile::TempDir {
    let out = tempdir().unwrap();
    let output = complete(out.path(), options);
    assert!(output.status.success(), "{}", stderr(&output));
    out
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
    let whole = undisturbed("--seeds 3 --jobs 1 --steps 300");

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
    let whole = undisturbed("--seeds 2 --steps 400");
    // `timeout` and schedulers signal a process and then its group.
    for signals in [&["INT"][..], &["HUP"], &["TERM"], &["TERM", "TERM", "HUP"]] {
        // Under `nohup` a hangup is to be ignored, by what the tests start, too.
        if signals == ["HUP"] && hangups_are_ignored() {
            continue;
        }
        let options = "--seeds 2 --jobs 1 --steps 400 --step-ms 5";
        let out = tempdir().unwrap();
        let child = spawn(out.path(), options);
        let path = run_directory(out.path(), 0, 400);
        wait_until("some steps are logged", || rows(&path) > 20);
        signals.iter().for_each(|signal| send(signal, &child));
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
        assert!(deterministic_files(out.path()) == deterministic_files(whole.path()));
    }
}

#[test]
fn an_interrupt_a_second_after_the_first_ends_the_process_at_once() {
    // A step that takes a minute is not waited for.
    let out = tempdir().unwrap();
    let mut child = spawn(out.path(), "--steps 2 --step-ms 60000");
    let path = run_directory(out.path(), 0, 2);
    wait_until("the run has begun", || path.join("metrics.jsonl").exists());
    send("INT", &child);
    thread::sleep(Duration::from_millis(3000));
    assert!(child.try_wait().unwrap().is_none(), "the first only asks");
    send("INT", &child);
    wait_until("it has ended", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// As when Ctrl-C ends the `tee` behind a program first, and the program is at what it does after its runs.
#[test]
fn an_interrupt_that_nobody_can_be_told_of_ends_the_process() {
    let out = tempdir().unwrap();
    let mut child = spawn(out.path(), "--steps 2 --then-ms 60000");
    drop(child.stderr.take());
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines
        .map_while(Result::ok)
        .find(|line| line.contains("results in"));
    assert!(said.is_some());
    send("INT", &child);
    wait_until("it has ended", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_was_to_be_ignored_is_no_request() {
    let out = tempdir().unwrap();
    let child = spawn_after("trap '' HUP", out.path(), "--steps 100 --step-ms 1");
    let path = run_directory(out.path(), 0, 100);
    wait_until("some steps are logged", || rows(&path) > 5);
    send("HUP", &child);
    assert!(child.wait_with_output().unwrap().status.success());
}

fn hangups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap());
    mask & 1 != 0
}

fn send(signal: &str, child: &Child) {
    let status = Command::new("kill")
        .args(["-s", signal, &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_standard_error_that_is_full_or_gone_changes_nothing() {
    let options = "--seeds 2 --steps 20";
    let whole = undisturbed(options);
    let gone = tempdir().unwrap();
    let mut child = spawn(gone.path(), options);
    drop(child.stderr.take());
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(deterministic_files(gone.path()) == deterministic_files(whole.path()));
    for redirection in ["exec 2>/dev/full", "exec 2>&-"] {
        let out = tempdir().unwrap();
        let child = spawn_after(redirection, out.path(), options);
        assert!(child.wait_with_output().unwrap().status.success());
        assert!(deterministic_files(out.path()) == deterministic_files(whole.path()));
    }
}

/// A section's binary, with its results in this directory.
fn section(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_section3_1"));
    command
        .args(["--preset", "smoke", "--methods", "L4Adam,mSGD", "--out"])
        .arg(out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[cfg(target_os = "linux")]
#[test]
fn a_standard_output_that_is_full_or_gone_takes_no_results_along() {
    let out = tempdir().unwrap();
    let mut child = section(out.path()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait_with_output().unwrap().status.success());
    let written = |out: &Path| out.join("claims.json").exists() && out.join("report.html").exists();
    assert!(written(out.path()));

    let out = tempdir().unwrap();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let child = section(out.path()).stdout(full).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains("error: cannot write standard output: No space"),
        "{message}"
    );
    assert_eq!(message.matches("No space").count(), 1, "{message}");
    assert!(written(out.path()));

    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let help = section(out.path()).arg("--help").stdout(full).status();
    assert_eq!(help.unwrap().code(), Some(1));
}

#[test]
fn an_output_directory_of_any_bytes_is_resumed_from() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let directory = tempdir().unwrap();
    let out = directory.path().join(OsStr::from_bytes(b"a\xff\xfeb"));
    let child = section(&out)
        .args(["--steps", "100000000"])
        .spawn()
        .unwrap();
    wait_until("a run has begun", || {
        let runs = out.join("runs").read_dir();
        runs.is_ok_and(|mut runs| runs.any(|run| rows(&run.unwrap().path()) > 0))
    });
    send("TERM", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(
        stderr(&output).contains(r"a\377\376b'"),
        "{}",
        stderr(&output)
    );
    assert!(section(&out).status().unwrap().success());
    assert!(out.join("claims.json").exists());
}

/// A limit of file sizes answers as a full disk does.
#[test]
fn a_file_that_cannot_be_written_is_an_error_with_its_path_and_loses_nothing() {
    let options = "--seeds 2 --steps 1000";
    let out = tempdir().unwrap();
    let child = spawn_after("trap '' XFSZ; ulimit -f 8", out.path(), options);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    let path = run_directory(out.path(), 1, 1000).join("metrics.jsonl");
    assert!(message.contains("2 of 2 runs failed"), "{message}");
    assert!(
        message.contains(&format!("cannot write {}: ", path.display())),
        "{message}"
    );
    assert!(complete(out.path(), options).status.success());
    assert!(deterministic_files(out.path()) == deterministic_files(undisturbed(options).path()));
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_an_error_and_not_waited_for() {
    for name in [
        "config.json",
        "metrics.jsonl",
        "timing.json",
        "result.json",
        "checkpoint.safetensors",
        ".lock",
    ] {
        let out = undisturbed("--steps 20");
        let path = run_directory(out.path(), 0, 20);
        // The state is read, and the lock taken, only as long as there is no result.
        if ["checkpoint.safetensors", ".lock"].contains(&name) {
            fs::remove_file(path.join("result.json")).unwrap();
        }
        fs::remove_file(path.join(name)).unwrap();
        let made = Command::new("mkfifo").arg(path.join(name)).status();
        assert!(made.unwrap().success());
        let output = complete(out.path(), "--steps 20");
        assert_eq!(output.status.code(), Some(1));
        let expected = format!("{}: expected a regular file", path.join(name).display());
        assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    }
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
        message.contains(&format!("in use by process {} on ", first.id())),
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
    for options in [
        "--seeds 0",
        "--methods L5",
        "--threads 65535",
        "--jobs 0",
        "--shard 3/2",
        "--shard 1/2 --fresh",
    ] {
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
