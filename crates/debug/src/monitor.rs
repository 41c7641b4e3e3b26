//! What the debugger's `monitor` command can ask for.

use crate::DebugError;
use crate::target::Debugged;
use omni_base::Tick;
use omni_lifecycle::Moment;

const HELP: &str = "\
when               the moment that is looked at, and what is recorded
goto TICK          looks at the machine as it was at this tick
rewind COUNT       looks at it so many ticks earlier; with s, ms or us, so much of its time earlier
begin, end         looks at the first moment recorded, or at the present
physical on|off    whether memory is read and written by physical address
translate ADDRESS  where an address of the present thread leads
After goto, rewind, begin and end: 'flushregs', as GDB does not ask again by itself.
";

/// Does what a command asks for. Gives what there is to say.
pub(crate) fn command(debugged: &mut Debugged<'_>, text: &str) -> Result<String, DebugError> {
    let words = text.split_whitespace().collect::<Vec<_>>();
    let session = &mut debugged.session;
    let now = session.now();
    match words[..] {
        ["when"] => Ok(when(debugged)),
        ["goto", tick] => match tick.parse() {
            Ok(tick) => visit(debugged, Tick(tick)),
            Err(_) => Ok(format!("'{tick}' is no tick: a decimal number")),
        },
        ["rewind", count] => match ticks(debugged, count) {
            Some(count) => {
                let begin = debugged.session.begin().tick.0;
                visit(debugged, Tick(now.tick.0.saturating_sub(count).max(begin)))
            }
            None => Ok(format!("'{count}' is no count of ticks, nor a time such as 10s or 5ms")),
        },
        ["begin"] => {
            let begin = session.begin();
            go(debugged, begin)
        }
        ["end"] => {
            let end = session.present_moment();
            go(debugged, end)
        }
        ["physical", choice @ ("on" | "off")] => {
            session.physical = choice == "on";
            Ok(format!(
                "memory is read by {} address",
                if session.physical { "physical" } else { "virtual" }
            ))
        }
        ["translate", address] => Ok(translate(debugged, address)),
        _ => Ok(HELP.to_owned()),
    }
}

fn visit(debugged: &mut Debugged<'_>, tick: Tick) -> Result<String, DebugError> {
    let session = &mut debugged.session;
    let (begin, end) = (session.begin(), session.present_moment());
    if tick < begin.tick || tick > end.tick {
        return Ok(format!(
            "tick {} is not recorded: from {} to {} is",
            tick.0, begin.tick.0, end.tick.0
        ));
    }
    let moment = session.history.at(tick).max(begin);
    go(debugged, if tick == end.tick { end } else { moment })
}

fn go(debugged: &mut Debugged<'_>, moment: Moment) -> Result<String, DebugError> {
    debugged.session.visit(moment)?;
    Ok(when(debugged))
}

fn when(debugged: &mut Debugged<'_>) -> String {
    let session = &mut debugged.session;
    let (begin, now, end) = (session.begin(), session.now(), session.present_moment());
    let ns = u128::from(session.machine().spec().ns_per_tick) * u128::from(now.tick.0);
    let (rungs, near) = session.history.rung_counts();
    let place = if session.is_past() { "the past" } else { "the present" };
    format!(
        "{now}, {}.{:06} s, in {place}\n\
         recorded from tick {} to tick {}, {} events, {rungs} rungs, {near} near\n",
        ns / 1_000_000_000,
        ns % 1_000_000_000 / 1000,
        begin.tick.0,
        end.tick.0,
        end.events,
    )
}

/// A count of ticks, or a time of the guest's.
fn ticks(debugged: &mut Debugged<'_>, text: &str) -> Option<u64> {
    let ns_per_tick = u64::from(debugged.session.machine().spec().ns_per_tick).max(1);
    let units = [("ms", 1_000_000), ("us", 1000), ("ns", 1), ("s", 1_000_000_000)];
    for (unit, ns) in units {
        if let Some(count) = text.strip_suffix(unit) {
            return Some(count.parse::<u64>().ok()?.checked_mul(ns)? / ns_per_tick);
        }
    }
    text.parse().ok()
}

fn translate(debugged: &mut Debugged<'_>, text: &str) -> String {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let Ok(at) = u64::from_str_radix(digits, 16) else {
        return format!("'{text}' is no address: a hexadecimal number");
    };
    let thread = debugged.thread;
    let Some(place) = debugged.session.inspect().locate(thread, at) else {
        return format!("{at:#x} leads nowhere");
    };
    let spaces = &debugged.session.machine().memory().spaces;
    let name = spaces.get(place.space).map_or("?", |space| space.name());
    format!("{at:#x} is byte {:#x} of {name}", place.at.0)
}
