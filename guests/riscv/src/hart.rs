//! The state of a hart: its register file and its control state, each a record.

use crate::lower::slot;
use crate::mode::{CodeMode, Privilege};
use crate::trap::{cause, irq};
use omni_engine::{Context, NOT_RESERVED, Regs};
use omni_ir::Slot;
use omni_state::{Bundle, Field, Reader, StateError, Writer, record};

/// Bits of `mstatus`.
pub mod status {
    /// Supervisor interrupts enabled.
    pub const SIE: u64 = 1 << 1;
    /// Machine interrupts enabled.
    pub const MIE: u64 = 1 << 3;
    /// SIE before the trap.
    pub const SPIE: u64 = 1 << 5;
    /// MIE before the trap.
    pub const MPIE: u64 = 1 << 7;
    /// Privilege before the trap to S.
    pub const SPP: u64 = 1 << 8;
    /// Privilege before the trap to M.
    pub const MPP: u64 = 3 << MPP_SHIFT;
    /// The place of MPP.
    pub const MPP_SHIFT: u32 = 11;
    /// State of the floating-point unit; dirty where all ones.
    pub const FS: u64 = 3 << 13;
    /// Loads and stores as MPP.
    pub const MPRV: u64 = 1 << 17;
    /// Supervisor may touch user pages.
    pub const SUM: u64 = 1 << 18;
    /// Executable pages may be read.
    pub const MXR: u64 = 1 << 19;
    /// Traps virtual memory management by S.
    pub const TVM: u64 = 1 << 20;
    /// Traps `wfi` below M.
    pub const TW: u64 = 1 << 21;
    /// Traps `sret`.
    pub const TSR: u64 = 1 << 22;
    /// Widths of U and S: 64 bits, fixed.
    pub const UXL: u64 = 2 << 32;
    /// See UXL.
    pub const SXL: u64 = 2 << 34;
    /// Some state is dirty.
    pub const SD: u64 = 1 << 63;
    /// What M may write.
    pub const WRITABLE: u64 =
        SIE | MIE | SPIE | MPIE | SPP | MPP | FS | MPRV | SUM | MXR | TVM | TW | TSR;
    /// What S may see and write.
    pub const SUPERVISOR: u64 = SIE | SPIE | SPP | FS | SUM | MXR;
}

/// Bits of `menvcfg` and `senvcfg`.
pub mod envcfg {
    /// Fences of I/O imply memory.
    pub const FIOM: u64 = 1;
    /// `cbo.inval`: not, as flush, as itself.
    pub const CBIE: u64 = 3 << 4;
    /// `cbo.clean` and `cbo.flush`.
    pub const CBCFE: u64 = 1 << 6;
    /// `cbo.zero`.
    pub const CBZE: u64 = 1 << 7;
    /// Accessed and dirty bits are set by the hart.
    pub const ADUE: u64 = 1 << 61;
    /// Page-based memory types.
    pub const PBMTE: u64 = 1 << 62;
    /// `stimecmp`.
    pub const STCE: u64 = 1 << 63;
    /// What firmware allows S: cache blocks, memory types, its timer, bits set by the hart.
    pub const FIRMWARE: u64 = CBIE_FLUSH | CBCFE | CBZE | ADUE | PBMTE | STCE;
    /// `cbo.inval` writes back too.
    pub const CBIE_FLUSH: u64 = 1 << 4;
    /// What M's has.
    pub const MACHINE: u64 = SUPERVISOR | ADUE | PBMTE | STCE;
    /// What S's has.
    pub const SUPERVISOR: u64 = FIOM | CBIE | CBCFE | CBZE;
}

/// Entries of physical memory protection.
pub const PMP_COUNT: usize = 16;

/// The register file: the slots that translated code works on. Temporaries are no state.
#[derive(Clone, Default, Debug)]
pub struct File(pub Regs);

impl File {
    fn saved(&self) -> &[u64] {
        &self.0.0[..slot::COUNT]
    }
}

