//! Code of the same bytes at many addresses: what it does at each is what the interpreter does.

use omni_base::{Gpa, PageNo};
use omni_engine::{
    Access, At, Code, Context, Engine, Entry, Env, Flow, Frontend, HotSlots, Mapping, Mode,
    NanRule, RegSlot, Regs, Reply, Target, Tiers,
};
use omni_ir::{Binary, Builder, Cond, Helper, Size, Slot, Trap, Width};
use omni_memory::Space;

/// Pages of RAM, which are at every address again and again.
const PAGES: u64 = 8;

/// Where code runs: so far apart, in so many places.
const APART: u64 = 0x7_1234_5000 & !0x7fff;
const PLACES: u64 = 24;

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

/// Registers that hold data, and those that hold addresses.
fn data(reg: u8) -> Slot {
    Slot(reg % 6)
}

fn place(reg: u8) -> Slot {
    Slot(6 + reg % 4)
}

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
        HotSlots { integers: &[Slot(0), Slot(1), Slot(2), Slot(6), Slot(7)], floats: &[] }
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
        let number = i64::from(i16::from_le_bytes([low, high])).cast_unsigned();
        let (d, s, p, q) = (data(reg), data(low), place(reg), place(low));
        let near = code.pc.wrapping_add(number << 2);
        match op {
            0 => b.address(p, code.pc.wrapping_add(number)),
            1 => b.binary(Binary::Add, p, q, u64::from(high) << 12),
            2 => b.binary(Binary::And, p, q, !0xff),
            3 => b.binary(Binary::Xor, d, s, q),
            4 => b.sized(Binary::Add, Width::Signed32, d, q, number),
            5 => b.binary(Binary::Mul, d, s, d),
            6 => b.load(Size::B8, false, d, q, 0),
            7 => b.store(Size::B4, q, i32::from(high) << 2, d),
            8 => b.call(Helper(1), d, [q.into(), s.into(), 7.into()]),
            9 => b.put(p, q),
            10 => b.binary(Binary::Shr, d, q, 12),
            11 => b.binary(Binary::Sub, d, p, q),
            // Calls, near and by a register, and returns.
            12 => {
                b.address(Slot(6), code.pc.wrapping_add(4));
                b.jump(near);
            }
            13 => {
                let to = b.temp();
                b.binary(Binary::And, to, q, !3);
                b.address(Slot(6), code.pc.wrapping_add(4));
                b.indirect(to);
            }
            14 => b.branch(Cond::LtU, d, s, near, code.pc.wrapping_add(4)),
            15 => b.branch(Cond::Ne, d, Slot(10), near, code.pc.wrapping_add(4)),
            16 => {
                let to = b.temp();
                b.address(to, code.pc.wrapping_add(4));
                b.stop(to);
            }
            17 => b.indirect(Slot(6)),
            18 => b.indirect(APART + (number << 2 & 0x7ffc)),
            _ => b.trap(2, code.pc),
        }
        if op < 12 { Flow::Next(4) } else { Flow::End }
    }
}

struct World {
    ram: Space,
    calls: u64,
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
        if at >> 40 != 0 {
            return Err(Trap { cause: access as u64, value: at });
        }
        let target = Target::Ram(PageNo(at >> 12 & (PAGES - 1)));
        let (load, store, keep, tables) = (true, true, true, [PageNo(0); 6]);
        Ok(Mapping { target, load, store, keep, tables, depth: 0, span: 12, entry_size: 3 })
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
    fn call(&mut self, _: Helper, _: &mut Regs, a: [u64; 3], at: At) -> Result<Reply, Trap> {
        self.calls = (self.calls ^ a[0]).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at.pc;
        Ok(Reply { value: a[1].wrapping_add(a[2]), stop: a[1] & 7 == 7 })
    }
}

