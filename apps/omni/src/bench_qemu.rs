//! The same of QEMU: `savevm` and `loadvm` of the same guest, which stands still meanwhile.

use crate::bench_recording::{Amount, Measured, cpu_ms};
use crate::bench_time::{Line, MEMORY, START_LIMIT};
use omni_bench::Installed;
use omni_host::TempDir;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const QEMU: &str = "qemu-system-riscv64";

/// What QEMU's monitor says when it waits.
const PROMPT: &[u8] = b"(qemu) ";

/// What QEMU says in one answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Measures; or says why it cannot.
pub(crate) fn measure(image: &Installed, runs: u32) -> Result<Vec<Line>, String> {
    let disk = image.disk.as_ref().ok_or("savevm needs a disk, and the image has none")?;
    let text = |error: io::Error| error.to_string();
    let dir = TempDir::new("bench-qemu").map_err(text)?;
    let (overlay, console) = (dir.path().join("disk.qcow2"), dir.path().join("console"));
    let mut make = Command::new("qemu-img");
    make.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(disk).arg(&overlay);
    let made = make.output().map_err(|error| format!("qemu-img: {error}"))?;
    if !made.status.success() {
        return Err(String::from_utf8_lossy(&made.stderr).into_owned());
    }
    let mut command = Command::new(QEMU);
    command.args(["-M", "virt", "-m", MEMORY, "-display", "none", "-monitor", "stdio"]);
    command.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initrd);
    command.args(["-append", &image.append, "-device", "virtio-blk-device,drive=d"]);
    command.arg("-drive").arg(format!("if=none,id=d,format=qcow2,file={}", overlay.display()));
    command.arg("-serial").arg(format!("file:{}", console.display()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut qemu = Qemu(command.spawn().map_err(|error| format!("{QEMU}: {error}"))?);
    qemu.answer().map_err(text)?;
    wait_for(&mut qemu, &console, &image.ready)?;
    let (mut saves, mut loads) = (vec![], vec![]);
    for run in 0..runs {
        saves.push(qemu.timed(&format!("savevm t{run}")).map_err(text)?);
    }
    for run in 0..runs {
        loads.push(qemu.timed(&format!("loadvm t{run}")).map_err(text)?);
    }
    let lines = [
        Line::of("QEMU: savevm, all of it a pause", None, saves),
        Line::of("QEMU: loadvm, in a process that runs", None, loads),
    ];
    Ok(lines.into_iter().flatten().collect())
}

fn wait_for(qemu: &mut Qemu, console: &Path, ready: &str) -> Result<(), String> {
    let until = Instant::now() + START_LIMIT;
    while Instant::now() < until {
        if let Some(status) = qemu.0.try_wait().map_err(|error| error.to_string())? {
            return Err(format!("it ended before the guest started: {status}"));
        }
        let said = fs::read(console).unwrap_or_default();
        if String::from_utf8_lossy(&said).contains(ready) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Err("the guest did not start".into())
}

/// Boots the image with QEMU's clock of instructions, and so while QEMU records; or says why it
/// cannot. Recorded boots have to be deterministic, so the pair has that clock in common.
pub(crate) fn record(image: &Installed, runs: u32) -> Result<Measured, String> {
    let text = |error: io::Error| error.to_string();
    let dir = TempDir::new("bench-qemu-record").map_err(text)?;
    let (console, file) = (dir.path().join("console"), dir.path().join("recorded"));
    let recorded = format!("shift=auto,rr=record,rrfile={}", file.display());
    let (mut free, mut counted, mut all) = (vec![], vec![], vec![]);
    let (mut bytes, mut seconds) = (0.0, 0.0);
    for _ in 0..runs {
        let ways =
            [(None, &mut free), (Some("shift=auto"), &mut counted), (Some(&*recorded), &mut all)];
        for (icount, took) in ways {
            let mut command = Command::new(QEMU);
            command.args(["-M", "virt", "-m", MEMORY, "-display", "none", "-net", "none"]);
            command.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initrd);
            command.args(["-append", &image.append]);
            if let Some(disk) = &image.disk {
                // What a recorded machine reads has to come by way of the recording.
                let direct =
                    format!("if=none,id=direct,snapshot=on,format=raw,file={}", disk.display());
                let replayed = "driver=blkreplay,if=none,image=direct,id=d";
                command.arg("-drive").arg(direct).args(["-drive", replayed]);
                command.args(["-device", "virtio-blk-device,drive=d"]);
            }
            command.args(icount.map(|icount| ["-icount", icount]).into_iter().flatten());
            command.arg("-serial").arg(format!("file:{}", console.display()));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let _ = fs::remove_file(&console);
            let began = Instant::now();
            let mut qemu = Qemu(command.spawn().map_err(|error| format!("{QEMU}: {error}"))?);
            wait_for(&mut qemu, &console, &image.ready)?;
            took.push(cpu_ms(qemu.0.id()).map_err(text)?);
            if icount == Some(&*recorded) {
                seconds += began.elapsed().as_secs_f64();
            }
        }
        // What is in its buffers yet is not counted.
        bytes += fs::metadata(&file).map_or(0.0, |data| data.len() as f64);
    }
    let what = |how: &str| format!("QEMU: boot of {}{how}: CPU time", image.name);
    let lines = [
        Line::of(&what(""), None, free),
        Line::of(&what(", instructions counted"), None, counted),
        Line::of(&what(", recorded"), None, all),
    ];
    let amount = Amount {
        what: "QEMU: recording: log".into(),
        kib_per_s: bytes / 1024.0 / seconds.max(1.0),
        goal_kib_per_s: None,
    };
    Ok(Measured { lines: lines.into_iter().flatten().collect(), amounts: vec![amount] })
}

/// A process that ends with this.
struct Qemu(Child);

impl Qemu {
    /// Waits until the monitor takes the next command.
    fn answer(&mut self) -> io::Result<()> {
        let stdout = self.0.stdout.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let (mut said, mut some) = (Vec::new(), [0; 4096]);
        while !said.ends_with(PROMPT) {
            let count = stdout.read(&mut some)?;
            if count == 0 || said.len() > ANSWER_BYTES_MAX {
                return Err(io::Error::other("QEMU did not answer"));
            }
            said.extend_from_slice(&some[..count]);
        }
        if said.windows(6).any(|part| part == b"Error:") {
            return Err(io::Error::other(String::from_utf8_lossy(&said).into_owned()));
        }
        Ok(())
    }

    /// Milliseconds until a command is done.
    fn timed(&mut self, command: &str) -> io::Result<f64> {
        let began = Instant::now();
        let stdin = self.0.stdin.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        writeln!(stdin, "{command}")?;
        self.answer()?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
