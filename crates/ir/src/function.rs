//! Functions: blocks of a frame that lead to each other, calls and returns.
//!
//! What a guest with functions of its own needs beyond blocks. The registers of a function are
//! slots of its frame, which is on a stack of frames; calls that wait are on another. An edge says
//! what it adds to the count of ticks, so that straight on nothing is counted: the tick is an
//! origin and how far along the text of the function the instruction is.

use crate::{Block, Cond, Val, Width};

/// Where a slot of a function is at every safe point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// In the frame, by its number there.
    Frame(u32),
    /// Among the words that all functions share, by its number.
    Shared(u32),
}

/// Words that functions can share by `Home::Shared`.
pub const SHARED: u32 = 64;

/// A way from one block to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The block.
    pub to: u32,
    /// What is added to the origin of the ticks.
    pub ticks: i32,
}

/// What a call calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Callee {
    /// A function by its number.
    Known(u32),
    /// What an element of a table refers to, where that is a function of this type.
    Element {
        /// The number of the table.
        table: u32,
        /// Which element.
        index: Val,
        /// The type.
        ty: u32,
    },
}

/// How a block of a function ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The next block follows.
    Next,
    /// Goes on at another block.
    Jump(Edge),
    /// Goes on at another block if the comparison holds, at the width of the operands; else the
    /// next one follows.
    Branch(Cond, Width, Val, Val, Edge),
    /// Goes by a number: the last way is for all that are greater.
    Switch(Val, Vec<Edge>),
    /// Calls a function, whose frame begins at this slot of the caller's frame. It comes back to
    /// the next block.
    Call(Callee, u32),
    /// Returns with values, which go to the first slots of the frame.
    Return(Vec<Val>),
    /// Whoever runs the function does the last instruction of the block.
    Leave,
}

/// A block of a function. Instructions have numbers for addresses.
#[derive(Clone, PartialEq, Debug)]
pub struct Piece {
    /// Its body; the terminator says where it would lead straight on.
    pub body: Block,
    /// Its end, which belongs to its last instruction.
    pub end: End,
}

/// A function.
#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    /// Its number.
    pub number: u32,
    /// Where its slots are.
    pub homes: Vec<Home>,
    /// Slots of its frame that calls fill; the others begin as zeros.
    pub params: u32,
    /// Slots of its frame.
    pub slots: u32,
    /// Ticks along its text once each of its instructions is done.
    pub ends: Vec<u32>,
    /// Its blocks; the first one is where it begins.
    pub pieces: Vec<Piece>,
}

impl Function {
    /// Ticks along all of its text.
    #[must_use]
    pub fn ticks(&self) -> u32 {
        self.ends.last().copied().unwrap_or(0)
    }
}
