//! `stockflow init [PATH]`

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};

use crate::args::{Global, InitArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::render::say;

/// A pipeline file that runs as it is.
const TEMPLATE: &str = include_str!("../config/template.toml");

/// Where the template's tables lie below the data folder. Those right in it are the main job's, and a table takes rows of one
/// pipeline only.
const FOLDER: &str = "my_pipeline";

/// Writes a commented pipeline file; one that is there stays unless `--force` is given.
pub(crate) fn run(args: &InitArgs, global: &Global) -> Outcome {
    let shown = args.path.display();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).create_new(!args.force);
    let mut file = options.open(&args.path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::usage(format!("`{shown}` is there already"))
            .or_next("name another file, or overwrite it with `--force`"),
        _ => Failure::failed(format!("`{shown}` cannot be written")).because(error),
    })?;
    file.write_all(TEMPLATE.as_bytes())
        .map_err(|error| Failure::failed(format!("`{shown}` cannot be written")).because(error))?;
    if !global.quiet {
        say(format!(
            "wrote `{shown}`; check it with `stockflow validate {shown}`, run it with `stockflow run {shown}`, query its tables with `stockflow sql … --data-dir {}/{FOLDER}`",
            global.data_dir.trim_end_matches('/')
        ));
    }
    Ok(Exit::Done)
}
