//! What it costs to record and to go back: boots with and without, a recording of some length,
//! and steps back anywhere in it.

use crate::bench_time::{Home, Line, boot, failed};
use omni_bench::{BenchError, Installed};
use serde::Serialize;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// Moments that are visited, and steps back from each.
const PLACES: u32 = 25;
const STEPS: u32 = 4;

/// What a recording may add to the disk in a second, beside what was let in, in KiB.
const GOAL_KIB_PER_S: f64 = 100.0;

/// What a step back may take.
const GOAL_STEP_MS: f64 = 100.0;

/// Something for a guest to do every now and then: it looks for files, and writes some.
const LOAD: &str = "while sleep 2; do find / -xdev >/tmp/found; md5sum /tmp/found; done \
                    >/dev/null 2>&1 &\n";

/// The longest packet that a debugger is answered with here, in bytes.
const PACKET_BYTES_MAX: usize = 1 << 20;

/// How much of something there is in a second.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Amount {
    pub(crate) what: String,
    pub(crate) kib_per_s: f64,
    /// What it is to be at most.
    pub(crate) goal_kib_per_s: Option<f64>,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) lines: Vec<Line>,
    pub(crate) amounts: Vec<Amount>,
}

/// Measures. The recording that is gone back in is as long as `length`, or as a boot.
pub(crate) fn measure(
    image: &Installed,
    images: &Path,
    runs: u32,
    length: Duration,
) -> Result<Measured, BenchError> {
    let home = Home::new(images).map_err(|error| failed("a home", &error))?;
    let (mut plain, mut recorded, mut back) = (vec![], vec![], vec![]);
    for _ in 0..runs {
        for (more, all) in [(&[][..], &mut plain), (&["--record"][..], &mut recorded)] {
            boot(&home, image, more)?;
            all.push(cpu_of(&home)?);
            if !more.is_empty() {
                back.push(home.number(&["rewind", "m", "1s"], "start_ms")?.0);
            }
            home.says(&["rm", "--force", "m"])?;
        }
    }
    let mut sorted = plain.clone();
    sorted.sort_by(f64::total_cmp);
    let goal = sorted.get(sorted.len() / 2).map(|ms| ms * 1.1);
    let lines = [
        Line::of("boot: CPU time of its process", None, plain),
        Line::of("boot, recorded: CPU time of its process", goal, recorded),
        Line::of("rewind by 1 s: call to running", None, back),
    ];
    let mut measured = of_some_length(&home, image, length)?;
    measured.lines.splice(0..0, lines.into_iter().flatten());
    Ok(measured)
}

/// A recording of a guest that is busy now and then, and steps back anywhere in it.
fn of_some_length(
    home: &Home,
    image: &Installed,
    length: Duration,
) -> Result<Measured, BenchError> {
    let began = Instant::now();
    boot(home, image, &["--record"])?;
    let user = if image.disk.is_some() { "root\n" } else { "\n" };
    type_into(home, &[user, LOAD]).map_err(|error| failed("attach", &error))?;
    std::thread::sleep(length.saturating_sub(began.elapsed()));
    let seconds = began.elapsed().as_secs_f64();
    let when = home.asks(&["when", "m"])?;
    let amount = |what: &str, field: &str, goal| Amount {
        what: what.into(),
        kib_per_s: when[field].as_f64().unwrap_or(0.0) / 1024.0 / seconds,
        goal_kib_per_s: goal,
    };
    let amounts = vec![
        amount("recording: log, with what was let in", "log_bytes", None),
        amount("recording: rungs", "rung_bytes", Some(GOAL_KIB_PER_S)),
    ];
    let ticks = when["ticks"].as_u64().unwrap_or(0);
    let (visits, steps) = step_back(home, ticks).map_err(|error| failed("debug", &error))?;
    let of = format!("a recording of {seconds:.0} s");
    let lines = [
        Line::of(&format!("reverse-step anywhere in {of}"), Some(GOAL_STEP_MS), steps),
        Line::of(&format!("visit of a moment anywhere in {of}"), None, visits),
    ];
    home.says(&["rm", "--force", "m"])?;
    Ok(Measured { lines: lines.into_iter().flatten().collect(), amounts })
}

