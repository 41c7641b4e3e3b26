//! What is where: one description from which both the bus and the device tree are made.

use omni_base::Gpa;
use omni_machine::PortId;

/// The guest-physical address of the first byte of RAM.
pub(crate) const RAM_BASE: Gpa = Gpa(0x8000_0000);

/// Where a supervisor's image goes: firmware has the two mebibytes below.
pub(crate) const KERNEL_OFFSET: u64 = 0x20_0000;

/// Frequency of `mtime` and the `time` CSR.
pub(crate) const TIMEBASE_HZ: u32 = 10_000_000;

/// The extensions of every hart beyond `rv64imafdc`, in canonical order.
pub(crate) const EXTENSIONS: &[&str] = &[
    "zicbom",
    "zicbop",
    "zicboz",
    "zicntr",
    "zicond",
    "zicsr",
    "zifencei",
    "zihintntl",
    "zihintpause",
    "zihpm",
    "zimop",
    "zacas",
    "zawrs",
    "zfa",
    "zfh",
    "zfhmin",
    "zca",
    "zcb",
    "zcd",
    "zcmop",
    "zba",
    "zbb",
    "zbc",
    "zbs",
    "smepmp",
    "sstc",
    "svadu",
    "svinval",
    "svnapot",
    "svpbmt",
];

/// The instruction set as the device tree writes it: `EXTENSIONS` put together.
pub(crate) const ISA: &str = "rv64imafdc_zicbom_zicbop_zicboz_zicntr_zicond_zicsr_zifencei_\
                              zihintntl_zihintpause_zihpm_zimop_zacas_zawrs_zfa_zfh_zfhmin_\
                              zca_zcb_zcd_zcmop_zba_zbb_zbc_zbs_smepmp_sstc_svadu_svinval_\
                              svnapot_svpbmt";

/// Harts at most.
pub(crate) const HARTS_MAX: u64 = 8;

/// Network interfaces at most.
pub(crate) const NETS_MAX: usize = 4;

/// Disks at most.
pub(crate) const DISKS_MAX: usize = 16;

/// The serial console.
pub(crate) const CONSOLE: PortId = PortId(0);
/// The paravirtual console.
pub(crate) const VIRTIO_CONSOLE: PortId = PortId(1);
/// The first network interface; the others follow.
pub(crate) const NET_0: u16 = 2;
/// The first disk; the others follow.
pub(crate) const DISK_0: u16 = 16;

/// A stretch of the bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) base: u64,
    pub(crate) size: u64,
}

pub(crate) const SYSCON: Range = Range { base: 0x10_0000, size: 0x1000 };
pub(crate) const RTC: Range = Range { base: 0x10_1000, size: 0x1000 };
pub(crate) const ACLINT: Range = Range { base: 0x200_0000, size: 0x1_0000 };
pub(crate) const SSWI: Range = Range { base: 0x2f0_0000, size: 0x4000 };
pub(crate) const PLIC: Range = Range { base: 0xc00_0000, size: 0x60_0000 };
pub(crate) const UART: Range = Range { base: 0x1000_0000, size: 0x100 };

/// The transport with this number, from zero.
pub(crate) const fn virtio(number: u64) -> Range {
    Range { base: 0x1000_1000 + number * 0x1000, size: 0x1000 }
}

/// What kind of device is behind a virtio transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Virtio {
    Entropy,
    Console,
    /// The network interface of this number.
    Net(usize),
    /// The disk of this number.
    Block(usize),
    /// The power button.
    Panel,
    Balloon,
}

/// What is attached to the bus, in slot order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Uart,
    Rtc,
    Syscon,
    Virtio(Virtio),
}

/// One attached device: its place in the list is its slot.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) what: What,
    pub(crate) name: String,
    pub(crate) range: Range,
    /// The id of its line at the PLIC.
    pub(crate) irq: Option<u32>,
}

/// Everything on the bus but the interrupt controllers, for so many disks and network interfaces,
/// and with a power button and a balloon or without.
pub(crate) fn items(disks: usize, nets: usize, button: bool, balloon: bool) -> Vec<Item> {
    let item = |what, name: &str, range, irq| Item { what, name: name.into(), range, irq };
    let mut items = vec![
        item(What::Uart, "uart0", UART, Some(10)),
        item(What::Rtc, "rtc0", RTC, Some(11)),
        item(What::Syscon, "syscon", SYSCON, None),
    ];
    let mut behind =
        vec![("rng0".to_owned(), Virtio::Entropy), ("console0".to_owned(), Virtio::Console)];
    behind.extend((0..nets).map(|net| (format!("net{net}"), Virtio::Net(net))));
    behind.extend((0..disks).map(|disk| (format!("disk{disk}"), Virtio::Block(disk))));
    if button {
        behind.push(("panel0".to_owned(), Virtio::Panel));
    }
    // Last, so that all others are where they are without it.
    behind.extend(balloon.then(|| ("balloon0".to_owned(), Virtio::Balloon)));
    for (number, (name, what)) in (0..).zip(behind) {
        // Ids 1 to 8 and 16 on: 10 and 11 are taken.
        let irq = if number < 8 { 1 + number } else { 8 + number };
        let irq = u32::try_from(irq).expect("few devices");
        items.push(item(What::Virtio(what), &name, virtio(number), Some(irq)));
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instruction_set_is_the_list_of_extensions() {
        assert_eq!(ISA, format!("rv64imafdc_{}", EXTENSIONS.join("_")));
    }

    #[test]
    fn no_two_devices_share_an_address_or_a_line() {
        let items = items(DISKS_MAX, NETS_MAX, true, true);
        for (at, one) in items.iter().enumerate() {
            for two in &items[at + 1..] {
                assert!(one.irq.is_none() || one.irq != two.irq, "{} {}", one.name, two.name);
                let (a, b) = (one.range, two.range);
                assert!(a.base + a.size <= b.base || b.base + b.size <= a.base);
            }
        }
    }
}
