//! Where the bits of one operand are in a word, for both directions.

/// The most pieces an operand is cut into.
const PIECES_MAX: usize = 8;

/// One run of bits: where in the word, how many, and where in the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Piece {
    word: u8,
    count: u8,
    value: u8,
}

/// How an operand is gathered from a word and scattered into one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bits {
    pieces: [Piece; PIECES_MAX],
    /// Bits of the value that are always one.
    base: u32,
    /// The width of a signed value; zero where it is not signed.
    signed: u8,
}

const NONE: Piece = Piece { word: 0, count: 0, value: 0 };

/// `count` bits from place `word` on, as an unsigned value.
#[must_use]
pub const fn at(word: u8, count: u8) -> Bits {
    let mut pieces = [NONE; PIECES_MAX];
    pieces[0] = Piece { word, count, value: 0 };
    Bits { pieces, base: 0, signed: 0 }
}

/// No bits: the operand is always `value`.
#[must_use]
pub const fn fixed(value: u32) -> Bits {
    Bits { pieces: [NONE; PIECES_MAX], base: value, signed: 0 }
}

/// An unsigned value in pieces: place in the word, count, place in the value.
///
/// # Panics
/// Where there are too many.
#[must_use]
pub const fn pieces(list: &[(u8, u8, u8)]) -> Bits {
    let mut bits = fixed(0);
    let mut index = 0;
    while index < list.len() {
        let (word, count, value) = list[index];
        bits.pieces[index] = Piece { word, count, value };
        index += 1;
    }
    bits
}

/// A signed value of `width` bits in pieces.
#[must_use]
pub const fn signed(width: u8, list: &[(u8, u8, u8)]) -> Bits {
    let mut bits = pieces(list);
    bits.signed = width;
    bits
}

impl Bits {
    /// The same with these bits of the value always set.
    #[must_use]
    pub const fn or(mut self, base: u32) -> Self {
        self.base = base;
        self
    }

    /// The value in a word; a signed one is sign-extended.
    #[inline]
    #[must_use]
    pub const fn gather(&self, word: u32) -> u32 {
        let mut value = self.base;
        let mut index = 0;
        while index < PIECES_MAX && self.pieces[index].count > 0 {
            let piece = self.pieces[index];
            value |= (word >> piece.word & ones(piece.count)) << piece.value;
            index += 1;
        }
        if self.signed == 0 {
            return value;
        }
        let unused = 32 - self.signed as u32;
        ((value << unused).cast_signed() >> unused).cast_unsigned()
    }

    /// The value's bits at their places in the word.
    #[must_use]
    pub const fn scatter(&self, value: u32) -> u32 {
        let mut word = 0;
        let mut index = 0;
        while index < PIECES_MAX && self.pieces[index].count > 0 {
            let piece = self.pieces[index];
            word |= (value >> piece.value & ones(piece.count)) << piece.word;
            index += 1;
        }
        word
    }
}

const fn ones(count: u8) -> u32 {
    if count >= 32 { u32::MAX } else { (1 << count) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_value_in_pieces_goes_there_and_back() {
        let branch = signed(13, &[(31, 1, 12), (7, 1, 11), (25, 6, 5), (8, 4, 1)]);
        for offset in (-4096_i32..4096).step_by(2) {
            let word = branch.scatter(offset.cast_unsigned());
            assert_eq!(branch.gather(word).cast_signed(), offset);
        }
    }

    #[test]
    fn fixed_bits_take_no_place() {
        let register = at(7, 3).or(8);
        assert_eq!(register.gather(0b101 << 7), 13);
        assert_eq!(register.scatter(13), 0b101 << 7);
        assert_eq!((fixed(2).gather(u32::MAX), fixed(2).scatter(2)), (2, 0));
    }
}
