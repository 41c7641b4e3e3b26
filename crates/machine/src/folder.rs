//! Requests for files in folders of the host: by path, each whole in itself, so that none needs a
//! file to be open.

use omni_state::{Field, Reader, StateError, Writer};

/// What is asked of a folder. Paths are relative to it, with `/` between their parts, and do not
/// lead out of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FolderOp {
    /// What is at a path: a `FileStat`.
    Stat {
        /// The path.
        path: String,
        /// Whether a symbolic link at its end is followed.
        follow: bool,
    },
    /// Bytes of a file; fewer where it ends.
    Read {
        /// The path.
        path: String,
        /// The first byte.
        at: u64,
        /// How many, at most.
        count: u32,
    },
    /// Writes bytes of a file, which is there.
    Write {
        /// The path.
        path: String,
        /// The first byte.
        at: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The names in a folder, sorted: a list of `FolderItem`.
    List {
        /// The path.
        path: String,
    },
    /// Makes an empty file; `fresh`: it must not be there yet.
    Create {
        /// The path.
        path: String,
        /// Whether it must be new.
        fresh: bool,
    },
    /// Makes a folder.
    MakeFolder {
        /// The path.
        path: String,
    },
    /// Removes an empty folder.
    RemoveFolder {
        /// The path.
        path: String,
    },
    /// Removes a file.
    Remove {
        /// The path.
        path: String,
    },
    /// Gives something another name, in this folder or another.
    Rename {
        /// The path.
        path: String,
        /// The other folder.
        to_folder: u32,
        /// The new path, there.
        to: String,
    },
    /// Gives a file a second name, in this folder or another.
    Link {
        /// The path.
        path: String,
        /// The other folder.
        to_folder: u32,
        /// The second path, there.
        to: String,
    },
    /// Makes a symbolic link.
    Symlink {
        /// What it says, which is relative.
        target: String,
        /// The path.
        path: String,
    },
    /// What a symbolic link says, as bytes.
    ReadLink {
        /// The path.
        path: String,
    },
    /// Cuts a file off or fills it up with zeros.
    SetSize {
        /// The path.
        path: String,
        /// The size, in bytes.
        size: u64,
    },
    /// Sets when something was read and written, in nanoseconds since 1970.
    SetTimes {
        /// The path.
        path: String,
        /// When it was read; as it was where nothing is said.
        read: Option<u64>,
        /// When it was written.
        written: Option<u64>,
        /// Whether a symbolic link at its end is followed.
        follow: bool,
    },
    /// Makes what was written survive a loss of power.
    Sync {
        /// The path.
        path: String,
    },
}

/// What is at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileType {
    /// Something else.
    Other,
    /// A folder.
    Folder,
    /// A file.
    Plain,
    /// A symbolic link.
    Symlink,
}

/// The answer to `FolderOp::Stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileStat {
    /// What it is.
    pub kind: FileType,
    /// Its size, in bytes.
    pub size: u64,
    /// How many names it has.
    pub links: u64,
    /// Its number in its file system.
    pub inode: u64,
    /// The number of its file system.
    pub device: u64,
    /// When it was read, written, changed: nanoseconds since 1970.
    pub times: [u64; 3],
}

/// One of the answer to `FolderOp::List`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolderItem {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: FileType,
    /// Its number in its file system.
    pub inode: u64,
}

impl FileType {
    const ALL: [Self; 4] = [Self::Other, Self::Folder, Self::Plain, Self::Symlink];
}

impl Field for FileType {
    fn put(&self, out: &mut Writer) {
        let code: u8 = match self {
            Self::Other => 0,
            Self::Folder => 1,
            Self::Plain => 2,
            Self::Symlink => 3,
        };
        code.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let code = usize::from(u8::get(from)?);
        Self::ALL.get(code).copied().ok_or(StateError::Invalid("type of a file"))
    }
}

impl Field for FileStat {
    fn put(&self, out: &mut Writer) {
        self.kind.put(out);
        (self.size, self.links, self.inode).put(out);
        (self.device, self.times).put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let kind = Field::get(from)?;
        let (size, links, inode) = Field::get(from)?;
        let (device, times) = Field::get(from)?;
        Ok(Self { kind, size, links, inode, device, times })
    }
}

impl Field for FolderItem {
    fn put(&self, out: &mut Writer) {
        (self.name.clone(), self.kind, self.inode).put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (name, kind, inode) = Field::get(from)?;
        Ok(Self { name, kind, inode })
    }
}

impl Field for FolderOp {
    fn put(&self, out: &mut Writer) {
        match self {
            Self::Stat { path, follow } => (0u8, path.clone(), *follow).put(out),
            Self::Read { path, at, count } => {
                (1u8, path.clone(), *at).put(out);
                count.put(out);
            }
            Self::Write { path, at, bytes } => {
                (2u8, path.clone(), *at).put(out);
                bytes.put(out);
            }
            Self::List { path } => (3u8, path.clone()).put(out),
            Self::Create { path, fresh } => (4u8, path.clone(), *fresh).put(out),
            Self::MakeFolder { path } => (5u8, path.clone()).put(out),
            Self::RemoveFolder { path } => (6u8, path.clone()).put(out),
            Self::Remove { path } => (7u8, path.clone()).put(out),
            Self::Rename { path, to_folder, to } => {
                (8u8, path.clone(), *to_folder).put(out);
                to.put(out);
            }
            Self::Link { path, to_folder, to } => {
                (9u8, path.clone(), *to_folder).put(out);
                to.put(out);
            }
            Self::Symlink { target, path } => (10u8, target.clone(), path.clone()).put(out),
            Self::ReadLink { path } => (11u8, path.clone()).put(out),
            Self::SetSize { path, size } => (12u8, path.clone(), *size).put(out),
            Self::SetTimes { path, read, written, follow } => {
                (13u8, path.clone(), *read).put(out);
                (*written, *follow).put(out);
            }
            Self::Sync { path } => (14u8, path.clone()).put(out),
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (code, path): (u8, String) = Field::get(from)?;
        Ok(match code {
            0 => Self::Stat { path, follow: Field::get(from)? },
            1 => Self::Read { path, at: Field::get(from)?, count: Field::get(from)? },
            2 => Self::Write { path, at: Field::get(from)?, bytes: Field::get(from)? },
            3 => Self::List { path },
            4 => Self::Create { path, fresh: Field::get(from)? },
            5 => Self::MakeFolder { path },
            6 => Self::RemoveFolder { path },
            7 => Self::Remove { path },
            8 => Self::Rename { path, to_folder: Field::get(from)?, to: Field::get(from)? },
            9 => Self::Link { path, to_folder: Field::get(from)?, to: Field::get(from)? },
            10 => Self::Symlink { target: path, path: Field::get(from)? },
            11 => Self::ReadLink { path },
            12 => Self::SetSize { path, size: Field::get(from)? },
            13 => Self::SetTimes {
                path,
                read: Field::get(from)?,
                written: Field::get(from)?,
                follow: Field::get(from)?,
            },
            14 => Self::Sync { path },
            _ => return Err(StateError::Invalid("request to a folder")),
        })
    }
}
