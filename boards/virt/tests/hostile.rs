//! Hostile files and hostile guests against the whole board; the fuzz targets go on from here.

#[allow(dead_code, reason = "the fuzz targets use the rest")]
#[path = "../../../fuzz/src/asm.rs"]
mod asm;
#[allow(dead_code, reason = "the fuzz targets use the rest")]
#[path = "../../../fuzz/src/bytes.rs"]
mod bytes;
#[allow(dead_code, reason = "the fuzz targets use the rest")]
#[path = "../../../fuzz/src/guest.rs"]
mod guest;

use bytes::Choices;
use omni_base::{Digest, Gpa, Tick};
use omni_board_virt::RiscvVirt;
use omni_machine::{
    Blob, BlobSource, Control, CreateError, DiskSpec, Effect, Event, Kick, Machine, MachineKind,
    PortId, Spec, Stop, digest,
};
use omni_memory::{Image, Space};
use omni_state::Bundle;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Pseudo-random bytes; the same for the same seed.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..count).map(next).collect()
}

fn bare_spec() -> Spec {
    let mut spec = Spec::new("riscv-virt");
    spec.options.insert("memory".into(), "16M".into());
    spec
}

/// A machine with every device there is.
fn full_spec(image: Vec<u8>, harts: u8) -> Spec {
    let mut spec = bare_spec();
    spec.ns_per_tick = 50;
    spec.options.insert("net".into(), "user".into());
    spec.options.insert("cpus".into(), harts.to_string());
    spec.options.insert("button".into(), "true".into());
    spec.files.insert("image".into(), image.into());
    for (bytes, read_only) in [(512 * 77, false), (512, true)] {
        spec.disks.push(DiskSpec { bytes, read_only, image: Image::default() });
    }
    spec
}

fn with_file(role: &str, bytes: &[u8]) -> Spec {
    let mut spec = bare_spec();
    if role == "firmware" || role == "initrd" {
        let kernel = guest::accesses(true, &mut Choices(&[]));
        spec.files.insert("kernel".into(), kernel.into());
    }
    spec.files.insert(role.into(), bytes.into());
    spec
}

