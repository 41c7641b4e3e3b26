//! Operands that look for trouble: a seeded stream biased to edges and to related pairs.

use omni_softfloat::Float;

/// A seeded stream of numbers (splitmix64). `OMNI_SEED` and `OMNI_CASES` vary a run.
pub(crate) struct Stream(u64);

impl Stream {
    pub(crate) fn new(test: u64) -> Self {
        Self(variable("OMNI_SEED", 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ test)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One operand.
    pub(crate) fn operand<F: Float>(&mut self) -> u64 {
        match self.below(8) {
            0 => self.next() & F::MASK,
            1 => self.sign::<F>() | self.special::<F>(),
            2..=4 => {
                let exp = self.below(F::EXP_MAX.cast_unsigned()) << F::FRAC_BITS;
                self.sign::<F>() | exp | self.pattern::<F>()
            }
            // The ends of the range and the middle of it.
            _ => {
                let top = F::EXP_MAX.cast_unsigned() - 1;
                let near = self.below(u64::from(F::FRAC_BITS) + 4);
                let exp = match self.below(4) {
                    0 => near.min(top),
                    1 => top - near.min(top),
                    2 => (F::BIAS.cast_unsigned() + near).min(top),
                    _ => F::BIAS.cast_unsigned().saturating_sub(near),
                };
                self.sign::<F>() | exp << F::FRAC_BITS | self.pattern::<F>()
            }
        }
    }

    /// Three operands, of which the second and the third are sometimes near to another.
    pub(crate) fn operands<F: Float>(&mut self) -> [u64; 3] {
        let a = self.operand::<F>();
        let b = if self.below(4) == 0 { self.near::<F>(a) } else { self.operand::<F>() };
        let c = match self.below(6) {
            0 => self.near::<F>(a),
            // Near to the product, by exponents, so that much of it cancels.
            1 | 2 => {
                let exp = |bits: u64| (bits & F::INFINITY) >> F::FRAC_BITS;
                let near = (exp(a) + exp(b)).saturating_sub(F::BIAS.cast_unsigned());
                let near = (near + self.below(4)).min(F::EXP_MAX.cast_unsigned() - 1);
                (a ^ b ^ F::SIGN) & F::SIGN | near << F::FRAC_BITS | self.pattern::<F>()
            }
            _ => self.operand::<F>(),
        };
        [a, b, c]
    }

    fn near<F: Float>(&mut self, bits: u64) -> u64 {
        let moved = match self.below(3) {
            0 => bits.wrapping_add(self.below(4)),
            1 => bits.wrapping_sub(self.below(4)),
            _ => bits.wrapping_add(self.below(64) << F::FRAC_BITS),
        };
        (moved & F::MASK) ^ self.sign::<F>()
    }

    fn sign<F: Float>(&mut self) -> u64 {
        if self.next() & 1 == 0 { 0 } else { F::SIGN }
    }

    fn special<F: Float>(&mut self) -> u64 {
        let list = [
            0,
            1,
            F::FRAC,
            F::MIN_NORMAL,
            F::MIN_NORMAL + 1,
            F::ONE - 1,
            F::ONE,
            F::ONE + 1,
            F::ONE - F::MIN_NORMAL,
            F::MAX_FINITE,
            F::INFINITY,
            F::NAN,
            F::INFINITY | 1,
            F::INFINITY | F::QUIET >> 1,
            F::NAN | 1,
            F::MASK & !F::SIGN,
        ];
        list[usize::try_from(self.below(16)).expect("the index is below 16")]
    }

    /// A fraction: none, a few bits, runs of ones, or anything.
    fn pattern<F: Float>(&mut self) -> u64 {
        let place = self.below(u64::from(F::FRAC_BITS));
        let bits = match self.below(7) {
            0 => 0,
            1 => 1 << place,
            2 => F::FRAC >> place,
            3 => F::FRAC << place,
            4 => 1 | F::QUIET >> place,
            5 => F::FRAC ^ 1 << place,
            _ => self.next(),
        };
        bits & F::FRAC
    }
}

/// How many cases a test tries: its own count times `OMNI_CASES`.
pub(crate) fn cases(count: u64) -> u64 {
    count * variable("OMNI_CASES", 1)
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
