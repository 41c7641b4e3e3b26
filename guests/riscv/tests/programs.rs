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
