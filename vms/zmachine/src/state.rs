//! The records: everything of a machine that is not in a space.

use omni_state::{Field, Reader, StateError, Writer, record};

/// What the machine waits for. The program counter stands at the store or branch of the
/// instruction that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Nothing: instructions run.
    None,
    /// A line of text.
    Line,
    /// One key.
    Key,
    /// The name of a file to save.
    SaveName,
    /// The name of a file to restore.
    LoadName,
    /// The end of a save.
    Save,
    /// The content of a file.
    Load,
}

impl Wait {
    const ALL: [Self; 7] =
        [Self::None, Self::Line, Self::Key, Self::SaveName, Self::LoadName, Self::Save, Self::Load];

    /// Whether input can end it.
    pub(crate) fn for_input(self) -> bool {
        matches!(self, Self::Line | Self::Key | Self::SaveName | Self::LoadName)
    }
}

impl Field for Wait {
    fn put(&self, out: &mut Writer) {
        let code = Self::ALL.iter().position(|wait| wait == self);
        u8::try_from(code.expect("all are listed")).expect("there are seven").put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let code = usize::from(u8::get(from)?);
        Self::ALL.get(code).copied().ok_or(StateError::Invalid("wait"))
    }
}

record! {
    /// The registers of the processor.
    pub(crate) struct Cpu = "zmachine-cpu" v 1 {
        /// Instructions so far, and time that passed in waiting.
        tick: u64;
        /// The byte address of the next instruction.
        pc: u32;
        /// The word of the stack where the frame starts.
        fp: u32;
        /// The next free word of the stack.
        sp: u32;
        /// Locals of the frame.
        locals: u8;
        /// Arguments that the routine was given.
        args: u8;
        /// Frames below this one.
        depth: u32;
        /// The depth of the frame of a timed routine; zero is none.
        interrupt: u32;
        /// The state of the generator.
        random: u64;
        /// Counts up to this instead of drawing, where not zero.
        interval: u16;
        /// The count.
        counter: u16;
        /// The exit code, once the story has ended.
        halted: Option<u64>;
        /// Levels of undo, oldest first: slot, pc, fp, sp, locals and args, depth.
        undo: Vec<[u32; 6]>;
        /// The size of the story's dynamic memory: a snapshot of another story is refused.
        dynamic_bytes: u32;
    }
}

record! {
    /// Input and the instruction that waits for it.
    pub(crate) struct Input = "zmachine-input" v 1 {
        /// Bytes that no instruction has taken.
        typed: Vec<u8>;
        /// The line so far, in ZSCII.
        line: Vec<u8>;
        /// Characters of the line that the story put there.
        preset: u32;
        /// The end of the line that a key came from is to be dropped.
        swallow: bool;
        /// The last byte was a carriage return, so a line feed belongs to it.
        after_cr: bool;
        /// What the machine waits for.
        wait: Wait;
        /// The text buffer of a read; the table of a save.
        text: u16;
        /// The parse buffer of a read; the size of the table of a save.
        parse: u16;
        /// The routine of a timed read; zero is none.
        routine: u16;
        /// Ticks between calls of the routine.
        period: u64;
        /// The tick of the next call.
        wake: u64;
        /// The number of the next request.
        next_io: u64;
        /// The request that is awaited.
        io: u64;
        /// The name of its file.
        name: String;
        /// The content to save.
        bytes: Vec<u8>;
    }
}

record! {
    /// Output streams, windows and the screen.
    pub(crate) struct Screen = "zmachine-screen" v 1 {
        /// Columns.
        columns: u32;
        /// Rows.
        rows: u32;
        /// The current window: 0 is the lower one, 1 the upper one, 7 the status line.
        window: u8;
        /// Rows of the upper window.
        upper_rows: u32;
        /// The row and column of each window's cursor: lower, upper, status line.
        cursors: [(u32, u32); 3];
        /// The text style: 1 reverse, 2 bold, 4 italic, 8 fixed.
        style: u32;
        /// Whether whole words are wrapped in the lower window.
        buffered: bool;
        /// Lines since the last input, after which the screen is shown.
        lines: u32;
        /// The word that may still be wrapped: characters, and styles in the bits above.
        word: Vec<u32>;
        /// What the screen shows, row by row: characters, styles, and a bit for a change.
        cells: Vec<u32>;
        /// Whether stream 1 is on.
        to_screen: bool;
        /// Stream 3: the tables and the characters in them, outermost first.
        tables: Vec<(u16, u16)>;
    }
}
