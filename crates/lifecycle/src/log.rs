//! Logs: every event of a stretch of a timeline, each with its tick, and marks of the state.
//! See `docs/formats/log.md`.

use crate::{LifecycleError, Mark, kind_of};
use omni_base::{Digest, Tick};
use omni_machine::{Event, Machine, MachineKind};
use omni_state::{Field, Reader, StateError, Writer};

/// The first bytes of a log (section 1 of the format).
const MAGIC: [u8; 8] = *b"OMNI-LOG";

/// The version of the format that this build writes and reads.
const VERSION: u32 = 1;

/// A place on a recorded timeline: several events may share a tick, and a snapshot can lie
/// between two of them, so a tick alone is not enough.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment {
    /// How many events of the log were let in before.
    pub events: usize,
    /// The tick.
    pub tick: Tick,
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tick {} after {} events", self.tick.0, self.events)
    }
}

/// The state at one moment of a log, which a replay is held against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// When.
    pub moment: Moment,
    /// What the state was.
    pub mark: Mark,
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

/// The events of a stretch of a timeline, in the order in which they were let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    kind: String,
    semantics: u32,
    tick: Tick,
    digest: Digest,
    events: Vec<(Tick, Event)>,
    checks: Vec<Check>,
}

impl Log {
    /// An empty log that starts at the present state of a machine.
    ///
    /// # Errors
    /// Where no kind has the machine's name, or it cannot be replayed.
    pub fn new(
        kinds: &[&dyn MachineKind],
        machine: &mut dyn Machine,
    ) -> Result<Self, LifecycleError> {
        let kind = machine.spec().kind.clone();
        let semantics = kind_of(kinds, &kind)?.info().semantics;
        let caps = machine.caps();
        if !caps.deterministic || !caps.exact_ticks {
            return Err(LifecycleError::NotDeterministic(kind));
        }
        let (tick, digest) = (machine.tick(), Mark::of(machine).digest());
        Ok(Self { kind, semantics, tick, digest, events: Vec::new(), checks: Vec::new() })
    }

    /// The moment at which it starts.
    #[must_use]
    pub fn start(&self) -> Moment {
        Moment { events: 0, tick: self.tick }
    }

    /// The digest of the state from which it starts.
    #[must_use]
    pub fn start_digest(&self) -> Digest {
        self.digest
    }

    /// The last moment of which it tells.
    #[must_use]
    pub fn end(&self) -> Moment {
        let event = self.events.last().map_or(self.tick, |(tick, _)| *tick);
        let check = self.checks.last().map_or(self.tick, |check| check.moment.tick);
        Moment { events: self.events.len(), tick: event.max(check) }
    }

    /// Each event and the tick at which it was let in.
    #[must_use]
    pub fn events(&self) -> &[(Tick, Event)] {
        &self.events
    }

    /// The marks of the state, oldest first.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The present moment of the machine that this log is recording.
    #[must_use]
    pub fn now(&self, machine: &dyn Machine) -> Moment {
        Moment { events: self.events.len(), tick: machine.tick() }
    }

    /// The moment at `tick`, with every event of before that tick let in and none of it.
    #[must_use]
    pub fn at(&self, tick: Tick) -> Moment {
        let events = self.events.partition_point(|(at, _)| *at < tick);
        Moment { events, tick }
    }

    /// Writes down that an event was let in.
    ///
    /// # Panics
    /// Where `tick` is before the end of the log.
    pub fn event(&mut self, tick: Tick, event: Event) {
        assert!(tick >= self.end().tick, "time does not go back in a log");
        self.events.push((tick, event));
    }

    /// Writes down the present state of the machine that this log is recording.
    ///
    /// # Panics
    /// Where the machine is before the end of the log.
    pub fn check(&mut self, machine: &mut dyn Machine) {
        let moment = self.now(machine);
        assert!(moment >= self.end(), "time does not go back in a log");
        self.checks.push(Check { moment, mark: Mark::of(machine) });
    }

    /// Whether this build can replay the log on this machine.
    ///
    /// # Errors
    /// Where the kind or its meaning is another, or the machine cannot be replayed.
    pub fn fits(
        &self,
        kinds: &[&dyn MachineKind],
        machine: &dyn Machine,
    ) -> Result<(), LifecycleError> {
        let (kind, log) = (machine.spec().kind.clone(), self.kind.clone());
        if kind != log {
            return Err(LifecycleError::OtherKind { log, machine: kind });
        }
        let here = kind_of(kinds, &kind)?.info().semantics;
        if here != self.semantics {
            return Err(LifecycleError::Semantics { kind, log: self.semantics, here });
        }
        let caps = machine.caps();
        let able = caps.deterministic && caps.exact_ticks;
        if able { Ok(()) } else { Err(LifecycleError::NotDeterministic(kind)) }
    }

    /// Whether the log tells of this moment.
    pub(crate) fn holds(&self, moment: Moment) -> bool {
        let before = moment.events.checked_sub(1).map(|at| self.events.get(at));
        let after = self.events.get(moment.events);
        let starts = match before {
            None => moment.tick >= self.tick,
            Some(Some((tick, _))) => moment.tick >= *tick,
            Some(None) => false,
        };
        starts && after.is_none_or(|(tick, _)| moment.tick <= *tick)
    }

