//! What this host offers to machines, what is missing, and how to get it.

use crate::failure::Failure;
use crate::ui::{Ui, size_text};
use omni_control::Dirs;
use omni_engine::HostSupport;
use omni_host::{free_bytes, host_memory, is_terminal, kernel_release, private_dir};
use omni_image::{Keyring, Mirror};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Programs to compare with, and the Debian packages that hold them.
const PEERS: &[(&str, &str)] = &[
    ("qemu-system-riscv64", "qemu-system-misc"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-riscv64", "qemu-user"),
    ("qemu-img", "qemu-utils"),
    ("dfrotz", "frotz"),
    ("gdb-multiarch", "gdb-multiarch"),
];

/// How a finding is to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Grade {
    Good,
    /// Something is missing that some uses need.
    Missing,
    /// Machines cannot run until it is mended.
    Bad,
}

struct Finding {
    name: &'static str,
    grade: Grade,
    text: String,
    value: Value,
    advice: Option<String>,
}

impl Finding {
    fn new(name: &'static str, grade: Grade, text: String, value: Value) -> Self {
        Self { name, grade, text, value, advice: None }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Looks at everything and tells.
pub(crate) fn report(dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let code = machine_code(&HostSupport::here());
    let mut findings = vec![cpu(), memory(), merging(), kernel(), code, kvm(), tun(), terminal()];
    findings.extend([mirror(), keys()]);
    findings.extend(PEERS.iter().map(|&(program, package)| peer(program, package)));
    findings.extend([
        place("state directory", &dirs.state),
        place("cache directory", &dirs.cache),
        place("socket directory", &dirs.run),
    ]);
    let bad = findings.iter().any(|finding| finding.grade == Grade::Bad);
    if ui.json {
        let object = |finding: &Finding| {
            json!({
                "name": finding.name,
                "grade": word(finding.grade),
                "value": finding.value,
                "text": finding.text,
                "advice": finding.advice,
            })
        };
        let all: Vec<_> = findings.iter().map(object).collect();
        ui.object(json!({ "ok": !bad, "findings": all }))?;
    } else {
        for finding in &findings {
            let (grade, name, text) = (word(finding.grade), finding.name, &finding.text);
            ui.line(&format!("{grade:8} {name:20} {text}"))?;
            if let Some(advice) = &finding.advice {
                ui.line(&format!("{:29} {advice}", ""))?;
            }
        }
    }
    if bad { Err(Failure::new(1, "this host cannot run machines as it is")) } else { Ok(()) }
}

fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "ok",
        Grade::Missing => "missing",
        Grade::Bad => "bad",
    }
}

fn cpu() -> Finding {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| {
        line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned())
    });
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let loops = spin();
    let text = format!("{model}, {count} usable, {loops} million simple steps a second each");
    let value = json!({
        "model": model, "count": count, "arch": std::env::consts::ARCH, "mega_steps": loops,
    });
    Finding::new("cpu", Grade::Good, text, value)
}

/// Dependent additions and multiplications, in millions a second: a rough measure of one CPU.
fn spin() -> u64 {
    const STEPS: u64 = 20_000_000;
    let began = Instant::now();
    let mut value = 1u64;
    for step in 0..STEPS {
        value = std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005) ^ step);
    }
    let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    STEPS / us
}

/// Whether the host looks for pages that are alike, as `--share` offers them.
fn merging() -> Finding {
    let run = fs::read_to_string("/sys/kernel/mm/ksm/run").ok();
    let on = run.as_deref().map(|text| text.trim() == "1");
    let value = json!({ "on": on });
    match on {
        Some(true) => {
            let text = "the host merges pages of machines with --share (KSM)".into();
            Finding::new("page sharing", Grade::Good, text, value)
        }
        Some(false) => {
            let text = "off: --share has no effect".into();
            Finding::new("page sharing", Grade::Missing, text, value)
                .advise("echo 1 | sudo tee /sys/kernel/mm/ksm/run")
        }
        None => {
            let text = "this kernel has no KSM: --share has no effect".into();
            Finding::new("page sharing", Grade::Missing, text, value)
        }
    }
}

