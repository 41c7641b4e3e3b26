//! Floating point in machine code gives the bits and the flags of the soft float library.

use omni_base::{Gpa, PageNo};
use omni_engine::{
    Access, At, Code, Context, Engine, Entry, Env, Flow, Frontend, HotSlots, Mapping, Mode,
    NanRule, RegSlot, Regs, Reply, Target, Tiers,
};
use omni_ir::{Binary, Builder, FloatOp, Format, Helper, Size, Slot, Trap, Unary, Val, Width};
use omni_memory::Space;
use omni_softfloat as sf;
use omni_softfloat::{F16, F32, F64, Flags, Float, Round as Rounding};

/// Where code is: one instruction is four bytes, which are its number.
const CODE: u64 = 0x1000;
const PAGES: u64 = 64;

const FLAGS: Slot = Slot(100);
const ROUND: Slot = Slot(101);

/// Operands and result: in host registers, over an operand, in memory, and all the same.
const PLACES: &[[u8; 4]] = &[
    [16, 17, 18, 19],
    [16, 17, 18, 16],
    [16, 17, 18, 17],
    [16, 17, 18, 18],
    [24, 17, 25, 19],
    [24, 25, 26, 27],
    [16, 16, 16, 16],
    [1, 17, 2, 19],
];

use FloatOp::*;

/// The operations with the number of their operands; zero stands for one integer.
const OPS: &[(FloatOp, usize)] = &[
    (Add, 2),
    (Sub, 2),
    (Mul, 2),
    (Div, 2),
    (Sqrt, 1),
    (MulAdd, 3),
    (MinNumber, 2),
    (MaxNumber, 2),
    (Minimum, 2),
    (Maximum, 2),
    (EqQuiet, 2),
    (LtSignal, 2),
    (LeSignal, 2),
    (LtQuiet, 2),
    (LeQuiet, 2),
    (Class, 1),
    (ToFloat(Format::F16), 1),
    (ToFloat(Format::F32), 1),
    (ToFloat(Format::F64), 1),
    (ToI32, 1),
    (ToU32, 1),
    (ToI64, 1),
    (ToU64, 1),
    (FromI32, 0),
    (FromU32, 0),
    (FromI64, 0),
    (FromU64, 0),
    (Round, 1),
    (RoundExact, 1),
    (ToI32Modular, 1),
];

/// One guest instruction, which ends its block.
#[derive(Clone, Copy, Debug)]
struct Insn {
    op: FloatOp,
    count: usize,
    format: Format,
    /// A rounding mode, or the one in the slot.
    round: Option<u8>,
    place: [u8; 4],
    /// Whether the product and the addend change their signs.
    negated: [bool; 2],
    /// Singles come out of boxes and go into boxes.
    boxed: bool,
}

impl Insn {
    fn single(&self) -> bool {
        self.format == Format::F32
    }

    fn unboxes(&self) -> bool {
        self.boxed && self.single() && self.count > 0
    }

    fn boxes(&self) -> Option<Unary> {
        #[allow(clippy::wildcard_enum_match_arm, reason = "the rest gives the format it takes")]
        let format = match self.op {
            ToFloat(to) => to,
            EqQuiet | LtSignal | LeSignal | LtQuiet | LeQuiet | Class => return None,
            ToI32 | ToU32 | ToI64 | ToU64 | ToI32Modular => return None,
            _ => self.format,
        };
        match format {
            Format::F16 => self.boxed.then_some(Unary::Box16),
            Format::F32 => self.boxed.then_some(Unary::Box32),
            Format::F64 => None,
        }
    }

    fn sign(&self) -> u64 {
        if self.single() { 1 << 31 } else { 1 << 63 }
    }

    /// What the operation takes, by what the slots hold.
    fn operands(&self, mut args: [u64; 3]) -> [u64; 3] {
        if self.unboxes() {
            args = args.map(|arg| Unary::Unbox32.eval(arg));
        }
        for (at, negated) in [(0, self.negated[0]), (2, self.negated[1])] {
            args[at] ^= if negated { self.sign() } else { 0 };
        }
        args
    }

