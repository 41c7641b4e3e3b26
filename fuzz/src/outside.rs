//! Targets for what comes from networks, archives, users and other processes.

use crate::bytes::Choices;
use omni_base::{Digest, PageNo};
use omni_control::{
    CutFile, Frame, GroupFile, MachineFile, Reply, Request, StateFile, read_frame, write_frame,
};
use omni_disk::probe_head;
use omni_host::Overlay;
use omni_image::{Keyring, Mirror, Reference, hostile};
use omni_memory::Page;
use omni_net::{DnsPolicy, GATEWAY_MAC, NetHandle, Protocol, Publish, UserNet, UserNetConfig};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

/// Release files, indices, packages, modules, signatures, keys, compression; and what users type.
pub fn image_text(data: &[u8]) {
    static KEYRING: OnceLock<Keyring> = OnceLock::new();
    let keyring = KEYRING.get_or_init(|| Keyring::of_host().expect("some keys are built in"));
    let Some((&which, bytes)) = data.split_first() else { return };
    if which < 0xf0 {
        return hostile::parse(which, bytes, keyring);
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = (Mirror::new(&text), text.parse::<Reference>(), text.parse::<Publish>());
    let _ = (Reference::is_meant(&text), probe_head(bytes));
}

/// Frames between a monitor and its clients, and the objects in them.
pub fn control_frames(data: &[u8]) {
    let mut from = data;
    while let Ok(frame) = read_frame(&mut from) {
        let mut again = Vec::new();
        write_frame(&mut again, &frame).expect("memory takes all");
        assert!(read_frame(&mut &again[..]).is_ok_and(|same| same == frame));
        if let Frame::Control(body) = frame {
            if let Ok(request) = serde_json::from_slice::<Request>(&body) {
                let text = serde_json::to_vec(&request).expect("plain data");
                let back: Request = serde_json::from_slice(&text).expect("its own form");
                assert!(back == request);
            }
            let _ = serde_json::from_slice::<Reply>(&body);
            let _ = serde_json::from_slice::<MachineFile>(&body);
            let _ = serde_json::from_slice::<StateFile>(&body);
            let _ = serde_json::from_slice::<CutFile>(&body);
            // Whoever wrote it may have known the digest that it needs.
            let digest = format!("\n{}\n", Digest::of(&body));
            let sealed = [&body, digest.as_bytes()].concat();
            if let Ok(file) = GroupFile::parse(&sealed, "lab", "g1") {
                assert!(GroupFile::parse(&file.to_bytes(), "lab", "g1") == Ok(file));
            }
        }
    }
}

fn checksum(sum: u32, bytes: &[u8]) -> u32 {
    let pairs = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    pairs.fold(sum, |sum, pair| sum.wrapping_add(pair))
}

fn folded(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

const GUEST_MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

/// A frame to the gateway with a sound IP header and, where the protocol has one, a sound sum.
fn wrapped(protocol: u8, target: [u8; 4], flags: u16, mut payload: Vec<u8>) -> Vec<u8> {
    let (source, bytes) = ([10, 0, 2, 15], payload.len() as u16);
    let at = match protocol {
        1 => 2,
        6 => 16,
        _ => 6,
    };
    if payload.len() >= at + 2 {
        payload[at..at + 2].fill(0);
        let mut sum = checksum(0, &payload);
        if protocol != 1 {
            sum = checksum(checksum(sum, &source), &target);
            sum += u32::from(protocol) + u32::from(bytes);
        }
        payload[at..at + 2].copy_from_slice(&folded(sum));
    }
    let mut ip = vec![0x45, 0];
    ip.extend_from_slice(&(20 + bytes).to_be_bytes());
    ip.extend_from_slice(&[0, 7]);
    ip.extend_from_slice(&flags.to_be_bytes());
    ip.extend_from_slice(&[64, protocol, 0, 0]);
    ip.extend_from_slice(&source);
    ip.extend_from_slice(&target);
    let sum = folded(checksum(0, &ip));
    ip[10..12].copy_from_slice(&sum);
    let mut frame = GATEWAY_MAC.to_vec();
    frame.extend_from_slice(&GUEST_MAC);
    frame.extend_from_slice(&[8, 0]);
    frame.extend_from_slice(&ip);
    frame.extend_from_slice(&payload);
    frame
}

/// An ARP question for the gateway from a guest that no one else is.
fn question() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend_from_slice(&GUEST_MAC);
    frame.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend_from_slice(&GUEST_MAC);
    frame.extend_from_slice(&[10, 0, 2, 200, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2]);
    frame
}

fn frame(from: &mut Choices<'_>, seen: &[u8]) -> Vec<u8> {
    let kind = from.u8();
    let count = usize::from(from.u8()) * if kind & 0x80 == 0 { 1 } else { 40 };
    let target = match kind >> 3 & 3 {
        0 => [10, 0, 2, 2],
        1 => [10, 0, 2, 3],
        2 => [255; 4],
        _ => [from.u8(), from.u8(), from.u8(), from.u8()],
    };
    let ports = |from: &mut Choices<'_>, port: u16| {
        let mut payload = [from.u16().to_le_bytes(), port.to_be_bytes()].concat();
        payload.extend_from_slice(&(8 + count as u16).to_be_bytes());
        payload.extend_from_slice(&[0, 0]);
        payload.extend_from_slice(from.take(count));
        let bytes = payload.len() as u16;
        payload[4..6].copy_from_slice(&bytes.to_be_bytes());
        payload
    };
    match kind & 7 {
        0 => from.take(count).to_vec(),
        1 => {
            let port = [53, 67, 67, 7][usize::from(from.u8() % 4)];
            let payload = ports(from, port);
            wrapped(17, target, 0x4000, payload)
        }
        2 => {
            let flags = from.u16();
            wrapped(17, target, flags, from.take(count).to_vec())
        }
        3 => wrapped(1, target, 0, from.take(count).to_vec()),
        4 if seen.len() >= 54 => segment(from, seen, count),
        4 | 5 => wrapped(6, target, 0x4000, from.take(count).to_vec()),
        6 => {
            let mut arp = question();
            let body = from.take(28);
            arp[14..14 + body.len()].copy_from_slice(body);
            arp
        }
        _ => {
            let mut whole = question();
            whole[12..14].copy_from_slice(&[8, 0]);
            whole.truncate(14);
            whole[..6].copy_from_slice(&GATEWAY_MAC);
            whole.extend_from_slice(from.take(count));
            whole
        }
    }
}

