//! The machine as the library of GDB's protocol wants to see it.

use crate::describe;
use crate::session::{Go, Session, Stopped};
use crate::{DebugError, monitor};
use gdbstub::arch::{Arch, RegId, Registers};
use gdbstub::common::{Signal, Tid};
use gdbstub::outputln;
use gdbstub::stub::MultiThreadStopReason;
use gdbstub::target::ext::base::BaseOps;
use gdbstub::target::ext::base::multithread::{
    MultiThreadBase, MultiThreadResume, MultiThreadResumeOps, MultiThreadSchedulerLocking,
    MultiThreadSchedulerLockingOps, MultiThreadSingleStep, MultiThreadSingleStepOps,
};
use gdbstub::target::ext::base::reverse_exec::{
    ReplayLogPosition, ReverseCont, ReverseContOps, ReverseStep, ReverseStepOps,
};
use gdbstub::target::ext::base::single_register_access::{
    SingleRegisterAccess, SingleRegisterAccessOps,
};
use gdbstub::target::ext::breakpoints::{
    Breakpoints, BreakpointsOps, HwBreakpoint, HwBreakpointOps, HwWatchpoint, HwWatchpointOps,
    SwBreakpoint, SwBreakpointOps, WatchKind,
};
use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd, MonitorCmdOps};
use gdbstub::target::ext::target_description_xml_override::{
    TargetDescriptionXmlOverride, TargetDescriptionXmlOverrideOps,
};
use gdbstub::target::ext::thread_extra_info::{ThreadExtraInfo, ThreadExtraInfoOps};
use gdbstub::target::{Target, TargetError, TargetResult};
use omni_machine::{StopPoint, ThreadId, WatchOn};
use std::num::NonZeroUsize;

/// Any architecture: what is special is described when the debugger asks.
pub(crate) enum AnyArch {}

/// The number of a register.
#[derive(Debug)]
pub(crate) struct Number(usize);

impl RegId for Number {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        Some((Self(id), None))
    }
}

/// The registers that are sent all at once: the first group. Others are asked for one by one.
#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct FirstRegisters {
    pc: u64,
    bytes: Vec<u8>,
}

impl Registers for FirstRegisters {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.pc
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        self.bytes.iter().for_each(|byte| write_byte(Some(*byte)));
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.bytes = bytes.to_vec();
        Ok(())
    }
}

impl Arch for AnyArch {
    type Usize = u64;
    type Registers = FirstRegisters;
    type BreakpointKind = usize;
    type RegId = Number;
}

/// A session, and how it is to go on.
pub(crate) struct Debugged<'p> {
    pub(crate) session: Session<'p>,
    xml: String,
    /// What threads are doing, as of the last stop.
    threads: Vec<(ThreadId, String)>,
    /// The thread that is looked at first.
    pub(crate) thread: ThreadId,
    go: Go,
}

fn tid_of(ThreadId(thread): ThreadId) -> Tid {
    let number = usize::try_from(thread).unwrap_or(usize::MAX - 1).saturating_add(1);
    Tid::new(number).unwrap_or(Tid::MIN)
}

pub(crate) fn thread_of(tid: Tid) -> ThreadId {
    ThreadId(u32::try_from(tid.get() - 1).unwrap_or(u32::MAX))
}

impl<'p> Debugged<'p> {
    pub(crate) fn new(session: Session<'p>) -> Self {
        let xml = describe::xml(session.architecture());
        let mut debugged =
            Self { session, xml, threads: Vec::new(), thread: ThreadId(0), go: Go::On };
        debugged.look();
        debugged
    }

    /// Looks which threads there are, and which is the next to do something.
    fn look(&mut self) {
        let inspect = self.session.inspect();
        let turn = inspect.turn();
        self.threads = inspect.threads();
        self.thread = turn.unwrap_or(self.thread);
    }

