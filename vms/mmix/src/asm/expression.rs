//! Expressions: constants, symbols, and what is made of them.

use super::Assembler;

/// The depth of parentheses and signs, at most.
const DEPTH_MAX: u32 = 64;

/// A pure number, or a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub(super) bits: u64,
    pub(super) register: bool,
}

/// A value, or one that is not known yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Operand {
    Known(Value),
    /// The full name of a symbol, or the digit of a local label.
    Future(String),
}

fn pure(bits: u64) -> Operand {
    Operand::Known(Value { bits, register: false })
}

/// Whether a byte is a letter of symbols.
pub(super) fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b':' | b'_') || byte > 126
}

/// Operands of a statement, as they are read.
pub(super) struct Parser<'a> {
    asm: &'a Assembler,
    rest: &'a [u8],
    depth: u32,
}

impl Assembler {
    /// Reads a list of operands; what is empty is a zero.
    pub(super) fn operands(&self, text: &[u8]) -> Result<Vec<Operand>, String> {
        let mut parser = Parser { asm: self, rest: text, depth: 0 };
        let mut operands = Vec::new();
        if text.is_empty() {
            return Ok(vec![pure(0)]);
        }
        loop {
            if parser.peek() == Some(b'"') {
                parser.string(&mut operands)?;
            } else {
                operands.push(parser.expression()?);
            }
            match parser.take() {
                None => return Ok(operands),
                Some(b',') => {}
                Some(other) => {
                    return Err(format!("'{}' is not expected here", char::from(other)));
                }
            }
        }
    }
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn string(&mut self, operands: &mut Vec<Operand>) -> Result<(), String> {
        self.take();
        let end = self.rest.iter().position(|byte| *byte == b'"');
        let end = end.ok_or("a string does not end")?;
        if end == 0 {
            return Err("a string is empty".into());
        }
        operands.extend(self.rest[..end].iter().map(|byte| pure((*byte).into())));
        self.rest = &self.rest[end + 1..];
        Ok(())
    }

    fn expression(&mut self) -> Result<Operand, String> {
        let mut left = self.term()?;
        while let Some(sign @ (b'+' | b'-' | b'|' | b'^')) = self.peek() {
            self.take();
            let right = self.term()?;
            left = Operand::Known(weak(sign, known(left)?, known(right)?)?);
        }
        Ok(left)
    }

    fn term(&mut self) -> Result<Operand, String> {
        let mut left = self.primary()?;
        loop {
            let sign = match self.rest {
                [b'/', b'/', ..] | [b'<', b'<', ..] | [b'>', b'>', ..] => &self.rest[..2],
                [b'*' | b'/' | b'%' | b'&', ..] => &self.rest[..1],
                _ => return Ok(left),
            };
            self.rest = &self.rest[sign.len()..];
            let right = self.primary()?;
            let (a, b) = (known(left)?, known(right)?);
            if a.register || b.register {
                return Err("registers are only added and subtracted".into());
            }
            left = pure(strong(sign, a.bits, b.bits)?);
        }
    }

