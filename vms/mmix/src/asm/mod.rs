//! The assembler: MMIXAL.

mod encode;
mod expression;
mod names;
mod statement;

use crate::object::Program;
use expression::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Errors that are told, at most.
const ERRORS_MAX: usize = 20;

/// The same that are counted.
const ERRORS_KEPT_MAX: usize = 1000;

/// Characters of a prefix, at most: each symbol has a copy of it.
const PREFIX_MAX: usize = 255;

/// Bytes that a program is of, at most, to be known as one.
pub(crate) const TEXT_MAX: usize = 8 << 20;

/// What is wrong with a program, by lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Errors(Vec<String>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) = self.0.split_at(self.0.len().min(ERRORS_MAX));
        f.write_str(&shown.join("\n"))?;
        if rest.is_empty() { Ok(()) } else { write!(f, "\nand {} more errors", rest.len()) }
    }
}

/// What is put where once a symbol is known.
#[derive(Clone, Debug)]
struct Fixup {
    at: u64,
    line: usize,
    form: Form,
}

/// How a future value is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Octa,
    /// A relative address of 16 bits.
    Near,
    /// A relative address of 24 bits.
    Far,
}

/// A symbol that has a value.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    value: Value,
    /// It came with the assembler, and may be defined anew, once.
    predefined: bool,
    /// The number that `&` gives.
    serial: u64,
}

/// An assembly under way.
struct Assembler {
    program: Program,
    loc: u64,
    prefix: String,
    symbols: HashMap<String, Symbol>,
    serials: u64,
    /// The last label of each digit.
    back: [Option<Value>; 10],
    future: BTreeMap<String, Vec<Fixup>>,
    ahead: [Vec<Fixup>; 10],
    /// Values of global registers, from $254 downward.
    globals: Vec<u64>,
    /// The greatest register that is to be local.
    local_max: u64,
    /// Where assembly goes on after special data, while it is in them.
    special: Option<u64>,
    line: usize,
    errors: Vec<String>,
}

/// Assembles a program.
pub(crate) fn assemble(text: &[u8]) -> Result<Program, Errors> {
    let mut asm = Assembler {
        program: Program::default(),
        loc: 0,
        prefix: ":".into(),
        symbols: names::predefined(),
        serials: 1,
        back: [None; 10],
        future: BTreeMap::new(),
        ahead: Default::default(),
        globals: Vec::new(),
        local_max: 31,
        special: None,
        line: 0,
        errors: Vec::new(),
    };
    for line in text.split(|byte| *byte == b'\n') {
        asm.line = asm.line.saturating_add(1);
        asm.run_line(line.strip_suffix(b"\r").unwrap_or(line));
    }
    asm.finish()
}

/// Whether text looks like a program: it is text, and `Main` is the label of an instruction.
pub(crate) fn is_program(text: &[u8]) -> bool {
    if text.len() > TEXT_MAX || text.contains(&0) {
        return false;
    }
    text.split(|byte| *byte == b'\n').any(|line| {
        let rest = line.strip_prefix(b":").unwrap_or(line);
        let Some(rest) = rest.strip_prefix(b"Main") else { return false };
        let mut words = rest.split(u8::is_ascii_whitespace);
        let opcode = words.next().filter(|first| first.is_empty());
        let opcode = opcode.and_then(|_| words.find(|word| !word.is_empty()));
        opcode.is_some_and(statement::is_opcode)
    })
}

impl Assembler {
    fn error(&mut self, line: usize, why: impl fmt::Display) {
        if self.errors.len() < ERRORS_KEPT_MAX {
            self.errors.push(format!("line {line}: {why}"));
        }
    }

    fn run_line(&mut self, line: &[u8]) {
        if let Some(number) = statement::line_directive(line) {
            // The line after it has this number.
            self.line = number.saturating_sub(1);
            return;
        }
        let mut rest = line;
        loop {
            match self.statement(rest) {
                Ok(Some(more)) => rest = more,
                Ok(None) => return,
                Err(why) => return self.error(self.line, why),
            }
        }
    }

