//! Statements: labels, operations and pseudo-operations.

use super::encode::encode;
use super::expression::{Operand, Value, is_letter};
use super::{Assembler, Fixup, Form, PREFIX_MAX};
use crate::opcode::{NAMES, op};

/// Operations that are no instructions of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pseudo {
    Is,
    Loc,
    Prefix,
    /// Data of so many bytes.
    Data(u64),
    Greg,
    Local,
    Bspec,
    Espec,
}

const PSEUDO: &[(&str, Pseudo)] = &[
    ("IS", Pseudo::Is),
    ("LOC", Pseudo::Loc),
    ("PREFIX", Pseudo::Prefix),
    ("BYTE", Pseudo::Data(1)),
    ("WYDE", Pseudo::Data(2)),
    ("TETRA", Pseudo::Data(4)),
    ("OCTA", Pseudo::Data(8)),
    ("GREG", Pseudo::Greg),
    ("LOCAL", Pseudo::Local),
    ("BSPEC", Pseudo::Bspec),
    ("ESPEC", Pseudo::Espec),
];

/// What an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Opcode(u8),
    Set,
    Lda,
}

fn opcode_of(name: &[u8]) -> Option<Operation> {
    match name {
        b"SET" => return Some(Operation::Set),
        b"LDA" => return Some(Operation::Lda),
        _ => {}
    }
    let found = NAMES.iter().find(|(known, _)| known.as_bytes() == name);
    found.map(|(_, opcode)| Operation::Opcode(*opcode))
}

fn pseudo_of(name: &[u8]) -> Option<Pseudo> {
    PSEUDO.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, pseudo)| *pseudo)
}

/// Whether a word is an operation.
pub(super) fn is_opcode(word: &[u8]) -> bool {
    opcode_of(word).is_some() || pseudo_of(word).is_some()
}

/// The number in a line that a preprocessor has left: `# 13 "name"`.
pub(super) fn line_directive(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.strip_prefix("# ")?.split_whitespace();
    let number = words.next()?.parse().ok()?;
    words.next().is_some_and(|name| name.starts_with('"')).then_some(number)
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// Splits where a symbol or number ends.
fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !is_letter(*byte) && !byte.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// Splits where the operands end: at a space or semicolon that is not quoted.
fn split_operands(text: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at += text[at + 1..].iter().position(|byte| *byte == b'"').unwrap_or(0) + 1,
            b'\'' if text.get(at + 2) == Some(&b'\'') => at += 2,
            b';' => break,
            _ if byte.is_ascii_whitespace() => break,
            _ => {}
        }
        at += 1;
    }
    text.split_at(at.min(text.len()))
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

