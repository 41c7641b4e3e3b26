//! Where two states differ, named for people: the record and byte, or the space and page.

use crate::{Moment, Snapshot, SpaceImage};
use omni_base::{Digest, PageNo};
use omni_machine::Machine;
use omni_state::{Bundle, Entry};

/// A state in short: the records whole, as they are small, and a digest of each space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The canonical bytes of the records.
    pub records: Vec<u8>,
    /// The name and digest of each space, in the machine's order.
    pub spaces: Vec<(String, Digest)>,
}

impl Mark {
    /// The present state of a machine. Seals its spaces, which it does not notice.
    pub fn of(machine: &mut dyn Machine) -> Self {
        let mut records = Bundle::default();
        machine.save(&mut records);
        let spaces = machine.memory().spaces.iter_mut();
        let spaces = spaces.map(|s| (s.name().to_owned(), s.seal().image.digest())).collect();
        Self { records: records.to_bytes(), spaces }
    }

    /// The digest of the state, the same as `omni_machine::digest` of the machine.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let memory = Digest::of_parts(self.spaces.iter().map(|(_, digest)| &digest.0[..]));
        Digest::of_parts([&self.records[..], &memory.0])
    }

    /// The first difference, with no pages named, as a mark does not hold them.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        if self == other {
            return None;
        }
        Difference::of_records(&self.records, &other.records).or_else(|| {
            let names = |mark: &Self| mark.spaces.iter().map(|(name, _)| name.clone()).collect();
            let (mine, others): (Vec<_>, Vec<_>) = (names(self), names(other));
            if mine != others {
                return Some(Difference::Shape);
            }
            let mut both = self.spaces.iter().zip(&other.spaces);
            both.find(|(mine, others)| mine != others)
                .map(|((name, _), _)| Difference::Space { name: name.clone() })
        })
    }
}

/// The first place where two states differ.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Difference {
    /// One state has a record that the other has not.
    #[error("only one has a record '{path}'")]
    Lone {
        /// The path of the record.
        path: String,
    },
    /// A record differs.
    #[error("record '{path}' ({kind}) differs {}", place(fields, *offset))]
    Record {
        /// Its path.
        path: String,
        /// Its kind.
        kind: String,
        /// The first byte of its fields that differs.
        offset: usize,
        /// The names of the fields that differ, where its type is known.
        fields: Vec<&'static str>,
    },
    /// A record differs, at a place that is not known.
    #[error("record '{path}' ({kind}) differs")]
    Somewhere {
        /// Its path.
        path: String,
        /// Its kind.
        kind: String,
    },
    /// The bytes of the records cannot be read, and differ.
    #[error("the records differ from byte {offset} on")]
    Records {
        /// The first byte that differs.
        offset: usize,
    },
    /// They do not have the same spaces.
    #[error("they do not have the same spaces")]
    Shape,
    /// A space differs, at a page that is not known.
    #[error("space '{name}' differs")]
    Space {
        /// Its name.
        name: String,
    },
    /// A page differs.
    #[error("space '{space}' differs at page {} (address {})", page.0, page.base())]
    Page {
        /// The name of its space.
        space: String,
        /// The first page that differs.
        page: PageNo,
    },
    /// The machine is not in the state from which the log starts.
    #[error("the machine is not in the state from which the log starts")]
    Start,
    /// The requests in flight differ.
    #[error("the requests in flight differ")]
    Pending,
}

impl Difference {
    pub(crate) fn of_snapshots(one: &Snapshot, other: &Snapshot) -> Option<Self> {
        if let Some(found) = Self::of_records(&one.records, &other.records) {
            return Some(found);
        }
        let shape = |of: &Snapshot| -> Vec<_> {
            of.spaces.iter().map(|space| (space.name.clone(), space.pages)).collect()
        };
        if shape(one) != shape(other) {
            return Some(Self::Shape);
        }
        let mut spaces = one.spaces.iter().zip(&other.spaces);
        let found = spaces.find_map(|(one, other)| Self::of_spaces(one, other));
        found.or_else(|| (one.pending != other.pending).then_some(Self::Pending))
    }

