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
    bytes: u64,
    start: Image,
    persisted: Image,
    writer: Option<(SyncSender<Job>, JoinHandle<io::Result<()>>)>,
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
        let Some(path) = overlay else {
            let start = Image::over(Arc::new(image));
            return Ok(Self { bytes, persisted: start.clone(), start, writer: None });
        };
        let identity = image.digest();
        let below = Image::over(Arc::new(image));
        Self::with_overlay(below, identity, bytes, path)
    }

    /// A disk above an image that a snapshot holds, with the overlay of what came after it.
    ///
    /// # Errors
    /// Where the overlay does not fit.
    pub fn above(below: Image, bytes: u64, overlay: Option<&Path>) -> Result<Self, DiskError> {
        match overlay {
            Some(path) => Self::with_overlay(below.clone(), below.digest(), bytes, path),
            None => Ok(Self { bytes, persisted: below.clone(), start: below, writer: None }),
        }
    }

    fn with_overlay(
        below: Image,
        identity: Digest,
        bytes: u64,
        path: &Path,
    ) -> Result<Self, DiskError> {
        let fail = |error| DiskError::Io(path.into(), error);
        let mut overlay = Overlay::open(path, identity)?;
        let start = overlay.over(below).map_err(fail)?;
        let (sender, jobs) = sync_channel(FLUSHES_MAX);
        let body = move || write_all(overlay, &jobs);
        let thread = std::thread::Builder::new().name("disk".into()).spawn(body).map_err(fail)?;
        Ok(Self { bytes, persisted: start.clone(), start, writer: Some((sender, thread)) })
    }

    /// The size in bytes, a multiple of 512.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is on the disk when the machine begins.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.start
    }

    /// Makes an image of the machine's disk durable, and then answers the request.
    pub fn flush(&mut self, now: &Image, queue: &Arc<Queue>, id: IoId) {
        let answer = Some((queue.clone(), id));
        if !self.send(now, answer) {
            // A disk for reading only has nothing to make durable.
            queue.push(Item::Event(Event::IoDone { id, result: Ok(Vec::new()) }));
        }
    }

    /// Makes the machine's last writes durable, flushed or not, and waits for it.
    ///
    /// # Errors
    /// What the host says where some of them could not be written: those are lost.
    pub fn finish(&mut self, now: &Image) -> io::Result<()> {
        self.send(now, None);
        let Some((sender, thread)) = self.writer.take() else { return Ok(()) };
        drop(sender);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the writer of the disk panicked")))
    }

    fn send(&mut self, now: &Image, answer: Option<(Arc<Queue>, IoId)>) -> bool {
        let Some((sender, _)) = &self.writer else { return false };
        let mut pages = Vec::new();
        let changed =
            now.changed_since(&self.persisted, &mut |no, page| pages.push((no, page.clone())));
        changed.expect("what was written since was brought into memory for that");
        self.persisted = now.clone();
        sender.send(Job { pages, answer }).is_ok()
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
