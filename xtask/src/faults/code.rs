//! Faults in what is made of guests' code.

use super::Fault;

const MOVES: &str = "-p omni-engine --test moves";

const NATIVE: &str = "-p omni-vm-wasm --test native floats";

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "any mask keeps of an address what moves with the block",
        file: "crates/ir/src/known.rs",
        find: "if full && b >= PAGE.wrapping_neg() =>",
        replace: "if full =>",
        test: "-p omni-ir --lib known::",
    },
    Fault {
        name: "code is copied with the addresses of the block that it was made for",
        file: "crates/tier-x64/src/moves.rs",
        find: "u64::from_le_bytes(*word).wrapping_add(to.by)",
        replace: "u64::from_le_bytes(*word)",
        test: MOVES,
    },
    Fault {
        name: "code is copied while there are addresses to stop at",
        file: "crates/engine/src/memory.rs",
        find: "self.stops.cuts().is_empty() && !self.lanes.apart()",
        replace: "!self.lanes.apart()",
        test: MOVES,
    },
    Fault {
        name: "code that jumps to an address that stays is copied",
        file: "crates/tier-x64/src/block.rs",
        find: "                    self.fixed = true;\n                    self.leave_for(to);",
        replace: "                    self.leave_for(to);",
        test: MOVES,
    },
    Fault {
        name: "code of a function goes round a loop past its ticks where the loop is long",
        file: "crates/tier-x64/src/block/function.rs",
        find: "        if edge.ticks > 0 {",
        replace: "        if edge.ticks > 0 && edge.ticks < 20 {",
        test: NATIVE,
    },
    Fault {
        name: "a register that differs from its home is not written there at a call",
        file: "crates/tier-x64/src/block/function.rs",
        find: "        self.spill(dirty);\n        let target = match callee {",
        replace: "        let target = match callee {",
        test: NATIVE,
    },
];
