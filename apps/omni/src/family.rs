//! Machines that share a monitor process: one, and those that were forked from it while it lived.
//!
//! Each has its own directory, lock, socket and threads, and ends alone. What they share is memory:
//! pages that none of them has written since.

use crate::failure::{Failure, code};
use crate::forks::forked;
use crate::monitor::{Begun, Birth, Shared, virtual_ms};
use crate::origin::Made;
use crate::plan::now_s;
use crate::room;
use crate::saved;
use omni_control::{Cradle, Entry, MachineFile, Nursery, Phase, Registry, StateFile, now_text};
use omni_host::{Begin, Disk, Doors, FileLock, Item, Pool, monotonic_ns};
use omni_kinds::KINDS;
use omni_lifecycle::{Snapshot, restore};
use omni_machine::{Machine, PortKind};
use omni_memory::Space;
use serde_json::{Value, json};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The stack of a machine's thread, in bytes; only what is touched of it is memory.
const STACK_BYTES: usize = 1 << 20;

/// How long forks have to begin.
const BEGIN: Duration = Duration::from_secs(60);

/// The machines of a process.
pub(crate) struct Family {
    pub(crate) doors: Arc<Doors>,
    /// What translates for them.
    pub(crate) pool: Arc<Pool>,
    members: Mutex<Members>,
    left: Condvar,
    /// The folder of the next fork, from the first one on.
    cradle: Mutex<Option<Cradle>>,
}

#[derive(Default)]
struct Members {
    count: usize,
    /// The last has gone, and the process is about to end.
    over: bool,
}

/// A place in a family: the process lives as long as there are any.
pub(crate) struct Member(Arc<Family>);

impl Family {
    pub(crate) fn open() -> io::Result<Arc<Self>> {
        let (members, left, cradle) = Default::default();
        let pool = Pool::new(thread::available_parallelism()?.get());
        Ok(Arc::new(Self { doors: Doors::open()?, pool, members, left, cradle }))
    }

    /// One more, or nothing where the process is about to end.
    pub(crate) fn join(self: &Arc<Self>) -> Option<Member> {
        let mut members = self.members();
        if members.over {
            return None;
        }
        members.count += 1;
        Some(Member(self.clone()))
    }

    /// Whether there is one machine only: all that the process has is its own.
    pub(crate) fn is_single(&self) -> bool {
        self.members().count <= 1
    }

    /// Waits until the last has gone.
    pub(crate) fn wait(&self) {
        let mut members = self.members();
        while members.count > 0 {
            members = self.left.wait(members).unwrap_or_else(PoisonError::into_inner);
        }
        members.over = true;
        self.cradle().take();
    }

    fn cradle(&self) -> MutexGuard<'_, Option<Cradle>> {
        self.cradle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.members().count -= 1;
        self.0.left.notify_all();
    }
}

/// A fork that runs.
struct Child {
    entry: Entry,
    shared: Arc<Shared>,
    /// Memory that it alone held when it began.
    own_bytes: u64,
}

