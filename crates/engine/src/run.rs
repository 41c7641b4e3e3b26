//! The engine: finds or makes blocks and runs them, one after the other.
#![allow(unsafe_code, reason = "runs a block while the cache that owns it is told of writes")]

use crate::cache::{BlockId, Cache, Key, translate};
use crate::code::{self, NO_LINK};
use crate::float::FloatRules;
use crate::interp::{self, Outcome, Run};
use crate::memory::{MemoryPath, Tables};
use crate::tlb::Tlb;
use crate::{Entry, Env, Exit, Frontend, Mode, Regs};
use omni_base::{PAGE_SIZE, PAGE_SIZE_U64, PageNo};
use omni_ir::Trap;

/// Entries of a jump cache; a power of two.
const JUMPS: usize = 4096;

/// One remembered jump target.
#[derive(Clone, Copy)]
struct Jump {
    pc: u64,
    serial: u32,
    mode: Mode,
    block: BlockId,
    generation: u32,
}

/// What is derived per vCPU.
struct Jumps(Box<[Jump; JUMPS]>);

impl Jumps {
    fn new() -> Self {
        let none = Jump { pc: 0, serial: u32::MAX, mode: Mode(0), block: NO_LINK, generation: 0 };
        Self(Box::new([none; JUMPS]))
    }

    fn slot(&mut self, pc: u64) -> &mut Jump {
        &mut self.0[((pc >> 1 ^ pc >> 13) as usize) % JUMPS]
    }
}

/// The translator of one machine: nothing in it is state.
pub struct Engine {
    cache: Cache,
    tables: Tables,
    tlbs: Vec<Tlb>,
    jumps: Vec<Jumps>,
    /// The epoch of RAM that write entries are of.
    epoch: u64,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("vcpus", &self.tlbs.len()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine for a machine of so many vCPUs, with nothing cached.
    #[must_use]
    pub fn new(vcpus: usize) -> Self {
        Self {
            cache: Cache::default(),
            tables: Tables::default(),
            tlbs: (0..vcpus).map(|_| Tlb::new()).collect(),
            jumps: (0..vcpus).map(|_| Jumps::new()).collect(),
            epoch: 0,
        }
    }

    /// Drops a seed-chosen part of what is cached, which nobody can notice.
    pub fn drop_caches(&mut self, seed: u64) {
        if seed & 1 == 0 {
            self.cache.clear();
        }
        if seed & 2 == 0 {
            self.tlbs.iter_mut().for_each(Tlb::flush);
        }
        if seed & 4 == 0 {
            self.jumps.iter_mut().for_each(|jumps| *jumps = Jumps::new());
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
        let (before, rest) = self.tlbs.split_at_mut(vcpu);
        let (own, after) = rest.split_first_mut().expect("the vCPU exists");
        regs.set(omni_ir::Slot(code::ZERO), 0);
        if env.ram().epoch() != self.epoch {
            self.epoch = env.ram().epoch();
            own.epoch_ended();
            before.iter_mut().chain(after.iter_mut()).for_each(Tlb::epoch_ended);
        }
        own.select(entry.fetch, entry.data);
        let mut mem = MemoryPath {
            env,
            tlb: own,
            others: [before, after],
            tables: &mut self.tables,
            pages: &mut self.cache,
            float: FloatRules { nan: front.nan_rule() },
            float_flags: front.float_flags(),
            reservation: front.reservation(),
        };
        // Devices may have written since the run before.
        mem.hear();
        let jumps = &mut self.jumps[vcpu];
        let mut looking = Looking { front, mode: entry.mode, jumps };
        run_blocks(&mut looking, &mut mem, regs, entry)
    }
}

/// How blocks are found.
struct Looking<'a, F> {
    front: &'a F,
    mode: Mode,
    jumps: &'a mut Jumps,
}

fn run_blocks<F: Frontend, E: Env>(
    looking: &mut Looking<'_, F>,
    mem: &mut MemoryPath<'_, E>,
    regs: &mut Regs,
    entry: Entry,
) -> Exit {
    let (mut pc, mut ticks) = (entry.pc, 0);
    // The block that is next by a link, and the exit to link once its target is known.
    let (mut next, mut from) = (NO_LINK, None);
    loop {
        if ticks == entry.budget {
            return Exit { ticks, pc, trap: None };
        }
        let id = if next == NO_LINK {
            mem.pages.sweep();
            let id = match looking.find(mem, pc) {
                Ok(id) => id,
                Err(trap) => return Exit { ticks, pc, trap: Some(trap) },
            };
            if let Some((block, leave)) = from.take() {
                mem.pages.link(block, leave, id);
            }
            id
        } else {
            next
        };
        match run_block(mem, regs, id, ticks, entry.budget) {
            Ran::On { retired, to, link } => {
                (ticks, pc, next) = (ticks + retired, to, link.1);
                from = link.0.filter(|_| next == NO_LINK).map(|leave| (id, leave));
            }
            Ran::Out(exit) => return exit,
        }
    }
}

/// What came of running a block.
enum Ran {
    /// It goes on.
    On {
        retired: u64,
        to: u64,
        /// The exit taken, and the block linked there.
        link: (Option<usize>, BlockId),
    },
    /// The run is over.
    Out(Exit),
}

fn run_block<E: Env>(
    mem: &mut MemoryPath<'_, E>,
    regs: &mut Regs,
    id: BlockId,
    ticks: u64,
    budget: u64,
) -> Ran {
    let code: *const code::Code = mem.pages.code(id);
    // SAFETY: E4: while a block runs, blocks are only taken out of use, never freed or moved.
    let code = unsafe { &*code };
    let insns = code.pcs.len() as u64;
    let run = Run { uops: &code.uops, leaves: &code.leaves, pcs: &code.pcs, ticks };
    let left = budget - ticks;
    let mut outcome = if insns <= left {
        interp::run::<E, false>(&run, 0, 0, regs, mem)
    } else {
        interp::run::<E, true>(&run, 0, left, regs, mem)
    };
    // After an access that moved something, no more than its own instruction runs.
    let mut yielded = false;
    while let Outcome::Yield(insn, at) = outcome {
        yielded = true;
        outcome = interp::run::<E, true>(&run, at, insn as u64 + 1, regs, mem);
    }
    let on = |retired, to, link| {
        if yielded {
            return Ran::Out(Exit { ticks: ticks + retired, pc: to, trap: None });
        }
        Ran::On { retired, to, link }
    };
    match outcome {
        Outcome::Left(leave, retired) => {
            let exit = run.leaves[leave];
            on(retired, exit.pc, (Some(leave), exit.link))
        }
        Outcome::Indirect(to) => on(insns, to, (None, NO_LINK)),
        Outcome::Stop(to) => Ran::Out(Exit { ticks: ticks + insns, pc: to, trap: None }),
        Outcome::Trap(insn, trap) => {
            let (ticks, pc) = (ticks + insn as u64, run.pcs[insn]);
            Ran::Out(Exit { ticks, pc, trap: Some(trap) })
        }
        Outcome::Limit(insn) => {
            Ran::Out(Exit { ticks: ticks + insn as u64, pc: run.pcs[insn], trap: None })
        }
        Outcome::Yield(..) => unreachable!("the loop above ends without one"),
    }
}

impl<F: Frontend> Looking<'_, F> {
    fn find<E: Env>(&mut self, mem: &mut MemoryPath<'_, E>, pc: u64) -> Result<BlockId, Trap> {
        let (serial, mode) = (mem.tlb.fetch_serial(), self.mode);
        let jump = *self.jumps.slot(pc);
        if jump.pc == pc
            && jump.serial == serial
            && jump.mode == mode
            && mem.pages.get(jump.block).is_some_and(|b| b.generation == jump.generation)
        {
            return Ok(jump.block);
        }
        let (id, keep) = self.look_up(mem, pc)?;
        if keep {
            let generation = mem.pages.get(id).map_or(0, |block| block.generation);
            let serial = mem.tlb.fetch_serial();
            *self.jumps.slot(pc) = Jump { pc, serial, mode, block: id, generation };
        }
        Ok(id)
    }