    fn build(&self, b: &mut Builder) {
        let mut args = [Val::Const(0); 3];
        for (nth, arg) in args.iter_mut().take(self.count.max(1)).enumerate() {
            *arg = Slot(self.place[nth]).into();
            if self.unboxes() {
                let temp = b.temp();
                b.unary(Unary::Unbox32, temp, *arg);
                *arg = temp.into();
            }
        }
        for (at, negated) in [(0, self.negated[0]), (2, self.negated[1])] {
            if negated {
                let temp = b.temp();
                b.sized(Binary::Xor, Width::Full, temp, args[at], self.sign());
                args[at] = temp.into();
            }
        }
        let round = self.round.map_or(ROUND.into(), |round| Val::Const(round.into()));
        let (temp, dst) = (b.temp(), Slot(self.place[3]));
        b.float(self.op, self.format, temp, &args, round);
        b.unary(self.boxes().unwrap_or(Unary::Move), dst, temp);
    }
}

/// Every operation in every format, with every rounding mode, at every place.
fn instructions() -> Vec<Insn> {
    let mut list = vec![];
    let signs = [[false, false], [false, true], [true, false], [true, true]];
    for &(op, count) in OPS {
        for (format, boxed) in [(Format::F64, true), (Format::F32, true), (Format::F32, false)] {
            if op == ToI32Modular && format == Format::F32 || op == ToFloat(format) {
                continue;
            }
            let signs = if op == MulAdd { &signs[..] } else { &signs[..1] };
            for round in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
                for (&place, &negated) in
                    PLACES.iter().flat_map(|p| signs.iter().map(move |s| (p, s)))
                {
                    list.push(Insn { op, count, format, round, place, negated, boxed });
                }
            }
        }
    }
    list
}

struct Listed(Vec<Insn>);

impl Frontend for Listed {
    fn registers(&self) -> &'static [RegSlot] {
        &[RegSlot { slot: Slot(31), name: "r31", bits: 64 }]
    }
    fn float_flags(&self) -> Slot {
        FLAGS
    }
    fn reservation(&self) -> Slot {
        Slot(102)
    }
    fn hot_slots(&self) -> HotSlots {
        const FLOATS: &[Slot] = &[Slot(16), Slot(17), Slot(18), Slot(19)];
        HotSlots { integers: &[Slot(1), Slot(2)], floats: FLOATS }
    }
    fn nan_rule(&self) -> NanRule {
        NanRule::RiscV
    }
    fn code_moves(&self) -> bool {
        false
    }
    fn lower(&self, code: &Code, _: Mode, b: &mut Builder) -> Flow {
        let number = u32::from_le_bytes([0, 1, 2, 3].map(|at| code.bytes[at]));
        match self.0.get(number as usize) {
            Some(insn) => {
                insn.build(b);
                b.stop(code.pc + 4);
            }
            None => b.trap(2, u64::from(number)),
        }
        Flow::End
    }
}

struct World(Space);

