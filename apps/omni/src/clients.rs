//! The clients of a machine: one thread each, and one more for the console of those attached.
//!
//! Nothing that a client sends ends the monitor: a frame that is none ends its connection only.

use crate::cable::places;
use crate::cuts::Part;
use crate::debugging::{self, Hands, Remote};
use crate::failure::{Failure, code};
use crate::family::{self, own_bytes_of};
use crate::keeper::seal;
use crate::monitor::{HOLD, Listener, Shared, virtual_ms};
use crate::recorded;
use omni_base::{PAGE_SIZE_U64, Tick};
use omni_control::{CutStep, Frame, Phase, Reply, Request, read_frame, write_frame};
use omni_host::{Chunk, Doors, Item, Subscription, anonymous_bytes, merged_bytes, private_bytes};
use omni_kinds::KINDS;
use omni_lifecycle::Snapshot;
use omni_machine::{Control, Event, Machine, digest};
use omni_memory::frames_used;
use omni_recording::moment_text;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Connections at a time.
const CLIENTS_MAX: usize = 64;

/// How long a visit to the machine may take.
const VISIT: Duration = Duration::from_secs(60);

/// The connections of the clients of one machine.
#[derive(Default)]
pub(crate) struct Guests(Mutex<Visitors>);

#[derive(Default)]
struct Visitors {
    streams: BTreeMap<u64, UnixStream>,
    next: u64,
    over: bool,
}

impl Guests {
    /// Takes note of one more, where there is room.
    fn enter(&self, stream: &UnixStream) -> Option<u64> {
        let mut all = self.all();
        if all.over || all.streams.len() >= CLIENTS_MAX {
            return None;
        }
        let another = stream.try_clone().ok()?;
        all.next += 1;
        let id = all.next;
        all.streams.insert(id, another);
        Some(id)
    }

    /// Ends every connection, and takes no more: the machine has gone, and the process may not.
    pub(crate) fn leave(&self) {
        let mut all = self.all();
        all.over = true;
        for stream in std::mem::take(&mut all.streams).into_values() {
            // One that is broken already is as good as closed.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn all(&self) -> MutexGuard<'_, Visitors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The socket of a machine, where clients arrive until this is dropped.
pub(crate) struct Door {
    doors: Arc<Doors>,
    id: u64,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.doors.close(self.id);
    }
}

/// Takes clients from now on, on threads of their own. With `hold` the machine waits for the first
/// that attaches, and ends where none does. Without a door nobody reaches the machine.
pub(crate) fn serve(listener: UnixListener, shared: &Arc<Shared>, hold: bool) -> Option<Door> {
    let held = Arc::new(AtomicBool::new(hold));
    if hold {
        shared.queue.push(Item::Pause);
        let (shared, held) = (shared.clone(), held.clone());
        spawn("hold", move || {
            thread::sleep(HOLD);
            // Whoever was to attach, and to own it, has gone.
            if held.load(Ordering::Relaxed) {
                shared.queue.push(Item::Kill);
            }
        });
    }
    let doors = shared.family.doors.clone();
    let shared = shared.clone();
    let take = move |stream: UnixStream| {
        let Some(id) = shared.guests.enter(&stream) else { return };
        let (shared, held) = (shared.clone(), held.clone());
        spawn("client", move || {
            if let Some(mut client) = Client::new(stream, shared.clone(), held) {
                client.live();
            }
            shared.guests.all().streams.remove(&id);
        });
    };
    let id = doors.add(listener, take).ok()?;
    Some(Door { doors, id })
}

/// A thread of this name. Where the host gives none, what it would have done is not done: its
/// client finds the connection closed.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    let _ = thread::Builder::new().name(name.into()).spawn(body);
}

fn release(shared: &Shared, held: &AtomicBool) {
    if held.swap(false, Ordering::Relaxed) {
        shared.queue.push(Item::Resume);
    }
}

/// One connection.
struct Client {
    stream: UnixStream,
    writer: Arc<Mutex<UnixStream>>,
    shared: Arc<Shared>,
    held: Arc<AtomicBool>,
    attached: Option<Arc<AtomicBool>>,
    waits: bool,
    owns: bool,
    /// What the machine does for a cut of its switch.
    part: Option<Part>,
    /// Where what a debugger says goes.
    debugger: Option<SyncSender<Vec<u8>>>,
    /// Keeps the monitor until the answer that tells of the end is sent.
    farewell: Option<Listener>,
}

impl Client {
    fn new(stream: UnixStream, shared: Arc<Shared>, held: Arc<AtomicBool>) -> Option<Self> {
        let writer = Arc::new(Mutex::new(stream.try_clone().ok()?));
        Some(Self {
            stream,
            writer,
            shared,
            held,
            attached: None,
            waits: false,
            owns: false,
            part: None,
            debugger: None,
            farewell: None,
        })
    }

