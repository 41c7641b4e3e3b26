//! The verbs of recorded time: record, replay, rewind, when.

use crate::args::Schedule;
use crate::failure::{Failure, code};
use crate::keeper::ms;
use crate::leave::Ready;
use crate::life::{Begin, prepare};
use crate::monitor::virtual_ms;
use crate::parted;
use crate::plan::can_be_recorded;
use crate::recorded::{self, Recording, reopen};
use crate::saved::{self, Title, open_store};
use crate::snapshots;
use crate::translate;
use crate::ui::{Ui, size_text};
use omni_base::{Digest, Tick};
use omni_control::{BranchFile, Client, Dirs, Entry, Phase, Registry, Request};
use omni_kinds::{KINDS, kind_of};
use omni_lifecycle::{Moment, Rung, take};
use omni_machine::{Effect, Outside, PortId, PortKind, digest};
use omni_recording::{MomentError, from_anywhere, moment_of, moment_text};
use omni_store::StoreError;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// `record`: everything that enters a live machine is recorded from now on, or no longer.
pub(crate) fn record(key: &str, stop: bool, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let entry = Registry::open(dirs)?.find(key)?;
    let mut value = Client::connect(&entry)?.ask(&Request::Record { stop })?;
    value["machine"] = json!(entry.machine.name);
    let name = value["recording"].as_str().unwrap_or_default().to_owned();
    ui.result(value, &format!("{}@{name}", entry.machine.name))
}

/// A recording, and where in it to begin.
struct Place {
    entry: Entry,
    recording: Recording,
    from: Moment,
}

/// Finds `MACHINE`, `MACHINE@RECORDING` or `MACHINE@TAG`.
fn place(text: &str, dirs: &Dirs) -> Result<Place, Failure> {
    let (key, tag) = text.split_once('@').map_or((text, None), |(key, tag)| (key, Some(tag)));
    let entry = Registry::open(dirs)?.find(key)?;
    // What is recorded at present is in its file after this.
    recorded::status(&entry)?;
    let names = recorded::names(&entry);
    let name = &entry.machine.name;
    let Some(last) = names.last() else {
        let text = format!("'{name}' was never recorded: 'omni record {name}', or run --record");
        return Err(Failure::new(code::NOT_FOUND, text));
    };
    let Some(tag) = tag.filter(|tag| !names.iter().any(|name| name == tag)) else {
        let recording = reopen(&entry, tag.unwrap_or(last))?;
        let from = recording.timeline.log.start();
        return Ok(Place { entry, recording, from });
    };
    // A snapshot that was taken while the machine was recorded is a moment of that recording.
    let tree = open_store(dirs)?.tree(&entry.machine.id)?;
    let found = match tree.find(tag) {
        Err(StoreError::NoSnapshot(_)) => {
            let text = format!("'{name}' has no recording or snapshot '{tag}'; 'omni when {name}'");
            return Err(Failure::new(code::NOT_FOUND, text));
        }
        found => found?,
    };
    for recording in names.iter().rev() {
        let mut recording = reopen(&entry, recording)?;
        let log = &recording.timeline.log;
        let start = (log.start(), log.start_digest());
        let checks = log.checks().iter().filter(|check| check.moment.tick == found.tick);
        let mut all = checks.map(|check| (check.moment, check.mark.digest())).chain([start]);
        if let Some((from, _)) = all.find(|(_, state)| *state == found.state) {
            drop(all);
            let snapshot = saved::read(&open_store(dirs)?, found.id, &entry.machine.disks)?;
            recording.timeline.add(Rung::new(from, snapshot));
            return Ok(Place { entry, recording, from });
        }
    }
    let text = format!("the snapshot '{name}@{tag}' was taken while nothing was recorded");
    Err(Failure::new(code::NOT_FOUND, text))
}

/// Shows again what the machine's console showed.
struct Screen {
    console: Option<PortId>,
    failed: Option<io::Error>,
}

impl Outside for Screen {
    fn emit(&mut self, _: Tick, effect: Effect) {
        if let Effect::Output { port, bytes } = effect
            && Some(port) == self.console
            && self.failed.is_none()
        {
            self.failed = io::stdout().lock().write_all(&bytes).err();
        }
    }
}

