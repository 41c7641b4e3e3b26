//! Modules that are in use, so that machines of one program share what was parsed, validated and
//! compiled.

use crate::code::Code;
use crate::module::{Module, ModuleError};
use crate::store::CODE_WEIGHT_MAX;
use omni_base::Digest;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// A module, as long as somebody has it, by the bytes or the text that it was made from.
struct Known {
    source: Weak<Vec<u8>>,
    digest: Digest,
    /// What it is linked with, which its code depends on.
    beside: Digest,
    module: Weak<Module>,
}

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// The module of a source, to be linked with what has the other digest: that of another machine
/// where one has it, or else a new one.
///
/// # Errors
/// As of `make`.
pub(crate) fn module<E: From<ModuleError>>(
    source: &Arc<Vec<u8>>,
    beside: Digest,
    make: impl FnOnce() -> Result<Arc<Vec<u8>>, E>,
) -> Result<Arc<Module>, E> {
    let same = |known: &Known| {
        known.beside == beside && std::ptr::eq(known.source.as_ptr(), Arc::as_ptr(source))
    };
    let mut digest = None;
    {
        let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.module.strong_count() > 0);
        // A weak pointer keeps its place, so no other bytes can be there.
        if let Some(found) = all.iter().find(|known| same(known)).and_then(|k| k.module.upgrade()) {
            return Ok(found);
        }
        if !all.is_empty() {
            let own = *digest.insert(Digest::of(source));
            let hit = all.iter().find(|known| (known.digest, known.beside) == (own, beside));
            if let Some(found) = hit.and_then(|known| known.module.upgrade()) {
                return Ok(found);
            }
        }
    }
    let module = Arc::new(Module::new(make()?)?);
    let digest = digest.unwrap_or_else(|| Digest::of(source));
    let (source, weak) = (Arc::downgrade(source), Arc::downgrade(&module));
    let known = Known { source, digest, beside, module: weak };
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).push(known);
    Ok(module)
}

/// What was compiled of a module, for all machines of it: each of them would make the same.
#[derive(Default, Debug)]
pub(crate) struct Made {
    code: Vec<OnceLock<Arc<Code>>>,
    /// The weight of all of it.
    weight: AtomicUsize,
}

impl Made {
    /// For a module of so many functions.
    pub(crate) fn new(bodies: usize) -> Self {
        let code = (0..bodies).map(|_| OnceLock::new()).collect();
        Self { code, weight: AtomicUsize::new(0) }
    }

    /// The code of a function, which is kept where there is room.
    pub(crate) fn code<E>(
        &self,
        body: usize,
        make: impl FnOnce() -> Result<Code, E>,
    ) -> Result<Arc<Code>, E> {
        let place = &self.code[body];
        if let Some(code) = place.get() {
            return Ok(code.clone());
        }
        let code = Arc::new(make()?);
        let before = self.weight.fetch_add(code.weight(), Ordering::Relaxed);
        if before + code.weight() <= CODE_WEIGHT_MAX {
            return Ok(place.get_or_init(|| code).clone());
        }
        self.weight.fetch_sub(code.weight(), Ordering::Relaxed);
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn known(source: &Arc<Vec<u8>>) -> Arc<Module> {
        let make = || Ok::<_, ModuleError>(source.clone());
        module(source, Digest::default(), make).expect("it is a module")
    }

    #[test]
    fn machines_of_one_program_share_its_module_and_the_last_one_lets_go_of_it() {
        let source = Arc::new([EMPTY, &[0, 2, 1, b'a']].concat());
        let first = known(&source);
        assert!(Arc::ptr_eq(&first, &known(&source)));
        let again = known(&Arc::new(source.to_vec()));
        assert!(Arc::ptr_eq(&first, &again), "equal bytes are one program");
        let other = known(&Arc::new([EMPTY, &[0, 2, 1, b'b']].concat()));
        assert!(!Arc::ptr_eq(&first, &other));
        let make = || Ok::<_, ModuleError>(source.clone());
        let linked = module(&source, Digest::of(b"another"), make).expect("it is a module");
        assert!(!Arc::ptr_eq(&first, &linked), "its code is another");
        let weak = Arc::downgrade(&first);
        drop((first, again));
        assert!(weak.upgrade().is_none());
        known(&source);
    }

    #[test]
    fn a_function_is_compiled_once_for_all_machines_of_a_program() {
        let text = r#"(module (func (export "_start") (loop (br 0))))"#;
        let mut spec = omni_machine::Spec::new("wasm");
        spec.files.insert("image".into(), text.as_bytes().into());
        let made = || crate::kind::created(&spec).expect("the program is sound");
        let (one, other) = (made(), made());
        let code = |vm: &crate::machine::Vm| vm.store.code[vm.main as usize].clone();
        let (one, other) = (code(&one).expect("compiled"), code(&other).expect("compiled"));
        assert!(Arc::ptr_eq(&one, &other));
    }
}
