//! Targets that drive the `riscv-virt` board: its loader, its devices, its harts.

use crate::bytes::Choices;
use crate::{guest, hot};
use omni_base::{Digest, Tick};
use omni_board_virt::RiscvVirt;
use omni_engine::Tiers;
use omni_lifecycle::{restore, run_to, take};
use omni_machine::{
    Control, DiskSpec, Effect, Event, IoId, Kick, Machine, MachineKind, PortId, Spec, Stop, digest,
};
use omni_memory::Image;

pub(crate) const BOARD: &[&dyn MachineKind] = &[&RiscvVirt];

/// Ticks after which a run of hostile code has had its chance.
const TICKS: u64 = 8192;

/// The same for hot code, which is to become machine code.
const HOT_TICKS: u64 = 16_384;

/// What a run came to.
type End = (Digest, Stop, Vec<(Tick, Effect)>);

/// A small machine with everything attached.
pub(crate) fn small_board(image: Vec<u8>, harts: u8) -> Spec {
    let mut spec = Spec::new("riscv-virt");
    spec.ns_per_tick = 50;
    for (name, value) in [("memory", "16M"), ("net", "user"), ("cpus", &*harts.to_string())] {
        spec.options.insert(name.into(), value.into());
    }
    spec.files.insert("image".into(), image.into());
    for (bytes, read_only) in [(512 * 77, false), (512, true)] {
        spec.disks.push(DiskSpec { bytes, read_only, image: Image::default() });
    }
    spec
}

