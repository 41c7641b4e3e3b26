//! What a machine begins as: made from its files, or as a snapshot has it.

use crate::cuts::in_flight;
use crate::failure::Failure;
use crate::keeper::Keeper;
use crate::plan::spec_of;
use crate::saved;
use omni_control::Entry;
use omni_host::Disk;
use omni_kinds::{KINDS, kind_of};
use omni_lifecycle::{Snapshot, restore};
use omni_machine::{DiskSpec, Machine, PortId, Spec};
use omni_store::{Lease, Store};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A machine that has not run yet, and what belongs to it.
pub(crate) struct Made {
    pub(crate) spec: Spec,
    pub(crate) disks: Vec<Disk>,
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) keeper: Keeper,
    /// What was on its way to the machine.
    pub(crate) in_flight: Vec<(PortId, Vec<u8>)>,
}

/// A machine as a snapshot has it, which is not connected to anything yet.
pub(crate) struct Warm {
    store: Arc<Store>,
    lease: Lease,
    snapshot: Snapshot,
    machine: Box<dyn Machine>,
    in_flight: Vec<(PortId, Vec<u8>)>,
}

/// The machine of an entry: as it was read of a snapshot, or a cold one.
pub(crate) fn make(entry: &Entry, warm: Option<Warm>) -> Result<Made, Failure> {
    warm.map_or_else(|| cold(entry), |warm| connect(entry, warm))
}

fn cold(entry: &Entry) -> Result<Made, Failure> {
    let (spec, disks) = spec_of(entry)?;
    let lease = match &entry.origin.disks {
        Some(id) => Some(saved::own_store()?.lease(&[saved::parse_id(id)?])?),
        None => None,
    };
    let machine = kind_of(&spec.kind)?.create(&spec)?;
    let keeper = Keeper::new(entry, None, lease);
    Ok(Made { spec, disks, machine, keeper, in_flight: Vec::new() })
}

/// Removes what a machine wrote to a disk. There is something only where it was here before, and a
/// loss of power has undone that it ran: its memory begins anew, and so do its disks.
fn forget(overlay: &Path) -> Result<(), Failure> {
    match fs::remove_file(overlay) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io(&overlay.display().to_string(), &error))
        }
        _ => Ok(()),
    }
}

/// Reads the snapshot of this id; its pages are read when they are touched. Nothing is changed, and
/// of the machine's files only what never changes is used.
pub(crate) fn warm(entry: &Entry, id: &str) -> Result<Warm, Failure> {
    let (store, id) = (saved::own_store()?, saved::parse_id(id)?);
    let lease = store.lease(&[id])?;
    let snapshot = saved::read(&store, id, &entry.machine.disks)?;
    let restored = restore(KINDS, &snapshot);
    if restored.is_err() {
        // A file of the store that is damaged is the cause, not what the kind made of it.
        saved::check_files(&snapshot)?;
    }
    let machine = restored?;
    let ports = kind_of(&snapshot.spec.kind)?.ports(&snapshot.spec)?;
    let in_flight = in_flight(&saved::cut_of(&store, id)?, &ports)?;
    Ok(Warm { store, lease, snapshot, machine, in_flight })
}

fn connect(entry: &Entry, warm: Warm) -> Result<Made, Failure> {
    let Warm { store, lease, snapshot, machine, in_flight } = warm;
    let mut disks = Vec::new();
    let images = saved::disk_images(&snapshot)?.into_iter().zip(&snapshot.spec.disks);
    for (at, (image, DiskSpec { bytes, read_only, .. })) in images.enumerate() {
        let overlay = (!read_only).then(|| entry.overlay(at));
        overlay.iter().try_for_each(|path| forget(path))?;
        disks.push(Disk::above(image, *bytes, overlay.as_deref())?);
    }
    let keeper = Keeper::new(entry, Some(store), Some(lease));
    Ok(Made { spec: snapshot.spec, disks, machine, keeper, in_flight })
}
