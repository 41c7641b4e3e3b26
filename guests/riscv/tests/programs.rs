//! Small programs on the translator.

mod machine;

use machine::{CONSOLE, HALT, Machine, RAM_BASE};
use omni_decode::Operand;
use omni_guest_riscv::isa::Base;
use omni_guest_riscv::operand::{Branch, High, Imm, RegImm, Store, Target, Upper, X};

#[test]
fn a_loop_adds_up_and_halts() {
    let mut m = Machine::new(16);
    let li = |rd, imm| Base::Addi(RegImm { rd: X(rd), rs1: X(0), imm: Imm(imm) });
    let code = [
        li(5, 100),
        Base::Add(omni_guest_riscv::operand::Reg { rd: X(6), rs1: X(6), rs2: X(5) }),
        Base::Addi(RegImm { rd: X(5), rs1: X(5), imm: Imm(-1) }),
        Base::Bne(Branch { rs1: X(5), rs2: X(0), imm: Target(-8) }),
        Base::Lui(Upper { rd: X(7), imm: High::of(u32::try_from(HALT >> 12).expect("fits")) }),
        Base::Sw(Store { rs1: X(7), rs2: X(6), imm: Imm(0) }),
    ];
    m.put_words(RAM_BASE, &code.map(Base::encode));
    let ticks = m.run(10_000);
    assert_eq!(m.board.halted, Some(5050));
    assert_eq!(ticks, 1 + 300 + 2);
    assert_eq!(m.hart.control.minstret, ticks);
    let _ = CONSOLE;
}

/// Values of three formats, in their boxes and out of them.
const FLOATS: [u64; 12] = [
    0,
    1 << 63,
    0x3ff8_0000_0000_0000,
    0xfff8_0000_dead_beef,
    0xffff_ffff_3f80_0000,
    0xffff_ffff_bf80_0001,
    0xffff_ffff_ffc1_2345,
    0x0000_0000_bf80_0000,
    0xffff_ffff_ffff_3c00,
    0xffff_ffff_ffff_fc01,
    0xffff_fffe_ffff_8001,
    u64::MAX,
];

#[test]
fn a_sign_from_the_same_register_is_as_one_from_an_equal_register() {
    // fsgnj, fsgnjn and fsgnjx of a single, a double and a half, with f1 alone and with f1 and f2.
    for (kind, format) in (0..9_u32).map(|nth| (nth % 3, nth / 3)) {
        let sgnj = |rd: u32, rs2: u32| {
            0x53 | rd << 7 | kind << 12 | 1 << 15 | rs2 << 20 | format << 25 | 4 << 27
        };
        for value in FLOATS {
            let mut m = Machine::new(16);
            m.hart.control.mstatus |= 3 << 13;
            m.put_words(RAM_BASE, &[sgnj(3, 1), sgnj(4, 2), sgnj(1, 1)]);
            m.hart.set_f(1, value);
            m.hart.set_f(2, value);
            assert_eq!(m.run(3), 3);
            assert_eq!(m.hart.f(3), m.hart.f(4), "{kind} {format} {value:#x}");
            assert_eq!(m.hart.f(1), m.hart.f(4), "{kind} {format} {value:#x}");
        }
    }
}
