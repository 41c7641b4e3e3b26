//! The table of opcodes, their decoding, and those that neither read nor print.

use crate::fault::Fault;
use crate::machine::Vm;
use crate::objects::Link;
use crate::ops_io as io;

/// The operands of an instruction.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Args {
    values: [u16; 8],
    count: usize,
}

impl Args {
    /// An operand that must be there.
    pub(crate) fn get(&self, at: usize) -> Result<u16, Fault> {
        self.option(at).ok_or(Fault::Operand)
    }

    /// An operand that may be there.
    pub(crate) fn option(&self, at: usize) -> Option<u16> {
        self.values[..self.count].get(at).copied()
    }

    /// An operand that is zero where it is not there.
    pub(crate) fn or_zero(&self, at: usize) -> u16 {
        self.option(at).unwrap_or(0)
    }

    /// The operands after the first.
    pub(crate) fn rest(&self) -> &[u16] {
        self.values[..self.count].get(1..).unwrap_or(&[])
    }

    fn signed(&self, at: usize) -> Result<i16, Fault> {
        self.get(at).map(u16::cast_signed)
    }

    fn add(&mut self, value: u16) {
        self.values[self.count] = value;
        self.count += 1;
    }
}

/// What an opcode does.
pub(crate) type Run = fn(&mut Vm, &Args) -> Result<(), Fault>;

/// One opcode, of some versions.
#[derive(Debug)]
pub(crate) struct Row {
    /// The number within its class, and the class above it.
    code: usize,
    first: u8,
    last: u8,
    pub(crate) run: Run,
}

const TWO: usize = 0;
const ONE: usize = 32;
const NONE: usize = 48;
const VAR: usize = 64;
const EXT: usize = 96;
const CODES: usize = 128;

macro_rules! opcodes {
    ($( $class:ident $code:literal, $first:literal ..= $last:literal, $run:expr; )*) => {
        &[$( Row { code: $class + $code, first: $first, last: $last, run: $run } ),*]
    };
}

