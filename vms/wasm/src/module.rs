//! A module: parsed and validated, with its functions left as bytes until they are called.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "sections and operators that are not of use are passed over"
)]

use crate::known::Made;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use wasmparser::{
    DataKind, ElementItems, ElementKind, ExternalKind, FuncValidatorAllocations, FunctionBody,
    GlobalType, HeapType, KnownCustom, MemoryType, Name, Operator, Parser, Payload, RecGroup,
    TableInit, TableType, TypeRef, ValidPayload, Validator, WasmFeatures,
};

/// The proposals that are whole here.
pub(crate) const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::THREADS)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::WIDE_ARITHMETIC);

/// What can be asked of a module that needs a proposal that is not here.
const PROPOSALS: &[(WasmFeatures, &str)] = &[
    (WasmFeatures::LEGACY_EXCEPTIONS, "legacy exceptions"),
    (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared-everything threads"),
    (WasmFeatures::STACK_SWITCHING, "stack switching"),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes"),
    (WasmFeatures::CUSTOM_DESCRIPTORS, "custom descriptors"),
    (WasmFeatures::MEMORY_CONTROL, "memory control"),
    (WasmFeatures::COMPACT_IMPORTS, "compact imports"),
    (WasmFeatures::COMPONENT_MODEL, "the component model"),
];

/// Names of functions that are kept, in bytes; a module's debug names may be long.
const NAME_BYTES_MAX: usize = 256;

/// Why bytes are not a module that can run here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ModuleError {
    /// They are not WebAssembly, or not valid.
    Invalid {
        /// What is wrong.
        why: String,
        /// The byte at which it was found.
        at: u64,
    },
    /// They need a proposal that is not here.
    Unsupported {
        /// Its name.
        proposal: &'static str,
        /// The byte at which it was found.
        at: u64,
    },
    /// They are a component, which is another format.
    Component,
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { why, at } => write!(f, "no valid module: {why} (at byte {at:#x})"),
            Self::Unsupported { proposal, at } => {
                write!(f, "it needs the proposal '{proposal}', which is not here (at byte {at:#x})")
            }
            Self::Component => f.write_str(
                "it is a component; only core modules run here: build for wasm32-wasip1",
            ),
        }
    }
}

impl std::error::Error for ModuleError {}

impl From<wasmparser::Error> for ModuleError {
    fn from(error: wasmparser::Error) -> Self {
        let at = error.offset();
        let missing = error.missing_wasm_feature();
        let named = PROPOSALS.iter().find(|(flag, _)| missing.is_some_and(|m| m.contains(*flag)));
        match named {
            Some((_, proposal)) => Self::Unsupported { proposal, at },
            None => Self::Invalid { why: error.message().to_owned(), at },
        }
    }
}

/// What an import or export is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Func,
    Table,
    Memory,
    Global,
    Tag,
}

/// An import.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) ty: TypeRef,
}

/// An instruction of a constant expression.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ConstOp {
    /// A number, in slots.
    Number(u64),
    Vector(u128),
    Global(u32),
    Func(u32),
    Null,
    Struct {
        ty: u32,
        default: bool,
    },
    Array {
        ty: u32,
        default: bool,
    },
    ArrayFixed {
        ty: u32,
        count: u32,
    },
    I31,
    Add32,
    Sub32,
    Mul32,
    Add64,
    Sub64,
    Mul64,
}

/// A constant expression.
pub(crate) type Const = Vec<ConstOp>;

/// Where a segment goes.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    Passive,
    Declared,
    Active { index: u32, offset: Const },
}

/// A segment of elements.
#[derive(Clone, Debug)]
pub(crate) struct Elements {
    pub(crate) mode: Mode,
    pub(crate) items: Vec<Const>,
}

/// A segment of data: bytes of the module.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) mode: Mode,
    pub(crate) bytes: Range<usize>,
}

/// A module that was found valid.
#[derive(Debug, Default)]
pub struct Module {
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) groups: Vec<RecGroup>,
    pub(crate) imports: Vec<Import>,
    /// The type of each function, imported ones first.
    pub(crate) funcs: Vec<u32>,
    pub(crate) imported_funcs: usize,
    pub(crate) bodies: Vec<Range<usize>>,
    pub(crate) tables: Vec<(TableType, Option<Const>)>,
    pub(crate) memories: Vec<MemoryType>,
    pub(crate) globals: Vec<(GlobalType, Const)>,
    pub(crate) tags: Vec<u32>,
    pub(crate) exports: Vec<(String, Kind, u32)>,
    pub(crate) start: Option<u32>,
    pub(crate) elements: Vec<Elements>,
    pub(crate) data: Vec<Data>,
    pub(crate) names: BTreeMap<u32, String>,
    // Derived from here on.
    pub(crate) made: Made,
}

