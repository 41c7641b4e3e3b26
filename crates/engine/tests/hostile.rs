//! Guests that do what costs a translator most: every tier has the same states at every slice.

use omni_base::{Gpa, PAGE_SIZE_U64, PageNo};
use omni_engine::{
    Access, At, Code, Context, Engine, Entry, Env, Flow, Frontend, HotSlots, Mapping, Mode,
    NanRule, RegSlot, Regs, Reply, Target, Tiers,
};
use omni_ir::{Binary, Builder, Cond, Helper, Size, Slot, Trap};
use omni_memory::Space;
use std::time::{Duration, Instant};

/// Pages of RAM.
const PAGES: u64 = 64;

/// Where programs begin.
const CODE: u64 = 0x1000;

/// The page of the table: an entry of eight bytes for each of 256 virtual pages, which is zero
/// where the page is itself.
const TABLE: u64 = 0x8000;

/// Virtual pages from this one to number 512 are others in each address space.
const OWN: u64 = 256;

/// Where the program of each address space is, from this page of RAM on.
const OWN_PAGES: (u64, u64) = (16, 40);

/// From this address on, all pages are one.
const SAME: u64 = 0x1000_0000;

/// The page that they are.
const SAME_PAGE: u64 = 9;

/// A guest of instructions of two and four bytes: an operation, two registers, a number.
struct Toy;

/// Operations.
mod op {
    pub(super) const ADD: u8 = 1;
    pub(super) const XOR: u8 = 2;
    pub(super) const MUL: u8 = 3;
    pub(super) const ADDI: u8 = 4;
    pub(super) const LOAD: u8 = 5;
    pub(super) const STORE1: u8 = 6;
    pub(super) const STORE8: u8 = 7;
    pub(super) const JUMP: u8 = 8;
    pub(super) const NE: u8 = 9;
    pub(super) const GO: u8 = 10;
    pub(super) const SHR: u8 = 11;
    pub(super) const SELECT: u8 = 12;
}

/// An instruction of two bytes: on a register, by another.
fn two(op: u8, d: u8, s: u8) -> Vec<u8> {
    vec![op, d << 4 | s]
}

/// One of four bytes, with a number.
fn four(op: u8, d: u8, s: u8, number: i16) -> Vec<u8> {
    [[op, d << 4 | s], number.to_le_bytes()].concat()
}

impl Frontend for Toy {
    fn registers(&self) -> &'static [RegSlot] {
        &[RegSlot { slot: Slot(15), name: "r15", bits: 64 }]
    }
    fn float_flags(&self) -> Slot {
        Slot(100)
    }
    fn reservation(&self) -> Slot {
        Slot(101)
    }
    fn hot_slots(&self) -> HotSlots {
        const HOT: &[Slot] = &[Slot(1), Slot(2), Slot(3), Slot(4), Slot(5), Slot(6)];
        HotSlots { integers: HOT, floats: &[] }
    }
    fn nan_rule(&self) -> NanRule {
        NanRule::RiscV
    }
    fn code_moves(&self) -> bool {
        true
    }
    fn lower(&self, code: &Code, mode: Mode, b: &mut Builder) -> Flow {
        let [op, regs, low, high, ..] = code.bytes;
        let (d, s) = (Slot(regs >> 4), Slot(regs & 15));
        let long = matches!(op, op::ADDI | op::JUMP | op::NE);
        if code.count < 2 || long && code.count < 4 {
            return Flow::More;
        }
        let number = i64::from(i16::from_le_bytes([low, high]));
        let to = code.pc.wrapping_add(number as u64);
        match op {
            op::ADD => b.binary(Binary::Add, d, d, s),
            // What the mode changes.
            op::XOR => b.binary(Binary::Xor, d, s, u64::from(mode.0)),
            op::MUL => b.binary(Binary::Mul, d, d, s),
            op::SHR => b.binary(Binary::Shr, d, d, s),
            op::ADDI => b.binary(Binary::Add, d, s, number as u64),
            op::LOAD => b.load(Size::B8, false, d, s, 0),
            op::STORE1 => b.store(Size::B1, s, 0, d),
            op::STORE8 => b.store(Size::B8, s, 0, d),
            op::SELECT => b.call(Helper(1), d, [s.into(), 0.into(), 0.into()]),
            op::JUMP => b.jump(to),
            op::NE => b.branch(Cond::Ne, d, s, to, code.pc.wrapping_add(4)),
            op::GO => b.indirect(d),
            _ => b.trap(2, u64::from(op)),
        }
        match op {
            op::JUMP | op::NE | op::GO => Flow::End,
            op::ADD..=op::SELECT => Flow::Next(if long { 4 } else { 2 }),
            _ => Flow::End,
        }
    }
}

