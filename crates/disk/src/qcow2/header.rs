//! The header of a qcow2 image, its extensions, and the list of its snapshots.

use crate::compress::Compression;
use crate::error::{Result, damaged, ensure, unsupported};
use crate::layer::{Backing, Format, Info, Snapshot};
use crate::storage::ReadAt;
use crate::tables::{Tables, be32, be64};

pub(super) const MAGIC: &[u8; 4] = b"QFI\xfb";

/// Bits of `incompatible_features`.
pub(super) mod incompatible {
    pub(crate) const DIRTY: u64 = 1 << 0;
    pub(crate) const CORRUPT: u64 = 1 << 1;
    pub(crate) const DATA_FILE: u64 = 1 << 2;
    pub(crate) const COMPRESSION: u64 = 1 << 3;
    pub(crate) const EXTENDED_L2: u64 = 1 << 4;
    pub(crate) const KNOWN: u64 = (1 << 5) - 1;
}

/// Offsets in entries of the L1 and L2 tables.
pub(super) const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
const EXTENSION_CRYPTO: u32 = 0x0537_be77;
const EXTENSION_BITMAPS: u32 = 0x2385_2875;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;

/// The largest tables, as in other implementations.
const L1_BYTES_MAX: u64 = 32 << 20;
const REFCOUNT_TABLE_BYTES_MAX: u64 = 8 << 20;

const NAME_BYTES_MAX: u32 = 1023;
const SNAPSHOTS_MAX: u32 = 65_536;

/// Snapshots whose names are told.
const SNAPSHOTS_TOLD_MAX: u32 = 1024;
const SNAPSHOT_EXTRA_BYTES_MAX: u32 = 1024;

/// Where bitmaps are listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bitmaps {
    pub(super) count: u32,
    pub(super) directory: u64,
    pub(super) directory_bytes: u64,
}

/// A header that was checked.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) cluster_bits: u32,
    pub(super) bytes: u64,
    pub(super) l1: u64,
    pub(super) l1_count: u32,
    pub(super) refcounts: u64,
    pub(super) refcount_clusters: u32,
    pub(super) refcount_order: u32,
    pub(super) snapshots: u64,
    pub(super) snapshot_count: u32,
    pub(super) incompatible: u64,
    pub(super) compression: Compression,
    pub(super) backing: Option<Backing>,
    pub(super) data_file: Option<String>,
    pub(super) bitmaps: Option<Bitmaps>,
}

/// A snapshot's own tables.
#[derive(Clone, Debug)]
pub(super) struct SnapshotTable {
    pub(super) l1: u64,
    pub(super) l1_count: u32,
    pub(super) told: Snapshot,
}

impl Header {
    pub(super) fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    pub(super) fn extended(&self) -> bool {
        self.incompatible & incompatible::EXTENDED_L2 != 0
    }

    /// Bits of the number of entries in an L2 table.
    pub(super) fn l2_bits(&self) -> u32 {
        self.cluster_bits - if self.extended() { 4 } else { 3 }
    }

    pub(super) fn read(file: &dyn ReadAt) -> Result<Self> {
        let mut head = [0; 112];
        let there = usize::try_from(file.bytes()).unwrap_or(usize::MAX).min(head.len());
        ensure(there >= 72, "header", || "is cut off".into())?;
        file.read_exact_at(0, &mut head[..there])?;
        ensure(head[..4] == *MAGIC, "magic", || "is not that of qcow2".into())?;
        let version = be32(&head, 4);
        if version != 2 && version != 3 {
            return Err(unsupported(format!("version {version} of the format")));
        }
        match be32(&head, 32) {
            0 => {}
            1 => return Err(unsupported("encryption by AES")),
            2 => return Err(unsupported("encryption by LUKS")),
            other => return Err(unsupported(format!("encryption of the sort {other}"))),
        }
        let mut header = Self {
            version,
            cluster_bits: be32(&head, 20),
            bytes: be64(&head, 24),
            l1: be64(&head, 40),
            l1_count: be32(&head, 36),
            refcounts: be64(&head, 48),
            refcount_clusters: be32(&head, 56),
            refcount_order: 4,
            snapshots: be64(&head, 64),
            snapshot_count: be32(&head, 60),
            incompatible: 0,
            compression: Compression::Zlib,
            backing: None,
            data_file: None,
            bitmaps: None,
        };
        let mut length = 72;
        if version == 3 {
            ensure(there >= 104, "header", || "is cut off".into())?;
            header.incompatible = be64(&head, 72);
            header.refcount_order = be32(&head, 96);
            length = be32(&head, 100);
            header.features(if length > 104 { head[104] } else { 0 })?;
        }
        header.check(length, file.bytes())?;
        header.names(file, length, be64(&head, 8), be32(&head, 16))?;
        Ok(header)
    }