impl Env for World {
    fn hold(&mut self) {}
    fn release(&mut self) {}
    fn wants_stillness(&self, _: Helper) -> bool {
        false
    }
    fn ram(&mut self) -> &mut Space {
        &mut self.0
    }
    fn translate(&mut self, at: u64, _: Size, _: Access) -> Result<Mapping, Trap> {
        if at >> 12 >= PAGES {
            return Err(Trap { cause: 13, value: at });
        }
        let (target, tables) = (Target::Ram(PageNo(at >> 12)), [PageNo(0); 6]);
        let (load, store, keep) = (true, true, true);
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
    fn call(&mut self, _: Helper, _: &mut Regs, _: [u64; 3], _: At) -> Result<Reply, Trap> {
        Ok(Reply::default())
    }
}

/// What the library makes of it: the result, without a box, and the flags raised.
fn expected(insn: &Insn, args: [u64; 3], round: Rounding) -> (u64, u8) {
    let mut env = sf::Env::riscv(round, Flags::NONE);
    let args = insn.operands(args);
    let value = match insn.format {
        Format::F32 => eval::<F32>(insn.op, args, &mut env),
        Format::F64 => eval::<F64>(insn.op, args, &mut env),
        Format::F16 => eval::<F16>(insn.op, args, &mut env),
    };
    (insn.boxes().unwrap_or(Unary::Move).eval(value), env.flags.0)
}

fn eval<F: Float>(op: FloatOp, [a, b, c]: [u64; 3], env: &mut sf::Env) -> u64 {
    let wide = |value: i32| i64::from(value) as u64;
    match op {
        Add => sf::add::<F>(a, b, env),
        Sub => sf::sub::<F>(a, b, env),
        Mul => sf::mul::<F>(a, b, env),
        Div => sf::div::<F>(a, b, env),
        Sqrt => sf::sqrt::<F>(a, env),
        MulAdd => sf::mul_add::<F>(a, b, c, env),
        MinNumber => sf::minimum_number::<F>(a, b, env),
        MaxNumber => sf::maximum_number::<F>(a, b, env),
        Minimum => sf::minimum::<F>(a, b, env),
        Maximum => sf::maximum::<F>(a, b, env),
        EqQuiet => sf::eq::<F>(a, b, env).into(),
        LtSignal => sf::lt::<F>(a, b, env).into(),
        LeSignal => sf::le::<F>(a, b, env).into(),
        LtQuiet => sf::lt_quiet::<F>(a, b, env).into(),
        LeQuiet => sf::le_quiet::<F>(a, b, env).into(),
        Class => sf::classify::<F>(a).riscv_mask(),
        ToFloat(Format::F16) => sf::convert::<F, F16>(a, env),
        ToFloat(Format::F32) => sf::convert::<F, F32>(a, env),
        ToFloat(Format::F64) => sf::convert::<F, F64>(a, env),
        ToI32 => wide(sf::to_i32::<F>(a, env)),
        ToU32 => wide(sf::to_u32::<F>(a, env).cast_signed()),
        ToI64 => sf::to_i64::<F>(a, env) as u64,
        ToU64 => sf::to_u64::<F>(a, env),
        FromI32 => sf::from_i32::<F>(a as i32, env),
        FromU32 => sf::from_u32::<F>(a as u32, env),
        FromI64 => sf::from_i64::<F>(a.cast_signed(), env),
        FromU64 => sf::from_u64::<F>(a, env),
        Round => sf::round_to_integral::<F>(a, env),
        RoundExact => sf::round_to_integral_exact::<F>(a, env),
        ToI32Modular => wide(sf::to_i32_modular(a, env)),
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
}

/// What a format looks like: the bits of the significand and of the exponent.
#[derive(Clone, Copy)]
struct Shape {
    fraction: u32,
    exponent: u32,
}

impl Shape {
    fn of(format: Format) -> Self {
        match format {
            Format::F64 => Self { fraction: 52, exponent: 11 },
            Format::F16 | Format::F32 => Self { fraction: 23, exponent: 8 },
        }
    }

    fn sign(self) -> u64 {
        1 << (self.fraction + self.exponent)
    }

    fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.fraction
    }

    /// Two to this power, or what is next to it within the range.
    fn power(self, power: i64) -> u64 {
        let bias = (1 << (self.exponent - 1)) - 1;
        let exponent = (power + bias).clamp(0, (1 << self.exponent) - 2);
        (exponent as u64) << self.fraction
    }

    fn bits_of(self, value: f64) -> u64 {
        if self.fraction == 52 { value.to_bits() } else { u64::from((value as f32).to_bits()) }
    }

    /// Zeros, boundaries, powers of two and their neighbours, integers near the limits of
    /// conversions, infinities, and NaNs of both kinds with and without payload.
    fn interesting(self) -> Vec<u64> {
        let (infinity, quiet) = (self.infinity(), 1 << (self.fraction - 1));
        let mut list = vec![0, 1, 2, 3, quiet, quiet - 1, quiet + 1];
        let powers = [
            0, 1, 2, -1, -2, 10, 11, 15, 16, 22, 23, 24, 25, 30, 31, 32, 33, 51, 52, 53, 54, 61,
            62, 63, 64, 65, 126, 127, 128, -14, -15, -24, -25, -26, -125, -126, -127, -148, -149,
            -150, -151, 511, 512, 1021, 1022, 1023, -511, -512, -536, -537, -538, -1020, -1021,
            -1022, -1023,
        ];
        for power in powers {
            let two = self.power(power);
            let half = 1 << (self.fraction - 1);
            list.extend([two, two + 1, two.saturating_sub(1), two + half, two + half + 1]);
        }
        for shift in 0..self.fraction {
            list.push(1 << shift);
        }
        for limit in [2f64.powi(31), 2f64.powi(32), 2f64.powi(63), 2f64.powi(64), 128.0, 65536.0] {
            for by in [-1.5, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5] {
                list.push(self.bits_of(limit + by));
            }
        }
        list.extend([0.1, 0.25, 0.5, 0.75, 1.5, 2.5, 3.5, 1e10, 1e-10].map(|v| self.bits_of(v)));
        let odd = 0x000a_5a5a_5a5a_5a5a & (quiet - 1);
        list.extend([infinity - 1, infinity - 2, infinity, infinity | 1, infinity | odd]);
        list.extend([infinity | quiet, infinity | quiet | 1, infinity | quiet | odd]);
        list.push(infinity | (quiet * 2 - 1));
        let negative: Vec<_> = list.iter().map(|value| value | self.sign()).collect();
        list.extend(negative);
        list
    }

    /// Any bits, or ones that make results that are tiny, cancel, or lie near a tie.
    fn random(self, dice: &mut Dice, other: u64) -> u64 {
        let mask = self.sign() | (self.sign() - 1);
        let fraction = (1_u64 << self.fraction) - 1;
        let sign = if dice.below(2) == 0 { self.sign() } else { 0 };
        match dice.below(8) {
            0 | 1 => dice.word() & mask,
            // Next to the other operand, with either sign.
            2 => (other ^ sign).wrapping_add(dice.below(5)).wrapping_sub(2) & mask,
            // An exponent that makes products tiny with the other's.
            3 => {
                let exponent = other >> self.fraction & ((1 << self.exponent) - 1);
                let bias = (1 << (self.exponent - 1)) - 1;
                let low = (bias + dice.below(4)).saturating_sub(exponent);
                sign | low.min(2 * bias) << self.fraction | dice.word() & fraction
            }
            // Few ones, or few zeros, in the fraction.
            4 => {
                let few = 1 << dice.below(self.fraction.into()) | dice.below(4);
                let exponent = dice.below(1 << self.exponent) << self.fraction;
                let bits = if dice.below(2) == 0 { few } else { !few };
                sign | exponent | bits & fraction
            }
            5 => sign | dice.word() & fraction,
            6 => {
                let power = dice.below(140).cast_signed() - 70;
                sign | self.power(power) | dice.word() & fraction
            }
            _ => sign | self.bits_of(dice.word() as f64) >> dice.below(2),
        }
    }
}

/// Operands for all operations.
struct Operands {
    dice: Dice,
    double: Vec<u64>,
    single: Vec<u64>,
}

impl Operands {
    fn new(seed: u64) -> Self {
        let interesting = |format| Shape::of(format).interesting();
        let (double, single) = (interesting(Format::F64), interesting(Format::F32));
        Self { dice: Dice(seed), double, single }
    }

