//! The kind: what it says of itself, and how its machines are made.

use crate::inspect::Stops;
use crate::machine::{CAPS, CODE_BYTES, CONSOLE, FILES, Mode, TYPED_MAX, Vm};
use crate::memory::{MEMORY, UNDO};
use crate::ops::Table;
use crate::ops_io::TABLES_MAX;
use crate::output::WORD_MAX;
use crate::stack::{DEPTH_MAX, STACK_PAGES, STACK_WORDS};
use crate::state::{Cpu, Input, Screen, Wait};
use crate::story::{self, Story};
use crate::undo::{LEVELS_MAX, SLOT_PAGES};
use omni_base::{Gpa, PAGE_SIZE_U64};
use omni_machine::{
    Confidence, CreateError, Group, KindInfo, Machine, MachineKind, OptionSpec, OptionType,
    PortInfo, PortKind, Region, Spec,
};
use omni_memory::{Memory, Space};
use omni_state::Bundle;

/// The kind `zmachine`.
///
/// The console is port 0, save files are port 1.
pub struct ZMachine;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "width",
        ty: OptionType::Number,
        default: "80",
        about: "columns of the screen, 20 to 255",
    },
    OptionSpec {
        name: "height",
        ty: OptionType::Number,
        default: "24",
        about: "rows of the screen, 10 to 255",
    },
    OptionSpec {
        name: "echo",
        ty: OptionType::Flag,
        default: "false",
        about: "the console is a terminal in raw mode: what is typed is echoed and edited",
    },
    OptionSpec {
        name: "screen",
        ty: OptionType::Text,
        default: "auto",
        about: "dumb: changed rows before each input, as dfrotz; stream: text as it comes; \
                auto: stream with echo, dumb without",
    },
    OptionSpec {
        name: "undo",
        ty: OptionType::Number,
        default: "16",
        about: "levels of undo, 0 to 256",
    },
];

static INFO: KindInfo = KindInfo {
    name: "zmachine",
    group: Group::Process,
    about: "the Z-machine of interactive fiction, by the Standard 1.1",
    arch: None,
    extensions: &["z1", "z2", "z3", "z4", "z5", "z7", "z8"],
    caps: CAPS,
    semantics: 1,
    options: OPTIONS,
    files: &["image"],
    bases: &[],
};

impl MachineKind for ZMachine {
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
        let own = &vm.memory.spaces;
        if spaces.len() != own.len() || !spaces.iter().zip(own).all(|(a, b)| same(a, b)) {
            return Err(CreateError::Shape("its spaces are not those of this story"));
        }
        vm.memory.spaces = spaces;
        vm.cpu = records.take("cpu")?;
        vm.input = records.take("input")?;
        let screen: Screen = records.take("screen")?;
        records.finish()?;
        check(&vm, &screen)?;
        vm.screen = screen;
        Ok(Box::new(vm))
    }
}

/// A machine at tick zero.
pub(crate) fn build(spec: &Spec) -> Result<Vm, CreateError> {
    let mut vm = blank(spec)?;
    let bytes = vm.story.bytes.clone();
    let stored = vm.memory.spaces[MEMORY].store(Gpa(0), &bytes);
    stored.expect("the space is as large as the story");
    vm.cpu.dynamic_bytes = vm.story.dynamic_bytes;
    let started = vm.restart();
    started.expect("the header is in dynamic memory, and the stack is empty");
    Ok(vm)
}

