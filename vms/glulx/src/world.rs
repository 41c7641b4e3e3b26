//! The world of the code: memory, the stack, frames, and the helpers of the front-end.

use crate::fault::Fault;
use crate::lower::{Front, STACK_AT, helper, slot, tag, untag};
use crate::state::{Cpu, Glk};
use crate::story::{Layout, Story};
use crate::tree::Tree;
use omni_base::{Gpa, PAGE_SIZE_U64, PageNo};
use omni_engine::{Access, At, Context, Env, Mapping, Regs, Reply, Target};
use omni_ir::{Helper, Size, Slot, Trap};
use omni_machine::Effect;
use omni_memory::{Memory, Space};
use std::cell::Cell;
use std::sync::Arc;

/// The space of memory and stack, and that of undo.
pub(crate) const MEMORY: usize = 0;
pub(crate) const UNDO: usize = 1;

/// Arguments of a call or of Glk that are taken from the stack at most.
const ARGS_MAX: u32 = 1024;

/// Work of helpers after which the engine ends its run, so that a kick is seen: one instruction
/// may copy all of memory.
pub(crate) const WORK_MAX: u64 = 4 << 20;

/// Bytes that are copied at once.
const PART_BYTES: u32 = 1 << 16;

/// What a trap has that says that the first function has returned: no address is as high.
pub(crate) const RETURNED: u64 = 1 << 32;

/// Where the machine goes on: an address as the engine has it.
pub(crate) type Next = Result<u64, Fault>;

/// All of a machine but its registers and its engine.
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) cpu: Cpu,
    pub(crate) glk: Glk,
    /// The tick at which the present run began.
    pub(crate) began: u64,
    /// The tick of the instruction that runs.
    pub(crate) now: u64,
    /// Effects of the present run, with their ticks.
    pub(crate) effects: Vec<(u64, Effect)>,
    /// What helpers of one instruction have for each other.
    pub(crate) stash: [u64; 8],
    /// What runs as constant has changed, or nothing can run.
    pub(crate) stop: bool,
    /// What helpers did in the present run, in bytes or what takes as long.
    pub(crate) work: Cell<u64>,
    // Derived from here on: functions of the spec, and of the record for the front-end.
    /// The tree of a table of strings, where it has that form.
    pub(crate) tree: Option<(u32, Option<Arc<Tree>>)>,
    pub(crate) story: Story,
    pub(crate) layout: Layout,
    pub(crate) front: Arc<Front>,
    pub(crate) levels: u32,
    pub(crate) echo: bool,
    pub(crate) ns_per_tick: u64,
    pub(crate) epoch_s: u64,
    pub(crate) seed: u64,
}

/// How an instruction is encoded that says itself where it goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded {
    /// Where the result goes.
    pub(crate) dest: (u32, u32),
    /// The next instruction.
    pub(crate) next: u32,
}

impl World {
    /// The address space that loads, stores and fetches see now.
    pub(crate) fn context(&self) -> Context {
        Context([self.cpu.endmem.into(), 0])
    }

    /// Notes so many bytes of work. Nothing that the story can observe hangs on it.
    pub(crate) fn worked(&self, bytes: u64) {
        self.work.set(self.work.get().saturating_add(bytes));
    }

    fn place(&self, at: u32) -> Gpa {
        Gpa(u64::from(at) + u64::from(self.layout.delta))
    }

    fn check_read(&self, at: u32, count: u32) -> Result<(), Fault> {
        let end = at.checked_add(count).ok_or(Fault::Read)?;
        if end <= self.cpu.endmem { Ok(()) } else { Err(Fault::Read) }
    }

    fn check_write(&self, at: u32, count: u32) -> Result<(), Fault> {
        let end = at.checked_add(count).ok_or(Fault::Write)?;
        let inside = at >= self.layout.ramstart && end <= self.cpu.endmem;
        if inside || count == 0 { Ok(()) } else { Err(Fault::Write) }
    }