/// `replay`: the recorded life once more, held against every mark in its log.
pub(crate) fn replay(
    text: &str,
    to: Option<&str>,
    console: bool,
    dirs: &Dirs,
    ui: Ui,
) -> Result<(), Failure> {
    let Place { entry, recording, from } = place(text, dirs)?;
    let Recording { name, timeline, ns_per_tick, .. } = &recording;
    let log = &timeline.log;
    let to = to.map_or(Ok(log.end()), |text| moment_of(text, log, *ns_per_tick));
    let to = to.map_err(moment_failure)?;
    if to < from {
        let (from, to) = (moment_text(from), moment_text(to));
        return Err(Failure::usage(format!("--to {to} is before {from}, where the replay begins")));
    }
    translate::begin(entry.machine.accel.as_deref())?;
    let mut screen = Screen { console: None, failed: None };
    if console {
        let spec = timeline.rungs()[0].snapshot()?.spec;
        let ports = kind_of(&spec.kind)?.ports(&spec)?;
        let first = ports.iter().find(|port| matches!(port.kind, PortKind::Console));
        screen.console = first.map(|port| port.id);
    }
    let began = Instant::now();
    let played = timeline.play(KINDS, from, to, &mut screen);
    let mut machine = played.map_err(|error| parted::failure(error, timeline, from, ui))?;
    let took = began.elapsed();
    if let Some(error) = screen.failed.or_else(|| io::stdout().lock().flush().err()) {
        return Err(Failure::output(&error));
    }
    let within = |moment: Moment| from <= moment && moment <= to;
    let checks = log.checks().iter().filter(|check| within(check.moment)).count();
    let pulses = log.pulses().iter().filter(|pulse| within(pulse.moment)).count();
    let state = digest(&mut *machine);
    translate::end()?;
    let value = json!({
        "machine": entry.machine.name,
        "recording": name,
        "from": moment_text(from),
        "to": moment_text(to),
        "ticks": to.tick.0,
        "virtual_ms": virtual_ms(to.tick.0, *ns_per_tick),
        "events": to.events - from.events,
        "checks": checks,
        "pulses": pulses,
        "digest": state.to_string(),
        "replay_ms": ms(took),
    });
    let line = format!(
        "{}@{name} from {} to {}: the same at {checks} checks and {pulses} pulses; digest {state}",
        entry.machine.name,
        moment_text(from),
        moment_text(to)
    );
    if console && !ui.json {
        // The console has standard output for itself.
        ui.say(&format!("omni: {line}"));
        return Ok(());
    }
    ui.result(value, &line)
}

fn moment_failure(error: MomentError) -> Failure {
    let code = match error {
        MomentError::Text(_) => code::USAGE,
        MomentError::Outside(..) => code::NOT_FOUND,
    };
    Failure::new(code, error.to_string())
}

/// `rewind`: the machine goes back, and lives on from there. What it left stays: as a snapshot of
/// its last state, and as the recording up to it.
pub(crate) fn rewind(key: &str, to: &str, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let began = Instant::now();
    let entry = Registry::open(dirs)?.find(key)?;
    let live = entry.state.state.is_live();
    if live && recorded::status(&entry)?.is_null() {
        let name = &entry.machine.name;
        let text = format!("'{name}' is not recorded: 'omni record {name}' records from now on");
        return Err(Failure::new(code::WRONG_STATE, text));
    }
    if !live {
        return go_back(&entry, None, to, (dirs, ui), began);
    }
    // Its future does not go on while it is being left.
    Client::connect(&entry)?.ask(&Request::Pause)?;
    let done = go_back(&entry, Some(entry.state.state), to, (dirs, ui), began);
    if done.is_err() && entry.state.state == Phase::Running {
        // Where it has ended there is nothing to resume, and the first failure is what counts.
        let _ = Client::connect(&entry).and_then(|mut client| client.ask(&Request::Resume));
    }
    done
}

