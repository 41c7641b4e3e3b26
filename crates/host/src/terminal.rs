//! The terminal that a person sits at: raw mode, and the way back from it.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Whether a file is a terminal.
#[must_use]
pub fn is_terminal(file: impl AsFd) -> bool {
    rustix::termios::isatty(file)
}

/// The columns and rows of a terminal.
#[must_use]
pub fn terminal_size(file: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(file).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// The terminal of standard input in raw mode; dropping this brings back what was before.
///
/// A panic brings it back too, before its message is written.
#[derive(Clone, Debug)]
pub struct RawMode {
    saved: Arc<Saved>,
}

#[derive(Debug)]
struct Saved(Termios);

impl RawMode {
    /// Enters raw mode.
    ///
    /// # Errors
    /// What the host says, such as where standard input is no terminal.
    pub fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let saved = Arc::new(Saved(before));
        let raw = Self { saved };
        raw.again()?;
        let for_panic = raw.saved.0.clone();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &for_panic);
            hook(info);
        }));
        Ok(raw)
    }

    /// Enters raw mode again, after the process was stopped and continued.
    ///
    /// # Errors
    /// What the host says.
    pub fn again(&self) -> io::Result<()> {
        let mut raw = self.saved.0.clone();
        raw.make_raw();
        Ok(tcsetattr(io::stdin(), OptionalActions::Now, &raw)?)
    }

    /// Brings back what was before, for whoever ends the process without unwinding.
    pub fn restore(&self) {
        self.saved.restore();
    }
}

impl Saved {
    fn restore(&self) {
        // Nothing can be done where the terminal itself has gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        self.restore();
    }
}
