//! Processes that are killed in the middle of what they do with snapshots: nothing that was
//! acknowledged is lost, nothing half is shown, and no other machine is stopped. The rounds are a
//! few; `OMNI_KILL_ROUNDS=1000 cargo test -p omni --test kills` is the long run.

use omni_host::TempDir;
use omni_store::Store;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// Rounds where nothing else is asked for.
const ROUNDS: u64 = 15;

/// What is done is killed within this many microseconds.
const DELAY_MAX_US: u64 = 40_000;

struct World {
    dir: TempDir,
    random: u64,
    /// Snapshots that the program said it had taken.
    acknowledged: BTreeSet<String>,
    /// Those that may be there or not: whoever took or removed them was killed.
    open: BTreeSet<String>,
    kills: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let dir = TempDir::new("kills").expect("a writable host");
        fs::write(dir.path().join("story.z5"), omni_vm_zmachine::sample_story()).expect("writable");
        let (acknowledged, open) = (BTreeSet::new(), BTreeSet::new());
        Self { dir, random: seed | 1, acknowledged, open, kills: 0 }
    }

    fn omni(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
        command.env("OMNI_HOME", self.dir.path().join("home")).current_dir(self.dir.path());
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.omni(args).output().expect("it can be started")
    }

    #[track_caller]
    fn objects(&self, args: &[&str]) -> Vec<Value> {
        let output = self.output(&[args, &["--json"]].concat());
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {talk}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }

    fn some_tag(&mut self) -> String {
        let at = self.below(self.acknowledged.len() as u64);
        let at = usize::try_from(at).expect("few");
        self.acknowledged.iter().nth(at).expect("within").clone()
    }

    fn pid(&self) -> Option<u64> {
        self.objects(&["inspect", "m"])[0]["pid"].as_u64()
    }

    /// Does something, kills a process in the middle of it, and says whether it was done.
    fn killed(&mut self, args: &[&str]) -> bool {
        let monitor = self.pid();
        let mut client = self.omni(args).spawn().expect("it can be started");
        let (delay, who) = (self.below(DELAY_MAX_US), self.below(2));
        sleep(Duration::from_micros(delay));
        match monitor.filter(|_| who == 0) {
            Some(pid) => {
                // It may have ended by itself.
                let _ = kill_nine(pid);
            }
            None => {
                let _ = client.kill();
            }
        }
        self.kills += 1;
        finished(client)
    }

    /// What is listed is what was acknowledged, and whole.
    fn look(&mut self) {
        let listed = self.objects(&["snapshots", "m"]);
        let listed: BTreeSet<String> =
            listed.iter().map(|one| one["tag"].as_str().expect("text").to_owned()).collect();
        let lost: Vec<_> = self.acknowledged.difference(&listed).collect();
        assert!(lost.is_empty(), "{lost:?} were acknowledged and are lost");
        for tag in &listed {
            let known = self.acknowledged.contains(tag) || self.open.contains(tag);
            assert!(known, "{tag} is listed, and nobody took it");
        }
        // Who asked for the others was killed: their monitor may still be writing them.
        self.open.retain(|tag| !listed.contains(tag));
        self.acknowledged = listed;
        let store = Store::open(&self.dir.path().join("home/state/store")).expect("it opens");
        store.verify().expect("all that is there is whole");
    }

    /// Forks are whole machines, or are not there.
    fn remove_forks(&self) {
        for machine in self.objects(&["ps"]) {
            let name = machine["name"].as_str().expect("text");
            if name == "m" || name == "bystander" {
                continue;
            }
            if machine["state"] == "created" {
                let started = self.output(&["start", name]);
                let talk = String::from_utf8_lossy(&started.stderr);
                // Its monitor may have come up since.
                let runs = [Some(0), Some(5)].contains(&started.status.code());
                assert!(runs, "a fork that did not start yet does: {talk}");
            }
            let gone = self.output(&["rm", "--force", name]);
            let talk = String::from_utf8_lossy(&gone.stderr);
            assert!(gone.status.success(), "{talk}");
        }
    }

    fn round(&mut self, number: u64) {
        let tag = self.some_tag();
        match self.below(5) {
            0 => {
                let tag = format!("t{number}");
                if self.killed(&["snapshot", "m", &tag]) {
                    self.acknowledged.insert(tag);
                } else {
                    self.open.insert(tag);
                }
            }
            1 => {
                self.killed(&["restore", &format!("m@{tag}")]);
            }
            2 => {
                self.killed(&["fork", &format!("m@{tag}"), "--count", "2"]);
                self.remove_forks();
            }
            3 => {
                self.killed(&["gc"]);
            }
            _ if self.acknowledged.len() > 1 => {
                self.acknowledged.remove(&tag);
                if !self.killed(&["rm", &format!("m@{tag}")]) {
                    self.open.insert(tag);
                }
            }
            _ => {}
        }
        self.look();
        if self.objects(&["inspect", "m"])[0]["state"] != "running" {
            let tag = self.some_tag();
            let back = self.output(&["restore", &format!("m@{tag}")]);
            let talk = String::from_utf8_lossy(&back.stderr);
            assert!(back.status.success(), "m@{tag} was acknowledged: {talk}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for name in String::from_utf8_lossy(&self.output(&["ps", "--quiet"]).stdout).lines().rev() {
            self.output(&["rm", "--force", name]);
        }
    }
}

fn kill_nine(pid: u64) -> bool {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
    killed.is_ok_and(|status| status.success())
}

fn finished(client: Child) -> bool {
    client.wait_with_output().expect("it ends").status.success()
}

#[test]
fn whoever_is_killed_loses_nothing_that_was_acknowledged() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let rounds: u64 = setting("OMNI_KILL_ROUNDS").unwrap_or(ROUNDS);
    let seed = setting("OMNI_KILL_SEED").unwrap_or(0x5eed);
    let mut world = World::new(seed);
    for name in ["m", "bystander"] {
        world.objects(&["run", "--detach", "--name", name, "story.z5"]);
    }
    let bystander = world.objects(&["inspect", "bystander"])[0]["pid"].clone();
    world.objects(&["snapshot", "m", "first"]);
    world.acknowledged.insert("first".into());
    for number in 0..rounds {
        world.round(number);
    }
    assert!(rounds < 5 || world.kills > 0);
    let at_last = &world.objects(&["inspect", "bystander"])[0];
    assert_eq!((&at_last["state"], &at_last["pid"]), (&Value::from("running"), &bystander));
    world.objects(&["gc"]);
    world.look();
}
