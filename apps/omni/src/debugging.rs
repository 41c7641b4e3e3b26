//! A debugger at a live machine, in its monitor: on the runner's thread, between the frames of a
//! client and the library.

use crate::clients::{send, send_frame};
use crate::failure::{Failure, code};
use crate::parted;
use crate::recorded::Recording;
use omni_base::Tick;
use omni_control::{Frame, Reply};
use omni_debug::{DebugError, End, History, Life, Present, Received, Wire, serve};
use omni_host::{Held, Item, Lived, Queue};
use omni_kinds::KINDS;
use omni_lifecycle::{Divergence, Moment, Timeline};
use omni_machine::{Event, Machine, Schedule};
use omni_recording::Recorder;
use omni_store::Lease;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::Duration;

/// Parts of what a debugger says that may wait; beyond, it has to.
pub(crate) const PARTS_MAX: usize = 64;

/// How long the runner waits for a word of the debugger before it looks at its queue.
const WAIT: Duration = Duration::from_millis(10);

/// How long it may take to find what was recorded.
const PAST_WAIT: Duration = Duration::from_secs(60);

/// Is held while a divergence is looked into, which takes a CPU for as long as it takes.
static LOOKING: Mutex<()> = Mutex::new(());

/// The debugger at the other end of a client's connection.
pub(crate) struct Remote {
    hears: Receiver<Vec<u8>>,
    /// What was heard and not taken.
    rest: Vec<u8>,
    writer: Arc<Mutex<UnixStream>>,
    stream: UnixStream,
}

impl Remote {
    pub(crate) fn new(
        hears: Receiver<Vec<u8>>,
        writer: Arc<Mutex<UnixStream>>,
        stream: UnixStream,
    ) -> Self {
        Self { hears, rest: Vec::new(), writer, stream }
    }

    /// Lets the client learn that the debugging is over.
    fn close(&self) {
        let _: io::Result<()> = self.stream.shutdown(Shutdown::Both);
    }
}

impl Wire for Remote {
    fn receive(&mut self, into: &mut [u8], wait: bool) -> io::Result<Received> {
        if self.rest.is_empty() {
            let heard = if wait {
                self.hears.recv_timeout(WAIT)
            } else {
                self.hears.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            };
            match heard {
                Ok(bytes) => self.rest = bytes,
                Err(RecvTimeoutError::Timeout) => return Ok(Received::Nothing),
                Err(RecvTimeoutError::Disconnected) => return Ok(Received::End),
            }
        }
        let count = self.rest.len().min(into.len());
        into[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(if count == 0 { Received::Nothing } else { Received::Bytes(count) })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = send_frame(&self.writer, &Frame::Console(bytes.to_vec()));
        sent.then_some(()).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// What a debugger brings along to a machine.
pub(crate) struct Hands {
    pub(crate) wire: Remote,
    /// Is told that the machine stands still, and then that it can be debugged, or why not.
    pub(crate) began: Sender<Result<(), Failure>>,
    /// Brings what was recorded up to where the machine stands.
    pub(crate) past: Receiver<Option<Recording>>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) recorder: Recorder,
}

/// What was recorded of a machine, whose rungs stay as long as this is here.
struct Past {
    timeline: Timeline,
    _lease: Arc<Lease>,
}

/// The last that a debugger hears: once this is dropped, the debugging is over.
struct Last {
    wire: Remote,
    failure: Failure,
}

impl Last {
    /// Says more of why a replay differed, unless that of another machine is being looked into.
    fn explain(mut self, found: &Divergence, from: Moment, past: &Past) {
        let looking = LOOKING.try_lock();
        if !matches!(looking, Err(TryLockError::WouldBlock)) {
            self.failure.text = parted::explained(found, &past.timeline, from);
        }
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        let (code, text) = (self.failure.code, std::mem::take(&mut self.failure.text));
        send(&self.wire.writer, &Reply::Error { code, text });
        self.wire.close();
    }
}

/// The machine as the library wants it.
struct Alive<'a> {
    held: &'a mut dyn Held,
    recorder: Recorder,
}

fn life(lived: Lived) -> Life {
    match lived {
        Lived::On => Life::On,
        Lived::Hit(hit) => Life::Hit(hit),
        Lived::Halted => Life::Ended,
        Lived::Gone => Life::Gone,
    }
}

impl Present for Alive<'_> {
    fn machine(&mut self) -> &mut dyn Machine {
        self.held.machine()
    }

