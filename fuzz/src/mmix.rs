//! The target that runs programs of MMIX.

use crate::bytes::Choices;
use omni_base::{Digest, Tick};
use omni_lifecycle::{restore, run_to, take};
use omni_machine::{Effect, Event, Kick, MachineKind, PortId, Spec, Stop, digest};
use omni_vm_mmix::{Mmix, SAMPLE};

const PROGRAMS: &[&dyn MachineKind] = &[&Mmix];

/// Slices of a run, and their ticks.
const ROUNDS: u64 = 12;
const SLICE: u64 = 2000;

/// An object file or text, any bytes or the sample with changes, run with input and answers to
/// its requests, plainly and with a restored twin in its place.
pub fn mmix(data: &[u8]) {
    let mut from = Choices(data);
    let how = from.u8();
    let image = match how & 3 {
        0 => patched(&mut from),
        1 => [&[0x98, 9, 1, 0][..], from.0].concat(),
        2 => [&b"Main SWYM\n"[..], from.0].concat(),
        _ => from.0.to_vec(),
    };
    let _ = Mmix.probe(&image);
    let mut spec = Spec::new("mmix");
    spec.options.insert("memory".into(), "1M".into());
    spec.options.insert("echo".into(), if how & 4 == 0 { "false" } else { "true" }.into());
    spec.files.insert("image".into(), image.into());
    let plain = run(&spec, false);
    let restored = run(&spec, true);
    assert!(plain == restored, "a restored twin goes another way");
}

/// The text of the sample with bytes changed.
fn patched(from: &mut Choices<'_>) -> Vec<u8> {
    let mut text = SAMPLE.as_bytes().to_vec();
    while !from.is_empty() {
        let at = usize::from(from.u16()) % text.len();
        let run = usize::from(from.u8() % 8) + 1;
        let bytes = from.take(run);
        let end = (at + bytes.len()).min(text.len());
        text[at..end].copy_from_slice(&bytes[..end - at]);
    }
    text
}

fn run(spec: &Spec, twins: bool) -> Option<(Digest, Vec<(Tick, Effect)>)> {
    let mut machine = match Mmix.create(spec) {
        Ok(machine) => machine,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let (mut all, mut answered) = (Vec::new(), 0);
    for round in 1..=ROUNDS {
        let stop = run_to(&mut *machine, Tick(SLICE * round), &Kick::default(), &mut all);
        if matches!(stop, Stop::Halted { .. }) {
            break;
        }
        while answered < all.len() {
            if let Effect::Io(request) = all[answered].1.clone() {
                let result = if round % 2 == 0 { Err(2) } else { Ok(vec![2; 64]) };
                machine.apply(&Event::IoDone { id: request.id, result }, &mut all);
            }
            answered += 1;
        }
        let bytes = b"some words\n".to_vec();
        machine.apply(&Event::Input { port: PortId(0), bytes }, &mut all);
        if twins {
            machine.drop_caches(round);
            let snapshot = take(PROGRAMS, &mut *machine).expect("nothing vetoes a snapshot");
            machine = restore(PROGRAMS, &snapshot).expect("what was taken can be restored");
        }
    }
    Some((digest(&mut *machine), all))
}
