//! The tier above the interpreter on hosts that have none: there is never a value of it.

use crate::cache::BlockId;
use crate::interp::Outcome;
use crate::memory::MemoryPath;
use crate::{Env, Frontend, Regs};
use omni_ir::Block;
use std::ptr::NonNull;

/// Code of a block.
pub(crate) enum Native {}

/// How code was left.
#[allow(dead_code, reason = "the same as where there is code")]
pub(crate) enum Left {
    Exit(BlockId, usize),
    Indirect(u64),
    Budget(BlockId),
    Stop(u64),
    Finish(BlockId, usize),
    Step(BlockId, Outcome),
}

/// The tier and its code.
pub(crate) enum Jit {}

impl Jit {
    pub(crate) fn new<F: Frontend>(_: &F, _: bool) -> Option<Self> {
        None
    }

    pub(crate) fn can_be() -> bool {
        false
    }

    pub(crate) fn bring<E: Env>(&self, _: &Regs, _: NonNull<u8>, _: usize) -> NonNull<Regs> {
        match *self {}
    }

    pub(crate) fn take(&self, _: &mut Regs, _: NonNull<u8>) {
        match *self {}
    }

    pub(crate) fn is_full(&self) -> bool {
        match *self {}
    }

    pub(crate) fn used(&self) -> usize {
        match *self {}
    }

    pub(crate) fn clear(&mut self) {
        match *self {}
    }

    pub(crate) fn compile(
        &mut self,
        _: &Block,
        _: BlockId,
        _: Option<(u64, u32)>,
    ) -> Option<Native> {
        match *self {}
    }

    pub(crate) fn copy(&mut self, _: &Native, _: (BlockId, BlockId), _: u64) -> Option<Native> {
        match *self {}
    }

    pub(crate) fn last_made(&self) -> [(u64, u64); 2] {
        match *self {}
    }

    pub(crate) fn address(&self, _: &Native) -> u64 {
        match *self {}
    }

    pub(crate) fn link(&mut self, _: &Native, _: usize, _: &Native, _: u32) {
        match *self {}
    }

    pub(crate) fn run<E: Env>(
        &self,
        _: &mut MemoryPath<'_, E>,
        _: &Native,
        _: (u64, u64),
    ) -> (u64, Left) {
        match *self {}
    }
}

impl Native {
    pub(crate) fn can_move(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_copy_of(&self, _: &Self) -> bool {
        match *self {}
    }

    pub(crate) fn exit_pc(&self, _: u64, _: usize) -> u64 {
        match *self {}
    }
}
