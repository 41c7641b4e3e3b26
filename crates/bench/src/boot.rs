//! From power-on to a shell: wall time, CPU time and memory, under Omnivisor and under QEMU.

use crate::BenchError;
use crate::child::{Program, forget_own_peak, own_peak_bytes};
use crate::compile::at;
use crate::inside::Inside;
use crate::measure::median;
use crate::peer::{KIND, Peer, QEMU_SYSTEM, qemu_board, version_of};
use crate::report::{Host, Missing, Present};
use omni_machine::Spec;
use serde::Serialize;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Whoever shows no prompt by then hangs.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// What to boot.
#[derive(Clone, Debug)]
pub struct BootOptions {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub append: String,
    /// What the console says when a shell waits.
    pub prompt: String,
    /// Memory, such as 512M.
    pub memory: String,
    /// Boots of each, of which the median counts.
    pub runs: u32,
}

/// The boots of one peer: medians.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Booted {
    /// Which one.
    pub peer: Peer,
    /// From the start of the machine to its prompt.
    pub wall_ms: f64,
    /// CPU time of the host.
    pub cpu_ms: f64,
    /// The most memory held, the program itself included.
    pub peak_bytes: u64,
    /// Ticks of the machine, where it has them.
    pub ticks: Option<u64>,
}

/// The boots of all.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BootReport {
    /// Where.
    pub host: Host,
    /// Boots of each.
    pub runs: u32,
    /// Versions of others.
    pub present: Vec<Present>,
    /// Who was not measured.
    pub missing: Vec<Missing>,
    /// Each peer.
    pub boots: Vec<Booted>,
}

/// The heads of the table.
pub const BOOT_HEADS: &[&str] = &["BOOT TO SHELL", "WALL s", "CPU s", "PEAK MiB", "MTICKS"];

impl BootReport {
    /// The rows of the table, under [`BOOT_HEADS`].
    #[must_use]
    pub fn table(&self) -> Vec<Vec<String>> {
        let row = |boot: &Booted| {
            vec![
                boot.peer.name().to_owned(),
                format!("{:6.2}", boot.wall_ms / 1e3),
                format!("{:6.2}", boot.cpu_ms / 1e3),
                format!("{:8}", boot.peak_bytes >> 20),
                boot.ticks.map_or("-".into(), |ticks| format!("{:6}", ticks / 1_000_000)),
            ]
        };
        self.boots.iter().map(row).collect()
    }
}

/// Boots in turns; `progress` hears whose turn it is.
///
/// # Errors
/// Where a file cannot be read or a boot under Omnivisor fails. Others that fail are left out and
/// named in the report.
pub fn measure_boot(
    options: &BootOptions,
    progress: &mut dyn FnMut(Peer),
) -> Result<BootReport, BenchError> {
    let read = |path: &PathBuf| fs::read(path).map_err(at(path));
    let mut spec = Spec::new(KIND);
    spec.options.insert("memory".into(), options.memory.clone());
    spec.options.insert("append".into(), options.append.clone());
    spec.files.insert("kernel".into(), read(&options.kernel)?.into());
    spec.files.insert("initrd".into(), read(&options.initrd)?.into());
    let (host, runs) = (Host::here(), options.runs.max(1));
    let mut report = BootReport { host, runs, present: vec![], missing: vec![], boots: vec![] };
    match version_of(QEMU_SYSTEM) {
        Some(version) => report.present.push(Present { peer: Peer::Qemu, version }),
        None => report.missing.push(Missing {
            peer: Peer::Qemu,
            why: format!("{QEMU_SYSTEM} is not installed"),
            get: "apt install qemu-system-misc".into(),
        }),
    }
    let (mut ours, mut theirs) = (vec![], vec![]);
    for _ in 0..runs {
        if report.missing.is_empty() {
            progress(Peer::Qemu);
            match boot_qemu(options) {
                Ok(boot) => theirs.push(boot),
                Err(error) => {
                    let (why, get) = (error.to_string(), String::new());
                    report.missing.push(Missing { peer: Peer::Qemu, why, get });
                }
            }
        }
        progress(Peer::Omni);
        ours.push(boot_omni(&spec, options)?);
    }
    report.boots.extend([theirs, ours].iter().filter_map(|boots| medians(boots)));
    Ok(report)
}

fn boot_omni(spec: &Spec, options: &BootOptions) -> Result<Booted, BenchError> {
    forget_own_peak();
    let start = Instant::now();
    let mut machine = Inside::start(spec)?;
    machine.listen(BOOT_LIMIT, |heard| heard.contains(&options.prompt).then_some(()))?;
    Ok(Booted {
        peer: Peer::Omni,
        wall_ms: start.elapsed().as_secs_f64() * 1e3,
        cpu_ms: machine.cpu.as_secs_f64() * 1e3,
        peak_bytes: own_peak_bytes().unwrap_or(0),
        ticks: Some(machine.tick()),
    })
}

fn boot_qemu(options: &BootOptions) -> Result<Booted, BenchError> {
    let mut command = qemu_board(&options.memory);
    command.arg("-kernel").arg(&options.kernel).arg("-initrd").arg(&options.initrd);
    command.args(["-append", &options.append]);
    let start = Instant::now();
    let mut program = Program::start(Peer::Qemu.name(), command)?;
    program.listen(BOOT_LIMIT, |heard| heard.contains(&options.prompt).then_some(()))?;
    let wall = start.elapsed();
    Ok(Booted {
        peer: Peer::Qemu,
        wall_ms: wall.as_secs_f64() * 1e3,
        cpu_ms: program.cpu_at_rest()?.as_secs_f64() * 1e3,
        peak_bytes: program.peak_bytes().unwrap_or(0),
        ticks: None,
    })
}

/// The medians of each figure; `None` of no boots.
fn medians(boots: &[Booted]) -> Option<Booted> {
    let middle = |figure: &dyn Fn(&Booted) -> f64| median(boots.iter().map(figure).collect());
    let mut peaks: Vec<u64> = boots.iter().map(|boot| boot.peak_bytes).collect();
    peaks.sort_unstable();
    Some(Booted {
        peer: boots.first()?.peer,
        wall_ms: middle(&|boot| boot.wall_ms),
        cpu_ms: middle(&|boot| boot.cpu_ms),
        peak_bytes: peaks[peaks.len() / 2],
        ticks: boots.last()?.ticks,
    })
}
