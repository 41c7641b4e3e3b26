//! What snapshots cost: pauses, restores and forks of a guest, and a large tree; beside QEMU.

use crate::bench_qemu;
use crate::bench_recording::{self, Amount};
use omni_base::{Digest, PAGE_SIZE_U64, Tick};
use omni_bench::{Audience, BenchError, Host, Installed};
use omni_host::TempDir;
use omni_store::{Files, Manifest, Store, StoreError};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The guest's memory.
pub(crate) const MEMORY: &str = "1G";

/// How long a guest may take to start.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(600);

/// Snapshots of the tree, and of a small one for a quick look.
const TREE: u32 = 10_000;
const TREE_QUICK: u32 = 100;

const US: &str = "omni";

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Times {
    pub(crate) host: Host,
    pub(crate) runs: u32,
    /// What ran.
    pub(crate) guest: Option<String>,
    pub(crate) lines: Vec<Line>,
    pub(crate) amounts: Vec<Amount>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<String>,
}

/// One kind of measurement: milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) median_ms: f64,
    pub(crate) least_ms: f64,
    pub(crate) most_ms: f64,
    /// What it is to be at most.
    pub(crate) goal_ms: Option<f64>,
}

impl Line {
    pub(crate) fn of(what: &str, goal_ms: Option<f64>, mut all: Vec<f64>) -> Option<Self> {
        all.sort_by(f64::total_cmp);
        let (least_ms, most_ms) = (*all.first()?, *all.last()?);
        Some(Self { what: what.into(), median_ms: all[all.len() / 2], least_ms, most_ms, goal_ms })
    }
}

impl Times {
    pub(crate) const HEADS: &[&str] = &["WHAT", "MEDIAN ms", "LEAST", "MOST", "GOAL"];

    pub(crate) fn table(&self) -> Vec<Vec<String>> {
        let ms = |ms: f64| format!("{ms:9.3}");
        let goal = |goal: Option<f64>| goal.map_or("-".into(), |goal| format!("{goal:.1}"));
        let row = |line: &Line| {
            let [median, least, most] = [line.median_ms, line.least_ms, line.most_ms].map(ms);
            vec![line.what.clone(), median, least, most, goal(line.goal_ms)]
        };
        self.lines.iter().map(row).chain(self.amounts.iter().map(Amount::row)).collect()
    }
}

/// Measures on the largest image that there is, `runs` times each.
pub(crate) fn measure(
    installed: &[Installed],
    images: &Path,
    (runs, quick, length): (u32, bool, Duration),
    audience: &mut dyn Audience,
) -> Result<Times, BenchError> {
    let host = Host::here();
    let mut times =
        Times { host, runs, guest: None, lines: vec![], amounts: vec![], missing: vec![] };
    match installed.last() {
        Some(image) => {
            times.guest = Some(image.name.clone());
            audience.doing("time: omni");
            times.lines.extend(of_a_guest(image, images, runs)?);
            audience.doing("time: recording");
            let recorded = bench_recording::measure(image, images, runs, length)?;
            times.lines.extend(recorded.lines);
            times.amounts.extend(recorded.amounts);
            audience.doing("time: qemu");
            match bench_qemu::measure(image, runs) {
                Ok(lines) => times.lines.extend(lines),
                Err(why) => times.missing.push(format!("QEMU: {why}")),
            }
            audience.doing("time: qemu records");
            // The smallest, as QEMU may take minutes for another.
            match bench_qemu::record(installed.first().unwrap_or(image), runs) {
                Ok(recorded) => {
                    times.lines.extend(recorded.lines);
                    times.amounts.extend(recorded.amounts);
                }
                Err(why) => times.missing.push(format!("QEMU's recording: {why}")),
            }
        }
        None => times.missing.push("a guest: no image is there; 'omni image build debian'".into()),
    }
    audience.doing("time: a large tree");
    let count = if quick { TREE_QUICK } else { TREE };
    times.lines.extend(of_a_tree(count).map_err(|error| failed("a tree", &error))?);
    Ok(times)
}

pub(crate) fn failed(case: &str, why: &impl ToString) -> BenchError {
    BenchError::Failed { who: US, case: case.into(), said: why.to_string() }
}

/// Machines in a home of their own, removed in the end.
pub(crate) struct Home {
    dir: TempDir,
    program: PathBuf,
}

