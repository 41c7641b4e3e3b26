//! Making a network, its thread, and the handle by which its owner holds it.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{PipeWriter, Write, pipe};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::config::{NetError, UserNetConfig};
use crate::datagrams::{Datagrams, PublishedUdp};
use crate::dhcp::Dhcp;
use crate::dns::Dns;
use crate::fragments::Reassembly;
use crate::loss::Dice;
use crate::publish::{Protocol, Publish};
use crate::queue::FrameQueue;
use crate::reactor::Reactor;
use crate::router::Router;
use crate::segment::{FRAME_BYTES_MAX, Segment};
use crate::tcp::{PublishedTcp, TcpFlows};

/// Called from the network's thread with each frame towards the guest. It must not block; where it
/// cannot take a frame it drops it, as a full receive ring does.
pub type Notify = Box<dyn Fn(Vec<u8>) + Send>;

/// Counts that a network's thread keeps up to date.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) frames_from_guest: AtomicU64,
    pub(crate) frames_to_guest: AtomicU64,
    pub(crate) frames_dropped: AtomicU64,
    pub(crate) wakeups: AtomicU64,
    pub(crate) tcp_flows: AtomicUsize,
    pub(crate) datagram_flows: AtomicUsize,
}

/// What the network's thread and its owner share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) from_guest: FrameQueue,
    pub(crate) stop: AtomicBool,
    pub(crate) awake: AtomicBool,
    pub(crate) counters: Counters,
    waker: PipeWriter,
}

impl Shared {
    /// Makes the thread look around; cheap while it has not yet done so since the last call.
    pub(crate) fn wake(&self) {
        if !self.awake.swap(true, Ordering::SeqCst) {
            // A full pipe wakes as well.
            let _already_awake = (&self.waker).write(&[1]);
        }
    }
}

/// What a network has done so far and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Frames that the guest sent.
    pub frames_from_guest: u64,
    /// Frames given to the guest.
    pub frames_to_guest: u64,
    /// Frames of either direction that were lost, malformed or for nobody.
    pub frames_dropped: u64,
    /// Times the thread has gone to sleep.
    pub wakeups: u64,
    /// TCP connections, those just ended included.
    pub tcp_flows: usize,
    /// UDP and ping flows.
    pub datagram_flows: usize,
}

/// A user-mode network whose ports are open and whose thread does not run yet.
#[derive(Debug)]
pub struct UserNet {
    config: UserNetConfig,
    tcp: Vec<PublishedTcp>,
    udp: Vec<PublishedUdp>,
    published: Vec<Publish>,
}

impl UserNet {
    /// Opens the published ports.
    ///
    /// Errors: a port that cannot be opened, a number out of range.
    pub fn new(config: UserNetConfig) -> Result<Self, NetError> {
        config.check()?;
        let (mut tcp, mut udp, mut published) = (Vec::new(), Vec::new(), Vec::new());
        for publish in &config.publish {
            let Publish { protocol, host_addr: address, guest_port } = *publish;
            let failed = |source| NetError::Publish { address, protocol, source };
            let host_addr = match protocol {
                Protocol::Tcp => {
                    let listener = TcpListener::bind(address).map_err(failed)?;
                    listener.set_nonblocking(true).map_err(failed)?;
                    let bound = listener.local_addr().map_err(failed)?;
                    tcp.push(PublishedTcp { listener, guest_port });
                    bound
                }
                Protocol::Udp => {
                    let socket = UdpSocket::bind(address).map_err(failed)?;
                    socket.set_nonblocking(true).map_err(failed)?;
                    let bound = socket.local_addr().map_err(failed)?;
                    udp.push(PublishedUdp { socket, guest_port });
                    bound
                }
            };
            published.push(Publish { host_addr, ..*publish });
        }
        Ok(Self { config, tcp, udp, published })
    }

    /// The published ports with the addresses that the host really gave.
    pub fn published(&self) -> &[Publish] {
        &self.published
    }

    /// Starts the network; `notify` gets each frame towards the guest.
    ///
    /// Errors: the host refuses a thread or a pipe.
    pub fn spawn(self, notify: Notify) -> Result<NetHandle, NetError> {
        self.start(notify, Arc::new(FrameQueue::new(0)))
    }

    /// Starts the network; frames towards the guest wait in a queue of at most `frames_max` for
    /// [`NetHandle::try_recv`] and are lost beyond that.
    ///
    /// Errors: the host refuses a thread or a pipe.
    pub fn spawn_queued(self, frames_max: usize) -> Result<NetHandle, NetError> {
        let queue = Arc::new(FrameQueue::new(frames_max));
        let to_guest = Arc::clone(&queue);
        let notify = move |frame| {
            // A frame that finds the queue full is lost, which the guest's TCP repairs.
            let _lost = queue.push(frame);
        };
        self.start(Box::new(notify), to_guest)
    }

