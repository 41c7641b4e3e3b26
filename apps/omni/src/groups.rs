//! Snapshots of all machines of a switch at once: taken, listed, gone back to, forked, removed.
//! Their files are described in `docs/formats/group.md`.

use crate::args::Schedule;
use crate::cuts::hex;
use crate::failure::{Failure, code};
use crate::forks::{self, forked};
use crate::keeper::ms;
use crate::leave::Ready;
use crate::life::{Begin, launch_all};
use crate::room;
use crate::saved::{self, open_store};
use crate::switches::{self, check_name, members};
use crate::ui::Ui;
use omni_base::Digest;
use omni_control::{
    API, Client, ControlError, CutStep, Dirs, Entry, GroupFile, GroupMember, MachineFile, Registry,
    Request, now_text,
};
use omni_host::{FileLock, private_dir, random_u64, read_bounded, replace_file};
use omni_net::take_switch;
use omni_store::{Store, StoreError};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The file of a group, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How long a group may be held by another verb, and a switch by somebody who joins.
const HELD: Duration = Duration::from_secs(60);

/// How long members that come and go have to settle.
const SETTLE: Duration = Duration::from_secs(3);

/// How long a member may take for its part of a cut.
const PART: Duration = Duration::from_secs(20);

/// How long a member may take to write its snapshot.
const WRITE: Duration = Duration::from_secs(600);

/// How long machines have to find each other on their switch.
const MEET: Duration = Duration::from_secs(20);

/// How long to rest before something is tried again.
const REST: Duration = Duration::from_millis(20);

/// The folder of a group, held: nobody else changes it meanwhile.
struct Folder {
    path: PathBuf,
    name: String,
    _lock: FileLock,
}

/// Whether the snapshot of this cut was finished.
pub(crate) fn is_told(name: &str, tag: &str, cut: &str) -> bool {
    let path = crate::monitor::dirs().map(|dirs| file_path(&dirs.group(name), tag));
    path.and_then(|path| read(&path, name, tag)).is_ok_and(|file| file.cut == cut)
}

/// `snapshot --group`: all machines of a switch, with the frames between them.
pub(crate) fn take(name: &str, tag: Option<&str>, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let (file, parts) = taken(name, tag, dirs)?;
    let tag = &file.tag;
    let in_flight: u64 = parts.iter().filter_map(|part| part["in_flight"].as_u64()).sum();
    let value = json!({
        "group": name,
        "tag": tag,
        "cut": file.cut,
        "in_flight": in_flight,
        "members": parts,
    });
    ui.result(value, &format!("{name}@{tag}"))
}

fn taken(name: &str, tag: Option<&str>, dirs: &Dirs) -> Result<(GroupFile, Vec<Value>), Failure> {
    let (registry, store) = (Registry::open(dirs)?, open_store(dirs)?);
    check_name(name).map_err(|why| Failure::usage(format!("'{name}': {why}")))?;
    let found = members(&registry, name)?;
    if found.is_empty() {
        return Err(nobody(name));
    }
    let folder = Folder::open(name, dirs, &store)?;
    let tag = match tag {
        Some(tag) => tag.to_owned(),
        None => folder.free_tag(&found, &store)?,
    };
    check_name(&tag).map_err(|_| Failure::usage(format!("'{tag}' cannot be a tag")))?;
    if folder.file(&tag).exists() {
        let text = format!("there is a snapshot '{name}@{tag}' already");
        return Err(Failure::new(code::EXISTS, text));
    }
    let cut = hex(&[random_u64().to_le_bytes(), random_u64().to_le_bytes()].concat());
    let taken = part_in(&registry, name, (&cut, &tag), dirs, &folder);
    let (mut parts, mut file) = taken?;
    let kept = keep(&mut parts, &mut file);
    let values = match kept.and_then(|values| folder.finish(&file).map(|()| values)) {
        Ok(values) => {
            // Who does not hear it finds it told of in the group's folder.
            let _ = ask_all(&mut parts, &Request::Cut { step: CutStep::Done }, PART);
            values
        }
        Err(failure) => {
            // The first failure is the one to tell of.
            let _ = folder.undo(&file, &store);
            return Err(failure);
        }
    };
    Ok((file, values))
}

