//! The engine of a machine, and what it knows of the machine's code besides memory.

use omni_engine::{Counters, Engine, Mode};
use std::collections::BTreeMap;

/// Tables of accelerated functions that one engine has seen at most.
const TABLES_MAX: usize = 64;

/// An engine with the tables that modes of its blocks stand for. Nothing of it is state.
pub(crate) struct Blocks {
    pub(crate) engine: Box<Engine>,
    tables: Vec<BTreeMap<u32, u32>>,
}

impl Blocks {
    pub(crate) fn new() -> Self {
        Self { engine: Box::new(Engine::new(1)), tables: Vec::new() }
    }

    /// The mode of code where these functions are accelerated.
    pub(crate) fn mode(&mut self, table: &BTreeMap<u32, u32>, filtered: bool) -> Mode {
        let known = self.tables.iter().position(|known| known == table);
        let number = known.unwrap_or_else(|| {
            if self.tables.len() >= TABLES_MAX {
                // All blocks go, so that no mode of theirs means another table now.
                self.engine.drop_caches(16);
                self.tables.clear();
            }
            self.tables.push(table.clone());
            self.tables.len() - 1
        });
        // What is done at an address with a tag is not what is done at another.
        Mode((number as u32) << 1 | u32::from(filtered) | Mode::STAYS)
    }

    /// What the engine counted.
    pub(crate) fn counters(&self) -> Counters {
        self.engine.counters()
    }
}
