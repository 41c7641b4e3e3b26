//! The instructions: number, name, operands and meaning of each in one table (the
//! specification, section 2).

use crate::fault::Fault;
use crate::lower::{Lower, STACK_AT, helper, slot, tag, word};
use omni_ir::{Binary, Cond, Size, Unary, Val};

/// What an operand is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// It is read.
    Load,
    /// A result goes there.
    Store,
}

/// An instruction.
pub(crate) struct Row {
    /// Its number.
    pub(crate) number: u32,
    /// Its name, for tests and people.
    #[cfg_attr(not(test), expect(dead_code, reason = "the table is also read by people"))]
    pub(crate) name: &'static str,
    /// Its operands.
    pub(crate) forms: &'static [Form],
    /// Its meaning.
    pub(crate) lower: fn(&mut Lower<'_>),
}

/// The row of an instruction.
pub(crate) fn row(number: u32) -> Option<&'static Row> {
    let at = ROWS.binary_search_by_key(&number, |row| row.number).ok()?;
    Some(&ROWS[at])
}

macro_rules! rows {
    ($($number:literal $name:literal $($form:ident)* => $lower:expr;)*) => {
        /// Every instruction, in order.
        static ROWS: &[Row] = &[$(
            Row { number: $number, name: $name, forms: &[$(rows!(@$form)),*], lower: $lower }
        ),*];
    };
    (@L) => { Form::Load };
    (@S) => { Form::Store };
}

