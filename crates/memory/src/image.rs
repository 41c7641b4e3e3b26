//! Persistent images: immutable page tables that share structure with their parents.

use crate::frame::Frame;
use omni_base::{Digest, PAGE_SIZE, PageNo};
use std::sync::{Arc, OnceLock};
use std::{fmt, io};

const BITS: u32 = 6;
const FAN: usize = 1 << BITS;
const DEPTH: u32 = 6;

/// Where pages and inner nodes of images are kept that are not in memory yet.
pub trait Source: Send + Sync + fmt::Debug {
    /// Reads the page of this digest. `place` is what `Page::stored` was given.
    ///
    /// # Errors
    /// Where it cannot be read, or what is there does not have the digest.
    fn page(&self, digest: Digest, place: u64, into: &mut [u8; PAGE_SIZE]) -> io::Result<()>;
    /// Reads the bytes of the inner node of this digest, as `Sink::node` was given them.
    ///
    /// # Errors
    /// As `page`.
    fn node(&self, digest: Digest) -> io::Result<Vec<u8>>;
}

/// Where an image is written to.
pub trait Sink {
    /// Whether the node of this digest, and all below it, is there already.
    ///
    /// # Errors
    /// What the host says.
    fn has_node(&mut self, digest: Digest) -> io::Result<bool>;
    /// Takes a page that is not zero. One that is there already may come again.
    ///
    /// # Errors
    /// What the host says.
    fn page(&mut self, digest: Digest, page: &PageRef) -> io::Result<()>;
    /// Takes a node, after all below it: a byte and a digest for each child.
    ///
    /// # Errors
    /// What the host says.
    fn node(&mut self, digest: Digest, bytes: &[u8]) -> io::Result<()>;
}

/// One immutable page. Its digest is computed when first asked for, behind the running machine.
/// Its content may still be elsewhere, and comes when first asked for.
pub struct Page {
    frame: OnceLock<Frame>,
    /// `None` where all bytes are zero.
    digest: OnceLock<Option<Digest>>,
    /// Where the content is until the frame is filled.
    stored: Option<(Arc<dyn Source>, u64)>,
}

/// A counted reference to an immutable page.
pub type PageRef = Arc<Page>;

impl Page {
    /// A page with this content.
    #[must_use]
    pub fn new(bytes: &[u8; PAGE_SIZE]) -> PageRef {
        Self::from_frame(Frame::copy_of(bytes))
    }

    /// The page of zeros that all images share.
    #[must_use]
    pub fn zero() -> PageRef {
        static ZERO: OnceLock<PageRef> = OnceLock::new();
        let make =
            || Self { frame: Frame::zeroed().into(), digest: OnceLock::from(None), stored: None };
        ZERO.get_or_init(|| Arc::new(make())).clone()
    }

    /// A page, not zero, whose content is in `source`.
    #[must_use]
    pub fn stored(digest: Digest, place: u64, source: Arc<dyn Source>) -> PageRef {
        let digest = OnceLock::from(Some(digest));
        Arc::new(Self { frame: OnceLock::new(), digest, stored: Some((source, place)) })
    }

    pub(crate) fn from_frame(frame: Frame) -> PageRef {
        Arc::new(Self { frame: frame.into(), digest: OnceLock::new(), stored: None })
    }

    /// The content, brought into memory to stay.
    ///
    /// # Errors
    /// Where it is elsewhere and cannot be read.
    pub fn bytes(&self) -> io::Result<&[u8; PAGE_SIZE]> {
        self.frame().map(Frame::bytes)
    }

    /// Copies the content, and leaves it where it is.
    ///
    /// # Errors
    /// As `bytes`.
    pub fn read(&self, into: &mut [u8; PAGE_SIZE]) -> io::Result<()> {
        match (self.frame.get(), &self.stored) {
            (None, Some((source, place))) => {
                let digest = self.digest.get().copied().flatten();
                source.page(digest.expect("a stored page has a digest"), *place, into)
            }
            _ => self.bytes().map(|bytes| into.copy_from_slice(bytes)),
        }
    }

    /// The digest of the content, or `None` where all of it is zero.
    pub fn digest(&self) -> Option<Digest> {
        *self.digest.get_or_init(|| {
            let bytes = self.frame.get().expect("only a stored page has none, and it has a digest");
            let zero = bytes.bytes().iter().all(|byte| *byte == 0);
            (!zero).then(|| Digest::of(bytes.bytes()))
        })
    }

    pub(crate) fn frame(&self) -> io::Result<&Frame> {
        if let Some(frame) = self.frame.get() {
            return Ok(frame);
        }
        let mut frame = Frame::zeroed();
        self.read(frame.bytes_mut())?;
        // Of two threads that read at once, one is too late, and its frame goes.
        Ok(self.frame.get_or_init(|| frame))
    }

