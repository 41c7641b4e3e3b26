//! The tier above the interpreter: code of blocks, how it is entered, and what it calls.
#![allow(unsafe_code, reason = "runs machine code that works on a view by pointer; SAFETY.md")]

use crate::arena::Arena;
use crate::cache::BlockId;
use crate::interp::{self, Outcome, Run};
use crate::memory::MemoryPath;
use crate::profiler::Phase;
use crate::tlb::layout;
use crate::{Env, Frontend, NanRule, Regs, Without, code};
use omni_ir::{Block, Inst, Slot};
use omni_tier_x64::{
    Beside, Compiled, Features, Fix, FloatRule, Guest, Layout, Move, Of, Techniques, Tier, Why,
    control,
};
use std::num::NonZeroU32;
use std::ptr::NonNull;
use std::sync::Arc;

/// The base register points this far into a view, so that displacements of slots are short.
const BIAS: u16 = 128;

/// The control block of a view, at `layout::CONTROL`; machine code knows it by `control`.
#[repr(C, align(16))]
struct Control {
    budget: u64,
    pc: u64,
    why: u32,
    place: u32,
    step: usize,
    context: usize,
    jumps: usize,
    mxcsr: u32,
    unused: [u32; 3],
    box_mask: [u64; 2],
    flags: [u8; 64],
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Control, budget) == control::BUDGET as usize);
    assert!(offset_of!(Control, pc) == control::PC as usize);
    assert!(offset_of!(Control, why) == control::WHY as usize);
    assert!(offset_of!(Control, place) == control::PLACE as usize);
    assert!(offset_of!(Control, step) == control::STEP as usize);
    assert!(offset_of!(Control, context) == control::CONTEXT as usize);
    assert!(offset_of!(Control, jumps) == control::JUMPS as usize);
    assert!(offset_of!(Control, mxcsr) == control::MXCSR as usize);
    assert!(offset_of!(Control, box_mask) == control::BOX_MASK as usize);
    assert!(offset_of!(Control, flags) == control::FLAGS as usize);
    assert!(size_of::<Control>() <= layout::JUMPS - layout::CONTROL);
    assert!(layout::FETCHES as u64 == omni_tier_x64::FETCHES);
    assert!(layout::BANK_JUMPS as u64 == omni_tier_x64::JUMPS);
    assert!(layout::SECOND_JUMP == omni_tier_x64::SECOND_JUMP);
};

/// What the low bits of MXCSR are to the guest.
const FLAGS: [u8; 64] = {
    let mut table = [0; 64];
    let mut bits = 0;
    while bits < 64 {
        table[bits as usize] = control::flags(bits);
        bits += 1;
    }
    table
};

/// Code of a block.
pub(crate) struct Native {
    /// Where it begins in the arena, and what is rarely run of it.
    entry: u32,
    rest: u32,
    form: Arc<Form>,
}

/// What all copies of a block's code have in common, in offsets from where it begins.
struct Form {
    exits: Box<[NativeExit]>,
    /// How many bytes are run often, and how many rarely.
    sizes: (u32, u32),
    /// Where it can be copied.
    fixes: Option<Box<[Fix]>>,
}

/// A way out of a block.
#[derive(Clone, Copy)]
struct NativeExit {
    /// How far its address is from the block's.
    by: u64,
    jump: u32,
    stub: u32,
    guard: Option<NonZeroU32>,
}

impl Form {
    fn of(compiled: Compiled, start: u64) -> Self {
        let Compiled { bytes, split, exits, fixes, .. } = compiled;
        let exits = exits.iter().map(|exit| NativeExit {
            by: exit.pc.wrapping_sub(start),
            jump: short(exit.jump),
            stub: short(exit.stub),
            guard: exit.guard.and_then(|at| NonZeroU32::new(short(at))),
        });
        let sizes = (short(split), short(bytes.len() - split));
        Self { exits: exits.collect(), sizes, fixes: fixes.map(Vec::into_boxed_slice) }
    }
}

