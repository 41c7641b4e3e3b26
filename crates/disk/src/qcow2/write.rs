//! Writing a qcow2 image, version 3, in one pass: data as it comes, tables behind it.

use super::header::{MAGIC, incompatible};
use super::read::{COMPRESSED, COPIED};
use crate::compress::{Compression, squeeze};
use crate::error::{Result, request};
use crate::sink::{Piece, Sink, Target};
use crate::storage::WriteAt;

/// Clusters of 64 KiB, as all programs make them.
const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;

/// Entries of an L2 table.
const L2_COUNT: u64 = CLUSTER / 8;

/// The largest L1 table that readers take.
const L1_BYTES_MAX: u64 = 32 << 20;

/// Counts of 16 bits.
const REFCOUNT_ORDER: u32 = 4;
const REFCOUNTS_PER_BLOCK: usize = (CLUSTER / 2) as usize;

const HEADER_BYTES: u32 = 112;

#[derive(Debug)]
pub(crate) struct Qcow2Sink {
    bytes: u64,
    compression: Option<Compression>,
    backing: Option<(String, &'static str)>,
    l1: Vec<u64>,
    /// The L2 table that is being filled, and which it is.
    l2: Option<(usize, Vec<u8>)>,
    /// References to each cluster of the file so far.
    counts: Vec<u16>,
    /// Where the next compressed cluster goes, if it fits there.
    packed: u64,
}

pub(crate) fn sink(target: &Target, bytes: u64) -> Result<Qcow2Sink> {
    target.only(&["version 3", "v3"])?;
    if !bytes.is_multiple_of(512) {
        return Err(request(format!("{bytes} bytes large: qcow2 takes multiples of 512")));
    }
    let count = bytes.div_ceil(CLUSTER * L2_COUNT);
    if count * 8 > L1_BYTES_MAX {
        return Err(request(format!("{bytes} bytes large: the most here is 2048 TiB")));
    }
    let backing = target
        .backing
        .clone()
        .map(|(name, format)| (name, if format.name() == "vhd" { "vpc" } else { format.name() }));
    if backing.as_ref().is_some_and(|(name, _)| name.is_empty() || name.len() > 1023) {
        return Err(request("above an image with such a name: it has 1 to 1023 bytes"));
    }
    let compression = target.compression;
    // At most four million.
    let l1 = vec![0; count as usize];
    Ok(Qcow2Sink { bytes, compression, backing, l1, l2: None, counts: vec![1], packed: 0 })
}

impl Qcow2Sink {
    /// Space for whole clusters at the end of the file.
    fn clusters(&mut self, count: usize) -> u64 {
        let at = self.counts.len() as u64 * CLUSTER;
        self.counts.resize(self.counts.len() + count, 1);
        at
    }

    /// Space for a compressed cluster: behind the one before where there is room.
    fn place(&mut self, bytes: u64) -> u64 {
        let end = self.counts.len() as u64 * CLUSTER;
        let room = self.packed.next_multiple_of(CLUSTER) - self.packed;
        let last = self.packed.next_multiple_of(CLUSTER) == end;
        if room == 0 || (bytes > room && !last) {
            self.packed = end;
        }
        let at = self.packed;
        self.packed = at + bytes;
        // By whole sectors, as readers count.
        let (first, end) = (at / CLUSTER, self.packed.next_multiple_of(512).div_ceil(CLUSTER));
        self.counts.resize(self.counts.len().max(end as usize), 0);
        for count in &mut self.counts[first as usize..end as usize] {
            *count += 1;
        }
        at
    }

