//! A machine of ours, run on this thread and measured.

use crate::BenchError;
use crate::child::Heard;
use omni_base::Tick;
use omni_kinds::kind_of;
use omni_machine::{Effect, Event, Kick, Machine, Outside, PortId, PortKind, Spec, Stop};
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Ticks between looks at what the machine said: some milliseconds.
const SLICE_TICKS: u64 = 1_000_000;

const WHO: &str = "omni";

/// A machine and what is heard on its console.
pub(crate) struct Inside {
    machine: Box<dyn Machine>,
    console: Console,
    /// CPU time of this thread in the machine, so far.
    pub(crate) cpu: Duration,
}

struct Console {
    port: PortId,
    heard: Heard,
}

impl Outside for Console {
    fn emit(&mut self, _: Tick, effect: Effect) {
        if let Effect::Output { port, bytes } = effect
            && port == self.port
        {
            self.heard.push(&bytes);
        }
    }
}

impl Inside {
    /// Makes a machine. What that takes is part of its CPU time.
    pub(crate) fn start(spec: &Spec) -> Result<Self, BenchError> {
        let before = thread_cpu();
        let kind = kind_of(&spec.kind)?;
        let ports = kind.ports(spec)?;
        let console = ports.iter().find(|port| port.kind == PortKind::Console);
        let port = console.expect("a kind that boots has a console").id;
        let machine = kind.create(spec)?;
        let console = Console { port, heard: Heard::default() };
        Ok(Self { machine, console, cpu: thread_cpu() - before })
    }

    /// Where the machine is on its timeline.
    pub(crate) fn tick(&self) -> u64 {
        self.machine.tick().0
    }

    /// Types these bytes.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.console.heard.forget();
        let event = Event::Input { port: self.console.port, bytes: bytes.to_vec() };
        self.machine.apply(&event, &mut self.console);
    }

    /// Runs until something is so of what was heard.
    pub(crate) fn listen<T>(
        &mut self,
        limit: Duration,
        until: impl Fn(&Heard) -> Option<T>,
    ) -> Result<T, BenchError> {
        let start = Instant::now();
        let kick = Kick::default();
        loop {
            let before = thread_cpu();
            let slice = Tick(self.machine.tick().0.saturating_add(SLICE_TICKS));
            let stop = self.machine.run(slice, &kick, &mut self.console);
            self.cpu += thread_cpu() - before;
            if let Some(found) = until(&self.console.heard) {
                return Ok(found);
            }
            let said = || self.console.heard.tail();
            match stop {
                Stop::Reached | Stop::Kicked | Stop::Idle { wake: Some(_) } => {}
                Stop::Halted { .. } | Stop::Idle { wake: None } => {
                    return Err(BenchError::Ended { who: WHO, said: said() });
                }
            }
            if start.elapsed() > limit {
                return Err(BenchError::Slow { who: WHO, limit, said: said() });
            }
        }
    }
}

/// The CPU time of this thread.
fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("never before zero")
}
