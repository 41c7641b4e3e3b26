//! The front-end: operands of an instruction, and what its row makes of them, as IR.
//!
//! Code is found at the address of the instruction with a tag above it. Tags other than zero name
//! what is done there in its stead: the header of a function is an instruction that makes its
//! frame, and a place that a call returns to with a result is one that stores it.

use crate::fault::Fault;
use crate::isa::{Form, Row, row};
use omni_engine::{Code, Flow, Frontend, HotSlots, Mode, NanRule, RegSlot};
use omni_ir::{Binary, Builder, Cond, Helper, Size, Slot, Unary, Val, Width};
use std::collections::BTreeMap;

/// The slots of the register file.
pub(crate) mod slot {
    use omni_ir::Slot;

    /// Where the next value is pushed.
    pub(crate) const SP: Slot = Slot(0);
    /// The frame of the function that runs.
    pub(crate) const FP: Slot = Slot(1);
    /// Its locals.
    pub(crate) const LOCALS: Slot = Slot(2);
    /// The first value on the stack above them.
    pub(crate) const VALUES: Slot = Slot(3);
    /// Arguments on their way from here on.
    pub(crate) const ARGS: u8 = 4;
    /// How many there can be.
    pub(crate) const ARGS_MAX: u8 = 8;
    /// The result on its way.
    pub(crate) const RESULT: Slot = Slot(12);
    /// The address where it goes, or the bit of a string to go on with.
    pub(crate) const DEST: Slot = Slot(13);
    /// Not used by the instructions of this machine, but every front-end has them.
    pub(crate) const FLAGS: Slot = Slot(14);
    /// As `FLAGS`.
    pub(crate) const RESERVATION: Slot = Slot(15);
}

/// Where the stack begins in the engine's addresses.
pub(crate) const STACK_AT: u64 = 1 << 34;

/// Bits below the tag.
const TAG_SHIFT: u32 = 36;

/// How far addresses of one tag are from those of the next. Not a power of two, so that what is
/// done at one address with several tags has several places in tables that low bits lead into.
pub(crate) const TAG_STEP: u64 = (1 << TAG_SHIFT) + 0x7_b000;

/// The tag of an address, and the address without it.
pub(crate) fn untag(at: u64) -> (u64, u64) {
    let tag = at >> TAG_SHIFT;
    (tag, at.wrapping_sub(tag.wrapping_mul(TAG_STEP)))
}

/// What is done at an address, in the bits above it.
pub(crate) mod tag {
    /// The result goes to memory, a local, the stack: the sorts of destination of a call.
    pub(crate) const MEMORY: u64 = 1;
    pub(crate) const LOCAL: u64 = 2;
    pub(crate) const PUSH: u64 = 3;
    /// Printing goes on: a compressed string, code after a string, a number, other strings.
    pub(crate) const STRING: u64 = 0x10;
    pub(crate) const CODE: u64 = 0x11;
    pub(crate) const NUMBER: u64 = 0x12;
    pub(crate) const C_STRING: u64 = 0x13;
    pub(crate) const WIDE_STRING: u64 = 0x14;
    /// What no call left: all above are so too.
    pub(crate) const BAD: u64 = 0x1f;
    /// A function is entered with so many arguments.
    pub(crate) const ENTER: u64 = 0x20;
    /// The faults that are found before an instruction.
    pub(crate) const UNDERFLOW: u64 = 0x30;
    pub(crate) const DIVIDE: u64 = 0x31;
    /// Returns zero, or one.
    pub(crate) const RETURN: u64 = 0x32;
}

/// What runs in more steps than the IR has. An instruction may be begun anew where one of its
/// accesses is stopped at, so a helper that changes something is the last thing that it does.
pub(crate) mod helper {
    use omni_ir::Helper;

