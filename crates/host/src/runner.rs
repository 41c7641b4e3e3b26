//! The loop that owns a machine and lets it live in the host's time.

use crate::held::{Held, Lived};
use crate::pace::Pace;
use crate::pool::Pool;
use crate::queue::{Item, Queue, Stay};
use crate::seat::Seat;
use omni_base::Tick;
use omni_machine::{Effect, Event, Hit, IoRequest, Kick, Machine, Outside, PortId, Stop};
use omni_memory::Memory;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a runner sleeps before it asks again whether its outputs can be taken.
const HOLD: Duration = Duration::from_millis(5);

/// How long a machine must have been silent before its backends rest too.
const SILENT: Duration = Duration::from_secs(20);

/// How long a runner sleeps before it asks whoever has the machine in hand.
const ASK: Duration = Duration::from_millis(10);

/// Where the effects of a machine go, on the runner's thread; none of it may block for long.
pub trait Backends: Send {
    /// Takes what the machine put out of a port.
    fn output(&mut self, port: PortId, bytes: Vec<u8>);

    /// Starts on a request; its answer comes by the queue. The machine stands still meanwhile,
    /// so its memory can be sealed.
    fn request(&mut self, request: IoRequest, memory: &mut Memory);

    /// The machine has been silent for long: what it may never use again can go until it does.
    fn rest(&mut self);

    /// Whether the machine must wait because nobody takes what it put out.
    fn full(&self) -> bool;
}

/// Is told of everything that enters a machine, and sees it between slices; it must not block for
/// long. Both are on the runner's thread.
pub trait Tape: Send {
    /// An event is let in at this tick.
    fn event(&mut self, tick: Tick, event: &Event);

    /// The machine is at a safe point, after a slice. Only its pages may be sealed.
    fn rest(&mut self, machine: &mut dyn Machine);
}

/// How a machine ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// By itself, with this exit code.
    Halted(u64),
    /// By someone's hand.
    Killed,
    /// By its time limit.
    Timeout,
    /// A page of it that is kept elsewhere could not be read: `Memory::damage` says which.
    Damaged,
}

/// Figures of a running machine, for whoever asks from another thread.
#[derive(Debug, Default)]
pub struct Stats {
    tick: AtomicU64,
    paused: AtomicU64,
    cpu_us: AtomicU64,
}

impl Stats {
    /// The tick at the end of the last slice.
    #[must_use]
    pub fn tick(&self) -> Tick {
        Tick(self.tick.load(Ordering::Relaxed))
    }

    /// Whether the machine is paused.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed) != 0
    }

    /// Host time spent in the machine, in microseconds.
    #[must_use]
    pub fn cpu_us(&self) -> u64 {
        self.cpu_us.load(Ordering::Relaxed)
    }
}

/// Bytes of output after which a slice ends, so that they go out before there are more.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Collects the effects of a slice. A request ends the slice soon, as someone waits for it.
struct Collect {
    effects: Vec<Effect>,
    output_bytes: usize,
    kick: Kick,
}

impl Outside for Collect {
    fn emit(&mut self, _: Tick, effect: Effect) {
        if let Effect::Output { bytes, .. } = &effect {
            self.output_bytes += bytes.len();
            if self.output_bytes > OUTPUT_BYTES_MAX {
                self.kick.kick();
            }
        }
        match (&effect, self.effects.last_mut()) {
            // One byte at a time is how serial ports talk; frames stay apart at their ports.
            (Effect::Output { port, bytes }, Some(Effect::Output { port: last, bytes: all }))
                if port == last && bytes.len() == 1 =>
            {
                all.extend_from_slice(bytes);
            }
            (Effect::Io(_), _) => {
                self.kick.kick();
                self.effects.push(effect);
            }
            (Effect::Output { .. }, _) => self.effects.push(effect),
        }
    }
}

/// What is called at a machine's beginning, on the runner's thread.
pub type Begin = Box<dyn FnOnce() + Send>;