/// Makes forks of a machine, of which this is a snapshot of now, and lets them run. All are on disk
/// when it comes back; where one cannot be, there is none.
pub(crate) fn fork(
    parent: &Shared,
    snapshot: &Snapshot,
    count: u32,
    publish: &[String],
) -> Result<Value, Failure> {
    let over = || Failure::new(code::WRONG_STATE, "the machine has ended");
    // The process stays as long as this is under way.
    let _stay = parent.family.join().ok_or_else(over)?;
    room::check_forks()?;
    let registry = Registry::open(&crate::monitor::dirs()?)?;
    let cradle = parent.family.cradle().take();
    let mut nursery = registry.nursery(&parent.entry.machine.name)?.with_cradle(cradle);
    // None of them takes time from the others before all are there.
    let shut = parent.family.pool.shut();
    let (tell, told) = channel();
    let mut children = Vec::new();
    let made = (0..count).try_for_each(|at| {
        let machine = forked(&parent.entry.machine, publish);
        let begun = (at, tell.clone());
        children.push(bear(parent, snapshot, machine, &mut nursery, (begun, false))?);
        Ok::<_, Failure>(())
    });
    drop((tell, shut));
    let settled = made.and_then(|()| settle(parent, &children, &nursery));
    // Others may look for names while the dead are buried.
    drop(nursery);
    if let Err(failure) = settled {
        children.iter().for_each(|child| undo(child, &registry));
        return Err(failure);
    }
    let started = starts(&told, children.len());
    // Where there is none, the next fork takes a moment longer.
    *parent.family.cradle() = registry.cradle().ok();
    let forks = children.iter().zip(started).map(|(child, started)| {
        json!({
            "id": child.entry.machine.id,
            "name": child.entry.machine.name,
            "started_ns": started,
            "private_bytes": child.own_bytes,
        })
    });
    Ok(json!({ "forks": forks.collect::<Vec<_>>() }))
}

/// Makes a fork of a machine, of which this is a snapshot of now, that goes on with options of its
/// own. It runs once somebody attaches, and a loss of power may undo it while it lives.
pub(crate) fn launch(
    parent: &Shared,
    mut snapshot: Snapshot,
    wanted: &MachineFile,
) -> Result<Value, Failure> {
    let over = || Failure::new(code::WRONG_STATE, "the machine has ended");
    let _stay = parent.family.join().ok_or_else(over)?;
    room::check_forks()?;
    let own = wanted.clone();
    let machine = MachineFile {
        name: own.name,
        image: own.image,
        options: own.options,
        folders: own.folders,
        labels: own.labels,
        remove: own.remove,
        timeout_ms: own.timeout_ms,
        snapshot_on_exit: own.snapshot_on_exit,
        record: own.record,
        ..forked(&parent.entry.machine, &[])
    };
    snapshot.spec.options.clone_from(&machine.options);
    // Its clock shows the present, however long the other has waited.
    let lived_s = virtual_ms(snapshot.tick.0, snapshot.spec.ns_per_tick) / 1000;
    snapshot.spec.epoch_s = now_s().saturating_sub(lived_s);
    let registry = Registry::open(&crate::monitor::dirs()?)?;
    let cradle = parent.family.cradle().take();
    let mut nursery = registry.nursery(&machine.image)?.with_cradle(cradle);
    let (tell, _) = channel();
    let child = bear(parent, &snapshot, machine, &mut nursery, ((0, tell), true));
    drop(nursery);
    let child = child?;
    // Where there is none, the next takes a moment longer.
    *parent.family.cradle() = registry.cradle().ok();
    Ok(json!({ "id": child.entry.machine.id, "name": child.entry.machine.name }))
}

/// Makes one fork and lets it run, or wait for the client that is to own it.
fn bear(
    parent: &Shared,
    snapshot: &Snapshot,
    machine: MachineFile,
    nursery: &mut Nursery<'_>,
    (begun, hold): ((u32, Sender<(u32, u64)>), bool),
) -> Result<Child, Failure> {
    let state = StateFile {
        state: Phase::Running,
        started: Some(now_text()),
        pid: Some(std::process::id()),
        ..StateFile::default()
    };
    let (entry, lock) = nursery.add(machine, parent.keeper.origin(), state)?;
    let made = made(parent, snapshot, &entry, lock, begun);
    let made = made.and_then(|(begun, own_bytes)| {
        Ok(Child { entry: entry.clone(), shared: run(begun, hold)?, own_bytes })
    });
    made.inspect_err(|_| {
        // The failure to tell of is the first.
        let _ = std::fs::remove_dir_all(&entry.dir);
    })
}

