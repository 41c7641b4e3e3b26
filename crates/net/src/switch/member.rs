//! A member of a switch: its sockets, the thread that listens at them, and the handle of its owner.

use super::cut::{CutError, CutId};
use super::packet::{MEMBER_BYTES_MAX, PACKET_BYTES_MAX};
use super::port::{Arrival, PeerKey, Port, SwitchStats};
use super::socket::{Folder, Reached, SwitchLock, Wire, accept, receive};
use rustix::event::{PollFd, PollFlags, poll};
use std::collections::BTreeSet;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Members of one switch. Each is connected to all others.
const MEMBERS_MAX: usize = 256;

/// How long somebody who joins waits for another who does, or for a cut.
const JOIN: Duration = Duration::from_secs(20);

/// Packets of a peer that are taken before the next has its turn.
const BATCH: usize = 64;

/// Rest after the host could not even wait.
const FAULT_REST: Duration = Duration::from_millis(20);

/// Gives a frame to the machine. It must not block; it says whether the machine will get it.
pub type Deliver = Box<dyn Fn(Vec<u8>) -> bool + Send>;

/// Has the machine sealed behind the frames that were delivered so far, by its own thread, which
/// then calls `SwitchMember::sealed`. It must not block; it says whether that will be tried.
pub type Seal = Box<dyn FnOnce() -> bool + Send>;

/// Why a switch cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// What the host says.
    #[error("the switch at {0}: {1}")]
    Io(PathBuf, io::Error),
    /// There are too many members.
    #[error("the switch at {0} has {MEMBERS_MAX} members, which is all it can have")]
    Full(PathBuf),
    /// Somebody holds its lock, or a member takes no connections.
    #[error("the switch at {0} is held by another process that does not go on")]
    Held(PathBuf),
    /// A member's name is not one.
    #[error("'{0}' cannot be the name of a member: letters and digits only")]
    Name(String),
}

/// Whose port it is, and of which switch.
#[derive(Clone, Debug)]
pub struct SwitchConfig {
    /// The folder of the switch.
    pub folder: PathBuf,
    /// The id of the machine.
    pub member: String,
}

/// A machine on a switch; dropping it takes the machine off.
pub struct SwitchMember {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    folder: Folder,
    member: String,
}

struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
    stop: AtomicBool,
    waker: PipeWriter,
    began: Instant,
}

struct Inner {
    port: Port<Wire>,
    deliver: Deliver,
    seal: Option<Seal>,
}

/// Holds a switch: nobody joins while this lives.
///
/// # Errors
/// Where somebody else holds it for longer than given, and what the host says.
pub fn take_switch(folder: &Path, most: Duration) -> Result<SwitchLock, SwitchError> {
    let io = |error| SwitchError::Io(folder.into(), error);
    let lock = Folder::open(folder).and_then(|folder| folder.lock(most)).map_err(io)?;
    lock.ok_or_else(|| SwitchError::Held(folder.into()))
}

