//! The flattened device tree: what the guest is told of the board.

use crate::layout::{
    ACLINT, Item, PLIC, RAM_BASE, RTC, Range, SSWI, SYSCON, TIMEBASE_HZ, UART, What,
};
use omni_devices::{Syscon, UART_CLOCK_HZ};
use vm_fdt::{Error, FdtWriter};

/// What a device tree says beyond what is the same on every board.
#[derive(Clone, Debug)]
pub(crate) struct Tree<'a> {
    pub(crate) harts: u32,
    pub(crate) ram_bytes: u64,
    pub(crate) items: &'a [Item],
    pub(crate) command_line: &'a str,
    /// First and one past the last address of the initial RAM disk.
    pub(crate) initrd: Option<(u64, u64)>,
    /// Seeds the kernel's random numbers before any driver runs.
    pub(crate) rng_seed: [u8; 32],
    /// The deepest paging mode: `riscv,sv39`, `riscv,sv48` or `riscv,sv57`.
    pub(crate) mmu: &'static str,
    /// The instruction set as the device tree writes it.
    pub(crate) isa: &'a str,
    /// Whether machine mode is the guest's own: then its interrupt sources are described too.
    pub(crate) machine_mode: bool,
}

const PLIC_PHANDLE: u32 = 0x100;
const SYSCON_PHANDLE: u32 = 0x101;
const SUPERVISOR_EXTERNAL: u32 = 9;
const MACHINE_EXTERNAL: u32 = 11;
const MACHINE_SOFTWARE: u32 = 3;
const MACHINE_TIMER: u32 = 7;
const SUPERVISOR_SOFTWARE: u32 = 1;
/// What a context of the PLIC is wired to if the guest must not know.
const NOT_CONNECTED: u32 = u32::MAX;

/// The blob.
pub(crate) fn write(tree: &Tree<'_>) -> Result<Vec<u8>, Error> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_string("compatible", "riscv-virtio")?;
    fdt.property_string("model", "omnivisor,riscv-virt")?;
    chosen(&mut fdt, tree)?;
    cpus(&mut fdt, tree)?;
    let memory = fdt.begin_node(&format!("memory@{:x}", RAM_BASE.0))?;
    fdt.property_string("device_type", "memory")?;
    fdt.property_array_u64("reg", &[RAM_BASE.0, tree.ram_bytes])?;
    fdt.end_node(memory)?;
    let soc = fdt.begin_node("soc")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_string("compatible", "simple-bus")?;
    fdt.property_null("ranges")?;
    interrupts(&mut fdt, tree)?;
    tree.items.iter().try_for_each(|item| device(&mut fdt, item))?;
    fdt.end_node(soc)?;
    power(&mut fdt)?;
    fdt.end_node(root)?;
    fdt.finish()
}

fn chosen(fdt: &mut FdtWriter, tree: &Tree<'_>) -> Result<(), Error> {
    let node = fdt.begin_node("chosen")?;
    fdt.property_string("bootargs", tree.command_line)?;
    fdt.property_string("stdout-path", &format!("/soc/serial@{:x}", UART.base))?;
    if let Some((start, end)) = tree.initrd {
        fdt.property_u64("linux,initrd-start", start)?;
        fdt.property_u64("linux,initrd-end", end)?;
    }
    fdt.property("rng-seed", &tree.rng_seed)?;
    fdt.end_node(node)
}

fn hart_phandle(hart: u32) -> u32 {
    1 + hart
}

fn cpus(fdt: &mut FdtWriter, tree: &Tree<'_>) -> Result<(), Error> {
    let cpus = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    fdt.property_u32("timebase-frequency", TIMEBASE_HZ)?;
    let mut words = tree.isa.split('_');
    let base = words.next().unwrap_or_default();
    let (width, letters) = base.split_at(base.len().min(4));
    let extensions: Vec<String> =
        letters.chars().map(String::from).chain(words.map(String::from)).collect();
    for hart in 0..tree.harts {
        let cpu = fdt.begin_node(&format!("cpu@{hart:x}"))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_u32("reg", hart)?;
        fdt.property_string("status", "okay")?;
        fdt.property_string("compatible", "riscv")?;
        fdt.property_string("riscv,isa", tree.isa)?;
        fdt.property_string("riscv,isa-base", &format!("{width}i"))?;
        fdt.property_string_list("riscv,isa-extensions", extensions.clone())?;
        fdt.property_string("mmu-type", tree.mmu)?;
        for block in ["riscv,cbom-block-size", "riscv,cbop-block-size", "riscv,cboz-block-size"] {
            fdt.property_u32(block, 64)?;
        }
        let controller = fdt.begin_node("interrupt-controller")?;
        fdt.property_u32("#interrupt-cells", 1)?;
        fdt.property_null("interrupt-controller")?;
        fdt.property_string("compatible", "riscv,cpu-intc")?;
        fdt.property_phandle(hart_phandle(hart))?;
        fdt.end_node(controller)?;
        fdt.end_node(cpu)?;
    }
    fdt.end_node(cpus)
}

