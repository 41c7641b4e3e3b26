//! How long steps are shown: the contract between a build and whoever displays it.

/// Told about one step at a time. `begin` and `end` come in pairs and do not nest.
pub trait Progress {
    /// A step starts; `total` is its size in bytes where known.
    fn begin(&mut self, name: &str, total: Option<u64>);
    /// So many more bytes are done.
    fn advance(&mut self, bytes: u64);
    /// The step is over, well or not.
    fn end(&mut self);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _name: &str, _total: Option<u64>) {}
    fn advance(&mut self, _bytes: u64) {}
    fn end(&mut self) {}
}
