//! The bare suite without the rest of the program: for work on speed.
//!
//! `cargo run --release -p omni-bench --example bench [quick] [KERNEL...]`

use omni_bench::{MACHINE_VERB, Options, Tier, measure_bare, run_machine};
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == MACHINE_VERB) {
        return Ok(run_machine(&args[1..])?);
    }
    let mut err = std::io::stderr();
    let quick = args.first().is_some_and(|arg| arg == "quick");
    args.retain(|arg| arg != "quick");
    let options = Options {
        only: args,
        tiers: vec![Tier::All],
        runs: if quick { 3 } else { 5 },
        quick,
        cache: std::env::temp_dir().join("omni-bench"),
        us: std::env::current_exe()?,
    };
    let report = measure_bare(&options, &mut |what| drop(writeln!(err, "{what}")))?;
    for missing in &report.missing {
        writeln!(err, "{}: {} {}", missing.peer.name(), missing.why, missing.get)?;
    }
    writeln!(err, "{:?}", report.host)?;
    let (heads, rows) = report.table();
    let mut out = std::io::stdout();
    for row in [heads].into_iter().chain(rows) {
        let line: Vec<String> = row.iter().map(|cell| format!("{cell:>14}")).collect();
        writeln!(out, "{}", line.join(" "))?;
    }
    Ok(())
}
