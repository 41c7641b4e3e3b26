//! Hostile guests: one that does a list of accesses, one that is nothing but random code.

use crate::asm::*;
use crate::bytes::Choices;

/// Where RAM begins.
pub(crate) const RAM: u64 = 0x8000_0000;
/// Where a supervisor's image goes; an ELF file below it is a bare program.
const SUPERVISOR: u64 = RAM + 0x20_0000;
/// From the program to its list of accesses.
const LIST: u64 = 0x1_0000;
/// Accesses of one list at most.
const ACCESSES_MAX: usize = 2000;
/// Where rings and tables lie that are made from fuzzed bytes.
const RINGS: u64 = RAM + 0x40_0000;

/// One thing for the guest to do, as its program reads it.
struct Access {
    address: u64,
    value: u64,
    op: u8,
}

/// Where the program's table of operations has them.
mod op {
    pub(super) const SW: u8 = 2;
    pub(super) const SD: u8 = 3;
    pub(super) const ECALL: u8 = 8;
}

/// First and last address, and registers worth hitting, of each device.
const DEVICES: [(u64, u64); 12] = [
    (0x10_0000, 0x1000),
    (0x10_1000, 0x1000),
    (0x200_0000, 0x1_0000),
    (0x2f0_0000, 0x4000),
    (0xc00_0000, 0x60_0000),
    (0x1000_0000, 0x100),
    (0x1000_1000, 0x1000),
    (0x1000_2000, 0x1000),
    (0x1000_3000, 0x1000),
    (0x1000_4000, 0x1000),
    (0x1000_5000, 0x1000),
    (RINGS, 0x1000),
];

/// The extensions of the firmware, by their number.
const CALLS: [u64; 16] = [
    0,
    1,
    2,
    3,
    4,
    5,
    8,
    0x10,
    0x5449_4d45,
    0x0073_5049,
    0x5246_4e43,
    0x0048_534d,
    0x5352_5354,
    0x4442_434e,
    0x0050_4d55,
    0x5355_5350,
];

/// A program that does what a list of accesses says, and steps over whatever traps.
fn lister(supervisor: bool) -> Vec<u8> {
    let (tvec, ie, status) = if supervisor { (0x105, 0x104, 0x100) } else { (0x305, 0x304, 0x300) };
    let top = 4;
    let mut code = vec![
        auipc(S0, 0x10),
        auipc(S2, 0),
        addi(S2, S2, 4 * (top - 1)),
        csr(1, ZERO, tvec, S2),
        // top:
        load(3, T0, S0, 0),
        load(3, T1, S0, 8),
        load(4, T2, S0, 16),
        addi(S0, S0, 24),
        slli(T2, T2, 3),
        auipc(T3, 0),
        add(T3, T3, T2),
        jalr(ZERO, T3, 12),
    ];
    let table = code.len();
    let end = table + 32;
    let call = end + 2;
    let top = usize::try_from(top).expect("small");
    let plain = [
        store(0, T1, T0),
        store(1, T1, T0),
        store(2, T1, T0),
        store(3, T1, T0),
        load(0, T1, T0, 0),
        load(1, T1, T0, 0),
        load(2, T1, T0, 0),
        load(3, T1, T0, 0),
    ];
    for word in plain {
        code.extend([word, jump(code.len() + 1, top)]);
    }
    code.extend([jump(code.len(), call), NOP]);
    for word in [WFI, jump(table + 20, end), csr(1, ZERO, ie, T1), csr(2, ZERO, status, T1)] {
        code.extend([word, jump(code.len() + 1, top)]);
    }
    for word in [amoadd_d(T1, T0, T1), FENCE_I, NOP] {
        code.extend([word, jump(code.len() + 1, top)]);
    }
    assert_eq!(code.len(), end);
    code.extend([WFI, jump(end + 1, end)]);
    code.extend([
        addi(A7, T0, 0),
        andi(A6, T1, 15),
        srli(A0, T1, 4),
        addi(A1, S0, 0),
        srli(A2, T1, 12),
        srli(A3, T1, 20),
        addi(A4, ZERO, 64),
        addi(A5, ZERO, 0),
        ECALL,
        jump(call + 9, top),
    ]);
    words(&code)
}

