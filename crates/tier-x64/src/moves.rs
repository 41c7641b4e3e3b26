//! Copies of code: what of it depends on where it lies and on the guest's address of the block.
//!
//! The same bytes are often at many addresses, as in the processes that run one program. To copy
//! the code for them takes far less time than to make it.

use crate::Tier;
use crate::layout::FETCHES;

/// How a word of code changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// 32 bits: the number of the block, times 1024, and of something in it.
    Place,
    /// 64 bits: an address of the guest that moves with the block.
    Address,
    /// 32 bits: the displacement of the number of the mapping of a page that moves with the block.
    Guard,
    /// A jump to what is at the same place of the arena for all code.
    ToShared,
    /// A jump to what is run often, from what is not.
    ToOften,
    /// A jump to what is rarely run, from what is often.
    ToRest,
}

impl What {
    const ALL: [Self; 6] = {
        use What::{Address, Guard, Place, ToOften, ToRest, ToShared};
        [Place, Address, Guard, ToShared, ToOften, ToRest]
    };
}

/// A word of a block's code that changes when the code is copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fix(u32);

impl Fix {
    pub(crate) fn new(at: usize, what: What) -> Self {
        let at = u32::try_from(at).ok().filter(|at| at >> 29 == 0);
        Self(at.expect("a block's code is small") << 3 | what as u32)
    }

    /// Where the word begins in the bytes.
    fn at(self) -> usize {
        (self.0 >> 3) as usize
    }

    fn what(self) -> What {
        What::ALL[(self.0 & 7) as usize]
    }
}

/// From where code is copied to where: what it was made for, and what it is for now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// How far the guest's address is from the one before, a multiple of a page's size.
    pub by: u64,
    /// The number of the block, before and after.
    pub id: (u32, u32),
    /// The offset in the arena, before and after.
    pub at: (usize, usize),
    /// The same of what is rarely run.
    pub rest_at: (usize, usize),
}

impl Tier {
    /// Changes a copy of a block's code, of which so many bytes are run often. Exits are what they
    /// were, and to be led elsewhere.
    pub fn fix(&self, bytes: &mut [u8], split: usize, fixes: &[Fix], to: &Move) {
        // By how much a jump to here is longer than before.
        let moved = |(before, after): (usize, usize)| (after as u32).wrapping_sub(before as u32);
        let (often, rest) = (moved(to.at), moved(to.rest_at));
        let places = to.id.1.wrapping_sub(to.id.0) << 10;
        let pages = (to.by >> 12) as u32;
        for &fix in fixes {
            let at = fix.at();
            let here = if at < split { often } else { rest };
            let by = match fix.what() {
                What::Address => {
                    let word: &mut [u8; 8] = word(bytes, at);
                    *word = u64::from_le_bytes(*word).wrapping_add(to.by).to_le_bytes();
                    continue;
                }
                What::Guard => {
                    let word: &mut [u8; 4] = word(bytes, at);
                    let base = self.layout.fetch_ids.cast_unsigned();
                    let index = u32::from_le_bytes(*word).wrapping_sub(base) / 4;
                    let index = index.wrapping_add(pages) % FETCHES as u32;
                    *word = base.wrapping_add(4 * index).to_le_bytes();
                    continue;
                }
                What::Place => places,
                What::ToShared => here.wrapping_neg(),
                What::ToOften => often.wrapping_sub(here),
                What::ToRest => rest.wrapping_sub(here),
            };
            let word: &mut [u8; 4] = word(bytes, at);
            *word = u32::from_le_bytes(*word).wrapping_add(by).to_le_bytes();
        }
    }
}

fn word<const SIZE: usize>(bytes: &mut [u8], at: usize) -> &mut [u8; SIZE] {
    let word = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut());
    word.expect("fixes are of these bytes")
}
