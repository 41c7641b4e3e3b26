//! RV64I: integers, branches, loads and stores; the hints of Zihintpause and Zihintntl.

use crate::lower::Lower;
use crate::operand::{B, Fen, I, J, R, S, Sh5, Sh6, U};
use crate::operand::{Bare, Branch, Fence, Jump, None, Reg, RegImm, Shift, Store, Upper};
use crate::trap::cause;
use omni_decode::instructions;
use omni_ir::{Binary, Cond, Fence as Order, Size, Unary, Val, Width};

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// The base instructions.
    pub enum Base for Lower<'_> {
        /// `rd = imm << 12`
        Lui    = "....... ..... ..... ... ..... 0110111", U, "lui {rd}, {imm}" => lui;
        /// `rd = pc + (imm << 12)`
        Auipc  = "....... ..... ..... ... ..... 0010111", U, "auipc {rd}, {imm}" => auipc;
        /// `rd = next; pc += imm`
        Jal    = "....... ..... ..... ... ..... 1101111", J, "jal {rd}, {imm}" => jal;
        /// `rd = next; pc = (rs1 + imm) & !1`
        Jalr   = "....... ..... ..... 000 ..... 1100111", I, "jalr {rd}, {imm}({rs1})" => jalr;
        /// `if rs1 == rs2 { pc += imm }`
        Beq    = "....... ..... ..... 000 ..... 1100011", B, "beq {rs1}, {rs2}, {imm}" => beq;
        /// `if rs1 != rs2 { pc += imm }`
        Bne    = "....... ..... ..... 001 ..... 1100011", B, "bne {rs1}, {rs2}, {imm}" => bne;
        /// `if rs1 < rs2 { pc += imm }`
        Blt    = "....... ..... ..... 100 ..... 1100011", B, "blt {rs1}, {rs2}, {imm}" => blt;
        /// `if rs1 >= rs2 { pc += imm }`
        Bge    = "....... ..... ..... 101 ..... 1100011", B, "bge {rs1}, {rs2}, {imm}" => bge;
        /// `if rs1 < rs2 { pc += imm }`, unsigned
        Bltu   = "....... ..... ..... 110 ..... 1100011", B, "bltu {rs1}, {rs2}, {imm}" => bltu;
        /// `if rs1 >= rs2 { pc += imm }`, unsigned
        Bgeu   = "....... ..... ..... 111 ..... 1100011", B, "bgeu {rs1}, {rs2}, {imm}" => bgeu;
        /// `rd = mem8[rs1 + imm]`
        Lb     = "....... ..... ..... 000 ..... 0000011", I, "lb {rd}, {imm}({rs1})" => lb;
        /// `rd = mem16[rs1 + imm]`
        Lh     = "....... ..... ..... 001 ..... 0000011", I, "lh {rd}, {imm}({rs1})" => lh;
        /// `rd = mem32[rs1 + imm]`
        Lw     = "....... ..... ..... 010 ..... 0000011", I, "lw {rd}, {imm}({rs1})" => lw;
        /// `rd = mem64[rs1 + imm]`
        Ld     = "....... ..... ..... 011 ..... 0000011", I, "ld {rd}, {imm}({rs1})" => ld;
        /// `rd = mem8[rs1 + imm]`, zero-extended
        Lbu    = "....... ..... ..... 100 ..... 0000011", I, "lbu {rd}, {imm}({rs1})" => lbu;
        /// `rd = mem16[rs1 + imm]`, zero-extended
        Lhu    = "....... ..... ..... 101 ..... 0000011", I, "lhu {rd}, {imm}({rs1})" => lhu;
        /// `rd = mem32[rs1 + imm]`, zero-extended
        Lwu    = "....... ..... ..... 110 ..... 0000011", I, "lwu {rd}, {imm}({rs1})" => lwu;
        /// `mem8[rs1 + imm] = rs2`
        Sb     = "....... ..... ..... 000 ..... 0100011", S, "sb {rs2}, {imm}({rs1})" => sb;
        /// `mem16[rs1 + imm] = rs2`
        Sh     = "....... ..... ..... 001 ..... 0100011", S, "sh {rs2}, {imm}({rs1})" => sh;
        /// `mem32[rs1 + imm] = rs2`
        Sw     = "....... ..... ..... 010 ..... 0100011", S, "sw {rs2}, {imm}({rs1})" => sw;
        /// `mem64[rs1 + imm] = rs2`
        Sd     = "....... ..... ..... 011 ..... 0100011", S, "sd {rs2}, {imm}({rs1})" => sd;
        /// `rd = rs1 + imm`
        Addi   = "....... ..... ..... 000 ..... 0010011", I, "addi {rd}, {rs1}, {imm}" => addi;
        /// `rd = rs1 < imm`
        Slti   = "....... ..... ..... 010 ..... 0010011", I, "slti {rd}, {rs1}, {imm}" => slti;
        /// `rd = rs1 < imm`, unsigned
        Sltiu  = "....... ..... ..... 011 ..... 0010011", I, "sltiu {rd}, {rs1}, {imm}" => sltiu;
        /// `rd = rs1 ^ imm`
        Xori   = "....... ..... ..... 100 ..... 0010011", I, "xori {rd}, {rs1}, {imm}" => xori;
        /// `rd = rs1 | imm`; with x0, the prefetches of Zicbop
        Ori    = "....... ..... ..... 110 ..... 0010011", I, "ori {rd}, {rs1}, {imm}" => ori;
        /// `rd = rs1 & imm`
        Andi   = "....... ..... ..... 111 ..... 0010011", I, "andi {rd}, {rs1}, {imm}" => andi;
        /// `rd = rs1 << shamt`
        Slli   = "000000 ...... ..... 001 ..... 0010011", Sh6, "slli {rd}, {rs1}, {shamt}" => slli;
        /// `rd = rs1 >> shamt`, unsigned
        Srli   = "000000 ...... ..... 101 ..... 0010011", Sh6, "srli {rd}, {rs1}, {shamt}" => srli;
        /// `rd = rs1 >> shamt`
        Srai   = "010000 ...... ..... 101 ..... 0010011", Sh6, "srai {rd}, {rs1}, {shamt}" => srai;
        /// `rd = rs1 + rs2`; with x0, the hints of Zihintntl
        Add    = "0000000 ..... ..... 000 ..... 0110011", R, "add {rd}, {rs1}, {rs2}" => add;
        /// `rd = rs1 - rs2`
        Sub    = "0100000 ..... ..... 000 ..... 0110011", R, "sub {rd}, {rs1}, {rs2}" => sub;
        /// `rd = rs1 << rs2`
        Sll    = "0000000 ..... ..... 001 ..... 0110011", R, "sll {rd}, {rs1}, {rs2}" => sll;
        /// `rd = rs1 < rs2`
        Slt    = "0000000 ..... ..... 010 ..... 0110011", R, "slt {rd}, {rs1}, {rs2}" => slt;
        /// `rd = rs1 < rs2`, unsigned
        Sltu   = "0000000 ..... ..... 011 ..... 0110011", R, "sltu {rd}, {rs1}, {rs2}" => sltu;
        /// `rd = rs1 ^ rs2`
        Xor    = "0000000 ..... ..... 100 ..... 0110011", R, "xor {rd}, {rs1}, {rs2}" => xor;
        /// `rd = rs1 >> rs2`, unsigned
        Srl    = "0000000 ..... ..... 101 ..... 0110011", R, "srl {rd}, {rs1}, {rs2}" => srl;
        /// `rd = rs1 >> rs2`
        Sra    = "0100000 ..... ..... 101 ..... 0110011", R, "sra {rd}, {rs1}, {rs2}" => sra;
        /// `rd = rs1 | rs2`
        Or     = "0000000 ..... ..... 110 ..... 0110011", R, "or {rd}, {rs1}, {rs2}" => or;
        /// `rd = rs1 & rs2`
        And    = "0000000 ..... ..... 111 ..... 0110011", R, "and {rd}, {rs1}, {rs2}" => and;
        /// `rd = rs1 + imm`, 32 bits
        Addiw  = "....... ..... ..... 000 ..... 0011011", I, "addiw {rd}, {rs1}, {imm}" => addiw;
        /// `rd = rs1 << shamt`, 32 bits
        Slliw  = "0000000 ..... ..... 001 ..... 0011011", Sh5,
            "slliw {rd}, {rs1}, {shamt}" => slliw;
        /// `rd = rs1 >> shamt`, unsigned, 32 bits
        Srliw  = "0000000 ..... ..... 101 ..... 0011011", Sh5,
            "srliw {rd}, {rs1}, {shamt}" => srliw;
        /// `rd = rs1 >> shamt`, 32 bits
        Sraiw  = "0100000 ..... ..... 101 ..... 0011011", Sh5,
            "sraiw {rd}, {rs1}, {shamt}" => sraiw;
        /// `rd = rs1 + rs2`, 32 bits
        Addw   = "0000000 ..... ..... 000 ..... 0111011", R, "addw {rd}, {rs1}, {rs2}" => addw;
        /// `rd = rs1 - rs2`, 32 bits
        Subw   = "0100000 ..... ..... 000 ..... 0111011", R, "subw {rd}, {rs1}, {rs2}" => subw;
        /// `rd = rs1 << rs2`, 32 bits
        Sllw   = "0000000 ..... ..... 001 ..... 0111011", R, "sllw {rd}, {rs1}, {rs2}" => sllw;
        /// `rd = rs1 >> rs2`, unsigned, 32 bits
        Srlw   = "0000000 ..... ..... 101 ..... 0111011", R, "srlw {rd}, {rs1}, {rs2}" => srlw;
        /// `rd = rs1 >> rs2`, 32 bits
        Sraw   = "0100000 ..... ..... 101 ..... 0111011", R, "sraw {rd}, {rs1}, {rs2}" => sraw;
        /// Orders memory accesses. Every bit but the opcode may be a hint, `pause` among them.
        Fence  = ".... .... .... ..... 000 ..... 0001111", Fen,
            ".insn i 15, 0, {rd}, {rs1}, {fm} << 8 | {pred} << 4 | {succ}" => fence;
        /// Asks the level above.
        Ecall  = "0000000 00000 00000 000 00000 1110011", Bare, "ecall" => ecall;
        /// Asks the debugger.
        Ebreak = "0000000 00001 00000 000 00000 1110011", Bare, "ebreak" => ebreak;
    }
}

