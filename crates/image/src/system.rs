//! Builds an image whose disk holds the whole system: every package unpacked and configured, in a
//! machine of its own and not on this host.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::debian::{
    Archive, DebianBuilder, Kernel, fetch_index, now_text, open_release, package_info,
};
use crate::digest::Sha256;
use crate::error::ImageError;
use crate::fetch::Fetcher;
use crate::initramfs;
use crate::keyring::Keyring;
use crate::mirror::Mirror;
use crate::packages::Package;
use crate::progress::Progress;
use crate::reference::Arch;
use crate::resolve::closure;
use crate::seed::Seed;
use crate::store::{DISK, Draft, FORMAT, FileInfo, Image, ImageInfo};
use crate::userland::{self, About, Choices, Source};

/// The kernel's command line of the machine that sets a disk up.
const SETUP_CMDLINE: &str = "console=ttyS0 quiet";

/// How often a suite of updates is asked for.
const PROBES_MAX: u32 = 2;

/// The parts of a kernel's modules that a virtual machine can have a use for.
const MODULES_KEPT: [&str; 17] = [
    "arch/",
    "block/",
    "crypto/",
    "drivers/block/",
    "drivers/char/",
    "drivers/crypto/virtio/",
    "drivers/input/evdev.ko",
    "drivers/md/",
    "drivers/net/",
    "drivers/vhost/",
    "drivers/virtio/",
    "fs/",
    "kernel/",
    "lib/",
    "mm/",
    "net/",
    "virt/",
];

/// What is left out of those: drivers of hardware that is not there.
const MODULES_LEFT: [&str; 10] = [
    "drivers/net/can/",
    "drivers/net/ethernet/",
    "drivers/net/phy/",
    "drivers/net/usb/",
    "drivers/net/wireless/",
    "drivers/net/wwan/",
    "net/bluetooth/",
    "net/mac80211/",
    "net/wireless/",
    "net/nfc/",
];

/// A disk to be set up by a machine. It boots this kernel with this initramfs, with two disks: an
/// empty one of `disk_bytes`, and `seed`, which is only read. On its console come lines that begin
/// with `omni-setup:`, of which the last is `omni-setup: done`; then it powers off. What its first
/// disk then holds is to be at `disk`, with holes where nothing is.
#[derive(Debug)]
pub struct Setup<'s> {
    /// For which machine.
    pub arch: Arch,
    /// The kernel.
    pub kernel: &'s [u8],
    /// The initramfs.
    pub initrd: &'s [u8],
    /// The kernel's command line.
    pub cmdline: &'s str,
    /// The content of the second disk.
    pub seed: &'s Path,
    /// Where the first disk is to be written.
    pub disk: &'s Path,
    /// The size of the first disk.
    pub disk_bytes: u64,
    /// The machine's clock at its start, in seconds since 1970.
    pub epoch_s: u64,
    /// Whether the machine's randomness may be the same each time, so that the disk is. Where
    /// packages were chosen it may not: some make secrets when they are configured.
    pub repeatable: bool,
}

/// Sets up a disk by running a machine.
pub type SetUp<'u> = dyn FnMut(&Setup<'_>, &mut dyn Progress) -> Result<(), ImageError> + 'u;

