//! Cases and normal forms of Unicode.

use unicode_normalization::UnicodeNormalization;

/// What a function of Glk makes of some characters: lower case, upper case, title case, canonical
/// decomposition, canonical composition. What is no character stays as it is.
pub(crate) fn change(number: u32, chars: &[u32], rest: bool) -> Vec<u32> {
    match number {
        0x120 => each(chars, |char| char.to_lowercase().collect()),
        0x121 => each(chars, |char| char.to_uppercase().collect()),
        0x122 => {
            let (first, others) = chars.split_at(chars.len().min(1));
            let mut title = each(first, titled);
            title.extend(if rest { change(0x120, others, false) } else { others.to_vec() });
            title
        }
        0x123 => normal(chars, |text| text.nfd().map(u32::from).collect()),
        _ => normal(chars, |text| text.nfc().map(u32::from).collect()),
    }
}

fn each(chars: &[u32], change: impl Fn(char) -> Vec<char>) -> Vec<u32> {
    let one = |code: &u32| match char::from_u32(*code) {
        Some(char) => change(char).into_iter().map(u32::from).collect(),
        None => vec![*code],
    };
    chars.iter().flat_map(one).collect()
}

/// The character as the first of a word: letters that are two in one have a form of their own.
fn titled(char: char) -> Vec<char> {
    let own = match char {
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        // Greek letters with an iota below have it beside them where all is large.
        '\u{1f80}'..='\u{1faf}' => char::from_u32(u32::from(char) | 8).unwrap_or(char),
        '\u{1fb3}' | '\u{1fbc}' => '\u{1fbc}',
        '\u{1fc3}' | '\u{1fcc}' => '\u{1fcc}',
        '\u{1ff3}' | '\u{1ffc}' => '\u{1ffc}',
        _ => {
            let mut upper: Vec<_> = char.to_uppercase().collect();
            // Of a ligature only its first letter is large.
            let rest: Vec<_> = upper.iter().skip(1).flat_map(|char| char.to_lowercase()).collect();
            upper.truncate(1);
            upper.extend(rest);
            return upper;
        }
    };
    vec![own]
}

/// A normal form of the stretches of characters.
fn normal(chars: &[u32], form: impl Fn(&str) -> Vec<u32>) -> Vec<u32> {
    let mut out = Vec::new();
    for stretch in chars.chunk_by(|a, b| is_char(*a) == is_char(*b)) {
        let text: String = stretch.iter().filter_map(|code| char::from_u32(*code)).collect();
        if text.is_empty() { out.extend_from_slice(stretch) } else { out.extend(form(&text)) }
    }
    out
}

fn is_char(code: u32) -> bool {
    char::from_u32(code).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: u32, text: &str, rest: bool) -> String {
        let chars: Vec<u32> = text.chars().map(u32::from).collect();
        change(number, &chars, rest).into_iter().filter_map(char::from_u32).collect()
    }

    #[test]
    fn cases_and_normal_forms_are_those_of_unicode() {
        assert_eq!(text(0x120, "ÀB", false), "àb");
        assert_eq!(text(0x121, "straße", false), "STRASSE");
        assert_eq!(text(0x122, "ßTART", true), "Sstart");
        assert_eq!(text(0x122, "ǆ", false), "ǅ");
        assert_eq!(text(0x122, "ᾀᾀ", false), "ᾈᾀ");
        assert_eq!(text(0x123, "é", false), "e\u{301}");
        assert_eq!(text(0x124, "e\u{301}", false), "é");
        assert_eq!(change(0x123, &[0xd800, 0x41], false), [0xd800, 0x41]);
    }
}
