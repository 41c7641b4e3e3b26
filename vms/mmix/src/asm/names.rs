//! Symbols that every program finds defined.

use super::Symbol;
use super::expression::Value;
use crate::state::special;
use std::collections::HashMap;

#[rustfmt::skip]
const CONSTANTS: &[(&str, u64)] = &[
    ("ROUND_CURRENT", 0), ("ROUND_OFF", 1), ("ROUND_UP", 2), ("ROUND_DOWN", 3), ("ROUND_NEAR", 4),
    ("Inf", 0x7ff0_0000_0000_0000),
    ("Data_Segment", 0x20 << 56), ("Pool_Segment", 0x40 << 56), ("Stack_Segment", 0x60 << 56),
    ("D_BIT", 0x80), ("V_BIT", 0x40), ("W_BIT", 0x20), ("I_BIT", 0x10), ("O_BIT", 8),
    ("U_BIT", 4), ("Z_BIT", 2), ("X_BIT", 1),
    ("D_Handler", 0x10), ("V_Handler", 0x20), ("W_Handler", 0x30), ("I_Handler", 0x40),
    ("O_Handler", 0x50), ("U_Handler", 0x60), ("Z_Handler", 0x70), ("X_Handler", 0x80),
    ("StdIn", 0), ("StdOut", 1), ("StdErr", 2),
    ("TextRead", 0), ("TextWrite", 1), ("BinaryRead", 2), ("BinaryWrite", 3),
    ("BinaryReadWrite", 4),
    ("Halt", 0), ("Fopen", 1), ("Fclose", 2), ("Fread", 3), ("Fgets", 4), ("Fgetws", 5),
    ("Fwrite", 6), ("Fputs", 7), ("Fputws", 8), ("Fseek", 9), ("Ftell", 10),
];

/// The symbols, by their full names.
pub(super) fn predefined() -> HashMap<String, Symbol> {
    let constants = CONSTANTS.iter().copied();
    let all = constants.chain(special::NAMES.into_iter().zip(0..));
    let symbol = |bits| {
        let value = Value { bits, register: false };
        Symbol { value, predefined: true, serial: 0 }
    };
    all.map(|(name, bits)| (format!(":{name}"), symbol(bits))).collect()
}
