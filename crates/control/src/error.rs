//! Why something could not be done with the machines of this user, and the exit code of each.

use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The host could not read or write a file.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// No machine has this name or id.
    #[error("there is no machine '{0}'; 'omni ps' lists them")]
    NoMachine(String),
    /// More than one machine has an id that begins so.
    #[error("'{0}' is the beginning of more than one machine's id; give more of it")]
    Ambiguous(String),
    /// A machine has this name already.
    #[error("there is a machine '{0}' already; choose another --name, or 'omni rm {0}'")]
    Exists(String),
    /// The name cannot be one.
    #[error(
        "'{0}' cannot be a machine's name: letters, digits, '-', '_' and '.', at most 63, \
         beginning with a letter or digit"
    )]
    BadName(String),
    /// The machine is in another state than the verb needs.
    #[error("the machine '{name}' is {state}: {hint}")]
    WrongState {
        /// Its name.
        name: String,
        /// Its state.
        state: &'static str,
        /// What to do.
        hint: String,
    },
    /// A file of a machine is not what this build writes.
    #[error("{0} is damaged ({1}); 'omni rm' removes the machine")]
    Damaged(PathBuf, String),
    /// The monitor of the machine said no.
    #[error("{text}")]
    Refused {
        /// The exit code for it.
        code: u8,
        /// What it said.
        text: String,
    },
    /// The monitor went away in the middle.
    #[error("the monitor of the machine '{0}' went away; 'omni ps' shows what became of it")]
    Gone(String),
    /// No place for the state is known.
    #[error("neither OMNI_HOME, HOME nor the XDG variables are set: set one of them")]
    NoHome,
}

impl ControlError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io(path, error)
    }

    /// The exit code that says this to a script.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io(_, error) if error.kind() == io::ErrorKind::PermissionDenied => 7,
            Self::Io(..) | Self::Gone(_) | Self::NoHome => 1,
            Self::NoMachine(_) => 3,
            Self::Ambiguous(_) | Self::BadName(_) => 2,
            Self::Exists(_) => 4,
            Self::WrongState { .. } => 5,
            Self::Damaged(..) => 9,
            Self::Refused { code, .. } => *code,
        }
    }
}
