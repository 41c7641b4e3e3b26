//! All checks in one pass over the tree.

use crate::ratchet::Ratchet;
use crate::{contracts, layers, text, tree};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What is not as it should be, one line each, with the place.
pub(crate) fn findings(root: &Path) -> Vec<String> {
    let mut texts = BTreeMap::new();
    for (name, path) in tree::files(root) {
        // What is not text is none of ours to read.
        if let Ok(content) = fs::read_to_string(path) {
            texts.insert(name, content);
        }
    }
    check(&texts)
}

/// The check of a tree that is given as a map from path to content.
fn check(texts: &BTreeMap<String, String>) -> Vec<String> {
    let mut findings = Vec::new();
    let list = texts.get("xtask/ratchet.txt").map_or("", String::as_str);
    let mut ratchet = Ratchet::new(list);
    for (name, content) in texts {
        if name.ends_with("Cargo.toml") {
            layers::check(name, content, &mut findings);
        } else if name.ends_with(".rs") {
            text::check(name, content, &mut ratchet, &mut findings);
            dead_file(name, texts, &mut findings);
        }
    }
    contracts::check(texts, &mut findings);
    ratchet.finish(&mut findings);
    findings
}

/// A source file that no module names is never compiled.
fn dead_file(name: &str, texts: &BTreeMap<String, String>, findings: &mut Vec<String>) {
    let Some((home, inside)) = name.split_once("/src/") else { return };
    let stem = inside.trim_end_matches(".rs").trim_end_matches("/mod");
    let module = stem.rsplit('/').next().unwrap_or(stem);
    if ["lib", "main"].contains(&inside.trim_end_matches(".rs")) || inside.starts_with("bin/") {
        return;
    }
    let declared = |text: &String| {
        let named = |line: &str| {
            let words: Vec<_> = line.trim().trim_end_matches(';').split(' ').collect();
            words.contains(&"mod") && words.last() == Some(&module)
        };
        text.lines().any(named) || text.contains(&format!("{module}.rs\""))
    };
    let home = format!("{home}/src/");
    let mut sources = texts.range(home.clone()..).take_while(|(path, _)| path.starts_with(&home));
    if !sources.any(|(path, text)| path != name && declared(text)) {
        findings.push(format!("{name}: no `mod {module};` names this file"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let findings = findings(crate::root());
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    #[test]
    fn a_file_that_no_module_names_is_found() {
        let file = |name: &str, text: &str| (name.to_owned(), format!("//! A.\n{text}"));
        let tree = |head: &str| {
            let lib = "//! Architecture invariant: none.\n";
            let texts = [
                file("crates/x/src/lib.rs", &format!("{lib}{head}")),
                file("crates/x/src/a.rs", "pub(crate) mod b;\n"),
                file("crates/x/src/a/b.rs", ""),
            ];
            let findings = check(&BTreeMap::from(texts));
            findings.into_iter().filter(|finding| finding.contains("mod ")).count()
        };
        assert_eq!(tree("mod a;\n"), 0);
        assert_eq!(tree(""), 1);
    }
}
