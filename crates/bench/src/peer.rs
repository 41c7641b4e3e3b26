//! Who is measured: this host, QEMU, RVVM, Omnivisor in each of its tiers; how each is started.

use crate::BenchError;
use omni_engine::Without;
use omni_image::Arch;
use serde::{Serialize, Serializer};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The kind of machine that is measured.
pub(crate) const KIND: &str = "riscv-virt";

/// The verb by which a program of ours becomes a machine; see [`crate::run_machine`].
pub const MACHINE_VERB: &str = "bench-machine";

/// The variable by which a program of ours is told its tier, and what it is told.
pub const TIER_VARIABLE: &str = "OMNI_TIER";
const INTERPRET: &str = "interp";
const COMPILE: &str = "jit";

/// The variable by which a program of ours is told what to do without: names of
/// [`Without::NAMES`], with commas between.
pub const WITHOUT_VARIABLE: &str = "OMNI_WITHOUT";

const QEMU_SYSTEM: &str = "qemu-system-riscv64";
const QEMU_USER: &str = "qemu-riscv64";

/// The variable by which a program of ours is told to take samples of itself, and what the files
/// are called, but for their endings, to which it writes them when it ends.
pub const FLAME_VARIABLE: &str = "OMNI_FLAME";

/// The variable by which a program of ours is told of files with symbols of what guests run.
pub const SYMBOLS_VARIABLE: &str = "OMNI_SYMBOLS";

/// Names a binary of RVVM.
const RVVM_VARIABLE: &str = "RVVM";

/// A way in which Omnivisor runs a guest's code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tier {
    /// All tiers that this host has: what a machine gets that asks for nothing.
    All,
    /// The interpreter alone.
    Interp,
    /// All tiers, without one technique.
    Without(Technique),
}

/// A technique of the translator that can be left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Technique(usize);

impl Technique {
    /// What machines without each are called, in the order of [`Without::NAMES`].
    const PEERS: [&'static str; Without::NAMES.len()] = [
        "without-sharing",
        "without-registers",
        "without-pairs",
        "without-floats",
        "without-traces",
        "without-links",
        "without-moves",
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Without::NAMES.len()).map(Self)
    }

    /// The name, as [`WITHOUT_VARIABLE`] takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Without::NAMES[self.0]
    }
}

/// Where something runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Peer {
    /// As a program of this host.
    Native,
    /// As a RISC-V Linux program under QEMU's user mode.
    QemuUser,
    /// On QEMU's `virt` board.
    Qemu,
    /// On RVVM's board.
    Rvvm,
    /// On Omnivisor's board.
    Omni(Tier),
}

impl Peer {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::QemuUser => "qemu-user",
            Self::Qemu => "qemu",
            Self::Rvvm => "rvvm",
            Self::Omni(Tier::All) => "omni",
            Self::Omni(Tier::Interp) => "omni-interp",
            Self::Omni(Tier::Without(technique)) => Technique::PEERS[technique.0],
        }
    }

    /// Whether it is one of ours.
    #[must_use]
    pub fn is_omni(self) -> bool {
        matches!(self, Self::Omni(_))
    }
}

impl Serialize for Peer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// A peer that was compared with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Present {
    /// Which one.
    pub peer: Peer,
    /// What it says of its version.
    pub version: String,
}

/// A peer that was not, and how to get it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Missing {
    /// Which one.
    pub peer: Peer,
    /// Why not.
    pub why: String,
    /// The command that helps; empty where none does.
    pub get: String,
}

/// The peers that can be measured here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Field {
    /// In the order of reports.
    pub(crate) peers: Vec<Peer>,
    pub(crate) present: Vec<Present>,
    pub(crate) missing: Vec<Missing>,
}

impl Field {
    /// Adds a peer if its program answers.
    pub(crate) fn look_for(&mut self, peer: Peer) {
        let (program, package) = match peer {
            Peer::QemuUser => (QEMU_USER.into(), "qemu-user"),
            Peer::Qemu => (QEMU_SYSTEM.into(), "qemu-system-misc"),
            Peer::Rvvm => match env::var_os(RVVM_VARIABLE) {
                Some(program) => (program, ""),
                // Nobody has it unless by hand, so nobody misses it.
                None => return,
            },
            Peer::Native | Peer::Omni(_) => return self.peers.push(peer),
        };
        let known = if peer == Peer::Rvvm { rvvm_version(&program) } else { version_of(&program) };
        let Some(version) = known else {
            let get =
                if package.is_empty() { String::new() } else { format!("apt install {package}") };
            let why = format!("{} does not run", program.to_string_lossy());
            return self.missing.push(Missing { peer, why, get });
        };
        self.present.push(Present { peer, version });
        self.peers.push(peer);
    }

    /// Leaves out a peer that failed; the others can still be compared.
    pub(crate) fn leave_out(&mut self, peer: Peer, why: &BenchError) {
        self.peers.retain(|other| *other != peer);
        self.missing.push(Missing { peer, why: why.to_string(), get: String::new() });
    }
}

/// How programs of ours take samples of themselves.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// The folder for what each of them finds: a file `NUMBER.folded`, and a graph of it.
    pub folder: PathBuf,
    /// Files with the names of what guests run.
    pub symbols: Vec<PathBuf>,
}

impl Sampled {
    /// With one file more that has names.
    pub(crate) fn with(&self, symbols: &Path) -> Self {
        let more = [symbols.to_owned()];
        let symbols = self.symbols.iter().cloned().chain(more).collect();
        Self { folder: self.folder.clone(), symbols }
    }

