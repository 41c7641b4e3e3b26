//! From operands to instructions.

use super::Assembler;
use super::expression::{Operand, Value};
use super::statement::Operation;
use crate::opcode::op;

/// An instruction, and the symbol its relative address waits for.
type Encoded = (u32, Option<String>);

/// The field of a relative address, with the bit of the opcode that says that it is backward.
pub(super) fn relative(at: u64, to: u64, bits: u32) -> Result<u32, String> {
    let distance = to.wrapping_sub(at).cast_signed();
    if distance % 4 != 0 {
        return Err("a relative address is not a multiple of four away".into());
    }
    let count = distance >> 2;
    if count < -(1 << bits) || count >= 1 << bits {
        return Err("a relative address is too far away".into());
    }
    let field = (count & ((1 << bits) - 1)) as u32;
    Ok(field | if count < 0 { 1 << 24 } else { 0 })
}

fn word(opcode: u8, x: u8, y: u8, z: u8) -> u32 {
    u32::from_be_bytes([opcode, x, y, z])
}

fn known(operand: &Operand) -> Result<Value, String> {
    match operand {
        Operand::Known(value) => Ok(*value),
        Operand::Future(name) => Err(format!("{name} is not defined yet")),
    }
}

fn byte(value: Value, what: &str) -> Result<u8, String> {
    u8::try_from(value.bits).map_err(|_| format!("{what} is {:#x}, above 255", value.bits))
}

fn register(operand: &Operand, what: &str) -> Result<u8, String> {
    let value = known(operand)?;
    if value.register { byte(value, what) } else { Err(format!("{what} is no register")) }
}

fn pure(operand: &Operand, what: &str) -> Result<u8, String> {
    let value = known(operand)?;
    if value.register { Err(format!("{what} is a register")) } else { byte(value, what) }
}

fn either(operand: &Operand, what: &str) -> Result<u8, String> {
    byte(known(operand)?, what)
}

fn number(operand: &Operand, bits: u32, what: &str) -> Result<u32, String> {
    let value = known(operand)?;
    if value.register || value.bits >> bits != 0 {
        return Err(format!("{what} is no number of {} bytes", bits / 8));
    }
    Ok(value.bits as u32)
}

/// An operation with Z, which is a register or makes it one with a constant.
fn with_z(opcode: u8, x: u8, y: u8, z: &Operand) -> Result<Encoded, String> {
    let constant = !known(z)?.register;
    Ok((word(opcode | u8::from(constant), x, y, either(z, "Z")?), None))
}

/// Assembles an instruction at an address.
pub(super) fn encode(
    asm: &Assembler,
    operation: Operation,
    operands: &[Operand],
    at: u64,
) -> Result<Encoded, String> {
    let opcode = match operation {
        Operation::Opcode(opcode) => opcode,
        Operation::Lda => return memory(asm, op::ADDU, operands),
        Operation::Set => return set(operands),
    };
    match opcode {
        op::TRAP | op::SWYM | op::TRIP => any(opcode, operands),
        op::POP | op::RESUME | op::SYNC => any(opcode, operands),
        op::FIX | op::FIXU | op::FSQRT | op::FINT => {
            let (x, y, z) = with_mode(operands)?;
            Ok((word(opcode, x, y, register(z, "Z")?), None))
        }
        op::FCMP..=op::FSUB | op::FMUL..=op::FREM => {
            let [x, y, z] = operands else { return Err(wanted("three registers")) };
            let y = register(y, "Y")?;
            Ok((word(opcode, register(x, "X")?, y, register(z, "Z")?), None))
        }
        op::FLOT..=0x0f | op::NEG..=0x37 => {
            let (x, y, z) = with_mode(operands)?;
            with_z(opcode, x, y, z)
        }
        op::BN..=0x5f | op::GETA | 0xf5 => {
            let [x, to] = operands else { return Err(wanted("a register and an address")) };
            jump(opcode, register(x, "X")?, to, at)
        }
        op::PUSHJ | 0xf3 => {
            let [x, to] = operands else { return Err(wanted("a register and an address")) };
            jump(opcode, either(x, "X")?, to, at)
        }
        op::JMP | 0xf1 => {
            let [to] = operands else { return Err(wanted("an address")) };
            jump(opcode, 0, to, at)
        }
        op::LDB..=0xbf => memory(asm, opcode, operands),
        op::SETH..=0xef => {
            let [x, yz] = operands else { return Err(wanted("a register and a number")) };
            Ok((word(opcode, register(x, "X")?, 0, 0) | number(yz, 16, "YZ")?, None))
        }
        op::PUT | 0xf7 => {
            let [x, z] = operands else { return Err(wanted("a special register and a value")) };
            with_z(opcode, special(x)?, 0, z)
        }
        op::GET => {
            let [x, z] = operands else { return Err(wanted("a register and a special one")) };
            Ok((word(opcode, register(x, "X")?, 0, special(z)?), None))
        }
        op::SAVE => {
            let [x, zero] = operands else { return Err(wanted("a register and 0")) };
            Ok((word(opcode, register(x, "X")?, 0, 0) | number(zero, 16, "YZ")?, None))
        }
        op::UNSAVE => match operands {
            [z] => Ok((word(opcode, 0, 0, register(z, "Z")?), None)),
            [x, z] => Ok((word(opcode, pure(x, "X")?, 0, register(z, "Z")?), None)),
            _ => Err(wanted("a register")),
        },
        _ => {
            let [x, y, z] = operands else { return Err(wanted("three operands")) };
            with_z(opcode, register(x, "X")?, register(y, "Y")?, z)
        }
    }
}

