//! Random guests that change their tables while they run see what a walk at each access gives.

use omni_base::{Gpa, PageNo};
use omni_engine::{
    Access, At, Code, Context, Engine, Entry, Env, Flow, Frontend, HotSlots, Mapping, Mode,
    NanRule, RegSlot, Regs, Reply, Target, Tiers,
};
use omni_ir::{AtomicOp, Binary, Builder, Helper, Size, Slot, Trap};
use omni_memory::Space;

/// Pages of RAM. The first few are tables, the last ones code, at the start.
const PAGES: u64 = 40;
const TABLES: u64 = 8;
const CODE: u64 = 30;

/// What programs take their constants from, by number: addresses, and entries of tables.
fn constant(no: u64) -> u64 {
    let mut random = Random(no | 1 << 20);
    let page = random.below(PAGES);
    match random.below(8) {
        // A place in a page of tables, by the window at the third top entry.
        0..=2 => WINDOW + random.below(TABLES) * 4096 + random.below(WIDTH) * 8,
        // A place anywhere near, perhaps across two pages.
        3 | 4 => address(&mut random) + random.below(4096),
        // A leaf, with or without its bits, or a pointer to a table.
        5 | 6 => page << 12 | random.next() & (LEAF | WRITE | SEEN) | VALID,
        _ => random.below(TABLES) << 12 | (random.next() & 3).min(VALID),
    }
}

const VALID: u64 = 1;
const LEAF: u64 = 2;
const WRITE: u64 = 4;
/// Set by the walk where it is clear.
const SEEN: u64 = 8;

/// Entries of a table that programs use: there and in the last ones.
const WIDTH: u64 = 6;
const WINDOW: u64 = 2 << 21;

/// An address that tables may map.
fn address(random: &mut Random) -> u64 {
    let (top, leaf) = (random.below(3), random.below(WIDTH));
    // At times one that shares a place in the TLB with another.
    let top = if random.below(3) == 0 { top | 511 << 9 } else { top };
    top << 21 | leaf << 12
}

#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Instructions of four bytes: an operation, a register, and a number.
struct Machine;

impl Frontend for Machine {
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
    fn lower(&self, code: &Code, _: Mode, b: &mut Builder) -> Flow {
        let Some(&[op, reg, low, high]) = code.bytes.first_chunk::<4>() else { return Flow::More };
        if code.count < 4 {
            return Flow::More;
        }
        let (reg, no) = (Slot(reg & 7), u64::from(low) | u64::from(high) << 8);
        let other = Slot(low & 7);
        let size = [Size::B1, Size::B4, Size::B8, Size::B8][usize::from(high & 3)];
        match op {
            0 => b.put(reg, constant(no)),
            1 | 2 => b.store(size, reg, 0, other),
            3 | 4 => b.load(size, false, Slot(10), reg, 0),
            5 => match high >> 2 & 3 {
                0 => b.load_reserved(Size::B4, Slot(10), reg),
                1 => b.store_conditional(Size::B4, Slot(10), reg, other),
                _ => b.atomic(AtomicOp::Swap, Size::B8, Slot(10), reg, other),
            },
            6 => {
                b.binary(Binary::Mul, Slot(11), Slot(11), 0x9e37_79b9_7f4a_7c15);
                b.binary(Binary::Xor, Slot(11), Slot(11), Slot(10));
                // Where it is, in some way that moves as the block does, and in another.
                b.address(Slot(12), code.pc.wrapping_sub(no << 4));
                b.binary(Binary::And, Slot(13), Slot(12), !7);
                b.binary(Binary::Shr, Slot(12), Slot(12), 9);
                b.binary(Binary::Add, Slot(11), Slot(11), Slot(12));
                b.binary(Binary::Xor, Slot(11), Slot(11), Slot(13));
            }
            7 => {
                let to = b.temp();
                b.address(to, code.pc);
                b.deposit(to, to, no & 0xfffc, (0, 16));
                b.indirect(to);
            }
            8 => b.indirect(address(&mut Random(no))),
            9 => b.jump(code.pc.wrapping_add((no & 0x1ffc).wrapping_sub(0x1000))),
            _ => b.trap(2, code.pc),
        }
        if op < 7 { Flow::Next(4) } else { Flow::End }
    }
}

struct World {
    ram: Space,
    root: u64,
}

impl World {
    fn entry(&mut self, at: u64) -> u64 {
        u64::from_le_bytes(self.ram.load(Gpa(at)).expect("tables are in RAM"))
    }

