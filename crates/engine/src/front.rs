//! The contracts of guest front-ends and of the world that translated code sees.

use omni_base::{Gpa, PageNo};
use omni_ir::{Builder, Helper, Size, Slot, Trap};
use omni_memory::Space;

/// Part of the CPU state that changes what code means: privilege, width, endianness.
///
/// A block is found by address and mode together, so a mode change needs no flush.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mode(pub u32);

impl Mode {
    /// A bit of modes in which the same bytes mean something else at another address.
    pub const STAYS: u32 = 1 << 31;

    /// Whether the same bytes mean the same at any address, but for what moves with it.
    pub(crate) fn moves(self) -> bool {
        self.0 & Self::STAYS == 0
    }
}

/// Names an address space and every rule that decides an access in it: equal contexts translate
/// equal addresses alike, until a page table that was used is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Context(pub [u64; 2]);

/// One register of the file: for the codec, the debugger and the disassembler alike.
#[derive(Clone, Copy, Debug)]
pub struct RegSlot {
    /// The slot.
    pub slot: Slot,
    /// The name in the architecture manual.
    pub name: &'static str,
    /// Its width in bits.
    pub bits: u8,
}

/// Bytes of an instruction at most.
pub const CODE_BYTES: usize = 40;

/// The bytes of code at an address, as far as they lie in one page.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// The address of the first byte.
    pub pc: u64,
    /// The bytes; those from `count` on are zero.
    pub bytes: [u8; CODE_BYTES],
    /// How many there are, at least one.
    pub count: usize,
}

/// Slots worth a host register, most used first.
#[derive(Clone, Copy, Default, Debug)]
pub struct HotSlots {
    /// Integers and addresses.
    pub integers: &'static [Slot],
    /// Floating-point numbers.
    pub floats: &'static [Slot],
}

/// What follows a guest instruction within its block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// The instruction had so many bytes, and the next one follows it.
    Next(u8),
    /// Nothing: the front-end ended the block with one of the builder's terminators.
    End,
    /// The instruction has more bytes than were given. Nothing was built.
    More,
}

/// How floating-point results that are not numbers look.
pub use omni_softfloat::NanRule;

/// The front-end of one guest architecture: registers, and the meaning of one instruction.
///
/// Written once per instruction. The interpreter, every JIT tier, the tracer and the
/// disassembler are derived; a front-end never sees a tier.
pub trait Frontend: Sync {
    /// The register file.
    fn registers(&self) -> &'static [RegSlot];

    /// The slot that collects floating-point exceptions, in `omni_softfloat::Flags` bits.
    fn float_flags(&self) -> Slot;

    /// The slot that holds the reserved address of load-reserved, or `NOT_RESERVED`.
    fn reservation(&self) -> Slot;

    /// What a floating-point operation gives where the result is not a number.
    fn nan_rule(&self) -> NanRule;

    /// The slots that usual programs use most: tiers keep them in host registers.
    fn hot_slots(&self) -> HotSlots;

    /// Whether the same bytes at another address, pages further on, are the same instructions:
    /// `lower` uses the address for `Builder::address`, jumps, branches and what a trap says alone.
    fn code_moves(&self) -> bool;

    /// Lowers the instruction at `code.pc`; `Builder::start` has been called. Writes registers
    /// only after the last thing that can trap.
    fn lower(&self, code: &Code, mode: Mode, into: &mut Builder) -> Flow;
}

/// The value of the reservation slot when nothing is reserved.
pub const NOT_RESERVED: u64 = u64::MAX;

/// Why memory is touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load.
    Load,
    /// A store, or an atomic read and write.
    Store,
    /// An instruction fetch.
    Fetch,
}

/// Where a guest-virtual page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// What is there.
    pub target: Target,
    /// Whether the rules of this context allow loads too, for an entry made by a store.
    pub load: bool,
    /// Whether they allow stores without more ado: a page that is clean in the guest's table
    /// says no here when it was asked for a load.
    pub store: bool,
    /// Whether the answer holds for all the page, so that it may be kept.
    pub keep: bool,
    /// Pages of RAM that hold the tables used, from the root to the leaf; the first `depth` count.
    pub tables: [PageNo; 6],
    /// How many tables. Each is a page; those above the leaf map by the same count of entries.
    pub depth: u8,
    /// Log2 of the bytes that one entry of the leaf table maps.
    pub span: u8,
    /// Log2 of the bytes of an entry.
    pub entry_size: u8,
}

