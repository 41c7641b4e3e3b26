//! Which slots live in host registers.

use crate::asm::{Gpr, Mem, R8, R9, R10, R11, R12, R13, R14, RBP, RBX, RDI, RSI, Xmm};
use crate::layout::Layout;
use crate::share::GROUPS;
use omni_ir::Slot;

/// Registers for slots. Not rax, rcx, rdx, which operations work in, rbp, the base, rsp, those of
/// groups, and r15, the budget.
const GPRS: [Gpr; 8] = [RBX, RSI, RDI, R8, R9, R10, R11, R12];

/// Where groups of accesses keep the host's address of their bytes; calls leave them alone.
pub(crate) const GROUP_REGS: [Gpr; GROUPS] = [R13, R14];

/// Registers for floating-point slots; the last three are what operations work in.
const XMMS: u8 = 13;

/// What code must know of a guest architecture.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// Integer slots worth a register, most used first.
    pub integers: &'a [Slot],
    /// Floating-point slots worth a register, most used first.
    pub floats: &'a [Slot],
    /// The slot of the reserved address.
    pub reservation: Slot,
    /// The slot that collects floating-point exceptions: inexact, underflow, overflow, division by
    /// zero, invalid, from the lowest bit up.
    pub flags: Slot,
    /// How floating-point operations are made.
    pub float: FloatRule,
    /// The vCPU runs beside others, on a thread of its own.
    pub beside: Option<Beside>,
}

/// What code of a vCPU that runs beside others must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beside {
    /// The slot of the value that was loaded with a reservation.
    pub reserved: Slot,
    /// The slot that is not zero where a step must make the next reservation.
    pub long_next: Slot,
}

/// How floating-point operations are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FloatRule {
    /// By steps.
    Step,
    /// On the host, where a NaN result is the canonical one of the RISC-V manual (11.3).
    CanonicalNan,
    /// On the host, rounding to nearest and without flags; singles have no box, and a NaN result
    /// is the canonical one of WebAssembly's deterministic profile.
    Plain,
}

/// Where a slot is while code runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loc {
    G(Gpr),
    X(Xmm),
    /// In the file.
    M(Mem),
}

/// Where every slot is.
#[derive(Debug)]
pub(crate) struct Map {
    locs: [Loc; 256],
    pub(crate) gprs: Vec<(Gpr, Mem)>,
    /// The slots of `gprs`.
    slots: Vec<Slot>,
    pub(crate) xmms: Vec<(Xmm, Mem)>,
}

impl Map {
    pub(crate) fn new(layout: &Layout, guest: &Guest<'_>) -> Self {
        let home = |slot: u8| Mem::at(RBP, layout.slots + 8 * i32::from(slot));
        let mut map = Self {
            locs: std::array::from_fn(|slot| Loc::M(home(slot as u8))),
            gprs: vec![],
            slots: vec![],
            xmms: vec![],
        };
        for (slot, reg) in guest.integers.iter().zip(GPRS) {
            map.locs[usize::from(slot.0)] = Loc::G(reg);
            map.gprs.push((reg, home(slot.0)));
            map.slots.push(*slot);
        }
        for (slot, reg) in guest.floats.iter().zip((0..XMMS).map(Xmm)) {
            map.locs[usize::from(slot.0)] = Loc::X(reg);
            map.xmms.push((reg, home(slot.0)));
        }
        map
    }

    /// The map of a function: where its slots are at rest, and which of them have registers.
    pub(crate) fn of_function(
        homes: impl Fn(u8) -> Mem,
        integers: &[(Slot, Gpr)],
        floats: &[(Slot, Xmm)],
    ) -> Self {
        let mut map = Self {
            locs: std::array::from_fn(|slot| Loc::M(homes(slot as u8))),
            gprs: vec![],
            slots: vec![],
            xmms: vec![],
        };
        for &(slot, reg) in integers {
            map.locs[usize::from(slot.0)] = Loc::G(reg);
            map.gprs.push((reg, homes(slot.0)));
            map.slots.push(slot);
        }
        for &(slot, reg) in floats {
            map.locs[usize::from(slot.0)] = Loc::X(reg);
            map.xmms.push((reg, homes(slot.0)));
        }
        map
    }

    /// The registers of integer slots, with their slots, and where those are in the file.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (Gpr, Slot, Mem)> {
        self.gprs.iter().zip(&self.slots).map(|(&(reg, home), &slot)| (reg, slot, home))
    }

    pub(crate) fn loc(&self, slot: Slot) -> Loc {
        self.locs[usize::from(slot.0)]
    }
}
