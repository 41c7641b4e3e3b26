//! Giving a qcow2 image another size, in place.

use super::header::{Header, OFFSET, incompatible};
use super::read::{COMPRESSED, COPIED, Place};
use crate::error::{Result, damaged, request, unsupported};
use crate::storage::{ReadAt, WriteAt, is_zero};

/// The largest L1 table that readers take.
const L1_BYTES_MAX: u64 = 32 << 20;

/// The largest table of counts that readers take.
const REFCOUNT_TABLE_BYTES_MAX: u64 = 8 << 20;

/// The image, while it is changed.
struct Editor<'a, F> {
    file: &'a mut F,
    header: Header,
    /// Clusters up to here are in use, or may be.
    end: u64,
}

/// Changes the size of the disk in a qcow2 image. A larger disk is zero behind its old end; of a
/// smaller one the rest is lost, so that is done only where it is meant.
///
/// `below` is the size of the disk that it is made above, 0 where there is none: were that larger,
/// a larger disk would show what is there.
///
/// While it is changed, an image of version 3 is marked as not closed; where that is broken off,
/// `qemu-img check -r all` counts its clusters anew.
///
/// # Errors
/// Where the image is damaged or has what cannot be resized here, and what the host says.
pub fn resize<F: ReadAt + WriteAt>(
    file: &mut F,
    bytes: u64,
    below: u64,
    shrink: bool,
) -> Result<()> {
    let header = Header::read(file)?;
    if !bytes.is_multiple_of(512) || bytes == 0 {
        return Err(request(format!("{bytes} bytes large: the size is a multiple of 512")));
    }
    let hindrance = [
        (header.snapshot_count > 0, "snapshots within the image"),
        (header.bitmaps.is_some(), "bitmaps"),
        (header.data_file.is_some(), "an external data file"),
        (header.refcount_order < 3, "reference counts of less than a byte"),
        (below > header.bytes && bytes > header.bytes, "a larger disk below"),
    ];
    if let Some((_, what)) = hindrance.iter().find(|(there, _)| *there) {
        return Err(unsupported(format!("{what}, with which the size is not changed here")));
    }
    if header.incompatible & (incompatible::DIRTY | incompatible::CORRUPT) != 0 {
        let why = "say that the image was not closed: 'qemu-img check -r all' mends it";
        return Err(damaged("incompatible_features", why));
    }
    if bytes < header.bytes && !shrink {
        let old = header.bytes;
        let what = format!("{bytes} bytes large without a loss: it has {old} (--shrink cuts it)");
        return Err(request(what));
    }
    let end = file.bytes().div_ceil(header.cluster());
    let mut editor = Editor { file, header, end };
    editor.mark(true)?;
    if bytes < editor.header.bytes {
        editor.shrink(bytes)?;
    } else {
        editor.grow(bytes)?;
    }
    editor.file.sync()?;
    editor.mark(false)?;
    Ok(editor.file.sync()?)
}

