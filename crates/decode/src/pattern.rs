//! Patterns of bits, read from text at compile time.

/// The fixed bits of an encoding of 16 or 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pattern {
    /// Ones where a bit is fixed.
    pub mask: u32,
    /// The fixed bits.
    pub bits: u32,
    /// The size of the encoding in bytes: 2 or 4.
    pub size: u8,
}

impl Pattern {
    /// Reads a pattern of 16 or 32 places: `0` and `1` are fixed, `.` is an operand's, blanks are
    /// for the eye.
    ///
    /// # Panics
    /// On any other text, at compile time where the pattern is constant.
    #[must_use]
    pub const fn new(text: &str) -> Self {
        let (mut mask, mut bits, mut places, mut at) = (0, 0, 0, 0);
        while at < text.len() {
            let (fixed, bit) = match text.as_bytes()[at] {
                b'0' => (1, 0),
                b'1' => (1, 1),
                b'.' => (0, 0),
                b' ' => {
                    at += 1;
                    continue;
                }
                _ => panic!("a pattern has only 0, 1, dots and blanks"),
            };
            (mask, bits) = (mask << 1 | fixed, bits << 1 | bit);
            (places, at) = (places + 1, at + 1);
        }
        assert!(places == 16 || places == 32, "a pattern has 16 or 32 places");
        Self { mask, bits, size: if places == 16 { 2 } else { 4 } }
    }

    /// Whether a word has these bits.
    #[inline]
    #[must_use]
    pub const fn fits(self, word: u32) -> bool {
        word & self.mask == self.bits
    }

    /// Whether some word fits both.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        (self.bits ^ other.bits) & self.mask & other.mask == 0
    }

    /// Whether every word that fits the other fits this too.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.meets(other) && self.mask & other.mask == self.mask
    }

    /// Ones where an operand's bits are.
    #[must_use]
    pub const fn free(self) -> u32 {
        !self.mask & if self.size == 2 { 0xffff } else { u32::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_meet_where_some_word_fits_both() {
        let narrow = Pattern::new("000 0 00000 00000 01");
        let wide = Pattern::new("000 . ..... ..... 01");
        let other = Pattern::new("010 . ..... ..... 01");
        assert_eq!((narrow.size, wide.size), (2, 2));
        assert!(wide.covers(narrow) && !narrow.covers(wide) && wide.covers(wide));
        assert!(wide.meets(narrow) && !wide.meets(other));
        assert_eq!(wide.free(), 0b0001_1111_1111_1100);
    }
}