/// RAM of random programs.
fn ram(random: &mut Random) -> Space {
    let mut ram = Space::new("ram", PAGES);
    for at in (0..PAGES << 12).step_by(4) {
        let op = match random.below(40) {
            op @ 0..=35 => op / 2,
            36..=38 => 0,
            _ => 18 + random.below(2),
        };
        let number = match op {
            // Most jumps are near, many of them back.
            12 | 14 | 15 if random.below(8) > 0 => random.below(60).wrapping_sub(40),
            // Stores go where they rarely write code that runs.
            7 => random.below(0x20) << 8 | random.below(256),
            0 => random.below(0x4000).wrapping_sub(0x2000) & !3,
            _ => random.next(),
        };
        let word = op | random.below(256) << 8 | (number & 0xffff) << 16;
        ram.store(Gpa(at), &(word as u32).to_le_bytes()).expect("fits");
    }
    ram
}

/// Runs slices in random places, and gives all that can be seen.
fn play(seed: u64, engine: &mut Engine) -> String {
    let mut random = Random(seed);
    let mut world = World { ram: ram(&mut random), calls: 0 };
    let (mut regs, mut seen) = (Regs::default(), String::new());
    let somewhere = |random: &mut Random| {
        random.below(PLACES) * APART + random.below(PAGES << 10) * 4 % (PAGES << 12)
    };
    let mut pc = somewhere(&mut random);
    for slice in 0..400 {
        let context = Context([random.below(2), 0]);
        let budget = 1 + random.below(300);
        let mut entry = Entry { pc, mode: Mode(0), fetch: context, data: context, budget };
        let trapped = loop {
            let exit = engine.run(&Machine, 0, &mut world, &mut regs, entry);
            (entry.pc, entry.budget) = (exit.pc, entry.budget - exit.ticks);
            if exit.trap.is_some() || entry.budget == 0 {
                break exit.trap;
            }
        };
        let (left, regs) = (entry.budget, &regs.0[..10]);
        seen += &format!("{slice} {:x} {left} {trapped:?} {regs:x?}\n", entry.pc);
        pc = if trapped.is_some() || random.below(3) == 0 {
            somewhere(&mut random)
        } else {
            entry.pc
        };
    }
    seen + &format!("{:x} {:?}\n", world.calls, world.ram.seal().image.digest())
}

#[test]
fn code_that_was_moved_does_what_the_interpreter_does_there() {
    let (mut moved, mut linked) = (0, 0);
    for seed in 0..60 {
        let mut plain = Engine::new(1);
        plain.set_tiers(Tiers::Interpreter);
        let expected = play(seed, &mut plain);
        let mut engine = Engine::new(1);
        engine.set_tiers(Tiers::Compiled { after: (seed % 3) as u32 });
        let found = play(seed, &mut engine);
        let differs = expected.lines().zip(found.lines()).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        moved += engine.counters().blocks_moved;
        linked += engine.counters().exits_linked;
    }
    let enough = moved > 1_000 && linked > 3_000;
    assert!(enough || !Tiers::can_compile(), "{moved} blocks moved, {linked} exits linked");
}

/// Two instructions, and where to.
const PROGRAM: [u32; 3] = [0x0010_0000, 0x0000_0001, 0x0000_0010];

#[test]
fn a_stop_at_one_address_is_none_at_another_of_the_same_bytes() {
    let mut world = World { ram: Space::new("ram", PAGES), calls: 0 };
    for (at, word) in PROGRAM.iter().enumerate() {
        world.ram.store(Gpa(4 * at as u64), &word.to_le_bytes()).expect("fits");
    }
    let mut engine = Engine::new(1);
    engine.set_tiers(Tiers::Compiled { after: 0 });
    let mut run = |engine: &mut Engine, pc: u64| {
        let context = Context([0, 0]);
        let entry = Entry { pc, mode: Mode(0), fetch: context, data: context, budget: 2 };
        let exit = engine.run(&Machine, 0, &mut world, &mut Regs::default(), entry);
        (exit.ticks, exit.pc.wrapping_sub(pc), engine.take_caught().is_some())
    };
    let (here, there) = (APART, 5 * APART);
    assert_eq!(run(&mut engine, here).1, run(&mut engine, there).1);
    engine.set_stops(&[there + 4], &[]);
    assert_eq!(run(&mut engine, here).0, 2);
    assert_eq!(run(&mut engine, there).0, 1);
    assert_eq!(run(&mut engine, here).0, 2);
    engine.set_stops(&[], &[]);
    assert_eq!(run(&mut engine, there).0, 2);
}
