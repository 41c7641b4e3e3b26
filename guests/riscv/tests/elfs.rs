//! Runs bare ELF programs that end by `tohost`, such as the public RISC-V instruction tests.
//!
//! `OMNI_RISCV_ELFS` names their directory; without it there is nothing to run.

mod machine;

use machine::{Machine, RAM_BASE};
use object::{Object, ObjectSegment, ObjectSymbol};
use omni_engine::Tiers;
use std::path::{Path, PathBuf};

/// What the program reported: zero where it passed, or why it could not run.
fn verdict(path: &Path, tiers: Tiers) -> Result<u64, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let elf = object::File::parse(&*bytes).map_err(|e| e.to_string())?;
    let mut m = Machine::on(4096, tiers);
    for segment in elf.segments() {
        let data = segment.data().map_err(|e| e.to_string())?;
        m.put(segment.address(), data);
    }
    m.hart.control.pc = elf.entry();
    let tohost = elf.symbols().find(|symbol| symbol.name() == Ok("tohost"));
    let tohost = tohost.ok_or("no symbol tohost")?.address();
    assert!(tohost >= RAM_BASE);
    for _ in 0..5_000 {
        m.run(1_000);
        if m.get(tohost) & 1 == 1 {
            return Ok(m.get(tohost) >> 1);
        }
    }
    Err(format!("no end: pc {:#x}, cause {:#x}", m.hart.control.pc, m.hart.control.mcause))
}

#[test]
fn every_elf_passes() {
    let Some(folder) = std::env::var_os("OMNI_RISCV_ELFS") else {
        println!("skipped: OMNI_RISCV_ELFS is not set");
        return;
    };
    let entries = std::fs::read_dir(folder).expect("a directory");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    let mut failures = vec![];
    for path in &paths {
        for tiers in [Tiers::Interpreter, Tiers::Compiled { after: 0 }] {
            match verdict(path, tiers) {
                Ok(0) => {}
                other => failures.push(format!("{}, {tiers:?}: {other:?}", path.display())),
            }
        }
    }
    println!("{} programs, {} failures", paths.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
