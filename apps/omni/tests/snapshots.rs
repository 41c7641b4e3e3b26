//! The program from outside: snapshots, and what is done with them.

#[allow(dead_code, reason = "each of the tests of the program needs some of it")]
mod home;

use home::{Home, elf, text, typed_by};
use omni_control::{Client, Entry, Request};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn home(name: &str) -> Home {
    let home = Home::new(name);
    home.write("walker", &elf(&WALKER));
    home
}

/// Walks through memory for a while, writing as it goes, and then ends the machine.
const WALKER: [u32; 12] = [
    0x0000_1497, // auipc s1, 1
    0x2000_0937, // lui s2, 0x20000
    0x0015_0513, // addi a0, a0, 1
    0x0325_1593, // slli a1, a0, 50
    0x02c5_d593, // srli a1, a1, 44
    0x0095_85b3, // add a1, a1, s1
    0x00a5_b023, // sd a0, 0(a1)
    0xff25_16e3, // bne a0, s2, to the addi
    0x0010_02b7, // lui t0, 0x100
    0x0000_5337, // lui t1, 5
    0x5553_0313, // addi t1, t1, 0x555
    0x0062_a023, // sw t1, 0(t0)
];

#[test]
fn a_story_is_taken_back_and_says_the_same_again() {
    let home = home("snap-story");
    home.run("m", &["story.z5"]);
    let first = home.answered("m", "one");
    assert!(first.contains("Line 1,"), "{first}");
    let taken = home.json(&["snapshot", "m", "before"]);
    assert_eq!(text(&taken, "tag"), "before");
    assert_eq!(taken["parent"], Value::Null);
    assert_eq!(text(&taken, "digest").len(), 64);
    for field in ["ticks", "pages_total", "pages_new", "bytes_new"] {
        assert!(taken[field].is_u64(), "{field}: {taken}");
    }
    assert!(taken["pause_ms"].is_number(), "{taken}");
    let second = home.answered("m", "two");
    let third = home.answered("m", "three");
    assert!(second.contains("Line 2,") && third.contains("Line 3,"), "{second}{third}");
    let restored = home.json(&["restore", "m@before"]);
    assert_eq!(restored["ticks"], taken["ticks"]);
    // What it draws at random is of its past, which is the same.
    assert_eq!(home.answered("m", "two"), second);
    assert_eq!(home.answered("m", "three"), third);
    assert_eq!(text(&home.json(&["inspect", "m"]), "parent"), "before");
    // From a machine that was killed it is no different.
    home.check(&["kill", "m"]);
    home.check(&["restore", "m@before"]);
    assert_eq!(home.answered("m", "two"), second);
}

#[test]
fn snapshots_make_a_tree_and_one_in_the_middle_can_go() {
    let home = home("snap-tree");
    home.run("m", &["--memory", "16M", "counter"]);
    for (tag, answer) in [("a", 'a'), ("b", 'b'), ("c", 'c')] {
        home.typed("m", "x", answer);
        home.check(&["snapshot", "m", tag]);
    }
    home.check(&["restore", "m@a"]);
    home.typed("m", "x", 'b');
    let branch = home.json(&["snapshot", "m"]);
    assert_eq!(text(&branch, "tag"), "s1", "a free tag is found");
    assert_eq!(text(&branch, "parent"), "a");
    let parents = |home: &Home| -> Vec<(String, Value)> {
        let all = home.objects(&["snapshots", "m"]);
        all.iter().map(|one| (text(one, "tag").to_owned(), one["parent"].clone())).collect()
    };
    let as_listed = |list: &[(&str, Option<&str>)]| -> Vec<(String, Value)> {
        let value = |parent: Option<&str>| parent.map_or(Value::Null, Value::from);
        list.iter().map(|(tag, parent)| ((*tag).to_owned(), value(*parent))).collect()
    };
    let wanted = [("a", None), ("b", Some("a")), ("c", Some("b")), ("s1", Some("a"))];
    assert_eq!(parents(&home), as_listed(&wanted));
    assert_eq!(text(&home.json(&["rm", "m@c~1"]), "tag"), "b");
    let wanted = [("a", None), ("c", Some("a")), ("s1", Some("a"))];
    assert_eq!(parents(&home), as_listed(&wanted));
    home.check(&["gc"]);
    home.fails(&["restore", "m@b"], 3);
    home.check(&["restore", "m@c"]);
    home.typed("m", "x", 'd');
    home.check(&["restore", "m@s1"]);
    home.typed("m", "x", 'c');
    let table = home.check(&["snapshots", "m"]);
    assert!(table.contains("TAG") && table.contains("s1 *"), "{table}");
}