    fn see(&mut self, place: u64, entry: u64) {
        if entry & SEEN == 0 {
            let amended = self.ram.amend(Gpa(place), entry, entry | SEEN);
            assert_eq!(amended, Ok(true), "tables are in RAM, and nobody else writes");
        }
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
    fn translate(&mut self, at: u64, _: Size, access: Access) -> Result<Mapping, Trap> {
        let trap = Trap { cause: access as u64, value: at };
        let (mut table, mut tables) = (self.root, [PageNo(0); 6]);
        for (depth, span) in [(1_u8, 30), (2, 21), (3, 12)] {
            tables[usize::from(depth) - 1] = PageNo(table);
            let place = table << 12 | (at >> span & 511) << 3;
            let entry = self.entry(place);
            let to = entry >> 12;
            if entry & VALID == 0 || to >= PAGES {
                return Err(trap);
            }
            if entry & LEAF != 0 || span == 12 {
                if access == Access::Store && entry & WRITE == 0 {
                    return Err(trap);
                }
                self.see(place, entry);
                let page = (to + (at >> 12 & ((1 << (span - 12)) - 1))) % PAGES;
                let (target, store) = (Target::Ram(PageNo(page)), entry & WRITE != 0);
                let (load, keep, entry_size) = (true, true, 3);
                return Ok(Mapping { target, load, store, keep, tables, depth, span, entry_size });
            }
            table = to;
        }
        Err(trap)
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
    fn call(&mut self, _: Helper, _: &mut Regs, _: [u64; 3], _: At) -> Result<Reply, Trap> {
        Ok(Reply::default())
    }
}

/// RAM with tables that map what programs use, and pages of random programs.
fn ram(random: &mut Random) -> Space {
    let mut ram = Space::new("ram", PAGES);
    let mut put = |at: u64, value: u64| ram.store(Gpa(at), &value.to_le_bytes()).expect("fits");
    // Two roots, over one or two middle tables each, over leaf tables.
    for root in [0, 1] {
        put(root << 12, (2 + root) << 12 | VALID);
        put(root << 12 | 511 << 3, 3 << 12 | VALID);
        put((2 + root) << 12, 4 << 12 | VALID);
        put((2 + root) << 12 | 8, (5 + root) << 12 | VALID);
        // The window on the tables is a large page.
        put((2 + root) << 12 | 16, VALID | LEAF | WRITE | SEEN);
    }
    for table in 4..TABLES {
        for nth in 0..WIDTH {
            let page = if random.below(2) == 0 { random.below(PAGES) } else { CODE + nth };
            put(table << 12 | nth << 3, page << 12 | VALID | LEAF | random.next() & (WRITE | SEEN));
        }
    }
    for page in CODE..PAGES {
        for place in 0..1024 {
            let op = match random.below(30) {
                0..=8 => 0,
                op @ 9..=26 => 1 + (op - 9) / 3,
                27 => 8,
                28 => 9,
                _ => 7,
            };
            let no = if op == 0 { random.below(256) } else { random.next() & 0xffff };
            let word = op | random.below(8) << 8 | no << 16;
            let bytes = (word as u32).to_le_bytes();
            ram.store(Gpa(page << 12 | place << 2), &bytes).expect("fits");
        }
    }
    ram
}

/// One vCPU of two that share all memory.
#[derive(Default)]
struct Vcpu {
    regs: Regs,
    pc: u64,
}

/// Runs so many random slices, each by `run`, and gives all that can be seen.
fn play(
    seed: u64,
    mut run: impl FnMut(&mut World, usize, &mut Regs, Entry) -> (u64, bool),
) -> String {
    let mut random = Random(seed);
    let mut world = World { ram: ram(&mut random), root: 0 };
    let mut vcpus = [Vcpu::default(), Vcpu::default()];
    let mut seen = String::new();
    for slice in 0..120 {
        let vcpu = random.below(2) as usize;
        let at = &mut vcpus[vcpu];
        world.root = random.below(2);
        let context = |no: u64| Context([world.root, no]);
        let entry = Entry {
            pc: at.pc,
            mode: Mode(0),
            fetch: context(random.below(3)),
            data: context(random.below(4)),
            budget: 1 + random.below(60),
        };
        let (pc, trapped) = run(&mut world, vcpu, &mut at.regs, entry);
        // A trap goes to some other code.
        at.pc = if trapped { address(&mut random) + random.below(1024) * 4 } else { pc };
        match random.below(40) {
            0 => drop(world.ram.seal()),
            1 => {
                let place = random.below(TABLES) << 12 | random.below(WIDTH) << 3;
                let value = constant(random.below(256));
                world.ram.store(Gpa(place), &value.to_le_bytes()).expect("fits");
            }
            _ => {}
        }
        let regs = &at.regs.0[..16];
        seen += &format!("{slice} {vcpu} {pc:x} {trapped} {regs:x?}\n");
    }
    seen += &format!("{:?}\n", world.ram.seal().image.digest());
    seen
}

#[test]
fn guests_that_change_their_tables_see_what_each_walk_would_give() {
    let (mut ticks, mut traps, mut moved) = (0, 0, 0);
    for seed in 0..150 {
        let mut engine = Engine::new(2);
        if seed % 3 > 0 {
            engine.set_tiers(Tiers::Compiled { after: 2 * (seed % 3) as u32 - 2 });
        }
        let kept = play(seed, |world, vcpu, regs, entry| {
            let mut at = entry;
            loop {
                let exit = engine.run(&Machine, vcpu, world, regs, at);
                (at.pc, at.budget) = (exit.pc, at.budget - exit.ticks);
                ticks += exit.ticks;
                traps += u64::from(exit.trap.is_some());
                if exit.trap.is_some() || at.budget == 0 {
                    break (exit.pc, exit.trap.is_some());
                }
            }
        });
        moved += engine.counters().blocks_moved;
        let mut engine = Engine::new(2);
        let fresh = play(seed, |world, vcpu, regs, entry| {
            let mut at = Entry { budget: 1, ..entry };
            for _ in 0..entry.budget {
                // A new engine is surest, and slow.
                if seed % 50 == 0 {
                    engine = Engine::new(2);
                } else {
                    engine.drop_caches(0);
                }
                let exit = engine.run(&Machine, vcpu, world, regs, at);
                at.pc = exit.pc;
                if exit.trap.is_some() {
                    return (exit.pc, true);
                }
            }
            (at.pc, false)
        });
        let differs = kept.lines().zip(fresh.lines()).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
    }
    // The programs do run: not everything traps at once.
    assert!(ticks > 10 * traps, "{ticks} ticks, {traps} traps");
    assert!(moved > 10 || !Tiers::can_compile(), "{moved} blocks moved");
}

#[test]
fn code_in_a_page_that_is_amended_as_a_table_is_read_again() {
    let mut ram = ram(&mut Random(0));
    // By the window, page 7 is code: a constant, and a trap.
    let code = |no: u64| no << 16 | 255 << 32;
    let pc = WINDOW + 7 * 4096;
    ram.store(Gpa(7 * 4096), &code(4).to_le_bytes()).expect("fits");
    let mut world = World { ram, root: 0 };
    let (mut engine, mut regs) = (Engine::new(1), Regs::default());
    let context = Context([0, 0]);
    let entry = Entry { pc, mode: Mode(0), fetch: context, data: context, budget: 9 };
    for no in [5, 6, 7] {
        assert_eq!(world.ram.amend(Gpa(7 * 4096), code(no - 1), code(no)), Ok(true));
        let exit = engine.run(&Machine, 0, &mut world, &mut regs, entry);
        assert_eq!((exit.ticks, regs.get(Slot(0))), (1, constant(no)));
    }
}

#[test]
fn a_load_reserved_whose_walk_changes_the_code_has_all_its_effects() {
    for tiers in [Tiers::Interpreter, Tiers::Compiled { after: 0 }] {
        let mut ram = ram(&mut Random(0));
        let word = |op: u64, no: u64| ((op | no << 16) as u32).to_le_bytes();
        // The code is in the table of what it reads, by an entry that no walk has seen.
        let (pc, at) = (WINDOW + 5 * 4096 + 2048, 1 << 21);
        let entry = (20 << 12 | VALID | LEAF | WRITE).to_le_bytes();
        ram.store(Gpa(5 * 4096), &entry).expect("fits");
        ram.store(Gpa(5 * 4096 + 2048), &[word(5, 0), word(255, 0)].concat()).expect("fits");
        ram.store(Gpa(20 * 4096), &0xffff_fff0_u32.to_le_bytes()).expect("fits");
        let mut world = World { ram, root: 0 };
        let (mut engine, mut regs) = (Engine::new(1), Regs::default());
        engine.set_tiers(tiers);
        regs.set(Slot(0), at);
        let context = Context([0, 0]);
        let entry = Entry { pc, mode: Mode(0), fetch: context, data: context, budget: 1 };
        let exit = engine.run(&Machine, 0, &mut world, &mut regs, entry);
        assert_eq!((exit.ticks, exit.trap), (1, None));
        assert!(engine.counters().pages_dropped > 0);
        assert_eq!((regs.get(Slot(10)), regs.get(Slot(101))), (15_u64.wrapping_neg() - 1, at));
    }
}
