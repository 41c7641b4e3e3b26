//! The network, console and entropy devices.

use crate::driver::{BUFFERS, RING_FEATURES, start};
use crate::guest::{Guest, PORT, carry_over, saved};
use omni_devices::virtio::{
    CONSOLE_BACKLOG_MAX, Console, Entropy, FRAMES_WAITING_MAX, Net, VirtioMmio, mac_from_seed,
};
use omni_machine::{Control, Device, Effect};

const MRG_RXBUF: u64 = 1 << 15;
const ANNOUNCE: u64 = 1 << 17 | 1 << 21;

fn net() -> VirtioMmio<Net> {
    VirtioMmio::new("net0", Net::new(PORT, mac_from_seed(1, 0)))
}

fn console() -> VirtioMmio<Console> {
    VirtioMmio::new("hvc0", Console::new(PORT))
}

fn entropy(seed: u64) -> VirtioMmio<Entropy> {
    VirtioMmio::new("rng0", Entropy::new(seed))
}

#[test]
fn a_frame_leaves_without_its_header() {
    let (mut guest, mut device) = (Guest::new(), net());
    let mut drivers = start(&mut device, &mut guest, RING_FEATURES);
    guest.poke(BUFFERS + 12, &[0x55; 60]);
    for size in [72, 12 + 13, 5, 12 + 9217] {
        drivers[1].add(&mut guest, &[(BUFFERS, 5, false), (BUFFERS + 5, size - 5, false)]);
    }
    drivers[1].kick(&mut device, &mut guest);
    let frame = Effect::Output { port: PORT, bytes: vec![0x55; 60] };
    assert_eq!(guest.effects, [frame], "what is no frame is dropped");
    assert_eq!((0..5).filter_map(|_| drivers[1].used(&mut guest)).count(), 4);
}

