//! Input: bytes of the console into keys and lines, timed reads, and the files of save games.

use crate::fault::Fault;
use crate::machine::{FILES, Mode, Vm};
use crate::ops::Args;
use crate::stack::STORE_TIMED;
use crate::state::Wait;
use omni_machine::{IoId, IoOp, IoRequest, IoResult};

/// Characters of the name of a file.
const NAME_MAX: usize = 64;

/// Nanoseconds in the tenth of a second that timed reads count by.
const TENTH_NS: u64 = 100_000_000;

/// Columns that a line of input should have, or it starts on a new line.
const LINE_COLUMNS: u32 = 10;

const ENTER: u8 = 13;
const DELETE: u8 = 8;
const ESCAPE: u8 = 27;

/// What a player can press.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    Enter,
    Delete,
    /// Deletes the line.
    Kill,
    Char(char),
    /// A key that has a ZSCII of its own.
    Function(u8),
    /// Bytes that are no key.
    Nothing,
}

impl Vm {
    /// `read`: starts to wait for a line.
    pub(crate) fn begin_line(&mut self, args: &Args) -> Result<(), Fault> {
        if self.cpu.interrupt != 0 {
            return Err(Fault::NestedRead);
        }
        let text = args.get(0)?;
        self.input.text = text;
        self.input.parse = args.or_zero(1);
        if self.story.version <= 3 {
            self.show_status()?;
        }
        if self.line_max()? == 0 {
            return Err(Fault::TextBuffer);
        }
        self.input.line.clear();
        if self.story.version >= 5 {
            let at = u32::from(text);
            for n in 0..self.byte(at + 1)?.into() {
                let byte = self.byte(at + 2 + n)?;
                self.input.line.push(byte);
            }
        }
        self.input.preset = u32::try_from(self.input.line.len()).expect("at most 255");
        let column = self.column();
        let left = self.screen.columns.saturating_sub(column) + self.input.preset;
        if self.screen.window == 0 && left < LINE_COLUMNS {
            self.screen_new_line();
        }
        self.show_for_input();
        self.begin_wait(Wait::Line, args.or_zero(2), args.or_zero(3));
        Ok(())
    }

    /// `read_char`: starts to wait for a key.
    pub(crate) fn begin_key(&mut self, args: &Args) -> Result<(), Fault> {
        if self.cpu.interrupt != 0 {
            return Err(Fault::NestedRead);
        }
        // Keys of one line come without the screen being shown between them.
        if !self.input.swallow {
            self.show_for_input();
        }
        self.flush_word();
        self.begin_wait(Wait::Key, args.or_zero(1), args.or_zero(2));
        Ok(())
    }

    fn begin_wait(&mut self, wait: Wait, tenths: u16, routine: u16) {
        let input = &mut self.input;
        input.wait = wait;
        input.routine = if tenths == 0 { 0 } else { routine };
        let ns = u64::from(tenths) * TENTH_NS;
        input.period = (ns / u64::from(self.spec.ns_per_tick.max(1))).max(1);
        input.wake = self.cpu.tick.saturating_add(input.period);
    }

    /// Forgets an instruction that waits, as when its frame is left.
    pub(crate) fn forget_wait(&mut self) {
        self.input.wait = Wait::None;
        self.input.routine = 0;
        self.input.line.clear();
        self.input.bytes.clear();
        self.cpu.interrupt = 0;
    }

    /// Calls the routine of a timed read.
    pub(crate) fn call_timed(&mut self) -> Result<(), Fault> {
        let depth = self.cpu.depth;
        self.call(self.input.routine, &[], STORE_TIMED)?;
        if self.cpu.depth > depth {
            self.cpu.interrupt = self.cpu.depth;
        }
        Ok(())
    }

    /// The routine of a timed read has returned: true ends the read.
    pub(crate) fn timed_return(&mut self, value: u16) -> Result<(), Fault> {
        self.cpu.interrupt = 0;
        if value != 0 {
            return match self.input.wait {
                Wait::Key => self.finish_key(0),
                Wait::Line => self.finish_line(0),
                // Only reads are timed; the routine of another wait has nothing to end.
                Wait::None | Wait::SaveName | Wait::LoadName | Wait::Save | Wait::Load => Ok(()),
            };
        }
        self.input.wake = self.cpu.tick.saturating_add(self.input.period);
        if self.has_changes() {
            self.show_for_input();
        }
        Ok(())
    }

    /// Whether the bytes that wait hold a whole key.
    pub(crate) fn has_key(&self) -> bool {
        key_of(&self.input.typed, self.input.after_cr).is_some()
    }

