//! What a story may not do.

/// A guest fault: the story ends with this message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Reads beyond the story file.
    #[error("address {0:#x} is outside the story")]
    Address(u32),
    /// Writes to what is not dynamic memory.
    #[error("address {0:#x} may not be written")]
    ReadOnly(u32),
    /// No such opcode in this version.
    #[error("there is no opcode {0:#x} in version {1}")]
    Opcode(u16, u8),
    /// Too few operands.
    #[error("an operand is missing")]
    Operand,
    /// No room for a word or a frame.
    #[error("the stack is full")]
    StackFull,
    /// Pops what is not there.
    #[error("the stack is empty")]
    StackEmpty,
    /// A frame that is not there.
    #[error("there is no such stack frame")]
    Frame,
    /// A variable that the routine does not have.
    #[error("the routine has no local variable {0}")]
    Local(u8),
    /// Not the head of a routine.
    #[error("there is no routine at {0:#x}")]
    Routine(u32),
    /// Divides by zero.
    #[error("division by zero")]
    DivideByZero,
    /// An object that cannot be.
    #[error("there is no object {0}")]
    Object(u16),
    /// An attribute that cannot be.
    #[error("there is no attribute {0}")]
    Attribute(u16),
    /// A property that the object lacks.
    #[error("object {0} has no property {1}")]
    Property(u16, u16),
    /// A loop in the tree of objects.
    #[error("the tree of objects has a loop at object {0}")]
    TreeLoop(u16),
    /// Abbreviations within abbreviations.
    #[error("an abbreviation holds an abbreviation, at {0:#x}")]
    Abbreviation(u32),
    /// A string without an end in reach.
    #[error("a text is too long, at {0:#x}")]
    TextTooLong(u32),
    /// A table that is larger than a tick may touch.
    #[error("a table is too large")]
    Table,
    /// Stream 3 within itself more often than the Standard allows.
    #[error("output stream 3 is opened too often")]
    Streams,
    /// A window that is not there.
    #[error("there is no window {0}")]
    Window(u16),
    /// Reads within the routine of a timed read.
    #[error("a timed routine reads")]
    NestedRead,
    /// The text buffer of a read is too small.
    #[error("the text buffer is too small")]
    TextBuffer,
}
