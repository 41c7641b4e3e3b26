//! The list of kinds: the only crate that names them all.
//!
//! Architecture invariant: a kind is one crate plus one line here, and a sample for the battery.
#![forbid(unsafe_code)]

mod samples;

pub use samples::{Sample, samples};

use omni_machine::{Confidence, CreateError, MachineKind};

/// Every kind of machine, in the order in which people see them.
pub const KINDS: &[&dyn MachineKind] = &[
    &omni_board_virt::RiscvVirt,
    &omni_vm_zmachine::ZMachine,
    &omni_vm_wasm::Wasm,
    &omni_vm_glulx::Glulx,
    &omni_vm_mmix::Mmix,
];

/// The kind of this name.
///
/// # Errors
/// Where there is none.
pub fn kind_of(name: &str) -> Result<&'static dyn MachineKind, CreateError> {
    let found = KINDS.iter().find(|kind| kind.info().name == name);
    found.copied().ok_or_else(|| CreateError::NoKind(name.to_owned()))
}

/// What each kind makes of an image, the surest first; kinds that cannot run it are left out.
#[must_use]
pub fn probe_all(image: &[u8]) -> Vec<(Confidence, &'static dyn MachineKind)> {
    let mut found: Vec<_> = KINDS.iter().map(|kind| (kind.probe(image), *kind)).collect();
    found.retain(|(confidence, _)| *confidence != Confidence::No);
    found.sort_by_key(|(confidence, _)| std::cmp::Reverse(*confidence));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_find_their_kind() {
        for kind in KINDS {
            let name = kind.info().name;
            assert_eq!(kind_of(name).expect("in the list").info().name, name);
            assert_eq!(KINDS.iter().filter(|other| other.info().name == name).count(), 1);
        }
        assert_eq!(kind_of("nonesuch").err(), Some(CreateError::NoKind("nonesuch".into())));
    }

    #[test]
    fn an_empty_image_is_no_one_s() {
        assert!(probe_all(&[]).is_empty());
    }

    #[test]
    fn every_kind_has_a_sample_that_its_own_probe_knows_or_that_needs_no_image() {
        for kind in KINDS {
            let name = kind.info().name;
            let mut of_kind = samples().into_iter().filter(|sample| sample.spec.kind == name);
            let sample = of_kind.next().expect("a kind without a sample is not tested");
            let Some(image) = sample.spec.file("image") else { continue };
            let best = probe_all(&image.bytes().expect("held"))[0];
            assert_eq!((best.0, best.1.info().name), (Confidence::Sure, name));
        }
    }
}
