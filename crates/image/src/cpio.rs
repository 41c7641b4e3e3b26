//! The archive that a kernel unpacks as its first file system ("newc" cpio), byte for byte the
//! same from the same files.

use std::collections::BTreeMap;

/// A file system in the making: paths without a slash in front, parents before children.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Dir { mode: u32 },
    File { mode: u32, bytes: Vec<u8> },
    Link(String),
    CharDevice { mode: u32, major: u32, minor: u32 },
}

/// File types in the upper bits of a mode.
const S_IFCHR: u32 = 0o020_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

impl Tree {
    /// A folder with these permissions.
    pub(crate) fn dir(&mut self, path: &str, mode: u32) {
        self.parents(path);
        self.nodes.insert(path.to_owned(), Node::Dir { mode });
    }

    /// A file with these permissions; folders above it come about by themselves.
    pub(crate) fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.parents(path);
        self.nodes.insert(path.to_owned(), Node::File { mode, bytes: bytes.into() });
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.nodes.insert(path.to_owned(), Node::Link(target.to_owned()));
    }

    /// A character device.
    pub(crate) fn device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        self.parents(path);
        self.nodes.insert(path.to_owned(), Node::CharDevice { mode, major, minor });
    }

    /// Whether something stands at a path.
    pub(crate) fn holds(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// Adds the folders above a path that are not there yet.
    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let parent = &path[..at];
            if !self.nodes.contains_key(parent) {
                self.nodes.insert(parent.to_owned(), Node::Dir { mode: 0o755 });
            }
        }
    }

    /// The archive's bytes: inodes counted up, all of root, all at the epoch.
    pub(crate) fn to_cpio(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (inode, (path, node)) in (1_u32..).zip(&self.nodes) {
            let (mode, links, device, bytes): (u32, u32, (u32, u32), &[u8]) = match node {
                Node::Dir { mode } => (S_IFDIR | mode, 2, (0, 0), &[]),
                Node::File { mode, bytes } => (S_IFREG | mode, 1, (0, 0), bytes),
                Node::Link(target) => (S_IFLNK | 0o777, 1, (0, 0), target.as_bytes()),
                Node::CharDevice { mode, major, minor } => {
                    (S_IFCHR | mode, 1, (*major, *minor), &[])
                }
            };
            entry(&mut out, &Header { inode, mode, links, device }, path, bytes);
        }
        let end = Header { inode: 0, mode: 0, links: 1, device: (0, 0) };
        entry(&mut out, &end, "TRAILER!!!", &[]);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }
}

/// The fields of an entry that vary.
struct Header {
    inode: u32,
    mode: u32,
    links: u32,
    device: (u32, u32),
}

/// Appends one entry: fourteen numbers of eight hexadecimal digits, the name, the content.
fn entry(out: &mut Vec<u8>, header: &Header, path: &str, bytes: &[u8]) {
    let size = u32::try_from(bytes.len()).expect("files are bounded far below four gigabytes");
    let name_size = u32::try_from(path.len() + 1).expect("paths are short");
    let (major, minor) = header.device;
    let numbers =
        [header.inode, header.mode, 0, 0, header.links, 0, size, 0, 0, major, minor, name_size, 0];
    out.extend_from_slice(b"070701");
    for number in numbers {
        out.extend_from_slice(format!("{number:08X}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_the_layout_of_newc_and_parents_first() {
        let mut tree = Tree::default();
        tree.file("a/b", 0o644, "xyz");
        tree.link("a/l", "b");
        tree.device("dev/console", 0o600, 5, 1);
        let bytes = tree.to_cpio();
        let text = String::from_utf8_lossy(&bytes);
        let magic: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(magic.len(), 6, "a, a/b, a/l, dev, dev/console and the end");
        assert!(magic.iter().all(|at| at % 4 == 0));
        assert_eq!(&text[magic[0] + 110..magic[0] + 111], "a");
        assert_eq!(&bytes[magic[1] + 14..magic[1] + 22], b"000081A4");
        assert_eq!(&bytes[magic[1] + 54..magic[1] + 62], b"00000003");
        assert_eq!(&bytes[magic[1] + 116..magic[1] + 119], b"xyz");
        assert_eq!(bytes.len() % 512, 0);
    }

    #[test]
    fn equal_trees_make_equal_bytes_whatever_the_order_of_making() {
        let mut one = Tree::default();
        one.file("x", 0o644, "1");
        one.dir("y", 0o755);
        let mut two = Tree::default();
        two.dir("y", 0o755);
        two.file("x", 0o644, "1");
        assert_eq!(one.to_cpio(), two.to_cpio());
    }
}
