//! Live spaces: the memory a running machine reads and writes.
#![allow(unsafe_code, reason = "reads and writes frames by pointer; invariant M3 in SAFETY.md")]

use crate::flat::Flat;
use crate::frame::{Frame, let_go};
use crate::{Image, Page, PageRef};
use omni_base::{Digest, Gpa, PAGE_SIZE, PAGE_SIZE_U64, PageNo};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};

/// An access outside its space, or to a page that the host cannot read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no memory at {0}")]
pub struct Fault(pub Gpa);

/// Slots in one group, which is made when first touched: an idle fork costs next to nothing.
const GROUP: usize = 128;

/// Flags of a slot, in the low bits of the page's address.
mod flag {
    /// The slot owns its frame: the page was written in this epoch.
    pub(super) const OWNED: usize = 1;
    /// A write must be reported: a cache holds something made from the content.
    pub(super) const WATCHED: usize = 2;
    /// A read pointer is out: a change of frame must be reported.
    pub(super) const LENT: usize = 4;
    /// The page was cleared in this epoch, and not written since: it has the page of zeros.
    pub(super) const CLEARED: usize = 8;
    pub(super) const ALL: usize = 15;
}

#[repr(align(4096))]
struct ZeroPage([u8; PAGE_SIZE]);
static ZERO: ZeroPage = ZeroPage([0; PAGE_SIZE]);

type Group = Box<[AtomicUsize; GROUP]>;

/// What holders of pointers and of things made from content must hear of.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Changes {
    /// Pages whose content is in another frame now: read pointers to them are stale.
    pub moved: Vec<PageNo>,
    /// Watched pages that were written, or are about to be; they are watched no longer.
    pub written: Vec<PageNo>,
    /// Watched pages that `amend` wrote; they are watched still.
    pub amended: Vec<PageNo>,
    /// Pages whose frame is gone, as they are zero now: read and write pointers to them are stale.
    pub cleared: Vec<PageNo>,
}

impl Changes {
    /// Whether there is nothing to hear of.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { moved, written, amended, cleared } = self;
        moved.is_empty() && written.is_empty() && amended.is_empty() && cleared.is_empty()
    }
}

/// What `Space::seal` gives: the image of the epoch and which pages changed in it.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The content at the seal.
    pub image: Image,
    /// The pages written since the seal before, in order of first write.
    pub dirty: Vec<PageNo>,
}

/// One paged address space of a machine: guest RAM, a heap, a stack, a disk.
pub struct Space {
    name: String,
    pages: u64,
    groups: Vec<OnceLock<Group>>,
    /// The image as of the last seal, without the pages cleared since; the owned pages differ from
    /// it.
    image: Image,
    /// The owned and the cleared pages: dense, in order of first write.
    dirty: Vec<PageNo>,
    /// Rises when write pointers become stale.
    epoch: u64,
    changes: Changes,
    /// What could not be read first.
    damage: OnceLock<String>,
    // Derived from here on.
    /// Where pages are, for whoever asked for a flat view.
    pub(crate) flat: Flat,
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dirty = self.dirty.len();
        write!(f, "Space({}, {} pages, {dirty} dirty)", self.name, self.pages)
    }
}

impl Space {
    /// A zero space of `pages` pages.
    pub fn new(name: impl Into<String>, pages: u64) -> Self {
        Self::from_image(name, pages, Image::default())
    }

    /// A space with the content of `image`, shared until written. O(1) but for one word in 128
    /// pages.
    ///
    /// # Panics
    /// Where `pages` is above `Image::PAGES_MAX`.
    pub fn from_image(name: impl Into<String>, pages: u64, image: Image) -> Self {
        assert!(pages <= Image::PAGES_MAX);
        let groups = usize::try_from(pages).expect("a 64-bit host").div_ceil(GROUP);
        Self {
            name: name.into(),
            pages,
            groups: (0..groups).map(|_| OnceLock::new()).collect(),
            image,
            dirty: Vec::new(),
            epoch: 0,
            changes: Changes::default(),
            damage: OnceLock::new(),
            flat: Flat::default(),
        }
    }