/// The value of an upper immediate.
fn upper(imm: u32) -> u64 {
    i64::from((imm << 12).cast_signed()).cast_unsigned()
}

/// A sign-extended immediate.
fn wide(imm: i32) -> u64 {
    i64::from(imm).cast_unsigned()
}

pub(super) fn lui(cx: &mut Lower<'_>, o: Upper) {
    let dst = cx.dst(o.rd);
    cx.b.put(dst, upper(o.imm.0));
}

fn auipc(cx: &mut Lower<'_>, o: Upper) {
    let dst = cx.dst(o.rd);
    cx.b.address(dst, cx.pc.wrapping_add(upper(o.imm.0)));
}

pub(super) fn jal(cx: &mut Lower<'_>, o: Jump) {
    let dst = cx.dst(o.rd);
    cx.b.address(dst, cx.next());
    cx.b.jump(cx.pc.wrapping_add(wide(o.imm.0)));
}

pub(super) fn jalr(cx: &mut Lower<'_>, o: RegImm) {
    // The target first: rd may be rs1.
    let to = cx.b.temp();
    cx.b.binary(Binary::Add, to, cx.x(o.rs1), wide(o.imm.0));
    cx.b.binary(Binary::And, to, to, !1);
    let dst = cx.dst(o.rd);
    cx.b.address(dst, cx.next());
    cx.b.indirect(to);
}

