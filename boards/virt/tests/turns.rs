//! Turns of harts: whose they are does not depend on where runs end.

use omni_base::Tick;
use omni_board_virt::{RiscvVirt, sample_spec};
use omni_machine::{Effect, Kick, MachineKind, Outside, digest};

struct Nobody;

impl Outside for Nobody {
    fn emit(&mut self, _: Tick, _: Effect) {}
}

/// The state of the sample with one hart at a tick, come to by runs of so many ticks.
fn state(at: u64, slice: u64) -> omni_base::Digest {
    let mut spec = sample_spec();
    spec.options.insert("cpus".into(), "1".into());
    let mut machine = RiscvVirt.create(&spec).expect("the sample is sound");
    while machine.tick().0 < at {
        let until = Tick(at.min(machine.tick().0 + slice));
        machine.run(until, &Kick::default(), &mut Nobody);
    }
    digest(&mut *machine)
}

#[test]
fn a_hart_alone_has_its_place_in_a_turn_wherever_runs_end() {
    for at in [30_000, 110_000, 333_333] {
        let whole = state(at, at);
        for slice in [7_000, 20_000, 30_000, 47_111] {
            assert_eq!(state(at, slice), whole, "at {at} by {slice}");
        }
    }
}
