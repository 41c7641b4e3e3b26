//! The machine that tests try the board with: two harts and every device, all in use.

use omni_base::PAGE_SIZE_U64;
use omni_machine::{DiskSpec, Spec};
use omni_memory::Image;

/// The sample program; its source and how to build it are in `sample/sample.c`.
const PROGRAM: &[u8] = include_bytes!("../sample/sample.elf");

/// The spec of the sample machine: what is typed is echoed, requests are made of the disk and the
/// entropy source, frames are sent back, pages are given back, and timers interrupt all of it.
#[must_use]
pub fn sample_spec() -> Spec {
    let mut spec = Spec::new("riscv-virt");
    for (name, value) in [("memory", "16M"), ("cpus", "2"), ("net", "user"), ("balloon", "true")] {
        spec.options.insert(name.into(), value.into());
    }
    spec.files.insert("image".into(), PROGRAM.into());
    let bytes = 128 * PAGE_SIZE_U64;
    spec.disks.push(DiskSpec { bytes, read_only: false, image: Image::default() });
    spec
}
