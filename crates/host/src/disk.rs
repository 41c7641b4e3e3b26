//! A disk of a machine on the host: an image that is never written, and an overlay above it.

use crate::disk_files::{DiskImage, DiskSource};
use crate::files::error_code;
use crate::overlay::{Overlay, OverlayError};
use crate::queue::{Item, Queue};
use omni_base::{Digest, PageNo};
use omni_disk::ImageError;
use omni_machine::{Event, IoId};
use omni_memory::{Base, Image, PageRef};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Flushes under way for one disk. A guest has few at a time; more of them wait in the machine.
const FLUSHES_MAX: usize = 64;

/// Why a disk could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The host cannot.
    #[error("the disk {0}: {1}")]
    Io(PathBuf, io::Error),
    /// The image, or one that it is made above, cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The overlay cannot be used.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
}

/// One disk of a machine: what it begins with, and the thread that makes its writes durable.
pub struct Disk {
    root: DiskRoot,
    start: Image,
    persisted: Image,
    writer: Writer,
}

/// What is below a disk's overlay. Disks that were forked from one another have it in common.
#[derive(Clone, Debug)]
pub struct DiskRoot {
    below: Image,
    bytes: u64,
    /// What overlays know `below` by; none where the machine does not write.
    identity: Option<Digest>,
}

/// Who makes the writes to a disk durable.
enum Writer {
    /// Nobody: it is for reading only.
    None,
    /// Nobody yet: the overlay is made for the first write.
    At(PathBuf),
    Runs(SyncSender<Job>, JoinHandle<io::Result<()>>),
}

/// A flush: what changed since the one before.
struct Job {
    pages: Vec<(PageNo, PageRef)>,
    answer: Option<(Arc<Queue>, IoId)>,
}

impl Disk {
    /// Opens an image, with the overlay where the machine writes; without one the disk is for
    /// reading only.
    ///
    /// # Errors
    /// Where the image cannot be used, and where the overlay does not fit.
    pub fn open(source: &DiskSource, overlay: Option<&Path>) -> Result<Self, DiskError> {
        let image = DiskImage::open(source)?;
        let bytes = image.chain().bytes().next_multiple_of(512);
        let identity = overlay.map(|_| image.digest());
        let below = Image::over(Arc::new(image));
        Self::with_overlay(below, bytes, overlay.zip(identity))
    }

    /// A disk above an image that a snapshot holds, with the overlay of what came after it: where
    /// nothing did, it is made for the first write.
    ///
    /// # Errors
    /// Where the overlay does not fit.
    pub fn above(below: Image, bytes: u64, overlay: Option<&Path>) -> Result<Self, DiskError> {
        let identity = overlay.map(|_| below.digest());
        match overlay {
            Some(path) if !path.exists() => {
                let root = DiskRoot { below: below.clone(), bytes, identity };
                let writer = Writer::At(path.into());
                Ok(Self { root, persisted: below.clone(), start: below, writer })
            }
            _ => Self::with_overlay(below, bytes, overlay.zip(identity)),
        }
    }

    /// The disk of a machine that was forked from another in this process: what `now` has over
    /// `root` is its own, and goes into an overlay of its own with its first write.
    #[must_use]
    pub fn forked(root: DiskRoot, now: Image, overlay: PathBuf) -> Self {
        let writer = if root.identity.is_some() { Writer::At(overlay) } else { Writer::None };
        Self { persisted: root.below.clone(), root, start: now, writer }
    }

    fn with_overlay(
        below: Image,
        bytes: u64,
        overlay: Option<(&Path, Digest)>,
    ) -> Result<Self, DiskError> {
        let identity = overlay.map(|(_, identity)| identity);
        let root = DiskRoot { below: below.clone(), bytes, identity };
        let Some((path, identity)) = overlay else {
            return Ok(Self { root, persisted: below.clone(), start: below, writer: Writer::None });
        };
        let fail = |error| DiskError::Io(path.into(), error);
        let mut overlay = Overlay::open(path, identity)?;
        let start = overlay.over(below).map_err(fail)?;
        let writer = Writer::start(overlay).map_err(fail)?;
        Ok(Self { root, persisted: start.clone(), start, writer })
    }

