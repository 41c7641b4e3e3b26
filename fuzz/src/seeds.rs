//! Small inputs to begin with, made here: none is a file of someone else's.

use crate::asm::{self, elf};
use crate::bytes::Choices;
use crate::{guest, saved};
use omni_lifecycle::WriteOptions;
use omni_machine::Spec;
use omni_state::{Field, Writer};
use omni_vm_zmachine::sample_story;

/// A target's name and its inputs.
pub type Seeds = (&'static str, Vec<Vec<u8>>);

fn with(head: &[u8], tail: &[u8]) -> Vec<u8> {
    [head, tail].concat()
}

/// Pseudo-random bytes; the same for the same seed.
fn noise(mut seed: u64, count: usize) -> Vec<u8> {
    let next = |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    (0..count).map(next).collect()
}

fn kernel_image() -> Vec<u8> {
    let mut image = asm::words(&[asm::jump(0, 16), asm::NOP]);
    image.extend_from_slice(&0x20_0000u64.to_le_bytes());
    image.extend_from_slice(&0x1000u64.to_le_bytes());
    image.resize(0x38, 0);
    image.extend_from_slice(b"RSC\x05");
    image.resize(64, 0);
    image.extend(asm::words(&[asm::WFI, asm::jump(1, 0)]));
    image
}

fn images() -> Vec<Vec<u8>> {
    let program = guest::accesses(false, &mut Choices(&noise(1, 40)));
    let supervisor = guest::accesses(true, &mut Choices(&noise(2, 40)));
    let two = elf(0x8000_0000, &[(0x8000_0000, &[0x13, 0, 0, 0]), (0x8010_0000, b"data")]);
    let all = [&program, &supervisor, &two, &kernel_image()];
    let seeds = all.iter().flat_map(|image| (0..8).map(|how| with(&[how], image)));
    seeds.collect()
}

fn accesses() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = (0..16).map(|at| with(&[at as u8], &noise(at, 300))).collect();
    for how in [0, 1, 6, 7] {
        for device in 0..5u8 {
            for queue in 0..3u8 {
                let mut input = vec![how, 2, 8, 3, 1, 2, 3, 4, 5, 6, 7, 8, 5, 0, 0];
                for step in 0..6u8 {
                    input.extend_from_slice(&[0xe8, device, queue, 4, 0, 0, 0, 3]);
                    for at in 0..3 {
                        input.extend_from_slice(&[at + step, at * 3, 1 + at % 2 * 2, 0, 0, 0]);
                    }
                    input.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                }
                seeds.push(input);
            }
        }
    }
    seeds
}

fn programs() -> Vec<Vec<u8>> {
    let words = [
        asm::store(3, asm::A0, asm::A2),
        asm::load(3, asm::T0, asm::A2, 0),
        asm::amoadd_d(asm::T1, asm::A2, asm::T0),
        asm::store(2, asm::T0, asm::A1),
        asm::FENCE_I,
        asm::csr(1, asm::T0, 0x300, asm::T1),
        asm::csr(2, asm::T0, 0xc00, 0),
        asm::load(2, asm::T0, asm::A5, 0),
        asm::store(0, asm::T0, asm::A5),
        0x1200_0073,
        0x0220_80d3,
        0x1002_a32f,
        0x1862_a3af,
        asm::ECALL,
        asm::branch(1, asm::T0, asm::T1, -16),
        asm::jump(8, 0),
    ];
    let code = asm::words(&words);
    let mut seeds: Vec<_> = (0..16).map(|how| with(&[how], &code)).collect();
    seeds.extend((0..32u8).map(|how| with(&[how], &noise(how.into(), 200))));
    seeds.push(with(&[0x70], &code));
    seeds
}

fn specs() -> Vec<Vec<u8>> {
    let specs = saved::samples().iter().map(|snapshot| {
        let mut spec: Spec = snapshot.spec.clone();
        spec.options.remove("net");
        let mut out = Writer::default();
        spec.put(&mut out);
        out.0
    });
    specs.collect()
}

fn snapshots() -> Vec<Vec<u8>> {
    let options = WriteOptions { compress: true, flatten: false };
    let whole = saved::samples()
        .iter()
        .map(|snapshot| with(&[0], &snapshot.to_bytes(options).expect("no base is below")));
    whole.chain((1..=255u8).step_by(3).map(|how| with(&[how], &noise(how.into(), 60)))).collect()
}

fn frames() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"op":"attach","history":1,"hold":true,"own":false}"#,
        r#"{"op":"resize","columns":80,"rows":24}"#,
        r#"{"op":"stop","grace_ms":5}"#,
        r#"{"reply":"ok","value":{"a":[1,2]}}"#,
        r#"{"reply":"exited","code":3}"#,
    ];
    let frame = |text: &&str| {
        let size = (text.len() as u32).to_le_bytes();
        [&[1], &size[..], text.as_bytes(), &[2, 1, 0, 0, 0, 9]].concat()
    };
    texts.iter().map(frame).collect()
}

