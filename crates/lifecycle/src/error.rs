//! Why something could not be done to a machine.

use crate::{Divergence, FileError, LogError, Moment};
use omni_machine::CreateError;
use omni_state::StateError;

/// Why an operation on a machine did not happen. The machine is as it was.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The machine could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// A snapshot file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state of such a machine is not all in its spaces and records.
    #[error("a machine of kind '{0}' cannot be saved: part of its state is held by the host")]
    NotSelfContained(String),
    /// The same events do not give the same future.
    #[error("a machine of kind '{0}' cannot be replayed: it is not deterministic as it runs here")]
    NotDeterministic(String),
    /// The log is of a machine of another kind.
    #[error("the log is of a machine of kind '{log}', not '{machine}'")]
    OtherKind {
        /// What the log says.
        log: String,
        /// What the machine is.
        machine: String,
    },
    /// The meaning of the machine's instructions has changed since the log was made.
    #[error(
        "the log was made with meaning {log} of kind '{kind}' and this build has meaning {here}; \
         replay it with the build that made it"
    )]
    Semantics {
        /// The kind.
        kind: String,
        /// The number in the log.
        log: u32,
        /// The number of this build.
        here: u32,
    },
    /// The moment is not on the recorded timeline.
    #[error("{0} is not on the recorded timeline")]
    NoMoment(Moment),
    /// A rung that is kept elsewhere cannot be had.
    #[error("the rung at {0} cannot be read: {1}")]
    Rung(Moment, std::io::Error),
    /// The replay went another way than the recording.
    #[error("{0}")]
    Diverged(Box<Divergence>),
}

impl From<StateError> for LifecycleError {
    fn from(error: StateError) -> Self {
        Self::Create(CreateError::State(error))
    }
}
