//! What goes wrong around a store: crashes at any step, kills, full file systems, changed bits.
#![allow(clippy::print_stdout, reason = "the child tells its parent")]

mod world;

use omni_base::Digest;
use omni_memory::Space;
use omni_store::{Files, Fuse, GcOptions, Store, StoreError};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use world::{Home, PAGES, age, files, fresh, load, put};

/// What a life of writing was told: snapshots that are there, and those that are gone.
#[derive(Default)]
struct Told {
    there: Vec<(String, Digest)>,
    /// One that was about to come or go when the life ended.
    doubtful: Option<String>,
}

/// Writes, removes, pins and cleans up, until something fails.
fn live(store: &Arc<Store>, told: &mut Told) -> Result<(), StoreError> {
    let mut space = fresh();
    let mut parent = None;
    for step in 0..7u64 {
        age(&mut space, step * 5);
        let tag = format!("t{step}");
        told.doubtful = Some(tag.clone());
        let entry = put(store, "m", &tag, &space.seal().image, parent)?;
        told.doubtful = None;
        told.there.push((tag, entry.id));
        parent = Some(entry.id);
        if step == 2 {
            store.pin("child", &[entry.id])?;
        }
        if step % 3 == 1 {
            let (tag, id) = told.there.remove(told.there.len() / 2);
            told.doubtful = Some(tag);
            store.remove("m", id)?;
            told.doubtful = None;
        }
        if step % 3 == 2 {
            let _lease = store.lease(&[entry.id])?;
            gc(store, step == 5)?;
        }
    }
    Ok(())
}

/// Cleans up. A process that another test is just starting has our locks for a moment.
fn gc(store: &Store, compress_all: bool) -> Result<(), StoreError> {
    loop {
        match store.gc(GcOptions { compress_all }) {
            Err(StoreError::Busy(..)) => std::thread::yield_now(),
            other => return other.map(|_| ()),
        }
    }
}

/// Holds what a store has against what its writer was told, and goes on with it.
#[track_caller]
fn check(home: &Home, told: &Told, what: &str) {
    let store = home.open();
    store.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
    let tree = store.tree("m").expect("sound");
    for (tag, id) in &told.there {
        let entry = tree.tagged(tag).unwrap_or_else(|| panic!("{what}: {tag} is lost"));
        assert_eq!(entry.id, *id, "{what}: {tag}");
    }
    for entry in tree.entries() {
        let known = told.there.iter().any(|(tag, _)| *tag == entry.tag);
        assert!(known || told.doubtful.as_ref() == Some(&entry.tag), "{what}: {}", entry.tag);
        load(&store, entry.id).unwrap_or_else(|error| panic!("{what}: {}: {error}", entry.tag));
    }
    let mut space = fresh();
    age(&mut space, 65);
    let entry = put(&store, "m", "after", &space.seal().image, None).expect("it goes on");
    gc(&store, false).unwrap_or_else(|error| panic!("{what}: {error}"));
    store.verify().unwrap_or_else(|error| panic!("{what}: after gc: {error}"));
    load(&store, entry.id).expect("whole");
    for (_, id) in &told.there {
        load(&store, *id).unwrap_or_else(|error| panic!("{what}: after gc: {error}"));
    }
    let left =
        files(&home.dir()).into_iter().find(|path| path.extension().is_some_and(|e| e == "new"));
    assert_eq!(left, None, "{what}: left over");
}

fn at_every_step(name: &str, fuse: fn(u64) -> Arc<Fuse>) {
    let mut steps = 1;
    loop {
        let home = Home::new(name);
        let blow = fuse(steps);
        let mut told = Told::default();
        let opened = Store::open_with(&home.dir(), Files::with_fuse(blow.clone()));
        let done = opened.map(Arc::new).and_then(|store| live(&store, &mut told));
        let what = format!("{name}, step {steps}");
        check(&home, &told, &what);
        if !blow.blown() {
            done.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(steps > 60, "it took {steps} steps only");
            return;
        }
        // Every early step, and then some of all.
        steps += if steps < 60 { 1 } else { 3 };
    }
}

#[test]
fn a_crash_at_any_step_loses_nothing_and_leaves_nothing_half() {
    at_every_step("store-crash", Fuse::crash);
}

#[test]
fn a_loss_of_power_at_any_step_loses_nothing_and_leaves_nothing_half() {
    at_every_step("store-power", Fuse::power_loss);
}

#[test]
fn a_file_system_that_fills_up_loses_nothing_and_says_so() {
    at_every_step("store-full", Fuse::full);
    let home = Home::new("store-full-said");
    home.open();
    let store = Store::open_with(&home.dir(), Files::with_fuse(Fuse::full(1))).expect("there");
    let error = put(&store, "m", "t", &fresh().seal().image, None).expect_err("full");
    assert!(
        matches!(&error, StoreError::Io(_, why) if why.kind() == std::io::ErrorKind::StorageFull)
    );
}

const CHILD: &str = "OMNI_STORE_TEST_CHILD";

