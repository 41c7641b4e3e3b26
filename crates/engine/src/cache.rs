//! The cache of blocks: found by physical page, address and mode, and gone when a byte of their
//! page is written.

use crate::Mode;
use crate::code::{Code, Compiler, Operations};
use crate::index::Index;
use crate::jit::Native;
use omni_base::{PAGE_SIZE_U64, PageNo};
use omni_ir::Inst;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Bytes that blocks take at most, about. Beyond, everything is translated anew.
const BYTES_MAX: usize = 96 << 20;

/// Bytes that a block takes besides its operations, about: many small ones must not take more.
const BLOCK_BYTES: usize = 512;

/// Numbers of mappings at most.
const IDS_MAX: usize = 1 << 18;

/// Ticks that a block's code must last to have been worth making, about.
const WORTH_TICKS: u64 = 4096;

/// How far a page may cool: its blocks are interpreted so many times more often, in powers of two,
/// before they get code.
const COOL_MAX: u8 = 7;

/// Pages known to be cool at most; beyond, all are as good as new.
const COOL_PAGES_MAX: usize = 1 << 14;

/// Blocks put in before those without code are looked through for what nobody runs.
const FRESH_MAX: usize = 14_000;

/// How many such looks a block may have seen without being run between them.
const IDLE_MAX: u8 = 1;

/// The number of a block in the cache.
pub(crate) type BlockId = u32;

/// What finds a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    pub(crate) page: PageNo,
    pub(crate) pc: u64,
    pub(crate) mode: Mode,
    /// The page of the second half of an instruction that crosses into it.
    pub(crate) second: Option<PageNo>,
}

impl Key {
    fn hash(&self) -> u64 {
        let mut state = Multiply::default();
        // The page mostly follows from the address; where it does not, equality decides.
        state.write_u64(self.pc ^ self.page.0 << 40 ^ u64::from(self.mode.0) << 56);
        state.finish()
    }
}

impl Key {
    /// The same for all addresses that the page is mapped at.
    fn place_hash(&self) -> u64 {
        let mut state = Multiply::default();
        let offset = self.pc % PAGE_SIZE_U64;
        state.write_u64(self.page.0 << 12 | offset ^ u64::from(self.mode.0) << 48);
        state.finish()
    }

    /// Whether a block of the other is one of the same bytes.
    fn is_like(&self, other: &Self) -> bool {
        let offset = self.pc % PAGE_SIZE_U64 == other.pc % PAGE_SIZE_U64;
        let same = self.page == other.page && self.mode == other.mode && offset;
        same && self.mode.moves() && self.second.is_none() && other.second.is_none()
    }
}

/// Multiplies: keys are addresses, and nobody gains by making them collide but against himself.
#[derive(Default)]
pub(crate) struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }
    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 29;
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Multiply>>;

/// A block in the cache.
pub(crate) struct Cached {
    pub(crate) code: Code,
    /// Differs between blocks that had the same number one after the other.
    pub(crate) generation: u32,
    /// Its key, but for the address, which the code has.
    page: u32,
    mode: Mode,
    second: Option<NonZeroU32>,
    /// How often it was interpreted, while that is being counted.
    pub(crate) runs: u32,
    /// The same when it was last looked at, and how many looks it has not been run since.
    seen: u32,
    idle: u8,
    /// How cool its page was when it was put in.
    pub(crate) cool: u8,
    pub(crate) native: Option<Native>,
    /// When it got code.
    pub(crate) made: u64,
}

impl Cached {
    /// What finds the block.
    #[inline]
    pub(crate) fn key(&self) -> Key {
        let second = self.second.map(|no| PageNo(u64::from(no.get()) - 1));
        Key { page: PageNo(self.page.into()), pc: self.code.start, mode: self.mode, second }
    }
}

/// A page's number in four bytes.
fn short(no: PageNo) -> u32 {
    u32::try_from(no.0).expect("RAM has fewer than 2^32 pages")
}

/// Which lines of a page blocks come from.
#[derive(Clone, Copy, Default)]
struct Lines {
    /// A bit for each line of 64 bytes.
    code: u64,
    /// Stores to other lines since a block was put in.
    stores: u32,
}

