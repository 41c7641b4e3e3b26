//! The kind: what it says of itself, and how its machines are made.

use crate::asm;
use crate::boot::boot;
use crate::machine::{CAPS, CONSOLE, FILES, TYPED_MAX, Vm};
use crate::object::{self, IMAGE_MAX, Program};
use crate::state::{Cpu, HIGH, Io, LOW, RING, SLOTS, Wait, special};
use crate::world::World;
use omni_base::PAGE_SIZE_U64;
use omni_engine::Regs;
use omni_machine::{
    Confidence, CreateError, Group, KindInfo, Machine, MachineKind, OptionSpec, OptionType,
    PortInfo, PortKind, Region, Spec,
};
use omni_memory::{Memory, Space};
use omni_state::Bundle;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind `mmix`.
///
/// The console is port 0, files are port 1.
pub struct Mmix;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "memory",
        ty: OptionType::Size,
        default: "64M",
        about: "memory that a program can use, wherever its addresses are; 64K to 16G",
    },
    OptionSpec {
        name: "argv",
        ty: OptionType::Text,
        default: "program",
        about: "the program's name and arguments, with bytes of zero between",
    },
    OptionSpec {
        name: "echo",
        ty: OptionType::Flag,
        default: "false",
        about: "the console is a terminal in raw mode: what is typed is echoed and edited",
    },
];

static INFO: KindInfo = KindInfo {
    name: "mmix",
    group: Group::Process,
    about: "Knuth's MMIX, with the operating system of mmix-sim; programs as mmo and mms",
    arch: None,
    extensions: &["mmix1.0", "mmixal"],
    caps: CAPS,
    semantics: 1,
    options: OPTIONS,
    files: &["image"],
    bases: &[],
};

impl MachineKind for Mmix {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn probe(&self, image: &[u8]) -> Confidence {
        if object::is_object(image) || asm::is_program(image) {
            Confidence::Sure
        } else {
            Confidence::No
        }
    }

    fn ports(&self, _spec: &Spec) -> Result<Vec<PortInfo>, CreateError> {
        Ok(vec![
            PortInfo { id: CONSOLE, name: "console".into(), kind: PortKind::Console },
            PortInfo { id: FILES, name: "files".into(), kind: PortKind::Files },
        ])
    }

    fn signature(&self, _spec: &Spec) -> Option<Region> {
        None
    }

    fn create(&self, spec: &Spec) -> Result<Box<dyn Machine>, CreateError> {
        Ok(Box::new(build(spec)?))
    }

    fn restore(
        &self,
        spec: &Spec,
        spaces: Vec<Space>,
        mut records: Bundle,
    ) -> Result<Box<dyn Machine>, CreateError> {
        let (own, echo) = (blank_memory(spec)?, flag(spec, "echo")?);
        let same = |a: &Space, b: &Space| a.name() == b.name() && a.page_count() == b.page_count();
        if spaces.len() != 1 || !same(&spaces[0], &own.spaces[0]) {
            return Err(CreateError::Shape("its space is not that of these options"));
        }
        let program = program_of(spec)?;
        let cpu: Cpu = records.take("cpu")?;
        let io: Io = records.take("io")?;
        records.finish()?;
        let mut regs = Regs::default();
        let sound = cpu.slots.len() == SLOTS
            && cpu.middle.len() == usize::from(HIGH - LOW)
            && cpu.ring.len() == RING
            && cpu.idle <= cpu.tick
            && io.typed.len() <= TYPED_MAX
            && io.has_sound_files();
        if !sound {
            return Err(CreateError::Shape("its records are not those of this kind"));
        }
        regs.0[..SLOTS].copy_from_slice(&cpu.slots);
        let world = World::new(Memory { spaces }, cpu, io, echo);
        if !world.has_sound_pages() || !has_sound_stack(&regs) {
            return Err(CreateError::Shape("its memory or register stack cannot be"));
        }
        Ok(Box::new(Vm::new(spec.clone(), world, regs, program)))
    }
}

fn has_sound_stack(regs: &Regs) -> bool {
    let get = |number| regs.get(special::slot(number));
    let (g, l, o, s) = (get(special::G), get(special::L), get(special::O), get(special::S));
    let pushed = o.wrapping_sub(s);
    (32..=255).contains(&g) && l <= g && pushed <= 8 * RING as u64 && (o | s) % 8 == 0
}

/// A machine at tick zero.
pub(crate) fn build(spec: &Spec) -> Result<Vm, CreateError> {
    let (memory, echo) = (blank_memory(spec)?, flag(spec, "echo")?);
    let program = program_of(spec)?;
    let cpu = Cpu {
        tick: 0,
        idle: 0,
        pc: 0,
        slots: Vec::new(),
        middle: vec![0; usize::from(HIGH - LOW)],
        ring: Vec::new(),
        pages: Vec::new(),
        halted: None,
    };
    let io = Io {
        typed: Vec::new(),
        closed: false,
        files: BTreeMap::new(),
        wait: Wait::None,
        answer: None,
        refused: None,
        next_io: 0,
        io: 0,
        name: String::new(),
    };
    let mut world = World::new(memory, cpu, io, echo);
    let mut regs = Regs::default();
    let booted = boot(&mut world, &mut regs, &program, spec);
    booted.map_err(|fault| bad_file(fault.to_string()))?;
    Ok(Vm::new(spec.clone(), world, regs, program))
}

/// The program of a spec: an object file, or text that is assembled.
fn program_of(spec: &Spec) -> Result<Arc<Program>, CreateError> {
    let blob = spec.file("image").ok_or_else(|| bad_file("no program is given".into()))?;
    let bytes = blob.bytes().map_err(|error| bad_file(error.to_string()))?;
    if bytes.len() > IMAGE_MAX {
        return Err(bad_file(format!("it has more than {} MiB", IMAGE_MAX >> 20)));
    }
    let program = if object::is_object(&bytes) {
        object::load(&bytes).map_err(|error| bad_file(error.to_string()))?
    } else if bytes.len() > asm::TEXT_MAX {
        return Err(bad_file(format!("its text has more than {} MiB", asm::TEXT_MAX >> 20)));
    } else {
        asm::assemble(&bytes).map_err(|errors| bad_file(errors.to_string()))?
    };
    Ok(Arc::new(program))
}

fn blank_memory(spec: &Spec) -> Result<Memory, CreateError> {
    let bytes = spec.number("memory", 64 << 20)?;
    if !(64 << 10..=16 << 30).contains(&bytes) {
        return Err(bad("memory", format!("{bytes} is not within 64K to 16G")));
    }
    Ok(Memory { spaces: vec![Space::new("memory", bytes / PAGE_SIZE_U64)] })
}

fn flag(spec: &Spec, name: &str) -> Result<bool, CreateError> {
    match spec.option(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(bad(name, format!("'{other}' is neither true nor false"))),
    }
}

fn bad(name: &str, why: String) -> CreateError {
    CreateError::Option { name: name.into(), why }
}

fn bad_file(why: String) -> CreateError {
    CreateError::File { role: "image".into(), why }
}
