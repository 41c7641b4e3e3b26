//! The kind: what it says of itself, and how its machines are made.

use crate::known;
use crate::link::{Extern, Imports};
use crate::machine::{CAPS, CONSOLE, ENDED, ERRORS, RUNNING, STARTING, TYPED_MAX, Vm};
use crate::module::{Module, ModuleError};
use crate::records::{Core, File, FileKind, System, Wait};
use crate::root::ROOT;
use crate::state::{FRAMES_MAX, STACK_SLOTS, TABLE_SLOTS_MAX};
use crate::store::{NOWHERE, Store};
use crate::types::{Signature, Value};
use crate::wasi::{CALLS, FOLDERS, MODULE, signature};
use crate::wasi_fd::ALL_RIGHTS;
use omni_base::Digest;
use omni_machine::{
    Confidence, CreateError, Group, KindInfo, Machine, MachineKind, OptionSpec, OptionType,
    PortInfo, PortKind, Region, Spec,
};
use omni_memory::Space;
use omni_state::Bundle;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind `wasm`.
///
/// Standard input and output are port 0, errors port 1, folders of the host port 2.
pub struct Wasm;

/// What modules begin with in their binary form, and its version.
const MAGIC: &[u8] = b"\0asm\x01\0\0\0";

/// Bytes of a text that are looked at to know it.
const PROBE_BYTES: usize = 4096;

/// The name by which a program imports what its library exports.
const LIBRARY: &str = "library";

/// What separates the items of an option that is a list.
const SEPARATOR: char = '\0';

/// Folders that a program can be given.
const FOLDERS_MAX: usize = 64;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "memory",
        ty: OptionType::Size,
        default: "4G",
        about: "what all memories of the program and its objects may have together",
    },
    OptionSpec {
        name: "fuel",
        ty: OptionType::Number,
        default: "",
        about: "instructions, and ticks of atomic waits, after which the program is ended; without \
                it, it may go on for ever",
    },
    OptionSpec {
        name: "invoke",
        ty: OptionType::Text,
        default: "_start",
        about: "the exported function to call; the results of another than _start are shown",
    },
    OptionSpec {
        name: "argv",
        ty: OptionType::Text,
        default: "",
        about: "arguments from the program's name on, with a zero character between them",
    },
    OptionSpec {
        name: "env",
        ty: OptionType::Text,
        default: "",
        about: "the environment, NAME=VALUE with a zero character between them",
    },
    OptionSpec {
        name: "folders",
        ty: OptionType::Text,
        default: "",
        about: "the guest's names of the folders given by --dir, with a zero character between",
    },
    OptionSpec {
        name: "files",
        ty: OptionType::Text,
        default: "",
        about: "with root, single files that can be read: the guest's path of each and its name in \
                its folder of the host, with a zero character between; these folders follow those \
                of the option 'folders'",
    },
    OptionSpec {
        name: "root",
        ty: OptionType::Flag,
        default: "false",
        about: "the folders are seen below one, '/', rather than each by itself; '.' is '/' too",
    },
    OptionSpec {
        name: "echo",
        ty: OptionType::Flag,
        default: "false",
        about: "the console is a terminal in raw mode: what is typed is echoed and edited",
    },
];

static INFO: KindInfo = KindInfo {
    name: "wasm",
    group: Group::Process,
    about: "WebAssembly programs, with WASI preview 1",
    arch: None,
    extensions: &[
        "mvp",
        "mutable-global",
        "sign-extension",
        "saturating-float-to-int",
        "multi-value",
        "bulk-memory",
        "reference-types",
        "extended-const",
        "tail-call",
        "multi-memory",
        "memory64",
        "function-references",
        "simd",
        "relaxed-simd",
        "exceptions",
        "threads",
        "gc",
        "wide-arithmetic",
    ],
    caps: CAPS,
    semantics: 2,
    options: OPTIONS,
    files: &["image", "library"],
    bases: &[],
};

impl MachineKind for Wasm {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn probe(&self, image: &[u8]) -> Confidence {
        if image.starts_with(MAGIC) || is_text(image) { Confidence::Sure } else { Confidence::No }
    }

    fn ports(&self, _spec: &Spec) -> Result<Vec<PortInfo>, CreateError> {
        Ok(vec![
            PortInfo { id: CONSOLE, name: "console".into(), kind: PortKind::Console },
            PortInfo { id: ERRORS, name: "errors".into(), kind: PortKind::Console },
            PortInfo { id: FOLDERS, name: "folders".into(), kind: PortKind::Files },
        ])
    }

    fn signature(&self, _spec: &Spec) -> Option<Region> {
        None
    }

    fn create(&self, spec: &Spec) -> Result<Box<dyn Machine>, CreateError> {
        Ok(Box::new(created(spec)?))
    }

