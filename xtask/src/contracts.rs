//! The contract traits have no default methods: a device that forgets to save does not compile.

use std::collections::BTreeMap;

/// The traits and the files where they stand.
const CONTRACTS: &[(&str, &str)] = &[
    ("crates/machine/src/machine.rs", "Machine"),
    ("crates/machine/src/kind.rs", "MachineKind"),
    ("crates/machine/src/device.rs", "Device"),
];

/// More methods than this, and the trait is about more than one thing.
const METHODS_MAX: usize = 13;

pub(crate) fn check(texts: &BTreeMap<String, String>, findings: &mut Vec<String>) {
    for (path, name) in CONTRACTS {
        // A tree without the contracts is a test of something else.
        if !texts.contains_key("crates/machine/Cargo.toml") {
            return;
        }
        match texts.get(*path).and_then(|text| body(text, name)) {
            Some((at, body)) => check_trait(path, name, at, &body, findings),
            None => findings.push(format!("{path}: the contract `{name}` is not here")),
        }
    }
}

/// The first line and the lines of a trait. Relies on rustfmt's indentation.
fn body<'a>(text: &'a str, name: &str) -> Option<(usize, Vec<&'a str>)> {
    let head = format!("pub trait {name}");
    let starts =
        |line: &str| line.strip_prefix(&head).is_some_and(|rest| rest.starts_with([':', ' ', '<']));
    let at = text.lines().position(starts)?;
    Some((at + 1, text.lines().skip(at).take_while(|line| *line != "}").collect()))
}

fn check_trait(path: &str, name: &str, at: usize, body: &[&str], findings: &mut Vec<String>) {
    let mut methods = 0;
    let mut lines = body.iter().enumerate();
    while let Some((first, line)) = lines.next() {
        if !line.starts_with("    fn ") {
            continue;
        }
        methods += 1;
        let ends = |line: &str| line.ends_with(';') || line.ends_with('{') || line.ends_with('}');
        let last = if ends(line) {
            line
        } else {
            lines.find(|(_, line)| ends(line)).map_or(line, |(_, line)| line)
        };
        if !last.ends_with(';') {
            let at = at + first;
            findings.push(format!("{path}:{at}: a default method on the contract `{name}`"));
        }
    }
    if methods == 0 || methods > METHODS_MAX {
        findings.push(format!("{path}:{at}: `{name}` has {methods} methods, of {METHODS_MAX}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn findings(text: &str) -> usize {
        let (at, body) = body(text, "Device").expect("the trait is there");
        let mut findings = Vec::new();
        check_trait("a.rs", "Device", at, &body, &mut findings);
        findings.len()
    }

    #[test]
    fn a_default_method_is_found_however_it_is_written() {
        assert_eq!(findings("pub trait Device: Send {\n    fn a(&self);\n}\n"), 0);
        assert_eq!(findings("pub trait Device: Send {\n    fn a(&self) {}\n}\n"), 1);
        assert_eq!(findings("pub trait Device {\n    fn a(&self) {\n        b()\n    }\n}\n"), 1);
        let long = "pub trait Device {\n    fn a(\n        &self,\n        b: u8,\n    )";
        assert_eq!(findings(&format!("{long} -> u8;\n}}\n")), 0);
        assert_eq!(findings(&format!("{long} -> u8 {{\n        b\n    }}\n}}\n")), 1);
        assert_eq!(findings("pub trait Device {\n}\n"), 1);
        let many = "    fn a(&self);\n".repeat(14);
        assert_eq!(findings(&format!("pub trait Device {{\n{many}}}\n")), 1);
    }

    #[test]
    fn a_contract_that_moved_is_missed() {
        assert!(body("pub trait DeviceLike {\n}\n", "Device").is_none());
        let texts = BTreeMap::from([("crates/machine/Cargo.toml".to_owned(), String::new())]);
        let mut findings = Vec::new();
        check(&texts, &mut findings);
        assert_eq!(findings.len(), CONTRACTS.len());
    }
}
