//! The front-end: instructions as IR. What is rare traps to the interpreter.

use crate::alu;
use crate::opcode::{Inst, field, op};
use crate::state::{FLAGS, RESERVATION, SPECIALS, slot, special};
use crate::world::{EXECUTE, helper};
use omni_engine::{Code, Flow, Frontend, HotSlots, Mode, NanRule, RegSlot};
use omni_ir::{Binary, Builder, Cond, Helper, Size, Slot, Unary, Val};

/// The bit of a mode that says that trips are enabled.
const TRIPS: u32 = 1 << 8;

/// The event bit of an overflow of integers in rA.
const OVERFLOW: u64 = 0x40;

/// What of a machine changes what code means: rG, and whether a trip is enabled.
pub(crate) fn mode(global: u8, ra: u64) -> Mode {
    Mode(u32::from(global) | if ra & 0xff00 != 0 { TRIPS } else { 0 })
}

/// The front-end.
pub(crate) struct Mmix;

impl Frontend for Mmix {
    fn registers(&self) -> &'static [RegSlot] {
        const ROWS: [RegSlot; 32] = {
            let none = RegSlot { slot: Slot(SPECIALS), name: "rB", bits: 64 };
            let mut rows = [none; 32];
            let mut at = 0;
            while at < 32 {
                rows[at] =
                    RegSlot { slot: Slot(SPECIALS + at as u8), name: special::NAMES[at], bits: 64 };
                at += 1;
            }
            rows
        };
        const TABLE: &[RegSlot] = &ROWS;
        TABLE
    }

    fn float_flags(&self) -> Slot {
        FLAGS
    }

    fn reservation(&self) -> Slot {
        RESERVATION
    }

    fn nan_rule(&self) -> NanRule {
        NanRule::RiscV
    }

    fn hot_slots(&self) -> HotSlots {
        const INTEGERS: &[Slot] = &[
            special::slot(special::L),
            Slot(0),
            Slot(1),
            Slot(2),
            Slot(3),
            Slot(4),
            Slot(SPECIALS - 1),
            Slot(SPECIALS - 2),
            Slot(5),
            Slot(6),
            Slot(SPECIALS - 3),
            special::slot(special::A),
        ];
        HotSlots { integers: INTEGERS, floats: &[] }
    }

    fn code_moves(&self) -> bool {
        false
    }

    fn lower(&self, code: &Code, mode: Mode, into: &mut Builder) -> Flow {
        if !code.pc.is_multiple_of(4) {
            into.trap(EXECUTE.cause, EXECUTE.value);
            return Flow::End;
        }
        let [a, b, c, d, ..] = code.bytes;
        let inst = Inst { op: a, x: b, y: c, z: d };
        let mut lower = Lower { b: into, inst, pc: code.pc, mode };
        lower.run().unwrap_or_else(|| {
            lower.b.trap(EXECUTE.cause, EXECUTE.value);
            Flow::End
        })
    }
}

/// One instruction on its way. Functions give nothing where it is left to the interpreter, and
/// have built nothing then.
struct Lower<'a> {
    b: &'a mut Builder,
    inst: Inst,
    pc: u64,
    mode: Mode,
}

const NEXT: Option<Flow> = Some(Flow::Next(4));