    /// Serves requests until the connection ends.
    fn live(&mut self) {
        loop {
            let reply = match read_frame(&mut self.stream) {
                Ok(Frame::Console(bytes)) => {
                    if let Some(debugger) = &self.debugger {
                        if debugger.send(bytes).is_err() {
                            break;
                        }
                    } else if let (Some(_), Some((port, _))) =
                        (&self.attached, &self.shared.console)
                    {
                        self.shared.queue.push_input(*port, &bytes);
                    }
                    continue;
                }
                Ok(Frame::Control(body)) => match serde_json::from_slice::<Request>(&body) {
                    Ok(request) => self.serve(&request),
                    Err(error) => Err(Failure::usage(format!("not a request: {error}"))),
                },
                // Only monitors tell of errors.
                Ok(Frame::Errors(_)) | Err(_) => break,
            };
            let reply = match reply {
                Ok(value) => Reply::Ok { value },
                Err(Failure { code, text }) => Reply::Error { code, text },
            };
            let sent = send(&self.writer, &reply);
            self.farewell = None;
            if !sent {
                break;
            }
        }
        if let Some(attached) = &self.attached {
            attached.store(false, Ordering::Relaxed);
        }
        if self.owns {
            self.shared.queue.push(Item::Kill);
        }
    }

    fn serve(&mut self, request: &Request) -> Result<Value, Failure> {
        match request {
            Request::Attach { history, hold, own } => self.attach(*history, *hold, *own),
            Request::Detach => {
                self.owns = false;
                if let Some(attached) = self.attached.take() {
                    attached.store(false, Ordering::Relaxed);
                }
                Ok(Value::Null)
            }
            &Request::Resize { columns, rows } => {
                if let Some((port, _)) = self.shared.console {
                    let control = Control::Resize { port, columns, rows };
                    self.shared.queue.push(Item::Event(Event::Control(control)));
                }
                Ok(Value::Null)
            }
            Request::Inspect { digest } => self.inspect(*digest),
            Request::Snapshot { tag } => {
                let keeper = &self.shared.keeper;
                let recorder = keeper.recorder.clone();
                let seal = move |machine: &mut dyn Machine| seal(machine, &recorder);
                keeper.keep(tag.as_deref(), || self.visit(seal)?)
            }
            Request::Cut { step } => self.cut(step),
            Request::Record { stop: false } => self.record(),
            Request::Record { stop: true } => self.record_no_longer(),
            Request::Recording => self.recording(),
            &Request::Rung { tick } => {
                let kept = self.shared.keeper.recorder.shelve(Tick(tick));
                Ok(json!({ "kept": kept }))
            }
            Request::Fork { count, publish } => {
                family::fork(&self.shared, &self.sealed()?, *count, publish)
            }
            Request::Launch { machine } => family::launch(&self.shared, self.sealed()?, machine),
            Request::Stats => self.stats(),
            &Request::Balloon { bytes } => self.balloon(bytes),
            Request::SendOut => self.send_out(),
            Request::Pause => {
                self.push(Item::Pause)?;
                self.held.store(false, Ordering::Relaxed);
                self.shared.set_phase(Phase::Paused);
                Ok(json!({ "state": "paused" }))
            }
            Request::Resume => {
                self.push(Item::Resume)?;
                self.shared.set_phase(Phase::Running);
                Ok(json!({ "state": "running" }))
            }
            Request::Stop { grace_ms } => Ok(self.stop(Duration::from_millis(*grace_ms))),
            Request::Kill { keep } => {
                self.shared.keep.fetch_or(*keep, Ordering::Relaxed);
                self.farewell = Some(self.shared.listen());
                self.shared.queue.push(Item::Kill);
                Ok(json!({ "exit_code": self.shared.wait(None) }))
            }
            Request::Debug => self.debug(),
            Request::Wait => {
                self.wait();
                Ok(Value::Null)
            }
        }
    }

    /// What twins of the machine are made of.
    fn sealed(&self) -> Result<Snapshot, Failure> {
        // Before they are there, it has given what they go on with.
        self.shared.family.pool.open();
        Ok(self.visit(|machine: &mut dyn Machine| omni_lifecycle::take(KINDS, machine))??)
    }

