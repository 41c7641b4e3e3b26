//! The ACLINT and the clock at their registers.

use crate::guest::{Guest, carry_over};
use omni_base::Tick;
use omni_devices::{Aclint, GoldfishRtc, Sswi, TimeBase};
use omni_machine::{Device, Width};
use proptest::prelude::*;

const MTIMECMP: u64 = 0x4000;
const MTIME: u64 = 0xbff8;

fn write64(guest: &mut Guest, device: &mut dyn Device, offset: u64, value: u64) {
    device.write(offset, Width::Double, value, &mut guest.cx());
}

fn aclint() -> Aclint {
    Aclint::new("aclint", 4, TimeBase::new(3))
}

#[test]
fn a_timer_is_due_at_its_exact_first_tick() {
    let (mut guest, mut aclint) = (Guest::new(), aclint());
    guest.now = Tick(1_000_000);
    write64(&mut guest, &mut aclint, MTIMECMP + 8, 30_001);
    let due = aclint.deadline().expect("a timer is set");
    assert_eq!(due, Tick(1_000_034), "3 000 100 ns at 3 ns a tick");
    assert!(!aclint.mtip(1, Tick(due.0 - 1)));
    assert!(aclint.mtip(1, due) && !aclint.mtip(0, due));
    assert!(guest.wait(&mut aclint));
    assert!(aclint.deadline().is_none_or(|next| next > due), "it does not fire again");
    write64(&mut guest, &mut aclint, MTIMECMP + 8, u64::MAX);
    assert!(!aclint.mtip(1, guest.now));
}

#[test]
fn registers_can_be_read_and_written_in_halves() {
    let (mut guest, mut aclint) = (Guest::new(), aclint());
    guest.write32(&mut aclint, MTIMECMP + 16, 0x1111_2222);
    guest.write32(&mut aclint, MTIMECMP + 20, 0x3333_4444);
    assert_eq!(aclint.state().mtimecmp[2], 0x3333_4444_1111_2222);
    assert_eq!(guest.read32(&mut aclint, MTIMECMP + 20), 0x3333_4444);
    guest.now = Tick(100 << 32);
    assert_eq!(guest.read32(&mut aclint, MTIME), 0);
    assert_eq!(guest.read32(&mut aclint, MTIME + 4), 3);
}

#[test]
fn the_clock_can_be_set() {
    let (mut guest, mut aclint) = (Guest::new(), aclint());
    guest.now = Tick(5_000);
    write64(&mut guest, &mut aclint, MTIMECMP, 1_010);
    write64(&mut guest, &mut aclint, MTIME, 1_000);
    assert_eq!(aclint.mtime(guest.now), 1_000);
    let due = aclint.deadline().expect("ahead");
    assert_eq!((aclint.mtime(due), aclint.mtime(Tick(due.0 - 1))), (1_010, 1_009));
    assert_eq!(aclint.tick_at(1_010, guest.now), Some(due));
    assert_eq!(aclint.tick_at(1, guest.now), Some(guest.now));
}

#[test]
fn a_clock_that_wraps_takes_its_interrupt_back() {
    let (mut guest, mut aclint) = (Guest::new(), aclint());
    write64(&mut guest, &mut aclint, MTIMECMP, u64::MAX - 5);
    write64(&mut guest, &mut aclint, MTIME, u64::MAX - 10);
    assert!(guest.wait(&mut aclint) && aclint.mtip(0, guest.now));
    // The other harts' timers at the very end, then the wrap.
    while aclint.mtip(0, guest.now) {
        assert!(guest.wait(&mut aclint));
    }
    assert_eq!(aclint.mtime(guest.now), 0);
}

