//! Tests of overlays: a crash at every byte, damage, a changed base, compaction.

use super::*;
use crate::TempDir;
use omni_memory::Page;

const BASE: Digest = Digest([7; 32]);

fn page(value: u8) -> PageRef {
    Page::new(&[value; PAGE_SIZE])
}

/// The value of each committed page.
fn content(overlay: &Overlay) -> Vec<(u64, u8)> {
    let index = overlay.index();
    let value = |offset| {
        let mut bytes = [0; PAGE_SIZE];
        index.file.read_exact_at(&mut bytes, offset).expect("committed");
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "no page is a mixture");
        bytes[0]
    };
    index.offsets.iter().map(|(&no, &offset)| (no, value(offset))).collect()
}

/// Three commits; the content and the size after each.
fn history(path: &Path) -> Vec<(u64, Vec<(u64, u8)>)> {
    let mut overlay = Overlay::open(path, BASE).expect("writable");
    let mut states = vec![(overlay.bytes(), content(&overlay))];
    for commit in [
        vec![(PageNo(3), page(1)), (PageNo(900), page(2))],
        vec![(PageNo(3), page(3))],
        vec![(PageNo(4), page(4)), (PageNo(3), page(5))],
    ] {
        overlay.commit(&commit).expect("room");
        states.push((overlay.bytes(), content(&overlay)));
    }
    states
}

#[test]
fn a_log_cut_at_any_byte_opens_to_a_committed_state() {
    let dir = TempDir::new("overlay-cut").expect("a writable host");
    let states = history(&dir.path().join("whole"));
    let whole = fs::read(dir.path().join("whole")).expect("there");
    let path = dir.path().join("cut");
    // Every byte near the edges of records, and a sample inside the pages.
    let edge = |cut: &usize| {
        let near =
            |(size, _): &(u64, _)| cut.abs_diff(usize::try_from(*size).expect("small")) < 200;
        cut.is_multiple_of(97) || *cut < 200 || states.iter().any(near)
    };
    for cut in (0..=whole.len()).filter(edge) {
        fs::write(&path, &whole[..cut]).expect("writable");
        let overlay = Overlay::open(&path, BASE).expect("a crash is no damage");
        let expect = states.iter().rev().find(|(size, _)| *size <= cut as u64);
        let expect = expect.map_or(&[][..], |(_, content)| content);
        assert_eq!(content(&overlay), expect, "cut at {cut}");
    }
}

#[test]
fn a_torn_tail_is_written_over_by_the_next_commit() {
    let dir = TempDir::new("overlay-torn").expect("a writable host");
    let path = dir.path().join("log");
    let states = history(&path);
    let whole = fs::read(&path).expect("there");
    fs::write(&path, &whole[..whole.len() - 70]).expect("writable");
    let mut overlay = Overlay::open(&path, BASE).expect("a crash is no damage");
    assert_eq!(content(&overlay), states[2].1);
    overlay.commit(&[(PageNo(8), page(8))]).expect("room");
    drop(overlay);
    let overlay = Overlay::open(&path, BASE).expect("whole");
    assert_eq!(content(&overlay), [(3, 3), (8, 8), (900, 2)]);
}

#[test]
fn damage_before_the_last_commit_is_told_and_not_taken_for_a_crash() {
    let dir = TempDir::new("overlay-damage").expect("a writable host");
    let states = history(&dir.path().join("whole"));
    let whole = fs::read(dir.path().join("whole")).expect("there");
    let path = dir.path().join("damaged");
    let last = usize::try_from(states[2].0).expect("a small file");
    for at in (0..whole.len()).filter(|at| at % 61 == 0 || *at < 200 || at.abs_diff(last) < 70) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x20;
        fs::write(&path, &damaged).expect("writable");
        if let Ok(overlay) = Overlay::open(&path, BASE) {
            assert!(at >= last, "byte {at} is of a commit that was followed by another");
            assert_eq!(content(&overlay), states[2].1, "byte {at}");
        }
    }
}

#[test]
fn another_base_is_refused() {
    let dir = TempDir::new("overlay-base").expect("a writable host");
    let path = dir.path().join("log");
    history(&path);
    let other = Overlay::open(&path, Digest([8; 32]));
    assert!(matches!(other, Err(OverlayError::OtherBase(_))));
}

#[test]
fn compaction_changes_the_size_and_not_the_content() {
    let dir = TempDir::new("overlay-compact").expect("a writable host");
    let path = dir.path().join("log");
    let states = history(&path);
    let mut overlay = Overlay::open(&path, BASE).expect("whole");
    let held = overlay.index().clone();
    overlay.compact().expect("room");
    assert!(overlay.bytes() < states[3].0);
    assert_eq!(content(&overlay), states[3].1);
    overlay.commit(&[(PageNo(1), page(9))]).expect("room");
    drop(overlay);
    let overlay = Overlay::open(&path, BASE).expect("whole");
    assert_eq!(content(&overlay)[0], (1, 9));
    let mut bytes = [0; PAGE_SIZE];
    held.file.read_exact_at(&mut bytes, held.offsets[&3]).expect("the old log is still held");
    assert_eq!(bytes[0], 5);
}
