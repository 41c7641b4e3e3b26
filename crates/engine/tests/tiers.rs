//! Every tier gives what the meaning of each operation says, at every budget, and in any mix.

use omni_base::{Gpa, PageNo};
use omni_engine::{
    Access, At, Code, Context, Engine, Entry, Env, Exit, Flow, Frontend, HotSlots, Mapping, Mode,
    NOT_RESERVED, NanRule, RegSlot, Regs, Reply, Target, Tiers,
};
use omni_ir::{
    AtomicOp, Binary, Builder, Cond, FloatOp, Format, Helper, Inst, Memory, Size, Slot, Term, Trap,
    Unary, Val, Width,
};
use omni_memory::Space;

/// Pages of RAM; the last holds no data, and addresses above trap.
const PAGES: u64 = 8;

/// Where code is: one instruction is four bytes, of which the first two are its number.
const CODE: u64 = 0x1000;

/// A guest whose instructions are given as a list of operations each.
struct Listed(Vec<Insn>);

/// One guest instruction: operations, and where it goes if not on.
#[derive(Clone, Debug)]
struct Insn {
    insts: Vec<Inst>,
    end: Option<Term>,
}

const FLAGS: Slot = Slot(100);
const ROUND: Slot = Slot(101);
const RESERVED: Slot = Slot(102);

/// A second rounding mode, which no architecture has.
const MODE: Slot = Slot(30);

impl Frontend for Listed {
    fn registers(&self) -> &'static [RegSlot] {
        &[RegSlot { slot: Slot(31), name: "r31", bits: 64 }]
    }
    fn float_flags(&self) -> Slot {
        FLAGS
    }
    fn reservation(&self) -> Slot {
        RESERVED
    }
    fn hot_slots(&self) -> HotSlots {
        const HOT: &[Slot] = &[Slot(1), Slot(2), Slot(3), Slot(4)];
        HotSlots { integers: HOT, floats: &[Slot(16), Slot(17), Slot(18)] }
    }
    fn nan_rule(&self) -> NanRule {
        NanRule::RiscV
    }
    fn code_moves(&self) -> bool {
        false
    }
    fn lower(&self, code: &Code, _: Mode, b: &mut Builder) -> Flow {
        if code.count < 4 {
            return Flow::More;
        }
        let number = usize::from(u16::from_le_bytes([code.bytes[0], code.bytes[1]]));
        let Some(insn) = self.0.get(number) else {
            b.trap(99, number as u64);
            return Flow::End;
        };
        for inst in &insn.insts {
            build(b, inst);
        }
        match insn.end {
            None => return Flow::Next(4),
            Some(Term::Jump(to)) => b.jump(to),
            Some(Term::Branch(cond, x, y, to, or)) => b.branch(cond, x, y, to, or),
            Some(Term::Indirect(to)) => b.indirect(to),
            Some(Term::Trap(trap)) => b.trap(trap.cause, trap.value),
            Some(Term::Stop(to)) => b.stop(to),
        }
        Flow::End
    }
}

fn build(b: &mut Builder, inst: &Inst) {
    match *inst {
        Inst::Unary(op, dst, a) => b.unary(op, dst, a),
        Inst::Binary(op, width, dst, x, y) => b.sized(op, width, dst, x, y),
        Inst::Select(dst, test, x, y) => b.select(dst, test, x, y),
        Inst::Deposit { dst, base, value, at, bits } => b.deposit(dst, base, value, (at, bits)),
        Inst::Load(m, dst, base, offset) => b.load(m.size, m.signed, dst, base, offset),
        Inst::Store(size, base, offset, value) => b.store(size, base, offset, value),
        Inst::Atomic(op, size, dst, at, value) => b.atomic(op, size, dst, at, value),
        Inst::CompareSwap { size, dst, at, expect, value } => {
            b.compare_swap(size, dst, at, (expect, value));
        }
        Inst::LoadReserved(size, dst, at) => b.load_reserved(size, dst, at),
        Inst::StoreConditional(size, dst, at, value) => b.store_conditional(size, dst, at, value),
        Inst::Fence(fence) => b.fence(fence),
        Inst::Float { op, format, dst, args, round } => b.float(op, format, dst, &args, round),
        Inst::Call(helper, dst, args) => b.call(helper, dst, args),
        Inst::Address(dst, to) => b.address(dst, to),
        Inst::Start(_) | Inst::ExitIf(..) => unreachable!("the engine makes these"),
    }
}

