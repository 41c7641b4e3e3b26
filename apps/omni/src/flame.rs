//! Where the time of guests goes: stacks of a guest's function and what was done for it, as files
//! that other tools read, and as a graph.

use crate::failure::Failure;
use crate::symbols::Symbols;
use inferno::flamegraph;
use omni_engine::{MadeCode, Phase, phase_here};
use omni_host::{Sample, Sampler, read_bounded, watch_for_renewal};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Places of a guest that are told apart; those beyond are one.
const PLACES_MAX: usize = 1 << 18;

/// Pieces of machine code that are known at a time; beyond, all are forgotten.
const CODE_MAX: usize = 1 << 20;

/// A file of stacks, in bytes.
const FOLDED_BYTES_MAX: u64 = 256 << 20;

/// What is below all stacks whose function has no name.
const UNKNOWN: &str = "[no symbols]";

/// Samples by what they are of: a name of a file, a name of a function, what was done for it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Stacks(BTreeMap<String, u64>);

impl Stacks {
    /// Adds those of a file.
    pub(crate) fn add_file(&mut self, path: &Path) -> Result<(), Failure> {
        let bytes = read_bounded(path, FOLDED_BYTES_MAX).map_err(|error| io_at(path, &error))?;
        self.add_text(&String::from_utf8_lossy(&bytes));
        Ok(())
    }

    fn add_text(&mut self, text: &str) {
        for line in text.lines() {
            if let Some((stack, count)) = line.rsplit_once(' ')
                && let Ok(count) = count.parse()
            {
                self.add(stack.to_owned(), count);
            }
        }
    }

    fn add(&mut self, stack: String, count: u64) {
        let sum = self.0.entry(stack).or_default();
        *sum = sum.saturating_add(count);
    }

    /// All samples.
    pub(crate) fn count(&self) -> u64 {
        self.0.values().sum()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (stack, count) in &self.0 {
            // Text in memory takes whatever is written.
            let _ = writeln!(text, "{stack} {count}");
        }
        text
    }

    /// Writes `PATH.folded` and `PATH.svg`.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let (folded, svg) = (with_ending(path, "folded"), with_ending(path, "svg"));
        let text = self.text();
        fs::write(&folded, &text).map_err(|error| io_at(&folded, &error))?;
        if self.0.is_empty() {
            return Ok(());
        }
        let mut options = flamegraph::Options::default();
        options.title = "Functions of the guest, and what was done for them".into();
        options.count_name = "samples of a millisecond".into();
        let mut drawn = vec![];
        flamegraph::from_lines(&mut options, text.lines(), &mut drawn)
            .map_err(|error| Failure::io(&svg.display().to_string(), &io::Error::other(error)))?;
        fs::write(&svg, drawn).map_err(|error| io_at(&svg, &error))
    }

    /// What was done, by the number of samples, the most first.
    pub(crate) fn phases(&self) -> Vec<(String, u64)> {
        sorted(self.0.iter().map(|(stack, count)| {
            let phase = stack.rsplit(';').next().unwrap_or(stack);
            (phase.to_owned(), *count)
        }))
    }

    /// The functions for which it was done, each with the name of its file, the most first.
    pub(crate) fn functions(&self) -> Vec<(String, u64)> {
        sorted(self.0.iter().filter_map(|(stack, count)| {
            let (function, _) = stack.rsplit_once(';')?;
            Some((function.replace(';', ": "), *count))
        }))
    }

    /// The samples of a function of [`Stacks::functions`], by what was done for it.
    pub(crate) fn phases_of(&self, function: &str) -> Vec<(String, u64)> {
        sorted(self.0.iter().filter_map(|(stack, count)| {
            let (of, phase) = stack.rsplit_once(';')?;
            (of.replace(';', ": ") == function).then(|| (phase.to_owned(), *count))
        }))
    }
}

fn sorted(counts: impl Iterator<Item = (String, u64)>) -> Vec<(String, u64)> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in counts {
        *sums.entry(name).or_default() += count;
    }
    let mut all: Vec<(String, u64)> = sums.into_iter().collect();
    all.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    all
}

/// A path with an ending put behind its name.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn io_at(path: &Path, error: &io::Error) -> Failure {
    Failure::io(&path.display().to_string(), error)
}

/// A process whose threads are sampled while they run engines.
pub(crate) struct Flame {
    path: PathBuf,
    symbols: Symbols,
    shared: Arc<Shared>,
    sampler: Mutex<Option<Sampler>>,
}

/// What the thread that takes samples shares with those that make code.
#[derive(Default)]
struct Shared {
    /// Machine code by its address: where it ends, and the address of its block in the guest.
    code: Mutex<BTreeMap<u64, (u64, u64)>>,
    /// Samples by phase and address in the guest.
    found: Mutex<BTreeMap<(Phase, u64), u64>>,
    /// Someone asked to begin anew.
    renew: Arc<AtomicBool>,
}

