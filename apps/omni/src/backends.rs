//! Where the effects of one machine go: consoles, the network, disks, files.

use crate::cable::{Cable, OnSwitch, Plugs, Socket};
use crate::failure::Failure;
use crate::plan::no_file;
use omni_control::{Entry, MachineFile};
use omni_host::{Backends, Console, Disk, FilesDir, Folders, Item, Queue};
use omni_machine::{Event, IoOp, IoRequest, IoResult, PortId, PortInfo, PortKind};
use omni_memory::Memory;
use omni_net::Publish;
use std::collections::BTreeMap;
use std::sync::Arc;

/// "Input/output error", for requests that no backend takes.
const EIO: u16 = 5;

/// The name of the port that programs say their errors by.
const ERRORS: &str = "errors";

/// The backends of one machine.
pub(crate) struct World {
    queue: Arc<Queue>,
    consoles: BTreeMap<PortId, Arc<Console>>,
    /// The console that people see: the first that the kind names.
    attached: Option<PortId>,
    /// That of what programs say of their errors.
    errors: Option<PortId>,
    cables: BTreeMap<PortId, Cable>,
    /// The space of each disk's port, and the disk.
    disks: BTreeMap<PortId, (String, Disk)>,
    files: FilesDir,
    folders: Folders,
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
        let mut disks = disks.into_iter();
        let mut plugs = Plugs::new(&entry.machine);
        let mut world = Self {
            queue: queue.clone(),
            consoles: BTreeMap::new(),
            attached: None,
            errors: None,
            cables: BTreeMap::new(),
            disks: BTreeMap::new(),
            files: FilesDir::new(entry.machine.files_dir.clone()),
            folders: folders(&entry.machine)?,
        };
        for port in ports {
            match &port.kind {
                PortKind::Console => {
                    let first = world.attached.is_none();
                    if port.name == ERRORS {
                        world.errors = Some(port.id);
                    }
                    world.attached.get_or_insert(port.id);
                    let name = if first { "console" } else { &port.name };
                    let path = entry.dir.join(format!("{name}.log"));
                    world.consoles.insert(port.id, Arc::new(Console::new(&path)));
                }
                PortKind::Net { mac } => {
                    let socket = Socket { port: port.id, mac: *mac, lazy };
                    if let Some(cable) = plugs.next(socket, queue)? {
                        world.cables.insert(port.id, cable);
                    }
                }
                PortKind::Disk { space } => {
                    if let Some(disk) = disks.next() {
                        world.disks.insert(port.id, (space.clone(), disk));
                    }
                }
                PortKind::Files => {}
            }
        }
        Ok(world)
    }

    /// The console that is attached: the first.
    pub(crate) fn console(&self) -> Option<(PortId, Arc<Console>)> {
        let id = self.attached?;
        self.consoles.get(&id).map(|console| (id, console.clone()))
    }

    /// The console of errors, where there is one.
    pub(crate) fn errors(&self) -> Option<Arc<Console>> {
        self.errors.and_then(|id| self.consoles.get(&id).cloned())
    }

    /// The addresses that the host gave to published ports.
    pub(crate) fn published(&self) -> Vec<String> {
        let text = |publish: &Publish| {
            format!("{}:{}/{}", publish.host_addr, publish.guest_port, publish.protocol)
        };
        self.cables.values().flat_map(|cable| cable.published().iter().map(text)).collect()
    }

    /// The switches that the machine is on.
    pub(crate) fn switches(&self) -> BTreeMap<String, OnSwitch> {
        self.cables.values().filter_map(Cable::switch).collect()
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
        } else if let Some(cable) = self.cables.get_mut(&port) {
            cable.send(bytes);
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
            IoOp::Folder { folder, op } => {
                let result = self.folders.run(*folder, op);
                self.answer(&request, result);
            }
        }
    }

    fn rest(&mut self) {
        self.cables.values_mut().for_each(Cable::rest);
    }

    fn full(&self) -> bool {
        self.consoles.values().any(|console| console.full())
    }
}

/// The folders of the host that a machine was given.
fn folders(machine: &MachineFile) -> Result<Folders, Failure> {
    Folders::open(&machine.folders).map_err(|(path, error)| no_file(&path, &error))
}
