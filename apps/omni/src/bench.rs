//! The verb `bench`: speed here, beside the peers that are installed.

use crate::args::{SourceArgs, duration};
use crate::bench_forks::{self, Forks};
use crate::bench_time::{self, Times};
use crate::failure::{Failure, code};
use crate::flame::{Stacks, with_ending};
use crate::images::Steps;
use crate::ui::{Ui, stderr_is_terminal};
use clap::{Args, ValueEnum};
use omni_bench::{
    Assets, Audience, BenchError, BootReport, Host, Installed, Missing, Options, Peer, Present,
    Report, Row, Sampled, Table, Technique, Tier, Worth, measure_bare, measure_boot, measure_cpu,
    measure_real,
};
use omni_control::Dirs;
use omni_host::TempDir;
use omni_image::{Arch, Image, Mirror, Reference};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The images that are booted beside the kernel alone, and what their consoles say at the end.
const IMAGES: [(&str, &str); 2] = [("debian-minimal", ":~# "), ("debian", "login: ")];

/// Runs of each case, and of a quick look.
const RUNS: u32 = 5;
const RUNS_QUICK: u32 = 3;

/// How long a recording is that is gone back in, where nothing else is asked for.
const RECORDING: Duration = Duration::from_secs(60);

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum What {
    /// Kernels in C on a bare board: needs no archive
    Bare,
    /// Kernels in C in a booted guest
    Cpu,
    /// Programs of Debian's packages in a booted guest
    Real,
    /// The stock kernel to its first program, and Debian where its image is there
    Boot,
    /// Snapshots, restores and forks of a Debian whose image is there, and a large tree
    Time,
}

/// A way in which code of guests runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum TierArg {
    /// The interpreter alone
    Interp,
    /// Translation to code of the host, where it has it, as machines get that ask for nothing
    Jit,
}

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// All of them, one after the other, unless given
    #[arg(value_enum)]
    what: Vec<What>,
    /// Only these cases; for boot: kernel, or the name of an image
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// For cpu: a C file with kernels in place of ours; run without arguments it lists them
    /// with their counts, run with NAME COUNT 1 wait it waits for a line and times one
    #[arg(long, value_name = "FILE")]
    kernels: Option<PathBuf>,
    /// Tiers of this program that are measured
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["jit"])]
    tier: Vec<TierArg>,
    /// What each technique of the translator is worth: this program alone, with all of them and
    /// without each in turn. A machine goes without those that OMNI_WITHOUT names
    #[arg(long, conflicts_with = "tier")]
    techniques: bool,
    /// Where the time goes, by functions of guests and by what was done for them: this program
    /// alone, which takes samples of itself. Writes PATH.folded, stacks that other tools read, and
    /// PATH.svg, a graph; prints the shares
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "omni-flame",
        conflicts_with = "techniques"
    )]
    flame: Option<PathBuf>,
    /// For --flame: a file with the names of what guests run, an ELF file or a list as System.map
    /// and /proc/kallsyms are; kernels have theirs without
    #[arg(long, value_name = "FILE", requires = "flame")]
    symbols: Vec<PathBuf>,
    /// A fraction of the work, fewer runs
    #[arg(long, short)]
    quick: bool,
    /// Runs of each, of which the median counts
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// For time: so many forks of a live Debian in one process, instead of the rest: when each has
    /// answered at its console, what each holds and what all take when they are idle
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=5000))]
    forks: Option<u32>,
    /// For time: how long the recording is that is gone back in, such as 10m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    recording: Option<Duration>,
    /// A kernel for guests, rather than the archive's newest
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
}

/// What was measured.
enum Measured {
    Cases(Report),
    Boots(BootReport),
    Times(Times),
    Forks(Forks),
}