/// An offset in four bytes.
fn short(at: usize) -> u32 {
    u32::try_from(at).expect("an arena is small")
}

/// How code was left.
pub(crate) enum Left {
    /// By this exit of this block.
    Exit(BlockId, usize),
    /// To a computed address.
    Indirect(u64),
    /// The budget is smaller than this block.
    Budget(BlockId),
    /// Back to whoever runs the vCPU.
    Stop(u64),
    /// To have the rest of a block interpreted, from this operation of the IR on.
    Finish(BlockId, usize),
    /// A step of this block ended like this.
    Step(BlockId, Outcome),
}

/// The tier and its code.
pub(crate) struct Jit {
    tier: Tier,
    arena: Arena,
    /// How many slots are registers.
    slots: usize,
    /// Offsets and sizes of the code that was made last.
    last: [(usize, usize); 2],
    /// What is copied.
    buffer: Vec<u8>,
}

/// Relative to the base register.
fn displacement(offset: usize) -> i32 {
    let from_base = i64::try_from(offset).expect("a view is small") - i64::from(BIAS);
    i32::try_from(from_base).expect("a view is small")
}

impl Jit {
    /// The tier for a guest, or nothing where the host lacks what it takes: then the interpreter
    /// does all.
    /// Code for a vCPU that runs beside others is made where it is `apart`.
    pub(crate) fn new<F: Frontend>(front: &F, apart: bool) -> Option<Self> {
        if !Self::has_features() {
            return None;
        }
        let hot = front.hot_slots();
        let guest = Guest {
            integers: hot.integers,
            floats: hot.floats,
            reservation: front.reservation(),
            flags: front.float_flags(),
            beside: apart.then_some(Beside {
                reserved: Slot(code::RESERVED),
                long_next: Slot(code::LONG_NEXT),
            }),
            float: match front.nan_rule() {
                NanRule::RiscV => FloatRule::CanonicalNan,
                NanRule::Arm { .. } | NanRule::X86Sse => FloatRule::Step,
            },
        };
        let layout = Layout {
            slots: displacement(layout::SLOTS),
            control: displacement(layout::CONTROL),
            fetch_ids: displacement(layout::FETCH_IDS),
            load_tags: displacement(layout::LOAD_TAGS),
            load_adds: displacement(layout::LOAD_ADDS),
            store_tags: displacement(layout::STORE_TAGS),
            store_adds: displacement(layout::STORE_ADDS),
        };
        let features = Features { fma: std::is_x86_feature_detected!("fma") };
        let without = Without::default();
        let techniques = Techniques {
            sharing: !without.sharing,
            registers: !without.registers,
            pairs: !without.pairs,
            floats: !without.floats,
        };
        let tier = Tier::new(layout, &guest, features, techniques);
        let arena = Arena::new(tier.prologue()).ok()?;
        let last = front.registers().iter().map(|reg| usize::from(reg.slot.0)).max();
        let own = usize::from(front.reservation().0.max(front.float_flags().0));
        let slots = last.unwrap_or(0).max(own) + 1;
        Some(Self { tier, arena, slots, last: [(0, 0); 2], buffer: vec![] })
    }

    /// Whether the host has what it takes for any guest.
    pub(crate) fn can_be() -> bool {
        Self::has_features() && Arena::new(&[]).is_ok()
    }

    fn has_features() -> bool {
        // x86-64-v2, as far as code uses it.
        std::is_x86_feature_detected!("popcnt")
    }

