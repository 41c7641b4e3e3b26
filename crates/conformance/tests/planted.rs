//! The battery itself: a sound toy passes it, and no toy with a planted fault does.
#![allow(clippy::wildcard_enum_match_arm, reason = "most planted faults are elsewhere")]
#![allow(unreachable_pub, reason = "the toy is a module of a test")]

mod toy;

use omni_base::Tick;
use omni_conformance::{BATTERY, Case, Property};
use omni_machine::MachineKind;
use std::panic::catch_unwind;
use toy::{FAULTS, Fault, Toy};

fn case(fault: Fault) -> Case {
    let kinds: &'static [&'static dyn MachineKind] = match fault {
        Fault::None => &[&Toy(Fault::None)],
        // A list of kinds lives as long as the program; in a test a leak of few bytes will do.
        _ => Box::leak(Box::new([&*Box::leak(Box::new(Toy(fault))) as &dyn MachineKind])),
    };
    let name = format!("toy with {fault:?}");
    Case { kinds, name, spec: toy::spec(), span: Tick(20_000), script: b"look\n".to_vec() }
}

#[test]
fn a_sound_toy_passes_the_whole_battery() {
    BATTERY.iter().for_each(|(_, property)| property(&case(Fault::None)));
}

#[test]
fn the_battery_catches_every_planted_fault() {
    let mut missed = Vec::new();
    let mut idle: Vec<_> = BATTERY.iter().map(|(name, _)| *name).collect();
    for &fault in FAULTS {
        let fails = |(name, property): &(&'static str, Property)| {
            catch_unwind(|| property(&case(fault))).is_err().then_some(*name)
        };
        let caught: Vec<_> = BATTERY.iter().filter_map(fails).collect();
        idle.retain(|name| !caught.contains(name));
        if caught.is_empty() {
            missed.push(fault);
        }
    }
    assert!(missed.is_empty(), "missed: {missed:?}");
    // What files do, no fault of a machine can break; the tests of the lifecycle see to it.
    let of_files = ["a_log_survives_its_file", "every_damaged_byte_is_refused"];
    assert!(idle.iter().all(|name| of_files.contains(name)), "no fault fails {idle:?}");
}
