//! Images that are meant to hurt: refused with the name of the field, or read within bounds.

mod peer;

use omni_disk::hostile::{Mutant, look, samples};
use omni_disk::{Chain, Files, Format, MemoryFile, Opened};
use peer::Random;
use std::path::Path;
use std::sync::Arc;

/// Values that sizes and offsets go wrong at.
fn value(random: &mut Random) -> [u8; 8] {
    let number = match random.below(6) {
        0 => 0,
        1 => random.below(4096) as u64,
        2 => 1 << random.below(64),
        3 => (1 << random.below(63)) - 1,
        4 => u64::MAX - random.below(1024) as u64,
        _ => random.next(),
    };
    if random.below(2) == 0 { number.to_be_bytes() } else { number.to_le_bytes() }
}

/// Where the headers and tables of an image are: what is not all zero, in blocks.
fn places(image: &[u8]) -> Vec<u64> {
    let block =
        |(no, bytes): (usize, &[u8])| bytes.iter().any(|&byte| byte != 0).then_some(no as u64 * 64);
    image.chunks(64).enumerate().filter_map(block).collect()
}

#[test]
fn an_image_with_changed_bytes_is_refused_or_read_and_never_panics() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for (format, image) in samples() {
        look(format, &Mutant::new(image.clone()));
        let places = places(&image);
        // Headers are looked at most: there are few of them among the data.
        let heads: Vec<u64> =
            places.iter().copied().filter(|at| !(66_000..200_000).contains(at)).collect();
        for round in 0..400 {
            let mut mutant = Mutant::new(image.clone());
            for _ in 0..1 + random.below(3) {
                let from = if round % 4 > 0 && !heads.is_empty() { &heads } else { &places };
                let at = from[random.below(from.len())] + random.below(64) as u64;
                let width = [1, 2, 4, 8][random.below(4)];
                let bytes = value(&mut random);
                if at + 8 <= image.len() as u64 {
                    mutant.change(at, &bytes[..width]);
                }
            }
            if random.below(8) == 0 {
                mutant.cut(random.below(2 * image.len()) as u64);
            }
            mutant.seal(format);
            look(format, &mutant);
        }
    }
}

/// An image alone: all that it names is missing.
struct Only(Arc<Mutant>);

impl Files for Only {
    fn open(&self, from: Option<&Path>, _: &str) -> Result<Opened, String> {
        match from {
            None => Ok(Opened { name: "image".into(), file: self.0.clone() }),
            Some(_) => Err("is not there".into()),
        }
    }
}

#[track_caller]
fn refused(format: Format, change: &[(u64, &[u8])]) -> String {
    let (_, image) = samples().into_iter().find(|(of, _)| *of == format).expect("all are made");
    let mut mutant = Mutant::new(image);
    change.iter().for_each(|(at, bytes)| mutant.change(*at, bytes));
    mutant.seal(format);
    let chain = match Chain::open("image", Some(format), &Only(Arc::new(mutant))) {
        Err(error) => return error.to_string(),
        Ok(chain) => chain,
    };
    let mut disk = vec![0; 300 << 10];
    chain.read_at(0, &mut disk).expect_err("it is wrong somewhere").to_string()
}

/// A format, what is changed in its sample, and what the error must name.
type Case<'a> = (Format, &'a [(u64, &'a [u8])], &'a str);

#[test]
fn what_is_wrong_is_named_by_its_field() {
    let far = [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0];
    let l1 = {
        let (_, image) = samples().remove(0);
        u64::from_be_bytes(image[40..48].try_into().expect("eight bytes"))
    };
    let cases: &[Case<'_>] = &[
        (Format::Qcow2, &[(20, &[0, 0, 0, 60])], "cluster_bits"),
        (Format::Qcow2, &[(24, &far)], "l1_size"),
        (Format::Qcow2, &[(40, &far)], "l1_table_offset"),
        (Format::Qcow2, &[(32, &[0, 0, 0, 2])], "LUKS"),
        (Format::Qcow2, &[(72, &[1, 0, 0, 0, 0, 0, 0, 0])], "incompatible features"),
        (Format::Qcow2, &[(l1, &[0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0, 0])], "L2 table"),
        (Format::Qcow2, &[(l1, &[0x00, 0, 0, 0, 0, 0, 2, 0])], "L1 entry"),
        (Format::Vmdk, &[(12, &[0xff; 7])], "capacity"),
        (Format::Vmdk, &[(20, &[3])], "grainSize"),
        (Format::Vmdk, &[(56, &[0, 0, 0, 0xff])], "gdOffset"),
        (Format::Vmdk, &[(4, &[9])], "version 9"),
        (Format::Vdi, &[(0x4c, &[4])], "differencing"),
        (Format::Vdi, &[(0x170, &[0xff; 6])], "disk_size"),
        (Format::Vdi, &[(0x178, &[1])], "block_size"),
        (Format::Vdi, &[(512, &[0, 0, 0, 0x10])], "block map"),
        (Format::Vhd, &[(512 + 28, &[0, 0, 0, 0])], "max_table_entries"),
        (Format::Vhd, &[(512 + 16, &far)], "table_offset"),
        (Format::Vhd, &[(1536, &[0x7f, 0, 0, 0])], "block allocation table"),
        (Format::Vhdx, &[(192 << 10, b"x"), (256 << 10, b"x")], "region tables"),
        (Format::Vhdx, &[((2 << 20) + (64 << 10), &[1])], "block size"),
        (Format::Vhdx, &[((3 << 20) + 6, &[0x7f])], "BAT"),
        (Format::Vhdx, &[(3 << 20, &[5])], "BAT"),
    ];
    for (format, change, field) in cases {
        let text = refused(*format, change);
        assert!(text.contains(field) && text.contains(format.name()), "{field}: {text}");
    }
}

#[test]
fn the_largest_disks_of_each_format_cost_no_more_than_small_ones() {
    for (bytes, format) in [
        (1u64 << 50, Format::Qcow2),
        (2 << 40, Format::Vmdk),
        (2 << 40, Format::Vdi),
        (2040 << 30, Format::Vhd),
        (64 << 40, Format::Vhdx),
    ] {
        let mut file = MemoryFile::default();
        omni_disk::create(&peer::target(format), bytes, &mut file).expect("the format can");
        let image = Mutant::new(Arc::new(file.0));
        let chain = Chain::open("image", Some(format), &Only(Arc::new(image.clone())));
        let chain = chain.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(chain.bytes(), bytes, "{format}");
        let (mut at, mut steps) = (0, 0);
        while at < bytes {
            at += chain.extent(at).expect("sound").bytes;
            steps += 1;
        }
        assert!(steps < 100_000, "{format}: {steps}");
        let check = chain.check().expect("sound");
        assert_eq!((check.corruptions, check.leaks), (0, 0), "{format}: {check:?}");
    }
}
