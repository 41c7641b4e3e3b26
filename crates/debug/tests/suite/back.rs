//! Going back, on a sample of every kind: what was met ahead is met on the way back, and nobody
//! notices.

use crate::alive::{Alive, arrive, debugged, kinds};
use omni_base::{Digest, Tick};
use omni_debug::{DebugError, Go, History, Life, Present, Session, Stopped};
use omni_kinds::Sample;
use omni_lifecycle::{Log, Moment, Rung, take};
use omni_machine::{Event, Hit, PortId, Spec, StopPoint, ThreadId, WatchOn, digest};

fn sessions(mut each: impl FnMut(&Sample, &mut Session<'_>)) {
    // These wait for most of their lives or end early: a few steps that wait too take all of them.
    let short = ["large_story", "mixed"];
    for sample in debugged().into_iter().filter(|sample| !short.contains(&sample.name)) {
        let mut alive = Alive::new(&sample);
        let history = History::new(kinds(), alive.machine()).expect("it replays");
        let mut session = Session::new(&mut alive, history).expect("it has registers");
        each(&sample, &mut session);
        // In the end it lives on as if nobody had looked.
        let now = session.present_moment();
        session.visit(now).expect("the present is there");
        session.leave();
        drop(session);
        while alive.live() != Life::Ended {}
        let mut other = Alive::new(&sample);
        while other.live() != Life::Ended {}
        let name = sample.name;
        assert_eq!(digest(alive.machine()), digest(other.machine()), "{name}: it was noticed");
    }
}

fn state(session: &mut Session<'_>) -> Digest {
    digest(session.machine())
}

fn pc(session: &mut Session<'_>, thread: ThreadId) -> u64 {
    let inspect = session.inspect();
    inspect.register(thread, inspect.architecture().pc).expect("it is somewhere")
}

/// Lives for some slices, and gives where the code was after them.
fn somewhere(session: &mut Session<'_>, slices: usize) -> Vec<u64> {
    let mut places = Vec::new();
    for _ in 0..slices {
        session.go(Go::On).expect("it goes");
        for _ in 0..3 {
            assert!(session.poll().expect("it lives").is_none());
        }
        session.interrupt();
        // Where it is about to do something, and does not wait.
        session.go(Go::Step(ThreadId(0))).expect("it goes");
        arrive(session);
        places.push(pc(session, ThreadId(0)));
    }
    places
}

#[test]
fn every_stop_that_was_met_is_met_on_the_way_back() {
    sessions(|sample, session| {
        for at in somewhere(session, 5) {
            session.add_stop(StopPoint::Break(at));
        }
        let begin = session.begin();
        session.visit(begin).expect("it is recorded");
        let mut met: Vec<(Moment, Hit, Digest)> = Vec::new();
        loop {
            session.go(Go::On).expect("it goes");
            let stopped = arrive(session);
            let Stopped::Hit(hit) = stopped else {
                assert_eq!(stopped, Stopped::End, "{}", sample.name);
                break;
            };
            met.push((session.now(), hit, state(session)));
        }
        assert!(met.len() > 3, "{}: {} stops", sample.name, met.len());
        // A good many of them, the last first; then those that are left are passed.
        let mut left = met.len();
        while left > met.len().saturating_sub(60) {
            session.go(Go::Back).expect("it goes");
            let stopped = arrive(session);
            if left == 0 {
                break;
            }
            let (moment, hit, was) = met[left - 1];
            assert_eq!(stopped, Stopped::Hit(hit), "{}", sample.name);
            assert_eq!((session.now().tick, state(session)), (moment.tick, was));
            left -= 1;
        }
        // And ahead again from there.
        if left < met.len() {
            session.go(Go::On).expect("it goes");
            let want = met.get(left + 1).map_or(Stopped::End, |(_, hit, _)| Stopped::Hit(*hit));
            assert_eq!(arrive(session), want, "{}", sample.name);
        }
        for (_, hit, _) in &met {
            session.remove_stop(hit.point);
        }
        session.go(Go::Back).expect("it goes");
        assert_eq!(arrive(session), Stopped::Begin, "{}", sample.name);
        assert_eq!(session.now(), session.begin());
    });
}

#[test]
fn a_step_back_undoes_a_step() {
    sessions(|sample, session| {
        somewhere(session, 4);
        let mut seen = Vec::new();
        for _ in 0..300 {
            let thread = session.inspect().turn().unwrap_or(ThreadId(0));
            seen.push((session.now().tick, thread, state(session)));
            session.go(Go::Step(thread)).expect("it goes");
            assert_eq!(arrive(session), Stopped::Step, "{}", sample.name);
        }
        for (tick, thread, was) in seen.into_iter().rev() {
            session.go(Go::StepBack(thread)).expect("it goes");
            assert_eq!(arrive(session), Stopped::Step, "{}", sample.name);
            // Time that nobody used is passed over, and may not be found again to the tick.
            if session.inspect().turn() == Some(thread) && session.now().tick == tick {
                assert_eq!(state(session), was, "{} at {tick:?}", sample.name);
            } else {
                assert!(session.now().tick >= tick, "{} at {tick:?}", sample.name);
            }
        }
    });
}

#[test]
fn the_last_store_to_a_place_is_found_from_anywhere_after_it() {
    sessions(|sample, session| {
        // A page that is stored to: what a register points to, tried one after the other.
        somewhere(session, 6);
        let now = session.now();
        let inspect = session.inspect();
        let registers = inspect.architecture().registers().count();
        let values = (0..registers.min(40)).filter_map(|at| inspect.register(ThreadId(0), at));
        let places: Vec<u64> = values.collect();
        let mut found = 0;
        for at in places.into_iter().chain([0, 0x1000]) {
            let at = at & !0xfff;
            if session.inspect().locate(ThreadId(0), at).is_none() {
                continue;
            }
            let stop = StopPoint::Watch { at, bytes: 0x1000, on: WatchOn::Store };
            session.visit(now).expect("it is recorded");
            session.add_stop(stop);
            session.go(Go::Back).expect("it goes");
            let stopped = arrive(session);
            if let Stopped::Hit(hit) = stopped {
                assert_eq!(hit.point, stop, "{}", sample.name);
                found += 1;
                // From there on to where the search began no instruction stored there.
                session.go(Go::On).expect("it goes");
                assert_eq!(arrive(session), Stopped::End, "{}: at {at:#x}", sample.name);
                assert_eq!(session.now(), now);
            }
            session.remove_stop(stop);
        }
        assert!(found > 0, "{}: no place was stored to", sample.name);
    });
}

#[test]
fn what_a_device_writes_is_met_ahead_and_on_the_way_back() {
    sessions(|sample, session| {
        // The board's sample has its devices write all over the first of its memory.
        let first = 0x8000_0000;
        if session.inspect().locate_physical(first).is_none() {
            return;
        }
        somewhere(session, 8);
        let begin = session.begin();
        session.visit(begin).expect("it is recorded");
        let next = |session: &mut Session<'_>| {
            session.go(Go::On).expect("it goes");
            let stopped = arrive(session);
            if let Stopped::Hit(hit) = stopped {
                return Some(hit);
            }
            assert_eq!(stopped, Stopped::End, "{}", sample.name);
            None
        };
        let all = StopPoint::Watch { at: first, bytes: 1 << 20, on: WatchOn::Store };
        session.add_stop(all);
        let device = std::iter::from_fn(|| next(session)).find(|hit| hit.after);
        session.remove_stop(all);
        let at = device.expect("its devices write").at;
        let one = StopPoint::Watch { at, bytes: 1, on: WatchOn::Store };
        session.visit(begin).expect("it is recorded");
        session.add_stop(one);
        let met: Vec<Hit> = std::iter::from_fn(|| next(session)).collect();
        assert!(met.iter().any(|hit| hit.after), "{}: {met:?}", sample.name);
        for hit in met.iter().rev().take(40) {
            session.go(Go::Back).expect("it goes");
            assert_eq!(arrive(session), Stopped::Hit(*hit), "{}", sample.name);
        }
        session.remove_stop(one);
    });
}

