//! Published ports: `HOST:GUEST`, `ADDR:HOST:GUEST`, with `/tcp` or `/udp`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Transport of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A host port that leads into the guest.
///
/// Written `HOST:GUEST` (on the host's loopback 127.0.0.1) or `ADDR:HOST:GUEST`, where an IPv6
/// `ADDR` stands in brackets, and optionally followed by `/tcp` (the default) or `/udp`. Host port
/// 0 lets the host choose: see [`crate::NetHandle::published`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Transport.
    pub protocol: Protocol,
    /// Where the host listens.
    pub host_addr: SocketAddr,
    /// Port of the guest that is reached; not 0.
    pub guest_port: u16,
}

/// Why a text is no published port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishParseError {
    /// The text has not the form `[ADDR:]HOST:GUEST[/tcp|/udp]`.
    #[error("`{0}` is not of the form [ADDR:]HOST:GUEST[/tcp|/udp]")]
    Form(String),
    /// A port is no number from 0 (host) or 1 (guest) to 65535.
    #[error("{side} port `{text}` is not a number from {min} to 65535")]
    Port {
        /// `host` or `guest`.
        side: &'static str,
        /// What was written.
        text: String,
        /// Least port allowed on that side.
        min: u16,
    },
    /// The address to listen on is no IP address.
    #[error("`{0}` is not an IP address (IPv6 is written in brackets)")]
    Address(String),
    /// The part after `/` is neither `tcp` nor `udp`.
    #[error("`{0}` is neither tcp nor udp")]
    Protocol(String),
}

fn port(side: &'static str, text: &str, min: u16) -> Result<u16, PublishParseError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits && port >= min => Ok(port),
        _ => Err(PublishParseError::Port { side, text: text.to_owned(), min }),
    }
}

fn address(text: &str) -> Result<IpAddr, PublishParseError> {
    let wrong = || PublishParseError::Address(text.to_owned());
    match text.strip_prefix('[') {
        Some(rest) => {
            let inner = rest.strip_suffix(']').ok_or_else(wrong)?;
            inner.parse().map(IpAddr::V6).map_err(|_| wrong())
        }
        None => text.parse().map(IpAddr::V4).map_err(|_| wrong()),
    }
}

impl FromStr for Publish {
    type Err = PublishParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || PublishParseError::Form(text.to_owned());
        let (ports, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, other)) => return Err(PublishParseError::Protocol(other.to_owned())),
        };
        let (rest, guest) = ports.rsplit_once(':').ok_or_else(form)?;
        let (ip, host) = match rest.rsplit_once(':') {
            Some((addr, host)) => (address(addr)?, host),
            None => (IpAddr::V4(Ipv4Addr::LOCALHOST), rest),
        };
        let guest_port = port("guest", guest, 1)?;
        let host_addr = SocketAddr::new(ip, port("host", host, 0)?);
        Ok(Self { protocol, host_addr, guest_port })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host_addr, self.guest_port, self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, canonical: &str) {
        let publish: Publish = text.parse().unwrap();
        assert_eq!(publish.to_string(), canonical);
        assert_eq!(canonical.parse::<Publish>().unwrap(), publish);
    }

    #[test]
    fn every_written_form_is_read() {
        check("8080:80", "127.0.0.1:8080:80/tcp");
        check("0.0.0.0:8080:80", "0.0.0.0:8080:80/tcp");
        check("[::1]:2222:22/tcp", "[::1]:2222:22/tcp");
        check("5353:53/udp", "127.0.0.1:5353:53/udp");
        check("0:22", "127.0.0.1:0:22/tcp");
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let error = |text: &str| text.parse::<Publish>().unwrap_err().to_string();
        assert_eq!(error("80"), "`80` is not of the form [ADDR:]HOST:GUEST[/tcp|/udp]");
        assert_eq!(error("80:0"), "guest port `0` is not a number from 1 to 65535");
        assert_eq!(error("70000:1"), "host port `70000` is not a number from 0 to 65535");
        assert_eq!(error("+1:1"), "host port `+1` is not a number from 0 to 65535");
        assert_eq!(error("1:1/icmp"), "`icmp` is neither tcp nor udp");
        assert_eq!(error("::1:1:1"), "`::1` is not an IP address (IPv6 is written in brackets)");
        assert_eq!(error("[::1:1:1"), "`[::1` is not an IP address (IPv6 is written in brackets)");
        assert_eq!(error("host:1:1"), "`host` is not an IP address (IPv6 is written in brackets)");
        assert!("".parse::<Publish>().is_err());
    }
}