#[test]
fn a_restored_machine_has_the_same_future() {
    let home = home("snap-future");
    home.run("m", &["--memory", "16M", "--snapshot-on-exit", "walker"]);
    home.check(&["snapshot", "m", "middle"]);
    assert_eq!(home.check(&["wait", "m"]), "0\n");
    home.check(&["restore", "m@middle"]);
    assert_eq!(home.check(&["wait", "m"]), "0\n");
    let all = home.objects(&["snapshots", "m"]);
    let ends: Vec<&Value> = all.iter().filter(|one| one["tag"] != "middle").collect();
    let [one, other] = &ends[..] else { panic!("two ends: {all:?}") };
    assert_eq!(text(one, "parent"), "middle");
    assert_eq!(text(other, "parent"), "middle");
    assert_eq!(one["ticks"], other["ticks"]);
    assert_eq!(text(one, "digest"), text(other, "digest"));
    assert!(home.objects(&["diff", "m@s1", "m@s2"]).iter().all(|space| space["pages"] == 0));
}

#[test]
fn a_machine_whose_memory_goes_to_the_store_while_it_runs_has_the_same_future() {
    let home = home("snap-out");
    home.run("m", &["--memory", "16M", "--snapshot-on-exit", "walker"]);
    home.check(&["snapshot", "m", "middle"]);
    assert_eq!(home.check(&["wait", "m"]), "0\n");
    home.check(&["restore", "m@middle"]);
    let folder = text(&home.json(&["inspect", "m"]), "directory").to_owned();
    let mut sent = 0;
    while sent < 10
        && let Ok(mut client) =
            Entry::load(Path::new(&folder)).and_then(|entry| Client::connect(&entry))
    {
        // It may end meanwhile.
        sent += u32::from(client.ask(&Request::SendOut).is_ok());
    }
    assert!(sent > 0, "it ended before");
    home.check(&["gc"]);
    assert_eq!(home.check(&["wait", "m"]), "0\n");
    let all = home.objects(&["snapshots", "m"]);
    let ends: Vec<&Value> = all.iter().filter(|one| one["tag"] != "middle").collect();
    let [one, other] = &ends[..] else { panic!("two ends: {all:?}") };
    assert_eq!(one["ticks"], other["ticks"]);
    assert_eq!(text(one, "digest"), text(other, "digest"));
}