/// A member that takes part.
struct Part {
    entry: Entry,
    client: Client,
}

/// Has all members make ready and take their parts, while nobody joins.
fn part_in(
    registry: &Registry,
    name: &str,
    (cut, tag): (&str, &str),
    dirs: &Dirs,
    folder: &Folder,
) -> Result<(Vec<Part>, GroupFile), Failure> {
    let until = Instant::now() + SETTLE;
    let (mut parts, _held) = loop {
        let held = take_switch(&dirs.switch(name), HELD);
        let held = held.map_err(|error| Failure::new(code::WRONG_STATE, error.to_string()))?;
        let found = members(registry, name)?;
        if found.is_empty() {
            return Err(nobody(name));
        }
        match arm(found, name, (cut, tag)) {
            Ok(parts) => break (parts, held),
            // Somebody comes or goes: they are given a moment.
            Err(failure) if failure.code == code::WRONG_STATE && Instant::now() < until => {
                drop(held);
                sleep(REST);
            }
            Err(failure) => return Err(failure),
        }
    };
    let member = |part: &Part| GroupMember {
        id: part.entry.machine.id.clone(),
        name: part.entry.machine.name.clone(),
        snapshot: None,
    };
    let file = GroupFile {
        api: API.into(),
        group: name.into(),
        tag: tag.into(),
        cut: cut.into(),
        time: now_text(),
        members: parts.iter().map(member).collect(),
    };
    folder.begin(&file)?;
    let taken = ask_all(&mut parts, &Request::Cut { step: CutStep::Take }, PART);
    if let Err(failure) = taken {
        folder.forget(tag);
        return Err(failure);
    }
    Ok((parts, file))
}

fn arm(found: Vec<Entry>, name: &str, (cut, tag): (&str, &str)) -> Result<Vec<Part>, Failure> {
    let ids: Vec<String> = found.iter().map(|entry| entry.machine.id.clone()).collect();
    let mut parts = Vec::new();
    for entry in found {
        let client = Client::connect(&entry).map_err(|error| no_snapshot(&entry, &error))?;
        parts.push(Part { entry, client });
    }
    let (switch, cut, tag) = (name.to_owned(), cut.to_owned(), tag.to_owned());
    let request = Request::Cut { step: CutStep::Arm { switch, cut, members: ids, tag } };
    ask_all(&mut parts, &request, PART)?;
    Ok(parts)
}

/// Asks all for the same, and then hears all. Where one says no, so does the group.
fn ask_all(parts: &mut [Part], request: &Request, most: Duration) -> Result<Vec<Value>, Failure> {
    let mut answers = Vec::new();
    let sent: Vec<Result<(), ControlError>> =
        parts.iter_mut().map(|part| part.client.send(request)).collect();
    for (part, sent) in parts.iter_mut().zip(sent) {
        let heard = sent.and_then(|()| part.client.set_patience(most));
        answers.push(heard.and_then(|()| part.client.answer()));
    }
    // Who has gone says more than who missed it.
    let mut failed: Vec<(usize, ControlError)> = Vec::new();
    let mut values = Vec::new();
    for (at, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(value) => values.push(value),
            Err(error) => failed.push((at, error)),
        }
    }
    failed.sort_by_key(|(_, error)| !matches!(error, ControlError::Gone(_)));
    let Some((at, error)) = failed.into_iter().next() else { return Ok(values) };
    let Failure { code, mut text } = no_snapshot(&parts[at].entry, &error);
    for part in parts.iter() {
        let (id, name) = (&part.entry.machine.id, &part.entry.machine.name);
        text = text.replace(id.as_str(), &format!("'{name}'"));
    }
    Err(Failure::new(code, text))
}

