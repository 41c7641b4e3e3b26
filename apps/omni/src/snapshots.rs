//! The verbs of snapshots: snapshot, snapshots, restore, fork, diff, export, import, rm, gc.

use crate::args::{RestoreArgs, Schedule, SnapshotArgs};
use crate::failure::{Failure, code};
use crate::groups;
use crate::keeper::{ms, parent_text};
use crate::leave::{Ready, move_to};
use crate::life::{Begin, Waiting, prepare};
use crate::recorded;
use crate::room;
use crate::saved::{self, open_store};
use crate::switches;
use crate::ui::{Ui, size_text};
use omni_base::Digest;
use omni_control::{BranchFile, Client, Dirs, Entry, MachineFile, Registry, Request, now_text};
use omni_lifecycle::Snapshot;
use omni_store::{GcOptions, Store, StoreError, Tree};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long clean-up waits for those who write to the store.
const GC_WAIT: Duration = Duration::from_secs(30);

/// A snapshot that a verb names, and all around it.
pub(crate) struct Named {
    pub(crate) entry: Entry,
    pub(crate) store: Arc<Store>,
    pub(crate) id: Digest,
    pub(crate) tag: String,
}

/// Finds `MACHINE@TAG`.
pub(crate) fn named(text: &str, dirs: &Dirs) -> Result<Named, Failure> {
    let (machine, tag) = text
        .split_once('@')
        .ok_or_else(|| Failure::usage(format!("'{text}' names no snapshot: write MACHINE@TAG")))?;
    let entry = Registry::open(dirs)?.find(machine)?;
    let store = open_store(dirs)?;
    let tree = store.tree(&entry.machine.id)?;
    let found = match tree.find(tag) {
        Err(StoreError::NoSnapshot(_)) => {
            let name = &entry.machine.name;
            let text =
                format!("there is no snapshot '{name}@{tag}'; 'omni snapshots {name}' lists them");
            return Err(Failure::new(code::NOT_FOUND, text));
        }
        found => found?,
    };
    let (id, tag) = (found.id, found.tag.clone());
    Ok(Named { entry, store, id, tag })
}

/// `snapshot`: of a live machine, which is held only while its pages are sealed.
pub(crate) fn take(args: &SnapshotArgs, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let tag = args.named.as_deref().or(args.tag.as_deref());
    if let Some(group) = &args.group {
        return groups::take(group, tag, dirs, ui);
    }
    let entry = Registry::open(dirs)?.find(args.machine.as_deref().unwrap_or_default())?;
    let request = Request::Snapshot { tag: tag.map(str::to_owned) };
    let mut value = Client::connect(&entry)?.ask(&request)?;
    value["machine"] = json!(entry.machine.name);
    let tag = value["tag"].as_str().unwrap_or_default().to_owned();
    ui.result(value, &format!("{}@{tag}", entry.machine.name))
}

/// `snapshots`: the tree of a machine.
pub(crate) fn list(key: &str, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let entry = Registry::open(dirs)?.find(key)?;
    let tree = open_store(dirs)?.tree(&entry.machine.id)?;
    let current = match &entry.origin.parent {
        Some(id) => tree.present(saved::parse_id(id)?),
        None => None,
    };
    let mut depths: BTreeMap<Digest, usize> = BTreeMap::new();
    let mut rows = Vec::new();
    for (depth, one) in in_order(&tree, &mut depths) {
        let here = current == Some(one.id);
        if ui.json {
            ui.object(json!({
                "id": one.id.to_string(),
                "tag": one.tag,
                "parent": tree.parent(one).map(|above| &above.tag),
                "ticks": one.tick.0,
                "time": time_text(one.time_ms),
                "pages_total": one.pages_total,
                "pages_new": one.pages_new,
                "bytes_new": one.bytes_new,
                "digest": one.state.to_string(),
                "current": here,
            }))?;
            continue;
        }
        let mark = if here { " *" } else { "" };
        rows.push(vec![
            format!("{:1$}{2}{mark}", "", 2 * depth, one.tag),
            one.id.short(),
            time_text(one.time_ms),
            one.tick.0.to_string(),
            size_text(one.bytes_new),
        ]);
    }
    if ui.json {
        return Ok(());
    }
    ui.table(&["TAG", "ID", "TIME", "TICKS", "NEW"], &rows)
}

