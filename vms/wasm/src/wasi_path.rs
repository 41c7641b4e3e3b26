//! Calls on files by path.

use crate::machine::Vm;
use crate::records::{File, FileKind};
use crate::root::ROOT;
use crate::wasi::{BYTES_MAX, Early, Result};
use crate::wasi_errno::{EXIST, INVAL, ISDIR, LOOP, MFILE, NOENT, NOTDIR, PERM, ROFS};
use crate::wasi_fd::{WRITE, decode, filestat, type_of};
use omni_machine::{FileType, FolderItem, FolderOp};

/// Bytes of a path.
pub(crate) const PATH_BYTES_MAX: u32 = 4096;

/// Files that are open at a time.
const FILES_MAX: usize = 4096;

/// Flags of `path_open`.
const CREATE: u64 = 1;
const FOLDER: u64 = 2;
const FRESH: u64 = 4;
const EMPTY: u64 = 8;

/// Bytes of an entry of `fd_readdir`, before its name.
const ENTRY_BYTES: usize = 24;

/// The path of something below an open folder, from the folder that was given. It may not lead
/// out of the open one.
fn below(base: &str, path: &str) -> Result<String> {
    if path.is_empty() {
        return Err(NOENT.into());
    }
    if path.starts_with('/') || path.contains('\0') {
        return Err(if path.contains('\0') { INVAL } else { PERM }.into());
    }
    let mut depth = 0i32;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return Err(PERM.into());
        }
    }
    Ok(if base.is_empty() { path.to_owned() } else { format!("{base}/{path}") })
}

impl Vm {
    /// The folder that was given, and the path from there, of a path below an open folder.
    fn path(&self, fd: u64, at: u64, count: u64) -> Result<(u32, String)> {
        let file = self.file(fd)?;
        if file.kind != FileKind::Folder {
            return Err(NOTDIR.into());
        }
        let text = self.text(at, count)?;
        let path = below(&file.path, &text)?;
        Ok(if file.folder == ROOT { self.below_root(&path) } else { (file.folder, path) })
    }

    /// Adds an open file, at the lowest number that is free.
    fn open(&mut self, file: File) -> Result<u32> {
        if self.system.files.len() >= FILES_MAX {
            return Err(MFILE.into());
        }
        let free = (0..).find(|fd| !self.system.files.contains_key(fd));
        let fd = free.ok_or(MFILE)?;
        self.system.files.insert(fd, file);
        Ok(fd)
    }
}

pub(crate) fn path_create_directory(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (folder, path) = vm.path(arguments[0], arguments[1], arguments[2])?;
    vm.ask(folder, FolderOp::MakeFolder { path }).map(|_| ())
}

pub(crate) fn path_remove_directory(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (folder, path) = vm.path(arguments[0], arguments[1], arguments[2])?;
    vm.ask(folder, FolderOp::RemoveFolder { path }).map(|_| ())
}

pub(crate) fn path_unlink_file(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (folder, path) = vm.path(arguments[0], arguments[1], arguments[2])?;
    vm.ask(folder, FolderOp::Remove { path }).map(|_| ())
}

pub(crate) fn path_filestat_get(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (folder, path) = vm.path(arguments[0], arguments[2], arguments[3])?;
    let stat = vm.stat(folder, path, arguments[1] & 1 != 0)?;
    vm.write(arguments[4], &filestat(type_of(stat.kind), Some(&stat)))
}

pub(crate) fn path_filestat_set_times(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (folder, path) = vm.path(arguments[0], arguments[2], arguments[3])?;
    let (read, written) = vm.times(&arguments[4..7])?;
    let follow = arguments[1] & 1 != 0;
    vm.ask(folder, FolderOp::SetTimes { path, read, written, follow }).map(|_| ())
}

pub(crate) fn path_link(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (folder, path) = vm.path(arguments[0], arguments[2], arguments[3])?;
    let (to_folder, to) = vm.path(arguments[4], arguments[5], arguments[6])?;
    if arguments[1] & 1 != 0 {
        return Err(INVAL.into());
    }
    vm.ask(folder, FolderOp::Link { path, to_folder, to }).map(|_| ())
}

pub(crate) fn path_rename(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (folder, path) = vm.path(arguments[0], arguments[1], arguments[2])?;
    let (to_folder, to) = vm.path(arguments[3], arguments[4], arguments[5])?;
    vm.ask(folder, FolderOp::Rename { path, to_folder, to }).map(|_| ())
}

pub(crate) fn path_symlink(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let target = vm.text(arguments[0], arguments[1])?;
    let (folder, path) = vm.path(arguments[2], arguments[3], arguments[4])?;
    if target.starts_with('/') {
        return Err(PERM.into());
    }
    vm.ask(folder, FolderOp::Symlink { target, path }).map(|_| ())
}

