//! Stores of released versions stay readable, by this program and by one made from the text alone.
#![allow(clippy::print_stderr, reason = "says what was not asked")]

mod world;

use omni_base::{Gpa, PageNo};
use omni_memory::{Image, Page, Space};
use omni_store::{BaseOf, GcOptions, Store};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use world::{Home, PAGES, age, files, fresh, load, put};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");

/// What a reader has to say of the golden store of version 1, but for ids.
const TOLD: [(&str, &str); 4] = [("branch", "one"), ("mono", "-"), ("one", "-"), ("three", "one")];

/// A copy, as to open a store makes locks in it.
fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let path = to.join(file.strip_prefix(from).expect("below"));
        fs::create_dir_all(path.parent().expect("below")).expect("writable");
        fs::copy(&file, path).expect("room");
    }
}

fn golden(home: &Home) -> PathBuf {
    copy(&Path::new(TESTS).join("golden/store-1"), &home.dir());
    home.dir()
}

/// What the independent reader says; `None` where the host cannot run it.
fn read(dir: &Path) -> Option<Result<Vec<Vec<String>>, String>> {
    let script = Path::new(TESTS).join("reader/read_store.py");
    let output = Command::new("python3").arg(script).arg(dir).output();
    let Ok(output) = output else {
        eprintln!("python3 is not here: the independent reader was not asked");
        return None;
    };
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => {}
        Some(3) => {
            eprintln!("the independent reader was not asked: {talk}");
            return None;
        }
        _ => return Some(Err(talk)),
    }
    let text = String::from_utf8(output.stdout).expect("text");
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    Some(Ok(text.lines().map(words).collect()))
}

#[test]
fn the_golden_store_of_version_1_is_read_and_goes_on() {
    let home = Home::new("store-golden");
    golden(&home);
    let store = home.open();
    assert_eq!(store.verify().expect("sound").snapshots, 4);
    for owner in store.owners().expect("readable") {
        let tree = store.tree(&owner).expect("sound");
        let mut told: Vec<_> = tree
            .entries()
            .map(|entry| (&entry.tag[..], tree.parent(entry).map_or("-", |above| &above.tag[..])))
            .collect();
        told.sort_unstable();
        let of_owner = TOLD.iter().filter(|(tag, _)| (*tag == "mono") == (owner == "b"));
        assert_eq!(told, of_owner.copied().collect::<Vec<_>>());
        tree.entries().for_each(|entry| drop(load(&store, entry.id).expect("whole")));
    }
    let one = store.tree("a").expect("sound").find("three~1").expect("there").id;
    let image = load(&store, one).expect("whole");
    let mut space = Space::from_image("ram", PAGES, image);
    assert_eq!(space.load(PageNo(60).base()), Ok([60; 100]));
    age(&mut space, 33);
    put(&store, "a", "later", &space.seal().image, Some(one)).expect("room");
    store.gc(GcOptions { compress_all: true }).expect("idle");
    assert_eq!(store.verify().expect("sound").snapshots, 5);
}

#[test]
fn a_reader_made_from_the_text_alone_says_the_same() {
    let home = Home::new("store-reader");
    let dir = golden(&home);
    let Some(told) = read(&dir) else { return };
    let told = told.expect("sound");
    let store = home.open();
    let mut ours = Vec::new();
    for owner in store.owners().expect("readable") {
        let tree = store.tree(&owner).expect("sound");
        for entry in tree.entries() {
            let above = tree.parent(entry).map_or("-".to_owned(), |above| above.id.to_string());
            let fields = [owner.clone(), entry.tag.clone(), entry.id.to_string(), above];
            let rest = [entry.tick.0.to_string(), entry.state.to_string()];
            ours.push(fields.into_iter().chain(rest).collect::<Vec<_>>());
        }
    }
    assert_eq!(told, ours);
    // What is written now, and what is damaged.
    let mut space = fresh();
    age(&mut space, 9);
    put(&store, "c", "now", &space.seal().image, None).expect("room");
    assert_eq!(read(&dir).expect("it ran before").expect("sound").len(), ours.len() + 1);
    let pack = files(&dir.join("packs")).pop().expect("there are packs");
    let mut bytes = fs::read(&pack).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).expect("writable");
    let error = read(&dir).expect("it ran before").expect_err("damaged");
    assert!(error.contains(&*pack.to_string_lossy()), "{error}");
}

#[test]
fn an_exported_snapshot_is_taken_in_elsewhere_and_a_damaged_one_is_not() {
    let (home, other) = (Home::new("store-export"), Home::new("store-import"));
    golden(&home);
    let store = home.open();
    let three = store.tree("a").expect("sound").find("three").expect("there").id;
    let file = home.0.path().join("three.omni");
    let none: &mut BaseOf<'_> = &mut |_| unreachable!("nothing is below these spaces");
    let done = store.export(three, none, &file).expect("room");
    assert_eq!(done.bytes, fs::metadata(&file).expect("there").len());
    let there = other.open();
    let entry = there.import(&file, "x", "came", b"{}".to_vec()).expect("sound");
    let image = load(&there, entry.id).expect("whole");
    assert_eq!(image.digest(), load(&store, three).expect("whole").digest());
    assert_eq!(there.verify().expect("sound").snapshots, 1);
    let whole = fs::read(&file).expect("there");
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        fs::write(&file, &bytes).expect("writable");
        assert!(there.import(&file, "y", "no", vec![]).is_err(), "byte {at}");
        fs::write(&file, &whole[..at]).expect("writable");
        assert!(there.import(&file, "y", "no", vec![]).is_err(), "cut at {at}");
    }
    assert_eq!(there.verify().expect("sound").snapshots, 1);
    assert_eq!(there.tree("y").expect("sound").entries().count(), 0);
}

/// Not a test: writes the golden store anew, for a later version, into the folder that
/// `OMNI_STORE_GOLDEN` names.
#[test]
fn a_golden_store_can_be_made() {
    let Ok(dir) = std::env::var("OMNI_STORE_GOLDEN") else { return };
    let dir = Path::new(&dir);
    let store = Arc::new(Store::open(dir).expect("an empty folder"));
    let mut space = fresh();
    let one = put(&store, "a", "one", &space.seal().image, None).expect("room").id;
    age(&mut space, 2);
    let two = put(&store, "a", "two", &space.seal().image, Some(one)).expect("room").id;
    age(&mut space, 3);
    put(&store, "a", "three", &space.seal().image, Some(two)).expect("room");
    store.gc(GcOptions { compress_all: true }).expect("idle");
    store.remove("a", two).expect("there");
    let mut image = Image::default();
    image.set(PageNo(69), Page::new(&[9; 4096])).expect("in memory");
    let mut branch = Space::from_image("ram", PAGES, image.clone());
    branch.store(Gpa(7), b"branch").expect("inside");
    put(&store, "a", "branch", &branch.seal().image, Some(one)).expect("room");
    put(&store, "b", "mono", &image, None).expect("room");
    for file in files(dir) {
        if file.extension().is_some_and(|extension| extension == "lock") || file.ends_with("lock") {
            fs::remove_file(file).expect("ours");
        }
    }
}
