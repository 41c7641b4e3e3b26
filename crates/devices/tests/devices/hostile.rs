//! Guests that write registers and rings at random, and records that lie.

use crate::driver::{BUFFERS, RING_FEATURES, SIZE, avail_at, desc_at, start};
use crate::guest::{Guest, PORT, RAM_BASE, RAM_SIZE, carry_over, saved};
use omni_base::Tick;
use omni_devices::virtio::{
    Balloon, BalloonState, Block, BlockState, Console, ConsoleState, Entropy, Net, NetState, Panel,
    VirtioMmio,
};
use omni_devices::{Aclint, GoldfishRtc, Plic, Sswi, Syscon, TimeBase, Uart16550};
use omni_machine::{Control, Device, IoId, Width};
use omni_state::{Bundle, Record};
use proptest::prelude::*;

fn devices() -> Vec<Box<dyn Device>> {
    let time = TimeBase::new(3);
    vec![
        Box::new(Uart16550::new("uart0", PORT, time)),
        Box::new(Aclint::new("aclint", 8, time)),
        Box::new(Sswi::new("sswi", 8)),
        Box::new(Plic::new("plic", 16)),
        Box::new(GoldfishRtc::new("rtc", 1 << 31, time)),
        Box::new(Syscon::new("test")),
        Box::new(VirtioMmio::new("disk", Block::new(PORT, 1, 1 << 18, false, "d"))),
        Box::new(VirtioMmio::new("net", Net::new(PORT, [2; 6]))),
        Box::new(VirtioMmio::new("rng", Entropy::new(1))),
        Box::new(VirtioMmio::new("hvc", Console::new(PORT))),
        Box::new(VirtioMmio::new("panel", Panel::default())),
        Box::new(VirtioMmio::new("balloon", Balloon::new(RAM_SIZE))),
    ]
}

fn virtio() -> Vec<Box<dyn Device>> {
    devices().into_iter().filter(|device| VIRTIO.contains(&device.name())).collect()
}

const WIDTHS: [Width; 4] = [Width::Byte, Width::Half, Width::Word, Width::Double];

/// Values that registers mean something by, and any others.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..16,
        Just(u64::MAX),
        Just(u64::from(u32::MAX)),
        RAM_BASE..RAM_BASE + RAM_SIZE,
        any::<u64>(),
    ]
}

/// Offsets where registers are, and any others of a device's range.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => 0u64..0x140,
        3 => prop::sample::select(vec![0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0x80, 0x90, 0xa0]),
        1 => 0x2000u64..0x2200,
        1 => 0x4000u64..0x4048,
        1 => 0x20_0000u64..0x20_2000,
        1 => 0u64..0x60_0000
    ]
}

/// One thing that can happen to a device.
#[derive(Clone, Debug)]
enum Step {
    Read(u64, usize),
    Write(u64, usize, u64),
    Input(Vec<u8>),
    Done(u64, bool),
    Wait,
    Generation(u8),
    Resize(u16),
    Balloon(u64),
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (offset(), 0..4usize).prop_map(|(at, width)| Step::Read(at, width)),
        6 => (offset(), 0..4usize, value()).prop_map(|(at, w, value)| Step::Write(at, w, value)),
        1 => proptest::collection::vec(any::<u8>(), 0..100).prop_map(Step::Input),
        1 => (0..8u64, any::<bool>()).prop_map(|(id, ok)| Step::Done(id, ok)),
        2 => Just(Step::Wait),
        1 => any::<u8>().prop_map(Step::Generation),
        1 => any::<u16>().prop_map(Step::Resize),
        1 => (0..=RAM_SIZE).prop_map(Step::Balloon),
        1 => any::<u32>().prop_map(Step::Pass),
    ]
}

