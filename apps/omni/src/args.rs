//! The command line.

use crate::bench::BenchArgs;
use crate::disks::DiskVerb;
use crate::switches;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Runs virtual machines of every kind.
#[derive(Debug, Parser)]
#[command(name = "omni", version, about, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: the guest's own for 'run'; 1 failure, 2 usage or unknown \
    image, 3 no such machine, 4 exists already, 5 wrong state, 7 not permitted, 8 not supported \
    here, 9 data damaged, 10 replay diverged, 124 timeout, 125 omni itself failed.")]
pub(crate) struct Cli {
    /// Results as JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a machine from IMAGE, run it, attach its console
    Run(RunArgs),
    /// Make a machine without running it
    Create(MachineArgs),
    /// Start machines that do not run
    Start {
        /// Attach the console of the one machine
        #[arg(long, short)]
        attach: bool,
        #[command(flatten)]
        schedule: Schedule,
        /// From now on, record everything that enters the machines
        #[arg(long)]
        record: bool,
        #[command(flatten)]
        machines: Machines,
    },
    /// Ask the guest to end, and end it after a while
    Stop {
        /// How long the guest has: 10s unless given, 1s for programs
        #[arg(long, short, value_parser = duration)]
        time: Option<Duration>,
        #[command(flatten)]
        machines: Machines,
    },
    /// End machines at once
    Kill(Machines),
    /// Hold machines
    Pause(Machines),
    /// Let held machines run on
    Resume(Machines),
    /// Wait for machines to end; prints their exit codes
    Wait(Machines),
    /// Remove machines with their snapshots and disks' overlays, or one snapshot MACHINE@TAG
    Rm(RmArgs),
    /// Give a machine another name
    Rename {
        /// Its name or id
        machine: String,
        /// The new name
        name: String,
    },
    /// List machines
    #[command(visible_alias = "ls")]
    Ps {
        /// All of them, which is so anyway
        #[arg(long, short)]
        all: bool,
        /// Ids only
        #[arg(long, short)]
        quiet: bool,
    },
    /// Everything about machines
    Inspect(Machines),
    /// What a machine's console said
    Logs {
        /// Its name or id
        machine: String,
        /// Only the last lines
        #[arg(long, short)]
        tail: Option<usize>,
        /// Go on until the machine ends
        #[arg(long, short)]
        follow: bool,
    },
    /// What live machines use; of those that are named, also what they counted
    Stats {
        /// Names, ids, or unique beginnings of ids
        #[arg(value_name = "MACHINE")]
        machines: Vec<String>,
    },
    /// Ask a guest to make do with less of its memory, or tell what it has given back
    Balloon {
        /// Its name or id
        machine: String,
        /// What it is to keep, such as 256M; all of it gives it all back
        #[arg(value_parser = size)]
        size: Option<u64>,
    },
    /// Join a machine's console
    Attach {
        /// Its name or id
        machine: String,
    },
    /// Let GDB at a live machine, forward and backward
    Debug {
        /// Its name or id
        machine: String,
        /// Where GDB is waited for: ADDRESS:PORT, PORT, unix:PATH, or stdio; 127.0.0.1:1234 unless
        /// given
        #[arg(long, value_name = "WHERE")]
        listen: Option<String>,
    },
    /// Take a snapshot of a live machine: memory, devices and disks of one instant
    Snapshot(SnapshotArgs),
    /// The tree of a machine's snapshots
    Snapshots {
        /// Its name or id
        #[arg(required_unless_present = "group")]
        machine: Option<String>,
        /// Those of all machines on a switch
        #[arg(long, value_name = "SWITCH", conflicts_with = "machine")]
        group: Option<String>,
    },
    /// Make a machine go on from a snapshot of it, whether it runs now or not
    Restore(RestoreArgs),
    /// Make machines that go on from a live one, or from a snapshot, with identities of their own
    Fork(ForkArgs),
    /// In what two snapshots differ: pages by space, and records
    Diff {
        /// One snapshot
        #[arg(value_name = "MACHINE@TAG")]
        one: String,
        /// The other
        #[arg(value_name = "MACHINE@TAG")]
        other: String,
    },
    /// Write a snapshot with its disks into one file that needs nothing else
    Export {
        /// The snapshot; of a live machine one is taken
        #[arg(value_name = "MACHINE[@TAG]")]
        machine: String,
        /// The file
        file: PathBuf,
    },
    /// Make a machine from an exported file; 'restore' lets it go on
    Import {
        /// The file
        file: PathBuf,
        /// A name for the machine
        #[arg(long)]
        name: Option<String>,
    },
    /// Record everything that enters a live machine, so that any moment can be had again
    Record {
        /// End the recording
        #[arg(long)]
        stop: bool,
        /// Its name or id
        machine: String,
    },
    /// Live a recorded life once more, and see that it is the same at every mark
    Replay {
        /// The machine: its last recording, another, or from a snapshot on that was taken in one
        #[arg(value_name = "MACHINE[@TAG]")]
        machine: String,
        /// Up to here: a tick, TICK/EVENTS, the machine's time (12.5s), or before the end (-10s)
        #[arg(long, value_name = "MOMENT", allow_hyphen_values = true)]
        to: Option<String>,
        /// Show what its console showed, on standard output
        #[arg(long)]
        console: bool,
    },
    /// Make a recorded machine go back, and live on from there; what it leaves is kept
    Rewind {
        /// Its name or id
        machine: String,
        /// How far back, in the machine's time: 10s, 500ms
        #[arg(required_unless_present = "to", conflicts_with = "to")]
        time: Option<String>,
        /// To this moment, as 'replay --to' has it
        #[arg(long, value_name = "MOMENT", allow_hyphen_values = true)]
        to: Option<String>,
    },
    /// Where a machine is on its timeline, and what of it is recorded
    When {
        /// Its name or id
        machine: String,
    },
    /// Give room back that no snapshot needs any more
    Gc {
        /// Compress all that is not compressed yet
        #[arg(long)]
        compress: bool,
    },
    /// Images that machines can be made from
    #[command(subcommand)]
    Image(ImageVerb),
    /// Disk images: raw, qcow2, vmdk, vdi, vhd and vhdx
    #[command(subcommand)]
    Disk(DiskVerb),
    /// Switches, and the machines on them
    #[command(subcommand)]
    Net(NetVerb),
    /// Every kind of machine, with what it can do
    Kinds,
    /// Measure speed here, beside native code and other emulators: kernels, programs, boots
    Bench(BenchArgs),
    /// What this host offers, what is missing, and how to get it
    Doctor,
    /// Completion for a shell, on standard output
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// The manual page, on standard output, or all of them into a directory
    Man {
        /// Where to write them
        dir: Option<PathBuf>,
    },
    /// The version of this program
    Version,
    #[command(hide = true)]
    BenchMachine { words: Vec<String> },
    #[command(hide = true)]
    Monitor {
        dir: PathBuf,
        #[arg(long)]
        hold: bool,
        #[arg(long)]
        from: Option<String>,
        #[arg(long)]
        fork: bool,
        #[arg(long)]
        wait: bool,
        #[arg(long)]
        held: bool,
    },
}

