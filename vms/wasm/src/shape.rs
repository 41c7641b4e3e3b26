//! What operations of the register form are in the shared IR.
#![allow(clippy::wildcard_enum_match_arm, reason = "each question is about some of the operations")]

use crate::lower::{Float2, Shape, Test};
use crate::ops::Op;
use omni_ir::{Binary, FloatOp, Format, Size, Unary, Width};

const D: Width = Width::Unsigned32;
const Q: Width = Width::Full;

/// Modes of rounding, in the numbers of the IR's first guest.
const NEAREST: u64 = 0;
const TO_ZERO: u64 = 1;
const DOWN: u64 = 2;
const UP: u64 = 3;

/// Operations of integers of 32 bits and of 64, with a register and with a constant.
macro_rules! both {
    ($op:expr; $($narrow:ident $narrow_imm:ident $wide:ident $wide_imm:ident => $what:expr;)*) => {
        match $op {
            $(Op::$narrow => Some(($what, D, false)),
            Op::$narrow_imm => Some(($what, D, true)),
            Op::$wide => Some(($what, Q, false)),
            Op::$wide_imm => Some(($what, Q, true)),)*
            _ => None,
        }
    };
}

/// Operations of floats of both widths.
macro_rules! floats {
    ($op:expr; $($narrow:ident $wide:ident => $what:expr;)*) => {
        match $op {
            $(Op::$narrow => Some(($what, Format::F32)),
            Op::$wide => Some(($what, Format::F64)),)*
            _ => None,
        }
    };
}

impl Op {
    /// What it is in the IR, where it is arithmetic or an access to memory.
    pub(crate) fn shape(self) -> Option<Shape> {
        let binary = self.binary().map(|(op, width, imm)| Shape::Binary(op, width, imm));
        let test = || self.test().map(|(op, width, imm)| Shape::Test(op, width, imm));
        let division = || self.division().map(|(op, width, imm)| Shape::Division(op, width, imm));
        let float = || self.float2().map(|(op, format)| Shape::Float2(op, format));
        let first = binary.or_else(test).or_else(division).or_else(float);
        first.or_else(|| self.unary()).or_else(|| self.conversion()).or_else(|| self.access())
    }

    fn binary(self) -> Option<(Binary, Width, bool)> {
        both! { self;
            I32Add I32AddImm I64Add I64AddImm => Binary::Add;
            I32Sub I32SubImm I64Sub I64SubImm => Binary::Sub;
            I32Mul I32MulImm I64Mul I64MulImm => Binary::Mul;
            I32And I32AndImm I64And I64AndImm => Binary::And;
            I32Or I32OrImm I64Or I64OrImm => Binary::Or;
            I32Xor I32XorImm I64Xor I64XorImm => Binary::Xor;
            I32Shl I32ShlImm I64Shl I64ShlImm => Binary::Shl;
            I32ShrU I32ShrUImm I64ShrU I64ShrUImm => Binary::Shr;
            I32ShrS I32ShrSImm I64ShrS I64ShrSImm => Binary::Sar;
            I32Rotl I32RotlImm I64Rotl I64RotlImm => Binary::RotL;
            I32Rotr I32RotrImm I64Rotr I64RotrImm => Binary::RotR;
        }
    }

    fn test(self) -> Option<(Test, Width, bool)> {
        both! { self;
            I32Eq I32EqImm I64Eq I64EqImm => Test::Eq;
            I32Ne I32NeImm I64Ne I64NeImm => Test::Ne;
            I32LtS I32LtSImm I64LtS I64LtSImm => Test::LtS;
            I32LtU I32LtUImm I64LtU I64LtUImm => Test::LtU;
            I32GtS I32GtSImm I64GtS I64GtSImm => Test::GtS;
            I32GtU I32GtUImm I64GtU I64GtUImm => Test::GtU;
            I32LeS I32LeSImm I64LeS I64LeSImm => Test::LeS;
            I32LeU I32LeUImm I64LeU I64LeUImm => Test::LeU;
            I32GeS I32GeSImm I64GeS I64GeSImm => Test::GeS;
            I32GeU I32GeUImm I64GeU I64GeUImm => Test::GeU;
        }
    }