    fn of_spaces(one: &SpaceImage, other: &SpaceImage) -> Option<Self> {
        if one.image.digest() == other.image.digest() {
            return None;
        }
        let mut first: Option<PageNo> = None;
        for (new, old) in [(one, other), (other, one)] {
            let zeros_count = new.image.base().is_some();
            // What cannot be read is left out: that they differ is known.
            let _ = new.image.changed_since(&old.image, &mut |no, page| {
                let of_old = old.image.get(no).ok().flatten();
                let lone = zeros_count && of_old.is_none();
                if lone || page.digest() != of_old.and_then(|page| page.digest()) {
                    first = Some(first.map_or(no, |first| first.min(no)));
                }
            });
        }
        let name = one.name.clone();
        Some(match first {
            Some(page) => Self::Page { space: name, page },
            None => Self::Space { name },
        })
    }

    fn of_records(one: &[u8], other: &[u8]) -> Option<Self> {
        if one == other {
            return None;
        }
        let (Ok(mine), Ok(others)) = (Bundle::from_bytes(one), Bundle::from_bytes(other)) else {
            return Some(Self::Records { offset: first_difference(one, other) });
        };
        let (mut mine, mut others) = (mine.entries().iter(), others.entries().iter());
        loop {
            let (one, other) = match (mine.next(), others.next()) {
                (Some(one), Some(other)) if one.path == other.path => (one, other),
                (Some(one), Some(other)) => {
                    return Some(Self::Lone { path: one.path.clone().min(other.path.clone()) });
                }
                (Some(lone), None) | (None, Some(lone)) => {
                    return Some(Self::Lone { path: lone.path.clone() });
                }
                (None, None) => return None,
            };
            if one != other {
                return Some(Self::of_entries(one, other));
            }
        }
    }

    /// The same, with the fields of a record named: the machine knows their types.
    pub(crate) fn with_fields(mut self, records: &[u8], machine: &dyn Machine) -> Self {
        if let Self::Record { path, fields, .. } = &mut self
            && let Ok(bundle) = Bundle::from_bytes(records)
        {
            let mut typed = Bundle::with_fields();
            machine.save(&mut typed);
            let find = |all: &Bundle| all.entries().iter().find(|one| one.path == *path).cloned();
            if let (Some(one), Some(other)) = (find(&bundle), find(&typed)) {
                *fields = typed.differing(&one, &other).unwrap_or_default();
            }
        }
        self
    }

    fn of_entries(one: &Entry, other: &Entry) -> Self {
        let offset = first_difference(&one.body, &other.body);
        let fields = Vec::new();
        Self::Record { path: one.path.clone(), kind: one.kind.clone(), offset, fields }
    }
}

pub(crate) fn first_difference(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

fn place(fields: &[&str], offset: usize) -> String {
    match fields {
        [] => format!("from byte {offset} on"),
        [field] => format!("in its field {field}"),
        fields => format!("in its fields {}", fields.join(", ")),
    }
}

/// How a replay went another way than the recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Divergence {
    /// The first checked moment at which they were known to differ.
    pub at: Moment,
    /// The last checked moment at which they were still the same, if there was one.
    pub same_until: Option<Moment>,
    /// The last moment at which their records were still the same, where that is later.
    pub records_until: Option<Moment>,
    /// What differs; `None` where the machine halted before the moment.
    pub what: Option<Difference>,
    /// The first check after, and what differs there, where `at` has none.
    pub rung: Option<(Moment, Difference)>,
}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the replay differs from the recording at {}: ", self.at)?;
        match &self.what {
            Some(what) => write!(f, "{what}")?,
            None => write!(f, "the machine halted before")?,
        }
        match self.same_until {
            Some(moment) => write!(f, "; they were the same at {moment}")?,
            None => write!(f, "; no earlier moment was checked")?,
        }
        if let Some(moment) = self.records_until {
            write!(f, ", and their records at {moment}")?;
        }
        match &self.rung {
            Some((moment, what)) => write!(f, "; at the next rung, {moment}, {what}"),
            None => Ok(()),
        }
    }
}