    /// Takes what was typed, as far as the instruction needs it.
    pub(crate) fn feed(&mut self) -> Result<(), Fault> {
        let typed = std::mem::take(&mut self.input.typed);
        let mut taken = 0;
        let mut done = Ok(());
        while self.input.wait.for_input() && done.is_ok() {
            let Some((key, bytes)) = key_of(&typed[taken..], self.input.after_cr) else { break };
            self.input.after_cr = typed[taken] == b'\r';
            taken += bytes;
            done = self.press(key);
        }
        self.input.typed = typed;
        self.input.typed.drain(..taken);
        done
    }

    fn press(&mut self, key: Key) -> Result<(), Fault> {
        if std::mem::take(&mut self.input.swallow) {
            if key == Key::Enter {
                return Ok(());
            }
            // A line starts where the line of the last key ends.
            if self.input.wait != Wait::Key {
                self.input.swallow = true;
                return Ok(());
            }
        }
        if self.input.wait == Wait::Key {
            return self.press_for_key(key);
        }
        let max = if self.input.wait == Wait::Line { self.line_max()? } else { NAME_MAX };
        match key {
            Key::Enter => return self.finish_line(ENTER),
            Key::Delete => self.rub_out(),
            Key::Kill => {
                for _ in 0..self.input.line.len() {
                    self.rub_out();
                }
            }
            Key::Char(char) => {
                let zscii = self.zscii_of(char.into()).unwrap_or(b'?');
                if self.input.line.len() < max {
                    self.input.line.push(zscii);
                    if self.echo {
                        self.out_char(char.into());
                    }
                }
            }
            Key::Function(zscii) => {
                if self.input.wait == Wait::Line && self.ends_lines(zscii)? {
                    return self.finish_line(zscii);
                }
            }
            Key::Nothing => {}
        }
        Ok(())
    }

    fn press_for_key(&mut self, key: Key) -> Result<(), Fault> {
        let zscii = match key {
            Key::Enter => ENTER,
            Key::Delete => DELETE,
            Key::Char(char) => self.zscii_of(char.into()).unwrap_or(b'?'),
            Key::Function(zscii) => zscii,
            Key::Kill | Key::Nothing => return Ok(()),
        };
        // Piped input has keys on lines; their ends are not keys.
        self.input.swallow = self.mode == Mode::Dumb && !self.echo && key != Key::Enter;
        self.finish_key(zscii)
    }

    fn rub_out(&mut self) {
        if self.input.line.len() > self.input.preset as usize {
            self.input.line.pop();
            if self.echo {
                self.out.extend_from_slice(b"\x08 \x08");
            }
        }
    }

    fn line_max(&self) -> Result<usize, Fault> {
        let max = usize::from(self.byte(self.input.text.into())?);
        Ok(if self.story.version <= 4 { max.saturating_sub(1) } else { max })
    }

