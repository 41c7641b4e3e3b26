//! Printing: characters, numbers and strings, by way of Glk or of a filter function (the
//! specification, sections 1.4.2, 1.6.1 and 2.10).

use crate::fault::Fault;
use crate::lower::{slot, tag};
use crate::tree::{Ahead, LEAF_BYTES_MAX, Leaf};
use crate::world::{Next, World};
use omni_engine::Regs;

/// Characters and branches of one tick; then printing goes on in the next.
const STEPS_MAX: u32 = 4096;

/// Arguments that a string gives to a function.
const ARGS_MAX: u32 = 64;

/// Where a string is printed from.
struct Printing {
    /// E0, E1 or E2.
    sort: u8,
    /// The next byte.
    at: u32,
    /// The next bit of it.
    bit: u32,
    /// There is a stub below that says what comes after.
    stub: bool,
    /// The instruction after the one that prints, where there is none.
    next: u32,
}

/// What came of a step.
enum Step {
    /// A string ended.
    Ended,
    /// The machine goes elsewhere.
    Gone(u64),
    /// Another string is printed now.
    Inner,
}

impl World {
    /// A character by way of the filter, or of Glk.
    pub(crate) fn print_char(&mut self, regs: &mut Regs, char: u32, next: u32) -> Next {
        match self.cpu.iosys {
            (1, rock) => {
                self.push_stub(regs, (0, 0), next)?;
                Ok(self.call_one(regs, rock, char))
            }
            (2, _) => {
                self.put(char)?;
                Ok(self.front.at(0, next))
            }
            _ => Ok(self.front.at(0, next)),
        }
    }

    /// A number from one of its characters on: begins where `next` says what comes after.
    pub(crate) fn print_number(
        &mut self,
        regs: &mut Regs,
        (value, from): (u32, u32),
        next: Option<u32>,
    ) -> Next {
        let text = value.cast_signed().to_string();
        let rest = text.as_bytes().get(from as usize..).unwrap_or(&[]);
        if let (1, rock) = self.cpu.iosys
            && let Some(char) = rest.first()
        {
            if let Some(next) = next {
                self.push_stub(regs, (tag::CODE as u32, 0), next)?;
            }
            self.push_stub(regs, (tag::NUMBER as u32, from + 1), value)?;
            return Ok(self.call_one(regs, rock, (*char).into()));
        }
        if self.cpu.iosys.0 == 2 {
            for char in rest {
                self.put((*char).into())?;
            }
        }
        match next {
            Some(next) => Ok(self.front.at(0, next)),
            None => self.after_string(regs),
        }
    }

    /// A string of any sort.
    pub(crate) fn print_string(&mut self, regs: &mut Regs, at: u32, next: u32) -> Next {
        let (sort, at) = self.string_at(at)?;
        self.decode(regs, Printing { sort, at, bit: 0, stub: false, next })
    }

    /// Goes on with a string that was left.
    pub(crate) fn print_on(&mut self, regs: &mut Regs, sort: u8, at: u32, bit: u32) -> Next {
        self.decode(regs, Printing { sort, at, bit: bit & 7, stub: true, next: 0 })
    }

    fn string_at(&self, at: u32) -> Result<(u8, u32), Fault> {
        match self.byte(at)? {
            sort @ (0xe0 | 0xe1) => Ok((sort, at.wrapping_add(1))),
            0xe2 => Ok((0xe2, at.wrapping_add(4))),
            _ => Err(Fault::NotString),
        }
    }

    fn decode(&mut self, regs: &mut Regs, mut from: Printing) -> Next {
        let mut steps = 0;
        loop {
            let step = match from.sort {
                0xe1 => self.compressed(regs, &mut from, &mut steps)?,
                _ => self.plain(regs, &mut from, &mut steps)?,
            };
            match step {
                Step::Gone(to) => return Ok(to),
                Step::Inner => {}
                Step::Ended if !from.stub => return Ok(self.front.at(0, from.next)),
                Step::Ended => {
                    let [sort, bit, at, frame] = self.pop_words(regs)?;
                    match u64::from(sort) {
                        tag::CODE => {
                            self.take_frame(regs, frame)?;
                            return Ok(self.front.at(0, at));
                        }
                        tag::STRING => (from.sort, from.at, from.bit) = (0xe1, at, bit & 7),
                        _ => return Err(Fault::Stub),
                    }
                }
            }
        }
    }

    /// What comes after a string or number that had a stub.
    fn after_string(&mut self, regs: &mut Regs) -> Next {
        let [sort, bit, at, frame] = self.pop_words(regs)?;
        match u64::from(sort) {
            tag::CODE => {
                self.take_frame(regs, frame)?;
                Ok(self.front.at(0, at))
            }
            tag::STRING => self.print_on(regs, 0xe1, at, bit),
            _ => Err(Fault::Stub),
        }
    }

    /// Makes sure that there is a stub that says what comes after.
    fn push_end(&mut self, regs: &mut Regs, from: &mut Printing) -> Result<(), Fault> {
        if !from.stub {
            self.push_stub(regs, (tag::CODE as u32, 0), from.next)?;
            from.stub = true;
        }
        Ok(())
    }

