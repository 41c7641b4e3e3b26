//! Tests of the runner with a machine that counts, sleeps and echoes.

use super::*;
use omni_machine::{Caches, Caps, Inspect, IoId, IoOp, Schedule, Spec};
use omni_state::Bundle;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// Echoes input; `z` sleeps a while and says so, `f` asks for a flush, `q` ends with code 7,
/// `b` keeps it busy for ever.
#[derive(Default)]
struct Echo {
    spec: Spec,
    tick: Tick,
    wake: Option<Tick>,
    busy: bool,
    halted: bool,
    memory: Memory,
}

impl Machine for Echo {
    fn spec(&self) -> &Spec {
        &self.spec
    }
    fn caps(&self) -> Caps {
        Caps { exact_ticks: true, deterministic: true, self_contained: true, parallel: false }
    }
    fn set_schedule(&mut self, schedule: Schedule) -> bool {
        schedule == Schedule::Turns
    }
    fn tick(&self) -> Tick {
        self.tick
    }
    fn run(&mut self, until: Tick, kick: &Kick, outside: &mut dyn Outside) -> Stop {
        if self.halted {
            return Stop::Halted { code: 7 };
        }
        if kick.taken() {
            return Stop::Kicked;
        }
        if let Some(wake) = self.wake.filter(|wake| *wake <= until) {
            self.tick = wake;
            outside.emit(wake, Effect::Output { port: PortId(0), bytes: b"woke".to_vec() });
            self.wake = None;
        }
        self.tick = until;
        if self.busy { Stop::Reached } else { Stop::Idle { wake: self.wake } }
    }
    fn apply(&mut self, event: &Event, outside: &mut dyn Outside) {
        let bytes = match event {
            Event::Input { bytes, .. } => bytes.clone(),
            Event::IoDone { id, .. } => format!("done {}", id.0).into_bytes(),
            Event::Generation { .. } | Event::Control(_) => return,
        };
        match &bytes[..] {
            b"z" => self.wake = Some(Tick(self.tick.0 + 20_000_000)),
            b"q" => self.halted = true,
            b"b" => self.busy = true,
            b"f" => {
                let request = IoRequest { id: IoId(3), port: PortId(1), op: IoOp::Flush };
                outside.emit(self.tick, Effect::Io(request));
            }
            _ => outside.emit(self.tick, Effect::Output { port: PortId(0), bytes }),
        }
    }
    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }
    fn save(&self, _: &mut Bundle) {}
    fn pending(&self) -> Vec<Effect> {
        Vec::new()
    }
    fn exchange_caches(&mut self, _: Option<Caches>) -> Option<Caches> {
        None
    }

    fn drop_caches(&mut self, _: u64) {}
    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        None
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

struct World {
    queue: Arc<Queue>,
    heard: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl Backends for World {
    fn output(&mut self, _: PortId, bytes: Vec<u8>) {
        self.heard.lock().expect("whole").extend(bytes);
    }
    fn request(&mut self, request: IoRequest, _: &mut Memory) {
        self.queue.push(Item::Event(Event::IoDone { id: request.id, result: Ok(vec![]) }));
    }
    fn rest(&mut self) {}
    fn full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}

fn runner(limit: Option<Duration>) -> (Runner<World>, Arc<Queue>, Arc<Mutex<Vec<u8>>>) {
    let (queue, heard) = (Arc::new(Queue::default()), Arc::default());
    let full = Arc::default();
    let world = World { queue: queue.clone(), heard: Arc::clone(&heard), full };
    let machine = Echo { spec: Spec::new("echo"), ..Echo::default() };
    (Runner::new(Box::new(machine), queue.clone(), world, limit), queue, heard)
}

#[test]
fn input_comes_back_and_the_exit_code_is_the_machines() {
    let (mut runner, queue, heard) = runner(None);
    for input in [&b"one "[..], b"two ", b"f", b"q"] {
        assert!(queue.push_input(PortId(0), input));
    }
    assert_eq!(runner.run(), Ended::Halted(7));
    let heard = heard.lock().expect("whole");
    assert!(heard.starts_with(b"one two "), "{heard:?}");
}

#[test]
fn a_machine_whose_output_nobody_takes_keeps_no_caches_from_others() {
    let pool = Pool::new(1);
    pool.open();
    let (one, stuck, _) = runner(None);
    let (two, queue, _) = runner(None);
    let (mut one, mut two) = (one.with_pool(pool.clone()), two.with_pool(pool.clone()));
    let full = one.backends.full.clone();
    stuck.push_input(PortId(0), b"b");
    let stats = one.stats();
    let thread = std::thread::spawn(move || one.run());
    while stats.tick() == Tick(0) {
        std::thread::yield_now();
    }
    full.store(true, Ordering::Relaxed);
    queue.push_input(PortId(0), b"q");
    assert_eq!(two.run(), Ended::Halted(7));
    stuck.push(Item::Kill);
    assert_eq!(thread.join().expect("ends"), Ended::Killed);
}

#[test]
fn a_sleeping_machine_wakes_in_real_time() {
    let (mut runner, queue, heard) = runner(None);
    queue.push_input(PortId(0), b"z");
    let began = Instant::now();
    let other = queue.clone();
    let watch = Arc::clone(&heard);
    let thread = std::thread::spawn(move || {
        while watch.lock().expect("whole").is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        other.push(Item::Kill);
    });
    assert_eq!(runner.run(), Ended::Killed);
    thread.join().expect("ends");
    assert_eq!(&heard.lock().expect("whole")[..], b"woke");
    // Ticks are nanoseconds here; a slice may be ahead of the host's clock by a millisecond.
    assert!(began.elapsed() >= Duration::from_millis(15));
}

#[test]
fn a_paused_machine_stands_still_and_can_be_looked_at() {
    let (mut runner, queue, _) = runner(None);
    queue.push_input(PortId(0), b"b");
    queue.push(Item::Pause);
    let (told, seen) = std::sync::mpsc::channel();
    let look = |told: std::sync::mpsc::Sender<Tick>| -> Item {
        Item::Call(Box::new(move |machine: &mut dyn Machine| {
            told.send(machine.tick()).expect("someone waits");
        }))
    };
    let thread = std::thread::spawn(move || {
        queue.push(look(told.clone()));
        let one = seen.recv().expect("an answer");
        std::thread::sleep(Duration::from_millis(5));
        queue.push(look(told));
        assert_eq!(one, seen.recv().expect("an answer"));
        queue.push(Item::Kill);
    });
    assert_eq!(runner.run(), Ended::Killed);
    assert!(runner.stats().paused());
    thread.join().expect("ends");
}

#[test]
fn a_time_limit_ends_a_busy_an_idle_and_a_paused_machine() {
    for first in [Item::Pause, Item::Resume] {
        let (mut runner, queue, _) = runner(Some(Duration::from_millis(20)));
        queue.push(first);
        assert_eq!(runner.run(), Ended::Timeout);
    }
    let (mut runner, queue, _) = runner(Some(Duration::from_millis(20)));
    queue.push_input(PortId(0), b"b");
    assert_eq!(runner.run(), Ended::Timeout);
}
