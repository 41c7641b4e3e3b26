//! The DNS server of the segment: forwards questions to the host's resolvers, one after another,
//! and asks the host's own name lookup where no resolver helps.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use crate::config::DnsPolicy;
use crate::handle::Shared;
use crate::packet;
use crate::reactor::Token;
use crate::resolv::{self, Rcode, SERVERS_MAX};
use crate::segment::{DNS_ADDR, Segment};

/// UDP and TCP port of DNS.
pub(crate) const PORT: u16 = 53;
/// Questions without answer at a time.
const PENDING_MAX: usize = 128;
/// Name lookups that run at a time, each in a thread of its own.
const LOOKUPS_MAX: usize = 8;
/// How long a resolver may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a reading of `resolv.conf` is believed.
const CONFIG_LIFE: Duration = Duration::from_secs(10);
const CONFIG_PATH: &str = "/etc/resolv.conf";

/// A question that a resolver was asked.
#[derive(Debug)]
struct Pending {
    guest: SocketAddrV4,
    query: Vec<u8>,
    /// Resolvers not asked yet.
    rest: Vec<SocketAddr>,
    socket: UdpSocket,
    deadline: Instant,
}

/// The end of a name lookup.
struct Looked {
    guest: SocketAddrV4,
    answer: Vec<u8>,
}

/// The server.
pub(crate) struct Dns {
    policy: DnsPolicy,
    host_servers: Vec<SocketAddr>,
    host_read: Option<Instant>,
    pending: Vec<Pending>,
    lookups: usize,
    looked: (Sender<Looked>, Receiver<Looked>),
    shared: Arc<Shared>,
}

impl Dns {
    pub(crate) fn new(policy: DnsPolicy, restrict: bool, shared: Arc<Shared>) -> Self {
        let policy = if restrict { DnsPolicy::Off } else { policy };
        Self {
            policy,
            host_servers: Vec::new(),
            host_read: None,
            pending: Vec::new(),
            lookups: 0,
            looked: channel(),
            shared,
        }
    }

    /// The resolvers to ask, in order.
    fn servers(&mut self, now: Instant) -> Vec<SocketAddr> {
        match &self.policy {
            DnsPolicy::Host => {
                if self.host_read.is_none_or(|read| now.duration_since(read) > CONFIG_LIFE) {
                    self.host_read = Some(now);
                    let text = std::fs::read_to_string(CONFIG_PATH).unwrap_or_default();
                    self.host_servers = resolv::nameservers(&text);
                }
                self.host_servers.clone()
            }
            DnsPolicy::Servers(servers) => servers.iter().take(SERVERS_MAX).copied().collect(),
            DnsPolicy::Lookup | DnsPolicy::Off => Vec::new(),
        }
    }

    /// Where a TCP connection to the DNS server leads.
    pub(crate) fn tcp_target(&mut self, now: Instant) -> Option<SocketAddr> {
        self.servers(now).first().copied()
    }

    /// Takes one datagram of the guest to the DNS server.
    pub(crate) fn ask(
        &mut self,
        guest: SocketAddrV4,
        query: &[u8],
        segment: &mut Segment,
        now: Instant,
    ) {
        if !resolv::is_query(query) {
            return;
        }
        if self.policy == DnsPolicy::Off {
            reply(guest, &resolv::failure(query, Rcode::Refused), segment);
            return;
        }
        // A repeated question is still on its way.
        if self.pending.iter().any(|p| p.guest == guest && p.query == query) {
            return;
        }
        if self.pending.len() >= PENDING_MAX {
            return;
        }
        let servers = self.servers(now);
        self.forward(guest, query.to_vec(), servers, segment, now);
    }

    /// Asks the first of `servers` that can be asked at all.
    fn forward(
        &mut self,
        guest: SocketAddrV4,
        query: Vec<u8>,
        mut servers: Vec<SocketAddr>,
        segment: &mut Segment,
        now: Instant,
    ) {
        while !servers.is_empty() {
            let server = servers.remove(0);
            if let Some(socket) = ask_server(server, &query) {
                let deadline = now + PATIENCE;
                self.pending.push(Pending { guest, query, rest: servers, socket, deadline });
                return;
            }
        }
        self.look_up(guest, &query, segment);
    }

