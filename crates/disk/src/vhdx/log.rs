//! The log of a VHDX image that was not closed. It is applied in memory: the file stays as it is.

use super::Guid;
use super::header::{Headers, checksum};
use crate::error::{Result, damaged, ensure, unsupported};
use crate::storage::ReadAt;
use crate::tables::{field, le32, le64};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// The largest log that is applied: it is held in memory.
const LOG_BYTES_MAX: u64 = 64 << 20;

const SECTOR: usize = 4096;
const HEADER_BYTES: usize = 64;
const DESCRIPTOR_BYTES: usize = 32;

/// Bytes that are summed, in logs: so many that each may be of several entries that are not whole.
const ROUNDS_MAX: usize = 8;

/// An entry that is whole.
struct Entry {
    at: usize,
    sequence: u64,
    /// Where the first entry of its sequence is.
    tail: usize,
    /// The file has at least this size when the entry is written.
    flushed: u64,
    /// The size that the file is to have.
    end: u64,
    bytes: Vec<u8>,
}

/// A file as it is when a log is applied to it.
#[derive(Debug)]
struct Patched {
    file: Arc<dyn ReadAt>,
    bytes: u64,
    /// Sectors by where they are. They come after zeros.
    sectors: BTreeMap<u64, Box<[u8; SECTOR]>>,
    /// Beginnings and ends of what is zero.
    zeros: Vec<(u64, u64)>,
}

/// The file with its log applied, where there is something in it.
pub(super) fn replay(file: Arc<dyn ReadAt>, headers: &Headers) -> Result<(Arc<dyn ReadAt>, bool)> {
    if headers.log_guid == Guid::default() {
        return Ok((file, false));
    }
    let (at, bytes) = headers.log;
    if bytes > LOG_BYTES_MAX {
        return Err(unsupported(format!("a log of {bytes} bytes that is to be applied")));
    }
    let inside = at.checked_add(bytes).is_some_and(|end| end <= file.bytes());
    ensure(inside, "log", || format!("at {at} of {bytes} bytes is not within the file"))?;
    // At most 64 MiB.
    let mut log = vec![0; bytes as usize];
    file.read_exact_at(at, &mut log)?;
    let entries = entries(&log, headers.log_guid)?;
    let active = active(&entries, log.len())?;
    let mut patched =
        Patched { bytes: file.bytes(), file, sectors: BTreeMap::new(), zeros: Vec::new() };
    for entry in active {
        patched.apply(entry)?;
    }
    Ok((Arc::new(patched), true))
}

/// All entries of a log that are whole.
fn entries(log: &[u8], guid: Guid) -> Result<Vec<Entry>> {
    let (mut found, mut at, mut summed) = (Vec::new(), 0, 0);
    while at + SECTOR <= log.len() {
        let head = &log[at..at + HEADER_BYTES];
        let bytes = le32(head, 8) as usize;
        let maybe = head[..4] == *b"loge" && Guid(field(head, 32)) == guid;
        let good = bytes.is_multiple_of(SECTOR) && (SECTOR..=log.len()).contains(&bytes);
        if !maybe || !good {
            at += SECTOR;
            continue;
        }
        summed += bytes;
        ensure(summed <= ROUNDS_MAX * log.len(), "log", || "has entries over each other".into())?;
        // An entry may go on at the beginning.
        let first = bytes.min(log.len() - at);
        let whole = [&log[at..at + first], &log[..bytes - first]].concat();
        if le32(&whole, 4) == checksum(&whole) {
            found.push(Entry {
                at,
                sequence: le64(head, 16),
                tail: le32(head, 12) as usize,
                flushed: le64(head, 48),
                end: le64(head, 56),
                bytes: whole,
            });
            at += first;
        } else {
            at += SECTOR;
        }
    }
    Ok(found)
}

/// The newest sequence that is whole, from its tail to its head.
fn active(entries: &[Entry], log_bytes: usize) -> Result<Vec<&Entry>> {
    let by_place: BTreeMap<usize, &Entry> = entries.iter().map(|entry| (entry.at, entry)).collect();
    let mut heads: Vec<&Entry> = entries.iter().collect();
    heads.sort_by_key(|entry| std::cmp::Reverse(entry.sequence));
    let mut steps = 0;
    for head in heads {
        let (mut sequence, mut next) = (Vec::new(), by_place.get(&head.tail).copied());
        while let Some(entry) = next {
            steps += 1;
            ensure(steps <= 1 << 20, "log", || "has too many sequences".into())?;
            let follows = sequence
                .last()
                .is_none_or(|last: &&Entry| last.sequence.checked_add(1) == Some(entry.sequence));
            if !follows || entry.sequence > head.sequence {
                break;
            }
            sequence.push(entry);
            if entry.at == head.at {
                return Ok(sequence);
            }
            next = by_place.get(&((entry.at + entry.bytes.len()) % log_bytes)).copied();
        }
    }
    Err(damaged("log", "is to be applied, and has no sequence that is whole"))
}

