//! Text: packed strings, alphabets, abbreviations, and characters to and from Unicode.

use crate::fault::Fault;
use crate::machine::Vm;

/// Characters that one string may give: what a tick may touch.
const TEXT_MAX: usize = 16 << 10;

/// Words that one string and its abbreviations may have.
const WORDS_MAX: u32 = 32 << 10;

/// Alphabets of version 2 and later, from z-character 6; position 0 of the last is an escape.
pub(crate) const ALPHABETS: [&[u8; 26]; 3] = [
    b"abcdefghijklmnopqrstuvwxyz",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b" \r0123456789.,!?_#'\"/\\-:()",
];

/// The last alphabet of version 1, which has a z-character of its own for a new line.
const LAST_OF_V1: &[u8; 26] = b" 0123456789.,!?_#'\"/\\<-:()";

/// The Unicode of ZSCII 155 to 223, where a story has no table of its own.
const EXTRA: &str = "äöüÄÖÜß»«ëïÿËÏáéíóúýÁÉÍÓÚÝàèìòùÀÈÌÒÙâêîôûÂÊÎÔÛåÅøØãñõÃÑÕæÆçÇþðÞÐ£œŒ¡¿";

/// The first character of the extra table.
const EXTRA_FIRST: u16 = 155;

impl Vm {
    /// Reads the string at a byte address as ZSCII, and gives where it ends.
    pub(crate) fn text_at(&self, at: u32, into: &mut Vec<u16>) -> Result<u32, Fault> {
        let mut words = WORDS_MAX;
        self.unpack_text(at, into, &mut words, false)
    }

    fn unpack_text(
        &self,
        start: u32,
        into: &mut Vec<u16>,
        words: &mut u32,
        within: bool,
    ) -> Result<u32, Fault> {
        let mut reader = Decoder { set: 0, lock: 0, abbreviation: None, escape: None };
        let mut at = start;
        loop {
            let word = self.word(at)?;
            at += 2;
            *words = words.checked_sub(1).ok_or(Fault::TextTooLong(start))?;
            for shift in [10, 5, 0] {
                let code = (word >> shift).to_le_bytes()[0] & 0x1f;
                match reader.next(self, code)? {
                    Given::Nothing => {}
                    Given::Char(char) => into.push(char),
                    Given::Abbreviation(_) if within => return Err(Fault::Abbreviation(start)),
                    Given::Abbreviation(number) => {
                        let entry = self.word(self.story.abbreviations + 2 * u32::from(number))?;
                        self.unpack_text(2 * u32::from(entry), into, words, true)?;
                    }
                }
            }
            if word & 0x8000 != 0 {
                return Ok(at);
            }
            if into.len() > TEXT_MAX {
                return Err(Fault::TextTooLong(start));
            }
        }
    }

    fn letter(&self, set: u8, code: u8) -> Result<u8, Fault> {
        let at = usize::from(code - 6);
        if set == 2 && code == 7 && self.story.version > 1 {
            return Ok(b'\r');
        }
        if self.story.alphabet != 0 {
            return self.byte(self.story.alphabet + u32::from(set) * 26 + u32::from(code) - 6);
        }
        Ok(match (set, self.story.version) {
            (2, 1) => LAST_OF_V1[at],
            _ => ALPHABETS[usize::from(set)][at],
        })
    }

    /// Packs the start of a word as dictionaries have it: two words of memory, or three.
    pub(crate) fn encode(&self, word: &[u8]) -> Result<Vec<u16>, Fault> {
        let codes_max = if self.story.version <= 3 { 6 } else { 9 };
        // The early versions lock with 4 and 5 and shift with 2 and 3.
        let shift = if self.story.version <= 2 { 1 } else { 3 };
        let mut codes: Vec<u8> = Vec::new();
        for &char in word {
            match self.find_letter(char)? {
                Some((0, code)) => codes.push(code),
                Some((set, code)) => codes.extend([shift + set, code]),
                None => codes.extend([shift + 2, 6, char >> 5, char & 0x1f]),
            }
            if codes.len() >= codes_max {
                break;
            }
        }
        codes.resize(codes_max, 5);
        let pack = |three: &[u8]| three.iter().fold(0, |word, code| word << 5 | u16::from(*code));
        let mut words: Vec<u16> = codes.chunks(3).map(pack).collect();
        if let Some(last) = words.last_mut() {
            *last |= 0x8000;
        }
        Ok(words)
    }

    fn find_letter(&self, char: u8) -> Result<Option<(u8, u8)>, Fault> {
        for set in 0..3 {
            for code in if set == 2 { 7..32 } else { 6..32 } {
                if self.letter(set, code)? == char {
                    return Ok(Some((set, code)));
                }
            }
        }
        Ok(None)
    }

    /// The Unicode of a ZSCII character for output, if it has one.
    pub(crate) fn unicode_of(&self, zscii: u16) -> Option<u16> {
        match zscii {
            32..=126 => Some(zscii),
            EXTRA_FIRST..=251 => self.extra(zscii - EXTRA_FIRST),
            _ => None,
        }
    }

