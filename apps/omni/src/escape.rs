//! The escape key of an attached console: what a person types for `omni` and not for the guest.

/// `Ctrl-]`, as telnet and virsh have it.
const KEY: u8 = 0x1d;

/// What was typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Typed {
    /// For the guest.
    Bytes(Vec<u8>),
    /// Leave the console.
    Detach,
    /// End the machine.
    Quit,
    /// Take a snapshot.
    Snapshot,
    /// Go back a second.
    Rewind,
    /// An escape that means nothing.
    Unknown(u8),
}

/// Finds escapes in what is typed, also when the two keys come apart.
#[derive(Debug, Default)]
pub(crate) struct Escapes {
    pending: bool,
}

impl Escapes {
    /// Takes apart what was typed.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let mut typed = Vec::new();
        let mut plain = Vec::new();
        for &byte in bytes {
            if !std::mem::take(&mut self.pending) {
                if byte == KEY {
                    self.pending = true;
                } else {
                    plain.push(byte);
                }
                continue;
            }
            let escape = match byte {
                KEY => {
                    plain.push(KEY);
                    continue;
                }
                b'd' => Typed::Detach,
                b'q' => Typed::Quit,
                b's' => Typed::Snapshot,
                b'r' => Typed::Rewind,
                other => Typed::Unknown(other),
            };
            if !plain.is_empty() {
                typed.push(Typed::Bytes(std::mem::take(&mut plain)));
            }
            typed.push(escape);
        }
        if !plain.is_empty() {
            typed.push(Typed::Bytes(plain));
        }
        typed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parts: &[&[u8]], expect: &[Typed]) {
        let mut escapes = Escapes::default();
        let got: Vec<_> = parts.iter().flat_map(|part| escapes.take(part)).collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn an_escape_is_found_also_when_its_keys_come_apart() {
        let bytes = |text: &[u8]| Typed::Bytes(text.to_vec());
        check(&[b"ls\r"], &[bytes(b"ls\r")]);
        check(&[b"a\x1ddb"], &[bytes(b"a"), Typed::Detach, bytes(b"b")]);
        check(&[b"\x1d", b"q"], &[Typed::Quit]);
        check(&[b"\x1d\x1d"], &[bytes(b"\x1d")]);
        check(&[b"\x1dz\x1ds"], &[Typed::Unknown(b'z'), Typed::Snapshot]);
    }
}