impl Lower<'_> {
    fn run(&mut self) -> Option<Flow> {
        let inst = self.inst;
        // All registers have slots, or there is nothing to be done here.
        for (is, number) in
            [(field::DEST | field::X, inst.x), (field::Y, inst.y), (field::Z, inst.z)]
        {
            if inst.has(is) {
                slot(number)?;
            }
        }
        match inst.op {
            0x01..=0x17 | op::MUL..=0x1f => self.arithmetic(),
            op::ADD..=0x3f => self.integer(),
            op::BN..=0x5f => self.branch(),
            op::CSN..=0x7f => self.conditional(),
            op::LDB..=0x97 => self.load(),
            op::PRELD..=0x9d | op::SYNCD..=0xbd => NEXT,
            op::GO | 0x9f => {
                let to = self.address();
                let next = self.pc.wrapping_add(4);
                self.result(next);
                self.b.indirect(to);
                Some(Flow::End)
            }
            op::STB..=0xb7 => self.store(),
            op::PUSHGO | 0xbf => {
                let to = self.address();
                self.push();
                self.b.indirect(to);
                Some(Flow::End)
            }
            op::OR..=0xd7 => self.bits(),
            op::MUX..=0xdf => self.other_bits(),
            op::SETH..=0xef => self.wyde(),
            op::JMP | 0xf1 => {
                self.b.jump(inst.target(self.pc));
                Some(Flow::End)
            }
            op::PUSHJ | 0xf3 => {
                self.push();
                self.b.jump(inst.target(self.pc));
                Some(Flow::End)
            }
            op::GETA | 0xf5 => self.result(inst.target(self.pc)),
            op::PUT | 0xf7 => self.put_special(),
            op::POP => {
                let to = self.b.temp();
                let rj = special::slot(special::J);
                self.b.binary(Binary::Add, to, rj, inst.yz() << 2);
                let none = self.b.temp();
                self.b.call(helper::POP, none, [u64::from(inst.x).into(), 0.into(), 0.into()]);
                self.b.indirect(to);
                Some(Flow::End)
            }
            op::SYNC if inst.x == 0 && inst.y == 0 && inst.z <= 3 => NEXT,
            op::SWYM => NEXT,
            op::GET => self.get_special(),
            _ => None,
        }
    }

    fn register(number: u8) -> Val {
        // What has none does not come here.
        slot(number).map_or(Val::Const(0), Val::Slot)
    }

    fn y(&self) -> Val {
        Self::register(self.inst.y)
    }

    fn z(&self) -> Val {
        if self.inst.has(field::Z) {
            Self::register(self.inst.z)
        } else {
            Val::Const(self.inst.z.into())
        }
    }

    fn binary(&mut self, op: Binary, a: impl Into<Val>, b: impl Into<Val>) -> Slot {
        let temp = self.b.temp();
        self.b.binary(op, temp, a, b);
        temp
    }

    fn unary(&mut self, op: Unary, a: impl Into<Val>) -> Slot {
        let temp = self.b.temp();
        self.b.unary(op, temp, a);
        temp
    }

    /// Puts the result into register X, which is local from then on if it is not global.
    fn result(&mut self, value: impl Into<Val>) -> Option<Flow> {
        let dst = slot(self.inst.x)?;
        self.grow();
        self.b.put(dst, value);
        NEXT
    }

    fn grow(&mut self) {
        if u32::from(self.inst.x) < self.mode.0 & 0xff {
            let local = special::slot(special::L);
            self.b.binary(Binary::MaxU, local, local, u64::from(self.inst.x) + 1);
        }
    }

    fn trips(&self) -> bool {
        self.mode.0 & TRIPS != 0
    }

    fn push(&mut self) {
        let none = self.b.temp();
        let x = u64::from(self.inst.x);
        self.b.call(helper::PUSH, none, [x.into(), 0.into(), 0.into()]);
        self.b.put(special::slot(special::J), self.pc.wrapping_add(4));
    }

    fn address(&mut self) -> Slot {
        let (y, z) = (self.y(), self.z());
        self.binary(Binary::Add, y, z)
    }

    /// By a function, as it has many steps or exceptions.
    fn arithmetic(&mut self) -> Option<Flow> {
        let inst = self.inst;
        if self.trips() || alu::has_rounding_field(inst.op) && inst.y > 4 {
            return None;
        }
        let y = if inst.has(field::Y) { self.y() } else { Val::Const(inst.y.into()) };
        let z = self.z();
        match inst.family() {
            op::MULU => {
                let low = self.binary(Binary::Mul, y, z);
                let high = self.binary(Binary::MulHighU, y, z);
                self.b.put(special::slot(special::H), high);
                return self.result(low);
            }
            op::MUL => {
                let low = self.binary(Binary::Mul, y, z);
                let high = self.binary(Binary::MulHighS, y, z);
                let signs = self.binary(Binary::Sar, low, 63);
                let over = self.binary(Binary::Ne, high, signs);
                self.raise(over);
                return self.result(low);
            }
            _ => {}
        }
        let third = alu::third(inst.family(), inst.op);
        let b = third.map_or(Val::Const(0), |number| special::slot(number).into());
        let x = self.b.temp();
        self.b.call(Helper(inst.op.into()), x, [y, z, b]);
        self.result(x)
    }

    /// Notes an overflow where a slot is one.
    fn raise(&mut self, over: Slot) {
        let ra = special::slot(special::A);
        let bit = self.binary(Binary::Shl, over, u64::from(OVERFLOW.trailing_zeros()));
        self.b.binary(Binary::Or, ra, ra, bit);
    }

    fn integer(&mut self) -> Option<Flow> {
        let inst = self.inst;
        let family = inst.family();
        if self.trips() && matches!(family, op::ADD | op::SUB | op::NEG | op::SL) {
            return None;
        }
        let y = if inst.has(field::Y) { self.y() } else { Val::Const(inst.y.into()) };
        let z = self.z();
        let x = match family {
            op::ADDU => self.binary(Binary::Add, y, z),
            op::SUBU | op::NEGU => self.binary(Binary::Sub, y, z),
            op::ADD => {
                let sum = self.binary(Binary::Add, y, z);
                let (a, b) = (self.binary(Binary::Xor, y, sum), self.binary(Binary::Xor, z, sum));
                self.overflowed(a, b);
                sum
            }
            op::SUB | op::NEG => {
                let rest = self.binary(Binary::Sub, y, z);
                let (a, b) = (self.binary(Binary::Xor, y, z), self.binary(Binary::Xor, y, rest));
                self.overflowed(a, b);
                rest
            }
            op::CMP | op::CMPU => {
                let less = if family == op::CMP { Binary::LtS } else { Binary::LtU };
                let (above, below) = (self.binary(less, z, y), self.binary(less, y, z));
                self.binary(Binary::Sub, above, below)
            }
            op::SL => {
                let x = self.b.temp();
                self.b.call(Helper(inst.op.into()), x, [y, z, Val::Const(0)]);
                x
            }
            op::SLU => self.shifted(Binary::Shl, y, z),
            op::SRU => self.shifted(Binary::Shr, y, z),
            op::SR => {
                let count = self.binary(Binary::MinU, z, 63);
                self.binary(Binary::Sar, y, count)
            }
            op::ADDU2 => self.binary(Binary::Sh1Add, y, z),
            0x2a => self.binary(Binary::Sh2Add, y, z),
            0x2c => self.binary(Binary::Sh3Add, y, z),
            _ => {
                let shifted = self.binary(Binary::Shl, y, 4);
                self.binary(Binary::Add, shifted, z)
            }
        };
        self.result(x)
    }

    /// Notes an overflow where the signs of two slots are both set.
    fn overflowed(&mut self, a: Slot, b: Slot) {
        let both = self.binary(Binary::And, a, b);
        let over = self.binary(Binary::Shr, both, 63);
        self.raise(over);
    }

    /// A shift of which nothing is left from 64 on.
    fn shifted(&mut self, op: Binary, y: Val, z: Val) -> Slot {
        let shifted = self.binary(op, y, z);
        let short = self.binary(Binary::LtU, z, 64);
        self.binary(Binary::IfNonZero, shifted, short)
    }

    /// The comparison that decides by the low bits of an opcode.
    fn condition(&mut self, value: Val) -> (Cond, Val, Val) {
        let (cond, a, b) = match self.inst.op >> 1 & 3 {
            0 => (Cond::LtS, value, Val::Const(0)),
            1 => (Cond::Eq, value, Val::Const(0)),
            2 => (Cond::LtS, Val::Const(0), value),
            _ => (Cond::Ne, self.binary(Binary::And, value, 1).into(), Val::Const(0)),
        };
        (if self.inst.op & 8 != 0 { cond.negated() } else { cond }, a, b)
    }

    fn branch(&mut self) -> Option<Flow> {
        let (cond, a, b) = self.condition(Self::register(self.inst.x));
        let to = self.inst.target(self.pc);
        self.b.branch(cond, a, b, to, self.pc.wrapping_add(4));
        Some(Flow::End)
    }

    fn conditional(&mut self) -> Option<Flow> {
        let (y, z) = (self.y(), self.z());
        let other =
            if self.inst.op < op::ZSN { Self::register(self.inst.x) } else { Val::Const(0) };
        let (test, inverted) = match self.inst.op >> 1 & 3 {
            0 => (self.binary(Binary::LtS, y, 0), false),
            1 => (self.binary(Binary::Eq, y, 0), false),
            2 => (self.binary(Binary::LtS, 0, y), false),
            _ => (self.binary(Binary::And, y, 1), false),
        };
        let x = self.b.temp();
        let swapped = inverted != (self.inst.op & 8 != 0);
        let (then, or) = if swapped { (other, z) } else { (z, other) };
        self.b.select(x, test, then, or);
        self.result(x)
    }

    /// The address of an access, its low bits cut off.
    fn aligned(&mut self, size: Size) -> Slot {
        let at = self.address();
        if size == Size::B1 { at } else { self.binary(Binary::And, at, !(size.bytes() - 1)) }
    }

    /// A value with its bytes in the other order.
    fn swapped(&mut self, size: Size, value: Val) -> Val {
        match size {
            Size::B1 => value,
            Size::B2 => self.unary(Unary::ByteSwap16, value).into(),
            Size::B4 => self.unary(Unary::ByteSwap32, value).into(),
            Size::B8 | Size::B16 => self.unary(Unary::ByteSwap64, value).into(),
        }
    }

    fn load(&mut self) -> Option<Flow> {
        let family = self.inst.family();
        if family == op::CSWAP {
            return None;
        }
        let size = match family {
            op::LDSF | op::LDHT => Size::B4,
            op::LDUNC => Size::B8,
            _ => size_of(self.inst.op),
        };
        let at = self.aligned(size);
        let raw = self.b.temp();
        self.b.load(size, false, raw, at, 0);
        let value = self.swapped(size, raw.into());
        let signed = self.inst.op & 2 == 0;
        let value: Val = match (family, size) {
            (op::LDSF, _) => {
                let x = self.b.temp();
                self.b.call(helper::LOAD_SHORT, x, [value, 0.into(), 0.into()]);
                x.into()
            }
            (op::LDHT, _) => self.binary(Binary::Shl, value, 32).into(),
            (_, Size::B1) if signed => self.unary(Unary::Sext8, value).into(),
            (_, Size::B2) if signed => self.unary(Unary::Sext16, value).into(),
            (_, Size::B4) if signed => self.unary(Unary::Sext32, value).into(),
            _ => value,
        };
        self.result(value)
    }

    fn store(&mut self) -> Option<Flow> {
        let inst = self.inst;
        let family = inst.family();
        if family == op::STSF {
            return None;
        }
        let (size, value) = match family {
            op::STHT => (Size::B4, self.binary(Binary::Shr, Self::register(inst.x), 32).into()),
            op::STCO => (Size::B8, Val::Const(inst.x.into())),
            op::STUNC => (Size::B8, Self::register(inst.x)),
            _ => (size_of(inst.op), Self::register(inst.x)),
        };
        let checked = family < op::STSF && inst.op & 2 == 0 && size != Size::B8;
        if checked && self.trips() {
            return None;
        }
        let at = self.aligned(size);
        let swapped = self.swapped(size, value);
        self.b.store(size, at, 0, swapped);
        if checked {
            let extend = match size {
                Size::B1 => Unary::Sext8,
                Size::B2 => Unary::Sext16,
                Size::B4 | Size::B8 | Size::B16 => Unary::Sext32,
            };
            let short = self.unary(extend, value);
            let over = self.binary(Binary::Ne, short, value);
            self.raise(over);
        }
        NEXT
    }

    fn bits(&mut self) -> Option<Flow> {
        let (y, z) = (self.y(), self.z());
        let x = match self.inst.family() {
            op::OR => self.binary(Binary::Or, y, z),
            0xc2 => self.binary(Binary::OrNot, y, z),
            0xc4 => {
                let or = self.binary(Binary::Or, y, z);
                self.unary(Unary::Not, or)
            }
            0xc6 => self.binary(Binary::Xor, y, z),
            0xc8 => self.binary(Binary::And, y, z),
            0xca => self.binary(Binary::AndNot, y, z),
            0xcc => {
                let and = self.binary(Binary::And, y, z);
                self.unary(Unary::Not, and)
            }
            0xce => self.binary(Binary::XorNot, y, z),
            0xd6 => {
                let most = self.binary(Binary::MaxU, y, z);
                self.binary(Binary::Sub, most, z)
            }
            _ => return self.by_helper(Val::Const(0)),
        };
        self.result(x)
    }

    fn by_helper(&mut self, b: Val) -> Option<Flow> {
        let (y, z) = (self.y(), self.z());
        let x = self.b.temp();
        self.b.call(Helper(self.inst.op.into()), x, [y, z, b]);
        self.result(x)
    }

    fn other_bits(&mut self) -> Option<Flow> {
        let (y, z) = (self.y(), self.z());
        let mask = special::slot(special::M);
        match self.inst.family() {
            op::MUX => {
                let (a, b) =
                    (self.binary(Binary::And, y, mask), self.binary(Binary::AndNot, z, mask));
                let x = self.binary(Binary::Or, a, b);
                self.result(x)
            }
            0xda => {
                let only = self.binary(Binary::AndNot, y, z);
                let x = self.unary(Unary::Popcount64, only);
                self.result(x)
            }
            _ => self.by_helper(Val::Const(0)),
        }
    }

    fn wyde(&mut self) -> Option<Flow> {
        let (x, wyde) = (Self::register(self.inst.x), self.inst.wyde());
        let value: Val = match self.inst.op {
            0xe0..=0xe3 => wyde.into(),
            0xe4..=0xe7 => self.binary(Binary::Add, x, wyde).into(),
            0xe8..=0xeb => self.binary(Binary::Or, x, wyde).into(),
            _ => self.binary(Binary::And, x, !wyde).into(),
        };
        self.result(value)
    }

    fn put_special(&mut self) -> Option<Flow> {
        let inst = self.inst;
        let plain = inst.x <= special::C || (22..special::COUNT).contains(&inst.x);
        if inst.y != 0 || !plain {
            return None;
        }
        let z = self.z();
        self.b.put(special::slot(inst.x), z);
        NEXT
    }

    fn get_special(&mut self) -> Option<Flow> {
        let inst = self.inst;
        let counted = matches!(inst.z, special::O | special::S | special::I | special::U);
        if inst.y != 0 || inst.z >= special::COUNT || counted {
            return None;
        }
        // rL is read after it has grown.
        self.grow();
        self.result(special::slot(inst.z))
    }
}

/// The size of the loads and stores that say it in their opcodes.
fn size_of(opcode: u8) -> Size {
    [Size::B1, Size::B2, Size::B4, Size::B8][usize::from(opcode >> 2 & 3)]
}
