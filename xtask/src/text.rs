//! Checks of source text: lengths, module docs, unsafe code, banned words.

use crate::layers::UNSAFE;
use crate::ratchet::Ratchet;

const LINE_COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Names that say nothing of what a file holds.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helpers", "helper", "misc"];

/// Where files, sockets and clocks of the host may be touched.
const OUTSIDE: &[&str] = &[
    "crates/host/",
    "crates/store/",
    "crates/net/",
    "crates/image/",
    "crates/runtimes/",
    "crates/control/",
    "crates/recording/",
    "crates/bench/",
    "apps/",
    "xtask/",
];

/// Where threads may be started.
const THREADS: &[&str] = &[
    "crates/host/",
    "crates/engine/",
    "crates/net/",
    "crates/image/",
    "crates/control/",
    "crates/recording/",
    "crates/bench/",
    "apps/",
    "xtask/",
];

/// A word, what to write instead, the paths where it is right, and whether tests may use it.
struct Banned {
    word: &'static str,
    instead: &'static str,
    allowed: &'static [&'static str],
    in_tests: bool,
}

const fn banned(word: &'static str, instead: &'static str) -> Banned {
    Banned { word, instead, allowed: &[], in_tests: false }
}

const fn kept(
    word: &'static str,
    instead: &'static str,
    allowed: &'static [&'static str],
) -> Banned {
    Banned { word, instead, allowed, in_tests: true }
}

/// This file and the planted faults name what they ban.
const EXEMPT: &[&str] = &["xtask/src/text.rs", "xtask/src/faults.rs"];

const BANNED: &[Banned] = &[
    kept("std::time::", "Tick, or a host clock passed in", OUTSIDE),
    kept("std::thread", "the scheduler of the host", THREADS),
    kept("std::fs", "bytes passed in", OUTSIDE),
    kept("std::net::", "events and effects", OUTSIDE),
    kept("std::env::var", "a value passed in", OUTSIDE),
    kept("std::process::", "an effect", OUTSIDE),
    banned("HashSet<", "BTreeSet, or a vector"),
    banned("FIXME", "an issue, and its number"),
    banned("TODO", "an issue, and its number"),
    banned("XXX", "an issue, and its number"),
    banned("dbg!(", "nothing"),
    banned("todo!(", "code"),
    banned("unimplemented!(", "code"),
    banned("async fn", "a state machine and its events"),
    banned("anyhow::", "an error of the crate"),
    banned("static mut", "a value passed in"),
    banned(".expect(\"failed", "the reason why it cannot fail"),
    kept("../shared", "data of the repository", &[]),
];

pub(crate) fn check(path: &str, text: &str, ratchet: &mut Ratchet, findings: &mut Vec<String>) {
    let lines: Vec<&str> = text.lines().collect();
    if !lines.first().is_some_and(|line| line.starts_with("//! ")) {
        findings.push(format!("{path}:1: starts without a `//!` line that says what it is"));
    }
    let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    if EMPTY_NAMES.contains(&stem) {
        findings.push(format!("{path}: a file is named after what it holds"));
    }
    if path.ends_with("/src/lib.rs") && !text.contains("//! Architecture invariant: ") {
        findings.push(format!("{path}: a crate's head states an `Architecture invariant:`"));
    }
    if let Err(why) = ratchet.allows(path, lines.len(), FILE_LINES_MAX) {
        findings.push(format!("{path}: {why}"));
    }
    check_lines(path, &lines, findings);
    check_unsafe(path, &lines, findings);
    for at in 0..lines.len() {
        let Some((name, length)) = function(&lines[at..]) else { continue };
        if let Err(why) = ratchet.allows(&format!("{path}::{name}"), length, FUNCTION_LINES_MAX) {
            findings.push(format!("{path}:{}: function {name}: {why}", at + 1));
        }
    }
}

