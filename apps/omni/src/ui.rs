//! What the program says: results on standard output, talk on standard error.

use crate::failure::Failure;
use omni_control::API;
use omni_host::is_terminal;
use serde_json::{Value, json};
use std::io::{self, Write};

/// The two streams of a verb.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    /// Results as JSON, one object a line.
    pub(crate) json: bool,
}

impl Ui {
    /// Writes a line of the result.
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Writes bytes of the result as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
    }

    /// Writes one JSON object on a line, with the name of its form first.
    pub(crate) fn object(self, value: Value) -> Result<(), Failure> {
        self.line(&with_api(value).to_string())
    }

    /// Writes either the JSON object or the text.
    pub(crate) fn result(self, value: Value, text: &str) -> Result<(), Failure> {
        if self.json { self.object(value) } else { self.line(text) }
    }

    /// Writes what a program says of its errors. Where nobody can hear it, it does not matter.
    pub(crate) fn errors(self, bytes: &[u8]) {
        let _ = io::stderr().lock().write_all(bytes);
    }

    /// Talks. Where nobody can hear it, it does not matter.
    pub(crate) fn say(self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Writes rows under their heads, columns aligned.
    pub(crate) fn table(self, heads: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let width = |column: usize| {
            let cells =
                rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([heads[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> =
                cells.zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
            padded.join("  ").trim_end().to_owned()
        };
        self.line(&line(&mut heads.iter().copied()))?;
        rows.iter().try_for_each(|row| self.line(&line(&mut row.iter().map(String::as_str))))
    }
}

/// Whether a person reads what is said.
pub(crate) fn stderr_is_terminal() -> bool {
    is_terminal(io::stderr())
}

fn with_api(value: Value) -> Value {
    let mut object = json!({ "api": API });
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, value) {
        object.extend(fields);
    }
    object
}

/// A size for people: binary units.
pub(crate) fn size_text(bytes: u64) -> String {
    let units = ["B", "K", "M", "G", "T"];
    let (mut value, mut unit) = (bytes, 0);
    let mut rest = 0;
    while value >= 1024 && unit + 1 < units.len() {
        (rest, value, unit) = (value % 1024, value / 1024, unit + 1);
    }
    if unit == 0 || value >= 10 {
        format!("{value}{}", units[unit])
    } else {
        format!("{value}.{}{}", rest * 10 / 1024, units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_binary() {
        assert_eq!(size_text(512), "512B");
        assert_eq!(size_text(1536), "1.5K");
        assert_eq!(size_text(64 << 20), "64M");
        assert_eq!(size_text(u64::MAX), "16777215T");
    }

    #[test]
    fn every_object_says_its_form_first() {
        let text = with_api(json!({ "name": "x" })).to_string();
        assert_eq!(text, r#"{"api":"omni/v1","name":"x"}"#);
    }
}
