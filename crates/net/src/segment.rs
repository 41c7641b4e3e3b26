//! The Ethernet segment: its addresses, who is where on it, and frames towards the guest.

use std::net::Ipv4Addr;

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};

use crate::fragments;
use crate::packet::LINK_BYTES;

/// The network of the segment.
pub const NETWORK_ADDR: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 0);
/// Bits of the network's prefix.
pub const NETWORK_PREFIX_BITS: u8 = 24;
/// The gateway, and the host's loopback as the guest reaches it.
pub const GATEWAY_ADDR: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The DNS server.
pub const DNS_ADDR: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// The address leased to the guest, to which published ports lead.
pub const GUEST_ADDR: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// Ethernet address of the gateway and of the DNS server.
pub const GATEWAY_MAC: [u8; 6] = [0x52, 0x55, 0x0a, 0x00, 0x02, 0x02];
/// Most bytes of an Ethernet frame; longer ones are dropped.
pub const FRAME_BYTES_MAX: usize = 9216;

/// Broadcast address of the segment.
pub(crate) const BROADCAST_ADDR: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 255);

const BROADCAST_MAC: [u8; 6] = [0xff; 6];
const TYPE_IPV4: u16 = 0x0800;
const TYPE_ARP: u16 = 0x0806;

/// True for the addresses that stand for this end of the segment.
pub(crate) fn is_ours(addr: Ipv4Addr) -> bool {
    addr == GATEWAY_ADDR || addr == DNS_ADDR
}

/// True for an address inside the network.
pub(crate) fn in_network(addr: Ipv4Addr) -> bool {
    addr.octets()[..3] == NETWORK_ADDR.octets()[..3]
}

/// True for an address that a guest can have.
pub(crate) fn is_guest(addr: Ipv4Addr) -> bool {
    in_network(addr) && !is_ours(addr) && addr != NETWORK_ADDR && addr != BROADCAST_ADDR
}

/// The link as this end of it sees it.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Ethernet addresses by the last byte of the IP address.
    neighbors: [Option<[u8; 6]>; 256],
    /// Where frames go to whose receiver has not been heard yet.
    guest_mac: Option<[u8; 6]>,
    mtu_bytes: usize,
    ident: u16,
    out: Vec<Vec<u8>>,
}

impl Segment {
    pub(crate) fn new(guest_mac: Option<[u8; 6]>, mtu_bytes: usize) -> Self {
        Self { neighbors: [None; 256], guest_mac, mtu_bytes, ident: 0, out: Vec::new() }
    }

    /// Notes where a guest's address was seen.
    pub(crate) fn learn(&mut self, addr: Ipv4Addr, mac: [u8; 6]) {
        if mac[0] & 1 == 0 && is_guest(addr) {
            self.neighbors[usize::from(addr.octets()[3])] = Some(mac);
            self.guest_mac.get_or_insert(mac);
        }
    }

    /// Answers a request for one of our addresses, and learns from requests and replies.
    pub(crate) fn arp(&mut self, payload: &[u8]) {
        let Ok(packet) = ArpPacket::new_checked(payload) else { return };
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: mac,
            source_protocol_addr: source,
            target_protocol_addr: target,
            ..
        }) = ArpRepr::parse(&packet)
        else {
            return;
        };
        // A probe (source 0.0.0.0) teaches nothing, but is answered like any other request.
        self.learn(source, mac.0);
        if operation != ArpOperation::Request || !is_ours(target) || mac.0[0] & 1 != 0 {
            return;
        }
        let reply = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: EthernetAddress(GATEWAY_MAC),
            source_protocol_addr: target,
            target_hardware_addr: mac,
            target_protocol_addr: source,
        };
        let mut frame = vec![0; LINK_BYTES + reply.buffer_len()];
        reply.emit(&mut ArpPacket::new_unchecked(&mut frame[LINK_BYTES..]));
        self.link(frame, mac.0, TYPE_ARP);
    }

    /// Sends a packet (with room for the link header before it) to where `target` was seen.
    pub(crate) fn send(&mut self, frame: Vec<u8>, target: Ipv4Addr) {
        let seen = self.neighbors[usize::from(target.octets()[3])].filter(|_| is_guest(target));
        let mac = seen.or(self.guest_mac).unwrap_or(BROADCAST_MAC);
        self.send_to(frame, mac);
    }

    /// Sends a packet to everyone.
    pub(crate) fn broadcast(&mut self, frame: Vec<u8>) {
        self.send_to(frame, BROADCAST_MAC);
    }

    /// Sends a packet to an Ethernet address, in fragments where it is too long.
    pub(crate) fn send_to(&mut self, frame: Vec<u8>, mac: [u8; 6]) {
        if frame.len() <= LINK_BYTES + self.mtu_bytes {
            self.link(frame, mac, TYPE_IPV4);
            return;
        }
        self.ident = self.ident.wrapping_add(1);
        for fragment in fragments::split(&frame, self.mtu_bytes, self.ident) {
            self.link(fragment, mac, TYPE_IPV4);
        }
    }

    fn link(&mut self, mut frame: Vec<u8>, mac: [u8; 6], ethertype: u16) {
        frame[0..6].copy_from_slice(&mac);
        frame[6..12].copy_from_slice(&GATEWAY_MAC);
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        self.out.push(frame);
    }

    /// Takes the frames that were sent, oldest first.
    pub(crate) fn take_out(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.out)
    }
}

/// Type and payload of a frame meant for this end; `None` for others and malformed ones.
pub(crate) fn open_frame(frame: &[u8]) -> Option<([u8; 6], FrameKind, &[u8])> {
    if frame.len() > FRAME_BYTES_MAX {
        return None;
    }
    let (header, payload) = frame.split_first_chunk::<LINK_BYTES>()?;
    let [target @ .., _, _, _, _, _, _, _, _] = header;
    let mut source = [0; 6];
    source.copy_from_slice(&header[6..12]);
    if *target != GATEWAY_MAC && *target != BROADCAST_MAC || source[0] & 1 != 0 {
        return None;
    }
    match u16::from_be_bytes([header[12], header[13]]) {
        TYPE_IPV4 => Some((source, FrameKind::Ipv4, payload)),
        TYPE_ARP => Some((source, FrameKind::Arp, payload)),
        _ => None,
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Ipv4,
    Arp,
}
