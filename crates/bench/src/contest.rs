//! Cases run by peers in turns, so that a noisy host is as unfair to one as to the other.

use crate::BenchError;
use crate::peer::{Field, Peer};
use crate::report::{Cell, Report, Row};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A case that is slow here is run no more than this long, once it has been run often enough.
const CASE_TIME: Duration = Duration::from_secs(30);
const RUNS_LEAST: u32 = 3;

/// What a case is about, for means of its like.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// A loop of integer instructions.
    IntegerLoop,
    /// Floating point.
    Float,
    /// Code that was never seen before, all the time.
    NewCode,
    /// Calls of the operating system.
    System,
    /// Anything else.
    Other,
}

impl Group {
    /// Those that have a mean of their own, and what it is called.
    pub(crate) const WITH_MEANS: &'static [(Self, &'static str)] = &[
        (Self::IntegerLoop, "integer loops"),
        (Self::Float, "floating point"),
        (Self::NewCode, "new code"),
        (Self::System, "system calls"),
    ];
}

/// Something that is run and timed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// One line for people; may be empty.
    pub about: String,
    /// What it is about.
    pub group: Group,
    /// How much of it; what that means is the case's own affair.
    pub count: u64,
}

/// One run of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sample {
    /// CPU time of the host.
    pub(crate) cpu: Duration,
    /// What it computed.
    pub(crate) checksum: String,
    /// Instructions of the guest, where the guest can count them; or zero.
    pub(crate) instructions: u64,
}

/// One who can run cases.
pub(crate) trait Entrant {
    /// Runs a case once.
    fn run(&mut self, case: &Case) -> Result<Sample, BenchError>;

    /// Ends what it ran on, where samples were taken and are to be written. Others just go.
    fn end(&mut self) -> Result<(), BenchError>;
}

/// Who takes part.
pub(crate) type Entrants = Vec<(Peer, Box<dyn Entrant>)>;

/// Who hears of a measurement while it goes on: one that is cut short has given figures too.
pub trait Audience {
    /// What is being done now.
    fn doing(&mut self, what: &str);

    /// Cases are going to be run, by those of this report, which has no rows yet.
    fn begins(&mut self, report: &Report);

    /// A case was run as often as it is.
    fn measured(&mut self, row: &Row);
}

/// How often cases are run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Runs {
    /// Runs that count.
    pub(crate) counted: u32,
    /// Whether one that does not count comes before them.
    pub(crate) warm_up: bool,
    /// Whether this host must compute what guests do: it does where the compilers are told to
    /// leave no room, as with how roundings are fused and whether `char` has a sign.
    pub(crate) native_agrees: bool,
}

/// Runs all cases. An entrant that fails is left out from there on, and the field says why.
pub(crate) fn contest(
    cases: &[Case],
    entrants: &mut Entrants,
    runs: Runs,
    field: &mut Field,
    audience: &mut dyn Audience,
) -> Vec<Row> {
    let mut rows = vec![];
    for case in cases {
        audience.doing(&format!("{}: {}", case.name, case.about));
        let start = Instant::now();
        let mut samples: BTreeMap<Peer, Vec<Sample>> = BTreeMap::new();
        let mut warmed = vec![];
        for run in 0..runs.counted + u32::from(runs.warm_up) {
            if run >= RUNS_LEAST && start.elapsed() > CASE_TIME {
                break;
            }
            entrants.retain_mut(|(peer, entrant)| match entrant.run(case) {
                Ok(sample) if runs.warm_up && run == 0 => {
                    warmed.push((*peer, sample));
                    true
                }
                Ok(sample) => {
                    samples.entry(*peer).or_default().push(sample);
                    true
                }
                Err(error) => {
                    field.leave_out(*peer, &error);
                    samples.remove(peer);
                    false
                }
            });
            // Whoever comes first may be the one that wakes the host up.
            entrants.reverse();
        }
        if !samples.is_empty() {
            let row = row(case, &samples, &warmed, runs.native_agrees);
            audience.measured(&row);
            rows.push(row);
        }
    }
    entrants.retain_mut(|(peer, entrant)| {
        let ended = entrant.end();
        ended.inspect_err(|error| field.leave_out(*peer, error)).is_ok()
    });
    rows
}

/// What a case's runs come to.
fn row(
    case: &Case,
    samples: &BTreeMap<Peer, Vec<Sample>>,
    warmed: &[(Peer, Sample)],
    native_agrees: bool,
) -> Row {
    let counted = samples.iter().flat_map(|(peer, all)| all.iter().map(move |one| (*peer, one)));
    let all: Vec<(Peer, &Sample)> =
        counted.chain(warmed.iter().map(|(peer, sample)| (*peer, sample))).collect();
    let results = |native: bool| -> BTreeSet<&str> {
        let of = all.iter().filter(|(peer, _)| (*peer == Peer::Native) == native);
        of.map(|(_, sample)| &*sample.checksum).collect()
    };
    let (native, guests) = (results(true), results(false));
    let native_differs = !native.is_empty() && !guests.is_empty() && native != guests;
    let agreed = native.len() <= 1 && guests.len() <= 1 && !(native_agrees && native_differs);
    let cell = |(peer, of_peer): (&Peer, &Vec<Sample>)| {
        let over = |base: &Peer| {
            let base = samples.get(base)?;
            // Of pairs that ran one after the other, as the host's mood changes.
            Some(median(of_peer.iter().zip(base).map(|(a, b)| ms(a.cpu) / ms(b.cpu)).collect()))
        };
        let bases = samples.keys().filter(|base| **base < *peer);
        Cell {
            peer: *peer,
            cpu_ms: median(of_peer.iter().map(|sample| ms(sample.cpu)).collect()),
            over: bases.filter_map(|base| Some((base.name(), over(base)?))).collect(),
            mips: mips(of_peer),
            checksums: checksums(of_peer),
        }
    };
    let instructions = all.iter().map(|(_, one)| one.instructions).filter(|count| *count > 0);
    Row {
        case: case.clone(),
        runs: samples.values().map(Vec::len).max().unwrap_or(0),
        instructions: instructions.max(),
        agreed: agreed && same_instructions(samples),
        native_differs,
        cells: samples.iter().map(cell).collect(),
    }
}

