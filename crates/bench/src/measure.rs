//! The suite measured: peers in turns, so that a noisy host is as unfair to one as to the other.

use crate::BenchError;
use crate::peer::{Field, Peer, Sample};
use crate::report::{Cell, Host, Report, Row};
use crate::suite::{Kernel, kernels_named};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A kernel that is slow here is run no more than this long, once it has been run three times.
const KERNEL_TIME: Duration = Duration::from_secs(8);
const RUNS_LEAST: u32 = 3;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of kernels; none means all.
    pub kernels: Vec<String>,
    /// Runs of each kernel at each peer, of which the median counts.
    pub runs: u32,
    /// A fifth of the work.
    pub quick: bool,
    /// Where compiled kernels are kept.
    pub cache: PathBuf,
}

/// Measures the suite; `progress` hears the name of each kernel as its turn comes.
///
/// # Errors
/// Where there is no compiler, no such kernel, or a machine of ours fails. A peer that fails is
/// left out and named in the report.
pub fn measure(options: &Options, progress: &mut dyn FnMut(&Kernel)) -> Result<Report, BenchError> {
    let kernels = kernels_named(&options.kernels)?;
    let mut field = Field::prepare(&options.cache)?;
    let host = Host::here();
    let mut rows = vec![];
    for kernel in &kernels {
        progress(kernel);
        let count = if options.quick { kernel.count_quick } else { kernel.count };
        rows.push(measure_kernel(&mut field, kernel, count, options.runs.max(1))?);
    }
    let Field { peers, present, missing, .. } = field;
    Ok(Report { host, quick: options.quick, peers, present, missing, kernels: rows })
}

fn measure_kernel(
    field: &mut Field,
    kernel: &Kernel,
    count: u64,
    runs: u32,
) -> Result<Row, BenchError> {
    let start = Instant::now();
    let mut samples: Vec<(Peer, Vec<Sample>)> =
        field.peers.iter().map(|peer| (*peer, vec![])).collect();
    for run in 0..runs {
        if run >= RUNS_LEAST && start.elapsed() > KERNEL_TIME {
            break;
        }
        let mut failed = None;
        for (peer, of_peer) in &mut samples {
            match field.run(*peer, kernel, count) {
                Ok(sample) => of_peer.push(sample),
                Err(error) if *peer == Peer::Omni => return Err(error),
                Err(error) => failed = Some((*peer, error)),
            }
        }
        if let Some((peer, error)) = failed {
            field.drop_peer(peer, &error);
            samples.retain(|(other, _)| *other != peer);
        }
    }
    Ok(row(kernel, count, &samples))
}

/// What a kernel's runs come to.
fn row(kernel: &Kernel, count: u64, samples: &[(Peer, Vec<Sample>)]) -> Row {
    let all = || samples.iter().flat_map(|(_, of_peer)| of_peer);
    let ours = samples.iter().find(|(peer, _)| *peer == Peer::Omni).map(|(_, ours)| &ours[..]);
    let ours = ours.expect("ours is always measured");
    let first = ours[0];
    let cell = |(peer, of_peer): &(Peer, Vec<Sample>)| Cell {
        peer: *peer,
        cpu_ms: median(of_peer.iter().map(|sample| ms(sample.cpu)).collect()),
        // Of pairs that ran one after the other, as the host's mood changes.
        omni_ratio: median(ours.iter().zip(of_peer).map(|(a, b)| ms(a.cpu) / ms(b.cpu)).collect()),
        checksums: checksums(of_peer),
    };
    let cells: Vec<Cell> = samples.iter().map(cell).collect();
    let instructions = first.instructions;
    let mips = |sample: &Sample| instructions_in_millions(instructions) / sample.cpu.as_secs_f64();
    Row {
        kernel: *kernel,
        count,
        runs: u32::try_from(ours.len()).expect("few runs"),
        instructions,
        mips: median(ours.iter().map(mips).collect()),
        agreed: all().all(|sample| sample.checksum == first.checksum)
            && ours.iter().all(|sample| sample.instructions == instructions),
        cells,
    }
}

fn checksums(samples: &[Sample]) -> Vec<String> {
    let mut all: Vec<String> =
        samples.iter().map(|sample| format!("{:016x}", sample.checksum)).collect();
    all.sort();
    all.dedup();
    all
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn instructions_in_millions(count: u64) -> f64 {
    // Exact below 2^53, which no kernel reaches.
    count as f64 / 1e6
}

/// The middle one, or the mean of the middle two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.get((values.len().max(1) - 1) / 2), values.get(values.len() / 2));
    below.zip(above).map_or(f64::NAN, |(a, b)| a.midpoint(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::KERNELS;

    fn sample(cpu_ms: u64, checksum: u64) -> Sample {
        Sample { cpu: Duration::from_millis(cpu_ms), checksum, instructions: 1_000_000 }
    }

    #[test]
    fn a_median_does_not_care_for_order_or_outliers() {
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 100.0]) - 3.0).abs() < 1e-9);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn ratios_are_of_pairs() {
        // Twice as slow in every pair, though the host was ten times slower in the second.
        let peers = vec![
            (Peer::Native, vec![sample(10, 7), sample(100, 7), sample(10, 7)]),
            (Peer::Omni, vec![sample(20, 7), sample(200, 7), sample(20, 7)]),
        ];
        let row = row(&KERNELS[0], 1, &peers);
        assert!((row.cells[0].omni_ratio - 2.0).abs() < 1e-9);
        assert!((row.mips - 50.0).abs() < 1e-9);
        assert!(row.agreed);
    }

    #[test]
    fn one_checksum_that_differs_in_one_run_is_seen() {
        let peers = vec![
            (Peer::Native, vec![sample(10, 7), sample(10, 7)]),
            (Peer::Omni, vec![sample(20, 7), sample(20, 8)]),
        ];
        let row = row(&KERNELS[0], 1, &peers);
        assert!(!row.agreed);
        assert_eq!(row.cells[1].checksums.len(), 2);
    }
}
