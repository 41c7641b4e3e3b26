//! Floats: what the specification leaves open is the same on every host and in every build.

use omni_vm_wasm::{Extern, Imports, Module, Store};
use std::fmt::Write;
use std::sync::Arc;

/// Operations that make a number of one or two, by the width of their operands.
const ONE: &[&str] = &["sqrt", "ceil", "floor", "trunc", "nearest"];
const TWO: &[&str] = &["add", "sub", "mul", "div", "min", "max"];

/// Bits of operands that give a NaN.
const F32: &[u32] = &[0xffc0_0000, 0x7fff_efff, 0xff80_0001, 0x7fa0_0000];
const F64: &[u64] = &[0xfff8_0000_0000_0000, 0xffff_ffff_ffff_efff, 0x7ff0_0000_0000_0001];

fn program() -> String {
    let mut text = "(module".to_owned();
    let mut add = |name: String, ty: &str, result: &str, code: String| {
        let _ = write!(
            text,
            r#" (func (export "{name}") (param $a {ty}) (param $b {ty}) (result {result}) {code})"#
        );
    };
    for (ty, lanes, result, reinterpret) in [
        ("f32", "f32x4", "i32", "i32.reinterpret_f32"),
        ("f64", "f64x2", "i64", "i64.reinterpret_f64"),
    ] {
        let splat = |name: &str| format!("({lanes}.splat (local.get {name}))");
        for op in ONE.iter().chain(TWO) {
            let both = TWO.contains(op);
            let second = if both { "(local.get $b)" } else { "" };
            let code = format!("({reinterpret} ({ty}.{op} (local.get $a) {second}))");
            add(format!("{ty}.{op}"), ty, result, code);
            let second = if both { splat("$b") } else { String::new() };
            let code = format!("({lanes}.{op} {} {second})", splat("$a"));
            let code = format!("({reinterpret} ({lanes}.extract_lane 1 {code}))");
            add(format!("{lanes}.{op}"), ty, result, code);
        }
    }
    let demote = "(i32.reinterpret_f32 (f32.demote_f64 (local.get $a)))";
    add("f64.demote".into(), "f64", "i32", demote.into());
    let promote = "(i64.reinterpret_f64 (f64.promote_f32 (local.get $a)))";
    add("f32.promote".into(), "f32", "i64", promote.into());
    text + ")"
}

#[test]
fn a_nan_that_is_calculated_is_the_canonical_one_whatever_it_was_made_of() {
    let bytes = wat::parse_str(program()).expect("the text is sound");
    let module = Arc::new(Module::new(Arc::new(bytes)).expect("it is valid"));
    let mut store = Store::new(1 << 20);
    let instance = store.instantiate(&module, &Imports::new()).expect("it imports nothing");
    for (name, what) in store.exports(instance) {
        let Extern::Func(func) = what else { continue };
        let operands: Vec<u64> = if name.starts_with("f32") {
            F32.iter().map(|bits| u64::from(*bits)).chain([0xbf80_0000]).collect()
        } else {
            F64.iter().copied().chain([0xbff0_0000_0000_0000]).collect()
        };
        let canonical = [0x7fc0_0000, 0x7ff8_0000_0000_0000];
        for nan in &operands[..operands.len() - 1] {
            for other in &operands {
                let both = TWO.iter().any(|op| name.ends_with(op));
                for given in [[*nan, *other], [*other, *nan]] {
                    let result = store.call(func, &given, 100).expect("it does not trap");
                    let is = canonical.contains(&result[0]);
                    assert!(is || !both && given[0] != *nan, "{name} {given:x?}: {result:x?}");
                }
            }
        }
    }
    let root = store.export(instance, "f64.sqrt");
    let Some(Extern::Func(root)) = root else { panic!("it exports a root") };
    let minus_one = (-1f64).to_bits();
    assert_eq!(store.call(root, &[minus_one, 0], 100), Ok(vec![0x7ff8_0000_0000_0000]));
}
