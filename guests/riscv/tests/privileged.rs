//! Traps, interrupts, CSRs, counters, waiting: what the privileged manual says.

mod machine;

use machine::{CONSOLE, Machine, RAM_BASE};
use omni_decode::Operand;
use omni_guest_riscv::isa::{Atomic, Base, CacheBlocks, Csrs, Double};
use omni_guest_riscv::operand::{
    Address, Amo, Csr, CsrNo, F, Float2Rm, High, Imm, Jump, Order, RegImm, Reserve, Rm, Target,
    Upper, X,
};
use omni_guest_riscv::trap::{cause, irq};
use omni_guest_riscv::{Control, Hart, envcfg, status};
use omni_state::Bundle;

const ECALL: u32 = 0x0000_0073;
const MRET: u32 = 0x3020_0073;
const SRET: u32 = 0x1020_0073;
const WFI: u32 = 0x1050_0073;
const SFENCE: u32 = 0x1200_0073;
const HANDLER: u64 = RAM_BASE + 0x1000;
const INTERRUPT: u64 = 1 << 63;

fn csrrw(rd: u8, csr: u16, rs1: u8) -> u32 {
    Csrs::Csrrw(Csr { rd: X(rd), rs1: X(rs1), csr: CsrNo(csr) }).encode()
}

fn csrrs(rd: u8, csr: u16, rs1: u8) -> u32 {
    Csrs::Csrrs(Csr { rd: X(rd), rs1: X(rs1), csr: CsrNo(csr) }).encode()
}

fn li(rd: u8, imm: i32) -> u32 {
    Base::Addi(RegImm { rd: X(rd), rs1: X(0), imm: Imm(imm) }).encode()
}

fn spin() -> u32 {
    Base::Jal(Jump { rd: X(0), imm: Target(0) }).encode()
}

fn fadd() -> u32 {
    Double::FaddD(Float2Rm { rd: F(1), rs1: F(2), rs2: F(3), rm: Rm(7) }).encode()
}

/// A machine with code at the reset address and handlers that spin.
fn with(code: &[u32]) -> Machine {
    let mut m = Machine::new(16);
    m.put_words(RAM_BASE, code);
    m.put_words(HANDLER, &[spin(); 16]);
    (m.hart.control.mtvec, m.hart.control.stvec) = (HANDLER, HANDLER);
    m
}

/// The same in S, as firmware leaves it.
fn in_supervisor(code: &[u32]) -> Machine {
    let mut m = with(code);
    m.hart.enter_supervisor(RAM_BASE, 0, 0);
    m
}

/// Runs one instruction in S and gives the cause and value of its trap, if it took one.
fn trap_of(m: &mut Machine) -> Option<(u64, u64)> {
    m.run(1);
    let c = &m.hart.control;
    let trapped = c.pc == HANDLER;
    let supervisor = c.privilege == 1;
    let pair = if supervisor { (c.scause, c.stval) } else { (c.mcause, c.mtval) };
    trapped.then_some(pair)
}

fn illegal(word: u32) -> Option<(u64, u64)> {
    Some((cause::ILLEGAL, u64::from(word)))
}

#[test]
fn the_timer_of_the_supervisor_fires_at_its_very_tick() {
    let mut m = in_supervisor(&[spin()]);
    let c = &mut m.hart.control;
    (c.stimecmp, c.mie, c.mstatus) = (50, irq::STI, status::SIE);
    // Ten ticks are one of `mtime`.
    assert_eq!(m.run(500), 500);
    assert_eq!((m.hart.control.scause, m.hart.control.minstret), (0, 500));
    m.run(1);
    let c = &m.hart.control;
    assert_eq!((c.scause, c.pc, c.sepc), (INTERRUPT | 5, HANDLER, RAM_BASE));
    assert_eq!(c.mstatus & (status::SIE | status::SPIE | status::SPP), status::SPIE | status::SPP);
    assert_eq!((c.minstret, c.mcycle), (500, 501));
}

