//! A bounded queue of frames that loses what does not fit, like a wire.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Frames on their way from one thread to another.
#[derive(Debug)]
pub(crate) struct FrameQueue {
    frames: Mutex<VecDeque<Vec<u8>>>,
    arrived: Condvar,
    frames_max: usize,
}

impl FrameQueue {
    pub(crate) fn new(frames_max: usize) -> Self {
        Self { frames: Mutex::new(VecDeque::new()), arrived: Condvar::new(), frames_max }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        // Each holder leaves the queue whole between its steps, so a poisoned one is usable.
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a frame; false if it was lost because the queue is full.
    pub(crate) fn push(&self, frame: Vec<u8>) -> bool {
        let mut frames = self.lock();
        if frames.len() >= self.frames_max {
            return false;
        }
        frames.push_back(frame);
        drop(frames);
        self.arrived.notify_one();
        true
    }

    /// The oldest frame, if there is one.
    pub(crate) fn pop(&self) -> Option<Vec<u8>> {
        self.lock().pop_front()
    }

    /// The oldest frame, waiting for one at most as long as given.
    pub(crate) fn pop_within(&self, wait: Duration) -> Option<Vec<u8>> {
        let until = Instant::now() + wait;
        let mut frames = self.lock();
        while frames.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            frames = match self.arrived.wait_timeout(frames, left) {
                Ok((frames, _)) => frames,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        frames.pop_front()
    }

    /// Takes all frames at once.
    pub(crate) fn take(&self) -> VecDeque<Vec<u8>> {
        std::mem::take(&mut *self.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_loses_the_newest_frame_and_keeps_the_order() {
        let queue = FrameQueue::new(2);
        assert!(queue.push(vec![1]));
        assert!(queue.push(vec![2]));
        assert!(!queue.push(vec![3]));
        assert_eq!(queue.pop(), Some(vec![1]));
        assert_eq!(queue.pop_within(Duration::from_secs(5)), Some(vec![2]));
        assert_eq!(queue.pop_within(Duration::ZERO), None);
        assert!(queue.take().is_empty());
    }
}
