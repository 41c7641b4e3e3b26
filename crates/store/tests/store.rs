//! The store: what goes in comes out, once, and stays as long as it is needed.

mod world;

use omni_base::{Gpa, PAGE_SIZE_U64, PageNo};
use omni_memory::Space;
use omni_store::{GcOptions, SpaceRef, Store, StoreError, StoreSource};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;
use world::{Home, PAGES, age, files, fresh, load, put};

#[test]
fn a_snapshot_comes_back_page_by_page_as_it_was() {
    let home = Home::new("store-back");
    let mut space = fresh();
    age(&mut space, 1);
    let image = space.seal().image;
    let entry = put(&home.open(), "m", "one", &image, None).expect("room");
    assert_eq!(entry.pages_new, 12);
    let store = home.open();
    let manifest = store.manifest(entry.id).expect("there");
    let lazy = StoreSource(store.clone()).image(&manifest.spaces[0], None);
    assert_eq!(lazy.digest(), image.digest(), "known before anything is read");
    let mut live = Space::from_image("ram", PAGES, lazy.clone());
    assert_eq!(live.load(Gpa(60 * 4096 + 99)), Ok([60, 0]));
    live.store(Gpa(61 * 4096), &[1]).expect("inside");
    assert_eq!(live.load(Gpa(61 * 4096)), Ok([1, 61]), "the rest of the page came with it");
    live.store(Gpa(61 * 4096), &[61]).expect("inside");
    assert_eq!(live.load(Gpa(5 * 4096)), Ok([0]));
    let sealed = live.seal();
    assert_eq!(sealed.image.digest(), image.digest());
    assert_eq!(live.damage(), None);
    load(&store, entry.id).expect("all of it is there");
}

#[test]
fn what_is_sent_out_is_the_same_and_comes_back_when_it_is_touched() {
    let home = Home::new("store-out");
    let store = home.open();
    let mut space = fresh();
    let stored = |space: &mut Space, tag: &str| {
        let entry = put(&store, "m", tag, &space.seal().image, None).expect("room");
        let manifest = store.manifest(entry.id).expect("there");
        StoreSource(store.clone()).image(&manifest.spaces[0], None)
    };
    let before = stored(&mut space, "before");
    let sealed = space.seal().image;
    age(&mut space, 4);
    let now = stored(&mut space, "now");
    let digest = space.sealed_image().digest();
    let other = space.sealed_image().clone();
    assert!(!space.send_out(&other, before.clone()), "that is another");
    drop(other);
    // What was written since stays, and nothing else.
    assert!(space.send_out(&sealed, before));
    assert_eq!(space.own_bytes(), 2 * PAGE_SIZE_U64);
    assert_eq!(space.seal().image.digest(), digest);
    let (lent, watched) = (PageNo(60), PageNo(61));
    assert!(space.read_ptr(lent).is_some());
    space.watch(watched);
    drop(space.take_changes());
    assert!(space.own_bytes() > 0);
    let sealed = space.seal().image;
    assert!(space.send_out(&sealed, now));
    assert_eq!(space.own_bytes(), 0, "nothing is held");
    assert_eq!(space.take_changes().moved, [lent], "who had a pointer hears of it");
    assert!(space.is_watched(watched) && !space.is_watched(lent));
    assert_eq!(space.load(lent.base()), Ok([60; 100]));
    assert_eq!(space.load(Gpa(0)), Ok([4]));
    space.store(watched.base(), &[1]).expect("inside");
    assert_eq!(space.take_changes().written, [watched]);
    space.store(watched.base(), &[61]).expect("inside");
    assert_eq!(space.seal().image.digest(), digest);
    assert_eq!(space.damage(), None);
}

