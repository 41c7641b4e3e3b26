//! What QEMU's tools cannot make: differencing images, logs to be applied, marks of parents.

mod peer;

use omni_disk::hostile::Mutant;
use omni_disk::{Alone, Chain, Content, Format, MemoryFile, ReadAt, Target, convert};
use peer::{Anything, Random, Scratch, assert_same, content, disk, open, qemu_img, run, target};
use std::path::Path;
use std::sync::Arc;

fn made(scratch: &Scratch, disk: &[u8], target: &Target) -> Vec<u8> {
    let raw = scratch.path("source.raw");
    std::fs::write(&raw, disk).expect("room");
    let mut file = MemoryFile::default();
    let out = (Path::new("made"), &mut file as &mut dyn omni_disk::WriteAt);
    convert(&open(&raw), target, out, &Alone, &mut |_| {}).expect("possible");
    file.0
}

/// Changes an image, and makes its checksums right.
fn changed(image: Vec<u8>, format: Format, changes: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0; image.len()];
    let mut mutant = Mutant::new(Arc::new(image));
    changes.iter().for_each(|(at, to)| mutant.change(*at, to));
    mutant.seal(format);
    mutant.read_exact_at(0, &mut bytes).expect("all of it");
    bytes
}

/// A disk whose every block has something in it.
fn full(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..bytes).map(|_| random.next() as u8 | 1).collect()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The disk of a child where the bits say so, and that of the parent elsewhere.
fn merged(parent: &[u8], child: &[u8], bit: impl Fn(usize) -> bool) -> Vec<u8> {
    let sectors = parent.chunks(512).zip(child.chunks(512)).enumerate();
    sectors
        .flat_map(|(no, (parent, child))| if bit(no) { child } else { parent })
        .copied()
        .collect()
}

const BYTES: usize = (5 << 20) + 512;

#[test]
fn a_differencing_vhd_has_its_own_sectors_and_the_others_of_its_parent() {
    let scratch = Scratch::new();
    let (below, above) = (disk(1, BYTES), full(2, BYTES));
    let parent = made(&scratch, &below, &target(Format::Vhd));
    std::fs::write(scratch.path("parent.vhd"), &parent).expect("room");
    let other = Target { unique: [9; 16], ..target(Format::Vhd) };
    let mut image = made(&scratch, &above, &other);
    // The name of the parent stands before the footer.
    let footer = image.split_off(image.len() - 512);
    let name = utf16(".\\parent.vhd");
    let name_at = image.len() as u64;
    image.extend_from_slice(&name);
    image.resize(image.len().next_multiple_of(512), 0);
    let end = image.len() as u64;
    image.extend_from_slice(&footer);
    let mut locator = b"W2ru".to_vec();
    locator.extend_from_slice(&512u32.to_be_bytes());
    locator.extend_from_slice(&(name.len() as u32).to_be_bytes());
    locator.extend_from_slice(&[0; 4]);
    locator.extend_from_slice(&name_at.to_be_bytes());
    let kind = 4u32.to_be_bytes().to_vec();
    let mut changes = vec![
        (60, kind.clone()),
        (end + 60, kind),
        (512 + 40, parent[68..84].to_vec()),
        (512 + 576, locator),
    ];
    let mut random = Random(4);
    let mut bits = Vec::new();
    for block in 0..3 {
        let at = 1536 + 4 * block;
        let place = u32::from_be_bytes(image[at..at + 4].try_into().expect("four bytes"));
        let bitmap: Vec<u8> = (0..512).map(|_| random.next() as u8).collect();
        bits.extend_from_slice(&bitmap);
        changes.push((u64::from(place) * 512, bitmap));
    }
    let image = changed(image, Format::Vhd, &changes);
    std::fs::write(scratch.path("child.vhd"), &image).expect("room");
    let chain = open(&scratch.path("child.vhd"));
    // The first sector is the highest bit.
    let expected = merged(&below, &above, |no| bits[no / 8] >> (7 - no % 8) & 1 == 1);
    assert_same(&content(&chain), &expected, "child and parent");
    // A parent that is another one now is refused.
    std::fs::write(scratch.path("parent.vhd"), made(&scratch, &below, &other)).expect("room");
    let error = Chain::open(&scratch.path("child.vhd"), None, &Anything).expect_err("another one");
    assert!(error.to_string().contains("identity"), "{error}");
}

/// Places in images of VHDX that are made here.
const LOG: u64 = 1 << 20;
const METADATA: u64 = 2 << 20;
const TABLE: u64 = 3 << 20;

