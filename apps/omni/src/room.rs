//! Whether the host has room for more machines: an honest refusal rather than a dead neighbour.

use crate::failure::{Failure, code};
use crate::ui::size_text;
use omni_control::{Client, Entry, MachineFile, Phase, Registry, Request};
use omni_host::{anonymous_bytes, host_memory};
use omni_kinds::kind_of;
use omni_machine::Spec;
use std::collections::BTreeMap;
use std::time::Duration;

/// The variable that says how many times the host's memory is let be promised.
const VARIABLE: &str = "OMNI_OVERCOMMIT";

/// How many times that is where it says nothing. Guests seldom use all that they have, and those
/// with a balloon give back what they have freed.
const OVERCOMMIT: f64 = 2.0;

/// The part of the host's memory that must be available for anything to be started.
const RESERVE: u64 = 32;

/// How long a machine is watched, to see whether it idles.
const WATCH: Duration = Duration::from_millis(500);

/// The part of that time that it may run: 1/64.
const IDLE: u128 = 64;

/// The memory that a machine must hold for it to be worth sending out.
const WORTH: u64 = 8 << 20;

/// How long a machine has to say what it uses.
const SAYS: Duration = Duration::from_secs(5);

/// How long a machine has to put its memory into the store.
const SENDS: Duration = Duration::from_secs(60);

/// What a fork is taken to need at least: it shares all that it does not write.
const FORK_BYTES: u64 = 1 << 20;

/// Refuses machines that the host has no memory for.
pub(crate) fn check(new: &[Entry], registry: &Registry) -> Result<(), Failure> {
    check_beside(new.iter().map(wanted).fold(0, u64::saturating_add), &[], registry)
}

/// Refuses that machines go on with memory of their own, whether they live now or not, where the
/// host has none for all of them.
pub(crate) fn check_again(again: &[Entry], registry: &Registry) -> Result<(), Failure> {
    let promised = again.iter().map(|entry| promised(&entry.machine));
    check_beside(promised.fold(0, u64::saturating_add), again, registry)
}

fn is_of(entries: &[Entry], id: &str) -> bool {
    entries.iter().any(|entry| entry.machine.id == id)
}

fn check_beside(wanted: u64, but: &[Entry], registry: &Registry) -> Result<(), Failure> {
    let Some(mut refused) = refusal(wanted, but, registry)? else { return Ok(()) };
    // Those that are held do without their memory before anybody is refused.
    if send_out(but, registry)? {
        let Some(still) = refusal(wanted, but, registry)? else { return Ok(()) };
        refused = still;
    }
    // Those that run may come to use what they are promised, but need not hold it while they idle.
    if refused.is_short && send_out_idle(but, registry)? {
        let Some(still) = refusal(wanted, but, registry)? else { return Ok(()) };
        refused = still;
    }
    let text = refused.text + "; stop machines, or have their guests give memory back";
    Err(Failure::new(code::UNSUPPORTED, text))
}

/// Why there is no room for so much more, beside all machines that live but these.
fn refusal(wanted: u64, but: &[Entry], registry: &Registry) -> Result<Option<Refusal>, Failure> {
    // A host that says nothing of its memory has to be believed.
    let Some((total, available)) = host_memory() else { return Ok(None) };
    let factor = overcommit(std::env::var(VARIABLE).ok().as_deref())?;
    let all = registry.list()?;
    let others = all.iter().filter(|entry| !is_of(but, &entry.machine.id));
    let live = live_bytes(others.filter(|entry| entry.state.state.is_live()), anonymous_bytes);
    Ok(Room { total, available, factor, live }.refusal(wanted))
}

/// Has machines that are held put their memory into the store. Says whether any did.
fn send_out(but: &[Entry], registry: &Registry) -> Result<bool, Failure> {
    let mut any = false;
    for entry in registry.list()? {
        let held = entry.state.state == Phase::Paused && !entry.state.cold;
        if held && !is_of(but, &entry.machine.id) {
            // One that cannot stays as it is, and counts as it did.
            any |= ask(&entry, &Request::SendOut, SENDS).is_some();
        }
    }
    Ok(any)
}

/// Has machines that run and have nothing to do put their memory into the store, until the host
/// has enough of it. Says whether any did.
fn send_out_idle(but: &[Entry], registry: &Registry) -> Result<bool, Failure> {
    let runs = |entry: &Entry| entry.state.state == Phase::Running;
    let mut running = registry.list()?;
    running.retain(|entry| runs(entry) && !is_of(but, &entry.machine.id));
    let before: Vec<Option<Use>> = running.iter().map(use_of).collect();
    std::thread::sleep(WATCH);
    let mut any = false;
    for (entry, before) in running.iter().zip(before) {
        let Some(before) = before else { continue };
        if !use_of(entry).is_some_and(|after| is_idle((before, after))) {
            continue;
        }
        // One that cannot stays as it is.
        any |= ask(entry, &Request::SendOut, SENDS).is_some();
        if host_memory().is_none_or(|(total, available)| available >= total / RESERVE * 2) {
            break;
        }
    }
    Ok(any)
}

