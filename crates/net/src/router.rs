//! The router: looks at each frame of the guest and hands it to who serves it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Instant;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr,
    UdpPacket, UdpRepr,
};

use crate::datagrams::Datagrams;
use crate::dhcp::{self, Dhcp};
use crate::dns::{self, Dns};
use crate::fragments::Reassembly;
use crate::packet;
use crate::segment::{
    BROADCAST_ADDR, DNS_ADDR, FrameKind, GATEWAY_ADDR, Segment, in_network, is_guest, is_ours,
    open_frame,
};
use crate::tcp::{TcpFlows, Wish};
use crate::tcp_flow::FlowKey;

/// The address at which the guest sees a peer of a published port: its own where that is possible,
/// else the gateway's.
pub(crate) fn visible(peer: IpAddr) -> Ipv4Addr {
    match peer.to_canonical() {
        IpAddr::V4(peer) if is_outside(peer) => peer,
        IpAddr::V4(_) | IpAddr::V6(_) => GATEWAY_ADDR,
    }
}

/// True for an address beyond the gateway to which a single packet can go.
fn is_outside(addr: Ipv4Addr) -> bool {
    let first = addr.octets()[0];
    !in_network(addr) && first != 0 && first < 224 && !addr.is_loopback()
}

/// Everything on the host's side of one segment.
pub(crate) struct Router {
    pub(crate) segment: Segment,
    pub(crate) tcp: TcpFlows,
    pub(crate) datagrams: Datagrams,
    pub(crate) dns: Dns,
    pub(crate) dhcp: Dhcp,
    pub(crate) reassembly: Reassembly,
    pub(crate) restrict: bool,
}

impl Router {
    /// Takes one frame of the guest; false if it was malformed or for nobody here.
    pub(crate) fn take(&mut self, frame: &[u8], now: Instant) -> bool {
        match open_frame(frame) {
            Some((_, FrameKind::Arp, payload)) => {
                self.segment.arp(payload);
                true
            }
            Some((mac, FrameKind::Ipv4, payload)) => self.ipv4(mac, payload, now).is_some(),
            None => false,
        }
    }

    fn ipv4(&mut self, mac: [u8; 6], payload: &[u8], now: Instant) -> Option<()> {
        let packet = Ipv4Packet::new_checked(payload).ok()?;
        if packet.version() != 4 || !packet.verify_checksum() {
            return None;
        }
        let source = packet.src_addr();
        if is_guest(source) {
            self.segment.learn(source, mac);
        } else if !source.is_unspecified() {
            return None;
        }
        if packet.more_frags() || packet.frag_offset() != 0 {
            return match self.reassembly.add(&packet, now) {
                Some(whole) => self.whole(&whole, now),
                None => Some(()),
            };
        }
        self.whole(&payload[..usize::from(packet.total_len())], now)
    }

    /// Takes a packet that is no fragment.
    fn whole(&mut self, bytes: &[u8], now: Instant) -> Option<()> {
        let packet = Ipv4Packet::new_checked(bytes).ok()?;
        let ip = Ipv4Repr::parse(&packet, &ChecksumCapabilities::default()).ok()?;
        if ip.next_header == IpProtocol::Udp {
            return self.udp(&ip, packet.payload(), now);
        }
        if ip.src_addr.is_unspecified() {
            return None;
        }
        if ip.next_header == IpProtocol::Tcp {
            return self.tcp(&ip, bytes, packet.payload(), now);
        }
        if ip.next_header == IpProtocol::Icmp {
            return self.icmp(&ip, packet.payload(), now);
        }
        None
    }

    /// Where a remote address really is, if the guest may reach it.
    fn target(&self, remote: SocketAddrV4) -> Option<SocketAddrV4> {
        if self.restrict {
            None
        } else if *remote.ip() == GATEWAY_ADDR {
            Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, remote.port()))
        } else {
            is_outside(*remote.ip()).then_some(remote)
        }
    }

    fn tcp(&mut self, ip: &Ipv4Repr, bytes: &[u8], payload: &[u8], now: Instant) -> Option<()> {
        let packet = TcpPacket::new_checked(payload).ok()?;
        let (source, target) = (ip.src_addr.into(), ip.dst_addr.into());
        let tcp = TcpRepr::parse(&packet, &source, &target, &ChecksumCapabilities::default());
        let tcp = tcp.ok()?;
        if !is_ours(ip.dst_addr) && !is_outside(ip.dst_addr) {
            return None;
        }
        let wish = match (tcp.control, tcp.ack_number) {
            (TcpControl::Syn, None) => Wish::Open,
            (TcpControl::Rst, _) => Wish::Reset,
            (TcpControl::None, Some(number)) if tcp.payload.is_empty() => Wish::Acknowledge(number),
            _ => Wish::Other,
        };
        let key = FlowKey {
            guest: SocketAddrV4::new(ip.src_addr, tcp.src_port),
            remote: SocketAddrV4::new(ip.dst_addr, tcp.dst_port),
        };
        let dns = ip.dst_addr == DNS_ADDR && tcp.dst_port == dns::PORT && !self.restrict;
        let target = if wish != Wish::Open {
            None
        } else if dns {
            self.dns.tcp_target(now)
        } else {
            self.target(key.remote).map(SocketAddr::V4)
        };
        self.tcp.take(key, wish, bytes, target, now);
        Some(())
    }

    fn udp(&mut self, ip: &Ipv4Repr, payload: &[u8], now: Instant) -> Option<()> {
        let packet = UdpPacket::new_checked(payload).ok()?;
        let (source, target) = (ip.src_addr.into(), ip.dst_addr.into());
        let capabilities = ChecksumCapabilities::default();
        let udp = UdpRepr::parse(&packet, &source, &target, &capabilities).ok()?;
        let to_all = ip.dst_addr.is_broadcast() || ip.dst_addr == BROADCAST_ADDR;
        if udp.dst_port == dhcp::SERVER_PORT && (to_all || ip.dst_addr == GATEWAY_ADDR) {
            self.dhcp.serve(packet.payload(), &mut self.segment);
            return Some(());
        }
        if ip.src_addr.is_unspecified() {
            return None;
        }
        let guest = SocketAddrV4::new(ip.src_addr, udp.src_port);
        if ip.dst_addr == DNS_ADDR {
            if udp.dst_port == dns::PORT {
                self.dns.ask(guest, packet.payload(), &mut self.segment, now);
            }
            return Some(());
        }
        let remote = SocketAddrV4::new(ip.dst_addr, udp.dst_port);
        let target = self.target(remote);
        self.datagrams.udp(guest, remote, target, packet.payload(), &mut self.segment, now);
        Some(())
    }

    fn icmp(&mut self, ip: &Ipv4Repr, payload: &[u8], now: Instant) -> Option<()> {
        let packet = Icmpv4Packet::new_checked(payload).ok()?;
        let icmp = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()).ok()?;
        let Icmpv4Repr::EchoRequest { ident, seq_no, data } = icmp else { return Some(()) };
        if is_ours(ip.dst_addr) {
            let reply = packet::echo_reply(ip.dst_addr, ip.src_addr, ident, seq_no, data);
            self.segment.send(reply, ip.src_addr);
        } else if let Some(target) = self.target(SocketAddrV4::new(ip.dst_addr, 0)) {
            let guest = SocketAddrV4::new(ip.src_addr, ident);
            self.datagrams.ping(guest, *target.ip(), seq_no, data, now);
        }
        Some(())
    }
}
