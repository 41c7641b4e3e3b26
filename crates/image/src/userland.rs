//! The system that an image has on its disk: what may be chosen about it, the packages it begins
//! with, and the files in it that are ours.

use serde::{Deserialize, Serialize};

use crate::error::ImageError;
use crate::reference::Arch;

/// The size of a disk where none is chosen.
pub const DISK_BYTES_DEFAULT: u64 = 4 << 30;

/// Disks are sparse files; this only keeps sizes within what a file system of this make can have.
const DISK_BYTES_MAX: u64 = 8 << 40;

/// Names of packages and users are short.
const NAME_BYTES_MAX: usize = 100;
const USER_BYTES_MAX: usize = 32;

/// Besides the packages that every system must have.
const PACKAGES: [&str; 13] = [
    "apt",
    "dbus",
    "debian-archive-keyring",
    "e2fsprogs",
    "iproute2",
    "iputils-ping",
    "kmod",
    "netbase",
    "procps",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "udev",
];

/// What a user may choose about the system on an image's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// The size of the disk in bytes; zero: [`DISK_BYTES_DEFAULT`].
    pub disk_bytes: u64,
    /// Packages to be installed besides what every system has.
    pub packages: Vec<String>,
    /// A user who may become root, and then root's own login is closed.
    pub user: Option<String>,
}

impl Choices {
    /// The size of the disk in bytes.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        if self.disk_bytes == 0 { DISK_BYTES_DEFAULT } else { self.disk_bytes }
    }

    /// Whether names are ones that can be, and the size is one that a disk can have.
    ///
    /// # Errors
    /// [`ImageError::BadChoice`] where not.
    pub fn check(&self) -> Result<(), ImageError> {
        let bad = |text: String| Err(ImageError::BadChoice(text));
        for name in &self.packages {
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            let plain = name.chars().all(|c| letter(c) || "+-.".contains(c));
            if !plain || !name.starts_with(letter) || name.len() > NAME_BYTES_MAX {
                return bad(format!("{name:?} cannot be the name of a package"));
            }
        }
        if let Some(name) = &self.user {
            let first = |c: char| c.is_ascii_lowercase() || c == '_';
            let plain = name.chars().all(|c| first(c) || c.is_ascii_digit() || c == '-');
            if !plain || !name.starts_with(first) || name.len() > USER_BYTES_MAX {
                return bad(format!("{name:?} cannot be the name of a user"));
            }
            if name == "root" {
                return bad("the user root is there anyway: choose another name".to_owned());
            }
        }
        if self.disk_bytes() > DISK_BYTES_MAX || !self.disk_bytes.is_multiple_of(4096) {
            return bad("the disk's size must be a multiple of 4K, and at most 8T".to_owned());
        }
        Ok(())
    }

    /// The packages that the system begins with, before what they need.
    pub(crate) fn seeds(&self, https: bool) -> Vec<String> {
        let own = PACKAGES.iter().map(|&name| name.to_owned());
        let sudo = self.user.as_ref().map(|_| "sudo".to_owned());
        let certificates = https.then(|| "ca-certificates".to_owned());
        own.chain(sudo).chain(certificates).chain(self.packages.iter().cloned()).collect()
    }
}

/// Where a system fetches its packages from.
pub(crate) struct Source {
    /// The archive's address.
    pub(crate) address: String,
    /// Its suites.
    pub(crate) suites: Vec<String>,
}

/// What the system's files say about it.
pub(crate) struct About<'a> {
    pub(crate) codename: &'a str,
    pub(crate) kernel_version: &'a str,
    pub(crate) dpkg_version: &'a str,
    pub(crate) arch: Arch,
    pub(crate) sources: &'a [Source],
    pub(crate) choices: &'a Choices,
}

/// A file: path, mode and content.
pub(crate) type OwnFile = (String, u32, String);

