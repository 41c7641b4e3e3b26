//! The shared translator: guest front-ends lower to one IR, tiers run it, nothing here is state.
//!
//! Architecture invariant: dropping any block or TLB entry at any tick is invisible to the guest.
//! Architecture invariant: a run ends at exactly the instruction its budget says.

#[cfg(target_arch = "x86_64")]
mod arena;
mod cache;
mod code;
mod counters;
mod crew;
mod float;
mod front;
#[cfg_attr(not(target_arch = "x86_64"), path = "no_functions.rs")]
mod functions;
mod index;
mod interp;
#[cfg_attr(not(target_arch = "x86_64"), path = "no_jit.rs")]
mod jit;
mod memory;
mod profiler;
mod run;
mod shape;
mod sources;
mod stops;
mod support;
mod tiers;
mod tlb;

pub use counters::Counters;
pub use crew::{Crew, Still, beside};
pub use front::{
    Access, At, CODE_BYTES, Code, Context, Entry, Env, Exit, Flow, Frontend, HotSlots, Mapping,
    Mode, NOT_RESERVED, NanRule, RegSlot, Regs, Reply, Target,
};
pub use functions::{Call, Functions, Left, Spot, World};
pub use profiler::{MadeCode, Phase, Profiler, phase_here, set_profiler};
pub use run::Engine;
pub use stops::{Caught, Watch};
pub use support::HostSupport;
pub use tiers::{Tiers, Without};
