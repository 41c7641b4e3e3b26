//! What a machine says that it did, in every tier; alone in its process, as tiers are of all.

use omni_base::Tick;
use omni_board_virt::{RiscvVirt, sample_spec};
use omni_engine::{MadeCode, Phase, Profiler, Tiers, phase_here, set_profiler};
use omni_machine::{Effect, Kick, MachineKind, Outside, digest};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A clock that goes on by one at each look, and all that it heard of.
struct Heard {
    now: AtomicU64,
    made: Mutex<Vec<MadeCode>>,
    engaged: AtomicU64,
}

static HEARD: Heard =
    Heard { now: AtomicU64::new(0), made: Mutex::new(Vec::new()), engaged: AtomicU64::new(0) };

impl Profiler for Heard {
    fn now_ns(&self) -> u64 {
        self.now.fetch_add(1, Ordering::Relaxed)
    }
    fn made(&self, code: &MadeCode) {
        self.made.lock().expect("nobody panics").push(*code);
    }
    fn samples(&self) -> bool {
        true
    }
    fn engaged(&self) {
        self.engaged.fetch_add(1, Ordering::Relaxed);
    }
}

struct Nobody;

impl Outside for Nobody {
    fn emit(&mut self, _: Tick, _: Effect) {}
}

/// Runs the sample machine on a tier: what it counted, and its state.
fn run(tiers: Tiers) -> (BTreeMap<&'static str, u64>, omni_base::Digest) {
    tiers.make_default();
    let mut machine = RiscvVirt.create(&sample_spec()).expect("the sample is sound");
    machine.run(Tick(3_000_000), &Kick::default(), &mut Nobody);
    let list = machine.counters();
    let counted = BTreeMap::from_iter(list.iter().copied());
    assert_eq!(counted.len(), list.len(), "no name twice");
    (counted, digest(&mut *machine))
}

#[test]
fn what_is_counted_adds_up_in_every_tier_and_touches_no_state() {
    let (interpreted, state) = run(Tiers::Interpreter);
    assert!(interpreted["instructions"] > 100_000);
    assert!(interpreted["walks_fetch"] > 0 && interpreted["device_stores"] > 0);
    for name in ["instructions_compiled", "blocks_compiled", "code_made_bytes", "translate_ns"] {
        assert_eq!(interpreted[name], 0, "{name}");
    }
    assert_eq!(phase_here(), (Phase::Never, 0), "nobody samples");
    assert!(set_profiler(&HEARD) && !set_profiler(&HEARD), "the first stays");
    let (compiled, same) = run(Tiers::Compiled { after: 2 });
    assert_eq!(same, state);
    let (phase, pc) = phase_here();
    assert_eq!((phase, HEARD.engaged.load(Ordering::Relaxed)), (Phase::Outside, 1));
    assert!(pc >= 0x8000_0000, "something of the sample ran: {pc:#x}");
    assert_eq!(compiled["instructions"], interpreted["instructions"]);
    let parts = compiled["instructions_compiled"] + compiled["instructions_interpreted"];
    assert_eq!(parts, compiled["instructions"]);
    assert!(compiled["translate_ns"] >= compiled["blocks_translated"]);
    let made = HEARD.made.lock().expect("nobody panics");
    assert_eq!(made.len() as u64, 2 * compiled["blocks_compiled"], "two parts each");
    assert_eq!(made.iter().map(|code| code.bytes).sum::<u64>(), compiled["code_made_bytes"]);
    if made.is_empty() {
        eprintln!("this host has no machine code: only the interpreter was looked at");
        return;
    }
    assert!(compiled["instructions_compiled"] > 100_000);
    assert!(compiled["compile_ns"] >= compiled["blocks_compiled"]);
    assert!(compiled["code_held_bytes"] >= compiled["code_made_bytes"]);
    // What is run often goes up from the start, the rest down from the end.
    let often: Vec<_> = made.iter().step_by(2).collect();
    let rest: Vec<_> = made.iter().skip(1).step_by(2).collect();
    let end = |code: &MadeCode| code.address + code.bytes;
    assert!(often.windows(2).all(|two| end(two[0]) <= two[1].address));
    assert!(rest.windows(2).all(|two| end(two[1]) <= two[0].address));
    assert!(often.last().zip(rest.last()).is_some_and(|(up, down)| end(up) <= down.address));
}
