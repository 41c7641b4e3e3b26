//! Saved games in the Quetzal format as Glulx has it (the specification, section 1.7), written
//! to and read from streams of Glk.

use crate::fault::Fault;
use crate::heap::Block;
use crate::lower::{STACK_AT, slot};
use crate::world::{Encoded, MEMORY, Next, World};
use omni_base::Gpa;
use omni_engine::Regs;
use omni_iff::{chunks, compress, expand, form, put_chunk, take_form};

/// The kind of a file of a saved game.
const KIND: &[u8; 4] = b"IFZS";

/// Bytes at the start of a story that name it.
const IDENTITY_BYTES: usize = 128;

/// What a saved game holds.
struct Saved {
    endmem: u32,
    ram: Vec<u8>,
    stack: Vec<u8>,
    heap: (u32, Vec<Block>),
}

impl World {
    /// `save`: zero where it was written.
    pub(crate) fn save(&mut self, regs: &mut Regs, stream: u32, to: Encoded) -> Result<u32, Fault> {
        let sp = regs.get(slot::SP);
        self.push_stub(regs, to.dest, to.next)?;
        let file = self.quetzal((regs.get(slot::SP) - STACK_AT) as usize);
        regs.set(slot::SP, sp);
        Ok(u32::from(!self.write_all(stream, &file)))
    }

    /// `restore`: goes on where the game was saved, or gives one.
    pub(crate) fn restore(&mut self, regs: &mut Regs, stream: u32, to: Encoded) -> Next {
        let saved = self.read_all(stream).and_then(|file| self.read_quetzal(&file));
        let Some(saved) = saved else {
            self.store(regs, to.dest, 1)?;
            return Ok(self.front.at(0, to.next));
        };
        let kept = self.protected();
        self.drop_heap();
        self.resize(saved.endmem);
        (self.cpu.heap_start, self.cpu.heap) = saved.heap;
        self.set_ram(|at, page| {
            page.fill(0);
            let rest = &saved.ram[at..];
            let count = rest.len().min(page.len());
            page[..count].copy_from_slice(&rest[..count]);
        });
        self.set_protected(&kept);
        self.set_stack(STACK_AT, &saved.stack)?;
        self.stop = true;
        regs.set(slot::SP, STACK_AT + saved.stack.len() as u64);
        self.pop_stub(regs, u32::MAX)
    }

    fn identity(&self) -> Vec<u8> {
        let bytes = self.story.bytes();
        bytes[..bytes.len().min(IDENTITY_BYTES)].to_vec()
    }

    fn original(&self) -> &[u8] {
        &self.story.bytes()[self.layout.ramstart as usize..]
    }

    fn quetzal(&self, stack_bytes: usize) -> Vec<u8> {
        let mut all = Vec::new();
        put_chunk(&mut all, b"IFhd", &self.identity());
        let mut memory = self.cpu.endmem.to_be_bytes().to_vec();
        memory.extend(compress(&self.ram(), self.original()));
        put_chunk(&mut all, b"CMem", &memory);
        let heap = self.heap_summary();
        if !heap.is_empty() {
            let bytes: Vec<u8> = heap.iter().flat_map(|word| word.to_be_bytes()).collect();
            put_chunk(&mut all, b"MAll", &bytes);
        }
        let mut stack = vec![0; stack_bytes];
        let place = Gpa(self.layout.stack_page() * omni_base::PAGE_SIZE_U64);
        let read = self.memory.spaces[MEMORY].read(place, &mut stack);
        debug_assert!(read.is_ok(), "the stack is in the space");
        put_chunk(&mut all, b"Stks", &stack);
        form(KIND, &all)
    }

    fn read_quetzal(&self, file: &[u8]) -> Option<Saved> {
        let (mut named, mut memory, mut stack, mut heap) = (false, None, None, Vec::new());
        for (name, body) in chunks(take_form(file, KIND)?) {
            match &name {
                b"IFhd" => named = body == self.identity(),
                b"CMem" | b"UMem" if memory.is_none() => {
                    memory = Some(self.read_memory(&name, body)?);
                }
                b"Stks" if stack.is_none() => stack = Some(body.to_vec()),
                b"MAll" => {
                    let word =
                        |word: &[u8]| u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
                    heap = body.chunks_exact(4).map(word).collect();
                }
                _ => {}
            }
        }
        let (endmem, ram) = memory.filter(|_| named)?;
        let stack = stack.filter(|stack| {
            let room = self.layout.stack_bytes as usize;
            stack.len() >= 16 && stack.len() <= room && stack.len() % 4 == 0
        })?;
        let heap = Self::heap_of(&heap, self.story.endmem..endmem)?;
        Some(Saved { endmem, ram, stack, heap })
    }

    fn read_memory(&self, name: &[u8; 4], body: &[u8]) -> Option<(u32, Vec<u8>)> {
        let (end, body) = body.split_first_chunk::<4>()?;
        let endmem = u32::from_be_bytes(*end);
        let bounds = self.story.endmem..=self.layout.endmem_max;
        if !bounds.contains(&endmem) || !endmem.is_multiple_of(256) {
            return None;
        }
        let count = (endmem - self.layout.ramstart) as usize;
        if name == b"UMem" {
            return (body.len() == count).then(|| (endmem, body.to_vec()));
        }
        let mut ram = self.original().to_vec();
        ram.resize(count, 0);
        self.worked(count as u64);
        Some((endmem, expand(body, ram)?))
    }
}
