//! The program from outside: verbs of disk images, and machines with disks of every format.

use omni_host::TempDir;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn output(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
    command.env("OMNI_HOME", home.join("home")).current_dir(home);
    command.args(args).stdin(Stdio::null()).output().expect("it can be started")
}

/// The one object that a verb gives.
#[track_caller]
fn object(home: &Path, args: &[&str]) -> Value {
    let output = output(home, &[args, &["--json"]].concat());
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {talk}");
    serde_json::from_slice(&output.stdout).expect("one object")
}

/// The code and the words of a verb that fails.
#[track_caller]
fn failure(home: &Path, args: &[&str]) -> (i32, String) {
    let output = output(home, args);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("not killed"), talk)
}

/// A disk of 3 MiB and a bit with something in it.
fn source(home: &Path) -> Vec<u8> {
    let mut disk = vec![0; (3 << 20) + 512];
    for (at, byte) in disk[100_000..900_000].iter_mut().enumerate() {
        *byte = (at / 11) as u8;
    }
    fs::write(home.join("disk.raw"), &disk).expect("room");
    disk
}

#[test]
fn a_disk_goes_through_every_format_and_comes_back_equal() {
    let dir = TempDir::new("verbs-disk").expect("a writable host");
    let (home, disk) = (dir.path(), source(dir.path()));
    let steps: [(&str, &[&str]); 8] = [
        ("a.qcow2", &[]),
        ("b.vmdk", &[]),
        ("c.vdi", &[]),
        ("d.vhd", &[]),
        ("e.vhdx", &[]),
        ("f.vmdk", &["--subformat", "streamOptimized"]),
        ("g", &["-f", "qcow2", "--compress=zstd"]),
        ("h.qcow2", &["-c"]),
    ];
    let mut from = "disk.raw";
    for (to, flags) in steps {
        let made = object(home, &[&["disk", "convert", from, to], flags].concat());
        assert_eq!(made["bytes"], disk.len(), "{to}");
        let check = object(home, &["disk", "check", to]);
        assert_eq!((&check["leaks"], &check["corruptions"]), (&0.into(), &0.into()), "{to}");
        let info = object(home, &["disk", "info", to]);
        assert_eq!(info["api"], "omni/v1");
        assert_eq!(info["format"], made["format"], "{to}");
        from = to;
    }
    object(home, &["disk", "convert", from, "end.raw"]);
    assert!(fs::read(home.join("end.raw")).expect("made") == disk);
    let text = output(home, &["disk", "info", "b.vmdk"]);
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(text.contains("vmdk (monolithicSparse)") && text.contains("3146240 bytes"), "{text}");
}

#[test]
fn a_new_image_can_be_above_another_and_grows_and_shrinks() {
    let dir = TempDir::new("verbs-create").expect("a writable host");
    let (home, disk) = (dir.path(), source(dir.path()));
    object(home, &["disk", "create", "top.qcow2", "--backing", "disk.raw"]);
    let info = object(home, &["disk", "info", "top.qcow2"]);
    assert_eq!(info["bytes"], disk.len());
    assert_eq!(info["backing"]["name"], "disk.raw");
    assert_eq!(info["below"][0]["format"], "raw");
    let grown = object(home, &["disk", "resize", "top.qcow2", "+1G"]);
    assert_eq!(grown["bytes"], disk.len() + (1 << 30));
    let (code, talk) = failure(home, &["disk", "resize", "top.qcow2", "2M"]);
    assert!(code == 2 && talk.contains("--shrink"), "{code}: {talk}");
    object(home, &["disk", "resize", "top.qcow2", "2M", "--shrink"]);
    let (code, talk) = failure(home, &["disk", "resize", "top.qcow2", "4M"]);
    assert!(code == 8 && talk.contains("below"), "what was cut off would show: {talk}");
    object(home, &["disk", "resize", "disk.raw", "1M", "--shrink"]);
    object(home, &["disk", "resize", "top.qcow2", "4M"]);
    object(home, &["disk", "convert", "top.qcow2", "whole.raw"]);
    let mut expected = disk[..1 << 20].to_vec();
    expected.resize(4 << 20, 0);
    assert!(fs::read(home.join("whole.raw")).expect("made") == expected);
    let (code, talk) =
        failure(home, &["disk", "create", "none.vdi", "1M", "--backing", "disk.raw"]);
    assert!(code == 2 && talk.contains("only qcow2"), "{code}: {talk}");
    assert!(!home.join("none.vdi").exists());
}

