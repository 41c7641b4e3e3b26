//! A synthetic Debian archive: packages, index and a release file signed with a key made here.

pub(crate) mod server;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use omni_image::Sha256;
use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, DetachedSignature, EncryptionCaps, KeyType,
    SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::ser::Serialize;
use pgp::types::Password;

pub(crate) const KERNEL: &[u8] = b"MZ the kernel, byte for byte";
pub(crate) const KERNEL_VERSION: &str = "6.12.1+deb13-riscv64";

/// How the files of a package are compressed.
#[derive(Clone, Copy)]
pub(crate) enum Packing {
    Gzip,
    Xz,
    Zstd,
}

/// The files of an archive by path, and the key that signs it.
pub(crate) struct Archive {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) key: SignedSecretKey,
}

/// A folder of one test's own, empty.
pub(crate) fn folder(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{count}"));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

pub(crate) fn new_key() -> SignedSecretKey {
    let mut params = SecretKeyParamsBuilder::default();
    params
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .can_encrypt(EncryptionCaps::None)
        .primary_user_id("Archive of a test <a@example.com>".into());
    params.build().unwrap().generate(rand::thread_rng()).unwrap()
}

/// The public half, as a keyring file's bytes.
pub(crate) fn keyring(key: &SignedSecretKey) -> Vec<u8> {
    SignedPublicKey::from(key.clone()).to_bytes().unwrap()
}

impl Archive {
    /// A suite `trixie` with all that an image needs.
    pub(crate) fn new() -> Self {
        let mut archive = Self { files: BTreeMap::new(), key: new_key() };
        let modules = format!("./usr/lib/modules/{KERNEL_VERSION}/kernel");
        let packages = [
            (
                "linux-image-riscv64",
                deb(Packing::Xz, &[]),
                format!("linux-image-{KERNEL_VERSION} (= 1)"),
            ),
            (
                &format!("linux-image-{KERNEL_VERSION}"),
                deb(
                    Packing::Xz,
                    &[
                        (&format!("./boot/vmlinux-{KERNEL_VERSION}"), KERNEL),
                        (
                            &format!("{modules}/drivers/net/virtio_net.ko.xz"),
                            &xz(&module("depends=odd-need\0alias=virtio:d1v*\0")),
                        ),
                        (
                            &format!("{modules}/drivers/virtio/virtio_mmio.ko"),
                            &module("depends=\0"),
                        ),
                        (&format!("{modules}/lib/odd-need.ko.xz"), &xz(&module("depends=\0"))),
                        (&format!("{modules}/lib/unwanted.ko.xz"), b"never looked at"),
                    ],
                ),
                String::new(),
            ),
            (
                "busybox-static",
                deb(Packing::Zstd, &[("./bin/busybox", b"#!busybox")]),
                String::new(),
            ),
            ("e2fsprogs", deb(Packing::Gzip, &[("./sbin/mke2fs", b"mke2fs")]), String::new()),
            ("libext2fs2", library("libext2fs.so.2"), String::new()),
            ("libcom-err2", library("libcom_err.so.2"), String::new()),
            ("libblkid1", library("libblkid.so.1"), String::new()),
            ("libuuid1", library("libuuid.so.1"), String::new()),
            ("libc6", library("libc.so.6"), String::new()),
        ];
        let mut index = String::new();
        for (name, bytes, depends) in packages {
            let path = archive.add_deb(name, bytes);
            index += &archive.entry(name, &path, &depends);
        }
        archive.set_index(&index);
        archive
    }

    /// The same with what a whole system needs: `base` is required and has a file of
    /// configuration, `extra` needs what `other` and `another` provide, `clash` excludes `extra`.
    pub(crate) fn whole() -> Self {
        let mut archive = Self::new();
        let about: &[u8] = b"Package: e2fsprogs\nVersion: 1\nArchitecture: riscv64\n";
        let program: &[(&str, &[u8])] = &[("./sbin/mke2fs", b"mke2fs")];
        archive.add_deb("e2fsprogs", deb_with(Packing::Xz, &[("./control", about)], program));
        let mut index = archive.entries();
        let seeds = "apt dbus debian-archive-keyring dpkg iproute2 iputils-ping kmod netbase \
                     procps systemd systemd-resolved systemd-sysv udev other another";
        let mut packages: Vec<(&str, &str)> = seeds.split_whitespace().map(|n| (n, "")).collect();
        for (name, fields) in &mut packages {
            *fields = if name.ends_with("other") { "Provides: mta\n" } else { *fields };
        }
        packages.push(("base", "Essential: yes\n"));
        packages.push(("extra", "Depends: mta\n"));
        packages.push(("clash", "Conflicts: extra\n"));
        for (name, fields) in packages {
            let about = format!("Package: {name}\nVersion: 1\nArchitecture: riscv64\n{fields}");
            let control = [
                ("./control", about.as_bytes()),
                ("./postinst", b"#!/bin/sh\n"),
                ("./conffiles", b"/etc/base.conf\n"),
            ];
            let readme = format!("./usr/share/doc/{name}");
            let files: &[(&str, &[u8])] = match name {
                "base" => &[("./bin/tool", b"tool"), ("./etc/base.conf", b"conf")],
                _ => &[(&readme, b"read me")],
            };
            let path = archive.add_deb(name, deb_with(Packing::Xz, &control, files));
            let depends = fields.strip_prefix("Depends:").unwrap_or_default().trim();
            index += archive.entry(name, &path, depends).trim_end();
            index += &format!("\n{}\n", if depends.is_empty() { fields } else { "" });
        }
        archive.set_index(&index);
        archive
    }

    /// The entries of the small archive.
    fn entries(&self) -> String {
        let kernel = format!("linux-image-{KERNEL_VERSION}");
        let pool = self.files.keys().filter(|path| path.starts_with("pool/"));
        let entry = |path: &String| {
            let name = path["pool/main/".len()..].split('_').next().unwrap();
            self.entry(name, path, if name == "linux-image-riscv64" { &kernel } else { "" })
        };
        pool.map(entry).collect()
    }

    /// Puts a package file into the pool.
    pub(crate) fn add_deb(&mut self, name: &str, bytes: Vec<u8>) -> String {
        let path = format!("pool/main/{name}_1_riscv64.deb");
        self.files.insert(path.clone(), bytes);
        path
    }

    /// The index' entry of a package file.
    pub(crate) fn entry(&self, name: &str, path: &str, depends: &str) -> String {
        let bytes = &self.files[path];
        format!(
            "Package: {name}\nVersion: 1\nArchitecture: riscv64\nDepends: {depends}\n\
             Filename: {path}\nSize: {}\nSHA256: {}\n\n",
            bytes.len(),
            Sha256::of(bytes)
        )
    }

    /// Makes a text the suite's index and signs a release file for it.
    pub(crate) fn set_index(&mut self, index: &str) {
        let packed = xz(index.as_bytes());
        let release = format!(
            "Origin: Debian\nSuite: stable\nCodename: trixie\n\
             Date: Sat, 12 Sep 2020 07:55:41 UTC\nSHA256:\n \
             {} {} main/binary-riscv64/Packages.xz\n",
            Sha256::of(&packed),
            packed.len()
        );
        self.files.insert("dists/trixie/main/binary-riscv64/Packages.xz".to_owned(), packed);
        self.set_release(&release);
    }

    /// Signs a release file and puts it in place.
    pub(crate) fn set_release(&mut self, release: &str) {
        let signed = CleartextSignedMessage::sign(
            rand::thread_rng(),
            release,
            &self.key.primary_key,
            &Password::empty(),
        );
        let text = signed.unwrap().to_armored_bytes(ArmorOptions::default()).unwrap();
        self.files.insert("dists/trixie/InRelease".to_owned(), text);
        let signature = DetachedSignature::sign_binary_data(
            rand::thread_rng(),
            &self.key.primary_key,
            &Password::empty(),
            HashAlgorithm::Sha256,
            release.as_bytes(),
        );
        let signature = signature.unwrap().to_armored_bytes(ArmorOptions::default()).unwrap();
        self.files.insert("dists/trixie/Release".to_owned(), release.as_bytes().to_vec());
        self.files.insert("dists/trixie/Release.gpg".to_owned(), signature);
    }

    /// Changes one byte in the middle of a file.
    pub(crate) fn damage(&mut self, path: &str) {
        let bytes = self.files.get_mut(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
}

fn library(name: &str) -> Vec<u8> {
    deb(Packing::Xz, &[(&format!("./usr/lib/riscv64-linux-gnu/{name}"), name.as_bytes())])
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer =
        lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// A package file with these files, and nothing about it.
pub(crate) fn deb(packing: Packing, files: &[(&str, &[u8])]) -> Vec<u8> {
    deb_with(packing, &[], files)
}

/// A package file with these control files and these files.
pub(crate) fn deb_with(
    packing: Packing,
    control: &[(&str, &[u8])],
    files: &[(&str, &[u8])],
) -> Vec<u8> {
    let plain = tar_of(files);
    let (name, packed) = match packing {
        Packing::Xz => ("data.tar.xz", xz(&plain)),
        Packing::Zstd => ("data.tar.zst", zstd::encode_all(&plain[..], 1).unwrap()),
        Packing::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(&plain).unwrap();
            ("data.tar.gz", writer.finish().unwrap())
        }
    };
    let control = xz(&tar_of(control));
    let mut outer = ar::Builder::new(Vec::new());
    for (name, bytes) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar.xz", &control), (name, &packed)]
    {
        let header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
        outer.append(&header, bytes).unwrap();
    }
    outer.into_inner().unwrap()
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        // Straight into the field: the tar crate refuses the paths that some tests need.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// An object file with nothing but a `.modinfo` section.
fn module(info: &str) -> Vec<u8> {
    const NAMES: &[u8] = b"\0.modinfo\0.shstrtab\0";
    let sections = [(0, 0, 0, 0), (1, 1, 64, info.len()), (10, 3, 64 + info.len(), NAMES.len())];
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let table = 64 + info.len() + NAMES.len();
    out.extend([1_u16, 243].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(1_u32.to_le_bytes());
    out.extend([0, 0, table as u64].iter().flat_map(|n: &u64| n.to_le_bytes()));
    out.extend(0_u32.to_le_bytes());
    out.extend([64_u16, 0, 0, 64, 3, 2].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(info.as_bytes());
    out.extend(NAMES);
    for (name, kind, offset, size) in sections {
        out.extend([name, kind].iter().flat_map(|n: &u32| n.to_le_bytes()));
        out.extend([0, 0, offset as u64, size as u64].iter().flat_map(|n: &u64| n.to_le_bytes()));
        out.extend([0_u32, 0].iter().flat_map(|n| n.to_le_bytes()));
        out.extend([1_u64, 0].iter().flat_map(|n| n.to_le_bytes()));
    }
    out
}
