//! Pings to the outside, through the host's unprivileged ICMP sockets where it permits them.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recv, send,
    socket_with,
};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr};

/// One socket for the pings of one flow; the host puts its own identifier into them.
#[derive(Debug)]
pub(crate) struct EchoSocket(pub(crate) OwnedFd);

impl EchoSocket {
    /// Opens a socket towards `target`; an error where the host does not permit it.
    pub(crate) fn open(target: Ipv4Addr) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let protocol = Some(ipproto::ICMP);
        let fd = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, protocol)?;
        connect(&fd, &std::net::SocketAddrV4::new(target, 0))?;
        Ok(Self(fd))
    }

    /// Sends an echo request.
    pub(crate) fn request(&self, seq_no: u16, data: &[u8]) -> io::Result<()> {
        let repr = Icmpv4Repr::EchoRequest { ident: 0, seq_no, data };
        let mut message = vec![0; repr.buffer_len()];
        let mut packet = Icmpv4Packet::new_unchecked(&mut message[..]);
        repr.emit(&mut packet, &ChecksumCapabilities::default());
        send(&self.0, &message, SendFlags::empty())?;
        Ok(())
    }

    /// Takes one echo reply into `buffer`: its sequence number and data. `Ok(None)` is something
    /// else that came.
    pub(crate) fn reply<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<(u16, &'a [u8])>> {
        let (len, _) = recv(&self.0, &mut *buffer, RecvFlags::empty())?;
        let Ok(packet) = Icmpv4Packet::new_checked(&buffer[..len]) else { return Ok(None) };
        match Icmpv4Repr::parse(&packet, &ChecksumCapabilities::ignored()) {
            Ok(Icmpv4Repr::EchoReply { seq_no, data, .. }) => Ok(Some((seq_no, data))),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    #[test]
    fn a_ping_is_answered_where_the_host_permits_pings() {
        let Ok(socket) = EchoSocket::open(Ipv4Addr::LOCALHOST) else {
            eprintln!("skipped: this host permits no unprivileged pings");
            return;
        };
        socket.request(7, b"hello").unwrap();
        let mut fds = [PollFd::new(&socket.0, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })).unwrap();
        let mut buffer = [0; 256];
        assert_eq!(socket.reply(&mut buffer).unwrap(), Some((7, &b"hello"[..])));
    }
}