impl Patched {
    fn apply(&mut self, entry: &Entry) -> Result<()> {
        ensure(self.file.bytes() >= entry.flushed, "log", || {
            format!("was written when the file had {} bytes: it was cut off", entry.flushed)
        })?;
        ensure(entry.end < 1 << 62, "log", || format!("says of a file of {} bytes", entry.end))?;
        self.bytes = self.bytes.max(entry.end);
        let count = le32(&entry.bytes, 24) as usize;
        let head = count.checked_mul(DESCRIPTOR_BYTES).map(|bytes| bytes + HEADER_BYTES);
        let head = head.map(|bytes| bytes.next_multiple_of(SECTOR));
        let head = head.filter(|&bytes| bytes <= entry.bytes.len());
        let head = head.ok_or_else(|| damaged("log", format!("has {count} descriptors")))?;
        let (head, data) = entry.bytes.split_at(head);
        let mut data = data.chunks_exact(SECTOR);
        for descriptor in head[HEADER_BYTES..].chunks_exact(DESCRIPTOR_BYTES).take(count) {
            let (at, sequence) = (le64(descriptor, 16), le64(descriptor, 24));
            let good = sequence == entry.sequence && at.is_multiple_of(SECTOR as u64);
            ensure(good && at < 1 << 62, "log descriptor", || {
                format!("for {at} is not of its entry, or not aligned")
            })?;
            match &descriptor[..4] {
                b"zero" => self.zero(at, le64(descriptor, 8))?,
                b"desc" => {
                    let data = data.next().filter(|data| data[..4] == *b"data");
                    let data = data.ok_or_else(|| damaged("log", "lacks a sector of data"))?;
                    let own = u64::from(le32(data, 4)) << 32 | u64::from(le32(data, 4092));
                    ensure(own == sequence, "log", || "has a sector of another entry".into())?;
                    let mut sector = Box::new([0; SECTOR]);
                    sector[..8].copy_from_slice(&descriptor[8..16]);
                    sector[8..4092].copy_from_slice(&data[8..4092]);
                    sector[4092..].copy_from_slice(&descriptor[4..8]);
                    self.sectors.insert(at, sector);
                    self.bytes = self.bytes.max(at + SECTOR as u64);
                }
                _ => return Err(damaged("log descriptor", "is of no known sort")),
            }
        }
        Ok(())
    }

    fn zero(&mut self, at: u64, bytes: u64) -> Result<()> {
        let good = bytes.is_multiple_of(SECTOR as u64) && bytes < 1 << 62;
        ensure(good, "log descriptor", || format!("zeros {bytes} bytes"))?;
        let covered: Vec<_> = self.sectors.range(at..at + bytes).map(|(&at, _)| at).collect();
        covered.iter().for_each(|at| {
            self.sectors.remove(at);
        });
        self.zeros.push((at, at + bytes));
        self.bytes = self.bytes.max(at + bytes);
        Ok(())
    }
}

impl ReadAt for Patched {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let end = at.checked_add(into.len() as u64).filter(|&end| end <= self.bytes);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        // Within what is read.
        let there = self.file.bytes().saturating_sub(at).min(into.len() as u64) as usize;
        let (head, tail) = into.split_at_mut(there);
        self.file.read_exact_at(at, head)?;
        tail.fill(0);
        let within = |from: u64, to: u64| {
            ((from.max(at) - at) as usize, (to.min(end).saturating_sub(at)) as usize)
        };
        for &(from, to) in self.zeros.iter().filter(|(from, to)| *from < end && *to > at) {
            let (from, to) = within(from, to);
            into[from..to].fill(0);
        }
        let first = at - at % SECTOR as u64;
        for (&from, sector) in self.sectors.range(first..end) {
            let (start, to) = within(from, from + SECTOR as u64);
            let skip = (at.max(from) - from) as usize;
            into[start..to].copy_from_slice(&sector[skip..skip + to - start]);
        }
        Ok(())
    }

    fn run_at(&self, at: u64) -> io::Result<(bool, u64)> {
        Ok((true, self.bytes.saturating_sub(at).max(1)))
    }
}