fn no_snapshot(entry: &Entry, error: &ControlError) -> Failure {
    let name = &entry.machine.name;
    let why = if matches!(error, ControlError::Gone(_)) {
        format!("the monitor of '{name}' went away or did not answer")
    } else {
        format!("the machine '{name}': {error}")
    };
    let text = format!("no snapshot of the group was taken: {why}");
    Failure::new(error.exit_code(), text)
}

/// Has all put their parts into the store.
fn keep(parts: &mut [Part], file: &mut GroupFile) -> Result<Vec<Value>, Failure> {
    let mut values = ask_all(parts, &Request::Cut { step: CutStep::Keep }, WRITE)?;
    for (value, member) in values.iter_mut().zip(&mut file.members) {
        member.snapshot = value["id"].as_str().map(str::to_owned);
        value["machine"] = json!(member.name);
    }
    Ok(values)
}

fn nobody(name: &str) -> Failure {
    let text = format!("no machine that runs is on a switch '{name}'; 'omni net ls' lists them");
    Failure::new(code::NOT_FOUND, text)
}

fn file_path(folder: &Path, tag: &str) -> PathBuf {
    folder.join(format!("{tag}.json"))
}

impl Folder {
    /// Takes hold of a group, and clears away what somebody who died has left.
    fn open(name: &str, dirs: &Dirs, store: &Store) -> Result<Self, Failure> {
        check_name(name).map_err(|why| Failure::usage(format!("'{name}': {why}")))?;
        let path = dirs.group(name);
        let io = |error| Failure::io(&path.display().to_string(), &error);
        for dir in [path.parent().unwrap_or(&path), &path] {
            private_dir(dir).map_err(io)?;
        }
        let until = Instant::now() + HELD;
        let lock = loop {
            match FileLock::try_take(&path.join("lock")).map_err(io)? {
                Some(lock) => break lock,
                None if Instant::now() < until => sleep(REST),
                None => {
                    let text = format!("the group '{name}' is held by another verb: try again");
                    return Err(Failure::new(code::WRONG_STATE, text));
                }
            }
        };
        let folder = Self { path: path.clone(), name: name.into(), _lock: lock };
        for item in fs::read_dir(&path).map_err(io)? {
            let left = item.map_err(io)?.path();
            if left.extension().is_some_and(|end| end == "new") {
                folder.clear(&left, store);
            }
        }
        Ok(folder)
    }

    /// The same, of a group that has had a snapshot.
    fn known(name: &str, dirs: &Dirs, store: &Store) -> Result<Self, Failure> {
        check_name(name).map_err(|why| Failure::usage(format!("'{name}': {why}")))?;
        if dirs.group(name).exists() {
            return Self::open(name, dirs, store);
        }
        Err(Failure::new(code::NOT_FOUND, format!("there is no snapshot of a group '{name}'")))
    }

    /// What was under way when somebody died: either it is told of, or it is undone.
    fn clear(&self, left: &Path, store: &Store) {
        let tag = left.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        match read(left, &self.name, tag) {
            Ok(file) if !is_same(&self.file(tag), &self.name, &file) => {
                // What cannot be undone now is tried again by the next verb.
                let _ = self.undo(&file, store);
            }
            Ok(_) | Err(_) => self.forget(tag),
        }
    }

    fn file(&self, tag: &str) -> PathBuf {
        file_path(&self.path, tag)
    }

    fn intent(&self, tag: &str) -> PathBuf {
        self.path.join(format!("{tag}.new"))
    }

    /// The first tag that neither the group nor a machine of it has.
    fn free_tag(&self, found: &[Entry], store: &Store) -> Result<String, Failure> {
        let mut trees = Vec::new();
        for entry in found {
            trees.push(store.tree(&entry.machine.id)?);
        }
        let free = |tag: &String| {
            !self.file(tag).exists() && trees.iter().all(|tree| tree.tagged(tag).is_none())
        };
        Ok((1u64..).map(|at| format!("g{at}")).find(free).expect("numbers do not end"))
    }

