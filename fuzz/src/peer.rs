//! WebAssembly compared with another engine: modules made by chance, and all that they export.

use crate::module::twins_agree;
use arbitrary::Unstructured;
use omni_machine::Spec;
use omni_engine::Tiers;
use omni_vm_wasm::{CallError, Extern, Imports, Module, Store, Trap};
use std::sync::Arc;
use wasm_smith::Config;
use wasmi::{Engine, Linker, Val};

/// Bytes that memories may have.
const MEMORY_MAX: u64 = 1 << 28;

/// Rounds and calls that a module may make before it ends itself.
const FUEL: u32 = 2000;

/// Ticks of a call, which are never reached as the fuel ends before.
const TICKS: u64 = 1 << 32;

/// Ticks of a call that nothing else ends.
const TICKS_ALONE: u64 = 1 << 20;

/// How a comparison went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All that could be called was, with equal results.
    Equal,
    /// One of both met a limit of its own.
    Limit,
    /// The bytes made no module.
    None,
}

/// What both have.
fn config() -> Config {
    Config {
        allow_start_export: true,
        bulk_memory_enabled: true,
        canonicalize_nans: false,
        exceptions_enabled: false,
        export_everything: true,
        extended_const_enabled: true,
        gc_enabled: false,
        custom_page_sizes_enabled: false,
        max_imports: 0,
        max_memories: 3,
        max_memory32_bytes: 1 << 20,
        max_memory64_bytes: 1 << 20,
        max_table_elements: 1000,
        memory64_enabled: true,
        memory_max_size_required: true,
        min_exports: 1,
        min_funcs: 1,
        multi_value_enabled: true,
        reference_types_enabled: true,
        relaxed_simd_enabled: true,
        shared_everything_threads_enabled: false,
        simd_enabled: true,
        table_max_size_required: true,
        tail_call_enabled: true,
        threads_enabled: false,
        wide_arithmetic_enabled: true,
        ..Config::default()
    }
}

/// The same with what only one of both has.
fn config_alone() -> Config {
    Config { exceptions_enabled: true, gc_enabled: true, threads_enabled: true, ..config() }
}

/// The other engine's instance.
struct Peer {
    store: wasmi::Store<()>,
    instance: wasmi::Instance,
}

impl Peer {
    fn new(bytes: &[u8]) -> Result<Self, wasmi::Error> {
        let mut config = wasmi::Config::default();
        config
            .wasm_simd(true)
            .wasm_relaxed_simd(true)
            .wasm_wide_arithmetic(true)
            .wasm_memory64(true);
        config.wasm_multi_memory(true).wasm_tail_call(true).wasm_extended_const(true);
        let engine = Engine::new(&config);
        let module = wasmi::Module::new(&engine, bytes)?;
        let mut store = wasmi::Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module)?;
        Ok(Self { store, instance })
    }
}

/// The slots of a value, or nothing for a reference.
fn slots(value: &Val) -> Option<Vec<u64>> {
    Some(match value {
        Val::I32(value) => vec![u64::from(value.cast_unsigned())],
        Val::I64(value) => vec![value.cast_unsigned()],
        Val::F32(value) => vec![value.to_bits().into()],
        Val::F64(value) => vec![value.to_bits()],
        Val::V128(value) => {
            let bits = value.as_u128();
            vec![bits as u64, (bits >> 64) as u64]
        }
        _ => return None,
    })
}

/// An argument made from a number.
fn argument(ty: wasmi::ValType, from: u64) -> Val {
    match ty {
        wasmi::ValType::I32 => Val::I32(from as i32),
        wasmi::ValType::I64 => Val::I64(from.cast_signed()),
        wasmi::ValType::F32 => Val::F32(wasmi::F32::from_float(from as i32 as f32)),
        wasmi::ValType::F64 => Val::F64(wasmi::F64::from_float(from as i64 as f64)),
        other => Val::default_for_ty(other),
    }
}

/// Whether the module of these bytes is one that only this engine can run.
fn is_alone(data: &[u8]) -> bool {
    data.first().is_some_and(|byte| byte & 3 == 0)
}

/// The module that is made of bytes.
pub fn module_of(data: &[u8]) -> Option<Vec<u8>> {
    let config = if is_alone(data) { config_alone() } else { config() };
    let mut module = wasm_smith::Module::new(config, &mut Unstructured::new(data)).ok()?;
    module.ensure_termination(FUEL).ok()?;
    Some(module.to_bytes())
}

/// Makes a module of bytes, and compares what all its functions do, one after the other.
///
/// # Panics
/// Where the engines differ, or a restored twin of a machine goes another way.
pub fn peer(data: &[u8]) -> Outcome {
    // Machine code from the first call on for three of four.
    let tiers = match data.len() % 4 {
        0 => Tiers::default(),
        _ => Tiers::Compiled { after: 0 },
    };
    tiers.within(|| compared(data))
}

