//! The program from outside: machines on a switch.

#[allow(dead_code, reason = "each of the tests of the program needs some of it")]
mod home;

use home::{Home, text};
use serde_json::Value;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// A program that hands tokens on to others like it; `guests/tokens.c` is its source.
const TOKENS: &[u8] = include_bytes!("guests/tokens.elf");

/// What each begins with.
const BEGIN: u64 = 1_000;

impl Home {
    fn with_tokens(name: &str) -> Self {
        let home = Self::new(name);
        home.write("tokens", TOKENS);
        home
    }

    /// A machine on this network, with addresses of its own.
    #[track_caller]
    fn plugged(&self, name: &str, nets: &[&str]) {
        let mut args = vec!["run", "--detach", "--name", name, "--memory", "16M"];
        args.extend(nets.iter().flat_map(|net| ["--net", net]));
        self.check(&[&args[..], &["tokens"]].concat());
    }

    /// Types at each console and does not wait for an answer.
    #[track_caller]
    fn tell(&self, machines: &[&str], line: &str) {
        for machine in machines {
            // What is typed before the question is answered before it.
            self.typed(machine, &format!("{line}p"), "\n");
        }
    }

    /// How many tokens a machine has, others it knows, and numbers that were wrong.
    #[track_caller]
    fn told(&self, machine: &str) -> [u64; 3] {
        let said = self.typed(machine, "p", "\n");
        let line = said.trim().lines().next_back().unwrap_or_default();
        let number = |word: &str| word[1..].parse::<u64>().expect("a number");
        let words: Vec<u64> = line.split_whitespace().map(number).collect();
        words.try_into().expect("three words")
    }

