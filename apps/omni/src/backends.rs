//! Where the effects of one machine go: consoles, the network, disks, files.

use crate::failure::Failure;
use omni_control::{Entry, MachineFile};
use omni_host::{Backends, Console, Disk, FilesDir, Item, Queue};
use omni_machine::{Event, IoOp, IoRequest, IoResult, PortId, PortInfo, PortKind};
use omni_memory::Memory;
use omni_net::{NetHandle, Notify, Publish, UserNet, UserNetConfig};
use std::collections::BTreeMap;
use std::sync::Arc;

/// "Input/output error", for requests that no backend takes.
const EIO: u16 = 5;

/// A network, which a machine that sends nothing need not have.
enum Net {
    NotYet(Box<dyn FnOnce() -> Result<NetHandle, Failure> + Send>),
    Runs(NetHandle),
    /// The host had no room for it.
    Dead,
}

/// The backends of one machine.
pub(crate) struct World {
    queue: Arc<Queue>,
    consoles: BTreeMap<PortId, Arc<Console>>,
    /// The console that people see: the first that the kind names.
    attached: Option<PortId>,
    networks: BTreeMap<PortId, Net>,
    /// The space of each disk's port, and the disk.
    disks: BTreeMap<PortId, (String, Disk)>,
    files: FilesDir,
}

impl World {
    /// Connects the ports of a machine. Where it is `lazy`, what the machine may never use is made
    /// when it does.
    pub(crate) fn new(
        entry: &Entry,
        ports: &[PortInfo],
        disks: Vec<Disk>,
        queue: &Arc<Queue>,
        lazy: bool,
    ) -> Result<Self, Failure> {
        let machine = &entry.machine;
        let mut disks = disks.into_iter();
        let mut world = Self {
            queue: queue.clone(),
            consoles: BTreeMap::new(),
            attached: None,
            networks: BTreeMap::new(),
            disks: BTreeMap::new(),
            files: FilesDir::new(machine.files_dir.clone()),
        };
        for port in ports {
            match &port.kind {
                PortKind::Console => {
                    let first = world.attached.is_none();
                    world.attached.get_or_insert(port.id);
                    let name = if first { "console" } else { &port.name };
                    let path = entry.dir.join(format!("{name}.log"));
                    world.consoles.insert(port.id, Arc::new(Console::new(&path)));
                }
                PortKind::Net { mac } if machine.net == "user" => {
                    let start = network(machine, *mac, port.id, queue)?;
                    let waits = lazy && machine.publish.is_empty();
                    let net = if waits { Net::NotYet(start) } else { Net::Runs(start()?) };
                    world.networks.insert(port.id, net);
                }
                PortKind::Disk { space } => {
                    if let Some(disk) = disks.next() {
                        world.disks.insert(port.id, (space.clone(), disk));
                    }
                }
                PortKind::Net { .. } | PortKind::Files => {}
            }
        }
        Ok(world)
    }

    /// The console that is attached: the first.
    pub(crate) fn console(&self) -> Option<(PortId, Arc<Console>)> {
        let id = self.attached?;
        self.consoles.get(&id).map(|console| (id, console.clone()))
    }

    /// The addresses that the host gave to published ports.
    pub(crate) fn published(&self) -> Vec<String> {
        let text = |publish: &Publish| {
            format!("{}:{}/{}", publish.host_addr, publish.guest_port, publish.protocol)
        };
        let runs = self.networks.values().filter_map(|net| match net {
            Net::Runs(net) => Some(net),
            Net::NotYet(_) | Net::Dead => None,
        });
        runs.flat_map(|net| net.published().iter().map(text)).collect()
    }

    /// Makes the last writes to every disk durable.
    pub(crate) fn finish(&mut self, memory: &mut Memory) -> Result<(), Failure> {
        let mut result = Ok(());
        for (name, disk) in self.disks.values_mut() {
            let space = memory.spaces.iter_mut().find(|own| own.name() == *name);
            let Some(space) = space else { continue };
            if let Err(error) = disk.finish(&space.seal().image) {
                let what = format!("the last writes to {name} are lost");
                result = Err(Failure::io(&what, &error));
            }
        }
        result
    }

    fn flush(&mut self, request: &IoRequest, memory: &mut Memory) -> bool {
        let Some((name, disk)) = self.disks.get_mut(&request.port) else { return false };
        let space = memory.spaces.iter_mut().find(|own| own.name() == *name);
        let Some(space) = space else { return false };
        disk.flush(&space.seal().image, &self.queue, request.id);
        true
    }

    fn answer(&self, request: &IoRequest, result: IoResult) {
        self.queue.push(Item::Event(Event::IoDone { id: request.id, result }));
    }
}

impl Backends for World {
    fn output(&mut self, port: PortId, bytes: Vec<u8>) {
        if let Some(console) = self.consoles.get(&port) {
            console.output(&bytes);
        } else if let Some(net) = self.networks.get_mut(&port) {
            net.send(bytes);
        }
    }

    fn request(&mut self, request: IoRequest, memory: &mut Memory) {
        match &request.op {
            IoOp::Flush => {
                if !self.flush(&request, memory) {
                    self.answer(&request, Err(EIO));
                }
            }
            IoOp::SaveFile { name, bytes } => {
                let result = self.files.save(name, bytes);
                self.answer(&request, result);
            }
            IoOp::LoadFile { name } => {
                let result = self.files.load(name);
                self.answer(&request, result);
            }
        }
    }

    fn full(&self) -> bool {
        self.consoles.values().any(|console| console.full())
    }
}

impl Net {
    fn send(&mut self, frame: Vec<u8>) {
        *self = match std::mem::replace(self, Self::Dead) {
            Self::NotYet(start) => start().map_or(Self::Dead, Self::Runs),
            running @ Self::Runs(_) => running,
            Self::Dead => Self::Dead,
        };
        if let Self::Runs(net) = self {
            net.send(frame);
        }
    }
}

/// How to start the network of a port.
fn network(
    machine: &MachineFile,
    mac: [u8; 6],
    port: PortId,
    queue: &Arc<Queue>,
) -> Result<Box<dyn FnOnce() -> Result<NetHandle, Failure> + Send>, Failure> {
    let publish: Result<Vec<Publish>, _> =
        machine.publish.iter().map(|text| text.parse()).collect();
    let publish = publish.map_err(|error| Failure::usage(format!("--publish: {error}")))?;
    let config = UserNetConfig {
        publish,
        guest_mac: mac,
        hostname: Some(machine.name.clone()),
        ..UserNetConfig::default()
    };
    let queue = queue.clone();
    let notify: Notify = Box::new(move |frame| {
        // Where the machine cannot take it, the frame is lost, as on a wire.
        let _ = queue.push_frame(port, frame);
    });
    Ok(Box::new(move || Ok(UserNet::new(config)?.spawn(notify)?)))
}