fn offset(at: u64) -> usize {
    usize::try_from(at).expect("an offset in bytes that are in memory")
}

fn range(range: Range<u64>) -> Range<usize> {
    offset(range.start)..offset(range.end)
}

impl Module {
    /// Parses and validates.
    ///
    /// # Errors
    /// Where the bytes are no module, or need a proposal that is not here.
    pub fn new(bytes: Arc<Vec<u8>>) -> Result<Self, ModuleError> {
        Self::within(bytes, FEATURES)
    }

    /// The same with what is in the first or the second version of the specification only.
    ///
    /// # Errors
    /// As `new`.
    pub fn of_version(bytes: Arc<Vec<u8>>, version: u8) -> Result<Self, ModuleError> {
        let features = if version == 1 { WasmFeatures::WASM1 } else { WasmFeatures::WASM2 };
        Self::within(bytes, features.intersection(FEATURES))
    }

    fn within(bytes: Arc<Vec<u8>>, features: WasmFeatures) -> Result<Self, ModuleError> {
        let mut module = Self { bytes: bytes.clone(), ..Self::default() };
        let mut validator = Validator::new_with_features(features);
        let mut spare = FuncValidatorAllocations::default();
        if Parser::is_component(&bytes) {
            return Err(ModuleError::Component);
        }
        for payload in Parser::new(0).parse_all(&bytes) {
            let payload = payload?;
            if let ValidPayload::Func(func, body) = validator.payload(&payload)? {
                let mut validator = func.into_validator(spare);
                validator.validate(&body)?;
                spare = validator.into_allocations();
            }
            module.take(payload)?;
        }
        module.made = Made::new(module.bodies.len());
        Ok(module)
    }

    fn take(&mut self, payload: Payload<'_>) -> Result<(), ModuleError> {
        match payload {
            Payload::TypeSection(reader) => {
                self.groups = reader.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    self.import(import?);
                }
                self.imported_funcs = self.funcs.len();
            }
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    self.funcs.push(ty?);
                }
            }
            Payload::TableSection(reader) => {
                for table in reader {
                    let table = table?;
                    let init = match table.init {
                        TableInit::RefNull => None,
                        TableInit::Expr(expr) => Some(constant(&expr)?),
                    };
                    self.tables.push((table.ty, init));
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader {
                    self.memories.push(memory?);
                }
            }
            Payload::TagSection(reader) => {
                for tag in reader {
                    self.tags.push(tag?.func_type_idx);
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader {
                    let global = global?;
                    self.globals.push((global.ty, constant(&global.init_expr)?));
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export?;
                    self.exports.push((export.name.to_owned(), kind(export.kind), export.index));
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(reader) => {
                for element in reader {
                    self.element(element?)?;
                }
            }
            Payload::DataSection(reader) => {
                for data in reader {
                    self.data(data?)?;
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(range(body.range())),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.name(names);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'_>) {
        match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => self.funcs.push(ty),
            TypeRef::Table(ty) => self.tables.push((ty, None)),
            TypeRef::Memory(ty) => self.memories.push(ty),
            TypeRef::Global(ty) => self.globals.push((ty, Vec::new())),
            TypeRef::Tag(ty) => self.tags.push(ty.func_type_idx),
        }
        let (module, name) = (import.module.to_owned(), import.name.to_owned());
        self.imports.push(Import { module, name, ty: import.ty });
    }

    fn element(&mut self, element: wasmparser::Element<'_>) -> Result<(), ModuleError> {
        let mode = match element.kind {
            ElementKind::Passive => Mode::Passive,
            ElementKind::Declared => Mode::Declared,
            ElementKind::Active { table_index, offset_expr } => {
                let index = table_index.unwrap_or(0);
                Mode::Active { index, offset: constant(&offset_expr)? }
            }
        };
        let items = match element.items {
            ElementItems::Functions(reader) => {
                let mut items = Vec::new();
                for func in reader {
                    items.push(vec![ConstOp::Func(func?)]);
                }
                items
            }
            ElementItems::Expressions(_, reader) => {
                let mut items = Vec::new();
                for expr in reader {
                    items.push(constant(&expr?)?);
                }
                items
            }
        };
        self.elements.push(Elements { mode, items });
        Ok(())
    }

    fn data(&mut self, data: wasmparser::Data<'_>) -> Result<(), ModuleError> {
        let mode = match data.kind {
            DataKind::Passive => Mode::Passive,
            DataKind::Active { memory_index, offset_expr } => {
                Mode::Active { index: memory_index, offset: constant(&offset_expr)? }
            }
        };
        let end = offset(data.range.end);
        self.data.push(Data { mode, bytes: end - data.data.len()..end });
        Ok(())
    }

    /// Takes the names of functions; names that are not sound are no fault of the module.
    fn name(&mut self, names: wasmparser::NameSectionReader<'_>) {
        for name in names {
            let Ok(Name::Function(map)) = name else { continue };
            for naming in map.into_iter().map_while(Result::ok) {
                let end = naming.name.floor_char_boundary(NAME_BYTES_MAX);
                self.names.insert(naming.index, naming.name[..end].to_owned());
            }
        }
    }

    /// Whether it can make what is in the heap.
    pub(crate) fn has_objects(&self) -> bool {
        let mut types = self.groups.iter().flat_map(RecGroup::types);
        let is_data = |ty: &wasmparser::SubType| {
            !matches!(ty.composite_type.inner, wasmparser::CompositeInnerType::Func(_))
        };
        !self.tags.is_empty() || types.any(is_data)
    }

    /// What it imports: names of modules, and of what is in them.
    pub fn imported_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.imports.iter().map(|import| (&*import.module, &*import.name))
    }

    /// The body of a function that is not imported, counted from those.
    pub(crate) fn body(&self, at: usize) -> FunctionBody<'_> {
        let range = self.bodies[at].clone();
        let reader = wasmparser::BinaryReader::new(&self.bytes[range.clone()], range.start as u64);
        FunctionBody::new(reader)
    }

    /// The name of a function, where the module has one for it.
    #[must_use]
    pub fn name_of(&self, func: u32) -> String {
        let exported = || {
            let hit =
                |(_, kind, index): &&(String, Kind, u32)| *kind == Kind::Func && *index == func;
            self.exports.iter().find(hit).map(|(name, ..)| name)
        };
        let name = self.names.get(&func).or_else(exported);
        name.cloned().unwrap_or_else(|| format!("func[{func}]"))
    }
}

fn kind(kind: ExternalKind) -> Kind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => Kind::Func,
        ExternalKind::Table => Kind::Table,
        ExternalKind::Memory => Kind::Memory,
        ExternalKind::Global => Kind::Global,
        ExternalKind::Tag => Kind::Tag,
    }
}