    /// Tells of what is under way, so that it can be undone.
    fn begin(&self, file: &GroupFile) -> Result<(), Failure> {
        write(&self.intent(&file.tag), file)
    }

    /// From here on there is such a snapshot.
    fn finish(&self, file: &GroupFile) -> Result<(), Failure> {
        write(&self.file(&file.tag), file)?;
        self.forget(&file.tag);
        Ok(())
    }

    fn forget(&self, tag: &str) {
        // One that is left over is cleared away by the next verb.
        let _ = fs::remove_file(self.intent(tag));
    }

    /// Removes the parts of a snapshot that is not to be. What is not removed is not forgotten.
    fn undo(&self, file: &GroupFile, store: &Store) -> Result<(), Failure> {
        let mut stays = None;
        for GroupMember { id, name, .. } in &file.members {
            if let Err(failure) = undo_part(id, file, store) {
                stays.get_or_insert((name, failure));
            }
        }
        let Some((name, Failure { code, text })) = stays else {
            self.forget(&file.tag);
            return Ok(());
        };
        let text = format!(
            "the part of '{name}' in {}@{} stays until the next verb of the group: {text}",
            self.name, file.tag
        );
        Err(Failure::new(code, text))
    }
}

fn undo_part(id: &str, file: &GroupFile, store: &Store) -> Result<(), Failure> {
    let tree = store.tree(id)?;
    let Some(part) = tree.tagged(&file.tag).map(|entry| entry.id) else { return Ok(()) };
    // Another snapshot may have got the tag since.
    if saved::cut_of(store, part)?.cut.as_deref() != Some(&*file.cut) {
        return Ok(());
    }
    match store.remove(id, part) {
        // Its monitor has done so meanwhile.
        Err(StoreError::NoSnapshot(_)) => Ok(()),
        done => Ok(done?),
    }
}

fn is_same(path: &Path, name: &str, file: &GroupFile) -> bool {
    read(path, name, &file.tag).is_ok_and(|told| told.cut == file.cut)
}

fn write(path: &Path, file: &GroupFile) -> Result<(), Failure> {
    replace_file(path, &file.to_bytes())
        .map_err(|error| Failure::io(&path.display().to_string(), &error))
}

fn read(path: &Path, name: &str, tag: &str) -> Result<GroupFile, Failure> {
    let bytes = read_bounded(path, FILE_BYTES_MAX)
        .map_err(|error| Failure::io(&path.display().to_string(), &error))?;
    GroupFile::parse(&bytes, name, tag)
        .map_err(|why| Failure::new(code::DAMAGED, format!("{}: {why}", path.display())))
}

/// A machine of a group, and the snapshot that it is to go on from.
struct Member {
    entry: Entry,
    id: Digest,
}

/// `NAME@TAG`, in two.
fn named(text: &str) -> Result<(&str, &str), Failure> {
    let wrong = || Failure::usage(format!("'{text}' names no snapshot of a group: write NAME@TAG"));
    let (name, tag) = text.split_once('@').ok_or_else(wrong)?;
    for part in [name, tag] {
        check_name(part).map_err(|_| wrong())?;
    }
    Ok((name, tag))
}

impl Folder {
    fn told(&self, tag: &str) -> Result<GroupFile, Failure> {
        let (path, name) = (self.file(tag), &self.name);
        if !path.exists() {
            let text = format!(
                "there is no snapshot '{name}@{tag}' of a group; 'omni snapshots --group {name}' \
                 lists them"
            );
            return Err(Failure::new(code::NOT_FOUND, text));
        }
        read(&path, name, tag)
    }

