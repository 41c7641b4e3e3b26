//! Members of a switch over real sockets: who hears what, who comes and goes, and who is hostile.

use omni_net::{CutError, CutId, SwitchConfig, SwitchMember};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, send,
    socket_with,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);
const BROADCAST: [u8; 6] = [0xff; 6];

static NUMBER: AtomicU32 = AtomicU32::new(0);

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("omni-switch-{}-{number}", std::process::id())))
    }

    fn join(&self, name: &str) -> (SwitchMember, Receiver<Vec<u8>>) {
        let (tell, hears) = channel();
        let member = self.join_by(name, move |frame| tell.send(frame).is_ok());
        (member, hears)
    }

    fn join_by(
        &self,
        name: &str,
        deliver: impl Fn(Vec<u8>) -> bool + Send + 'static,
    ) -> SwitchMember {
        let config = SwitchConfig { folder: self.0.clone(), member: name.into() };
        SwitchMember::join(config, Box::new(deliver)).expect("joinable")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number]
}

fn frame(to: [u8; 6], from: [u8; 6], text: &str) -> Vec<u8> {
    [&to[..], &from, &[0x88, 0xb5], text.as_bytes()].concat()
}

/// Waits until this is so.
fn until(mut so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !so() {
        assert!(began.elapsed() < LONG, "it did not come to be so");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn raw(path: &Path) -> rustix::fd::OwnedFd {
    let kind = SocketType::SEQPACKET;
    let wire =
        socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("a socket");
    connect(&wire, &SocketAddrUnix::new(path).expect("short")).expect("somebody listens");
    wire
}

#[test]
fn a_frame_reaches_whom_it_is_for_and_everybody_where_that_is_not_known() {
    let folder = Folder::new();
    let (one, hears_one) = folder.join("a1");
    let (two, hears_two) = folder.join("b2");
    let (three, hears_three) = folder.join("c3");
    until(|| one.members() == names(&["b2", "c3"]) && two.members().len() == 2);
    let all = frame(BROADCAST, mac(1), "all");
    one.send(&all);
    assert_eq!(hears_two.recv_timeout(LONG).as_ref(), Ok(&all));
    assert_eq!(hears_three.recv_timeout(LONG).as_ref(), Ok(&all));
    let back = frame(mac(1), mac(2), "back");
    two.send(&back);
    assert_eq!(hears_one.recv_timeout(LONG).as_ref(), Ok(&back));
    // Now each knows where the other is, and the third hears nothing of it.
    let there = frame(mac(2), mac(1), "there");
    one.send(&there);
    assert_eq!(hears_two.recv_timeout(LONG).as_ref(), Ok(&there));
    one.send(&frame(mac(9), mac(1), "whoever"));
    assert!(hears_three.recv_timeout(LONG).is_ok_and(|heard| heard.ends_with(b"whoever")));
    assert_eq!((three.stats().frames_received, one.stats().frames_sent), (2, 3));
}

#[test]
fn members_come_and_go_in_any_order_and_leave_nothing_in_the_way() {
    let folder = Folder::new();
    let (one, hears_one) = folder.join("a1");
    let (two, _) = folder.join("b2");
    until(|| one.members() == names(&["b2"]));
    drop(two);
    until(|| one.members().is_empty());
    // One that was killed leaves its socket.
    let stale = folder.0.join("dead.sock");
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let socket = socket.expect("a socket");
    bind(&socket, &SocketAddrUnix::new(&stale).expect("short")).expect("free");
    listen(&socket, 1).expect("bound");
    drop(socket);
    let (again, _) = folder.join("b2");
    assert!(!stale.exists());
    until(|| one.members() == names(&["b2"]));
    drop(one);
    until(|| again.members().is_empty());
    let (third, hears_third) = folder.join("c3");
    until(|| again.members() == names(&["c3"]));
    again.send(&frame(BROADCAST, mac(2), "hello"));
    assert!(hears_third.recv_timeout(LONG).is_ok());
    assert!(hears_one.try_recv().is_err());
    drop(third);
    drop(again);
    let left: Vec<_> = std::fs::read_dir(&folder.0).expect("there").flatten().collect();
    assert_eq!(left.len(), 1, "the lock only: {left:?}");
}

#[test]
fn a_member_that_floods_is_never_blocked_and_blocks_nobody() {
    const FRAMES: usize = 50_000;
    let folder = Folder::new();
    let gate = Arc::new(OnceLock::<()>::new());
    let (held, taken) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = taken.clone();
    let slow = folder.join_by("slow", move |_| {
        held.wait();
        counted.fetch_add(1, Ordering::Relaxed);
        true
    });
    let (quick, hears) = folder.join("quick");
    let (flood, _) = folder.join("flood");
    until(|| slow.members().len() == 2 && quick.members().len() == 2);
    let noise = frame(BROADCAST, mac(1), &"x".repeat(1_400));
    (0..FRAMES).for_each(|_| flood.send(&noise));
    let lost = flood.stats().frames_dropped;
    assert!(lost > 0, "what the slow one does not take is lost");
    // Whoever takes what comes gets on with its work all the while.
    quick.send(&frame(BROADCAST, mac(2), "still here"));
    gate.set(()).expect("once");
    until(|| {
        let stats = flood.stats();
        let heard = taken.load(Ordering::Relaxed) + hears.try_iter().count();
        stats.frames_sent == FRAMES as u64 && heard > 0
    });
}

#[test]
fn what_is_no_frame_is_counted_and_lost() {
    let folder = Folder::new();
    let (one, _) = folder.join("a1");
    let (two, hears) = folder.join("b2");
    until(|| one.members().len() == 1);
    let wire = raw(&folder.0.join("b2.sock"));
    send(&wire, b"\x01\x01evil", SendFlags::empty()).expect("open");
    until(|| two.members().contains("evil"));
    let bad: [&[u8]; 4] = [
        &[],
        &[0; 13],
        // From a group, and from nobody.
        &frame(mac(2), BROADCAST, "x"),
        &frame(mac(2), [0; 6], "x"),
    ];
    for frame in bad {
        one.send(frame);
        send(&wire, &[&[2], frame].concat(), SendFlags::empty()).expect("open");
    }
    assert_eq!(one.stats().frames_malformed, 4);
    until(|| two.stats().frames_malformed == 4);
    one.send(&frame(mac(2), mac(1), "sound"));
    assert!(hears.recv_timeout(LONG).is_ok_and(|heard| heard.ends_with(b"sound")));
    assert!(hears.try_recv().is_err());
}

#[test]
fn whoever_does_not_speak_as_members_do_is_shown_the_door() {
    let folder = Folder::new();
    let (one, hears) = folder.join("a1");
    let (two, _) = folder.join("b2");
    let huge = vec![2; 60_000];
    let words: [&[&[u8]]; 8] = [
        &[b"\x07"],
        // A frame, or a marker, of somebody who has not said who it is.
        &[&[&[2][..], &frame(mac(1), mac(3), "x")].concat()],
        &[&[3; 17]],
        &[b"\x01\x01../../etc"],
        &[b"\x01\x02late"],
        &[b"\x01\x01a1"],
        &[b"\x01\x01evil", b"\x01\x01evil"],
        &[b"\x01\x01evil", &huge],
    ];
    for (count, said) in (1..).zip(words) {
        let wire = raw(&folder.0.join("a1.sock"));
        for packet in said {
            // It may have been shown the door already.
            let _ = send(&wire, packet, SendFlags::NOSIGNAL);
        }
        until(|| one.stats().peers_refused == count);
    }
    until(|| one.members() == names(&["b2"]));
    two.send(&frame(BROADCAST, mac(2), "unharmed"));
    assert!(hears.recv_timeout(LONG).is_ok_and(|heard| heard.ends_with(b"unharmed")));
}

#[test]
fn a_cut_holds_what_is_in_flight_and_fails_by_the_name_of_who_left() {
    let folder = Folder::new();
    let (one, _hears_one) = folder.join("a1");
    let (two, _hears_two) = folder.join("b2");
    until(|| one.members().len() == 1 && two.members().len() == 1);
    let (id, all) = (CutId([7; 16]), names(&["a1", "b2"]));
    assert!(matches!(one.arm(id, &names(&["a1"]), Box::new(|| true)), Err(CutError::Unsettled(_))));
    let (tell, seals) = channel();
    let tell_two = tell.clone();
    one.arm(id, &all, Box::new(move || tell.send(1).is_ok())).expect("armed");
    two.arm(id, &all, Box::new(move || tell_two.send(2).is_ok())).expect("armed");
    assert_eq!(one.arm(CutId([8; 16]), &all, Box::new(|| true)), Err(CutError::Busy));
    one.begin(id).expect("armed");
    assert_eq!(seals.recv_timeout(LONG), Ok(1));
    one.sealed(id);
    assert_eq!(seals.recv_timeout(LONG), Ok(2), "the marker asks the other to seal");
    // Sent by one that is not sealed yet, to one that is.
    two.send(&frame(BROADCAST, mac(2), "in flight"));
    two.sealed(id);
    two.send(&frame(BROADCAST, mac(2), "after"));
    let in_flight = one.in_flight(id, LONG).expect("whole");
    assert!(matches!(&in_flight[..], [frame] if frame.ends_with(b"in flight")));
    assert_eq!(two.in_flight(id, LONG), Ok(vec![]));
    one.disarm(id);
    two.disarm(id);
    assert_eq!(one.in_flight(id, LONG), Err(CutError::Unknown));
    // Once more, and one goes in the middle.
    one.arm(id, &all, Box::new(|| true)).expect("armed");
    two.arm(id, &all, Box::new(|| true)).expect("armed");
    one.begin(id).expect("armed");
    one.sealed(id);
    let late = one.in_flight(id, Duration::ZERO);
    assert_eq!(late, Err(CutError::Late("b2".into())));
    drop(two);
    assert_eq!(one.in_flight(id, LONG), Err(CutError::Left("b2".into())));
}