fn check_lines(path: &str, lines: &[&str], findings: &mut Vec<String>) {
    let mut in_tests = ["/tests/", "/benches/", "/examples/"].iter().any(|dir| path.contains(dir));
    for (at, line) in lines.iter().enumerate() {
        let place = format!("{path}:{}", at + 1);
        if line.chars().count() > LINE_COLUMNS_MAX && !line.contains("://") {
            findings.push(format!("{place}: over {LINE_COLUMNS_MAX} columns"));
        }
        in_tests |= line.trim() == "#[cfg(test)]";
        if line.trim_start().starts_with("fn test_") && lines[at - 1].trim() == "#[test]" {
            findings.push(format!("{place}: a test is named by the property, without `test_`"));
        }
        for rule in BANNED.iter().filter(|rule| line.contains(rule.word)) {
            let here = rule.allowed.iter().any(|prefix| path.starts_with(prefix));
            let said = EXEMPT.contains(&path) || here || (rule.in_tests && in_tests);
            if !said {
                let Banned { word, instead, .. } = rule;
                findings.push(format!("{place}: `{word}` is banned; use {instead}"));
            }
        }
    }
}

fn check_unsafe(path: &str, lines: &[&str], findings: &mut Vec<String>) {
    for (at, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let starts = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
        if !starts.iter().any(|word| code.contains(word)) || path.starts_with("xtask/") {
            continue;
        }
        let place = format!("{path}:{}", at + 1);
        if !UNSAFE.iter().any(|home| path.starts_with(home)) {
            findings.push(format!("{place}: unsafe code outside of {}", UNSAFE.join(", ")));
        }
        let mut above = lines[at.saturating_sub(8)..=at].iter();
        if !above.any(|line| line.contains("SAFETY:") || line.contains("# Safety")) {
            findings.push(format!("{place}: unsafe without a SAFETY comment"));
        }
    }
}

/// The name and length of the function that starts here. Relies on rustfmt's indentation.
fn function<'a>(lines: &[&'a str]) -> Option<(&'a str, usize)> {
    let trimmed = lines[0].trim_start();
    let words: Vec<_> = trimmed.split(' ').take(6).collect();
    let at = words.iter().position(|word| *word == "fn")?;
    if trimmed.starts_with("//") || trimmed.ends_with(';') {
        return None;
    }
    let name = words.get(at + 1)?.split(['(', '<']).next()?;
    let indent = lines[0].len() - trimmed.len();
    let closes = |line: &&str| line.trim_start() == "}" && line.len() == indent + 1;
    Some((name, lines.iter().position(closes)? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let mut findings = vec![];
        check(path, text, &mut Ratchet::new(""), &mut findings);
        findings
    }

    #[track_caller]
    fn finds(path: &str, text: &str, want: &str) {
        let findings = findings(path, text);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains(want), "{findings:?}");
    }

    #[test]
    fn each_check_finds_its_fault() {
        let a = "crates/x/src/a.rs";
        finds(a, "fn a() {}\n", "starts without");
        finds(a, "//! A.\nuse std::time::Instant;\n", "is banned");
        finds(a, "//! A.\nuse std::fs;\n", "is banned");
        finds(a, "//! A.\n#[test]\nfn test_a() {}\n", "by the property");
        finds(
            a,
            "//! A.\nfn a() {\n    // SAFETY: no.\n    let a = unsafe { b() };\n}\n",
            "outside",
        );
        finds("crates/memory/src/a.rs", "//! A.\nunsafe impl Send for A {}\n", "SAFETY");
        finds(a, &format!("//! A.\nfn a() {{\n{}}}\n", "    a();\n".repeat(70)), "72 lines");
        finds(a, &format!("//! A.\n// {}\n", "a".repeat(100)), "columns");
        finds(a, &format!("//! A.\n{}", "\n".repeat(800)), "801 lines");
        finds("crates/x/src/util.rs", "//! A.\n", "named after");
        finds("crates/x/src/lib.rs", "//! A.\n", "invariant");
    }

    #[test]
    fn what_is_right_in_its_place_is_not_found() {
        let fine = [
            ("crates/host/src/a.rs", "//! A.\nuse std::time::Instant;\n"),
            ("crates/x/tests/a.rs", "//! A.\nuse std::fs;\n// ../shared/data\n"),
            ("crates/x/src/a.rs", "//! A.\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"),
            ("crates/x/src/a.rs", "//! A.\nfn a() {\n    a();\n}\n"),
            ("crates/memory/src/a.rs", "//! A.\n// SAFETY: yes.\nunsafe impl Send for A {}\n"),
            ("crates/x/src/lib.rs", "//! A.\n//!\n//! Architecture invariant: none.\n"),
        ];
        for (path, text) in fine {
            assert!(findings(path, text).is_empty(), "{:?}", findings(path, text));
        }
    }
}
