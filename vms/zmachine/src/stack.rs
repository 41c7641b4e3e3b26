//! The stack: frames and evaluation words in one space, with a bound.
//!
//! A frame is six words, then its locals, then its evaluation words. Addresses in it are of the
//! story or of the stack, never of the host.

use crate::fault::Fault;
use crate::machine::Vm;
use crate::memory::STACK;
use omni_base::Gpa;

/// Words of the stack: a mebibyte.
pub(crate) const STACK_WORDS: u32 = 1 << 19;

/// Pages of the space of the stack.
pub(crate) const STACK_PAGES: u64 = 256;

/// Words of a frame before its locals: pc, caller's frame, store, locals and arguments.
pub(crate) const FRAME_WORDS: u32 = 6;

/// Frames: `catch` gives their number as a word.
pub(crate) const DEPTH_MAX: u32 = 0xffff;

/// Where the value of a routine goes: a variable, or one of these.
pub(crate) const STORE_NOWHERE: u16 = 0x100;
pub(crate) const STORE_TIMED: u16 = 0x200;

impl Vm {
    /// The word of the stack at an index.
    pub(crate) fn stack_word(&self, at: u32) -> Result<u16, Fault> {
        let bytes = self.memory.spaces[STACK].load(Gpa(2 * u64::from(at)));
        bytes.map(u16::from_le_bytes).map_err(|_| Fault::StackEmpty)
    }

    /// Sets the word of the stack at an index.
    pub(crate) fn set_stack_word(&mut self, at: u32, value: u16) -> Result<(), Fault> {
        let stack = &mut self.memory.spaces[STACK];
        stack.store(Gpa(2 * u64::from(at)), &value.to_le_bytes()).map_err(|_| Fault::StackFull)
    }

    /// Pushes a word.
    pub(crate) fn push(&mut self, value: u16) -> Result<(), Fault> {
        if self.cpu.sp >= STACK_WORDS {
            return Err(Fault::StackFull);
        }
        self.set_stack_word(self.cpu.sp, value)?;
        self.cpu.sp += 1;
        Ok(())
    }

    /// Pops a word of this frame.
    pub(crate) fn pop(&mut self) -> Result<u16, Fault> {
        if self.cpu.sp <= self.base() {
            return Err(Fault::StackEmpty);
        }
        self.cpu.sp -= 1;
        self.stack_word(self.cpu.sp)
    }

    /// The first evaluation word of the frame.
    pub(crate) fn base(&self) -> u32 {
        self.cpu.fp.saturating_add(FRAME_WORDS + u32::from(self.cpu.locals))
    }

    /// The index of a local.
    pub(crate) fn local_at(&self, number: u8) -> Result<u32, Fault> {
        if number > self.cpu.locals {
            return Err(Fault::Local(number));
        }
        Ok(self.cpu.fp.saturating_add(FRAME_WORDS + u32::from(number) - 1))
    }

    /// Calls a routine by its packed address; the value goes to `store`.
    pub(crate) fn call(&mut self, packed: u16, args: &[u16], store: u16) -> Result<(), Fault> {
        if packed == 0 {
            return self.deliver(0, store);
        }
        let at = self.story.routine_at(packed);
        let locals = self.byte(at)?;
        if locals > 15 {
            return Err(Fault::Routine(at));
        }
        if self.cpu.depth >= DEPTH_MAX {
            return Err(Fault::StackFull);
        }
        let given = u8::try_from(args.len()).map_err(|_| Fault::Operand)?;
        self.push_frame(store, locals, given)?;
        let mut pc = at + 1;
        for local in 0..usize::from(locals) {
            let mut value = 0;
            if self.story.version <= 4 {
                value = self.word(pc)?;
                pc += 2;
            }
            self.push(args.get(local).copied().unwrap_or(value))?;
        }
        self.cpu.pc = pc;
        Ok(())
    }

    /// Pushes the words of a frame and makes it the present one; its locals are pushed after.
    pub(crate) fn push_frame(&mut self, store: u16, locals: u8, args: u8) -> Result<(), Fault> {
        let frame = self.cpu.sp;
        for long in [self.cpu.pc, self.cpu.fp] {
            let [a, b, c, d] = long.to_le_bytes();
            self.push(u16::from_le_bytes([a, b]))?;
            self.push(u16::from_le_bytes([c, d]))?;
        }
        self.push(store)?;
        // What the caller had, for the return.
        self.push(u16::from_le_bytes([self.cpu.locals, self.cpu.args]))?;
        self.cpu.fp = frame;
        self.cpu.locals = locals;
        self.cpu.args = args;
        self.cpu.depth += 1;
        Ok(())
    }

    /// Returns from the routine.
    pub(crate) fn ret(&mut self, value: u16) -> Result<(), Fault> {
        let store = self.drop_frame()?;
        if self.cpu.depth < self.cpu.interrupt && store != STORE_TIMED {
            self.forget_wait();
        }
        self.deliver(value, store)
    }

    /// Removes the present frame and gives where its value goes.
    fn drop_frame(&mut self) -> Result<u16, Fault> {
        let fp = self.cpu.fp;
        if self.cpu.depth == 0 {
            return Err(Fault::Frame);
        }
        let caller = self.stack_long(fp + 2)?;
        // Frames lie in order, even in a snapshot that lies: a walk down them ends.
        if caller >= fp {
            return Err(Fault::Frame);
        }
        let [locals, args] = self.stack_word(fp + 5)?.to_le_bytes();
        if locals > 15 {
            return Err(Fault::Frame);
        }
        let store = self.stack_word(fp + 4)?;
        self.cpu.pc = self.stack_long(fp)?;
        [self.cpu.locals, self.cpu.args] = [locals, args];
        self.cpu.sp = fp;
        self.cpu.fp = caller;
        self.cpu.depth -= 1;
        Ok(store)
    }

    /// Two words of the stack as one number.
    pub(crate) fn stack_long(&self, at: u32) -> Result<u32, Fault> {
        let low = u32::from(self.stack_word(at)?);
        Ok(low | u32::from(self.stack_word(at + 1)?) << 16)
    }

    /// Returns from the frame that `catch` named.
    pub(crate) fn throw(&mut self, value: u16, frame: u16) -> Result<(), Fault> {
        if u32::from(frame) > self.cpu.depth {
            return Err(Fault::Frame);
        }
        while self.cpu.depth > u32::from(frame) {
            self.drop_frame()?;
        }
        if self.cpu.depth < self.cpu.interrupt {
            self.forget_wait();
        }
        self.ret(value)
    }

    fn deliver(&mut self, value: u16, store: u16) -> Result<(), Fault> {
        match store {
            STORE_NOWHERE => Ok(()),
            STORE_TIMED => self.timed_return(value),
            variable => self.set_variable(variable.to_le_bytes()[0], value),
        }
    }
}
