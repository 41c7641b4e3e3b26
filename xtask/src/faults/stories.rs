//! Faults in what runs Glulx stories.

use super::Fault;

const LARGE_STORY: &str = "-p omni-conformance --test kinds large_story::";

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "a restored large story draws other random numbers",
        file: "vms/glulx/src/kind.rs",
        find: "        vm.world.cpu = records.take(\"cpu\")?;\n",
        replace: "        vm.world.cpu = records.take(\"cpu\")?;\n        \
                  vm.world.cpu.random = [1; 4];\n",
        test: LARGE_STORY,
    },
    Fault {
        name: "a store that is stopped at has gone over an operand",
        file: "vms/glulx/src/calls.rs",
        find: "            self.probe(Size::B8, slot::SP.into(), offset + 8);\n",
        replace: "",
        test: LARGE_STORY,
    },
    Fault {
        name: "undo of a large story forgets the stack",
        file: "vms/glulx/src/undo.rs",
        find: "        self.bring_back(in_slot, self.layout.stack_page(), stack.into());\n",
        replace: "        let _ = (in_slot, stack);\n",
        test: "-p omni-vm-glulx --test suites",
    },
    Fault {
        name: "much work of single instructions shuts out a kick",
        file: "vms/glulx/src/world.rs",
        find: "self.work.get() > WORK_MAX;\n",
        replace: "self.work.get() > WORK_MAX << 40;\n",
        test: "-p omni-vm-glulx --lib hostile_tests::",
    },
    Fault {
        name: "a file that is open at the end of a story is lost",
        file: "vms/glulx/src/streams.rs",
        find: "            self.effects.push((self.now, Effect::Io(request)));\n",
        replace: "            drop(request);\n",
        test: "-p omni-vm-glulx --lib hostile_tests::",
    },
];
