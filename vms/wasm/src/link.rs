//! Linking and instantiation (the specification, section 4.7.2).
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "most pairs of an import and an export do not fit"
)]

use crate::cold::WASM_PAGE;
use crate::layout::{GlobalAt, MemoryAt, Numbers, TableAt};
use crate::module::{Import, Kind, Mode, Module};
use crate::reference::Reference;
use crate::state::{MemorySize, Table};
use crate::store::{Body, Func, Instance, Store};
use crate::trap::Trap;
use crate::types::{Reference as ReferenceType, Value, reference_of, value_of};
use omni_base::PAGE_SIZE_U64;
use omni_memory::Space;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use wasmparser::TypeRef;

/// The most pages that a memory with addresses of 32 bits can have.
const PAGES_MAX_32: u64 = 1 << 16;

/// Why a module could not be instantiated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkError {
    /// There is nothing of this name to import.
    Missing {
        /// The module that was named, and what of it.
        name: String,
    },
    /// What is there is of another type.
    Mismatch {
        /// The module that was named, and what of it.
        name: String,
    },
    /// A segment does not fit where it goes.
    Trapped(Trap),
    /// It needs more memory at the start than it may have.
    Memory {
        /// Bytes that it needs.
        bytes: u64,
    },
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "unknown import: there is no {name} here"),
            Self::Mismatch { name } => write!(f, "incompatible import type: {name}"),
            Self::Trapped(trap) => write!(f, "{trap}"),
            Self::Memory { bytes } => write!(
                f,
                "it needs {} MiB of memory at the start, which is more than --memory allows",
                bytes >> 20
            ),
        }
    }
}

impl std::error::Error for LinkError {}

/// Something that can be imported, by its number in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extern {
    /// A function.
    Func(u32),
    /// A table.
    Table(u32),
    /// A memory.
    Memory(u32),
    /// A global.
    Global(u32),
    /// A tag.
    Tag(u32),
}

/// The type of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableInfo {
    pub(crate) ty: ReferenceType,
    pub(crate) is64: bool,
    pub(crate) max: Option<u64>,
}

/// The type of a memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryInfo {
    pub(crate) is64: bool,
    pub(crate) shared: bool,
    pub(crate) max: Option<u64>,
}

/// The types of what can be imported but functions.
#[derive(Default, Debug)]
pub(crate) struct Externs {
    pub(crate) tables: Vec<TableInfo>,
    pub(crate) memories: Vec<MemoryInfo>,
    pub(crate) globals: Vec<GlobalAt>,
    pub(crate) tags: Vec<u32>,
}

/// The number of the first function of the host that ends the program.
pub(crate) const REFUSED: u32 = 1 << 16;

/// What a module's imports are given.
pub type Imports = BTreeMap<(String, String), Extern>;

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2^32 of a kind")
}

impl Store {
    /// A function of the host.
    pub fn add_host(&mut self, host: u32, signature: crate::types::Signature) -> Extern {
        let ty = self.types.function(signature);
        self.funcs.push(Func { ty, body: Body::Host(host) });
        self.code.push(None);
        Extern::Func(number(self.funcs.len() - 1))
    }

    /// A global with a value.
    pub fn add_global(&mut self, ty: Value, mutable: bool, slots: [u64; 2]) -> Extern {
        let slot = number(self.state.globals.len());
        self.state.globals.extend(&slots[..usize::from(ty.slots())]);
        self.externs.globals.push(GlobalAt { slot, ty, mutable });
        Extern::Global(number(self.externs.globals.len() - 1))
    }

    /// A table of nulls; a maximum where it has one.
    ///
    /// # Errors
    /// Where it is larger than tables may be.
    pub fn add_table(
        &mut self,
        ty: ReferenceType,
        is64: bool,
        size: u64,
        max: Option<u64>,
    ) -> Result<Extern, LinkError> {
        let limit = max.unwrap_or(if is64 { u64::MAX } else { u32::MAX.into() });
        self.state.tables.push(Table { slots: Vec::new(), max: limit });
        self.externs.tables.push(TableInfo { ty, is64, max });
        let at = number(self.externs.tables.len() - 1);
        let grown = self.grow_table(at, Reference::NULL.0, size);
        grown.ok_or(LinkError::Trapped(Trap::Table))?;
        Ok(Extern::Table(at))
    }

