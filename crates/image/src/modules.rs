//! Kernel modules: which ones an image carries, what they need, and the tables `modprobe` reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use object::{Object, ObjectSection};

use crate::deb::{Content, Member, decompressed, fits, read_bounded};
use crate::error::ImageError;

/// The modules that make a machine's devices and usual file systems work. Those that a kernel
/// has built in, or does not have, are passed over.
const WANTED: [&str; 13] = [
    "virtio_mmio",
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "virtio_console",
    "virtio_balloon",
    "ext4",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_utf8",
    "overlay",
];

/// What those are known to need. Only speed depends on this list: whatever else a module names as
/// its need is fetched by another pass over the package.
const KNOWN_NEEDS: [&str; 9] = [
    "net_failover",
    "failover",
    "jbd2",
    "mbcache",
    "crc16",
    "crc32c_generic",
    "libcrc32c",
    "fat",
    "virtio_ring",
];

/// A module, unpacked; the largest of them are several megabytes.
const MODULE_BYTES_MAX: u64 = 64 << 20;

/// Chains of needs are short; a longer one is a circle.
const PASSES_MAX: usize = 8;

/// A module that goes into the image.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// Path below the modules' folder, ending in `.ko`.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
    needs: Vec<String>,
    aliases: Vec<String>,
}

/// Gives the files of a package whose path is wanted.
pub(crate) type Extract<'e> =
    dyn FnMut(&dyn Fn(&str) -> bool) -> Result<Vec<Member>, ImageError> + 'e;

/// The modules of one kernel that go into an image, by name.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    found: BTreeMap<String, Module>,
}

/// The name of the module in a file, as `virtio_rng` in `kernel/drivers/virtio-rng.ko.xz`.
fn name_of(path: &str) -> Option<String> {
    let (stem, _) = path.rsplit('/').next()?.split_once(".ko")?;
    Some(stem.replace('-', "_"))
}

impl Modules {
    /// The names to look for in the first pass over a kernel's package.
    fn first_names() -> BTreeSet<String> {
        WANTED.iter().chain(&KNOWN_NEEDS).map(|&name| name.to_owned()).collect()
    }

    /// Takes the modules out of a kernel's package, whose files `extract` gives by path, together
    /// with the other files there that fit one of the patterns.
    pub(crate) fn collect(
        folder: &str,
        others: &[&str],
        extract: &mut Extract<'_>,
    ) -> Result<(Self, Vec<Member>), ImageError> {
        let mut modules = Self::default();
        let mut rest = Vec::new();
        let mut names = Self::first_names();
        for pass in 0..PASSES_MAX {
            let is_module = |path: &str| {
                path.starts_with(folder) && name_of(path).is_some_and(|name| names.contains(&name))
            };
            let wanted = |path: &str| {
                is_module(path) || (pass == 0 && others.iter().any(|other| fits(other, path)))
            };
            for member in extract(&wanted)? {
                if is_module(&member.path) {
                    modules.add(folder, member)?;
                } else {
                    rest.push(member);
                }
            }
            let missing = modules.missing(&names);
            if missing.is_empty() {
                modules.drop_unneeded();
                return Ok((modules, rest));
            }
            names = missing;
        }
        Err(ImageError::malformed(folder, "its modules need ever more modules"))
    }

    /// Unpacks and reads one module.
    fn add(&mut self, folder: &str, member: Member) -> Result<(), ImageError> {
        let malformed = |reason: String| ImageError::malformed(&member.path, reason);
        let Content::File { bytes, .. } = &member.content else { return Ok(()) };
        let plain = decompressed(&member.path, &bytes[..])
            .and_then(|reader| read_bounded(reader, MODULE_BYTES_MAX))
            .map_err(|e| malformed(e.to_string()))?;
        let name = name_of(&member.path).ok_or_else(|| malformed("no module".to_owned()))?;
        let inner = member.path.strip_prefix(folder).unwrap_or(&member.path);
        let (stem, _) =
            inner.rsplit_once(".ko").ok_or_else(|| malformed("no module".to_owned()))?;
        let path = format!("{}.ko", stem.trim_start_matches('/'));
        let (needs, aliases) = read_info(&plain).map_err(malformed)?;
        self.found.insert(name, Module { path, bytes: plain, needs, aliases });
        Ok(())
    }

    /// What the modules need and is neither here nor has been looked for in vain.
    fn missing(&self, sought: &BTreeSet<String>) -> BTreeSet<String> {
        let needs = self.found.values().flat_map(|module| module.needs.iter());
        let absent = needs.filter(|need| !self.found.contains_key(*need));
        absent.filter(|need| !sought.contains(*need)).cloned().collect()
    }