impl PartialEq for File {
    fn eq(&self, other: &Self) -> bool {
        self.saved() == other.saved()
    }
}

impl Eq for File {}

impl Field for File {
    fn put(&self, out: &mut Writer) {
        self.saved().iter().for_each(|value| value.put(out));
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut file = Self::default();
        for at in 0..slot::COUNT {
            file.0.0[at] = u64::get(from)?;
        }
        let small = |slot: Slot, most: u64| file.0.get(slot) <= most;
        let x0 = Slot(slot::X0);
        if small(x0, 0) && small(slot::FFLAGS, 31) && small(slot::FRM, 7) {
            Ok(file)
        } else {
            Err(StateError::Invalid("register file"))
        }
    }
}

record! {
    /// The registers of a hart.
    pub struct Registers = "riscv-registers" v 1 {
        /// Integer and floating-point registers, `fflags`, `frm`, the reservation.
        file: File;
    }
}

record! {
    /// All else of a hart, named as in the manual.
    pub struct Control = "riscv-control" v 1 {
        /// The number of the hart.
        mhartid: u64;
        /// The next instruction.
        pc: u64;
        /// The privilege level, in the encoding of the manual.
        privilege: u8;
        /// Whether it waits in `wfi`.
        waiting: bool;
        /// Without SD and the fixed fields.
        mstatus: u64;
        /// Exceptions that go to S.
        medeleg: u64;
        /// Interrupts that go to S.
        mideleg: u64;
        /// Interrupts enabled.
        mie: u64;
        /// Interrupts pending by software; those of lines are not here.
        mip: u64;
        /// Trap vector of M.
        mtvec: u64;
        /// Counters for S and below.
        mcounteren: u32;
        /// Counters that stand still.
        mcountinhibit: u32;
        /// `mcycle` when the next run begins: ticks of this hart.
        mcycle: u64;
        /// `minstret` when the next run begins.
        minstret: u64;
        /// Scratch of M.
        mscratch: u64;
        /// Exception pc of M.
        mepc: u64;
        /// Cause of M.
        mcause: u64;
        /// Trap value of M.
        mtval: u64;
        /// Environment of S and below.
        menvcfg: u64;
        /// Security configuration.
        mseccfg: u64;
        /// Protection of each entry.
        pmpcfg: [u8; PMP_COUNT];
        /// Address of each entry, without its lowest two bits.
        pmpaddr: [u64; PMP_COUNT];
        /// Trap vector of S.
        stvec: u64;
        /// Counters for U.
        scounteren: u32;
        /// Scratch of S.
        sscratch: u64;
        /// Exception pc of S.
        sepc: u64;
        /// Cause of S.
        scause: u64;
        /// Trap value of S.
        stval: u64;
        /// Environment of U.
        senvcfg: u64;
        /// Timer of S.
        stimecmp: u64;
        /// Address translation.
        satp: u64;
    }
}

impl Control {
    fn new(mhartid: u64, pc: u64) -> Self {
        Self {
            mhartid,
            pc,
            privilege: 3,
            waiting: false,
            mstatus: 0,
            medeleg: 0,
            mideleg: 0,
            mie: 0,
            mip: 0,
            mtvec: 0,
            mcounteren: 0,
            mcountinhibit: 0,
            mcycle: 0,
            minstret: 0,
            mscratch: 0,
            mepc: 0,
            mcause: 0,
            mtval: 0,
            menvcfg: 0,
            mseccfg: 0,
            pmpcfg: [0; PMP_COUNT],
            pmpaddr: [0; PMP_COUNT],
            stvec: 0,
            scounteren: 0,
            sscratch: 0,
            sepc: 0,
            scause: 0,
            stval: 0,
            senvcfg: 0,
            stimecmp: u64::MAX,
            satp: 0,
        }
    }