    /// What is below its overlay.
    #[must_use]
    pub fn root(&self) -> &DiskRoot {
        &self.root
    }

    /// The size in bytes, a multiple of 512.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.root.bytes
    }

    /// What is on the disk when the machine begins.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.start
    }

    /// Makes an image of the machine's disk durable, and then answers the request.
    pub fn flush(&mut self, now: &Image, queue: &Arc<Queue>, id: IoId) {
        let answer = Some((queue.clone(), id));
        let result = match self.send(now, answer) {
            Ok(true) => return,
            // A disk for reading only has nothing to make durable.
            Ok(false) => Ok(Vec::new()),
            Err(error) => Err(error_code(&error)),
        };
        queue.push(Item::Event(Event::IoDone { id, result }));
    }

    /// Makes the machine's last writes durable, flushed or not, and waits for it.
    ///
    /// # Errors
    /// What the host says where some of them could not be written: those are lost.
    pub fn finish(&mut self, now: &Image) -> io::Result<()> {
        self.send(now, None)?;
        match std::mem::replace(&mut self.writer, Writer::None) {
            Writer::None | Writer::At(_) => Ok(()),
            Writer::Runs(sender, thread) => {
                drop(sender);
                let panicked = |_| Err(io::Error::other("the writer of the disk panicked"));
                thread.join().unwrap_or_else(panicked)
            }
        }
    }

    /// Says whether somebody took it, and will answer.
    fn send(&mut self, now: &Image, answer: Option<(Arc<Queue>, IoId)>) -> io::Result<bool> {
        if let Writer::None = self.writer {
            return Ok(false);
        }
        let mut pages = Vec::new();
        let changed =
            now.changed_since(&self.persisted, &mut |no, page| pages.push((no, page.clone())));
        changed?;
        if let (Writer::At(path), Some(identity)) = (&self.writer, self.root.identity) {
            if pages.is_empty() {
                return Ok(false);
            }
            // It is no copy of the other machine's: all that this one's has is in it.
            let overlay = Overlay::open(path, identity)
                .map_err(|error| io::Error::other(error.to_string()))?;
            self.writer = Writer::start(overlay)?;
        }
        let Writer::Runs(sender, _) = &self.writer else { return Ok(false) };
        self.persisted = now.clone();
        Ok(sender.send(Job { pages, answer }).is_ok())
    }
}

impl Writer {
    fn start(overlay: Overlay) -> io::Result<Self> {
        let (sender, jobs) = sync_channel(FLUSHES_MAX);
        let body = move || write_all(overlay, &jobs);
        let thread = std::thread::Builder::new().name("disk".into()).spawn(body)?;
        Ok(Self::Runs(sender, thread))
    }
}