    /// Waits until this is so.
    #[track_caller]
    fn until(&self, mut so: impl FnMut() -> bool) {
        for _ in 0..3_000 {
            if so() {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        panic!("it did not come to be so");
    }

    /// Stops the machines handing on, and counts all tokens once nothing is on its way.
    #[track_caller]
    fn count(&self, machines: &[&str]) -> u64 {
        self.tell(machines, "s");
        let mut before = Vec::new();
        self.until(|| {
            let now: Vec<[u64; 3]> = machines.iter().map(|name| self.told(name)).collect();
            let settled = now == before;
            before = now;
            settled
        });
        assert!(before.iter().all(|[_, _, wrong]| *wrong == 0), "{before:?}");
        before.iter().map(|[tokens, ..]| tokens).sum()
    }

    /// Lets machines find each other and hand on.
    #[track_caller]
    fn go(&self, machines: &[&str]) {
        let others = machines.len() as u64 - 1;
        self.until(|| {
            self.tell(machines, "h");
            machines.iter().all(|name| self.told(name)[1] == others)
        });
        self.tell(machines, "g");
    }

    #[track_caller]
    fn ports(&self, machine: &str) -> Value {
        self.json(&["inspect", machine])["ports"].take()
    }
}

#[test]
fn machines_on_a_switch_reach_each_other_and_nobody_else() {
    let home = Home::with_tokens("switch");
    let all = ["a", "b", "c"];
    all.iter().for_each(|name| home.plugged(name, &["switch:lab"]));
    home.plugged("apart", &["switch:other"]);
    home.go(&all);
    home.tell(&["apart"], "h");
    home.until(|| {
        let handed =
            |name: &&str| home.ports(name)["switches"][0]["frames_received"].as_u64() > Some(100);
        all.iter().all(handed)
    });
    assert_eq!(home.count(&all), 3 * BEGIN);
    assert_eq!(home.told("apart"), [BEGIN, 0, 0]);
    let listed = home.objects(&["net", "ls"]);
    assert_eq!((text(&listed[0], "switch"), text(&listed[1], "switch")), ("lab", "other"));
    let seen = home.objects(&["net", "inspect", "lab"]);
    assert_eq!(seen.len(), 3);
    let reaches: Vec<usize> =
        seen.iter().map(|port| port["reaches"].as_array().expect("a list").len()).collect();
    assert_eq!(reaches, [2; 3], "{seen:?}");
    assert!(home.check(&["ps"]).contains("switch:lab"));
    home.says(&["net", "inspect", "nowhere"], 3);
    // A fork has the addresses of the one that it came from.
    let said = home.says(&["fork", "a"], 0);
    assert!(said.contains("not plugged into the switch 'lab'"), "{said}");
    assert_eq!(home.objects(&["net", "inspect", "lab"]).len(), 3);
}

#[test]
fn a_member_that_is_killed_is_missed_by_nobody_but_its_peers_and_comes_back() {
    let home = Home::with_tokens("switch-killed");
    ["a", "b", "c"].iter().for_each(|name| home.plugged(name, &["switch:lab"]));
    home.go(&["a", "b", "c"]);
    let pid = home.json(&["inspect", "c"])["pid"].to_string();
    let killed = Command::new("kill").args(["-9", &pid]).status().expect("there is a kill");
    assert!(killed.success());
    let reached = |name: &str, count: usize| {
        home.until(|| {
            let ports = home.ports(name);
            ports["switches"][0]["reaches"].as_array().map(Vec::len) == Some(count)
        });
    };
    reached("a", 1);
    reached("b", 1);
    home.until(|| home.json(&["inspect", "c"])["state"] == "failed");
    home.says(&["start", "c"], 0);
    ["a", "b", "c"].iter().for_each(|name| reached(name, 2));
    home.tell(&["c"], "h");
    home.until(|| home.told("c")[1] == 2);
    let before = home.ports("b");
    assert_eq!(before["switches"][0]["frames_dropped"], 0, "{before}");
}

#[test]
fn a_machine_has_an_interface_for_each_net_that_it_is_given() {
    let home = Home::with_tokens("switch-nets");
    home.plugged("a", &["switch:lab", "user", "switch:back"]);
    let ports = home.ports("a");
    let names: Vec<&str> = ports["devices"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|port| port["kind"] == "net")
        .map(|port| text(port, "name"))
        .collect();
    assert_eq!(names, ["net0", "net1", "net2"]);
    let switches = ports["switches"].as_array().expect("a list");
    let found: Vec<(&str, u64)> = switches
        .iter()
        .map(|on| (text(on, "switch"), on["port"].as_u64().expect("a number")))
        .collect();
    assert_eq!(found, [("back", 4), ("lab", 2)]);
    assert_ne!(switches[0]["mac"], switches[1]["mac"]);
    for (net, why) in [
        ("switch:", "a switch is named by"),
        ("switch:../up", "a switch is named by"),
        ("switch:a,b", "a switch is named by"),
        ("tap:eth0", "does not use taps"),
        ("bridge", "switch:NAME"),
    ] {
        let said = home.says(&["run", "-d", "--net", net, "tokens"], 2);
        assert!(said.contains(why), "{net}: {said}");
    }
    for nets in [["none", "user"], ["switch:x", "switch:x"]] {
        home.says(&["run", "-d", "--net", nets[0], "--net", nets[1], "tokens"], 2);
    }
    home.says(&["run", "-d", "--net", "switch:x", "story.z5"], 2);
    // Two of one seed have one address.
    let args = ["run", "-d", "--seed", "7", "--net", "switch:lab", "--memory", "16M", "tokens"];
    home.check(&args);
    assert!(home.says(&args, 5).contains("--seed"));
}

const ALL: [&str; 3] = ["a", "b", "c"];

impl Home {
    /// Machines that hand tokens on.
    #[track_caller]
    fn handing_on(name: &str) -> Self {
        let home = Self::with_tokens(name);
        ALL.iter().for_each(|name| home.plugged(name, &["switch:lab"]));
        home.go(&ALL);
        home
    }

    /// The tags of a machine's snapshots.
    #[track_caller]
    fn tags(&self, machine: &str) -> Vec<String> {
        let all = self.objects(&["snapshots", machine]);
        all.iter().map(|one| text(one, "tag").to_owned()).collect()
    }

    /// The tags of the group's snapshots.
    #[track_caller]
    fn group_tags(&self) -> Vec<String> {
        let all = self.objects(&["snapshots", "--group", "lab"]);
        all.iter().map(|one| text(one, "tag").to_owned()).collect()
    }
}

#[test]
fn a_group_goes_back_to_a_state_in_which_no_frame_is_lost_or_double() {
    let home = Home::handing_on("group");
    let (mut tags, mut in_flight) = (Vec::new(), 0);
    while tags.len() < 5 || in_flight == 0 {
        let taken = home.json(&["snapshot", "--group", "lab"]);
        assert_eq!(taken["members"].as_array().map(Vec::len), Some(3), "{taken}");
        assert!(taken["members"][0]["pause_ms"].is_number(), "{taken}");
        in_flight += taken["in_flight"].as_u64().expect("a number");
        tags.push(text(&taken, "tag").to_owned());
        assert!(tags.len() < 200, "nothing is ever in flight");
    }
    assert_eq!(home.group_tags(), tags);
    assert_eq!(home.count(&ALL), 3 * BEGIN);
    home.says(&["kill", "b"], 0);
    for tag in tags.iter().rev().take(5) {
        // Whether its machines run or not, and handing on or not.
        let restored = home.objects(&["restore", "--group", &format!("lab@{tag}")]);
        assert_eq!(restored.len(), 3);
        assert_eq!(home.count(&ALL), 3 * BEGIN, "{tag}");
    }
    // One that is gone back to alone has what was on its way to it.
    home.says(&["restore", &format!("a@{}", tags[0])], 0);
    home.says(&["rm", "--group", &format!("lab@{}", tags[0])], 0);
    assert_eq!((home.group_tags().len(), home.tags("a").len()), (tags.len() - 1, tags.len() - 1));
    home.says(&["restore", "--group", &format!("lab@{}", tags[0])], 3);
    home.says(&["rm", &format!("b@{}", tags[1])], 0);
    let said = home.says(&["restore", "--group", &format!("lab@{}", tags[1])], 3);
    assert!(said.contains("'b': its part was removed"), "{said}");
}

#[test]
fn forks_of_a_group_find_each_other_on_a_switch_of_their_own() {
    let home = Home::handing_on("group-fork");
    home.says(&["snapshot", "--group", "lab", "--tag", "here"], 0);
    let now = home.objects(&["fork", "--group", "lab"]);
    let then = home.objects(&["fork", "--group", "lab@here", "--count", "2"]);
    let groups: Vec<Vec<&str>> = now.chunks(3).chain(then.chunks(3)).map(names_of).collect();
    assert_eq!(groups.len(), 3);
    let switches: Vec<&str> = now.iter().chain(&then).map(|fork| text(fork, "switch")).collect();
    assert_eq!(switches, [["lab-1"; 3], ["lab-2"; 3], ["lab-3"; 3]].concat());
    for group in &groups {
        assert_eq!(home.count(group), 3 * BEGIN);
    }
    assert_eq!(home.count(&ALL), 3 * BEGIN);
    assert_eq!(home.group_tags(), ["here"]);
    assert_eq!(home.tags("a"), ["here"], "what was taken for forks only has gone");
    // They are machines as others are, with the addresses of those that they came from.
    let mac = |name: &str| text(&home.ports(name)["switches"][0], "mac").to_owned();
    assert_eq!(mac("a"), mac(groups[0][0]));
    home.says(&["snapshot", "--group", "lab-1"], 0);
    home.says(&["kill", groups[0][1]], 0);
    home.says(&["restore", "--group", "lab-1@g1"], 0);
    assert_eq!(home.count(&groups[0]), 3 * BEGIN);
}

fn names_of(forks: &[Value]) -> Vec<&str> {
    forks.iter().map(|fork| text(fork, "name")).collect()
}

#[test]
fn a_group_snapshot_whose_member_is_killed_is_whole_or_fails_by_its_name_and_leaves_nothing() {
    let home = Home::handing_on("group-killed");
    home.says(&["snapshot", "--group", "lab", "--tag", "start"], 0);
    let (mut whole, mut failed) = (0, 0);
    for round in 0..8 {
        let tag = format!("t{round}");
        let pid = home.json(&["inspect", "c"])["pid"].to_string();
        let mut taking = home.omni(&["snapshot", "--group", "lab", "--tag", &tag]);
        let taking =
            taking.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
        let taking = taking.spawn().expect("it can be started");
        sleep(Duration::from_millis(round * 5));
        let killed = Command::new("kill").args(["-9", &pid]).status().expect("there is a kill");
        assert!(killed.success());
        let output = taking.wait_with_output().expect("it ends");
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        let there = home.group_tags().contains(&tag);
        assert_eq!(there, output.status.success(), "{talk}");
        if there {
            whole += 1;
        } else {
            failed += 1;
            assert!(talk.contains("'c'"), "{talk}");
            for name in ALL {
                assert!(!home.tags(name).contains(&tag), "{name} has a part of {tag}");
            }
        }
        // Where it was dead before, it has no part.
        let all = home.objects(&["snapshots", "--group", "lab"]);
        let with_all = |one: &&Value| one["members"].as_array().map(Vec::len) == Some(3);
        let back = all.iter().rfind(with_all).map_or("start", |one| text(one, "tag"));
        home.says(&["restore", "--group", &format!("lab@{back}")], 0);
    }
    assert_eq!(home.count(&ALL), 3 * BEGIN, "{whole} were whole, {failed} failed");
}

#[test]
fn whoever_asks_for_a_group_snapshot_may_die_and_nothing_half_is_left() {
    let home = Home::handing_on("group-asker");
    for round in 0..8 {
        let tag = format!("t{round}");
        let mut taking = home.omni(&["snapshot", "--group", "lab", "--tag", &tag]);
        let mut taking = taking.stdout(std::process::Stdio::null()).spawn().expect("startable");
        sleep(Duration::from_millis(round * 4));
        // It may have ended by itself.
        let _ = taking.kill();
        taking.wait().expect("it ends");
        let there = home.group_tags().contains(&tag);
        home.until(|| ALL.iter().all(|name| home.tags(name).contains(&tag) == there));
        // Nobody waits for one that has died.
        home.says(&["snapshot", "--group", "lab", "--tag", &format!("after{round}")], 0);
    }
    assert_eq!(home.count(&ALL), 3 * BEGIN);
    home.says(&["restore", "--group", "lab@after3"], 0);
    assert_eq!(home.count(&ALL), 3 * BEGIN);
}

#[test]
fn a_recorded_member_lives_its_life_again_with_every_frame() {
    let home = Home::with_tokens("group-record");
    let args = ["run", "-d", "--record", "--memory", "16M", "--net", "switch:lab", "--name", "a"];
    home.check(&[&args[..], &["tokens"]].concat());
    home.plugged("b", &["switch:lab"]);
    home.go(&["a", "b"]);
    home.until(|| home.ports("a")["switches"][0]["frames_received"].as_u64() > Some(500));
    home.says(&["snapshot", "--group", "lab", "--tag", "middle"], 0);
    // Frames enter a machine that is held, too.
    home.count(&["a", "b"]);
    home.says(&["pause", "a"], 0);
    let state = home.json(&["inspect", "a"]);
    let again = home.json(&["replay", "a"]);
    assert_eq!(again["digest"], state["digest"], "{again}");
    assert_eq!(again["ticks"], state["ticks"]);
    // And once more from a state with frames in flight.
    home.says(&["restore", "--group", "lab@middle"], 0);
    home.until(|| home.ports("a")["switches"][0]["frames_received"].as_u64() > Some(100));
    assert_eq!(home.count(&["a", "b"]), 2 * BEGIN);
    home.says(&["pause", "a"], 0);
    let state = home.json(&["inspect", "a"]);
    assert_eq!(home.json(&["replay", "a"])["digest"], state["digest"]);
}

#[test]
fn what_cannot_be_had_of_a_group_is_said() {
    let home = Home::handing_on("group-errors");
    home.says(&["snapshot", "--group", "nobody"], 3);
    home.says(&["snapshot", "--group", "../up"], 2);
    home.says(&["restore", "--group", "lab"], 2);
    home.says(&["restore", "--group", "lab@none"], 3);
    home.says(&["fork", "--group", "lab@none"], 3);
    home.says(&["snapshot", "--group", "lab", "--tag", "../up"], 2);
    home.says(&["snapshot", "b", "mine"], 0);
    let said = home.says(&["snapshot", "--group", "lab", "--tag", "mine"], 4);
    assert!(said.contains("'b'"), "{said}");
    assert!(home.tags("a").is_empty() && home.group_tags().is_empty());
    home.says(&["snapshot", "--group", "lab", "--tag", "one"], 0);
    home.says(&["snapshot", "--group", "lab", "--tag", "one"], 4);
    // Every bit of its file is looked at.
    let path = home.dir.path().join("home/state/groups/lab/one.json");
    let whole = std::fs::read(&path).expect("there");
    for at in (0..whole.len()).step_by(37) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, damaged).expect("writable");
        let said = home.says(&["restore", "--group", "lab@one"], 9);
        assert!(said.contains("one.json"), "{said}");
    }
    std::fs::write(&path, whole).expect("writable");
    assert_eq!(home.count(&ALL), 3 * BEGIN, "nothing was undone");
    home.says(&["rm", "--force", "c"], 0);
    let said = home.says(&["restore", "--group", "lab@one"], 3);
    assert!(said.contains("'c' was removed"), "{said}");
}

