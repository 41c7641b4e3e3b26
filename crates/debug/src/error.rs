//! Why a machine cannot be debugged.

use omni_lifecycle::{Divergence, LifecycleError, Moment};

/// Why a machine cannot be debugged, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    /// It shows no registers.
    #[error("machines of kind {0} have no registers that a debugger could show")]
    NoRegisters(String),
    /// Its past cannot be had again.
    #[error(
        "machines of kind {0} do not replay as they run now; with several processors that is so \
         with --parallel, and not with --turns"
    )]
    NotDeterministic(String),
    /// It could not be saved, or restored.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// A replay went another way than the machine has gone.
    #[error("{found}")]
    Diverged {
        /// How.
        found: Box<Divergence>,
        /// The rung that it began at.
        from: Moment,
    },
    /// The moment is not in what was recorded.
    #[error("there is no record of {0}")]
    NoMoment(Moment),
    /// Somebody asked for the end of what was under way.
    #[error("it was interrupted")]
    Interrupted,
    /// The debugger sent what GDB's remote protocol does not have.
    #[error("the debugger does not keep to the protocol: {0}")]
    Protocol(String),
    /// The debugger cannot be reached any more.
    #[error("the debugger cannot be reached: {0}")]
    Wire(#[from] std::io::Error),
}