impl Home {
    pub(crate) fn new(images: &Path) -> io::Result<Self> {
        let dir = TempDir::new("bench-time")?;
        std::fs::create_dir_all(dir.path().join("state"))?;
        symlink(images, dir.path().join("state/images"))?;
        Ok(Self { dir, program: std::env::current_exe()? })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The program, in this home.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("OMNI_HOME", self.dir.path()).args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn says(&self, args: &[&str]) -> Result<Vec<u8>, BenchError> {
        let output = self.command(args).output().map_err(|error| failed(args[0], &error))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(failed(args[0], &String::from_utf8_lossy(&output.stderr).trim()))
    }

    pub(crate) fn asks(&self, args: &[&str]) -> Result<Value, BenchError> {
        let said = self.says(&[args, &["--json"]].concat())?;
        serde_json::from_slice(&said).map_err(|error| failed(args[0], &error))
    }

    pub(crate) fn number(&self, args: &[&str], field: &str) -> Result<(f64, Value), BenchError> {
        let value = self.asks(args)?;
        let number = value[field].as_f64();
        Ok((number.ok_or_else(|| failed(args[0], &format!("no {field}")))?, value))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Forks live on without their parent, unless they are removed too.
        let said = self.says(&["ps", "--all", "--json"]).unwrap_or_default();
        let all = said.split(|byte| *byte == b'\n');
        let all = all.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let names: Vec<String> =
            all.filter_map(|of| of["name"].as_str().map(str::to_owned)).collect();
        let names = names.iter().map(String::as_str);
        let args: Vec<&str> = ["rm", "--force"].into_iter().chain(names).collect();
        if args.len() > 2 {
            // The measurement is what there is to tell of.
            let _ = self.says(&args);
        }
    }
}

fn of_a_guest(image: &Installed, images: &Path, runs: u32) -> Result<Vec<Line>, BenchError> {
    let home = Home::new(images).map_err(|error| failed("a home", &error))?;
    boot(&home, image, &[])?;
    let (mut pauses, mut took, mut restores) = (vec![], vec![], vec![]);
    let (first, value) = home.number(&["snapshot", "m", "t0"], "pause_ms")?;
    let mib = |value: &Value| {
        let pages = value["pages_new"].as_u64().unwrap_or(0);
        pages as f64 * PAGE_SIZE_U64 as f64 / f64::from(1 << 20)
    };
    let (written, mut more) = (mib(&value), 0.0);
    for run in 1..=runs {
        let tag = format!("t{run}");
        let began = Instant::now();
        let (pause, value) = home.number(&["snapshot", "m", &tag], "pause_ms")?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
        more += mib(&value) / f64::from(runs);
        pauses.push(pause);
        std::thread::sleep(Duration::from_millis(200));
    }
    for _ in 0..runs {
        restores.push(home.number(&["restore", "m@t1"], "start_ms")?.0);
    }
    let forks = |of: &str| {
        let fork = |_| {
            let (start, value) = home.number(&["fork", of], "start_ms")?;
            home.says(&["rm", "--force", value["id"].as_str().unwrap_or_default()])?;
            Ok(start)
        };
        (0..runs).map(fork).collect::<Result<Vec<f64>, BenchError>>()
    };
    let (apart, together) = (forks("m@t1")?, forks("m")?);
    let whole = format!("snapshot: pause, {written:.0} MiB written before");
    let later = format!("snapshot: pause, {more:.1} MiB written before");
    let lines = [
        Line::of(&whole, Some(5.0 + 0.1 * written), vec![first]),
        Line::of(&later, Some(5.0 + 0.1 * more), pauses),
        Line::of("snapshot: until durable", None, took),
        Line::of("restore: call to running, a process of its own", Some(5.0), restores),
        Line::of("fork of a snapshot: call to running, a process of its own", Some(5.0), apart),
        Line::of("fork of a live machine: call to running, in its process", Some(1.0), together),
    ];
    Ok(lines.into_iter().flatten().collect())
}

/// Runs the image until it is ready.
pub(crate) fn boot(home: &Home, image: &Installed, more: &[&str]) -> Result<(), BenchError> {
    // Images are kept under the name that they are asked for by, with more behind it.
    let minimal = image.disk.is_none();
    let reference = if minimal { "debian-minimal" } else { "debian" };
    let args = ["run", "--detach", "--seed", "1", "--memory", MEMORY, "--name", "m"];
    home.says(&[&args, more, &[reference]].concat())?;
    let until = Instant::now() + START_LIMIT;
    while !String::from_utf8_lossy(&home.says(&["logs", "m"])?).contains(&image.ready) {
        if Instant::now() > until {
            return Err(failed(reference, &"it did not start"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// A tree of so many snapshots, each branch of some length: opened, listed, grown.
fn of_a_tree(count: u32) -> Result<Vec<Line>, StoreError> {
    let fail = |error| StoreError::Io("a temporary folder".into(), error);
    let dir = TempDir::new("bench-tree").map_err(fail)?;
    let store = Store::open_with(dir.path(), Files::careless())?;
    let mut ids: Vec<Digest> = Vec::new();
    for number in 0..count {
        // Every tenth begins a branch in the middle of what is there.
        let at = if number % 10 == 0 { ids.len() / 2 } else { ids.len().saturating_sub(1) };
        ids.push(grow(&store, number, ids.get(at).copied())?);
    }
    drop(store);
    let ms = |began: Instant| began.elapsed().as_secs_f64() * 1e3;
    let (mut opened, mut listed, mut branched) = (vec![], vec![], vec![]);
    for run in 0..5 {
        let began = Instant::now();
        let store = Store::open(dir.path())?;
        opened.push(ms(began));
        let began = Instant::now();
        let tree = store.tree("m")?;
        let all = tree.entries().filter_map(|entry| tree.parent(entry)).count();
        listed.push(ms(began));
        drop(tree);
        let middle = ids.get(all / 2).copied();
        let began = Instant::now();
        grow(&store, count + run, middle)?;
        branched.push(ms(began));
    }
    let line = |what: &str, all| Line::of(&format!("tree of {count}: {what}"), Some(10.0), all);
    let lines = [line("open", opened), line("list", listed), line("branch", branched)];
    Ok(lines.into_iter().flatten().collect())
}

/// A snapshot of nothing much.
fn grow(store: &Store, number: u32, parent: Option<Digest>) -> Result<Digest, StoreError> {
    let mut commit = store.begin()?;
    let records = commit.blob(&number.to_le_bytes())?;
    let spec = commit.blob(b"a spec")?;
    let manifest = Manifest {
        owner: "m".into(),
        tag: format!("t{number}"),
        time_ms: u64::from(number),
        parent,
        kind: "none".into(),
        semantics: 1,
        tick: Tick(u64::from(number)),
        state: records,
        spec,
        files: BTreeMap::new(),
        records,
        pending: vec![],
        spaces: vec![],
        about: vec![],
    };
    Ok(commit.finish(&manifest, 0)?.id)
}
