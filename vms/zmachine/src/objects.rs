//! The tree of objects: attributes, parents and children, properties.

use crate::fault::Fault;
use crate::machine::Vm;

/// The links of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link {
    Parent,
    Sibling,
    Child,
}

/// A property in its list.
#[derive(Clone, Copy, Debug)]
struct Property {
    number: u16,
    /// The first byte of its data.
    data: u32,
    bytes: u32,
}

/// Steps along siblings or properties after which there is a loop.
const STEPS_MAX: u32 = 0x1_0000;

impl Vm {
    fn early(&self) -> bool {
        self.story.version <= 3
    }

    fn object_at(&self, object: u16) -> Result<u32, Fault> {
        let (defaults, bytes, last) = if self.early() { (62, 9, 255) } else { (126, 14, u16::MAX) };
        if object == 0 || object > last {
            return Err(Fault::Object(object));
        }
        Ok(self.story.objects + defaults + (u32::from(object) - 1) * bytes)
    }

    fn link_at(&self, object: u16, link: Link) -> Result<u32, Fault> {
        let index = match link {
            Link::Parent => 0,
            Link::Sibling => 1,
            Link::Child => 2,
        };
        let at = self.object_at(object)?;
        Ok(if self.early() { at + 4 + index } else { at + 6 + 2 * index })
    }

    /// Where a link of an object leads; nothing has nothing.
    pub(crate) fn link(&self, object: u16, link: Link) -> Result<u16, Fault> {
        if object == 0 {
            return Ok(0);
        }
        let at = self.link_at(object, link)?;
        if self.early() { self.byte(at).map(u16::from) } else { self.word(at) }
    }

    fn set_link(&mut self, object: u16, link: Link, to: u16) -> Result<(), Fault> {
        let at = self.link_at(object, link)?;
        if self.early() {
            let to = u8::try_from(to).map_err(|_| Fault::Object(to))?;
            self.set_byte(at, to)
        } else {
            self.set_word(at, to)
        }
    }

    /// Takes an object out of the tree, with all below it.
    pub(crate) fn remove(&mut self, object: u16) -> Result<(), Fault> {
        let parent = self.link(object, Link::Parent)?;
        if object == 0 || parent == 0 {
            return Ok(());
        }
        let next = self.link(object, Link::Sibling)?;
        let mut at = self.link(parent, Link::Child)?;
        if at == object {
            self.set_link(parent, Link::Child, next)?;
        } else {
            let mut steps = 0;
            while at != 0 {
                let after = self.link(at, Link::Sibling)?;
                if after == object {
                    self.set_link(at, Link::Sibling, next)?;
                    break;
                }
                at = after;
                steps += 1;
                if steps > STEPS_MAX {
                    return Err(Fault::TreeLoop(parent));
                }
            }
        }
        self.set_link(object, Link::Parent, 0)?;
        self.set_link(object, Link::Sibling, 0)
    }

    /// Makes an object the first child of another.
    pub(crate) fn insert(&mut self, object: u16, parent: u16) -> Result<(), Fault> {
        if object == 0 || parent == 0 {
            return Ok(());
        }
        self.remove(object)?;
        let first = self.link(parent, Link::Child)?;
        self.set_link(object, Link::Parent, parent)?;
        self.set_link(object, Link::Sibling, first)?;
        self.set_link(parent, Link::Child, object)
    }

    fn attribute_at(&self, object: u16, attribute: u16) -> Result<(u32, u8), Fault> {
        let count = if self.early() { 32 } else { 48 };
        if attribute >= count {
            return Err(Fault::Attribute(attribute));
        }
        Ok((self.object_at(object)? + u32::from(attribute / 8), 0x80 >> (attribute % 8)))
    }

    /// Whether an object has an attribute.
    pub(crate) fn attribute(&self, object: u16, attribute: u16) -> Result<bool, Fault> {
        if object == 0 {
            return Ok(false);
        }
        let (at, bit) = self.attribute_at(object, attribute)?;
        Ok(self.byte(at)? & bit != 0)
    }

    /// Gives or takes an attribute.
    pub(crate) fn set_attribute(
        &mut self,
        object: u16,
        attribute: u16,
        on: bool,
    ) -> Result<(), Fault> {
        if object == 0 {
            return Ok(());
        }
        let (at, bit) = self.attribute_at(object, attribute)?;
        let old = self.byte(at)?;
        self.set_byte(at, if on { old | bit } else { old & !bit })
    }

    /// The address of the short name, after the byte of its length in words.
    pub(crate) fn name_at(&self, object: u16) -> Result<Option<u32>, Fault> {
        let table = self.properties_at(object)?;
        Ok((self.byte(table)? != 0).then_some(table + 1))
    }

    fn properties_at(&self, object: u16) -> Result<u32, Fault> {
        let at = self.object_at(object)?;
        self.word(if self.early() { at + 7 } else { at + 12 }).map(u32::from)
    }

    fn first_property(&self, object: u16) -> Result<Option<Property>, Fault> {
        let table = self.properties_at(object)?;
        self.property_from(table + 1 + 2 * u32::from(self.byte(table)?))
    }

