//! The searches (the specification, section 2.17).

use crate::fault::Fault;
use crate::world::World;

/// Bytes that one search compares at most.
const BYTES_MAX: u64 = 1 << 26;

const INDIRECT: u32 = 1;
const ZERO_ENDS: u32 = 2;
const INDEX: u32 = 4;

/// What is looked for.
struct Key {
    bytes: Vec<u8>,
    /// Where the key is in each structure.
    offset: u32,
    options: u32,
    left: u64,
}

impl World {
    /// A search, by its opcode and operands.
    pub(crate) fn search(&self, opcode: u32, args: [u32; 8]) -> Result<u32, Fault> {
        let (key, size, start) = (args[0], args[1], args[2]);
        match opcode {
            0x150 => {
                let mut key = self.key(key, size, (args[5], args[6]))?;
                self.linear(&mut key, start, (args[3], args[4]))
            }
            0x151 => {
                let mut key = self.key(key, size, (args[5], args[6]))?;
                self.binary(&mut key, start, (args[3], args[4]))
            }
            _ => {
                let mut key = self.key(key, size, (args[3], args[5]))?;
                self.linked(&mut key, start, args[4])
            }
        }
    }

    fn key(&self, key: u32, size: u32, (offset, options): (u32, u32)) -> Result<Key, Fault> {
        let bytes = if options & INDIRECT != 0 {
            if size > self.cpu.endmem {
                return Err(Fault::Read);
            }
            self.worked(size.into());
            let mut bytes = vec![0; size as usize];
            self.read(key, &mut bytes)?;
            bytes
        } else {
            let word = key.to_be_bytes();
            let first = 4usize.checked_sub(size as usize).filter(|_| size != 3);
            word[first.ok_or(Fault::Key)?..].to_vec()
        };
        Ok(Key { bytes, offset, options, left: BYTES_MAX })
    }

    /// How the key of a structure compares, and whether it is zero.
    fn compare(&self, key: &mut Key, at: u32) -> Result<(std::cmp::Ordering, bool), Fault> {
        let size = key.bytes.len();
        key.left = key.left.checked_sub(size as u64 + 8).ok_or(Fault::TooMuch)?;
        self.worked(size as u64 + 32);
        let at = at.wrapping_add(key.offset);
        let mut small = [0; 16];
        let mut large;
        let here = if size <= small.len() {
            &mut small[..size]
        } else {
            large = vec![0; size];
            &mut large[..]
        };
        self.read(at, here)?;
        Ok(((*here).cmp(&key.bytes[..]), here.iter().all(|byte| *byte == 0)))
    }

    fn found(key: &Key, at: u32, index: u32) -> u32 {
        if key.options & INDEX != 0 { index } else { at }
    }

    fn missed(key: &Key) -> u32 {
        if key.options & INDEX != 0 { u32::MAX } else { 0 }
    }

    fn linear(&self, key: &mut Key, start: u32, (size, count): (u32, u32)) -> Result<u32, Fault> {
        let mut at = start;
        for index in 0..count {
            let (order, zero) = self.compare(key, at)?;
            if order.is_eq() {
                return Ok(Self::found(key, at, index));
            }
            if key.options & ZERO_ENDS != 0 && zero {
                break;
            }
            at = at.wrapping_add(size);
        }
        Ok(Self::missed(key))
    }

    fn binary(&self, key: &mut Key, start: u32, (size, count): (u32, u32)) -> Result<u32, Fault> {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = start.wrapping_add(middle.wrapping_mul(size));
            match self.compare(key, at)?.0 {
                std::cmp::Ordering::Equal => return Ok(Self::found(key, at, middle)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(Self::missed(key))
    }

    fn linked(&self, key: &mut Key, start: u32, next: u32) -> Result<u32, Fault> {
        let mut at = start;
        while at != 0 {
            let (order, zero) = self.compare(key, at).map_err(|fault| {
                // Each structure costs: a list that is so long leads into itself.
                if fault == Fault::TooMuch { Fault::Circle } else { fault }
            })?;
            if order.is_eq() {
                return Ok(at);
            }
            if key.options & ZERO_ENDS != 0 && zero {
                break;
            }
            at = self.long(at.wrapping_add(next))?;
        }
        Ok(0)
    }

    /// The binary search of a property of an object.
    pub(crate) fn find_property(&self, table: u32, id: u32) -> Result<u32, Fault> {
        let count = self.long(table)?;
        self.search(0x151, [id & 0xffff, 2, table.wrapping_add(4), 10, count, 0, 0, 0])
    }
}
