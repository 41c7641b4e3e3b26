//! Everything that crosses the wall of a machine, in two closed enums.

use crate::FolderOp;
use omni_base::Tick;
use omni_state::{Field, Reader, StateError, Writer};

/// A port by which a machine talks to the outside: a console, a NIC, a disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PortId(pub u16);

/// Names one request of one machine. Allotted by the machine, so it replays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct IoId(pub u64);

/// Whatever enters: the only source of non-determinism. Closed on purpose.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Bytes from the outside: console input as it is, one Ethernet frame without checksum.
    Input {
        /// Where they arrive.
        port: PortId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The result of a request that the machine made.
    IoDone {
        /// Which request.
        id: IoId,
        /// Data travels in the event: no host thread ever writes guest memory.
        result: IoResult,
    },
    /// The machine was forked or restored as a new one: new identity, fresh entropy.
    Generation {
        /// Mixed into every source of randomness and identity.
        entropy: [u8; 32],
    },
    /// A hand on the machine's switches.
    Control(Control),
}

/// What a person can do to a machine from the outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// A cold start, memory as it is.
    Reset,
    /// The power button: asks the guest to end.
    PowerButton,
    /// A console changed its size, in characters.
    Resize {
        /// Which console.
        port: PortId,
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// The guest is asked to make do with so much of its memory, and to say how it does.
    Balloon {
        /// Bytes that it is to keep; all of them where there are not more.
        bytes: u64,
    },
}

/// How a request ended: bytes, or an error number of the host.
pub type IoResult = Result<Vec<u8>, u16>;

/// Whatever leaves. Held back, sent, logged or compared by the lifecycle, never by a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Bytes to the outside: console output as it is, one Ethernet frame.
    Output {
        /// Where they leave.
        port: PortId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A request whose answer comes back as `Event::IoDone`.
    Io(IoRequest),
}

/// A request to a backend. Idempotent by construction, so it can be issued again after a restore.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IoRequest {
    /// The name for the answer.
    pub id: IoId,
    /// Which backend.
    pub port: PortId,
    /// What to do.
    pub op: IoOp,
}

/// What a backend can do.
///
/// Disks are spaces of the machine, so reads and writes of sectors are not requests: only their
/// durability needs the outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IoOp {
    /// Make every write to the disk of this port so far survive a loss of power.
    Flush,
    /// Write a file of this name (a save file of a process machine), whole.
    SaveFile {
        /// The name the guest gave.
        name: String,
        /// The content.
        bytes: Vec<u8>,
    },
    /// Read a file of this name, whole.
    LoadFile {
        /// The name the guest gave.
        name: String,
    },
    /// Something with a file in a folder of the host that the machine was given.
    Folder {
        /// Which of them.
        folder: u32,
        /// What.
        op: FolderOp,
    },
}

/// The outside as a machine sees it while it runs.
pub trait Outside {
    /// Takes an effect caused at `tick`.
    fn emit(&mut self, tick: Tick, effect: Effect);
}

impl Outside for Vec<(Tick, Effect)> {
    fn emit(&mut self, tick: Tick, effect: Effect) {
        self.push((tick, effect));
    }
}

macro_rules! newtype_fields {
    ($($name:ident($int:ty)),*) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Writer) {
                self.0.put(out);
            }
            fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
                <$int>::get(from).map(Self)
            }
        }
    )*};
}
newtype_fields!(PortId(u16), IoId(u64));

impl Field for Event {
    fn put(&self, out: &mut Writer) {
        match self {
            Self::Input { port, bytes } => {
                0u8.put(out);
                port.put(out);
                bytes.put(out);
            }
            Self::IoDone { id, result } => {
                1u8.put(out);
                id.put(out);
                match result {
                    Ok(bytes) => (true, bytes.clone()).put(out),
                    Err(code) => (false, *code).put(out),
                }
            }
            Self::Generation { entropy } => {
                2u8.put(out);
                entropy.put(out);
            }
            Self::Control(control) => {
                3u8.put(out);
                control.put(out);
            }
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(match u8::get(from)? {
            0 => Self::Input { port: Field::get(from)?, bytes: Field::get(from)? },
            1 => {
                let id = Field::get(from)?;
                let done = bool::get(from)?;
                let result = if done { Ok(Field::get(from)?) } else { Err(Field::get(from)?) };
                Self::IoDone { id, result }
            }
            2 => Self::Generation { entropy: Field::get(from)? },
            3 => Self::Control(Field::get(from)?),
            _ => return Err(StateError::Invalid("event")),
        })
    }
}

impl Field for Control {
    fn put(&self, out: &mut Writer) {
        match self {
            Self::Reset => 0u8.put(out),
            Self::PowerButton => 1u8.put(out),
            Self::Resize { port, columns, rows } => {
                2u8.put(out);
                port.put(out);
                (*columns, *rows).put(out);
            }
            Self::Balloon { bytes } => {
                3u8.put(out);
                bytes.put(out);
            }
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(match u8::get(from)? {
            0 => Self::Reset,
            1 => Self::PowerButton,
            2 => {
                let port = Field::get(from)?;
                let (columns, rows) = Field::get(from)?;
                Self::Resize { port, columns, rows }
            }
            3 => Self::Balloon { bytes: Field::get(from)? },
            _ => return Err(StateError::Invalid("control")),
        })
    }
}

impl Field for IoOp {
    fn put(&self, out: &mut Writer) {
        match self {
            Self::Flush => 0u8.put(out),
            Self::SaveFile { name, bytes } => {
                1u8.put(out);
                name.put(out);
                bytes.put(out);
            }
            Self::LoadFile { name } => {
                2u8.put(out);
                name.put(out);
            }
            Self::Folder { folder, op } => {
                3u8.put(out);
                folder.put(out);
                op.put(out);
            }
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(match u8::get(from)? {
            0 => Self::Flush,
            1 => Self::SaveFile { name: Field::get(from)?, bytes: Field::get(from)? },
            2 => Self::LoadFile { name: Field::get(from)? },
            3 => Self::Folder { folder: Field::get(from)?, op: Field::get(from)? },
            _ => return Err(StateError::Invalid("request")),
        })
    }
}

impl Field for IoRequest {
    fn put(&self, out: &mut Writer) {
        self.id.put(out);
        self.port.put(out);
        self.op.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(Self { id: Field::get(from)?, port: Field::get(from)?, op: Field::get(from)? })
    }
}

impl Field for Effect {
    fn put(&self, out: &mut Writer) {
        match self {
            Self::Output { port, bytes } => {
                0u8.put(out);
                port.put(out);
                bytes.put(out);
            }
            Self::Io(request) => {
                1u8.put(out);
                request.put(out);
            }
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(match u8::get(from)? {
            0 => Self::Output { port: Field::get(from)?, bytes: Field::get(from)? },
            1 => Self::Io(Field::get(from)?),
            _ => return Err(StateError::Invalid("effect")),
        })
    }
}
