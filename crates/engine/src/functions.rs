//! Functions as machine code: kept in an arena, entered at any instruction, left at any.
//!
//! All state is in what the caller lends for a run: frames, calls that wait, memory. What is kept
//! here is code, and dropping it is invisible.
#![allow(unsafe_code, reason = "runs code that was made; SAFETY.md")]

use crate::arena::Arena;
use omni_ir::{Callee, End, Function, Home, SHARED};
use omni_memory::Space;
use omni_tier_x64::{Features, Frames, Made, words};

pub use omni_tier_x64::Left;

/// A call that waits: where it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Call {
    /// The function.
    pub func: u32,
    /// Its next instruction.
    pub pc: u32,
    /// The number of the first slot of its frame.
    pub base: u32,
}

/// What functions work on.
#[derive(Debug)]
pub struct World<'a> {
    /// Slots of frames.
    pub stack: &'a mut [u64],
    /// Where the last frame must end.
    pub stack_end: usize,
    /// Calls that wait, and how many there may be.
    pub calls: &'a mut Vec<Call>,
    /// How many there may be.
    pub calls_max: usize,
    /// The memory, by its flat view.
    pub memory: &'a mut Space,
    /// Words that functions share, of which code knows the first `omni_ir::SHARED`.
    pub shared: &'a mut [u64],
}

/// Where a run begins and ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot {
    /// The function.
    pub func: u32,
    /// The instruction.
    pub pc: u32,
    /// The number of the first slot of its frame.
    pub base: u32,
    /// Ticks that are left, less those along all of the text of the function; where a call is to
    /// be made, or was returned from, without that.
    pub left: i64,
}

/// What code of a function finds.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Target {
    code: u64,
    ty: u64,
}

#[derive(Debug)]
struct Kept {
    fill: usize,
    slots: usize,
    places: Box<[u32]>,
}

/// Code of functions.
pub struct Functions {
    frames: Frames,
    arena: Arena,
    words: Box<[u64; words::SIZE / 8]>,
    targets: Vec<Target>,
    kept: Vec<Option<Kept>>,
    /// Where each table is, and how long.
    tables: Vec<[u64; 2]>,
    start: usize,
    /// Instructions that have places.
    weight: usize,
    /// Tables that functions need.
    tables_most: usize,
    /// How often all code was dropped for room.
    drops: u64,
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Functions({} bytes)", self.arena.used())
    }
}

/// Slots of a frame, and tables, at most.
const SLOTS_MAX: u32 = 1 << 16;
const TABLES_MAX: u32 = 1 << 20;

/// Instructions of functions whose places are kept; beyond, all code is dropped.
const PLACES_MAX: usize = 4 << 20;

impl Functions {
    /// For functions of these types, where the host can run code that is made here.
    #[must_use]
    pub fn new(types: impl IntoIterator<Item = u32>) -> Option<Self> {
        let able =
            std::is_x86_feature_detected!("sse4.1") && std::is_x86_feature_detected!("popcnt");
        let features = Features { fma: std::is_x86_feature_detected!("fma") };
        let frames = Frames::new(features);
        let arena = able.then(|| Arena::new(frames.prologue()).ok())??;
        let code = arena.address(frames.without_code());
        let target = |ty: u32| Target { code, ty: ty.into() };
        let targets: Vec<Target> = types.into_iter().map(target).collect();
        let kept = targets.iter().map(|_| None).collect();
        let (start, _) = arena.next();
        let words = Box::new([0; words::SIZE / 8]);
        Some(Self {
            frames,
            arena,
            words,
            targets,
            kept,
            tables: vec![],
            start,
            weight: 0,
            tables_most: 0,
            drops: 0,
        })
    }

