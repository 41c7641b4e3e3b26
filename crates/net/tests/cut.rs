//! Cuts of a simulated switch at random instants, under seeds: nothing is in a cut twice, nothing
//! is missing, and no machine holds what its sender has not sent.

use omni_net::{Arrival, CutError, CutId, Link, PeerKey, Port, Sent};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// Seeds, unless `OMNI_CUT_SEEDS` says another number.
const SEEDS: u64 = 400;

const TOKENS: u64 = 1_000;

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("small") % end
    }
}

/// A way with little room, so that much waits at its beginning.
#[derive(Clone)]
struct Way {
    packets: Rc<RefCell<VecDeque<Vec<u8>>>>,
    room: usize,
}

impl Link for Way {
    fn send(&mut self, packet: &[u8]) -> Sent {
        let mut packets = self.packets.borrow_mut();
        if packets.len() >= self.room {
            return Sent::Full;
        }
        packets.push_back(packet.to_vec());
        Sent::Done
    }
}

/// What a machine is: tokens that it hands on, and what it has said to all and heard of each.
#[derive(Clone, Default)]
struct State {
    tokens: u64,
    said: u64,
    heard: BTreeMap<usize, Vec<u64>>,
}

impl State {
    fn apply(&mut self, own: usize, frame: &[u8]) {
        let (from, number) = (usize::from(frame[11]), u64::from_be_bytes(eight(frame)));
        match frame[0] {
            0xff => self.heard.entry(from).or_default().push(number),
            _ if frame[..6] == mac(own) => self.tokens += number,
            // For somebody else: it was not known where that is.
            _ => {}
        }
    }
}

enum Item {
    Frame(Vec<u8>),
    Seal(CutId),
}

struct Node {
    port: Port<Way>,
    state: State,
    queue: VecDeque<Item>,
    sealed: Option<State>,
    /// The ways from others, and which of our peers each is.
    ways: Vec<(PeerKey, Way)>,
}

struct World {
    nodes: Vec<Node>,
    dice: Dice,
    now: u64,
}

fn eight(frame: &[u8]) -> [u8; 8] {
    frame[14..22].try_into().expect("eight")
}

fn mac(node: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, u8::try_from(node).expect("few")]
}

fn name(node: usize) -> String {
    format!("n{node}")
}

fn frame(to: [u8; 6], from: usize, number: u64) -> Vec<u8> {
    [&to[..], &mac(from), &[0x88, 0xb5], &number.to_be_bytes()].concat()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let count = 2 + dice.below(5);
        let node = |at| Node {
            port: Port::new(&name(at)),
            state: State { tokens: TOKENS, ..State::default() },
            queue: VecDeque::new(),
            sealed: None,
            ways: Vec::new(),
        };
        let mut nodes: Vec<Node> = (0..count).map(node).collect();
        for joins in 1..count {
            for there in 0..joins {
                let room = 1 + dice.below(5);
                let way = || Way { packets: Rc::default(), room };
                let (to, back) = (way(), way());
                let key = nodes[joins].port.connect(to.clone(), Some(name(there)));
                nodes[joins].ways.push((key, back.clone()));
                let key = nodes[there].port.connect(back, None);
                nodes[there].ways.push((key, to));
            }
        }
        let mut world = Self { nodes, dice, now: 0 };
        // Everybody is to have heard who the others are.
        for at in 0..count {
            for way in 0..count - 1 {
                world.carry(at, way);
            }
        }
        world
    }

    fn some(&mut self) -> usize {
        self.dice.below(self.nodes.len())
    }

    /// Something happens somewhere.
    fn step(&mut self) {
        self.now += 1;
        let (at, way) = (self.some(), self.dice.below(self.nodes.len() - 1));
        // Where much waits already, more would be lost.
        let crowded = self.nodes[at].port.links().any(|(_, _, waits)| waits);
        match self.dice.below(8) {
            0 if !crowded => (0..self.dice.below(9)).for_each(|_| self.say(at)),
            1 if !crowded => (0..self.dice.below(9)).for_each(|_| self.hand_on(at)),
            2 | 3 => self.live(at),
            4 => {
                let key = self.nodes[at].ways[way].0;
                self.nodes[at].port.flush(key);
            }
            _ => self.carry(at, way),
        }
    }

    fn say(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.state.said += 1;
        node.port.send(&frame([0xff; 6], at, node.state.said), self.now);
    }

    fn hand_on(&mut self, at: usize) {
        let to = self.some();
        let node = &mut self.nodes[at];
        if to == at || node.state.tokens == 0 {
            return;
        }
        let some = 1 + node.state.tokens / 3;
        node.state.tokens -= some;
        node.port.send(&frame(mac(to), at, some), self.now);
    }

    /// The machine takes what waits first, or is sealed.
    fn live(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        match node.queue.pop_front() {
            Some(Item::Frame(frame)) => node.state.apply(at, &frame),
            Some(Item::Seal(id)) => {
                node.sealed = Some(node.state.clone());
                node.port.sealed(id);
            }
            None => {}
        }
    }

    /// A packet arrives.
    fn carry(&mut self, at: usize, way: usize) {
        let node = &mut self.nodes[at];
        let (key, way) = &node.ways[way];
        let Some(packet) = way.packets.borrow_mut().pop_front() else { return };
        match node.port.take(*key, &packet, self.now) {
            Arrival::Nothing => {}
            Arrival::Refused => panic!("all are members"),
            Arrival::Frame(frame) => {
                node.port.delivered(*key, frame, true);
                node.queue.push_back(Item::Frame(frame.to_vec()));
            }
            Arrival::Seal(id) => node.queue.push_back(Item::Seal(id)),
        }
    }

    /// A cut that begins anywhere, while everything goes on.
    fn cut(&mut self, id: CutId) -> Vec<(State, Vec<Vec<u8>>)> {
        let all: BTreeSet<String> = (0..self.nodes.len()).map(name).collect();
        for node in &mut self.nodes {
            node.sealed = None;
            node.port.arm(id, &all).expect("all are connected");
        }
        for _ in 0..=self.dice.below(3) {
            let at = self.some();
            let node = &mut self.nodes[at];
            if node.port.begin(id).expect("armed") {
                node.queue.push_back(Item::Seal(id));
            }
            (0..self.dice.below(20)).for_each(|_| self.step());
        }
        let mut steps = 0;
        let whole = |node: &mut Node| node.port.in_flight(id).expect("nobody leaves").is_some();
        while !self.nodes.iter_mut().all(whole) {
            self.step();
            steps += 1;
            assert!(steps < 1_000_000, "it comes to an end");
        }
        (0..self.dice.below(50)).for_each(|_| self.step());
        let parts = self.nodes.iter_mut().map(|node| {
            let frames = node.port.in_flight(id).expect("whole").expect("whole");
            node.port.disarm(id);
            (node.sealed.take().expect("sealed"), frames)
        });
        parts.collect()
    }
}

