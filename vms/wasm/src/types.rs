//! Types of values, functions, structures and arrays, made canonical over all modules of a store.
#![allow(clippy::wildcard_enum_match_arm, reason = "most pairs of types are no match")]

use std::collections::HashMap;
use wasmparser::{
    AbstractHeapType, CompositeInnerType, HeapType, RecGroup, RefType, StorageType, SubType,
    UnpackedIndex, ValType,
};

/// What a reference may point at (the specification, section 2.3.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Heap {
    /// One of the types that have a name.
    Abstract(AbstractHeapType),
    /// A defined type, by its number in `Types`.
    Defined(u32),
    /// A member of the group that is being defined; none is left once it is.
    Member(u32),
}

/// The type of a reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reference {
    /// Whether it may be null.
    pub nullable: bool,
    /// What it points at.
    pub heap: Heap,
}

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Value {
    /// An integer of 32 bits.
    I32,
    /// An integer of 64 bits.
    I64,
    /// A float of 32 bits.
    F32,
    /// A float of 64 bits.
    F64,
    /// A vector of 128 bits.
    V128,
    /// A reference.
    Ref(Reference),
}

impl Value {
    /// How many slots of 64 bits it takes.
    #[must_use]
    pub fn slots(self) -> u16 {
        if self == Self::V128 { 2 } else { 1 }
    }
}

/// The slots of several values.
pub(crate) fn slots(values: &[Value]) -> u32 {
    values.iter().map(|value| u32::from(value.slots())).sum()
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Storage {
    I8,
    I16,
    Value(Value),
}

/// A field of a structure, or the elements of an array.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Field {
    pub(crate) storage: Storage,
    pub(crate) mutable: bool,
}

/// The parameters and results of a function.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Signature {
    /// What it takes.
    pub params: Vec<Value>,
    /// What it gives.
    pub results: Vec<Value>,
}

/// What a defined type is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Composite {
    Func(Signature),
    Struct(Vec<Field>),
    Array(Field),
}

/// A defined type.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Defined {
    pub(crate) is_final: bool,
    pub(crate) parent: Option<Heap>,
    pub(crate) composite: Composite,
}

/// All defined types. Two that are equal have one number.
#[derive(Default, Debug)]
pub(crate) struct Types {
    defined: Vec<Defined>,
    groups: HashMap<Vec<Defined>, u32>,
}

impl Types {
    /// The type of this number.
    pub(crate) fn get(&self, number: u32) -> Option<&Defined> {
        self.defined.get(number as usize)
    }

    /// The signature of the function type of this number.
    pub(crate) fn signature(&self, number: u32) -> Option<&Signature> {
        match &self.get(number)?.composite {
            Composite::Func(signature) => Some(signature),
            Composite::Struct(_) | Composite::Array(_) => None,
        }
    }

    /// The number of the type of functions of this signature that no module has to name.
    pub(crate) fn function(&mut self, signature: Signature) -> u32 {
        let composite = Composite::Func(signature);
        self.intern(vec![Defined { is_final: true, parent: None, composite }])
    }

    /// Adds a group of a module; `known` are the numbers of the types before it.
    pub(crate) fn add_group(&mut self, group: &RecGroup, known: &mut Vec<u32>) {
        let first = u32::try_from(known.len()).expect("a module has fewer types");
        let from = From { known, first };
        let members: Vec<_> = group.types().map(|ty| from.defined(ty)).collect();
        let count = u32::try_from(members.len()).expect("a module has fewer types");
        let number = self.intern(members);
        known.extend(number..number + count);
    }

    fn intern(&mut self, members: Vec<Defined>) -> u32 {
        if let Some(number) = self.groups.get(&members) {
            return *number;
        }
        let first = u32::try_from(self.defined.len()).expect("fewer than 2^32 types");
        self.defined.extend(members.iter().map(|member| settle(member, first)));
        self.groups.insert(members, first);
        first
    }

    /// Whether a value of type `one` is one of type `other` (section 3.3).
    pub(crate) fn is_value(&self, one: Value, other: Value) -> bool {
        match (one, other) {
            (Value::Ref(one), Value::Ref(other)) => self.is_reference(one, other),
            _ => one == other,
        }
    }

    /// Whether a reference of type `one` is one of type `other`.
    pub(crate) fn is_reference(&self, one: Reference, other: Reference) -> bool {
        (other.nullable || !one.nullable) && self.is_heap(one.heap, other.heap)
    }

    /// Whether what `one` says is also what `other` says.
    pub(crate) fn is_heap(&self, one: Heap, other: Heap) -> bool {
        match (one, other) {
            (Heap::Abstract(one), Heap::Abstract(other)) => is_abstract(one, other),
            (Heap::Defined(one), Heap::Defined(other)) => self.is_defined(one, other),
            (Heap::Defined(one), Heap::Abstract(other)) => {
                self.abstract_of(one).is_some_and(|one| is_abstract(one, other))
            }
            (Heap::Abstract(one), Heap::Defined(other)) => {
                self.abstract_of(other).is_some_and(|other| bottom(other) == one)
            }
            (Heap::Member(_), _) | (_, Heap::Member(_)) => false,
        }
    }

    /// Whether one defined type is another, or below it.
    pub(crate) fn is_defined(&self, one: u32, other: u32) -> bool {
        let mut one = one;
        loop {
            if one == other {
                return true;
            }
            match self.get(one).and_then(|defined| defined.parent) {
                Some(Heap::Defined(parent)) => one = parent,
                _ => return false,
            }
        }
    }

