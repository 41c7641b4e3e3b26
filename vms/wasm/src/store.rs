//! The store (the specification, section 4.2.3): instances, what is in them, and how they run.
#![allow(clippy::wildcard_enum_match_arm, reason = "an instruction is a tail call or it is not")]

use crate::code::Code;
use crate::cold::WASM_PAGE;
use crate::compile::{INSNS_MAX, compile};
use crate::exec::{Bounds, Exit};
use crate::layout::{Layout, Numbers};
use crate::module::Module;
use crate::native::Native;
use crate::ops::Op;
use crate::state::{At, Frame, STACK_SLOTS, State};
use crate::trap::Trap;
use crate::types::{Signature, Types, slots};
use omni_base::PAGE_SIZE_U64;
use omni_machine::Kick;
use omni_memory::{Memory, Space};
use std::sync::Arc;

/// The weight of the code that is kept, of all functions together; two functions of the largest
/// size fit, so a caller and what it calls do.
pub(crate) const CODE_WEIGHT_MAX: usize = 4 * INSNS_MAX;

/// The number of no function: the outermost one has returned.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// What a function does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    /// A function of an instance: its number in the module, and in its code.
    Wasm { instance: u32, index: u32, body: u32 },
    /// One of the host's.
    Host(u32),
}

/// A function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Func {
    pub(crate) ty: u32,
    pub(crate) body: Body,
}

impl Func {
    /// Whether the host does it.
    pub(crate) fn is_host(&self) -> bool {
        matches!(self.body, Body::Host(_))
    }
}

/// An instance of a module.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) module: Arc<Module>,
    pub(crate) numbers: Numbers,
}

/// Why a run of a store ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ran {
    /// The last tick was reached.
    Reached,
    /// Somebody asked; at this tick all that is done by then will be.
    Kicked(u64),
    /// It stands at a call of a function of the host.
    Host(HostCall),
    /// It has trapped.
    Trapped(Trap),
    /// The outermost function has returned.
    Done,
}

/// A call of a function of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HostCall {
    /// Which it is among those of the host.
    pub(crate) host: u32,
    /// Its type.
    pub(crate) ty: u32,
    /// The slot of its first argument, and of its first result.
    pub(crate) first: usize,
}

/// Instances and what they share. Code is derived; all that changes is in `state` and `memory`.
#[derive(Debug)]
pub struct Store {
    pub(crate) types: Types,
    pub(crate) funcs: Vec<Func>,
    pub(crate) instances: Vec<Instance>,
    /// The types of tables, memories, globals and tags, for linking.
    pub(crate) externs: crate::link::Externs,
    /// Elements of segments, by their number.
    pub(crate) elements: Vec<Vec<u64>>,
    /// The instance of each segment of data, and which it is there.
    pub(crate) data: Vec<(u32, u32)>,
    pub(crate) state: State,
    pub(crate) memory: Memory,
    /// Bytes that all memories together may have.
    pub(crate) memory_max: u64,
    /// The number of the heap, which is a memory that no code can name.
    pub(crate) heap: Option<u32>,
    /// Nanoseconds of a tick, for what waits.
    pub(crate) ns_per_tick: u64,
    /// Whether there is but one way to make a store of its module, so that code of another is code
    /// of this one.
    pub(crate) shares_code: bool,
    /// Where functions that are imported and that nobody has end the program once they are called:
    /// their names.
    pub(crate) refused: Option<Vec<String>>,
    // Derived from here on.
    pub(crate) code: Vec<Option<Arc<Code>>>,
    /// The weight of all of it.
    weight: usize,
    /// The slots of each function's frame, as far as it was compiled.
    pub(crate) slots: Vec<u16>,
    pub(crate) native: Native,
}

impl Store {
    /// An empty store; its memories may have so many bytes together.
    #[must_use]
    pub fn new(memory_max: u64) -> Self {
        Self {
            types: Types::default(),
            funcs: Vec::new(),
            instances: Vec::new(),
            externs: crate::link::Externs::default(),
            elements: Vec::new(),
            data: Vec::new(),
            state: State::default(),
            memory: Memory { spaces: vec![Space::new("memory", 0)] },
            memory_max,
            heap: None,
            ns_per_tick: 1,
            shares_code: false,
            refused: None,
            code: Vec::new(),
            weight: 0,
            slots: Vec::new(),
            native: Native::default(),
        }
    }

    /// The signature of a function.
    #[must_use]
    pub fn signature(&self, func: u32) -> &Signature {
        let ty = self.funcs[func as usize].ty;
        self.types.signature(ty).expect("functions have the type of functions")
    }

