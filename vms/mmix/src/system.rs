//! The simple operating system: what `TRAP 0,f,h` does (Fascicle 1, input and output).
//!
//! A call that has to wait has no effect, and is made again when what it waits for is there.

use crate::alu::Operands;
use crate::exec::{Next, Place};
use crate::fault::Fault;
use crate::machine::{CONSOLE, FILES};
use crate::opcode::Inst;
use crate::state::{File, Wait, may, special};
use crate::world::{PRIVILEGED, World};
use omni_engine::Regs;
use omni_machine::{Effect, IoId, IoOp, IoRequest};

/// Bytes that one call reads or writes at most.
pub(crate) const CALL_MAX: u64 = 1 << 20;

/// Bytes of all files that are open, at most.
pub(crate) const FILES_MAX: usize = 64 << 20;

/// Bytes of a name, at most.
const NAME_MAX: u64 = 4096;

/// What a failing call gives.
const FAILED: u64 = u64::MAX;

/// The texts of the warnings for trips without a handler, in the order of handlers.
const WARNINGS: [&str; 9] = [
    "TRIP",
    "integer divide check",
    "integer overflow",
    "float-to-fix overflow",
    "invalid floating point operation",
    "floating point overflow",
    "floating point underflow",
    "floating point division by zero",
    "floating point inexact",
];

/// What a call has come to.
enum Call {
    /// Its result.
    Done(u64),
    /// It waits.
    Wait,
    /// The program ends.
    Halt,
}

impl World {
    /// Runs a `TRAP`.
    pub(crate) fn system(
        &mut self,
        regs: &mut Regs,
        inst: Inst,
        operands: Operands,
        place: Place,
    ) -> Result<Next, Fault> {
        if inst.x != 0 || inst.y > 10 {
            return Err(Fault::Privileged(inst.word()));
        }
        let base = operands.b;
        let first = self.octa(base);
        let second = self.octa(base.wrapping_add(8));
        let call = match inst.y {
            0 => self.halt(regs, inst, place, base)?,
            1 => self.open(inst.z, first, second),
            2 => self.close(inst.z),
            3 => self.read(inst.z, first, second)?,
            4 => self.read_line(inst.z, first, second, 1)?,
            5 => self.read_line(inst.z, first & !1, second, 2)?,
            6 => Call::Done(self.write(inst.z, first, second)),
            7 => Call::Done(self.put_text(inst.z, base, 1)),
            8 => Call::Done(self.put_text(inst.z, base, 2)),
            9 => Call::Done(self.seek(inst.z, base)),
            _ => Call::Done(self.tell(inst.z)),
        };
        let result = match call {
            Call::Wait => return Ok(Next::Wait),
            Call::Done(result) => result,
            Call::Halt => base,
        };
        let mut set = |number, value| regs.set(special::slot(number), value);
        set(special::WW, place.next);
        set(special::XX, PRIVILEGED | u64::from(inst.word()));
        set(special::YY, operands.y);
        set(special::ZZ, operands.z);
        set(special::BB, result);
        self.put(regs, 255, result);
        Ok(if matches!(call, Call::Halt) { Next::Halt(base) } else { Next::At(place.next) })
    }

    fn halt(&mut self, regs: &Regs, inst: Inst, place: Place, code: u64) -> Result<Call, Fault> {
        match inst.z {
            0 => {}
            1 if place.at < 0x90 => {
                let at = regs.get(special::slot(special::W)).wrapping_sub(4);
                let text = WARNINGS[usize::try_from(place.at >> 4).expect("below nine")];
                if self.io.files.get(&2).is_some_and(|file| file.console) {
                    self.print(format!("Warning: {text} at location {at:016x}\n").as_bytes());
                }
                return Ok(Call::Done(code));
            }
            _ => return Err(Fault::Privileged(inst.word())),
        }
        self.take_answer();
        let mut open = self.io.files.iter();
        let Some((&handle, _)) = open.find(|(_, file)| file.dirty) else { return Ok(Call::Halt) };
        self.save_file(handle);
        Ok(Call::Wait)
    }

    /// Takes what was waited for: bytes, or nothing where it failed.
    fn take_answer(&mut self) -> Option<Option<Vec<u8>>> {
        let refused = self.io.refused.take();
        let answer = self.io.answer.take();
        if refused.is_none() && answer.is_none() {
            return None;
        }
        Some(answer.filter(|_| refused.is_none()))
    }

    /// The request in flight.
    pub(crate) fn request(&self) -> Option<Effect> {
        let name = self.io.name.clone();
        let op = match self.io.wait {
            Wait::None | Wait::Input => return None,
            Wait::Load => IoOp::LoadFile { name },
            Wait::Save(handle) => {
                let bytes = self.io.files.get(&handle).map(|file| file.bytes.clone());
                IoOp::SaveFile { name, bytes: bytes.unwrap_or_default() }
            }
        };
        Some(Effect::Io(IoRequest { id: IoId(self.io.io), port: FILES, op }))
    }

