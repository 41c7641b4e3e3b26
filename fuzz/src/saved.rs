//! Targets that read what was saved: snapshots, logs, bundles of records, specs.

use crate::board::small_board;
use crate::bytes::Choices;
use crate::guest;
use omni_base::{Digest, Tick};
use omni_board_virt::RiscvVirt;
use omni_lifecycle::{Log, Snapshot, WriteOptions, restore, run_to, take};
use omni_machine::{Event, Kick, MachineKind, PortId, Spec, digest};
use omni_state::{Bundle, Field, Reader, Writer};
use omni_vm_zmachine::{ZMachine, sample_story};
use std::sync::OnceLock;

pub(crate) const KINDS: &[&dyn MachineKind] = &[&RiscvVirt, &ZMachine];

/// Snapshots of machines that are at something.
pub(crate) fn samples() -> &'static [Snapshot] {
    static SAMPLES: OnceLock<Vec<Snapshot>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let busy: Vec<u8> = (0..600u32).map(|at| ((at * 7919) >> 4) as u8 | 0xe0).collect();
        let board = |supervisor, harts| {
            let image = guest::accesses(supervisor, &mut Choices(&busy));
            RiscvVirt.create(&small_board(image, harts)).expect("the guest is ours")
        };
        let mut story = Spec::new("zmachine");
        story.files.insert("image".into(), sample_story().into());
        let story = ZMachine.create(&story).expect("the story is ours");
        let at = |mut machine: Box<dyn omni_machine::Machine>, ticks| {
            let mut out = Vec::new();
            let bytes = b"look\nu\nx".to_vec();
            machine.apply(&Event::Input { port: PortId(0), bytes }, &mut out);
            run_to(&mut *machine, Tick(ticks), &Kick::default(), &mut out);
            take(KINDS, &mut *machine).expect("nothing vetoes a snapshot")
        };
        vec![
            at(story, 3000),
            at(board(false, 1), 500),
            at(board(false, 3), 3000),
            at(board(true, 2), 4000),
        ]
    })
}

