//! A guest at the other end of the segment: lease, ping, names, datagrams, connections.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail as the test may")]

mod guest;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use guest::{Guest, MAC};
use omni_net::{
    DNS_ADDR, DnsPolicy, GATEWAY_ADDR, GATEWAY_MAC, GUEST_ADDR, Loss, NetError, Protocol, UserNet,
    UserNetConfig,
};
use smoltcp::socket::{dhcpv4, icmp, tcp, udp};
use smoltcp::wire::{
    Icmpv4Packet, Icmpv4Repr, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

const MIB: usize = 1 << 20;

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(step).collect()
}

/// FNV-1a: tells two transfers apart in a failure message.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn loopback() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Reads a stream to its end while sending `data` on it, then ends it.
fn serve(stream: TcpStream, data: Vec<u8>) -> Vec<u8> {
    let mut writer = stream.try_clone().unwrap();
    let sender = thread::spawn(move || {
        writer.write_all(&data).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    (&stream).read_to_end(&mut got).unwrap();
    sender.join().unwrap();
    got
}

/// Transfers `bytes` each way at once, through the gateway's address.
fn transfer(config: UserNetConfig, bytes: usize) {
    let (listener, addr) = loopback();
    let (up, down) = (noise(bytes, 1), noise(bytes, 2));
    let (up_sum, down_sum) = (checksum(&up), checksum(&down));
    let server = thread::spawn(move || serve(listener.accept().unwrap().0, down));
    let mut guest = Guest::new(config);
    let handle = guest.connect_host(addr);
    let got = guest.exchange(handle, &up);
    assert_eq!((got.len(), checksum(&got)), (bytes, down_sum));
    guest.until("the host's reading", |_| server.is_finished().then_some(()));
    let got = server.join().unwrap();
    assert_eq!((got.len(), checksum(&got)), (bytes, up_sum));
}

#[test]
fn eight_mib_each_way_arrive_unharmed() {
    transfer(UserNetConfig::default(), 8 * MIB);
}

/// The guest keeps its half open to the end: the smoltcp it is made of can forget a lost FIN. That
/// the network does not is what the guest waits for.
#[test]
fn a_transfer_survives_the_loss_of_one_frame_in_twenty() {
    const BYTES: usize = MIB / 8;
    const FLOWS: usize = 8;
    let (listener, addr) = loopback();
    let (up, down) = (noise(BYTES, 1), noise(BYTES, 2));
    let (up_sum, down_sum) = (checksum(&up), checksum(&down));
    let server = move |mut stream: TcpStream| {
        let mut got = vec![0; BYTES];
        let mut writer = stream.try_clone().unwrap();
        let down = down.clone();
        let sender = thread::spawn(move || {
            writer.write_all(&down).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_exact(&mut got).unwrap();
        sender.join().unwrap();
        assert_eq!(checksum(&got), up_sum);
    };
    let servers = thread::spawn(move || {
        let streams = (0..FLOWS).map(|_| listener.accept().unwrap().0);
        let servers = streams.map(|stream| {
            let server = server.clone();
            thread::spawn(move || server(stream))
        });
        servers.collect::<Vec<_>>().into_iter().for_each(|server| server.join().unwrap());
    });
    let loss = Some(Loss { drop: 5, of: 100, seed: 3 });
    let mut guest = Guest::new(UserNetConfig { loss, ..UserNetConfig::default() });
    let handles: Vec<_> = (0..FLOWS).map(|_| guest.connect_host(addr)).collect();
    let mut sent = [0; FLOWS];
    let mut got = vec![Vec::new(); FLOWS];
    guest.until("all ends", |guest| {
        let mut over = 0;
        for (i, &handle) in handles.iter().enumerate() {
            let socket = guest.tcp(handle);
            if sent[i] < BYTES && socket.can_send() {
                sent[i] += socket.send_slice(&up[sent[i]..]).unwrap();
            }
            while socket.can_recv() {
                socket.recv(|part| (part.len(), got[i].extend_from_slice(part))).unwrap();
            }
            over += usize::from(socket.recv(|_| (0, ())) == Err(tcp::RecvError::Finished));
        }
        (over == FLOWS && servers.is_finished()).then_some(())
    });
    assert!(got.iter().all(|got| checksum(got) == down_sum));
    servers.join().unwrap();
    assert!(guest.net.stats().frames_dropped > 0);
}

#[test]
fn the_guest_gets_a_lease_and_pings_the_gateway() {
    let mut guest =
        Guest::bare(UserNetConfig { hostname: Some("box".into()), ..UserNetConfig::default() });
    let handle = guest.sockets.add(dhcpv4::Socket::new());
    let (address, router, servers) = guest.until("a lease", |guest| {
        match guest.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll()? {
            dhcpv4::Event::Configured(config) => {
                Some((config.address, config.router, config.dns_servers.to_vec()))
            }
            dhcpv4::Event::Deconfigured => None,
        }
    });
    assert_eq!((address.address(), address.prefix_len()), (GUEST_ADDR, 24));
    assert_eq!((router, servers), (Some(GATEWAY_ADDR), vec![DNS_ADDR]));
    guest.set_address(address.into(), GATEWAY_ADDR);
    for target in [GATEWAY_ADDR, DNS_ADDR] {
        assert_eq!(ping(&mut guest, target), b"are you there");
    }
}

fn ping(guest: &mut Guest, target: Ipv4Addr) -> Vec<u8> {
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 1024]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(icmp::Endpoint::Ident(77)).unwrap();
    let data = b"are you there";
    let repr = Icmpv4Repr::EchoRequest { ident: 77, seq_no: 1, data };
    let room = socket.send(repr.buffer_len(), target.into()).unwrap();
    repr.emit(&mut Icmpv4Packet::new_unchecked(room), &Default::default());
    let handle = guest.sockets.add(socket);
    let got = guest.until("an echo", |guest| {
        let socket = guest.sockets.get_mut::<icmp::Socket<'_>>(handle);
        let (bytes, from) = socket.recv().ok()?;
        assert_eq!(from, IpAddress::from(target));
        let packet = Icmpv4Packet::new_checked(bytes).unwrap();
        let repr = Icmpv4Repr::parse(&packet, &Default::default()).unwrap();
        let Icmpv4Repr::EchoReply { ident: 77, seq_no: 1, data } = repr else { panic!("{repr:?}") };
        Some(data.to_vec())
    });
    guest.sockets.remove(handle);
    got
}

fn question(id: u8, name: &[u8]) -> Vec<u8> {
    let mut query = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
    query.extend_from_slice(name);
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}

/// Sends a datagram to `ip:port` and gives the first that comes back.
fn ask(guest: &mut Guest, ip: Ipv4Addr, port: u16, message: &[u8]) -> Vec<u8> {
    let handle = guest.add_udp(40000);
    guest.udp(handle).send_slice(message, (ip, port)).unwrap();
    let answer = guest.until("an answer", |guest| {
        let (bytes, meta) = guest.udp(handle).recv().ok()?;
        assert_eq!((meta.endpoint.addr, meta.endpoint.port), (ip.into(), port));
        Some(bytes.to_vec())
    });
    guest.sockets.remove(handle);
    answer
}

#[test]
fn a_question_goes_on_to_the_next_resolver_where_one_is_dead() {
    let resolver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = vec![dead, resolver.local_addr().unwrap()];
    let answering = thread::spawn(move || {
        let mut message = [0; 512];
        let (len, from) = resolver.recv_from(&mut message).unwrap();
        message[2] |= 0x80;
        resolver.send_to(&message[..len], from).unwrap();
    });
    let dns = DnsPolicy::Servers(servers);
    let mut guest = Guest::new(UserNetConfig { dns, ..UserNetConfig::default() });
    let query = question(9, b"anything");
    let answer = ask(&mut guest, DNS_ADDR, 53, &query);
    assert_eq!((answer[..2].to_vec(), answer[2]), (vec![0, 9], 0x81));
    assert_eq!(answer[3..], query[3..]);
    answering.join().unwrap();
}

#[test]
fn names_are_looked_up_by_the_host_where_no_resolver_is_named() {
    let config = UserNetConfig { dns: DnsPolicy::Lookup, ..UserNetConfig::default() };
    let answer = ask(&mut Guest::new(config), DNS_ADDR, 53, &question(8, b"localhost"));
    assert_eq!(answer[answer.len() - 4..], [127, 0, 0, 1]);
}

#[test]
fn a_restricted_guest_reaches_nothing_outside() {
    let (listener, addr) = loopback();
    listener.set_nonblocking(true).unwrap();
    let mut guest = Guest::new(UserNetConfig { restrict: true, ..UserNetConfig::default() });
    let handle = guest.connect_host(addr);
    guest.until("a reset", |guest| (!guest.tcp(handle).is_open()).then_some(()));
    assert!(listener.accept().is_err());
    let refused = ask(&mut guest, DNS_ADDR, 53, &question(1, b"localhost"));
    assert_eq!(refused[3] & 15, 5);
}

#[test]
fn a_connection_that_the_host_refuses_is_reset() {
    let (listener, addr) = loopback();
    drop(listener);
    let mut guest = Guest::new(UserNetConfig::default());
    let handle = guest.connect_host(addr);
    guest.until("a reset", |guest| (!guest.tcp(handle).is_open()).then_some(()));
    let handle = guest.connect(Ipv4Addr::new(10, 0, 2, 3), 80);
    guest.until("a reset", |guest| (!guest.tcp(handle).is_open()).then_some(()));
    guest.until("no flow left", |guest| (guest.net.stats().tcp_flows == 0).then_some(()));
}

#[test]
fn a_reset_goes_through_in_both_directions() {
    let (listener, addr) = loopback();
    let mut guest = Guest::new(UserNetConfig::default());
    let from_guest = guest.connect_host(addr);
    guest.until("a connection", |guest| guest.tcp(from_guest).may_send().then_some(()));
    let (mut stream, _) = listener.accept().unwrap();
    guest.tcp(from_guest).abort();
    let reader = thread::spawn(move || stream.read(&mut [0; 16]).unwrap_err().kind());
    guest.until("the host's error", |_| reader.is_finished().then_some(()));
    assert_eq!(reader.join().unwrap(), std::io::ErrorKind::ConnectionReset);

    let from_host = guest.connect_host(addr);
    guest.until("a connection", |guest| guest.tcp(from_host).may_send().then_some(()));
    let (stream, _) = listener.accept().unwrap();
    guest.tcp(from_host).send_slice(b"unread").unwrap();
    // Closing with unread data is how a host resets.
    guest.until("data at the host", |_| (stream.peek(&mut [0; 8]).unwrap() == 6).then_some(()));
    drop(stream);
    guest.until("a reset", |guest| (!guest.tcp(from_host).is_open()).then_some(()));
    assert_eq!(guest.tcp(from_host).recv(|_| (0, ())), Err(tcp::RecvError::InvalidState));
}

#[test]
fn a_host_that_has_ended_its_half_still_reads_what_the_guest_sends() {
    let (listener, addr) = loopback();
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.write_all(b"that is all").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got
    });
    let mut guest = Guest::new(UserNetConfig::default());
    let handle = guest.connect_host(addr);
    let mut got = Vec::new();
    guest.until("the host's end", |guest| {
        let socket = guest.tcp(handle);
        if socket.can_recv() {
            socket.recv(|part| (part.len(), got.extend_from_slice(part))).unwrap();
        }
        (socket.state() == tcp::State::CloseWait && !socket.can_recv()).then_some(())
    });
    assert_eq!(got, b"that is all");
    let late = noise(100_000, 5);
    guest.exchange(handle, &late);
    guest.until("the host's reading", |_| server.is_finished().then_some(()));
    assert_eq!(checksum(&server.join().unwrap()), checksum(&late));
}

#[test]
fn a_host_that_does_not_read_stops_the_guest_and_nothing_is_lost() {
    let (listener, addr) = loopback();
    let mut guest = Guest::new(UserNetConfig::default());
    let handle = guest.connect_host(addr);
    guest.until("a connection", |guest| guest.tcp(handle).may_send().then_some(()));
    let (mut stream, _) = listener.accept().unwrap();
    let (mut sent, mut stuck) = (0, 0);
    let data = noise(32 * MIB, 9);
    guest.until("a full pipe", |guest| {
        let socket = guest.tcp(handle);
        let more = socket.send_slice(&data[sent..]).unwrap();
        sent += more;
        stuck = if more == 0 { stuck + 1 } else { 0 };
        (stuck > 100).then_some(())
    });
    assert!(sent < data.len());
    let expected = data[..sent].to_vec();
    let reader = thread::spawn(move || {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        got
    });
    guest.tcp(handle).close();
    guest.until("the rest", |_| reader.is_finished().then_some(()));
    let got = reader.join().unwrap();
    assert_eq!((got.len(), checksum(&got)), (expected.len(), checksum(&expected)));
}

#[test]
fn two_hundred_connections_live_side_by_side() {
    const FLOWS: usize = 200;
    let (listener, addr) = loopback();
    let server = thread::spawn(move || {
        let streams: Vec<_> = (0..FLOWS).map(|_| listener.accept().unwrap().0).collect();
        for mut stream in streams {
            let mut message = [0; 1000];
            stream.read_exact(&mut message).unwrap();
            message.reverse();
            stream.write_all(&message).unwrap();
        }
    });
    let mut guest = Guest::new(UserNetConfig::default());
    let handles: Vec<_> = (0..FLOWS).map(|_| guest.connect_host(addr)).collect();
    let mut told = [false; FLOWS];
    let mut answered = [false; FLOWS];
    guest.until("all answers", |guest| {
        for (i, &handle) in handles.iter().enumerate() {
            let socket = guest.tcp(handle);
            if !told[i] && socket.can_send() {
                socket.send_slice(&noise(1000, i as u64)).unwrap();
                told[i] = true;
            }
            if !answered[i] && socket.recv_queue() == 1000 {
                let mut answer = [0; 1000];
                socket.recv_slice(&mut answer).unwrap();
                answer.reverse();
                assert_eq!(answer[..], noise(1000, i as u64)[..]);
                answered[i] = true;
                socket.close();
            }
        }
        answered.iter().all(|&yes| yes).then_some(())
    });
    server.join().unwrap();
}

#[test]
fn connections_beyond_the_most_are_reset_and_the_others_live_on() {
    let (listener, addr) = loopback();
    let mut guest = Guest::new(UserNetConfig { flows_max: 3, ..UserNetConfig::default() });
    let handles: Vec<_> = (0..5).map(|_| guest.connect_host(addr)).collect();
    guest.until("three open and two reset", |guest| {
        let open = handles.iter().filter(|&&h| guest.tcp(h).may_send()).count();
        let closed = handles.iter().filter(|&&h| !guest.tcp(h).is_open()).count();
        (open == 3 && closed == 2).then_some(())
    });
    drop(listener);
}

#[test]
fn datagrams_go_both_ways() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let echo = thread::spawn(move || {
        let mut message = vec![0; 65536];
        let (len, from) = server.recv_from(&mut message).unwrap();
        message[..len].reverse();
        server.send_to(&message[..len], from).unwrap();
    });
    let mut guest = Guest::new(UserNetConfig::default());
    assert_eq!(ask(&mut guest, GATEWAY_ADDR, port, b"abc"), b"cba");
    echo.join().unwrap();
    assert_eq!(guest.net.stats().datagram_flows, 1);
}