    /// Why it stopped, in the protocol's words.
    pub(crate) fn reason(&mut self, stopped: Stopped) -> MultiThreadStopReason<u64> {
        self.look();
        if let Stopped::Hit(hit) = stopped {
            self.thread = hit.thread;
        }
        let tid = tid_of(self.thread);
        match stopped {
            Stopped::Step => self.signal(Signal::SIGTRAP),
            Stopped::Begin => {
                MultiThreadStopReason::ReplayLog { tid: Some(tid), pos: ReplayLogPosition::Begin }
            }
            // Whoever has ended can still be gone back with.
            Stopped::End | Stopped::Halted => {
                MultiThreadStopReason::ReplayLog { tid: Some(tid), pos: ReplayLogPosition::End }
            }
            Stopped::Hit(hit) => match hit.point {
                StopPoint::Break(_) => MultiThreadStopReason::SwBreak(tid),
                StopPoint::Watch { on, .. } => {
                    let kind = match on {
                        WatchOn::Store => WatchKind::Write,
                        WatchOn::Load => WatchKind::Read,
                        WatchOn::Any => WatchKind::ReadWrite,
                    };
                    MultiThreadStopReason::Watch { tid, kind, addr: hit.at }
                }
            },
        }
    }

    /// That it stopped by a signal.
    pub(crate) fn signal(&mut self, signal: Signal) -> MultiThreadStopReason<u64> {
        self.look();
        MultiThreadStopReason::SignalWithThread { tid: tid_of(self.thread), signal }
    }

    fn register_bytes(&mut self, thread: ThreadId, number: usize) -> Option<Vec<u8>> {
        let architecture = self.session.architecture();
        let register = architecture.register(number)?;
        let value = self.session.inspect().register(thread, number)?;
        Some(describe::to_bytes(architecture, register, value))
    }

    fn set_register(
        &mut self,
        thread: ThreadId,
        number: usize,
        bytes: &[u8],
    ) -> TargetResult<(), Self> {
        let architecture = self.session.architecture();
        let register = architecture.register(number).ok_or(TargetError::NonFatal)?;
        let value = describe::from_bytes(architecture, register, bytes);
        let value = value.ok_or(TargetError::NonFatal)?;
        let set = self.session.set_register(thread, number, value).map_err(TargetError::Fatal)?;
        if set { Ok(()) } else { Err(TargetError::NonFatal) }
    }

    fn watch(at: u64, bytes: u64, kind: WatchKind) -> StopPoint {
        let on = match kind {
            WatchKind::Write => WatchOn::Store,
            WatchKind::Read => WatchOn::Load,
            WatchKind::ReadWrite => WatchOn::Any,
        };
        StopPoint::Watch { at, bytes, on }
    }
}

impl Target for Debugged<'_> {
    type Arch = AnyArch;
    type Error = DebugError;

    fn base_ops(&mut self) -> BaseOps<'_, AnyArch, DebugError> {
        BaseOps::MultiThread(self)
    }

    fn support_breakpoints(&mut self) -> Option<BreakpointsOps<'_, Self>> {
        Some(self)
    }

    fn support_monitor_cmd(&mut self) -> Option<MonitorCmdOps<'_, Self>> {
        Some(self)
    }

    fn support_target_description_xml_override(
        &mut self,
    ) -> Option<TargetDescriptionXmlOverrideOps<'_, Self>> {
        Some(self)
    }
}

