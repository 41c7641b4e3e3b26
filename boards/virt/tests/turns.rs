//! Turns of harts: whose they are, and when they are interrupted, depends on no end of a run.

#[allow(dead_code, reason = "the fuzz targets use the rest")]
#[path = "../../../fuzz/src/asm.rs"]
mod asm;

use omni_base::{Digest, Tick};
use omni_board_virt::{RiscvVirt, sample_spec};
use omni_machine::{Effect, Kick, MachineKind, Outside, Spec, digest};

struct Nobody;

impl Outside for Nobody {
    fn emit(&mut self, _: Tick, _: Effect) {}
}

/// The state of a machine with one hart at a tick, come to by runs of so many ticks.
fn state(spec: &Spec, at: u64, slice: u64) -> Digest {
    let mut spec = spec.clone();
    spec.options.insert("cpus".into(), "1".into());
    let mut machine = RiscvVirt.create(&spec).expect("the spec is sound");
    while machine.tick().0 < at {
        let until = Tick(at.min(machine.tick().0 + slice));
        machine.run(until, &Kick::default(), &mut Nobody);
    }
    digest(&mut *machine)
}

#[test]
fn a_hart_alone_has_its_place_in_a_turn_wherever_runs_end() {
    for at in [30_000, 110_000, 333_333] {
        let whole = state(&sample_spec(), at, at);
        for slice in [7_000, 20_000, 30_000, 47_111] {
            assert_eq!(state(&sample_spec(), at, slice), whole, "at {at} by {slice}");
        }
    }
}

/// A program for `stimecmp` that sets the clock past it, and notes when it is interrupted.
fn clock_is_set() -> Vec<u8> {
    use asm::*;
    let (menvcfg, stimecmp, mtvec, mie, mstatus, minstret) =
        (0x30a, 0x14d, 0x305, 0x304, 0x300, 0xb02);
    let (set, write, read) = (2, 1, 2);
    let code = [
        addi(T0, ZERO, 1),
        slli(T1, T0, 63),
        csr(set, ZERO, menvcfg, T1),
        slli(T1, T0, 40),
        csr(write, ZERO, stimecmp, T1),
        auipc(T2, 0),
        addi(T2, T2, 15 * 4),
        csr(write, ZERO, mtvec, T2),
        addi(T2, ZERO, 1 << 5),
        csr(write, ZERO, mie, T2),
        addi(T2, ZERO, 1 << 3),
        csr(set, ZERO, mstatus, T2),
        // The clock of the ACLINT.
        lui(A0, 0x200c),
        addi(A0, A0, -8),
        slli(T1, T1, 1),
        store(3, T1, A0),
        addi(A1, A1, 1),
        addi(A2, A2, 1),
        jump(18, 16),
        NOP,
        // The handler.
        csr(read, A3, minstret, ZERO),
        csr(write, ZERO, mie, ZERO),
        jump(22, 22),
    ];
    elf(0x8000_0000, &[(0x8000_0000, &words(&code))])
}

#[test]
fn a_clock_that_is_set_interrupts_at_once_wherever_runs_end() {
    let mut spec = Spec::new("riscv-virt");
    spec.options.insert("memory".into(), "16M".into());
    spec.files.insert("image".into(), clock_is_set().into());
    let whole = state(&spec, 200_000, 200_000);
    for slice in [1, 50, 7_000, 30_000] {
        assert_eq!(state(&spec, 200_000, slice), whole, "by {slice}");
    }
}
