//! What a user-mode network is made from, and why making one can fail.

use std::io;
use std::net::SocketAddr;

use crate::loss::Loss;
use crate::publish::{Protocol, Publish};

/// How names are resolved for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsPolicy {
    /// The resolvers of the host (`/etc/resolv.conf`); where none is named or none answers, the
    /// host's own name lookup.
    Host,
    /// These resolvers, in this order, and nothing else.
    Servers(Vec<SocketAddr>),
    /// Only the host's own name lookup (A and AAAA questions).
    Lookup,
    /// Every question is refused.
    Off,
}

/// The wishes for one user-mode network.
#[derive(Clone, Debug)]
pub struct UserNetConfig {
    /// Host ports that lead into the guest.
    pub publish: Vec<Publish>,
    /// Ethernet address of the guest: it gets [`crate::GUEST_ADDR`]. All zero means "whoever
    /// asks first".
    pub guest_mac: [u8; 6],
    /// True: the guest reaches nothing outside; published ports still lead in.
    pub restrict: bool,
    /// How names are resolved.
    pub dns: DnsPolicy,
    /// Host name told to the guest by DHCP; at most 63 bytes are told.
    pub hostname: Option<String>,
    /// Largest IP packet on the segment in bytes, 576 to 9202; told by DHCP.
    pub mtu_bytes: u16,
    /// Most TCP connections at a time, and most UDP and ping flows at a time, 1 to 65535.
    pub flows_max: usize,
    /// Bytes of buffer for each direction of a TCP connection, 4096 to 1048576.
    pub buffer_bytes: usize,
    /// Frames that wait for the network's thread at most; the next ones are lost, as on a wire.
    pub queue_frames: usize,
    /// Loss put on the segment on purpose, for tests.
    pub loss: Option<Loss>,
}

impl Default for UserNetConfig {
    fn default() -> Self {
        Self {
            publish: Vec::new(),
            guest_mac: [0; 6],
            restrict: false,
            dns: DnsPolicy::Host,
            hostname: None,
            mtu_bytes: 1500,
            flows_max: 512,
            buffer_bytes: 64 * 1024,
            queue_frames: 1024,
            loss: None,
        }
    }
}

/// Why a network could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A published port could not be opened on the host.
    #[error("cannot publish {protocol} port {address}: {source}")]
    Publish {
        /// The address that was asked for.
        address: SocketAddr,
        /// The protocol of the port.
        protocol: Protocol,
        /// The host's reason.
        source: io::Error,
    },
    /// A number of the configuration is out of its range.
    #[error("{name} is {value}, not in {min}..={max}")]
    Range {
        /// Name of the field of [`UserNetConfig`].
        name: &'static str,
        /// The value found.
        value: usize,
        /// Least value allowed.
        min: usize,
        /// Greatest value allowed.
        max: usize,
    },
    /// The host refused a thread or a pipe.
    #[error("cannot start the network's thread: {0}")]
    Start(#[source] io::Error),
}

impl UserNetConfig {
    /// Checks every number against its range.
    pub(crate) fn check(&self) -> Result<(), NetError> {
        let ranges = [
            ("mtu_bytes", usize::from(self.mtu_bytes), 576, 9202),
            ("flows_max", self.flows_max, 1, 65535),
            ("buffer_bytes", self.buffer_bytes, 4096, 1 << 20),
            ("queue_frames", self.queue_frames, 1, 65536),
        ];
        for (name, value, min, max) in ranges {
            if value < min || value > max {
                return Err(NetError::Range { name, value, min, max });
            }
        }
        Ok(())
    }
}
