//! Output streams: characters to the screen or to tables, words kept whole.

use crate::fault::Fault;
use crate::machine::Vm;

/// The style of a cell, above its character.
pub(crate) const STYLE_SHIFT: u32 = 16;

/// Characters of a word that is kept whole; a longer one goes out in parts.
pub(crate) const WORD_MAX: usize = 200;

const SPACE: u32 = 32;
const HYPHEN: u32 = 45;

impl Vm {
    /// Prints a ZSCII character to the streams that are open.
    pub(crate) fn print_zscii(&mut self, char: u16) -> Result<(), Fault> {
        if !self.screen.tables.is_empty() {
            return if char == 0 { Ok(()) } else { self.print_to_table(char) };
        }
        if !self.screen.to_screen {
            return Ok(());
        }
        match char {
            0 => {}
            13 => self.new_line(),
            9 | 11 => self.put(SPACE),
            _ => self.put(self.unicode_of(char).unwrap_or(b'?'.into()).into()),
        }
        Ok(())
    }

    /// Prints a Unicode character to the streams that are open.
    pub(crate) fn print_unicode(&mut self, char: u16) -> Result<(), Fault> {
        if !self.screen.tables.is_empty() {
            let zscii = self.zscii_of(char.into()).unwrap_or(b'?');
            return self.print_to_table(zscii.into());
        }
        let sound = char::from_u32(char.into()).filter(|char| !char.is_control());
        if self.screen.to_screen {
            self.put(sound.map_or(b'?'.into(), u32::from));
        }
        Ok(())
    }

    /// Prints text of ours.
    pub(crate) fn print_str(&mut self, text: &str) -> Result<(), Fault> {
        text.bytes().try_for_each(|byte| self.print_zscii(byte.into()))
    }

    /// Prints the string at a byte address and gives where it ends.
    pub(crate) fn print_text(&mut self, at: u32) -> Result<u32, Fault> {
        let mut text = Vec::new();
        let end = self.text_at(at, &mut text)?;
        text.into_iter().try_for_each(|char| self.print_zscii(char))?;
        Ok(end)
    }

    /// Prints the short name of an object.
    pub(crate) fn print_name(&mut self, object: u16) -> Result<(), Fault> {
        if let Some(at) = self.name_at(object)? {
            self.print_text(at)?;
        }
        Ok(())
    }

    fn print_to_table(&mut self, char: u16) -> Result<(), Fault> {
        let Some(&(table, count)) = self.screen.tables.last() else { return Ok(()) };
        let byte = u8::try_from(char).unwrap_or(b'?');
        self.set_byte(u32::from(table) + 2 + u32::from(count), byte)?;
        let count = count.checked_add(1).ok_or(Fault::Table)?;
        if let Some(last) = self.screen.tables.last_mut() {
            last.1 = count;
        }
        Ok(())
    }

    /// Ends the line.
    pub(crate) fn new_line(&mut self) {
        self.flush_word();
        self.screen_new_line();
    }

    /// Puts a character, which waits for its word to end where words are kept whole.
    fn put(&mut self, char: u32) {
        let cell = char | self.screen.style << STYLE_SHIFT;
        if self.screen.window != 0 || !self.screen.buffered {
            self.screen_word(&[cell]);
            return;
        }
        let last = self.screen.word.last().map(|cell| cell & 0xffff);
        let after_hyphen = last == Some(HYPHEN) && char != HYPHEN;
        if char == SPACE || after_hyphen || self.screen.word.len() >= WORD_MAX {
            self.flush_word();
        }
        self.screen.word.push(cell);
    }

    /// Lets the word out that waits for its end.
    pub(crate) fn flush_word(&mut self) {
        if !self.screen.word.is_empty() {
            let word = std::mem::take(&mut self.screen.word);
            self.screen_word(&word);
        }
    }

    /// Sets or adds a text style.
    pub(crate) fn set_style(&mut self, style: u16) -> Result<(), Fault> {
        let style = u32::from(style & 15);
        self.screen.style = if style == 0 { 0 } else { self.screen.style | style };
        Ok(())
    }

    /// Whether words are kept whole from here on.
    pub(crate) fn set_buffered(&mut self, on: bool) -> Result<(), Fault> {
        self.flush_word();
        self.screen.buffered = on;
        Ok(())
    }
}