    fn restore(
        &self,
        spec: &Spec,
        spaces: Vec<Space>,
        mut records: Bundle,
    ) -> Result<Box<dyn Machine>, CreateError> {
        let (mut vm, _) = build(spec)?;
        let same = |a: &Space, b: &Space| a.name() == b.name() && a.page_count() == b.page_count();
        let own = &vm.store.memory.spaces;
        if spaces.len() != own.len() || !spaces.iter().zip(own).all(|(a, b)| same(a, b)) {
            return Err(CreateError::Shape("its spaces are not those of this module"));
        }
        vm.store.memory.spaces = spaces;
        let core: Core = records.take("core")?;
        let system: System = records.take("system")?;
        records.finish()?;
        check(&mut vm, &core, &system)?;
        for (at, pages) in core.memories.iter().enumerate() {
            vm.store.set_pages(at, *pages);
        }
        vm.set_core(core);
        vm.system = system;
        Ok(Box::new(vm))
    }
}

/// A new machine.
pub(crate) fn created(spec: &Spec) -> Result<Vm, CreateError> {
    let (mut vm, instance) = build(spec)?;
    for each in 0..=instance {
        vm.store.fill(each).map_err(|error| no_image(error.to_string()))?;
    }
    let main = vm.store.prepared(vm.main).map(|_| ());
    main.map_err(|trap| no_image(format!("its function '{}': {trap}", invoked(spec))))?;
    match vm.store.start(instance) {
        Some(start) => {
            let begun = vm.store.begin(start, &[]);
            begun.map_err(|trap| no_image(format!("its start function: {trap}")))?;
        }
        None => vm.begin_main(),
    }
    Ok(vm)
}

fn no_image(why: String) -> CreateError {
    CreateError::File { role: "image".into(), why }
}

fn no_library(why: String) -> CreateError {
    CreateError::File { role: "library".into(), why }
}

/// Whether some text is that of a module.
fn is_text(image: &[u8]) -> bool {
    let head = &image[..image.len().min(PROBE_BYTES)];
    let Some(head) = head.utf8_chunks().next().map(|chunk| chunk.valid()) else { return false };
    let mut rest = head.trim_start();
    while let Some(comment) = rest.strip_prefix(";;") {
        rest = comment.split_once('\n').map_or("", |(_, after)| after).trim_start();
    }
    let Some(inside) = rest.strip_prefix('(') else { return false };
    let inside = inside.trim_start();
    inside.strip_prefix("module").is_some_and(|after| !after.starts_with(char::is_alphanumeric))
}

fn list(spec: &Spec, name: &str) -> Vec<String> {
    let text = spec.option(name).unwrap_or_default();
    if text.is_empty() { Vec::new() } else { text.split(SEPARATOR).map(str::to_owned).collect() }
}

/// The name of the function to call.
fn invoked(spec: &Spec) -> &str {
    spec.option("invoke").unwrap_or("_start")
}

/// The module of a spec.
fn module_of(spec: &Spec) -> Result<Arc<Module>, CreateError> {
    let bytes = image_of(spec)?;
    let make = || binary(&bytes);
    let made = match spec.file("library") {
        // What its code is depends on the library, so it is not that of another.
        Some(_) => make().and_then(|bytes| Ok(Arc::new(Module::new(bytes)?))),
        None => known::module(&bytes, Digest::default(), make),
    };
    made.map_err(|Refused(why)| no_image(why))
}

fn image_of(spec: &Spec) -> Result<Arc<Vec<u8>>, CreateError> {
    let image = spec.file("image").ok_or_else(|| no_image("no program is given".into()))?;
    image.bytes().map_err(|error| no_image(error.to_string()))
}

/// The module that a program is linked with, where it has one.
fn library_of(spec: &Spec) -> Result<Option<Arc<Module>>, CreateError> {
    let Some(library) = spec.file("library") else { return Ok(None) };
    let bytes = library.bytes().map_err(|error| no_library(error.to_string()))?;
    let made = known::module(&bytes, Digest::of(&image_of(spec)?), || binary(&bytes));
    made.map(Some).map_err(|Refused(why)| no_library(why))
}

/// Makes an instance of the library of a spec, and adds what it exports.
fn link_library(spec: &Spec, store: &mut Store, imports: &mut Imports) -> Result<(), CreateError> {
    let Some(library) = library_of(spec)? else { return Ok(()) };
    store.refused = Some(Vec::new());
    let made = store.allocate(&library, imports);
    let instance = made.map_err(|error| no_library(error.to_string()))?;
    if store.start(instance).is_some() {
        return Err(no_library("a library has no start function".into()));
    }
    for (name, found) in store.exports(instance) {
        imports.insert((LIBRARY.to_owned(), name), found);
    }
    Ok(())
}