    /// The name, unique within the machine.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size in pages.
    #[must_use]
    pub fn page_count(&self) -> u64 {
        self.pages
    }

    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.pages * PAGE_SIZE_U64
    }

    /// Reads bytes at `at`; they may cross pages.
    ///
    /// # Errors
    /// Where a byte is outside the space, or the base cannot be read.
    pub fn read(&self, at: Gpa, into: &mut [u8]) -> Result<(), Fault> {
        self.check(at, into.len())?;
        let mut done = 0;
        while done < into.len() {
            let here = Gpa(at.0 + done as u64);
            let count = (PAGE_SIZE - here.offset()).min(into.len() - done);
            let part = &mut into[done..done + count];
            match self.peek(here.page()) {
                Some(ptr) => copy_out(ptr, here.offset(), part),
                None => {
                    let mut page = [0; PAGE_SIZE];
                    self.read_below(here.page(), &mut page)?;
                    part.copy_from_slice(&page[here.offset()..][..count]);
                }
            }
            done += count;
        }
        Ok(())
    }

    /// Reads `N` bytes at `at`.
    ///
    /// # Errors
    /// As `read`.
    pub fn load<const N: usize>(&self, at: Gpa) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.read(at, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes `bytes` at `at`: all of them, or none and a fault.
    ///
    /// # Errors
    /// Where a byte is outside the space, or the base below it cannot be read.
    pub fn store(&mut self, at: Gpa, bytes: &[u8]) -> Result<(), Fault> {
        self.check(at, bytes.len())?;
        let mut done = 0;
        while done < bytes.len() {
            let here = Gpa(at.0 + done as u64);
            let count = (PAGE_SIZE - here.offset()).min(bytes.len() - done);
            let ptr = self.own(here.page())?;
            copy_in(ptr, here.offset(), &bytes[done..done + count]);
            done += count;
        }
        Ok(())
    }

    /// Replaces the aligned word `from` at `at` by `to`, in a way that only refines what the page
    /// says as a table: it stays watched, and is reported as amended. Says no, and writes nothing,
    /// where another word is there: vCPUs on other threads store too.
    ///
    /// # Errors
    /// As `store`, and where the word is not aligned.
    pub fn amend(&mut self, at: Gpa, from: u64, to: u64) -> Result<bool, Fault> {
        self.check(at, size_of::<u64>())?;
        if !at.0.is_multiple_of(8) {
            return Err(Fault(at));
        }
        let ptr = self.own_quietly(at.page())?;
        // SAFETY: M2: the word is within the frame.
        let word = unsafe { ptr.add(at.offset()) };
        // SAFETY: M1, M3 and M5: the slot owns the frame, the word is aligned, and whoever else
        // is at it is so in one step.
        let word = unsafe { AtomicU64::from_ptr(word.as_ptr().cast()) };
        let (from, to) = (from.to_le(), to.to_le());
        let done = word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if done && self.is_watched(at.page()) {
            self.changes.amended.push(at.page());
        }
        Ok(done)
    }

    /// Writes `count` bytes of `value` at `at`.
    ///
    /// # Errors
    /// As `store`.
    pub fn fill(&mut self, at: Gpa, count: u64, value: u8) -> Result<(), Fault> {
        self.check(at, usize::try_from(count).map_err(|_| Fault(at))?)?;
        let (mut at, mut left) = (at, count);
        let block = [value; PAGE_SIZE];
        while left > 0 {
            let room = PAGE_SIZE - at.offset();
            let step = usize::try_from(left).map_or(room, |left| room.min(left));
            self.store(at, &block[..step])?;
            at = Gpa(at.0 + step as u64);
            left -= step as u64;
        }
        Ok(())
    }

    /// Makes pages zero and gives their memory back at once: the space holds none for them until
    /// they are written again. What held something counts as written. Pages outside the space are
    /// passed over.
    pub fn clear(&mut self, pages: impl IntoIterator<Item = PageNo>) {
        let (mut frames, all) = (Vec::new(), self.pages);
        for no in pages.into_iter().filter(|no| no.0 < all) {
            frames.extend(self.clear_page(no));
        }
        let_go(frames);
    }

    /// Lets go of all pages that `kept` has elsewhere: they come back when they are touched. `kept`
    /// has what `sealed` was, an image of this space; what was written since stays in memory. Says
    /// whether it could: the two have that content, and all of it was read so far. Seals. What the
    /// machine can observe does not change; but nobody may run it meanwhile.
    pub fn send_out(&mut self, sealed: &Image, mut kept: Image) -> bool {
        let may = self.renew(sealed, &mut kept);
        if may {
            self.go_on_with(kept);
        }
        may
    }

    /// As `send_out`, but pages that other images have too stay here, where they cost nothing.
    pub fn send_out_own(&mut self, sealed: Image, mut kept: Image) -> bool {
        let may = self.renew(&sealed, &mut kept);
        // It has what is here only, too.
        drop(sealed);
        let rest = may.then(|| self.image.without_own(&kept)).and_then(Result::ok);
        rest.map(|rest| self.go_on_with(rest)).is_some()
    }

    /// Seals, and adds to `kept` what was written since `sealed`. Whether they are the same then.
    fn renew(&mut self, sealed: &Image, kept: &mut Image) -> bool {
        if self.damage().is_some() {
            return false;
        }
        let (now, mut whole) = (self.seal().image, true);
        let stays = &mut |no, page: &PageRef| whole &= kept.set(no, page.clone()).is_ok();
        let renewed = now.changed_since(sealed, stays).is_ok();
        renewed && whole && now.digest() == kept.digest()
    }

    /// Takes the pages of an image of the same content in the place of its own.
    fn go_on_with(&mut self, image: Image) {
        for (at, group) in self.groups.iter_mut().enumerate() {
            let Some(slots) = group.get_mut() else { continue };
            for (slot, no) in slots.iter_mut().zip(at as u64 * GROUP as u64..) {
                let bits = *slot.get_mut();
                let lent = (bits & flag::LENT != 0).then_some(PageNo(no));
                self.changes.moved.extend(lent);
                *slot.get_mut() = bits & flag::WATCHED;
            }
        }
        self.flat.forget();
        self.epoch += 1;
        self.image = image;
    }

    /// A pointer to the page for reading, or `None` outside the space and where the page is in
    /// the base. Good until the page is named in `take_changes`.
    pub fn read_ptr(&self, no: PageNo) -> Option<NonNull<u8>> {
        if no.0 >= self.pages {
            return None;
        }
        let ptr = self.resolve(no)?;
        self.slot(no).fetch_or(flag::LENT, Ordering::Relaxed);
        Some(ptr)
    }

    /// The page as it is now, where it was not written in this epoch: as long as what this gives
    /// is kept, its frame stays as it is, and is no other page's.
    #[must_use]
    pub fn hold(&self, no: PageNo) -> Option<PageRef> {
        if no.0 >= self.pages {
            return None;
        }
        let bits = self.slot(no).load(Ordering::Relaxed);
        if bits & (flag::OWNED | flag::CLEARED) != 0 {
            return None;
        }
        self.image.get(no).ok().flatten().filter(|page| page.is_here()).cloned()
    }

    /// Whether the page is that very one still, and so has its content.
    #[must_use]
    pub fn is_held(&self, no: PageNo, page: &PageRef) -> bool {
        let frame = page.frame().ok().map(Frame::as_ptr);
        no.0 < self.pages && frame.is_some() && self.resolve(no) == frame
    }

    /// A pointer to the page for writing: marks it dirty. `None` outside the space or where the
    /// base cannot be read. Good until `epoch` changes or the page is watched.
    pub fn write_ptr(&mut self, no: PageNo) -> Option<NonNull<u8>> {
        if no.0 >= self.pages {
            return None;
        }
        self.own(no).ok()
    }

    /// As `write_ptr`, but a watched page stays so and the write is not reported: for one write at
    /// once, by a holder who knows himself what depends on the bytes.
    pub fn write_ptr_watched(&mut self, no: PageNo) -> Option<NonNull<u8>> {
        if no.0 >= self.pages {
            return None;
        }
        self.own_quietly(no).ok()
    }

    /// Asks that the next write to the page be reported. The holder of write pointers to it must
    /// drop them.
    pub fn watch(&mut self, no: PageNo) {
        if no.0 < self.pages {
            self.resolve(no);
            self.slot(no).fetch_or(flag::WATCHED, Ordering::Relaxed);
            self.flat.share(no);
        }
    }

    /// Whether writes to the page are to be reported.
    #[must_use]
    pub fn is_watched(&self, no: PageNo) -> bool {
        no.0 < self.pages && self.slot(no).load(Ordering::Relaxed) & flag::WATCHED != 0
    }

    /// Rises at each seal: write pointers from before are stale.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether `take_changes` has something to say.
    #[inline]
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// What changed since it was last asked.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// The first page, and why, that is kept elsewhere and could not be read. What the machine made
    /// of that counts no more, so whoever runs it must end it.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    /// Says that something that belongs here could not be had. Only the first such counts.
    pub fn set_damage(&self, why: String) {
        self.damage.get_or_init(|| why);
    }

    /// Pages written since the last seal, in order of first write.
    #[must_use]
    pub fn dirty(&self) -> &[PageNo] {
        &self.dirty
    }

    /// Bytes of memory that hold pages of this space and of nothing else: what would be given back
    /// with it. O(such pages).
    #[must_use]
    pub fn own_bytes(&self) -> u64 {
        let owned = |no: &&PageNo| self.slot(**no).load(Ordering::Relaxed) & flag::OWNED != 0;
        let dirty = self.dirty.iter().filter(owned).count() as u64;
        (dirty + self.image.own_pages()) * PAGE_SIZE_U64
    }

    /// The image as of the last seal, but that pages cleared since are zero in it.
    #[must_use]
    pub fn sealed_image(&self) -> &Image {
        &self.image
    }

    /// Ends the epoch: the dirty pages become immutable and shared, and none is dirty.
    ///
    /// No byte is copied or hashed here: the first write to a page afterwards copies it. Does not
    /// change what the machine can observe.
    pub fn seal(&mut self) -> Sealed {
        let dirty = std::mem::take(&mut self.dirty);
        for &no in &dirty {
            self.flat.share(no);
            let bits = self.slot(no).load(Ordering::Relaxed);
            if bits & flag::CLEARED != 0 {
                self.slot(no).store(bits & !flag::CLEARED, Ordering::Relaxed);
                continue;
            }
            assert!(bits & flag::OWNED != 0, "a dirty page has a frame of its own");
            self.slot(no).store(bits & !flag::OWNED, Ordering::Relaxed);
            // SAFETY: M1: the flag said that the slot owned the frame, and it has just been
            // cleared, so the frame is taken once.
            let frame = unsafe { Frame::from_ptr(address(bits)) };
            let set = self.image.set(no, Page::from_frame(frame));
            set.expect("the way to the page was read before the page was owned");
        }
        self.epoch += 1;
        Sealed { image: self.image.clone(), dirty }
    }

    fn check(&self, at: Gpa, count: usize) -> Result<(), Fault> {
        let end = at.0.checked_add(count as u64).ok_or(Fault(at))?;
        if end <= self.size() { Ok(()) } else { Err(Fault(at)) }
    }

    fn slot(&self, no: PageNo) -> &AtomicUsize {
        let no = usize::try_from(no.0).expect("a page of a live space");
        let make = || Box::new([const { AtomicUsize::new(0) }; GROUP]);
        &self.groups[no / GROUP].get_or_init(make)[no % GROUP]
    }

    /// The page's frame, looked up in the image on first use; `None` where it is in the base or
    /// cannot be read.
    fn resolve(&self, no: PageNo) -> Option<NonNull<u8>> {
        let slot = self.slot(no);
        let bits = slot.load(Ordering::Relaxed);
        if bits & !flag::ALL != 0 {
            return Some(address(bits));
        }
        let found = match self.image.get(no) {
            Ok(Some(page)) => page.frame().map(|frame| Some(frame.as_ptr())),
            Ok(None) if self.image.base().is_some() => Ok(None),
            Ok(None) => Ok(Some(NonNull::from(&ZERO.0).cast())),
            Err(error) => Err(error),
        };
        let ptr = found.unwrap_or_else(|error| self.note_damage(no, &error))?;
        // Two threads that resolve at once store the same value.
        slot.fetch_or(ptr.as_ptr().expose_provenance(), Ordering::Relaxed);
        Some(ptr)
    }

    /// As `resolve`, but what a disk only reads is not brought into memory to stay.
    fn peek(&self, no: PageNo) -> Option<NonNull<u8>> {
        let bits = self.slot(no).load(Ordering::Relaxed);
        if bits & !flag::ALL != 0 {
            return Some(address(bits));
        }
        if self.image.base().is_some() { None } else { self.resolve(no) }
    }

    /// Reads a page that has no frame of this space yet.
    fn read_below(&self, no: PageNo, into: &mut [u8; PAGE_SIZE]) -> Result<(), Fault> {
        match self.image.get(no).and_then(|page| page.map(|page| page.read(into)).transpose()) {
            Ok(Some(())) => Ok(()),
            Ok(None) => {
                let base = self.image.base().ok_or(Fault(no.base()))?;
                base.read(no, into).map_err(|_| Fault(no.base()))
            }
            Err(error) => {
                let _: Option<()> = self.note_damage(no, &error);
                Err(Fault(no.base()))
            }
        }
    }

    /// Remembers the first page that could not be read, for whoever runs the machine.
    fn note_damage<T>(&self, no: PageNo, error: &std::io::Error) -> Option<T> {
        let name = &self.name;
        self.set_damage(format!("page {} of space '{name}': {error}", no.0));
        None
    }

    /// Makes one page zero; gives its frame, where the slot owned one.
    fn clear_page(&mut self, no: PageNo) -> Option<Frame> {
        let bits = self.slot(no).load(Ordering::Relaxed);
        let owned = bits & flag::OWNED != 0;
        let zero = Page::zero();
        let below = match self.image.get(no) {
            Ok(Some(page)) => !Arc::ptr_eq(page, &zero),
            Ok(None) => self.image.base().is_some(),
            Err(error) => return self.note_damage(no, &error),
        };
        if below {
            // Now rather than at the next seal: what it holds may be the last use of the frame.
            self.image.set(no, zero).expect("the way to the page was read just now");
        } else if !owned {
            return None;
        }
        if bits & flag::WATCHED != 0 {
            self.changes.written.push(no);
        }
        self.changes.cleared.push(no);
        if bits & (flag::OWNED | flag::CLEARED) == 0 {
            self.dirty.push(no);
        }
        let zeros = NonNull::from(&ZERO.0).as_ptr().expose_provenance();
        self.slot(no).store(zeros | flag::CLEARED, Ordering::Relaxed);
        self.flat.set(no, zeros, false);
        // SAFETY: M1: the slot owned the frame, and has just let go of it.
        owned.then(|| unsafe { Frame::from_ptr(address(bits)) })
    }

    /// The page for writing: breaks sharing and marks it dirty on the first write of an epoch,
    /// and reports the write where that was asked for.
    fn own(&mut self, no: PageNo) -> Result<NonNull<u8>, Fault> {
        let bits = self.slot(no).load(Ordering::Relaxed);
        if bits & (flag::OWNED | flag::WATCHED) == flag::OWNED {
            self.flat.set(no, bits & !flag::ALL, true);
            return Ok(address(bits));
        }
        if bits & flag::WATCHED != 0 {
            self.slot(no).fetch_and(!flag::WATCHED, Ordering::Relaxed);
            self.changes.written.push(no);
        }
        let ptr = self.own_quietly(no)?;
        self.flat.set(no, ptr.as_ptr().expose_provenance(), true);
        Ok(ptr)
    }

    /// Where a page is that has a frame of this space or of its image.
    pub(crate) fn resolved(&self, no: PageNo) -> Option<usize> {
        self.resolve(no).map(|ptr| ptr.as_ptr().expose_provenance())
    }

    /// Whether a page may be written where it is, and nobody is to hear of it.
    pub(crate) fn is_writable(&self, no: PageNo) -> bool {
        let bits = self.slot(no).load(Ordering::Relaxed);
        bits & (flag::OWNED | flag::WATCHED) == flag::OWNED
    }

    /// The page for writing, dirty and owned, watched as it was.
    fn own_quietly(&mut self, no: PageNo) -> Result<NonNull<u8>, Fault> {
        let bits = self.slot(no).load(Ordering::Relaxed);
        if bits & flag::OWNED != 0 {
            return Ok(address(bits));
        }
        let elsewhere = bits & !flag::ALL == 0
            && matches!(self.image.get(no), Ok(Some(page)) if !page.is_here());
        // What is to be written at once need not be kept as it was.
        let found = if elsewhere { None } else { self.resolve(no) };
        let frame = match found {
            Some(ptr) if ptr == NonNull::from(&ZERO.0).cast() => Frame::zeroed(),
            // SAFETY: M3: the slot's frame is readable and immutable.
            Some(ptr) => Frame::copy_of(unsafe { ptr.cast::<[u8; PAGE_SIZE]>().as_ref() }),
            None => {
                let mut frame = Frame::zeroed();
                self.read_below(no, frame.bytes_mut())?;
                frame
            }
        };
        if bits & flag::LENT != 0 {
            self.changes.moved.push(no);
        }
        if bits & flag::CLEARED == 0 {
            self.dirty.push(no);
        }
        let ptr = frame.into_ptr();
        let flags = flag::OWNED | bits & flag::WATCHED;
        self.flat.set(no, ptr.as_ptr().expose_provenance(), flags == flag::OWNED);
        self.slot(no).store(ptr.as_ptr().expose_provenance() | flags, Ordering::Relaxed);
        Ok(ptr)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        for &no in &self.dirty {
            let bits = self.slot(no).load(Ordering::Relaxed);
            if bits & flag::OWNED != 0 {
                // SAFETY: M1: the slot owns the frame, and is not used again.
                drop(unsafe { Frame::from_ptr(address(bits)) });
            }
        }
    }
}