#[test]
fn slices_of_a_run_are_the_run() {
    let run = |slice: u64| {
        let rearm = [csrrs(5, 0xc01, 0), 0x0142_8293, csrrw(0, 0x14d, 5), SRET];
        // addi a0, a0, 1; j .-4
        let mut m = in_supervisor(&[0x0015_0513, 0xffdf_f06f]);
        m.put_words(HANDLER, &rearm);
        let c = &mut m.hart.control;
        (c.stimecmp, c.mie, c.mstatus) = (33, irq::STI, status::SIE);
        let mut left = 10_000;
        while left > 0 {
            left -= m.run(slice.min(left));
        }
        let mut bundle = Bundle::default();
        m.hart.save("hart", &mut bundle);
        (m.hart.x(10), bundle.to_bytes())
    };
    let whole = run(10_000);
    assert!(whole.0 > 3000);
    for slice in [1, 7, 64, 999] {
        assert_eq!(run(slice), whole, "slices of {slice}");
    }
}

#[test]
fn a_hart_waits_until_an_interrupt_is_pending_even_where_none_is_taken() {
    let mut m = in_supervisor(&[WFI, li(7, 1), spin()]);
    m.hart.control.mie = irq::SEI;
    m.run(100);
    assert!(m.hart.control.waiting);
    assert_eq!(m.hart.control.minstret, 1);
    m.board.lines = irq::SEI;
    assert!(m.hart.wakes(m.board.lines, 0));
    m.run(10);
    // SIE is off: it wakes and goes on.
    assert_eq!((m.hart.x(7), m.hart.control.scause), (1, 0));
}

#[test]
fn interrupts_go_by_priority_delegation_and_vector() {
    let mut m = with(&[spin()]);
    let c = &mut m.hart.control;
    (c.mie, c.mideleg, c.mstatus) = (irq::ALL, irq::SUPERVISOR, status::MIE);
    c.mtvec = HANDLER | 1;
    m.board.lines = irq::MTI | irq::MEI | irq::SEI;
    m.run(1);
    assert_eq!((m.hart.control.mcause, m.hart.control.pc), (INTERRUPT | 11, HANDLER + 44));
    // In M with interrupts off nothing more is taken; in U, those of S are.
    m.board.lines = irq::SEI;
    let c = &mut m.hart.control;
    (c.privilege, c.pc, c.stvec) = (0, RAM_BASE, HANDLER);
    m.run(1);
    let c = &m.hart.control;
    assert_eq!((c.scause, c.pc, c.privilege), (INTERRUPT | 9, HANDLER, 1));
    assert_eq!(c.mstatus & status::SPP, 0);
}

#[test]
fn a_trap_puts_interrupts_off_until_its_return() {
    let mut m = with(&[spin()]);
    (m.hart.control.mie, m.hart.control.mstatus) = (irq::MTI, status::MIE);
    m.board.lines = irq::MTI;
    m.run(5);
    let c = &m.hart.control;
    assert_eq!((c.pc, c.mepc, c.mcause), (HANDLER, RAM_BASE, INTERRUPT | 7));
    assert_eq!(c.mstatus & (status::MIE | status::MPIE), status::MPIE);
    let mut m = in_supervisor(&[spin()]);
    let c = &mut m.hart.control;
    (c.mie, c.mideleg, c.stvec) = (irq::SEI, irq::SUPERVISOR, HANDLER);
    c.mstatus |= status::SIE;
    m.board.lines = irq::SEI;
    m.run(5);
    let c = &m.hart.control;
    assert_eq!((c.pc, c.sepc, c.scause), (HANDLER, RAM_BASE, INTERRUPT | 9));
    assert_eq!(c.mstatus & (status::SIE | status::SPIE), status::SPIE);
}

#[test]
fn calls_say_where_they_come_from() {
    for (privilege, expected) in [(0, 8), (1, 9), (3, 11)] {
        let mut m = with(&[ECALL]);
        m.hart.control.privilege = privilege;
        m.hart.control.pmpcfg[0] = 0x1f;
        m.hart.control.pmpaddr[0] = (1 << 54) - 1;
        let mut bundle = Bundle::default();
        m.hart.save("hart", &mut bundle);
        m.hart = Hart::load("hart", &mut bundle).expect("just saved");
        m.run(1);
        let c = &m.hart.control;
        assert_eq!((c.mcause, c.mepc, c.mtval), (expected, RAM_BASE, 0));
        assert_eq!((c.mstatus & status::MPP) >> status::MPP_SHIFT, u64::from(privilege));
    }
}