/// Single files: the path of each, and its name in its folder.
fn files_of(spec: &Spec) -> Result<Vec<String>, CreateError> {
    let files = list(spec, "files");
    if files.len().is_multiple_of(2) && files.len() <= 2 * FOLDERS_MAX {
        return Ok(files);
    }
    let why = format!("pairs of a path and a name, at most {FOLDERS_MAX}");
    Err(CreateError::Option { name: "files".into(), why })
}

/// The binary form of a module.
fn binary(bytes: &Arc<Vec<u8>>) -> Result<Arc<Vec<u8>>, Refused> {
    if bytes.starts_with(b"\0asm") {
        return Ok(bytes.clone());
    }
    let made = wat::parse_bytes(bytes).map_err(|error| Refused(error.to_string()))?;
    Ok(Arc::new(made.into_owned()))
}

/// Why an image is no program.
struct Refused(String);

impl From<ModuleError> for Refused {
    fn from(error: ModuleError) -> Self {
        Self(error.to_string())
    }
}

/// A machine of a spec, whose module's segments are still to be copied; and the instance of that.
fn build(spec: &Spec) -> Result<(Vm, u32), CreateError> {
    let module = module_of(spec)?;
    let mut store = Store::new(spec.number("memory", 4 << 30)?);
    store.shares_code = true;
    store.ns_per_tick = spec.ns_per_tick.into();
    let mut imports = Imports::new();
    for (host, (name, params, _)) in (0..).zip(CALLS) {
        let call = store.add_host(host, signature(name, params));
        imports.insert((MODULE.to_owned(), (*name).to_owned()), call);
    }
    link_library(spec, &mut store, &mut imports)?;
    let made = store.allocate(&module, &imports);
    let instance = made.map_err(|error| no_image(error.to_string()))?;
    let invoke = invoked(spec);
    let arguments = list(spec, "argv");
    let main = match store.export(instance, invoke) {
        Some(Extern::Func(main)) => main,
        _ => {
            let why = format!(
                "it exports no function '{invoke}'; --option invoke=NAME calls another one"
            );
            return Err(no_image(why));
        }
    };
    let called = [Some(main), store.start(instance)].into_iter().flatten();
    if called.into_iter().any(|func| store.is_host(func)) {
        let why = format!(
            "its '{invoke}' or start function is one that it imports; \
             --option invoke=NAME calls another one"
        );
        return Err(no_image(why));
    }
    let main_arguments = main_arguments(store.signature(main), &arguments)?;
    let system_memory = match store.export(instance, "memory") {
        Some(Extern::Memory(memory)) => Some(memory),
        _ => None,
    };
    let folders = list(spec, "folders");
    if folders.len() > FOLDERS_MAX {
        let why = format!("more than {FOLDERS_MAX} folders");
        return Err(CreateError::Option { name: "folders".into(), why });
    }
    let fuel = match spec.option("fuel") {
        None | Some("") => None,
        Some(_) => Some(spec.number("fuel", 0)?),
    };
    let vm = Vm {
        spec: spec.clone(),
        system: blank_system(spec, &folders),
        slept: 0,
        phase: STARTING,
        halted: None,
        out: Vec::new(),
        main,
        main_arguments,
        show: invoke != "_start",
        arguments,
        environment: list(spec, "env"),
        folders,
        files: files_of(spec)?,
        fuel,
        echo: spec.option("echo") == Some("true"),
        system_memory,
        answers_used: 0,
        store,
    };
    Ok((vm, instance))
}

/// The arguments of the main function, from those of the program.
fn main_arguments(signature: &Signature, given: &[String]) -> Result<Vec<u64>, CreateError> {
    let wrong = |why: String| CreateError::Option { name: "argv".into(), why };
    let given = given.get(1..).unwrap_or_default();
    if signature.params.is_empty() {
        return Ok(Vec::new());
    }
    if signature.params.len() != given.len() {
        let (wanted, got) = (signature.params.len(), given.len());
        return Err(wrong(format!("the function takes {wanted} arguments, and {got} are given")));
    }
    let one = |(ty, text): (&Value, &String)| {
        let bad = || wrong(format!("'{text}' is no argument of type {ty:?}"));
        Ok(match ty {
            Value::I32 => {
                let signed = text.parse::<i32>().map(i32::cast_unsigned);
                u64::from(signed.or_else(|_| text.parse::<u32>()).map_err(|_| bad())?)
            }
            Value::I64 => {
                let signed = text.parse::<i64>().map(i64::cast_unsigned);
                signed.or_else(|_| text.parse::<u64>()).map_err(|_| bad())?
            }
            Value::F32 => text.parse::<f32>().map_err(|_| bad())?.to_bits().into(),
            Value::F64 => text.parse::<f64>().map_err(|_| bad())?.to_bits(),
            Value::V128 | Value::Ref(_) => return Err(bad()),
        })
    };
    signature.params.iter().zip(given).map(one).collect()
}

