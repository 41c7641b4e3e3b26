//! Tests of disk images in files.

use super::*;
use crate::TempDir;
use omni_disk::{Target, convert, create};
use std::os::unix::fs::{MetadataExt, symlink};

fn qcow2_above(name: &str) -> Target {
    Target {
        format: Format::Qcow2,
        subformat: None,
        compression: None,
        backing: Some((name.into(), Format::Raw)),
        unique: [1; 16],
        seconds: 0,
        file_name: String::new(),
    }
}

fn make(path: &Path, target: &Target, bytes: u64) {
    let mut file = NewImage::create(path).expect("room");
    create(target, bytes, &mut file).expect("possible");
    file.keep(false).expect("a fresh name");
}

#[test]
fn an_image_gets_the_files_of_its_own_folder_and_no_others_unasked() {
    let dir = TempDir::new("disk-files").expect("a writable host");
    let own = dir.path().join("own");
    fs::create_dir_all(own.join("deeper")).expect("room");
    fs::write(dir.path().join("secret"), vec![7; 4096]).expect("room");
    fs::write(own.join("base"), vec![8; 4096]).expect("room");
    fs::write(own.join("deeper/base"), vec![9; 4096]).expect("room");
    symlink("../secret", own.join("link")).expect("possible");
    let absolute = dir.path().join("secret").to_str().expect("plain").to_owned();
    let outside = ["../secret", &absolute, "link", "deeper/../../secret", "file:../secret"];
    let strange = ["nbd://host/x", "json:{}", "http://host/x", "missing", "fd:3"];
    for (no, name) in outside.iter().chain(&strange).enumerate() {
        let path = own.join(format!("image{no}"));
        make(&path, &qcow2_above(name), 4096);
        let error = DiskImage::open(&DiskSource::new(&path)).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
        let trusted = DiskSource { follow: true, ..DiskSource::new(&path) };
        match DiskImage::open(&trusted) {
            Ok(image) => {
                assert!(outside.contains(name), "{name}");
                assert!(error.contains("--follow"), "{error}");
                let mut page = [0; PAGE_SIZE];
                image.read(PageNo(0), &mut page).expect("readable");
                assert_eq!(page[0], 7);
            }
            Err(error) => assert!(strange.contains(name), "{error}"),
        }
    }
    for (name, byte) in [("base", 8), ("deeper/base", 9), ("file:base", 8)] {
        let path = own.join(format!("good-{byte}-{}", name.len()));
        make(&path, &qcow2_above(name), 4096);
        let image = DiskImage::open(&DiskSource::new(&path)).expect("its own folder");
        let mut page = [0; PAGE_SIZE];
        image.read(PageNo(0), &mut page).expect("readable");
        assert_eq!(page[0], byte, "{name}");
    }
}

#[test]
fn an_image_that_is_its_own_backing_file_is_refused() {
    let dir = TempDir::new("disk-loop").expect("a writable host");
    for (name, below) in [("one", "two"), ("two", "one"), ("self", "self")] {
        let mut target = qcow2_above(below);
        target.backing = Some((below.into(), Format::Qcow2));
        make(&dir.path().join(name), &target, 4096);
    }
    for name in ["one", "self"] {
        let source = DiskSource::new(&dir.path().join(name));
        let error = DiskImage::open(&source).expect_err("a loop").to_string();
        assert!(error.contains("a loop"), "{error}");
    }
}

#[test]
fn a_disk_is_another_one_when_any_of_its_files_has_changed() {
    let dir = TempDir::new("disk-identity").expect("a writable host");
    let (base, top) = (dir.path().join("base"), dir.path().join("top"));
    fs::write(&base, vec![8; 4096]).expect("room");
    make(&top, &qcow2_above("base"), 4096);
    let digest = || DiskImage::open(&DiskSource::new(&top)).expect("sound").digest();
    let first = digest();
    assert_eq!(first, digest());
    fs::write(&base, vec![9; 4097]).expect("room");
    assert_ne!(first, digest());
    let raw = DiskSource { format: Some(Format::Raw), ..DiskSource::new(&top) };
    let raw = DiskImage::open(&raw).expect("any file is raw");
    assert_eq!(raw.digest(), RawFile::open(&top).expect("there").digest());
}

#[test]
fn a_new_image_replaces_nothing_unasked_and_leaves_nothing_behind() {
    let dir = TempDir::new("disk-new").expect("a writable host");
    let path = dir.path().join("disk");
    fs::write(&path, "old").expect("room");
    let begin = || {
        let mut file = NewImage::create(&path).expect("room");
        file.write_all_at(0, b"new").expect("room");
        file
    };
    let error = begin().keep(false).expect_err("the name is taken");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    drop(begin());
    assert_eq!(fs::read(&path).expect("there"), b"old");
    begin().keep(true).expect("asked for");
    assert_eq!(fs::read(&path).expect("there"), b"new");
    assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 1);
}

#[test]
fn a_copy_is_as_sparse_as_the_disk() {
    let dir = TempDir::new("disk-sparse").expect("a writable host");
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let file = File::create(&from).expect("room");
    file.set_len(1 << 33).expect("a sparse file");
    file.write_all_at(&[5; 10_000], 5 << 30).expect("room");
    let source = DiskImage::open(&DiskSource::new(&from)).expect("raw");
    for format in Format::ALL {
        let target = Target { format, backing: None, ..qcow2_above("") };
        let mut new = NewImage::create(&to).expect("room");
        convert(source.chain(), &target, (&to, &mut new), &Processors, &mut |_| {})
            .expect("possible");
        new.keep(true).expect("room");
        let taken = fs::metadata(&to).expect("there").blocks() * 512;
        assert!(taken < 8 << 20, "{format}: {taken}");
        let again = DiskImage::open(&DiskSource::new(&to)).expect("ours");
        let mut bytes = [1; 10_002];
        again.chain().read_at((5 << 30) - 1, &mut bytes).expect("ours");
        assert_eq!((bytes[0], bytes[1], bytes[10_000], bytes[10_001]), (0, 5, 5, 0), "{format}");
        assert_eq!(again.chain().bytes(), 1 << 33);
    }
}
