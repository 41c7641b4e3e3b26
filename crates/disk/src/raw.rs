//! Raw images: the bytes of the disk.

use crate::error::Result;
use crate::layer::{Check, Content, Extent, Format, Info, Layer};
use crate::sink::{Piece, Sink};
use crate::storage::{ReadAt, WriteAt};
use std::sync::Arc;

/// What is left out where it is zero: a block of common file systems.
const BLOCK_BYTES: u64 = 4096;

#[derive(Debug)]
pub(crate) struct Raw(Arc<dyn ReadAt>);

impl Raw {
    pub(crate) fn open(file: Arc<dyn ReadAt>) -> (Self, Info) {
        let info = Info::new(Format::Raw, "raw", file.bytes());
        (Self(file), info)
    }
}

impl Layer for Raw {
    fn extent(&self, at: u64) -> Result<Extent> {
        let (data, bytes) = self.0.run_at(at)?;
        let content = if data { Content::Data } else { Content::Zero };
        Ok(Extent { content, bytes })
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        Ok(self.0.read_exact_at(at, into)?)
    }

    fn check(&self) -> Result<Check> {
        Ok(Check::default())
    }
}

/// Writes a raw image with holes where it is zero.
#[derive(Debug)]
pub(crate) struct RawSink {
    pub(crate) bytes: u64,
}

impl Sink for RawSink {
    fn unit(&self) -> u64 {
        BLOCK_BYTES
    }

    fn begin(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        Ok(out.set_bytes(self.bytes)?)
    }

    fn put(&mut self, out: &mut dyn WriteAt, piece: &Piece<'_>) -> Result<()> {
        // The last unit may reach beyond the end of the disk.
        let rest = usize::try_from(self.bytes - piece.at).unwrap_or(usize::MAX);
        let bytes = &piece.bytes[..piece.bytes.len().min(rest)];
        Ok(out.write_all_at(piece.at, bytes)?)
    }

    fn finish(&mut self, _: &mut dyn WriteAt) -> Result<()> {
        Ok(())
    }
}
