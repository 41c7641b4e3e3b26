//! Save games in the Quetzal format, which other interpreters read too.

use crate::fault::Fault;
use crate::machine::Vm;
use crate::memory::STACK;
use crate::stack::{FRAME_WORDS, STACK_WORDS, STORE_NOWHERE};
use omni_base::Gpa;
use omni_iff::{chunks, compress, expand, form, put_chunk, take_form};

/// A frame as the format has it.
struct Frame {
    pc: u32,
    store: u16,
    args: u8,
    locals: u8,
    /// Locals, then evaluation words.
    words: Vec<u16>,
}

impl Vm {
    /// The present state as a file.
    pub(crate) fn quetzal(&self) -> Vec<u8> {
        let mut chunks = Vec::new();
        let mut head = self.identity();
        head.extend_from_slice(&self.cpu.pc.to_be_bytes()[1..]);
        put_chunk(&mut chunks, b"IFhd", &head);
        let size = usize::try_from(self.story.dynamic_bytes).expect("below 64 KiB");
        let original = &self.story.bytes[..size];
        put_chunk(&mut chunks, b"CMem", &compress(&self.dynamic(), original));
        put_chunk(&mut chunks, b"Stks", &self.frames());
        form(b"IFZS", &chunks)
    }

    /// What names the story: release, serial number and checksum.
    fn identity(&self) -> Vec<u8> {
        let header = &self.story.bytes;
        [&header[2..4], &header[0x12..0x18], &header[0x1c..0x1e]].concat()
    }

    fn frames(&self) -> Vec<u8> {
        let mut frames = Vec::new();
        let (mut fp, mut end) = (self.cpu.fp, self.cpu.sp);
        let (mut locals, mut args) = (self.cpu.locals, self.cpu.args);
        for depth in (0..=self.cpu.depth).rev() {
            frames.push(self.frame(fp, end, locals, args, depth == 0));
            let Ok(caller) = self.stack_long(fp + 2) else { break };
            let Ok(above) = self.stack_word(fp + 5) else { break };
            [locals, args] = above.to_le_bytes();
            // Frames lie in order, even in a snapshot that lies, and so are no larger than
            // the stack together.
            if caller >= fp || locals > 15 {
                break;
            }
            (fp, end) = (caller, fp);
        }
        frames.into_iter().rev().flatten().collect()
    }

    fn frame(&self, fp: u32, end: u32, locals: u8, args: u8, main: bool) -> Vec<u8> {
        let mut bytes = vec![0; 6];
        if !main {
            let pc = self.stack_long(fp).unwrap_or(0);
            bytes[..3].copy_from_slice(&pc.to_be_bytes()[1..]);
            let store = self.stack_word(fp + 4).unwrap_or(STORE_NOWHERE);
            let nowhere = store == STORE_NOWHERE;
            bytes[3] = locals & 15 | if nowhere { 0x10 } else { 0 };
            bytes[4] = if nowhere { 0 } else { store.to_le_bytes()[0] };
            bytes[5] = (1u16 << args.min(7)).wrapping_sub(1).to_le_bytes()[0];
        }
        let first = fp + FRAME_WORDS;
        let count = end.saturating_sub(first + u32::from(locals)).min(0xffff);
        bytes.extend_from_slice(&count.to_be_bytes()[2..]);
        let words = u32::from(locals) + count;
        let mut raw = vec![0; 2 * words as usize];
        // The stack's words are little-endian, the format's big-endian.
        if self.memory.spaces[STACK].read(Gpa(2 * u64::from(first)), &mut raw).is_ok() {
            raw.chunks_exact_mut(2).for_each(|word| word.swap(0, 1));
        }
        bytes.extend_from_slice(&raw);
        bytes
    }

