//! A tiny HTTP server on this machine, which can cut connections and forget about ranges.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the server holds and how it misbehaves.
#[derive(Default)]
pub(crate) struct Served {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// For a path: connections yet to be cut, and after how many bytes of the body.
    pub(crate) cuts: BTreeMap<String, (u32, usize)>,
    /// Whether ranges are honoured.
    pub(crate) ranges: bool,
    /// Requests so far: path, range, and the status that was given.
    pub(crate) log: Vec<(String, Option<String>, u16)>,
}

/// A running server; it ends with the test's process.
pub(crate) struct Server {
    pub(crate) served: Arc<Mutex<Served>>,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/debian", listener.local_addr().unwrap());
        let served = Arc::new(Mutex::new(Served { files, ranges: true, ..Served::default() }));
        let shared = Arc::clone(&served);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // One that went away is its own loss.
                let _ = answer(stream.unwrap(), &shared);
            }
        });
        Self { served, address }
    }

    /// The requests of a path so far: range and status.
    pub(crate) fn requests(&self, path: &str) -> Vec<(Option<String>, u16)> {
        let served = self.served.lock().unwrap();
        let of_path = served.log.iter().filter(|(asked, _, _)| asked == path);
        of_path.map(|(_, range, status)| (range.clone(), *status)).collect()
    }
}

/// Answers one request and closes the connection.
fn answer(mut stream: TcpStream, shared: &Mutex<Served>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut range, mut etag) = (None, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => range = Some(value.to_owned()),
            "if-none-match" => etag = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut served = shared.lock().unwrap();
    let path = path.strip_prefix("/debian/").unwrap_or(&path).to_owned();
    let Some(file) = served.files.get(&path).cloned() else {
        served.log.push((path, range, 404));
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    // The first byte will do to tell this test's versions of a file apart.
    let tag = format!("\"{}-{:?}\"", file.len(), file.iter().map(|&b| u64::from(b)).sum::<u64>());
    let start = range
        .as_deref()
        .filter(|_| served.ranges)
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let (status, extra, body) = match start {
        _ if etag.as_ref() == Some(&tag) => ("304 Not Modified", String::new(), &file[..0]),
        Some(start) if start >= file.len() => ("416 Bad Range", String::new(), &file[..0]),
        Some(start) => {
            let last = file.len() - 1;
            let extra = format!("Content-Range: bytes {start}-{last}/{}\r\n", file.len());
            ("206 Partial Content", extra, &file[start..])
        }
        None => ("200 OK", String::new(), &file[..]),
    };
    let mut count = body.len();
    if let Some((left, after)) = served.cuts.get_mut(&path).filter(|(left, _)| *left > 0) {
        *left -= 1;
        count = count.min(*after);
    }
    served.log.push((path, range, status[..3].parse().unwrap()));
    drop(served);
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nETag: {tag}\r\n{extra}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body[..count])
}
