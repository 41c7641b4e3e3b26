//! What was measured, as data and as a table.

use crate::contest::{Case, Group};
use crate::peer::{Field, Missing, Peer, Present};
use serde::Serialize;
use std::collections::BTreeMap;
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

/// A case at one peer.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cell {
    /// Which one.
    pub peer: Peer,
    /// CPU time, the median.
    pub cpu_ms: f64,
    /// This one's time over that of others, by their names: the median of pairs.
    pub over: BTreeMap<&'static str, f64>,
    /// Millions of guest instructions a second, the median, where the guest counts them.
    pub mips: Option<f64>,
    /// What it computed; one where all runs agreed.
    pub checksums: Vec<String>,
}

/// A case at all peers.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// Which one.
    #[serde(flatten)]
    pub case: Case,
    /// How often each peer ran it.
    pub runs: usize,
    /// Instructions that the guest retired, where it counts them.
    pub instructions: Option<u64>,
    /// Whether all peers computed the same every time; where compilers have room, all guests.
    pub agreed: bool,
    /// Whether this host computed something else than guests.
    pub native_differs: bool,
    /// Each peer.
    pub cells: Vec<Cell>,
}

impl Row {
    fn cell(&self, peer: Peer) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.peer == peer)
    }
}

/// Geometric means over cases.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Mean {
    /// Over which: all, or those of a group.
    pub of: &'static str,
    /// How many those are.
    pub cases: usize,
    /// Whose.
    pub peer: Peer,
    /// Time over that of others, by their names.
    pub over: BTreeMap<&'static str, f64>,
    /// Millions of guest instructions a second.
    pub mips: Option<f64>,
}

/// Cases at all peers.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// What was measured: bare, cpu, real.
    pub what: &'static str,
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
    /// Packages that were run, with their versions, where packages were.
    pub packages: Vec<String>,
    /// Each case.
    pub rows: Vec<Row>,
    /// Their means.
    pub means: Vec<Mean>,
}

impl Report {
    pub(crate) fn new(
        what: &'static str,
        host: Host,
        quick: bool,
        of: Field,
        rows: Vec<Row>,
    ) -> Self {
        let Field { peers, present, missing } = of;
        let means = means(&rows, &peers);
        let packages = vec![];
        Self { what, host, quick, peers, present, missing, packages, rows, means }
    }

    /// Cases on which not all agreed: someone computes wrongly.
    pub fn disagreements(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.agreed)
    }

    /// Those of ours that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Missing> {
        self.missing.iter().filter(|missing| missing.peer.is_omni())
    }

    /// A mean by what it is of.
    #[must_use]
    pub fn mean(&self, of: &str, peer: Peer) -> Option<&Mean> {
        self.means.iter().find(|mean| mean.of == of && mean.peer == peer)
    }

    /// The table: heads, then rows of milliseconds of CPU time and ratios, then the means. A star
    /// marks a case that this host computes otherwise than guests.
    #[must_use]
    pub fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let columns = self.columns();
        let head = |column: &Column| format!("{:>7}", column.head());
        let heads = ["CASE".to_owned()].into_iter().chain(columns.iter().map(head)).collect();
        let of_row = |row: &Row| {
            let mark = match (row.agreed, row.native_differs) {
                (false, _) => " (results differ)",
                (true, true) => " *",
                (true, false) => "",
            };
            let name = format!("{}{mark}", row.case.name);
            let cell = |column: &Column| column.of(row.cell(column.peer()));
            [name].into_iter().chain(columns.iter().map(cell)).collect()
        };
        let mut rows: Vec<Vec<String>> = self.rows.iter().map(of_row).collect();
        let mut last = "";
        for of in self.means.iter().map(|mean| mean.of) {
            if of == last {
                continue;
            }
            last = of;
            let cell = |column: &Column| column.of_mean(self.mean(of, column.peer()));
            let name = if of == "all" { "geomean".to_owned() } else { format!("  {of}") };
            rows.push([name].into_iter().chain(columns.iter().map(cell)).collect());
        }
        (heads, rows)
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![];
        let counted = self.rows.iter().any(|row| row.instructions.is_some());
        for peer in &self.peers {
            columns.push(Column::Time(*peer));
            let shown = |base: &&Peer| match base {
                Peer::Native => *peer != Peer::Native,
                Peer::QemuUser | Peer::Qemu => peer.is_omni() || *peer == Peer::Rvvm,
                Peer::Rvvm => peer.is_omni(),
                Peer::Omni(_) => false,
            };
            let bases = self.peers.iter().filter(shown).filter(|base| *base < peer);
            columns.extend(bases.map(|base| Column::Over(*peer, *base)));
            if counted && peer.is_omni() {
                columns.push(Column::Mips(*peer));
            }
        }
        columns
    }
}