/// A machine with empty spaces and records.
fn blank(spec: &Spec) -> Result<Vm, CreateError> {
    let no_image = || CreateError::File { role: "image".into(), why: "no story is given".into() };
    let story = Story::new(spec.file("image").ok_or_else(no_image)?)?;
    let columns = ranged(spec, "width", 80, 20, 255)?;
    let rows = ranged(spec, "height", 24, 10, 255)?;
    let levels = ranged(spec, "undo", 16, 0, LEVELS_MAX)?;
    let echo = flag(spec, "echo")?;
    let mode = match spec.option("screen").unwrap_or("auto") {
        "dumb" => Mode::Dumb,
        "stream" => Mode::Stream,
        "auto" if echo => Mode::Stream,
        "auto" => Mode::Dumb,
        other => return Err(bad("screen", format!("'{other}' is not auto, dumb or stream"))),
    };
    let pages = u64::from(story.len()).div_ceil(PAGE_SIZE_U64);
    let spaces = vec![
        Space::new("memory", pages),
        Space::new("stack", STACK_PAGES),
        Space::new("undo", u64::from(levels) * SLOT_PAGES),
    ];
    Ok(Vm {
        spec: spec.clone(),
        mode,
        echo,
        undo_levels: levels,
        memory: Memory { spaces },
        cpu: blank_cpu(spec),
        input: blank_input(),
        screen: blank_screen(columns, rows),
        out: Vec::new(),
        request: None,
        code: [0; CODE_BYTES],
        code_at: 0,
        code_bytes: 0,
        table: Table::of(story.version),
        story,
        stops: Stops::default(),
    })
}

fn blank_cpu(spec: &Spec) -> Cpu {
    Cpu {
        tick: 0,
        pc: 0,
        fp: 0,
        sp: 0,
        locals: 0,
        args: 0,
        depth: 0,
        interrupt: 0,
        random: spec.seed,
        interval: 0,
        counter: 0,
        halted: None,
        undo: Vec::new(),
        dynamic_bytes: 0,
    }
}

fn blank_input() -> Input {
    Input {
        typed: Vec::new(),
        line: Vec::new(),
        preset: 0,
        swallow: false,
        after_cr: false,
        wait: Wait::None,
        text: 0,
        parse: 0,
        routine: 0,
        period: 1,
        wake: 0,
        next_io: 0,
        io: 0,
        name: String::new(),
        bytes: Vec::new(),
    }
}

fn blank_screen(columns: u32, rows: u32) -> Screen {
    Screen {
        columns,
        rows,
        window: 0,
        upper_rows: 0,
        cursors: [(0, 0); 3],
        style: 0,
        buffered: true,
        lines: 0,
        word: Vec::new(),
        cells: Vec::new(),
        to_screen: true,
        tables: Vec::new(),
    }
}

/// Refuses records that no machine of the spec can have.
fn check(vm: &Vm, screen: &Screen) -> Result<(), CreateError> {
    let own = &vm.screen;
    let (cpu, input) = (&vm.cpu, &vm.input);
    let fixed = vm.mode == Mode::Dumb;
    let cells = if fixed { own.rows as usize * own.columns as usize } else { 0 };
    let within = |cursor: &(u32, u32)| cursor.0 < own.rows && cursor.1 <= 255;
    let sound_screen = screen.rows == own.rows
        && (screen.columns == own.columns || !fixed && (20..=255).contains(&screen.columns))
        && screen.cells.len() == cells
        && screen.cursors.iter().all(within)
        && screen.upper_rows < own.rows - u32::from(vm.story.version <= 3)
        && screen.window <= 1
        && screen.style <= 15
        && screen.lines <= own.rows
        && screen.word.len() <= WORD_MAX
        && screen.tables.len() <= TABLES_MAX;
    let sound_cpu = cpu.dynamic_bytes == vm.story.dynamic_bytes
        && cpu.sp <= STACK_WORDS
        && cpu.fp <= cpu.sp
        && cpu.locals <= 15
        && cpu.depth <= DEPTH_MAX
        && cpu.interrupt <= cpu.depth
        && vm.memory.spaces[UNDO].page_count() == u64::from(vm.undo_levels) * SLOT_PAGES
        && vm.undo_is_sound();
    let sound_input = input.typed.len() <= TYPED_MAX
        && input.line.len() <= 255
        && input.preset <= 255
        && input.period > 0;
    if sound_screen && sound_cpu && sound_input {
        Ok(())
    } else {
        Err(CreateError::Shape("its records are not those of this story and these options"))
    }
}

fn ranged(spec: &Spec, name: &str, default: u64, min: u64, max: u64) -> Result<u32, CreateError> {
    let value = spec.number(name, default)?;
    let fits = u32::try_from(value).ok().filter(|_| (min..=max).contains(&value));
    fits.ok_or_else(|| bad(name, format!("{value} is not within {min} to {max}")))
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
