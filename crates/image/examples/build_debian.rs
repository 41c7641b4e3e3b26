//! Builds a minimal image as `omni image build` does:
//! `build_debian IMAGES CACHE [REFERENCE [ARCH]]`.

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;

use omni_image::{Arch, DebianBuilder, Progress, Retry};

/// Writes a line when a step begins and one when it ends.
#[derive(Default)]
struct Lines {
    done: u64,
}

impl Progress for Lines {
    fn begin(&mut self, name: &str, total: Option<u64>) {
        self.done = 0;
        let total = total.map_or_else(String::new, |bytes| format!(" ({bytes} bytes)"));
        // Progress is talk: it may be lost.
        let _ = writeln!(stderr(), "{name}{total}");
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
    }

    fn end(&mut self) {
        let _ = writeln!(stderr(), "  {} bytes", self.done);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let images = PathBuf::from(args.next().ok_or("usage: build_debian IMAGES CACHE")?);
    let cache = PathBuf::from(args.next().ok_or("usage: build_debian IMAGES CACHE")?);
    let reference = args.next().unwrap_or_else(|| "debian-minimal".to_owned()).parse()?;
    let arch: Arch = args.next().unwrap_or_else(|| "riscv64".to_owned()).parse()?;
    let mut progress = Lines::default();
    let builder = DebianBuilder {
        mirror: None,
        reference,
        arch,
        cache,
        keyring: None,
        retry: Retry::default(),
        progress: &mut progress,
    };
    let image = builder.build(&images)?;
    writeln!(stdout(), "{}", serde_json::to_string_pretty(&image.info)?)?;
    Ok(())
}
