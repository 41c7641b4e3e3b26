//! Snapshot files: whole ones come back, others are refused, and none is believed too soon.

use omni_base::{Digest, PAGE_SIZE, PageNo, Tick};
use omni_lifecycle::{FileError, Snapshot, SpaceImage, WriteOptions};
use omni_machine::{Effect, IoId, IoOp, IoRequest, PortId, Spec};
use omni_memory::{Base, Image, Page, Space};
use omni_state::{Bundle, Field, Writer};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const PLAIN: WriteOptions = WriteOptions { compress: false, flatten: false };
const SMALL: WriteOptions = WriteOptions { compress: true, flatten: false };

fn image(pages: &BTreeMap<u64, u8>) -> Image {
    let mut image = Image::default();
    for (no, value) in pages {
        image.set(PageNo(*no), Page::new(&[*value; PAGE_SIZE])).expect("in memory");
    }
    image
}

fn space(name: &str, pages: u64, image: Image) -> SpaceImage {
    SpaceImage { name: name.into(), pages, image }
}

fn snapshot(spaces: Vec<SpaceImage>) -> Snapshot {
    let mut spec = Spec::new("toy");
    spec.files.insert("kernel".into(), vec![1, 2, 3].into());
    let op = IoOp::SaveFile { name: "a".into(), bytes: vec![1] };
    let pending = vec![Effect::Io(IoRequest { id: IoId(7), port: PortId(1), op })];
    let records = Bundle::default().to_bytes();
    Snapshot { spec, semantics: 5, tick: Tick(99), spaces, records, pending }
}

fn read(bytes: &[u8]) -> Result<Snapshot, FileError> {
    Snapshot::from_bytes(bytes, &[])
}

/// A base of one byte, over and over.
#[derive(Debug)]
struct Same(u8);

