//! What is known of a value while a block is translated.

use crate::{Binary, Unary, Width};

/// Blocks move by multiples of this.
const PAGE: u64 = 4096;

/// A value that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// The same wherever the block is.
    Fixed(u64),
    /// An address that moves with the block: this, as long as the block is where it is.
    Moving(u64),
}

impl Known {
    /// What an operation on it gives, if that is known.
    #[must_use]
    pub fn unary(self, op: Unary) -> Option<Self> {
        match self {
            Self::Fixed(a) => Some(Self::Fixed(op.eval(a))),
            Self::Moving(_) => (op == Unary::Move).then_some(self),
        }
    }

    /// What an operation on two gives, if that is known. Of an address that moves, only what moves
    /// by as much is.
    #[must_use]
    pub fn binary(op: Binary, width: Width, a: Self, b: Self) -> Option<Self> {
        let full = width == Width::Full;
        match (op, a, b) {
            (_, Self::Fixed(a), Self::Fixed(b)) => Some(Self::Fixed(op.eval(width, a, b))),
            (Binary::Add | Binary::Sub, Self::Moving(a), Self::Fixed(b))
            | (Binary::Add, Self::Fixed(a), Self::Moving(b))
                if full =>
            {
                Some(Self::Moving(op.eval(width, a, b)))
            }
            // Only bits within a page are cut off.
            (Binary::And, Self::Moving(a), Self::Fixed(b)) if full && b >= PAGE.wrapping_neg() => {
                Some(Self::Moving(a & b))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_what_the_operation_gives_wherever_the_block_is() {
        let values = [0, 1, 2, 0xfff, 0x1000, 0x1234, 0x3f_9876_5432, !1, !0xfff, !0x1fff, 1 << 63];
        let at = |known: Known, by: u64| match known {
            Known::Fixed(value) => value,
            Known::Moving(value) => value.wrapping_add(by),
        };
        let mut moving = 0;
        for (&op, &width) in
            Binary::ALL.iter().flat_map(|op| Width::ALL.iter().map(move |w| (op, w)))
        {
            for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))) {
                let ways = [Known::Fixed as fn(u64) -> Known, Known::Moving];
                for (x, y) in ways.iter().flat_map(|x| ways.iter().map(move |y| (x(a), y(b)))) {
                    let Some(known) = Known::binary(op, width, x, y) else { continue };
                    moving += usize::from(matches!(known, Known::Moving(_)));
                    for by in [0, PAGE, 77 * PAGE, PAGE.wrapping_neg(), 1 << 40, 0xffff << 48] {
                        let found = op.eval(width, at(x, by), at(y, by));
                        assert_eq!(at(known, by), found, "{op:?} {width:?} {x:?} {y:?} {by:#x}");
                    }
                }
            }
        }
        assert!(moving > 300, "{moving}");
        assert_eq!(Known::Moving(5).unary(Unary::Move), Some(Known::Moving(5)));
        assert_eq!(Known::Moving(5).unary(Unary::Not), None);
        assert_eq!(Known::Fixed(5).unary(Unary::Not), Some(Known::Fixed(!5)));
    }
}