/// RAM, and what the guest has selected: the address space, and the mode times 65536.
struct World {
    ram: Space,
    selected: u64,
}

impl World {
    fn page(&mut self, page: u64) -> Option<(u64, u8)> {
        if page >= SAME >> 12 {
            return Some((SAME_PAGE, 0));
        }
        if (OWN..512).contains(&page) {
            let (first, count) = OWN_PAGES;
            return Some((first + (page + 3 * (self.selected & 0xffff)) % count, 0));
        }
        let entry = self.ram.load::<8>(Gpa(TABLE + 8 * (page % OWN))).expect("in RAM");
        let entry = u64::from_le_bytes(entry);
        let to = if entry == 0 { page } else { entry };
        (page < OWN && to < PAGES).then_some((to, 1))
    }
}

impl Env for World {
    fn hold(&mut self) {}
    fn release(&mut self) {}
    fn wants_stillness(&self, _: Helper) -> bool {
        false
    }
    fn ram(&mut self) -> &mut Space {
        &mut self.ram
    }
    fn translate(&mut self, at: u64, _: Size, _: Access) -> Result<Mapping, Trap> {
        let (page, depth) = self.page(at >> 12).ok_or(Trap { cause: 13, value: at })?;
        let mut tables = [PageNo(0); 6];
        tables[0] = Gpa(TABLE).page();
        let (target, load, store, keep) = (Target::Ram(PageNo(page)), true, true, true);
        Ok(Mapping { target, load, store, keep, tables, depth, span: 12, entry_size: 3 })
    }
    fn device_load(&mut self, _: u64, _: Gpa, _: Size, _: At) -> Result<Reply, Trap> {
        Ok(Reply::default())
    }
    fn device_store(&mut self, _: u64, _: Gpa, _: Size, _: u64, _: At) -> Result<Reply, Trap> {
        Ok(Reply::default())
    }
    fn bad_atomic(&mut self, at: u64, _: Access) -> Trap {
        Trap { cause: 7, value: at }
    }
    fn call(&mut self, _: Helper, _: &mut Regs, a: [u64; 3], _: At) -> Result<Reply, Trap> {
        self.selected = a[0];
        Ok(Reply { value: a[0], stop: true })
    }
}

/// A hostile guest: bytes at physical places, and registers.
#[derive(Default)]
struct Guest {
    pieces: Vec<(u64, Vec<u8>)>,
    regs: Vec<(u8, u64)>,
    start: u64,
}

/// A machine with a guest in it.
struct Machine {
    engine: Engine,
    world: World,
    regs: Regs,
    pc: u64,
    ticks: u64,
}

/// What can be seen of one.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    pc: u64,
    ticks: u64,
    regs: [u64; 16],
    memory: u64,
}

impl Machine {
    fn new(guest: &Guest, tiers: Tiers) -> Self {
        let mut ram = Space::new("ram", PAGES);
        for (at, bytes) in &guest.pieces {
            ram.store(Gpa(*at), bytes).expect("fits");
        }
        let mut regs = Regs::default();
        guest.regs.iter().for_each(|(reg, value)| regs.set(Slot(*reg), *value));
        let mut engine = Engine::new(1);
        engine.set_tiers(tiers);
        let pc = if guest.start == 0 { CODE } else { guest.start };
        let world = World { ram, selected: 0 };
        Self { engine, world, regs, pc, ticks: 0 }
    }

    /// Runs for so many ticks more; what traps is stepped over, and counted in a register.
    fn run(&mut self, ticks: u64) {
        let until = self.ticks + ticks;
        while self.ticks < until {
            let context = Context([self.world.selected & 0xffff, 0]);
            let mode = Mode((self.world.selected >> 16) as u32 & 0xff);
            let budget = until - self.ticks;
            let entry = Entry { pc: self.pc, mode, fetch: context, data: context, budget };
            let exit = self.engine.run(&Toy, 0, &mut self.world, &mut self.regs, entry);
            (self.pc, self.ticks) = (exit.pc, self.ticks + exit.ticks);
            if exit.trap.is_some() {
                (self.pc, self.ticks) = (self.pc.wrapping_add(2), self.ticks + 1);
                self.regs.set(Slot(0), self.regs.get(Slot(0)) + 1);
            }
        }
    }

