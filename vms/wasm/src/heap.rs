//! The heap: structures, arrays and exceptions, in a space, with what its collector knows of it.
//!
//! An object is a word that says what it is, and its content. It never moves. Free room is in lists
//! by size. All of this is in the space, so the heap of a restored program goes on as it was. What
//! could be a reference in a slot is taken for one: slots do not say what they hold.

use crate::reference::Reference;
use crate::store::Store;
use crate::trap::Trap;
use crate::types::{Composite, Storage, Value, slots};
use omni_base::Gpa;

/// Where its own numbers are: the end of what was ever used, bytes given out since the last
/// collection, bytes that were left by it, the room that small objects are cut from, and the first
/// free room of each size.
const TOP: u64 = 8;
const SINCE: u64 = 16;
const LIVE: u64 = 24;
const SMALL: u64 = 32;
const SMALL_LEFT: u64 = 40;
const LISTS: u64 = 64;

/// Where objects begin.
const START: u64 = 4096;

/// Bytes of a word; sizes of objects are a multiple of it.
const WORD: u64 = 8;

/// The smallest object: room for a word that says what it is, and for the next in a list.
const BYTES_MIN: u64 = 16;

/// Lists of exact sizes, up to so many bytes; list 0 has what is larger.
const EXACT_MAX: u64 = 504;

/// Bytes of room that small objects are cut from.
const SMALL_BYTES: u64 = 16 << 10;

/// Free rooms that are looked at for one that is large enough.
const LOOKED_AT: u32 = 64;

/// Bytes that are given out before a collection at least.
const COLLECT_BYTES: u64 = 4 << 20;

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Object {
    /// A structure or an array of a defined type; the elements of an array.
    Data { ty: u32, length: u32 },
    /// An exception with this tag of the store.
    Exception { tag: u32 },
    /// Free room of so many words.
    Free { words: u32 },
}

/// Marks in the word that says what an object is.
const EXCEPTION: u32 = 1 << 31;
const FREE: u32 = u32::MAX;

impl Object {
    fn word(self) -> u64 {
        let (low, high) = match self {
            Self::Data { ty, length } => (ty, length),
            Self::Exception { tag } => (EXCEPTION | tag, 0),
            Self::Free { words } => (FREE, words),
        };
        u64::from(high) << 32 | u64::from(low)
    }

    fn of(word: u64) -> Self {
        // The halves.
        match (word as u32, (word >> 32) as u32) {
            (FREE, words) => Self::Free { words },
            (low, _) if low & EXCEPTION != 0 => Self::Exception { tag: low & !EXCEPTION },
            (ty, length) => Self::Data { ty, length },
        }
    }
}

/// Bytes of an element of an array.
pub(crate) fn element_bytes(storage: Storage) -> u64 {
    match storage {
        Storage::I8 => 1,
        Storage::I16 => 2,
        Storage::Value(Value::I32 | Value::F32) => 4,
        Storage::Value(Value::I64 | Value::F64 | Value::Ref(_)) => 8,
        Storage::Value(Value::V128) => 16,
    }
}

/// Slots of a field of a structure.
pub(crate) fn field_slots(storage: Storage) -> u64 {
    if is_wide(storage) { 2 } else { 1 }
}

/// Whether it holds vectors.
pub(crate) fn is_wide(storage: Storage) -> bool {
    storage == Storage::Value(Value::V128)
}

/// The list of a size.
fn list_of(bytes: u64) -> u64 {
    LISTS + if bytes <= EXACT_MAX { bytes / WORD * WORD } else { 0 }
}

/// Bits, one for each word of the heap.
struct Bits(Vec<u64>);

impl Bits {
    fn new(bytes: u64) -> Self {
        Self(vec![0; usize::try_from(bytes / WORD / 64).unwrap_or(0) + 1])
    }

    fn at(offset: u64) -> (usize, u64) {
        // Lossless: an offset in a space that is in memory.
        ((offset / WORD / 64) as usize, 1 << (offset / WORD % 64))
    }

    fn get(&self, offset: u64) -> bool {
        let (at, bit) = Self::at(offset);
        offset.is_multiple_of(WORD) && self.0.get(at).is_some_and(|bits| bits & bit != 0)
    }

    fn set(&mut self, offset: u64) {
        let (at, bit) = Self::at(offset);
        if let Some(bits) = self.0.get_mut(at) {
            *bits |= bit;
        }
    }
}

