//! Versions of packages, compared as Debian's policy manual says (section 5.6.12).

use std::cmp::Ordering;

/// Which of two versions is the later one.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    let ((one_epoch, one), (other_epoch, other)) = (epoch(one), epoch(other));
    let ((one, one_revision), (other, other_revision)) = (revision(one), revision(other));
    one_epoch
        .cmp(&other_epoch)
        .then_with(|| compare_part(one.as_bytes(), other.as_bytes()))
        .then_with(|| compare_part(one_revision.as_bytes(), other_revision.as_bytes()))
}

/// Whether a version stands in a relation, as `>=`, to another one.
pub(crate) fn fulfils(version: &str, relation: &str, bound: &str) -> bool {
    let order = compare(version, bound);
    match relation {
        "<<" => order.is_lt(),
        "<=" | "<" => order.is_le(),
        "=" => order.is_eq(),
        ">=" | ">" => order.is_ge(),
        ">>" => order.is_gt(),
        _ => false,
    }
}

/// The number before the colon, which is zero where there is none, and what comes after.
fn epoch(version: &str) -> (u64, &str) {
    match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    }
}

/// The upstream version and the revision after the last hyphen.
fn revision(version: &str) -> (&str, &str) {
    version.rsplit_once('-').unwrap_or((version, ""))
}

/// Compares stretches of other characters and of digits by turns.
fn compare_part(mut one: &[u8], mut other: &[u8]) -> Ordering {
    while !one.is_empty() || !other.is_empty() {
        let (one_text, other_text) = (stretch(&mut one, false), stretch(&mut other, false));
        let order = compare_text(one_text, other_text);
        if order.is_ne() {
            return order;
        }
        let (one_digits, other_digits) = (stretch(&mut one, true), stretch(&mut other, true));
        let (one_digits, other_digits) = (significant(one_digits), significant(other_digits));
        let order =
            one_digits.len().cmp(&other_digits.len()).then_with(|| one_digits.cmp(other_digits));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes the digits at the front, or what is before the first digit.
fn stretch<'v>(from: &mut &'v [u8], digits: bool) -> &'v [u8] {
    let end = from.iter().position(|c| c.is_ascii_digit() != digits).unwrap_or(from.len());
    let (taken, rest) = from.split_at(end);
    *from = rest;
    taken
}

fn significant(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}

/// A tilde comes before the end, the end before letters, letters before all else.
fn compare_text(one: &[u8], other: &[u8]) -> Ordering {
    let rank = |c: Option<&u8>| match c {
        Some(b'~') => 0,
        None => 1,
        Some(c) if c.is_ascii_alphabetic() => 2 + u16::from(*c),
        Some(c) => 300 + u16::from(*c),
    };
    let length = one.len().max(other.len());
    let orders = (0..length).map(|at| rank(one.get(at)).cmp(&rank(other.get(at))));
    orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_policy_says() {
        let ordered = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0a",
            "0+",
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0-2",
            "1.0a-1",
            "1.0+dfsg-1",
            "1.2",
            "1.10",
            "1:0.5",
            "2:0",
        ];
        for (at, one) in ordered.iter().enumerate() {
            for (other_at, other) in ordered.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at), "{one} {other}");
            }
        }
        assert_eq!(compare("1.00", "1.0"), Ordering::Equal);
        assert_eq!(compare("0:1-0", "1"), Ordering::Equal);
    }

    #[test]
    fn a_relation_holds_on_its_side_of_the_bound_only() {
        for (relation, holds) in [
            ("<<", [true, false, false]),
            ("<=", [true, true, false]),
            ("=", [false, true, false]),
            (">=", [false, true, true]),
            (">>", [false, false, true]),
            ("!", [false, false, false]),
        ] {
            assert_eq!(["1", "2", "3"].map(|v| fulfils(v, relation, "2")), holds, "{relation}");
        }
    }
}
