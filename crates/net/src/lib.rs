//! The networks of machines: ordinary sockets at the other end of an Ethernet segment, or a
//! virtual switch with other machines (`switch`).
//!
//! Of the first, the user-mode network:
//! The guest sees the network 10.0.2.0/24 with a gateway (10.0.2.2, which also stands for the
//! host's loopback), a DNS server (10.0.2.3) and a DHCP server that gives it 10.0.2.15. What it
//! sends to other addresses leaves through sockets of this process, so no privilege is needed.
//!
//! One thread owns a network: frames come to it through a bounded queue and it blocks in `poll`
//! until a frame, a socket or a timer needs it. TCP is terminated here by smoltcp, in a mode in
//! which its interface answers for every address; each guest connection is one smoltcp socket and
//! one host socket, joined with back-pressure in both directions. Only IPv4 is carried.
//!
//! Architecture invariant: nothing a guest sends may panic, block or grow without bound. Every
//! table has a maximum, every malformed frame is dropped, and no call waits for the outside.
//!
//! Architecture invariant: this crate holds no machine state. A snapshot does not include it; a
//! restored guest finds its connections reset, as after a cable was pulled for long.

mod config;
mod datagrams;
mod dhcp;
mod dns;
mod echo;
mod fragments;
mod handle;
mod loss;
mod packet;
mod publish;
mod queue;
mod reactor;
mod resolv;
mod router;
mod segment;
mod switch;
mod tcp;
mod tcp_flow;

pub use config::{DnsPolicy, NetError, UserNetConfig};
pub use handle::{NetHandle, NetStats, Notify, UserNet};
pub use loss::Loss;
pub use publish::{Protocol, Publish, PublishParseError};
pub use segment::{
    DNS_ADDR, FRAME_BYTES_MAX, GATEWAY_ADDR, GATEWAY_MAC, GUEST_ADDR, NETWORK_ADDR,
    NETWORK_PREFIX_BITS,
};
pub use switch::{
    ADDRESSES_MAX, Arrival, CUT_FRAMES_MAX, CutError, CutId, Deliver, FRAME_BYTES_MIN, Link,
    MEMBER_BYTES_MAX, MacTable, PeerKey, Port, Seal, Sent, SwitchConfig, SwitchError, SwitchLock,
    SwitchMember, SwitchStats, take_switch,
};
