//! What members of a switch say to each other: section 2 of `docs/formats/switch.md`.

use super::cut::CutId;
use crate::segment::FRAME_BYTES_MAX;

/// Bytes of the name that a member gives itself: the id of its machine.
pub const MEMBER_BYTES_MAX: usize = 64;

/// The version that members speak.
const VERSION: u8 = 1;

/// The largest packet, in bytes.
pub(crate) const PACKET_BYTES_MAX: usize = 1 + FRAME_BYTES_MAX;

/// The smallest Ethernet frame, in bytes: its addresses and its type.
pub const FRAME_BYTES_MIN: usize = 14;

const HELLO: u8 = 1;
const FRAME: u8 = 2;
const MARKER: u8 = 3;

/// One packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Packet<'p> {
    /// Who has connected: the first packet of a connection.
    Hello(&'p str),
    /// An Ethernet frame; whether it is a sound one is not said.
    Frame(&'p [u8]),
    /// Every frame before it was sent before the sender's cut, and every one after it after.
    Marker(CutId),
}

impl<'p> Packet<'p> {
    /// The packet of these bytes, if they are one.
    pub(crate) fn of(bytes: &'p [u8]) -> Option<Self> {
        let (kind, body) = bytes.split_first()?;
        match *kind {
            HELLO => {
                let (version, name) = body.split_first()?;
                let name = std::str::from_utf8(name).ok()?;
                let sound = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
                let fits = *version == VERSION && sound && name.len() <= MEMBER_BYTES_MAX;
                fits.then_some(Self::Hello(name))
            }
            FRAME if body.len() <= FRAME_BYTES_MAX => Some(Self::Frame(body)),
            MARKER => body.try_into().ok().map(|id| Self::Marker(CutId(id))),
            _ => None,
        }
    }

    /// Its bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    /// Its bytes, in place of what is there.
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        let (head, body): (&[u8], &[u8]) = match self {
            Self::Hello(name) => (&[HELLO, VERSION], name.as_bytes()),
            Self::Frame(frame) => (&[FRAME], frame),
            Self::Marker(id) => (&[MARKER], &id.0),
        };
        into.clear();
        into.extend_from_slice(head);
        into.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_comes_back_as_it_was_and_others_are_none() {
        let frame = vec![7; FRAME_BYTES_MAX];
        for packet in
            [Packet::Hello("0a1b2c"), Packet::Frame(&frame), Packet::Marker(CutId([9; 16]))]
        {
            assert_eq!(Packet::of(&packet.to_bytes()), Some(packet));
        }
        let long = [&[HELLO, VERSION][..], &[b'a'; MEMBER_BYTES_MAX + 1]].concat();
        let large = [&[FRAME][..], &[0; FRAME_BYTES_MAX + 1]].concat();
        let bad: [&[u8]; 8] = [
            b"",
            &[HELLO, VERSION],
            &[HELLO, 9, b'a'],
            &[HELLO, VERSION, b'/'],
            &[MARKER, 1],
            &[4],
            &long,
            &large,
        ];
        for bytes in bad {
            assert_eq!(Packet::of(bytes), None, "{bytes:?}");
        }
    }
}