    /// How many functions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.targets.len()
    }

    /// Makes code for a function, and says whether it has some now. Where there is no room, that of
    /// all others is dropped.
    pub fn add(&mut self, function: &Function) -> bool {
        let number = function.number as usize;
        if number >= self.targets.len() || self.kept[number].is_some() {
            return number < self.targets.len();
        }
        let Some(tables) = self.tables_of(function) else { return false };
        let (at, end) = self.arena.next();
        let Some(mut made) = self.frames.compile(function, at) else { return false };
        let weight = self.weight + made.places.len();
        if weight > PLACES_MAX || !self.arena.has_room(made.bytes.len()) {
            self.clear();
            self.drops += 1;
            let (at, _) = self.arena.next();
            match self.frames.compile(function, at) {
                Some(again) if self.arena.has_room(again.bytes.len()) => made = again,
                Some(_) | None => return false,
            }
        }
        self.arena.put(&made.bytes, &[], end);
        self.weight += made.places.len();
        self.targets[number].code = self.arena.address(made.entry);
        self.tables_most = self.tables_most.max(tables);
        let (fill, slots) = (made.fill, function.slots as usize);
        self.kept[number] = Some(Kept { fill, slots, places: made.places.into() });
        true
    }

    /// How many tables a function needs; nothing where it names what is not there.
    fn tables_of(&self, function: &Function) -> Option<usize> {
        let Function { params, slots, homes, .. } = function;
        let within = |home: &Home| match *home {
            Home::Frame(at) => at < *slots,
            Home::Shared(at) => at < SHARED,
        };
        let mut sound = params <= slots && *slots <= SLOTS_MAX && homes.iter().all(within);
        let mut tables = 0;
        for piece in &function.pieces {
            match &piece.end {
                End::Call(Callee::Known(number), first) => {
                    sound &= (*number as usize) < self.targets.len() && first <= slots;
                }
                End::Call(Callee::Element { table, .. }, first) => {
                    tables = tables.max(*table as usize + 1);
                    sound &= *table < TABLES_MAX && first <= slots;
                }
                End::Return(values) => sound &= values.len() <= *slots as usize,
                End::Next | End::Jump(_) | End::Branch(..) | End::Switch(..) | End::Leave => {}
            }
        }
        sound.then_some(tables)
    }

    /// Drops the code of all functions.
    pub fn clear(&mut self) {
        let code = self.arena.address(self.frames.without_code());
        self.targets.iter_mut().for_each(|target| target.code = code);
        self.kept.iter_mut().for_each(|kept| *kept = None);
        self.arena.truncate(self.start);
        self.weight = 0;
    }

    /// How often the code of all functions was dropped to make room.
    #[must_use]
    pub fn drops(&self) -> u64 {
        self.drops
    }

    /// Whether a function has code.
    #[inline]
    #[must_use]
    pub fn has(&self, func: u32) -> bool {
        matches!(self.kept.get(func as usize), Some(Some(_)))
    }

    /// Whether code can be entered at an instruction.
    #[must_use]
    pub fn has_place(&self, func: u32, pc: u32) -> bool {
        self.place(func, pc).is_some()
    }

    fn place(&self, func: u32, pc: u32) -> Option<(u32, usize)> {
        let kept = self.kept.get(func as usize)?.as_ref()?;
        let place = *kept.places.get(pc as usize)?;
        (place != Made::NOWHERE).then_some((place, kept.fill))
    }

    /// Bytes of code.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.used()
    }

    /// Runs from an instruction on that has a place, with at least no ticks left; says where it is
    /// then and why. Nothing where it cannot.
    pub fn run<'t>(
        &mut self,
        world: World<'_>,
        tables: impl Iterator<Item = &'t [u64]>,
        from: Spot,
    ) -> Option<(Left, Spot)> {
        let (place, fill) = self.place(from.func, from.pc)?;
        let slots = self.kept[from.func as usize].as_ref()?.slots;
        if from.left < 0 || from.base as usize + slots > world.stack_end {
            return None;
        }
        let World { stack, stack_end, calls, calls_max, memory, shared } = world;
        let spare = stack.len().saturating_sub(stack_end);
        assert!(spare >= SLOTS_MAX as usize, "a frame above all others has room");
        self.tables.clear();
        self.tables.extend(
            tables.map(|table| [table.as_ptr().expose_provenance() as u64, table.len() as u64]),
        );
        if self.tables.len() < self.tables_most {
            return None;
        }
        calls.reserve(calls_max.saturating_sub(calls.len()));
        let known = shared.len().min(SHARED as usize);
        let at = |offset: i32| offset as usize / 8;
        let first = stack.as_mut_ptr().expose_provenance() as u64;
        let first_call = calls.as_mut_ptr().expose_provenance() as u64;
        let call_bytes = size_of::<Call>() as u64;
        let (loads, stores, pages) = memory.flat_tables();
        let base = first + 8 * u64::from(from.base);
        let words = &mut *self.words;
        words[at(words::STACK)] = first;
        words[at(words::STACK_END)] = first + 8 * stack_end as u64;
        words[at(words::CALLS)] = first_call + call_bytes * calls.len() as u64;
        words[at(words::CALLS_END)] = first_call + call_bytes * calls_max as u64;
        words[at(words::LOADS)] = loads.expose_provenance() as u64;
        words[at(words::STORES)] = stores.expose_provenance() as u64;
        words[at(words::PAGES)] = pages as u64;
        words[at(words::TARGETS)] = self.targets.as_ptr().expose_provenance() as u64;
        words[at(words::TARGET_COUNT)] = self.targets.len() as u64;
        words[at(words::TABLES)] = self.tables.as_ptr().expose_provenance() as u64;
        words[at(words::CODE)] = self.arena.address(0);
        words[at(words::BASE)] = base;
        words[at(words::LEFT)] = from.left.cast_unsigned();
        let own = at(words::SHARED)..at(words::SHARED) + known;
        words[own.clone()].copy_from_slice(&shared[..known]);
        self.enter(place, fill);
        let words = &*self.words;
        shared[..known].copy_from_slice(&words[own]);
        let count = (words[at(words::CALLS)] - first_call) / call_bytes;
        // SAFETY: E12: code has written all records up to the word, which is within what was
        // reserved.
        unsafe { calls.set_len(count as usize) };
        let half = |offset: i32| (words[at(offset)] >> (8 * (offset % 8))) as u32;
        let base = (words[at(words::BASE)] - first) / 8;
        let spot = Spot {
            func: half(words::FUNC),
            pc: half(words::PC),
            base: base as u32,
            left: words[at(words::LEFT)].cast_signed(),
        };
        Some((Left::from_word(half(words::WHY)), spot))
    }

    fn enter(&mut self, place: u32, fill: usize) {
        let enter = self.arena.address(self.frames.enter());
        let enter = std::ptr::with_exposed_provenance::<()>(enter as usize);
        // SAFETY: E11: the prologue has a function of this type there.
        let enter = unsafe {
            std::mem::transmute::<*const (), unsafe extern "sysv64" fn(*mut u64, u64, u64)>(enter)
        };
        let (place, fill) = (self.arena.address(place as usize), self.arena.address(fill));
        let words = self.words.as_mut_ptr();
        words.expose_provenance();
        // SAFETY: E11 and E12: the code is of a function that is kept, and the words lead to what
        // was lent.
        unsafe { enter(words, place, fill) };
    }
}
