//! Virtio 1.2 devices: a transport, split queues, and a model for each device type.

mod balloon;
mod block;
mod console;
mod entropy;
mod input;
mod net;
mod queue;
mod transport;

pub use balloon::{Balloon, BalloonState, PAGES_PER_REPORT_MAX, PAGES_PER_REQUEST_MAX};
pub use block::{Block, BlockState, SECTOR_SIZE};
pub use console::{CONSOLE_BACKLOG_MAX, Console, ConsoleState};
pub use entropy::{Entropy, EntropyState};
pub use input::{Panel, PanelState};
pub use net::{FRAME_BYTES_MAX, FRAMES_WAITING_MAX, Net, NetState, mac_from_seed};
pub use queue::{
    CHAIN_DESCRIPTORS_MAX, Chain, F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1, QUEUE_SIZE_MAX,
    QueueState, Rings, Segment,
};
pub use transport::{Model, TransportState, VirtioMmio};