impl Flame {
    /// Begins to sample. What is found is written to files of these names in the end.
    pub(crate) fn begin(path: PathBuf, symbols: Symbols) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io("cannot take samples", &error);
        let shared = Arc::new(Shared::default());
        watch_for_renewal(&shared.renew).map_err(failed)?;
        let taker = shared.clone();
        let sampler = Sampler::start(tell, move |sample| taker.take(sample)).map_err(failed)?;
        Ok(Self { path, symbols, shared, sampler: Mutex::new(Some(sampler)) })
    }

    /// The thread that calls this runs an engine.
    pub(crate) fn join(&self) {
        if let Some(sampler) = &*lock(&self.sampler) {
            sampler.join();
        }
    }

    /// Machine code was made, perhaps where other code was.
    pub(crate) fn made(&self, code: &MadeCode) {
        let mut all = lock(&self.shared.code);
        if all.len() >= CODE_MAX {
            all.clear();
        }
        let end = code.address + code.bytes;
        let under = all.range(..end).rev().take_while(|(_, (until, _))| *until > code.address);
        let under: Vec<u64> = under.map(|(start, _)| *start).collect();
        for start in under {
            all.remove(&start);
        }
        all.insert(code.address, (end, code.pc));
    }

    /// Takes the last samples, and writes the files.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        drop(lock(&self.sampler).take());
        self.stacks().write(&self.path)
    }

    fn stacks(&self) -> Stacks {
        let mut stacks = Stacks::default();
        for ((phase, pc), count) in &*lock(&self.shared.found) {
            stacks.add(stack(*phase, *pc, &self.symbols), *count);
        }
        stacks
    }
}

/// The stack for an address of the guest; without a name, its page.
fn stack(phase: Phase, pc: u64, symbols: &Symbols) -> String {
    if phase == Phase::Outside {
        return phase.name().into();
    }
    match symbols.place(pc) {
        Some((file, function)) => {
            let plain = |text: &str| text.replace([';', ' '], "_");
            format!("{};{};{}", plain(file), plain(function), phase.name())
        }
        None => format!("{UNKNOWN};{:#x};{}", pc & !0xfff, phase.name()),
    }
}

impl Shared {
    fn take(&self, sample: Sample) {
        let mut found = lock(&self.found);
        if self.renew.swap(false, Ordering::Relaxed) {
            found.clear();
        }
        let phase = usize::try_from(sample.words[0]).ok().and_then(|at| Phase::ALL.get(at));
        let Some(phase) = phase.copied().filter(|phase| *phase != Phase::Never) else { return };
        let mut pc = sample.words[1];
        if phase == Phase::MachineCode {
            let code = lock(&self.code);
            let before = code.range(..=sample.address).next_back();
            if let Some((_, (end, of))) = before
                && sample.address < *end
            {
                pc = *of;
            }
        }
        let key = if found.len() < PLACES_MAX { (phase, pc) } else { (phase, 0) };
        *found.entry(key).or_default() += 1;
    }
}

/// What a thread says of itself, in the handler of a signal.
fn tell() -> [u64; 2] {
    let (phase, pc) = phase_here();
    [phase as u64, pc]
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stacks() -> Stacks {
        let mut stacks = Stacks::default();
        stacks.add_text("vmlinux;memcpy;machine code 30\nvmlinux;memcpy;TLB refill 20\n");
        stacks.add_text("a.out;main;machine code 40\noutside the engine 10\nnonsense\n \nx y\n");
        stacks
    }

    #[test]
    fn shares_are_of_phases_and_of_functions() {
        let stacks = stacks();
        let pair = |name: &str, count| (name.to_owned(), count);
        assert_eq!(stacks.count(), 100);
        assert_eq!(
            stacks.phases(),
            [pair("machine code", 70), pair("TLB refill", 20), pair("outside the engine", 10)]
        );
        assert_eq!(stacks.functions(), [pair("vmlinux: memcpy", 50), pair("a.out: main", 40)]);
        assert_eq!(stacks.phases_of("vmlinux: memcpy")[0], pair("machine code", 30));
    }

    #[test]
    fn what_is_written_can_be_read_again_and_is_drawn() {
        let folder = omni_host::TempDir::new("flame").expect("a writable host");
        let path = folder.path().join("of.all");
        stacks().write(&path).expect("a writable host");
        let mut again = Stacks::default();
        again.add_file(&with_ending(&path, "folded")).expect("it was written");
        assert_eq!(again, stacks());
        let drawn = fs::read_to_string(folder.path().join("of.all.svg")).expect("it was drawn");
        assert!(drawn.contains("<svg") && drawn.contains("memcpy"));
        Stacks::default().write(&path).expect("nothing is a result too");
    }

    #[test]
    fn a_sample_in_machine_code_is_of_the_block_whose_code_is_there_now() {
        let shared = Arc::new(Shared::default());
        let flame = Flame {
            path: PathBuf::new(),
            symbols: Symbols::default(),
            shared: shared.clone(),
            sampler: Mutex::new(None),
        };
        let code = |address, bytes, pc| MadeCode { address, bytes, pc, mode: omni_engine::Mode(0) };
        flame.made(&code(0x1000, 0x100, 0x5000));
        flame.made(&code(0x1100, 0x100, 0x6000));
        flame.made(&code(0x1080, 0x20, 0x7000));
        let at = |address| Sample { address, words: [Phase::MachineCode as u64, 0x8000] };
        // The first one's code is gone, as other code lies over it.
        [0x1010, 0x1080, 0x1110, 0x9999].into_iter().for_each(|address| shared.take(at(address)));
        shared.take(Sample { address: 0x1110, words: [Phase::Walk as u64, 0x8000] });
        shared.take(Sample { address: 0, words: [0, 0] });
        let text = flame.stacks().text();
        assert_eq!(
            text,
            "[no symbols];0x6000;machine code 1\n[no symbols];0x7000;machine code 1\n\
             [no symbols];0x8000;TLB refill 1\n[no symbols];0x8000;machine code 2\n"
        );
        shared.renew.store(true, Ordering::Relaxed);
        shared.take(at(0x1110));
        assert_eq!(flame.stacks().count(), 1);
    }
}