    /// A step of a snapshot of the machine's group.
    fn cut(&mut self, step: &CutStep) -> Result<Value, Failure> {
        if let CutStep::Arm { switch, cut, members, tag } = step {
            // One that it had before is given up.
            self.part = None;
            self.part = Some(Part::arm(&self.shared, (switch, cut), members, tag)?);
            return Ok(Value::Null);
        }
        let none = || Failure::new(code::WRONG_STATE, "no cut is under way on this connection");
        let part = self.part.as_mut().ok_or_else(none)?;
        match step {
            CutStep::Arm { .. } => {}
            CutStep::Take => return part.take(),
            CutStep::Keep => return part.keep(),
            CutStep::Done => part.done(),
        }
        Ok(Value::Null)
    }

    fn push(&self, item: Item) -> Result<(), Failure> {
        let taken = self.shared.queue.push(item);
        let ended = || Failure::new(code::WRONG_STATE, "the machine has ended");
        taken.then_some(()).ok_or_else(ended)
    }

    /// Gives the machine into the hands of the debugger on this connection.
    fn debug(&mut self) -> Result<Value, Failure> {
        if self.debugger.is_some() || self.attached.is_some() {
            return Err(Failure::new(code::WRONG_STATE, "this connection is in use already"));
        }
        let (said, hears) = sync_channel(debugging::PARTS_MAX);
        let (began, begun) = channel();
        let stream = self.stream.try_clone();
        let stream = stream.map_err(|error| Failure::io("the connection", &error))?;
        let wire = Remote::new(hears, self.writer.clone(), stream);
        let (queue, recorder) = (self.shared.queue.clone(), self.shared.keeper.recorder.clone());
        let (past, passes) = channel();
        let hands = Hands { wire, began, past: passes, queue, recorder: recorder.clone() };
        self.push(Item::Stay(Box::new(move |held| hands.stay(held))))?;
        // Where nothing comes, somebody else has it in hand, or it has ended.
        let other = |_| Failure::new(code::WRONG_STATE, "another debugger has the machine");
        begun.recv_timeout(VISIT).map_err(other)??;
        // It stands still now, so that what is in the file is all there is.
        let recorded = recorder.status().filter(|_| recorder.sync());
        let recorded = recorded.map(|now| recorded::reopen(&self.shared.entry, &now.name));
        past.send(recorded.and_then(Result::ok)).map_err(|_| other(RecvTimeoutError::Timeout))?;
        begun.recv_timeout(VISIT).map_err(other)??;
        self.debugger = Some(said);
        Ok(Value::Null)
    }

    fn attach(&mut self, history: u32, hold: bool, own: bool) -> Result<Value, Failure> {
        let Some((_, console)) = &self.shared.console else {
            return Err(Failure::new(code::UNSUPPORTED, "the machine has no console"));
        };
        if self.attached.is_some() {
            return Err(Failure::new(code::WRONG_STATE, "this connection is attached already"));
        }
        let history = usize::try_from(history).unwrap_or(usize::MAX);
        let subscription = console.subscribe(history, hold);
        // What a program has said of its errors before is of no use to who comes later.
        let errors = self.shared.errors.as_ref().map(|errors| errors.subscribe(0, hold));
        let attached = Arc::new(AtomicBool::new(true));
        self.attached = Some(attached.clone());
        self.owns = own;
        release(&self.shared, &self.held);
        let (writer, shared) = (self.writer.clone(), self.shared.clone());
        let listener = shared.listen();
        let told = self.waits;
        self.waits = true;
        let for_errors = (writer.clone(), attached.clone());
        let errors = errors.map(|errors| {
            let body = move || tell_errors(&errors, &for_errors.0, &for_errors.1);
            thread::Builder::new().name("errors".into()).spawn(body)
        });
        spawn("console", move || {
            while attached.load(Ordering::Relaxed) {
                let sent = match subscription.next(Duration::from_millis(500)) {
                    Chunk::Bytes(bytes) => send_frame(&writer, &Frame::Console(bytes)),
                    Chunk::Lost(bytes) => send(&writer, &Reply::Lost { bytes }),
                    Chunk::Nothing => true,
                    Chunk::End => break,
                };
                if !sent {
                    break;
                }
            }
            drop(subscription);
            if let Some(Ok(errors)) = errors {
                // The end is told after all else.
                let _ = errors.join();
            }
            if attached.load(Ordering::Relaxed)
                && !told
                && let Some(code) = shared.wait(None)
            {
                send(&writer, &Reply::Exited { code, error: shared.error() });
            }
            drop(listener);
        });
        Ok(Value::Null)
    }