/// An answer to a TCP segment that came from the network, nearly right.
fn segment(from: &mut Choices<'_>, seen: &[u8], count: usize) -> Vec<u8> {
    let theirs = u32::from_be_bytes(seen[38..42].try_into().expect("four bytes"));
    let (seq, ack) = (u32::from(from.u16()), u32::from(from.u8() % 4));
    let mut payload = [&seen[36..38], &seen[34..36]].concat();
    payload.extend_from_slice(&(1000 + seq).to_be_bytes());
    payload.extend_from_slice(&theirs.wrapping_add(ack).to_be_bytes());
    payload.extend_from_slice(&[from.u8(), from.u8()]);
    payload.extend_from_slice(&from.u16().to_be_bytes());
    payload.extend_from_slice(&[0; 4]);
    payload.extend_from_slice(from.take(count));
    wrapped(6, seen[26..30].try_into().expect("four bytes"), 0x4000, payload)
}

/// Frames of a guest, with nothing reachable but a port that leads in.
pub fn net_frames(data: &[u8]) {
    let mut from = Choices(data);
    let how = from.u8();
    let mut config = UserNetConfig {
        restrict: true,
        dns: DnsPolicy::Off,
        queue_frames: 4096,
        flows_max: 8,
        buffer_bytes: 4096,
        ..UserNetConfig::default()
    };
    let inward = how & 7 == 7;
    if inward {
        let host_addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.publish.push(Publish { protocol: Protocol::Tcp, host_addr, guest_port: 80 });
    }
    let net = UserNet::new(config).and_then(|net| net.spawn_queued(4096)).expect("the host can");
    let mut seen = Vec::new();
    let client = inward.then(|| net.host_addr(Protocol::Tcp, 80)).flatten();
    let client = client.map(|at| TcpStream::connect(at).expect("it listens"));
    if client.is_some() {
        seen = net.recv_timeout(Duration::from_secs(2)).unwrap_or_default();
    }
    let mut frames = 0;
    while !from.is_empty() && frames < 500 {
        net.send(frame(&mut from, &seen));
        frames += 1;
    }
    answered(&net);
    drop(client);
}

/// Asks a question at the end, which is answered if all before it was survived.
fn answered(net: &NetHandle) {
    net.send(question());
    for _ in 0..100_000 {
        let frame = net.recv_timeout(Duration::from_secs(5)).expect("the network is alive");
        if frame.get(12..14) == Some(&[8, 6]) && frame.get(38..42) == Some(&[10, 0, 2, 200]) {
            return;
        }
    }
    panic!("more frames than there are questions");
}

fn scratch() -> PathBuf {
    let folder = if cfg!(target_os = "linux") { "/dev/shm".into() } else { std::env::temp_dir() };
    folder.join(format!("omni-fuzz-overlay-{}", std::process::id()))
}

/// A disk overlay: any bytes, or a sound one with changed bytes, a cut or a tail. What can be
/// opened takes a commit, and can be opened again.
pub fn overlay(data: &[u8]) {
    let path = scratch();
    let base = Digest([7; 32]);
    let mut from = Choices(data);
    let how = from.u8();
    let _ = std::fs::remove_file(&path);
    if how == 0 {
        std::fs::write(&path, from.0).expect("scratch space");
    } else {
        let mut overlay = Overlay::open(&path, base).expect("a new one");
        for _ in 0..how % 4 {
            let page = (PageNo(from.number()), Page::new(&[from.u8(); 4096]));
            overlay.commit(&[page.clone(), page]).expect("scratch space");
        }
        drop(overlay);
        let mut bytes = std::fs::read(&path).expect("it is there");
        if how & 0x10 != 0 {
            let keep = usize::from(from.u16()) % (bytes.len() + 1);
            bytes.truncate(keep);
        }
        for _ in 0..how >> 5 {
            let at = usize::from(from.u16()) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = from.u8();
            }
        }
        bytes.extend_from_slice(from.0);
        std::fs::write(&path, bytes).expect("scratch space");
    }
    match Overlay::open(&path, base) {
        Ok(mut overlay) => {
            let before = overlay.page_count();
            overlay.commit(&[(PageNo(5), Page::new(&[1; 4096]))]).expect("scratch space");
            drop(overlay);
            let again = Overlay::open(&path, base).expect("what was committed is sound");
            assert!(again.page_count() == before || again.page_count() == before + 1);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = std::fs::remove_file(&path);
}