    /// Tells a program, which gets a number of its own.
    fn tell(&self, command: &mut Command) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        command.env(FLAME_VARIABLE, self.folder.join(number));
        // A name with a colon cannot be told: its file is not read then.
        let symbols = env::join_paths(&self.symbols).unwrap_or_default();
        command.env(SYMBOLS_VARIABLE, symbols);
    }
}

/// What a board starts from; the same for all who have boards.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    /// Memory, such as 512M.
    pub(crate) memory: String,
    pub(crate) start: Start,
    /// Firmware for those who bring none; it starts what lies 2 MiB above the start of RAM.
    pub(crate) firmware: Option<PathBuf>,
    /// A disk, which nobody writes to.
    pub(crate) disk: Option<PathBuf>,
    /// Whether ours takes samples of itself.
    pub(crate) sampled: Option<Sampled>,
}

/// The software of a board.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// A program that needs no firmware.
    Bare(PathBuf),
    /// A kernel, its initial RAM disk and its command line.
    Linux { kernel: PathBuf, initrd: PathBuf, append: String },
}

impl Board {
    /// The program that is this board at a peer that has boards. `us` is our own program;
    /// `scratch` is a folder for files that live as long as the board.
    pub(crate) fn command(
        &self,
        peer: Peer,
        us: &Path,
        scratch: &Path,
    ) -> Result<Command, BenchError> {
        match peer {
            Peer::Omni(tier) => Ok(self.ours(tier, us)),
            Peer::Rvvm => self.rvvm(scratch),
            Peer::Qemu | Peer::QemuUser | Peer::Native => Ok(self.qemu()),
        }
    }

    fn ours(&self, tier: Tier, us: &Path) -> Command {
        let mut command = Command::new(us);
        command.arg(MACHINE_VERB).arg(format!("memory={}", self.memory));
        let mut file = |role: &str, path: &Path| {
            let mut word = OsString::from(format!("{role}@"));
            word.push(path);
            command.arg(word);
        };
        match &self.start {
            Start::Bare(program) => file("image", program),
            Start::Linux { kernel, initrd, append } => {
                file("kernel", kernel);
                file("initrd", initrd);
                command.arg(format!("append={append}"));
            }
        }
        if let Some(disk) = &self.disk {
            let mut word = OsString::from("disk@");
            word.push(disk);
            command.arg(word);
        }
        let (tier, without) = match tier {
            Tier::All => (COMPILE, ""),
            Tier::Interp => (INTERPRET, ""),
            Tier::Without(technique) => (COMPILE, technique.name()),
        };
        command.env(TIER_VARIABLE, tier).env(WITHOUT_VARIABLE, without);
        if let Some(sampled) = &self.sampled {
            sampled.tell(&mut command);
        }
        command
    }

    /// QEMU's board with a console on standard input and output, and nothing that ours has not.
    fn qemu(&self) -> Command {
        let mut command = Command::new(QEMU_SYSTEM);
        command.args(["-M", "virt", "-smp", "1", "-m", &self.memory, "-accel", "tcg"]);
        command.args(["-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio"]);
        match &self.start {
            Start::Bare(program) => command.args(["-bios", "none", "-kernel"]).arg(program),
            Start::Linux { kernel, initrd, append } => {
                command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
                command.args(["-append", append])
            }
        };
        if let Some(disk) = &self.disk {
            let disk = disk.display();
            command.args(["-device", "virtio-blk-device,drive=disk", "-drive"]);
            command.arg(format!("file={disk},format=raw,if=none,id=disk,snapshot=on"));
        }
        command
    }

    fn rvvm(&self, scratch: &Path) -> Result<Command, BenchError> {
        let no_board = || BenchError::NoSuchBoard { who: Peer::Rvvm.name() };
        let firmware = self.firmware.as_ref().filter(|_| self.disk.is_none());
        let firmware = firmware.ok_or_else(no_board)?;
        let Start::Linux { kernel, initrd, append } = &self.start else {
            return Err(no_board());
        };
        let (payload, initrd) = crate::payload::join(kernel, initrd, &scratch.join("payload"))?;
        let mut command = Command::new(env::var_os(RVVM_VARIABLE).unwrap_or_default());
        command.arg(firmware).arg("-k").arg(payload).args(["-m", &self.memory]);
        command.args(["-nogui", "-nonet", "-cmdline"]).arg(format!("{append} {initrd}"));
        Ok(command)
    }
}

/// A program of RISC-V Linux under QEMU's user mode.
pub(crate) fn under_qemu_user(program: &Path) -> Command {
    let mut command = Command::new(QEMU_USER);
    command.arg(program);
    command
}

/// The architecture of this host, if Debian has programs for it.
pub(crate) fn host_arch() -> Option<Arch> {
    env::consts::ARCH.parse().ok()
}

/// The first line of what a program says of its version, where it is installed.
fn version_of(program: &std::ffi::OsStr) -> Option<String> {
    let asked = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let output = asked.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

/// RVVM knows no option for its version: its help has it, after a picture.
fn rvvm_version(program: &std::ffi::OsStr) -> Option<String> {
    let output = Command::new(program).arg("-help").stdin(Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| line.contains("RVVM"))?;
    Some(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_technique_is_called_by_its_name() {
        for technique in Technique::all() {
            let name = Peer::Omni(Tier::Without(technique)).name();
            assert_eq!(name.strip_prefix("without-"), Some(technique.name()));
        }
        assert_eq!(Technique::all().count(), Technique::PEERS.len());
    }
}
