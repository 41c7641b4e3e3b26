//! The target that debugs: what a debugger says is made up, the machines are sound.

use crate::bytes::Choices;
use omni_base::Tick;
use omni_board_virt::{RiscvVirt, sample_spec};
use omni_debug::{History, Life, Present, Received, Wire, serve};
use omni_lifecycle::{Outcome, run_to};
use omni_machine::{Event, Kick, Machine, MachineKind, Spec, Stop, digest};
use omni_vm_zmachine::{ZMachine, sample_story};
use std::io;

const KINDS: &[&dyn MachineKind] = &[&RiscvVirt, &ZMachine];

/// Ticks that a machine lives at most.
const SPAN: u64 = 200_000;

/// What a debugger says: a list of parts, each a packet with a sound checksum or plain bytes.
/// However it ends, the machine is whole and goes where one that nobody looked at goes, unless
/// it was written to.
pub fn debugger(data: &[u8]) {
    let mut from = Choices(data);
    let board = from.u8() & 1 == 0;
    let mut spec = if board { sample_spec() } else { Spec::new("zmachine") };
    if !board {
        spec.files.insert("image".into(), sample_story().into());
    }
    let mut parts = Vec::new();
    let mut writes = false;
    while !from.is_empty() && parts.len() < 200 {
        let count = usize::from(from.u8());
        let (plain, count) = (count & 0x80 != 0, count & 0x7f);
        let body = from.take(count);
        writes |= plain || body.contains(&b'#') || matches!(body.first(), Some(b'M' | b'X' | b'G' | b'P'));
        parts.push(if plain { body.to_vec() } else { packet(body) });
    }
    parts.reverse();
    let mut alive = Alive(create(&spec));
    let history = History::new(KINDS, alive.machine()).expect("it has registers and replays");
    let _ = serve(&mut alive, history, &mut Said { parts, waits: 0 });
    while alive.live() == Life::On {}
    if !writes {
        let mut other = Alive(create(&spec));
        while other.live() == Life::On {}
        assert!(digest(alive.machine()) == digest(other.machine()), "it was noticed");
    }
}

fn create(spec: &Spec) -> Box<dyn Machine> {
    let kind: &dyn MachineKind = if spec.kind == "zmachine" { &ZMachine } else { &RiscvVirt };
    kind.create(spec).expect("a sample is sound")
}

fn packet(body: &[u8]) -> Vec<u8> {
    let sum = body.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    [b"$", body, format!("#{sum:02x}+").as_bytes()].concat()
}

struct Said {
    parts: Vec<Vec<u8>>,
    waits: u32,
}

impl Wire for Said {
    fn receive(&mut self, into: &mut [u8], wait: bool) -> io::Result<Received> {
        self.waits += 1;
        if !wait && self.waits % 20 != 0 {
            return Ok(Received::Nothing);
        }
        let Some(part) = self.parts.pop() else { return Ok(Received::End) };
        let count = part.len().min(into.len());
        into[..count].copy_from_slice(&part[..count]);
        Ok(Received::Bytes(count))
    }

    fn send(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

struct Alive(Box<dyn Machine>);

impl Alive {
    fn run(&mut self, ticks: u64) -> Life {
        let now = self.0.tick().0;
        if now >= SPAN {
            return Life::Ended;
        }
        let until = Tick((now + ticks).min(SPAN));
        match run_to(&mut *self.0, until, &Kick::default(), &mut Outcome::new()) {
            Stop::Hit(hit) => Life::Hit(hit),
            Stop::Halted { .. } => Life::Ended,
            Stop::Reached | Stop::Idle { .. } | Stop::Kicked => Life::On,
        }
    }
}

impl Present for Alive {
    fn machine(&mut self) -> &mut dyn Machine {
        &mut *self.0
    }

    fn heard(&mut self) -> Vec<(Tick, Event)> {
        Vec::new()
    }

    fn live(&mut self) -> Life {
        self.run(5_000)
    }

    fn step(&mut self) -> Life {
        if self.0.tick().0 >= SPAN {
            return Life::Ended;
        }
        match self.0.inspect().expect("asked before").step(&mut Outcome::new()) {
            Stop::Halted { .. } => Life::Ended,
            Stop::Reached | Stop::Idle { .. } | Stop::Kicked | Stop::Hit(_) => Life::On,
        }
    }

    fn sleep(&mut self) -> Life {
        self.run(1)
    }

    fn hold(&mut self) -> Life {
        Life::On
    }

    fn may_write(&mut self) -> bool {
        true
    }
}
