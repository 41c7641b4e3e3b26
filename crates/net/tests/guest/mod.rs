//! A small guest for tests: smoltcp as the client at the other end of the segment.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use omni_net::{GATEWAY_ADDR, GUEST_ADDR, NetHandle, UserNet, UserNetConfig};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant as WireInstant;
use smoltcp::wire::{EthernetAddress, IpCidr};

pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// After so long a test has hung.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Wire {
    net: Arc<NetHandle>,
    inbox: VecDeque<Vec<u8>>,
}

pub(crate) struct Rx(Vec<u8>);
pub(crate) struct Tx<'a>(&'a NetHandle);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.send(frame);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _now: WireInstant) -> Option<(Rx, Tx<'_>)> {
        let frame = self.inbox.pop_front().or_else(|| self.net.try_recv())?;
        Some((Rx(frame), Tx(&self.net)))
    }

    fn transmit(&mut self, _now: WireInstant) -> Option<Tx<'_>> {
        Some(Tx(&self.net))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

pub(crate) struct Guest {
    pub(crate) net: Arc<NetHandle>,
    pub(crate) iface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    wire: Wire,
    start: Instant,
    next_port: u16,
}

impl Guest {
    /// A guest without an address.
    pub(crate) fn bare(config: UserNetConfig) -> Self {
        let net = Arc::new(UserNet::new(config).unwrap().spawn_queued(4096).unwrap());
        let mut wire = Wire { net: Arc::clone(&net), inbox: VecDeque::new() };
        let mut config = Config::new(EthernetAddress(MAC).into());
        config.random_seed = 42;
        let iface = Interface::new(config, &mut wire, WireInstant::ZERO);
        let sockets = SocketSet::new(Vec::new());
        Self { net, iface, sockets, wire, start: Instant::now(), next_port: 49152 }
    }

    /// A guest with the address that DHCP would give it.
    pub(crate) fn new(config: UserNetConfig) -> Self {
        let mut guest = Self::bare(config);
        guest.set_address(IpCidr::new(GUEST_ADDR.into(), 24), GATEWAY_ADDR);
        guest
    }

    pub(crate) fn set_address(&mut self, cidr: IpCidr, router: Ipv4Addr) {
        self.iface.update_ip_addrs(|addrs| addrs.push(cidr).unwrap());
        self.iface.routes_mut().add_default_ipv4_route(router).unwrap();
    }

    fn step(&mut self) {
        let now = || WireInstant::from_micros(self.start.elapsed().as_micros() as i64);
        self.iface.poll(now(), &mut self.wire, &mut self.sockets);
        let delay = self.iface.poll_delay(now(), &self.sockets).map(Duration::from);
        // Host threads of a test change what it waits for without a frame: look often.
        let wait = delay.unwrap_or(Duration::MAX).min(Duration::from_millis(2));
        if let Some(frame) = self.net.recv_timeout(wait) {
            self.wire.inbox.push_back(frame);
        }
    }

    /// Runs the guest until `done` gives something.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let start = Instant::now();
        loop {
            self.step();
            if let Some(result) = done(self) {
                return result;
            }
            assert!(start.elapsed() < PATIENCE, "waited too long: {what}: {:?}", self.net.stats());
        }
    }

    pub(crate) fn add_tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 65536]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        self.sockets.add(socket)
    }

    /// Begins to connect to `ip:port`.
    pub(crate) fn connect(&mut self, ip: Ipv4Addr, port: u16) -> SocketHandle {
        let handle = self.add_tcp();
        self.next_port += 1;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.iface.context(), (ip, port), self.next_port).unwrap();
        handle
    }

    /// Begins to connect to a server on the host's loopback.
    pub(crate) fn connect_host(&mut self, addr: SocketAddr) -> SocketHandle {
        self.connect(GATEWAY_ADDR, addr.port())
    }

    pub(crate) fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.add_tcp();
        self.tcp(handle).listen(port).unwrap();
        handle
    }

    pub(crate) fn add_udp(&mut self, port: u16) -> SocketHandle {
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 65536]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    pub(crate) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub(crate) fn udp(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Sends all of `data`, ends its half, and reads until the other's end.
    pub(crate) fn exchange(&mut self, handle: SocketHandle, data: &[u8]) -> Vec<u8> {
        let (mut sent, mut got) = (0, Vec::new());
        self.until("the end of an exchange", |guest| {
            let socket = guest.tcp(handle);
            if sent < data.len() && socket.can_send() {
                sent += socket.send_slice(&data[sent..]).unwrap();
                if sent == data.len() {
                    socket.close();
                }
            }
            while socket.can_recv() {
                let taken = socket.recv(|part| {
                    got.extend_from_slice(part);
                    (part.len(), part.len())
                });
                assert!(taken.unwrap() > 0);
            }
            (sent == data.len() && socket.recv(|_| (0, ())) == Err(tcp::RecvError::Finished))
                .then_some(())
        });
        got
    }
}
