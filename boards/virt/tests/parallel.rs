//! Harts side by side: what the memory model promises, and that any snapshot goes on either way.

use omni_base::{Gpa, Tick};
use omni_board_virt::RiscvVirt;
use omni_machine::{Kick, Machine, MachineKind, Schedule, Spec, Stop};
use omni_state::Bundle;

/// Tests what harts are to each other; its source and how to build it are in `sample/litmus.c`.
const LITMUS: &[u8] = include_bytes!("../sample/litmus.elf");

/// A machine that is about to run the tests.
fn litmus(harts: u64, rounds: u64) -> Box<dyn Machine> {
    let mut spec = Spec::new("riscv-virt");
    spec.options.insert("memory".into(), "16M".into());
    spec.options.insert("cpus".into(), harts.to_string());
    spec.files.insert("image".into(), LITMUS.into());
    let mut machine = RiscvVirt.create(&spec).expect("the image is sound");
    let ram = &mut machine.memory().spaces[0];
    ram.store(Gpa(0xf0_0000), &harts.to_le_bytes()).expect("in RAM");
    ram.store(Gpa(0xf0_0008), &rounds.to_le_bytes()).expect("in RAM");
    machine
}

/// The same machine, made anew from its state.
fn restored(mut machine: Box<dyn Machine>) -> Box<dyn Machine> {
    let mut records = Bundle::default();
    machine.save(&mut records);
    let spaces = machine.memory().spaces.iter_mut().map(|space| {
        let image = space.seal().image;
        omni_memory::Space::from_image(space.name().to_owned(), space.page_count(), image)
    });
    let spaces = spaces.collect();
    RiscvVirt.restore(machine.spec(), spaces, records).expect("what was saved fits")
}

fn run(machine: &mut dyn Machine, ticks: u64) -> Stop {
    let until = Tick(machine.tick().0 + ticks);
    machine.run(until, &Kick::default(), &mut Vec::new())
}

fn finish(machine: &mut dyn Machine, case: &str) {
    for _ in 0..100_000 {
        if let Stop::Halted { code } = run(machine, 1_000_000) {
            assert_eq!(code, 0, "{case}: the number of what failed, in litmus.c");
            return;
        }
    }
    panic!("{case}: the program goes on for ever");
}

#[test]
fn harts_side_by_side_keep_the_memory_model() {
    // Tests of other hosts are run by an emulator, in which a round takes fifty times as long.
    let part = if cfg!(target_arch = "x86_64") { 1 } else { 4 };
    for (harts, rounds) in [(2, 800), (3, 60), (8, 8)] {
        let mut machine = litmus(harts, rounds / part);
        assert!(machine.set_schedule(Schedule::Parallel));
        finish(&mut *machine, &format!("{harts} harts"));
    }
}

#[test]
fn harts_in_turns_keep_the_memory_model() {
    for harts in [1, 2, 4] {
        finish(&mut *litmus(harts, 200), &format!("{harts} harts"));
    }
}

#[test]
fn dropped_caches_and_other_tiers_keep_the_memory_model() {
    // Dropping caches chooses other tiers.
    let mut machine = litmus(2, 200);
    assert!(machine.set_schedule(Schedule::Parallel));
    for seed in 0..64 {
        machine.drop_caches(seed);
        if let Stop::Halted { code } = run(&mut *machine, 150_000) {
            assert_eq!(code, 0, "the number of what failed, in litmus.c");
            return;
        }
    }
    finish(&mut *machine, "caches dropped");
}

#[test]
fn a_machine_changes_its_schedule_at_any_snapshot() {
    let mut machine = litmus(2, 300);
    for nth in 0..200 {
        let schedule = [Schedule::Parallel, Schedule::Turns][nth % 2];
        assert!(machine.set_schedule(schedule));
        let exact = schedule == Schedule::Turns;
        assert_eq!((machine.caps().exact_ticks, machine.caps().deterministic), (exact, exact));
        if let Stop::Halted { code } = run(&mut *machine, 30_000 + nth as u64 * 777) {
            assert_eq!(code, 0, "the number of what failed, in litmus.c");
            return;
        }
        if nth % 3 == 0 {
            machine = restored(machine);
        }
    }
    finish(&mut *machine, "changing");
}

#[test]
fn one_hart_is_exact_by_any_schedule() {
    let mut machine = litmus(1, 50);
    assert!(machine.set_schedule(Schedule::Parallel));
    assert!(machine.caps().exact_ticks && machine.caps().deterministic);
    run(&mut *machine, 1234);
    assert_eq!(machine.tick(), Tick(1234));
}

#[test]
fn a_kick_stops_harts_side_by_side() {
    let mut machine = litmus(2, u64::MAX);
    assert!(machine.set_schedule(Schedule::Parallel));
    let kick = Kick::default();
    let stop = std::thread::scope(|scope| {
        let ran = scope.spawn(|| machine.run(Tick::MAX, &kick, &mut Vec::new()));
        std::thread::sleep(std::time::Duration::from_millis(20));
        kick.kick();
        ran.join().expect("it runs")
    });
    assert_eq!(stop, Stop::Kicked);
}