    fn primary(&mut self) -> Result<Operand, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("the expression is too deep".into());
        }
        let value = self.shallow();
        self.depth -= 1;
        value
    }

    fn shallow(&mut self) -> Result<Operand, String> {
        let first = self.take().ok_or("an operand is missing")?;
        match first {
            b'(' => {
                let inside = self.expression()?;
                match self.take() {
                    Some(b')') => Ok(inside),
                    _ => Err("a parenthesis does not end".into()),
                }
            }
            b'+' => self.primary(),
            b'-' => Ok(pure(self.number()?.wrapping_neg())),
            b'~' => Ok(pure(!self.number()?)),
            b'$' => {
                let bits = self.number()?;
                Ok(Operand::Known(Value { bits, register: true }))
            }
            b'&' => {
                let name = self.name();
                let symbol = self.asm.symbols.get(&self.asm.qualified(&name));
                let serial = symbol.ok_or_else(|| format!("{name} has no serial number yet"))?;
                Ok(pure(serial.serial))
            }
            b'@' => Ok(pure(self.asm.loc)),
            b'#' => self.digits(16),
            b'\'' => {
                let byte = self.take().ok_or("a character is missing")?;
                match self.take() {
                    Some(b'\'') => Ok(pure(byte.into())),
                    _ => Err("a character does not end".into()),
                }
            }
            b'0'..=b'9' => {
                let digit = usize::from(first - b'0');
                match self.rest {
                    [b'B', ..] => {
                        self.take();
                        let none = Value { bits: 0, register: false };
                        Ok(Operand::Known(self.asm.back[digit].unwrap_or(none)))
                    }
                    [b'F', ..] => {
                        self.take();
                        Ok(Operand::Future(digit.to_string()))
                    }
                    _ => self.decimal(first),
                }
            }
            _ if is_letter(first) => {
                let mut name = char::from(first).to_string();
                name.push_str(&self.name());
                let full = self.asm.qualified(&name);
                let symbol = self.asm.symbols.get(&full);
                Ok(symbol.map_or(Operand::Future(full), |symbol| Operand::Known(symbol.value)))
            }
            other => Err(format!("'{}' begins no operand", char::from(other))),
        }
    }

    fn decimal(&mut self, first: u8) -> Result<Operand, String> {
        let mut value = u64::from(first - b'0');
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            self.take();
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        }
        Ok(pure(value))
    }

    fn digits(&mut self, radix: u32) -> Result<Operand, String> {
        let mut value = None;
        while let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(radix)) {
            self.take();
            value = Some(value.unwrap_or(0u64) << 4 | u64::from(digit));
        }
        value.map(pure).ok_or_else(|| "a digit is missing after #".into())
    }

    fn name(&mut self) -> String {
        let end = self.rest.iter().position(|byte| !is_letter(*byte) && !byte.is_ascii_digit());
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        name.iter().map(|byte| char::from(*byte)).collect()
    }

    /// A pure value that is known.
    fn number(&mut self) -> Result<u64, String> {
        let value = self.primary()?;
        let value = known(value)?;
        if value.register { Err("a register is no number".into()) } else { Ok(value.bits) }
    }
}

fn known(operand: Operand) -> Result<Value, String> {
    match operand {
        Operand::Known(value) => Ok(value),
        Operand::Future(name) => {
            Err(format!("{name} is not defined yet, so nothing can be made of it"))
        }
    }
}

fn weak(sign: u8, a: Value, b: Value) -> Result<Value, String> {
    let (bits, register) = match sign {
        b'+' if !(a.register && b.register) => {
            (a.bits.wrapping_add(b.bits), a.register || b.register)
        }
        b'-' if a.register || !b.register => {
            (a.bits.wrapping_sub(b.bits), a.register && !b.register)
        }
        b'|' if !a.register && !b.register => (a.bits | b.bits, false),
        b'^' if !a.register && !b.register => (a.bits ^ b.bits, false),
        _ => return Err(format!("'{}' is not for registers", char::from(sign))),
    };
    Ok(Value { bits, register })
}

fn strong(sign: &[u8], a: u64, b: u64) -> Result<u64, String> {
    let by_zero = || "a division by zero".to_owned();
    let shift = u32::try_from(b).unwrap_or(u32::MAX);
    Ok(match sign {
        b"*" => a.wrapping_mul(b),
        b"/" => a.checked_div(b).ok_or_else(by_zero)?,
        b"%" => a.checked_rem(b).ok_or_else(by_zero)?,
        b"//" if a < b => u64::try_from((u128::from(a) << 64) / u128::from(b))
            .expect("the dividend is below the divisor"),
        b"//" => return Err("a fraction is not below one".into()),
        b"<<" => a.checked_shl(shift).unwrap_or(0),
        b">>" => a.checked_shr(shift).unwrap_or(0),
        _ => a & b,
    })
}
