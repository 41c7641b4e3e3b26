//! The block device: requests, errors, flushes.

use crate::driver::{BUFFERS, Driver, RING_FEATURES, start};
use crate::guest::{DISK_SIZE, Guest, PORT, carry_over};
use omni_base::Gpa;
use omni_devices::virtio::{Block, VirtioMmio};
use omni_machine::{Device, Effect, IoId, IoOp, IoRequest};

const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

const HEADER: u64 = BUFFERS;
const STATUS: u64 = BUFFERS + 0x100;
const DATA: u64 = BUFFERS + 0x1000;

fn disk(read_only: bool) -> VirtioMmio<Block> {
    VirtioMmio::new("disk0", Block::new(PORT, 1, DISK_SIZE - 512, read_only, "omni-0"))
}

fn started(guest: &mut Guest, read_only: bool) -> (VirtioMmio<Block>, Driver) {
    let mut device = disk(read_only);
    let driver = start(&mut device, guest, RING_FEATURES).remove(0);
    (device, driver)
}

fn offer(guest: &mut Guest, driver: &mut Driver, ty: u32, sector: u64, data: &[(u64, u32, bool)]) {
    guest.poke(HEADER, &[&ty.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat());
    guest.poke(STATUS, &[0xee]);
    let buffers = [&[(HEADER, 16, false)], data, &[(STATUS, 1, true)]].concat();
    driver.add(guest, &buffers);
}

/// Does a request and gives its status and the bytes written.
fn request(
    device: &mut dyn Device,
    guest: &mut Guest,
    driver: &mut Driver,
    (ty, sector): (u32, u64),
    data: &[(u64, u32, bool)],
) -> (u8, u32) {
    offer(guest, driver, ty, sector, data);
    driver.kick(device, guest);
    let (_, written) = driver.used(guest).expect("the request is over");
    let [status] = guest.peek(STATUS);
    (status, written)
}

#[test]
fn what_is_written_in_pieces_is_read_in_other_pieces() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = started(&mut guest, false);
    let content: Vec<u8> = (0..1536u32).map(|at| at.wrapping_mul(7).to_le_bytes()[0]).collect();
    guest.poke(DATA, &content);
    let pieces = [(DATA, 100, false), (DATA + 100, 1000, false), (DATA + 1100, 436, false)];
    let got = request(&mut device, &mut guest, &mut driver, (1, 5), &pieces);
    assert_eq!(got, (OK, 1));
    assert_eq!(guest.memory.spaces[1].load::<1536>(Gpa(5 * 512)).expect("there")[..], content);
    let pieces = [(DATA + 0x2000, 512, true), (DATA + 0x2200, 1024, true)];
    let got = request(&mut device, &mut guest, &mut driver, (0, 5), &pieces);
    assert_eq!(got, (OK, 1537));
    assert_eq!(guest.peek::<1536>(DATA + 0x2000)[..], content);
    assert!(guest.effects.is_empty(), "only durability needs the outside");
}

#[test]
fn header_data_and_status_may_be_cut_anywhere() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = started(&mut guest, false);
    guest.memory.spaces[1].store(Gpa(512), &[0xab; 512]).expect("there");
    guest.poke(HEADER, &[&[0; 8][..], &1u64.to_le_bytes()].concat());
    guest.poke(DATA, &[0xee; 513]);
    driver.add(&mut guest, &[(HEADER, 7, false), (HEADER + 7, 9, false), (DATA, 513, true)]);
    driver.kick(&mut device, &mut guest);
    assert!(driver.used(&mut guest).is_some());
    let got: [u8; 513] = guest.peek(DATA);
    assert!(got[..512] == [0xab; 512] && got[512] == OK);
}

#[test]
fn requests_that_make_no_sense_are_errors_of_the_request() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = started(&mut guest, false);
    let last = DISK_SIZE / 512 - 2;
    let read = |size| [(DATA, size, true)];
    let write = |size| [(DATA, size, false)];
    let mut run = |what, data: &[_]| request(&mut device, &mut guest, &mut driver, what, data).0;
    assert_eq!(run((0, last), &read(512)), OK);
    assert_eq!(run((0, last), &read(1024)), IO_ERROR);
    assert_eq!(run((0, last + 1), &read(512)), IO_ERROR);
    assert_eq!(run((1, last + 1), &write(512)), IO_ERROR);
    assert_eq!(run((1, u64::MAX), &write(512)), IO_ERROR);
    assert_eq!(run((0, 0), &read(511)), IO_ERROR);
    assert_eq!(run((1, 0), &write(100)), IO_ERROR);
    assert_eq!(run((99, 0), &[]), UNSUPPORTED);
    assert_eq!(run((11, 0), &write(16)), OK, "an empty range is fine");
    assert_eq!(run((11, 0), &write(15)), IO_ERROR);
    assert_eq!(run((11, 0), &write(16 * 5)), IO_ERROR);
}

