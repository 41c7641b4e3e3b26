//! Memory full of random instructions, in every mode: nothing panics, and neither slices nor
//! dropped caches are visible.
//!
//! `OMNI_HOSTILE_ROUNDS` asks for more programs than the few of a quick run.

mod machine;
mod streams;

use machine::{Machine, RAM_BASE};
use omni_guest_riscv::isa::Insn;
use omni_guest_riscv::{envcfg, status};
use omni_state::Bundle;
use std::collections::BTreeSet;
use streams::Random;

const PAGES: u64 = 32;

/// A machine of this seed: code everywhere, tables that map RAM onto itself, live registers.
fn machine(seed: u64) -> Machine {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let rows: Vec<_> = Insn::ROWS.iter().collect();
    let mut m = Machine::new(PAGES);
    let mut bytes = vec![];
    while bytes.len() < 0x1_0000 {
        let row = rows[random.below(rows.len() as u64) as usize];
        let mut word = (random.next() >> 32) as u32 & row.pattern.free() | row.pattern.bits;
        // Branches and jumps stay near, and accesses to CSRs are mostly of those that exist.
        if matches!(word & 0x7f, 0x63 | 0x6f) {
            word &= 0x01ff_ffff;
        }
        if word & 0x7f == 0x73 && word >> 12 & 3 != 0 {
            const CSRS: [u32; 14] = [
                0x100, 0x104, 0x105, 0x141, 0x144, 0x180, 0x300, 0x304, 0x341, 0x14d, 0xb02, 0x30a,
                0x3a0, 0x3b0,
            ];
            word = word & 0xf_ffff | CSRS[random.below(14) as usize] << 20;
        }
        bytes.extend(&word.to_le_bytes()[..usize::from(row.pattern.size)]);
    }
    m.put(RAM_BASE, &bytes);
    // One gigabyte onto itself, and the pages of RAM once more, at zero.
    let root = RAM_BASE + 0x1_8000;
    let leaf = |at: u64| (at >> 12 << 10) | 0xcf;
    m.put(root + 16, &leaf(RAM_BASE).to_le_bytes());
    m.put(root, &((root + 0x1000) >> 12 << 10 | 1).to_le_bytes());
    m.put(root + 0x1000, &((root + 0x2000) >> 12 << 10 | 1).to_le_bytes());
    for page in 0..PAGES {
        let bits = 0x1f | random.below(2) << 4 | (random.below(4) << 6);
        let entry = (RAM_BASE + page * 0x1000) >> 12 << 10 | bits;
        m.put(root + 0x2000 + page * 8, &entry.to_le_bytes());
    }
    for x in 1..32 {
        let near = RAM_BASE + random.below(PAGES * 0x1000);
        let value = [near, near & !15, near & 0x1_ffff, random.next()];
        m.hart.set_x(x, value[random.below(4) as usize]);
    }
    let place = |random: &mut Random| (RAM_BASE + random.below(0x1_0000)) & !3;
    let (mtvec, stvec, mepc) = (place(&mut random), place(&mut random), place(&mut random));
    let c = &mut m.hart.control;
    (c.mtvec, c.stvec, c.mepc, c.sepc) = (mtvec, stvec, mepc, mepc);
    c.satp = 8 << 60 | root >> 12;
    c.mstatus = random.next() & status::WRITABLE & !status::MPP | random.below(2) << 11;
    c.menvcfg = random.next() & (envcfg::ADUE | envcfg::STCE | envcfg::CBZE);
    (c.medeleg, c.mideleg, c.mie) = (random.next() & 0xb3ff, 0x222, 0xaaa);
    c.stimecmp = random.below(300);
    c.mcounteren = 7;
    (c.pmpcfg[0], c.pmpaddr[0]) = (0x1f, (1 << 54) - 1);
    // Through the record, as a restored hart: what is derived is derived anew.
    let mut bundle = Bundle::default();
    m.hart.save("hart", &mut bundle);
    m.hart = omni_guest_riscv::Hart::load("hart", &mut bundle).expect("what a guest can set");
    m
}

/// All state after so many ticks.
fn run(seed: u64, slice: u64, drop: bool) -> (Vec<u8>, Vec<u8>, [u64; 3]) {
    let mut m = machine(seed);
    let mut left = 3_000;
    while left > 0 && m.board.halted.is_none() {
        left -= m.run(slice.min(left));
        if drop {
            m.engine.drop_caches(left);
        }
    }
    let mut bundle = Bundle::default();
    m.hart.save("hart", &mut bundle);
    let mut ram = vec![0; usize::try_from(m.board.ram.size()).expect("small")];
    m.board.ram.read(omni_base::Gpa(0), &mut ram).expect("all of it");
    let c = &m.hart.control;
    (bundle.to_bytes(), ram, [c.privilege.into(), c.mcause & 31, c.scause & 31])
}

#[test]
fn random_memory_has_one_future_whatever_the_slices_and_caches() {
    let rounds = std::env::var("OMNI_HOSTILE_ROUNDS").ok().and_then(|n| n.parse().ok());
    let mut ends = BTreeSet::new();
    for seed in 1..=rounds.unwrap_or(60) {
        let whole = run(seed, 3_000, false);
        ends.insert(whole.2);
        for (slice, drop) in [(1, false), (17, true), (100, true)] {
            let other = run(seed, slice, drop);
            assert!(whole.0 == other.0, "seed {seed}: another hart by slices of {slice}");
            assert!(whole.1 == other.1, "seed {seed}: other memory by slices of {slice}");
        }
    }
    println!("{} different ends", ends.len());
    assert!(ends.len() > 8, "the programs do many things");
}
