//! The battery on every sample of every kind: one test a property and sample.

use omni_conformance::{BATTERY, Case};
use omni_kinds::{KINDS, samples};
use omni_machine::PortKind;

fn cases() -> impl Iterator<Item = Case> {
    samples().into_iter().map(|sample| Case {
        kinds: KINDS,
        name: sample.name.to_owned(),
        spec: sample.spec,
        span: sample.span,
        script: sample.script.to_vec(),
    })
}

fn check(sample: &str, name: &str) {
    let (_, property) = BATTERY.iter().find(|(other, _)| *other == name).expect("a property");
    property(&cases().find(|case| case.name == sample).expect("a sample"));
}

#[test]
fn a_sample_with_disks_is_seen_with_requests_in_flight() {
    let has_disk =
        |case: &Case| case.ports().iter().any(|port| matches!(port.kind, PortKind::Disk { .. }));
    for case in cases().filter(has_disk) {
        let run = case.run(5);
        let moments = run.moments(40).into_iter();
        let pending = moments.filter(|at| !case.at(&run, *at).0.pending().is_empty()).count();
        assert!(pending > 4, "{case}: requests are in flight at {pending} moments");
    }
}

macro_rules! properties {
    ($sample:ident: $($property:ident,)*) => {
        $(#[test]
        fn $property() {
            super::check(stringify!($sample), stringify!($property));
        })*

        #[test]
        fn no_property_is_left_out() {
            let here: &[&str] = &[$(stringify!($property)),*];
            assert!(omni_conformance::BATTERY.iter().map(|(name, _)| name).eq(here));
        }
    };
}

macro_rules! battery {
    ($($sample:ident,)*) => {
        $(mod $sample {
            properties! { $sample:
                a_kind_says_what_it_is,
                a_replay_is_equal,
                slicing_and_saving_and_dropped_caches_are_invisible,
                caches_of_another_machine_are_invisible,
                a_restore_at_any_moment_has_the_same_future,
                any_moment_can_be_visited,
                forks_share_pages,
                forks_differ_only_by_identity,
                pending_requests_are_listed_again,
                a_kick_stops_soon,
                no_run_goes_past_its_mark,
                strange_events_are_survived,
                stop_points_are_invisible,
                a_snapshot_survives_its_file,
                a_log_survives_its_file,
                every_damaged_byte_is_refused,
                forged_records_never_panic,
            }
        })*

        #[test]
        fn no_sample_is_left_out() {
            let here: &[&str] = &[$(stringify!($sample)),*];
            assert!(samples().iter().map(|sample| sample.name).eq(here.iter().copied()));
        }
    };
}

battery! {
    story,
    board,
    program,
    large_story,
    mixed,
}