/// Files that are the same in every system.
const FILES: [(&str, u32, &str); 9] = [
    ("etc/hostname", 0o644, "omnivisor\n"),
    (
        "etc/hosts",
        0o644,
        "127.0.0.1 localhost\n127.0.1.1 omnivisor\n::1 localhost ip6-localhost ip6-loopback\n",
    ),
    ("etc/fstab", 0o644, "/dev/vda / ext4 rw,errors=remount-ro,x-systemd.growfs 0 0\n"),
    (
        "etc/systemd/network/80-ethernet.network",
        0o644,
        "[Match]\nType=ether\n\n[Network]\nDHCP=yes\n",
    ),
    (
        "etc/systemd/system/omnivisor-ssh-keys.service",
        0o644,
        include_str!("../rootfs/ssh-keys.service"),
    ),
    ("etc/profile.d/omnivisor.sh", 0o644, include_str!("../rootfs/console.sh")),
    // Translations of descriptions take as long to fetch as all else does.
    ("etc/apt/apt.conf.d/90omnivisor", 0o644, "Acquire::Languages \"none\";\n"),
    // What is typed ahead is the next command, and not for apt to take or throw away.
    (
        "usr/lib/omnivisor/apt.conf",
        0o644,
        "Dpkg::Use-Pty \"false\";\nDpkg::FlushStdin \"false\";\nquiet \"1\";\n",
    ),
    ("var/lib/omnivisor/setup", 0o755, include_str!("../rootfs/setup")),
];

/// What the console says when root has been logged in at it and typing begins to count.
pub(crate) fn banner(codename: &str, kernel_version: &str) -> String {
    format!("omnivisor: Debian {codename}, kernel {kernel_version}, root shell")
}

/// Every file of the system that is ours.
pub(crate) fn files(about: &About<'_>) -> Vec<OwnFile> {
    let fixed = FILES.iter().map(|&(path, mode, text)| (path.to_owned(), mode, text.to_owned()));
    let user = about.choices.user.as_deref().unwrap_or_default();
    let made = [
        ("usr/lib/omnivisor/banner", banner(about.codename, about.kernel_version) + "\n"),
        ("etc/apt/sources.list.d/debian.sources", sources(about.sources)),
        ("var/lib/omnivisor/choices", format!("USER_NAME={user}\n")),
        ("var/lib/omnivisor/kernel", format!("{}\n", about.kernel_version)),
        ("var/lib/omnivisor/arch", format!("{}\n", about.arch.debian())),
        ("var/lib/omnivisor/dpkg-version", format!("{}\n", about.dpkg_version)),
    ];
    fixed.chain(made.map(|(path, text)| (path.to_owned(), 0o644, text))).collect()
}

/// The list of sources, as apt reads it.
fn sources(sources: &[Source]) -> String {
    let entries = sources.iter().map(|source| {
        format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
            source.address,
            source.suites.join(" ")
        )
    });
    entries.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_more_than_names_are_refused() {
        let check = |packages: &[&str], user: Option<&str>| {
            let packages = packages.iter().map(|&name| name.to_owned()).collect();
            Choices { packages, user: user.map(str::to_owned), disk_bytes: 0 }.check()
        };
        assert!(check(&["g++-14", "libx.y"], Some("ann_1")).is_ok());
        for bad in ["", "A", "a b", "../x", "a;b", "-x", "a\n"] {
            assert!(check(&[bad], None).is_err(), "{bad:?}");
        }
        for bad in ["", "root", "Ann", "a b", "a;b", "1a", "-a", "a$(x)"] {
            assert!(check(&[], Some(bad)).is_err(), "{bad:?}");
        }
        assert!(Choices { disk_bytes: 5000, ..Choices::default() }.check().is_err());
        assert!(Choices { disk_bytes: 9 << 40, ..Choices::default() }.check().is_err());
    }

    #[test]
    fn a_user_brings_the_means_to_become_root() {
        let choices = Choices { user: Some("ann".to_owned()), ..Choices::default() };
        assert!(choices.seeds(false).contains(&"sudo".to_owned()));
        assert!(!Choices::default().seeds(false).contains(&"sudo".to_owned()));
        assert!(Choices::default().seeds(true).contains(&"ca-certificates".to_owned()));
    }
}
