//! The verb `diff`: in what two snapshots differ.

use crate::failure::Failure;
use crate::saved;
use crate::snapshots::{Named, named};
use crate::ui::{Ui, size_text};
use omni_base::{PAGE_SIZE_U64, PageNo};
use omni_control::Dirs;
use omni_kinds::{KINDS, kind_of};
use omni_lifecycle::RecordChange;
use serde_json::json;

/// Stretches of memory that a person is told of, for each space.
const STRETCHES_SHOWN: usize = 16;

/// The pages by space, with their addresses, and the records by field.
pub(crate) fn diff(one: &str, other: &str, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let (one, other) = (named(one, dirs)?, named(other, dirs)?);
    let read = |of: &Named| saved::read(&of.store, of.id, &of.entry.machine.disks);
    let all = read(&one)?.differences(&read(&other)?, KINDS);
    let all = all.map_err(|error| Failure::from(saved::store_error(error)))?;
    let bases = kind_of(&one.entry.machine.kind)?.info().bases;
    for space in &all.spaces {
        let base = bases.iter().find(|(name, _)| *name == space.name).map_or(0, |(_, at)| at.0);
        let found = stretches(&space.pages, base);
        let bytes = space.pages.len() as u64 * PAGE_SIZE_U64;
        if ui.json {
            let object = |(at, bytes): &(u64, u64)| json!({ "address": at, "bytes": bytes });
            ui.object(json!({
                "space": space.name,
                "pages": space.pages.len(),
                "bytes": bytes,
                "ranges": found.iter().map(object).collect::<Vec<_>>(),
            }))?;
            continue;
        }
        if space.pages.is_empty() {
            continue;
        }
        let (name, count) = (&space.name, space.pages.len());
        ui.line(&format!("space {name}: {count} pages differ ({})", size_text(bytes)))?;
        for (at, bytes) in found.iter().take(STRETCHES_SHOWN) {
            ui.line(&format!("  {at:#x} to {:#x}", at + (bytes - 1)))?;
        }
        if let Some(more) = found.len().checked_sub(STRETCHES_SHOWN).filter(|more| *more > 0) {
            ui.line(&format!("  and {more} more stretches; --json lists them all"))?;
        }
    }
    for record in &all.records {
        let (path, kind) = (&record.path, &record.kind);
        if ui.json {
            let (fields, from) = match &record.what {
                RecordChange::Fields(names) => (json!(names), json!(null)),
                RecordChange::Bytes(at) => (json!(null), json!(at)),
                RecordChange::Lone => (json!(null), json!(null)),
            };
            let lone = record.what == RecordChange::Lone;
            ui.object(json!({
                "record": path, "kind": kind, "fields": fields, "from_byte": from, "lone": lone,
            }))?;
            continue;
        }
        let what = match &record.what {
            RecordChange::Fields(names) => names.join(", "),
            RecordChange::Bytes(at) => format!("from byte {at} on"),
            RecordChange::Lone => "only one has it".to_owned(),
        };
        ui.line(&format!("record {path} ({kind}): {what}"))?;
    }
    Ok(())
}

/// Pages as addresses and bytes of each stretch.
fn stretches(pages: &[PageNo], base: u64) -> Vec<(u64, u64)> {
    let mut all: Vec<(u64, u64)> = Vec::new();
    for page in pages {
        let at = base + page.base().0;
        match all.last_mut() {
            Some((start, bytes)) if *start + *bytes == at => *bytes += PAGE_SIZE_U64,
            _ => all.push((at, PAGE_SIZE_U64)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_touch_are_one_stretch() {
        let pages = [1, 2, 5].map(PageNo);
        assert_eq!(stretches(&pages, 0x8000_0000), [(0x8000_1000, 0x2000), (0x8000_5000, 0x1000)]);
        assert_eq!(stretches(&[], 0), []);
    }
}
