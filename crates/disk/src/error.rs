//! Why an image cannot be read, written or made.

use crate::Format;
use std::io;
use std::path::PathBuf;

/// What is wrong with one image, without its name.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The host cannot read or write a file.
    #[error("cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The content is not what the format allows.
    #[error("is damaged: {field} {why}")]
    Damaged {
        /// The field of the format, by its name there.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The image is sound as far as it is known, and needs something that is not there.
    #[error("uses {0}, which is not supported: convert it first with the program that made it")]
    Unsupported(String),
    /// The image names another file, which is not taken.
    #[error("names the file '{name}', which {why}")]
    Reference {
        /// As the image has it.
        name: String,
        /// Why it is not taken, and what to do.
        why: String,
    },
    /// What is asked for cannot be made.
    #[error("cannot be: {0}")]
    Request(String),
}

/// The result of reading or writing one image.
pub type Result<T, E = FormatError> = std::result::Result<T, E>;

/// What is wrong with which image.
#[derive(Debug, thiserror::Error)]
#[error("{}: the {format} image {error}", .name.display())]
pub struct ImageError {
    /// The file.
    pub name: PathBuf,
    /// What it is taken for.
    pub format: Format,
    /// What is wrong.
    pub error: FormatError,
}

pub(crate) fn damaged(field: &'static str, why: impl Into<String>) -> FormatError {
    FormatError::Damaged { field, why: why.into() }
}

pub(crate) fn unsupported(what: impl Into<String>) -> FormatError {
    FormatError::Unsupported(what.into())
}

pub(crate) fn request(what: impl Into<String>) -> FormatError {
    FormatError::Request(what.into())
}

/// An error where `good` does not hold.
pub(crate) fn ensure(good: bool, field: &'static str, why: impl FnOnce() -> String) -> Result<()> {
    if good { Ok(()) } else { Err(damaged(field, why())) }
}