    /// The privilege level.
    #[must_use]
    pub fn privilege(&self) -> Privilege {
        Privilege::from_bits(u64::from(self.privilege)).expect("a level that was checked")
    }

    /// The privilege level of loads and stores.
    #[must_use]
    pub fn data_privilege(&self) -> Privilege {
        if self.mstatus & status::MPRV == 0 {
            return self.privilege();
        }
        let previous = (self.mstatus & status::MPP) >> status::MPP_SHIFT;
        Privilege::from_bits(previous).unwrap_or(Privilege::User)
    }

    /// What the hart's code means now.
    #[must_use]
    pub fn code_mode(&self, frm: u64) -> CodeMode {
        let privilege = self.privilege();
        let has = |bit: u64| self.mstatus & bit != 0;
        let below_machine = privilege < Privilege::Machine;
        let user = privilege == Privilege::User;
        let allowed = |bits: u64| {
            (!below_machine || self.menvcfg & bits != 0) && (!user || self.senvcfg & bits != 0)
        };
        CodeMode {
            privilege,
            float_on: has(status::FS),
            float_dirty: self.mstatus & status::FS == status::FS,
            frm_valid: frm <= 4,
            wfi_traps: user || below_machine && has(status::TW),
            sret_traps: user || below_machine && has(status::TSR),
            fence_traps: user || below_machine && has(status::TVM),
            cbo_inval: allowed(envcfg::CBIE),
            cbo_clean: allowed(envcfg::CBCFE),
            cbo_zero: allowed(envcfg::CBZE),
        }
    }

    /// The address spaces of fetches and of data, with all that decides an access.
    #[must_use]
    pub(crate) fn contexts(&self, pmp: u64) -> (Context, Context) {
        let context = |privilege: Privilege, status_bits: u64| {
            let satp = match privilege {
                Privilege::Machine => 0,
                Privilege::User | Privilege::Supervisor => self.satp,
            };
            let rules = privilege.bits()
                | (self.mstatus & status_bits) >> 16
                | (self.menvcfg & (envcfg::ADUE | envcfg::PBMTE)) >> 56
                | pmp << 16;
            Context([satp, rules])
        };
        let data = context(self.data_privilege(), status::SUM | status::MXR);
        (context(self.privilege(), 0), data)
    }

    /// Interrupts pending: by software, by the lines from outside, by `stimecmp`.
    #[must_use]
    pub fn pending(&self, lines: u64, mtime: u64) -> u64 {
        let timer = self.menvcfg & envcfg::STCE != 0 && mtime >= self.stimecmp;
        let own = if timer { irq::STI } else { 0 };
        (self.mip | lines | own) & irq::ALL
    }

    /// Refuses what no guest can bring about: a snapshot may come from anywhere.
    fn check(&self) -> Result<(), StateError> {
        let within = |value: u64, mask: u64| value & !mask == 0;
        let previous = (self.mstatus & status::MPP) >> status::MPP_SHIFT;
        let levels = Privilege::from_bits(u64::from(self.privilege)).is_some()
            && Privilege::from_bits(previous).is_some();
        let traps = within(self.medeleg, crate::csr::MEDELEG)
            && within(self.mideleg, irq::SUPERVISOR)
            && within(self.mie, irq::ALL)
            && within(self.mip, irq::SUPERVISOR)
            && (self.mtvec | self.stvec) & 2 == 0
            && (self.pc | self.mepc | self.sepc) & 1 == 0;
        let settings = within(self.mstatus, status::WRITABLE)
            && within(self.menvcfg, envcfg::MACHINE)
            && within(self.senvcfg, envcfg::SUPERVISOR)
            && within(self.mcountinhibit.into(), 0b101)
            && matches!(self.satp >> 60, 0 | 8..=10)
            && self.pmp_is_sound();
        if levels && traps && settings { Ok(()) } else { Err(StateError::Invalid("hart")) }
    }
}

