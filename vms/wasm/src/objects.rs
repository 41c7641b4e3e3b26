//! What instructions do with structures, arrays and references.
#![allow(clippy::wildcard_enum_match_arm, reason = "each part does its own of the instructions")]

use crate::cold::{Step, within};
use crate::gc::value_slots;
use crate::heap::{Object, element_bytes, field_slots};
use crate::reference::Reference;
use crate::store::Store;
use crate::trap::Trap;
use crate::types::{Composite, Heap, Reference as ReferenceType, Storage};
use omni_base::Gpa;
use wasmparser::AbstractHeapType;

/// Elements that one step fills.
const STEP_ELEMENTS: u64 = 16 << 10;

/// Bytes that are copied at a time.
const COPY_BYTES: u64 = 64 << 10;

/// An instruction. Numbers are those of the store, offsets count from the start of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gc {
    StructNew { ty: u32, default: bool },
    StructGet { storage: Storage, offset: u32, signed: bool },
    StructSet { storage: Storage, offset: u32 },
    ArrayNew { ty: u32, storage: Storage, default: bool },
    ArrayNewFixed { ty: u32, storage: Storage, count: u32 },
    ArrayNewData { ty: u32, storage: Storage, data: u32 },
    ArrayNewElements { ty: u32, elements: u32 },
    ArrayGet { storage: Storage, signed: bool },
    ArraySet { storage: Storage },
    ArrayLength,
    ArrayFill { storage: Storage },
    ArrayCopy { storage: Storage },
    ArrayInitData { storage: Storage, data: u32 },
    ArrayInitElements { elements: u32 },
    Test(ReferenceType),
    Cast(ReferenceType),
    I31Get { signed: bool },
}

impl Store {
    /// Does an instruction whose operands are in slots from the first on.
    pub(crate) fn gc(&mut self, gc: Gc, first: usize) -> Result<Step, Trap> {
        let slot = |nth: usize| self.state.stack[first + nth];
        let operands = (slot(0), slot(1), slot(2));
        match gc {
            Gc::StructNew { ty, default } => {
                let at = self.new_object(Object::Data { ty, length: 0 }, true)?;
                if !default {
                    self.set_fields(at, ty, first)?;
                }
                self.state.stack[first] = Reference::data(at).0;
            }
            Gc::StructGet { storage, offset, signed } => {
                let at = self.data_at(operands.0, Trap::NullStructure)? + u64::from(offset);
                let value = self.load_value(at, storage, signed)?;
                self.state.stack[first..first + value_slots(storage)]
                    .copy_from_slice(&value[..value_slots(storage)]);
            }
            Gc::StructSet { storage, offset } => {
                let at = self.data_at(operands.0, Trap::NullStructure)? + u64::from(offset);
                self.store_value(at, storage, [operands.1, operands.2])?;
            }
            Gc::Test(ty) => self.state.stack[first] = self.is_of(operands.0, ty)?.into(),
            Gc::Cast(ty) => {
                if !self.is_of(operands.0, ty)? {
                    return Err(Trap::Cast);
                }
            }
            Gc::I31Get { signed } => {
                let value = Reference(operands.0).as_small().ok_or(Trap::NullI31)?;
                let shift = |value: u32| (value << 1).cast_signed() >> 1;
                let value = if signed { shift(value).cast_unsigned() } else { value };
                self.state.stack[first] = value.into();
            }
            _ => return self.array(gc, first, operands),
        }
        Ok(Step::Done)
    }

