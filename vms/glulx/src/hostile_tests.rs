//! Stories that ask for too much, and what of theirs must not be lost.

use crate::heap::BLOCKS_MAX;
use crate::machine::Vm;
use crate::streams::{Opening, Source};
use crate::undo::heap_is_sound;
use crate::world::{Encoded, UNDO, World};
use omni_base::Tick;
use omni_machine::{Control, Effect, Event, IoOp, Kick, Machine, Spec};

/// A machine whose story begins with some code.
fn machine(code: &[u8], memory: &str) -> Vm {
    let mut story = crate::sample_story();
    let start = u32::from_be_bytes(story[24..28].try_into().expect("four bytes"));
    // Its header comes first.
    let first = usize::try_from(start).expect("small") + 5;
    story[first..first + code.len()].copy_from_slice(code);
    let mut spec = Spec::new("glulx");
    spec.files.insert("image".into(), story.into());
    spec.options.insert("memory".into(), memory.into());
    crate::kind::build(&spec).expect("the story is sound")
}

#[test]
fn much_work_of_single_instructions_ends_the_run_of_the_engine() {
    // Memory of 4 MiB, then 2 MiB of it zeroed again and again.
    let code = [
        0x81, 0x03, 0x03, 0, 0x40, 0, 0, // setmemsize
        0x81, 0x70, 0x33, 0, 0x20, 0, 0, 0, 0, 0x20, 0, // mzero
        0x20, 0x01, 0xf4, // jump
    ];
    let mut vm = machine(&code, "64M");
    for _ in 0..4 {
        vm.run_code(20_000);
    }
    assert!((4..40).contains(&vm.world.cpu.tick), "{}", vm.world.cpu.tick);
    assert_eq!(vm.world.cpu.halted, None);
}

#[test]
fn a_copy_is_whole_where_both_overlap_and_are_larger_than_a_part() {
    for (from, to) in [(0x1_0000u32, 0x1_0101u32), (0x1_0101, 0x1_0000)] {
        // Memory of 4 MiB, then a copy, then an end.
        let [_, a, b, c] = from.to_be_bytes();
        let [_, d, e, f] = to.to_be_bytes();
        let code = [
            0x81, 0x03, 0x03, 0, 0x40, 0, 0, // setmemsize
            0x81, 0x71, 0x33, 0x03, 0, 0x02, 0x22, 0x22, 0, a, b, c, 0, d, e, f, // mcopy
            0x81, 0x20, // quit
        ];
        let mut vm = machine(&code, "64M");
        vm.run_code(1);
        let before: Vec<u8> = (0..0x3_0000u32).map(|at| (at / 5 % 251) as u8).collect();
        vm.world.write(0x1_0000, &before).expect("it is memory");
        while vm.world.cpu.halted.is_none() {
            vm.run_code(10);
        }
        assert_eq!(vm.world.cpu.halted, Some(0));
        let mut after = vec![0; 0x2_2222];
        vm.world.read(to, &mut after).expect("it is memory");
        let first = (from - 0x1_0000) as usize;
        assert!(after == before[first..first + after.len()], "{from:#x} to {to:#x}");
    }
}

#[test]
fn memory_and_undo_together_stay_in_what_memory_may_grow_to() {
    let mut vm = machine(&[], "32K");
    let within = |world: &World, when: &str| {
        let bytes = |level: &crate::state::Level| {
            u64::from(level.endmem - world.layout.ramstart) + u64::from(level.stack)
        };
        let held: u64 = world.cpu.undo.iter().map(bytes).sum();
        let all = held + u64::from(world.cpu.endmem);
        assert!(all <= u64::from(world.layout.endmem_max), "{when}: {all}");
    };
    let to = Encoded { dest: (0, 0), next: 0 };
    for _ in 0..20 {
        assert_eq!(vm.world.save_undo(&mut vm.regs, to), Ok(0));
        within(&vm.world, "saved");
    }
    assert!((3..8).contains(&vm.world.cpu.undo.len()));
    assert!(vm.world.resize(0x6000));
    within(&vm.world, "grown");
    assert!(vm.world.resize(0x8000));
    assert!(vm.world.cpu.undo.is_empty());
    let mut page = [0; 64];
    let slot_bytes = vm.world.layout.slot_pages() * omni_base::PAGE_SIZE_U64;
    for slot in 0..8 {
        let at = omni_base::Gpa(slot * slot_bytes);
        vm.world.memory.spaces[UNDO].read(at, &mut page).expect("a slot");
        assert_eq!(page, [0; 64], "what was dropped gave its memory back");
    }
    assert_eq!(vm.world.save_undo(&mut vm.regs, to), Ok(1), "there is no room");
}

