//! Images: digests that know content and not history, sharing, differences, bases.

use omni_base::{Digest, Gpa, PAGE_SIZE, PageNo};
use omni_memory::{Base, Fault, Image, Memory, Page, PageRef, Space};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Page numbers at all depths of the tree.
fn page_no() -> impl Strategy<Value = u64> {
    prop_oneof![0..4u64, 60..70u64, 4090..4100u64, Just(Image::PAGES_MAX - 1), 0..Image::PAGES_MAX]
}

/// A page whose content is told by one byte; zero is the zero page.
fn page_of(value: u8) -> [u8; PAGE_SIZE] {
    [value; PAGE_SIZE]
}

fn image_of(content: &BTreeMap<u64, u8>) -> Image {
    let mut image = Image::default();
    for (no, value) in content {
        image.set(PageNo(*no), Page::new(&page_of(*value))).expect("in memory");
    }
    image
}

proptest! {
    #[test]
    fn a_digest_knows_content_and_not_history(
        writes in vec((page_no(), 0u8..4), 0..40),
        asked in vec(any::<bool>(), 40),
    ) {
        let (mut image, mut content) = (Image::default(), BTreeMap::new());
        for ((no, value), asked) in writes.iter().zip(&asked) {
            image.set(PageNo(*no), Page::new(&page_of(*value))).expect("in memory");
            content.insert(*no, *value);
            if *asked {
                // An inner digest kept too long would show later.
                let _ = image.digest();
            }
        }
        prop_assert_eq!(image.digest(), image_of(&content).digest());
        content.retain(|_, value| *value != 0);
        prop_assert_eq!(image.digest(), image_of(&content).digest());
    }

    #[test]
    fn images_of_different_content_have_different_digests(
        content in btree_map(page_no(), 1u8..4, 1..12),
        at in any::<prop::sample::Index>(),
        to in page_no(),
    ) {
        let whole = image_of(&content).digest();
        let (no, value) = content.iter().nth(at.index(content.len())).expect("in range");
        let mut other = content.clone();
        other.insert(*no, value + 4);
        prop_assert_ne!(image_of(&other).digest(), whole);
        let mut other = content.clone();
        other.remove(no);
        prop_assert_ne!(image_of(&other).digest(), whole);
        if !content.contains_key(&to) {
            other.insert(to, *value);
            prop_assert_ne!(image_of(&other).digest(), whole, "the page moved");
        }
    }

    #[test]
    fn a_difference_names_the_changed_pages_in_order_and_no_others(
        content in btree_map(page_no(), 0u8..4, 0..20),
        changes in btree_map(page_no(), 0u8..4, 0..20),
    ) {
        let older = image_of(&content);
        let mut newer = older.clone();
        for (no, value) in &changes {
            newer.set(PageNo(*no), Page::new(&page_of(*value))).expect("in memory");
        }
        let mut seen = Vec::new();
        let see = &mut |no: PageNo, page: &PageRef| {
            seen.push((no.0, page.bytes().expect("in memory")[0]));
        };
        newer.changed_since(&older, see).expect("in memory");
        prop_assert_eq!(seen, changes.clone().into_iter().collect::<Vec<_>>());
        for no in content.keys() {
            let of = |image: &Image| image.get(PageNo(*no)).expect("in memory").cloned();
            let shared = Arc::ptr_eq(&of(&newer).expect("held"), &of(&older).expect("held"));
            prop_assert_eq!(shared, !changes.contains_key(no));
        }
        let mut all = BTreeSet::new();
        newer.for_each(&mut |no, _| assert!(all.insert(no.0))).expect("in memory");
        let want: BTreeSet<_> = content.keys().chain(changes.keys()).copied().collect();
        prop_assert_eq!(all, want);
    }

    #[test]
    fn a_space_has_the_digest_of_its_content_by_any_route(
        writes in vec((0..8u64 * 4096 - 4, any::<u32>(), any::<bool>()), 0..40),
    ) {
        let mut once = Space::new("ram", 8);
        let mut many = Space::new("ram", 8);
        many.fill(Gpa(0), 8 * 4096, 7).expect("inside");
        many.seal();
        many.fill(Gpa(0), 8 * 4096, 0).expect("inside");
        for (at, value, seal) in &writes {
            let (at, value) = (Gpa(*at), value.to_le_bytes());
            once.store(at, &value).expect("inside");
            many.store(at, &[9; 4]).expect("inside");
            if *seal {
                many = Space::from_image("ram", 8, many.seal().image);
            }
            many.store(at, &value).expect("inside");
        }
        prop_assert_eq!(once.seal().image.digest(), many.seal().image.digest());
    }
}