    /// Tells when the machine has ended, once.
    fn wait(&mut self) {
        if std::mem::replace(&mut self.waits, true) {
            return;
        }
        let (writer, shared) = (self.writer.clone(), self.shared.clone());
        let listener = shared.listen();
        spawn("wait", move || {
            if let Some(code) = shared.wait(None) {
                send(&writer, &Reply::Exited { code, error: shared.error() });
            }
            drop(listener);
        });
    }

    fn stop(&mut self, grace: Duration) -> Value {
        self.farewell = Some(self.shared.listen());
        self.shared.queue.push(Item::Resume);
        self.shared.queue.push(Item::Event(Event::Control(Control::PowerButton)));
        let (code, forced) = match self.shared.wait(Some(grace)) {
            Some(code) => (Some(code), false),
            None => {
                self.shared.queue.push(Item::Kill);
                (self.shared.wait(None), true)
            }
        };
        json!({ "exit_code": code, "forced": forced })
    }

    fn inspect(&self, with_digest: bool) -> Result<Value, Failure> {
        let deterministic = self.shared.deterministic;
        let look = move |machine: &mut dyn Machine| {
            let pages: u64 = machine.memory().spaces.iter().map(omni_memory::Space::size).sum();
            let digest = (with_digest && deterministic).then(|| digest(machine).to_string());
            (machine.tick().0, pages, digest, own_bytes_of(machine).1)
        };
        let (ticks, bytes, digest, own) = self.visit(look)?;
        let private = if self.shared.family.is_single() {
            private_bytes(std::process::id())
        } else {
            Some(own)
        };
        let ns = self.shared.ns_per_tick;
        let mut ports = self.shared.ports.clone();
        ports["switches"] = places(&self.shared.switches);
        Ok(json!({
            "ticks": ticks,
            "virtual_ms": virtual_ms(ticks, ns),
            "host_cpu_ms": self.shared.stats.cpu_us() / 1000,
            "memory_bytes": bytes,
            "private_bytes": private,
            "ports": ports,
            "digest": digest,
        }))
    }

    fn stats(&self) -> Result<Value, Failure> {
        let look = |machine: &mut dyn Machine| {
            let bytes: u64 = machine.memory().spaces.iter().map(omni_memory::Space::size).sum();
            (machine.tick().0, bytes, machine.counters(), own_bytes_of(machine))
        };
        let (ticks, bytes, counters, own) = self.visit(look)?;
        let counters: Map<String, Value> =
            counters.into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
        let own_pages = own.0;
        let (resident, private) = if self.shared.family.is_single() {
            // One monitor, one machine: all frames of this process are its own.
            (frames_used() * PAGE_SIZE_U64, private_bytes(std::process::id()))
        } else {
            (own.0, Some(own.1))
        };
        Ok(json!({
            "ticks": ticks,
            "virtual_ms": virtual_ms(ticks, self.shared.ns_per_tick),
            "host_cpu_ms": self.shared.stats.cpu_us() / 1000,
            "memory_bytes": bytes,
            "resident_bytes": resident,
            "own_bytes": own_pages,
            "private_bytes": private,
            "merged_bytes": merged_bytes(),
            "other_bytes": private.map(|bytes| bytes.saturating_sub(resident)),
            "counters": counters,
        }))
    }

    fn record(&self) -> Result<Value, Failure> {
        let recorder = self.shared.keeper.recorder.clone();
        let entry = self.shared.entry.clone();
        let begin = move |machine: &mut dyn Machine| {
            let ticks = machine.tick().0;
            recorded::begin(&entry, &recorder, machine).map(|begun| (ticks, begun))
        };
        let (ticks, (name, begun)) = self.visit(begin)??;
        recorded::write(&self.shared.entry, &name, self.shared.ns_per_tick, begun)?;
        Ok(json!({ "recording": name, "ticks": ticks }))
    }

    fn record_no_longer(&self) -> Result<Value, Failure> {
        let recorder = self.shared.keeper.recorder.clone();
        let Some(status) = recorder.status() else {
            return Err(Failure::new(code::WRONG_STATE, "the machine is not recorded"));
        };
        let finish = move |machine: &mut dyn Machine| (machine.tick().0, recorder.finish(machine));
        let (ticks, finished) = self.visit(finish)?;
        finished.map_err(|text| Failure::new(code::FAILURE, text))?;
        Ok(json!({ "recording": status.name, "ticks": ticks }))
    }

