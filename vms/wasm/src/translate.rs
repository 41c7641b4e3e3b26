//! What each instruction of a module becomes.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "each part translates its own of hundreds of operators"
)]

use crate::code::Cold;
use crate::compile::{Block, Compiler, Entry, Place, TooLarge};
use crate::exceptions::Try;
use crate::ops::{Insn, Op, ops};
use crate::reference::Reference;
use crate::trap::Trap;
use crate::types::{Value, slots};
use wasmparser::{MemArg, Operator};

macro_rules! define_plain {
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
        /// Translates what has a row in the table of operations; says whether it has.
        fn plain(compiler: &mut Compiler<'_>, operator: &Operator<'_>) -> Result<bool, TooLarge> {
            match operator {
                $(Operator::$p2 => compiler.binary(Op::$p2)?,)*
                $(Operator::$t2 => compiler.binary(Op::$t2)?,)*
                $(Operator::$f2 => compiler.binary(Op::$f2)?,)*
                $(Operator::$l2 => compiler.binary(Op::$l2)?,)*
                $(Operator::$p1 => compiler.unary(Op::$p1)?,)*
                $(Operator::$f1 => compiler.unary(Op::$f1)?,)*
                $(Operator::$ld { memarg } => compiler.load(Op::$ld, memarg)?,)*
                $(Operator::$st { memarg } => compiler.store(Op::$st, memarg),)*
                _ => return Ok(false),
            }
            Ok(true)
        }
    };
}
ops!(define_plain);

