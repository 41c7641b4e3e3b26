//! Calls on open files.

use crate::machine::{CONSOLE, ERRORS, Vm};
use crate::records::{File, FileKind, Wait};
use crate::wasi::{Early, Result};
use crate::wasi_errno::{AGAIN, BADF, INVAL, ISDIR, NOTDIR, NOTSOCK, NOTSUP, SPIPE};
use omni_machine::{FileStat, FileType, FolderOp};
use omni_state::{Field, Reader};

/// Flags of an open file.
const APPEND: u16 = 1;
const NONBLOCK: u16 = 4;

/// All rights of preview 1.
pub(crate) const ALL_RIGHTS: u64 = (1 << 30) - 1;

/// Rights to seek and to tell, which a terminal has not.
const SEEK_AND_TELL: u64 = 1 << 2 | 1 << 5;

/// The right to read, and that to write.
pub(crate) const READ: u64 = 1 << 1;
pub(crate) const WRITE: u64 = 1 << 6;

/// Types of files.
const UNKNOWN: u8 = 0;
const CHARACTER_DEVICE: u8 = 2;
const DIRECTORY: u8 = 3;
const REGULAR: u8 = 4;
const SYMBOLIC_LINK: u8 = 7;

/// The number of preview 1 for a type of file.
pub(crate) fn type_of(kind: FileType) -> u8 {
    match kind {
        FileType::Other => UNKNOWN,
        FileType::Folder => DIRECTORY,
        FileType::Plain => REGULAR,
        FileType::Symlink => SYMBOLIC_LINK,
    }
}

/// What an answer of the host says.
pub(crate) fn decode<T: Field>(bytes: &[u8]) -> Result<T> {
    T::get(&mut Reader(bytes)).map_err(|_| crate::wasi_errno::IO.into())
}

impl Vm {
    /// An open file.
    pub(crate) fn file(&self, fd: u64) -> Result<&File> {
        let fd = u32::try_from(fd).map_err(|_| BADF)?;
        self.system.files.get(&fd).ok_or(Early::Errno(BADF))
    }

    fn file_mut(&mut self, fd: u64) -> Result<&mut File> {
        let fd = u32::try_from(fd).map_err(|_| BADF)?;
        self.system.files.get_mut(&fd).ok_or(Early::Errno(BADF))
    }

    /// A file of the host's that is open.
    fn plain(&self, fd: u64) -> Result<File> {
        let file = self.file(fd)?;
        match file.kind {
            FileKind::Plain => Ok(file.clone()),
            FileKind::Folder => Err(ISDIR.into()),
            FileKind::Input | FileKind::Output | FileKind::Errors => Err(SPIPE.into()),
        }
    }

    pub(crate) fn stat(&mut self, folder: u32, path: String, follow: bool) -> Result<FileStat> {
        let answer = self.ask(folder, FolderOp::Stat { path, follow })?;
        decode(&answer)
    }

    /// Reads a file of the host's into buffers.
    fn read_file(&mut self, file: File, at: u64, arguments: [u64; 3]) -> Result<u64> {
        if file.rights.0 & READ == 0 {
            return Err(BADF.into());
        }
        let [buffers, count, told] = arguments;
        let buffers = self.buffers(buffers, count)?;
        self.can_write(told, 4)?;
        let count = buffers.iter().map(|(_, size)| size).sum();
        let bytes = self.ask(file.folder, FolderOp::Read { path: file.path, at, count })?;
        let bytes = &bytes[..bytes.len().min(count as usize)];
        self.scatter(&buffers, bytes)?;
        self.write_u32(told, u32::try_from(bytes.len()).unwrap_or(u32::MAX))?;
        Ok(bytes.len() as u64)
    }

    /// Writes a file of the host's from buffers; gives where it ends.
    fn write_file(&mut self, file: File, at: Option<u64>, arguments: [u64; 3]) -> Result<u64> {
        if file.rights.0 & WRITE == 0 {
            return Err(BADF.into());
        }
        let [buffers, count, told] = arguments;
        let bytes = self.gather(buffers, count)?;
        self.can_write(told, 4)?;
        let at = match at {
            Some(at) => at,
            None => self.stat(file.folder, file.path.clone(), true)?.size,
        };
        let count = bytes.len() as u64;
        self.ask(file.folder, FolderOp::Write { path: file.path, at, bytes })?;
        self.write_u32(told, u32::try_from(count).unwrap_or(u32::MAX))?;
        Ok(at.saturating_add(count))
    }
}