    /// Compiles a function that is not compiled yet. Where all that is compiled would take too much
    /// room, the rest is dropped: it is made again when it is called.
    ///
    /// # Errors
    /// Where it is the host's, or too large.
    pub(crate) fn prepare(&mut self, func: u32) -> Result<(), Trap> {
        let body = self.funcs.get(func as usize).map(|func| func.body);
        let Some(Body::Wasm { instance, body, .. }) = body else {
            return Err(Trap::UndefinedElement);
        };
        let instance = &self.instances[instance as usize];
        let funcs = &self.funcs;
        let layout = Layout {
            numbers: &instance.numbers,
            all: &self.types,
            types: &instance.numbers.types,
            tags: &self.externs.tags,
            funcs: &|number| funcs[number as usize].ty,
        };
        let (module, signature) = (&instance.module, self.signature(func));
        let make = || compile(&layout, signature, &module.body(body as usize));
        let made = match self.shares_code {
            true => module.made.code(body as usize, make),
            false => make().map(Arc::new),
        };
        let code = made.map_err(|_| Trap::TooLarge)?;
        self.weight += code.weight();
        if self.weight > CODE_WEIGHT_MAX {
            self.code.iter_mut().for_each(|code| *code = None);
            self.weight = code.weight();
        }
        self.slots.resize(self.funcs.len(), 0);
        self.slots[func as usize] = code.slots;
        self.code[func as usize] = Some(code);
        Ok(())
    }

    /// Compiles a function where that is not done.
    ///
    /// # Errors
    /// As `prepare`.
    pub(crate) fn prepared(&mut self, func: u32) -> Result<&Code, Trap> {
        if !matches!(self.code.get(func as usize), Some(Some(_))) {
            self.prepare(func)?;
        }
        let code = self.code.get(func as usize).and_then(Option::as_ref);
        code.map(|code| &**code).ok_or(Trap::UndefinedElement)
    }

    /// Drops what was compiled of a function.
    pub(crate) fn unprepare(&mut self, func: usize) {
        let dropped = self.code[func].take();
        self.weight -= dropped.map_or(0, |code| code.weight());
    }

    /// Compiles the present function where that is not done; what is dropped of it is made again.
    pub(crate) fn ready(&mut self) {
        // It was compiled before, so it can be; and where none is present, nothing is to be done.
        let _ = self.prepared(self.state.at.func);
    }

    /// Has the present instruction end a tick from now.
    pub(crate) fn again(&mut self) {
        let next = self.state.tick.cast_signed().wrapping_add(1);
        let shift = next.wrapping_sub(self.ends_at());
        self.state.at.origin = self.state.at.origin.wrapping_add(shift);
    }

    /// Whether a call can stand at an instruction, with its frame there.
    pub(crate) fn can_stand(&mut self, func: u32, pc: u32, base: u32) -> bool {
        self.prepared(func).is_ok_and(|code| {
            (pc as usize) < code.insns.len()
                && base as usize + usize::from(code.slots) <= STACK_SLOTS
        })
    }

    /// Gives a memory so many pages, which its space has.
    pub(crate) fn set_pages(&mut self, memory: usize, pages: u64) {
        self.state.memories[memory].pages = pages;
        self.memory.spaces[memory].set_flat(pages * (WASM_PAGE / PAGE_SIZE_U64));
    }

    /// The slots that frames have. The last one may end below one that waits.
    pub(crate) fn stack_top(&self) -> usize {
        let at = self.state.at;
        let frames = self.state.frames.iter().map(|frame| (frame.func, frame.base));
        let ends = frames.chain([(at.func, at.base)]).map(|(func, base)| {
            let slots = self.slots.get(func as usize).copied();
            slots.map_or(0, |slots| base as usize + usize::from(slots))
        });
        ends.max().unwrap_or(0).min(STACK_SLOTS)
    }

    /// Where a call stands, for people.
    pub(crate) fn describe(&mut self, frame: &Frame) -> String {
        let body = self.funcs.get(frame.func as usize).map(|func| func.body);
        let Some(Body::Wasm { instance, index, .. }) = body else { return "nowhere".to_owned() };
        let name = self.instances[instance as usize].module.name_of(index);
        let before = (frame.pc as usize).saturating_sub(1);
        let code = self.prepared(frame.func).ok();
        match code.and_then(|code| code.offsets.get(before)) {
            Some(offset) => format!("{name} at byte {offset:#x} of the module"),
            None => name,
        }
    }

    /// Whether the host does a function.
    pub(crate) fn is_host(&self, func: u32) -> bool {
        self.funcs.get(func as usize).is_some_and(Func::is_host)
    }

    /// Sets up a call of a function of a module as the outermost one, at the present tick.
    pub(crate) fn begin(&mut self, func: u32, arguments: &[u64]) -> Result<(), Trap> {
        let slots = usize::from(self.prepared(func)?.slots);
        self.state.frames.clear();
        self.state.stack[..slots].fill(0);
        self.state.stack[..arguments.len()].copy_from_slice(arguments);
        let origin = self.state.tick.cast_signed();
        self.state.at = At { func, pc: 0, base: 0, origin };
        Ok(())
    }

