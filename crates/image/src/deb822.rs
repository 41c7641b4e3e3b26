//! Paragraphs of `Field: value` lines, as Debian's control files, indices and sources are written.

use std::io::{BufRead, Read};

/// The longest line that is read. A release file's lines are short, a package's dependencies long.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// The longest paragraph that is read: a release file is a single one, of some hundred kilobytes.
const PARAGRAPH_BYTES_MAX: usize = 16 << 20;

/// One paragraph: its fields in order, continuation lines joined by newlines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paragraph {
    fields: Vec<(String, String)>,
}

impl Paragraph {
    /// The value of a field, whose name is compared without regard to case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads paragraphs one after another, each bounded.
pub(crate) struct Paragraphs<R> {
    reader: R,
}

impl<R: BufRead> Paragraphs<R> {
    /// From the start of a text.
    pub(crate) fn new(reader: R) -> Self {
        Self { reader }
    }

    /// The next paragraph; none at the end; an error names what is wrong.
    pub(crate) fn next(&mut self) -> Result<Option<Paragraph>, String> {
        let mut paragraph = Paragraph::default();
        let mut bytes = 0_usize;
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = (&mut self.reader)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)
                .map_err(|e| e.to_string())?;
            if count as u64 == LINE_BYTES_MAX {
                return Err("a line is too long".to_owned());
            }
            bytes += count;
            if bytes > PARAGRAPH_BYTES_MAX {
                return Err("a paragraph is too long".to_owned());
            }
            let text = std::str::from_utf8(&line).map_err(|_| "not UTF-8 text".to_owned())?;
            let text = text.trim_end();
            if text.is_empty() {
                let ended = count == 0 || !paragraph.fields.is_empty();
                if ended {
                    return Ok((!paragraph.fields.is_empty()).then_some(paragraph));
                }
                continue;
            }
            add_line(&mut paragraph, text)?;
        }
    }
}

/// Adds a line, which starts a field, continues one, or is a remark.
fn add_line(paragraph: &mut Paragraph, text: &str) -> Result<(), String> {
    if text.starts_with('#') {
        return Ok(());
    }
    if text.starts_with([' ', '\t']) {
        let (_, value) = paragraph.fields.last_mut().ok_or("it starts with a continuation")?;
        value.push('\n');
        value.push_str(text.trim_start());
        return Ok(());
    }
    let (name, value) = text.split_once(':').ok_or("a line is neither a field nor part of one")?;
    paragraph.fields.push((name.to_owned(), value.trim().to_owned()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<Paragraph>, String> {
        let mut reader = Paragraphs::new(text);
        let mut found = Vec::new();
        while let Some(paragraph) = reader.next()? {
            found.push(paragraph);
        }
        Ok(found)
    }

    #[test]
    fn fields_continue_over_lines_and_paragraphs_end_at_blank_ones() {
        let found = all(b"\n# remark\nA: 1\nB:\n x y\n z\n\n\nA: 2\r\n").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].get("a"), Some("1"));
        assert_eq!(found[0].get("B"), Some("\nx y\nz"));
        assert_eq!(found[1].get("A"), Some("2"));
        assert_eq!(found[1].get("B"), None);
    }

    #[test]
    fn what_is_no_paragraph_is_refused() {
        assert!(all(b" lost continuation\n").is_err());
        assert!(all(b"no colon\n").is_err());
        assert!(all(b"A: \xff\n").is_err());
        assert!(all(&vec![b'x'; 2 << 20]).is_err());
        assert_eq!(all(b"").unwrap(), []);
    }
}
