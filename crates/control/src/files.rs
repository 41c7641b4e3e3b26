//! The files of a machine: what it was made from, and how it is.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What every JSON object of the program says of its form.
pub const API: &str = "omni/v1";

/// What a machine was made from: `machine.json`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MachineFile {
    /// The form of this file.
    pub api: String,
    /// The id: hexadecimal.
    pub id: String,
    /// The name.
    pub name: String,
    /// The name of its kind.
    pub kind: String,
    /// The architecture, where the kind has one.
    pub arch: Option<String>,
    /// The image as it was asked for.
    pub image: String,
    /// Files by role.
    pub files: BTreeMap<String, PathBuf>,
    /// Disks in order.
    pub disks: Vec<DiskFile>,
    /// Folders of the host that it was given, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<PathBuf>,
    /// Options of the kind.
    pub options: BTreeMap<String, String>,
    /// How its code is run: `jit` or `interp`; as its monitor's environment says where it is none.
    pub accel: Option<String>,
    /// Whether its virtual CPUs run side by side, not in turns.
    #[serde(default)]
    pub parallel: bool,
    /// Whether the host may hold pages once that are like those of other machines.
    #[serde(default)]
    pub share: bool,
    /// The seed of its entropy.
    pub seed: u64,
    /// Its wall clock at the start; the host's at each start where there is none.
    pub epoch_s: Option<u64>,
    /// What its network interfaces are connected to, in order and with commas between: `user`,
    /// `switch:NAME`, or `none`.
    pub net: String,
    /// Ports of the host that lead into it.
    pub publish: Vec<String>,
    /// Labels of its owner.
    pub labels: BTreeMap<String, String>,
    /// Whether it is removed when it ends.
    pub remove: bool,
    /// Its time limit in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Where its signature is written.
    pub signature: Option<PathBuf>,
    /// The directory of the files that it saves and loads.
    pub files_dir: PathBuf,
    /// What its console says when it takes what a script types; from the start where it is none.
    #[serde(default)]
    pub ready: Option<String>,
    /// Whether a snapshot is taken when it ends.
    #[serde(default)]
    pub snapshot_on_exit: bool,
    /// Whether it is recorded from each start on.
    #[serde(default)]
    pub record: bool,
    /// When it was made, RFC 3339.
    pub created: String,
}

impl MachineFile {
    /// The switches that it is on: the name of each, and the number of the interface.
    pub fn switches(&self) -> impl Iterator<Item = (usize, &str)> {
        let nets = self.net.split(',').enumerate();
        nets.filter_map(|(at, net)| Some((at, net.strip_prefix("switch:")?)))
    }
}

/// What a snapshot that was taken with others of its switch says of that, beside its machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CutFile {
    /// The cut that it is a part of, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<String>,
    /// What was on its way to the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_flight: Vec<FrameFile>,
}

/// A frame on its way to a machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FrameFile {
    /// The port of the machine.
    pub port: u16,
    /// Its bytes in hexadecimal.
    pub bytes: String,
}

/// Where a machine goes on from, once it has snapshots: `origin.json`, replaced whole.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OriginFile {
    /// The id of the snapshot that was taken or restored last.
    pub parent: Option<String>,
    /// The id of the snapshot below its disks' overlays.
    pub disks: Option<String>,
    /// How often it was restored: each time with overlays of their own.
    pub generation: u32,
    /// Whether it was forked from another machine's snapshot, and begins from that.
    #[serde(default)]
    pub fork: bool,
    /// The recorded moment to which it went back, where it did: its next start is recorded too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<BranchFile>,
}

/// A moment of a recording.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BranchFile {
    /// The name of the recording.
    pub recording: String,
    /// The moment, as TICK/EVENTS.
    pub moment: String,
}

/// A disk of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DiskFile {
    /// The image below, never written.
    pub path: PathBuf,
    /// Whether the guest may write.
    pub read_only: bool,
    /// Its size.
    pub bytes: u64,
    /// Its format, where it was given; its content tells it otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Whether the image may name files outside of its own folder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
}

/// Where a machine is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It has never run.
    #[default]
    Created,
    /// It runs.
    Running,
    /// It is held.
    Paused,
    /// It has ended.
    Stopped,
    /// Its monitor was lost, or it could not begin.
    Failed,
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Whether a monitor should be there.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// How a machine is: `state.json`, replaced whole at each change.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StateFile {
    /// Where it is in its life.
    pub state: Phase,
    /// Its exit code, once it has ended.
    pub exit_code: Option<u8>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began, RFC 3339.
    pub started: Option<String>,
    /// When it ended, RFC 3339.
    pub finished: Option<String>,
    /// The process of its monitor.
    pub pid: Option<u32>,
    /// The socket of its monitor.
    pub socket: Option<PathBuf>,
    /// Whether its memory is in the store, from where it comes when it is touched. It is held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cold: bool,
    /// Figures of its last life, once it has ended.
    pub last: BTreeMap<String, serde_json::Value>,
}

/// The present time, RFC 3339, to the millisecond.
#[must_use]
pub fn now_text() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.3}")
}
