//! Zawrs: waiting on the reservation set.

use crate::lower::Lower;
use crate::operand::{Bare, None};
use omni_decode::instructions;

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Waits that may end at any time.
    pub enum ReservationWaits for Lower<'_> {
        /// Waits for a store to the reserved address.
        WrsNto = "0000000 01101 00000 000 00000 1110011", Bare, "wrs.nto" => wrs;
        /// The same, for a short time.
        WrsSto = "0000000 11101 00000 000 00000 1110011", Bare, "wrs.sto" => wrs;
    }
}

/// May end at any time, so it ends at once.
fn wrs(_: &mut Lower<'_>, _: None) {}
