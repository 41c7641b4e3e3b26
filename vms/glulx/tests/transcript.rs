//! Transcripts are those of `glulxe` with CheapGlk, line for line.

#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

mod driver;

use driver::{Driver, spec_of, story_path};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the peer prints. Its binary, built with CheapGlk as Debian's is not, is named by a
/// variable of the environment.
fn glulxe(story: &Path, lines: &[&str]) -> Option<String> {
    let Some(bin) = std::env::var_os("OMNI_GLULXE") else {
        println!("skipped: OMNI_GLULXE names no glulxe that was built with CheapGlk");
        return None;
    };
    let mut command = Command::new(bin);
    command.args(["-q", "-u"]).arg(story).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("glulxe starts");
    let mut input = child.stdin.take().expect("piped");
    let script: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // A story may end before its input does.
    let _ = input.write_all(script.as_bytes());
    drop(input);
    let mut output = Vec::new();
    let mut stdout = child.stdout.take().expect("piped");
    std::io::Read::read_to_end(&mut stdout, &mut output).expect("glulxe prints");
    child.wait().expect("glulxe ends");
    Some(String::from_utf8_lossy(&output).into_owned())
}

/// Lines without what tells interpreters or moments apart.
fn plain(text: &str) -> Vec<String> {
    let own = ["Interpreter version", "Random ", "(Deleting"];
    let kept = text.lines().filter(|line| !own.iter().any(|own| line.contains(own)));
    // Numbers of objects are each library's own.
    let number = |line: &str| match line.split_once(", rock=") {
        Some((head, rock)) => format!("{}, rock={rock}", head.trim_end_matches(char::is_numeric)),
        // The sign of what is no number is the peer's host's.
        None => line.trim_end().replace("-NaN", "NaN"),
    };
    kept.map(number).collect()
}

/// Whether two lines say the same, but for the last place of a double that a function gave.
fn same(expected: &str, got: &str) -> bool {
    let words = |line: &str| -> Vec<String> {
        let line = line.replace(" (plus epsilon)", "").replace(" (minus epsilon)", "");
        line.split(' ').map(str::to_owned).collect()
    };
    let low = |word: &str| {
        let (high, low) = word.trim_end_matches([',', '.']).rsplit_once(":$")?;
        Some((high.to_owned(), i64::from_str_radix(low, 16).ok()?))
    };
    let near = |(a, b): (&String, &String)| {
        let pair = low(a).zip(low(b));
        a == b || pair.is_some_and(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() <= 2)
    };
    let (expected, got) = (words(expected), words(got));
    expected.len() == got.len() && expected.iter().zip(&got).all(near)
}

#[test]
fn glulxercise_prints_what_glulxe_prints() {
    let Some(path) = story_path("glulxercise.ulx") else { return };
    let story = std::fs::read(&path).expect("it is there");
    let lines = ["all", "quit"];
    let Some(expected) = glulxe(&path, &lines) else { return };
    let mut driver = Driver::new(&spec_of(&story, &[]));
    driver.files = Some(BTreeMap::new());
    driver.settle();
    for line in lines {
        driver.line(line);
    }
    let (expected, got) = (plain(&expected), plain(&driver.text()));
    for (n, (expected, got)) in expected.iter().zip(&got).enumerate() {
        assert!(same(expected, got), "line {}: {expected}\n{got}", n + 1);
    }
    assert_eq!(expected.len(), got.len());
}
