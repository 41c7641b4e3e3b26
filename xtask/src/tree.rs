//! The files of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that are not looked into.
const SKIPPED: &[&str] = &["target", "fuzz", "corpus"];

/// Every file of the tree, by its path from the root, in order.
pub(crate) fn files(root: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let hidden = name.starts_with('.') && ![".cargo", ".ci"].contains(&name);
            if path.is_dir() && !hidden && !SKIPPED.contains(&name) {
                todo.push(path);
            } else if path.is_file() {
                let short = path.strip_prefix(root).expect("a file of the tree");
                found.push((short.display().to_string(), path));
            }
        }
    }
    found.sort();
    found
}
