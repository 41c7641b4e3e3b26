//! Spaces against a plain vector: any sequence of calls means what it would mean on bytes.
#![allow(unsafe_code, reason = "plays the engine, which reads and writes by pointer; M4")]

use omni_base::{Gpa, PAGE_SIZE, PageNo};
use omni_memory::{Fault, Space};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;

const PAGES: u64 = 6;
const BYTES: usize = PAGES as usize * PAGE_SIZE;

#[derive(Clone, Debug)]
enum Op {
    Read(u64, usize),
    Store(u64, Vec<u8>),
    Fill(u64, u64, u8),
    Seal,
    /// The machine moves to a fork of itself, as of its last seal, and the old one is dropped.
    Fork,
    Watch(u64),
    /// The engine keeps a pointer for reading.
    Lend(u64),
    /// The engine writes a byte by pointer.
    Poke(u64, usize, u8),
    /// The same, where it knows what depends on a watched page.
    PokeWatched(u64, usize, u8),
    /// Something that knows what the page means refines it.
    Amend(u64, u8),
    /// Pages are given back.
    Clear(u64, u64),
    TakeChanges,
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..(BYTES as u64 + 64);
    let page = 0..PAGES + 1;
    prop_oneof![
        3 => (at.clone(), 0usize..6000).prop_map(|(at, count)| Op::Read(at, count)),
        4 => (at.clone(), vec(any::<u8>(), 0..5000)).prop_map(|(at, b)| Op::Store(at, b)),
        2 => (at.clone(), 0u64..9000, any::<u8>()).prop_map(|(at, n, v)| Op::Fill(at, n, v)),
        2 => (at, any::<u8>()).prop_map(|(at, v)| {
            Op::Amend(if v % 4 == 0 { at } else { at & !7 }, v)
        }),
        2 => Just(Op::Seal),
        1 => Just(Op::Fork),
        2 => page.clone().prop_map(Op::Watch),
        3 => page.clone().prop_map(Op::Lend),
        3 => (page.clone(), 0..PAGE_SIZE, any::<u8>()).prop_map(|(no, at, v)| Op::Poke(no, at, v)),
        2 => (page, 0..PAGE_SIZE, any::<u8>()).prop_map(|(no, at, v)| Op::PokeWatched(no, at, v)),
        2 => (0..PAGES + 2, 0..PAGES).prop_map(|(first, count)| Op::Clear(first, count)),
        1 => Just(Op::TakeChanges),
    ]
}

/// A space and what is known of it by other means.
struct Pair {
    space: Space,
    model: Vec<u8>,
    dirty: BTreeSet<PageNo>,
    watched: BTreeSet<PageNo>,
    /// Watched pages that were written, not yet reported.
    written: BTreeSet<PageNo>,
    /// Watched pages that were amended, not yet reported.
    amended: BTreeSet<PageNo>,
    /// Read pointers that no report has called stale.
    lent: BTreeMap<PageNo, NonNull<u8>>,
}

impl Pair {
    fn new() -> Self {
        Self {
            space: Space::new("ram", PAGES),
            model: vec![0; BYTES],
            dirty: BTreeSet::new(),
            watched: BTreeSet::new(),
            written: BTreeSet::new(),
            amended: BTreeSet::new(),
            lent: BTreeMap::new(),
        }
    }

    fn touch(&mut self, no: PageNo) {
        self.dirty.insert(no);
        if self.watched.remove(&no) {
            self.written.insert(no);
        }
    }