    /// Asks the host's own name lookup in a thread, for it may block for long.
    fn look_up(&mut self, guest: SocketAddrV4, query: &[u8], segment: &mut Segment) {
        if matches!(self.policy, DnsPolicy::Servers(_)) || self.lookups >= LOOKUPS_MAX {
            reply(guest, &resolv::failure(query, Rcode::ServerFailure), segment);
            return;
        }
        let Some(question) = resolv::question(query) else {
            reply(guest, &resolv::failure(query, Rcode::NotImplemented), segment);
            return;
        };
        let (sender, shared) = (self.looked.0.clone(), Arc::clone(&self.shared));
        let query = query.to_vec();
        let run = move || {
            let found = (question.name.as_str(), 0).to_socket_addrs();
            let answer = match found {
                Ok(found) => {
                    let found: Vec<IpAddr> = found.map(|addr| addr.ip()).collect();
                    resolv::answer(&query, &question, &found)
                }
                Err(_) => resolv::failure(&query, Rcode::ServerFailure),
            };
            // The network may be gone by now: then nobody waits for the answer.
            if sender.send(Looked { guest, answer }).is_ok() {
                shared.wake();
            }
        };
        if std::thread::Builder::new().name("omni-dns".into()).spawn(run).is_ok() {
            self.lookups += 1;
        }
    }

    /// Sends the answers of lookups and moves questions on whose resolver took too long.
    pub(crate) fn tend(&mut self, segment: &mut Segment, now: Instant) {
        while let Ok(looked) = self.looked.1.try_recv() {
            self.lookups = self.lookups.saturating_sub(1);
            reply(looked.guest, &looked.answer, segment);
        }
        while let Some(late) = self.pending.iter().position(|p| p.deadline <= now) {
            self.move_on(late, segment, now);
        }
    }

    fn move_on(&mut self, index: usize, segment: &mut Segment, now: Instant) {
        let Pending { guest, query, rest, .. } = self.pending.remove(index);
        self.forward(guest, query, rest, segment, now);
    }

    /// Takes what the resolver of the question asked from `guest` with id `id` has sent.
    pub(crate) fn ready(
        &mut self,
        guest: SocketAddrV4,
        id: [u8; 2],
        segment: &mut Segment,
        now: Instant,
    ) {
        let asked = |p: &Pending| p.guest == guest && p.query[..2] == id;
        let Some(index) = self.pending.iter().position(asked) else { return };
        let mut answer = [0; 4096];
        match self.pending[index].socket.recv(&mut answer) {
            Ok(len) => {
                let answer = &answer[..len];
                // An answer (not a question) to this very question, or it is not the resolver's.
                if len >= 12 && answer[..2] == id && answer[2] & 0x80 != 0 {
                    reply(guest, answer, segment);
                    self.pending.remove(index);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => self.move_on(index, segment, now),
        }
    }

    /// When [`Self::tend`] is needed next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.deadline).min()
    }

    /// Adds the sockets to wait for.
    pub(crate) fn wait_for<'a>(&'a self, fds: &mut Vec<PollFd<'a>>, tokens: &mut Vec<Token>) {
        for pending in &self.pending {
            fds.push(PollFd::new(&pending.socket, PollFlags::IN));
            tokens.push(Token::Dns(pending.guest, [pending.query[0], pending.query[1]]));
        }
    }
}

/// Sends a question from a socket of its own, whose port a forger would have to guess.
fn ask_server(server: SocketAddr, query: &[u8]) -> Option<UdpSocket> {
    let any: SocketAddr =
        if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(server).ok()?;
    socket.send(query).ok()?;
    Some(socket)
}

fn reply(guest: SocketAddrV4, answer: &[u8], segment: &mut Segment) {
    let frame = packet::udp(SocketAddrV4::new(DNS_ADDR, PORT), guest, answer);
    segment.send(frame, *guest.ip());
}
