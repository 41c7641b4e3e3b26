//! The records: everything of a machine that is not in a space.

use omni_machine::IoOp;
use omni_state::{Field, Reader, StateError, Writer, record};

record! {
    /// What a program is doing.
    pub(crate) struct Core = "wasm-core" v 1 {
        /// Instructions of the module so far, and time that passed in waiting.
        tick: u64;
        /// Of those, the ticks that passed in waiting.
        slept: u64;
        /// 0: the start function runs; 1: the main function runs; 2: it has ended.
        phase: u8;
        /// The exit code, once it has ended.
        halted: Option<u64>;
        /// The function whose instruction is next.
        func: u32;
        /// The instruction, counted in the register form of the function.
        pc: u32;
        /// The first slot of its frame.
        base: u32;
        /// The tick from which the ticks of its function count.
        origin: i64;
        /// Calls that wait, the outermost first: function, instruction, first slot.
        frames: Vec<(u32, u32, u32)>;
        /// Slots of all frames.
        stack: Vec<u64>;
        globals: Vec<u64>;
        /// Pages of 64 KiB of each memory.
        memories: Vec<u64>;
        /// Elements of each table.
        tables: Vec<Vec<u64>>;
        elements_dropped: Vec<bool>;
        data_dropped: Vec<bool>;
    }
}

record! {
    /// What the system keeps for a program.
    pub(crate) struct System = "wasi-preview1" v 1 {
        /// What was typed and not read yet.
        typed: Vec<u8>;
        /// No more will be typed.
        closed: bool;
        /// The state of the generator.
        random: u64;
        /// Open files, by number.
        files: std::collections::BTreeMap<u32, File>;
        /// What the present call waits for.
        wait: Wait;
        /// The request that is not answered yet.
        asked: Option<IoOp>;
        /// The answers to the present call so far.
        answers: Vec<Answer>;
        /// Requests so far.
        next_io: u64;
    }
}

/// What a call of the system waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Nothing: instructions run.
    None,
    /// Something typed.
    Input,
    /// A tick, or where `input` something typed.
    Until { tick: u64, input: bool },
    /// The answer to a request.
    Answer { id: u64 },
}

impl Field for Wait {
    fn put(&self, out: &mut Writer) {
        let (kind, number, flag) = match *self {
            Self::None => (0u8, 0, false),
            Self::Input => (1, 0, false),
            Self::Until { tick, input } => (2, tick, input),
            Self::Answer { id } => (3, id, false),
        };
        (kind, number, flag).put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (kind, number, flag): (u8, u64, bool) = Field::get(from)?;
        match (kind, number, flag) {
            (0, 0, false) => Ok(Self::None),
            (1, 0, false) => Ok(Self::Input),
            (2, tick, input) => Ok(Self::Until { tick, input }),
            (3, id, false) => Ok(Self::Answer { id }),
            _ => Err(StateError::Invalid("wait")),
        }
    }
}

/// The answer to a request: bytes, or an error number of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer(pub(crate) Result<Vec<u8>, u16>);

impl Field for Answer {
    fn put(&self, out: &mut Writer) {
        let (good, bytes) = match &self.0 {
            Ok(bytes) => (0, bytes.clone()),
            Err(code) => (*code, Vec::new()),
        };
        (self.0.is_ok(), good, bytes).put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (good, code, bytes): (bool, u16, Vec<u8>) = Field::get(from)?;
        match (good, code, bytes.is_empty()) {
            (true, 0, _) => Ok(Self(Ok(bytes))),
            (false, code, true) => Ok(Self(Err(code))),
            _ => Err(StateError::Invalid("answer")),
        }
    }
}

/// What an open file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileKind {
    /// What is typed.
    Input,
    /// The console.
    Output,
    /// The console of errors.
    Errors,
    /// A folder that was given, or one below it.
    Folder,
    /// A file of the host.
    Plain,
}

/// An open file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct File {
    pub(crate) kind: FileKind,
    /// Which of the folders that were given.
    pub(crate) folder: u32,
    /// Whether it is such a folder itself.
    pub(crate) given: bool,
    /// The path from there.
    pub(crate) path: String,
    /// Where it is read and written next.
    pub(crate) offset: u64,
    /// Flags of preview 1: append is 1.
    pub(crate) flags: u16,
    /// Rights of preview 1, and those of what is opened below it.
    pub(crate) rights: (u64, u64),
}

impl Field for File {
    fn put(&self, out: &mut Writer) {
        let kind: u8 = match self.kind {
            FileKind::Input => 0,
            FileKind::Output => 1,
            FileKind::Errors => 2,
            FileKind::Folder => 3,
            FileKind::Plain => 4,
        };
        (kind, self.folder, self.given).put(out);
        (self.path.clone(), self.offset, self.flags).put(out);
        self.rights.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (kind, folder, given): (u8, u32, bool) = Field::get(from)?;
        let kind = match kind {
            0 => FileKind::Input,
            1 => FileKind::Output,
            2 => FileKind::Errors,
            3 => FileKind::Folder,
            4 => FileKind::Plain,
            _ => return Err(StateError::Invalid("file")),
        };
        let (path, offset, flags) = Field::get(from)?;
        Ok(Self { kind, folder, given, path, offset, flags, rights: Field::get(from)? })
    }
}