    fn heard(&mut self) -> Vec<(Tick, Event)> {
        self.held.heard()
    }

    fn live(&mut self) -> Life {
        life(self.held.live())
    }

    fn step(&mut self) -> Life {
        life(self.held.step())
    }

    fn sleep(&mut self) -> Life {
        life(self.held.sleep())
    }

    fn hold(&mut self) -> Life {
        life(self.held.hold())
    }

    fn may_write(&mut self) -> bool {
        // What a debugger writes is no event, and what is recorded would not replay.
        self.recorder.status().is_none()
    }
}

impl Hands {
    /// Lets the debugger have the machine until it leaves.
    pub(crate) fn stay(self, held: &mut dyn Held) {
        // Whoever looks at harts one by one wants them one after the other.
        let side_by_side = !held.machine().caps().exact_ticks;
        if side_by_side {
            held.machine().set_schedule(Schedule::Turns);
        }
        let mut alive = Alive { held, recorder: self.recorder.clone() };
        let _ = self.began.send(Ok(()));
        match self.history(alive.machine()) {
            Err(error) => {
                let _ = self.began.send(Err(failure(&error)));
            }
            Ok((history, past)) => {
                let _ = self.began.send(Ok(()));
                self.serve(&mut alive, history, past);
            }
        }
        if side_by_side {
            alive.machine().set_schedule(Schedule::Parallel);
        }
    }

    fn history(&self, machine: &mut dyn Machine) -> Result<(History, Option<Past>), DebugError> {
        match self.past.recv_timeout(PAST_WAIT).ok().flatten() {
            Some(Recording { mut timeline, lease, .. }) => {
                for rung in self.recorder.near() {
                    if timeline.log.holds(rung.moment) {
                        timeline.add(rung);
                    }
                }
                let history = History::recorded(KINDS, machine, &timeline.log, timeline.rungs())?;
                let lease = Arc::new(lease);
                let history = history.with_lease(Box::new(lease.clone()));
                Ok((history, Some(Past { timeline, _lease: lease })))
            }
            None => Ok((History::new(KINDS, machine)?, None)),
        }
    }

    fn serve(mut self, alive: &mut Alive<'_>, history: History, past: Option<Past>) {
        let error = match serve(alive, history, &mut self.wire) {
            Ok(end) => {
                if matches!(end, End::Kill) {
                    self.queue.push(Item::Kill);
                }
                return self.wire.close();
            }
            Err(error) => error,
        };
        let last = Last { wire: self.wire, failure: failure(&error) };
        if let (DebugError::Diverged { found, from }, Some(past)) = (error, past) {
            // The machine goes on, and is stopped where somebody wants that. Where there is no
            // thread to be had, what is known is told at once.
            let look = move || last.explain(&found, from, &past);
            let _ = thread::Builder::new().name("parted".into()).spawn(look);
        }
    }
}

fn failure(error: &DebugError) -> Failure {
    let code = match error {
        DebugError::NoRegisters(_) | DebugError::NotDeterministic(_) => code::UNSUPPORTED,
        DebugError::Diverged { .. } | DebugError::NoMoment(_) => code::DIVERGED,
        DebugError::Lifecycle(_)
        | DebugError::Protocol(_)
        | DebugError::Interrupted
        | DebugError::Wire(_) => code::FAILURE,
    };
    Failure::new(code, error.to_string())
}
