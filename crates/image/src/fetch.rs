//! Downloads over HTTP into a cache: resumed after a cut, checked, and renamed into place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use crate::digest::Sha256;
use crate::error::ImageError;
use crate::progress::Progress;
use crate::release::Listed;
use crate::store::write_atomically;

/// Attempts in a row that bring nothing before a download is given up.
const ATTEMPTS_MAX: u32 = 5;

/// Attempts in all: a peer that sends a byte a connection must come to an end too.
const ROUNDS_MAX: u32 = 100;

/// How long a connection may take to be made, and how long it may be silent afterwards.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// How patient downloads are with a network that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in a row that may bring nothing.
    pub attempts: u32,
    /// The wait after the first of them; doubled after each further one.
    pub pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: ATTEMPTS_MAX, pause: Duration::from_millis(500) }
    }
}

/// Fetches files into a cache folder, which it holds locked.
pub(crate) struct Fetcher<'p> {
    agent: Agent,
    cache: PathBuf,
    pub(crate) retry: Retry,
    pub(crate) progress: &'p mut dyn Progress,
    // Two builds that append to the same partial file would spoil it for each other.
    _lock: File,
}

/// Why an attempt brought no complete file.
enum Failed {
    /// The network's fault: worth another attempt.
    Again(String),
    /// Another attempt would end the same.
    Fatal(ImageError),
}

/// What is remembered about a file that is fetched by address.
#[derive(Serialize, Deserialize)]
struct Remembered {
    url: String,
    sha256: Sha256,
    etag: Option<String>,
    last_modified: Option<String>,
}

