//! The targets that run stories.

use crate::bytes::Choices;
use omni_base::Tick;
use omni_lifecycle::{restore, run_to, take};
use omni_machine::{Effect, Event, IoOp, Kick, MachineKind, PortId, Spec, Stop, digest};
use omni_vm_glulx::Glulx;
use omni_vm_zmachine::ZMachine;

pub(crate) const STORIES: &[&dyn MachineKind] = &[&ZMachine, &Glulx];

/// What is typed: commands of the sample, and what no one would type.
const TYPED: &[u8] =
    b"look\ntake lamp\nundo\nu\nk x\n\x08\x7f\r\nsave\nname\nrestore\nname\n\xff\xc3\x28\nq\n";

/// A story file, whole or as a list of changes to the sample, run with input and answers to its
/// requests, plainly and with a restored twin in its place.
pub fn story(data: &[u8]) {
    let mut from = Choices(data);
    let how = from.u8();
    let image = if how & 1 == 0 {
        from.0.to_vec()
    } else {
        patched(omni_vm_zmachine::sample_story(), &mut from)
    };
    let _ = ZMachine.probe(&image);
    let mut spec = Spec::new("zmachine");
    spec.seed = 3;
    if how & 2 != 0 {
        spec.options.insert("screen".into(), "stream".into());
    }
    if how & 4 != 0 {
        spec.options.insert("echo".into(), "true".into());
    }
    spec.options.insert("undo".into(), if how & 8 != 0 { "0" } else { "4" }.into());
    spec.files.insert("image".into(), image.into());
    lives_twice(&ZMachine, &spec);
}

/// A Glulx story or Blorb file, as `story` has those of the Z-machine; its code is made machine
/// code at once, later, or never.
pub fn large_story(data: &[u8]) {
    let mut from = Choices(data);
    let how = from.u8();
    let image = if how & 1 == 0 {
        from.0.to_vec()
    } else {
        patched(omni_vm_glulx::sample_story(), &mut from)
    };
    let _ = Glulx.probe(&image);
    let mut spec = Spec::new("glulx");
    spec.seed = 3;
    if how & 4 != 0 {
        spec.options.insert("echo".into(), "true".into());
    }
    spec.options.insert("undo".into(), if how & 8 != 0 { "0" } else { "2" }.into());
    if how & 16 != 0 {
        spec.ns_per_tick = 2000;
    }
    spec.files.insert("image".into(), image.into());
    lives_twice(&Glulx, &spec);
}

fn lives_twice(kind: &dyn MachineKind, spec: &Spec) {
    let plain = run(kind, spec, false);
    let restored = run(kind, spec, true);
    assert!(plain == restored, "a restored twin goes another way");
}

/// A story with bytes changed.
fn patched(mut story: Vec<u8>, from: &mut Choices<'_>) -> Vec<u8> {
    story.resize(story.len() + 64, 0);
    while !from.is_empty() {
        let at = usize::from(from.u16()) % story.len();
        let run = usize::from(from.u8() % 8) + 1;
        let bytes = from.take(run);
        let end = (at + bytes.len()).min(story.len());
        story[at..end].copy_from_slice(&bytes[..end - at]);
    }
    story
}

type Life = (omni_base::Digest, Vec<(Tick, Effect)>);

fn run(kind: &dyn MachineKind, spec: &Spec, twins: bool) -> Option<Life> {
    let mut machine = match kind.create(spec) {
        Ok(machine) => machine,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let (mut all, mut answered) = (Vec::new(), 0);
    for round in 1..=24usize {
        let until = Tick(2000 * round as u64);
        let stop = run_to(&mut *machine, until, &Kick::default(), &mut all);
        if matches!(stop, Stop::Halted { .. }) {
            break;
        }
        while answered < all.len() {
            if let Effect::Io(request) = all[answered].1.clone() {
                let result = match request.op {
                    IoOp::LoadFile { .. } if round % 2 == 0 => Err(2),
                    IoOp::LoadFile { .. } => Ok(TYPED.to_vec()),
                    IoOp::SaveFile { bytes, .. } => Ok(bytes),
                    IoOp::Flush => Ok(Vec::new()),
                    IoOp::Folder { .. } => Err(5),
                };
                machine.apply(&Event::IoDone { id: request.id, result }, &mut all);
            }
            answered += 1;
        }
        let bytes = TYPED[3 * round % TYPED.len()..]
            [..3.min(TYPED.len() - 3 * round % TYPED.len())]
            .to_vec();
        machine.apply(&Event::Input { port: PortId(0), bytes }, &mut all);
        if twins {
            machine.drop_caches(round as u64);
            let snapshot = take(STORIES, &mut *machine).expect("nothing vetoes a snapshot");
            machine = restore(STORIES, &snapshot).expect("what was taken can be restored");
        }
        // Output has its bound per tick, so it has one here.
        let bytes: usize = all.iter().map(|(_, effect)| weight(effect)).sum();
        assert!(bytes < 256 << 20, "{bytes} bytes of output in {until:?}");
    }
    Some((digest(&mut *machine), all))
}

fn weight(effect: &Effect) -> usize {
    match effect {
        Effect::Output { bytes, .. } => bytes.len(),
        Effect::Io(request) => match &request.op {
            IoOp::SaveFile { bytes, .. } => bytes.len(),
            IoOp::Flush | IoOp::LoadFile { .. } | IoOp::Folder { .. } => 0,
        },
    }
}
