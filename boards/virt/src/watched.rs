//! RAM that a debugger watches for writes of devices, which no engine sees.

use omni_base::Gpa;
use omni_memory::Space;

/// A part of what is watched that lies in one piece of RAM.
#[derive(Debug)]
pub(crate) struct Part {
    /// Which stop point it is of, by number.
    pub(crate) stop: usize,
    /// The guest-virtual address of its first byte.
    pub(crate) at: u64,
    /// Where that is in RAM.
    pub(crate) place: Gpa,
    /// What it holds, as last seen.
    pub(crate) seen: Vec<u8>,
}

/// What is watched, and what was written of it.
#[derive(Default, Debug)]
pub(crate) struct Watched {
    parts: Vec<Part>,
    ignored: bool,
    /// The stop point and the address of the first byte that a device has changed.
    touched: Option<(usize, u64)>,
}

impl Watched {
    pub(crate) fn set(&mut self, parts: Vec<Part>) {
        *self = Self { parts, ignored: self.ignored, touched: None };
    }

    /// Whether writes pass as if nobody watched.
    pub(crate) fn ignore(&mut self, ignored: bool) {
        self.ignored = ignored;
        self.touched = None;
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.parts.is_empty() && !self.ignored
    }

    /// Looks at what is there before a device is called: harts may have written meanwhile, and
    /// engines see what they write.
    pub(crate) fn before(&mut self, ram: &Space) {
        for part in &mut self.parts {
            // What is no RAM any more has nothing to see.
            let _ = ram.read(part.place, &mut part.seen);
        }
    }

    /// Looks at what has changed since.
    pub(crate) fn after(&mut self, ram: &Space) {
        if self.touched.is_some() {
            return;
        }
        let mut now = Vec::new();
        self.touched = self.parts.iter().find_map(|part| {
            now.resize(part.seen.len(), 0);
            ram.read(part.place, &mut now).ok()?;
            let first = part.seen.iter().zip(&now).position(|(seen, now)| seen != now)?;
            Some((part.stop, part.at.wrapping_add(first as u64)))
        });
    }

    pub(crate) fn has_touched(&self) -> bool {
        self.touched.is_some()
    }

    pub(crate) fn take(&mut self) -> Option<(usize, u64)> {
        self.touched.take()
    }
}