/// Not a test of its own: the process that the next test kills.
#[test]
fn a_writer_that_is_to_be_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let store = Arc::new(Store::open(dir.as_ref()).expect("sound"));
    let mut space = fresh();
    let (mut parent, mut last) = (None, None);
    let number = store.tree("m").expect("sound").entries().count();
    for step in number as u64.. {
        age(&mut space, step);
        let tag = format!("t{step}");
        println!("\nwriting {tag}");
        let entry = put(&store, "m", &tag, &space.seal().image, parent).expect("room");
        println!("\nwritten {tag} {}", entry.id);
        parent = Some(entry.id);
        if step % 4 == 3 {
            store.lease(&[entry.id]).expect("there");
            gc(&store, false).expect("alone");
        }
        if step % 5 == 4
            && let Some((tag, id)) = last.take()
        {
            println!("\nwriting {tag}");
            store.remove("m", id).expect("there");
            println!("\nremoved {tag}");
        }
        last = Some((tag, entry.id));
    }
}

#[test]
fn a_writer_killed_at_any_time_loses_nothing_and_leaves_nothing_half() {
    let own = std::env::current_exe().expect("it runs");
    for round in 0..60u64 {
        let home = Home::new("store-killed");
        let mut child = Command::new(&own)
            .args(["--exact", "a_writer_that_is_to_be_killed", "--nocapture"])
            .env(CHILD, home.dir())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let killer = std::thread::spawn(move || {
            // At another time in each round, from the very beginning on.
            std::thread::sleep(Duration::from_micros(500 + round * round * 31));
            child.kill().expect("ours");
            child.wait().expect("ours");
        });
        let mut told = Told::default();
        for line in out.lines() {
            let line = line.expect("text");
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["writing", tag] => {
                    told.there.retain(|(other, _)| other != tag);
                    told.doubtful = Some(tag.into());
                }
                ["written", tag, id] => {
                    let store = home.open();
                    let tree = store.tree("m").expect("sound");
                    let found = tree.entries().find(|entry| entry.id.to_string() == id);
                    // It may have been removed since.
                    if let Some(entry) = found {
                        told.there.push((tag.into(), entry.id));
                    }
                    told.doubtful = None;
                }
                ["removed", _] => told.doubtful = None,
                _ => {}
            }
        }
        killer.join().expect("it ends");
        check_killed(&home, &told, round);
    }
}

/// As `check`, where lines of the child may have come late.
fn check_killed(home: &Home, told: &Told, round: u64) {
    let store = home.open();
    store.verify().unwrap_or_else(|error| panic!("round {round}: {error}"));
    let tree = store.tree("m").expect("sound");
    for (tag, id) in &told.there {
        assert!(tree.tagged(tag).is_some(), "round {round}: {tag} is lost");
        load(&store, *id).unwrap_or_else(|error| panic!("round {round}: {tag}: {error}"));
    }
    for entry in tree.entries() {
        load(&store, entry.id).unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    gc(&store, false).expect("nobody writes");
    store.verify().expect("sound");
    let entry = put(&store, "m", "after", &fresh().seal().image, None).expect("it goes on");
    load(&store, entry.id).expect("whole");
}

#[test]
fn what_is_left_of_a_line_goes_before_a_shorter_one_is_written() {
    let home = Home::new("store-torn");
    let image = fresh().seal().image;
    let one = put(&home.open(), "m", "one", &image, None).expect("room");
    put(&home.open(), "m", &"t".repeat(60), &image, None).expect("room");
    let path = home.dir().join("trees/m.tree");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("there");
    file.set_len(file.metadata().expect("there").len() - 5).expect("writable");
    home.open().remove("m", one.id).expect("there");
    assert_eq!(home.open().tree("m").expect("sound").entries().count(), 0);
    put(&home.open(), "m", "two", &image, None).expect("room");
    home.open().verify().expect("sound");
}

#[test]
fn every_bit_of_a_small_store_counts() {
    let home = Home::new("store-bits");
    let store = home.open();
    let mut space = Space::new("ram", PAGES);
    space.store(omni_base::Gpa(4096), b"hello").expect("inside");
    let entry = put(&store, "m", "one", &space.seal().image, None).expect("room");
    let read = || -> Result<(), StoreError> {
        let store = Arc::new(Store::open(&home.dir())?);
        let id = store.tree("m")?.find("one")?.id;
        load(&store, id).map(|_| ())
    };
    let everything = || Store::open(&home.dir())?.verify().and_then(|_| read());
    everything().expect("sound");
    for path in files(&home.dir()) {
        let whole = fs::read(&path).expect("there");
        let file = fs::OpenOptions::new().write(true).open(&path).expect("writable");
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        for bit in 0..whole.len() * 8 {
            let (at, byte) = (bit / 8, whole[bit / 8]);
            file.write_all_at(&[byte ^ 1 << (bit % 8)], at as u64).expect("writable");
            // Who only reads may not meet it; what he gets is what was written, or nothing.
            let _ = read();
            let error = match everything() {
                Ok(()) => panic!("{name}: bit {bit} does not count"),
                Err(error) => error.to_string(),
            };
            let named = error.contains(&name)
                || error.contains(&entry.id.to_string())
                || error.contains("no snapshot 'one'")
                || error.contains("format")
                || error.contains("pack of");
            assert!(named, "{name}: bit {bit}: {error}");
            file.write_all_at(&[byte], at as u64).expect("writable");
        }
    }
    everything().expect("sound again");
}
