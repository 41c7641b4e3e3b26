//! The lock of a machine: who has it owns the machine, and everybody else is told who that is.

use crate::failure::{Failure, code};
use omni_control::Entry;
use omni_host::FileLock;
use std::time::{Duration, Instant};

/// How long the one before has to let go of the machine.
const LOCK_WAIT: Duration = Duration::from_secs(3);

/// How long to sleep between two looks: at first one who is about to let go is waited for.
const PAUSE_LEAST: Duration = Duration::from_micros(100);
const PAUSE_MOST: Duration = Duration::from_millis(5);

/// Takes the lock of a machine, so that nobody else runs it or changes where it goes on from.
pub(crate) fn hold(entry: &Entry) -> Result<FileLock, Failure> {
    let path = entry.lock();
    let until = Instant::now() + LOCK_WAIT;
    let mut pause = PAUSE_LEAST;
    loop {
        let taken = FileLock::try_take(&path)
            .map_err(|error| Failure::io(&path.display().to_string(), &error))?;
        if let Some(lock) = taken {
            return Ok(lock);
        }
        if Instant::now() >= until {
            return Err(Failure::new(code::WRONG_STATE, held(entry)));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MOST);
    }
}

fn held(entry: &Entry) -> String {
    let name = &entry.machine.name;
    // As it is now: the one who has the lock has said so since.
    match Entry::load(&entry.dir).ok().and_then(|entry| entry.state.pid) {
        Some(pid) => format!("the machine '{name}' runs already: process {pid} has it"),
        None => format!("the machine '{name}' is held by another process: try again"),
    }
}
