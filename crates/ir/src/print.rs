//! Blocks as text, for people who look at translations.

use crate::{Block, Inst, Slot, Term, Val};
use std::fmt;

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_sub(Self::TEMPS) {
            Some(temp) => write!(f, "t{temp}"),
            None => write!(f, "r{}", self.0),
        }
    }
}

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(slot) => slot.fmt(f),
            Self::Const(value) => write!(f, "{value:#x}"),
        }
    }
}

impl fmt::Display for Inst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(pc) => write!(f, "{pc:#x}:"),
            Self::Unary(op, dst, a) => write!(f, "  {dst} = {} {a}", op.text()),
            Self::Binary(op, width, dst, a, b) => {
                write!(f, "  {dst} = {}.{width:?} {a}, {b}", op.text())
            }
            Self::Select(dst, test, a, b) => write!(f, "  {dst} = select {test}, {a}, {b}"),
            Self::Deposit { dst, base, value, at, bits } => {
                write!(f, "  {dst} = deposit {base}, {value}, {at}:{bits}")
            }
            Self::Load(memory, dst, base, offset) => {
                let sign = if memory.signed { "s" } else { "u" };
                write!(f, "  {dst} = load.{:?}{sign} {base}{offset:+}", memory.size)
            }
            Self::Store(size, base, offset, value) => {
                write!(f, "  store.{size:?} {base}{offset:+}, {value}")
            }
            Self::Atomic(op, size, dst, at, value) => {
                write!(f, "  {dst} = atomic.{op:?}.{size:?} {at}, {value}")
            }
            Self::CompareSwap { size, dst, at, expect, value } => {
                write!(f, "  {dst} = cas.{size:?} {at}, {expect}, {value}")
            }
            Self::LoadReserved(size, dst, at) => write!(f, "  {dst} = reserve.{size:?} {at}"),
            Self::StoreConditional(size, dst, at, value) => {
                write!(f, "  {dst} = conditional.{size:?} {at}, {value}")
            }
            Self::Fence(fence) => write!(f, "  fence.{fence:?}"),
            Self::Float { op, format, dst, args: [a, b, c], round } => {
                write!(f, "  {dst} = {op:?}.{format:?} {a}, {b}, {c}, round {round}")
            }
            Self::Call(helper, dst, [a, b, c]) => {
                write!(f, "  {dst} = call {} {a}, {b}, {c}", helper.0)
            }
            Self::Address(dst, to) => write!(f, "  {dst} = address {to:#x}"),
            Self::ExitIf(cond, a, b, to) => write!(f, "  exit {to:#x} if {cond:?} {a}, {b}"),
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.insts.iter().try_for_each(|inst| writeln!(f, "{inst}"))?;
        match self.term {
            Term::Jump(to) => writeln!(f, "  jump {to:#x}"),
            Term::Branch(cond, a, b, to, or) => {
                writeln!(f, "  jump {to:#x} if {cond:?} {a}, {b} else {or:#x}")
            }
            Term::Indirect(to) => writeln!(f, "  jump {to}"),
            Term::Trap(trap) => writeln!(f, "  trap {:#x}, {:#x}", trap.cause, trap.value),
            Term::Stop(to) => writeln!(f, "  stop {to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Binary, Builder, Cond, Size, Slot};

    #[test]
    fn a_block_reads_as_text() {
        let mut b = Builder::default();
        b.start(0x80);
        let t = b.temp();
        b.load(Size::B8, false, t, Slot(2), -16);
        b.binary(Binary::Xor, Slot(1), t, 0xff);
        b.start(0x84);
        b.branch(Cond::LtU, Slot(1), Slot(3), 0x80, 0x88);
        let text = "0x80:\n  t0 = load.B8u r2-16\n  r1 = xor.Full t0, 0xff\n0x84:\n  \
                    jump 0x80 if LtU r1, r3 else 0x88\n";
        assert_eq!(b.finish(0x88).to_string(), text);
    }
}
