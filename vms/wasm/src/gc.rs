//! Structures, arrays, casts and small integers as references (the GC proposal).
#![allow(clippy::wildcard_enum_match_arm, reason = "the other operators are translated elsewhere")]

use crate::code::Cold;
use crate::compile::{Compiler, TooLarge};
use crate::heap::{field_slots, is_wide};
use crate::objects::Gc;
use crate::ops::{Insn, Op};
use crate::reference::Reference;
use crate::types::{Composite, Field, Reference as ReferenceType, Storage, Value, reference_of};
use wasmparser::{HeapType, Operator, RefType};

/// What a field gives when it is read.
fn read_as(storage: Storage) -> Value {
    match storage {
        Storage::I8 | Storage::I16 => Value::I32,
        Storage::Value(value) => value,
    }
}

impl Compiler<'_> {
    /// Translates what is done with the heap and with references; says whether it is.
    pub(crate) fn objects(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
        Ok(self.structures(operator)? || self.arrays(operator)? || self.casts(operator)?)
    }

    fn gc(&mut self, gc: Gc, operands: usize, results: &[Value]) -> Result<(), TooLarge> {
        self.cold(Cold::Gc(gc), operands, results)
    }

    fn structures(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
        match *operator {
            Operator::StructNew { struct_type_index: ty } => {
                let (ty, count) = (self.layout.types[ty as usize], self.fields(ty).len());
                self.gc(Gc::StructNew { ty, default: false }, count, &[Value::I64])?;
            }
            Operator::StructNewDefault { struct_type_index: ty } => {
                let ty = self.layout.types[ty as usize];
                self.gc(Gc::StructNew { ty, default: true }, 0, &[Value::I64])?;
            }
            Operator::StructGet { struct_type_index: ty, field_index: field }
            | Operator::StructGetU { struct_type_index: ty, field_index: field } => {
                self.struct_get(ty, field, false)?;
            }
            Operator::StructGetS { struct_type_index: ty, field_index: field } => {
                self.struct_get(ty, field, true)?;
            }
            Operator::StructSet { struct_type_index: ty, field_index: field } => {
                let (storage, offset) = self.field(ty, field);
                self.gc(Gc::StructSet { storage, offset }, 2, &[])?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn struct_get(&mut self, ty: u32, field: u32, signed: bool) -> Result<(), TooLarge> {
        let (storage, offset) = self.field(ty, field);
        self.gc(Gc::StructGet { storage, offset, signed }, 1, &[read_as(storage)])
    }

    fn fields(&self, ty: u32) -> &[Field] {
        match self.layout.composite(ty) {
            Composite::Struct(fields) => fields,
            Composite::Array(_) | Composite::Func(_) => &[],
        }
    }

    /// What a field holds, and its offset in the object.
    fn field(&self, ty: u32, field: u32) -> (Storage, u32) {
        let fields = self.fields(ty);
        let before = fields[..field as usize].iter().map(|field| field_slots(field.storage));
        // A structure has ten thousand fields at most.
        (fields[field as usize].storage, 8 + 8 * before.sum::<u64>() as u32)
    }

    /// What the elements of an array are, and the number of its type in the store.
    fn element(&self, ty: u32) -> (Storage, u32) {
        match self.layout.composite(ty) {
            Composite::Array(element) => (element.storage, self.layout.types[ty as usize]),
            Composite::Struct(_) | Composite::Func(_) => unreachable!("the module is valid"),
        }
    }

    fn arrays(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
        let reference = &[Value::I64];
        match *operator {
            Operator::ArrayNew { array_type_index: ty } => {
                let (storage, ty) = self.element(ty);
                self.gc(Gc::ArrayNew { ty, storage, default: false }, 2, reference)?;
            }
            Operator::ArrayNewDefault { array_type_index: ty } => {
                let (storage, ty) = self.element(ty);
                self.gc(Gc::ArrayNew { ty, storage, default: true }, 1, reference)?;
            }
            Operator::ArrayNewFixed { array_type_index: ty, array_size: count } => {
                let (storage, ty) = self.element(ty);
                self.gc(Gc::ArrayNewFixed { ty, storage, count }, count as usize, reference)?;
            }
            Operator::ArrayNewData { array_type_index: ty, array_data_index: data } => {
                let ((storage, ty), data) = (self.element(ty), self.layout.numbers.data + data);
                self.gc(Gc::ArrayNewData { ty, storage, data }, 2, reference)?;
            }
            Operator::ArrayNewElem { array_type_index: ty, array_elem_index: elements } => {
                let (_, ty) = self.element(ty);
                let elements = self.layout.numbers.elements + elements;
                self.gc(Gc::ArrayNewElements { ty, elements }, 2, reference)?;
            }
            Operator::ArrayGet { array_type_index: ty }
            | Operator::ArrayGetU { array_type_index: ty } => {
                let (storage, _) = self.element(ty);
                self.gc(Gc::ArrayGet { storage, signed: false }, 2, &[read_as(storage)])?;
            }
            Operator::ArrayGetS { array_type_index: ty } => {
                let (storage, _) = self.element(ty);
                self.gc(Gc::ArrayGet { storage, signed: true }, 2, &[read_as(storage)])?;
            }
            Operator::ArraySet { array_type_index: ty } => {
                let (storage, _) = self.element(ty);
                self.gc(Gc::ArraySet { storage }, 3, &[])?;
            }
            Operator::ArrayLen => self.gc(Gc::ArrayLength, 1, &[Value::I32])?,
            Operator::ArrayFill { array_type_index: ty } => {
                let (storage, _) = self.element(ty);
                self.gc(Gc::ArrayFill { storage }, 4, &[])?;
            }
            Operator::ArrayCopy { array_type_index_dst: ty, .. } => {
                let (storage, _) = self.element(ty);
                self.gc(Gc::ArrayCopy { storage }, 5, &[])?;
            }
            Operator::ArrayInitData { array_type_index: ty, array_data_index: data } => {
                let ((storage, _), data) = (self.element(ty), self.layout.numbers.data + data);
                self.gc(Gc::ArrayInitData { storage, data }, 4, &[])?;
            }
            Operator::ArrayInitElem { array_elem_index: elements, .. } => {
                let elements = self.layout.numbers.elements + elements;
                self.gc(Gc::ArrayInitElements { elements }, 4, &[])?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn casts(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
        match *operator {
            Operator::RefTestNonNull { hty } => {
                self.gc(Gc::Test(self.type_of(hty, false)), 1, &[Value::I32])?;
            }
            Operator::RefTestNullable { hty } => {
                self.gc(Gc::Test(self.type_of(hty, true)), 1, &[Value::I32])?;
            }
            Operator::RefCastNonNull { hty } => {
                self.gc(Gc::Cast(self.type_of(hty, false)), 1, &[Value::I64])?;
            }
            Operator::RefCastNullable { hty } => {
                self.gc(Gc::Cast(self.type_of(hty, true)), 1, &[Value::I64])?;
            }
            Operator::BrOnCast { relative_depth, to_ref_type, .. } => {
                self.branch_on_cast(relative_depth, to_ref_type, Op::BrUnless)?;
            }
            Operator::BrOnCastFail { relative_depth, to_ref_type, .. } => {
                self.branch_on_cast(relative_depth, to_ref_type, Op::BrIf)?;
            }
            Operator::RefEq => self.binary(Op::I64Eq)?,
            Operator::RefI31 => {
                let a = self.pop_register();
                let d = self.push_result()?;
                self.emit(Insn::new(Op::I64AndImm, d, a, 0).with(Reference::I31_BITS));
                self.emit(Insn::new(Op::I64OrImm, d, d, 0).with(Reference::small(0).0));
            }
            Operator::I31GetS => self.gc(Gc::I31Get { signed: true }, 1, &[Value::I32])?,
            Operator::I31GetU => self.gc(Gc::I31Get { signed: false }, 1, &[Value::I32])?,
            // A reference is the same in both families.
            Operator::AnyConvertExtern | Operator::ExternConvertAny => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn type_of(&self, heap: HeapType, nullable: bool) -> ReferenceType {
        let ty = RefType::new(nullable, heap).expect("a heap type of a valid module");
        reference_of(ty, self.layout.types)
    }

    /// A branch where a cast would do, or where it would not; `over` goes around it.
    fn branch_on_cast(&mut self, depth: u32, to: RefType, over: Op) -> Result<(), TooLarge> {
        let to = reference_of(to, self.layout.types);
        self.bring_last_home(1);
        let from = self.stack.last().map_or(0, |entry| entry.home);
        let temporary = self.push_result()?;
        self.emit(Insn::new(Op::Copy, temporary, from, 0));
        self.here_fenced();
        self.gc(Gc::Test(to), 1, &[])?;
        let over = self.emit(Insn::new(over, 0, temporary, 0));
        self.branch_around(over, depth);
        Ok(())
    }
}

/// The slots of a field's value.
pub(crate) fn value_slots(storage: Storage) -> usize {
    if is_wide(storage) { 2 } else { 1 }
}