fn made(
    parent: &Shared,
    snapshot: &Snapshot,
    entry: &Entry,
    lock: FileLock,
    (at, tell): (u32, Sender<(u32, u64)>),
) -> Result<(Begun, u64), Failure> {
    // First, as it keeps what the machine reads.
    let keeper = parent.keeper.forked(entry)?;
    let mut machine = restore(KINDS, snapshot)?;
    let (_, own_bytes) = own_bytes_of(&mut *machine);
    let image = |name: &String| {
        let space = snapshot.spaces.iter().find(|space| space.name == *name);
        space.map(|space| space.image.clone()).unwrap_or_default()
    };
    let names = parent.disks.iter().zip(0..);
    let disks =
        names.map(|((name, root), at)| Disk::forked(root.clone(), image(name), entry.overlay(at)));
    let made = Made {
        spec: snapshot.spec.clone(),
        disks: disks.collect(),
        machine,
        keeper,
        in_flight: Vec::new(),
    };
    let (entry, family) = (entry.clone(), parent.family.clone());
    // Whoever forked it may have given up.
    let begin: Begin = Box::new(move || _ = tell.send((at, monotonic_ns())));
    let begin = Some(begin);
    let (identity, lazy, held) = (true, true, false);
    let birth = Birth { entry, lock, made, family, identity, begin, lazy, held };
    Ok((Begun::new(birth)?, own_bytes))
}

/// Lets a fork live on a thread of its own.
fn run(begun: Begun, hold: bool) -> Result<Arc<Shared>, Failure> {
    let shared = begun.shared.clone();
    let body = move || _ = begun.live_or_fail(hold);
    let name = format!("m-{}", shared.entry.machine.id);
    let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(body);
    thread.map_err(|error| Failure::io("cannot start a thread", &error))?;
    Ok(shared)
}

/// Makes forks survive a loss of power, and what they read of the store stay.
fn settle(parent: &Shared, children: &[Child], nursery: &Nursery<'_>) -> Result<(), Failure> {
    if let (Some(id), Some(store)) = (parent.keeper.origin().disks, parent.keeper.store()) {
        let id = saved::parse_id(&id)?;
        children.iter().try_for_each(|child| store.pin(&child.entry.machine.id, &[id]))?;
    }
    let entries: Vec<Entry> = children.iter().map(|child| child.entry.clone()).collect();
    Ok(nursery.settle(&entries)?)
}

/// Removes a fork that runs.
fn undo(child: &Child, registry: &Registry) {
    child.shared.queue.push(Item::Kill);
    child.shared.wait(None);
    // The failure to tell of is the first.
    let _ = registry.remove_files(&child.entry.machine.id, &child.entry.dir);
    if let Some(store) = child.shared.keeper.store() {
        let _ = store.remove_owner(&child.entry.machine.id);
    }
}

/// When each fork began, in their order.
fn starts(told: &Receiver<(u32, u64)>, count: usize) -> Vec<Option<u64>> {
    let mut starts = vec![None; count];
    while let Ok((at, started)) = told.recv_timeout(BEGIN) {
        if let Some(place) = usize::try_from(at).ok().and_then(|at| starts.get_mut(at)) {
            *place = Some(started);
        }
    }
    starts
}

/// Bytes of pages that only this machine holds, and the same with what it holds of code and caches.
pub(crate) fn own_bytes_of(machine: &mut dyn Machine) -> (u64, u64) {
    let pages = machine.memory().spaces.iter().map(Space::own_bytes).sum();
    let held = machine.counters().into_iter().filter(|(name, _)| name.ends_with("_held_bytes"));
    (pages, pages + held.map(|(_, bytes)| bytes).sum::<u64>())
}

/// The disks of a machine by the names of their spaces, in order.
pub(crate) fn disk_roots(
    ports: &[omni_machine::PortInfo],
    disks: &[Disk],
) -> Vec<(String, omni_host::DiskRoot)> {
    let names = ports.iter().filter_map(|port| match &port.kind {
        PortKind::Disk { space } => Some(space.clone()),
        PortKind::Console | PortKind::Net { .. } | PortKind::Files => None,
    });
    names.zip(disks.iter().map(|disk| disk.root().clone())).collect()
}