    fn fork(&mut self) -> Self {
        let ram = Space::from_image("ram", PAGES, self.world.ram.seal().image);
        let world = World { ram, selected: self.world.selected };
        let (regs, pc, ticks) = (self.regs.clone(), self.pc, self.ticks);
        Self { engine: Engine::new(1), world, regs, pc, ticks }
    }

    /// Gives its engine to another machine, and takes that one's.
    fn lend_to(&mut self, other: &mut Self) {
        self.engine.part(&mut self.world.ram);
        Engine::meet(&mut other.world.ram);
        std::mem::swap(&mut self.engine, &mut other.engine);
    }

    fn seen(&self) -> Seen {
        let mut memory = 0_u64;
        let mut page = [0; 4096];
        for no in 0..PAGES {
            self.world.ram.read(PageNo(no).base(), &mut page).expect("in RAM");
            for word in page.as_chunks::<8>().0 {
                memory = (memory ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                memory ^= memory >> 29;
            }
        }
        let regs = std::array::from_fn(|reg| self.regs.0[reg]);
        Seen { pc: self.pc, ticks: self.ticks, regs, memory }
    }
}

/// Holds every tier, and a mixture of them, against the interpreter.
fn check(guest: &Guest, slices: u64, ticks: u64) {
    let mut reference = Machine::new(guest, Tiers::Interpreter);
    let compiled = |after| (after, Machine::new(guest, Tiers::Compiled { after }));
    let mut others = [0, 2, 8, 1].map(compiled);
    let mut pair = Pair { ahead: compiled(1).1, behind: None, before: None };
    for slice in 0..slices {
        reference.run(ticks + slice % 7);
        let want = reference.seen();
        for (after, machine) in &mut others {
            machine.run(ticks + slice % 7);
            assert_eq!(machine.seen(), want, "slice {slice} with code after {after}");
        }
        let seed = slice.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        others[3].1.engine.drop_caches(seed);
        pair.check(slice, |slice| ticks + slice % 7, want);
    }
    others.iter().for_each(|(_, machine)| is_bounded(machine));
    // What gets code is translated once more, perhaps once again to be interpreted where its code
    // is left, and not time and again.
    let translated = |machine: &Machine| {
        let counters = machine.engine.counters();
        counters.instructions_translated + counters.instructions_given_code
    };
    let (once, warm) = (translated(&reference), translated(&others[2].1));
    assert!(warm <= 3 * once + 2000, "{warm} instructions translated, not {once}");
}

/// A machine and a fork of it that is a slice behind, with one engine that goes from one to the
/// other.
struct Pair {
    ahead: Machine,
    behind: Option<Machine>,
    /// What the fork is to come to.
    before: Option<Seen>,
}

impl Pair {
    fn check(&mut self, slice: u64, ticks: impl Fn(u64) -> u64, want: Seen) {
        self.ahead.run(ticks(slice));
        assert_eq!(self.ahead.seen(), want, "slice {slice} of a machine with a fork");
        match (&mut self.behind, self.before.take()) {
            (Some(behind), Some(before)) => {
                self.ahead.lend_to(behind);
                behind.run(ticks(slice - 1));
                assert_eq!(behind.seen(), before, "slice {slice} of a fork");
                behind.lend_to(&mut self.ahead);
            }
            // From the next slice on it is one behind.
            (Some(_), None) => {}
            (None, _) => {
                self.behind = Some(self.ahead.fork());
                return;
            }
        }
        if slice.is_multiple_of(4) {
            self.ahead.world.ram.seal();
        }
        self.before = Some(want);
    }
}

/// What a guest can make an engine hold: blocks, of which one run of a test adds some; code, which
/// has an arena of 32 MiB; entries of the TLB, of which a vCPU has 16 MiB and what it began with.
fn is_bounded(machine: &Machine) {
    let held = machine.engine.counters();
    assert!(held.blocks_held_bytes < 256 << 20, "{held:?}");
    assert!(held.code_held_bytes <= 32 << 20, "{held:?}");
    assert!(held.tlb_held_bytes <= 28 << 20, "{held:?}");
}

/// The same for what takes long: machine code at once against the interpreter.
fn check_long(guest: &Guest, slices: u64, ticks: u64) {
    let mut reference = Machine::new(guest, Tiers::Interpreter);
    let mut compiled = Machine::new(guest, Tiers::Compiled { after: 0 });
    for slice in 0..slices {
        reference.run(ticks + slice);
        compiled.run(ticks + slice);
        assert_eq!(compiled.seen(), reference.seen(), "slice {slice}");
        is_bounded(&compiled);
    }
    if cfg!(target_arch = "x86_64") {
        assert!(compiled.engine.counters().code_flushes > 0, "nothing overflowed");
    }
}

/// Writes a byte of the instruction that comes next, in the block that runs.
fn writes_the_next_instruction() -> Guest {
    let program = [
        four(op::ADDI, 1, 1, 1),
        two(op::STORE1, 1, 2),
        four(op::ADDI, 3, 3, 7),
        four(op::ADDI, 4, 4, 3),
        four(op::JUMP, 0, 0, -14),
    ];
    let regs = vec![(2, CODE + 8)];
    Guest { pieces: vec![(CODE, program.concat())], regs, start: 0 }
}

/// Keeps a count beside its code, in a page that is all of code and data.
fn writes_beside_its_code(work: usize) -> Guest {
    let mut program = vec![two(op::STORE8, 1, 2), four(op::ADDI, 1, 1, 1)];
    program.extend((0..work).map(|at| two(op::ADD, 3 + (at % 3) as u8, 1)));
    let size = i16::try_from(program.concat().len()).expect("a short loop");
    program.push(four(op::JUMP, 0, 0, -size));
    Guest { pieces: vec![(CODE, program.concat())], regs: vec![(2, CODE + 0x800)], start: 0 }
}

/// Goes from the place of an instruction to another, by a register that leads there or directly.
fn goes(direct: bool, from: u64, reg: u8, to: u64) -> Vec<u8> {
    let by = i16::try_from(to.cast_signed() - from.cast_signed()).expect("near");
    if direct { four(op::JUMP, 0, 0, by) } else { two(op::GO, reg, 0) }
}

/// Runs a loop for so many rounds three times, changes it and begins anew, from another page.
fn writes_loops(often: i16, direct: bool) -> Guest {
    let writer = [
        // The number that the loop adds, then the count of rounds, then the loop.
        four(op::ADDI, 1, 1, 1),
        two(op::STORE1, 1, 2),
        four(op::ADDI, 5, 7, often),
        goes(direct, CODE + 10, 6, 0x3000),
    ];
    let mut hot = vec![four(op::ADDI, 3, 3, 1), four(op::ADDI, 5, 5, -1)];
    hot.extend((0..20).map(|at| two(op::ADD, 4, 3 + (at % 2) as u8)));
    let size = i16::try_from(hot.concat().len()).expect("a short loop");
    hot.push(four(op::NE, 5, 7, -size));
    hot.push(two(op::GO, 8, 0));
    let again = [
        four(op::ADDI, 9, 9, -1),
        four(op::NE, 9, 7, 6 - 0x24),
        four(op::ADDI, 9, 7, 3),
        four(op::JUMP, 0, 0, -0x2c),
    ];
    let pieces =
        vec![(CODE, writer.concat()), (CODE + 0x20, again.concat()), (0x3000, hot.concat())];
    Guest { pieces, regs: vec![(2, 0x3002), (6, 0x3000), (8, CODE + 0x20), (9, 3)], start: 0 }
}

/// Changes the second half of an instruction that lies across two pages, and runs it.
fn writes_across_pages() -> Guest {
    let start = 0x4000 - 10;
    let program = [
        four(op::ADDI, 1, 1, 1),
        two(op::STORE1, 1, 2),
        two(op::ADD, 4, 1),
        four(op::ADDI, 3, 3, 0x0101),
        two(op::GO, 6, 0),
    ];
    let pieces = vec![(start, program.concat())];
    Guest { pieces, regs: vec![(2, 0x4000), (6, start)], start }
}

/// Goes into instructions and between them in turns: each has two readings.
fn jumps_into_instructions() -> Guest {
    let mut program = vec![];
    for at in 0..200_i16 {
        let inner = i16::from_le_bytes([op::ADD, 0x34 + (at % 2) as u8 * 16]);
        program.push(four(op::ADDI, 3 + (at % 3) as u8, 4, inner));
    }
    // Out of step, the first byte is an operation's, and the jump's number is one as well.
    let size = program.concat().len() as u64;
    program.push(two(op::ADD, 7, 8));
    program.push(two(op::ADD, 6, 9));
    // The address of the next round changes by two, there and back.
    let out = [two(op::XOR, 9, 10), two(op::MUL, 10, 11), two(op::GO, 6, 0)];
    program.extend(out);
    let two_less = 2_u64.wrapping_neg();
    let regs = vec![(6, CODE), (9, 2), (10, two_less), (11, u64::MAX), (8, size)];
    Guest { pieces: vec![(CODE, program.concat())], regs, start: 0 }
}

/// Has two pages at one address by turns, by its table.
fn alternates_pages(direct: bool) -> Guest {
    let start = [
        two(op::STORE8, 1, 2),
        two(op::XOR, 5, 1),
        two(op::XOR, 1, 3),
        two(op::XOR, 3, 5),
        goes(direct, CODE + 8, 6, 3 << 12),
    ];
    let page = |by| {
        let mut code = vec![four(op::ADDI, 4, 4, by)];
        code.extend((0..12).map(|_| two(op::ADD, 7, 4)));
        code.push(two(op::GO, 8, 0));
        code.concat()
    };
    let pieces = vec![(CODE, start.concat()), (0xa000, page(3)), (0xb000, page(1000))];
    let regs = vec![(1, 10), (3, 11), (2, TABLE + 8 * 3), (6, 3 << 12), (8, CODE)];
    Guest { pieces, regs, start: 0 }
}

/// Changes the address space, and the mode, by a step each time round.
fn selects(step: u64) -> Guest {
    let (first, count) = OWN_PAGES;
    let mut pieces = vec![];
    for page in 0..count {
        let by = page as i16;
        let mut code = vec![two(op::ADD, 1, 2), two(op::SELECT, 3, 1)];
        code.push(four(op::ADDI, 4, 4, by));
        code.extend((0..20).map(|at| two(op::ADD, 5, 4 + at % 2)));
        code.push(two(op::XOR, 6, 5));
        code.push(two(op::STORE8, 6, 7));
        code.push(two(op::GO, 8, 0));
        pieces.push(((first + page) * PAGE_SIZE_U64, code.concat()));
    }
    let regs = vec![(2, step), (7, 0x5000), (8, OWN << 12)];
    Guest { pieces, regs, start: OWN << 12 }
}

/// One page, full, at all addresses in turn: code without an end.
fn goes_straight_on() -> Guest {
    // A load each that shares its probe with no other: that is the longest code.
    let place = |at: u8| [two(op::LOAD, 1 + at % 5, 2 + at % 3), two(op::ADD, 7, 8 - at % 2)];
    let page = (0..1024).flat_map(|at| place((at % 60) as u8).concat()).collect();
    let pieces = vec![(SAME_PAGE * PAGE_SIZE_U64, page)];
    Guest { pieces, regs: vec![(7, 1), (8, 3)], start: SAME }
}

/// One page at all addresses in turn, an instruction or two in each.
fn is_everywhere() -> Guest {
    let code = [two(op::ADD, 1, 2), two(op::GO, 1, 0)];
    let pieces = vec![(SAME_PAGE * PAGE_SIZE_U64, code.concat())];
    Guest { pieces, regs: vec![(1, SAME), (2, 0x1000)], start: SAME }
}

/// Goes to thousands of places in an order that nothing foresees.
fn goes_anywhere() -> Guest {
    let next = [
        two(op::MUL, 1, 2),
        two(op::ADD, 1, 3),
        two(op::XOR, 4, 1),
        two(op::SHR, 4, 5),
        two(op::ADD, 4, 4),
        two(op::ADD, 4, 4),
        two(op::ADD, 4, 4),
        two(op::ADD, 4, 6),
        two(op::GO, 4, 0),
    ];
    let places: Vec<u8> = (0..8192)
        .flat_map(|at: u32| [four(op::ADDI, 7, 7, at as i16), two(op::GO, 8, 0), vec![0, 0]])
        .flatten()
        .collect();
    let regs =
        vec![(1, 12345), (2, 6_364_136_223_846_793_005), (3, 1), (5, 51), (6, 0x2_0000), (8, CODE)];
    Guest { pieces: vec![(CODE, next.concat()), (0x2_0000, places)], regs, start: 0 }
}

#[test]
fn code_that_writes_its_next_instruction_runs_as_written() {
    check(&writes_the_next_instruction(), 60, 200);
}

#[test]
fn code_and_data_in_one_page_are_told_apart() {
    check(&writes_beside_its_code(40), 60, 400);
}

#[test]
fn loops_that_are_changed_and_run_again_run_as_written() {
    for often in [1, 7, 9, 12, 40, 41] {
        check(&writes_loops(often, often % 2 == 0), 40, 500);
    }
}

#[test]
fn code_that_never_lasts_is_not_made_time_and_again() {
    let mut machine = Machine::new(&writes_loops(4, true), Tiers::Compiled { after: 8 });
    machine.run(400_000);
    let counters = machine.engine.counters();
    assert!(counters.pages_dropped > 1000, "{counters:?}");
    assert!(counters.blocks_compiled < 100, "{counters:?}");
}

#[test]
fn an_instruction_across_pages_runs_as_written() {
    check(&writes_across_pages(), 60, 200);
}

#[test]
fn instructions_within_instructions_are_what_they_are_from_where_they_are_entered() {
    check(&jumps_into_instructions(), 40, 1500);
}

#[test]
fn two_pages_at_one_address_are_each_what_it_is_by_the_table() {
    check(&alternates_pages(false), 60, 400);
    check(&alternates_pages(true), 60, 400);
}

#[test]
fn address_spaces_and_modes_without_number_are_kept_apart() {
    for step in [1, 7, 0x1_0000, 0x1_0001, 0x3_0015] {
        check(&selects(step), 20, 3000);
    }
}

#[test]
fn code_without_an_end_overflows_every_cache_unnoticed() {
    check_long(&goes_straight_on(), 5, 300_001);
}

#[test]
fn a_page_at_addresses_without_number_overflows_every_cache_unnoticed() {
    check_long(&is_everywhere(), 4, 150_001);
}

#[test]
fn jumps_that_nothing_foresees_lead_where_they_should() {
    check(&goes_anywhere(), 20, 9001);
}

fn time(guest: &Guest, tiers: Tiers, slices: u64) -> Duration {
    let mut machine = Machine::new(guest, tiers);
    let begin = Instant::now();
    (0..slices).for_each(|_| machine.run(20_000));
    begin.elapsed()
}

#[test]
#[ignore = "a measurement, of use in release only: .ci/run makes it"]
#[allow(clippy::print_stdout, reason = "figures are what it is for")]
fn no_hostile_guest_gains_by_the_choice_of_tier() {
    let guests = [
        ("writes the next instruction", writes_the_next_instruction(), 50),
        ("writes beside its code, short", writes_beside_its_code(4), 50),
        ("writes beside its code, long", writes_beside_its_code(40), 50),
        ("writes loops, 5 rounds", writes_loops(5, false), 100),
        ("writes loops, 20 rounds", writes_loops(20, false), 100),
        ("writes loops, 70 rounds", writes_loops(70, false), 200),
        ("writes loops, 100 rounds", writes_loops(100, false), 200),
        ("writes loops, 300 rounds", writes_loops(300, false), 400),
        ("writes across pages", writes_across_pages(), 20),
        ("jumps into instructions", jumps_into_instructions(), 500),
        ("alternates pages", alternates_pages(false), 20),
        ("address spaces", selects(1), 100),
        ("modes", selects(0x1_0000), 100),
        ("address spaces and modes", selects(0x1_0001), 100),
        ("goes straight on", goes_straight_on(), 400),
        ("is everywhere", is_everywhere(), 50),
        ("goes anywhere", goes_anywhere(), 200),
    ];
    for (name, guest, slices) in guests {
        let of = |tiers| {
            let times = [0; 3].map(|_| time(&guest, tiers, slices));
            times.into_iter().min().expect("there are three").as_secs_f64()
        };
        let interpreter = of(Tiers::Interpreter);
        let ns = interpreter * 1e9 / (slices * 20_000) as f64;
        let at_once = Tiers::Compiled { after: 0 };
        let factors = [Tiers::default(), at_once].map(|tiers| of(tiers) / interpreter);
        println!("{name:32} {ns:9.1} ns {:6.2} {:6.2}", factors[0], factors[1]);
    }
}
