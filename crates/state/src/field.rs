//! Encoding of single fields: little-endian, no padding, no host-sized integers.

use std::collections::BTreeMap;

/// Why bytes could not be read as state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StateError {
    /// The bytes end too soon.
    #[error("the state ends too soon")]
    Truncated,
    /// A value is outside its range.
    #[error("the state holds an invalid value: {0}")]
    Invalid(&'static str),
    /// No record at this path.
    #[error("the state has no record at '{0}'")]
    Missing(String),
    /// The record at this path is of another kind.
    #[error("the record at '{0}' is of another kind")]
    WrongKind(String),
    /// The record is of a version this build does not know.
    #[error("the record at '{0}' has version {1}, which this build does not know")]
    UnknownVersion(String, u16),
    /// Records or bytes were left over.
    #[error("the state holds more than the machine takes, at '{0}'")]
    Leftover(String),
}

/// Collects encoded fields.
#[derive(Default, Debug)]
pub struct Writer(
    /// The bytes so far.
    pub Vec<u8>,
);

/// Hands out encoded fields, checking every bound.
#[derive(Debug)]
pub struct Reader<'a>(
    /// The bytes not yet read.
    pub &'a [u8],
);

impl<'a> Reader<'a> {
    /// Takes the next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], StateError> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(StateError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }
}

/// A value that can be a field of a record.
pub trait Field: Sized {
    /// Appends the canonical encoding.
    fn put(&self, out: &mut Writer);
    /// Reads one value back.
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError>;
    /// Appends the encodings of many, one after the other.
    fn put_all(all: &[Self], out: &mut Writer) {
        all.iter().for_each(|item| item.put(out));
    }
    /// Reads so many values back.
    fn get_all(count: u32, from: &mut Reader<'_>) -> Result<Vec<Self>, StateError> {
        // No reservation by an untrusted count: growth is bounded by the bytes present.
        (0..count).map(|_| Self::get(from)).collect()
    }
}

impl Field for u8 {
    fn put(&self, out: &mut Writer) {
        out.0.push(*self);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        from.take(1).map(|bytes| bytes[0])
    }
    fn put_all(all: &[Self], out: &mut Writer) {
        out.0.extend_from_slice(all);
    }
    fn get_all(count: u32, from: &mut Reader<'_>) -> Result<Vec<Self>, StateError> {
        let count = usize::try_from(count).map_err(|_| StateError::Truncated)?;
        from.take(count).map(<[u8]>::to_vec)
    }
}

macro_rules! int_fields {
    ($($int:ty),*) => {$(
        impl Field for $int {
            fn put(&self, out: &mut Writer) {
                out.0.extend_from_slice(&self.to_le_bytes());
            }
            fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
                let bytes = from.take(size_of::<$int>())?;
                Ok(<$int>::from_le_bytes(bytes.try_into().map_err(|_| StateError::Truncated)?))
            }
        }
    )*};
}
int_fields!(u16, u32, u64, u128, i8, i16, i32, i64);

impl Field for bool {
    fn put(&self, out: &mut Writer) {
        out.0.push(u8::from(*self));
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        match u8::get(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(StateError::Invalid("bool")),
        }
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Writer) {
        u32::try_from(self.len()).expect("a record holds fewer than 2^32 items").put(out);
        T::put_all(self, out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let count = u32::get(from)?;
        T::get_all(count, from)
    }
}

impl Field for String {
    fn put(&self, out: &mut Writer) {
        u32::try_from(self.len()).expect("a record holds fewer than 2^32 items").put(out);
        out.0.extend_from_slice(self.as_bytes());
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        String::from_utf8(Vec::get(from)?).map_err(|_| StateError::Invalid("utf-8"))
    }
}

impl<T: Field, const N: usize> Field for [T; N] {
    fn put(&self, out: &mut Writer) {
        T::put_all(self, out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut failed = None;
        let items = std::array::from_fn(|_| match failed {
            Some(_) => None,
            None => T::get(from).map_err(|error| failed = Some(error)).ok(),
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(items.map(|item: Option<T>| item.expect("none has failed"))),
        }
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Writer) {
        self.is_some().put(out);
        if let Some(item) = self {
            item.put(out);
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        if bool::get(from)? { T::get(from).map(Some) } else { Ok(None) }
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Writer) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok((A::get(from)?, B::get(from)?))
    }
}

impl<K: Field + Ord, V: Field> Field for BTreeMap<K, V> {
    fn put(&self, out: &mut Writer) {
        u32::try_from(self.len()).expect("a record holds fewer than 2^32 items").put(out);
        self.iter().for_each(|(k, v)| {
            k.put(out);
            v.put(out);
        });
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let count = u32::get(from)?;
        let mut map = Self::new();
        for _ in 0..count {
            let (key, value) = <(K, V)>::get(from)?;
            // Canonical form: keys strictly ascend, so equal maps have one encoding.
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(StateError::Invalid("map order"));
            }
            map.insert(key, value);
        }
        Ok(map)
    }
}

impl<A: Field, B: Field, C: Field> Field for (A, B, C) {
    fn put(&self, out: &mut Writer) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok((A::get(from)?, B::get(from)?, C::get(from)?))
    }
}

impl<T: Field> Field for std::collections::VecDeque<T> {
    fn put(&self, out: &mut Writer) {
        u32::try_from(self.len()).expect("a record holds fewer than 2^32 items").put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        Vec::get(from).map(Self::from)
    }
}

impl Field for omni_base::Tick {
    fn put(&self, out: &mut Writer) {
        self.0.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        u64::get(from).map(Self)
    }
}

impl Field for omni_base::Digest {
    fn put(&self, out: &mut Writer) {
        self.0.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let bytes = from.take(size_of::<Self>())?;
        Ok(Self(bytes.try_into().map_err(|_| StateError::Truncated)?))
    }
}