fn apply(device: &mut dyn Device, guest: &mut Guest, step: &Step) {
    match step {
        Step::Read(at, width) => {
            let width = WIDTHS[*width];
            device.read(at & !(width.bytes() - 1), width, &mut guest.cx());
        }
        Step::Write(at, width, value) => {
            let width = WIDTHS[*width];
            let value = if width == Width::Double {
                *value
            } else {
                value & ((1 << (8 * width.bytes())) - 1)
            };
            device.write(at & !(width.bytes() - 1), width, value, &mut guest.cx());
        }
        Step::Input(bytes) => {
            guest.input(device, bytes);
        }
        Step::Done(id, ok) => {
            let result = if *ok { Ok(Vec::new()) } else { Err(5) };
            device.io_done(IoId(*id), &result, &mut guest.cx());
        }
        Step::Wait => {
            guest.wait(device);
        }
        Step::Generation(byte) => device.generation(&[*byte; 32], &mut guest.cx()),
        Step::Resize(columns) => {
            let resize = Control::Resize { port: PORT, columns: *columns, rows: 1 };
            device.control(resize, &mut guest.cx());
        }
        Step::Balloon(bytes) => device.control(Control::Balloon { bytes: *bytes }, &mut guest.cx()),
        Step::Pass(ticks) => guest.now = Tick(guest.now.0.saturating_add((*ticks).into())),
    }
}

/// What a step may cost, in bytes that leave the machine.
const OUTPUT_PER_STEP: usize = 3 << 20;

fn output_size(guest: &mut Guest) -> usize {
    let size = |effect| match effect {
        omni_machine::Effect::Output { bytes, .. } => bytes.len(),
        omni_machine::Effect::Io(_) => 1,
    };
    guest.effects.drain(..).map(size).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_sequence_of_accesses_is_survived_and_repeats_after_a_restore(
        started in any::<bool>(),
        table in table(),
        before in proptest::collection::vec(step(), 0..60),
        after in proptest::collection::vec(step(), 0..20),
    ) {
        for (mut first, mut second) in devices().into_iter().zip(devices()) {
            let (mut guest, mut twin) = (Guest::new(), Guest::new());
            if started && VIRTIO.contains(&first.name()) {
                for (device, guest) in [(&mut first, &mut guest), (&mut second, &mut twin)] {
                    prepare(&mut **device, guest, &table);
                }
            }
            for step in &before {
                apply(&mut *first, &mut guest, step);
                apply(&mut *second, &mut twin, step);
                prop_assert!(output_size(&mut guest) < OUTPUT_PER_STEP);
            }
            let mut restored = fresh_of(&*second);
            carry_over(&*second, &mut *restored);
            let mut second = restored;
            output_size(&mut twin);
            for step in &after {
                apply(&mut *first, &mut guest, step);
                apply(&mut *second, &mut twin, step);
            }
            prop_assert_eq!(saved(&*first), saved(&*second));
            prop_assert_eq!(&guest.effects, &twin.effects);
            prop_assert_eq!(guest.lines, twin.lines);
            prop_assert_eq!(guest.memory.digest(), twin.memory.digest());
        }
    }

    #[test]
    fn rings_of_random_content_are_survived_in_bounded_work(
        table in table(),
        heads in heads(),
        index in prop_oneof![8 => 0u16..=SIZE, 1 => any::<u16>()],
        headers in proptest::collection::vec(header(), 4),
    ) {
        for mut device in virtio() {
            let mut guest = Guest::new();
            let queues = start(&mut *device, &mut guest, RING_FEATURES);
            for queue in 0..queues.len() as u64 {
                guest.poke(desc_at(queue), &table.concat());
                let heads: Vec<u8> = heads.iter().flat_map(|head| head.to_le_bytes()).collect();
                guest.poke(avail_at(queue) + 4, &heads);
                guest.poke(avail_at(queue) + 2, &index.to_le_bytes());
            }
            guest.poke(BUFFERS, &headers.concat());
            queues.iter().for_each(|queue| queue.kick(&mut *device, &mut guest));
            guest.input(&mut *device, &[1; 600]);
            for _ in 0..50 {
                prop_assert!(output_size(&mut guest) < OUTPUT_PER_STEP);
                guest.wait(&mut *device);
            }
            prop_assert!(device.pending().len() <= 256);
            carry_over(&*device, &mut *fresh_of(&*device));
        }
    }

    #[test]
    fn records_of_random_bytes_are_refused_or_harmless(
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8),
        steps in proptest::collection::vec(step(), 0..20),
    ) {
        for (mut device, donor) in devices().into_iter().zip(devices()) {
            let mut bundle = Bundle::default();
            donor.save("dev", &mut bundle);
            let bytes = bundle.to_bytes();
            let mut damaged = bytes[..bytes.len() - 32].to_vec();
            for (at, byte) in &damage {
                let at = 12 + at % (damaged.len() - 12);
                damaged[at] = *byte;
            }
            let digest = omni_base::Digest::of(&damaged);
            damaged.extend(digest.0);
            let Ok(mut bundle) = Bundle::from_bytes(&damaged) else { continue };
            if device.load("dev", &mut bundle).is_ok() {
                let mut guest = Guest::new();
                steps.iter().for_each(|step| apply(&mut *device, &mut guest, step));
                carry_over(&*device, &mut *fresh_of(&*device));
            }
        }
    }
}