    /// Keeps two values for another helper of the instruction: which, and they.
    pub(crate) const STASH: Helper = Helper(0);
    /// Enters a function whose header is long: its address, arguments.
    pub(crate) const ENTER: Helper = Helper(1);
    /// Runs an accelerated function: its number, arguments.
    pub(crate) const ACCELERATED: Helper = Helper(2);
    /// A float: operation, operands.
    pub(crate) const FLOAT: Helper = Helper(3);
    /// A character of text by Glk.
    pub(crate) const PUT: Helper = Helper(4);
    /// Goes on printing: tag, address.
    pub(crate) const RESUME: Helper = Helper(5);
    /// A double: operation, operands.
    pub(crate) const DOUBLE: Helper = Helper(6);
    /// A question about the machine: two selectors.
    pub(crate) const GESTALT: Helper = Helper(7);
    /// A register that is no slot.
    pub(crate) const GET: Helper = Helper(8);
    /// A search; arguments are stashed.
    pub(crate) const SEARCH: Helper = Helper(9);
    /// Zeroes or copies memory.
    pub(crate) const COPY: Helper = Helper(10);
    /// Sets something that is no slot.
    pub(crate) const SET: Helper = Helper(11);
    /// What says itself where it goes on: operands, and how it is encoded.
    pub(crate) const OTHER: u16 = 32;

    /// One of those, by its opcode.
    pub(crate) const fn other(opcode: u32) -> Helper {
        Helper(OTHER + opcode as u16)
    }
}

/// A constant of 32 bits.
pub(crate) fn word(value: u32) -> Val {
    Val::Const(value.into())
}

/// The front-end of one story.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    /// What is added to an address of the story.
    pub(crate) delta: u32,
    /// The start of what can be written.
    pub(crate) ramstart: u32,
    /// Accelerated functions by address: they change with the mode.
    pub(crate) accelerated: BTreeMap<u32, u32>,
}

impl Front {
    /// An address of code, with a tag.
    pub(crate) fn at(&self, tag: u64, address: u32) -> u64 {
        tag * TAG_STEP + u64::from(address) + u64::from(self.delta)
    }
}

impl Frontend for Front {
    fn registers(&self) -> &'static [RegSlot] {
        const fn row(slot: Slot, name: &'static str) -> RegSlot {
            RegSlot { slot, name, bits: 64 }
        }
        const SLOTS: &[RegSlot] = &[
            row(slot::SP, "sp"),
            row(slot::FP, "fp"),
            row(slot::LOCALS, "locals"),
            row(slot::VALUES, "values"),
            row(Slot(4), "arg0"),
            row(Slot(5), "arg1"),
            row(Slot(6), "arg2"),
            row(Slot(7), "arg3"),
            row(Slot(8), "arg4"),
            row(Slot(9), "arg5"),
            row(Slot(10), "arg6"),
            row(Slot(11), "arg7"),
            row(slot::RESULT, "result"),
            row(slot::DEST, "dest"),
        ];
        SLOTS
    }

    fn float_flags(&self) -> Slot {
        slot::FLAGS
    }

    fn reservation(&self) -> Slot {
        slot::RESERVATION
    }

    fn nan_rule(&self) -> NanRule {
        NanRule::RiscV
    }

    fn hot_slots(&self) -> HotSlots {
        const INTEGERS: &[Slot] = &[
            slot::LOCALS,
            slot::SP,
            slot::VALUES,
            slot::FP,
            slot::RESULT,
            Slot(slot::ARGS),
            Slot(slot::ARGS + 1),
            Slot(slot::ARGS + 2),
            slot::DEST,
        ];
        HotSlots { integers: INTEGERS, floats: &[] }
    }

    fn code_moves(&self) -> bool {
        false
    }

    fn lower(&self, code: &Code, mode: Mode, into: &mut Builder) -> Flow {
        let (tag, place) = untag(code.pc);
        let pc = place.wrapping_sub(self.delta.into()) as u32;
        let mut lower = Lower {
            b: into,
            front: self,
            pc,
            length: 0,
            filtered: mode.0 & 1 != 0,
            args: [Operand::Const(0); 8],
            popped: 0,
            pushed: 0,
        };
        if tag != 0 {
            return lower.special(tag, code);
        }
        match decode(self, code) {
            Decoded::More => Flow::More,
            Decoded::Bad(fault) => lower.fault(fault),
            Decoded::Row(row, args, length) => {
                (lower.args, lower.length) = (args, length);
                lower.run(row)
            }
        }
    }
}

