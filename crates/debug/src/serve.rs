//! A debugger's connection, from its first byte to its last.

use crate::packets::{PACKET_BYTES_MAX, Packets, Sent};
use crate::target::Debugged;
use crate::{DebugError, History, Present, Session};
use gdbstub::common::Signal;
use gdbstub::conn::Connection;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStub, GdbStubError};
use std::collections::VecDeque;
use std::io;

/// The way to a debugger and back.
pub trait Wire {
    /// Takes bytes that have come. Where none have and `wait` is set, waits a short while, some
    /// hundredths of a second, for some.
    ///
    /// # Errors
    /// Where the way is broken.
    fn receive(&mut self, into: &mut [u8], wait: bool) -> io::Result<Received>;

    /// Sends bytes.
    ///
    /// # Errors
    /// Where the way is broken.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// What came by a wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// So many bytes.
    Bytes(usize),
    /// None yet.
    Nothing,
    /// None ever again.
    End,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The debugger let go of the machine, or went away, or somebody ended the machine.
    Detached,
    /// The debugger wants the machine to end.
    Kill,
}

/// What is to be sent, until the stub is left.
#[derive(Default)]
struct Outbox(Vec<u8>);

impl Connection for Outbox {
    type Error = io::Error;

    fn write(&mut self, byte: u8) -> io::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Stub<'a, 'p> = GdbStubStateMachine<'a, Debugged<'p>, Outbox>;

/// Serves a debugger until it leaves. The machine is as it would be without, but for the host's
/// time that has passed, and what the debugger has written.
///
/// # Errors
/// Where the debugger does not keep to the protocol, or cannot be reached, or the past cannot be
/// had. The machine is whole in each case, and stops nowhere any more.
pub fn serve(
    present: &mut dyn Present,
    history: History,
    wire: &mut dyn Wire,
) -> Result<End, DebugError> {
    let session = Session::new(present, history)?;
    let mut debugged = Debugged::new(session);
    let end =
        Served { wire, packets: Packets::default(), waiting: VecDeque::new() }.run(&mut debugged);
    debugged.session.leave();
    end
}

struct Served<'w> {
    wire: &'w mut dyn Wire,
    packets: Packets,
    /// Bytes that have come and were not looked at.
    waiting: VecDeque<u8>,
}