/// Nothing is lost, nothing is double, nothing comes before it was sent.
fn check(parts: &[(State, Vec<Vec<u8>>)]) {
    let mut tokens = 0;
    for (at, (state, frames)) in parts.iter().enumerate() {
        // What a restored machine becomes by what is in flight.
        let mut state = state.clone();
        frames.iter().for_each(|frame| state.apply(at, frame));
        tokens += state.tokens;
        for (from, (sender, _)) in parts.iter().enumerate().filter(|(from, _)| *from != at) {
            let heard = state.heard.remove(&from).unwrap_or_default();
            assert!(heard.into_iter().eq(1..=sender.said), "what {at} has of {from}");
        }
    }
    assert_eq!(tokens, TOKENS * parts.len() as u64);
}

#[test]
fn a_cut_at_any_instant_holds_every_frame_once() {
    let seeds = std::env::var("OMNI_CUT_SEEDS").ok().and_then(|text| text.parse().ok());
    let mut in_flight = 0;
    for seed in 0..seeds.unwrap_or(SEEDS) {
        let mut world = World::new(seed);
        for number in 0..5 {
            (0..world.dice.below(200)).for_each(|_| world.step());
            let parts = world.cut(CutId([number; 16]));
            in_flight += parts.iter().map(|(_, frames)| frames.len()).sum::<usize>();
            check(&parts);
        }
        let dropped = world.nodes.iter().map(|node| node.port.stats().frames_dropped);
        assert_eq!(dropped.sum::<u64>(), 0, "nothing is to be lost here: seed {seed}");
    }
    assert!(in_flight > 1_000, "cuts without frames in flight show nothing: {in_flight}");
}

#[test]
fn a_member_that_goes_before_its_part_is_done_is_named_by_all_that_wait_for_it() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        let (id, count) = (CutId([1; 16]), world.nodes.len());
        let all: BTreeSet<String> = (0..count).map(name).collect();
        for node in &mut world.nodes {
            node.port.arm(id, &all).expect("all are connected");
        }
        assert!(world.nodes[0].port.begin(id).expect("armed"));
        world.nodes[0].port.sealed(id);
        let last = count - 1;
        for node in &mut world.nodes[..last] {
            let (key, _) = node.ways.last().expect("connected").clone();
            node.port.disconnect(key);
        }
        let failed = world.nodes[0].port.in_flight(id);
        assert_eq!(failed, Err(CutError::Left(name(last))), "seed {seed}");
    }
}
