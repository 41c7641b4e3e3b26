//! Which address is behind which connection, as a learning switch knows it.

use std::collections::BTreeMap;

/// Addresses that are known at a time; the one that was heard of longest ago makes room.
pub const ADDRESSES_MAX: usize = 1024;

/// How long an address is known after it was heard of last, in milliseconds.
const AGE_MS: u64 = 300_000;

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// Addresses and where they are.
#[derive(Debug, Default)]
pub struct MacTable {
    places: BTreeMap<Mac, (u64, u64)>,
}

impl MacTable {
    /// Notes that an address was heard of behind a connection.
    pub fn learn(&mut self, mac: Mac, place: u64, now_ms: u64) {
        if let Some(known) = self.places.get_mut(&mac) {
            *known = (place, now_ms);
            return;
        }
        if self.places.len() >= ADDRESSES_MAX {
            let oldest = self.places.iter().min_by_key(|(_, (_, heard))| *heard);
            if let Some(oldest) = oldest.map(|(mac, _)| *mac) {
                self.places.remove(&oldest);
            }
        }
        self.places.insert(mac, (place, now_ms));
    }

    /// Where an address is, if that is known. Addresses of groups are everywhere.
    #[must_use]
    pub fn find(&self, mac: Mac, now_ms: u64) -> Option<u64> {
        let (place, heard) = *self.places.get(&mac)?;
        (now_ms.saturating_sub(heard) <= AGE_MS).then_some(place)
    }

    /// Forgets all that is behind a connection.
    pub fn forget(&mut self, place: u64) {
        self.places.retain(|_, (at, _)| *at != place);
    }

    /// How many addresses are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// Whether an address is that of a group: broadcast or multicast.
pub(crate) fn is_group(mac: Mac) -> bool {
    mac[0] & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: u32) -> Mac {
        let [a, b, c, d] = number.to_be_bytes();
        [2, 0, a, b, c, d]
    }

    #[test]
    fn an_address_is_where_it_was_heard_of_last_until_it_is_old() {
        let mut table = MacTable::default();
        table.learn(mac(1), 7, 0);
        assert_eq!(table.find(mac(1), AGE_MS), Some(7));
        assert_eq!(table.find(mac(1), AGE_MS + 1), None);
        table.learn(mac(1), 8, 10);
        assert_eq!((table.find(mac(1), 10), table.len()), (Some(8), 1));
        table.forget(8);
        assert!(table.is_empty());
    }

    #[test]
    fn more_addresses_than_are_known_take_the_place_of_the_oldest() {
        let mut table = MacTable::default();
        for number in 0..5_000 {
            table.learn(mac(number), 1, u64::from(number));
            assert!(table.len() <= ADDRESSES_MAX);
        }
        assert_eq!(table.find(mac(4_999), 5_000), Some(1));
        assert_eq!(table.find(mac(1), 5_000), None);
    }
}