    /// Drops what was taken on a guess and no wanted module needs.
    fn drop_unneeded(&mut self) {
        let mut needed = BTreeSet::new();
        // The kernel asks for the checksum of ext4 by alias, which no module's needs name.
        for name in WANTED.iter().chain(&["crc32c_generic"]) {
            self.load_order(name, &mut Vec::new(), &mut needed);
        }
        self.found.retain(|name, _| needed.contains(name));
    }

    /// Appends what a module needs, then itself, each once.
    fn load_order(&self, name: &str, order: &mut Vec<String>, seen: &mut BTreeSet<String>) {
        let Some(module) = self.found.get(name) else { return };
        if !seen.insert(name.to_owned()) {
            return;
        }
        for need in &module.needs {
            self.load_order(need, order, seen);
        }
        order.push(module.path.clone());
    }

    /// Only these and what they need.
    pub(crate) fn only(&self, names: &[&str]) -> Self {
        let mut needed = BTreeSet::new();
        for name in names {
            self.load_order(name, &mut Vec::new(), &mut needed);
        }
        let chosen = self.found.iter().filter(|(name, _)| needed.contains(*name));
        Self { found: chosen.map(|(name, module)| (name.clone(), module.clone())).collect() }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Module> {
        self.found.values()
    }

    /// The table of needs, `modules.dep`: what a module needs, in the reverse order of loading.
    pub(crate) fn dep_table(&self) -> String {
        let mut table = String::new();
        for (name, module) in &self.found {
            let mut order = Vec::new();
            self.load_order(name, &mut order, &mut BTreeSet::new());
            order.pop();
            table.push_str(&module.path);
            table.push(':');
            for need in order.iter().rev() {
                table.push(' ');
                table.push_str(need);
            }
            table.push('\n');
        }
        table
    }

    /// The table of other names, `modules.alias`.
    pub(crate) fn alias_table(&self) -> String {
        let mut table = String::new();
        for (name, module) in &self.found {
            for alias in &module.aliases {
                writeln!(table, "alias {alias} {name}")
                    .expect("a string takes all that is written");
            }
        }
        table
    }
}

/// What a module says about itself: what it needs, and the other names it goes by.
pub(crate) fn read_info(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), String> {
    let file = object::File::parse(bytes).map_err(|e| e.to_string())?;
    let section = file.section_by_name(".modinfo").ok_or("it has no .modinfo")?;
    let info = section.data().map_err(|e| e.to_string())?;
    let mut needs = Vec::new();
    let mut aliases = Vec::new();
    for entry in info.split(|&byte| byte == 0) {
        // Names are plain text; whatever is not, such as an author's name, is not of interest.
        let Ok(entry) = std::str::from_utf8(entry) else { continue };
        if let Some(list) = entry.strip_prefix("depends=") {
            let names = list.split(',').filter(|name| !name.is_empty());
            needs.extend(names.map(|name| name.replace('-', "_")));
        } else if let Some(alias) = entry.strip_prefix("alias=")
            && !alias.contains(char::is_whitespace)
        {
            aliases.push(alias.to_owned());
        }
    }
    Ok((needs, aliases))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(list: &[(&str, &[&str])]) -> Modules {
        let mut modules = Modules::default();
        for (name, needs) in list {
            let needs = needs.iter().map(|&need| need.to_owned()).collect();
            let module = Module {
                path: format!("kernel/{name}.ko"),
                bytes: Vec::new(),
                needs,
                aliases: vec![format!("x:{name}*")],
            };
            modules.found.insert((*name).to_owned(), module);
        }
        modules
    }

    #[test]
    fn needs_are_listed_in_the_reverse_order_of_loading() {
        let modules = modules(&[
            ("virtio_net", &["net_failover"]),
            ("net_failover", &["failover"]),
            ("failover", &[]),
        ]);
        assert!(
            modules
                .dep_table()
                .contains("kernel/virtio_net.ko: kernel/net_failover.ko kernel/failover.ko\n")
        );
        assert!(modules.alias_table().contains("alias x:failover* failover\n"));
    }

    #[test]
    fn a_choice_takes_along_what_it_needs() {
        let all = modules(&[("a", &["b"]), ("b", &[]), ("c", &["a"])]);
        let names = |modules: &Modules| modules.found.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&all.only(&["a", "absent"])), ["a", "b"]);
    }

    #[test]
    fn modules_that_need_each_other_do_not_hang() {
        let modules = modules(&[("a", &["b"]), ("b", &["a"])]);
        assert_eq!(modules.dep_table().lines().count(), 2);
    }

    #[test]
    fn names_follow_files() {
        assert_eq!(name_of("a/b/virtio-rng.ko.xz").as_deref(), Some("virtio_rng"));
        assert_eq!(name_of("a/modules.order"), None);
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        assert!(read_info(b"").is_err());
        assert!(read_info(b"\x7fELF").is_err());
    }
}