    /// A memory of zeros, in pages; a maximum where it has one.
    ///
    /// # Errors
    /// Where it is larger than memories may be.
    pub fn add_memory(
        &mut self,
        is64: bool,
        shared: bool,
        pages: u64,
        max: Option<u64>,
    ) -> Result<Extern, LinkError> {
        let bound = if is64 { u64::MAX / WASM_PAGE } else { PAGES_MAX_32 };
        let most = max.unwrap_or(bound).min(bound);
        let at = self.state.memories.len();
        let name = if at == 0 { "memory".to_owned() } else { format!("memory{at}") };
        let at = self.add_space(&name, is64, shared, pages, most)?;
        self.externs.memories[at as usize].max = max;
        Ok(Extern::Memory(at))
    }

    /// A space for a memory of so many pages, and of `most` at most.
    pub(crate) fn add_space(
        &mut self,
        name: &str,
        is64: bool,
        shared: bool,
        pages: u64,
        most: u64,
    ) -> Result<u32, LinkError> {
        let bytes = pages.saturating_mul(WASM_PAGE);
        if bytes > self.memory_max {
            return Err(LinkError::Memory { bytes });
        }
        let held = most.min(self.memory_max / WASM_PAGE).max(pages);
        let at = self.state.memories.len();
        let space = Space::new(name, held * (WASM_PAGE / PAGE_SIZE_U64));
        if at == 0 {
            self.memory.spaces[0] = space;
        } else {
            self.memory.spaces.push(space);
        }
        self.state.memories.push(MemorySize { pages: 0, max: most });
        self.externs.memories.push(MemoryInfo { is64, shared, max: None });
        let at = number(at);
        self.grow_memory(at, pages).ok_or(LinkError::Memory { bytes })?;
        Ok(at)
    }

    /// A tag of exceptions with this signature.
    pub fn add_tag(&mut self, signature: crate::types::Signature) -> Extern {
        let ty = self.types.function(signature);
        self.externs.tags.push(ty);
        Extern::Tag(number(self.externs.tags.len() - 1))
    }

    /// Makes an instance of a module, without running its start function; gives its number. Its
    /// memories and tables are filled as far as its segments fit.
    ///
    /// # Errors
    /// Where an import is missing or of another type, or a segment does not fit.
    pub fn instantiate(
        &mut self,
        module: &Arc<Module>,
        imports: &Imports,
    ) -> Result<u32, LinkError> {
        let instance = self.allocate(module, imports)?;
        self.fill(instance)?;
        Ok(instance)
    }

