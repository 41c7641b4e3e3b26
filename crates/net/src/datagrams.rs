//! NAT of datagrams: UDP and pings of the guest, each flow with a host socket of its own, and
//! published UDP ports.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use smoltcp::wire::Icmpv4DstUnreachable;

use crate::echo::EchoSocket;
use crate::packet::{self, UDP_PAYLOAD_MAX};
use crate::reactor::Token;
use crate::router::visible;
use crate::segment::{GATEWAY_ADDR, GUEST_ADDR, Segment};

/// How long a flow lives without a datagram.
const FLOW_LIFE: Duration = Duration::from_secs(60);
/// Datagrams taken from one socket before the others get their turn.
const BATCH: usize = 64;
/// Ports tried for a peer whose own port is taken.
const PORTS_TRIED: u16 = 64;

/// What tells one flow from another. For pings the guest's "port" is the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DatagramKey {
    pub(crate) echo: bool,
    pub(crate) guest: SocketAddrV4,
    pub(crate) remote: SocketAddrV4,
}

#[derive(Debug)]
enum Via {
    /// A socket connected to the remote.
    Udp(UdpSocket),
    Echo(EchoSocket),
    /// The published port of this index, towards this peer.
    Published(usize, SocketAddr),
}

#[derive(Debug)]
struct Flow {
    via: Via,
    used: Instant,
}

/// A published UDP port.
#[derive(Debug)]
pub(crate) struct PublishedUdp {
    pub(crate) socket: UdpSocket,
    pub(crate) guest_port: u16,
}

/// All flows of datagrams.
#[derive(Debug)]
pub(crate) struct Datagrams {
    flows: BTreeMap<DatagramKey, Flow>,
    published: Vec<PublishedUdp>,
    flows_max: usize,
    buffer: Vec<u8>,
}

