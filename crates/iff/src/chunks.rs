//! Chunks: a name, a size and a body, padded to even sizes (EA IFF 85).

/// A chunk: its name and its body.
pub type Chunk<'a> = ([u8; 4], &'a [u8]);

/// Adds a chunk.
///
/// # Panics
/// Where the body has 4 GiB or more.
pub fn put_chunk(into: &mut Vec<u8>, name: &[u8; 4], body: &[u8]) {
    into.extend_from_slice(name);
    let size = u32::try_from(body.len()).expect("a chunk is below 4 GiB");
    into.extend_from_slice(&size.to_be_bytes());
    into.extend_from_slice(body);
    if body.len() % 2 == 1 {
        into.push(0);
    }
}

/// A file of this type that holds these chunks.
#[must_use]
pub fn form(kind: &[u8; 4], chunks: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    put_chunk(&mut file, b"FORM", &[kind, chunks].concat());
    file
}

/// The chunks of a file of this type, as bytes; `None` where it is none.
#[must_use]
pub fn take_form<'a>(file: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    let ((name, body), _) = take_chunk(file)?;
    body.strip_prefix(kind).filter(|_| &name == b"FORM")
}

/// The chunks in some bytes, as far as they are whole.
pub fn chunks(mut bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let (chunk, rest) = take_chunk(bytes)?;
        bytes = rest;
        Some(chunk)
    })
}

fn take_chunk(bytes: &[u8]) -> Option<(Chunk<'_>, &[u8])> {
    let (name, rest) = bytes.split_first_chunk::<4>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
    let (body, rest) = rest.split_at_checked(size)?;
    Some(((*name, body), rest.get(size % 2..).unwrap_or(&[])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_odd_size_are_padded_and_read_back() {
        let mut all = Vec::new();
        put_chunk(&mut all, b"ODD ", b"abc");
        put_chunk(&mut all, b"EVEN", b"abcd");
        let file = form(b"TEST", &all);
        assert_eq!(file.len() % 2, 0);
        let inside = take_form(&file, b"TEST").expect("it is one");
        let read: Vec<Chunk<'_>> = chunks(inside).collect();
        assert_eq!(read, [(*b"ODD ", &b"abc"[..]), (*b"EVEN", b"abcd")]);
        assert_eq!(take_form(&file, b"TSET"), None);
    }

    #[test]
    fn what_is_cut_short_ends_and_never_panics() {
        let mut all = Vec::new();
        put_chunk(&mut all, b"ODD ", b"abc");
        let file = form(b"TEST", &all);
        for end in 0..file.len() {
            assert_eq!(take_form(&file[..end], b"TEST"), None);
            assert!(chunks(&file[..end]).count() <= 1);
        }
    }
}
