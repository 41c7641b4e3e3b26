//! Snapshots and forks.

use crate::{Difference, LifecycleError, Mark};
use omni_base::{Digest, Tick};
use omni_machine::{CreateError, Effect, Event, Machine, MachineKind, Outside, Spec};
use omni_memory::{Image, Space};
use omni_state::Bundle;

/// A machine at rest: a spec, images that share pages, records, and the requests in flight.
///
/// Cloning one costs next to nothing but the records.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What the machine was made from.
    pub spec: Spec,
    /// The meaning of the kind's instructions when this was taken (`KindInfo::semantics`).
    pub semantics: u32,
    /// When on its timeline.
    pub tick: Tick,
    /// The content of each space, in the machine's order.
    pub spaces: Vec<SpaceImage>,
    /// The canonical bytes of the records.
    pub records: Vec<u8>,
    /// Requests to issue again, oldest first.
    pub pending: Vec<Effect>,
}

/// The content of one space.
#[derive(Clone, Debug)]
pub struct SpaceImage {
    /// The name of the space.
    pub name: String,
    /// Its size in pages.
    pub pages: u64,
    /// What it holds.
    pub image: Image,
}

impl Snapshot {
    /// The digest of the state, the same as `omni_machine::digest` of the machine.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.mark().digest()
    }

    /// The state in short, to compare with.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let spaces = self.spaces.iter();
        let spaces = spaces.map(|space| (space.name.clone(), space.image.digest())).collect();
        Mark { records: self.records.clone(), spaces }
    }

    /// The first place where two snapshots differ in state: a record before a page, a page
    /// before a request.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        Difference::of_snapshots(self, other)
    }
}

/// Takes a snapshot: O(pages written since the last seal), no page is copied or hashed.
///
/// # Errors
/// Where no kind has the machine's name, or it cannot be saved.
pub fn take(
    kinds: &[&dyn MachineKind],
    machine: &mut dyn Machine,
) -> Result<Snapshot, LifecycleError> {
    let spec = machine.spec().clone();
    let semantics = kind_of(kinds, &spec.kind)?.info().semantics;
    if !machine.caps().self_contained {
        return Err(LifecycleError::NotSelfContained(spec.kind));
    }
    let mut records = Bundle::default();
    machine.save(&mut records);
    let image = |space: &mut Space| SpaceImage {
        name: space.name().to_owned(),
        pages: space.page_count(),
        image: space.seal().image,
    };
    let spaces = machine.memory().spaces.iter_mut().map(image).collect();
    let (tick, pending) = (machine.tick(), machine.pending());
    Ok(Snapshot { spec, semantics, tick, spaces, records: records.to_bytes(), pending })
}

/// The kind of this name.
///
/// # Errors
/// Where there is none.
pub fn kind_of<'k>(
    kinds: &[&'k dyn MachineKind],
    name: &str,
) -> Result<&'k dyn MachineKind, CreateError> {
    let found = kinds.iter().find(|kind| kind.info().name == name);
    found.copied().ok_or_else(|| CreateError::NoKind(name.to_owned()))
}

/// Makes a machine from a snapshot, identical in all respects. Pages are shared until written.
///
/// # Errors
/// Where there is no such kind, or the snapshot is not one of this kind's.
pub fn restore(
    kinds: &[&dyn MachineKind],
    snapshot: &Snapshot,
) -> Result<Box<dyn Machine>, LifecycleError> {
    let kind = kind_of(kinds, &snapshot.spec.kind)?;
    let records = Bundle::from_bytes(&snapshot.records)?;
    let space = |of: &SpaceImage| Space::from_image(&of.name, of.pages, of.image.clone());
    let spaces = snapshot.spaces.iter().map(space).collect();
    let machine = kind.restore(&snapshot.spec, spaces, records)?;
    if machine.tick() != snapshot.tick {
        return Err(CreateError::Shape("its records are of another tick").into());
    }
    if machine.pending() != snapshot.pending {
        return Err(
            CreateError::Shape("its requests in flight are not those of its records").into()
        );
    }
    Ok(machine)
}

/// Makes a machine from a snapshot that knows it is another one: fresh identity and entropy.
///
/// # Errors
/// As `restore`.
pub fn fork(
    kinds: &[&dyn MachineKind],
    snapshot: &Snapshot,
    entropy: [u8; 32],
    outside: &mut dyn Outside,
) -> Result<Box<dyn Machine>, LifecycleError> {
    let mut machine = restore(kinds, snapshot)?;
    machine.apply(&Event::Generation { entropy }, outside);
    Ok(machine)
}
