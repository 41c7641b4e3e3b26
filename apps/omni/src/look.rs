//! The verbs that look: ps, inspect, logs, stats, kinds.

use crate::args::Machines;
use crate::failure::Failure;
use crate::snapshots;
use crate::ui::{Ui, size_text};
use omni_control::{Client, Dirs, Entry, Message, Phase, Registry, Reply, Request};
use omni_kinds::KINDS;
use omni_machine::{Group, KindInfo, OptionType};
use serde_json::{Value, json};
use std::fs;
use std::io;

/// `ps`: every machine.
pub(crate) fn list(quiet: bool, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let all = Registry::open(dirs)?.list()?;
    if ui.json {
        return all.iter().try_for_each(|entry| ui.object(summary(entry)));
    }
    if quiet {
        return all.iter().try_for_each(|entry| ui.line(&entry.machine.id));
    }
    let row = |entry: &Entry| {
        let machine = &entry.machine;
        let state = match (entry.state.state, entry.state.exit_code) {
            (Phase::Stopped, Some(code)) => format!("stopped ({code})"),
            (state, _) => state.word().to_owned(),
        };
        let created = machine.created.clone();
        vec![
            machine.id.clone(),
            machine.name.clone(),
            machine.kind.clone(),
            state,
            machine.image.clone(),
            machine.net.clone(),
            created,
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    ui.table(&["ID", "NAME", "KIND", "STATE", "IMAGE", "NET", "CREATED"], &rows)
}

fn summary(entry: &Entry) -> Value {
    let (machine, state) = (&entry.machine, &entry.state);
    json!({
        "id": machine.id,
        "name": machine.name,
        "kind": machine.kind,
        "arch": machine.arch,
        "image": machine.image,
        "net": machine.net,
        "state": state.state.word(),
        "exit_code": state.exit_code,
        "error": state.error,
        "labels": machine.labels,
        "created": machine.created,
        "started": state.started,
        "finished": state.finished,
        "pid": state.pid,
    })
}

/// `inspect`: everything about each machine.
pub(crate) fn inspect(machines: &Machines, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let registry = Registry::open(dirs)?;
    for key in &machines.machines {
        let entry = registry.find(key)?;
        let value = everything(&entry, snapshots::parent(&entry, dirs), true);
        if ui.json {
            ui.object(value)?;
        } else {
            ui.line(&serde_json::to_string_pretty(&value).expect("plain data"))?;
        }
    }
    Ok(())
}

/// All fields are always there; those of a machine that is not live are its last, or null.
fn everything(entry: &Entry, parent: Option<String>, digest: bool) -> Value {
    let machine = &entry.machine;
    let disk = |(at, disk): (usize, &omni_control::DiskFile)| {
        let overlay = fs::metadata(entry.overlay(at)).map(|meta| meta.len()).ok();
        json!({
            "path": disk.path,
            "read_only": disk.read_only,
            "bytes": disk.bytes,
            "overlay_bytes": overlay,
        })
    };
    let mut all = summary(entry);
    let fields = json!({
        "options": machine.options,
        "files": machine.files,
        "disks": machine.disks.iter().enumerate().map(disk).collect::<Vec<_>>(),
        "publish": machine.publish,
        "seed": machine.seed,
        "share": machine.share,
        "schedule": if machine.parallel { "parallel" } else { "turns" },
        "timeout_ms": machine.timeout_ms,
        "remove": machine.remove,
        "parent": parent,
        "directory": entry.dir,
        "ticks": null,
        "virtual_ms": null,
        "host_cpu_ms": null,
        "memory_bytes": null,
        "private_bytes": null,
        "ports": null,
        "digest": null,
    });
    extend(&mut all, fields);
    extend(&mut all, json!(entry.state.last));
    if entry.state.state.is_live() {
        let asked =
            Client::connect(entry).and_then(|mut client| client.ask(&Request::Inspect { digest }));
        // One that has just ended has nothing more to say.
        if let Ok(live) = asked {
            extend(&mut all, live);
        }
    }
    all
}

fn extend(all: &mut Value, more: Value) {
    if let (Value::Object(all), Value::Object(more)) = (all, more) {
        all.extend(more);
    }
}

/// `stats`: what live machines use, and what those that are named counted.
pub(crate) fn stats(machines: &[String], dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let registry = Registry::open(dirs)?;
    let named = !machines.is_empty();
    let mut entries = if named { vec![] } else { registry.list()? };
    for key in machines {
        entries.push(registry.find(key)?);
    }
    let mut rows = Vec::new();
    for entry in entries.iter().filter(|entry| named || entry.state.state.is_live()) {
        let all = match figures(entry) {
            Ok(all) => all,
            Err(error) if named => return Err(error.into()),
            // It has just ended.
            Err(_) => continue,
        };
        if ui.json {
            ui.object(all)?;
        } else if named {
            counted(&all, ui)?;
        } else {
            rows.push(stats_row(entry, &all));
        }
    }
    if ui.json || named {
        return Ok(());
    }
    ui.table(&["ID", "NAME", "TICKS", "CPU", "MEMORY", "RESIDENT", "OTHER"], &rows)
}

/// The figures of a live machine.
fn figures(entry: &Entry) -> Result<Value, omni_control::ControlError> {
    let (machine, state) = (&entry.machine, entry.state.state.word());
    let mut all = json!({ "id": machine.id, "name": machine.name, "state": state });
    extend(&mut all, Client::connect(entry)?.ask(&Request::Stats)?);
    Ok(all)
}

fn stats_row(entry: &Entry, all: &Value) -> Vec<String> {
    let number = |name: &str| all[name].as_u64().unwrap_or(0);
    vec![
        entry.machine.id.clone(),
        entry.machine.name.clone(),
        number("ticks").to_string(),
        format!("{}ms", number("host_cpu_ms")),
        size_text(number("memory_bytes")),
        size_text(number("resident_bytes")),
        size_text(number("other_bytes")),
    ]
}

/// Every figure of a machine on a line of its own.
fn counted(all: &Value, ui: Ui) -> Result<(), Failure> {
    let fields = all.as_object().into_iter().flatten().filter(|(name, _)| *name != "counters");
    let counters = all["counters"].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (name, value) in fields.chain(counters) {
        ui.line(&format!("{name:26} {:>20}", text(value)))?;
    }
    Ok(())
}

/// `balloon`: how much of its memory a guest keeps.
pub(crate) fn balloon(key: &str, bytes: Option<u64>, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let entry = Registry::open(dirs)?.find(key)?;
    let mut value = Client::connect(&entry)?.ask(&Request::Balloon { bytes })?;
    let size = |name: &str| size_text(value[name].as_u64().unwrap_or(0));
    let [target, actual, given] = ["target_bytes", "actual_bytes", "given_back_bytes"].map(size);
    let text = format!("keeps {actual}, is to keep {target}; has given back {given} in all");
    value["machine"] = json!(entry.machine.name);
    ui.result(value, &text)
}

/// `logs`: what the console said.
pub(crate) fn logs(
    key: &str,
    tail: Option<usize>,
    follow: bool,
    dirs: &Dirs,
    ui: Ui,
) -> Result<(), Failure> {
    let entry = Registry::open(dirs)?.find(key)?;
    // What is said from now on must not fall between the file and the connection.
    let live = if follow && entry.state.state.is_live() {
        let mut client = Client::connect(&entry)?;
        client.send(&Request::Attach { history: 0, hold: false, own: false })?;
        Some(client)
    } else {
        None
    };
    let mut text = Vec::new();
    for path in entry.logs() {
        match fs::read(&path) {
            Ok(bytes) => text.extend(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::io(&path.display().to_string(), &error)),
        }
    }
    ui.bytes(tail.map_or(&text[..], |lines| last_lines(&text, lines)))?;
    let Some(mut client) = live else { return Ok(()) };
    loop {
        match client.receive() {
            Ok(Message::Output(bytes)) => ui.bytes(&bytes)?,
            Ok(Message::Errors(bytes)) => ui.errors(&bytes),
            Ok(Message::Reply(Reply::Exited { .. })) | Err(_) => return Ok(()),
            Ok(Message::Reply(_)) => {}
        }
    }
}

fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let mut ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match lines.checked_sub(1) {
        None => &[],
        Some(skip) => ends.nth(skip).map_or(text, |(at, _)| &text[at + 1..]),
    }
}

/// `kinds`: every kind of machine.
pub(crate) fn kinds(ui: Ui) -> Result<(), Failure> {
    if ui.json {
        return KINDS.iter().try_for_each(|kind| ui.object(kind_object(kind.info())));
    }
    let row = |info: &KindInfo| {
        vec![
            info.name.to_owned(),
            group_word(info.group).to_owned(),
            info.arch.unwrap_or("-").to_owned(),
            cap_words(info).join(","),
            info.about.to_owned(),
        ]
    };
    let rows: Vec<_> = KINDS.iter().map(|kind| row(kind.info())).collect();
    ui.table(&["KIND", "GROUP", "ARCH", "CAN", "ABOUT"], &rows)?;
    for info in KINDS.iter().map(|kind| kind.info()) {
        ui.line(&format!("\n{}: {}", info.name, info.extensions.join(" ")))?;
        for option in info.options {
            let (name, default, about) = (option.name, option.default, option.about);
            ui.line(&format!("  --option {name}=... ({default})  {about}"))?;
        }
    }
    Ok(())
}

fn kind_object(info: &KindInfo) -> Value {
    let option = |option: &omni_machine::OptionSpec| {
        let ty = match option.ty {
            OptionType::Number => "number",
            OptionType::Size => "size",
            OptionType::Text => "text",
            OptionType::Flag => "flag",
        };
        json!({
            "name": option.name,
            "type": ty,
            "default": option.default,
            "about": option.about,
        })
    };
    let verbs = [
        "run",
        "create",
        "start",
        "stop",
        "kill",
        "pause",
        "resume",
        "wait",
        "rm",
        "rename",
        "ps",
        "inspect",
        "logs",
        "stats",
        "attach",
        "snapshot",
        "snapshots",
        "restore",
        "fork",
        "diff",
        "export",
        "import",
        "record",
        "replay",
        "rewind",
        "when",
    ];
    json!({
        "name": info.name,
        "group": group_word(info.group),
        "about": info.about,
        "arch": info.arch,
        "extensions": info.extensions,
        "caps": {
            "exact_ticks": info.caps.exact_ticks,
            "deterministic": info.caps.deterministic,
            "self_contained": info.caps.self_contained,
            "parallel": info.caps.parallel,
        },
        "semantics": info.semantics,
        "options": info.options.iter().map(option).collect::<Vec<_>>(),
        "files": info.files,
        "verbs": verbs,
    })
}

fn cap_words(info: &KindInfo) -> Vec<&'static str> {
    let caps = [
        (info.caps.deterministic, "replay"),
        (info.caps.self_contained, "save"),
        (info.caps.parallel, "parallel"),
    ];
    caps.into_iter().filter_map(|(has, word)| has.then_some(word)).collect()
}

fn group_word(group: Group) -> &'static str {
    match group {
        Group::System => "system",
        Group::Process => "process",
        Group::Os => "os",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole_lines() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 1), b"c");
        assert_eq!(last_lines(b"a\nb\n", 9), b"a\nb\n");
        assert_eq!(last_lines(b"a\nb\n", 0), b"");
        assert_eq!(last_lines(b"", 3), b"");
    }
}
