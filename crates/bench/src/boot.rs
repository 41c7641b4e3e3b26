//! From power-on to words on the console: wall time, CPU time and memory, for all who have boards.

use crate::BenchError;
use crate::assets::{Assets, BEGUN};
use crate::contest::{Audience, median, ms};
use crate::guest::{END_LIMIT, Guest};
use crate::kernels::Options;
use crate::machine::LAST_WORDS;
use crate::peer::{Board, Field, Missing, Peer, Present, Start};
use crate::report::Host;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Memory of the boards: as it is given to them, and in bytes.
const MEMORY: (&str, u64) = ("512M", 512 << 20);

/// A distribution that is installed on a disk.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its kernel.
    pub kernel: PathBuf,
    /// Its initial RAM disk.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub append: String,
    /// Its disk, raw, if it has one; it is not written to.
    pub disk: Option<PathBuf>,
    /// What its console says when it has started.
    pub ready: String,
}

/// A boot at one peer: medians.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Booted {
    /// Which one.
    pub peer: Peer,
    /// From the start of the process to the words.
    pub wall_ms: f64,
    /// CPU time of the host.
    pub cpu_ms: f64,
    /// The most memory held, guest and all.
    pub peak_bytes: Option<u64>,
    /// Memory held at the end.
    pub resident_bytes: Option<u64>,
    /// Of this, what is not the guest's RAM.
    pub beyond_guest_bytes: Option<u64>,
    /// Ticks of the machine, where it has them.
    pub ticks: Option<u64>,
    /// Wall time over QEMU's, the median of pairs.
    pub wall_over_qemu: Option<f64>,
    /// CPU time over QEMU's, the median of pairs.
    pub cpu_over_qemu: Option<f64>,
}

/// A boot at all peers.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Boot {
    /// Of what, to where.
    pub name: String,
    /// Each peer.
    pub peers: Vec<Booted>,
}

/// All boots.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BootReport {
    /// Where.
    pub host: Host,
    /// Boots of each.
    pub runs: u32,
    /// Versions of others.
    pub present: Vec<Present>,
    /// Who was not measured.
    pub missing: Vec<Missing>,
    /// Each boot.
    pub boots: Vec<Boot>,
}

impl BootReport {
    /// The heads of the table.
    pub const HEADS: &[&str] =
        &["BOOT", "PEER", "WALL s", "/QEMU", " CPU s", "/QEMU", "PEAK MiB", "BEYOND RAM", "MTICKS"];

    /// The rows of the table.
    #[must_use]
    pub fn table(&self) -> Vec<Vec<String>> {
        let mib = |bytes: Option<u64>| bytes.map_or("-".into(), |bytes| (bytes >> 20).to_string());
        let ratio = |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
        let row = |name: &str, boot: &Booted| {
            vec![
                name.to_owned(),
                boot.peer.name().to_owned(),
                format!("{:6.2}", boot.wall_ms / 1e3),
                format!("{:>5}", ratio(boot.wall_over_qemu)),
                format!("{:6.2}", boot.cpu_ms / 1e3),
                format!("{:>5}", ratio(boot.cpu_over_qemu)),
                format!("{:>8}", mib(boot.peak_bytes)),
                format!("{:>10}", mib(boot.beyond_guest_bytes)),
                format!(
                    "{:>6}",
                    boot.ticks.map_or("-".into(), |ticks| (ticks / 1_000_000).to_string())
                ),
            ]
        };
        let rows = |boot: &Boot| boot.peers.iter().map(|p| row(&boot.name, p)).collect::<Vec<_>>();
        self.boots.iter().flat_map(rows).collect()
    }

    /// Those of ours that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Missing> {
        self.missing.iter().filter(|missing| missing.peer.is_omni())
    }
}

/// One boot.
#[derive(Clone, Copy, Debug)]
struct Sample {
    wall: Duration,
    cpu: Duration,
    peak: Option<u64>,
    resident: Option<u64>,
    guest: Option<u64>,
    ticks: Option<u64>,
}

