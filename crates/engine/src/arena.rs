//! Memory for machine code: written by one mapping, run by another, never both by one.
#![allow(unsafe_code, reason = "maps memory and runs what was written there; SAFETY.md")]

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap, mmap_anonymous,
    mprotect, mremap, munmap,
};
use std::io;
use std::ptr::NonNull;

/// Bytes of code at most. Beyond, everything is translated anew.
pub(crate) const SIZE: usize = 32 << 20;

/// How much is written before the pages of the writing side are given back.
const WRITTEN_MAX: usize = 1 << 20;

/// An arena of machine code, filled from the start with what is run often, and from the end with
/// what is not.
pub(crate) struct Arena {
    /// The mapping that is written.
    write: NonNull<u8>,
    /// The mapping that is run.
    run: NonNull<u8>,
    used: usize,
    /// Where what is rarely run begins.
    rest: usize,
    /// How much was in use when the writing side held no pages.
    held: usize,
}

// SAFETY: E1: the mappings belong to the arena alone, and move with the engine.
unsafe impl Send for Arena {}

/// A way to map fresh memory twice, first to be written, then to be run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Shared memory without a name, which `mremap` maps a second time. Tools that profile look up
    /// what runs in such only by the map that a process makes for them.
    Remap,
    /// A file in memory, for hosts that forbid the other way: `perf` takes the code for the file's.
    File,
}

impl Way {
    /// The best first.
    pub(crate) const ALL: [Self; 2] = [Self::Remap, Self::File];

    /// The call of the host that it rests on.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Remap => "mremap",
            Self::File => "memfd",
        }
    }

    fn map_twice(self) -> io::Result<(NonNull<u8>, NonNull<u8>)> {
        let (write, run) = match self {
            Self::Remap => by_remap()?,
            Self::File => by_file()?,
        };
        let flags = MprotectFlags::READ | MprotectFlags::EXEC;
        // SAFETY: E8: a whole mapping of ours, which nobody refers to yet.
        let protected = unsafe { mprotect(run.as_ptr().cast(), SIZE, flags) };
        if let Err(error) = protected {
            unmap(write);
            unmap(run);
            let text = format!("the host forbids memory that code is run in: {error}");
            return Err(io::Error::new(io::Error::from(error).kind(), text));
        }
        Ok((write, run))
    }
}

fn some(at: *mut std::ffi::c_void) -> io::Result<NonNull<u8>> {
    NonNull::new(at.cast::<u8>()).ok_or_else(|| io::Error::other("a mapping at address zero"))
}

fn by_remap() -> io::Result<(NonNull<u8>, NonNull<u8>)> {
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: E8: a fresh mapping at an address of the host's choice touches no other memory.
    let write = unsafe { mmap_anonymous(std::ptr::null_mut(), SIZE, prot, MapFlags::SHARED) };
    let write = some(write?)?;
    // SAFETY: E8: from a size of zero, shared memory is mapped a second time, and the first mapping
    // stays as it is.
    let run = unsafe { mremap(write.as_ptr().cast(), 0, SIZE, MremapFlags::MAYMOVE) };
    let run = run.map_err(io::Error::from).and_then(some).inspect_err(|_| unmap(write))?;
    Ok((write, run))
}

fn by_file() -> io::Result<(NonNull<u8>, NonNull<u8>)> {
    let file = memfd_create("omnivisor-code", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, SIZE as u64)?;
    let map = |prot| {
        // SAFETY: E8: a fresh mapping at an address of the host's choice touches no other memory,
        // and nobody else has the file.
        let at = unsafe { mmap(std::ptr::null_mut(), SIZE, prot, MapFlags::SHARED, &file, 0) };
        at.map_err(io::Error::from).and_then(some)
    };
    let write = map(ProtFlags::READ | ProtFlags::WRITE)?;
    let run = map(ProtFlags::READ).inspect_err(|_| unmap(write))?;
    Ok((write, run))
}

impl Arena {
    /// An arena that begins with these bytes.
    ///
    /// # Errors
    /// Where the host has no memory, or forbids that code is made.
    pub(crate) fn new(prologue: &[u8]) -> io::Result<Self> {
        Self::by(&Way::ALL, prologue).map(|(arena, _)| arena)
    }