/// Changes bytes in place as the choices say.
fn damage(bytes: &mut [u8], from: &mut Choices<'_>) {
    if bytes.is_empty() {
        return;
    }
    for _ in 0..from.u8() % 16 {
        let at = usize::from(from.u16()) % bytes.len();
        match from.u8() {
            0..=0x7f => bytes[at] = from.u8(),
            0x80..=0xbf => bytes[at] ^= 1 << (from.u8() & 7),
            _ => {
                let number = from.number().to_le_bytes();
                let end = (at + 8).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
        }
    }
}

/// A snapshot file: the bytes as they are, or a sound one with a forged inside that is signed
/// again. What can be restored runs.
pub fn snapshot(data: &[u8]) {
    let mut from = Choices(data);
    let how = from.u8();
    if how == 0 {
        if let Ok(snapshot) = Snapshot::from_bytes(from.0, &[]) {
            go_on(&snapshot);
        }
        return;
    }
    let samples = samples();
    let mut forged = samples[usize::from(how) % samples.len()].clone();
    let tail = forged.records.len() - 32;
    damage(&mut forged.records[..tail], &mut from);
    if how & 0x10 != 0 {
        let mut out = Writer::default();
        forged.spec.put(&mut out);
        damage(&mut out.0, &mut from);
        match Spec::get(&mut Reader(&out.0)) {
            Ok(spec) => forged.spec = spec,
            Err(_) => return,
        }
    }
    if how & 0x20 != 0 {
        let tick = from.number();
        replace(&mut forged.records[..tail], forged.tick.0, tick);
        forged.tick = Tick(tick);
    }
    let digest = Digest::of(&forged.records[..tail]);
    forged.records[tail..].copy_from_slice(&digest.0);
    if how & 0x40 != 0 {
        let at = usize::from(from.u8()) % forged.spaces.len();
        forged.spaces[at].pages = from.number() & 0xff_ffff;
    }
    if how & 0x80 != 0 {
        let at = usize::from(from.u8()) % forged.spaces.len();
        forged.spaces.swap(0, at);
    }
    let bytes = forged.to_bytes(WriteOptions { compress: how & 8 != 0, flatten: false });
    let bytes = bytes.expect("no base is below");
    if let Ok(snapshot) = Snapshot::from_bytes(&bytes, &[]) {
        go_on(&snapshot);
    }
}

/// Puts another number wherever a number is.
fn replace(bytes: &mut [u8], old: u64, new: u64) {
    let (old, new) = (old.to_le_bytes(), new.to_le_bytes());
    for at in 0..bytes.len().saturating_sub(7) {
        if bytes[at..at + 8] == old {
            bytes[at..at + 8].copy_from_slice(&new);
        }
    }
}

fn go_on(snapshot: &Snapshot) {
    let Ok(mut machine) = restore(KINDS, snapshot) else { return };
    let (start, mut out) = (machine.tick().0, Vec::new());
    for step in 1..=3 {
        let until = Tick(start.saturating_add(1500 * step));
        run_to(&mut *machine, until, &Kick::default(), &mut out);
        let bytes = b"look\nq\n".to_vec();
        machine.apply(&Event::Input { port: PortId(0), bytes }, &mut out);
    }
    digest(&mut *machine);
    // What a forged machine turns into can be taken and restored like any other.
    let again = take(KINDS, &mut *machine).expect("nothing vetoes a snapshot");
    let twin = restore(KINDS, &again);
    assert!(twin.is_ok(), "what was taken is refused: {:?}", twin.err());
}

/// A log, damaged anywhere.
pub fn event_log(data: &[u8]) {
    if let Ok((log, torn)) = Log::from_bytes(data) {
        assert!(torn <= data.len());
        let whole = log.to_bytes();
        assert!(Log::from_bytes(&whole) == Ok((log.clone(), 0)), "a log read is a log written");
        let _ = (log.start(), log.end(), log.at(Tick(5)));
    }
    // The same with every digest forged, so that what is below them is reached.
    let forged = forge_log(data);
    if let Ok((log, _)) = Log::from_bytes(&forged) {
        assert!(Log::from_bytes(&log.to_bytes()).is_ok());
    }
}

/// A sound header, and the bytes as the bodies of entries with sound checks.
pub(crate) fn forge_log(data: &[u8]) -> Vec<u8> {
    let mut from = Choices(data);
    let mut body = Writer::default();
    ("zmachine".to_owned(), u32::from(from.u8()), Tick(0)).put(&mut body);
    Digest::default().put(&mut body);
    Vec::<u8>::new().put(&mut body);
    let mut out = b"OMNI-LOG".to_vec();
    out.extend_from_slice(&2u32.to_le_bytes());
    out.extend_from_slice(&(body.0.len() as u32).to_le_bytes());
    out.extend_from_slice(&body.0);
    let mut chain = Digest::of(&out);
    out.extend_from_slice(&chain.0);
    while !from.is_empty() {
        let size = usize::from(from.u8());
        let entry = from.take(size);
        let length = (entry.len() as u32).to_le_bytes();
        out.extend_from_slice(&length);
        let check = Digest::of_parts([&chain.0[..], &length]);
        out.extend_from_slice(&check.0[..4]);
        out.extend_from_slice(entry);
        chain = Digest::of_parts([&chain.0[..], &length, entry]);
        out.extend_from_slice(&chain.0[..8]);
    }
    out
}

/// A bundle of records: as it is, and with a sound digest.
pub fn bundle(data: &[u8]) {
    let mut signed = b"OMNIREC1".to_vec();
    signed.extend_from_slice(data);
    let digest = Digest::of(&signed);
    signed.extend_from_slice(&digest.0);
    for bytes in [data, &signed] {
        if let Ok(bundle) = Bundle::from_bytes(bytes) {
            assert!(bundle.to_bytes() == bytes, "a bundle has one form");
        }
    }
}

/// A spec, and a machine of it where it is one.
pub fn spec(data: &[u8]) {
    let mut from = Reader(data);
    let Ok(mut spec) = Spec::get(&mut from) else { return };
    let used = data.len() - from.0.len();
    let mut out = Writer::default();
    spec.put(&mut out);
    assert!(out.0 == data[..used], "a spec has one form");
    // A machine of 64 GiB is sound and no finding, but slow to make.
    if spec.option("memory").is_some_and(|text| text.len() > 3) || spec.option("memory").is_none() {
        spec.options.insert("memory".into(), "16M".into());
    }
    for kind in KINDS {
        let _ = kind.ports(&spec).map_err(|error| error.to_string());
        let _ = kind.signature(&spec);
        if let Ok(mut machine) = kind.create(&spec) {
            run_to(&mut *machine, Tick(2000), &Kick::default(), &mut Vec::new());
        }
    }
}
