//! Suites of others: Glulxercise passes wholly.

mod driver;

use driver::{Driver, spec_of, story_path};
use omni_machine::Stop;
use std::collections::BTreeMap;

#[test]
fn glulxercise_passes_wholly() {
    let Some(path) = story_path("glulxercise.ulx") else { return };
    let story = std::fs::read(path).expect("it is there");
    let mut driver = Driver::new(&spec_of(&story, &[]));
    driver.files = Some(BTreeMap::new());
    driver.settle();
    driver.line("all");
    let text = driver.text();
    let failed: Vec<&str> = text.lines().filter(|line| line.contains("FAIL")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(text.contains("All tests passed."), "{text}");
    assert_eq!(driver.line("quit"), Stop::Halted { code: 0 });
}
