//! Samples of what threads of this process are at, taken by a clock.
#![allow(unsafe_code, reason = "handles a signal, and reads where it found its thread; SAFETY.md")]

use libc::{c_int, c_void, siginfo_t, ucontext_t};
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Where a thread was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// The address of the instruction that it was to run next; zero where the host does not tell.
    pub address: u64,
    /// What it says of itself.
    pub words: [u64; 2],
}

/// What a thread says of itself. It is called by the handler of a signal: it may only read.
pub type Tell = fn() -> [u64; 2];

/// The time from one sample to the next, by turns, in microseconds: in the mean a millisecond,
/// and in step with nothing that a guest does.
const PAUSES_US: [u64; 5] = [997, 1103, 887, 1049, 953];

/// Samples that wait to be taken. There is one a millisecond for each thread.
const WAITING_MAX: usize = 1024;

/// A place for a sample. `turn` says for which it is filled: one more than its number.
struct Place {
    turn: AtomicUsize,
    words: [AtomicU64; 3],
}

/// The samples between handlers and the thread that takes them.
struct Ring {
    next: AtomicUsize,
    places: [Place; WAITING_MAX],
}

static RING: Ring = Ring {
    next: AtomicUsize::new(0),
    places: [const { Place { turn: AtomicUsize::new(0), words: [const { AtomicU64::new(0) }; 3] } };
        WAITING_MAX],
};

static TELL: OnceLock<Tell> = OnceLock::new();

impl Ring {
    fn put(&self, sample: Sample) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let place = &self.places[number % WAITING_MAX];
        place.turn.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        let [one, two] = sample.words;
        for (to, word) in place.words.iter().zip([sample.address, one, two]) {
            to.store(word, Ordering::Relaxed);
        }
        place.turn.store(number.wrapping_add(1), Ordering::Release);
    }

    /// The sample of this number, if it is there and was not written over.
    fn get(&self, number: usize) -> Option<Sample> {
        let place = &self.places[number % WAITING_MAX];
        let filled = |order| place.turn.load(order) == number.wrapping_add(1);
        if !filled(Ordering::Acquire) {
            return None;
        }
        let [address, one, two] =
            [0, 1, 2].map(|at: usize| place.words[at].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        filled(Ordering::Relaxed).then_some(Sample { address, words: [one, two] })
    }
}

/// Takes samples of the threads that join it until it is dropped.
pub struct Sampler {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    threads: Mutex<Vec<c_int>>,
    stop: AtomicBool,
}

impl Sampler {
    /// Begins to sample by `SIGPROF`, which is this sampler's from now on. `take` gets each sample
    /// soon after it was made, on a thread of its own.
    ///
    /// # Errors
    /// Where the host gives no thread or no signal, and where this process has had a sampler.
    pub fn start(tell: Tell, mut take: impl FnMut(Sample) + Send + 'static) -> io::Result<Self> {
        TELL.set(tell).map_err(|_| io::Error::other("this process was sampled already"))?;
        catch_signal()?;
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let body = move || {
            let mut taken = 0;
            for pause in PAUSES_US.into_iter().cycle() {
                thread::sleep(Duration::from_micros(pause));
                let stop = theirs.stop.load(Ordering::Relaxed);
                if !stop {
                    theirs.ask();
                }
                let next = RING.next.load(Ordering::Relaxed);
                for number in taken.max(next.saturating_sub(WAITING_MAX))..next {
                    RING.get(number).into_iter().for_each(&mut take);
                }
                taken = next;
                if stop {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("sampler".into()).spawn(body)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has the thread that calls this sampled too, whenever it runs.
    pub fn join(&self) {
        // SAFETY: H1: it only tells the number of this thread.
        let id = unsafe { libc::gettid() };
        self.shared.threads().push(id);
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends by itself; what it might have panicked of has been said.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<c_int>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signals each thread that runs. One that sleeps is at nothing.
    fn ask(&self) {
        self.threads().retain(|id| match runs(*id) {
            Some(runs) => !runs || signal(*id),
            None => false,
        });
    }
}

/// Whether a thread of this process wants to run; nothing where there is none.
fn runs(id: c_int) -> Option<bool> {
    let text = fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?;
    // The name before is in brackets, and may hold some.
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.starts_with('R'))
}

/// Says whether the thread is there still.
fn signal(id: c_int) -> bool {
    let own = std::process::id().cast_signed();
    // SAFETY: H1: a signal that has our handler, to a thread of this process or to none.
    unsafe { libc::syscall(libc::SYS_tgkill, own, id, libc::SIGPROF) == 0 }
}

fn catch_signal() -> io::Result<()> {
    // SAFETY: H1: all zeros are a valid action: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = handle;
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: H1: the handler is a function for such actions; the old action is not asked for.
    let done = unsafe { libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn handle(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    let Some(tell) = TELL.get() else { return };
    let address = address(context.cast::<ucontext_t>());
    RING.put(Sample { address, words: tell() });
}

/// The address at which a signal found its thread.
fn address(context: *const ucontext_t) -> u64 {
    // SAFETY: H1: the host gives the handler a context, which is there until it returns.
    let Some(context) = (unsafe { context.as_ref() }) else { return 0 };
    #[cfg(target_arch = "x86_64")]
    let address = context.uc_mcontext.gregs[libc::REG_RIP as usize].cast_unsigned();
    #[cfg(target_arch = "aarch64")]
    let address = context.uc_mcontext.pc;
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let (address, _) = (0, context);
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn tell() -> [u64; 2] {
        [7, 9]
    }

    #[test]
    fn a_thread_that_runs_is_found_again_and_again_and_one_that_sleeps_is_not() {
        let (send, receive) = channel();
        let sampler = Sampler::start(tell, move |sample| {
            // The test has what it needs.
            let _ = send.send(sample);
        });
        let sampler = sampler.expect("the first of this process");
        let again = Sampler::start(tell, |_| {});
        assert!(again.is_err());
        sampler.join();
        let mut found = vec![];
        while found.len() < 20 {
            // Work; what it comes to is of no interest.
            for step in 0..100_000u64 {
                std::hint::black_box(step);
            }
            found.extend(receive.try_iter());
        }
        assert!(found.iter().all(|sample| sample.words == [7, 9]));
        assert!(found.iter().any(|sample| sample.address != 0));
        drop(sampler);
        assert!(receive.recv().is_err() || receive.iter().count() < WAITING_MAX);
    }

    #[test]
    fn what_was_written_over_is_nothing() {
        let ring = Ring {
            next: AtomicUsize::new(0),
            places: [const {
                Place { turn: AtomicUsize::new(0), words: [const { AtomicU64::new(0) }; 3] }
            }; WAITING_MAX],
        };
        let sample = |address| Sample { address, words: [1, 2] };
        assert_eq!(ring.get(0), None);
        (0..=WAITING_MAX as u64).for_each(|address| ring.put(sample(address)));
        assert_eq!((ring.get(0), ring.get(1)), (None, Some(sample(1))));
        assert_eq!(ring.get(WAITING_MAX), Some(sample(WAITING_MAX as u64)));
    }
}