pub(crate) fn fd_read(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (fd, buffers, count, told) = (arguments[0], arguments[1], arguments[2], arguments[3]);
    let file = vm.file(fd)?.clone();
    match file.kind {
        FileKind::Input => {
            let buffers = vm.buffers(buffers, count)?;
            vm.can_write(told, 4)?;
            let room: u32 = buffers.iter().map(|(_, size)| size).sum();
            if vm.system.typed.is_empty() && !vm.system.closed && room > 0 {
                let wait = Early::Wait(Wait::Input);
                return Err(if file.flags & NONBLOCK != 0 { AGAIN.into() } else { wait });
            }
            let count = vm.system.typed.len().min(room as usize);
            let bytes: Vec<u8> = vm.system.typed.drain(..count).collect();
            vm.scatter(&buffers, &bytes)?;
            vm.write_u32(told, u32::try_from(count).unwrap_or(u32::MAX))
        }
        FileKind::Output | FileKind::Errors => Err(BADF.into()),
        FileKind::Folder => Err(ISDIR.into()),
        FileKind::Plain => {
            let at = file.offset;
            let count = vm.read_file(file, at, [buffers, count, told])?;
            vm.file_mut(fd)?.offset = at.saturating_add(count);
            Ok(())
        }
    }
}

pub(crate) fn fd_pread(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.plain(arguments[0])?;
    let wanted = [arguments[1], arguments[2], arguments[4]];
    vm.read_file(file, arguments[3], wanted).map(|_| ())
}

pub(crate) fn fd_write(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let (fd, buffers, count, told) = (arguments[0], arguments[1], arguments[2], arguments[3]);
    let file = vm.file(fd)?.clone();
    let port = match file.kind {
        FileKind::Output => CONSOLE,
        FileKind::Errors => ERRORS,
        FileKind::Input => return Err(BADF.into()),
        FileKind::Folder => return Err(ISDIR.into()),
        FileKind::Plain => {
            let at = (file.flags & APPEND == 0).then_some(file.offset);
            let end = vm.write_file(file, at, [buffers, count, told])?;
            vm.file_mut(fd)?.offset = end;
            return Ok(());
        }
    };
    let bytes = vm.gather(buffers, count)?;
    vm.write_u32(told, u32::try_from(bytes.len()).unwrap_or(u32::MAX))?;
    vm.put(port, bytes);
    Ok(())
}

pub(crate) fn fd_pwrite(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.plain(arguments[0])?;
    let wanted = [arguments[1], arguments[2], arguments[4]];
    vm.write_file(file, Some(arguments[3]), wanted).map(|_| ())
}

pub(crate) fn fd_advise(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    vm.plain(arguments[0])?;
    if arguments[3] > 5 { Err(INVAL.into()) } else { Ok(()) }
}

pub(crate) fn fd_allocate(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.plain(arguments[0])?;
    let end = arguments[1].checked_add(arguments[2]).ok_or(INVAL)?;
    let size = vm.stat(file.folder, file.path.clone(), true)?.size;
    if size < end {
        vm.ask(file.folder, FolderOp::SetSize { path: file.path, size: end })?;
    }
    Ok(())
}

pub(crate) fn fd_close(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    vm.file(arguments[0])?;
    vm.system.files.remove(&(arguments[0] as u32));
    Ok(())
}

pub(crate) fn fd_sync(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.file(arguments[0])?.clone();
    match file.kind {
        FileKind::Plain | FileKind::Folder => {
            vm.ask(file.folder, FolderOp::Sync { path: file.path })?;
            Ok(())
        }
        FileKind::Input | FileKind::Output | FileKind::Errors => Err(INVAL.into()),
    }
}

pub(crate) fn fd_fdstat_get(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.file(arguments[0])?;
    let (mut rights, below) = file.rights;
    let kind = match file.kind {
        FileKind::Folder => DIRECTORY,
        FileKind::Plain => REGULAR,
        // Libraries take what is a device and cannot seek for a terminal.
        FileKind::Input | FileKind::Output | FileKind::Errors => {
            rights &= !SEEK_AND_TELL;
            if vm.echo { CHARACTER_DEVICE } else { UNKNOWN }
        }
    };
    let mut bytes = [0; 24];
    bytes[0] = kind;
    bytes[2..4].copy_from_slice(&file.flags.to_le_bytes());
    bytes[8..16].copy_from_slice(&rights.to_le_bytes());
    bytes[16..24].copy_from_slice(&below.to_le_bytes());
    vm.write(arguments[1], &bytes)
}

pub(crate) fn fd_fdstat_set_flags(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let flags = u16::try_from(arguments[1]).ok().filter(|flags| *flags < 32).ok_or(INVAL)?;
    let file = vm.file_mut(arguments[0])?;
    file.flags = flags;
    Ok(())
}