    fn start(self, notify: Notify, to_guest: Arc<FrameQueue>) -> Result<NetHandle, NetError> {
        let Self { config, tcp, udp, published } = self;
        let (wake, waker) = pipe().map_err(NetError::Start)?;
        for result in
            [rustix::io::ioctl_fionbio(&wake, true), rustix::io::ioctl_fionbio(&waker, true)]
        {
            result.map_err(|errno| NetError::Start(errno.into()))?;
        }
        let shared = Arc::new(Shared {
            from_guest: FrameQueue::new(config.queue_frames),
            stop: AtomicBool::new(false),
            awake: AtomicBool::new(false),
            counters: Counters::default(),
            waker,
        });
        let mac = Some(config.guest_mac).filter(|mac| *mac != [0; 6]);
        let mtu = usize::from(config.mtu_bytes);
        // Initial sequence numbers must not be guessable; the hasher's keys are random.
        let seed = RandomState::new().hash_one("omni-net");
        let in_thread = Arc::clone(&shared);
        let run = move || {
            let router = Router {
                segment: Segment::new(mac, mtu),
                tcp: TcpFlows::new(tcp, config.flows_max, config.buffer_bytes, mtu, seed),
                datagrams: Datagrams::new(udp, config.flows_max),
                dns: Dns::new(config.dns.clone(), config.restrict, Arc::clone(&in_thread)),
                dhcp: Dhcp::new(mac, config.hostname.as_deref(), config.mtu_bytes),
                reassembly: Reassembly::default(),
                restrict: config.restrict,
            };
            let dice = Dice::new(config.loss);
            let incoming = VecDeque::new();
            Reactor { router, shared: in_thread, wake, notify, dice, incoming }.run();
        };
        let thread = thread::Builder::new().name("omni-net".into()).spawn(run);
        let thread = Some(thread.map_err(NetError::Start)?);
        Ok(NetHandle { shared, to_guest, thread, published })
    }
}

/// A running network; dropping it ends its thread and all connections.
#[derive(Debug)]
pub struct NetHandle {
    shared: Arc<Shared>,
    to_guest: Arc<FrameQueue>,
    thread: Option<JoinHandle<()>>,
    published: Vec<Publish>,
}

impl NetHandle {
    /// Puts a frame of the guest on the wire. Never blocks; the frame is lost if it is longer than
    /// [`FRAME_BYTES_MAX`] or if too many wait.
    pub fn send(&self, frame: Vec<u8>) {
        let counters = &self.shared.counters;
        counters.frames_from_guest.fetch_add(1, Ordering::Relaxed);
        if frame.len() > FRAME_BYTES_MAX || !self.shared.from_guest.push(frame) {
            counters.frames_dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.wake();
    }

    /// The next frame towards the guest, of a network begun with [`UserNet::spawn_queued`].
    pub fn try_recv(&self) -> Option<Vec<u8>> {
        self.to_guest.pop()
    }

    /// Like [`Self::try_recv`], but waits for a frame at most as long as given.
    pub fn recv_timeout(&self, wait: Duration) -> Option<Vec<u8>> {
        self.to_guest.pop_within(wait)
    }

    /// The published ports with the addresses that the host really gave.
    pub fn published(&self) -> &[Publish] {
        &self.published
    }

    /// The host address of the published port `guest_port`.
    pub fn host_addr(&self, protocol: Protocol, guest_port: u16) -> Option<SocketAddr> {
        let fits = |p: &&Publish| p.protocol == protocol && p.guest_port == guest_port;
        self.published.iter().find(fits).map(|publish| publish.host_addr)
    }

    /// What the network has done so far and holds now.
    pub fn stats(&self) -> NetStats {
        let counters = &self.shared.counters;
        NetStats {
            frames_from_guest: counters.frames_from_guest.load(Ordering::Relaxed),
            frames_to_guest: counters.frames_to_guest.load(Ordering::Relaxed),
            frames_dropped: counters.frames_dropped.load(Ordering::Relaxed),
            wakeups: counters.wakeups.load(Ordering::Relaxed),
            tcp_flows: counters.tcp_flows.load(Ordering::Relaxed),
            datagram_flows: counters.datagram_flows.load(Ordering::Relaxed),
        }
    }
}

impl Drop for NetHandle {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.awake.store(false, Ordering::SeqCst);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A handle dropped by its own notifier cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                let _panicked = thread.join();
            }
        }
    }
}