/// The time that the threads of the machine's process had on a CPU, in milliseconds.
fn cpu_of(home: &Home) -> Result<f64, BenchError> {
    let (pid, _) = home.number(&["inspect", "m"], "pid")?;
    cpu_ms(pid as u32).map_err(|error| failed("CPU time", &error))
}

/// The time that the threads of a process that are there had on a CPU, in milliseconds.
pub(crate) fn cpu_ms(pid: u32) -> io::Result<f64> {
    let mut ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // One may end meanwhile.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        ns += text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(ns).as_secs_f64() * 1e3)
}

/// Types some lines into the machine's console.
fn type_into(home: &Home, lines: &[&str]) -> io::Result<()> {
    let mut attach = home.command(&["attach", "m"]);
    let mut child = attach.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    for line in lines {
        stdin.write_all(line.as_bytes())?;
        stdin.flush()?;
        // A shell may have to be started by the first.
        std::thread::sleep(Duration::from_secs(3));
    }
    // The machine is not its own, and runs on.
    child.kill()?;
    child.wait().map(|_| ())
}

/// Goes to moments up to a tick, and some steps back from each. Gives how long each visit took,
/// and each step.
fn step_back(home: &Home, ticks: u64) -> io::Result<(Vec<f64>, Vec<f64>)> {
    let mut debugger = Debugger::new(home)?;
    let (mut visits, mut steps) = (vec![], vec![]);
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..PLACES {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let tick = ((u128::from(ticks) * u128::from(random >> 32)) >> 32) as u64;
        let command: String =
            format!("goto {tick}").bytes().map(|byte| format!("{byte:02x}")).collect();
        let began = Instant::now();
        debugger.ask(&format!("qRcmd,{command}"))?;
        visits.push(began.elapsed().as_secs_f64() * 1e3);
        for _ in 0..STEPS {
            let began = Instant::now();
            let said = debugger.ask("bs")?;
            steps.push(began.elapsed().as_secs_f64() * 1e3);
            if !said.starts_with(['T', 'S']) {
                return Err(io::Error::other(format!("a step back was answered by '{said}'")));
            }
        }
    }
    Ok((visits, steps))
}

/// A debugger at the machine, as far as it is needed here.
struct Debugger {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Debugger {
    fn new(home: &Home) -> io::Result<Self> {
        let mut debug = home.command(&["debug", "m", "--listen", "stdio"]);
        let mut child = debug.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        let mut debugger = Self { child, out };
        debugger.ask("qSupported:multiprocess+")?;
        debugger.ask("?")?;
        Ok(debugger)
    }

    /// Says a packet, and gives the answer, but for what is only to be shown.
    fn ask(&mut self, body: &str) -> io::Result<String> {
        let sum = body.bytes().fold(0u8, u8::wrapping_add);
        self.say(&format!("${body}#{sum:02x}"))?;
        loop {
            let said = self.packet()?;
            self.say("+")?;
            if said == "OK" || !said.starts_with('O') {
                return Ok(said);
            }
        }
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        let stdin = self.child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(text.as_bytes())?;
        stdin.flush()
    }

    fn packet(&mut self) -> io::Result<String> {
        let (mut said, mut byte) = (Vec::new(), [0]);
        while said.len() < PACKET_BYTES_MAX {
            self.out.read_exact(&mut byte)?;
            match byte[0] {
                b'$' => said.clear(),
                b'#' => {
                    self.out.read_exact(&mut [0; 2])?;
                    return Ok(String::from_utf8_lossy(&said).into_owned());
                }
                other => said.push(other),
            }
        }
        Err(io::Error::other("a packet without end"))
    }
}

impl Drop for Debugger {
    fn drop(&mut self) {
        // Whoever has ended already cannot be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Amount {
    pub(crate) fn row(&self) -> Vec<String> {
        let goal = self.goal_kib_per_s.map_or("-".into(), |goal| format!("{goal:.0}"));
        let amount = format!("{:9.1} KiB/s", self.kib_per_s);
        vec![self.what.clone(), amount, "-".into(), "-".into(), goal]
    }
}
