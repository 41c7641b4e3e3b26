//! Why something could not be measured.

use omni_machine::CreateError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// There is no compiler for the guest.
    #[error(
        "no compiler for RISC-V is installed, so there is nothing to run: \
         apt install gcc-riscv64-linux-gnu"
    )]
    NoCompiler,
    /// There is no compiler for this host.
    #[error("no C compiler is installed: apt install gcc libc6-dev")]
    NoHostCompiler,
    /// A compiler refused the kernels.
    #[error("{compiler} does not compile the kernels: {said}")]
    Compile {
        /// Which one.
        compiler: String,
        /// The last of what it said.
        said: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the host says.
        error: io::Error,
    },
    /// A program cannot be started or spoken to.
    #[error("{program}: {error}")]
    Program {
        /// Which one.
        program: String,
        /// What the host says.
        error: io::Error,
    },
    /// A program ended before its answer.
    #[error("{who} ended early; the last it said was: {said}")]
    Ended {
        /// Which one.
        who: &'static str,
        /// The last of its output.
        said: String,
    },
    /// An answer takes too long.
    #[error("{who} has not answered within {} s; the last it said was: {said}", limit.as_secs())]
    Slow {
        /// Which one.
        who: &'static str,
        /// How long was waited.
        limit: Duration,
        /// The last of its output.
        said: String,
    },
    /// An answer that makes no sense.
    #[error("{who} answered what nobody understands: {said}")]
    Garbled {
        /// Which one.
        who: &'static str,
        /// The answer.
        said: String,
    },
    /// The host does not say how much CPU time a process took.
    #[error("this host does not say how much CPU time a process has had (/proc/PID/schedstat)")]
    NoCpuTime,
    /// Nothing that is measured has this name.
    #[error("there is nothing named '{name}'; there are {known}")]
    NoCase {
        /// The name that was asked for.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// A program of a measurement failed.
    #[error("{who}: {case} failed: {said}")]
    Failed {
        /// Where.
        who: &'static str,
        /// What was run.
        case: String,
        /// What it said.
        said: String,
    },
    /// A peer cannot be given such a board.
    #[error("{who} has no such board")]
    NoSuchBoard {
        /// Which one.
        who: &'static str,
    },
    /// A file is no kernel that can be loaded with a disk behind it.
    #[error("{}: no kernel image for RISC-V", path.display())]
    NoKernelImage {
        /// Which one.
        path: PathBuf,
    },
    /// A machine is to be made of what nobody understands.
    #[error("'{word}' is neither OPTION=VALUE nor ROLE@FILE")]
    Word {
        /// The word.
        word: String,
    },
    /// Nothing could be had from the archive.
    #[error(transparent)]
    Image(#[from] omni_image::ImageError),
    /// A disk cannot be opened.
    #[error(transparent)]
    Disk(#[from] omni_host::DiskError),
    /// The machine could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
}
