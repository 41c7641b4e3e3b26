//! Input: bytes of the console into lines, keys and names of files, the timer, and requests for
//! files.

use crate::fault::Fault;
use crate::glk::{Call, key};
use crate::machine::FILES;
use crate::state::Wait;
use crate::world::World;
use omni_engine::Regs;
use omni_machine::{Effect, IoId, IoOp, IoRequest, IoResult};

/// Characters of a line, and of the name of a file.
const LINE_MAX: usize = 4096;
const NAME_MAX: usize = 64;

/// Events of Glk.
mod event {
    pub(super) const TIMER: u32 = 1;
    pub(super) const CHAR: u32 = 2;
    pub(super) const LINE: u32 = 3;
}

/// What a player can press.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    Enter,
    Delete,
    /// Deletes the line.
    Kill,
    Char(char),
    /// A key that Glk has a number for.
    Function(u32),
    /// Bytes that are no key.
    Nothing,
}

impl World {
    /// Whether something has come that the machine waits for.
    pub(crate) fn is_ready(&self, tick: u64) -> bool {
        let typed = || key_of(&self.glk.typed, self.glk.after_cr).is_some();
        let wanted = || self.glk.window.as_ref().is_some_and(|window| window.line || window.char);
        match self.glk.wait {
            Wait::Event => self.wake().is_some_and(|wake| wake <= tick) || wanted() && typed(),
            Wait::Name => typed(),
            Wait::None | Wait::Open | Wait::Exists | Wait::Written => false,
        }
    }

    /// When the timer ends a wait.
    pub(crate) fn wake(&self) -> Option<u64> {
        let timed = self.glk.wait == Wait::Event && self.glk.period != 0;
        timed.then_some(self.glk.wake)
    }

    /// Takes what has come, as far as the wait needs it.
    pub(crate) fn feed(&mut self, regs: &mut Regs) -> Result<(), Fault> {
        if self.wake().is_some_and(|wake| wake <= self.now) {
            self.glk.wake = self.now.saturating_add(self.glk.period);
            return self.deliver(regs, [event::TIMER, 0, 0, 0]);
        }
        let typed = std::mem::take(&mut self.glk.typed);
        let (mut taken, mut done) = (0, Ok(()));
        while matches!(self.glk.wait, Wait::Event | Wait::Name) && done.is_ok() {
            let Some((key, bytes)) = key_of(&typed[taken..], self.glk.after_cr) else { break };
            self.glk.after_cr = typed[taken] == b'\r';
            taken += bytes;
            done = self.press(regs, key);
        }
        self.glk.typed = typed;
        self.glk.typed.drain(..taken);
        done
    }

    fn press(&mut self, regs: &mut Regs, key: Key) -> Result<(), Fault> {
        let for_char = self.glk.wait == Wait::Event
            && self.glk.window.as_ref().is_some_and(|window| window.char);
        if for_char && self.echo {
            return self.press_for_char(regs, key);
        }
        match key {
            Key::Enter => {
                if self.echo {
                    self.print(10);
                }
                if for_char {
                    // Piped keys are on lines, and the first of a line is the key.
                    let line = std::mem::take(&mut self.glk.line);
                    let first = line.first().copied().unwrap_or(key::RETURN);
                    return self.deliver_char(regs, first);
                }
                self.finish_line(regs)?;
            }
            Key::Delete => self.rub_out(),
            Key::Kill => (0..self.glk.line.len()).for_each(|_| self.rub_out()),
            Key::Char(char) => {
                if self.glk.line.len() < self.line_max() {
                    self.glk.line.push(char.into());
                    if self.echo {
                        self.print(char.into());
                        self.flush();
                    }
                }
            }
            Key::Function(_) | Key::Nothing => {}
        }
        Ok(())
    }

    fn line_max(&self) -> usize {
        let window = self.glk.window.as_ref().filter(|window| window.line);
        match window {
            Some(window) if self.glk.wait == Wait::Event => {
                usize::try_from(window.buffer.1).map_or(LINE_MAX, |room| room.min(LINE_MAX))
            }
            _ => NAME_MAX,
        }
    }

    fn rub_out(&mut self) {
        if self.glk.line.pop().is_some() && self.echo {
            self.glk.out.extend_from_slice(b"\x08 \x08");
            self.flush();
        }
    }

