//! The verb `fork`: machines that go on from where another one is, each for itself.

use crate::args::ForkArgs;
use crate::failure::{Failure, code};
use crate::groups;
use crate::hold::hold;
use crate::keeper::ms;
use crate::life::{Begin, launch_all};
use crate::plan::published;
use crate::room;
use crate::snapshots::{Named, named};
use crate::switches;
use crate::ui::Ui;
use omni_base::Digest;
use omni_control::{
    Client, Dirs, Entry, MachineFile, Nursery, OriginFile, Registry, Request, StateFile, now_text,
};
use omni_host::monotonic_ns;
use omni_net::Publish;
use omni_store::Store;
use serde_json::{Value, json};
use std::time::Duration;

/// Forks that one call makes.
const FORKS_MAX: u32 = 5_000;

/// `fork`: machines that go on from a live one, or from a snapshot, each for itself.
pub(crate) fn fork(args: &ForkArgs, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let &ForkArgs { count, apart, ref publish, .. } = args;
    if !(1..=FORKS_MAX).contains(&count) {
        return Err(Failure::usage(format!("--count is 1 to {FORKS_MAX}")));
    }
    check_publish(publish, count)?;
    if let Some(group) = &args.group {
        return groups::fork(group, count, dirs, ui);
    }
    let text = args.machine.as_deref().unwrap_or_default();
    let began = monotonic_ns();
    let registry = Registry::open(dirs)?;
    let (found, passing) = if text.contains('@') {
        (named(text, dirs)?, false)
    } else {
        let entry = registry.find(text)?;
        if !apart {
            return in_family(&entry, publish, count, (began, ui));
        }
        let tag = format!("fork-{:08x}", omni_host::random_u64() >> 32);
        let request = Request::Snapshot { tag: Some(tag.clone()) };
        Client::connect(&entry)?.ask(&request)?;
        (named(&format!("{}@{tag}", entry.machine.id), dirs)?, true)
    };
    say_what_stays(&found.entry.machine, publish, ui);
    let kept = found.store.lease(&[found.id])?;
    let mut nursery = registry.nursery(&found.entry.machine.name)?;
    let mut children = Vec::new();
    let made = (0..count).try_for_each(|_| {
        children.push(child(&found, publish, &mut nursery)?);
        Ok::<_, Failure>(())
    });
    let launched = made.and_then(|()| {
        room::check(&children, &registry)?;
        launch_settled(&found, &children, &nursery)
    });
    drop(nursery);
    if passing {
        // It was taken for the children only, and they keep it.
        let _ = found.store.remove(&found.entry.machine.id, found.id);
    }
    drop(kept);
    let launched = launched.inspect_err(|_| {
        // All or none: nothing that the others did is worth keeping.
        children.iter().for_each(|entry| undo(entry, &registry, &found.store));
    })?;
    for (entry, ready) in launched {
        let asked = Client::connect(&entry)
            .and_then(|mut client| client.ask(&Request::Inspect { digest: false }));
        let value = json!({
            "id": entry.machine.id,
            "name": entry.machine.name,
            "start_ms": ms(Duration::from_nanos(ready.saturating_sub(began))),
            "private_bytes": asked.map_or(Value::Null, |all| all["private_bytes"].clone()),
        });
        ui.result(value, &entry.machine.name)?;
    }
    Ok(())
}

/// Forks a live machine within the process of its monitor.
fn in_family(
    entry: &Entry,
    publish: &[String],
    count: u32,
    (began, ui): (u64, Ui),
) -> Result<(), Failure> {
    say_what_stays(&entry.machine, publish, ui);
    let request = Request::Fork { count, publish: publish.to_vec() };
    let mut said = Client::connect(entry)?.ask(&request)?;
    for fork in said["forks"].as_array_mut().into_iter().flatten() {
        let started = fork["started_ns"].as_u64().unwrap_or(began);
        let start = Duration::from_nanos(started.saturating_sub(began));
        let name = fork["name"].as_str().unwrap_or_default().to_owned();
        let value = json!({
            "id": fork["id"],
            "name": name,
            "start_ms": ms(start),
            "private_bytes": fork["private_bytes"],
        });
        ui.result(value, &name)?;
    }
    Ok(())
}

