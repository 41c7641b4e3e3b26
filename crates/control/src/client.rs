//! A client of a monitor.

use crate::{ControlError, Entry, Frame, FrameError, Reply, Request, read_frame, write_frame};
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What comes from a monitor.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// An answer, or news.
    Reply(Reply),
    /// Output of the console.
    Output(Vec<u8>),
    /// What a program says of its errors.
    Errors(Vec<u8>),
}

/// A connection to the monitor of a machine.
#[derive(Debug)]
pub struct Client {
    name: String,
    stream: UnixStream,
}

impl Client {
    /// Connects to the monitor of a live machine.
    ///
    /// # Errors
    /// Where the machine has none.
    pub fn connect(entry: &Entry) -> Result<Self, ControlError> {
        let name = entry.machine.name.clone();
        let wrong = |state: &'static str| ControlError::WrongState {
            name: name.clone(),
            state,
            hint: format!("'omni start {name}' starts it"),
        };
        if !entry.state.state.is_live() {
            return Err(wrong(entry.state.state.word()));
        }
        let socket = entry.state.socket.as_ref().ok_or_else(|| wrong("without a monitor"))?;
        let stream = UnixStream::connect(socket).map_err(|_| ControlError::Gone(name.clone()))?;
        Ok(Self { name, stream })
    }

    /// Another handle of the same connection, to read on one thread and write on another.
    ///
    /// # Errors
    /// What the host says.
    pub fn another(&self) -> Result<Self, ControlError> {
        let stream = self.stream.try_clone().map_err(|_| self.gone())?;
        Ok(Self { name: self.name.clone(), stream })
    }

    /// Sends a request; its answer comes by `receive`.
    ///
    /// # Errors
    /// Where the monitor has gone.
    pub fn send(&mut self, request: &Request) -> Result<(), ControlError> {
        let body = serde_json::to_vec(request).expect("a request is plain data");
        write_frame(&mut self.stream, &Frame::Control(body)).map_err(|_| self.gone())
    }

    /// Sends input for the console.
    ///
    /// # Errors
    /// Where the monitor has gone.
    pub fn input(&mut self, bytes: &[u8]) -> Result<(), ControlError> {
        write_frame(&mut self.stream, &Frame::Console(bytes.to_vec())).map_err(|_| self.gone())
    }

    /// The next message.
    ///
    /// # Errors
    /// Where the monitor has gone or does not speak the protocol.
    pub fn receive(&mut self) -> Result<Message, ControlError> {
        match read_frame(&mut self.stream) {
            Ok(Frame::Console(bytes)) => Ok(Message::Output(bytes)),
            Ok(Frame::Errors(bytes)) => Ok(Message::Errors(bytes)),
            Ok(Frame::Control(body)) => {
                serde_json::from_slice(&body).map(Message::Reply).map_err(|_| self.gone())
            }
            Err(FrameError::Closed | FrameError::Io(_) | FrameError::Invalid(_)) => {
                Err(self.gone())
            }
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// Where the monitor has gone or says no.
    pub fn ask(&mut self, request: &Request) -> Result<serde_json::Value, ControlError> {
        self.send(request)?;
        self.answer()
    }

    /// Waits for each message at most so long from now on.
    ///
    /// # Errors
    /// Where the monitor has gone.
    pub fn set_patience(&self, most: Duration) -> Result<(), ControlError> {
        self.stream.set_read_timeout(Some(most)).map_err(|_| self.gone())
    }

    /// Waits for the answer to a request that was sent.
    ///
    /// # Errors
    /// Where the monitor has gone or says no.
    pub fn answer(&mut self) -> Result<serde_json::Value, ControlError> {
        loop {
            match self.receive()? {
                Message::Reply(Reply::Ok { value }) => return Ok(value),
                Message::Reply(Reply::Error { code, text }) => {
                    return Err(ControlError::Refused { code, text });
                }
                Message::Reply(Reply::Exited { .. }) => return Err(self.gone()),
                Message::Reply(Reply::Lost { .. }) | Message::Output(_) | Message::Errors(_) => {}
            }
        }
    }

    /// Ends the connection for every handle of it.
    pub fn close(&self) {
        // One that is broken already is as good as closed.
        let _: io::Result<()> = self.stream.shutdown(std::net::Shutdown::Both);
    }

    fn gone(&self) -> ControlError {
        ControlError::Gone(self.name.clone())
    }
}
