//! The engine under a toy guest: exact budgets, traps, yields, changing code and changing tables.

use omni_base::{Gpa, PageNo};
use omni_engine::{
    Access, At, Code, Context, Engine, Entry, Env, Exit, Flow, Frontend, HotSlots, Mapping, Mode,
    NOT_RESERVED, NanRule, RegSlot, Regs, Reply, Target,
};
use omni_ir::{Binary, Builder, Cond, Helper, Size, Slot, Trap};
use omni_memory::Space;

/// A guest of two-byte instructions: an operation and an operand.
///
/// `1 r`: r += 1. `2 r`: r = byte at r. `3 r`: byte at r = r0. `4 d`: jump by d. `5 d`: jump by d
/// if r0 != r1. `6 r`: helper, value into r. `7`: four bytes long, r2 += the fourth. Else: traps.
struct Toy;

impl Frontend for Toy {
    fn registers(&self) -> &'static [RegSlot] {
        &[RegSlot { slot: Slot(0), name: "r0", bits: 64 }]
    }
    fn float_flags(&self) -> Slot {
        Slot(100)
    }
    fn reservation(&self) -> Slot {
        Slot(101)
    }
    fn hot_slots(&self) -> HotSlots {
        HotSlots { integers: &[Slot(0), Slot(1), Slot(2)], floats: &[] }
    }
    fn nan_rule(&self) -> NanRule {
        NanRule::RiscV
    }
    fn code_moves(&self) -> bool {
        true
    }
    fn lower(&self, code: &Code, _mode: Mode, b: &mut Builder) -> Flow {
        let (op, arg) = (code.bytes[0], code.bytes[1]);
        let reg = Slot(arg & 15);
        let by = i64::from(arg.cast_signed()).cast_unsigned();
        if code.count < 2 || (op == 7 && code.count < 4) {
            return Flow::More;
        }
        match op {
            1 => b.binary(Binary::Add, reg, reg, 1),
            2 => b.load(Size::B1, false, reg, reg, 0),
            3 => b.store(Size::B1, reg, 0, Slot(0)),
            4 => b.jump(code.pc.wrapping_add(by)),
            5 => b.branch(Cond::Ne, Slot(0), Slot(1), code.pc.wrapping_add(by), code.pc + 2),
            6 => b.call(Helper(1), reg, [Slot(0).into(), 0.into(), 0.into()]),
            7 => {
                b.binary(Binary::Add, Slot(2), Slot(2), u64::from(code.bytes[3]));
                return Flow::Next(4);
            }
            _ => b.trap(2, u64::from(op)),
        }
        if matches!(op, 1 | 2 | 3 | 6) { Flow::Next(2) } else { Flow::End }
    }
}

/// RAM of 16 pages at virtual page n by the byte `table + n`, if a table is set; else as it is.
/// Virtual page 15 is a device.
struct World {
    ram: Space,
    table: Option<u64>,
    device: Vec<(u64, At)>,
    calls: u64,
}

impl World {
    fn new(code: &[u8]) -> Self {
        let mut ram = Space::new("ram", 16);
        ram.store(Gpa(0x1000), code).expect("fits");
        Self { ram, table: None, device: vec![], calls: 0 }
    }
}