#[rustfmt::skip] // One row a line, in the order of the Standard, section 14.
const ROWS: &[Row] = opcodes! {
    TWO 0x01, 1..=8, je;
    TWO 0x02, 1..=8, |vm, a| vm.branch(a.signed(0)? < a.signed(1)?);
    TWO 0x03, 1..=8, |vm, a| vm.branch(a.signed(0)? > a.signed(1)?);
    TWO 0x04, 1..=8, dec_chk;
    TWO 0x05, 1..=8, inc_chk;
    TWO 0x06, 1..=8, jin;
    TWO 0x07, 1..=8, |vm, a| vm.branch(a.get(0)? & a.get(1)? == a.get(1)?);
    TWO 0x08, 1..=8, |vm, a| vm.store_result(a.get(0)? | a.get(1)?);
    TWO 0x09, 1..=8, |vm, a| vm.store_result(a.get(0)? & a.get(1)?);
    TWO 0x0a, 1..=8, test_attr;
    TWO 0x0b, 1..=8, |vm, a| vm.set_attribute(a.get(0)?, a.get(1)?, true);
    TWO 0x0c, 1..=8, |vm, a| vm.set_attribute(a.get(0)?, a.get(1)?, false);
    TWO 0x0d, 1..=8, |vm, a| vm.set_indirect(a.get(0)?, a.get(1)?);
    TWO 0x0e, 1..=8, |vm, a| vm.insert(a.get(0)?, a.get(1)?);
    TWO 0x0f, 1..=8, loadw;
    TWO 0x10, 1..=8, loadb;
    TWO 0x11, 1..=8, get_prop;
    TWO 0x12, 1..=8, get_prop_addr;
    TWO 0x13, 1..=8, get_next_prop;
    TWO 0x14, 1..=8, |vm, a| vm.store_result(a.get(0)?.wrapping_add(a.get(1)?));
    TWO 0x15, 1..=8, |vm, a| vm.store_result(a.get(0)?.wrapping_sub(a.get(1)?));
    TWO 0x16, 1..=8, |vm, a| vm.store_result(a.get(0)?.wrapping_mul(a.get(1)?));
    TWO 0x17, 1..=8, div;
    TWO 0x18, 1..=8, modulo;
    TWO 0x19, 4..=8, |vm, a| vm.call_with(a, true);
    TWO 0x1a, 5..=8, |vm, a| vm.call_with(a, false);
    TWO 0x1b, 5..=8, |_, _| Ok(());
    TWO 0x1c, 5..=8, |vm, a| vm.throw(a.get(0)?, a.get(1)?);
    ONE 0x00, 1..=8, |vm, a| vm.branch(a.get(0)? == 0);
    ONE 0x01, 1..=8, |vm, a| follow(vm, a, Link::Sibling);
    ONE 0x02, 1..=8, |vm, a| follow(vm, a, Link::Child);
    ONE 0x03, 1..=8, get_parent;
    ONE 0x04, 1..=8, get_prop_len;
    ONE 0x05, 1..=8, |vm, a| add_to(vm, a, 1).map(|_| ());
    ONE 0x06, 1..=8, |vm, a| add_to(vm, a, -1).map(|_| ());
    ONE 0x07, 1..=8, |vm, a| vm.print_text(a.get(0)?.into()).map(|_| ());
    ONE 0x08, 4..=8, |vm, a| vm.call_with(a, true);
    ONE 0x09, 1..=8, |vm, a| vm.remove(a.get(0)?);
    ONE 0x0a, 1..=8, |vm, a| vm.print_name(a.get(0)?);
    ONE 0x0b, 1..=8, |vm, a| vm.ret(a.get(0)?);
    ONE 0x0c, 1..=8, |vm, a| vm.jump(a.signed(0)?.into());
    ONE 0x0d, 1..=8, io::print_paddr;
    ONE 0x0e, 1..=8, load;
    ONE 0x0f, 1..=4, |vm, a| vm.store_result(!a.get(0)?);
    ONE 0x0f, 5..=8, |vm, a| vm.call_with(a, false);
    NONE 0x00, 1..=8, |vm, _| vm.ret(1);
    NONE 0x01, 1..=8, |vm, _| vm.ret(0);
    NONE 0x02, 1..=8, |vm, _| io::print(vm);
    NONE 0x03, 1..=8, io::print_ret;
    NONE 0x04, 1..=8, |_, _| Ok(());
    NONE 0x05, 1..=4, |vm, a| vm.begin_file(true, a);
    NONE 0x06, 1..=4, |vm, a| vm.begin_file(false, a);
    NONE 0x07, 1..=8, |vm, _| vm.restart();
    NONE 0x08, 1..=8, ret_popped;
    NONE 0x09, 1..=4, |vm, _| vm.pop().map(|_| ());
    NONE 0x09, 5..=8, catch;
    NONE 0x0a, 1..=8, |vm, _| { vm.quit(); Ok(()) };
    NONE 0x0b, 1..=8, |vm, _| vm.print_zscii(13);
    NONE 0x0c, 3..=3, |vm, _| vm.show_status();
    // One story of version 5 holds it by mistake, so later versions pass over it.
    NONE 0x0c, 4..=8, |_, _| Ok(());
    NONE 0x0d, 3..=8, |vm, _| vm.branch(vm.story.verified);
    NONE 0x0f, 5..=8, |vm, _| vm.branch(true);
    VAR 0x00, 1..=8, |vm, a| vm.call_with(a, true);
    VAR 0x01, 1..=8, storew;
    VAR 0x02, 1..=8, storeb;
    VAR 0x03, 1..=8, |vm, a| vm.set_property(a.get(0)?, a.get(1)?, a.get(2)?);
    VAR 0x04, 1..=8, |vm, a| vm.begin_line(a);
    VAR 0x05, 1..=8, |vm, a| vm.print_zscii(a.get(0)?);
    VAR 0x06, 1..=8, |vm, a| vm.print_str(&a.signed(0)?.to_string());
    VAR 0x07, 1..=8, random;
    VAR 0x08, 1..=8, |vm, a| vm.push(a.get(0)?);
    VAR 0x09, 1..=8, pull;
    VAR 0x0a, 3..=8, |vm, a| vm.split_window(a.get(0)?);
    VAR 0x0b, 3..=8, |vm, a| vm.set_window(a.get(0)?);
    VAR 0x0c, 4..=8, |vm, a| vm.call_with(a, true);
    VAR 0x0d, 4..=8, |vm, a| vm.erase_window(a.signed(0)?);
    VAR 0x0e, 4..=8, |vm, a| vm.erase_line(a.get(0)?);
    VAR 0x0f, 4..=8, |vm, a| vm.set_cursor(a.get(0)?, a.or_zero(1));
    VAR 0x10, 4..=8, io::get_cursor;
    VAR 0x11, 4..=8, |vm, a| vm.set_style(a.get(0)?);
    VAR 0x12, 4..=8, |vm, a| vm.set_buffered(a.get(0)? != 0);
    VAR 0x13, 3..=8, io::output_stream;
    VAR 0x14, 3..=8, |_, _| Ok(());
    VAR 0x15, 3..=8, |_, _| Ok(());
    VAR 0x16, 4..=8, |vm, a| vm.begin_key(a);
    VAR 0x17, 4..=8, scan_table;
    VAR 0x18, 5..=8, |vm, a| vm.store_result(!a.get(0)?);
    VAR 0x19, 5..=8, |vm, a| vm.call_with(a, false);
    VAR 0x1a, 5..=8, |vm, a| vm.call_with(a, false);
    VAR 0x1b, 5..=8, tokenise;
    VAR 0x1c, 5..=8, encode_text;
    VAR 0x1d, 5..=8, copy_table;
    VAR 0x1e, 5..=8, io::print_table;
    VAR 0x1f, 5..=8, |vm, a| vm.branch(a.get(0)? <= vm.cpu.args.into());
    EXT 0x00, 5..=8, |vm, a| vm.begin_file(true, a);
    EXT 0x01, 5..=8, |vm, a| vm.begin_file(false, a);
    EXT 0x02, 5..=8, log_shift;
    EXT 0x03, 5..=8, art_shift;
    EXT 0x04, 5..=8, io::set_font;
    EXT 0x09, 5..=8, save_undo;
    EXT 0x0a, 5..=8, restore_undo;
    EXT 0x0b, 5..=8, |vm, a| vm.print_unicode(a.get(0)?);
    EXT 0x0c, 5..=8, io::check_unicode;
    EXT 0x0d, 5..=8, |_, _| Ok(());
};

