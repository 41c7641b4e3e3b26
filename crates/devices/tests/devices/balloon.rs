//! The balloon: what is given back is zero, and what is not keeps its content.

use crate::driver::{BUFFERS, RING_FEATURES, start};
use crate::guest::{Guest, RAM_BASE, RAM_SIZE, carry_over};
use omni_base::PAGE_SIZE_U64;
use omni_devices::virtio::{Balloon, PAGES_PER_REPORT_MAX, VirtioMmio};
use omni_machine::{Control, Device};

const STATS: u64 = 1 << 1;
const POISON: u64 = 1 << 4;
const REPORTING: u64 = 1 << 5;

/// The address of the first of some pages that hold something.
const PAGES: u64 = RAM_BASE + 0x2_0000;

fn balloon() -> VirtioMmio<Balloon> {
    VirtioMmio::new("balloon", Balloon::new(RAM_SIZE))
}

fn page(nth: u64) -> u64 {
    PAGES + nth * PAGE_SIZE_U64
}

/// A guest with twelve pages that hold their number, from one.
fn guest() -> Guest {
    let mut guest = Guest::new();
    (0..12).for_each(|nth| guest.poke(page(nth), &[1 + nth as u8; 4096]));
    guest
}

/// Which of those pages are as they were; the others must be zero.
fn kept(guest: &mut Guest) -> Vec<u64> {
    let kept = |nth: &u64| {
        let found: [u8; 4096] = guest.peek(page(*nth));
        let zero = found == [0; 4096];
        assert!(zero || found == [1 + *nth as u8; 4096], "page {nth}");
        !zero
    };
    (0..12).filter(kept).collect()
}

fn resize(balloon: &mut VirtioMmio<Balloon>, guest: &mut Guest, bytes: u64) {
    balloon.control(Control::Balloon { bytes }, &mut guest.cx());
}

#[test]
fn pages_in_the_balloon_are_zero_until_they_are_written_again() {
    let (mut guest, mut balloon) = (guest(), balloon());
    let mut queues = start(&mut balloon, &mut guest, RING_FEATURES);
    let number = |nth: u64| u32::try_from(page(nth) / PAGE_SIZE_U64).expect("below 16 TiB");
    // Twice the same, below RAM, and beyond it.
    let numbers = [number(3), number(9), number(3), 0, u32::MAX, number(4)];
    guest.poke(BUFFERS, &numbers.map(u32::to_le_bytes).concat());
    queues[0].add(&mut guest, &[(BUFFERS, 14, false), (BUFFERS + 14, 12, false)]);
    queues[0].kick(&mut balloon, &mut guest);
    assert!(queues[0].used(&mut guest).is_some());
    assert_eq!(kept(&mut guest), [0, 1, 2, 5, 6, 7, 8, 10, 11]);
    guest.poke(page(9), &[10; 4096]);
    queues[1].add(&mut guest, &[(BUFFERS + 4, 4, false)]);
    queues[1].kick(&mut balloon, &mut guest);
    assert!(queues[1].used(&mut guest).is_some());
    assert_eq!(kept(&mut guest), [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]);
}

#[test]
fn a_report_gives_back_whole_pages_only() {
    // Drivers number the queue by those that there are, or by all that there can be.
    for (features, queue) in [(REPORTING, 2), (REPORTING | STATS, 3), (REPORTING | STATS, 4)] {
        let (mut guest, mut balloon) = (guest(), balloon());
        let mut queues = start(&mut balloon, &mut guest, RING_FEATURES | features);
        let buffers = [
            (page(1) + 1, 3 * 4096, true),
            (page(6), 4096, true),
            (page(8), 4095, true),
            (page(9) + 4095, 2, true),
        ];
        queues[queue].add(&mut guest, &[&[(page(11), 4096, false)], &buffers[..]].concat());
        queues[queue].kick(&mut balloon, &mut guest);
        assert_eq!(queues[queue].used(&mut guest).map(|used| used.1), Some(0));
        assert_eq!(kept(&mut guest), [0, 1, 4, 5, 7, 8, 9, 10, 11]);
        assert_eq!(balloon.model().state().reported, 3);
    }
}