    /// The block at `pc` from the cache or made anew, and whether its mapping may be remembered.
    fn look_up<E: Env>(
        &mut self,
        mem: &mut MemoryPath<'_, E>,
        pc: u64,
    ) -> Result<(BlockId, bool), Trap> {
        let page = self.page(mem, pc)?;
        let mut key = Key { page, pc, mode: self.mode, second: None };
        if let Some(id) = mem.pages.find(&key) {
            return Ok((id, mem.tlb.fetch(pc).is_some()));
        }
        mem.watch(page);
        let ptr = mem.env.ram().read_ptr(page);
        let ptr = ptr.ok_or_else(|| mem.env.bad_atomic(pc, crate::Access::Fetch))?;
        // SAFETY: E2: the page is readable, and nothing writes while a front-end looks at it.
        let bytes = unsafe { std::slice::from_raw_parts(ptr.as_ptr(), PAGE_SIZE) };
        if let Some(block) = translate(self.front, bytes, pc, self.mode) {
            return Ok((self.insert(mem, key, &block), mem.tlb.fetch(pc).is_some()));
        }
        // The instruction goes on in the next page, wherever that is now.
        let second = self.page(mem, (pc | (PAGE_SIZE_U64 - 1)).wrapping_add(1))?;
        key.second = Some(second);
        if let Some(id) = mem.pages.find(&key) {
            return Ok((id, false));
        }
        let mut both = bytes.to_vec();
        mem.watch(second);
        let mut rest = [0; 16];
        let read = mem.env.ram().read(second.base(), &mut rest);
        read.map_err(|_| mem.env.bad_atomic(pc, crate::Access::Fetch))?;
        both.extend_from_slice(&rest);
        let block = crossing(self.front, &both, pc, self.mode);
        Ok((self.insert(mem, key, &block), false))
    }

    fn page<E: Env>(&self, mem: &mut MemoryPath<'_, E>, at: u64) -> Result<PageNo, Trap> {
        let page = mem.fetch(at)?;
        page.ok_or_else(|| mem.env.bad_atomic(at, crate::Access::Fetch))
    }

    fn insert<E: Env>(
        &self,
        mem: &mut MemoryPath<'_, E>,
        key: Key,
        block: &omni_ir::Block,
    ) -> BlockId {
        debug_assert_eq!(omni_ir::verify(block), Ok(()), "{block}");
        mem.pages.insert(key, code::compile(block))
    }
}

/// A block of the one instruction that begins in one page and ends in the next.
fn crossing<F: Frontend>(front: &F, both: &[u8], pc: u64, mode: Mode) -> omni_ir::Block {
    let mut into = omni_ir::Builder::default();
    into.start(pc);
    let offset = (pc % PAGE_SIZE_U64) as usize;
    let count = (both.len() - offset).min(16);
    let mut bytes = [0; 16];
    bytes[..count].copy_from_slice(&both[offset..offset + count]);
    let next = match front.lower(&crate::Code { pc, bytes, count }, mode, &mut into) {
        crate::Flow::Next(bytes) => pc.wrapping_add(u64::from(bytes)),
        crate::Flow::End | crate::Flow::More => pc,
    };
    into.finish(next)
}
