//! A program, and what an instance of it is given.

use crate::instance::Instance;
use crate::{Error, KINDS};
use omni_host::Folders;
use omni_lifecycle::kind_of;
use omni_machine::{Blob, Spec};
use std::path::{Path, PathBuf};

/// A WebAssembly module in its binary form or as text. Its instances share what was parsed,
/// validated and compiled of it.
#[derive(Clone, Debug)]
pub struct Program {
    image: Blob,
    library: Option<Blob>,
}

impl Program {
    /// The program of a module. It is looked at when an instance starts.
    pub fn new(module: impl AsRef<[u8]>) -> Self {
        Self { image: module.as_ref().into(), library: None }
    }

    /// The same program with a library: a module whose exports it imports by the name `library`.
    #[must_use]
    pub fn with_library(self, module: impl AsRef<[u8]>) -> Self {
        Self { library: Some(module.as_ref().into()), ..self }
    }

    /// What an instance of it is to be given; nothing so far.
    #[must_use]
    pub fn instance(&self) -> Options {
        let mut spec = Spec::new("wasm");
        spec.files.insert("image".into(), self.image.clone());
        if let Some(library) = &self.library {
            spec.files.insert("library".into(), library.clone());
        }
        Options {
            spec,
            arguments: vec!["program".into()],
            environment: Vec::new(),
            names: Vec::new(),
            folders: Vec::new(),
        }
    }
}

/// What an instance of a program is given.
///
/// ```
/// # use omnivisor::{Program, Status};
/// # let program = Program::new("(module (func (export \"_start\") (loop (br 0))))");
/// // Two programs with the same options do the same, instruction for instruction.
/// let mut instance = program.instance().fuel(1_000_000).memory(64 << 20).seed(7).start()?;
/// assert_eq!(instance.run(u64::MAX)?, Status::Ended(134));
/// assert_eq!(instance.ticks(), 1_000_000);
/// assert!(String::from_utf8_lossy(&instance.errors()).contains("fuel"));
/// # Ok::<(), omnivisor::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    spec: Spec,
    arguments: Vec<String>,
    environment: Vec<String>,
    names: Vec<String>,
    folders: Vec<PathBuf>,
}

impl Options {
    /// Arguments of the program, behind its name.
    #[must_use]
    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// A folder of the host that it may use, and its name for it.
    #[must_use]
    pub fn folder(mut self, host: &Path, guest: &str) -> Self {
        self.folders.push(host.into());
        self.names.push(guest.into());
        self
    }

    /// Instructions after which it is ended, as by a trap.
    #[must_use]
    pub fn fuel(self, instructions: u64) -> Self {
        self.option("fuel", instructions.to_string())
    }

    /// Bytes that its memories may have together.
    #[must_use]
    pub fn memory(self, bytes: u64) -> Self {
        self.option("memory", bytes.to_string())
    }

    /// The seed of what it draws by chance.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.spec.seed = seed;
        self
    }

    /// Its wall clock at its start: seconds since 1970.
    #[must_use]
    pub fn epoch(mut self, seconds: u64) -> Self {
        self.spec.epoch_s = seconds;
        self
    }

    /// An exported function to call instead of `_start`, with its arguments as text. Its results
    /// are the output, one a line.
    #[must_use]
    pub fn call(mut self, export: &str, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self.option("invoke", export.to_owned())
    }

    /// Makes the instance. It has not run yet.
    ///
    /// # Errors
    /// Where the module is not sound, imports what is not there, or asks for more memory than it
    /// may have; where a folder cannot be opened.
    pub fn start(mut self) -> Result<Instance, Error> {
        let lists = [
            ("argv", std::mem::take(&mut self.arguments)),
            ("env", std::mem::take(&mut self.environment)),
            ("folders", std::mem::take(&mut self.names)),
        ];
        for (name, list) in lists {
            if let Some(wrong) = list.iter().find(|text| text.contains('\0')) {
                return Err(Error::Zero(wrong.clone()));
            }
            if !list.is_empty() {
                self.spec.options.insert(name.into(), list.join("\0"));
            }
        }
        let folders = Folders::open(&self.folders);
        let folders = folders.map_err(|(path, error)| Error::Folder { path, error })?;
        let machine = kind_of(KINDS, &self.spec.kind)?.create(&self.spec)?;
        Instance::new(machine, folders)
    }

    fn option(mut self, name: &str, value: String) -> Self {
        self.spec.options.insert(name.into(), value);
        self
    }
}
