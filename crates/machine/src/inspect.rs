//! The contract of what a debugger sees of a machine, and of where it has it stop.

use crate::{Outside, Stop};
use omni_base::Gpa;

/// A thread of a machine that has registers of its own, such as a hart; counted from zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThreadId(pub u32);

/// What the registers and addresses of a machine look like.
#[derive(Debug)]
pub struct Architecture {
    /// The name that GDB knows it by, where it does.
    pub gdb_name: Option<&'static str>,
    /// Whether the first byte of a register is its highest.
    pub big_endian: bool,
    /// The registers, in groups; a register's number is its place in all of them.
    pub features: Vec<Feature>,
    /// The number of the register that holds the address of the next instruction.
    pub pc: usize,
}

impl Architecture {
    /// All registers, in the order of their numbers.
    pub fn registers(&self) -> impl Iterator<Item = &Register> {
        self.features.iter().flat_map(|feature| &feature.registers)
    }

    /// The register of this number.
    #[must_use]
    pub fn register(&self, number: usize) -> Option<&Register> {
        self.registers().nth(number)
    }
}

/// A group of registers.
#[derive(Debug)]
pub struct Feature {
    /// Its name, as debuggers know it.
    pub name: &'static str,
    /// Its registers.
    pub registers: Vec<Register>,
}

/// One register.
#[derive(Clone, Debug)]
pub struct Register {
    /// The name in the architecture's manual.
    pub name: String,
    /// Its width: 8, 16, 32 or 64.
    pub bits: u8,
    /// What it holds.
    pub holds: Holds,
}

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    /// A number.
    Integer,
    /// The address of code.
    Code,
    /// The address of data.
    Data,
    /// A floating-point number of IEEE 754.
    Float,
}

/// A place in a space of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which space, by its place in `Memory::spaces`.
    pub space: usize,
    /// The byte of it.
    pub at: Gpa,
}

/// What to stop at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopPoint {
    /// The instruction at this address, in any thread and address space.
    Break(u64),
    /// An access by an instruction to any of some bytes, or a device that changes one of them.
    Watch {
        /// The address of the first byte.
        at: u64,
        /// How many bytes.
        bytes: u64,
        /// Which accesses.
        on: WatchOn,
    },
}

/// Which accesses are stopped at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatchOn {
    /// Stores.
    Store,
    /// Loads.
    Load,
    /// Both.
    Any,
}

impl WatchOn {
    /// Whether loads are among them.
    #[must_use]
    pub fn loads(self) -> bool {
        self != Self::Store
    }

    /// Whether stores are among them.
    #[must_use]
    pub fn stores(self) -> bool {
        self != Self::Load
    }
}

/// A stop point that was come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// Who came to it.
    pub thread: ThreadId,
    /// Which it is.
    pub point: StopPoint,
    /// The instruction's address, or that of the first byte accessed that is watched.
    pub at: u64,
    /// Whether the machine stands after the instruction or event that made the access, and not
    /// before it. So it does where a device has written.
    /// It stands before one at a break point.
    pub after: bool,
}

/// What a debugger sees of a machine at rest. Nothing here is part of the state, but for what is
/// set, and stop points change neither the state of a machine nor its ticks.
pub trait Inspect {
    /// What registers there are.
    fn architecture(&self) -> &'static Architecture;

    /// The threads and what each is doing, in a few words.
    fn threads(&self) -> Vec<(ThreadId, String)>;

    /// The thread whose instruction or trap the next tick is; none where all wait.
    fn turn(&self) -> Option<ThreadId>;

    /// What a register holds; none where there is no such thread or register.
    fn register(&self, thread: ThreadId, number: usize) -> Option<u64>;

    /// Sets a register to what it can hold of the value. Says whether it can be set.
    fn set_register(&mut self, thread: ThreadId, number: usize, value: u64) -> bool;

    /// Where the byte at an address of a thread is, by its present address space, whether or not
    /// the thread might access it.
    fn locate(&self, thread: ThreadId, at: u64) -> Option<Place>;

    /// Where the byte at a physical address is.
    fn locate_physical(&self, at: u64) -> Option<Place>;

    /// Has `Machine::run` stop at these points and no others; asked at each anew, also where the
    /// machine stopped at it before.
    fn set_stops(&mut self, stops: &[StopPoint]);

    /// Lets one tick pass as `Machine::run` does, but stops at no point.
    fn step(&mut self, outside: &mut dyn Outside) -> Stop;
}