fn texts() -> Vec<Vec<u8>> {
    let release = b"Suite: stable\nCodename: trixie\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n\
        Valid-Until: Sat, 19 Sep 2026 07:55:41 UTC\nSHA256:\n \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 12 main/x\n";
    let package = b"Package: a\nVersion: 1\nFilename: pool/a.deb\nSize: 3\nPre-Depends: p\nSHA256: \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nDepends: b (>= 1), c | d\n\n";
    let mut tar = vec![0; 1024 + 512];
    tar[..9].copy_from_slice(b"./usr/b/x");
    tar[100..107].copy_from_slice(b"0000755");
    tar[124..135].copy_from_slice(b"00000000003");
    tar[156] = b'0';
    tar[257..265].copy_from_slice(b"ustar\x0000");
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar[512..515].copy_from_slice(b"abc");
    let head = format!("{:16}{:12}{:6}{:6}{:8}{:10}`\n", "data.tar", 0, 0, 0, 100_644, tar.len());
    let deb = [b"!<arch>\n", head.as_bytes(), &tar].concat();
    let signed = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\ntext\n\
        -----BEGIN PGP SIGNATURE-----\n\niHUEABYIAB0WIQ\n=abcd\n-----END PGP SIGNATURE-----\n";
    let module = elf(0, &[(0, b"depends=a,b\0alias=x\0")]);
    let mut seeds = vec![
        with(&[0], release),
        with(&[1], package),
        with(&[2], &deb),
        with(&[3], &module),
        with(&[4], signed),
        with(&[5], &[0x88, 0x75, 4, 0, 0x16, 8, 0, 0x1d]),
        with(&[6], &[0x98, 0x33, 4, 0x61, 0, 0, 0, 0x16]),
    ];
    for (at, magic) in
        [&b"\xfd7zXZ\0\0\x04"[..], b"\x28\xb5\x2f\xfd\x04\0", b"\x1f\x8b\x08\0"].iter().enumerate()
    {
        seeds.push([&[7, at as u8], *magic, &noise(3, 40)].concat());
    }
    for text in ["http://deb.example/debian", "debian:trixie", "127.0.0.1:8080:80/tcp", "[::1]:1:2"]
    {
        seeds.push(with(&[0xff], text.as_bytes()));
    }
    seeds
}

const DESCRIPTOR: &[u8] = b"# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\n\
    createType=\"twoGbMaxExtentFlat\"\nRW 100 FLAT \"a\" 3\nRW 7 ZERO\nRW 9 SPARSE \"i\"\n";

fn disks() -> Vec<Vec<u8>> {
    (1..=48u8).map(|how| with(&[how * 5], &noise(how.into(), 12 * usize::from(how % 4)))).collect()
}

/// What debuggers say, packet by packet.
fn conversations() -> Vec<Vec<u8>> {
    let asked: [&[&str]; 3] = [
        &["qSupported:swbreak+", "?", "g", "m80000000,40", "vCont;s:p1.1", "bs", "D;1"],
        &["Z0,80000000,2", "vCont;c", "bc", "z0,80000000,2", "Z2,80001000,8", "c", "bc"],
        &["qXfer:features:read:target.xml:0,200", "qfThreadInfo", "Hgp1.1", "p0", "qRcmd,7768656e"],
    ];
    let part = |body: &&str| with(&[body.len() as u8], body.as_bytes());
    let seeds = (0..2u8).flat_map(|how| {
        asked.map(|all| with(&[how], &all.iter().flat_map(part).collect::<Vec<u8>>()))
    });
    seeds.collect()
}

fn large_stories() -> Vec<Vec<u8>> {
    let story = omni_vm_glulx::sample_story();
    let mut seeds = vec![with(&[0], &story), with(&[4], &story), with(&[24], &story)];
    seeds.extend((0..24u8).map(|at| with(&[1 | at & 28], &noise(at.into(), 40))));
    seeds
}

/// Every target's inputs.
pub fn all() -> Vec<Seeds> {
    let story = sample_story();
    let mut stories = vec![with(&[0], &story), with(&[6], &story), with(&[1], &[0; 8])];
    stories.extend([1u8, 2, 3, 4, 7, 8].map(|version| {
        let mut other = story.clone();
        other[0] = version;
        if version < 4 || version == 7 || version == 8 {
            other[0x1a..0x1c].fill(0);
        }
        with(&[2], &other)
    }));
    let log = saved::forge_log(&[1, 9, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    let records = saved::samples().iter().map(|snapshot| {
        let bytes = &snapshot.records;
        bytes[8..bytes.len() - 32].to_vec()
    });
    let entry =
        [&[23, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[8, 0, 0, 0], b"look\nq\nx"].concat();
    vec![
        ("mmio", accesses()),
        ("code", programs()),
        ("tiers", (0..48u8).map(|at| with(&[at], &noise(at.into(), 400))).collect()),
        ("elf_image", images()),
        ("story", stories),
        ("large_story", large_stories()),
        ("debugger", conversations()),
        ("snapshot", snapshots()),
        ("event_log", vec![log, with(&[1], &entry)]),
        ("bundle", records.collect()),
        ("spec", specs()),
        ("disk_qcow2", disks()),
        ("disk_vmdk", [disks(), vec![with(&[0], DESCRIPTOR)]].concat()),
        ("disk_vdi", disks()),
        ("disk_vhd", disks()),
        ("disk_vhdx", disks()),
        ("image_text", texts()),
        ("net_frames", (0..24).map(|at| with(&[at as u8], &noise(at, 200))).collect()),
        ("switch_packets", (0..24).map(|at| with(&[at as u8], &noise(at, 400))).collect()),
        ("control_frames", frames()),
        ("store", (0..64u8).map(|at| with(&[at], &noise(at.into(), 160))).collect()),
        ("overlay", (0..32u8).map(|at| with(&[at * 8], &noise(at.into(), 40))).collect()),
    ]
}
