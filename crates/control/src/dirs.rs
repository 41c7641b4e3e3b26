//! Where things are: state, cache, configuration and sockets.

use crate::ControlError;
use omni_host::{private_dir, uid};
use std::env::VarError;
use std::path::{Path, PathBuf};

/// A socket's path, in bytes, as the kernel takes it.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// The directories of this user. `OMNI_HOME` overrides all of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dirs {
    /// Machines, images.
    pub state: PathBuf,
    /// Downloads.
    pub cache: PathBuf,
    /// `config.toml`.
    pub config: PathBuf,
    /// Sockets.
    pub run: PathBuf,
}

impl Dirs {
    /// The directories by the environment.
    ///
    /// # Errors
    /// Where nothing says where home is.
    pub fn from_env(var: impl Fn(&str) -> Result<String, VarError>) -> Result<Self, ControlError> {
        // An empty or relative value counts as none, as the XDG specification says.
        let path = |name: &str| var(name).ok().map(PathBuf::from).filter(|path| path.is_absolute());
        if let Ok(home) = var("OMNI_HOME").map(PathBuf::from).and_then(|home| {
            if home.as_os_str().is_empty() { Err(VarError::NotPresent) } else { Ok(home) }
        }) {
            let home = std::path::absolute(&home).map_err(ControlError::io(&home))?;
            return Ok(Self {
                state: home.join("state"),
                cache: home.join("cache"),
                config: home.join("config"),
                run: home.join("run"),
            });
        }
        let under = |name: &str, rest: &str| {
            let base = path(name).or_else(|| Some(path("HOME")?.join(rest)));
            base.map(|base| base.join("omnivisor")).ok_or(ControlError::NoHome)
        };
        let run = path("XDG_RUNTIME_DIR").map(|base| base.join("omnivisor"));
        Ok(Self {
            state: under("XDG_STATE_HOME", ".local/state")?,
            cache: under("XDG_CACHE_HOME", ".cache")?,
            config: under("XDG_CONFIG_HOME", ".config")?,
            run: run.unwrap_or_else(fallback_run),
        })
    }

    /// The folder of images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    /// The folder of snapshots.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.state.join("store")
    }

    /// The folder of the snapshots of a switch.
    #[must_use]
    pub fn group(&self, switch: &str) -> PathBuf {
        self.state.join("groups").join(switch)
    }

    /// The folder of machines.
    #[must_use]
    pub fn machines(&self) -> PathBuf {
        self.state.join("machines")
    }

    /// The folder for files that guests save, by what they run: one guest's program reaches no
    /// other's files, and none of its user's.
    #[must_use]
    pub fn files(&self, program: &str) -> PathBuf {
        self.state.join("files").join(program)
    }

    /// The folder of a switch: the sockets of its members.
    #[must_use]
    pub fn switch(&self, name: &str) -> PathBuf {
        self.run.join("switches").join(name)
    }

    /// The socket of a machine's monitor. Its directory exists and is closed to others.
    ///
    /// # Errors
    /// Where the directory cannot be made or belongs to someone else.
    pub fn socket(&self, id: &str) -> Result<PathBuf, ControlError> {
        let fits = |dir: &Path| dir.as_os_str().len() + id.len() + 6 <= SOCKET_PATH_BYTES_MAX;
        let dir = if fits(&self.run) { self.run.clone() } else { fallback_run() };
        private_dir(&dir).map_err(ControlError::io(&dir))?;
        Ok(dir.join(format!("{id}.sock")))
    }
}

fn fallback_run() -> PathBuf {
    PathBuf::from(format!("/tmp/omnivisor-{}", uid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(vars: &[(&str, &str)]) -> Result<Dirs, ControlError> {
        Dirs::from_env(|name| {
            let found = vars.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
        })
    }

    #[test]
    fn one_variable_overrides_all() {
        let got = dirs(&[("OMNI_HOME", "/o"), ("XDG_STATE_HOME", "/s")]).expect("a home");
        assert_eq!(got.state, Path::new("/o/state"));
        assert_eq!(got.run, Path::new("/o/run"));
    }

    #[test]
    fn the_xdg_variables_come_before_home() {
        let got = dirs(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s"), ("XDG_CACHE_HOME", "no")]);
        let got = got.expect("a home");
        assert_eq!(got.state, Path::new("/s/omnivisor"));
        assert_eq!(got.cache, Path::new("/h/.cache/omnivisor"));
        assert_eq!(got.run, fallback_run());
        assert!(dirs(&[]).is_err());
    }
}
