//! How this process runs code of guests: by which tiers, timed by which clock, told to whom.

use crate::failure::Failure;
use crate::flame::Flame;
use crate::perf_map::PerfMap;
use crate::symbols::Symbols;
use omni_bench::{FLAME_VARIABLE, SYMBOLS_VARIABLE, TIER_VARIABLE, WITHOUT_VARIABLE};
use omni_engine::{MadeCode, Profiler, Tiers, Without, set_profiler};
use std::env;
use std::sync::OnceLock;
use std::time::Instant;

/// The words for the tiers.
pub(crate) const INTERP: &str = "interp";
pub(crate) const JIT: &str = "jit";

/// Asks for a map of the code that is made, which `perf` reads.
const PERF_MAP: &str = "OMNI_PERF_MAP";

/// Sets up what engines of this process begin with: for whoever is to run a machine. `accel` is
/// what the machine's file says.
pub(crate) fn begin(accel: Option<&str>) -> Result<(), Failure> {
    let said = env::var(TIER_VARIABLE).ok().filter(|word| !word.is_empty());
    match accel.or(said.as_deref()) {
        // Engines begin so, and interpret where this host has nothing better.
        None | Some(JIT) => {}
        Some(INTERP) => Tiers::Interpreter.make_default(),
        Some(other) => {
            let text = format!("{TIER_VARIABLE}: '{other}' is neither {JIT} nor {INTERP}");
            return Err(Failure::usage(text));
        }
    }
    let without = env::var(WITHOUT_VARIABLE).unwrap_or_default();
    let names = without.split(',').map(str::trim).filter(|name| !name.is_empty());
    Without::make_default(names).map_err(|name| {
        let known = Without::NAMES.join(", ");
        Failure::usage(format!("{WITHOUT_VARIABLE}: '{name}' is none of {known}"))
    })?;
    let map = match env::var(PERF_MAP) {
        Ok(word) if !word.is_empty() && word != "0" => Some(PerfMap::create(symbols()?)?),
        _ => None,
    };
    let flame = match env::var_os(FLAME_VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => Some(Flame::begin(path.into(), symbols()?)?),
        None => None,
    };
    set_profiler(HOST.get_or_init(|| Host { start: Instant::now(), map, flame }));
    Ok(())
}

/// Writes what is written in the end, where it was asked for.
pub(crate) fn end() -> Result<(), Failure> {
    let flame = HOST.get().and_then(|host| host.flame.as_ref());
    flame.map_or(Ok(()), Flame::end)
}

/// Names of functions of guests, from the files of the variable.
fn symbols() -> Result<Symbols, Failure> {
    let paths = env::var_os(SYMBOLS_VARIABLE).unwrap_or_default();
    Symbols::read(env::split_paths(&paths))
}

static HOST: OnceLock<Host> = OnceLock::new();

/// The clock of this host, and what was asked for.
struct Host {
    start: Instant,
    map: Option<PerfMap>,
    flame: Option<Flame>,
}

impl Profiler for Host {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn made(&self, code: &MadeCode) {
        if let Some(map) = &self.map {
            map.add(code);
        }
        if let Some(flame) = &self.flame {
            flame.made(code);
        }
    }

    fn samples(&self) -> bool {
        self.flame.is_some()
    }

    fn engaged(&self) {
        if let Some(flame) = &self.flame {
            flame.join();
        }
    }
}