impl DebianBuilder<'_> {
    /// Fetches what is not in the cache yet and writes the image of a whole system into the folder
    /// of images, in place of an earlier one of the same name.
    ///
    /// # Errors
    /// As of `build`, where the choices cannot be met, and where `set_up` fails.
    pub fn build_system(
        self,
        images: &Path,
        choices: &Choices,
        set_up: &mut SetUp<'_>,
    ) -> Result<Image, ImageError> {
        choices.check()?;
        let (name, arch) = (self.reference.image_name(self.arch), self.arch);
        let mirror = self.mirror.map_or_else(Mirror::of_host, Ok)?;
        let keyring = self.keyring.map_or_else(Keyring::of_host, Ok)?;
        let fetcher = Fetcher::open(&self.cache, self.retry, self.progress)?;
        let suite = self.reference.suite();
        let mut archive = Archive::open(fetcher, mirror, suite, arch, &keyring)?;
        let index = archive.index(&|_| true)?;
        let seeds = choices.seeds(archive.mirror.address().starts_with("https:"));
        for seed in &seeds {
            archive.package(&index, &[seed])?;
        }
        let packages = closure(&index, &seeds)?;
        check_size(choices, &packages)?;
        let [meta, kernel_package] = archive.kernel_packages(&index)?;
        let kernel = archive.kernel(kernel_package)?;
        let (_, parts) = archive.parts(&index)?;
        let sources = archive.sources(&keyring);
        let dpkg = archive.package(&index, &["dpkg"])?;
        let codename = archive.release.codename.clone();
        let about = About {
            codename: &codename,
            kernel_version: &kernel.version,
            dpkg_version: &dpkg.version,
            arch,
            sources: &sources,
            choices,
        };
        let draft = Draft::create(images, &name)?;
        let (seed, disk) = (draft.path("seed"), draft.path(DISK));
        archive.write_seed(&seed, &packages, (kernel_package, &kernel), &about)?;
        let initrd = initramfs::build_setup(
            &kernel.version,
            &kernel.modules,
            kernel.tables.clone(),
            parts.clone(),
        );
        let setup = Setup {
            arch,
            kernel: &kernel.bytes,
            initrd: &initrd,
            cmdline: SETUP_CMDLINE,
            seed: &seed,
            disk: &disk,
            disk_bytes: choices.disk_bytes(),
            epoch_s: epoch_s(&archive.release.date),
            repeatable: choices.packages.is_empty(),
        };
        set_up(&setup, archive.fetcher.progress)?;
        fs::remove_file(&seed).map_err(ImageError::disk("remove", &seed))?;
        let disk = describe(&disk, archive.fetcher.progress)?;
        let initrd = initramfs::build_disk(&kernel.version, &kernel.modules, kernel.tables, &parts);
        let packages = [meta, kernel_package].into_iter().chain(packages);
        let files = [FileInfo::of(&kernel.bytes), FileInfo::of(&initrd), disk];
        let mut info = archive.image_info(name, &kernel.version, files, choices);
        info.packages = packages.map(package_info).collect();
        draft.finish(info, &kernel.bytes, &initrd)
    }
}

impl Archive<'_> {
    /// The description of an image, but for the list of packages.
    fn image_info(
        &self,
        name: String,
        kernel_version: &str,
        [kernel, initrd, disk]: [FileInfo; 3],
        choices: &Choices,
    ) -> ImageInfo {
        let arch = self.arch;
        let console = arch.cmdline_terminal().unwrap_or(arch.cmdline());
        let with_disk = |console, terminal| format!("{console} {}", Arch::disk_cmdline(terminal));
        ImageInfo {
            format: FORMAT,
            name,
            distribution: "debian".to_owned(),
            suite: self.suite.clone(),
            codename: self.release.codename.clone(),
            arch,
            kernel_version: kernel_version.to_owned(),
            cmdline: with_disk(arch.cmdline(), false),
            cmdline_terminal: Some(with_disk(console, true)),
            built: now_text(),
            release_date: self.release.date.clone(),
            signed_by: self.signed_by.clone(),
            packages: Vec::new(),
            kernel,
            initrd,
            disk: Some(disk),
            choices: Some(choices.clone()),
            ready: Some(userland::banner(&self.release.codename, kernel_version)),
        }
    }

    /// Writes what the machine that sets the disk up unpacks.
    fn write_seed(
        &mut self,
        path: &Path,
        packages: &[&Package],
        (kernel_package, kernel): (&Package, &Kernel),
        about: &About<'_>,
    ) -> Result<(), ImageError> {
        // All are fetched before the first is unpacked: the network is what fails most.
        let fetched = packages.iter().map(|package| Ok((*package, self.fetch(package)?)));
        let fetched: Vec<(&Package, PathBuf)> = fetched.collect::<Result<_, ImageError>>()?;
        let mut seed = Seed::create(path)?;
        for (package, file) in &fetched {
            seed.add(package, file, self.fetcher.progress)?;
        }
        let file = self.fetch(kernel_package)?;
        let folder = format!("usr/lib/modules/{}/", kernel.version);
        let wanted = |path: &str| path.strip_prefix(&folder).is_some_and(is_wanted_module);
        seed.add_some(kernel_package, &file, self.fetcher.progress, &wanted)?;
        seed.finish(userland::files(about), path)?;
        Ok(())
    }

    /// Where the system is to fetch packages from: the mirror, with those of its suites of updates
    /// that it has.
    fn sources(&mut self, keyring: &Keyring) -> Vec<Source> {
        let patience = self.fetcher.retry;
        // What is not there at once is done without.
        self.fetcher.retry.attempts = patience.attempts.min(PROBES_MAX);
        let sources = self.find_sources(keyring);
        self.fetcher.retry = patience;
        sources
    }

    fn find_sources(&mut self, keyring: &Keyring) -> Vec<Source> {
        let base = self.mirror.address().to_owned();
        let suite = self.suite.clone();
        let mut suites = vec![suite.clone()];
        let updates = format!("{suite}-updates");
        if self.offers(&base, &updates, keyring) {
            suites.push(updates);
        }
        let mut sources = vec![Source { address: base.clone(), suites }];
        let (address, suite) = (format!("{base}-security"), format!("{suite}-security"));
        if self.offers(&address, &suite, keyring) {
            sources.push(Source { address, suites: vec![suite] });
        }
        sources
    }

    /// Whether there is a suite that apt would take: one that is signed, not out of date, and has
    /// the index that it says it has. All else counts as none.
    fn offers(&mut self, address: &str, suite: &str, keyring: &Keyring) -> bool {
        let arch = self.arch;
        let mut offers = || {
            let mirror = Mirror::new(address)?;
            let (release, _) = open_release(&mut self.fetcher, &mirror, suite, keyring)?;
            fetch_index(&mut self.fetcher, &mirror, suite, &release, arch)
        };
        offers().is_ok()
    }
}

