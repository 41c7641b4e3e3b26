//! What was measured, as data.

use crate::contest::{Case, Group};
use crate::peer::{Field, Missing, Peer, Present, Technique, Tier};
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
    /// The host that this runs on, as it is now.
    #[must_use]
    pub fn here() -> Self {
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
    pub(crate) fn cell(&self, peer: Peer) -> Option<&Cell> {
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

/// What a technique of the translator is worth.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Worth {
    /// Its name.
    pub technique: &'static str,
    /// The time without it over the time with all, as the geometric mean of these many cases.
    pub factor: f64,
    /// How many.
    pub cases: usize,
    /// The cases that it is worth most to, best first.
    pub most: Vec<(String, f64)>,
}

/// How many cases tell what a technique is worth most to, and what they must gain to be told.
const MOST: usize = 3;
const MOST_FACTOR_MIN: f64 = 1.05;

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
    /// What techniques are worth, where that was measured; the most first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub techniques: Vec<Worth>,
}

impl Report {
    /// One that has no rows yet.
    pub(crate) fn begun(what: &'static str, host: Host, quick: bool, of: &Field) -> Self {
        let Field { peers, present, missing } = of.clone();
        let (packages, rows, means, techniques) = (vec![], vec![], vec![], vec![]);
        Self { what, host, quick, peers, present, missing, packages, rows, means, techniques }
    }

    /// With all rows, and with who was left out meanwhile.
    pub(crate) fn finished(self, of: Field, rows: Vec<Row>) -> Self {
        let Field { peers, present, missing } = of;
        let (means, techniques) = (means(&rows, &peers), worths(&rows, &peers));
        Self { peers, present, missing, rows, means, techniques, ..self }
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

fn worths(rows: &[Row], peers: &[Peer]) -> Vec<Worth> {
    let with_all = Peer::Omni(Tier::All).name();
    let of = |technique: Technique| {
        let peer = Peer::Omni(Tier::Without(technique));
        let factor = |row: &Row| row.cell(peer)?.over.get(with_all).copied();
        let factors = rows.iter().filter_map(|row| Some((row.case.name.clone(), factor(row)?)));
        let mut most: Vec<(String, f64)> = factors.collect();
        most.sort_by(|one, other| other.1.total_cmp(&one.1));
        let (cases, factor) = (most.len(), geomean(most.iter().map(|(_, factor)| *factor))?);
        most.truncate(MOST);
        most.retain(|(_, factor)| *factor >= MOST_FACTOR_MIN);
        let measured = peers.contains(&peer);
        measured.then(|| Worth { technique: technique.name(), factor, cases, most })
    };
    let mut all: Vec<Worth> = Technique::all().filter_map(of).collect();
    all.sort_by(|one, other| other.factor.total_cmp(&one.factor));
    all
}

/// The geometric mean; `None` of nothing.
fn geomean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + v.ln(), count + 1.0));
    (count > 0.0).then(|| (sum / count).exp())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const OMNI: Peer = Peer::Omni(Tier::All);

    /// Two cases, at peers of which one is not measured.
    pub(crate) fn report(agreed: bool) -> Report {
        let technique = Technique::all().next().expect("there are some");
        let without = Peer::Omni(Tier::Without(technique));
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
                cell(without, 10.0 * ratio * ratio, &[("native", ratio * ratio), ("omni", ratio)]),
            ],
        };
        let host = Host { cpu: "x".into(), cpus: 2, load: 0.0 };
        let peers = vec![Peer::Native, Peer::Qemu, OMNI, without];
        let field = Field { peers, ..Field::default() };
        let rows = vec![row("a", Group::Float, 2.0), row("b", Group::Other, 8.0)];
        Report::begun("cpu", host, false, &field).finished(field, rows)
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
    fn a_technique_is_worth_the_time_without_it_over_the_time_with_all() {
        let techniques = report(true).techniques;
        assert_eq!(techniques.len(), 1);
        assert!((techniques[0].factor - 4.0).abs() < 1e-9);
        assert_eq!(techniques[0].most[0].0, "b");
    }
}
