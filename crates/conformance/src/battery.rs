//! The battery. Each property takes a case and knows no kind; it panics where the case fails it.

use crate::{Case, FakeWorld, damage, stops};
use omni_base::Tick;
use omni_lifecycle::{
    Difference, Outcome, Snapshot, Timeline, World, fork, kind_of, record, replay, restore, run_to,
    take,
};
use omni_machine::{Effect, Event, IoId, Kick, Machine, Outside, Stop, digest};

/// Ticks within which a kicked machine stops. A tick is an instruction or so.
const KICK_TICKS_MAX: u64 = 100_000;

/// A property of a machine: panics where a case does not have it.
pub type Property = fn(&Case);

/// Every property and its name.
pub const BATTERY: &[(&str, Property)] = &[
    ("a_kind_says_what_it_is", a_kind_says_what_it_is),
    ("a_replay_is_equal", a_replay_is_equal),
    ("slicing_and_saving_and_dropped_caches_are_invisible", slicing_is_invisible),
    ("caches_of_another_machine_are_invisible", caches_of_another_are_invisible),
    ("a_restore_at_any_moment_has_the_same_future", a_restore_has_the_same_future),
    ("any_moment_can_be_visited", any_moment_can_be_visited),
    ("forks_share_pages", forks_share_pages),
    ("forks_differ_only_by_identity", forks_differ_only_by_identity),
    ("pending_requests_are_listed_again", pending_requests_are_listed_again),
    ("a_kick_stops_soon", a_kick_stops_soon),
    ("no_run_goes_past_its_mark", no_run_goes_past_its_mark),
    ("strange_events_are_survived", strange_events_are_survived),
    ("stop_points_are_invisible", stops::stop_points_are_invisible),
    ("a_snapshot_survives_its_file", damage::a_snapshot_survives_its_file),
    ("a_log_survives_its_file", damage::a_log_survives_its_file),
    ("every_damaged_byte_is_refused", damage::every_damaged_byte_is_refused),
    ("forged_records_never_panic", damage::forged_records_never_panic),
];

fn a_kind_says_what_it_is(case: &Case) {
    let kind = kind_of(case.kinds, &case.spec.kind).expect("in the list");
    let info = kind.info();
    let same = case.kinds.iter().filter(|kind| kind.info().name == info.name);
    assert_eq!(same.count(), 1, "{case}: two kinds of one name");
    let ports = case.ports();
    for (at, port) in ports.iter().enumerate() {
        let clash =
            |other: &&omni_machine::PortInfo| other.id == port.id || other.name == port.name;
        assert!(!ports[..at].iter().any(|other| clash(&other)), "{case}: two ports {port:?}");
    }
    let (mut one, mut other) = (case.create(), case.create());
    assert_eq!(one.caps(), info.caps, "{case}: a machine can do what its kind says");
    assert_eq!(one.tick(), Tick(0), "{case}: a new machine is at tick zero");
    assert_eq!(digest(&mut *one), digest(&mut *other), "{case}: making it again is the same");
    assert!(one.pending().is_empty(), "{case}: a new machine has asked for nothing");
}

fn a_replay_is_equal(case: &Case) {
    for seed in 1..5 {
        let run = case.run(seed);
        let (mut machine, again) = case.at(&run, run.end);
        assert_same(case, &again, &run.out);
        assert_eq!(digest(&mut *machine), run.digest, "{case}: seed {seed}");
    }
}

fn slicing_is_invisible(case: &Case) {
    let run = case.run(7);
    let mut machine = case.create();
    let (mut again, mut now, mut step) = (Outcome::new(), run.log.start(), 0);
    // Slices of any length, among them one tick, as many as there is time for.
    while now < run.end {
        step += 1;
        let length = 1 + step * step % (case.span.0 / 150 + 2);
        let tick = Tick(now.tick.0.saturating_add(length));
        let to = if tick >= run.end.tick { run.end } else { run.log.at(tick) };
        again.extend(case.advance(&mut *machine, &run, now, to));
        now = to;
        machine.drop_caches(step);
        if step % 3 == 0 {
            take(case.kinds, &mut *machine).expect("can be saved");
        }
    }
    assert_same(case, &again, &run.out);
    assert_eq!(digest(&mut *machine), run.digest, "{case}");
}

