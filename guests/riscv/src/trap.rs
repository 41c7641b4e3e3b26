//! Traps: causes, delegation, priorities of interrupts, entry and return.

use crate::hart::{Control, status};
use crate::mode::Privilege;
use omni_ir::Trap;

/// Causes of exceptions.
pub mod cause {
    /// Instruction access fault.
    pub const FETCH_ACCESS: u64 = 1;
    /// Illegal instruction.
    pub const ILLEGAL: u64 = 2;
    /// Breakpoint.
    pub const BREAKPOINT: u64 = 3;
    /// Load address misaligned.
    pub const LOAD_MISALIGNED: u64 = 4;
    /// Load access fault.
    pub const LOAD_ACCESS: u64 = 5;
    /// Store or atomic address misaligned.
    pub const STORE_MISALIGNED: u64 = 6;
    /// Store or atomic access fault.
    pub const STORE_ACCESS: u64 = 7;
    /// Environment call from U; those from S and M follow by the privilege level.
    pub const ECALL_USER: u64 = 8;
    /// Environment call from S.
    pub const ECALL_SUPERVISOR: u64 = 9;
    /// Instruction page fault.
    pub const FETCH_PAGE: u64 = 12;
    /// Load page fault.
    pub const LOAD_PAGE: u64 = 13;
    /// Store or atomic page fault.
    pub const STORE_PAGE: u64 = 15;
}

/// Bits of `mip` and `mie`.
pub mod irq {
    /// Supervisor software.
    pub const SSI: u64 = 1 << 1;
    /// Machine software.
    pub const MSI: u64 = 1 << 3;
    /// Supervisor timer.
    pub const STI: u64 = 1 << 5;
    /// Machine timer.
    pub const MTI: u64 = 1 << 7;
    /// Supervisor external.
    pub const SEI: u64 = 1 << 9;
    /// Machine external.
    pub const MEI: u64 = 1 << 11;
    /// Those of the supervisor.
    pub const SUPERVISOR: u64 = SSI | STI | SEI;
    /// All.
    pub const ALL: u64 = SUPERVISOR | MSI | MTI | MEI;

    /// The numbers in order of priority, highest first.
    pub(super) const PRIORITY: [u64; 6] = [11, 3, 7, 9, 1, 5];
}

/// Set in a cause that is an interrupt.
const INTERRUPT: u64 = 1 << 63;

impl Control {
    /// The interrupt to take now, if `pending` has one that is enabled.
    #[must_use]
    pub fn interrupt(&self, pending: u64) -> Option<u64> {
        let ready = pending & self.mie;
        if ready == 0 {
            return None;
        }
        let privilege = self.privilege();
        let machine_on = privilege < Privilege::Machine || self.mstatus & status::MIE != 0;
        let supervisor_on = privilege < Privilege::Supervisor
            || privilege == Privilege::Supervisor && self.mstatus & status::SIE != 0;
        let machine = if machine_on { ready & !self.mideleg } else { 0 };
        let supervisor = if supervisor_on { ready & self.mideleg } else { 0 };
        // Those for M come before all for S.
        let of = |set: u64| irq::PRIORITY.into_iter().find(|number| set >> number & 1 == 1);
        of(machine).or_else(|| of(supervisor))
    }

    /// Enters the handler of an interrupt.
    pub fn take_interrupt(&mut self, number: u64) {
        let delegated = self.mideleg >> number & 1 == 1;
        let to_supervisor = delegated && self.privilege() < Privilege::Machine;
        self.enter(to_supervisor, INTERRUPT | number, 0);
    }

    /// Enters the handler of an exception at `pc`.
    pub fn take_trap(&mut self, trap: Trap) {
        let delegated = trap.cause < 64 && self.medeleg >> trap.cause & 1 == 1;
        let to_supervisor = delegated && self.privilege() < Privilege::Machine;
        self.enter(to_supervisor, trap.cause, trap.value);
    }

    fn enter(&mut self, to_supervisor: bool, cause: u64, value: u64) {
        let from = self.privilege;
        let tvec = if to_supervisor {
            (self.sepc, self.scause, self.stval) = (self.pc, cause, value);
            let enabled = self.mstatus & status::SIE != 0;
            self.set_status(status::SPIE, enabled);
            self.set_status(status::SIE, false);
            self.set_status(status::SPP, from == 1);
            self.privilege = 1;
            self.stvec
        } else {
            (self.mepc, self.mcause, self.mtval) = (self.pc, cause, value);
            let enabled = self.mstatus & status::MIE != 0;
            self.set_status(status::MPIE, enabled);
            self.set_status(status::MIE, false);
            self.mstatus = self.mstatus & !status::MPP | u64::from(from) << status::MPP_SHIFT;
            self.privilege = 3;
            self.mtvec
        };
        let vector = if tvec & 1 == 1 && cause & INTERRUPT != 0 { (cause & 63) * 4 } else { 0 };
        self.pc = (tvec & !3).wrapping_add(vector);
    }

    /// `mret`: gives the next pc.
    pub(crate) fn return_from_machine(&mut self) -> u64 {
        let to = (self.mstatus & status::MPP) >> status::MPP_SHIFT;
        let enabled = self.mstatus & status::MPIE != 0;
        self.set_status(status::MIE, enabled);
        self.set_status(status::MPIE, true);
        self.mstatus &= !status::MPP;
        self.drop_to(to);
        self.mepc
    }

    /// `sret`: gives the next pc.
    pub(crate) fn return_from_supervisor(&mut self) -> u64 {
        let to = u64::from(self.mstatus & status::SPP != 0);
        let enabled = self.mstatus & status::SPIE != 0;
        self.set_status(status::SIE, enabled);
        self.set_status(status::SPIE, true);
        self.set_status(status::SPP, false);
        self.drop_to(to);
        self.sepc
    }

    fn drop_to(&mut self, privilege: u64) {
        let to = Privilege::from_bits(privilege).unwrap_or(Privilege::User);
        if to < Privilege::Machine {
            self.set_status(status::MPRV, false);
        }
        self.privilege = (to.bits() & 3) as u8;
    }

    fn set_status(&mut self, bit: u64, on: bool) {
        self.mstatus = if on { self.mstatus | bit } else { self.mstatus & !bit };
    }
}
