//! Which packages a system consists of: what it must have, what was asked for, and all that these
//! depend on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::ImageError;
use crate::packages::{Index, Package, Rank};
use crate::relation::{Target, clauses, provided};

/// The packages of a system: those that every system must have, those named, and what all of them
/// need, by name.
///
/// # Errors
/// [`ImageError::Unsatisfied`] where a need cannot be met, [`ImageError::Conflict`] where two do
/// not go together. The names must be in the index.
pub(crate) fn closure<'i>(
    index: &'i Index,
    names: &[String],
) -> Result<Vec<&'i Package>, ImageError> {
    let required = index.iter().filter(|package| package.rank == Rank::Required);
    let named = names.iter().filter_map(|name| index.get(name));
    // Named ones first: where they are among alternatives, they are the choice.
    let wanted: VecDeque<&Package> = named.chain(required).collect();
    let mut choice = Choice {
        index,
        preferred: wanted.iter().map(|package| &package.name[..]).collect(),
        chosen: BTreeMap::new(),
        queue: wanted,
    };
    while let Some(package) = choice.queue.pop_front() {
        if choice.chosen.insert(&package.name, package).is_some() {
            continue;
        }
        for clause in clauses(&package.depends) {
            choice.meet(package, &clause)?;
        }
    }
    choice.check()?;
    Ok(choice.chosen.into_values().collect())
}

/// A set of packages in the making.
struct Choice<'i> {
    index: &'i Index,
    /// Those that will be chosen in any case.
    preferred: BTreeSet<&'i str>,
    chosen: BTreeMap<&'i str, &'i Package>,
    queue: VecDeque<&'i Package>,
}

impl<'i> Choice<'i> {
    /// Sees to it that one of some alternatives is there.
    fn meet(&mut self, who: &Package, clause: &[Target<'_>]) -> Result<(), ImageError> {
        let index = self.index;
        let candidates = || clause.iter().flat_map(|target| candidates(index, target));
        let there = |package: &&Package| {
            let name = &package.name[..];
            self.chosen.contains_key(name) || self.preferred.contains(name)
        };
        if candidates().any(|package| there(&package)) {
            return Ok(());
        }
        let Some(package) = candidates().next() else {
            let needs: Vec<_> = clause.iter().map(|target| target.name).collect();
            return Err(ImageError::Unsatisfied {
                package: who.name.clone(),
                needs: needs.join(" or "),
            });
        };
        self.preferred.insert(&package.name);
        self.queue.push_back(package);
        Ok(())
    }

    /// Sees to it that no two of the chosen ones exclude each other.
    fn check(&self) -> Result<(), ImageError> {
        for package in self.chosen.values() {
            for target in clauses(&package.conflicts).flatten() {
                let clash = |other: &&Package| {
                    other.name != package.name && self.chosen.contains_key(&other.name[..])
                };
                if let Some(other) = candidates(self.index, &target).find(clash) {
                    return Err(ImageError::Conflict {
                        one: package.name.clone(),
                        other: other.name.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The packages that can stand for a name: its own first, then those that provide it, the more
/// needed ones first.
fn candidates<'i>(index: &'i Index, target: &Target<'_>) -> impl Iterator<Item = &'i Package> {
    let own = index.get(target.name).filter(|package| target.takes(&package.version));
    let provides = |package: &&Package| {
        let mut names = provided(&package.provides);
        names.any(|(name, version)| name == target.name && target.takes_provided(version))
    };
    let mut providers: Vec<_> = index.providers(target.name).filter(provides).collect();
    providers.sort_by(|a, b| (a.rank, &a.name).cmp(&(b.rank, &b.name)));
    own.into_iter().chain(providers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[(&str, &str)]) -> Index {
        let entry = |(name, rest): &(&str, &str)| {
            let hash = "0".repeat(64);
            let head = format!("Package: {name}\nFilename: p/{name}.deb\nSize: 1\nSHA256: {hash}");
            let version = if rest.contains("Version:") { "" } else { "Version: 1\n" };
            format!("{head}\n{version}{rest}\n\n")
        };
        Index::of_text(&entries.iter().map(entry).collect::<String>())
    }

    fn names(entries: &[(&str, &str)], asked: &[&str]) -> Result<Vec<String>, ImageError> {
        let index = index(entries);
        let asked: Vec<String> = asked.iter().map(|&name| name.to_owned()).collect();
        Ok(closure(&index, &asked)?.into_iter().map(|package| package.name.clone()).collect())
    }

    #[test]
    fn what_is_required_and_what_is_asked_for_come_with_all_their_needs() {
        let entries = [
            ("a", "Essential: yes\nDepends: b (>= 1)"),
            ("b", "Pre-Depends: a"),
            ("c", "Depends: d | e"),
            ("d", ""),
            ("e", ""),
            ("f", "Priority: required"),
        ];
        assert_eq!(names(&entries, &[]).unwrap(), ["a", "b", "f"]);
        assert_eq!(names(&entries, &["c"]).unwrap(), ["a", "b", "c", "d", "f"]);
        assert_eq!(names(&entries, &["c", "e"]).unwrap(), ["a", "b", "c", "e", "f"]);
    }

    #[test]
    fn a_provided_name_goes_to_who_comes_anyway_and_else_to_the_most_needed() {
        let provides = "Provides: awk";
        let entries = [
            ("base", "Essential: yes\nDepends: awk"),
            ("gawk", provides),
            ("mawk", "Provides: awk\nPriority: required"),
            ("zawk", "Provides: awk\nPriority: standard"),
        ];
        assert_eq!(names(&entries, &[]).unwrap(), ["base", "mawk"]);
        assert_eq!(names(&[entries[0], entries[1], entries[3]], &[]).unwrap(), ["base", "zawk"]);
    }

    #[test]
    fn an_alternative_of_the_wrong_version_is_passed_over() {
        let entries = [("a", "Depends: b (>= 2) | c"), ("b", "Version: 1"), ("c", "")];
        assert_eq!(names(&entries, &["a"]).unwrap(), ["a", "c"]);
        let error = names(&entries[..2], &["a"]).unwrap_err();
        assert_eq!(error.to_string(), "package a needs b or c, which this suite does not have");
    }

    #[test]
    fn packages_that_exclude_each_other_are_named() {
        let entries = [("a", "Conflicts: mta"), ("b", "Provides: mta"), ("c", "Breaks: a (<< 1)")];
        let error = names(&entries, &["a", "b"]).unwrap_err();
        assert_eq!(error.to_string(), "packages a and b exclude each other: leave one of them out");
        assert_eq!(names(&entries, &["a", "c"]).unwrap(), ["a", "c"]);
    }
}
