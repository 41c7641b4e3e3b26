//! An encoder of the x86-64 instructions that the tier uses (Intel SDM volume 2, AMD APM volume 3).

use crate::moves::{Fix, What};

/// A general-purpose register, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gpr(pub(crate) u8);

/// An SSE register, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Xmm(pub(crate) u8);

pub(crate) const RAX: Gpr = Gpr(0);
pub(crate) const RCX: Gpr = Gpr(1);
pub(crate) const RDX: Gpr = Gpr(2);
pub(crate) const RBX: Gpr = Gpr(3);
pub(crate) const RSP: Gpr = Gpr(4);
pub(crate) const RBP: Gpr = Gpr(5);
pub(crate) const RSI: Gpr = Gpr(6);
pub(crate) const RDI: Gpr = Gpr(7);
pub(crate) const R8: Gpr = Gpr(8);
pub(crate) const R9: Gpr = Gpr(9);
pub(crate) const R10: Gpr = Gpr(10);
pub(crate) const R11: Gpr = Gpr(11);
pub(crate) const R12: Gpr = Gpr(12);
pub(crate) const R13: Gpr = Gpr(13);
pub(crate) const R14: Gpr = Gpr(14);
pub(crate) const R15: Gpr = Gpr(15);

/// An operand in memory: `base + index * 2^scale + disp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mem {
    pub(crate) base: Gpr,
    pub(crate) index: Option<(Gpr, u8)>,
    pub(crate) disp: i32,
}

impl Mem {
    pub(crate) fn at(base: Gpr, disp: i32) -> Self {
        Self { base, index: None, disp }
    }

    pub(crate) fn indexed(base: Gpr, index: Gpr, scale: u8, disp: i32) -> Self {
        Self { base, index: Some((index, scale)), disp }
    }
}

/// What the `rm` field names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rm {
    R(u8),
    M(Mem),
}

impl From<Gpr> for Rm {
    fn from(reg: Gpr) -> Self {
        Self::R(reg.0)
    }
}

impl From<Xmm> for Rm {
    fn from(reg: Xmm) -> Self {
        Self::R(reg.0)
    }
}

impl From<Mem> for Rm {
    fn from(mem: Mem) -> Self {
        Self::M(mem)
    }
}

/// The width of an integer operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum W {
    D,
    Q,
}

/// The arithmetic operations with the common encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts and rotations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// Conditions of jumps and `setcc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cc {
    O = 0,
    B = 2,
    Ae = 3,
    E = 4,
    Ne = 5,
    Be = 6,
    A = 7,
    S = 8,
    Ns = 9,
    P = 10,
    Np = 11,
    L = 12,
    Ge = 13,
    Le = 14,
    G = 15,
}

/// A place in the code that a jump leads to, once it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Jump(
    /// The offset of its 32-bit displacement.
    pub(crate) usize,
);

/// How an instruction is encoded besides its operands.
#[derive(Clone, Copy)]
struct Form<'a> {
    prefix: Option<u8>,
    wide: bool,
    /// An operand is a byte register, which needs a REX prefix for some numbers.
    byte: bool,
    opcode: &'a [u8],
}

fn form(opcode: &[u8], w: W) -> Form<'_> {
    Form { prefix: None, wide: w == W::Q, byte: false, opcode }
}

fn sse(prefix: u8, opcode: &[u8]) -> Form<'_> {
    Form { prefix: Some(prefix), wide: false, byte: false, opcode }
}

/// Machine code in the making.
#[derive(Default, Debug)]
pub(crate) struct Asm {
    pub(crate) bytes: Vec<u8>,
    /// Displacements and the offsets that they lead to, until `settle`.
    bound: Vec<(Jump, i64)>,
    /// What changes where code is copied, but for jumps.
    fixes: Vec<Fix>,
}

/// Where bytes will be: those from `split` on apart from the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) split: usize,
    /// Offsets in the arena.
    pub(crate) at: usize,
    pub(crate) rest_at: usize,
}

impl Place {
    /// The offset in the arena of one in the bytes, or outside of them, from where they begin.
    pub(crate) fn arena(self, within: i64) -> i64 {
        let split = offset(self.split);
        let (at, rest) = (offset(self.at), offset(self.rest_at) - split);
        within + if within < split { at } else { rest }
    }
}

