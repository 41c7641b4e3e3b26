//! WASI preview 1: the table of its calls, and how they reach the program's memory.
//!
//! A call that has to wait is run again, from its start, once what it waits for has come: so it
//! changes nothing before it has all that it needs. Answers to its requests are kept until it ends.

use crate::machine::Vm;
use crate::records::Wait;
use crate::root::ROOT;
use crate::types::{Signature, Value};
use crate::wasi_errno::{FAULT, ILSEQ, INVAL, NAMETOOLONG, OVERFLOW, of_host};
use crate::{wasi_fd, wasi_path, wasi_poll, wasi_process};
use omni_base::Gpa;
use omni_machine::{Effect, FolderOp, IoId, IoOp, IoRequest, PortId};

/// The port of the folders that were given.
pub(crate) const FOLDERS: PortId = PortId(2);

/// The name that modules import the system by.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// Bytes that one call reads or writes, at most.
pub(crate) const BYTES_MAX: u32 = 1 << 20;

/// Buffers of one call.
const BUFFERS_MAX: u32 = 1024;

/// How a call went.
pub(crate) enum Outcome {
    /// It is done, with this result where it has one.
    Done(Option<u64>),
    /// It has to wait.
    Wait(Wait),
    /// The program ends.
    Exit(u64),
    /// It was called in a way that has no meaning.
    Trap,
}

/// Why a call did not come to its end.
pub(crate) enum Early {
    Errno(u16),
    Wait(Wait),
    Exit(u64),
    Trap,
}

impl From<u16> for Early {
    fn from(errno: u16) -> Self {
        Self::Errno(errno)
    }
}

pub(crate) type Result<T> = std::result::Result<T, Early>;

/// One call: its arguments are in slots.
pub(crate) type Call = fn(&mut Vm, &[u64]) -> Result<()>;

/// The calls: name, parameters (`i` for 32 bits, `I` for 64), what they do.
pub(crate) const CALLS: &[(&str, &str, Call)] = &[
    ("args_get", "ii", wasi_process::args_get),
    ("args_sizes_get", "ii", wasi_process::args_sizes_get),
    ("environ_get", "ii", wasi_process::environ_get),
    ("environ_sizes_get", "ii", wasi_process::environ_sizes_get),
    ("clock_res_get", "ii", wasi_process::clock_res_get),
    ("clock_time_get", "iIi", wasi_process::clock_time_get),
    ("fd_advise", "iIIi", wasi_fd::fd_advise),
    ("fd_allocate", "iII", wasi_fd::fd_allocate),
    ("fd_close", "i", wasi_fd::fd_close),
    ("fd_datasync", "i", wasi_fd::fd_sync),
    ("fd_fdstat_get", "ii", wasi_fd::fd_fdstat_get),
    ("fd_fdstat_set_flags", "ii", wasi_fd::fd_fdstat_set_flags),
    ("fd_fdstat_set_rights", "iII", wasi_fd::fd_fdstat_set_rights),
    ("fd_filestat_get", "ii", wasi_fd::fd_filestat_get),
    ("fd_filestat_set_size", "iI", wasi_fd::fd_filestat_set_size),
    ("fd_filestat_set_times", "iIIi", wasi_fd::fd_filestat_set_times),
    ("fd_pread", "iiiIi", wasi_fd::fd_pread),
    ("fd_prestat_get", "ii", wasi_fd::fd_prestat_get),
    ("fd_prestat_dir_name", "iii", wasi_fd::fd_prestat_dir_name),
    ("fd_pwrite", "iiiIi", wasi_fd::fd_pwrite),
    ("fd_read", "iiii", wasi_fd::fd_read),
    ("fd_readdir", "iiiIi", wasi_path::fd_readdir),
    ("fd_renumber", "ii", wasi_fd::fd_renumber),
    ("fd_seek", "iIii", wasi_fd::fd_seek),
    ("fd_sync", "i", wasi_fd::fd_sync),
    ("fd_tell", "ii", wasi_fd::fd_tell),
    ("fd_write", "iiii", wasi_fd::fd_write),
    ("path_create_directory", "iii", wasi_path::path_create_directory),
    ("path_filestat_get", "iiiii", wasi_path::path_filestat_get),
    ("path_filestat_set_times", "iiiiIIi", wasi_path::path_filestat_set_times),
    ("path_link", "iiiiiii", wasi_path::path_link),
    ("path_open", "iiiiiIIii", wasi_path::path_open),
    ("path_readlink", "iiiiii", wasi_path::path_readlink),
    ("path_remove_directory", "iii", wasi_path::path_remove_directory),
    ("path_rename", "iiiiii", wasi_path::path_rename),
    ("path_symlink", "iiiii", wasi_path::path_symlink),
    ("path_unlink_file", "iii", wasi_path::path_unlink_file),
    ("poll_oneoff", "iiii", wasi_poll::poll_oneoff),
    ("proc_exit", "i", wasi_process::proc_exit),
    ("proc_raise", "i", wasi_process::proc_raise),
    ("sched_yield", "", wasi_process::sched_yield),
    ("random_get", "ii", wasi_process::random_get),
    ("sock_accept", "iii", wasi_fd::sock_refused),
    ("sock_recv", "iiiiii", wasi_fd::sock_refused),
    ("sock_send", "iiiii", wasi_fd::sock_refused),
    ("sock_shutdown", "ii", wasi_fd::sock_refused),
];

