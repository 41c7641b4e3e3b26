//! One folder, `/`, below which all folders of the host are that a program was given.
//!
//! A program that saw its folders before it was saved sees others when it goes on: which there are
//! is looked up by each call, and not kept by the program.

use crate::machine::Vm;
use crate::wasi::Result;
use crate::wasi_errno::{NOENT, NOTDIR, PERM, ROFS};
use omni_machine::{FileStat, FileType, FolderItem, FolderOp};
use omni_state::{Field, Writer};
use std::collections::BTreeSet;

/// The number of the folder that all others are below.
pub(crate) const ROOT: u32 = u32::MAX - 1;

/// The file that takes everything and has nothing, which interpreters ask for.
const NULL: [&str; 2] = ["dev", "null"];

/// The parts of a path that lead somewhere: none for `/`, `.` and the empty one.
fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts
}

/// Which of the folders of these names a path below the root is in, and the path from there.
fn within(folders: &[String], path: &str) -> Option<(u32, String)> {
    let path = parts(path);
    let of = |name: &String| {
        let own = parts(name);
        path.starts_with(&own).then(|| path[own.len()..].to_vec())
    };
    let found = (0..).zip(folders).filter_map(|(nth, name)| Some((nth, of(name)?)));
    // The innermost; of two that are the same, the first.
    let (nth, rest) = found.min_by_key(|(_, rest)| rest.len())?;
    Some((nth, if rest.is_empty() { ".".to_owned() } else { rest.join("/") }))
}

/// What is right below a path that is above some folders, and in none.
fn between(folders: &[String], path: &str) -> BTreeSet<String> {
    let path = parts(path);
    let next = |name: &String| Some((*parts(name).strip_prefix(&path[..])?.first()?).to_owned());
    folders.iter().filter_map(next).collect()
}

fn encoded(value: &impl Field) -> Vec<u8> {
    let mut out = Writer::default();
    value.put(&mut out);
    out.0
}

/// The answer to a request about the file that takes everything and has nothing.
#[allow(clippy::wildcard_enum_match_arm, reason = "nothing else is done to a file that is open")]
fn null(op: &FolderOp) -> Result<Vec<u8>> {
    match op {
        FolderOp::Stat { .. } => {
            let kind = FileType::Other;
            Ok(encoded(&FileStat { kind, size: 0, links: 1, inode: 1, device: 0, times: [0; 3] }))
        }
        FolderOp::Read { .. } | FolderOp::Write { .. } | FolderOp::SetSize { .. } => Ok(Vec::new()),
        _ => Err(NOTDIR.into()),
    }
}

impl Vm {
    /// The name of a folder that was given.
    pub(crate) fn folder_name(&self, folder: u32) -> Option<&str> {
        if folder == ROOT {
            return Some("/");
        }
        self.folders.get(folder as usize).map(String::as_str)
    }

    /// The folder that was given, and the path from there, of a path below the root.
    pub(crate) fn below_root(&self, path: &str) -> (u32, String) {
        if parts(path) == NULL {
            return (ROOT, path.to_owned());
        }
        let single = self.files.chunks_exact(2).position(|file| parts(&file[0]) == parts(path));
        let single = single.and_then(|nth| {
            let folder = u32::try_from(self.folders.len() + nth).ok()?;
            Some((folder, self.files[2 * nth + 1].clone()))
        });
        let found = single.or_else(|| within(&self.folders, path));
        found.unwrap_or_else(|| (ROOT, path.to_owned()))
    }

    /// Whether a folder is known for one of its files alone.
    pub(crate) fn is_single(&self, folder: u32) -> bool {
        folder != ROOT && folder as usize >= self.folders.len()
    }

    /// Refuses what is more than to read a file that is given alone, or is about another one of its
    /// folder.
    #[allow(clippy::wildcard_enum_match_arm, reason = "all else writes, or lists others")]
    pub(crate) fn check_single(&self, folder: u32, op: &FolderOp) -> Result<()> {
        let Some(nth) = (folder as usize).checked_sub(self.folders.len()) else { return Ok(()) };
        let own = self.files.get(2 * nth + 1);
        match op {
            FolderOp::Stat { path, .. } | FolderOp::Read { path, .. } if own == Some(path) => {
                Ok(())
            }
            _ => Err(ROFS.into()),
        }
    }