impl SwitchMember {
    /// Joins a switch, which is made where it is missing.
    ///
    /// # Errors
    /// Where it is full or held, and what the host says.
    pub fn join(config: SwitchConfig, deliver: Deliver) -> Result<Self, SwitchError> {
        let SwitchConfig { folder: path, member } = config;
        let sound = member.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !sound || member.is_empty() || member.len() > MEMBER_BYTES_MAX {
            return Err(SwitchError::Name(member));
        }
        let io = |error| SwitchError::Io(path.clone(), error);
        let folder = Folder::open(&path).map_err(io)?;
        let lock = folder.lock(JOIN).map_err(io)?;
        let lock = lock.ok_or_else(|| SwitchError::Held(path.clone()))?;
        let mut port = Port::new(&member);
        for other in folder.members().map_err(io)?.into_iter().filter(|other| *other != member) {
            match folder.connect(&other) {
                Ok(Reached::Wire(wire)) => drop(port.connect(wire, Some(other))),
                Ok(Reached::Nobody) => folder.remove(&other),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(SwitchError::Held(path));
                }
                Err(error) => return Err(io(error)),
            }
        }
        if port.members().len() >= MEMBERS_MAX {
            return Err(SwitchError::Full(path));
        }
        let listener = folder.listen(&member).map_err(io)?;
        drop(lock);
        let (wake, waker) = pipe().map_err(io)?;
        for done in
            [rustix::io::ioctl_fionbio(&wake, true), rustix::io::ioctl_fionbio(&waker, true)]
        {
            done.map_err(|errno| io(errno.into()))?;
        }
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner { port, deliver, seal: None }),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            waker,
            began: Instant::now(),
        });
        let body = {
            let shared = shared.clone();
            move || Listener { shared, listener, wake, packet: vec![0; PACKET_BYTES_MAX + 1] }.run()
        };
        let thread = thread::Builder::new().name("switch".into()).spawn(body).map_err(io)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)), folder, member })
    }

    /// Sends a frame of the machine. Never blocks; it is lost where too much waits.
    pub fn send(&self, frame: &[u8]) {
        let now_ms = self.shared.now_ms();
        let mut inner = self.shared.inner();
        inner.port.send(frame, now_ms);
        let stalled = inner.port.take_stalled();
        drop(inner);
        if stalled {
            self.shared.wake();
        }
    }

    /// Takes the machine off, for good.
    pub fn leave(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
        // One that has panicked listens no more either.
        let _ = thread.join();
        self.folder.remove(&self.member);
        self.shared.inner().port.close();
        self.shared.changed.notify_all();
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> SwitchStats {
        self.shared.inner().port.stats()
    }

    /// The ids of the other members.
    #[must_use]
    pub fn members(&self) -> BTreeSet<String> {
        self.shared.inner().port.members()
    }

    /// Makes ready for a cut of these members; `seal` is called at most once, when it begins here.
    ///
    /// # Errors
    /// Where another is under way, or others are connected than these.
    pub fn arm(&self, id: CutId, members: &BTreeSet<String>, seal: Seal) -> Result<(), CutError> {
        let mut inner = self.shared.inner();
        inner.port.arm(id, members)?;
        inner.seal = Some(seal);
        Ok(())
    }

    /// Begins the cut here, if no marker has yet.
    ///
    /// # Errors
    /// Where it is not under way.
    pub fn begin(&self, id: CutId) -> Result<(), CutError> {
        let mut inner = self.shared.inner();
        if inner.port.begin(id)? {
            inner.seal_machine(id);
        }
        Ok(())
    }

    /// The machine is sealed: called by its own thread, before anything else of it is sent.
    pub fn sealed(&self, id: CutId) {
        let mut inner = self.shared.inner();
        inner.port.sealed(id);
        drop(inner);
        self.shared.changed.notify_all();
        self.shared.wake();
    }

    /// Waits for the frames that were in flight towards the machine.
    ///
    /// # Errors
    /// Where the cut cannot be had, or not in time.
    pub fn in_flight(&self, id: CutId, most: Duration) -> Result<Vec<Vec<u8>>, CutError> {
        let until = Instant::now() + most;
        let mut inner = self.shared.inner();
        loop {
            if let Some(frames) = inner.port.in_flight(id)? {
                return Ok(frames);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(inner.port.late(id));
            }
            let waited = self.shared.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The cut is over, or given up.
    pub fn disarm(&self, id: CutId) {
        let mut inner = self.shared.inner();
        inner.port.disarm(id);
        inner.seal = None;
        drop(inner);
        self.shared.changed.notify_all();
    }
}

impl Drop for SwitchMember {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Inner {
    fn seal_machine(&mut self, id: CutId) {
        let tried = self.seal.take().is_some_and(|seal| seal());
        if !tried {
            self.port.unsealed(id);
        }
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each step leaves the port whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // A full pipe wakes as well.
        let _ = (&self.waker).write(&[1]);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The thread of a member.
struct Listener {
    shared: Arc<Shared>,
    listener: OwnedFd,
    wake: PipeReader,
    packet: Vec<u8>,
}

impl Listener {
    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            let links: Vec<(PeerKey, Wire, bool)> = {
                let inner = self.shared.inner();
                let all = inner.port.links();
                all.map(|(key, wire, waits)| (key, wire.clone(), waits)).collect()
            };
            let ready = self.wait(&links);
            for ((key, wire, _), flags) in links.iter().zip(ready) {
                if flags.contains(PollFlags::OUT) {
                    self.shared.inner().port.flush(*key);
                }
                if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                    self.take(*key, wire);
                }
            }
        }
    }

    /// Waits until something is to be done, and gives what is ready of each link.
    fn wait(&mut self, links: &[(PeerKey, Wire, bool)]) -> Vec<PollFlags> {
        let mut fds = vec![
            PollFd::new(&self.wake, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        for (_, wire, waits) in links {
            let out = if *waits { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::new(&*wire.0, PollFlags::IN | out));
        }
        if let Err(error) = poll(&mut fds, None) {
            if error != rustix::io::Errno::INTR {
                thread::sleep(FAULT_REST);
            }
            return Vec::new();
        }
        let flags: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if !flags[0].is_empty() {
            let mut bytes = [0; 64];
            // Whoever woke us has done so before.
            let _ = (&self.wake).read(&mut bytes);
        }
        if !flags[1].is_empty() {
            self.accept();
        }
        flags[2..].to_vec()
    }

    /// Takes those who have connected, where there is room for them.
    fn accept(&mut self) {
        loop {
            match accept(&self.listener) {
                Ok(Some(wire)) => {
                    let mut inner = self.shared.inner();
                    if inner.port.links().count() < 2 * MEMBERS_MAX {
                        inner.port.connect(wire, None);
                    }
                }
                Ok(None) => return,
                // The host has no more descriptors: others will be given back.
                Err(_) => return thread::sleep(FAULT_REST),
            }
        }
    }

    /// Takes some of what a peer has sent.
    fn take(&mut self, key: PeerKey, wire: &Wire) {
        for _ in 0..BATCH {
            let size = match receive(wire, &mut self.packet) {
                Ok(Some(size)) => size,
                Ok(None) => return,
                Err(_) => return self.disconnect(key),
            };
            // What is too large for a packet was cut, and is none.
            let packet = self.packet.get(..size).unwrap_or_default();
            let now_ms = self.shared.now_ms();
            // Held until what came is in the machine's queue: a seal must not come between.
            let mut inner = self.shared.inner();
            match inner.port.take(key, packet, now_ms) {
                Arrival::Nothing => {}
                Arrival::Frame(frame) => {
                    let taken = (inner.deliver)(frame.to_vec());
                    inner.port.delivered(key, frame, taken);
                    continue;
                }
                Arrival::Seal(id) => inner.seal_machine(id),
                Arrival::Refused => {
                    drop(inner);
                    return self.disconnect(key);
                }
            }
            drop(inner);
            self.shared.changed.notify_all();
        }
    }

    fn disconnect(&mut self, key: PeerKey) {
        self.shared.inner().port.disconnect(key);
        self.shared.changed.notify_all();
    }
}