rows! {
    0x00 "nop" => |_| {};
    0x10 "add" L L S => |l| plain(l, Binary::Add);
    0x11 "sub" L L S => |l| plain(l, Binary::Sub);
    0x12 "mul" L L S => |l| plain(l, Binary::Mul);
    0x13 "div" L L S => |l| divide(l, Binary::DivS);
    0x14 "mod" L L S => |l| divide(l, Binary::RemS);
    0x15 "neg" L S => |l| {
        let a = l.arg(0);
        let value = l.binary(Binary::Sub, Val::Const(0), a);
        l.result(1, value);
    };
    0x18 "bitand" L L S => |l| plain(l, Binary::And);
    0x19 "bitor" L L S => |l| plain(l, Binary::Or);
    0x1a "bitxor" L L S => |l| plain(l, Binary::Xor);
    0x1b "bitnot" L S => |l| {
        let a = l.arg(0);
        let value = l.binary(Binary::Xor, a, word(u32::MAX));
        l.result(1, value);
    };
    0x1c "shiftl" L L S => |l| shift(l, Binary::Shl);
    0x1d "sshiftr" L L S => |l| {
        let (a, by) = (l.arg(0), l.arg(1));
        let by = l.binary(Binary::MinU, by, Val::Const(31));
        let value = l.binary(Binary::Sar, a, by);
        l.result(2, value);
    };
    0x1e "ushiftr" L L S => |l| shift(l, Binary::Shr);
    0x20 "jump" L => |l| l.jump(0);
    0x22 "jz" L L => |l| zero(l, Cond::Eq);
    0x23 "jnz" L L => |l| zero(l, Cond::Ne);
    0x24 "jeq" L L L => |l| compare(l, Cond::Eq);
    0x25 "jne" L L L => |l| compare(l, Cond::Ne);
    0x26 "jlt" L L L => |l| compare_signed(l, Cond::LtS, false);
    0x27 "jge" L L L => |l| compare_signed(l, Cond::GeS, false);
    0x28 "jgt" L L L => |l| compare_signed(l, Cond::LtS, true);
    0x29 "jle" L L L => |l| compare_signed(l, Cond::GeS, true);
    0x2a "jltu" L L L => |l| compare(l, Cond::LtU);
    0x2b "jgeu" L L L => |l| compare(l, Cond::GeU);
    0x2c "jgtu" L L L => |l| compare_swapped(l, Cond::LtU);
    0x2d "jleu" L L L => |l| compare_swapped(l, Cond::GeU);
    0x30 "call" L L S => |l| call(l, 0x30);
    0x31 "return" L => |l| {
        let value = l.arg(0);
        l.leave(value, slot::FP.into());
    };
    0x32 "catch" S L => catch;
    0x33 "throw" L L => |l| {
        let (value, token) = (l.arg(0), l.arg(1));
        let end = l.wide(Binary::Add, token, Val::Const(STACK_AT));
        l.leave(value, end);
    };
    0x34 "tailcall" L L => |l| call(l, 0x34);
    0x40 "copy" L S => |l| {
        let value = l.arg(0);
        l.result(1, value);
    };
    0x41 "copys" L S => |l| copy(l, Size::B2);
    0x42 "copyb" L S => |l| copy(l, Size::B1);
    0x44 "sexs" L S => |l| sign(l, Unary::Sext16);
    0x45 "sexb" L S => |l| sign(l, Unary::Sext8);
    0x48 "aload" L L S => |l| load(l, Size::B4, 2);
    0x49 "aloads" L L S => |l| load(l, Size::B2, 1);
    0x4a "aloadb" L L S => |l| load(l, Size::B1, 0);
    0x4b "aloadbit" L L S => |l| {
        let (at, bit) = place_of_bit(l);
        let byte = l.load_memory(Size::B1, at);
        let value = l.binary(Binary::Shr, byte, bit);
        let value = l.binary(Binary::And, value, Val::Const(1));
        l.result(2, value);
    };
    0x4c "astore" L L L => |l| store(l, Size::B4, 2);
    0x4d "astores" L L L => |l| store(l, Size::B2, 1);
    0x4e "astoreb" L L L => |l| store(l, Size::B1, 0);
    0x4f "astorebit" L L L => |l| {
        let (at, bit) = place_of_bit(l);
        let set = l.arg(2);
        let byte = l.load_memory(Size::B1, at);
        let mask = l.binary(Binary::Shl, Val::Const(1), bit);
        let cleared = l.binary(Binary::AndNot, byte, mask);
        let mask = l.binary(Binary::IfNonZero, mask, set);
        let value = l.binary(Binary::Or, cleared, mask);
        l.store_memory(Size::B1, at, value);
    };
    0x50 "stkcount" S => |l| {
        let count = depth(l);
        l.result(0, count);
    };
    0x51 "stkpeek" L S => peek;
    0x52 "stkswap" => |l| {
        // Both at once: the first store of two would go over what the second has to be.
        l.need(2);
        let pair = l.temp();
        l.b.load(Size::B8, false, pair, slot::SP, -8);
        let turned = l.wide(Binary::RotL, pair.into(), Val::Const(32));
        l.b.store(Size::B8, slot::SP, -8, turned);
    };
    0x53 "stkroll" L L => |l| {
        let (count, by) = (l.arg(0), l.arg(1));
        l.other(0x53, count, by, (0, 0));
    };
    0x54 "stkcopy" L => |l| {
        let count = l.arg(0);
        l.other(0x54, count, Val::Const(0), (0, 0));
    };
    0x70 "streamchar" L => |l| {
        let char = l.arg(0);
        let char = l.binary(Binary::And, char, Val::Const(0xff));
        put(l, char);
    };
    0x71 "streamnum" L => |l| other(l, 0x71, 1, None);
    0x72 "streamstr" L => |l| other(l, 0x72, 1, None);
    0x73 "streamunichar" L => |l| {
        let char = l.arg(0);
        put(l, char);
    };
    0x100 "gestalt" L L S => |l| {
        let (a, b) = (l.arg(0), l.arg(1));
        let value = l.call_helper(helper::GESTALT, [a, b, Val::Const(0)]);
        l.result(2, value);
    };
    0x101 "debugtrap" L => |l| {
        l.fault(Fault::Debug);
    };
    0x102 "getmemsize" S => |l| get(l, 0x102, 0);
    0x103 "setmemsize" L S => |l| other(l, 0x103, 1, Some(1));
    0x104 "jumpabs" L => |l| {
        let to = l.arg(0);
        l.sync();
        l.go(0, to);
    };
    0x110 "random" L S => |l| other(l, 0x110, 1, Some(1));
    0x111 "setrandom" L => |l| set(l, 0x111, 1);
    0x120 "quit" => |l| other(l, 0x120, 0, None);
    0x121 "verify" S => |l| get(l, 0x121, 0);
    0x122 "restart" => |l| other(l, 0x122, 0, None);
    0x123 "save" L S => |l| other(l, 0x123, 1, Some(1));
    0x124 "restore" L S => |l| other(l, 0x124, 1, Some(1));
    0x125 "saveundo" S => |l| other(l, 0x125, 0, Some(0));
    0x126 "restoreundo" S => |l| other(l, 0x126, 0, Some(0));
    0x127 "protect" L L => |l| set(l, 0x127, 2);
    0x128 "hasundo" S => |l| get(l, 0x128, 0);
    0x129 "discardundo" => |l| set(l, 0x129, 0);
    0x130 "glk" L L S => |l| other(l, 0x130, 2, Some(2));
    0x140 "getstringtbl" S => |l| get(l, 0x140, 0);
    0x141 "setstringtbl" L => |l| set(l, 0x141, 1);
    0x148 "getiosys" S S => |l| {
        get(l, 0x148, 0);
        get(l, 0x1148, 1);
    };
    0x149 "setiosys" L L => |l| set(l, 0x149, 2);
    0x150 "linearsearch" L L L L L L L S => |l| search(l, 0x150, 7);
    0x151 "binarysearch" L L L L L L L S => |l| search(l, 0x151, 7);
    0x152 "linkedsearch" L L L L L L S => |l| search(l, 0x152, 6);
    0x160 "callf" L S => |l| call_with(l, 0);
    0x161 "callfi" L L S => |l| call_with(l, 1);
    0x162 "callfii" L L L S => |l| call_with(l, 2);
    0x163 "callfiii" L L L L S => |l| call_with(l, 3);
    0x170 "mzero" L L => |l| {
        let (count, to) = (l.arg(0), l.arg(1));
        l.call_helper(helper::COPY, [count, Val::Const(1 << 32), to]);
    };
    0x171 "mcopy" L L L => |l| {
        let (count, from, to) = (l.arg(0), l.arg(1), l.arg(2));
        l.call_helper(helper::COPY, [count, from, to]);
    };
    0x178 "malloc" L S => |l| other(l, 0x178, 1, Some(1));
    0x179 "mfree" L => |l| other(l, 0x179, 1, None);
    0x180 "accelfunc" L L => |l| set(l, 0x180, 2);
    0x181 "accelparam" L L => |l| set(l, 0x181, 2);
    0x190 "numtof" L S => |l| float(l, 0x190, 1);
    0x191 "ftonumz" L S => |l| float(l, 0x191, 1);
    0x192 "ftonumn" L S => |l| float(l, 0x192, 1);
    0x198 "ceil" L S => |l| float(l, 0x198, 1);
    0x199 "floor" L S => |l| float(l, 0x199, 1);
    0x1a0 "fadd" L L S => |l| float(l, 0x1a0, 2);
    0x1a1 "fsub" L L S => |l| float(l, 0x1a1, 2);
    0x1a2 "fmul" L L S => |l| float(l, 0x1a2, 2);
    0x1a3 "fdiv" L L S => |l| float(l, 0x1a3, 2);
    0x1a4 "fmod" L L S S => |l| {
        let (a, b) = (l.arg(0), l.arg(1));
        let rest = l.call_helper(helper::FLOAT, [Val::Const(0x1a4), a, b]);
        let quotient = l.call_helper(helper::FLOAT, [Val::Const(0x11a4), a, b]);
        let pushed = l.width_on_stack(2);
        l.probe_result(3, pushed);
        l.result(2, rest);
        l.result(3, quotient);
    };
    0x1a8 "sqrt" L S => |l| float(l, 0x1a8, 1);
    0x1a9 "exp" L S => |l| float(l, 0x1a9, 1);
    0x1aa "log" L S => |l| float(l, 0x1aa, 1);
    0x1ab "pow" L L S => |l| float(l, 0x1ab, 2);
    0x1b0 "sin" L S => |l| float(l, 0x1b0, 1);
    0x1b1 "cos" L S => |l| float(l, 0x1b1, 1);
    0x1b2 "tan" L S => |l| float(l, 0x1b2, 1);
    0x1b3 "asin" L S => |l| float(l, 0x1b3, 1);
    0x1b4 "acos" L S => |l| float(l, 0x1b4, 1);
    0x1b5 "atan" L S => |l| float(l, 0x1b5, 1);
    0x1b6 "atan2" L L S => |l| float(l, 0x1b6, 2);
    0x1c0 "jfeq" L L L L => |l| float_near(l, Cond::Ne);
    0x1c1 "jfne" L L L L => |l| float_near(l, Cond::Eq);
    0x1c2 "jflt" L L L => |l| float_branch(l, 0x1c2, 2);
    0x1c3 "jfle" L L L => |l| float_branch(l, 0x1c3, 2);
    0x1c4 "jfgt" L L L => |l| float_branch(l, 0x1c4, 2);
    0x1c5 "jfge" L L L => |l| float_branch(l, 0x1c5, 2);
    0x1c8 "jisnan" L L => |l| float_branch(l, 0x1c8, 1);
    0x1c9 "jisinf" L L => |l| float_branch(l, 0x1c9, 1);
    0x200 "numtod" L S S => |l| {
        let a = l.arg(0);
        double_of(l, 0x200, a, Val::Const(0), 1);
    };
    0x201 "dtonumz" L L S => |l| from_double(l, 0x201);
    0x202 "dtonumn" L L S => |l| from_double(l, 0x202);
    0x203 "ftod" L S S => |l| {
        let a = l.arg(0);
        double_of(l, 0x203, a, Val::Const(0), 1);
    };
    0x204 "dtof" L L S => |l| from_double(l, 0x204);
    0x208 "dceil" L L S S => |l| double(l, 0x208, 1);
    0x209 "dfloor" L L S S => |l| double(l, 0x209, 1);
    0x210 "dadd" L L L L S S => |l| double(l, 0x210, 2);
    0x211 "dsub" L L L L S S => |l| double(l, 0x211, 2);
    0x212 "dmul" L L L L S S => |l| double(l, 0x212, 2);
    0x213 "ddiv" L L L L S S => |l| double(l, 0x213, 2);
    0x214 "dmodr" L L L L S S => |l| double(l, 0x214, 2);
    0x215 "dmodq" L L L L S S => |l| double(l, 0x215, 2);
    0x218 "dsqrt" L L S S => |l| double(l, 0x218, 1);
    0x219 "dexp" L L S S => |l| double(l, 0x219, 1);
    0x21a "dlog" L L S S => |l| double(l, 0x21a, 1);
    0x21b "dpow" L L L L S S => |l| double(l, 0x21b, 2);
    0x220 "dsin" L L S S => |l| double(l, 0x220, 1);
    0x221 "dcos" L L S S => |l| double(l, 0x221, 1);
    0x222 "dtan" L L S S => |l| double(l, 0x222, 1);
    0x223 "dasin" L L S S => |l| double(l, 0x223, 1);
    0x224 "dacos" L L S S => |l| double(l, 0x224, 1);
    0x225 "datan" L L S S => |l| double(l, 0x225, 1);
    0x226 "datan2" L L L L S S => |l| double(l, 0x226, 2);
    0x230 "jdeq" L L L L L L L => |l| double_near(l, Cond::Ne);
    0x231 "jdne" L L L L L L L => |l| double_near(l, Cond::Eq);
    0x232 "jdlt" L L L L L => |l| double_branch(l, 0x232, 2);
    0x233 "jdle" L L L L L => |l| double_branch(l, 0x233, 2);
    0x234 "jdgt" L L L L L => |l| double_branch(l, 0x234, 2);
    0x235 "jdge" L L L L L => |l| double_branch(l, 0x235, 2);
    0x238 "jdisnan" L L L => |l| double_branch(l, 0x238, 1);
    0x239 "jdisinf" L L L => |l| double_branch(l, 0x239, 1);
}