fn memory() -> Finding {
    let Some((all, free)) = host_memory() else {
        return Finding::new("memory", Grade::Missing, "unknown".into(), Value::Null);
    };
    let text = format!("{} of which {} available", size_text(all), size_text(free));
    let value = json!({ "bytes": all, "available_bytes": free });
    let grade = if free < 512 << 20 { Grade::Missing } else { Grade::Good };
    let finding = Finding::new("memory", grade, text, value);
    if grade == Grade::Good { finding } else { finding.advise("give machines less with --memory") }
}

fn kernel() -> Finding {
    let release = kernel_release();
    Finding::new("kernel", Grade::Good, release.clone(), json!(release))
}

/// Whether guests are translated to code of this host, which is some ten times as fast as what is
/// there otherwise.
fn machine_code(support: &HostSupport) -> Finding {
    let names = |features: &[(&'static str, bool)], wanted: bool| {
        let names = features.iter().filter(|(_, has)| *has == wanted).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(", ")
    };
    let features = support.needed.iter().chain(&support.useful);
    let features: serde_json::Map<String, Value> =
        features.map(|(name, has)| ((*name).to_owned(), json!(has))).collect();
    let usable = support.is_enough();
    let memory = support.memory.as_deref();
    let value =
        json!({ "usable": usable, "features": features, "mapped_by": memory.as_deref().ok() });
    let arch = std::env::consts::ARCH;
    let (grade, text, advice) = match memory {
        _ if !support.tier => {
            let text = format!("guests are interpreted: there is no translator to code of {arch}");
            (Grade::Missing, text, Some("an x86-64 host runs guests several times as fast"))
        }
        Err(why) => {
            let text = format!("guests are interpreted: {why}");
            let advice = "allow memory that is mapped twice, once to be written and once to be \
                          run: a seccomp filter or SELinux (execmem) may forbid it";
            (Grade::Missing, text, Some(advice))
        }
        Ok(_) if !usable => {
            let lacks = names(&support.needed, false);
            let text = format!("guests are interpreted: this processor has no {lacks}");
            (Grade::Missing, text, Some("x86-64-v2 is needed; a virtual machine may hide it"))
        }
        Ok(by) => {
            let (has, lacks) = (names(&support.useful, true), names(&support.useful, false));
            let mut text = format!("guests are translated to code of {arch}, mapped by {by}");
            if !has.is_empty() {
                text.push_str(&format!("; uses {has}"));
            }
            let slow = "fused operations of floating point are interpreted, as there is no fma";
            (Grade::Good, text, (!lacks.is_empty()).then_some(slow))
        }
    };
    let finding = Finding::new("machine code", grade, text, value);
    match advice {
        Some(advice) => finding.advise(advice),
        None => finding,
    }
}

/// The device, and whether its hardware is real: some clouds emulate it, which is far slower than
/// translation.
fn kvm() -> Finding {
    let name = "kvm";
    if !Path::new("/dev/kvm").exists() {
        let text = "no /dev/kvm, which this build does not use";
        return Finding::new(name, Grade::Missing, text.into(), json!({ "present": false }))
            .advise("only same-architecture machines could use it, and none here does yet");
    }
    let usable = OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    let emulated = modules.lines().any(|line| line.starts_with("kvm_pvm "));
    let value = json!({ "present": true, "usable": usable, "emulated": emulated });
    let text = match (usable, emulated) {
        (false, _) => "/dev/kvm is there and may not be used",
        (true, true) => "/dev/kvm is emulated in software (kvm_pvm), which is slow",
        (true, false) => {
            "/dev/kvm can be opened; this build does not use it, so its speed is not measured"
        }
    };
    let grade = if usable && !emulated { Grade::Good } else { Grade::Missing };
    let finding = Finding::new(name, grade, text.into(), value);
    if usable { finding } else { finding.advise("join the group kvm: adduser $USER kvm") }
}

fn tun() -> Finding {
    let usable = OpenOptions::new().read(true).write(true).open("/dev/net/tun").is_ok();
    let text = if usable { "/dev/net/tun can be used" } else { "no /dev/net/tun for this user" };
    let grade = if usable { Grade::Good } else { Grade::Missing };
    let finding = Finding::new("tap", grade, text.into(), json!({ "usable": usable }));
    if usable { finding } else { finding.advise("not needed: --net user works without it") }
}

fn terminal() -> Finding {
    let streams = [is_terminal(io::stdin()), is_terminal(io::stdout()), is_terminal(io::stderr())];
    let text = match streams {
        [true, true, true] => "a person is here: consoles are attached in raw mode",
        [false, ..] => "standard input is no terminal: it is fed to consoles as it is",
        _ => "standard input is a terminal, an output is not",
    };
    let value = json!({ "stdin": streams[0], "stdout": streams[1], "stderr": streams[2] });
    Finding::new("terminal", Grade::Good, text.into(), value)
}

fn mirror() -> Finding {
    match Mirror::of_host() {
        Ok(mirror) => {
            let text = mirror.address().to_owned();
            Finding::new("debian mirror", Grade::Good, text.clone(), json!(text))
        }
        Err(error) => {
            let text = "the host's apt sources name none".into();
            Finding::new("debian mirror", Grade::Missing, text, Value::Null)
                .advise(error.to_string())
        }
    }
}

fn keys() -> Finding {
    match Keyring::of_host() {
        Ok(_) => Finding::new(
            "debian keyring",
            Grade::Good,
            "the archive's keys are known".into(),
            json!(true),
        ),
        Err(error) => {
            Finding::new("debian keyring", Grade::Missing, error.to_string(), json!(false))
                .advise("apt-get install debian-archive-keyring")
        }
    }
}

fn peer(program: &'static str, package: &str) -> Finding {
    match find_program(program) {
        Some(path) => {
            let text = path.display().to_string();
            Finding::new(program, Grade::Good, text.clone(), json!(text))
        }
        None => {
            let text = "not installed, and needed only to compare with".into();
            Finding::new(program, Grade::Missing, text, Value::Null)
                .advise(format!("apt-get install {package}"))
        }
    }
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian keeps games where root does not look.
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/games")]);
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn place(name: &'static str, path: &Path) -> Finding {
    let probe = path.join(format!("probe-{}", std::process::id()));
    let tried = private_dir(path).and_then(|()| fs::write(&probe, b"probe"));
    // Where it could not be written there is nothing to remove.
    let _ = fs::remove_file(&probe);
    let shown = path.display();
    match tried {
        Ok(()) => {
            let free = free_bytes(path).unwrap_or(0);
            let text = format!("{shown}, {} free", size_text(free));
            let value = json!({ "path": path, "free_bytes": free });
            Finding::new(name, Grade::Good, text, value)
        }
        Err(error) => {
            let text = format!("{shown} cannot be written: {error}");
            Finding::new(name, Grade::Bad, text, json!({ "path": path }))
                .advise("set OMNI_HOME to a directory of yours")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn support() -> HostSupport {
        HostSupport {
            tier: true,
            needed: vec![("popcnt", true)],
            useful: vec![("fma", true)],
            memory: Ok("memfd"),
        }
    }

    #[test]
    fn what_keeps_guests_from_machine_code_is_said_with_what_to_do() {
        let good = machine_code(&support());
        assert!(good.grade == Grade::Good && good.advice.is_none());
        assert!(good.text.contains("memfd") && good.value["usable"] == true);
        let memory = Err("Operation not permitted".into());
        let refused = machine_code(&HostSupport { memory, ..support() });
        assert!(refused.text.contains("not permitted") && refused.value["usable"] == false);
        let old = machine_code(&HostSupport { needed: vec![("popcnt", false)], ..support() });
        assert!(old.text.contains("popcnt"));
        let other = machine_code(&HostSupport { tier: false, ..support() });
        for bad in [refused, old, other] {
            assert!(bad.grade == Grade::Missing && bad.advice.is_some(), "{}", bad.text);
        }
    }
}
