//! Switches: how they are named on the command line, who is on them, and the verbs `net`.

use crate::args::NetVerb;
use crate::failure::{Failure, code};
use crate::ui::Ui;
use omni_control::{Client, Dirs, Entry, MachineFile, Registry, Request};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Letters of the name of a switch.
const NAME_LETTERS_MAX: usize = 40;

/// One word of `--net`.
pub(crate) fn net(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        None if text == "user" || text == "none" => Ok(text.to_owned()),
        Some(("switch", name)) => check_name(name).map(|()| text.to_owned()),
        Some(("tap", _)) => Err("this build does not use taps of the host: use user".into()),
        _ => Err("it is user, none or switch:NAME".into()),
    }
}

/// Whether a switch can have a name, which is that of a folder.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if first && rest && name.len() <= NAME_LETTERS_MAX {
        return Ok(());
    }
    let most = NAME_LETTERS_MAX;
    Err(format!("a switch is named by up to {most} letters, digits, '-', '_' and '.'"))
}

/// What the interfaces of a machine are connected to, as its file has it.
pub(crate) fn nets(words: &[String]) -> Result<String, Failure> {
    if words.is_empty() {
        return Ok("user".into());
    }
    if words.len() > 1 && words.iter().any(|word| word == "none") {
        return Err(Failure::usage("--net none stands alone: there is no interface then"));
    }
    for (at, word) in words.iter().enumerate() {
        if word != "user" && words[..at].contains(word) {
            return Err(Failure::usage(format!("--net {word}: a machine is on a switch once")));
        }
    }
    Ok(words.join(","))
}

/// The machines that live and are on a switch.
pub(crate) fn members(registry: &Registry, name: &str) -> Result<Vec<Entry>, Failure> {
    let on = |entry: &Entry| {
        entry.state.state.is_live() && entry.machine.switches().any(|(_, switch)| switch == name)
    };
    Ok(registry.list()?.into_iter().filter(on).collect())
}

/// Refuses a machine whose addresses another one has on a switch of both: they would not hear each
/// other.
pub(crate) fn check_addresses(new: &Entry, registry: &Registry) -> Result<(), Failure> {
    for (interface, name) in new.machine.switches() {
        for other in members(registry, name)? {
            let same = |(at, switch): (usize, &str)| switch == name && at == interface;
            let clash = other.machine.seed == new.machine.seed
                && other.machine.id != new.machine.id
                && other.machine.switches().any(same);
            if clash {
                let text = format!(
                    "'{}' has the same address on the switch '{name}': addresses are made from \
                     the seed, so give another --seed, or none",
                    other.machine.name
                );
                return Err(Failure::new(code::WRONG_STATE, text));
            }
        }
    }
    Ok(())
}

/// What the interfaces of a fork are connected to: it has the addresses of the machine that it was
/// forked from, so it is on no switch with it.
pub(crate) fn forked(machine: &MachineFile) -> String {
    let off = |net: &str| if net.starts_with("switch:") { "none".into() } else { net.to_owned() };
    machine.net.split(',').map(off).collect::<Vec<_>>().join(",")
}

/// The same for a fork on another switch, together with those that it shared this one with.
pub(crate) fn moved(machine: &MachineFile, from: &str, to: &str) -> String {
    let plug = |net: &str| match net.strip_prefix("switch:") {
        Some(switch) if switch == from => format!("switch:{to}"),
        Some(_) => "none".into(),
        None => net.to_owned(),
    };
    machine.net.split(',').map(plug).collect::<Vec<_>>().join(",")
}

/// `net`: what there is of switches.
pub(crate) fn verb(verb: &NetVerb, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    match verb {
        NetVerb::Ls => list(dirs, ui),
        NetVerb::Inspect { switch } => inspect(switch, dirs, ui),
    }
}

fn list(dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let mut all: BTreeMap<String, [Vec<String>; 2]> = BTreeMap::new();
    for entry in Registry::open(dirs)?.list()? {
        for (_, switch) in entry.machine.switches() {
            let [live, off] = all.entry(switch.to_owned()).or_default();
            let to = if entry.state.state.is_live() { live } else { off };
            to.push(entry.machine.name.clone());
        }
    }
    if ui.json {
        return all.into_iter().try_for_each(|(name, [live, off])| {
            ui.object(json!({ "switch": name, "machines": live, "off": off }))
        });
    }
    let row =
        |(name, [live, off]): (String, [Vec<String>; 2])| vec![name, live.join(" "), off.join(" ")];
    let rows: Vec<_> = all.into_iter().map(row).collect();
    ui.table(&["SWITCH", "MACHINES", "NOT RUNNING"], &rows)
}

fn inspect(name: &str, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let members = members(&Registry::open(dirs)?, name)?;
    if members.is_empty() {
        let text =
            format!("no machine that runs is on a switch '{name}'; 'omni net ls' lists them");
        return Err(Failure::new(code::NOT_FOUND, text));
    }
    let names: BTreeMap<&str, &str> =
        members.iter().map(|entry| (&*entry.machine.id, &*entry.machine.name)).collect();
    let mut rows = Vec::new();
    for entry in &members {
        let asked = Client::connect(entry)
            .and_then(|mut client| client.ask(&Request::Inspect { digest: false }));
        // One that has just ended is on no switch.
        let Ok(mut said) = asked else { continue };
        let ports = said["ports"]["switches"].as_array_mut().into_iter().flatten();
        let Some(port) = ports.into_iter().find(|port| port["switch"] == name) else { continue };
        let reaches: Vec<Value> = port["reaches"].as_array().cloned().unwrap_or_default();
        let named = |id: &Value| {
            let id = id.as_str().unwrap_or_default();
            names.get(id).map_or_else(|| id.to_owned(), |name| (*name).to_owned())
        };
        let reaches: Vec<String> = reaches.iter().map(named).collect();
        if ui.json {
            port["machine"] = json!(entry.machine.name);
            port["reaches"] = json!(reaches);
            ui.object(port.take())?;
            continue;
        }
        let number = |name: &str| port[name].as_u64().unwrap_or(0).to_string();
        rows.push(vec![
            entry.machine.name.clone(),
            port["mac"].as_str().unwrap_or_default().to_owned(),
            reaches.join(" "),
            number("frames_sent"),
            number("frames_received"),
            number("frames_dropped"),
        ]);
    }
    if ui.json {
        return Ok(());
    }
    ui.table(&["MACHINE", "ADDRESS", "REACHES", "SENT", "RECEIVED", "DROPPED"], &rows)
}
