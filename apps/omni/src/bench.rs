//! The verb `bench`: speed here, beside the peers that are installed.

use crate::failure::{Failure, code};
use crate::ui::{Ui, stderr_is_terminal};
use clap::Args;
use omni_bench::{
    BOOT_HEADS, BenchError, BootOptions, BootReport, HEADS, Host, Missing, Options, Present,
    Report, measure, measure_boot,
};
use omni_control::Dirs;
use omni_image::{Arch, Image, Reference};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;

/// The word among kernels' names that means the boot to a shell.
const BOOT: &str = "boot";

/// The image that is booted where no files are given.
const IMAGE: &str = "debian";

/// Least runs and boots of what is measured in full, and of a quick look.
const RUNS: u32 = 5;
const RUNS_QUICK: u32 = 3;
const BOOTS: u32 = 3;
const BOOTS_QUICK: u32 = 1;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Kernels of the suite, or boot; all of them unless given
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// A fifth of the work, fewer runs
    #[arg(long, short)]
    quick: bool,
    /// Runs of each, of which the median counts
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: Option<u32>,
    /// For boot: a kernel, rather than that of the image debian
    #[arg(long, value_name = "FILE", requires = "initrd")]
    kernel: Option<PathBuf>,
    /// For boot: an initial RAM disk with a shell
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// For boot: the kernel's command line
    #[arg(long, value_name = "TEXT", default_value = "console=ttyS0")]
    append: String,
    /// For boot: what the console says when a shell waits
    #[arg(long, value_name = "TEXT", default_value = ":~# ")]
    prompt: String,
    /// For boot: memory
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    memory: String,
}

/// Measures and reports. Fails where someone computed what others did not.
pub(crate) fn run(args: &BenchArgs, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let names: Vec<String> = args.names.iter().filter(|name| *name != BOOT).cloned().collect();
    let asked_to_boot = args.names.iter().any(|name| name == BOOT);
    let mut talk = Talk { on: stderr_is_terminal() };
    let suite = match args.names.is_empty() || !names.is_empty() {
        true => Some(measure_suite(args, names, dirs, &mut talk)?),
        false => None,
    };
    let boot = match boot_options(args, dirs)? {
        Some(options) if asked_to_boot || args.names.is_empty() => {
            Some(measure_boot(&options, &mut |peer| talk.of(&format!("boot: {}", peer.name())))?)
        }
        None if asked_to_boot => {
            let why = format!("there is nothing to boot: omni image build {IMAGE}");
            return Err(Failure::new(code::FAILURE, why));
        }
        _ => None,
    };
    talk.end();
    if boot.is_none() && args.names.is_empty() {
        ui.say(&format!("omni: no boot is measured; for one, first: omni image build {IMAGE}"));
    }
    if ui.json {
        ui.object(json!({ "suite": suite, "boot": boot }))?;
    } else {
        print(suite.as_ref(), boot.as_ref(), ui)?;
    }
    let wrong: Vec<&str> =
        suite.iter().flat_map(Report::disagreements).map(|row| row.kernel.name).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(code::FAILURE, format!("not all computed the same: {}", wrong.join(", "))))
}

fn measure_suite(
    args: &BenchArgs,
    kernels: Vec<String>,
    dirs: &Dirs,
    talk: &mut Talk,
) -> Result<Report, Failure> {
    let runs = args.runs.unwrap_or(if args.quick { RUNS_QUICK } else { RUNS });
    let options = Options { kernels, runs, quick: args.quick, cache: dirs.cache.join("bench") };
    Ok(measure(&options, &mut |kernel| talk.of(&format!("{}: {}", kernel.name, kernel.about)))?)
}

/// What would be booted; nothing where no image was made.
fn boot_options(args: &BenchArgs, dirs: &Dirs) -> Result<Option<BootOptions>, Failure> {
    let (kernel, initrd, append) = match (&args.kernel, &args.initrd) {
        (Some(kernel), Some(initrd)) => (kernel.clone(), initrd.clone(), args.append.clone()),
        _ => {
            let reference: Reference = IMAGE.parse()?;
            let name = reference.image_name(Arch::Riscv64);
            let Ok(image) = Image::open(&dirs.images(), &name) else { return Ok(None) };
            (image.kernel(), image.initrd(), image.info.cmdline.clone())
        }
    };
    let runs = args.runs.unwrap_or(if args.quick { BOOTS_QUICK } else { BOOTS });
    let (prompt, memory) = (args.prompt.clone(), args.memory.clone());
    Ok(Some(BootOptions { kernel, initrd, append, prompt, memory, runs }))
}

fn print(suite: Option<&Report>, boot: Option<&BootReport>, ui: Ui) -> Result<(), Failure> {
    if let Some(report) = suite {
        ui.line(&about(&report.host, "milliseconds of CPU time, and ratios of it; medians"))?;
        notes(&report.present, &report.missing, ui)?;
        ui.table(HEADS, &report.table())?;
    }
    if suite.is_some() && boot.is_some() {
        ui.line("")?;
    }
    if let Some(report) = boot {
        ui.line(&about(&report.host, &format!("medians of {}", report.runs)))?;
        notes(&report.present, &report.missing, ui)?;
        ui.table(BOOT_HEADS, &report.table())?;
    }
    Ok(())
}

/// Where it was measured: figures of a busy host are worth less.
fn about(host: &Host, what: &str) -> String {
    format!("{}, {} CPUs, load {:.1} before; {what}", host.cpu, host.cpus, host.load)
}

fn notes(present: &[Present], missing: &[Missing], ui: Ui) -> Result<(), Failure> {
    for one in present {
        ui.line(&format!("{}: {}", one.peer.name(), one.version))?;
    }
    for one in missing {
        let help = if one.get.is_empty() { String::new() } else { format!(": {}", one.get) };
        ui.say(&format!("omni: {} is not measured, {}{help}", one.peer.name(), one.why));
    }
    Ok(())
}

/// Progress, on one line that is written over.
struct Talk {
    on: bool,
}

impl Talk {
    fn of(&mut self, what: &str) {
        if self.on {
            // Talk that cannot be written is not missed.
            let _ = write!(io::stderr(), "\r\x1b[K{what}");
        }
    }

    fn end(&mut self) {
        if self.on {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        let code = match &error {
            BenchError::NoKernel { .. } => code::USAGE,
            BenchError::NoCompiler | BenchError::NoCpuTime => code::UNSUPPORTED,
            BenchError::Compile { .. }
            | BenchError::File { .. }
            | BenchError::Program { .. }
            | BenchError::Ended { .. }
            | BenchError::Slow { .. }
            | BenchError::Garbled { .. }
            | BenchError::Create(_) => code::FAILURE,
        };
        Self::new(code, error.to_string())
    }
}
