//! Calls of functions of a store from outside: for tests, and for who uses it as a library.

use crate::reference::Reference;
use crate::store::{Body, Ran, Store};
use crate::trap::Trap;
use crate::types::slots;

/// Why a call gave no results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallError {
    /// It trapped.
    Trap(Trap),
    /// It has not ended after so many ticks.
    Unfinished,
}

impl Store {
    /// Calls a function with its arguments in slots, and gives its results in slots. Functions of
    /// the host do nothing, and give zeros.
    ///
    /// # Errors
    /// Where it traps, or takes more than `ticks`.
    pub fn call(
        &mut self,
        func: u32,
        arguments: &[u64],
        ticks: u64,
    ) -> Result<Vec<u64>, CallError> {
        self.call_reliving(func, arguments, ticks, (ticks, 0))
    }

    /// The same, with all derived from what a snapshot holds after each part of so many ticks, and
    /// so many times: nobody can tell.
    ///
    /// # Errors
    /// As `call`.
    pub fn call_reliving(
        &mut self,
        func: u32,
        arguments: &[u64],
        ticks: u64,
        (part, mut times): (u64, u32),
    ) -> Result<Vec<u64>, CallError> {
        let signature = self.signature(func);
        let results = slots(&signature.results) as usize;
        if let Body::Host(_) = self.funcs[func as usize].body {
            return Ok(vec![0; results]);
        }
        self.begin(func, arguments).map_err(CallError::Trap)?;
        let until = self.state.tick.saturating_add(ticks);
        loop {
            let end = if times > 0 { self.state.tick.saturating_add(part) } else { until };
            match self.run(end.min(until), None) {
                Ran::Done => return Ok(self.state.stack[..results].to_vec()),
                Ran::Host(call) => {
                    let ty = self.types.signature(call.ty);
                    let count = ty.map_or(0, |ty| slots(&ty.results)) as usize;
                    self.state.stack[call.first..call.first + count].fill(0);
                    self.host_done(call);
                }
                Ran::Reached if times > 0 && self.state.tick < until => {
                    times -= 1;
                    self.relive();
                }
                Ran::Trapped(trap) => return Err(CallError::Trap(trap)),
                Ran::Reached | Ran::Kicked(_) => return Err(CallError::Unfinished),
            }
        }
    }

    /// The slots of a global.
    #[must_use]
    pub fn global(&self, global: u32) -> Vec<u64> {
        let at = self.externs.globals[global as usize];
        let first = at.slot as usize;
        self.state.globals[first..first + usize::from(at.ty.slots())].to_vec()
    }

    /// The bytes of a memory.
    #[must_use]
    pub fn memory_of(&self, memory: u32) -> Vec<u8> {
        let bytes = usize::try_from(self.memory_bytes(memory)).unwrap_or(usize::MAX);
        let mut all = vec![0; bytes];
        let read = self.memory.spaces[memory as usize].read(omni_base::Gpa(0), &mut all);
        if read.is_ok() { all } else { Vec::new() }
    }

    /// Whether a reference is to a function.
    #[must_use]
    pub fn is_function(&self, reference: Reference) -> bool {
        reference.as_function().is_some_and(|func| (func as usize) < self.funcs.len())
    }
}