    /// Whether the content is in memory.
    pub(crate) fn is_here(&self) -> bool {
        self.frame.get().is_some()
    }

    fn is(&self, other: &PageRef) -> bool {
        let known = |page: &Self| page.digest.get().copied().flatten();
        std::ptr::eq(self, &raw const **other)
            || known(self).is_some_and(|digest| known(other) == Some(digest))
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("digest", &self.digest()).finish()
    }
}

/// Content below an image that is not held in memory: a disk image used in place.
pub trait Base: Send + Sync + fmt::Debug {
    /// Reads a page; beyond the end it is zero. The content never changes.
    ///
    /// # Errors
    /// What the host says where the page cannot be read.
    fn read(&self, no: PageNo, into: &mut [u8; PAGE_SIZE]) -> io::Result<()>;
    /// What names the whole content.
    fn digest(&self) -> Digest;
}

/// The whole content of a space at one tick. Cloning is O(1); an absent page is the base's, or
/// zero where there is no base.
#[derive(Clone, Default, Debug)]
pub struct Image {
    root: Node,
    base: Option<Arc<dyn Base>>,
}

type Kids = Arc<[Kid; FAN]>;

#[derive(Clone, Default, Debug)]
struct Node {
    kids: Option<Kids>,
    /// What is below, where it is not in `kids`.
    lazy: Option<Arc<Lazy>>,
    digest: OnceLock<Option<Digest>>,
}

/// A node that is elsewhere; clones of an image bring it in once for all of them.
#[derive(Debug)]
struct Lazy {
    digest: Digest,
    level: u32,
    zeros_count: bool,
    source: Arc<dyn Source>,
    kids: OnceLock<Kids>,
}

#[derive(Clone, Debug, Default)]
enum Kid {
    #[default]
    Empty,
    Inner(Node),
    Leaf(PageRef),
}

impl Image {
    /// Pages that an image can hold: 256 TiB.
    pub const PAGES_MAX: u64 = 1 << (BITS * DEPTH);

    /// An image of nothing but `base`.
    pub fn over(base: Arc<dyn Base>) -> Self {
        Self { root: Node::default(), base: Some(base) }
    }

    /// An image that `source` has: O(1), as nodes and pages are read when first touched. `root` is
    /// what `write` gave.
    pub fn stored(
        root: Option<Digest>,
        base: Option<Arc<dyn Base>>,
        source: &Arc<dyn Source>,
    ) -> Self {
        let node = |root| Node::stored(root, DEPTH - 1, base.is_some(), source.clone());
        Self { root: root.map_or_else(Node::default, node), base }
    }

    /// The base, if there is one.
    #[must_use]
    pub fn base(&self) -> Option<&Arc<dyn Base>> {
        self.base.as_ref()
    }

    /// The page at `no`, or `None` where it is the base's or zero.
    ///
    /// # Errors
    /// Where the way to it is in a source and cannot be read.
    pub fn get(&self, no: PageNo) -> io::Result<Option<&PageRef>> {
        let mut node = &self.root;
        for level in (0..DEPTH).rev() {
            let Some(kids) = node.kids()? else { return Ok(None) };
            match &kids[slot(no, level)] {
                Kid::Empty => return Ok(None),
                Kid::Inner(inner) => node = inner,
                Kid::Leaf(page) => return Ok(Some(page)),
            }
        }
        Ok(None)
    }

    /// Replaces the page at `no`: copies the path to it, shares all the rest.
    ///
    /// # Errors
    /// As `get`, and never where `get` of the same page has succeeded.
    ///
    /// # Panics
    /// Where `no` is not below `PAGES_MAX`.
    pub fn set(&mut self, no: PageNo, page: PageRef) -> io::Result<()> {
        assert!(no.0 < Self::PAGES_MAX);
        let _ = self.get(no)?;
        let mut node = &mut self.root;
        for level in (0..DEPTH).rev() {
            node.digest = OnceLock::new();
            if let Some(lazy) = node.lazy.take() {
                node.kids = Some(lazy.kids()?.clone());
            }
            let empty = || Arc::new(std::array::from_fn(|_| Kid::Empty));
            let kids = Arc::make_mut(node.kids.get_or_insert_with(empty));
            let kid = &mut kids[slot(no, level)];
            if level == 0 {
                *kid = Kid::Leaf(page);
                return Ok(());
            }
            if let Kid::Empty = kid {
                *kid = Kid::Inner(Node::default());
            }
            let Kid::Inner(inner) = kid else { unreachable!("leaves are at level 0 only") };
            node = inner;
        }
        Ok(())
    }

