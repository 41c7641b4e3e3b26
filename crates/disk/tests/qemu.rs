//! Every format against QEMU's tools, in both directions.

mod peer;

use omni_disk::{Alone, Chain, Compression, Format, MemoryFile, Target, convert, create};
use peer::{Anything, Random, Scratch, assert_same, content, disk, open, qemu_img, run, target};
use std::path::Path;

/// What QEMU can make: its options, and what it is called here.
const MADE_BY_QEMU: &[(&str, &str)] = &[
    ("-O raw", "raw"),
    ("-O qcow2 -o compat=0.10", "version 2"),
    ("-O qcow2", "version 3"),
    ("-O qcow2 -o cluster_size=512", "version 3"),
    ("-O qcow2 -o cluster_size=2M", "version 3"),
    ("-O qcow2 -o extended_l2=on", "version 3"),
    ("-O qcow2 -o extended_l2=on,cluster_size=16k", "version 3"),
    ("-O qcow2 -o preallocation=metadata", "version 3"),
    ("-O qcow2 -o refcount_bits=1", "version 3"),
    ("-O qcow2 -o refcount_bits=64,lazy_refcounts=on", "version 3"),
    ("-O qcow2 -c", "version 3"),
    ("-O qcow2 -c -o cluster_size=4k,compat=0.10", "version 2"),
    ("-O qcow2 -c -o compression_type=zstd", "version 3"),
    ("-O qcow2 -c -o compression_type=zstd,cluster_size=2M", "version 3"),
    ("-O qcow2 -o data_file=@data", "version 3"),
    ("-O qcow2 -o data_file=@data,data_file_raw=on", "version 3"),
    ("-O vmdk", "monolithicSparse"),
    ("-O vmdk -o subformat=monolithicFlat", "monolithicFlat"),
    ("-O vmdk -o subformat=twoGbMaxExtentSparse", "twoGbMaxExtentSparse"),
    ("-O vmdk -o subformat=twoGbMaxExtentFlat", "twoGbMaxExtentFlat"),
    ("-O vmdk -o subformat=streamOptimized", "streamOptimized"),
    ("-O vmdk -o zeroed_grain=on", "monolithicSparse"),
    ("-O vdi", "dynamic"),
    ("-O vpc -o force_size=on", "dynamic"),
    ("-O vpc -o force_size=on,subformat=fixed", "fixed"),
    ("-O vhdx", "dynamic"),
    ("-O vhdx -o subformat=fixed", "fixed"),
    ("-O vhdx -o block_size=1M,block_state_zero=off", "dynamic"),
];

/// Sizes that are no multiple of any cluster.
const SIZES: [usize; 3] = [(10 << 20) + 512 * 7, (17 << 20) + 512, 512 * 3];

#[test]
fn what_qemu_makes_of_a_disk_is_the_same_disk_here() {
    if !qemu_img() {
        return;
    }
    for (seed, bytes) in (1..).zip(SIZES) {
        let scratch = Scratch::new();
        let expected = disk(seed, bytes);
        let raw = scratch.path("raw");
        std::fs::write(&raw, &expected).expect("room");
        for (no, (options, sort)) in MADE_BY_QEMU.iter().enumerate() {
            let path = scratch.path(&format!("image{no}"));
            // Relative, so that the image has the name so; and a file per image.
            let options = options.replace("@data", &format!("{path}.data"));
            let mut args = vec!["convert", "-f", "raw"];
            args.extend(options.split(' '));
            args.extend([&raw[..], &path]);
            run("qemu-img", &args);
            let chain = open(&path);
            let (_, info) = chain.images().next().expect("one at least");
            assert_eq!(info.subformat, *sort, "{options}");
            assert_same(&content(&chain), &expected, &options);
            let check = chain.check().unwrap_or_else(|error| panic!("{options}: {error}"));
            assert_eq!((check.corruptions, check.leaks), (0, 0), "{options}: {check:?}");
        }
    }
}

/// What is made here, and whether QEMU has a check for it.
fn made_here() -> Vec<(Target, &'static str, bool)> {
    let of = |format, subformat: &str, compression| Target {
        subformat: (!subformat.is_empty()).then(|| subformat.into()),
        compression,
        ..target(format)
    };
    vec![
        (of(Format::Raw, "", None), "raw", false),
        (of(Format::Qcow2, "", None), "qcow2", true),
        (of(Format::Qcow2, "", Some(Compression::Zlib)), "qcow2", true),
        (of(Format::Qcow2, "", Some(Compression::Zstd)), "qcow2", true),
        (of(Format::Vmdk, "", None), "vmdk", true),
        (of(Format::Vmdk, "streamOptimized", None), "vmdk", true),
        (of(Format::Vdi, "", None), "vdi", true),
        (of(Format::Vhd, "", None), "vpc", false),
        (of(Format::Vhd, "fixed", None), "vpc", false),
        (of(Format::Vhdx, "", None), "vhdx", true),
    ]
}

