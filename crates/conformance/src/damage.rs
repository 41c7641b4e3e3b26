//! Properties about files: they bring machines and logs back, and damage is refused.

use crate::battery::revive;
use crate::{Case, Run};
use omni_base::Tick;
use omni_lifecycle::{Log, Outcome, Snapshot, WriteOptions, restore, run_to, take};
use omni_machine::{Kick, digest};
use omni_state::{Bundle, Entry, Field, Writer};

/// Bytes of a file of which every one is damaged in turn; of the rest, a sample.
const EVERY_BYTE: usize = 4096;

/// How many bytes beyond those are damaged.
const SAMPLES: usize = 600;

/// Forged records that are tried.
const FORGED: usize = 800;

fn snapshot_of(case: &Case, seed: u64) -> (Run, Snapshot) {
    let run = case.run(seed);
    let (mut machine, _) = case.at(&run, run.log.at(Tick(run.end.tick.0 / 2)));
    let snapshot = take(case.kinds, &mut *machine).expect("can be saved");
    (run, snapshot)
}

/// Positions to damage: all of the first bytes, and a spread over the rest.
fn positions(count: usize) -> impl Iterator<Item = usize> {
    let step = (count / SAMPLES).max(1);
    (0..count.min(EVERY_BYTE)).chain((EVERY_BYTE..count).step_by(step)).chain(count.checked_sub(1))
}

pub(crate) fn a_snapshot_survives_its_file(case: &Case) {
    let (run, snapshot) = snapshot_of(case, 53);
    for compress in [false, true] {
        let options = WriteOptions { compress, flatten: false };
        let bytes = snapshot.to_bytes(options).expect("no base has to be read");
        let back = Snapshot::from_bytes(&bytes, &[]).expect("a sound file");
        assert_eq!(back.digest(), snapshot.digest(), "{case}");
        assert_eq!((back.tick, &back.pending), (snapshot.tick, &snapshot.pending), "{case}");
        assert_eq!(back.to_bytes(options).expect("no base"), bytes, "{case}: one file, one form");
        let mut machine = revive(case, &back);
        let from = run.log.at(snapshot.tick);
        case.advance(&mut *machine, &run, from, run.end);
        assert_eq!(digest(&mut *machine), run.digest, "{case}: the future from a file");
    }
}

pub(crate) fn a_log_survives_its_file(case: &Case) {
    let mut machine = case.create();
    let mut log = case.log(&mut *machine);
    let mut world = case.world(59);
    for step in 1..=4 {
        let until = Tick(case.span.0 / 4 * step);
        omni_lifecycle::record(&mut *machine, &mut world, until, &mut log);
        log.check(&mut *machine);
    }
    let bytes = log.to_bytes();
    assert_eq!(Log::from_bytes(&bytes), Ok((log.clone(), 0)), "{case}");
    for cut in positions(bytes.len()) {
        let Ok((part, torn)) = Log::from_bytes(&bytes[..cut]) else { continue };
        // What is left is the beginning of what was.
        assert!(log.events().starts_with(part.events()), "{case}: cut at {cut}");
        assert!(log.checks().starts_with(part.checks()), "{case}: cut at {cut}");
        assert_eq!(part.to_bytes(), bytes[..cut - torn], "{case}: cut at {cut}");
    }
    for at in positions(bytes.len()) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        assert!(Log::from_bytes(&damaged).is_err(), "{case}: damaged at {at}");
    }
}

pub(crate) fn every_damaged_byte_is_refused(case: &Case) {
    let (_, snapshot) = snapshot_of(case, 61);
    let bytes = snapshot.to_bytes(WriteOptions::default()).expect("no base has to be read");
    for at in positions(bytes.len()) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        assert!(Snapshot::from_bytes(&damaged, &[]).is_err(), "{case}: damaged at {at}");
        assert!(Snapshot::from_bytes(&bytes[..at], &[]).is_err(), "{case}: cut at {at}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(Snapshot::from_bytes(&longer, &[]).is_err(), "{case}: a byte too many");
    // The records have a digest of their own, for those who carry them alone.
    for at in positions(snapshot.records.len()) {
        let mut damaged = snapshot.clone();
        damaged.records[at] ^= 0x40;
        assert!(restore(case.kinds, &damaged).is_err(), "{case}: record byte {at}");
    }
}

/// Someone who forges a snapshot gets the digests right. The machine may be refused or made, but
/// nothing may break.
pub(crate) fn forged_records_never_panic(case: &Case) {
    let (run, snapshot) = snapshot_of(case, 67);
    let whole = Bundle::from_bytes(&snapshot.records).expect("canonical");
    let count: usize = whole.entries().iter().map(|entry| entry.body.len()).sum();
    let step = (count / FORGED).max(1);
    for at in (0..count).step_by(step) {
        for change in [0x01, 0x80, 0xff] {
            let mut entries = whole.entries().to_vec();
            let mut left = at;
            let hit = entries.iter_mut().find_map(|entry| {
                let here = left;
                left = left.wrapping_sub(entry.body.len());
                entry.body.get_mut(here)
            });
            *hit.expect("a byte of some record") ^= change;
            try_forged(case, &run, &snapshot, &entries);
        }
    }
    for at in 0..whole.entries().len() {
        let mut entries = whole.entries().to_vec();
        entries.remove(at);
        let mut forged = snapshot.clone();
        forged.records = bundle(&entries);
        assert!(restore(case.kinds, &forged).is_err(), "{case}: without a record");
    }
    for at in 0..snapshot.spaces.len() {
        let mut forged = snapshot.clone();
        forged.spaces[at].pages += 1;
        assert!(restore(case.kinds, &forged).is_err(), "{case}: a space too large");
        forged.spaces.remove(at);
        assert!(restore(case.kinds, &forged).is_err(), "{case}: a space too few");
    }
}

fn try_forged(case: &Case, run: &Run, snapshot: &Snapshot, entries: &[Entry]) {
    let mut forged = snapshot.clone();
    forged.records = bundle(entries);
    let Ok(mut machine) = restore(case.kinds, &forged) else { return };
    for round in 0..4 {
        let until = Tick(machine.tick().0.saturating_add(case.span.0 / 400 + 100));
        run_to(&mut *machine, until, &Kick::default(), &mut Outcome::new());
        for (_, event) in run.log.events().iter().skip(round).step_by(4).take(3) {
            machine.apply(event, &mut Outcome::new());
        }
    }
    // What was let in can be saved again, whatever it is.
    take(case.kinds, &mut *machine).expect("can be saved");
}

/// The bytes of a bundle with these entries, with the right digest.
fn bundle(entries: &[Entry]) -> Vec<u8> {
    let mut out = Writer(b"OMNIREC1".to_vec());
    u32::try_from(entries.len()).expect("few records").put(&mut out);
    for entry in entries {
        entry.path.put(&mut out);
        entry.kind.put(&mut out);
        entry.version.put(&mut out);
        entry.body.put(&mut out);
    }
    let digest = omni_base::Digest::of(&out.0);
    digest.put(&mut out);
    out.0
}