#[test]
fn a_datagram_beyond_the_mtu_goes_out_whole_and_comes_back_in_fragments() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let net = UserNet::new(UserNetConfig::default()).unwrap().spawn_queued(64).unwrap();
    // 3000 bytes of payload in two fragments of 1600 and 1408 bytes (with the UDP header).
    let payload = noise(3000, 6);
    let mut datagram = vec![0; 3008];
    UdpRepr { src_port: 4000, dst_port: port }.emit(
        &mut UdpPacket::new_unchecked(&mut datagram[..]),
        &GUEST_ADDR.into(),
        &GATEWAY_ADDR.into(),
        payload.len(),
        |room| room.copy_from_slice(&payload),
        &Default::default(),
    );
    for (at, piece) in [(1600, &datagram[1600..]), (0, &datagram[..1600])] {
        let repr = Ipv4Repr {
            src_addr: GUEST_ADDR,
            dst_addr: GATEWAY_ADDR,
            next_header: IpProtocol::Udp,
            payload_len: piece.len(),
            hop_limit: 64,
        };
        let mut frame = [&GATEWAY_MAC[..], &MAC, &[8, 0], &[0; 20], piece].concat();
        let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
        repr.emit(&mut packet, &Default::default());
        packet.clear_flags();
        packet.set_more_frags(at == 0);
        packet.set_frag_offset(at);
        packet.fill_checksum();
        net.send(frame);
    }
    let mut message = vec![0; 65536];
    server.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (len, from) = server.recv_from(&mut message).unwrap();
    assert_eq!(checksum(&message[..len]), checksum(&payload));
    server.send_to(&message[..len], from).unwrap();
    let mut back = vec![0; 3008];
    for _ in 0..3 {
        let frame = net.recv_timeout(Duration::from_secs(30)).unwrap();
        let packet = Ipv4Packet::new_checked(&frame[14..]).unwrap();
        let at = usize::from(packet.frag_offset());
        assert!(packet.verify_checksum() && packet.total_len() <= 1500);
        back[at..at + packet.payload().len()].copy_from_slice(packet.payload());
    }
    assert_eq!(checksum(&back[8..]), checksum(&payload));
}

