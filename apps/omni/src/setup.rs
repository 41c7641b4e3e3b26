//! Runs the machine that sets up the disk of an image, as fast as it goes: it has no network and no
//! clock but its own, so equal packages make equal disks.

use crate::plan::system_kind;
use omni_base::PAGE_SIZE_U64;
use omni_host::{RawFile, random_u64};
use omni_image::{ImageError, Progress, Setup};
use omni_machine::{
    DiskSpec, Effect, Event, Kick, Machine, MachineKind, Outside, PortKind, Spec, Stop,
};
use omni_memory::Image;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// The machine's memory: file systems are faster with some to spare.
const MEMORY: &str = "1G";

/// How often the outside is looked at, in ticks. Fixed: answers come at the ends of slices.
const SLICE_TICKS: u64 = 1_000_000;

/// A machine that is not done by then hangs: some hours of the guest's time.
const TICKS_MAX: u64 = 20_000_000_000_000;

/// A line of the console; of a longer one the rest is not looked at.
const LINE_BYTES_MAX: usize = 4096;

/// What lines begin with that are meant for us.
const PREFIX: &str = "omni-setup: ";

/// Sets up a disk. What the console says goes into `log`.
pub(crate) fn set_up(
    setup: &Setup<'_>,
    log: &Path,
    progress: &mut dyn Progress,
) -> Result<(), ImageError> {
    let failed = |reason: String| ImageError::Setup { reason, log: None };
    let kind = system_kind(setup.arch.name()).map_err(|failure| failed(failure.text))?;
    let spec = spec(kind, setup)?;
    let ports = kind.ports(&spec).map_err(|error| failed(error.to_string()))?;
    let disk = ports.iter().find_map(|port| match &port.kind {
        PortKind::Disk { space } => Some(space.clone()),
        PortKind::Console | PortKind::Net { .. } | PortKind::Files => None,
    });
    let disk = disk.ok_or_else(|| failed("the machine has no disks".into()))?;
    let mut machine = kind.create(&spec).map_err(|error| failed(error.to_string()))?;
    let file = File::create(log).map_err(disk_error("create", log))?;
    progress.begin("starting the machine that sets up the disk", None);
    let mut talk = Talk { file, line: Vec::new(), said: Said::Nothing, progress };
    let ended = run(&mut *machine, &mut talk);
    talk.progress.end();
    let failed = |reason| Err(ImageError::Setup { reason, log: Some(log.into()) });
    match (ended, talk.said) {
        (Ok(()), Said::Done) => {}
        (_, Said::Failed(reason)) | (Err(reason), _) => return failed(reason),
        (Ok(()), Said::Nothing) => return failed("the machine ended too soon".into()),
    }
    progress.begin("writing the disk", None);
    let written = write_disk(&mut *machine, &disk, setup, progress);
    progress.end();
    written.map_err(disk_error("write", setup.disk))
}

fn spec(kind: &dyn MachineKind, setup: &Setup<'_>) -> Result<Spec, ImageError> {
    let seed = RawFile::open(setup.seed).map_err(disk_error("open", setup.seed))?;
    let mut spec = Spec::new(kind.info().name);
    spec.seed = if setup.repeatable { 0 } else { random_u64() };
    spec.epoch_s = setup.epoch_s;
    spec.options.insert("append".into(), setup.cmdline.into());
    spec.options.insert("memory".into(), MEMORY.into());
    spec.files.insert("kernel".into(), setup.kernel.into());
    spec.files.insert("initrd".into(), setup.initrd.into());
    let empty = Image::default();
    spec.disks.push(DiskSpec { bytes: setup.disk_bytes, read_only: false, image: empty });
    let (bytes, image) = (seed.bytes(), Image::over(Arc::new(seed)));
    spec.disks.push(DiskSpec { bytes, read_only: true, image });
    Ok(spec)
}

/// Effects of one slice.
#[derive(Default)]
struct Slice(Vec<Effect>);

