//! Which tiers run code, and what machine code is made without.

use crate::jit::Jit;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// Which tiers run code. No choice can be noticed but by the time it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tiers {
    /// The interpreter alone.
    Interpreter,
    /// Machine code for what was interpreted so often, where the host has such a tier.
    Compiled {
        /// How often; with zero, nothing is interpreted that has code.
        after: u32,
    },
}

/// How often a block is interpreted before it gets code: a third of the blocks of a boot run once.
const COMPILE_AFTER: u32 = 32;

/// What new engines begin with: zero for the interpreter, else one more than `after`.
static TIERS: AtomicU32 = AtomicU32::new(COMPILE_AFTER + 1);

thread_local! {
    /// What those begin with instead that this thread makes now.
    static HERE: Cell<Option<Tiers>> = const { Cell::new(None) };
}

impl Tiers {
    /// Whether this host can run machine code that is made here.
    #[must_use]
    pub fn can_compile() -> bool {
        Jit::can_be()
    }

    /// How often a block is interpreted before it gets code.
    pub(crate) fn after(self) -> u32 {
        match self {
            Self::Interpreter => u32::MAX,
            Self::Compiled { after } => after,
        }
    }

    /// Makes it what engines begin with from now on, for all of this process.
    pub fn make_default(self) {
        let word = match self {
            Self::Interpreter => 0,
            Self::Compiled { after } => after.saturating_add(1),
        };
        TIERS.store(word, Ordering::Relaxed);
    }

    /// Makes something whose engines begin with it; those that other threads make do not.
    pub fn within<T>(self, make: impl FnOnce() -> T) -> T {
        let before = HERE.replace(Some(self));
        let made = make();
        HERE.set(before);
        made
    }
}

impl Default for Tiers {
    fn default() -> Self {
        if let Some(here) = HERE.get() {
            return here;
        }
        match TIERS.load(Ordering::Relaxed) {
            0 => Self::Interpreter,
            more => Self::Compiled { after: more - 1 },
        }
    }
}

/// What machine code is made without, to see what each technique is worth. None of it can be
/// noticed but by the time it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Without {
    /// One probe of the TLB for accesses near to each other.
    pub sharing: bool,
    /// Registers of the block's own.
    pub registers: bool,
    /// Two guest instructions at once.
    pub pairs: bool,
    /// Floating point on the host.
    pub floats: bool,
    /// Blocks round loops and through calls.
    pub traces: bool,
    /// Links from block to block, and the jump cache.
    pub links: bool,
    /// Copies of code for the same bytes at another address.
    pub moves: bool,
}

/// What new engines begin with, a bit for each field.
static WITHOUT: AtomicU32 = AtomicU32::new(0);

impl Without {
    /// The names of the fields, in their order, as a user writes them.
    pub const NAMES: [&'static str; 7] =
        ["sharing", "registers", "pairs", "floats", "traces", "links", "moves"];

    /// Makes engines of this process do without these from now on; unknown names are given back.
    ///
    /// # Errors
    /// The first name that is none of `NAMES`.
    pub fn make_default<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), &'a str> {
        let mut bits = 0;
        for name in names {
            let at = Self::NAMES.iter().position(|known| *known == name).ok_or(name)?;
            bits |= 1 << at;
        }
        WITHOUT.store(bits, Ordering::Relaxed);
        Ok(())
    }
}

impl Default for Without {
    fn default() -> Self {
        let bits = WITHOUT.load(Ordering::Relaxed);
        let has = |at: u32| bits >> at & 1 == 1;
        Self {
            sharing: has(0),
            registers: has(1),
            pairs: has(2),
            floats: has(3),
            traces: has(4),
            links: has(5),
            moves: has(6),
        }
    }
}