    fn press_for_char(&mut self, regs: &mut Regs, key: Key) -> Result<(), Fault> {
        let number = match key {
            Key::Enter => key::RETURN,
            Key::Delete => key::DELETE,
            Key::Char(char) => char.into(),
            Key::Function(number) => number,
            Key::Kill | Key::Nothing => return Ok(()),
        };
        self.deliver_char(regs, number)
    }

    fn deliver_char(&mut self, regs: &mut Regs, number: u32) -> Result<(), Fault> {
        let Some(window) = &mut self.glk.window else { return Ok(()) };
        window.char = false;
        let narrow = !window.wide && (0x100..key::TAB - 16).contains(&number);
        let event = [event::CHAR, window.id, if narrow { b'?'.into() } else { number }, 0];
        self.deliver(regs, event)
    }

    fn finish_line(&mut self, regs: &mut Regs) -> Result<(), Fault> {
        if self.glk.wait == Wait::Name {
            let line = std::mem::take(&mut self.glk.line);
            let [usage, _, rock] = self.glk.about;
            let empty = line.iter().all(|char| *char == 32);
            let name = plain_name(&line, usage);
            let id = if empty { 0 } else { self.new_file(usage, name, rock) };
            return self.finish(regs, id);
        }
        let Some(window) = self.glk.window.clone() else { return Ok(()) };
        let line = self.glk.line.clone();
        let count = self.store_line()?;
        if window.echo != 0 {
            for char in line.iter().chain(&[10]) {
                self.put_to(window.echo, *char)?;
            }
        }
        self.deliver(regs, [event::LINE, window.id, count, 0])
    }

    /// Puts the line where the request for it said, which is over then; gives its length.
    pub(crate) fn store_line(&mut self) -> Result<u32, Fault> {
        let line = std::mem::take(&mut self.glk.line);
        let Some(window) = &mut self.glk.window else { return Ok(0) };
        window.line = false;
        let (wide, (at, room)) = (window.wide, window.buffer);
        let mut count = 0;
        for char in line.into_iter().take(room as usize) {
            self.put_char_at(at, count, if wide { 4 } else { 1 }, char)?;
            count += 1;
        }
        Ok(count)
    }

    /// Ends a wait for an event.
    fn deliver(&mut self, regs: &mut Regs, event: [u32; 4]) -> Result<(), Fault> {
        let at = self.glk.about[0];
        self.put_words(regs, at, &event)?;
        self.finish(regs, 0)
    }

    /// Ends a wait with the value of the function that waits.
    fn finish(&mut self, regs: &mut Regs, value: u32) -> Result<(), Fault> {
        self.glk.wait = Wait::None;
        let dest = std::mem::take(&mut self.glk.dest);
        self.store(regs, dest, value)
    }

    /// `select_poll`: only the timer comes by itself.
    pub(crate) fn poll(&mut self, call: &mut Call<'_>) -> Result<u32, Fault> {
        let due = self.glk.period != 0 && self.glk.wake <= self.now;
        if due {
            self.glk.wake = self.now.saturating_add(self.glk.period);
        }
        self.put_ref(call, 0, &[u32::from(due) * event::TIMER, 0, 0, 0])?;
        Ok(0)
    }

    /// Asks the player for the name of a file.
    pub(crate) fn ask_for_name(&mut self, usage: u32, mode: u32, rock: u32) -> Result<(), Fault> {
        let what = match usage & 15 {
            1 => "saved game",
            2 => "transcript file",
            3 => "command record file",
            _ => "data file",
        };
        let why = if mode == 2 { "to load" } else { "to store" };
        for char in format!("Enter {what} {why}: ").chars() {
            self.print(char.into());
        }
        self.glk.wait = Wait::Name;
        self.glk.about = [usage, mode, rock];
        self.glk.line.clear();
        Ok(())
    }

    /// Asks the outside for a file, or to write one.
    pub(crate) fn ask_for_file(&mut self, wait: Wait, name: String) {
        self.glk.wait = wait;
        self.glk.name = name;
        self.glk.io = self.glk.next_io;
        self.glk.next_io = self.glk.next_io.wrapping_add(1);
        let request = self.request_in_flight();
        self.flush();
        self.effects.push((self.now, Effect::Io(request)));
    }