/// What a machine answers, unless it has gone, says no or takes too long.
fn ask(entry: &Entry, request: &Request, most: Duration) -> Option<serde_json::Value> {
    let mut client = Client::connect(entry).ok()?;
    client.set_patience(most).ok()?;
    client.ask(request).ok()
}

/// What a machine has used of the host's time, in milliseconds, and what it alone holds: what was
/// sent out already, and has not been written since, is not of that.
type Use = (u64, u64);

fn use_of(entry: &Entry) -> Option<Use> {
    let said = ask(entry, &Request::Stats, SAYS)?;
    Some((said["host_cpu_ms"].as_u64()?, said["own_bytes"].as_u64()?))
}

/// Whether a machine used so little between two looks that it will hardly miss what it holds, and
/// that is worth to be had.
fn is_idle(((before, _), (after, held)): (Use, Use)) -> bool {
    let ran = u128::from(after.saturating_sub(before));
    held >= WORTH && ran <= WATCH.as_millis() / IDLE
}

/// The memory that a machine may come to use that is about to start.
fn wanted(entry: &Entry) -> u64 {
    let shares = entry.origin.fork && entry.state.state == Phase::Created;
    if shares { FORK_BYTES } else { promised(&entry.machine) }
}

/// What machines that live are promised. Those of one process share what they have in common, and
/// forks share the pages of a snapshot: these count by what they hold, and so do those whose memory
/// is in the store.
fn live_bytes<'e>(live: impl Iterator<Item = &'e Entry>, held: impl Fn(u32) -> Option<u64>) -> u64 {
    // Of each process: what its largest machine is promised, and how many others it has.
    let mut processes: BTreeMap<Option<u32>, (u64, u64)> = BTreeMap::new();
    for entry in live {
        let (largest, forks) = processes.entry(entry.state.pid).or_default();
        let shares = entry.origin.fork || entry.state.cold;
        let whole = if shares { 0 } else { promised(&entry.machine) };
        *forks += u64::from(shares || *largest > 0);
        *largest = whole.max(*largest);
    }
    let bytes = |(pid, (largest, forks)): (Option<u32>, (u64, u64))| {
        if forks == 0 {
            return largest;
        }
        let held = pid.and_then(&held).unwrap_or(0);
        largest.saturating_add(forks * FORK_BYTES).max(held)
    };
    processes.into_iter().map(bytes).fold(0, u64::saturating_add)
}

/// Refuses forks where next to nothing is available: they share the pages of what runs already.
pub(crate) fn check_forks() -> Result<(), Failure> {
    let Some((total, available)) = host_memory() else { return Ok(()) };
    let room = Room { total, available, factor: OVERCOMMIT, live: 0 };
    let refused = room.refusal(0);
    refused.map_or(Ok(()), |refused| Err(Failure::new(code::UNSUPPORTED, refused.text)))
}

/// How many times the host's memory may be promised.
fn overcommit(text: Option<&str>) -> Result<f64, Failure> {
    let Some(text) = text else { return Ok(OVERCOMMIT) };
    let factor = text.parse::<f64>().ok().filter(|factor| factor.is_finite() && *factor > 0.0);
    factor.ok_or_else(|| {
        Failure::usage(format!("{VARIABLE}: '{text}' is not a number above zero, such as 1.5"))
    })
}

/// The memory that a machine may come to use.
fn promised(machine: &MachineFile) -> u64 {
    let mut spec = Spec::new(&machine.kind);
    let options = kind_of(&machine.kind).map(|kind| kind.info().options).unwrap_or_default();
    // A kind without this option has programs, which are small.
    let Some(option) = options.iter().find(|option| option.name == "memory") else { return 0 };
    spec.options.insert("memory".into(), option.default.into());
    spec.options.extend(machine.options.clone());
    // One that is no number is refused elsewhere, with its own words.
    spec.number("memory", 0).unwrap_or(0)
}

/// The host's memory, and what it is promised for.
struct Room {
    total: u64,
    available: u64,
    factor: f64,
    live: u64,
}

/// Why there is no room.
#[derive(PartialEq, Eq, Debug)]
struct Refusal {
    text: String,
    /// The host has next to no memory left; otherwise too much of it is promised.
    is_short: bool,
}

