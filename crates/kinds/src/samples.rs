//! Something small to run for each kind: what the battery runs.

use omni_base::Tick;
use omni_machine::Spec;

/// A machine to try a kind with.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it is told by, unique.
    pub name: &'static str,
    /// The machine.
    pub spec: Spec,
    /// How long it has to run to show all that it does.
    pub span: Tick,
    /// What is typed at its consoles.
    pub script: &'static [u8],
}

/// At least one machine of every kind.
#[must_use]
pub fn samples() -> Vec<Sample> {
    vec![story(), board(), program(), large_story(), mixed()]
}

/// A story that reads lines and keys, draws at random, and takes lines back.
fn story() -> Sample {
    let mut spec = Spec::new("zmachine");
    spec.files.insert("image".into(), omni_vm_zmachine::sample_story().into());
    let script =
        b"look\ntake lamp\ninventory\nundo\nsave\ngame\nnorth\nscore\nrestore\ngame\nwait\n";
    Sample { name: "story", spec, span: Tick(100_000), script }
}

/// Two harts, timers, and every device of the board in use.
fn board() -> Sample {
    let spec = omni_board_virt::sample_spec();
    Sample { name: "board", spec, span: Tick(400_000), script: b"omnivisor" }
}

/// A program that reads, sleeps, draws by chance, and keeps a file.
fn program() -> Sample {
    let spec = omni_vm_wasm::sample_spec();
    Sample { name: "program", spec, span: Tick(300_000), script: b"some words to add up, " }
}

/// A story that reads lines, counts by a timer, draws by chance, keeps files, and takes back.
fn large_story() -> Sample {
    let mut spec = Spec::new("glulx");
    // A timer of three milliseconds is due some twenty times.
    spec.ns_per_tick = 600;
    spec.options.insert("undo".into(), "3".into());
    spec.options.insert("memory".into(), "128K".into());
    spec.files.insert("image".into(), omni_vm_glulx::sample_story().into());
    let script = b"look\nx\nundo\nsave\ngame\nx\nnotes\nrestore\ngame\nx\nx\nwait\n";
    Sample { name: "large_story", spec, span: Tick(100_000), script }
}

/// A program of MMIX that reads lines, computes, trips, and keeps a file.
fn mixed() -> Sample {
    let spec = omni_vm_mmix::sample_spec();
    Sample { name: "mixed", spec, span: Tick(100_000), script: b"some words\nand others, q\n" }
}
