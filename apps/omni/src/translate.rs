//! How this process runs code of guests: by which tiers, timed by which clock, told to whom.

use crate::failure::Failure;
use crate::perf_map::PerfMap;
use omni_bench::{TIER_VARIABLE, WITHOUT_VARIABLE};
use omni_engine::{MadeCode, Profiler, Tiers, Without, set_profiler};
use std::env;
use std::sync::OnceLock;
use std::time::Instant;

/// The words for the tiers.
pub(crate) const INTERP: &str = "interp";
pub(crate) const JIT: &str = "jit";

/// Asks for a map of the code that is made, which `perf` reads.
const PERF_MAP: &str = "OMNI_PERF_MAP";

/// Names files with the symbols of what guests run, for that map.
const SYMBOLS: &str = "OMNI_SYMBOLS";

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
        Ok(word) if !word.is_empty() && word != "0" => {
            let symbols = env::var_os(SYMBOLS).unwrap_or_default();
            Some(PerfMap::create(env::split_paths(&symbols))?)
        }
        _ => None,
    };
    static HOST: OnceLock<Host> = OnceLock::new();
    set_profiler(HOST.get_or_init(|| Host { start: Instant::now(), map }));
    Ok(())
}

/// The clock of this host, and the map where one was asked for.
struct Host {
    start: Instant,
    map: Option<PerfMap>,
}

impl Profiler for Host {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn made(&self, code: &MadeCode) {
        if let Some(map) = &self.map {
            map.add(code);
        }
    }
}
