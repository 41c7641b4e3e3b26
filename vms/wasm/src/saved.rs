//! The state of a store as a record, and back.

use crate::code::FRAME_SLOTS;
use crate::records::Core;
use crate::state::{At, Frame};
use crate::store::Store;
use omni_memory::Space;
use omni_state::Bundle;

impl Store {
    /// The record of what runs here; of the program around it, it says nothing.
    pub(crate) fn core(&self) -> Core {
        let state = &self.state;
        Core {
            tick: state.tick,
            slept: 0,
            phase: 0,
            halted: None,
            func: state.at.func,
            pc: state.at.pc,
            base: state.at.base,
            origin: state.at.origin,
            frames: state.frames.iter().map(|frame| (frame.func, frame.pc, frame.base)).collect(),
            stack: state.stack[..self.stack_top()].to_vec(),
            globals: state.globals.clone(),
            memories: state.memories.iter().map(|memory| memory.pages).collect(),
            tables: state.tables.iter().map(|table| table.slots.clone()).collect(),
            elements_dropped: state.elements_dropped.clone(),
            data_dropped: state.data_dropped.clone(),
        }
    }

    /// Takes what a record says, which was found sound.
    pub(crate) fn set_core(&mut self, core: Core) {
        let state = &mut self.state;
        let (func, pc, base, origin) = (core.func, core.pc, core.base, core.origin);
        state.tick = core.tick;
        state.at = At { func, pc, base, origin };
        let frame = |(func, pc, base)| Frame { func, pc, base };
        state.frames = core.frames.into_iter().map(frame).collect();
        state.stack[..core.stack.len()].copy_from_slice(&core.stack);
        state.globals = core.globals;
        for (table, slots) in state.tables.iter_mut().zip(core.tables) {
            table.slots = slots;
        }
        state.elements_dropped = core.elements_dropped;
        state.data_dropped = core.data_dropped;
    }

    /// Goes on with what a snapshot of this moment would hold, and with nothing else: what a
    /// restore is for a machine.
    pub fn relive(&mut self) {
        let mut bundle = Bundle::default();
        bundle.put("core", &self.core());
        let bytes = bundle.to_bytes();
        let mut bundle = Bundle::from_bytes(&bytes).expect("what was written can be read");
        let core: Core = bundle.take("core").expect("it was put there");
        let held = core.stack.len();
        self.state.stack[held..held + FRAME_SLOTS].fill(u64::MAX);
        (0..self.code.len()).for_each(|func| self.unprepare(func));
        self.native.clear();
        for (at, pages) in core.memories.iter().enumerate() {
            let space = &mut self.memory.spaces[at];
            let image = space.seal().image;
            *space = Space::from_image(space.name().to_owned(), space.page_count(), image);
            self.set_pages(at, *pages);
        }
        self.set_core(core);
        self.ready();
    }
}
