//! Why something could not be done with the store.

use crate::ManifestError;
use omni_base::Digest;
use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be done with the store. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The host could not read or write a file.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The store was written by a later version of the program.
    #[error("the store {0} has {1}, which this build does not know: use the build that wrote it")]
    Newer(PathBuf, String),
    /// Bytes have changed.
    #[error("the store is damaged: {path}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What in it, and how.
        what: String,
    },
    /// Something that must be there is not.
    #[error("the store is damaged: the {what} {digest} is in no pack of {path}")]
    Missing {
        /// The folder of the store.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Its name.
        digest: Digest,
    },
    /// A manifest cannot be used.
    #[error("the snapshot {0}: {1}")]
    Manifest(Digest, ManifestError),
    /// A snapshot of this tag exists.
    #[error("there is a snapshot '{0}' already; choose another tag, or remove it first")]
    Exists(String),
    /// There is no such snapshot.
    #[error("there is no snapshot '{0}'")]
    NoSnapshot(String),
    /// A tag that cannot be one.
    #[error(
        "'{0}' cannot be a tag: letters, digits, '-', '_' and '.', at most 63, beginning with a \
         letter or digit"
    )]
    BadTag(String),
    /// Another process cleans the store up, or writes to it.
    #[error("the store {0} is in use by {1}: try again when it is done")]
    Busy(PathBuf, String),
    /// The file is not what `export` writes.
    #[error("{0} is not an exported machine: {1}")]
    NotPortable(PathBuf, String),
}

impl StoreError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => Self::Io(path, error),
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        Self::other(error)
    }
}
