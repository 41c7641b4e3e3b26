//! Glk: the functions of the story's input and output, by their numbers (Glk 0.7.6).
//!
//! There is one window, of text, and it is the console, as the library CheapGlk has it; what a
//! function says that has nothing to do here is that it could not.

use crate::fault::Fault;
use crate::state::{FileRef, Wait, Window};
use crate::streams::{Opening, Source};
use crate::world::{Encoded, Next, World};
use omni_engine::Regs;

/// Objects of one sort at most.
pub(crate) const OBJECTS_MAX: usize = 256;

/// What a reference is that means the stack.
const STACK: u32 = u32::MAX;

/// The version of the interface.
const VERSION: u32 = 0x0706;

/// What came of a function.
pub(crate) enum Done {
    /// This value.
    Value(u32),
    /// The machine waits, as the record says.
    Waits,
}

/// A call: its arguments, and the registers for what goes by the stack.
pub(crate) struct Call<'a> {
    pub(crate) regs: &'a mut Regs,
    pub(crate) args: Vec<u32>,
}

impl Call<'_> {
    /// An argument; those that are not there are zero.
    pub(crate) fn arg(&self, nth: usize) -> u32 {
        self.args.get(nth).copied().unwrap_or(0)
    }
}

impl World {
    /// `glk`: takes arguments from the stack.
    pub(crate) fn glk_call(
        &mut self,
        regs: &mut Regs,
        (number, count): (u32, u32),
        to: Encoded,
    ) -> Next {
        let args = self.pop_all(regs, count)?;
        let mut call = Call { regs, args };
        match self.function(number, &mut call)? {
            Done::Value(value) => self.store(call.regs, to.dest, value)?,
            Done::Waits => {
                self.glk.dest = to.dest;
                self.flush();
                self.stop = true;
            }
        }
        Ok(self.front.at(0, to.next))
    }

    fn function(&mut self, number: u32, call: &mut Call<'_>) -> Result<Done, Fault> {
        let value = match number {
            0x20..=0x30 => self.window_function(number, call)?,
            0x40..=0x49 | 0x138..=0x13a => return self.stream_function(number, call),
            0x60..=0x68 => return self.file_function(number, call),
            0x80..=0x92 | 0x128..=0x132 => self.text_function(number, call)?,
            0xa0 => lower(call.arg(0) & 0xff),
            0xa1 => upper(call.arg(0) & 0xff),
            0xc0 => {
                self.glk.wait = Wait::Event;
                self.glk.about = [call.arg(0), 0, 0];
                return Ok(Done::Waits);
            }
            0xc1 => self.poll(call)?,
            0xd0..=0xd6 | 0x140 | 0x141 => self.request(number, call)?,
            0x120..=0x124 => self.change_case(number, call)?,
            0x160..=0x16f => self.date_function(number, call)?,
            1 => {
                self.quit();
                0
            }
            4 | 5 => self.glk_gestalt(number, call)?,
            0xb3 | 0xe0 | 0xf0 => {
                // Styles are not measured; there are no pictures and no sounds.
                self.put_ref(call, if number == 0xf0 { 1 } else { 3 }, &[0])?;
                0
            }
            _ => 0,
        };
        Ok(Done::Value(value))
    }

    fn glk_gestalt(&mut self, number: u32, call: &mut Call<'_>) -> Result<u32, Fault> {
        let value = call.arg(1);
        let printable = (32..127).contains(&value) || (160..0x20_0000).contains(&value);
        Ok(match call.arg(0) {
            0 => VERSION,
            // Characters that can be typed: in a line, alone.
            1 => u32::from(value > 32 && value < 127 || value == 32),
            2 => u32::from(printable || value == key::RETURN),
            3 => {
                if number == 5 && call.arg(3) > 0 {
                    self.put_ref(call, 2, &[1])?;
                }
                if printable { 2 } else { 0 }
            }
            // The timer, Unicode and its normal forms, the date, streams of resources.
            5 | 15 | 16 | 20 | 22 => 1,
            _ => 0,
        })
    }

    /// Puts words where the argument says: memory, the stack, or nowhere.
    pub(crate) fn put_ref(
        &mut self,
        call: &mut Call<'_>,
        nth: usize,
        words: &[u32],
    ) -> Result<(), Fault> {
        let at = call.arg(nth);
        self.put_words(call.regs, at, words)
    }

    /// Puts words at an address, on the stack, or nowhere.
    pub(crate) fn put_words(
        &mut self,
        regs: &mut Regs,
        at: u32,
        words: &[u32],
    ) -> Result<(), Fault> {
        match at {
            0 => Ok(()),
            STACK => words.iter().try_for_each(|word| self.push(regs, *word)),
            _ => self
                .write(at, &words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>()),
        }
    }