impl MultiThreadBase for Debugged<'_> {
    fn read_registers(&mut self, regs: &mut FirstRegisters, tid: Tid) -> TargetResult<(), Self> {
        let (thread, architecture) = (thread_of(tid), self.session.architecture());
        let count = architecture.features.first().map_or(0, |first| first.registers.len());
        regs.bytes.clear();
        for number in 0..count {
            let bytes = self.register_bytes(thread, number).ok_or(TargetError::NonFatal)?;
            regs.bytes.extend(bytes);
        }
        regs.pc = self.session.inspect().register(thread, architecture.pc).unwrap_or(0);
        Ok(())
    }

    fn write_registers(&mut self, regs: &FirstRegisters, tid: Tid) -> TargetResult<(), Self> {
        let architecture = self.session.architecture();
        let first = architecture.features.first().map_or(&[][..], |first| &first.registers);
        let mut rest = &regs.bytes[..];
        for (number, register) in first.iter().enumerate() {
            let Some((bytes, after)) = rest.split_at_checked(describe::width(register)) else {
                return Err(TargetError::NonFatal);
            };
            rest = after;
            // Those that cannot be set are as they were, or it is an error.
            self.set_register(thread_of(tid), number, bytes)?;
        }
        Ok(())
    }

    fn support_single_register_access(&mut self) -> Option<SingleRegisterAccessOps<'_, Tid, Self>> {
        Some(self)
    }

    fn read_addrs(
        &mut self,
        start_addr: u64,
        data: &mut [u8],
        tid: Tid,
    ) -> TargetResult<usize, Self> {
        let count = self.session.read(thread_of(tid), start_addr, data);
        if count == 0 && !data.is_empty() { Err(TargetError::NonFatal) } else { Ok(count) }
    }

    fn write_addrs(&mut self, start_addr: u64, data: &[u8], tid: Tid) -> TargetResult<(), Self> {
        let written = self.session.write(thread_of(tid), start_addr, data);
        if written.map_err(TargetError::Fatal)? { Ok(()) } else { Err(TargetError::NonFatal) }
    }

    fn list_active_threads(
        &mut self,
        thread_is_active: &mut dyn FnMut(Tid),
    ) -> Result<(), DebugError> {
        // The debugger looks first at the one that is told first.
        let first = self.thread;
        thread_is_active(tid_of(first));
        let others = self.threads.iter().filter(|(thread, _)| *thread != first);
        others.for_each(|(thread, _)| thread_is_active(tid_of(*thread)));
        Ok(())
    }

    fn support_resume(&mut self) -> Option<MultiThreadResumeOps<'_, Self>> {
        Some(self)
    }

    fn support_thread_extra_info(&mut self) -> Option<ThreadExtraInfoOps<'_, Self>> {
        Some(self)
    }
}

impl ThreadExtraInfo for Debugged<'_> {
    fn thread_extra_info(&self, tid: Tid, buf: &mut [u8]) -> Result<usize, DebugError> {
        let found = self.threads.iter().find(|(thread, _)| *thread == thread_of(tid));
        let text = found.map_or("", |(_, text)| text);
        let count = text.len().min(buf.len());
        buf[..count].copy_from_slice(&text.as_bytes()[..count]);
        Ok(count)
    }
}

impl SingleRegisterAccess<Tid> for Debugged<'_> {
    fn read_register(
        &mut self,
        tid: Tid,
        reg_id: Number,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let bytes = self.register_bytes(thread_of(tid), reg_id.0);
        let bytes = bytes.ok_or(TargetError::NonFatal)?;
        let into = buf.get_mut(..bytes.len()).ok_or(TargetError::NonFatal)?;
        into.copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write_register(&mut self, tid: Tid, reg_id: Number, val: &[u8]) -> TargetResult<(), Self> {
        self.set_register(thread_of(tid), reg_id.0, val)
    }
}

impl MultiThreadResume for Debugged<'_> {
    fn resume(&mut self) -> Result<(), DebugError> {
        self.session.go(self.go)
    }

    fn clear_resume_actions(&mut self) -> Result<(), DebugError> {
        self.go = Go::On;
        Ok(())
    }

    fn set_resume_action_continue(
        &mut self,
        _tid: Tid,
        _signal: Option<Signal>,
    ) -> Result<(), DebugError> {
        // No thread goes on without the others: they share one timeline.
        Ok(())
    }

    fn support_single_step(&mut self) -> Option<MultiThreadSingleStepOps<'_, Self>> {
        Some(self)
    }

    fn support_scheduler_locking(&mut self) -> Option<MultiThreadSchedulerLockingOps<'_, Self>> {
        Some(self)
    }

    fn support_reverse_step(&mut self) -> Option<ReverseStepOps<'_, Tid, Self>> {
        Some(self)
    }

    fn support_reverse_cont(&mut self) -> Option<ReverseContOps<'_, Tid, Self>> {
        Some(self)
    }
}