fn go_back(
    entry: &Entry,
    live: Option<Phase>,
    to: &str,
    (dirs, ui): (&Dirs, Ui),
    began: Instant,
) -> Result<(), Failure> {
    if entry.machine.parallel {
        // Where it goes on, it is recorded again.
        can_be_recorded(true)?;
    }
    let place = place(&entry.machine.id, dirs)?;
    let last = place.recording.name.clone();
    let (recording, target) = recording_of(place, to)?;
    let Recording { name, timeline, ns_per_tick, .. } = &recording;
    let mut near = None;
    if live.is_some() && *name == last {
        // The monitor has rungs of late in memory.
        let tick = target.tick.0;
        let answer = Client::connect(entry)?.ask(&Request::Rung { tick })?;
        near = (answer["kept"] == true).then(|| reopen(entry, name)).transpose()?;
    }
    let timeline = near.as_ref().map_or(timeline, |near| &near.timeline);
    translate::begin(entry.machine.accel.as_deref())?;
    let from = timeline.below(target)?.moment;
    let visited = timeline.visit(KINDS, target);
    let mut machine = visited.map_err(|error| parted::failure(error, timeline, from, ui))?;
    let snapshot = take(KINDS, &mut *machine)?;
    translate::end()?;
    let store = open_store(dirs)?;
    let tree = store.tree(&entry.machine.id)?;
    let is_free = |number: &u64| {
        let used = |stem: &str| tree.tagged(&format!("{stem}{number}")).is_some();
        !used("before") && !used("rewind")
    };
    let number = (1u64..).find(is_free).expect("numbers do not end");
    let left = live.is_some().then(|| format!("before{number}"));
    if let Some(left) = &left {
        Client::connect(entry)?.ask(&Request::Snapshot { tag: Some(left.clone()) })?;
    }
    let tag = format!("rewind{number}");
    let tree = store.tree(&entry.machine.id)?;
    let parent = last_before(&tree, entry, target.tick)?;
    let about = serde_json::to_vec(&entry.machine).expect("plain data");
    let title = Title { owner: &entry.machine.id, tag: &tag, parent, about, compress: false };
    let taken = saved::write(&store, &snapshot, title)?;
    let branch = BranchFile { recording: name.clone(), moment: moment_text(target) };
    let entry = Entry::load(&entry.dir)?;
    let ready = Ready::of(entry, &store, (taken.id, Schedule::default()))?;
    let monitor = prepare(&ready.entry, Begin { from: Some(taken.id), ..Begin::default() })?;
    let (entry, runs) = snapshots::go_on(ready, monitor, &store, Some(branch))?;
    let value = json!({
        "id": entry.machine.id,
        "name": entry.machine.name,
        "moment": moment_text(target),
        "ticks": target.tick.0,
        "virtual_ms": virtual_ms(target.tick.0, *ns_per_tick),
        "digest": taken.state.to_string(),
        "tag": tag,
        "before": left,
        "recording": name,
        "start_ms": ms(runs.duration_since(began)),
    });
    let (machine, at) = (&entry.machine.name, moment_text(target));
    let kept = match &left {
        Some(left) => format!("{machine}@{left} and {machine}@{name}"),
        None => format!("{machine}@{name}"),
    };
    ui.result(value, &format!("{machine} goes on from {at}; what it left is {kept}"))
}

/// The recording that tells of a moment: this one, or one of those that the machine had gone back
/// in before, whose lives it shares up to there.
fn recording_of(place: Place, to: &str) -> Result<(Recording, Moment), Failure> {
    let Place { entry, mut recording, .. } = place;
    let anywhere = from_anywhere(to, &recording.timeline.log, recording.ns_per_tick);
    let mut to = to.to_owned();
    loop {
        let log = &recording.timeline.log;
        let outside = match moment_of(&to, log, recording.ns_per_tick) {
            Ok(moment) => return Ok((recording, moment)),
            Err(outside @ MomentError::Outside(..)) => outside,
            Err(wrong) => return Err(moment_failure(wrong)),
        };
        let about = recorded::about(log.head());
        let from = about["from"]["recording"].as_str();
        // The number of events tells of a moment of one recording only.
        let (Some(from), Some(anywhere)) = (from, anywhere.as_ref().filter(|_| !to.contains('/')))
        else {
            return Err(moment_failure(outside));
        };
        // Each comes from an earlier one, so that this has an end.
        if recorded::number(from) >= recorded::number(&recording.name) {
            return Err(moment_failure(outside));
        }
        recording = reopen(&entry, from)?;
        to.clone_from(anywhere);
    }
}