/// Owns a machine and runs it.
pub struct Runner<B> {
    machine: Box<dyn Machine>,
    queue: Arc<Queue>,
    backends: B,
    tape: Option<Box<dyn Tape>>,
    pace: Pace,
    stats: Arc<Stats>,
    outside: Collect,
    paused: bool,
    idle: Option<Option<Tick>>,
    deadline: Option<Instant>,
    in_hand: InHand,
    seat: Seat,
    /// Is called when the machine is about to run for the first time.
    begin: Option<Begin>,
    /// When it last had something to do with the outside.
    heard: Instant,
    /// Its backends know that this was long ago.
    rests: bool,
}

/// What a runner knows while its machine is in someone's hands.
#[derive(Default)]
struct InHand {
    /// Who is to have it next.
    next: Option<Stay>,
    /// Somebody has it.
    held: bool,
    /// It stands still.
    still: bool,
    hit: Option<Hit>,
    heard: Vec<(Tick, Event)>,
    ended: Option<Ended>,
}

impl<B: Backends> Runner<B> {
    /// A runner of this machine. `limit` is how long it may run, in the host's time.
    pub fn new(
        machine: Box<dyn Machine>,
        queue: Arc<Queue>,
        backends: B,
        limit: Option<Duration>,
    ) -> Self {
        let pace = Pace::new(machine.spec().ns_per_tick, machine.tick());
        let kick = queue.kick().clone();
        let outside = Collect { effects: Vec::new(), output_bytes: 0, kick };
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let stats = Arc::default();
        let (paused, idle, tape) = (false, None, None);
        let in_hand = InHand::default();
        Self {
            machine,
            queue,
            backends,
            tape,
            pace,
            stats,
            outside,
            paused,
            idle,
            deadline,
            in_hand,
            seat: Seat::alone(),
            begin: None,
            rests: false,
            heard: Instant::now(),
        }
    }

    /// The same, with this called when the machine is about to run for the first time.
    #[must_use]
    pub fn with_begin(self, begin: Begin) -> Self {
        Self { begin: Some(begin), ..self }
    }

    /// The same, with caches shared with the other machines of this pool.
    #[must_use]
    pub fn with_pool(self, pool: Arc<Pool>) -> Self {
        Self { seat: Seat::sharing(pool), ..self }
    }

    /// The same, with everything told to a tape from the start.
    #[must_use]
    pub fn with_tape(self, tape: Box<dyn Tape>) -> Self {
        Self { tape: Some(tape), ..self }
    }

