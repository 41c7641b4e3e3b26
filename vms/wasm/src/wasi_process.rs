//! Calls about the process: arguments, environment, clocks, chance, its end.

use crate::machine::Vm;
use crate::wasi::{BYTES_MAX, Early, Result};
use crate::wasi_errno::{INVAL, NOTSUP};

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

fn sizes(vm: &mut Vm, list: &[String], arguments: &[u64]) -> Result<()> {
    let count = u32::try_from(list.len()).map_err(|_| INVAL)?;
    let bytes: usize = list.iter().map(|text| text.len() + 1).sum();
    vm.write_u32(arguments[0], count)?;
    vm.write_u32(arguments[1], u32::try_from(bytes).map_err(|_| INVAL)?)
}

fn texts(vm: &mut Vm, list: &[String], arguments: &[u64]) -> Result<()> {
    let (mut pointer, mut at) = (arguments[0], arguments[1]);
    for text in list {
        vm.write_u32(pointer, u32::try_from(at).map_err(|_| INVAL)?)?;
        vm.write(at, text.as_bytes())?;
        vm.write(at + text.len() as u64, &[0])?;
        pointer += 4;
        at += text.len() as u64 + 1;
    }
    Ok(())
}

pub(crate) fn args_sizes_get(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let list = vm.arguments.clone();
    sizes(vm, &list, arguments)
}

pub(crate) fn args_get(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let list = vm.arguments.clone();
    texts(vm, &list, arguments)
}

pub(crate) fn environ_sizes_get(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let list = vm.environment.clone();
    sizes(vm, &list, arguments)
}

pub(crate) fn environ_get(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let list = vm.environment.clone();
    texts(vm, &list, arguments)
}

impl Vm {
    /// What a clock of preview 1 shows, in nanoseconds: all are functions of ticks.
    pub(crate) fn clock(&self, clock: u64) -> Result<u64> {
        let since = self.store.state.tick.saturating_mul(self.spec.ns_per_tick.into());
        match clock {
            0 => Ok(self.spec.epoch_s.saturating_mul(SECOND).saturating_add(since)),
            1 => Ok(since),
            2 | 3 => {
                let ran = self.store.state.tick - self.slept;
                Ok(ran.saturating_mul(self.spec.ns_per_tick.into()))
            }
            _ => Err(INVAL.into()),
        }
    }

    /// The next of the numbers by chance (SplitMix64, by Steele, Lea and Flood).
    pub(crate) fn draw(&mut self) -> u64 {
        self.system.random = self.system.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.system.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

pub(crate) fn clock_res_get(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    vm.clock(arguments[0])?;
    vm.write_u64(arguments[1], vm.spec.ns_per_tick.into())
}

pub(crate) fn clock_time_get(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let time = vm.clock(arguments[0])?;
    vm.write_u64(arguments[2], time)
}

pub(crate) fn proc_exit(_: &mut Vm, arguments: &[u64]) -> Result<()> {
    Err(Early::Exit(arguments[0]))
}

pub(crate) fn proc_raise(_: &mut Vm, _: &[u64]) -> Result<()> {
    Err(NOTSUP.into())
}

pub(crate) fn sched_yield(_: &mut Vm, _: &[u64]) -> Result<()> {
    Ok(())
}

pub(crate) fn random_get(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let count = u32::try_from(arguments[1]).ok().filter(|count| *count <= BYTES_MAX);
    let count = count.ok_or(INVAL)? as usize;
    vm.can_write(arguments[0], count as u64)?;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        bytes.extend(vm.draw().to_le_bytes());
    }
    vm.write(arguments[0], &bytes[..count])
}