#[test]
fn a_fork_shares_every_page_until_it_writes_and_all_others_after() {
    let mut parent = Space::new("ram", 300);
    (0..300).for_each(|no| parent.store(PageNo(no).base(), &[1]).expect("inside"));
    let image = parent.seal().image;
    let mut child = Space::from_image("ram", 300, image.clone());
    let private = |child: &mut Space| {
        let mut count = 0;
        let changed = child.seal().image.changed_since(&image, &mut |_, _| count += 1);
        changed.expect("in memory");
        count
    };
    assert_eq!(private(&mut child), 0);
    child.store(Gpa(5 * 4096 + 1), &[2]).expect("inside");
    child.store(Gpa(5 * 4096 + 9), &[2]).expect("inside");
    assert_eq!(child.dirty(), [PageNo(5)]);
    assert_eq!(private(&mut child), 1);
    assert_eq!(parent.load(Gpa(5 * 4096)), Ok([1, 0]));
    assert_eq!(child.load(Gpa(5 * 4096)), Ok([1, 2]));
}

#[test]
fn the_order_of_spaces_is_part_of_the_digest_of_memory() {
    let filled = |value| {
        let mut space = Space::new("a", 1);
        space.store(Gpa(0), &[value]).expect("inside");
        space
    };
    let digest = |spaces| Memory { spaces }.digest();
    assert_eq!(digest(vec![filled(1), filled(2)]), digest(vec![filled(1), filled(2)]));
    assert_ne!(digest(vec![filled(1), filled(2)]), digest(vec![filled(2), filled(1)]));
}

/// A base whose page `no` is filled with `no + 1`; pages from `broken` on cannot be read.
#[derive(Debug)]
struct Pattern {
    broken: u64,
}

impl Base for Pattern {
    fn read(&self, no: PageNo, into: &mut [u8; PAGE_SIZE]) -> std::io::Result<()> {
        if no.0 >= self.broken {
            return Err(std::io::Error::other("gone"));
        }
        into.fill(no.0 as u8 + 1);
        Ok(())
    }
    fn digest(&self) -> Digest {
        Digest::of(b"pattern")
    }
}

#[test]
fn a_space_over_a_base_reads_through_until_written() {
    let image = Image::over(Arc::new(Pattern { broken: 9 }));
    let mut space = Space::from_image("disk", 4, image.clone());
    assert_eq!(space.load(Gpa(0xfff)), Ok([1, 2]));
    assert_eq!(space.read_ptr(PageNo(0)), None);
    space.watch(PageNo(1));
    space.store(Gpa(0x1004), &[9]).expect("inside");
    assert_eq!(space.take_changes().written, [PageNo(1)]);
    assert_eq!(space.load(Gpa(0x1003)), Ok([2, 9, 2]));
    assert!(space.read_ptr(PageNo(1)).is_some());
    let sealed = space.seal();
    assert_eq!(sealed.dirty, [PageNo(1)]);
    assert_ne!(sealed.image.digest(), image.digest());
    let fork = Space::from_image("disk", 4, sealed.image);
    assert_eq!(fork.load(Gpa(0x1ffe)), Ok([2, 2, 3]));
}

#[test]
fn a_zero_page_over_a_base_hides_it_and_counts() {
    let image = Image::over(Arc::new(Pattern { broken: 9 }));
    let mut space = Space::from_image("disk", 4, image.clone());
    space.fill(Gpa(0), 4096, 0).expect("inside");
    let sealed = space.seal();
    assert_eq!(space.load(Gpa(0xfff)), Ok([0, 2]));
    assert_ne!(sealed.image.digest(), image.digest());
}

#[test]
fn a_page_of_the_base_that_cannot_be_read_is_a_fault_and_writes_nothing() {
    let image = Image::over(Arc::new(Pattern { broken: 2 }));
    let mut space = Space::from_image("disk", 4, image);
    let at = Gpa(2 * 4096 + 5);
    assert_eq!(space.load::<1>(at), Err(Fault(Gpa(2 * 4096))));
    assert!(space.store(at, &[1]).is_err());
    assert_eq!(space.write_ptr(PageNo(3)), None);
    assert!(space.dirty().is_empty());
    assert!(space.seal().dirty.is_empty());
}
