//! Tests of interpreters that come by package, run from outside, beside the host's own.
#![allow(clippy::print_stderr, reason = "a test whose peer is absent says so")]

#[allow(dead_code, reason = "each of the tests of the program needs some of it")]
mod home;

use home::Home;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// A home whose interpreter is fetched, or nothing where no package client of the host has it.
fn home_with(name: &str, first: &[&str]) -> Option<Home> {
    let home = Home::new(name);
    let output = home.output(&[&["run", "--rm"], first].concat());
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    if talk.contains("did not fetch") || talk.contains("cannot be started") {
        eprintln!("skipped: no package of an interpreter can be had here: {talk}");
        return None;
    }
    assert_eq!((&output.stdout[..], output.status.code()), (&b"42\n"[..], Some(0)), "{talk}");
    assert!(talk.contains("starts once"), "{talk}");
    Some(home)
}

fn fed(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    // A script that reads nothing may have ended already.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

/// What a script says that ends in an order that an interpreter is to keep.
const ENDS: &str = "import atexit, sys
atexit.register(print, 'atexit')
class Told:
    def __del__(self): print('gone', sys is None)
a, b = Told(), Told()
b.own = b
try: 1 / 0
except ZeroDivisionError as error: kept = error
def f(x):
    if x: f(x - 1)
    raise ValueError('no')
print(sys.argv[1:], repr(sys.stdin.read()), __name__)
f(2)
";

#[test]
fn a_script_cannot_tell_an_interpreter_that_was_kept_from_one_of_the_host() {
    let Some(home) = home_with("python", &["python", "-c", "print(6 * 7)"]) else { return };
    home.write("ends.py", ENDS.as_bytes());
    home.write("code.py", b"import sys; print(1); sys.exit('bye')\n");
    home.write("wrong.py", b"x = (\n");
    let cases: &[&[&str]] = &[
        &["ends.py", "a b", "-m", "--rm"],
        &["code.py"],
        &["wrong.py"],
        &["-c", "import sys; print(sys.argv); raise SystemExit(300)", "-c", "x"],
        &["-c", "import sys; sys.excepthook = lambda *all: print('own', all[0]); 1/0"],
        &["-c", "import json, sys; print(json.dumps(sys.stdin.readlines()))"],
        &["-m", "calendar", "2024", "2"],
        &["-O", "-c", "print(__debug__)"],
        &["-"],
        &[],
    ];
    for case in cases {
        let input = b"print(3)\nprint('\xc3\xa4')\n";
        let own =
            fed(home.omni(&[&["run", "--rm", "--dir", ".", "python"], *case].concat()), input);
        assert!(own.status.code().is_some_and(|code| code < 125), "{case:?}: {own:?}");
        let mut python = Command::new("python3");
        python.args(*case).current_dir(home.dir.path()).env("PYTHONUTF8", "1");
        if python.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).status().is_err()
        {
            eprintln!("skipped: there is no python3 to compare with");
            return;
        }
        let host = fed(python, input);
        // The host's names of folders are others, and its carets too where its version is.
        let plain = |bytes: &[u8]| {
            let text =
                String::from_utf8_lossy(bytes).replace(&*home.dir.path().to_string_lossy(), "");
            let carets = |line: &&str| !line.trim().bytes().all(|byte| b"~^".contains(&byte));
            text.lines().filter(carets).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(plain(&own.stdout), plain(&host.stdout), "{case:?}: {own:?}");
        assert_eq!(plain(&own.stderr), plain(&host.stderr), "{case:?}");
        assert_eq!(own.status.code(), host.status.code(), "{case:?}");
    }
}

#[test]
fn an_interpreter_is_kept_forked_for_each_script_and_taken_up_again_once_it_has_ended() {
    let Some(home) = home_with("python-kept", &["python", "-c", "print(6 * 7)"]) else { return };
    std::fs::create_dir(home.dir.path().join("in")).expect("writable");
    home.write("in/f", b"hello");
    let run = ["run", "--rm", "--dir", "in:/data/in", "--env", "A=b", "python", "-c"];
    let script =
        "import os; print(open('/data/in/f').read(), os.environ['A'], os.listdir('/data'))";
    let all = [&run[..], &[script]].concat();
    assert_eq!(home.fails(&all, 0), ("hello b ['in']\n".into(), String::new()));
    let none = home.says(&["run", "--rm", "python", "-c", "open('/data/in/f')"], 1);
    assert!(none.contains("No such file"), "{none}");
    // What two of them draw by chance is not the same.
    let draw =
        ["run", "--rm", "python", "-c", "import os, random; print(os.urandom(8), random.random())"];
    assert_ne!(home.check(&draw), home.check(&draw));
    let warm = home.check(&["ps", "--quiet"]);
    let warm = warm.trim();
    assert_eq!(home.json(&["inspect", warm])["name"], "warm-python-1");
    home.check(&["kill", warm]);
    assert_eq!(home.check(&all), "hello b ['in']\n", "it goes on from its snapshot");
    assert_eq!(home.check(&["ps", "--quiet"]).trim(), warm);
    home.check(&["rm", "--force", warm]);
    assert_eq!(home.check(&all), "hello b ['in']\n", "another is made");
    // A script is a machine: it has a name, is recorded, and is replayed without its files.
    let script = "print(open('/data/in/f').read())";
    let name = ["run", "--name", "one", "--record", "--dir", "in:/data/in", "python", "-c", script];
    assert_eq!(home.check(&name), "hello\n");
    std::fs::remove_file(home.dir.path().join("in/f")).expect("there");
    let replayed = home.says(&["replay", "one", "--console"], 0);
    assert!(replayed.contains("hello"), "{replayed}");
    let again = home.says(&["run", "--name", "one", "python", "-c", "1"], 4);
    assert!(again.contains("one"), "{again}");
}

#[test]
fn a_script_in_perl_does_as_by_the_interpreter_of_the_host_and_reads_no_file_but_itself() {
    let Some(home) = home_with("perl", &["perl", "-e", "print 6 * 7, qq(\\n)"]) else { return };
    let script = b"use strict; use List::Util 'sum'; $| = 1;\nprint sum(1..4), \" @ARGV $0\\n\";\n\
        while (<STDIN>) { print \"got $_\" }\nEND { print \"end\\n\" }\ndie \"no\\n\" if @ARGV;\n\
        print scalar <DATA>;\n__END__\nlast\n";
    home.write("x.pl", script);
    home.write("other", b"secret");
    let cases: &[&[&str]] = &[
        &["x.pl"],
        &["-w", "x.pl", "a", "-b"],
        &["-lane", "print $F[0]"],
        &["-e", "exit 3"],
        &["-"],
    ];
    for case in cases {
        let input = b"print 3; # 4\n";
        let own = fed(home.omni(&[&["run", "--rm", "perl"], *case].concat()), input);
        let mut perl = Command::new("perl");
        perl.args(*case).current_dir(home.dir.path());
        if perl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            eprintln!("skipped: there is no perl to compare with");
            return;
        }
        assert_eq!(own, fed(perl, input), "{case:?}");
    }
    home.write(
        "y.pl",
        b"print -e 'other' ? 1 : 0; open(my $f, '>>', 'y.pl') or print qq( $!\\n);\n",
    );
    let said = home.check(&["run", "--rm", "perl", "y.pl"]);
    assert!(said.starts_with('0') && said.contains("Read-only"), "{said}");
    let warm = home.check(&["ps", "--quiet"]);
    home.check(&["kill", warm.trim()]);
    assert_eq!(home.check(&["run", "--rm", "perl", "-e", "print 5"]), "5");
}
