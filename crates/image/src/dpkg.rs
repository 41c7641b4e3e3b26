//! The records that `dpkg` keeps of what is on a system, as they are when every package has been
//! unpacked and none configured yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::deb::Control;
use crate::deb822::Paragraphs;
use crate::error::ImageError;

/// Folder of the records.
pub(crate) const FOLDER: &str = "var/lib/dpkg";

/// The end of a configuration file's name until its package is configured.
pub(crate) const NEW: &str = ".dpkg-new";

/// The records in the making.
#[derive(Debug, Default)]
pub(crate) struct Records {
    status: String,
    /// Packages that want to hear of changes below a path.
    path_interests: String,
    /// For each trigger by name: packages that want to hear of it.
    named_interests: BTreeMap<String, String>,
    /// What is written for each package, by path below the folder.
    files: BTreeMap<String, (u32, Vec<u8>)>,
}

/// The configuration files of a package.
pub(crate) fn conffiles(control: &Control) -> BTreeSet<String> {
    let text = control.get("conffiles").map(|bytes| String::from_utf8_lossy(bytes));
    let text = text.unwrap_or_default();
    // A word in front of the path means a file that is to go.
    let paths = text.lines().map(str::trim).filter(|line| line.starts_with('/'));
    paths.map(str::to_owned).collect()
}

impl Records {
    /// Notes a package with its control files and the paths of all its files.
    pub(crate) fn add(
        &mut self,
        package: &str,
        control: Control,
        paths: &[String],
    ) -> Result<(), ImageError> {
        let malformed = |reason: &str| ImageError::malformed(format!("package {package}"), reason);
        let text = control.get("control").ok_or_else(|| malformed("it describes nothing"))?;
        let about = Paragraphs::new(&text[..]).next().map_err(|reason| malformed(&reason))?;
        let about = about.ok_or_else(|| malformed("it describes nothing"))?;
        if about.get("Package") != Some(package) {
            return Err(malformed("it says it is another one"));
        }
        let shared = about.get("Multi-Arch") == Some("same");
        let arch = about.get("Architecture").unwrap_or_default();
        let id = if shared { format!("{package}:{arch}") } else { package.to_owned() };
        let text = String::from_utf8_lossy(text);
        self.status += text.trim_end();
        self.status += "\nStatus: install ok unpacked\n";
        let conffiles = conffiles(&control);
        if !conffiles.is_empty() {
            self.status += "Conffiles:\n";
            conffiles.iter().for_each(|path| self.status += &format!(" {path} newconffile\n"));
        }
        self.status += "\n";
        if let Some(triggers) = control.get("triggers") {
            self.add_triggers(&id, &String::from_utf8_lossy(triggers));
        }
        let mut list = "/.\n".to_owned();
        paths.iter().for_each(|path| list += &format!("/{path}\n"));
        self.files.insert(format!("info/{id}.list"), (0o644, list.into_bytes()));
        for (name, bytes) in control {
            if name == "control" {
                continue;
            }
            let script = ["preinst", "postinst", "prerm", "postrm", "config"].contains(&&name[..]);
            let mode = if script { 0o755 } else { 0o644 };
            self.files.insert(format!("info/{id}.{name}"), (mode, bytes));
        }
        Ok(())
    }

    /// Notes what a package wants to hear of.
    fn add_triggers(&mut self, id: &str, text: &str) {
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(verb), Some(trigger)) = (words.next(), words.next()) else { continue };
            let who = match verb {
                "interest" | "interest-await" => id.to_owned(),
                "interest-noawait" => format!("{id}/noawait"),
                _ => continue,
            };
            if trigger.starts_with('/') {
                self.path_interests += &format!("{trigger} {who}\n");
            } else if !trigger.contains('/') {
                *self.named_interests.entry(trigger.to_owned()).or_default() += &format!("{who}\n");
            }
        }
    }

    /// Every file of the records: path below the root, mode and content.
    pub(crate) fn into_files(self) -> impl Iterator<Item = (String, u32, Vec<u8>)> {
        let mut files = self.files;
        let mut add = |path: String, text: String| {
            files.insert(path, (0o644, text.into_bytes()));
        };
        add("status".to_owned(), self.status);
        add("info/format".to_owned(), "1\n".to_owned());
        for name in ["available", "diversions", "statoverride", "triggers/Unincorp"] {
            add(name.to_owned(), String::new());
        }
        add("triggers/File".to_owned(), self.path_interests);
        for (name, text) in self.named_interests {
            add(format!("triggers/{name}"), text);
        }
        let whole = |(path, (mode, bytes))| (format!("{FOLDER}/{path}"), mode, bytes);
        files.into_iter().map(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(files: &[(&str, &str)]) -> Control {
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn text(files: &[(String, u32, Vec<u8>)], path: &str) -> String {
        let found = files.iter().find(|(name, ..)| name == path).expect(path);
        String::from_utf8(found.2.clone()).unwrap()
    }

    #[test]
    fn a_package_is_noted_as_unpacked_with_its_scripts_and_interests() {
        let mut records = Records::default();
        let about = "Package: libx\nArchitecture: riscv64\nMulti-Arch: same\nVersion: 1\n";
        let files = [
            ("control", about),
            ("postinst", "#!/bin/sh\n"),
            ("conffiles", "/etc/x\nremove-on-upgrade /etc/y\n"),
            ("triggers", "# remark\ninterest-noawait /usr/lib/x\ninterest ldconfig\nactivate z\n"),
        ];
        records.add("libx", control(&files), &["etc".to_owned(), "etc/x".to_owned()]).unwrap();
        let files: Vec<_> = records.into_files().collect();
        assert_eq!(
            text(&files, "var/lib/dpkg/status"),
            format!("{about}Status: install ok unpacked\nConffiles:\n /etc/x newconffile\n\n")
        );
        assert_eq!(text(&files, "var/lib/dpkg/info/libx:riscv64.list"), "/.\n/etc\n/etc/x\n");
        assert_eq!(text(&files, "var/lib/dpkg/triggers/File"), "/usr/lib/x libx:riscv64/noawait\n");
        assert_eq!(text(&files, "var/lib/dpkg/triggers/ldconfig"), "libx:riscv64\n");
        let script = |(path, mode, _): &&(String, u32, Vec<u8>)| {
            path.ends_with("libx:riscv64.postinst") && *mode == 0o755
        };
        assert_eq!(files.iter().filter(script).count(), 1);
    }

    #[test]
    fn a_package_that_says_it_is_another_one_is_refused() {
        let mut records = Records::default();
        assert!(records.add("a", control(&[("control", "Package: b\n")]), &[]).is_err());
        assert!(records.add("a", control(&[]), &[]).is_err());
    }
}
