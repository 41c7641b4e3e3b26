//! The verb `fork`: machines that go on from where another one is, each for itself.

use crate::failure::Failure;
use crate::hold::hold;
use crate::keeper::ms;
use crate::life::{Begin, launch_all};
use crate::plan::published;
use crate::room;
use crate::snapshots::{Named, move_to, named};
use crate::ui::Ui;
use omni_control::{Client, Dirs, Entry, MachineFile, Registry, Request, now_text};
use omni_net::Publish;
use omni_store::Store;
use serde_json::{Value, json};
use std::time::Instant;

/// Forks that one call makes.
const FORKS_MAX: u32 = 10_000;

/// `fork`: machines that go on from a live one, or from a snapshot, each for itself.
pub(crate) fn fork(
    text: &str,
    count: u32,
    publish: &[String],
    dirs: &Dirs,
    ui: Ui,
) -> Result<(), Failure> {
    if !(1..=FORKS_MAX).contains(&count) {
        return Err(Failure::usage(format!("--count is 1 to {FORKS_MAX}")));
    }
    check_publish(publish, count)?;
    let began = Instant::now();
    let registry = Registry::open(dirs)?;
    let (found, passing) = if text.contains('@') {
        (named(text, dirs)?, false)
    } else {
        let entry = registry.find(text)?;
        let tag = format!("fork-{:08x}", omni_host::random_u64() >> 32);
        let request = Request::Snapshot { tag: Some(tag.clone()) };
        Client::connect(&entry)?.ask(&request)?;
        (named(&format!("{}@{tag}", entry.machine.id), dirs)?, true)
    };
    let own = &found.entry.machine;
    if publish.is_empty() && !own.publish.is_empty() {
        // A port of the host leads to one machine only.
        let (name, ports) = (&own.name, own.publish.join(", "));
        ui.say(&format!("omni: {ports} stays with '{name}': fork with --publish for other ports"));
    }
    let kept = found.store.lease(&[found.id])?;
    let mut children = Vec::new();
    let made = (0..count).try_for_each(|_| {
        children.push(child(&found, publish, &registry)?);
        Ok::<_, Failure>(())
    });
    let launched = made.and_then(|()| {
        room::check(&children, &registry)?;
        launch_all(&children, Begin { hold: false, from: Some(found.id), fork: true })
    });
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
            "start_ms": ms(ready.saturating_duration_since(began)),
            "private_bytes": asked.map_or(Value::Null, |all| all["private_bytes"].clone()),
        });
        ui.result(value, &entry.machine.name)?;
    }
    Ok(())
}

/// Removes a fork, whether it runs or not.
fn undo(entry: &Entry, registry: &Registry, store: &Store) {
    // Each of these may fail where it never ran; the failure to tell of is the first.
    if let Ok(mut client) = Entry::load(&entry.dir).and_then(|now| Client::connect(&now)) {
        let _ = client.ask(&Request::Kill { keep: true });
    }
    let _lock = hold(entry);
    let _ = registry.remove_files(&entry.machine.id, &entry.dir);
    let _ = store.remove_owner(&entry.machine.id);
}

/// A machine that has not run yet and goes on from a snapshot of another.
fn child(of: &Named, publish: &[String], registry: &Registry) -> Result<Entry, Failure> {
    let parent = &of.entry.machine;
    let machine = MachineFile {
        id: String::new(),
        name: String::new(),
        created: now_text(),
        publish: publish.to_vec(),
        remove: false,
        timeout_ms: None,
        signature: None,
        ..parent.clone()
    };
    let mut entry = registry.create(machine, &parent.name)?;
    move_to(&mut entry, &of.store, of.id)?;
    // Should nobody start it now, whoever does later makes it go on from there all the same.
    entry.origin.fork = true;
    Entry::write_origin(&entry.dir, &entry.origin)?;
    Ok(entry)
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
