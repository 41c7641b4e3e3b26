//! Two Debians on a switch, and a transfer between them that lives through a snapshot of both. It
//! needs an image, so it runs where `OMNI_TEST_DEBIAN` names a folder for images and machines:
//! `OMNI_TEST_DEBIAN=/var/tmp/omni cargo test --release -p omni --test debian_switch`.

use omni_image::Mirror;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const MACHINES: [&str; 2] = ["wired1", "wired2"];

/// What the shell of the image says when it takes a line.
const PROMPT: &str = "root@omnivisor:~# ";

struct Home(PathBuf);

impl Home {
    /// The folder to work in, with the image; none where this cannot be tested here.
    fn new() -> Option<Self> {
        let mut err = std::io::stderr();
        let mut skip = |why: &str| {
            // A test that cannot say so is skipped all the same.
            let _ = writeln!(err, "Debians on a switch are not tested: {why}");
            None
        };
        let Some(folder) = std::env::var_os("OMNI_TEST_DEBIAN") else {
            return skip("OMNI_TEST_DEBIAN names no folder for it");
        };
        let home = Self(folder.into());
        if home.output(&["image", "inspect", "debian-minimal"]).status.success() {
            return Some(home);
        }
        if Mirror::of_host().is_err() {
            return skip("the host's apt sources name no mirror");
        }
        let built = home.output(&["image", "build", "debian-minimal"]);
        let talk = String::from_utf8_lossy(&built.stderr);
        if talk.contains("cannot fetch") {
            return skip("the mirror cannot be reached");
        }
        assert!(built.status.success(), "{talk}");
        Some(home)
    }

    fn omni(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
        command.env("OMNI_HOME", &self.0).args(args).stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.omni(args).output().expect("it can be started")
    }

    #[track_caller]
    fn check(&self, args: &[&str]) {
        let output = self.output(args);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {talk}");
    }

    /// Types a line, and gives what is said until `end`.
    #[track_caller]
    fn typed(&self, machine: &str, line: &str, end: &str) -> String {
        let mut attach = self.omni(&["attach", machine]);
        let attach = attach.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = attach.spawn().expect("it can be started");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(line.as_bytes()).expect("someone reads");
        let (mut said, mut some) = (Vec::new(), [0; 4096]);
        let mut stdout = child.stdout.take().expect("piped");
        while !String::from_utf8_lossy(&said).contains(end) {
            let count = stdout.read(&mut some).expect("readable");
            assert!(count > 0, "no answer came: {}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&some[..count]);
        }
        // The machine is not its own, and runs on.
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        String::from_utf8_lossy(&said).into_owned()
    }

    /// What both have of the file, once all of it is there.
    #[track_caller]
    fn sums(&self) -> [String; 2] {
        let line = "wait; md5sum < /tmp/file; echo is-$((6*7))-summed\n";
        [MACHINES[1], MACHINES[0]].map(|machine| {
            let said = self.typed(machine, line, "is-42-summed");
            let sum = said.lines().find(|line| line.trim().ends_with(" -") && line.len() >= 34);
            sum.unwrap_or_else(|| panic!("no sum: {said}")).trim().to_owned()
        })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The image stays for the next time.
        MACHINES.iter().for_each(|name| drop(self.output(&["rm", "--force", name])));
        self.output(&["rm", "--group", "wires@middle"]);
    }
}

#[test]
fn two_debians_reach_each_other_and_go_back_to_the_middle_of_a_transfer() {
    let Some(home) = Home::new() else { return };
    for (name, address) in MACHINES.into_iter().zip(["10.9.0.1", "10.9.0.2"]) {
        home.output(&["rm", "--force", name]);
        let args = ["run", "-d", "--memory", "256M", "--net", "switch:wires", "--name", name];
        home.check(&[&args[..], &["debian-minimal"]].concat());
        home.typed(name, "\n", PROMPT);
        let line = format!(
            "ip addr add {address}/24 dev eth0; ip link set eth0 up; echo is-$((5*5))-up\n"
        );
        home.typed(name, &line, "is-25-up");
    }
    let said = home.typed(MACHINES[0], "ping -c 3 -W 60 10.9.0.2\n", "round-trip");
    assert!(said.contains(" 0% packet loss"), "{said}");
    let line = "ip -6 addr show dev eth0; echo is-$((3*3))-all\n";
    let said = home.typed(MACHINES[1], line, "is-9-all");
    let address = said.split_whitespace().find(|word| word.starts_with("fe80::"));
    let address = address.and_then(|word| word.split('/').next()).expect("one of the link");
    let line = format!("ping -c 2 -W 60 {address}%eth0\n");
    let said = home.typed(MACHINES[0], &line, "round-trip");
    assert!(said.contains(" 0% packet loss"), "{said}");
    // A transfer, and a snapshot of both in the middle of it.
    let make = "dd if=/dev/urandom of=/tmp/file bs=1M count=24 2>/dev/null; httpd -h /tmp; \
                echo is-$((8*8))-made\n";
    home.typed(MACHINES[0], make, "is-64-made");
    let get = "wget -q -O /tmp/file http://10.9.0.1/file & echo is-$((9*9))-sent\n";
    home.typed(MACHINES[1], get, "is-81-sent");
    home.output(&["rm", "--group", "wires@middle"]);
    home.check(&["snapshot", "--group", "wires", "--tag", "middle"]);
    let [there, here] = home.sums();
    assert_eq!(there, here);
    home.typed(MACHINES[1], "rm /tmp/file; echo is-$((4*4))-gone\n", "is-16-gone");
    home.check(&["restore", "--group", "wires@middle"]);
    let [there, again] = home.sums();
    assert_eq!((there, again), (here.clone(), here));
}
