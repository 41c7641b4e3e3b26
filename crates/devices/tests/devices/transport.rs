//! The virtio transport and its queues.

use crate::driver::{BUFFERS, Driver, RING_FEATURES, avail_at, desc, desc_at, start, used_at};
use crate::guest::{Guest, PORT, RAM_BASE, RAM_SIZE, carry_over, saved};
use omni_devices::virtio::{
    Console, Entropy, F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1, QUEUE_SIZE_MAX, VirtioMmio,
};
use omni_machine::{Device, Width};

const NEEDS_RESET: u32 = 0x40;

fn entropy() -> VirtioMmio<Entropy> {
    VirtioMmio::new("rng0", Entropy::new(42))
}

fn console() -> VirtioMmio<Console> {
    VirtioMmio::new("hvc0", Console::new(PORT))
}

/// An entropy device that is running, and its one driver.
fn running(guest: &mut Guest, features: u64) -> (VirtioMmio<Entropy>, Driver) {
    let mut device = entropy();
    let driver = start(&mut device, guest, features).remove(0);
    (device, driver)
}

fn status(device: &mut dyn Device, guest: &mut Guest) -> u32 {
    guest.read32(device, 0x070)
}

#[test]
fn a_driver_finds_a_virtio_device_of_version_two() {
    let (mut guest, mut device) = (Guest::new(), entropy());
    let mut read = |at| guest.read32(&mut device, at);
    assert_eq!([read(0), read(4), read(8)], [0x7472_6976, 2, 4]);
    let low = u64::from(read(0x010));
    guest.write32(&mut device, 0x014, 1);
    let high = u64::from(guest.read32(&mut device, 0x010));
    assert_eq!(high << 32 | low, F_VERSION_1 | F_EVENT_IDX | F_INDIRECT_DESC);
    guest.write32(&mut device, 0x030, 0);
    assert_eq!(guest.read32(&mut device, 0x034), u32::from(QUEUE_SIZE_MAX));
    guest.write32(&mut device, 0x030, 1);
    assert_eq!(guest.read32(&mut device, 0x034), 0);
}

#[test]
fn features_that_were_not_offered_are_refused() {
    for (low, high, accepted) in [(0, 1, true), (1, 1, false), (0, 0, false), (0, 3, false)] {
        let (mut guest, mut device) = (Guest::new(), entropy());
        for (half, word) in [(0, low), (1, high)] {
            guest.write32(&mut device, 0x024, half);
            guest.write32(&mut device, 0x020, word);
        }
        guest.write32(&mut device, 0x070, 3);
        guest.write32(&mut device, 0x070, 15);
        let expect = if accepted { 15 } else { 3 };
        assert_eq!(status(&mut device, &mut guest), expect, "{low:#x} {high:#x}");
    }
}

#[test]
fn a_request_is_answered_and_told_until_acknowledged() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = running(&mut guest, 0);
    let head = driver.add(&mut guest, &[(BUFFERS, 5, true), (BUFFERS + 100, 11, true)]);
    driver.kick(&mut device, &mut guest);
    assert_eq!(driver.used(&mut guest), Some((head, 16)));
    assert!(guest.line());
    assert_eq!(guest.read32(&mut device, 0x060), 1);
    guest.write32(&mut device, 0x064, 1);
    assert!(!guest.line());
    let first: [u8; 5] = guest.peek(BUFFERS);
    let beyond: [u8; 3] = guest.peek(BUFFERS + 5);
    assert!(first != [0; 5] && beyond == [0; 3]);
}

#[test]
fn a_driver_that_wants_no_interrupt_gets_none() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = running(&mut guest, 0);
    guest.poke(avail_at(0), &1u16.to_le_bytes());
    driver.add(&mut guest, &[(BUFFERS, 8, true)]);
    driver.kick(&mut device, &mut guest);
    assert!(driver.used(&mut guest).is_some() && !guest.line());
}

#[test]
fn event_indices_say_when_to_interrupt_and_when_to_notify() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = running(&mut guest, F_EVENT_IDX);
    // The driver wants to hear of the third answer.
    guest.poke(avail_at(0) + 4 + 2 * 16, &2u16.to_le_bytes());
    for (count, told) in [(1u16, false), (2, false), (3, true)] {
        driver.add(&mut guest, &[(BUFFERS, 8, true)]);
        driver.kick(&mut device, &mut guest);
        assert_eq!(guest.line(), told, "after {count}");
        let avail_event = u16::from_le_bytes(guest.peek(used_at(0) + 4 + 8 * 16));
        assert_eq!(avail_event, count, "the device wants to hear of the next");
    }
}

#[test]
fn an_indirect_table_is_one_request() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = running(&mut guest, RING_FEATURES);
    guest.poke(BUFFERS, &desc(BUFFERS + 0x100, 4, 3, 2));
    guest.poke(BUFFERS + 32, &desc(BUFFERS + 0x200, 6, 2, 0));
    let head = driver.add_indirect(&mut guest, BUFFERS, 48);
    driver.kick(&mut device, &mut guest);
    assert_eq!(driver.used(&mut guest), Some((head, 10)));
}

#[test]
fn a_table_within_a_table_breaks_the_device() {
    for (within, expect) in [(false, 15), (true, 15 | NEEDS_RESET)] {
        let mut guest = Guest::new();
        let (mut device, mut driver) = running(&mut guest, RING_FEATURES);
        guest.poke(BUFFERS, &desc(BUFFERS + 16, 16, if within { 4 } else { 2 }, 0));
        guest.poke(BUFFERS + 16, &desc(BUFFERS + 64, 8, 2, 0));
        driver.add_indirect(&mut guest, BUFFERS, 16);
        driver.kick(&mut device, &mut guest);
        assert_eq!(status(&mut device, &mut guest), expect);
    }
}

