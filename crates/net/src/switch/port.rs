//! A member's port of a switch: where frames go, what waits, and cuts. It knows no sockets.

use super::cut::{Cut, CutError, CutId};
use super::packet::{FRAME_BYTES_MIN, Packet};
use super::table::{Mac, MacTable, is_group};
use crate::segment::FRAME_BYTES_MAX;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Packets that wait for one peer; more frames are dropped.
const WAITING_MAX: usize = 1_024;

/// Names a connection to another member, for as long as the port lives.
pub type PeerKey = u64;

/// A way to one other member, in order and without loss.
pub trait Link {
    /// Sends one packet whole, or says why not now. It does not wait.
    fn send(&mut self, packet: &[u8]) -> Sent;
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is on its way.
    Done,
    /// There is no room for it now.
    Full,
    /// Nothing will ever arrive there again.
    Gone,
}

/// What a packet of a peer brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival<'p> {
    /// Nothing for the machine.
    Nothing,
    /// A frame for the machine: `delivered` must be told what became of it.
    Frame(&'p [u8]),
    /// It was no packet of a member: the peer is to be disconnected.
    Refused,
    /// The machine is to be sealed for this cut, once it has taken the frames that were delivered
    /// so far.
    Seal(CutId),
}

/// What a port has counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SwitchStats {
    /// Frames of the machine that went out; those for several members count once.
    pub frames_sent: u64,
    /// Frames that were given to the machine.
    pub frames_received: u64,
    /// Frames that were lost since a peer or the machine did not take them fast enough.
    pub frames_dropped: u64,
    /// Frames that are none: too short, too long, or of an address that no sender has.
    pub frames_malformed: u64,
    /// Connections that were ended since what came was not the protocol of members.
    pub peers_refused: u64,
    /// Addresses that are known.
    pub addresses: usize,
}

struct Peer<L> {
    link: L,
    /// The id of its machine, once it has said so.
    member: Option<String>,
    waiting: VecDeque<Arc<[u8]>>,
    gone: bool,
}

/// A packet on its way to one or more peers. It is copied where it has to wait, and once for all.
struct Parcel<'b> {
    bytes: &'b [u8],
    waits: Option<Arc<[u8]>>,
}

impl<'b> Parcel<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, waits: None }
    }

    fn waiting(&mut self) -> Arc<[u8]> {
        self.waits.get_or_insert_with(|| self.bytes.into()).clone()
    }
}

/// The port of one member.
pub struct Port<L> {
    own: String,
    peers: BTreeMap<PeerKey, Peer<L>>,
    next: PeerKey,
    table: MacTable,
    cut: Option<Cut>,
    /// Something has begun to wait for room.
    stalled: bool,
    stats: SwitchStats,
    /// Where packets are made, so that each does not need memory of its own.
    packet: Vec<u8>,
}

impl<L: Link> Port<L> {
    /// The port of a machine of this id.
    #[must_use]
    pub fn new(own: &str) -> Self {
        Self {
            own: own.into(),
            peers: BTreeMap::new(),
            next: 0,
            table: MacTable::default(),
            cut: None,
            stalled: false,
            stats: SwitchStats::default(),
            packet: Vec::new(),
        }
    }

    /// Connects a peer. One that is not known by its id says it first of all; to one that is, it
    /// is said who this is.
    pub fn connect(&mut self, link: L, member: Option<String>) -> PeerKey {
        let key = self.next;
        self.next += 1;
        let known = member.is_some();
        self.peers.insert(key, Peer { link, member, waiting: VecDeque::new(), gone: false });
        if known {
            let hello = Packet::Hello(&self.own).to_bytes();
            self.put(key, &mut Parcel::new(&hello), true);
        }
        key
    }

    /// Forgets a peer. Says whether there was one.
    pub fn disconnect(&mut self, key: PeerKey) -> bool {
        let Some(peer) = self.peers.remove(&key) else { return false };
        self.table.forget(key);
        if let (Some(member), Some(cut)) = (&peer.member, &mut self.cut) {
            cut.left(member);
        }
        true
    }