#[test]
fn what_is_made_here_of_a_disk_is_the_same_disk_in_qemu_and_here() {
    let peer = qemu_img();
    for (seed, bytes) in (10..).zip(SIZES) {
        let scratch = Scratch::new();
        let expected = disk(seed, bytes);
        let raw = scratch.path("raw");
        std::fs::write(&raw, &expected).expect("room");
        for (no, (target, name, checked)) in made_here().into_iter().enumerate() {
            let path = scratch.path(&format!("image{no}"));
            let mut file = MemoryFile::default();
            let out = (Path::new(&path), &mut file as &mut dyn omni_disk::WriteAt);
            let mut last = 0;
            convert(&open(&raw), &target, out, &Alone, &mut |at| last = at)
                .unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(last, bytes as u64);
            std::fs::write(&path, &file.0).expect("room");
            let again = Chain::open(&path, Some(target.format), &Anything).expect("ours");
            assert_same(&content(&again), &expected, &format!("{target:?}"));
            let check = again.check().expect("ours");
            assert_eq!((check.corruptions, check.leaks), (0, 0), "{target:?}: {check:?}");
            if peer {
                run("qemu-img", &["compare", "-f", "raw", "-F", name, &raw, &path]);
            }
            if peer && checked {
                run("qemu-img", &["check", "-f", name, &path]);
            }
        }
    }
}

#[test]
fn an_empty_image_is_zero_and_sound_in_qemu_and_here() {
    if !qemu_img() {
        return;
    }
    let scratch = Scratch::new();
    let bytes = (5u64 << 30) + 512;
    for (no, (target, name, checked)) in made_here().into_iter().enumerate() {
        if target.format == Format::Raw || target.subformat.as_deref() == Some("fixed") {
            continue;
        }
        let path = scratch.path(&format!("image{no}"));
        let mut file = MemoryFile::default();
        create(&target, bytes, &mut file).expect("possible");
        std::fs::write(&path, &file.0).expect("room");
        let chain = open(&path);
        assert_eq!(chain.bytes(), bytes);
        let mut at = 0;
        while at < bytes {
            let extent = chain.extent(at).expect("ours");
            assert_eq!(extent.content, omni_disk::Content::Zero);
            at += extent.bytes;
        }
        let told = run("qemu-img", &["info", "-f", name, "--output=json", &path]);
        assert!(told.contains(&format!("\"virtual-size\": {bytes},")), "{told}");
        if checked {
            run("qemu-img", &["check", "-f", name, &path]);
        }
    }
}

/// Writes random stretches into an image by QEMU.
fn scribble(path: &str, random: &mut Random, bytes: usize) {
    let mut args: Vec<String> = Vec::new();
    for _ in 0..12 {
        let start = random.below(bytes / 512 - 1) * 512;
        let count = (1 + random.below(400)) * 512;
        let count = count.min(bytes - start);
        let what = match random.below(4) {
            0 => format!("write -z {start} {count}"),
            _ => format!("write -P {} {start} {count}", 1 + random.below(255)),
        };
        args.extend(["-c".into(), what]);
    }
    args.push(path.into());
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    run("qemu-io", &args);
}

#[test]
fn chains_of_images_read_as_in_qemu() {
    if !qemu_img() {
        return;
    }
    let mut random = Random(77);
    let bytes = (6 << 20) + 512 * 5;
    for (options, size) in [
        ("qcow2", bytes),
        ("qcow2 -o extended_l2=on", bytes),
        ("qcow2 -o compat=0.10", bytes + (3 << 20)),
        ("qcow2 -o cluster_size=1k", bytes - (1 << 20)),
        ("vmdk", bytes),
    ] {
        let scratch = Scratch::new();
        std::fs::write(scratch.path("base.raw"), disk(5, bytes)).expect("room");
        let format = options.split(' ').next().expect("a word");
        let middle = if format == "vmdk" { "vmdk" } else { "raw" };
        if format == "vmdk" {
            let (from, to) = (scratch.path("base.raw"), scratch.path("base.vmdk"));
            run("qemu-img", &["convert", "-f", "raw", "-O", "vmdk", &from, &to]);
        }
        let mut below = (format!("base.{middle}"), middle);
        for level in 0..3 {
            let name = format!("level{level}.{format}");
            let path = scratch.path(&name);
            let mut args = vec!["create", "-q", "-f"];
            args.extend(options.split(' '));
            args.extend(["-b", &below.0, "-F", below.1, &path]);
            let size = size.to_string();
            // Of a VMDK the size is that of the image below.
            args.extend((format != "vmdk").then_some(&size[..]));
            run("qemu-img", &args);
            scribble(&path, &mut random, bytes - (1 << 20));
            below = (name, format);
        }
        let (top, raw) = (scratch.path(&below.0), scratch.path("all.raw"));
        run("qemu-img", &["convert", "-O", "raw", &top, &raw]);
        let chain = open(&top);
        assert_eq!(chain.images().count(), 4);
        let expected = std::fs::read(&raw).expect("made");
        assert_same(&content(&chain), &expected, options);
        let check = chain.check().expect("sound");
        assert_eq!((check.corruptions, check.leaks), (0, 0), "{options}: {check:?}");
    }
}