#[test]
fn what_is_asked_to_end_on_the_way_back_stays_where_it_was() {
    sessions(|sample, session| {
        somewhere(session, 4);
        let (here, was) = (session.now(), state(session));
        let thread = session.inspect().turn().unwrap_or(ThreadId(0));
        let nowhere = StopPoint::Break(1);
        session.add_stop(nowhere);
        for go in [Go::StepBack(thread), Go::Back] {
            session.go(go).expect("it goes");
            let stopped = session.poll_asked(&mut || true).expect("it can be had");
            if stopped.is_none() {
                session.interrupt();
                assert_eq!((session.now(), state(session)), (here, was), "{}", sample.name);
            }
            session.visit(here).expect("it is recorded");
        }
        session.remove_stop(nowhere);
    });
}

#[test]
fn what_is_asked_to_end_on_the_way_to_what_it_found_finds_it_again() {
    let mut asked = 0;
    sessions(|sample, session| {
        let stops: Vec<_> = somewhere(session, 4).into_iter().map(StopPoint::Break).collect();
        stops.iter().for_each(|stop| _ = session.add_stop(*stop));
        let here = session.now();
        session.go(Go::Back).expect("it goes");
        let mut patience = 3;
        let stopped = loop {
            let mut impatient = || {
                asked += 1;
                patience -= 1;
                patience >= 0
            };
            if let Some(stopped) = session.poll_asked(&mut impatient).expect("it can be had") {
                break stopped;
            }
        };
        let got = (stopped, session.now(), state(session));
        session.visit(here).expect("it is recorded");
        session.go(Go::Back).expect("it goes");
        let want = (arrive(session), session.now(), state(session));
        assert_eq!(got, want, "{}", sample.name);
        stops.into_iter().for_each(|stop| _ = session.remove_stop(stop));
    });
    assert!(asked > 0, "nobody was asked");
}