    /// The machine has ended: there are no peers any more, and no cut.
    pub fn close(&mut self) {
        if let Some(cut) = &mut self.cut {
            cut.fail(CutError::Unsealed);
        }
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            self.disconnect(key);
        }
    }

    /// A frame of the machine: to where its address is, or to everybody.
    pub fn send(&mut self, frame: &[u8], now_ms: u64) {
        let Some((to, _)) = addresses(frame) else {
            self.stats.frames_malformed += 1;
            return;
        };
        let mut packet = std::mem::take(&mut self.packet);
        Packet::Frame(frame).write(&mut packet);
        let mut parcel = Parcel::new(&packet);
        self.stats.frames_sent += 1;
        let one = if is_group(to) { None } else { self.table.find(to, now_ms) };
        if let Some(key) = one.filter(|key| self.peers.contains_key(key)) {
            self.put(key, &mut parcel, false);
        } else {
            let known = self.peers.iter().filter(|(_, peer)| peer.member.is_some());
            let keys: Vec<PeerKey> = known.map(|(key, _)| *key).collect();
            keys.into_iter().for_each(|key| self.put(key, &mut parcel, false));
        }
        self.packet = packet;
    }

    /// A packet of a peer.
    pub fn take<'p>(&mut self, key: PeerKey, packet: &'p [u8], now_ms: u64) -> Arrival<'p> {
        let arrival = self.taken(key, packet, now_ms);
        self.stats.peers_refused += u64::from(arrival.is_none());
        arrival.unwrap_or(Arrival::Refused)
    }

    fn taken<'p>(&mut self, key: PeerKey, packet: &'p [u8], now_ms: u64) -> Option<Arrival<'p>> {
        let packet = Packet::of(packet)?;
        let member = self.peers.get(&key)?.member.as_deref();
        match (packet, member) {
            (Packet::Hello(name), None) if name != self.own => {
                self.hello(key, name);
                Some(Arrival::Nothing)
            }
            (Packet::Frame(frame), Some(_)) => Some(self.frame(key, frame, now_ms)),
            (Packet::Marker(id), Some(member)) => {
                // One of a cut that was given up comes late, and means nothing.
                let cut = self.cut.as_mut().filter(|cut| cut.id == id);
                let seal = cut.is_some_and(|cut| cut.marker(member));
                Some(if seal { Arrival::Seal(id) } else { Arrival::Nothing })
            }
            _ => None,
        }
    }

    /// A peer says who it is. One that comes again has left before, whether we have seen it or not.
    fn hello(&mut self, key: PeerKey, name: &str) {
        let same = |peer: &Peer<L>| peer.member.as_deref() == Some(name);
        let before: Vec<PeerKey> =
            self.peers.iter().filter(|(_, peer)| same(peer)).map(|(key, _)| *key).collect();
        for old in before {
            self.disconnect(old);
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.member = Some(name.to_owned());
        }
    }

    fn frame<'p>(&mut self, key: PeerKey, frame: &'p [u8], now_ms: u64) -> Arrival<'p> {
        let Some((_, from)) = addresses(frame) else {
            self.stats.frames_malformed += 1;
            return Arrival::Nothing;
        };
        self.table.learn(from, key, now_ms);
        Arrival::Frame(frame)
    }

    /// What became of a frame that `take` gave: whether it is on its way into the machine.
    pub fn delivered(&mut self, key: PeerKey, frame: &[u8], taken: bool) {
        if !taken {
            self.stats.frames_dropped += 1;
            return;
        }
        self.stats.frames_received += 1;
        let member = self.peers.get(&key).and_then(|peer| peer.member.as_ref());
        if let (Some(member), Some(cut)) = (member, &mut self.cut) {
            cut.frame(member, frame);
        }
    }

    /// There may be room again: sends what waits for a peer.
    pub fn flush(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        while let Some(packet) = peer.waiting.front() {
            match peer.link.send(packet) {
                Sent::Done => peer.waiting.pop_front(),
                Sent::Full => return,
                Sent::Gone => {
                    peer.gone = true;
                    peer.waiting.clear();
                    return;
                }
            };
        }
    }

    /// Puts a packet on its way, behind what waits. Only frames are ever dropped.
    fn put(&mut self, key: PeerKey, packet: &mut Parcel<'_>, must: bool) {
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| !peer.gone) else { return };
        let sent = if peer.waiting.is_empty() { peer.link.send(packet.bytes) } else { Sent::Full };
        match sent {
            Sent::Done => {}
            Sent::Full if must || peer.waiting.len() < WAITING_MAX => {
                peer.waiting.push_back(packet.waiting());
                self.stalled = true;
            }
            Sent::Full => self.stats.frames_dropped += 1,
            Sent::Gone => {
                peer.gone = true;
                peer.waiting.clear();
            }
        }
    }

    /// Whether something has begun to wait for room since this was asked last.
    pub fn take_stalled(&mut self) -> bool {
        std::mem::take(&mut self.stalled)
    }

    /// Every connection: its name, its way, and whether something waits for room there.
    pub fn links(&self) -> impl Iterator<Item = (PeerKey, &L, bool)> {
        self.peers.iter().map(|(key, peer)| (*key, &peer.link, !peer.waiting.is_empty()))
    }

    /// The ids of the other members.
    #[must_use]
    pub fn members(&self) -> BTreeSet<String> {
        self.peers.values().filter_map(|peer| peer.member.clone()).collect()
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> SwitchStats {
        SwitchStats { addresses: self.table.len(), ..self.stats }
    }

    /// Makes ready for a cut of these members, of which this is one.
    ///
    /// # Errors
    /// Where another is under way, or others are connected than these.
    pub fn arm(&mut self, id: CutId, members: &BTreeSet<String>) -> Result<(), CutError> {
        if self.cut.is_some() {
            return Err(CutError::Busy);
        }
        let mut others = members.clone();
        let own = others.remove(&self.own);
        let here = self.members();
        if !own || here != others {
            let odd = here.symmetric_difference(&others).next();
            return Err(CutError::Unsettled(odd.unwrap_or(&self.own).clone()));
        }
        self.cut = Some(Cut::new(id, others));
        Ok(())
    }

    /// Begins the cut here. Says whether the machine is to be sealed, as it is for `Arrival::Seal`.
    ///
    /// # Errors
    /// Where it is not under way.
    pub fn begin(&mut self, id: CutId) -> Result<bool, CutError> {
        Ok(self.cut_of(id)?.begin())
    }

    /// The machine is sealed: whatever it sends from now on comes after the cut.
    pub fn sealed(&mut self, id: CutId) {
        let Ok(cut) = self.cut_of(id) else { return };
        cut.sealed();
        let marker = Packet::Marker(id).to_bytes();
        let mut parcel = Parcel::new(&marker);
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        keys.into_iter().for_each(|key| self.put(key, &mut parcel, true));
    }

    /// The machine could not be sealed.
    pub fn unsealed(&mut self, id: CutId) {
        if let Ok(cut) = self.cut_of(id) {
            cut.fail(CutError::Unsealed);
        }
    }

    /// The frames that were in flight towards the machine, once the cut is whole here.
    ///
    /// # Errors
    /// Why it never will be.
    pub fn in_flight(&mut self, id: CutId) -> Result<Option<Vec<Vec<u8>>>, CutError> {
        self.cut_of(id)?.done().map(|done| done.map(<[_]>::to_vec)).transpose()
    }

    /// What the cut waits for.
    pub fn late(&mut self, id: CutId) -> CutError {
        self.cut_of(id).map_or_else(|error| error, |cut| cut.late())
    }

    /// The cut is over, or given up.
    pub fn disarm(&mut self, id: CutId) {
        if self.cut.as_ref().is_some_and(|cut| cut.id == id) {
            self.cut = None;
        }
    }

    fn cut_of(&mut self, id: CutId) -> Result<&mut Cut, CutError> {
        self.cut.as_mut().filter(|cut| cut.id == id).ok_or(CutError::Unknown)
    }
}