    /// An arena by the first of these ways that the host allows, and which that was.
    ///
    /// # Errors
    /// What the host said of the last of them.
    pub(crate) fn by(ways: &[Way], prologue: &[u8]) -> io::Result<(Self, Way)> {
        let mut last = io::Error::other("there is no way");
        for way in ways {
            match way.map_twice() {
                Ok((write, run)) => {
                    let mut arena = Self { write, run, used: 0, rest: SIZE, held: 0 };
                    arena.put(prologue, &[], SIZE);
                    return Ok((arena, *way));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used + (SIZE - self.rest)
    }

    /// Where the next code goes, and where what is rarely run of it is to end.
    pub(crate) fn next(&self) -> (usize, usize) {
        (self.used, self.rest)
    }

    /// Whether so many bytes more fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        bytes + 32 <= self.rest - self.used
    }

    /// Puts code where `next` said, and what is rarely run of it at `rest_at`.
    pub(crate) fn put(&mut self, bytes: &[u8], rest: &[u8], rest_at: usize) {
        assert!(self.has_room(bytes.len() + rest.len()), "asked before");
        let fits = rest_at >= self.used + bytes.len() && rest_at + rest.len() <= self.rest;
        assert!(fits, "it ends where it was to end, or a little before");
        self.write_at(self.used, bytes);
        self.write_at(rest_at, rest);
        self.used = (self.used + bytes.len()).next_multiple_of(16).min(rest_at);
        self.rest = rest_at;
        if self.used() - self.held > WRITTEN_MAX {
            self.give_back();
        }
    }

    /// Forgets all code from `start` on.
    pub(crate) fn truncate(&mut self, start: usize) {
        (self.used, self.rest) = (start, SIZE);
        self.held = 0;
    }

    /// Adds so many bytes of code to a buffer.
    pub(crate) fn read(&self, at: usize, count: usize, into: &mut Vec<u8>) {
        assert!(at + count <= self.used || at >= self.rest && at + count <= SIZE, "it was put");
        // SAFETY: E8: the callers keep `at` and the count within the mapping.
        let from = unsafe { self.run.add(at) };
        // SAFETY: E8: as above, and nobody writes meanwhile.
        into.extend_from_slice(unsafe { std::slice::from_raw_parts(from.as_ptr(), count) });
    }

    /// Replaces a word of code: a displacement or an immediate, which nobody is running.
    pub(crate) fn patch(&mut self, at: usize, word: u32) {
        let put = at + 4 <= self.used || at >= self.rest && at + 4 <= SIZE;
        assert!(put, "only code that was put is patched");
        self.write_at(at, &word.to_le_bytes());
    }

    /// The address at which the code at this offset is run.
    pub(crate) fn address(&self, at: usize) -> u64 {
        self.run.as_ptr().expose_provenance() as u64 + at as u64
    }

    fn write_at(&mut self, at: usize, bytes: &[u8]) {
        // SAFETY: E8: the callers keep `at` and the length within the mapping.
        let to = unsafe { self.write.add(at) };
        // SAFETY: E8: as above, and nothing else refers to the writing side.
        unsafe { to.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
    }

    /// Lets the host drop the pages of the writing side, which would count twice; the code is
    /// still there by the other mapping.
    fn give_back(&mut self) {
        // SAFETY: E8: a whole mapping of ours, shared: no content is lost.
        let done = unsafe { madvise(self.write.as_ptr().cast(), SIZE, Advice::LinuxDontNeed) };
        if done.is_ok() {
            self.held = self.used();
        }
    }
}

fn unmap(at: NonNull<u8>) {
    // SAFETY: E8: the mapping is ours, and nobody refers to it any more.
    let done = unsafe { munmap(at.as_ptr().cast(), SIZE) };
    debug_assert!(done.is_ok(), "a mapping of ours can be given back");
}

impl Drop for Arena {
    fn drop(&mut self) {
        unmap(self.write);
        unmap(self.run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `mov eax, 42; ret`, and the place of the number.
    const CODE: [u8; 6] = [0xb8, 42, 0, 0, 0, 0xc3];
    const NUMBER: usize = 1;

    fn run(arena: &Arena, at: usize) -> u32 {
        let code = std::ptr::with_exposed_provenance::<()>(arena.address(at) as usize);
        // SAFETY: E7: the bytes there are those of a function of this type.
        let code = unsafe { std::mem::transmute::<*const (), extern "sysv64" fn() -> u32>(code) };
        code()
    }

    #[test]
    fn what_is_written_by_one_mapping_runs_by_the_other_in_either_way() {
        for way in Way::ALL {
            let arena = Arena::by(&[way], &CODE);
            let (mut arena, by) = arena.expect("this host allows both");
            assert_eq!((by, run(&arena, 0)), (way, 42));
            arena.patch(NUMBER, 43);
            assert_eq!(run(&arena, 0), 43);
            // Far on, after the pages of the writing side were given back.
            while arena.used() < 2 * WRITTEN_MAX {
                let (_, end) = arena.next();
                arena.put(&[0xcc; 4096], &[0xcc; 1000], end - 1008);
            }
            let (at, end) = arena.next();
            arena.put(&CODE, &CODE, end - 16);
            let all = [at, end - 16, 0].map(|at| run(&arena, at));
            assert_eq!(all, [42, 42, 43]);
            arena.patch(end - 16 + NUMBER, 44);
            assert_eq!(run(&arena, end - 16), 44);
        }
    }

    #[test]
    fn no_mapping_is_written_and_run() {
        let arenas = Way::ALL.map(|way| Arena::by(&[way], &CODE).expect("allowed here").0);
        let maps = std::fs::read_to_string("/proc/self/maps").expect("the host is Linux");
        for arena in &arenas {
            let begins = format!("{:x}-", arena.address(0));
            let line = maps.lines().find(|line| line.starts_with(&begins)).expect("it is mapped");
            assert!(line.contains(" r-xs "), "{line}");
        }
        assert!(!maps.lines().any(|line| line.contains(" rwx")), "{maps}");
    }

    #[test]
    fn where_a_way_is_refused_the_next_is_taken() {
        let (_, by) = Arena::by(&Way::ALL, &[]).expect("this host allows both");
        assert_eq!(by, Way::Remap);
        assert!(Arena::by(&[], &[]).is_err());
    }
}