    /// The whole log as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut cursor = LogCursor::default();
        self.append(&mut cursor)
    }

    /// The bytes to append for what came to the log since `cursor` was last here, and for the
    /// header at first.
    #[must_use]
    pub fn append(&self, cursor: &mut LogCursor) -> Vec<u8> {
        let mut out = Vec::new();
        if cursor.chain == Digest::default() {
            self.put_header(cursor, &mut out);
        }
        loop {
            let check = self.checks.get(cursor.checks);
            let event = self.events.get(cursor.events);
            let mut body = Writer::default();
            if let Some(check) = check.filter(|check| check.moment.events == cursor.events) {
                1u8.put(&mut body);
                check.moment.tick.put(&mut body);
                check.mark.records.put(&mut body);
                check.mark.spaces.put(&mut body);
                cursor.checks += 1;
            } else if let Some((tick, event)) = event {
                0u8.put(&mut body);
                tick.put(&mut body);
                event.put(&mut body);
                cursor.events += 1;
            } else {
                return out;
            }
            let length = u32::try_from(body.0.len()).expect("an entry is below 4 GiB");
            let length = length.to_le_bytes();
            out.extend_from_slice(&length);
            out.extend_from_slice(&length_check(cursor.chain, &length));
            out.extend_from_slice(&body.0);
            cursor.chain = Digest::of_parts([&cursor.chain.0[..], &length, &body.0]);
            out.extend_from_slice(&cursor.chain.0[..8]);
        }
    }

    fn put_header(&self, cursor: &mut LogCursor, out: &mut Vec<u8>) {
        let mut body = Writer::default();
        self.kind.put(&mut body);
        self.semantics.put(&mut body);
        self.tick.put(&mut body);
        self.digest.put(&mut body);
        let length = u32::try_from(body.0.len()).expect("the name of a kind is short");
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&body.0);
        cursor.chain = Digest::of(out);
        out.extend_from_slice(&cursor.chain.0);
    }

    /// Reads a log, and says how many bytes at its end are of an entry that is not whole: what
    /// a writer leaves that was stopped at the wrong time.
    ///
    /// # Errors
    /// Where the bytes are not a log, or are damaged before their end.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, usize), LogError> {
        let (mut log, mut chain, mut rest) = Self::get_header(bytes)?;
        loop {
            let at = bytes.len() - rest.len();
            let Some((entry, after)) = next_entry(&mut chain, rest, at)? else {
                return Ok((log, rest.len()));
            };
            log.get_entry(entry, at)?;
            rest = after;
        }
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
        if version != VERSION {
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
        let log = Self::get_head(&mut body).map_err(|why| LogError::State { at: 16, why })?;
        if body.0.is_empty() {
            Ok((log, chain, from.0))
        } else {
            Err(LogError::Shape { at: 16, why: "bytes after its header's end" })
        }
    }

    fn get_head(from: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            kind: Field::get(from)?,
            semantics: Field::get(from)?,
            tick: Field::get(from)?,
            digest: Field::get(from)?,
            events: Vec::new(),
            checks: Vec::new(),
        })
    }

    fn get_entry(&mut self, entry: &[u8], at: usize) -> Result<(), LogError> {
        let broken = |why| LogError::State { at, why };
        let mut from = Reader(entry);
        let tag = u8::get(&mut from).map_err(broken)?;
        let tick = Tick::get(&mut from).map_err(broken)?;
        if tick < self.end().tick {
            return Err(LogError::Shape { at, why: "time goes back" });
        }
        match tag {
            0 => self.events.push((tick, Event::get(&mut from).map_err(broken)?)),
            1 => {
                let records = Field::get(&mut from).map_err(broken)?;
                let spaces = Field::get(&mut from).map_err(broken)?;
                let moment = Moment { events: self.events.len(), tick };
                self.checks.push(Check { moment, mark: Mark { records, spaces } });
            }
            _ => return Err(LogError::Shape { at, why: "an entry of no known sort" }),
        }
        if from.0.is_empty() {
            Ok(())
        } else {
            Err(LogError::Shape { at, why: "bytes after an entry's end" })
        }
    }
}

/// How much of a log has been written, for `Log::append`.
#[derive(Clone, Default, Debug)]
pub struct LogCursor {
    events: usize,
    checks: usize,
    /// The digest of all bytes so far, by way of each entry.
    chain: Digest,
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
        return Err(LogError::Damaged(at));
    }
    let count = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| LogError::Damaged(at))?;
    let Some((entry, after)) = after.split_at_checked(count) else { return Ok(None) };
    let Some((check, after)) = after.split_first_chunk::<8>() else { return Ok(None) };
    let whole = Digest::of_parts([&chain.0[..], length, entry]);
    if *check != whole.0[..8] {
        return Err(LogError::Damaged(at));
    }
    *chain = whole;
    Ok(Some((entry, after)))
}

fn length_check(chain: Digest, length: &[u8; 4]) -> [u8; 4] {
    let digest = Digest::of_parts([&chain.0[..], length]);
    *digest.0.first_chunk().expect("a digest has 32 bytes")
}
