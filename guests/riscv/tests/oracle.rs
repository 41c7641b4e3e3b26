//! Random streams of instructions, here and under `qemu-riscv64`: all registers, flags and memory
//! must be equal at the end.
//!
//! Skipped where that program is absent. `OMNI_QEMU_RISCV64` names another one, and
//! `OMNI_ORACLE_ROUNDS` asks for more programs of each extension than the few of a quick run.

mod machine;
mod streams;

use machine::{HALT, Machine};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use streams::{AREA, AREA_BYTES, BASE, EXTENSIONS, Extension, Random, generate, image, mixed};

/// Instructions in a program.
const LENGTH: usize = 300;

/// The other implementation: the program, and the fullest CPU that it has.
struct Qemu {
    program: String,
    cpu: &'static str,
}

impl Qemu {
    fn find() -> Option<Self> {
        let program = std::env::var("OMNI_QEMU_RISCV64");
        let program = program.unwrap_or_else(|_| "qemu-riscv64".into());
        let help = Command::new(&program).args(["-cpu", "help"]).output().ok()?;
        let has_max = String::from_utf8_lossy(&help.stdout).lines().any(|cpu| cpu.trim() == "max");
        // An older one has less, and asks for some of it by name.
        Some(Self { program, cpu: if has_max { "max" } else { "rv64,Zfh=true,zbc=true" } })
    }
}

/// The areas as the other implementation leaves them; `None` where it does not know an
/// instruction.
fn theirs(qemu: &Qemu, elf: &[u8], name: &str) -> Option<Vec<u8>> {
    let path = std::env::temp_dir().join(format!("omni-oracle-{}-{name}", std::process::id()));
    write_program(&path, elf);
    let out = Command::new(&qemu.program)
        .args(["-cpu", qemu.cpu])
        .arg(&path)
        .stderr(Stdio::null())
        .output()
        .expect("the program starts, as it did for its version");
    std::fs::remove_file(&path).expect("our own file");
    out.status.success().then_some(out.stdout)
}

fn write_program(path: &Path, elf: &[u8]) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o755).open(path);
    file.as_mut().expect("a temporary file").write_all(elf).expect("room");
}

/// The areas as we leave them.
fn ours(code: &[u8], area: &[u8]) -> Vec<u8> {
    let mut m = Machine::new(64);
    m.put(BASE, code);
    m.put(AREA, area);
    // The first call of the system ends the machine: lui t2, HALT; sw zero, (t2).
    let handler = BASE + 0x2_0000;
    let lui = u32::try_from(HALT).expect("a low address") | 0x3b7;
    m.put_words(handler, &[lui, 0x0003_a023]);
    m.hart.control.pc = BASE;
    m.hart.control.mtvec = handler;
    m.hart.control.mstatus = 1 << 13;
    m.run(100_000);
    let c = &m.hart.control;
    assert!(m.board.halted.is_some(), "no end: pc {:#x}", c.pc);
    assert_eq!(c.mcause, 11, "trapped at {:#x}, value {:#x}", c.mepc, c.mtval);
    let mut bytes = vec![0; AREA_BYTES];
    let place = omni_base::Gpa(AREA - machine::RAM_BASE);
    m.board.ram.read(place, &mut bytes).expect("in RAM");
    bytes
}

/// What differs, by name.
fn differences(ours: &[u8], theirs: &[u8]) -> Vec<String> {
    let words = |bytes: &[u8]| -> Vec<u64> {
        bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight"))).collect()
    };
    let pairs = words(ours).into_iter().zip(words(theirs)).enumerate();
    let name = |at: usize| match at * 8 {
        at @ 0..0x2000 => format!("scratch+{at:#x}"),
        at @ 0x2000..0x2100 => format!("x{}", (at - 0x2000) / 8),
        at @ 0x2100..0x2200 => format!("f{}", (at - 0x2100) / 8),
        _ => "fcsr".to_owned(),
    };
    pairs
        .filter(|(_, (a, b))| a != b)
        .map(|(at, (a, b))| format!("{}: {a:#x}, should be {b:#x}", name(at)))
        .collect()
}

/// Runs one program on both. The seed gives code and data.
fn compare(qemu: &Qemu, extension: &Extension, seed: u64, length: usize) -> Option<Vec<String>> {
    let program = generate(extension, seed, length);
    let elf = image(&program.code, &program.area);
    let theirs = theirs(qemu, &elf, extension.name)?;
    assert_eq!(theirs.len(), AREA_BYTES, "{} of seed {seed} wrote all", extension.name);
    Some(differences(&ours(&program.code, &program.area), &theirs))
}

/// What came of it, for people.
fn check(qemu: &Qemu, extension: &Extension, rounds: u64) -> String {
    for seed in 1..=rounds {
        let Some(found) = compare(qemu, extension, seed, LENGTH) else {
            return format!("{}: skipped, {} does not know it", extension.name, qemu.program);
        };
        if found.is_empty() {
            continue;
        }
        // The shortest beginning that shows it ends with the instruction to blame.
        let shows = |length: &usize| {
            compare(qemu, extension, seed, *length).is_some_and(|found| !found.is_empty())
        };
        let (mut low, mut high) = (0, LENGTH);
        while low < high {
            let middle = (low + high) / 2;
            if shows(&middle) { high = middle } else { low = middle + 1 }
        }
        let found = compare(qemu, extension, seed, high).unwrap_or_default();
        let program = generate(extension, seed, high);
        let text = program.text.last().cloned().unwrap_or_default();
        panic!("{} seed {seed}: after `{text}`: {}", extension.name, found.join("; "));
    }
    format!("{}: {rounds} programs of {LENGTH} instructions agree", extension.name)
}

#[test]
fn random_streams_agree_with_another_implementation() {
    let Some(qemu) = Qemu::find() else {
        println!("skipped: no qemu-riscv64");
        return;
    };
    let rounds = std::env::var("OMNI_ORACLE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    for extension in EXTENSIONS {
        println!("{}", check(&qemu, extension, rounds));
    }
    println!("{}", check(&qemu, &mixed(), rounds * 4));
}

#[test]
fn the_generator_is_a_function_of_its_seed() {
    let mut random = Random(1);
    assert_ne!(random.next(), random.next());
    for extension in EXTENSIONS {
        let (a, b) = (generate(extension, 7, 50), generate(extension, 7, 50));
        assert_eq!((a.code, a.area), (b.code, b.area));
    }
}
