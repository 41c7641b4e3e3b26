//! The name of an image that can be built: `debian[:SUITE]` or `debian-minimal[:SUITE]`, for one
//! architecture.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ImageError;

/// The suite that `debian` alone stands for.
pub const SUITE_DEFAULT: &str = "trixie";

/// Suite names are short words; this keeps them usable as parts of paths and addresses.
const SUITE_BYTES_MAX: usize = 40;

/// An architecture that Debian is built for and an image can be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit RISC-V, RV64GC.
    #[serde(rename = "riscv64")]
    Riscv64,
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    #[serde(rename = "aarch64")]
    Aarch64,
}

impl Arch {
    /// The name used on the command line and in images.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Riscv64 => "riscv64",
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's name of it.
    #[must_use]
    pub const fn debian(self) -> &'static str {
        match self {
            Self::Riscv64 => "riscv64",
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The package that depends on the newest stock kernel.
    #[must_use]
    pub const fn kernel_package(self) -> &'static str {
        match self {
            Self::Riscv64 => "linux-image-riscv64",
            Self::X86_64 => "linux-image-amd64",
            Self::Aarch64 => "linux-image-arm64",
        }
    }

    /// What is added to the kernel's command line where the system is on a disk. Where no terminal
    /// is attached, root is logged in at the console without being asked.
    #[must_use]
    pub(crate) const fn disk_cmdline(terminal: bool) -> &'static str {
        if terminal {
            "root=/dev/vda rw"
        } else {
            "root=/dev/vda rw systemd.set_credential=agetty.autologin:root \
             systemd.set_credential=login.noauth:yes TERM=dumb"
        }
    }

    /// The kernel's command line where the user gives none.
    #[must_use]
    pub const fn cmdline(self) -> &'static str {
        match self {
            Self::Riscv64 | Self::X86_64 => "console=ttyS0",
            Self::Aarch64 => "console=ttyAMA0",
        }
    }

    /// The kernel's command line where a terminal is attached, if that is another.
    #[must_use]
    pub const fn cmdline_terminal(self) -> Option<&'static str> {
        match self {
            Self::Riscv64 => Some("console=hvc0"),
            Self::X86_64 | Self::Aarch64 => None,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Arch {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        match text {
            "riscv64" => Ok(Self::Riscv64),
            "x86_64" | "amd64" => Ok(Self::X86_64),
            "aarch64" | "arm64" => Ok(Self::Aarch64),
            _ => Err(ImageError::BadArch(text.to_owned())),
        }
    }
}

/// What `debian[:SUITE]` or `debian-minimal[:SUITE]` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    suite: String,
    minimal: bool,
}

impl Reference {
    /// Whether the text is meant as such a name at all, well-formed or not.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        let (distribution, _) = text.split_once(':').unwrap_or((text, ""));
        ["debian", "debian-minimal"].contains(&distribution)
    }

    /// The suite, as `trixie`.
    #[must_use]
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// Whether only a kernel and a shell are meant, without a system on a disk.
    #[must_use]
    pub fn minimal(&self) -> bool {
        self.minimal
    }

    /// The name of the image's folder for an architecture, as `debian-trixie-riscv64`.
    #[must_use]
    pub fn image_name(&self, arch: Arch) -> String {
        let minimal = if self.minimal { "minimal-" } else { "" };
        format!("debian-{minimal}{}-{arch}", self.suite)
    }
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let bad = || ImageError::BadReference(text.to_owned());
        let (distribution, suite) = text.split_once(':').unwrap_or((text, SUITE_DEFAULT));
        let minimal = match distribution {
            "debian" => false,
            "debian-minimal" => true,
            _ => return Err(bad()),
        };
        // Releases are also known by number.
        let suite = match suite {
            "12" => "bookworm",
            "13" => "trixie",
            named => named,
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let starts_well = suite.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts_well || suite.len() > SUITE_BYTES_MAX || !suite.chars().all(plain) {
            return Err(bad());
        }
        Ok(Self { suite: suite.to_owned(), minimal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(text: &str) -> Option<String> {
        text.parse::<Reference>().ok().map(|r| r.suite().to_owned())
    }

    #[test]
    fn a_reference_names_a_suite_and_nothing_that_could_leave_a_folder() {
        assert_eq!(suite("debian").as_deref(), Some("trixie"));
        assert_eq!(suite("debian:bookworm").as_deref(), Some("bookworm"));
        assert_eq!(suite("debian:13").as_deref(), Some("trixie"));
        for bad in ["", "debian:", "ubuntu", "debian:../x", "debian:a/b", "debian:-x", "Debian"] {
            assert_eq!(suite(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_minimal_image_has_a_name_of_its_own() {
        for (text, name) in [
            ("debian", "debian-trixie-riscv64"),
            ("debian-minimal", "debian-minimal-trixie-riscv64"),
            ("debian-minimal:sid", "debian-minimal-sid-riscv64"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert!(Reference::is_meant(text));
            assert_eq!(reference.image_name(Arch::Riscv64), name);
        }
        assert!(!Reference::is_meant("debian-minimal.img"));
    }

    #[test]
    fn every_architecture_is_known_by_both_its_names() {
        for arch in [Arch::Riscv64, Arch::X86_64, Arch::Aarch64] {
            assert_eq!(arch.name().parse::<Arch>().unwrap(), arch);
            assert_eq!(arch.debian().parse::<Arch>().unwrap(), arch);
        }
        assert!("vax".parse::<Arch>().is_err());
    }
}
