//! The panel with the power button.

use crate::driver::{BUFFERS, RING_FEATURES, start};
use crate::guest::{Guest, carry_over};
use omni_devices::virtio::{Panel, VirtioMmio};
use omni_machine::{Control, Device};

const CONFIG: u64 = 0x100;
const KEY: u8 = 1;
const KEY_POWER: u8 = 116;

fn panel() -> VirtioMmio<Panel> {
    VirtioMmio::new("panel0", Panel::default())
}

/// What the configuration space answers.
fn ask(guest: &mut Guest, device: &mut VirtioMmio<Panel>, select: u8, subsel: u8) -> Vec<u8> {
    guest.write8(device, CONFIG, select);
    guest.write8(device, CONFIG + 1, subsel);
    let size = u64::from(guest.read8(device, CONFIG + 2));
    (0..size).map(|at| guest.read8(device, CONFIG + 8 + at)).collect()
}

#[test]
fn it_says_that_it_has_one_key_and_nothing_else() {
    let (mut guest, mut device) = (Guest::new(), panel());
    assert!(ask(&mut guest, &mut device, 1, 0).starts_with(b"Omnivisor"));
    assert_eq!(ask(&mut guest, &mut device, 3, 0).len(), 8);
    let bits = ask(&mut guest, &mut device, 0x11, KEY);
    let keys = (0u8..).zip(&bits).flat_map(|(at, byte)| {
        (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| 8 * at + bit)
    });
    assert_eq!(keys.collect::<Vec<_>>(), [KEY_POWER]);
    for (select, subsel) in [(0, 0), (0x11, 2), (0x11, 3), (0x10, 0), (0x12, 0), (255, 255)] {
        assert!(ask(&mut guest, &mut device, select, subsel).is_empty(), "{select} {subsel}");
    }
}

#[test]
fn a_press_is_an_event_down_and_an_event_up_even_for_a_driver_that_comes_later() {
    let (mut guest, mut device) = (Guest::new(), panel());
    device.control(Control::PowerButton, &mut guest.cx());
    let mut drivers = start(&mut device, &mut guest, RING_FEATURES);
    let mut other = panel();
    carry_over(&device, &mut other);
    let events = &mut drivers[0];
    for at in 0..4 {
        events.add(&mut guest, &[(BUFFERS + 8 * at, 8, true)]);
    }
    events.kick(&mut other, &mut guest);
    let used: Vec<_> = (0..5).filter_map(|_| events.used(&mut guest)).collect();
    assert_eq!(used, [(0, 8), (1, 8), (2, 8), (3, 8)]);
    let seen: [[u8; 8]; 4] = std::array::from_fn(|at| guest.peek(BUFFERS + 8 * at as u64));
    let sync = [0; 8];
    let key = |value| [KEY, 0, KEY_POWER, 0, value, 0, 0, 0];
    assert_eq!(seen, [key(1), sync, key(0), sync]);
    assert!(guest.line());
}

#[test]
fn presses_that_nobody_takes_are_few() {
    let (mut guest, mut device) = (Guest::new(), panel());
    for _ in 0..100 {
        device.control(Control::PowerButton, &mut guest.cx());
    }
    let mut drivers = start(&mut device, &mut guest, RING_FEATURES);
    for at in 0..12 {
        drivers[0].add(&mut guest, &[(BUFFERS + 8 * at, 8, true)]);
    }
    drivers[0].kick(&mut device, &mut guest);
    assert_eq!((0..12).filter_map(|_| drivers[0].used(&mut guest)).count(), 8);
    device.reset();
    assert_eq!(format!("{:?}", panel()), format!("{device:?}"), "a cold start forgets them");
}