/// The steps by which a driver brings a queue up, with rings from fuzzed bytes, nearly right.
fn queue_up(from: &mut Choices<'_>, list: &mut Vec<Access>) {
    let base = 0x1000_1000 + 0x1000 * u64::from(from.u8() % 6);
    let queue = u64::from(from.u8() % 4);
    let size = [1, 2, 4, 8, 16, 256, 3, 0][usize::from(from.u8() % 8)];
    let rings = RINGS + 0x1_0000 * queue;
    let mut set = |register: u64, value: u64| {
        list.push(Access { address: base + register, value, op: op::SW });
    };
    for status in [0, 1, 3] {
        set(0x70, status);
    }
    set(0x24, 1);
    set(0x20, 1);
    set(0x70, 11);
    set(0x30, queue);
    set(0x38, size);
    let places = [rings, rings + 0x4000, rings + 0x6000];
    for (register, place) in [0x80, 0x90, 0xa0].into_iter().zip(places) {
        // Now and then a table is somewhere else, or nowhere.
        let wild = from.u8();
        let place = if wild >= 0xf0 { from.number() } else { place };
        set(register, place & 0xffff_ffff);
        set(register + 4, place >> 32);
    }
    set(0x44, 1);
    set(0x70, 15);
    let count = u64::from(from.u8() % 9);
    for at in 0..count {
        let buffer = match from.u8() {
            wild @ 0xf0.. => from.number().wrapping_add(u64::from(wild)),
            near => RINGS + 0x8_0000 + 0x100 * u64::from(near),
        };
        let bytes = match from.u8() {
            0xf8.. => from.number() & 0xffff_ffff,
            small => [1, 8, 16, 512, 4096, 12, 1536, 65536][usize::from(small % 8)],
        };
        let flags = u64::from(from.u8()) & 7;
        let next = if from.u8() & 0xf0 == 0 { u64::from(from.u16()) } else { at + 1 };
        let rest = bytes | flags << 32 | next << 48;
        list.push(Access { address: places[0] + 16 * at, value: buffer, op: op::SD });
        list.push(Access { address: places[0] + 16 * at + 8, value: rest, op: op::SD });
        // The head of a block request: type and sector.
        let kind = u64::from(from.u8() % 16);
        let sector = u64::from(from.u8());
        list.push(Access { address: buffer, value: kind, op: op::SD });
        list.push(Access { address: buffer.wrapping_add(8), value: sector, op: op::SD });
    }
    let available = u64::from(from.u16() & 0x1f) << 16;
    let heads = from.u64() & 0x000f_000f_000f_000f;
    list.push(Access { address: places[1] + 4, value: heads, op: op::SW });
    list.push(Access { address: places[1], value: available, op: op::SW });
    list.push(Access { address: base + 0x50, value: queue, op: op::SW });
}

fn one(from: &mut Choices<'_>, list: &mut Vec<Access>) {
    let kind = from.u8();
    if kind >= 0xe8 {
        return queue_up(from, list);
    }
    let op = match kind & 15 {
        // Neither an end nor, often, a wait: what follows is to be done.
        10 => 2,
        9 if kind & 0x60 != 0x60 => 3,
        other => other,
    };
    if op == op::ECALL {
        let address = match from.u8() {
            known @ 0..=0xf0 => CALLS[usize::from(known & 15)],
            _ => from.number(),
        };
        return list.push(Access { address, value: from.u64(), op });
    }
    let address = if kind >= 0xe0 {
        from.number()
    } else {
        let (base, size) = DEVICES[usize::from(from.u8()) % DEVICES.len()];
        let offset = u64::from(from.u16());
        // The PLIC's registers are far apart: thresholds and claims are at its end.
        let offset = if kind & 16 != 0 { offset.wrapping_mul(0x800) + offset % 8 } else { offset };
        let offset = if kind & 32 != 0 { offset & !3 } else { offset };
        // Most registers are the first few.
        let offset = if kind & 64 != 0 { offset & 0x3f } else { offset };
        base + offset % size
    };
    list.push(Access { address, value: from.number(), op });
}

/// An ELF file of a guest that does what the bytes say to every device.
pub(crate) fn accesses(supervisor: bool, from: &mut Choices<'_>) -> Vec<u8> {
    accesses_with(supervisor, from, &[])
}

/// The same with a host-target interface among the rings.
pub(crate) fn accesses_with_htif(from: &mut Choices<'_>) -> Vec<u8> {
    let symbols = [("tohost", RINGS + 0x20), ("fromhost", RINGS + 0x28)];
    accesses_with(false, from, &symbols)
}