#[test]
fn returns_restore_what_the_trap_saved() {
    let mut m = with(&[MRET]);
    let c = &mut m.hart.control;
    (c.mepc, c.mstatus) = (HANDLER, status::MPIE | 1 << status::MPP_SHIFT | status::MPRV);
    m.hart.control.pmpcfg[0] = 0x1f;
    m.run(1);
    let c = &m.hart.control;
    assert_eq!((c.pc, c.privilege, c.mstatus), (HANDLER, 1, status::MIE | status::MPIE));
}

#[test]
fn what_the_level_above_traps_is_illegal() {
    for (word, bit) in [(WFI, status::TW), (SRET, status::TSR), (SFENCE, status::TVM)] {
        let mut m = in_supervisor(&[word]);
        m.hart.control.mstatus |= bit;
        assert_eq!(trap_of(&mut m), illegal(word));
        assert_eq!(trap_of(&mut in_supervisor(&[word])).filter(|t| t.0 == cause::ILLEGAL), None);
    }
    let satp = csrrs(1, 0x180, 0);
    let mut m = in_supervisor(&[satp]);
    m.hart.control.mstatus |= status::TVM;
    assert_eq!(trap_of(&mut m), illegal(satp));
    assert_eq!(trap_of(&mut in_supervisor(&[MRET])), illegal(MRET));
}

#[test]
fn floating_point_needs_its_state_on_and_makes_it_dirty() {
    let mut m = in_supervisor(&[fadd()]);
    assert_eq!(trap_of(&mut m), illegal(fadd()));
    let mut m = in_supervisor(&[fadd(), fadd(), spin()]);
    m.hart.control.mstatus |= 1 << 13;
    m.run(2);
    assert_eq!(m.hart.control.mstatus & status::FS, status::FS);
    assert_eq!((m.hart.control.pc, m.hart.control.minstret), (RAM_BASE + 8, 2));
    // A dynamic mode that does not exist.
    let frm = csrrw(0, 2, 5);
    let mut m = in_supervisor(&[frm, fadd()]);
    m.hart.control.mstatus |= status::FS;
    m.hart.set_x(5, 5);
    m.run(1);
    assert_eq!(trap_of(&mut m), illegal(fadd()));
}

#[test]
fn csrs_are_guarded_by_level_and_by_number() {
    for word in [csrrs(1, 0x300, 0), csrrw(0, 0xc00, 1), csrrs(1, 0x123, 0), csrrs(1, 0x3a1, 0)] {
        assert_eq!(trap_of(&mut in_supervisor(&[word])), illegal(word), "{word:#x}");
    }
    let time = csrrs(1, 0xc01, 0);
    assert_eq!(trap_of(&mut in_supervisor(&[time])), None);
    let mut m = in_supervisor(&[time]);
    m.hart.control.mcounteren = 0;
    assert_eq!(trap_of(&mut m), illegal(time));
    let mut m = in_supervisor(&[time]);
    m.hart.control.privilege = 0;
    assert_eq!(trap_of(&mut m), illegal(time));
    let mut m = in_supervisor(&[csrrs(1, 0x14d, 0)]);
    m.hart.control.menvcfg &= !envcfg::STCE;
    assert_eq!(trap_of(&mut m).map(|t| t.0), Some(cause::ILLEGAL));
}

#[test]
fn fields_hold_only_what_they_can() {
    // (csr, written, read back)
    let cases: [(u16, u64, u64); 10] = [
        (0x300, 2 << 11, 2 << 32 | 2 << 34),
        (0x300, u64::MAX, 1 << 63 | 2 << 32 | 2 << 34 | 0x7e_79aa),
        (0x301, 0, 2 << 62 | 0x14_112d),
        (0x303, u64::MAX, 0x222),
        (0x304, u64::MAX, 0xaaa),
        (0x305, u64::MAX, !2),
        (0x341, u64::MAX, !1),
        (0x320, u64::MAX, 5),
        (0x180, 3 << 60, 0),
        (0x180, 9 << 60 | 7, 9 << 60 | 7),
    ];
    for (csr, written, read) in cases {
        let mut m = with(&[csrrw(0, csr, 5), csrrs(6, csr, 0)]);
        m.hart.set_x(5, written);
        m.run(2);
        assert_eq!(m.hart.x(6), read, "CSR {csr:#x}");
    }
}

