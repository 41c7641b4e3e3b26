//! What a machine is made from.

use crate::{Blob, CreateError};
use omni_memory::Image;
use omni_state::{Field, Reader, StateError, Writer};
use std::collections::BTreeMap;
use std::io;

/// What a machine is made from; immutable for its life, and the shape of its snapshots.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// The name of the kind.
    pub kind: String,
    /// Nanoseconds of the guest's time per tick; the guest's clocks are a function of ticks.
    pub ns_per_tick: u32,
    /// Seeds every source of entropy of the machine.
    pub seed: u64,
    /// The guest's wall clock at tick zero: seconds since 1970.
    pub epoch_s: u64,
    /// Choices by name, as `MachineKind::info().options` lists them, in canonical text.
    pub options: BTreeMap<String, String>,
    /// Files by role: `image`, `kernel`, `initrd`, `firmware`.
    pub files: BTreeMap<String, Blob>,
    /// Disks, in order.
    pub disks: Vec<DiskSpec>,
}

/// One disk. Its content becomes a space of the machine.
#[derive(Clone, Debug)]
pub struct DiskSpec {
    /// The size in bytes; a multiple of 512.
    pub bytes: u64,
    /// Whether the guest may write.
    pub read_only: bool,
    /// What is on it when the machine is made. Not part of an encoded spec.
    pub image: Image,
}

impl Spec {
    /// A spec of this kind with nothing chosen.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        // Nominally one instruction a nanosecond; 2026-01-01 unless the caller knows better.
        Self { kind: kind.into(), ns_per_tick: 1, epoch_s: 1_767_225_600, ..Self::default() }
    }

    /// The text of an option.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// An option that is a number; sizes may end in K, M, G or T, powers of two.
    ///
    /// # Errors
    /// Where it is not a number, with the option's name.
    pub fn number(&self, name: &str, default: u64) -> Result<u64, CreateError> {
        let Some(text) = self.option(name) else { return Ok(default) };
        parse_size(text).ok_or_else(|| CreateError::Option {
            name: name.into(),
            why: format!("'{text}' is not a number (such as 4 or 512M)"),
        })
    }

    /// The same with all files in memory, as is needed to encode it.
    ///
    /// # Errors
    /// Where a file is elsewhere and cannot be read.
    pub fn gathered(&self) -> io::Result<Self> {
        let mut spec = self.clone();
        for blob in spec.files.values_mut() {
            *blob = blob.held()?;
        }
        Ok(spec)
    }

    /// A file by role.
    #[must_use]
    pub fn file(&self, role: &str) -> Option<&Blob> {
        self.files.get(role)
    }
}

/// A count of bytes: digits and one of K, M, G, T.
fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        b'T' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Panics where a file is not held: `gathered` sees to that.
impl Field for Spec {
    fn put(&self, out: &mut Writer) {
        self.kind.put(out);
        self.ns_per_tick.put(out);
        self.seed.put(out);
        self.epoch_s.put(out);
        self.options.put(out);
        let count = u32::try_from(self.files.len()).expect("a spec has few files");
        count.put(out);
        for (role, blob) in &self.files {
            role.put(out);
            blob.here().expect("gathered before").to_vec().put(out);
        }
        let disks = self.disks.iter().map(|disk| (disk.bytes, disk.read_only));
        disks.collect::<Vec<_>>().put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let mut spec = Self {
            kind: Field::get(from)?,
            ns_per_tick: Field::get(from)?,
            seed: Field::get(from)?,
            epoch_s: Field::get(from)?,
            options: Field::get(from)?,
            ..Self::default()
        };
        for _ in 0..u32::get(from)? {
            let (role, bytes): (String, Vec<u8>) = Field::get(from)?;
            if spec.files.last_key_value().is_some_and(|(last, _)| *last >= role) {
                return Err(StateError::Invalid("file order"));
            }
            spec.files.insert(role, bytes.into());
        }
        let disks: Vec<(u64, bool)> = Field::get(from)?;
        let disk = |(bytes, read_only)| DiskSpec { bytes, read_only, image: Image::default() };
        spec.disks = disks.into_iter().map(disk).collect();
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_none() {
        assert_eq!(parse_size("512M"), Some(512 << 20));
        assert_eq!(parse_size("3"), Some(3));
        assert_eq!(parse_size("1g"), Some(1 << 30));
        for bad in ["", "M", "-1", "1.5G", "99999999999T", "1MB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_spec_survives_its_encoding() {
        let mut spec = Spec::new("toy");
        spec.options.insert("memory".into(), "1G".into());
        spec.files.insert("kernel".into(), vec![1, 2, 3].into());
        spec.disks.push(DiskSpec { bytes: 512, read_only: true, image: Image::default() });
        let mut out = Writer::default();
        spec.put(&mut out);
        let back = Spec::get(&mut Reader(&out.0)).expect("canonical");
        let mut again = Writer::default();
        back.put(&mut again);
        assert_eq!(out.0, again.0);
        for cut in 0..out.0.len() {
            assert!(Spec::get(&mut Reader(&out.0[..cut])).is_err(), "cut at {cut}");
        }
    }
}