impl Home {
    /// A file of the store that is kept for this machine.
    #[track_caller]
    fn kept_for(&self, machine: &str, folder: &str, extension: &str) -> std::path::PathBuf {
        let id = text(&self.json(&["inspect", machine]), "id").to_owned();
        self.dir.path().join("home/state/store").join(folder).join(id + extension)
    }

    #[track_caller]
    fn state_of(&self, machine: &str) -> String {
        text(&self.json(&["inspect", machine]), "state").to_owned()
    }
}

#[test]
fn a_group_that_was_left_half_is_told_of_and_can_be_gone_back_to() {
    let home = Home::handing_on("group-half");
    home.says(&["snapshot", "--group", "lab", "--tag", "one"], 0);
    // Nothing can be written to where it has to be, once another one has gone.
    let pin = home.kept_for("b", "pins", "");
    std::fs::create_dir(&pin).expect("free");
    let said = home.says(&["restore", "--group", "lab@one"], 1);
    assert!(said.contains("; 'a' ended for it"), "{said}");
    assert!(said.contains("'omni restore --group lab@one' has all go on"), "{said}");
    let states = ALL.map(|name| home.state_of(name));
    assert_eq!(states, ["stopped", "running", "running"]);
    std::fs::remove_dir(&pin).expect("empty");
    home.says(&["restore", "--group", "lab@one"], 0);
    assert_eq!(home.count(&ALL), 3 * BEGIN);
}