#[test]
fn snapshots_and_bitmaps_of_qcow2_are_told_and_are_no_leaks() {
    if !qemu_img() {
        return;
    }
    let scratch = Scratch::new();
    let (path, mut random) = (scratch.path("disk.qcow2"), Random(3));
    run("qemu-img", &["create", "-q", "-f", "qcow2", &path, "20M"]);
    for name in ["first", "second one"] {
        scribble(&path, &mut random, 20 << 20);
        run("qemu-img", &["snapshot", "-c", name, &path]);
    }
    run("qemu-img", &["bitmap", "--add", &path, "marks"]);
    scribble(&path, &mut random, 20 << 20);
    let chain = open(&path);
    let (_, info) = chain.images().next().expect("one");
    let names: Vec<_> = info.snapshots.iter().map(|snapshot| &snapshot.name[..]).collect();
    assert_eq!(names, ["first", "second one"]);
    assert!(info.snapshots.iter().all(|snapshot| snapshot.disk_bytes == 20 << 20));
    assert_eq!(info.notes, ["1 bitmaps"]);
    let check = chain.check().expect("sound");
    assert_eq!((check.corruptions, check.leaks), (0, 0), "{check:?}");
    let raw = scratch.path("raw");
    run("qemu-img", &["convert", "-O", "raw", &path, &raw]);
    assert_same(&content(&chain), &std::fs::read(&raw).expect("made"), "the active disk");
}

/// The number behind a name in a JSON text, 0 where it is not there.
fn number(text: &str, name: &str) -> u64 {
    let Some((_, rest)) = text.split_once(&format!("\"{name}\": ")) else { return 0 };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("digits")
}

#[test]
fn damage_to_counts_is_found_as_by_qemu() {
    if !qemu_img() {
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("disk.qcow2");
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", &path, "8M"]);
    scribble(&path, &mut Random(9), 8 << 20);
    let sound = std::fs::read(&path).expect("made");
    let word = |at: usize| u64::from_be_bytes(sound[at..at + 8].try_into().expect("eight"));
    let block = word(usize::try_from(word(48)).expect("small"));
    let mut random = Random(21);
    let mut seen = (false, false);
    for _ in 0..24 {
        let mut bytes = sound.clone();
        for _ in 0..1 + random.below(3) {
            let no = random.below(sound.len() / 4096);
            let at = usize::try_from(block).expect("small") + 2 * no + 1;
            bytes[at] = [0, 1, 2][random.below(3)];
        }
        std::fs::write(&path, &bytes).expect("room");
        let told = std::process::Command::new("qemu-img")
            .args(["check", "--output=json", &path])
            .output()
            .expect("there");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let check = open(&path).check().expect("it goes on");
        let theirs = (number(&told, "corruptions") > 0, number(&told, "leaks") > 0);
        let ours = (check.corruptions > 0, check.leaks > 0);
        assert_eq!(ours, theirs, "{check:?}\n{told}");
        assert_eq!(check.leaks, number(&told, "leaks"), "{check:?}\n{told}");
        seen = (seen.0 | ours.0, seen.1 | ours.1);
    }
    assert_eq!(seen, (true, true), "both sorts of damage came up");
}

#[test]
fn a_disk_that_was_resized_is_sound_and_has_its_data_and_zeros() {
    if !qemu_img() {
        return;
    }
    let (old, mut random) = ((9 << 20) + 512 * 3, Random(5));
    for options in ["", "-o compat=0.10", "-o cluster_size=512", "-o extended_l2=on", "-c"] {
        for step in 0..6 {
            let scratch = Scratch::new();
            let mut expected = disk(step + 40, old);
            let (raw, path) = (scratch.path("raw"), scratch.path("disk.qcow2"));
            std::fs::write(&raw, &expected).expect("room");
            let mut args = vec!["convert", "-f", "raw", "-O", "qcow2"];
            args.extend(options.split(' ').filter(|word| !word.is_empty()));
            args.extend([&raw[..], &path]);
            run("qemu-img", &args);
            for _ in 0..3 {
                let sizes = [1, 9 << 11, 100 << 11, 3 << 11, 40 << 11];
                let bytes = (sizes[random.below(5)] + random.below(3000)) * 512;
                let mut file = MemoryFile(std::fs::read(&path).expect("there"));
                let done = omni_disk::resize_qcow2(&mut file, bytes as u64, 0, true);
                if let Err(error) = done {
                    let text = error.to_string();
                    // A compressed cluster across the end cannot be cut in place.
                    assert!(options == "-c" && text.contains("across the end"), "{text}");
                    break;
                }
                std::fs::write(&path, &file.0).expect("room");
                expected.resize(bytes, 0);
                std::fs::write(&raw, &expected).expect("room");
                assert_same(&content(&open(&path)), &expected, options);
                run("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", &raw, &path]);
                let told = run("qemu-img", &["check", "-f", "qcow2", &path]);
                assert!(told.contains("No errors"), "{told}");
            }
        }
    }
}