fn plain(l: &mut Lower<'_>, op: Binary) {
    let (a, b) = (l.arg(0), l.arg(1));
    let value = l.binary(op, a, b);
    l.result(2, value);
}

fn divide(l: &mut Lower<'_>, op: Binary) {
    let (a, b) = (l.arg(0), l.arg(1));
    let to = l.front.at(tag::DIVIDE, l.pc);
    if b == Val::Const(0) {
        l.fault(Fault::Divide);
        return;
    }
    if let Val::Slot(_) = b {
        l.b.exit_if(Cond::Eq, b, Val::Const(0), to);
    }
    let value = l.binary(op, a, b);
    l.result(2, value);
}

/// A shift that gives zero where the count is 32 or more.
fn shift(l: &mut Lower<'_>, op: Binary) {
    let (a, by) = (l.arg(0), l.arg(1));
    let shifted = l.binary(op, a, by);
    let inside = l.binary(Binary::LtU, by, Val::Const(32));
    let value = l.binary(Binary::IfNonZero, shifted, inside);
    l.result(2, value);
}

fn zero(l: &mut Lower<'_>, cond: Cond) {
    let a = l.arg(0);
    l.branch(1, cond, a, Val::Const(0));
}

fn compare(l: &mut Lower<'_>, cond: Cond) {
    let (a, b) = (l.arg(0), l.arg(1));
    l.branch(2, cond, a, b);
}

