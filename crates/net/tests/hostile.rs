//! Frames that no honest guest sends: nothing panics, and the network goes on to serve.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail as the test may")]

use std::net::Ipv4Addr;
use std::time::Duration;

use omni_net::{
    DNS_ADDR, DnsPolicy, GATEWAY_ADDR, GATEWAY_MAC, GUEST_ADDR, NetHandle, UserNet, UserNetConfig,
};
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress,
    Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber, UdpPacket, UdpRepr,
};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

/// A network that reaches nothing: no frame of these tests may leave the machine.
fn network() -> NetHandle {
    let config = UserNetConfig {
        restrict: true,
        dns: DnsPolicy::Off,
        flows_max: 16,
        queue_frames: 65536,
        ..UserNetConfig::default()
    };
    UserNet::new(config).unwrap().spawn_queued(1 << 20).unwrap()
}

fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [GATEWAY_MAC, MAC].concat();
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn ip(protocol: IpProtocol, target: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let repr = Ipv4Repr {
        src_addr: GUEST_ADDR,
        dst_addr: target,
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: 64,
    };
    let mut packet = vec![0; 20];
    packet.extend_from_slice(payload);
    repr.emit(&mut Ipv4Packet::new_unchecked(&mut packet[..]), &ChecksumCapabilities::default());
    packet
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; 8 + payload.len()];
    UdpRepr { src_port: 68, dst_port: port }.emit(
        &mut UdpPacket::new_unchecked(&mut datagram[..]),
        &GUEST_ADDR.into(),
        &GATEWAY_ADDR.into(),
        payload.len(),
        |room| room.copy_from_slice(payload),
        &ChecksumCapabilities::default(),
    );
    datagram
}

fn arp(target: Ipv4Addr) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(MAC),
        source_protocol_addr: GUEST_ADDR,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    };
    let mut packet = vec![0; repr.buffer_len()];
    repr.emit(&mut ArpPacket::new_unchecked(&mut packet[..]));
    packet
}

fn dhcp() -> Vec<u8> {
    let repr = DhcpRepr {
        message_type: DhcpMessageType::Discover,
        transaction_id: 1,
        secs: 0,
        client_hardware_address: EthernetAddress(MAC),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: Ipv4Addr::UNSPECIFIED,
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: true,
        requested_ip: Some(GUEST_ADDR),
        client_identifier: Some(EthernetAddress(MAC)),
        server_identifier: None,
        parameter_request_list: Some(&[1, 3, 6]),
        dns_servers: None,
        max_size: Some(1500),
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let mut message = vec![0; repr.buffer_len()];
    repr.emit(&mut DhcpPacket::new_unchecked(&mut message[..])).unwrap();
    message
}

fn syn() -> Vec<u8> {
    let repr = TcpRepr {
        src_port: 1234,
        dst_port: 80,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(7),
        ack_number: None,
        window_len: 1000,
        window_scale: Some(3),
        max_seg_size: Some(1460),
        sack_permitted: true,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: b"early",
    };
    let mut segment = vec![0; repr.buffer_len()];
    repr.emit(
        &mut TcpPacket::new_unchecked(&mut segment[..]),
        &GUEST_ADDR.into(),
        &GATEWAY_ADDR.into(),
        &ChecksumCapabilities::default(),
    );
    segment
}

fn echo() -> Vec<u8> {
    let repr = Icmpv4Repr::EchoRequest { ident: 1, seq_no: 2, data: b"ping" };
    let mut message = vec![0; repr.buffer_len()];
    let mut packet = Icmpv4Packet::new_unchecked(&mut message[..]);
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    message
}

/// One good frame of each kind that the network looks into.
fn good_frames() -> Vec<Vec<u8>> {
    let gateway = |protocol, payload: &[u8]| frame(0x0800, &ip(protocol, GATEWAY_ADDR, payload));
    vec![
        frame(0x0806, &arp(GATEWAY_ADDR)),
        gateway(IpProtocol::Udp, &udp(67, &dhcp())),
        gateway(IpProtocol::Udp, &udp(9, b"to nobody")),
        gateway(IpProtocol::Tcp, &syn()),
        gateway(IpProtocol::Icmp, &echo()),
        gateway(IpProtocol::Icmpv6, &echo()),
        frame(0x0800, &ip(IpProtocol::Tcp, Ipv4Addr::LOCALHOST, &syn())),
        frame(0x86dd, &[0x60; 60]),
    ]
}

/// True if the network still answers a request that no other frame of these tests makes, after all
/// of them: its thread lives. The queue towards the guest holds every reply.
fn is_alive(net: &NetHandle) -> bool {
    net.send(frame(0x0806, &arp(DNS_ADDR)));
    let mut replies = std::iter::from_fn(|| net.recv_timeout(Duration::from_secs(10)));
    replies.any(|reply| reply[12..14] == [8, 6] && reply[28..32] == DNS_ADDR.octets())
}

#[test]
fn every_good_frame_cut_anywhere_is_borne() {
    let net = network();
    for good in good_frames() {
        for len in 0..=good.len() {
            net.send(good[..len].to_vec());
        }
    }
    assert!(is_alive(&net));
}

#[test]
fn a_payload_cut_short_inside_an_honest_ip_packet_is_borne() {
    let net = network();
    let payloads =
        [(IpProtocol::Udp, udp(67, &dhcp())), (IpProtocol::Tcp, syn()), (IpProtocol::Icmp, echo())];
    for (protocol, payload) in payloads {
        for len in 0..payload.len() {
            net.send(frame(0x0800, &ip(protocol, GATEWAY_ADDR, &payload[..len])));
        }
    }
    for len in 0..dhcp().len() {
        let message = udp(67, &dhcp()[..len]);
        net.send(frame(0x0800, &ip(IpProtocol::Udp, GATEWAY_ADDR, &message)));
    }
    assert!(is_alive(&net));
}

#[test]
fn a_frame_beyond_the_longest_is_dropped() {
    let net = network();
    net.send(vec![0xff; 9217]);
    net.send(vec![0xff; 9216]);
    assert!(is_alive(&net));
    assert!(net.stats().frames_dropped >= 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_bytes_are_borne(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 64),
    ) {
        let net = network();
        for mut bytes in frames {
            net.send(bytes.clone());
            net.send(frame(0x0800, &bytes));
            net.send(frame(0x0806, &bytes));
            for protocol in [IpProtocol::Tcp, IpProtocol::Udp, IpProtocol::Icmp] {
                net.send(frame(0x0800, &ip(protocol, GATEWAY_ADDR, &bytes)));
            }
            net.send(frame(0x0800, &ip(IpProtocol::Udp, GATEWAY_ADDR, &udp(67, &bytes))));
            // An honest length and version, the rest of the header as it comes.
            if bytes.len() > 20 {
                let len = bytes.len() as u16;
                bytes[0] = 0x45;
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                bytes[12..16].copy_from_slice(&GUEST_ADDR.octets());
                Ipv4Packet::new_unchecked(&mut bytes[..]).fill_checksum();
                net.send(frame(0x0800, &bytes));
            }
        }
        prop_assert!(is_alive(&net));
    }

    #[test]
    fn a_bent_byte_in_a_good_frame_is_borne(
        bends in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 64),
    ) {
        let net = network();
        for (at, byte) in bends {
            for mut bent in good_frames() {
                let at = at.index(bent.len());
                bent[at] = byte;
                net.send(bent);
            }
        }
        prop_assert!(is_alive(&net));
    }
}
