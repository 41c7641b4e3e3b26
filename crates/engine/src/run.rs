//! The engine: finds or makes blocks and runs them, one after the other.
#![allow(unsafe_code, reason = "runs a block while the cache that owns it is told of writes")]

use crate::cache::{BlockId, Cache, Cached};
use crate::code::{self, NO_LINK};
use crate::counters::Counters;
use crate::crew::Crew;
use crate::float::FloatRules;
use crate::interp::{self, Outcome, Run};
use crate::jit::{Jit, Left};
use crate::memory::{MemoryPath, OwnTlb};
use crate::profiler::{Marker, Phase, marked, now_ns};
use crate::shape::{Shape, Start, translate};
use crate::sources::Sources;
use crate::stops::{Caught, Stops, Watch};
use crate::tlb::Tlb;
use crate::{Entry, Env, Exit, Frontend, Regs, Tiers, Without};
use omni_base::{PAGE_SIZE, PAGE_SIZE_U64};
use std::ptr::NonNull;
use std::sync::Arc;

mod look;
mod part;

use look::{Jumps, Looking, both_pages, crossing, made_code, moved, next_page};

/// The translator of one machine, or of one vCPU of it where they run side by side: nothing in it
/// is state.
pub struct Engine {
    cache: Cache,
    sources: Sources,
    crew: Crew,
    /// The only vCPU that this runs, where others have engines of their own.
    only: Option<usize>,
    /// For each vCPU that this runs.
    jumps: Vec<Jumps>,
    tiers: Tiers,
    without: Without,
    /// Made with the first run, when the guest's architecture is known.
    jit: Option<Jit>,
    /// There is no use in trying to make it.
    no_jit: bool,
    /// The epoch of RAM that write entries are of.
    epoch: u64,
    stops: Stops,
    counters: Counters,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("crew", &self.crew).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine for a machine of so many vCPUs that take turns, with nothing cached.
    #[must_use]
    pub fn new(vcpus: usize) -> Self {
        Self::of(Crew::new(vcpus, false), None, vcpus)
    }

    /// Engines for the vCPUs of a machine that run side by side, each on a thread of its own, and
    /// what they have in common. The engine at each place runs the vCPU of that number alone.
    ///
    /// # Panics
    /// Where there are more than 64.
    #[must_use]
    pub fn side_by_side(vcpus: usize) -> (Crew, Vec<Self>) {
        assert!(vcpus <= 64, "a set of vCPUs is a word");
        let crew = Crew::new(vcpus, true);
        let engines = (0..vcpus).map(|vcpu| Self::of(crew.clone(), Some(vcpu), 1));
        (crew.clone(), engines.collect())
    }

    fn of(crew: Crew, only: Option<usize>, vcpus: usize) -> Self {
        Self {
            cache: Cache::new(only.is_some()),
            sources: Sources::default(),
            crew,
            only,
            jumps: (0..vcpus).map(|_| Jumps::new()).collect(),
            tiers: Tiers::default(),
            without: Without::default(),
            jit: None,
            no_jit: false,
            epoch: 0,
            stops: Stops::default(),
            counters: Counters::default(),
        }
    }

    /// Chooses which tiers run code from now on.
    pub fn set_tiers(&mut self, tiers: Tiers) {
        self.tiers = tiers;
    }