/// Tables have entries of one byte.
fn mapping(target: Target, tables: [PageNo; 6], depth: u8) -> Mapping {
    let (load, store, keep) = (true, true, true);
    Mapping { target, load, store, keep, tables, depth, span: 12, entry_size: 0 }
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
        let page = at >> 12;
        if page == 15 {
            let target = Target::Device(Gpa(at));
            let tables = [PageNo(0); 6];
            return Ok(mapping(target, tables, 0));
        }
        if page > 15 {
            return Err(Trap { cause: 13, value: at });
        }
        let (mut to, mut depth, mut tables) = (page, 0, [PageNo(0); 6]);
        if let Some(table) = self.table {
            to = u64::from(self.ram.load::<1>(Gpa(table + page)).expect("in RAM")[0]);
            (tables[0], depth) = (Gpa(table).page(), 1);
        }
        let target = Target::Ram(PageNo(to));
        Ok(mapping(target, tables, depth))
    }
    fn device_load(&mut self, at: u64, _: Gpa, _: Size, when: At) -> Result<Reply, Trap> {
        self.device.push((at, when));
        Ok(Reply { value: 9, stop: true })
    }
    fn device_store(&mut self, at: u64, _: Gpa, _: Size, _: u64, w: At) -> Result<Reply, Trap> {
        self.device.push((at, w));
        Ok(Reply { value: 0, stop: false })
    }
    fn bad_atomic(&mut self, at: u64, _: Access) -> Trap {
        Trap { cause: 7, value: at }
    }
    fn call(&mut self, _: Helper, _: &mut Regs, a: [u64; 3], _: At) -> Result<Reply, Trap> {
        self.calls += 1;
        Ok(Reply { value: a[0] + 1, stop: false })
    }
}

fn entry(budget: u64) -> Entry {
    let context = Context::default();
    Entry { pc: 0x1000, mode: Mode(0), fetch: context, data: context, budget }
}

fn run(engine: &mut Engine, world: &mut World, regs: &mut Regs, budget: u64) -> Exit {
    engine.run(&Toy, 0, world, regs, entry(budget))
}

/// Runs on where the code asked to be looked at, until it traps.
fn run_to_trap(world: &mut World, regs: &mut Regs) -> Exit {
    let (mut engine, mut at, mut ticks) = (Engine::new(1), entry(99), 0);
    loop {
        let exit = engine.run(&Toy, 0, world, regs, at);
        (ticks, at.pc) = (ticks + exit.ticks, exit.pc);
        assert!(ticks < 1000);
        if exit.trap.is_some() {
            return Exit { ticks, ..exit };
        }
    }
}

#[test]
fn a_budget_stops_at_the_exact_instruction_wherever_blocks_end() {
    let code = [1, 0, 1, 2, 1, 0, 4, 2, 1, 3, 4, back(10)];
    for budget in 0..40 {
        let (mut engine, mut world) = (Engine::new(1), World::new(&code));
        let mut whole = Regs::default();
        let exit = run(&mut engine, &mut world, &mut whole, budget);
        assert_eq!((exit.ticks, exit.trap), (budget, None));
        let (mut engine, mut sliced) = (Engine::new(1), Regs::default());
        let mut at = entry(1);
        for _ in 0..budget {
            at.pc = engine.run(&Toy, 0, &mut world, &mut sliced, at).pc;
        }
        assert_eq!(at.pc, exit.pc);
        assert_eq!(whole.0[..16], sliced.0[..16]);
    }
}

#[test]
fn a_trap_in_a_block_is_precise() {
    let mut world = World::new(&[1, 3, 2, 4, 1, 3, 9, 9]);
    let mut regs = Regs::default();
    regs.set(Slot(4), 0x10_000);
    let exit = run(&mut Engine::new(1), &mut world, &mut regs, 99);
    let trap = Some(Trap { cause: 13, value: 0x10_000 });
    assert_eq!(exit, Exit { ticks: 1, pc: 0x1002, trap });
    assert_eq!(regs.get(Slot(3)), 1);
}

#[test]
fn an_access_that_asks_to_stop_ends_the_run_after_its_own_instruction() {
    let mut world = World::new(&[1, 3, 2, 4, 1, 3, 1, 3, 9, 9]);
    let mut regs = Regs::default();
    regs.set(Slot(4), 0xf010);
    let exit = run(&mut Engine::new(1), &mut world, &mut regs, 99);
    assert_eq!(exit, Exit { ticks: 2, pc: 0x1004, trap: None });
    assert_eq!((regs.get(Slot(4)), regs.get(Slot(3))), (9, 1));
    assert_eq!(world.device, [(0xf010, At { ticks: 1, pc: 0x1002 })]);
}

