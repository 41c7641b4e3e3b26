//! Frames: page-sized blocks of mapped memory, taken from and given back to one pool.
#![allow(unsafe_code, reason = "the owner of raw frames; invariants M1 to M3 in SAFETY.md")]

use omni_base::PAGE_SIZE;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Frames in one mapping: 8 MiB, so that the host may back it with large pages.
const CHUNK_FRAMES: usize = 2048;

/// The host's large pages.
const LARGE_PAGE: usize = 2 << 20;

/// Free frames above which their memory is given back to the host.
const FREE_FRAMES_MAX: usize = 4096;

/// Free frames and the rest of the newest chunk. Process-wide like the heap, which it extends.
struct Pool {
    /// Frames with old content.
    free: Vec<Raw>,
    /// Frames that read as zero.
    clean: Vec<Raw>,
    next: Option<Raw>,
    left: usize,
    /// Frames that someone holds.
    used: u64,
}

static POOL: Mutex<Pool> =
    Mutex::new(Pool { free: Vec::new(), clean: Vec::new(), next: None, left: 0, used: 0 });

static OFFERED: AtomicBool = AtomicBool::new(false);

/// Lets the host look for pages like these in other processes, and hold them once, from now on: a
/// write to one makes it the writer's own again, unseen by anybody but for the time that it takes.
pub fn offer_to_merge() {
    OFFERED.store(true, Ordering::Relaxed);
}

/// Pages of guest memory that this process holds, shared ones counted once.
#[must_use]
pub fn frames_used() -> u64 {
    pool().used
}

type Bytes = [u8; PAGE_SIZE];

#[derive(Clone, Copy)]
struct Raw(NonNull<Bytes>);

// SAFETY: M1: a raw frame in the pool is owned by the pool alone.
unsafe impl Send for Raw {}

/// One page of memory that nobody else holds.
pub(crate) struct Frame(Raw);

// SAFETY: M1: a frame is owned like a box, and shared references to it only read.
unsafe impl Sync for Frame {}

impl Frame {
    /// A frame of zeros.
    pub(crate) fn zeroed() -> Self {
        let mut pool = pool();
        pool.used += 1;
        if let Some(raw) = pool.clean.pop().or_else(|| pool.fresh()) {
            return Self(raw);
        }
        let raw = pool.free.pop().expect("fresh gives none only while free frames are left");
        drop(pool);
        let mut frame = Self(raw);
        frame.bytes_mut().fill(0);
        frame
    }

    /// A frame with this content.
    pub(crate) fn copy_of(bytes: &Bytes) -> Self {
        let mut pool = pool();
        pool.used += 1;
        let raw = pool.free.pop().or_else(|| pool.clean.pop()).or_else(|| pool.fresh());
        drop(pool);
        let mut frame = Self(raw.expect("fresh gives a frame while no free ones are left"));
        frame.bytes_mut().copy_from_slice(bytes);
        frame
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        // SAFETY: M1 and M2: the frame is mapped for good and owned by `self`.
        unsafe { self.0.0.as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut Bytes {
        // SAFETY: M1 and M2: the frame is mapped for good and owned by `self`.
        unsafe { self.0.0.as_mut() }
    }

    /// The address, for pointers handed to the engine.
    pub(crate) fn as_ptr(&self) -> NonNull<u8> {
        self.0.0.cast()
    }

    /// Gives the frame up; `from_ptr` takes it back.
    pub(crate) fn into_ptr(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0.0.cast()
    }

    /// Takes back a frame that `into_ptr` gave.
    ///
    /// # Safety
    /// `ptr` comes from `into_ptr`, and each such pointer is taken back at most once.
    pub(crate) unsafe fn from_ptr(ptr: NonNull<u8>) -> Self {
        Self(Raw(ptr.cast()))
    }
}

/// Gives the memory of frames back to the host at once, where dropping them would keep it at hand
/// for the next use.
pub(crate) fn let_go(frames: Vec<Frame>) {
    let mut raws: Vec<Raw> = frames.into_iter().map(|frame| Raw(frame.into_ptr().cast())).collect();
    raws.sort_unstable_by_key(|raw| raw.0.addr());
    let mut pool = pool();
    pool.used -= raws.len() as u64;
    // What lies next to each other goes in one call. The last first, so that it is used last.
    let next_to = |one: &Raw, two: &Raw| one.0.addr().get() + PAGE_SIZE == two.0.addr().get();
    for run in raws.chunk_by(next_to).rev() {
        pool.empty(run);
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        pool().give_back(self.0);
    }
}

impl Pool {
    /// A frame never used before, from the newest chunk or a new one; `None` while used frames
    /// wait to be used again.
    fn fresh(&mut self) -> Option<Raw> {
        if self.left == 0 {
            if !self.free.is_empty() {
                return None;
            }
            self.next = Some(map_chunk());
            self.left = CHUNK_FRAMES;
        }
        let raw = self.next?;
        self.left -= 1;
        // SAFETY: M2: the chunk holds `left` more frames after this one, or this is its last and
        // the pointer is one past the end, which is never used.
        self.next = Some(Raw(unsafe { raw.0.add(1) }));
        Some(raw)
    }

    fn give_back(&mut self, raw: Raw) {
        self.used -= 1;
        if self.free.len() < FREE_FRAMES_MAX {
            self.free.push(raw);
            return;
        }
        self.empty(&[raw]);
    }

    /// Gives the memory of a run of frames, next to each other, back to the host.
    fn empty(&mut self, run: &[Raw]) {
        let (at, bytes) = (run[0].0.as_ptr().cast(), run.len() * PAGE_SIZE);
        // SAFETY: M1: the pool owns the frames, so their content may go.
        match unsafe { madvise(at, bytes, Advice::LinuxDontNeed) } {
            Ok(()) => self.clean.extend(run.iter().rev()),
            Err(_) => self.free.extend(run.iter().rev()),
        }
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().expect("no thread panics while it holds the pool")
}

/// A chunk that begins where the host's large pages do, and asks for them: guest pages that lie
/// next to each other cost the host one entry of its TLB then, not 512.
fn map_chunk() -> Raw {
    let bytes = CHUNK_FRAMES * PAGE_SIZE;
    let (prot, flags) =
        (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // What is mapped too much is address space that nobody touches.
    // SAFETY: an anonymous mapping at an address of the host's choice aliases nothing.
    let mapped = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes + LARGE_PAGE, prot, flags) };
    // As for any allocation in Rust, there is no going on without memory.
    let start = mapped.expect("the host has address space and memory for guest pages");
    let start = start.map_addr(|addr| addr.next_multiple_of(LARGE_PAGE));
    // Merging breaks large pages up, so it is one or the other.
    let offered = OFFERED.load(Ordering::Relaxed);
    let advice = if offered { Advice::LinuxMergeable } else { Advice::LinuxHugepage };
    // SAFETY: the mapping is ours. A host that can do neither says no, which is as good.
    let _ = unsafe { madvise(start, bytes, advice) };
    Raw(NonNull::new(start.cast()).expect("a mapping is never at address zero"))
}
