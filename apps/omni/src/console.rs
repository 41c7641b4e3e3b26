//! A person or a script at the console of a machine.

use crate::escape::{Escapes, Typed};
use crate::failure::{Failure, code};
use crate::ui::{Ui, stderr_is_terminal};
use omni_control::{Client, ControlError, Entry, Message, Reply, Request};
use omni_host::{RawMode, Signal, is_terminal, terminal_size, watch_signals};
use omni_machine::Group;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Output of the past that a person sees at attach, in bytes.
const HISTORY_BYTES: u32 = 4096;

/// How a visit at the console ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// The machine ended with this exit code.
    Exited(u8),
    /// The person left, and the machine runs on.
    Detached,
}

/// What the threads of a console share.
struct Shared {
    writer: Mutex<Client>,
    raw: Option<RawMode>,
    detaching: AtomicBool,
    /// A snapshot was asked for, and not answered yet.
    saving: AtomicBool,
    /// The signal that ends this process; zero while there is none.
    signal: AtomicU8,
    /// Closed while the guest would lose what is typed.
    gate: Gate,
    /// The end of standard input is told.
    ends: bool,
    /// What is typed before all else.
    first: Vec<u8>,
    ui: Ui,
}

/// Holds a script back until the console has said something.
struct Gate {
    awaited: Vec<u8>,
    /// The end of what was said so far, as long as the gate is closed.
    said: Mutex<Vec<u8>>,
    open: AtomicBool,
    opened: Condvar,
}

impl Gate {
    /// One that opens after `awaited`; without that, one that is open.
    fn new(awaited: Option<&str>) -> Self {
        let awaited = awaited.unwrap_or_default().as_bytes().to_vec();
        let open = AtomicBool::new(awaited.is_empty());
        Self { awaited, said: Mutex::default(), open, opened: Condvar::new() }
    }

