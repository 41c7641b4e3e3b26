//! Bytes and words of the story, and variables.

use crate::fault::Fault;
use crate::machine::Vm;
use omni_base::Gpa;
use omni_machine::WatchOn;

/// The spaces, in order.
pub(crate) const MEMORY: usize = 0;
pub(crate) const STACK: usize = 1;
pub(crate) const UNDO: usize = 2;

impl Vm {
    /// The byte at an address.
    pub(crate) fn byte(&self, at: u32) -> Result<u8, Fault> {
        self.load::<1>(at).map(|bytes| bytes[0])
    }

    /// The word at an address.
    pub(crate) fn word(&self, at: u32) -> Result<u16, Fault> {
        self.load(at).map(u16::from_be_bytes)
    }

    fn load<const N: usize>(&self, at: u32) -> Result<[u8; N], Fault> {
        let end = u64::from(at) + N as u64;
        if end > u64::from(self.story.len()) {
            return Err(Fault::Address(at));
        }
        self.stops.touch(at, N, WatchOn::Load);
        self.memory.spaces[MEMORY].load(Gpa(at.into())).map_err(|_| Fault::Address(at))
    }

    /// The word at an address, for who is no instruction.
    pub(crate) fn peek_word(&self, at: u32) -> Option<u16> {
        self.memory.spaces[MEMORY].load(Gpa(at.into())).ok().map(u16::from_be_bytes)
    }

    /// Writes a byte of dynamic memory.
    pub(crate) fn set_byte(&mut self, at: u32, value: u8) -> Result<(), Fault> {
        self.store(at, &[value])
    }

    /// Writes a word of dynamic memory.
    pub(crate) fn set_word(&mut self, at: u32, value: u16) -> Result<(), Fault> {
        self.store(at, &value.to_be_bytes())
    }

    fn store(&mut self, at: u32, bytes: &[u8]) -> Result<(), Fault> {
        let end = u64::from(at) + bytes.len() as u64;
        if end > u64::from(self.story.dynamic_bytes) {
            return Err(Fault::ReadOnly(at));
        }
        self.stops.touch(at, bytes.len(), WatchOn::Store);
        self.memory.spaces[MEMORY].store(Gpa(at.into()), bytes).map_err(|_| Fault::ReadOnly(at))
    }

    /// All of dynamic memory.
    pub(crate) fn dynamic(&self) -> Vec<u8> {
        let size = usize::try_from(self.story.dynamic_bytes).expect("below 64 KiB");
        let mut bytes = vec![0; size];
        let read = self.memory.spaces[MEMORY].read(Gpa(0), &mut bytes);
        read.expect("the space holds the whole story");
        bytes
    }

    /// Replaces dynamic memory but for the bits of the header that outlive a restore: whether
    /// there is a transcript, and whether its font is fixed.
    pub(crate) fn set_dynamic(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let kept = self.byte(0x11)? & 3;
        self.store(0, bytes)?;
        let flags = self.byte(0x11)?;
        self.set_byte(0x11, flags & !3 | kept)?;
        self.describe_interpreter()
    }

    /// Writes what the interpreter says of itself into the header.
    pub(crate) fn describe_interpreter(&mut self) -> Result<(), Fault> {
        let version = self.story.version;
        let flags = self.byte(1)?;
        if version <= 3 {
            // A status line and a screen that can be split; no variable-pitch font.
            self.set_byte(1, flags & !0x50 | 0x20)?;
        } else {
            // Timed input, and fixed text; no colours, pictures or sounds.
            self.set_byte(1, flags & !0x2f | 0x90)?;
        }
        // Of what the story may ask for, undo is here; pictures, mouse, sound, menus are not.
        let asked = self.word(0x10)?;
        self.set_word(0x10, asked & !0x01a8)?;
        let size = |count: u32| u8::try_from(count).unwrap_or(u8::MAX);
        let (rows, columns) = (size(self.screen.rows), size(self.screen.columns));
        if version >= 4 {
            // Interpreter number 1 and letter F, as the terminals of old had.
            self.set_byte(0x1e, 1)?;
            self.set_byte(0x1f, b'F')?;
            self.set_byte(0x20, rows)?;
            self.set_byte(0x21, columns)?;
        }
        if version >= 5 {
            self.set_word(0x22, columns.into())?;
            self.set_word(0x24, rows.into())?;
            self.set_word(0x26, 0x0101)?;
            self.set_word(0x2c, 0x0209)?;
        }
        self.set_word(0x32, 0x0101)
    }

    /// The value of a variable; number zero pops.
    pub(crate) fn variable(&mut self, number: u8) -> Result<u16, Fault> {
        match number {
            0 => self.pop(),
            1..=15 => self.stack_word(self.local_at(number)?),
            16.. => self.word(self.global_at(number)),
        }
    }

    /// Sets a variable; number zero pushes.
    pub(crate) fn set_variable(&mut self, number: u8, value: u16) -> Result<(), Fault> {
        match number {
            0 => self.push(value),
            1..=15 => self.set_stack_word(self.local_at(number)?, value),
            16.. => self.set_word(self.global_at(number), value),
        }
    }

    /// The value of a variable named by an operand: number zero is the top, and stays.
    pub(crate) fn indirect(&mut self, number: u16) -> Result<u16, Fault> {
        match u8::try_from(number).map_err(|_| Fault::Operand)? {
            0 => {
                let value = self.pop()?;
                self.push(value)?;
                Ok(value)
            }
            number => self.variable(number),
        }
    }

    /// Sets a variable named by an operand: number zero is the top, which is replaced.
    pub(crate) fn set_indirect(&mut self, number: u16, value: u16) -> Result<(), Fault> {
        let number = u8::try_from(number).map_err(|_| Fault::Operand)?;
        if number == 0 {
            self.pop()?;
        }
        self.set_variable(number, value)
    }

    pub(crate) fn global_at(&self, number: u8) -> u32 {
        self.story.globals + 2 * (u32::from(number) - 16)
    }
}