    /// Leaves the string for the next tick.
    fn pause(&mut self, regs: &mut Regs, from: &mut Printing) -> Result<Step, Fault> {
        self.push_end(regs, from)?;
        regs.set(slot::DEST, from.bit.into());
        let tag = match from.sort {
            0xe0 => tag::C_STRING,
            0xe1 => tag::STRING,
            _ => tag::WIDE_STRING,
        };
        Ok(Step::Gone(self.front.at(tag, from.at)))
    }

    fn plain(
        &mut self,
        regs: &mut Regs,
        from: &mut Printing,
        steps: &mut u32,
    ) -> Result<Step, Fault> {
        let (size, tag) =
            if from.sort == 0xe0 { (1, tag::C_STRING) } else { (4, tag::WIDE_STRING) };
        loop {
            let char = if size == 1 { self.byte(from.at)?.into() } else { self.long(from.at)? };
            from.at = from.at.wrapping_add(size);
            if char == 0 {
                return Ok(Step::Ended);
            }
            match self.cpu.iosys {
                (1, rock) => {
                    self.push_end(regs, from)?;
                    self.push_stub(regs, (tag as u32, 0), from.at)?;
                    return Ok(Step::Gone(self.call_one(regs, rock, char)));
                }
                (2, _) => self.put(char)?,
                _ => {}
            }
            *steps += 1;
            if *steps >= STEPS_MAX {
                return self.pause(regs, from);
            }
        }
    }

    fn compressed(
        &mut self,
        regs: &mut Regs,
        from: &mut Printing,
        steps: &mut u32,
    ) -> Result<Step, Fault> {
        let table = self.cpu.string_table;
        if table == 0 {
            return Err(Fault::NoTable);
        }
        let tree = self.tree();
        let mut ahead = Ahead::new();
        loop {
            if *steps >= STEPS_MAX {
                return self.pause(regs, from);
            }
            let leaf = match &tree {
                Some(tree) => tree.leaf(self, &mut ahead, (&mut from.at, &mut from.bit), steps)?,
                None => self.leaf(from, steps)?,
            };
            let char = match leaf {
                Leaf::End => return Ok(Step::Ended),
                Leaf::Char(char) => char,
                Leaf::Other(node) => return self.other_leaf(regs, from, node),
            };
            match self.cpu.iosys {
                (1, rock) => {
                    self.push_end(regs, from)?;
                    self.push_stub(regs, (tag::STRING as u32, from.bit), from.at)?;
                    return Ok(Step::Gone(self.call_one(regs, rock, char)));
                }
                (2, _) => self.put(char)?,
                _ => {}
            }
        }
    }

    /// A string or a reference in the tree.
    fn other_leaf(
        &mut self,
        regs: &mut Regs,
        from: &mut Printing,
        node: u32,
    ) -> Result<Step, Fault> {
        let body = node.wrapping_add(1);
        match self.byte(node)? {
            sort @ (3 | 5) => {
                self.push_end(regs, from)?;
                self.push_stub(regs, (tag::STRING as u32, from.bit), from.at)?;
                (from.sort, from.at, from.bit) = (if sort == 3 { 0xe0 } else { 0xe2 }, body, 0);
                Ok(Step::Inner)
            }
            sort @ 8..=0xb => self.refer(regs, from, sort, body),
            _ => Err(Fault::Table),
        }
    }

    /// The leaf of a tree in memory that the next bits lead to.
    fn leaf(&self, from: &mut Printing, steps: &mut u32) -> Result<Leaf, Fault> {
        let mut node = self.long(self.cpu.string_table.wrapping_add(8))?;
        let mut byte = self.byte(from.at)?;
        *steps += 1;
        let last = *steps + LEAF_BYTES_MAX;
        loop {
            let body = node.wrapping_add(1);
            match self.byte(node)? {
                0 => node = self.long(body.wrapping_add(u32::from(byte >> from.bit & 1) * 4))?,
                1 => return Ok(Leaf::End),
                2 => return Ok(Leaf::Char(self.byte(body)?.into())),
                4 => return Ok(Leaf::Char(self.long(body)?)),
                _ => return Ok(Leaf::Other(node)),
            }
            from.bit += 1;
            if from.bit == 8 {
                (from.at, from.bit) = (from.at.wrapping_add(1), 0);
                byte = self.byte(from.at)?;
                *steps += 1;
                if *steps > last {
                    return Err(Fault::Table);
                }
            }
        }
    }

    /// A node that refers to a string or a function, with or without arguments.
    fn refer(
        &mut self,
        regs: &mut Regs,
        from: &mut Printing,
        sort: u8,
        body: u32,
    ) -> Result<Step, Fault> {
        let mut at = self.long(body)?;
        if sort & 1 == 1 {
            at = self.long(at)?;
        }
        let what = self.byte(at)?;
        self.push_end(regs, from)?;
        self.push_stub(regs, (tag::STRING as u32, from.bit), from.at)?;
        if what >= 0xe0 {
            (from.sort, from.at) = self.string_at(at)?;
            from.bit = 0;
            return Ok(Step::Inner);
        }
        let mut args = Vec::new();
        if sort >= 0xa {
            let count = self.long(body.wrapping_add(4))?;
            if count > ARGS_MAX {
                return Err(Fault::TooMuch);
            }
            for nth in 0..count {
                args.push(self.long(body.wrapping_add(8 + 4 * nth))?);
            }
        }
        self.enter(regs, at, &args).map(Step::Gone)
    }
}
