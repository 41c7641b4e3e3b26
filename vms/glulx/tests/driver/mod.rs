//! Drives a story as a lifecycle would: lines in, text out, snapshots between.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

use omni_base::Tick;
use omni_machine::{
    Effect, Event, IoId, IoOp, IoRequest, IoResult, Kick, Machine, MachineKind, PortId, Spec, Stop,
};
use omni_memory::Space;
use omni_state::Bundle;
use omni_vm_glulx::Glulx;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Ticks that a line of a test may take.
pub(crate) const LINE_TICKS: u64 = 500_000_000;

/// The path of a story that is not ours, where it is present.
pub(crate) fn story_path(name: &str) -> Option<PathBuf> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/glulx");
    let path = PathBuf::from(root).join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not here", path.display());
    None
}

/// A spec of a story with options.
pub(crate) fn spec_of(story: &[u8], options: &[(&str, &str)]) -> Spec {
    let mut spec = Spec::new("glulx");
    spec.files.insert("image".into(), story.into());
    for (name, value) in options {
        spec.options.insert((*name).into(), (*value).into());
    }
    spec
}

/// A machine and what it has said.
pub(crate) struct Driver {
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) effects: Vec<(Tick, Effect)>,
    /// Runs in steps of so many ticks.
    pub(crate) slice: u64,
    /// Files of the outside, where it has any.
    pub(crate) files: Option<BTreeMap<String, Vec<u8>>>,
}

impl Driver {
    pub(crate) fn new(spec: &Spec) -> Self {
        let machine = Glulx.create(spec).expect("the story is sound");
        Self { machine, effects: Vec::new(), slice: LINE_TICKS, files: None }
    }

    /// Runs until the machine waits for an event or ends.
    pub(crate) fn settle(&mut self) -> Stop {
        let mut end = self.machine.tick().0 + LINE_TICKS;
        loop {
            let until = Tick((self.machine.tick().0 + self.slice).min(end));
            let stop = self.machine.run(until, &Kick::default(), &mut self.effects);
            match stop {
                Stop::Halted { .. } => return stop,
                Stop::Reached | Stop::Idle { .. } | Stop::Kicked | Stop::Hit(_) => {
                    assert_eq!(self.machine.tick(), until, "a run ends where it was asked to")
                }
            }
            if self.answer() {
                end = self.machine.tick().0 + LINE_TICKS;
                continue;
            }
            if until.0 == end || matches!(stop, Stop::Idle { wake: None }) {
                return stop;
            }
        }
    }

    /// Answers a request for a file, if there is one.
    pub(crate) fn answer(&mut self) -> bool {
        let (Some(request), Some(files)) = (self.request(), &mut self.files) else { return false };
        let result = match request.op {
            IoOp::SaveFile { name, bytes } => {
                files.insert(name, bytes);
                Ok(vec![])
            }
            IoOp::LoadFile { name } => files.get(&name).cloned().ok_or(2),
            IoOp::Flush | IoOp::Folder { .. } => Err(5),
        };
        self.machine.apply(&Event::IoDone { id: request.id, result }, &mut self.effects);
        true
    }

    /// Gives a line and runs on.
    pub(crate) fn line(&mut self, line: &str) -> Stop {
        let bytes = format!("{line}\n").into_bytes();
        let event = Event::Input { port: PortId(0), bytes };
        self.machine.apply(&event, &mut self.effects);
        self.settle()
    }

    /// The request that is in flight.
    pub(crate) fn request(&self) -> Option<IoRequest> {
        self.machine.pending().into_iter().find_map(|effect| match effect {
            Effect::Io(request) => Some(request),
            Effect::Output { .. } => None,
        })
    }

    /// Answers a request and runs on.
    pub(crate) fn done(&mut self, id: IoId, result: IoResult) {
        self.machine.apply(&Event::IoDone { id, result }, &mut self.effects);
        self.settle();
    }

    /// Everything printed so far.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        for (_, effect) in &self.effects {
            if let Effect::Output { port: PortId(0), bytes } = effect {
                text.extend_from_slice(bytes);
            }
        }
        String::from_utf8(text).expect("output is UTF-8")
    }

    /// Takes a snapshot, and goes on in a new machine made from it.
    pub(crate) fn renew(&mut self) {
        let mut records = Bundle::default();
        self.machine.save(&mut records);
        let records = Bundle::from_bytes(&records.to_bytes()).expect("a bundle reads back");
        let spec = self.machine.spec().clone();
        let spaces = self.machine.memory().spaces.iter_mut();
        let copy = |space: &mut Space| {
            Space::from_image(space.name().to_owned(), space.page_count(), space.seal().image)
        };
        let spaces = spaces.map(copy).collect();
        self.machine = Glulx.restore(&spec, spaces, records).expect("a snapshot restores");
    }
}