    /// The property whose size byte is at an address, or none at the end of the list.
    fn property_from(&self, at: u32) -> Result<Option<Property>, Fault> {
        let size = self.byte(at)?;
        if size == 0 {
            return Ok(None);
        }
        let (number, data, bytes) = if self.early() {
            (size & 0x1f, at + 1, u32::from(size >> 5) + 1)
        } else if size & 0x80 != 0 {
            (size & 0x3f, at + 2, long_size(self.byte(at + 1)?))
        } else {
            (size & 0x3f, at + 1, u32::from(size >> 6) + 1)
        };
        Ok(Some(Property { number: number.into(), data, bytes }))
    }

    fn find_property(&self, object: u16, number: u16) -> Result<Option<Property>, Fault> {
        let mut at = self.first_property(object)?;
        // Numbers fall along the list; one that does not fall is of no list.
        while let Some(property) = at {
            if property.number <= number {
                return Ok((property.number == number).then_some(property));
            }
            at = self.property_from(property.data + property.bytes)?;
            if at.is_some_and(|next| next.number >= property.number) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// A property's value, or its default.
    pub(crate) fn property(&self, object: u16, number: u16) -> Result<u16, Fault> {
        if object == 0 {
            return Ok(0);
        }
        match self.find_property(object, number)? {
            Some(property) if property.bytes == 1 => self.byte(property.data).map(u16::from),
            Some(property) => self.word(property.data),
            None => {
                let last = if self.early() { 31 } else { 63 };
                if number == 0 || number > last {
                    return Err(Fault::Property(object, number));
                }
                self.word(self.story.objects + 2 * (u32::from(number) - 1))
            }
        }
    }

    /// Sets a property that the object has.
    pub(crate) fn set_property(&mut self, object: u16, n: u16, value: u16) -> Result<(), Fault> {
        if object == 0 {
            return Ok(());
        }
        match self.find_property(object, n)? {
            Some(property) if property.bytes == 1 => {
                self.set_byte(property.data, value.to_le_bytes()[0])
            }
            Some(property) => self.set_word(property.data, value),
            None => Err(Fault::Property(object, n)),
        }
    }

    /// The address of a property's data, or zero.
    pub(crate) fn property_at(&self, object: u16, number: u16) -> Result<u16, Fault> {
        if object == 0 {
            return Ok(0);
        }
        let Some(property) = self.find_property(object, number)? else { return Ok(0) };
        u16::try_from(property.data).map_err(|_| Fault::Address(property.data))
    }

    /// The size of the property with data at an address.
    pub(crate) fn property_size(&self, data: u16) -> Result<u16, Fault> {
        let Some(before) = data.checked_sub(1) else { return Ok(0) };
        let size = self.byte(before.into())?;
        let bytes = if self.early() {
            u32::from(size >> 5) + 1
        } else if size & 0x80 != 0 {
            long_size(size)
        } else {
            u32::from(size >> 6) + 1
        };
        u16::try_from(bytes).map_err(|_| Fault::Address(data.into()))
    }

    /// The number of the property after one, or of the first after number zero.
    pub(crate) fn next_property(&self, object: u16, number: u16) -> Result<u16, Fault> {
        if object == 0 {
            return Ok(0);
        }
        let next = if number == 0 {
            self.first_property(object)?
        } else {
            let property = self.find_property(object, number)?;
            let property = property.ok_or(Fault::Property(object, number))?;
            self.property_from(property.data + property.bytes)?
        };
        Ok(next.map_or(0, |property| property.number))
    }
}

/// The size in a second size byte, where zero means 64 (the Standard, section 12.4.2.1.1).
fn long_size(byte: u8) -> u32 {
    match byte & 0x3f {
        0 => 64,
        size => size.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::story_machine;

    #[test]
    fn an_object_moves_with_all_below_it() {
        let mut vm = story_machine();
        for (object, parent) in [(2, 1), (3, 1), (4, 3)] {
            vm.insert(object, parent).expect("objects of the sample");
        }
        vm.insert(3, 2).expect("objects of the sample");
        let links = |object| [Link::Parent, Link::Sibling, Link::Child].map(|l| vm.link(object, l));
        assert_eq!(links(1), [Ok(0), Ok(0), Ok(2)]);
        assert_eq!(links(3), [Ok(2), Ok(0), Ok(4)]);
        assert_eq!(links(4), [Ok(3), Ok(0), Ok(0)]);
    }

    #[test]
    fn a_loop_of_siblings_is_a_fault() {
        let mut vm = story_machine();
        for object in [2, 3, 4] {
            vm.insert(object, 1).expect("objects of the sample");
        }
        vm.remove(4).expect("an object of the sample");
        vm.set_link(2, Link::Sibling, 3).expect("an object of the sample");
        vm.set_link(4, Link::Parent, 1).expect("an object of the sample");
        assert_eq!(vm.remove(4), Err(Fault::TreeLoop(1)));
    }

    #[test]
    fn an_attribute_is_a_bit_of_its_object_alone() {
        let mut vm = story_machine();
        vm.set_attribute(2, 47, true).expect("an object of the sample");
        assert_eq!(vm.attribute(2, 47), Ok(true));
        assert_eq!(vm.attribute(2, 46), Ok(false));
        assert_eq!(vm.attribute(3, 47), Ok(false));
        assert_eq!(vm.attribute(2, 48), Err(Fault::Attribute(48)));
    }

    #[test]
    fn a_property_that_is_not_there_has_its_default_and_cannot_be_set() {
        let mut vm = story_machine();
        assert!(vm.property(1, 60).is_ok());
        assert_eq!(vm.set_property(1, 60, 1), Err(Fault::Property(1, 60)));
    }
}
