//! What a hart needs of the board it is on.

use omni_base::Gpa;
use omni_engine::{Access, Reply, Target};
use omni_ir::Size;
use omni_memory::Space;

/// The board around the harts.
pub trait Board {
    /// The board is this hart's from now on, where harts run side by side.
    fn hold(&mut self);

    /// Other harts may have the board until the next `hold`.
    fn release(&mut self);

    /// Guest RAM.
    fn ram(&mut self) -> &mut Space;

    /// What is at a guest-physical address, or `None` where nothing is: an access fault.
    fn target(&self, at: Gpa, access: Access) -> Option<Target>;

    /// A load from devices, `ticks` after the hart began to run. `None` is an access fault.
    fn device_load(&mut self, at: Gpa, size: Size, ticks: u64) -> Option<Reply>;

    /// A store to devices. `None` is an access fault.
    fn device_store(&mut self, at: Gpa, size: Size, value: u64, ticks: u64) -> Option<Reply>;

    /// The machine's tick, `ticks` after the hart began to run.
    fn tick(&self, ticks: u64) -> u64;

    /// The value of `mtime` then.
    fn mtime(&self, ticks: u64) -> u64;

    /// The levels of the hart's interrupt lines, as bits of `mip`.
    fn lines(&self, hart: u64) -> u64;

    /// Whether the board itself answers environment calls of supervisor mode.
    fn answers_supervisor(&self) -> bool;
}
