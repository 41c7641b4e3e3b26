//! A made-up outside, a function of its seed: input in bursts at odd times, backends that answer
//! late, out of order, or with an error.

use omni_base::Tick;
use omni_lifecycle::World;
use omni_machine::{
    Control, Effect, Event, FileStat, FileType, FolderOp, IoOp, IoRequest, IoResult, PortId,
    PortInfo, PortKind,
};
use omni_state::{Field, Writer};
use std::collections::BTreeMap;

/// Inputs that a run sees, more or less.
const INPUTS: u64 = 80;

/// The error that a refusal gives (EIO).
const REFUSED: u16 = 5;

/// The error for a file that is not there (ENOENT).
const NO_FILE: u16 = 2;

/// The outside of a test.
#[derive(Clone, Debug)]
pub struct FakeWorld {
    random: u64,
    /// Events to come, by tick and order of making.
    due: BTreeMap<(u64, u64), Event>,
    made: u64,
    delay_max: u64,
    files: BTreeMap<String, Vec<u8>>,
}

impl FakeWorld {
    /// A world with inputs up to `until`, for a machine with these ports. Consoles are typed the
    /// script at, in pieces, over and over.
    #[must_use]
    pub fn new(seed: u64, until: Tick, ports: &[PortInfo], script: &[u8]) -> Self {
        let mut world = Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            due: BTreeMap::new(),
            made: 0,
            delay_max: (until.0 / 20).clamp(10, 1_000_000),
            files: BTreeMap::new(),
        };
        for port in ports {
            world.type_at(port, until, script);
        }
        world
    }

    /// A world where nothing happens but answers to requests.
    #[must_use]
    pub fn silent(seed: u64) -> Self {
        Self::new(seed, Tick(10_000), &[], &[])
    }

    /// Requests that are not answered yet.
    #[must_use]
    pub fn answers_due(&self) -> usize {
        self.due.values().filter(|event| matches!(event, Event::IoDone { .. })).count()
    }

    fn type_at(&mut self, port: &PortInfo, until: Tick, script: &[u8]) {
        let (mut tick, mut at) = (0, 0);
        loop {
            // A quarter of the inputs come in a burst, at the tick of the one before.
            if self.below(4) != 0 {
                tick += 1 + self.below(until.0 / INPUTS * 2 + 1);
            }
            if tick >= until.0 {
                return;
            }
            let event = match &port.kind {
                PortKind::Console if self.below(10) == 0 => {
                    let (columns, rows) = (20 + self.short(200), 5 + self.short(60));
                    Event::Control(Control::Resize { port: port.id, columns, rows })
                }
                PortKind::Console => {
                    let bytes = self.piece(script, &mut at);
                    Event::Input { port: port.id, bytes }
                }
                PortKind::Net { mac } => Event::Input { port: port.id, bytes: self.frame(*mac) },
                PortKind::Disk { .. } | PortKind::Files => return,
            };
            self.put(tick, event);
        }
    }

    /// The next few bytes of the script, or of noise where there is none.
    fn piece(&mut self, script: &[u8], at: &mut usize) -> Vec<u8> {
        let count = 1 + self.below(12);
        let byte = |world: &mut Self, at: usize| match script.get(at % script.len().max(1)) {
            Some(byte) => *byte,
            None => world.byte(),
        };
        let bytes = (0..count).map(|step| byte(self, *at + usize::from(step.to_le_bytes()[0])));
        let bytes: Vec<u8> = bytes.collect();
        *at += bytes.len();
        bytes
    }

    /// An Ethernet frame of noise, to the machine or to all.
    fn frame(&mut self, mac: [u8; 6]) -> Vec<u8> {
        let to = if self.below(2) == 0 { mac } else { [0xff; 6] };
        let count = 54 + self.below(1446);
        to.into_iter().chain((0..count).map(|_| self.byte())).collect()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }

    fn short(&mut self, bound: u16) -> u16 {
        u16::try_from(self.below(u64::from(bound))).expect("below a u16")
    }

    fn put(&mut self, tick: u64, event: Event) {
        self.made += 1;
        self.due.insert((tick, self.made), event);
    }

    fn answer(&mut self, request: &IoRequest) -> IoResult {
        if self.below(8) == 0 {
            return Err(REFUSED);
        }
        match &request.op {
            IoOp::Flush => Ok(vec![]),
            IoOp::SaveFile { name, bytes } => {
                self.files.insert(name.clone(), bytes.clone());
                Ok(vec![])
            }
            IoOp::LoadFile { name } => self.files.get(name).cloned().ok_or(NO_FILE),
            IoOp::Folder { op, .. } => self.in_folder(op),
        }
    }
}

impl FakeWorld {
    /// A folder with files and nothing else: enough for who reads and writes them.
    fn in_folder(&mut self, op: &FolderOp) -> IoResult {
        match op {
            FolderOp::Stat { path, .. } => {
                let bytes = self.files.get(path).ok_or(NO_FILE)?;
                let size = bytes.len() as u64;
                let (kind, times) = (FileType::Plain, [0; 3]);
                let stat = FileStat { kind, size, links: 1, inode: 1, device: 1, times };
                let mut out = Writer::default();
                stat.put(&mut out);
                Ok(out.0)
            }
            FolderOp::Create { path, .. } => {
                self.files.entry(path.clone()).or_default();
                Ok(vec![])
            }
            FolderOp::Read { path, at, count } => {
                let bytes = self.files.get(path).ok_or(NO_FILE)?;
                let skip = usize::try_from(*at).unwrap_or(usize::MAX);
                Ok(bytes.iter().skip(skip).take(*count as usize).copied().collect())
            }
            FolderOp::Write { path, at, bytes } => {
                let file = self.files.get_mut(path).ok_or(NO_FILE)?;
                file.truncate(usize::try_from(*at).unwrap_or(usize::MAX));
                file.extend_from_slice(bytes);
                Ok(vec![])
            }
            FolderOp::List { .. }
            | FolderOp::MakeFolder { .. }
            | FolderOp::RemoveFolder { .. }
            | FolderOp::Remove { .. }
            | FolderOp::Rename { .. }
            | FolderOp::Link { .. }
            | FolderOp::Symlink { .. }
            | FolderOp::ReadLink { .. }
            | FolderOp::SetSize { .. }
            | FolderOp::SetTimes { .. }
            | FolderOp::Sync { .. } => Err(REFUSED),
        }
    }
}

impl World for FakeWorld {
    fn take(&mut self, tick: Tick, effect: &Effect) {
        match effect {
            Effect::Output { port: PortId(_), .. } => {}
            Effect::Io(request) => {
                let result = self.answer(request);
                let delay = 1 + self.below(self.delay_max);
                self.put(tick.0.saturating_add(delay), Event::IoDone { id: request.id, result });
            }
        }
    }

    fn due(&self) -> Option<Tick> {
        self.due.keys().next().map(|(tick, _)| Tick(*tick))
    }

    fn pop(&mut self) -> Event {
        self.due.pop_first().expect("popped only when due").1
    }

    fn slice(&self) -> u64 {
        (self.delay_max / 16).max(1)
    }
}