/// What a snapshot is taken of.
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    /// Its name or id
    #[arg(required_unless_present = "group")]
    pub(crate) machine: Option<String>,
    /// A name for the snapshot; s1, s2 and so on unless given
    pub(crate) tag: Option<String>,
    /// The same
    #[arg(long = "tag", value_name = "TAG", conflicts_with = "tag")]
    pub(crate) named: Option<String>,
    /// All machines on a switch, with the frames between them: one consistent state
    #[arg(long, value_name = "SWITCH", conflicts_with = "machine")]
    pub(crate) group: Option<String>,
}

/// What is gone back to.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The snapshot; TAG~2 is the second before TAG
    #[arg(value_name = "MACHINE@TAG", required_unless_present = "group")]
    pub(crate) snapshot: Option<String>,
    /// All machines of a snapshot of a switch
    #[arg(long, value_name = "SWITCH@TAG", conflicts_with = "snapshot")]
    pub(crate) group: Option<String>,
    #[command(flatten)]
    pub(crate) schedule: Schedule,
}

/// What is removed.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Kill them first where they run
    #[arg(long, short)]
    pub(crate) force: bool,
    /// A snapshot of all machines on a switch
    #[arg(long, value_name = "SWITCH@TAG", conflicts_with = "machines")]
    pub(crate) group: Option<String>,
    /// Names, ids, or unique beginnings of ids
    #[arg(required_unless_present = "group", value_name = "MACHINE")]
    pub(crate) machines: Vec<String>,
}

