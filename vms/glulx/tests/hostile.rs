//! Damaged stories, odd slices and hostile input: a message and an end, never a panic.

mod driver;

use driver::{Driver, spec_of, story_path};
use omni_base::Tick;
use omni_machine::{Confidence, Event, Kick, MachineKind, PortId, Stop};
use omni_vm_glulx::{Glulx, sample_story};
use std::collections::BTreeMap;

const LINES: [&str; 9] = ["x", "!", "x", "s", "game", "u", "n", "x", "q"];

/// Runs a story that may be anything, with some input.
fn run_any(story: &[u8], ticks: u64) {
    let spec = spec_of(story, &[("memory", "1M"), ("undo", "2")]);
    let Ok(mut machine) = Glulx.create(&spec) else { return };
    let mut effects = Vec::new();
    for round in 1..=4 {
        let bytes = b"x\nall\n\ns\nu\nq\n".to_vec();
        machine.apply(&Event::Input { port: PortId(0), bytes }, &mut effects);
        let stop = machine.run(Tick(ticks * round), &Kick::default(), &mut effects);
        if let Stop::Halted { code } = stop {
            assert!(code <= 1);
            return;
        }
    }
}

/// Runs a story that ends by a fault, and gives what it says.
fn fault_of(code: &[u8]) -> String {
    let mut story = sample_story();
    // The function that the story begins with, after its header.
    let start = u32::from_be_bytes(story[24..28].try_into().expect("four bytes"));
    let first = usize::try_from(start).expect("small") + 5;
    story[first..first + code.len()].copy_from_slice(code);
    let mut driver = Driver::new(&spec_of(&story, &[]));
    // Without a window nothing is seen, so it opens one by itself where it can.
    let stop = driver.settle();
    assert_eq!(stop, Stop::Halted { code: 1 }, "{code:x?}");
    driver.text()
}

#[test]
fn what_a_story_may_not_do_ends_it_with_a_message() {
    let cases: [(&[u8], &str); 9] = [
        (&[0x16], "no such instruction"),
        (&[0x40, 0x04, 0, 0], "in no known way"),
        (&[0x13, 0x11, 0x00, 1, 0], "divides by zero"),
        (&[0x40, 0x08, 0x00], "more from the stack"),
        (&[0x40, 0x07, 0xff, 0xff, 0xff, 0xf0], "where there is no memory"),
        (&[0x40, 0x07, 0xff, 0xff, 0xff, 0xff], "where there is no memory"),
        (&[0x40, 0x61, 1, 0x00, 0x30], "where it cannot"),
        (&[0x81, 0x60, 0x01, 30], "what is not a function"),
        (&[0x81, 0x04, 0x03, 0x7f, 0, 0, 0], "outside memory"),
    ];
    for (code, expected) in cases {
        let text = fault_of(code);
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}

#[test]
fn recursion_without_end_fills_the_stack_and_ends() {
    let story = sample_story();
    let start = u32::from_be_bytes(story[24..28].try_into().expect("four bytes"));
    let [_, _, high, low] = start.to_be_bytes();
    // Calls itself.
    let text = fault_of(&[0x81, 0x60, 0x02, high, low]);
    assert!(text.contains("its stack is full"), "{text}");
}

#[test]
fn odd_slices_and_snapshots_change_nothing() {
    let with_files = || {
        let mut driver = Driver::new(&spec_of(&sample_story(), &[]));
        driver.files = Some(BTreeMap::new());
        driver
    };
    let run = |slice: u64, renew: bool| {
        let mut driver = with_files();
        for (n, line) in (1..).zip(LINES) {
            let end = 300_000 * n;
            while driver.machine.tick().0 < end {
                let until = Tick((driver.machine.tick().0 + slice).min(end));
                driver.machine.run(until, &Kick::default(), &mut driver.effects);
                if renew {
                    driver.renew();
                }
            }
            driver.answer();
            let bytes = format!("{line}\n").into_bytes();
            driver.machine.apply(&Event::Input { port: PortId(0), bytes }, &mut driver.effects);
        }
        (omni_machine::digest(driver.machine.as_mut()), driver.effects)
    };
    let whole = run(u64::MAX >> 1, false);
    assert!(whole.1.len() > 5);
    for (slice, renew) in [(977, false), (4099, true), (30_011, true)] {
        assert!(run(slice, renew) == whole, "slices of {slice}");
    }
}

#[test]
fn every_damaged_byte_of_a_header_and_of_code_is_survived() {
    let story = sample_story();
    for at in 0..700 {
        for flip in [0x01, 0x40, 0xff] {
            let mut damaged = story.clone();
            damaged[at] ^= flip;
            run_any(&damaged, 20_000);
        }
    }
    let Some(path) = story_path("glulxercise.ulx") else { return };
    let suite = std::fs::read(path).expect("it is there");
    for at in (36..suite.len()).step_by(suite.len() / 60) {
        let mut damaged = suite.clone();
        damaged[at] ^= 0xff;
        damaged[at + 1] ^= 0x5a;
        run_any(&damaged, 200_000);
    }
}

#[test]
fn a_header_that_asks_for_too_much_is_refused_in_words() {
    let mut story = sample_story();
    story[20..24].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
    let error = Glulx.create(&spec_of(&story, &[])).err().expect("no such stack");
    assert!(error.to_string().contains("stack"), "{error}");
    let mut story = sample_story();
    story[16..20].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
    let error = Glulx.create(&spec_of(&story, &[])).err().expect("no such memory");
    assert!(error.to_string().contains("memory"), "{error}");
    let mut story = sample_story();
    story[16..20].copy_from_slice(&(80u32 << 20).to_be_bytes());
    let error = Glulx.create(&spec_of(&story, &[])).err().expect("more than the default");
    assert!(error.to_string().contains("ask for 83886080 or more"), "{error}");
    assert!(Glulx.create(&spec_of(&story, &[("memory", "80M")])).is_ok());
    for (name, value) in [("memory", "1K"), ("memory", "2G"), ("undo", "65"), ("echo", "maybe")] {
        let error = Glulx.create(&spec_of(&sample_story(), &[(name, value)])).err();
        assert!(error.is_some_and(|error| error.to_string().contains(name)), "{name}");
    }
}

#[test]
fn a_story_is_told_by_its_content_also_within_blorb() {
    let story = sample_story();
    assert_eq!(Glulx.probe(&story), Confidence::Sure);
    assert_eq!(Glulx.probe(&story[1..]), Confidence::No);
    let mut index = 1u32.to_be_bytes().to_vec();
    index.extend_from_slice(b"Exec\0\0\0\0");
    index.extend_from_slice(&36u32.to_be_bytes());
    let mut blorb = b"FORM\0\0\0\0IFRSRIdx\0\0\0\x10".to_vec();
    blorb.extend(index);
    blorb.extend_from_slice(b"GLUL");
    blorb.extend(u32::try_from(story.len()).expect("small").to_be_bytes());
    blorb.extend(&story);
    let size = u32::try_from(blorb.len() - 8).expect("small").to_be_bytes();
    blorb[4..8].copy_from_slice(&size);
    assert_eq!(Glulx.probe(&blorb), Confidence::Sure);
    let mut driver = Driver::new(&spec_of(&blorb, &[]));
    driver.settle();
    assert!(driver.text().contains("A small story"), "{}", driver.text());
}
