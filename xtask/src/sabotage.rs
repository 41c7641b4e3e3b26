//! `cargo xtask sabotage`: plants faults one by one in a copy of the tree and demands that tests
//! fail. A fault that nothing notices is a test that is missing.

use crate::faults::{self, Fault};
use crate::tree;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A fault may make a test hang, which is as good as a failure.
const TEST_TIME_MAX: Duration = Duration::from_secs(300);

/// How a planted fault came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Caught,
    Missed,
    /// The text to replace is not in the file once: the fault has to be written anew.
    NoMatch,
    /// The fault does not compile, so no test was asked.
    NoBuild,
}

/// Plants every fault whose name or file has `word` in it. Says whether all were caught.
pub(crate) fn run(root: &Path, word: &str) -> bool {
    let chosen: Vec<_> =
        faults::all().filter(|f| f.name.contains(word) || f.file.contains(word)).collect();
    let copy = std::env::temp_dir().join("omni-sabotage");
    // Two runs in one copy would see each other's faults. The lock goes with the process.
    let lock = fs::File::create(copy.with_extension("lock"));
    if !lock.as_ref().is_ok_and(|lock| lock.try_lock().is_ok()) {
        println!("another run is at work in {}", copy.display());
        return false;
    }
    if let Err(why) = copy_tree(root, &copy) {
        println!("cannot copy the tree to {}: {why}", copy.display());
        return false;
    }
    let cargo = Cargo { tree: copy.clone(), target: target(root) };
    let commands: BTreeSet<_> = chosen.iter().map(|fault| fault.test).collect();
    for command in commands {
        if !cargo.builds(command) || !cargo.passes(command) {
            println!("cargo test {command} fails without any fault: nothing can be learnt");
            return false;
        }
    }
    let mut good = true;
    for fault in chosen {
        let outcome = plant(&cargo, fault);
        let said = match outcome {
            Outcome::Caught => "CAUGHT",
            Outcome::Missed => "MISSED",
            Outcome::NoMatch => "NO MATCH",
            Outcome::NoBuild => "NO BUILD",
        };
        println!("{said:9} {} ({})", fault.name, fault.file);
        good &= outcome == Outcome::Caught;
    }
    good
}

fn plant(cargo: &Cargo, fault: &Fault) -> Outcome {
    let path = cargo.tree.join(fault.file);
    let Ok(text) = fs::read_to_string(&path) else { return Outcome::NoMatch };
    let Some(broken) = replaced(&text, fault) else { return Outcome::NoMatch };
    if fs::write(&path, broken).is_err() {
        return Outcome::NoMatch;
    }
    let outcome = match cargo.builds(fault.test) {
        false => Outcome::NoBuild,
        true if cargo.passes(fault.test) => Outcome::Missed,
        true => Outcome::Caught,
    };
    fs::write(&path, text).expect("what was written can be written back");
    outcome
}

/// The text with the fault, if the place is there once.
fn replaced(text: &str, fault: &Fault) -> Option<String> {
    let once = text.matches(fault.find).count() == 1;
    once.then(|| text.replace(fault.find, fault.replace))
}

/// Builds and runs tests of the copy.
struct Cargo {
    tree: PathBuf,
    target: PathBuf,
}

impl Cargo {
    fn test(&self, arguments: &str) -> Command {
        let mut command = Command::new("cargo");
        command.args(["test", "-q"]).args(arguments.split(' ').filter(|word| !word.is_empty()));
        command.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        command.env("RUST_BACKTRACE", "0").env("PROPTEST_CASES", "256");
        command.env("PROPTEST_FAILURE_PERSISTENCE", "off");
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command
    }

    fn builds(&self, arguments: &str) -> bool {
        let status = self.test(arguments).arg("--no-run").status();
        status.is_ok_and(|status| status.success())
    }

    fn passes(&self, arguments: &str) -> bool {
        let Ok(mut child) = self.test(arguments).spawn() else { return false };
        let start = Instant::now();
        while start.elapsed() < TEST_TIME_MAX {
            match child.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) => thread::sleep(Duration::from_millis(50)),
                Err(_) => return false,
            }
        }
        // The whole group: cargo would leave the test that hangs behind.
        let group = format!("-{}", child.id());
        drop(Command::new("kill").args(["-KILL", "--", &group]).status());
        drop(child.wait());
        false
    }
}

/// Where the copy is built: beside the rest, so that what is built stays for the next time.
fn target(root: &Path) -> PathBuf {
    let own = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    own.join("sabotage")
}

/// Copies what differs, so that what is built of the rest stays good.
fn copy_tree(root: &Path, copy: &Path) -> std::io::Result<()> {
    let mut here = BTreeSet::new();
    for (name, path) in tree::files(root) {
        let to = copy.join(&name);
        fs::create_dir_all(to.parent().expect("a file is in a directory"))?;
        let content = fs::read(path)?;
        if fs::read(&to).ok().as_ref() != Some(&content) {
            fs::write(&to, content)?;
        }
        here.insert(name);
    }
    for (name, path) in tree::files(copy) {
        if !here.contains(&name) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_finds_its_place_and_changes_it() {
        for fault in faults::all() {
            let text = fs::read_to_string(crate::root().join(fault.file));
            let text = text.unwrap_or_else(|why| panic!("{}: {}: {why}", fault.name, fault.file));
            let broken = replaced(&text, fault);
            let broken = broken.unwrap_or_else(|| panic!("{}: not once in place", fault.name));
            assert_ne!(broken, text, "{}", fault.name);
        }
    }

    #[test]
    fn faults_have_names_of_their_own_and_there_are_enough() {
        let names: BTreeSet<_> = faults::all().map(|fault| fault.name).collect();
        assert_eq!(names.len(), faults::all().count());
        assert!(names.len() >= 15);
    }
}
