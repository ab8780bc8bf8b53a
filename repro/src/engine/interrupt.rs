//! Ctrl-C and SIGTERM: the first asks all runs to checkpoint, the second ends the process at once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Exit code of a process that was interrupted: 128 + SIGINT, as shells have it.
pub const EXIT_CODE: u8 = 130;

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on a signal is a request. Call it as often as you like.
pub(crate) fn listen() -> io::Result<()> {
    let mut registered = Ok(());
    REQUESTED.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        registered = [SIGINT, SIGTERM]
            .into_iter()
            .try_for_each(|signal| register(signal, &flag));
        flag
    });
    registered
}

/// Handlers run in the order of registration, so only the second signal finds the flag set.
fn register(signal: i32, requested: &Arc<AtomicBool>) -> io::Result<()> {
    flag::register_conditional_shutdown(signal, EXIT_CODE.into(), Arc::clone(requested))?;
    flag::register(signal, Arc::clone(requested))?;
    Ok(())
}

/// Whether a signal came.
pub(crate) fn requested() -> bool {
    REQUESTED
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed))
}