/// A port of the host leads to one machine only, and so does an address on a switch.
fn say_what_stays(parent: &MachineFile, publish: &[String], ui: Ui) {
    if publish.is_empty() && !parent.publish.is_empty() {
        let (name, ports) = (&parent.name, parent.publish.join(", "));
        ui.say(&format!("omni: {ports} stays with '{name}': fork with --publish for other ports"));
    }
    if let Some((_, switch)) = parent.switches().next() {
        ui.say(&format!(
            "omni: a fork has the addresses of '{}', so it is not plugged into the switch \
             '{switch}'",
            parent.name
        ));
    }
}

/// Removes a fork, whether it runs or not.
pub(crate) fn undo(entry: &Entry, registry: &Registry, store: &Store) {
    // Each of these may fail where it never ran; the failure to tell of is the first.
    if let Ok(mut client) = Entry::load(&entry.dir).and_then(|now| Client::connect(&now)) {
        let _ = client.ask(&Request::Kill { keep: true });
    }
    let _lock = hold(entry);
    let _ = registry.remove_files(&entry.machine.id, &entry.dir);
    let _ = store.remove_owner(&entry.machine.id);
}

/// A machine that has not run yet and goes on from a snapshot of another. A loss of power may still
/// undo it.
fn child(of: &Named, publish: &[String], nursery: &mut Nursery<'_>) -> Result<Entry, Failure> {
    let parent = &of.entry.machine;
    // Should nobody start it now, whoever does later makes it go on from there all the same.
    let machine = forked(parent, publish);
    let origin = fork_origin(&machine, of.id);
    let (entry, lock) = nursery.add(machine, origin, StateFile::default())?;
    // Its monitor takes it.
    drop(lock);
    Ok(entry)
}

/// Where a fork of a snapshot goes on from.
fn fork_origin(machine: &MachineFile, id: Digest) -> OriginFile {
    OriginFile {
        parent: Some(id.to_string()),
        disks: (!machine.disks.is_empty()).then(|| id.to_string()),
        generation: 1,
        branch: None,
        fork: true,
    }
}

/// Adds a machine that goes on from a snapshot of another; it has not run yet, and stays.
pub(crate) fn born(
    machine: MachineFile,
    stem: &str,
    (store, id): (&Store, Digest),
    registry: &Registry,
) -> Result<Entry, Failure> {
    let origin = fork_origin(&machine, id);
    let entry = registry.create(machine, stem)?;
    let pinned = store.pin(&entry.machine.id, &[id]).map_err(Failure::from);
    let made = pinned.and_then(|()| Ok(Entry::write_origin(&entry.dir, &origin)?));
    if made.is_err() {
        undo(&entry, registry, store);
    }
    made.map(|()| Entry { origin, ..entry })
}

/// Starts forks, and meanwhile makes them, and what they read of the store, survive a loss of
/// power.
fn launch_settled(
    of: &Named,
    children: &[Entry],
    nursery: &Nursery<'_>,
) -> Result<Vec<(Entry, u64)>, Failure> {
    let settle = || {
        let pin = |entry: &Entry| of.store.pin(&entry.machine.id, &[of.id]);
        children.iter().try_for_each(pin)?;
        Ok::<_, Failure>(nursery.settle(children)?)
    };
    std::thread::scope(|scope| {
        let settled = scope.spawn(settle);
        let begin = Begin { from: Some(of.id), fork: true, ..Begin::default() };
        let pairs: Vec<(&Entry, Begin)> = children.iter().map(|entry| (entry, begin)).collect();
        let launched = launch_all(&pairs).into_iter().collect();
        let panicked = |_| Err(Failure::new(code::OWN_FAILURE, "a thread panicked"));
        settled.join().unwrap_or_else(panicked).and(launched)
    })
}

/// What a fork of a machine is made from; its id and name are still to be given.
pub(crate) fn forked(parent: &MachineFile, publish: &[String]) -> MachineFile {
    MachineFile {
        id: String::new(),
        name: String::new(),
        created: now_text(),
        net: switches::forked(parent),
        publish: publish.to_vec(),
        remove: false,
        timeout_ms: None,
        signature: None,
        ..parent.clone()
    }
}

/// Ports that are to be published: one of the host's own choice, where there are several forks.
fn check_publish(texts: &[String], count: u32) -> Result<(), Failure> {
    for text in published(texts)? {
        let fixed = text.parse::<Publish>().is_ok_and(|port| port.host_addr.port() != 0);
        if fixed && count > 1 {
            let text = format!(
                "--publish {text}: a port of the host leads to one fork only; with --count {count} \
                 let the host choose, by port 0, and look with 'omni inspect'"
            );
            return Err(Failure::usage(text));
        }
    }
    Ok(())
}
