//! The verb `diff`: in what two snapshots differ.

use crate::failure::Failure;
use crate::saved;
use crate::snapshots::{Named, named};
use crate::ui::{Ui, size_text};
use omni_base::{PAGE_SIZE_U64, PageNo};
use omni_control::Dirs;
use omni_filesystem::{Change, differences};
use omni_kinds::{KINDS, kind_of};
use omni_lifecycle::{RecordChange, Snapshot};
use serde_json::json;

/// Files that a person is told of, for each disk.
const FILES_SHOWN: usize = 100;

/// Stretches of memory that a person is told of, for each space.
const STRETCHES_SHOWN: usize = 16;

/// The pages by space, with their addresses, files where a file system is known, and the records
/// by field.
pub(crate) fn diff(one: &str, other: &str, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let (one, other) = (named(one, dirs)?, named(other, dirs)?);
    let read = |of: &Named| saved::read(&of.store, of.id, &of.entry.machine.disks);
    let (older, newer) = (read(&one)?, read(&other)?);
    let all = older.differences(&newer, KINDS);
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
    let changed = |name: &str| all.spaces.iter().any(|s| s.name == name && !s.pages.is_empty());
    for (name, disk) in saved::disk_spaces(&older.spec)?.iter().zip(&older.spec.disks) {
        if changed(name) {
            files(name, disk.bytes, (&older, &newer), ui)?;
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

/// The files of one disk in which two snapshots differ.
fn files(
    name: &str,
    bytes: u64,
    (older, newer): (&Snapshot, &Snapshot),
    ui: Ui,
) -> Result<(), Failure> {
    let image = |of: &Snapshot| {
        let space = of.spaces.iter().find(|space| space.name == name);
        space.map(|space| space.image.clone()).unwrap_or_default()
    };
    let found = match differences(&image(older), &image(newer), bytes) {
        Ok(found) => found,
        Err(error) if ui.json => {
            return ui.object(json!({ "space": name, "files_error": error.to_string() }));
        }
        Err(error) => return ui.line(&format!("files of {name}: {error}")),
    };
    let shown = if ui.json { found.len() } else { FILES_SHOWN };
    for file in found.iter().take(shown) {
        let change = match file.change {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
        };
        let (partition, path) = (file.partition, &file.path);
        if ui.json {
            let said = json!({
                "space": name, "partition": partition, "file": path, "change": change,
            });
            ui.object(said)?;
            continue;
        }
        let place = partition.map_or_else(|| name.to_owned(), |number| format!("{name}p{number}"));
        // A name is the guest's: what a terminal would act on is not shown as it is.
        ui.line(&format!("file {place}:{}: {change}", path.escape_debug()))?;
    }
    if found.len() > shown {
        ui.line(&format!("  and {} more files; --json lists them all", found.len() - shown))?;
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
