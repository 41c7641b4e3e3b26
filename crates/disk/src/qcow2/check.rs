//! The check of a qcow2 image: every cluster's reference count beside the references that exist.

use super::header::{Header, OFFSET};
use super::read::{COMPRESSED, COPIED, Place, Qcow2};
use crate::error::{Result, ensure, unsupported};
use crate::layer::Check;
use crate::tables::{Tables, be32, be64};
use std::collections::BTreeMap;

/// Clusters whose counts are kept together.
const GROUP: u64 = 4096;

/// Groups that are kept at most: 2^26 clusters, which is 4 TiB of clusters of 64 KiB.
const GROUPS_MAX: usize = 1 << 14;

/// Entries and counts that are looked at in all, so that tables that are used many times over
/// cannot keep the check busy for ever.
const STEPS_MAX: u64 = 1 << 28;

/// The references to clusters of the file.
#[derive(Default)]
pub(super) struct References {
    groups: BTreeMap<u64, Box<[u32]>>,
}

impl References {
    pub(super) fn get(&self, cluster: u64) -> u64 {
        let group = self.groups.get(&(cluster / GROUP));
        group.map_or(0, |group| u64::from(group[(cluster % GROUP) as usize]))
    }

    pub(super) fn add(&mut self, cluster: u64) -> Result<()> {
        let fresh = || vec![0; GROUP as usize].into_boxed_slice();
        let group = self.groups.entry(cluster / GROUP).or_insert_with(fresh);
        let count = &mut group[(cluster % GROUP) as usize];
        *count = count.saturating_add(1);
        if self.groups.len() > GROUPS_MAX {
            return Err(unsupported("clusters that are too many, or too scattered, for a check"));
        }
        Ok(())
    }

    pub(super) fn end(&self) -> u64 {
        self.groups.last_key_value().map_or(0, |(group, _)| (group + 1) * GROUP)
    }
}

struct Walk<'a> {
    image: &'a Qcow2,
    header: &'a Header,
    tables: &'a Tables,
    references: References,
    check: Check,
    steps: u64,
}

pub(super) fn check(image: &Qcow2) -> Result<Check> {
    let (header, tables) = (&image.header, &image.tables);
    let (references, check) = (References::default(), Check::default());
    let mut walk = Walk { image, header, tables, references, check, steps: 0 };
    walk.check.total = header.bytes.div_ceil(header.cluster());
    walk.stretch(0, header.cluster(), "header")?;
    walk.stretch(header.l1, 8 * u64::from(header.l1_count), "L1 table")?;
    walk.table(header.l1, header.l1_count, true)?;
    let mut snapshots = Vec::new();
    let list = header.each_snapshot(tables, &mut |snapshot| {
        snapshots.push((snapshot.l1, snapshot.l1_count));
        Ok(())
    });
    if let Some(bytes) = walk.check.note(list)? {
        walk.stretch(header.snapshots, bytes, "snapshot table")?;
    }
    for (l1, count) in snapshots {
        walk.stretch(l1, 8 * u64::from(count), "snapshot L1 table")?;
        walk.table(l1, count, false)?;
    }
    walk.bitmaps()?;
    walk.refcount_table()?;
    walk.compare()?;
    walk.copied()?;
    Ok(walk.check)
}