    /// Takes words from where the argument says.
    pub(crate) fn take_ref<const N: usize>(
        &self,
        call: &mut Call<'_>,
        nth: usize,
    ) -> Result<[u32; N], Fault> {
        let at = call.arg(nth);
        let mut words = [0; N];
        for (nth, word) in (0..).zip(&mut words) {
            *word = match at {
                0 => 0,
                STACK => self.pop(call.regs)?,
                _ => self.long(at.wrapping_add(4 * nth))?,
            };
        }
        Ok(words)
    }

    /// A number for a new object.
    pub(crate) fn new_object(&mut self) -> u32 {
        let number = self.glk.next_object;
        // A machine that lives that long may see a number twice.
        self.glk.next_object = number.checked_add(1).unwrap_or(1);
        number
    }

    /// Forgets all that the library holds, but what was typed and asked for.
    pub(crate) fn forget_glk(&mut self) {
        let old = std::mem::replace(&mut self.glk, crate::kind::blank_glk());
        (self.glk.typed, self.glk.next_io) = (old.typed, old.next_io);
        self.glk.flushed = old.flushed;
        self.glk.deleted = old.deleted;
    }

    fn window(&self, id: u32) -> Option<&Window> {
        self.glk.window.as_ref().filter(|window| window.id == id && id != 0)
    }

    fn window_function(&mut self, number: u32, call: &mut Call<'_>) -> Result<u32, Fault> {
        let id = call.arg(0);
        let own = self.window(id).cloned();
        Ok(match number {
            0x20 => {
                let first = if id == 0 { self.glk.window.clone() } else { None };
                let (id, rock) = first.map_or((0, 0), |window| (window.id, window.rock));
                self.put_ref(call, 1, &[rock])?;
                id
            }
            0x21 => own.map_or(0, |window| window.rock),
            0x22 => self.glk.window.as_ref().map_or(0, |window| window.id),
            0x23 => self.open_window(call),
            0x24 => {
                if let Some(window) = own {
                    let counts = self.close_stream(window.stream);
                    self.put_ref(call, 1, &[counts.0, counts.1])?;
                    self.glk.window = None;
                }
                0
            }
            0x25 => {
                // As most consoles are, in characters.
                self.put_ref(call, 1, &[80])?;
                self.put_ref(call, 2, &[24])?;
                0
            }
            0x27 => {
                for nth in 1..=3 {
                    self.put_ref(call, nth, &[0])?;
                }
                0
            }
            // A buffer of text.
            0x28 => own.map_or(0, |_| 3),
            0x2c => own.map_or(0, |window| window.stream),
            0x2d => {
                let echo = call.arg(1);
                let known = self.glk.streams.contains_key(&echo);
                if let Some(window) = self.glk.window.as_mut().filter(|window| window.id == id) {
                    // A window that is its own copy would never end.
                    window.echo = if known && echo != window.stream { echo } else { 0 };
                }
                0
            }
            0x2e => own.map_or(0, |window| window.echo),
            0x2f => {
                self.glk.current = own.map_or(0, |window| window.stream);
                0
            }
            _ => 0,
        })
    }

    fn open_window(&mut self, call: &Call<'_>) -> u32 {
        let [split, kind, rock] = [0, 3, 4].map(|nth| call.arg(nth));
        if self.glk.window.is_some() || split != 0 || kind != 3 {
            return 0;
        }
        let id = self.new_object();
        let Some(stream) = self.open(Opening::of(Source::Window, 1, 0)) else { return 0 };
        let window = Window { id, rock, stream, ..Window::default() };
        self.glk.window = Some(window);
        id
    }

    fn request(&mut self, number: u32, call: &mut Call<'_>) -> Result<u32, Fault> {
        let args = [0, 1, 2, 3].map(|nth| call.arg(nth));
        if number == 0xd6 {
            let ticks = u64::from(args[0]) * 1_000_000 / self.ns_per_tick;
            self.glk.period = if args[0] == 0 { 0 } else { ticks.max(1) };
            self.glk.wake = self.now.saturating_add(self.glk.period);
            return Ok(0);
        }
        let Some(window) = self.glk.window.as_mut().filter(|window| window.id == args[0]) else {
            if number == 0xd1 {
                self.put_ref(call, 1, &[0; 4])?;
            }
            return Ok(0);
        };
        let idle = !window.line && !window.char;
        match number {
            0xd0 | 0x141 if idle => {
                let (at, room) = (args[1], args[2]);
                (window.line, window.wide) = (true, number == 0x141);
                window.buffer = (at, room);
                self.glk.line.clear();
            }
            0xd2 | 0x140 if idle => (window.char, window.wide) = (true, number == 0x140),
            0xd1 => {
                let event = if window.line {
                    let count = self.store_line()?;
                    [3, args[0], count, 0]
                } else {
                    [0; 4]
                };
                self.put_ref(call, 1, &event)?;
            }
            0xd3 => window.char = false,
            _ => {}
        }
        Ok(0)
    }

