//! What a measurement in a guest takes from Debian's archive, made once and kept: the stock
//! kernel, a root with a shell, and programs for the guest and for this host.

use crate::BenchError;
use crate::compile::at;
use crate::peer::{Field, Peer, host_arch};
use omni_base::Digest;
use omni_image::{Arch, DebianBuilder, ExtraFile, Keyring, Mirror, Programs, Progress, Reference};
use omni_image::{PackageInfo, Retry, SUITE_DEFAULT};
use std::fs;
use std::path::{Path, PathBuf};

/// What a guest says when its first program runs.
pub(crate) const BEGUN: &str = "omni-bench-init";

/// What it says when it takes lines of a shell.
pub(crate) const READY: &str = "omni-bench-ready";

/// The guest's first program: a shell that does what the console says.
const INIT: &str = "#!/usr/bin/busybox sh
echo omni-bench-init
export PATH=/usr/bin:/usr/sbin HOME=/ LC_ALL=C PYTHONHASHSEED=0
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox stty -echo
echo omni-bench-ready
while read -r line; do eval \"$line\"; done
busybox poweroff -f
";

/// The package of a shell that needs no library.
const SHELL: &str = "busybox-static";

/// The package of a firmware, and its file in there.
const FIRMWARE: (&str, &str) = ("opensbi", "usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.bin");

/// Where assets come from and where they are kept.
pub struct Assets<'p> {
    /// Folder of what was made.
    pub cache: PathBuf,
    /// Folder of downloads, shared with the making of images.
    pub downloads: PathBuf,
    /// The archive; the host's apt sources where none is given.
    pub mirror: Option<Mirror>,
    /// The keys that sign it; Debian's own where none are given.
    pub keyring: Option<PathBuf>,
    /// A kernel rather than the archive's newest.
    pub kernel: Option<PathBuf>,
    /// Told how far downloads are.
    pub progress: &'p mut dyn Progress,
}

/// Programs for a guest and for this host, out of the same packages.
#[derive(Clone, Debug)]
pub(crate) struct ProgramSet {
    /// An initial RAM disk.
    pub(crate) initrd: PathBuf,
    /// A folder like a root; none where Debian has no programs for this host.
    pub(crate) native: Option<PathBuf>,
    /// The packages, with their versions.
    pub(crate) packages: Vec<String>,
}

impl Assets<'_> {
    /// The kernel.
    pub(crate) fn kernel(&mut self) -> Result<PathBuf, BenchError> {
        if let Some(kernel) = &self.kernel {
            return Ok(kernel.clone());
        }
        let path = self.cache.join(format!("kernel-{SUITE_DEFAULT}"));
        if !path.is_file() {
            let kernel = self.builder(Arch::Riscv64)?.kernel()?;
            keep(&path, &kernel)?;
        }
        Ok(path)
    }

    /// Firmware for a board of someone who brings none: nothing where nobody needs it.
    pub(crate) fn firmware(&mut self, field: &Field) -> Result<Option<PathBuf>, BenchError> {
        if !field.peers.contains(&Peer::Rvvm) {
            return Ok(None);
        }
        let root = self.unpacked(&[FIRMWARE.0], Arch::Riscv64, FIRMWARE.0)?;
        Ok(Some(root.join(FIRMWARE.1)))
    }

    /// An initial RAM disk with a shell and these files.
    pub(crate) fn initrd(&mut self, files: &[ExtraFile<'_>]) -> Result<PathBuf, BenchError> {
        let base = self.cache.join(format!("root-{SUITE_DEFAULT}-{}", digest(&[])));
        if !base.is_file() {
            let shell = self.builder(Arch::Riscv64)?.programs(&[SHELL])?;
            keep(&base, &shell.to_initrd(&[init()]))?;
        }
        let path = self.cache.join(format!("initrd-{}", digest(files)));
        if !path.is_file() {
            // A kernel unpacks one archive after the other.
            let mut bytes = fs::read(&base).map_err(at(&base))?;
            bytes.extend_from_slice(&Programs::default().to_initrd(files));
            keep(&path, &bytes)?;
        }
        Ok(path)
    }

    /// The programs of these packages beside a shell; in the guest with these files.
    pub(crate) fn programs(
        &mut self,
        names: &[&str],
        files: &[ExtraFile<'_>],
    ) -> Result<ProgramSet, BenchError> {
        let names = [&[SHELL], names].concat();
        let which = Digest::of_parts(names.iter().map(|name| name.as_bytes())).short();
        let list = self.cache.join(format!("programs-{SUITE_DEFAULT}-{which}.list"));
        let initrd = self.cache.join(format!("programs-{which}-{}", digest(files)));
        if !initrd.is_file() || !list.is_file() {
            let programs = self.builder(Arch::Riscv64)?.programs(&names)?;
            let files = [&[init()], files].concat();
            keep(&initrd, &programs.to_initrd(&files))?;
            let listed = programs.packages.iter().filter(|package| names.contains(&&*package.name));
            let listed: Vec<String> = listed.map(named).collect();
            keep(&list, listed.join("\n").as_bytes())?;
        }
        let native = match host_arch() {
            Some(arch) => Some(self.unpacked(&names, arch, &which.to_string())?),
            None => None,
        };
        let listed = fs::read_to_string(&list).map_err(at(&list))?;
        Ok(ProgramSet { initrd, native, packages: listed.lines().map(str::to_owned).collect() })
    }

    /// A folder with the programs of these packages.
    fn unpacked(&mut self, names: &[&str], arch: Arch, which: &str) -> Result<PathBuf, BenchError> {
        let root = self.cache.join(format!("programs-{SUITE_DEFAULT}-{arch}-{which}"));
        if !root.is_dir() {
            let fresh = root.with_extension(std::process::id().to_string());
            self.builder(arch)?.programs(names)?.write_to(&fresh)?;
            // One that was faster made the same.
            if fs::rename(&fresh, &root).is_err() {
                let _ = fs::remove_dir_all(&fresh);
            }
        }
        Ok(root)
    }

    fn builder(&mut self, arch: Arch) -> Result<DebianBuilder<'_>, BenchError> {
        fs::create_dir_all(&self.cache).map_err(at(&self.cache))?;
        let reference: Reference = "debian".parse()?;
        Ok(DebianBuilder {
            mirror: self.mirror.clone(),
            reference,
            arch,
            cache: self.downloads.clone(),
            keyring: self.keyring.as_deref().map(Keyring::from_file).transpose()?,
            retry: Retry::default(),
            progress: self.progress,
        })
    }
}

fn init() -> ExtraFile<'static> {
    ("init", 0o755, INIT.as_bytes())
}

fn named(package: &PackageInfo) -> String {
    format!("{} {}", package.name, package.version)
}

/// A name for these files and the first program.
fn digest(files: &[ExtraFile<'_>]) -> String {
    let parts = files.iter().flat_map(|(path, _, bytes)| [path.as_bytes(), bytes]);
    Digest::of_parts([INIT.as_bytes()].into_iter().chain(parts)).short().to_string()
}

/// Writes a file so that whoever measures at the same time sees all of it or nothing.
fn keep(path: &Path, bytes: &[u8]) -> Result<(), BenchError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(at(folder))?;
    }
    let fresh = path.with_extension(std::process::id().to_string());
    fs::write(&fresh, bytes).map_err(at(&fresh))?;
    fs::rename(&fresh, path).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_program_says_what_is_waited_for() {
        assert!(INIT.contains(&format!("echo {BEGUN}\n")));
        assert!(INIT.contains(&format!("echo {READY}\n")));
    }
}
