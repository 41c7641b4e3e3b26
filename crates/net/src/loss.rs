//! Loss put on a segment on purpose: a seeded choice of frames that never arrive.

/// Loses `drop` of every `of` frames on average, in both directions, chosen by `seed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Frames lost of each `of`.
    pub drop: u32,
    /// The whole of which `drop` is the part; 0 loses nothing.
    pub of: u32,
    /// Where the choice starts: equal seeds lose the same places of a sequence of frames.
    pub seed: u64,
}

/// The running choice of a [`Loss`].
#[derive(Debug)]
pub(crate) struct Dice {
    loss: Option<Loss>,
    state: u64,
}

impl Dice {
    pub(crate) fn new(loss: Option<Loss>) -> Self {
        let state = loss.map_or(1, |loss| loss.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { loss, state }
    }

    /// True if the next frame is to be lost.
    pub(crate) fn lost(&mut self) -> bool {
        let Some(loss) = self.loss.filter(|loss| loss.of > 0) else {
            return false;
        };
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 32) % u64::from(loss.of) < u64::from(loss.drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(loss: Loss) -> usize {
        let mut dice = Dice::new(Some(loss));
        (0..100_000).filter(|_| dice.lost()).count()
    }

    #[test]
    fn about_as_many_frames_are_lost_as_was_asked_for() {
        let lost = losses(Loss { drop: 5, of: 100, seed: 7 });
        assert!((4_500..5_500).contains(&lost), "{lost}");
        assert_eq!(losses(Loss { drop: 0, of: 100, seed: 7 }), 0);
        assert_eq!(losses(Loss { drop: 1, of: 0, seed: 7 }), 0);
        assert_eq!(losses(Loss { drop: 1, of: 1, seed: 7 }), 100_000);
    }
}
