//! Control and status registers: who may touch which, what they hold, what writing them does.

use crate::board::Board;
use crate::env::HartEnv;
use crate::hart::{Control, envcfg, status};
use crate::lower::slot;
use crate::mode::Privilege;
use crate::trap::{cause, irq};
use omni_engine::{At, Regs, Reply};
use omni_ir::Trap;

/// Exceptions that can be delegated: all but calls from M.
pub(crate) const MEDELEG: u64 = 0xb3ff;

/// `misa`: RV64 with A, C, D, F, I, M, S, U.
const MISA: u64 = 2 << 62 | 0x14_112d;

/// The bit of `time` in the counter-enable registers.
const COUNTER_TIME: u32 = 1;

/// Numbers of CSRs.
mod no {
    pub(super) const FFLAGS: u64 = 0x001;
    pub(super) const FRM: u64 = 0x002;
    pub(super) const FCSR: u64 = 0x003;
    pub(super) const SSTATUS: u64 = 0x100;
    pub(super) const SIE: u64 = 0x104;
    pub(super) const STVEC: u64 = 0x105;
    pub(super) const SCOUNTEREN: u64 = 0x106;
    pub(super) const SENVCFG: u64 = 0x10a;
    pub(super) const SSCRATCH: u64 = 0x140;
    pub(super) const SEPC: u64 = 0x141;
    pub(super) const SCAUSE: u64 = 0x142;
    pub(super) const STVAL: u64 = 0x143;
    pub(super) const SIP: u64 = 0x144;
    pub(super) const STIMECMP: u64 = 0x14d;
    pub(super) const SATP: u64 = 0x180;
    pub(super) const MSTATUS: u64 = 0x300;
    pub(super) const MISA: u64 = 0x301;
    pub(super) const MEDELEG: u64 = 0x302;
    pub(super) const MIDELEG: u64 = 0x303;
    pub(super) const MIE: u64 = 0x304;
    pub(super) const MTVEC: u64 = 0x305;
    pub(super) const MCOUNTEREN: u64 = 0x306;
    pub(super) const MENVCFG: u64 = 0x30a;
    pub(super) const MCOUNTINHIBIT: u64 = 0x320;
    pub(super) const MHPMEVENT3: u64 = 0x323;
    pub(super) const MHPMEVENT31: u64 = 0x33f;
    pub(super) const MSCRATCH: u64 = 0x340;
    pub(super) const MEPC: u64 = 0x341;
    pub(super) const MCAUSE: u64 = 0x342;
    pub(super) const MTVAL: u64 = 0x343;
    pub(super) const MIP: u64 = 0x344;
    pub(super) const PMPCFG0: u64 = 0x3a0;
    pub(super) const PMPCFG15: u64 = 0x3af;
    pub(super) const PMPADDR0: u64 = 0x3b0;
    pub(super) const PMPADDR63: u64 = 0x3ef;
    pub(super) const MSECCFG: u64 = 0x747;
    pub(super) const TSELECT: u64 = 0x7a0;
    pub(super) const TINFO: u64 = 0x7a4;
    pub(super) const TCONTROL: u64 = 0x7a5;
    pub(super) const MCYCLE: u64 = 0xb00;
    pub(super) const MINSTRET: u64 = 0xb02;
    pub(super) const MHPMCOUNTER3: u64 = 0xb03;
    pub(super) const MHPMCOUNTER31: u64 = 0xb1f;
    pub(super) const CYCLE: u64 = 0xc00;
    pub(super) const TIME: u64 = 0xc01;
    pub(super) const INSTRET: u64 = 0xc02;
    pub(super) const HPMCOUNTER31: u64 = 0xc1f;
    pub(super) const MVENDORID: u64 = 0xf11;
    pub(super) const MIMPID: u64 = 0xf13;
    pub(super) const MHARTID: u64 = 0xf14;
    pub(super) const MCONFIGPTR: u64 = 0xf15;
}

