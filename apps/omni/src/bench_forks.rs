//! What many forks of a live Debian cost: until each of them has answered at its console, and what
//! each holds and takes when it is idle.

use crate::bench_recording::cpu_ms;
use crate::bench_time::{Home, MEMORY, START_LIMIT, boot, failed};
use omni_bench::{Audience, BenchError, Host, Installed};
use omni_control::{Client, ControlError, Dirs, Entry, Message, Registry, Request};
use omni_host::private_bytes;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many clients type at consoles at a time.
const CLIENTS: usize = 16;

/// How long the guest has after its boot: it goes on giving back memory that the boot has freed
/// for ten seconds, and forks made meanwhile would each do the rest of that work.
const BOOTED: Duration = Duration::from_secs(15);

/// How long forks may become idle, and are then looked at.
const SETTLE: Duration = Duration::from_secs(45);
const LOOK: Duration = Duration::from_secs(30);

/// What is typed at each console, and what must come of it: no echo has it.
const TYPED: &[u8] = b"echo $((6 * 7))-forks\n";
const ANSWER: &str = "42-forks";

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Forks {
    pub(crate) host: Host,
    pub(crate) guest: String,
    pub(crate) count: u32,
    /// Forks that answered.
    answered: usize,
    /// Seconds from the call until all were acknowledged, and until the last had answered.
    made_s: f64,
    answered_s: f64,
    /// Milliseconds from the call until a fork ran: the median of all.
    start_ms: f64,
    /// Private memory of the process that all are in, by fork, in MiB: while they are idle, less
    /// what it was before.
    private_mib_each: f64,
    /// The CPU time of the process in a second of idleness, in percent of a core.
    idle_percent: f64,
}

impl Forks {
    pub(crate) const HEADS: &[&str] = &["WHAT", "MEASURED", "GOAL"];

    pub(crate) fn table(&self) -> Vec<Vec<String>> {
        let row = |what: &str, figure: String, goal: &str| vec![what.into(), figure, goal.into()];
        vec![
            row("forks that answered", format!("{} of {}", self.answered, self.count), "all"),
            row("call to acknowledged, s", format!("{:.2}", self.made_s), "-"),
            row("call to the last answer, s", format!("{:.2}", self.answered_s), "10 for 1,000"),
            row("call to running, median, ms", format!("{:.1}", self.start_ms), "-"),
            row("private memory each, idle, MiB", format!("{:.2}", self.private_mib_each), "1"),
            row("all when idle, % of a core", format!("{:.1}", self.idle_percent), "10 for 2,000"),
        ]
    }
}

/// Forks the image so often, and looks.
pub(crate) fn measure(
    image: &Installed,
    images: &Path,
    count: u32,
    audience: &mut dyn Audience,
) -> Result<Forks, BenchError> {
    let host = Host::here();
    let home = Home::new(images).map_err(|error| failed("a home", &error))?;
    audience.doing("forks: boot");
    boot(&home, image, &[])?;
    thread::sleep(BOOTED);
    let inspected = home.asks(&["inspect", "m"])?;
    let pid = inspected["pid"].as_u64().ok_or_else(|| failed("inspect", &"no process"))?;
    let before = private_mib(pid)?;
    audience.doing("forks: made and asked");
    let began = Instant::now();
    let said = home.says(&["fork", "m", "--count", &count.to_string(), "--json"])?;
    let made_s = began.elapsed().as_secs_f64();
    let forks: Vec<Value> = said
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let mut starts: Vec<f64> = forks.iter().filter_map(|fork| fork["start_ms"].as_f64()).collect();
    starts.sort_by(f64::total_cmp);
    let start_ms = starts.get(starts.len() / 2).copied().unwrap_or(f64::NAN);
    let answered = ask_all(&home, &forks)?;
    let answered_s = began.elapsed().as_secs_f64();
    audience.doing("forks: idle");
    thread::sleep(SETTLE);
    let private_mib_each = (private_mib(pid)? - before) / f64::from(count);
    let (from, looked) = (cpu_of(pid)?, Instant::now());
    thread::sleep(LOOK);
    let ms = cpu_of(pid)? - from;
    let idle_percent = ms / looked.elapsed().as_secs_f64() / 10.0;
    let guest = format!("{}, {MEMORY}", image.name);
    let forks = Forks {
        host,
        guest,
        count,
        answered,
        made_s,
        answered_s,
        start_ms,
        private_mib_each,
        idle_percent,
    };
    Ok(forks)
}

/// Types at every console. Gives how many said what they were to say.
fn ask_all(home: &Home, forks: &[Value]) -> Result<usize, BenchError> {
    let at = home.path().display().to_string();
    let dirs = Dirs::from_env(|name| match name {
        "OMNI_HOME" => Ok(at.clone()),
        _ => Err(std::env::VarError::NotPresent),
    });
    let dirs = dirs.map_err(|error| failed("a home", &error))?;
    let registry = Registry::open(&dirs).map_err(|error| failed("a home", &error))?;
    let entries = registry.list().map_err(|error| failed("ps", &error))?;
    let (next, answered, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(None));
    let work = || {
        while let Some(fork) = forks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let entry = entries.iter().find(|entry| fork["id"] == entry.machine.id[..]);
            match entry.map(ask) {
                Some(Ok(())) => _ = answered.fetch_add(1, Ordering::Relaxed),
                Some(Err(error)) => *wrong.lock().expect("no thread panics") = Some(error),
                None => {}
            }
        }
    };
    thread::scope(|scope| (0..CLIENTS).for_each(|_| _ = scope.spawn(work)));
    if let Some(error) = wrong.into_inner().expect("no thread panics") {
        return Err(failed("a fork", &error));
    }
    Ok(answered.into_inner())
}

/// Types at a console, and waits for the answer.
fn ask(entry: &Entry) -> Result<(), ControlError> {
    let mut client = Client::connect(entry)?;
    client.set_patience(START_LIMIT)?;
    client.ask(&Request::Attach { history: 0, hold: false, own: false })?;
    client.input(TYPED)?;
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains(ANSWER) {
        match client.receive()? {
            Message::Output(bytes) => said.extend(bytes),
            Message::Reply(_) | Message::Errors(_) => {}
        }
    }
    Ok(())
}

/// The time that its threads had on a CPU, in milliseconds: none ends while all are idle.
fn cpu_of(pid: u64) -> Result<f64, BenchError> {
    let pid = u32::try_from(pid).map_err(|error| failed("a process", &error))?;
    cpu_ms(pid).map_err(|error| failed("CPU time", &error))
}

/// Private memory of a process, in MiB.
fn private_mib(pid: u64) -> Result<f64, BenchError> {
    let bytes = u32::try_from(pid).ok().and_then(private_bytes);
    let bytes = bytes.ok_or_else(|| failed("memory of a process", &"it has gone"))?;
    Ok(bytes as f64 / f64::from(1 << 20))
}
