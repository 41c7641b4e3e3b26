//! The bare suite without the rest of the program: for work on speed.
//!
//! `cargo run --release -p omni-bench --example bench [quick] [KERNEL...]`

use omni_bench::{
    Audience, MACHINE_VERB, Options, Report, Row, Table, Tier, measure_bare, run_machine,
};
use std::io::Write;

/// Prints each row as it comes.
struct Printer;

impl Audience for Printer {
    fn doing(&mut self, what: &str) {
        let _ = writeln!(std::io::stderr(), "{what}");
    }

    fn begins(&mut self, report: &Report) {
        let table = Table::new(&report.peers, true);
        let _ = writeln!(std::io::stdout(), "{:?}\n{}", report.host, table.heads());
    }

    fn measured(&mut self, row: &Row) {
        let peers: Vec<_> = row.cells.iter().map(|cell| cell.peer).collect();
        let _ = writeln!(std::io::stdout(), "{}", Table::new(&peers, true).row(row));
    }
}

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
        alone: false,
        sampled: None,
        quick,
        cache: std::env::temp_dir().join("omni-bench"),
        us: std::env::current_exe()?,
    };
    let report = measure_bare(&options, &mut Printer)?;
    for missing in &report.missing {
        writeln!(err, "{}: {} {}", missing.peer.name(), missing.why, missing.get)?;
    }
    for line in Table::new(&report.peers, true).means(&report) {
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}