impl<B: Board> HartEnv<'_, B> {
    /// One CSR instruction: its word and its operand. Gives the old value.
    pub(crate) fn csr(
        &mut self,
        [word, operand, _]: [u64; 3],
        regs: &mut Regs,
        when: At,
    ) -> Result<Reply, Trap> {
        let illegal = Trap { cause: cause::ILLEGAL, value: word };
        let (csr, how) = (word >> 20 & 0xfff, word >> 12 & 3);
        let writes = how == 1 || word >> 15 & 31 != 0;
        if !self.allowed(csr, writes) {
            return Err(illegal);
        }
        let value = self.read(csr, regs, when).ok_or(illegal)?;
        if !writes {
            return Ok(Reply { value, stop: false });
        }
        // Of `mip`, what a line holds is seen but not written back.
        let base = if csr == no::MIP { self.control.mip } else { value };
        let new = match how {
            1 => operand,
            2 => base | operand,
            _ => base & !operand,
        };
        let before = self.constants(regs);
        self.write(csr, new, regs, when);
        let interrupted = self.control.interrupt(self.pending(when)).is_some();
        let stop = self.attention || interrupted || self.constants(regs) != before;
        Ok(Reply { value, stop })
    }

    fn allowed(&self, csr: u64, writes: bool) -> bool {
        let c = &*self.control;
        let privilege = c.privilege();
        if csr >> 8 & 3 > privilege.bits() || writes && csr >> 10 == 3 {
            return false;
        }
        let machine = privilege == Privilege::Machine;
        match csr {
            no::FFLAGS | no::FRM | no::FCSR => c.mstatus & status::FS != 0,
            no::SATP => machine || c.mstatus & status::TVM == 0,
            no::STIMECMP => {
                let open = c.menvcfg & envcfg::STCE != 0 && c.mcounteren >> COUNTER_TIME & 1 == 1;
                machine || open
            }
            no::CYCLE..=no::HPMCOUNTER31 => {
                let bit = 1_u32 << (csr - no::CYCLE);
                let user = privilege == Privilege::User;
                (machine || c.mcounteren & bit != 0) && (!user || c.scounteren & bit != 0)
            }
            _ => true,
        }
    }

    fn read(&self, csr: u64, regs: &Regs, when: At) -> Option<u64> {
        Some(match csr {
            no::FFLAGS => regs.get(slot::FFLAGS),
            no::FRM => regs.get(slot::FRM),
            no::FCSR => regs.get(slot::FRM) << 5 | regs.get(slot::FFLAGS),
            no::SIP => self.pending(when) & self.control.mideleg,
            no::MIP => self.pending(when),
            no::MCYCLE | no::CYCLE => self.control.cycle_at(when.ticks),
            no::MINSTRET | no::INSTRET => self.control.instret_at(when.ticks),
            no::TIME => self.mtime(when),
            _ => return self.control.read(csr),
        })
    }

    fn write(&mut self, csr: u64, value: u64, regs: &mut Regs, when: At) {
        let c = &mut *self.control;
        match csr {
            no::FFLAGS | no::FRM | no::FCSR => {
                c.mstatus |= status::FS;
                match csr {
                    no::FFLAGS => regs.set(slot::FFLAGS, value & 31),
                    no::FRM => regs.set(slot::FRM, value & 7),
                    _ => {
                        regs.set(slot::FFLAGS, value & 31);
                        regs.set(slot::FRM, value >> 5 & 7);
                    }
                }
            }
            // What is written is there for the next instruction, which is one tick later.
            no::MCYCLE => c.set_cycle(value, when.ticks + 1),
            no::MINSTRET => c.set_instret(value, when.ticks + 1),
            no::MCOUNTINHIBIT => c.set_inhibit(value, when.ticks + 1),
            no::STIMECMP => {
                c.stimecmp = value;
                self.attention = true;
            }
            no::MENVCFG => {
                c.write(csr, value);
                self.attention = true;
            }
            no::PMPCFG0..=no::PMPADDR63 | no::MSECCFG => {
                c.write(csr, value);
                *self.pmp = c.pmp_digest();
            }
            _ => c.write(csr, value),
        }
    }
}

