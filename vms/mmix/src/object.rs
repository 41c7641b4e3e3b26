//! Object files: the loader of `mmo` (MMIXAL, binary output).

use std::collections::BTreeMap;

/// Bytes of an image, at most.
pub(crate) const IMAGE_MAX: usize = 32 << 20;

/// The escape code.
pub(crate) const ESCAPE: u8 = 0x98;

/// Loader operations.
pub(crate) mod lop {
    pub(crate) const QUOTE: u8 = 0;
    pub(crate) const LOC: u8 = 1;
    pub(crate) const SKIP: u8 = 2;
    pub(crate) const FIXO: u8 = 3;
    pub(crate) const FIXR: u8 = 4;
    pub(crate) const FIXRX: u8 = 5;
    pub(crate) const FILE: u8 = 6;
    pub(crate) const LINE: u8 = 7;
    pub(crate) const SPEC: u8 = 8;
    pub(crate) const PRE: u8 = 9;
    pub(crate) const POST: u8 = 10;
    pub(crate) const STAB: u8 = 11;
    pub(crate) const END: u8 = 12;
}

/// What is to be loaded.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Program {
    /// Tetrabytes by their addresses, which are multiples of four.
    pub(crate) memory: BTreeMap<u64, u32>,
    /// The global registers, of which the last is $255: where the program begins.
    pub(crate) globals: Vec<u64>,
}

impl Program {
    /// Adds a tetrabyte to what is at an address already.
    pub(crate) fn add(&mut self, at: u64, tetra: u32) {
        *self.memory.entry(at & !3).or_default() ^= tetra;
    }
}

/// Why an object file cannot be loaded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is not a sound object file: {why}, at byte {at:#x}")]
pub(crate) struct BadObject {
    why: &'static str,
    at: usize,
}

/// Whether bytes begin as an object file does.
pub(crate) fn is_object(bytes: &[u8]) -> bool {
    bytes.starts_with(&[ESCAPE, lop::PRE, 1])
}

struct Loader<'a> {
    bytes: &'a [u8],
    at: usize,
    loc: u64,
    files: [bool; 256],
    file: bool,
    program: Program,
}

/// Reads an object file.
pub(crate) fn load(bytes: &[u8]) -> Result<Program, BadObject> {
    let mut loader = Loader {
        bytes,
        at: 0,
        loc: 0,
        files: [false; 256],
        file: false,
        program: Program::default(),
    };
    loader.run()?;
    Ok(loader.program)
}

impl Loader<'_> {
    fn bad<T>(&self, why: &'static str) -> Result<T, BadObject> {
        Err(BadObject { why, at: self.at.saturating_sub(4) })
    }

    fn tetra(&mut self) -> Result<u32, BadObject> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((tetra, _)) = rest.split_first_chunk::<4>() else {
            return Err(BadObject { why: "it ends too soon", at: self.at });
        };
        self.at += 4;
        Ok(u32::from_be_bytes(*tetra))
    }

    fn run(&mut self) -> Result<(), BadObject> {
        let first = self.tetra()?.to_be_bytes();
        if first[..3] != [ESCAPE, lop::PRE, 1] {
            return self.bad("it does not begin with a preamble of version 1");
        }
        for _ in 0..first[3] {
            self.tetra()?;
        }
        let mut next = None;
        loop {
            let tetra = match next.take() {
                Some(tetra) => tetra,
                None => self.tetra()?,
            };
            let [escape, code, y, z] = tetra.to_be_bytes();
            if escape != ESCAPE {
                self.datum(tetra);
            } else if code == lop::POST {
                return self.postamble(y, z);
            } else if code == lop::SPEC {
                next = Some(self.special()?);
            } else {
                self.operation(code, y, z)?;
            }
        }
    }

    fn datum(&mut self, tetra: u32) {
        self.program.add(self.loc, tetra);
        self.loc = self.loc.wrapping_add(4) & !3;
    }

    fn operation(&mut self, code: u8, y: u8, z: u8) -> Result<(), BadObject> {
        let yz = u16::from_be_bytes([y, z]);
        match code {
            lop::QUOTE if yz == 1 => {
                let tetra = self.tetra()?;
                self.datum(tetra);
            }
            lop::LOC => self.loc = self.address(y, z)?,
            lop::SKIP => self.loc = self.loc.wrapping_add(yz.into()),
            lop::FIXO => {
                let at = self.address(y, z)?;
                self.program.add(at, (self.loc >> 32) as u32);
                self.program.add(at.wrapping_add(4), self.loc as u32);
            }
            lop::FIXR => self.fix(yz.into(), yz.into()),
            lop::FIXRX => {
                if yz != 16 && yz != 24 {
                    return self.bad("a fix is neither of 16 nor of 24 bits");
                }
                let delta = self.tetra()?;
                if delta >= 1 << 25 {
                    return self.bad("a fix is too far");
                }
                let far = i64::from(delta & 0xff_ffff);
                let back = if delta >= 1 << 24 { 1 << yz } else { 0 };
                self.fix(far - back, delta);
            }
            lop::FILE => {
                let known = self.files[usize::from(y)];
                if known != (z == 0) {
                    return self.bad("a file is named twice, or never");
                }
                for _ in 0..z {
                    self.tetra()?;
                }
                (self.files[usize::from(y)], self.file) = (true, true);
            }
            lop::LINE if self.file => {}
            lop::LINE => return self.bad("there is a line of no file"),
            _ => return self.bad("it has an unknown operation"),
        }
        Ok(())
    }

    fn address(&mut self, y: u8, z: u8) -> Result<u64, BadObject> {
        let high = match z {
            1 => 0,
            2 => self.tetra()?,
            _ => return self.bad("an address has neither one nor two parts"),
        };
        let low = self.tetra()?;
        Ok((u64::from(y) << 56).wrapping_add(u64::from(high) << 32 | u64::from(low)))
    }

    fn fix(&mut self, back: i64, value: u32) {
        let at = self.loc.wrapping_sub((back << 2).cast_unsigned());
        self.program.add(at, value);
    }

    /// Passes over special data, and gives the operation after it.
    fn special(&mut self) -> Result<u32, BadObject> {
        loop {
            let tetra = self.tetra()?;
            let [escape, code, y, z] = tetra.to_be_bytes();
            if escape != ESCAPE {
                continue;
            }
            if (code, y, z) != (lop::QUOTE, 0, 1) {
                return Ok(tetra);
            }
            self.tetra()?;
        }
    }

    fn postamble(&mut self, y: u8, z: u8) -> Result<(), BadObject> {
        if y != 0 || z < 32 {
            return self.bad("its first global register is below 32");
        }
        for _ in z..=255 {
            let (high, low) = (self.tetra()?, self.tetra()?);
            self.program.globals.push(u64::from(high) << 32 | u64::from(low));
        }
        // A symbol table may follow, or nothing.
        if self.at == self.bytes.len() {
            return Ok(());
        }
        if self.tetra()? != u32::from_be_bytes([ESCAPE, lop::STAB, 0, 0]) {
            return self.bad("no symbol table follows the postamble");
        }
        let first = self.at;
        self.at = self.bytes.len().saturating_sub(4).max(first);
        let last = self.tetra()?.to_be_bytes();
        let count = usize::from(u16::from_be_bytes([last[2], last[3]]));
        if last[..2] != [ESCAPE, lop::END] || first + 4 * count + 4 != self.bytes.len() {
            return self.bad("its end is not where the symbol table says");
        }
        Ok(())
    }
}