#[test]
fn a_heap_never_begins_in_what_the_story_begins_with() {
    let room = || 0x2000..0x3000;
    let of = |words: &[u32]| World::heap_of(words, room());
    assert_eq!(
        of(&[0x2000, 1, 0x2000, 16]).map(|(start, heap)| (start, heap.len())),
        Some((0x2000, 2))
    );
    assert_eq!(of(&[]), Some((0, Vec::new())));
    for bad in [
        &[0x100, 1, 0x100, 16][..],
        &[0x1f00, 1, 0x2000, 16],
        &[0x2000, 0],
        &[0x3000, 0],
        &[0x2010, 1, 0x2010, 16],
        &[0x2000, 1, 0x2ff8, 16],
    ] {
        assert_eq!(of(bad), None, "{bad:x?}");
    }
    assert!(heap_is_sound(0x2000, &[(0x2000, 0x1000, false)], room()));
    assert!(!heap_is_sound(0x1000, &[(0x1000, 0x2000, false)], room()));
    assert!(!heap_is_sound(0x2000, &[(0x2000, 0x1000, true)], room()));
    assert!(!heap_is_sound(0x3000, &[], room()));
}

#[test]
fn a_heap_gives_what_there_is_room_for() {
    let mut vm = machine(&[], "64K");
    assert_eq!(vm.world.allocate(0x9000), Ok(0x2000));
    // Twice as much would not fit, but this does.
    assert_eq!(vm.world.allocate(0x4000), Ok(0xb000));
    assert_eq!(vm.world.allocate(0x2000), Ok(0));
    let mut vm = machine(&[], "64M");
    assert_ne!(vm.world.allocate(0x10_0000), Ok(0));
    let blocks = (0..BLOCKS_MAX as u32).map(|nth| (0x2000 + 16 * nth, 16, nth != 0));
    vm.world.cpu.heap = blocks.collect();
    assert_eq!(vm.world.allocate(64), Ok(0x2010), "free blocks that touch are one");
}

#[test]
fn a_file_that_is_open_at_the_end_is_saved() {
    let open = |vm: &mut Vm| {
        (vm.world.glk.about, vm.world.glk.name) = ([1, 0, 0], "log.txt".into());
        let id = vm.world.open_content(None);
        assert!(vm.world.put_to(id, 65).is_ok() && id != 0);
    };
    let saved = |effects: Vec<(Tick, Effect)>| {
        let of = |(_, effect)| match effect {
            Effect::Io(request) => Some(request.op),
            Effect::Output { .. } => None,
        };
        effects.into_iter().filter_map(of).collect::<Vec<_>>()
    };
    let expected = vec![IoOp::SaveFile { name: "log.txt".into(), bytes: b"A".to_vec() }];
    let mut vm = machine(&[], "64M");
    open(&mut vm);
    let mut effects = Vec::new();
    for _ in 0..2 {
        vm.apply(&Event::Control(Control::PowerButton), &mut effects);
    }
    assert_eq!(saved(effects), expected);
    // An end by itself, and one by a fault.
    for code in [&[0x81u8, 0x20][..], &[0x16]] {
        let mut vm = machine(code, "64M");
        open(&mut vm);
        let mut effects = Vec::new();
        vm.run(Tick(1000), &Kick::default(), &mut effects);
        assert_eq!(saved(effects), expected, "{code:x?}");
    }
}

#[test]
fn a_game_that_does_not_fit_is_not_saved_in_part() {
    let mut vm = machine(&[], "64M");
    let world = &mut vm.world;
    let memory = |world: &mut World, buffer, wide| {
        let Opening(mut stream) = Opening::of(Source::Memory, 1, 0);
        (stream.buffer, stream.wide) = (buffer, wide);
        world.open(Opening(stream)).expect("there is room")
    };
    let small = memory(world, (0x1800, 8), false);
    assert!(!world.write_all(small, &[1; 9]));
    assert_eq!(world.glk.streams[&small].at, 0);
    assert!(world.write_all(small, &[1; 8]));
    let wide = memory(world, (0x1800, u32::MAX), true);
    world.glk.streams.get_mut(&wide).expect("it is open").at = 0x4000_0000;
    assert_eq!(world.put_to(wide, 7), Ok(()));
    (world.glk.about, world.glk.name) = ([1, 0, 0], "game".into());
    let file = world.open_content(None);
    assert!(!world.write_all(file, &vec![0; (16 << 20) + 1]));
    assert_eq!(world.glk.streams[&file].bytes, b"");
}

#[test]
fn no_more_streams_are_held_whole_than_there_is_memory_for() {
    let mut vm = machine(&[], "64M");
    let opened = (0..40).filter(|_| vm.world.open(Opening::of(Source::Resource, 2, 0)).is_some());
    assert_eq!(opened.count(), 16);
    assert!(vm.world.open(Opening::of(Source::Memory, 2, 0)).is_some());
}

#[test]
fn text_is_let_go_while_the_story_computes_on() {
    let run = |slice: u64| {
        // Jumps to itself.
        let mut vm = machine(&[0x20, 0x01, 0xff], "64M");
        "working".chars().for_each(|char| vm.world.print(char.into()));
        let mut effects = Vec::new();
        while vm.tick().0 < 10_000_100 {
            vm.run(Tick(vm.tick().0 + slice), &Kick::default(), &mut effects);
        }
        effects
    };
    let whole = run(10_000_100);
    let [(Tick(10_000_000), Effect::Output { bytes, .. })] = &whole[..] else {
        panic!("one effect is due: {whole:?}")
    };
    assert_eq!(bytes, b"working");
    assert_eq!(run(3_333_377), whole);
}