    fn one(&mut self, insn: &Insn, other: u64) -> u64 {
        let dice = &mut self.dice;
        if insn.count == 0 {
            let near = 1_u64 << dice.below(64);
            let near = near.wrapping_add(dice.below(5)).wrapping_sub(2);
            let wild = dice.word() >> dice.below(64);
            return match dice.below(4) {
                0 => near,
                1 => near.wrapping_neg(),
                2 => wild,
                // Near a tie of the conversion.
                _ => wild & !0 << dice.below(64) | 1 << dice.below(64),
            };
        }
        let known = if insn.single() { &self.single } else { &self.double };
        let value = match dice.below(2) {
            0 => dice.of(known),
            _ => Shape::of(insn.format).random(dice, other),
        };
        match insn.single() {
            true if dice.below(16) > 0 => value | !0 << 32,
            // In no box, or in half of one.
            true => value | dice.word() << 32 | dice.below(2) << 63,
            false => value,
        }
    }

    /// Operands as the slots of the instruction hold them.
    fn of(&mut self, insn: &Insn) -> [u64; 3] {
        let a = self.one(insn, 0);
        let b = self.one(insn, a);
        let mut c = self.one(insn, b);
        if insn.op == MulAdd && self.dice.below(3) == 0 {
            c = near_product(insn, a, b, self.dice.below(9));
        }
        if insn.place[0] == insn.place[1] { [a; 3] } else { [a, b, c] }
    }
}

/// An addend that leaves little or nothing of the product.
fn near_product(insn: &Insn, a: u64, b: u64, by: u64) -> u64 {
    let sign = insn.sign();
    if insn.single() {
        let product = f32::from_bits(a as u32) * f32::from_bits(b as u32);
        let near = product.to_bits().wrapping_add(by as u32).wrapping_sub(4);
        return (u64::from(near) ^ sign) | !0 << 32;
    }
    let product = f64::from_bits(a) * f64::from_bits(b);
    product.to_bits().wrapping_add(by).wrapping_sub(4) ^ sign
}

/// Runs single instructions by machine code.
struct Bench {
    guest: Listed,
    engine: Engine,
    world: World,
    regs: Regs,
    compared: u64,
}

impl Bench {
    fn new() -> Self {
        let guest = Listed(instructions());
        let mut ram = Space::new("ram", PAGES);
        for number in 0..guest.0.len() as u32 {
            let at = Gpa(CODE + 4 * u64::from(number));
            ram.store(at, &number.to_le_bytes()).expect("fits");
        }
        let mut engine = Engine::new(1);
        engine.set_tiers(Tiers::Compiled { after: 0 });
        Self { guest, engine, world: World(ram), regs: Regs::default(), compared: 0 }
    }