#[test]
fn a_device_asks_for_a_reset_when_the_driver_breaks_a_rule() {
    let end = RAM_BASE + RAM_SIZE;
    let table = |entries: &[[u8; 16]]| entries.concat();
    let cases: [(&str, Vec<u8>); 9] = [
        ("outside", table(&[desc(end, 1, 2, 0)])),
        ("below", table(&[desc(RAM_BASE - 1, 1, 2, 0)])),
        ("over the end", table(&[desc(end - 4, 8, 2, 0)])),
        ("over the top", table(&[desc(u64::MAX - 3, 16, 2, 0)])),
        ("loop", table(&[desc(BUFFERS, 1, 3, 1), desc(BUFFERS, 1, 3, 0)])),
        ("next outside the table", table(&[desc(BUFFERS, 1, 3, 16)])),
        ("read after write", table(&[desc(BUFFERS, 1, 3, 1), desc(BUFFERS, 1, 0, 0)])),
        ("odd indirect table", table(&[desc(BUFFERS, 17, 4, 0)])),
        ("indirect in indirect", table(&[desc(desc_at(0), 16, 4, 0)])),
    ];
    for (name, table) in cases {
        let mut guest = Guest::new();
        let (mut device, mut driver) = running(&mut guest, RING_FEATURES);
        guest.poke(desc_at(0), &table);
        driver.offer(&mut guest, 0);
        driver.kick(&mut device, &mut guest);
        assert_eq!(status(&mut device, &mut guest), 15 | NEEDS_RESET, "{name}");
        assert!(guest.line() && guest.read32(&mut device, 0x060) == 2, "{name}");
        driver.kick(&mut device, &mut guest);
        assert_eq!(driver.used(&mut guest), None, "{name}");
        // A reset is enough to be of use again.
        let mut driver = start(&mut device, &mut guest, 0).remove(0);
        driver.add(&mut guest, &[(BUFFERS, 8, true)]);
        driver.kick(&mut device, &mut guest);
        assert!(driver.used(&mut guest).is_some(), "{name}");
    }
}

#[test]
fn rings_that_jump_or_lie_outside_memory_break_the_device() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = running(&mut guest, 0);
    driver.add(&mut guest, &[(BUFFERS, 8, true)]);
    guest.poke(avail_at(0) + 2, &17u16.to_le_bytes());
    driver.kick(&mut device, &mut guest);
    assert_eq!(status(&mut device, &mut guest), 15 | NEEDS_RESET, "more than the ring holds");
    let (mut device, mut driver) = running(&mut guest, 0);
    driver.offer(&mut guest, 16);
    driver.kick(&mut device, &mut guest);
    assert_eq!(status(&mut device, &mut guest), 15 | NEEDS_RESET, "a head beyond the table");
    for register in [0x084, 0x094, 0x0a4] {
        let (mut device, mut driver) = running(&mut guest, 0);
        guest.write32(&mut device, 0x044, 0);
        guest.write32(&mut device, register, 5);
        guest.write32(&mut device, 0x044, 1);
        driver.add(&mut guest, &[(BUFFERS, 8, true)]);
        driver.kick(&mut device, &mut guest);
        assert_eq!(status(&mut device, &mut guest), 15 | NEEDS_RESET, "{register:#x}");
    }
}

#[test]
fn queue_registers_hold_still_while_the_queue_is_ready() {
    let mut guest = Guest::new();
    let (mut device, _) = running(&mut guest, 0);
    let before = saved(&device);
    for register in [0x038, 0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4, 0x020] {
        guest.write32(&mut device, register, 4);
    }
    assert!(saved(&device) == before);
    guest.write32(&mut device, 0x044, 0);
    for bad in [0, 3, 512, u32::MAX] {
        guest.write32(&mut device, 0x038, bad);
        assert_eq!(device.queues()[0].size, 16, "{bad}");
    }
}

#[test]
fn a_large_pile_of_work_is_done_over_several_ticks() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = running(&mut guest, 0);
    let large = u32::try_from(RAM_SIZE - 0x1_0000).expect("small");
    for _ in 0..4 {
        driver.add(&mut guest, &[(BUFFERS, large, true)]);
    }
    driver.kick(&mut device, &mut guest);
    let mut calls = 1;
    let mut other = entropy();
    carry_over(&device, &mut other);
    while guest.wait(&mut other) {
        calls += 1;
    }
    assert_eq!((calls, guest.now.0), (5, 4), "one a call, and one call to find no more");
    assert_eq!((0..5).filter_map(|_| driver.used(&mut guest)).count(), 4);
}

#[test]
fn a_resized_console_changes_its_configuration() {
    let (mut guest, mut device) = (Guest::new(), console());
    start(&mut device, &mut guest, 1);
    let resize = |port, columns| omni_machine::Control::Resize { port, columns, rows: 50 };
    device.control(resize(omni_machine::PortId(99), 100), &mut guest.cx());
    assert!(!guest.line());
    device.control(resize(PORT, 132), &mut guest.cx());
    assert!(guest.line());
    assert_eq!((guest.read32(&mut device, 0x060), guest.read32(&mut device, 0x0fc)), (2, 1));
    assert_eq!(guest.read32(&mut device, 0x100), 50 << 16 | 132);
    assert_eq!(device.read(0x102, Width::Half, &mut guest.cx()), 50);
    carry_over(&device, &mut console());
}
