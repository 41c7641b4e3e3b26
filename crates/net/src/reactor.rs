//! The loop of a network's thread: waits in `poll` for a frame, a socket or a timer.

use std::collections::VecDeque;
use std::io::{PipeReader, Read};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::datagrams::DatagramKey;
use crate::handle::{Notify, Shared};
use crate::loss::Dice;
use crate::router::Router;
use crate::tcp_flow::FlowKey;

/// Frames of the guest taken before the sockets get their turn.
const FRAME_BATCH: usize = 64;
/// Rest after the host could not even wait, which only a lack of memory causes.
const FAULT_REST: Duration = Duration::from_millis(20);

/// Whom a descriptor belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token {
    Wake,
    Tcp(FlowKey),
    PublishedTcp(usize),
    PublishedUdp(usize),
    Datagram(DatagramKey),
    /// The resolver's socket of the question with this sender and id.
    Dns(SocketAddrV4, [u8; 2]),
}

/// Everything a network's thread owns.
pub(crate) struct Reactor {
    pub(crate) router: Router,
    pub(crate) shared: Arc<Shared>,
    pub(crate) wake: PipeReader,
    pub(crate) notify: Notify,
    pub(crate) dice: Dice,
    pub(crate) incoming: VecDeque<Vec<u8>>,
}

impl Reactor {
    /// Runs until the handle is dropped.
    pub(crate) fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            self.take_frames();
            let now = Instant::now();
            self.tend(now);
            let ready = self.wait(now);
            self.serve(&ready);
        }
    }

    fn take_frames(&mut self) {
        let now = Instant::now();
        let batch = self.incoming.len().min(FRAME_BATCH);
        for frame in self.incoming.drain(..batch) {
            if self.dice.lost() || !self.router.take(&frame, now) {
                self.shared.counters.frames_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn tend(&mut self, now: Instant) {
        let Router { segment, tcp, datagrams, dns, .. } = &mut self.router;
        dns.tend(segment, now);
        datagrams.tend(now);
        tcp.tend(segment, now);
        let counters = &self.shared.counters;
        for frame in segment.take_out() {
            if self.dice.lost() {
                counters.frames_dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            counters.frames_to_guest.fetch_add(1, Ordering::Relaxed);
            (self.notify)(frame);
        }
        counters.tcp_flows.store(tcp.len(), Ordering::Relaxed);
        counters.datagram_flows.store(datagrams.len(), Ordering::Relaxed);
    }

    /// Blocks until something is to be done; gives what is ready.
    fn wait(&mut self, now: Instant) -> Vec<(Token, PollFlags)> {
        // Frames that came while a batch was worked on have used up their wake: look once more.
        if self.incoming.is_empty() {
            self.incoming = self.shared.from_guest.take();
        }
        let router = &mut self.router;
        let deadlines =
            [router.tcp.deadline(now), router.datagrams.deadline(), router.dns.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        let wait = if self.incoming.is_empty() {
            deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
        } else {
            Some(Duration::ZERO)
        };
        let timeout = wait.map(|wait| Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        });
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        let mut tokens = vec![Token::Wake];
        router.tcp.wait_for(&mut fds, &mut tokens);
        router.datagrams.wait_for(&mut fds, &mut tokens);
        router.dns.wait_for(&mut fds, &mut tokens);
        self.shared.counters.wakeups.fetch_add(1, Ordering::Relaxed);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Vec::new(),
            Err(_) => {
                std::thread::sleep(FAULT_REST);
                return Vec::new();
            }
        }
        let ready = fds.iter().zip(&tokens).map(|(fd, token)| (*token, fd.revents()));
        ready.filter(|(_, flags)| !flags.is_empty()).collect()
    }

    fn serve(&mut self, ready: &[(Token, PollFlags)]) {
        let now = Instant::now();
        let Router { segment, tcp, datagrams, dns, .. } = &mut self.router;
        for (token, flags) in ready {
            match token {
                Token::Wake => {
                    // First the pipe, then the flag, then (next round) the queue: a sender that
                    // still found the flag up has its frame in the queue by then, and one that
                    // finds it down writes to a pipe that nobody empties any more.
                    let mut bytes = [0; 64];
                    let _nothing_there = (&self.wake).read(&mut bytes);
                    self.shared.awake.store(false, Ordering::SeqCst);
                }
                Token::Tcp(key) => tcp.ready(key, *flags, now),
                Token::PublishedTcp(index) => tcp.accept(*index, now),
                Token::PublishedUdp(index) => datagrams.published_ready(*index, segment, now),
                Token::Datagram(key) => datagrams.ready(key, segment, now),
                Token::Dns(guest, id) => dns.ready(*guest, *id, segment, now),
            }
        }
    }
}