/// Copies bytes of a page out; an aligned word in one step.
fn copy_out(page: NonNull<u8>, offset: usize, into: &mut [u8]) {
    assert!(offset + into.len() <= PAGE_SIZE);
    // SAFETY: M2: the byte is within the frame.
    let from = unsafe { page.add(offset) };
    if let Ok(word) = <&mut [u8; 8]>::try_from(&mut *into)
        && offset.is_multiple_of(8)
    {
        // SAFETY: M3 and M5: the word is readable and aligned.
        let from = unsafe { AtomicU64::from_ptr(from.as_ptr().cast()) };
        *word = from.load(Ordering::Acquire).to_ne_bytes();
        return;
    }
    // SAFETY: M3 and M5: the frame is readable, and `into` is no part of it.
    unsafe { from.as_ptr().copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) };
}

/// Copies bytes into a page that its slot owns; an aligned word in one step, and all of them after
/// what was copied before.
fn copy_in(page: NonNull<u8>, offset: usize, bytes: &[u8]) {
    assert!(offset + bytes.len() <= PAGE_SIZE);
    // SAFETY: M2: the byte is within the frame.
    let to = unsafe { page.add(offset) };
    if let Ok(word) = <[u8; 8]>::try_from(bytes)
        && offset.is_multiple_of(8)
    {
        // SAFETY: M1, M3 and M5: the frame is the slot's, and the word is aligned.
        let to = unsafe { AtomicU64::from_ptr(to.as_ptr().cast()) };
        to.store(u64::from_ne_bytes(word), Ordering::Release);
        return;
    }
    fence(Ordering::Release);
    // SAFETY: M1, M3 and M5: the frame is the slot's, and `bytes` is no part of it.
    unsafe { to.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
}

/// The address in a slot that has one.
fn address(bits: usize) -> NonNull<u8> {
    let ptr = std::ptr::with_exposed_provenance_mut(bits & !flag::ALL);
    NonNull::new(ptr).expect("only resolved slots are asked for their address")
}

/// All spaces of one machine, in a fixed order.
#[derive(Debug, Default)]
pub struct Memory {
    /// The spaces; their order is part of the machine's shape.
    pub spaces: Vec<Space>,
}

impl Memory {
    /// Seals every space.
    pub fn seal(&mut self) -> Vec<Sealed> {
        self.spaces.iter_mut().map(Space::seal).collect()
    }

    /// The space of this name.
    #[must_use]
    pub fn space(&self, name: &str) -> Option<&Space> {
        self.spaces.iter().find(|space| space.name() == name)
    }

    /// The first page of any space that is kept elsewhere and could not be read.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.spaces.iter().find_map(Space::damage)
    }

    /// The digest of all content, in the order of the spaces. Seals, which is invisible.
    pub fn digest(&mut self) -> Digest {
        let digests: Vec<Digest> =
            self.spaces.iter_mut().map(|space| space.seal().image.digest()).collect();
        Digest::of_parts(digests.iter().map(|digest| &digest.0[..]))
    }
}