/// Whether a file below a kernel's folder of modules goes onto the disk.
fn is_wanted_module(path: &str) -> bool {
    let Some(module) = path.strip_prefix("kernel/") else {
        // The tables that are not made from the modules themselves.
        return path.starts_with("modules.");
    };
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| module.starts_with(prefix));
    begins(&MODULES_KEPT) && !begins(&MODULES_LEFT)
}

/// Refuses a disk on which the packages do not fit for sure.
fn check_size(choices: &Choices, packages: &[&Package]) -> Result<(), ImageError> {
    let installed: u64 = packages.iter().map(|package| package.installed_bytes).sum();
    // Besides the packages there are modules, records, and the file system itself.
    let needed = installed + installed / 4 + (128 << 20);
    if choices.disk_bytes() < needed {
        let needed = needed >> 20;
        let text =
            format!("the packages do not fit on a disk of this size: choose {needed}M at least");
        return Err(ImageError::BadChoice(text));
    }
    Ok(())
}

/// The clock of the machine that sets the disk up: the date of the release, so that it is the
/// same each time.
fn epoch_s(date: &str) -> u64 {
    let date: Option<Timestamp> = date.parse().ok();
    date.and_then(|date| u64::try_from(date.as_second()).ok()).unwrap_or_default()
}

/// Size and hash of the disk.
fn describe(path: &Path, progress: &mut dyn Progress) -> Result<FileInfo, ImageError> {
    let mut file = File::open(path).map_err(ImageError::disk("open", path))?;
    let size = file.metadata().map_err(ImageError::disk("read", path))?.len();
    progress.begin("hashing the disk", None);
    let sha256 = Sha256::of_reader(&mut file).map_err(ImageError::disk("read", path));
    progress.end();
    Ok(FileInfo { size, sha256: sha256? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_of_hardware_that_is_not_there_are_left_out() {
        for (path, wanted) in [
            ("kernel/drivers/net/tun.ko.xz", true),
            ("kernel/drivers/net/wireguard/wireguard.ko.xz", true),
            ("kernel/drivers/net/wireless/ath/ath.ko.xz", false),
            ("kernel/drivers/gpu/drm/drm.ko.xz", false),
            ("kernel/fs/ext4/ext4.ko.xz", true),
            ("modules.builtin", true),
            ("vdso/vdso.so", false),
        ] {
            assert_eq!(is_wanted_module(path), wanted, "{path}");
        }
    }

    #[test]
    fn the_clock_of_a_setup_is_the_date_of_its_release() {
        assert_eq!(epoch_s("2026-09-12T07:55:41Z"), 1_789_199_741);
        assert_eq!(epoch_s(""), 0);
    }
}
