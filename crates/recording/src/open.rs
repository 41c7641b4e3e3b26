//! Recordings read back: a log file, and the rungs that were put away beside it.

use crate::rung_moment;
use omni_base::Digest;
use omni_lifecycle::{LifecycleError, Log, LogError, Rung, Shelf, Timeline};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a log: it is read whole.
pub const LOG_BYTES_MAX: u64 = 1 << 30;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The host cannot read the file.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// It is larger than any log.
    #[error("{0} is larger than any log, which has at most 1 GiB")]
    Large(PathBuf),
    /// It is damaged, or no log.
    #[error("{0}: {1}")]
    Log(PathBuf, LogError),
    /// What it is made of does not fit together.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
}

/// Reads the log of a recording, which may still grow, and says how many bytes at its end were
/// left out as their entry is not whole.
///
/// # Errors
/// Where it cannot be read, is damaged, or is too large.
pub fn read_log(path: &Path) -> Result<(Log, usize), OpenError> {
    let fail = |error| OpenError::Io(path.to_owned(), error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(LOG_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > LOG_BYTES_MAX {
        return Err(OpenError::Large(path.to_owned()));
    }
    Log::from_bytes(&bytes).map_err(|error| OpenError::Log(path.to_owned(), error))
}

/// The timeline of a recording. `rungs` are all that its vault has, by name; each is read from
/// `shelf` when it is used.
///
/// # Errors
/// As `read_log`, and where the rung at its start is not there.
pub fn open(
    path: &Path,
    rungs: impl IntoIterator<Item = (String, Digest)>,
    shelf: &Arc<dyn Shelf>,
) -> Result<Timeline, OpenError> {
    let (log, _) = read_log(path)?;
    let rung =
        |(name, id): (String, Digest)| Some(Rung::shelved(rung_moment(&name)?, id, shelf.clone()));
    Ok(Timeline::from_rungs(log, rungs.into_iter().filter_map(rung).collect())?)
}
