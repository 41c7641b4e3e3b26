//! Our kernels: names, what each is about, and how much of it is measured.

use crate::BenchError;
use crate::contest::{Case, Group};

/// One kernel of the suite, as `benches/kernels/main.c` knows it.
struct Kernel {
    name: &'static str,
    about: &'static str,
    /// Enough for a third of a second of interpretation or more.
    count: u64,
    /// The count for a quick look.
    count_quick: u64,
    group: Group,
}

const fn row(name: &'static str, about: &'static str, count: u64, count_quick: u64) -> Kernel {
    Kernel { name, about, count, count_quick, group: Group::Other }
}

const fn integer(name: &'static str, about: &'static str, count: u64, quick: u64) -> Kernel {
    Kernel { group: Group::IntegerLoop, ..row(name, about, count, quick) }
}

const fn float(name: &'static str, about: &'static str, count: u64, quick: u64) -> Kernel {
    Kernel { group: Group::Float, ..row(name, about, count, quick) }
}

const fn new_code(name: &'static str, about: &'static str, count: u64, quick: u64) -> Kernel {
    Kernel { group: Group::NewCode, ..row(name, about, count, quick) }
}

/// The suite, in the order of its report.
#[rustfmt::skip] // One row a line.
const KERNELS: &[Kernel] = &[
    integer("alu",        "straight integer arithmetic in a loop",  16_000_000, 3_000_000),
    integer("collatz",    "branches that depend on data",              150_000,    30_000),
    integer("gcd",        "integer division",                            5_000,     1_000),
    integer("crc",        "bytes through a table",                         250,        50),
    integer("sieve",      "strides through 2 MB",                            3,         1),
    row("fib",            "calls and returns",                              32,        28),
    row("queens",         "recursion over sets of bits",                    12,        11),
    row("sha256",         "rotations, with memory",                     30_000,     6_000),
    row("chacha",         "rotations, with many values live",           50_000,    10_000),
    row("copy",           "copies by words and bytes",                      15,         3),
    row("strings",        "lengths and comparisons of strings",        100_000,    20_000),
    row("chase",          "dependent loads over 8 MiB",              2_000_000,   400_000),
    row("sort",           "quicksort",                                 500_000,   100_000),
    row("hash",           "a hash table of 4 MiB",                   1_000_000,   200_000),
    row("tree",           "a binary tree",                             200_000,    40_000),
    row("lz",             "compression by references back",                  6,         2),
    row("int-matrix",     "products of integer matrices",                   80,        16),
    float("matrix",         "products of matrices of doubles",                50,        10),
    float("nbody",          "planets: division, square root",             60_000,    12_000),
    float("mandelbrot",     "a loop of doubles",                             400,       180),
    float("convert",        "between integers, floats and doubles",    3_000_000,   600_000),
    row("interpret",      "a switch that is hard to predict",          400_000,    80_000),
    row("indirect",       "calls through pointers",                  5_000_000, 1_000_000),
    new_code("generate",       "code made while running",                    20_000,     5_000),
    new_code("cold",      "functions that run once or twice",                4,         2),
];

/// The suite as cases.
pub(crate) fn suite(quick: bool) -> Vec<Case> {
    let case = |kernel: &Kernel| Case {
        name: kernel.name.into(),
        about: kernel.about.into(),
        group: kernel.group,
        count: if quick { kernel.count_quick } else { kernel.count },
    };
    KERNELS.iter().map(case).collect()
}

/// The cases of these names, or all where none is named.
pub(crate) fn chosen(cases: Vec<Case>, names: &[String]) -> Result<Vec<Case>, BenchError> {
    let known = || cases.iter().map(|case| &*case.name).collect::<Vec<_>>().join(", ");
    if let Some(name) = names.iter().find(|name| cases.iter().all(|case| case.name != **name)) {
        return Err(BenchError::NoCase { name: name.clone(), known: known() });
    }
    let wanted = |case: &Case| names.is_empty() || names.contains(&case.name);
    Ok(cases.into_iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_in_the_program_and_no_other() {
        let program = include_str!("../../../benches/kernels/main.c");
        for kernel in KERNELS {
            assert!(program.contains(&format!("{{ \"{}\", ", kernel.name)), "{}", kernel.name);
        }
        assert_eq!(program.matches("{ \"").count(), KERNELS.len());
    }

    #[test]
    fn a_name_that_none_has_is_refused_with_those_that_exist() {
        let chosen = |names: &[String]| chosen(suite(true), names);
        assert_eq!(chosen(&[]).expect("all").len(), KERNELS.len());
        assert_eq!(chosen(&["fib".into()]).expect("one").len(), 1);
        let error = chosen(&["fob".into()]).expect_err("none").to_string();
        assert!(error.contains("fob") && error.contains("fib"), "{error}");
    }
}
