//! The description of a machine's registers that GDB asks for, and their bytes.

use omni_machine::{Architecture, Holds, Register};

/// The description, in GDB's format of target descriptions.
pub(crate) fn xml(architecture: &Architecture) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n\
         <target version=\"1.0\">\n",
    );
    if let Some(name) = architecture.gdb_name {
        text += &format!("  <architecture>{name}</architecture>\n");
    }
    let mut number = 0;
    for feature in &architecture.features {
        text += &format!("  <feature name=\"{}\">\n", feature.name);
        for register in &feature.registers {
            let (name, bits, ty) = (&register.name, register.bits, type_of(register));
            text += &format!(
                "    <reg name=\"{name}\" bitsize=\"{bits}\" type=\"{ty}\" regnum=\"{number}\"/>\n"
            );
            number += 1;
        }
        text += "  </feature>\n";
    }
    text + "</target>\n"
}

fn type_of(register: &Register) -> &'static str {
    match (register.holds, register.bits) {
        (Holds::Code, _) => "code_ptr",
        (Holds::Data, _) => "data_ptr",
        (Holds::Float, 32) => "ieee_single",
        (Holds::Float, _) => "ieee_double",
        (Holds::Integer, 8) => "uint8",
        (Holds::Integer, 16) => "uint16",
        (Holds::Integer, 32) => "uint32",
        (Holds::Integer, _) => "uint64",
    }
}

/// How many bytes a register has.
pub(crate) fn width(register: &Register) -> usize {
    usize::from(register.bits.div_ceil(8)).min(8)
}

/// A register's bytes, as the machine orders them.
pub(crate) fn to_bytes(architecture: &Architecture, register: &Register, value: u64) -> Vec<u8> {
    let width = width(register);
    if architecture.big_endian {
        value.to_be_bytes()[8 - width..].to_vec()
    } else {
        value.to_le_bytes()[..width].to_vec()
    }
}

/// The value of a register's bytes, where they are as many as it has.
pub(crate) fn from_bytes(
    architecture: &Architecture,
    register: &Register,
    bytes: &[u8],
) -> Option<u64> {
    let width = width(register);
    if bytes.len() != width {
        return None;
    }
    let mut all = [0; 8];
    if architecture.big_endian {
        all[8 - width..].copy_from_slice(bytes);
        return Some(u64::from_be_bytes(all));
    }
    all[..width].copy_from_slice(bytes);
    Some(u64::from_le_bytes(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_registers_come_back_in_either_order() {
        for big_endian in [false, true] {
            let architecture =
                Architecture { gdb_name: None, big_endian, features: Vec::new(), pc: 0 };
            for bits in [8, 16, 32, 64] {
                let register = Register { name: "r".into(), bits, holds: Holds::Integer };
                let value = 0x1122_3344_5566_7788 >> (64 - u32::from(bits));
                let bytes = to_bytes(&architecture, &register, value);
                assert_eq!(bytes.len(), usize::from(bits) / 8);
                assert_eq!(bytes[0] == 0x11, big_endian || bits == 8);
                assert_eq!(from_bytes(&architecture, &register, &bytes), Some(value));
                assert_eq!(from_bytes(&architecture, &register, &[0; 9]), None);
            }
        }
    }
}