impl Assembler {
    /// Assembles the first statement of a text, and gives what follows it after a semicolon.
    pub(super) fn statement<'a>(&mut self, text: &'a [u8]) -> Result<Option<&'a [u8]>, String> {
        let (label, rest) = split_word(text);
        match rest.first() {
            // A line that begins with something else is a comment.
            Some(byte) if !byte.is_ascii_whitespace() => {
                if label.is_empty() {
                    return Ok(None);
                }
                let byte = char::from(*byte);
                return Err(format!("the label {} ends with '{byte}'", latin(label)));
            }
            _ => {}
        }
        let (name, rest) = split_word(skip_spaces(rest));
        let label = latin(label);
        if name.is_empty() {
            return if label.is_empty() {
                Ok(None)
            } else {
                Err(format!("no operation follows the label {label}"))
            };
        }
        if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace() && *byte != b';') {
            return Err(format!("the operation {} is not followed by a space", latin(name)));
        }
        let local = label.len() == 2 && label.ends_with('H');
        if label.starts_with(|first: char| first.is_ascii_digit()) && !local {
            return Err(format!("{label} is neither a symbol nor a local label such as 2H"));
        }
        let rest = skip_spaces(rest);
        let comment = rest.starts_with(b"%") || rest.starts_with(b"//");
        let (operands, rest) = if comment { rest.split_at(0) } else { split_operands(rest) };
        if let Some(pseudo) = pseudo_of(name) {
            self.pseudo(pseudo, &label, operands)?;
        } else if let Some(operation) = opcode_of(name) {
            self.instruction(operation, &label, operands)?;
        } else {
            return Err(format!("there is no operation {}", latin(name)));
        }
        Ok(skip_spaces(rest).strip_prefix(b";"))
    }

    /// The place of the next data of a size, which is its multiple.
    fn align(&mut self, size: u64) {
        self.loc = self.loc.wrapping_add(size - 1) & !(size - 1);
    }

    fn here(&self) -> Value {
        Value { bits: self.loc, register: false }
    }

    fn instruction(
        &mut self,
        operation: Operation,
        label: &str,
        operands: &[u8],
    ) -> Result<(), String> {
        if self.special.is_some() {
            return Err("an instruction cannot be among special data".into());
        }
        self.align(4);
        self.define(label, self.here())?;
        let operands = self.operands(operands)?;
        let at = self.loc;
        // What follows is found where it would be, even if this is wrong.
        self.loc = at.wrapping_add(4);
        let (word, future) = encode(self, operation, &operands, at)?;
        self.program.add(at, word);
        if let Some(name) = future {
            let far = operation == Operation::Opcode(op::JMP);
            let form = if far { Form::Far } else { Form::Near };
            self.wait_for(name, at, form);
        }
        Ok(())
    }

    fn wait_for(&mut self, name: String, at: u64, form: Form) {
        let fixup = Fixup { at, line: self.line, form };
        match super::digit_of(&name) {
            Some(digit) => self.ahead[digit].push(fixup),
            None => self.future.entry(name).or_default().push(fixup),
        }
    }

    /// The only operand, which is known.
    fn single(&self, text: &[u8]) -> Result<Value, String> {
        match self.operands(text)?.as_slice() {
            [Operand::Known(value)] => Ok(*value),
            [Operand::Future(name)] => Err(format!("{name} is not defined yet")),
            _ => Err("one operand is wanted".into()),
        }
    }

    fn pseudo(&mut self, pseudo: Pseudo, label: &str, text: &[u8]) -> Result<(), String> {
        let bare = matches!(pseudo, Pseudo::Prefix | Pseudo::Local | Pseudo::Bspec | Pseudo::Espec);
        if bare && !label.is_empty() {
            return Err(format!("the label {label} has no meaning here"));
        }
        match pseudo {
            Pseudo::Is => {
                let value = self.single(text)?;
                self.define(label, value)
            }
            Pseudo::Loc => {
                let value = self.single(text)?;
                if value.register {
                    return Err("a register is no location".into());
                }
                if self.special.is_some() {
                    return Err("the location cannot change among special data".into());
                }
                self.define(label, self.here())?;
                self.loc = value.bits;
                Ok(())
            }
            Pseudo::Prefix => {
                let (name, rest) = split_word(text);
                if !rest.is_empty() || !name.first().is_some_and(|byte| is_letter(*byte)) {
                    return Err("a prefix is a symbol".into());
                }
                let prefix = self.qualified(&latin(name));
                if prefix.len() > PREFIX_MAX {
                    return Err(format!("the prefix has more than {PREFIX_MAX} characters"));
                }
                self.prefix = prefix;
                Ok(())
            }
            Pseudo::Data(size) => self.data(size, label, text),
            Pseudo::Greg => self.greg(label, text),
            Pseudo::Local => {
                let value = self.single(text)?;
                if !value.register {
                    return Err("LOCAL wants a register".into());
                }
                self.local_max = self.local_max.max(value.bits);
                Ok(())
            }
            Pseudo::Bspec => {
                let value = self.single(text)?;
                if value.register || value.bits > 0xffff || self.special.is_some() {
                    return Err("BSPEC wants a number of two bytes, once".into());
                }
                self.special = Some(self.loc);
                Ok(())
            }
            Pseudo::Espec => {
                self.loc = self.special.take().ok_or("ESPEC without BSPEC")?;
                Ok(())
            }
        }
    }

    fn data(&mut self, size: u64, label: &str, text: &[u8]) -> Result<(), String> {
        self.align(size);
        self.define(label, self.here())?;
        for operand in self.operands(text)? {
            let at = self.loc;
            self.loc = at.wrapping_add(size);
            match operand {
                Operand::Known(Value { register: true, .. }) => {
                    return Err("a register is no datum".into());
                }
                Operand::Known(Value { bits, .. }) => {
                    // What does not fit is cut, as negative numbers are.
                    let bytes = bits.to_be_bytes();
                    let first = 8 - usize::try_from(size).expect("at most eight");
                    if self.special.is_none() {
                        for (nth, byte) in (0..).zip(&bytes[first..]) {
                            self.put_byte(at.wrapping_add(nth), *byte);
                        }
                    }
                }
                Operand::Future(name) if size == 8 => {
                    if self.special.is_none() {
                        self.wait_for(name, at, Form::Octa);
                    }
                }
                Operand::Future(name) => return Err(format!("{name} is not defined yet")),
            }
        }
        Ok(())
    }

    fn greg(&mut self, label: &str, text: &[u8]) -> Result<(), String> {
        let value = self.single(text)?;
        if value.register {
            return Err("a global register begins with a number".into());
        }
        let same = |known: &u64| *known == value.bits && value.bits != 0;
        let place = match self.globals.iter().position(same) {
            Some(place) => place,
            None => {
                if self.globals.len() >= 255 - 32 {
                    return Err("there are too many global registers".into());
                }
                self.globals.push(value.bits);
                self.globals.len() - 1
            }
        };
        self.define(label, Value { bits: 254 - place as u64, register: true })
    }
}
