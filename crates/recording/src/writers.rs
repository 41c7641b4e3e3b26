//! The threads behind a recording: one appends to the log, the other puts rungs away.

use crate::{LOG_BYTES_MAX, Pacing, Vault, rung_name};
use omni_base::{Digest, Tick};
use omni_lifecycle::{Check, LogHead, LogWriter, Moment, Pulse, Snapshot, surplus};
use omni_machine::Event;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what was written may wait for the disk.
const SYNC: Duration = Duration::from_secs(1);

/// Bytes that are collected before they are written, where entries come fast.
const WRITE_BYTES: usize = 256 << 10;

/// What goes into a log.
pub(crate) enum Entry {
    Event(Tick, Event),
    Pulse(Pulse),
    Check(Check),
    /// Answered when everything before it is on the disk.
    Sync(SyncSender<()>),
}

/// A rung that is to be put away.
pub(crate) struct Job {
    pub(crate) moment: Moment,
    pub(crate) snapshot: Snapshot,
    /// The pages that had changed since the one before, where that is known.
    pub(crate) pages: Option<u64>,
    /// Answered when it is there, where it is asked for: then it stays whatever is near it.
    pub(crate) done: Option<SyncSender<()>>,
}

/// What the threads tell the runner's.
#[derive(Default)]
pub(crate) struct Figures {
    log_bytes: AtomicU64,
    rung_bytes: AtomicU64,
    busy: AtomicBool,
    /// The pages that had changed before the last rung, and the bytes that it took.
    last: Mutex<Option<(u64, u64)>>,
    rung_after: Mutex<Option<Instant>>,
    failure: Mutex<Option<String>>,
    rung_failure: Mutex<Option<String>>,
}

impl Figures {
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn rung_bytes(&self) -> u64 {
        self.rung_bytes.load(Ordering::Relaxed)
    }

    /// The pages that had changed before the last rung of which that is known, and its bytes.
    pub(crate) fn last_rung(&self) -> Option<(u64, u64)> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no rung is on its way.
    fn is_idle(&self) -> bool {
        !self.busy.load(Ordering::Acquire)
    }

    /// Whether a rung may be taken by now, by what those before have cost.
    pub(crate) fn may_take(&self, now: Instant) -> bool {
        let after = self.rung_after.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_idle() && after.is_none_or(|after| now >= after)
    }

    /// Why nothing is recorded any more.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the last rung could not be put away. The log goes on without.
    pub(crate) fn rung_failure(&self) -> Option<String> {
        self.rung_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fail(&self, text: String) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
    }
}

/// The file of a log that grows.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    writer: LogWriter,
    figures: Arc<Figures>,
    bytes: u64,
    /// When the oldest bytes were written that are not on the disk.
    unsynced: Option<Instant>,
}

impl LogFile {
    /// Makes the file with its head: it is there whole or not at all.
    pub(crate) fn create(path: &Path, head: &LogHead, figures: Arc<Figures>) -> io::Result<Self> {
        let fresh = path.with_extension("new");
        let mut writer = LogWriter::new(head);
        let header = writer.take();
        // One that is left over is of a recording that never began.
        let _ = fs::remove_file(&fresh);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(&header)?;
        file.sync_all()?;
        fs::hard_link(&fresh, path)?;
        fs::remove_file(&fresh)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        let bytes = header.len() as u64;
        figures.log_bytes.store(bytes, Ordering::Relaxed);
        Ok(Self { path: path.to_owned(), file, writer, figures, bytes, unsynced: None })
    }

    /// Appends what comes until nothing can come any more.
    pub(crate) fn follow(mut self, entries: &Receiver<Entry>) {
        if let Err(error) = self.follow_inner(entries) {
            // A part of an entry is cut off by readers, where it cannot be cut off here.
            let _ = self.file.set_len(self.bytes);
            self.figures.fail(format!("{}: {error}", self.path.display()));
        }
    }

