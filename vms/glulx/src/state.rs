//! The records: everything of a machine that is not in a space.

use omni_state::{Field, Reader, StateError, Writer, record};
use std::collections::BTreeMap;

/// What the machine waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Nothing: instructions run.
    None,
    /// An event of Glk.
    Event,
    /// The name of a file, typed by the player.
    Name,
    /// The content of a file that is to be opened.
    Open,
    /// Whether there is a file.
    Exists,
    /// The end of a write.
    Written,
}

impl Wait {
    const ALL: [Self; 6] =
        [Self::None, Self::Event, Self::Name, Self::Open, Self::Exists, Self::Written];

    /// Whether a request is in flight.
    pub(crate) fn for_file(self) -> bool {
        matches!(self, Self::Open | Self::Exists | Self::Written)
    }
}

impl Field for Wait {
    fn put(&self, out: &mut Writer) {
        let code = Self::ALL.iter().position(|wait| wait == self);
        u8::try_from(code.expect("all are listed")).expect("there are few").put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let code = usize::from(u8::get(from)?);
        Self::ALL.get(code).copied().ok_or(StateError::Invalid("wait"))
    }
}

/// A struct that is a field of a record, itself made of fields.
macro_rules! part {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Default, Debug)]
        pub(crate) struct $name { $($(#[$fmeta])* pub(crate) $field: $ty,)* }

        impl Field for $name {
            fn put(&self, out: &mut Writer) {
                $(self.$field.put(out);)*
            }
            fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
                Ok(Self { $($field: Field::get(from)?,)* })
            }
        }
    };
}

part! {
    /// A state that undo goes back to: its memory is in a slot of the space `undo`.
    Level {
        /// The slot.
        slot: u32,
        /// The end of memory.
        endmem: u32,
        /// Bytes of the stack.
        stack: u32,
        /// The start of the heap, or zero.
        heap_start: u32,
        /// Blocks of the heap: where, how large, whether free.
        heap: Vec<(u32, u32, bool)>,
    }
}

record! {
    /// The processor.
    pub(crate) struct Cpu = "glulx-cpu" v 1 {
        /// Instructions so far, and time that passed in waiting.
        tick: u64;
        /// The address of the next instruction, with its tag and as the engine has it.
        pc: u64;
        /// The registers.
        slots: [u64; 16];
        /// The end of memory.
        endmem: u32;
        /// The output system: null, filter or Glk, and its rock.
        iosys: (u32, u32);
        /// The string-decoding table, or zero.
        string_table: u32;
        /// What restart and restore leave as it is: where, how many bytes.
        protect: (u32, u32);
        /// The state of the generator.
        random: [u32; 4];
        /// What makes this machine another than others, for seeds.
        entropy: u64;
        /// The story has not seeded the generator itself.
        native: bool;
        /// The start of the heap, or zero where there is none.
        heap_start: u32;
        /// Blocks of the heap in order: where, how large, whether free.
        heap: Vec<(u32, u32, bool)>;
        /// Accelerated functions by address.
        accelerated: BTreeMap<u32, u32>;
        /// Parameters of accelerated functions.
        parameters: [u32; 9];
        /// Levels of undo, oldest first.
        undo: Vec<Level>;
        /// The exit code, once the story has ended.
        halted: Option<u64>;
        /// The checksum of the story: a snapshot of another one is refused.
        checksum: u32;
    }
}

part! {
    /// The window: there is one at most.
    Window {
        /// Its number.
        id: u32,
        /// What the story calls it.
        rock: u32,
        /// The number of its stream.
        stream: u32,
        /// The stream that has a copy of its text, or zero.
        echo: u32,
        /// Wants a line.
        line: bool,
        /// Wants a key.
        char: bool,
        /// In 32 bits a character.
        wide: bool,
        /// Where the line goes, and its room in characters.
        buffer: (u32, u32),
    }
}

part! {
    /// A stream.
    Stream {
        /// What the story calls it.
        rock: u32,
        /// Of the window (0), of memory (1), of a file (2) or of a resource (3).
        sort: u8,
        /// May be read.
        reads: bool,
        /// May be written.
        writes: bool,
        /// Characters have 32 bits, not 8.
        wide: bool,
        /// A file of text, not of bytes.
        text: bool,
        /// Characters read and written.
        counts: (u32, u32),
        /// Memory: where, and room in characters.
        buffer: (u32, u32),
        /// The place in characters or, of files and resources, in bytes.
        at: u32,
        /// The end in the same.
        end: u32,
        /// Its file's content, or the resource's.
        bytes: Vec<u8>,
        /// Its file's name.
        name: String,
    }
}

part! {
    /// A reference to a file.
    FileRef {
        /// What the story calls it.
        rock: u32,
        /// What it is for: saved game, transcript, commands, data; 0x100 is text.
        usage: u32,
        /// Its name.
        name: String,
    }
}

record! {
    /// What the library of the story's input and output holds.
    pub(crate) struct Glk = "glulx-glk" v 1 {
        /// The number of the next object.
        next_object: u32;
        /// The window.
        window: Option<Window>;
        /// Streams.
        streams: BTreeMap<u32, Stream>;
        /// References to files.
        files: BTreeMap<u32, FileRef>;
        /// The current stream, or zero.
        current: u32;
        /// Files that the story has deleted and not written again.
        deleted: Vec<String>;
        /// Ticks between events of the timer, or zero.
        period: u64;
        /// The tick of the next one.
        wake: u64;
        /// Bytes that nothing has taken.
        typed: Vec<u8>;
        /// The last byte taken was a carriage return, so a line feed belongs to it.
        after_cr: bool;
        /// The line so far.
        line: Vec<u32>;
        /// Text for the console that was not let go yet.
        out: Vec<u8>;
        /// The tick at which text was let go last, or the first of what is held back came.
        flushed: u64;
        /// What the machine waits for.
        wait: Wait;
        /// Where the result goes: sort of destination, address.
        dest: (u32, u32);
        /// What the wait is about: the event's address; usage, mode and rock of a file.
        about: [u32; 3];
        /// The file that is waited for.
        name: String;
        /// Its content to write.
        bytes: Vec<u8>;
        /// The number of the next request.
        next_io: u64;
        /// The request that is awaited.
        io: u64;
    }
}

impl Glk {
    /// Whether it is such as a machine can have.
    pub(crate) fn is_sound(&self) -> bool {
        let sound = |stream: &Stream| {
            let held = stream.bytes.len() as u64;
            let files = stream.sort < 2 || u64::from(stream.end) == held;
            stream.sort <= 3 && stream.at <= stream.end && files
        };
        let own = |window: &Window| {
            let stream = self.streams.get(&window.stream);
            stream.is_some_and(|stream| stream.sort == 0) && window.echo != window.stream
        };
        let windows = self.streams.values().filter(|stream| stream.sort == 0).count();
        self.streams.values().all(sound)
            && self.window.as_ref().is_none_or(own)
            && windows == usize::from(self.window.is_some())
    }
}