#[test]
fn a_datagram_to_a_closed_port_is_said_to_be_unreachable() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut guest = Guest::new(UserNetConfig::default());
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 1024]);
    let mut errors = icmp::Socket::new(buffer(), buffer());
    errors.bind(icmp::Endpoint::Udp(4001.into())).unwrap();
    let errors = guest.sockets.add(errors);
    let handle = guest.add_udp(4001);
    guest.udp(handle).send_slice(b"?", (GATEWAY_ADDR, closed.port())).unwrap();
    guest.until("an error", |guest| {
        let socket = guest.sockets.get_mut::<icmp::Socket<'_>>(errors);
        let (bytes, from) = socket.recv().ok()?;
        assert_eq!((from, bytes[..2].to_vec()), (IpAddress::from(GATEWAY_ADDR), vec![3, 3]));
        Some(())
    });
}

fn publish(text: &str) -> UserNetConfig {
    UserNetConfig { publish: vec![text.parse().unwrap()], ..UserNetConfig::default() }
}

#[test]
fn a_published_port_carries_bytes_both_ways() {
    let mut guest = Guest::new(UserNetConfig { guest_mac: MAC, ..publish("0:22") });
    let addr = guest.net.host_addr(Protocol::Tcp, 22).unwrap();
    let (up, down) = (noise(MIB, 3), noise(MIB, 4));
    let down_sum = checksum(&down);
    let handle = guest.listen(22);
    let client = thread::spawn(move || serve(TcpStream::connect(addr).unwrap(), down));
    guest.until("a connection", |guest| guest.tcp(handle).may_send().then_some(()));
    let got = guest.exchange(handle, &up);
    assert_eq!((got.len(), checksum(&got)), (MIB, down_sum));
    guest.until("the host's reading", |_| client.is_finished().then_some(()));
    assert_eq!(checksum(&client.join().unwrap()), checksum(&up));
}

