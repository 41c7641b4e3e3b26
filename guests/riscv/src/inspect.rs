//! A hart as a debugger sees it: its registers by name, and where its addresses lead.

use crate::hart::Hart;
use crate::lower::slot;
use crate::mode::Privilege;
use crate::operand::{F_NAMES, X_NAMES};
use omni_base::Gpa;
use omni_machine::{Architecture, Feature, Holds, Register};
use std::sync::OnceLock;

/// The first register of each sort, by number: those of GDB's features in order.
const PC: usize = 32;
const F0: usize = 33;
const FLAGS: usize = 65;
const CSRS: usize = 68;
const PRIVILEGE: usize = CSRS + CSR_NAMES.len();

/// The CSRs that are shown (the Privileged Architecture, "CSR Listing").
const CSR_NAMES: [(u16, &str); 45] = [
    (0x100, "sstatus"),
    (0x104, "sie"),
    (0x105, "stvec"),
    (0x106, "scounteren"),
    (0x10a, "senvcfg"),
    (0x140, "sscratch"),
    (0x141, "sepc"),
    (0x142, "scause"),
    (0x143, "stval"),
    (0x144, "sip"),
    (0x14d, "stimecmp"),
    (0x180, "satp"),
    (0x300, "mstatus"),
    (0x301, "misa"),
    (0x302, "medeleg"),
    (0x303, "mideleg"),
    (0x304, "mie"),
    (0x305, "mtvec"),
    (0x306, "mcounteren"),
    (0x30a, "menvcfg"),
    (0x320, "mcountinhibit"),
    (0x340, "mscratch"),
    (0x341, "mepc"),
    (0x342, "mcause"),
    (0x343, "mtval"),
    (0x344, "mip"),
    (0x3a0, "pmpcfg0"),
    (0x3a2, "pmpcfg2"),
    (0x3b0, "pmpaddr0"),
    (0x3b1, "pmpaddr1"),
    (0x3b2, "pmpaddr2"),
    (0x3b3, "pmpaddr3"),
    (0x3b4, "pmpaddr4"),
    (0x3b5, "pmpaddr5"),
    (0x3b6, "pmpaddr6"),
    (0x3b7, "pmpaddr7"),
    (0x747, "mseccfg"),
    (0xb00, "mcycle"),
    (0xb02, "minstret"),
    (0xc00, "cycle"),
    (0xc01, "time"),
    (0xc02, "instret"),
    (0xf11, "mvendorid"),
    (0xf12, "marchid"),
    (0xf14, "mhartid"),
];

/// What of the board a hart's registers show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Surroundings {
    /// The levels of its interrupt lines, as bits of `mip`.
    pub lines: u64,
    /// The value of `mtime`.
    pub mtime: u64,
}

/// The registers of every hart, as the features that GDB knows for RISC-V.
pub fn architecture() -> &'static Architecture {
    static ARCHITECTURE: OnceLock<Architecture> = OnceLock::new();
    ARCHITECTURE.get_or_init(|| {
        let register = |name: &str, bits, holds| Register { name: name.to_owned(), bits, holds };
        let x = X_NAMES.iter().map(|name| match *name {
            "sp" | "gp" | "tp" | "s0" => register(name, 64, Holds::Data),
            "ra" => register(name, 64, Holds::Code),
            _ => register(name, 64, Holds::Integer),
        });
        let cpu = x.chain([register("pc", 64, Holds::Code)]).collect();
        let f = F_NAMES.iter().map(|name| register(name, 64, Holds::Float));
        let flags = ["fflags", "frm", "fcsr"].map(|name| register(name, 32, Holds::Integer));
        let csrs = CSR_NAMES.iter().map(|(_, name)| register(name, 64, Holds::Integer));
        let feature = |name, registers| Feature { name, registers };
        Architecture {
            gdb_name: Some("riscv:rv64"),
            big_endian: false,
            features: vec![
                feature("org.gnu.gdb.riscv.cpu", cpu),
                feature("org.gnu.gdb.riscv.fpu", f.chain(flags).collect()),
                feature("org.gnu.gdb.riscv.csr", csrs.collect()),
                feature("org.gnu.gdb.riscv.virtual", vec![register("priv", 64, Holds::Integer)]),
            ],
            pc: PC,
        }
    })
}