    /// The Merkle root: O(pages changed since the parent image), as inner digests are kept.
    ///
    /// Over a base, a zero page that hides one of the base counts; elsewhere a zero page is the
    /// same as none.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let own = self.root.digest(self.base.is_some()).unwrap_or_default();
        match &self.base {
            Some(base) => Digest::of_parts([&base.digest().0[..], &own.0]),
            None => own,
        }
    }

    /// Writes every node and page that the sink does not have, and gives the digest of the root;
    /// `None` where nothing is held. The base is not written.
    ///
    /// # Errors
    /// What the sink says, or a source of this image.
    pub fn write(&self, sink: &mut dyn Sink) -> io::Result<Option<Digest>> {
        self.root.write(self.base.is_some(), sink)
    }

    /// The pages in which this image differs from an older one, in order, without those that
    /// only the older one holds. O(pages changed), as shared parts are skipped whole.
    ///
    /// # Errors
    /// Where a node is in a source and cannot be read.
    pub fn changed_since(
        &self,
        older: &Self,
        visit: &mut impl FnMut(PageNo, &PageRef),
    ) -> io::Result<()> {
        self.root.changed_since(&older.root, 0, visit)
    }

    /// Pages in memory that no other image has: O(those), as shared parts are skipped whole.
    #[must_use]
    pub fn own_pages(&self) -> u64 {
        self.root.own_pages()
    }

    /// The same content, of which pages that no other image has are as `kept` has them, which has
    /// that content too: what `own_pages` counts goes once this is dropped.
    ///
    /// # Errors
    /// As `changed_since`.
    pub fn without_own(&self, kept: &Self) -> io::Result<Self> {
        let root = self.root.without_own(&kept.root)?;
        Ok(Self { root, base: self.base.clone() })
    }

    /// Visits every page that is held, in order.
    ///
    /// # Errors
    /// As `changed_since`.
    pub fn for_each(&self, visit: &mut impl FnMut(PageNo, &PageRef)) -> io::Result<()> {
        self.root.for_each(0, visit)
    }
}

impl Node {
    fn stored(digest: Digest, level: u32, zeros_count: bool, source: Arc<dyn Source>) -> Self {
        let kids = OnceLock::new();
        let lazy = Lazy { digest, level, zeros_count, source, kids };
        Self { kids: None, lazy: Some(Arc::new(lazy)), digest: Some(digest).into() }
    }

    fn kids(&self) -> io::Result<Option<&Kids>> {
        match (&self.kids, &self.lazy) {
            (Some(kids), _) => Ok(Some(kids)),
            (None, Some(lazy)) => lazy.kids().map(Some),
            (None, None) => Ok(None),
        }
    }

    fn own_pages(&self) -> u64 {
        let kids = match (&self.kids, &self.lazy) {
            (Some(kids), _) => kids,
            (None, Some(lazy)) if Arc::strong_count(lazy) == 1 => match lazy.kids.get() {
                Some(kids) => kids,
                None => return 0,
            },
            (None, _) => return 0,
        };
        if Arc::strong_count(kids) > 1 {
            return 0;
        }
        let own = |kid: &Kid| match kid {
            Kid::Empty => 0,
            Kid::Inner(inner) => inner.own_pages(),
            Kid::Leaf(page) => u64::from(Arc::strong_count(page) == 1 && page.is_here()),
        };
        kids.iter().map(own).sum()
    }

    fn without_own(&self, kept: &Self) -> io::Result<Self> {
        let kids = match (&self.kids, &self.lazy) {
            (Some(kids), _) if Arc::strong_count(kids) == 1 => kids,
            (None, Some(lazy)) if Arc::strong_count(lazy) == 1 => return Ok(kept.clone()),
            _ => return Ok(self.clone()),
        };
        let Some(elsewhere) = kept.kids()? else { return Ok(self.clone()) };
        let mut merged: [Kid; FAN] = std::array::from_fn(|_| Kid::Empty);
        for (merged, (own, kept)) in merged.iter_mut().zip(kids.iter().zip(&**elsewhere)) {
            *merged = match (own, kept) {
                (Kid::Inner(own), Kid::Inner(kept)) => Kid::Inner(own.without_own(kept)?),
                (Kid::Leaf(page), kept @ Kid::Leaf(_)) if Arc::strong_count(page) == 1 => {
                    kept.clone()
                }
                (own, _) => own.clone(),
            };
        }
        Ok(Self { kids: Some(Arc::new(merged)), lazy: None, digest: self.digest.clone() })
    }

    fn digest(&self, zeros_count: bool) -> Option<Digest> {
        *self.digest.get_or_init(|| {
            let parts = self.parts(zeros_count);
            (!parts.is_empty()).then(|| Digest::of(&parts))
        })
    }