    /// Enters where a cluster of the disk is.
    fn enter(&mut self, out: &mut dyn WriteAt, at: u64, entry: u64) -> Result<()> {
        let no = at / CLUSTER;
        let (table, index) = ((no / L2_COUNT) as usize, (no % L2_COUNT) as usize);
        if self.l2.as_ref().is_none_or(|(open, _)| *open != table) {
            self.flush(out)?;
            self.l2 = Some((table, vec![0; CLUSTER as usize]));
        }
        if let Some((_, l2)) = &mut self.l2 {
            l2[index * 8..index * 8 + 8].copy_from_slice(&entry.to_be_bytes());
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        if let Some((table, l2)) = self.l2.take() {
            let at = self.clusters(1);
            out.write_all_at(at, &l2)?;
            self.l1[table] = at | COPIED;
        }
        Ok(())
    }

    fn header(&self, l1: u64, table: u64, table_clusters: u32) -> Vec<u8> {
        let zstd = self.compression == Some(Compression::Zstd);
        let mut tail = Vec::new();
        if let Some((_, format)) = &self.backing {
            tail.extend_from_slice(&0xe279_2acau32.to_be_bytes());
            tail.extend_from_slice(&(format.len() as u32).to_be_bytes());
            tail.extend_from_slice(format.as_bytes());
            tail.resize(tail.len().next_multiple_of(8), 0);
        }
        tail.extend_from_slice(&[0; 8]);
        let name = self.backing.as_ref().map_or("", |(name, _)| name);
        let name_at = if name.is_empty() { 0 } else { HEADER_BYTES as usize + tail.len() };
        tail.extend_from_slice(name.as_bytes());
        let mut head = MAGIC.to_vec();
        let long = |head: &mut Vec<u8>, value: u64| head.extend_from_slice(&value.to_be_bytes());
        let word = |head: &mut Vec<u8>, value: u32| head.extend_from_slice(&value.to_be_bytes());
        word(&mut head, 3);
        long(&mut head, name_at as u64);
        word(&mut head, name.len() as u32);
        word(&mut head, CLUSTER_BITS);
        long(&mut head, self.bytes);
        word(&mut head, 0);
        word(&mut head, self.l1.len() as u32);
        long(&mut head, l1);
        long(&mut head, table);
        word(&mut head, table_clusters);
        word(&mut head, 0);
        long(&mut head, 0);
        long(&mut head, if zstd { incompatible::COMPRESSION } else { 0 });
        long(&mut head, 0);
        long(&mut head, 0);
        word(&mut head, REFCOUNT_ORDER);
        word(&mut head, HEADER_BYTES);
        head.push(u8::from(zstd));
        head.resize(HEADER_BYTES as usize, 0);
        head.extend_from_slice(&tail);
        head
    }
}

impl Sink for Qcow2Sink {
    fn unit(&self) -> u64 {
        CLUSTER
    }

    fn begin(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        // The header comes last, so that what is not whole is no image.
        Ok(out.set_bytes(CLUSTER)?)
    }

    fn put(&mut self, out: &mut dyn WriteAt, piece: &Piece<'_>) -> Result<()> {
        let Some(how) = self.compression else {
            let count = piece.bytes.len() / CLUSTER as usize;
            let mut host = self.clusters(count);
            out.write_all_at(host, piece.bytes)?;
            for at in (piece.at..).step_by(CLUSTER as usize).take(count) {
                self.enter(out, at, host | COPIED)?;
                host += CLUSTER;
            }
            return Ok(());
        };
        let clusters: Vec<_> = piece.bytes.chunks(CLUSTER as usize).collect();
        let small = piece.workers.map(&clusters, &|cluster| squeeze(cluster, how));
        let places = (piece.at..).step_by(CLUSTER as usize);
        for ((at, cluster), small) in places.zip(clusters).zip(small) {
            if small.is_empty() {
                let host = self.clusters(1);
                out.write_all_at(host, cluster)?;
                self.enter(out, at, host | COPIED)?;
                continue;
            }
            let bytes = small.len() as u64;
            let host = self.place(bytes);
            out.write_all_at(host, &small)?;
            let sectors = (host + bytes - 1) / 512 - host / 512;
            let shift = 62 - (CLUSTER_BITS - 8);
            self.enter(out, at, COMPRESSED | sectors << shift | host)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        self.flush(out)?;
        let table: Vec<u8> = self.l1.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        let l1 = self.clusters(table.len().div_ceil(CLUSTER as usize).max(1));
        out.write_all_at(l1, &table)?;
        // The blocks and the table of counts count themselves too.
        let used = self.counts.len();
        let (mut blocks, mut table_clusters) = (0, 0);
        loop {
            let wanted = (used + blocks + table_clusters).div_ceil(REFCOUNTS_PER_BLOCK);
            let clusters = (wanted * 8).div_ceil(CLUSTER as usize);
            if (wanted, clusters) == (blocks, table_clusters) {
                break;
            }
            (blocks, table_clusters) = (wanted, clusters);
        }
        let table_at = self.clusters(table_clusters);
        let blocks_at = self.clusters(blocks);
        let mut table = Vec::new();
        for (at, counts) in
            (blocks_at..).step_by(CLUSTER as usize).zip(self.counts.chunks(REFCOUNTS_PER_BLOCK))
        {
            let block: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
            out.write_all_at(at, &block)?;
            table.extend_from_slice(&at.to_be_bytes());
        }
        out.write_all_at(table_at, &table)?;
        out.set_bytes(self.counts.len() as u64 * CLUSTER)?;
        let clusters = u32::try_from(table_clusters).map_err(|_| request("so large"))?;
        Ok(out.write_all_at(0, &self.header(l1, table_at, clusters))?)
    }
}