#[test]
fn a_differencing_vhdx_has_its_own_sectors_and_the_others_of_its_parent() {
    let scratch = Scratch::new();
    let (below, above) = (disk(5, BYTES), full(6, BYTES));
    let parent = made(&scratch, &below, &target(Format::Vhdx));
    std::fs::write(scratch.path("parent.vhdx"), &parent).expect("room");
    let mut image = made(&scratch, &above, &Target { unique: [9; 16], ..target(Format::Vhdx) });
    // The mark of the parent: its data write GUID, as a text.
    let id = &parent[(64 << 10) + 32..(64 << 10) + 48];
    let order = [3, 2, 1, 0, 16, 5, 4, 16, 7, 6, 16, 8, 9, 16, 10, 11, 12, 13, 14, 15];
    let mark: String = order
        .iter()
        .map(|&at| id.get(at).map_or("-".into(), |byte| format!("{byte:02X}")))
        .collect();
    let pairs =
        [("parent_linkage", format!("{{{mark}}}")), ("relative_path", ".\\parent.vhdx".into())];
    let mut locator = vec![
        0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59,
        0x13, 0, 0, 2, 0,
    ];
    let mut texts = Vec::new();
    for (key, value) in &pairs {
        let (key, value) = (utf16(key), utf16(value));
        let at = 44 + texts.len() as u32;
        locator.extend_from_slice(&at.to_le_bytes());
        locator.extend_from_slice(&(at + key.len() as u32).to_le_bytes());
        locator.extend_from_slice(&(key.len() as u16).to_le_bytes());
        locator.extend_from_slice(&(value.len() as u16).to_le_bytes());
        texts.extend([key, value].concat());
    }
    locator.extend_from_slice(&texts);
    let mut item = vec![
        0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab,
        0x0c,
    ];
    item.extend_from_slice(&(128u32 << 10).to_le_bytes());
    item.extend_from_slice(&(locator.len() as u32).to_le_bytes());
    item.extend_from_slice(&4u32.to_le_bytes());
    let mut changes = vec![
        (METADATA + 10, vec![6]),
        (METADATA + 32 + 5 * 32, item),
        (METADATA + (64 << 10) + 4, vec![2]),
        (METADATA + (128 << 10), locator),
    ];
    // The sector bitmap lies at the end, and its entry behind those of a whole chunk.
    let bitmap_at = image.len() as u64;
    let mut random = Random(8);
    let bits: Vec<u8> = (0..1 << 20).map(|_| random.next() as u8).collect();
    image.extend_from_slice(&bits);
    changes.push((TABLE + 8 * 2048, (bitmap_at | 6).to_le_bytes().to_vec()));
    for block in 0..3 {
        // Partially present.
        changes.push((TABLE + 8 * block, vec![7]));
    }
    let image = changed(image, Format::Vhdx, &changes);
    std::fs::write(scratch.path("child.vhdx"), &image).expect("room");
    let chain = open(&scratch.path("child.vhdx"));
    // The first sector is the lowest bit.
    let expected = merged(&below, &above, |no| bits[no / 8] >> (no % 8) & 1 == 1);
    assert_same(&content(&chain), &expected, "child and parent");
    let check = chain.check().expect("sound");
    assert_eq!((check.corruptions, check.leaks), (0, 0), "{check:?}");
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc32c::crc32c(&bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// An entry of a log: new content for sectors of the file, and one stretch that becomes zero.
fn entry(
    sequence: u64,
    tail: u32,
    file: u64,
    sectors: &[(u64, Vec<u8>)],
    zero: (u64, u64),
) -> Vec<u8> {
    let mut head = b"loge\0\0\0\0".to_vec();
    head.extend_from_slice(&(4096 * (1 + sectors.len() as u32)).to_le_bytes());
    head.extend_from_slice(&tail.to_le_bytes());
    head.extend_from_slice(&sequence.to_le_bytes());
    head.extend_from_slice(&(1 + sectors.len() as u64).to_le_bytes());
    head.extend_from_slice(&[3; 16]);
    head.extend_from_slice(&file.to_le_bytes());
    head.extend_from_slice(&file.to_le_bytes());
    head.extend_from_slice(b"zero\0\0\0\0");
    for number in [zero.1, zero.0, sequence] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    let mut body = Vec::new();
    for (at, data) in sectors {
        head.extend_from_slice(b"desc");
        head.extend_from_slice(&data[4092..]);
        head.extend_from_slice(&data[..8]);
        head.extend_from_slice(&at.to_le_bytes());
        head.extend_from_slice(&sequence.to_le_bytes());
        body.extend_from_slice(b"data");
        body.extend_from_slice(&((sequence >> 32) as u32).to_le_bytes());
        body.extend_from_slice(&data[8..4092]);
        body.extend_from_slice(&(sequence as u32).to_le_bytes());
    }
    head.resize(4096, 0);
    sealed([head, body].concat())
}

#[test]
fn the_log_of_a_vhdx_is_applied_as_by_qemu_and_the_file_stays_as_it_is() {
    let scratch = Scratch::new();
    let image = made(&scratch, &full(11, BYTES), &target(Format::Vhdx));
    let file = image.len() as u64;
    let sector = |at: u64| image[usize::try_from(at).expect("small")..][..4096].to_vec();
    let table = sector(TABLE);
    // The first entry gives two blocks each other's data; the second gives one sector of the
    // table a third block that is not there, and zeros some sectors of data.
    let swapped = [&table[8..16], &table[..8], &table[16..]].concat();
    let mut second = swapped.clone();
    second[16..24].fill(0);
    let data = u64::from_le_bytes(table[..8].try_into().expect("eight bytes")) & !0xf_ffff;
    let noise = full(12, 4096);
    let one = entry(7, 0x1000, file, &[(TABLE, swapped)], (data + 8192, 4096));
    let two = entry(8, 0x1000, file, &[(TABLE, second), (data, noise)], (data + 65536, 8192));
    let stale = entry(2, 0, file, &[(TABLE, vec![0; 4096])], (data, 1 << 20));
    let at = LOG + 0x1000;
    let mut changes = vec![
        ((64 << 10) + 48, vec![3; 16]),
        ((128 << 10) + 48, vec![3; 16]),
        (at, one.clone()),
        (at + one.len() as u64, two.clone()),
        (LOG + 0x8000, stale),
    ];
    let path = scratch.path("dirty.vhdx");
    let dirty = changed(image.clone(), Format::Vhdx, &changes);
    std::fs::write(&path, &dirty).expect("room");
    let chain = open(&path);
    let (_, info) = chain.images().next().expect("one");
    assert!(info.notes[0].contains("log"), "{info:?}");
    let ours = content(&chain);
    assert!(chain.extent(4 << 20).expect("sound").content == Content::Zero);
    assert_eq!(std::fs::read(&path).expect("there"), dirty, "nothing was written");
    if qemu_img() {
        run("qemu-img", &["check", "-r", "all", "-f", "vhdx", &path]);
        let raw = scratch.path("raw");
        run("qemu-img", &["convert", "-f", "vhdx", "-O", "raw", &path, &raw]);
        assert_same(&ours, &std::fs::read(&raw).expect("made"), "after the log");
    }
    // An entry that is not whole ends the log before it; without any there is nothing to apply.
    changes.push((at + one.len() as u64 + 5000, vec![0xff]));
    std::fs::write(&path, changed(image.clone(), Format::Vhdx, &changes)).expect("room");
    let shorter = content(&open(&path));
    assert_eq!(&shorter[2 << 20..4 << 20][..4096], &full(11, BYTES)[..4096], "swapped");
    changes.push((at + 100, vec![0xff]));
    changes.push((LOG + 0x8000, vec![0]));
    std::fs::write(&path, changed(image, Format::Vhdx, &changes)).expect("room");
    let error = Chain::open(&path, None, &Anything).expect_err("no log to apply");
    assert!(error.to_string().contains("log"), "{error}");
}

#[test]
fn a_fixed_vdi_and_one_with_discarded_blocks_are_read() {
    let scratch = Scratch::new();
    let expected = full(21, 3 << 20);
    let image = made(&scratch, &expected, &target(Format::Vdi));
    let path = scratch.path("disk.vdi");
    std::fs::write(&path, changed(image.clone(), Format::Vdi, &[(0x4c, vec![2])])).expect("room");
    assert_same(&content(&open(&path)), &expected, "fixed");
    let gone = (512 + 4, vec![0xfe, 0xff, 0xff, 0xff]);
    std::fs::write(&path, changed(image, Format::Vdi, &[gone])).expect("room");
    let chain = open(&path);
    assert_eq!(chain.extent(1 << 20).expect("sound").content, Content::Zero);
    assert_eq!(content(&chain)[1 << 20..2 << 20], vec![0; 1 << 20]);
}

#[test]
fn a_vhd_that_lost_its_footer_is_read_by_the_copy() {
    let scratch = Scratch::new();
    let expected = disk(31, BYTES);
    let mut image = made(&scratch, &expected, &target(Format::Vhd));
    image.truncate(image.len() - 512);
    let path = scratch.path("disk.vhd");
    std::fs::write(&path, &image).expect("room");
    let chain = open(&path);
    let (_, info) = chain.images().next().expect("one");
    assert!(info.notes[0].contains("footer"), "{info:?}");
    assert_same(&content(&chain), &expected, "without its footer");
}