/// RAM as it is, a page that may only be read, one only to be written, and above it nothing.
struct World {
    ram: Space,
    calls: Vec<(u64, At)>,
}

impl World {
    fn new(count: usize) -> Self {
        let mut ram = Space::new("ram", PAGES);
        for number in 0..count {
            let word = (number as u32).to_le_bytes();
            ram.store(Gpa(CODE + 4 * number as u64), &word).expect("fits");
        }
        for at in (0x3000..0x6000_u64).step_by(8) {
            ram.store(Gpa(at), &(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
                .expect("fits");
        }
        Self { ram, calls: vec![] }
    }
}

impl Env for World {
    fn hold(&mut self) {}
    fn release(&mut self) {}
    fn wants_stillness(&self, _: Helper) -> bool {
        false
    }
    fn ram(&mut self) -> &mut Space {
        &mut self.ram
    }
    fn translate(&mut self, at: u64, _: Size, access: Access) -> Result<Mapping, Trap> {
        let page = at >> 12;
        let denied =
            (page == 5 && access == Access::Store) || (page == 6 && access == Access::Load);
        if page >= PAGES || denied {
            return Err(Trap { cause: 13, value: at });
        }
        let target = Target::Ram(PageNo(page));
        let (load, store, keep, tables) = (page != 6, page != 5, true, [PageNo(0); 6]);
        Ok(Mapping { target, load, store, keep, tables, depth: 0, span: 12, entry_size: 3 })
    }
    fn device_load(&mut self, _: u64, _: Gpa, _: Size, _: At) -> Result<Reply, Trap> {
        Ok(Reply::default())
    }
    fn device_store(&mut self, _: u64, _: Gpa, _: Size, _: u64, _: At) -> Result<Reply, Trap> {
        Ok(Reply::default())
    }
    fn bad_atomic(&mut self, at: u64, _: Access) -> Trap {
        Trap { cause: 7, value: at }
    }
    fn call(&mut self, _: Helper, regs: &mut Regs, a: [u64; 3], at: At) -> Result<Reply, Trap> {
        self.calls.push((a[0], at));
        regs.set(Slot(3), a[0] ^ a[1]);
        Ok(Reply { value: a[0].wrapping_add(1), stop: a[0] & 3 == 3 })
    }
}

/// A small source of numbers: tests of one seed are the same everywhere.
struct Dice(u64);

impl Dice {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let x = self.0;
        (x ^ x >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ x >> 17
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }
    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
    fn value(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(9),
            1 => self.below(9).wrapping_neg(),
            2 => self.of(&[1 << 63, i64::MAX as u64, 1 << 31, 0x7fff_ffff, 0xffff_ffff, 1 << 32]),
            3 => self.word() >> 32,
            _ => self.word(),
        }
    }
    /// A register: in a host register or not, of either class.
    fn reg(&mut self) -> Slot {
        Slot(self.of(&[1, 2, 3, 4, 5, 6, 16, 17, 20]))
    }
    fn val(&mut self) -> Val {
        if self.below(5) == 0 { Val::Const(self.value()) } else { self.reg().into() }
    }
}

const TEMP: Slot = Slot(Slot::TEMPS);
const SIZES: &[Size] = &[Size::B1, Size::B2, Size::B4, Size::B8];
const WORDS: &[Size] = &[Size::B4, Size::B8];

fn arithmetic(dice: &mut Dice) -> Inst {
    match dice.below(8) {
        0 => Inst::Unary(dice.of(Unary::ALL), dice.reg(), dice.val()),
        1 => Inst::Select(dice.reg(), dice.val(), dice.val(), dice.val()),
        2 => {
            let bits = 1 + dice.below(64) as u8;
            let at = dice.below(65 - u64::from(bits)) as u8;
            Inst::Deposit { dst: dice.reg(), base: dice.val(), value: dice.val(), at, bits }
        }
        _ => {
            let (op, width) = (dice.of(Binary::ALL), dice.of(Width::ALL));
            Inst::Binary(op, width, dice.reg(), dice.val(), dice.val())
        }
    }
}

fn plain(insts: Vec<Inst>) -> Insn {
    Insn { insts, end: None }
}

/// An address in a register of its own, near to or across the ends of pages now and then.
fn access(dice: &mut Dice) -> Vec<Insn> {
    let at = match dice.below(8) {
        0 => 0x4000 - dice.below(9),
        1 => 0x5000 - dice.below(9),
        2 => PAGES * 4096 - dice.below(9),
        3 => dice.word(),
        _ => 0x3000 + dice.below(0x2000),
    };
    let size = dice.of(SIZES);
    let aligned = if dice.below(4) == 0 { at } else { at & !(size.bytes() - 1) };
    let base = dice.of(&[Slot(7), Slot(4), TEMP]);
    let address = Inst::Unary(Unary::Move, base, Val::Const(aligned));
    let offset = dice.of(&[0, 0, 8, -8, 2047]);
    let (dst, value) = (dice.reg(), dice.val());
    let word = dice.of(WORDS);
    let memory = Memory { size, signed: dice.below(2) == 0 };
    let amo = dice.of(&[Binary::Add, Binary::And, Binary::Or, Binary::Xor, Binary::MinU]);
    let amo = dice.of(&[AtomicOp::Swap, AtomicOp::Binary(amo), AtomicOp::Binary(Binary::MaxS)]);
    let access = match dice.below(9) {
        0..3 => Inst::Load(memory, dst, base.into(), offset),
        3..6 => Inst::Store(size, base.into(), offset, value),
        6 => Inst::Atomic(amo, word, dst, base.into(), value),
        7 => Inst::LoadReserved(word, dst, base.into()),
        _ => Inst::StoreConditional(word, dst, base.into(), value),
    };
    // An address in a register is an instruction's own effect, before what may trap.
    if base.is_temp() {
        return vec![plain(vec![address, access])];
    }
    vec![plain(vec![address]), plain(vec![access])]
}

/// Two instructions of which the second hides the result of the first; now and then not quite.
fn pair(dice: &mut Dice) -> Vec<Insn> {
    let (dst, from, other) = (dice.reg(), dice.reg(), dice.reg());
    let (to, by) = (if dice.below(5) == 0 { dice.reg() } else { dst }, 1 + dice.below(4));
    let full =
        |op, to, a: Slot, b: Val| plain(vec![Inst::Binary(op, Width::Full, to, a.into(), b)]);
    match dice.below(3) {
        0 => {
            vec![full(Binary::Shl, dst, from, by.into()), full(Binary::Add, to, dst, other.into())]
        }
        1 => {
            vec![full(Binary::Shl, dst, from, by.into()), full(Binary::Add, to, other, dst.into())]
        }
        _ => vec![
            full(Binary::Shl, dst, from, 32.into()),
            full(Binary::Shr, to, dst, (28 + dice.below(6)).into()),
        ],
    }
}

/// A comparison whose flags are discarded, as compilers write quiet ones; now and then not quite.
fn quiet(dice: &mut Dice) -> Vec<Insn> {
    let saved = dice.of(&[Slot(2), Slot(6)]);
    let op = dice.of(&[FloatOp::LtSignal, FloatOp::LeSignal, FloatOp::EqQuiet, FloatOp::Add]);
    let args = [Slot(16).into(), Slot(20).into(), Val::Const(0)];
    let dst = if op == FloatOp::Add { Slot(17) } else { dice.of(&[Slot(3), Slot(2), Slot(5)]) };
    let compare = Inst::Float { op, format: Format::F64, dst: TEMP, args, round: ROUND.into() };
    let back = if dice.below(4) == 0 { Slot(5) } else { saved };
    if dice.below(4) == 0 {
        // Read and cleared, as programs that look at the flags do it.
        return vec![
            plain(vec![Inst::Unary(Unary::Move, FLAGS, 0.into())]),
            plain(vec![compare, Inst::Unary(Unary::Move, dst, TEMP.into())]),
            plain(vec![Inst::Unary(Unary::Move, saved, FLAGS.into())]),
        ];
    }
    let mask = Inst::Binary(Binary::And, Width::Full, TEMP, back.into(), Val::Const(31));
    vec![
        plain(vec![Inst::Unary(Unary::Move, saved, FLAGS.into())]),
        plain(vec![compare, Inst::Unary(Unary::Move, dst, TEMP.into())]),
        plain(vec![mask, Inst::Unary(Unary::Move, FLAGS, TEMP.into())]),
    ]
}

/// Exceptions are raised, and something other than a move looks at their slot or changes it.
fn flags(dice: &mut Dice, to: u64, next: u64) -> Vec<Insn> {
    let full = |op, to, a: Slot, b: Val| Inst::Binary(op, Width::Full, to, a.into(), b);
    let double = |op, dst, args: [Val; 3]| {
        let (format, round) = (Format::F64, ROUND.into());
        [
            Inst::Float { op, format, dst: TEMP, args, round },
            Inst::Unary(Unary::Move, dst, TEMP.into()),
        ]
    };
    let (dst, other, val, zero) = (dice.reg(), dice.reg(), dice.val(), Val::Const(0));
    let at = Inst::Unary(Unary::Move, TEMP, Val::Const(0x3100));
    let access = |inst| vec![plain(vec![at, inst])];
    let flags = Val::from(FLAGS);
    let add = AtomicOp::Binary(dice.of(&[Binary::Add, Binary::Xor, Binary::MaxU]));
    let looks = match dice.below(11) {
        0 => access(Inst::Store(Size::B8, TEMP.into(), 0, flags)),
        1 => access(Inst::Atomic(add, Size::B8, dst, TEMP.into(), flags)),
        2 => access(Inst::Atomic(AtomicOp::Swap, Size::B4, dst, TEMP.into(), flags)),
        3 => {
            let (size, at) = (Size::B8, TEMP.into());
            let swap = Inst::CompareSwap { size, dst, at, expect: flags, value: flags };
            access(swap)
        }
        4 => vec![
            plain(vec![full(Binary::Shl, dst, FLAGS, 2.into())]),
            plain(vec![full(Binary::Add, dst, dst, other.into())]),
        ],
        5 => vec![
            plain(vec![full(Binary::Shl, dst, other, 2.into())]),
            plain(vec![full(Binary::Add, dst, dst, flags)]),
        ],
        6 => vec![plain(double(FloatOp::FromU64, Slot(18), [flags, zero, zero]).to_vec())],
        7 => {
            let one = Inst::Float {
                op: FloatOp::EqQuiet,
                format: Format::F64,
                dst: FLAGS,
                args: [Slot(17).into(), Slot(17).into(), zero],
                round: zero,
            };
            vec![plain(vec![one])]
        }
        8 => vec![plain(vec![Inst::Select(dst, flags, val, other.into())])],
        9 => {
            let end = Term::Branch(dice.of(Cond::ALL), flags, Val::Const(1), to, next);
            vec![Insn { insts: vec![], end: Some(end) }]
        }
        _ => vec![Insn { insts: vec![], end: Some(Term::Stop(flags)) }],
    };
    let args = [Slot(16).into(), Slot(20).into(), zero];
    let raise = dice.of(&[FloatOp::Add, FloatOp::Div, FloatOp::LtSignal]);
    [vec![plain(double(raise, Slot(17), args).to_vec())], looks].concat()
}

/// A temporary is moved on, and read once more by the rest of its instruction.
fn reads_again(dice: &mut Dice, to: u64, next: u64) -> Insn {
    let float = dice.of(&[Slot(16), Slot(18), Slot(20)]);
    let on = Inst::Unary(Unary::Move, float, TEMP.into());
    let (second, temp) = (Slot(Slot::TEMPS + 1), Slot(Slot::TEMPS + 2));
    let by = dice.of(&[1 << 63, 1 << 31]);
    let change = Inst::Binary(Binary::Xor, Width::Full, temp, Slot(16).into(), Val::Const(by));
    let operation = |op, args: [Val; 3]| Inst::Float {
        op,
        format: Format::F64,
        dst: TEMP,
        args,
        round: ROUND.into(),
    };
    let (x, y) = (Slot(17).into(), Slot(20).into());
    let mut insts = match dice.below(5) {
        0 => {
            let memory = Memory { size: Size::B8, signed: false };
            let at = Inst::Unary(Unary::Move, second, Val::Const(0x3100));
            vec![at, Inst::Load(memory, TEMP, second.into(), 8), on]
        }
        1 => vec![operation(FloatOp::Add, [x, y, Val::Const(0)]), on],
        2 => vec![change, operation(FloatOp::MulAdd, [temp.into(), x, y]), on],
        3 => {
            let take = Inst::Unary(Unary::Unbox32, temp, x);
            let (format, round) = (Format::F32, Val::Const(0));
            let args = [dice.of(&[Val::Const(0x3f80_0000), temp.into()]), temp.into(), temp.into()];
            let op = dice.of(&[FloatOp::Add, FloatOp::Mul, FloatOp::MulAdd]);
            let put = Inst::Unary(Unary::Box32, float, TEMP.into());
            vec![take, Inst::Float { op, format, dst: TEMP, args, round }, put]
        }
        _ => {
            // Another slot than the usual one says how to round.
            let (op, args) = (FloatOp::Div, [x, y, Val::Const(0)]);
            let inst = Inst::Float { op, format: Format::F64, dst: TEMP, args, round: MODE.into() };
            vec![inst, on]
        }
    };
    let read = insts.iter().filter_map(Inst::dst).filter(|slot| slot.is_temp()).collect::<Vec<_>>();
    let read = Val::from(dice.of(&read));
    match dice.below(4) {
        0 => insts.push(Inst::Unary(Unary::Not, Slot(5), read)),
        1 => {
            let end = Term::Branch(dice.of(Cond::ALL), read, dice.val(), to, next);
            return Insn { insts, end: Some(end) };
        }
        2 => insts.push(Inst::Unary(Unary::Move, MODE, Val::Const(dice.below(5)))),
        _ => {}
    }
    plain(insts)
}

/// Accesses near to each other by bases that move, now and then across the end of a page.
fn cluster(dice: &mut Dice) -> Vec<Insn> {
    let at = dice.of(&[0x3100, 0x3fe0, 0x4ff0, 0x4800, 0x5ff8, 0x6100]) + dice.below(64);
    let mut list = vec![plain(vec![Inst::Unary(Unary::Move, Slot(7), Val::Const(at))])];
    for _ in 0..2 + dice.below(6) {
        let base = dice.of(&[Slot(7), Slot(7), Slot(4)]);
        let (size, offset) = (dice.of(SIZES), dice.below(64) as i32 - 32);
        let memory = Memory { size, signed: dice.below(2) == 0 };
        let (by, to) = (dice.of(&[8, 16, 8_u64.wrapping_neg()]), dice.of(&[Slot(7), Slot(4)]));
        let add = |from: Slot| Inst::Binary(Binary::Add, Width::Full, to, from.into(), by.into());
        list.push(plain(vec![match dice.below(8) {
            0..3 => Inst::Load(memory, dice.reg(), base.into(), offset),
            3..6 => Inst::Store(size, base.into(), offset, dice.val()),
            6 => add(base),
            _ => Inst::Unary(Unary::Move, Slot(4), Slot(7).into()),
        }]));
    }
    list
}

fn float(dice: &mut Dice) -> Vec<Inst> {
    use FloatOp::*;
    let format = dice.of(&[Format::F32, Format::F64, Format::F64]);
    let single = format == Format::F32;
    let ops = [
        Add,
        Sub,
        Mul,
        Div,
        Sqrt,
        MulAdd,
        MinNumber,
        MaxNumber,
        EqQuiet,
        LtSignal,
        LeSignal,
        LtQuiet,
        LeQuiet,
        Class,
        ToI32,
        ToU32,
        ToI64,
        ToU64,
        FromI32,
        FromU32,
        FromI64,
        FromU64,
        ToFloat(if single { Format::F64 } else { Format::F32 }),
    ];
    let op = dice.of(&ops);
    let from_integer = matches!(op, FromI32 | FromU32 | FromI64 | FromU64);
    let round = if dice.below(3) == 0 { Val::Const(dice.below(5)) } else { ROUND.into() };
    let mut insts = vec![];
    let mut args = [Val::Const(0); 3];
    for (nth, arg) in args.iter_mut().enumerate() {
        let temp = Slot(Slot::TEMPS + 1 + nth as u8);
        let reg: Val = Slot(dice.of(&[16, 17, 18, 20, 21])).into();
        *arg = reg;
        if single && !from_integer {
            insts.push(Inst::Unary(Unary::Unbox32, temp, reg));
            *arg = temp.into();
        }
    }
    if op == MulAdd && dice.below(2) == 0 {
        let temp = Slot(Slot::TEMPS + 9);
        let sign = if single { 1 << 31 } else { 1 << 63 };
        insts.push(Inst::Binary(Binary::Xor, Width::Full, temp, args[2], Val::Const(sign)));
        args[2] = temp.into();
    }
    insts.push(Inst::Float { op, format, dst: TEMP, args, round });
    #[allow(clippy::wildcard_enum_match_arm, reason = "the rest gives the format it takes")]
    let boxes = match op {
        ToFloat(to) => to == Format::F32,
        EqQuiet | LtSignal | LeSignal | LtQuiet | LeQuiet | Class | ToI32 | ToU32 | ToI64
        | ToU64 => false,
        _ => single,
    };
    let dst = Slot(dice.of(&[16, 17, 18, 20, 5, 2]));
    insts.push(Inst::Unary(if boxes { Unary::Box32 } else { Unary::Move }, dst, TEMP.into()));
    insts
}

fn number(dice: &mut Dice) -> u64 {
    let special = [
        0,
        1 << 63,
        0x3ff0_0000_0000_0000,
        0xbff8_0000_0000_0000,
        0x7ff0_0000_0000_0000,
        0xfff0_0000_0000_0000,
        0x7ff8_0000_0000_0000,
        0x7ff0_0000_0000_0001,
        1,
        0x41f0_0000_0000_0000,
        0x43e0_0000_0000_0000,
        0xc1e0_0000_0000_0000,
        0x0010_0000_0000_0000,
        0x7fef_ffff_ffff_ffff,
        0x380f_ffff_ffff_ffff,
        0x36a0_0000_0000_0000,
    ];
    let singles = [
        0,
        1 << 31,
        0x3f80_0000,
        0xbfc0_0000,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0x7f80_0001,
        1,
        0x4f80_0000,
        0x5f00_0000,
        0xcf00_0000,
        0x0080_0000,
        0x7f7f_ffff,
    ];
    match dice.below(8) {
        0..2 => dice.of(&special),
        2..4 => dice.of(&singles) | 0xffff_ffff << 32,
        4 => dice.word() >> 32 | 0xffff_ffff << 32,
        5 => ((dice.below(2000) as f64 - 1000.0) / 7.0).to_bits(),
        6 => u64::from(((dice.below(2000) as f32 - 1000.0) / 7.0).to_bits()) | 0xffff_ffff << 32,
        _ => dice.word(),
    }
}

/// A program of so many instructions: straight on, with branches back and forth, and loops that
/// the budget ends.
fn program(dice: &mut Dice, count: usize) -> Vec<Insn> {
    let pc = |number: u64| CODE + 4 * number;
    let mut list: Vec<Insn> = vec![];
    while list.len() < count {
        let to = pc(dice.below(count as u64));
        let next = pc(list.len() as u64 + 1);
        let jump = |insts| Insn { insts, end: Some(Term::Indirect(TEMP.into())) };
        let full = |op, a: Val, b: u64| Inst::Binary(op, Width::Full, TEMP, a, Val::Const(b));
        match dice.below(19) {
            16 | 17 => list.extend(flags(dice, to, next)),
            18 => list.push(reads_again(dice, to, next)),
            0 => list.extend(pair(dice)),
            1..6 => list.push(plain(vec![arithmetic(dice)])),
            6 => list.extend(cluster(dice)),
            7..9 => list.extend(access(dice)),
            9 => list.extend(quiet(dice)),
            10..12 => list.push(plain(float(dice))),
            12 => {
                let args = [dice.val(), dice.val(), Val::Const(0)];
                list.push(plain(vec![Inst::Call(Helper(1), dice.reg(), args)]));
            }
            13 => {
                let end = Term::Branch(dice.of(Cond::ALL), dice.val(), dice.val(), to, next);
                list.push(Insn { insts: vec![], end: Some(end) });
            }
            14 => list.push(jump(vec![Inst::Unary(Unary::Move, TEMP, Val::Const(to))])),
            _ => list.push(jump(vec![
                full(Binary::And, dice.val(), 7),
                full(Binary::Shl, TEMP.into(), 2),
                full(Binary::Add, TEMP.into(), to),
            ])),
        }
    }
    list
}

fn registers(dice: &mut Dice) -> Regs {
    let mut regs = Regs::default();
    for slot in 1..8 {
        regs.set(Slot(slot), dice.value());
    }
    for slot in 16..22 {
        regs.set(Slot(slot), number(dice));
    }
    regs.set(RESERVED, NOT_RESERVED);
    if dice.below(4) == 0 {
        regs.set(ROUND, dice.below(5));
        regs.set(MODE, dice.below(5));
    }
    regs
}

/// What can be seen of a run.
#[derive(PartialEq, Debug)]
struct Seen {
    exit: Exit,
    regs: Vec<u64>,
    calls: Vec<(u64, At)>,
    /// A sum of what is in it.
    memory: u64,
}

/// Runs to a budget in slices: whoever runs the vCPU goes on where code asked to be looked at.
fn seen(
    guest: &Listed,
    regs: &Regs,
    budget: u64,
    mut slice: impl FnMut(&mut Engine) -> u64,
) -> Seen {
    let (mut world, mut regs) = (World::new(guest.0.len()), regs.clone());
    let mut engine = Engine::new(1);
    let (mut pc, mut ticks) = (CODE, 0);
    let exit = loop {
        let budget = slice(&mut engine).min(budget - ticks);
        let (fetch, data) = (Context::default(), Context::default());
        let entry = Entry { pc, mode: Mode(0), fetch, data, budget };
        let calls = world.calls.len();
        let exit = engine.run(guest, 0, &mut world, &mut regs, entry);
        world.calls[calls..].iter_mut().for_each(|(_, at)| at.ticks += ticks);
        (ticks, pc) = (ticks + exit.ticks, exit.pc);
        if exit.trap.is_some() || ticks == budget_of(budget, ticks) && exit.ticks == 0 {
            break Exit { ticks, ..exit };
        }
    };
    let counters = engine.counters();
    assert_eq!(counters.instructions, exit.ticks, "each instruction is counted once");
    assert!(counters.instructions_compiled <= counters.instructions);
    let mut memory = vec![0; 0x5000];
    world.ram.read(Gpa(0x2000), &mut memory).expect("in RAM");
    let (words, _) = memory.as_chunks::<8>();
    let memory = words.iter().fold(0, |sum: u64, word| {
        (sum.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    Seen { exit, regs: regs.0[..128].to_vec(), calls: world.calls, memory }
}

/// A slice of nothing ends a run.
fn budget_of(slice: u64, ticks: u64) -> u64 {
    if slice == 0 { ticks } else { u64::MAX }
}

fn tiers(engine: &mut Engine, after: u32) {
    engine.set_tiers(Tiers::Compiled { after });
}

#[test]
fn every_tier_runs_random_programs_alike() {
    for seed in 0..1500 {
        let mut dice = Dice(seed);
        let guest = Listed(program(&mut dice, 24));
        let regs = registers(&mut dice);
        let budget = 20 + dice.below(200);
        let reference = seen(&guest, &regs, budget, |engine| {
            engine.set_tiers(Tiers::Interpreter);
            budget
        });
        let compiled = seen(&guest, &regs, budget, |engine| {
            tiers(engine, 0);
            budget
        });
        assert_eq!(compiled, reference, "seed {seed}, code at once: {:#?}", guest.0);
        let warm = seen(&guest, &regs, budget, |engine| {
            tiers(engine, 2);
            budget
        });
        assert_eq!(warm, reference, "seed {seed}, code when warm: {:#?}", guest.0);
        let mixed = seen(&guest, &regs, budget, |engine| {
            engine.drop_caches(dice.word());
            1 + dice.below(20)
        });
        assert_eq!(mixed, reference, "seed {seed}, tiers and slices mixed: {:#?}", guest.0);
    }
}
