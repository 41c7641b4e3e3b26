//! The program from outside: debuggers at live machines.

#[allow(dead_code, reason = "each of the tests of the program needs some of it")]
mod home;

use home::{Home, elf};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Counts up in t0, for ever.
const COUNTER: [u32; 2] = [0x0012_8293, 0xffdf_f06f];

fn home(name: &str) -> Home {
    let home = Home::new(name);
    home.write("counter", &elf(&COUNTER));
    home
}

impl Home {
    fn inspect(&self, name: &str) -> Value {
        serde_json::from_str(&self.says(&["inspect", name, "--json"], 0)).expect("an object")
    }

    /// A debugger's way in, and where it is.
    fn debug(&self, args: &[&str]) -> (Child, String) {
        let all = [&["debug", "--json"], args].concat();
        let child = self.omni(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("it can be started");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("it says where");
        let said: Value = serde_json::from_str(&line).expect("an object");
        (child, said["listen"].as_str().expect("it says where").to_owned())
    }
}

/// Says a packet, and gives the body of the answer.
fn ask(stream: &mut (impl Read + Write), body: &str) -> String {
    let sum = body.bytes().fold(0u8, u8::wrapping_add);
    write!(stream, "${body}#{sum:02x}").expect("it listens");
    let mut said = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).expect("it answers");
        said.push(byte[0]);
        let end = said.len().checked_sub(3).filter(|at| said[*at] == b'#');
        if let Some(end) = end {
            stream.write_all(b"+").expect("it listens");
            let begin = said.iter().position(|byte| *byte == b'$').expect("a packet begins so");
            return String::from_utf8_lossy(&said[begin + 1..end]).into_owned();
        }
    }
}

#[test]
fn a_machine_in_a_debuggers_hands_stands_still_and_lives_on_after_it() {
    let home = home("debug-hands");
    home.says(&["run", "--detach", "--name", "counter", "--memory", "16M", "counter"], 0);
    let (mut child, address) = home.debug(&["counter", "--listen", "0"]);
    let mut stream = TcpStream::connect(&address).expect("it waits");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("it is not zero");
    assert!(ask(&mut stream, "?").starts_with("T05"));
    // It stands still for everybody, and can be looked at by others.
    let ticks = home.inspect("counter")["ticks"].clone();
    assert_eq!(home.inspect("counter")["ticks"], ticks);
    // Another one has to wait its turn.
    let (mut other, second) = home.debug(&["counter", "--listen", "0"]);
    drop(TcpStream::connect(&second).expect("it waits"));
    let status = other.wait().expect("it ends");
    assert_eq!(status.code(), Some(5));
    // Back and forth.
    let here = ask(&mut stream, "p20");
    assert_ne!(ask(&mut stream, "vCont;s:p1.1"), "");
    assert_ne!(ask(&mut stream, "p20"), here);
    assert!(ask(&mut stream, "bs").starts_with('T'));
    assert_eq!(ask(&mut stream, "p20"), here);
    assert_eq!(ask(&mut stream, "D;1"), "OK");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    while home.inspect("counter")["ticks"] == ticks {}
    // Who goes away without a word lets go as well.
    let socket = home.dir.path().join("gdb.sock");
    let path = socket.to_str().expect("plain").to_owned();
    let (mut child, address) = home.debug(&["counter", "--listen", &path]);
    assert_eq!(address, path);
    let mut stream = UnixStream::connect(&socket).expect("it waits");
    assert!(ask(&mut stream, "?").starts_with("T05"));
    let ticks = home.inspect("counter")["ticks"].clone();
    drop(stream);
    child.wait().expect("it ends");
    while home.inspect("counter")["ticks"] == ticks {}
    home.says(&["kill", "counter"], 0);
}

#[test]
fn a_killed_machine_takes_its_debugger_along_and_a_debugger_can_kill() {
    let home = home("debug-kill");
    home.says(&["run", "--detach", "--name", "story", "story.z5"], 0);
    let (mut child, address) = home.debug(&["story", "--listen", "0"]);
    let mut stream = TcpStream::connect(&address).expect("it waits");
    assert!(ask(&mut stream, "?").starts_with("T05"));
    home.says(&["kill", "story"], 0);
    child.wait().expect("it ends");
    home.says(&["run", "--detach", "--name", "two", "--memory", "16M", "counter"], 0);
    let (mut child, address) = home.debug(&["two", "--listen", "0"]);
    let mut stream = TcpStream::connect(&address).expect("it waits");
    assert!(ask(&mut stream, "?").starts_with("T05"));
    stream.write_all(b"$k#6b").expect("it listens");
    child.wait().expect("it ends");
    home.says(&["wait", "two"], 0);
    assert_eq!(home.inspect("two")["state"], "stopped");
}

#[test]
fn what_cannot_be_debugged_is_said() {
    let home = home("debug-not");
    home.says(&["debug", "nobody"], 3);
    home.says(&["create", "--name", "counter", "counter"], 0);
    let said = home.says(&["debug", "counter"], 5);
    assert!(said.contains("omni start counter"), "{said}");
    home.says(&["start", "counter"], 0);
    home.says(&["debug", "counter", "--listen", "no such place:1"], 1);
    home.says(&["debug", "counter", "--listen", "/no/such/folder/socket"], 1);
}

#[test]
fn gdb_finds_its_way_by_a_pipe() {
    if Command::new("gdb-multiarch").arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "skipped: gdb-multiarch is absent");
        return;
    }
    let home = home("debug-pipe");
    home.says(&["run", "--detach", "--name", "counter", "--memory", "16M", "counter"], 0);
    let omni = env!("CARGO_BIN_EXE_omni");
    let target = format!("target remote | exec {omni} debug counter --listen stdio");
    let mut gdb = Command::new("gdb-multiarch");
    gdb.env("OMNI_HOME", home.dir.path().join("home")).stdin(Stdio::null());
    gdb.args(["-nx", "-batch", "-ex", "set pagination off", "-ex", &target]);
    let commands =
        ["tbreak *0x80000000", "c", "p $t0", "si", "p $t0", "rsi", "p $t0", "x/2i $pc", "p $satp"];
    gdb.args(commands.iter().flat_map(|command| ["-ex", command]));
    let output = gdb.output().expect("it was there");
    let said = String::from_utf8_lossy(&output.stdout);
    let talk = String::from_utf8_lossy(&output.stderr);
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        line.unwrap_or_else(|| panic!("no {name}:\n{said}\n{talk}")).parse::<u64>().expect("one")
    };
    assert_eq!(value("$2"), value("$1") + 1, "{said}\n{talk}");
    assert_eq!(value("$3"), value("$1"), "{said}\n{talk}");
    assert!(said.contains("t0,t0,1"), "{said}\n{talk}");
    home.says(&["kill", "counter"], 0);
}