fn caches_of_another_are_invisible(case: &Case) {
    let runs = [47, 53].map(|seed| case.run(seed));
    let mut machines = [case.create(), case.create()];
    let mut out = [Outcome::new(), Outcome::new()];
    let mut now = [0, 1].map(|at: usize| runs[at].log.start());
    // The one set of caches goes from machine to machine, at times by way of nobody's hand.
    let (mut caches, mut step) = (None, 0);
    while (0..2).any(|at| now[at] < runs[at].end) {
        step += 1;
        let (at, run) = (step % 2, &runs[step % 2]);
        let length = 1 + (step as u64 * 37) % (case.span.0 / 40 + 2);
        let tick = Tick(now[at].tick.0.saturating_add(length));
        let to = if tick >= run.end.tick { run.end } else { run.log.at(tick) };
        let own = machines[at].exchange_caches(caches.take());
        out[at].extend(case.advance(&mut *machines[at], run, now[at], to));
        now[at] = to;
        if step % 5 == 0 {
            take(case.kinds, &mut *machines[at]).expect("can be saved");
        }
        caches = machines[at].exchange_caches(own);
    }
    for (at, machine) in machines.iter_mut().enumerate() {
        assert_same(case, &out[at], &runs[at].out);
        assert_eq!(digest(&mut **machine), runs[at].digest, "{case}: machine {at}");
    }
}

fn a_restore_has_the_same_future(case: &Case) {
    let run = case.run(11);
    for moment in run.moments(9) {
        let (mut machine, mut again) = case.at(&run, moment);
        let snapshot = take(case.kinds, &mut *machine).expect("can be saved");
        assert_eq!(snapshot.digest(), digest(&mut *machine), "{case}: one state, one digest");
        drop(machine);
        let mut machine = revive(case, &snapshot);
        let here = take(case.kinds, &mut *machine).expect("can be saved");
        assert_eq!(snapshot.difference(&here), None, "{case}: restored at {moment}");
        again.extend(case.advance(&mut *machine, &run, moment, run.end));
        assert_same(case, &again, &run.out);
        assert_eq!(digest(&mut *machine), run.digest, "{case}: from {moment}");
    }
}

fn any_moment_can_be_visited(case: &Case) {
    let mut machine = case.create();
    let mut timeline = Timeline::new(case.kinds, &mut *machine).expect("deterministic");
    let mut world = case.world(3);
    let mut seen = vec![(timeline.log.start(), digest(&mut *machine))];
    for step in 1..24 {
        let until = Tick(case.span.0 / 24 * step);
        record(&mut *machine, &mut world, until, &mut timeline.log);
        if step % 6 == 0 {
            timeline.rung(case.kinds, &mut *machine).expect("can be saved");
        }
        timeline.log.pulse(&*machine);
        seen.push((timeline.log.now(&*machine), digest(&mut *machine)));
    }
    for (moment, want) in seen.into_iter().rev() {
        let then = timeline.visit(case.kinds, moment);
        let mut then = then.unwrap_or_else(|error| panic!("{case}: to {moment}: {error}"));
        assert_eq!(digest(&mut *then), want, "{case}: at {moment}");
    }
    if let Err(error) = timeline.verify(case.kinds) {
        panic!("{case}: {error}");
    }
}

fn forks_share_pages(case: &Case) {
    let run = case.run(19);
    let (mut parent, _) = case.at(&run, run.log.at(Tick(run.end.tick.0 / 2)));
    let snapshot = take(case.kinds, &mut *parent).expect("can be saved");
    let mut child = revive(case, &snapshot);
    let dirty: usize = child.memory().spaces.iter().map(|space| space.dirty().len()).sum();
    assert_eq!(dirty, 0, "{case}: a restored machine has written nothing");
    let here = take(case.kinds, &mut *child).expect("can be saved");
    for (of_child, of_parent) in here.spaces.iter().zip(&snapshot.spaces) {
        let mut private = 0;
        let changed = of_child.image.changed_since(&of_parent.image, &mut |_, _| private += 1);
        changed.expect("both are in memory");
        assert_eq!(private, 0, "{case}: pages of {} that are not shared", of_child.name);
    }
    // Neither sees what the other does from here on.
    let moment = run.log.at(parent.tick());
    case.advance(&mut *child, &run, moment, run.end);
    let still = take(case.kinds, &mut *parent).expect("can be saved");
    assert_eq!(snapshot.difference(&still), None, "{case}: the parent after its child ran");
}