    /// The comparison of a branch by two operands, and whether the second is a constant.
    pub(crate) fn branch_test(self) -> Option<(Test, Width, bool)> {
        both! { self;
            BrI32Eq BrI32EqImm BrI64Eq BrI64EqImm => Test::Eq;
            BrI32Ne BrI32NeImm BrI64Ne BrI64NeImm => Test::Ne;
            BrI32LtS BrI32LtSImm BrI64LtS BrI64LtSImm => Test::LtS;
            BrI32LtU BrI32LtUImm BrI64LtU BrI64LtUImm => Test::LtU;
            BrI32GtS BrI32GtSImm BrI64GtS BrI64GtSImm => Test::GtS;
            BrI32GtU BrI32GtUImm BrI64GtU BrI64GtUImm => Test::GtU;
            BrI32LeS BrI32LeSImm BrI64LeS BrI64LeSImm => Test::LeS;
            BrI32LeU BrI32LeUImm BrI64LeU BrI64LeUImm => Test::LeU;
            BrI32GeS BrI32GeSImm BrI64GeS BrI64GeSImm => Test::GeS;
            BrI32GeU BrI32GeUImm BrI64GeU BrI64GeUImm => Test::GeU;
        }
    }

    fn division(self) -> Option<(Binary, Width, bool)> {
        both! { self;
            I32DivS I32DivSImm I64DivS I64DivSImm => Binary::DivS;
            I32DivU I32DivUImm I64DivU I64DivUImm => Binary::DivU;
            I32RemS I32RemSImm I64RemS I64RemSImm => Binary::RemS;
            I32RemU I32RemUImm I64RemU I64RemUImm => Binary::RemU;
        }
    }

    fn float2(self) -> Option<(Float2, Format)> {
        floats! { self;
            F32Add F64Add => Float2::Plain(FloatOp::Add);
            F32Sub F64Sub => Float2::Plain(FloatOp::Sub);
            F32Mul F64Mul => Float2::Plain(FloatOp::Mul);
            F32Div F64Div => Float2::Plain(FloatOp::Div);
            F32Min F64Min => Float2::Plain(FloatOp::Minimum);
            F32Max F64Max => Float2::Plain(FloatOp::Maximum);
            F32Copysign F64Copysign => Float2::Copysign;
            F32Eq F64Eq => Float2::Plain(FloatOp::EqQuiet);
            F32Ne F64Ne => Float2::Ne;
            F32Lt F64Lt => Float2::Plain(FloatOp::LtQuiet);
            F32Gt F64Gt => Float2::Gt;
            F32Le F64Le => Float2::Plain(FloatOp::LeQuiet);
            F32Ge F64Ge => Float2::Ge;
        }
    }

    fn unary(self) -> Option<Shape> {
        let narrow = Some(Unary::Zext32);
        Some(match self {
            Self::I32Eqz => Shape::Test(Test::Eq, D, true),
            Self::I64Eqz => Shape::Test(Test::Eq, Q, true),
            Self::I32Clz => Shape::Unary(Unary::Clz32, None),
            Self::I32Ctz => Shape::Unary(Unary::Ctz32, None),
            Self::I32Popcnt => Shape::Unary(Unary::Popcount32, None),
            Self::I64Clz => Shape::Unary(Unary::Clz64, None),
            Self::I64Ctz => Shape::Unary(Unary::Ctz64, None),
            Self::I64Popcnt => Shape::Unary(Unary::Popcount64, None),
            Self::I32Extend8S => Shape::Unary(Unary::Sext8, narrow),
            Self::I32Extend16S => Shape::Unary(Unary::Sext16, narrow),
            Self::I64Extend8S => Shape::Unary(Unary::Sext8, None),
            Self::I64Extend16S => Shape::Unary(Unary::Sext16, None),
            Self::I64Extend32S | Self::I64ExtendI32S => Shape::Unary(Unary::Sext32, None),
            Self::I32WrapI64 => Shape::Unary(Unary::Zext32, None),
            Self::F32Abs => Shape::Bits(Binary::And, 0x7fff_ffff),
            Self::F64Abs => Shape::Bits(Binary::And, u64::MAX >> 1),
            Self::F32Neg => Shape::Bits(Binary::Xor, 1 << 31),
            Self::F64Neg => Shape::Bits(Binary::Xor, 1 << 63),
            _ => return None,
        })
    }