    /// The ZSCII of a Unicode character, if it has one.
    pub(crate) fn zscii_of(&self, unicode: u32) -> Option<u8> {
        if (32..=126).contains(&unicode) {
            return u8::try_from(unicode).ok();
        }
        let same = |index: &u16| self.extra(*index).map(u32::from) == Some(unicode);
        (0..97).find(same).and_then(|index| u8::try_from(index + EXTRA_FIRST).ok())
    }

    fn extra(&self, index: u16) -> Option<u16> {
        if self.story.unicode == 0 {
            let char = EXTRA.chars().nth(index.into())?;
            return u16::try_from(u32::from(char)).ok();
        }
        let table = self.story.unicode;
        let count = self.byte(table).ok()?;
        if index >= u16::from(count) {
            return None;
        }
        self.word(table + 1 + 2 * u32::from(index)).ok()
    }
}

/// What a z-character gives.
enum Given {
    Nothing,
    Char(u16),
    Abbreviation(u16),
}

/// Where the reading of a string is (the Standard, section 3).
struct Decoder {
    set: u8,
    lock: u8,
    abbreviation: Option<u8>,
    /// The high half of a ten-bit character; `None` within means that it comes next.
    escape: Option<Option<u8>>,
}

impl Decoder {
    fn next(&mut self, vm: &Vm, code: u8) -> Result<Given, Fault> {
        if let Some(bank) = self.abbreviation.take() {
            return Ok(Given::Abbreviation(32 * (u16::from(bank) - 1) + u16::from(code)));
        }
        match self.escape.take() {
            Some(None) => {
                self.escape = Some(Some(code));
                return Ok(Given::Nothing);
            }
            Some(Some(high)) => return Ok(Given::Char(u16::from(high) << 5 | u16::from(code))),
            None => {}
        }
        let version = vm.story.version;
        let set = std::mem::replace(&mut self.set, self.lock);
        Ok(match code {
            0 => Given::Char(b' '.into()),
            1 if version == 1 => Given::Char(b'\r'.into()),
            1 => self.abbreviate(1),
            2 | 3 if version >= 3 => self.abbreviate(code),
            4 | 5 if version >= 3 => self.shift(code - 3),
            2 | 3 => self.shift((self.lock + code - 1) % 3),
            4 | 5 => {
                self.lock = (self.lock + code - 3) % 3;
                self.shift(self.lock)
            }
            6 if set == 2 => {
                self.escape = Some(None);
                Given::Nothing
            }
            code => Given::Char(vm.letter(set, code)?.into()),
        })
    }

    fn abbreviate(&mut self, bank: u8) -> Given {
        self.abbreviation = Some(bank);
        Given::Nothing
    }

    fn shift(&mut self, set: u8) -> Given {
        self.set = set;
        Given::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::story_machine;

    #[test]
    fn a_packed_word_reads_back_as_itself() {
        let mut vm = story_machine();
        for word in [&b"lantern"[..], b"a1b", b"x-ray", b"\xa4"] {
            let packed = vm.encode(word).expect("the alphabets are ours");
            assert_eq!(packed.len(), 3);
            for (at, word) in (0u32..).zip(packed) {
                vm.set_word(0x400 + 2 * at, word).expect("dynamic memory");
            }
            let mut text = Vec::new();
            assert_eq!(vm.text_at(0x400, &mut text), Ok(0x406));
            let word: Vec<u16> = word.iter().map(|byte| (*byte).into()).collect();
            assert!(text.starts_with(&word[..word.len().min(text.len())]), "{word:?} {text:?}");
        }
    }

    #[test]
    fn an_abbreviation_within_an_abbreviation_is_a_fault() {
        let mut vm = story_machine();
        let table = vm.story.abbreviations;
        // The first abbreviation is the string at 0x400, which asks for the first abbreviation.
        vm.set_word(table, 0x200).expect("dynamic memory");
        vm.set_word(0x400, 0x8000 | 1 << 10 | 5).expect("dynamic memory");
        let mut text = Vec::new();
        assert!(vm.text_at(0x400, &mut text).is_err());
    }

    #[test]
    fn a_string_without_an_end_is_a_fault_however_little_it_says() {
        let mut vm = story_machine();
        // An abbreviation of many shifts that say nothing, asked for again and again.
        vm.set_word(vm.story.abbreviations, 0x200).expect("dynamic memory");
        for at in (0x400..0x7fe).step_by(2) {
            vm.set_word(at, 0x1084).expect("dynamic memory");
        }
        vm.set_word(0x7fe, 0x9084).expect("dynamic memory");
        for at in (0x800..vm.story.dynamic_bytes).step_by(2) {
            vm.set_word(at, (1 << 10) | 5).expect("dynamic memory");
        }
        let mut text = Vec::new();
        assert_eq!(vm.text_at(0x800, &mut text), Err(Fault::TextTooLong(0x400)));
        assert!(text.is_empty());
    }

    #[test]
    fn every_extra_character_has_its_unicode_and_back() {
        let vm = story_machine();
        for zscii in 155..=223 {
            let unicode = vm.unicode_of(zscii).expect("the default table has 69");
            assert_eq!(vm.zscii_of(unicode.into()).map(u16::from), Some(zscii));
        }
        assert_eq!(vm.unicode_of(155), Some(0xe4));
        assert_eq!(vm.unicode_of(223), Some(0xbf));
        assert_eq!(vm.unicode_of(224), None);
    }
}
