//! What was measured, as data and as a table.

use crate::peer::Peer;
use crate::suite::Kernel;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use std::fs;

/// The host that was measured on.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Host {
    /// The processor, as the kernel names it.
    pub cpu: String,
    /// Processors.
    pub cpus: usize,
    /// Runnable tasks over the last minute, before the measurement: others make figures worse.
    pub load: f64,
}

impl Host {
    pub(crate) fn here() -> Self {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let cpu = model.map_or(std::env::consts::ARCH, |(_, name)| name.trim()).to_owned();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        Self { cpu, cpus: std::thread::available_parallelism().map_or(1, usize::from), load }
    }
}

/// A peer that was compared with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Present {
    /// Which one.
    pub peer: Peer,
    /// What it says of its version.
    pub version: String,
}

/// A peer that was not, and how to get it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Missing {
    /// Which one.
    pub peer: Peer,
    /// Why not.
    pub why: String,
    /// The command that helps; empty where none does.
    pub get: String,
}

/// A kernel at one peer.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cell {
    /// Which one.
    pub peer: Peer,
    /// CPU time, the median.
    pub cpu_ms: f64,
    /// Omnivisor's time over this one's, the median of pairs.
    pub omni_ratio: f64,
    /// What it computed; one where all runs agreed.
    pub checksums: Vec<String>,
}

/// A kernel at all peers.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Which one.
    pub kernel: Kernel,
    /// The count it was given.
    pub count: u64,
    /// How often each peer ran it.
    pub runs: u32,
    /// Instructions that the guest retired under Omnivisor.
    pub instructions: u64,
    /// Millions of them a second of CPU time, the median.
    pub mips: f64,
    /// Whether all peers computed the same every time.
    pub agreed: bool,
    /// Each peer.
    pub cells: Vec<Cell>,
}

impl Row {
    fn cell(&self, peer: Peer) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.peer == peer)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut row = to.serialize_struct("Row", 9)?;
        row.serialize_field("name", self.kernel.name)?;
        row.serialize_field("about", self.kernel.about)?;
        row.serialize_field("integer_loop", &self.kernel.integer_loop)?;
        row.serialize_field("count", &self.count)?;
        row.serialize_field("runs", &self.runs)?;
        row.serialize_field("instructions", &self.instructions)?;
        row.serialize_field("mips", &self.mips)?;
        row.serialize_field("agreed", &self.agreed)?;
        row.serialize_field("peers", &self.cells)?;
        row.end()
    }
}

/// The suite at all peers.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// Where.
    pub host: Host,
    /// Whether less work was done than usual.
    pub quick: bool,
    /// Who was measured to the end.
    pub peers: Vec<Peer>,
    /// Their versions, but ours and the host's.
    pub present: Vec<Present>,
    /// Who was not.
    pub missing: Vec<Missing>,
    /// Each kernel.
    pub kernels: Vec<Row>,
}

/// The heads of the table.
pub const HEADS: &[&str] = &[
    "KERNEL", "NATIVE", "Q-USER", "QEMU", "/NATIVE", "OMNI", "/NATIVE", "/Q-USER", "/QEMU", "MIPS",
];

impl Report {
    /// Kernels on which not all agreed: someone computes wrongly.
    pub fn disagreements(&self) -> impl Iterator<Item = &Row> {
        self.kernels.iter().filter(|row| !row.agreed)
    }

    /// Geometric mean, over the kernels, of Omnivisor's time over a peer's.
    #[must_use]
    pub fn omni_ratio(&self, peer: Peer) -> Option<f64> {
        geomean(self.kernels.iter().filter_map(|row| Some(row.cell(peer)?.omni_ratio)))
    }

    /// Geometric mean of the speed on integer loops, in millions of instructions a second.
    #[must_use]
    pub fn integer_mips(&self) -> Option<f64> {
        let rows = self.kernels.iter().filter(|row| row.kernel.integer_loop);
        geomean(rows.map(|row| row.mips))
    }

    /// Geometric mean of the speed, in millions of instructions a second.
    #[must_use]
    pub fn mips(&self) -> Option<f64> {
        geomean(self.kernels.iter().map(|row| row.mips))
    }

