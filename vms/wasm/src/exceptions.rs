//! Exceptions: which code catches them, and how one gets there.

use crate::code::Handler;
use crate::compile::{Compiler, TooLarge};
use crate::heap::Object;
use crate::reference::Reference;
use crate::state::At;
use crate::store::Store;
use crate::trap::Trap;
use crate::types::slots;
use std::collections::BTreeSet;
use wasmparser::Catch;

/// A block that catches, and is open.
#[derive(Debug)]
pub(crate) struct Try {
    /// Its first instruction.
    pub(crate) from: u32,
    pub(crate) catches: Vec<Catch>,
}

impl Compiler<'_> {
    /// Adds the code of what a block catches: from where its values are put to where they go.
    pub(crate) fn catches(&mut self, caught: Try, to: u32) -> Result<(), TooLarge> {
        let Try { from, catches } = caught;
        for catch in catches {
            let (tag, label, reference) = match catch {
                Catch::One { tag, label } => (Some(tag), label, false),
                Catch::OneRef { tag, label } => (Some(tag), label, true),
                Catch::All { label } => (None, label, false),
                Catch::AllRef { label } => (None, label, true),
            };
            let tag = tag.map(|index| self.layout.numbers.tags[index as usize]);
            let params = tag.map_or(&[][..], |tag| &self.layout.tag(tag).params);
            let home = u16::try_from(self.next_home()).map_err(|_| TooLarge)?;
            self.push_all(params)?;
            if reference {
                self.push_result()?;
            }
            let (target, ticks) = (self.here_fenced(), self.ticks);
            self.branch(label);
            (0..params.len() + usize::from(reference)).for_each(|_| {
                self.pop();
            });
            let handler = Handler { from, to, tag, reference, target, home, ticks };
            self.code.handlers.push(handler);
        }
        Ok(())
    }
}

impl Store {
    /// Throws a new exception, whose values are in slots from the first on.
    pub(crate) fn throw(&mut self, tag: u32, first: usize) -> Result<(), Trap> {
        let values = self.state.stack[first..first + self.tag_slots(tag)?].to_vec();
        self.unwind(tag, &values, None)
    }

    /// Throws an exception again.
    pub(crate) fn throw_again(&mut self, reference: Reference) -> Result<(), Trap> {
        let at = reference.as_object().ok_or(Trap::NullException)?;
        let Object::Exception { tag } = self.object(at)? else { return Err(Trap::Damage) };
        let count = self.tag_slots(tag)? as u64;
        let values: Result<Vec<u64>, Trap> =
            (1..=count).map(|nth| self.heap_word(at + 8 * nth)).collect();
        self.unwind(tag, &values?, Some(reference))
    }

    /// The slots of what an exception carries.
    fn tag_slots(&self, tag: u32) -> Result<usize, Trap> {
        let ty = *self.externs.tags.get(tag as usize).ok_or(Trap::Damage)?;
        let signature = self.types.signature(ty).ok_or(Trap::Damage)?;
        Ok(slots(&signature.params) as usize)
    }

    /// Goes on where an exception is caught. Where it is not, nothing is changed, so that people
    /// can see where it was thrown.
    fn unwind(
        &mut self,
        tag: u32,
        values: &[u64],
        reference: Option<Reference>,
    ) -> Result<(), Trap> {
        let here = self.state.at;
        let (mut func, mut pc, mut base) = (here.func, here.pc, here.base);
        let mut left = self.state.frames.len();
        let mut missed = BTreeSet::new();
        let handler = loop {
            // In a recursion many that wait stand at the same place. It is looked at once, as its
            // code may have to be made for that.
            if missed.insert((func, pc)) {
                let handlers = &self.prepared(func)?.handlers;
                if let Some(handler) = handlers.iter().find(|handler| handler.catches(pc, tag)) {
                    break *handler;
                }
            }
            left = left.checked_sub(1).ok_or(Trap::Exception)?;
            let frame = self.state.frames[left];
            // The call that waits is the instruction before the one to go on with.
            (func, pc, base) = (frame.func, frame.pc.saturating_sub(1), frame.base);
        };
        let reference = match reference {
            None if handler.reference => {
                let at = self.new_object(Object::Exception { tag }, true)?;
                for (place, value) in (1..).zip(values) {
                    self.set_heap_word(at + 8 * place, *value)?;
                }
                Some(Reference::exception(at))
            }
            reference => reference,
        };
        let first = base as usize + usize::from(handler.home);
        let values = if handler.tag.is_some() { values } else { &[] };
        let stack = &mut self.state.stack;
        stack[first..first + values.len()].copy_from_slice(values);
        if let Some(reference) = reference.filter(|_| handler.reference) {
            stack[first + values.len()] = reference.0;
        }
        self.state.frames.truncate(left);
        let origin = self.state.tick.cast_signed().wrapping_sub(handler.ticks.into());
        self.state.at = At { func, pc: handler.target, base, origin };
        Ok(())
    }
}

impl Handler {
    /// Whether it catches what an instruction throws.
    fn catches(&self, pc: u32, tag: u32) -> bool {
        (self.from..self.to).contains(&pc) && self.tag.is_none_or(|own| own == tag)
    }
}