impl<'p> Fetcher<'p> {
    /// Opens the cache, waiting for another build that uses it.
    pub(crate) fn open(
        cache: &Path,
        retry: Retry,
        progress: &'p mut dyn Progress,
    ) -> Result<Self, ImageError> {
        fs::create_dir_all(cache).map_err(ImageError::disk("create", cache))?;
        let path = cache.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(ImageError::disk("open", &path))?;
        lock.lock().map_err(ImageError::disk("lock", &path))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(SILENCE_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .user_agent(concat!("omni/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { agent, cache: cache.to_path_buf(), retry, progress, _lock: lock })
    }

    /// A file whose size and hash are known, from the cache or from an address.
    pub(crate) fn pinned(
        &mut self,
        name: &str,
        url: &str,
        listed: &Listed,
    ) -> Result<PathBuf, ImageError> {
        let hash = listed.sha256.to_string();
        let folder = self.cache.join("sha256").join(&hash[..2]);
        fs::create_dir_all(&folder).map_err(ImageError::disk("create", &folder))?;
        let path = folder.join(&hash);
        if matches!(describe(&path), Ok(Some(found)) if found == *listed) {
            return Ok(path);
        }
        let part = folder.join(format!("{hash}.part"));
        self.progress.begin(name, Some(listed.size));
        let fetched = self.fetch_part(url, &part, listed);
        self.progress.end();
        fetched?;
        fs::rename(&part, &path).map_err(ImageError::disk("rename", &part))?;
        Ok(path)
    }

    /// Completes a partial file and checks it.
    fn fetch_part(&mut self, url: &str, part: &Path, listed: &Listed) -> Result<(), ImageError> {
        let mut resumed = part_size(part) > 0;
        loop {
            self.complete(url, part, listed.size)?;
            let found = describe(part).map_err(ImageError::disk("read", part))?;
            if found.as_ref() == Some(listed) {
                return Ok(());
            }
            fs::remove_file(part).map_err(ImageError::disk("remove", part))?;
            // The start may have been of another file, or damaged on this disk: once more, whole.
            if !resumed {
                let reason = format!("its SHA-256 is not {}", listed.sha256);
                return Err(ImageError::Mismatch { url: url.to_owned(), reason });
            }
            resumed = false;
        }
    }

    /// Appends to a partial file until it has its size, over as many connections as it takes.
    fn complete(&mut self, url: &str, part: &Path, size: u64) -> Result<(), ImageError> {
        let mut shown = 0;
        let mut barren = 0;
        for _ in 0..ROUNDS_MAX {
            let before = part_size(part);
            let reason = match self.attempt(url, part, size, &mut shown) {
                Ok(()) => return Ok(()),
                Err(Failed::Fatal(error)) => return Err(error),
                Err(Failed::Again(reason)) => reason,
            };
            barren = if part_size(part) > before { 0 } else { barren + 1 };
            self.wait(url, barren, reason)?;
        }
        Err(network(url, format!("{ROUNDS_MAX} connections were cut")))
    }

    /// Waits before the next attempt, or gives up after too many that brought nothing.
    fn wait(&self, url: &str, barren: u32, reason: String) -> Result<(), ImageError> {
        if barren >= self.retry.attempts {
            return Err(network(url, reason));
        }
        thread::sleep(self.retry.pause.saturating_mul(1 << barren.min(6)));
        Ok(())
    }

    /// One connection's worth of a partial file.
    fn attempt(
        &mut self,
        url: &str,
        part: &Path,
        size: u64,
        shown: &mut u64,
    ) -> Result<(), Failed> {
        let disk = |action| {
            let error = ImageError::disk(action, part);
            move |source| Failed::Fatal(error(source))
        };
        let mut file =
            OpenOptions::new().create(true).append(true).open(part).map_err(disk("open"))?;
        let mut have = part_size(part);
        if have > size {
            file.set_len(0).map_err(disk("shorten"))?;
            have = 0;
        }
        if have == size {
            return Ok(());
        }
        let mut request = self.agent.get(url);
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let mut response = request.call().map_err(|e| Failed::Again(e.to_string()))?;
        let continues = response.status() == StatusCode::PARTIAL_CONTENT
            && header(&response, "content-range")
                .is_some_and(|range| range.starts_with(&format!("bytes {have}-")));
        if !continues {
            // The server starts anew, or its file is not the one that was begun.
            let starts_anew = response.status().is_success()
                || response.status() == StatusCode::RANGE_NOT_SATISFIABLE;
            if starts_anew && have > 0 {
                file.set_len(0).map_err(disk("shorten"))?;
                have = 0;
            }
            check_status(url, response.status())?;
        }
        let body = response.body_mut().with_config().limit(u64::MAX).reader();
        self.copy(body, &mut file, have, size, shown).map_err(|failed| match failed {
            Copied::Peer(reason) => Failed::Again(reason),
            Copied::Disk(source) => disk("write")(source),
            Copied::Longer => Failed::Fatal(ImageError::Mismatch {
                url: url.to_owned(),
                reason: format!("it is longer than {size} bytes"),
            }),
        })?;
        file.sync_all().map_err(disk("write"))
    }

    /// Appends what a connection gives, which must end exactly at the file's size.
    fn copy(
        &mut self,
        mut body: impl Read,
        file: &mut File,
        mut have: u64,
        size: u64,
        shown: &mut u64,
    ) -> Result<(), Copied> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            // What an earlier connection brought counts once.
            self.progress.advance(have.saturating_sub(*shown));
            *shown = have.max(*shown);
            let count = match body.read(&mut buffer) {
                Ok(0) if have == size => return Ok(()),
                Ok(0) => return Err(Copied::Peer(format!("cut after {have} of {size} bytes"))),
                Ok(count) => count,
                Err(error) => return Err(Copied::Peer(error.to_string())),
            };
            have += count as u64;
            if have > size {
                return Err(Copied::Longer);
            }
            file.write_all(&buffer[..count]).map_err(Copied::Disk)?;
        }
    }

    /// A file that changes, asked for again unless the mirror says it has not changed.
    /// None when the mirror does not have it.
    pub(crate) fn current(
        &mut self,
        url: &str,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, ImageError> {
        let folder = self.cache.join("url");
        fs::create_dir_all(&folder).map_err(ImageError::disk("create", &folder))?;
        let path = folder.join(Sha256::of(url.as_bytes()).to_string());
        let name = url.rsplit('/').next().unwrap_or(url);
        self.progress.begin(name, None);
        let fetched = self.ask_again(url, &path, bytes_max);
        self.progress.end();
        fetched
    }

    /// Asks for a file by address until there is an answer or patience ends.
    fn ask_again(
        &mut self,
        url: &str,
        path: &Path,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, ImageError> {
        let mut barren = 0;
        loop {
            match self.ask(url, path, bytes_max) {
                Ok(answer) => return Ok(answer),
                Err(Failed::Fatal(ImageError::Status { status: 404, .. })) => return Ok(None),
                Err(Failed::Fatal(error)) => return Err(error),
                Err(Failed::Again(reason)) => {
                    barren += 1;
                    self.wait(url, barren, reason)?;
                }
            }
        }
    }

    /// Asks once for a file by address.
    fn ask(&mut self, url: &str, path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, Failed> {
        let kept = remembered(url, path);
        let mut request = self.agent.get(url);
        if let Some((about, _)) = &kept {
            if let Some(etag) = &about.etag {
                request = request.header("If-None-Match", etag);
            }
            if let Some(date) = &about.last_modified {
                request = request.header("If-Modified-Since", date);
            }
        }
        let mut response = request.call().map_err(|e| Failed::Again(e.to_string()))?;
        if let (StatusCode::NOT_MODIFIED, Some((_, bytes))) = (response.status(), kept) {
            return Ok(Some(bytes));
        }
        check_status(url, response.status())?;
        let (etag, last_modified) = (header(&response, "etag"), header(&response, "last-modified"));
        let expected = header(&response, "content-length").and_then(|v| v.parse::<u64>().ok());
        let mut bytes = Vec::new();
        let mut body =
            response.body_mut().with_config().limit(u64::MAX).reader().take(bytes_max + 1);
        body.read_to_end(&mut bytes).map_err(|e| Failed::Again(e.to_string()))?;
        let count = bytes.len() as u64;
        if count > bytes_max {
            let reason = format!("it is longer than {bytes_max} bytes");
            return Err(Failed::Fatal(ImageError::Mismatch { url: url.to_owned(), reason }));
        }
        if expected.is_some_and(|expected| expected != count) {
            return Err(Failed::Again(format!("cut after {count} bytes")));
        }
        self.progress.advance(count);
        let about =
            Remembered { url: url.to_owned(), sha256: Sha256::of(&bytes), etag, last_modified };
        remember(path, &about, &bytes).map_err(Failed::Fatal)?;
        Ok(Some(bytes))
    }
}

/// How appending to a partial file ended too soon.
enum Copied {
    Peer(String),
    Disk(io::Error),
    Longer,
}

/// Good statuses pass; of the others, some are worth another attempt.
fn check_status(url: &str, status: StatusCode) -> Result<(), Failed> {
    if status == StatusCode::OK {
        return Ok(());
    }
    let passing = status.is_server_error()
        || status.is_success()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::RANGE_NOT_SATISFIABLE
        );
    if passing {
        return Err(Failed::Again(format!("the mirror answered with status {status}")));
    }
    Err(Failed::Fatal(ImageError::Status { url: url.to_owned(), status: status.as_u16() }))
}

/// A header's text.
fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// A network's failure, for the person who waits.
fn network(url: &str, reason: String) -> ImageError {
    ImageError::Network { url: url.to_owned(), reason }
}

/// Size of a partial file; none counts as empty.
fn part_size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |about| about.len())
}

/// Size and hash of a file that may not be there.
fn describe(path: &Path) -> io::Result<Option<Listed>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    Ok(Some(Listed { size, sha256: Sha256::of_reader(&mut file)? }))
}

/// What the cache holds for an address, if it is whole.
fn remembered(url: &str, path: &Path) -> Option<(Remembered, Vec<u8>)> {
    let about: Remembered =
        serde_json::from_slice(&fs::read(path.with_extension("json")).ok()?).ok()?;
    let bytes = fs::read(path).ok()?;
    (about.url == url && about.sha256 == Sha256::of(&bytes)).then_some((about, bytes))
}

/// Keeps a file fetched by address; its description last, since only both count.
fn remember(path: &Path, about: &Remembered, bytes: &[u8]) -> Result<(), ImageError> {
    write_atomically(path, bytes)?;
    let text = serde_json::to_vec_pretty(about).expect("strings and hashes are always JSON");
    write_atomically(&path.with_extension("json"), &text)
}
