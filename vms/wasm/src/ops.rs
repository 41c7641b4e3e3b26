//! The register form: what functions are compiled to, and the table of its operations.
//!
//! An instruction is sixteen bytes. Its operands are registers, which are slots of the frame, and
//! constants; a branch has its target and what to add to the count of ticks. A row of the table
//! names an operation as the specification does, and says what it means; the compiler, the
//! interpreter and the names for people are made from it.
#![allow(clippy::wildcard_enum_match_arm, reason = "each question is about some of the operations")]

/// One instruction of the register form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Insn {
    /// What it does.
    pub(crate) op: Op,
    /// The register that it writes.
    pub(crate) d: u16,
    /// The first register that it reads.
    pub(crate) a: u16,
    /// The second, or a small constant.
    pub(crate) b: u16,
    /// A constant, an offset, or the target of a branch.
    pub(crate) imm: u64,
}

/// Gives the table to a macro.
macro_rules! ops {
    ($with:ident) => {
        $with! {
            // Two operands, and the same with a constant as the second. `swaps`: the operands can
            // be exchanged.
            pure2 {
                I32Add I32AddImm swaps true (u32) |a, b| a.wrapping_add(b);
                I32Sub I32SubImm swaps false (u32) |a, b| a.wrapping_sub(b);
                I32Mul I32MulImm swaps true (u32) |a, b| a.wrapping_mul(b);
                I32And I32AndImm swaps true (u32) |a, b| a & b;
                I32Or I32OrImm swaps true (u32) |a, b| a | b;
                I32Xor I32XorImm swaps true (u32) |a, b| a ^ b;
                I32Shl I32ShlImm swaps false (u32) |a, b| a.wrapping_shl(b as u32);
                I32ShrU I32ShrUImm swaps false (u32) |a, b| a.wrapping_shr(b as u32);
                I32ShrS I32ShrSImm swaps false (i32) |a, b| a.wrapping_shr(b as u32);
                I32Rotl I32RotlImm swaps false (u32) |a, b| a.rotate_left((b & 31) as u32);
                I32Rotr I32RotrImm swaps false (u32) |a, b| a.rotate_right((b & 31) as u32);
                I64Add I64AddImm swaps true (u64) |a, b| a.wrapping_add(b);
                I64Sub I64SubImm swaps false (u64) |a, b| a.wrapping_sub(b);
                I64Mul I64MulImm swaps true (u64) |a, b| a.wrapping_mul(b);
                I64And I64AndImm swaps true (u64) |a, b| a & b;
                I64Or I64OrImm swaps true (u64) |a, b| a | b;
                I64Xor I64XorImm swaps true (u64) |a, b| a ^ b;
                I64Shl I64ShlImm swaps false (u64) |a, b| a.wrapping_shl(b as u32);
                I64ShrU I64ShrUImm swaps false (u64) |a, b| a.wrapping_shr(b as u32);
                I64ShrS I64ShrSImm swaps false (i64) |a, b| a.wrapping_shr(b as u32);
                I64Rotl I64RotlImm swaps false (u64) |a, b| a.rotate_left((b & 63) as u32);
                I64Rotr I64RotrImm swaps false (u64) |a, b| a.rotate_right((b & 63) as u32);
            }
            // Comparisons, with a branch for each: `swap` has its operands exchanged, `not` is
            // false where it is true.
            test2 {
                I32Eq I32EqImm BrI32Eq BrI32EqImm swap I32Eq not I32Ne (u32) ==;
                I32Ne I32NeImm BrI32Ne BrI32NeImm swap I32Ne not I32Eq (u32) !=;
                I32LtS I32LtSImm BrI32LtS BrI32LtSImm swap I32GtS not I32GeS (i32) <;
                I32LtU I32LtUImm BrI32LtU BrI32LtUImm swap I32GtU not I32GeU (u32) <;
                I32GtS I32GtSImm BrI32GtS BrI32GtSImm swap I32LtS not I32LeS (i32) >;
                I32GtU I32GtUImm BrI32GtU BrI32GtUImm swap I32LtU not I32LeU (u32) >;
                I32LeS I32LeSImm BrI32LeS BrI32LeSImm swap I32GeS not I32GtS (i32) <=;
                I32LeU I32LeUImm BrI32LeU BrI32LeUImm swap I32GeU not I32GtU (u32) <=;
                I32GeS I32GeSImm BrI32GeS BrI32GeSImm swap I32LeS not I32LtS (i32) >=;
                I32GeU I32GeUImm BrI32GeU BrI32GeUImm swap I32LeU not I32LtU (u32) >=;
                I64Eq I64EqImm BrI64Eq BrI64EqImm swap I64Eq not I64Ne (u64) ==;
                I64Ne I64NeImm BrI64Ne BrI64NeImm swap I64Ne not I64Eq (u64) !=;
                I64LtS I64LtSImm BrI64LtS BrI64LtSImm swap I64GtS not I64GeS (i64) <;
                I64LtU I64LtUImm BrI64LtU BrI64LtUImm swap I64GtU not I64GeU (u64) <;
                I64GtS I64GtSImm BrI64GtS BrI64GtSImm swap I64LtS not I64LeS (i64) >;
                I64GtU I64GtUImm BrI64GtU BrI64GtUImm swap I64LtU not I64LeU (u64) >;
                I64LeS I64LeSImm BrI64LeS BrI64LeSImm swap I64GeS not I64GtS (i64) <=;
                I64LeU I64LeUImm BrI64LeU BrI64LeUImm swap I64GeU not I64GtU (u64) <=;
                I64GeS I64GeSImm BrI64GeS BrI64GeSImm swap I64LeS not I64LtS (i64) >=;
                I64GeU I64GeUImm BrI64GeU BrI64GeUImm swap I64LeU not I64LtU (u64) >=;
            }
            // Two operands, and a trap where there is no result.
            fail2 {
                I32DivS I32DivSImm (i32) div_i32;
                I32DivU I32DivUImm (u32) div_u32;
                I32RemS I32RemSImm (i32) rem_i32;
                I32RemU I32RemUImm (u32) rem_u32;
                I64DivS I64DivSImm (i64) div_i64;
                I64DivU I64DivUImm (u64) div_u64;
                I64RemS I64RemSImm (i64) rem_i64;
                I64RemU I64RemUImm (u64) rem_u64;
            }
            // Floats of two operands.
            float2 {
                F32Add (f32 => f32) |a, b| (a + b).canonical();
                F32Sub (f32 => f32) |a, b| (a - b).canonical();
                F32Mul (f32 => f32) |a, b| (a * b).canonical();
                F32Div (f32 => f32) |a, b| (a / b).canonical();
                F32Min (f32 => f32) |a, b| a.lesser(b);
                F32Max (f32 => f32) |a, b| a.greater(b);
                F32Copysign (f32 => f32) |a, b| a.copysign(b);
                F32Eq (f32 => bool) |a, b| a == b;
                F32Ne (f32 => bool) |a, b| a != b;
                F32Lt (f32 => bool) |a, b| a < b;
                F32Gt (f32 => bool) |a, b| a > b;
                F32Le (f32 => bool) |a, b| a <= b;
                F32Ge (f32 => bool) |a, b| a >= b;
                F64Add (f64 => f64) |a, b| (a + b).canonical();
                F64Sub (f64 => f64) |a, b| (a - b).canonical();
                F64Mul (f64 => f64) |a, b| (a * b).canonical();
                F64Div (f64 => f64) |a, b| (a / b).canonical();
                F64Min (f64 => f64) |a, b| a.lesser(b);
                F64Max (f64 => f64) |a, b| a.greater(b);
                F64Copysign (f64 => f64) |a, b| a.copysign(b);
                F64Eq (f64 => bool) |a, b| a == b;
                F64Ne (f64 => bool) |a, b| a != b;
                F64Lt (f64 => bool) |a, b| a < b;
                F64Gt (f64 => bool) |a, b| a > b;
                F64Le (f64 => bool) |a, b| a <= b;
                F64Ge (f64 => bool) |a, b| a >= b;
            }
            // One operand.
            pure1 {
                I32Eqz (u32 => bool) |a| a == 0;
                I32Clz (u32 => u32) |a| a.leading_zeros();
                I32Ctz (u32 => u32) |a| a.trailing_zeros();
                I32Popcnt (u32 => u32) |a| a.count_ones();
                I64Eqz (u64 => bool) |a| a == 0;
                I64Clz (u64 => u64) |a| u64::from(a.leading_zeros());
                I64Ctz (u64 => u64) |a| u64::from(a.trailing_zeros());
                I64Popcnt (u64 => u64) |a| u64::from(a.count_ones());
                I32Extend8S (u32 => i32) |a| i32::from((a as u8).cast_signed());
                I32Extend16S (u32 => i32) |a| i32::from((a as u16).cast_signed());
                I64Extend8S (u64 => i64) |a| i64::from((a as u8).cast_signed());
                I64Extend16S (u64 => i64) |a| i64::from((a as u16).cast_signed());
                I64Extend32S (u64 => i64) |a| i64::from((a as u32).cast_signed());
                I32WrapI64 (u64 => u32) |a| a as u32;
                I64ExtendI32S (i32 => i64) |a| i64::from(a);
                F32Abs (f32 => f32) |a| a.abs();
                F32Neg (f32 => f32) |a| -a;
                F32Ceil (f32 => f32) |a| a.ceil().canonical();
                F32Floor (f32 => f32) |a| a.floor().canonical();
                F32Trunc (f32 => f32) |a| a.trunc().canonical();
                F32Nearest (f32 => f32) |a| a.round_ties_even().canonical();
                F32Sqrt (f32 => f32) |a| a.sqrt().canonical();
                F32ConvertI32S (i32 => f32) |a| a as f32;
                F32ConvertI32U (u32 => f32) |a| a as f32;
                F32ConvertI64S (i64 => f32) |a| a as f32;
                F32ConvertI64U (u64 => f32) |a| a as f32;
                F64Abs (f64 => f64) |a| a.abs();
                F64Neg (f64 => f64) |a| -a;
                F64Ceil (f64 => f64) |a| a.ceil().canonical();
                F64Floor (f64 => f64) |a| a.floor().canonical();
                F64Trunc (f64 => f64) |a| a.trunc().canonical();
                F64Nearest (f64 => f64) |a| a.round_ties_even().canonical();
                F64Sqrt (f64 => f64) |a| a.sqrt().canonical();
                F64ConvertI32S (i32 => f64) |a| a as f64;
                F64ConvertI32U (u32 => f64) |a| a as f64;
                F64ConvertI64S (i64 => f64) |a| a as f64;
                F64ConvertI64U (u64 => f64) |a| a as f64;
                F32DemoteF64 (f64 => f32) |a| (a as f32).canonical();
                F64PromoteF32 (f32 => f64) |a| f64::from(a).canonical();
                I32TruncSatF32S (f32 => i32) |a| a as i32;
                I32TruncSatF32U (f32 => u32) |a| a as u32;
                I32TruncSatF64S (f64 => i32) |a| a as i32;
                I32TruncSatF64U (f64 => u32) |a| a as u32;
                I64TruncSatF32S (f32 => i64) |a| a as i64;
                I64TruncSatF32U (f32 => u64) |a| a as u64;
                I64TruncSatF64S (f64 => i64) |a| a as i64;
                I64TruncSatF64U (f64 => u64) |a| a as u64;
            }
            // One operand, and a trap where there is no result.
            fail1 {
                I32TruncF32S (f32) i32_of_f32;
                I32TruncF32U (f32) u32_of_f32;
                I32TruncF64S (f64) i32_of_f64;
                I32TruncF64U (f64) u32_of_f64;
                I64TruncF32S (f32) i64_of_f32;
                I64TruncF32U (f32) u64_of_f32;
                I64TruncF64S (f64) i64_of_f64;
                I64TruncF64U (f64) u64_of_f64;
            }
            // Loads: the bytes read as a type, and what they are widened to.
            load {
                I32Load u32 u32;
                I64Load u64 u64;
                F32Load u32 u32;
                F64Load u64 u64;
                I32Load8S i8 i32;
                I32Load8U u8 u32;
                I32Load16S i16 i32;
                I32Load16U u16 u32;
                I64Load8S i8 i64;
                I64Load8U u8 u64;
                I64Load16S i16 i64;
                I64Load16U u16 u64;
                I64Load32S i32 i64;
                I64Load32U u32 u64;
            }
            // Stores: the type that a slot is cut to.
            store {
                I32Store u32;
                I64Store u64;
                F32Store u32;
                F64Store u64;
                I32Store8 u8;
                I32Store16 u16;
                I64Store8 u8;
                I64Store16 u16;
                I64Store32 u32;
            }
            // What the interpreter has an arm of its own for.
            own {
                Copy Const CopyWide Br BrIf BrUnless BrTable Target Select SelectWide
                Return ReturnOne ReturnConst Call CallIndirect CallRef TailCall TailCallIndirect
                TailCallRef Trap GlobalGet GlobalSet GlobalGetWide GlobalSetWide TableGet TableSet
                BrNull BrNonNull NonNull LoadFar StoreFar Cold Vector VectorLoad VectorStore
            }
        }
    };
}
pub(crate) use ops;

