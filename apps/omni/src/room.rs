//! Whether the host has room for more machines: an honest refusal rather than a dead neighbour.

use crate::failure::{Failure, code};
use crate::ui::size_text;
use omni_control::{Entry, MachineFile, Registry};
use omni_host::host_memory;
use omni_kinds::kind_of;
use omni_machine::Spec;

/// The variable that says how many times the host's memory is let be promised.
const VARIABLE: &str = "OMNI_OVERCOMMIT";

/// How many times that is where it says nothing. Guests seldom use all that they have, and those
/// with a balloon give back what they have freed.
const OVERCOMMIT: f64 = 2.0;

/// The part of the host's memory that must be available for anything to be started.
const RESERVE: u64 = 32;

/// Refuses machines that the host has no memory for. Those that go on from a snapshot share its
/// pages, so they count only by what is available.
pub(crate) fn check(new: &[Entry], registry: &Registry) -> Result<(), Failure> {
    // A host that says nothing of its memory has to be believed.
    let Some((total, available)) = host_memory() else { return Ok(()) };
    let factor = overcommit(std::env::var(VARIABLE).ok().as_deref())?;
    let counts = |entry: &Entry| entry.origin.generation == 0;
    let sum = |machines: &mut dyn Iterator<Item = &Entry>| {
        machines
            .filter(|entry| counts(entry))
            .map(|entry| promised(&entry.machine))
            .fold(0, u64::saturating_add)
    };
    let all = registry.list()?;
    let live = sum(&mut all.iter().filter(|entry| entry.state.state.is_live()));
    let room = Room { total, available, factor, live };
    room.refusal(sum(&mut new.iter())).map_or(Ok(()), |text| {
        let text = format!("{text}; stop machines, or have their guests give memory back");
        Err(Failure::new(code::UNSUPPORTED, text))
    })
}

/// Refuses forks where next to nothing is available: they share the pages of what runs already.
pub(crate) fn check_forks() -> Result<(), Failure> {
    let Some((total, available)) = host_memory() else { return Ok(()) };
    let room = Room { total, available, factor: OVERCOMMIT, live: 0 };
    room.refusal(0).map_or(Ok(()), |text| Err(Failure::new(code::UNSUPPORTED, text)))
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

impl Room {
    /// Why so much more is refused, if it is.
    fn refusal(&self, more: u64) -> Option<String> {
        let Self { total, available, factor, live } = *self;
        if available < total / RESERVE {
            let (available, total) = (size_text(available), size_text(total));
            return Some(format!("the host has {available} of its {total} of memory left"));
        }
        // Sizes of memory are exact enough as such numbers.
        let may = total as f64 * factor;
        if more == 0 || live.saturating_add(more) as f64 <= may {
            return None;
        }
        let [more, live, total] = [more, live, total].map(size_text);
        Some(format!(
            "{more} of memory is too much beside the {live} of machines that run: the host has \
             {total}, and lets {factor} times that be promised ({VARIABLE} changes it)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn room(available: u64, live: u64) -> Room {
        Room { total: 8 * GIB, available, factor: 2.0, live }
    }

    #[test]
    fn memory_is_promised_up_to_the_factor_and_not_beyond() {
        assert_eq!(room(4 * GIB, 12 * GIB).refusal(4 * GIB), None);
        let refusal = room(4 * GIB, 12 * GIB).refusal(4 * GIB + 1).expect("too much");
        assert!(refusal.contains("12G"), "{refusal}");
        assert!(refusal.contains(VARIABLE));
        assert!(room(4 * GIB, 1).refusal(u64::MAX).is_some());
    }

    #[test]
    fn what_shares_its_pages_is_started_while_the_host_has_any_left() {
        assert_eq!(room(GIB, 900 * GIB).refusal(0), None);
        assert!(room(GIB / 8, 0).refusal(0).is_some());
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
