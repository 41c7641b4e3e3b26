//! What has entered a program, and where it began.

use crate::instance::Instance;
use crate::snapshot::Snapshot;
use crate::{Error, KINDS};
use omni_host::Folders;
use omni_lifecycle::{Log, Moment, replay, restore};
use omni_machine::Effect;

/// What has entered a program, and where it began.
#[derive(Clone, Debug)]
pub struct Recording {
    start: Snapshot,
    log: Log,
    end: Moment,
}

impl Recording {
    pub(crate) fn new(start: Snapshot, log: Log, end: Moment) -> Self {
        Self { start, log, end }
    }

    /// Where it ends, in ticks.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.end.tick.0
    }

    /// Lives it again, up to a tick or its end. Nothing of the host is asked: folders that were
    /// read need not be there. What it gives is the program as it was then, and its standard
    /// output so far.
    ///
    /// ```
    /// # use omnivisor::{Program, Status};
    /// # let program = Program::new(r#"(module
    /// #   (import "wasi_snapshot_preview1" "fd_read"
    /// #     (func $read (param i32 i32 i32 i32) (result i32)))
    /// #   (import "wasi_snapshot_preview1" "fd_write"
    /// #     (func $write (param i32 i32 i32 i32) (result i32)))
    /// #   (memory (export "memory") 1)
    /// #   (data (i32.const 0) "\10\00\00\00\08\00\00\00")
    /// #   (func (export "_start")
    /// #     (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
    /// #     (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#);
    /// let mut echo = program.instance().start()?;
    /// assert_eq!(echo.run(1_000_000)?, Status::Waiting);
    /// echo.type_in(b"hi\n");
    /// assert_eq!(echo.run(1_000_000)?, Status::Ended(0));
    /// let (mut again, output) = echo.recording().replay(None)?;
    /// assert_eq!((output, again.run(1)?), (echo.output(), Status::Ended(0)));
    /// # Ok::<(), omnivisor::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the program goes another way than it did, which is a fault of this library.
    pub fn replay(&self, tick: Option<u64>) -> Result<(Instance, Vec<u8>), Error> {
        let mut machine = restore(KINDS, &self.start.0)?;
        let tick = omni_base::Tick(tick.unwrap_or(u64::MAX).max(self.log.start().tick.0));
        let to = if tick < self.end.tick { self.log.at(tick) } else { self.end };
        let effects = replay(KINDS, &mut *machine, &self.log, self.log.start(), to)?;
        let mut output = Vec::new();
        for (_, effect) in effects {
            if let Effect::Output { port: omni_machine::PortId(0), bytes } = effect {
                output.extend(bytes);
            }
        }
        Ok((Instance::new(machine, Folders::default())?, output))
    }
}