/// The last snapshot on the way to where a machine is that is not after a tick.
fn last_before(
    tree: &omni_store::Tree,
    entry: &Entry,
    tick: Tick,
) -> Result<Option<Digest>, Failure> {
    let Some(id) = &entry.origin.parent else { return Ok(None) };
    let mut found = tree.present(saved::parse_id(id)?).and_then(|id| tree.get(&id));
    while let Some(one) = found.filter(|one| one.tick > tick) {
        found = tree.parent(one);
    }
    Ok(found.map(|one| one.id))
}

/// `when`: where a machine is on its timeline, and what of that is recorded.
pub(crate) fn when(key: &str, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let entry = Registry::open(dirs)?.find(key)?;
    let status = recorded::status(&entry)?;
    let recordings: Vec<Value> =
        recorded::names(&entry).iter().map(|name| recorded::summary(&entry, name)).collect();
    let last = recorded::names(&entry).pop();
    let opened = last.as_ref().map(|name| reopen(&entry, name)).transpose()?;
    let now = match (&status["ticks"], &entry.state.last.get("ticks")) {
        (Value::Number(ticks), _) => ticks.as_u64(),
        (_, Some(ticks)) => ticks.as_u64(),
        _ => opened.as_ref().map(|opened| opened.timeline.log.end().tick.0),
    };
    let ns = opened.as_ref().map_or(1, |opened| opened.ns_per_tick);
    let mut rungs = Vec::new();
    for rung in opened.iter().flat_map(|opened| opened.timeline.rungs()) {
        let back = now.unwrap_or(0).saturating_sub(rung.moment.tick.0);
        rungs.push(json!({
            "moment": moment_text(rung.moment),
            "virtual_ms": virtual_ms(rung.moment.tick.0, ns),
            "back_ms": virtual_ms(back, ns),
        }));
    }
    let moment = match status["moment"].as_str() {
        Some(moment) => Some(moment.to_owned()),
        None => opened.as_ref().map(|opened| moment_text(opened.timeline.log.end())),
    };
    let value = json!({
        "id": entry.machine.id,
        "name": entry.machine.name,
        "state": entry.state.state.word(),
        "ticks": now,
        "virtual_ms": now.map(|now| virtual_ms(now, ns)),
        "moment": moment,
        "recording": status["recording"],
        "log_bytes": status["log_bytes"],
        "rung_bytes": status["rung_bytes"],
        "failure": status["failure"],
        "rungs": rungs,
        "recordings": recordings,
    });
    if ui.json {
        return ui.object(value);
    }
    when_text(&value, ui)
}

fn when_text(value: &Value, ui: Ui) -> Result<(), Failure> {
    let word = |field: &Value| field.as_str().unwrap_or("-").to_owned();
    let seconds = |field: &Value| {
        let time = Duration::from_millis(field.as_u64().unwrap_or(0));
        format!("{}.{:03} s", time.as_secs(), time.subsec_millis())
    };
    let name = word(&value["name"]);
    let ticks = value["ticks"].as_u64().unwrap_or(0);
    ui.line(&format!("{name} is at tick {ticks}, {} of its time", seconds(&value["virtual_ms"])))?;
    match value["recording"].as_str() {
        Some(recording) => {
            let size = |field: &str| size_text(value[field].as_u64().unwrap_or(0));
            let (log, rungs) = (size("log_bytes"), size("rung_bytes"));
            let at = word(&value["moment"]);
            ui.line(&format!("recorded as {recording}, at {at}: log {log}, rungs {rungs}"))?;
            if let Some(failure) = value["failure"].as_str() {
                ui.line(&format!("  the recording has ended: {failure}"))?;
            }
        }
        None => ui.line("not recorded at present")?,
    }
    for one in value["recordings"].as_array().into_iter().flatten() {
        let (name, start, end) = (word(&one["recording"]), word(&one["start"]), word(&one["end"]));
        let from = match one["from"]["recording"].as_str() {
            Some(from) => format!(", went on from {from} at {}", word(&one["from"]["moment"])),
            None => String::new(),
        };
        match one["error"].as_str() {
            Some(error) => ui.line(&format!("{name}: {error}"))?,
            None => ui.line(&format!("{name}: from {start} to {end}{from}"))?,
        }
    }
    for rung in value["rungs"].as_array().into_iter().flatten() {
        let (at, back) = (word(&rung["moment"]), seconds(&rung["back_ms"]));
        ui.line(&format!("  rung {at}, {back} back"))?;
    }
    Ok(())
}