    /// Makes a view ready for a run: the registers are in its file, where code finds them, and in
    /// its control block what stays the same. `jumps` is the bank of the jump cache.
    pub(crate) fn bring<E: Env>(
        &self,
        regs: &Regs,
        base: NonNull<u8>,
        jumps: usize,
    ) -> NonNull<Regs> {
        let mut file = base.cast::<Regs>();
        // SAFETY: E6: the file of the view, which nobody else refers to.
        let to = unsafe { file.as_mut() };
        to.0[..self.slots].copy_from_slice(&regs.0[..self.slots]);
        to.set(Slot(code::ZERO), 0);
        let mut control = Self::control(base);
        // SAFETY: E6: code does not run, so nobody else refers to the block.
        let words = unsafe { control.as_mut() };
        *words = Control {
            budget: 0,
            pc: 0,
            why: 0,
            place: 0,
            step: (step::<E> as *const ()).expose_provenance(),
            context: 0,
            jumps,
            mxcsr: control::MXCSR_AT_REST,
            unused: [0; 3],
            box_mask: [!0 << 32; 2],
            flags: FLAGS,
        };
        file
    }

    /// The control block of a view.
    fn control(base: NonNull<u8>) -> NonNull<Control> {
        // SAFETY: E6: the control block lies in the view.
        unsafe { base.add(layout::CONTROL) }.cast()
    }

    /// Takes the registers back from the file of a view.
    pub(crate) fn take(&self, regs: &mut Regs, base: NonNull<u8>) {
        // SAFETY: E6: the file of the view, which nobody else refers to.
        let from = unsafe { base.cast::<Regs>().as_ref() };
        regs.0[..self.slots].copy_from_slice(&from.0[..self.slots]);
    }

    /// Whether there may be no room for another block.
    pub(crate) fn is_full(&self) -> bool {
        // A block of 64 guest instructions is a few KiB.
        !self.arena.has_room(1 << 17)
    }

    /// Bytes that code takes up.
    pub(crate) fn used(&self) -> usize {
        self.arena.used()
    }

    /// Forgets all code.
    pub(crate) fn clear(&mut self) {
        self.arena.truncate(self.tier.prologue().len().next_multiple_of(16));
    }

    /// Makes code of a block, if that can be. `second` is an address in the second page that its
    /// bytes are in, and the number of the mapping there.
    pub(crate) fn compile(
        &mut self,
        block: &Block,
        id: BlockId,
        second: Option<(u64, u32)>,
    ) -> Option<Native> {
        let (at, end) = self.arena.next();
        let compiled = self.tier.compile(block, Of { id, at, end, second })?;
        if !self.arena.has_room(compiled.bytes.len()) {
            return None;
        }
        let (often, rest) = compiled.bytes.split_at(compiled.split);
        let rest_at = compiled.rest_at;
        self.arena.put(often, rest, rest_at);
        self.last = [(at, often.len()), (rest_at, rest.len())];
        let Some(&Inst::Start(start)) = block.insts.first() else {
            unreachable!("a block begins with a guest instruction");
        };
        let form = Arc::new(Form::of(compiled, start));
        Some(Native { entry: short(at), rest: short(rest_at), form })
    }

    /// Copies the code of a block to another, of the same bytes `by` bytes further on, if that can
    /// be. `ids` are their numbers.
    pub(crate) fn copy(
        &mut self,
        from: &Native,
        ids: (BlockId, BlockId),
        by: u64,
    ) -> Option<Native> {
        let fixes = from.form.fixes.as_ref().filter(|_| !self.is_full())?;
        let (often, rest) = from.form.sizes;
        let (often, rest) = (often as usize, rest as usize);
        let (at, end) = self.arena.next();
        // As where code is made.
        let rest_at = (end - rest) & !15;
        let (entry, entry_rest) = (from.entry as usize, from.rest as usize);
        self.buffer.clear();
        self.arena.read(entry, often, &mut self.buffer);
        self.arena.read(entry_rest, rest, &mut self.buffer);
        let to = Move { by, id: ids, at: (entry, at), rest_at: (entry_rest, rest_at) };
        self.tier.fix(&mut self.buffer, often, fixes, &to);
        self.arena.put(&self.buffer[..often], &self.buffer[often..], rest_at);
        self.last = [(at, often), (rest_at, rest)];
        let form = Arc::clone(&from.form);
        let native = Native { entry: short(at), rest: short(rest_at), form };
        for exit in &native.form.exits {
            self.lead(&native, exit, native.arena(exit.stub));
        }
        Some(native)
    }