impl Hart {
    /// What a register holds, by its number in `architecture`.
    #[must_use]
    pub fn inspect_register(&self, number: usize, around: Surroundings) -> Option<u64> {
        let file = &self.registers.file.0;
        let low = |number: usize| (number & 31) as u8;
        Some(match number {
            0..PC => self.x(low(number)),
            PC => self.control.pc,
            F0..FLAGS => self.f(low(number - F0)),
            FLAGS..CSRS => {
                let (flags, frm) = (file.get(slot::FFLAGS), file.get(slot::FRM));
                [flags, frm, frm << 5 | flags][number - FLAGS]
            }
            PRIVILEGE => self.control.privilege.into(),
            _ => {
                let (csr, _) = CSR_NAMES.get(number - CSRS)?;
                return self.control.csr_value(*csr, around.lines, around.mtime);
            }
        })
    }

    /// Sets a register to what it can hold of the value. Says whether it can be set.
    pub fn set_inspected(&mut self, number: usize, value: u64) -> bool {
        let low = |number: usize| (number & 31) as u8;
        let file = &mut self.registers.file.0;
        match number {
            0 => return false,
            1..PC => self.set_x(low(number), value),
            PC => self.control.pc = value & !1,
            F0..FLAGS => self.set_f(low(number - F0), value),
            FLAGS..CSRS => {
                let (flags, frm) = (file.get(slot::FFLAGS), file.get(slot::FRM));
                let (flags, frm) =
                    [(value, frm), (flags, value), (value, value >> 5)][number - FLAGS];
                file.set(slot::FFLAGS, flags & 31);
                file.set(slot::FRM, frm & 7);
            }
            PRIVILEGE => {
                let Some(level) = Privilege::from_bits(value) else { return false };
                self.control.privilege = level.bits().to_le_bytes()[0];
            }
            _ => {
                let Some((csr, _)) = CSR_NAMES.get(number - CSRS) else { return false };
                // Where the top two bits of the number are set, it can only be read.
                if csr >> 10 == 3 {
                    return false;
                }
                self.control.set_csr_value(*csr, value);
                self.pmp = self.control.pmp_digest();
            }
        }
        // What a debugger changed may be what was reserved.
        self.clear_reservation();
        true
    }

    /// The physical address of a virtual one, by the tables alone: no rights are asked for, and
    /// no bit is set. `read` gives the table entry at a physical address.
    #[must_use]
    pub fn physical(&self, at: u64, read: impl Fn(u64) -> Option<u64>) -> Option<Gpa> {
        let control = &self.control;
        if control.data_privilege() == Privilege::Machine || control.satp >> 60 == 0 {
            return Some(Gpa(at));
        }
        control.look_up(at, read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AROUND: Surroundings = Surroundings { lines: 0, mtime: 77 };

    #[test]
    fn every_register_that_is_described_can_be_read_and_no_other() {
        let hart = Hart::new(3, 0x8000_0000);
        let count = architecture().registers().count();
        for (number, register) in architecture().registers().enumerate() {
            let value = hart.inspect_register(number, AROUND);
            assert!(value.is_some(), "{}", register.name);
        }
        for number in [count, count + 1, usize::MAX] {
            assert_eq!(hart.inspect_register(number, AROUND), None);
            assert!(!hart.clone().set_inspected(number, 1));
        }
        let named = |name: &str| {
            let number = architecture().registers().position(|register| register.name == name);
            hart.inspect_register(number.expect("it is described"), AROUND)
        };
        assert_eq!(named("pc"), Some(0x8000_0000));
        assert_eq!(named("mhartid"), Some(3));
        assert_eq!(named("time"), Some(77));
        assert_eq!(named("priv"), Some(3));
        assert_eq!(named("satp"), Some(0));
    }

    #[test]
    fn whatever_is_set_leaves_a_hart_that_can_be_saved_and_restored() {
        for number in 0..architecture().registers().count() {
            for value in [0, 1, 0x5555_5555_5555_5555, u64::MAX, 9 << 60, 2 << 11] {
                let mut hart = Hart::new(0, 0x8000_0000);
                let set = hart.set_inspected(number, value);
                let mut bundle = omni_state::Bundle::default();
                hart.save("hart", &mut bundle);
                let again = Hart::load("hart", &mut bundle).expect("a hart that can be");
                assert_eq!(again.control, hart.control, "{number} {value:#x}");
                let unset = hart.control == Hart::new(0, 0x8000_0000).control;
                assert!(set || unset, "{number}");
            }
        }
    }
}
