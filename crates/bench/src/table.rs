//! What was measured as a table, whose rows can be printed as they come.

use crate::peer::{Peer, Tier};
use crate::report::{Cell, Mean, Report, Row};

/// The width of the first column: a name fits, or the rest of its row is pushed aside.
const NAME_WIDTH: usize = 16;

/// The columns of a report.
pub struct Table {
    columns: Vec<Column>,
}

impl Table {
    /// The table for these peers. `counted` says whether guests count their instructions.
    #[must_use]
    pub fn new(peers: &[Peer], counted: bool) -> Self {
        let mut columns = vec![];
        for peer in peers {
            columns.push(Column::Time(*peer));
            let shown = |base: &&Peer| match (base, peer) {
                // It is compared with nothing but the whole.
                (_, Peer::Omni(Tier::Without(_))) => **base == Peer::Omni(Tier::All),
                (Peer::Native, _) => *peer != Peer::Native,
                (Peer::QemuUser | Peer::Qemu, _) => peer.is_omni() || *peer == Peer::Rvvm,
                (Peer::Rvvm, _) => peer.is_omni(),
                (Peer::Omni(_), _) => false,
            };
            let bases = peers.iter().filter(shown).filter(|base| *base < peer);
            let bases: Vec<Column> = bases.map(|base| Column::Over(*peer, *base)).collect();
            if matches!(peer, Peer::Omni(Tier::Without(_))) && !bases.is_empty() {
                // How much slower is what is asked; the time itself only makes the table wide.
                columns.pop();
            }
            columns.extend(bases);
            if counted && matches!(peer, Peer::Omni(Tier::All | Tier::Interp)) {
                columns.push(Column::Mips(*peer));
            }
        }
        Self { columns }
    }

    /// The line above the rows.
    #[must_use]
    pub fn heads(&self) -> String {
        let width = |column: &Column| column.width();
        self.line("CASE", |column| format!("{:>width$}", column.head(), width = width(column)))
    }

    /// A case: milliseconds of CPU time and ratios. A star marks one that this host computes
    /// otherwise than guests.
    #[must_use]
    pub fn row(&self, row: &Row) -> String {
        let mark = match (row.agreed, row.native_differs) {
            (false, _) => " (results differ)",
            (true, true) => " *",
            (true, false) => "",
        };
        let name = format!("{}{mark}", row.case.name);
        self.line(&name, |column| column.of(row.cell(column.peer())))
    }

    /// The means of a report: of all cases, and of groups.
    #[must_use]
    pub fn means(&self, report: &Report) -> Vec<String> {
        let mut of: Vec<&str> = report.means.iter().map(|mean| mean.of).collect();
        of.dedup();
        let line = |of: &&str| {
            let name = if *of == "all" { "geomean".to_owned() } else { format!("  {of}") };
            self.line(&name, |column| column.of_mean(report.mean(of, column.peer())))
        };
        of.iter().map(line).collect()
    }

    fn line(&self, name: &str, cell: impl Fn(&Column) -> String) -> String {
        let cells = self.columns.iter().map(|column| format!("  {}", cell(column)));
        format!("{name:NAME_WIDTH$}{}", cells.collect::<String>())
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

    /// As wide as the head, and wide enough for any number.
    fn width(&self) -> usize {
        self.head().len().max(7)
    }

    fn head(&self) -> String {
        match self {
            Self::Time(peer) => peer.name().to_uppercase(),
            Self::Over(Peer::Omni(Tier::Without(technique)), _) => {
                format!("-{}", technique.name().to_uppercase())
            }
            Self::Over(_, base) => format!("/{}", base.name().to_uppercase()),
            Self::Mips(_) => "MIPS".into(),
        }
    }

    fn of(&self, cell: Option<&Cell>) -> String {
        self.number(match self {
            Self::Time(_) => cell.map(|cell| (cell.cpu_ms, 1)),
            Self::Over(_, base) => cell.and_then(|cell| Some((*cell.over.get(base.name())?, 2))),
            Self::Mips(_) => cell.and_then(|cell| Some((cell.mips?, 0))),
        })
    }

    fn of_mean(&self, mean: Option<&Mean>) -> String {
        match self {
            Self::Time(_) => " ".repeat(self.width()),
            Self::Over(_, base) => {
                self.number(mean.and_then(|mean| Some((*mean.over.get(base.name())?, 2))))
            }
            Self::Mips(_) => self.number(mean.and_then(|mean| Some((mean.mips?, 0)))),
        }
    }

    /// A number with so many decimals.
    fn number(&self, value: Option<(f64, usize)>) -> String {
        let text = value.map_or("-".into(), |(value, decimals)| format!("{value:.decimals$}"));
        format!("{text:>width$}", width = self.width())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    fn words(line: &str) -> Vec<&str> {
        line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect()
    }

    #[test]
    fn a_table_has_a_cell_for_every_head_and_says_what_is_not_known() {
        let report = report(false);
        let table = Table::new(&report.peers, true);
        let heads = table.heads();
        let rows: Vec<String> = report.rows.iter().map(|row| table.row(row)).collect();
        assert!(rows.iter().all(|row| words(row).len() == words(&heads).len()), "{rows:#?}");
        assert!(rows[0].contains("differ"));
        let qemu = words(&heads).iter().position(|head| *head == "QEMU").expect("a peer");
        assert_eq!(words(&rows[0])[qemu], "-");
        assert_eq!(table.means(&report).len(), 2);
    }

    #[test]
    fn a_machine_without_a_technique_is_compared_with_the_whole_one_only() {
        let report = report(true);
        let table = Table::new(&report.peers, false);
        assert_eq!(words(&table.heads()).last(), Some(&"-SHARING"));
        assert_eq!(words(&table.row(&report.rows[1])).last(), Some(&"8.00"));
    }
}