    /// Makes an exit lead to an offset in the arena.
    fn lead(&mut self, from: &Native, exit: &NativeExit, to: u32) {
        let jump = from.arena(exit.jump);
        self.arena.patch(jump as usize, to.wrapping_sub(jump + 4));
    }

    /// Where the code made last is, and its bytes: what is run often, and the rest.
    pub(crate) fn last_made(&self) -> [(u64, u64); 2] {
        self.last.map(|(at, bytes)| (self.arena.address(at), bytes as u64))
    }

    /// The address of a block's code.
    pub(crate) fn address(&self, native: &Native) -> u64 {
        self.arena.address(native.entry as usize)
    }

    /// Makes an exit lead to a block's code. `id` is the number of the mapping of the page there.
    pub(crate) fn link(&mut self, from: &Native, exit: usize, to: &Native, id: u32) {
        let exit = from.form.exits[exit];
        self.lead(from, &exit, to.entry);
        if let Some(guard) = exit.guard {
            self.arena.patch(from.arena(guard.get()) as usize, id);
        }
    }

    /// Runs code from a block on, with a budget for the run and so much of it left; gives how much
    /// is left then. The view is ready by `bring`.
    pub(crate) fn run<E: Env>(
        &self,
        mem: &mut MemoryPath<'_, E>,
        native: &Native,
        (budget, left): (u64, u64),
    ) -> (u64, Left) {
        let base = mem.tlb.base();
        let mut control = Self::control(base);
        let mut stepping = Stepping { mem, control, file: base.cast(), budget, out: None };
        let context = (&raw mut stepping).expose_provenance();
        // SAFETY: E6: code does not run, so nobody else refers to the block.
        let words = unsafe { control.as_mut() };
        (words.budget, words.context) = (left, context);
        stepping.mem.enter_code();
        self.enter(base, native);
        stepping.mem.leave_code();
        stepping.take_flags();
        // SAFETY: E6: code has been left, so nobody else refers to the block.
        let words = unsafe { control.as_ref() };
        let (id, number) = (words.place >> 10, (words.place & 1023) as usize);
        let how = match Why::from_word(words.why) {
            Why::Exit => Left::Exit(id, number),
            Why::Indirect => Left::Indirect(words.pc),
            Why::Budget => Left::Budget(id),
            Why::Stop => Left::Stop(words.pc),
            Why::Finish => Left::Finish(id, number),
            Why::Step => {
                let (id, outcome) = stepping.out.take().expect("a step that leaves says how");
                Left::Step(id, outcome)
            }
        };
        (words.budget, how)
    }

    fn enter(&self, base: NonNull<u8>, native: &Native) {
        let enter = self.arena.address(self.tier.enter());
        let enter = std::ptr::with_exposed_provenance::<()>(enter as usize);
        // SAFETY: E7: the prologue has a function of this type there.
        let enter = unsafe {
            std::mem::transmute::<*const (), unsafe extern "sysv64" fn(*mut u8, u64)>(enter)
        };
        // SAFETY: E6: the bias is within the view.
        let base = unsafe { base.add(BIAS.into()) };
        let code = self.address(native);
        base.as_ptr().expose_provenance();
        // SAFETY: E7: the code is of a block that is in use, for this layout of views.
        unsafe { enter(base.as_ptr(), code) };
    }
}

impl Native {
    /// The address that an exit leads to, of the block at `start`.
    pub(crate) fn exit_pc(&self, start: u64, exit: usize) -> u64 {
        start.wrapping_add(self.form.exits[exit].by)
    }