/// An operand, as it is encoded (section 1.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operand {
    /// A constant; where a result goes, nowhere.
    Const(u32),
    /// The stack.
    Stack,
    /// A local by its offset.
    Local(u32),
    /// Memory.
    Memory(u32),
}

enum Decoded {
    More,
    Bad(Fault),
    Row(&'static Row, [Operand; 8], u32),
}

/// Reads an instruction.
fn decode(front: &Front, code: &Code) -> Decoded {
    let bytes = &code.bytes[..code.count];
    let byte = |at: usize| bytes.get(at).copied().map(u32::from);
    let first = code.bytes[0];
    let size = if first < 0x80 {
        1
    } else if first < 0xc0 {
        2
    } else {
        4
    };
    if bytes.len() < size {
        return Decoded::More;
    }
    let number = bytes[..size].iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    let number = number
        & !(match size {
            1 => 0,
            2 => 0x8000,
            _ => 0xc000_0000,
        });
    let Some(row) = row(number) else { return Decoded::Bad(Fault::Opcode) };
    let mut at = size + row.forms.len().div_ceil(2);
    if bytes.len() < at {
        return Decoded::More;
    }
    let mut args = [Operand::Const(0); 8];
    for (nth, form) in row.forms.iter().enumerate() {
        let modes = byte(size + nth / 2).unwrap_or(0);
        let mode = modes >> (nth % 2 * 4) & 15;
        let count = [0, 1, 2, 4, 0, 1, 2, 4, 0, 1, 2, 4, 0, 1, 2, 4][mode as usize];
        let Some(data) = bytes.get(at..at + count) else { return Decoded::More };
        at += count;
        let value = data.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        let signed = match count {
            1 => i32::from(data[0].cast_signed()).cast_unsigned(),
            2 => i32::from((value as u16).cast_signed()).cast_unsigned(),
            _ => value,
        };
        args[nth] = match mode {
            0 => Operand::Const(0),
            1..=3 if *form == Form::Load => Operand::Const(signed),
            5..=7 => Operand::Memory(value),
            8 => Operand::Stack,
            9..=11 => Operand::Local(value),
            13..=15 => Operand::Memory(value.wrapping_add(front.ramstart)),
            _ => return Decoded::Bad(Fault::Operand),
        };
    }
    Decoded::Row(row, args, at as u32)
}

/// What a row writes into: the builder, and the instruction's operands.
pub(crate) struct Lower<'a> {
    /// The block.
    pub(crate) b: &'a mut Builder,
    /// Of which story.
    pub(crate) front: &'a Front,
    /// The address of the instruction.
    pub(crate) pc: u32,
    /// Its size.
    pub(crate) length: u32,
    /// Text goes through a filter.
    pub(crate) filtered: bool,
    /// Its operands.
    pub(crate) args: [Operand; 8],
    /// Bytes popped so far.
    pub(crate) popped: i32,
    /// Bytes pushed so far.
    pub(crate) pushed: i32,
}

