//! Hot code: loops of instructions that mostly mean something, for tiers that make machine code.

use crate::asm::*;
use crate::bytes::Choices;

/// Words of one program at most.
const WORDS_MAX: usize = 700;

/// Registers that code computes in; those that point somewhere are not among them.
const WORK: [u32; 8] = [T0, T1, T2, S0, A6, A7, T3, 29];

/// The second bytes of register operations: the base, multiplication, and the bit extensions.
const SEVENS: [u32; 12] = [0, 0x20, 1, 0x05, 0x10, 0x30, 0x14, 0x24, 0x34, 0x04, 0x07, 0x20];

/// The same for floating point, without the format.
const FLOATS: [u32; 16] = [
    0x00, 0x04, 0x08, 0x0c, 0x2c, 0x10, 0x14, 0x50, 0x60, 0x68, 0x20, 0x70, 0x78, 0x00, 0x08, 0x50,
];

fn work(from: &mut Choices<'_>) -> u32 {
    WORK[usize::from(from.u8() & 7)]
}

/// A base of accesses and a distance from it: data mostly, whole pages or code now and then.
fn place(from: &mut Choices<'_>, offsets: bool) -> (u32, i32) {
    let how = from.u8();
    let base = if how & 0xf0 == 0xf0 { [A0, A1, A3, A5][usize::from(how & 3)] } else { A2 };
    let by = i32::from(from.u8()) - 128;
    let by = if how & 8 == 0 { by & !7 } else { by };
    (base, if offsets { by } else { 0 })
}

fn float(from: &mut Choices<'_>) -> u32 {
    let format = u32::from(from.u8() & 1);
    let seven = FLOATS[usize::from(from.u8() & 15)] | format;
    let mode = [7, 7, 7, 0, 1, 2, 3, 4][usize::from(from.u8() & 7)];
    let (a, b, dst) = (from.u8(), from.u8(), from.u8());
    let (a, b, dst) = (u32::from(a & 31), u32::from(b & 7), u32::from(dst & 7));
    let (mode, b, a, dst) = match seven & 0x7c {
        0x20 => (mode, 1 ^ format, a & 7, dst),
        0x2c => (mode, 0, a & 7, dst),
        // Comparisons and the two extremes, or the way of a sign.
        0x50 | 0x10 | 0x14 => (mode % 3, b, a & 7, dst),
        0x60 => (mode, b & 3, a & 7, WORK[(dst & 7) as usize]),
        0x68 => (mode, b & 3, WORK[(a & 7) as usize], dst),
        0x70 => (u32::from(mode == 1), 0, a & 7, WORK[(dst & 7) as usize]),
        0x78 => (0, 0, WORK[(a & 7) as usize], dst),
        _ => (mode, b, a & 7, dst),
    };
    let dst = if seven & 0x7c == 0x50 { WORK[(dst & 7) as usize] } else { dst };
    0x53 | dst << 7 | mode << 12 | a << 15 | b << 20 | seven << 25
}

fn fused(from: &mut Choices<'_>) -> u32 {
    let how = u32::from(from.u16());
    let op = [0x43, 0x47, 0x4b, 0x4f][(how & 3) as usize];
    let mode = [7, 7, 0, 3][(how >> 2 & 3) as usize];
    let regs = (how >> 4 & 7) << 7 | (how >> 7 & 7) << 15 | (how >> 10 & 7) << 20;
    op | mode << 12 | regs | (how >> 13) << 27 | (how >> 3 & 1) << 25
}