    /// The parts of a snapshot, all of which must be there.
    fn parts(
        &self,
        file: &GroupFile,
        registry: &Registry,
        store: &Arc<Store>,
    ) -> Result<Vec<Member>, Failure> {
        let mut all = Vec::new();
        for member in &file.members {
            let what = format!("{}@{}: the machine '{}'", self.name, file.tag, member.name);
            let entry = registry.find(&member.id).map_err(|_| {
                Failure::new(code::NOT_FOUND, format!("{what} was removed, with its part of it"))
            })?;
            let wrong = || Failure::new(code::DAMAGED, format!("{what} has no part of it"));
            let id = saved::parse_id(member.snapshot.as_ref().ok_or_else(wrong)?)?;
            let tree = store.tree(&member.id)?;
            if tree.get(&id).is_none() {
                let text = format!("{what}: its part was removed");
                return Err(Failure::new(code::NOT_FOUND, text));
            }
            if saved::cut_of(store, id)?.cut.as_deref() != Some(&*file.cut) {
                return Err(Failure::new(code::DAMAGED, format!("{what}: its part is another's")));
            }
            // Whether it can be read is known before anything is undone.
            saved::read(store, id, &entry.machine.disks)?;
            all.push(Member { entry, id });
        }
        Ok(all)
    }
}

/// `snapshots --group`: those of a group.
pub(crate) fn list(name: &str, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let store = open_store(dirs)?;
    let mut all = Vec::new();
    if dirs.group(name).exists() {
        let folder = Folder::open(name, dirs, &store)?;
        let io = |error| Failure::io(&folder.path.display().to_string(), &error);
        for item in fs::read_dir(&folder.path).map_err(io)? {
            let path = item.map_err(io)?.path();
            if path.extension().is_some_and(|end| end == "json") {
                let tag = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                match folder.told(tag) {
                    Ok(file) => all.push(file),
                    // The others are there all the same.
                    Err(failure) => ui.say(&format!("omni: {}", failure.text)),
                }
            }
        }
    }
    all.sort_by(|a, b| (&a.time, &a.tag).cmp(&(&b.time, &b.tag)));
    if ui.json {
        return all.iter().try_for_each(|file| {
            let members: Vec<Value> = file.members.iter().map(|member| json!(member)).collect();
            ui.object(json!({
                "group": file.group,
                "tag": file.tag,
                "cut": file.cut,
                "time": file.time,
                "members": members,
            }))
        });
    }
    let row = |file: &GroupFile| {
        let names: Vec<&str> = file.members.iter().map(|member| &*member.name).collect();
        vec![file.tag.clone(), file.time.clone(), names.join(" ")]
    };
    ui.table(&["TAG", "TIME", "MACHINES"], &all.iter().map(row).collect::<Vec<_>>())
}

/// `rm --group`: one snapshot, with the parts of its machines.
pub(crate) fn remove(text: &str, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let (name, tag) = named(text)?;
    let store = open_store(dirs)?;
    let folder = Folder::known(name, dirs, &store)?;
    let file = folder.told(tag)?;
    drop_file(&folder, &file, &store)?;
    ui.result(json!({ "group": name, "tag": tag, "removed": true }), &format!("{name}@{tag}"))
}

fn drop_file(folder: &Folder, file: &GroupFile, store: &Store) -> Result<(), Failure> {
    // What is half removed is undone by the next verb.
    folder.begin(file)?;
    let path = folder.file(&file.tag);
    fs::remove_file(&path).map_err(|error| Failure::io(&path.display().to_string(), &error))?;
    folder.undo(file, store)
}

