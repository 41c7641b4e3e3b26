//! Damaged stories, odd slices and hostile snapshots: a message and an end, never a panic.

mod driver;

use driver::{Driver, spec_of, story_path};
use omni_base::Tick;
use omni_machine::{Confidence, Event, Kick, MachineKind, PortId, Stop, digest};
use omni_state::Bundle;
use omni_vm_zmachine::{ZMachine, sample_story};

const LINES: [&str; 8] = ["look, look", "some words", "u", "key", "x", "u", "more", "q"];

/// Numbers that look random, from a seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Runs a story that may be anything, with some input.
fn run_any(story: &[u8], ticks: u64) {
    let spec = spec_of(story, &[]);
    let Ok(mut machine) = ZMachine.create(&spec) else { return };
    let mut effects = Vec::new();
    for round in 1..=4 {
        let bytes = b"all\nlook\n\nq\ny\n".to_vec();
        machine.apply(&Event::Input { port: PortId(0), bytes }, &mut effects);
        let stop = machine.run(Tick(ticks * round), &Kick::default(), &mut effects);
        if let Stop::Halted { code } = stop {
            assert!(code <= 1);
            return;
        }
    }
}

#[test]
fn the_sample_reads_prints_undoes_and_ends() {
    let mut driver = Driver::new(&spec_of(&sample_story(), &[]));
    driver.settle();
    for line in &LINES[..7] {
        assert_eq!(driver.line(line), Stop::Idle { wake: None });
    }
    assert_eq!(driver.line(LINES[7]), Stop::Halted { code: 0 });
    let text = driver.text();
    for expected in ["Line 1, sum", "Undone.", " key 120", "is in the box.", "Bye."] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}

#[test]
fn odd_slices_and_snapshots_change_nothing() {
    let mut plain = Driver::new(&spec_of(&sample_story(), &[]));
    plain.settle();
    for line in LINES {
        plain.line(line);
    }
    for slice in [1, 7, 333] {
        let mut sliced = Driver::new(&spec_of(&sample_story(), &[]));
        let mut inputs = LINES.iter();
        loop {
            let until = Tick(sliced.machine.tick().0 + slice);
            let stop = sliced.machine.run(until, &Kick::default(), &mut sliced.effects);
            sliced.renew();
            match stop {
                Stop::Halted { .. } => break,
                Stop::Idle { .. } => {
                    let Some(line) = inputs.next() else { break };
                    let bytes = format!("{line}\n").into_bytes();
                    let event = Event::Input { port: PortId(0), bytes };
                    sliced.machine.apply(&event, &mut sliced.effects);
                }
                Stop::Reached | Stop::Kicked => {}
            }
        }
        assert_eq!(sliced.text(), plain.text(), "slices of {slice}");
    }
}

#[test]
fn the_same_events_at_the_same_ticks_give_the_same_machine() {
    let run = |slice: u64| {
        let mut driver = Driver::new(&spec_of(&sample_story(), &[("screen", "stream")]));
        for (n, line) in (1..).zip(LINES) {
            let end = 100_000 * n;
            while driver.machine.tick().0 < end {
                let until = Tick((driver.machine.tick().0 + slice).min(end));
                driver.machine.run(until, &Kick::default(), &mut driver.effects);
            }
            let bytes = format!("{line}\n").into_bytes();
            driver.machine.apply(&Event::Input { port: PortId(0), bytes }, &mut driver.effects);
        }
        let end = Tick::MAX;
        let stop = driver.machine.run(end, &Kick::default(), &mut driver.effects);
        assert_eq!(stop, Stop::Halted { code: 0 });
        (digest(driver.machine.as_mut()), driver.effects)
    };
    let whole = run(u64::MAX >> 1);
    for slice in [1, 17, 4099] {
        assert!(run(slice) == whole, "slices of {slice}");
    }
}

#[test]
fn every_damaged_byte_of_a_header_is_survived() {
    let mut stories = vec![sample_story()];
    stories.extend(story_path("czech.z5").and_then(|path| std::fs::read(path).ok()));
    stories.extend(story_path("zork1.z3").and_then(|path| std::fs::read(path).ok()));
    for story in stories {
        for at in 0..64 {
            for flip in [0x01, 0x40, 0xff] {
                let mut damaged = story.clone();
                damaged[at] ^= flip;
                run_any(&damaged, 20_000);
            }
        }
    }
}

