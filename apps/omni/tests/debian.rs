//! Debian as a whole: its image is built, and a machine made from it boots, logs in who types at
//! it, installs a package over the network, and keeps what it did. It takes minutes and the
//! network, so it runs where `OMNI_TEST_DEBIAN` names a folder for images and machines:
//! `OMNI_TEST_DEBIAN=/var/tmp/omni cargo test --release -p omni --test debian`.

use omni_image::Mirror;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Held while the image is looked for and built.
static BUILD: Mutex<()> = Mutex::new(());

/// What each part may take on a slow host.
const LIMIT: &str = "600s";

struct Home {
    folder: PathBuf,
    /// The machine that a test makes here.
    machine: &'static str,
}

impl Home {
    fn omni(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
        command.env("OMNI_HOME", &self.folder).args(args);
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.omni(args).stdin(Stdio::null()).output().expect("it can be started")
    }

    /// Types a script at the console, and gives the console's lines.
    #[track_caller]
    fn typed(&self, args: &[&str], script: &str) -> Vec<String> {
        let mut child = self
            .omni(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(script.as_bytes()).expect("someone reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {talk}\n{text}");
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The image stays for the next time.
        self.output(&["rm", "--force", self.machine]);
    }
}

/// The folder to work in, with the image; none where this cannot be tested here.
fn home(machine: &'static str) -> Option<Home> {
    let mut err = std::io::stderr();
    let mut skip = |why: &str| {
        // A test that cannot say so is skipped all the same.
        let _ = writeln!(err, "Debian as a whole is not tested: {why}");
        None
    };
    let Some(folder) = std::env::var_os("OMNI_TEST_DEBIAN") else {
        return skip("OMNI_TEST_DEBIAN names no folder for it");
    };
    if Mirror::of_host().is_err() {
        return skip("the host's apt sources name no mirror");
    }
    let home = Home { folder: folder.into(), machine };
    let _one_at_a_time = BUILD.lock().unwrap_or_else(PoisonError::into_inner);
    if !home.output(&["image", "inspect", "debian"]).status.success() {
        let built = home.output(&["image", "build", "debian"]);
        let talk = String::from_utf8_lossy(&built.stderr);
        if talk.contains("cannot fetch") {
            return skip("the mirror cannot be reached");
        }
        assert!(built.status.success(), "{talk}");
    }
    Some(home)
}

#[track_caller]
fn has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|said| said == line), "no line {line:?} in:\n{}", lines.join("\n"));
}

#[test]
fn a_machine_of_debian_boots_installs_and_keeps_what_it_did() {
    let Some(home) = home("first") else { return };
    let script = "uname -m\nsystemctl is-system-running --wait\n\
                  apt-get update && apt-get install -y hello\nhello\n\
                  stat -c '%U:%G %a %n' /etc/shadow /usr/bin/passwd /tmp /root\n\
                  echo kept > /root/kept\npoweroff\n";
    let said = home.typed(&["run", "--name", "first", "--timeout", LIMIT, "debian"], script);
    assert!(said.iter().any(|line| line.contains("omnivisor login:")), "{}", said.join("\n"));
    for line in [
        "riscv64",
        "running",
        "Hello, world!",
        "root:shadow 640 /etc/shadow",
        "root:root 4755 /usr/bin/passwd",
        "root:root 1777 /tmp",
        "root:root 700 /root",
    ] {
        has(&said, line);
    }
    // It goes on where it was; another machine knows nothing of it.
    let said = home.typed(&["start", "--attach", "first"], "cat /root/kept; hello\npoweroff\n");
    has(&said, "kept");
    has(&said, "Hello, world!");
    let args = ["run", "--rm", "--size", "6G", "--timeout", LIMIT, "debian"];
    let said = home.typed(&args, "ls /root/kept\ndf --output=size -BG /\npoweroff\n");
    assert!(said.iter().any(|line| line.contains("No such file")), "{}", said.join("\n"));
    has(&said, "       6G");
}

#[test]
fn a_machine_that_nobody_types_at_waits_at_its_login_and_ends_by_its_power_button() {
    let Some(home) = home("waiting") else { return };
    let started = home.output(&["run", "-d", "--name", "waiting", "--timeout", LIMIT, "debian"]);
    assert!(started.status.success());
    let until = Instant::now() + Duration::from_secs(600);
    loop {
        let log = home.output(&["logs", "waiting"]).stdout;
        let log = String::from_utf8_lossy(&log);
        if log.contains("omnivisor login: ") {
            assert!(!log.contains("automatic login"), "nobody is let in unasked");
            break;
        }
        assert!(Instant::now() < until, "no login came:\n{log}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let stopped = home.output(&["stop", "waiting", "--json", "--time", "200s"]);
    let said = String::from_utf8_lossy(&stopped.stdout);
    assert!(said.contains("\"exit_code\":0") && said.contains("\"forced\":false"), "{said}");
}