    /// The request that is waited for.
    pub(crate) fn request_in_flight(&self) -> IoRequest {
        let name = self.glk.name.clone();
        let op = if self.glk.wait == Wait::Written {
            IoOp::SaveFile { name, bytes: self.glk.bytes.clone() }
        } else {
            IoOp::LoadFile { name }
        };
        IoRequest { id: IoId(self.glk.io), port: FILES, op }
    }

    /// A request ended.
    pub(crate) fn io_done(
        &mut self,
        regs: &mut Regs,
        id: IoId,
        result: &IoResult,
    ) -> Result<(), Fault> {
        if !self.glk.wait.for_file() || id != IoId(self.glk.io) {
            return Ok(());
        }
        self.glk.bytes.clear();
        let value = match self.glk.wait {
            Wait::Open => self.open_content(result.clone().ok()),
            Wait::Exists => u32::from(result.is_ok()),
            Wait::Written | Wait::None | Wait::Event | Wait::Name => 0,
        };
        self.glk.name.clear();
        self.finish(regs, value)
    }
}

/// A plain name of a file from what was typed or given; nothing of it leads out of a folder.
pub(crate) fn plain_name(line: &[u32], usage: u32) -> String {
    let text: String = line.iter().filter_map(|char| char::from_u32(*char)).collect();
    let last = text.rsplit(['/', '\\']).next().unwrap_or("");
    let plain = |char: &char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_');
    let name: String = last.chars().filter(plain).collect();
    let name: String = name.trim_start_matches('.').chars().take(NAME_MAX).collect();
    let name = if name.is_empty() { "file".to_owned() } else { name };
    if name.contains('.') {
        return name;
    }
    let suffix = match usage & 15 {
        1 => "glksave",
        2 | 3 => "txt",
        _ => "glkdata",
    };
    format!("{name}.{suffix}")
}

/// The first key in some bytes and how many they are, or `None` where a key is not whole.
fn key_of(bytes: &[u8], after_cr: bool) -> Option<(Key, usize)> {
    let first = *bytes.first()?;
    Some(match first {
        b'\n' if after_cr => (Key::Nothing, 1),
        b'\r' | b'\n' => (Key::Enter, 1),
        8 | 127 => (Key::Delete, 1),
        b'\t' => (Key::Function(key::TAB), 1),
        0x15 => (Key::Kill, 1),
        0x1b => match bytes {
            [_, b'[' | b'O', last, ..] => {
                let arrows = [key::UP, key::DOWN, key::RIGHT, key::LEFT];
                let arrow = b"ABCD".iter().position(|letter| letter == last);
                (Key::Function(arrow.map_or(key::UNKNOWN, |at| arrows[at])), 3)
            }
            _ => (Key::Function(key::ESCAPE), 1),
        },
        0..32 => (Key::Nothing, 1),
        _ => {
            let head = &bytes[..bytes.len().min(4)];
            let (sound, bad) = match std::str::from_utf8(head) {
                Ok(text) => (text, None),
                Err(error) => {
                    let text = std::str::from_utf8(&head[..error.valid_up_to()]);
                    (text.unwrap_or(""), error.error_len())
                }
            };
            match (sound.chars().next(), bad) {
                (Some(char), _) => (Key::Char(char), char.len_utf8()),
                (None, Some(bytes)) => (Key::Char('?'), bytes),
                (None, None) => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_whole_or_waits() {
        assert_eq!(key_of("é".as_bytes(), false), Some((Key::Char('é'), 2)));
        assert_eq!(key_of(&"é".as_bytes()[..1], false), None);
        assert_eq!(key_of(b"\xff", false), Some((Key::Char('?'), 1)));
        assert_eq!(key_of(b"\x1b[D", false), Some((Key::Function(key::LEFT), 3)));
        assert_eq!(key_of(b"\n", true), Some((Key::Nothing, 1)));
        assert_eq!(key_of(b"\n", false), Some((Key::Enter, 1)));
    }

    #[test]
    fn a_file_name_never_leads_elsewhere() {
        let name =
            |text: &str, usage| plain_name(&text.chars().map(u32::from).collect::<Vec<_>>(), usage);
        assert_eq!(name("../../etc/passwd", 1), "passwd.glksave");
        assert_eq!(name("c:\\game.sav", 1), "game.sav");
        assert_eq!(name("..", 2), "file.txt");
        assert_eq!(name(" my data ", 0), "mydata.glkdata");
    }
}
