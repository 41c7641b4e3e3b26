//! The monitor's side of snapshots: takes them, and remembers from which one the machine goes on.

use crate::failure::{Failure, code};
use crate::saved::{self, Title};
use omni_base::Digest;
use omni_control::{CutFile, Entry, OriginFile};
use omni_kinds::KINDS;
use omni_lifecycle::{Check, Moment, Snapshot, take};
use omni_machine::Machine;
use omni_memory::Image;
use omni_recording::{Pacing, Recorder, moment_text};
use omni_store::{Lease, Store};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the memory of one machine goes into the store: what was there before stays, as pages
/// of it may be read.
const SENT_OUT_MAX: usize = 64;

/// Takes the snapshots of one machine, one at a time.
pub(crate) struct Keeper {
    pub(crate) recorder: Recorder,
    entry: Entry,
    inner: Mutex<Inner>,
}

struct Inner {
    store: Option<Arc<Store>>,
    origin: OriginFile,
    /// What the machine was restored from: it reads pages of that as long as it lives.
    lease: Option<Arc<Lease>>,
    /// What it has put into the store while it was held, and reads pages of too.
    sent_out: Vec<Arc<Lease>>,
    /// The machine has ended, and whoever goes on with it has its files now.
    over: bool,
}

/// A snapshot that is in memory only, and how long the machine was held for it.
pub(crate) struct Taken {
    snapshot: Snapshot,
    pause: Duration,
    /// The moment of its recording.
    moment: Option<Moment>,
}

/// Takes a snapshot of a machine at a safe point. Nothing is copied, hashed or written here.
pub(crate) fn seal(machine: &mut dyn Machine, recorder: &Recorder) -> Result<Taken, Failure> {
    let began = Instant::now();
    let snapshot = take(KINDS, machine)?;
    let moment = recorder.note(machine);
    Ok(Taken { snapshot, pause: began.elapsed(), moment })
}

impl Keeper {
    pub(crate) fn new(entry: &Entry, store: Option<Arc<Store>>, lease: Option<Lease>) -> Self {
        let origin = OriginFile { branch: None, ..entry.origin.clone() };
        let (lease, sent_out) = (lease.map(Arc::new), Vec::new());
        Self::with(entry, Inner { store, origin, lease, sent_out, over: false })
    }

    fn with(entry: &Entry, inner: Inner) -> Self {
        let recorder = Recorder::new(KINDS, Pacing::default());
        Self { recorder, entry: entry.clone(), inner: Mutex::new(inner) }
    }

    /// Where a machine goes on from that is forked from this one now.
    pub(crate) fn origin(&self) -> OriginFile {
        // Not the first: it is promised no memory of its own, as it shares that of this one.
        OriginFile { generation: 1, fork: false, ..self.inner().origin.clone() }
    }

    /// The keeper of a machine that was forked from this one: it reads pages of the same, which may
    /// be gone once this one has ended.
    pub(crate) fn forked(&self, entry: &Entry) -> Result<Self, Failure> {
        let inner = self.living()?;
        let (lease, sent_out) = (inner.lease.clone(), inner.sent_out.clone());
        let (store, origin) = (inner.store.clone(), entry.origin.clone());
        Ok(Self::with(entry, Inner { store, origin, lease, sent_out, over: false }))
    }

    /// No page of what the machine was restored from is read any more, nor of what was sent out,
    /// and nothing more of it is kept.
    pub(crate) fn let_go(&self) {
        let mut inner = self.inner();
        (inner.lease, inner.sent_out, inner.over) = (None, Vec::new(), true);
    }

    /// Puts a snapshot into the store that no list has, to stay there as long as the machine lives;
    /// gives the images of its spaces as they are there.
    pub(crate) fn put_away(&self, snapshot: &Snapshot) -> Result<Vec<Image>, Failure> {
        let mut inner = self.living()?;
        if inner.sent_out.len() >= SENT_OUT_MAX {
            let text = "its memory has gone into the store too often since it was started";
            return Err(Failure::new(code::UNSUPPORTED, text));
        }
        let store = self.opened(&mut inner)?;
        let (lease, images) = saved::put_away(&store, snapshot, &self.entry.machine.id)?;
        // Beside those of earlier times, of which pages may be left.
        inner.sent_out.push(Arc::new(lease));
        Ok(images)
    }

