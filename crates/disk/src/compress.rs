//! Compressed clusters: never more comes out than there is room for.

use crate::error::{FormatError, Result, damaged};
use std::fmt;
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// How clusters are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// Deflate.
    Zlib,
    /// Zstandard.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        })
    }
}

/// The level of zlib: its usual one.
const ZLIB_LEVEL: i32 = 6;

/// The window of streams that qcow2 holds: its readers need not have a larger one.
const QCOW2_WINDOW_LOG: u8 = 12;

/// The largest window of deflate.
const WINDOW_LOG_MAX: u8 = 15;

/// The level of Zstandard: its usual one.
const ZSTD_LEVEL: i32 = 3;

/// The largest window that a frame may ask for: 16 MiB, eight times the largest cluster.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

fn bad(what: impl fmt::Display) -> FormatError {
    damaged("compressed cluster", format!("cannot be unpacked: {what}"))
}

/// Fills `out` from a stream of deflate, with or without the header of zlib. A stream that ends
/// too soon is damage where it must be `whole`, and leaves zeros otherwise.
pub(crate) fn inflate(input: &[u8], out: &mut [u8], header: bool, whole: bool) -> Result<()> {
    let mut state = Inflate::new(header, WINDOW_LOG_MAX);
    let status = state.decompress(input, out, InflateFlush::Finish);
    let status = status.map_err(|error| bad(error.as_str()))?;
    // No more than the length of a slice.
    let made = state.total_out() as usize;
    if made == out.len() {
        return Ok(());
    }
    if whole || status != Status::StreamEnd {
        return Err(bad(format_args!("it holds {made} of {} bytes", out.len())));
    }
    out[made..].fill(0);
    Ok(())
}

/// Fills `out` from a frame of Zstandard, which padding may follow.
pub(crate) fn unzstd(input: &[u8], out: &mut [u8]) -> Result<()> {
    let mut state = Decoder::new().map_err(bad)?;
    let most = zstd::stream::raw::DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX);
    state.set_parameter(most).map_err(bad)?;
    let whole = out.len();
    let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(out));
    while to.pos() < whole {
        let before = (from.pos(), to.pos());
        let left = state.run(&mut from, &mut to).map_err(bad)?;
        if to.pos() < whole && (left == 0 || before == (from.pos(), to.pos())) {
            return Err(bad(format_args!("it holds {} of {whole} bytes", to.pos())));
        }
    }
    Ok(())
}

/// One cluster of qcow2, compressed. Empty where that would not be shorter.
pub(crate) fn squeeze(bytes: &[u8], how: Compression) -> Vec<u8> {
    let mut out = vec![0; bytes.len().saturating_sub(1)];
    let count = match how {
        Compression::Zlib => {
            deflate(bytes, &mut out, Deflate::new(ZLIB_LEVEL, false, QCOW2_WINDOW_LOG))
        }
        // It fails where there is no room, which is what is asked.
        Compression::Zstd => zstd::bulk::compress_to_buffer(bytes, &mut out, ZSTD_LEVEL).ok(),
    };
    out.truncate(count.unwrap_or(0));
    out
}

/// One grain as a stream of zlib with its header, shorter or not.
pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let room = bytes.len() + bytes.len() / 1000 + 64;
    let mut out = vec![0; room];
    let count = deflate(bytes, &mut out, Deflate::new(ZLIB_LEVEL, true, WINDOW_LOG_MAX));
    out.truncate(count.expect("stored blocks always fit"));
    out
}

fn deflate(bytes: &[u8], out: &mut [u8], mut state: Deflate) -> Option<usize> {
    let status = state.compress(bytes, out, DeflateFlush::Finish).ok()?;
    // No more than the length of a slice.
    (status == Status::StreamEnd).then_some(state.total_out() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_squeezed_comes_out_again_and_cannot_come_out_longer() {
        let bytes: Vec<u8> = (0..65536u32).map(|at| (at / 100) as u8).collect();
        let mut out = vec![1; bytes.len()];
        let mut small = squeeze(&bytes, Compression::Zlib);
        small.extend([7; 500]);
        inflate(&small, &mut out, false, true).expect("sound");
        assert_eq!(out, bytes);
        let mut small = squeeze(&bytes, Compression::Zstd);
        small.extend([7; 500]);
        out.fill(1);
        unzstd(&small, &mut out).expect("sound");
        assert_eq!(out, bytes);
        // A buffer that is shorter takes the beginning; one that is longer is not filled.
        unzstd(&small, &mut out[..100]).expect("sound");
        let mut long = vec![1; bytes.len() + 1];
        assert!(unzstd(&small, &mut long).is_err());
        assert!(inflate(&zlib(&bytes), &mut long, true, true).is_err());
        inflate(&zlib(&bytes), &mut long, true, false).expect("the end is zero");
        assert_eq!((long[0], long[bytes.len()]), (bytes[0], 0));
    }

    #[test]
    fn what_does_not_get_shorter_is_left_as_it_is() {
        let mut state = 1u64;
        let noise: Vec<u8> = (0..4096)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert!(squeeze(&noise, Compression::Zlib).is_empty());
        assert!(squeeze(&noise, Compression::Zstd).is_empty());
        let mut out = vec![0; 4096];
        inflate(&zlib(&noise), &mut out, true, true).expect("sound");
        assert_eq!(out, noise);
    }
}