    /// Does an instruction that makes an array, or what else is done with arrays.
    fn array(
        &mut self,
        gc: Gc,
        first: usize,
        (one, two, three): (u64, u64, u64),
    ) -> Result<Step, Trap> {
        match gc {
            Gc::ArrayNew { ty, storage, default } => {
                let wide = value_slots(storage);
                let value = if default { [0; 2] } else { [one, if wide == 2 { two } else { 0 }] };
                let length = if default { one } else { self.state.stack[first + wide] };
                let at = self.new_array(ty, length)?;
                if value != [0; 2] {
                    self.fill_array(at + 8, storage, value, length)?;
                }
                self.state.stack[first] = Reference::data(at).0;
            }
            Gc::ArrayNewFixed { ty, storage, count } => {
                let at = self.new_array(ty, count.into())?;
                let bytes = element_bytes(storage);
                let mut from = first;
                for nth in 0..u64::from(count) {
                    let value = [self.state.stack[from], self.state.stack[from + 1]];
                    self.store_value(at + 8 + nth * bytes, storage, value)?;
                    from += value_slots(storage);
                }
                self.state.stack[first] = Reference::data(at).0;
            }
            Gc::ArrayNewData { ty, storage, data } => {
                let bytes = two.checked_mul(element_bytes(storage)).ok_or(Trap::Memory)?;
                within(one, bytes, self.data_length(data)).ok_or(Trap::Memory)?;
                let at = self.new_array(ty, two)?;
                self.array_data(at + 8, data, one, bytes)?;
                self.state.stack[first] = Reference::data(at).0;
            }
            Gc::ArrayNewElements { ty, elements } => {
                within(one, two, self.elements_length(elements)).ok_or(Trap::Table)?;
                let at = self.new_array(ty, two)?;
                self.array_elements(at + 8, elements, one, two)?;
                self.state.stack[first] = Reference::data(at).0;
            }
            _ => return self.elements(gc, first, (one, two, three)),
        }
        Ok(Step::Done)
    }

    /// Does an instruction on elements of arrays.
    fn elements(
        &mut self,
        gc: Gc,
        first: usize,
        (one, two, three): (u64, u64, u64),
    ) -> Result<Step, Trap> {
        match gc {
            Gc::ArrayGet { storage, signed } => {
                let at = self.elements_at(one, two, 1, storage)?;
                let value = self.load_value(at, storage, signed)?;
                self.state.stack[first..first + value_slots(storage)]
                    .copy_from_slice(&value[..value_slots(storage)]);
            }
            Gc::ArraySet { storage } => {
                let at = self.elements_at(one, two, 1, storage)?;
                let value = [three, self.state.stack[first + 3]];
                self.store_value(at, storage, value)?;
            }
            Gc::ArrayLength => self.state.stack[first] = self.length_of(one)?,
            Gc::ArrayFill { storage } => {
                let last = first + 2 + value_slots(storage);
                let (value, count) = ([three, self.state.stack[first + 3]], self.state.stack[last]);
                let at = self.elements_at(one, two, count, storage)?;
                let step = count.min(STEP_ELEMENTS);
                self.fill_array(at, storage, value, step)?;
                self.state.stack[first + 1] = two + step;
                self.state.stack[last] = count - step;
                return Ok(if step == count { Step::Done } else { Step::Again });
            }
            Gc::ArrayCopy { storage } => {
                let (from, count) = (self.state.stack[first + 3], self.state.stack[first + 4]);
                let into = self.elements_at(one, two, count, storage)?;
                let source = self.elements_at(three, from, count, storage)?;
                self.copy_objects(into, source, count * element_bytes(storage))?;
            }
            Gc::ArrayInitData { storage, data } => {
                let count = self.state.stack[first + 3];
                let at = self.elements_at(one, two, count, storage)?;
                let bytes = count * element_bytes(storage);
                within(three, bytes, self.data_length(data)).ok_or(Trap::Memory)?;
                self.array_data(at, data, three, bytes)?;
            }
            Gc::ArrayInitElements { elements } => {
                let count = self.state.stack[first + 3];
                let storage = Storage::Value(crate::types::Value::I64);
                let at = self.elements_at(one, two, count, storage)?;
                within(three, count, self.elements_length(elements)).ok_or(Trap::Table)?;
                self.array_elements(at, elements, three, count)?;
            }
            _ => return Err(Trap::Damage),
        }
        Ok(Step::Done)
    }

    /// Where an object of the heap is; `null` where there is none.
    fn data_at(&self, slot: u64, null: Trap) -> Result<u64, Trap> {
        Reference(slot).as_object().ok_or(null)
    }