/// What is forked, and how.
#[derive(Debug, Args)]
pub(crate) struct ForkArgs {
    /// The machine, or one of its snapshots
    #[arg(value_name = "MACHINE[@TAG]", required_unless_present = "group")]
    pub(crate) machine: Option<String>,
    /// All machines on a switch, as they are or as a snapshot has them; on a switch of their own
    #[arg(long, value_name = "SWITCH[@TAG]", conflicts_with_all = ["machine", "publish", "apart"])]
    pub(crate) group: Option<String>,
    /// How many
    #[arg(long, short, default_value_t = 1)]
    pub(crate) count: u32,
    /// Give each a process of its own, also where the machine is live: by a snapshot
    #[arg(long)]
    pub(crate) apart: bool,
    /// Publish a port of the forks: [ADDR:]HOST:GUEST[/tcp|/udp]; HOST 0 lets the host choose
    #[arg(long, value_name = "HOST:GUEST")]
    pub(crate) publish: Vec<String>,
}

/// What to do with switches.
#[derive(Debug, Subcommand)]
pub(crate) enum NetVerb {
    /// List the switches that machines are on
    Ls,
    /// The machines on a switch: their addresses, whom they reach, and what they counted
    Inspect {
        /// Its name
        switch: String,
    },
}

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageVerb {
    /// List images
    Ls,
    /// Make an image from a distribution's archive
    Build {
        /// Such as debian or debian:trixie; debian-minimal is a kernel and a shell only
        reference: String,
        /// The architecture
        #[arg(long, default_value = "riscv64")]
        arch: String,
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        choices: ChoiceArgs,
    },
    /// Everything about an image
    Inspect {
        /// Its name, such as debian-trixie-riscv64
        name: String,
    },
    /// Remove images
    Rm {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Where images come from.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SourceArgs {
    /// The archive; the host's apt sources unless given
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// The keys that sign the archive; Debian's own unless given
    #[arg(long, value_name = "FILE")]
    pub(crate) keyring: Option<PathBuf>,
}

/// What can be chosen about the system of an image.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ChoiceArgs {
    /// The size of Debian's disk, such as 8G; it takes from the host what is written on it
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) size: Option<u64>,
    /// A package that Debian is to have, with what it depends on
    #[arg(long = "package", value_name = "NAME")]
    pub(crate) packages: Vec<String>,
    /// A user of Debian who may become root by sudo; root has no login of its own then
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
}

/// How virtual CPUs run from now on.
#[derive(Clone, Copy, Default, Debug, Args)]
pub(crate) struct Schedule {
    /// From now on, run each virtual CPU on a thread of its own
    #[arg(long, conflicts_with = "turns")]
    parallel: bool,
    /// From now on, take the virtual CPUs in turns
    #[arg(long)]
    turns: bool,
}

impl Schedule {
    /// Whether they run side by side; nothing where it stays as it was.
    pub(crate) fn parallel(self) -> Option<bool> {
        match (self.parallel, self.turns) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }
}

/// One machine or several.
#[derive(Debug, Args)]
pub(crate) struct Machines {
    /// Names, ids, or unique beginnings of ids
    #[arg(required = true, value_name = "MACHINE")]
    pub(crate) machines: Vec<String>,
}

/// How `run` runs a machine.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Leave it running and print its id
    #[arg(long, short)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

/// How code is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Accel {
    /// The best there is
    Auto,
    /// The host's hardware
    Kvm,
    /// Translation to code of the host
    Jit,
    /// Interpretation alone
    Interp,
}

