//! Completions, manual pages, the version.

use crate::args::Cli;
use crate::failure::Failure;
use crate::ui::Ui;
use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;
use std::path::Path;

/// `completion`: the script for a shell.
pub(crate) fn completion(shell: Shell, ui: Ui) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "omni", &mut script);
    ui.bytes(&script)
}

/// `man`: the page of the program, or a page for each verb into a directory.
pub(crate) fn man(dir: Option<&Path>, ui: Ui) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        let made = clap_mangen::Man::new(Cli::command()).render(&mut page);
        made.map_err(|error| Failure::io("the manual page", &error))?;
        return ui.bytes(&page);
    };
    let made =
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    made.map_err(|error| Failure::io(&dir.display().to_string(), &error))
}

/// `version`: of the program, and of the form of its JSON.
pub(crate) fn version(ui: Ui) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    ui.result(json!({ "name": "omni", "version": version }), &format!("omni {version}"))
}
