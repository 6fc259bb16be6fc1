//! Hands the `[object_store]` settings to the object store's client, which reads them from the environment.
//!
//! The process cannot change its own environment safely once it has threads, so it starts itself anew with the settings in
//! place; secrets never stand on a command line.

use std::collections::BTreeMap;

use crate::config::ObjectStoreConfig;
use crate::exit::{Failure, Outcome};

/// Set in the new process: the settings are in place.
const MARK: &str = "STOCKFLOW_OBJECT_STORE_SET";

/// Makes sure that the settings are in the environment; does not come back if they have to be put there.
pub(crate) fn provide(config: &ObjectStoreConfig) -> Outcome<()> {
    if config.is_empty() || std::env::var_os(MARK).is_some() {
        return Ok(());
    }
    let mut settings: BTreeMap<String, String> =
        config.options.iter().map(|(option, value)| (option.to_uppercase(), value.clone())).collect();
    for (option, secret) in &config.secrets {
        let value = secret.resolve().map_err(|reason| {
            Failure::usage(format!("secret `object_store.{}`: {reason}", option.trim_start_matches("aws_")))
        })?;
        settings.insert(option.to_uppercase(), value.reveal().to_owned());
    }
    restart(settings)
}

#[cfg(unix)]
fn restart(settings: BTreeMap<String, String>) -> Outcome<()> {
    use std::os::unix::process::CommandExt;

    // The same process goes on: its id, its terminal and whoever waits for it stay.
    let error = command(settings)?.exec();
    Err(Failure::failed("stockflow cannot be started anew with the object store's settings").because(error))
}

#[cfg(not(unix))]
fn restart(settings: BTreeMap<String, String>) -> Outcome<()> {
    let status = command(settings)?.status()?;
    std::process::exit(status.code().unwrap_or(1))
}

fn command(settings: BTreeMap<String, String>) -> Outcome<std::process::Command> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).envs(settings).env(MARK, "1");
    Ok(command)
}
