//! Where Debian's archive is fetched from: what the user says, or what the host's own apt uses.

use std::fs;
use std::path::{Path, PathBuf};

use crate::deb822::Paragraphs;
use crate::error::ImageError;

/// The names that Debian's suites go by; a source that offers one of them is Debian's archive.
const SUITES: [&str; 10] = [
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "sid",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
];

/// Files of sources are small; a larger one is not read.
const SOURCES_BYTES_MAX: u64 = 1 << 20;

/// The address of an archive: the folder that holds `dists` and `pool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    base: String,
}

impl Mirror {
    /// The mirror at an address, which must be of HTTP or HTTPS.
    ///
    /// # Errors
    /// [`ImageError::BadMirror`] for anything else.
    pub fn new(address: &str) -> Result<Self, ImageError> {
        let trimmed = address.trim().trim_end_matches('/');
        let host = trimmed.strip_prefix("http://").or_else(|| trimmed.strip_prefix("https://"));
        let plain = trimmed.chars().all(|c| c.is_ascii_graphic());
        match host {
            Some(host) if plain && !host.is_empty() && !host.starts_with('/') => {
                Ok(Self { base: trimmed.to_owned() })
            }
            _ => Err(ImageError::BadMirror(address.to_owned())),
        }
    }

    /// The first mirror of Debian's main archive among the host's apt sources.
    ///
    /// # Errors
    /// [`ImageError::NoMirror`] when there is none; a file that cannot be read counts as empty.
    pub fn of_host() -> Result<Self, ImageError> {
        Self::of_sources(Path::new("/etc/apt"))
    }

    /// The first mirror among the sources in a folder laid out as `/etc/apt`.
    ///
    /// # Errors
    /// [`ImageError::NoMirror`] when there is none.
    pub fn of_sources(folder: &Path) -> Result<Self, ImageError> {
        let mut files = vec![folder.join("sources.list")];
        files.extend(parts(&folder.join("sources.list.d")));
        for file in files {
            let Some(text) = read_small(&file) else { continue };
            let found = match file.extension().and_then(|e| e.to_str()) {
                Some("sources") => in_deb822(&text),
                _ => in_lines(&text),
            };
            if let Some(mirror) = found {
                return Ok(mirror);
            }
        }
        Err(ImageError::NoMirror)
    }

    /// The full address of a file of the archive.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// The address itself, without a slash at its end.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.base
    }
}

/// The files of `sources.list.d` that apt reads, in its order.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "list" || e == "sources"))
        .collect();
    files.sort();
    files
}

/// A file's text, unless it is large or unreadable.
fn read_small(path: &Path) -> Option<String> {
    let size = fs::metadata(path).ok()?.len();
    (size <= SOURCES_BYTES_MAX).then(|| fs::read_to_string(path).ok())?
}

/// The first mirror in the format of one source a line: `deb [options] URI suite components`.
fn in_lines(text: &str) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default().trim();
        let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        words.any(|component| component == "main").then(|| debian_main(uri, &[suite]))?
    })
}

/// The first mirror in the format of paragraphs.
fn in_deb822(text: &str) -> Option<Mirror> {
    let mut paragraphs = Paragraphs::new(text.as_bytes());
    // What follows a malformed paragraph cannot be trusted to mean what it seems to.
    while let Ok(Some(source)) = paragraphs.next() {
        let words = |name: &str| -> Vec<&str> {
            source.get(name).unwrap_or_default().split_whitespace().collect()
        };
        let off = source.get("Enabled").is_some_and(|v| v.eq_ignore_ascii_case("no"));
        if off || !words("Types").contains(&"deb") || !words("Components").contains(&"main") {
            continue;
        }
        let suites = words("Suites");
        if let Some(found) = words("URIs").iter().find_map(|uri| debian_main(uri, &suites)) {
            return Some(found);
        }
    }
    None
}

/// The mirror at this address, if it serves Debian's main archive.
fn debian_main(uri: &str, suites: &[&str]) -> Option<Mirror> {
    let mirror = Mirror::new(uri).ok()?;
    let last = mirror.base.rsplit('/').next()?;
    // The archive of security updates has suites of its own and lacks most packages.
    if last.ends_with("-security") || suites.iter().all(|s| s.contains("-security")) {
        return None;
    }
    let known = |suite: &&str| {
        let release = suite.split('-').next().unwrap_or_default();
        SUITES.contains(&release)
    };
    (last == "debian" || suites.iter().any(known)).then_some(mirror)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Option<String> {
        in_lines(text).map(|m| m.base)
    }

    fn deb822(text: &str) -> Option<String> {
        in_deb822(text).map(|m| m.base)
    }

    #[test]
    fn the_first_source_of_main_counts_and_others_do_not() {
        let text = "# deb http://a.example/debian trixie main\n\
                    deb cdrom:[disc]/ trixie main\n\
                    deb-src http://b.example/debian trixie main\n\
                    deb http://c.example/debian-security trixie-security main\n\
                    deb http://d.example/tool any main\n\
                    deb http://e.example/debian trixie contrib\n\
                    deb [arch=amd64 signed-by=/k] http://f.example/deb/ bookworm-updates main # x\n\
                    deb http://g.example/debian trixie main\n";
        assert_eq!(lines(text).as_deref(), Some("http://f.example/deb"));
        assert_eq!(lines("deb http://h.example/ubuntu noble main\n"), None);
    }

    #[test]
    fn paragraphs_of_sources_are_understood() {
        let text = "Types: deb\nURIs: http://a.example/debian-security\nSuites: trixie-security\n\
                    Components: main\n\n\
                    Types: deb\nEnabled: no\nURIs: http://b.example/debian\nSuites: trixie\n\
                    Components: main\n\n\
                    Types: deb deb-src\nURIs: mirror+file:/x https://c.example/debian/\n\
                    Suites: trixie trixie-updates\nComponents: contrib main\n";
        assert_eq!(deb822(text).as_deref(), Some("https://c.example/debian"));
        assert_eq!(deb822("Types: deb\n"), None);
    }

    #[test]
    fn a_folder_without_sources_knows_no_mirror_and_says_how_to_give_one() {
        let error = Mirror::of_sources(Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("--mirror"), "{error}");
    }

    #[test]
    fn only_addresses_of_http_are_mirrors() {
        assert!(Mirror::new("http://a.example/debian/").is_ok());
        for bad in ["", "ftp://a/debian", "http://", "http:///x", "http://a b/", "/srv/debian"] {
            assert!(Mirror::new(bad).is_err(), "{bad:?}");
        }
    }
}
