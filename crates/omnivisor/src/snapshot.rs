//! A program at one moment.

use crate::instance::Instance;
use crate::{Error, KINDS};
use omni_host::Folders;
use omni_lifecycle::{WriteOptions, restore};
use std::path::PathBuf;

/// A program at one moment: its memory, its calls, its open files. Cloning one costs next to
/// nothing.
///
/// ```
/// # use omnivisor::{Program, Snapshot, Status};
/// # let program = Program::new(r#"(module (func (export "f") (result i32) (i32.const 5)))"#);
/// let mut first = program.instance().call("f", &[]).start()?;
/// let bytes = first.snapshot()?.to_bytes()?;
/// // Elsewhere, at another time, by another build:
/// let mut second = Snapshot::from_bytes(&bytes)?.restore()?;
/// assert_eq!(second.run(1_000)?, Status::Ended(0));
/// assert_eq!(second.output(), b"5\n");
/// # Ok::<(), omnivisor::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot(pub(crate) omni_lifecycle::Snapshot);

impl Snapshot {
    /// A program that goes on from here, without folders.
    ///
    /// # Errors
    /// Where the snapshot is of another version of the machine, or not sound.
    pub fn restore(&self) -> Result<Instance, Error> {
        self.restore_with(&[])
    }

    /// A program that goes on from here, with these folders of the host in place of those that it
    /// had, in the same order.
    ///
    /// # Errors
    /// As `restore`, and where a folder cannot be opened.
    pub fn restore_with(&self, folders: &[PathBuf]) -> Result<Instance, Error> {
        let folders =
            Folders::open(folders).map_err(|(path, error)| Error::Folder { path, error })?;
        Instance::new(restore(KINDS, &self.0)?, folders)
    }

    /// The snapshot as bytes, with the program.
    ///
    /// # Errors
    /// Where a page of it is elsewhere and cannot be read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(self.0.to_bytes(WriteOptions::default())?)
    }

    /// The snapshot of bytes, which may come from anywhere.
    ///
    /// # Errors
    /// Where they are damaged or no snapshot.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self(omni_lifecycle::Snapshot::from_bytes(bytes, &[])?))
    }
}