fn compare_swapped(l: &mut Lower<'_>, cond: Cond) {
    let (a, b) = (l.arg(0), l.arg(1));
    l.branch(2, cond, b, a);
}

fn compare_signed(l: &mut Lower<'_>, cond: Cond, swapped: bool) {
    let (a, b) = (l.arg(0), l.arg(1));
    let (a, b) = (l.unary(Unary::Sext32, a), l.unary(Unary::Sext32, b));
    if swapped { l.branch(2, cond, b, a) } else { l.branch(2, cond, a, b) }
}

/// `call` and `tailcall`, whose arguments are on the stack.
fn call(l: &mut Lower<'_>, opcode: u32) {
    let (function, count) = (l.arg(0), l.arg(1));
    let dest = if opcode == 0x30 { l.dest(2) } else { (0, 0) };
    match count {
        Val::Const(count) if count <= slot::ARGS_MAX.into() => {
            l.need(count);
            let args: Vec<Val> = (0..count).map(|_| l.pop()).collect();
            if opcode == 0x30 {
                l.call(function, &args, dest);
            } else {
                l.tail_call(function, &args);
            }
        }
        Val::Const(_) | Val::Slot(_) => l.other(opcode, function, count, dest),
    }
}

fn call_with(l: &mut Lower<'_>, count: usize) {
    let function = l.arg(0);
    let args: Vec<Val> = (1..=count).map(|nth| l.arg(nth)).collect();
    let dest = l.dest(count + 1);
    l.call(function, &args, dest);
}