#[test]
fn a_page_that_is_filled_when_it_is_free_keeps_its_content() {
    for (poison, kept_pages) in [(0_u32, 11), (0xaaaa_aaaa, 12)] {
        let (mut guest, mut balloon) = (guest(), balloon());
        let mut queues = start(&mut balloon, &mut guest, RING_FEATURES | REPORTING | POISON);
        guest.write32(&mut balloon, 0x10c, poison);
        assert_eq!(guest.read32(&mut balloon, 0x10c), poison);
        queues[2].add(&mut guest, &[(page(5), 4096, true)]);
        queues[2].kick(&mut balloon, &mut guest);
        assert!(queues[2].used(&mut guest).is_some());
        assert_eq!(kept(&mut guest).len(), kept_pages);
    }
}

#[test]
fn what_one_report_costs_is_bounded() {
    let (mut guest, mut balloon) = (guest(), balloon());
    let mut queues = start(&mut balloon, &mut guest, RING_FEATURES | REPORTING);
    let all = u32::try_from(RAM_SIZE).expect("small");
    let table: Vec<u8> = (1..1000_u16)
        .flat_map(|next| crate::driver::desc(RAM_BASE, all, if next == 999 { 2 } else { 3 }, next))
        .collect();
    guest.poke(page(20), &table);
    queues[2].add_indirect(&mut guest, page(20), u32::try_from(table.len()).expect("small"));
    queues[2].kick(&mut balloon, &mut guest);
    assert_eq!(balloon.model().state().reported, PAGES_PER_REPORT_MAX);
}

#[test]
fn a_target_is_told_to_the_driver_and_stays_when_it_resets_the_device() {
    let (mut guest, mut balloon) = (guest(), balloon());
    start(&mut balloon, &mut guest, RING_FEATURES);
    resize(&mut balloon, &mut guest, RAM_SIZE - 5 * PAGE_SIZE_U64 + 1);
    assert!(guest.line());
    assert_eq!(guest.read32(&mut balloon, 0x060), 2);
    assert_eq!(guest.read32(&mut balloon, 0x100), 4);
    guest.write32(&mut balloon, 0x104, 4);
    assert_eq!(balloon.model().state().actual, 4);
    start(&mut balloon, &mut guest, RING_FEATURES);
    assert_eq!(guest.read32(&mut balloon, 0x100), 4);
    assert_eq!(guest.read32(&mut balloon, 0x104), 0);
    resize(&mut balloon, &mut guest, u64::MAX);
    assert_eq!(guest.read32(&mut balloon, 0x100), 0);
}

#[test]
fn statistics_come_whenever_the_balloon_is_asked_across_a_restore_too() {
    let (mut guest, mut balloon) = (guest(), balloon());
    let mut queues = start(&mut balloon, &mut guest, RING_FEATURES | STATS);
    let statistic = |tag: u16, value: u64| [&tag.to_le_bytes()[..], &value.to_le_bytes()].concat();
    for round in 0..3_u64 {
        let bytes = [statistic(4, round), statistic(5, 77), statistic(40, 1)].concat();
        guest.poke(BUFFERS, &bytes);
        queues[2].add(&mut guest, &[(BUFFERS, 30, false)]);
        queues[2].kick(&mut balloon, &mut guest);
        assert_eq!(queues[2].used(&mut guest), None, "the buffer is kept");
        assert_eq!(balloon.model().state().statistics, [(4, round), (5, 77)].into());
        let mut twin = self::balloon();
        carry_over(&balloon, &mut twin);
        balloon = twin;
        resize(&mut balloon, &mut guest, RAM_SIZE);
        assert!(queues[2].used(&mut guest).is_some());
        resize(&mut balloon, &mut guest, RAM_SIZE);
        assert_eq!(queues[2].used(&mut guest), None);
    }
}