/// A column of the table.
enum Column {
    Time(Peer),
    Over(Peer, Peer),
    Mips(Peer),
}

impl Column {
    fn peer(&self) -> Peer {
        match self {
            Self::Time(peer) | Self::Over(peer, _) | Self::Mips(peer) => *peer,
        }
    }

    fn head(&self) -> String {
        match self {
            Self::Time(peer) => peer.name().to_uppercase(),
            Self::Over(_, base) => format!("/{}", base.name().to_uppercase()),
            Self::Mips(_) => "MIPS".into(),
        }
    }

    fn of(&self, cell: Option<&Cell>) -> String {
        number(match self {
            Self::Time(_) => cell.map(|cell| (cell.cpu_ms, 1)),
            Self::Over(_, base) => cell.and_then(|cell| Some((*cell.over.get(base.name())?, 2))),
            Self::Mips(_) => cell.and_then(|cell| Some((cell.mips?, 0))),
        })
    }

    fn of_mean(&self, mean: Option<&Mean>) -> String {
        match self {
            Self::Time(_) => String::new(),
            Self::Over(_, base) => {
                number(mean.and_then(|mean| Some((*mean.over.get(base.name())?, 2))))
            }
            Self::Mips(_) => number(mean.and_then(|mean| Some((mean.mips?, 0)))),
        }
    }
}

/// A number with so many decimals.
fn number(value: Option<(f64, usize)>) -> String {
    let text = value.map_or("-".into(), |(value, decimals)| format!("{value:.decimals$}"));
    format!("{text:>7}")
}

fn means(rows: &[Row], peers: &[Peer]) -> Vec<Mean> {
    let mut means = vec![];
    let groups = Group::WITH_MEANS.iter().map(|(group, name)| (Some(*group), *name));
    for (group, of) in [(None, "all")].into_iter().chain(groups) {
        let among = |row: &&Row| group.is_none_or(|group| row.case.group == group);
        let rows: Vec<&Row> = rows.iter().filter(among).collect();
        if rows.is_empty() {
            continue;
        }
        for peer in peers {
            let cells: Vec<&Cell> = rows.iter().filter_map(|row| row.cell(*peer)).collect();
            let over = |base: &Peer| {
                let ratios = cells.iter().filter_map(|cell| cell.over.get(base.name()));
                Some((base.name(), geomean(ratios.copied())?))
            };
            let over = peers.iter().filter_map(over).collect();
            let mips = geomean(cells.iter().filter_map(|cell| cell.mips));
            means.push(Mean { of, cases: cells.len(), peer: *peer, over, mips });
        }
    }
    means
}

/// The geometric mean; `None` of nothing.
fn geomean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + v.ln(), count + 1.0));
    (count > 0.0).then(|| (sum / count).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Tier;

    const OMNI: Peer = Peer::Omni(Tier::All);

    fn report(agreed: bool) -> Report {
        let cell = |peer, cpu_ms, over: &[(&'static str, f64)]| Cell {
            peer,
            cpu_ms,
            over: over.iter().copied().collect(),
            mips: Some(100.0),
            checksums: vec!["0".into()],
        };
        let row = |name: &str, group, ratio| Row {
            case: Case { name: name.into(), about: String::new(), group, count: 1 },
            runs: 5,
            instructions: Some(1),
            agreed,
            native_differs: false,
            cells: vec![
                cell(Peer::Native, 10.0, &[]),
                cell(OMNI, 10.0 * ratio, &[("native", ratio)]),
            ],
        };
        let host = Host { cpu: "x".into(), cpus: 2, load: 0.0 };
        let peers = vec![Peer::Native, Peer::Qemu, OMNI];
        let field = Field { peers, ..Field::default() };
        let rows = vec![row("a", Group::Float, 2.0), row("b", Group::Other, 8.0)];
        Report::new("cpu", host, false, field, rows)
    }

    #[test]
    fn means_of_ratios_are_geometric_and_groups_have_their_own() {
        let report = report(true);
        let over = |of| report.mean(of, OMNI).map(|mean| mean.over["native"]);
        assert!((over("all").expect("measured") - 4.0).abs() < 1e-9);
        assert!((over("floating point").expect("one") - 2.0).abs() < 1e-9);
        assert_eq!(over("new code"), None);
        assert_eq!(report.disagreements().count(), 0);
    }

    #[test]
    fn a_table_has_a_cell_for_every_head_and_says_what_is_not_known() {
        let (heads, rows) = report(false).table();
        assert!(rows.iter().all(|row| row.len() == heads.len()));
        assert!(rows[0][0].contains("differ"));
        let qemu = heads.iter().position(|head| head.trim() == "QEMU").expect("a peer");
        assert_eq!(rows[0][qemu].trim(), "-");
    }
}