fn catch(l: &mut Lower<'_>) {
    let by = l.arg(1);
    let (dest, next) = (l.dest(0), l.next());
    l.probe_result(0, 16);
    l.push_stub(dest, next);
    let offset = i64::from(l.pushed - l.popped) - STACK_AT.cast_signed();
    let token = l.wide(Binary::Add, slot::SP.into(), Val::Const(offset.cast_unsigned()));
    l.result(0, token);
    l.jump_by(by);
}

fn copy(l: &mut Lower<'_>, size: Size) {
    let value = l.arg_of(size, 0);
    l.result_of(size, 1, value);
}

fn sign(l: &mut Lower<'_>, op: Unary) {
    let a = l.arg(0);
    let value = l.unary(op, a);
    let value = l.unary(Unary::Zext32, value);
    l.result(1, value);
}

/// The address of an element of an array.
fn element(l: &mut Lower<'_>, shift: u64) -> Val {
    let (base, index) = (l.arg(0), l.arg(1));
    let offset = l.binary(Binary::Shl, index, Val::Const(shift));
    l.binary(Binary::Add, base, offset)
}

fn load(l: &mut Lower<'_>, size: Size, shift: u64) {
    let at = element(l, shift);
    let value = l.load_memory(size, at);
    l.result(2, value);
}

