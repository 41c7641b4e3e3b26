//! What a program is given: arguments, environment, folders, fuel.

use crate::args::MachineArgs;
use crate::failure::Failure;
use crate::plan::absolute;
use omni_machine::MachineKind;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What separates the items of an option that is a list: no argument can have it.
pub(crate) const SEPARATOR: &str = "\0";

/// Options of the kind, and the folders of the host that they name.
#[derive(Default)]
pub(crate) struct Program {
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) folders: Vec<PathBuf>,
}

/// What is given to the program of a machine; all of it is refused where the kind takes it not.
pub(crate) fn of(
    args: &MachineArgs,
    kind: &dyn MachineKind,
    image: Option<&PathBuf>,
) -> Result<Program, Failure> {
    let mut program = Program::default();
    let takes = |option: &str| kind.info().options.iter().any(|own| own.name == option);
    if takes("argv") {
        let name = image.and_then(|path| path.file_name()).unwrap_or_default();
        let own = name.to_string_lossy().into_owned();
        let all: Vec<_> = [own].into_iter().chain(args.args.iter().cloned()).collect();
        program.options.insert("argv".into(), all.join(SEPARATOR));
    }
    let folders: Vec<(&str, &str)> = args.dirs.iter().map(|text| folder(text)).collect();
    for (host, _) in &folders {
        program.folders.push(absolute(host.as_ref())?);
    }
    let names: Vec<_> = folders.iter().map(|(_, guest)| *guest).collect();
    let env: Vec<_> = args.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let given = [
        ("folders", "--dir", (!names.is_empty()).then(|| names.join(SEPARATOR))),
        ("env", "--env", (!env.is_empty()).then(|| env.join(SEPARATOR))),
        ("fuel", "--fuel", args.fuel.map(|fuel| fuel.to_string())),
    ];
    for (option, flag, value) in given {
        let Some(value) = value else { continue };
        if !takes(option) {
            let text = format!("machines of kind {} take no {flag}", kind.info().name);
            return Err(Failure::usage(text));
        }
        program.options.insert(option.into(), value);
    }
    Ok(program)
}

/// A folder of the host, and the guest's name for it, which is the same where none is given.
fn folder(text: &str) -> (&str, &str) {
    match text.split_once("::").or_else(|| text.split_once(':')) {
        Some((host, guest)) => (host, guest),
        None => (text, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_the_name_that_it_is_given_or_its_own() {
        assert_eq!(folder("/a/b:/c"), ("/a/b", "/c"));
        assert_eq!(folder("/a/b::c"), ("/a/b", "c"));
        assert_eq!(folder("."), (".", "."));
    }
}