impl Served<'_> {
    fn run<'p>(&mut self, debugged: &mut Debugged<'p>) -> Result<End, DebugError> {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let stub = GdbStub::builder(Outbox::default()).with_packet_buffer(&mut buffer).build();
        let stub = stub.map_err(|error| DebugError::Protocol(error.to_string()))?;
        let mut stub = stub.run_state_machine(debugged).map_err(told)?;
        loop {
            stub = match stub {
                GdbStubStateMachine::Idle(mut idle) => {
                    self.send(&mut idle.borrow_conn().0)?;
                    let Some(next) = self.idle(idle.into(), debugged)? else {
                        return Ok(End::Detached);
                    };
                    next
                }
                GdbStubStateMachine::Running(mut running) => {
                    self.send(&mut running.borrow_conn().0)?;
                    let Some(next) = self.running(running.into(), debugged)? else {
                        return Ok(End::Detached);
                    };
                    next
                }
                GdbStubStateMachine::CtrlCInterrupt(stopped) => {
                    debugged.session.interrupt();
                    let reason = debugged.signal(Signal::SIGINT);
                    stopped.interrupt_handled(debugged, Some(reason)).map_err(told)?
                }
                GdbStubStateMachine::Disconnected(mut gone) => {
                    self.send(&mut gone.borrow_conn().0)?;
                    let kill = matches!(gone.get_reason(), DisconnectReason::Kill);
                    return Ok(if kill { End::Kill } else { End::Detached });
                }
            };
        }
    }

    fn idle<'a, 'p>(
        &mut self,
        stub: Stub<'a, 'p>,
        debugged: &mut Debugged<'p>,
    ) -> Result<Option<Stub<'a, 'p>>, DebugError> {
        debugged.session.hold();
        if debugged.session.is_gone() {
            return Ok(None);
        }
        let Some(sent) = self.next(true)? else { return Ok(None) };
        self.give(stub, debugged, sent).map(Some)
    }

    fn running<'a, 'p>(
        &mut self,
        stub: Stub<'a, 'p>,
        debugged: &mut Debugged<'p>,
    ) -> Result<Option<Stub<'a, 'p>>, DebugError> {
        let Some(sent) = self.next(false)? else { return Ok(None) };
        if sent.is_some() {
            return self.give(stub, debugged, sent).map(Some);
        }
        let (wire, waiting) = (&mut *self.wire, &mut self.waiting);
        let stopped = debugged.session.poll_asked(&mut || has_come(wire, waiting))?;
        if debugged.session.is_gone() {
            return Ok(None);
        }
        let Some(stopped) = stopped else { return Ok(Some(stub)) };
        let reason = debugged.reason(stopped);
        let GdbStubStateMachine::Running(running) = stub else { return Ok(Some(stub)) };
        running.report_stop(debugged, reason).map_err(told).map(Some)
    }

    fn give<'a, 'p>(
        &mut self,
        mut stub: Stub<'a, 'p>,
        debugged: &mut Debugged<'p>,
        sent: Option<Sent>,
    ) -> Result<Stub<'a, 'p>, DebugError> {
        let bytes = match sent {
            None => return Ok(stub),
            Some(Sent::Refused) => {
                // With an acknowledgement, which a debugger that wants none passes over.
                self.wire.send(b"+$E22#a9")?;
                return Ok(stub);
            }
            Some(Sent::Bytes(bytes)) => bytes,
        };
        for byte in bytes {
            stub = match stub {
                GdbStubStateMachine::Idle(idle) => {
                    idle.incoming_data(debugged, byte).map_err(told)?
                }
                GdbStubStateMachine::Running(running) => {
                    running.incoming_data(debugged, byte).map_err(told)?
                }
                GdbStubStateMachine::CtrlCInterrupt(_) | GdbStubStateMachine::Disconnected(_) => {
                    return Ok(stub);
                }
            };
        }
        Ok(stub)
    }

    /// What was sent next: nothing yet, or `None` where nothing comes any more.
    fn next(&mut self, wait: bool) -> Result<Option<Option<Sent>>, DebugError> {
        if self.waiting.is_empty() {
            let mut bytes = [0; 4096];
            match self.wire.receive(&mut bytes, wait)? {
                Received::Bytes(count) => self.waiting.extend(&bytes[..count.min(4096)]),
                Received::Nothing => {}
                Received::End => return Ok(None),
            }
        }
        while let Some(byte) = self.waiting.pop_front() {
            let taken = self.packets.take(byte);
            let taken = taken.map_err(|why| DebugError::Protocol(why.to_owned()))?;
            if taken.is_some() {
                return Ok(Some(taken));
            }
        }
        Ok(Some(None))
    }

    fn send(&mut self, bytes: &mut Vec<u8>) -> Result<(), DebugError> {
        if !bytes.is_empty() {
            self.wire.send(bytes)?;
            bytes.clear();
        }
        Ok(())
    }
}

/// Whether the debugger has said something, which is kept, or is gone.
fn has_come(wire: &mut dyn Wire, waiting: &mut VecDeque<u8>) -> bool {
    let mut bytes = [0; 256];
    match wire.receive(&mut bytes, false) {
        Ok(Received::Bytes(count)) => waiting.extend(&bytes[..count.min(256)]),
        Ok(Received::Nothing) => {}
        // It is found out again by whoever asks next.
        Ok(Received::End) | Err(_) => return true,
    }
    !waiting.is_empty()
}

/// The error of the library, in our words.
fn told(error: GdbStubError<DebugError, io::Error>) -> DebugError {
    let said = format!(" ({error})");
    if error.is_target_error()
        && let Some(error) = error.into_target_error()
    {
        return error;
    }
    DebugError::Protocol("it sent a packet that is not sound".to_owned() + &said)
}
