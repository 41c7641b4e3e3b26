//! Damaged stories, odd slices and hostile snapshots: a message and an end, never a panic.

mod driver;

use driver::{Driver, spec_of, story_path};
use omni_base::{Digest, Gpa, Tick};
use omni_machine::{Confidence, Event, Kick, Machine, MachineKind, PortId, Stop, digest};
use omni_memory::Space;
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
                Stop::Reached | Stop::Kicked | Stop::Hit(_) => {}
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
            let seal = Digest::of(&damaged).0;
            damaged.extend_from_slice(&seal);
            let Ok(bundle) = Bundle::from_bytes(&damaged) else { continue };
            let spaces = driver.machine.memory().spaces.iter_mut();
            let spaces = spaces.map(|space| {
                let (name, pages) = (space.name().to_owned(), space.page_count());
                Space::from_image(name, pages, space.seal().image)
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

/// The records with a number of the processor's changed, signed again.
fn forged(records: &Bundle, at: usize, value: u32) -> Bundle {
    let mut bytes = records.to_bytes();
    let tail = bytes.len() - 32;
    let entry = records.entries().iter().find(|entry| entry.path == "cpu").expect("saved");
    let start = bytes.windows(entry.body.len()).position(|body| body == entry.body);
    let at = start.expect("its bytes are among them") + at;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    let digest = Digest::of(&bytes[..tail]);
    bytes[tail..].copy_from_slice(&digest.0);
    Bundle::from_bytes(&bytes).expect("sound but for one number")
}

/// Everything that a snapshot of a machine holds.
fn parts(machine: &mut dyn Machine) -> (Bundle, Vec<Space>) {
    let mut records = Bundle::default();
    machine.save(&mut records);
    let copy = |space: &mut Space| {
        Space::from_image(space.name().to_owned(), space.page_count(), space.seal().image)
    };
    (records, machine.memory().spaces.iter_mut().map(copy).collect())
}

/// Where the record of the processor has these.
const DEPTH: usize = 22;
const INTERRUPT: usize = 26;

#[test]
fn a_snapshot_with_more_frames_than_can_be_is_refused() {
    let spec = spec_of(&sample_story(), &[]);
    for (at, value) in [(DEPTH, u32::MAX), (DEPTH, 0x1_0000), (INTERRUPT, u32::MAX)] {
        let mut machine = ZMachine.create(&spec).expect("a sound story");
        let (records, spaces) = parts(&mut *machine);
        assert!(ZMachine.restore(&spec, spaces, forged(&records, at, value)).is_err());
    }
}

#[test]
fn what_becomes_of_a_forged_stack_can_be_restored_in_its_turn() {
    let spec = spec_of(&sample_story(), &[]);
    let mut numbers = Numbers(5);
    for round in 0..400u64 {
        let mut machine = ZMachine.create(&spec).expect("a sound story");
        let bytes = b"look\nsome words\nsave\nx\n".to_vec();
        machine.apply(&Event::Input { port: PortId(0), bytes }, &mut Vec::new());
        machine.run(Tick(200 + 11 * round), &Kick::default(), &mut Vec::new());
        let (records, mut spaces) = parts(&mut *machine);
        for _ in 0..numbers.next() % 12 {
            let word = Gpa(2 * (numbers.next() % 60));
            let value = (numbers.next() & numbers.next()) as u16;
            spaces[1].store(word, &value.to_le_bytes()).expect("the stack is larger");
        }
        let records = match numbers.next() % 4 {
            0 => forged(&records, DEPTH, (numbers.next() % 9) as u32),
            1 => forged(&records, DEPTH, 0xffff),
            _ => records,
        };
        let Ok(mut machine) = ZMachine.restore(&spec, spaces, records) else { continue };
        let mut effects = Vec::new();
        machine.run(Tick(6000 + 11 * round), &Kick::default(), &mut effects);
        let (records, spaces) = parts(&mut *machine);
        let again = ZMachine.restore(&spec, spaces, records);
        assert!(again.is_ok(), "round {round}: {:?}", again.err());
    }
}