    /// The figures, which stay current while the machine runs.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        self.stats.clone()
    }

    /// Runs the machine to its end. Requests in flight at the start are issued again, as after a
    /// restore.
    pub fn run(&mut self) -> Ended {
        for effect in self.machine.pending() {
            self.dispatch(effect);
        }
        loop {
            if let Some(ended) = self.take_items() {
                return ended;
            }
            if let Some(stay) = self.in_hand.next.take() {
                if let Some(ended) = self.stay(stay) {
                    return ended;
                }
                continue;
            }
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ended::Timeout;
            }
            if self.paused {
                let look = self.seat.sleep(&mut *self.machine);
                self.queue.wait(earlier(self.deadline, look));
                self.pace.resumed(self.machine.tick());
            } else if self.backends.full() {
                // Others must not wait for whoever does not take its output.
                self.seat.leave(&mut *self.machine);
                self.queue.wait(Instant::now().checked_add(HOLD));
                self.pace.resumed(self.machine.tick());
            } else if let Some(code) = self.step() {
                return Ended::Halted(code);
            }
            if self.machine.memory().damage().is_some() {
                return Ended::Damaged;
            }
        }
    }

    /// The machine and its backends, once it has ended.
    pub fn into_parts(self) -> (Box<dyn Machine>, B) {
        (self.machine, self.backends)
    }

    /// One slice, or one sleep.
    fn step(&mut self) -> Option<u64> {
        if let Some(wake) = self.idle {
            let target = self.pace.target();
            let due = wake.is_some_and(|wake| wake <= target);
            if !due {
                // Time that nobody sees need not pass: the machine catches up when it wakes.
                let moment = wake.and_then(|wake| self.pace.moment(wake));
                // Nobody but whoever has it in hand is to wait for it.
                let silent = if self.in_hand.held { Duration::ZERO } else { self.heard.elapsed() };
                let moment = moment.map(|moment| self.seat.later(moment, silent));
                if silent >= SILENT && !std::mem::replace(&mut self.rests, true) {
                    self.backends.rest();
                }
                let look = self.seat.sleep(&mut *self.machine);
                // Whoever has it in hand is asked every now and then.
                let soon = if self.in_hand.held { Instant::now().checked_add(ASK) } else { None };
                self.queue.wait(earlier(earlier(moment, self.deadline), earlier(soon, look)));
                return None;
            }
            let until = wake.unwrap_or(target).max(self.machine.tick());
            return self.run_to(Tick(until.0.saturating_add(1)));
        }
        let until = Tick(self.machine.tick().0.saturating_add(self.pace.slice()));
        self.run_to(until)
    }

    /// Runs up to a tick, and sends out what came of it.
    fn run_to(&mut self, until: Tick) -> Option<u64> {
        self.seat.begin(&mut *self.machine);
        if let Some(begin) = self.begin.take() {
            begin();
        }
        let (began, from) = (Instant::now(), self.machine.tick());
        let kick = self.queue.kick().clone();
        let stop = self.machine.run(until, &kick, &mut self.outside);
        let (took, tick) = (began.elapsed(), self.machine.tick());
        self.stats.tick.store(tick.0, Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.stats.cpu_us.fetch_add(took_us, Ordering::Relaxed);
        self.seat.ran(&mut *self.machine);
        self.send_effects();
        if let Some(tape) = &mut self.tape {
            tape.rest(&mut *self.machine);
        }
        self.idle = None;
        match stop {
            Stop::Reached | Stop::Kicked => self.pace.ran(tick.0 - from.0, took, tick),
            Stop::Hit(hit) => self.in_hand.hit = Some(hit),
            Stop::Idle { wake } => {
                self.pace.idled();
                self.idle = Some(wake);
            }
            Stop::Halted { code } => return Some(code),
        }
        None
    }

    fn send_effects(&mut self) {
        self.outside.output_bytes = 0;
        let effects = std::mem::take(&mut self.outside.effects);
        effects.into_iter().for_each(|effect| self.dispatch(effect));
    }

    fn dispatch(&mut self, effect: Effect) {
        self.hear();
        match effect {
            Effect::Output { port, bytes } => self.backends.output(port, bytes),
            Effect::Io(request) => self.backends.request(request, self.machine.memory()),
        }
    }

    /// Lets in whatever waits. An event that finds the machine idle meets it at the tick of the
    /// present moment.
    fn take_items(&mut self) -> Option<Ended> {
        for item in self.queue.take() {
            match item {
                Item::Event(event) => {
                    if let Some(code) = self.let_in(&event) {
                        return Some(Ended::Halted(code));
                    }
                }
                Item::Pause | Item::Resume => {
                    self.paused = matches!(item, Item::Pause);
                    self.stats.paused.store(u64::from(self.paused), Ordering::Relaxed);
                }
                Item::Stay(stay) => {
                    if !self.in_hand.held && self.in_hand.next.is_none() {
                        self.in_hand.next = Some(stay);
                    }
                }
                Item::Kill => return Some(Ended::Killed),
                Item::Call(call) => {
                    self.catch_up();
                    // What it sees of caches are the machine's own.
                    self.seat.leave(&mut *self.machine);
                    call(&mut *self.machine);
                    self.pace.resumed(self.machine.tick());
                }
            }
        }
        None
    }

    fn let_in(&mut self, event: &Event) -> Option<u64> {
        let halted = self.catch_up();
        if halted.is_some() {
            return halted;
        }
        if let Some(tape) = &mut self.tape {
            tape.event(self.machine.tick(), event);
        }
        if self.in_hand.held {
            self.in_hand.heard.push((self.machine.tick(), event.clone()));
        }
        self.machine.apply(event, &mut self.outside);
        self.hear();
        self.send_effects();
        self.idle = None;
        None
    }

    fn hear(&mut self) {
        (self.heard, self.rests) = (Instant::now(), false);
    }

    /// Lets the time pass that an idle machine has slept.
    fn catch_up(&mut self) -> Option<u64> {
        let wake = self.idle?;
        let target = self.pace.target();
        let until = wake.map_or(target, |wake| wake.min(target));
        if self.paused || self.in_hand.still || until <= self.machine.tick() {
            return None;
        }
        self.run_to(until)
    }
}