#[test]
fn exit_codes_tell_what_was_wrong() {
    let dir = TempDir::new("verbs-codes").expect("a writable host");
    let home = dir.path();
    source(home);
    object(home, &["disk", "convert", "disk.raw", "disk.qcow2"]);
    let code = |args: &[&str]| failure(home, args);
    assert_eq!(code(&["disk", "convert", "disk.raw", "disk.qcow2"]).0, 4);
    assert_eq!(code(&["disk", "convert", "disk.raw", "disk.raw", "--force"]).0, 2);
    assert_eq!(code(&["disk", "convert", "disk.raw", "disk"]).0, 2, "no format is told");
    assert_eq!(code(&["disk", "info", "missing"]).0, 2);
    assert_eq!(code(&["disk", "create", "x.qed", "1M"]).0, 2);
    assert_eq!(code(&["disk", "check", "disk.qcow2"]).0, 0);
    let file = fs::File::options().read(true).write(true).open(home.join("disk.qcow2"));
    let file = file.expect("made");
    let mut table = [0; 8];
    file.read_exact_at(&mut table, 48).expect("a header");
    let mut block = [0; 8];
    file.read_exact_at(&mut block, u64::from_be_bytes(table)).expect("a table");
    // One count too many is lost space; one too few is damage.
    file.write_all_at(&[0, 2], u64::from_be_bytes(block) + 2).expect("room");
    let (leaked, talk) = code(&["disk", "check", "disk.qcow2"]);
    // The flag of the cluster is wrong then too.
    assert!(leaked == 9 || leaked == 1, "{leaked}: {talk}");
    let size = file.metadata().expect("there").len() / 65536;
    file.write_all_at(&[0, 1], u64::from_be_bytes(block) + 2).expect("room");
    file.write_all_at(&[0, 1], u64::from_be_bytes(block) + 2 * size).expect("room");
    file.set_len((size + 1) * 65536).expect("room");
    assert_eq!(code(&["disk", "check", "disk.qcow2"]).0, 1, "only lost space");
    file.write_all_at(&[0, 0], u64::from_be_bytes(block) + 2).expect("room");
    assert_eq!(code(&["disk", "check", "disk.qcow2"]).0, 9);
    file.write_all_at(&[0, 0, 0, 99], 20).expect("room");
    let (damaged, talk) = code(&["disk", "info", "disk.qcow2"]);
    assert!(damaged == 9 && talk.contains("cluster_bits"), "{damaged}: {talk}");
}

#[test]
fn a_machine_is_told_what_its_disk_reads_and_gets_nothing_outside_unasked() {
    let dir = TempDir::new("verbs-run").expect("a writable host");
    let home = dir.path();
    source(home);
    fs::create_dir(home.join("own")).expect("room");
    fs::write(home.join("program"), program()).expect("room");
    object(home, &["disk", "create", "own/top.qcow2", "--backing", "../disk.raw"]);
    let create = |name: &str, disk: &str| {
        failure(home, &["create", "--name", name, "--memory", "16M", "--disk", disk, "program"])
    };
    let (code, talk) = create("one", "own/top.qcow2");
    assert!(code == 2 && talk.contains("disk.raw") && talk.contains("follow"), "{code}: {talk}");
    let (code, talk) = create("two", "own/top.qcow2,ro,follow");
    assert!(code == 0 && talk.contains("disk.raw too"), "{code}: {talk}");
    let (code, talk) = create("three", "own/top.qcow2,format=raw");
    assert!(code == 0 && !talk.contains("too"), "{code}: {talk}");
    for (name, format) in [("a.vmdk", "vmdk"), ("b.vdi", "vdi"), ("c.vhd", "vhd"), ("d.vhdx", "x")]
    {
        object(home, &["disk", "convert", "disk.raw", name]);
        assert_eq!(create(format, name).0, 0, "{name}");
        let all = object(home, &["inspect", format]);
        assert_eq!(all["disks"][0]["bytes"], (3 << 20) + 512, "{name}");
    }
    // It runs: a disk of this format is there, and the program ends.
    let (code, talk) =
        failure(home, &["run", "--rm", "--memory", "16M", "--disk", "d.vhdx", "program"]);
    assert_eq!(code, 3, "{talk}");
}

/// A program for the board that ends with 3, as an ELF file.
fn program() -> Vec<u8> {
    // lui a0, 0x100; lui a1, 0x33; addi a1, a1, 0x333; sw a1, 0(a0); j to itself
    let code: [u32; 5] = [0x0010_0537, 0x0003_35b7, 0x3335_8593, 0x00b5_2023, 0x0000_006f];
    let start = 0x8000_0000_u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0\x01\0\0\0".to_vec();
    file.extend([start, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    let halves: [u16; 8] = [0, 0, 64, 56, 1, 64, 0, 0];
    file.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    file.resize(64, 0);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    let size = 20_u64;
    let segment = [0x1000, start, start, size, size, 0x1000];
    file.extend(segment.iter().flat_map(|word| word.to_le_bytes()));
    file.resize(0x1000, 0);
    file.extend(code.iter().flat_map(|insn| insn.to_le_bytes()));
    file
}
