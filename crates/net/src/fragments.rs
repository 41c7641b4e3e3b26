//! IPv4 fragments: putting a guest's together and cutting what is too long for the segment.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr};

use crate::packet::{IP_BYTES, LINK_BYTES};

/// Datagrams in pieces held at a time.
const PARTIALS_MAX: usize = 16;
/// How long pieces wait for the rest.
const PARTIAL_LIFE: Duration = Duration::from_secs(15);
/// Longest payload of an IPv4 packet.
const PAYLOAD_MAX: usize = 65535 - IP_BYTES;
/// Fragment offsets count in these.
const UNIT: usize = 8;

type Key = (Ipv4Addr, Ipv4Addr, IpProtocol, u16);

/// One datagram of which pieces are missing.
#[derive(Debug)]
struct Partial {
    key: Key,
    since: Instant,
    payload: Vec<u8>,
    /// One flag per unit of `payload`: true once it came.
    present: Vec<bool>,
    /// Length of the whole, known once the last piece came.
    total: Option<usize>,
}

/// Datagrams in pieces, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    partials: Vec<Partial>,
}

impl Reassembly {
    /// Takes one fragment; gives the whole packet (header and payload) when it was the last one
    /// missing. A datagram with overlapping or contradicting pieces is given up.
    pub(crate) fn add(&mut self, packet: &Ipv4Packet<&[u8]>, now: Instant) -> Option<Vec<u8>> {
        self.partials.retain(|partial| now.duration_since(partial.since) < PARTIAL_LIFE);
        let key = (packet.src_addr(), packet.dst_addr(), packet.next_header(), packet.ident());
        let index = match self.partials.iter().position(|partial| partial.key == key) {
            Some(index) => index,
            None => {
                if self.partials.len() >= PARTIALS_MAX {
                    self.partials.remove(0);
                }
                self.partials.push(Partial {
                    key,
                    since: now,
                    payload: Vec::new(),
                    present: Vec::new(),
                    total: None,
                });
                self.partials.len() - 1
            }
        };
        let added = self.partials[index].add(
            usize::from(packet.frag_offset()),
            packet.payload(),
            packet.more_frags(),
        );
        match added {
            Some(false) => None,
            None => {
                self.partials.remove(index);
                None
            }
            Some(true) => Some(self.partials.remove(index).whole(packet.hop_limit())),
        }
    }
}

impl Partial {
    /// True if the datagram is whole now; `None` if it must be given up.
    fn add(&mut self, offset: usize, piece: &[u8], more: bool) -> Option<bool> {
        let end = offset + piece.len();
        if piece.is_empty() || end > PAYLOAD_MAX || (more && !piece.len().is_multiple_of(UNIT)) {
            return None;
        }
        if more {
            if self.total.is_some_and(|total| end >= total) {
                return None;
            }
        } else if self.total.is_some() || self.payload.len() > end {
            return None;
        } else {
            self.total = Some(end);
        }
        let (first, last) = (offset / UNIT, end.div_ceil(UNIT));
        if self.present.len() < last {
            self.present.resize(last, false);
        }
        if self.payload.len() < end {
            self.payload.resize(end, 0);
        }
        if self.present[first..last].iter().any(|&present| present) {
            return None;
        }
        self.present[first..last].fill(true);
        self.payload[offset..end].copy_from_slice(piece);
        Some(self.total == Some(self.payload.len()) && self.present.iter().all(|&flag| flag))
    }

    fn whole(self, hop_limit: u8) -> Vec<u8> {
        let (src_addr, dst_addr, next_header, _) = self.key;
        let payload_len = self.payload.len();
        let repr = Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit };
        let mut packet = vec![0; IP_BYTES];
        packet.extend_from_slice(&self.payload);
        let mut header = Ipv4Packet::new_unchecked(&mut packet[..]);
        repr.emit(&mut header, &ChecksumCapabilities::default());
        packet
    }
}

/// Cuts a frame with an IPv4 packet without options into frames of at most `mtu_bytes` of packet.
pub(crate) fn split(frame: &[u8], mtu_bytes: usize, ident: u16) -> Vec<Vec<u8>> {
    let (header, payload) = frame.split_at(LINK_BYTES + IP_BYTES);
    let step = (mtu_bytes - IP_BYTES) / UNIT * UNIT;
    let mut fragments = Vec::with_capacity(payload.len().div_ceil(step));
    for (index, piece) in payload.chunks(step).enumerate() {
        let offset = index * step;
        let total = u16::try_from(IP_BYTES + piece.len()).expect("a piece fits the MTU");
        let mut fragment = header.to_vec();
        fragment.extend_from_slice(piece);
        let mut packet = Ipv4Packet::new_unchecked(&mut fragment[LINK_BYTES..]);
        packet.set_total_len(total);
        packet.set_ident(ident);
        packet.clear_flags();
        packet.set_more_frags(offset + piece.len() < payload.len());
        packet.set_frag_offset(u16::try_from(offset).expect("an IPv4 payload is below 64 KiB"));
        packet.fill_checksum();
        fragments.push(fragment);
    }
    fragments
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use proptest::prelude::*;

    use super::*;
    use crate::packet;

    fn datagram(len: usize) -> Vec<u8> {
        let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let at = |last| SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, last), 9);
        packet::udp(at(2), at(15), &payload)
    }

    proptest! {
        #[test]
        fn a_datagram_cut_and_shuffled_comes_out_whole(
            len in 1000_usize..65507, mtu in 576_usize..9202, seed: usize,
        ) {
            let frame = datagram(len);
            let mut pieces = split(&frame, mtu, 7);
            prop_assert!(pieces.iter().all(|piece| piece.len() <= LINK_BYTES + mtu));
            for i in (1..pieces.len()).rev() {
                pieces.swap(i, seed % (i + 1));
            }
            let (now, mut reassembly) = (Instant::now(), Reassembly::default());
            let mut whole = None;
            for piece in &pieces {
                prop_assert!(whole.is_none());
                let packet = Ipv4Packet::new_checked(&piece[LINK_BYTES..]).unwrap();
                whole = reassembly.add(&packet, now);
            }
            let whole = whole.unwrap();
            prop_assert_eq!(&whole[IP_BYTES..], &frame[LINK_BYTES + IP_BYTES..]);
            prop_assert!(Ipv4Packet::new_checked(&whole[..]).unwrap().verify_checksum());
            prop_assert!(reassembly.partials.is_empty());
        }
    }

    #[test]
    fn overlapping_pieces_are_given_up_and_the_number_of_partials_is_bounded() {
        let pieces = split(&datagram(4000), 1500, 1);
        let (now, mut reassembly) = (Instant::now(), Reassembly::default());
        let packet = |piece: usize| Ipv4Packet::new_checked(&pieces[piece][LINK_BYTES..]).unwrap();
        assert_eq!(reassembly.add(&packet(0), now), None);
        assert_eq!(reassembly.add(&packet(0), now), None);
        assert!(reassembly.partials.is_empty());
        for ident in 0..100 {
            let pieces = split(&datagram(4000), 1500, ident);
            let packet = Ipv4Packet::new_checked(&pieces[0][LINK_BYTES..]).unwrap();
            assert_eq!(reassembly.add(&packet, now), None);
        }
        assert_eq!(reassembly.partials.len(), PARTIALS_MAX);
        reassembly.add(&packet(0), now + PARTIAL_LIFE);
        assert_eq!(reassembly.partials.len(), 1);
    }
}