    fn compare(&mut self, number: usize, args: [u64; 3], round: u8, before: u8) {
        let insn = self.guest.0[number];
        let regs = &mut self.regs;
        regs.set(ROUND, round.into());
        regs.set(FLAGS, before.into());
        for (slot, value) in insn.place.into_iter().zip(args).take(insn.count.max(1)) {
            regs.set(Slot(slot), value);
        }
        let pc = CODE + 4 * number as u64;
        let (fetch, data) = (Context::default(), Context::default());
        let entry = Entry { pc, mode: Mode(0), fetch, data, budget: 9 };
        let exit = self.engine.run(&self.guest, 0, &mut self.world, regs, entry);
        assert_eq!((exit.ticks, exit.trap), (1, None));
        let round = Rounding::from_riscv(insn.round.unwrap_or(round)).expect("it is one");
        let (value, flags) = expected(&insn, args, round);
        let got = (regs.get(Slot(insn.place[3])), regs.get(FLAGS));
        let want = (value, u64::from(flags | before));
        assert!(
            got == want,
            "{insn:?} of {args:x?} rounding {round:?} with flags {before:x}:\n\
             got {got:x?}, not {want:x?}"
        );
        self.compared += 1;
    }

    /// Whether the host's arithmetic was asked at all: not all was left to the interpreter.
    fn ran_machine_code(&self) {
        let counters = self.engine.counters();
        if cfg!(target_arch = "x86_64") {
            assert!(counters.steps + counters.left_by_miss < counters.runs / 4 * 3, "{counters:?}");
        }
    }

    /// So many operands for each instruction.
    fn sweep(&mut self, seed: u64, each: usize) {
        let mut operands = Operands::new(seed);
        for number in 0..self.guest.0.len() {
            let insn = self.guest.0[number];
            // Other modes than the default one are the interpreter's.
            let each = if insn.round.is_none_or(|round| round == 0) { each } else { each / 3 };
            for _ in 0..each {
                let args = operands.of(&insn);
                // The slot's mode is mostly the one that has code.
                let any = operands.dice.below(2) * operands.dice.below(5);
                let before = operands.dice.of(&[0, 0, 0, 1, 0x10]);
                self.compare(number, args, any as u8, before);
            }
        }
    }

    /// Every pair of interesting operands for the operations that have code of their own.
    fn pairs(&mut self, step: usize) {
        let operands = Operands::new(0);
        for number in 0..self.guest.0.len() {
            let insn = self.guest.0[number];
            let plain = insn.place == PLACES[0] && insn.boxed && insn.round.is_none_or(|r| r == 0);
            if !plain || insn.count == 0 {
                continue;
            }
            let known = if insn.single() { &operands.single } else { &operands.double };
            let value =
                |at: usize| known[at % known.len()] | if insn.single() { !0 << 32 } else { 0 };
            let all = if insn.count == 1 { known.len() } else { known.len() * known.len() };
            for pair in (number % step..all).step_by(if insn.count == 1 { 1 } else { step }) {
                let (a, b) = (value(pair), value(pair / known.len()));
                self.compare(number, [a, b, value(pair / 7 + number)], 0, 0);
            }
        }
    }
}

#[test]
fn machine_code_gives_the_bits_and_flags_of_ieee_754() {
    let mut bench = Bench::new();
    bench.sweep(1, 500);
    bench.pairs(97);
    assert!(bench.compared > 1_000_000, "{} vectors", bench.compared);
    bench.ran_machine_code();
}

#[test]
#[ignore = "tens of millions of vectors, minutes unless optimised: .ci/run runs it in release"]
fn machine_code_gives_the_bits_and_flags_of_ieee_754_at_length() {
    let mut bench = Bench::new();
    bench.pairs(1);
    for seed in 2..12 {
        bench.sweep(seed, 1500);
    }
    assert!(bench.compared > 30_000_000, "{} vectors", bench.compared);
    bench.ran_machine_code();
}