pub(crate) fn path_readlink(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (folder, path) = vm.path(arguments[0], arguments[1], arguments[2])?;
    let (to, room, told) = (arguments[3], arguments[4], arguments[5]);
    let said = vm.ask(folder, FolderOp::ReadLink { path })?;
    let count = said.len().min(usize::try_from(room).unwrap_or(usize::MAX));
    vm.write(to, &said[..count])?;
    vm.write_u32(told, u32::try_from(count).unwrap_or(u32::MAX))
}

pub(crate) fn path_open(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (folder, path) = vm.path(arguments[0], arguments[2], arguments[3])?;
    let (follow, how) = (arguments[1] & 1 != 0, arguments[4]);
    let parent = vm.file(arguments[0])?.rights;
    let rights = (arguments[5] & parent.1, arguments[6] & parent.1);
    let flags = u16::try_from(arguments[7]).ok().filter(|flags| *flags < 32).ok_or(INVAL)?;
    vm.can_write(arguments[8], 4)?;
    if rights.0 & WRITE != 0 && vm.is_single(folder) {
        return Err(ROFS.into());
    }
    let kind = match vm.stat(folder, path.clone(), follow && how & FRESH == 0) {
        Ok(_) if how & CREATE != 0 && how & FRESH != 0 => return Err(EXIST.into()),
        Ok(stat) => match stat.kind {
            FileType::Symlink => return Err(LOOP.into()),
            FileType::Folder if rights.0 & WRITE != 0 && how & FOLDER == 0 => {
                return Err(ISDIR.into());
            }
            FileType::Folder => FileKind::Folder,
            FileType::Plain | FileType::Other if how & FOLDER != 0 => return Err(NOTDIR.into()),
            FileType::Plain | FileType::Other => {
                if how & EMPTY != 0 {
                    vm.ask(folder, FolderOp::SetSize { path: path.clone(), size: 0 })?;
                }
                FileKind::Plain
            }
        },
        Err(Early::Errno(NOENT)) if how & CREATE != 0 && how & FOLDER == 0 => {
            let fresh = how & FRESH != 0;
            vm.ask(folder, FolderOp::Create { path: path.clone(), fresh })?;
            FileKind::Plain
        }
        Err(other) => return Err(other),
    };
    let file = File { kind, folder, given: false, path, offset: 0, flags, rights };
    let fd = vm.open(file)?;
    vm.write_u32(arguments[8], fd)
}

pub(crate) fn fd_readdir(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (to, room, cookie, told) = (arguments[1], arguments[2], arguments[3], arguments[4]);
    let file = vm.file(arguments[0])?.clone();
    if file.kind != FileKind::Folder {
        return Err(NOTDIR.into());
    }
    vm.can_write(to, room)?;
    let room = usize::try_from(room.min(BYTES_MAX.into())).map_err(|_| INVAL)?;
    let path = if file.path.is_empty() { ".".to_owned() } else { file.path };
    let answer = vm.ask(file.folder, FolderOp::List { path })?;
    let listed: Vec<FolderItem> = decode(&answer)?;
    let dots = [".", ".."].map(|name| FolderItem {
        name: name.to_owned(),
        kind: FileType::Folder,
        inode: 0,
    });
    let mut bytes = Vec::new();
    let skip = usize::try_from(cookie).map_err(|_| INVAL)?;
    for (nth, item) in dots.iter().chain(&listed).enumerate().skip(skip) {
        if bytes.len() >= room {
            break;
        }
        let mut entry = [0; ENTRY_BYTES];
        entry[..8].copy_from_slice(&(nth as u64 + 1).to_le_bytes());
        entry[8..16].copy_from_slice(&item.inode.to_le_bytes());
        let length = u32::try_from(item.name.len()).map_err(|_| INVAL)?;
        entry[16..20].copy_from_slice(&length.to_le_bytes());
        entry[20] = type_of(item.kind);
        bytes.extend(entry);
        bytes.extend(item.name.as_bytes());
    }
    // An entry that is cut tells that there is more.
    bytes.truncate(room);
    vm.write(to, &bytes)?;
    vm.write_u32(told, u32::try_from(bytes.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_does_not_lead_out_of_its_folder() {
        for (base, path) in [("", ".."), ("a", "../b"), ("a", "b/../../c"), ("", "/etc/passwd")] {
            assert!(matches!(below(base, path), Err(Early::Errno(PERM))), "{path}");
        }
        assert_eq!(below("a", "b/../c").ok().as_deref(), Some("a/b/../c"));
        assert!(below("", "").is_err() && below("", "a\0b").is_err());
    }
}
