//! What the network interfaces of one machine are connected to.

use crate::failure::{Failure, code};
use crate::monitor::dirs;
use crate::switches::check_name;
use omni_control::MachineFile;
use omni_host::Queue;
use omni_machine::PortId;
use omni_net::{NetHandle, Notify, Publish, SwitchConfig, SwitchMember, UserNet, UserNetConfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How to start a network.
type Start = Box<dyn Fn() -> Result<NetHandle, Failure> + Send>;

/// A connection of one interface.
pub(crate) enum Cable {
    /// A network that a machine that sends nothing need not have.
    NotYet(Start),
    /// One that runs, and how to start it again where it may go while nobody uses it.
    User(NetHandle, Option<Start>),
    Switch(String, OnSwitch),
    /// The host had no room for it.
    Dead,
}

/// An interface that is to be connected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    pub(crate) port: PortId,
    pub(crate) mac: [u8; 6],
    /// What may never be used is made when it is.
    pub(crate) lazy: bool,
}

/// A machine's place on a switch.
#[derive(Clone)]
pub(crate) struct OnSwitch {
    pub(crate) port: PortId,
    pub(crate) mac: [u8; 6],
    pub(crate) member: Arc<SwitchMember>,
}

/// What the interfaces of a machine are to be connected to, in their order.
pub(crate) struct Plugs<'m> {
    machine: &'m MachineFile,
    nets: std::str::Split<'m, char>,
    /// Ports of the host lead into the first network that can have them.
    published: bool,
}

impl<'m> Plugs<'m> {
    pub(crate) fn new(machine: &'m MachineFile) -> Self {
        Self { machine, nets: machine.net.split(','), published: false }
    }

    /// Connects the next interface; one that is connected to nothing has no cable.
    pub(crate) fn next(
        &mut self,
        socket: Socket,
        queue: &Arc<Queue>,
    ) -> Result<Option<Cable>, Failure> {
        match self.nets.next() {
            Some("user") => {
                let publish = if self.published { vec![] } else { self.machine.publish.clone() };
                self.published = true;
                let start = user(self.machine, socket, &publish, queue)?;
                let waits = socket.lazy && publish.is_empty();
                Ok(Some(if waits { Cable::NotYet(start) } else { Cable::User(start()?, None) }))
            }
            Some(net) => match net.strip_prefix("switch:") {
                Some(name) => switch(self.machine, name, socket, queue).map(Some),
                None => Ok(None),
            },
            None => Ok(None),
        }
    }
}

impl Cable {
    /// Puts a frame of the machine on it.
    pub(crate) fn send(&mut self, frame: Vec<u8>) {
        if matches!(self, Self::NotYet(_))
            && let Self::NotYet(start) = std::mem::replace(self, Self::Dead)
        {
            *self = start().map_or(Self::Dead, |net| Self::User(net, Some(start)));
        }
        match self {
            Self::User(net, _) => net.send(frame),
            Self::Switch(_, on) => on.member.send(&frame),
            Self::NotYet(_) | Self::Dead => {}
        }
    }

    /// Lets go of a network that nobody uses, until the machine sends something.
    pub(crate) fn rest(&mut self) {
        let is_unused = |net: &NetHandle| {
            let stats = net.stats();
            stats.tcp_flows == 0 && stats.datagram_flows == 0
        };
        if let Self::User(net, start) = self
            && is_unused(net)
            && let Some(start) = start.take()
        {
            *self = Self::NotYet(start);
        }
    }

    /// The ports of the host that lead into the machine.
    pub(crate) fn published(&self) -> &[Publish] {
        match self {
            Self::User(net, _) => net.published(),
            Self::NotYet(_) | Self::Switch(..) | Self::Dead => &[],
        }
    }

    /// The switch at its other end.
    pub(crate) fn switch(&self) -> Option<(String, OnSwitch)> {
        match self {
            Self::Switch(name, on) => Some((name.clone(), on.clone())),
            Self::NotYet(_) | Self::User(..) | Self::Dead => None,
        }
    }
}

/// How to start the network of an interface.
fn user(
    machine: &MachineFile,
    socket: Socket,
    publish: &[String],
    queue: &Arc<Queue>,
) -> Result<Start, Failure> {
    let publish: Result<Vec<Publish>, _> = publish.iter().map(|text| text.parse()).collect();
    let publish = publish.map_err(|error| Failure::usage(format!("--publish: {error}")))?;
    let config = UserNetConfig {
        publish,
        guest_mac: socket.mac,
        hostname: Some(machine.name.clone()),
        ..UserNetConfig::default()
    };
    let queue = queue.clone();
    Ok(Box::new(move || {
        let queue = queue.clone();
        let notify: Notify = Box::new(move |frame| {
            // Where the machine cannot take it, the frame is lost, as on a wire.
            let _ = queue.push_frame(socket.port, frame);
        });
        Ok(UserNet::new(config.clone())?.spawn(notify)?)
    }))
}

fn switch(
    machine: &MachineFile,
    name: &str,
    Socket { port, mac, .. }: Socket,
    queue: &Arc<Queue>,
) -> Result<Cable, Failure> {
    check_name(name).map_err(|why| Failure::new(code::DAMAGED, format!("'{name}': {why}")))?;
    let config = SwitchConfig { folder: dirs()?.switch(name), member: machine.id.clone() };
    let queue = queue.clone();
    let deliver = Box::new(move |frame| queue.push_frame(port, frame));
    let member = SwitchMember::join(config, deliver);
    let member = member.map_err(|error| Failure::new(code::FAILURE, error.to_string()))?;
    Ok(Cable::Switch(name.to_owned(), OnSwitch { port, mac, member: Arc::new(member) }))
}

/// The places of a machine on switches, for those who inspect it.
pub(crate) fn places(switches: &BTreeMap<String, OnSwitch>) -> Value {
    let place = |(name, on): (&String, &OnSwitch)| {
        let stats = on.member.stats();
        let mac: Vec<String> = on.mac.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "switch": name,
            "port": on.port.0,
            "mac": mac.join(":"),
            "reaches": on.member.members(),
            "addresses": stats.addresses,
            "frames_sent": stats.frames_sent,
            "frames_received": stats.frames_received,
            "frames_dropped": stats.frames_dropped,
            "frames_malformed": stats.frames_malformed,
            "peers_refused": stats.peers_refused,
        })
    };
    switches.iter().map(place).collect()
}
