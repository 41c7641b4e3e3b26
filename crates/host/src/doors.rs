//! Sockets at which clients arrive: many of them, watched by one thread.

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Sockets that are looked at in one go.
const EVENTS_MAX: usize = 64;

/// How long to wait where the host has no more descriptors: others will be given back.
const SHORT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

type Take = Arc<dyn Fn(UnixStream) + Send + Sync>;

struct Door {
    listener: UnixListener,
    take: Take,
}

#[derive(Default)]
struct Inner {
    doors: BTreeMap<u64, Door>,
    next: u64,
}

/// Sockets of a process that clients connect to.
pub struct Doors {
    epoll: OwnedFd,
    inner: Mutex<Inner>,
}

impl Doors {
    /// None yet. Its thread lives as long as the process.
    ///
    /// # Errors
    /// What the host says.
    pub fn open() -> io::Result<Arc<Self>> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let doors = Arc::new(Self { epoll, inner: Mutex::default() });
        let body = {
            let doors = doors.clone();
            move || doors.watch()
        };
        std::thread::Builder::new().name("doors".into()).spawn(body)?;
        Ok(doors)
    }

    /// Watches a socket: `take`, which must not block, gets each client. Gives what `close` takes.
    ///
    /// # Errors
    /// What the host says.
    pub fn add(
        &self,
        listener: UnixListener,
        take: impl Fn(UnixStream) + Send + Sync + 'static,
    ) -> io::Result<u64> {
        listener.set_nonblocking(true)?;
        let mut inner = self.inner();
        let id = inner.next;
        inner.next += 1;
        epoll::add(&self.epoll, &listener, EventData::new_u64(id), EventFlags::IN)?;
        inner.doors.insert(id, Door { listener, take: Arc::new(take) });
        Ok(id)
    }

    /// Closes a socket: nobody arrives there any more.
    pub fn close(&self, id: u64) {
        // Closing takes it out of what is watched.
        self.inner().doors.remove(&id);
    }

    fn watch(&self) {
        let mut events = [const { std::mem::MaybeUninit::<Event>::uninit() }; EVENTS_MAX];
        loop {
            let ids: Vec<u64> = match epoll::wait(&self.epoll, &mut events, None) {
                Ok((some, _)) => some.iter().map(|event| event.data.u64()).collect(),
                Err(_) => vec![],
            };
            ids.into_iter().for_each(|id| self.let_in(id));
        }
    }

    fn let_in(&self, id: u64) {
        loop {
            // Nobody closes a socket while a client is taken from it, but may right after.
            let (taken, take) = match self.inner().doors.get(&id) {
                Some(door) => (door.listener.accept(), door.take.clone()),
                None => return,
            };
            match taken {
                Ok((stream, _)) => take(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return std::thread::sleep(SHORT_OF_DESCRIPTORS),
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors").field("count", &self.inner().doors.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempDir;
    use std::io::{Read, Write};

    #[test]
    fn clients_arrive_at_the_door_that_they_came_to_until_it_is_closed() {
        let dir = TempDir::new("doors").expect("a writable host");
        let doors = Doors::open().expect("a thread");
        let paths = [b'a', b'b', b'c'].map(|name| {
            let path = dir.path().join(char::from(name).to_string());
            let listener = UnixListener::bind(&path).expect("bindable");
            let take = move |mut stream: UnixStream| stream.write_all(&[name]).expect("open");
            (doors.add(listener, take).expect("watched"), path, name)
        });
        for (_, path, name) in paths.iter().chain(&paths) {
            let mut said = Vec::new();
            let mut stream = UnixStream::connect(path).expect("open");
            stream.read_to_end(&mut said).expect("closed by the other side");
            assert_eq!(said, [*name]);
        }
        doors.close(paths[1].0);
        assert!(UnixStream::connect(&paths[1].1).is_err());
        assert!(UnixStream::connect(&paths[0].1).is_ok());
    }
}
