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