impl Outside for Slice {
    fn emit(&mut self, _: omni_base::Tick, effect: Effect) {
        self.0.push(effect);
    }
}

/// Runs the machine until it ends by itself.
fn run(machine: &mut dyn Machine, talk: &mut Talk<'_>) -> Result<(), String> {
    let kick = Kick::default();
    let (mut slice, mut idle) = (Slice::default(), None);
    loop {
        let now = machine.tick().0;
        if now > TICKS_MAX {
            return Err("the machine does not come to an end".into());
        }
        let until = now.saturating_add(SLICE_TICKS).max(idle.take().unwrap_or(0));
        let stop = machine.run(omni_base::Tick(until), &kick, &mut slice);
        let mut answered = false;
        for effect in std::mem::take(&mut slice.0) {
            match effect {
                Effect::Output { bytes, .. } => talk.hear(&bytes),
                Effect::Io(request) => {
                    // Nothing of this disk is to survive a failure.
                    let done = Event::IoDone { id: request.id, result: Ok(Vec::new()) };
                    machine.apply(&done, &mut slice);
                    answered = true;
                }
            }
        }
        match stop {
            Stop::Halted { code: 0 } => return Ok(()),
            Stop::Halted { code } => return Err(format!("the machine ended with code {code}")),
            Stop::Idle { wake: Some(wake) } if !answered => idle = Some(wake.0.saturating_add(1)),
            Stop::Idle { wake: None } if !answered => {
                return Err("the machine waits for something that will not come".into());
            }
            Stop::Idle { .. } | Stop::Reached | Stop::Kicked | Stop::Hit(_) => {}
        }
        if let Said::Failed(reason) = &talk.said {
            return Err(reason.clone());
        }
    }
}

/// What the machine has said of how it went.
enum Said {
    Nothing,
    Done,
    Failed(String),
}

/// Listens to the console.
struct Talk<'p> {
    file: File,
    line: Vec<u8>,
    said: Said,
    progress: &'p mut dyn Progress,
}

impl Talk<'_> {
    fn hear(&mut self, bytes: &[u8]) {
        // A log that cannot be written is missed only where something else fails too.
        let _ = self.file.write_all(bytes);
        self.progress.advance(bytes.len() as u64);
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.read(String::from_utf8_lossy(&line).trim());
            } else if self.line.len() < LINE_BYTES_MAX {
                self.line.push(byte);
            }
        }
    }

    fn read(&mut self, line: &str) {
        if line.contains("Kernel panic") {
            self.said = Said::Failed(line.into());
        }
        let Some(message) = line.strip_prefix(PREFIX) else { return };
        if let Some(step) = message.strip_prefix("step ") {
            self.progress.end();
            self.progress.begin(step, None);
        } else if let Some(reason) = message.strip_prefix("failed: ") {
            self.said = Said::Failed(reason.into());
        } else if message == "done" {
            self.said = Said::Done;
        }
    }
}

/// Writes what the disk holds, with holes where it holds nothing.
fn write_disk(
    machine: &mut dyn Machine,
    name: &str,
    setup: &Setup<'_>,
    progress: &mut dyn Progress,
) -> io::Result<()> {
    let file = File::create(setup.disk)?;
    file.set_len(setup.disk_bytes)?;
    let space = machine.memory().spaces.iter_mut().find(|space| space.name() == name);
    let space = space.ok_or_else(|| io::Error::other("the disk is gone"))?;
    let mut result: io::Result<()> = Ok(());
    space.seal().image.for_each(&mut |no, page| {
        let mut write = || {
            let bytes = page.bytes()?;
            if bytes.iter().any(|&byte| byte != 0) {
                file.write_all_at(bytes, no.0 * PAGE_SIZE_U64)?;
                progress.advance(PAGE_SIZE_U64);
            }
            Ok(())
        };
        if result.is_ok() {
            result = write();
        }
    })?;
    result?;
    file.sync_all()
}

fn disk_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_path_buf();
    move |source| ImageError::Disk { action, path, source }
}
