//! Machine code of functions: which get it and when, and how runs go from it to the interpreter.
//!
//! Both work on the same state, at rest at every instruction, so either goes on where the other was
//! left. What has no code is done by the interpreter, an instruction at a time.

use crate::exec::{Bounds, Exit};
use crate::lower::lower;
use crate::state::{At, FRAMES_MAX, Frame, STACK_SLOTS};
use crate::store::{NOWHERE, Store};
use omni_engine::{Functions, Left, Spot, Tiers, World};

/// Every function gets code, and at once.
const FROM_FIRST: Tiers = Tiers::Compiled { after: 0 };

/// Ticks between two looks at the kick, more or less.
const KICK_TICKS: i64 = 50_000;

/// The same where the interpreter runs: the function that it is in then is one that is run a lot.
const SAMPLE_TICKS: i64 = 10_000;

/// How often a function is seen before it gets code: at looks, and in calls from code.
const SEEN: u32 = 8;
const SEEN_BY_LOOK: u32 = 4;

/// How often that doubles, each time that all code was dropped for room.
const COOL_MAX: u64 = 20;

/// Machine code of a store's functions. All of it is derived.
#[derive(Debug)]
pub(crate) struct Native {
    tiers: Tiers,
    functions: Option<Functions>,
    /// Whether each function has code; empty where none has.
    translated: Vec<bool>,
    /// How often each function was seen; `REFUSED` where it is to have no code.
    seen: Vec<u32>,
    /// The host has no machine code.
    unable: bool,
}

const REFUSED: u32 = u32::MAX;

impl Default for Native {
    fn default() -> Self {
        let (translated, seen) = (Vec::new(), Vec::new());
        Self { tiers: Tiers::default(), functions: None, translated, seen, unable: false }
    }
}

impl Native {
    /// Whether a function has code.
    #[inline(always)]
    pub(crate) fn has(&self, func: u32) -> bool {
        self.translated.get(func as usize).copied().unwrap_or(false)
    }

    /// How many have.
    pub(crate) fn count(&self) -> u64 {
        self.translated.iter().filter(|has| **has).count() as u64
    }

    /// Ticks to the next look.
    pub(crate) fn look_after(&self) -> i64 {
        match self.tiers {
            Tiers::Interpreter => KICK_TICKS,
            Tiers::Compiled { .. } => SAMPLE_TICKS,
        }
    }

    /// Drops all code.
    pub(crate) fn clear(&mut self) {
        self.functions.iter_mut().for_each(Functions::clear);
        self.translated.clear();
        self.seen.clear();
    }

    /// Drops all code or some, and has functions get it sooner or later than before: nobody can
    /// tell.
    pub(crate) fn change(&mut self, seed: u64) {
        if seed.is_multiple_of(2) {
            self.clear();
        }
        self.tiers = match (self.tiers, seed >> 1 & 3) {
            (Tiers::Interpreter, _) | (_, 0) => self.tiers,
            (_, 1) => Tiers::Compiled { after: 0 },
            (_, 2) => Tiers::Compiled { after: 1 },
            _ => Tiers::Compiled { after: 32 },
        };
    }

    /// Notes that a function is run; says whether it is time for its code.
    fn see(&mut self, func: u32, weight: u32) -> bool {
        let Tiers::Compiled { after } = self.tiers else { return false };
        let at = func as usize;
        if self.unable || self.has(func) {
            return false;
        }
        if self.seen.len() <= at {
            self.seen.resize(at + 1, 0);
        }
        // Where there is no room for all that is run, what is to get code must be run more.
        let drops = self.functions.as_ref().map_or(0, Functions::drops).min(COOL_MAX);
        let seen = &mut self.seen[at];
        if *seen == REFUSED {
            return false;
        }
        *seen = seen.saturating_add(weight).min(REFUSED - 1);
        *seen > after.min(SEEN) << drops
    }
}

impl Store {
    /// Makes code for the present function where a look has found it often enough.
    pub(crate) fn sample(&mut self) {
        let func = self.state.at.func;
        if self.native.see(func, SEEN_BY_LOOK) {
            self.translate(func);
        }
    }

    /// The same where a function was compiled just now.
    pub(crate) fn first_use(&mut self, func: u32) {
        if self.native.tiers == FROM_FIRST && self.native.see(func, 1) {
            self.translate(func);
        }
    }