impl Walk<'_> {
    /// References every cluster that a stretch touches.
    fn stretch(&mut self, at: u64, bytes: u64, what: &str) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let cluster = self.header.cluster();
        let file = self.tables.bytes().next_multiple_of(cluster);
        let Some(end) = at.checked_add(bytes).filter(|&end| end <= file) else {
            self.check.corrupt(|| format!("{what} at {at} reaches beyond the end of the file"));
            return Ok(());
        };
        (at / cluster..end.div_ceil(cluster)).try_for_each(|no| self.references.add(no))
    }

    fn steps(&mut self, count: u64) -> Result<()> {
        self.steps = self.steps.saturating_add(count);
        if self.steps > STEPS_MAX {
            return Err(unsupported("tables that are too large for a check"));
        }
        Ok(())
    }

    fn table(&mut self, l1: u64, count: u32, active: bool) -> Result<()> {
        self.steps(u64::from(count))?;
        for index in 0..u64::from(count) {
            let entry = self.tables.be64(l1 + 8 * index, "L1 table")?;
            let l2 = self.header.l2_at(entry);
            let Some(Some(l2)) = self.check.note(l2)? else { continue };
            let cluster = self.header.cluster();
            self.stretch(l2, cluster, "L2 table")?;
            if l2.checked_add(cluster).is_none_or(|end| end > self.tables.bytes()) {
                self.check.corrupt(|| format!("L2 table at {l2} is cut off"));
                continue;
            }
            self.steps(1 << self.header.l2_bits())?;
            for at in 0..1 << self.header.l2_bits() {
                let (entry, bitmap) = self.image.entry(l2, at)?;
                self.entry(entry, bitmap, active)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: u64, bitmap: u64, active: bool) -> Result<()> {
        let cluster = self.header.cluster();
        let place = self.header.place(entry);
        let stored = match self.check.note(place)? {
            None | Some(Place::Nowhere) => false,
            Some(Place::At(_)) if self.header.external() => true,
            Some(Place::At(at)) => {
                self.stretch(at, cluster, "cluster")?;
                true
            }
            Some(Place::Packed { at, bytes }) => {
                // The last sector may reach beyond the end of a file that was cut to size.
                let rest = self.tables.bytes().saturating_sub(at).max(1);
                self.stretch(at, bytes.min(rest), "compressed cluster")?;
                true
            }
        };
        if self.header.extended() && entry & COMPRESSED == 0 && bitmap & bitmap >> 32 != 0 {
            self.check.corrupt(|| format!("subcluster bitmap {bitmap:#x} contradicts itself"));
        }
        self.check.allocated += u64::from(active && stored);
        Ok(())
    }

    fn bitmaps(&mut self) -> Result<()> {
        let Some(bitmaps) = self.header.bitmaps else { return Ok(()) };
        self.stretch(bitmaps.directory, bitmaps.directory_bytes, "bitmap directory")?;
        let end = bitmaps.directory + bitmaps.directory_bytes;
        let mut at = bitmaps.directory;
        for _ in 0..bitmaps.count {
            if at + 24 > end {
                self.check.corrupt(|| "bitmap directory is too short".into());
                break;
            }
            let mut head = [0; 24];
            self.tables.read(at, &mut head, "bitmap directory")?;
            let (table, count) = (be64(&head, 0), u64::from(be32(&head, 8)));
            self.stretch(table, 8 * count, "bitmap table")?;
            if table.checked_add(8 * count).is_some_and(|end| end <= self.tables.bytes()) {
                self.steps(count)?;
                for index in 0..count {
                    let data = self.tables.be64(table + 8 * index, "bitmap table")? & OFFSET;
                    if data != 0 {
                        self.stretch(data, self.header.cluster(), "bitmap data")?;
                    }
                }
            }
            let (name, extra) = (be32(&head, 16) & 0xffff, be32(&head, 20));
            at += (24 + u64::from(name) + u64::from(extra)).next_multiple_of(8);
        }
        Ok(())
    }

    fn refcount_table(&mut self) -> Result<()> {
        let bytes = u64::from(self.header.refcount_clusters) << self.header.cluster_bits;
        self.stretch(self.header.refcounts, bytes, "refcount table")?;
        for index in 0..bytes / 8 {
            let block = self.header.refcount_block(self.tables, index);
            if let Some(Some(block)) = self.check.note(block)? {
                self.stretch(block, self.header.cluster(), "refcount block")?;
            }
        }
        Ok(())
    }

    /// Holds every count to the references.
    fn compare(&mut self) -> Result<()> {
        let per_block = (self.header.cluster() * 8) >> self.header.refcount_order;
        let blocks = (u64::from(self.header.refcount_clusters) << self.header.cluster_bits) / 8;
        // Beyond the last block there are no counts, and beyond the last reference none are due.
        let end = self.tables.bytes().div_ceil(self.header.cluster());
        let end = end.min(blocks * per_block).max(self.references.end());
        let mut no = 0;
        while no < end {
            let block = self.header.refcount_block(self.tables, no / per_block).ok().flatten();
            let next = ((no / per_block + 1) * per_block).min(end);
            if block.is_none() && !self.references.any(no, next) {
                no = next;
                continue;
            }
            self.steps(next - no)?;
            for no in no..next {
                let counted = match block {
                    Some(block) => self.header.refcount(self.tables, block, no % per_block)?,
                    None => 0,
                };
                let found = self.references.get(no);
                if counted < found {
                    self.check.corrupt(|| {
                        format!("cluster {no} has count {counted} and {found} references")
                    });
                } else if counted > found {
                    self.check.leak(1, || {
                        format!("cluster {no} has count {counted} and {found} references")
                    });
                }
            }
            no = next;
        }
        Ok(())
    }

    /// The flag `copied` must say which clusters of the active tables have a count of one.
    fn copied(&mut self) -> Result<()> {
        let cluster = self.header.cluster();
        for index in 0..u64::from(self.header.l1_count) {
            let entry = self.tables.be64(self.header.l1 + 8 * index, "L1 table")?;
            let Ok(Some(l2)) = self.header.l2_at(entry) else { continue };
            self.one_copied(entry, l2 / cluster, "L1")?;
            if l2.checked_add(cluster).is_none_or(|end| end > self.tables.bytes()) {
                continue;
            }
            for at in 0..1 << self.header.l2_bits() {
                let (entry, _) = self.image.entry(l2, at)?;
                match self.header.place(entry) {
                    Ok(Place::At(at)) if !self.header.external() => {
                        self.one_copied(entry, at / cluster, "L2")?;
                    }
                    Ok(Place::Packed { .. }) if entry & COPIED != 0 => {
                        self.check.corrupt(|| "a compressed cluster has the flag copied".into());
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn one_copied(&mut self, entry: u64, no: u64, level: &str) -> Result<()> {
        let per_block = (self.header.cluster() * 8) >> self.header.refcount_order;
        let counted = match self.header.refcount_block(self.tables, no / per_block) {
            Ok(Some(block)) => self.header.refcount(self.tables, block, no % per_block)?,
            _ => 0,
        };
        if (entry & COPIED != 0) != (counted == 1) {
            self.check.corrupt(|| {
                format!("{level} entry of cluster {no}, of count {counted}: wrong flag copied")
            });
        }
        Ok(())
    }
}

impl References {
    fn any(&self, from: u64, to: u64) -> bool {
        self.groups.range(from / GROUP..to.div_ceil(GROUP)).next().is_some()
    }
}

impl Header {
    /// Where a refcount block is.
    pub(super) fn refcount_block(&self, tables: &Tables, index: u64) -> Result<Option<u64>> {
        if index >= (u64::from(self.refcount_clusters) << self.cluster_bits) / 8 {
            return Ok(None);
        }
        let entry = tables.be64(self.refcounts + 8 * index, "refcount table")?;
        let at = entry & !511;
        let inside = at.checked_add(self.cluster()).is_some_and(|end| end <= tables.bytes());
        ensure(at == 0 || at.is_multiple_of(self.cluster()) && inside, "refcount table", || {
            format!("points to {at}, which is no cluster of the file")
        })?;
        Ok((at != 0).then_some(at))
    }

    /// One count of a refcount block.
    pub(super) fn refcount(&self, tables: &Tables, block: u64, index: u64) -> Result<u64> {
        let bits = index << self.refcount_order;
        let mut bytes = [0; 8];
        let count = (1usize << self.refcount_order).div_ceil(8);
        tables.read(block + bits / 8, &mut bytes[8 - count..], "refcount block")?;
        let value = u64::from_be_bytes(bytes);
        // Counts of less than a byte begin at its lowest bit.
        let width = 1u64 << self.refcount_order;
        Ok(if width < 8 { value >> (bits % 8) & ((1 << width) - 1) } else { value })
    }
}
