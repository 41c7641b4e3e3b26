//! Modules that are in use, so that machines of one program share what was parsed and validated.

use crate::module::{Module, ModuleError};
use omni_base::Digest;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A module, as long as somebody has it, by the bytes or the text that it was made from.
struct Known {
    source: Weak<Vec<u8>>,
    digest: Digest,
    module: Weak<Module>,
}

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// The module of a source: that of another machine where one has it, or else a new one.
///
/// # Errors
/// As of `make`.
pub(crate) fn module<E: From<ModuleError>>(
    source: &Arc<Vec<u8>>,
    make: impl FnOnce() -> Result<Arc<Vec<u8>>, E>,
) -> Result<Arc<Module>, E> {
    let same = |known: &Known| std::ptr::eq(known.source.as_ptr(), Arc::as_ptr(source));
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
            let hit = all.iter().find(|known| known.digest == own);
            if let Some(found) = hit.and_then(|known| known.module.upgrade()) {
                return Ok(found);
            }
        }
    }
    let module = Arc::new(Module::new(make()?)?);
    let digest = digest.unwrap_or_else(|| Digest::of(source));
    let known = Known { source: Arc::downgrade(source), digest, module: Arc::downgrade(&module) };
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).push(known);
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn known(source: &Arc<Vec<u8>>) -> Arc<Module> {
        module(source, || Ok::<_, ModuleError>(source.clone())).expect("it is a module")
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
        let weak = Arc::downgrade(&first);
        drop((first, again));
        assert!(weak.upgrade().is_none());
        known(&source);
    }
}