/// The snapshots with their depth, each after the one before it and before those beside that.
fn in_order<'t>(
    tree: &'t Tree,
    depths: &mut BTreeMap<Digest, usize>,
) -> Vec<(usize, &'t omni_store::Entry)> {
    let mut below: BTreeMap<Option<Digest>, Vec<&omni_store::Entry>> = BTreeMap::new();
    for entry in tree.entries() {
        let above = tree.parent(entry).map(|above| above.id);
        below.entry(above).or_default().push(entry);
    }
    let mut order = Vec::new();
    let mut left: Vec<_> = below.remove(&None).unwrap_or_default();
    left.reverse();
    while let Some(entry) = left.pop() {
        let above = tree.parent(entry).and_then(|above| depths.get(&above.id));
        // A line of snapshots stays in its column; only branches move to the right.
        let kids = below.remove(&Some(entry.id)).unwrap_or_default();
        let depth = above.copied().unwrap_or(0);
        depths.insert(entry.id, if kids.len() > 1 { depth + 1 } else { depth });
        order.push((depth, entry));
        left.extend(kids.into_iter().rev());
    }
    order
}

/// `restore`: the machine as it was, running, whether it runs now or not.
pub(crate) fn restore(args: &RestoreArgs, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let (began, schedule) = (Instant::now(), args.schedule);
    if let Some(group) = &args.group {
        return groups::restore(group, schedule, dirs, ui);
    }
    let found = named(args.snapshot.as_deref().unwrap_or_default(), dirs)?;
    let tag = found.tag.clone();
    let ((entry, runs), snapshot) = go_back(found, schedule, false)?;
    let value = json!({
        "id": entry.machine.id,
        "name": entry.machine.name,
        "tag": tag,
        "ticks": snapshot.tick.0,
        "start_ms": ms(runs.duration_since(began)),
    });
    ui.result(value, &entry.machine.name)
}

/// Makes a machine go on from one of its snapshots, or stand still there. Gives when it ran, and
/// that snapshot.
pub(crate) fn go_back(
    found: Named,
    schedule: Schedule,
    held: bool,
) -> Result<((Entry, Instant), Snapshot), Failure> {
    let Named { entry, store, id, .. } = found;
    let ready = Ready::of(entry, &store, (id, schedule))?;
    let monitor = prepare(&ready.entry, Begin { from: Some(id), held, ..Begin::default() })?;
    let snapshot = saved::read(&store, id, &ready.entry.machine.disks)?;
    Ok((go_on(ready, monitor, &store, None)?, snapshot))
}

/// Makes a machine leave where it is, and go on from its snapshot. Gives when it ran.
pub(crate) fn go_on(
    ready: Ready,
    monitor: Waiting,
    store: &Store,
    branch: Option<BranchFile>,
) -> Result<(Entry, Instant), Failure> {
    // Before anything is undone.
    let registry = Registry::open(&crate::monitor::dirs()?)?;
    room::check_again(std::slice::from_ref(&ready.entry), &registry)?;
    let (entry, kept, left) = ready.leave(store, branch)?;
    let launched = monitor.go(&entry);
    let runs = Instant::now();
    // What it had before is of no use, whatever became of the start.
    let settled = left.remove(&entry, store);
    let entry = launched?;
    settled?;
    drop(kept);
    Ok((entry, runs))
}

/// `rm MACHINE@TAG`: those after it stay, and follow the one before it.
pub(crate) fn remove(text: &str, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let Named { entry, store, id, tag, .. } = named(text, dirs)?;
    store.remove(&entry.machine.id, id)?;
    let value = json!({
        "id": entry.machine.id,
        "name": entry.machine.name,
        "tag": tag,
        "removed": true,
    });
    ui.result(value, &format!("{}@{tag}", entry.machine.name))
}

/// Removes what the store has of a machine that is removed.
pub(crate) fn forget(id: &str, dirs: &Dirs) -> Result<(), Failure> {
    if !dirs.store().exists() {
        return Ok(());
    }
    let store = open_store(dirs)?;
    for owner in store.owners()?.iter().filter(|owner| recorded::is_of(owner, id)) {
        store.remove_owner(owner)?;
    }
    // What it has pinned goes though it has no snapshots of its own.
    Ok(store.remove_owner(id)?)
}

