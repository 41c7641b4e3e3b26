//! The first file systems: busybox, drivers and the script that is the first process. One is a
//! small system of its own, one sets a disk up, and one leads to what is on a disk.

use crate::cpio::Tree;
use crate::deb::{Content, Member, fits};
use crate::modules::Modules;

/// Packages besides the kernel, and the files of theirs that go into the image.
pub(crate) const PARTS: [Part; 7] = [
    Part { packages: &["busybox-static"], files: &["usr/bin/busybox"] },
    Part {
        packages: &["e2fsprogs"],
        files: &["usr/sbin/mke2fs", "usr/sbin/mkfs.ext*", "etc/mke2fs.conf"],
    },
    Part {
        packages: &["libext2fs2t64", "libext2fs2"],
        files: &["usr/lib/*/libext2fs.so.2*", "usr/lib/*/libe2p.so.2*"],
    },
    Part { packages: &["libcom-err2"], files: &["usr/lib/*/libcom_err.so.2*"] },
    Part { packages: &["libblkid1"], files: &["usr/lib/*/libblkid.so.1*"] },
    Part { packages: &["libuuid1"], files: &["usr/lib/*/libuuid.so.1*"] },
    Part {
        packages: &["libc6"],
        files: &["usr/lib/*/libc.so.6", "usr/lib/*ld-linux*", "usr/lib64/ld-linux*"],
    },
];

/// A package and what is taken from it.
pub(crate) struct Part {
    /// Its names in different releases, of which one must exist.
    pub(crate) packages: &'static [&'static str],
    /// Patterns of paths; the first must be there.
    pub(crate) files: &'static [&'static str],
}

/// What a first process does to be woken seldom, by path and content.
const QUIET: (&str, &str) = ("etc/quiet", include_str!("../rootfs/quiet"));

/// Files that are text and the same in every image.
const FILES: [(&str, u32, &str); 11] = [
    ("init", 0o755, include_str!("../rootfs/init")),
    (QUIET.0, 0o644, QUIET.1),
    ("etc/console", 0o755, include_str!("../rootfs/console")),
    ("etc/profile", 0o644, include_str!("../rootfs/profile")),
    ("etc/udhcpc.script", 0o755, include_str!("../rootfs/udhcpc.script")),
    ("usr/sbin/mkfs.vfat", 0o755, include_str!("../rootfs/mkfs.vfat")),
    ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n"),
    ("etc/group", 0o644, "root:x:0:\ntty:x:5:\n"),
    ("etc/hostname", 0o644, "omnivisor\n"),
    ("etc/hosts", 0o644, "127.0.0.1 localhost omnivisor\n::1 localhost\n"),
    // What `mount` tries without -t; the kernel loads the driver when it is asked for.
    ("etc/filesystems", 0o644, "ext4\nvfat\n"),
];

/// The modules by which a kernel finds a disk.
const DISK_MODULES: [&str; 5] =
    ["virtio_mmio", "virtio_pci", "virtio_blk", "ext4", "crc32c_generic"];

/// The archive of what sets a disk up: the same programs, another first process.
pub(crate) fn build_setup(
    kernel_version: &str,
    modules: &Modules,
    tables: Vec<Member>,
    members: Vec<Member>,
) -> Vec<u8> {
    let mut tree = skeleton();
    tree.file("init", 0o755, include_str!("../rootfs/setup-init"));
    fill(&mut tree, kernel_version, modules, tables.into_iter().chain(members));
    tree.to_cpio()
}

/// The archive of what leads to the system on a disk: no more than that takes.
pub(crate) fn build_disk(
    kernel_version: &str,
    modules: &Modules,
    tables: Vec<Member>,
    members: &[Member],
) -> Vec<u8> {
    let mut tree = skeleton();
    tree.file("init", 0o755, include_str!("../rootfs/disk-init"));
    tree.file(QUIET.0, 0o644, QUIET.1);
    // The kernel calls it for what a driver needs by another name, as the checksums of ext4.
    tree.link("usr/sbin/modprobe", "/usr/bin/busybox");
    let busybox = members.iter().filter(|member| fits(PARTS[0].files[0], &member.path)).cloned();
    fill(
        &mut tree,
        kernel_version,
        &modules.only(&DISK_MODULES),
        tables.into_iter().chain(busybox),
    );
    tree.to_cpio()
}

/// The archive of the small system, for a kernel of this version of a release of this name.
pub(crate) fn build(
    codename: &str,
    kernel_version: &str,
    modules: &Modules,
    tables: Vec<Member>,
    members: Vec<Member>,
) -> Vec<u8> {
    let mut tree = skeleton();
    for (path, mode, text) in FILES {
        tree.file(path, mode, text);
    }
    let banner = format!("omnivisor: Debian {codename}, kernel {kernel_version}, busybox shell\n");
    tree.file("etc/motd", 0o644, banner);

    fill(&mut tree, kernel_version, modules, tables.into_iter().chain(members));
    tree.to_cpio()
}

/// Folders, links and devices that all have.
fn skeleton() -> Tree {
    let mut tree = Tree::default();
    for path in ["dev", "etc", "mnt", "proc", "run", "sys", "usr/bin", "usr/sbin", "usr/lib"] {
        tree.dir(path, 0o755);
    }
    tree.dir("root", 0o700);
    tree.dir("tmp", 0o1777);
    tree.dir("var/log", 0o755);
    for (link, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")] {
        tree.link(link, target);
    }
    tree.link("var/run", "/run");
    tree.link("var/tmp", "/tmp");
    tree.link("usr/bin/sh", "busybox");
    tree.device("dev/console", 0o600, 5, 1);
    tree.device("dev/null", 0o666, 1, 3);
    tree
}

/// Adds modules with their tables, and files of packages.
fn fill(
    tree: &mut Tree,
    kernel_version: &str,
    modules: &Modules,
    members: impl Iterator<Item = Member>,
) {
    let folder = format!("usr/lib/modules/{kernel_version}");
    for module in modules.iter() {
        tree.file(&format!("{folder}/{}", module.path), 0o644, module.bytes.as_slice());
    }
    tree.file(&format!("{folder}/modules.dep"), 0o644, modules.dep_table());
    tree.file(&format!("{folder}/modules.alias"), 0o644, modules.alias_table());
    for member in members {
        match member.content {
            Content::File { executable, bytes } => {
                let mode = if executable { 0o755 } else { 0o644 };
                tree.file(&member.path, mode, bytes);
            }
            Content::Link(target) => tree.link(&member.path, &target),
        }
    }
    // On 64-bit x86 programs name their loader below /lib64.
    if tree.holds("usr/lib64") {
        tree.link("lib64", "usr/lib64");
    }
}
