//! What translated code sees of the world: the board behind address translation, and the helpers.

use crate::board::Board;
use crate::hart::{Control, status};
use crate::lower::{helper, slot};
use crate::mode::CodeMode;
use crate::trap::cause;
use omni_base::Gpa;
use omni_engine::{Access, At, Context, Env, Mapping, NOT_RESERVED, Regs, Reply, Target};
use omni_ir::{Helper, Size, Slot, Trap};
use omni_memory::Space;

/// The world of one hart during a run.
#[derive(Debug)]
pub(crate) struct HartEnv<'a, B> {
    pub(crate) control: &'a mut Control,
    pub(crate) pmp: &'a mut u64,
    pub(crate) board: &'a mut B,
    /// Ticks from the call of `Hart::run` to the beginning of this run.
    pub(crate) ticks_before: u64,
    /// Set where the board must look before the hart goes on.
    pub(crate) attention: bool,
}

/// All that a run takes as constant.
#[derive(PartialEq, Eq)]
pub(crate) struct Constants {
    mode: CodeMode,
    contexts: (Context, Context),
}

impl<B: Board> HartEnv<'_, B> {
    pub(crate) fn mtime(&self, when: At) -> u64 {
        self.board.mtime(self.ticks_before + when.ticks)
    }

    pub(crate) fn constants(&self, regs: &Regs) -> Constants {
        Constants {
            mode: self.control.code_mode(regs.get(slot::FRM)),
            contexts: self.control.contexts(*self.pmp),
        }
    }

    /// Interrupts pending at this instruction.
    pub(crate) fn pending(&self, when: At) -> u64 {
        self.control.pending(self.board.lines(self.control.mhartid), self.mtime(when))
    }

    fn device_fault(at: u64, access: Access) -> Trap {
        let cause = match access {
            Access::Load => cause::LOAD_ACCESS,
            Access::Store => cause::STORE_ACCESS,
            Access::Fetch => cause::FETCH_ACCESS,
        };
        Trap { cause, value: at }
    }

    fn noticed(&mut self, reply: Reply) -> Reply {
        self.attention |= reply.stop;
        reply
    }

    fn wait(&mut self, when: At) -> Reply {
        self.control.waiting = self.pending(when) & self.control.mie == 0;
        Reply { value: 0, stop: true }
    }

    fn leave(&mut self, from: u64, regs: &mut Regs) -> Reply {
        regs.set(slot::RESERVATION, NOT_RESERVED);
        let value = if from == 3 {
            self.control.return_from_machine()
        } else {
            self.control.return_from_supervisor()
        };
        Reply { value, stop: true }
    }

    /// A block may be managed where it may be loaded from or stored to.
    fn manage_block(&mut self, at: u64) -> Result<Reply, Trap> {
        if self.control.translate(self.board, at, 1, Access::Load).is_err() {
            self.control.translate(self.board, at, 1, Access::Store)?;
        }
        Ok(Reply::default())
    }

    fn swap_pair(&mut self, args: [u64; 3], regs: &mut Regs) -> Result<Reply, Trap> {
        let [at, rd, rs2] = args;
        if !at.is_multiple_of(16) {
            return Err(Trap { cause: cause::STORE_MISALIGNED, value: at });
        }
        let mapping = self.control.translate(self.board, at, 16, Access::Store)?;
        let Target::Ram(page) = mapping.target else {
            return Err(Self::device_fault(at, Access::Store));
        };
        let fault = |_| Trap { cause: cause::STORE_ACCESS, value: at };
        let place = Gpa(page.base().0 + Gpa(at).offset() as u64);
        let old = u128::from_le_bytes(self.board.ram().load(place).map_err(fault)?);
        // The pair of x0 reads as zero and is not written.
        let number = |register: u64| Slot((register & 31) as u8);
        let pair = |regs: &Regs, register: u64| {
            let high = if register == 0 { 0 } else { regs.get(number(register + 1)) };
            u128::from(regs.get(number(register))) | u128::from(high) << 64
        };
        if pair(regs, rd) == old {
            let new = pair(regs, rs2).to_le_bytes();
            self.board.ram().store(place, &new).map_err(fault)?;
        }
        if rd != 0 {
            regs.set(number(rd), (old & u128::from(u64::MAX)) as u64);
            regs.set(number(rd + 1), (old >> 64) as u64);
        }
        Ok(Reply::default())
    }
}

impl<B: Board> Env for HartEnv<'_, B> {
    fn hold(&mut self) {
        self.board.hold();
    }

    fn release(&mut self) {
        self.board.release();
    }

    fn wants_stillness(&self, helper: Helper) -> bool {
        helper == helper::SWAP_PAIR
    }

    fn ram(&mut self) -> &mut Space {
        self.board.ram()
    }

    fn translate(&mut self, at: u64, size: Size, access: Access) -> Result<Mapping, Trap> {
        self.control.translate(self.board, at, size.bytes(), access)
    }

    fn device_load(&mut self, at: u64, gpa: Gpa, size: Size, when: At) -> Result<Reply, Trap> {
        let ticks = self.ticks_before + when.ticks;
        let aligned = gpa.0.is_multiple_of(size.bytes());
        let reply = if aligned { self.board.device_load(gpa, size, ticks) } else { None };
        let reply = reply.ok_or_else(|| Self::device_fault(at, Access::Load))?;
        Ok(self.noticed(reply))
    }

    fn device_store(
        &mut self,
        at: u64,
        gpa: Gpa,
        size: Size,
        value: u64,
        when: At,
    ) -> Result<Reply, Trap> {
        let ticks = self.ticks_before + when.ticks;
        let aligned = gpa.0.is_multiple_of(size.bytes());
        let reply = if aligned { self.board.device_store(gpa, size, value, ticks) } else { None };
        let reply = reply.ok_or_else(|| Self::device_fault(at, Access::Store))?;
        Ok(self.noticed(reply))
    }

    fn bad_atomic(&mut self, at: u64, access: Access) -> Trap {
        let misaligned = match access {
            Access::Load => cause::LOAD_MISALIGNED,
            Access::Store => cause::STORE_MISALIGNED,
            Access::Fetch => return Self::device_fault(at, access),
        };
        // An aligned one is here because it is not to RAM. Where only the size could tell, the
        // place does.
        let is_ram = match self.control.translate(self.board, at, 1, access) {
            Ok(Mapping { target: Target::Ram(_), .. }) => true,
            Ok(_) => false,
            Err(trap) => return trap,
        };
        if at & 3 != 0 || is_ram {
            Trap { cause: misaligned, value: at }
        } else {
            Self::device_fault(at, access)
        }
    }

    fn call(
        &mut self,
        helper: Helper,
        regs: &mut Regs,
        args: [u64; 3],
        when: At,
    ) -> Result<Reply, Trap> {
        match helper {
            helper::CSR => self.csr(args, regs, when),
            helper::DIRTY => {
                self.control.mstatus |= status::FS;
                Ok(Reply { value: 0, stop: true })
            }
            helper::RETURN => Ok(self.leave(args[0], regs)),
            helper::WAIT => Ok(self.wait(when)),
            helper::CACHE_BLOCK => self.manage_block(args[0]),
            helper::SWAP_PAIR => self.swap_pair(args, regs),
            Helper(number) => unreachable!("the front-end has no helper {number}"),
        }
    }
}