#[test]
fn code_that_overwrites_itself_runs_as_written() {
    // r0 = 9 becomes the operation of the instruction after next: a trap.
    let mut world = World::new(&[1, 5, 3, 6, 1, 5, 1, 5, 1, 5]);
    let mut regs = Regs::default();
    regs.set(Slot(0), 9);
    regs.set(Slot(6), 0x1006);
    let exit = run_to_trap(&mut world, &mut regs);
    let trap = Some(Trap { cause: 2, value: 9 });
    assert_eq!(exit, Exit { ticks: 3, pc: 0x1006, trap });
}

#[test]
fn a_changed_table_is_seen_without_any_fence() {
    // Loads from virtual page 4 twice, with a store to the table between.
    let code = [2, 4, 3, 6, 2, 5, 9, 9];
    let mut world = World::new(&code);
    let identity: Vec<u8> = (0..16).collect();
    world.ram.store(Gpa(0x8000), &identity).expect("fits");
    world.ram.store(Gpa(0x4000), &[0xaa]).expect("fits");
    world.ram.store(Gpa(0x9000), &[0xbb]).expect("fits");
    world.table = Some(0x8000);
    let mut regs = Regs::default();
    for (slot, value) in [(0, 9), (4, 0x4000), (5, 0x4000), (6, 0x8004)] {
        regs.set(Slot(slot), value);
    }
    let exit = run_to_trap(&mut world, &mut regs);
    assert_eq!(exit.trap, Some(Trap { cause: 2, value: 9 }));
    assert_eq!((regs.get(Slot(4)), regs.get(Slot(5))), (0xaa, 0xbb));
}

#[test]
fn a_page_that_moves_to_its_own_frame_is_read_there() {
    // Reads a zero page, writes it by another virtual page, reads it again.
    let mut world = World::new(&[2, 4, 3, 6, 2, 5, 9, 9]);
    let mut map: Vec<u8> = (0..16).collect();
    map[5] = 4;
    world.ram.store(Gpa(0x8000), &map).expect("fits");
    world.table = Some(0x8000);
    let mut regs = Regs::default();
    for (slot, value) in [(0, 0x77), (4, 0x4000), (5, 0x4000), (6, 0x5000)] {
        regs.set(Slot(slot), value);
    }
    run_to_trap(&mut world, &mut regs);
    assert_eq!((regs.get(Slot(4)), regs.get(Slot(5))), (0, 0x77));
}

#[test]
fn a_seal_between_runs_keeps_the_sealed_page_as_it_was() {
    let mut world = World::new(&[3, 6, 1, 0, 4, back(4)]);
    let (mut engine, mut regs) = (Engine::new(1), Regs::default());
    regs.set(Slot(6), 0x4000);
    run(&mut engine, &mut world, &mut regs, 4);
    let sealed = world.ram.seal();
    let page = sealed.image.get(PageNo(4)).expect("in memory").expect("written").clone();
    assert_eq!(page.bytes().expect("in memory")[0], 1);
    run(&mut engine, &mut world, &mut regs, 9);
    assert_eq!(page.bytes().expect("in memory")[0], 1);
    assert!(world.ram.dirty().contains(&PageNo(4)));
}

#[test]
fn an_instruction_across_pages_is_found_wherever_its_second_half_is() {
    let mut world = World::new(&[]);
    let mut map: Vec<u8> = (0..16).collect();
    world.ram.store(Gpa(0x8000), &map).expect("fits");
    world.ram.store(Gpa(0x1ffe), &[7, 0, 0, 5, 9, 9]).expect("fits");
    world.ram.store(Gpa(0x6000), &[0, 6, 9, 9]).expect("fits");
    world.table = Some(0x8000);
    let (mut engine, mut regs) = (Engine::new(1), Regs::default());
    let start = Entry { pc: 0x1ffe, ..entry(99) };
    let exit = engine.run(&Toy, 0, &mut world, &mut regs, start);
    assert_eq!((exit.ticks, exit.pc, regs.get(Slot(2))), (1, 0x2002, 5));
    map[2] = 6;
    world.ram.store(Gpa(0x8000), &map).expect("fits");
    let exit = engine.run(&Toy, 0, &mut world, &mut regs, start);
    assert_eq!((exit.ticks, exit.pc, regs.get(Slot(2))), (1, 0x2002, 11));
}