/// The opcodes of one version, by class and number.
pub(crate) struct Table([Option<&'static Row>; CODES]);

impl Table {
    /// The table of a version.
    pub(crate) fn of(version: u8) -> Self {
        let mut table = [None; CODES];
        for row in ROWS.iter().filter(|row| (row.first..=row.last).contains(&version)) {
            table[row.code] = Some(row);
        }
        Self(table)
    }
}

impl Vm {
    /// Reads an instruction and its operands; the counter is left at its store, branch or text.
    #[inline]
    pub(crate) fn decode(&mut self) -> Result<(&'static Row, Args), Fault> {
        let opcode = self.fetch()?;
        let mut args = Args::default();
        let code = match opcode {
            0xbe if self.story.version >= 5 => {
                let number = self.fetch()?;
                self.operands(&mut args, 1)?;
                EXT + usize::from(number)
            }
            0xe0.. => {
                // Two calls may have eight operands, and so two bytes of types.
                let bytes = if matches!(opcode, 0xec | 0xfa) { 2 } else { 1 };
                self.operands(&mut args, bytes)?;
                VAR + usize::from(opcode & 0x1f)
            }
            0xc0.. => {
                self.operands(&mut args, 1)?;
                TWO + usize::from(opcode & 0x1f)
            }
            0xb0.. => NONE + usize::from(opcode & 0x0f),
            0x80.. => {
                self.operand(&mut args, opcode >> 4 & 3)?;
                ONE + usize::from(opcode & 0x0f)
            }
            _ => {
                self.operand(&mut args, if opcode & 0x40 != 0 { 2 } else { 1 })?;
                self.operand(&mut args, if opcode & 0x20 != 0 { 2 } else { 1 })?;
                TWO + usize::from(opcode & 0x1f)
            }
        };
        let row = self.table.0.get(code).copied().flatten();
        row.map(|row| (row, args)).ok_or(Fault::Opcode(opcode.into(), self.story.version))
    }

    fn operands(&mut self, args: &mut Args, bytes: usize) -> Result<(), Fault> {
        let mut types = [0xff; 2];
        for slot in &mut types[..bytes] {
            *slot = self.fetch()?;
        }
        let types = u16::from_be_bytes(types);
        for shift in (0..16).step_by(2).rev() {
            let kind = (types >> shift).to_le_bytes()[0] & 3;
            if kind == 3 {
                break;
            }
            self.operand(args, kind)?;
        }
        Ok(())
    }

    #[inline]
    fn operand(&mut self, args: &mut Args, kind: u8) -> Result<(), Fault> {
        let value = match kind {
            0 => self.fetch_word()?,
            1 => self.fetch()?.into(),
            _ => {
                let variable = self.fetch()?;
                self.variable(variable)?
            }
        };
        args.add(value);
        Ok(())
    }

    /// Draws from the generator: the linear congruential one that other interpreters use too,
    /// so that a seed means the same there and here.
    fn draw(&mut self) -> u16 {
        self.cpu.random = self.cpu.random.wrapping_mul(0x015a_4e35).wrapping_add(1);
        let [_, _, low, high, ..] = self.cpu.random.to_le_bytes();
        u16::from_le_bytes([low, high]) & 0x7fff
    }
}

fn je(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let value = args.get(0)?;
    vm.branch(args.rest().contains(&value))
}

fn add_to(vm: &mut Vm, args: &Args, step: i16) -> Result<i16, Fault> {
    let variable = args.get(0)?;
    let value = vm.indirect(variable)?.wrapping_add_signed(step);
    vm.set_indirect(variable, value)?;
    Ok(value.cast_signed())
}

fn dec_chk(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let value = add_to(vm, args, -1)?;
    vm.branch(value < args.signed(1)?)
}

fn inc_chk(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let value = add_to(vm, args, 1)?;
    vm.branch(value > args.signed(1)?)
}

fn load(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let value = vm.indirect(args.get(0)?)?;
    vm.store_result(value)
}

fn pull(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let value = vm.pop()?;
    vm.set_indirect(args.get(0)?, value)
}

fn ret_popped(vm: &mut Vm, _args: &Args) -> Result<(), Fault> {
    let value = vm.pop()?;
    vm.ret(value)
}

fn catch(vm: &mut Vm, _args: &Args) -> Result<(), Fault> {
    let depth = u16::try_from(vm.cpu.depth).map_err(|_| Fault::Frame)?;
    vm.store_result(depth)
}

fn div(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let (value, by) = (args.signed(0)?, args.signed(1)?);
    if by == 0 {
        return Err(Fault::DivideByZero);
    }
    vm.store_result(value.wrapping_div(by).cast_unsigned())
}

fn modulo(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let (value, by) = (args.signed(0)?, args.signed(1)?);
    if by == 0 {
        return Err(Fault::DivideByZero);
    }
    vm.store_result(value.wrapping_rem(by).cast_unsigned())
}

fn log_shift(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let (value, places) = (args.get(0)?, args.signed(1)?);
    let by = u32::from(places.unsigned_abs());
    let shifted = if places < 0 { value.checked_shr(by) } else { value.checked_shl(by) };
    vm.store_result(shifted.unwrap_or(0))
}

fn art_shift(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let (value, places) = (args.signed(0)?, args.signed(1)?);
    let by = u32::from(places.unsigned_abs());
    let shifted = if places < 0 { value >> by.min(15) } else { value.checked_shl(by).unwrap_or(0) };
    vm.store_result(shifted.cast_unsigned())
}

fn random(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let range = args.signed(0)?;
    if range > 0 {
        let drawn = if vm.cpu.interval == 0 {
            vm.draw()
        } else {
            let count = vm.cpu.counter;
            vm.cpu.counter = (count + 1) % vm.cpu.interval;
            count
        };
        return vm.store_result(drawn % range.unsigned_abs() + 1);
    }
    let seed = range.unsigned_abs();
    match seed {
        // Random again, from what the generator has become.
        0 => {
            vm.cpu.interval = 0;
            vm.cpu.random = vm.cpu.random.rotate_left(16) ^ vm.spec.seed;
        }
        1..1000 => (vm.cpu.interval, vm.cpu.counter) = (seed, 0),
        _ => (vm.cpu.interval, vm.cpu.random) = (0, seed.into()),
    }
    vm.store_result(0)
}

fn loadw(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let at = args.get(0)?.wrapping_add(args.get(1)?.wrapping_mul(2));
    let value = vm.word(at.into())?;
    vm.store_result(value)
}

fn loadb(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let at = args.get(0)?.wrapping_add(args.get(1)?);
    let value = vm.byte(at.into())?;
    vm.store_result(value.into())
}

fn storew(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let at = args.get(0)?.wrapping_add(args.get(1)?.wrapping_mul(2));
    vm.set_word(at.into(), args.get(2)?)
}

fn storeb(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let at = args.get(0)?.wrapping_add(args.get(1)?);
    vm.set_byte(at.into(), args.get(2)?.to_le_bytes()[0])
}

fn jin(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let parent = vm.link(args.get(0)?, Link::Parent)?;
    vm.branch(parent == args.get(1)?)
}

fn test_attr(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let has = vm.attribute(args.get(0)?, args.get(1)?)?;
    vm.branch(has)
}

fn follow(vm: &mut Vm, args: &Args, link: Link) -> Result<(), Fault> {
    let to = vm.link(args.get(0)?, link)?;
    vm.store_result(to)?;
    vm.branch(to != 0)
}

fn get_parent(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let parent = vm.link(args.get(0)?, Link::Parent)?;
    vm.store_result(parent)
}

fn get_prop(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let value = vm.property(args.get(0)?, args.get(1)?)?;
    vm.store_result(value)
}

fn get_prop_addr(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let at = vm.property_at(args.get(0)?, args.get(1)?)?;
    vm.store_result(at)
}

fn get_next_prop(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let number = vm.next_property(args.get(0)?, args.get(1)?)?;
    vm.store_result(number)
}

fn get_prop_len(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let size = vm.property_size(args.get(0)?)?;
    vm.store_result(size)
}

fn scan_table(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let (wanted, mut at, count) = (args.get(0)?, args.get(1)?, args.get(2)?);
    let form = args.option(3).unwrap_or(0x82);
    let mut found = 0;
    for _ in 0..count {
        let here = u32::from(at);
        let value = if form & 0x80 != 0 { vm.word(here)? } else { vm.byte(here)?.into() };
        if value == wanted {
            found = at;
            break;
        }
        at = at.wrapping_add(form & 0x7f);
    }
    vm.store_result(found)?;
    vm.branch(found != 0)
}

fn tokenise(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let dictionary = match args.or_zero(2) {
        0 => vm.story.dictionary,
        given => given.into(),
    };
    vm.tokenise(args.get(0)?, args.get(1)?, dictionary, args.or_zero(3) != 0)
}

fn encode_text(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let start = u32::from(args.get(0)?) + u32::from(args.get(2)?);
    let count = u32::from(args.get(1)?).min(9);
    let word: Vec<u8> = (0..count).map(|at| vm.byte(start + at)).collect::<Result<_, _>>()?;
    let packed = vm.encode(&word)?;
    for (at, word) in (0..).zip(packed) {
        vm.set_word(u32::from(args.get(3)?) + 2 * at, word)?;
    }
    Ok(())
}

fn copy_table(vm: &mut Vm, args: &Args) -> Result<(), Fault> {
    let (from, to) = (u32::from(args.get(0)?), u32::from(args.get(1)?));
    let size = args.signed(2)?;
    let count = u32::from(size.unsigned_abs());
    for at in 0..count {
        // A negative size copies forwards even where the tables overlap.
        let at = if size < 0 || to < from || to == 0 { at } else { count - 1 - at };
        let byte = vm.byte(from + at)?;
        if to == 0 {
            vm.set_byte(from + at, 0)?;
        } else {
            vm.set_byte(to + at, byte)?;
        }
    }
    Ok(())
}

fn save_undo(vm: &mut Vm, _args: &Args) -> Result<(), Fault> {
    let saved = vm.save_undo()?;
    let none = vm.undo_levels == 0;
    vm.store_result(if none { u16::MAX } else { saved.into() })
}

fn restore_undo(vm: &mut Vm, _args: &Args) -> Result<(), Fault> {
    let restored = vm.restore_undo()?;
    vm.store_result(if restored { 2 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::story_machine;

    const RESULT: u8 = 20;

    /// Runs an opcode whose value goes to a variable.
    fn value(run: Run, args: &[u16]) -> Result<u16, Fault> {
        let mut vm = story_machine();
        vm.cpu.pc = 0x400;
        vm.set_byte(0x400, RESULT)?;
        let mut operands = Args::default();
        args.iter().for_each(|arg| operands.add(*arg));
        run(&mut vm, &operands)?;
        vm.variable(RESULT)
    }

    #[test]
    fn division_truncates_towards_zero_and_by_zero_is_a_fault() {
        let minus = |value: i16| value.cast_unsigned();
        assert_eq!(value(div, &[minus(-11), 2]), Ok(minus(-5)));
        assert_eq!(value(modulo, &[minus(-13), minus(-5)]), Ok(minus(-3)));
        assert_eq!(value(modulo, &[13, minus(-5)]), Ok(3));
        assert_eq!(value(div, &[minus(i16::MIN), minus(-1)]), Ok(minus(i16::MIN)));
        assert_eq!(value(div, &[1, 0]), Err(Fault::DivideByZero));
        assert_eq!(value(modulo, &[1, 0]), Err(Fault::DivideByZero));
    }

    #[test]
    fn shifts_of_any_distance_have_a_meaning() {
        let minus = |value: i16| value.cast_unsigned();
        assert_eq!(value(art_shift, &[minus(-8), minus(-2)]), Ok(minus(-2)));
        assert_eq!(value(art_shift, &[minus(-8), minus(-100)]), Ok(minus(-1)));
        assert_eq!(value(log_shift, &[0x8000, minus(-15)]), Ok(1));
        assert_eq!(value(log_shift, &[1, 16]), Ok(0));
        assert_eq!(value(log_shift, &[1, minus(i16::MIN)]), Ok(0));
    }

    #[test]
    fn tables_that_overlap_are_copied_whole_unless_the_size_is_negative() {
        for (to, size, expected) in [
            (0x504, 8, [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7]),
            (0x4fc, 8, [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]),
            (0x504, -8, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]),
        ] {
            let mut vm = story_machine();
            for at in 0..8 {
                vm.set_byte(0x500 + u32::from(at), at).expect("dynamic memory");
            }
            let mut args = Args::default();
            [0x500, to, i16::cast_unsigned(size)].into_iter().for_each(|arg| args.add(arg));
            copy_table(&mut vm, &args).expect("dynamic memory");
            let start = u32::from(to.min(0x500));
            let got: Vec<u8> = (0..12).map(|at| vm.byte(start + at).expect("in it")).collect();
            assert_eq!(got, expected, "to {to:#x}, size {size}");
        }
    }

    #[test]
    fn a_small_seed_counts_and_a_large_one_repeats() {
        let mut vm = story_machine();
        vm.cpu.pc = 0x400;
        let mut draw = |argument: i16| {
            vm.cpu.pc = 0x400;
            vm.set_byte(0x400, RESULT)?;
            let mut args = Args::default();
            args.add(argument.cast_unsigned());
            random(&mut vm, &args)?;
            vm.variable(RESULT)
        };
        assert_eq!([-3, 10, 10, 10, 10].map(&mut draw), [Ok(0), Ok(1), Ok(2), Ok(3), Ok(1)]);
        let first = [-1000, 100, 100, 100].map(&mut draw);
        assert_eq!([-1000, 100, 100, 100].map(&mut draw), first);
        assert!(first[1..].iter().all(|drawn| matches!(drawn, Ok(1..=100))));
    }
}