fn accesses_with(supervisor: bool, from: &mut Choices<'_>, symbols: &[(&str, u64)]) -> Vec<u8> {
    let mut list = Vec::new();
    while !from.is_empty() && list.len() < ACCESSES_MAX {
        one(from, &mut list);
    }
    // The end of the list: wait for ever. Whatever was not written is a store to address zero.
    list.push(Access { address: 0, value: 0, op: 10 });
    let mut data = Vec::new();
    for access in &list {
        data.extend_from_slice(&access.address.to_le_bytes());
        data.extend_from_slice(&access.value.to_le_bytes());
        data.extend_from_slice(&u64::from(access.op).to_le_bytes());
    }
    let base = if supervisor { SUPERVISOR } else { RAM };
    elf_with(base, &[(base, &lister(supervisor)), (base + LIST, &data)], symbols)
}

/// Where a guest of random code has its code, and what its registers point to.
const CODE: u64 = RAM + 0x1000;
const TABLE: u64 = RAM + 0x8000;
const CODE_BYTES_MAX: usize = 0x3000;

/// A guest of random code in machine mode, or in the mode and with the paging of `how`.
///
/// What traps is stepped over; what jumps away comes back to the start.
pub(crate) fn random_code(how: u8, bytes: &[u8]) -> Vec<u8> {
    let (mode, paging) = (how & 3, how >> 2 & 3);
    let mut code = vec![
        // A handler at word 40 of this program; a pointer to it first.
        auipc(S2, 0),
        addi(S2, S2, 160),
        csr(1, ZERO, 0x305, S2),
        // Floating point on, and the counters for all.
        lui(T0, 0x6),
        csr(2, ZERO, 0x300, T0),
        addi(T0, ZERO, 7),
        csr(1, ZERO, 0x306, T0),
        csr(1, ZERO, 0x106, T0),
        // All memory for all modes.
        addi(T0, ZERO, -1),
        csr(1, ZERO, 0x3b0, T0),
        addi(T0, ZERO, 0x1f),
        csr(1, ZERO, 0x3a0, T0),
        // menvcfg: everything.
        addi(T0, ZERO, -1),
        csr(1, ZERO, 0x30a, T0),
        csr(1, ZERO, 0x10a, T0),
        // satp: bare, Sv39 or Sv48 with the table at TABLE.
        addi(T0, ZERO, [0, 8, 9, 10][usize::from(paging)]),
        slli(T0, T0, 60 - 20),
        slli(T0, T0, 20),
        lui(T1, 0x80),
        addi(T1, T1, 8),
        add(T0, T0, T1),
        csr(1, ZERO, 0x180, T0),
        // The mode to go to.
        lui(T0, 2),
        addi(T0, T0, -0x800),
        csr(3, ZERO, 0x300, T0),
        lui(T0, [0, 1, 3, 3][usize::from(mode)]),
        srli(T0, T0, 1),
        csr(2, ZERO, 0x300, T0),
        // Code, with registers that point to it, to data and to devices.
        auipc(T0, 1),
        addi(T0, T0, -112),
        csr(1, ZERO, 0x341, T0),
        addi(A0, T0, 0),
        addi(A1, T0, 256),
        lui(A2, 0x80004),
        slli(A2, A2, 32),
        srli(A2, A2, 32),
        lui(A3, 0x10001),
        lui(A4, 0x2004),
        lui(A5, 0x10000),
        MRET,
    ];
    assert_eq!(code.len(), 40);
    let handler = 40;
    code.extend([
        csr(1, T6, 0x340, T6),
        csr(2, T6, 0x342, ZERO),
        addi(T6, T6, -1),
        branch(0, T6, ZERO, 28),
        addi(T6, T6, -11),
        branch(0, T6, ZERO, 20),
        csr(2, T6, 0x341, ZERO),
        addi(T6, T6, 4),
        csr(1, ZERO, 0x341, T6),
        jump(handler + 9, handler + 13),
        // restart:
        auipc(T6, 1),
        addi(T6, T6, -200),
        csr(1, ZERO, 0x341, T6),
        // out:
        csr(1, T6, 0x340, T6),
        MRET,
    ]);
    // Gigapages that map the low four gibibytes to themselves, below as many levels as it takes.
    let user = if mode == 0 { 0x10 } else { 0 };
    let mut table = Vec::new();
    for level in 1..u64::from(paging) {
        table.extend_from_slice(&((TABLE + 0x1000 * level) >> 2 | 1).to_le_bytes());
        table.resize(table.len().next_multiple_of(0x1000), 0);
    }
    for page in 0..4u64 {
        table.extend_from_slice(&(page << 28 | 0xcf | user).to_le_bytes());
    }
    let bytes = &bytes[..bytes.len().min(CODE_BYTES_MAX)];
    elf(RAM, &[(RAM, &words(&code)), (CODE, bytes), (TABLE, &table)])
}