/// Boots the stock kernel to its first program, and distributions that are installed, in turns;
/// `audience` hears of it. Each is booted once before the boots that count, where
/// more than one counts.
///
/// # Errors
/// Where there is nothing to boot. A peer that fails is left out and named.
pub fn measure_boot(
    options: &Options,
    assets: &mut Assets<'_>,
    installed: &[Installed],
    audience: &mut dyn Audience,
) -> Result<BootReport, BenchError> {
    let mut field = Field::default();
    options.guests([Peer::Qemu, Peer::Rvvm]).for_each(|p| field.look_for(p));
    let firmware = assets.firmware(&field)?;
    let (kernel, initrd) = (assets.kernel()?, assets.initrd(&[])?);
    let start = Start::Linux { kernel, initrd, append: "console=ttyS0".into() };
    let board = |start, disk| {
        let firmware = firmware.clone();
        let sampled = options.sampled.clone();
        Board { memory: MEMORY.0.into(), start, firmware, disk, sampled }
    };
    let mut tasks = vec![("kernel to /init".to_owned(), board(start, None), BEGUN.to_owned())];
    for of in installed {
        let Installed { kernel, initrd, append, .. } = of.clone();
        let start = Start::Linux { kernel, initrd, append };
        let name = format!("{} to {:?}", of.name, of.ready.trim());
        tasks.push((name, board(start, of.disk.clone()), of.ready.clone()));
    }
    let names: Vec<&str> = tasks.iter().map(|(name, ..)| what_boots(name)).collect();
    if let Some(name) = options.only.iter().find(|name| !names.contains(&&name[..])) {
        return Err(BenchError::NoCase { name: name.clone(), known: names.join(", ") });
    }
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|one| one == name);
    tasks.retain(|(name, ..)| wanted(what_boots(name)));
    let host = Host::here();
    let runs = options.runs.max(1);
    let mut boots = vec![];
    for (name, board, ready) in &tasks {
        // RVVM has no such disk, which is no failure of the boots before.
        let mut entered = field.clone();
        if board.disk.is_some() {
            entered.peers.retain(|peer| *peer != Peer::Rvvm);
        }
        let mut samples: BTreeMap<Peer, Vec<Sample>> = BTreeMap::new();
        for run in 0..runs + u32::from(runs > 1) {
            for peer in entered.peers.clone() {
                audience.doing(&format!("boot: {name}: {}", peer.name()));
                match boot(peer, board, ready, options) {
                    Ok(_) if runs > 1 && run == 0 => {}
                    Ok(sample) => samples.entry(peer).or_default().push(sample),
                    Err(error) => entered.leave_out(peer, &error),
                }
            }
        }
        field.missing = entered.missing;
        boots.push(Boot { name: name.clone(), peers: booted(&samples) });
    }
    let Field { present, missing, .. } = field;
    Ok(BootReport { host, runs, present, missing, boots })
}

/// The first word of the name of a boot, by which it is chosen.
fn what_boots(name: &str) -> &str {
    name.split(' ').next().unwrap_or(name)
}

fn boot(peer: Peer, board: &Board, ready: &str, options: &Options) -> Result<Sample, BenchError> {
    let start = Instant::now();
    let mut guest = Guest::start(peer, board, &options.us)?;
    guest.wait_for(ready)?;
    let wall = start.elapsed();
    let program = &mut guest.program;
    let cpu = program.cpu_at_rest()?;
    let (peak, resident) = (program.peak_bytes(), program.resident_bytes());
    let mut sample = Sample { wall, cpu, peak, resident, guest: None, ticks: None };
    if peer.is_omni() {
        program.say_no_more();
        let line = program.listen(END_LIMIT, |heard| heard.line(LAST_WORDS))?;
        let mut numbers = line.split(' ').skip(1).map(|word| word.parse().ok());
        sample.ticks = numbers.next().flatten();
        sample.guest = numbers.next().flatten();
        guest.end()?;
    } else {
        sample.guest = program.resident_of_mapping(MEMORY.1);
    }
    Ok(sample)
}

/// The medians of each figure.
fn booted(samples: &BTreeMap<Peer, Vec<Sample>>) -> Vec<Booted> {
    let qemu = samples.get(&Peer::Qemu);
    let of_peer = |(peer, all): (&Peer, &Vec<Sample>)| {
        let time = |figure: &dyn Fn(&Sample) -> Duration| {
            median(all.iter().map(|sample| ms(figure(sample))).collect())
        };
        let over = |figure: &dyn Fn(&Sample) -> Duration| {
            let qemu = qemu.filter(|_| *peer != Peer::Qemu)?;
            let pairs = all.iter().zip(qemu);
            Some(median(pairs.map(|(a, b)| ms(figure(a)) / ms(figure(b))).collect()))
        };
        let bytes = |figure: &dyn Fn(&Sample) -> Option<u64>| {
            let mut all: Vec<u64> = all.iter().filter_map(figure).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied()
        };
        Booted {
            peer: *peer,
            wall_ms: time(&|sample| sample.wall),
            cpu_ms: time(&|sample| sample.cpu),
            peak_bytes: bytes(&|sample| sample.peak),
            resident_bytes: bytes(&|sample| sample.resident),
            beyond_guest_bytes: bytes(&|sample| sample.resident?.checked_sub(sample.guest?)),
            ticks: bytes(&|sample| sample.ticks),
            wall_over_qemu: over(&|sample| sample.wall),
            cpu_over_qemu: over(&|sample| sample.cpu),
        }
    };
    samples.iter().map(of_peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Tier;

    #[test]
    fn boots_are_compared_in_pairs_and_memory_is_told_apart() {
        let sample = |ms, guest| Sample {
            wall: Duration::from_millis(ms),
            cpu: Duration::from_millis(2 * ms),
            peak: Some(90 << 20),
            resident: Some(80 << 20),
            guest,
            ticks: None,
        };
        let omni = Peer::Omni(Tier::All);
        let samples = BTreeMap::from([
            (Peer::Qemu, vec![sample(100, None), sample(1000, None), sample(100, None)]),
            (omni, vec![sample(50, Some(60 << 20)); 3]),
        ]);
        let booted = booted(&samples);
        assert_eq!((booted[0].wall_over_qemu, booted[0].beyond_guest_bytes), (None, None));
        assert!((booted[1].wall_over_qemu.expect("compared") - 0.5).abs() < 1e-9);
        assert_eq!(booted[1].beyond_guest_bytes, Some(20 << 20));
        let host = Host { cpu: "x".into(), cpus: 2, load: 0.0 };
        let boots = vec![Boot { name: "a".into(), peers: booted }];
        let report = BootReport { host, runs: 3, present: vec![], missing: vec![], boots };
        assert!(report.table().iter().all(|row| row.len() == BootReport::HEADS.len()));
    }
}
