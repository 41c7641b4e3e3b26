//! What a debugger sends, cut into packets before anything looks at them: what is too long or
//! asks for too much never gets further.

/// Bytes of a packet, beyond which whoever sends it is no debugger.
pub(crate) const PACKET_BYTES_MAX: usize = 16 << 10;

/// Bytes of memory in one answer: as hexadecimal digits they fit in a packet.
const READ_BYTES_MAX: u64 = PACKET_BYTES_MAX as u64 / 2;

/// Something that was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Sent {
    /// Bytes for the protocol's machine: one packet whole, or a byte outside of any.
    Bytes(Vec<u8>),
    /// A packet that is refused.
    Refused,
}

/// Cuts a stream of bytes.
#[derive(Default, Debug)]
pub(crate) struct Packets {
    packet: Vec<u8>,
    /// How many digits of the checksum are here, once the body is.
    digits: Option<u8>,
}

impl Packets {
    /// Takes a byte; gives what is whole by it.
    ///
    /// # Errors
    /// Where a packet has no end.
    pub(crate) fn take(&mut self, byte: u8) -> Result<Option<Sent>, &'static str> {
        if self.packet.is_empty() && byte != b'$' {
            // Acknowledgements and interrupts; the rest is noise between packets.
            let known = matches!(byte, b'+' | b'-' | 3);
            return Ok(known.then(|| Sent::Bytes(vec![byte])));
        }
        self.packet.push(byte);
        if self.packet.len() > PACKET_BYTES_MAX {
            return Err("a packet has no end");
        }
        match &mut self.digits {
            None if byte == b'#' => self.digits = Some(0),
            None => {}
            Some(count) => {
                *count += 1;
                if *count == 2 {
                    self.digits = None;
                    let packet = std::mem::take(&mut self.packet);
                    return Ok(Some(judge(packet)));
                }
            }
        }
        Ok(None)
    }
}

/// Refuses what asks for more memory than an answer holds, or for memory that has no end.
fn judge(packet: Vec<u8>) -> Sent {
    let body = &packet[1..packet.len() - 3];
    let refused = match body.first() {
        Some(b'm') => range(&body[1..]).is_none_or(|(_, bytes)| bytes > READ_BYTES_MAX),
        Some(b'M' | b'X') => {
            let end = body.iter().position(|byte| *byte == b':');
            end.is_none_or(|end| range(&body[1..end]).is_none())
        }
        _ => false,
    };
    if refused { Sent::Refused } else { Sent::Bytes(packet) }
}

/// An address and a count of bytes, in hexadecimal digits, that does not go round.
fn range(text: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (at, bytes) = text.split_once(',')?;
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.len() <= 16;
        digits.then(|| u64::from_str_radix(text, 16).ok())?
    };
    let (at, bytes) = (number(at)?, number(bytes)?);
    at.checked_add(bytes)?;
    Some((at, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &[u8]) -> Vec<Sent> {
        let mut packets = Packets::default();
        let taken = bytes.iter().map(|byte| packets.take(*byte).expect("it has an end"));
        taken.flatten().collect()
    }

    #[test]
    fn a_stream_is_cut_into_packets_and_what_is_between() {
        let bytes = |bytes: &[u8]| Sent::Bytes(bytes.to_vec());
        assert_eq!(
            cut(b"+zz$g#67-\x03$m80,4#00"),
            [bytes(b"+"), bytes(b"$g#67"), bytes(b"-"), bytes(b"\x03"), bytes(b"$m80,4#00")]
        );
    }

    #[test]
    fn what_asks_for_too_much_memory_is_refused() {
        for hostile in [
            &b"$m0,ffffffffffffffff#00"[..],
            b"$mffffffffffffffff,2#00",
            b"$m0,2001#00",
            b"$m00000000000000000000,1#00",
            b"$m#00",
            b"$m0#00",
            b"$M0,4#00",
            b"$Mffffffffffffffff,4:00000000#00",
            b"$Xg,4:....#00",
            b"$m+1,1#00",
        ] {
            assert_eq!(cut(hostile), [Sent::Refused], "{}", String::from_utf8_lossy(hostile));
        }
    }

    #[test]
    fn a_packet_without_an_end_is_an_error() {
        let mut packets = Packets::default();
        let mut all = std::iter::once(b'$').chain(std::iter::repeat(b'a'));
        let error = all.by_ref().take(PACKET_BYTES_MAX + 2).find_map(|b| packets.take(b).err());
        assert!(error.is_some());
    }
}
