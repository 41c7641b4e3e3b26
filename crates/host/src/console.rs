//! A console's output: kept for a while, logged, and handed to whoever is attached.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Output that waits for one subscriber, in bytes.
const WAITING_BYTES_MAX: usize = 256 << 10;

/// Output kept for those who attach later, in bytes.
const HISTORY_BYTES_MAX: usize = 64 << 10;

/// The log in bytes, before it becomes the older one and a new one begins.
const LOG_BYTES_MAX: u64 = 4 << 20;

/// What a subscriber gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Chunk {
    /// Output, in order.
    Bytes(Vec<u8>),
    /// So many bytes were lost before the next chunk, as the subscriber was too slow.
    Lost(u64),
    /// Nothing came within the time given.
    Nothing,
    /// Nothing will come any more.
    End,
}

struct Waiting {
    bytes: VecDeque<u8>,
    lost: u64,
    hold: bool,
}

struct Log {
    path: PathBuf,
    file: Writing,
    size: u64,
}

/// The file of a log. Machines that say nothing have none open: there may be thousands.
enum Writing {
    NotYet,
    To(File),
    GivenUp,
}

struct Inner {
    history: VecDeque<u8>,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    log: Log,
    ended: bool,
}

/// One console of a machine.
pub struct Console {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Console {
    /// A console that logs to `path`; a full log becomes `path.1`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let log = Log { path: path.into(), file: Writing::NotYet, size: 0 };
        let inner = Inner {
            history: VecDeque::new(),
            waiting: BTreeMap::new(),
            next: 0,
            log,
            ended: false,
        };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// Takes output of the machine.
    pub fn output(&self, bytes: &[u8]) {
        let mut inner = self.lock();
        inner.log.write(bytes);
        keep_last(&mut inner.history, bytes, HISTORY_BYTES_MAX);
        for waiting in inner.waiting.values_mut() {
            if waiting.hold {
                waiting.bytes.extend(bytes);
            } else {
                waiting.lost += keep_last(&mut waiting.bytes, bytes, WAITING_BYTES_MAX);
            }
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Whether the machine must wait for a subscriber that wants every byte.
    #[must_use]
    pub fn full(&self) -> bool {
        let full = |waiting: &Waiting| waiting.hold && waiting.bytes.len() >= WAITING_BYTES_MAX;
        self.lock().waiting.values().any(full)
    }

    /// Joins. `history` is how many bytes of the past come first; with `hold` the machine waits
    /// rather than that a byte is lost.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, history: usize, hold: bool) -> Subscription {
        let mut inner = self.lock();
        let skip = inner.history.len().saturating_sub(history);
        let bytes: VecDeque<u8> = inner.history.iter().skip(skip).copied().collect();
        let id = inner.next;
        inner.next += 1;
        inner.waiting.insert(id, Waiting { bytes, lost: 0, hold });
        Subscription { console: self.clone(), id }
    }

    /// The machine has ended: what waits is still delivered.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits until every subscriber has taken everything, at most as long as given.
    pub fn drain(&self, most: Duration) {
        let until = Instant::now().checked_add(most);
        let mut inner = self.lock();
        while inner.waiting.values().any(|waiting| !waiting.bytes.is_empty()) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let Some(left) = left.filter(|left| !left.is_zero()) else { return };
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the audience of a console.
pub struct Subscription {
    console: Arc<Console>,
    id: u64,
}

impl Subscription {
    /// What came, after waiting at most `most` for it.
    #[must_use]
    pub fn next(&self, most: Duration) -> Chunk {
        let until = Instant::now() + most;
        let mut inner = self.console.lock();
        loop {
            let ended = inner.ended;
            let Some(waiting) = inner.waiting.get_mut(&self.id) else { return Chunk::End };
            if waiting.lost > 0 {
                return Chunk::Lost(std::mem::take(&mut waiting.lost));
            }
            if !waiting.bytes.is_empty() {
                let count = waiting.bytes.len().min(16 << 10);
                let bytes = waiting.bytes.drain(..count).collect();
                drop(inner);
                self.console.changed.notify_all();
                return Chunk::Bytes(bytes);
            }
            if ended {
                return Chunk::End;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Chunk::Nothing;
            }
            let waited = self.console.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.console.lock().waiting.remove(&self.id);
        self.console.changed.notify_all();
    }
}

impl Log {
    /// Appends. A log that cannot be written is given up: the machine matters more.
    fn write(&mut self, bytes: &[u8]) {
        if let Writing::NotYet = self.file {
            let file = OpenOptions::new().create(true).append(true).open(&self.path);
            self.size = file.as_ref().ok().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
            self.file = file.map_or(Writing::GivenUp, Writing::To);
        }
        if self.size >= LOG_BYTES_MAX {
            let older = self.path.with_extension("log.1");
            let moved = std::fs::rename(&self.path, older);
            let fresh = moved.and_then(|()| File::create(&self.path));
            (self.file, self.size) = (fresh.map_or(Writing::GivenUp, Writing::To), 0);
        }
        if let Writing::To(file) = &mut self.file {
            if file.write_all(bytes).is_err() {
                self.file = Writing::GivenUp;
            }
            self.size += bytes.len() as u64;
        }
    }
}

/// Appends and drops the oldest beyond a bound. Says how many were dropped.
fn keep_last(all: &mut VecDeque<u8>, bytes: &[u8], most: usize) -> u64 {
    all.extend(bytes);
    let over = all.len().saturating_sub(most);
    all.drain(..over);
    over as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempDir;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn whoever_joins_later_gets_the_tail_of_the_past() {
        let dir = TempDir::new("console").expect("a writable host");
        let console = Arc::new(Console::new(&dir.path().join("console.log")));
        console.output(b"hello world");
        let all = console.subscribe(100, false);
        let tail = console.subscribe(5, false);
        let none = console.subscribe(0, false);
        assert_eq!(all.next(SOON), Chunk::Bytes(b"hello world".to_vec()));
        assert_eq!(tail.next(SOON), Chunk::Bytes(b"world".to_vec()));
        assert_eq!(none.next(Duration::ZERO), Chunk::Nothing);
        console.output(b"!");
        console.end();
        assert_eq!(none.next(SOON), Chunk::Bytes(b"!".to_vec()));
        assert_eq!(none.next(SOON), Chunk::End);
    }

    #[test]
    fn a_slow_subscriber_loses_the_oldest_or_holds_the_machine() {
        let dir = TempDir::new("console-slow").expect("a writable host");
        let console = Arc::new(Console::new(&dir.path().join("console.log")));
        let slow = console.subscribe(0, false);
        console.output(&vec![b'x'; WAITING_BYTES_MAX + 7]);
        assert!(!console.full());
        assert_eq!(slow.next(SOON), Chunk::Lost(7));
        let holding = console.subscribe(0, true);
        console.output(&vec![b'y'; WAITING_BYTES_MAX + 7]);
        assert!(console.full());
        drop(holding);
        assert!(!console.full());
    }

    #[test]
    fn a_full_log_becomes_the_older_one() {
        let dir = TempDir::new("console-log").expect("a writable host");
        let path = dir.path().join("console.log");
        let console = Console::new(&path);
        for _ in 0..9 {
            console.output(&vec![b'x'; 1 << 20]);
        }
        let size = |path: &Path| std::fs::metadata(path).map(|meta| meta.len()).unwrap_or(0);
        assert_eq!(size(&path), 1 << 20);
        assert_eq!(size(&dir.path().join("console.log.1")), LOG_BYTES_MAX);
    }
}
