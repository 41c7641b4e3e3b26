//! Exceptions to the limits on length, which may only shrink: `xtask/ratchet.txt`.

use std::collections::BTreeMap;

/// The exceptions, and which of them were needed.
pub(crate) struct Ratchet {
    /// Size and whether it was needed, by what is too long.
    entries: BTreeMap<String, (usize, bool)>,
    broken: Vec<String>,
}

impl Ratchet {
    /// Reads lines of `PATH SIZE` and `PATH::FUNCTION SIZE`.
    pub(crate) fn new(list: &str) -> Self {
        let mut ratchet = Self { entries: BTreeMap::new(), broken: Vec::new() };
        for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.rsplit_once(' ').map(|(what, size)| (what, size.parse())) {
                Some((what, Ok(size))) => drop(ratchet.entries.insert(what.into(), (size, false))),
                _ => ratchet.broken.push(line.to_owned()),
            }
        }
        ratchet
    }

    /// Whether something of this size is within the limit, or as long as its exception says.
    pub(crate) fn allows(&mut self, what: &str, size: usize, limit: usize) -> Result<(), String> {
        let Some((listed, needed)) = self.entries.get_mut(what) else {
            return if size <= limit { Ok(()) } else { Err(format!("{size} lines, over {limit}")) };
        };
        *needed = true;
        match size {
            _ if size <= limit => Err(format!("{size} lines: take it out of the ratchet")),
            _ if size == *listed => Ok(()),
            _ if size < *listed => Err(format!("{size} lines: lower its ratchet to that")),
            _ => Err(format!("{size} lines, over the {listed} of its ratchet")),
        }
    }

    /// Reports exceptions of what is not there any more.
    pub(crate) fn finish(self, findings: &mut Vec<String>) {
        for line in self.broken {
            findings.push(format!("xtask/ratchet.txt: not `PATH SIZE`: {line}"));
        }
        for (what, _) in self.entries.iter().filter(|(_, (_, needed))| !needed) {
            findings.push(format!("xtask/ratchet.txt: {what} is not there any more"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_may_only_shrink() {
        let allows = |size| Ratchet::new("# exceptions\na.rs::b 90\n").allows("a.rs::b", size, 70);
        assert_eq!(allows(90), Ok(()));
        assert!(allows(91).is_err_and(|why| why.contains("over the 90")));
        assert!(allows(89).is_err_and(|why| why.contains("lower")));
        assert!(allows(70).is_err_and(|why| why.contains("out of the ratchet")));
        assert!(Ratchet::new("").allows("a.rs::b", 71, 70).is_err());
        assert_eq!(Ratchet::new("").allows("a.rs::b", 70, 70), Ok(()));
        let mut findings = Vec::new();
        Ratchet::new("gone.rs 900\nnonsense\n").finish(&mut findings);
        assert_eq!(findings.len(), 2);
    }
}
