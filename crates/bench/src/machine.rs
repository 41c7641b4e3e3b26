//! A machine of ours as a program with its console on standard input and output: what is measured
//! is a process that does nothing else, as those of other emulators are.

use crate::BenchError;
use crate::compile::at;
use crate::peer::KIND;
use omni_base::PAGE_SIZE;
use omni_host::{Backends, Disk, DiskSource, Item, Queue, Runner, TempDir, blob_of};
use omni_kinds::kind_of;
use omni_machine::{DiskSpec, Event, IoOp, IoRequest, PortId, PortInfo, PortKind, Spec};
use omni_memory::{Memory, frames_used};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// "Input/output error", for requests of devices that this machine has not.
const EIO: u16 = 5;

/// The largest kernel or program.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// What the last line begins with: ticks and bytes of guest memory held follow.
pub(crate) const LAST_WORDS: &str = "omni-bench-ended";

/// Runs a machine made from `OPTION=VALUE`, `ROLE@FILE` and `disk@FILE`, by the tiers that this
/// process has chosen as [`TIER_VARIABLE`](crate::TIER_VARIABLE) says, until it ends or standard
/// input does; its last line tells what it came to.
///
/// # Errors
/// Where a file cannot be read or the machine cannot be made.
pub fn run_machine(words: &[String]) -> Result<(), BenchError> {
    let scratch = TempDir::new("bench").map_err(at(Path::new("a temporary folder")))?;
    let mut spec = Spec::new(KIND);
    let mut disks = vec![];
    for word in words {
        match word.split_once(['=', '@']) {
            Some((name, value)) if word[name.len()..].starts_with('=') => {
                spec.options.insert(name.into(), value.into());
            }
            Some(("disk", path)) => {
                let overlay = scratch.path().join(format!("disk-{}", disks.len()));
                let disk = Disk::open(&DiskSource::new(Path::new(path)), Some(&overlay))?;
                let (bytes, image) = (disk.bytes(), disk.image().clone());
                spec.disks.push(DiskSpec { bytes, read_only: false, image });
                disks.push(disk);
            }
            Some((role, path)) => {
                let blob = blob_of(Path::new(path), FILE_BYTES_MAX, scratch.path());
                spec.files.insert(role.into(), blob.map_err(at(Path::new(path)))?);
            }
            None => return Err(BenchError::Word { word: word.clone() }),
        }
    }
    live(&spec, disks)
}

fn live(spec: &Spec, disks: Vec<Disk>) -> Result<(), BenchError> {
    let kind = kind_of(&spec.kind)?;
    let ports = kind.ports(spec)?;
    let machine = kind.create(spec)?;
    let queue = Arc::new(Queue::default());
    let world = World::new(&ports, disks, &queue);
    let console = world.console;
    let listener = queue.clone();
    // Ends with the process: a read from standard input cannot be called off.
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        let mut stdin = io::stdin().lock();
        while let Ok(count @ 1..) = stdin.read(&mut bytes) {
            if !console.is_some_and(|console| listener.push_input(console, &bytes[..count])) {
                return;
            }
        }
        listener.push(Item::Kill);
    });
    let mut runner = Runner::new(machine, queue.clone(), world, None);
    runner.run();
    queue.close();
    let (machine, _) = runner.into_parts();
    let bytes = frames_used() * PAGE_SIZE as u64;
    // Whoever measures may have gone.
    let _ = writeln!(io::stdout(), "\n{LAST_WORDS} {} {bytes}", machine.tick().0);
    Ok(())
}

/// The console, and disks whose writes nobody keeps.
struct World {
    queue: Arc<Queue>,
    console: Option<PortId>,
    disks: Vec<(PortId, String, Disk)>,
}

impl World {
    fn new(ports: &[PortInfo], disks: Vec<Disk>, queue: &Arc<Queue>) -> Self {
        let consoles = ports.iter().filter(|port| port.kind == PortKind::Console);
        let console = { consoles }.next().map(|port| port.id);
        let spaces = ports.iter().filter_map(|port| match &port.kind {
            PortKind::Disk { space } => Some((port.id, space.clone())),
            PortKind::Console | PortKind::Net { .. } | PortKind::Files => None,
        });
        let disks = spaces.zip(disks).map(|((port, space), disk)| (port, space, disk)).collect();
        Self { queue: queue.clone(), console, disks }
    }
}

impl Backends for World {
    fn output(&mut self, port: PortId, bytes: Vec<u8>) {
        if Some(port) == self.console {
            let mut stdout = io::stdout().lock();
            // Whoever measures may have gone.
            let _ = stdout.write_all(&bytes).and_then(|()| stdout.flush());
        }
    }

    fn request(&mut self, request: IoRequest, memory: &mut Memory) {
        let disk = self.disks.iter_mut().find(|(port, ..)| *port == request.port);
        if let (IoOp::Flush, Some((_, name, disk))) = (&request.op, disk)
            && let Some(space) = memory.spaces.iter_mut().find(|space| space.name() == *name)
        {
            disk.flush(&space.seal().image, &self.queue, request.id);
            return;
        }
        self.queue.push(Item::Event(Event::IoDone { id: request.id, result: Err(EIO) }));
    }

    fn rest(&mut self) {}

    fn full(&self) -> bool {
        false
    }
}
