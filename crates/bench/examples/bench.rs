//! The suite, or a boot, without the rest of the program: for work on speed.
//!
//! `cargo run --release -p omni-bench --example bench [quick|KERNEL...]`
//! or `... boot KERNEL INITRD`

use omni_bench::{BOOT_HEADS, BootOptions, HEADS, Options, measure, measure_boot};
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut err = std::io::stderr();
    let (heads, rows) = if args.first().is_some_and(|arg| arg == "boot") {
        let options = BootOptions {
            kernel: args.get(1).ok_or("which kernel?")?.into(),
            initrd: args.get(2).ok_or("which initrd?")?.into(),
            append: "console=ttyS0".into(),
            prompt: ":~# ".into(),
            memory: "512M".into(),
            runs: 3,
        };
        let report = measure_boot(&options, &mut |peer| drop(writeln!(err, "{}", peer.name())))?;
        (BOOT_HEADS, report.table())
    } else {
        let quick = args.first().is_some_and(|arg| arg == "quick");
        args.retain(|arg| arg != "quick");
        let cache = std::env::temp_dir().join("omni-bench");
        let runs = if quick { 3 } else { 5 };
        let options = Options { kernels: args, runs, quick, cache };
        let report = measure(&options, &mut |kernel| drop(writeln!(err, "{}", kernel.name)))?;
        for missing in &report.missing {
            writeln!(err, "{}: {} {}", missing.peer.name(), missing.why, missing.get)?;
        }
        writeln!(err, "{:?}", report.host)?;
        (HEADS, report.table())
    };
    let mut out = std::io::stdout();
    for row in [heads.iter().map(|head| (*head).to_owned()).collect()].into_iter().chain(rows) {
        let line: Vec<String> = row.iter().map(|cell| format!("{cell:>10}")).collect();
        writeln!(out, "{}", line.join(" "))?;
    }
    Ok(())
}