fn node(fdt: &mut FdtWriter, name: &str, range: Range) -> Result<vm_fdt::FdtWriterNode, Error> {
    let node = fdt.begin_node(&format!("{name}@{:x}", range.base))?;
    fdt.property_array_u64("reg", &[range.base, range.size])?;
    Ok(node)
}

/// Pairs of a hart's controller and one of its inputs, for every hart.
fn wires(tree: &Tree<'_>, inputs: &[u32]) -> Vec<u32> {
    let pairs = |hart| inputs.iter().flat_map(move |input| [hart_phandle(hart), *input]);
    (0..tree.harts).flat_map(pairs).collect()
}

fn interrupts(fdt: &mut FdtWriter, tree: &Tree<'_>) -> Result<(), Error> {
    if tree.machine_mode {
        let clint = node(fdt, "clint", ACLINT)?;
        fdt.property_string_list(
            "compatible",
            vec!["sifive,clint0".into(), "riscv,clint0".into()],
        )?;
        let inputs = wires(tree, &[MACHINE_SOFTWARE, MACHINE_TIMER]);
        fdt.property_array_u32("interrupts-extended", &inputs)?;
        fdt.end_node(clint)?;
    }
    let sswi = node(fdt, "sswi", SSWI)?;
    fdt.property_string("compatible", "riscv,aclint-sswi")?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 0)?;
    fdt.property_array_u32("interrupts-extended", &wires(tree, &[SUPERVISOR_SOFTWARE]))?;
    fdt.end_node(sswi)?;
    let plic = node(fdt, "plic", PLIC)?;
    fdt.property_string_list("compatible", vec!["sifive,plic-1.0.0".into(), "riscv,plic0".into()])?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 1)?;
    fdt.property_u32("#address-cells", 0)?;
    fdt.property_u32("riscv,ndev", 95)?;
    let machine = if tree.machine_mode { MACHINE_EXTERNAL } else { NOT_CONNECTED };
    let inputs = wires(tree, &[machine, SUPERVISOR_EXTERNAL]);
    fdt.property_array_u32("interrupts-extended", &inputs)?;
    fdt.property_phandle(PLIC_PHANDLE)?;
    fdt.end_node(plic)
}

fn device(fdt: &mut FdtWriter, item: &Item) -> Result<(), Error> {
    let name = match item.what {
        What::Uart => "serial",
        What::Rtc => "rtc",
        What::Syscon => "test",
        What::Virtio(_) => "virtio_mmio",
    };
    let node = node(fdt, name, item.range)?;
    match item.what {
        What::Uart => {
            fdt.property_string("compatible", "ns16550a")?;
            fdt.property_u32("clock-frequency", UART_CLOCK_HZ)?;
        }
        What::Rtc => fdt.property_string("compatible", "google,goldfish-rtc")?,
        What::Syscon => {
            let all = ["sifive,test1", "sifive,test0", "syscon"].map(String::from);
            fdt.property_string_list("compatible", all.to_vec())?;
            fdt.property_phandle(SYSCON_PHANDLE)?;
        }
        What::Virtio(_) => {
            fdt.property_string("compatible", "virtio,mmio")?;
            fdt.property_null("dma-coherent")?;
        }
    }
    if let Some(irq) = item.irq {
        fdt.property_u32("interrupts", irq)?;
        fdt.property_u32("interrupt-parent", PLIC_PHANDLE)?;
    }
    fdt.end_node(node)
}

fn power(fdt: &mut FdtWriter) -> Result<(), Error> {
    assert_eq!(SYSCON.base + 0x1000, RTC.base, "the register is at the range's start");
    for (name, value) in [("poweroff", Syscon::PASS), ("reboot", Syscon::RESET)] {
        let node = fdt.begin_node(name)?;
        fdt.property_string("compatible", &format!("syscon-{name}"))?;
        fdt.property_u32("regmap", SYSCON_PHANDLE)?;
        fdt.property_u32("offset", 0)?;
        fdt.property_u32("value", value)?;
        fdt.end_node(node)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::items;

    #[test]
    fn the_tree_of_the_largest_board_is_written() {
        let items = items(16, 4, true, true);
        let tree = Tree {
            harts: 8,
            ram_bytes: 1 << 30,
            items: &items,
            command_line: "console=ttyS0",
            initrd: Some((0x9000_0000, 0x9100_0000)),
            rng_seed: [7; 32],
            mmu: "riscv,sv57",
            isa: "rv64imafdc_zicsr_zifencei",
            machine_mode: true,
        };
        let blob = write(&tree).expect("sound");
        assert_eq!(blob[..4], 0xd00d_feed_u32.to_be_bytes());
        let text = String::from_utf8_lossy(&blob);
        for word in ["console=ttyS0", "sifive,plic-1.0.0", "virtio_mmio@10001000", "cpu@7"] {
            assert!(text.contains(word), "{word}");
        }
    }
}