    fn finish(mut self) -> Result<Program, Errors> {
        if self.special.is_some() {
            self.error(self.line, "special data do not end: ESPEC is missing");
        }
        let mut missing: Vec<(usize, String)> = Vec::new();
        for (name, uses) in &self.future {
            let text = format!("the symbol {name} is not defined");
            missing.extend(uses.first().map(|first| (first.line, text)));
        }
        for (digit, uses) in self.ahead.iter().enumerate() {
            let text = format!("no label {digit}H follows");
            missing.extend(uses.first().map(|first| (first.line, text)));
        }
        missing.sort();
        for (line, text) in missing {
            self.error(line, text);
        }
        let main = self.symbols.get(":Main").map(|symbol| symbol.value);
        match main {
            Some(Value { bits, register: false }) => {
                self.program.globals = self.globals.iter().rev().copied().collect();
                self.program.globals.push(bits);
            }
            _ => self.error(self.line, "the program has no label Main, where it would begin"),
        }
        let global = 255 - self.globals.len() as u64;
        if self.local_max >= global {
            let text = format!("${} is to be local, but ${global} is global", self.local_max);
            self.error(self.line, text);
        }
        if self.errors.is_empty() { Ok(self.program) } else { Err(Errors(self.errors)) }
    }

    /// The full name of a symbol.
    fn qualified(&self, name: &str) -> String {
        if name.starts_with(':') { name.into() } else { format!("{}{name}", self.prefix) }
    }

    /// Gives a label its value, and all that waited for it.
    fn define(&mut self, label: &str, value: Value) -> Result<(), String> {
        if label.is_empty() {
            return Ok(());
        }
        if value.register && value.bits > 255 {
            return Err(format!("there is no register ${}", value.bits));
        }
        let fixups = if let Some(digit) = label.strip_suffix('H').and_then(digit_of) {
            self.back[digit] = Some(value);
            std::mem::take(&mut self.ahead[digit])
        } else {
            let name = self.qualified(label);
            if self.symbols.get(&name).is_some_and(|symbol| !symbol.predefined) {
                return Err(format!("the symbol {label} is defined already"));
            }
            let serial = if name == ":Main" { 1 } else { self.serials + 1 };
            self.serials = self.serials.max(serial);
            let fixups = self.future.remove(&name).unwrap_or_default();
            self.symbols.insert(name, Symbol { value, predefined: false, serial });
            fixups
        };
        for fixup in fixups {
            if let Err(why) = self.fix(&fixup, value) {
                self.error(fixup.line, format!("{label}: {why}"));
            }
        }
        Ok(())
    }

    fn fix(&mut self, fixup: &Fixup, value: Value) -> Result<(), String> {
        if value.register {
            return Err("a register is no address".into());
        }
        match fixup.form {
            Form::Octa => self.put_octa(fixup.at, value.bits),
            Form::Near | Form::Far => {
                let bits = if fixup.form == Form::Near { 16 } else { 24 };
                let relative = encode::relative(fixup.at, value.bits, bits)?;
                self.program.add(fixup.at, relative);
            }
        }
        Ok(())
    }

    fn put_octa(&mut self, at: u64, value: u64) {
        for (nth, byte) in (0..).zip(value.to_be_bytes()) {
            self.put_byte(at.wrapping_add(nth), byte);
        }
    }

    fn put_byte(&mut self, at: u64, byte: u8) {
        let shift = 24 - 8 * (at % 4);
        self.program.add(at, u32::from(byte) << shift);
    }
}

/// A local label's digit.
fn digit_of(text: &str) -> Option<usize> {
    let digit = text.parse::<usize>().ok()?;
    (text.len() == 1).then_some(digit)
}

#[cfg(test)]
mod tests;