/// A constant expression, which is valid.
fn constant(expr: &wasmparser::ConstExpr<'_>) -> Result<Const, ModuleError> {
    let mut ops = Vec::new();
    for op in expr.get_operators_reader() {
        ops.push(match op? {
            Operator::I32Const { value } => ConstOp::Number(value.cast_unsigned().into()),
            Operator::I64Const { value } => ConstOp::Number(value.cast_unsigned()),
            Operator::F32Const { value } => ConstOp::Number(value.bits().into()),
            Operator::F64Const { value } => ConstOp::Number(value.bits()),
            Operator::V128Const { value } => ConstOp::Vector(u128::from_le_bytes(*value.bytes())),
            Operator::GlobalGet { global_index } => ConstOp::Global(global_index),
            Operator::RefFunc { function_index } => ConstOp::Func(function_index),
            Operator::RefNull { hty: HeapType::Abstract { .. } | HeapType::Concrete(_) } => {
                ConstOp::Null
            }
            Operator::StructNew { struct_type_index: ty } => ConstOp::Struct { ty, default: false },
            Operator::StructNewDefault { struct_type_index: ty } => {
                ConstOp::Struct { ty, default: true }
            }
            Operator::ArrayNew { array_type_index: ty } => ConstOp::Array { ty, default: false },
            Operator::ArrayNewDefault { array_type_index: ty } => {
                ConstOp::Array { ty, default: true }
            }
            Operator::ArrayNewFixed { array_type_index: ty, array_size: count } => {
                ConstOp::ArrayFixed { ty, count }
            }
            Operator::RefI31 => ConstOp::I31,
            // A reference is the same in both families.
            Operator::AnyConvertExtern | Operator::ExternConvertAny => continue,
            Operator::I32Add => ConstOp::Add32,
            Operator::I32Sub => ConstOp::Sub32,
            Operator::I32Mul => ConstOp::Mul32,
            Operator::I64Add => ConstOp::Add64,
            Operator::I64Sub => ConstOp::Sub64,
            Operator::I64Mul => ConstOp::Mul64,
            Operator::End => break,
            _ => {
                let why = "a constant expression that is not known here".to_owned();
                return Err(ModuleError::Invalid { why, at: 0 });
            }
        });
    }
    Ok(ops)
}
