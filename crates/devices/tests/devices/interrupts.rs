//! The PLIC and the finisher at their registers.

use crate::guest::{Guest, carry_over};
use omni_devices::{Plic, PowerRequest, Syscon};
use omni_machine::Device;

const CLAIM: u64 = 0x20_0004;
const CONTEXT_1: u64 = 0x1000;

/// Two contexts; ids 1 to 3 enabled for the second with priorities 1, 3, 3.
fn started(guest: &mut Guest) -> Plic {
    let mut plic = Plic::new("plic", 2);
    for (id, priority) in [(1, 1), (2, 3), (3, 3)] {
        guest.write32(&mut plic, 4 * id, priority);
    }
    guest.write32(&mut plic, 0x2080, 0b1110);
    plic
}

#[test]
fn the_most_urgent_request_is_claimed_first_and_the_lowest_id_of_equals() {
    let mut guest = Guest::new();
    let mut plic = started(&mut guest);
    plic.update(0b1110);
    assert!(plic.asserted(1) && !plic.asserted(0));
    let claims: Vec<u32> = (0..4).map(|_| guest.read32(&mut plic, CLAIM + CONTEXT_1)).collect();
    assert_eq!(claims, [2, 3, 1, 0]);
    assert!(!plic.asserted(1));
    assert_eq!(guest.read32(&mut plic, CLAIM), 0, "nothing is enabled for the other");
}

#[test]
fn a_line_that_stays_high_asks_again_only_after_completion() {
    let mut guest = Guest::new();
    let mut plic = started(&mut guest);
    plic.update(0b10);
    assert_eq!(guest.read32(&mut plic, CLAIM + CONTEXT_1), 1);
    plic.update(0b10);
    assert!(!plic.asserted(1));
    guest.write32(&mut plic, CLAIM, 1);
    assert!(!plic.asserted(1), "a context that has not enabled it cannot complete it");
    guest.write32(&mut plic, CLAIM + CONTEXT_1, 1);
    assert!(plic.asserted(1));
    assert_eq!(guest.read32(&mut plic, CLAIM + CONTEXT_1), 1);
    plic.update(0);
    guest.write32(&mut plic, CLAIM + CONTEXT_1, 1);
    assert!(!plic.asserted(1));
}

#[test]
fn a_threshold_masks_and_priority_zero_never_interrupts() {
    let mut guest = Guest::new();
    let mut plic = started(&mut guest);
    plic.update(0b110);
    guest.write32(&mut plic, 0x20_1000, 3);
    assert!(!plic.asserted(1));
    guest.write32(&mut plic, 0x20_1000, 2);
    assert!(plic.asserted(1));
    guest.write32(&mut plic, 8, 0);
    assert!(!plic.asserted(1));
    guest.write32(&mut plic, 0x20_1000, 0);
    assert_eq!(guest.read32(&mut plic, CLAIM + CONTEXT_1), 1);
    assert_eq!(guest.read32(&mut plic, CLAIM + CONTEXT_1), 0);
}

#[test]
fn registers_hold_only_what_exists() {
    let mut guest = Guest::new();
    let mut plic = started(&mut guest);
    guest.write32(&mut plic, 0, 7);
    guest.write32(&mut plic, 4 * 96, 7);
    guest.write32(&mut plic, 4 * 95, 0xff);
    guest.write32(&mut plic, 0x2000, u32::MAX);
    guest.write32(&mut plic, 0x200c, u32::MAX);
    guest.write32(&mut plic, 0x2100, u32::MAX);
    let mut read = |at| guest.read32(&mut plic, at);
    assert_eq!([read(0), read(4 * 96), read(4 * 95)], [0, 0, 7]);
    assert_eq!([read(0x2000), read(0x200c), read(0x2100)], [u32::MAX - 1, 0, 0]);
    plic.update(u128::MAX);
    assert_eq!(guest.read32(&mut plic, 0x1000), u32::MAX - 1);
    assert_eq!(guest.read32(&mut plic, 0x1008), u32::MAX);
    assert_eq!(guest.read32(&mut plic, 0x100c), 0);
}

#[test]
fn a_plic_saved_between_claim_and_completion_goes_on() {
    let mut guest = Guest::new();
    let mut plic = started(&mut guest);
    plic.update(0b1010);
    assert_eq!(guest.read32(&mut plic, CLAIM + CONTEXT_1), 3);
    let mut other = Plic::new("plic", 2);
    carry_over(&plic, &mut other);
    assert_eq!(guest.read32(&mut other, CLAIM + CONTEXT_1), 1);
    guest.write32(&mut other, CLAIM + CONTEXT_1, 3);
    assert_eq!(guest.read32(&mut other, CLAIM + CONTEXT_1), 3);
}

#[test]
fn the_finisher_says_how_the_guest_wants_to_end() {
    let (mut guest, mut syscon) = (Guest::new(), Syscon::new("test"));
    let cases = [
        (0x5555, Some(PowerRequest::Off { code: 0 })),
        (0x0005_3333, Some(PowerRequest::Off { code: 5 })),
        (0x3333, Some(PowerRequest::Off { code: 1 })),
        (0x7777, Some(PowerRequest::Reset)),
        (0x1234, None),
    ];
    for (value, request) in cases {
        guest.write32(&mut syscon, 0, value);
        let mut other = Syscon::new("test");
        carry_over(&syscon, &mut other);
        assert_eq!(other.take_request(), request, "{value:#x}");
        assert_eq!(syscon.take_request(), request, "{value:#x}");
        assert_eq!(syscon.take_request(), None);
    }
    guest.write32(&mut syscon, 4, 0x5555);
    assert_eq!(syscon.take_request(), None);
    assert_eq!(syscon.deadline(), None);
}