    fn features(&mut self, compression: u8) -> Result<()> {
        let unknown = self.incompatible & !incompatible::KNOWN;
        if unknown != 0 {
            return Err(unsupported(format!("incompatible features {unknown:#x}")));
        }
        let flagged = self.incompatible & incompatible::COMPRESSION != 0;
        self.compression = match compression {
            0 if !flagged => Compression::Zlib,
            1 if flagged => Compression::Zstd,
            0 | 1 => {
                return Err(damaged("compression_type", "does not fit incompatible_features"));
            }
            other => return Err(unsupported(format!("compression of the sort {other}"))),
        };
        Ok(())
    }

    fn check(&self, length: u32, file: u64) -> Result<()> {
        let bits = self.cluster_bits;
        let least = if self.extended() { 14 } else { 9 };
        ensure((least..=21).contains(&bits), "cluster_bits", || format!("is {bits}"))?;
        ensure(self.refcount_order <= 6, "refcount_order", || {
            format!("is {}", self.refcount_order)
        })?;
        let good = length.is_multiple_of(8) && u64::from(length) <= self.cluster();
        ensure(good && (length == 72 || length >= 104), "header_length", || {
            format!("is {length}")
        })?;
        ensure(self.bytes < 1 << 63, "size", || format!("is {}", self.bytes))?;
        let l1_bytes = u64::from(self.l1_count) * 8;
        ensure(l1_bytes <= L1_BYTES_MAX, "l1_size", || format!("is {}", self.l1_count))?;
        let needed = self.bytes.div_ceil(1 << (bits + self.l2_bits()));
        ensure(u64::from(self.l1_count) >= needed, "l1_size", || {
            format!("is {}, and the disk needs {needed}", self.l1_count)
        })?;
        self.table("l1_table_offset", self.l1, l1_bytes, file)?;
        let refcount_bytes = u64::from(self.refcount_clusters) << bits;
        let field = "refcount_table_clusters";
        ensure((1..=REFCOUNT_TABLE_BYTES_MAX).contains(&refcount_bytes), field, || {
            format!("is {}", self.refcount_clusters)
        })?;
        self.table("refcount_table_offset", self.refcounts, refcount_bytes, file)?;
        let count = self.snapshot_count;
        ensure(count <= SNAPSHOTS_MAX, "nb_snapshots", || format!("is {count}"))?;
        if count > 0 {
            self.table("snapshots_offset", self.snapshots, 40 * u64::from(count), file)?;
        }
        Ok(())
    }

    fn table(&self, field: &'static str, at: u64, bytes: u64, file: u64) -> Result<()> {
        ensure(at.is_multiple_of(self.cluster()), field, || format!("is {at}, within a cluster"))?;
        let inside = at.checked_add(bytes).is_some_and(|end| end <= file);
        ensure(inside && (at > 0 || bytes == 0), field, || {
            format!("is {at}: the table is not within the file")
        })
    }

    /// Reads the extensions and the name of the backing file, which lie in the first cluster.
    fn names(&mut self, file: &dyn ReadAt, length: u32, at: u64, bytes: u32) -> Result<()> {
        // At most 2 MiB.
        let mut first = vec![0; self.cluster().min(file.bytes()) as usize];
        file.read_exact_at(0, &mut first)?;
        let mut format = None;
        if at != 0 {
            ensure(bytes <= NAME_BYTES_MAX, "backing_file_size", || format!("is {bytes}"))?;
            let start = usize::try_from(at).unwrap_or(usize::MAX);
            let name = first.get(start..).and_then(|rest| rest.get(..bytes as usize));
            let name = name.ok_or_else(|| {
                damaged("backing_file_offset", format!("is {at}, beyond the first cluster"))
            })?;
            let names = vec![text("backing file name", name)?];
            self.backing = Some(Backing { names, format: None, identity: None });
            first.truncate(start);
        }
        let mut rest = first.get(length as usize..).unwrap_or_default();
        while let Some((head, tail)) = rest.split_at_checked(8) {
            let (kind, bytes) = (be32(head, 0), be32(head, 4) as usize);
            if kind == 0 {
                break;
            }
            let body = tail.get(..bytes).ok_or_else(|| {
                damaged("header extension", format!("{kind:#x} is longer than its cluster"))
            })?;
            match kind {
                EXTENSION_BACKING_FORMAT => format = Some(text("backing format", body)?),
                EXTENSION_DATA_FILE => self.data_file = Some(text("data file name", body)?),
                EXTENSION_CRYPTO => return Err(unsupported("encryption by LUKS")),
                EXTENSION_BITMAPS => self.bitmaps = Some(self.bitmaps(body, file.bytes())?),
                // Others may be left aside, by the format.
                _ => {}
            }
            rest = tail.get(bytes.next_multiple_of(8)..).unwrap_or_default();
        }
        if let (Some(backing), Some(name)) = (&mut self.backing, format) {
            let known = Format::of_name(&name);
            let known = known.ok_or_else(|| unsupported(format!("a backing file of '{name}'")))?;
            backing.format = Some(known);
        }
        let external = self.incompatible & incompatible::DATA_FILE != 0;
        if external && self.data_file.is_none() {
            return Err(damaged("data file name", "is missing"));
        }
        self.data_file = self.data_file.take().filter(|_| external);
        Ok(())
    }

