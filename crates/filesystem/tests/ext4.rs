//! File systems that `mke2fs` makes and `debugfs` changes, on whole disks and in partitions.
#![allow(clippy::print_stdout, reason = "says what was skipped")]

use omni_base::{PAGE_SIZE, PageNo};
use omni_filesystem::{Change, FileChange, differences, volumes};
use omni_host::TempDir;
use omni_memory::{Image, Page};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DISK_BYTES: usize = 4 << 20;

/// A program of e2fsprogs; a test whose program is absent says so and passes.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = places.map(|place| place.join(name)).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: {name} is not installed (package e2fsprogs)");
    }
    found
}

fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("it starts").success(), "{command:?}");
}

/// A disk with some files, and the same after commands of `debugfs`.
fn before_and_after(dir: &Path, commands: &[&str]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mke2fs, debugfs) = (program("mke2fs")?, program("debugfs")?);
    let (tree, disk) = (dir.join("tree"), dir.join("disk"));
    for folder in ["etc", "home/ann", "var"] {
        fs::create_dir_all(tree.join(folder)).expect("writable");
    }
    for file in ["etc/passwd", "etc/motd", "home/ann/note", "var/log"] {
        fs::write(tree.join(file), file.repeat(1000)).expect("writable");
    }
    std::os::unix::fs::symlink("motd", tree.join("etc/issue")).expect("writable");
    fs::write(&disk, vec![0; DISK_BYTES]).expect("writable");
    run(Command::new(mke2fs).args(["-q", "-F", "-t", "ext4", "-d"]).arg(&tree).arg(&disk));
    let before = fs::read(&disk).expect("readable");
    fs::write(dir.join("new"), "new\n".repeat(5000)).expect("writable");
    let script = dir.join("script");
    fs::write(&script, commands.join("\n").replace("NEW", &dir.join("new").display().to_string()))
        .expect("writable");
    run(Command::new(debugfs).arg("-w").arg("-f").arg(&script).arg(&disk));
    Some((before, fs::read(&disk).expect("readable")))
}

/// An image with these bytes from `start` on, below `head`.
fn image(head: &[u8], start: usize, bytes: &[u8]) -> Image {
    let mut all = vec![0; start + bytes.len()];
    all[..head.len()].copy_from_slice(head);
    all[start..].copy_from_slice(bytes);
    let mut image = Image::default();
    for (no, page) in (0..).zip(all.chunks(PAGE_SIZE)) {
        let page = Page::new(page.try_into().expect("whole pages"));
        image.set(PageNo(no), page).expect("in memory");
    }
    image
}

const COMMANDS: &[&str] = &[
    "rm /home/ann/note",
    "mkdir /srv",
    "write NEW /srv/data",
    "rm /var/log",
    "write NEW /var/log",
    "set_inode_field /etc/passwd uid 7",
    "rm /etc/issue",
    "symlink /etc/issue passwd",
];

const EXPECTED: &[(&str, Change)] = &[
    ("/etc/issue", Change::Changed),
    ("/etc/passwd", Change::Changed),
    ("/home/ann/note", Change::Removed),
    ("/srv", Change::Added),
    ("/srv/data", Change::Added),
    ("/var/log", Change::Changed),
];

fn named(partition: Option<u32>) -> Vec<FileChange> {
    let change = |(path, change): &(&str, Change)| FileChange {
        partition,
        path: (*path).to_owned(),
        change: *change,
    };
    EXPECTED.iter().map(change).collect()
}

#[test]
fn files_that_were_changed_are_named_and_no_others() {
    let dir = TempDir::new("files").expect("writable");
    let Some((before, after)) = before_and_after(dir.path(), COMMANDS) else { return };
    let (old, new) = (image(&[], 0, &before), image(&[], 0, &after));
    let bytes = DISK_BYTES as u64;
    assert_eq!(differences(&old, &new, bytes).expect("sound"), named(None));
    assert_eq!(differences(&old, &old, bytes).expect("sound"), []);
    let added = differences(&Image::default(), &old, bytes).expect("sound");
    assert!(added.iter().all(|file| file.change == Change::Added), "{added:?}");
    assert!(added.iter().any(|file| file.path == "/home/ann/note"), "{added:?}");
}

#[test]
fn file_systems_in_partitions_are_found_by_either_table() {
    let dir = TempDir::new("files-in-parts").expect("writable");
    let Some((before, after)) = before_and_after(dir.path(), COMMANDS) else { return };
    let start: u64 = 1 << 20;
    let (first, sectors) = (start / 512, before.len() as u64 / 512);
    let mut mbr = vec![0; 512];
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr[446 + 16 + 4] = 0x83;
    mbr[446 + 16 + 8..][..4].copy_from_slice(&u32::try_from(first).expect("small").to_le_bytes());
    mbr[446 + 16 + 12..][..4]
        .copy_from_slice(&u32::try_from(sectors).expect("small").to_le_bytes());
    let mut gpt = vec![0; 512 * 34];
    gpt[510..512].copy_from_slice(&[0x55, 0xaa]);
    gpt[446 + 4] = 0xee;
    gpt[512..520].copy_from_slice(b"EFI PART");
    gpt[512 + 72..][..8].copy_from_slice(&2u64.to_le_bytes());
    gpt[512 + 80..][..4].copy_from_slice(&128u32.to_le_bytes());
    gpt[512 + 84..][..4].copy_from_slice(&128u32.to_le_bytes());
    let entry = &mut gpt[1024 + 128..][..128];
    entry[..16].fill(0x0f);
    entry[32..40].copy_from_slice(&first.to_le_bytes());
    entry[40..48].copy_from_slice(&(first + sectors - 1).to_le_bytes());
    for head in [mbr, gpt] {
        let at = usize::try_from(start).expect("small");
        let (old, new) = (image(&head, at, &before), image(&head, at, &after));
        let bytes = start + before.len() as u64;
        let found = volumes(&old, bytes).expect("readable");
        assert_eq!(found.iter().map(|volume| volume.start).collect::<Vec<_>>(), [start]);
        assert_eq!(differences(&old, &new, bytes).expect("sound"), named(Some(2)));
    }
}

#[test]
fn a_damaged_file_system_is_refused_in_words_or_read() {
    let dir = TempDir::new("files-damaged").expect("writable");
    let Some((before, _)) = before_and_after(dir.path(), &[]) else { return };
    let sound = image(&[], 0, &before);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..200 {
        let mut bytes = before.clone();
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Where the tables are, mostly.
            let at = usize::try_from(state >> 33).expect("small") % (bytes.len() / 16);
            bytes[at] ^= 1 << (state >> 30 & 7);
        }
        let damaged = image(&[], 0, &bytes);
        if let Err(error) = differences(&sound, &damaged, DISK_BYTES as u64) {
            assert!(!error.to_string().is_empty());
        }
    }
    let disk = DISK_BYTES as u64;
    assert!(differences(&sound, &sound, disk / 8).is_err(), "it is cut off");
    assert_eq!(differences(&Image::default(), &Image::default(), disk).expect("empty"), []);
}
