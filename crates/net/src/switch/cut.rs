//! One member's part of a consistent cut: Chandy and Lamport's markers (ADR 15).

use std::collections::BTreeSet;

/// Frames in flight towards one member that a cut holds.
pub const CUT_FRAMES_MAX: usize = 8_192;

/// Their bytes.
const BYTES_MAX: usize = 8 << 20;

/// The name of a cut: drawn at random by whoever asks for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CutId(pub [u8; 16]);

/// Why a cut cannot be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CutError {
    /// Another one is under way.
    #[error("another cut of the switch is under way")]
    Busy,
    /// This one is not, or no longer.
    #[error("this cut of the switch is not under way")]
    Unknown,
    /// The member is connected to others than it should be: they come and go right now.
    #[error("the members of the switch are not settled: {0} has just come or gone")]
    Unsettled(String),
    /// A member has gone before its part was done.
    #[error("the member {0} left the switch")]
    Left(String),
    /// More was in flight than is held.
    #[error("more frames were in flight than a cut holds")]
    Flood,
    /// Markers did not come in time.
    #[error("the member {0} did not take part in time")]
    Late(String),
    /// The machine did not come to a safe point in time, or has ended.
    #[error("the machine did not come to a safe point in time")]
    Unsealed,
}

/// How far a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// It knows of the cut. Its machine is before it.
    Armed,
    /// Its machine is sealed once it has taken what came before; what comes now comes after.
    Sealing,
    /// Its machine is sealed, and the others have its markers.
    Sealed,
}

/// The state of one member.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) id: CutId,
    stage: Stage,
    /// Those whose marker has not come: what comes from them was sent before their seals.
    awaited: BTreeSet<String>,
    in_flight: Vec<Vec<u8>>,
    bytes: usize,
    failure: Option<CutError>,
}

impl Cut {
    pub(crate) fn new(id: CutId, others: BTreeSet<String>) -> Self {
        let (in_flight, stage) = (Vec::new(), Stage::Armed);
        Self { id, stage, awaited: others, in_flight, bytes: 0, failure: None }
    }

    /// The seal is to be queued behind what came so far. Says whether that is new.
    pub(crate) fn begin(&mut self) -> bool {
        let new = self.stage == Stage::Armed;
        if new {
            self.stage = Stage::Sealing;
        }
        new
    }

    /// The machine is sealed: markers are to go out now.
    pub(crate) fn sealed(&mut self) {
        self.stage = Stage::Sealed;
    }

    /// A marker has come. Says whether the seal is to be queued.
    pub(crate) fn marker(&mut self, from: &str) -> bool {
        // One that comes twice says nothing new.
        self.awaited.remove(from) && self.begin()
    }

    /// A frame was given to the machine.
    pub(crate) fn frame(&mut self, from: &str, frame: &[u8]) {
        if self.stage == Stage::Armed || !self.awaited.contains(from) {
            return;
        }
        self.bytes += frame.len();
        if self.in_flight.len() >= CUT_FRAMES_MAX || self.bytes > BYTES_MAX {
            self.in_flight = Vec::new();
            self.fail(CutError::Flood);
        } else if self.failure.is_none() {
            self.in_flight.push(frame.to_vec());
        }
    }

    /// A member has gone.
    pub(crate) fn left(&mut self, who: &str) {
        if self.awaited.contains(who) {
            self.fail(CutError::Left(who.to_owned()));
        }
    }

    pub(crate) fn fail(&mut self, error: CutError) {
        self.failure.get_or_insert(error);
    }

    /// The frames in flight, once there can be no more.
    pub(crate) fn done(&self) -> Option<Result<&[Vec<u8>], CutError>> {
        if let Some(failure) = &self.failure {
            return Some(Err(failure.clone()));
        }
        let whole = self.stage == Stage::Sealed && self.awaited.is_empty();
        whole.then_some(Ok(&self.in_flight))
    }

    /// What it waits for.
    pub(crate) fn late(&self) -> CutError {
        match (self.stage, self.awaited.first()) {
            (Stage::Sealed, Some(who)) => CutError::Late(who.clone()),
            _ => CutError::Unsealed,
        }
    }
}
