//! Paged memory: frames of mapped memory, persistent images, live copy-on-write spaces.
//!
//! Architecture invariant: this crate knows pages, not machines. It never asks what bytes mean.
//! Architecture invariant: a page goes from clean to dirty at most once per epoch, through one
//! function, `Space::own`; every writer comes through it.

mod flat;
mod frame;
mod image;
mod space;

pub use frame::{frames_used, offer_to_merge};
pub use image::{Base, Image, Page, PageRef, Sink, Source};
pub use space::{Changes, Fault, Memory, Sealed, Space};
