//! What tests with a Debian have in common: the folder with its image, which stays, and the
//! machines that they make there, which do not.

use omni_image::Mirror;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What the shell of the image says when it takes a line.
pub(crate) const PROMPT: &str = "root@omnivisor:~# ";

/// How long a guest may take to say something on a slow host.
const LIMIT: Duration = Duration::from_secs(300);

/// The folder to work in, with the image `debian-minimal`.
pub(crate) struct Installed {
    dir: PathBuf,
    /// Machines that there are none of before and after the test.
    machines: &'static [&'static str],
}

impl Installed {
    /// The folder, without these machines; none where this cannot be tested here, which is said.
    pub(crate) fn without(machines: &'static [&'static str]) -> Option<Self> {
        let skip = |why: &str| {
            // A test that cannot say so is skipped all the same.
            let _ = writeln!(std::io::stderr(), "skipped: {why}");
            None
        };
        let Some(dir) = std::env::var_os("OMNI_TEST_DEBIAN") else {
            return skip("OMNI_TEST_DEBIAN names no folder for it");
        };
        let home = Self { dir: dir.into(), machines };
        home.remove();
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

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn omni(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
        command.env("OMNI_HOME", &self.dir).args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.omni(args).output().expect("it can be started")
    }

    /// What it says where it must not fail.
    #[track_caller]
    pub(crate) fn check(&self, args: &[&str]) -> Vec<u8> {
        let output = self.output(args);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {talk}");
        output.stdout
    }

    /// Types a line, and gives what is said until `end`.
    #[track_caller]
    pub(crate) fn typed(&self, machine: &str, line: &str, end: &str) -> String {
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

    /// Waits until the console's log has this text, and gives all of it.
    #[track_caller]
    pub(crate) fn await_log(&self, machine: &str, text: &str) -> String {
        let until = Instant::now() + LIMIT;
        loop {
            let log = self.output(&["logs", machine]).stdout;
            let log = String::from_utf8_lossy(&log).into_owned();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < until, "no {text:?} came:\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn remove(&self) {
        self.machines.iter().for_each(|name| drop(self.output(&["rm", "--force", name])));
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // The image stays for the next time.
        self.remove();
    }
}
