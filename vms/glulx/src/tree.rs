//! The tree that compressed strings are decoded with, where it cannot change: as a list.

use crate::fault::Fault;
use crate::world::World;
use std::collections::HashMap;
use std::sync::Arc;

/// Nodes of a tree at most.
const NODES_MAX: usize = 1 << 16;

/// Bytes of a string that one character or reference takes at most.
pub(crate) const LEAF_BYTES_MAX: u32 = 1024;

/// Bytes of a string that are read at once.
const AHEAD: u32 = 64;

/// What bits of a string lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leaf {
    /// The end.
    End,
    /// A character.
    Char(u32),
    /// Something else, by its address.
    Other(u32),
}

/// What a bit leads to.
#[derive(Clone, Copy)]
enum Node {
    /// Another branch, by its number.
    Branch(u32),
    Leaf(Leaf),
}

/// The tree of a table. Nothing of it is state: all of it is in memory that cannot be written.
pub(crate) struct Tree {
    branches: Vec<[Node; 2]>,
    root: Node,
    /// What eight bits lead to, and how many of them it takes; none where that is more.
    short: Vec<Option<(Leaf, u32)>>,
}

/// Bytes of a string that were read ahead.
pub(crate) struct Ahead {
    first: u32,
    bytes: [u8; AHEAD as usize],
    count: u32,
}

impl Ahead {
    pub(crate) fn new() -> Self {
        Self { first: 0, bytes: [0; AHEAD as usize], count: 0 }
    }

    fn byte(&mut self, world: &World, at: u32) -> Result<u8, Fault> {
        let offset = at.wrapping_sub(self.first);
        if offset < self.count {
            return Ok(self.bytes[offset as usize]);
        }
        if at >= world.layout.ramstart {
            return world.byte(at);
        }
        self.count = AHEAD.min(world.layout.ramstart - at);
        self.first = at;
        world.read(at, &mut self.bytes[..self.count as usize])?;
        Ok(self.bytes[0])
    }
}

impl Tree {
    /// Goes from the root to a leaf by bits of a string, lowest first; counts a step, and one for
    /// each byte.
    pub(crate) fn leaf(
        &self,
        world: &World,
        ahead: &mut Ahead,
        (at, bit): (&mut u32, &mut u32),
        steps: &mut u32,
    ) -> Result<Leaf, Fault> {
        *steps += 1;
        let last = *steps + LEAF_BYTES_MAX;
        let (mut node, mut byte) = (self.root, ahead.byte(world, *at)?);
        if let Ok(next) = ahead.byte(world, at.wrapping_add(1)) {
            let bits = (u32::from(byte) | u32::from(next) << 8) >> *bit & 0xff;
            if let Some((leaf, count)) = self.short[bits as usize] {
                let end = *bit + count;
                *steps += end / 8;
                (*at, *bit) = (at.wrapping_add(end / 8), end % 8);
                return Ok(leaf);
            }
        }
        loop {
            let branch = match node {
                Node::Leaf(leaf) => return Ok(leaf),
                Node::Branch(number) => self.branches[number as usize],
            };
            node = branch[usize::from(byte >> *bit & 1)];
            *bit += 1;
            if *bit == 8 {
                (*at, *bit) = (at.wrapping_add(1), 0);
                byte = ahead.byte(world, *at)?;
                *steps += 1;
                if *steps > last {
                    return Err(Fault::Table);
                }
            }
        }
    }
}

impl World {
    /// The tree of the present table as a list, where it is in memory that cannot be written.
    pub(crate) fn tree(&mut self) -> Option<Arc<Tree>> {
        let table = self.cpu.string_table;
        if self.tree.as_ref().is_none_or(|(of, _)| *of != table) {
            self.tree = Some((table, self.read_tree(table).map(Arc::new)));
        }
        self.tree.as_ref().and_then(|(_, tree)| tree.clone())
    }

    fn read_tree(&self, table: u32) -> Option<Tree> {
        let fixed = |at: u32, count: u32| {
            at.checked_add(count).filter(|end| *end <= self.layout.ramstart).map(|_| at)
        };
        let root = self.long(fixed(table.checked_add(8)?, 4)?).ok()?;
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let mut open: Vec<u32> = Vec::new();
        let mut node_at = |at: u32, open: &mut Vec<u32>| -> Option<Node> {
            let sort = self.byte(fixed(at, 1)?).ok()?;
            Some(match sort {
                0 => {
                    let next = u32::try_from(numbers.len()).ok()?;
                    let number = *numbers.entry(at).or_insert_with(|| {
                        open.push(at);
                        next
                    });
                    Node::Branch(number)
                }
                1 => Node::Leaf(Leaf::End),
                2 => Node::Leaf(Leaf::Char(self.byte(fixed(at + 1, 1)?).ok()?.into())),
                4 => Node::Leaf(Leaf::Char(self.long(fixed(at + 1, 4)?).ok()?)),
                _ => Node::Leaf(Leaf::Other(at)),
            })
        };
        let root = node_at(root, &mut open)?;
        let (mut branches, mut done) = (Vec::new(), 0);
        while let Some(at) = open.get(done).copied() {
            done += 1;
            if done > NODES_MAX {
                return None;
            }
            let mut pair = [root; 2];
            for (nth, side) in (0..).zip(&mut pair) {
                let to = self.long(fixed(at.checked_add(1 + 4 * nth)?, 4)?).ok()?;
                *side = node_at(to, &mut open)?;
            }
            branches.push(pair);
        }
        let short = (0..=0xff).map(|bits| short(&branches, root, bits)).collect();
        Some(Tree { branches, root, short })
    }
}

/// The leaf that eight bits lead to, if they do.
fn short(branches: &[[Node; 2]], root: Node, bits: u32) -> Option<(Leaf, u32)> {
    let mut node = root;
    for count in 0..=8 {
        node = match node {
            Node::Leaf(leaf) => return Some((leaf, count)),
            Node::Branch(number) => branches[number as usize][(bits >> count & 1) as usize],
        };
    }
    None
}
