//! The faults that `cargo xtask sabotage` plants: each is a mistake that someone could make.

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
const STORY: &str = "-p omni-conformance --test kinds story::";
const BOARD: &str = "-p omni-conformance --test kinds board::";
const CONTRACT: &str = "-p omni-lifecycle --test contract";
const FILE: &str = "-p omni-lifecycle --test file";
const MODEL: &str = "-p omni-memory --test model";
const STORE: &str = "-p omni-store --test store";
const STORE_FAULTS: &str = "-p omni-store --test faults";
const IMAGES: &str = "-p omni-memory --test images";
const TIERS: &str = "-p omni-engine --test tiers";
const FLOAT: &str = "-p omni-engine --test float";
const HOSTILE: &str = "-p omni-engine --test hostile";

pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        name: "a dirty page is forgotten",
        file: "crates/memory/src/space.rs",
        find: "        self.dirty.push(no);\n",
        replace: "        if no.0 % 5 != 4 {\n            self.dirty.push(no);\n        }\n",
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
        name: "a write to a watched page is not reported",
        file: "crates/memory/src/space.rs",
        find: "            self.changes.written.push(no);\n",
        replace: "",
        test: MODEL,
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
        find: "            player.check(check)?;\n",
        replace: "            let _ = check;\n",
        test: CONTRACT,
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
        file: "crates/lifecycle/src/log.rs",
        find: "if *check != length_check(*chain, length) {",
        replace: "if *check == [0; 4] && *check != length_check(*chain, length) {",
        test: TOY,
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
        find: "        if jumped {\n",
        replace: "        if jumped && range == Range::ALL {\n",
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
];