/// `SET`: from a register, or of a number of two bytes.
fn set(operands: &[Operand]) -> Result<Encoded, String> {
    let [x, y] = operands else { return Err(wanted("two operands")) };
    let x = register(x, "X")?;
    if known(y)?.register {
        Ok((word(op::ORI, x, register(y, "Y")?, 0), None))
    } else {
        Ok((word(op::SETH | 3, x, 0, 0) | number(y, 16, "YZ")?, None))
    }
}

fn wanted(what: &str) -> String {
    format!("{what} are wanted")
}

fn special(operand: &Operand) -> Result<u8, String> {
    let number = pure(operand, "a special register's number")?;
    if number < 32 { Ok(number) } else { Err(format!("there is no special register {number}")) }
}

/// X, Y that is zero where it is left out, and Z.
fn with_mode(operands: &[Operand]) -> Result<(u8, u8, &Operand), String> {
    match operands {
        [x, z] => Ok((register(x, "X")?, 0, z)),
        [x, y, z] => Ok((register(x, "X")?, pure(y, "Y")?, z)),
        _ => Err(wanted("two or three operands")),
    }
}

/// Fields of any sort: three, two or one.
fn any(opcode: u8, operands: &[Operand]) -> Result<Encoded, String> {
    let fields = match operands {
        [xyz] => number(xyz, 24, "XYZ")?,
        [x, yz] => {
            // A register in YZ is one in Z.
            let bits = Operand::Known(Value { register: false, ..known(yz)? });
            u32::from(either(x, "X")?) << 16 | number(&bits, 16, "YZ")?
        }
        [x, y, z] => word(0, either(x, "X")?, either(y, "Y")?, either(z, "Z")?),
        _ => return Err(wanted("at most three operands")),
    };
    Ok((word(opcode, 0, 0, 0) | fields, None))
}

fn jump(opcode: u8, x: u8, to: &Operand, at: u64) -> Result<Encoded, String> {
    let first = word(opcode, x, 0, 0);
    match to {
        Operand::Future(name) => Ok((first, Some(name.clone()))),
        Operand::Known(Value { register: true, .. }) => {
            Err("a register is no relative address".into())
        }
        Operand::Known(Value { bits, .. }) => {
            let field = relative(at, *bits, if opcode & !1 == op::JMP { 24 } else { 16 })?;
            Ok((first | field, None))
        }
    }
}

/// Instructions with an address: a sum, a register, or a number near a base address.
fn memory(asm: &Assembler, opcode: u8, operands: &[Operand]) -> Result<Encoded, String> {
    let first = operands.first().ok_or_else(|| wanted("two or three operands"))?;
    let x = match opcode {
        op::PRELD | 0x9c | op::STCO | op::SYNCD | 0xba | 0xbc => pure(first, "X")?,
        op::PUSHGO => either(first, "X")?,
        _ => register(first, "X")?,
    };
    match operands {
        [_, y, z] => with_z(opcode, x, register(y, "Y")?, z),
        [_, address] => {
            let value = known(address)?;
            if value.register {
                return Ok((word(opcode | 1, x, byte(value, "Y")?, 0), None));
            }
            let bases = asm.globals.iter().zip(0..).filter(|(base, _)| **base != 0);
            let near = bases.map(|(base, nth)| (value.bits.wrapping_sub(*base), nth)).min();
            let found = near.and_then(|(far, nth)| Some((u8::try_from(far).ok()?, nth)));
            let Some((far, nth)) = found else {
                return Err(format!("no base address is close enough to {:#x}", value.bits));
            };
            let base: u8 = nth;
            Ok((word(opcode | 1, x, 254 - base, far), None))
        }
        _ => Err(wanted("two or three operands")),
    }
}