/// `export`: a snapshot as one file that needs nothing else.
pub(crate) fn export(text: &str, file: &Path, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let found = if text.contains('@') {
        named(text, dirs)?
    } else {
        let entry = Registry::open(dirs)?.find(text)?;
        if !entry.state.state.is_live() {
            let text = format!(
                "the machine '{text}' does not run: name one of its snapshots, as '{text}@TAG'"
            );
            return Err(Failure::new(code::WRONG_STATE, text));
        }
        let value = Client::connect(&entry)?.ask(&Request::Snapshot { tag: None })?;
        let tag = value["tag"].as_str().unwrap_or_default();
        named(&format!("{}@{tag}", entry.machine.id), dirs)?
    };
    let snapshot = saved::read(&found.store, found.id, &found.entry.machine.disks)?;
    let mut base_of = |space: &omni_store::SpaceRef| {
        let own = snapshot.spaces.iter().find(|own| own.name == space.name);
        let base = own.and_then(|own| own.image.base().cloned());
        base.ok_or_else(|| StoreError::NoSnapshot(space.name.clone()))
    };
    let done = found.store.export(found.id, &mut base_of, file)?;
    let value = json!({
        "machine": found.entry.machine.name,
        "tag": found.tag,
        "file": file,
        "bytes": done.bytes,
        "pages": done.pages,
    });
    ui.result(value, &format!("{} ({})", file.display(), size_text(done.bytes)))
}

/// `import`: a machine from an exported file; 'restore' lets it go on.
pub(crate) fn import(file: &Path, name: Option<&str>, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let manifest = Store::portable_manifest(file)?;
    let mut machine: MachineFile = serde_json::from_slice(&manifest.about).map_err(|error| {
        let text = format!("{}: what it says of its machine: {error}", file.display());
        Failure::new(code::DAMAGED, text)
    })?;
    if machine.kind != manifest.kind {
        return Err(Failure::new(code::DAMAGED, "the file names two kinds"));
    }
    let stem = std::mem::take(&mut machine.name);
    machine.name = name.unwrap_or_default().to_owned();
    machine.created = now_text();
    // Whoever made the file is not asked which of our machines it is to reach.
    machine.net = switches::forked(&machine);
    machine.publish.clear();
    (machine.remove, machine.signature, machine.timeout_ms) = (false, None, None);
    machine.files_dir = dirs.files(&format!("imported-{}", manifest.spec.short()));
    machine.files.clear();
    for disk in &mut machine.disks {
        // What is on it is in the store.
        disk.path = PathBuf::new();
    }
    let registry = Registry::open(dirs)?;
    let mut entry = registry.create(machine, &stem)?;
    let done = take_in(&mut entry, file, &manifest, dirs);
    if let Err(failure) = done {
        // The first failure is the one to tell of.
        let _ = registry.remove_files(&entry.machine.id, &entry.dir);
        let _ = forget(&entry.machine.id, dirs);
        return Err(failure);
    }
    let value = json!({
        "id": entry.machine.id,
        "name": entry.machine.name,
        "tag": manifest.tag,
        "ticks": manifest.tick.0,
    });
    ui.result(value, &format!("{}@{}", entry.machine.name, manifest.tag))
}

fn take_in(
    entry: &mut Entry,
    file: &Path,
    manifest: &omni_store::Manifest,
    dirs: &Dirs,
) -> Result<(), Failure> {
    let store = open_store(dirs)?;
    let about = serde_json::to_vec(&entry.machine).expect("plain data");
    let taken = store.import(file, &entry.machine.id, &manifest.tag, about)?;
    for (role, digest) in &manifest.files {
        // A role is a name of ours; one that is a path is not.
        let path = entry.dir.join(format!("file-{}", entry.machine.files.len()));
        let bytes = store.read(omni_store::Sort::Blob, *digest)?;
        fs::write(&path, bytes)
            .map_err(|error| Failure::io(&path.display().to_string(), &error))?;
        entry.machine.files.insert(role.clone(), path);
    }
    entry.write_machine()?;
    move_to(entry, &store, taken.id)
}

/// `gc`: what no snapshot needs any more goes.
pub(crate) fn collect(compress: bool, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let store = open_store(dirs)?;
    let until = Instant::now() + GC_WAIT;
    let done = loop {
        match store.gc(GcOptions { compress_all: compress }) {
            Err(StoreError::Busy(..)) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => break other?,
        }
    };
    let value = json!({
        "bytes_before": done.bytes_before,
        "bytes_after": done.bytes_after,
        "objects": done.objects,
        "objects_gone": done.objects_gone,
    });
    let (before, after) = (size_text(done.bytes_before), size_text(done.bytes_after));
    ui.result(value, &format!("{before} before, {after} now"))
}

/// How the snapshot is named from which a machine goes on.
pub(crate) fn parent(entry: &Entry, dirs: &Dirs) -> Option<String> {
    let id = saved::parse_id(entry.origin.parent.as_ref()?).ok()?;
    let tree = open_store(dirs).ok()?.tree(&entry.machine.id).ok()?;
    Some(parent_text(&tree, tree.present(id)?))
}

fn time_text(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(String::new, |time| format!("{time:.3}"))
}
