//! Frames between a monitor and its clients. The format is in `docs/formats/control.md`.

use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// The payload of a frame, in bytes.
const FRAME_BYTES_MAX: u32 = 1 << 20;

const CONTROL: u8 = 1;
const CONSOLE: u8 = 2;
const ERRORS: u8 = 3;

/// A frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// One JSON object: a request to the monitor, or a reply of it.
    Control(Vec<u8>),
    /// Bytes of the console, or of a debugger: input to the monitor, output of it.
    Console(Vec<u8>),
    /// What a program says of its errors, apart from the console: from the monitor only.
    Errors(Vec<u8>),
}

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed the connection, between frames.
    #[error("the connection is closed")]
    Closed,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are not a frame.
    #[error("the bytes are not a frame: {0}")]
    Invalid(&'static str),
}

/// Reads the next frame.
///
/// # Errors
/// At the end, where the connection breaks, and for what is no frame.
pub fn read_frame(from: &mut impl Read) -> Result<Frame, FrameError> {
    let mut head = [0; 5];
    if from.read(&mut head[..1])? == 0 {
        return Err(FrameError::Closed);
    }
    from.read_exact(&mut head[1..])?;
    let size = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    if size > FRAME_BYTES_MAX {
        return Err(FrameError::Invalid("its size is out of bounds"));
    }
    let mut body = Vec::new();
    // Grows with the bytes that come, not by the size that was announced.
    from.take(u64::from(size)).read_to_end(&mut body)?;
    if body.len() < usize::try_from(size).unwrap_or(usize::MAX) {
        return Err(FrameError::Invalid("it is cut short"));
    }
    match head[0] {
        CONTROL => Ok(Frame::Control(body)),
        CONSOLE => Ok(Frame::Console(body)),
        ERRORS => Ok(Frame::Errors(body)),
        _ => Err(FrameError::Invalid("its type is unknown")),
    }
}

/// Writes a frame. Console bytes beyond the bound of a frame become several.
///
/// # Errors
/// Where the connection breaks, and for an object beyond the bound.
pub fn write_frame(into: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let most = usize::try_from(FRAME_BYTES_MAX).expect("a 64-bit host");
    let (tag, body) = match frame {
        Frame::Control(body) if body.len() > most => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an object too large"));
        }
        Frame::Control(body) => (CONTROL, body),
        Frame::Console(body) => (CONSOLE, body),
        Frame::Errors(body) => (ERRORS, body),
    };
    let mut out = Vec::with_capacity(body.len().min(most) + 5);
    for part in body.chunks(most).chain(body.is_empty().then_some(&[][..])) {
        out.clear();
        out.push(tag);
        out.extend_from_slice(&u32::try_from(part.len()).expect("bounded above").to_le_bytes());
        out.extend_from_slice(part);
        into.write_all(&out)?;
    }
    into.flush()
}

/// What a client asks of a monitor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Join the console: output comes as console frames from now on, and input is taken.
    Attach {
        /// Bytes of the past to begin with.
        history: u32,
        /// The machine waits rather than that a byte of output is lost.
        hold: bool,
        /// The machine ends with this connection, unless it detaches first.
        own: bool,
    },
    /// Leave the console; a machine that was owned runs on.
    Detach,
    /// The console has this size now.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// Everything there is to know, with the digest of the state.
    Inspect {
        /// Whether to compute the digest, for which the machine is held a moment.
        digest: bool,
    },
    /// What it uses and what it counted, for which the machine is held a moment.
    Stats,
    /// What the guest can do without, for which the machine is held a moment.
    Balloon {
        /// Bytes of its memory that it is asked to keep; nothing where it is only looked at.
        bytes: Option<u64>,
    },
    /// Hold the machine.
    Pause,
    /// Let it run on.
    Resume,
    /// Ask the guest to end, and end it after a while.
    Stop {
        /// How long the guest has, in milliseconds.
        grace_ms: u64,
    },
    /// End it at once.
    Kill {
        /// It stays though it was to be removed at its end, as it is about to go on elsewhere.
        #[serde(default)]
        keep: bool,
    },
    /// Take a snapshot. The machine is held only while its pages are sealed.
    Snapshot {
        /// Its tag; the next free number where there is none.
        tag: Option<String>,
    },
    /// Take part in a snapshot of all machines on a switch.
    Cut {
        /// What is to be done for it now.
        step: CutStep,
    },
    /// Record what enters the machine from now on.
    Record {
        /// No longer.
        stop: bool,
    },
    /// How its recording is; what was recorded so far is made durable.
    Recording,
    /// Put away the last of the rungs in memory that is not after a tick.
    Rung {
        /// The tick.
        tick: u64,
    },
    /// Make machines that go on from this one, in the same process, and run them.
    Fork {
        /// How many.
        count: u32,
        /// Ports of the host that lead into each.
        publish: Vec<String>,
    },
    /// Make a machine that goes on from this one, in the same process, with other options; it waits
    /// for the client that is to own it.
    Launch {
        /// What is another than of this machine: name, image, options, folders, labels, and what is
        /// done at its end. All else stays.
        machine: Box<crate::MachineFile>,
    },
    /// Put the memory of the machine into the store, and give it back to the host until it is
    /// touched.
    SendOut,
    /// Tell when it has ended.
    Wait,
    /// From now on console frames carry what a debugger says in GDB's remote protocol, and what it
    /// is answered; the connection ends with the debugging.
    Debug,
}

