//! Building the packets that this end of the segment sends itself.
//!
//! Every packet is a frame whose first [`LINK_BYTES`] bytes are left for the segment to fill in.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket,
    UdpRepr,
};

/// Bytes of an Ethernet header.
pub(crate) const LINK_BYTES: usize = 14;
/// Bytes of an IPv4 header without options.
pub(crate) const IP_BYTES: usize = 20;
/// Bytes of a UDP header.
pub(crate) const UDP_BYTES: usize = 8;
/// Most payload of a UDP datagram over IPv4.
pub(crate) const UDP_PAYLOAD_MAX: usize = 65535 - IP_BYTES - UDP_BYTES;

/// A frame with an IPv4 header and room for `payload_len` bytes, at most 65515.
fn ip(source: Ipv4Addr, target: Ipv4Addr, protocol: IpProtocol, payload_len: usize) -> Vec<u8> {
    debug_assert!(payload_len <= 65535 - IP_BYTES, "callers bound the payload");
    let mut frame = vec![0; LINK_BYTES + IP_BYTES + payload_len];
    let repr = ip_repr(source, target, protocol, payload_len);
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[LINK_BYTES..]);
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    frame
}

fn ip_repr(
    source: Ipv4Addr,
    target: Ipv4Addr,
    protocol: IpProtocol,
    payload_len: usize,
) -> Ipv4Repr {
    Ipv4Repr {
        src_addr: source,
        dst_addr: target,
        next_header: protocol,
        payload_len,
        hop_limit: 64,
    }
}

/// A UDP datagram; payload beyond [`UDP_PAYLOAD_MAX`] is cut.
pub(crate) fn udp(source: SocketAddrV4, target: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(UDP_PAYLOAD_MAX)];
    let repr = UdpRepr { src_port: source.port(), dst_port: target.port() };
    let mut frame = ip(*source.ip(), *target.ip(), IpProtocol::Udp, UDP_BYTES + payload.len());
    repr.emit(
        &mut UdpPacket::new_unchecked(&mut frame[LINK_BYTES + IP_BYTES..]),
        &(*source.ip()).into(),
        &(*target.ip()).into(),
        payload.len(),
        |room| room.copy_from_slice(payload),
        &ChecksumCapabilities::default(),
    );
    frame
}

fn icmp(source: Ipv4Addr, target: Ipv4Addr, repr: &Icmpv4Repr<'_>) -> Vec<u8> {
    let mut frame = ip(source, target, IpProtocol::Icmp, repr.buffer_len());
    let mut packet = Icmpv4Packet::new_unchecked(&mut frame[LINK_BYTES + IP_BYTES..]);
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    frame
}

/// An answer to a ping.
pub(crate) fn echo_reply(
    source: Ipv4Addr,
    target: Ipv4Addr,
    ident: u16,
    seq_no: u16,
    data: &[u8],
) -> Vec<u8> {
    icmp(source, target, &Icmpv4Repr::EchoReply { ident, seq_no, data })
}

/// Tells `guest` that its datagram to `remote` found nobody; `from` is the one who says so.
pub(crate) fn udp_unreachable(
    reason: Icmpv4DstUnreachable,
    from: Ipv4Addr,
    guest: SocketAddrV4,
    remote: SocketAddrV4,
) -> Vec<u8> {
    let mut data = [0; UDP_BYTES];
    data[0..2].copy_from_slice(&guest.port().to_be_bytes());
    data[2..4].copy_from_slice(&remote.port().to_be_bytes());
    data[4..6].copy_from_slice(&8_u16.to_be_bytes());
    let header = ip_repr(*guest.ip(), *remote.ip(), IpProtocol::Udp, UDP_BYTES);
    icmp(from, *guest.ip(), &Icmpv4Repr::DstUnreachable { reason, header, data: &data })
}