fn forks_differ_only_by_identity(case: &Case) {
    let run = case.run(23);
    for moment in run.moments(3) {
        let (mut parent, _) = case.at(&run, moment);
        let snapshot = take(case.kinds, &mut *parent).expect("can be saved");
        let twin = |entropy: u8| {
            let mut out = Outcome::new();
            let fork = fork(case.kinds, &snapshot, [entropy; 32], &mut out);
            let mut fork = fork.unwrap_or_else(|error| panic!("{case}: {error}"));
            (take(case.kinds, &mut *fork).expect("can be saved"), out)
        };
        let ((one, one_out), (same, same_out), (other, _)) = (twin(1), twin(1), twin(2));
        assert_eq!(one.difference(&same), None, "{case}: forks of one identity");
        assert_same(case, &one_out, &same_out);
        let found = one.difference(&other);
        assert!(found.is_some(), "{case}: forks of two identities are the same");
        assert_eq!(one.spaces.len(), snapshot.spaces.len(), "{case}");
        assert_eq!(one.tick, snapshot.tick, "{case}: a fork takes no time");
        // Who it is stands in a record; what it holds in memory and has asked for is its parent's,
        // until it runs.
        let spaces = |of: &Snapshot| of.mark().spaces;
        assert_eq!(spaces(&one), spaces(&other), "{case}: forks differ in memory");
        let is_record = matches!(found, Some(Difference::Record { .. }));
        assert!(is_record, "{case}: forks differ in {found:?}");
        assert_eq!(one.pending, snapshot.pending, "{case}: a fork asks again for the same");
        let new_requests = one_out.iter().any(|(_, effect)| matches!(effect, Effect::Io(_)));
        assert!(!new_requests, "{case}: becoming another asks nothing of the outside");
    }
}

fn pending_requests_are_listed_again(case: &Case) {
    let mut world = case.world(29);
    let mut machine = case.create();
    let mut log = case.log(&mut *machine);
    let mut open = Vec::<IoId>::new();
    for step in 1..=40 {
        let done = log.events().len();
        let until = Tick(case.span.0 / 40 * step);
        let out = record(&mut *machine, &mut world, until, &mut log);
        let asked = out.iter().filter_map(|(_, effect)| request(effect));
        open.extend(asked);
        for (_, event) in &log.events()[done..] {
            if let Event::IoDone { id, .. } = event {
                open.retain(|open| open != id);
            }
        }
        let listed: Vec<_> = machine.pending().iter().filter_map(request).collect();
        assert_eq!(listed, open, "{case}: requests in flight at {}", log.now(&*machine));
        assert_eq!(machine.pending().len(), open.len(), "{case}: only requests are in flight");
        let snapshot = take(case.kinds, &mut *machine).expect("can be saved");
        assert_eq!(revive(case, &snapshot).pending(), snapshot.pending, "{case}");
        if step % 10 == 0 && !open.is_empty() {
            reissue(case, &snapshot);
        }
    }
}

/// Who restores a machine issues its requests again, and the answers of another world end them.
fn reissue(case: &Case, snapshot: &Snapshot) {
    let mut machine = revive(case, snapshot);
    let mut world = FakeWorld::silent(31);
    snapshot.pending.iter().for_each(|effect| world.take(snapshot.tick, effect));
    assert_eq!(world.answers_due(), snapshot.pending.len(), "{case}");
    let mut log = case.log(&mut *machine);
    let until = Tick(snapshot.tick.0 + case.span.0);
    record(&mut *machine, &mut world, until, &mut log);
    let left = machine.pending();
    let old = snapshot.pending.iter().filter(|effect| left.contains(effect)).count();
    assert_eq!(old, 0, "{case}: requests that were answered are still in flight");
}

fn request(effect: &Effect) -> Option<IoId> {
    match effect {
        Effect::Io(request) => Some(request.id),
        Effect::Output { .. } => None,
    }
}

fn a_kick_stops_soon(case: &Case) {
    let run = case.run(37);
    let far = |tick: Tick| Tick(tick.0.saturating_add(10 * KICK_TICKS_MAX));
    for moment in run.moments(6) {
        let (mut machine, _) = case.at(&run, moment);
        let kick = Kick::default();
        kick.kick();
        let stop = run_to(&mut *machine, far(moment.tick), &kick, &mut Outcome::new());
        assert_stopped(case, stop, machine.tick().0 - moment.tick.0);
    }
    // A kick while it runs: by whoever takes its first effect.
    let mut machine = case.create();
    let mut kicker = Kicker { kick: Kick::default(), at: None };
    let kick = kicker.kick.clone();
    for (tick, event) in run.log.events() {
        let mut stop = run_to(&mut *machine, *tick, &kick, &mut kicker);
        if let Some(kicked) = kicker.at.take() {
            assert_stopped(case, stop, machine.tick().0 - kicked.0);
        }
        while machine.tick() < *tick && matches!(stop, Stop::Kicked) {
            stop = run_to(&mut *machine, *tick, &kick, &mut Outcome::new());
        }
        machine.apply(event, &mut Outcome::new());
    }
}