    fn hear(&self, bytes: &[u8]) {
        if self.open.load(Ordering::Relaxed) {
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(bytes);
        if said.windows(self.awaited.len()).any(|window| window == self.awaited) {
            self.open.store(true, Ordering::Relaxed);
            self.opened.notify_all();
        }
        let kept = said.len().min(self.awaited.len());
        let gone = said.len() - kept;
        said.drain(..gone);
    }

    fn pass(&self) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.open.load(Ordering::Relaxed) {
            said = self.opened.wait(said).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn send(&self, request: &Request) -> bool {
        self.writer().send(request).is_ok()
    }

    fn resize(&self) {
        if let Some((columns, rows)) = terminal_size(io::stdout()) {
            self.send(&Request::Resize { columns, rows });
        }
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, Client> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Attaches to a machine, and stays until it ends or the person leaves. Who `owns` a machine
/// takes it along, unless by detaching.
pub(crate) fn attach(entry: &Entry, owns: bool, ui: Ui) -> Result<Left, Failure> {
    attach_with(entry, owns, Vec::new(), ui)
}

/// As `attach`; these bytes are typed before all else.
pub(crate) fn attach_with(
    entry: &Entry,
    owns: bool,
    first: Vec<u8>,
    ui: Ui,
) -> Result<Left, Failure> {
    let mut client = Client::connect(entry)?;
    let person = is_terminal(io::stdin());
    // Who owns the machine was there from its first byte on.
    let history = if person && !owns { HISTORY_BYTES } else { 0 };
    let raw = person.then(RawMode::enter).transpose();
    let raw = raw.map_err(|error| Failure::io("the terminal", &error))?;
    let shared = Arc::new(Shared {
        writer: Mutex::new(client.another()?),
        raw,
        detaching: AtomicBool::new(false),
        saving: AtomicBool::new(false),
        signal: AtomicU8::new(0),
        // Who comes later types when they want to.
        gate: Gate::new(entry.machine.ready.as_deref().filter(|_| owns && !person)),
        ends: omni_kinds::kind_of(&entry.machine.kind)
            .is_ok_and(|kind| kind.info().group == Group::Process),
        first,
        ui,
    });
    if person && stderr_is_terminal() {
        ui.say("omni: Ctrl-] then d detaches, q quits, s takes a snapshot, Ctrl-] sends itself\r");
    }
    let for_signals = shared.clone();
    watch_signals(move |signal| on_signal(&for_signals, signal))
        .map_err(|error| Failure::io("cannot watch signals", &error))?;
    shared.send(&Request::Attach { history, hold: owns, own: owns });
    if person {
        shared.resize();
    }
    let for_input = shared.clone();
    let body = move || type_in(&for_input, person);
    std::thread::Builder::new()
        .name("input".into())
        .spawn(body)
        .map_err(|error| Failure::io("cannot make a thread", &error))?;
    let left = listen(&mut client, &shared);
    if let Some(raw) = &shared.raw {
        raw.restore();
    }
    client.close();
    if left == Ok(Left::Detached) && person {
        let name = &entry.machine.name;
        ui.say(&format!("\nomni: detached; 'omni attach {name}' comes back"));
    }
    left.map_err(|failure| match shared.signal.load(Ordering::Relaxed) {
        0 => failure.into(),
        number => Failure::new(128 + number, ""),
    })
}

/// Why nothing more can be heard.
#[derive(PartialEq, Eq, Debug)]
enum Deaf {
    /// The monitor said no.
    Refused(u8, String),
    /// The monitor has gone.
    Gone(String),
    /// Nobody takes the output.
    Output(u8, String),
}

impl From<Deaf> for Failure {
    fn from(deaf: Deaf) -> Self {
        match deaf {
            Deaf::Refused(code, text) | Deaf::Output(code, text) => Self::new(code, text),
            Deaf::Gone(text) => Self::new(code::OWN_FAILURE, text),
        }
    }
}

fn listen(client: &mut Client, shared: &Shared) -> Result<Left, Deaf> {
    loop {
        match client.receive() {
            Ok(Message::Output(bytes)) => {
                shared.gate.hear(&bytes);
                let written = shared.ui.bytes(&bytes);
                written.map_err(|failure| Deaf::Output(failure.code, failure.text))?;
            }
            Ok(Message::Errors(bytes)) => shared.ui.errors(&bytes),
            Ok(Message::Reply(Reply::Exited { code, error: None })) => {
                return Ok(Left::Exited(code));
            }
            Ok(Message::Reply(Reply::Exited { code, error: Some(text) })) => {
                // The guest may have done well, but not all that was asked for was done.
                let code = if code == 0 { code::OWN_FAILURE } else { code };
                return Err(Deaf::Refused(code, text));
            }
            Ok(Message::Reply(Reply::Error { text, .. }))
                if shared.saving.swap(false, Ordering::Relaxed) =>
            {
                shared.ui.say(&format!("\r\nomni: no snapshot was taken: {text}\r"));
            }
            Ok(Message::Reply(Reply::Error { code, text })) => {
                return Err(Deaf::Refused(code, text));
            }
            Ok(Message::Reply(Reply::Lost { bytes })) => {
                shared.ui.say(&format!("omni: {bytes} bytes of output were lost here\r"));
            }
            Ok(Message::Reply(Reply::Ok { value })) => {
                if let Some(tag) = value["tag"].as_str() {
                    shared.saving.store(false, Ordering::Relaxed);
                    shared.ui.say(&format!("\r\nomni: snapshot {tag}\r"));
                }
                if shared.detaching.load(Ordering::Relaxed) {
                    return Ok(Left::Detached);
                }
            }
            Err(ControlError::Gone(_)) if shared.detaching.load(Ordering::Relaxed) => {
                return Ok(Left::Detached);
            }
            Err(error) => return Err(Deaf::Gone(error.to_string())),
        }
    }
}

/// The thread that reads standard input. Its end is not the guest's end.
fn type_in(shared: &Shared, person: bool) {
    shared.gate.pass();
    if !shared.first.is_empty() && shared.writer().input(&shared.first).is_err() {
        return;
    }
    let mut escapes = Escapes::default();
    let mut buffer = [0; 4096];
    loop {
        let bytes = match io::stdin().read(&mut buffer) {
            Ok(0) => {
                // Programs hear of the end, systems do not.
                if shared.ends {
                    let _ = shared.writer().input(&[]);
                }
                return;
            }
            Ok(count) => &buffer[..count],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let typed = if person { escapes.take(bytes) } else { vec![Typed::Bytes(bytes.to_vec())] };
        for part in typed {
            match part {
                Typed::Bytes(bytes) => {
                    if shared.writer().input(&bytes).is_err() {
                        return;
                    }
                }
                Typed::Detach => {
                    shared.detaching.store(true, Ordering::Relaxed);
                    shared.send(&Request::Detach);
                    return;
                }
                Typed::Quit => {
                    shared.send(&Request::Kill { keep: false });
                }
                Typed::Snapshot => {
                    shared.saving.store(true, Ordering::Relaxed);
                    shared.send(&Request::Snapshot { tag: None });
                }
                Typed::Rewind => {
                    shared.ui.say(
                        "\r\nomni: 'omni rewind' goes back in time, 'omni restore' to a snapshot\r",
                    );
                }
                Typed::Unknown(_) => {
                    shared.ui.say("\r\nomni: after Ctrl-] comes d, q, s or Ctrl-]\r");
                }
            }
        }
    }
}

fn on_signal(shared: &Shared, signal: Signal) {
    match signal {
        Signal::Resized => shared.resize(),
        Signal::Continued => {
            if let Some(raw) = &shared.raw {
                // A terminal that has gone is told of by the next read.
                let _ = raw.again();
            }
            shared.resize();
        }
        Signal::End(number) => {
            if let Some(raw) = &shared.raw {
                raw.restore();
            }
            shared.signal.store(u8::try_from(number).unwrap_or(1), Ordering::Relaxed);
            // The listener finds the connection closed; the monitor finds its owner gone.
            shared.writer().close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_when_the_words_have_come_also_in_parts() {
        let gate = Gate::new(Some("ready: now"));
        for part in ["read", "y", ": later, ready", ": n"] {
            gate.hear(part.as_bytes());
            assert!(!gate.open.load(Ordering::Relaxed), "{part}");
        }
        gate.hear(b"ow and then");
        gate.pass();
        Gate::new(None).pass();
    }
}
