//! A machine that breaks its contract, or goes another way than its log, is caught and told of.
#![allow(clippy::wildcard_enum_match_arm, reason = "a lie is told in one place")]
#![allow(unreachable_pub, dead_code, reason = "the counter is a module of several tests")]

mod counter;

use counter::{COUNTER, Counter, FREE, HELD, LATER, Lie, OTHER};
use omni_base::{Digest, PageNo, Tick};
use omni_lifecycle::{
    Check, Difference, LifecycleError, Log, LogError, LogWriter, Moment, Outcome, Rung, Shelf,
    Snapshot, Timeline, Way, kind_of, parting, replay, restore, run_to, take,
};
use omni_machine::{Event, Kick, Machine, MachineKind, PortId, Spec, digest};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

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
    assert_eq!(
        found.what,
        Some(Difference::Record { path, kind, offset: 8 + 2, fields: vec!["sum"] })
    );
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
    let mut writer = LogWriter::new(log.head());
    let mut grown = writer.take();
    for step in 1..=10 {
        run_to(&mut *machine, Tick(step * 100), &Kick::default(), &mut Outcome::new());
        machine.apply(&input(3), &mut Outcome::new());
        log.event(machine.tick(), input(3));
        writer.event(machine.tick(), &input(3));
        if step % 2 == 0 {
            log.check(&mut *machine);
            writer.check(log.checks().last().expect("just made"));
        }
        grown.extend(writer.take());
        assert!(writer.take().is_empty());
        assert_eq!(Log::from_bytes(&grown), Ok((log.clone(), 0)));
    }
    assert_eq!(grown, whole);
}

#[test]
fn a_check_that_comes_late_belongs_to_its_moment() {
    let (timeline, _) = recorded();
    let log = &timeline.log;
    let mut writer = LogWriter::new(log.head());
    log.events().iter().for_each(|(tick, event)| writer.event(*tick, event));
    log.checks().iter().rev().for_each(|check| writer.check(check));
    let bytes = writer.take();
    assert_ne!(bytes, log.to_bytes());
    let (read, torn) = Log::from_bytes(&bytes).expect("sound");
    assert_eq!((&read, torn), (log, 0));
    assert_eq!(read.to_bytes(), log.to_bytes());
}

#[test]
fn a_check_of_no_moment_is_refused() {
    let (timeline, _) = recorded();
    let mark = timeline.log.checks()[0].mark.clone();
    // Not the tick between those events; the head only is what the writer holds it against.
    for (events, tick) in [(1, 99), (1, 201), (0, 101)] {
        let mut writer = LogWriter::new(timeline.log.head());
        timeline.log.events().iter().for_each(|(tick, event)| writer.event(*tick, event));
        let moment = Moment { events, tick: Tick(tick) };
        writer.check(&Check { moment, mark: mark.clone() });
        let error = Log::from_bytes(&writer.take()).expect_err("no such moment");
        assert!(matches!(error, LogError::Shape { .. }), "{error}");
    }
}

#[test]
fn a_pulse_names_the_record_that_differs_between_rungs() {
    let mut machine = create(SOUND);
    let mut log = Log::new(KINDS, &mut *machine).expect("deterministic");
    for step in 1..=10 {
        run_to(&mut *machine, Tick(step * 100), &Kick::default(), &mut Outcome::new());
        log.pulse(&*machine);
    }
    log.check(&mut *machine);
    let read = Log::from_bytes(&log.to_bytes()).expect("sound").0;
    assert_eq!(read, log);
    let (start, end) = (log.start(), log.end());
    replay(KINDS, &mut *create(SOUND), &read, start, end).expect("the same way");
    let kind = Counter { lie: Lie::DriftsInRecord, info: &COUNTER };
    let found = match replay(&[&kind], &mut *create(&kind), &read, start, end) {
        Err(LifecycleError::Diverged(found)) => *found,
        other => panic!("{other:?}"),
    };
    assert_eq!(found.at, Moment { events: 0, tick: Tick(500) });
    assert_eq!(found.same_until, None);
    assert_eq!(found.records_until, Some(Moment { events: 0, tick: Tick(400) }));
    let (path, kind) = ("state".to_owned(), "counter".to_owned());
    assert_eq!(found.what, Some(Difference::Somewhere { path: path.clone(), kind: kind.clone() }));
    let there = Difference::Record { path, kind, offset: 8 + 2, fields: vec!["sum"] };
    assert_eq!(found.rung, Some((log.end(), there)));
    assert!(found.to_string().contains("in its field sum"), "{found}");
}