    /// Runs up to a tick, exactly: all that is done by then is done. Comes back earlier where it
    /// was kicked or stands at something that is not the store's to do.
    pub(crate) fn run(&mut self, until: u64, kick: Option<&Kick>) -> Ran {
        let until = i64::try_from(until).unwrap_or(i64::MAX);
        let mut careful = false;
        loop {
            if self.state.at.func == NOWHERE {
                return Ran::Done;
            }
            let soon = self.state.at.origin.saturating_add(self.native.look_after());
            let bounds = Bounds { until, soon };
            let exit = match careful {
                true => self.exec::<true>(bounds),
                false => match self.exec_native(bounds) {
                    Some(exit) => exit,
                    None => self.exec::<false>(bounds),
                },
            };
            match exit {
                Exit::Limit => {
                    if kick.is_some_and(Kick::taken) {
                        return Ran::Kicked(self.ends_at().min(until).cast_unsigned());
                    }
                    careful = self.state.at.origin > until.saturating_sub(self.present_total());
                    self.sample();
                }
                Exit::Reached => {
                    self.state.tick = until.cast_unsigned();
                    return Ran::Reached;
                }
                Exit::Uncompiled(func) => {
                    if let Err(trap) = self.prepare(func) {
                        self.pass();
                        return Ran::Trapped(trap);
                    }
                    // What was prepared may have taken the place of the present function.
                    self.ready();
                    self.first_use(func);
                    if kick.is_some_and(Kick::taken) {
                        return Ran::Kicked(self.ends_at().min(until).cast_unsigned());
                    }
                }
                Exit::Cold => {
                    self.pass();
                    if let Err(trap) = self.cold() {
                        return Ran::Trapped(trap);
                    }
                    if kick.is_some_and(Kick::taken) {
                        return Ran::Kicked(self.state.tick);
                    }
                }
                Exit::Host { func, first } => return self.host_call(func, first as usize),
                Exit::Trap(trap) => {
                    self.pass();
                    return Ran::Trapped(trap);
                }
                Exit::Done => {
                    self.state.tick = self.state.at.origin.cast_unsigned();
                    return Ran::Done;
                }
            }
        }
    }

    pub(crate) fn present_total(&self) -> i64 {
        let code = self.code.get(self.state.at.func as usize);
        code.and_then(Option::as_ref).map_or(0, |code| code.total())
    }

    /// The tick at which the next instruction is done.
    pub(crate) fn ends_at(&self) -> i64 {
        let at = self.state.at;
        let code = self.code.get(at.func as usize).and_then(Option::as_ref);
        let along = code.and_then(|code| code.ends.get(at.pc as usize)).copied().unwrap_or(0);
        at.origin.wrapping_add(along.into())
    }

    /// Lets the time of the next instruction pass.
    pub(crate) fn pass(&mut self) {
        self.state.tick = self.ends_at().cast_unsigned();
    }

    fn host_call(&mut self, func: u32, first: usize) -> Ran {
        let Func { ty, body: Body::Host(host) } = self.funcs[func as usize] else {
            return Ran::Trapped(Trap::UndefinedElement);
        };
        let signature = self.types.signature(ty).expect("functions have the type of functions");
        let room = slots(&signature.params).max(slots(&signature.results)) as usize;
        if first + room > STACK_SLOTS {
            self.pass();
            return Ran::Trapped(Trap::Stack);
        }
        Ran::Host(HostCall { host, ty, first })
    }

    /// Goes on after a call of the host's, whose results are where its arguments were.
    pub(crate) fn host_done(&mut self, call: HostCall) {
        self.pass();
        let at = self.state.at;
        let Some(Some(code)) = self.code.get(at.func as usize) else { return };
        let insn = code.insns[at.pc as usize];
        match insn.op {
            Op::TailCall | Op::TailCallIndirect | Op::TailCallRef => {
                let signature = self.types.signature(call.ty);
                let count = signature.map_or(0, |signature| slots(&signature.results)) as usize;
                let stack = &mut self.state.stack;
                stack.copy_within(call.first..call.first + count, at.base as usize);
                let now = self.state.tick.cast_signed();
                self.state.at = match self.state.frames.pop() {
                    Some(Frame { func, pc, base }) => {
                        // It may have been dropped while it waited; it can be compiled again.
                        let code = self.prepared(func);
                        let along = code.map_or(0, |code| code.done_before(pc as usize));
                        At { func, pc, base, origin: now.wrapping_sub(along) }
                    }
                    None => At { func: NOWHERE, pc: 0, base: 0, origin: now },
                };
            }
            _ => self.state.at.pc += 1,
        }
    }
}
