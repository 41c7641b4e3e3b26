//! All that differs between two snapshots: pages by space, and records by field.

use crate::difference::first_difference;
use crate::snapshot::restore;
use crate::{Snapshot, SpaceImage};
use omni_base::PageNo;
use omni_machine::MachineKind;
use omni_state::{Bundle, Entry};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Everything in which two snapshots differ.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Differences {
    /// The spaces of both, each with its pages that differ, in order.
    pub spaces: Vec<SpaceDifference>,
    /// The records that differ, by path.
    pub records: Vec<RecordDifference>,
}

/// The pages in which a space differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpaceDifference {
    /// Its name.
    pub name: String,
    /// The pages.
    pub pages: Vec<PageNo>,
}

/// How a record differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordDifference {
    /// Its path.
    pub path: String,
    /// Its kind.
    pub kind: String,
    /// What differs in it.
    pub what: RecordChange,
}

/// What differs in a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordChange {
    /// These fields, by name.
    Fields(Vec<&'static str>),
    /// Its bytes from here on: it is of a type that this build does not know.
    Bytes(usize),
    /// Only one of the two has it.
    Lone,
}

impl Snapshot {
    /// Everything in which this differs from another: pages by space, and records by field. Parts
    /// that are shared are skipped whole. A machine is made of this, as only its kind knows the
    /// types of its records; it does not run.
    ///
    /// # Errors
    /// Where a page or node is kept elsewhere and cannot be read.
    pub fn differences(&self, other: &Self, kinds: &[&dyn MachineKind]) -> io::Result<Differences> {
        let mut spaces = Vec::new();
        for mine in &self.spaces {
            let found = other.spaces.iter().find(|space| space.name == mine.name);
            if let Some(others) = found {
                let (name, pages) = (mine.name.clone(), pages(mine, others)?);
                spaces.push(SpaceDifference { name, pages });
            }
        }
        let mut typed = Bundle::with_fields();
        // One of another version or kind is still compared, by its bytes.
        let mut both = [self, other].into_iter();
        if let Some(machine) = both.find_map(|one| restore(kinds, one).ok()) {
            machine.save(&mut typed);
        }
        let bundle = |of: &Self| Bundle::from_bytes(&of.records).map_err(io::Error::other);
        Ok(Differences { spaces, records: records(&bundle(self)?, &bundle(other)?, &typed) })
    }
}

fn records(mine: &Bundle, others: &Bundle, typed: &Bundle) -> Vec<RecordDifference> {
    let by_path = |of: &Bundle| -> BTreeMap<String, Entry> {
        of.entries().iter().map(|entry| (entry.path.clone(), entry.clone())).collect()
    };
    let (mine, others) = (by_path(mine), by_path(others));
    let paths: BTreeSet<&String> = mine.keys().chain(others.keys()).collect();
    let difference = |path: &String| {
        let (what, entry) = match (mine.get(path), others.get(path)) {
            (Some(one), Some(other)) if one == other => return None,
            (Some(one), Some(other)) => {
                let fields = typed.differing(one, other).map(RecordChange::Fields);
                let bytes = || RecordChange::Bytes(first_difference(&one.body, &other.body));
                (fields.unwrap_or_else(bytes), one)
            }
            (one, other) => (RecordChange::Lone, one.or(other)?),
        };
        Some(RecordDifference { path: path.clone(), kind: entry.kind.clone(), what })
    };
    paths.into_iter().filter_map(difference).collect()
}

fn pages(one: &SpaceImage, other: &SpaceImage) -> io::Result<Vec<PageNo>> {
    let mut all = BTreeSet::new();
    for (new, old) in [(one, other), (other, one)] {
        let zeros_count = new.image.base().is_some();
        let mut candidates = Vec::new();
        let visit = &mut |no: PageNo, page: &omni_memory::PageRef| {
            candidates.push((no, page.digest()));
        };
        new.image.changed_since(&old.image, visit)?;
        for (no, digest) in candidates {
            let of_old = old.image.get(no)?;
            let lone = zeros_count && of_old.is_none();
            if lone || digest != of_old.and_then(|page| page.digest()) {
                all.insert(no);
            }
        }
    }
    Ok(all.into_iter().collect())
}
