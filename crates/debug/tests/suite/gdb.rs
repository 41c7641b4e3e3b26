//! GDB itself at a bare RISC-V program: ahead and back. Skipped where it or a compiler is absent.

use crate::alive::Alive;
use crate::wires::Socket;
use omni_debug::{End, History, Present, serve};
use omni_machine::Spec;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

const GDB: &str = "gdb-multiarch";
const CC: &str = "riscv64-linux-gnu-gcc";

/// The program, compiled with what a debugger wants to know.
fn program(dir: &Path) -> Option<PathBuf> {
    let elf = dir.join("program.elf");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/program.c");
    let done = Command::new(CC)
        .args(["-g", "-O1", "-fno-omit-frame-pointer", "-nostdlib", "-static", "-no-pie"])
        .args(["-ffreestanding", "-mcmodel=medany", "-march=rv64gc", "-Wl,-Ttext=0x80000000"])
        .args(["-Wl,--build-id=none", "-Wl,--section-start=.text.start=0x80000000"])
        .arg("-o")
        .args([&elf, &source])
        .status();
    match done {
        Ok(status) => assert!(status.success(), "the program does not compile"),
        Err(_) => {
            eprintln!("skipped: {CC} is absent");
            return None;
        }
    }
    Some(elf)
}

/// What GDB and the stub say to these commands, at a machine with the program.
fn gdb(name: &str, commands: &[&str]) -> Option<(String, String)> {
    if Command::new(GDB).arg("--version").output().is_err() {
        eprintln!("skipped: {GDB} is absent");
        return None;
    }
    let dir = std::env::temp_dir().join(format!("omni-gdb-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let elf = program(&dir)?;
    let mut spec = Spec::new("riscv-virt");
    spec.options.insert("memory".into(), "16M".into());
    spec.files.insert("image".into(), std::fs::read(&elf).expect("it was made").into());
    let mut alive = Alive::with(&spec, 1 << 40);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let mut child = Command::new(GDB);
    child.args(["-nx", "-batch", "-q"]).arg(&elf);
    let target = format!("target remote {address}");
    let first = ["set pagination off", "set confirm off", "set remotetimeout 30", &target];
    for command in first.iter().chain(commands) {
        child.args(["-ex", command]);
    }
    let child = child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = child.spawn().expect("gdb starts");
    let (stream, _) = listener.accept().expect("gdb connects");
    let history = History::new(crate::alive::kinds(), alive.machine()).expect("it replays");
    let end = serve(&mut alive, history, &mut Socket::new(stream));
    let out = child.wait_with_output().expect("gdb ends");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    std::fs::remove_dir_all(&dir).expect("it is ours");
    let end = end.unwrap_or_else(|error| panic!("{error}\n{text}\n{errors}"));
    assert_eq!(end, End::Detached, "{text}\n{errors}");
    Some((text, errors))
}

/// Asserts that these are in a text, in this order.
#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some(at) = rest.find(part) else { panic!("'{part}' is not in:\n{rest}\nall:\n{text}") };
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn gdb_breaks_steps_and_sees_who_called() {
    let commands = [
        "break walk if depth == 0",
        "continue",
        "backtrace",
        "print balance",
        "delete",
        "break pay",
        "continue",
        "print amount",
        "stepi",
        "stepi",
        "finish",
        "print balance",
        "info threads",
        "print/x $mhartid",
        "print $priv",
        "print $fcsr",
    ];
    let Some((text, _said)) = gdb("breaks", &commands) else { return };
    in_order(
        &text,
        &[
            "walk (depth=depth@entry=0)",
            "#0  walk (depth=depth@entry=0)",
            "#1 ",
            "walk (depth=depth@entry=1)",
            "walk (depth=depth@entry=3)",
            "in main ()",
            "$1 = 105",
            "pay (amount=amount@entry=-42)",
            "$2 = -42",
            "$3 = 63",
            "hart 0",
            "$4 = 0x0",
            "$5 = ",
            "$6 = ",
        ],
    );
}

#[test]
fn gdb_watches_data_and_goes_back_to_who_wrote_it() {
    let commands = [
        "break *main",
        "continue",
        "delete",
        "watch balance",
        "continue",
        "continue",
        "delete",
        "monitor when",
        "break close_books",
        "continue",
        "delete",
        "watch balance",
        "reverse-continue",
        "print balance",
        "backtrace",
        "reverse-stepi",
        "stepi",
        "reverse-continue",
        "print balance",
        "reverse-continue",
        "monitor when",
    ];
    let Some((text, said)) = gdb("watches", &commands) else { return };
    in_order(
        &text,
        &[
            "Hardware watchpoint 2: balance",
            "Old value = 100",
            "New value = 105",
            "Old value = 105",
            "New value = 63",
            "close_books ()",
            "Hardware watchpoint",
            "Old value = 63",
            "New value = 105",
            "pay (amount=amount@entry=-42)",
            "$1 = 105",
            "#0 ",
            "walk (depth=depth@entry=0)",
            "walk (depth=depth@entry=3)",
            "Old value = 105",
            "New value = 100",
            "$2 = 100",
            "No more reverse-execution history",
        ],
    );
    in_order(&said, &["in the present", "in the past", "recorded from tick 0 to tick"]);
}

#[test]
fn gdb_steps_back_over_lines_and_calls() {
    let commands = [
        "break pay if amount == -42",
        "continue",
        "print $sp",
        "delete",
        "reverse-finish",
        "reverse-step",
        "reverse-next",
        "bt",
        "continue",
        "monitor when",
        "monitor rewind 1us",
        "monitor goto 99999999999999",
        "monitor physical on",
        "x/1xw 0x80000000",
        "monitor nonsense",
        "print balance = 4",
    ];
    let Some((text, said)) = gdb("steps", &commands) else { return };
    in_order(
        &text,
        &[
            "pay (amount=amount@entry=-42)",
            "walk (depth=depth@entry=0)",
            "program.c:11",
            "program.c:10",
            "#4 ",
            "in main ()",
            "No more reverse-execution history",
            "<pay>:",
        ],
    );
    let all = ["in the present", "in the past", "is not recorded", "physical address", "translate"];
    in_order(&said, &all);
    in_order(&said, &["Cannot access memory"]);
}