impl Store {
    /// Makes the heap, where there is none.
    ///
    /// # Errors
    /// Where memories may not have so much.
    pub(crate) fn make_heap(&mut self) -> Result<(), crate::link::LinkError> {
        if self.heap.is_none() {
            let most = self.memory_max / crate::cold::WASM_PAGE;
            let number = self.add_space("objects", true, false, 1, most)?;
            self.heap = Some(number);
            self.set_heap_word(TOP, START).map_err(crate::link::LinkError::Trapped)?;
        }
        Ok(())
    }

    /// Reads bytes of the heap.
    pub(crate) fn heap_load<const N: usize>(&mut self, at: u64) -> Result<[u8; N], Trap> {
        let heap = self.heap.ok_or(Trap::Damage)?;
        self.memory.spaces[heap as usize].flat_load(at).ok_or(Trap::Damage)
    }

    /// Writes bytes of the heap.
    pub(crate) fn heap_store<const N: usize>(
        &mut self,
        at: u64,
        bytes: [u8; N],
    ) -> Result<(), Trap> {
        let heap = self.heap.ok_or(Trap::Damage)?;
        self.memory.spaces[heap as usize].flat_store(at, bytes).ok_or(Trap::Damage)
    }

    /// Reads a word of the heap.
    pub(crate) fn heap_word(&mut self, at: u64) -> Result<u64, Trap> {
        self.heap_load(at).map(u64::from_le_bytes)
    }

    /// Writes a word of the heap.
    pub(crate) fn set_heap_word(&mut self, at: u64, word: u64) -> Result<(), Trap> {
        self.heap_store(at, word.to_le_bytes())
    }

    /// What is at an offset.
    pub(crate) fn object(&mut self, at: u64) -> Result<Object, Trap> {
        self.heap_word(at).map(Object::of)
    }

    /// The bytes of an object with the word that says what it is; nothing for what cannot be.
    fn object_bytes(&self, object: Object) -> Option<u64> {
        let content = match object {
            Object::Free { words } => return Some(u64::from(words) * WORD).filter(|n| *n > 0),
            Object::Exception { tag } => {
                let ty = *self.externs.tags.get(tag as usize)?;
                u64::from(slots(&self.types.signature(ty)?.params)) * WORD
            }
            Object::Data { ty, length } => match &self.types.get(ty)?.composite {
                Composite::Struct(fields) => {
                    fields.iter().map(|field| field_slots(field.storage)).sum::<u64>() * WORD
                }
                Composite::Array(element) => {
                    let bytes = u64::from(length) * element_bytes(element.storage);
                    bytes.next_multiple_of(WORD)
                }
                Composite::Func(_) => return None,
            },
        };
        Some((content + WORD).max(BYTES_MIN))
    }

    /// A new object with zeros in it; gives its offset. `collects`: what is not reachable from the
    /// state may go for it.
    pub(crate) fn new_object(&mut self, object: Object, collects: bool) -> Result<u64, Trap> {
        let bytes = self.object_bytes(object).ok_or(Trap::Damage)?;
        let since = self.heap_word(SINCE)?;
        let due = since.saturating_add(bytes) > self.heap_word(LIVE)?.max(COLLECT_BYTES);
        if collects && due && since > 0 {
            self.collect()?;
        }
        let at = match self.room(bytes, LOOKED_AT)? {
            Some(at) => at,
            None if collects => {
                self.collect()?;
                self.room(bytes, u32::MAX)?.ok_or(Trap::Heap)?
            }
            None => return Err(Trap::Heap),
        };
        let since = self.heap_word(SINCE)?;
        self.set_heap_word(SINCE, since.saturating_add(bytes))?;
        let heap = self.heap.ok_or(Trap::Damage)?;
        let space = &mut self.memory.spaces[heap as usize];
        space.fill(Gpa(at), bytes, 0).map_err(|_| Trap::Damage)?;
        self.set_heap_word(at, object.word())?;
        Ok(at)
    }