    fn follow_inner(&mut self, entries: &Receiver<Entry>) -> io::Result<()> {
        loop {
            let wait = match self.unsynced {
                Some(since) => SYNC.saturating_sub(since.elapsed()),
                None => Duration::from_secs(3600),
            };
            let first = match entries.recv_timeout(wait) {
                Ok(entry) => entry,
                Err(RecvTimeoutError::Timeout) => {
                    self.sync()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return self.sync(),
            };
            let mut answers = Vec::new();
            let mut bytes = self.encode(first, &mut answers);
            while bytes.len() < WRITE_BYTES
                && let Ok(entry) = entries.try_recv()
            {
                bytes.extend(self.encode(entry, &mut answers));
            }
            self.append(&bytes)?;
            let due = self.unsynced.is_some_and(|since| since.elapsed() >= SYNC);
            if due || !answers.is_empty() {
                self.sync()?;
            }
            for answer in answers {
                // Whoever asked may have gone.
                let _ = answer.send(());
            }
        }
    }

    fn encode(&mut self, entry: Entry, answers: &mut Vec<SyncSender<()>>) -> Vec<u8> {
        match entry {
            Entry::Event(tick, event) => self.writer.event(tick, &event),
            Entry::Pulse(pulse) => self.writer.pulse(&pulse),
            Entry::Check(check) => self.writer.check(&check),
            Entry::Sync(answer) => answers.push(answer),
        }
        self.writer.take()
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes + bytes.len() as u64 > LOG_BYTES_MAX {
            return Err(io::Error::other("the log has come to its largest size, 1 GiB"));
        }
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.figures.log_bytes.store(self.bytes, Ordering::Relaxed);
        if !bytes.is_empty() {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.take().is_some() {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

/// The rungs of a recording, oldest first.
pub(crate) struct Rungs {
    vault: Arc<dyn Vault>,
    kept: Vec<(Moment, Digest)>,
    figures: Arc<Figures>,
}

impl Rungs {
    /// Puts the first rung away.
    pub(crate) fn begin(
        vault: Arc<dyn Vault>,
        start: Moment,
        snapshot: &Snapshot,
        figures: Arc<Figures>,
    ) -> io::Result<Self> {
        let first = vault.put(&rung_name(start), snapshot)?;
        Ok(Self { vault, kept: vec![(start, first.id)], figures })
    }

    /// Puts away what comes, and tells the log of each.
    pub(crate) fn follow(mut self, jobs: &Receiver<Job>, log: &SyncSender<Entry>, pacing: Pacing) {
        let rate = pacing.rung_bytes_per_s;
        while let Ok(job) = jobs.recv() {
            self.figures.busy.store(true, Ordering::Release);
            let began = Instant::now();
            let done = self.put(&job, log);
            // Without it replay starts from an earlier one: that is slower, and as right.
            let failure_free = done.is_ok();
            let failure = done.as_ref().err().map(ToString::to_string);
            *self.figures.rung_failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
            let bytes = done.unwrap_or(0);
            let pause = Duration::from_millis(bytes.saturating_mul(1000) / rate.max(1));
            // Not more than a part of a core, where pages are costly rather than many.
            let pause = pause.max(began.elapsed().saturating_mul(pacing.rung_rest));
            let after = began.checked_add(pause).unwrap_or(began);
            *self.figures.rung_after.lock().unwrap_or_else(PoisonError::into_inner) = Some(after);
            self.figures.busy.store(false, Ordering::Release);
            if let (Some(done), true) = (job.done, failure_free) {
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
    }

    fn put(&mut self, job: &Job, log: &SyncSender<Entry>) -> io::Result<u64> {
        let Job { moment, snapshot, pages, done } = job;
        let Err(at) = self.kept.binary_search_by_key(moment, |(moment, _)| *moment) else {
            return Ok(0);
        };
        let kept = self.vault.put(&rung_name(*moment), snapshot)?;
        self.figures.rung_bytes.fetch_add(kept.bytes, Ordering::Relaxed);
        if let Some(pages) = pages {
            let last = Some((*pages, kept.bytes));
            *self.figures.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        }
        self.kept.insert(at, (*moment, kept.id));
        // A log that has ended needs no check.
        let _ = log.send(Entry::Check(Check { moment: *moment, mark: snapshot.mark() }));
        if done.is_some() {
            return Ok(kept.bytes);
        }
        let ticks: Vec<Tick> = self.kept.iter().map(|(moment, _)| moment.tick).collect();
        for at in surplus(&ticks, moment.tick).into_iter().rev() {
            let (_, id) = self.kept.remove(at);
            self.vault.remove(id)?;
        }
        Ok(kept.bytes)
    }
}