/// What is at a guest-physical page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// A page of the RAM space.
    Ram(PageNo),
    /// Devices; the guest-physical address of the access asked for.
    Device(Gpa),
}

/// What a device access or a helper gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reply {
    /// What was loaded or computed; zero for a store.
    pub value: u64,
    /// Translated code must not run on past this instruction: an interrupt line moved, a timer
    /// was set, or the mode changed. Without this, when an interrupt is taken would depend on
    /// where blocks happen to end, and dropping a cache would be visible.
    pub stop: bool,
}

/// When and where an instruction is, for those who need to know it exactly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At {
    /// Instructions retired since the run began.
    pub ticks: u64,
    /// The address of the instruction.
    pub pc: u64,
}

/// Memory, devices and helpers as the code of one vCPU sees them.
///
/// Where vCPUs run side by side, this is called while the vCPU has the world to itself, between
/// `hold` and `release`.
pub trait Env {
    /// The world is this vCPU's from now on. Nothing to do where vCPUs take turns.
    fn hold(&mut self);

    /// Other vCPUs may have the world until the next `hold`.
    fn release(&mut self);

    /// Whether a helper must find all other vCPUs at rest: it writes memory in several steps, 16
    /// bytes at most, which begin at its first argument.
    fn wants_stillness(&self, helper: Helper) -> bool;

    /// The guest's RAM.
    fn ram(&mut self) -> &mut Space;

    /// Where the byte at guest-virtual `at` is, by the present rules, for an access of `size`
    /// that stays within the page. Sets accessed and dirty bits where the guest has asked for it,
    /// by `Space::amend`: no translation made before is wrong by them.
    ///
    /// # Errors
    /// The trap that the access takes.
    fn translate(&mut self, at: u64, size: Size, access: Access) -> Result<Mapping, Trap>;

    /// A load from devices: `at` is the guest-virtual address, `gpa` the physical one.
    ///
    /// # Errors
    /// The trap where nothing answers. A trap leaves no trace.
    fn device_load(&mut self, at: u64, gpa: Gpa, size: Size, when: At) -> Result<Reply, Trap>;

    /// A store to devices.
    ///
    /// # Errors
    /// The trap where nothing answers. A trap leaves no trace.
    fn device_store(
        &mut self,
        at: u64,
        gpa: Gpa,
        size: Size,
        value: u64,
        when: At,
    ) -> Result<Reply, Trap>;

    /// The trap of an atomic access that is not aligned, or not to RAM.
    fn bad_atomic(&mut self, at: u64, access: Access) -> Trap;

    /// A helper of the front-end.
    ///
    /// # Errors
    /// The trap it takes instead; then it has changed nothing.
    fn call(
        &mut self,
        helper: Helper,
        regs: &mut Regs,
        args: [u64; 3],
        when: At,
    ) -> Result<Reply, Trap>;
}

/// The file of slots: registers below `Slot::TEMPS`, temporaries above.
#[derive(Clone, Debug)]
pub struct Regs(
    /// What each slot holds.
    pub [u64; 256],
);

impl Default for Regs {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl Regs {
    /// What a slot holds.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, slot: Slot) -> u64 {
        self.0[usize::from(slot.0)]
    }

    /// Sets a slot.
    #[inline(always)]
    pub fn set(&mut self, slot: Slot, value: u64) {
        self.0[usize::from(slot.0)] = value;
    }
}

/// Where a run begins and how far it may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The first instruction.
    pub pc: u64,
    /// What its code means. Constant for the run, as are the contexts.
    pub mode: Mode,
    /// The address space of instruction fetches.
    pub fetch: Context,
    /// The address space of loads and stores.
    pub data: Context,
    /// Instructions to retire at most.
    pub budget: u64,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// Instructions retired, exactly.
    pub ticks: u64,
    /// The next instruction's address, or the one at fault.
    pub pc: u64,
    /// A trap taken before the instruction at `pc` had any effect.
    pub trap: Option<Trap>,
}
