//! A machine that breaks its contract, or goes another way than its log, is caught and told of.
#![allow(clippy::wildcard_enum_match_arm, reason = "a lie is told in one place")]
#![allow(unreachable_pub, dead_code, reason = "the counter is a module of several tests")]

mod counter;

use counter::{COUNTER, Counter, FREE, HELD, LATER, Lie, OTHER};
use omni_base::{PageNo, Tick};
use omni_lifecycle::{
    Difference, LifecycleError, Log, Moment, Outcome, Timeline, kind_of, replay, run_to, take,
};
use omni_machine::{Event, Kick, Machine, MachineKind, PortId, Spec, digest};
use std::panic::{AssertUnwindSafe, catch_unwind};

const SOUND: &Counter = &Counter { lie: Lie::None, info: &COUNTER };
const KINDS: &[&dyn MachineKind] = &[SOUND];

fn create(kind: &Counter) -> Box<dyn Machine> {
    kind.create(&Spec::new(kind.info.name)).expect("any spec will do")
}

fn input(count: usize) -> Event {
    Event::Input { port: PortId(0), bytes: vec![7; count] }
}

/// A sound counter's timeline: an event each 100 ticks, a rung each 200, up to 1000.
fn recorded() -> (Timeline, Box<dyn Machine>) {
    let mut machine = create(SOUND);
    let mut timeline = Timeline::new(KINDS, &mut *machine).expect("deterministic");
    for step in 1..=10 {
        run_to(&mut *machine, Tick(step * 100), &Kick::default(), &mut Outcome::new());
        machine.apply(&input(3), &mut Outcome::new());
        timeline.log.event(machine.tick(), input(3));
        if step % 2 == 0 {
            timeline.rung(KINDS, &mut *machine).expect("can be saved");
        }
    }
    (timeline, machine)
}

#[test]
fn a_lie_about_time_is_caught_at_the_waist() {
    use Lie::{DatesEffectsBack, DatesEffectsLate, GoesBack, RunsPast, StopsShort};
    let run = |lie| {
        let mut machine = create(&Counter { lie, info: &COUNTER });
        catch_unwind(AssertUnwindSafe(|| {
            for until in [0, 50, 250, 900] {
                run_to(&mut *machine, Tick(until), &Kick::default(), &mut Outcome::new());
            }
        }))
    };
    assert!(run(Lie::None).is_ok());
    for lie in [RunsPast, StopsShort, GoesBack, DatesEffectsLate, DatesEffectsBack] {
        assert!(run(lie).is_err(), "{lie:?}");
    }
}

#[test]
fn a_divergence_is_told_by_its_first_rung_and_by_record_or_page() {
    let (timeline, _) = recorded();
    let at = |events, tick| Moment { events, tick: Tick(tick) };
    let verify = |lie| {
        let kind = Counter { lie, info: &COUNTER };
        match timeline.verify(&[&kind]) {
            Err(LifecycleError::Diverged(found)) => *found,
            other => panic!("{:?}", other.map(|_| ())),
        }
    };
    let found = verify(Lie::DriftsInRecord);
    assert_eq!((found.same_until, found.at), (Some(at(4, 400)), at(6, 600)));
    let (path, kind) = ("state".to_owned(), "counter".to_owned());
    // The tick's eight bytes, then the third of the sum.
    assert_eq!(found.what, Some(Difference::Record { path, kind, offset: 8 + 2 }));
    let found = verify(Lie::DriftsInPage);
    assert_eq!((found.same_until, found.at), (Some(at(4, 400)), at(6, 600)));
    assert_eq!(found.what, Some(Difference::Page { space: "ram".into(), page: PageNo(2) }));
    let found = verify(Lie::HaltsAt500);
    assert_eq!((found.same_until, found.what), (Some(at(4, 400)), None));
    let text = verify(Lie::DriftsInPage).to_string();
    assert!(text.contains("tick 600 after 6 events") && text.contains("page 2"), "{text}");
}

