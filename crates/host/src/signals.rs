//! Signals of the host, handed to a function on a thread of its own.

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGWINCH};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A signal that a program of ours cares about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Someone asks the process to end; the number is the signal's.
    End(i32),
    /// The terminal has another size.
    Resized,
    /// The process runs again after it was stopped.
    Continued,
}

/// Calls `take` for each signal, on a thread of its own, for the life of the process.
///
/// # Errors
/// What the host says where no thread can be made.
pub fn watch_signals(mut take: impl FnMut(Signal) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH])?;
    let body = move || {
        for number in signals.forever() {
            take(match number {
                SIGWINCH => Signal::Resized,
                SIGCONT => Signal::Continued,
                other => Signal::End(other),
            });
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(body).map(|_| ())
}

/// Sets a flag whenever someone sends `SIGUSR1`, by which whoever measures asks to begin anew.
///
/// # Errors
/// What the host says.
pub fn watch_for_renewal(flag: &Arc<AtomicBool>) -> io::Result<()> {
    signal_hook::flag::register(SIGUSR1, flag.clone()).map(|_| ())
}