impl Base for Same {
    fn read(&self, no: PageNo, into: &mut [u8; PAGE_SIZE]) -> std::io::Result<()> {
        if no.0 == 13 {
            return Err(std::io::Error::other("a bad sector"));
        }
        into.fill(self.0);
        Ok(())
    }
    fn digest(&self) -> Digest {
        Digest::of(&[self.0])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_content_comes_back(
        one in btree_map(0u64..3000, 0u8..6, 0..30),
        other in btree_map(0u64..3000, 0u8..6, 0..30),
        compress in any::<bool>(),
    ) {
        let whole = snapshot(vec![space("a", 3000, image(&one)), space("b", 3000, image(&other))]);
        let options = WriteOptions { compress, flatten: false };
        let bytes = whole.to_bytes(options).expect("no base");
        let back = read(&bytes).expect("a sound file");
        prop_assert_eq!(back.digest(), whole.digest());
        prop_assert_eq!(back.difference(&whole), None);
        prop_assert_eq!(back.to_bytes(options).expect("no base"), bytes);
        prop_assert_eq!((back.tick, back.semantics), (whole.tick, whole.semantics));
    }

    #[test]
    fn noise_is_refused(bytes in vec(any::<u8>(), 0..400), version in 0u32..3) {
        prop_assert!(read(&bytes).is_err());
        let mut file = b"OMNISNAP".to_vec();
        file.extend(version.to_le_bytes());
        file.extend(bytes);
        prop_assert!(read(&file).is_err());
    }
}

#[test]
fn a_distinct_page_is_stored_once_and_a_zero_page_not_at_all() {
    let size = |pages: &[(u64, u8)]| {
        let image = image(&pages.iter().copied().collect());
        snapshot(vec![space("a", 5000, image.clone()), space("b", 5000, image)])
            .to_bytes(PLAIN)
            .expect("no base")
            .len()
    };
    let none = size(&[]);
    assert_eq!(size(&[(7, 0), (4000, 0)]), none);
    let one = size(&[(1, 3)]);
    // A row of the table, the page, and its mention in either space.
    assert_eq!(one, none + 56 + 4096 + 2 * 12);
    assert_eq!(size(&[(1, 3), (2, 3), (4999, 3)]), one + 4 * 12);
}

#[test]
fn more_pages_than_a_section_holds_come_back() {
    let mut space_of_many = Space::new("ram", 2500);
    for no in 0..2500u64 {
        space_of_many.store(PageNo(no).base(), &(no + 1).to_le_bytes()).expect("inside");
    }
    let whole = snapshot(vec![space("ram", 2500, space_of_many.seal().image)]);
    for options in [PLAIN, SMALL] {
        let bytes = whole.to_bytes(options).expect("no base");
        assert_eq!(read(&bytes).expect("sound").digest(), whole.digest());
    }
    assert!(whole.to_bytes(SMALL).expect("no base").len() < 400_000);
}

#[test]
fn every_damaged_byte_and_every_cut_is_refused() {
    let content = BTreeMap::from([(0, 1), (5, 2)]);
    let whole = snapshot(vec![space("ram", 8, image(&content))]);
    let bytes = whole.to_bytes(SMALL).expect("no base");
    for at in 0..bytes.len() {
        for bit in [0x01, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= bit;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
        assert!(read(&bytes[..at]).is_err(), "cut at {at}");
    }
    let cut = read(&bytes[..bytes.len() - 1]).expect_err("cut");
    assert!(matches!(cut, FileError::Truncated { .. }), "{cut}");
    let mut newer = bytes;
    newer[8] = 9;
    assert!(matches!(read(&newer), Err(FileError::Version(9))));
    assert!(matches!(read(b"#!/bin/sh"), Err(FileError::NotSnapshot)));
}

#[test]
fn a_space_over_a_base_names_it_and_needs_it() {
    let base: Arc<dyn Base> = Arc::new(Same(9));
    let mut image = Image::over(base.clone());
    image.set(PageNo(1), Page::new(&[0; PAGE_SIZE])).expect("in memory");
    image.set(PageNo(2), Page::new(&[4; PAGE_SIZE])).expect("in memory");
    let whole = snapshot(vec![space("disk", 4, image)]);
    let bytes = whole.to_bytes(SMALL).expect("nothing to read");
    match read(&bytes) {
        Err(FileError::NoBase { space, digest }) => {
            assert_eq!((space.as_str(), digest), ("disk", base.digest()));
        }
        other => panic!("{other:?}"),
    }
    let back = Snapshot::from_bytes(&bytes, &[Arc::new(Same(1)), base]).expect("given");
    assert_eq!(back.digest(), whole.digest());
    let flat = whole.to_bytes(WriteOptions { compress: true, flatten: true }).expect("readable");
    let flat = read(&flat).expect("needs nothing");
    let content = |of: &Snapshot| {
        let space = Space::from_image("disk", 4, of.spaces[0].image.clone());
        let mut bytes = vec![0; 4 * PAGE_SIZE];
        space.read(omni_base::Gpa(0), &mut bytes).expect("inside");
        bytes
    };
    assert_eq!(content(&flat), content(&whole));
    assert!(flat.spaces[0].image.base().is_none());
}

#[test]
fn a_base_that_cannot_be_read_cannot_be_made_part_of_a_file() {
    let whole = snapshot(vec![space("disk", 14, Image::over(Arc::new(Same(9))))]);
    let error = whole.to_bytes(WriteOptions { compress: true, flatten: true });
    assert!(matches!(error, Err(FileError::BaseRead { page: PageNo(13), .. })));
}

/// A file of sections as someone would forge them, with all digests right.
fn forge(sections: &[(u32, u32, u64, &[u8])]) -> Vec<u8> {
    let mut table = Vec::new();
    for (id, coding, decoded, stored) in sections {
        table.extend(id.to_le_bytes());
        table.extend(coding.to_le_bytes());
        table.extend((stored.len() as u64).to_le_bytes());
        table.extend(decoded.to_le_bytes());
        table.extend(Digest::of(stored).0);
    }
    let bodies: Vec<u8> = sections.iter().flat_map(|(.., stored)| stored.to_vec()).collect();
    let mut out = b"OMNISNAP".to_vec();
    out.extend(1u32.to_le_bytes());
    out.extend((sections.len() as u32).to_le_bytes());
    out.extend((56 + table.len() as u64 + bodies.len() as u64).to_le_bytes());
    out.extend(Digest::of_parts([&out[..], &table]).0);
    out.extend(table);
    out.extend(bodies);
    out
}

fn encoded(value: &impl Field) -> Vec<u8> {
    let mut out = Writer::default();
    value.put(&mut out);
    out.0
}

/// A forged file that is sound but for its spaces and pages.
fn forge_spaces(spaces: &[u8], coding: u32, decoded: u64, pages: &[u8]) -> Result<(), FileError> {
    let whole = snapshot(vec![]);
    let machine = encoded(&("toy".to_owned(), 1u32, 1u64));
    let (spec, pending) = (encoded(&whole.spec), encoded(&whole.pending));
    let raw = [machine, spec, whole.records, pending, spaces.to_vec()];
    let mut sections: Vec<_> =
        raw.iter().zip(1..).map(|(bytes, id)| (id, 0, bytes.len() as u64, &bytes[..])).collect();
    sections.push((6, coding, decoded, pages));
    read(&forge(&sections)).map(|_| ())
}

/// Encoded: one space of this size without base, listing these pages.
fn listed(size: u64, count: u64, pages: &[(u64, u32)]) -> Vec<u8> {
    let mut out = encoded(&1u32);
    out.extend(encoded(&"ram".to_owned()));
    out.extend(encoded(&size));
    out.extend(encoded(&None::<Digest>));
    out.extend(encoded(&count));
    pages.iter().for_each(|entry| out.extend(encoded(entry)));
    out
}

#[test]
fn forged_files_with_right_digests_are_refused_without_reserving_memory() {
    let page = [7; PAGE_SIZE];
    let page_len = PAGE_SIZE as u64;
    let sound = |spaces: &[u8]| forge_spaces(spaces, 0, page_len, &page);
    sound(&listed(4, 2, &[(0, 1), (3, 1)])).expect("the forger can do it right");
    let hostile = [
        listed(4, u64::MAX, &[(0, 1)]),
        listed(u64::MAX, 1, &[(0, 1)]),
        listed(1 << 36, 1, &[(0, 1)]),
        listed(4, 1, &[(4, 1)]),
        listed(4, 2, &[(3, 1), (3, 1)]),
        listed(4, 2, &[(3, 1), (1, 1)]),
        listed(4, 1, &[(0, 2)]),
        listed(4, 1, &[(0, u32::MAX)]),
        listed(4, 1, &[(0, 0)]),
        [listed(4, 0, &[]), vec![0]].concat(),
        [encoded(&2u32), listed(4, 0, &[])[4..].to_vec(), listed(4, 0, &[])[4..].to_vec()].concat(),
        encoded(&u32::MAX),
    ];
    for (at, spaces) in hostile.iter().enumerate() {
        assert!(sound(spaces).is_err(), "forgery {at}");
    }
    let spaces = listed(4, 0, &[]);
    assert!(forge_spaces(&spaces, 0, u64::MAX, &page).is_err());
    assert!(forge_spaces(&spaces, 2, page_len, &page).is_err());
    assert!(forge_spaces(&spaces, 1, page_len, &page).is_err());
    assert!(forge_spaces(&spaces, 0, 100, &page[..100]).is_err());
    // A little that unpacks to much: beyond what is stated, and stated beyond what is allowed.
    let bomb = zstd::bulk::compress(&vec![0; 100 << 20], 1).expect("in memory");
    assert!(forge_spaces(&spaces, 1, page_len, &bomb).is_err());
    assert!(forge_spaces(&spaces, 1, 100 << 20, &bomb).is_err());
    assert!(forge_spaces(&spaces, 1, u64::MAX, &bomb).is_err());
}

#[test]
fn sections_that_are_missing_double_or_unknown_are_refused() {
    let whole = snapshot(vec![]);
    let machine = encoded(&("toy".to_owned(), 1u32, 1u64));
    let (spec, pending, spaces) = (encoded(&whole.spec), encoded(&whole.pending), encoded(&0u32));
    let raw = [machine, spec, whole.records, pending, spaces];
    let rows: Vec<_> =
        raw.iter().zip(1..).map(|(bytes, id)| (id, 0, bytes.len() as u64, &bytes[..])).collect();
    read(&forge(&rows)).expect("the forger can do it right");
    for at in 0..rows.len() {
        let mut other = rows.clone();
        other.remove(at);
        assert!(read(&forge(&other)).is_err(), "without {at}");
        other = rows.clone();
        other.insert(at, rows[at]);
        assert!(read(&forge(&other)).is_err(), "twice {at}");
        other = rows.clone();
        other[at].0 = 77;
        assert!(read(&forge(&other)).is_err(), "unknown {at}");
    }
    let mut other = rows;
    other[0].3 = &raw[1];
    other[0].2 = raw[1].len() as u64;
    assert!(read(&forge(&other)).is_err());
    assert!(read(&forge(&[])).is_err());
}
