//! What a debugger does to a machine must leave no trace in it.

use crate::{Case, Run};
use omni_base::Tick;
use omni_lifecycle::{Outcome, run_to};
use omni_machine::{Hit, Kick, Machine, Stop, StopPoint, ThreadId, WatchOn, digest};

/// Stops that are looked at in one run.
const HITS_MAX: usize = 3000;

/// Stop points are met at the same ticks whatever is cached, and neither they nor steps change
/// what becomes of a machine.
pub(crate) fn stop_points_are_invisible(case: &Case) {
    let run = case.run(47);
    let mut machine = case.create();
    if machine.inspect().is_none() {
        return;
    }
    let points = points(case, &run);
    let mut seen: Option<Vec<(Tick, Hit)>> = None;
    for seed in [0x18, 1, 0x11] {
        let mut machine = case.create();
        let (out, hits) = live(case, &mut *machine, &run, &points, seed);
        assert_eq!(digest(&mut *machine), run.digest, "{case}: after {} stops", hits.len());
        assert_eq!(out, run.out, "{case}: with stops, what comes out is the same");
        assert!(!hits.is_empty(), "{case}: none of {points:x?} is met");
        let before = seen.get_or_insert_with(|| hits.clone());
        assert_eq!(*before, hits, "{case}: stops do not depend on what is cached");
    }
}

/// Where the code is at some moments of a run, and what its registers point to.
fn points(case: &Case, run: &Run) -> Vec<StopPoint> {
    let mut points = Vec::new();
    for (nth, moment) in run.moments(10).into_iter().enumerate() {
        let (mut machine, _) = case.at(run, moment);
        let inspect = machine.inspect().expect("it was there before");
        let architecture = inspect.architecture();
        let value = |number| inspect.register(ThreadId(0), number);
        let pc = value(architecture.pc).expect("every thread is somewhere");
        points.push(StopPoint::Break(pc));
        let count = architecture.features.first().map_or(0, |first| first.registers.len());
        let places = (0..count).filter(|number| *number != architecture.pc).filter_map(value);
        let places = places.filter(|at| inspect.locate(ThreadId(0), *at).is_some());
        let on = [WatchOn::Store, WatchOn::Load, WatchOn::Any][nth % 3];
        points.extend(places.take(2).map(|at| StopPoint::Watch { at, bytes: 4, on }));
    }
    points.dedup();
    points
}

/// Lives through a run with stop points, and goes on from each by a step.
fn live(
    case: &Case,
    machine: &mut dyn Machine,
    run: &Run,
    points: &[StopPoint],
    seed: u64,
) -> (Outcome, Vec<(Tick, Hit)>) {
    let (mut out, mut hits) = (Outcome::new(), Vec::new());
    let end = run.end.tick;
    machine.drop_caches(seed);
    machine.inspect().expect("it was there before").set_stops(points);
    let events = run.log.events().iter().map(|(tick, event)| (*tick, Some(event)));
    for (tick, event) in events.chain([(end, None)]) {
        while machine.tick() < tick {
            let stop = run_to(machine, tick, &Kick::default(), &mut out);
            let now = machine.tick();
            let Stop::Hit(hit) = stop else {
                assert!(now == tick || matches!(stop, Stop::Halted { .. }), "{case}: {stop:?}");
                break;
            };
            hits.push((now, hit));
            if seed & 1 == 1 {
                machine.drop_caches(seed);
            }
            let inspect = machine.inspect().expect("it was there before");
            assert!(points.contains(&hit.point), "{case}: {hit:x?} was not asked for");
            if let StopPoint::Break(at) = hit.point {
                let pc = inspect.register(hit.thread, inspect.architecture().pc);
                assert_eq!(pc, Some(at), "{case}: it is where it was to stop");
                assert_eq!(inspect.turn(), Some(hit.thread), "{case}: whose turn it is");
            }
            if hits.len() == HITS_MAX {
                inspect.set_stops(&[]);
            } else if !hit.after && now < tick {
                inspect.step(&mut out);
                assert_eq!(machine.tick(), Tick(now.0 + 1), "{case}: a step is one tick");
            }
        }
        if let Some(event) = event {
            machine.apply(event, &mut out);
        }
    }
    (out, hits)
}