#[test]
fn a_frame_arrives_behind_a_header_that_counts_its_buffers() {
    let (mut guest, mut device) = (Guest::new(), net());
    let mut drivers = start(&mut device, &mut guest, RING_FEATURES | MRG_RXBUF);
    let frame: Vec<u8> = (0..200u8).collect();
    guest.input(&mut device, &frame);
    let rx = &mut drivers[0];
    rx.add(&mut guest, &[(BUFFERS, 100, true)]);
    rx.kick(&mut device, &mut guest);
    assert_eq!(rx.used(&mut guest), None, "it does not fit yet");
    let mut other = net();
    carry_over(&device, &mut other);
    rx.add(&mut guest, &[(BUFFERS + 0x200, 100, true)]);
    rx.add(&mut guest, &[(BUFFERS + 0x400, 100, true)]);
    rx.kick(&mut other, &mut guest);
    let used: Vec<_> = (0..4).filter_map(|_| rx.used(&mut guest)).collect();
    assert_eq!(used, [(0, 100), (1, 100), (2, 12)]);
    assert_eq!(guest.peek::<12>(BUFFERS), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
    assert_eq!(guest.peek::<88>(BUFFERS + 12)[..], frame[..88]);
    assert_eq!(guest.peek::<12>(BUFFERS + 0x400)[..], frame[188..]);
    assert!(guest.line());
}

#[test]
fn a_buffer_too_small_for_a_frame_is_kept_for_the_next() {
    let (mut guest, mut device) = (Guest::new(), net());
    let mut drivers = start(&mut device, &mut guest, 0);
    drivers[0].add(&mut guest, &[(BUFFERS, 12, true), (BUFFERS + 12, 60, true)]);
    guest.input(&mut device, &[1; 61]);
    assert_eq!(drivers[0].used(&mut guest), None);
    guest.input(&mut device, &[2; 60]);
    assert_eq!(drivers[0].used(&mut guest), Some((0, 72)));
    assert_eq!(guest.peek::<60>(BUFFERS + 12), [2; 60]);
}

#[test]
fn a_network_drops_what_no_one_takes() {
    let (mut guest, mut device) = (Guest::new(), net());
    assert!(guest.input(&mut device, &[0; 60]), "the port is the device's");
    assert!(device.model().state().waiting.is_empty(), "no driver, no link");
    start(&mut device, &mut guest, 0);
    (0..2 * FRAMES_WAITING_MAX).for_each(|_| assert!(guest.input(&mut device, &[0; 60])));
    guest.input(&mut device, &[0; 13]);
    guest.input(&mut device, &[0; 9217]);
    assert_eq!(device.model().state().waiting.len(), FRAMES_WAITING_MAX);
}

#[test]
fn a_fork_is_asked_to_announce_itself_and_keeps_its_address() {
    let (mut guest, mut device) = (Guest::new(), net());
    let mut drivers = start(&mut device, &mut guest, ANNOUNCE);
    let mac = guest.read32(&mut device, 0x100);
    device.generation(&[9; 32], &mut guest.cx());
    assert!(guest.line());
    assert_eq!(guest.read32(&mut device, 0x060), 2);
    assert_eq!(guest.read32(&mut device, 0x100), mac);
    assert_eq!(guest.read32(&mut device, 0x104) >> 16, 3);
    carry_over(&device, &mut net());
    guest.poke(BUFFERS, &[3, 0, 0xee]);
    drivers[2].add(&mut guest, &[(BUFFERS, 2, false), (BUFFERS + 2, 1, true)]);
    drivers[2].kick(&mut device, &mut guest);
    assert_eq!(guest.peek(BUFFERS + 2), [0]);
    assert_eq!(guest.read32(&mut device, 0x104) >> 16, 1);
    guest.poke(BUFFERS, &[1, 0, 0xee]);
    drivers[2].add(&mut guest, &[(BUFFERS, 2, false), (BUFFERS + 2, 1, true)]);
    drivers[2].kick(&mut device, &mut guest);
    assert_eq!(guest.peek(BUFFERS + 2), [1], "an unknown command is refused");
}

#[test]
fn addresses_of_cards_are_local_and_differ() {
    let all = [(1, 0), (1, 1), (2, 0)].map(|(seed, index)| mac_from_seed(seed, index));
    assert!(all.iter().all(|mac| mac[0] == 2));
    assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
}

#[test]
fn a_console_talks_both_ways() {
    let (mut guest, mut device) = (Guest::new(), console());
    guest.input(&mut device, b"before the driver ");
    let mut drivers = start(&mut device, &mut guest, RING_FEATURES);
    guest.poke(BUFFERS, b"hello");
    drivers[1].add(&mut guest, &[(BUFFERS, 2, false), (BUFFERS + 2, 3, false)]);
    drivers[1].kick(&mut device, &mut guest);
    assert_eq!(guest.take_output(), b"hello");
    guest.input(&mut device, b"and after");
    let mut other = console();
    carry_over(&device, &mut other);
    drivers[0].add(&mut guest, &[(BUFFERS, 20, true)]);
    drivers[0].add(&mut guest, &[(BUFFERS + 20, 20, true)]);
    drivers[0].kick(&mut other, &mut guest);
    assert_eq!(drivers[0].used(&mut guest), Some((0, 20)));
    assert_eq!(drivers[0].used(&mut guest), Some((1, 7)));
    assert_eq!(guest.peek::<27>(BUFFERS), *b"before the driver and after");
}

#[test]
fn a_console_keeps_so_much_and_drops_the_rest() {
    let (mut guest, mut device) = (Guest::new(), console());
    (0..3).for_each(|_| assert!(guest.input(&mut device, &[b'x'; 50_000])));
    assert_eq!(device.model().state().backlog.len(), CONSOLE_BACKLOG_MAX);
    device.control(Control::PowerButton, &mut guest.cx());
    device.reset();
    assert!(device.model().state().backlog.is_empty());
}

#[test]
fn an_emergency_write_needs_no_driver() {
    let (mut guest, mut device) = (Guest::new(), console());
    guest.write32(&mut device, 0x108, u32::from(b'!'));
    guest.write32(&mut device, 0x100, 1);
    assert_eq!(guest.take_output(), b"!");
}

/// Sixteen bytes drawn by a guest.
fn draw(device: &mut VirtioMmio<Entropy>, guest: &mut Guest) -> [u8; 16] {
    let mut driver = start(device, guest, 0).remove(0);
    driver.add(guest, &[(BUFFERS, 16, true)]);
    driver.kick(device, guest);
    assert!(driver.used(guest).is_some());
    guest.peek(BUFFERS)
}

#[test]
fn entropy_repeats_with_the_seed_and_never_otherwise() {
    let (mut guest, mut a) = (Guest::new(), entropy(1));
    let first = draw(&mut a, &mut guest);
    assert_eq!(first, draw(&mut entropy(1), &mut guest));
    assert_ne!(first, draw(&mut entropy(2), &mut guest));
    let mut b = entropy(1);
    carry_over(&a, &mut b);
    let second = draw(&mut a, &mut guest);
    assert_eq!(second, draw(&mut b, &mut guest));
    assert_ne!(first, second);
    b.generation(&[7; 32], &mut guest.cx());
    let mut c = entropy(1);
    carry_over(&b, &mut c);
    assert_ne!(draw(&mut a, &mut guest), draw(&mut b, &mut guest), "a fork draws others");
    c.reset();
    assert_ne!(saved(&c), saved(&entropy(1)), "a reset does not rewind");
}