    fn file_function(&mut self, number: u32, call: &mut Call<'_>) -> Result<Done, Fault> {
        let (usage, id) = (call.arg(0), call.arg(0));
        let own = self.glk.files.get(&id).cloned();
        let value = match number {
            0x60 => {
                let name = format!("temporary-{}", self.glk.next_object);
                self.new_file(usage, name, call.arg(1))
            }
            0x61 => {
                let name = self.c_string(call.arg(1))?;
                self.new_file(usage, crate::input::plain_name(&name, usage), call.arg(2))
            }
            0x62 => {
                self.ask_for_name(usage, call.arg(1), call.arg(2))?;
                return Ok(Done::Waits);
            }
            0x63 => {
                self.glk.files.remove(&id);
                0
            }
            0x64 => {
                let next = self.glk.files.range(id.saturating_add(1)..).next();
                let (id, rock) = next.map_or((0, 0), |(id, file)| (*id, file.rock));
                self.put_ref(call, 1, &[rock])?;
                id
            }
            0x65 => own.map_or(0, |file| file.rock),
            0x66 => {
                if let Some(file) = own
                    && !self.glk.deleted.contains(&file.name)
                {
                    // Oldest go first: the outside has no way to delete.
                    if self.glk.deleted.len() >= OBJECTS_MAX {
                        self.glk.deleted.remove(0);
                    }
                    self.glk.deleted.push(file.name);
                }
                0
            }
            0x67 => match own.filter(|file| !self.glk.deleted.contains(&file.name)) {
                Some(file) => {
                    self.ask_for_file(Wait::Exists, file.name);
                    return Ok(Done::Waits);
                }
                None => 0,
            },
            _ => match self.glk.files.get(&call.arg(1)).cloned() {
                Some(file) => self.new_file(usage, file.name, call.arg(2)),
                None => 0,
            },
        };
        Ok(Done::Value(value))
    }

    /// A new reference to a file, or zero.
    pub(crate) fn new_file(&mut self, usage: u32, name: String, rock: u32) -> u32 {
        if self.glk.files.len() >= OBJECTS_MAX {
            return 0;
        }
        let id = self.new_object();
        self.glk.files.insert(id, FileRef { rock, usage, name });
        id
    }

    /// The text of a C string in memory, with or without its E0.
    fn c_string(&self, at: u32) -> Result<Vec<u32>, Fault> {
        let mut text = Vec::new();
        let mut at = if self.byte(at)? == 0xe0 { at.wrapping_add(1) } else { at };
        loop {
            match self.byte(at)? {
                0 => return Ok(text),
                char if text.len() < 256 => text.push(char.into()),
                _ => return Ok(text),
            }
            at = at.wrapping_add(1);
        }
    }

    fn change_case(&mut self, number: u32, call: &Call<'_>) -> Result<u32, Fault> {
        let (at, room, count) = (call.arg(0), call.arg(1), call.arg(2));
        let rest = call.arg(3) != 0;
        if count > 1 << 16 {
            return Err(Fault::TooMuch);
        }
        self.worked(32 * u64::from(count));
        let chars: Vec<u32> = (0..count.min(room))
            .map(|nth| self.long(at.wrapping_add(4 * nth)))
            .collect::<Result<_, _>>()?;
        let changed = crate::unicode::change(number, &chars, rest);
        for (nth, char) in (0..room).zip(&changed) {
            self.set_long(at.wrapping_add(4 * nth), *char)?;
        }
        u32::try_from(changed.len()).map_err(|_| Fault::TooMuch)
    }
}

/// Numbers of keys that are no characters.
pub(crate) mod key {
    pub(crate) const UNKNOWN: u32 = 0xffff_ffff;
    pub(crate) const LEFT: u32 = 0xffff_fffe;
    pub(crate) const RIGHT: u32 = 0xffff_fffd;
    pub(crate) const UP: u32 = 0xffff_fffc;
    pub(crate) const DOWN: u32 = 0xffff_fffb;
    pub(crate) const RETURN: u32 = 0xffff_fffa;
    pub(crate) const DELETE: u32 = 0xffff_fff9;
    pub(crate) const ESCAPE: u32 = 0xffff_fff8;
    pub(crate) const TAB: u32 = 0xffff_fff7;
}

/// The lower case of a character of Latin-1.
fn lower(char: u32) -> u32 {
    match char {
        0x41..=0x5a | 0xc0..=0xd6 | 0xd8..=0xde => char + 0x20,
        _ => char,
    }
}

/// The upper case of a character of Latin-1.
fn upper(char: u32) -> u32 {
    match char {
        0x61..=0x7a | 0xe0..=0xf6 | 0xf8..=0xfe => char - 0x20,
        _ => char,
    }
}