    /// The same with the segments left to whoever has what the memories and tables hold.
    pub(crate) fn allocate(
        &mut self,
        module: &Arc<Module>,
        imports: &Imports,
    ) -> Result<u32, LinkError> {
        let mut types = Vec::new();
        for group in &module.groups {
            self.types.add_group(group, &mut types);
        }
        let mut numbers = Numbers { types, ..Numbers::default() };
        for import in &module.imports {
            self.link(import, imports, &mut numbers)?;
        }
        let instance = number(self.instances.len());
        for (body, ty) in module.funcs[module.imported_funcs..].iter().enumerate() {
            let index = number(module.imported_funcs + body);
            let body = Body::Wasm { instance, index, body: number(body) };
            numbers.funcs.push(number(self.funcs.len()));
            self.funcs.push(Func { ty: numbers.types[*ty as usize], body });
            self.code.push(None);
        }
        for memory in &module.memories[numbers.memories.len()..] {
            let made =
                self.add_memory(memory.memory64, memory.shared, memory.initial, memory.maximum)?;
            self.number_of(made, &mut numbers);
        }
        if module.has_objects() {
            self.make_heap()?;
        }
        for tag in &module.tags[numbers.tags.len()..] {
            self.externs.tags.push(numbers.types[*tag as usize]);
            numbers.tags.push(number(self.externs.tags.len() - 1));
        }
        for (ty, init) in &module.globals[numbers.globals.len()..] {
            let slots = self.constant(init, &numbers)?;
            let ty = (value_of(ty.content_type, &numbers.types), ty.mutable);
            let made = self.add_global(ty.0, ty.1, slots);
            self.number_of(made, &mut numbers);
        }
        for (ty, init) in &module.tables[numbers.tables.len()..] {
            let element = reference_of(ty.element_type, &numbers.types);
            let made = self.add_table(element, ty.table64, ty.initial, ty.maximum)?;
            self.number_of(made, &mut numbers);
            if let (Some(init), Extern::Table(at)) = (init, made) {
                let slot = self.constant(init, &numbers)?[0];
                self.state.tables[at as usize].slots.fill(slot);
            }
        }
        numbers.elements = number(self.elements.len());
        numbers.data = number(self.data.len());
        for elements in &module.elements {
            let items = elements.items.iter();
            let items = items.map(|item| self.constant(item, &numbers).map(|slots| slots[0]));
            let items = items.collect::<Result<_, _>>()?;
            self.elements.push(items);
            self.state.elements_dropped.push(false);
        }
        for at in 0..module.data.len() {
            self.data.push((instance, number(at)));
            self.state.data_dropped.push(false);
        }
        self.instances.push(Instance { module: module.clone(), numbers });
        Ok(instance)
    }

    /// Copies the segments of an instance that are active.
    pub(crate) fn fill(&mut self, instance: u32) -> Result<(), LinkError> {
        let module = self.instances[instance as usize].module.clone();
        let numbers = self.instances[instance as usize].numbers.clone();
        for (at, elements) in module.elements.iter().enumerate() {
            let segment = numbers.elements + number(at);
            if let Mode::Active { index, offset } = &elements.mode {
                let to = self.constant(offset, &numbers)?[0];
                let table = numbers.tables[*index as usize].number;
                let count = elements.items.len() as u64;
                self.init_table(table, segment, (to, 0, count)).map_err(LinkError::Trapped)?;
            }
            if !matches!(elements.mode, Mode::Passive) {
                self.state.elements_dropped[segment as usize] = true;
            }
        }
        for (at, data) in module.data.iter().enumerate() {
            let segment = numbers.data + number(at);
            if let Mode::Active { index, offset } = &data.mode {
                let to = self.constant(offset, &numbers)?[0];
                let memory = numbers.memories[*index as usize].number;
                let count = data.bytes.len() as u64;
                self.init_memory(memory, segment, (to, 0, count)).map_err(LinkError::Trapped)?;
                self.state.data_dropped[segment as usize] = true;
            }
        }
        Ok(())
    }

    fn number_of(&self, made: Extern, numbers: &mut Numbers) {
        match made {
            Extern::Func(number) => numbers.funcs.push(number),
            Extern::Table(number) => {
                let is64 = self.externs.tables[number as usize].is64;
                numbers.tables.push(TableAt { number, is64 });
            }
            Extern::Memory(number) => {
                let is64 = self.externs.memories[number as usize].is64;
                numbers.memories.push(MemoryAt { number, is64 });
            }
            Extern::Global(number) => numbers.globals.push(self.externs.globals[number as usize]),
            Extern::Tag(number) => numbers.tags.push(number),
        }
    }

    fn link(
        &mut self,
        import: &Import,
        imports: &Imports,
        numbers: &mut Numbers,
    ) -> Result<(), LinkError> {
        let name = || format!("'{}' of module '{}'", import.name, import.module);
        let found = imports.get(&(import.module.clone(), import.name.clone())).copied();
        let found = match (found, import.ty, &mut self.refused) {
            (Some(found), ..) => found,
            (None, TypeRef::Func(ty) | TypeRef::FuncExact(ty), Some(refused)) => {
                let host = REFUSED + number(refused.len());
                refused.push(name());
                self.funcs.push(Func { ty: numbers.types[ty as usize], body: Body::Host(host) });
                self.code.push(None);
                Extern::Func(number(self.funcs.len() - 1))
            }
            (None, ..) => return Err(LinkError::Missing { name: name() }),
        };
        if !self.fits(&import.ty, found, &numbers.types) {
            return Err(LinkError::Mismatch { name: name() });
        }
        self.number_of(found, numbers);
        Ok(())
    }