#[test]
fn a_past_that_is_not_as_recorded_is_told_of_at_the_first_mark_that_differs() {
    for sample in debugged() {
        let (mut alive, name) = (Alive::new(&sample), sample.name);
        let mut log = Log::new(kinds(), alive.machine()).expect("it replays");
        let start = log.start();
        let rung = Rung::new(start, take(kinds(), alive.machine()).expect("it can be saved"));
        let mut forged = log.clone();
        let (mut before, mut after) = (None, None);
        while alive.live() != Life::Ended {
            for (tick, event) in alive.heard() {
                let wrong = Event::Input { port: PortId(0), bytes: b"~~".to_vec() };
                let is_third = log.events().len() == 2;
                forged.event(tick, if is_third { wrong } else { event.clone() });
                log.event(tick, event);
            }
            let now = log.now(alive.machine());
            if now.events < 3 {
                before = Some(now);
            } else {
                after.get_or_insert(now);
            }
            log.pulse(alive.machine());
            forged.pulse(alive.machine());
        }
        let target = log.at(Tick(sample.span.0 / 4 * 3));
        for (log, is_true) in [(log, true), (forged, false)] {
            let rungs = std::slice::from_ref(&rung);
            let history = History::recorded(kinds(), alive.machine(), &log, rungs);
            let history = history.expect("it replays");
            let mut session = Session::new(&mut alive, history).expect("it has registers");
            match session.visit(target) {
                Ok(()) => assert!(is_true, "{name}: nobody noticed"),
                Err(DebugError::Diverged { found, from }) => {
                    assert!(!is_true && found.what.is_some(), "{name}: {found}");
                    assert_eq!((from, Some(found.at)), (start, after), "{name}: {found}");
                    assert_eq!(found.records_until, before, "{name}: {found}");
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
}

/// A program for the board that counts along many branches, for ever.
fn branches() -> Vec<u8> {
    // addi t0, t0, 1; andi t1, t0, 7; beqz t1, over the next; addi t2, t2, 1
    let round = [0x0012_8293_u32, 0x0072_f313, 0x0003_0463, 0x0013_8393];
    // And a jump back over 64 of them.
    let code: Vec<u32> = [round; 64].concat().into_iter().chain([0xc01f_f06f]).collect();
    let (start, size) = (0x8000_0000_u64, 4 * code.len() as u64);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0\x01\0\0\0".to_vec();
    file.extend([start, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    file.extend([0, 0, 64, 56, 1, 64, 0, 0].iter().flat_map(|half: &u16| half.to_le_bytes()));
    file.resize(64, 0);
    file.extend([1, 0, 0, 0, 7, 0, 0, 0]);
    let segment = [0x1000, start, start, size, size, 0x1000];
    file.extend(segment.iter().flat_map(|word| word.to_le_bytes()));
    file.resize(0x1000, 0);
    file.extend(code.iter().flat_map(|insn| insn.to_le_bytes()));
    file
}

#[test]
fn a_copy_goes_on_with_what_another_one_translated() {
    let mut spec = Spec::new("riscv-virt");
    spec.options.insert("memory".into(), "16M".into());
    spec.files.insert("image".into(), branches().into());
    let mut alive = Alive::with(&spec, 200_000);
    let mut history = History::new(kinds(), alive.machine()).expect("it replays");
    while alive.live() != Life::Ended {}
    let mut translated = |tick: u64| {
        let moment = history.at(Tick(tick));
        let traveller = history.visit(moment, &mut || false).expect("it is recorded");
        let all = traveller.machine.counters();
        all.iter().find(|(name, _)| *name == "blocks_translated").map(|(_, count)| *count)
    };
    let first = translated(100_000).expect("it counts");
    // It is on the way of the first, and begins where that began.
    let second = translated(50_000).expect("it counts");
    assert!(first > 10 && second * 2 < first, "{first}, {second}");
}

#[test]
fn what_is_written_begins_another_past() {
    sessions(|sample, session| {
        somewhere(session, 2);
        let pc_of = session.architecture().pc;
        let here = session.now();
        let thread = ThreadId(0);
        // To what it is: nothing happens.
        let same = session.inspect().register(thread, pc_of).expect("it is somewhere");
        assert!(session.set_register(thread, pc_of, same).expect("it can be saved"));
        assert!(session.begin() < here);
        // What has been cannot be written.
        let begin = session.begin();
        session.visit(begin).expect("it is recorded");
        assert!(!session.set_register(thread, pc_of, same + 8).expect("it can be saved"));
        assert!(!session.write(thread, same, &[0]).expect("it can be saved"), "{}", sample.name);
        session.visit(here).expect("it is recorded");
    });
}
