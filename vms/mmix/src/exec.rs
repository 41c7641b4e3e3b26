//! The interpreter: any one instruction, exactly. Code of the engine leaves to it what is rare.

use crate::alu::{self, Operands};
use crate::fault::Fault;
use crate::float::{self, exception as e};
use crate::opcode::{Inst, field, op};
use crate::state::special;
use crate::world::{PRIVILEGED, TEXT_END, World, global, local};
use omni_engine::Regs;

/// What comes of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The address of the next one.
    At(u64),
    /// The instruction waits and has had no effect.
    Wait,
    /// The program has ended.
    Halt(u64),
}

/// Where an instruction is, and what follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) at: u64,
    pub(crate) next: u64,
}

/// The exceptions that count: exact underflow does only where its trip is enabled.
pub(crate) fn seen(exc: u32, ra: u64) -> u32 {
    let exact = exc & (e::U | e::X) == e::U && ra & u64::from(e::U) == 0;
    if exact { exc & !e::U } else { exc }
}

fn sp(regs: &Regs, number: u8) -> u64 {
    regs.get(special::slot(number))
}

fn set_sp(regs: &mut Regs, number: u8, value: u64) {
    regs.set(special::slot(number), value);
}

/// What an instruction is to do with its result.
struct Done {
    next: u64,
    x: Option<u64>,
    exc: u32,
    /// What a trip of it shows in rY and rZ.
    shown: (u64, u64),
}

impl World {
    /// Runs the instruction at the counter.
    pub(crate) fn step(&mut self, regs: &mut Regs) -> Result<Next, Fault> {
        let at = self.cpu.pc;
        let inst = Inst::of(self.fetch(at));
        let place = Place { at, next: at.wrapping_add(4) };
        if inst.op == op::RESUME {
            return self.resume(regs, inst, place);
        }
        self.execute(regs, inst, place, None)
    }

    /// Runs an instruction; `given` are operands in place of its own.
    fn execute(
        &mut self,
        regs: &mut Regs,
        inst: Inst,
        place: Place,
        given: Option<Operands>,
    ) -> Result<Next, Fault> {
        if place.at >= TEXT_END {
            return Err(Fault::Privileged(inst.word()));
        }
        let operands = given.unwrap_or_else(|| self.operands(regs, inst));
        if inst.op == op::TRAP {
            return self.system(regs, inst, operands, place);
        }
        if inst.has(field::DEST) {
            self.grow(regs, inst.x);
        }
        let done = self.perform(regs, inst, operands, place)?;
        self.finish(regs, inst, done)
    }

    /// Puts the result where it belongs, and takes a trip where one is due.
    fn finish(&mut self, regs: &mut Regs, inst: Inst, done: Done) -> Result<Next, Fault> {
        if let Some(x) = done.x {
            self.put(regs, inst.x, x);
        }
        let ra = sp(regs, special::A);
        let mut exc = seen(done.exc, ra);
        let trips = exc & ((ra as u32 & 0xff00) | e::H);
        let mut next = done.next;
        if trips != 0 {
            let first = 31 - trips.leading_zeros();
            exc &= !(1 << first);
            set_sp(regs, special::W, next);
            next = u64::from(16 - first) << 4;
            set_sp(regs, special::X, PRIVILEGED | u64::from(inst.word()));
            set_sp(regs, special::Y, done.shown.0);
            set_sp(regs, special::Z, done.shown.1);
            set_sp(regs, special::B, self.get(regs, 255));
            let rj = sp(regs, special::J);
            self.put(regs, 255, rj);
        }
        set_sp(regs, special::A, sp(regs, special::A) | u64::from(exc >> 8));
        Ok(Next::At(next))
    }

    fn operands(&self, regs: &Regs, inst: Inst) -> Operands {
        let mut operands = Operands::default();
        if inst.has(field::X) {
            operands.b = self.get(regs, inst.x);
        }
        if let Some(number) = alu::third(inst.family(), inst.op) {
            operands.b = sp(regs, number);
        }
        operands.y = match () {
            () if inst.has(field::Y) => self.get(regs, inst.y),
            () if (0xe4..=0xef).contains(&inst.op) => operands.b,
            // A constant: of NEG, or a mode of rounding.
            () => u64::from(inst.y),
        };
        operands.z = match () {
            () if inst.has(field::Z) => self.get(regs, inst.z),
            () if (0xe0..=0xef).contains(&inst.op) => inst.wyde(),
            () => u64::from(inst.z),
        };
        if matches!(inst.op, op::TRIP | op::TRAP) {
            operands.b = self.get(regs, 255);
        }
        operands
    }

