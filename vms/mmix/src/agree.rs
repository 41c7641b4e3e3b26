//! Tests that code of the engine does what the interpreter does, for every opcode.

use crate::kind::build;
use crate::machine::Vm;
use crate::state::{SLOTS, special};
use omni_base::Tick;
use omni_engine::Tiers;
use omni_machine::{Effect, Kick, Machine, Spec};

/// Where the instruction is.
const AT: u64 = 0x1000;

/// Numbers that look random, from a seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    /// A value of a register: often one that is a limit of something.
    fn value(&mut self) -> u64 {
        const LIMITS: [u64; 12] = [
            0,
            1,
            u64::MAX,
            1 << 63,
            (1 << 63) - 1,
            0x3fe0 << 48,
            0x7ff0 << 48,
            0x7ff1 << 48,
            0x7fef_ffff_ffff_ffff,
            0xabc,
            0x20 << 56,
            0x7f80_0000,
        ];
        match self.below(4) {
            0 => self.next(),
            1 => self.below(80),
            2 => (0x20 << 56) + self.below(4000),
            _ => LIMITS[self.below(12) as usize],
        }
    }
}

/// A machine before an instruction, all of it a function of the seed.
fn machine(seed: u64, opcode: u8) -> Vm {
    let mut spec = Spec::new("mmix");
    spec.files.insert("image".into(), b"Main SWYM\n".as_slice().into());
    spec.options.insert("memory".into(), "256K".into());
    let mut vm = build(&spec).expect("the program is sound");
    let mut from = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let global = [32, 70, 201, 240, 255][from.below(5) as usize];
    let local = from.below(global.min(40) + 1);
    let mut set = |number, value| vm.regs.set(special::slot(number), value);
    set(special::G, global);
    set(special::L, local);
    let enabled = if from.below(3) == 0 { from.below(256) << 8 } else { 0 };
    set(special::A, from.below(4) << 16 | enabled | from.below(256));
    for number in [special::D, special::E, special::M, special::P, special::X, special::W] {
        set(number, from.value());
    }
    set(special::J, 4 * from.below(1000));
    for register in 0..=255 {
        let marginal = u64::from(register) >= local && u64::from(register) < global;
        let value = if marginal { 0 } else { from.value() };
        vm.world.put(&mut vm.regs, register, value);
    }
    for at in (0..4096).step_by(8) {
        let value = from.value();
        vm.world.set_octa((0x20 << 56) + at, value).expect("there is room");
    }
    let mut field = || match from.below(3) {
        0 => from.below(8),
        1 => from.below(256),
        _ => 200 + from.below(56),
    };
    let fields = [field(), field(), field()].map(|field| field.to_le_bytes()[0]);
    let word = [opcode, fields[0], fields[1], fields[2]];
    vm.world.store(AT, &word).expect("there is room");
    vm.world.cpu.pc = AT;
    vm
}

fn state(vm: &mut Vm) -> (Vec<u64>, Vec<u64>, Vec<u64>, u64, Option<u64>) {
    let cpu = &vm.world.cpu;
    let slots = vm.regs.0[..SLOTS].to_vec();
    let mut all = cpu.middle.clone();
    all.extend(&cpu.ring);
    all.extend(&cpu.pages);
    let octas = cpu.pages.iter().flat_map(|page| (0..512).map(move |nth| page * 4096 + 8 * nth));
    let memory = octas.map(|at| vm.world.octa(at)).collect();
    (slots, all, memory, cpu.pc, cpu.halted)
}

#[test]
fn code_does_what_the_interpreter_does_for_every_opcode() {
    for opcode in 0..=255 {
        for round in 0..20 {
            let seed = u64::from(opcode) << 8 | round;
            let (mut one, mut other) = (machine(seed, opcode), machine(seed, opcode));
            if round % 2 == 0 {
                one.engine().set_tiers(Tiers::Compiled { after: 0 });
            }
            let mut effects: Vec<(Tick, Effect)> = Vec::new();
            one.run(Tick(1), &Kick::default(), &mut effects);
            other.interpret();
            let word = other.world.fetch(AT);
            assert!(state(&mut one) == state(&mut other), "{word:08x} of seed {seed}");
        }
    }
}

#[test]
fn registers_between_local_and_global_hold_zero_after_anything() {
    for seed in 0..2000u64 {
        let opcode = (seed * 7 % 256).to_le_bytes()[0];
        let mut vm = machine(seed, opcode);
        vm.interpret();
        let get = |number| vm.regs.get(special::slot(number));
        let (local, global) = (get(special::L), get(special::G));
        assert!(local <= global && (32..=255).contains(&global), "{opcode:#x}");
        for register in local..global {
            let value = vm.world.get(&vm.regs, register.to_le_bytes()[0]);
            assert_eq!(value, 0, "${register} after {opcode:#x} of seed {seed}");
        }
    }
}
