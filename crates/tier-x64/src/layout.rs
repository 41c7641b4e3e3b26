//! Where code finds what it works on, relative to the base register.

/// Numbers of the mappings of code pages, by bits 12 and up of an address.
pub const FETCHES: u64 = 1 << 16;

/// Pairs in the jump cache, by bits 1 and up of an address, exclusive or those from bit 12 on.
pub const JUMPS: u64 = 4096;

/// What the low half of an address is multiplied by to find it among the second pairs of the jump
/// cache, which follow the first: the highest bits of the product's low half are the index.
pub const SECOND_JUMP: u32 = 0x9e37_79b1;

/// Displacements from the base register, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Slot 0 of the file.
    pub slots: i32,
    /// The control block, see `control`.
    pub control: i32,
    /// The numbers of the mappings of code pages: `FETCHES` words of 32 bits, by page address.
    pub fetch_ids: i32,
    /// Tags of pages that can be loaded from: 2^20 words of 64 bits, by page address.
    pub load_tags: i32,
    /// What leads from an address in such a page to the host's.
    pub load_adds: i32,
    /// The same for stores.
    pub store_tags: i32,
    /// The same for stores.
    pub store_adds: i32,
}

/// Offsets in the control block, in bytes.
pub mod control {
    /// Ticks left, 64 bits.
    pub const BUDGET: i32 = 0;
    /// The address to go on at, 64 bits, where code was left by `Why::Indirect` or `Why::Stop`.
    pub const PC: i32 = 8;
    /// Why code was left, 32 bits.
    pub const WHY: i32 = 16;
    /// Of which block and where: the number of the block times 1024, and of the exit or
    /// operation, 32 bits.
    pub const PLACE: i32 = 20;
    /// What a step calls: `fn(context, place) -> leave`.
    pub const STEP: i32 = 24;
    /// Its first argument.
    pub const CONTEXT: i32 = 32;
    /// The jump cache: `JUMPS` pairs of address and code, and as many second ones.
    pub const JUMPS: i32 = 40;
    /// MXCSR of the guest's code.
    pub const MXCSR: i32 = 48;
    /// Sixteen bytes: all ones but the low 32 bits, twice.
    pub const BOX_MASK: i32 = 64;
    /// What the low six bits of MXCSR are to the guest: 64 bytes.
    pub const FLAGS: i32 = 80;

    /// MXCSR at rest: all exceptions masked and none raised, to nearest, denormals as they are.
    pub const MXCSR_AT_REST: u32 = 0x1f80;

    /// The guest's exceptions (see `Guest::flags`) for the low six bits of MXCSR, which are
    /// invalid, denormal, division by zero, overflow, underflow, inexact from the lowest up.
    #[must_use]
    pub const fn flags(mxcsr: u8) -> u8 {
        (mxcsr & 1) << 4
            | (mxcsr & 4) << 1
            | (mxcsr & 8) >> 1
            | (mxcsr & 16) >> 3
            | (mxcsr & 32) >> 5
    }
}

/// Why code was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Why {
    /// By an exit of a known address that leads nowhere yet.
    Exit = 0,
    /// To an address that the jump cache does not know.
    Indirect = 1,
    /// The budget is smaller than the block.
    Budget = 2,
    /// Back to whoever runs the vCPU.
    Stop = 3,
    /// The rest of the block, from an operation on, is for the interpreter.
    Finish = 4,
    /// A step asked to leave.
    Step = 5,
}

impl Why {
    /// From the word in the control block.
    ///
    /// # Panics
    /// Where it is none of them, which code does not write.
    #[must_use]
    pub fn from_word(word: u32) -> Self {
        match word {
            0 => Self::Exit,
            1 => Self::Indirect,
            2 => Self::Budget,
            3 => Self::Stop,
            4 => Self::Finish,
            5 => Self::Step,
            _ => unreachable!("code writes reasons only"),
        }
    }
}
