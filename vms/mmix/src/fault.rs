//! What a program may not do: it ends it with a message.

use crate::opcode::NAMES;

/// Why a program was ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Only an operating system may do this.
    #[error("the instruction {} is privileged, or its address is", name(*.0))]
    Privileged(u32),
    /// No instruction is like this.
    #[error("the instruction {} is illegal", name(*.0))]
    Illegal(u32),
    /// The space is full.
    #[error("all memory is in use; give more of it with the option 'memory'")]
    Full,
}

fn name(word: u32) -> String {
    let [op, ..] = word.to_be_bytes();
    let found = NAMES.iter().rev().find(|(_, first)| *first <= op);
    format!("{word:08x} ({})", found.map_or("TRAP", |(name, _)| name))
}
