//! A door for fuzzers to the parsers of what a network sent; not for use.

use crate::deb::{decompressed, read_bounded, read_package};
use crate::deb822::Paragraphs;
use crate::keyring::Keyring;
use crate::modules::read_info;
use crate::packages::read_one;
use crate::release::Release;
use std::time::{Duration, SystemTime};

/// How many parsers there are.
pub const PARSERS: u8 = 8;

/// Gives bytes to the parser of this number; what comes of it is of no interest.
pub fn parse(parser: u8, bytes: &[u8], keyring: &Keyring) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_789_000_000);
    let text = || String::from_utf8_lossy(bytes);
    match parser % PARSERS {
        0 => drop(Release::parse(&text(), "trixie", now)),
        1 => {
            let mut paragraphs = Paragraphs::new(bytes);
            while let Ok(Some(paragraph)) = paragraphs.next() {
                let package = read_one(&paragraph);
                let _names = package.map(|package| package.depends().count());
            }
        }
        2 => drop(read_package(bytes, &|path| path.len() % 2 == 0)),
        3 => drop(read_info(bytes)),
        4 => drop(keyring.open_inline(bytes, now)),
        5 => drop(keyring.check_detached(b"text", bytes, now)),
        6 => drop(Keyring::from_bytes(bytes)),
        _ => {
            let (kind, bytes) = bytes.split_first().unwrap_or((&0, bytes));
            let name = ["x.xz", "x.zst", "x.gz", "x"][usize::from(kind % 4)];
            drop(decompressed(name, bytes).and_then(|reader| read_bounded(reader, 64 << 20)));
        }
    }
}
