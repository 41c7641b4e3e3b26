//! What every kind of machine must pass, written once: properties that name no kind.
//!
//! Architecture invariant: a kind has no lifecycle tests of its own; it gives a spec and a script,
//! and the battery does the rest.
#![forbid(unsafe_code)]

mod battery;
mod case;
mod damage;
mod stops;
mod world;

pub use battery::{BATTERY, Property};
pub use case::{Case, Run};
pub use world::FakeWorld;