    /// What the engine did so far, and holds now.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let (blocks, bytes) = self.cache.held();
        let (rest, mut tlb_held_bytes) = (self.crew.rest(), 0);
        self.each_tlb(|tlb| tlb_held_bytes += tlb.held_bytes());
        drop(rest);
        let instructions = self.counters.instructions;
        Counters {
            instructions_interpreted: instructions - self.counters.instructions_compiled,
            blocks_held: blocks,
            blocks_held_bytes: bytes,
            code_held_bytes: self.jit.as_ref().map_or(0, |jit| jit.used() as u64),
            tlb_held_bytes,
            ..self.counters
        }
    }

    /// Drops a seed-chosen part of what is cached, which nobody can notice, and runs code by
    /// other tiers than before.
    pub fn drop_caches(&mut self, seed: u64) {
        let crew = self.crew.clone();
        let rest = crew.rest();
        if seed & 1 == 0 {
            self.clear_code();
        }
        if seed & 2 == 0 {
            self.each_tlb(Tlb::flush);
        }
        drop(rest);
        if seed & 4 == 0 {
            self.jumps.iter_mut().for_each(|jumps| *jumps = Jumps::new());
        }
        if self.tiers != Tiers::Interpreter {
            let after = [0, 1, 5, u32::MAX][(seed >> 3 & 3) as usize];
            self.tiers = Tiers::Compiled { after };
        }
    }

    /// Has runs stop before instructions at these addresses and before these accesses. What was
    /// asked for before is so no longer.
    pub fn set_stops(&mut self, breaks: &[u64], watches: &[Watch]) {
        let crew = self.crew.clone();
        let rest = crew.rest();
        let (code, flush) = self.stops.set(breaks, watches);
        if code {
            self.clear_code();
        }
        if flush {
            self.each_tlb(Tlb::flush);
        }
        drop(rest);
    }

    /// Lets runs go on as if nothing was to be stopped at, or no longer.
    pub fn ignore_stops(&mut self, ignored: bool) {
        self.stops.ignore(ignored);
    }

    /// Why the last run stopped, where that was asked for. It ended before the instruction, which
    /// has had no effect.
    pub fn take_caught(&mut self) -> Option<Caught> {
        self.stops.take()
    }

    /// Does something with the TLB of each vCPU that this runs. The crew must be held.
    fn each_tlb(&self, mut each: impl FnMut(&mut Tlb)) {
        for vcpu in self.vcpus() {
            // SAFETY: E9: the crew is held, or there is one thread.
            each(unsafe { &mut *self.crew.0.tlb(vcpu) });
        }
    }

    /// The vCPUs that this runs.
    fn vcpus(&self) -> std::ops::Range<usize> {
        self.only.map_or(0..self.crew.0.count(), |only| only..only + 1)
    }

    /// Forgets every block, and all that leads to their code. Numbers of mappings begin anew, so
    /// nothing may know the old ones. The crew must be held.
    fn clear_code(&mut self) {
        self.cache.clear();
        self.sources.clear();
        self.counters.code_flushes += 1;
        self.each_tlb(Tlb::forget_code);
        if let Some(jit) = &mut self.jit {
            jit.clear();
        }
    }

    /// Runs the vCPU of this number until the budget is used, an instruction traps, or one asks
    /// to stop.
    ///
    /// # Panics
    /// Where there is no such vCPU.
    pub fn run<F: Frontend, E: Env>(
        &mut self,
        front: &F,
        vcpu: usize,
        env: &mut E,
        regs: &mut Regs,
        entry: Entry,
    ) -> Exit {
        if self.only.is_none() {
            return marked(|mark| self.run_held(front, vcpu, env, (regs, entry), mark));
        }
        let crew = self.crew.clone();
        // The crew before the world, always.
        env.release();
        let held = crew.0.take(vcpu);
        env.hold();
        let exit = marked(|mark| self.run_held(front, vcpu, env, (regs, entry), mark));
        env.release();
        drop(held);
        env.hold();
        exit
    }

    /// Forgets what is too much or out of use, before a run. The crew must be held.
    fn make_room(&mut self) {
        let full = self.cache.is_full() || self.jit.as_ref().is_some_and(Jit::is_full);
        if self.stops.settle() || full {
            self.clear_code();
        }
        // Runs are counted where blocks may get code.
        if self.jit.is_some() {
            self.cache.forget_idle();
        }
    }

    /// The same, while the vCPU holds the crew where there are threads.
    fn run_held<F: Frontend, E: Env>(
        &mut self,
        front: &F,
        vcpu: usize,
        env: &mut E,
        (regs, entry): (&mut Regs, Entry),
        mark: Marker<'_>,
    ) -> Exit {
        assert!(self.vcpus().contains(&vcpu), "this engine runs the vCPU");
        self.make_room();
        if self.tiers != Tiers::Interpreter && self.jit.is_none() && !self.no_jit {
            self.jit = Jit::new(front, self.only.is_some());
            self.no_jit = self.jit.is_none();
        }
        if env.ram().epoch() != self.epoch {
            self.epoch = env.ram().epoch();
            self.each_tlb(Tlb::epoch_ended);
        }
        let (first, lanes) = (self.vcpus().start, &*self.crew.0);
        // SAFETY: E9: the crew is held whenever this is used, as code alone runs without it.
        let mut own = unsafe { OwnTlb::new(lanes.tlb(vcpu)) };
        own.select(entry.fetch, entry.data);
        let bank = own.bank(entry.mode);
        let mut mem = MemoryPath {
            env,
            tlb: own,
            lanes,
            own: vcpu,
            pages: &mut self.cache,
            sources: &mut self.sources,
            front,
            moves: front.code_moves() && !self.without.moves,
            shape: if self.without.traces { Shape::Cold } else { Shape::Hot },
            float: FloatRules { nan: front.nan_rule() },
            float_flags: front.float_flags(),
            reservation: front.reservation(),
            counters: &mut self.counters,
            stops: &mut self.stops,
            mark,
        };
        mem.counters.runs += 1;
        if self.only.is_some() {
            mem.read_mail();
            if regs.get(mem.reservation) == crate::NOT_RESERVED {
                mem.forget_reservation();
            }
        }
        // Devices may have written since the run before.
        mem.hear();
        let after = self.tiers.after();
        let without = self.without;
        let jit = if after == u32::MAX { None } else { self.jit.as_mut() };
        let looking = Looking { front, mode: entry.mode, jumps: &mut self.jumps[vcpu - first] };
        let Some(jit) = jit else {
            regs.set(omni_ir::Slot(code::ZERO), 0);
            let file = NonNull::from(regs);
            return Running { looking, mem, file, entry, jit: None, bank, after, without }
                .counted();
        };
        let base = mem.tlb.base();
        let file = jit.bring::<E>(regs, base, mem.tlb.bank_address(bank));
        let mut running =
            Running { looking, mem, file, entry, jit: Some(jit), bank, after, without };
        let exit = running.counted();
        if let Some(jit) = running.jit {
            jit.take(regs, base);
        }
        exit
    }
}

