//! Physical memory protection, with the machine-mode rules of Smepmp.

use crate::hart::{Control, PMP_COUNT};
use crate::mode::Privilege;
use omni_engine::Access;

/// Bits of an entry's configuration.
const R: u8 = 1;
const W: u8 = 2;
const X: u8 = 4;
const MODE: u8 = 3 << 3;
const TOR: u8 = 1 << 3;
const NA4: u8 = 2 << 3;
const LOCKED: u8 = 1 << 7;
/// The bits that can be set.
const WRITABLE: u8 = R | W | X | MODE | LOCKED;

/// The address bits that exist: 56 in all.
const ADDRESS: u64 = (1 << 54) - 1;

/// Bits of `mseccfg`.
const MML: u64 = 1;
const MMWP: u64 = 2;
const RLB: u64 = 4;

/// What may be done at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rights(u8);

impl Rights {
    const NONE: Self = Self(0);
    const ALL: Self = Self(R | W | X);

    /// Whether they allow an access.
    pub(crate) fn allow(self, access: Access) -> bool {
        let bit = match access {
            Access::Load => R,
            Access::Store => W,
            Access::Fetch => X,
        };
        self.0 & bit != 0
    }
}

impl Control {
    /// What may be done to all of `size` bytes at `at`, and whether one rule covers them.
    pub(crate) fn pmp_rights(&self, at: u64, size: u64, privilege: Privilege) -> (Rights, bool) {
        let last = at.wrapping_add(size - 1);
        let mut bottom = 0;
        for (&cfg, &address) in self.pmpcfg.iter().zip(&self.pmpaddr) {
            let range = range(cfg, address, bottom);
            bottom = address;
            let Some((low, high)) = range else { continue };
            if last < low || at > high {
                continue;
            }
            if low <= at && last <= high {
                return (self.entry_rights(cfg, privilege), true);
            }
            return (Rights::NONE, false);
        }
        let rights = match privilege {
            Privilege::Machine if self.mseccfg & MMWP != 0 => Rights::NONE,
            Privilege::Machine if self.mseccfg & MML != 0 => Rights(R | W),
            Privilege::Machine => Rights::ALL,
            Privilege::User | Privilege::Supervisor => Rights::NONE,
        };
        (rights, true)
    }

    fn entry_rights(&self, cfg: u8, privilege: Privilege) -> Rights {
        let machine = privilege == Privilege::Machine;
        let rights = Rights(cfg & (R | W | X));
        let locked = cfg & LOCKED != 0;
        if self.mseccfg & MML == 0 {
            return if machine && !locked { Rights::ALL } else { rights };
        }
        let bits = (locked, cfg & (R | W | X));
        match bits {
            // Shared data, and shared code.
            (false, W) => Rights(if machine { R | W } else { R }),
            (false, 6) => Rights(R | W),
            (true, W) => Rights(X),
            (true, 6) => Rights(if machine { R | X } else { X }),
            (true, 7) => Rights(R),
            // All others are for one side alone: locked ones for M.
            (locked, _) => {
                if locked == machine {
                    rights
                } else {
                    Rights::NONE
                }
            }
        }
    }

    /// Whether only bits that exist are set.
    pub(crate) fn pmp_is_sound(&self) -> bool {
        self.pmpcfg.iter().all(|cfg| cfg & !WRITABLE == 0)
            && self.pmpaddr.iter().all(|address| address & !ADDRESS == 0)
            && self.mseccfg & !(MML | MMWP | RLB) == 0
    }

    /// Differs where any rule does.
    pub(crate) fn pmp_digest(&self) -> u64 {
        let cfg = self.pmpcfg.iter().map(|cfg| u64::from(*cfg));
        let words = cfg.chain(self.pmpaddr).chain([self.mseccfg]);
        words.fold(0, |sum, word| {
            let mixed = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ mixed >> 32
        })
    }

    fn locked(&self, entry: usize) -> bool {
        self.mseccfg & RLB == 0 && self.pmpcfg[entry] & LOCKED != 0
    }

    /// The `pmpcfg` register of this even number.
    pub(crate) fn pmpcfg_read(&self, register: usize) -> u64 {
        let bytes = self.pmpcfg.get(register * 4..register * 4 + 8);
        bytes.map_or(0, |b| u64::from_le_bytes(b.try_into().expect("eight bytes")))
    }

    pub(crate) fn pmpcfg_write(&mut self, register: usize, value: u64) {
        for (nth, cfg) in value.to_le_bytes().into_iter().enumerate() {
            let entry = register * 4 + nth;
            if entry >= PMP_COUNT || self.locked(entry) {
                continue;
            }
            let cfg = cfg & WRITABLE;
            let shared = cfg & (R | W) == W;
            let lockdown = self.mseccfg & MML != 0;
            if shared && !lockdown {
                // Reserved: the rights stay as they are.
                let kept = self.pmpcfg[entry] & (R | W | X);
                self.pmpcfg[entry] = cfg & !(R | W | X) | kept;
                continue;
            }
            let runs_in_machine = cfg & LOCKED != 0 && (shared || cfg & X != 0 && cfg & 7 != 7);
            if lockdown && self.mseccfg & RLB == 0 && runs_in_machine {
                continue;
            }
            self.pmpcfg[entry] = cfg;
        }
    }

