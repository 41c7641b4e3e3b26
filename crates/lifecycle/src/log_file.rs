//! Logs as bytes: written piece by piece as things happen, and read back. See
//! `docs/formats/log.md`.

use crate::{Check, Log, LogHead, Mark, Moment, Pulse};
use omni_base::{Digest, Tick};
use omni_machine::Event;
use omni_state::{Field, Reader, StateError, Writer};

/// The first bytes of a log (section 1 of the format).
const MAGIC: [u8; 8] = *b"OMNI-LOG";

/// The version of the format that this build writes.
const VERSION: u32 = 2;

/// The oldest version that this build reads.
const VERSION_MIN: u32 = 1;

/// The sorts of entries (section 2).
mod sort {
    pub(super) const EVENT: u8 = 0;
    pub(super) const CHECK: u8 = 1;
    pub(super) const PULSE: u8 = 2;
    pub(super) const LATE_CHECK: u8 = 3;
}

/// Why a log cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// The bytes do not begin as a log does.
    #[error("this is not a log")]
    NotLog,
    /// The log is of a format this build does not know.
    #[error("the log has format {0}, which this build does not know")]
    Version(u32),
    /// The log ends before its header does.
    #[error("the log ends before its header does")]
    Truncated,
    /// A check of some bytes does not fit.
    #[error("the log is damaged at byte {0}")]
    Damaged(usize),
    /// An entry is whole, but not as the format says.
    #[error("the log is not sound at byte {at}: {why}")]
    Shape {
        /// Where the entry begins.
        at: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// An entry is whole, but cannot be decoded.
    #[error("the log is not sound at byte {at}: {why}")]
    State {
        /// Where the entry begins.
        at: usize,
        /// What is wrong.
        why: StateError,
    },
}

/// Makes the bytes of a log as things happen, so that they can be appended to a file.
#[derive(Debug)]
pub struct LogWriter {
    /// The digest of all bytes so far, by way of each entry.
    chain: Digest,
    /// The last moment of which it tells.
    now: Moment,
    out: Vec<u8>,
}

impl LogWriter {
    /// A writer that has the header to give.
    ///
    /// # Panics
    /// Where the head has 4 GiB or more.
    #[must_use]
    pub fn new(head: &LogHead) -> Self {
        let mut body = Writer::default();
        head.kind.put(&mut body);
        head.semantics.put(&mut body);
        head.tick.put(&mut body);
        head.digest.put(&mut body);
        head.about.put(&mut body);
        let length = u32::try_from(body.0.len()).expect("a head is short");
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&body.0);
        let chain = Digest::of(&out);
        out.extend_from_slice(&chain.0);
        Self { chain, now: Moment { events: 0, tick: head.tick }, out }
    }

    /// The last moment of which it was told.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Writes down that an event was let in.
    ///
    /// # Panics
    /// Where `tick` is before what was written already.
    pub fn event(&mut self, tick: Tick, event: &Event) {
        let mut body = self.body(sort::EVENT, tick);
        event.put(&mut body);
        self.put(&body);
        self.now.events += 1;
    }

    /// Writes down a short mark of the present moment.
    ///
    /// # Panics
    /// Where that is not the present moment, or before what was written already.
    pub fn pulse(&mut self, pulse: &Pulse) {
        assert_eq!(pulse.moment.events, self.now.events, "a pulse is of the present");
        let mut body = self.body(sort::PULSE, pulse.moment.tick);
        pulse.records.put(&mut body);
        self.put(&body);
    }

    /// Writes down what the state was at a moment, which may have passed.
    ///
    /// # Panics
    /// Where the moment is after the present.
    pub fn check(&mut self, check: &Check) {
        let Check { moment, mark } = check;
        let present = moment.events == self.now.events && moment.tick >= self.now.tick;
        assert!(present || *moment <= self.now, "a check is not of the future");
        let mut body = if present {
            self.body(sort::CHECK, moment.tick)
        } else {
            let mut body = self.body(sort::LATE_CHECK, self.now.tick);
            (moment.events as u64).put(&mut body);
            moment.tick.put(&mut body);
            body
        };
        mark.records.put(&mut body);
        mark.spaces.put(&mut body);
        self.put(&body);
    }

    /// The bytes that were not given yet.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn body(&mut self, sort: u8, tick: Tick) -> Writer {
        assert!(tick >= self.now.tick, "time does not go back in a log");
        self.now.tick = tick;
        let mut body = Writer::default();
        sort.put(&mut body);
        tick.put(&mut body);
        body
    }

    fn put(&mut self, body: &Writer) {
        let length = u32::try_from(body.0.len()).expect("an entry is below 4 GiB").to_le_bytes();
        self.out.extend_from_slice(&length);
        self.out.extend_from_slice(&length_check(self.chain, &length));
        self.out.extend_from_slice(&body.0);
        self.chain = Digest::of_parts([&self.chain.0[..], &length, &body.0]);
        self.out.extend_from_slice(&self.chain.0[..8]);
    }
}

