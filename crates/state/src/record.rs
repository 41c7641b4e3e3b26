//! Records: named, versioned structs of fields; and bundles: all records of one machine.

use crate::{Field, Reader, StateError, Writer};
use omni_base::Digest;
use std::collections::BTreeMap;

/// Plain-data state of one component, in the terms of the thing modelled.
pub trait Record: Sized {
    /// The kind, stable forever, such as `uart16550`.
    const KIND: &'static str;
    /// The version this build writes.
    const VERSION: u16;
    /// The names of the fields, in the order of the codec.
    const FIELDS: &'static [&'static str];
    /// Whether a field of this name differs, by name: what a diff of two states shows.
    fn differing(&self, other: &Self) -> Vec<&'static str>;
    /// Encodes the fields in order.
    fn put(&self, out: &mut Writer);
    /// Decodes fields written at `version`, at most `VERSION`.
    fn get(from: &mut Reader<'_>, version: u16) -> Result<Self, StateError>;
}

/// Declares a record: struct, codec and versioning from one table.
///
/// A field added later says since when, and what older snapshots mean by its absence.
#[macro_export]
macro_rules! record {
    (
        $(#[$meta:meta])* $vis:vis struct $name:ident = $kind:literal v $version:literal {
            $( $(#[$fmeta:meta])*
               $field:ident : $ty:ty $(, since $since:literal = $default:expr)? ; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        $vis struct $name { $( $(#[$fmeta])* pub $field: $ty, )* }

        impl $crate::Record for $name {
            const KIND: &'static str = $kind;
            const VERSION: u16 = $version;
            const FIELDS: &'static [&'static str] = &[$( stringify!($field) ),*];
            fn differing(&self, other: &Self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $( if self.$field != other.$field { names.push(stringify!($field)); } )*
                names
            }
            fn put(&self, out: &mut $crate::Writer) {
                $( $crate::Field::put(&self.$field, out); )*
            }
            fn get(
                from: &mut $crate::Reader<'_>,
                version: u16,
            ) -> Result<Self, $crate::StateError> {
                let _ = (&from, version);
                $( let $field = $crate::record!(@get from, version $(, $since, $default)?); )*
                Ok(Self { $( $field, )* })
            }
        }
    };
    (@get $from:ident, $version:ident) => { $crate::Field::get($from)? };
    (@get $from:ident, $version:ident, $since:literal, $default:expr) => {
        if $version >= $since { $crate::Field::get($from)? } else { $default }
    };
}

/// All records of a machine, in path order.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    entries: Vec<Entry>,
    /// How the records put in are compared, by path, where that is to be known.
    comparers: Option<BTreeMap<String, Comparer>>,
}

/// Tells the fields in which two encoded records of one type differ.
type Comparer = fn(&Entry, &Entry) -> Result<Vec<&'static str>, StateError>;

impl PartialEq for Bundle {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Bundle {}

/// One encoded record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where it belongs, unique in the bundle.
    pub path: String,
    /// The kind of record.
    pub kind: String,
    /// The version of its fields.
    pub version: u16,
    /// The encoded fields.
    pub body: Vec<u8>,
}

impl Entry {
    /// The record, which must be of kind `R` and wholly consumed.
    fn record<R: Record>(&self) -> Result<R, StateError> {
        let path = || self.path.clone();
        if self.kind != R::KIND {
            return Err(StateError::WrongKind(path()));
        }
        if self.version == 0 || self.version > R::VERSION {
            return Err(StateError::UnknownVersion(path(), self.version));
        }
        let mut from = Reader(&self.body);
        let record = R::get(&mut from, self.version)?;
        if from.0.is_empty() { Ok(record) } else { Err(StateError::Leftover(path())) }
    }
}

fn differing<R: Record>(one: &Entry, other: &Entry) -> Result<Vec<&'static str>, StateError> {
    Ok(one.record::<R>()?.differing(&other.record()?))
}

impl Bundle {
    const MAGIC: [u8; 8] = *b"OMNIREC1";

    /// A bundle that knows the fields of what is put into it, for `differing`.
    #[must_use]
    pub fn with_fields() -> Self {
        Self { entries: Vec::new(), comparers: Some(BTreeMap::new()) }
    }

    /// The names of the fields in which two records of this path differ; `None` where their type is
    /// not known here, or they are not of it.
    #[must_use]
    pub fn differing(&self, one: &Entry, other: &Entry) -> Option<Vec<&'static str>> {
        let comparer = self.comparers.as_ref()?.get(&one.path)?;
        comparer(one, other).ok()
    }

    /// The records, in path order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds a record. Paths are unique: two components never share one.
    pub fn put<R: Record>(&mut self, path: &str, record: &R) {
        let at = match self.entries.binary_search_by(|e| e.path.as_str().cmp(path)) {
            Ok(_) => panic!("two components save under the path {path}"),
            Err(at) => at,
        };
        let mut body = Writer::default();
        record.put(&mut body);
        let entry =
            Entry { path: path.into(), kind: R::KIND.into(), version: R::VERSION, body: body.0 };
        self.entries.insert(at, entry);
        if let Some(comparers) = &mut self.comparers {
            comparers.insert(path.into(), differing::<R>);
        }
    }

    /// Takes the record at `path`, which must be of kind `R` and wholly consumed.
    pub fn take<R: Record>(&mut self, path: &str) -> Result<R, StateError> {
        let at = self
            .entries
            .binary_search_by(|e| e.path.as_str().cmp(path))
            .map_err(|_| StateError::Missing(path.into()))?;
        self.entries.remove(at).record()
    }

    /// Asserts that every record was taken: state that nobody restores is state lost.
    pub fn finish(self) -> Result<(), StateError> {
        self.entries.first().map_or(Ok(()), |e| Err(StateError::Leftover(e.path.clone())))
    }

    /// The canonical bytes, behind a fixed header that no codec change can make unreadable.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer(Self::MAGIC.to_vec());
        u32::try_from(self.entries.len()).expect("fewer than 2^32 records").put(&mut out);
        for e in &self.entries {
            e.path.put(&mut out);
            e.kind.put(&mut out);
            e.version.put(&mut out);
            e.body.put(&mut out);
        }
        let digest = Digest::of(&out.0);
        digest.put(&mut out);
        out.0
    }

    /// Reads canonical bytes back.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let (content, tail) = bytes.split_last_chunk::<32>().ok_or(StateError::Truncated)?;
        if *tail != Digest::of(content).0 {
            return Err(StateError::Invalid("digest"));
        }
        let mut from = Reader(content);
        if from.take(8)? != Self::MAGIC {
            return Err(StateError::Invalid("magic"));
        }
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..u32::get(&mut from)? {
            let entry = Entry {
                path: Field::get(&mut from)?,
                kind: Field::get(&mut from)?,
                version: Field::get(&mut from)?,
                body: Field::get(&mut from)?,
            };
            if entries.last().is_some_and(|last| last.path >= entry.path) {
                return Err(StateError::Invalid("path order"));
            }
            entries.push(entry);
        }
        if from.0.is_empty() {
            Ok(Self { entries, comparers: None })
        } else {
            Err(StateError::Leftover("tail".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Old and new forms of one record, as two builds would have them.
    crate::record! { struct OldUart = "uart" v 1 { ier: u8; } }
    crate::record! { struct NewUart = "uart" v 2 { ier: u8; rx: Vec<u8>, since 2 = Vec::new(); } }

    #[test]
    fn an_old_record_loads_with_the_declared_default() {
        let mut bundle = Bundle::default();
        bundle.put("dev/uart0", &OldUart { ier: 5 });
        let bytes = bundle.to_bytes();
        let mut back = Bundle::from_bytes(&bytes).expect("canonical");
        let got = back.take::<NewUart>("dev/uart0");
        assert_eq!(got, Ok(NewUart { ier: 5, rx: vec![] }));
        assert_eq!(back.finish(), Ok(()));
    }

    #[test]
    fn fields_that_differ_are_known_by_name_also_between_versions() {
        let (mut old, mut new) = (Bundle::default(), Bundle::with_fields());
        old.put("dev/uart0", &OldUart { ier: 5 });
        new.put("dev/uart0", &NewUart { ier: 6, rx: vec![1] });
        let (one, other) = (&old.entries()[0], &new.entries()[0]);
        assert_eq!(new.differing(one, other), Some(vec!["ier", "rx"]));
        assert_eq!(new.differing(one, one), Some(vec![]));
        assert_eq!(old.differing(one, other), None, "it does not know fields");
        let damaged = Entry { body: vec![], ..one.clone() };
        assert_eq!(new.differing(&damaged, other), None);
    }

    #[test]
    fn a_newer_record_is_refused_not_guessed() {
        let mut bundle = Bundle::default();
        bundle.put("dev/uart0", &NewUart { ier: 5, rx: vec![1] });
        let got = bundle.take::<OldUart>("dev/uart0");
        assert_eq!(got, Err(StateError::UnknownVersion("dev/uart0".into(), 2)));
    }

    #[test]
    fn any_damaged_byte_of_a_bundle_is_refused() {
        let mut bundle = Bundle::default();
        bundle.put("dev/uart0", &NewUart { ier: 5, rx: vec![1, 2, 3] });
        let bytes = bundle.to_bytes();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(Bundle::from_bytes(&damaged).is_err(), "byte {at}");
            assert!(Bundle::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_difference_is_told_by_the_name_of_the_field() {
        let (a, b) = (NewUart { ier: 5, rx: vec![1] }, NewUart { ier: 5, rx: vec![] });
        assert_eq!(a.differing(&b), ["rx"]);
        assert_eq!(NewUart::FIELDS, ["ier", "rx"]);
    }

    #[test]
    fn a_record_nobody_takes_is_an_error() {
        let mut bundle = Bundle::default();
        bundle.put("dev/ghost", &OldUart { ier: 0 });
        assert_eq!(bundle.finish(), Err(StateError::Leftover("dev/ghost".into())));
    }
}
