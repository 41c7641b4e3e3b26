//! Boots a kernel with an initial RAM disk, console on standard output: for bring-up and profiles.
//!
//! `cargo run --release -p omni-board-virt --example boot KERNEL [INITRD] [SECONDS] [CPUS]
//! [FIRMWARE] [COMMAND]`, or with `sample` for the sample machine of the tests.

use omni_base::Tick;
use omni_board_virt::{RiscvVirt, sample_spec};
use omni_engine::{Tiers, Without};
use omni_machine::{Effect, Event, Kick, MachineKind, Outside, PortId, Schedule, Spec, Stop};
use std::io::Write;
use std::time::{Duration, Instant};

/// Prints the console and remembers it.
#[derive(Default)]
struct Out {
    seen: Vec<u8>,
}

impl Outside for Out {
    fn emit(&mut self, _: Tick, effect: Effect) {
        if let Effect::Output { port: PortId(0), bytes } = effect {
            self.seen.extend_from_slice(&bytes);
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var("OMNI_TIER").is_ok_and(|tier| tier == "interp") {
        Tiers::Interpreter.make_default();
    }
    if let Ok(names) = std::env::var("OMNI_WITHOUT") {
        Without::make_default(names.split(',').filter(|name| !name.is_empty()))?;
    }
    let mut spec = Spec::new("riscv-virt");
    spec.options.insert("append".into(), "console=ttyS0 earlycon=sbi".into());
    spec.options.insert("cpus".into(), args.get(3).cloned().unwrap_or_else(|| "1".into()));
    if args[0] == "sample" {
        spec = sample_spec();
    } else {
        spec.files.insert("image".into(), std::fs::read(&args[0])?.into());
    }
    if let Some(initrd) = args.get(1).filter(|path| !path.is_empty()) {
        spec.files.insert("initrd".into(), std::fs::read(initrd)?.into());
    }
    if let Some(firmware) = args.get(4).filter(|path| !path.is_empty()) {
        spec.files.insert("firmware".into(), std::fs::read(firmware)?.into());
    }
    let limit = Duration::from_secs(args.get(2).map_or(Ok(60), |s| s.parse())?);
    let mut machine = RiscvVirt.create(&spec)?;
    if std::env::var_os("OMNI_PARALLEL").is_some() {
        machine.set_schedule(Schedule::Parallel);
    }
    let start = Instant::now();
    let (mut out, mut typed) = (Out::default(), false);
    loop {
        let until = Tick(machine.tick().0 + 2_000_000);
        let stop = machine.run(until, &Kick::default(), &mut out);
        if matches!(stop, Stop::Halted { .. }) || start.elapsed() > limit {
            break;
        }
        if !typed && out.seen.windows(3).any(|w| w == b":~#") {
            typed = true;
            let mut err = std::io::stderr().lock();
            writeln!(err, "shell at tick {} after {:?}", machine.tick().0, start.elapsed())?;
            let command = args.get(5).map_or("uname -a", String::as_str);
            let bytes = format!("{command}; poweroff -f\n").into_bytes();
            machine.apply(&Event::Input { port: PortId(0), bytes }, &mut out);
        }
        out.seen.drain(..out.seen.len().saturating_sub(8));
    }
    let (ticks, seconds) = (machine.tick().0, start.elapsed().as_secs_f64());
    let mut err = std::io::stderr().lock();
    writeln!(err, "{ticks} ticks in {seconds:.2} s")?;
    Ok(())
}