impl Lower<'_> {
    fn run(mut self, row: &Row) -> Flow {
        let loads = row.forms.iter().zip(&self.args);
        let pops = loads.filter(|(form, arg)| **form == Form::Load && **arg == Operand::Stack);
        self.need(pops.count() as u64);
        (row.lower)(&mut self);
        if self.b.term().is_some() {
            return Flow::End;
        }
        self.sync();
        Flow::Next(self.length as u8)
    }

    /// Ends with a fault.
    pub(crate) fn fault(&mut self, fault: Fault) -> Flow {
        let trap = fault.trap(self.pc);
        self.b.trap(trap.cause, trap.value);
        Flow::End
    }

    /// A fresh temporary.
    pub(crate) fn temp(&mut self) -> Slot {
        self.b.temp()
    }

    /// `op a` in a fresh temporary, or a constant.
    pub(crate) fn unary(&mut self, op: Unary, a: Val) -> Val {
        if let Val::Const(a) = a {
            return Val::Const(op.eval(a));
        }
        let temp = self.temp();
        self.b.unary(op, temp, a);
        temp.into()
    }

    /// `a op b` on 64 bits, in a fresh temporary, or a constant.
    pub(crate) fn wide(&mut self, op: Binary, a: Val, b: Val) -> Val {
        self.sized(op, Width::Full, a, b)
    }

    /// `a op b` on 32 bits.
    pub(crate) fn binary(&mut self, op: Binary, a: Val, b: Val) -> Val {
        self.sized(op, Width::Unsigned32, a, b)
    }

    fn sized(&mut self, op: Binary, width: Width, a: Val, b: Val) -> Val {
        if let (Val::Const(a), Val::Const(b)) = (a, b) {
            return Val::Const(op.eval(width, a, b));
        }
        let temp = self.temp();
        self.b.sized(op, width, temp, a, b);
        temp.into()
    }

    /// Calls a helper for its value.
    pub(crate) fn call_helper(&mut self, helper: Helper, args: [Val; 3]) -> Val {
        let temp = self.temp();
        self.b.call(helper, temp, args);
        temp.into()
    }

    /// The address after the instruction.
    pub(crate) fn next(&self) -> u32 {
        self.pc.wrapping_add(self.length)
    }

    /// The same as code.
    pub(crate) fn next_code(&self) -> u64 {
        self.front.at(0, self.next())
    }

    /// Makes sure that there are so many values to pop, and as many as were popped.
    pub(crate) fn need(&mut self, count: u64) {
        if count == 0 {
            return;
        }
        let bytes = 4 * count + u64::from(self.popped.unsigned_abs());
        let least = self.wide(Binary::Add, slot::VALUES.into(), Val::Const(bytes));
        let to = self.front.at(tag::UNDERFLOW, self.pc);
        self.b.exit_if(Cond::LtU, slot::SP.into(), least, to);
    }

    /// Sets the stack pointer, which is the last thing of an instruction that goes on.
    pub(crate) fn sync(&mut self) {
        let by = i64::from(self.pushed - self.popped).cast_unsigned();
        if by != 0 {
            self.b.binary(Binary::Add, slot::SP, slot::SP, by);
        }
        (self.popped, self.pushed) = (0, 0);
    }

    /// Pops a value; `need` has been asked.
    pub(crate) fn pop(&mut self) -> Val {
        self.popped += 4;
        self.load_at(Size::B4, slot::SP.into(), -self.popped)
    }

    /// Pushes a value.
    pub(crate) fn push(&mut self, value: Val) {
        let offset = self.pushed - self.popped;
        self.pushed += 4;
        self.store_at(Size::B4, slot::SP.into(), offset, value);
    }

    /// A big-endian load.
    pub(crate) fn load_at(&mut self, size: Size, base: Val, offset: i32) -> Val {
        let temp = self.temp();
        self.b.load(size, false, temp, base, offset);
        match size {
            Size::B1 => temp.into(),
            Size::B2 => self.unary(Unary::ByteSwap16, temp.into()),
            Size::B4 => self.unary(Unary::ByteSwap32, temp.into()),
            Size::B8 | Size::B16 => self.unary(Unary::ByteSwap64, temp.into()),
        }
    }

    /// A big-endian store.
    pub(crate) fn store_at(&mut self, size: Size, base: Val, offset: i32, value: Val) {
        let value = match size {
            Size::B1 => value,
            Size::B2 => self.unary(Unary::ByteSwap16, value),
            Size::B4 => self.unary(Unary::ByteSwap32, value),
            Size::B8 | Size::B16 => self.unary(Unary::ByteSwap64, value),
        };
        self.b.store(size, base, offset, value);
    }

    /// Makes sure that a store that follows another one is not the one that is stopped at: where
    /// the first went over an operand, the instruction could not begin anew.
    pub(crate) fn probe(&mut self, size: Size, base: Val, offset: i32) {
        let temp = self.temp();
        self.b.load(size, false, temp, base, offset);
        self.b.store(size, base, offset, temp);
    }

    /// The same, for a result that is stored after so many bytes are pushed.
    pub(crate) fn probe_result(&mut self, nth: usize, pushed: i32) {
        match self.args[nth] {
            Operand::Const(_) => {}
            Operand::Stack => {
                let offset = self.pushed - self.popped + pushed;
                self.probe(Size::B4, slot::SP.into(), offset);
            }
            Operand::Local(offset) => {
                let (base, offset) = self.local(offset);
                self.probe(Size::B4, base, offset);
            }
            Operand::Memory(at) => {
                self.probe(Size::B4, word(at), self.front.delta.cast_signed());
            }
        }
    }

    /// A load from memory, at an address of the story.
    pub(crate) fn load_memory(&mut self, size: Size, at: Val) -> Val {
        self.load_at(size, at, self.front.delta.cast_signed())
    }

    /// A store to memory, at an address of the story.
    pub(crate) fn store_memory(&mut self, size: Size, at: Val, value: Val) {
        self.store_at(size, at, self.front.delta.cast_signed(), value);
    }

    /// What an operand is.
    pub(crate) fn arg(&mut self, nth: usize) -> Val {
        self.arg_of(Size::B4, nth)
    }

    /// What an operand is that has another size in memory and locals.
    pub(crate) fn arg_of(&mut self, size: Size, nth: usize) -> Val {
        match self.args[nth] {
            Operand::Const(value) => self.cut(size, word(value)),
            Operand::Stack => {
                let value = self.pop();
                self.cut(size, value)
            }
            Operand::Local(offset) => {
                let (base, offset) = self.local(offset);
                self.load_at(size, base, offset)
            }
            Operand::Memory(at) => self.load_memory(size, word(at)),
        }
    }

    fn cut(&mut self, size: Size, value: Val) -> Val {
        match size {
            Size::B1 => self.unary(Unary::Zext8, value),
            Size::B2 => self.unary(Unary::Zext16, value),
            Size::B4 | Size::B8 | Size::B16 => value,
        }
    }

    fn local(&mut self, offset: u32) -> (Val, i32) {
        match i32::try_from(offset) {
            Ok(offset) => (slot::LOCALS.into(), offset),
            Err(_) => (self.wide(Binary::Add, slot::LOCALS.into(), word(offset)), 0),
        }
    }

    /// Stores a result by the operand that says where.
    pub(crate) fn result(&mut self, nth: usize, value: Val) {
        self.result_of(Size::B4, nth, value);
    }

    /// The same, of another size in memory and locals.
    pub(crate) fn result_of(&mut self, size: Size, nth: usize, value: Val) {
        match self.args[nth] {
            Operand::Const(_) => {}
            Operand::Stack => self.push(value),
            Operand::Local(offset) => {
                let (base, offset) = self.local(offset);
                self.store_at(size, base, offset, value);
            }
            Operand::Memory(at) => self.store_memory(size, word(at), value),
        }
    }

    /// Bytes that a result takes on the stack.
    pub(crate) fn width_on_stack(&self, nth: usize) -> i32 {
        if self.args[nth] == Operand::Stack { 4 } else { 0 }
    }

    /// The destination of a call: its sort, and where.
    pub(crate) fn dest(&self, nth: usize) -> (u32, u32) {
        match self.args[nth] {
            Operand::Const(_) => (0, 0),
            Operand::Memory(at) => (1, at),
            Operand::Local(offset) => (2, offset),
            Operand::Stack => (3, 0),
        }
    }

    /// Goes to code at an address.
    pub(crate) fn go(&mut self, tag: u64, to: Val) {
        match to {
            Val::Const(to) => self.b.jump(self.front.at(tag, to as u32)),
            Val::Slot(_) => {
                let to = self.wide(Binary::Add, to, Val::Const(self.front.at(tag, 0)));
                self.b.indirect(to);
            }
        }
    }

    /// How the instruction is encoded, for a helper that says itself where it goes on.
    pub(crate) fn encoded(&self, dest: (u32, u32)) -> Val {
        let (sort, at) = dest;
        let pops = u64::from(self.popped.unsigned_abs() / 4);
        let place = u64::from(at) | u64::from(sort) << 32;
        Val::Const(place | pops << 40 | u64::from(self.length) << 48)
    }

    /// Ends with a helper that says itself where it goes on, and pops by itself what was loaded.
    pub(crate) fn other(&mut self, opcode: u32, a: Val, b: Val, dest: (u32, u32)) {
        let encoded = self.encoded(dest);
        let to = self.call_helper(helper::other(opcode), [a, b, encoded]);
        self.b.indirect(to);
    }
}
