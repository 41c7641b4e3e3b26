//! Disk images: any bytes, or a sound one with changes where headers and tables are.

use crate::bytes::Choices;
use omni_disk::Format;
use omni_disk::hostile::{Mutant, look, samples};
use std::sync::{Arc, OnceLock};

/// A sound image, and where in it something is besides the data of the disk.
struct Sample {
    format: Format,
    bytes: Arc<Vec<u8>>,
    places: Vec<u64>,
}

/// What is looked at as one place.
const PLACE_BYTES: usize = 64;

fn all() -> &'static [Sample] {
    static ALL: OnceLock<Vec<Sample>> = OnceLock::new();
    ALL.get_or_init(|| {
        let sample = |(format, bytes): (Format, Arc<Vec<u8>>)| {
            let places = bytes.chunks(PLACE_BYTES).enumerate();
            let places = places.filter(|(_, place)| place.iter().any(|&byte| byte != 0));
            let places: Vec<u64> = places.map(|(no, _)| (no * PLACE_BYTES) as u64).collect();
            // Of the data, which is most, the beginning is enough.
            let few = |at: &u64| at % 4096 < 256 || *at < 8192;
            Sample { format, bytes, places: places.into_iter().filter(few).collect() }
        };
        samples().into_iter().map(sample).collect()
    })
}

/// An image of a format. What can be read of it is the same after a copy; what is resized is sound.
fn image(format: Format, data: &[u8]) {
    let mut from = Choices(data);
    let how = from.u8();
    if how == 0 {
        return look(format, &Mutant::new(Arc::new(from.0.to_vec())));
    }
    let own: Vec<&Sample> = all().iter().filter(|sample| sample.format == format).collect();
    let Some(sample) = own.get(usize::from(how) % own.len().max(1)) else { return };
    let mut mutant = Mutant::new(sample.bytes.clone());
    while !from.is_empty() {
        let place = sample.places[usize::from(from.u16()) % sample.places.len()];
        let what = from.u8();
        let at = place + u64::from(what & 63);
        let bytes =
            if what & 64 == 0 { from.number().to_be_bytes() } else { from.number().to_le_bytes() };
        let width = 1 << (what >> 6 & 2 | what & 1);
        let bytes = if what & 64 == 0 { &bytes[8 - width..] } else { &bytes[..width] };
        if at + 8 <= sample.bytes.len() as u64 {
            mutant.change(at, bytes);
        }
    }
    if how & 0x40 != 0 {
        mutant.cut(u64::from(how & 0x3f) * sample.bytes.len() as u64 / 48);
    }
    if how & 0x80 == 0 {
        mutant.seal(format);
    }
    look(format, &mutant);
}

/// A qcow2 image.
pub fn disk_qcow2(data: &[u8]) {
    image(Format::Qcow2, data);
}

/// A VMDK image, sparse or with a descriptor of its own.
pub fn disk_vmdk(data: &[u8]) {
    image(Format::Vmdk, data);
}

/// A VDI image.
pub fn disk_vdi(data: &[u8]) {
    image(Format::Vdi, data);
}

/// A VHD image.
pub fn disk_vhd(data: &[u8]) {
    image(Format::Vhd, data);
}

/// A VHDX image.
pub fn disk_vhdx(data: &[u8]) {
    image(Format::Vhdx, data);
}
