//! The ChaCha20 block function (RFC 8439, section 2.3), for reproducible entropy.

const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// One block of key stream. The nonce is `[n0, n1, n2]`, little-endian as the output.
pub(crate) fn block(key: &[u8; 32], counter: u32, nonce: [u32; 3]) -> [u8; 64] {
    let mut start = [0u32; 16];
    start[..4].copy_from_slice(&CONSTANTS);
    for (word, bytes) in start[4..12].iter_mut().zip(key.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    start[12] = counter;
    start[13..].copy_from_slice(&nonce);
    let mut state = start;
    for _ in 0..10 {
        quarter(&mut state, 0, 4, 8, 12);
        quarter(&mut state, 1, 5, 9, 13);
        quarter(&mut state, 2, 6, 10, 14);
        quarter(&mut state, 3, 7, 11, 15);
        quarter(&mut state, 0, 5, 10, 15);
        quarter(&mut state, 1, 6, 11, 12);
        quarter(&mut state, 2, 7, 8, 13);
        quarter(&mut state, 3, 4, 9, 14);
    }
    let mut out = [0; 64];
    for ((bytes, mixed), first) in out.as_chunks_mut::<4>().0.iter_mut().zip(state).zip(start) {
        *bytes = mixed.wrapping_add(first).to_le_bytes();
    }
    out
}

/// A key made of a small seed and what it is for, so that equal seeds do not give equal streams.
pub(crate) fn key_of(seed: u64, purpose: &[u8; 8], index: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(purpose);
    key[16..24].copy_from_slice(&index.to_le_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(&block(&key, 0, [0; 3])[..32]);
    out
}

fn quarter(s: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    for (turn, other) in [(16, 12), (8, 7)] {
        s[a] = s[a].wrapping_add(s[b]);
        s[d] = (s[d] ^ s[a]).rotate_left(turn);
        s[c] = s[c].wrapping_add(s[d]);
        s[b] = (s[b] ^ s[c]).rotate_left(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_that_of_rfc_8439_section_2_3_2() {
        let key: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).expect("small"));
        let out = block(&key, 1, [0x0900_0000, 0x4a00_0000, 0]);
        let head = [0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15];
        let tail = [0xa2, 0x50, 0x3c, 0x4e];
        assert_eq!(out[..8], head);
        assert_eq!(out[60..], tail);
    }
}