macro_rules! define_op {
    (
        pure2 { $($p2:ident $p2i:ident swaps $swaps:literal ($p2t:ty) $p2f:expr;)* }
        test2 { $($t2:ident $t2i:ident $t2b:ident $t2bi:ident swap $sw:ident not $no:ident
            ($t2t:ty) $t2f:tt;)* }
        fail2 { $($f2:ident $f2i:ident ($f2t:ty) $f2f:ident;)* }
        float2 { $($l2:ident ($l2t:ty => $l2r:ty) $l2f:expr;)* }
        pure1 { $($p1:ident ($p1t:ty => $p1r:ty) $p1f:expr;)* }
        fail1 { $($f1:ident ($f1t:ty) $f1f:ident;)* }
        load { $($ld:ident $ldt:ident $ldr:ident;)* }
        store { $($st:ident $stt:ident;)* }
        own { $($own:ident)* }
    ) => {
        /// An operation.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        pub(crate) enum Op {
            $($p2, $p2i,)* $($t2, $t2i, $t2b, $t2bi,)* $($f2, $f2i,)* $($l2,)* $($p1,)* $($f1,)*
            $($ld,)* $($st,)* $($own,)*
        }

        impl Op {
            /// The same with a constant as the second operand.
            pub(crate) fn with_constant(self) -> Option<Self> {
                Some(match self {
                    $(Self::$p2 => Self::$p2i,)*
                    $(Self::$t2 => Self::$t2i,)*
                    $(Self::$f2 => Self::$f2i,)*
                    _ => return None,
                })
            }

            /// The same with its operands exchanged.
            pub(crate) fn swapped(self) -> Option<Self> {
                Some(match self {
                    $(Self::$p2 if $swaps => self,)*
                    $(Self::$t2 => Self::$sw,)*
                    _ => return None,
                })
            }

            /// The branch that is taken where a comparison is true, or where it is false.
            pub(crate) fn branch(self, when: bool) -> Option<Self> {
                Some(match (self, when) {
                    $((Self::$t2, true) => Self::$t2b,
                    (Self::$t2i, true) => Self::$t2bi,)*
                    $((Self::$t2, false) => Self::$no.branch(true)?,
                    (Self::$t2i, false) => Self::$no.with_constant()?.branch(true)?,)*
                    _ => return None,
                })
            }

            /// The comparison that is false where this one is true.
            pub(crate) fn opposite(self) -> Option<Self> {
                Some(match self {
                    $(Self::$t2 => Self::$no,
                    Self::$t2i => Self::$no.with_constant()?,)*
                    _ => return None,
                })
            }

            /// Whether a register is written, so that it could be another.
            pub(crate) fn writes(self) -> bool {
                match self {
                    $(Self::$p2 | Self::$p2i => true,)*
                    $(Self::$t2 | Self::$t2i => true,)*
                    $(Self::$f2 | Self::$f2i => true,)*
                    $(Self::$l2 => true,)*
                    $(Self::$p1 => true,)*
                    $(Self::$f1 => true,)*
                    $(Self::$ld => true,)*
                    Self::Copy | Self::Const | Self::Select | Self::GlobalGet | Self::TableGet => {
                        true
                    }
                    Self::CopyWide | Self::SelectWide | Self::GlobalGetWide => true,
                    Self::Vector | Self::VectorLoad => true,
                    _ => false,
                }
            }
        }
    };
}
ops!(define_op);

impl Insn {
    /// An instruction of two registers and one that it writes.
    pub(crate) fn new(op: Op, d: u16, a: u16, b: u16) -> Self {
        Self { op, d, a, b, imm: 0 }
    }

    /// The same with a constant.
    pub(crate) fn with(self, imm: u64) -> Self {
        Self { imm, ..self }
    }

    /// The same as a branch: its target, and what it adds to the count of ticks.
    pub(crate) fn to(self, target: u32, ticks: i32) -> Self {
        Self { imm: u64::from(target) | u64::from(ticks.cast_unsigned()) << 32, ..self }
    }

    /// The target of a branch.
    #[inline(always)]
    pub(crate) fn target(self) -> usize {
        self.imm as u32 as usize
    }

    /// What a branch adds to the count of ticks.
    #[inline(always)]
    pub(crate) fn ticks(self) -> i64 {
        (((self.imm >> 32) as u32).cast_signed()).into()
    }
}

const _: () = assert!(size_of::<Insn>() == 16);