impl Log {
    /// The whole log as bytes: each mark at its moment.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = LogWriter::new(&self.head);
        let (mut checks, mut pulses) =
            (self.checks.iter().peekable(), self.pulses.iter().peekable());
        for at in 0..=self.events.len() {
            loop {
                let check = checks.peek().map(|check| check.moment);
                let pulse = pulses.peek().map(|pulse| pulse.moment);
                let check = check.filter(|moment| moment.events == at);
                let pulse = pulse.filter(|moment| moment.events == at);
                match (check, pulse) {
                    (Some(check), pulse) if pulse.is_none_or(|pulse| check <= pulse) => {
                        checks.next().into_iter().for_each(|check| writer.check(check));
                    }
                    (_, Some(_)) => pulses.next().into_iter().for_each(|one| writer.pulse(one)),
                    (_, None) => break,
                }
            }
            if let Some((tick, event)) = self.events.get(at) {
                writer.event(*tick, event);
            }
        }
        writer.take()
    }

    /// Reads a log, and says how many bytes at its end are of an entry that is not whole: what
    /// a writer leaves that was stopped at the wrong time.
    ///
    /// # Errors
    /// Where the bytes are not a log, or are damaged before their end.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, usize), LogError> {
        let (mut log, mut chain, mut rest) = Self::get_header(bytes)?;
        let mut now = log.head.tick;
        let torn = loop {
            let at = bytes.len() - rest.len();
            let Some((entry, after)) = next_entry(&mut chain, rest, at)? else {
                break rest.len();
            };
            log.get_entry(entry, at, &mut now)?;
            rest = after;
        };
        // Those that came late are not where they belong yet.
        log.checks.sort_by_key(|check| check.moment);
        Ok((log, torn))
    }

    fn get_header(bytes: &[u8]) -> Result<(Self, Digest, &[u8]), LogError> {
        let seen = bytes.len().min(MAGIC.len());
        if bytes[..seen] != MAGIC[..seen] {
            return Err(LogError::NotLog);
        }
        let mut from = Reader(bytes);
        let short = |_| LogError::Truncated;
        from.take(8).map_err(short)?;
        let version = u32::get(&mut from).map_err(short)?;
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(LogError::Version(version));
        }
        let length = u32::get(&mut from).map_err(short)?;
        let length = usize::try_from(length).map_err(|_| LogError::Truncated)?;
        let body = from.take(length).map_err(short)?;
        let chain = Digest::of(&bytes[..16 + length]);
        if from.take(32).map_err(short)? != chain.0 {
            return Err(LogError::Damaged(0));
        }
        let mut body = Reader(body);
        let head = get_head(&mut body, version).map_err(|why| LogError::State { at: 16, why })?;
        if body.0.is_empty() {
            Ok((Self::empty(head), chain, from.0))
        } else {
            Err(LogError::Shape { at: 16, why: "bytes after its header's end" })
        }
    }

    /// Takes an entry; `now` is the last tick so far.
    fn get_entry(&mut self, entry: &[u8], at: usize, now: &mut Tick) -> Result<(), LogError> {
        let broken = |why| LogError::State { at, why };
        let shape = |why| LogError::Shape { at, why };
        let mut from = Reader(entry);
        let tag = u8::get(&mut from).map_err(broken)?;
        let tick = Tick::get(&mut from).map_err(broken)?;
        if tick < *now {
            return Err(shape("time goes back"));
        }
        *now = tick;
        let moment = Moment { events: self.events.len(), tick };
        match tag {
            sort::EVENT => self.events.push((tick, Event::get(&mut from).map_err(broken)?)),
            sort::CHECK => {
                let mark = get_mark(&mut from).map_err(broken)?;
                self.checks.push(Check { moment, mark });
            }
            sort::PULSE => {
                let records = Field::get(&mut from).map_err(broken)?;
                self.pulses.push(Pulse { moment, records });
            }
            sort::LATE_CHECK => {
                let (events, tick): (u64, Tick) = Field::get(&mut from).map_err(broken)?;
                let events = usize::try_from(events).map_err(|_| shape("a check of no moment"))?;
                let moment = Moment { events, tick };
                if tick > *now || !self.holds(moment) {
                    return Err(shape("a check of no moment"));
                }
                let mark = get_mark(&mut from).map_err(broken)?;
                self.checks.push(Check { moment, mark });
            }
            _ => return Err(shape("an entry of no known sort")),
        }
        if from.0.is_empty() { Ok(()) } else { Err(shape("bytes after an entry's end")) }
    }
}