fn compared(data: &[u8]) -> Outcome {
    let Some(bytes) = module_of(data) else { return Outcome::None };
    let own = Arc::new(Module::new(Arc::new(bytes.clone())).expect("it is valid"));
    if is_alone(data) {
        return alone(&own, &bytes);
    }
    let mut store = Store::new(MEMORY_MAX);
    let made = store.instantiate(&own, &Imports::new());
    let started = made.map(|instance| match store.start(instance) {
        Some(start) => (instance, store.call(start, &[], TICKS).map(|_| ())),
        None => (instance, Ok(())),
    });
    let other = Peer::new(&bytes);
    let (instance, mut other) = match (started, other) {
        (Ok((instance, Ok(()))), Ok(other)) => (instance, other),
        (Ok((_, Err(CallError::Trap(Trap::Stack)))), _) => return Outcome::Limit,
        (Ok((_, Err(_))) | Err(_), Err(_)) => return Outcome::Equal,
        (_, Err(error)) if is_limit(&error) => return Outcome::Limit,
        (own, other) => panic!(
            "only one of both has an instance: {:?} and {:?}",
            own.map(|(_, started)| started),
            other.map(|_| ()).map_err(|error| error.to_string())
        ),
    };
    for (name, what) in store.exports(instance) {
        let Extern::Func(func) = what else { continue };
        let Some(outcome) = call(&mut store, func, &mut other, &name, data) else {
            return Outcome::Limit;
        };
        assert!(outcome, "results of '{name}' differ");
        compare(&mut store, instance, &mut other, &name);
    }
    as_machines(&bytes, &store, instance);
    Outcome::Equal
}

/// Runs a module by itself: whole, and as machines.
fn alone(module: &Arc<Module>, bytes: &[u8]) -> Outcome {
    let mut store = Store::new(MEMORY_MAX);
    let Ok(instance) = store.instantiate(module, &Imports::new()) else { return Outcome::Limit };
    for (_, what) in store.exports(instance) {
        let Extern::Func(func) = what else { continue };
        let signature = store.signature(func);
        let slots = signature.params.iter().map(|value| usize::from(value.slots())).sum();
        // Null is no value of every type, but of those that can be passed from outside.
        let _ = store.call(func, &vec![0; slots], TICKS_ALONE);
    }
    as_machines(bytes, &store, instance);
    Outcome::Equal
}

fn is_limit(error: &wasmi::Error) -> bool {
    let text = error.to_string();
    text.contains("stack") || text.contains("exhausted") || text.contains("limit")
}

/// Calls a function of both; nothing where a limit was met.
fn call(store: &mut Store, func: u32, other: &mut Peer, name: &str, data: &[u8]) -> Option<bool> {
    let callee = other.instance.get_func(&other.store, name).expect("it exports the same");
    let ty = callee.ty(&other.store);
    let number = |nth: usize| {
        let mut bytes = [0; 8];
        data.iter().rev().skip(nth * 8).take(8).zip(&mut bytes).for_each(|(from, to)| *to = *from);
        u64::from_le_bytes(bytes)
    };
    let params = ty.params().iter().enumerate();
    let arguments: Vec<Val> = params.map(|(nth, ty)| argument(*ty, number(nth))).collect();
    let own: Vec<u64> =
        arguments.iter().flat_map(|value| slots(value).unwrap_or(vec![0])).collect();
    let mut results: Vec<Val> = ty.results().iter().map(|ty| Val::default_for_ty(*ty)).collect();
    let theirs = callee.call(&mut other.store, &arguments, &mut results);
    let ours = store.call(func, &own, TICKS);
    match (ours, theirs) {
        (Err(CallError::Trap(Trap::Stack)), _) => None,
        (_, Err(error)) if is_limit(&error) => None,
        (Err(CallError::Trap(_)), Err(_)) => Some(true),
        (Ok(ours), Ok(())) => {
            let mut left = &ours[..];
            let same = results.iter().all(|value| match slots(value) {
                Some(want) => {
                    let (own, rest) = left.split_at(want.len());
                    left = rest;
                    own == want
                }
                None => {
                    let (own, rest) = left.split_at(1);
                    left = rest;
                    (own[0] == 0) == is_null(value)
                }
            });
            Some(same && left.is_empty())
        }
        (ours, theirs) => panic!("'{name}' gave {ours:?}, and there {theirs:?} {results:?}"),
    }
}

fn is_null(value: &Val) -> bool {
    match value {
        Val::FuncRef(reference) => reference.is_null(),
        Val::ExternRef(reference) => reference.is_null(),
        _ => false,
    }
}

/// Compares globals and memories after a call.
fn compare(store: &mut Store, instance: u32, other: &mut Peer, called: &str) {
    for (name, what) in store.exports(instance) {
        match what {
            Extern::Global(global) => {
                let theirs = other.instance.get_global(&other.store, &name);
                let theirs = theirs.expect("it exports the same").get(&other.store);
                if let Some(want) = slots(&theirs) {
                    assert_eq!(store.global(global), want, "the global '{name}' after '{called}'");
                }
            }
            Extern::Memory(memory) => {
                let theirs = other.instance.get_memory(&other.store, &name);
                let theirs = theirs.expect("it exports the same");
                let theirs = theirs.data(&other.store);
                assert!(store.memory_of(memory) == theirs, "the memory '{name}' after '{called}'");
            }
            Extern::Func(_) | Extern::Table(_) | Extern::Tag(_) => {}
        }
    }
}

/// Runs what needs no arguments as a machine, with restored twins in its place.
fn as_machines(bytes: &[u8], store: &Store, instance: u32) {
    for (name, what) in store.exports(instance).into_iter().take(8) {
        let Extern::Func(func) = what else { continue };
        if !store.signature(func).params.is_empty() {
            continue;
        }
        let mut spec = Spec::new("wasm");
        spec.files.insert("image".into(), bytes.to_vec().into());
        spec.options.insert("invoke".into(), name);
        spec.options.insert("memory".into(), "64M".into());
        twins_agree(&spec);
    }
}