    fn recording(&self) -> Result<Value, Failure> {
        let recorder = self.shared.keeper.recorder.clone();
        let note = recorder.clone();
        let note = move |machine: &mut dyn Machine| (machine.tick().0, note.note(machine));
        let (ticks, moment) = self.visit(note)?;
        let (Some(status), Some(moment)) = (recorder.status(), moment) else {
            return Ok(Value::Null);
        };
        // Where it has ended by itself, the status says so.
        let _ = recorder.sync();
        Ok(json!({
            "recording": status.name,
            "ticks": ticks,
            "moment": moment_text(moment),
            "log_bytes": status.log_bytes,
            "rung_bytes": status.rung_bytes,
            "failure": status.failure,
            "rung_failure": status.rung_failure,
        }))
    }

    /// Asks the guest for memory, and tells what it keeps.
    fn balloon(&self, bytes: Option<u64>) -> Result<Value, Failure> {
        let figures = || {
            let all = self.visit(|machine| machine.counters())?;
            let find = |wanted| all.iter().find(|(name, _)| *name == wanted).map(|found| found.1);
            let target = find("balloon_target_bytes");
            Ok::<_, Failure>(target.map(|target| {
                json!({
                    "target_bytes": target,
                    "actual_bytes": find("balloon_actual_bytes"),
                    "given_back_bytes": find("balloon_given_back_bytes"),
                })
            }))
        };
        let Some(value) = figures()? else {
            let text = "the machine has no balloon: make it with --option balloon=true, if its \
                        kind has that option";
            return Err(Failure::new(code::UNSUPPORTED, text));
        };
        let Some(bytes) = bytes else { return Ok(value) };
        self.push(Item::Event(Event::Control(Control::Balloon { bytes })))?;
        Ok(figures()?.unwrap_or(value))
    }

    /// Puts the memory of the machine into the store, from where it comes when it is touched.
    fn send_out(&self) -> Result<Value, Failure> {
        let sealed = self.visit(|machine| omni_lifecycle::take(KINDS, machine))??;
        let kept = self.shared.keeper.put_away(&sealed)?;
        let single = self.shared.family.is_single();
        let send = move |machine: &mut dyn Machine| {
            // What was derived of its pages holds memory too, and comes back with them.
            drop(machine.exchange_caches(None));
            let spaces = machine.memory().spaces.iter_mut().zip(sealed.spaces).zip(kept);
            spaces.fold(true, |all, ((space, sealed), kept)| {
                let sent = match single {
                    true => space.send_out(&sealed.image, kept),
                    // What others of the family have too is not made twice.
                    false => space.send_out_own(sealed.image, kept),
                };
                sent && all
            })
        };
        if !self.visit(send)? {
            let text = "a page of the machine cannot be read, or what was kept of it is not it";
            return Err(Failure::new(code::DAMAGED, text));
        }
        self.shared.set_cold();
        Ok(json!({ "held_bytes": anonymous_bytes(std::process::id()) }))
    }

    /// Visits the machine at a safe point and brings back what was found.
    fn visit<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut dyn Machine) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (told, seen) = channel();
        self.push(Item::Call(Box::new(move |machine: &mut dyn Machine| {
            // Whoever asked may have given up.
            let _ = told.send(look(machine));
        })))?;
        let ended = |_| Failure::new(code::WRONG_STATE, "the machine has ended");
        seen.recv_timeout(VISIT).map_err(ended)
    }
}

/// Passes on what a program says of its errors.
fn tell_errors(errors: &Subscription, writer: &Mutex<UnixStream>, attached: &AtomicBool) {
    while attached.load(Ordering::Relaxed) {
        let sent = match errors.next(Duration::from_millis(500)) {
            Chunk::Bytes(bytes) => send_frame(writer, &Frame::Errors(bytes)),
            Chunk::Lost(bytes) => send(writer, &Reply::Lost { bytes }),
            Chunk::Nothing => true,
            Chunk::End => return,
        };
        if !sent {
            return;
        }
    }
}

pub(crate) fn send(writer: &Mutex<UnixStream>, reply: &Reply) -> bool {
    let body = serde_json::to_vec(reply).expect("a reply is plain data");
    send_frame(writer, &Frame::Control(body))
}

pub(crate) fn send_frame(writer: &Mutex<UnixStream>, frame: &Frame) -> bool {
    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
    write_frame(&mut *writer, frame).is_ok()
}