fn store(l: &mut Lower<'_>, size: Size, shift: u64) {
    let at = element(l, shift);
    let value = l.arg(2);
    l.store_memory(size, at, value);
}

/// The address of a bit's byte, and which bit of it.
fn place_of_bit(l: &mut Lower<'_>) -> (Val, Val) {
    let (base, bit) = (l.arg(0), l.arg(1));
    let by = l.binary(Binary::Sar, bit, Val::Const(3));
    (l.binary(Binary::Add, base, by), l.binary(Binary::And, bit, Val::Const(7)))
}

/// Values on the stack of this function.
fn depth(l: &mut Lower<'_>) -> Val {
    let bytes = l.wide(Binary::Sub, slot::SP.into(), slot::VALUES.into());
    let bytes = l.wide(Binary::Sub, bytes, Val::Const(l.popped.unsigned_abs().into()));
    l.wide(Binary::Shr, bytes, Val::Const(2))
}

fn peek(l: &mut Lower<'_>) {
    let index = l.arg(0);
    let count = depth(l);
    let to = l.front.at(tag::UNDERFLOW, l.pc);
    l.b.exit_if(Cond::GeU, index, count, to);
    let by = l.wide(Binary::Shl, index, Val::Const(2));
    let at = l.wide(Binary::Sub, slot::SP.into(), by);
    let value = l.load_at(Size::B4, at, -4 - l.popped);
    l.result(1, value);
}

fn put(l: &mut Lower<'_>, char: Val) {
    if l.filtered {
        l.other(0x70, char, Val::Const(0), (0, 0));
    } else {
        l.call_helper(helper::PUT, [char, Val::Const(0), Val::Const(0)]);
    }
}

/// An instruction whose helper says where to go on: operands that are loaded, and the result.
fn other(l: &mut Lower<'_>, opcode: u32, loads: usize, result: Option<usize>) {
    let args: Vec<Val> = (0..loads).map(|nth| l.arg(nth)).collect();
    let arg = |nth: usize| args.get(nth).copied().unwrap_or(Val::Const(0));
    let dest = result.map_or((0, 0), |nth| l.dest(nth));
    l.other(opcode, arg(0), arg(1), dest);
}

fn get(l: &mut Lower<'_>, which: u32, result: usize) {
    let value = l.call_helper(helper::GET, [word(which), Val::Const(0), Val::Const(0)]);
    l.result(result, value);
}

fn set(l: &mut Lower<'_>, which: u32, loads: usize) {
    let args: Vec<Val> = (0..loads).map(|nth| l.arg(nth)).collect();
    let arg = |nth: usize| args.get(nth).copied().unwrap_or(Val::Const(0));
    l.call_helper(helper::SET, [word(which), arg(0), arg(1)]);
}

