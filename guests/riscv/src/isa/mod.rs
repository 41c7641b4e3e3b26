//! The instruction set: a table per extension, and one decoder for all.

mod a;
mod base;
mod c;
mod d;
mod f;
mod float;
mod m;
mod privileged;
mod svinval;
mod zacas;
mod zawrs;
mod zba;
mod zbb;
mod zbc;
mod zbs;
mod zcb;
mod zfa;
mod zfh;
mod zicbo;
mod zicond;
mod zicsr;
mod zifencei;
mod zimop;

pub use a::Atomic;
pub use base::Base;
pub use c::Compressed;
pub use d::Double;
pub use f::Single;
pub use m::Multiply;
pub use privileged::Privileged;
pub use svinval::Invalidations;
pub use zacas::CompareSwap;
pub use zawrs::ReservationWaits;
pub use zba::Addresses;
pub use zbb::Bits;
pub use zbc::Carryless;
pub use zbs::SingleBits;
pub use zcb::MoreCompressed;
pub use zfa::Additional;
pub use zfh::Half;
pub use zicbo::{CACHE_BLOCK_BYTES, CacheBlocks};
pub use zicond::Conditional;
pub use zicsr::Csrs;
pub use zifencei::FetchFence;
pub use zimop::MayBeOperations;

use crate::lower::Lower;
use omni_decode::instruction_set;

instruction_set! {
    /// Any instruction.
    pub enum Insn for Lower<'_> {
        /// RV64I.
        Base(Base),
        /// M.
        Multiply(Multiply),
        /// A.
        Atomic(Atomic),
        /// F.
        Single(Single),
        /// D.
        Double(Double),
        /// C and Zcmop.
        Compressed(Compressed),
        /// Zicsr.
        Csrs(Csrs),
        /// Privileged.
        Privileged(Privileged),
        /// Svinval.
        Invalidations(Invalidations),
        /// Zawrs.
        ReservationWaits(ReservationWaits),
        /// Zifencei.
        FetchFence(FetchFence),
        /// Zba.
        Addresses(Addresses),
        /// Zbb.
        Bits(Bits),
        /// Zbc.
        Carryless(Carryless),
        /// Zbs.
        SingleBits(SingleBits),
        /// Zicond.
        Conditional(Conditional),
        /// Zicbom and Zicboz.
        CacheBlocks(CacheBlocks),
        /// Zfh.
        Half(Half),
        /// Zfa.
        Additional(Additional),
        /// Zacas.
        CompareSwap(CompareSwap),
        /// Zcb.
        MoreCompressed(MoreCompressed),
        /// Zimop.
        MayBeOperations(MayBeOperations),
    }
}