#[test]
fn of_what_is_sent_out_pages_that_others_have_too_stay_the_same_pages() {
    let home = Home::new("store-own");
    let store = home.open();
    let parent = fresh().seal().image;
    let mut space = Space::from_image("ram", PAGES, parent.clone());
    (60..62).for_each(|no| space.store(PageNo(no).base(), &[1]).expect("inside"));
    age(&mut space, 1);
    let sealed = space.seal().image;
    let entry = put(&store, "m", "own", &sealed, None).expect("room");
    let manifest = store.manifest(entry.id).expect("there");
    let kept = StoreSource(store.clone()).image(&manifest.spaces[0], None);
    // What came since stays too.
    space.store(PageNo(5).base(), &[5]).expect("inside");
    let digest = space.seal().image.digest();
    assert!(space.send_out_own(sealed, kept));
    assert_eq!(space.own_bytes(), PAGE_SIZE_U64, "but for page 5 it holds nothing alone");
    let page = |no| space.sealed_image().get(PageNo(no)).ok().flatten().cloned().expect("held");
    let same = |no| Arc::ptr_eq(&page(no), parent.get(PageNo(no)).expect("here").expect("held"));
    assert!((62..70).all(same) && !same(60) && !same(61));
    assert_eq!(space.sealed_image().digest(), digest);
    assert_eq!(space.load(PageNo(60).base()), Ok([1, 60]), "it comes back");
    assert_eq!(space.load(PageNo(65).base()), Ok([65; 100]));
    assert_eq!(space.damage(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_tree_of_snapshots_has_each_page_once_and_each_snapshot_whole(
        steps in vec((0u64..200, any::<prop::sample::Index>()), 1..20),
    ) {
        let home = Home::new("store-tree");
        let store = home.open();
        let mut known = vec![];
        for (at, (value, from)) in steps.iter().enumerate() {
            let parent = (!known.is_empty()).then(|| from.index(known.len()));
            let parent = parent.map(|at| known[at]);
            let mut space = match parent {
                None => fresh(),
                Some(id) => {
                    let image = load(&store, id).expect("there");
                    Space::from_image("ram", PAGES, image)
                }
            };
            age(&mut space, *value);
            let image = space.seal().image;
            let entry = put(&store, "m", &format!("t{at}"), &image, parent).expect("room");
            let most = if parent.is_some() { 2 } else { 12 };
            prop_assert!(entry.pages_new <= most, "{} new pages", entry.pages_new);
            known.push(entry.id);
        }
        let verified = store.verify().expect("sound");
        prop_assert_eq!(verified.snapshots, known.len() as u64);
        let tree = store.tree("m").expect("sound");
        for (at, id) in known.iter().enumerate() {
            let entry = tree.find(&format!("t{at}")).expect("tagged");
            prop_assert_eq!(&entry.id, id);
            load(&store, *id).expect("whole");
        }
        prop_assert!(store.gc(GcOptions::default()).is_ok());
        known.iter().for_each(|id| assert!(load(&store, *id).is_ok()));
    }
}

#[test]
fn a_name_is_a_tag_or_an_id_and_a_tilde_goes_back() {
    let home = Home::new("store-names");
    let store = home.open();
    let mut space = fresh();
    let mut parent = None;
    for tag in ["a", "b", "c", "d"] {
        space.store(Gpa(0), tag.as_bytes()).expect("inside");
        parent = Some(put(&store, "m", tag, &space.seal().image, parent).expect("room").id);
    }
    let name =
        |name: &str| store.tree("m").expect("sound").find(name).map(|entry| entry.tag.clone()).ok();
    assert_eq!(name("d~2").as_deref(), Some("b"));
    assert_eq!(name("d~").as_deref(), Some("c"));
    assert_eq!(name("d~3").as_deref(), Some("a"));
    for none in ["d~4", "e", "d~x", "", "~"] {
        assert_eq!(name(none), None, "{none}");
    }
    let c = store.tree("m").expect("sound").find("c").expect("there").id;
    assert_eq!(name(&c.short()).as_deref(), Some("c"));
    store.remove("m", c).expect("there");
    assert_eq!(name("d~1").as_deref(), Some("b"), "what is removed is passed over");
    assert_eq!(name("c"), None);
    let error = put(&store, "m", "a", &space.seal().image, None).expect_err("taken");
    assert!(matches!(error, StoreError::Exists(_)), "{error}");
    for bad in ["", "a b", "../x", "a~1", "a@b", ".a"] {
        let error = put(&store, "m", bad, &space.seal().image, None).expect_err("no tag");
        assert!(matches!(error, StoreError::BadTag(_)), "{bad}: {error}");
    }
    store.gc(GcOptions::default()).expect("idle");
    assert_eq!(name("d~1").as_deref(), Some("b"), "also once the tree is written anew");
    assert!(load(&store, c).is_err(), "what is removed is gone");
}

#[test]
fn cleaning_up_keeps_what_trees_pins_and_leases_need_and_nothing_else() {
    let home = Home::new("store-gc");
    let (store, other) = (home.open(), home.open());
    let mut space = fresh();
    let mut ids = vec![];
    for value in 0..6u64 {
        age(&mut space, value * 3);
        let parent = ids.last().copied();
        let tag = format!("t{value}");
        ids.push(put(&store, "m", &tag, &space.seal().image, parent).expect("room").id);
    }
    other.pin("child", &[ids[1]]).expect("there");
    let lease = other.lease(&[ids[2]]).expect("there");
    for id in &ids[..5] {
        store.remove("m", *id).expect("there");
    }
    // One that reads while another process cleans up.
    let manifest = other.manifest(ids[2]).expect("there");
    let reader = StoreSource(other.clone()).image(&manifest.spaces[0], None);
    let done = store.gc(GcOptions { compress_all: true }).expect("idle");
    assert!(done.bytes_after < done.bytes_before, "{done:?}");
    let space = Space::from_image("ram", PAGES, reader);
    assert_eq!(space.load(PageNo(1 + 6).base()), Ok([7, 6]));
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(load(&store, *id).is_ok(), [1, 2, 5].contains(&at), "snapshot {at}");
    }
    assert_eq!(store.verify().expect("sound").snapshots, 3);
    drop(lease);
    store.remove_owner("child").expect("there");
    store.gc(GcOptions::default()).expect("idle");
    assert_eq!(store.verify().expect("sound").snapshots, 1);
    assert!(store.lease(&[ids[2]]).is_err(), "what is gone cannot be kept");
    // A page that went and comes again is written again.
    let mut again = fresh();
    age(&mut again, 3);
    let entry = put(&other, "n", "again", &again.seal().image, None).expect("room");
    load(&store, entry.id).expect("whole");
}

#[test]
fn a_large_pack_stays_as_long_as_nothing_in_it_names_what_is_gone() {
    let home = Home::new("store-large");
    let store = home.open();
    let mut seed = 1u64;
    let next = |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    let records: Vec<u8> = (0..5 << 20).map(next).collect();
    let mut space = fresh();
    let mut put_large = |tag: &str, parent| {
        age(&mut space, tag.len() as u64);
        let mut commit = store.begin().expect("idle");
        let root = space.seal().image.write(&mut commit).expect("room");
        let manifest = omni_store::Manifest {
            owner: "m".into(),
            tag: tag.into(),
            parent,
            spec: commit.blob(b"a spec").expect("room"),
            records: commit.blob(&records).expect("room"),
            spaces: vec![SpaceRef { name: "ram".into(), pages: PAGES, root, base: None }],
            ..omni_store::Manifest::default()
        };
        commit.finish(&manifest, 12).expect("room").id
    };
    let first = put_large("a", None);
    let large = files(&home.dir().join("packs")).remove(0);
    let second = put_large("bb", Some(first));
    put_large("ccc", Some(second));
    store.gc(GcOptions::default()).expect("idle");
    assert!(large.exists(), "all of it is needed");
    let sound = store.verify().expect("sound");
    assert_eq!((sound.packs, sound.snapshots), (2, 3), "the small ones are put together");
    store.remove("m", first).expect("there");
    let done = store.gc(GcOptions::default()).expect("idle");
    assert!(!large.exists(), "nodes of the first were in it");
    let sound = store.verify().expect("sound");
    assert_eq!((sound.objects, sound.snapshots), (done.objects, 2));
}

#[test]
fn who_writes_holds_off_who_cleans_up_and_is_named() {
    let home = Home::new("store-busy");
    let store = home.open();
    let commit = store.begin().expect("idle");
    let error = home.open().gc(GcOptions::default()).expect_err("busy").to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    drop(commit);
    home.open().gc(GcOptions::default()).expect("idle");
    assert!(files(&home.dir().join("packs")).is_empty(), "what was not finished left nothing");
}

#[test]
fn what_is_newer_is_refused_by_name() {
    let home = Home::new("store-newer");
    home.open();
    let format = home.dir().join("format");
    for (text, word) in
        [("omnivisor store 2\n", "format 2"), ("omnivisor store 1\nneeds glass\n", "needs glass")]
    {
        std::fs::write(&format, text).expect("writable");
        let error = Store::open(&home.dir()).expect_err("newer").to_string();
        assert!(error.contains(word), "{error}");
    }
    std::fs::write(&format, "garbage").expect("writable");
    assert!(matches!(Store::open(&home.dir()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_tree_that_others_change_is_seen_as_it_is() {
    let home = Home::new("store-others");
    let (one, other) = (home.open(), home.open());
    let tags = |store: &Store| -> Vec<String> {
        store.tree("m").expect("sound").entries().map(|entry| entry.tag.clone()).collect()
    };
    let mut wanted: Vec<String> = vec![];
    let mut space = fresh();
    for step in 0..40u64 {
        let (store, idle) = if step % 3 == 0 { (&one, &other) } else { (&other, &one) };
        match step % 10 {
            7 => {
                let gone = wanted.remove(wanted.len() / 2);
                let id = store.tree("m").expect("sound").tagged(&gone).expect("there").id;
                store.remove("m", id).expect("there");
            }
            8 if step % 20 == 8 => {
                idle.gc(GcOptions::default()).expect("idle");
            }
            9 if step == 29 => {
                store.remove_owner("m").expect("there");
                wanted.clear();
            }
            _ => {
                age(&mut space, step);
                let tag = format!("t{step}");
                put(store, "m", &tag, &space.seal().image, None).expect("room");
                wanted.push(tag);
            }
        }
        let known = idle.tree("m").expect("sound");
        assert_eq!(tags(idle), wanted, "step {step}");
        assert_eq!(tags(&one), tags(&home.open()), "step {step}");
        assert_eq!(tags(&other), wanted, "step {step}");
        assert_eq!(known.entries().count(), wanted.len(), "what is held does not change");
    }
}

#[test]
fn many_snapshots_need_few_indices() {
    let home = Home::new("store-many");
    let store = home.open();
    let mut space = fresh();
    let mut parent = None;
    for value in 0..80u64 {
        age(&mut space, value);
        let tag = format!("t{value}");
        parent = Some(put(&store, "m", &tag, &space.seal().image, parent).expect("room").id);
    }
    let indices = files(&home.dir().join("index"));
    let indices = indices.iter().filter(|path| path.extension().is_some_and(|ext| ext == "idx"));
    assert!(indices.count() <= 17);
    load(&home.open(), parent.expect("80 of them")).expect("whole");
    store.gc(GcOptions::default()).expect("idle");
    assert_eq!(store.verify().expect("sound").packs, 1, "small packs are put together");
}