/// To whom a frame is, and from whom, where it is one that can be sent.
fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    if !(FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&frame.len()) {
        return None;
    }
    let to: Mac = frame[..6].try_into().ok()?;
    let from: Mac = frame[6..12].try_into().ok()?;
    let sound = !is_group(from) && from != [0; 6];
    sound.then_some((to, from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    /// Counts what is sent there.
    struct Way(Rc<Cell<u32>>);

    impl Link for Way {
        fn send(&mut self, _: &[u8]) -> Sent {
            self.0.set(self.0.get() + 1);
            Sent::Done
        }
    }

    #[test]
    fn a_member_that_comes_again_is_there_once_and_hears_each_frame_once() {
        let hello = Packet::Hello("b1").to_bytes();
        let ways: [Rc<Cell<u32>>; 2] = Default::default();
        let mut port = Port::new("a0");
        let keys = ways.each_ref().map(|way| {
            let key = port.connect(Way(way.clone()), None);
            assert_eq!(port.take(key, &hello, 0), Arrival::Nothing);
            key
        });
        assert_eq!(port.links().map(|(key, ..)| key).collect::<Vec<_>>(), [keys[1]]);
        port.send(&[&[0xff; 6][..], &[2; 6], &[0; 2]].concat(), 0);
        assert_eq!(ways.map(|way| way.get()), [0, 1]);
    }
}