#[test]
fn software_interrupts_are_a_bit_for_each_hart() {
    let (mut guest, mut aclint) = (Guest::new(), aclint());
    guest.write32(&mut aclint, 8, 0xffff_ffff);
    assert_eq!([0, 1, 2, 3, 4].map(|hart| aclint.msip(hart)), [false, false, true, false, false]);
    assert_eq!(guest.read32(&mut aclint, 8), 1);
    guest.write32(&mut aclint, 16, 1);
    assert_eq!(guest.read32(&mut aclint, 16), 0, "there is no fifth hart");
    guest.write32(&mut aclint, 8, 0);
    assert!(!aclint.msip(2));
    let mut sswi = Sswi::new("sswi", 4);
    guest.write32(&mut sswi, 4, 1);
    guest.write32(&mut sswi, 12, 1);
    guest.write32(&mut sswi, 16, 1);
    carry_over(&sswi, &mut Sswi::new("sswi", 4));
    assert_eq!((sswi.take_edges(), sswi.take_edges()), (0b1010, 0));
    assert_eq!(guest.read32(&mut sswi, 4), 0);
}

proptest! {
    #[test]
    fn every_change_of_a_timer_is_a_deadline(
        ns in 1u32..400,
        now in 0u64..1 << 40,
        mtime in any::<Option<u64>>(),
        ahead in 0u64..1 << 40,
        probe in 0u64..1 << 41,
    ) {
        let (mut guest, mut aclint) = (Guest::new(), Aclint::new("a", 1, TimeBase::new(ns)));
        guest.now = Tick(now);
        if let Some(mtime) = mtime {
            write64(&mut guest, &mut aclint, MTIME, mtime);
        }
        let compare = aclint.mtime(guest.now).wrapping_add(ahead);
        write64(&mut guest, &mut aclint, MTIMECMP, compare);
        let before = aclint.mtip(0, guest.now);
        let next = aclint.deadline();
        prop_assert!(next.is_none_or(|next| next > guest.now));
        let at = Tick(now + probe);
        if next.is_none_or(|next| at < next) {
            prop_assert_eq!(aclint.mtip(0, at), before);
        }
        if let Some(next) = next {
            prop_assert_ne!(aclint.mtip(0, next), before);
        }
        let mut other = Aclint::new("a", 1, TimeBase::new(ns));
        carry_over(&aclint, &mut other);
    }
}

#[test]
fn the_wall_clock_is_a_function_of_ticks() {
    let (mut guest, mut rtc) = (Guest::new(), GoldfishRtc::new("rtc", 1000, TimeBase::new(2)));
    guest.now = Tick(500_000_000);
    let low = guest.read32(&mut rtc, 0);
    let high = guest.read32(&mut rtc, 4);
    assert_eq!(u64::from(high) << 32 | u64::from(low), 1_001_000_000_000);
    // Set to a time before the epoch.
    guest.write32(&mut rtc, 4, 0);
    guest.write32(&mut rtc, 0, 77);
    assert_eq!(rtc.time_ns(guest.now), 77);
    assert_eq!(rtc.time_ns(Tick(guest.now.0 + 5)), 87);
}

#[test]
fn an_alarm_rings_at_its_tick_and_until_cleared() {
    let make = || GoldfishRtc::new("rtc", 1, TimeBase::new(2));
    let (mut guest, mut rtc) = (Guest::new(), make());
    guest.write32(&mut rtc, 0x10, 1);
    guest.write32(&mut rtc, 0x0c, 0);
    guest.write32(&mut rtc, 0x08, 1_000_001_001);
    assert_eq!(guest.read32(&mut rtc, 0x18), 1);
    assert_eq!(rtc.deadline(), Some(Tick(501)));
    let mut later = make();
    carry_over(&rtc, &mut later);
    assert!(guest.wait(&mut later) && guest.line());
    assert_eq!((guest.read32(&mut later, 0x18), later.deadline()), (0, None));
    guest.write32(&mut later, 0x10, 0);
    assert!(!guest.line(), "it may not interrupt");
    guest.write32(&mut later, 0x10, 1);
    assert!(guest.line());
    guest.write32(&mut later, 0x1c, 1);
    assert!(!guest.line());
    guest.write32(&mut later, 0x08, 5);
    assert!(guest.line(), "an alarm in the past rings at once");
}