#[test]
fn two_ways_to_live_a_stretch_part_at_the_very_tick() {
    let (timeline, _) = recorded();
    let rungs = timeline.rungs();
    let at = |events, tick| Moment { events, tick: Tick(tick) };
    let part = |lie, from, to| {
        let wrong = Counter { lie, info: &COUNTER };
        let sound = |snapshot: &Snapshot| restore(KINDS, snapshot);
        let drifts = |snapshot: &Snapshot| restore(&[&wrong], snapshot);
        let one = Way { rung: &rungs[1], make: &sound };
        let other = Way { rung: &rungs[2], make: &drifts };
        assert!(one.holds(KINDS, &timeline.log, to).expect("can be had"));
        assert!(!other.holds(KINDS, &timeline.log, log_end()).expect("can be had"));
        parting(KINDS, &timeline.log, (one, other), (from, to)).expect("can be had")
    };
    fn log_end() -> Moment {
        Moment { events: 10, tick: Tick(1000) }
    }
    for lie in [Lie::DriftsInRecord, Lie::DriftsInPage, Lie::HaltsAt500] {
        let found = part(lie, at(4, 400), at(6, 600)).expect("they part");
        let (same, first) = match lie {
            // It is seen where the other goes on.
            Lie::HaltsAt500 => (at(5, 500), at(5, 501)),
            _ => (at(4, 499), at(4, 500)),
        };
        assert_eq!((found.same, found.at), (Some(same), first), "{lie:?}");
        match found.what {
            Difference::Record { fields, .. } if lie == Lie::HaltsAt500 => {
                assert_eq!(fields, ["tick"]);
            }
            Difference::Record { fields, .. } => assert_eq!(fields, ["sum"]),
            Difference::Page { page, .. } => assert_eq!(page, PageNo(2)),
            what => panic!("{lie:?}: {what}"),
        }
        assert_eq!(part(lie, at(4, 400), at(4, 450)), None, "{lie:?}");
    }
}

#[test]
fn zeros_after_a_loss_of_power_are_a_torn_end() {
    let whole = recorded().0.log.to_bytes();
    for cut in [whole.len(), whole.len() - 1, whole.len() - 8, whole.len() - 40] {
        let mut bytes = whole[..cut].to_vec();
        let (_, torn) = Log::from_bytes(&bytes).expect("torn at most");
        bytes.extend([0; 64]);
        // Where the zeros begin within an entry that says it is longer, only its end tells.
        let read = Log::from_bytes(&bytes);
        assert!(torn > 8 || read.is_ok_and(|(_, lost)| lost >= 64), "{cut}");
    }
}

/// Snapshots by number, some of which are lost.
#[derive(Debug)]
struct Kept(Vec<Snapshot>);

impl Shelf for Kept {
    fn snapshot(&self, id: Digest) -> std::io::Result<Snapshot> {
        let found = self.0.get(usize::from(id.0[0]));
        found.cloned().ok_or_else(|| std::io::Error::other("it is lost"))
    }
}

#[test]
fn a_timeline_with_rungs_elsewhere_visits_the_same_moments() {
    let (timeline, _) = recorded();
    let all: Vec<Rung> = timeline.rungs().to_vec();
    let snapshots = all.iter().map(|rung| rung.snapshot().expect("in memory")).collect();
    let shelf = Arc::new(Kept(snapshots));
    let name = |at: usize| Digest([u8::try_from(at).expect("few"); 32]);
    let shelved = |(at, rung): (usize, &Rung)| {
        Rung::shelved(rung.moment, name(at), shelf.clone() as Arc<dyn Shelf>)
    };
    let mut rungs: Vec<Rung> = all.iter().enumerate().map(shelved).rev().collect();
    // One of a moment that the log lost, and one that belongs to none.
    rungs.push(Rung::shelved(Moment { events: 10, tick: Tick(9000) }, name(0), shelf.clone()));
    rungs.push(Rung::shelved(Moment { events: 3, tick: Tick(9) }, name(0), shelf.clone()));
    let log = timeline.log.clone();
    let far = Timeline::from_rungs(log.clone(), rungs.clone()).expect("it has its start");
    assert_eq!(far.rungs().len(), all.len());
    for tick in (0..=1000).step_by(50) {
        let moment = log.at(Tick(tick));
        let (mut here, mut there) = (
            timeline.visit(KINDS, moment).expect("on the timeline"),
            far.visit(KINDS, moment).expect("on the timeline"),
        );
        assert_eq!(digest(&mut *here), digest(&mut *there), "{moment}");
    }
    rungs.retain(|rung| rung.moment != log.start());
    assert!(Timeline::from_rungs(log.clone(), rungs).is_err(), "without its start");
    let lost = Rung::shelved(log.start(), name(99), shelf);
    let lost = Timeline::from_rungs(log.clone(), vec![lost]).expect("there until it is read");
    assert!(matches!(lost.visit(KINDS, log.end()), Err(LifecycleError::Rung(..))));
}
