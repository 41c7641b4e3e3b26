//! Every row of every table: round trips, assembly text, sound lowering.

mod machine;
mod streams;

use omni_engine::{CODE_BYTES, Code, Flow, Frontend, Mode};
use omni_guest_riscv::Riscv;
use omni_guest_riscv::isa::Insn;
use omni_ir::{Builder, verify};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use streams::Random;

/// Words of each row, with the row's name.
fn words(count: usize) -> Vec<(&'static str, u32)> {
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut words = vec![];
    for row in Insn::ROWS.iter() {
        for _ in 0..count {
            let word = (random.next() >> 32) as u32 & row.pattern.free() | row.pattern.bits;
            words.push((row.name, word));
        }
    }
    words
}

#[test]
fn every_word_of_a_row_survives_decode_and_encode() {
    for (name, word) in words(300) {
        let (insn, size) = Insn::decode(word).expect("a word of a row");
        assert_eq!(insn.encode(), word, "{name} is {}", insn.text());
        assert_eq!(size, if word & 3 == 3 { 4 } else { 2 }, "{name}");
        assert!(!insn.text().contains('{'), "{name}: {}", insn.text());
    }
}

#[test]
fn the_decoder_finds_what_a_search_finds() {
    let mut random = Random(99);
    let rows: Vec<_> = Insn::ROWS.iter().collect();
    for _ in 0..20_000 {
        let word = (random.next() >> 32) as u32;
        // Most random words are no instruction, so some get a likely opcode.
        let word = if random.below(2) == 0 { word } else { word & !0x7f | 0x33 };
        let word = if word & 3 == 3 { word } else { word & 0xffff };
        let slow = rows.iter().find(|row| row.pattern.fits(word)).map(|row| row.pattern.size);
        assert_eq!(Insn::decode(word).map(|found| found.1), slow, "{word:#x}");
    }
}

#[test]
fn every_row_lowers_to_a_sound_block_in_every_mode() {
    for (name, word) in words(8) {
        for bits in (0..1 << 11).step_by(37).filter(|bits| bits & 3 != 2) {
            let mut into = Builder::default();
            into.start(0x1000);
            let mut bytes = [0; CODE_BYTES];
            bytes[..4].copy_from_slice(&word.to_le_bytes());
            let code = Code { pc: 0x1000, bytes, count: CODE_BYTES };
            let flow = Riscv.lower(&code, Mode(bits), &mut into);
            let size = if word & 3 == 3 { 4 } else { 2 };
            assert!(matches!(flow, Flow::End) || flow == Flow::Next(size), "{name}");
            let block = into.finish(0x1004);
            assert_eq!(verify(&block), Ok(()), "{name} in {bits:#x}:\n{block}");
        }
    }
}

#[test]
fn an_instruction_that_is_cut_off_asks_for_more() {
    let mut into = Builder::default();
    into.start(0xffe);
    let mut bytes = [0; CODE_BYTES];
    bytes[0] = 0x13;
    let code = Code { pc: 0xffe, bytes, count: 2 };
    assert_eq!(Riscv.lower(&code, Mode(3), &mut into), Flow::More);
}

const AS: &str = "riscv64-linux-gnu-as";
const MARCH: &str = "-march=rv64gc_zba_zbb_zbc_zbs_zfh_zicbom_zicboz_zawrs_svinval";

/// Assembles lines; gives the bytes, or the numbers of the lines it does not take.
fn assemble(folder: &Path, lines: &[String]) -> Result<Vec<u8>, BTreeSet<usize>> {
    let (source, object, flat) = (folder.join("a.s"), folder.join("a.o"), folder.join("a.bin"));
    std::fs::write(&source, lines.join("\n") + "\n").expect("a temporary file");
    let out = Command::new(AS)
        .args([MARCH, "-mno-relax", "-o"])
        .arg(&object)
        .arg(&source)
        .output()
        .expect("it started before");
    let talk = String::from_utf8_lossy(&out.stderr);
    let bad: BTreeSet<usize> = talk
        .lines()
        .filter(|line| line.contains("Error"))
        .filter_map(|line| line.split(':').nth(1)?.trim().parse().ok())
        .collect();
    if !bad.is_empty() {
        return Err(bad);
    }
    assert!(out.status.success(), "{talk}");
    let copied = Command::new("riscv64-linux-gnu-objcopy")
        .args(["-O", "binary", "-j", ".text"])
        .args([&object, &flat])
        .status();
    assert!(copied.expect("it comes with the assembler").success());
    Ok(std::fs::read(&flat).expect("just written"))
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("omni-as-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

#[test]
fn the_text_of_every_row_assembles_to_its_word() {
    if Command::new(AS).arg("--version").output().is_err() {
        println!("skipped: no {AS}");
        return;
    }
    let folder = folder();
    let all = words(12);
    let line = |word: u32| {
        let option = if word & 3 == 3 { "norvc" } else { "rvc" };
        let text = Insn::decode(word).expect("a word of a row").0.text();
        format!(".option {option}; {text}")
    };
    // Reserved words have no text of their own.
    let is_reserved = |word: u32| line(word).contains(".insn 2");
    let mut taken: Vec<(&str, u32)> =
        all.iter().copied().filter(|&(_, word)| !is_reserved(word)).collect();
    let bytes = loop {
        let lines: Vec<String> = taken.iter().map(|(_, word)| line(*word)).collect();
        match assemble(&folder, &lines) {
            Ok(bytes) => break bytes,
            Err(bad) => {
                let mut number = 0;
                taken.retain(|_| {
                    number += 1;
                    !bad.contains(&number)
                });
            }
        }
    };
    std::fs::remove_dir_all(&folder).expect("our own folder");
    let mut at = 0;
    for (name, word) in &taken {
        let size = if word & 3 == 3 { 4 } else { 2 };
        let mut theirs = [0; 4];
        theirs[..size].copy_from_slice(&bytes[at..at + size]);
        let text = line(*word);
        assert_eq!(u32::from_le_bytes(theirs), *word, "{name}: {text}");
        at += size;
    }
    assert_eq!(at, bytes.len());
    let names = |words: &[(&'static str, u32)]| words.iter().map(|w| w.0).collect::<BTreeSet<_>>();
    let (had, known) = (names(&all), names(&taken));
    let unknown: Vec<_> = had.difference(&known).collect();
    println!(
        "{} rows of {} agree; not known to the assembler: {unknown:?}",
        known.len(),
        had.len()
    );
    assert!(known.len() * 10 >= had.len() * 7);
}