    /// The bytes that its digest is of. A node that is elsewhere has its digest from there.
    fn parts(&self, zeros_count: bool) -> Vec<u8> {
        let mut parts = Vec::new();
        for (at, kid) in self.kids.iter().flat_map(|kids| kids.iter().enumerate()) {
            let below = match kid {
                Kid::Empty => None,
                Kid::Inner(inner) => inner.digest(zeros_count),
                Kid::Leaf(page) => page.digest().or(zeros_count.then_some(Digest::default())),
            };
            if let Some(below) = below {
                parts.push(u8::try_from(at).expect("a slot is below FAN"));
                parts.extend_from_slice(&below.0);
            }
        }
        parts
    }

    fn write(&self, zeros_count: bool, sink: &mut dyn Sink) -> io::Result<Option<Digest>> {
        let Some(digest) = self.digest(zeros_count) else { return Ok(None) };
        if sink.has_node(digest)? {
            return Ok(Some(digest));
        }
        for kid in self.kids()?.into_iter().flat_map(|kids| kids.iter()) {
            match kid {
                Kid::Empty => {}
                Kid::Inner(inner) => {
                    inner.write(zeros_count, sink)?;
                }
                Kid::Leaf(page) => {
                    if let Some(digest) = page.digest() {
                        sink.page(digest, page)?;
                    }
                }
            }
        }
        let bytes = match &self.lazy {
            Some(lazy) if self.kids.is_none() => lazy.source.node(lazy.digest)?,
            _ => self.parts(zeros_count),
        };
        sink.node(digest, &bytes)?;
        Ok(Some(digest))
    }

    fn is(&self, other: &Self) -> bool {
        let same = match (&self.kids, &other.kids) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let known = |node: &Self| node.digest.get().copied().flatten();
        same || known(self).is_some_and(|digest| known(other) == Some(digest))
    }

    fn changed_since(
        &self,
        older: &Self,
        base: u64,
        visit: &mut impl FnMut(PageNo, &PageRef),
    ) -> io::Result<()> {
        if self.is(older) {
            return Ok(());
        }
        let Some(kids) = self.kids()? else { return Ok(()) };
        let older = older.kids()?;
        let none = Self::default();
        for (at, kid) in kids.iter().enumerate() {
            let no = (base << BITS) | at as u64;
            let old = older.map(|kids| &kids[at]);
            match (kid, old) {
                (Kid::Empty, _) => {}
                (Kid::Inner(new), Some(Kid::Inner(old))) => new.changed_since(old, no, visit)?,
                (Kid::Inner(new), _) => new.changed_since(&none, no, visit)?,
                (Kid::Leaf(new), Some(Kid::Leaf(old))) if new.is(old) => {}
                (Kid::Leaf(new), _) => visit(PageNo(no), new),
            }
        }
        Ok(())
    }

    fn for_each(&self, base: u64, visit: &mut impl FnMut(PageNo, &PageRef)) -> io::Result<()> {
        for (at, kid) in self.kids()?.into_iter().flat_map(|kids| kids.iter().enumerate()) {
            let no = (base << BITS) | at as u64;
            match kid {
                Kid::Empty => {}
                Kid::Inner(inner) => inner.for_each(no, visit)?,
                Kid::Leaf(page) => visit(PageNo(no), page),
            }
        }
        Ok(())
    }
}

impl Lazy {
    fn kids(&self) -> io::Result<&Kids> {
        if let Some(kids) = self.kids.get() {
            return Ok(kids);
        }
        let bytes = self.source.node(self.digest)?;
        let kids = self.parse(&bytes).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{} is no node", self.digest))
        })?;
        Ok(self.kids.get_or_init(|| Arc::new(kids)))
    }

    fn parse(&self, bytes: &[u8]) -> Option<[Kid; FAN]> {
        let mut kids = std::array::from_fn(|_| Kid::Empty);
        let (parts, rest) = bytes.as_chunks::<{ 1 + 32 }>();
        let mut next = 0;
        for part in parts {
            let (at, digest) = (usize::from(part[0]), Digest(*part.last_chunk()?));
            if !(next..FAN).contains(&at) {
                return None;
            }
            next = at + 1;
            kids[at] = match (self.level, digest == Digest::default()) {
                (0, false) => Kid::Leaf(Page::stored(digest, 0, self.source.clone())),
                (0, true) if self.zeros_count => Kid::Leaf(Page::new(&[0; PAGE_SIZE])),
                (_, true) => return None,
                (level, false) => {
                    let source = self.source.clone();
                    Kid::Inner(Node::stored(digest, level - 1, self.zeros_count, source))
                }
            };
        }
        (rest.is_empty() && !parts.is_empty()).then_some(kids)
    }
}

fn slot(no: PageNo, level: u32) -> usize {
    let bits = (no.0 >> (BITS * level)) & (FAN as u64 - 1);
    usize::try_from(bits).expect("a slot is below FAN")
}