#[test]
fn a_group_is_not_ended_where_one_of_it_cannot_go_on() {
    let home = Home::with_tokens("group-refused");
    home.plugged("a", &["switch:lab"]);
    let args = ["run", "-d", "--record", "--memory", "16M", "--net", "switch:lab", "--name", "b"];
    home.check(&[&args[..], &["tokens"]].concat());
    home.go(&["a", "b"]);
    home.says(&["snapshot", "--group", "lab", "--tag", "one"], 0);
    home.says(&["snapshot", "b", "own"], 0);
    let pid = home.json(&["inspect", "b"])["pid"].clone();
    for args in [&["b@own"][..], &["--group", "lab@one"]] {
        let said = home.says(&[&["restore", "--parallel"], args].concat(), 8);
        assert!(said.contains("use --turns"), "{said}");
        assert_eq!(home.json(&["inspect", "b"])["pid"], pid, "it was not ended: {args:?}");
        assert_eq!(home.state_of("a"), "running");
    }
    assert_eq!(home.count(&["a", "b"]), 2 * BEGIN);
}

#[test]
fn a_group_goes_on_only_where_there_is_room_for_all_of_it() {
    let Some((total, _)) = omni_host::host_memory() else { return };
    let home = Home::handing_on("group-room");
    home.says(&["snapshot", "--group", "lab", "--tag", "one"], 0);
    ALL.iter().for_each(|name| drop(home.says(&["kill", name], 0)));
    let with_room = |mib: u64| {
        let factor = (mib << 20) as f64 / total as f64;
        let mut restore = home.omni(&["restore", "--group", "lab@one"]);
        restore.env("OMNI_OVERCOMMIT", factor.to_string()).output().expect("it can be started")
    };
    let refused = with_room(40);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(8), "{said}");
    assert!(said.contains("48M of memory is too much"), "{said}");
    assert_eq!(ALL.map(|name| home.state_of(name)), ["stopped"; 3], "none was started");
    assert_eq!(with_room(49).status.code(), Some(0));
    assert_eq!(home.count(&ALL), 3 * BEGIN);
}

#[test]
fn what_cannot_be_removed_of_a_group_is_told_of_and_goes_with_the_next_verb() {
    let home = Home::handing_on("group-stays");
    home.says(&["snapshot", "--group", "lab", "--tag", "one"], 0);
    let lock = home.kept_for("b", "trees", ".lock");
    let blocked = |blocked: bool| {
        if blocked {
            std::fs::remove_file(&lock).expect("there");
            std::fs::create_dir(&lock).expect("free");
        } else {
            std::fs::remove_dir(&lock).expect("empty");
        }
    };
    blocked(true);
    let said = home.says(&["rm", "--group", "lab@one"], 1);
    assert!(said.contains("the part of 'b' in lab@one stays"), "{said}");
    assert!(home.tags("a").is_empty() && home.tags("c").is_empty() && home.tags("b") == ["one"]);
    blocked(false);
    home.says(&["snapshot", "--group", "lab", "--tag", "two"], 0);
    assert_eq!(home.tags("b"), ["two"], "what stayed has gone");
}
