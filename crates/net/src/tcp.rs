//! NAT of TCP: terminates the guest's connections with smoltcp and opens the host's.
//!
//! A SYN of the guest is kept until the host's connection is there, and only then given to a
//! listening smoltcp socket: the guest never believes in a connection that does not exist. Where
//! the host's connecting fails, the SYN is given to smoltcp without a socket, which resets it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant as WireInstant;
use smoltcp::wire::{HardwareAddress, IpCidr, IpListenEndpoint, TcpSeqNumber};

use crate::packet::LINK_BYTES;
use crate::reactor::Token;
use crate::router::visible;
use crate::segment::{GATEWAY_ADDR, GUEST_ADDR, NETWORK_PREFIX_BITS, Segment};
use crate::tcp_flow::{FlowKey, HostHalf, is_connected, reset, start_connect};

/// Connections accepted from one port before the others get their turn.
const ACCEPT_BATCH: usize = 32;
/// How long a guest may take to accept a connection to a published port.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(15);
/// How long accepting rests after the host could not do it.
const ACCEPT_REST: Duration = Duration::from_secs(1);
/// A connection unused for so long gives way to a new one when the table is full.
const IDLE: Duration = Duration::from_secs(300);

/// What a TCP segment of the guest wants, as far as it matters before smoltcp sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Open,
    Reset,
    /// Nothing but an acknowledgement of this number.
    Acknowledge(TcpSeqNumber),
    Other,
}

/// The end of smoltcp's wire: one packet in, many out.
#[derive(Debug)]
struct Port {
    rx: Option<Vec<u8>>,
    tx: Vec<Vec<u8>>,
    mtu_bytes: usize,
}

struct Received(Vec<u8>);
struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; LINK_BYTES + len];
        let result = f(&mut frame[LINK_BYTES..]);
        self.0.push(frame);
        result
    }
}

impl Device for Port {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: WireInstant) -> Option<(Received, Sending<'_>)> {
        self.rx.take().map(|packet| (Received(packet), Sending(&mut self.tx)))
    }

    fn transmit(&mut self, _now: WireInstant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu_bytes;
        capabilities
    }
}

/// True if only our FIN has not been acknowledged.
///
/// In this state smoltcp 0.14 must not see acknowledgements repeated: at the third it means to
/// send the first bytes again at once, finds none, and has stopped the timer that would have sent
/// the FIN again. Nothing is lost by keeping them from it, for they only speak of data.
fn only_end_is_unheard(socket: &Socket<'_>) -> bool {
    let ended = matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck);
    ended && socket.send_queue() == 0
}

/// True if `wish` is the acknowledgement that came last; notes the one that comes now.
fn repeats(wish: Wish, acknowledged: &mut Option<TcpSeqNumber>) -> bool {
    match wish {
        Wish::Acknowledge(number) => acknowledged.replace(number) == Some(number),
        Wish::Open | Wish::Reset | Wish::Other => false,
    }
}

/// A published TCP port.
#[derive(Debug)]
pub(crate) struct PublishedTcp {
    pub(crate) listener: TcpListener,
    pub(crate) guest_port: u16,
}

#[derive(Debug)]
enum Flow {
    /// The host's connection is being made; the guest's SYN waits for it.
    Connecting { stream: TcpStream, syn: Vec<u8>, since: Instant },
    /// Both halves are there.
    Joined {
        socket: SocketHandle,
        host: HostHalf,
        /// The number of the guest's last mere acknowledgement.
        acknowledged: Option<TcpSeqNumber>,
    },
}

/// All TCP connections.
pub(crate) struct TcpFlows {
    iface: Interface,
    sockets: SocketSet<'static>,
    port: Port,
    flows: BTreeMap<FlowKey, Flow>,
    published: Vec<PublishedTcp>,
    accept_from: Option<Instant>,
    flows_max: usize,
    buffer_bytes: usize,
    start: Instant,
}