    /// Reads memory.
    pub(crate) fn read(&self, at: u32, into: &mut [u8]) -> Result<(), Fault> {
        self.check_read(at, u32::try_from(into.len()).map_err(|_| Fault::Read)?)?;
        self.memory.spaces[MEMORY].read(self.place(at), into).map_err(|_| Fault::Read)
    }

    /// Writes memory.
    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.check_write(at, u32::try_from(bytes.len()).map_err(|_| Fault::Write)?)?;
        let place = self.place(at);
        self.memory.spaces[MEMORY].store(place, bytes).map_err(|_| Fault::Write)
    }

    /// Fills memory.
    pub(crate) fn fill(&mut self, at: u32, count: u32) -> Result<(), Fault> {
        self.check_write(at, count)?;
        self.worked(count.into());
        let place = self.place(at);
        self.memory.spaces[MEMORY].fill(place, count.into(), 0).map_err(|_| Fault::Write)
    }

    fn load<const N: usize>(&self, at: u32) -> Result<[u8; N], Fault> {
        self.check_read(at, N as u32)?;
        self.memory.spaces[MEMORY].load(self.place(at)).map_err(|_| Fault::Read)
    }

    /// A byte of memory.
    pub(crate) fn byte(&self, at: u32) -> Result<u8, Fault> {
        self.load(at).map(u8::from_be_bytes)
    }

    /// Two bytes of memory.
    pub(crate) fn half(&self, at: u32) -> Result<u16, Fault> {
        self.load(at).map(u16::from_be_bytes)
    }

    /// Four bytes of memory.
    pub(crate) fn long(&self, at: u32) -> Result<u32, Fault> {
        self.load(at).map(u32::from_be_bytes)
    }

    /// Sets four bytes of memory.
    pub(crate) fn set_long(&mut self, at: u32, value: u32) -> Result<(), Fault> {
        self.write(at, &value.to_be_bytes())
    }

    fn stack_place(&self, at: u64, count: u64) -> Result<Gpa, Fault> {
        let at = at.checked_sub(STACK_AT).ok_or(Fault::Underflow)?;
        if at.saturating_add(count) > self.layout.stack_bytes.into() {
            return Err(Fault::Overflow);
        }
        Ok(Gpa(self.layout.stack_page() * PAGE_SIZE_U64 + at))
    }

    /// Four bytes of the stack, at an address of the engine.
    pub(crate) fn stack_long(&self, at: u64) -> Result<u32, Fault> {
        let place = self.stack_place(at, 4)?;
        let bytes = self.memory.spaces[MEMORY].load(place).map_err(|_| Fault::Underflow)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// Writes to the stack.
    pub(crate) fn set_stack(&mut self, at: u64, bytes: &[u8]) -> Result<(), Fault> {
        let place = self.stack_place(at, bytes.len() as u64)?;
        self.memory.spaces[MEMORY].store(place, bytes).map_err(|_| Fault::Overflow)
    }

    /// Pushes a value.
    pub(crate) fn push(&mut self, regs: &mut Regs, value: u32) -> Result<(), Fault> {
        let sp = regs.get(slot::SP);
        self.set_stack(sp, &value.to_be_bytes())?;
        regs.set(slot::SP, sp + 4);
        Ok(())
    }

    /// Pops a value.
    pub(crate) fn pop(&self, regs: &mut Regs) -> Result<u32, Fault> {
        let sp = regs.get(slot::SP).wrapping_sub(4);
        if sp < regs.get(slot::VALUES) || sp > regs.get(slot::SP) {
            return Err(Fault::Underflow);
        }
        regs.set(slot::SP, sp);
        self.stack_long(sp)
    }

    /// Pops so many values, the first first.
    pub(crate) fn pop_all(&self, regs: &mut Regs, count: u32) -> Result<Vec<u32>, Fault> {
        if count > ARGS_MAX {
            return Err(Fault::TooMuch);
        }
        (0..count).map(|_| self.pop(regs)).collect()
    }

    /// Stores a result.
    pub(crate) fn store(
        &mut self,
        regs: &mut Regs,
        (sort, at): (u32, u32),
        value: u32,
    ) -> Result<(), Fault> {
        match u64::from(sort) {
            0 => Ok(()),
            tag::MEMORY => self.set_long(at, value),
            tag::LOCAL => {
                let place = regs.get(slot::LOCALS).wrapping_add(at.into());
                self.set_stack(place, &value.to_be_bytes())
            }
            tag::PUSH => self.push(regs, value),
            _ => Err(Fault::Stub),
        }
    }

    /// Pushes what a return needs.
    pub(crate) fn push_stub(
        &mut self,
        regs: &mut Regs,
        (sort, at): (u32, u32),
        pc: u32,
    ) -> Result<(), Fault> {
        let frame = (regs.get(slot::FP).wrapping_sub(STACK_AT)) as u32;
        let words = [sort, at, pc, frame].map(u32::to_be_bytes).concat();
        let sp = regs.get(slot::SP);
        self.set_stack(sp, &words)?;
        regs.set(slot::SP, sp + 16);
        Ok(())
    }

    /// Pops the four words of a stub: sort and place of the destination, pc and frame.
    pub(crate) fn pop_words(&self, regs: &mut Regs) -> Result<[u32; 4], Fault> {
        let sp = regs.get(slot::SP).checked_sub(16).ok_or(Fault::Underflow)?;
        let mut words = [0; 4];
        for (word, at) in words.iter_mut().zip((sp..).step_by(4)) {
            *word = self.stack_long(at)?;
        }
        regs.set(slot::SP, sp);
        Ok(words)
    }

    /// Takes up the frame at an offset of the stack.
    pub(crate) fn take_frame(&self, regs: &mut Regs, frame: u32) -> Result<(), Fault> {
        let fp = STACK_AT + u64::from(frame);
        let (values, locals) = (self.stack_long(fp)?, self.stack_long(fp + 4)?);
        regs.set(slot::FP, fp);
        regs.set(slot::LOCALS, fp + u64::from(locals));
        regs.set(slot::VALUES, fp + u64::from(values));
        Ok(())
    }

    /// Returns a value by the stub on the top of the stack.
    pub(crate) fn pop_stub(&mut self, regs: &mut Regs, value: u32) -> Next {
        if regs.get(slot::SP) == STACK_AT {
            self.quit();
            return Ok(self.front.at(0, 0));
        }
        let [sort, at, pc, frame] = self.pop_words(regs)?;
        self.take_frame(regs, frame)?;
        regs.set(slot::RESULT, value.into());
        regs.set(slot::DEST, at.into());
        Ok(self.front.at(u64::from(sort).min(tag::BAD), pc))
    }

    /// Goes to a function with one argument.
    pub(crate) fn call_one(&self, regs: &mut Regs, function: u32, arg: u32) -> u64 {
        regs.set(Slot(slot::ARGS), arg.into());
        self.front.at(tag::ENTER + 1, function)
    }

    /// Enters a function, however its header is.
    pub(crate) fn enter(&mut self, regs: &mut Regs, function: u32, args: &[u32]) -> Next {
        if let Some(number) = self.front.accelerated.get(&function).copied() {
            let value = self.accelerated(number, args)?;
            return self.pop_stub(regs, value);
        }
        let sort = self.byte(function)?;
        if !matches!(sort, 0xc0 | 0xc1) {
            return Err(Fault::NotFunction);
        }
        let (mut pairs, mut at) = (Vec::new(), function + 1);
        loop {
            let pair: [u8; 2] = self.load(at)?;
            at += 2;
            if pair == [0, 0] {
                break;
            }
            pairs.push(pair);
            if pairs.len() > 1 << 15 {
                return Err(Fault::Locals);
            }
        }
        self.worked(16 * pairs.len() as u64);
        let locals = crate::calls::Locals::of(pairs).ok_or(Fault::Locals)?;
        let mut frame = locals.head();
        let (first, end) = locals.bounds;
        frame.resize(end as usize, 0);
        if sort == 0xc1 {
            for ((place, size), arg) in locals.places.iter().zip(args) {
                let place = (first + place) as usize;
                let bytes = &arg.to_be_bytes()[4 - *size as usize..];
                frame[place..place + bytes.len()].copy_from_slice(bytes);
            }
        } else {
            let words = args.iter().rev().copied().chain([args.len() as u32]);
            frame.extend(words.flat_map(u32::to_be_bytes));
        }
        let sp = regs.get(slot::SP);
        self.set_stack(sp, &frame)?;
        regs.set(slot::FP, sp);
        regs.set(slot::LOCALS, sp + u64::from(first));
        regs.set(slot::VALUES, sp + u64::from(end));
        regs.set(slot::SP, sp + frame.len() as u64);
        Ok(self.front.at(0, at))
    }

    /// Calls with arguments from the stack: `call` and `tailcall`.
    fn call_stack(
        &mut self,
        regs: &mut Regs,
        (function, count): (u32, u32),
        to: Option<Encoded>,
    ) -> Next {
        let args = self.pop_all(regs, count)?;
        match to {
            Some(to) => self.push_stub(regs, to.dest, to.next)?,
            None => regs.set(slot::SP, regs.get(slot::FP)),
        }
        self.enter(regs, function, &args)
    }

    /// Turns the uppermost values of the stack round (section 2.8).
    fn roll(&mut self, regs: &mut Regs, count: u32, by: u32) -> Result<(), Fault> {
        if count == 0 {
            return Ok(());
        }
        let bytes = 4 * u64::from(count);
        let sp = regs.get(slot::SP);
        let at = sp.checked_sub(bytes).filter(|at| *at >= regs.get(slot::VALUES));
        let at = at.ok_or(Fault::Underflow)?;
        let place = self.stack_place(at, bytes)?;
        self.worked(bytes);
        let mut words = vec![0; bytes as usize];
        let read = self.memory.spaces[MEMORY].read(place, &mut words);
        read.map_err(|_| Fault::Underflow)?;
        let by = i64::from(by.cast_signed()).rem_euclid(count.into()) as usize;
        words.rotate_right(4 * by);
        self.set_stack(at, &words)
    }

    fn copy_top(&mut self, regs: &mut Regs, count: u32) -> Result<(), Fault> {
        let sp = regs.get(slot::SP);
        let bytes = 4 * u64::from(count);
        let at = sp.checked_sub(bytes).filter(|at| *at >= regs.get(slot::VALUES));
        let at = at.ok_or(Fault::Underflow)?;
        self.stack_place(sp, bytes)?;
        self.worked(bytes);
        let mut words = vec![0; bytes as usize];
        let read = self.memory.spaces[MEMORY].read(self.stack_place(at, bytes)?, &mut words);
        read.map_err(|_| Fault::Underflow)?;
        self.set_stack(sp, &words)?;
        regs.set(slot::SP, sp + bytes);
        Ok(())
    }

    /// Zeroes or copies memory: a bit above the address of what is copied says which.
    fn copy(&mut self, count: u32, from: u64, to: u32) -> Result<(), Fault> {
        if count == 0 {
            return Ok(());
        }
        let Ok(from) = u32::try_from(from) else { return self.fill(to, count) };
        self.check_read(from, count)?;
        self.check_write(to, count)?;
        self.worked(count.into());
        let mut part = vec![0; count.min(PART_BYTES) as usize];
        let mut done = 0;
        while done < count {
            let bytes = (count - done).min(PART_BYTES);
            // What is copied upwards begins with its end, as the two may overlap.
            let offset = if from < to { count - done - bytes } else { done };
            let part = &mut part[..bytes as usize];
            self.read(from + offset, part)?;
            self.write(to + offset, part)?;
            done += bytes;
        }
        Ok(())
    }

    /// Instructions that say themselves where they go on.
    fn other(&mut self, opcode: u32, regs: &mut Regs, args: [u64; 3], pc: u32) -> Next {
        let [a, b] = [args[0] as u32, args[1] as u32];
        let place = args[2];
        let (pops, length) = (place >> 40 & 0xff, (place >> 48) as u32);
        let dest = ((place >> 32 & 0xff) as u32, place as u32);
        let to = Encoded { dest, next: pc.wrapping_add(length) };
        regs.set(slot::SP, regs.get(slot::SP).wrapping_sub(4 * pops));
        let value = match opcode {
            0x30 => return self.call_stack(regs, (a, b), Some(to)),
            0x34 => return self.call_stack(regs, (a, b), None),
            0x53 => {
                self.roll(regs, a, b)?;
                0
            }
            0x54 => {
                self.copy_top(regs, a)?;
                0
            }
            0x70 => return self.print_char(regs, a, to.next),
            0x71 => return self.print_number(regs, (a, 0), Some(to.next)),
            0x72 => return self.print_string(regs, a, to.next),
            0x103 => u32::from(!self.resize_by_story(a)?),
            0x110 => self.random(a),
            0x120 => {
                self.quit();
                0
            }
            0x122 => return self.restart(regs),
            0x123 => self.save(regs, a, to)?,
            0x124 => return self.restore(regs, a, to),
            0x125 => self.save_undo(regs, to)?,
            0x126 => return self.restore_undo(regs, to),
            0x130 => return self.glk_call(regs, (a, b), to),
            0x178 => self.allocate(a)?,
            0x179 => {
                self.free(a)?;
                0
            }
            _ => return Err(Fault::Opcode),
        };
        self.store(regs, to.dest, value)?;
        Ok(self.front.at(0, to.next))
    }

    fn resume(&mut self, regs: &mut Regs, tag: u64, at: u32, dest: u32) -> Next {
        match tag {
            tag::NUMBER => self.print_number(regs, (at, dest), None),
            tag::STRING => self.print_on(regs, 0xe1, at, dest),
            tag::C_STRING => self.print_on(regs, 0xe0, at, 0),
            _ => self.print_on(regs, 0xe2, at, 0),
        }
    }

    fn helper(
        &mut self,
        helper: Helper,
        regs: &mut Regs,
        args: [u64; 3],
        when: At,
    ) -> Result<u64, Fault> {
        let [a, b, c] = args.map(|arg| arg as u32);
        let given = |regs: &Regs, count: u32| -> Vec<u32> {
            let slots = (slot::ARGS..).take(count.min(slot::ARGS_MAX.into()) as usize);
            slots.map(|nth| regs.get(Slot(nth)) as u32).collect()
        };
        Ok(match helper {
            helper::STASH => {
                self.stash[a as usize & 6] = args[1];
                self.stash[a as usize & 6 | 1] = args[2];
                0
            }
            helper::ENTER => {
                let given = given(regs, b);
                self.enter(regs, a, &given)?
            }
            helper::ACCELERATED => {
                let given = given(regs, b);
                let value = self.accelerated(a, &given)?;
                self.pop_stub(regs, value)?
            }
            helper::FLOAT => {
                let near = [self.stash[0], self.stash[1]];
                crate::float::single(a, [b, c], near.map(|word| word as u32)).into()
            }
            helper::DOUBLE => {
                let near = [self.stash[0], self.stash[1]];
                crate::double::double(a, [args[1], args[2]], near)
            }
            helper::PUT => {
                if self.cpu.iosys.0 == 2 {
                    self.put(a)?;
                }
                0
            }
            helper::RESUME => self.resume(regs, args[0], b, c)?,
            helper::GESTALT => self.gestalt(a, b).into(),
            helper::GET => self.get(a).into(),
            helper::SEARCH => self.search(a, self.stash.map(|word| word as u32))?.into(),
            helper::COPY => {
                self.copy(a, args[1], c)?;
                0
            }
            helper::SET => {
                self.set(a, b, c)?;
                0
            }
            Helper(number) => {
                let opcode = u32::from(number - helper::OTHER);
                let (_, place) = untag(when.pc);
                let pc = place.wrapping_sub(self.layout.delta.into()) as u32;
                self.other(opcode, regs, args, pc)?
            }
        })
    }
}

