//! A virtual switch without a switch: members of one Ethernet segment that speak to each other.
//!
//! Each member has a socket in the folder of the switch and a connection to every other, so that
//! nobody's end takes more away than itself. Each learns for itself behind which connection an
//! address is. What is here of frames, addresses and cuts knows no sockets (`port`, `cut`,
//! `table`, `packet`); what is here of sockets knows no frames (`socket`, `member`).

mod cut;
mod member;
mod packet;
mod port;
mod socket;
mod table;

pub use cut::{CUT_FRAMES_MAX, CutError, CutId};
pub use member::{Deliver, Seal, SwitchConfig, SwitchError, SwitchMember, take_switch};
pub use packet::{FRAME_BYTES_MIN, MEMBER_BYTES_MAX};
pub use port::{Arrival, Link, PeerKey, Port, Sent, SwitchStats};
pub use socket::SwitchLock;
pub use table::{ADDRESSES_MAX, MacTable};
