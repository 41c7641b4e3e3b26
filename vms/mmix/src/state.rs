//! The records: everything of a machine that is not in a space, and where registers are.

use crate::system::FILES_MAX;
use omni_ir::Slot;
use omni_state::{Field, Reader, StateError, Writer, record};
use std::collections::BTreeMap;

/// Numbers of the special registers (section 5 of the manual), and their slots.
pub(crate) mod special {
    use omni_ir::Slot;

    pub(crate) const B: u8 = 0;
    pub(crate) const D: u8 = 1;
    pub(crate) const E: u8 = 2;
    pub(crate) const H: u8 = 3;
    pub(crate) const J: u8 = 4;
    pub(crate) const M: u8 = 5;
    pub(crate) const R: u8 = 6;
    pub(crate) const BB: u8 = 7;
    pub(crate) const C: u8 = 8;
    pub(crate) const N: u8 = 9;
    pub(crate) const O: u8 = 10;
    pub(crate) const S: u8 = 11;
    pub(crate) const I: u8 = 12;
    pub(crate) const T: u8 = 13;
    pub(crate) const TT: u8 = 14;
    pub(crate) const K: u8 = 15;
    pub(crate) const U: u8 = 17;
    pub(crate) const V: u8 = 18;
    pub(crate) const G: u8 = 19;
    pub(crate) const L: u8 = 20;
    pub(crate) const A: u8 = 21;
    pub(crate) const P: u8 = 23;
    pub(crate) const W: u8 = 24;
    pub(crate) const X: u8 = 25;
    pub(crate) const Y: u8 = 26;
    pub(crate) const Z: u8 = 27;
    pub(crate) const WW: u8 = 28;
    pub(crate) const XX: u8 = 29;
    pub(crate) const YY: u8 = 30;
    pub(crate) const ZZ: u8 = 31;

    /// How many there are.
    pub(crate) const COUNT: u8 = 32;

    /// Their names, by number.
    pub(crate) const NAMES: [&str; 32] = [
        "rB", "rD", "rE", "rH", "rJ", "rM", "rR", "rBB", "rC", "rN", "rO", "rS", "rI", "rT", "rTT",
        "rK", "rQ", "rU", "rV", "rG", "rL", "rA", "rF", "rP", "rW", "rX", "rY", "rZ", "rWW", "rXX",
        "rYY", "rZZ",
    ];

    /// The slot of one.
    pub(crate) const fn slot(number: u8) -> Slot {
        Slot(super::SPECIALS + number)
    }
}

/// Registers below this have the slots of their numbers.
pub(crate) const LOW: u8 = 64;

/// Registers from this on have slots; those between are in the record.
pub(crate) const HIGH: u8 = 200;

/// The slot of the first special register.
pub(crate) const SPECIALS: u8 = LOW + (255 - HIGH) + 1;

/// Slots that every front-end has, and this one has no use for.
pub(crate) const FLAGS: Slot = Slot(SPECIALS + special::COUNT);
pub(crate) const RESERVATION: Slot = Slot(FLAGS.0 + 1);

/// Slots that are state.
pub(crate) const SLOTS: usize = RESERVATION.0 as usize + 1;

/// Octabytes of pushed registers that are not in memory yet, at most.
pub(crate) const RING: usize = 256;

/// The slot of a general register, where it has one.
pub(crate) const fn slot(register: u8) -> Option<Slot> {
    if register < LOW {
        Some(Slot(register))
    } else if register >= HIGH {
        Some(Slot(LOW + (register - HIGH)))
    } else {
        None
    }
}

/// What the machine waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Nothing: instructions run.
    None,
    /// More input at the console.
    Input,
    /// The content of a file.
    Load,
    /// The end of a write of the file of this handle.
    Save(u8),
}

impl Field for Wait {
    fn put(&self, out: &mut Writer) {
        let (code, handle): (u8, u8) = match self {
            Self::None => (0, 0),
            Self::Input => (1, 0),
            Self::Load => (2, 0),
            Self::Save(handle) => (3, *handle),
        };
        (code, handle).put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (code, handle): (u8, u8) = Field::get(from)?;
        match (code, handle) {
            (0, 0) => Ok(Self::None),
            (1, 0) => Ok(Self::Input),
            (2, 0) => Ok(Self::Load),
            (3, handle) => Ok(Self::Save(handle)),
            _ => Err(StateError::Invalid("wait")),
        }
    }
}

/// What a handle may do; bits.
pub(crate) mod may {
    pub(crate) const READ: u8 = 1;
    pub(crate) const WRITE: u8 = 2;
    pub(crate) const SEEK: u8 = 4;
    pub(crate) const BOTH: u8 = 8;
}

/// An open handle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct File {
    /// What it may do.
    pub(crate) may: u8,
    /// Whether it is the console.
    pub(crate) console: bool,
    /// Whether its content is to be written out.
    pub(crate) dirty: bool,
    /// The name.
    pub(crate) name: String,
    /// The content.
    pub(crate) bytes: Vec<u8>,
    /// Where the next byte is read or written.
    pub(crate) at: u64,
}

impl Field for File {
    fn put(&self, out: &mut Writer) {
        self.may.put(out);
        self.console.put(out);
        self.dirty.put(out);
        self.name.put(out);
        self.bytes.put(out);
        self.at.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            may: Field::get(from)?,
            console: Field::get(from)?,
            dirty: Field::get(from)?,
            name: Field::get(from)?,
            bytes: Field::get(from)?,
            at: Field::get(from)?,
        })
    }
}

record! {
    /// The processor.
    pub(crate) struct Cpu = "mmix-cpu" v 1 {
        /// Instructions so far, and time that passed in waiting.
        tick: u64;
        /// How much of that was waiting.
        idle: u64;
        /// The address of the next instruction.
        pc: u64;
        /// The slots.
        slots: Vec<u64>;
        /// General registers that have no slot.
        middle: Vec<u64>;
        /// Pushed registers that are not in memory, by their address in octabytes modulo 256.
        ring: Vec<u64>;
        /// For each page of the space in use, which page of the address space it is.
        pages: Vec<u64>;
        /// The exit code, once it has ended.
        halted: Option<u64>;
    }
}

record! {
    /// The console and the files.
    pub(crate) struct Io = "mmix-io" v 1 {
        /// Input that is not read yet.
        typed: Vec<u8>;
        /// No more input will come.
        closed: bool;
        /// Open handles.
        files: BTreeMap<u8, File>;
        /// What the machine waits for.
        wait: Wait;
        /// What it has waited for, until the instruction takes it: bytes or an error number.
        answer: Option<Vec<u8>>;
        /// The error number, where there was one.
        refused: Option<u16>;
        /// The number of the next request.
        next_io: u64;
        /// The request in flight.
        io: u64;
        /// The name of the file asked for.
        name: String;
    }
}

impl Io {
    /// Whether the open files are some that calls could have made.
    pub(crate) fn has_sound_files(&self) -> bool {
        let mut held = 0_usize;
        self.files.values().all(|file| {
            held = held.saturating_add(file.bytes.len());
            let placed = file.at < 1 << 32 && (!file.console || file.bytes.is_empty());
            placed && held <= FILES_MAX
        })
    }
}