impl Datagrams {
    pub(crate) fn new(published: Vec<PublishedUdp>, flows_max: usize) -> Self {
        let buffer = vec![0; UDP_PAYLOAD_MAX];
        Self { flows: BTreeMap::new(), published, flows_max, buffer }
    }

    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Makes room for one more flow by ending the one unused for longest.
    fn make_room(&mut self) {
        if self.flows.len() >= self.flows_max {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.used).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.flows.remove(&oldest);
            }
        }
    }

    /// Sends a datagram of the guest; `target` is where the remote really is, `None` if the guest
    /// may not reach it (then only a published port's peer is answered).
    pub(crate) fn udp(
        &mut self,
        guest: SocketAddrV4,
        remote: SocketAddrV4,
        target: Option<SocketAddrV4>,
        payload: &[u8],
        segment: &mut Segment,
        now: Instant,
    ) {
        let key = DatagramKey { echo: false, guest, remote };
        if !self.flows.contains_key(&key) {
            let Some(target) = target else { return };
            self.make_room();
            match connected(target) {
                Ok(socket) => self.flows.insert(key, Flow { via: Via::Udp(socket), used: now }),
                Err(_) => {
                    unreachable(Icmpv4DstUnreachable::NetUnreachable, &key, segment);
                    return;
                }
            };
        }
        let Some(flow) = self.flows.get_mut(&key) else { return };
        flow.used = now;
        let sent = match &flow.via {
            Via::Udp(socket) => socket.send(payload),
            Via::Published(index, peer) => self.published[*index].socket.send_to(payload, peer),
            Via::Echo(_) => return,
        };
        if let Err(error) = sent {
            refused(&error, &key, segment);
        }
    }

    /// Sends a ping of the guest, where the host permits it.
    pub(crate) fn ping(
        &mut self,
        guest: SocketAddrV4,
        target: Ipv4Addr,
        seq_no: u16,
        data: &[u8],
        now: Instant,
    ) {
        let key = DatagramKey { echo: true, guest, remote: SocketAddrV4::new(target, 0) };
        if !self.flows.contains_key(&key) {
            let Ok(socket) = EchoSocket::open(target) else { return };
            self.make_room();
            self.flows.insert(key, Flow { via: Via::Echo(socket), used: now });
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.used = now;
            if let Via::Echo(socket) = &flow.via {
                // A ping that the host cannot send is a ping that is not answered.
                let _unanswered = socket.request(seq_no, data);
            }
        }
    }

    /// Takes what came for a flow.
    pub(crate) fn ready(&mut self, key: &DatagramKey, segment: &mut Segment, now: Instant) {
        let Some(flow) = self.flows.get_mut(key) else { return };
        for _ in 0..BATCH {
            let came = match &flow.via {
                Via::Udp(socket) => socket
                    .recv(&mut self.buffer)
                    .map(|len| Some(packet::udp(key.remote, key.guest, &self.buffer[..len]))),
                Via::Echo(socket) => socket.reply(&mut self.buffer).map(|reply| {
                    let (seq_no, data) = reply?;
                    let (from, to) = (*key.remote.ip(), *key.guest.ip());
                    Some(packet::echo_reply(from, to, key.guest.port(), seq_no, data))
                }),
                Via::Published(..) => return,
            };
            match came {
                Ok(frame) => {
                    flow.used = now;
                    if let Some(frame) = frame {
                        segment.send(frame, *key.guest.ip());
                    }
                }
                Err(error) => {
                    refused(&error, key, segment);
                    return;
                }
            }
        }
    }

    /// Takes what came at a published port.
    pub(crate) fn published_ready(&mut self, index: usize, segment: &mut Segment, now: Instant) {
        for _ in 0..BATCH {
            let port = &self.published[index];
            let guest = SocketAddrV4::new(GUEST_ADDR, port.guest_port);
            let Ok((len, peer)) = port.socket.recv_from(&mut self.buffer) else { return };
            let Some(key) = self.peer_key(index, guest, peer) else { continue };
            if !self.flows.contains_key(&key) {
                self.make_room();
            }
            self.flows.insert(key, Flow { via: Via::Published(index, peer), used: now });
            segment.send(packet::udp(key.remote, guest, &self.buffer[..len]), GUEST_ADDR);
        }
    }

    /// The flow of a peer of a published port: the address the guest sees it at is unique.
    fn peer_key(&self, index: usize, guest: SocketAddrV4, peer: SocketAddr) -> Option<DatagramKey> {
        let addr = visible(peer.ip());
        (0..PORTS_TRIED)
            .map(|step| peer.port().wrapping_add(step).max(1))
            .map(|port| SocketAddrV4::new(addr, port))
            .map(|remote| DatagramKey { echo: false, guest, remote })
            .find(|key| match self.flows.get(key) {
                None => true,
                Some(Flow { via: Via::Published(i, p), .. }) => *i == index && *p == peer,
                Some(_) => false,
            })
    }

    /// Ends the flows that were unused for too long.
    pub(crate) fn tend(&mut self, now: Instant) {
        self.flows.retain(|_, flow| now.duration_since(flow.used) < FLOW_LIFE);
    }

    /// When [`Self::tend`] is needed next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.flows.values().map(|flow| flow.used + FLOW_LIFE).min()
    }

    /// Adds the sockets to wait for.
    pub(crate) fn wait_for<'a>(&'a self, fds: &mut Vec<PollFd<'a>>, tokens: &mut Vec<Token>) {
        for (index, port) in self.published.iter().enumerate() {
            fds.push(PollFd::new(&port.socket, PollFlags::IN));
            tokens.push(Token::PublishedUdp(index));
        }
        for (key, flow) in &self.flows {
            match &flow.via {
                Via::Udp(socket) => fds.push(PollFd::new(socket, PollFlags::IN)),
                Via::Echo(socket) => fds.push(PollFd::new(&socket.0, PollFlags::IN)),
                Via::Published(..) => continue,
            }
            tokens.push(Token::Datagram(*key));
        }
    }
}

fn connected(target: SocketAddrV4) -> io::Result<UdpSocket> {
    let own = if target.ip().is_loopback() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let socket = UdpSocket::bind((IpAddr::V4(own), 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(target)?;
    Ok(socket)
}

fn unreachable(reason: Icmpv4DstUnreachable, key: &DatagramKey, segment: &mut Segment) {
    // That a port is closed is said by its host; that no way leads there, by the gateway.
    let by_host = reason == Icmpv4DstUnreachable::PortUnreachable;
    let from = if by_host { *key.remote.ip() } else { GATEWAY_ADDR };
    let frame = packet::udp_unreachable(reason, from, key.guest, key.remote);
    segment.send(frame, *key.guest.ip());
}

/// Tells the guest of an error if it means that nobody is there.
fn refused(error: &io::Error, key: &DatagramKey, segment: &mut Segment) {
    let reasons = [
        (io::ErrorKind::ConnectionRefused, Icmpv4DstUnreachable::PortUnreachable),
        (io::ErrorKind::HostUnreachable, Icmpv4DstUnreachable::HostUnreachable),
        (io::ErrorKind::NetworkUnreachable, Icmpv4DstUnreachable::NetUnreachable),
    ];
    let Some((_, reason)) = reasons.iter().find(|(kind, _)| *kind == error.kind()) else { return };
    if !key.echo {
        unreachable(*reason, key, segment);
    }
}
