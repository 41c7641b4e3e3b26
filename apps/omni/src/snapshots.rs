//! Snapshots of live machines as files.

use crate::failure::Failure;
use omni_kinds::KINDS;
use omni_lifecycle::{WriteOptions, take};
use omni_machine::Machine;
use serde_json::{Value, json};
use std::path::Path;

/// Writes a snapshot of a machine at rest.
pub(crate) fn write(machine: &mut dyn Machine, path: &Path, taken: &str) -> Result<Value, Failure> {
    let snapshot = take(KINDS, machine)?;
    let options = WriteOptions { compress: true, flatten: false };
    let bytes = snapshot.to_bytes(options).map_err(omni_lifecycle::LifecycleError::from)?;
    omni_host::replace_file(path, &bytes)
        .map_err(|error| Failure::io(&path.display().to_string(), &error))?;
    Ok(json!({
        "ticks": snapshot.tick.0,
        "taken": taken,
        "bytes": bytes.len(),
        "digest": snapshot.digest().to_string(),
    }))
}
