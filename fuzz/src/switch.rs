//! A port of a switch whose peers say what they like.

use crate::bytes::Choices;
use omni_net::{Arrival, CutId, Link, Port, Sent};
use std::collections::BTreeSet;

/// A way that has room for as many packets, and then none, and then is gone.
struct Way(u8);

impl Link for Way {
    fn send(&mut self, packet: &[u8]) -> Sent {
        assert!(!packet.is_empty() && packet.len() <= 9217);
        self.0 = self.0.wrapping_sub(1);
        match self.0 {
            0..=3 => Sent::Gone,
            4..=40 => Sent::Full,
            _ => Sent::Done,
        }
    }
}

/// Packets of peers, frames of the machine, peers that come and go, and cuts.
pub fn switch_packets(data: &[u8]) {
    let mut from = Choices(data);
    let mut port = Port::new("a0");
    let (id, all) = (CutId([1; 16]), BTreeSet::from(["a0", "b1"].map(str::to_owned)));
    let mut keys = vec![port.connect(Way(255), Some("b1".into()))];
    let mut now = 0;
    while !from.is_empty() {
        now += u64::from(from.u8());
        let key = keys[usize::from(from.u8()) % keys.len()];
        match from.u8() % 10 {
            0 if keys.len() < 64 => keys.push(port.connect(Way(from.u8()), None)),
            1 => drop(port.disconnect(key)),
            2 => port.flush(key),
            3 => drop(port.arm(id, &all)),
            4 => drop(port.begin(id)),
            5 => port.sealed(id),
            6 => port.disarm(id),
            7 => {
                let count = usize::from(from.u8() % 40);
                port.send(from.take(count), now);
            }
            _ => {
                let count = usize::from(from.u8() % 40);
                match port.take(key, from.take(count), now) {
                    Arrival::Frame(frame) => port.delivered(key, frame, now % 3 > 0),
                    Arrival::Nothing | Arrival::Seal(_) => {}
                    Arrival::Refused => drop(port.disconnect(key)),
                }
            }
        }
        let _ = port.in_flight(id);
        assert!(port.stats().addresses <= 1024 && port.members().len() <= keys.len());
    }
}