fn stash(l: &mut Lower<'_>, args: &[Val]) {
    for (nth, pair) in (0u64..).step_by(2).zip(args.chunks(2)) {
        let second = pair.get(1).copied().unwrap_or(Val::Const(0));
        l.call_helper(helper::STASH, [Val::Const(nth), pair[0], second]);
    }
}

fn search(l: &mut Lower<'_>, opcode: u32, loads: usize) {
    let args: Vec<Val> = (0..loads).map(|nth| l.arg(nth)).collect();
    stash(l, &args);
    let value = l.call_helper(helper::SEARCH, [word(opcode), Val::Const(0), Val::Const(0)]);
    l.result(loads, value);
}

fn float(l: &mut Lower<'_>, opcode: u32, loads: usize) {
    let a = l.arg(0);
    let b = if loads == 2 { l.arg(1) } else { Val::Const(0) };
    let value = l.call_helper(helper::FLOAT, [word(opcode), a, b]);
    l.result(loads, value);
}

fn float_branch(l: &mut Lower<'_>, opcode: u32, loads: usize) {
    let a = l.arg(0);
    let b = if loads == 2 { l.arg(1) } else { Val::Const(0) };
    let holds = l.call_helper(helper::FLOAT, [word(opcode), a, b]);
    l.branch(loads, Cond::Ne, holds, Val::Const(0));
}

fn float_near(l: &mut Lower<'_>, cond: Cond) {
    let (a, b, by) = (l.arg(0), l.arg(1), l.arg(2));
    stash(l, &[a, b]);
    let holds = l.call_helper(helper::FLOAT, [Val::Const(0x1c0), by, Val::Const(0)]);
    l.branch(3, cond, holds, Val::Const(0));
}

/// The double in two operands, the higher half first.
fn pair(l: &mut Lower<'_>, nth: usize) -> Val {
    let (high, low) = (l.arg(nth), l.arg(nth + 1));
    let high = l.wide(Binary::Shl, high, Val::Const(32));
    l.wide(Binary::Or, high, low)
}

/// A double of a helper goes to two operands, the lower half first.
fn double_of(l: &mut Lower<'_>, opcode: u32, a: Val, b: Val, results: usize) {
    let value = l.call_helper(helper::DOUBLE, [word(opcode), a, b]);
    let low = l.unary(Unary::Zext32, value);
    let high = l.wide(Binary::Shr, value, Val::Const(32));
    let pushed = l.width_on_stack(results);
    l.probe_result(results + 1, pushed);
    l.result(results, low);
    l.result(results + 1, high);
}

fn double(l: &mut Lower<'_>, opcode: u32, loads: usize) {
    let a = pair(l, 0);
    let b = if loads == 2 { pair(l, 2) } else { Val::Const(0) };
    double_of(l, opcode, a, b, 2 * loads);
}

fn from_double(l: &mut Lower<'_>, opcode: u32) {
    let a = pair(l, 0);
    let value = l.call_helper(helper::DOUBLE, [word(opcode), a, Val::Const(0)]);
    l.result(2, value);
}

fn double_branch(l: &mut Lower<'_>, opcode: u32, loads: usize) {
    let a = pair(l, 0);
    let b = if loads == 2 { pair(l, 2) } else { Val::Const(0) };
    let holds = l.call_helper(helper::DOUBLE, [word(opcode), a, b]);
    l.branch(2 * loads, Cond::Ne, holds, Val::Const(0));
}

fn double_near(l: &mut Lower<'_>, cond: Cond) {
    let (a, b, by) = (pair(l, 0), pair(l, 2), pair(l, 4));
    stash(l, &[a, b]);
    let holds = l.call_helper(helper::DOUBLE, [Val::Const(0x230), by, Val::Const(0)]);
    l.branch(6, cond, holds, Val::Const(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_named_once() {
        assert!(ROWS.windows(2).all(|pair| pair[0].number < pair[1].number));
        let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
        assert!(row(0x10).is_some() && row(0x16).is_none());
    }
}