/// One run of a vCPU.
struct Running<'a, F, E> {
    looking: Looking<'a, F>,
    mem: MemoryPath<'a, E>,
    /// The registers: the caller's, or the file of the view where code may run.
    file: NonNull<Regs>,
    entry: Entry,
    jit: Option<&'a mut Jit>,
    /// The bank of the jump cache for the mode.
    bank: usize,
    /// How often a block is interpreted before it gets code.
    after: u32,
    without: Without,
}

/// How a block was come from: what can be made to lead there at once.
#[derive(Clone, Copy)]
enum From {
    Nothing,
    /// An exit of a block that was interpreted.
    Interpreted(BlockId, usize),
    /// An exit of a block's code.
    Native(BlockId, usize),
    /// An indirect jump of code.
    Jump,
}

/// What came of running a block.
enum Ran {
    /// It goes on, after so many ticks in all.
    On {
        ticks: u64,
        to: u64,
        from: From,
        /// The block linked there.
        next: BlockId,
    },
    /// The run is over.
    Out(Exit),
}

impl Ran {
    fn ticks(&self) -> u64 {
        match *self {
            Self::On { ticks, .. } | Self::Out(Exit { ticks, .. }) => ticks,
        }
    }
}

impl<F: Frontend, E: Env> Running<'_, F, E> {
    fn counted(&mut self) -> Exit {
        let mut exit = self.blocks();
        if self.mem.stops.has_caught() {
            exit.trap = None;
        }
        self.mem.counters.instructions += exit.ticks;
        self.mem.pages.run_ended(exit.ticks);
        exit
    }

    fn blocks(&mut self) -> Exit {
        let (mut pc, mut ticks) = (self.entry.pc, 0);
        let (mut next, mut from) = (NO_LINK, From::Nothing);
        loop {
            if ticks == self.entry.budget {
                return Exit { ticks, pc, trap: None };
            }
            let id = if next == NO_LINK {
                if self.mem.stops.stops_at(pc) {
                    return Exit { ticks, pc, trap: None };
                }
                self.mem.pages.sweep();
                self.mem.mark.begin(Phase::Search);
                let id = match self.looking.find(&mut self.mem, pc) {
                    Ok(id) => id,
                    Err(trap) => return Exit { ticks, pc, trap: Some(trap) },
                };
                self.connect(from, id, pc);
                id
            } else {
                next
            };
            let ran = if self.has_code(id, ticks) {
                self.run_code(id, ticks)
            } else {
                self.interpret(id, 0, ticks, self.entry.budget - ticks)
            };
            match ran {
                Ran::On { ticks: now, to, from: by, next: linked } => {
                    (ticks, pc, from, next) = (now, to, by, linked);
                }
                Ran::Out(exit) => return exit,
            }
        }
    }

    /// Whether a block has code, which it gets here if it has been interpreted often enough.
    #[inline(always)]
    fn has_code(&mut self, id: BlockId, ticks: u64) -> bool {
        if self.jit.is_none() {
            return false;
        }
        let block = self.mem.pages.running_mut(id);
        if block.native.is_none() {
            block.runs = block.runs.saturating_add(1);
            let cool = if self.after == 0 { 0 } else { block.cool };
            if block.runs >> cool <= self.after || !self.make_code(id, ticks) {
                return false;
            }
        }
        let key = self.mem.pages.running(id).key();
        // Code looks where the second page is by its entry, which may not be kept.
        key.second.is_none() || self.mem.tlb.fetch(next_page(key.pc)).is_some()
    }

    #[inline(never)]
    fn make_code(&mut self, id: BlockId, ticks: u64) -> bool {
        let Some(jit) = self.jit.as_mut().filter(|jit| !jit.is_full()) else { return false };
        let began = now_ns();
        let key = self.mem.pages.running(id).key();
        // Its code could lead back to its start without a look at where to stop.
        if self.mem.stops.is_cut(key.pc) {
            return false;
        }
        if moved(&mut self.mem, jit, id, ticks) {
            return true;
        }
        self.mem.mark.begin_at(Phase::Compilation, key.pc);
        let Some(ptr) = self.mem.env.ram().read_ptr(key.page) else { return false };
        // SAFETY: E2: the page is readable, and nothing writes while a front-end looks at it.
        let bytes = unsafe { std::slice::from_raw_parts(ptr.as_ptr(), PAGE_SIZE) };
        let mut second = None;
        let block = match key.second {
            None => {
                let buffer = std::mem::take(&mut self.mem.pages.buffer);
                let cuts = self.mem.stops.cuts();
                let from = Start { pc: key.pc, mode: key.mode, shape: self.mem.shape, cuts };
                translate(self.looking.front, bytes, &from, buffer)
            }
            Some(page) => {
                let at = next_page(key.pc);
                second = Some((at, self.mem.pages.link_id(at, page)));
                let both = both_pages(self.mem.env.ram(), key.page, page);
                both.map(|both| crossing(self.looking.front, &both, key.pc, key.mode))
            }
        };
        let native = block.and_then(|block| {
            debug_assert_eq!(omni_ir::verify(&block), Ok(()), "{block}");
            let native = jit.compile(&block, id, second)?;
            let compiler = &mut self.mem.pages.compiler;
            let code = compiler.outline(&block);
            // Where others may write the page at any time, and where there are two of them.
            if self.mem.lanes.apart() || second.is_some() {
                code.bring(Arc::new(compiler.operations(&block, true)));
            }
            self.mem.pages.reshape(id, code);
            self.mem.pages.buffer = block.insts;
            Some(native)
        });
        self.mem.counters.compile_ns += now_ns() - began;
        made_code(&mut self.mem, jit, id, (native, ticks))
    }

    /// Makes what was come from lead to the block at once the next time.
    fn connect(&mut self, from: From, id: BlockId, pc: u64) {
        if self.mem.stops.is_cut(pc) {
            return;
        }
        match from {
            From::Native(..) | From::Jump if self.without.links => {}
            From::Nothing => {}
            From::Interpreted(block, leave) => self.mem.pages.link(block, leave, id),
            From::Native(block, exit) if self.is_fetched(pc) => self.link_code(block, exit, id),
            From::Jump if self.is_fetched(pc) => {
                let (Some(jit), Some(native)) =
                    (&self.jit, self.mem.pages.get(id).and_then(|block| block.native.as_ref()))
                else {
                    return;
                };
                let code = jit.address(native);
                self.mem.tlb.insert_jump(self.bank, pc, code);
            }
            From::Native(..) | From::Jump => {}
        }
    }

    /// Makes sure that the page of code at `pc` has an entry, on which links to it depend.
    fn is_fetched(&mut self, pc: u64) -> bool {
        matches!(self.mem.fetch(pc), Ok(Some(_))) && self.mem.tlb.fetch(pc).is_some()
    }

    fn link_code(&mut self, from: BlockId, exit: usize, to: BlockId) {
        let Some(key) = self.mem.pages.get(to).map(|to| to.key()) else { return };
        let number = self.mem.pages.link_id(key.pc, key.page);
        let pages = &self.mem.pages;
        let (Some(jit), Some(from), Some(to)) = (&mut self.jit, pages.get(from), pages.get(to))
        else {
            return;
        };
        // Within a page there is no guard: both go together.
        let near = from.key().pc / PAGE_SIZE_U64 == key.pc / PAGE_SIZE_U64;
        if near && from.key().page != key.page {
            return;
        }
        if let (Some(from), Some(to)) = (&from.native, &to.native) {
            jit.link(from, exit, to, number);
            self.mem.counters.exits_linked += 1;
        }
    }

    /// Runs code from a block on, as far as it leads.
    fn run_code(&mut self, id: BlockId, ticks: u64) -> Ran {
        let left = self.entry.budget - ticks;
        let jit = self.jit.as_deref().expect("what has code was made by it");
        let cached: *const Cached = self.mem.pages.running(id);
        // SAFETY: E4: while code runs, blocks are only taken out of use, never freed or moved.
        let cached = unsafe { &*cached };
        let native = cached.native.as_ref().expect("asked before");
        self.mem.mark.begin(Phase::MachineCode);
        let (left, how) = jit.run(&mut self.mem, native, (self.entry.budget, left));
        let (began, ticks) = (ticks, self.entry.budget - left);
        let counters = &mut *self.mem.counters;
        // Where the interpreter goes on in the middle of a block, its ticks are counted already.
        let mut retired = ticks - began;
        let ran = match how {
            Left::Exit(id, exit) => {
                counters.left_by_exit += 1;
                let block = self.mem.pages.running(id);
                let native = block.native.as_ref().expect("code that ran is there");
                let to = native.exit_pc(block.code.start, exit);
                Ran::On { ticks, to, from: From::Native(id, exit), next: NO_LINK }
            }
            Left::Indirect(to) => {
                counters.left_by_jump += 1;
                Ran::On { ticks, to, from: From::Jump, next: NO_LINK }
            }
            Left::Stop(pc) => {
                counters.left_by_stop += 1;
                Ran::Out(Exit { ticks, pc, trap: None })
            }
            Left::Budget(id) => {
                counters.left_by_budget += 1;
                // Fewer ticks are left than the block has.
                self.interpret(id, 0, ticks, left)
            }
            Left::Finish(id, inst) => {
                counters.left_by_miss += 1;
                self.mem.bring(id);
                let code = &self.mem.pages.running(id).code;
                let (all, insns) = (code.operations(), code.pcs.len() as u64);
                let first = all.mark(inst);
                let done = all.uops.get(first).map_or(insns, |uop| uop.insn.into());
                retired = retired + done - insns;
                self.interpret(id, first, ticks - insns, u64::MAX)
            }
            Left::Step(id, outcome) => {
                counters.left_by_step += 1;
                let insns = self.mem.pages.running(id).code.pcs.len() as u64;
                let ran = self.conclude(id, outcome, ticks - insns);
                retired = ran.ticks() - began;
                ran
            }
        };
        self.mem.counters.instructions_compiled += retired;
        ran
    }

    /// Interprets a block from an operation on.
    fn interpret(&mut self, id: BlockId, first: usize, ticks: u64, left: u64) -> Ran {
        self.mem.bring(id);
        let cached: *const Cached = self.mem.pages.running(id);
        // SAFETY: E4: while a block runs, blocks are only taken out of use, never freed or moved.
        let cached = unsafe { &*cached };
        let code = &cached.code;
        self.mem.mark.begin_at(Phase::Interpreter, cached.key().pc);
        let run = Run::of(code, ticks);
        // SAFETY: E6: the caller's registers or the file of the view; code does not run now.
        let regs = unsafe { self.file.as_mut() };
        let outcome = if code.pcs.len() as u64 <= left {
            interp::run::<E, { interp::FREE }>(&run, first, 0, regs, &mut self.mem)
        } else {
            interp::run::<E, { interp::CAREFUL }>(&run, first, left, regs, &mut self.mem)
        };
        self.conclude(id, outcome, ticks)
    }

    /// What comes after a block that was left in this way and begun after so many ticks.
    fn conclude(&mut self, id: BlockId, mut outcome: Outcome, ticks: u64) -> Ran {
        let cached: *const Cached = self.mem.pages.running(id);
        // SAFETY: E4: while a block runs, blocks are only taken out of use, never freed or moved.
        let code = unsafe { &(*cached).code };
        let run = Run::of(code, ticks);
        // After an access that moved something, no more than its own instruction runs.
        let mut yielded = false;
        while let Outcome::Yield(insn, at) = outcome {
            yielded = true;
            // SAFETY: E6: as for `interpret`.
            let regs = unsafe { self.file.as_mut() };
            let limit = insn as u64 + 1;
            outcome = interp::run::<E, { interp::CAREFUL }>(&run, at, limit, regs, &mut self.mem);
        }
        let insns = code.pcs.len() as u64;
        let on = |retired, to, from, next| {
            let ticks = ticks + retired;
            if yielded {
                return Ran::Out(Exit { ticks, pc: to, trap: None });
            }
            Ran::On { ticks, to, from, next }
        };
        match outcome {
            Outcome::Left(leave, retired) => {
                let (pc, next) = code.leave(leave);
                on(retired, pc, From::Interpreted(id, leave), next)
            }
            Outcome::Indirect(to) => on(insns, to, From::Nothing, NO_LINK),
            Outcome::Stop(pc) => Ran::Out(Exit { ticks: ticks + insns, pc, trap: None }),
            Outcome::Trap(insn, trap) => {
                let (ticks, pc) = (ticks + insn as u64, code.pc(insn));
                Ran::Out(Exit { ticks, pc, trap: Some(trap) })
            }
            Outcome::Limit(insn) => {
                Ran::Out(Exit { ticks: ticks + insn as u64, pc: code.pc(insn), trap: None })
            }
            Outcome::Yield(..) | Outcome::Done => {
                unreachable!("the loop above ends without one, and only steps are done")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_base::PageNo;

    #[test]
    fn numbers_of_mappings_begin_anew_when_nothing_knows_the_old_ones() {
        let mut engine = Engine::new(2);
        let id = engine.cache.link_id(0x5000, PageNo(3));
        engine.each_tlb(|tlb| tlb.insert_fetch(0x5000, PageNo(3), id));
        engine.clear_code();
        engine.each_tlb(|tlb| assert_eq!(tlb.fetch(0x5000), None));
        assert_eq!(engine.cache.link_id(0x6000, PageNo(4)), 1);
    }
}