    /// A `pmpaddr` register; those above the entries are zero.
    pub(crate) fn pmpaddr_read(&self, entry: usize) -> u64 {
        self.pmpaddr.get(entry).copied().unwrap_or(0)
    }

    pub(crate) fn pmpaddr_write(&mut self, entry: usize, value: u64) {
        if entry >= PMP_COUNT || self.locked(entry) {
            return;
        }
        // The address is also the bottom of the entry above.
        let above = entry + 1;
        if above < PMP_COUNT && self.locked(above) && self.pmpcfg[above] & MODE == TOR {
            return;
        }
        self.pmpaddr[entry] = value & ADDRESS;
    }

    pub(crate) fn mseccfg_write(&mut self, value: u64) {
        let any_locked = self.pmpcfg.iter().any(|cfg| cfg & LOCKED != 0);
        let sticky = (self.mseccfg | value) & (MML | MMWP);
        let may_bypass = self.mseccfg & RLB != 0 || !any_locked;
        self.mseccfg = sticky | if may_bypass { value & RLB } else { 0 };
    }
}

/// The first and last byte of an entry, if it is on and not empty.
fn range(cfg: u8, address: u64, bottom: u64) -> Option<(u64, u64)> {
    match cfg & MODE {
        0 => None,
        TOR => (bottom < address).then(|| (bottom << 2, (address << 2) - 1)),
        NA4 => Some((address << 2, (address << 2) + 3)),
        _ => {
            // Ones below the lowest zero give the size.
            let ones = address.trailing_ones();
            let low = (address & !((1 << ones) - 1)) << 2;
            let size = 8_u64.checked_shl(ones).unwrap_or(0);
            Some((low, low.wrapping_add(size).wrapping_sub(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hart;

    fn rights(c: &Control, at: u64, size: u64, privilege: Privilege) -> (u8, bool) {
        let (rights, whole) = c.pmp_rights(at, size, privilege);
        (rights.0, whole)
    }

    #[test]
    fn the_lowest_entry_that_matches_decides() {
        let mut c = Hart::new(0, 0).control;
        assert_eq!(rights(&c, 0x8000_0000, 8, Privilege::Machine), (7, true));
        assert_eq!(rights(&c, 0x8000_0000, 8, Privilege::Supervisor), (0, true));
        // 0x8000_0000 to 0x8000_0fff: read; all else: everything.
        c.pmpaddr_write(0, 0x8000_0000 >> 2 | 0x1ff);
        c.pmpaddr_write(1, ADDRESS);
        c.pmpcfg_write(0, 0x1f19);
        assert_eq!(rights(&c, 0x8000_0000, 0x1000, Privilege::User), (R, true));
        assert_eq!(rights(&c, 0x8000_0ffc, 8, Privilege::User), (0, false));
        assert_eq!(rights(&c, 0x8000_1000, 8, Privilege::User), (7, true));
        assert_eq!(rights(&c, 0x8000_0000, 8, Privilege::Machine), (7, true));
    }

    #[test]
    fn a_locked_entry_binds_machine_mode_and_stays() {
        let mut c = Hart::new(0, 0).control;
        c.pmpaddr_write(0, 0x1000 >> 2);
        c.pmpaddr_write(1, 0x2000 >> 2);
        c.pmpcfg_write(0, 0x8900);
        assert_eq!(rights(&c, 0x1000, 4, Privilege::Machine), (R, true));
        c.pmpcfg_write(0, 0);
        c.pmpaddr_write(0, 0);
        c.pmpaddr_write(1, 0);
        assert_eq!((c.pmpcfg_read(0), c.pmpaddr[0], c.pmpaddr[1]), (0x8900, 0x400, 0x800));
    }

    #[test]
    fn machine_mode_lockdown_parts_the_rules_of_the_two_sides() {
        let mut c = Hart::new(0, 0).control;
        c.mseccfg_write(MML | MMWP);
        assert_eq!(rights(&c, 0, 4, Privilege::Machine), (0, true));
        let expect = [
            (0x00, 0, 0),
            (0x04, 0, X),
            (0x02, R | W, R),
            (0x06, R | W, R | W),
            (0x01, 0, R),
            (0x07, 0, 7),
            (0x80, 0, 0),
            (0x84, X, 0),
            (0x82, X, X),
            (0x86, R | X, X),
            (0x85, R | X, 0),
            (0x83, R | W, 0),
            (0x87, R, R),
        ];
        for (cfg, machine, user) in expect {
            assert_eq!(c.entry_rights(cfg, Privilege::Machine).0, machine, "{cfg:#x}");
            assert_eq!(c.entry_rights(cfg, Privilege::User).0, user, "{cfg:#x}");
        }
        // New rules that M can execute are refused.
        c.pmpcfg_write(0, 0x9c);
        assert_eq!(c.pmpcfg_read(0), 0);
        c.mseccfg_write(0);
        assert_eq!(c.mseccfg, MML | MMWP);
    }
}
