//! The program from outside, on a file system that fills up: one in memory that only these
//! processes see. Where the host lets nobody make one, that is said, and nothing is tested.

#[allow(dead_code, reason = "each of the tests of the program needs some of it")]
mod home;

use home::Home;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set in the process that sees the file system.
const CHILD: &str = "OMNI_TEST_FULL";

/// Mounts a small file system at its first argument, and goes on as the rest of them.
const SCRIPT: &str = r#"mount -t tmpfs -o size=24m none "$0" && exec "$@""#;

#[test]
fn a_file_system_that_fills_up_stops_no_machine_and_loses_nothing() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let dir = omni_host::TempDir::new("full").expect("a writable host");
    let on_it = |program: &Path| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", SCRIPT]).arg(dir.path()).arg(program);
        command
    };
    let able = on_it(Path::new("true")).output();
    if !able.is_ok_and(|output| output.status.success()) {
        // A test that cannot say so is skipped all the same.
        let _ = writeln!(std::io::stderr(), "no file system of one's own here: nothing is tested");
        return;
    }
    let mut command = on_it(&std::env::current_exe().expect("it runs"));
    command.args(["--exact", "the_life_on_a_small_file_system", "--nocapture"]);
    let output = command.env(CHILD, "1").env("TMPDIR", dir.path()).output().expect("as before");
    let said = String::from_utf8_lossy(&output.stdout);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{talk}");
    assert!(said.contains("1 passed"), "{said}");
}

/// Takes all room that is left on the file system of a folder.
fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    let mut file = File::create(&path).expect("there is room for a name");
    for size in [1 << 16, 1 << 12, 1] {
        let some = vec![7; size];
        while file.write_all(&some).is_ok() {}
    }
    path
}

/// Not a test of its own: what the one above does where it sees the file system.
#[test]
fn the_life_on_a_small_file_system() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let home = Home::new("full-life");
    home.run("m", &["--memory", "16M", "--record", "counter"]);
    home.typed("m", "x", 'a');
    home.check(&["snapshot", "m", "one"]);
    home.run("idle", &["--memory", "16M", "counter"]);
    home.typed("idle", "x", 'a');
    let filler = fill(home.dir.path());
    for args in [
        &["snapshot", "m", "two"][..],
        &["restore", "m@one"],
        &["fork", "m@one"],
        &["fork", "m"],
        &["record", "idle"],
        &["export", "m@one", "file"],
    ] {
        let output = home.output(args);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && talk.contains("No space left"), "{args:?}: {talk}");
    }
    // Whether there is room to clean up or not.
    home.output(&["gc"]);
    // Nobody was stopped, and nobody was added.
    home.typed("m", "x", 'b');
    home.typed("idle", "x", 'b');
    assert_eq!(home.objects(&["ps", "--all"]).len(), 2);
    assert_eq!(home.objects(&["snapshots", "m"]).len(), 1);
    OpenOptions::new().write(true).open(&filler).expect("ours").set_len(0).expect("ours");
    home.check(&["snapshot", "m", "two"]);
    home.check(&["record", "idle"]);
    home.typed("idle", "x", 'c');
    home.check(&["restore", "m@one"]);
    home.typed("m", "x", 'b');
    home.check(&["gc", "--compress"]);
    home.check(&["restore", "m@two"]);
    home.typed("m", "x", 'c');
    assert_eq!(home.objects(&["snapshots", "m"]).len(), 2);
}