    /// Room for so many bytes. Small objects are beside each other, so that between large ones
    /// there is room for large ones again.
    fn room(&mut self, bytes: u64, looked_at: u32) -> Result<Option<u64>, Trap> {
        if bytes > EXACT_MAX {
            return self.large_room(bytes, looked_at);
        }
        let list = list_of(bytes);
        let first = self.heap_word(list)?;
        if first != 0 {
            let next = self.heap_word(first.checked_add(WORD).ok_or(Trap::Damage)?)?;
            self.set_heap_word(list, next)?;
            return Ok(Some(first));
        }
        let (mut at, mut left) = (self.heap_word(SMALL)?, self.heap_word(SMALL_LEFT)?);
        if left < bytes {
            self.give_back(at, left)?;
            self.set_heap_word(SMALL_LEFT, 0)?;
            match self.large_room(SMALL_BYTES, looked_at)? {
                Some(found) => (at, left) = (found, SMALL_BYTES),
                None => return self.large_room(bytes, looked_at),
            }
        }
        let after = left.checked_sub(bytes).ok_or(Trap::Damage)?;
        let end = at.checked_add(bytes).ok_or(Trap::Damage)?;
        if after > 0 {
            // Lossless: less than `SMALL_BYTES`, or it does not matter.
            let words = (after / WORD) as u32;
            self.set_heap_word(end, Object::Free { words }.word())?;
        }
        self.set_heap_word(SMALL, end)?;
        self.set_heap_word(SMALL_LEFT, after)?;
        Ok(Some(at))
    }

    /// Room cut from one of the first that are large enough, or at the end.
    fn large_room(&mut self, bytes: u64, looked_at: u32) -> Result<Option<u64>, Trap> {
        let (mut before, mut at) = (LISTS, self.heap_word(LISTS)?);
        for _ in 0..looked_at {
            if at == 0 {
                break;
            }
            let Object::Free { words } = self.object(at)? else { return Err(Trap::Damage) };
            let has = u64::from(words) * WORD;
            let next = self.heap_word(at + WORD)?;
            if has >= bytes {
                self.set_heap_word(before, next)?;
                self.give_back(at + bytes, has - bytes)?;
                return Ok(Some(at));
            }
            (before, at) = (at + WORD, next);
        }
        let top = self.heap_word(TOP)?;
        let heap = self.heap.ok_or(Trap::Damage)?;
        let size = self.memory_bytes(heap);
        let Some(end) = top.checked_add(bytes) else { return Ok(None) };
        if end > size {
            // A little more at a time, so that it does not grow often.
            let pages = (end - size).div_ceil(crate::cold::WASM_PAGE);
            let more = pages.max(size / crate::cold::WASM_PAGE / 4);
            let grown = self.grow_memory(heap, more).or_else(|| self.grow_memory(heap, pages));
            if grown.is_none() {
                return Ok(None);
            }
        }
        self.set_heap_word(TOP, end)?;
        Ok(Some(top))
    }

    /// Puts room into the list of its size. What has no room for that is left until what is beside
    /// it is free too.
    fn give_back(&mut self, at: u64, bytes: u64) -> Result<(), Trap> {
        if bytes == 0 {
            return Ok(());
        }
        let words = u32::try_from(bytes / WORD).map_err(|_| Trap::Damage)?;
        self.set_heap_word(at, Object::Free { words }.word())?;
        if bytes >= BYTES_MIN {
            let list = list_of(bytes);
            let next = self.heap_word(list)?;
            self.set_heap_word(at + WORD, next)?;
            self.set_heap_word(list, at)?;
        }
        Ok(())
    }

    /// Frees what cannot be reached.
    fn collect(&mut self) -> Result<(), Trap> {
        let top = self.heap_word(TOP)?;
        let heap = self.heap.ok_or(Trap::Damage)?;
        if top > self.memory_bytes(heap) {
            return Err(Trap::Damage);
        }
        let mut starts = Bits::new(top);
        let mut at = START;
        while at < top {
            let object = self.object(at)?;
            if !matches!(object, Object::Free { .. }) {
                starts.set(at);
            }
            at = self.object_bytes(object).and_then(|n| at.checked_add(n)).ok_or(Trap::Damage)?;
        }
        if at != top {
            return Err(Trap::Damage);
        }
        let marks = self.mark(&starts, top)?;
        self.set_heap_word(SMALL_LEFT, 0)?;
        (LISTS..=list_of(EXACT_MAX)).step_by(8).try_for_each(|at| self.set_heap_word(at, 0))?;
        let (mut at, mut free, mut live) = (START, START, 0);
        while at < top {
            let object = self.object(at)?;
            let bytes = self.object_bytes(object).ok_or(Trap::Damage)?;
            if marks.get(at) {
                self.give_back_all(free, at)?;
                live += bytes;
                free = at + bytes;
            }
            at += bytes;
        }
        self.set_heap_word(TOP, free)?;
        self.set_heap_word(SINCE, 0)?;
        self.set_heap_word(LIVE, live)
    }

    /// The same for room that may be more than one free object can have.
    fn give_back_all(&mut self, mut from: u64, to: u64) -> Result<(), Trap> {
        while from < to {
            let bytes = (to - from).min(u64::from(u32::MAX / 2) * WORD);
            self.give_back(from, bytes)?;
            from += bytes;
        }
        Ok(())
    }

