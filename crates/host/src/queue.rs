//! The one bounded queue by which everything reaches a machine.

use crate::held::Held;
use omni_machine::{Event, Kick, Machine, PortId};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Console input that waits for the machine, in bytes; beyond it the sender waits.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// Frames that wait for the machine; beyond it they are dropped, as by a full switch.
const FRAMES_MAX: usize = 1024;

/// Commands and answers that wait. Their senders wait for an answer each, so that this is ample.
const ITEMS_MAX: usize = 65_536;

/// A visit to the machine at a safe point, on the runner's thread.
pub type Call = Box<dyn FnOnce(&mut dyn Machine) + Send>;

/// A longer stay at the machine, on the runner's thread.
pub type Stay = Box<dyn FnOnce(&mut dyn Held) + Send>;

/// What reaches a runner.
pub enum Item {
    /// An event for the machine.
    Event(Event),
    /// Stop running until `Resume`; other items still arrive.
    Pause,
    /// Run again.
    Resume,
    /// End at once.
    Kill,
    /// Look at the machine, or take a snapshot of it.
    Call(Call),
    /// Let the machine live by someone else's hand for a while. One at a time: another is dropped.
    Stay(Stay),
}

#[derive(Default)]
struct Inner {
    items: VecDeque<Item>,
    input_bytes: usize,
    frames: usize,
    /// Senders that wait for room.
    blocked: usize,
    closed: bool,
}

/// The queue between the host's threads and the runner.
#[derive(Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    room: Condvar,
    kick: Kick,
}

impl Queue {
    /// The kick of the machine behind the queue: every arrival gives it.
    #[must_use]
    pub fn kick(&self) -> &Kick {
        &self.kick
    }

    /// Puts an item at the end. Says whether the runner will see it: not after its end.
    pub fn push(&self, item: Item) -> bool {
        let mut inner = self.lock();
        if inner.closed || inner.items.len() >= ITEMS_MAX {
            return false;
        }
        inner.items.push_back(item);
        self.arrived(inner);
        true
    }

    /// Puts console input at the end, and waits while too much of it is there. Says whether the
    /// machine can still get it.
    pub fn push_input(&self, port: PortId, bytes: &[u8]) -> bool {
        // That there are none says that no more will come.
        for part in bytes.chunks(4096).chain(bytes.is_empty().then_some(&[][..])) {
            let mut inner = self.lock();
            while !inner.closed && inner.input_bytes + part.len() > INPUT_BYTES_MAX {
                inner.blocked += 1;
                inner = self.room.wait(inner).unwrap_or_else(PoisonError::into_inner);
                inner.blocked -= 1;
            }
            if inner.closed {
                return false;
            }
            inner.input_bytes += part.len();
            inner.items.push_back(Item::Event(Event::Input { port, bytes: part.to_vec() }));
            self.arrived(inner);
        }
        true
    }

    /// Puts a frame at the end, or drops it where too many wait. Says whether it was taken.
    pub fn push_frame(&self, port: PortId, bytes: Vec<u8>) -> bool {
        let mut inner = self.lock();
        if inner.closed || inner.frames >= FRAMES_MAX {
            return false;
        }
        inner.frames += 1;
        inner.items.push_back(Item::Event(Event::Input { port, bytes }));
        self.arrived(inner);
        true
    }

    /// Takes everything that waits, in order.
    pub fn take(&self) -> VecDeque<Item> {
        let mut inner = self.lock();
        // Asked and answered: a kick left over would only cut the next slice short.
        let _ = self.kick.taken();
        inner.input_bytes = 0;
        inner.frames = 0;
        let items = std::mem::take(&mut inner.items);
        let blocked = inner.blocked > 0;
        drop(inner);
        if blocked {
            self.room.notify_all();
        }
        items
    }

    /// Waits until something is there or `until` has come; for ever where there is no `until`.
    pub fn wait(&self, until: Option<Instant>) {
        let mut inner = self.lock();
        while inner.items.is_empty() && !inner.closed {
            inner = match until {
                None => self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    let waited = self.filled.wait_timeout(inner, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Takes nothing more: the machine has ended. Calls that wait are dropped, unanswered.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.items.clear();
        drop(inner);
        self.room.notify_all();
        self.filled.notify_all();
    }

    fn arrived(&self, inner: MutexGuard<'_, Inner>) {
        drop(inner);
        self.kick.kick();
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panicking thread leaves the queue whole: every change of it is one step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn frames_beyond_the_bound_are_dropped() {
        let queue = Queue::default();
        let taken = (0..FRAMES_MAX + 10).filter(|_| queue.push_frame(PortId(1), vec![0])).count();
        assert_eq!(taken, FRAMES_MAX);
        assert_eq!(queue.take().len(), FRAMES_MAX);
        assert!(queue.push_frame(PortId(1), vec![0]));
    }

    #[test]
    fn input_beyond_the_bound_waits_and_arrives_whole() {
        let queue = Arc::new(Queue::default());
        let bytes: Vec<u8> = (0u32..300_000).map(|at| at.to_le_bytes()[0]).collect();
        let (sender, sent) = (queue.clone(), bytes.clone());
        let thread = std::thread::spawn(move || sender.push_input(PortId(0), &sent));
        let mut got = Vec::new();
        while got.len() < bytes.len() {
            queue.wait(None);
            let before = got.len();
            for item in queue.take() {
                let Item::Event(Event::Input { bytes, .. }) = item else { panic!("input only") };
                got.extend_from_slice(&bytes);
            }
            assert!(got.len() - before <= INPUT_BYTES_MAX);
        }
        assert_eq!(got, bytes);
        assert!(thread.join().expect("the sender ends"));
    }

    #[test]
    fn a_closed_queue_frees_whoever_waits() {
        let queue = Arc::new(Queue::default());
        let sender = queue.clone();
        let thread = std::thread::spawn(move || sender.push_input(PortId(0), &[0; 300_000]));
        queue.wait(None);
        queue.close();
        assert!(!thread.join().expect("the sender ends"));
        assert!(!queue.push(Item::Kill));
    }
}
