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
];
