//! The contract of a kind: what it is, what it needs, and how its machines are made.

use crate::{Caps, Machine, PortId, Spec};
use omni_base::Gpa;
use omni_memory::Space;
use omni_state::{Bundle, StateError};

/// The family a kind belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Runs operating systems.
    System,
    /// Runs programs.
    Process,
    /// Shares an operating system.
    Os,
}

/// What a kind says of itself; texts for people, tables and forms come from it.
#[derive(Debug)]
pub struct KindInfo {
    /// The name in `Spec::kind`, for ever.
    pub name: &'static str,
    /// The family.
    pub group: Group,
    /// One line for people.
    pub about: &'static str,
    /// The architecture, where `--arch` chooses between kinds.
    pub arch: Option<&'static str>,
    /// Instruction set extensions or versions of the standard, as `omni kinds` shows them.
    pub extensions: &'static [&'static str],
    /// What its machines can do.
    pub caps: Caps,
    /// Rises when any guest-visible behaviour changes: replay needs equal numbers.
    pub semantics: u32,
    /// The options of a spec.
    pub options: &'static [OptionSpec],
    /// The roles of files that a spec may have.
    pub files: &'static [&'static str],
    /// Where spaces begin in what the guest has as physical addresses; others begin at zero.
    pub bases: &'static [(&'static str, Gpa)],
}

/// One option of a kind.
#[derive(Debug)]
pub struct OptionSpec {
    /// The name in `Spec::options`.
    pub name: &'static str,
    /// What it holds.
    pub ty: OptionType,
    /// What it is when not given.
    pub default: &'static str,
    /// One line for people.
    pub about: &'static str,
}

/// What an option holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OptionType {
    /// A count.
    Number,
    /// A count of bytes, with K, M, G or T.
    Size,
    /// Any text.
    Text,
    /// `true` or `false`.
    Flag,
}

/// How sure a kind is that it can run some bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Confidence {
    /// It is something else.
    No,
    /// It could be run, as many things could.
    Perhaps,
    /// The format is this kind's.
    Sure,
}

/// A port of a machine, for whoever connects the outside to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortInfo {
    /// Its number.
    pub id: PortId,
    /// Its name, unique in the machine.
    pub name: String,
    /// What passes through it.
    pub kind: PortKind,
}

/// What passes through a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PortKind {
    /// Characters both ways. The first of its kind is the console that is attached.
    Console,
    /// Ethernet frames both ways.
    Net {
        /// The machine's address.
        mac: [u8; 6],
    },
    /// Requests to make the disk durable whose content is this space.
    Disk {
        /// The name of the space.
        space: String,
    },
    /// Requests for whole files.
    Files,
}

/// A stretch of a space, such as the signature of a compliance test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// The name of the space.
    pub space: String,
    /// The first byte.
    pub at: Gpa,
    /// The size.
    pub bytes: u64,
}

/// Makes machines of one kind. A kind is added by one crate and one line in a list of these.
pub trait MachineKind: Sync {
    /// What it is.
    fn info(&self) -> &'static KindInfo;

    /// How sure it is that it can run an image. All of the image is given.
    fn probe(&self, image: &[u8]) -> Confidence;

    /// The ports that machines of this spec have.
    ///
    /// # Errors
    /// Where the spec is not sound.
    fn ports(&self, spec: &Spec) -> Result<Vec<PortInfo>, CreateError>;

    /// The memory that a test of this spec signs, where its program names one.
    fn signature(&self, spec: &Spec) -> Option<Region>;

    /// Makes a machine at tick zero.
    ///
    /// # Errors
    /// Where the spec is not sound or its files are not what they should be.
    fn create(&self, spec: &Spec) -> Result<Box<dyn Machine>, CreateError>;

    /// Makes a machine from a snapshot: always a new one, never over a live one.
    ///
    /// # Errors
    /// Where spaces or records do not fit the spec.
    fn restore(
        &self,
        spec: &Spec,
        spaces: Vec<Space>,
        records: Bundle,
    ) -> Result<Box<dyn Machine>, CreateError>;
}

/// Why a machine could not be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CreateError {
    /// The records do not fit.
    #[error(transparent)]
    State(#[from] StateError),
    /// The spaces or records do not have the shape the spec asks for.
    #[error("the snapshot does not have the shape of its machine: {0}")]
    Shape(&'static str),
    /// An option cannot be what it was set to.
    #[error("option '{name}': {why}")]
    Option {
        /// Its name.
        name: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A file is not what its role asks for.
    #[error("{role}: {why}")]
    File {
        /// Its role.
        role: String,
        /// What is wrong.
        why: String,
    },
    /// No kind has this name.
    #[error("there is no kind of machine named '{0}'; 'omni kinds' lists them")]
    NoKind(String),
}