/// Kicks at each effect.
struct Kicker {
    kick: Kick,
    at: Option<Tick>,
}

impl Outside for Kicker {
    fn emit(&mut self, tick: Tick, _effect: Effect) {
        self.kick.kick();
        self.at.get_or_insert(tick);
    }
}

fn assert_stopped(case: &Case, stop: Stop, ticks: u64) {
    match stop {
        // Time that an idle machine lets pass is not waited for.
        Stop::Idle { .. } | Stop::Halted { .. } => {}
        Stop::Hit(hit) => panic!("{case}: stopped at {hit:?}, which nobody asked for"),
        Stop::Kicked | Stop::Reached => {
            assert!(ticks <= KICK_TICKS_MAX, "{case}: stopped {ticks} ticks after a kick");
        }
    }
}

fn no_run_goes_past_its_mark(case: &Case) {
    // `run_to` asserts it; here are many marks, also where the machine is idle, and marks at
    // the machine's own tick.
    let run = case.run(41);
    let mut machine = case.create();
    let mut random = 41u64;
    for (tick, event) in run.log.events() {
        while machine.tick() < *tick {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let ahead = (random >> 33) % (case.span.0 / 60 + 2);
            let until = Tick(tick.0.min(machine.tick().0 + ahead));
            let stop = run_to(&mut *machine, until, &Kick::default(), &mut Outcome::new());
            if let Stop::Halted { .. } = stop {
                return;
            }
            if let Stop::Idle { wake: Some(wake) } = stop {
                assert!(wake >= until, "{case}: idle until {wake:?}, which is past");
            }
        }
        machine.apply(event, &mut Outcome::new());
    }
}

fn strange_events_are_survived(case: &Case) {
    let run = case.run(43);
    // At a moment with requests in flight, if the machine ever has any.
    let moments = run.moments(12).into_iter().map(|moment| case.at(&run, moment).0);
    let mut machine =
        moments.max_by_key(|machine| machine.pending().len()).expect("a run has moments");
    let mut log = case.log(&mut *machine);
    let snapshot = take(case.kinds, &mut *machine).expect("can be saved");
    let strange = [
        Event::IoDone { id: IoId(u64::MAX), result: Ok(vec![1; 9000]) },
        Event::IoDone { id: IoId(u64::MAX), result: Err(u16::MAX) },
        Event::Input { port: omni_machine::PortId(u16::MAX), bytes: vec![0xff; 70_000] },
        Event::Input { port: omni_machine::PortId(0), bytes: vec![] },
        Event::Input { port: omni_machine::PortId(0), bytes: vec![0xff; 70_000] },
        Event::Control(omni_machine::Control::PowerButton),
        Event::Control(omni_machine::Control::Resize {
            port: omni_machine::PortId(9),
            columns: 0,
            rows: u16::MAX,
        }),
        Event::Control(omni_machine::Control::Balloon { bytes: 0 }),
        Event::Control(omni_machine::Control::Reset),
        Event::Generation { entropy: [0; 32] },
    ];
    let mut out = Outcome::new();
    for event in strange {
        let pending = machine.pending();
        machine.apply(&event, &mut out);
        if let Event::IoDone { .. } = event {
            assert_eq!(machine.pending(), pending, "{case}: an answer to nothing ends nothing");
        }
        log.event(machine.tick(), event);
        let until = Tick(machine.tick().0 + case.span.0 / 50);
        run_to(&mut *machine, until, &Kick::default(), &mut out);
        if machine.tick() < until {
            break;
        }
    }
    log.check(&mut *machine);
    let mut again = revive(case, &snapshot);
    let replayed = replay(case.kinds, &mut *again, &log, log.start(), log.end());
    let replayed = replayed.unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_same(case, &replayed, &out);
}

/// The machine of a snapshot.
pub(crate) fn revive(case: &Case, snapshot: &Snapshot) -> Box<dyn Machine> {
    restore(case.kinds, snapshot).unwrap_or_else(|error| panic!("{case}: {error}"))
}

#[track_caller]
fn assert_same(case: &Case, got: &Outcome, want: &Outcome) {
    let first = got.iter().zip(want).position(|(got, want)| got != want);
    let first = first.unwrap_or(got.len().min(want.len()));
    let (got_first, want_first) = (got.get(first), want.get(first));
    assert_eq!(got_first, want_first, "{case}: effect {first} is the first that differs");
}
