//! The monitor's side of a snapshot of a group: one machine's part of a cut of its switch.

use crate::cable::OnSwitch;
use crate::failure::{Failure, code};
use crate::groups;
use crate::keeper::{Taken, seal};
use crate::monitor::Shared;
use crate::saved;
use omni_base::Digest;
use omni_control::{CutFile, FrameFile};
use omni_host::Item;
use omni_machine::{Machine, PortId, PortInfo, PortKind};
use omni_net::{CUT_FRAMES_MAX, CutError, CutId, FRAME_BYTES_MAX, FRAME_BYTES_MIN};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the others have to take their parts.
const PATIENCE: Duration = Duration::from_secs(10);

type Slot = Arc<Mutex<Option<Result<Taken, Failure>>>>;

/// What one machine does for a cut, for as long as somebody wants it.
pub(crate) struct Part {
    shared: Arc<Shared>,
    on: OnSwitch,
    id: CutId,
    switch: String,
    tag: String,
    sealed: Slot,
    taken: Option<(Taken, Vec<Vec<u8>>)>,
    kept: Option<Digest>,
}

impl Part {
    /// Makes ready.
    pub(crate) fn arm(
        shared: &Arc<Shared>,
        (switch, cut): (&str, &str),
        members: &[String],
        tag: &str,
    ) -> Result<Self, Failure> {
        let none = || {
            let name = &shared.entry.machine.name;
            Failure::new(code::WRONG_STATE, format!("'{name}' is on no switch '{switch}'"))
        };
        let on = shared.switches.get(switch).cloned().ok_or_else(none)?;
        let id = id_of(cut).ok_or_else(|| Failure::usage("a cut is named by 16 bytes"))?;
        shared.keeper.check_free(tag)?;
        let sealed = Slot::default();
        let hook = {
            let (queue, recorder) = (shared.queue.clone(), shared.keeper.recorder.clone());
            // Not counted: the switch has the hook, and the hook the switch.
            let (slot, member) = (sealed.clone(), Arc::downgrade(&on.member));
            move || {
                queue.push(Item::Call(Box::new(move |machine: &mut dyn Machine| {
                    let taken = seal(machine, &recorder);
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
                    if let Some(member) = member.upgrade() {
                        member.sealed(id);
                    }
                })))
            }
        };
        let members: BTreeSet<String> = members.iter().cloned().collect();
        on.member.arm(id, &members, Box::new(hook)).map_err(refused)?;
        let (switch, tag, shared) = (switch.to_owned(), tag.to_owned(), shared.clone());
        Ok(Self { shared, on, id, switch, tag, sealed, taken: None, kept: None })
    }

    /// Takes the snapshot, and waits until nothing more can be in flight.
    pub(crate) fn take(&mut self) -> Result<Value, Failure> {
        self.on.member.begin(self.id).map_err(refused)?;
        let frames = self.on.member.in_flight(self.id, PATIENCE).map_err(refused)?;
        let taken = self.sealed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let taken = taken.ok_or_else(|| refused(CutError::Unsealed))??;
        let count = frames.len();
        self.taken = Some((taken, frames));
        Ok(json!({ "in_flight": count }))
    }

    /// Puts it into the store.
    pub(crate) fn keep(&mut self) -> Result<Value, Failure> {
        let none = || Failure::new(code::WRONG_STATE, "there is nothing taken to be kept");
        let (taken, frames) = self.taken.take().ok_or_else(none)?;
        let port = self.on.port.0;
        let frame = |bytes: &Vec<u8>| FrameFile { port, bytes: hex(bytes) };
        let count = frames.len();
        let cut =
            CutFile { cut: Some(hex(&self.id.0)), in_flight: frames.iter().map(frame).collect() };
        let mut value = self.shared.keeper.keep_cut(Some(&self.tag), &cut, || Ok(taken))?;
        self.kept = value["id"].as_str().and_then(|id| saved::parse_id(id).ok());
        value["in_flight"] = json!(count);
        Ok(value)
    }

    /// What was kept stays.
    pub(crate) fn done(&mut self) {
        self.kept = None;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.on.member.disarm(self.id);
        let Some(kept) = self.kept else { return };
        if groups::is_told(&self.switch, &self.tag, &hex(&self.id.0)) {
            return;
        }
        // Whoever asked gave up, or died: a part alone is not what was asked for.
        if let Some(store) = self.shared.keeper.store() {
            let _ = store.remove(&self.shared.entry.machine.id, kept);
        }
    }
}

fn refused(error: CutError) -> Failure {
    Failure::new(code::WRONG_STATE, error.to_string())
}

/// Frames that were in flight towards a machine with these ports, as its snapshot has them.
pub(crate) fn in_flight(
    cut: &CutFile,
    ports: &[PortInfo],
) -> Result<Vec<(PortId, Vec<u8>)>, Failure> {
    let damaged = |what: &str| {
        Failure::new(code::DAMAGED, format!("the snapshot's frames in flight: {what}"))
    };
    if cut.in_flight.len() > CUT_FRAMES_MAX {
        return Err(damaged("there are too many"));
    }
    let frame = |file: &FrameFile| {
        let is_net =
            |port: &&PortInfo| port.id.0 == file.port && matches!(port.kind, PortKind::Net { .. });
        let port =
            ports.iter().find(is_net).ok_or_else(|| damaged("the machine has no such port"))?;
        let bytes = unhex(&file.bytes).ok_or_else(|| damaged("they are not hexadecimal"))?;
        let fits = (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&bytes.len());
        if fits { Ok((port.id, bytes)) } else { Err(damaged("one has no size of a frame")) }
    };
    cut.in_flight.iter().map(frame).collect()
}

/// The name of a cut as it is written.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn id_of(text: &str) -> Option<CutId> {
    unhex(text)?.try_into().ok().map(CutId)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(port: u16, bytes: &str) -> CutFile {
        CutFile { cut: None, in_flight: vec![FrameFile { port, bytes: bytes.into() }] }
    }

    #[test]
    fn frames_in_flight_are_those_of_a_network_interface_or_refused() {
        let ports = [
            PortInfo { id: PortId(0), name: "ttyS0".into(), kind: PortKind::Console },
            PortInfo { id: PortId(2), name: "net0".into(), kind: PortKind::Net { mac: [2; 6] } },
        ];
        let frame: Vec<u8> = (0..60).collect();
        let read = in_flight(&cut(2, &hex(&frame)), &ports).expect("sound");
        assert_eq!(read, [(PortId(2), frame)]);
        let large = "00".repeat(FRAME_BYTES_MAX + 1);
        for (port, bytes) in
            [(0, &"00".repeat(60)[..]), (7, &"00".repeat(60)), (2, "00"), (2, "0g"), (2, "000")]
                .into_iter()
                .chain([(2, &*large), (2, "\u{e4}\u{e4}")])
        {
            let failure = in_flight(&cut(port, bytes), &ports).expect_err("hostile");
            assert_eq!(failure.code, code::DAMAGED);
        }
        let many = vec![FrameFile { port: 2, bytes: "00".repeat(14) }; CUT_FRAMES_MAX + 1];
        assert!(in_flight(&CutFile { cut: None, in_flight: many }, &ports).is_err());
    }
}
