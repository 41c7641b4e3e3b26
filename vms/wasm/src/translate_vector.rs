//! What each instruction on vectors becomes.
#![allow(clippy::wildcard_enum_match_arm, reason = "the other operators are translated elsewhere")]

use crate::compile::{Compiler, TooLarge};
use crate::ops::{Insn, Op};
use crate::vector::{Vector, VectorOp, vectors};
use wasmparser::{MemArg, Operator};

macro_rules! define_vector {
    (
        one { $($one:ident ($onet:ty => $oner:ty) $onef:expr;)* }
        two { $($two:ident ($twot:ty => $twor:ty) $twof:expr;)* }
        three { $($three:ident $threef:expr;)* }
        shift { $($shift:ident ($shiftt:ty => $shiftr:ty) $shiftf:expr;)* }
        splat { $($splat:ident ($splatt:ident $splatn:ident);)* }
        test { $($test:ident ($testt:ty) $testf:expr;)* }
        extract { $($extract:ident ($extractt:ty => $extractr:ty);)* }
        replace { $($replace:ident ($replacet:ident $replacen:ident);)* }
        load { $($load:ident $loadn:literal ($loadt:ty => $loadr:ty) $loadf:expr;)* }
        load_lane { $($ll:ident $lln:literal $llt:ty;)* }
        store_lane { $($sl:ident $sln:literal;)* }
    ) => {
        impl Compiler<'_> {
            /// Translates what has a row in the table of vectors; says whether it has.
            pub(crate) fn vector(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
                match operator {
                    $(Operator::$one => self.vector_one(VectorOp::$one, true)?,)*
                    $(Operator::$splat => self.vector_one(VectorOp::$splat, true)?,)*
                    $(Operator::$test => self.vector_one(VectorOp::$test, false)?,)*
                    $(Operator::$two => self.vector_two(Vector::new(VectorOp::$two))?,)*
                    $(Operator::$shift => self.vector_two(Vector::new(VectorOp::$shift))?,)*
                    $(Operator::$three => self.vector_three(VectorOp::$three)?,)*
                    $(Operator::$extract { lane } => {
                        self.vector_extract(VectorOp::$extract, *lane)?;
                    })*
                    $(Operator::$replace { lane } => {
                        let vector = Vector::new(VectorOp::$replace);
                        self.vector_two(Vector { lane: *lane, ..vector })?;
                    })*
                    $(Operator::$load { memarg } => self.vector_load(VectorOp::$load, memarg)?,)*
                    $(Operator::$ll { memarg, lane } => {
                        self.vector_lane(VectorOp::$ll, memarg, *lane, true)?;
                    })*
                    $(Operator::$sl { memarg, lane } => {
                        self.vector_lane(VectorOp::$sl, memarg, *lane, false)?;
                    })*
                    Operator::V128Store { memarg } => {
                        self.vector_lane(VectorOp::V128Store, memarg, 0, false)?;
                    }
                    Operator::I8x16Shuffle { lanes } => {
                        let vector = Vector::new(VectorOp::I8x16Shuffle);
                        self.vector_two(Vector { bytes: *lanes, ..vector })?;
                    }
                    Operator::V128Const { value } => {
                        let bits = u128::from_le_bytes(*value.bytes());
                        let d = self.push_wide()?;
                        // The halves.
                        self.emit(Insn::new(Op::Const, d, 0, 0).with(bits as u64));
                        self.emit(Insn::new(Op::Const, d + 1, 0, 0).with((bits >> 64) as u64));
                    }
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    };
}
vectors!(define_vector);

impl Vector {
    fn new(op: VectorOp) -> Self {
        Self { op, c: 0, lane: 0, memory: 0, offset: 0, bytes: [0; 16] }
    }
}

impl Compiler<'_> {
    fn emit_vector(&mut self, insn: Insn, vector: Vector) {
        let number = self.code.vectors.len() as u64;
        self.code.vectors.push(vector);
        self.emit(insn.with(number));
    }

    fn vector_one(&mut self, op: VectorOp, gives_vector: bool) -> Result<(), TooLarge> {
        let a = self.pop_register();
        let d = if gives_vector { self.push_wide()? } else { self.push_result()? };
        self.emit_vector(Insn::new(Op::Vector, d, a, 0), Vector::new(op));
        Ok(())
    }

    fn vector_extract(&mut self, op: VectorOp, lane: u8) -> Result<(), TooLarge> {
        let a = self.pop_register();
        let d = self.push_result()?;
        let vector = Vector { lane, ..Vector::new(op) };
        self.emit_vector(Insn::new(Op::Vector, d, a, 0), vector);
        Ok(())
    }

    fn vector_two(&mut self, vector: Vector) -> Result<(), TooLarge> {
        let (right, left) = (self.pop(), self.pop());
        let (a, b) = (self.register(left), self.register(right));
        let d = self.push_wide()?;
        self.emit_vector(Insn::new(Op::Vector, d, a, b), vector);
        Ok(())
    }

    fn vector_three(&mut self, op: VectorOp) -> Result<(), TooLarge> {
        let (c, b, a) = (self.pop_register(), self.pop_register(), self.pop_register());
        let d = self.push_wide()?;
        self.emit_vector(Insn::new(Op::Vector, d, a, b), Vector { c, ..Vector::new(op) });
        Ok(())
    }

    fn vector_load(&mut self, op: VectorOp, memarg: &MemArg) -> Result<(), TooLarge> {
        let a = self.pop_register();
        let d = self.push_wide()?;
        let vector = self.vector_access(op, memarg, 0);
        self.emit_vector(Insn::new(Op::VectorLoad, d, a, 0), vector);
        Ok(())
    }

    /// A load of a lane, or a store.
    fn vector_lane(
        &mut self,
        op: VectorOp,
        memarg: &MemArg,
        lane: u8,
        loads: bool,
    ) -> Result<(), TooLarge> {
        let (value, address) = (self.pop(), self.pop());
        let (a, b) = (self.register(address), self.register(value));
        let vector = self.vector_access(op, memarg, lane);
        if loads {
            let d = self.push_wide()?;
            self.emit_vector(Insn::new(Op::VectorLoad, d, a, b), vector);
        } else {
            self.emit_vector(Insn::new(Op::VectorStore, 0, a, b), vector);
        }
        Ok(())
    }

    fn vector_access(&self, op: VectorOp, memarg: &MemArg, lane: u8) -> Vector {
        let (memory, offset) = (self.memory(memarg).number, memarg.offset);
        Vector { lane, memory, offset, ..Vector::new(op) }
    }
}
