//! The firmware built into the board: the RISC-V Supervisor Binary Interface, version 2.0.

use crate::layout::{CONSOLE, RAM_BASE};
use crate::wires::Wires;
use omni_base::{Gpa, Tick};
use omni_guest_riscv::Hart;
use omni_guest_riscv::trap::irq;
use omni_machine::Effect;
use omni_state::{Field, Reader, StateError, Writer};

/// The state of a hart as hart state management sees it (SBI chapter 9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HartStatus {
    /// It runs.
    Started,
    /// It does not, until it is started.
    Stopped,
    /// It waits for an interrupt, on its own account.
    Suspended,
}

impl Field for HartStatus {
    fn put(&self, out: &mut Writer) {
        let number: u8 = match self {
            Self::Started => 0,
            Self::Stopped => 1,
            Self::Suspended => 4,
        };
        number.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        match u8::get(from)? {
            0 => Ok(Self::Started),
            1 => Ok(Self::Stopped),
            4 => Ok(Self::Suspended),
            _ => Err(StateError::Invalid("hart status")),
        }
    }
}

/// Errors of a call (SBI chapter 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Error {
    Failed = -1,
    NotSupported = -2,
    InvalidParam = -3,
    InvalidAddress = -5,
    AlreadyAvailable = -6,
}

/// Numbers of extensions.
mod ext {
    pub(super) const SET_TIMER_LEGACY: u64 = 0;
    pub(super) const PUTCHAR_LEGACY: u64 = 1;
    pub(super) const GETCHAR_LEGACY: u64 = 2;
    pub(super) const SHUTDOWN_LEGACY: u64 = 8;
    pub(super) const BASE: u64 = 0x10;
    pub(super) const TIME: u64 = 0x5449_4d45;
    pub(super) const IPI: u64 = 0x0073_5049;
    pub(super) const RFENCE: u64 = 0x5246_4e43;
    pub(super) const HSM: u64 = 0x0048_534d;
    pub(super) const SRST: u64 = 0x5352_5354;
    pub(super) const PMU: u64 = 0x0050_4d55;
    pub(super) const DBCN: u64 = 0x4442_434e;
    pub(super) const ALL: [u64; 8] = [BASE, TIME, IPI, RFENCE, HSM, SRST, PMU, DBCN];
}

/// Version 2.0.
const VERSION: u64 = 2 << 24;

/// Our number is not registered, so we give none.
const IMPLEMENTATION: u64 = 0xffff;

/// Bytes that one call of the debug console moves at most; a caller goes on with the rest.
const CONSOLE_BYTES_MAX: u64 = 4096;

type Answer = Result<u64, Error>;

/// What one hart has for another, which takes it before it runs on.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Post {
    /// It starts: at this address, with these in a0 and a1.
    start: Option<[u64; 3]>,
    /// A software interrupt of S is pending.
    interrupt: bool,
}

impl Post {
    /// A software interrupt.
    pub(crate) fn interrupt(&mut self) {
        self.interrupt = true;
    }

    fn start(&mut self, at: [u64; 3]) {
        *self = Self { start: Some(at), interrupt: false };
    }

    /// Whether there is anything.
    pub(crate) fn is_some(self) -> bool {
        self != Self::default()
    }

    /// Does to the hart what it says.
    pub(crate) fn deliver(self, hart: &mut Hart) {
        if let Some([pc, a0, a1]) = self.start {
            hart.enter_supervisor(pc, a0, a1);
        }
        if self.interrupt {
            hart.control.mip |= irq::SSI;
        }
    }
}

/// A hart and the board it calls from.
pub(crate) struct Caller<'a> {
    pub(crate) hart: &'a mut Hart,
    /// Its number.
    pub(crate) at: usize,
    pub(crate) wires: &'a mut Wires,
}

