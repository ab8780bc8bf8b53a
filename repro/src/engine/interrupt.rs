//! Ctrl-C, SIGTERM and SIGHUP: the first asks all runs to checkpoint. One that comes more than a second later ends the process
//! at once; until then it is the same request, as `timeout` and schedulers send theirs to a process and to its group. While no
//! runs are computed, as when steps are timed or results are written, the first ends the process: runs are kept, and files are
//! whole or as they were.

use std::fs;
use std::io;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::engine::progress::tell;

/// Exit code of a process that was interrupted: 128 + SIGINT, as shells have it.
pub const EXIT_CODE: u8 = 130;

/// How long further signals are the first one's echo.
const ECHO: Duration = Duration::from_secs(1);

static REQUESTED: AtomicBool = AtomicBool::new(false);
static STARTED: OnceLock<()> = OnceLock::new();
/// Who is to be asked.
static LISTENING: AtomicUsize = AtomicUsize::new(0);

/// As long as one lives, a signal is a request.
pub(crate) struct Listening(());

/// From now on, while what it returns lives, a signal is a request. Call it as often as you like.
pub(crate) fn listen() -> io::Result<Listening> {
    LISTENING.fetch_add(1, Ordering::Relaxed);
    let listening = Listening(());
    let mut started = Ok(());
    STARTED.get_or_init(|| started = start());
    started.map(|()| listening)
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENING.fetch_sub(1, Ordering::Relaxed);
    }
}

fn start() -> io::Result<()> {
    let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
    // A shell has its background jobs ignore Ctrl-C, but whoever names one to `kill -INT` means it; under `nohup` a hangup
    // is to be ignored.
    let hangup = (ignored >> (SIGHUP - 1) & 1 == 0).then_some(SIGHUP);
    let signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup))?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || heed(signals))?;
    Ok(())
}

fn heed(mut signals: Signals) {
    let mut first = None;
    for _ in signals.forever() {
        REQUESTED.store(true, Ordering::Relaxed);
        let nobody = LISTENING.load(Ordering::Relaxed) == 0;
        if nobody {
            // Who died with the terminal, as a `tee` does, must not keep this from ending.
            tell("interrupted: finished runs are kept, what was being measured or written is not");
        }
        if nobody || first.get_or_insert_with(Instant::now).elapsed() > ECHO {
            process::exit(EXIT_CODE.into());
        }
    }
}

/// The signals that the process was started to ignore, as `nohup` has it, in the text of `/proc/self/status`: bit n − 1 is
/// signal n. None where there is no such text.
fn ignored(status: &str) -> u64 {
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Whether a signal came.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_to_be_ignored_is_read() {
        let status = "Name:\tx\nSigBlk:\t00000000000000ff\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        assert_eq!(ignored(status), 1 << (SIGHUP - 1) | 1 << 12);
        assert_eq!(ignored(""), 0);
    }
}
