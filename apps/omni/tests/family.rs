//! The program from outside: forks that share the monitor process of a live machine.

#[allow(dead_code, reason = "each of the tests of the program needs some of it")]
mod home;

use home::{Home, text};
use serde_json::Value;
use std::fs;
use std::process::Command;

impl Home {
    /// The machines in one of these states, and the processes that they live in.
    #[track_caller]
    fn in_state(&self, state: &str) -> (Vec<String>, Vec<u64>) {
        let all: Vec<Value> =
            self.objects(&["ps", "--all"]).into_iter().filter(|m| m["state"] == state).collect();
        let names: Vec<String> = all.iter().map(|m| text(m, "name").to_owned()).collect();
        let pid = |name: &String| self.json(&["inspect", name])["pid"].as_u64();
        let mut pids: Vec<u64> = names.iter().filter_map(pid).collect();
        pids.dedup();
        (names, pids)
    }
}

fn resumed(home: &Home, name: &str) -> String {
    home.says(&["resume", name], 0);
    home.answered(name, "three")
}

#[test]
fn forks_of_a_live_machine_share_its_process_and_end_each_alone() {
    let home = Home::new("family-story");
    home.run("m", &["story.z5"]);
    home.answered("m", "one");
    let forks = home.objects(&["fork", "m", "--count", "8"]);
    let names: Vec<&str> = forks.iter().map(|fork| text(fork, "name")).collect();
    assert_eq!(names.len(), 8);
    for fork in &forks {
        assert!(fork["start_ms"].is_number() && fork["private_bytes"].is_u64(), "{fork}");
        let said = home.answered(text(fork, "id"), "two");
        assert!(said.contains("Line 2,"), "each goes on from what was: {said}");
    }
    let (running, pids) = home.in_state("running");
    assert_eq!((running.len(), pids.len()), (9, 1), "{running:?} {pids:?}");
    // By the plug, by the button, by the end of its own, and altogether.
    home.says(&["kill", names[0]], 0);
    assert_eq!(home.json(&["inspect", names[0]])["exit_code"], 137);
    let stopped = home.json(&["stop", names[1]]);
    assert_eq!(stopped["exit_code"], 0, "{stopped}");
    home.says(&["rm", "--force", names[2]], 0);
    home.says(&["inspect", names[2]], 3);
    // That they came from one that has gone does not matter to them, nor that it comes again.
    home.says(&["kill", "m"], 0);
    assert!(home.answered(names[3], "three").contains("Line 3,"));
    home.says(&["start", "m"], 0);
    let (running, pids) = home.in_state("running");
    assert_eq!((running.len(), pids.len()), (6, 2), "{running:?} {pids:?}");
    // A fork is forked, held, told of and logged as any machine is.
    let second = home.json(&["fork", names[3]]);
    assert!(home.answered(text(&second, "name"), "four").contains("Line 4,"));
    home.says(&["pause", names[4]], 0);
    assert_eq!(home.json(&["inspect", names[4]])["state"], "paused");
    assert!(home.json(&["stats", names[5]])["private_bytes"].is_u64());
    assert!(home.says(&["logs", names[3]], 0).contains("Line 3,"));
    for name in home.in_state("running").0 {
        home.says(&["kill", &name], 0);
    }
    assert!(resumed(&home, names[4]).contains("Line 3,"), "the last one still lives");
}

#[test]
fn a_process_that_is_killed_fails_all_its_machines_and_others_go_on() {
    let home = Home::new("family-killed");
    home.run("m", &["--memory", "16M", "counter"]);
    home.typed("m", "x", 'a');
    let forks = home.objects(&["fork", "m", "--count", "2"]);
    let apart = home.json(&["fork", "m", "--apart"]);
    for fork in &forks {
        home.typed(text(fork, "id"), "x", 'b');
    }
    let name = text(&forks[0], "name");
    home.says(&["snapshot", name, "own"], 0);
    home.typed(name, "x", 'c');
    let pid = home.json(&["inspect", "m"])["pid"].to_string();
    let own = home.json(&["inspect", text(&apart, "name")])["pid"].to_string();
    assert_ne!(pid, own);
    let killed = Command::new("kill").args(["-9", &pid]).status().expect("there is a kill");
    assert!(killed.success());
    // The process may take a moment to go.
    while home.in_state("failed").0.len() < 3 {
        std::thread::yield_now();
    }
    home.typed(text(&apart, "name"), "x", 'b');
    home.says(&["restore", &format!("{name}@own")], 0);
    home.typed(name, "x", 'c');
    home.says(&["rm", "m"], 0);
    home.says(&["start", text(&forks[1], "name")], 0);
    home.typed(text(&forks[1], "name"), "x", 'a');
}

#[test]
fn forks_that_cannot_all_be_had_leave_none() {
    let home = Home::new("family-none");
    home.run("m", &["story.z5"]);
    home.answered("m", "one");
    home.says(&["fork", "m", "--count", "0"], 2);
    home.says(&["fork", "m", "--count", "5001"], 2);
    let machines = home.dir.path().join("home/state/machines");
    let full = home.says(&["fork", "m", "--count", "2", "--publish", "nonsense"], 2);
    assert!(full.contains("--publish"), "{full}");
    assert_eq!(home.objects(&["ps"]).len(), 1);
    let folders = fs::read_dir(&machines).expect("there").filter_map(Result::ok);
    let folders = folders.map(|item| item.path()).filter(|path| path.is_dir());
    let folders = folders.filter(|path| !path.ends_with("names")).count();
    assert_eq!(folders, 1, "nothing half made is left");
    home.says(&["kill", "m"], 0);
    home.says(&["fork", "m"], 5);
}
