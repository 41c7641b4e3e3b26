//! Persistent images: immutable page tables that share structure with their parents.

use crate::frame::Frame;
use omni_base::{Digest, PAGE_SIZE, PageNo};
use std::fmt;
use std::sync::{Arc, OnceLock};

const BITS: u32 = 6;
const FAN: usize = 1 << BITS;
const DEPTH: u32 = 6;

/// One immutable page. Its digest is computed when first asked for, behind the running machine.
pub struct Page {
    frame: Frame,
    /// `None` where all bytes are zero.
    digest: OnceLock<Option<Digest>>,
}

/// A counted reference to an immutable page.
pub type PageRef = Arc<Page>;

impl Page {
    /// A page with this content.
    #[must_use]
    pub fn new(bytes: &[u8; PAGE_SIZE]) -> PageRef {
        Self::from_frame(Frame::copy_of(bytes))
    }

    pub(crate) fn from_frame(frame: Frame) -> PageRef {
        Arc::new(Self { frame, digest: OnceLock::new() })
    }

    /// The content.
    #[must_use]
    pub fn bytes(&self) -> &[u8; PAGE_SIZE] {
        self.frame.bytes()
    }

    /// The digest of the content, or `None` where all of it is zero.
    pub fn digest(&self) -> Option<Digest> {
        *self.digest.get_or_init(|| {
            let zero = self.bytes().iter().all(|byte| *byte == 0);
            (!zero).then(|| Digest::of(self.bytes()))
        })
    }

    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
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
    fn read(&self, no: PageNo, into: &mut [u8; PAGE_SIZE]) -> std::io::Result<()>;
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

#[derive(Clone, Default, Debug)]
struct Node {
    kids: Option<Arc<[Kid; FAN]>>,
    digest: OnceLock<Option<Digest>>,
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

    /// The base, if there is one.
    #[must_use]
    pub fn base(&self) -> Option<&Arc<dyn Base>> {
        self.base.as_ref()
    }

    /// The page at `no`, or `None` where it is the base's or zero.
    #[must_use]
    pub fn get(&self, no: PageNo) -> Option<&PageRef> {
        let mut node = &self.root;
        for level in (0..DEPTH).rev() {
            match &node.kids.as_ref()?[slot(no, level)] {
                Kid::Empty => return None,
                Kid::Inner(inner) => node = inner,
                Kid::Leaf(page) => return Some(page),
            }
        }
        None
    }

    /// Replaces the page at `no`: copies the path to it, shares all the rest.
    ///
    /// # Panics
    /// Where `no` is not below `PAGES_MAX`.
    pub fn set(&mut self, no: PageNo, page: PageRef) {
        assert!(no.0 < Self::PAGES_MAX);
        let mut node = &mut self.root;
        for level in (0..DEPTH).rev() {
            node.digest = OnceLock::new();
            let empty = || Arc::new(std::array::from_fn(|_| Kid::Empty));
            let kids = Arc::make_mut(node.kids.get_or_insert_with(empty));
            let kid = &mut kids[slot(no, level)];
            if level == 0 {
                *kid = Kid::Leaf(page);
                return;
            }
            if let Kid::Empty = kid {
                *kid = Kid::Inner(Node::default());
            }
            let Kid::Inner(inner) = kid else { unreachable!("leaves are at level 0 only") };
            node = inner;
        }
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

    /// The pages in which this image differs from an older one, in order, without those that
    /// only the older one holds. O(pages changed), as shared parts are skipped whole.
    pub fn changed_since(&self, older: &Self, visit: &mut impl FnMut(PageNo, &PageRef)) {
        self.root.changed_since(&older.root, 0, visit);
    }

    /// Visits every page that is held, in order.
    pub fn for_each(&self, visit: &mut impl FnMut(PageNo, &PageRef)) {
        self.root.for_each(0, visit);
    }
}

impl Node {
    fn digest(&self, zeros_count: bool) -> Option<Digest> {
        *self.digest.get_or_init(|| {
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
            (!parts.is_empty()).then(|| Digest::of(&parts))
        })
    }

    fn changed_since(&self, older: &Self, base: u64, visit: &mut impl FnMut(PageNo, &PageRef)) {
        let Some(kids) = &self.kids else { return };
        if older.kids.as_ref().is_some_and(|older| Arc::ptr_eq(kids, older)) {
            return;
        }
        let none = Self::default();
        for (at, kid) in kids.iter().enumerate() {
            let no = (base << BITS) | at as u64;
            let old = older.kids.as_ref().map(|kids| &kids[at]);
            match (kid, old) {
                (Kid::Empty, _) => {}
                (Kid::Inner(new), Some(Kid::Inner(old))) => new.changed_since(old, no, visit),
                (Kid::Inner(new), _) => new.changed_since(&none, no, visit),
                (Kid::Leaf(new), Some(Kid::Leaf(old))) if Arc::ptr_eq(new, old) => {}
                (Kid::Leaf(new), _) => visit(PageNo(no), new),
            }
        }
    }

    fn for_each(&self, base: u64, visit: &mut impl FnMut(PageNo, &PageRef)) {
        for (at, kid) in self.kids.iter().flat_map(|kids| kids.iter().enumerate()) {
            let no = (base << BITS) | at as u64;
            match kid {
                Kid::Empty => {}
                Kid::Inner(inner) => inner.for_each(no, visit),
                Kid::Leaf(page) => visit(PageNo(no), page),
            }
        }
    }
}

fn slot(no: PageNo, level: u32) -> usize {
    let bits = (no.0 >> (BITS * level)) & (FAN as u64 - 1);
    usize::try_from(bits).expect("a slot is below FAN")
}
