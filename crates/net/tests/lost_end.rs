//! A FIN that is lost is sent again, whatever the guest acknowledges meanwhile.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail as the test may")]

use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use omni_net::{GATEWAY_ADDR, GATEWAY_MAC, GUEST_ADDR, NetHandle, UserNet, UserNetConfig};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const START: TcpSeqNumber = TcpSeqNumber(1000);

fn send(net: &NetHandle, port: u16, control: TcpControl, ack_number: Option<TcpSeqNumber>) {
    let tcp = TcpRepr {
        src_port: 4321,
        dst_port: port,
        control,
        seq_number: if control == TcpControl::Syn { START } else { START + 1 },
        ack_number,
        window_len: 8000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let ip = Ipv4Repr {
        src_addr: GUEST_ADDR,
        dst_addr: GATEWAY_ADDR,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let mut frame = [&GATEWAY_MAC[..], &MAC, &[8, 0]].concat();
    frame.resize(34 + tcp.buffer_len(), 0);
    let capabilities = ChecksumCapabilities::default();
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut frame[14..]), &capabilities);
    let mut packet = TcpPacket::new_unchecked(&mut frame[34..]);
    tcp.emit(&mut packet, &GUEST_ADDR.into(), &GATEWAY_ADDR.into(), &capabilities);
    net.send(frame);
}

/// The sequence number of the next segment that `wanted` likes.
fn next(net: &NetHandle, wanted: impl Fn(&TcpPacket<&[u8]>) -> bool) -> TcpSeqNumber {
    loop {
        let frame = net.recv_timeout(Duration::from_secs(20)).expect("a segment that never comes");
        let ip = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        let packet = TcpPacket::new_checked(ip.payload()).unwrap();
        if wanted(&packet) {
            return packet.seq_number();
        }
    }
}

#[test]
fn a_lost_fin_is_sent_again_after_repeated_acknowledgements() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let net = UserNet::new(UserNetConfig::default()).unwrap().spawn_queued(64).unwrap();
    send(&net, port, TcpControl::Syn, None);
    let first = next(&net, |packet| packet.syn() && packet.ack()) + 1;
    send(&net, port, TcpControl::None, Some(first));
    let (stream, _) = listener.accept().unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let fin = next(&net, |packet| packet.fin());
    assert_eq!(fin, first);
    for _ in 0..6 {
        send(&net, port, TcpControl::None, Some(first));
    }
    assert_eq!(next(&net, |packet| packet.fin()), fin);
}
