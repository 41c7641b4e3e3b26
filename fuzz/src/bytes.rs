//! Takes choices from fuzzed bytes; what is missing at their end is zero.

/// A source of choices.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        head
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub(crate) fn u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        let head = self.take(8);
        bytes[..head.len()].copy_from_slice(head);
        u64::from_le_bytes(bytes)
    }

    /// A number that is small, near a power of two, or anything: what parsers go wrong at.
    pub(crate) fn number(&mut self) -> u64 {
        match self.u8() {
            small @ 0..=127 => u64::from(small),
            shift @ 128..=191 => (1 << (shift - 128)) + u64::from(self.u8()) - 1,
            192..=223 => u64::from(self.u16()),
            224..=239 => u64::MAX - u64::from(self.u8()),
            _ => self.u64(),
        }
    }
}
