//! Tables of an image, read lazily through a bounded cache.

use crate::error::{Result, damaged};
use crate::storage::ReadAt;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is read at a time.
const BLOCK_BYTES: u64 = 16 << 10;

/// How many blocks are kept: 4 MiB for each image.
const BLOCKS_MAX: usize = 256;

/// Decompressed clusters that are kept for each image, in bytes; one is kept in any case.
const CLUSTER_BYTES_MAX: usize = 4 << 20;

/// The metadata of a file.
#[derive(Debug)]
pub(crate) struct Tables {
    file: Arc<dyn ReadAt>,
    blocks: Mutex<Kept<u64>>,
}

/// The last things that were used, by key.
#[derive(Debug)]
struct Kept<K> {
    most: usize,
    clock: u64,
    of: BTreeMap<K, (u64, Arc<[u8]>)>,
}

impl<K: Ord + Copy> Kept<K> {
    fn new(most: usize) -> Self {
        Self { most, clock: 0, of: BTreeMap::new() }
    }

    fn get(&mut self, key: K) -> Option<Arc<[u8]>> {
        self.clock += 1;
        let (used, bytes) = self.of.get_mut(&key)?;
        *used = self.clock;
        Some(bytes.clone())
    }

    fn put(&mut self, key: K, bytes: Arc<[u8]>) {
        if self.of.len() >= self.most {
            let oldest = self.of.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.of.remove(&oldest);
            }
        }
        self.of.insert(key, (self.clock, bytes));
    }
}

impl Tables {
    pub(crate) fn new(file: Arc<dyn ReadAt>) -> Self {
        Self { file, blocks: Mutex::new(Kept::new(BLOCKS_MAX)) }
    }

    /// The size of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Reads an entry of the table `field`.
    pub(crate) fn read(&self, at: u64, into: &mut [u8], field: &'static str) -> Result<()> {
        let end = at.checked_add(into.len() as u64).filter(|&end| end <= self.file.bytes());
        if end.is_none() {
            return Err(damaged(field, format!("lies at {at}, beyond the end of the file")));
        }
        let (mut at, mut into) = (at, into);
        while !into.is_empty() {
            let block = self.block(at / BLOCK_BYTES)?;
            // Below the size of a block.
            let start = (at % BLOCK_BYTES) as usize;
            let count = into.len().min(block.len() - start);
            let (head, rest) = into.split_at_mut(count);
            head.copy_from_slice(&block[start..start + count]);
            (at, into) = (at + count as u64, rest);
        }
        Ok(())
    }

    fn block(&self, no: u64) -> Result<Arc<[u8]>> {
        let lock = || self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = lock().get(no) {
            return Ok(block);
        }
        let at = no * BLOCK_BYTES;
        // At most a block.
        let count = (self.file.bytes() - at).min(BLOCK_BYTES) as usize;
        let mut bytes = vec![0; count];
        self.file.read_exact_at(at, &mut bytes)?;
        let block: Arc<[u8]> = bytes.into();
        lock().put(no, block.clone());
        Ok(block)
    }

    /// A big-endian number of 64 bits.
    pub(crate) fn be64(&self, at: u64, field: &'static str) -> Result<u64> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes, field)?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// A little-endian number of 64 bits.
    pub(crate) fn le64(&self, at: u64, field: &'static str) -> Result<u64> {
        Ok(self.be64(at, field)?.swap_bytes())
    }

    /// A big-endian number of 32 bits.
    pub(crate) fn be32(&self, at: u64, field: &'static str) -> Result<u32> {
        let mut bytes = [0; 4];
        self.read(at, &mut bytes, field)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// A little-endian number of 32 bits.
    pub(crate) fn le32(&self, at: u64, field: &'static str) -> Result<u32> {
        Ok(self.be32(at, field)?.swap_bytes())
    }
}

/// The clusters that were decompressed last, by where they lie in the file.
#[derive(Debug)]
pub(crate) struct Clusters(Mutex<Kept<u64>>);

impl Clusters {
    pub(crate) fn new(cluster_bytes: usize) -> Self {
        Self(Mutex::new(Kept::new((CLUSTER_BYTES_MAX / cluster_bytes.max(1)).max(1))))
    }

    /// The cluster of this key, made where it is not kept.
    pub(crate) fn get(
        &self,
        key: u64,
        make: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Arc<[u8]>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = lock().get(key) {
            return Ok(cluster);
        }
        let cluster: Arc<[u8]> = make()?.into();
        lock().put(key, cluster.clone());
        Ok(cluster)
    }
}

/// Numbers in a header that was read whole. An offset beyond it is our own mistake.
pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has that length")
}

/// A big-endian number of 32 bits in a header.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(field(bytes, at))
}

/// A big-endian number of 64 bits in a header.
pub(crate) fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(field(bytes, at))
}

/// A little-endian number of 16 bits in a header.
pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(field(bytes, at))
}

/// A little-endian number of 32 bits in a header.
pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}

/// A little-endian number of 64 bits in a header.
pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}