fn blank_system(spec: &Spec, folders: &[String]) -> System {
    let count = u32::try_from(folders.len()).expect("bounded when they were counted");
    let standard = |kind| File {
        kind,
        folder: 0,
        given: false,
        path: String::new(),
        offset: 0,
        flags: 0,
        rights: (ALL_RIGHTS, 0),
    };
    let mut files = BTreeMap::from([
        (0, standard(FileKind::Input)),
        (1, standard(FileKind::Output)),
        (2, standard(FileKind::Errors)),
    ]);
    let given = if spec.option("root") == Some("true") { ROOT..ROOT + 1 } else { 0..count };
    for (folder, fd) in given.zip(3..) {
        let rights = (ALL_RIGHTS, ALL_RIGHTS);
        let file = File { folder, given: true, rights, ..standard(FileKind::Folder) };
        files.insert(fd, file);
    }
    System {
        typed: Vec::new(),
        closed: false,
        random: spec.seed,
        files,
        wait: Wait::None,
        asked: None,
        answers: Vec::new(),
        next_io: 0,
    }
}

/// Refuses records that no machine of the spec can have.
fn check(vm: &mut Vm, core: &Core, system: &System) -> Result<(), CreateError> {
    let wrong = CreateError::Shape("its records are not those of this module and these options");
    let state = &vm.store.state;
    let lengths = core.globals.len() == state.globals.len()
        && core.memories.len() == state.memories.len()
        && core.tables.len() == state.tables.len()
        && core.elements_dropped.len() == state.elements_dropped.len()
        && core.data_dropped.len() == state.data_dropped.len();
    let held: usize = core.tables.iter().map(Vec::len).sum();
    let pages = core.memories.iter().zip(&vm.store.memory.spaces);
    let fits = |(pages, space): (&u64, &Space)| {
        pages.checked_mul(crate::cold::WASM_PAGE).is_some_and(|bytes| bytes <= space.size())
    };
    let sound = lengths
        && held as u64 <= TABLE_SLOTS_MAX
        && pages.into_iter().all(fits)
        && core.frames.len() <= FRAMES_MAX
        && core.stack.len() <= STACK_SLOTS
        && core.slept <= core.tick
        && core.tick < i64::MAX.cast_unsigned()
        && [STARTING, RUNNING, ENDED].contains(&core.phase)
        && core.halted.is_some() == (core.phase == ENDED)
        && system.typed.len() <= TYPED_MAX
        && matches!(system.wait, Wait::Answer { .. }) == system.asked.is_some();
    if !sound {
        return Err(wrong);
    }
    let here = (core.func, core.pc, core.base);
    let mut all: Vec<_> = core.frames.iter().copied().chain([here]).collect();
    // Those of one function together, as there is not room for the code of all.
    all.sort_unstable();
    all.dedup();
    for (func, pc, base) in all {
        if (func, pc, base) == (NOWHERE, 0, 0) && core.phase == ENDED && core.frames.is_empty() {
            continue;
        }
        if !vm.store.can_stand(func, pc, base) {
            return Err(wrong);
        }
    }
    if core.phase != ENDED && !is_in_time(vm, core, system.wait) {
        return Err(wrong);
    }
    Ok(())
}

/// Whether the next instruction ends when it can: what waits has had its time, and else it is to
/// come.
fn is_in_time(vm: &mut Vm, core: &Core, wait: Wait) -> bool {
    let code = vm.store.prepared(core.func).ok();
    let along = code.and_then(|code| code.ends.get(core.pc as usize)).copied();
    let ends = along.and_then(|along| core.origin.checked_add(along.into()));
    let now = core.tick.cast_signed();
    ends.is_some_and(|ends| if wait == Wait::None { ends >= now } else { ends <= now })
}

#[cfg(test)]
mod tests {
    use super::{blank_system, check, created};
    use omni_machine::Spec;

    #[test]
    fn records_whose_next_instruction_is_out_of_time_are_refused() {
        let mut spec = Spec::new("wasm");
        let text = r#"(module (func (export "_start") (local i32) (local.set 0 (i32.const 1))))"#;
        spec.files.insert("image".into(), text.as_bytes().into());
        let mut vm = created(&spec).expect("the program is sound");
        let system = blank_system(&spec, &[]);
        assert!({
            let core = vm.core();
            check(&mut vm, &core, &system).is_ok()
        });
        for origin in [i64::MIN, -100, i64::MAX] {
            let mut core = vm.core();
            core.origin = origin;
            assert!(check(&mut vm, &core, &system).is_err(), "from {origin}");
        }
    }
}
