//! Images that are read from the store when they are touched.

use crate::object::Sort;
use crate::{SpaceRef, Store};
use omni_base::{Digest, PAGE_SIZE};
use omni_memory::{Base, Image, Source};
use std::io;
use std::sync::Arc;

/// The store as the place where images are.
#[derive(Clone, Debug)]
pub struct StoreSource(pub Arc<Store>);

impl StoreSource {
    /// The image of a space, over the base that the manifest names. O(1).
    #[must_use]
    pub fn image(&self, of: &SpaceRef, base: Option<Arc<dyn Base>>) -> Image {
        let source: Arc<dyn Source> = Arc::new(self.clone());
        Image::stored(of.root, base, &source)
    }
}

impl Source for StoreSource {
    fn page(&self, digest: Digest, _: u64, into: &mut [u8; PAGE_SIZE]) -> io::Result<()> {
        Ok(self.0.read_page(digest, into)?)
    }

    fn node(&self, digest: Digest) -> io::Result<Vec<u8>> {
        Ok(self.0.read(Sort::Node, digest)?)
    }
}