    fn perform(
        &mut self,
        regs: &mut Regs,
        inst: Inst,
        operands: Operands,
        place: Place,
    ) -> Result<Done, Fault> {
        let Operands { y, z, b } = operands;
        let word = inst.word();
        let mut done = Done { next: place.next, x: None, exc: 0, shown: (y, z) };
        match inst.op {
            0x01..=0x3f | 0x60..=0x7f | op::OR..=0xef => {
                if alu::has_rounding_field(inst.op) && y > 4 {
                    return Err(Fault::Illegal(word));
                }
                let result = alu::run(inst.op, operands, sp(regs, special::A) >> 16);
                if let Some((number, value)) = result.aux {
                    set_sp(regs, number, value);
                }
                (done.x, done.exc) = (Some(result.x), result.exc);
            }
            0x40..=0x5f if alu::holds(inst.op, b) => done.next = inst.target(place.at),
            0x80..=0xbf => self.memory_access(regs, inst, operands, &mut done)?,
            op::JMP | 0xf1 => done.next = inst.target(place.at),
            op::PUSHJ | 0xf3 => {
                self.push(regs, inst.x)?;
                set_sp(regs, special::J, place.at.wrapping_add(4));
                done.next = inst.target(place.at);
            }
            op::GETA | 0xf5 => done.x = Some(inst.target(place.at)),
            op::PUT | 0xf7 => self.put_special(regs, inst, z)?,
            op::POP => {
                self.pop(regs, inst.x)?;
                done.next = sp(regs, special::J).wrapping_add(inst.yz() << 2);
            }
            op::SAVE => {
                if inst.x < global(regs) || inst.yz() != 0 {
                    return Err(Fault::Illegal(word));
                }
                done.x = Some(self.save_all(regs)?);
            }
            op::UNSAVE => {
                if inst.x != 0 || inst.y != 0 {
                    return Err(Fault::Illegal(word));
                }
                self.unsave_all(regs, z);
            }
            op::SYNC => match (inst.x, inst.y, inst.z) {
                (0, 0, 0..=3) => {}
                (0, 0, 4..=7) => return Err(Fault::Privileged(word)),
                _ => return Err(Fault::Illegal(word)),
            },
            op::GET => done.x = Some(self.get_special(regs, inst)?),
            op::TRIP => done.exc = e::H,
            _ => {}
        }
        Ok(done)
    }

    /// Loads, stores and what else has an address that is a sum.
    fn memory_access(
        &mut self,
        regs: &mut Regs,
        inst: Inst,
        Operands { y, z, b }: Operands,
        done: &mut Done,
    ) -> Result<(), Fault> {
        let at = y.wrapping_add(z);
        match inst.family() {
            op::LDVTS => return Err(Fault::Privileged(inst.word())),
            op::PRELD | 0x9c | op::SYNCD | 0xba | 0xbc => return Ok(()),
            op::GO => {
                (done.x, done.next) = (Some(done.next), at);
                return Ok(());
            }
            op::PUSHGO => {
                let back = done.next;
                self.push(regs, inst.x)?;
                set_sp(regs, special::J, back);
                done.next = at;
                return Ok(());
            }
            _ => {}
        }
        if at >= PRIVILEGED {
            return Err(Fault::Privileged(inst.word()));
        }
        // A page that is looked at is in use from then on, as it is for code of the engine.
        self.locate(at)?;
        match inst.family() {
            op::CSWAP => {
                let old = self.octa(at);
                let swaps = old == sp(regs, special::P);
                if swaps {
                    self.set_octa(at, b)?;
                } else {
                    set_sp(regs, special::P, old);
                }
                done.x = Some(swaps.into());
            }
            op::LDB..=op::LDHT | op::LDUNC => done.x = Some(self.load_value(inst, at)),
            _ => {
                let (bytes, exc) = stored_value(inst, b, sp(regs, special::A) >> 16);
                let size = 1 << size_log(inst);
                self.store(at & !(size as u64 - 1), &bytes[8 - size..])?;
                done.exc = exc;
                done.shown = (at, b);
            }
        }
        Ok(())
    }

    fn load_value(&self, inst: Inst, at: u64) -> u64 {
        let signed = inst.op & 2 == 0;
        let short = self.fetch(at);
        match inst.family() {
            op::LDSF => return float::load_short(short.into()),
            op::LDHT => return u64::from(short) << 32,
            _ => {}
        }
        let octa = self.octa(at);
        let size = 1u32 << size_log(inst);
        let low = (at & 7 & !u64::from(size - 1)) as u32;
        let left = octa << (8 * low);
        let shift = 64 - 8 * size;
        if signed { (left.cast_signed() >> shift).cast_unsigned() } else { left >> shift }
    }

