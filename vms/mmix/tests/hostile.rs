//! Programs that are damaged or mean harm: a clear error or an end, never a panic or a hang.

mod driver;

use driver::{Driver, spec_of};
use omni_base::Tick;
use omni_machine::{Confidence, Effect, Event, Kick, MachineKind, PortId, Stop};
use omni_vm_mmix::{Mmix, SAMPLE};

/// A sound object file: most operations of the loader, and a program that ends with 7.
const OBJECT: &[u32] = &[
    0x9809_0101,
    0x36f4_a363, // preamble with a time
    0x9801_2001,
    0, // at the data segment
    0,
    0,
    0x6162_0000, // an octabyte that is fixed later, and data
    0x9801_0002,
    0,
    0x100, // at 100
    0x9806_0002,
    0x7465_7374,
    0x2e6d_6d73,
    0x9807_0007, // a file and a line
    0xf000_0000, // JMP, fixed later
    0x9802_0004, // skips a tetrabyte
    0xe3ff_0003, // 108: SETL $255,3, changed by the quoted one below
    0x0000_0000, // 10c: TRAP 0,Halt,0
    0x9804_0004, // JMP at 100 goes to 110
    0x9803_2001,
    0,           // the octabyte at the data segment is 110
    0xe3ff_0007, // 110: SETL $255,7
    0x9800_0001,
    0x0000_0000, // quoted: TRAP 0,Halt,0
    0x9808_0005,
    1,
    2,
    0x9800_0001,
    0x9800_0000, // special data
    0x9801_0002,
    0,
    0x10c,
    0x9805_0010,
    0x0000_0001, // a fix of SETL at 108 that adds one
    0x980a_00ff,
    0,
    0x100, // $255 is Main
];

fn object() -> Vec<u8> {
    OBJECT.iter().flat_map(|tetra| tetra.to_be_bytes()).collect()
}

/// Runs a program that may be anything.
fn run_any(program: &[u8]) {
    let _ = Mmix.probe(program);
    let spec = spec_of(program, &[("memory", "256K")]);
    let Ok(mut machine) = Mmix.create(&spec) else { return };
    let mut effects: Vec<(Tick, Effect)> = Vec::new();
    for round in 1..=3 {
        let bytes = b"some words\nand more\n".to_vec();
        machine.apply(&Event::Input { port: PortId(0), bytes }, &mut effects);
        machine.run(Tick(3000 * round), &Kick::default(), &mut effects);
    }
}

#[test]
fn an_object_file_with_every_operation_is_loaded() {
    assert_eq!(Mmix.probe(&object()), Confidence::Sure);
    let mut driver = Driver::new(&spec_of(&object(), &[]));
    assert_eq!(driver.settle(), Stop::Halted { code: 7 });
    let inspect = driver.machine.inspect().expect("it has registers");
    let place = inspect.locate(omni_machine::ThreadId(0), 0x20 << 56).expect("it is in use");
    let memory = driver.machine.memory();
    let octa: [u8; 8] = memory.spaces[0].load(place.at).expect("it is there");
    assert_eq!(u64::from_be_bytes(octa), 0x110);
}

#[test]
fn damaged_object_files_are_refused_in_words_or_run() {
    let whole = object();
    for end in 0..whole.len() {
        let cut = Mmix.create(&spec_of(&whole[..end], &[("memory", "256K")]));
        let why = cut.err().expect("it is cut").to_string();
        assert!(why.contains("too soon") || why.contains("Main") || why.contains("end"), "{why}");
    }
    for at in 0..whole.len() {
        for change in [0x01, 0x10, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= change;
            run_any(&damaged);
        }
    }
}

#[test]
fn damaged_texts_are_refused_in_words_or_run() {
    let mut seed = 1u64;
    for _ in 0..600 {
        let mut text = SAMPLE.as_bytes().to_vec();
        for _ in 0..3 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(seed >> 33).expect("31 bits") % text.len();
            text[at] = (seed >> 24).to_le_bytes()[0];
        }
        run_any(&text);
    }
}

#[test]
fn a_program_that_wants_all_memory_is_told_where_to_get_more() {
    let program = "Main SETH $0,#2000\n1H STO $0,$0,0\n INCML $0,1\n JMP 1B\n";
    let mut driver = Driver::new(&spec_of(program.as_bytes(), &[("memory", "256K")]));
    assert_eq!(driver.settle(), Stop::Halted { code: 1 });
    assert!(driver.said().contains("option 'memory'"), "{}", driver.said());
}

#[test]
fn a_prefix_that_every_symbol_would_copy_is_refused() {
    let long = "a".repeat(300);
    for program in [format!(" PREFIX {long}\nMain SWYM\n"), " PREFIX abc\n".repeat(100)] {
        let refused = Mmix.create(&spec_of(format!("{program}:Main SWYM\n").as_bytes(), &[]));
        let words = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(words.contains("prefix has more than 255"), "{words}");
    }
}

#[test]
fn what_is_privileged_or_illegal_ends_with_its_name() {
    for (line, words) in [
        ("LDVTS $1,$2,$3", "LDVTS) is privileged"),
        ("SYNC 5", "SYNC) is privileged"),
        ("PUT rK,0", "PUT) is privileged"),
        ("TRAP 0,11,0", "TRAP) is privileged"),
        ("PUT rN,0", "PUT) is illegal"),
        ("PUT rG,5", "PUT) is illegal"),
        ("SETH $1,#8000;LDO $1,$1,0", "LDO) is privileged"),
        ("SETH $1,#2000;GO $1,$1,0", "privileged"),
    ] {
        let text = format!("Main {}\n", line.replace(';', "\n "));
        let mut driver = Driver::new(&spec_of(text.as_bytes(), &[]));
        assert_eq!(driver.settle(), Stop::Halted { code: 1 }, "{line}");
        assert!(driver.said().contains(words), "{line}: {}", driver.said());
    }
}