    fn bitmaps(&self, body: &[u8], file: u64) -> Result<Bitmaps> {
        ensure(body.len() == 24, "bitmaps extension", || format!("has {} bytes", body.len()))?;
        let (count, directory_bytes) = (be32(body, 0), be64(body, 8));
        let directory = be64(body, 16);
        self.table("bitmap_directory_offset", directory, directory_bytes, file)?;
        ensure(directory_bytes <= 64 << 20, "bitmap_directory_size", || {
            format!("is {directory_bytes}")
        })?;
        Ok(Bitmaps { count, directory, directory_bytes })
    }

    /// Visits the list of snapshots. Gives the bytes that the list has.
    pub(super) fn each_snapshot(
        &self,
        tables: &Tables,
        each: &mut dyn FnMut(SnapshotTable) -> Result<()>,
    ) -> Result<u64> {
        let mut at = self.snapshots;
        for _ in 0..self.snapshot_count {
            let mut head = [0; 40];
            tables.read(at, &mut head, "snapshot table")?;
            let extra_bytes = be32(&head, 36);
            ensure(extra_bytes <= SNAPSHOT_EXTRA_BYTES_MAX, "extra_data_size", || {
                format!("is {extra_bytes}")
            })?;
            let (id_bytes, name_bytes) = (be32(&head, 12) >> 16, be32(&head, 12) & 0xffff);
            let mut rest = vec![0; (extra_bytes + id_bytes + name_bytes) as usize];
            tables.read(at + 40, &mut rest, "snapshot table")?;
            let (extra, names) = rest.split_at(extra_bytes as usize);
            let (id, name) = names.split_at(id_bytes as usize);
            let extra = |at: usize| (extra.len() >= at + 8).then(|| be64(extra, at));
            let told = Snapshot {
                id: String::from_utf8_lossy(id).into_owned(),
                name: String::from_utf8_lossy(name).into_owned(),
                seconds: be32(&head, 16),
                state_bytes: extra(0).unwrap_or_else(|| u64::from(be32(&head, 32))),
                disk_bytes: extra(8).unwrap_or(self.bytes),
            };
            let (l1, l1_count) = (be64(&head, 0), be32(&head, 8));
            let l1_bytes = u64::from(l1_count) * 8;
            ensure(l1_bytes <= L1_BYTES_MAX, "snapshot l1_size", || format!("is {l1_count}"))?;
            self.table("snapshot l1_table_offset", l1, l1_bytes, tables.bytes())?;
            each(SnapshotTable { l1, l1_count, told })?;
            at += (40 + rest.len() as u64).next_multiple_of(8);
        }
        Ok(at - self.snapshots)
    }

    pub(super) fn info(&self, tables: &Tables) -> Result<Info> {
        let mut info = Info::new(Format::Qcow2, format!("version {}", self.version), self.bytes);
        info.cluster_bytes = Some(self.cluster());
        info.compression = Some(self.compression);
        info.backing.clone_from(&self.backing);
        if self.extended() {
            info.notes.push("extended L2 entries".into());
        }
        if self.incompatible & incompatible::DIRTY != 0 {
            info.notes.push("was not closed: reference counts may be wrong".into());
        }
        if self.incompatible & incompatible::CORRUPT != 0 {
            info.notes.push("marked as corrupt".into());
        }
        if let Some(bitmaps) = self.bitmaps {
            info.notes.push(format!("{} bitmaps", bitmaps.count));
        }
        let (snapshots, mut left) = (&mut info.snapshots, SNAPSHOTS_TOLD_MAX);
        self.each_snapshot(tables, &mut |snapshot| {
            if left > 0 {
                snapshots.push(snapshot.told);
                left -= 1;
            }
            Ok(())
        })?;
        Ok(info)
    }
}

fn text(field: &'static str, bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| damaged(field, "is not UTF-8"))
}
