//! One TCP connection: a smoltcp socket towards the guest joined to a stream of the host.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use smoltcp::socket::tcp::{Socket, State};

/// What tells one connection from another, as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlowKey {
    pub(crate) guest: SocketAddrV4,
    pub(crate) remote: SocketAddrV4,
}

/// The host's half of a connection.
#[derive(Debug)]
pub(crate) struct HostHalf {
    stream: Option<TcpStream>,
    /// The last read did not end with "nothing there".
    readable: bool,
    /// The last write did not end with "no room".
    writable: bool,
    /// The host has sent all it will.
    host_done: bool,
    /// The guest has sent all it will, and the host was told.
    guest_done: bool,
    /// When bytes last moved.
    pub(crate) used: Instant,
}

/// Begins to connect to `target`; the stream is connected once it is writable without an error.
pub(crate) fn start_connect(target: SocketAddr) -> io::Result<TcpStream> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&fd, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(fd)),
        Err(error) => Err(error.into()),
    }
}

/// True if the stream whose connecting has ended is connected (and not to itself, as loopback
/// connections to a free port of the ephemeral range can be).
pub(crate) fn is_connected(stream: &TcpStream) -> bool {
    matches!(sockopt::socket_error(stream), Ok(Ok(())))
        && match (stream.local_addr(), stream.peer_addr()) {
            (Ok(local), Ok(peer)) => local != peer,
            _ => false,
        }
}

/// Ends a connection of the host such that its other end sees a reset.
pub(crate) fn reset(stream: &TcpStream) {
    // If the host refuses, the other end sees an orderly end instead: nothing better is left.
    let _orderly = sockopt::set_socket_linger(stream, Some(std::time::Duration::ZERO));
}

impl HostHalf {
    pub(crate) fn new(stream: TcpStream, now: Instant) -> Self {
        // The guest's own TCP has decided what goes together; waiting again only adds delay.
        let _slower = stream.set_nodelay(true);
        Self {
            stream: Some(stream),
            readable: true,
            writable: true,
            host_done: false,
            guest_done: false,
            used: now,
        }
    }

    pub(crate) fn stream(&self) -> Option<&TcpStream> {
        self.stream.as_ref()
    }

    /// What to wait for at the host's stream; empty if only the guest can bring this flow on.
    pub(crate) fn interest(&self, socket: &Socket<'_>) -> PollFlags {
        let mut flags = PollFlags::empty();
        if !self.host_done && !self.readable && socket.can_send() {
            flags |= PollFlags::IN;
        }
        if !self.writable && socket.can_recv() {
            flags |= PollFlags::OUT;
        }
        flags
    }

    /// Notes what the host's stream is ready for.
    pub(crate) fn ready(&mut self, flags: PollFlags) {
        let ended = flags.intersects(PollFlags::ERR | PollFlags::HUP);
        self.readable |= ended || flags.contains(PollFlags::IN);
        self.writable |= ended || flags.contains(PollFlags::OUT);
    }

    /// Moves what can be moved in both directions, and passes ends and resets on.
    pub(crate) fn pump(&mut self, socket: &mut Socket<'_>, now: Instant) {
        let Some(stream) = self.stream.take() else { return };
        let moved = self.feed_host(&stream, socket).and_then(|there| {
            let here = self.feed_guest(&stream, socket)?;
            Ok(there || here)
        });
        match moved {
            Ok(true) => self.used = now,
            Ok(false) => {}
            Err(_) => {
                reset(&stream);
                socket.abort();
                return;
            }
        }
        if self.host_done && self.guest_done {
            return;
        }
        if socket.state() == State::Closed {
            // The guest has reset the connection, or it never came to be.
            reset(&stream);
            return;
        }
        self.stream = Some(stream);
    }

    fn feed_host(&mut self, mut stream: &TcpStream, socket: &mut Socket<'_>) -> io::Result<bool> {
        let mut moved = false;
        while self.writable && socket.can_recv() {
            let written = socket.recv(|data| match stream.write(data) {
                Ok(len) => (len, Ok(len)),
                Err(error) => (0, Err(error)),
            });
            match written {
                Ok(Ok(len)) => moved |= len > 0,
                Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                // Data that came with the SYN waits until the connection is open.
                Err(_) => break,
            }
        }
        let ended = matches!(
            socket.state(),
            State::CloseWait | State::Closing | State::LastAck | State::TimeWait
        );
        if ended && !socket.can_recv() && !self.guest_done {
            self.guest_done = true;
            // Not connected any more means that the host's end was there first.
            let _gone = stream.shutdown(Shutdown::Write);
        }
        Ok(moved)
    }

    fn feed_guest(&mut self, mut stream: &TcpStream, socket: &mut Socket<'_>) -> io::Result<bool> {
        let mut moved = false;
        while self.readable && !self.host_done && socket.can_send() {
            let read = socket.send(|room| match stream.read(room) {
                Ok(len) => (len, Ok(len)),
                Err(error) => (0, Err(error)),
            });
            match read {
                Ok(Ok(0)) => {
                    self.host_done = true;
                    socket.close();
                }
                Ok(Ok(_)) => moved = true,
                Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        Ok(moved)
    }
}
