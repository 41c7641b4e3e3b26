//! The DHCP server of the segment (RFC 2131): one address for each Ethernet address, for ever.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr};

use crate::packet;
use crate::segment::{BROADCAST_ADDR, DNS_ADDR, GATEWAY_ADDR, GUEST_ADDR, Segment};

/// UDP port of a DHCP server.
pub(crate) const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
const LEASE_SECONDS: u32 = 24 * 3600;
/// Least bytes of a message: some boot loaders ignore shorter ones (RFC 1542, 2.1).
const MESSAGE_BYTES_MIN: usize = 300;
/// Ethernet addresses other than the guest's own that get an address.
const OTHERS_MAX: usize = 16;
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
const OPTION_HOSTNAME: u8 = 12;
const OPTION_MTU: u8 = 26;
const OPTION_BROADCAST: u8 = 28;

/// The server and the addresses it has given.
#[derive(Debug)]
pub(crate) struct Dhcp {
    guest_mac: Option<[u8; 6]>,
    others: Vec<[u8; 6]>,
    hostname: Vec<u8>,
    mtu: [u8; 2],
}

impl Dhcp {
    pub(crate) fn new(guest_mac: Option<[u8; 6]>, hostname: Option<&str>, mtu: u16) -> Self {
        let hostname = hostname.unwrap_or_default().bytes().take(63).collect();
        Self { guest_mac, others: Vec::new(), hostname, mtu: mtu.to_be_bytes() }
    }

    /// The address of an Ethernet address; `None` when all are given.
    fn address(&mut self, mac: [u8; 6]) -> Option<Ipv4Addr> {
        if *self.guest_mac.get_or_insert(mac) == mac {
            return Some(GUEST_ADDR);
        }
        let known = self.others.iter().position(|&other| other == mac);
        let index = match known {
            Some(index) => index,
            None if self.others.len() < OTHERS_MAX => {
                self.others.push(mac);
                self.others.len() - 1
            }
            None => return None,
        };
        let [a, b, c, last] = GUEST_ADDR.octets();
        Some(Ipv4Addr::new(a, b, c, last + 1 + u8::try_from(index).ok()?))
    }

    /// Answers one message of a client.
    pub(crate) fn serve(&mut self, message: &[u8], segment: &mut Segment) {
        let Ok(packet) = DhcpPacket::new_checked(message) else { return };
        let Ok(request) = DhcpRepr::parse(&packet) else { return };
        let mac = request.client_hardware_address.0;
        if mac[0] & 1 != 0 || !request.relay_agent_ip.is_unspecified() {
            return;
        }
        // Asked of another server: not ours to answer.
        if request.server_identifier.is_some_and(|server| server != GATEWAY_ADDR) {
            return;
        }
        let kind = match request.message_type {
            DhcpMessageType::Discover => DhcpMessageType::Offer,
            DhcpMessageType::Request | DhcpMessageType::Inform => DhcpMessageType::Ack,
            DhcpMessageType::Offer
            | DhcpMessageType::Decline
            | DhcpMessageType::Ack
            | DhcpMessageType::Nak
            | DhcpMessageType::Release
            | DhcpMessageType::Unknown(_) => return,
        };
        let Some(address) = self.address(mac) else { return };
        self.answer(kind, &request, address, segment);
    }

    fn answer(
        &self,
        kind: DhcpMessageType,
        request: &DhcpRepr<'_>,
        address: Ipv4Addr,
        segment: &mut Segment,
    ) {
        let informs = request.message_type == DhcpMessageType::Inform;
        let claimed = request
            .requested_ip
            .or_else(|| Some(request.client_ip).filter(|addr| !addr.is_unspecified()));
        let wrong = request.message_type == DhcpMessageType::Request
            && claimed.is_some_and(|claimed| claimed != address);
        let kind = if wrong { DhcpMessageType::Nak } else { kind };
        let broadcast = BROADCAST_ADDR.octets();
        let mut options = vec![
            DhcpOption { kind: OPTION_BROADCAST, data: &broadcast },
            DhcpOption { kind: OPTION_MTU, data: &self.mtu },
        ];
        if !self.hostname.is_empty() {
            options.push(DhcpOption { kind: OPTION_HOSTNAME, data: &self.hostname });
        }
        let reply = DhcpRepr {
            message_type: kind,
            transaction_id: request.transaction_id,
            secs: 0,
            client_hardware_address: request.client_hardware_address,
            client_ip: if wrong { Ipv4Addr::UNSPECIFIED } else { request.client_ip },
            your_ip: if wrong || informs { Ipv4Addr::UNSPECIFIED } else { address },
            server_ip: if wrong { Ipv4Addr::UNSPECIFIED } else { GATEWAY_ADDR },
            router: (!wrong).then_some(GATEWAY_ADDR),
            subnet_mask: (!wrong).then_some(MASK),
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: request.broadcast,
            requested_ip: None,
            client_identifier: None,
            server_identifier: Some(GATEWAY_ADDR),
            parameter_request_list: None,
            dns_servers: (!wrong).then(|| std::iter::once(DNS_ADDR).collect()),
            max_size: None,
            lease_duration: (!wrong && !informs).then_some(LEASE_SECONDS),
            renew_duration: None,
            rebind_duration: None,
            additional_options: if wrong { &[] } else { &options },
        };
        let mut message = vec![0; reply.buffer_len().max(MESSAGE_BYTES_MIN)];
        if reply.emit(&mut DhcpPacket::new_unchecked(&mut message[..])).is_err() {
            return;
        }
        let known = !request.client_ip.is_unspecified() && !wrong;
        let target = if known { request.client_ip } else { Ipv4Addr::BROADCAST };
        let frame = packet::udp(
            SocketAddrV4::new(GATEWAY_ADDR, SERVER_PORT),
            SocketAddrV4::new(target, CLIENT_PORT),
            &message,
        );
        if known && !request.broadcast {
            segment.send_to(frame, request.client_hardware_address.0);
        } else {
            segment.broadcast(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_gets_its_own_address_and_others_a_bounded_number_of_others() {
        let mut dhcp = Dhcp::new(Some([2, 0, 0, 0, 0, 9]), None, 1500);
        assert_eq!(dhcp.address([2, 0, 0, 0, 0, 1]), Some(Ipv4Addr::new(10, 0, 2, 16)));
        assert_eq!(dhcp.address([2, 0, 0, 0, 0, 9]), Some(GUEST_ADDR));
        let given = (0..255).filter_map(|last| dhcp.address([2, 0, 0, 0, 1, last])).count();
        assert_eq!(given, OTHERS_MAX - 1);
        assert_eq!(dhcp.address([2, 0, 0, 0, 0, 1]), Some(Ipv4Addr::new(10, 0, 2, 16)));
    }

    #[test]
    fn the_first_to_ask_is_the_guest_where_none_was_named() {
        let mut dhcp = Dhcp::new(None, None, 1500);
        assert_eq!(dhcp.address([2, 0, 0, 0, 0, 1]), Some(GUEST_ADDR));
        assert_eq!(dhcp.address([2, 0, 0, 0, 0, 2]), Some(Ipv4Addr::new(10, 0, 2, 16)));
    }
}