    /// The store, once something was read from it or written to it.
    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.inner().store.clone()
    }

    /// Whether a snapshot could have this tag.
    pub(crate) fn check_free(&self, tag: &str) -> Result<(), Failure> {
        let store = self.opened(&mut self.inner())?;
        Ok(store.tree(&self.entry.machine.id)?.check_free(tag)?)
    }

    fn opened(&self, inner: &mut Inner) -> Result<Arc<Store>, Failure> {
        Ok(match &inner.store {
            Some(store) => store.clone(),
            None => inner.store.insert(saved::own_store()?).clone(),
        })
    }

    /// Takes a snapshot by `seal` and writes it into the store. What it gives is durable.
    /// Where the machine is recorded, so is that it was in that state then.
    pub(crate) fn keep(
        &self,
        tag: Option<&str>,
        seal: impl FnOnce() -> Result<Taken, Failure>,
    ) -> Result<Value, Failure> {
        self.keep_cut(tag, &CutFile::default(), seal)
    }

    /// The same, for a part of a cut.
    pub(crate) fn keep_cut(
        &self,
        tag: Option<&str>,
        cut: &CutFile,
        seal: impl FnOnce() -> Result<Taken, Failure>,
    ) -> Result<Value, Failure> {
        // Held from before the seal on, so that each follows the one that was taken before it.
        let mut inner = self.living()?;
        let store = self.opened(&mut inner)?;
        let owner = &self.entry.machine.id;
        let tree = store.tree(owner)?;
        let parent = match &inner.origin.parent {
            Some(id) => tree.present(saved::parse_id(id)?),
            None => None,
        };
        let free = || {
            let mut tags = (1u64..).map(|number| format!("s{number}"));
            tags.find(|tag| tree.tagged(tag).is_none()).expect("numbers do not end")
        };
        let tag = tag.map_or_else(free, str::to_owned);
        tree.check_free(&tag)?;
        let above = parent.map(|id| parent_text(&tree, id));
        // It grows in its place where nobody else looks at it.
        drop(tree);
        let taken = seal()?;
        let about = saved::about(&self.entry.machine, cut);
        let title = Title { owner, tag: &tag, parent, about, compress: false };
        let written = saved::write(&store, &taken.snapshot, title)?;
        if let Some(moment) = taken.moment {
            self.recorder.check(Check { moment, mark: taken.snapshot.mark() });
        }
        inner.origin.parent = Some(written.id.to_string());
        Entry::write_origin(&self.entry.dir, &inner.origin)?;
        Ok(json!({
            "id": written.id.to_string(),
            "tag": tag,
            "parent": above,
            "ticks": written.tick.0,
            "moment": taken.moment.map(moment_text),
            "pause_ms": ms(taken.pause),
            "pages_total": written.pages_total,
            "pages_new": written.pages_new,
            "bytes_new": written.bytes_new,
            "digest": written.state.to_string(),
        }))
    }

    /// As `inner`, while the machine has not ended.
    fn living(&self) -> Result<MutexGuard<'_, Inner>, Failure> {
        let inner = self.inner();
        if inner.over {
            let text = format!("the machine '{}' has ended", self.entry.machine.name);
            return Err(Failure::new(code::WRONG_STATE, text));
        }
        Ok(inner)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a snapshot is named for people: by its tag, or by its id where it is of another machine.
pub(crate) fn parent_text(tree: &omni_store::Tree, id: Digest) -> String {
    tree.get(&id).map_or_else(|| id.to_string(), |entry| entry.tag.clone())
}

/// Milliseconds with a fraction.
pub(crate) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_control::{MachineFile, StateFile};
    use omni_host::TempDir;
    use omni_kinds::{kind_of, samples};

    #[test]
    fn nothing_is_kept_of_a_machine_that_has_ended_and_nothing_is_put_away() {
        let dir = TempDir::new("keeper").expect("a writable host");
        let machine = MachineFile { id: "0a1b2c".into(), ..MachineFile::default() };
        let (state, origin) = (StateFile::default(), OriginFile::default());
        let entry = Entry { dir: dir.path().into(), machine, state, origin };
        let store = Arc::new(Store::open(&dir.path().join("store")).expect("writable"));
        let keeper = Keeper::new(&entry, Some(store.clone()), None);
        let spec = samples().swap_remove(0).spec;
        let mut machine =
            kind_of(&spec.kind).and_then(|kind| kind.create(&spec)).expect("a sound sample");
        keeper.keep(Some("alive"), || seal(&mut *machine, &keeper.recorder)).expect("it lives");
        let taken = seal(&mut *machine, &keeper.recorder).expect("sound");
        let snapshot = seal(&mut *machine, &keeper.recorder).expect("sound").snapshot;
        keeper.let_go();
        let kept = keeper.keep(Some("late"), || Ok(taken)).expect_err("others have its files now");
        assert_eq!(kept.code, code::WRONG_STATE);
        assert!(keeper.put_away(&snapshot).is_err());
        assert!(keeper.forked(&entry).is_err(), "it would read what is kept no longer");
        let tree = store.tree("0a1b2c").expect("there");
        assert!(tree.tagged("alive").is_some() && tree.tagged("late").is_none());
    }
}
