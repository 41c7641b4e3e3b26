//! What of the hart's state changes the meaning of code.

use omni_engine::Mode;

/// A privilege level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Privilege {
    /// U.
    User,
    /// S.
    Supervisor,
    /// M.
    Machine,
}

impl Privilege {
    /// From the encoding of the manual, where 2 is reserved.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match bits {
            0 => Some(Self::User),
            1 => Some(Self::Supervisor),
            3 => Some(Self::Machine),
            _ => None,
        }
    }

    /// The encoding of the manual.
    #[must_use]
    pub const fn bits(self) -> u64 {
        match self {
            Self::User => 0,
            Self::Supervisor => 1,
            Self::Machine => 3,
        }
    }
}

/// The mode of translated code: everything a front-end may ask about besides the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeMode {
    /// The privilege level.
    pub privilege: Privilege,
    /// `mstatus.FS` is not off.
    pub float_on: bool,
    /// `mstatus.FS` is dirty.
    pub float_dirty: bool,
    /// `frm` holds a rounding mode that exists.
    pub frm_valid: bool,
    /// `wfi` traps here.
    pub wfi_traps: bool,
    /// `sret` traps here.
    pub sret_traps: bool,
    /// `sfence.vma` traps here.
    pub fence_traps: bool,
    /// `cbo.inval` is allowed here.
    pub cbo_inval: bool,
    /// `cbo.clean` and `cbo.flush` are allowed here.
    pub cbo_clean: bool,
    /// `cbo.zero` is allowed here.
    pub cbo_zero: bool,
}

impl CodeMode {
    /// The bits that key blocks.
    #[must_use]
    pub fn pack(self) -> Mode {
        let flags = [
            self.float_on,
            self.float_dirty,
            self.frm_valid,
            self.wfi_traps,
            self.sret_traps,
            self.fence_traps,
            self.cbo_inval,
            self.cbo_clean,
            self.cbo_zero,
        ];
        let level = match self.privilege {
            Privilege::User => 0,
            Privilege::Supervisor => 1,
            Privilege::Machine => 3,
        };
        let place = |(at, flag): (usize, &bool)| u32::from(*flag) << (at + 2);
        Mode(level | flags.iter().enumerate().map(place).sum::<u32>())
    }

    /// The mode of these bits, which `pack` gave.
    #[must_use]
    pub fn unpack(Mode(bits): Mode) -> Self {
        let flag = |at: u32| bits >> (at + 2) & 1 == 1;
        Self {
            privilege: Privilege::from_bits(u64::from(bits & 3)).unwrap_or(Privilege::Machine),
            float_on: flag(0),
            float_dirty: flag(1),
            frm_valid: flag(2),
            wfi_traps: flag(3),
            sret_traps: flag(4),
            fence_traps: flag(5),
            cbo_inval: flag(6),
            cbo_clean: flag(7),
            cbo_zero: flag(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_survive_packing() {
        for bits in (0..1 << 11).filter(|bits| bits & 3 != 2) {
            assert_eq!(CodeMode::unpack(Mode(bits)).pack(), Mode(bits));
        }
    }
}
