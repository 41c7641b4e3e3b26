//! The public test suites of the Z-machine report no failure.

mod driver;

use driver::{Driver, spec_of, story_path};
use omni_machine::Stop;

#[test]
fn czech_reports_no_failure() {
    let Some(path) = story_path("czech.z5") else { return };
    let story = std::fs::read(path).expect("it is there");
    let mut driver = Driver::new(&spec_of(&story, &[("screen", "stream")]));
    assert_eq!(driver.settle(), Stop::Halted { code: 0 });
    let text = driver.text();
    assert!(text.contains("Passed: 406, Failed: 0"), "{text}");
}

#[test]
fn praxix_reports_no_failure() {
    let Some(path) = story_path("praxix.z5") else { return };
    let story = std::fs::read(path).expect("it is there");
    let mut driver = Driver::new(&spec_of(&story, &[("screen", "stream")]));
    driver.settle();
    driver.line("all");
    let text = driver.text();
    assert!(text.contains("All tests passed."), "{text}");
    assert_eq!(driver.line("quit"), Stop::Halted { code: 0 });
}