/// `restore --group`: all machines of a group as they were, with what was between them.
pub(crate) fn restore(text: &str, schedule: Schedule, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let began = Instant::now();
    let (name, tag) = named(text)?;
    let (registry, store) = (Registry::open(dirs)?, open_store(dirs)?);
    let folder = Folder::known(name, dirs, &store)?;
    let file = folder.told(tag)?;
    let parts = folder.parts(&file, &registry, &store)?;
    // Whatever refuses it does so before anything is undone.
    let mut ready = Vec::new();
    for Member { entry, id } in parts {
        ready.push(Ready::of(entry, &store, (id, schedule))?);
    }
    let before: Vec<Entry> = ready.iter().map(|ready| ready.entry.clone()).collect();
    room::check_again(&before, &registry)?;
    let (mut all, mut past, mut failed) = (Vec::new(), Vec::new(), None);
    for one in ready {
        let id = one.id;
        match one.leave(&store, None) {
            Ok((entry, lease, left)) => {
                past.push((lease, left));
                all.push(Member { entry, id });
            }
            Err(failure) => {
                failed = Some(half_left(failure, &before, text));
                break;
            }
        }
    }
    let entries = failed.map_or_else(|| let_go(&all, name, false), Err);
    let mut settled = Ok(());
    for (Member { entry, .. }, (lease, left)) in all.iter().zip(past) {
        settled = settled.and(left.remove(entry, &store));
        drop(lease);
    }
    let entries = entries?;
    settled?;
    for entry in entries {
        let value = json!({
            "id": entry.machine.id,
            "name": entry.machine.name,
            "tag": tag,
            "start_ms": ms(began.elapsed()),
        });
        ui.result(value, &entry.machine.name)?;
    }
    Ok(())
}

/// A failure after which some machines have ended that lived before.
fn half_left(failure: Failure, before: &[Entry], text: &str) -> Failure {
    let lives = |entry: &Entry| entry.state.state.is_live();
    let has_ended =
        |entry: &&Entry| lives(entry) && !Entry::load(&entry.dir).is_ok_and(|entry| lives(&entry));
    let ended: Vec<String> =
        before.iter().filter(has_ended).map(|entry| format!("'{}'", entry.machine.name)).collect();
    if ended.is_empty() {
        return failure;
    }
    let Failure { code, text: why } = failure;
    let ended = ended.join(", ");
    let text = format!("{why}; {ended} ended for it: 'omni restore --group {text}' has all go on");
    Failure::new(code, text)
}

/// Starts machines, held; lets them go when each reaches each other one on their switch, so that
/// nothing of what they say is lost.
fn let_go(all: &[Member], switch: &str, fork: bool) -> Result<Vec<Entry>, Failure> {
    let begin = |id| Begin { from: Some(id), fork, held: true, ..Begin::default() };
    let pairs: Vec<(&Entry, Begin)> =
        all.iter().map(|Member { entry, id }| (entry, begin(*id))).collect();
    let (mut live, mut failed) = (Vec::new(), Vec::new());
    for (launched, Member { entry, .. }) in launch_all(&pairs).into_iter().zip(all) {
        match launched {
            Ok((entry, _)) => live.push(entry),
            Err(failure) => failed.push((entry.machine.name.clone(), failure)),
        }
    }
    let others: Vec<&str> = live.iter().map(|entry| &*entry.machine.name).collect();
    let held = if others.is_empty() {
        String::new()
    } else {
        format!("; {} held: 'omni resume' lets them go on without", others.join(", "))
    };
    if !failed.is_empty() {
        let texts: Vec<String> =
            failed.iter().map(|(name, failure)| format!("'{name}': {}", failure.text)).collect();
        let code = failed[0].1.code;
        let text = format!("of the group, {} did not resume{held}", texts.join("; "));
        return Err(Failure::new(code, text));
    }
    let mut clients = Vec::new();
    for entry in &live {
        clients.push(Client::connect(entry)?);
    }
    meet(&live, &mut clients, switch)
        .map_err(|failure| Failure::new(failure.code, format!("{}{held}", failure.text)))?;
    let sent: Vec<Result<(), ControlError>> =
        clients.iter_mut().map(|client| client.send(&Request::Resume)).collect();
    for ((client, sent), entry) in clients.iter_mut().zip(sent).zip(&live) {
        sent.and_then(|()| client.answer()).map_err(|error| {
            let text = format!("of the group, '{}' did not resume: {error}", entry.machine.name);
            Failure::new(error.exit_code(), text)
        })?;
    }
    Ok(live)
}

