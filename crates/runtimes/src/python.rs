//! The command line of CPython.

use crate::RuntimeError;
use crate::job::{JOB_BYTES_MAX, Job, Way};
use std::fs;
use std::io::Read;
use std::path::Path;

/// What waits for a job.
pub(crate) const BOOT: &str = include_str!("../boot/python.py");

/// Flags that come with a word: in the same one, or in the next.
const WITH_WORD: &str = "WX";

/// How a command line is run.
pub(crate) fn parse(words: &[String], typed: bool) -> Result<Way, RuntimeError> {
    let plain = || Ok(Way::Plain(words.to_vec(), None));
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word == "-" || !word.starts_with('-') {
            break;
        }
        if word.starts_with("--") {
            return plain();
        }
        for (place, flag) in word.char_indices().skip(1) {
            let rest = &word[place + flag.len_utf8()..];
            let next = || words.get(at + 1).cloned();
            let own = || if rest.is_empty() { next() } else { Some(rest.to_owned()) };
            let used = at + 1 + usize::from(rest.is_empty());
            if flag == 'c' || flag == 'm' {
                let text = own().ok_or(RuntimeError::Argument { name: "python", flag })?;
                // Flags before it are for the interpreter's start.
                if at > 0 || place > 1 {
                    return plain();
                }
                return Ok(Way::Warm(job(flag, &text, &words[used..])));
            }
            if "Vh?".contains(flag) {
                return plain();
            }
            if WITH_WORD.contains(flag) {
                own().ok_or(RuntimeError::Argument { name: "python", flag })?;
                at += usize::from(rest.is_empty());
                break;
            }
        }
        at += 1;
    }
    let (flags, rest) = words.split_at(at.min(words.len()));
    let job = match rest.first().map(String::as_str) {
        None if typed || !flags.is_empty() => return plain(),
        Some("-") if typed || !flags.is_empty() => return plain(),
        None | Some("-") => job('s', "", rest.get(1..).unwrap_or_default()),
        Some(path) => script(path, &rest[1..])?,
    };
    Ok(if flags.is_empty() { Way::Warm(job) } else { Way::Flagged(flags.to_vec(), job) })
}

fn job(kind: char, text: &str, arguments: &[String]) -> Job {
    Job { kind, name: String::new(), text: text.into(), arguments: arguments.to_vec() }
}

fn script(name: &str, arguments: &[String]) -> Result<Job, RuntimeError> {
    let path = Path::new(name);
    let failed = |source| RuntimeError::Script { name: "python", path: path.into(), source };
    let mut text = Vec::new();
    let most = u64::try_from(JOB_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let read = fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut text));
    read.map_err(failed)?;
    Ok(Job { kind: 'f', name: name.to_owned(), text, arguments: arguments.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(words: &[&str]) -> Way {
        let words: Vec<String> = words.iter().map(|&word| word.into()).collect();
        parse(&words, false).expect("sound")
    }

    #[test]
    fn what_needs_no_flags_goes_to_an_interpreter_that_waits() {
        assert_eq!(way(&["-c", "x", "-c"]), Way::Warm(job('c', "x", &["-c".into()])));
        assert_eq!(way(&["-cx"]), Way::Warm(job('c', "x", &[])));
        assert_eq!(way(&["-m", "json.tool"]), Way::Warm(job('m', "json.tool", &[])));
        assert_eq!(way(&[]), Way::Warm(job('s', "", &[])));
        assert_eq!(way(&["-", "a"]), Way::Warm(job('s', "", &["a".into()])));
    }

    #[test]
    fn flags_are_for_an_interpreter_that_starts() {
        let plain = |words: &[&str]| {
            let all = words.iter().map(|&word| word.into()).collect();
            assert_eq!(way(words), Way::Plain(all, None));
        };
        plain(&["-V"]);
        plain(&["--version"]);
        plain(&["-O", "-c", "x"]);
        plain(&["-Oc", "x"]);
        plain(&["-W", "error", "-"]);
        let typed = parse(&[], true).expect("sound");
        assert_eq!(typed, Way::Plain(vec![], None), "a person wants a prompt");
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/boot/python.py");
        match way(&["-X", "utf8", "-B", own, "-q"]) {
            Way::Flagged(flags, job) => {
                assert_eq!(flags, ["-X", "utf8", "-B"]);
                assert_eq!((job.kind, &job.arguments[..]), ('f', &["-q".to_owned()][..]));
                assert_eq!(job.text, BOOT.as_bytes());
            }
            other @ (Way::Warm(_) | Way::Plain(..)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_script_that_is_not_there_and_a_word_that_is_missing_are_told() {
        let words = |list: &[&str]| list.iter().map(|&word| word.into()).collect::<Vec<String>>();
        let none = parse(&words(&["/nonexistent/x.py"]), false);
        assert!(matches!(none, Err(RuntimeError::Script { .. })));
        for list in [&["-c"][..], &["-m"], &["-W"], &["-BX"]] {
            let none = parse(&words(list), false);
            assert!(matches!(none, Err(RuntimeError::Argument { .. })), "{list:?}");
        }
    }
}