/// A hart.
#[derive(Clone, Debug)]
pub struct Hart {
    /// The registers.
    pub registers: Registers,
    /// All else.
    pub control: Control,
    // Derived from here on.
    /// Names the rules of physical memory protection that TLB entries are of.
    pub(crate) pmp: u64,
}

impl Hart {
    /// A hart after reset: in M, at `pc`.
    #[must_use]
    pub fn new(mhartid: u64, pc: u64) -> Self {
        let mut file = File::default();
        file.0.set(slot::RESERVATION, NOT_RESERVED);
        Self::of(Registers { file }, Control::new(mhartid, pc))
    }

    fn of(registers: Registers, control: Control) -> Self {
        let pmp = control.pmp_digest();
        Self { registers, control, pmp }
    }

    /// A hart as SBI firmware leaves it to an S-mode kernel: all that can be is delegated, memory
    /// is open, counters, `stimecmp` and cache-block operations are allowed, interrupts are off.
    pub fn enter_supervisor(&mut self, pc: u64, a0: u64, a1: u64) {
        let c = &mut self.control;
        c.pc = pc;
        c.privilege = 1;
        c.waiting = false;
        c.mstatus = 0;
        c.medeleg = crate::csr::MEDELEG & !(1 << cause::ECALL_SUPERVISOR);
        c.mideleg = irq::SUPERVISOR;
        (c.mie, c.mip, c.stimecmp) = (0, 0, u64::MAX);
        c.mcounteren = u32::MAX;
        c.menvcfg = envcfg::FIRMWARE;
        c.satp = 0;
        c.pmpcfg = [0; PMP_COUNT];
        c.pmpcfg[0] = 0x1f;
        c.pmpaddr[0] = (1 << 54) - 1;
        self.pmp = c.pmp_digest();
        self.set_x(10, a0);
        self.set_x(11, a1);
        self.clear_reservation();
    }

    /// What an integer register holds.
    #[must_use]
    pub fn x(&self, number: u8) -> u64 {
        self.registers.file.0.get(Slot(slot::X0 + (number & 31)))
    }

    /// Sets an integer register; x0 stays zero.
    pub fn set_x(&mut self, number: u8, value: u64) {
        if number & 31 != 0 {
            self.registers.file.0.set(Slot(slot::X0 + (number & 31)), value);
        }
    }

    /// What a floating-point register holds.
    #[must_use]
    pub fn f(&self, number: u8) -> u64 {
        self.registers.file.0.get(Slot(slot::F0 + (number & 31)))
    }

    /// Sets a floating-point register.
    pub fn set_f(&mut self, number: u8, value: u64) {
        self.registers.file.0.set(Slot(slot::F0 + (number & 31)), value);
    }

    /// Drops the reservation: another hart has had its turn.
    pub fn clear_reservation(&mut self) {
        self.registers.file.0.set(slot::RESERVATION, NOT_RESERVED);
    }

    /// The `mtime` at which an interrupt of `stimecmp` becomes pending, if that can happen.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let on = self.control.menvcfg & envcfg::STCE != 0 && self.control.stimecmp != u64::MAX;
        on.then_some(self.control.stimecmp)
    }

    /// Whether a hart that waits would wake: an interrupt that is enabled by itself is pending.
    #[must_use]
    pub fn wakes(&self, lines: u64, mtime: u64) -> bool {
        self.control.pending(lines, mtime) & self.control.mie != 0
    }

    /// Writes the records under `path`.
    pub fn save(&self, path: &str, into: &mut Bundle) {
        into.put(&format!("{path}/control"), &self.control);
        into.put(&format!("{path}/registers"), &self.registers);
    }

    /// Reads the records back.
    ///
    /// # Errors
    /// Where they are missing or cannot be a hart's.
    pub fn load(path: &str, from: &mut Bundle) -> Result<Self, StateError> {
        let control: Control = from.take(&format!("{path}/control"))?;
        control.check()?;
        let registers = from.take(&format!("{path}/registers"))?;
        Ok(Self::of(registers, control))
    }
}