/// One choice's words, at word `at` of the program.
fn one(from: &mut Choices<'_>, at: usize, into: &mut Vec<u32>) {
    let kind = from.u8();
    let by = i32::from(from.u8() % 12) * 4 + 4;
    match kind & 15 {
        0 | 1 => {
            let seven = SEVENS[usize::from(from.u8() % 12)];
            let three = u32::from(from.u8() & 7);
            let word = if kind & 0x80 == 0 { 0x33 } else { 0x3b };
            let regs = work(from) << 7 | work(from) << 15 | work(from) << 20;
            into.push(word | three << 12 | regs | seven << 25);
        }
        2 => {
            let (imm, three) = (u32::from(from.u16()) & 0xfff, u32::from(kind >> 4 & 7));
            let word = if kind & 0x80 == 0 { 0x13 } else { 0x1b };
            into.push(word | three << 12 | work(from) << 7 | work(from) << 15 | imm << 20);
        }
        3 | 4 => {
            let (base, offset) = place(from, true);
            into.push(load(u32::from(kind >> 4) % 7, work(from), base, offset));
        }
        5 | 6 => {
            let (base, offset) = place(from, true);
            let offset = offset.cast_unsigned() & 0xfff;
            let word = store(u32::from(kind >> 4) & 3, work(from), base);
            into.push(word | (offset & 31) << 7 | (offset >> 5) << 25);
        }
        7 => {
            let three = [0, 1, 4, 5, 6, 7][usize::from(kind >> 4) % 6];
            into.push(branch(three, work(from), work(from), by));
        }
        8 | 9 => into.push(float(from)),
        10 => into.push(fused(from)),
        11 => {
            let (base, offset) = place(from, true);
            let (offset, wide) = (offset.cast_unsigned() & 0xfff, 2 + u32::from(kind >> 4 & 1));
            let reg = u32::from(from.u8() & 7);
            into.push(if kind & 0x80 == 0 {
                0x07 | reg << 7 | wide << 12 | base << 15 | offset << 20
            } else {
                0x27 | (offset & 31) << 7 | wide << 12 | base << 15 | reg << 20 | offset >> 5 << 25
            });
        }
        12 => {
            let (base, _) = place(from, false);
            let op = [0, 1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 2, 3, 0, 2, 3][usize::from(kind >> 4)];
            let wide = 2 + u32::from(from.u8() & 1);
            let value = if op == 2 { ZERO } else { work(from) };
            into.push(0x2f | work(from) << 7 | wide << 12 | base << 15 | value << 20 | op << 27);
        }
        13 => match kind >> 4 {
            // fflags, frm and fcsr; by a register or at once.
            how @ 0..=7 => {
                let (three, number) = (1 + u32::from(how & 3) % 3, 1 + u32::from(from.u8() % 3));
                let at_once = u32::from(how >> 2 & 1) << 2;
                into.push(csr(three | at_once, work(from), number, u32::from(from.u8() & 31)));
            }
            8 => into.push(FENCE_I),
            9 => into.push(0x1200_0073),
            10 => into.push(csr(2, work(from), 0xc02, ZERO)),
            11 => into.push(jump(at, at + 1 + usize::from(from.u8() & 7))),
            // A call of what follows, and a return to behind it.
            12 | 13 => into.extend([auipc(1, 0), jalr(1, 1, by + 4)]),
            14 => into.push(jalr(ZERO, 1, 0)),
            _ => into.push(ECALL),
        },
        14 if kind & 0x80 == 0 => {
            let (low, high) = (u32::from(from.u16()), u32::from(from.u16()));
            into.push((low & !3) | (u32::from(kind >> 4) % 3) | ((high & !3) << 16));
        }
        14 => into.push(from.u64() as u32),
        // Round again some of the time.
        _ => {
            let back = 4 * i32::from(kind >> 4) + 8 + by;
            let mask = [1, 3, 7, 31][usize::from(from.u8() & 3)];
            let back = back.min(4 * i32::try_from(at + 2).unwrap_or(0));
            into.extend([addi(9, 9, 1), andi(T6, 9, mask), branch(1, T6, ZERO, -back)]);
        }
    }
}

/// A program that begins anew at its end.
pub(crate) fn program(from: &mut Choices<'_>) -> Vec<u8> {
    let mut code = vec![];
    while !from.is_empty() && code.len() < WORDS_MAX {
        one(from, code.len(), &mut code);
    }
    code.push(jump(code.len(), 0));
    words(&code)
}