    /// Whether something is of the type that an import asks for.
    fn fits(&self, wanted: &TypeRef, found: Extern, types: &[u32]) -> bool {
        match (wanted, found) {
            (TypeRef::Func(ty) | TypeRef::FuncExact(ty), Extern::Func(func)) => {
                self.types.is_defined(self.funcs[func as usize].ty, types[*ty as usize])
            }
            (TypeRef::Table(ty), Extern::Table(table)) => {
                let info = self.externs.tables[table as usize];
                let element = reference_of(ty.element_type, types);
                let size = self.state.tables[table as usize].slots.len() as u64;
                info.is64 == ty.table64
                    && self.types.is_reference(info.ty, element)
                    && self.types.is_reference(element, info.ty)
                    && within((size, info.max), (ty.initial, ty.maximum))
            }
            (TypeRef::Memory(ty), Extern::Memory(memory)) => {
                let info = self.externs.memories[memory as usize];
                let pages = self.state.memories[memory as usize].pages;
                info.is64 == ty.memory64
                    && info.shared == ty.shared
                    && within((pages, info.max), (ty.initial, ty.maximum))
            }
            (TypeRef::Global(ty), Extern::Global(global)) => {
                let info = self.externs.globals[global as usize];
                let wanted = value_of(ty.content_type, types);
                info.mutable == ty.mutable
                    && self.types.is_value(info.ty, wanted)
                    && (!ty.mutable || self.types.is_value(wanted, info.ty))
            }
            (TypeRef::Tag(ty), Extern::Tag(tag)) => {
                self.externs.tags[tag as usize] == types[ty.func_type_idx as usize]
            }
            _ => false,
        }
    }

    /// Something that an instance exports.
    #[must_use]
    pub fn export(&self, instance: u32, name: &str) -> Option<Extern> {
        let exports = &self.instances[instance as usize].module.exports;
        let (_, kind, index) = exports.iter().find(|(own, ..)| own == name)?;
        self.exported(instance, *kind, *index)
    }

    /// All that an instance exports, by name.
    #[must_use]
    pub fn exports(&self, instance: u32) -> Vec<(String, Extern)> {
        let exports = self.instances[instance as usize].module.exports.iter();
        let one = |(name, kind, index): &(String, Kind, u32)| {
            Some((name.clone(), self.exported(instance, *kind, *index)?))
        };
        exports.filter_map(one).collect()
    }

    /// The start function of an instance, which is to be called once.
    #[must_use]
    pub fn start(&self, instance: u32) -> Option<u32> {
        let instance = &self.instances[instance as usize];
        instance.module.start.map(|index| instance.numbers.funcs[index as usize])
    }

    fn exported(&self, instance: u32, kind: Kind, index: u32) -> Option<Extern> {
        let numbers = &self.instances[instance as usize].numbers;
        let at = index as usize;
        Some(match kind {
            Kind::Func => Extern::Func(numbers.funcs[at]),
            Kind::Table => Extern::Table(numbers.tables[at].number),
            Kind::Memory => Extern::Memory(numbers.memories[at].number),
            Kind::Tag => Extern::Tag(numbers.tags[at]),
            Kind::Global => {
                let slot = numbers.globals[at].slot;
                // Globals are in the order of their slots.
                let found = self.externs.globals.binary_search_by_key(&slot, |own| own.slot);
                Extern::Global(number(found.ok()?))
            }
        })
    }
}

/// Whether a size and a maximum are within the limits that are asked for.
fn within(found: (u64, Option<u64>), wanted: (u64, Option<u64>)) -> bool {
    let max = match (found.1, wanted.1) {
        (_, None) => true,
        (Some(found), Some(wanted)) => found <= wanted,
        (None, Some(_)) => false,
    };
    found.0 >= wanted.0 && max
}