impl Control {
    /// What a CSR holds between two runs, whoever asks.
    pub(crate) fn csr_value(&self, csr: u16, lines: u64, mtime: u64) -> Option<u64> {
        match u64::from(csr) {
            no::SIP => Some(self.pending(lines, mtime) & self.mideleg),
            no::MIP => Some(self.pending(lines, mtime)),
            no::MCYCLE | no::CYCLE => Some(self.mcycle),
            no::MINSTRET | no::INSTRET => Some(self.minstret),
            no::TIME => Some(mtime),
            csr => self.read(csr),
        }
    }

    /// Sets a CSR between two runs, as far as it can be set.
    pub(crate) fn set_csr_value(&mut self, csr: u16, value: u64) {
        match u64::from(csr) {
            no::MCYCLE => self.mcycle = value,
            no::MINSTRET => self.minstret = value,
            no::MCOUNTINHIBIT => self.set_inhibit(value, 0),
            no::STIMECMP => self.stimecmp = value,
            csr => self.write(csr, value),
        }
    }

    /// The registers that are plain fields.
    fn read(&self, csr: u64) -> Option<u64> {
        Some(match csr {
            no::SSTATUS => self.status() & (status::SUPERVISOR | status::SD | status::UXL),
            no::SIE => self.mie & self.mideleg,
            no::STVEC => self.stvec,
            no::SCOUNTEREN => self.scounteren.into(),
            no::SENVCFG => self.senvcfg,
            no::SSCRATCH => self.sscratch,
            no::SEPC => self.sepc,
            no::SCAUSE => self.scause,
            no::STVAL => self.stval,
            no::STIMECMP => self.stimecmp,
            no::SATP => self.satp,
            no::MSTATUS => self.status(),
            no::MISA => MISA,
            no::MEDELEG => self.medeleg,
            no::MIDELEG => self.mideleg,
            no::MIE => self.mie,
            no::MTVEC => self.mtvec,
            no::MCOUNTEREN => self.mcounteren.into(),
            no::MENVCFG => self.menvcfg,
            no::MCOUNTINHIBIT => self.mcountinhibit.into(),
            no::MSCRATCH => self.mscratch,
            no::MEPC => self.mepc,
            no::MCAUSE => self.mcause,
            no::MTVAL => self.mtval,
            // The odd ones are of RV32.
            no::PMPCFG0..=no::PMPCFG15 if csr & 1 == 0 => {
                self.pmpcfg_read(usize::from((csr & 15) as u8))
            }
            no::PMPADDR0..=no::PMPADDR63 => {
                self.pmpaddr_read(usize::from((csr - no::PMPADDR0) as u8))
            }
            no::MSECCFG => self.mseccfg,
            no::MHARTID => self.mhartid,
            // Counters of events that never happen, no triggers, and nobody's identity.
            no::MHPMEVENT3..=no::MHPMEVENT31
            | no::MHPMCOUNTER3..=no::MHPMCOUNTER31
            | 0xc03..=no::HPMCOUNTER31
            | no::TSELECT..=no::TINFO
            | no::TCONTROL
            | no::MVENDORID..=no::MIMPID
            | no::MCONFIGPTR => 0,
            _ => return None,
        })
    }

