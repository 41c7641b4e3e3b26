//! Dictionaries: a line of text into words, and words into entries.

use crate::fault::Fault;
use crate::machine::Vm;

/// A dictionary's header.
struct Dictionary {
    separators: Vec<u8>,
    entries: u32,
    entry_bytes: u32,
    count: u32,
    sorted: bool,
}

impl Vm {
    /// Splits the text of a buffer into words and writes them to a parse buffer. `keep` leaves
    /// the slots of unknown words as they are.
    pub(crate) fn tokenise(
        &mut self,
        text: u16,
        parse: u16,
        dictionary: u32,
        keep: bool,
    ) -> Result<(), Fault> {
        let (first, line) = self.line_of(text.into())?;
        let dictionary = self.dictionary_at(dictionary)?;
        let parse = u32::from(parse);
        let words_max = self.byte(parse)?;
        let mut count = 0;
        for (start, end) in split(&line, &dictionary.separators) {
            if count == words_max {
                break;
            }
            let entry = self.look_up(&dictionary, &line[start..end])?;
            let slot = parse + 2 + 4 * u32::from(count);
            if entry != 0 || !keep {
                self.set_word(slot, entry)?;
                let byte = |value| u8::try_from(value).unwrap_or(u8::MAX);
                self.set_byte(slot + 2, byte(end - start))?;
                self.set_byte(slot + 3, byte(start + first))?;
            }
            count += 1;
        }
        self.set_byte(parse + 1, count)
    }

    /// The text of a buffer, and where in the buffer it starts.
    fn line_of(&self, text: u32) -> Result<(usize, Vec<u8>), Fault> {
        if self.story.version >= 5 {
            let count = u32::from(self.byte(text + 1)?);
            let line = (0..count).map(|at| self.byte(text + 2 + at)).collect::<Result<_, _>>()?;
            return Ok((2, line));
        }
        let mut line = Vec::new();
        for at in 0..255 {
            match self.byte(text + 1 + at)? {
                0 => break,
                byte => line.push(byte),
            }
        }
        Ok((1, line))
    }

    fn dictionary_at(&self, at: u32) -> Result<Dictionary, Fault> {
        let count = u32::from(self.byte(at)?);
        let separators = (1..=count).map(|n| self.byte(at + n)).collect::<Result<_, _>>()?;
        let at = at + 1 + count;
        let entries = self.word(at + 1)?.cast_signed();
        Ok(Dictionary {
            separators,
            entry_bytes: self.byte(at)?.into(),
            count: entries.unsigned_abs().into(),
            sorted: entries >= 0,
            entries: at + 3,
        })
    }

    /// The address of a word's entry, or zero.
    fn look_up(&self, dictionary: &Dictionary, word: &[u8]) -> Result<u16, Fault> {
        let key = self.encode(word)?;
        let at = |index: u32| dictionary.entries + index * dictionary.entry_bytes;
        let compare = |index: u32| -> Result<std::cmp::Ordering, Fault> {
            for (n, word) in (0u32..).zip(&key) {
                let order = self.word(at(index) + 2 * n)?.cmp(word);
                if order.is_ne() {
                    return Ok(order);
                }
            }
            Ok(std::cmp::Ordering::Equal)
        };
        let address = |index| u16::try_from(at(index)).map_err(|_| Fault::Address(at(index)));
        if !dictionary.sorted {
            for index in 0..dictionary.count {
                if compare(index)?.is_eq() {
                    return address(index);
                }
            }
            return Ok(0);
        }
        let (mut low, mut high) = (0, dictionary.count);
        while low < high {
            let middle = u32::midpoint(low, high);
            match compare(middle)? {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return address(middle),
            }
        }
        Ok(0)
    }
}

/// The words of a line: spaces part them, separators are words themselves.
fn split(line: &[u8], separators: &[u8]) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, byte) in line.iter().enumerate() {
        let separator = separators.contains(byte);
        if *byte == b' ' || separator {
            words.extend(start.take().map(|start| (start, at)));
        } else {
            start = start.or(Some(at));
        }
        if separator {
            words.push((at, at + 1));
        }
    }
    words.extend(start.map(|start| (start, line.len())));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_words_and_spaces_are_not() {
        let words = split(b"fred,go  fishing", b",.");
        assert_eq!(words, [(0, 4), (4, 5), (5, 7), (9, 16)]);
        assert_eq!(split(b"  ", b","), []);
    }
}
