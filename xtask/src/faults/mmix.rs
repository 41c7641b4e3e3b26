//! Faults in what runs programs of MMIX.

use super::Fault;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "code of MMIX notes no overflow of a difference",
        file: "vms/mmix/src/lower.rs",
        find: "(self.binary(Binary::Xor, y, z), self.binary(Binary::Xor, y, rest));",
        replace: "(self.binary(Binary::Xor, y, z), self.binary(Binary::Xor, y, y));",
        test: "-p omni-vm-mmix --lib agree",
    },
    Fault {
        name: "registers of MMIX that are popped stay behind",
        file: "vms/mmix/src/stack.rs",
        find: "for (index, value) in (0..old.max(count)).zip(values) {",
        replace: "for (index, value) in (0..count).zip(values) {",
        test: "-p omni-vm-mmix --lib agree",
    },
    Fault {
        name: "backward fixes of MMIX objects go forward",
        file: "vms/mmix/src/object.rs",
        find: "lop::FIXR => self.fix(yz.into(), yz.into()),",
        replace: "lop::FIXR => self.fix(-i64::from(yz), yz.into()),",
        test: "-p omni-vm-mmix --test hostile an_object",
    },
];
