//! Functions of the Inform library that a story may have run at once (the specification,
//! section 2.16): numbers 2 to 7 are for objects of seven bytes of attributes, 8 to 13 for any.

use crate::fault::Fault;
use crate::world::World;

/// Functions there are.
pub(crate) const FUNCTIONS: std::ops::RangeInclusive<u32> = 1..=13;

/// The parameters, by number.
mod parameter {
    pub(super) const CLASSES: usize = 0;
    pub(super) const INDIVIDUAL: usize = 1;
    pub(super) const CLASS: usize = 2;
    pub(super) const OBJECT: usize = 3;
    pub(super) const ROUTINE: usize = 4;
    pub(super) const STRING: usize = 5;
    pub(super) const THIS: usize = 6;
    pub(super) const ATTRIBUTE_BYTES: usize = 7;
    pub(super) const DEFAULTS: usize = 8;
}

const NO_PROPERTY: &str = "[** Programming error: tried to find the \".\" of (something) **]";
const NO_CLASS: &str = "[** Programming error: tried to apply 'ofclass' with non-class **]";
const NO_VALUE: &str = "[** Programming error: tried to read (something) **]";

impl World {
    /// What an accelerated function gives.
    pub(crate) fn accelerated(&mut self, number: u32, args: &[u32]) -> Result<u32, Fault> {
        let arg = |nth: usize| args.get(nth).copied().unwrap_or(0);
        let (object, id) = (arg(0), arg(1));
        let any = number >= 8;
        match number {
            1 => Ok(if args.is_empty() { 0 } else { self.region(object)? }),
            2 | 8 => self.property_entry(object, id, any),
            3 | 9 => self.property_address(object, id, any),
            4 | 10 => match self.property(object, id, any)? {
                0 => Ok(0),
                entry => Ok(4 * u32::from(self.half(entry.wrapping_add(2))?)),
            },
            5 | 11 => self.is_of_class(object, id, any).map(u32::from),
            6 | 12 => self.property_value(object, id, any),
            _ => self.provides(object, id, any).map(u32::from),
        }
    }

    fn parameter(&self, number: usize) -> u32 {
        self.cpu.parameters[number]
    }

    fn complain(&mut self, what: &str) -> Result<(), Fault> {
        if self.cpu.iosys.0 == 2 {
            for char in std::iter::once('\n').chain(what.chars()).chain(['\n']) {
                self.put(char.into())?;
            }
        }
        Ok(())
    }

    /// What an address is of: object 1, routine 2, string 3.
    fn region(&self, at: u32) -> Result<u32, Fault> {
        if at < 36 || at >= self.cpu.endmem {
            return Ok(0);
        }
        Ok(match self.byte(at)? {
            0xe0.. => 3,
            0xc0.. => 2,
            0x70..=0x7f if at >= self.layout.ramstart => 1,
            _ => 0,
        })
    }

    fn is_class(&self, object: u32) -> Result<bool, Fault> {
        let at = 13u32.wrapping_add(self.parameter(parameter::ATTRIBUTE_BYTES));
        Ok(self.long(object.wrapping_add(at))? == self.parameter(parameter::CLASS))
    }

    fn property_entry(&mut self, object: u32, id: u32, any: bool) -> Result<u32, Fault> {
        if self.region(object)? != 1 {
            self.complain(NO_PROPERTY)?;
            return Ok(0);
        }
        let words = if any { 3 + self.parameter(parameter::ATTRIBUTE_BYTES) / 4 } else { 4 };
        let table = self.long(object.wrapping_add(words.wrapping_mul(4)))?;
        if table == 0 { Ok(0) } else { self.find_property(table, id) }
    }

    fn property(&mut self, object: u32, id: u32, any: bool) -> Result<u32, Fault> {
        let (mut object, mut id, mut class) = (object, id, 0);
        if id >> 16 != 0 {
            let classes = self.parameter(parameter::CLASSES);
            class = self.long(classes.wrapping_add((id & 0xffff) * 4))?;
            if !self.is_of_class(object, class, any)? {
                return Ok(0);
            }
            (id, object) = (id >> 16, class);
        }
        let entry = self.property_entry(object, id, any)?;
        if entry == 0 {
            return Ok(0);
        }
        let first = self.parameter(parameter::INDIVIDUAL);
        let own = id.wrapping_sub(first) < 8 && id >= first;
        if class == 0 && self.is_class(object)? && !own {
            return Ok(0);
        }
        let this = self.long(self.parameter(parameter::THIS))?;
        let private = this != object && self.byte(entry.wrapping_add(9))? & 1 != 0;
        Ok(if private { 0 } else { entry })
    }

    fn property_address(&mut self, object: u32, id: u32, any: bool) -> Result<u32, Fault> {
        match self.property(object, id, any)? {
            0 => Ok(0),
            entry => self.long(entry.wrapping_add(4)),
        }
    }

    fn property_value(&mut self, object: u32, id: u32, any: bool) -> Result<u32, Fault> {
        let at = self.property_address(object, id, any)?;
        if at != 0 {
            return self.long(at);
        }
        if id > 0 && id < self.parameter(parameter::INDIVIDUAL) {
            let defaults = self.parameter(parameter::DEFAULTS);
            return self.long(defaults.wrapping_add(id.wrapping_mul(4)));
        }
        self.complain(NO_VALUE)?;
        Ok(0)
    }

    fn is_of_class(&mut self, object: u32, class: u32, any: bool) -> Result<bool, Fault> {
        let [kind, whole, routine, string] =
            [parameter::CLASS, parameter::OBJECT, parameter::ROUTINE, parameter::STRING]
                .map(|number| self.parameter(number));
        match self.region(object)? {
            3 => return Ok(class == string),
            2 => return Ok(class == routine),
            1 => {}
            _ => return Ok(false),
        }
        let known = [kind, string, routine, whole].contains(&object);
        if class == kind {
            return Ok(known || self.is_class(object)?);
        }
        if class == whole {
            return Ok(!known && !self.is_class(object)?);
        }
        if class == string || class == routine {
            return Ok(false);
        }
        if !self.is_class(class)? {
            self.complain(NO_CLASS)?;
            return Ok(false);
        }
        // The classes of an object are its property 2.
        let entry = self.property(object, 2, any)?;
        if entry == 0 {
            return Ok(false);
        }
        let list = self.long(entry.wrapping_add(4))?;
        if list == 0 {
            return Ok(false);
        }
        for nth in 0..u32::from(self.half(entry.wrapping_add(2))?) {
            if self.long(list.wrapping_add(4 * nth))? == class {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn provides(&mut self, object: u32, id: u32, any: bool) -> Result<bool, Fault> {
        let first = self.parameter(parameter::INDIVIDUAL);
        // Of those that the library itself answers, the sixth is to call, the last two to print.
        let own = id.wrapping_sub(first);
        match self.region(object)? {
            3 => return Ok(own == 6 || own == 7),
            2 => return Ok(own == 5),
            1 => {}
            _ => return Ok(false),
        }
        if id >= first && own < 8 && self.is_class(object)? {
            return Ok(true);
        }
        Ok(self.property_address(object, id, any)? != 0)
    }
}