macro_rules! branches {
    ($($name:ident = $cond:ident;)*) => {$(
        pub(super) fn $name(cx: &mut Lower<'_>, o: Branch) {
            let to = cx.pc.wrapping_add(wide(o.imm.0));
            cx.b.branch(Cond::$cond, cx.x(o.rs1), cx.x(o.rs2), to, cx.next());
        }
    )*};
}
branches! { beq = Eq; bne = Ne; blt = LtS; bge = GeS; bltu = LtU; bgeu = GeU; }

macro_rules! loads {
    ($($name:ident = $size:ident $signed:literal;)*) => {$(
        pub(super) fn $name(cx: &mut Lower<'_>, o: RegImm) {
            let dst = cx.dst(o.rd);
            cx.b.load(Size::$size, $signed, dst, cx.x(o.rs1), o.imm.0);
        }
    )*};
}
loads! {
    lb = B1 true; lh = B2 true; lw = B4 true; ld = B8 false;
    lbu = B1 false; lhu = B2 false; lwu = B4 false;
}

macro_rules! stores {
    ($($name:ident = $size:ident;)*) => {$(
        pub(super) fn $name(cx: &mut Lower<'_>, o: Store) {
            cx.b.store(Size::$size, cx.x(o.rs1), o.imm.0, cx.x(o.rs2));
        }
    )*};
}
stores! { sb = B1; sh = B2; sw = B4; sd = B8; }

