//! The map of machine code that `perf` reads: where each block is, and what it is of the guest.

use crate::failure::Failure;
use crate::symbols::Symbols;
use omni_engine::MadeCode;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Bytes of a map at most: a guest may make code for ever.
const MAP_BYTES_MAX: u64 = 256 << 20;

/// A map that is being written.
pub(crate) struct PerfMap {
    symbols: Symbols,
    file: Mutex<(File, u64)>,
}

impl PerfMap {
    /// Begins the map of this process, where `perf` looks for it.
    pub(crate) fn create(symbols: Symbols) -> Result<Self, Failure> {
        let path = PathBuf::from(format!("/tmp/perf-{}.map", std::process::id()));
        // One of an earlier process of this number. What is not ours to remove fails below: the
        // directory is everybody's, so nothing that is there already is written to.
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|error| Failure::io(&path.display().to_string(), &error))?;
        Ok(Self { symbols, file: Mutex::new((file, 0)) })
    }

    /// Adds code, which may be where other code was.
    pub(crate) fn add(&self, code: &MadeCode) {
        let line = format!("{:x} {:x} {}\n", code.address, code.bytes, self.name(code));
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.1 += line.len() as u64;
        if file.1 <= MAP_BYTES_MAX {
            // A map with holes is better than a machine that ends for the lack of one.
            let _ = file.0.write_all(line.as_bytes());
        }
    }

    /// What the code is: the function of the guest if it is known, the address and the mode.
    fn name(&self, code: &MadeCode) -> String {
        let place = format!("0x{:x}/{:x}", code.pc, code.mode.0);
        match self.symbols.find(code.pc) {
            Some(name) => format!("guest:{name}@{place}"),
            None => format!("guest:{place}"),
        }
    }
}
