//! The kernels as programs: compiled once for each compiler, and kept.

use crate::BenchError;
use omni_base::Digest;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

macro_rules! sources {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../benches/kernels/", $name)))),*]
    };
}

/// All files of the suite: a program that is installed brings them along.
const SOURCES: &[(&str, &str)] = sources!(
    "kernels.h" "main.c" "integer.c" "memory.c" "real.c" "dispatch.c" "cold.c" "linux.c"
    "bare.c" "runtime.c" "start.S" "bare.ld"
);

/// The files that every program has.
const KERNEL_FILES: &[&str] =
    &["main.c", "integer.c", "memory.c", "real.c", "dispatch.c", "cold.c"];

/// The same optimiser everywhere; no library calls in place of loops, no fused roundings.
const FLAGS: &[&str] = &[
    "-O2",
    "-std=gnu11",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-math-errno",
    "-ffp-contract=off",
    "-fno-tree-loop-distribute-patterns",
    "-fno-pie",
    "-no-pie",
];

const RISCV_FLAGS: &[&str] =
    &["-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany", "-nostdlib", "-static"];

const RISCV_COMPILERS: &[&str] = &["riscv64-linux-gnu-gcc", "riscv64-unknown-linux-gnu-gcc"];

/// A program of the suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    /// For this host.
    Native,
    /// For RISC-V under Linux.
    User,
    /// For a bare RISC-V board.
    Bare,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::User => "user",
            Self::Bare => "bare",
        }
    }

    fn arguments(self) -> Vec<&'static str> {
        let mut all = [FLAGS, KERNEL_FILES].concat();
        match self {
            Self::Native => all.push("linux.c"),
            Self::User => {
                all.extend_from_slice(RISCV_FLAGS);
                all.extend(["runtime.c", "linux.c"]);
            }
            Self::Bare => {
                all.extend_from_slice(RISCV_FLAGS);
                all.extend(["runtime.c", "bare.c", "start.S", "-T", "bare.ld"]);
                all.push("-Wl,--build-id=none");
            }
        }
        all
    }
}

/// The compiled suite.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    /// For this host, where it has a compiler.
    pub(crate) native: Option<PathBuf>,
    /// For RISC-V under Linux.
    pub(crate) user: PathBuf,
    /// For a bare RISC-V board.
    pub(crate) bare: PathBuf,
}

impl Suite {
    /// The programs in this directory, compiled where they are missing.
    pub(crate) fn prepare(cache: &Path) -> Result<Self, BenchError> {
        let cross = Compiler::cross()?;
        let native = Compiler::host().ok();
        let native = native.map(|host| host.program(Target::Native, cache)).transpose()?;
        let user = cross.program(Target::User, cache)?;
        let bare = cross.program(Target::Bare, cache)?;
        Ok(Self { native, user, bare })
    }
}

/// How a file of others is compiled: with a C library, in one piece.
const LISTED_FLAGS: &[&str] = &["-O2", "-static", "-w"];

/// A compiled file of others.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// For this host.
    pub(crate) native: PathBuf,
    /// For RISC-V under Linux.
    pub(crate) guest: PathBuf,
}

impl Listed {
    /// The programs of a C file, compiled where they are missing.
    pub(crate) fn prepare(file: &Path, cache: &Path) -> Result<Self, BenchError> {
        let file = file.canonicalize().map_err(at(file))?;
        let native = Compiler::host()?.listed(&file, cache)?;
        let guest = Compiler::cross()?.listed(&file, cache)?;
        Ok(Self { native, guest })
    }
}

/// A compiler that is installed.
struct Compiler {
    command: PathBuf,
    /// What it says of itself.
    version: Vec<u8>,
}

impl Compiler {
    fn cross() -> Result<Self, BenchError> {
        let found = RISCV_COMPILERS.iter().find_map(|name| Self::find(name.as_ref()));
        found.ok_or(BenchError::NoCompiler)
    }

    fn host() -> Result<Self, BenchError> {
        let named = std::env::var_os("CC").filter(|name| !name.is_empty());
        let names = named.as_deref().into_iter().chain(["cc", "gcc", "clang"].map(OsStr::new));
        { names }.find_map(Self::find).ok_or(BenchError::NoHostCompiler)
    }

    fn find(command: &OsStr) -> Option<Self> {
        let asked = Command::new(command).arg("--version").stdin(Stdio::null()).output();
        let output = asked.ok().filter(|output| output.status.success())?;
        Some(Self { command: command.into(), version: output.stdout })
    }

    fn program(&self, target: Target, cache: &Path) -> Result<PathBuf, BenchError> {
        let arguments = target.arguments();
        let parts = SOURCES.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]);
        let parts = parts.chain(arguments.iter().map(|argument| argument.as_bytes()));
        let folder = cache.join(Digest::of_parts(parts.chain([&self.version[..]])).short());
        let program = folder.join(target.name());
        if !program.is_file() {
            write_sources(&folder)?;
            let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
            self.compile(&folder, &program, &arguments)?;
        }
        Ok(program)
    }

    fn listed(&self, file: &Path, cache: &Path) -> Result<PathBuf, BenchError> {
        let text = fs::read(file).map_err(at(file))?;
        let name = Digest::of_parts([&text[..], &self.version]).short().to_string();
        let program = cache.join(name).join("kernels");
        if !program.is_file() {
            let folder = program.parent().expect("it has one");
            fs::create_dir_all(folder).map_err(at(folder))?;
            let flags = LISTED_FLAGS.iter().map(OsStr::new);
            let arguments: Vec<_> = flags.chain([file.as_os_str(), OsStr::new("-lm")]).collect();
            self.compile(folder, &program, &arguments)?;
        }
        Ok(program)
    }

    fn compile(&self, folder: &Path, to: &Path, with: &[&OsStr]) -> Result<(), BenchError> {
        // Named when it is whole, so that one who measures at the same time sees all or nothing.
        let fresh = to.with_extension(std::process::id().to_string());
        let mut command = Command::new(&self.command);
        command.current_dir(folder).args(with).arg("-o").arg(&fresh).stdin(Stdio::null());
        let name = self.command.display().to_string();
        let output = command.output();
        let output =
            output.map_err(|error| BenchError::Program { program: name.clone(), error })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim_end().lines().rev().take(3).collect::<Vec<_>>();
            let said = said.into_iter().rev().collect::<Vec<_>>().join("; ");
            return Err(BenchError::Compile { compiler: name, said });
        }
        fs::rename(&fresh, to).map_err(at(&fresh))
    }
}

fn write_sources(folder: &Path) -> Result<(), BenchError> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    for (name, text) in SOURCES {
        let path = folder.join(name);
        fs::write(&path, text).map_err(at(&path))?;
    }
    Ok(())
}

/// What the host says, with the file it is about.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> BenchError {
    move |error| BenchError::File { path: path.into(), error }
}
