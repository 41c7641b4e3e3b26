//! What can go wrong while an image is made or opened, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// A failure to make, open or remove an image. The message is for the person who asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// No mirror was given and the host's apt sources name none.
    #[error(
        "no Debian mirror is known: give one with --mirror URL (a folder that holds dists/ and \
         pool/), or set `mirror` under [debian] in the configuration file"
    )]
    NoMirror,
    /// The mirror's address is not one that can be fetched from.
    #[error("mirror {0:?} cannot be used: it must start with http:// or https://")]
    BadMirror(String),
    /// The image's name is not of the form `debian[:SUITE]`.
    #[error(
        "{0:?} names no image that can be built: write debian or debian:SUITE, as debian:trixie; \
         debian-minimal for a kernel and a shell only"
    )]
    BadReference(String),
    /// The architecture is not in the table.
    #[error("architecture {0:?} is not known: use one of riscv64, x86_64 (amd64), aarch64 (arm64)")]
    BadArch(String),
    /// There is no image of this name.
    #[error("there is no image {0:?}: build it first, with `omni image build`")]
    NoImage(String),
    /// An image's folder is damaged or of a later format.
    #[error("image {name:?} cannot be used ({reason}): build it again, with `omni image build`")]
    BadImage {
        /// The folder's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The network gave up. What was fetched so far is kept.
    #[error(
        "cannot fetch {url}: {reason}; what has arrived is kept, run the same command again to \
         continue from there"
    )]
    Network {
        /// What was asked for.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// The mirror answered, but not with the file.
    #[error(
        "{url}: the mirror answered with status {status}; check the mirror and the suite's name"
    )]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A file of the host could not be read or written.
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Disk {
        /// What was being done, as a verb.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A fetched file is not the one that the signed index describes.
    #[error(
        "{url} is not what the signed index describes ({reason}): the mirror is damaged or in the \
         middle of an update; try again later or use another mirror"
    )]
    Mismatch {
        /// What was fetched.
        url: String,
        /// What differs.
        reason: String,
    },
    /// The release file carries no signature that can be trusted.
    #[error("the signature of {url} is not to be trusted: {reason}; nothing was installed from it")]
    Signature {
        /// The release file.
        url: String,
        /// Why.
        reason: String,
    },
    /// The keyring could not be read.
    #[error("keyring {}: {reason}; give another with --keyring FILE", path.display())]
    Keyring {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The release file is signed, but it is not for what was asked, or not for today.
    #[error("the release file of {suite:?} cannot be used: {reason}")]
    Release {
        /// What was asked for.
        suite: String,
        /// What is wrong.
        reason: String,
    },
    /// Signed data that nevertheless makes no sense.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// Which file.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The suite does not offer a package that the image needs.
    #[error("there is no package {package} in {suite} for {arch}: is its name written so?")]
    NoPackage {
        /// The package.
        package: String,
        /// The suite looked in.
        suite: String,
        /// Debian's name of the architecture.
        arch: String,
    },
    /// A package needs what the suite does not offer.
    #[error("package {package} needs {needs}, which this suite does not have")]
    Unsatisfied {
        /// The package.
        package: String,
        /// The alternatives.
        needs: String,
    },
    /// Two of the packages cannot be installed together.
    #[error("packages {one} and {other} exclude each other: leave one of them out")]
    Conflict {
        /// The one that says so.
        one: String,
        /// The other one.
        other: String,
    },
    /// A choice for a system on a disk that cannot be met.
    #[error("{0}")]
    BadChoice(String),
    /// The machine that sets the system up did not do so.
    #[error("the system could not be set up: {reason}{}", advice_log(log.as_deref()))]
    Setup {
        /// What went wrong.
        reason: String,
        /// Where the console's output is.
        log: Option<PathBuf>,
    },
    /// A package lacks a file that the image needs.
    #[error("package {package} holds no {file}: this suite is packed in a way not known here")]
    NoFile {
        /// The package.
        package: String,
        /// The file or pattern.
        file: String,
    },
}

impl ImageError {
    /// The error of a file operation, for `map_err`.
    pub(crate) fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Disk { action, path, source }
    }

    /// Signed or local data that makes no sense.
    pub(crate) fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Malformed { what: what.into(), reason: reason.to_string() }
    }
}

/// Where to read on.
fn advice_log(log: Option<&Path>) -> String {
    log.map_or_else(String::new, |log| format!("; {} has what its console said", log.display()))
}

/// What can be done about a full disk; nothing for other errors.
fn advice(source: &io::Error) -> &'static str {
    if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        "; free some space and run the same command again, it continues where it stopped"
    } else {
        ""
    }
}
