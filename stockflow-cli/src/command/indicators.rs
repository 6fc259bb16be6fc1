//! `stockflow indicators [NAME]`

use std::io::Write;

use stockflow_core::indicator::{Definition, Flag, catalogue};

use crate::args::{Global, IndicatorsArgs};
use crate::config::nearest;
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{Align, Table, stdout};

/// Lists the catalogue, or describes what a name means.
pub(crate) fn run(args: &IndicatorsArgs, global: &Global) -> Outcome {
    let found = find(args.name.as_deref())?;
    if global.json {
        return as_json(&found);
    }
    match found.as_slice() {
        [one] if args.name.is_some() => describe(one),
        many => list(many),
    }
}

/// Everything, the function of that name, or all whose name or description has it.
fn find(name: Option<&str>) -> Outcome<Vec<&'static Definition>> {
    let Some(name) = name else { return Ok(catalogue().iter().collect()) };
    let wanted = name.to_lowercase();
    if let Ok(one) = catalogue().get(&wanted) {
        return Ok(vec![one]);
    }
    let parts: Vec<_> = catalogue()
        .iter()
        .filter(|it| it.name.contains(&wanted) || it.description.to_lowercase().contains(&wanted))
        .collect();
    if parts.is_empty() {
        let failure = Failure::usage(format!("there is no indicator `{name}`"));
        return Err(match nearest(&wanted, catalogue().iter().map(|it| it.name.as_str())) {
            Some(near) => failure.or_next(format!("did you mean `{near}`? `stockflow indicators` lists all")),
            None => failure.or_next("`stockflow indicators` lists all"),
        });
    }
    Ok(parts)
}

fn as_json(found: &[&Definition]) -> Outcome {
    let entry = |it: &&Definition| {
        let mut entry = serde_json::to_value(it).map_err(|error| Failure::failed(error.to_string()))?;
        entry["lookback"] = it.default_lookback().into();
        entry["signature"] = it.signature().into();
        entry["columns"] = it.default_columns().into();
        entry["sql"] = it.sql_example().into();
        Ok(entry)
    };
    let entries = found.iter().map(entry).collect::<Outcome<Vec<_>>>()?;
    crate::render::json(&entries)?;
    Ok(Exit::Done)
}

fn list(found: &[&Definition]) -> Outcome {
    let mut table = Table::new(
        stdout(),
        &[
            ("name", Align::Left),
            ("group", Align::Left),
            ("lookback", Align::Right),
            ("state", Align::Left),
            ("what it is", Align::Left),
        ],
    );
    for it in found {
        table.row(vec![
            it.name.clone(),
            it.group.clone(),
            it.default_lookback().to_string(),
            it.state.kind.as_str().into(),
            it.description.clone(),
        ])?;
    }
    table.finish()?;
    Ok(Exit::Done)
}

fn describe(it: &Definition) -> Outcome {
    let mut out = stdout();
    writeln!(out, "{}: {}\n", it.name, it.description)?;
    writeln!(out, "  group      {}", it.group)?;
    writeln!(out, "  call       {}", it.signature())?;
    if !it.aliases.is_empty() {
        writeln!(out, "  also       {}", it.aliases.join(", "))?;
    }
    for input in &it.inputs {
        let column = input.column.map_or("no usual column".to_owned(), |column| {
            format!("column `{}`{}", column.as_str(), if input.any_series { ", or any series" } else { "" })
        });
        writeln!(out, "  input      {}: {column}", input.name)?;
    }
    for parameter in &it.parameters {
        writeln!(
            out,
            "  parameter  {} = {}: {} ({})",
            parameter.name,
            parameter.show(parameter.default_value()),
            parameter.description,
            parameter.allowed()
        )?;
    }
    for (output, column) in it.outputs.iter().zip(it.default_columns()) {
        writeln!(out, "  output     {}: {:?}, column `{column}`", output.name, output.kind)?;
    }
    writeln!(out, "  lookback   {} rows with the defaults", it.default_lookback())?;
    writeln!(out, "  state      {}: {}", it.state.kind.as_str(), it.state.reason)?;
    for flag in &it.flags {
        writeln!(out, "  note       {}: {}", Flag::as_str(*flag), Flag::explain(*flag))?;
    }
    writeln!(out, "\n  {}", it.sql_example())?;
    out.flush()?;
    Ok(Exit::Done)
}
