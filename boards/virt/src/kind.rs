//! The kind: what a `riscv-virt` machine is, what it takes, and how it is made.

use crate::boot::{self, is_elf, is_image};
use crate::layout::{
    CONSOLE, DISK_0, DISKS_MAX, EXTENSIONS, HARTS_MAX, NET_0, NETS_MAX, RAM_BASE, VIRTIO_CONSOLE,
};
use crate::machine::{CAPS, Virt};
use crate::wires::mac;
use omni_base::{Gpa, PAGE_SIZE_U64};
use omni_machine::{
    Confidence, CreateError, Group, KindInfo, Machine, MachineKind, OptionSpec, OptionType, PortId,
    PortInfo, PortKind, Region, Spec,
};
use omni_memory::Space;
use omni_state::Bundle;

/// The kind `riscv-virt`.
#[derive(Clone, Copy, Default, Debug)]
pub struct RiscvVirt;

const MEMORY_MIN: u64 = 16 << 20;
const MEMORY_MAX: u64 = 64 << 30;
/// What all spaces can have together: a live space costs memory by its size.
const SPACES_MAX: u64 = 16 << 40;

static INFO: KindInfo = KindInfo {
    name: "riscv-virt",
    group: Group::System,
    about: "RISC-V 64 board that runs unmodified operating systems and bare programs",
    arch: Some("riscv64"),
    extensions: EXTENSIONS,
    caps: CAPS,
    semantics: 1,
    options: &[
        OptionSpec {
            name: "memory",
            ty: OptionType::Size,
            default: "512M",
            about: "RAM, 16M to 64G",
        },
        OptionSpec { name: "cpus", ty: OptionType::Number, default: "1", about: "harts, 1 to 8" },
        OptionSpec {
            name: "append",
            ty: OptionType::Text,
            default: "",
            about: "the kernel's command line",
        },
        OptionSpec {
            name: "net",
            ty: OptionType::Text,
            default: "none",
            about: "how each network interface is connected, with commas between; none for none",
        },
        OptionSpec {
            name: "mmu",
            ty: OptionType::Text,
            default: "sv57",
            about: "the paging mode the device tree offers: sv39, sv48 or sv57",
        },
        OptionSpec {
            name: "button",
            ty: OptionType::Flag,
            default: "false",
            about: "whether there is a power button, which 'stop' presses",
        },
        OptionSpec {
            name: "balloon",
            ty: OptionType::Flag,
            default: "false",
            about: "whether the guest can give memory back that it does not need",
        },
    ],
    files: &["image", "kernel", "initrd", "firmware"],
    bases: &[("ram", RAM_BASE)],
};

/// The shape of a machine, from its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub(crate) ram_bytes: u64,
    pub(crate) harts: u64,
    pub(crate) nets: usize,
    pub(crate) mmu: &'static str,
    pub(crate) button: bool,
    pub(crate) balloon: bool,
}

impl Shape {
    /// Checks the options of a spec.
    pub(crate) fn of(spec: &Spec) -> Result<Self, CreateError> {
        let bad = |name: &str, why: String| CreateError::Option { name: name.into(), why };
        let known = |name: &&String| INFO.options.iter().any(|option| option.name == *name);
        if let Some(name) = spec.options.keys().find(|name| !known(name)) {
            return Err(bad(name, "is not one that riscv-virt has".into()));
        }
        let ram_bytes = spec.number("memory", 512 << 20)?;
        if !(MEMORY_MIN..=MEMORY_MAX).contains(&ram_bytes) || ram_bytes % PAGE_SIZE_U64 != 0 {
            return Err(bad("memory", "must be from 16M to 64G, in units of 4K".into()));
        }
        let harts = spec.number("cpus", 1)?;
        if !(1..=HARTS_MAX).contains(&harts) {
            return Err(bad("cpus", format!("must be from 1 to {HARTS_MAX}")));
        }
        if spec.disks.len() > DISKS_MAX {
            return Err(bad("disk", format!("there can be at most {DISKS_MAX}")));
        }
        if spec.disks.iter().any(|disk| disk.bytes == 0 || !disk.bytes.is_multiple_of(512)) {
            return Err(bad("disk", "its size must be a multiple of 512, and not zero".into()));
        }
        let bytes = spec.disks.iter().try_fold(ram_bytes, |sum, disk| sum.checked_add(disk.bytes));
        if bytes.is_none_or(|bytes| bytes > SPACES_MAX) {
            return Err(bad("disk", "memory and disks can have 16T together".into()));
        }
        let mmu = match spec.option("mmu").unwrap_or("sv57") {
            "sv39" => "riscv,sv39",
            "sv48" => "riscv,sv48",
            "sv57" => "riscv,sv57",
            other => return Err(bad("mmu", format!("'{other}' is not sv39, sv48 or sv57"))),
        };
        let nets = match spec.option("net") {
            None | Some("none") => 0,
            Some(list) => list.split(',').count(),
        };
        if nets > NETS_MAX {
            return Err(bad("net", format!("there can be at most {NETS_MAX}")));
        }
        let button = match spec.option("button") {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(bad("button", format!("'{other}' is not true or false"))),
        };
        let balloon = match spec.option("balloon") {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(bad("balloon", format!("'{other}' is not true or false"))),
        };
        Ok(Self { ram_bytes, harts, nets, mmu, button, balloon })
    }
}