/// The writer's thread. Pages of a flush that failed are tried again with the next one; what it
/// gives is how the last one ended.
fn write_all(mut overlay: Overlay, jobs: &Receiver<Job>) -> io::Result<()> {
    let mut owed: Vec<(PageNo, PageRef)> = Vec::new();
    let mut last = Ok(());
    while let Ok(job) = jobs.recv() {
        owed.extend(job.pages);
        last = if owed.is_empty() { Ok(()) } else { overlay.commit(&owed) };
        if last.is_ok() {
            owed.clear();
        } else {
            // The last write of a page is the one that counts.
            owed.reverse();
            owed.sort_by_key(|(no, _)| *no);
            owed.dedup_by_key(|(no, _)| *no);
        }
        if let Some((queue, id)) = job.answer {
            let result = match &last {
                Ok(()) => Ok(Vec::new()),
                Err(error) => Err(error_code(error)),
            };
            queue.push(Item::Event(Event::IoDone { id, result }));
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempDir;
    use omni_base::Gpa;
    use omni_memory::Space;

    fn answer(queue: &Queue) -> Event {
        queue.wait(None);
        match queue.take().pop_front() {
            Some(Item::Event(event)) => event,
            _ => panic!("an answer"),
        }
    }

    #[test]
    fn a_flushed_write_is_there_after_the_next_start_and_the_image_is_untouched() {
        let dir = TempDir::new("disk").expect("a writable host");
        let (image, overlay) = (dir.path().join("disk.raw"), dir.path().join("disk.overlay"));
        std::fs::write(&image, vec![7; 10_000]).expect("writable");
        let queue = Arc::new(Queue::default());
        let mut disk = Disk::open(&DiskSource::new(&image), Some(&overlay)).expect("raw");
        assert_eq!(disk.bytes(), 10_240);
        let mut space = Space::from_image("disk0", 3, disk.image().clone());
        space.store(Gpa(4090), b"hello world").expect("inside");
        disk.flush(&space.seal().image, &queue, IoId(1));
        assert_eq!(answer(&queue), Event::IoDone { id: IoId(1), result: Ok(vec![]) });
        space.store(Gpa(0), b"unflushed").expect("inside");
        disk.finish(&space.seal().image).expect("room");
        let again = Disk::open(&DiskSource::new(&image), Some(&overlay)).expect("raw");
        let space = Space::from_image("disk0", 3, again.image().clone());
        let mut got = [0; 11];
        space.read(Gpa(4090), &mut got).expect("inside");
        assert_eq!(&got, b"hello world");
        space.read(Gpa(0), &mut got).expect("inside");
        assert_eq!(&got, b"unflushed\x07\x07");
        space.read(Gpa(9995), &mut got).expect("inside");
        assert_eq!(&got, b"\x07\x07\x07\x07\x07\0\0\0\0\0\0", "beyond the end it is zero");
        assert_eq!(std::fs::read(&image).expect("there"), vec![7; 10_000]);
    }

    #[test]
    fn forked_disks_part_and_each_is_there_after_the_next_start() {
        let dir = TempDir::new("disk-fork").expect("a writable host");
        let at = |name: &str| dir.path().join(name);
        let image = at("disk.raw");
        std::fs::write(&image, vec![7; 20_000]).expect("writable");
        let source = DiskSource::new(&image);
        let mut first = Disk::open(&source, Some(&at("first"))).expect("raw");
        let mut space = Space::from_image("disk0", 5, first.image().clone());
        space.store(Gpa(0), b"before").expect("inside");
        let now = space.seal().image;
        let mut forks = ["one", "two"].map(|name| {
            let disk = Disk::forked(first.root().clone(), now.clone(), at(name));
            (name, Space::from_image("disk0", 5, disk.image().clone()), disk)
        });
        assert!(!at("one").exists(), "nothing is written before it must be");
        for (name, space, disk) in &mut forks {
            space.store(Gpa(5000), name.as_bytes()).expect("inside");
            disk.finish(&space.seal().image).expect("room");
        }
        space.store(Gpa(5000), b"own").expect("inside");
        first.finish(&space.seal().image).expect("room");
        for (name, text) in [("first", b"own"), ("one", b"one"), ("two", b"two")] {
            let again = Disk::open(&source, Some(&at(name))).expect("raw");
            let space = Space::from_image("disk0", 5, again.image().clone());
            assert_eq!(&space.load::<6>(Gpa(0)).expect("inside"), b"before");
            assert_eq!(&space.load::<3>(Gpa(5000)).expect("inside"), text, "{name}");
        }
    }

    #[test]
    fn a_disk_for_reading_answers_a_flush_at_once() {
        let dir = TempDir::new("disk-ro").expect("a writable host");
        let image = dir.path().join("disk.raw");
        std::fs::write(&image, [1; 512]).expect("writable");
        let queue = Arc::new(Queue::default());
        let mut disk = Disk::open(&DiskSource::new(&image), None).expect("raw");
        disk.flush(&disk.image().clone(), &queue, IoId(9));
        assert_eq!(answer(&queue), Event::IoDone { id: IoId(9), result: Ok(vec![]) });
    }

    #[test]
    fn an_image_that_is_damaged_is_refused_with_the_name_of_the_field() {
        let dir = TempDir::new("disk-format").expect("a writable host");
        let image = dir.path().join("disk.qcow2");
        let mut bytes = b"QFI\xfb\0\0\0\x03".to_vec();
        bytes.resize(200, 0);
        std::fs::write(&image, bytes).expect("writable");
        let error = Disk::open(&DiskSource::new(&image), None).err().expect("not sound");
        let error = error.to_string();
        assert!(error.contains("qcow2") && error.contains("cluster_bits"), "{error}");
    }
}
