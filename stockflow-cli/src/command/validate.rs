//! `stockflow validate [PIPELINE.toml]`

use std::io::Write;

use crate::args::{Global, PipelineArgs};
use crate::assemble::{self, Opening};
use crate::config::PipelineConfig;
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{self, stdout};

/// Prints the typed plan, the guarantee of each sink with the reason, and where each secret comes from. Opens nothing.
pub(crate) async fn run(args: PipelineArgs, global: &Global) -> Outcome {
    let config = assemble::config(&args, global)?;
    let pipeline = assemble::pipeline(&config, global, Opening::Nothing).await?;
    // Nothing was read, so whatever does not fit stands in the file.
    let description =
        pipeline.describe().await.map_err(|error| Failure { exit: Exit::Usage, ..Failure::from(error) })?;
    if global.json {
        let mut value = serde_json::to_value(&description).unwrap_or_default();
        value["secrets"] = secrets(&config)
            .into_iter()
            .map(|(field, place)| serde_json::json!({"field": field, "from": place}))
            .collect();
        value["variables"] = config
            .variables
            .iter()
            .map(|it| serde_json::json!({"name": it.name, "fields": it.paths, "default": it.is_default}))
            .collect();
        render::json(&value)?;
        return Ok(Exit::Done);
    }
    let mut out = stdout();
    render::plan(&mut out, &description)?;
    for (field, place) in secrets(&config) {
        writeln!(out, "secret: {field} comes from {place}")?;
    }
    for variable in &config.variables {
        let from = if variable.is_default { "not set, the file's default is taken" } else { "set" };
        writeln!(out, "variable: {} in {}: {from}", variable.name, variable.paths.join(", "))?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Field and place of each secret.
fn secrets(config: &PipelineConfig) -> Vec<(String, String)> {
    config.secrets().into_iter().map(|(field, secret)| (field, secret.to_string())).collect()
}
