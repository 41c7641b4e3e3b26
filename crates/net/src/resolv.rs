//! What DNS needs to know of its format (RFC 1035) and of the host's `resolv.conf`.

use std::net::{IpAddr, SocketAddr};

/// Bytes of a DNS header.
const HEADER_BYTES: usize = 12;
/// Resolvers that are tried at most.
pub(crate) const SERVERS_MAX: usize = 3;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// Seconds that an answer of the host's own lookup may be kept.
const TTL_SECONDS: u32 = 60;
const ANSWERS_MAX: usize = 12;

/// Outcomes of a question (RFC 1035, 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rcode {
    NoError = 0,
    ServerFailure = 2,
    NotImplemented = 4,
    Refused = 5,
}

/// The resolvers named in the text of a `resolv.conf`.
pub(crate) fn nameservers(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, 53))
        .take(SERVERS_MAX)
        .collect()
}

/// True if the message is a question (not an answer) with a whole header.
pub(crate) fn is_query(message: &[u8]) -> bool {
    message.len() >= HEADER_BYTES && message[2] & 0x80 == 0
}

/// The one question of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// The name in its usual form, without the last dot.
    pub(crate) name: String,
    /// True for an IPv4 address, false for an IPv6 address.
    pub(crate) ipv4: bool,
    /// Where the question ends in the message.
    end: usize,
}

/// Reads a query for an address of an ordinary host name; `None` for anything else.
pub(crate) fn question(message: &[u8]) -> Option<Question> {
    let counts = message.get(4..HEADER_BYTES)?;
    if !is_query(message) || message[2] & 0x78 != 0 || counts[..2] != [0, 1] {
        return None;
    }
    let (mut name, mut at) = (String::new(), HEADER_BYTES);
    loop {
        let len = usize::from(*message.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        let label = message.get(at..at + len).filter(|_| len <= 63)?;
        let ordinary = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !label.iter().all(ordinary) || name.len() + len > 252 {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|&byte| char::from(byte)));
        at += len;
    }
    let tail = message.get(at..at + 4)?;
    let ipv4 = match u16::from_be_bytes([tail[0], tail[1]]) {
        TYPE_A => true,
        TYPE_AAAA => false,
        _ => return None,
    };
    let class = u16::from_be_bytes([tail[2], tail[3]]);
    (class == CLASS_IN && !name.is_empty()).then_some(Question { name, ipv4, end: at + 4 })
}

/// An answer without records, with the header of the query.
pub(crate) fn failure(query: &[u8], rcode: Rcode) -> Vec<u8> {
    let mut answer = vec![0; HEADER_BYTES];
    answer[..3].copy_from_slice(&query[..3]);
    answer[2] |= 0x80;
    answer[3] = 0x80 | rcode as u8;
    answer
}

/// The answer to `question` of the message `query` with those of `found` that fit its type.
pub(crate) fn answer(query: &[u8], question: &Question, found: &[IpAddr]) -> Vec<u8> {
    let mut answer = failure(query, Rcode::NoError);
    answer[5] = 1;
    answer.extend_from_slice(&query[HEADER_BYTES..question.end]);
    let fitting = found.iter().filter(|ip| ip.is_ipv4() == question.ipv4).take(ANSWERS_MAX);
    for ip in fitting {
        answer[7] += 1;
        let kind = if question.ipv4 { TYPE_A } else { TYPE_AAAA };
        // The name is a pointer to the question's, which follows the header.
        answer.extend_from_slice(&[0xc0, 0x0c]);
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&CLASS_IN.to_be_bytes());
        answer.extend_from_slice(&TTL_SECONDS.to_be_bytes());
        match ip {
            IpAddr::V4(ip) => {
                answer.extend_from_slice(&[0, 4]);
                answer.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                answer.extend_from_slice(&[0, 16]);
                answer.extend_from_slice(&ip.octets());
            }
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03www\x04host\0\0\x01\0\x01";

    #[test]
    fn resolvers_are_read_from_resolv_conf() {
        let text = "# nameserver 9.9.9.9\nsearch x\nnameserver 127.0.0.53\n  nameserver\t::1 ;x\n\
                    nameservers 1.1.1.1\nnameserver fe80::1%eth0\nnameserver\n";
        let expected = ["127.0.0.53:53", "[::1]:53"].map(|text| text.parse().unwrap());
        assert_eq!(nameservers(text), expected);
    }

    #[test]
    fn an_address_question_is_answered_with_the_addresses_of_its_kind() {
        let question = question(QUERY).unwrap();
        assert_eq!((question.name.as_str(), question.ipv4), ("www.host", true));
        let found = ["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        let answer = answer(QUERY, &question, &found);
        assert_eq!(answer[..12], *b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0");
        assert_eq!(answer[12..QUERY.len()], QUERY[12..]);
        assert_eq!(answer[QUERY.len()..], *b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01");
    }

    proptest! {
        #[test]
        fn no_message_is_read_past_its_end(
            cut in 0..QUERY.len(), at in 0..QUERY.len(), byte: u8,
        ) {
            prop_assert_eq!(question(&QUERY[..cut]), None);
            let mut bent = QUERY.to_vec();
            bent[at] = byte;
            if let Some(question) = question(&bent) {
                answer(&bent, &question, &[]);
            }
        }
    }
}
