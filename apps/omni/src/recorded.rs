//! Recordings of a machine: where they are, how one begins, and how one is opened again. See
//! `docs/formats/recording.md`.

use crate::failure::{Failure, code};
use crate::saved::{self, Title};
use omni_base::Digest;
use omni_control::{API, Client, DiskFile, Entry, Phase, Request, now_text};
use omni_host::private_dir;
use omni_lifecycle::{LifecycleError, LogHead, Shelf, Snapshot, Timeline};
use omni_machine::Machine;
use omni_recording::{
    Begun, Kept, OpenError, RecordError, Recorder, Vault, moment_text, open, read_log,
};
use omni_store::{Lease, Store};
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// How often rungs are listed again that were given up meanwhile.
const RETRIES: usize = 10;

/// Keeps the rungs of one recording in the store, in a tree of their own.
#[derive(Debug)]
struct StoreVault {
    store: Arc<Store>,
    owner: String,
    disks: Vec<DiskFile>,
    /// The rung before.
    last: Mutex<Option<Digest>>,
}

impl Shelf for StoreVault {
    fn snapshot(&self, id: Digest) -> io::Result<Snapshot> {
        saved::read(&self.store, id, &self.disks).map_err(|failure| io::Error::other(failure.text))
    }
}

impl Vault for StoreVault {
    fn put(&self, name: &str, snapshot: &Snapshot) -> io::Result<Kept> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // The first brings the files of the machine, parts of which are read as they are.
        let compress = last.is_some();
        let about = Vec::new();
        let title = Title { owner: &self.owner, tag: name, parent: *last, about, compress };
        let entry = saved::write(&self.store, snapshot, title)?;
        *last = Some(entry.id);
        Ok(Kept { id: entry.id, bytes: entry.bytes_new })
    }

    fn remove(&self, id: Digest) -> io::Result<()> {
        Ok(self.store.remove(&self.owner, id)?)
    }
}

/// Who owns the rungs of a recording in the store.
fn owner(entry: &Entry, name: &str) -> String {
    format!("{}.{name}", entry.machine.id)
}

/// Whether an owner in the store is this machine, or a recording of it.
pub(crate) fn is_of(owner: &str, id: &str) -> bool {
    owner.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn path(entry: &Entry, name: &str) -> PathBuf {
    entry.dir.join("recordings").join(format!("{name}.log"))
}

/// The recordings of a machine, oldest first.
pub(crate) fn names(entry: &Entry) -> Vec<String> {
    let mut numbers: Vec<u64> = Vec::new();
    for item in std::fs::read_dir(entry.dir.join("recordings")).into_iter().flatten().flatten() {
        let name = item.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".log"));
        numbers.extend(name.and_then(number));
    }
    numbers.sort_unstable();
    numbers.into_iter().map(|number| format!("r{number}")).collect()
}

/// The number of a recording, by its name.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_prefix('r')?.parse().ok()
}

/// A name for the next recording.
fn free_name(entry: &Entry) -> String {
    let last = names(entry).pop().and_then(|name| number(&name));
    format!("r{}", last.map_or(1, |number| number.saturating_add(1)))
}

/// Begins to record a machine at a safe point; `write` completes it.
pub(crate) fn begin(
    entry: &Entry,
    recorder: &Recorder,
    machine: &mut dyn Machine,
) -> Result<(String, Begun), Failure> {
    let name = free_name(entry);
    let begun = recorder.begin(&name, machine).map_err(begin_failure)?;
    Ok((name, begun))
}

/// Writes the start of a recording. Once this returns, it is there and grows.
pub(crate) fn write(
    entry: &Entry,
    name: &str,
    ns_per_tick: u32,
    begun: Begun,
) -> Result<(), Failure> {
    let path = path(entry, name);
    let vault = match new_vault(entry, name) {
        Ok(vault) => vault,
        Err(failure) => {
            begun.cancel();
            return Err(failure);
        }
    };
    let about = json!({
        "api": API,
        "machine": entry.machine.id,
        "created": now_text(),
        "ns_per_tick": ns_per_tick,
        "from": entry.origin.branch,
    });
    let about = serde_json::to_vec(&about).expect("plain data");
    begun.write(&path, Arc::new(vault), about).map_err(begin_failure)
}

/// Where the rungs of a recording go that is about to begin.
fn new_vault(entry: &Entry, name: &str) -> Result<StoreVault, Failure> {
    let dir = entry.dir.join("recordings");
    private_dir(&dir).map_err(|error| Failure::io(&dir.display().to_string(), &error))?;
    let (store, owner) = (saved::own_store()?, owner(entry, name));
    // What a monitor left that was killed before its recording began.
    store.remove_owner(&owner)?;
    Ok(StoreVault { store, owner, disks: entry.machine.disks.clone(), last: Mutex::default() })
}