impl Env for World {
    fn hold(&mut self) {}

    fn release(&mut self) {}

    fn wants_stillness(&self, _helper: Helper) -> bool {
        false
    }

    fn ram(&mut self) -> &mut Space {
        &mut self.memory.spaces[MEMORY]
    }

    fn translate(&mut self, at: u64, size: Size, access: Access) -> Result<Mapping, Trap> {
        let kept = |no: u64, store: bool, keep: bool| Mapping {
            target: Target::Ram(PageNo(no)),
            load: true,
            store,
            keep,
            tables: [PageNo(0); 6],
            depth: 0,
            span: 12,
            entry_size: 3,
        };
        let delta = u64::from(self.layout.delta);
        let end = delta + u64::from(self.cpu.endmem);
        if access == Access::Fetch {
            let (tag, place) = untag(at);
            // What is done there does not depend on what is there.
            if tag != 0 && !(tag::ENTER..tag::UNDERFLOW).contains(&tag) {
                return Ok(kept(0, false, true));
            }
            let inside = (delta..end).contains(&place);
            let fault = || Fault::Fetch.trap(place.wrapping_sub(delta) as u32);
            return if inside {
                Ok(kept(place / PAGE_SIZE_U64, false, true))
            } else {
                Err(fault())
            };
        }
        if let Some(offset) = at.checked_sub(STACK_AT) {
            let bytes = u64::from(self.layout.stack_bytes);
            if offset.saturating_add(size.bytes()) > bytes {
                return Err(Fault::Overflow.trap(0));
            }
            let page = offset / PAGE_SIZE_U64;
            let whole = (page + 1) * PAGE_SIZE_U64 <= bytes;
            return Ok(kept(self.layout.stack_page() + page, true, whole));
        }
        let first = if access == Access::Store { u64::from(self.layout.ramstart) } else { 0 };
        let inside = at >= delta + first && at.saturating_add(size.bytes()) <= end;
        if !inside {
            let fault = if access == Access::Store { Fault::Write } else { Fault::Read };
            if access != Access::Store && at + 64 >= STACK_AT {
                return Err(Trap { cause: fault as u64, value: RETURNED });
            }
            return Err(fault.trap(at.wrapping_sub(delta) as u32));
        }
        let page = at / PAGE_SIZE_U64;
        let whole = page * PAGE_SIZE_U64 >= delta && (page + 1) * PAGE_SIZE_U64 <= end;
        Ok(kept(page, at >= delta + u64::from(self.layout.ramstart), whole))
    }

    fn device_load(&mut self, _: u64, _: Gpa, _: Size, _: At) -> Result<Reply, Trap> {
        Err(Fault::Read.into())
    }

    fn device_store(&mut self, _: u64, _: Gpa, _: Size, _: u64, _: At) -> Result<Reply, Trap> {
        Err(Fault::Write.into())
    }

    fn bad_atomic(&mut self, _at: u64, access: Access) -> Trap {
        match access {
            Access::Load => Fault::Read.into(),
            Access::Store => Fault::Write.into(),
            Access::Fetch => Fault::Fetch.into(),
        }
    }

    fn call(
        &mut self,
        helper: Helper,
        regs: &mut Regs,
        args: [u64; 3],
        when: At,
    ) -> Result<Reply, Trap> {
        self.now = self.began + when.ticks;
        let value = self.helper(helper, regs, args, when)?;
        let stop = std::mem::take(&mut self.stop) || self.work.get() > WORK_MAX;
        Ok(Reply { value, stop })
    }
}