impl Room {
    /// Why so much more is refused, if it is.
    fn refusal(&self, more: u64) -> Option<Refusal> {
        let Self { total, available, factor, live } = *self;
        if available < total / RESERVE {
            let (available, total) = (size_text(available), size_text(total));
            let text = format!("the host has {available} of its {total} of memory left");
            return Some(Refusal { text, is_short: true });
        }
        // Sizes of memory are exact enough as such numbers.
        let may = total as f64 * factor;
        if more == 0 || live.saturating_add(more) as f64 <= may {
            return None;
        }
        let [more, live, total] = [more, live, total].map(size_text);
        let text = format!(
            "{more} of memory is too much beside the {live} of machines that run: the host has \
             {total}, and lets {factor} times that be promised ({VARIABLE} changes it)"
        );
        Some(Refusal { text, is_short: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_control::{OriginFile, StateFile};

    const GIB: u64 = 1 << 30;

    fn room(available: u64, live: u64) -> Room {
        Room { total: 8 * GIB, available, factor: 2.0, live }
    }

    #[test]
    fn memory_is_promised_up_to_the_factor_and_not_beyond() {
        assert_eq!(room(4 * GIB, 12 * GIB).refusal(4 * GIB), None);
        let refusal = room(4 * GIB, 12 * GIB).refusal(4 * GIB + 1).expect("too much");
        assert!(refusal.text.contains("12G") && !refusal.is_short, "{refusal:?}");
        assert!(refusal.text.contains(VARIABLE));
        assert!(room(4 * GIB, 1).refusal(u64::MAX).is_some());
    }

    #[test]
    fn what_shares_its_pages_is_started_while_the_host_has_any_left() {
        assert_eq!(room(GIB, 900 * GIB).refusal(0), None);
        assert!(room(GIB / 8, 0).refusal(0).is_some_and(|refusal| refusal.is_short));
    }

    #[test]
    fn who_runs_a_64th_of_the_time_idles_and_who_runs_more_does_not() {
        let judged = |before, after, held| is_idle(((before, held), (after, held)));
        assert!(judged(5, 5, WORTH) && judged(5, 12, GIB) && judged(7, 5, GIB));
        assert!(!judged(5, 13, GIB) && !judged(0, 500, GIB) && !judged(5, 5, WORTH - 1));
    }

    fn entry(memory: &str, pid: u32, fork: bool, state: Phase) -> Entry {
        let options = [("memory".to_owned(), memory.to_owned())].into();
        let machine = MachineFile { kind: "riscv-virt".into(), options, ..MachineFile::default() };
        let state = StateFile { state, pid: Some(pid), ..StateFile::default() };
        let origin = OriginFile { fork, generation: 1, ..OriginFile::default() };
        Entry { dir: "m".into(), machine, state, origin }
    }

    #[test]
    fn what_goes_on_from_a_snapshot_counts_whole_and_forks_by_what_they_hold() {
        let restored = entry("1G", 1, false, Phase::Running);
        let apart = entry("1G", 2, true, Phase::Running);
        let family = [(); 3].map(|()| entry("1G", 3, false, Phase::Running));
        let live = |all: &[&Entry], held: u64| live_bytes(all.iter().copied(), |_| Some(held));
        assert_eq!(live(&[&restored], 5), GIB);
        assert_eq!(live(&[&apart], 5), FORK_BYTES);
        assert_eq!(live(&[&apart], 80 << 20), 80 << 20);
        let [one, two, three] = &family;
        assert_eq!(live(&[one, two, three], 5), GIB + 2 * FORK_BYTES);
        assert_eq!(live(&[one, two, three], 3 * GIB), 3 * GIB);
        let mut cold = restored.clone();
        cold.state.cold = true;
        assert_eq!(live(&[&cold], 9 << 20), 9 << 20);
        assert_eq!(live(&[&restored, &apart, one, two], 5), 2 * GIB + 2 * FORK_BYTES);
        assert_eq!(wanted(&entry("1G", 0, true, Phase::Created)), FORK_BYTES);
        assert_eq!(wanted(&entry("1G", 0, true, Phase::Stopped)), GIB, "it boots");
        assert_eq!(wanted(&restored), GIB);
    }

    #[test]
    fn the_factor_is_a_number_above_zero() {
        assert_eq!(overcommit(None).ok(), Some(OVERCOMMIT));
        assert_eq!(overcommit(Some("1.5")).ok(), Some(1.5));
        for bad in ["", "0", "-1", "NaN", "inf", "much"] {
            assert!(overcommit(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_machine_is_promised_what_it_asks_for_or_the_default_of_its_kind() {
        let mut machine = MachineFile { kind: "riscv-virt".into(), ..MachineFile::default() };
        assert_eq!(promised(&machine), 512 << 20);
        machine.options.insert("memory".into(), "2G".into());
        assert_eq!(promised(&machine), 2 * GIB);
        machine.kind = "zmachine".into();
        assert_eq!(promised(&machine), 0);
    }
}
