//! Ways to a debugger: a socket, and bytes that were thought up.

use omni_debug::{Received, Wire};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) struct Socket(TcpStream);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("it is a socket");
        stream.set_read_timeout(Some(Duration::from_millis(20))).expect("it is not zero");
        Self(stream)
    }
}

impl Wire for Socket {
    fn receive(&mut self, into: &mut [u8], wait: bool) -> io::Result<Received> {
        self.0.set_nonblocking(!wait)?;
        match self.0.read(into) {
            Ok(0) => Ok(Received::End),
            Ok(count) => Ok(Received::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Received::Nothing),
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.set_nonblocking(false)?;
        self.0.write_all(bytes)
    }
}

/// A debugger that says what was thought up for it, and waits a while before each part.
pub(crate) struct Script {
    parts: VecDeque<Vec<u8>>,
    waits: u32,
    /// Times that nothing comes before each part.
    pub(crate) gap: u32,
    pub(crate) said: Vec<u8>,
}

impl Script {
    pub(crate) fn new(parts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { parts: parts.into_iter().collect(), waits: 0, gap: 2, said: Vec::new() }
    }
}

impl Wire for Script {
    fn receive(&mut self, into: &mut [u8], wait: bool) -> io::Result<Received> {
        self.waits += 1;
        if !wait && self.waits < self.gap {
            return Ok(Received::Nothing);
        }
        self.waits = 0;
        let Some(part) = self.parts.pop_front() else { return Ok(Received::End) };
        let count = part.len().min(into.len());
        into[..count].copy_from_slice(&part[..count]);
        if count < part.len() {
            self.parts.push_front(part[count..].to_vec());
        }
        Ok(Received::Bytes(count))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.said.extend_from_slice(bytes);
        Ok(())
    }
}

/// A packet with its checksum.
pub(crate) fn packet(body: &[u8]) -> Vec<u8> {
    let sum = body.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    [b"$", body, format!("#{sum:02x}").as_bytes()].concat()
}