impl<F: ReadAt + WriteAt> Editor<'_, F> {
    /// Says in the image whether its counts can be relied on.
    fn mark(&mut self, dirty: bool) -> Result<()> {
        if self.header.version < 3 {
            return Ok(());
        }
        let bit = if dirty { incompatible::DIRTY } else { 0 };
        let features = self.header.incompatible | bit;
        self.put(72, features)?;
        Ok(self.file.sync()?)
    }

    fn get(&self, at: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(at, &mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn put(&mut self, at: u64, value: u64) -> Result<()> {
        Ok(self.file.write_all_at(at, &value.to_be_bytes())?)
    }

    fn grow(&mut self, bytes: u64) -> Result<()> {
        self.clear_tail(self.header.bytes)?;
        let per_table = 1 << (self.header.cluster_bits + self.header.l2_bits());
        let count = bytes.div_ceil(per_table);
        if count * 8 > L1_BYTES_MAX {
            return Err(request(format!("{bytes} bytes large with clusters of that size")));
        }
        let (old, old_count) = (self.header.l1, u64::from(self.header.l1_count));
        if count <= old_count {
            return self.put(24, bytes);
        }
        let cluster = self.header.cluster();
        // Below 32 MiB.
        let mut table = vec![0; (count * 8) as usize];
        self.file.read_exact_at(old, &mut table[..(old_count * 8) as usize])?;
        let at = self.allocate((count * 8).div_ceil(cluster))?;
        self.file.write_all_at(at, &table)?;
        self.file.sync()?;
        // The size, the sort of encryption, and the length and place of the table: side by side.
        let length = u32::try_from(count).map_err(|_| request("so large"))?;
        let mut head = bytes.to_be_bytes().to_vec();
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(&at.to_be_bytes());
        self.file.write_all_at(24, &head)?;
        self.file.sync()?;
        for no in old / cluster..(old + old_count * 8).div_ceil(cluster) {
            self.count(no, false)?;
        }
        Ok(())
    }

    fn shrink(&mut self, bytes: u64) -> Result<()> {
        self.clear_tail(bytes)?;
        self.put(24, bytes)?;
        self.file.sync()?;
        let cluster = self.header.cluster();
        let l2_count = 1 << self.header.l2_bits();
        let first = bytes.div_ceil(cluster);
        for l1 in first / l2_count..u64::from(self.header.l1_count) {
            let at = self.header.l1 + 8 * l1;
            let entry = self.get(at)?;
            let l2 = entry & OFFSET;
            if l2 == 0 {
                continue;
            }
            if entry & COPIED == 0 || !l2.is_multiple_of(cluster) {
                return Err(damaged("L1 entry", format!("is {entry:#x}, shared without need")));
            }
            let from = first.saturating_sub(l1 * l2_count);
            let freed = self.cut_table(l2, from)?;
            if from == 0 {
                self.put(at, 0)?;
                self.file.sync()?;
                self.count(l2 / cluster, false)?;
            }
            freed.into_iter().try_for_each(|no| self.count(no, false))?;
        }
        Ok(())
    }

    /// Empties an L2 table from an entry on. Gives the clusters that had a reference there.
    fn cut_table(&mut self, l2: u64, from: u64) -> Result<Vec<u64>> {
        let cluster = self.header.cluster();
        let width = if self.header.extended() { 16 } else { 8 };
        // At most 2 MiB.
        let mut table = vec![0; (cluster - from * width) as usize];
        self.file.read_exact_at(l2 + from * width, &mut table)?;
        let mut freed = Vec::new();
        for entry in table.chunks(width as usize) {
            let entry = u64::from_be_bytes(entry[..8].try_into().expect("at least eight bytes"));
            if entry & COMPRESSED != 0 {
                let shift = 62 - (self.header.cluster_bits - 8);
                let at = (entry & ((1 << shift) - 1)) & !511;
                let sectors = ((entry & (COMPRESSED - 1)) >> shift) + 1;
                freed.extend(at / cluster..(at + sectors * 512).div_ceil(cluster));
            } else if entry & OFFSET != 0 {
                freed.push((entry & OFFSET) / cluster);
            }
        }
        table.fill(0);
        self.file.write_all_at(l2 + from * width, &table)?;
        self.file.sync()?;
        Ok(freed)
    }

    /// Zeros what the cluster at the end of the disk has behind the end, so that a larger disk does
    /// not show it.
    fn clear_tail(&mut self, end: u64) -> Result<()> {
        let (cluster, bits) = (self.header.cluster(), self.header.cluster_bits);
        let start = end % cluster;
        if start == 0 {
            return Ok(());
        }
        // The end of the disk is within the cluster, so the L1 table has an entry for it.
        let l1 = self.header.l1 + 8 * (end >> (bits + self.header.l2_bits()));
        let Some(l2) = self.header.l2_at(self.get(l1)?)? else { return Ok(()) };
        let index = end >> bits & ((1 << self.header.l2_bits()) - 1);
        let entry = self.get(l2 + index * if self.header.extended() { 16 } else { 8 })?;
        let mut tail = vec![0; (cluster - start) as usize];
        match self.header.place(entry)? {
            Place::Nowhere => Ok(()),
            Place::At(at) if entry & COPIED != 0 => {
                let there = self.file.bytes().saturating_sub(at + start).min(tail.len() as u64);
                tail.truncate(there as usize);
                Ok(self.file.write_all_at(at + start, &tail)?)
            }
            Place::At(_) => Err(damaged("L2 entry", "is shared without need")),
            Place::Packed { at, bytes } => {
                let whole = self.header.unpack(self.file, at, bytes)?;
                if is_zero(&whole[start as usize..]) {
                    return Ok(());
                }
                Err(unsupported("a compressed cluster across the end, with data behind it"))
            }
        }
    }

    /// Space at the end of the file, with counts of one.
    fn allocate(&mut self, clusters: u64) -> Result<u64> {
        let first = self.end;
        self.end += clusters;
        self.file.set_bytes(self.end * self.header.cluster())?;
        (first..first + clusters).try_for_each(|no| self.count(no, true))?;
        Ok(first * self.header.cluster())
    }

    /// Adds a reference to a cluster, or takes one away.
    fn count(&mut self, no: u64, more: bool) -> Result<()> {
        let per_block = (self.header.cluster() * 8) >> self.header.refcount_order;
        let block = self.block(no / per_block)?;
        let width = 1usize << (self.header.refcount_order - 3);
        let at = block + no % per_block * width as u64;
        let mut bytes = [0; 8];
        self.file.read_exact_at(at, &mut bytes[8 - width..])?;
        let old = u64::from_be_bytes(bytes);
        let new = if more { old.checked_add(1) } else { old.checked_sub(1) };
        let fits = |value: &u64| width == 8 || *value < 1 << (8 * width);
        let new = new.filter(fits).ok_or_else(|| {
            damaged("refcount block", format!("has {old} for cluster {no}, which cannot be"))
        })?;
        Ok(self.file.write_all_at(at, &new.to_be_bytes()[8 - width..])?)
    }

    /// The block of counts of this number, made where there is none.
    fn block(&mut self, index: u64) -> Result<u64> {
        let cluster = self.header.cluster();
        let entries = (u64::from(self.header.refcount_clusters) * cluster) / 8;
        if index >= entries {
            self.grow_table(index + 1)?;
        }
        let at = self.header.refcounts + 8 * index;
        let block = self.get(at)? & !511;
        if block != 0 {
            let inside = block.checked_add(cluster).is_some_and(|end| end <= self.file.bytes());
            if !inside || !block.is_multiple_of(cluster) {
                return Err(damaged("refcount table", format!("points to {block}")));
            }
            return Ok(block);
        }
        // It may be that it counts itself.
        let no = self.end;
        self.end += 1;
        self.file.set_bytes(self.end * cluster)?;
        self.put(at, no * cluster)?;
        self.count(no, true)?;
        Ok(no * cluster)
    }

    /// Moves the table of counts to where it has room for so many blocks, and some more.
    fn grow_table(&mut self, entries: u64) -> Result<()> {
        let cluster = self.header.cluster();
        let (old, old_clusters) = (self.header.refcounts, u64::from(self.header.refcount_clusters));
        let clusters = (entries * 8).div_ceil(cluster).max(old_clusters * 2);
        if clusters * cluster > REFCOUNT_TABLE_BYTES_MAX {
            return Err(request("so large with clusters of that size"));
        }
        // At most 8 MiB.
        let mut table = vec![0; (old_clusters * cluster) as usize];
        self.file.read_exact_at(old, &mut table)?;
        let first = self.end;
        self.end += clusters;
        self.file.set_bytes(self.end * cluster)?;
        self.file.write_all_at(first * cluster, &table)?;
        self.file.sync()?;
        let count = u32::try_from(clusters).map_err(|_| request("so large"))?;
        let mut head = (first * cluster).to_be_bytes().to_vec();
        head.extend_from_slice(&count.to_be_bytes());
        self.file.write_all_at(48, &head)?;
        (self.header.refcounts, self.header.refcount_clusters) = (first * cluster, count);
        (first..first + clusters).try_for_each(|no| self.count(no, true))?;
        (old / cluster..old / cluster + old_clusters).try_for_each(|no| self.count(no, false))
    }
}