/// Bytes of a guest instruction at most.
const INSN_BYTES_MAX: usize = 16;

/// Stores beside the code of a page before it counts as one of data: each takes the long way.
const STORES_BESIDE_MAX: u32 = 1024;

/// The lines that so many bytes from an offset in a page on are in, those of the page.
fn lines(offset: usize, count: usize) -> u64 {
    let (first, last) = (offset / 64, ((offset + count - 1) / 64).min(63));
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

/// A page that was written while it had code.
struct Rewritten {
    page: PageNo,
    /// When the first of its blocks got code.
    since: u64,
    /// How many had.
    blocks: u64,
}

/// All blocks of a machine.
#[derive(Default)]
pub(crate) struct Cache {
    blocks: Vec<Option<Cached>>,
    free: Vec<BlockId>,
    /// Blocks out of use whose memory may still be running; freed between blocks.
    dead: Vec<BlockId>,
    by_key: Index,
    /// For each place of a page and mode, the block there that others of the same bytes are like,
    /// wherever the page is mapped.
    by_place: Index,
    by_page: Map<PageNo, Vec<BlockId>>,
    /// For each page of `by_page`.
    lines: Map<PageNo, Lines>,
    bytes: usize,
    /// Blocks put in since the last look through all.
    fresh: usize,
    generation: u32,
    /// What names the mapping of an address to a page of code, in machine code. A number is used
    /// again only after all was cleared, so code that asks for one whose page was written since
    /// asks in vain.
    ids: Map<(u64, PageNo), u32>,
    /// The addresses that have a number for the page.
    ids_of_page: Map<PageNo, Vec<u64>>,
    last_id: u32,
    /// What the next block is built in, and compiled in.
    pub(crate) buffer: Vec<Inst>,
    pub(crate) compiler: Compiler,
    /// Ticks of all runs so far.
    clock: u64,
    /// What was written in this run.
    rewritten: Vec<Rewritten>,
    /// How often pages were written before their code was worth having made it.
    cool: Map<PageNo, u8>,
}

impl Cache {
    /// An empty cache, of vCPUs that take turns or of one that runs beside others.
    pub(crate) fn new(apart: bool) -> Self {
        Self { compiler: Compiler::new(apart), ..Self::default() }
    }

    /// The time, so many ticks into a run.
    pub(crate) fn time(&self, ticks: u64) -> u64 {
        self.clock + ticks
    }

    /// At the end of a run of so many ticks: pages whose code did not last are compiled later the
    /// next time, so that a guest that writes code all the time is interpreted.
    pub(crate) fn run_ended(&mut self, ticks: u64) {
        self.clock += ticks;
        while let Some(Rewritten { page, since, blocks }) = self.rewritten.pop() {
            if self.clock - since >= blocks * WORTH_TICKS {
                self.cool.remove(&page);
                continue;
            }
            if self.cool.len() >= COOL_PAGES_MAX {
                self.cool.clear();
            }
            let cool = self.cool.entry(page).or_default();
            *cool = (*cool + 1).min(COOL_MAX);
        }
    }

    pub(crate) fn find(&self, key: &Key) -> Option<BlockId> {
        self.by_key.find(key.hash(), |id| self.get(id).is_some_and(|block| block.key() == *key))
    }

    /// A block of the same bytes at another address, with code if there is such.
    pub(crate) fn model(&self, key: &Key) -> Option<BlockId> {
        let is = |id| self.get(id).is_some_and(|block: &Cached| block.key().is_like(key));
        self.by_place.find(key.place_hash(), is)
    }

    /// Makes a block the one that others of the same bytes are like, unless there is one with code.
    pub(crate) fn make_model(&mut self, id: BlockId) {
        let key = self.running(id).key();
        if key.second.is_some() || !key.mode.moves() {
            return;
        }
        let hash = key.place_hash();
        match self.model(&key) {
            Some(old) if self.running(old).native.is_none() => {
                self.by_place.replace(hash, old, id);
            }
            Some(_) => {}
            None => {
                let blocks = &self.blocks;
                let of = |id: BlockId| {
                    blocks[id as usize].as_ref().map_or(0, |at| at.key().place_hash())
                };
                self.by_place.insert(hash, id, of);
            }
        }
    }

    /// Whether both have copies of one block's code.
    pub(crate) fn is_moved(&self, id: BlockId, model: BlockId) -> bool {
        let (own, other) = (self.running(id).native.as_ref(), self.running(model).native.as_ref());
        own.zip(other).is_some_and(|(own, other)| own.is_copy_of(other))
    }

    /// No block is to be like this one any more.
    fn forget_model(&mut self, id: BlockId, key: &Key) {
        if self.model(key) == Some(id) {
            self.by_place.remove(key.place_hash(), id);
        }
    }

    /// The block, if it is alive.
    #[inline(always)]
    pub(crate) fn get(&self, id: BlockId) -> Option<&Cached> {
        self.blocks.get(id as usize)?.as_ref()
    }

    /// A block that was found since the last sweep.
    #[inline(always)]
    pub(crate) fn running(&self, id: BlockId) -> &Cached {
        self.get(id).expect("blocks are freed between runs only")
    }

    /// The same, to be changed.
    #[inline(always)]
    pub(crate) fn running_mut(&mut self, id: BlockId) -> &mut Cached {
        let block = self.blocks.get_mut(id as usize).and_then(Option::as_mut);
        block.expect("blocks are freed between runs only")
    }

    /// Whether it is time to begin anew.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > BYTES_MAX || self.ids.len() > IDS_MAX || self.last_id > u32::MAX / 2
    }

    /// How many blocks there are, and the bytes that they take, about.
    pub(crate) fn held(&self) -> (u64, u64) {
        (self.by_key.len() as u64, self.bytes as u64)
    }

    /// The number of the mapping of the page at `at` to the page `no`; not zero.
    pub(crate) fn link_id(&mut self, at: u64, no: PageNo) -> u32 {
        let at = at & !(PAGE_SIZE_U64 - 1);
        if let Some(&id) = self.ids.get(&(at, no)) {
            return id;
        }
        self.last_id += 1;
        self.ids.insert((at, no), self.last_id);
        self.ids_of_page.entry(no).or_default().push(at);
        self.last_id
    }

    /// Puts a block in. Pages it comes from must be watched by the caller.
    pub(crate) fn insert(&mut self, key: Key, code: Code) -> BlockId {
        self.bytes += bytes(&code);
        self.note_lines(&key, &code.pcs);
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let cool = self.cool.get(&key.page).copied().unwrap_or(0);
        let second = key.second.and_then(|no| NonZeroU32::new(short(no) + 1));
        let (page, mode) = (short(key.page), key.mode);
        debug_assert_eq!(code.start, key.pc, "a block begins where it is found");
        // What others of its bytes were run counts for it too.
        let model = self.model(&key).and_then(|id| self.get(id));
        let runs = model.filter(|model| model.native.is_none()).map_or(0, |model| model.runs);
        let cached = Cached {
            code,
            generation,
            page,
            mode,
            second,
            runs,
            cool,
            native: None,
            made: 0,
            seen: runs,
            idle: 0,
        };
        let cached = Some(cached);
        self.fresh += 1;
        let id = match self.free.pop() {
            Some(id) => {
                self.blocks[id as usize] = cached;
                id
            }
            None => {
                self.blocks.push(cached);
                BlockId::try_from(self.blocks.len() - 1).expect("the cache is bounded")
            }
        };
        let blocks = &self.blocks;
        let hash_of = |id: BlockId| blocks[id as usize].as_ref().map_or(0, |at| at.key().hash());
        self.by_key.insert(key.hash(), id, hash_of);
        for page in [Some(key.page), key.second].into_iter().flatten() {
            self.by_page.entry(page).or_default().push(id);
        }
        self.make_model(id);
        id
    }

    /// Notes which lines a block comes from.
    fn note_lines(&mut self, key: &Key, pcs: &[u16]) {
        let code = pcs.iter().fold(0, |so_far, at| so_far | lines((*at).into(), INSN_BYTES_MAX));
        let of = self.lines.entry(key.page).or_default();
        *of = Lines { code: of.code | code, stores: 0 };
        if let Some(second) = key.second {
            let of = self.lines.entry(second).or_default();
            *of = Lines { code: of.code | 1, stores: 0 };
        }
    }

    /// Whether a store at this offset of the page leaves its blocks as they are. Says no after
    /// many such stores: the page is one of data by then.
    pub(crate) fn misses_code(&mut self, page: PageNo, offset: usize) -> bool {
        let Some(of) = self.lines.get_mut(&page) else { return false };
        of.stores += 1;
        of.code & lines(offset, INSN_BYTES_MAX) == 0 && of.stores <= STORES_BESIDE_MAX
    }

    /// Whether some block comes from the page.
    pub(crate) fn has_page(&self, page: PageNo) -> bool {
        self.by_page.contains_key(&page)
    }

    /// Takes every block of a page out of use; `sweep` frees them. Gives the addresses of the page
    /// whose numbers are no good any more.
    pub(crate) fn invalidate(&mut self, page: PageNo) -> Vec<u64> {
        let addresses = self.ids_of_page.remove(&page).unwrap_or_default();
        for &at in &addresses {
            self.ids.remove(&(at, page));
        }
        self.lines.remove(&page);
        let mut rewritten = Rewritten { page, since: u64::MAX, blocks: 0 };
        for id in self.by_page.remove(&page).unwrap_or_default() {
            let Some(block) = self.get(id) else { continue };
            let key = block.key();
            if block.native.is_some() {
                rewritten.since = rewritten.since.min(block.made);
                rewritten.blocks += 1;
            }
            if self.find(&key) == Some(id) {
                self.by_key.remove(key.hash(), id);
                self.forget_model(id, &key);
                self.dead.push(id);
                for other in [key.page, key.second.unwrap_or(key.page)] {
                    if let Some(ids) = self.by_page.get_mut(&other) {
                        ids.retain(|at| *at != id);
                    }
                }
            }
        }
        if rewritten.blocks > 0 {
            self.rewritten.push(rewritten);
        }
        addresses
    }

    /// Frees blocks out of use. No block may be running.
    #[inline(always)]
    pub(crate) fn sweep(&mut self) {
        if !self.dead.is_empty() {
            self.free_dead();
        }
    }

    fn free_dead(&mut self) {
        while let Some(id) = self.dead.pop() {
            if let Some(block) = self.blocks[id as usize].take() {
                self.bytes -= bytes(&block.code);
                self.free.push(id);
            }
        }
    }

    /// Now and then: frees blocks without code that have not been run for long, of which a boot
    /// leaves more than of all others. No block may be running, and all that run must be counted.
    pub(crate) fn forget_idle(&mut self) {
        if self.fresh < FRESH_MAX {
            return;
        }
        self.fresh = 0;
        self.sweep();
        let mut pages: Vec<PageNo> = Vec::new();
        for id in 0..self.blocks.len() as BlockId {
            let Some(block) = &mut self.blocks[id as usize] else { continue };
            if block.native.is_some() || block.second.is_some() {
                continue;
            }
            block.idle = if block.runs == block.seen { block.idle + 1 } else { 0 };
            block.seen = block.runs;
            if block.idle > IDLE_MAX {
                let (key, held) = (block.key(), bytes(&block.code));
                self.by_key.remove(key.hash(), id);
                self.forget_model(id, &key);
                self.bytes -= held;
                self.free.push(id);
                self.blocks[id as usize] = None;
                pages.push(key.page);
            }
        }
        pages.sort_unstable();
        pages.dedup();
        for page in pages {
            let Some(ids) = self.by_page.get_mut(&page) else { continue };
            // Their numbers are others' soon.
            ids.retain(|id| {
                let block = self.blocks[*id as usize].as_mut();
                block.map(|block| block.code.unlink()).is_some()
            });
            if ids.is_empty() {
                self.by_page.remove(&page);
                self.lines.remove(&page);
            }
        }
    }

    /// Brings what the interpreter runs of a block, made of its bytes once more.
    pub(crate) fn bring(&mut self, id: BlockId, operations: Arc<Operations>) {
        let block = self.running(id);
        let before = bytes(&block.code);
        block.code.bring(operations);
        self.bytes += bytes(&block.code) - before;
    }

    /// Gives a block another shape. No block may be running.
    pub(crate) fn reshape(&mut self, id: BlockId, code: Code) {
        let key = self.running(id).key();
        self.note_lines(&key, &code.pcs);
        let more = bytes(&code);
        let old = std::mem::replace(&mut self.running_mut(id).code, code);
        self.bytes = self.bytes + more - bytes(&old);
    }

    /// Frees every block, and begins anew with the numbers of mappings. No block may be running.
    pub(crate) fn clear(&mut self) {
        let (generation, clock) = (self.generation, self.clock);
        let compiler = std::mem::take(&mut self.compiler);
        *self = Self { generation, clock, compiler, ..Self::default() };
    }

    /// Links an exit of a block to another of the same page, which dies with it.
    pub(crate) fn link(&mut self, from: BlockId, leave: usize, to: BlockId) {
        let Some(target) = self.get(to) else { return };
        if target.key().second.is_some() {
            // The interpreter does not look where its second page is.
            return;
        }
        let (page, pc, mode) = (target.key().page, target.key().pc, target.key().mode);
        let Some(Some(block)) = self.blocks.get_mut(from as usize) else { return };
        let same = block.key().page == page && block.key().mode == mode;
        let near = block.key().pc / PAGE_SIZE_U64 == pc / PAGE_SIZE_U64;
        if same && near {
            block.code.link(leave, pc, to);
        }
    }
}