#[test]
fn damage_anywhere_and_truncation_are_survived() {
    let mut stories = vec![sample_story()];
    stories.extend(story_path("czech.z5").and_then(|path| std::fs::read(path).ok()));
    stories.extend(story_path("zork1.z3").and_then(|path| std::fs::read(path).ok()));
    let mut numbers = Numbers(0x5eed);
    for story in stories {
        for _ in 0..300 {
            let mut damaged = story.clone();
            for _ in 0..=numbers.next() % 16 {
                let at = usize::try_from(numbers.next()).expect("64 bits") % damaged.len();
                damaged[at] ^= numbers.next().to_le_bytes()[0];
            }
            run_any(&damaged, 20_000);
            let cut = usize::try_from(numbers.next()).expect("64 bits") % story.len();
            run_any(&story[..cut], 1_000);
        }
    }
}

#[test]
fn random_code_is_survived() {
    let mut numbers = Numbers(77);
    for version in [1, 2, 3, 4, 5, 7, 8] {
        for _ in 0..60 {
            let mut story = sample_story();
            story[0] = version;
            // No length: the file's own counts.
            story[0x1a] = 0;
            story[0x1b] = 0;
            for byte in &mut story[0x300..] {
                *byte = numbers.next().to_le_bytes()[3];
            }
            run_any(&story, 20_000);
        }
    }
}

#[test]
fn version_six_is_refused_by_name() {
    let mut story = sample_story();
    story[0] = 6;
    let refused = ZMachine.create(&spec_of(&story, &[])).err().expect("refused").to_string();
    assert!(refused.contains("version 6"), "{refused}");
    let short = ZMachine.create(&spec_of(&story[..40], &[])).err().expect("refused");
    assert!(short.to_string().contains("64 bytes"));
}

#[test]
fn a_story_is_known_and_other_files_are_not_taken_for_one() {
    assert_eq!(ZMachine.probe(&sample_story()), Confidence::Sure);
    for name in ["czech.z5", "praxix.z5", "zork1.z3"] {
        if let Some(path) = story_path(name) {
            let story = std::fs::read(path).expect("it is there");
            assert_eq!(ZMachine.probe(&story), Confidence::Sure, "{name}");
        }
    }
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(4096, 0);
    let mut gzip = b"\x1f\x8b\x08".to_vec();
    gzip.resize(4096, 7);
    let mut image = vec![0; 4096];
    image[0x30..0x38].copy_from_slice(b"RISCV\0\0\0");
    for other in [&elf[..], &gzip, &image, b"\x03", b"", &[5; 4096], &[0; 4096], &[3; 64]] {
        assert_eq!(ZMachine.probe(other), Confidence::No);
    }
}

#[test]
fn a_snapshot_with_damaged_records_is_refused_or_runs_to_an_end() {
    let mut driver = Driver::new(&spec_of(&sample_story(), &[]));
    driver.settle();
    driver.line("some words");
    let mut records = Bundle::default();
    driver.machine.save(&mut records);
    let spec = driver.machine.spec().clone();
    let bytes = records.to_bytes();
    // The digest would refuse any damage; behind it, the fields themselves are hostile.
    let content = &bytes[..bytes.len() - 32];
    for at in (12..content.len()).filter(|at| *at < 400 || at % 13 == 0) {
        for flip in [1, 0x80, 0xff] {
            let mut damaged = content.to_vec();
            damaged[at] ^= flip;
            let seal = omni_base::Digest::of(&damaged).0;
            damaged.extend_from_slice(&seal);
            let Ok(bundle) = Bundle::from_bytes(&damaged) else { continue };
            let spaces = driver.machine.memory().spaces.iter_mut();
            let spaces = spaces.map(|space| {
                let (name, pages) = (space.name().to_owned(), space.page_count());
                omni_memory::Space::from_image(name, pages, space.seal().image)
            });
            let Ok(mut machine) = ZMachine.restore(&spec, spaces.collect(), bundle) else {
                continue;
            };
            let mut effects = Vec::new();
            let event = Event::Input { port: PortId(0), bytes: b"u\nk\nx\nwords\n".to_vec() };
            machine.apply(&event, &mut effects);
            let until = Tick(machine.tick().0.saturating_add(20_000));
            machine.run(until, &Kick::default(), &mut effects);
        }
    }
}