    fn length_of(&mut self, slot: u64) -> Result<u64, Trap> {
        let at = self.data_at(slot, Trap::NullArray)?;
        let Object::Data { length, .. } = self.object(at)? else { return Err(Trap::Damage) };
        Ok(length.into())
    }

    /// Where some elements of an array begin, which it has.
    fn elements_at(
        &mut self,
        slot: u64,
        from: u64,
        count: u64,
        storage: Storage,
    ) -> Result<u64, Trap> {
        let length = self.length_of(slot)?;
        let end = from.checked_add(count).ok_or(Trap::Array)?;
        if end > length {
            return Err(Trap::Array);
        }
        Ok(self.data_at(slot, Trap::NullArray)? + 8 + from * element_bytes(storage))
    }

    fn new_array(&mut self, ty: u32, length: u64) -> Result<u64, Trap> {
        let length = u32::try_from(length).map_err(|_| Trap::Heap)?;
        self.new_object(Object::Data { ty, length }, true)
    }

    /// Writes the fields of a new structure from slots.
    fn set_fields(&mut self, at: u64, ty: u32, first: usize) -> Result<(), Trap> {
        let (mut to, mut from) = (at + 8, first);
        for nth in 0.. {
            let Some(storage) = self.field_of(ty, nth) else { break };
            let value = [self.state.stack[from], self.state.stack[from + 1]];
            self.store_value(to, storage, value)?;
            from += value_slots(storage);
            to += 8 * field_slots(storage);
        }
        Ok(())
    }

    fn field_of(&self, ty: u32, nth: usize) -> Option<Storage> {
        match &self.types.get(ty)?.composite {
            Composite::Struct(fields) => fields.get(nth).map(|field| field.storage),
            Composite::Array(_) | Composite::Func(_) => None,
        }
    }

    /// Reads a value.
    fn load_value(&mut self, at: u64, storage: Storage, signed: bool) -> Result<[u64; 2], Trap> {
        let narrow = |value: i32| u64::from(value.cast_unsigned());
        Ok(match element_bytes(storage) {
            1 if signed => [narrow(i8::from_le_bytes(self.heap_load(at)?).into()), 0],
            1 => [u8::from_le_bytes(self.heap_load(at)?).into(), 0],
            2 if signed => [narrow(i16::from_le_bytes(self.heap_load(at)?).into()), 0],
            2 => [u16::from_le_bytes(self.heap_load(at)?).into(), 0],
            4 => [u32::from_le_bytes(self.heap_load(at)?).into(), 0],
            8 => [self.heap_word(at)?, 0],
            _ => [self.heap_word(at)?, self.heap_word(at + 8)?],
        })
    }

    /// Writes a value, of whose slots the low bytes are what is kept.
    pub(crate) fn store_value(
        &mut self,
        at: u64,
        storage: Storage,
        value: [u64; 2],
    ) -> Result<(), Trap> {
        match element_bytes(storage) {
            1 => self.heap_store(at, (value[0] as u8).to_le_bytes()),
            2 => self.heap_store(at, (value[0] as u16).to_le_bytes()),
            4 => self.heap_store(at, (value[0] as u32).to_le_bytes()),
            8 => self.set_heap_word(at, value[0]),
            _ => {
                self.set_heap_word(at, value[0])?;
                self.set_heap_word(at + 8, value[1])
            }
        }
    }

    /// Writes a value to several elements.
    pub(crate) fn fill_array(
        &mut self,
        at: u64,
        storage: Storage,
        value: [u64; 2],
        count: u64,
    ) -> Result<(), Trap> {
        let bytes = element_bytes(storage);
        let all: Vec<u8> = value.iter().flat_map(|slot| slot.to_le_bytes()).collect();
        let heap = self.heap.ok_or(Trap::Damage)? as usize;
        let step = count.min(COPY_BYTES / bytes);
        // Lossless: a step is small.
        let pattern = all[..bytes as usize].repeat(step as usize);
        let mut done = 0;
        while done < count {
            let now = (count - done).min(step);
            let part = &pattern[..(now * bytes) as usize];
            let space = &mut self.memory.spaces[heap];
            space.store(Gpa(at + done * bytes), part).map_err(|_| Trap::Damage)?;
            done += now;
        }
        Ok(())
    }

