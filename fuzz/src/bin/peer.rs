//! Compares WebAssembly with another engine for a while: `peer SECONDS [SEED]`; or writes the
//! module of a seed to a file: `peer 0 SEED FILE`.

use omni_fuzz::{Outcome, module_of, peer};
use std::io::Write;
use std::time::{Duration, Instant};

/// Bytes that a module is made of, at most.
const BYTES_MAX: u64 = 8192;

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// What the module of a seed is made of.
fn bytes_of(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let length = next(&mut state) % BYTES_MAX;
    (0..length).map(|_| (next(&mut state) >> 32) as u8).collect()
}

fn main() -> std::io::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let seconds = numbers.next().and_then(Result::ok).unwrap_or(60);
    let mut seed = numbers.next().and_then(Result::ok).unwrap_or(1);
    let (end, mut counts) = (Instant::now() + Duration::from_secs(seconds), [0u64; 3]);
    let mut out = std::io::stdout();
    if let Some(file) = std::env::args_os().nth(3) {
        return std::fs::write(file, module_of(&bytes_of(seed)).unwrap_or_default());
    }
    while Instant::now() < end {
        let bytes = bytes_of(seed);
        match std::panic::catch_unwind(|| peer(&bytes)) {
            Ok(Outcome::Equal) => counts[0] += 1,
            Ok(Outcome::Limit) => counts[1] += 1,
            Ok(Outcome::None) => counts[2] += 1,
            Err(_) => writeln!(out, "seed {seed} is a finding")?,
        }
        seed += 1;
    }
    let [equal, limit, none] = counts;
    writeln!(out, "{equal} equal, {limit} met a limit, {none} no module; next seed {seed}")
}
