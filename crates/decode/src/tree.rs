//! The decoder: a tree that looks at a few bits of the word at each step.

use crate::{Pattern, Rows};

/// Bits looked at in one step, at most.
const STEP_BITS: u32 = 8;

/// Rows that are tried one after the other, at most, where more bits would tell them apart.
const LEAF_ROWS: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Node {
    /// Patterns to try in order: so many from `first` on.
    Leaf { first: u32, count: u32 },
    /// A step: the child is at `first` plus the bits looked at.
    Switch { shift: u8, mask: u8, first: u32 },
}

/// A leaf of no patterns.
const NOTHING: Node = Node::Leaf { first: 0, count: 0 };

/// Finds the row of a word in a few steps.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// The patterns of all leaves, with the numbers of their rows.
    leaves: Vec<(Pattern, u16)>,
}

impl Tree {
    /// The tree of these rows, numbered through all tables in order.
    ///
    /// # Panics
    /// Where there are more than 65 536 rows.
    #[must_use]
    pub fn new(rows: Rows) -> Self {
        let numbered = rows.iter().enumerate().map(|(number, row)| {
            (row.pattern, u16::try_from(number).expect("a table has few rows"))
        });
        let mut tree = Self { nodes: vec![NOTHING], leaves: vec![] };
        tree.build(0, numbered.collect(), 0);
        tree
    }

    /// The number of the row that a word fits, the first where order decides.
    #[inline]
    #[must_use]
    pub fn find(&self, word: u32) -> Option<u16> {
        let mut at = 0;
        loop {
            match self.nodes[at] {
                Node::Switch { shift, mask, first } => {
                    at = (first + (word >> shift & u32::from(mask))) as usize;
                }
                Node::Leaf { first, count } => {
                    let rows = &self.leaves[first as usize..][..count as usize];
                    return rows.iter().find(|(pattern, _)| pattern.fits(word)).map(|row| row.1);
                }
            }
        }
    }

    fn build(&mut self, at: usize, rows: Vec<(Pattern, u16)>, seen: u32) {
        let step = if rows.len() > LEAF_ROWS { choose(&rows, seen) } else { None };
        let Some((shift, mask)) = step else {
            let first = u32::try_from(self.leaves.len()).expect("a tree has few leaves");
            let count = u32::try_from(rows.len()).expect("a leaf has few rows");
            self.nodes[at] = Node::Leaf { first, count };
            self.leaves.extend(rows);
            return;
        };
        let first = self.nodes.len();
        self.nodes.resize(first + usize::from(mask) + 1, NOTHING);
        let number = u32::try_from(first).expect("a tree has few nodes");
        self.nodes[at] = Node::Switch { shift, mask, first: number };
        for value in 0..=mask {
            let (ones, bits) = (u32::from(mask) << shift, u32::from(value) << shift);
            let part = Pattern { mask: ones, bits, size: 4 };
            let rows = rows.iter().copied().filter(|(pattern, _)| pattern.meets(part)).collect();
            self.build(first + usize::from(value), rows, seen | part.mask);
        }
    }
}

/// The bits to look at: the one that halves the rows best, and its neighbours while they tell
/// rows apart.
fn choose(rows: &[(Pattern, u16)], seen: u32) -> Option<(u8, u8)> {
    let gain = |bit: u32| {
        let fixed = |one: u32| {
            let fits =
                |pattern: &Pattern| pattern.mask >> bit & 1 == 1 && pattern.bits >> bit & 1 == one;
            rows.iter().filter(|(pattern, _)| fits(pattern)).count()
        };
        if seen >> bit & 1 == 1 { 0 } else { fixed(0).min(fixed(1)) }
    };
    let gains: Vec<usize> = (0..32).map(gain).collect();
    let (best, most) = (0..32).zip(&gains).max_by_key(|&(bit, gain)| (*gain, 32 - bit))?;
    if *most == 0 {
        return None;
    }
    let worth = |bit: u32| gains.get(bit as usize).is_some_and(|gain| gain * 4 >= *most);
    let (mut low, mut high) = (best, best);
    while high - low + 1 < STEP_BITS {
        if worth(high + 1) {
            high += 1;
        } else if low > 0 && worth(low - 1) {
            low -= 1;
        } else {
            break;
        }
    }
    let mask = (1_u32 << (high - low + 1)) - 1;
    Some((low.try_into().ok()?, mask.try_into().ok()?))
}
