//! How the block at an address is found or made.
#![allow(unsafe_code, reason = "looks at the bytes of a page that nothing writes meanwhile")]

use crate::cache::{BlockId, Key};
use crate::code::NO_LINK;
use crate::jit::{Jit, Native};
use crate::memory::MemoryPath;
use crate::profiler::{MadeCode, Phase, now_ns, profiler};
use crate::shape::{Shape, Start, translate};
use crate::{Env, Frontend, Mode};
use omni_base::{PAGE_SIZE, PAGE_SIZE_U64, PageNo};
use omni_ir::Trap;

/// Entries of a jump cache; a power of two.
const JUMPS: usize = 4096;

/// One remembered jump target.
#[derive(Clone, Copy)]
pub(super) struct Jump {
    pc: u64,
    serial: u32,
    mode: Mode,
    block: BlockId,
    generation: u32,
}

/// What is derived per vCPU.
pub(super) struct Jumps(Box<[Jump; JUMPS]>);

impl Jumps {
    pub(super) fn new() -> Self {
        let none = Jump { pc: 0, serial: u32::MAX, mode: Mode(0), block: NO_LINK, generation: 0 };
        Self(Box::new([none; JUMPS]))
    }

    fn slot(&mut self, pc: u64) -> &mut Jump {
        &mut self.0[((pc >> 1 ^ pc >> 13) as usize) % JUMPS]
    }
}

/// How blocks are found.
pub(super) struct Looking<'a, F> {
    pub(super) front: &'a F,
    pub(super) mode: Mode,
    pub(super) jumps: &'a mut Jumps,
}

impl<F: Frontend> Looking<'_, F> {
    /// The block at `pc`.
    pub(super) fn find<E: Env>(
        &mut self,
        mem: &mut MemoryPath<'_, E>,
        pc: u64,
    ) -> Result<BlockId, Trap> {
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
            mem.counters.blocks_found += 1;
            return Ok((id, mem.tlb.fetch(pc).is_some()));
        }
        let began = now_ns();
        if let Some(id) = shared(mem, &key) {
            return Ok((id, mem.tlb.fetch(pc).is_some()));
        }
        mem.mark.begin_at(Phase::Translation, pc);
        mem.watch_code(page);
        let ptr = mem.env.ram().read_ptr(page);
        let ptr = ptr.ok_or_else(|| mem.env.bad_atomic(pc, crate::Access::Fetch))?;
        // SAFETY: E2: the page is readable, and nothing writes while a front-end looks at it.
        let bytes = unsafe { std::slice::from_raw_parts(ptr.as_ptr(), PAGE_SIZE) };
        let buffer = std::mem::take(&mut mem.pages.buffer);
        let cuts = mem.stops.cuts();
        let from = Start { pc, mode: self.mode, shape: Shape::Cold, cuts };
        if let Some(block) = translate(self.front, bytes, &from, buffer) {
            return Ok((self.insert(mem, key, block, began), mem.tlb.fetch(pc).is_some()));
        }
        // The instruction goes on in the next page, wherever that is now.
        let second = self.page(mem, next_page(pc))?;
        key.second = Some(second);
        // Room for the second may have been made by dropping the first, which code must not run
        // without: what takes its mapping away would not be noticed.
        self.page(mem, pc)?;
        if let Some(id) = mem.pages.find(&key) {
            mem.counters.blocks_found += 1;
            return Ok((id, false));
        }
        mem.watch_code(second);
        let both = both_pages(mem.env.ram(), page, second);
        let both = both.ok_or_else(|| mem.env.bad_atomic(pc, crate::Access::Fetch))?;
        let block = crossing(self.front, &both, pc, self.mode);
        Ok((self.insert(mem, key, block, began), false))
    }

    fn page<E: Env>(&self, mem: &mut MemoryPath<'_, E>, at: u64) -> Result<PageNo, Trap> {
        let page = mem.fetch(at)?;
        page.ok_or_else(|| mem.env.bad_atomic(at, crate::Access::Fetch))
    }

    fn insert<E: Env>(
        &self,
        mem: &mut MemoryPath<'_, E>,
        key: Key,
        block: omni_ir::Block,
        began: u64,
    ) -> BlockId {
        debug_assert_eq!(omni_ir::verify(&block), Ok(()), "{block}");
        let code = mem.pages.compiler.compile(&block);
        mem.pages.buffer = block.insts;
        mem.counters.blocks_translated += 1;
        mem.counters.instructions_translated += code.pcs.len() as u64;
        let id = mem.pages.insert(key, code);
        mem.counters.translate_ns += now_ns() - began;
        id
    }
}