    /// The answer to a request about what is above the folders that were given: nothing of the
    /// host, and so nothing to wait for.
    pub(crate) fn ask_root(&self, op: &FolderOp) -> Result<Vec<u8>> {
        let (FolderOp::Stat { path, .. }
        | FolderOp::List { path }
        | FolderOp::Read { path, .. }
        | FolderOp::Write { path, .. }
        | FolderOp::SetSize { path, .. }) = op
        else {
            return Err(PERM.into());
        };
        if parts(path) == NULL {
            return null(op);
        }
        if !matches!(op, FolderOp::Stat { .. } | FolderOp::List { .. }) {
            return Err(PERM.into());
        }
        let mut names = between(&self.folders, path);
        // The folders that a file is below; of the file itself it is not told that it is there.
        let files = self.files.chunks_exact(2).filter_map(|file| Some(file[0].rsplit_once('/')?.0));
        names.extend(between(&files.map(str::to_owned).collect::<Vec<_>>(), path));
        if names.is_empty() && !parts(path).is_empty() {
            return Err(NOENT.into());
        }
        let kind = FileType::Folder;
        if matches!(op, FolderOp::Stat { .. }) {
            let stat = FileStat { kind, size: 0, links: 1, inode: 0, device: 0, times: [0; 3] };
            return Ok(encoded(&stat));
        }
        let items = names.into_iter().map(|name| FolderItem { name, kind, inode: 0 });
        Ok(encoded(&items.collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_given_alone_is_read_and_nothing_beside_it() {
        let mut spec = omni_machine::Spec::new("wasm");
        spec.files.insert("image".into(), b"(module (func (export \"_start\")))"[..].into());
        spec.options.insert("root".into(), "true".into());
        spec.options.insert("folders".into(), ".".into());
        spec.options.insert("files".into(), "/src/x.pl\0real.pl".into());
        let vm = crate::kind::created(&spec).expect("sound");
        assert_eq!(vm.below_root("src/./x.pl"), (1, "real.pl".into()));
        assert_eq!(vm.below_root("src/y.pl"), (0, "src/y.pl".into()));
        let op = |path: &str| FolderOp::Stat { path: path.into(), follow: true };
        assert!(vm.check_single(0, &op("any")).is_ok());
        assert!(vm.check_single(1, &op("real.pl")).is_ok());
        assert!(vm.check_single(1, &op("other")).is_err());
        assert!(vm.check_single(2, &op("real.pl")).is_err());
        let write = FolderOp::SetSize { path: "real.pl".into(), size: 0 };
        assert!(vm.check_single(1, &write).is_err());
        assert_eq!(vm.below_root("/dev/null").0, ROOT);
        spec.options.insert("files".into(), "/src/x.pl".into());
        assert!(crate::kind::created(&spec).is_err(), "a path without a name");
    }

    #[test]
    fn a_path_below_the_root_is_in_the_innermost_folder_that_has_it() {
        let folders = ["/data", ".", "/data/in", "/mnt/x"].map(str::to_owned);
        let at = |path| within(&folders, path).expect("there");
        assert_eq!(at("data/in/f"), (2, "f".into()));
        assert_eq!(at("data/f"), (0, "f".into()));
        assert_eq!(at("data"), (0, ".".into()));
        assert_eq!(at("datas/f"), (1, "datas/f".into()));
        assert_eq!(at("a/../data/./in"), (2, ".".into()));
        assert_eq!(at("../../data/.."), (1, ".".into()));
        let far = ["/mnt/x".to_owned()];
        assert_eq!(within(&far, "mnt"), None);
        assert_eq!(between(&far, "/"), BTreeSet::from(["mnt".to_owned()]));
        assert_eq!(between(&far, "mnt"), BTreeSet::from(["x".to_owned()]));
        assert!(between(&far, "mnt/y").is_empty());
    }
}