impl Compiler<'_> {
    pub(crate) fn translate(&mut self, operator: &Operator<'_>) -> Result<(), TooLarge> {
        if plain(self, operator)?
            || self.variables(operator)?
            || self.control_flow(operator)?
            || self.calls(operator)?
            || self.references(operator)?
            || self.bulk(operator)?
            || self.vector(operator)?
            || self.atomic(operator)?
            || self.wide(operator)?
            || self.objects(operator)?
        {
            return Ok(());
        }
        unreachable!("the validator lets through what is known here only: {operator:?}")
    }

    pub(crate) fn binary(&mut self, op: Op) -> Result<(), TooLarge> {
        let (mut op, right, mut left) = (op, self.pop(), self.pop());
        let mut right = right;
        if let (Place::Const(_), Some(swapped)) = (left.place, op.swapped())
            && !matches!(right.place, Place::Const(_))
        {
            (left, right, op) = (right, left, swapped);
        }
        if let (Place::Const(value), Some(op)) = (right.place, op.with_constant()) {
            let a = self.register(left);
            let d = self.push_result()?;
            self.emit(Insn::new(op, d, a, 0).with(value));
            return Ok(());
        }
        let (a, b) = (self.register(left), self.register(right));
        let d = self.push_result()?;
        self.emit(Insn::new(op, d, a, b));
        Ok(())
    }

    fn unary(&mut self, op: Op) -> Result<(), TooLarge> {
        let entry = self.pop();
        if let (Op::I32Eqz, Some(maker)) = (op, self.maker(entry))
            && let Some(opposite) = maker.op.opposite()
        {
            let d = self.push_result()?;
            self.remake(Insn { op: opposite, d, ..maker });
            return Ok(());
        }
        let a = self.register(entry);
        let d = self.push_result()?;
        self.emit(Insn::new(op, d, a, 0));
        Ok(())
    }

    fn load(&mut self, op: Op, memarg: &MemArg) -> Result<(), TooLarge> {
        let a = self.pop_register();
        let d = self.push_result()?;
        let memory = self.memory(memarg);
        let insn = Insn::new(op, d, a, 0).with(memarg.offset);
        if memory.number == 0 && !memory.is64 {
            self.emit(insn);
        } else {
            self.emit(Insn { op: Op::LoadFar, ..insn });
            self.emit(Insn::new(op, 0, 0, 0).with(memory.number.into()));
        }
        Ok(())
    }

    fn store(&mut self, op: Op, memarg: &MemArg) {
        let (value, address) = (self.pop(), self.pop());
        let (a, b) = (self.register(address), self.register(value));
        let memory = self.memory(memarg);
        let insn = Insn::new(op, 0, a, b).with(memarg.offset);
        if memory.number == 0 && !memory.is64 {
            self.emit(insn);
        } else {
            self.emit(Insn { op: Op::StoreFar, ..insn });
            self.emit(Insn::new(op, 0, 0, 0).with(memory.number.into()));
        }
    }

    pub(crate) fn memory(&self, memarg: &MemArg) -> crate::layout::MemoryAt {
        match memarg.target {
            wasmparser::MemArgTarget::Memory(index) => self.memory_at(index),
            _ => unreachable!("the validator lets memories through only"),
        }
    }

    fn memory_at(&self, index: u32) -> crate::layout::MemoryAt {
        self.layout.numbers.memories[index as usize]
    }

    fn variables(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
        match operator {
            Operator::LocalGet { local_index } => self.local_get(*local_index)?,
            Operator::LocalSet { local_index } => self.local_set(*local_index),
            Operator::LocalTee { local_index } => {
                self.local_set(*local_index);
                self.local_get(*local_index)?;
            }
            Operator::GlobalGet { global_index } => {
                let global = self.layout.numbers.globals[*global_index as usize];
                let wide = global.ty == Value::V128;
                let d = if wide { self.push_wide()? } else { self.push_result()? };
                let op = if wide { Op::GlobalGetWide } else { Op::GlobalGet };
                self.emit(Insn::new(op, d, 0, 0).with(global.slot.into()));
            }
            Operator::GlobalSet { global_index } => {
                let global = self.layout.numbers.globals[*global_index as usize];
                let a = self.pop_register();
                let wide = global.ty == Value::V128;
                let op = if wide { Op::GlobalSetWide } else { Op::GlobalSet };
                self.emit(Insn::new(op, 0, a, 0).with(global.slot.into()));
            }
            Operator::I32Const { value } => self.push_const(value.cast_unsigned().into())?,
            Operator::I64Const { value } => self.push_const(value.cast_unsigned())?,
            Operator::F32Const { value } => self.push_const(value.bits().into())?,
            Operator::F64Const { value } => self.push_const(value.bits())?,
            Operator::Drop => {
                self.pop();
            }
            Operator::Select | Operator::TypedSelect { .. } => self.select()?,
            Operator::Nop
            // The slot of a float is its bits, and that of an i32 has zeros above.
            | Operator::I32ReinterpretF32
            | Operator::I64ReinterpretF64
            | Operator::F32ReinterpretI32
            | Operator::F64ReinterpretI64
            | Operator::I64ExtendI32U => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn select(&mut self) -> Result<(), TooLarge> {
        let (condition, no, yes) = (self.pop(), self.pop(), self.pop());
        let condition = self.register(condition);
        let (no_at, yes_at) = (self.register(no), self.register(yes));
        let wide = yes.wide;
        let d = if wide { self.push_wide()? } else { self.push_result()? };
        let op = if wide { Op::SelectWide } else { Op::Select };
        self.emit(Insn::new(op, d, yes_at, no_at).with(condition.into()));
        Ok(())
    }

    fn control_flow(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
        match operator {
            Operator::Unreachable => self.trap(Trap::Unreachable),
            Operator::Block { blockty } => self.open(Block::Plain, *blockty),
            Operator::Loop { blockty } => {
                self.open(Block::Loop { target: 0, ticks: 0 }, *blockty);
            }
            Operator::TryTable { try_table } => {
                self.open(Block::Try, try_table.ty);
                let from = self.here_fenced();
                self.tries.push(Try { from, catches: try_table.catches.clone() });
            }
            Operator::Throw { tag_index } => {
                let tag = self.layout.numbers.tags[*tag_index as usize];
                let values = self.layout.tag(tag).params.len();
                self.cold(Cold::Throw(tag), values, &[])?;
                self.die();
            }
            Operator::ThrowRef => {
                self.cold(Cold::ThrowRef, 1, &[])?;
                self.die();
            }
            Operator::If { blockty } => {
                let condition = self.pop();
                self.open(Block::If { otherwise: None }, *blockty);
                let insn = self.condition(condition, false);
                let place = self.emit(insn);
                let control = self.controls.last_mut().expect("it was opened just now");
                control.block = Block::If { otherwise: Some(place) };
            }
            Operator::Else => self.otherwise(),
            Operator::End => self.end()?,
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.die();
            }
            Operator::BrIf { relative_depth } => self.branch_if(*relative_depth, true),
            Operator::BrTable { targets } => self.branch_table(targets),
            Operator::Return => {
                let count = self.controls[0].results.len();
                self.leave(count);
                self.die();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn calls(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
        match operator {
            Operator::Call { function_index } => {
                let (number, signature) = self.layout.function(*function_index);
                let first = self.pop_home(signature.params.len());
                self.emit(Insn::new(Op::Call, 0, first, 0).with(number.into()));
                self.push_all(&signature.results)?;
            }
            Operator::ReturnCall { function_index } => {
                let (number, signature) = self.layout.function(*function_index);
                let first = self.pop_home(signature.params.len());
                let slots = arguments(&signature.params);
                self.emit(Insn::new(Op::TailCall, 0, first, slots).with(number.into()));
                self.die();
            }
            Operator::CallIndirect { type_index, table_index } => {
                self.call_indirect(*type_index, *table_index, false)?;
            }
            Operator::ReturnCallIndirect { type_index, table_index } => {
                self.call_indirect(*type_index, *table_index, true)?;
            }
            Operator::CallRef { type_index } => {
                let function = self.pop_register();
                let signature = self.layout.signature(*type_index);
                let first = self.pop_home(signature.params.len());
                self.emit(Insn::new(Op::CallRef, 0, first, function));
                self.push_all(&signature.results)?;
            }
            Operator::ReturnCallRef { type_index } => {
                let function = self.pop_register();
                let signature = self.layout.signature(*type_index);
                let first = self.pop_home(signature.params.len());
                let slots = arguments(&signature.params);
                self.emit(Insn::new(Op::TailCallRef, slots, first, function));
                self.die();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn call_indirect(&mut self, ty: u32, table: u32, tail: bool) -> Result<(), TooLarge> {
        let index = self.pop_register();
        let signature = self.layout.signature(ty);
        let first = self.pop_home(signature.params.len());
        let table = self.layout.numbers.tables[table as usize];
        let ty = self.layout.types[ty as usize];
        let imm = u64::from(ty) << 32 | u64::from(table.number);
        if tail {
            let slots = arguments(&signature.params);
            self.emit(Insn::new(Op::TailCallIndirect, slots, first, index).with(imm));
            self.die();
        } else {
            self.emit(Insn::new(Op::CallIndirect, 0, first, index).with(imm));
            self.push_all(&signature.results)?;
        }
        Ok(())
    }

    fn references(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
        match operator {
            Operator::RefNull { .. } => self.push_const(Reference::NULL.0)?,
            Operator::RefFunc { function_index } => {
                let number = self.layout.numbers.funcs[*function_index as usize];
                self.push_const(Reference::function(number).0)?;
            }
            // Null is zero, in all 64 bits.
            Operator::RefIsNull => self.unary(Op::I64Eqz)?,
            Operator::RefAsNonNull => {
                let a = self.pop_register();
                let d = self.push_result()?;
                self.emit(Insn::new(Op::NonNull, d, a, 0));
            }
            Operator::BrOnNull { relative_depth } => {
                self.bring_last_home(1);
                let entry = self.pop();
                let over = self.emit(Insn::new(Op::BrNonNull, 0, entry.home, 0));
                self.branch_around(over, *relative_depth);
                self.push_result()?;
            }
            Operator::BrOnNonNull { relative_depth } => {
                self.bring_last_home(1);
                let home = self.stack.last().map_or(0, |entry: &Entry| entry.home);
                let over = self.emit(Insn::new(Op::BrNull, 0, home, 0));
                self.branch_around(over, *relative_depth);
                self.pop();
            }
            Operator::TableGet { table } => {
                let a = self.pop_register();
                let d = self.push_result()?;
                let number = self.layout.numbers.tables[*table as usize].number;
                self.emit(Insn::new(Op::TableGet, d, a, 0).with(number.into()));
            }
            Operator::TableSet { table } => {
                let (value, index) = (self.pop(), self.pop());
                let (a, b) = (self.register(index), self.register(value));
                let number = self.layout.numbers.tables[*table as usize].number;
                self.emit(Insn::new(Op::TableSet, 0, a, b).with(number.into()));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn bulk(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
        let numbers = self.layout.numbers;
        let memory = |index: u32| numbers.memories[index as usize];
        let table = |index: u32| numbers.tables[index as usize];
        let address = |is64: bool| if is64 { [Value::I64] } else { [Value::I32] };
        match *operator {
            Operator::MemorySize { mem } => {
                let at = memory(mem);
                self.cold(Cold::MemorySize(at.number), 0, &address(at.is64))?;
            }
            Operator::MemoryGrow { mem } => {
                let at = memory(mem);
                self.cold(Cold::MemoryGrow(at.number), 1, &address(at.is64))?;
            }
            Operator::MemoryFill { mem } => {
                self.cold(Cold::MemoryFill(memory(mem).number), 3, &[])?;
            }
            Operator::MemoryCopy { dst_mem, src_mem } => {
                let (to, from) = (memory(dst_mem).number, memory(src_mem).number);
                self.cold(Cold::MemoryCopy { to, from }, 3, &[])?;
            }
            Operator::MemoryInit { data_index, mem } => {
                let (memory, data) = (memory(mem).number, numbers.data + data_index);
                self.cold(Cold::MemoryInit { memory, data }, 3, &[])?;
            }
            Operator::DataDrop { data_index } => {
                self.cold(Cold::DataDrop(numbers.data + data_index), 0, &[])?;
            }
            Operator::TableSize { table: index } => {
                let at = table(index);
                self.cold(Cold::TableSize(at.number), 0, &address(at.is64))?;
            }
            Operator::TableGrow { table: index } => {
                let at = table(index);
                self.cold(Cold::TableGrow(at.number), 2, &address(at.is64))?;
            }
            Operator::TableFill { table: index } => {
                self.cold(Cold::TableFill(table(index).number), 3, &[])?;
            }
            Operator::TableCopy { dst_table, src_table } => {
                let (to, from) = (table(dst_table).number, table(src_table).number);
                self.cold(Cold::TableCopy { to, from }, 3, &[])?;
            }
            Operator::TableInit { elem_index, table: index } => {
                let (table, elements) = (table(index).number, numbers.elements + elem_index);
                self.cold(Cold::TableInit { table, elements }, 3, &[])?;
            }
            Operator::ElemDrop { elem_index } => {
                self.cold(Cold::ElementsDrop(numbers.elements + elem_index), 0, &[])?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The slots of arguments, which are fewer than those of a frame.
fn arguments(params: &[Value]) -> u16 {
    u16::try_from(slots(params)).unwrap_or(u16::MAX)
}