/// The memory that a block takes.
fn bytes(code: &Code) -> usize {
    BLOCK_BYTES + code.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::NO_LINK;
    use omni_ir::Builder;

    #[test]
    fn a_cache_of_small_blocks_is_full_before_it_is_large() {
        let mut cache = Cache::default();
        let mut count = 0;
        while !cache.is_full() {
            let key = Key { page: PageNo(1), pc: 2 * count, mode: Mode(0), second: None };
            let mut block = Builder::default();
            block.start(key.pc);
            block.jump(key.pc);
            let code = cache.compiler.compile(&block.finish(0));
            cache.insert(key, code);
            count += 1;
        }
        assert!((100_000..200_000).contains(&count), "{count}");
        cache.invalidate(PageNo(1));
        cache.sweep();
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn blocks_that_nobody_runs_go_and_nothing_leads_to_them() {
        let mut cache = Cache::default();
        let put = |cache: &mut Cache, page, pc| {
            let mut block = Builder::default();
            block.start(pc);
            block.jump(0x1002);
            let key = Key { page: PageNo(page), pc, mode: Mode(0), second: None };
            let code = cache.compiler.compile(&block.finish(0));
            (key, cache.insert(key, code))
        };
        let (kept, from) = put(&mut cache, 1, 0x1000);
        let (idle, to) = put(&mut cache, 1, 0x1002);
        cache.link(from, 0, to);
        assert_eq!(cache.running(from).code.leave(0), (0x1002, to));
        for round in 0..=u64::from(IDLE_MAX) {
            assert_eq!(cache.find(&idle), Some(to));
            for at in 0..FRESH_MAX as u64 {
                put(&mut cache, 2 + round, 0x10_0000 + 2 * at);
            }
            cache.running_mut(from).runs += 1;
            cache.forget_idle();
        }
        assert_eq!((cache.find(&kept), cache.find(&idle)), (Some(from), None));
        assert_eq!(cache.running(from).code.leave(0), (0x1002, NO_LINK));
        assert!(!cache.has_page(PageNo(2)) && cache.has_page(PageNo(1)));
        assert_eq!(cache.by_key.len(), 1 + FRESH_MAX, "those of the last round are new");
        cache.invalidate(PageNo(1));
        cache.sweep();
        assert_eq!(cache.find(&kept), None);
    }

    #[test]
    fn a_cache_that_ran_out_of_numbers_is_full_once() {
        let mut cache = Cache { last_id: u32::MAX / 2, ..Cache::default() };
        assert!(!cache.is_full());
        cache.link_id(0, PageNo(1));
        assert!(cache.is_full());
        cache.clear();
        assert!(!cache.is_full());
    }
}
