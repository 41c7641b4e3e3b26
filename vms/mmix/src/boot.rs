//! A cold start: the program in memory, its arguments, and the registers as a loader leaves them.

use crate::fault::Fault;
use crate::object::Program;
use crate::state::{File, RING, Wait, may, special};
use crate::world::World;
use omni_engine::{NOT_RESERVED, Regs};
use omni_machine::Spec;

/// Where arguments are.
const POOL: u64 = 0x4000_0000_0000_0000;

/// Where the register stack begins.
const STACK: u64 = 0x6000_0000_0000_0000;

/// Where a program with a library of subroutines begins instead of at `Main`.
const LIBRARY: u64 = 0xf0;

/// The arguments of a program, of which the first is its name.
pub(crate) fn arguments(spec: &Spec) -> Vec<String> {
    spec.option("argv").unwrap_or("program").split('\0').map(str::to_owned).collect()
}

/// Starts a program: all of the state but ticks and the numbers of requests is as it was never
/// used.
///
/// # Errors
/// Where it does not fit into the memory.
pub(crate) fn boot(
    world: &mut World,
    regs: &mut Regs,
    program: &Program,
    spec: &Spec,
) -> Result<(), Fault> {
    world.clear_memory();
    *regs = Regs::default();
    regs.set(crate::state::RESERVATION, NOT_RESERVED);
    world.cpu.middle.fill(0);
    world.cpu.ring = vec![0; RING];
    world.cpu.halted = None;
    let io = &mut world.io;
    (io.wait, io.answer, io.refused) = (Wait::None, None, None);
    io.typed.clear();
    io.closed = false;
    io.name.clear();
    io.files = [(0, may::READ), (1, may::WRITE), (2, may::WRITE)].map(console).into();
    for (&at, tetra) in &program.memory {
        world.store(at, &tetra.to_be_bytes())?;
    }
    let arguments = arguments(spec);
    put_arguments(world, &arguments)?;
    let mut set = |number, value| regs.set(special::slot(number), value);
    set(special::K, u64::MAX);
    // Version 1.0.1, and when the processor was made.
    set(special::N, 0x0100_0100 << 32 | spec.epoch_s & 0xffff_ffff);
    set(special::T, 0x8000_0005 << 32);
    set(special::TT, 0x8000_0006 << 32);
    set(special::V, 0x369c_2004 << 32);
    // The first instruction is an UNSAVE, of what is put here.
    let first = 256 - program.globals.len() as u64;
    let mut values = vec![arguments.len() as u64, POOL + 8, 2];
    values.extend_from_slice(&program.globals);
    values.extend([0; 12]);
    values.push(first << 56);
    let mut at = STACK;
    for value in values {
        world.set_octa(at, value)?;
        at += 8;
    }
    world.unsave_all(regs, at - 8);
    let main = program.globals.last().copied().unwrap_or(0);
    world.cpu.pc = if world.fetch(LIBRARY) == 0 { main } else { LIBRARY };
    Ok(())
}

fn console((handle, may): (u8, u8)) -> (u8, File) {
    let file = File { may, console: true, dirty: false, name: String::new(), bytes: vec![], at: 0 };
    (handle, file)
}

fn put_arguments(world: &mut World, arguments: &[String]) -> Result<(), Fault> {
    let mut at = POOL + 8 * (arguments.len() as u64 + 2);
    for (argument, slot) in arguments.iter().zip(1..) {
        world.set_octa(POOL + 8 * slot, at)?;
        world.put_bytes(at, argument.as_bytes())?;
        at += 8 + (argument.len() as u64 & !7);
    }
    world.set_octa(POOL, at)
}