pub(crate) fn fd_fdstat_set_rights(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.file_mut(arguments[0])?;
    let (own, below) = (arguments[1], arguments[2]);
    // Rights can be given up, and not be had again.
    if own & !file.rights.0 != 0 || below & !file.rights.1 != 0 {
        return Err(crate::wasi_errno::PERM.into());
    }
    file.rights = (own, below);
    Ok(())
}

/// What is told of a file, as preview 1 has it.
pub(crate) fn filestat(kind: u8, stat: Option<&FileStat>) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[16] = kind;
    let Some(stat) = stat else { return bytes };
    let [read, written, changed] = stat.times;
    let words = [(0, stat.device), (8, stat.inode), (24, stat.links), (32, stat.size)];
    for (at, word) in words.into_iter().chain([(40, read), (48, written), (56, changed)]) {
        bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

pub(crate) fn fd_filestat_get(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.file(arguments[0])?.clone();
    let bytes = match file.kind {
        FileKind::Plain | FileKind::Folder => {
            let stat = vm.stat(file.folder, file.path, true)?;
            filestat(type_of(stat.kind), Some(&stat))
        }
        FileKind::Input | FileKind::Output | FileKind::Errors => {
            filestat(if vm.echo { CHARACTER_DEVICE } else { UNKNOWN }, None)
        }
    };
    vm.write(arguments[1], &bytes)
}

pub(crate) fn fd_filestat_set_size(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.plain(arguments[0])?;
    if file.rights.0 & WRITE == 0 {
        return Err(INVAL.into());
    }
    vm.ask(file.folder, FolderOp::SetSize { path: file.path, size: arguments[1] })?;
    Ok(())
}

impl Vm {
    /// The times to set, by the flags of preview 1.
    pub(crate) fn times(&self, given: &[u64]) -> Result<(Option<u64>, Option<u64>)> {
        let (read, written, flags) = (given[0], given[1], given[2]);
        if flags & 3 == 3 || flags & 12 == 12 {
            return Err(INVAL.into());
        }
        let now = self.clock(0)?;
        let pick = |set: bool, to_now: bool, time: u64| match (set, to_now) {
            (true, _) => Some(time),
            (_, true) => Some(now),
            _ => None,
        };
        let read = pick(flags & 1 != 0, flags & 2 != 0, read);
        Ok((read, pick(flags & 4 != 0, flags & 8 != 0, written)))
    }
}

pub(crate) fn fd_filestat_set_times(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.file(arguments[0])?.clone();
    let (read, written) = vm.times(&arguments[1..4])?;
    match file.kind {
        FileKind::Plain | FileKind::Folder => {
            let op = FolderOp::SetTimes { path: file.path, read, written, follow: true };
            vm.ask(file.folder, op).map(|_| ())
        }
        FileKind::Input | FileKind::Output | FileKind::Errors => Err(NOTSUP.into()),
    }
}

pub(crate) fn fd_prestat_get(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.file(arguments[0])?;
    if !file.given {
        return Err(BADF.into());
    }
    let name = vm.folder_name(file.folder).ok_or(BADF)?;
    let size = u32::try_from(name.len()).map_err(|_| INVAL)?;
    vm.write_u32(arguments[1], 0)?;
    vm.write_u32(arguments[1] + 4, size)
}

pub(crate) fn fd_prestat_dir_name(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.file(arguments[0])?;
    if !file.given {
        return Err(NOTDIR.into());
    }
    let name = vm.folder_name(file.folder).ok_or(BADF)?.to_owned();
    if (name.len() as u64) > arguments[2] {
        return Err(crate::wasi_errno::NAMETOOLONG.into());
    }
    vm.write(arguments[1], name.as_bytes())
}

pub(crate) fn fd_renumber(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    vm.file(arguments[1])?;
    vm.file(arguments[0])?;
    let file = vm.system.files.remove(&(arguments[0] as u32)).ok_or(BADF)?;
    vm.system.files.insert(arguments[1] as u32, file);
    Ok(())
}

pub(crate) fn fd_seek(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let file = vm.plain(arguments[0])?;
    let by = arguments[1].cast_signed();
    let from = match arguments[2] {
        0 => 0,
        1 => file.offset,
        2 => vm.stat(file.folder, file.path, true)?.size,
        _ => return Err(INVAL.into()),
    };
    let at = from.checked_add_signed(by).filter(|at| *at <= i64::MAX as u64).ok_or(INVAL)?;
    vm.write_u64(arguments[3], at)?;
    vm.file_mut(arguments[0])?.offset = at;
    Ok(())
}

pub(crate) fn fd_tell(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    let at = vm.plain(arguments[0])?.offset;
    vm.write_u64(arguments[1], at)
}

/// No socket can be open, as none was given.
pub(crate) fn sock_refused(vm: &mut Vm, arguments: &[u64]) -> Result<()> {
    vm.file(arguments[0])?;
    Err(NOTSOCK.into())
}