/// What a machine is made from.
#[derive(Clone, Debug, Args)]
pub(crate) struct MachineArgs {
    /// A Debian release (debian, debian:trixie, debian-minimal) or a file: its content says what
    /// it is
    #[arg(required_unless_present = "kernel")]
    pub(crate) image: Option<String>,
    /// Arguments of the program, where the kind takes them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
    /// A name for it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The kind, rather than by the image's content
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// The architecture
    #[arg(long)]
    pub(crate) arch: Option<String>,
    /// Memory, such as 512M or 2G
    #[arg(long, short, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Virtual CPUs
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<u32>,
    /// A disk image (raw, qcow2, vmdk, vdi, vhd, vhdx), which is not written: changes go to an
    /// overlay of the machine's own. ',ro': the guest may not write; ',follow': the image may name
    /// files outside of its folder; ',format=raw': its content does not tell its format
    #[arg(long = "disk", value_name = "FILE[,ro]")]
    pub(crate) disks: Vec<String>,
    /// A kernel
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    /// An initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,
    /// The kernel's command line; with a Debian image, added to its own
    #[arg(long, value_name = "TEXT")]
    pub(crate) append: Option<String>,
    /// Firmware to start with
    #[arg(long, value_name = "FILE")]
    pub(crate) firmware: Option<PathBuf>,
    /// A WebAssembly module whose exports a program imports by the name 'library'
    #[arg(long, value_name = "FILE")]
    pub(crate) library: Option<PathBuf>,
    /// What a network interface is connected to: user (the host's network, by NAT), switch:NAME
    /// (other machines), or none at all; once for each interface
    #[arg(long = "net", value_name = "user|none|switch:NAME", value_parser = switches::net)]
    pub(crate) nets: Vec<String>,
    /// A port of the host that leads to one of the guest
    #[arg(long, value_name = "HOST:GUEST")]
    pub(crate) publish: Vec<String>,
    /// A folder of the host that a program may use, and the program's name for it
    #[arg(long = "dir", value_name = "HOST[:GUEST]")]
    pub(crate) dirs: Vec<String>,
    /// A variable of a program's environment
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// Instructions after which a program is ended
    #[arg(long, value_name = "N")]
    pub(crate) fuel: Option<u64>,
    /// A label
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// An option of the kind, as 'omni kinds' lists them
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) options: Vec<(String, String)>,
    /// Remove the machine when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// Kill the machine after this time, and exit with 124
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Let the host hold pages once that are like those of other machines (KSM): less memory, but
    /// guests can learn by the time that writes take whether others have a page too
    #[arg(long)]
    pub(crate) share: bool,
    /// Take a snapshot when the machine ends, however it does
    #[arg(long)]
    pub(crate) snapshot_on_exit: bool,
    /// Record everything that enters the machine, so that any moment can be had again
    #[arg(long)]
    pub(crate) record: bool,
    /// How code is run; auto takes what OMNI_TIER says (jit or interp), else the fastest
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) accel: Accel,
    /// Take the virtual CPUs in turns, so that a run can be repeated exactly
    #[arg(long)]
    pub(crate) turns: bool,
    /// Run each virtual CPU on a thread of its own: faster where there are several, and never
    /// twice the same
    #[arg(long, conflicts_with = "turns")]
    pub(crate) parallel: bool,
    /// The seed of all entropy, so that a run can be repeated
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Write the memory between begin_signature and end_signature here at exit
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) choices: ChoiceArgs,
}

impl MachineArgs {
    /// An image, and nothing else that is asked for.
    pub(crate) fn of(image: &str) -> Self {
        let parsed = Cli::try_parse_from(["omni", "create", image]);
        match parsed.map(|cli| cli.verb) {
            Ok(Verb::Create(args)) => args,
            other => unreachable!("a name is an image: {other:?}"),
        }
    }
}

/// A size in bytes: `512M`, `4G`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = "a size is a number and K, M, G or T, such as 4G";
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit: u64 = match unit.to_ascii_uppercase().as_str() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err(wrong.into()),
    };
    let number = digits.parse::<u64>().map_err(|_| wrong)?;
    number.checked_mul(unit).filter(|&bytes| bytes > 0).ok_or_else(|| wrong.into())
}

/// A time: `500ms`, `30s`, `2m`, `1h`; without a unit, seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let ms: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time is a number and ms, s, m or h".into()),
    };
    let number = digits.parse::<u64>().map_err(|_| "a time is a number and ms, s, m or h")?;
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(|| "too long".into())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    if key.is_empty() { Err("the name is empty".into()) } else { Ok((key.into(), value.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_size_is_a_number_with_a_unit_and_not_nothing() {
        assert_eq!(size("4G"), Ok(4 << 30));
        assert_eq!(size("512m"), Ok(512 << 20));
        assert_eq!(size("4096"), Ok(4096));
        for bad in ["", "G", "0", "4X", "-1", "1.5G", "99999999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "-1s", "1d", "1.5s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