const VIRTIO: [&str; 6] = ["disk", "net", "rng", "hvc", "panel", "balloon"];

/// Starts a device and gives every queue the same table, all of it on offer.
fn prepare(device: &mut dyn Device, guest: &mut Guest, table: &[Vec<u8>]) {
    let queues = start(device, guest, RING_FEATURES).len() as u64;
    let heads: Vec<u8> = (0..SIZE).flat_map(|at| (at % 6).to_le_bytes()).collect();
    for queue in 0..queues {
        guest.poke(desc_at(queue), &table.concat());
        guest.poke(avail_at(queue) + 4, &heads);
        guest.poke(avail_at(queue) + 2, &SIZE.to_le_bytes());
    }
}

fn fresh_of(device: &dyn Device) -> Box<dyn Device> {
    let fresh = devices().into_iter().find(|fresh| fresh.name() == device.name());
    fresh.expect("one of the list")
}

/// A table of short chains that make sense, with few entries that need not.
fn table() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let shapes = proptest::collection::vec((1u16..3, 0u16..4, any::<u8>()), usize::from(SIZE));
    let wrong = proptest::collection::vec((0..usize::from(SIZE), descriptor()), 0..3);
    (shapes, wrong).prop_map(|(shapes, wrong)| {
        let mut table = Vec::new();
        for (readable, writable, size) in shapes {
            for index in 0..readable + writable {
                let write = index >= readable;
                let last = index + 1 == readable + writable;
                let next = u16::try_from(table.len() + 1).expect("small");
                let (at, size) = match (index, last) {
                    (0, _) => (BUFFERS + 16 * u64::from(size % 4), 16),
                    (_, true) if write => (BUFFERS + 0x800, 1),
                    _ => (BUFFERS + 0x1000, 512 * u32::from(size % 5)),
                };
                let flags = u16::from(!last) | u16::from(write) << 1;
                table.push(crate::driver::desc(at, size, flags, next).to_vec());
            }
        }
        table.truncate(usize::from(SIZE));
        wrong.into_iter().for_each(|(at, entry)| table[at] = entry);
        table
    })
}

/// What a ring offers: small numbers, at times beyond the table.
fn heads() -> impl Strategy<Value = Vec<u16>> {
    let head = prop_oneof![4 => Just(0u16), 8 => 0u16..8, 2 => 0..SIZE, 1 => 0..=SIZE];
    proptest::collection::vec(head, usize::from(SIZE))
}

