//! What a story may not do: it ends with a message.

use omni_ir::Trap;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Why a story ends that did what it may not.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
        #[repr(u8)]
        pub(crate) enum Fault { $($(#[$doc])* #[error($text)] $name,)* }

        impl Fault {
            const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

faults! {
    /// A load.
    Read = "it reads where there is no memory";
    /// A store.
    Write = "it writes where it cannot";
    /// A fetch.
    Fetch = "its code is outside memory";
    /// A pop.
    Underflow = "it takes more from the stack than there is";
    /// A push.
    Overflow = "its stack is full";
    /// A division.
    Divide = "it divides by zero";
    /// No such opcode.
    Opcode = "there is no such instruction";
    /// No such way to give an operand.
    Operand = "an operand is given in no known way";
    /// A call of what is none.
    NotFunction = "it calls what is not a function";
    /// The locals of a function.
    Locals = "a function's list of locals is not sound";
    /// A frame that says no such thing.
    Stub = "a call returns to what was no call";
    /// Printing of what is none.
    NotString = "it prints what is not a string";
    /// No table to decode with.
    NoTable = "it prints a compressed string, and there is no table to do so";
    /// An entry of the table.
    Table = "the table of its strings is not sound";
    /// A search.
    Key = "a search has a key of a size that cannot be";
    /// A list that leads into itself.
    Circle = "it searches a list that never ends";
    /// A block of the heap.
    Heap = "it frees or asks for what the heap cannot have";
    /// Memory that is in use.
    Resize = "it resizes memory while there is a heap, or to a size that cannot be";
    /// A debugger's instruction.
    Debug = "it stopped itself, as if for a debugger";
    /// Too much at once.
    TooMuch = "it prints or opens more than is held";
}

impl Fault {
    /// As the engine has it.
    pub(crate) fn trap(self, value: u32) -> Trap {
        Trap { cause: self as u64, value: value.into() }
    }

    /// What a trap of the engine was.
    pub(crate) fn of(trap: Trap) -> Self {
        let at = usize::try_from(trap.cause).ok();
        at.and_then(|at| Self::ALL.get(at)).copied().unwrap_or(Self::Opcode)
    }
}

impl From<Fault> for Trap {
    fn from(fault: Fault) -> Self {
        fault.trap(0)
    }
}
