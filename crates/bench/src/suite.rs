//! The kernels: names, what each is about, and how much of it is measured.

use crate::BenchError;

/// One kernel of the suite, as `benches/kernels/main.c` knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel {
    /// Its name.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// The count it is given: enough for a third of a second of interpretation or more.
    pub count: u64,
    /// The count for a quick look.
    pub count_quick: u64,
    /// Whether it is a loop of integer instructions, for which the least speed is promised.
    pub integer_loop: bool,
}

const fn row(name: &'static str, about: &'static str, count: u64, count_quick: u64) -> Kernel {
    Kernel { name, about, count, count_quick, integer_loop: false }
}

const fn integer(name: &'static str, about: &'static str, count: u64, quick: u64) -> Kernel {
    Kernel { integer_loop: true, ..row(name, about, count, quick) }
}

/// The suite, in the order of its report.
#[rustfmt::skip] // One row a line.
pub const KERNELS: &[Kernel] = &[
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
    row("matrix",         "products of matrices of doubles",                50,        10),
    row("nbody",          "planets: division, square root",             60_000,    12_000),
    row("mandelbrot",     "a loop of doubles",                             400,       180),
    row("convert",        "between integers, floats and doubles",    3_000_000,   600_000),
    row("interpret",      "a switch that is hard to predict",          400_000,    80_000),
    row("indirect",       "calls through pointers",                  5_000_000, 1_000_000),
    row("generate",       "code made while running",                    20_000,     5_000),
];

/// The kernels of these names, or all where none is named.
///
/// # Errors
/// [`BenchError::NoKernel`] for a name that none has.
pub fn kernels_named(names: &[String]) -> Result<Vec<Kernel>, BenchError> {
    let known = || KERNELS.iter().map(|kernel| kernel.name).collect::<Vec<_>>().join(", ");
    if let Some(name) = names.iter().find(|name| KERNELS.iter().all(|k| k.name != **name)) {
        return Err(BenchError::NoKernel { name: name.clone(), known: known() });
    }
    let wanted = |kernel: &&Kernel| names.is_empty() || names.iter().any(|n| n == kernel.name);
    Ok(KERNELS.iter().filter(wanted).copied().collect())
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
        assert_eq!(kernels_named(&[]).expect("all").len(), KERNELS.len());
        assert_eq!(kernels_named(&["fib".into()]).expect("one").len(), 1);
        let error = kernels_named(&["fob".into()]).expect_err("none").to_string();
        assert!(error.contains("fob") && error.contains("fib"), "{error}");
    }
}
