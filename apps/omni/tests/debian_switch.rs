//! Two Debians on a switch, and a transfer between them that lives through a snapshot of both. It
//! needs an image, so it runs where `OMNI_TEST_DEBIAN` names a folder for images and machines:
//! `OMNI_TEST_DEBIAN=/var/tmp/omni cargo test --release -p omni --test debian_switch`.

#[allow(dead_code, reason = "each of the tests with a Debian needs some of it")]
mod installed;

use installed::{Installed, PROMPT};

const MACHINES: [&str; 2] = ["wired1", "wired2"];

/// What both have of the file, once all of it is there.
#[track_caller]
fn sums(home: &Installed) -> [String; 2] {
    let line = "wait; md5sum < /tmp/file; echo is-$((6*7))-summed\n";
    [MACHINES[1], MACHINES[0]].map(|machine| {
        let said = home.typed(machine, line, "is-42-summed");
        let sum = said.lines().find(|line| line.trim().ends_with(" -") && line.len() >= 34);
        sum.unwrap_or_else(|| panic!("no sum: {said}")).trim().to_owned()
    })
}

#[test]
fn two_debians_reach_each_other_and_go_back_to_the_middle_of_a_transfer() {
    let Some(home) = Installed::without(&MACHINES) else { return };
    for (name, address) in MACHINES.into_iter().zip(["10.9.0.1", "10.9.0.2"]) {
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
    let [there, here] = sums(&home);
    assert_eq!(there, here);
    home.typed(MACHINES[1], "rm /tmp/file; echo is-$((4*4))-gone\n", "is-16-gone");
    home.check(&["restore", "--group", "wires@middle"]);
    let [there, again] = sums(&home);
    assert_eq!((there, again), (here.clone(), here));
    home.check(&["rm", "--group", "wires@middle"]);
}
