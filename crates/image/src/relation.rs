//! Relations between packages: `a (>= 1) | b, c:any` and the like.

use crate::version::fulfils;

/// One package of a relation, perhaps with a bound on its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target<'t> {
    pub(crate) name: &'t str,
    /// The relation, as `>=`, and the version.
    bound: Option<(&'t str, &'t str)>,
}

impl Target<'_> {
    /// Whether a package's own version is one that is meant.
    pub(crate) fn takes(&self, version: &str) -> bool {
        self.bound.is_none_or(|(relation, bound)| fulfils(version, relation, bound))
    }

    /// The same for a name that a package provides, perhaps in a version.
    pub(crate) fn takes_provided(&self, version: Option<&str>) -> bool {
        match (self.bound, version) {
            (None, _) => true,
            (Some((relation, bound)), Some(version)) => fulfils(version, relation, bound),
            (Some(_), None) => false,
        }
    }
}

/// The clauses of a field, each a list of alternatives of which one is enough.
pub(crate) fn clauses(field: &str) -> impl Iterator<Item = Vec<Target<'_>>> {
    let alternatives = |clause| str::split(clause, '|').filter_map(target).collect::<Vec<_>>();
    field.split(',').map(alternatives).filter(|clause| !clause.is_empty())
}

/// What a field of provided names gives: each name, perhaps with a version.
pub(crate) fn provided(field: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    field.split(',').filter_map(target).map(|one| {
        let Target { name, bound } = one;
        (name, bound.map(|(_, version)| version))
    })
}

/// One name, without what it says of architectures.
fn target(text: &str) -> Option<Target<'_>> {
    let end = text.find(['(', '[', '<']).unwrap_or(text.len());
    let name = text[..end].trim();
    let name = name.split(':').next().unwrap_or(name);
    if name.is_empty() {
        return None;
    }
    let bound = text.split_once('(').and_then(|(_, rest)| {
        let inner = rest.split(')').next()?.trim();
        let at = inner.find(|c| !"<=>".contains(c))?;
        Some((&inner[..at], inner[at..].trim()))
    });
    Some(Target { name, bound })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_clauses_of_alternatives() {
        let field = "p, b (>= 1.2) | c:any,\n e [riscv64], , f (<<2)";
        let found: Vec<Vec<_>> = clauses(field)
            .map(|clause| clause.into_iter().map(|t| (t.name, t.bound)).collect())
            .collect();
        let expected = [
            vec![("p", None)],
            vec![("b", Some((">=", "1.2"))), ("c", None)],
            vec![("e", None)],
            vec![("f", Some(("<<", "2")))],
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_bound_is_kept_and_a_provided_name_without_version_fulfils_none() {
        let bounded = target("x (>= 2)").unwrap();
        assert!(bounded.takes("2") && !bounded.takes("1"));
        assert!(bounded.takes_provided(Some("3")) && !bounded.takes_provided(None));
        assert!(target("x").unwrap().takes_provided(None));
        assert_eq!(provided("a, b (= 3)").collect::<Vec<_>>(), [("a", None), ("b", Some("3"))]);
    }

    #[test]
    fn nonsense_is_no_panic() {
        for bad in ["(", ")", "x (", "x ()", "x (>=", "|", ":", "x (é)", "é (= é)"] {
            let _ = clauses(bad).count();
        }
    }
}
