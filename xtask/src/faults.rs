//! The faults that `cargo xtask sabotage` plants: each is a mistake that someone could make.

mod code;
mod mmix;
mod stories;

/// One fault.
pub(crate) struct Fault {
    /// What goes wrong.
    pub(crate) name: &'static str,
    /// The file it is planted in.
    pub(crate) file: &'static str,
    /// What stands there, once.
    pub(crate) find: &'static str,
    /// What stands there then.
    pub(crate) replace: &'static str,
    /// The arguments of the `cargo test` that has to fail.
    pub(crate) test: &'static str,
}

const TOY: &str = "-p omni-conformance --test planted a_sound";
const PROGRAM: &str = "-p omni-conformance --test kinds program::";
const STORY: &str = "-p omni-conformance --test kinds story::";
const BOARD: &str = "-p omni-conformance --test kinds board::";
const RECORDING: &str = "-p omni-recording --test recorder";
const CONTRACT: &str = "-p omni-lifecycle --test contract";
const FILE: &str = "-p omni-lifecycle --test file";
const MODEL: &str = "-p omni-memory --test model";
const STORE: &str = "-p omni-store --test store";
const STORE_FAULTS: &str = "-p omni-store --test faults";
const SNAPSHOTS: &str = "-p omni --test snapshots snapshots_";
const IMAGES: &str = "-p omni-memory --test images";
const TIERS: &str = "-p omni-engine --test tiers";
const FLOAT: &str = "-p omni-engine --test float";
const BESIDE: &str = "-p omni-board-virt --test parallel harts_side";
const TURNS: &str = "-p omni-board-virt --test turns";
const DEBUG: &str = "-p omni-debug --test suite back::";
const FAMILY: &str = "-p omni --test family";
const CUT: &str = "-p omni-net --test cut";
const DISK: &str = "-p omni-host --lib disk::";
const HOSTILE: &str = "-p omni-engine --test hostile";

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Fault> {
    FAULTS.iter().chain(code::FAULTS).chain(mmix::FAULTS).chain(stories::FAULTS)
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "a dirty page is forgotten",
        file: "crates/memory/src/space.rs",
        find: "if bits & flag::CLEARED == 0 {\n            self.dirty.push(no);\n",
        replace: "if bits & flag::CLEARED == 0 && no.0 % 5 != 4 {\n            \
                  self.dirty.push(no);\n",
        test: MODEL,
    },
    Fault {
        name: "a page that moved is not reported",
        file: "crates/memory/src/space.rs",
        find: "if bits & flag::LENT != 0 {",
        replace: "if bits & flag::LENT != 0 && no.0 % 2 == 0 {",
        test: MODEL,
    },
    Fault {
        name: "a page that is cleared keeps its content below",
        file: "crates/memory/src/space.rs",
        find: "            self.image.set(no, zero).expect(",
        replace: "            Ok::<_, ()>(zero).expect(",
        test: MODEL,
    },
    Fault {
        name: "entries for a page outlive its frame",
        file: "crates/engine/src/crew.rs",
        find: "|tlb| tlb.page_gone(no)",
        replace: "|tlb| tlb.page_moved(no)",
        test: BOARD,
    },
    Fault {
        name: "a report gives back more than whole pages",
        file: "crates/devices/src/virtio/balloon.rs",
        find: "let first = offset.div_ceil(PAGE_SIZE_U64);",
        replace: "let first = offset / PAGE_SIZE_U64;",
        test: "-p omni-devices --test devices balloon",
    },
    Fault {
        name: "what live machines may use is not counted",
        file: "apps/omni/src/room.rs",
        find: "live.saturating_add(more)",
        replace: "more",
        test: "-p omni --bin omni room",
    },
    Fault {
        name: "a write to a watched page is not reported",
        file: "crates/memory/src/space.rs",
        find: "self.changes.written.push(no);\n        }\n        \
               let ptr = self.own_quietly(no)?;\n",
        replace: "}\n        let ptr = self.own_quietly(no)?;\n",
        test: MODEL,
    },
    Fault {
        name: "the process of a family ends with its first machine",
        file: "apps/omni/src/monitor.rs",
        find: "            family.wait();\n",
        replace: "            let _ = family;\n",
        test: FAMILY,
    },
    Fault {
        name: "frames in flight are not in a cut",
        file: "crates/net/src/switch/cut.rs",
        find: "if self.stage == Stage::Armed || !",
        replace: "if self.stage != Stage::Sealed || !",
        test: CUT,
    },
    Fault {
        name: "a marker overtakes frames that wait",
        file: "crates/net/src/switch/port.rs",
        find: "let sent = if peer.waiting.is_empty() {",
        replace: "let sent = if must || peer.waiting.is_empty() {",
        test: CUT,
    },
    Fault {
        name: "a machine is sealed later than at the first marker",
        file: "crates/net/src/switch/cut.rs",
        find: "self.awaited.remove(from) && self.begin()",
        replace: "self.awaited.remove(from) && self.awaited.is_empty() && self.begin()",
        test: CUT,
    },
    Fault {
        name: "what a fork's disk had at the fork is not written to its overlay",
        file: "crates/host/src/disk.rs",
        find: "Self { persisted: root.below.clone(), root, start: now, writer }",
        replace: "Self { persisted: now.clone(), root, start: now, writer }",
        test: DISK,
    },
    Fault {
        name: "a digest of inner pages is kept too long",
        file: "crates/memory/src/image.rs",
        find: "            node.digest = OnceLock::new();\n",
        replace: "",
        test: IMAGES,
    },
    Fault {
        name: "a pack has its name before it is synced",
        file: "crates/store/src/pack.rs",
        find: "        self.files.sync(&self.file, &self.path)\n",
        replace: "        Ok(())\n",
        test: "-p omni-store --test faults a_loss",
    },
    Fault {
        name: "a snapshot is told of before its pack is complete",
        file: "crates/store/src/write.rs",
        find: "        self.seal()?;\n        let entry",
        replace: "        let entry",
        test: STORE,
    },
    Fault {
        name: "a page of the store is believed without its digest",
        file: "crates/store/src/pack.rs",
        find: "if head.digest == digest && Digest::of(bytes) == digest {",
        replace: "if head.digest == digest {",
        test: "-p omni-store --test faults every_bit",
    },
    Fault {
        name: "clean-up leaves nodes that name what is gone",
        file: "crates/store/src/gc.rs",
        find: "    !survey.unclean && full",
        replace: "    full",
        test: STORE,
    },
    Fault {
        name: "clean-up forgets who runs from a snapshot",
        file: "crates/store/src/store.rs",
        find: "                all.extend(digests_of(&path)?);\n            }",
        replace: "            }",
        test: STORE,
    },
    Fault {
        name: "nobody hears that a page was sent out",
        file: "crates/memory/src/space.rs",
        find: "                self.changes.moved.extend(lent);\n",
        replace: "",
        test: STORE,
    },
    Fault {
        name: "a machine whose memory is in the store counts as if it held it",
        file: "apps/omni/src/room.rs",
        find: "entry.origin.fork || entry.state.cold",
        replace: "entry.origin.fork",
        test: "-p omni --bin omni room",
    },
    Fault {
        name: "what others add to a tree is not seen",
        file: "crates/store/src/tree.rs",
        find: "            fresh.push(line);\n",
        replace: "            drop(line);\n",
        test: STORE,
    },
    Fault {
        name: "what a crash left of a line stays in a tree",
        file: "crates/store/src/tree.rs",
        find: "            if file.metadata()?.len() > end {",
        replace: "            if file.metadata()?.len() > end && end == 0 {",
        test: STORE_FAULTS,
    },
    Fault {
        name: "a used frame is taken for a clean one",
        file: "crates/memory/src/frame.rs",
        find: "        frame.bytes_mut().fill(0);\n",
        replace: "        let _ = &mut frame;\n",
        test: "-p omni-memory --test pool",
    },
    Fault {
        name: "a record that nobody takes is let pass",
        file: "crates/state/src/record.rs",
        find: "self.entries.first().map_or(Ok(()), |e| Err(StateError::Leftover(e.path.clone())))",
        replace: "Ok(())",
        test: "-p omni-state",
    },
    Fault {
        name: "a replay leaves the last event out",
        file: "crates/lifecycle/src/record.rs",
        find: ".filter(|_| at < to.events)",
        replace: ".filter(|_| at + 1 < to.events)",
        test: TOY,
    },
    Fault {
        name: "the checks of a log are not looked at",
        file: "crates/lifecycle/src/record.rs",
        find: "            return Err(self.diverged(check.moment, Some(what)));\n",
        replace: "            let _ = what;\n",
        test: CONTRACT,
    },
    Fault {
        name: "the pulses of a log are not looked at",
        file: "crates/lifecycle/src/record.rs",
        find: "            self.pulse(pulse)?;\n",
        replace: "            let _ = pulse;\n",
        test: CONTRACT,
    },
    Fault {
        name: "where two ways part is told no closer than the part of the stretch",
        file: "crates/lifecycle/src/parting.rs",
        find: "if finest || point == low {",
        replace: "if finest || point >= low {",
        test: CONTRACT,
    },
    Fault {
        name: "a check that came late is believed to be of its end",
        file: "crates/lifecycle/src/log_file.rs",
        find: "let moment = Moment { events, tick };",
        replace: "let moment = Moment { events, ..moment };\n                let _ = tick;",
        test: CONTRACT,
    },
    Fault {
        name: "an event that finds its machine asleep is not recorded",
        file: "crates/host/src/runner.rs",
        find: "if let Some(tape) = &mut self.tape {\n            tape.event(",
        replace: "if let (Some(tape), None) = (&mut self.tape, self.idle) {\n            \
                  tape.event(",
        test: RECORDING,
    },
    Fault {
        name: "an event that comes while a recording begins is lost",
        file: "crates/recording/src/recorder.rs",
        find: "self.active().as_mut() {\n            active.send",
        replace: "self.active().as_mut().filter(|one| !one.threads.is_empty()) {\n            \
                  active.send",
        test: RECORDING,
    },
    Fault {
        name: "a run past its mark is not noticed",
        file: "crates/lifecycle/src/waist.rs",
        find: "end <= until || !exact,",
        replace: "end <= until || exact,",
        test: CONTRACT,
    },
    Fault {
        name: "a visit starts from a rung of a later moment of the same tick",
        file: "crates/lifecycle/src/timeline.rs",
        find: "rung.moment <= moment",
        replace: "rung.moment.tick <= moment.tick",
        test: CONTRACT,
    },
    Fault {
        name: "a fork is not told that it is another machine",
        file: "crates/lifecycle/src/snapshot.rs",
        find: "machine.apply(&Event::Generation { entropy }, outside);",
        replace: "let _ = (&mut machine, Event::Generation { entropy }, outside);",
        test: TOY,
    },
    Fault {
        name: "a snapshot forgets the requests in flight",
        file: "crates/lifecycle/src/snapshot.rs",
        find: "(machine.tick(), machine.pending());",
        replace: "(machine.tick(), Vec::new());",
        test: TOY,
    },
    Fault {
        name: "pages of a file are believed without their digest",
        file: "crates/lifecycle/src/container.rs",
        find: "if row[24..] != Digest::of(split.0).0 {",
        replace: "if id != id::PAGES && row[24..] != Digest::of(split.0).0 {",
        test: FILE,
    },
    Fault {
        name: "a zero page over a base is left out of a file",
        file: "crates/lifecycle/src/file.rs",
        find: "if number != 0 || over.is_some() {",
        replace: "if number != 0 {",
        test: FILE,
    },
    Fault {
        name: "the length of an entry of a log is believed",
        file: "crates/lifecycle/src/log_file.rs",
        find: "if *check != length_check(*chain, length) {",
        replace: "if *check == [0; 4] && *check != length_check(*chain, length) {",
        test: TOY,
    },
    Fault {
        name: "a restored program forgets how long it has slept",
        file: "vms/wasm/src/machine.rs",
        find: "(self.slept, self.phase, self.halted) = (core.slept, core.phase, core.halted);",
        replace: "(self.phase, self.halted) = (core.phase, core.halted);",
        test: PROGRAM,
    },
    Fault {
        name: "a program's tick after a leap is off where the leap is long",
        file: "vms/wasm/src/exec.rs",
        find: "origin = origin.wrapping_add($insn.ticks());",
        replace: "origin = origin.wrapping_add($insn.ticks() & !1);",
        test: "-p omni-vm-wasm --test ticks",
    },
    Fault {
        name: "a frame of a program keeps what was in it before",
        file: "vms/wasm/src/exec.rs",
        find: "fr[usize::from(next.params)..usize::from(next.slots)].fill(0);\n                \
               enter!",
        replace: "enter!",
        test: PROGRAM,
    },
    Fault {
        name: "slots of a program's frame that waits are lost where the next one ends below them",
        file: "vms/wasm/src/store.rs",
        find: "ends.max().unwrap_or(0)",
        replace: "ends.last().unwrap_or(0)",
        test: "-p omni-vm-wasm --test lives",
    },
    Fault {
        name: "the halves of a vector change places",
        file: "vms/wasm/src/vector.rs",
        find: "(fr[at], fr[at + 1]) = (bits as u64, (bits >> 64) as u64);",
        replace: "(fr[at + 1], fr[at]) = (bits as u64, (bits >> 64) as u64);",
        test: "-p omni-vm-wasm --test suite",
    },
    Fault {
        name: "what catches an exception takes the ticks of the block that threw it",
        file: "vms/wasm/src/exceptions.rs",
        find: "wrapping_sub(handler.ticks.into())",
        replace: "wrapping_sub(0)",
        test: "-p omni-vm-wasm --test ticks",
    },
    Fault {
        name: "objects that only a global has are taken for free room",
        file: "vms/wasm/src/heap.rs",
        find: "frames.iter().chain(&state.globals)",
        replace: "frames.iter()",
        test: "-p omni-vm-wasm --test lives",
    },
    Fault {
        name: "the root of a NaN of a program is the NaN that it was made of",
        file: "vms/wasm/src/numeric.rs",
        find: "if bits << 1 > $infinity << 1 {",
        replace: "if self.is_nan() {",
        test: "-p omni-vm-wasm --test floats",
    },
    Fault {
        name: "a restored story draws other random numbers",
        file: "vms/zmachine/src/kind.rs",
        find: "        vm.cpu = records.take(\"cpu\")?;\n",
        replace: "        vm.cpu = records.take(\"cpu\")?;\n        vm.cpu.random = 1;\n",
        test: STORY,
    },
    Fault {
        name: "a story's typed characters are lost in a restore",
        file: "vms/zmachine/src/kind.rs",
        find: "        vm.input = records.take(\"input\")?;\n",
        replace: "        vm.input = records.take(\"input\")?;\n        vm.input.typed.clear();\n",
        test: STORY,
    },
    Fault {
        name: "a story does not mind who it is",
        file: "vms/zmachine/src/machine.rs",
        find: "self.cpu.random.rotate_left(13) ^ part;",
        replace: "self.cpu.random ^ (part & 0);",
        test: STORY,
    },
    Fault {
        name: "undo does not go back to where it was",
        file: "vms/zmachine/src/undo.rs",
        find: "(cpu.pc, cpu.fp, cpu.sp, cpu.depth) = (pc, fp, sp, depth);",
        replace: "let _ = (pc, fp, sp, depth);",
        test: "-p omni-vm-zmachine --test hostile the_sample",
    },
    Fault {
        name: "blocks lead to others that have been freed",
        file: "crates/engine/src/cache.rs",
        find: "block.map(|block| block.code.unlink()).is_some()",
        replace: "block.is_some()",
        test: "-p omni-engine --lib cache::",
    },
    Fault {
        name: "a step finds no operations",
        file: "crates/engine/src/jit.rs",
        find: "        self.mem.bring(id);\n",
        replace: "",
        test: TIERS,
    },
    Fault {
        name: "a run goes on past its budget by an instruction",
        file: "crates/engine/src/run.rs",
        find: "let outcome = if code.pcs.len() as u64 <= left {",
        replace: "let outcome = if code.pcs.len() as u64 <= left + 1 {",
        test: BOARD,
    },
    Fault {
        name: "a page of code is written behind the back of its blocks",
        file: "crates/engine/src/tlb.rs",
        find: "self.drop_page(no, Side::Store)",
        replace: "self.drop_page(PageNo(no.0 | 1 << 40), Side::Store)",
        test: "-p omni-engine --test toy",
    },
    Fault {
        name: "an old write entry outlives its epoch",
        file: "crates/engine/src/tlb.rs",
        find: "        self.views.iter_mut().for_each(|view| view.clear_side(Side::Store));\n",
        replace: "",
        test: "-p omni-engine --test toy",
    },
    Fault {
        name: "a table is written in one of its uses only",
        file: "crates/engine/src/tlb.rs",
        find: "while let Some(used) = self.uses.get(table, nth) {",
        replace: "while let Some(used) = self.uses.get(table, nth).filter(|_| nth == 0) {",
        test: "-p omni-engine --test tables",
    },
    Fault {
        name: "code runs on where it was mapped before",
        file: "crates/engine/src/tlb.rs",
        find: "            self.renew_serial(view);\n            self.stop = true;\n",
        replace: "            self.renew_serial(view);\n",
        test: "-p omni-engine --test tables",
    },
    Fault {
        name: "code leaves a block early for the price of all of it",
        file: "crates/tier-x64/src/block.rs",
        find: "self.exit(jump, to, self.block.ticks - retired);",
        replace: "self.exit(jump, to, 0);",
        test: TIERS,
    },
    Fault {
        name: "code of a block costs a tick too few",
        file: "crates/tier-x64/src/block.rs",
        find: "self.asm.alu_imm(Alu::Sub, W::Q, R15, ticks.cast_signed());",
        replace: "self.asm.alu_imm(Alu::Sub, W::Q, R15, ticks.cast_signed() - 1);",
        test: TIERS,
    },
    Fault {
        name: "code goes to another page without asking what is there",
        file: "crates/tier-x64/src/block.rs",
        find: "let guard = (!same_page).then(|| self.guard(pc, NO_ID));",
        replace: "let guard = (!same_page && pc == 0).then(|| self.guard(pc, NO_ID));",
        test: HOSTILE,
    },
    Fault {
        name: "a NaN that code makes has another sign",
        file: "crates/tier-x64/src/block.rs",
        find: "const NAN_64: u64 = 0x7ff8",
        replace: "const NAN_64: u64 = 0xfff8",
        test: FLOAT,
    },
    Fault {
        name: "code forgets that a result was tiny",
        file: "crates/tier-x64/src/layout.rs",
        find: "            | (mxcsr & 16) >> 3\n",
        replace: "",
        test: FLOAT,
    },
    Fault {
        name: "code rounds to zero as it does to nearest",
        file: "crates/tier-x64/src/float.rs",
        find: "Val::Const(mode) => mode == 0,",
        replace: "Val::Const(mode) => mode <= 1,",
        test: FLOAT,
    },
    Fault {
        name: "code does not look which rounding mode there is",
        file: "crates/tier-x64/src/float.rs",
        find: "if self.nearest_in != Some(slot) {",
        replace: "if slot.is_temp() {",
        test: FLOAT,
    },
    Fault {
        name: "code takes what rounds to the limit for an integer in range",
        file: "crates/tier-x64/src/float.rs",
        find: "9_223_372_036_854_775_808.0 } else { 4_294_967_295.0 }",
        replace: "9_223_372_036_854_775_808.0 } else { 4_294_967_296.0 }",
        test: FLOAT,
    },
    Fault {
        name: "code branches by exceptions without those just raised",
        file: "crates/tier-x64/src/block.rs",
        find: "if term.reads(self.tier.flags) {",
        replace: "if term.reads(self.tier.reservation) {",
        test: TIERS,
    },
    Fault {
        name: "an absolute value keeps its sign",
        file: "guests/riscv/src/isa/float.rs",
        find: "cx.b.binary(Binary::And, temp, a, (1 << K::SIGN) - 1);",
        replace: "cx.b.binary(Binary::And, temp, a, u64::MAX);",
        test: "-p omni-guest-riscv --test programs",
    },
    Fault {
        name: "stores share the probe of a load",
        file: "crates/tier-x64/src/share.rs",
        find: "(leader.store || !access.store)",
        replace: "(leader.store | true)",
        test: TIERS,
    },
    Fault {
        name: "a reservation outlives the store that used it",
        file: "crates/tier-x64/src/memory.rs",
        find: "        self.asm.store_imm(8, reservation, -1);\n",
        replace: "",
        test: TIERS,
    },
    Fault {
        name: "what code leaves to the interpreter is counted twice",
        file: "crates/engine/src/run.rs",
        find: "self.interpret(id, first, ticks - insns, u64::MAX)",
        replace: "self.interpret(id, first, ticks, u64::MAX)",
        test: TIERS,
    },
    Fault {
        name: "a link to a page outlives what was written there",
        file: "crates/engine/src/cache.rs",
        find: "            self.ids.remove(&(at, page));\n",
        replace: "            let _ = at;\n",
        test: HOSTILE,
    },
    Fault {
        name: "a remembered jump outlives the mapping it was made by",
        file: "crates/engine/src/tlb/view.rs",
        find: "            while let Some((bank, jump)) = self.pop_jump(index) {\n\
               \x20               self.empty_jump(bank, jump);\n",
        replace: "            while let Some((bank, jump)) = self.pop_jump(index) {\n\
                  \x20               if range == Range::ALL {\n\
                  \x20                   self.empty_jump(bank, jump);\n\
                  \x20               }\n",
        test: HOSTILE,
    },
    Fault {
        name: "code that never lasts is made time and again",
        file: "crates/engine/src/cache.rs",
        find: "*cool = (*cool + 1).min(COOL_MAX);",
        replace: "*cool = 0;",
        test: HOSTILE,
    },
    Fault {
        name: "a disk forgets its flushes in flight",
        file: "crates/devices/src/virtio/block.rs",
        find: "self.state.flushes.iter().map(flush).collect()",
        replace: "self.state.flushes.iter().map(flush).take(0).collect()",
        test: BOARD,
    },
    Fault {
        name: "an entropy source does not mind whose it is",
        file: "crates/devices/src/virtio/entropy.rs",
        find: "std::array::from_fn(|at| fresh[at] ^ entropy[at])",
        replace: "std::array::from_fn(|at| fresh[at] ^ (entropy[at] & 0))",
        test: BOARD,
    },
    Fault {
        name: "a board idles past its mark",
        file: "boards/virt/src/machine.rs",
        find: "wake.min(until.0).max(self.wires.state.tick + 1)",
        replace: "wake.min(until.0 + 9).max(self.wires.state.tick + 1)",
        test: BOARD,
    },
    Fault {
        name: "a hart alone begins a turn where it ran past one",
        file: "boards/virt/src/machine.rs",
        find: "            Some(more) => (TURN_TICKS - more % TURN_TICKS) % TURN_TICKS,",
        replace: "            Some(_) => 0,",
        test: TURNS,
    },
    Fault {
        name: "a restore gives the hart a whole turn",
        file: "boards/virt/src/machine.rs",
        find: "        machine.wires.load(&mut records)?;\n",
        replace: "        machine.wires.load(&mut records)?;\n        \
                  machine.wires.state.turn_left = TURN_TICKS;\n",
        test: BOARD,
    },
    Fault {
        name: "a hart that waits is woken by a restore",
        file: "guests/riscv/src/hart.rs",
        find: "let control: Control = from.take(&format!(\"{path}/control\"))?;",
        replace: "let mut control: Control = from.take(&format!(\"{path}/control\"))?;\n        \
                  control.waiting = false;",
        test: BOARD,
    },
    Fault {
        name: "stores to a page that is watched become quick",
        file: "crates/engine/src/memory.rs",
        find: "self.env.ram().is_watched(no) || self.stops.watches_page(at);",
        replace: "self.env.ram().is_watched(no);",
        test: "-p omni-debug --test suite gdb::gdb_watches",
    },
    Fault {
        name: "what a device writes is no write to what is watched",
        file: "boards/virt/src/wires.rs",
        find: "            self.watched.after(&self.memory.spaces[0]);\n",
        replace: "",
        test: DEBUG,
    },
    Fault {
        name: "the way back ends at the first stop of a stretch, not the last",
        file: "crates/debug/src/scan.rs",
        find: "                self.found = Some((moment, hit));\n",
        replace: "                self.found.get_or_insert((moment, hit));\n",
        test: DEBUG,
    },
    Fault {
        name: "whoever has signed a release, it is believed",
        file: "crates/image/src/keyring.rs",
        find: "    signature.verify(key, text).map_err(|_| ",
        replace: "    Ok::<(), ()>(()).map_err(|()| ",
        test: "-p omni-image --test debian refused",
    },
    Fault {
        name: "a package is believed without its digest",
        file: "crates/image/src/fetch.rs",
        find: "if found.as_ref() == Some(listed) {",
        replace: "if found.is_some() {",
        test: "-p omni-image --test debian refused",
    },
    Fault {
        name: "a member that comes again is there twice",
        file: "crates/net/src/switch/port.rs",
        find: "for old in before {",
        replace: "for old in before.into_iter().skip(1) {",
        test: "-p omni-net --lib port",
    },
    Fault {
        name: "copies in the past translate all for themselves",
        file: "crates/debug/src/history.rs",
        find: "drop(self.machine.exchange_caches(Some(caches)));",
        replace: "drop(caches);",
        test: DEBUG,
    },
    Fault {
        name: "the past is replayed without its events",
        file: "crates/debug/src/history.rs",
        find: "            let Some((_, event)) = next else { return Ok(None) };\n            \
               self.machine.apply(event, &mut Outcome::new());\n",
        replace: "            let Some(_) = next else { return Ok(None) };\n",
        test: DEBUG,
    },
    Fault {
        name: "interrupts go by another priority",
        file: "guests/riscv/src/trap.rs",
        find: "[u64; 6] = [11, 3, 7, 9, 1, 5];",
        replace: "[u64; 6] = [7, 11, 3, 9, 1, 5];",
        test: "-p omni-guest-riscv --test privileged",
    },
    Fault {
        name: "a trap leaves interrupts enabled",
        file: "guests/riscv/src/trap.rs",
        find: "            self.set_status(status::MIE, false);\n",
        replace: "",
        test: "-p omni-guest-riscv --test privileged",
    },
    Fault {
        name: "a compressed cluster is read a sector short",
        file: "crates/disk/src/qcow2/read.rs",
        find: "let sectors = ((entry & (COMPRESSED - 1)) >> shift) + 1;",
        replace: "let sectors = ((entry & (COMPRESSED - 1)) >> shift).max(1);",
        test: "-p omni-disk --test qemu made_here",
    },
    Fault {
        name: "sectors of a differencing VHD are counted from the lowest bit",
        file: "crates/disk/src/vhd.rs",
        find: "byte[0] >> (7 - sector % 8) & 1 == 1",
        replace: "byte[0] >> (sector % 8) & 1 == 1",
        test: "-p omni-disk --test formats differencing_vhd",
    },
    Fault {
        name: "a log of a VHDX is applied without its zeros",
        file: "crates/disk/src/vhdx/log.rs",
        find: "        self.zeros.push((at, at + bytes));\n",
        replace: "",
        test: "-p omni-disk --test formats the_log",
    },
    Fault {
        name: "a disk image is given files outside of its folder",
        file: "crates/host/src/disk_files.rs",
        find: "if !follow && !path.starts_with(&own) {",
        replace: "if !follow && path == own {",
        test: "-p omni-host --lib disk_files",
    },
    Fault {
        name: "an atomic operation beside others is a load and a store",
        file: "crates/tier-x64/src/memory.rs",
        find: "        if self.tier.beside.is_none() {",
        replace: "        if bytes > 0 {",
        test: BESIDE,
    },
    Fault {
        name: "a long reservation is held by the value",
        file: "crates/engine/src/code.rs",
        find: "            (true, false) => Hold::Long,",
        replace: "            (true, false) => Hold::Short,",
        test: BESIDE,
    },
    Fault {
        name: "nobody is told that his code was written",
        file: "crates/engine/src/crew.rs",
        find: "for_each(|no| self.send(own, *no));",
        replace: "for_each(drop);",
        test: BESIDE,
    },
    Fault {
        name: "a page is watched while others go on to write it",
        file: "crates/engine/src/crew.rs",
        find: "                if !has(unsafe {",
        replace: "                if self.apart || !has(unsafe {",
        test: BESIDE,
    },
    Fault {
        name: "a machine forgets which snapshot it goes on from",
        file: "apps/omni/src/keeper.rs",
        find: "        inner.origin.parent = Some(written.id.to_string());\n",
        replace: "",
        test: SNAPSHOTS,
    },
    Fault {
        name: "a machine that has ended keeps a snapshot all the same",
        file: "apps/omni/src/keeper.rs",
        find: "true);\n",
        replace: "false);\n",
        test: "-p omni --bin omni nothing_is_kept",
    },
    Fault {
        name: "a group goes on where there is room for one of it",
        file: "apps/omni/src/room.rs",
        find: "check_beside(promised.fold(0, u64::saturating_add), again, registry)",
        replace: "check_beside(promised.max().unwrap_or(0), again, registry)",
        test: "-p omni --test switch a_group_goes_on_only",
    },
    Fault {
        name: "what cannot be removed of a group is forgotten",
        file: "apps/omni/src/groups.rs",
        find: "        let Some((name, Failure { code, text })) = stays else {",
        replace: "        self.forget(&file.tag);\n        \
                  let Some((name, Failure { code, text })) = stays else {",
        test: "-p omni --test switch what_cannot_be_removed",
    },
    Fault {
        name: "pages that differ are told without where the guest has them",
        file: "apps/omni/src/diff.rs",
        find: "let at = base + page.base().0;",
        replace: "let at = base.min(page.base().0);",
        test: SNAPSHOTS,
    },
    Fault {
        name: "blocks of one machine's page are taken for another's",
        file: "crates/engine/src/sources.rs",
        find: "|page| ram.is_held(no, page));\n        if fits",
        replace: "|page| page.bytes().is_ok());\n        if fits",
        test: HOSTILE,
    },
    Fault {
        name: "blocks of a page that nobody holds go along to another machine",
        file: "crates/engine/src/run/part.rs",
        find: "for no in self.sources.part(ram).into_iter().chain(stale) {",
        replace: "drop(self.sources.part(ram));\n        for no in stale {",
        test: HOSTILE,
    },
    Fault {
        name: "an engine goes to another machine with its TLBs as they are",
        file: "crates/engine/src/run/part.rs",
        find: "        self.each_tlb(Tlb::part);\n",
        replace: "",
        test: HOSTILE,
    },
];