    /// Which objects can be reached from slots, globals, tables and segments.
    fn mark(&mut self, starts: &Bits, top: u64) -> Result<Bits, Trap> {
        let mut marks = Bits::new(top);
        let mut work: Vec<u64> = Vec::new();
        let visit = |slot: u64, marks: &mut Bits, work: &mut Vec<u64>| {
            if let Some(at) = Reference(slot).as_object()
                && starts.get(at)
                && !marks.get(at)
            {
                marks.set(at);
                work.push(at);
            }
        };
        let state = &self.state;
        let frames = &state.stack[..self.stack_top()];
        frames.iter().chain(&state.globals).for_each(|slot| visit(*slot, &mut marks, &mut work));
        let tables = state.tables.iter().flat_map(|table| &table.slots);
        let segments = self.elements.iter().zip(&state.elements_dropped);
        let segments = segments.filter(|(_, dropped)| !**dropped).flat_map(|(items, _)| items);
        tables.chain(segments).for_each(|slot| visit(*slot, &mut marks, &mut work));
        while let Some(at) = work.pop() {
            for from in self.references(at)? {
                let slot = self.heap_word(from)?;
                visit(slot, &mut marks, &mut work);
            }
        }
        Ok(marks)
    }

    fn composite(&self, ty: u32) -> Result<&Composite, Trap> {
        self.types.get(ty).map(|ty| &ty.composite).ok_or(Trap::Damage)
    }

    /// Where an object has references.
    fn references(&mut self, at: u64) -> Result<Box<dyn Iterator<Item = u64>>, Trap> {
        let object = self.object(at)?;
        let is_reference = |storage: Storage| matches!(storage, Storage::Value(Value::Ref(_)));
        let first = at + WORD;
        let storages: Vec<Storage> = match object {
            Object::Free { .. } => Vec::new(),
            Object::Exception { tag } => {
                let ty = self.externs.tags.get(tag as usize).copied();
                let signature = ty.and_then(|ty| self.types.signature(ty)).ok_or(Trap::Damage)?;
                signature.params.iter().map(|value| Storage::Value(*value)).collect()
            }
            Object::Data { ty, length } => match self.composite(ty)? {
                Composite::Struct(fields) => fields.iter().map(|field| field.storage).collect(),
                Composite::Array(element) if is_reference(element.storage) => {
                    return Ok(Box::new((0..length).map(move |nth| first + u64::from(nth) * WORD)));
                }
                Composite::Array(_) | Composite::Func(_) => Vec::new(),
            },
        };
        let mut next = first;
        let mut found = Vec::new();
        for storage in storages {
            if is_reference(storage) {
                found.push(next);
            }
            next += field_slots(storage) * WORD;
        }
        Ok(Box::new(found.into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MIN, LISTS, Object, SMALL, SMALL_LEFT, list_of};
    use crate::kind::created;
    use crate::trap::Trap;
    use omni_machine::Spec;

    #[test]
    fn a_heap_whose_own_numbers_are_wild_is_damaged_and_nothing_worse() {
        let mut spec = Spec::new("wasm");
        let text = r#"(module (type $one (struct (field i64)))
            (func (export "_start") (drop (struct.new $one (i64.const 1)))))"#;
        spec.files.insert("image".into(), text.as_bytes().into());
        let mut store = created(&spec).expect("the program is sound").store;
        let one = Object::Data { ty: store.instances[0].numbers.types[0], length: 0 };
        assert!(store.new_object(one, false).is_ok());
        for wild in [u64::MAX, u64::MAX - 8, 1 << 63] {
            for at in [list_of(BYTES_MIN), SMALL] {
                let (before, left) = (store.heap_word(at), store.heap_word(SMALL_LEFT));
                store.set_heap_word(SMALL_LEFT, 64).expect("it is there");
                store.set_heap_word(at, wild).expect("it is there");
                assert_eq!(store.new_object(one, false), Err(Trap::Damage), "{wild:#x} at {at}");
                store.set_heap_word(at, before.expect("it is there")).expect("it is there");
                store.set_heap_word(SMALL_LEFT, left.expect("it is there")).expect("it is there");
            }
            store.set_heap_word(LISTS, wild).expect("it is there");
            let large = Object::Free { words: 1 << 10 };
            assert_eq!(store.new_object(large, false), Err(Trap::Damage), "{wild:#x}");
        }
    }
}