    fn translate(&mut self, func: u32) {
        let Some(Some(code)) = self.code.get(func as usize) else { return };
        let funcs = &self.funcs;
        let is_host = |number: u32| funcs.get(number as usize).is_none_or(|func| func.is_host());
        let native = &mut self.native;
        native.seen.resize(funcs.len().max(native.seen.len()), 0);
        native.seen[func as usize] = REFUSED;
        let Some(function) = lower(func, code, &is_host, native.tiers == FROM_FIRST) else {
            return;
        };
        if native.functions.as_ref().is_none_or(|all| all.count() != funcs.len()) {
            native.functions = Functions::new(funcs.iter().map(|func| func.ty));
            native.translated.clear();
        }
        let Some(functions) = &mut native.functions else {
            native.unable = true;
            return;
        };
        let drops = functions.drops();
        let made = functions.add(&function);
        native.translated.resize(funcs.len(), false);
        if functions.drops() != drops {
            // Others were dropped for it, and may get code again.
            for (has, seen) in native.translated.iter_mut().zip(&mut native.seen) {
                *seen = if *has { 0 } else { *seen };
                *has = false;
            }
        }
        if made {
            native.translated[func as usize] = true;
            native.seen[func as usize] = 0;
        }
    }

    /// Runs machine code from the state's instruction on, where there is some; then the one
    /// instruction that it was left at, where it has none.
    pub(crate) fn exec_native(&mut self, bounds: Bounds) -> Option<Exit> {
        let at = self.state.at;
        if !self.native.has(at.func) {
            return None;
        }
        let functions = self.native.functions.as_mut()?;
        let total = self.code.get(at.func as usize)?.as_ref()?.total();
        let soon = at.origin.saturating_add(KICK_TICKS).saturating_add(total);
        let until = bounds.until.min(soon);
        let left = until.saturating_sub(total).saturating_sub(at.origin);
        if left < 0 {
            return Some(Exit::Limit);
        }
        if !functions.has_place(at.func, at.pc) {
            return Some(self.one(bounds));
        }
        let state = &mut self.state;
        let world = World {
            stack: &mut state.stack,
            stack_end: STACK_SLOTS,
            calls: &mut state.frames,
            calls_max: FRAMES_MAX,
            memory: self.memory.spaces.first_mut()?,
            shared: &mut state.globals,
        };
        let tables = state.tables.iter().map(|table| &table.slots[..]);
        let spot = Spot { func: at.func, pc: at.pc, base: at.base, left };
        let (why, spot) = functions.run(world, tables, spot)?;
        Some(self.come_back(why, spot, until, bounds))
    }

    /// The state after machine code was left.
    fn come_back(&mut self, why: Left, spot: Spot, until: i64, bounds: Bounds) -> Exit {
        let Spot { func, pc, base, left } = spot;
        let now = until.wrapping_sub(left);
        if why == Left::Returned {
            let Some(Frame { func, pc, base }) = self.state.frames.pop() else {
                // Nothing of the function is left, so that all that have ended are the same.
                self.state.at = At { func: NOWHERE, pc: 0, base: 0, origin: now };
                return Exit::Done;
            };
            // It may have been dropped while it waited; it can be compiled again.
            let along = self.prepared(func).map_or(0, |code| code.done_before(pc as usize));
            self.state.at = At { func, pc, base, origin: now.wrapping_sub(along) };
            return Exit::Limit;
        }
        self.state.at = At { func, pc, base, origin: 0 };
        // The code of the register form may be gone, but for that which was run last.
        self.ready();
        let along = match why {
            Left::Call => self.ends_at(),
            Left::Step | Left::Limit | Left::Returned => self.present_total(),
        };
        self.state.at.origin = now.wrapping_sub(along);
        if why == Left::Limit {
            return Exit::Limit;
        }
        self.one(bounds)
    }

    /// Does the next instruction by the interpreter.
    fn one(&mut self, bounds: Bounds) -> Exit {
        let end = self.ends_at();
        if end > bounds.until {
            return Exit::Limit;
        }
        let exit = self.exec::<true>(Bounds { until: end, ..bounds });
        if exit != Exit::Reached {
            return exit;
        }
        let At { func, pc, .. } = self.state.at;
        if pc == 0 && self.native.see(func, 1) {
            self.translate(func);
        }
        Exit::Limit
    }
}
