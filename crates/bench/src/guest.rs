//! A booted guest that does what its console is told.

use crate::BenchError;
use crate::assets::READY;
use crate::child::{Heard, Program};
use crate::compile::at;
use crate::peer::{Board, Peer};
use omni_host::TempDir;
use std::path::Path;
use std::time::Duration;

/// Whoever has not booted by then hangs.
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// Whoever has not answered by then hangs; an interpreter may need a minute for a long case.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(600);

/// Whoever has not ended by then hangs.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(60);

/// A guest with a shell. It ends with this value.
pub(crate) struct Guest {
    pub(crate) program: Program,
    sampled: bool,
    /// Files that live as long as the board.
    _scratch: TempDir,
}

impl Guest {
    /// Boots and waits for the shell.
    pub(crate) fn boot(peer: Peer, board: &Board, us: &Path) -> Result<Self, BenchError> {
        let mut guest = Self::start(peer, board, us)?;
        guest.wait_for(READY)?;
        guest.sample_anew();
        Ok(guest)
    }

    /// Starts a board and does not wait for anything.
    pub(crate) fn start(peer: Peer, board: &Board, us: &Path) -> Result<Self, BenchError> {
        let scratch = TempDir::new("bench").map_err(at(Path::new("a temporary folder")))?;
        let program = Program::start(peer.name(), board.command(peer, us, scratch.path())?)?;
        let sampled = board.sampled.is_some() && peer.is_omni();
        Ok(Self { program, sampled, _scratch: scratch })
    }

    /// Forgets the samples so far, where they are taken.
    pub(crate) fn sample_anew(&self) {
        if self.sampled {
            self.program.sample_anew();
        }
    }

    /// Has samples written, where they are taken.
    pub(crate) fn end(&mut self) -> Result<(), BenchError> {
        if self.sampled { self.program.end(END_LIMIT) } else { Ok(()) }
    }

    /// Waits until the console has said this.
    pub(crate) fn wait_for(&mut self, words: &str) -> Result<(), BenchError> {
        self.program.listen(BOOT_LIMIT, |heard| heard.contains(words).then_some(()))
    }

    /// Has the shell do something, up to a line that begins like this.
    pub(crate) fn ask(&mut self, line: &str, answer: &str) -> Result<String, BenchError> {
        self.program.say(format!("{line}\n").as_bytes())?;
        self.program.listen(ANSWER_LIMIT, |heard: &Heard| heard.line(answer))
    }
}