/// Gives a block a copy of the code of the same bytes at another address, if there is such.
pub(super) fn moved<E: Env>(
    mem: &mut MemoryPath<'_, E>,
    jit: &mut Jit,
    own: BlockId,
    ticks: u64,
) -> bool {
    let key = mem.pages.running(own).key();
    let Some(model) = mem.model(&key).filter(|model| *model != own) else { return false };
    let like = mem.pages.running(model);
    let Some(native) = like.native.as_ref().filter(|native| native.can_move()) else {
        return false;
    };
    let began = now_ns();
    mem.mark.begin_at(Phase::Compilation, key.pc);
    let (code, by) = (like.code.moved(key.pc), key.pc.wrapping_sub(like.code.start));
    let native = jit.copy(native, (model, own), by);
    mem.pages.reshape(own, code);
    mem.counters.blocks_moved += 1;
    let made = made_code(mem, jit, own, (native, ticks));
    mem.counters.compile_ns += now_ns() - began;
    made
}

/// A new block with the operations of the same bytes at another address, if there is one. It gets
/// its code no sooner for that: copies would fill the arena, and all code go.
fn shared<E: Env>(mem: &mut MemoryPath<'_, E>, key: &Key) -> Option<BlockId> {
    let model = mem.model(key)?;
    mem.watch_code(key.page);
    match &mem.pages.running(model).native {
        Some(native) if native.can_move() => mem.bring(model),
        Some(_) => return None,
        None => {}
    }
    let code = &mem.pages.running(model).code;
    code.shared()?;
    let code = code.moved(key.pc);
    mem.counters.blocks_shared += 1;
    Some(mem.pages.insert(*key, code))
}

/// Puts code that was made into its block. Says whether there is any.
pub(super) fn made_code<E: Env>(
    mem: &mut MemoryPath<'_, E>,
    jit: &Jit,
    id: BlockId,
    (native, ticks): (Option<Native>, u64),
) -> bool {
    let made = native.is_some().then(|| jit.last_made());
    let time = mem.pages.time(ticks);
    let block = mem.pages.running_mut(id);
    (block.native, block.made) = (native, time);
    // What cannot have code is not tried again soon.
    block.runs = 0;
    let (insns, key) = (block.code.pcs.len() as u64, block.key());
    let Some(made) = made else {
        mem.counters.blocks_refused += 1;
        return false;
    };
    mem.pages.make_model(id);
    mem.counters.blocks_compiled += 1;
    mem.counters.instructions_given_code += insns;
    for (address, bytes) in made {
        mem.counters.code_made_bytes += bytes;
        if let Some(profiler) = profiler() {
            profiler.made(&MadeCode { address, bytes, pc: key.pc, mode: key.mode });
        }
    }
    true
}

/// The first address of the page after that of `pc`.
pub(super) fn next_page(pc: u64) -> u64 {
    (pc | (PAGE_SIZE_U64 - 1)).wrapping_add(1)
}

/// A page of code and as much of a second one as an instruction can have.
pub(super) fn both_pages(
    ram: &omni_memory::Space,
    first: PageNo,
    second: PageNo,
) -> Option<Vec<u8>> {
    let mut both = vec![0; PAGE_SIZE + crate::CODE_BYTES];
    let (page, rest) = both.split_at_mut(PAGE_SIZE);
    ram.read(first.base(), page).ok()?;
    ram.read(second.base(), rest).ok()?;
    Some(both)
}

/// A block of the one instruction that begins in one page and ends in the next.
pub(super) fn crossing<F: Frontend>(front: &F, both: &[u8], pc: u64, mode: Mode) -> omni_ir::Block {
    let mut into = omni_ir::Builder::default();
    into.start(pc);
    let offset = (pc % PAGE_SIZE_U64) as usize;
    let count = (both.len() - offset).min(crate::CODE_BYTES);
    let mut bytes = [0; crate::CODE_BYTES];
    bytes[..count].copy_from_slice(&both[offset..offset + count]);
    let next = match front.lower(&crate::Code { pc, bytes, count }, mode, &mut into) {
        crate::Flow::Next(bytes) => pc.wrapping_add(u64::from(bytes)),
        crate::Flow::End | crate::Flow::More => pc,
    };
    into.finish(next)
}
