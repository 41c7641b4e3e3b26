//! Moments as people write them.

use omni_base::Tick;
use omni_lifecycle::{Log, Moment};

/// Why a text names no moment of a recording.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MomentError {
    /// The text is none of the forms.
    #[error(
        "'{0}' is no moment: write a tick, TICK/EVENTS, a time of the machine such as 12.5s or \
         300ms, -10s for a time before the end, 'start' or 'end'"
    )]
    Text(String),
    /// It is before the recording begins or after its end.
    #[error("{0} is not in the recording, which tells of tick {1} to {2}")]
    Outside(String, u64, u64),
}

/// The moment of a recording that a text names. A tick alone is before all events of that tick;
/// the last tick alone is the end.
///
/// # Errors
/// Where it names none, or none of this recording.
pub fn moment_of(text: &str, log: &Log, ns_per_tick: u32) -> Result<Moment, MomentError> {
    let (start, end) = (log.start(), log.end());
    let wrong = || MomentError::Text(text.to_owned());
    let outside = || MomentError::Outside(text.to_owned(), start.tick.0, end.tick.0);
    let ns_per_tick = u64::from(ns_per_tick.max(1));
    let tick = match text {
        "start" => return Ok(start),
        "end" => return Ok(end),
        _ => {
            if let Some((tick, events)) = text.split_once('/') {
                let tick = Tick(tick.parse().map_err(|_| wrong())?);
                let moment = Moment { events: events.parse().map_err(|_| wrong())?, tick };
                let there = log.holds(moment) && moment <= end;
                return if there { Ok(moment) } else { Err(outside()) };
            }
            if let Some(back) = text.strip_prefix('-') {
                let ns = nanoseconds(back).ok_or_else(wrong)?;
                end.tick.0.checked_sub(ns / ns_per_tick).ok_or_else(outside)?
            } else if let Ok(tick) = text.parse() {
                tick
            } else {
                nanoseconds(text).ok_or_else(wrong)? / ns_per_tick
            }
        }
    };
    if tick < start.tick.0 || tick > end.tick.0 {
        return Err(outside());
    }
    Ok(if tick == end.tick.0 { end } else { log.at(Tick(tick)) })
}

/// The same text for any recording of the machine: a time before the end of this one becomes a
/// tick. `None` where that would be before the machine's first.
#[must_use]
pub fn from_anywhere(text: &str, log: &Log, ns_per_tick: u32) -> Option<String> {
    let Some(ns) = text.strip_prefix('-').and_then(nanoseconds) else {
        return Some(text.to_owned());
    };
    let tick = log.end().tick.0.checked_sub(ns / u64::from(ns_per_tick.max(1)))?;
    Some(tick.to_string())
}

/// A moment as `moment_of` reads it.
#[must_use]
pub fn moment_text(moment: Moment) -> String {
    format!("{}/{}", moment.tick.0, moment.events)
}

/// Units of time and their nanoseconds; one that ends as another does comes first.
const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A time with its unit, as nanoseconds.
fn nanoseconds(text: &str) -> Option<u64> {
    let (number, unit) =
        UNITS.iter().find_map(|(name, ns)| Some((text.strip_suffix(name)?, *ns)))?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 12 {
        return None;
    }
    let scale = 10u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = part.parse::<u128>().ok()? * u128::from(unit) / scale;
    let whole = whole.parse::<u128>().ok()?.checked_mul(unit.into())?;
    u64::try_from(whole.checked_add(part)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_base::Digest;
    use omni_lifecycle::LogHead;
    use omni_machine::{Event, PortId};

    fn log() -> Log {
        let (kind, digest) = ("toy".to_owned(), Digest::default());
        let head = LogHead { kind, semantics: 1, tick: Tick(1000), digest, about: Vec::new() };
        let mut log = Log::empty(head);
        for tick in [2000, 2000, 5_000_000] {
            log.event(Tick(tick), Event::Input { port: PortId(0), bytes: vec![1] });
        }
        log
    }

    #[test]
    fn a_time_before_the_end_is_a_tick_to_other_recordings() {
        let log = log();
        let read = |text: &str| from_anywhere(text, &log, 10);
        assert_eq!(read("-1ms").as_deref(), Some("4900000"));
        assert_eq!(read("-50ms").as_deref(), Some("0"));
        assert_eq!(read("-51ms"), None);
        for text in ["start", "17", "17/2", "3s", "-soon"] {
            assert_eq!(read(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_moment_is_read_in_each_form() {
        let log = log();
        let read = |text: &str| {
            let moment = moment_of(text, &log, 10).expect("a moment of it");
            (moment.tick.0, moment.events)
        };
        assert_eq!(read("start"), (1000, 0));
        assert_eq!(read("end"), (5_000_000, 3));
        assert_eq!(read("2000"), (2000, 0));
        assert_eq!(read("2000/1"), (2000, 1));
        assert_eq!(read("2001"), (2001, 2));
        assert_eq!(read("5000000"), (5_000_000, 3));
        assert_eq!(read("1ms"), (100_000, 2));
        assert_eq!(read("0.0005s"), (50_000, 2));
        assert_eq!(read("-10ms"), (4_000_000, 2));
        assert_eq!(read(&moment_text(log.end())), (5_000_000, 3));
    }

    #[test]
    fn what_is_no_moment_of_the_recording_is_refused() {
        let log = log();
        for text in ["", "x", "1x", "s", "1.s", ".5s", "-1", "1/", "/1", "1e3s", "99999999999h"] {
            let error = moment_of(text, &log, 10);
            assert!(matches!(error, Err(MomentError::Text(_))), "{text}: {error:?}");
        }
        for text in ["1", "5000001", "2000/3", "1500/1", "-60s", "5000000/4", "6000000/3", "1h"] {
            let error = moment_of(text, &log, 10);
            assert!(matches!(error, Err(MomentError::Outside(..))), "{text}: {error:?}");
        }
    }
}