#[test]
fn counters_count_retired_instructions_and_can_be_stopped() {
    let mut m = with(&[
        csrrw(0, 0xb02, 5),
        csrrs(6, 0xb02, 0),
        csrrs(7, 0xc02, 0),
        csrrw(0, 0x320, 8),
        csrrs(9, 0xb02, 0),
        csrrs(10, 0xb02, 0),
        csrrw(0, 0x320, 0),
        csrrs(11, 0xb02, 0),
    ]);
    m.hart.set_x(5, 1000);
    m.hart.set_x(8, 4);
    m.run(8);
    let x = |number| m.hart.x(number);
    assert_eq!((x(6), x(7)), (1000, 1001));
    assert_eq!(x(9), x(10));
    assert_eq!(x(11), x(10));
}

#[test]
fn cache_blocks_may_be_zeroed_where_the_level_above_says_so() {
    let zero = CacheBlocks::CboZero(Address { rs1: X(5) }).encode();
    let mut m = in_supervisor(&[zero]);
    m.put(RAM_BASE + 0x2000, &[0xff; 192]);
    m.hart.set_x(5, RAM_BASE + 0x2055);
    assert_eq!(trap_of(&mut m), None);
    assert_eq!(m.get(RAM_BASE + 0x2038), u64::MAX);
    assert_eq!((m.get(RAM_BASE + 0x2040), m.get(RAM_BASE + 0x2078)), (0, 0));
    assert_eq!(m.get(RAM_BASE + 0x2080), u64::MAX);
    let mut m = in_supervisor(&[zero]);
    m.hart.control.menvcfg = 0;
    assert_eq!(trap_of(&mut m), illegal(zero));
    let mut m = in_supervisor(&[zero]);
    m.hart.set_x(5, 0x55);
    assert_eq!(trap_of(&mut m), Some((cause::STORE_ACCESS, 0x55)));
}

#[test]
fn atomics_are_aligned_and_to_ram() {
    let swap = Atomic::AmoswapD(Amo { rd: X(6), rs1: X(5), rs2: X(7), order: Order(0) }).encode();
    let load = Atomic::LrW(Reserve { rd: X(6), rs1: X(5), order: Order(0) }).encode();
    let cases = [
        (swap, RAM_BASE + 0x2004, cause::STORE_MISALIGNED),
        (swap, CONSOLE, cause::STORE_ACCESS),
        (load, RAM_BASE + 0x2002, cause::LOAD_MISALIGNED),
        (load, CONSOLE, cause::LOAD_ACCESS),
    ];
    for (word, at, expected) in cases {
        let mut m = in_supervisor(&[word]);
        m.hart.set_x(5, at);
        assert_eq!(trap_of(&mut m), Some((expected, at)), "{at:#x}");
    }
}

#[test]
fn a_trap_drops_the_reservation() {
    let load = Atomic::LrW(Reserve { rd: X(6), rs1: X(5), order: Order(0) }).encode();
    let mut m = in_supervisor(&[load, ECALL]);
    m.hart.set_x(5, RAM_BASE + 0x2000);
    m.run(1);
    assert!(m.hart.is_reserved());
    m.run(1);
    assert!(!m.hart.is_reserved());
}

#[test]
fn a_saved_hart_has_one_form_and_damage_is_refused() {
    let upper = Upper { rd: X(9), imm: High::of(0x12345) };
    let mut m = in_supervisor(&[Base::Lui(upper).encode(), spin()]);
    m.run(50);
    let mut bundle = Bundle::default();
    m.hart.save("hart", &mut bundle);
    let back = Hart::load("hart", &mut bundle.clone()).expect("just saved");
    assert_eq!((&back.registers, &back.control), (&m.hart.registers, &m.hart.control));
    let damages: [fn(&mut Control); 7] = [
        |c| c.privilege = 2,
        |c| c.pc |= 1,
        |c| c.satp = 1 << 60,
        |c| c.pmpaddr[3] = 1 << 62,
        |c| c.mstatus |= 2 << status::MPP_SHIFT,
        |c| c.mie = 1,
        |c| c.menvcfg = 1 << 40,
    ];
    for damage in damages {
        let mut hart = m.hart.clone();
        damage(&mut hart.control);
        let mut bundle = Bundle::default();
        hart.save("hart", &mut bundle);
        assert!(Hart::load("hart", &mut bundle).is_err());
    }
}