#[test]
fn a_replay_without_rungs_names_the_space() {
    let (timeline, _) = recorded();
    let kind = Counter { lie: Lie::DriftsInPage, info: &COUNTER };
    let (kinds, mut machine): (&[&dyn MachineKind], _) = (&[&kind], create(&kind));
    let log = Log::from_bytes(&timeline.log.to_bytes()).expect("sound").0;
    match replay(kinds, &mut *machine, &log, log.start(), log.end()) {
        Err(LifecycleError::Diverged(found)) => {
            assert_eq!(found.what, Some(Difference::Space { name: "ram".into() }));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_replay_from_another_state_is_refused_at_once() {
    let (timeline, _) = recorded();
    let mut machine = create(SOUND);
    machine.apply(&input(1), &mut Outcome::new());
    let log = &timeline.log;
    match replay(KINDS, &mut *machine, log, log.start(), log.end()) {
        Err(LifecycleError::Diverged(found)) => assert_eq!(found.what, Some(Difference::Start)),
        other => panic!("{other:?}"),
    }
    let start = take(KINDS, &mut *machine).expect("can be saved");
    assert!(Timeline::from_parts(log.clone(), start).is_err());
    let start = take(KINDS, &mut *create(SOUND)).expect("can be saved");
    let again = Timeline::from_parts(log.clone(), start).expect("the right start");
    again.verify(KINDS).expect("the same way");
}

#[test]
fn a_log_of_another_meaning_or_kind_is_not_replayed() {
    let (timeline, _) = recorded();
    let log = &timeline.log;
    let try_on = |info| {
        let kind = Counter { lie: Lie::None, info };
        let mut machine = create(&kind);
        replay(&[&kind], &mut *machine, log, log.start(), log.end()).expect_err("not this one")
    };
    let (log, here) = (1, 2);
    let wrong = try_on(&LATER);
    assert!(
        matches!(wrong, LifecycleError::Semantics { log: l, here: h, .. } if (l, h) == (log, here))
    );
    assert!(matches!(try_on(&OTHER), LifecycleError::OtherKind { .. }));
    assert!(matches!(try_on(&FREE), LifecycleError::NotDeterministic(_)));
}

#[test]
fn what_a_machine_cannot_do_is_refused_before_it_starts() {
    let free = Counter { lie: Lie::None, info: &FREE };
    let error = Log::new(&[&free], &mut *create(&free)).expect_err("not deterministic");
    assert!(matches!(error, LifecycleError::NotDeterministic(_)));
    let held = Counter { lie: Lie::None, info: &HELD };
    let error = take(&[&held], &mut *create(&held)).expect_err("not self-contained");
    assert!(matches!(error, LifecycleError::NotSelfContained(_)));
    assert!(take(&[], &mut *create(SOUND)).is_err());
    assert!(kind_of(KINDS, "other").is_err());
}

#[test]
fn moments_between_two_events_of_a_tick_are_told_apart() {
    let mut machine = create(SOUND);
    let mut timeline = Timeline::new(KINDS, &mut *machine).expect("deterministic");
    run_to(&mut *machine, Tick(10), &Kick::default(), &mut Outcome::new());
    let mut seen = vec![(timeline.log.now(&*machine), digest(&mut *machine))];
    for count in 1..4 {
        machine.apply(&input(count), &mut Outcome::new());
        timeline.log.event(machine.tick(), input(count));
        timeline.rung(KINDS, &mut *machine).expect("can be saved");
        seen.push((timeline.log.now(&*machine), digest(&mut *machine)));
    }
    for thin in [false, true] {
        for (moment, want) in &seen {
            let mut then = timeline.visit(KINDS, *moment).expect("on the timeline");
            assert_eq!(digest(&mut *then), *want, "{moment}");
        }
        timeline.thin(|_| thin);
    }
    for (events, tick) in [(0, 11), (1, 9), (3, 9), (4, 10)] {
        let moment = Moment { events, tick: Tick(tick) };
        let missing = timeline.visit(KINDS, moment).err();
        assert!(matches!(missing, Some(LifecycleError::NoMoment(m)) if m == moment), "{moment}");
    }
}

#[test]
fn a_log_grows_by_what_is_new() {
    let (timeline, _) = recorded();
    let whole = timeline.log.to_bytes();
    let mut machine = create(SOUND);
    let mut log = Log::new(KINDS, &mut *machine).expect("deterministic");
    let mut cursor = omni_lifecycle::LogCursor::default();
    let mut grown = log.append(&mut cursor);
    for step in 1..=10 {
        run_to(&mut *machine, Tick(step * 100), &Kick::default(), &mut Outcome::new());
        machine.apply(&input(3), &mut Outcome::new());
        log.event(machine.tick(), input(3));
        if step % 2 == 0 {
            log.check(&mut *machine);
        }
        grown.extend(log.append(&mut cursor));
        assert!(log.append(&mut cursor).is_empty());
        assert_eq!(Log::from_bytes(&grown), Ok((log.clone(), 0)));
    }
    assert_eq!(grown, whole);
}