impl TcpFlows {
    pub(crate) fn new(
        published: Vec<PublishedTcp>,
        flows_max: usize,
        buffer_bytes: usize,
        mtu_bytes: usize,
        seed: u64,
    ) -> Self {
        let mut port = Port { rx: None, tx: Vec::new(), mtu_bytes };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut iface = Interface::new(config, &mut port, WireInstant::ZERO);
        iface.update_ip_addrs(|addrs| {
            let own = IpCidr::new(GATEWAY_ADDR.into(), NETWORK_PREFIX_BITS);
            addrs.push(own).expect("an empty list has room for one address");
        });
        iface.set_any_ip(true);
        Self {
            iface,
            sockets: SocketSet::new(Vec::new()),
            port,
            flows: BTreeMap::new(),
            published,
            accept_from: None,
            flows_max,
            buffer_bytes,
            start: Instant::now(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    fn wire_now(&self, now: Instant) -> WireInstant {
        let micros = now.saturating_duration_since(self.start).as_micros();
        WireInstant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// Gives smoltcp one packet.
    fn feed(&mut self, packet: Vec<u8>, now: Instant) {
        self.port.rx = Some(packet);
        let now = self.wire_now(now);
        self.iface.poll_ingress_single(now, &mut self.port, &mut self.sockets);
    }

    fn new_socket(&self) -> Socket<'static> {
        let buffer = || SocketBuffer::new(vec![0; self.buffer_bytes]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket
    }

    /// Takes one TCP packet of the guest. `target` is where the remote really is; `None` if the
    /// guest may not reach it.
    pub(crate) fn take(
        &mut self,
        key: FlowKey,
        wish: Wish,
        packet: &[u8],
        target: Option<SocketAddr>,
        now: Instant,
    ) {
        match self.flows.get_mut(&key) {
            Some(Flow::Connecting { .. }) => {
                if wish == Wish::Reset {
                    self.flows.remove(&key);
                }
                return;
            }
            Some(Flow::Joined { socket, acknowledged, .. }) => {
                let socket = self.sockets.get::<Socket<'_>>(*socket);
                let over = socket.state() == State::TimeWait;
                if !(over && wish == Wish::Open) {
                    if !(only_end_is_unheard(socket) && repeats(wish, acknowledged)) {
                        self.feed(packet.to_vec(), now);
                    }
                    return;
                }
                self.remove(&key);
            }
            None => {}
        }
        match target {
            Some(target) if wish == Wish::Open && self.make_room(now) => {
                self.open(key, packet.to_vec(), target, now);
            }
            // Nobody is there: smoltcp answers with a reset.
            _ => self.feed(packet.to_vec(), now),
        }
    }

    fn open(&mut self, key: FlowKey, syn: Vec<u8>, target: SocketAddr, now: Instant) {
        match start_connect(target) {
            Ok(stream) => {
                self.flows.insert(key, Flow::Connecting { stream, syn, since: now });
            }
            Err(_) => self.feed(syn, now),
        }
    }

    /// True if there is room for one more connection, perhaps after ending a useless one.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.flows.len() < self.flows_max {
            return true;
        }
        let useless = self.flows.iter().filter_map(|(key, flow)| match flow {
            Flow::Connecting { since, .. } => {
                (now.duration_since(*since) > IDLE).then_some((*since, *key))
            }
            Flow::Joined { socket, host, .. } => {
                let over = self.sockets.get::<Socket<'_>>(*socket).state() == State::TimeWait;
                (over || now.duration_since(host.used) > IDLE).then_some((host.used, *key))
            }
        });
        match useless.min() {
            Some((_, key)) => {
                self.remove(&key);
                true
            }
            None => false,
        }
    }

    fn remove(&mut self, key: &FlowKey) {
        if let Some(Flow::Joined { socket, host, .. }) = self.flows.remove(key) {
            self.sockets.remove(socket);
            if let Some(stream) = host.stream() {
                reset(stream);
            }
        }
    }

    /// Goes on with a flow whose host stream is ready for something.
    pub(crate) fn ready(&mut self, key: &FlowKey, flags: PollFlags, now: Instant) {
        match self.flows.get_mut(key) {
            Some(Flow::Joined { host, .. }) => host.ready(flags),
            Some(Flow::Connecting { .. }) => {
                if let Some(Flow::Connecting { stream, syn, .. }) = self.flows.remove(key) {
                    self.connected(*key, stream, syn, now);
                }
            }
            None => {}
        }
    }

    fn connected(&mut self, key: FlowKey, stream: TcpStream, syn: Vec<u8>, now: Instant) {
        if !is_connected(&stream) {
            self.feed(syn, now);
            return;
        }
        let mut socket = self.new_socket();
        let remote = *key.remote.ip();
        let endpoint = IpListenEndpoint { addr: Some(remote.into()), port: key.remote.port() };
        if socket.listen(endpoint).is_err() {
            reset(&stream);
            self.feed(syn, now);
            return;
        }
        let socket = self.sockets.add(socket);
        self.feed(syn, now);
        let host = HostHalf::new(stream, now);
        self.flows.insert(key, Flow::Joined { socket, host, acknowledged: None });
    }

    /// Takes the connections that came at a published port.
    pub(crate) fn accept(&mut self, index: usize, now: Instant) {
        for _ in 0..ACCEPT_BATCH {
            if !self.make_room(now) {
                self.accept_from = Some(now + ACCEPT_REST);
                return;
            }
            let port = &self.published[index];
            let guest = SocketAddrV4::new(GUEST_ADDR, port.guest_port);
            match port.listener.accept() {
                Ok((stream, peer)) => self.join(guest, stream, peer, now),
                Err(error) => {
                    use std::io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
                    if matches!(error.kind(), ConnectionAborted | Interrupted) {
                        continue;
                    }
                    if error.kind() != WouldBlock {
                        // Out of descriptors: trying again at once would spin.
                        self.accept_from = Some(now + ACCEPT_REST);
                    }
                    return;
                }
            }
        }
    }

    /// Connects an accepted stream into the guest.
    fn join(&mut self, guest: SocketAddrV4, stream: TcpStream, peer: SocketAddr, now: Instant) {
        let Some(remote) = self.free_remote(guest, visible(peer.ip()), peer.port()) else {
            reset(&stream);
            return;
        };
        let mut socket = self.new_socket();
        socket.set_timeout(Some(ACCEPT_PATIENCE.into()));
        let local = IpListenEndpoint { addr: Some((*remote.ip()).into()), port: remote.port() };
        let target = (*guest.ip(), guest.port());
        if stream.set_nonblocking(true).is_err()
            || socket.connect(self.iface.context(), target, local).is_err()
        {
            reset(&stream);
            return;
        }
        let socket = self.sockets.add(socket);
        let host = HostHalf::new(stream, now);
        self.flows
            .insert(FlowKey { guest, remote }, Flow::Joined { socket, host, acknowledged: None });
    }

    /// The address at which the guest sees a peer: its own port, or the next free one.
    fn free_remote(&self, guest: SocketAddrV4, addr: Ipv4Addr, port: u16) -> Option<SocketAddrV4> {
        (0..=u16::MAX)
            .map(|step| SocketAddrV4::new(addr, port.wrapping_add(step).max(1)))
            .find(|&remote| !self.flows.contains_key(&FlowKey { guest, remote }))
    }

    /// Moves bytes in all connections, sends what smoltcp has to send, and removes what is over.
    pub(crate) fn tend(&mut self, segment: &mut Segment, now: Instant) {
        for flow in self.flows.values_mut() {
            if let Flow::Joined { socket, host, .. } = flow {
                let socket = self.sockets.get_mut::<Socket<'_>>(*socket);
                if socket.state() == State::Listen {
                    // The guest gave up between SYN and ACK.
                    socket.abort();
                } else if socket.timeout().is_some() && socket.may_send() {
                    socket.set_timeout(None);
                }
                host.pump(socket, now);
            }
        }
        let wire_now = self.wire_now(now);
        while let PollResult::SocketStateChanged =
            self.iface.poll_egress(wire_now, &mut self.port, &mut self.sockets)
        {}
        let over: VecDeque<FlowKey> = self
            .flows
            .iter()
            .filter(|(_, flow)| match flow {
                Flow::Connecting { .. } => false,
                Flow::Joined { socket, .. } => {
                    self.sockets.get::<Socket<'_>>(*socket).state() == State::Closed
                }
            })
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            self.remove(&key);
        }
        for frame in self.port.tx.drain(..) {
            let target = frame[LINK_BYTES + 16..LINK_BYTES + 20].try_into();
            let target: [u8; 4] = target.expect("smoltcp sends whole IPv4 packets");
            segment.send(frame, Ipv4Addr::from(target));
        }
        if self.accept_from.is_some_and(|from| from <= now) {
            self.accept_from = None;
        }
    }

    /// When [`Self::tend`] is needed next.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let wire_now = self.wire_now(now);
        let delay = self.iface.poll_delay(wire_now, &self.sockets);
        let wire = delay.map(|delay| now + Duration::from(delay));
        [wire, self.accept_from].into_iter().flatten().min()
    }

    /// Adds the sockets to wait for.
    pub(crate) fn wait_for<'a>(&'a self, fds: &mut Vec<PollFd<'a>>, tokens: &mut Vec<Token>) {
        if self.accept_from.is_none() {
            for (index, port) in self.published.iter().enumerate() {
                fds.push(PollFd::new(&port.listener, PollFlags::IN));
                tokens.push(Token::PublishedTcp(index));
            }
        }
        for (key, flow) in &self.flows {
            let (stream, flags) = match flow {
                Flow::Connecting { stream, .. } => (stream, PollFlags::OUT),
                Flow::Joined { socket, host, .. } => {
                    let flags = host.interest(self.sockets.get::<Socket<'_>>(*socket));
                    match host.stream() {
                        // An unwanted stream is left out: poll would report its end for ever.
                        Some(stream) if !flags.is_empty() => (stream, flags),
                        _ => continue,
                    }
                }
            };
            fds.push(PollFd::new(stream, flags));
            tokens.push(Token::Tcp(*key));
        }
    }
}
