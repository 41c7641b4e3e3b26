//! Waiting for time, and for what is typed.

use crate::machine::Vm;
use crate::records::{FileKind, Wait};
use crate::wasi::{Early, Result};
use crate::wasi_errno::{BADF, INVAL, NOTSUP};

/// Subscriptions of one call.
const SUBSCRIPTIONS_MAX: u64 = 4096;

/// Bytes of a subscription, and of an event.
const SUBSCRIPTION_BYTES: u64 = 48;
const EVENT_BYTES: usize = 32;

/// What is waited for.
const CLOCK: u8 = 0;
const READ: u8 = 1;
const WRITE: u8 = 2;

/// Something that is waited for, and what has become of it.
struct Subscription {
    userdata: u64,
    kind: u8,
    state: State,
}

enum State {
    /// It has come: an error number, and how many bytes there are.
    Ready(u16, u64),
    /// It comes at this tick.
    At(u64),
    /// It comes with what is typed.
    Typed,
}

fn subscription(vm: &Vm, at: u64) -> Result<Subscription> {
    let userdata = vm.read_u64(at)?;
    let kind = vm.read(at + 8, 1)?[0];
    let state = match kind {
        CLOCK => clock(vm, at)?,
        READ | WRITE => ready(vm, vm.read_u32(at + 16)?, kind),
        _ => return Err(INVAL.into()),
    };
    Ok(Subscription { userdata, kind, state })
}

fn clock(vm: &Vm, at: u64) -> Result<State> {
    let id = vm.read_u32(at + 16)?;
    let (timeout, flags) = (vm.read_u64(at + 24)?, vm.read_u32(at + 40)?);
    if id > 1 {
        return Ok(State::Ready(NOTSUP, 0));
    }
    let now = vm.clock(id.into())?;
    let left = if flags & 1 != 0 { timeout.saturating_sub(now) } else { timeout };
    let ticks = left.div_ceil(u64::from(vm.spec.ns_per_tick.max(1)));
    Ok(State::At(vm.store.state.tick.saturating_add(ticks)))
}

fn ready(vm: &Vm, fd: u32, kind: u8) -> State {
    let Ok(file) = vm.file(fd.into()) else { return State::Ready(BADF, 0) };
    match (file.kind, kind) {
        (FileKind::Input, READ) => {
            let typed = vm.system.typed.len() as u64;
            if typed > 0 || vm.system.closed { State::Ready(0, typed) } else { State::Typed }
        }
        (FileKind::Output | FileKind::Errors, WRITE) | (FileKind::Plain, _) => State::Ready(0, 0),
        _ => State::Ready(BADF, 0),
    }
}

pub(crate) fn poll_oneoff(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (from, to, count, told) = (arguments[0], arguments[1], arguments[2], arguments[3]);
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Err(INVAL.into());
    }
    vm.can_write(to, count * EVENT_BYTES as u64)?;
    vm.can_write(told, 4)?;
    let all: Result<Vec<_>> =
        (0..count).map(|nth| subscription(vm, from + nth * SUBSCRIPTION_BYTES)).collect();
    let all = all?;
    let wake = all.iter().filter_map(|one| match one.state {
        State::At(tick) => Some(tick),
        State::Ready(..) | State::Typed => None,
    });
    let wake = wake.min();
    // Where it was waited already, the time was measured from when that began.
    let over = match vm.system.wait {
        Wait::Until { tick, .. } => vm.store.state.tick >= tick,
        Wait::None | Wait::Input | Wait::Answer { .. } => {
            wake.is_some_and(|wake| wake <= vm.store.state.tick)
        }
    };
    let mut events = Vec::new();
    for one in &all {
        let (errno, bytes) = match one.state {
            State::Ready(errno, bytes) => (errno, bytes),
            State::At(tick) if over && Some(tick) == wake => (0, 0),
            State::At(_) | State::Typed => continue,
        };
        let mut event = [0; EVENT_BYTES];
        event[..8].copy_from_slice(&one.userdata.to_le_bytes());
        event[8..10].copy_from_slice(&errno.to_le_bytes());
        event[10] = one.kind;
        event[16..24].copy_from_slice(&bytes.to_le_bytes());
        events.push(event);
    }
    if events.is_empty() {
        let input = all.iter().any(|one| matches!(one.state, State::Typed));
        let wait = match (vm.system.wait, wake) {
            (wait @ Wait::Until { .. }, _) => wait,
            (_, Some(tick)) => Wait::Until { tick, input },
            (_, None) => Wait::Input,
        };
        return Err(Early::Wait(wait));
    }
    vm.write(to, events.as_flattened())?;
    vm.write_u32(told, u32::try_from(events.len()).unwrap_or(u32::MAX))
}