fn begin_failure(error: RecordError) -> Failure {
    match error {
        RecordError::Lifecycle(LifecycleError::NotDeterministic(_)) => {
            let text = "a machine whose virtual CPUs run side by side cannot be recorded: start it \
                        with --turns";
            Failure::new(code::WRONG_STATE, text)
        }
        RecordError::Already(_) => Failure::new(code::EXISTS, error.to_string()),
        RecordError::Lifecycle(error) => error.into(),
        RecordError::Io(path, error) => Failure::io(&path.display().to_string(), &error),
    }
}

/// Records a machine from its start, where it is to be recorded.
pub(crate) fn from_start(
    entry: &Entry,
    recorder: &Recorder,
    machine: &mut dyn Machine,
) -> Result<(), Failure> {
    if !entry.machine.record && entry.origin.branch.is_none() {
        return Ok(());
    }
    let ns_per_tick = machine.spec().ns_per_tick;
    let (name, begun) = begin(entry, recorder, machine)?;
    write(entry, &name, ns_per_tick, begun)
}

/// A recording that was opened.
pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) timeline: Timeline,
    pub(crate) ns_per_tick: u32,
    /// Its rungs stay as long as this is here.
    pub(crate) lease: Lease,
}

/// What a recording says of itself.
pub(crate) fn about(head: &LogHead) -> Value {
    serde_json::from_slice(&head.about).unwrap_or_default()
}

/// Guest nanoseconds of a tick of a recording.
pub(crate) fn ns_per_tick(about: &Value) -> u32 {
    about["ns_per_tick"].as_u64().and_then(|ns| u32::try_from(ns).ok()).unwrap_or(1)
}

/// How the recording of a live machine is; what it recorded so far is in its file then. Null where
/// it is not recorded.
pub(crate) fn status(entry: &Entry) -> Result<Value, Failure> {
    if !matches!(entry.state.state, Phase::Running | Phase::Paused) {
        return Ok(Value::Null);
    }
    Ok(Client::connect(entry)?.ask(&Request::Recording)?)
}

/// Opens a recording of a machine.
pub(crate) fn reopen(entry: &Entry, name: &str) -> Result<Recording, Failure> {
    let store = saved::own_store()?;
    let owner = owner(entry, name);
    let disks = entry.machine.disks.clone();
    let path = path(entry, name);
    let mut again = RETRIES;
    loop {
        let rungs: Vec<(String, Digest)> =
            store.tree(&owner)?.entries().map(|one| (one.tag.clone(), one.id)).collect();
        let ids: Vec<Digest> = rungs.iter().map(|(_, id)| *id).collect();
        let lease = match store.lease(&ids) {
            Ok(lease) => lease,
            // The recording gave one up since, and it was cleaned up.
            Err(_) if again > 0 => {
                again -= 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let vault = StoreVault { store: store.clone(), owner, disks, last: Mutex::default() };
        let shelf: Arc<dyn Shelf> = Arc::new(vault);
        let timeline = open(&path, rungs, &shelf).map_err(open_failure)?;
        let ns_per_tick = ns_per_tick(&about(timeline.log.head()));
        return Ok(Recording { name: name.to_owned(), timeline, ns_per_tick, lease });
    }
}

fn open_failure(error: OpenError) -> Failure {
    match error {
        OpenError::Io(path, error) => Failure::io(&path.display().to_string(), &error),
        OpenError::Lifecycle(LifecycleError::NoMoment(moment)) => {
            let text = format!("the rung at the recording's start, {moment}, is not in the store");
            Failure::new(code::DAMAGED, text)
        }
        OpenError::Lifecycle(error) => error.into(),
        OpenError::Large(_) | OpenError::Log(..) => Failure::new(code::DAMAGED, error.to_string()),
    }
}

/// What is known of a recording without its rungs.
pub(crate) fn summary(entry: &Entry, name: &str) -> Value {
    match read_log(&path(entry, name)) {
        Ok((log, torn)) => {
            let about = about(log.head());
            json!({
                "recording": name,
                "created": about["created"],
                "from": about["from"],
                "start": moment_text(log.start()),
                "end": moment_text(log.end()),
                "torn_bytes": torn,
            })
        }
        Err(error) => json!({ "recording": name, "error": error.to_string() }),
    }
}

/// Removes a recording that has ended, with its rungs.
pub(crate) fn remove(entry: &Entry, name: &str) -> Result<(), Failure> {
    if status(entry)?["recording"] == name {
        let text = format!("'{name}' is being recorded: 'omni record --stop' ends it");
        return Err(Failure::new(code::WRONG_STATE, text));
    }
    let path = path(entry, name);
    std::fs::remove_file(&path)
        .map_err(|error| Failure::io(&path.display().to_string(), &error))?;
    Ok(saved::own_store()?.remove_owner(&owner(entry, name))?)
}