    /// Goes to the state in a file; says whether the file is of this story and sound. If not,
    /// nothing changes.
    pub(crate) fn restore_quetzal(&mut self, file: &[u8]) -> Result<bool, Fault> {
        let Some((pc, dynamic, frames)) = self.read_quetzal(file) else { return Ok(false) };
        self.set_dynamic(&dynamic)?;
        let cpu = &mut self.cpu;
        (cpu.sp, cpu.fp, cpu.depth, cpu.locals, cpu.args) = (0, 0, 0, 0, 0);
        for frame in &frames {
            self.cpu.pc = frame.pc;
            self.push_frame(frame.store, frame.locals, frame.args)?;
            frame.words.iter().try_for_each(|word| self.push(*word))?;
        }
        self.cpu.depth -= 1;
        self.cpu.pc = pc;
        Ok(true)
    }

    fn read_quetzal(&self, file: &[u8]) -> Option<(u32, Vec<u8>, Vec<Frame>)> {
        let inside = take_form(file, b"IFZS")?;
        let size = usize::try_from(self.story.dynamic_bytes).expect("below 64 KiB");
        let original = &self.story.bytes[..size];
        let (mut pc, mut memory, mut frames) = (None, None, None);
        for (name, body) in chunks(inside) {
            match &name {
                b"IFhd" if pc.is_none() => {
                    let place = body.strip_prefix(&self.identity()[..])?.first_chunk::<3>()?;
                    pc = Some(u32::from_be_bytes([0, place[0], place[1], place[2]]));
                }
                b"CMem" if memory.is_none() => memory = Some(expand(body, original.to_vec())?),
                b"UMem" if memory.is_none() && body.len() == size => memory = Some(body.to_vec()),
                b"Stks" if frames.is_none() => frames = Some(read_frames(body)?),
                _ => {}
            }
        }
        let pc = pc.filter(|pc| *pc < self.story.len())?;
        Some((pc, memory?, frames?))
    }
}

fn read_frames(mut body: &[u8]) -> Option<Vec<Frame>> {
    let mut frames = Vec::new();
    let mut total = 0;
    while !body.is_empty() {
        let (head, rest) = body.split_first_chunk::<8>()?;
        let locals = if frames.is_empty() { 0 } else { head[3] & 15 };
        let count = usize::from(locals) + usize::from(u16::from_be_bytes([head[6], head[7]]));
        let (words, rest) = rest.split_at_checked(2 * count)?;
        let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
        let nowhere = head[3] & 0x10 != 0;
        frames.push(Frame {
            pc: u32::from_be_bytes([0, head[0], head[1], head[2]]),
            store: if nowhere { STORE_NOWHERE } else { head[4].into() },
            args: head[5].trailing_ones().try_into().ok()?,
            locals,
            words: words.chunks_exact(2).map(word).collect(),
        });
        total += count + FRAME_WORDS as usize;
        body = rest;
    }
    let sound = !frames.is_empty() && frames.len() < 0xffff && total <= STACK_WORDS as usize;
    sound.then_some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::story_machine;

    #[test]
    fn a_saved_game_restores_to_what_was_saved() {
        let mut vm = story_machine();
        vm.push(0x1234).expect("room");
        vm.push_frame(STORE_NOWHERE, 2, 1).expect("room");
        for word in [7, 8, 9] {
            vm.push(word).expect("room");
        }
        vm.set_word(0x400, 0xbeef).expect("dynamic memory");
        let (cpu, file, memory) = (vm.cpu.clone(), vm.quetzal(), vm.dynamic());
        vm.restart().expect("the story is sound");
        assert_eq!(vm.restore_quetzal(&file), Ok(true));
        assert_eq!(vm.cpu, cpu);
        assert_eq!(vm.dynamic(), memory);
        assert_eq!(vm.quetzal(), file);
    }

    #[test]
    fn a_damaged_saved_game_never_panics() {
        let mut vm = story_machine();
        let file = vm.quetzal();
        for at in 0..file.len() {
            assert_eq!(vm.restore_quetzal(&file[..at]), Ok(false), "cut at {at}");
            let mut damaged = file.clone();
            damaged[at] ^= 0x55;
            let restored = vm.restore_quetzal(&damaged);
            assert!(restored.is_ok(), "byte {at}");
        }
    }
}
