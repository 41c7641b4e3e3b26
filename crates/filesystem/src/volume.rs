//! Where file systems lie on a disk: on all of it, or in partitions.

use omni_base::{Gpa, PAGE_SIZE, PageNo};
use omni_memory::Image;
use std::io;

/// Bytes of a sector, in which partition tables count.
const SECTOR: u64 = 512;

/// Partitions that are looked at.
const PARTITIONS_MAX: u32 = 128;

/// A stretch of a disk that can hold a file system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Volume {
    /// The number of the partition, from one; none for the whole disk.
    pub partition: Option<u32>,
    /// Where it begins, in bytes.
    pub start: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

/// The volumes of a disk of so many bytes: its partitions by GPT (UEFI 2.10, section 5.3) or MBR,
/// and the whole disk where it has none.
///
/// # Errors
/// Where the image cannot be read.
pub fn volumes(image: &Image, bytes: u64) -> io::Result<Vec<Volume>> {
    let whole = Volume { partition: None, start: 0, bytes };
    let mut first = [0; SECTOR as usize];
    if bytes < 2 * SECTOR || read(image, 0, &mut first).is_err() || first[510..] != [0x55, 0xaa] {
        return Ok(vec![whole]);
    }
    let mut header = [0; SECTOR as usize];
    read(image, SECTOR, &mut header)?;
    let listed =
        if header.starts_with(b"EFI PART") { gpt(image, bytes, &header)? } else { mbr(&first) };
    let inside = |volume: &Volume| {
        let end = volume.start.checked_add(volume.bytes);
        volume.start > 0 && volume.bytes > 0 && end.is_some_and(|end| end <= bytes)
    };
    let inside: Vec<Volume> = listed.into_iter().filter(inside).collect();
    Ok(if inside.is_empty() { vec![whole] } else { inside })
}

/// The four primary partitions.
fn mbr(sector: &[u8]) -> Vec<Volume> {
    let entries = (1u32..).zip(sector[446..510].chunks_exact(16));
    let volume = |(number, entry): (u32, &[u8])| Volume {
        partition: Some(number),
        start: SECTOR * u64::from(word(entry, 8)),
        bytes: SECTOR * u64::from(word(entry, 12)),
    };
    entries.filter(|(_, entry)| entry[4] != 0).map(volume).collect()
}

fn gpt(image: &Image, bytes: u64, header: &[u8]) -> io::Result<Vec<Volume>> {
    let (table, count, size) = (double(header, 72), word(header, 80), u64::from(word(header, 84)));
    let mut volumes = Vec::new();
    if size < 128 {
        return Ok(volumes);
    }
    for number in 0..count.min(PARTITIONS_MAX) {
        let at = table.checked_mul(SECTOR).and_then(|at| at.checked_add(size * u64::from(number)));
        let Some(at) = at.filter(|at| at.saturating_add(128) <= bytes) else { break };
        let mut entry = [0; 128];
        read(image, at, &mut entry)?;
        if entry[..16] == [0; 16] {
            continue;
        }
        let (first, last) = (double(&entry, 32), double(&entry, 40));
        let sectors = last.checked_sub(first).and_then(|sectors| sectors.checked_add(1));
        let (start, bytes) = (first.checked_mul(SECTOR), sectors.map(|s| s.checked_mul(SECTOR)));
        if let (Some(start), Some(Some(bytes))) = (start, bytes) {
            volumes.push(Volume { partition: Some(number + 1), start, bytes });
        }
    }
    Ok(volumes)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn double(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Reads bytes of an image; those that it does not hold are zero. Pages stay where they are.
pub(crate) fn read(image: &Image, at: u64, into: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        let from = Gpa(at + done as u64);
        let no = PageNo(from.0 / PAGE_SIZE as u64);
        let skip = usize::try_from(from.0 % PAGE_SIZE as u64).expect("below a page");
        let count = (PAGE_SIZE - skip).min(into.len() - done);
        let mut page = [0; PAGE_SIZE];
        match (image.get(no)?, image.base()) {
            (Some(held), _) => held.read(&mut page)?,
            (None, Some(base)) => base.read(no, &mut page)?,
            (None, None) => {}
        }
        into[done..done + count].copy_from_slice(&page[skip..skip + count]);
        done += count;
    }
    Ok(())
}