#[test]
fn forks_go_on_each_for_itself() {
    let home = home("snap-forks");
    home.run("m", &["--memory", "16M", "counter"]);
    home.typed("m", "x", 'a');
    let forks = home.objects(&["fork", "m", "--count", "3"]);
    let mut ids: Vec<&str> = forks.iter().map(|fork| text(fork, "id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{forks:?}");
    for (fork, count) in forks.iter().zip(1..) {
        assert!(fork["start_ms"].is_number() && fork["private_bytes"].is_u64(), "{fork}");
        let said = home.typed(text(fork, "id"), &"x".repeat(count), char::from(b'a' + count as u8));
        assert_eq!(said.len(), count, "each counts on from what was: {said}");
    }
    home.typed("m", "x", 'b');
    assert!(home.objects(&["snapshots", "m"]).is_empty(), "what passes is not listed");
    let names: Vec<&str> = forks.iter().map(|fork| text(fork, "name")).collect();
    assert_eq!(home.objects(&["ps"]).len(), 4);
    // A fork has snapshots of its own, and outlives what it came from.
    home.check(&["snapshot", names[2], "own"]);
    home.check(&["rm", "--force", "m", names[0], names[1]]);
    home.check(&["gc"]);
    home.check(&["restore", &format!("{}@own", names[2])]);
    home.typed(names[2], "x", 'e');
}

#[test]
fn a_fork_publishes_ports_of_its_own_or_says_that_it_has_none() {
    let home = home("snap-publish");
    home.run("m", &["--memory", "16M", "--publish", "0:80", "counter"]);
    home.check(&["snapshot", "m", "t"]);
    let (_, talk) = home.fails(&["fork", "m@t"], 0);
    assert!(talk.contains("0:80 stays with 'm'"), "{talk}");
    let (_, talk) = home.fails(&["fork", "m@t", "--count", "2", "--publish", "8080:80"], 2);
    assert!(talk.contains("port 0"), "{talk}");
    let busy = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = busy.local_addr().expect("bound").port();
    let (_, talk) = home.fails(&["fork", "m@t", "--publish", &format!("{port}:80")], 1);
    assert!(talk.contains(&port.to_string()), "{talk}");
    assert_eq!(home.objects(&["ps"]).len(), 2, "a fork that failed leaves nothing");
    for fork in home.objects(&["fork", "m@t", "--count", "2", "--publish", "0:80"]) {
        let seen = home.json(&["inspect", text(&fork, "id")]);
        let ports = seen["ports"]["published"].as_array().expect("a list");
        assert_eq!(ports.len(), 1, "{seen}");
    }
}

#[test]
fn a_restored_machine_may_run_its_harts_another_way() {
    let home = home("snap-schedule");
    home.run("m", &["--memory", "16M", "--cpus", "2", "counter"]);
    home.check(&["snapshot", "m", "t"]);
    home.check(&["restore", "m@t", "--parallel"]);
    assert_eq!(home.json(&["inspect", "m"])["digest"], Value::Null, "it is not exact any more");
    home.check(&["snapshot", "m", "side-by-side"]);
    home.check(&["restore", "m@side-by-side", "--turns"]);
    assert!(home.json(&["inspect", "m"])["digest"].is_string());
    home.run("tale", &["story.z5"]);
    home.check(&["snapshot", "tale", "t"]);
    home.fails(&["restore", "tale@t", "--parallel"], 8);
    assert_eq!(home.json(&["inspect", "tale"])["state"], "running");
}

#[test]
fn a_fork_of_a_snapshot_is_another_machine_with_other_luck() {
    let home = home("snap-luck");
    home.run("m", &["story.z5"]);
    home.answered("m", "one");
    home.check(&["snapshot", "m", "t"]);
    home.check(&["kill", "m"]);
    home.check(&["fork", "m@t", "--count", "2"]);
    let names: Vec<String> = home
        .objects(&["ps"])
        .iter()
        .filter(|one| one["state"] == "running")
        .map(|one| text(one, "name").to_owned())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    for name in names {
        let said = home.answered(&name, "two");
        assert!(said.contains("Line 2,"), "{said}");
    }
}

#[test]
fn a_fork_that_begins_once_more_after_a_loss_of_power_has_its_disk_as_it_was_then() {
    let home = home("snap-power");
    home.write("disk.raw", &[7; 8192]);
    home.run("m", &["--memory", "16M", "--disk", "disk.raw", "counter"]);
    home.typed("m", "x", 'a');
    home.check(&["snapshot", "m", "t"]);
    let fork = home.json(&["fork", "m@t"]);
    let name = text(&fork, "name");
    home.typed(name, "xx", 'c');
    let seen = home.json(&["inspect", name]);
    home.check(&["kill", name]);
    // What is only shown is lost, and what it wrote to its disk is not.
    let folder = Path::new(text(&seen, "directory"));
    let state = folder.join("state.json");
    let mut born: Value = serde_json::from_slice(&fs::read(&state).expect("there")).expect("JSON");
    born["state"] = "created".into();
    fs::write(&state, born.to_string()).expect("writable");
    let overlay = folder.join("disk0.1.overlay");
    fs::write(&overlay, [1; 200]).expect("writable");
    home.check(&["start", name]);
    home.typed(name, "x", 'b');
    assert!(!overlay.exists(), "its memory knows nothing of it");
}

#[test]
fn snapshots_differ_in_what_was_written_between_them() {
    let home = home("snap-diff");
    home.run("m", &["--memory", "16M", "counter"]);
    home.typed("m", "x", 'a');
    home.check(&["snapshot", "m", "one"]);
    home.typed("m", "x", 'b');
    home.check(&["snapshot", "m", "two"]);
    let all = home.objects(&["diff", "m@one", "m@two"]);
    let memory = all.iter().find(|space| space["space"] == "ram").expect("it has memory");
    assert_eq!(memory["pages"], 1, "{memory}");
    let range = &memory["ranges"][0];
    assert_eq!(range["address"], 0x8000_1000_u64, "where the guest has it: {memory}");
    let fields = |path: &str| -> Vec<String> {
        let found = all.iter().find(|record| record["record"] == path);
        let found = found.unwrap_or_else(|| panic!("no {path} in {all:?}"));
        let names = found["fields"].as_array().expect("they have names");
        names.iter().map(|name| name.as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(fields("hart/0/registers"), ["file"]);
    let told = home.check(&["diff", "m@one", "m@two"]);
    assert!(told.contains("  0x80001000 to 0x80001fff\n"), "{told}");
    let same = home.check(&["diff", "m@one", "m@one"]);
    assert_eq!(same, "", "nothing differs");
}

#[test]
fn an_exported_machine_goes_on_in_another_home() {
    let home = home("snap-export");
    home.write("disk.raw", &[7; 8192]);
    home.run("m", &["--memory", "16M", "--disk", "disk.raw", "counter"]);
    home.typed("m", "x", 'a');
    let taken = home.json(&["snapshot", "m", "t"]);
    let exported = home.json(&["export", "m@t", "m.omni"]);
    assert!(exported["bytes"].as_u64().is_some_and(|bytes| bytes > 4096), "{exported}");
    home.check(&["rm", "--force", "m"]);
    fs::remove_file(home.dir.path().join("disk.raw")).expect("it is there");
    fs::remove_file(home.dir.path().join("counter")).expect("it is there");
    let there = |args: &[&str]| {
        let output = home.omni_at("other", args).output().expect("it can be started");
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {talk}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(there(&["import", "m.omni", "--name", "twin"]), "twin@t\n");
    let listed = there(&["snapshots", "twin", "--json"]);
    let listed: Value = serde_json::from_str(listed.trim()).expect("one object");
    // Not the digest of the state, which names the file below the disk: here there is none.
    assert_eq!(listed["ticks"], taken["ticks"]);
    there(&["restore", "twin@t"]);
    typed_by(home.omni_at("other", &["attach", "twin"]), "x", 'b');
    there(&["snapshot", "twin", "later"]);
    there(&["kill", "twin"]);
    // From its beginning, too, as what it was made from came along.
    there(&["start", "twin"]);
    typed_by(home.omni_at("other", &["attach", "twin"]), "x", 'a');
}

#[test]
fn clean_up_beside_a_running_machine_takes_nothing_from_it() {
    let home = home("snap-gc");
    home.run("m", &["--memory", "16M", "counter"]);
    home.typed("m", "xx", 'b');
    home.check(&["snapshot", "m", "t"]);
    home.check(&["restore", "m@t"]);
    // It reads pages of what is not listed any more.
    home.check(&["rm", "m@t"]);
    let done = home.json(&["gc", "--compress"]);
    assert!(done["objects"].as_u64().is_some_and(|count| count > 0), "{done}");
    home.typed("m", "x", 'c');
    home.check(&["snapshot", "m", "after"]);
    home.check(&["kill", "m"]);
    home.check(&["gc"]);
    home.check(&["restore", "m@after"]);
    home.typed("m", "x", 'd');
    home.check(&["rm", "--force", "m"]);
    let done = home.json(&["gc"]);
    assert_eq!(done["objects"], 0, "a store of nobody is empty: {done}");
}

#[test]
fn mistakes_with_snapshots_have_their_exit_codes() {
    let home = home("snap-mistakes");
    home.run("m", &["story.z5"]);
    home.check(&["snapshot", "m", "t"]);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["snapshot", "nobody"], 3, "nobody"),
        (&["snapshot", "m", "t"], 4, "'t' already"),
        (&["snapshot", "m", "a b"], 2, "cannot be a tag"),
        (&["restore", "m"], 2, "MACHINE@TAG"),
        (&["restore", "m@nothing"], 3, "omni snapshots m"),
        (&["restore", "m@t~1"], 3, "m@t~1"),
        (&["fork", "nobody"], 3, "nobody"),
        (&["fork", "m", "--count", "0"], 2, "--count"),
        (&["diff", "m@t", "m@u"], 3, "m@u"),
        (&["rm", "m@u"], 3, "m@u"),
        (&["export", "m@u", "file"], 3, "m@u"),
        (&["import", "story.z5"], 9, "story.z5"),
        (&["import", "missing"], 1, "missing"),
    ];
    for (args, code, word) in cases {
        let (said, talk) = home.fails(args, *code);
        assert!(talk.contains(word), "{args:?}: {talk}");
        assert_eq!(said, "", "{args:?}");
    }
    home.answered("m", "still there");
    home.check(&["stop", "m"]);
    let (_, talk) = home.fails(&["snapshot", "m"], 5);
    assert!(talk.contains("stopped"), "{talk}");
    assert_eq!(home.objects(&["ps"]).len(), 1, "no failed attempt leaves a machine");
}

#[test]
fn a_second_process_is_told_who_has_the_machine() {
    let home = home("snap-second");
    home.run("m", &["story.z5"]);
    let seen = home.json(&["inspect", "m"]);
    let pid = seen["pid"].to_string();
    let (said, talk) = home.fails(&["monitor", text(&seen, "directory")], 5);
    let who = format!("process {pid} has it");
    assert!(said.contains(&who) && talk.contains(&who), "{said}{talk}");
    home.answered("m", "as before");
}

/// Flips a bit of every pack, at this part of it.
fn flip(home: &Path, eighths: usize) {
    for item in fs::read_dir(home.join("state/store/packs")).expect("there") {
        let path = item.expect("there").path();
        let mut bytes = fs::read(&path).expect("readable");
        let at = bytes.len() * eighths / 8;
        bytes[at] ^= 4;
        fs::write(&path, bytes).expect("writable");
    }
}

#[test]
fn a_damaged_snapshot_is_refused_or_ends_its_machine_and_says_what_is_damaged() {
    let home = home("snap-damage");
    home.run("m", &["story.z5"]);
    home.check(&["snapshot", "m", "t"]);
    home.check(&["kill", "m"]);
    for eighths in 1..8 {
        flip(&home.dir.path().join("home"), eighths);
        let output = home.output(&["restore", "m@t"]);
        let mut talk = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut code = output.status.code();
        if code == Some(0) {
            // What is damaged is found when it is touched: the story reads all of itself.
            let seen = home.output(&["snapshot", "m", &format!("t{eighths}")]);
            talk = String::from_utf8_lossy(&seen.stderr).into_owned();
            code = seen.status.code();
        }
        flip(&home.dir.path().join("home"), eighths);
        if code == Some(0) {
            // In a page that nobody has asked for.
            home.check(&["kill", "m"]);
            home.check(&["rm", &format!("m@t{eighths}")]);
            continue;
        }
        assert_eq!(code, Some(9), "{talk}");
        assert!(talk.contains("damaged") || talk.contains("digest"), "{talk}");
        let _ = home.output(&["kill", "m"]);
    }
    home.check(&["restore", "m@t"]);
    home.answered("m", "whole again");
}
