//! Harts side by side: each on a thread of its own, on one board that one of them has at a time.
//!
//! A hart has the board in all that it does but while it runs machine code. Time is one for all:
//! what harts do at once counts once, so the clock never runs backwards from one to another.

use crate::machine::{Engines, Virt};
use crate::sbi::{Caller, HartStatus};
use crate::wires::Wires;
use omni_base::Gpa;
use omni_engine::{Access, Crew, Engine, Reply, Target, beside};
use omni_guest_riscv::{Board, Hart, Turn, Why};
use omni_ir::Size;
use omni_machine::{Kick, Outside};
use omni_memory::Space;
use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Ticks that a hart runs before it looks around. So long others may have to wait for it to stand
/// still, and an interrupt to be taken.
const SLICE_TICKS: u64 = 60_000;

/// How long harts with nothing to do are kept at hand while only one other runs.
const ALONE_TICKS: u64 = 500_000;

/// What one hart has at a time.
struct Common<'a> {
    wires: &'a mut Wires,
    /// The tick of the machine.
    tick: Cell<u64>,
    /// Ticks of harts that are not yet worth one of the machine.
    rest: Cell<u64>,
    /// Harts that have something to do.
    awake: u64,
    /// When all but one had nothing to do any more.
    alone_since: Option<u64>,
    /// For each hart that has not: when its timer wakes it.
    wakes: Vec<Option<u64>>,
    /// All threads are to end.
    ended: bool,
    kicked: bool,
}

impl Common<'_> {
    /// Brings the board to the present tick.
    fn wires(&mut self) -> &mut Wires {
        self.wires.state.tick = self.tick.get();
        self.wires
    }

    /// The earliest tick at which a device or a waiting hart must be looked at.
    fn deadline(&self) -> Option<u64> {
        self.wires.deadline().into_iter().chain(self.wakes.iter().flatten().copied()).min()
    }

    fn is_due(&self) -> bool {
        self.deadline().is_some_and(|due| due <= self.tick.get())
    }

    fn runnable(&self, at: usize, hart: &Hart) -> bool {
        let mtime = self.wires.mtime_at(self.tick.get());
        let started = self.wires.state.status[at] == HartStatus::Started;
        started && (!hart.control.waiting || hart.wakes(self.wires.levels[at], mtime))
    }

    /// Whether the machine must be looked at as a whole.
    fn is_over(&self, until: u64) -> bool {
        let state = &self.wires.state;
        let now = self.tick.get();
        // What runs alone needs no thread of its own.
        let alone = self.alone_since.is_some_and(|since| now - since > ALONE_TICKS);
        state.halted.is_some() || state.reset || now >= until || alone
    }
}

struct Shared<'a> {
    common: Mutex<Common<'a>>,
    /// Something happened that a waiting hart may look at.
    changed: Condvar,
    /// Something happened that the thread of the machine may look at.
    told: Condvar,
    crew: &'a Crew,
    kick: &'a Kick,
    until: u64,
}

impl<'a> Shared<'a> {
    fn lock(&self) -> MutexGuard<'_, Common<'a>> {
        self.common.lock().expect("a hart that panicked takes the machine with it")
    }

    fn end(&self, common: &mut Common<'_>) {
        common.ended = true;
        self.changed.notify_all();
        self.told.notify_all();
    }
}

/// The board, as one hart has it.
struct Seat<'a, 'b> {
    shared: &'a Shared<'b>,
    held: Option<MutexGuard<'a, Common<'b>>>,
    at: usize,
    /// Ticks of this slice that are in the machine's tick.
    counted: Cell<u64>,
}

impl<'b> Seat<'_, 'b> {
    fn common(&self) -> &Common<'b> {
        self.held.as_ref().expect("asked only while the board is held")
    }

    fn common_mut(&mut self) -> &mut Common<'b> {
        self.held.as_mut().expect("asked only while the board is held")
    }

    /// Wakes harts that wait, if something came up for one since the levels were these.
    fn notice(&mut self, levels: [u64; 8]) {
        let at = self.at;
        let wires = self.common_mut().wires();
        wires.post_software_interrupts();
        let posts = wires.posts.iter().enumerate();
        let news = wires.levels != levels
            || posts.into_iter().any(|(of, post)| of != at && post.is_some());
        if news {
            self.shared.changed.notify_all();
        }
    }

    /// Lets devices act that are due, and harts wake whose time has come. No hart runs meanwhile:
    /// what devices write to memory is there at once for all.
    fn settle(&mut self) {
        self.release();
        let mut still = self.shared.crew.still();
        self.hold();
        let common = self.common_mut();
        let now = common.tick.get();
        let wires = common.wires();
        wires.settle();
        still.hear(wires.ram());
        drop(still);
        for wake in &mut common.wakes {
            wake.take_if(|due| *due <= now);
        }
        self.shared.changed.notify_all();
    }

    /// Waits until the hart has something to do, or all ends.
    fn wait(&mut self, hart: &mut Hart) {
        let (shared, at) = (self.shared, self.at);
        let mut common = self.held.take().expect("the board is held");
        common.awake -= 1;
        if common.awake == 1 {
            common.alone_since = Some(common.tick.get());
        }
        while !common.ended && !common.runnable(at, hart) {
            let due = hart.next_deadline().and_then(|due| common.wires().tick_at(due));
            common.wakes[at] = due.filter(|_| hart.control.waiting);
            if common.awake == 0 {
                shared.end(&mut common);
                break;
            }
            common = shared.changed.wait(common).expect("as for lock");
            std::mem::take(&mut common.wires.posts[at]).deliver(hart);
        }
        common.wakes[at] = None;
        common.awake += 1;
        common.alone_since = None;
        self.held = Some(common);
    }

    /// Runs the hart for a slice.
    fn slice(&mut self, hart: &mut Hart, engine: &mut Engine) {
        let (at, levels) = (self.at, self.common().wires.levels);
        let now = self.common().tick.get();
        let left = self.common().deadline().map_or(u64::MAX, |due| due.saturating_sub(now));
        self.counted.set(0);
        let budget = SLICE_TICKS.min(left).max(1);
        let end = hart.run(engine, self, Turn { vcpu: at, budget });
        self.tick(end.ticks);
        if end.why == Why::Sbi {
            Caller { hart, at, wires: self.common_mut().wires() }.answer();
        }
        self.notice(levels);
        if !self.common().wires.outbox.is_empty() {
            self.shared.told.notify_all();
        }
    }

    /// Lives as one hart until all end.
    fn live(&mut self, hart: &mut Hart, engine: &mut Engine) {
        self.hold();
        let at = self.at;
        while !self.common().ended {
            std::mem::take(&mut self.common_mut().wires.posts[at]).deliver(hart);
            if self.common().is_due() {
                self.settle();
                continue;
            }
            let (shared, kicked) = (self.shared, self.shared.kick.taken());
            let common = self.common_mut();
            common.kicked |= kicked;
            if kicked || common.is_over(shared.until) {
                shared.end(common);
            } else if common.runnable(at, hart) {
                self.slice(hart, engine);
                // Others may have waited for the board.
                self.release();
                self.hold();
            } else {
                self.wait(hart);
            }
        }
        self.release();
    }
}