/// Whether all runs of ours retired the same instructions: they do, in every tier.
fn same_instructions(samples: &BTreeMap<Peer, Vec<Sample>>) -> bool {
    let ours = || samples.iter().filter(|(peer, _)| peer.is_omni()).flat_map(|(_, all)| all);
    let first = ours().next();
    ours().all(|sample| first.is_some_and(|first| first.instructions == sample.instructions))
}

/// Millions of instructions a second, the median; nothing where they are not counted.
fn mips(samples: &[Sample]) -> Option<f64> {
    let counted = samples.iter().all(|sample| sample.instructions > 0);
    let of = |sample: &Sample| sample.instructions as f64 / 1e6 / sample.cpu.as_secs_f64();
    counted.then(|| median(samples.iter().map(of).collect()))
}

fn checksums(samples: &[Sample]) -> Vec<String> {
    let mut all: Vec<String> = samples.iter().map(|sample| sample.checksum.clone()).collect();
    all.sort();
    all.dedup();
    all
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
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
    use crate::peer::Tier;

    const OMNI: Peer = Peer::Omni(Tier::All);

    fn sample(cpu_ms: u64, checksum: &str) -> Sample {
        let cpu = Duration::from_millis(cpu_ms);
        Sample { cpu, checksum: checksum.into(), instructions: 1_000_000 }
    }

    fn case() -> Case {
        Case { name: "a".into(), about: String::new(), group: Group::Other, count: 1 }
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
        let samples = BTreeMap::from([
            (Peer::Native, vec![sample(10, "7"), sample(100, "7"), sample(10, "7")]),
            (OMNI, vec![sample(20, "7"), sample(200, "7"), sample(20, "7")]),
        ]);
        let row = row(&case(), &samples, &[], true);
        assert!((row.cells[1].over["native"] - 2.0).abs() < 1e-9);
        assert!(row.cells[0].over.is_empty());
        assert!((row.cells[1].mips.expect("counted") - 50.0).abs() < 1e-9);
        assert!(row.agreed);
    }

    #[test]
    fn one_checksum_that_differs_in_one_run_is_seen_even_if_it_does_not_count() {
        let samples = |last: &str| {
            BTreeMap::from([
                (Peer::Native, vec![sample(10, "7"), sample(10, "7")]),
                (OMNI, vec![sample(20, "7"), sample(20, last)]),
            ])
        };
        let wrong = row(&case(), &samples("8"), &[], false);
        assert!(!wrong.agreed);
        assert_eq!(wrong.cells[1].checksums.len(), 2);
        assert!(!row(&case(), &samples("7"), &[(OMNI, sample(1, "8"))], false).agreed);
    }

    #[test]
    fn this_host_may_differ_only_where_the_compilers_have_room() {
        let samples = BTreeMap::from([
            (Peer::Native, vec![sample(10, "6")]),
            (Peer::Qemu, vec![sample(10, "7")]),
            (OMNI, vec![sample(20, "7")]),
        ]);
        let free = row(&case(), &samples, &[], false);
        assert!(free.agreed && free.native_differs);
        assert!(!row(&case(), &samples, &[], true).agreed);
    }

    struct Fails(u32);

    impl Entrant for Fails {
        fn run(&mut self, _: &Case) -> Result<Sample, BenchError> {
            self.0 = self.0.checked_sub(1).ok_or(BenchError::NoCpuTime)?;
            Ok(sample(1, "7"))
        }

        fn end(&mut self) -> Result<(), BenchError> {
            Ok(())
        }
    }

    #[derive(Default)]
    struct Hears(Vec<String>);

    impl Audience for Hears {
        fn doing(&mut self, what: &str) {
            self.0.push(what.into());
        }

        fn begins(&mut self, _: &Report) {}

        fn measured(&mut self, row: &Row) {
            self.0.push(format!("{} by {}", row.case.name, row.cells.len()));
        }
    }

    #[test]
    fn each_case_is_told_of_before_the_next_is_run() {
        let mut entrants: Entrants = vec![(OMNI, Box::new(Fails(99)))];
        let mut field = Field { peers: vec![OMNI], ..Field::default() };
        let runs = Runs { counted: 2, warm_up: false, native_agrees: true };
        let mut hears = Hears::default();
        contest(&[case(), case()], &mut entrants, runs, &mut field, &mut hears);
        assert_eq!(hears.0, ["a: ", "a by 1", "a: ", "a by 1"]);
    }

    #[test]
    fn one_that_fails_is_left_out_and_named() {
        let mut entrants: Entrants =
            vec![(Peer::Qemu, Box::new(Fails(3))), (OMNI, Box::new(Fails(99)))];
        let mut field = Field { peers: vec![Peer::Qemu, OMNI], ..Field::default() };
        let runs = Runs { counted: 2, warm_up: false, native_agrees: true };
        let rows =
            contest(&[case(), case()], &mut entrants, runs, &mut field, &mut Hears::default());
        assert_eq!(rows.iter().map(|row| row.cells.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((field.peers, field.missing.len()), (vec![OMNI], 1));
    }
}