    /// Whether a key ends a line here (the Standard, section 10.5.2.1).
    fn ends_lines(&self, zscii: u8) -> Result<bool, Fault> {
        if self.story.terminators == 0 {
            return Ok(false);
        }
        for at in 0..32 {
            match self.byte(self.story.terminators + at)? {
                0 => break,
                255 if (129..=154).contains(&zscii) => return Ok(true),
                listed if listed == zscii => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }

    fn finish_key(&mut self, zscii: u8) -> Result<(), Fault> {
        self.forget_wait();
        self.store_result(zscii.into())
    }

    fn finish_line(&mut self, end: u8) -> Result<(), Fault> {
        let line = std::mem::take(&mut self.input.line);
        let wait = self.input.wait;
        self.forget_wait();
        if self.echo {
            self.end_line();
        }
        if wait != Wait::Line {
            return self.finish_name(wait, &line);
        }
        let preset = (self.input.preset as usize).min(line.len());
        match self.mode {
            Mode::Dumb => {
                self.show_typed(&line[preset..]);
                if end == ENTER {
                    self.screen_new_line();
                }
            }
            // The line's end has been echoed, by us or by the player's terminal.
            Mode::Stream => self.screen.cursors[0].1 = 0,
        }
        let line: Vec<u8> = line.iter().map(|char| self.lower_case(*char)).collect();
        self.store_line(&line)?;
        if self.input.parse != 0 && end == ENTER {
            let (text, parse) = (self.input.text, self.input.parse);
            self.tokenise(text, parse, self.story.dictionary, false)?;
        }
        if self.story.version >= 5 { self.store_result(end.into()) } else { Ok(()) }
    }

    fn store_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let at = u32::from(self.input.text);
        let early = self.story.version <= 4;
        let first = if early { at + 1 } else { at + 2 };
        for (n, char) in (0..).zip(line) {
            self.set_byte(first + n, *char)?;
        }
        let count = u8::try_from(line.len()).expect("a line has at most 255 characters");
        if early {
            self.set_byte(first + u32::from(count), 0)
        } else {
            self.set_byte(at + 1, count)
        }
    }

    fn lower_case(&self, zscii: u8) -> u8 {
        if zscii.is_ascii() {
            return zscii.to_ascii_lowercase();
        }
        let unicode = self.unicode_of(zscii.into()).and_then(|code| char::from_u32(code.into()));
        let lower = unicode.and_then(|char| char.to_lowercase().next());
        lower.and_then(|char| self.zscii_of(char.into())).unwrap_or(zscii)
    }

    /// `save` or `restore`: asks for a name, or takes the one in memory for a part of memory.
    pub(crate) fn begin_file(&mut self, save: bool, args: &Args) -> Result<(), Fault> {
        if self.cpu.interrupt != 0 {
            return self.finish_file(0);
        }
        self.input.text = args.or_zero(0);
        self.input.parse = args.or_zero(1);
        let wait = if save { Wait::SaveName } else { Wait::LoadName };
        if let Some(at) = args.option(2).filter(|at| *at != 0) {
            let count = u32::from(self.byte(at.into())?);
            let byte = |n| self.byte(u32::from(at) + 1 + n);
            let name = (0..count).map(byte).collect::<Result<Vec<_>, _>>()?;
            return self.finish_name(wait, &name);
        }
        self.close_screen();
        let prompt = format!("Please enter a filename [{}]: ", self.story.save_name());
        self.out.extend_from_slice(prompt.as_bytes());
        self.input.line.clear();
        self.input.preset = 0;
        self.begin_wait(wait, 0, 0);
        Ok(())
    }

    /// The name is known: the request goes out.
    fn finish_name(&mut self, wait: Wait, line: &[u8]) -> Result<(), Fault> {
        let save = wait == Wait::SaveName;
        self.input.name = file_name(line).unwrap_or_else(|| self.story.save_name());
        if save {
            let bytes = if self.is_part() { self.part()? } else { self.quetzal() };
            self.input.bytes = bytes;
        }
        self.input.wait = if save { Wait::Save } else { Wait::Load };
        self.input.routine = 0;
        self.input.io = self.input.next_io;
        self.input.next_io = self.input.next_io.wrapping_add(1);
        let (id, op) = (IoId(self.input.io), self.file_request());
        self.request = Some(IoRequest { id, port: FILES, op });
        Ok(())
    }

    /// Whether the file is of a part of memory, not of the whole game.
    fn is_part(&self) -> bool {
        self.input.text != 0
    }

    fn part(&self) -> Result<Vec<u8>, Fault> {
        let at = u32::from(self.input.text);
        (0..u32::from(self.input.parse)).map(|n| self.byte(at + n)).collect()
    }

    /// The request that is in flight.
    pub(crate) fn file_request(&self) -> IoOp {
        let name = self.input.name.clone();
        if self.input.wait == Wait::Save {
            IoOp::SaveFile { name, bytes: self.input.bytes.clone() }
        } else {
            IoOp::LoadFile { name }
        }
    }

    /// A request ended.
    pub(crate) fn io_done(&mut self, id: IoId, result: &IoResult) -> Result<(), Fault> {
        let wait = self.input.wait;
        if !matches!(wait, Wait::Save | Wait::Load) || id != IoId(self.input.io) {
            return Ok(());
        }
        self.forget_wait();
        let Ok(bytes) = result else { return self.finish_file(0) };
        if wait == Wait::Save {
            return self.finish_file(1);
        }
        if !self.is_part() {
            let restored = self.restore_quetzal(bytes)?;
            return self.finish_file(if restored { 2 } else { 0 });
        }
        let at = u32::from(self.input.text);
        let mut count = 0;
        for byte in bytes.iter().take(self.input.parse.into()) {
            self.set_byte(at + u32::from(count), *byte)?;
            count += 1;
        }
        self.finish_file(count)
    }

    fn finish_file(&mut self, result: u16) -> Result<(), Fault> {
        if self.story.version <= 3 { self.branch(result != 0) } else { self.store_result(result) }
    }
}

/// The first key in some bytes and how many they are, or `None` where a key is not whole.
fn key_of(bytes: &[u8], after_cr: bool) -> Option<(Key, usize)> {
    let first = *bytes.first()?;
    Some(match first {
        b'\n' if after_cr => (Key::Nothing, 1),
        b'\r' | b'\n' => (Key::Enter, 1),
        8 | 127 => (Key::Delete, 1),
        0x15 => (Key::Kill, 1),
        ESCAPE => match bytes {
            [_, b'[' | b'O', last, ..] => {
                let arrow = b"ABDC".iter().position(|letter| letter == last);
                let arrow = arrow.and_then(|at| u8::try_from(at).ok());
                (arrow.map_or(Key::Nothing, |at| Key::Function(129 + at)), 3)
            }
            _ => (Key::Function(ESCAPE), 1),
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

/// A plain name of a file from what was typed; nothing of it leads out of a folder.
fn file_name(line: &[u8]) -> Option<String> {
    let last = line.rsplit(|byte| matches!(byte, b'/' | b'\\')).next()?;
    let plain = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let name: String = last.iter().filter(plain).map(|byte| char::from(*byte)).collect();
    let name: String = name.trim_start_matches('.').chars().take(NAME_MAX).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::CONSOLE;
    use crate::machine::tests::story_machine;
    use omni_base::Tick;
    use omni_machine::{Event, Kick, Machine, Stop};

    #[test]
    fn a_timed_read_calls_its_routine_by_the_clock_and_ends_when_that_says_so() {
        const CALLS: u8 = 17;
        let mut vm = story_machine();
        vm.spec.ns_per_tick = 1_000_000;
        // A routine that counts its calls, and says at the third that the read is to end.
        let routine = [0, 0x95, CALLS, 0xc1, 0x9f, CALLS, 3, 0xc1, 0xb1];
        // A key within a second, else that routine; its value to a variable; then the end.
        let code = [0xf6, 0x53, 1, 10, 1, 0x80, 18, 0xba];
        for (start, bytes) in [(0x600, &routine[..]), (0x700, &code)] {
            for (at, byte) in (start..).zip(bytes) {
                vm.set_byte(at, *byte).expect("dynamic memory");
            }
        }
        vm.set_variable(CALLS, 0).expect("a global variable");
        vm.set_variable(18, 77).expect("a global variable");
        vm.cpu.pc = 0x700;
        let mut effects = Vec::new();
        let mut run = |vm: &mut Vm, until| vm.run(Tick(until), &Kick::default(), &mut effects);
        assert_eq!(run(&mut vm, 500), Stop::Idle { wake: Some(Tick(1000)) });
        assert_eq!(run(&mut vm, 1000), Stop::Reached);
        assert!(matches!(run(&mut vm, 2500), Stop::Idle { wake: Some(_) }));
        assert_eq!(vm.variable(CALLS), Ok(2));
        assert_eq!(run(&mut vm, 9000), Stop::Halted { code: 0 });
        assert_eq!((vm.variable(CALLS), vm.variable(18)), (Ok(3), Ok(0)));
    }

    #[test]
    fn a_terminal_in_raw_mode_sees_what_it_types_and_can_rub_it_out() {
        let mut vm = story_machine();
        vm.echo = true;
        vm.mode = Mode::Stream;
        let mut effects = Vec::new();
        vm.run(Tick(100), &Kick::default(), &mut effects);
        effects.clear();
        for bytes in [&b"qx\x7f"[..], b"\r"] {
            vm.apply(&Event::Input { port: CONSOLE, bytes: bytes.to_vec() }, &mut effects);
            let until = Tick(vm.tick().0 + 100);
            vm.run(until, &Kick::default(), &mut effects);
        }
        let text: Vec<u8> = effects.iter().flat_map(|(_, effect)| output(effect)).collect();
        assert_eq!(String::from_utf8_lossy(&text), "qx\x08 \x08\r\nBye.\r\n");
    }

    fn output(effect: &omni_machine::Effect) -> Vec<u8> {
        match effect {
            omni_machine::Effect::Output { bytes, .. } => bytes.clone(),
            omni_machine::Effect::Io(_) => Vec::new(),
        }
    }

    #[test]
    fn a_key_is_whole_or_waits() {
        assert_eq!(key_of("é".as_bytes(), false), Some((Key::Char('é'), 2)));
        assert_eq!(key_of(&"é".as_bytes()[..1], false), None);
        assert_eq!(key_of(b"\xff", false), Some((Key::Char('?'), 1)));
        assert_eq!(key_of(b"\x1b[A", false), Some((Key::Function(129), 3)));
        assert_eq!(key_of(b"\n", true), Some((Key::Nothing, 1)));
        assert_eq!(key_of(b"\n", false), Some((Key::Enter, 1)));
    }

    #[test]
    fn a_file_name_never_leads_elsewhere() {
        assert_eq!(file_name(b"../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(file_name(b"c:\\game.sav").as_deref(), Some("game.sav"));
        assert_eq!(file_name(b"..").as_deref(), None);
        assert_eq!(file_name(b" my game ").as_deref(), Some("mygame"));
    }
}
