//! Dependency direction: a crate depends on lower layers only, so the core never learns of kinds.

/// The layers, lowest first. A crate in none of them is an error.
const LAYERS: &[&[&str]] = &[
    &["omni-base"],
    &[
        "omni-state",
        "omni-memory",
        "omni-ir",
        "omni-decode",
        "omni-softfloat",
        "omni-disk",
        "omni-iff",
    ],
    &["omni-tier-*"],
    &["omni-machine", "omni-engine", "omni-store", "omni-filesystem"],
    &[
        "omni-devices",
        "omni-host",
        "omni-net",
        "omni-image",
        "omni-runtimes",
        "omni-lifecycle",
        "omni-guest-*",
        "omni-vm-*",
    ],
    &["omni-board-*"],
    &["omni-kinds"],
    &[
        "omni-conformance",
        "omni-control",
        "omni-bench",
        "omni-recording",
        "omni-debug",
        "omnivisor",
    ],
    &["omni"],
];

/// What a higher layer must not see all the same: kinds and what is done to them meet at
/// `omni-machine` only.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("omni-board-*", &["omni-host", "omni-net", "omni-image", "omni-lifecycle"]),
    ("omni-kinds", &["omni-host", "omni-net", "omni-image", "omni-lifecycle"]),
    ("omni-control", &["omni-guest-*", "omni-vm-*", "omni-board-*"]),
    ("omni-recording", &["omni-guest-*", "omni-vm-*", "omni-board-*"]),
    ("omni-debug", &["omni-guest-*", "omni-vm-*", "omni-board-*"]),
    ("omni-conformance", &["omni-guest-*", "omni-vm-*", "omni-board-*"]),
];

/// The crates that may have unsafe code, and so do not inherit the lint that forbids it.
pub(crate) const UNSAFE: &[&str] = &["crates/memory/", "crates/engine/", "crates/host/"];

pub(crate) fn check(path: &str, manifest: &str, findings: &mut Vec<String>) {
    let Some(name) = value(manifest, "name") else { return };
    if !manifest.contains("[lints]\nworkspace = true")
        && !UNSAFE.iter().any(|home| path.starts_with(home))
    {
        findings.push(format!("{path}: {name} does not inherit the lints of the workspace"));
    }
    for (at, line) in manifest.lines().enumerate() {
        let fixed = line.contains("version = \"") || line.contains("path = \"");
        if fixed && !line.starts_with('#') && path != "Cargo.toml" {
            let at = at + 1;
            findings.push(format!("{path}:{at}: versions and paths stand in the workspace's list"));
        }
    }
    if name == "xtask" {
        return;
    }
    let Some(own) = layer(name) else {
        findings.push(format!("{path}: {name} is in no layer; add it to xtask/src/layers.rs"));
        return;
    };
    for (at, dependency) in dependencies(manifest) {
        if dependency != "omni" && !dependency.starts_with("omni-") {
            continue;
        }
        let down = layer(dependency).is_some_and(|below| below < own);
        let mut rules = FORBIDDEN.iter().filter(|(of, _)| fits(of, name));
        let forbidden = rules.any(|(_, list)| list.iter().any(|no| fits(no, dependency)));
        if !down || forbidden {
            findings.push(format!("{path}:{at}: {name} must not depend on {dependency}"));
        }
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.iter().any(|pattern| fits(pattern, name)))
}

fn value<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    let line =
        manifest.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='))?;
    Some(line.trim().trim_matches('"'))
}

fn dependencies(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    manifest.lines().enumerate().filter_map(move |(at, line)| {
        if line.starts_with('[') {
            // Tests may look down from anywhere, so dev-dependencies are not checked.
            inside = line == "[dependencies]" || line == "[build-dependencies]";
            return None;
        }
        let name = line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty())?;
        inside.then_some((at + 1, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    #[track_caller]
    fn findings(name: &str, dependency: &str) -> usize {
        let manifest = format!(
            "[package]\nname = \"{name}\"\n[dependencies]\n{dependency}.workspace = true\n{LINTS}"
        );
        let mut findings = vec![];
        check("Cargo.toml", &manifest, &mut findings);
        findings.len()
    }

    #[test]
    fn down_is_allowed_up_and_sideways_are_not() {
        assert_eq!(findings("omni-machine", "omni-state"), 0);
        assert_eq!(findings("omni-machine", "thiserror"), 0);
        assert_eq!(findings("omni-state", "omni-machine"), 1);
        assert_eq!(findings("omni-lifecycle", "omni-guest-riscv"), 1);
        assert_eq!(findings("omni-guest-riscv", "omni-lifecycle"), 1);
        assert_eq!(findings("omni-guest-riscv", "omni-devices"), 1);
        assert_eq!(findings("omni-guest-riscv", "omni-vm-lua"), 1);
        assert_eq!(findings("omni-stray", "omni-base"), 1);
        assert_eq!(findings("omni-base", "omni"), 1);
    }

    #[test]
    fn kinds_and_the_lifecycle_meet_at_the_contract_only() {
        assert_eq!(findings("omni-board-virt", "omni-devices"), 0);
        assert_eq!(findings("omni-board-virt", "omni-lifecycle"), 1);
        assert_eq!(findings("omni-kinds", "omni-board-virt"), 0);
        assert_eq!(findings("omni-kinds", "omni-host"), 1);
        assert_eq!(findings("omni-conformance", "omni-vm-zmachine"), 1);
        assert_eq!(findings("omni-control", "omni-lifecycle"), 0);
    }

    #[test]
    fn a_manifest_inherits_lints_and_versions() {
        let mut findings = vec![];
        let manifest = "[package]\nname = \"omni-base\"\n[dependencies]\na = \"1\"\n";
        check("crates/base/Cargo.toml", manifest, &mut findings);
        assert_eq!(findings.len(), 1, "{findings:?}");
        let manifest = format!(
            "[package]\nname = \"omni-base\"\n[dependencies]\na = {{ version = \"1\" }}\n{LINTS}"
        );
        check("crates/base/Cargo.toml", &manifest, &mut findings);
        assert_eq!(findings.len(), 2, "{findings:?}");
    }
}