    fn ask(&mut self, wait: Wait, name: String) {
        (self.io.wait, self.io.name) = (wait, name);
        self.io.io = self.io.next_io;
        self.io.next_io += 1;
        self.effects.extend(self.request());
    }

    fn save_file(&mut self, handle: u8) {
        let Some(file) = self.io.files.get_mut(&handle) else { return };
        // Whether or not it can be written, it is not tried again.
        file.dirty = false;
        let name = file.name.clone();
        self.ask(Wait::Save(handle), name);
    }

    fn is_dirty(&self, handle: u8) -> bool {
        self.io.files.get(&handle).is_some_and(|file| file.dirty)
    }

    fn open(&mut self, handle: u8, name: u64, mode: u64) -> Call {
        let bytes = self.text(name, NAME_MAX, 1);
        let name = String::from_utf8_lossy(&bytes).into_owned();
        if mode > 4 || bytes.len() as u64 == NAME_MAX || name.is_empty() {
            self.io.files.remove(&handle);
            return Call::Done(FAILED);
        }
        if self.is_dirty(handle) {
            self.save_file(handle);
            return Call::Wait;
        }
        let reads = mode == 0 || mode == 2;
        let answer = self.take_answer();
        // What is open under this handle was written before; its answer is not this file.
        let content = match (reads, self.io.files.contains_key(&handle), answer) {
            (false, ..) => Some(Vec::new()),
            (true, false, Some(answer)) => answer,
            (true, ..) => {
                self.io.files.remove(&handle);
                self.ask(Wait::Load, name);
                return Call::Wait;
            }
        };
        let held: usize = self.io.files.values().map(|file| file.bytes.len()).sum();
        let fits = |bytes: &Vec<u8>| held + bytes.len() <= FILES_MAX;
        let Some(bytes) = content.filter(fits) else {
            self.io.files.remove(&handle);
            return Call::Done(FAILED);
        };
        let may = [
            may::READ,
            may::WRITE,
            may::READ | may::SEEK,
            may::WRITE | may::SEEK,
            may::READ | may::WRITE | may::SEEK | may::BOTH,
        ][usize::try_from(mode).expect("at most four")];
        let file = File { may, console: false, dirty: !reads, name, bytes, at: 0 };
        self.io.files.insert(handle, file);
        Call::Done(0)
    }

    fn close(&mut self, handle: u8) -> Call {
        if self.is_dirty(handle) {
            self.save_file(handle);
            return Call::Wait;
        }
        let answer = self.take_answer();
        let failed = matches!(answer, Some(None)) || self.io.files.remove(&handle).is_none();
        self.io.files.remove(&handle);
        Call::Done(if failed { FAILED } else { 0 })
    }

    /// A file that may be read: from now on one that could be both is read.
    fn reader(&mut self, handle: u8) -> Option<&mut File> {
        let file = self.io.files.get_mut(&handle).filter(|file| file.may & may::READ != 0)?;
        if file.may & may::BOTH != 0 {
            file.may &= !may::WRITE;
        }
        Some(file)
    }

    fn writer(&mut self, handle: u8) -> Option<&mut File> {
        let file = self.io.files.get_mut(&handle).filter(|file| file.may & may::WRITE != 0)?;
        if file.may & may::BOTH != 0 {
            file.may &= !may::READ;
        }
        Some(file)
    }

    /// What is left to read of a file, or of the console, where it may be read.
    fn readable(&mut self, handle: u8) -> Option<(&[u8], bool)> {
        let file = self.reader(handle)?;
        if file.console {
            return Some((&self.io.typed, true));
        }
        let file = self.io.files.get(&handle)?;
        let at = usize::try_from(file.at).ok()?.min(file.bytes.len());
        Some((&file.bytes[at..], false))
    }

    fn take_bytes(&mut self, handle: u8, count: usize) {
        match self.io.files.get_mut(&handle) {
            Some(file) if !file.console => file.at += count as u64,
            _ => drop(self.io.typed.drain(..count)),
        }
    }

    fn read(&mut self, handle: u8, buffer: u64, size: u64) -> Result<Call, Fault> {
        let failed = Call::Done(FAILED.wrapping_sub(size));
        if size > CALL_MAX {
            return Ok(failed);
        }
        let closed = self.io.closed;
        let Some((left, console)) = self.readable(handle) else { return Ok(failed) };
        let wanted = usize::try_from(size).expect("at most CALL_MAX");
        if console && left.len() < wanted && !closed {
            self.io.wait = Wait::Input;
            return Ok(Call::Wait);
        }
        let bytes = left[..wanted.min(left.len())].to_vec();
        self.put_bytes(buffer, &bytes)?;
        self.take_bytes(handle, bytes.len());
        Ok(Call::Done((bytes.len() as u64).wrapping_sub(size)))
    }