/// The header of a request to a disk, or to something else.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let ty = prop_oneof![8 => prop::sample::select(vec![0u32, 1, 4, 8, 11, 13]), 1 => any::<u32>()];
    let sector = prop_oneof![8 => 0u64..600, 1 => any::<u64>()];
    (ty, any::<u32>(), sector).prop_map(|(ty, more, sector)| {
        [&ty.to_le_bytes()[..], &more.to_le_bytes(), &sector.to_le_bytes()].concat()
    })
}

/// A descriptor that is near to being right.
fn descriptor() -> impl Strategy<Value = Vec<u8>> {
    let at = prop_oneof![
        8 => (0u64..4).prop_map(|index| BUFFERS + 16 * index),
        8 => RAM_BASE..RAM_BASE + RAM_SIZE,
        2 => RAM_BASE..RAM_BASE + 0x9000,
        1 => any::<u64>(),
    ];
    let size = prop_oneof![
        6 => Just(16u32),
        4 => 0u32..64,
        2 => (0u32..64).prop_map(|n| n * 512),
        1 => any::<u32>(),
    ];
    (at, size, 0u16..8, 0u16..SIZE + 1)
        .prop_map(|(at, size, flags, next)| crate::driver::desc(at, size, flags, next).to_vec())
}

#[test]
fn a_record_with_too_much_in_it_is_refused() {
    let mut device = Uart16550::new("uart0", PORT, TimeBase::new(1));
    let mut state = device.state().clone();
    state.rx.extend([0; 17]);
    let mut bundle = Bundle::default();
    bundle.put("dev", &state);
    assert!(device.load("dev", &mut bundle).is_err());
    let mut plic = Plic::new("plic", 4);
    let mut state = plic.state().clone();
    state.enable.push(0);
    bundle.put("dev", &state);
    assert!(plic.load("dev", &mut bundle).is_err());
    let mut disk = VirtioMmio::new("disk", Block::new(PORT, 1, 512, false, "d"));
    disk.save("dev", &mut bundle);
    let mut queue = disk.queues()[0].clone();
    bundle.take::<omni_devices::virtio::QueueState>("dev/queue0").expect("saved");
    queue.size = 0;
    bundle.put("dev/queue0", &queue);
    assert!(disk.load("dev", &mut bundle).is_err());
    assert_eq!(saved(&disk), saved(&VirtioMmio::new("d", Block::new(PORT, 1, 512, false, "d"))));
}

#[test]
fn a_model_with_too_much_in_it_is_refused() {
    fn refused<R: Record>(name: &str, change: impl FnOnce(&mut R)) {
        let fresh = || devices().into_iter().find(|device| device.name() == name).expect("listed");
        let mut bundle = Bundle::default();
        fresh().save("dev", &mut bundle);
        let mut record: R = bundle.take("dev/model").expect("saved");
        change(&mut record);
        bundle.put("dev/model", &record);
        assert!(fresh().load("dev", &mut bundle).is_err(), "{name}");
    }
    let flush = |id| (IoId(id), 0, RAM_BASE);
    refused("disk", |disk: &mut BlockState| disk.flushes = (0..257).map(flush).collect());
    refused("disk", |disk: &mut BlockState| disk.flushes = vec![flush(2), flush(2)]);
    refused("disk", |disk: &mut BlockState| disk.flushes = vec![(IoId(1), 256, RAM_BASE)]);
    refused("net", |net: &mut NetState| net.waiting = vec![vec![0; 60]; 257].into());
    refused("net", |net: &mut NetState| net.waiting = vec![vec![0; 9217]].into());
    refused("net", |net: &mut NetState| net.waiting = vec![vec![0; 13]].into());
    refused("balloon", |balloon: &mut BalloonState| balloon.waiting = Some(256));
    refused("balloon", |balloon: &mut BalloonState| balloon.statistics = [(32, 1)].into());
    refused("hvc", |hvc: &mut ConsoleState| hvc.backlog = vec![0; 65_537].into());
}
