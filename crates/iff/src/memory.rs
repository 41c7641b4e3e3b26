//! The memory of a saved game as its differences from the original (Quetzal 1.4, section 3.2).

/// Differences from the original, with runs of zeros as a zero and their length less one; what
/// has no original is compared with zeros. Equal bytes at the end are left out.
#[must_use]
pub fn compress(memory: &[u8], original: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut zeros = 0usize;
    for (byte, old) in memory.iter().zip(original.iter().chain(std::iter::repeat(&0))) {
        if byte == old {
            zeros += 1;
            continue;
        }
        while zeros > 0 {
            let run = zeros.min(256);
            out.extend([0, u8::try_from(run - 1).expect("a run is at most 256")]);
            zeros -= run;
        }
        out.push(byte ^ old);
    }
    out
}

/// Lays differences over memory that is the original; `None` where they are more than that.
#[must_use]
pub fn expand(body: &[u8], mut memory: Vec<u8>) -> Option<Vec<u8>> {
    let mut at = 0;
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        if *byte == 0 {
            at += usize::from(*bytes.next()?) + 1;
        } else {
            *memory.get_mut(at)? ^= byte;
            at += 1;
        }
    }
    (at <= memory.len()).then_some(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_zeros_of_any_length_survive() {
        let original = vec![3; 2000];
        for changed in [vec![], vec![0], vec![255], vec![256], vec![257, 258], vec![1999]] {
            let mut memory = original.clone();
            changed.iter().for_each(|at| memory[*at] = 9);
            let body = compress(&memory, &original);
            assert_eq!(expand(&body, original.clone()), Some(memory));
        }
    }

    #[test]
    fn memory_that_grew_beyond_its_original_survives() {
        let (original, mut memory) = (vec![3; 20], vec![3; 1000]);
        memory[20..].fill(0);
        memory[999] = 7;
        let body = compress(&memory, &original);
        let mut blank = original.clone();
        blank.resize(1000, 0);
        assert_eq!(expand(&body, blank), Some(memory));
        assert_eq!(expand(&body, original), None);
    }
}
