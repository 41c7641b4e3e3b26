//! A program that runs.

use crate::recording::Recording;
use crate::snapshot::Snapshot;
use crate::{Error, KINDS};
use omni_base::Tick;
use omni_host::Folders;
use omni_lifecycle::{Log, run_to, take};
use omni_machine::{Effect, Event, IoId, IoOp, IoRequest, Kick, Machine, PortId, Stop};

/// Where a program reads and writes; what it says of its errors is the port behind it.
const CONSOLE: PortId = PortId(0);

/// Ticks between two looks at what a program asked for.
const SLICE: u64 = 100_000;

/// "Input/output error", for requests that are of no folder.
const EIO: u16 = 5;

/// How an instance stands after a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It would go on.
    Running,
    /// It waits for input.
    Waiting,
    /// It has ended, with this exit code; 134 after a trap, of which its errors tell.
    Ended(u64),
}

/// A program that runs: only within [`Instance::run`], on the thread that calls it.
pub struct Instance {
    machine: Box<dyn Machine>,
    folders: Folders,
    start: Snapshot,
    log: Log,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("ticks", &self.ticks()).finish_non_exhaustive()
    }
}

impl Instance {
    /// Of a machine from now on.
    pub(crate) fn new(mut machine: Box<dyn Machine>, folders: Folders) -> Result<Self, Error> {
        let start = Snapshot(take(KINDS, &mut *machine)?);
        let log = Log::new(KINDS, &mut *machine)?;
        let (output, errors) = (Vec::new(), Vec::new());
        let mut made = Self { machine, folders, start, log, output, errors };
        // What it had asked for when it was saved is asked for again.
        let pending = made.machine.pending();
        made.serve(pending);
        Ok(made)
    }

    /// Ticks so far: instructions, and time that passed in waiting, a nanosecond each.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.machine.tick().0
    }

    /// Runs for so many ticks exactly, unless it waits for input or ends before. Sleeping takes no
    /// time of the host.
    ///
    /// # Errors
    /// Where its state cannot be read, as when it was restored from bytes that have gone.
    pub fn run(&mut self, ticks: u64) -> Result<Status, Error> {
        let end = self.ticks().saturating_add(ticks).min(i64::MAX as u64);
        loop {
            let until = Tick(end.min(self.ticks().saturating_add(SLICE)));
            let mut effects: Vec<(Tick, Effect)> = Vec::new();
            let stop = run_to(&mut *self.machine, until, &Kick::default(), &mut effects);
            let served = self.serve(effects.into_iter().map(|(_, effect)| effect));
            match stop {
                Stop::Halted { code } => return Ok(Status::Ended(code)),
                Stop::Idle { wake: None } if !served => return Ok(Status::Waiting),
                Stop::Reached | Stop::Idle { .. } | Stop::Kicked | Stop::Hit(_) => {}
            }
            if self.ticks() >= end {
                return Ok(Status::Running);
            }
        }
    }

    /// Types bytes into its standard input.
    pub fn type_in(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.apply(Event::Input { port: CONSOLE, bytes: bytes.to_vec() });
        }
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        self.apply(Event::Input { port: CONSOLE, bytes: Vec::new() });
    }

    /// What it has written to its standard output since this was asked last.
    pub fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// What it has written to its standard error since this was asked last.
    pub fn errors(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.errors)
    }

    /// All of it at this moment; no byte of its memory is copied. Folders are not part of it.
    ///
    /// # Errors
    /// None that this kind of machine has.
    pub fn snapshot(&mut self) -> Result<Snapshot, Error> {
        Ok(Snapshot(take(KINDS, &mut *self.machine)?))
    }

    /// Another program that goes on from here, with these folders of the host in place of those
    /// that it had, and draws other numbers by chance.
    ///
    /// # Errors
    /// As `snapshot`.
    pub fn fork(
        &mut self,
        entropy: [u8; 32],
        folders: &[std::path::PathBuf],
    ) -> Result<Self, Error> {
        let mut child = self.snapshot()?.restore_with(folders)?;
        child.apply(Event::Generation { entropy });
        Ok(child)
    }

    /// What has entered it since it was made or restored, with where it began: enough to live all
    /// of it again.
    #[must_use]
    pub fn recording(&self) -> Recording {
        Recording::new(self.start.clone(), self.log.clone(), self.log.now(&*self.machine))
    }

    fn apply(&mut self, event: Event) {
        let mut effects: Vec<(Tick, Effect)> = Vec::new();
        self.machine.apply(&event, &mut effects);
        self.log.event(self.machine.tick(), event);
        self.serve(effects.into_iter().map(|(_, effect)| effect));
    }

    /// Does what a program asked for; says whether it had waited for any of it.
    fn serve(&mut self, effects: impl IntoIterator<Item = Effect>) -> bool {
        let mut served = false;
        for effect in effects {
            match effect {
                Effect::Output { port: CONSOLE, bytes } => self.output.extend(bytes),
                Effect::Output { bytes, .. } => self.errors.extend(bytes),
                Effect::Io(IoRequest { id, op, .. }) => {
                    self.answer(id, &op);
                    served = true;
                }
            }
        }
        served
    }

    fn answer(&mut self, id: IoId, op: &IoOp) {
        let result = match op {
            IoOp::Folder { folder, op } => self.folders.run(*folder, op),
            IoOp::Flush | IoOp::SaveFile { .. } | IoOp::LoadFile { .. } => Err(EIO),
        };
        self.apply(Event::IoDone { id, result });
    }
}
