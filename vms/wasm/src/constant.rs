//! Constant expressions: what globals, tables and segments begin with.

use crate::heap::{Object, element_bytes, field_slots};
use crate::layout::Numbers;
use crate::link::LinkError;
use crate::module::{Const, ConstOp};
use crate::reference::Reference;
use crate::store::Store;
use crate::trap::Trap;
use crate::types::{Composite, Value};

/// The values of an expression, each as two slots.
type Values = Vec<[u64; 2]>;

fn pop(values: &mut Values) -> [u64; 2] {
    values.pop().unwrap_or([0, 0])
}

/// The result of an operation on two numbers.
fn two(values: &mut Values, what: impl Fn(u64, u64) -> u64) -> [u64; 2] {
    let (b, a) = (pop(values)[0], pop(values)[0]);
    [what(a, b), 0]
}

/// The same on the low halves.
fn narrow(values: &mut Values, what: impl Fn(u32, u32) -> u32) -> [u64; 2] {
    // Cut on purpose: numbers of 32 bits.
    two(values, |a, b| what(a as u32, b as u32).into())
}

impl Store {
    /// The slots of a constant expression's value.
    pub(crate) fn constant(
        &mut self,
        ops: &Const,
        numbers: &Numbers,
    ) -> Result<[u64; 2], LinkError> {
        let mut stack: Values = Vec::new();
        for op in ops {
            let value = match *op {
                ConstOp::Number(value) => [value, 0],
                // The halves of a vector.
                ConstOp::Vector(value) => [value as u64, (value >> 64) as u64],
                ConstOp::Global(index) => {
                    let global = numbers.globals[index as usize];
                    let slot = |at: usize| self.state.globals.get(at).copied().unwrap_or(0);
                    let at = global.slot as usize;
                    [slot(at), if global.ty == Value::V128 { slot(at + 1) } else { 0 }]
                }
                ConstOp::Func(index) => [Reference::function(numbers.funcs[index as usize]).0, 0],
                ConstOp::Null => [Reference::NULL.0, 0],
                // Cut on purpose: a small integer has the low bits.
                ConstOp::I31 => [Reference::small(pop(&mut stack)[0] as u32).0, 0],
                ConstOp::Struct { ty, default } => {
                    let ty = numbers.types[ty as usize];
                    let made = self.constant_struct(ty, default, &mut stack);
                    made.map_err(LinkError::Trapped)?
                }
                ConstOp::Array { ty, default } => {
                    let (ty, length) = (numbers.types[ty as usize], pop(&mut stack)[0]);
                    let value = if default { [0, 0] } else { pop(&mut stack) };
                    // Lengths are of 32 bits.
                    let values = Filled::All(value, length as u32);
                    self.constant_array(ty, &values).map_err(LinkError::Trapped)?
                }
                ConstOp::ArrayFixed { ty, count } => {
                    let from = stack.len().saturating_sub(count as usize);
                    let values = Filled::Each(stack.split_off(from));
                    let ty = numbers.types[ty as usize];
                    self.constant_array(ty, &values).map_err(LinkError::Trapped)?
                }
                ConstOp::Add32 => narrow(&mut stack, u32::wrapping_add),
                ConstOp::Sub32 => narrow(&mut stack, u32::wrapping_sub),
                ConstOp::Mul32 => narrow(&mut stack, u32::wrapping_mul),
                ConstOp::Add64 => two(&mut stack, u64::wrapping_add),
                ConstOp::Sub64 => two(&mut stack, u64::wrapping_sub),
                ConstOp::Mul64 => two(&mut stack, u64::wrapping_mul),
            };
            stack.push(value);
        }
        Ok(pop(&mut stack))
    }

    fn constant_struct(
        &mut self,
        ty: u32,
        default: bool,
        stack: &mut Values,
    ) -> Result<[u64; 2], Trap> {
        let Some(Composite::Struct(fields)) = self.types.get(ty).map(|ty| ty.composite.clone())
        else {
            return Err(Trap::Damage);
        };
        // Nothing is collected yet: what the expression has is nowhere else.
        let at = self.new_object(Object::Data { ty, length: 0 }, false)?;
        if !default {
            let values = stack.split_off(stack.len().saturating_sub(fields.len()));
            let mut to = at + 8;
            for (field, value) in fields.iter().zip(values) {
                self.store_value(to, field.storage, value)?;
                to += 8 * field_slots(field.storage);
            }
        }
        Ok([Reference::data(at).0, 0])
    }

    fn constant_array(&mut self, ty: u32, values: &Filled) -> Result<[u64; 2], Trap> {
        let Some(Composite::Array(element)) = self.types.get(ty).map(|ty| ty.composite.clone())
        else {
            return Err(Trap::Damage);
        };
        let length = match values {
            Filled::All(_, length) => *length,
            Filled::Each(values) => u32::try_from(values.len()).map_err(|_| Trap::Heap)?,
        };
        let at = self.new_object(Object::Data { ty, length }, false)?;
        match values {
            Filled::All([0, 0], _) => {}
            Filled::All(value, length) => {
                self.fill_array(at + 8, element.storage, *value, (*length).into())?;
            }
            Filled::Each(values) => {
                for (nth, value) in (0..).zip(values) {
                    let to = at + 8 + nth * element_bytes(element.storage);
                    self.store_value(to, element.storage, *value)?;
                }
            }
        }
        Ok([Reference::data(at).0, 0])
    }
}

/// What a new array holds.
enum Filled {
    /// A value, so many times.
    All([u64; 2], u32),
    Each(Values),
}