/// `rd = a op b`: nothing at all where rd is x0, since no operation traps.
pub(super) fn binary(
    cx: &mut Lower<'_>,
    (op, width): (Binary, Width),
    rd: crate::operand::X,
    a: Val,
    b: Val,
) {
    if rd.0 != 0 {
        let dst = cx.dst(rd);
        cx.b.sized(op, width, dst, a, b);
    }
}

/// Meanings of two registers, of a register and an immediate, and of a shift by a constant.
macro_rules! arithmetic {
    ($($name:ident $form:ident = $op:ident $width:ident;)*) => {$(
        pub(super) fn $name(cx: &mut Lower<'_>, o: arithmetic!(@type $form)) {
            let (a, b) = (cx.x(o.rs1), arithmetic!(@operand $form, cx, o));
            crate::isa::base::binary(cx, (Binary::$op, Width::$width), o.rd, a, b);
        }
    )*};
    (@type reg) => { Reg };
    (@type imm) => { RegImm };
    (@type shift) => { Shift };
    (@operand reg, $cx:ident, $o:ident) => { $cx.x($o.rs2) };
    (@operand imm, $cx:ident, $o:ident) => { Val::Const(i64::from($o.imm.0).cast_unsigned()) };
    (@operand shift, $cx:ident, $o:ident) => { Val::Const(u64::from($o.shamt.0)) };
}
pub(super) use arithmetic;

arithmetic! {
    addi imm = Add Full; slti imm = LtS Full; sltiu imm = LtU Full;
    xori imm = Xor Full; ori imm = Or Full; andi imm = And Full;
    slli shift = Shl Full; srli shift = Shr Full; srai shift = Sar Full;
    sub reg = Sub Full; sll reg = Shl Full; slt reg = LtS Full;
    sltu reg = LtU Full; xor reg = Xor Full; srl reg = Shr Full; sra reg = Sar Full;
    or reg = Or Full; and reg = And Full;
    slliw shift = Shl Signed32; srliw shift = Shr Signed32; sraiw shift = Sar Signed32;
    addw reg = Add Signed32; subw reg = Sub Signed32; sllw reg = Shl Signed32;
    srlw reg = Shr Signed32; sraw reg = Sar Signed32;
}

pub(super) fn add(cx: &mut Lower<'_>, o: Reg) {
    if o.rs1.0 == 0 && o.rd.0 != 0 {
        // What `c.mv` expands to.
        let dst = cx.dst(o.rd);
        cx.b.put(dst, cx.x(o.rs2));
        return;
    }
    binary(cx, (Binary::Add, Width::Full), o.rd, cx.x(o.rs1), cx.x(o.rs2));
}

pub(super) fn addiw(cx: &mut Lower<'_>, o: RegImm) {
    if o.rd.0 == 0 {
        return;
    }
    let dst = cx.dst(o.rd);
    if o.imm.0 == 0 {
        cx.b.unary(Unary::Sext32, dst, cx.x(o.rs1));
    } else {
        cx.b.sized(Binary::Add, Width::Signed32, dst, cx.x(o.rs1), wide(o.imm.0));
    }
}

fn fence(cx: &mut Lower<'_>, o: Fence) {
    // The sets are of input, output, reads and writes, from the highest bit down.
    let (stores, loads) = (o.pred.0 & 0b0101 != 0, o.succ.0 & 0b1010 != 0);
    if o.fm.0 == 0b1000 && o.pred.0 == 0b0011 && o.succ.0 == 0b0011 {
        // `fence.tso`: all but stores before loads.
        cx.b.fence(Order::Acquire);
        cx.b.fence(Order::Release);
        return;
    }
    let order = match (stores, loads) {
        (true, true) => Order::Full,
        (true, false) => Order::Release,
        (false, _) => Order::Acquire,
    };
    cx.b.fence(order);
}

fn ecall(cx: &mut Lower<'_>, _: None) {
    cx.b.trap(cause::ECALL_USER + cx.mode.privilege.bits(), 0);
}

pub(super) fn ebreak(cx: &mut Lower<'_>, _: None) {
    cx.b.trap(cause::BREAKPOINT, cx.pc);
}