    fn conversion(self) -> Option<Shape> {
        let rounded = floats! { self;
            F32Ceil F64Ceil => (FloatOp::Round, UP);
            F32Floor F64Floor => (FloatOp::Round, DOWN);
            F32Trunc F64Trunc => (FloatOp::Round, TO_ZERO);
            F32Nearest F64Nearest => (FloatOp::Round, NEAREST);
            F32Sqrt F64Sqrt => (FloatOp::Sqrt, NEAREST);
            F32ConvertI32S F64ConvertI32S => (FloatOp::FromI32, NEAREST);
            F32ConvertI32U F64ConvertI32U => (FloatOp::FromU32, NEAREST);
            F32ConvertI64S F64ConvertI64S => (FloatOp::FromI64, NEAREST);
            F32ConvertI64U F64ConvertI64U => (FloatOp::FromU64, NEAREST);
            F64PromoteF32 F32DemoteF64 => match self {
                Self::F64PromoteF32 => (FloatOp::ToFloat(Format::F64), NEAREST),
                _ => (FloatOp::ToFloat(Format::F32), NEAREST),
            };
            I64TruncF32S I64TruncF64S => (FloatOp::ToI64, TO_ZERO);
            I64TruncF32U I64TruncF64U => (FloatOp::ToU64, TO_ZERO);
            I64TruncSatF32S I64TruncSatF64S => (FloatOp::ToI64, TO_ZERO);
            I64TruncSatF32U I64TruncSatF64U => (FloatOp::ToU64, TO_ZERO);
        };
        if let Some(((op, mode), format)) = rounded {
            return Some(Shape::Float1(op, format, mode, None));
        }
        let narrow = floats! { self;
            I32TruncF32S I32TruncF64S => FloatOp::ToI32;
            I32TruncF32U I32TruncF64U => FloatOp::ToU32;
            I32TruncSatF32S I32TruncSatF64S => FloatOp::ToI32;
            I32TruncSatF32U I32TruncSatF64U => FloatOp::ToU32;
        };
        narrow.map(|(op, format)| Shape::Float1(op, format, TO_ZERO, Some(Unary::Zext32)))
    }

    fn access(self) -> Option<Shape> {
        let narrow = Some(Unary::Zext32);
        Some(match self {
            Self::I32Load | Self::F32Load | Self::I64Load32U => Shape::Load(Size::B4, false, None),
            Self::I64Load | Self::F64Load => Shape::Load(Size::B8, false, None),
            Self::I32Load8S => Shape::Load(Size::B1, true, narrow),
            Self::I32Load8U | Self::I64Load8U => Shape::Load(Size::B1, false, None),
            Self::I32Load16S => Shape::Load(Size::B2, true, narrow),
            Self::I32Load16U | Self::I64Load16U => Shape::Load(Size::B2, false, None),
            Self::I64Load8S => Shape::Load(Size::B1, true, None),
            Self::I64Load16S => Shape::Load(Size::B2, true, None),
            Self::I64Load32S => Shape::Load(Size::B4, true, None),
            Self::I32Store | Self::F32Store | Self::I64Store32 => Shape::Store(Size::B4),
            Self::I64Store | Self::F64Store => Shape::Store(Size::B8),
            Self::I32Store8 | Self::I64Store8 => Shape::Store(Size::B1),
            Self::I32Store16 | Self::I64Store16 => Shape::Store(Size::B2),
            _ => return None,
        })
    }

    /// Whether it is a branch with one target.
    pub(crate) fn branches(self) -> bool {
        let plain =
            matches!(self, Self::Br | Self::BrIf | Self::BrUnless | Self::BrNull | Self::BrNonNull);
        plain || self.branch_test().is_some()
    }

    /// Whether its second operand is a register.
    pub(crate) fn reads_second(self) -> bool {
        let imm = |of: Option<(_, Width, bool)>| of.is_some_and(|(_, _, imm)| !imm);
        let two = self.binary().or(self.division());
        let tests = self.test().or(self.branch_test());
        let float = self.float2().is_some();
        let other = matches!(self, Self::Select) || matches!(self.access(), Some(Shape::Store(_)));
        two.is_some_and(|(_, _, imm)| !imm) || imm(tests) || float || other
    }

    /// Whether what follows is in another block.
    pub(crate) fn ends_a_block(self) -> bool {
        let flows = matches!(
            self,
            Self::Copy
                | Self::Const
                | Self::CopyWide
                | Self::Select
                | Self::GlobalGet
                | Self::GlobalSet
                | Self::NonNull
        );
        !flows && self.shape().is_none()
    }
}