#[test]
fn dropping_caches_at_any_instruction_changes_nothing() {
    let code = [1, 0, 3, 6, 2, 7, 6, 3, 5, back(8), 9, 9];
    let fresh = || {
        let mut regs = Regs::default();
        for (slot, value) in [(1, 200), (6, 0x4000), (7, 0x4000), (101, NOT_RESERVED)] {
            regs.set(Slot(slot), value);
        }
        (World::new(&code), regs)
    };
    let (mut world, mut want) = fresh();
    run(&mut Engine::new(1), &mut world, &mut want, 500);
    let (mut world, mut regs) = fresh();
    let (mut engine, mut at) = (Engine::new(1), entry(1));
    for seed in 0..500 {
        let exit = engine.run(&Toy, 0, &mut world, &mut regs, at);
        at.pc = exit.pc;
        engine.drop_caches(seed);
        if exit.trap.is_some() {
            break;
        }
    }
    assert_eq!(want.0[..16], regs.0[..16]);
}

/// The operand of a jump backwards.
const fn back(by: u8) -> u8 {
    by.wrapping_neg()
}

#[test]
fn a_page_written_before_it_was_code_is_seen_when_written_again() {
    // Stores beside the code of the next page, goes there, and comes back.
    let mut world = World::new(&[]);
    world.ram.store(Gpa(0x1ffa), &[3, 6, 4, 4]).expect("fits");
    world.ram.store(Gpa(0x2000), &[1, 5, 4, back(8)]).expect("fits");
    let (mut engine, mut regs) = (Engine::new(1), Regs::default());
    let mut go = |regs: &mut Regs, budget| {
        let mut exit = Exit { ticks: 0, pc: 0x1ffa, trap: None };
        while exit.ticks < budget && exit.trap.is_none() {
            let at = Entry { pc: exit.pc, ..entry(budget - exit.ticks) };
            let next = engine.run(&Toy, 0, &mut world, regs, at);
            exit = Exit { ticks: exit.ticks + next.ticks, ..next };
        }
        exit
    };
    regs.set(Slot(0), 9);
    regs.set(Slot(6), 0x2010);
    assert_eq!(go(&mut regs, 8).trap, None);
    assert_eq!(regs.get(Slot(5)), 2);
    // The same store again, by the way it has been, now over an operation.
    regs.set(Slot(6), 0x2000);
    assert_eq!(go(&mut regs, 8).trap, Some(Trap { cause: 2, value: 9 }));
    assert_eq!(regs.get(Slot(5)), 2);
}

#[test]
fn a_store_beside_the_code_of_its_page_leaves_the_code() {
    // r0 += 1; byte at r1 = r0; again.
    let mut code = vec![1, 0, 3, 1, 4, back(4)];
    code.resize(64, 0);
    let (mut engine, mut world) = (Engine::new(1), World::new(&code));
    let mut regs = Regs::default();
    for (at, dropped) in [(0x1800, false), (0x1020, true)] {
        regs.set(Slot(1), at);
        let before = engine.counters().pages_dropped;
        let exit = run(&mut engine, &mut world, &mut regs, 100);
        assert_eq!(exit.trap, None);
        assert_eq!(engine.counters().pages_dropped > before, dropped, "{at:#x}");
    }
    assert_eq!(world.ram.load::<1>(Gpa(0x1800)).expect("in RAM"), [33]);
}