/// Makes the machine and lets it start and start again, or checks that it is refused in words.
/// Says whether it was made.
fn try_out(spec: &Spec) -> bool {
    let _ = RiscvVirt.signature(spec);
    match RiscvVirt.create(spec) {
        Ok(mut machine) => {
            machine.run(Tick(300), &Kick::default(), &mut Vec::new());
            machine.apply(&Event::Control(Control::Reset), &mut Vec::new());
            machine.run(Tick(600), &Kick::default(), &mut Vec::new());
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() > 10 && text.contains(": ") && !text.contains('\n'), "{text:?}");
            false
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_in_words_or_runs() {
    let program = guest::accesses(false, &mut Choices(&noise(1, 200)));
    let (mut whole, mut refused) = (0, 0);
    for role in ["image", "kernel", "firmware", "initrd"] {
        for cut in (0..program.len()).step_by(64).chain([program.len()]) {
            if try_out(&with_file(role, &program[..cut])) { whole += 1 } else { refused += 1 }
        }
    }
    assert!(whole > 4 && refused > 20, "{whole} ran, {refused} were refused");
}

#[test]
fn a_program_with_random_words_in_its_headers_is_refused_in_words_or_runs() {
    let program = guest::accesses(false, &mut Choices(&noise(2, 40)));
    for seed in 0..600 {
        let mut changed = program.clone();
        let from = noise(seed, 64);
        let mut choices = Choices(&from);
        for _ in 0..=seed % 3 {
            // Behind the words that say what it is: the header's rest and two segments.
            let at = 20 + usize::from(choices.u8()) % 150;
            changed[at..at + 8].copy_from_slice(&choices.number().to_le_bytes());
        }
        try_out(&with_file("image", &changed));
    }
}

#[test]
fn random_bytes_are_no_program_and_random_kernels_run_or_are_refused() {
    for seed in 0..200 {
        let mut bytes = noise(seed, 700 + 13 * usize::try_from(seed).expect("small"));
        assert!(!try_out(&with_file("image", &bytes)));
        try_out(&with_file("firmware", &bytes));
        try_out(&with_file("initrd", &bytes));
        bytes[0x38..0x3c].copy_from_slice(b"RSC\x05");
        if seed % 2 == 0 {
            bytes[8..16].copy_from_slice(&(seed << 14).to_le_bytes());
            bytes[16..24].copy_from_slice(&(seed << 16).to_le_bytes());
        }
        try_out(&with_file("kernel", &bytes));
    }
}

/// A machine like this one, by way of all that a snapshot holds.
fn twin(mut machine: Box<dyn Machine>) -> Box<dyn Machine> {
    let mut records = Bundle::default();
    machine.save(&mut records);
    let records = Bundle::from_bytes(&records.to_bytes()).expect("just written");
    let copy = |space: &mut Space| {
        Space::from_image(space.name().to_owned(), space.page_count(), space.seal().image)
    };
    let spaces = machine.memory().spaces.iter_mut().map(copy).collect();
    RiscvVirt.restore(machine.spec(), spaces, records).expect("just saved")
}

type End = (Digest, Stop, Vec<(Tick, Effect)>);

/// Runs a guest with things coming in from outside; `odd` cuts the run and drops caches and puts
/// twins in its place on the way.
fn run(spec: &Spec, ticks: u64, odd: u64) -> End {
    let mut machine = RiscvVirt.create(spec).expect("the guest is ours");
    let (kick, mut out, mut stop) = (Kick::default(), Vec::new(), Stop::Reached);
    for part in 1..=4 {
        let until = ticks * part / 4;
        while machine.tick().0 < until && !matches!(stop, Stop::Halted { .. }) {
            let step = if odd == 0 { until } else { machine.tick().0 + odd + part * 31 };
            stop = machine.run(Tick(step.min(until)), &kick, &mut out);
            if odd != 0 {
                machine.drop_caches(step);
                if step % 5 == 0 {
                    machine = twin(machine);
                }
            }
        }
        for port in 0..3 {
            let bytes = noise(part, 60);
            machine.apply(&Event::Input { port: PortId(port), bytes }, &mut out);
        }
    }
    (digest(&mut *machine), stop, out)
}

fn comes_to_one_end(spec: &Spec, ticks: u64) -> End {
    let plain = run(spec, ticks, 0);
    let cut = run(spec, ticks, 97);
    assert_eq!(plain.0, cut.0, "the states differ");
    assert_eq!((&plain.1, &plain.2), (&cut.1, &cut.2));
    plain
}

#[test]
fn a_guest_that_writes_every_device_at_random_comes_to_one_end_however_it_is_run() {
    let mut talked = 0;
    for seed in 0..40 {
        let bytes = noise(seed, 1200);
        let image = guest::accesses(seed % 2 == 1, &mut Choices(&bytes));
        let spec = full_spec(image, if seed % 5 == 4 { 2 } else { 1 });
        talked += comes_to_one_end(&spec, 6000).2.len();
    }
    assert!(talked > 10, "the devices answered: {talked} effects");
}

#[test]
fn a_guest_that_writes_its_host_interface_at_random_comes_to_one_end_however_it_is_run() {
    let (mut halted, mut talked) = (0, 0);
    for seed in 0..60u64 {
        let mut steps = Vec::new();
        let random = noise(seed, 600);
        for part in random.chunks_exact(3) {
            // Loads, stores and atomics of every width at `tohost` and around it.
            let offset = if part[1] & 3 == 0 { part[1] & 0x3f } else { 0x20 };
            steps.extend_from_slice(&[part[0] & 0x47 | 0x40, 11, offset, 0]);
            // The end of the program, a character, a call with its words here, or anything.
            match part[2] % 40 {
                0 => steps.push(1),
                1..=20 => steps.extend_from_slice(&[0xf0, part[2], 0, 0, 0, 0, 0, 1, 1]),
                21..=30 => steps.extend_from_slice(&[0xf0, 0, 0, 0x40, 0x80, 0, 0, 0, 0]),
                31..=35 => steps.push(64),
                _ => steps.extend_from_slice(&[0xf0, 8, part[1], 3, 5, part[0], 0, 0, 0]),
            }
        }
        let spec = full_spec(guest::accesses_with_htif(&mut Choices(&steps)), 1);
        let (_, stop, out) = comes_to_one_end(&spec, 4000);
        halted += u32::from(matches!(stop, Stop::Halted { .. }));
        talked += out.len();
    }
    assert!(halted > 5 && talked > 30, "{halted} ended, {talked} characters");
}

/// The steps of a driver, with random descriptors, for the transport of this number.
fn ring_steps(transport: u8, queue: u8, seed: u64) -> Vec<u8> {
    let mut steps = Vec::new();
    for round in 0..4 {
        steps.extend_from_slice(&[0xe8, transport, queue, 4, 0, 0, 0]);
        let random = noise(seed + round, 80);
        steps.push(6);
        for at in 0..6u8 {
            let wild = random[usize::from(at)];
            let flags = [1, 3, 2, 4, 7, 0][usize::from(wild % 6)];
            steps.extend_from_slice(&[wild, random[usize::from(at) + 9] & 0xfb, flags, wild]);
            steps.extend_from_slice(&[at % 3, wild % 9]);
        }
        steps.extend_from_slice(&[3, 0, 0, 0, 1, 0, 2, 0, 3, 0]);
    }
    steps
}

#[test]
fn hostile_rings_of_every_device_come_to_one_end_however_they_are_run() {
    for transport in 0..5 {
        for seed in 0..8 {
            let queue = u8::try_from(seed % 3).expect("small");
            let image = guest::accesses(false, &mut Choices(&ring_steps(transport, queue, seed)));
            comes_to_one_end(&full_spec(image, 1), 4000);
        }
    }
}

#[test]
fn a_sound_ring_among_hostile_ones_is_served() {
    // One writable buffer of 16 bytes for the source of entropy, in queue zero of transport zero.
    let mut steps = vec![0xe8, 0, 0, 4, 0, 0, 0, 1];
    steps.extend_from_slice(&[0x00, 0x02, 2, 0xff, 0, 0]);
    steps.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let image = guest::accesses(false, &mut Choices(&steps));
    let mut machine = RiscvVirt.create(&full_spec(image, 1)).expect("the guest is ours");
    machine.run(Tick(2000), &Kick::default(), &mut Vec::new());
    let ram = &machine.memory().spaces[0];
    let used: [u8; 4] = ram.load(Gpa(0x40_6000)).expect("in RAM");
    assert_eq!(used, [0, 0, 1, 0], "one chain was given back");
    let buffer: [u8; 16] = ram.load(Gpa(0x48_0000)).expect("in RAM");
    assert!(buffer.iter().filter(|byte| **byte != 0).count() > 8, "{buffer:?}");
}

#[test]
fn random_code_in_every_mode_comes_to_one_end_however_it_is_run() {
    for seed in 0..48 {
        let image = guest::random_code((seed & 0xff) as u8, &noise(seed, 500));
        comes_to_one_end(&full_spec(image, 1), 2500);
    }
}

#[test]
fn disks_of_odd_sizes_are_refused_in_words_or_served() {
    let refused = |bytes| {
        let mut spec = with_file("image", &guest::accesses(false, &mut Choices(&[])));
        spec.disks.push(DiskSpec { bytes, read_only: false, image: Image::default() });
        !try_out(&spec)
    };
    for bytes in [0, 1, 511, 513, 4095, u64::MAX, !511, 1 << 60] {
        assert!(refused(bytes), "{bytes}");
    }
    for bytes in [512, 1024, 4096, 4096 * 3 + 512, 1 << 30] {
        assert!(!refused(bytes), "{bytes}");
    }
}

#[test]
fn a_snapshot_whose_machine_could_not_start_again_is_refused() {
    let image = guest::accesses(false, &mut Choices(&[]));
    let mut machine = RiscvVirt.create(&full_spec(image, 1)).expect("the guest is ours");
    let mut records = Bundle::default();
    machine.save(&mut records);
    let copy = |space: &mut Space| {
        Space::from_image(space.name().to_owned(), space.page_count(), space.seal().image)
    };
    let spaces = machine.memory().spaces.iter_mut().map(copy).collect();
    let mut spec = machine.spec().clone();
    // The device tree of a cold start would have no room for it.
    spec.options.insert("append".into(), "x".repeat(200_000));
    let restored = RiscvVirt.restore(&spec, spaces, records);
    assert!(matches!(restored, Err(CreateError::Option { .. })));
}

#[test]
fn headers_that_a_linker_puts_below_ram_are_left_out() {
    // t0 = 0x100000; t1 = 0x73333; *t0 = t1
    let code = asm::words(&[0x0010_02b7, 0x0007_3337, 0x3333_0313, 0x0062_a023]);
    let mut image = asm::elf(0x8000_0000, &[(0x8000_0000, &code)]);
    // The one segment, behind the header of the file: from its first byte on, and all of it.
    let whole = image.len() as u64;
    let start = 0x8000_0000 - (whole - code.len() as u64);
    for (at, value) in [(8, 0), (16, start), (24, start), (32, whole), (40, whole)] {
        image[64 + at..][..8].copy_from_slice(&value.to_le_bytes());
    }
    let mut machine = RiscvVirt.create(&with_file("image", &image)).expect("sound");
    let stop = machine.run(Tick(100), &Kick::default(), &mut Vec::new());
    assert_eq!(stop, Stop::Halted { code: 7 });
}

/// A file that goes away, once.
#[derive(Clone, Debug)]
struct Fleeting(Vec<u8>, Arc<AtomicBool>);

impl BlobSource for Fleeting {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is gone"));
        }
        let at = usize::try_from(at).expect("in the file");
        into.copy_from_slice(&self.0[at..at + into.len()]);
        Ok(())
    }
}

#[test]
fn a_reset_without_the_file_that_it_starts_from_is_told_of_and_harms_nothing() {
    let file = Fleeting(guest::accesses(true, &mut Choices(&[])), Arc::default());
    let mut spec = bare_spec();
    spec.files.insert("kernel".into(), Blob::elsewhere(Box::new(file.clone())));
    let mut machine = RiscvVirt.create(&spec).expect("it is sound");
    let mut reset = |tick| {
        machine.apply(&Event::Control(Control::Reset), &mut Vec::new());
        machine.run(Tick(tick), &Kick::default(), &mut Vec::new());
        machine.memory().spaces[0].damage().map(str::to_owned)
    };
    assert_eq!(reset(300), None);
    file.1.store(true, Ordering::Relaxed);
    let damage = reset(600).expect("it is told of");
    assert!(damage.contains("kernel") && damage.contains("the disk is gone"), "{damage}");
    assert!(RiscvVirt.create(&spec).is_err());
}