#[test]
fn a_published_port_that_the_guest_does_not_serve_ends_the_connection() {
    let mut guest = Guest::new(UserNetConfig { guest_mac: MAC, ..publish("0:23") });
    let addr = guest.net.host_addr(Protocol::Tcp, 23).unwrap();
    let client = thread::spawn(move || TcpStream::connect(addr).unwrap().read(&mut [0; 1]));
    guest.until("the client's end", |_| client.is_finished().then_some(()));
    assert!(client.join().unwrap().is_err());
}

#[test]
fn a_published_datagram_port_answers_the_peer_that_asked() {
    let mut guest = Guest::new(UserNetConfig { guest_mac: MAC, ..publish("0:5000/udp") });
    let addr = guest.net.host_addr(Protocol::Udp, 5000).unwrap();
    let peers = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    for (i, peer) in peers.iter().enumerate() {
        peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        peer.send_to(&[i as u8], addr).unwrap();
    }
    let handle = guest.add_udp(5000);
    for _ in 0..2 {
        let (answer, to): (u8, udp::UdpMetadata) = guest.until("a datagram", |guest| {
            let (bytes, meta) = guest.udp(handle).recv().ok()?;
            Some((bytes[0] + 100, meta))
        });
        guest.udp(handle).send_slice(&[answer], to.endpoint).unwrap();
    }
    let mut turns = 0;
    guest.until("the answers to go out", |_| {
        turns += 1;
        (turns > 5).then_some(())
    });
    for (i, peer) in peers.iter().enumerate() {
        let mut answer = [0; 8];
        assert_eq!(peer.recv_from(&mut answer).unwrap(), (1, addr));
        assert_eq!(answer[0], 100 + i as u8);
    }
}

#[test]
fn a_port_in_use_is_named_in_the_error() {
    let (_listener, addr) = loopback();
    let error = UserNet::new(publish(&format!("{}:80", addr.port()))).unwrap_err();
    assert!(matches!(error, NetError::Publish { .. }));
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot publish tcp port {addr}: ")), "{text}");
    let error = UserNet::new(UserNetConfig { mtu_bytes: 100, ..UserNetConfig::default() });
    assert_eq!(error.unwrap_err().to_string(), "mtu_bytes is 100, not in 576..=9202");
}

#[test]
fn an_idle_network_sleeps() {
    let (listener, addr) = loopback();
    let mut guest = Guest::new(UserNetConfig::default());
    let handle = guest.connect_host(addr);
    guest.until("a connection", |guest| guest.tcp(handle).may_send().then_some(()));
    let (stream, _) = listener.accept().unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    guest.until("the host's end", |guest| (!guest.tcp(handle).may_recv()).then_some(()));
    thread::sleep(Duration::from_millis(50));
    let before = guest.net.stats().wakeups;
    thread::sleep(Duration::from_millis(300));
    let woken = guest.net.stats().wakeups - before;
    assert!(woken < 10, "woke {woken} times with nothing to do");
}