impl MultiThreadSchedulerLocking for Debugged<'_> {
    fn set_resume_action_scheduler_lock(&mut self) -> Result<(), DebugError> {
        // What others do in their turns until this one has made its step is on the timeline too:
        // who holds them back has another machine.
        Ok(())
    }
}

impl MultiThreadSingleStep for Debugged<'_> {
    fn set_resume_action_step(
        &mut self,
        tid: Tid,
        _signal: Option<Signal>,
    ) -> Result<(), DebugError> {
        self.go = Go::Step(thread_of(tid));
        Ok(())
    }
}

impl ReverseCont<Tid> for Debugged<'_> {
    fn reverse_cont(&mut self) -> Result<(), DebugError> {
        self.session.go(Go::Back)
    }
}

impl ReverseStep<Tid> for Debugged<'_> {
    fn reverse_step(&mut self, tid: Tid) -> Result<(), DebugError> {
        self.session.go(Go::StepBack(thread_of(tid)))
    }
}

impl Breakpoints for Debugged<'_> {
    fn support_sw_breakpoint(&mut self) -> Option<SwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_breakpoint(&mut self) -> Option<HwBreakpointOps<'_, Self>> {
        Some(self)
    }

    fn support_hw_watchpoint(&mut self) -> Option<HwWatchpointOps<'_, Self>> {
        Some(self)
    }
}

impl SwBreakpoint for Debugged<'_> {
    fn add_sw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.session.add_stop(StopPoint::Break(addr)))
    }

    fn remove_sw_breakpoint(&mut self, addr: u64, _kind: usize) -> TargetResult<bool, Self> {
        Ok(self.session.remove_stop(StopPoint::Break(addr)))
    }
}

impl HwBreakpoint for Debugged<'_> {
    fn add_hw_breakpoint(&mut self, addr: u64, kind: usize) -> TargetResult<bool, Self> {
        // No instruction is replaced either way.
        self.add_sw_breakpoint(addr, kind)
    }

    fn remove_hw_breakpoint(&mut self, addr: u64, kind: usize) -> TargetResult<bool, Self> {
        self.remove_sw_breakpoint(addr, kind)
    }
}

impl HwWatchpoint for Debugged<'_> {
    fn add_hw_watchpoint(
        &mut self,
        addr: u64,
        len: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        Ok(self.session.add_stop(Self::watch(addr, len, kind)))
    }

    fn remove_hw_watchpoint(
        &mut self,
        addr: u64,
        len: u64,
        kind: WatchKind,
    ) -> TargetResult<bool, Self> {
        Ok(self.session.remove_stop(Self::watch(addr, len, kind)))
    }
}

impl MonitorCmd for Debugged<'_> {
    fn handle_monitor_cmd(
        &mut self,
        cmd: &[u8],
        mut out: ConsoleOutput<'_>,
    ) -> Result<(), DebugError> {
        let text = monitor::command(self, &String::from_utf8_lossy(cmd))?;
        text.lines().for_each(|line| outputln!(out, "{line}"));
        Ok(())
    }
}

impl TargetDescriptionXmlOverride for Debugged<'_> {
    fn target_description_xml(
        &self,
        annex: &[u8],
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        if annex != b"target.xml" {
            return Err(TargetError::NonFatal);
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.xml.len());
        let count = length.min(buf.len()).min(self.xml.len() - from);
        buf[..count].copy_from_slice(&self.xml.as_bytes()[from..from + count]);
        Ok(count)
    }
}
