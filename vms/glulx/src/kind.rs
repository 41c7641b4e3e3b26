//! The kind: what it says of itself, and how its machines are made.

use crate::control::seeded;
use crate::lower::{Front, STACK_AT, slot};
use crate::machine::{CAPS, CONSOLE, FILES, TYPED_MAX, Vm};
use crate::state::{Cpu, Glk, Wait};
use crate::story::{self, Layout, Story};
use crate::undo::{LEVELS_MAX, heap_is_sound};
use crate::world::{MEMORY, World};
use omni_base::Gpa;
use omni_engine::{NOT_RESERVED, Regs};
use omni_machine::{
    Confidence, CreateError, Group, KindInfo, Machine, MachineKind, OptionSpec, OptionType,
    PortInfo, PortKind, Region, Spec,
};
use omni_memory::{Memory, Space};
use omni_state::Bundle;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kind `glulx`.
///
/// The console is port 0, files are port 1.
pub struct Glulx;

/// What memory and undo may grow to where nothing else is said.
const MEMORY_DEFAULT: u64 = 64 << 20;

/// What a story and its stack may have at most.
const MEMORY_MAX: u64 = 1 << 30;
const STACK_MAX: u32 = 16 << 20;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "memory",
        ty: OptionType::Size,
        default: "64M",
        about: "what memory and undo may grow to, up to 1G; at least what the story begins with",
    },
    OptionSpec {
        name: "echo",
        ty: OptionType::Flag,
        default: "false",
        about: "the console is a terminal in raw mode: what is typed is echoed and edited",
    },
    OptionSpec {
        name: "undo",
        ty: OptionType::Number,
        default: "8",
        about: "levels of undo, 0 to 64; the oldest go where memory leaves no room",
    },
];

static INFO: KindInfo = KindInfo {
    name: "glulx",
    group: Group::Process,
    about: "Glulx 3.1.3 of large interactive fiction, with Glk as text",
    arch: None,
    extensions: &["3.1.3", "unicode", "heap", "acceleration", "floats", "doubles"],
    caps: CAPS,
    semantics: 1,
    options: OPTIONS,
    files: &["image"],
    bases: &[],
};

impl MachineKind for Glulx {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn probe(&self, image: &[u8]) -> Confidence {
        story::probe(image)
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
        let mut vm = blank(spec)?;
        let same = |a: &Space, b: &Space| a.name() == b.name() && a.page_count() == b.page_count();
        let own = &vm.world.memory.spaces;
        if spaces.len() != own.len() || !spaces.iter().zip(own).all(|(a, b)| same(a, b)) {
            return Err(CreateError::Shape("its spaces are not those of this story"));
        }
        vm.world.memory.spaces = spaces;
        vm.world.cpu = records.take("cpu")?;
        vm.world.glk = records.take("glk")?;
        records.finish()?;
        vm.world.now = vm.world.cpu.tick;
        let slots = vm.world.cpu.slots;
        vm.regs.0[..slots.len()].copy_from_slice(&slots);
        let front = Arc::make_mut(&mut vm.world.front);
        front.accelerated.clone_from(&vm.world.cpu.accelerated);
        check(&vm)?;
        Ok(Box::new(vm))
    }
}

/// A machine at tick zero.
pub(crate) fn build(spec: &Spec) -> Result<Vm, CreateError> {
    let mut vm = blank(spec)?;
    let story = vm.world.story.clone();
    let place = Gpa(vm.world.layout.delta.into());
    let stored = vm.world.memory.spaces[MEMORY].store(place, story.bytes());
    stored.expect("the space is as large as the story");
    let bad = |_| CreateError::File {
        role: "image".into(),
        why: "the function that it begins with is not one".into(),
    };
    vm.world.cpu.pc = vm.world.restart(&mut vm.regs).map_err(bad)?;
    vm.world.stop = false;
    Ok(vm)
}