/// Measures and reports. Fails where someone computed what others did not, or one of ours failed.
pub(crate) fn run(args: &BenchArgs, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let all = [What::Bare, What::Cpu, What::Real, What::Boot, What::Time];
    let chosen = match &args.what[..] {
        [] if args.techniques => &all[..3],
        [] => &all[..],
        some => some,
    };
    if args.techniques && chosen.iter().any(|what| matches!(what, What::Boot | What::Time)) {
        return Err(Failure::usage("--techniques measures bare, cpu and real, not boot or time"));
    }
    let scratch = match &args.flame {
        Some(_) => {
            let scratch = TempDir::new("flame");
            Some(scratch.map_err(|error| Failure::io("a temporary folder", &error))?)
        }
        None => None,
    };
    let sampled = scratch.as_ref().map(|scratch| sampled(args, scratch)).transpose()?;
    let options = options(args, dirs, sampled)?;
    let mut wrong = vec![];
    for (at, what) in chosen.iter().enumerate() {
        if at > 0 && !ui.json {
            ui.line("")?;
        }
        let mut hall = Hall::new(*what, ui);
        let measured = match measure(*what, args, &options, dirs, &mut hall) {
            Ok(measured) => measured,
            // One who asks for everything gets what can be had.
            Err(BenchError::Image(error)) if args.what.is_empty() => {
                ui.say(&format!("omni: {} is not measured, {error}", name_of(*what)));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        measured.print(&mut hall)?;
        wrong.extend(measured.wrong());
    }
    if let (Some(path), Some(scratch)) = (&args.flame, &scratch) {
        flame(path, scratch, ui)?;
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(code::FAILURE, wrong.join("; ")))
}

/// How ours take samples of themselves. Each reads the files with names, so they are asked for
/// before anything is measured.
fn sampled(args: &BenchArgs, scratch: &TempDir) -> Result<Sampled, Failure> {
    let absolute = |path: &PathBuf| {
        path.canonicalize().map_err(|error| Failure::io(&path.display().to_string(), &error))
    };
    let symbols = args.symbols.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
    Ok(Sampled { folder: scratch.path().into(), symbols })
}

/// How many functions of a guest are printed.
const FUNCTIONS: usize = 20;

/// Puts together what machines found, writes it and tells of it.
fn flame(path: &Path, scratch: &TempDir, ui: Ui) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io("what machines found", &error);
    let mut stacks = Stacks::default();
    for file in fs::read_dir(scratch.path()).map_err(failed)? {
        let file = file.map_err(failed)?.path();
        if file.extension().is_some_and(|ending| ending == "folded") {
            stacks.add_file(&file)?;
        }
    }
    stacks.write(path)?;
    let all = stacks.count();
    let share = |count: u64| count as f64 / all.max(1) as f64;
    let (phases, functions) = (stacks.phases(), stacks.functions());
    if ui.json {
        let pairs = |pairs: &[(String, u64)], name: &str| -> Vec<Value> {
            let object = |(what, count): &(String, u64)| {
                let share = share(*count);
                json!({ name: what, "samples": count, "share": share })
            };
            pairs.iter().map(object).collect()
        };
        return ui.object(json!({ "flame": {
            "samples": all,
            "folded": with_ending(path, "folded"),
            "svg": with_ending(path, "svg"),
            "phases": pairs(&phases, "phase"),
            "functions": pairs(&functions, "function"),
        }}));
    }
    let percent = |count: u64| format!("{:5.1} %", share(count) * 100.0);
    ui.line("")?;
    let rows: Vec<Vec<String>> =
        phases.iter().map(|(phase, count)| vec![phase.clone(), percent(*count)]).collect();
    ui.table(&["TIME IN", "SHARE"], &rows)?;
    ui.line("")?;
    let row = |(function, count): &(String, u64)| {
        let of = stacks.phases_of(function).into_iter().take(3);
        let of: Vec<String> =
            of.map(|(phase, part)| format!("{phase} {:.0} %", ratio(part, *count))).collect();
        vec![function.clone(), percent(*count), of.join(", ")]
    };
    let rows: Vec<Vec<String>> = functions.iter().take(FUNCTIONS).map(row).collect();
    ui.table(&["FOR THE GUEST'S", "SHARE", "OF IT"], &rows)?;
    let (folded, svg) = (with_ending(path, "folded"), with_ending(path, "svg"));
    ui.say(&format!("omni: {all} samples in {} and {}", folded.display(), svg.display()));
    Ok(())
}

fn ratio(part: u64, all: u64) -> f64 {
    part as f64 * 100.0 / all.max(1) as f64
}

fn name_of(what: What) -> String {
    what.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn options(args: &BenchArgs, dirs: &Dirs, sampled: Option<Sampled>) -> Result<Options, Failure> {
    let tier = |tier: &TierArg| match tier {
        TierArg::Interp => Tier::Interp,
        TierArg::Jit => Tier::All,
    };
    Ok(Options {
        only: args.only.clone(),
        tiers: match args.techniques {
            true => [Tier::All].into_iter().chain(Technique::all().map(Tier::Without)).collect(),
            false => args.tier.iter().map(tier).collect(),
        },
        alone: args.techniques || args.flame.is_some(),
        sampled,
        runs: args.runs.unwrap_or(if args.quick { RUNS_QUICK } else { RUNS }),
        quick: args.quick,
        cache: dirs.cache.join("bench"),
        us: std::env::current_exe().map_err(|error| Failure::io("this program", &error))?,
    })
}

fn measure(
    what: What,
    args: &BenchArgs,
    options: &Options,
    dirs: &Dirs,
    hall: &mut Hall,
) -> Result<Measured, BenchError> {
    let mut steps = Steps::default();
    let mut assets = Assets {
        cache: dirs.cache.join("bench"),
        downloads: dirs.cache.join("downloads"),
        mirror: args.source.mirror.as_deref().map(Mirror::new).transpose()?,
        keyring: args.source.keyring.clone(),
        kernel: args.kernel.clone(),
        progress: &mut steps,
    };
    let measured = match what {
        What::Bare => measure_bare(options, hall).map(Measured::Cases),
        What::Cpu => {
            let kernels = args.kernels.as_deref();
            measure_cpu(options, kernels, &mut assets, hall).map(Measured::Cases)
        }
        What::Real => measure_real(options, &mut assets, hall).map(Measured::Cases),
        What::Boot => {
            let installed = installed(dirs)?;
            measure_boot(options, &mut assets, &installed, hall).map(Measured::Boots)
        }
        What::Time => {
            if let (Some(count), Some(image)) = (args.forks, installed(dirs)?.first()) {
                let forks = bench_forks::measure(image, &dirs.images(), count, hall);
                hall.hush();
                return forks.map(Measured::Forks);
            }
            let length = args.recording.unwrap_or(RECORDING);
            let amount = (options.runs, options.quick, length);
            bench_time::measure(&installed(dirs)?, &dirs.images(), amount, hall)
                .map(Measured::Times)
        }
    };
    hall.hush();
    measured
}

/// The images of Debian that were made.
fn installed(dirs: &Dirs) -> Result<Vec<Installed>, BenchError> {
    let mut found = vec![];
    for (text, ready) in IMAGES {
        let reference: Reference = text.parse()?;
        let name = reference.image_name(Arch::Riscv64);
        let Ok(image) = Image::open(&dirs.images(), &name) else { continue };
        if image.info.disk.is_none() && !reference.minimal() {
            // One of an earlier version of this program: it never says that.
            continue;
        }
        let (kernel, initrd, disk) = (image.kernel(), image.initrd(), image.disk());
        let (append, ready) = (image.info.cmdline.clone(), ready.to_owned());
        found.push(Installed { name, kernel, initrd, append, disk, ready });
    }
    Ok(found)
}

impl Measured {
    /// What was not said while it went on.
    fn print(&self, hall: &mut Hall) -> Result<(), Failure> {
        let ui = hall.ui;
        if let Some(lost) = hall.lost.take() {
            return Err(lost);
        }
        if ui.json {
            return ui.object(match self {
                Self::Cases(report) => json!(report),
                Self::Boots(report) => {
                    let mut object = json!(report);
                    object["what"] = Value::from("boot");
                    object
                }
                Self::Times(times) => {
                    let mut object = json!(times);
                    object["what"] = Value::from("time");
                    object
                }
                Self::Forks(forks) => {
                    let mut object = json!(forks);
                    object["what"] = Value::from("forks");
                    object
                }
            });
        }
        match self {
            Self::Cases(report) => {
                if let Some(table) = &hall.table {
                    table.means(report).iter().try_for_each(|line| ui.line(line.trim_end()))?;
                }
                missing(&report.missing, ui);
                techniques(&report.techniques, ui)
            }
            Self::Boots(report) => {
                ui.line(&about(&report.host, &format!("boot: medians of {}", report.runs)))?;
                versions(&report.present, ui)?;
                missing(&report.missing, ui);
                ui.table(BootReport::HEADS, &report.table())
            }
            Self::Times(times) => {
                let guest = times.guest.as_deref().unwrap_or("no guest");
                let what = format!("time: {guest}, medians of {}", times.runs);
                ui.line(&about(&times.host, &what))?;
                for why in &times.missing {
                    ui.say(&format!("omni: not measured: {why}"));
                }
                ui.table(Times::HEADS, &times.table())
            }
            Self::Forks(forks) => {
                let what = format!("forks in one process: {}, once", forks.guest);
                ui.line(&about(&forks.host, &what))?;
                ui.table(Forks::HEADS, &forks.table())
            }
        }
    }

    /// What makes the measurement worthless.
    fn wrong(&self) -> Vec<String> {
        let failed = |missing: &Missing| format!("{} failed: {}", missing.peer.name(), missing.why);
        match self {
            Self::Cases(report) => {
                let differ = report.disagreements();
                let differ = differ.map(|row| format!("not all agree on {}", row.case.name));
                differ.chain(report.failures().map(failed)).collect()
            }
            Self::Boots(report) => report.failures().map(failed).collect(),
            Self::Times(_) | Self::Forks(_) => vec![],
        }
    }
}

/// Where it was measured: figures of a busy host are worth less.
fn about(host: &Host, what: &str) -> String {
    format!("{}, {} CPUs, load {:.1} before; {what}", host.cpu, host.cpus, host.load)
}

fn versions(present: &[Present], ui: Ui) -> Result<(), Failure> {
    present.iter().try_for_each(|one| ui.line(&format!("{}: {}", one.peer.name(), one.version)))
}

fn missing(missing: &[Missing], ui: Ui) {
    for one in missing {
        let help = if one.get.is_empty() { String::new() } else { format!(": {}", one.get) };
        ui.say(&format!("omni: {} is not measured, {}{help}", one.peer.name(), one.why));
    }
}

/// What each technique is worth, where that was measured.
fn techniques(worths: &[Worth], ui: Ui) -> Result<(), Failure> {
    if worths.is_empty() {
        return Ok(());
    }
    ui.line("")?;
    let row = |worth: &Worth| {
        let most = worth.most.iter().map(|(case, factor)| format!("{case} {factor:.2}"));
        let most: Vec<String> = most.collect();
        let factor = format!("{:.2}", worth.factor);
        vec![worth.technique.to_owned(), factor, worth.cases.to_string(), most.join(", ")]
    };
    let rows: Vec<Vec<String>> = worths.iter().map(row).collect();
    ui.table(&["WITHOUT", "TIMES", "CASES", "MOST OF ALL"], &rows)
}

/// Where a measurement is heard of while it goes on: progress on one line of a terminal that is
/// written over, and each case as soon as it was measured.
struct Hall {
    what: What,
    ui: Ui,
    /// Whether someone reads of the progress.
    talk: bool,
    /// The table, once its first row is there.
    table: Option<Table>,
    /// Why the result cannot be written.
    lost: Option<Failure>,
}

impl Hall {
    fn new(what: What, ui: Ui) -> Self {
        Self { what, ui, talk: stderr_is_terminal(), table: None, lost: None }
    }

    fn hush(&self) {
        if self.talk {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn try_begin(&self, report: &Report) -> Result<(), Failure> {
        let what = format!("{}: milliseconds of CPU time, ratios of pairs", report.what);
        self.ui.line(&about(&report.host, &format!("{what}; medians")))?;
        versions(&report.present, self.ui)?;
        if report.packages.is_empty() {
            return Ok(());
        }
        self.ui.line(&report.packages.join(", "))
    }

    fn try_row(&mut self, row: &Row) -> Result<(), Failure> {
        if self.ui.json {
            return self.ui.object(json!({ "what": name_of(self.what), "row": row }));
        }
        let table = match self.table.take() {
            Some(table) => table,
            None => {
                let peers: Vec<Peer> = row.cells.iter().map(|cell| cell.peer).collect();
                let table = Table::new(&peers, row.instructions.is_some());
                self.ui.line(&table.heads())?;
                table
            }
        };
        self.ui.line(&self.table.insert(table).row(row))
    }
}

impl Audience for Hall {
    fn doing(&mut self, what: &str) {
        if self.talk {
            // Talk that cannot be written is not missed.
            let _ = write!(io::stderr(), "\r\x1b[K{what}");
        }
    }

    fn begins(&mut self, report: &Report) {
        self.hush();
        if !self.ui.json
            && let Err(failure) = self.try_begin(report)
        {
            self.lost.get_or_insert(failure);
        }
    }

    fn measured(&mut self, row: &Row) {
        self.hush();
        if let Err(failure) = self.try_row(row) {
            self.lost.get_or_insert(failure);
        }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        let code = match error {
            BenchError::Image(error) => return error.into(),
            BenchError::NoCase { .. } => code::USAGE,
            BenchError::NoCompiler
            | BenchError::NoHostCompiler
            | BenchError::NoCpuTime
            | BenchError::NoSuchBoard { .. } => code::UNSUPPORTED,
            BenchError::Compile { .. }
            | BenchError::File { .. }
            | BenchError::Program { .. }
            | BenchError::Ended { .. }
            | BenchError::Slow { .. }
            | BenchError::Garbled { .. }
            | BenchError::Failed { .. }
            | BenchError::NoKernelImage { .. }
            | BenchError::Word { .. }
            | BenchError::Disk(_)
            | BenchError::Create(_) => code::FAILURE,
        };
        Self::new(code, error.to_string())
    }
}