/// Any bytes as program, kernel, firmware or initial RAM disk.
pub fn elf_image(data: &[u8]) {
    let Some((&how, bytes)) = data.split_first() else { return };
    let _ = RiscvVirt.probe(bytes);
    let mut spec = Spec::new("riscv-virt");
    spec.options.insert("memory".into(), "16M".into());
    let role = ["image", "kernel", "firmware", "initrd"][usize::from(how & 3)];
    if role == "firmware" || role == "initrd" {
        let kernel = guest::accesses(true, &mut Choices(&[]));
        spec.files.insert("kernel".into(), kernel.into());
    }
    spec.files.insert(role.into(), bytes.into());
    if how & 4 != 0 {
        let text = String::from_utf8_lossy(bytes).into_owned();
        spec.options.insert("append".into(), text);
    }
    let _ = RiscvVirt.signature(&spec);
    match RiscvVirt.create(&spec) {
        Ok(mut machine) => {
            run_to(&mut *machine, Tick(2000), &Kick::default(), &mut Vec::new());
            // A reset loads everything again.
            machine.apply(&Event::Control(Control::Reset), &mut Vec::new());
            run_to(&mut *machine, Tick(4000), &Kick::default(), &mut Vec::new());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What comes from outside while the guest is at its devices.
fn event(from: &mut Choices<'_>) -> Event {
    let count = usize::from(from.u8());
    match from.u8() % 8 {
        0 | 1 => Event::Input { port: PortId(0), bytes: from.take(count).to_vec() },
        2 => Event::Input { port: PortId(1), bytes: from.take(count).to_vec() },
        3 | 4 => Event::Input { port: PortId(2), bytes: from.take(count).to_vec() },
        5 => Event::IoDone { id: IoId(from.number()), result: Ok(from.take(count).to_vec()) },
        6 => match count % 5 {
            0 => Event::Control(Control::Reset),
            1 => Event::Control(Control::PowerButton),
            4 => Event::Control(Control::Balloon { bytes: from.number() }),
            2 => Event::Generation { entropy: [from.u8(); 32] },
            _ => {
                let (port, columns, rows) = (PortId(from.u16()), from.u16(), from.u16());
                Event::Control(Control::Resize { port, columns, rows })
            }
        },
        _ => Event::IoDone { id: IoId(from.number()), result: Err(from.u16()) },
    }
}

/// Runs a machine with one event after each stretch; `odd` cuts the stretches into slices, drops
/// caches and puts a restored twin in the machine's place, none of which may matter.
fn run(spec: &Spec, events: &[Event], ticks: u64, odd: Option<u64>) -> End {
    let mut machine = RiscvVirt.create(spec).expect("the guest is ours");
    let mut out = Vec::new();
    let (stretches, kick) = (events.len() as u64 + 1, Kick::default());
    let mut stop = Stop::Reached;
    for stretch in 1..=stretches {
        let until = ticks * stretch / stretches;
        if let Some(odd) = odd {
            let mut step = odd;
            while machine.tick().0 < until && !matches!(stop, Stop::Halted { .. }) {
                step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(odd | 1);
                let to = (machine.tick().0 + 1 + (step >> 33) % 400).min(until);
                stop = run_to(&mut *machine, Tick(to), &kick, &mut out);
                machine.drop_caches(step);
                if step >> 60 == 0 {
                    machine = twin(machine);
                }
            }
        } else {
            stop = run_to(&mut *machine, Tick(until), &kick, &mut out);
        }
        if matches!(stop, Stop::Halted { .. }) {
            break;
        }
        if let Some(event) = events.get(stretch as usize - 1) {
            machine.apply(event, &mut out);
        }
    }
    (digest(&mut *machine), stop, out)
}

fn twin(mut machine: Box<dyn Machine>) -> Box<dyn Machine> {
    let snapshot = take(BOARD, &mut *machine).expect("nothing vetoes a snapshot");
    restore(BOARD, &snapshot).expect("what was taken can be restored")
}

/// Holds a plain run against one that is cut, emptied of caches and restored on the way.
fn both_ways(spec: &Spec, events: &[Event], ticks: u64, odd: u64) {
    let plain = run(spec, events, ticks, None);
    let cut = run(spec, events, ticks, Some(odd));
    assert!(plain.0 == cut.0, "the states differ");
    assert!(plain.1 == cut.1, "the ends differ: {:?} and {:?}", plain.1, cut.1);
    assert!(plain.2 == cut.2, "the effects differ");
}

/// A guest that reads and writes every device as the bytes say, with events in between.
pub fn mmio(data: &[u8]) {
    let mut from = Choices(data);
    let how = from.u8();
    let count = usize::from(from.u8() % 8);
    let events: Vec<Event> = (0..count).map(|_| event(&mut from)).collect();
    let image = if how & 9 == 8 {
        guest::accesses_with_htif(&mut from)
    } else {
        guest::accesses(how & 1 != 0, &mut from)
    };
    let harts = if how & 6 == 6 { 2 } else { 1 };
    let ticks = (image.len() as u64).clamp(1000, 40_000);
    both_ways(&small_board(image, harts), &events, ticks, u64::from(how) << 8 | 77);
}

/// Random bytes as code, in any mode.
pub fn code(data: &[u8]) {
    let Some((&how, code)) = data.split_first() else { return };
    let image = guest::random_code(how, code);
    let harts = if how >> 4 == 7 { 3 } else { 1 };
    both_ways(&small_board(image, harts), &[], TICKS, u64::from(how) << 16 | 5);
}

/// Loops of code made of the bytes, in any mode: the interpreter alone, machine code from the
/// first execution on, and any mixture in odd slices come to the same.
pub fn tiers(data: &[u8]) {
    let Some((&how, code)) = data.split_first() else { return };
    let image = guest::random_code(how, &hot::program(&mut Choices(code)));
    let harts = if how >> 4 == 7 { 2 } else { 1 };
    let spec = small_board(image, harts);
    let of = |tiers: Tiers, odd| {
        tiers.make_default();
        let end = run(&spec, &[], HOT_TICKS, odd);
        Tiers::Compiled { after: 8 }.make_default();
        end
    };
    let want = of(Tiers::Interpreter, None);
    for (after, odd) in [(0, None), (2, Some(u64::from(how) << 16 | 9))] {
        let (digest, stop, effects) = of(Tiers::Compiled { after }, odd);
        assert!(digest == want.0, "the states differ with code after {after}");
        assert!(stop == want.1, "the ends differ: {stop:?} and {:?}", want.1);
        assert!(effects == want.2, "the effects differ with code after {after}");
    }
}