    /// Whether it can be copied for the same bytes at another address.
    pub(crate) fn can_move(&self) -> bool {
        self.form.fixes.is_some()
    }

    /// Whether it is a copy of the other, or both are of a third.
    pub(crate) fn is_copy_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.form, &other.form)
    }

    /// The offset in the arena of one from where the code begins.
    fn arena(&self, offset: u32) -> u32 {
        let often = self.form.sizes.0;
        if offset < often { self.entry + offset } else { self.rest + (offset - often) }
    }
}

/// What a step works with, while code runs.
struct Stepping<'a, 'b, E> {
    mem: &'a mut MemoryPath<'b, E>,
    control: NonNull<Control>,
    file: NonNull<Regs>,
    /// The budget of the run.
    budget: u64,
    out: Option<(BlockId, Outcome)>,
}

impl<E: Env> Stepping<'_, '_, E> {
    /// Moves the exceptions that code has raised to the slot that collects them.
    fn take_flags(&mut self) {
        // SAFETY: E6: code does not run now, so nobody else refers to the block.
        let words = unsafe { self.control.as_mut() };
        let raised = words.mxcsr & 0x3d;
        words.mxcsr = control::MXCSR_AT_REST;
        if raised == 0 {
            return;
        }
        let flags = u64::from(FLAGS[raised as usize]);
        let slot = self.mem.float_flags;
        // SAFETY: E6: the file of the view, which nobody else refers to now.
        let file = unsafe { self.file.as_mut() };
        file.set(slot, file.get(slot) | flags);
    }

    fn apart_and_stale(&self) -> bool {
        self.mem.lanes.apart() && self.mem.tlb.must_stop()
    }

    /// Runs an operation, between two stretches of code.
    fn step(&mut self, place: u32) -> u32 {
        self.mem.leave_code();
        let leave = self.step_held(place);
        self.mem.enter_code();
        leave
    }

    fn step_held(&mut self, place: u32) -> u32 {
        self.mem.counters.steps += 1;
        self.take_flags();
        let (id, inst) = (place >> 10, (place & 1023) as usize);
        // Before the step, which may write the page that the operations are made from anew.
        self.mem.bring(id);
        let cached: *const crate::cache::Cached = self.mem.pages.running(id);
        // SAFETY: E4: while code runs, blocks are only taken out of use, never freed or moved.
        let cached = unsafe { &*cached };
        let operations = cached.code.operations();
        self.mem.mark.begin_at(Phase::Step, cached.key().pc);
        // SAFETY: E6: code does not run now, so nobody else refers to the block.
        let left = unsafe { self.control.as_ref() }.budget;
        let insns = cached.code.pcs.len() as u64;
        let ticks = self.budget - left - insns;
        let run = Run { end: operations.mark(inst + 1), ..Run::of(&cached.code, ticks) };
        // SAFETY: E6: the file of the view, which nobody else refers to now.
        let file = unsafe { self.file.as_mut() };
        let first = operations.mark(inst);
        let mut outcome = interp::run::<E, { interp::STEP }>(&run, first, 0, file, self.mem);
        self.mem.mark.begin(Phase::MachineCode);
        if outcome == Outcome::Done {
            // Others may have written this code, while it was left for the step.
            if !self.apart_and_stale() {
                return 0;
            }
            outcome = Outcome::Yield(operations.uops[first].insn.into(), run.end);
        }
        self.out = Some((id, outcome));
        1
    }
}

/// What code calls: runs one operation of the IR. Not zero asks to leave.
///
/// # Safety
/// `context` must be the `Stepping` that the running code was entered with.
unsafe extern "sysv64" fn step<E: Env>(context: *mut (), place: u32) -> u32 {
    let context = context.cast::<Stepping<'_, '_, E>>();
    // SAFETY: E6: it was put into the control block by `run`, whose frame is still there, and
    // which does not touch it while code runs.
    unsafe { &mut *context }.step(place)
}