    /// Reads up to the end of a line, in characters of one or two bytes.
    fn read_line(
        &mut self,
        handle: u8,
        buffer: u64,
        size: u64,
        width: usize,
    ) -> Result<Call, Fault> {
        if size == 0 {
            return Ok(Call::Done(FAILED));
        }
        let closed = self.io.closed;
        let Some((left, console)) = self.readable(handle) else { return Ok(Call::Done(FAILED)) };
        let room = usize::try_from((size - 1).min(CALL_MAX)).expect("at most CALL_MAX");
        let end = |unit: &[u8]| unit.iter().rev().eq(b"\n\0"[..width].iter());
        let units = left.chunks_exact(width).take(room);
        let found = units.clone().position(end).map(|at| at + 1);
        let count = found.unwrap_or(units.len());
        if found.is_none() && count < room && console && !closed {
            self.io.wait = Wait::Input;
            return Ok(Call::Wait);
        }
        if count == 0 && room > 0 && width == 1 {
            return Ok(Call::Done(FAILED));
        }
        let mut bytes = left[..count * width].to_vec();
        self.take_bytes(handle, count * width);
        bytes.extend(std::iter::repeat_n(0, width));
        self.put_bytes(buffer, &bytes)?;
        Ok(Call::Done(count as u64))
    }

    /// Puts bytes into memory.
    pub(crate) fn put_bytes(&mut self, mut at: u64, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let room = 8 - at % 8;
            let count = usize::try_from(room).expect("at most eight").min(bytes.len());
            self.store(at, &bytes[..count])?;
            bytes = &bytes[count..];
            at = at.wrapping_add(count as u64);
        }
        Ok(())
    }

    /// The bytes of a text, up to a character of zero or `most` bytes.
    fn text(&self, mut at: u64, most: u64, width: u64) -> Vec<u8> {
        at &= !(width - 1);
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < most {
            let unit: [u8; 2] = if width == 1 { [0, self.load::<1>(at)[0]] } else { self.load(at) };
            if unit == [0, 0] {
                break;
            }
            bytes.extend_from_slice(if width == 1 { &unit[1..] } else { &unit });
            at = at.wrapping_add(width);
        }
        bytes
    }

    fn write(&mut self, handle: u8, buffer: u64, size: u64) -> u64 {
        let failed = size.wrapping_neg();
        if size > CALL_MAX || self.writer(handle).is_none() {
            return failed;
        }
        let byte = |at: u64| self.load::<1>(buffer.wrapping_add(at))[0];
        let bytes: Vec<u8> = (0..size).map(byte).collect();
        if self.write_bytes(handle, &bytes) { 0 } else { failed }
    }

    fn put_text(&mut self, handle: u8, at: u64, width: u64) -> u64 {
        if self.writer(handle).is_none() {
            return FAILED;
        }
        let bytes = self.text(at, CALL_MAX, width);
        if self.write_bytes(handle, &bytes) { bytes.len() as u64 / width } else { FAILED }
    }

    fn write_bytes(&mut self, handle: u8, bytes: &[u8]) -> bool {
        let held: usize = self.io.files.values().map(|file| file.bytes.len()).sum();
        let Some(file) = self.io.files.get_mut(&handle) else { return false };
        if file.console {
            self.print(bytes);
            return true;
        }
        let Ok(at) = usize::try_from(file.at) else { return false };
        let end = at.saturating_add(bytes.len());
        if held.saturating_add(end.saturating_sub(file.bytes.len())) > FILES_MAX {
            return false;
        }
        if file.bytes.len() < end {
            file.bytes.resize(end, 0);
        }
        file.bytes[at..end].copy_from_slice(bytes);
        (file.at, file.dirty) = (end as u64, true);
        true
    }

    /// Writes to the console.
    pub(crate) fn print(&mut self, bytes: &[u8]) {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if byte == b'\n' && self.echo {
                out.push(b'\r');
            }
            out.push(byte);
        }
        if let Some(Effect::Output { bytes, .. }) = self.effects.last_mut() {
            bytes.extend_from_slice(&out);
        } else if !out.is_empty() {
            self.effects.push(Effect::Output { port: CONSOLE, bytes: out });
        }
    }

    fn seek(&mut self, handle: u8, offset: u64) -> u64 {
        let file = self.io.files.get_mut(&handle).filter(|file| file.may & may::SEEK != 0);
        let Some(file) = file else { return FAILED };
        if file.may & may::BOTH != 0 {
            file.may |= may::READ | may::WRITE;
        }
        let end = (file.bytes.len() as u64).cast_signed();
        let offset = offset.cast_signed();
        let at = if offset < 0 { end.checked_add(offset + 1) } else { Some(offset) };
        let fits = at.filter(|at| (0..1 << 31).contains(at));
        let Some(at) = fits else { return FAILED };
        file.at = at.cast_unsigned();
        0
    }

    fn tell(&self, handle: u8) -> u64 {
        let file = self.io.files.get(&handle).filter(|file| file.may & may::SEEK != 0);
        file.map_or(FAILED, |file| file.at)
    }
}