    /// Whether the model says that the bytes are there; if so, they count as written.
    fn touch_all(&mut self, at: u64, count: u64) -> bool {
        let inside = at.checked_add(count).is_some_and(|end| end <= BYTES as u64);
        if inside && count > 0 {
            (Gpa(at).page().0..=Gpa(at + count - 1).page().0).for_each(|no| self.touch(PageNo(no)));
        }
        inside
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Read(at, count) => self.read(at, count),
            Op::Store(at, bytes) => {
                let want = self.touch_all(at, bytes.len() as u64);
                assert_eq!(
                    self.space.store(Gpa(at), &bytes),
                    want.then_some(()).ok_or(Fault(Gpa(at)))
                );
                if want {
                    self.model[at as usize..][..bytes.len()].copy_from_slice(&bytes);
                }
            }
            Op::Fill(at, count, value) => {
                let want = self.touch_all(at, count);
                assert_eq!(self.space.fill(Gpa(at), count, value).is_ok(), want);
                if want {
                    self.model[at as usize..][..count as usize].fill(value);
                }
            }
            Op::Seal => self.seal(),
            Op::Fork => self.fork(),
            Op::Watch(no) => {
                self.space.watch(PageNo(no));
                if no < PAGES {
                    self.watched.insert(PageNo(no));
                }
            }
            Op::Lend(no) => {
                let ptr = self.space.read_ptr(PageNo(no));
                assert_eq!(ptr.is_some(), no < PAGES);
                if let Some(ptr) = ptr {
                    self.lent.insert(PageNo(no), ptr);
                }
            }
            Op::Poke(no, at, value) => {
                let ptr = self.space.write_ptr(PageNo(no));
                if self.poke(no, at, value, ptr) {
                    self.touch(PageNo(no));
                }
            }
            Op::PokeWatched(no, at, value) => {
                let ptr = self.space.write_ptr_watched(PageNo(no));
                if self.poke(no, at, value, ptr) {
                    self.dirty.insert(PageNo(no));
                }
            }
            Op::Amend(at, value) => {
                let place = at as usize & !7;
                let word = self.model.get(place..place + 8);
                let inside = word.is_some() && at % 8 == 0;
                let from = word.map_or(0, |word| u64::from_le_bytes(word.try_into().expect("8")));
                let to = u64::from(value) | from << 8;
                assert_eq!(self.space.amend(Gpa(at), !from, to).ok(), inside.then_some(false));
                assert_eq!(self.space.amend(Gpa(at), from, to).ok(), inside.then_some(true));
                if inside {
                    let no = Gpa(at).page();
                    self.model[place..place + 8].copy_from_slice(&to.to_le_bytes());
                    self.dirty.insert(no);
                    if self.watched.contains(&no) {
                        self.amended.insert(no);
                    }
                }
            }
            Op::Clear(first, count) => self.clear(first, count),
            Op::TakeChanges => self.take_changes(),
        }
    }

    fn clear(&mut self, first: u64, count: u64) {
        self.space.clear((first..first + count).map(PageNo));
        for no in (first..PAGES.min(first + count)).map(PageNo) {
            let bytes = &mut self.model[no.0 as usize * PAGE_SIZE..][..PAGE_SIZE];
            // One that held nothing need not count as written.
            if self.space.is_watched(no) || !self.space.dirty().contains(&no) {
                assert!(bytes.iter().all(|byte| *byte == 0));
            } else {
                bytes.fill(0);
                self.touch(no);
            }
        }
    }

    /// Writes by a pointer to a page, which is there if the page is.
    fn poke(&mut self, no: u64, at: usize, value: u8, ptr: Option<NonNull<u8>>) -> bool {
        assert_eq!(ptr.is_some(), no < PAGES);
        if let Some(ptr) = ptr {
            // SAFETY: M4: the pointer was given just now, and no one else looks.
            let page = unsafe { ptr.cast::<[u8; PAGE_SIZE]>().as_mut() };
            page[at] = value;
            self.model[no as usize * PAGE_SIZE + at] = value;
        }
        ptr.is_some()
    }

    fn read(&mut self, at: u64, count: usize) {
        let mut into = vec![0xa5; count];
        match self.space.read(Gpa(at), &mut into) {
            Ok(()) => assert_eq!(into, self.model[at as usize..][..count]),
            Err(fault) => {
                assert_eq!(fault, Fault(Gpa(at)));
                assert!(at + count as u64 > BYTES as u64);
            }
        }
    }

    fn seal(&mut self) {
        let epoch = self.space.epoch();
        let sealed = self.space.seal();
        assert!(self.space.epoch() > epoch);
        let dirty: BTreeSet<_> = sealed.dirty.iter().copied().collect();
        assert_eq!(dirty.len(), sealed.dirty.len(), "a page is named once an epoch");
        assert_eq!(dirty, std::mem::take(&mut self.dirty));
        for no in 0..PAGES {
            let want = &self.model[no as usize * PAGE_SIZE..][..PAGE_SIZE];
            let zero = &[0; PAGE_SIZE];
            let page = sealed.image.get(PageNo(no)).expect("in memory");
            let got = page.map_or(zero, |page| page.bytes().expect("in memory"));
            assert_eq!(&got[..], want);
        }
    }

    fn fork(&mut self) {
        self.seal();
        let image = self.space.sealed_image().clone();
        let fork = Space::from_image("ram", PAGES, image);
        drop(std::mem::replace(&mut self.space, fork));
        self.watched.clear();
        self.written.clear();
        self.amended.clear();
        self.lent.clear();
    }

    fn take_changes(&mut self) {
        let changes = self.space.take_changes();
        assert!(!self.space.has_changes());
        let written: BTreeSet<_> = changes.written.iter().copied().collect();
        assert_eq!(written, std::mem::take(&mut self.written));
        let amended: BTreeSet<_> = changes.amended.iter().copied().collect();
        assert_eq!(amended, std::mem::take(&mut self.amended));
        self.lent.retain(|no, _| !changes.moved.contains(no) && !changes.cleared.contains(no));
    }

    /// What holds after every call.
    fn check(&mut self) {
        assert_eq!(self.space.dirty().iter().copied().collect::<BTreeSet<_>>(), self.dirty);
        for no in (0..PAGES).map(PageNo) {
            assert_eq!(self.space.is_watched(no), self.watched.contains(&no));
        }
        if self.space.has_changes() {
            self.take_changes();
        }
        for (no, ptr) in &self.lent {
            // SAFETY: M4: no report has named the page since the pointer was given.
            let page = unsafe { ptr.cast::<[u8; PAGE_SIZE]>().as_ref() };
            assert_eq!(page[..], self.model[no.0 as usize * PAGE_SIZE..][..PAGE_SIZE]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_means_what_it_means_on_bytes(ops in vec(op(), 1..60)) {
        let mut pair = Pair::new();
        for op in ops {
            pair.run(op);
            pair.check();
        }
        pair.read(0, BYTES);
        pair.seal();
    }

    #[test]
    fn a_fork_and_its_parent_never_see_each_other_s_writes(
        before in vec((0..BYTES as u64 - 8, any::<u64>()), 0..20),
        in_parent in vec((0..BYTES as u64 - 8, any::<u64>()), 0..20),
        in_child in vec((0..BYTES as u64 - 8, any::<u64>()), 0..20),
    ) {
        let write = |space: &mut Space, model: &mut [u8], writes: &[(u64, u64)]| {
            for (at, value) in writes {
                space.store(Gpa(*at), &value.to_le_bytes()).expect("inside");
                model[*at as usize..][..8].copy_from_slice(&value.to_le_bytes());
            }
        };
        let (mut parent, mut model) = (Space::new("ram", PAGES), vec![0; BYTES]);
        write(&mut parent, &mut model, &before);
        let mut child = Space::from_image("ram", PAGES, parent.seal().image);
        let mut child_model = model.clone();
        write(&mut parent, &mut model, &in_parent);
        write(&mut child, &mut child_model, &in_child);
        for (space, model) in [(parent, model), (child, child_model)] {
            let mut all = vec![0; BYTES];
            space.read(Gpa(0), &mut all).expect("inside");
            prop_assert_eq!(all, model);
        }
    }
}

#[test]
fn a_store_that_faults_writes_nothing() {
    let mut space = Space::new("ram", 2);
    let end = space.size();
    assert_eq!(space.store(Gpa(end - 4), &[1; 8]), Err(Fault(Gpa(end - 4))));
    assert_eq!(space.store(Gpa(u64::MAX), &[1; 8]), Err(Fault(Gpa(u64::MAX))));
    assert_eq!(space.fill(Gpa(1), u64::MAX, 1), Err(Fault(Gpa(1))));
    assert_eq!(space.load::<4>(Gpa(end - 4)), Ok([0; 4]));
    assert!(space.dirty().is_empty());
}
