//! Writes the seed corpora: `seeds [FOLDER]`, `corpus` where none is given.

use std::io::Write;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| "corpus".into(), PathBuf::from);
    for (target, seeds) in omni_fuzz::seeds::all() {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        for (at, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{at:03}")), seed)?;
        }
        writeln!(std::io::stdout(), "{target}: {} seeds", seeds.len())?;
    }
    Ok(())
}