impl Asm {
    /// With room for so many bytes.
    pub(crate) fn with_room(bytes: usize) -> Self {
        let bound = Vec::with_capacity(32);
        Self { bytes: Vec::with_capacity(bytes), bound, fixes: Vec::with_capacity(32) }
    }

    pub(crate) fn here(&self) -> usize {
        self.bytes.len()
    }

    fn imm32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn encode(&mut self, form: Form<'_>, reg: u8, rm: Rm) {
        self.bytes.extend(form.prefix);
        let (x, b) = match rm {
            Rm::R(number) => (0, number >> 3),
            Rm::M(mem) => (mem.index.map_or(0, |(index, _)| index.0 >> 3), mem.base.0 >> 3),
        };
        let rex = u8::from(form.wide) << 3 | (reg >> 3) << 2 | x << 1 | b;
        let low_byte = form.byte && (reg >= 4 || matches!(rm, Rm::R(4..)));
        if rex != 0 || low_byte {
            self.bytes.push(0x40 | rex);
        }
        self.bytes.extend_from_slice(form.opcode);
        self.modrm(reg & 7, rm);
    }

    fn modrm(&mut self, reg: u8, rm: Rm) {
        let mem = match rm {
            Rm::R(number) => {
                self.bytes.push(0xc0 | reg << 3 | number & 7);
                return;
            }
            Rm::M(mem) => mem,
        };
        let base = mem.base.0 & 7;
        let small = i8::try_from(mem.disp);
        // Without a displacement, the encoding of rbp and r13 means something else.
        let mode = match (mem.disp, small) {
            (0, _) if base != RBP.0 => 0,
            (_, Ok(_)) => 1,
            _ => 2,
        };
        match mem.index {
            Some((index, scale)) => {
                debug_assert_ne!(index, RSP, "rsp is no index");
                self.bytes.push(mode << 6 | reg << 3 | 4);
                self.bytes.push(scale << 6 | (index.0 & 7) << 3 | base);
            }
            None if base == RSP.0 => {
                self.bytes.push(mode << 6 | reg << 3 | 4);
                self.bytes.push(4 << 3 | base);
            }
            None => self.bytes.push(mode << 6 | reg << 3 | base),
        }
        match (mode, small) {
            (0, _) => {}
            (1, Ok(disp)) => self.bytes.push(disp.cast_unsigned()),
            _ => self.imm32(mem.disp),
        }
    }

    /// `dst = src`
    pub(crate) fn mov(&mut self, w: W, dst: Gpr, src: impl Into<Rm>) {
        self.encode(form(&[0x8b], w), dst.0, src.into());
    }

    /// `*dst = src`, of 1, 2, 4 or 8 bytes.
    pub(crate) fn store(&mut self, bytes: u64, dst: Mem, src: Gpr) {
        let (opcode, prefix) = match bytes {
            1 => (0x88, None),
            2 => (0x89, Some(0x66)),
            _ => (0x89, None),
        };
        let opcode = &[opcode];
        let form = Form { prefix, wide: bytes == 8, byte: bytes == 1, opcode };
        self.encode(form, src.0, dst.into());
    }

    /// `*dst = src` where `*dst` is rax, else `rax = *dst`, in one step; of 4 or 8 bytes.
    pub(crate) fn lock_cmpxchg(&mut self, w: W, dst: Mem, src: Gpr) {
        self.encode(Form { prefix: Some(0xf0), ..form(&[0x0f, 0xb1], w) }, src.0, dst.into());
    }

    /// Stores before are seen by all before loads after are made: `lock or dword [rsp], 0`, which
    /// takes less time than `mfence`.
    pub(crate) fn fence(&mut self) {
        self.bytes.extend_from_slice(&[0xf0, 0x83, 0x0c, 0x24, 0]);
    }

    /// `*dst = imm`, of 1, 2, 4 or 8 bytes; 8 bytes are sign-extended.
    pub(crate) fn store_imm(&mut self, bytes: u64, dst: Mem, imm: i32) {
        let (opcode, prefix) = match bytes {
            1 => (0xc6, None),
            2 => (0xc7, Some(0x66)),
            _ => (0xc7, None),
        };
        let opcode = &[opcode];
        self.encode(Form { prefix, wide: bytes == 8, byte: false, opcode }, 0, dst.into());
        let imm = imm.to_le_bytes();
        let count = match bytes {
            1 => 1,
            2 => 2,
            _ => 4,
        };
        self.bytes.extend_from_slice(&imm[..count]);
    }