/// Waits until each machine reaches each other one.
fn meet(live: &[Entry], clients: &mut [Client], switch: &str) -> Result<(), Failure> {
    let until = Instant::now() + MEET;
    for (entry, client) in live.iter().zip(clients) {
        loop {
            let said = client.ask(&Request::Inspect { digest: false })?;
            let places = said["ports"]["switches"].as_array().cloned().unwrap_or_default();
            let place = places.into_iter().find(|place| place["switch"] == switch);
            let reached = place.map(|mut place| place["reaches"].take()).unwrap_or_default();
            let reached = reached.as_array().cloned().unwrap_or_default();
            let missing = live
                .iter()
                .map(|other| &other.machine)
                .find(|other| other.id != entry.machine.id && !reached.contains(&json!(other.id)));
            let Some(missing) = missing else { break };
            if Instant::now() >= until {
                let (one, two) = (&entry.machine.name, &missing.name);
                let text = format!("of the group, '{one}' does not reach '{two}' on its switch");
                return Err(Failure::new(code::FAILURE, text));
            }
            sleep(REST);
        }
    }
    Ok(())
}

/// `fork --group`: twins of all machines of a group, on a switch of their own.
pub(crate) fn fork(text: &str, count: u32, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let began = Instant::now();
    let passing = format!("fork-{:08x}", random_u64() >> 32);
    let (name, tag) = text.split_once('@').unwrap_or((text, &passing));
    let now = tag == passing;
    if now {
        taken(name, Some(tag), dirs)?;
    }
    let (registry, store) = (Registry::open(dirs)?, open_store(dirs)?);
    let folder = Folder::known(name, dirs, &store)?;
    let forked = folder.told(tag).and_then(|file| {
        let made = forks(&folder, &file, count, (&registry, &store));
        if now && let Err(failure) = drop_file(&folder, &file, &store) {
            // It was taken for the forks only, which are there or not all the same.
            ui.say(&format!("omni: {}", failure.text));
        }
        made
    });
    for (switch, entry) in forked? {
        let value = json!({
            "id": entry.machine.id,
            "name": entry.machine.name,
            "switch": switch,
            "start_ms": ms(began.elapsed()),
        });
        ui.result(value, &format!("{} on {switch}", entry.machine.name))?;
    }
    Ok(())
}

/// Makes all forks, or none.
fn forks(
    folder: &Folder,
    file: &GroupFile,
    count: u32,
    (registry, store): (&Registry, &Arc<Store>),
) -> Result<Vec<(String, Entry)>, Failure> {
    let parts = folder.parts(file, registry, store)?;
    let ids: Vec<Digest> = parts.iter().map(|part| part.id).collect();
    let _kept = store.lease(&ids)?;
    let mut born: Vec<(String, Entry)> = Vec::new();
    let made = (0..count).try_for_each(|_| {
        let switch = free_switch(&folder.name, registry)?;
        let mut twins = Vec::new();
        for Member { entry, id } in &parts {
            let machine = MachineFile {
                net: switches::moved(&entry.machine, &folder.name, &switch),
                ..forked(&entry.machine, &[])
            };
            let entry = forks::born(machine, &entry.machine.name, (store, *id), registry)?;
            born.push((switch.clone(), entry.clone()));
            twins.push(Member { entry, id: *id });
        }
        let entries: Vec<Entry> = twins.iter().map(|twin| twin.entry.clone()).collect();
        room::check(&entries, registry)?;
        let_go(&twins, &switch, true).map(|_| ())
    });
    made.inspect_err(|_| born.iter().for_each(|(_, entry)| forks::undo(entry, registry, store)))?;
    Ok(born)
}

/// The name of a switch that no machine is made for.
fn free_switch(name: &str, registry: &Registry) -> Result<String, Failure> {
    let all = registry.list()?;
    let taken = |switch: &String| {
        let mut switches = all.iter().flat_map(|entry| entry.machine.switches());
        switches.any(|(_, other)| other == switch)
    };
    let mut names = (1u64..).map(|number| format!("{name}-{number}"));
    let free = names.find(|switch| !taken(switch)).expect("numbers do not end");
    check_name(&free).map_err(|why| Failure::usage(format!("'{free}': {why}")))?;
    Ok(free)
}