    fn write(&mut self, csr: u64, value: u64) {
        let merge = |old: u64, mask: u64| old & !mask | value & mask;
        match csr {
            no::SSTATUS => self.mstatus = merge(self.mstatus, status::SUPERVISOR),
            no::SIE => self.mie = merge(self.mie, self.mideleg),
            no::STVEC => self.stvec = value & !2,
            no::SCOUNTEREN => self.scounteren = (value & 0xffff_ffff) as u32,
            no::SENVCFG => self.senvcfg = env_value(value, self.senvcfg, envcfg::SUPERVISOR),
            no::SSCRATCH => self.sscratch = value,
            no::SEPC => self.sepc = value & !1,
            no::SCAUSE => self.scause = value,
            no::STVAL => self.stval = value,
            no::SIP => self.mip = merge(self.mip, irq::SSI & self.mideleg),
            no::SATP => {
                // A mode that does not exist: nothing is written.
                if matches!(value >> 60, 0 | 8..=10) {
                    self.satp = value;
                }
            }
            no::MSTATUS => self.write_mstatus(value),
            no::MEDELEG => self.medeleg = value & MEDELEG,
            no::MIDELEG => self.mideleg = value & irq::SUPERVISOR,
            no::MIE => self.mie = value & irq::ALL,
            no::MTVEC => self.mtvec = value & !2,
            no::MCOUNTEREN => self.mcounteren = (value & 0xffff_ffff) as u32,
            no::MENVCFG => {
                self.menvcfg = env_value(value, self.menvcfg, envcfg::MACHINE);
                if self.menvcfg & envcfg::STCE != 0 {
                    // From here on the bit is the comparison's.
                    self.mip &= !irq::STI;
                }
            }
            no::MSCRATCH => self.mscratch = value,
            no::MEPC => self.mepc = value & !1,
            no::MCAUSE => self.mcause = value,
            no::MTVAL => self.mtval = value,
            no::MIP => {
                let timer = if self.menvcfg & envcfg::STCE == 0 { irq::STI } else { 0 };
                self.mip = merge(self.mip, irq::SSI | irq::SEI | timer);
            }
            no::PMPCFG0..=no::PMPCFG15 => {
                self.pmpcfg_write(usize::from((csr & 15) as u8), value);
            }
            no::PMPADDR0..=no::PMPADDR63 => {
                self.pmpaddr_write(usize::from((csr - no::PMPADDR0) as u8), value);
            }
            no::MSECCFG => self.mseccfg_write(value),
            // All others were found by `read` and hold what they hold.
            _ => {}
        }
    }

    fn status(&self) -> u64 {
        let dirty = if self.mstatus & status::FS == status::FS { status::SD } else { 0 };
        self.mstatus | status::UXL | status::SXL | dirty
    }

    fn write_mstatus(&mut self, value: u64) {
        let old = self.mstatus;
        self.mstatus = value & status::WRITABLE;
        // A level that does not exist: the field keeps its value.
        if Privilege::from_bits((value & status::MPP) >> status::MPP_SHIFT).is_none() {
            self.mstatus = self.mstatus & !status::MPP | old & status::MPP;
        }
    }

    fn inhibits(&self, counter: u32) -> bool {
        self.mcountinhibit >> counter & 1 == 1
    }

    /// `mcycle`, so many ticks into the run.
    fn cycle_at(&self, ticks: u64) -> u64 {
        if self.inhibits(0) { self.mcycle } else { self.mcycle.wrapping_add(ticks) }
    }

    fn instret_at(&self, ticks: u64) -> u64 {
        if self.inhibits(2) { self.minstret } else { self.minstret.wrapping_add(ticks) }
    }

    fn set_cycle(&mut self, value: u64, ticks: u64) {
        self.mcycle = if self.inhibits(0) { value } else { value.wrapping_sub(ticks) };
    }

    fn set_instret(&mut self, value: u64, ticks: u64) {
        self.minstret = if self.inhibits(2) { value } else { value.wrapping_sub(ticks) };
    }

    fn set_inhibit(&mut self, value: u64, ticks: u64) {
        let (cycle, instret) = (self.cycle_at(ticks), self.instret_at(ticks));
        self.mcountinhibit = (value & 0b101) as u32;
        self.set_cycle(cycle, ticks);
        self.set_instret(instret, ticks);
    }

    /// A run is over: so many instructions retired, and so many traps were taken.
    pub(crate) fn count(&mut self, retired: u64, traps: u64) {
        self.mcycle = self.cycle_at(retired + traps);
        self.minstret = self.instret_at(retired);
    }
}

/// An environment register, where one value of CBIE is reserved.
fn env_value(value: u64, old: u64, mask: u64) -> u64 {
    let new = value & mask;
    if new & envcfg::CBIE == 2 << 4 { new & !envcfg::CBIE | old & envcfg::CBIE } else { new }
}
