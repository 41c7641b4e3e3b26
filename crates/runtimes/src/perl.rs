//! The command line of Perl.

use crate::RuntimeError;
use crate::job::Way;
use std::fs;

/// The program that calls the interpreter.
pub(crate) const DRIVER: &str = include_str!("../boot/perl.wat");

/// Flags whose word is the next one where theirs ends with them.
const WITH_WORD: &str = "eEI";

/// How a command line is run: by the interpreter, which is to see its script.
#[allow(clippy::unnecessary_wraps, reason = "as of other languages")]
pub(crate) fn parse(words: &[String], _: bool) -> Result<Way, RuntimeError> {
    let script = script(words).filter(|path| fs::metadata(path).is_ok_and(|meta| meta.is_file()));
    Ok(Way::Plain(words.to_vec(), script.cloned()))
}

/// The word that is the script, where it is a file.
fn script(words: &[String]) -> Option<&String> {
    let mut at = 0;
    let mut code = false;
    while let Some(word) = words.get(at) {
        let Some(flags) = word.strip_prefix('-').filter(|flags| !flags.is_empty()) else { break };
        at += 1;
        if flags == "-" {
            break;
        }
        for (place, flag) in flags.char_indices() {
            code |= flag == 'e' || flag == 'E';
            if WITH_WORD.contains(flag) {
                at += usize::from(place + 1 == flags.len());
                break;
            }
            // The rest of the word is about this flag.
            if "MmVxDdFi".contains(flag) {
                break;
            }
        }
    }
    words.get(at).filter(|word| !code && *word != "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_the_first_word_that_is_no_flag_nor_belongs_to_one() {
        let script = |list: &[&str]| {
            let words: Vec<String> = list.iter().map(|&word| word.into()).collect();
            script(&words).cloned()
        };
        assert_eq!(script(&["-w", "-I", "lib", "x.pl", "-e"]).as_deref(), Some("x.pl"));
        assert_eq!(script(&["-Ilib", "-MList::Util=sum", "x.pl"]).as_deref(), Some("x.pl"));
        assert_eq!(script(&["--", "-x.pl"]).as_deref(), Some("-x.pl"));
        for none in [&["-e", "x", "y"][..], &["-lane", "x", "y"], &["-"], &[], &["-v"]] {
            assert_eq!(script(none), None, "{none:?}");
        }
    }
}
