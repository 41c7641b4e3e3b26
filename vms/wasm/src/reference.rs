//! References as they are in slots.

/// A reference: null is zero; any other says what it points at in its highest bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reference(pub u64);

/// What the highest bits say.
const KIND: u32 = 60;
const FUNCTION: u64 = 1;
const HOST: u64 = 2;
const OBJECT: u64 = 3;
const EXCEPTION: u64 = 4;
const SMALL: u64 = 5;

impl Reference {
    /// The null of every type.
    pub const NULL: Self = Self(0);

    /// A function of the store.
    #[must_use]
    pub fn function(number: u32) -> Self {
        Self(FUNCTION << KIND | u64::from(number))
    }

    /// Something of the host's.
    #[must_use]
    pub fn host(number: u32) -> Self {
        Self(HOST << KIND | u64::from(number))
    }

    /// The number of the function, if it is one.
    #[inline(always)]
    #[must_use]
    pub fn as_function(self) -> Option<u32> {
        // What is below the kind is the number, so one comparison tells both.
        u32::try_from(self.0 ^ FUNCTION << KIND).ok()
    }

    /// Bits of a small integer.
    pub(crate) const I31_BITS: u64 = (1 << 31) - 1;

    /// A small integer.
    pub(crate) fn small(value: u32) -> Self {
        Self(SMALL << KIND | u64::from(value) & Self::I31_BITS)
    }

    /// The bits of a small integer.
    pub(crate) fn as_small(self) -> Option<u32> {
        u32::try_from(self.0 ^ SMALL << KIND).ok()
    }

    /// A structure or an array, by its offset in the heap.
    pub(crate) fn data(offset: u64) -> Self {
        Self(OBJECT << KIND | offset)
    }

    /// An exception, by its offset in the heap.
    pub(crate) fn exception(offset: u64) -> Self {
        Self(EXCEPTION << KIND | offset)
    }

    /// The offset in the heap of what is there.
    pub(crate) fn as_object(self) -> Option<u64> {
        matches!(self.0 >> KIND, OBJECT | EXCEPTION).then_some(self.0 & ((1 << KIND) - 1))
    }

    /// The number of what is the host's.
    #[must_use]
    pub fn as_host(self) -> Option<u32> {
        u32::try_from(self.0 ^ HOST << KIND).ok()
    }
}
