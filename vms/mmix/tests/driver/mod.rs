//! Drives a program as a lifecycle would: lines in, text out, files kept.
#![allow(dead_code, reason = "each test file uses a part of it")]

use omni_base::Tick;
use omni_machine::{Effect, Event, IoOp, Kick, Machine, MachineKind, PortId, Spec, Stop, ThreadId};
use omni_vm_mmix::Mmix;
use std::collections::BTreeMap;

/// Ticks that a program of a test may take.
const TICKS: u64 = 20_000_000;

/// A spec of a program with options.
pub(crate) fn spec_of(program: &[u8], options: &[(&str, &str)]) -> Spec {
    let mut spec = Spec::new("mmix");
    spec.files.insert("image".into(), program.into());
    for (name, value) in options {
        spec.options.insert((*name).into(), (*value).into());
    }
    spec
}

/// A machine, what it has said, and the files it has.
pub(crate) struct Driver {
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) text: Vec<u8>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) ticks: u64,
}

impl Driver {
    pub(crate) fn new(spec: &Spec) -> Self {
        let machine = Mmix.create(spec).unwrap_or_else(|error| panic!("{error}"));
        Self { machine, text: Vec::new(), files: BTreeMap::new(), ticks: TICKS }
    }

    /// Runs until the machine waits for input or ends.
    pub(crate) fn settle(&mut self) -> Stop {
        let end = Tick(self.machine.tick().0 + self.ticks);
        loop {
            let mut effects: Vec<(Tick, Effect)> = Vec::new();
            let until = Tick((self.machine.tick().0 + 10_000).min(end.0));
            let stop = self.machine.run(until, &Kick::default(), &mut effects);
            let mut answered = false;
            for (_, effect) in effects {
                match effect {
                    Effect::Output { bytes, .. } => self.text.extend(bytes),
                    Effect::Io(request) => {
                        let result = match request.op {
                            IoOp::SaveFile { name, bytes } => {
                                self.files.insert(name, bytes);
                                Ok(vec![])
                            }
                            IoOp::LoadFile { name } => self.files.get(&name).cloned().ok_or(2),
                            IoOp::Flush | IoOp::Folder { .. } => Err(5),
                        };
                        let event = Event::IoDone { id: request.id, result };
                        let mut more: Vec<(Tick, Effect)> = Vec::new();
                        self.machine.apply(&event, &mut more);
                        assert!(more.is_empty());
                        answered = true;
                    }
                }
            }
            let over = matches!(stop, Stop::Halted { .. }) || self.machine.tick() >= end;
            if over || matches!(stop, Stop::Idle { .. }) && !answered {
                return stop;
            }
        }
    }

    /// Gives a line and runs on.
    pub(crate) fn line(&mut self, line: &str) -> Stop {
        self.typed(format!("{line}\n").as_bytes())
    }

    /// Gives what is typed, or its end, and runs on.
    pub(crate) fn typed(&mut self, bytes: &[u8]) -> Stop {
        let bytes = bytes.to_vec();
        let mut effects: Vec<(Tick, Effect)> = Vec::new();
        self.machine.apply(&Event::Input { port: PortId(0), bytes }, &mut effects);
        self.settle()
    }

    /// What was printed.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// A register by its name.
    pub(crate) fn register(&mut self, name: &str) -> u64 {
        let inspect = self.machine.inspect().expect("it has registers");
        let mut registers = inspect.architecture().registers();
        let number = registers.position(|register| register.name == name).expect("it is one");
        inspect.register(ThreadId(0), number).expect("it is one")
    }
}