    fn abstract_of(&self, number: u32) -> Option<AbstractHeapType> {
        Some(match self.get(number)?.composite {
            Composite::Func(_) => AbstractHeapType::Func,
            Composite::Struct(_) => AbstractHeapType::Struct,
            Composite::Array(_) => AbstractHeapType::Array,
        })
    }
}

/// The type below all of its family.
fn bottom(heap: AbstractHeapType) -> AbstractHeapType {
    use AbstractHeapType as A;
    match heap {
        A::Func | A::NoFunc => A::NoFunc,
        A::Extern | A::NoExtern => A::NoExtern,
        A::Exn | A::NoExn => A::NoExn,
        A::Cont | A::NoCont => A::NoCont,
        A::Any | A::None | A::Eq | A::Struct | A::Array | A::I31 => A::None,
    }
}

fn is_abstract(one: AbstractHeapType, other: AbstractHeapType) -> bool {
    use AbstractHeapType as A;
    let any = matches!(one, A::Eq | A::I31 | A::Struct | A::Array) && other == A::Any;
    let eq = matches!(one, A::I31 | A::Struct | A::Array) && other == A::Eq;
    one == other || any || eq || one == bottom(other)
}

/// How a module's types are read: those before `first` are known.
struct From<'a> {
    known: &'a [u32],
    first: u32,
}

impl From<'_> {
    fn defined(&self, ty: &SubType) -> Defined {
        let parent = ty.supertype_idxs.first().map(|index| self.index(index.unpack()));
        let composite = match &ty.composite_type.inner {
            CompositeInnerType::Func(func) => Composite::Func(Signature {
                params: func.params().iter().map(|ty| self.value(*ty)).collect(),
                results: func.results().iter().map(|ty| self.value(*ty)).collect(),
            }),
            CompositeInnerType::Struct(fields) => {
                Composite::Struct(fields.fields.iter().map(|field| self.field(field)).collect())
            }
            CompositeInnerType::Array(array) => Composite::Array(self.field(&array.0)),
            CompositeInnerType::Cont(_) => Composite::Struct(Vec::new()),
        };
        Defined { is_final: ty.is_final, parent, composite }
    }

    fn field(&self, field: &wasmparser::FieldType) -> Field {
        let storage = match field.element_type {
            StorageType::I8 => Storage::I8,
            StorageType::I16 => Storage::I16,
            StorageType::Val(ty) => Storage::Value(self.value(ty)),
        };
        Field { storage, mutable: field.mutable }
    }

    fn value(&self, ty: ValType) -> Value {
        match ty {
            ValType::I32 => Value::I32,
            ValType::I64 => Value::I64,
            ValType::F32 => Value::F32,
            ValType::F64 => Value::F64,
            ValType::V128 => Value::V128,
            ValType::Ref(ty) => Value::Ref(self.reference(ty)),
        }
    }

    fn reference(&self, ty: RefType) -> Reference {
        Reference { nullable: ty.is_nullable(), heap: self.heap(ty.heap_type()) }
    }

    fn heap(&self, heap: HeapType) -> Heap {
        match heap {
            HeapType::Abstract { ty, .. } => Heap::Abstract(ty),
            HeapType::Concrete(index) | HeapType::Exact(index) => self.index(index),
        }
    }

    fn index(&self, index: UnpackedIndex) -> Heap {
        match index {
            UnpackedIndex::Module(index) if index < self.first => {
                self.known.get(index as usize).map_or(Heap::Member(u32::MAX), |n| Heap::Defined(*n))
            }
            UnpackedIndex::Module(index) => Heap::Member(index - self.first),
            UnpackedIndex::RecGroup(index) => Heap::Member(index),
            _ => Heap::Member(u32::MAX),
        }
    }
}

/// The type of a value of a module whose types have these numbers.
pub(crate) fn value_of(ty: ValType, known: &[u32]) -> Value {
    From { known, first: u32::MAX }.value(ty)
}

/// The same for what references point at.
pub(crate) fn reference_of(ty: RefType, known: &[u32]) -> Reference {
    From { known, first: u32::MAX }.reference(ty)
}

/// A member of a group, once the group has its numbers.
fn settle(member: &Defined, first: u32) -> Defined {
    let heap = |heap: Heap| match heap {
        Heap::Member(index) => Heap::Defined(first + index),
        Heap::Abstract(_) | Heap::Defined(_) => heap,
    };
    let value = |value: Value| match value {
        Value::Ref(ty) => Value::Ref(Reference { heap: heap(ty.heap), ..ty }),
        other => other,
    };
    let field = |field: &Field| {
        let storage = match field.storage {
            Storage::Value(ty) => Storage::Value(value(ty)),
            packed => packed,
        };
        Field { storage, ..*field }
    };
    let composite = match &member.composite {
        Composite::Func(signature) => Composite::Func(Signature {
            params: signature.params.iter().map(|ty| value(*ty)).collect(),
            results: signature.results.iter().map(|ty| value(*ty)).collect(),
        }),
        Composite::Struct(fields) => Composite::Struct(fields.iter().map(field).collect()),
        Composite::Array(element) => Composite::Array(field(element)),
    };
    Defined { is_final: member.is_final, parent: member.parent.map(heap), composite }
}
