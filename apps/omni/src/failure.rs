//! Why a verb failed: one sentence for people, one exit code for scripts.

use omni_control::ControlError;
use omni_disk::{FormatError, ImageError as ImageFormatError};
use omni_host::DiskError;
use omni_image::ImageError;
use omni_lifecycle::LifecycleError;
use omni_machine::CreateError;
use omni_net::NetError;
use omni_runtimes::RuntimeError;
use omni_store::{ManifestError, StoreError};
use std::io;

/// Exit codes, as the manual lists them.
pub(crate) mod code {
    pub(crate) const FAILURE: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const NOT_FOUND: u8 = 3;
    pub(crate) const EXISTS: u8 = 4;
    pub(crate) const WRONG_STATE: u8 = 5;
    pub(crate) const UNSUPPORTED: u8 = 8;
    pub(crate) const DAMAGED: u8 = 9;
    pub(crate) const DIVERGED: u8 = 10;
    pub(crate) const TIMEOUT: u8 = 124;
    pub(crate) const OWN_FAILURE: u8 = 125;
    /// As a shell says of a process that was killed.
    pub(crate) const KILLED: u8 = 137;
    /// As a shell says of a process whose output nobody takes.
    pub(crate) const PIPE: u8 = 141;
}

/// A verb failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// What went wrong and what to do; empty where there is nothing to say.
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(code::USAGE, text)
    }

    /// A result that could not be written.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(code::PIPE, "");
        }
        Self::new(code::FAILURE, format!("cannot write the result: {error}"))
    }

    /// An error of the host with what it was about.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::PermissionDenied { 7 } else { code::FAILURE };
        Self::new(code, format!("{what}: {error}"))
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::new(error.exit_code(), error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Io(_, error) if error.kind() == io::ErrorKind::PermissionDenied => 7,
            StoreError::Io(..) => code::FAILURE,
            StoreError::Newer(..) => code::UNSUPPORTED,
            StoreError::Manifest(_, ManifestError::Version(_) | ManifestError::Part(_)) => {
                code::UNSUPPORTED
            }
            StoreError::Damaged { .. }
            | StoreError::Missing { .. }
            | StoreError::Manifest(..)
            | StoreError::NotPortable(..) => code::DAMAGED,
            StoreError::Exists(_) => code::EXISTS,
            StoreError::NoSnapshot(_) => code::NOT_FOUND,
            StoreError::BadTag(_) => code::USAGE,
            StoreError::Busy(..) => code::WRONG_STATE,
        };
        Self::new(code, error.to_string())
    }
}

impl From<LifecycleError> for Failure {
    fn from(error: LifecycleError) -> Self {
        let code = match &error {
            LifecycleError::Create(error) => return error.clone().into(),
            LifecycleError::File(_) | LifecycleError::Log(_) | LifecycleError::Rung(..) => {
                code::DAMAGED
            }
            LifecycleError::NotSelfContained(_) | LifecycleError::NotDeterministic(_) => {
                code::UNSUPPORTED
            }
            LifecycleError::OtherKind { .. } => code::USAGE,
            LifecycleError::Semantics { .. } => code::UNSUPPORTED,
            LifecycleError::NoMoment(_) => code::NOT_FOUND,
            LifecycleError::Diverged(_) => code::DIVERGED,
        };
        Self::new(code, error.to_string())
    }
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        let code = match &error {
            CreateError::State(_) | CreateError::Shape(_) => code::DAMAGED,
            CreateError::Option { .. } | CreateError::File { .. } | CreateError::NoKind(_) => {
                code::USAGE
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        let code = match error {
            DiskError::Image(error) => return error.into(),
            DiskError::Io(_, ref error) if error.kind() == io::ErrorKind::PermissionDenied => 7,
            DiskError::Io(..) => code::FAILURE,
            DiskError::Overlay(_) => code::DAMAGED,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ImageFormatError> for Failure {
    fn from(error: ImageFormatError) -> Self {
        let code = match &error.error {
            FormatError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => 7,
            FormatError::Io(_) => code::FAILURE,
            FormatError::Damaged { .. } => code::DAMAGED,
            FormatError::Unsupported(_) => code::UNSUPPORTED,
            FormatError::Reference { .. } | FormatError::Request(_) => code::USAGE,
        };
        Self::new(code, error.to_string())
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        Self::new(code::FAILURE, error.to_string())
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        let code = match error {
            RuntimeError::Script { .. }
            | RuntimeError::Argument { .. }
            | RuntimeError::TooLarge(..) => code::USAGE,
            RuntimeError::Mismatch { .. } | RuntimeError::Package(..) => code::DAMAGED,
            RuntimeError::NoClient { .. }
            | RuntimeError::NotFetched { .. }
            | RuntimeError::Disk { .. } => code::FAILURE,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        let usage = matches!(
            error,
            ImageError::BadReference(_)
                | ImageError::BadArch(_)
                | ImageError::BadMirror(_)
                | ImageError::BadChoice(_)
                | ImageError::NoPackage { .. }
                | ImageError::Conflict { .. }
        );
        let code = if usage {
            code::USAGE
        } else if matches!(error, ImageError::NoImage(_)) {
            code::NOT_FOUND
        } else if matches!(error, ImageError::BadImage { .. }) {
            code::DAMAGED
        } else {
            code::FAILURE
        };
        Self::new(code, error.to_string())
    }
}