/// A machine with empty spaces and records.
fn blank(spec: &Spec) -> Result<Vm, CreateError> {
    let no_image = || CreateError::File { role: "image".into(), why: "no story is given".into() };
    let story = Story::new(spec.file("image").ok_or_else(no_image)?)?;
    let least = u64::from(story.endmem);
    let room = spec.number("memory", MEMORY_DEFAULT)?;
    let too = |why: String| bad("memory", why);
    if room < least && spec.option("memory").is_none() {
        let why = format!(
            "the story begins with {least} bytes, more than the {room} it has if nothing is said; \
             ask for {least} or more"
        );
        return Err(too(why));
    }
    if room < least {
        return Err(too(format!("{room} bytes are less than the {least} of the story")));
    }
    if room > MEMORY_MAX {
        return Err(too(format!("{room} bytes are more than the {MEMORY_MAX} there can be")));
    }
    if story.stack_bytes > STACK_MAX {
        let why = format!("its stack has {} bytes, and {STACK_MAX} is the most", story.stack_bytes);
        return Err(CreateError::File { role: "image".into(), why });
    }
    let room = u32::try_from(room).expect("at most a gibibyte") & !0xff;
    let levels = spec.number("undo", 8)?;
    let fits = u32::try_from(levels).ok().filter(|_| levels <= LEVELS_MAX);
    let why = || bad("undo", format!("{levels} is not within 0 to {LEVELS_MAX}"));
    let levels = fits.ok_or_else(why)?;
    let layout = Layout::new(&story, room);
    let spaces = vec![
        Space::new("memory", layout.pages()),
        Space::new("undo", u64::from(levels) * layout.slot_pages()),
    ];
    let front =
        Front { delta: layout.delta, ramstart: layout.ramstart, accelerated: BTreeMap::new() };
    let world = World {
        memory: Memory { spaces },
        cpu: blank_cpu(spec, &story),
        glk: blank_glk(),
        began: 0,
        now: 0,
        effects: Vec::new(),
        stash: [0; 8],
        stop: false,
        work: Cell::new(0),
        tree: None,
        story,
        layout,
        front: Arc::new(front),
        levels,
        echo: flag(spec, "echo")?,
        ns_per_tick: u64::from(spec.ns_per_tick.max(1)),
        epoch_s: spec.epoch_s,
        seed: spec.seed,
    };
    let mut regs = Regs::default();
    regs.set(slot::RESERVATION, NOT_RESERVED);
    Ok(Vm::new(spec.clone(), world, regs))
}

fn blank_cpu(spec: &Spec, story: &Story) -> Cpu {
    let [low, high] = [spec.seed as u32, (spec.seed >> 32) as u32];
    Cpu {
        tick: 0,
        pc: 0,
        slots: [0; 16],
        endmem: story.endmem,
        iosys: (0, 0),
        string_table: story.table,
        protect: (0, 0),
        random: seeded(low ^ high.rotate_left(16)),
        entropy: spec.seed,
        native: true,
        heap_start: 0,
        heap: Vec::new(),
        accelerated: BTreeMap::new(),
        parameters: [0; 9],
        undo: Vec::new(),
        halted: None,
        checksum: story.checksum,
    }
}

/// The library as it is at the start.
pub(crate) fn blank_glk() -> Glk {
    Glk {
        next_object: 1,
        window: None,
        streams: BTreeMap::new(),
        files: BTreeMap::new(),
        current: 0,
        deleted: Vec::new(),
        period: 0,
        wake: 0,
        typed: Vec::new(),
        after_cr: false,
        line: Vec::new(),
        out: Vec::new(),
        flushed: 0,
        wait: Wait::None,
        dest: (0, 0),
        about: [0; 3],
        name: String::new(),
        bytes: Vec::new(),
        next_io: 0,
        io: 0,
    }
}

/// Refuses records that no machine of the spec can have.
fn check(vm: &Vm) -> Result<(), CreateError> {
    let world = &vm.world;
    let (cpu, glk, layout) = (&world.cpu, &world.glk, &world.layout);
    let stack = STACK_AT..=STACK_AT + u64::from(layout.stack_bytes);
    // Those that point into the stack may point anywhere above its start, as a story can have it.
    let pointers = cpu.slots[..4].iter().all(|slot| (STACK_AT..STACK_AT << 1).contains(slot));
    let sound_cpu = cpu.checksum == world.story.checksum
        && (world.story.endmem..=layout.endmem_max).contains(&cpu.endmem)
        && cpu.endmem.is_multiple_of(256)
        && cpu.iosys.0 <= 2
        && pointers
        && stack.contains(&cpu.slots[0])
        && heap_is_sound(cpu.heap_start, &cpu.heap, world.story.endmem..cpu.endmem)
        && cpu.accelerated.values().all(|number| crate::accel::FUNCTIONS.contains(number))
        && world.undo_is_sound();
    let sound_glk = glk.typed.len() <= TYPED_MAX && glk.flushed <= cpu.tick && glk.is_sound();
    if sound_cpu && sound_glk {
        Ok(())
    } else {
        Err(CreateError::Shape("its records are not those of this story and these options"))
    }
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