#[test]
fn a_disk_says_its_name() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = started(&mut guest, true);
    let got = request(&mut device, &mut guest, &mut driver, (8, 0), &[(DATA, 20, true)]);
    assert_eq!(got, (OK, 21));
    assert_eq!(guest.peek::<8>(DATA), *b"omni-0\0\0");
    assert_eq!(guest.read32(&mut device, 0x100), u32::try_from(DISK_SIZE / 512).unwrap() - 1);
}

#[test]
fn a_read_only_disk_stays_as_it_is() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = started(&mut guest, true);
    let mut run = |what, data: &[_]| request(&mut device, &mut guest, &mut driver, what, data).0;
    assert_eq!(run((1, 0), &[(DATA, 512, false)]), IO_ERROR);
    assert_eq!(run((13, 0), &[(DATA, 16, false)]), IO_ERROR);
    assert_eq!(run((4, 0), &[]), OK);
    assert!(guest.memory.spaces[1].dirty().is_empty());
    assert_ne!(guest.read32(&mut device, 0x010) & 1 << 5, 0);
}

#[test]
fn zeroing_clears_a_range_and_costs_nothing_where_it_is_zero() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = started(&mut guest, false);
    guest.memory.spaces[1].store(Gpa(4000), &[0xff; 5000]).expect("there");
    let dirty = guest.memory.spaces[1].dirty().len();
    let range = |sector: u64, count: u32, flags: u32| {
        [&sector.to_le_bytes()[..], &count.to_le_bytes(), &flags.to_le_bytes()].concat()
    };
    for (ty, flags, expect) in [(11, 1, UNSUPPORTED), (13, 2, UNSUPPORTED), (13, 1, OK)] {
        guest.poke(DATA, &range(8, 400, flags));
        let data = [(DATA, 16, false)];
        let got = request(&mut device, &mut guest, &mut driver, (ty, 0), &data);
        assert_eq!(got.0, expect, "{ty} {flags}");
    }
    let disk = &guest.memory.spaces[1];
    assert_eq!(disk.load::<96>(Gpa(4000)), Ok([0xff; 96]));
    assert_eq!(disk.load::<4904>(Gpa(4096)), Ok([0; 4904]));
    assert_eq!(disk.dirty().len(), dirty);
}

#[test]
fn a_flush_ends_when_the_outside_says_so() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = started(&mut guest, false);
    offer(&mut guest, &mut driver, 4, 0, &[]);
    offer(&mut guest, &mut driver, 4, 0, &[]);
    driver.kick(&mut device, &mut guest);
    assert_eq!(driver.used(&mut guest), None);
    let flush = |id| IoRequest { id: IoId(id), port: PORT, op: IoOp::Flush };
    assert_eq!(guest.effects, [1, 2].map(|id| Effect::Io(flush(id))));
    assert_eq!(device.pending(), [flush(1), flush(2)]);
    let mut device = {
        let mut other = disk(false);
        carry_over(&device, &mut other);
        other
    };
    assert!(!device.io_done(IoId(77), &Ok(vec![]), &mut guest.cx()));
    assert!(device.io_done(IoId(2), &Err(5), &mut guest.cx()));
    assert_eq!(driver.used(&mut guest), Some((2, 1)));
    assert_eq!(guest.peek(STATUS), [IO_ERROR]);
    assert!(guest.line());
    assert!(device.io_done(IoId(1), &Ok(vec![]), &mut guest.cx()));
    assert_eq!((driver.used(&mut guest), guest.peek(STATUS)), (Some((0, 1)), [OK]));
    assert!(device.pending().is_empty());
    assert!(!device.io_done(IoId(1), &Ok(vec![]), &mut guest.cx()), "not twice");
}

#[test]
fn a_reset_forgets_flushes() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = started(&mut guest, false);
    offer(&mut guest, &mut driver, 4, 0, &[]);
    driver.kick(&mut device, &mut guest);
    guest.write32(&mut device, 0x070, 0);
    assert!(device.pending().is_empty());
    assert!(!device.io_done(IoId(1), &Ok(vec![]), &mut guest.cx()));
}

#[test]
fn a_flush_offered_without_end_does_not_fill_memory() {
    let mut guest = Guest::new();
    let (mut device, mut driver) = started(&mut guest, false);
    offer(&mut guest, &mut driver, 4, 0, &[]);
    for _ in 0..1000 {
        driver.kick(&mut device, &mut guest);
        driver.offer(&mut guest, 0);
    }
    assert_eq!(device.pending().len(), 256);
    assert_eq!(guest.read32(&mut device, 0x070), 15 | 0x40);
}
