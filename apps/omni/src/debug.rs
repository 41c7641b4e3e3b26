//! `omni debug`: a way for GDB to a machine, by a socket or by this process's own streams.

use crate::failure::{Failure, code};
use crate::ui::Ui;
use omni_control::{Client, ControlError, Dirs, Message, Registry, Reply, Request};
use serde_json::json;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

/// Where GDB is waited for unless it is said.
pub(crate) const DEFAULT: &str = "127.0.0.1:1234";

/// Bytes that are passed on at once.
const PART: usize = 16 << 10;

/// Waits for a debugger, and passes on what it and the monitor say until one of them leaves.
pub(crate) fn run(key: &str, listen: Option<&str>, dirs: &Dirs, ui: Ui) -> Result<u8, Failure> {
    let entry = Registry::open(dirs)?.find(key)?;
    // That the machine lives is found out before a debugger is waited for.
    drop(Client::connect(&entry)?);
    let (from, to) = accept(listen.unwrap_or(DEFAULT), ui)?;
    let mut client = Client::connect(&entry)?;
    client.ask(&Request::Debug)?;
    pass(client, from, to)
}

/// The two directions of a way to a debugger.
type Ends = (Box<dyn Read + Send>, Box<dyn Out>);

/// The way out, which can be closed.
trait Out: Write {
    fn close(&self);
}

impl Out for TcpStream {
    fn close(&self) {
        let _: io::Result<()> = self.shutdown(Shutdown::Both);
    }
}

impl Out for UnixStream {
    fn close(&self) {
        let _: io::Result<()> = self.shutdown(Shutdown::Both);
    }
}

impl Out for io::Stdout {
    fn close(&self) {
        // It closes with this process, which ends now.
    }
}

fn accept(listen: &str, ui: Ui) -> Result<Ends, Failure> {
    let fail = |error: io::Error| Failure::io(&format!("--listen {listen}"), &error);
    if listen == "stdio" || listen == "-" {
        return Ok((Box::new(io::stdin()), Box::new(io::stdout())));
    }
    if let Some(path) = path_of(listen) {
        let listener = bind(&path).map_err(fail)?;
        tell(&path.display().to_string(), ui)?;
        let accepted = listener.accept();
        let _: io::Result<()> = fs::remove_file(&path);
        let (stream, _) = accepted.map_err(fail)?;
        return Ok((Box::new(stream.try_clone().map_err(fail)?), Box::new(stream)));
    }
    let address = match listen.strip_prefix(':').unwrap_or(listen).parse::<u16>() {
        Ok(port) => format!("127.0.0.1:{port}"),
        Err(_) => listen.to_owned(),
    };
    let listener = TcpListener::bind(&address).map_err(fail)?;
    let here = listener.local_addr().map_err(fail)?;
    tell(&here.to_string(), ui)?;
    if !here.ip().is_loopback() {
        ui.say("omni: whoever reaches this address can read and write all of the machine");
    }
    let (stream, _) = listener.accept().map_err(fail)?;
    // Packets are small, and each waits for the one before.
    stream.set_nodelay(true).map_err(fail)?;
    Ok((Box::new(stream.try_clone().map_err(fail)?), Box::new(stream)))
}

/// The path of a Unix socket, where it is one that is meant.
fn path_of(listen: &str) -> Option<PathBuf> {
    let path = listen.strip_prefix("unix:");
    let path = path.or_else(|| listen.contains('/').then_some(listen))?;
    Some(PathBuf::from(path))
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    // One left over is in the way; anything else is somebody's file.
    if fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

fn tell(address: &str, ui: Ui) -> Result<(), Failure> {
    if ui.json {
        return ui.object(json!({ "listen": address }));
    }
    ui.say(&format!("omni: waits for GDB: target remote {address}"));
    Ok(())
}

fn pass(
    client: Client,
    mut from: Box<dyn Read + Send>,
    mut to: Box<dyn Out>,
) -> Result<u8, Failure> {
    let mut inward = client.another()?;
    let body = move || {
        let mut part = vec![0; PART];
        while let Ok(count @ 1..) = from.read(&mut part) {
            if inward.input(&part[..count]).is_err() {
                return;
            }
        }
        // The debugger has gone, and the monitor learns of it so.
        inward.close();
    };
    thread::Builder::new()
        .name("debugger".into())
        .spawn(body)
        .map_err(|error| Failure::io("cannot make a thread", &error))?;
    let mut outward = client;
    let left = loop {
        match outward.receive() {
            Ok(Message::Output(bytes)) => {
                if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
                    break Ok(0);
                }
            }
            Ok(Message::Reply(Reply::Error { code, text })) => break Err(Failure { code, text }),
            Ok(
                Message::Errors(_)
                | Message::Reply(Reply::Ok { .. } | Reply::Exited { .. } | Reply::Lost { .. }),
            ) => {}
            // The monitor closes the connection when the debugger has left.
            Err(ControlError::Gone(_)) => break Ok(0),
            Err(error) => break Err(Failure::new(code::FAILURE, error.to_string())),
        }
    };
    outward.close();
    to.close();
    left
}
