//! The sockets of a switch: one per member in its folder, and connections that keep packets whole.

use super::port::{Link, Sent};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open, openat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, connect, listen, recv, send, socket_with,
};
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;

/// How long to rest before a lock is tried again.
const REST: Duration = Duration::from_millis(2);

/// What the name of a member's socket ends with.
const SUFFIX: &str = ".sock";

/// The folder of a switch.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Sockets are named by this, as a path to one must be short.
    handle: OwnedFd,
}

/// The lock of a switch: while it is held, nobody joins.
#[derive(Debug)]
pub struct SwitchLock {
    _file: OwnedFd,
}

/// A connection to another member.
#[derive(Clone, Debug)]
pub(crate) struct Wire(pub(crate) Arc<OwnedFd>);

/// What became of an attempt to connect.
pub(crate) enum Reached {
    /// The other side takes it, now or soon.
    Wire(Wire),
    /// Nobody is behind the socket: it was left over.
    Nobody,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let handle = open(path, flags, Mode::empty())?;
        Ok(Self { path: path.into(), handle })
    }

    /// Takes the lock, or nothing where somebody has it for that long.
    pub(crate) fn lock(&self, most: Duration) -> io::Result<Option<SwitchLock>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let file = openat(&self.handle, "lock", flags, Mode::RUSR | Mode::WUSR)?;
        let until = Instant::now() + most;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(SwitchLock { _file: file })),
                Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(REST),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The members that have a socket here, whether they live or not.
    pub(crate) fn members(&self) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        for item in std::fs::read_dir(&self.path)? {
            let name = item?.file_name();
            let member = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            all.extend(member.map(str::to_owned));
        }
        Ok(all)
    }

    /// The socket of a member, listening. It is there in one step, and whole.
    pub(crate) fn listen(&self, member: &str) -> io::Result<OwnedFd> {
        let listener = seqpacket()?;
        let fresh = self.path.join(format!("{member}.new"));
        // One of a member that was killed in between.
        let _ = std::fs::remove_file(&fresh);
        bind(&listener, &self.address(&format!("{member}.new"))?)?;
        listen(&listener, BACKLOG)?;
        std::fs::rename(&fresh, self.path.join(format!("{member}{SUFFIX}")))?;
        Ok(listener)
    }

    /// Connects to a member.
    pub(crate) fn connect(&self, member: &str) -> io::Result<Reached> {
        let wire = seqpacket()?;
        match connect(&wire, &self.address(&format!("{member}{SUFFIX}"))?) {
            Ok(()) => Ok(Reached::Wire(Wire(Arc::new(wire)))),
            Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(Reached::Nobody),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the socket of a member.
    pub(crate) fn remove(&self, member: &str) {
        // One that has gone already is as good as removed.
        let _ = std::fs::remove_file(self.path.join(format!("{member}{SUFFIX}")));
    }

    fn address(&self, name: &str) -> io::Result<SocketAddrUnix> {
        let handle = self.handle.as_raw_fd();
        Ok(SocketAddrUnix::new(format!("/proc/self/fd/{handle}/{name}"))?)
    }
}

/// A member that has connected, if one has.
pub(crate) fn accept(listener: &OwnedFd) -> io::Result<Option<Wire>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match accept_with(listener, flags) {
        Ok(wire) => Ok(Some(Wire(Arc::new(wire)))),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The next packet: its size, nothing where there is none now, an error at the end.
pub(crate) fn receive(wire: &Wire, into: &mut [u8]) -> io::Result<Option<usize>> {
    match recv(&wire.0, into, RecvFlags::TRUNC) {
        // An empty packet is none of ours, and looks like the end.
        Ok((_, 0)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok((_, size)) => Ok(Some(size)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Link for Wire {
    fn send(&mut self, packet: &[u8]) -> Sent {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match send(&self.0, packet, flags) {
            Ok(_) => Sent::Done,
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => Sent::Full,
            Err(_) => Sent::Gone,
        }
    }
}

fn seqpacket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}