/// What a machine does for a snapshot of all machines on a switch, one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutStep {
    /// Make ready. It is given up with the connection, unless it is done or told of in the folder
    /// of the group by then.
    Arm {
        /// The switch.
        switch: String,
        /// The name of the cut: 16 bytes in hexadecimal.
        cut: String,
        /// The ids of all members, this one among them.
        members: Vec<String>,
        /// The tag that the snapshot is to have.
        tag: String,
    },
    /// Take it, and answer when it is known what was in flight.
    Take,
    /// Put it into the store.
    Keep,
    /// It stays: the snapshot of the group is whole.
    Done,
}

/// What a monitor says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// It is done, or will be.
    Ok {
        /// What was asked for.
        #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
        value: serde_json::Value,
    },
    /// It cannot be done.
    Error {
        /// The exit code that says why.
        code: u8,
        /// A sentence that says why.
        text: String,
    },
    /// The machine has ended. Nothing follows.
    Exited {
        /// With this exit code.
        code: u8,
        /// What could not be done at its end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Output was lost, as the client was too slow.
    Lost {
        /// So many bytes.
        bytes: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let big: Vec<u8> = (0..3_000_000u32).map(|at| at.to_le_bytes()[1]).collect();
        let mut wire = Vec::new();
        write_frame(&mut wire, &Frame::Control(b"{}".to_vec())).expect("memory");
        write_frame(&mut wire, &Frame::Console(big.clone())).expect("memory");
        write_frame(&mut wire, &Frame::Console(vec![])).expect("memory");
        let mut from = &wire[..];
        assert_eq!(read_frame(&mut from).expect("a frame"), Frame::Control(b"{}".to_vec()));
        let mut got = Vec::new();
        while got.len() < big.len() {
            let Frame::Console(part) = read_frame(&mut from).expect("a frame") else { panic!() };
            got.extend(part);
        }
        assert_eq!(got, big);
        assert_eq!(read_frame(&mut from).expect("a frame"), Frame::Console(vec![]));
        assert!(matches!(read_frame(&mut from), Err(FrameError::Closed)));
    }

    #[test]
    fn a_hostile_frame_is_an_error_and_takes_no_memory() {
        for bad in [
            &b"\x01\xff\xff\xff\xff"[..],
            b"\x02\x00\x00\x10\x00abc",
            b"\x04\x00\x00\x00\x00",
            b"\x01\x00",
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            let got = read_frame(&mut &bad[..]);
            assert!(got.is_err() && !matches!(got, Err(FrameError::Closed)), "{bad:?}");
        }
    }

    #[test]
    fn a_request_is_an_object_with_its_name() {
        let text = serde_json::to_string(&Request::Stop { grace_ms: 5 }).expect("plain");
        assert_eq!(text, r#"{"op":"stop","grace_ms":5}"#);
        let back: Request = serde_json::from_str(&text).expect("the same");
        assert_eq!(back, Request::Stop { grace_ms: 5 });
        assert!(serde_json::from_str::<Request>(r#"{"op":"format_disk"}"#).is_err());
    }
}