impl<B: Backends> Runner<B> {
    /// Gives the machine into someone's hands. Says how it ended meanwhile, if it has.
    fn stay(&mut self, stay: Stay) -> Option<Ended> {
        self.in_hand.held = true;
        self.seat.own(&mut *self.machine);
        stay(self);
        let ended = self.in_hand.ended.take();
        self.in_hand = InHand::default();
        self.idle = None;
        self.pace.resumed(self.machine.tick());
        ended
    }

    /// What became of the machine.
    fn lived(&mut self, ended: Option<Ended>) -> Lived {
        let damaged = || self.machine.memory().damage().map(|_| Ended::Damaged);
        let ended = ended.or_else(damaged);
        self.in_hand.ended = self.in_hand.ended.or(ended);
        match (self.in_hand.ended, self.in_hand.hit.take()) {
            (Some(Ended::Halted(_)), _) => Lived::Halted,
            (Some(Ended::Killed | Ended::Timeout | Ended::Damaged), _) => Lived::Gone,
            (None, Some(hit)) => Lived::Hit(hit),
            (None, None) => Lived::On,
        }
    }

    fn go_on(&mut self) {
        if std::mem::take(&mut self.in_hand.still) {
            self.pace.resumed(self.machine.tick());
        }
    }
}

impl<B: Backends> Held for Runner<B> {
    fn machine(&mut self) -> &mut dyn Machine {
        &mut *self.machine
    }

    fn heard(&mut self) -> Vec<(Tick, Event)> {
        std::mem::take(&mut self.in_hand.heard)
    }

    fn live(&mut self) -> Lived {
        self.go_on();
        let mut ended = self.take_items();
        if ended.is_none() && self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            ended = Some(Ended::Timeout);
        }
        if ended.or(self.in_hand.ended).is_some() || self.in_hand.hit.is_some() {
            return self.lived(ended);
        }
        if self.paused || self.backends.full() {
            self.queue.wait(Instant::now().checked_add(HOLD));
            self.pace.resumed(self.machine.tick());
            return Lived::On;
        }
        let halted = self.step().map(Ended::Halted);
        self.lived(halted)
    }

    fn step(&mut self) -> Lived {
        self.in_hand.still = true;
        if self.in_hand.ended.is_some() {
            return self.lived(None);
        }
        let Some(inspect) = self.machine.inspect() else { return Lived::On };
        let stop = inspect.step(&mut self.outside);
        self.stats.tick.store(self.machine.tick().0, Ordering::Relaxed);
        self.send_effects();
        if let Some(tape) = &mut self.tape {
            tape.rest(&mut *self.machine);
        }
        self.idle = None;
        let ended = match stop {
            Stop::Halted { code } => Some(Ended::Halted(code)),
            Stop::Reached | Stop::Idle { .. } | Stop::Kicked | Stop::Hit(_) => None,
        };
        self.lived(ended)
    }

    fn sleep(&mut self) -> Lived {
        self.go_on();
        let ended = self.take_items();
        if ended.or(self.in_hand.ended).is_some() {
            return self.lived(ended);
        }
        // Where it stands, it says whether it is idle, and for how long.
        let now = self.machine.tick();
        let mut halted = if self.idle.is_none() { self.run_to(now) } else { None };
        if halted.is_none() && self.idle.is_some() {
            halted = Runner::step(self);
        }
        self.lived(halted.map(Ended::Halted))
    }

    fn hold(&mut self) -> Lived {
        self.in_hand.still = true;
        let ended = self.take_items();
        self.lived(ended)
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