/// Whether the kernel is told that its console is the paravirtual one: the last that its command
/// line names is the one that `/dev/console` is.
fn paravirtual_console(spec: &Spec) -> bool {
    let words = spec.option("append").unwrap_or_default().split_whitespace();
    let console = words.filter_map(|word| word.strip_prefix("console=")).next_back();
    console.is_some_and(|console| console.starts_with("hvc"))
}

impl MachineKind for RiscvVirt {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn probe(&self, image: &[u8]) -> Confidence {
        if is_elf(image) || is_image(image) { Confidence::Sure } else { Confidence::No }
    }

    fn ports(&self, spec: &Spec) -> Result<Vec<PortInfo>, CreateError> {
        let shape = Shape::of(spec)?;
        let port = |id, name: &str, kind| PortInfo { id, name: name.into(), kind };
        let mut ports = vec![
            port(CONSOLE, "ttyS0", PortKind::Console),
            port(VIRTIO_CONSOLE, "hvc0", PortKind::Console),
        ];
        if paravirtual_console(spec) {
            ports.reverse();
        }
        for (index, id) in (0..shape.nets).zip(NET_0..) {
            let kind = PortKind::Net { mac: mac(spec, index) };
            ports.push(port(PortId(id), &format!("net{index}"), kind));
        }
        for (at, id) in (0..spec.disks.len()).zip(DISK_0..) {
            let name = format!("disk{at}");
            let kind = PortKind::Disk { space: name.clone() };
            ports.push(PortInfo { id: PortId(id), name, kind });
        }
        Ok(ports)
    }

    fn signature(&self, spec: &Spec) -> Option<Region> {
        let shape = Shape::of(spec).ok()?;
        let (begin, end) = boot::plan(spec, shape.ram_bytes).ok()?.signature?;
        let at = Gpa(begin - RAM_BASE.0);
        Some(Region { space: "ram".into(), at, bytes: end - begin })
    }

    fn create(&self, spec: &Spec) -> Result<Box<dyn Machine>, CreateError> {
        Ok(Box::new(Virt::create(spec)?))
    }

    fn restore(
        &self,
        spec: &Spec,
        spaces: Vec<Space>,
        records: Bundle,
    ) -> Result<Box<dyn Machine>, CreateError> {
        Ok(Box::new(Virt::restore(spec, spaces, records)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_that_the_kernel_uses_comes_first() {
        for (append, first) in [
            ("", "ttyS0"),
            ("console=ttyS0 quiet", "ttyS0"),
            ("console=ttyS0 console=hvc0 quiet", "hvc0"),
            ("console=hvc0 console=ttyS0,115200", "ttyS0"),
        ] {
            let mut spec = Spec::new("riscv-virt");
            spec.options.insert("append".into(), append.into());
            let ports = RiscvVirt.ports(&spec).expect("sound");
            assert_eq!(ports[0].name, first, "{append}");
        }
    }
}
