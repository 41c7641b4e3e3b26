//! A suite's release file: signed, dated, and the root of all hashes below it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::deb822::Paragraphs;
use crate::digest::Sha256;
use crate::error::ImageError;

/// How far a release's date may lie ahead of this machine's clock.
const CLOCK_SKEW: Duration = Duration::from_secs(86_400);

/// More files than any suite lists; the archive has a few thousand.
const FILES_MAX: usize = 200_000;

/// What a verified release file says.
#[derive(Debug)]
pub(crate) struct Release {
    /// The release's own name, as `trixie`.
    pub(crate) codename: String,
    /// The date it was made, in RFC 3339.
    pub(crate) date: String,
    files: BTreeMap<String, Listed>,
}

/// Size and hash of a file below the suite's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) size: u64,
    pub(crate) sha256: Sha256,
}

impl Release {
    /// Reads a release file whose signature has been checked, for the suite that was asked for.
    pub(crate) fn parse(text: &str, suite: &str, now: SystemTime) -> Result<Self, ImageError> {
        let malformed = |reason: &str| ImageError::malformed(format!("release of {suite}"), reason);
        let refused = |reason: String| ImageError::Release { suite: suite.to_owned(), reason };
        let paragraph = Paragraphs::new(text.as_bytes())
            .next()
            .map_err(|reason| malformed(&reason))?
            .ok_or_else(|| malformed("it is empty"))?;
        let named = |field| paragraph.get(field).unwrap_or_default();
        let (codename, alias) = (named("Codename"), named("Suite"));
        if codename != suite && alias != suite {
            return Err(refused(format!("it is of {codename:?} ({alias})")));
        }
        let date = moment(named("Date")).ok_or_else(|| malformed("it has no date"))?;
        if SystemTime::from(date) > now + CLOCK_SKEW {
            return Err(refused(format!("it is dated {date}, later than this machine's clock")));
        }
        if let Some(text) = paragraph.get("Valid-Until") {
            let until = moment(text).ok_or_else(|| malformed("its Valid-Until is no date"))?;
            if SystemTime::from(until) < now {
                return Err(refused(format!("it was valid until {until}; is the mirror stale?")));
            }
        }
        let hashes = paragraph.get("SHA256").ok_or_else(|| malformed("it lists no SHA256"))?;
        let mut files = BTreeMap::new();
        for line in hashes.lines().filter(|line| !line.is_empty()) {
            let (path, listed) = file_line(line).ok_or_else(|| malformed("a hash line"))?;
            files.insert(path, listed);
            if files.len() > FILES_MAX {
                return Err(malformed("it lists too many files"));
            }
        }
        Ok(Self { codename: codename.to_owned(), date: date.to_string(), files })
    }

    /// What is listed under a path relative to the suite's folder.
    pub(crate) fn file(&self, path: &str) -> Option<&Listed> {
        self.files.get(path)
    }
}

/// A line of the list: hash, size, path.
fn file_line(line: &str) -> Option<(String, Listed)> {
    let mut words = line.split_whitespace();
    let sha256 = words.next()?.parse().ok()?;
    let size = words.next()?.parse().ok()?;
    let path = words.next()?.to_owned();
    words.next().is_none().then_some((path, Listed { size, sha256 }))
}

/// A date as release files write it: `Sat, 12 Sep 2026 07:55:41 UTC`.
fn moment(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" GMT"))?;
    let (_day, text) = text.split_once(", ")?;
    let civil = DateTime::strptime("%d %b %Y %H:%M:%S", text).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Suite: stable\r\nCodename: trixie\r\n\
        Date: Sat, 12 Sep 2026 07:55:41 UTC\r\n\
        Valid-Until: Sat, 19 Sep 2026 07:55:41 UTC\r\nSHA256:\r\n \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 12 main/x\r\n";

    fn at(text: &str) -> SystemTime {
        moment(text).unwrap().into()
    }

    #[test]
    fn a_release_serves_its_suite_and_its_time_only() {
        let within = at("Tue, 15 Sep 2026 00:00:00 UTC");
        let release = Release::parse(TEXT, "trixie", within).unwrap();
        assert_eq!(release.file("main/x").unwrap().size, 12);
        assert_eq!(release.date, "2026-09-12T07:55:41Z");
        assert!(Release::parse(TEXT, "stable", within).is_ok());
        assert!(Release::parse(TEXT, "bookworm", within).is_err());
        assert!(Release::parse(TEXT, "trixie", at("Tue, 29 Sep 2026 00:00:00 UTC")).is_err());
        assert!(Release::parse(TEXT, "trixie", at("Tue, 01 Sep 2026 00:00:00 UTC")).is_err());
    }

    #[test]
    fn a_release_without_date_or_hashes_is_refused() {
        let now = at("Tue, 15 Sep 2026 00:00:00 UTC");
        for missing in ["Date:", "SHA256:"] {
            let text = TEXT.replace(missing, "X:");
            assert!(Release::parse(&text, "trixie", now).is_err(), "{missing}");
        }
        assert!(Release::parse(&TEXT.replace(" 12 main", " x main"), "trixie", now).is_err());
        assert!(Release::parse("", "trixie", now).is_err());
    }
}
