//! What the engine counts as it runs: figures for people, on which nothing depends.

use std::ops::Add;

/// Declares the figures once, for the type and for the list of their names.
macro_rules! counters {
    ($( $(#[$doc:meta])* $name:ident, )*) => {
        /// Figures of an engine since it was made, but for those that say what it holds now.
        ///
        /// They are no state: a machine that was restored counts from zero, and the same run of a
        /// guest may count otherwise the next time.
        #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
        pub struct Counters { $( $(#[$doc])* pub $name: u64, )* }

        impl Counters {
            /// All figures with their names, in the order of the fields.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$( (stringify!($name), self.$name), )*]
            }
        }

        impl Add for Counters {
            type Output = Self;
            fn add(self, more: Self) -> Self {
                Self { $( $name: self.$name + more.$name, )* }
            }
        }
    };
}

counters! {
    /// Runs: how often a vCPU was given a budget.
    runs,
    /// Guest instructions retired.
    instructions,
    /// Those of them that the interpreter retired, as blocks without code or ends of such with it.
    instructions_interpreted,
    /// Those of them that machine code retired, its steps included.
    instructions_compiled,
    /// Blocks that were asked for where no jump cache knew them, and were in the cache.
    blocks_found,
    /// Blocks made for the interpreter.
    blocks_translated,
    /// Blocks that took what the interpreter runs of the same bytes at another address.
    blocks_shared,
    /// Guest instructions in those that were made.
    instructions_translated,
    /// Nanoseconds of the host that this took; zero where no profiler lends a clock.
    translate_ns,
    /// Blocks that got machine code.
    blocks_compiled,
    /// Those of them that got a copy of the code of the same bytes at another address.
    blocks_moved,
    /// Guest instructions in all that got code.
    instructions_given_code,
    /// Nanoseconds of the host that this took; zero where no profiler lends a clock.
    compile_ns,
    /// Bytes of machine code that were made.
    code_made_bytes,
    /// Blocks that were to get machine code, and cannot have any.
    blocks_refused,
    /// Exits of machine code that were made to lead to other code at once.
    exits_linked,
    /// Operations that machine code left to the interpreter, one by one.
    steps,
    /// Times that machine code was left by an exit that leads nowhere yet.
    left_by_exit,
    /// By an indirect jump to an address that the jump cache does not know.
    left_by_jump,
    /// As the budget is smaller than a block.
    left_by_budget,
    /// By an instruction that asks to stop.
    left_by_stop,
    /// To have the rest of a block interpreted: accesses that find no entry in the TLB.
    left_by_miss,
    /// As a step trapped, or moved something.
    left_by_step,
    /// Translations of an address to load from, past the TLB.
    walks_load,
    /// Translations of an address to store to, past the TLB.
    walks_store,
    /// Translations of an address of code, past the TLB.
    walks_fetch,
    /// Entries of the TLB made for loads.
    fills_load,
    /// Entries of the TLB made for stores.
    fills_store,
    /// Entries of the TLB made for code.
    fills_fetch,
    /// Loads from devices.
    device_loads,
    /// Stores to devices.
    device_stores,
    /// Pages of code that were written, and what was made from them dropped.
    pages_dropped,
    /// Times that all blocks and code were dropped, most often for lack of room.
    code_flushes,
    /// Times that all entries of the TLBs were dropped, as there were too many tables.
    tlb_flushes,
    /// Blocks held now.
    blocks_held,
    /// Bytes held now by blocks of the interpreter, without what tells where they are.
    blocks_held_bytes,
    /// Bytes of machine code held now.
    code_held_bytes,
    /// Bytes held now by entries of the TLBs, without what tells where they came from.
    tlb_held_bytes,
}