    /// The rows of the table, under [`HEADS`]: milliseconds of CPU time, and ratios.
    #[must_use]
    pub fn table(&self) -> Vec<Vec<String>> {
        let mut rows: Vec<Vec<String>> = self.kernels.iter().map(cells_of).collect();
        let qemu = self.kernels.iter().filter_map(qemu_over_native);
        let mut means = vec!["geomean".to_owned()];
        means.extend([(); 3].map(|()| right("")));
        means.push(ratio(geomean(qemu)));
        means.push(right(""));
        means.extend([Peer::Native, Peer::QemuUser, Peer::Qemu].map(|p| ratio(self.omni_ratio(p))));
        means.push(whole(self.mips()));
        rows.push(means);
        let mut loops = vec!["integer loops".to_owned()];
        loops.extend([(); 8].map(|()| right("")));
        loops.push(whole(self.integer_mips()));
        rows.push(loops);
        rows
    }
}

fn cells_of(row: &Row) -> Vec<String> {
    let time = |peer| row.cell(peer).map(|cell| cell.cpu_ms);
    let over = |peer| ratio(row.cell(peer).map(|cell| cell.omni_ratio));
    let mark = if row.agreed { "" } else { " (checksums differ)" };
    vec![
        format!("{}{mark}", row.kernel.name),
        tenths(time(Peer::Native)),
        tenths(time(Peer::QemuUser)),
        tenths(time(Peer::Qemu)),
        ratio(qemu_over_native(row)),
        tenths(time(Peer::Omni)),
        over(Peer::Native),
        over(Peer::QemuUser),
        over(Peer::Qemu),
        whole(Some(row.mips)),
    ]
}

fn qemu_over_native(row: &Row) -> Option<f64> {
    Some(row.cell(Peer::Qemu)?.cpu_ms / row.cell(Peer::Native)?.cpu_ms)
}

fn right(text: &str) -> String {
    format!("{text:>7}")
}

fn tenths(value: Option<f64>) -> String {
    right(&value.map_or("-".into(), |value| format!("{value:.1}")))
}

fn ratio(value: Option<f64>) -> String {
    right(&value.map_or("-".into(), |value| format!("{value:.2}")))
}

fn whole(value: Option<f64>) -> String {
    right(&value.map_or("-".into(), |value| format!("{value:.0}")))
}

/// The geometric mean; `None` of nothing.
fn geomean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + v.ln(), count + 1.0));
    (count > 0.0).then(|| (sum / count).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::KERNELS;

    fn report(agreed: bool) -> Report {
        let cell = |peer, cpu_ms, omni_ratio| Cell {
            peer,
            cpu_ms,
            omni_ratio,
            checksums: vec!["0".into()],
        };
        let row = |at: usize, ratio| Row {
            kernel: KERNELS[at],
            count: 1,
            runs: 5,
            instructions: 1,
            mips: 100.0,
            agreed,
            cells: vec![cell(Peer::Native, 10.0, ratio), cell(Peer::Omni, 10.0 * ratio, 1.0)],
        };
        Report {
            host: Host { cpu: "x".into(), cpus: 2, load: 0.0 },
            quick: false,
            peers: vec![Peer::Native, Peer::Omni],
            present: vec![],
            missing: vec![],
            kernels: vec![row(0, 2.0), row(5, 8.0)],
        }
    }

    #[test]
    fn means_of_ratios_are_geometric_and_integer_loops_have_their_own() {
        let report = report(true);
        assert!((report.omni_ratio(Peer::Native).expect("measured") - 4.0).abs() < 1e-9);
        assert_eq!(report.omni_ratio(Peer::Qemu), None);
        assert!((report.integer_mips().expect("one") - 100.0).abs() < 1e-9);
        assert_eq!(report.disagreements().count(), 0);
    }

    #[test]
    fn a_table_has_a_cell_for_every_head_and_says_what_is_not_known() {
        for row in report(false).table() {
            assert_eq!(row.len(), HEADS.len());
        }
        let first = &report(false).table()[0];
        assert!(first[0].contains("differ"));
        assert_eq!(first[3].trim(), "-");
    }
}
