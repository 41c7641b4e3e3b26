//! The protocol byte by byte: a story by a debugger that knows no such machine, and debuggers
//! that mean no good.

use crate::alive::{Alive, debugged};
use crate::wires::{Script, packet};
use omni_debug::{DebugError, End, History, Life, Present, serve};
use omni_kinds::{Sample, samples};
use omni_machine::digest;

fn sample(name: &str) -> Sample {
    samples().into_iter().find(|sample| sample.name == name).expect("a sample")
}

fn speak(sample: &Sample, script: &mut Script) -> (Alive, Result<End, DebugError>) {
    let mut alive = Alive::new(sample);
    let history = History::new(crate::alive::kinds(), alive.machine()).expect("it replays");
    let end = serve(&mut alive, history, script);
    (alive, end)
}

/// The bodies of the packets that were said, with no acknowledgements.
fn bodies(said: &[u8]) -> Vec<String> {
    let parts = said.split(|byte| *byte == b'$').skip(1);
    parts.map(|part| whole(part.split(|byte| *byte == b'#').next().unwrap_or_default())).collect()
}

/// A body whose runs of one byte are written out.
fn whole(body: &[u8]) -> String {
    let (mut text, mut bytes) = (String::new(), body.iter());
    while let Some(byte) = bytes.next() {
        if *byte == b'*' {
            let count = usize::from(*bytes.next().expect("a count follows")) - 29;
            let last = text.chars().last().expect("it follows what is repeated");
            text.extend(std::iter::repeat_n(last, count));
        } else {
            text.push(char::from(*byte));
        }
    }
    text
}

#[test]
fn a_story_is_debugged_by_its_description_alone() {
    let asked: &[&[u8]] = &[
        b"qSupported:swbreak+;hwbreak+",
        b"QStartNoAckMode",
        b"qXfer:features:read:target.xml:0,400",
        b"?",
        b"g",
        b"m4,4",
        b"p0",
        b"vCont;s:p1.1",
        b"p0",
        b"bs",
        b"p0",
        b"Z2,40,40",
        b"vCont;c",
        b"bc",
        b"z2,40,40",
        b"bc",
        b"D;1",
    ];
    let parts = asked.iter().flat_map(|body| [packet(body), b"+".to_vec()]);
    let mut script = Script::new(parts);
    script.gap = 2000;
    let (_, end) = speak(&sample("story"), &mut script);
    assert_eq!(end.expect("it is sound"), End::Detached);
    let said = bodies(&script.said);
    assert!(said[0].contains("ReverseContinue+;ReverseStep+"), "{}", said[0]);
    assert!(said[2].contains("org.omnivisor.zmachine.core"), "{}", said[2]);
    assert!(said[3].starts_with("T05"), "{said:?}");
    let registers = 4 * 4 * 2;
    assert_eq!(said[4].len(), registers, "four counters of 32 bits");
    assert_eq!(&said[4][..8], said[6], "the counter is the first");
    assert_ne!(said[6], said[8], "a step goes on");
    assert_eq!(said[6], said[10], "and a step back goes back");
    assert_eq!(said[11], "OK");
    let stops = &said[12..16];
    assert!(stops.iter().all(|said| said.starts_with('T') || said == "OK"), "{said:?}");
    assert!(stops[3].contains("replaylog:begin"), "{said:?}");
}

/// Numbers that only look random.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound as u64).expect("below it")
    }
}

/// Something a debugger might say, or nearly.
fn hostile(random: &mut Random) -> Vec<u8> {
    const SAID: &[&[u8]] = &[
        b"qSupported:xmlRegisters=riscv;multiprocess+;vContSupported+",
        b"qXfer:features:read:target.xml:ffffffffffffffff,fff",
        b"qXfer:features:read:target.xml:0,ffffffffffffffff",
        b"qfThreadInfo",
        b"qThreadExtraInfo,p1.1",
        b"Hgp1.1",
        b"Hcp-1.-1",
        b"Hg7fffffff",
        b"g",
        b"G00",
        b"p20",
        b"pffffffffffffffff",
        b"P20=00000000000000ff",
        b"m80000000,40",
        b"m0,40",
        b"mffffffffffffffff,1",
        b"M80000000,4:00000000",
        b"M80000000,4:0000",
        b"X80000000,2:ab",
        b"Z0,80000000,2",
        b"z0,80000000,2",
        b"Z2,80000000,ffffffffffffffff",
        b"Z2,0,40",
        b"Z4,80000000,8",
        b"vCont?",
        b"vCont;c",
        b"vCont;s:p1.1",
        b"vCont;s:p1.7fffffff;c",
        b"bs",
        b"bc",
        b"c",
        b"s",
        b"qRcmd,7768656e",
        b"qRcmd,676f746f203939",
        b"qRcmd,726577696e642031733939393939393939393939",
        b"qRcmd,ff",
        b"?",
    ];
    let mut body = SAID[random.below(SAID.len())].to_vec();
    let changes = if random.below(8) == 0 { 1 + random.below(3) } else { 0 };
    for _ in 0..changes {
        let at = random.below(body.len().max(1));
        match random.below(4) {
            0 if !body.is_empty() => body[at] = (random.below(256) & 0xff) as u8,
            1 if !body.is_empty() => drop(body.remove(at)),
            2 => body.insert(at, b"0123456789abcdef,;:-$#}*"[random.below(24)]),
            _ => body.extend_from_within(..at.min(body.len())),
        }
    }
    match random.below(12) {
        0 => vec![3],
        1 if changes > 0 => body,
        _ => packet(&body),
    }
}

#[test]
fn hostile_debuggers_neither_hang_nor_crash_a_machine() {
    let mut answers = 0;
    for sample in debugged() {
        for seed in 1..60 {
            let mut random = Random(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
            let parts: Vec<_> = (0..60).map(|_| hostile(&mut random)).collect();
            let mut script = Script::new(parts);
            // However it ends, the machine is there and lives on.
            let (mut alive, _) = speak(&sample, &mut script);
            answers += bodies(&script.said).len();
            assert_ne!(alive.step(), Life::Hit(hit_of_nothing()));
            digest(alive.machine());
        }
    }
    assert!(answers > 1000, "only {answers} answers were had");
}

fn hit_of_nothing() -> omni_machine::Hit {
    omni_machine::Hit {
        thread: omni_machine::ThreadId(0),
        point: omni_machine::StopPoint::Break(0),
        at: 0,
        after: false,
    }
}

#[test]
fn a_debugger_that_only_looks_is_not_noticed() {
    for sample in debugged() {
        let looks: &[&[u8]] = &[
            b"qSupported:swbreak+",
            b"g",
            b"m80000000,200",
            b"Z0,80000000,2",
            b"vCont;s:p1.1",
            b"vCont;s:p1.1",
            b"bs",
            b"vCont;c",
            b"bc",
            b"z0,80000000,2",
            b"D",
        ];
        let parts = looks.iter().flat_map(|body| [packet(body), b"+".to_vec(), vec![3]]);
        let (mut alive, end) = speak(&sample, &mut Script::new(parts));
        assert_eq!(end.expect("it is sound"), End::Detached);
        while alive.live() != Life::Ended {}
        let mut other = Alive::new(&sample);
        while other.live() != Life::Ended {}
        assert_eq!(digest(alive.machine()), digest(other.machine()), "{}", sample.name);
    }
}