    fn get_special(&mut self, regs: &mut Regs, inst: Inst) -> Result<u64, Fault> {
        if inst.y != 0 || inst.z >= special::COUNT {
            return Err(Fault::Illegal(inst.word()));
        }
        self.settle(regs)?;
        let retired = self.cpu.tick.wrapping_sub(self.cpu.idle);
        Ok(match inst.z {
            special::I => sp(regs, special::I).wrapping_sub(retired),
            special::U => retired & ((1 << 47) - 1),
            number => sp(regs, number),
        })
    }

    fn put_special(&mut self, regs: &mut Regs, inst: Inst, value: u64) -> Result<(), Fault> {
        let illegal = Fault::Illegal(inst.word());
        if inst.y != 0 || inst.x >= special::COUNT {
            return Err(illegal);
        }
        match inst.x {
            special::N..=special::S => return Err(illegal),
            special::I..=special::V => return Err(Fault::Privileged(inst.word())),
            special::A if value >= 1 << 18 => return Err(illegal),
            special::L => {
                self.settle(regs)?;
                self.shrink(regs, value);
                return Ok(());
            }
            special::G => {
                if value > 255 || value < local(regs) || value < 32 {
                    return Err(illegal);
                }
                // Those that are no longer global, or are from now on, hold zero.
                let (old, new) = (global(regs), value.to_le_bytes()[0]);
                for register in old.min(new)..old.max(new) {
                    self.put(regs, register, 0);
                }
            }
            _ => {}
        }
        set_sp(regs, inst.x, value);
        Ok(())
    }

    /// Goes back from a trip, and runs what rX says before (section 3 of the manual).
    fn resume(&mut self, regs: &mut Regs, inst: Inst, place: Place) -> Result<Next, Fault> {
        let illegal = Fault::Illegal(inst.word());
        if place.at >= TEXT_END {
            return Err(Fault::Privileged(inst.word()));
        }
        if inst.x != 0 || inst.yz() != 0 {
            return Err(illegal);
        }
        let (next, rx) = (sp(regs, special::W), sp(regs, special::X));
        if rx >= PRIVILEGED {
            return Ok(Next::At(next));
        }
        let resumed = Inst::of(rx as u32);
        let marginal = u64::from(resumed.x) >= local(regs) && resumed.x < global(regs);
        let code = rx >> 56;
        let wrong = match code {
            0 => false,
            1 => 0x8f30 >> (resumed.op >> 4) & 1 == 1 || marginal,
            2 => marginal,
            _ => true,
        };
        if wrong || resumed.op == op::RESUME {
            return Err(illegal);
        }
        let place = Place { at: next.wrapping_sub(4), next };
        let (y, z) = (sp(regs, special::Y), sp(regs, special::Z));
        match code {
            0 => self.execute(regs, resumed, place, None),
            1 => self.execute(regs, resumed, place, Some(Operands { y, z, b: 0 })),
            _ if place.at >= TEXT_END => Err(Fault::Privileged(resumed.word())),
            _ => {
                let exc = (rx >> 32) as u32 & 0xff00;
                self.grow(regs, resumed.x);
                self.finish(regs, resumed, Done { next, x: Some(z), exc, shown: (z, 0) })
            }
        }
    }
}

/// Log2 of the bytes that a load or store is of.
fn size_log(inst: Inst) -> u32 {
    match inst.family() {
        op::LDSF | op::LDHT | op::STSF | op::STHT => 2,
        op::LDUNC | op::STCO | op::STUNC => 3,
        _ => u32::from(inst.op >> 2 & 3),
    }
}

/// What a store puts into memory, in its last bytes, and the exceptions.
fn stored_value(inst: Inst, value: u64, round: u64) -> ([u8; 8], u32) {
    let (out, exc) = match inst.family() {
        op::STSF => float::store_short(value, float::direction(round)),
        op::STHT => (value >> 32, 0),
        op::STCO => (inst.x.into(), 0),
        op::STUNC => (value, 0),
        _ => {
            let shift = 64 - (8 << size_log(inst));
            let same = ((value << shift).cast_signed() >> shift).cast_unsigned() == value;
            (value, if inst.op & 2 == 0 && !same { e::V } else { 0 })
        }
    };
    (out.to_be_bytes(), exc)
}