/// The signature of a call.
pub(crate) fn signature(name: &str, params: &str) -> Signature {
    let value = |letter: char| if letter == 'I' { Value::I64 } else { Value::I32 };
    let results = if name == "proc_exit" { vec![] } else { vec![Value::I32] };
    Signature { params: params.chars().map(value).collect(), results }
}

/// Runs a call.
pub(crate) fn call(vm: &mut Vm, host: u32, arguments: &[u64]) -> Outcome {
    let Some((name, _, run)) = CALLS.get(host as usize) else { return Outcome::Trap };
    vm.answers_used = 0;
    match run(vm, arguments) {
        Ok(()) if *name == "proc_exit" => Outcome::Done(None),
        Ok(()) => Outcome::Done(Some(0)),
        Err(Early::Errno(errno)) => Outcome::Done(Some(errno.into())),
        Err(Early::Wait(wait)) => Outcome::Wait(wait),
        Err(Early::Exit(code)) => Outcome::Exit(code),
        Err(Early::Trap) => Outcome::Trap,
    }
}

impl Vm {
    /// The answer to the next request of the present call, which is made where it was not yet.
    pub(crate) fn ask(&mut self, folder: u32, op: FolderOp) -> Result<Vec<u8>> {
        if folder == ROOT {
            return self.ask_root(&op);
        }
        self.check_single(folder, &op)?;
        let nth = self.answers_used;
        self.answers_used += 1;
        if let Some(answer) = self.system.answers.get(nth) {
            return answer.0.clone().map_err(|code| Early::Errno(of_host(code)));
        }
        let id = self.system.next_io;
        self.system.next_io += 1;
        let op = IoOp::Folder { folder, op };
        self.system.asked = Some(op.clone());
        self.out.push(Effect::Io(IoRequest { id: IoId(id), port: FOLDERS, op }));
        Err(Early::Wait(Wait::Answer { id }))
    }

    /// The place of bytes of the program's memory, if they are in it.
    fn place(&self, at: u64, count: u64) -> Result<(usize, Gpa)> {
        let memory = self.system_memory.ok_or(Early::Trap)?;
        let end = at.checked_add(count).ok_or(FAULT)?;
        if end > self.store.memory_bytes(memory) {
            return Err(FAULT.into());
        }
        Ok((memory as usize, Gpa(at)))
    }

    /// Reads bytes of the program's memory.
    pub(crate) fn read(&self, at: u64, count: u32) -> Result<Vec<u8>> {
        let (memory, place) = self.place(at, count.into())?;
        let mut bytes = vec![0; count as usize];
        let read = self.store.memory.spaces[memory].read(place, &mut bytes);
        read.map_err(|_| FAULT)?;
        Ok(bytes)
    }

    /// Reads a word of the program's memory.
    pub(crate) fn read_u32(&self, at: u64) -> Result<u32> {
        let bytes = self.read(at, 4)?;
        Ok(u32::from_le_bytes(bytes.try_into().map_err(|_| FAULT)?))
    }

    /// Reads a double word.
    pub(crate) fn read_u64(&self, at: u64) -> Result<u64> {
        let bytes = self.read(at, 8)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| FAULT)?))
    }

    /// Writes bytes of the program's memory: all of them, or none.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let (memory, place) = self.place(at, bytes.len() as u64)?;
        let stored = self.store.memory.spaces[memory].store(place, bytes);
        stored.map_err(|_| FAULT.into())
    }

    /// Says whether bytes could be written.
    pub(crate) fn can_write(&self, at: u64, count: u64) -> Result<()> {
        self.place(at, count).map(|_| ())
    }

    /// Writes a word.
    pub(crate) fn write_u32(&mut self, at: u64, value: u32) -> Result<()> {
        self.write(at, &value.to_le_bytes())
    }

    /// Writes a double word.
    pub(crate) fn write_u64(&mut self, at: u64, value: u64) -> Result<()> {
        self.write(at, &value.to_le_bytes())
    }

    /// The buffers of a call: where each is, and its size. All of them together are cut to what
    /// one call moves.
    pub(crate) fn buffers(&self, at: u64, count: u64) -> Result<Vec<(u64, u32)>> {
        let count = u32::try_from(count).ok().filter(|count| *count <= BUFFERS_MAX).ok_or(INVAL)?;
        let (mut buffers, mut left) = (Vec::new(), BYTES_MAX);
        for nth in 0..u64::from(count) {
            let from = self.read_u32(at + 8 * nth)?;
            let size = self.read_u32(at + 8 * nth + 4)?;
            self.can_write(from.into(), size.into())?;
            buffers.push((from.into(), size.min(left)));
            left -= size.min(left);
        }
        Ok(buffers)
    }

    /// All bytes of the buffers of a call.
    pub(crate) fn gather(&self, at: u64, count: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for (from, size) in self.buffers(at, count)? {
            bytes.extend(self.read(from, size)?);
        }
        Ok(bytes)
    }

    /// Writes bytes into the buffers of a call, from the first on.
    pub(crate) fn scatter(&mut self, buffers: &[(u64, u32)], bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        for (to, size) in buffers {
            let (now, later) = rest.split_at(rest.len().min(*size as usize));
            self.write(*to, now)?;
            rest = later;
        }
        Ok(())
    }

    /// Text of the program's memory.
    pub(crate) fn text(&self, at: u64, count: u64) -> Result<String> {
        let count = u32::try_from(count).map_err(|_| OVERFLOW)?;
        if count > wasi_path::PATH_BYTES_MAX {
            return Err(NAMETOOLONG.into());
        }
        String::from_utf8(self.read(at, count)?).map_err(|_| ILSEQ.into())
    }
}
