//! A kernel and its initial RAM disk as one file, for a peer that loads one file.

use crate::BenchError;
use crate::compile::at;
use std::fs;
use std::path::{Path, PathBuf};

/// Where RVVM puts a payload: after 2 MiB for the firmware.
const PAYLOAD_ADDRESS: u64 = 0x8020_0000;

/// Where the disk lies behind it, at least: firmware puts the device tree below.
const DISK_OFFSET_MIN: u64 = 64 << 20;

/// Where a RISC-V kernel's header has the bytes that the kernel takes, those it clears included.
const IMAGE_SIZE: std::ops::Range<usize> = 16..24;

/// A kernel far larger than any.
const KERNEL_BYTES_MAX: u64 = 256 << 20;

/// Writes both to `to`. Gives it back, with the word that tells the kernel where the disk lies.
pub(crate) fn join(
    kernel: &Path,
    initrd: &Path,
    to: &Path,
) -> Result<(PathBuf, String), BenchError> {
    let mut payload = fs::read(kernel).map_err(at(kernel))?;
    let disk = fs::read(initrd).map_err(at(initrd))?;
    let size = payload.get(IMAGE_SIZE).and_then(|bytes| bytes.try_into().ok());
    let size = size.map(u64::from_le_bytes).filter(|size| *size <= KERNEL_BYTES_MAX);
    let size = size.ok_or_else(|| BenchError::NoKernelImage { path: kernel.into() })?;
    let end = size.max(payload.len() as u64).next_multiple_of(2 << 20);
    let offset = end.max(DISK_OFFSET_MIN);
    payload.resize(usize::try_from(offset).expect("bounded above"), 0);
    payload.extend_from_slice(&disk);
    fs::write(to, &payload).map_err(at(to))?;
    let word = format!("initrdmem={:#x},{:#x}", PAYLOAD_ADDRESS + offset, disk.len());
    Ok((to.into(), word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_lies_behind_all_that_the_kernel_clears() {
        let folder = std::env::temp_dir().join(format!("omni-payload-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("writable");
        let (kernel, initrd) = (folder.join("kernel"), folder.join("initrd"));
        let mut header = vec![0; 64];
        header[IMAGE_SIZE].copy_from_slice(&(99_u64 << 20).to_le_bytes());
        fs::write(&kernel, &header).expect("writable");
        fs::write(&initrd, b"disk").expect("writable");
        let (payload, word) = join(&kernel, &initrd, &folder.join("both")).expect("a kernel");
        assert_eq!(word, "initrdmem=0x86600000,0x4");
        assert_eq!(&fs::read(payload).expect("written")[100 << 20..], b"disk");
        header[IMAGE_SIZE].fill(0xff);
        fs::write(&kernel, &header).expect("writable");
        assert!(join(&kernel, &initrd, &folder.join("both")).is_err());
        fs::remove_dir_all(folder).expect("own");
    }
}