    /// `dst = value`, in the shortest form; flags stay.
    pub(crate) fn mov_imm(&mut self, dst: Gpr, value: u64) {
        if let Ok(value) = u32::try_from(value) {
            if dst.0 >= 8 {
                self.bytes.push(0x41);
            }
            self.bytes.push(0xb8 | dst.0 & 7);
            self.imm32(value.cast_signed());
        } else if let Ok(value) = i32::try_from(value.cast_signed()) {
            self.encode(form(&[0xc7], W::Q), 0, dst.into());
            self.imm32(value);
        } else {
            self.bytes.push(0x48 | dst.0 >> 3);
            self.bytes.push(0xb8 | dst.0 & 7);
            self.bytes.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// `dst = value`, of 64 bits whatever it is, and changed where the code is copied.
    pub(crate) fn mov_address(&mut self, dst: Gpr, value: u64) {
        self.bytes.push(0x48 | dst.0 >> 3);
        self.bytes.push(0xb8 | dst.0 & 7);
        self.fix_next(What::Address);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// `dst = place`, likewise.
    pub(crate) fn mov_place(&mut self, dst: Gpr, place: u32) {
        // Of any value, which `mov_imm` need not be.
        self.bytes.push(0xb8 | dst.0 & 7);
        self.fix_next(What::Place);
        self.imm32(place.cast_signed());
    }

    fn fix_next(&mut self, what: What) {
        self.fixes.push(Fix::new(self.bytes.len(), what));
    }

    /// `dst = zero- or sign-extended src` of 1, 2 or 4 bytes, to 64 bits.
    pub(crate) fn extend(&mut self, bytes: u64, signed: bool, dst: Gpr, src: impl Into<Rm>) {
        let src = src.into();
        let (opcode, w): (&[u8], W) = match (bytes, signed) {
            (1, false) => (&[0x0f, 0xb6], W::D),
            (2, false) => (&[0x0f, 0xb7], W::D),
            (1, true) => (&[0x0f, 0xbe], W::Q),
            (2, true) => (&[0x0f, 0xbf], W::Q),
            (_, false) => (&[0x8b], W::D),
            (_, true) => (&[0x63], W::Q),
        };
        // The byte register is the source; the destination's number is no byte register.
        let byte = bytes == 1 && matches!(src, Rm::R(4..));
        self.encode(Form { prefix: None, wide: w == W::Q, byte, opcode }, dst.0, src);
    }

    pub(crate) fn lea(&mut self, w: W, dst: Gpr, mem: Mem) {
        self.encode(form(&[0x8d], w), dst.0, mem.into());
    }

    /// `dst = dst op src`, or a comparison.
    pub(crate) fn alu(&mut self, op: Alu, w: W, dst: Gpr, src: impl Into<Rm>) {
        self.encode(form(&[(op as u8) << 3 | 3], w), dst.0, src.into());
    }

    /// `*dst = *dst op src`, or a comparison.
    pub(crate) fn alu_to(&mut self, op: Alu, w: W, dst: Mem, src: Gpr) {
        self.encode(form(&[(op as u8) << 3 | 1], w), src.0, dst.into());
    }

    /// `dst = dst op imm`, or a comparison.
    pub(crate) fn alu_imm(&mut self, op: Alu, w: W, dst: impl Into<Rm>, imm: i32) {
        let dst = dst.into();
        if let Ok(imm) = i8::try_from(imm) {
            self.encode(form(&[0x83], w), op as u8, dst);
            self.bytes.push(imm.cast_unsigned());
        } else {
            self.encode(form(&[0x81], w), op as u8, dst);
            self.imm32(imm);
        }
    }

    /// Compares the number of a mapping; gives the offset of the immediate, to be patched.
    pub(crate) fn cmp_guard(&mut self, base: Gpr, disp: i32, imm: u32) -> usize {
        assert!(disp > 127, "of four bytes, which can be changed to any");
        self.encode(form(&[0x81], W::D), Alu::Cmp as u8, Mem::at(base, disp).into());
        self.fixes.push(Fix::new(self.here() - 4, What::Guard));
        self.imm32(imm.cast_signed());
        self.here() - 4
    }

    pub(crate) fn test(&mut self, w: W, a: Gpr, b: Gpr) {
        self.encode(form(&[0x85], w), b.0, a.into());
    }

    pub(crate) fn test_imm8(&mut self, a: Gpr, imm: u8) {
        let form = Form { prefix: None, wide: false, byte: true, opcode: &[0xf6] };
        self.encode(form, 0, a.into());
        self.bytes.push(imm);
    }

    pub(crate) fn not(&mut self, w: W, dst: Gpr) {
        self.encode(form(&[0xf7], w), 2, dst.into());
    }

    pub(crate) fn neg(&mut self, w: W, dst: Gpr) {
        self.encode(form(&[0xf7], w), 3, dst.into());
    }

    /// `rdx:rax = rax * src`, unsigned or signed.
    pub(crate) fn mul_wide(&mut self, signed: bool, w: W, src: Gpr) {
        self.encode(form(&[0xf7], w), 4 + u8::from(signed), src.into());
    }

    /// `rax = rdx:rax / src; rdx = rdx:rax % src`, unsigned or signed.
    pub(crate) fn div(&mut self, signed: bool, w: W, src: Gpr) {
        self.encode(form(&[0xf7], w), 6 + u8::from(signed), src.into());
    }

    /// Sign-extends rax into rdx.
    pub(crate) fn sign_to_rdx(&mut self, w: W) {
        if w == W::Q {
            self.bytes.push(0x48);
        }
        self.bytes.push(0x99);
    }

    /// `dst = dst * src`
    pub(crate) fn mul(&mut self, w: W, dst: Gpr, src: impl Into<Rm>) {
        self.encode(form(&[0x0f, 0xaf], w), dst.0, src.into());
    }

    pub(crate) fn shift_imm(&mut self, op: Shift, w: W, dst: Gpr, count: u8) {
        self.encode(form(&[0xc1], w), op as u8, dst.into());
        self.bytes.push(count);
    }

    /// By the count in `cl`.
    pub(crate) fn shift_cl(&mut self, op: Shift, w: W, dst: Gpr) {
        self.encode(form(&[0xd3], w), op as u8, dst.into());
    }

    /// `dst = cc ? 1 : 0`, the low byte only.
    pub(crate) fn setcc(&mut self, cc: Cc, dst: Gpr) {
        let opcode = &[0x0f, 0x90 | cc as u8];
        self.encode(Form { prefix: None, wide: false, byte: true, opcode }, 0, dst.into());
    }

    /// `dst = cc ? src : dst`
    pub(crate) fn cmov(&mut self, cc: Cc, dst: Gpr, src: impl Into<Rm>) {
        self.encode(form(&[0x0f, 0x40 | cc as u8], W::Q), dst.0, src.into());
    }

    pub(crate) fn bswap(&mut self, w: W, dst: Gpr) {
        let rex = u8::from(w == W::Q) << 3 | dst.0 >> 3;
        if rex != 0 {
            self.bytes.push(0x40 | rex);
        }
        self.bytes.extend_from_slice(&[0x0f, 0xc8 | dst.0 & 7]);
    }

    pub(crate) fn popcnt(&mut self, w: W, dst: Gpr, src: Gpr) {
        let opcode = &[0x0f, 0xb8];
        let form = Form { prefix: Some(0xf3), wide: w == W::Q, byte: false, opcode };
        self.encode(form, dst.0, src.into());
    }

    /// `bsf` or, where `reverse`, `bsr`.
    pub(crate) fn bit_scan(&mut self, reverse: bool, w: W, dst: Gpr, src: Gpr) {
        self.encode(form(&[0x0f, 0xbc | u8::from(reverse)], w), dst.0, src.into());
    }

    pub(crate) fn push(&mut self, reg: Gpr) {
        if reg.0 >= 8 {
            self.bytes.push(0x41);
        }
        self.bytes.push(0x50 | reg.0 & 7);
    }

    pub(crate) fn pop(&mut self, reg: Gpr) {
        if reg.0 >= 8 {
            self.bytes.push(0x41);
        }
        self.bytes.push(0x58 | reg.0 & 7);
    }

    pub(crate) fn ret(&mut self) {
        self.bytes.push(0xc3);
    }

    pub(crate) fn jmp_rm(&mut self, to: impl Into<Rm>) {
        self.encode(form(&[0xff], W::D), 4, to.into());
    }

    pub(crate) fn call_rm(&mut self, to: impl Into<Rm>) {
        self.encode(form(&[0xff], W::D), 2, to.into());
    }

    /// A jump that is bound later.
    pub(crate) fn jmp(&mut self) -> Jump {
        self.bytes.push(0xe9);
        self.imm32(0);
        Jump(self.here() - 4)
    }

    /// A conditional jump that is bound later.
    pub(crate) fn jcc(&mut self, cc: Cc) -> Jump {
        self.bytes.extend_from_slice(&[0x0f, 0x80 | cc as u8]);
        self.imm32(0);
        Jump(self.here() - 4)
    }

    /// A call that is bound later.
    pub(crate) fn call(&mut self) -> Jump {
        self.bytes.push(0xe8);
        self.imm32(0);
        Jump(self.here() - 4)
    }

    /// Makes a jump lead to an offset, which may lie before these bytes.
    pub(crate) fn bind_to(&mut self, jump: Jump, to: i64) {
        self.bound.push((jump, to));
    }

    /// The bytes, once it is known where they will be, and what changes where they are copied.
    pub(crate) fn settle(mut self, place: Place) -> (Vec<u8>, Vec<Fix>) {
        let split = offset(place.split);
        for (jump, to) in self.bound {
            let what = match (to, offset(jump.0) < split) {
                (..0, _) => Some(What::ToShared),
                (to, false) if to < split => Some(What::ToOften),
                (to, true) if to >= split => Some(What::ToRest),
                _ => None,
            };
            self.fixes.extend(what.map(|what| Fix::new(jump.0, what)));
            let by = place.arena(to) - (place.arena(offset(jump.0)) + 4);
            let by = i32::try_from(by).expect("code lies in one arena of less than 2 GiB");
            self.bytes[jump.0..jump.0 + 4].copy_from_slice(&by.to_le_bytes());
        }
        (self.bytes, self.fixes)
    }

    /// Makes a jump lead here.
    pub(crate) fn bind(&mut self, jump: Jump) {
        self.bind_to(jump, offset(self.here()));
    }

    /// An operation on the low double (`prefix` 0xf2) or single (0xf3), or a packed one (0x66).
    pub(crate) fn float(&mut self, prefix: u8, opcode: u8, dst: Xmm, src: impl Into<Rm>) {
        self.encode(sse(prefix, &[0x0f, opcode]), dst.0, src.into());
    }

    /// A move of all of a register.
    pub(crate) fn movaps(&mut self, dst: Xmm, src: Xmm) {
        let form = Form { prefix: None, wide: false, byte: false, opcode: &[0x0f, 0x28] };
        self.encode(form, dst.0, src.into());
    }

    /// Unordered (`0x2e`) or signalling (`0x2f`) comparison; doubles where `prefix` is 0x66.
    pub(crate) fn comis(&mut self, double: bool, opcode: u8, a: Xmm, b: Xmm) {
        let prefix = double.then_some(0x66);
        let opcode = &[0x0f, opcode];
        self.encode(Form { prefix, wide: false, byte: false, opcode }, a.0, b.into());
    }

    /// `dst = src`, the low 8 bytes; the rest becomes zero.
    pub(crate) fn load_xmm(&mut self, bytes: u64, dst: Xmm, src: Mem) {
        if bytes == 8 {
            self.float(0xf3, 0x7e, dst, src);
        } else {
            // movd
            self.encode(sse(0x66, &[0x0f, 0x6e]), dst.0, src.into());
        }
    }

    /// `*dst = src`, the low 8 or 4 bytes.
    pub(crate) fn store_xmm(&mut self, bytes: u64, dst: Mem, src: Xmm) {
        if bytes == 8 {
            self.encode(sse(0x66, &[0x0f, 0xd6]), src.0, dst.into());
        } else {
            self.encode(sse(0x66, &[0x0f, 0x7e]), src.0, dst.into());
        }
    }

    pub(crate) fn xmm_from_gpr(&mut self, w: W, dst: Xmm, src: Gpr) {
        let opcode = &[0x0f, 0x6e];
        let form = Form { prefix: Some(0x66), wide: w == W::Q, byte: false, opcode };
        self.encode(form, dst.0, src.into());
    }

    pub(crate) fn gpr_from_xmm(&mut self, w: W, dst: Gpr, src: Xmm) {
        let opcode = &[0x0f, 0x7e];
        let form = Form { prefix: Some(0x66), wide: w == W::Q, byte: false, opcode };
        self.encode(form, src.0, dst.into());
    }

    /// To an integer, by the mode of MXCSR or, where `truncate`, towards zero.
    pub(crate) fn float_to_int(&mut self, prefix: u8, truncate: bool, w: W, dst: Gpr, src: Xmm) {
        let opcode = &[0x0f, if truncate { 0x2c } else { 0x2d }];
        let form = Form { prefix: Some(prefix), wide: w == W::Q, byte: false, opcode };
        self.encode(form, dst.0, src.into());
    }

    /// From a signed integer.
    pub(crate) fn float_from_int(&mut self, prefix: u8, w: W, dst: Xmm, src: Gpr) {
        let opcode = &[0x0f, 0x2a];
        let form = Form { prefix: Some(prefix), wide: w == W::Q, byte: false, opcode };
        self.encode(form, dst.0, src.into());
    }

    /// `dst = a * dst + b` and its negations: the forms 213 of the fused operations.
    pub(crate) fn mul_add(&mut self, opcode: u8, double: bool, dst: Xmm, a: Xmm, b: Xmm) {
        let (reg, rm) = (dst.0, b.0);
        // VEX with three bytes: map 0F38, 128 bits, prefix 66.
        let inverted = |bit: u8| (bit ^ 1) << 7;
        self.bytes.push(0xc4);
        self.bytes.push(inverted(reg >> 3) | 0x40 | inverted(rm >> 3) >> 2 | 2);
        self.bytes.push(u8::from(double) << 7 | (!a.0 & 15) << 3 | 1);
        self.bytes.push(opcode);
        self.bytes.push(0xc0 | (reg & 7) << 3 | rm & 7);
    }

    /// `dst = dst | src`, all of it; `src` must be aligned.
    pub(crate) fn orps(&mut self, dst: Xmm, src: Mem) {
        self.encode(form(&[0x0f, 0x56], W::D), dst.0, src.into());
    }

    /// Bytes that are equal in both become all ones, others zero.
    pub(crate) fn equal_bytes(&mut self, dst: Xmm, src: Xmm) {
        self.float(0x66, 0x74, dst, src);
    }

    /// `dst = src` rounded to an integral value, by the mode of the instruction.
    pub(crate) fn round(&mut self, double: bool, mode: u8, dst: Xmm, src: Xmm) {
        let opcode = &[0x0f, 0x3a, 0x0a | u8::from(double)];
        self.encode(sse(0x66, opcode), dst.0, src.into());
        self.bytes.push(mode);
    }

    /// `*dst = src`, all of it, at any address.
    pub(crate) fn store_all(&mut self, dst: Mem, src: Xmm) {
        self.encode(form(&[0x0f, 0x11], W::D), src.0, dst.into());
    }

    /// Stores rax at rdi so many times as rcx says, upward.
    pub(crate) fn repeat_store(&mut self) {
        self.bytes.extend_from_slice(&[0xf3, 0x48, 0xab]);
    }

    /// A word of 32 bits among the code.
    pub(crate) fn word(&mut self, word: u32) -> usize {
        self.imm32(word.cast_signed());
        self.here() - 4
    }

    /// `dst = 0`
    pub(crate) fn clear_xmm(&mut self, dst: Xmm) {
        self.encode(form(&[0x0f, 0x57], W::D), dst.0, dst.into());
    }

    pub(crate) fn ldmxcsr(&mut self, src: Mem) {
        self.encode(form(&[0x0f, 0xae], W::D), 2, src.into());
    }

    pub(crate) fn stmxcsr(&mut self, dst: Mem) {
        self.encode(form(&[0x0f, 0xae], W::D), 3, dst.into());
    }
}

/// An offset, for arithmetic that may go below zero.
pub(crate) fn offset(at: usize) -> i64 {
    i64::try_from(at).expect("an offset in memory")
}