impl Board for Seat<'_, '_> {
    fn hold(&mut self) {
        self.held = Some(self.shared.lock());
    }

    fn release(&mut self) {
        self.held = None;
    }

    fn ram(&mut self) -> &mut Space {
        self.common_mut().wires.ram()
    }

    fn target(&self, at: Gpa, access: Access) -> Option<Target> {
        self.common().wires.target(at, access)
    }

    fn device_load(&mut self, at: Gpa, size: Size, ticks: u64) -> Option<Reply> {
        self.tick(ticks);
        let levels = self.common().wires.levels;
        let reply = self.common_mut().wires().device_load(at, size, 0);
        self.notice(levels);
        reply
    }

    fn device_store(&mut self, at: Gpa, size: Size, value: u64, ticks: u64) -> Option<Reply> {
        self.tick(ticks);
        let levels = self.common().wires.levels;
        let reply = self.common_mut().wires().device_store(at, size, value, 0);
        self.notice(levels);
        reply
    }

    fn tick(&self, ticks: u64) -> u64 {
        let common = self.common();
        let new = ticks.saturating_sub(self.counted.replace(ticks));
        let (all, harts) = (new + common.rest.get(), common.awake.max(1));
        common.rest.set(all % harts);
        common.tick.set(common.tick.get() + all / harts);
        common.tick.get()
    }

    fn mtime(&self, ticks: u64) -> u64 {
        let now = self.tick(ticks);
        self.common().wires.mtime_at(now)
    }

    fn lines(&self, hart: u64) -> u64 {
        self.common().wires.lines(hart)
    }

    fn answers_supervisor(&self) -> bool {
        self.common().wires.answers_supervisor()
    }
}

impl Virt {
    /// Runs harts side by side, if they may be and two of them have something to do. Gives back
    /// when the machine must be looked at as a whole; says whether it ran at all.
    pub(crate) fn run_side_by_side(
        &mut self,
        until: u64,
        kick: &Kick,
        outside: &mut dyn Outside,
    ) -> bool {
        let runnable: Vec<bool> = (0..self.harts.len()).map(|at| self.runnable(at)).collect();
        let Engines::Apart(crew, engines) = &mut self.engines else { return false };
        if runnable.iter().filter(|at| **at).count() < 2 {
            return false;
        }
        let common = Common {
            tick: Cell::new(self.wires.state.tick),
            rest: Cell::new(0),
            awake: self.harts.len() as u64,
            alone_since: None,
            wakes: vec![None; self.harts.len()],
            ended: false,
            kicked: false,
            wires: &mut self.wires,
        };
        let (changed, told) = (Condvar::new(), Condvar::new());
        let common = Mutex::new(common);
        let shared = Shared { common, changed, told, crew, kick, until };
        let harts = self.harts.iter_mut().zip(engines).enumerate();
        let threads = harts.map(|(at, (hart, engine))| {
            let shared = &shared;
            move || Seat { shared, held: None, at, counted: Cell::new(0) }.live(hart, engine)
        });
        beside(threads, || shared.watch(outside));
        let common = shared.common.into_inner().expect("no hart panicked");
        let (tick, kicked) = (common.tick.get(), common.kicked);
        self.wires.state.tick = tick;
        if kicked {
            // Whoever runs the machine answers.
            kick.kick();
        }
        self.deliver();
        // What the others do from now on breaks no reservation that is in the state.
        self.harts.iter_mut().for_each(Hart::clear_reservation);
        true
    }
}

impl Shared<'_> {
    /// Tells the outside what the machine does, until all ends.
    fn watch(&self, outside: &mut dyn Outside) {
        let mut common = self.lock();
        loop {
            let effects = std::mem::take(&mut common.wires.outbox);
            if !effects.is_empty() {
                drop(common);
                effects.into_iter().for_each(|(tick, effect)| outside.emit(tick, effect));
                common = self.lock();
            } else if common.ended {
                return;
            } else {
                common = self.told.wait(common).expect("as for lock");
            }
        }
    }
}