    /// Copies bytes within the heap, as if all were read before one is written.
    fn copy_objects(&mut self, into: u64, source: u64, count: u64) -> Result<(), Trap> {
        let heap = self.heap.ok_or(Trap::Damage)? as usize;
        let space = &mut self.memory.spaces[heap];
        let mut buffer = vec![0; usize::try_from(count.min(COPY_BYTES)).unwrap_or(0)];
        let mut done = 0;
        while done < count {
            let step = (count - done).min(COPY_BYTES);
            let skip = if into > source { count - done - step } else { done };
            let bytes = &mut buffer[..usize::try_from(step).expect("a step is small")];
            space.read(Gpa(source + skip), bytes).map_err(|_| Trap::Damage)?;
            space.store(Gpa(into + skip), bytes).map_err(|_| Trap::Damage)?;
            done += step;
        }
        Ok(())
    }

    fn data_length(&self, data: u32) -> usize {
        let (instance, index) = self.data[data as usize];
        let module = &self.instances[instance as usize].module;
        let dropped = self.state.data_dropped[data as usize];
        if dropped { 0 } else { module.data[index as usize].bytes.len() }
    }

    fn elements_length(&self, elements: u32) -> usize {
        let dropped = self.state.elements_dropped[elements as usize];
        if dropped { 0 } else { self.elements[elements as usize].len() }
    }

    /// Writes bytes of a segment, which it has.
    fn array_data(&mut self, at: u64, data: u32, from: u64, count: u64) -> Result<(), Trap> {
        let (instance, index) = self.data[data as usize];
        let module = self.instances[instance as usize].module.clone();
        let range = within(from, count, self.data_length(data)).ok_or(Trap::Memory)?;
        let bytes = &module.bytes[module.data[index as usize].bytes.clone()];
        // A dropped segment has none.
        let bytes = bytes.get(range).unwrap_or_default();
        let heap = self.heap.ok_or(Trap::Damage)?;
        let space = &mut self.memory.spaces[heap as usize];
        space.store(Gpa(at), bytes).map_err(|_| Trap::Damage)
    }

    /// Writes elements of a segment, which it has.
    fn array_elements(&mut self, at: u64, elements: u32, from: u64, n: u64) -> Result<(), Trap> {
        let range = within(from, n, self.elements_length(elements)).ok_or(Trap::Table)?;
        for (nth, index) in (0..).zip(range) {
            let slot = self.elements[elements as usize][index];
            self.set_heap_word(at + 8 * nth, slot)?;
        }
        Ok(())
    }

    /// Whether a reference is of a type.
    ///
    /// # Errors
    /// Where the heap cannot be read.
    pub fn is_of(&mut self, slot: u64, ty: ReferenceType) -> Result<bool, Trap> {
        use AbstractHeapType as A;
        let reference = Reference(slot);
        if reference == Reference::NULL {
            return Ok(ty.nullable);
        }
        let own = if let Some(func) = reference.as_function() {
            match self.funcs.get(func as usize) {
                Some(func) => Heap::Defined(func.ty),
                None => Heap::Abstract(A::NoFunc),
            }
        } else if reference.as_small().is_some() {
            Heap::Abstract(A::I31)
        } else if let Some(at) = reference.as_object() {
            match self.object(at)? {
                Object::Data { ty, .. } => Heap::Defined(ty),
                Object::Exception { .. } => Heap::Abstract(A::Exn),
                Object::Free { .. } => return Err(Trap::Damage),
            }
        } else {
            Heap::Abstract(A::Any)
        };
        // What came from the other family is the same there.
        Ok(ty.heap == Heap::Abstract(A::Extern) || self.types.is_heap(own, ty.heap))
    }
}