impl Caller<'_> {
    /// Answers the environment call that the hart stands at. What concerns other harts is posted.
    pub(crate) fn answer(&mut self) {
        let x = |number: u8| self.hart.x(number);
        let args = [x(10), x(11), x(12), x(13), x(14), x(15)];
        let (extension, function) = (x(17), x(16));
        // The call is past before it is answered: an answer may start the hart elsewhere.
        let control = &mut self.hart.control;
        control.pc = control.pc.wrapping_add(4);
        if extension <= 0xf {
            let value = self.legacy(extension, args[0]);
            self.hart.set_x(10, value);
            return;
        }
        let answer = match extension {
            ext::BASE => Ok(base(function, args[0])),
            ext::TIME if function == 0 => self.set_timer(args[0]),
            ext::IPI if function == 0 => self.send_ipi(args[0], args[1]),
            // Translations are never stale here; only the harts named must exist.
            ext::RFENCE if function <= 2 => self.named(args[0], args[1]).map(|_| 0),
            ext::HSM => match self.hart_state(function, args) {
                Some(answer) => answer,
                // The hart is elsewhere now, with its registers set.
                None => return,
            },
            ext::SRST if function == 0 => self.system_reset(args[0], args[1]),
            ext::PMU => pmu(function, args[0]),
            ext::DBCN => self.debug_console(function, args),
            _ => Err(Error::NotSupported),
        };
        let (error, value) = match answer {
            Ok(value) => (0, value),
            Err(error) => ((error as i64).cast_unsigned(), 0),
        };
        self.hart.set_x(10, error);
        self.hart.set_x(11, value);
    }

    fn legacy(&mut self, extension: u64, arg: u64) -> u64 {
        let none = u64::MAX;
        match extension {
            ext::SET_TIMER_LEGACY => self.set_timer(arg).map_or(none, |_| 0),
            ext::PUTCHAR_LEGACY => {
                self.put_console(vec![(arg & 0xff) as u8]);
                0
            }
            ext::GETCHAR_LEGACY => none,
            ext::SHUTDOWN_LEGACY => {
                self.wires.state.halted = Some(0);
                0
            }
            _ => (Error::NotSupported as i64).cast_unsigned(),
        }
    }

    fn put_console(&mut self, bytes: Vec<u8>) {
        let tick = Tick(self.wires.state.tick);
        self.wires.outbox.push((tick, Effect::Output { port: CONSOLE, bytes }));
    }

    fn set_timer(&mut self, value: u64) -> Answer {
        self.hart.control.stimecmp = value;
        Ok(0)
    }

    /// The harts that a mask and its base name.
    fn named(&self, mask: u64, base: u64) -> Result<Vec<usize>, Error> {
        let count = self.wires.posts.len();
        if base == u64::MAX {
            return Ok((0..count).collect());
        }
        let base = usize::try_from(base).map_err(|_| Error::InvalidParam)?;
        let named = (0..64).filter(|at| mask >> at & 1 == 1).map(|at| base.checked_add(at));
        let named: Option<Vec<usize>> = named.collect();
        let named = named.ok_or(Error::InvalidParam)?;
        if named.iter().all(|hart| *hart < count) { Ok(named) } else { Err(Error::InvalidParam) }
    }

    fn send_ipi(&mut self, mask: u64, base: u64) -> Answer {
        for hart in self.named(mask, base)? {
            self.wires.posts[hart].interrupt();
        }
        Ok(0)
    }

    /// Hart state management; `None` where the caller does not come back.
    fn hart_state(&mut self, function: u64, args: [u64; 6]) -> Option<Answer> {
        match function {
            0 => Some(self.hart_start(args)),
            1 => {
                self.wires.state.status[self.at] = HartStatus::Stopped;
                None
            }
            2 => Some(self.target(args[0]).map(|hart| match self.wires.state.status[hart] {
                HartStatus::Started => 0,
                HartStatus::Stopped => 1,
                HartStatus::Suspended => 4,
            })),
            // Retentive suspend is `wfi`; a non-retentive one starts anew where it is told.
            3 if args[0] == 0 => {
                self.hart.control.waiting = true;
                Some(Ok(0))
            }
            3 if args[0] == 0x8000_0000 => {
                self.hart.enter_supervisor(args[1], self.at as u64, args[2]);
                self.hart.control.waiting = true;
                None
            }
            3 => Some(Err(Error::InvalidParam)),
            _ => Some(Err(Error::NotSupported)),
        }
    }

    fn target(&self, hart: u64) -> Result<usize, Error> {
        let hart = usize::try_from(hart).map_err(|_| Error::InvalidParam)?;
        if hart < self.wires.posts.len() { Ok(hart) } else { Err(Error::InvalidParam) }
    }

    fn hart_start(&mut self, args: [u64; 6]) -> Answer {
        let target = self.target(args[0])?;
        if self.wires.state.status[target] != HartStatus::Stopped {
            return Err(Error::AlreadyAvailable);
        }
        let in_ram = args[1]
            .checked_sub(RAM_BASE.0)
            .is_some_and(|at| at < self.wires.memory.spaces[0].size());
        if !in_ram {
            return Err(Error::InvalidAddress);
        }
        self.wires.posts[target].start([args[1], args[0], args[2]]);
        self.wires.state.status[target] = HartStatus::Started;
        Ok(0)
    }

    fn system_reset(&mut self, kind: u64, reason: u64) -> Answer {
        match kind {
            // A reason of one is a failure of the system.
            0 => self.wires.state.halted = Some(u64::from(reason == 1)),
            1 | 2 => self.wires.state.reset = true,
            _ => return Err(Error::InvalidParam),
        }
        Ok(0)
    }

    fn debug_console(&mut self, function: u64, args: [u64; 6]) -> Answer {
        let [count, at, high, ..] = args;
        match function {
            0 => {
                let count = count.min(CONSOLE_BYTES_MAX);
                let mut bytes = vec![0; usize::try_from(count).expect("bounded")];
                let offset = at.checked_sub(RAM_BASE.0).filter(|_| high == 0);
                let offset = offset.ok_or(Error::InvalidParam)?;
                let ram = &self.wires.memory.spaces[0];
                ram.read(Gpa(offset), &mut bytes).map_err(|_| Error::InvalidParam)?;
                self.put_console(bytes);
                Ok(count)
            }
            // Input comes by the UART: nothing is there.
            1 => Ok(0),
            2 => {
                self.put_console(vec![(count & 0xff) as u8]);
                Ok(0)
            }
            _ => Err(Error::NotSupported),
        }
    }
}

fn base(function: u64, probed: u64) -> u64 {
    match function {
        0 => VERSION,
        1 => IMPLEMENTATION,
        2 => 1,
        3 => u64::from(ext::ALL.contains(&probed) || probed <= 2 || probed == 8),
        // Vendor, architecture and implementation are not told, and whatever else is zero.
        _ => 0,
    }
}

/// Performance monitoring: the fixed counters, which always run.
fn pmu(function: u64, counter: u64) -> Answer {
    match function {
        0 => Ok(3),
        // A hardware counter of 64 bits: its CSR, its width less one.
        1 if counter == 0 || counter == 2 => Ok((0xc00 + counter) | 63 << 12),
        1 => Err(Error::InvalidParam),
        2 => Err(Error::NotSupported),
        _ => Err(Error::Failed),
    }
}