fn get_head(from: &mut Reader<'_>, version: u32) -> Result<LogHead, StateError> {
    Ok(LogHead {
        kind: Field::get(from)?,
        semantics: Field::get(from)?,
        tick: Field::get(from)?,
        digest: Field::get(from)?,
        about: if version < 2 { Vec::new() } else { Field::get(from)? },
    })
}

fn get_mark(from: &mut Reader<'_>) -> Result<Mark, StateError> {
    Ok(Mark { records: Field::get(from)?, spaces: Field::get(from)? })
}

/// An entry, and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// Splits the next whole entry off; `None` where what is left is not a whole one.
///
/// The length has a check of its own: a damaged length that reached beyond the end would look
/// like a torn entry, and hide all that follows.
fn next_entry<'a>(
    chain: &mut Digest,
    rest: &'a [u8],
    at: usize,
) -> Result<Option<Split<'a>>, LogError> {
    let Some((length, after)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let Some((check, after)) = after.split_first_chunk::<4>() else { return Ok(None) };
    if *check != length_check(*chain, length) {
        // A file system that lost power may have made a file longer without what was written.
        let lost = rest.iter().all(|byte| *byte == 0);
        return if lost { Ok(None) } else { Err(LogError::Damaged(at)) };
    }
    let count = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| LogError::Damaged(at))?;
    let Some((entry, after)) = after.split_at_checked(count) else { return Ok(None) };
    let Some((check, after)) = after.split_first_chunk::<8>() else { return Ok(None) };
    let whole = Digest::of_parts([&chain.0[..], length, entry]);
    if *check != whole.0[..8] {
        let lost = *check == [0; 8] && after.iter().all(|byte| *byte == 0);
        return if lost { Ok(None) } else { Err(LogError::Damaged(at)) };
    }
    *chain = whole;
    Ok(Some((entry, after)))
}

fn length_check(chain: Digest, length: &[u8; 4]) -> [u8; 4] {
    let digest = Digest::of_parts([&chain.0[..], length]);
    *digest.0.first_chunk().expect("a digest has 32 bytes")
}
