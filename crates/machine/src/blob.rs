//! Bytes of any length that many specs share, in memory or elsewhere.

use omni_base::Digest;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// Where bytes are that need not be in memory for as long as a machine lives.
pub trait BlobSource: Send + Sync + fmt::Debug {
    /// How many there are.
    fn len(&self) -> u64;
    /// Reads those from `at` on; they are there as `len` says.
    ///
    /// # Errors
    /// What the host says.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes that many specs share: a kernel, a story, a program. Cloning costs nothing.
#[derive(Clone)]
pub struct Blob(Arc<Content>);

enum Content {
    Held(Arc<Vec<u8>>),
    Elsewhere {
        source: Box<dyn BlobSource>,
        /// Known when all of it was first read; it must not change from then on.
        digest: OnceLock<Digest>,
        /// Those that somebody still has.
        lent: Mutex<Weak<Vec<u8>>>,
    },
}

impl Blob {
    /// Bytes that stay in `source`, and are in memory only while somebody uses them.
    pub fn elsewhere(source: Box<dyn BlobSource>) -> Self {
        let (digest, lent) = (OnceLock::new(), Mutex::default());
        Self(Arc::new(Content::Elsewhere { source, digest, lent }))
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &*self.0 {
            Content::Held(bytes) => bytes.len() as u64,
            Content::Elsewhere { source, .. } => source.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them. Those that are elsewhere are in memory until the last taker lets go of them.
    ///
    /// # Errors
    /// Where they cannot be read, or are not what they were before.
    pub fn bytes(&self) -> io::Result<Arc<Vec<u8>>> {
        let (source, digest, lent) = match &*self.0 {
            Content::Held(bytes) => return Ok(bytes.clone()),
            Content::Elsewhere { source, digest, lent } => (source, digest, lent),
        };
        let mut lent = lent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = lent.upgrade() {
            return Ok(bytes);
        }
        let count = usize::try_from(source.len()).map_err(io::Error::other)?;
        let mut bytes = vec![0; count];
        source.read(0, &mut bytes)?;
        let found = Digest::of(&bytes);
        if *digest.get_or_init(|| found) != found {
            let why = "it was changed under a machine that was made from it";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let bytes = Arc::new(bytes);
        *lent = Arc::downgrade(&bytes);
        Ok(bytes)
    }

    /// The first bytes, `count` at most.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn head(&self, count: usize) -> io::Result<Vec<u8>> {
        match &*self.0 {
            Content::Held(bytes) => Ok(bytes[..count.min(bytes.len())].to_vec()),
            Content::Elsewhere { source, .. } => {
                let mut head =
                    vec![0; usize::try_from(source.len()).map_or(count, |l| l.min(count))];
                source.read(0, &mut head)?;
                Ok(head)
            }
        }
    }

    /// The same bytes, held in memory.
    ///
    /// # Errors
    /// As `bytes`.
    pub fn held(&self) -> io::Result<Self> {
        Ok(Self(Arc::new(Content::Held(self.bytes()?))))
    }

    /// The bytes, where they are held.
    pub(crate) fn here(&self) -> Option<&[u8]> {
        match &*self.0 {
            Content::Held(bytes) => Some(bytes),
            Content::Elsewhere { .. } => None,
        }
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Content::Held(Arc::new(bytes))))
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.here().is_some() { "held" } else { "elsewhere" };
        write!(f, "Blob({} bytes, {place})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// A thousand bytes of one value, and how often they were read.
    #[derive(Clone, Default, Debug)]
    struct Elsewhere(Arc<(AtomicU8, AtomicU8)>);

    impl BlobSource for Elsewhere {
        fn len(&self) -> u64 {
            1000
        }
        fn read(&self, _: u64, into: &mut [u8]) -> io::Result<()> {
            into.fill(self.0.0.load(Ordering::Relaxed));
            self.0.1.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn bytes_that_are_elsewhere_are_read_anew_once_nobody_has_them() {
        let source = Elsewhere::default();
        let blob = Blob::elsewhere(Box::new(source.clone()));
        let (one, two) = (blob.bytes().expect("reads"), blob.clone().bytes().expect("reads"));
        assert_eq!((one.len(), source.0.1.load(Ordering::Relaxed)), (1000, 1));
        drop((one, two));
        assert_eq!(blob.bytes().expect("reads")[..], [0; 1000]);
        assert_eq!(source.0.1.load(Ordering::Relaxed), 2);
        assert_eq!(blob.head(4).expect("reads"), [0; 4]);
        assert_eq!(blob.head(4000).expect("reads").len(), 1000);
    }

    #[test]
    fn bytes_that_were_changed_are_refused() {
        let source = Elsewhere::default();
        let blob = Blob::elsewhere(Box::new(source.clone()));
        drop(blob.bytes().expect("reads"));
        source.0.0.store(1, Ordering::Relaxed);
        assert_eq!(blob.bytes().expect_err("refused").kind(), io::ErrorKind::InvalidData);
    }
}
