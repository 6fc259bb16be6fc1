//! A pipeline's typed plan for people.

use std::io::{self, Write};

use stockflow_core::pipeline::{Description, Mode, RelationDescription, SinkDescription};
use stockflow_core::sink::WriteMode;

use super::table::{Align, Table};

/// The relation of refused rows.
const DEAD_LETTERS: &str = "dead_letters";

/// Relations with their columns, steps, sinks with their guarantee and the reason for it.
pub(crate) fn plan(mut out: impl Write, it: &Description) -> io::Result<()> {
    let mode = serde_json::to_value(it.mode).unwrap_or_default();
    let late = serde_json::to_value(it.late).unwrap_or_default();
    writeln!(
        out,
        "pipeline {}: mode {}, late bars {}, history {}",
        it.pipeline,
        word(&mode),
        word(&late),
        it.history.as_deref().unwrap_or("none")
    )?;
    writeln!(out, "\nsource {}", parameters(&it.source))?;
    for relation in &it.relations {
        write_relation(&mut out, relation)?;
    }
    for step in &it.steps {
        let scope = step.scope.as_deref().map_or_else(String::new, |scope| {
            format!(", a row depends on its {scope}")
                .replace("its everything", "all rows")
                .replace("its row", "its own row")
        });
        writeln!(out, "\nstep {} reads {}{scope}", step.name, step.input)?;
        writeln!(out, "  {}", parameters(&step.transform))?;
        match &step.output {
            Some(relation) => write_relation(&mut out, relation)?,
            None => writeln!(out, "  {}: columns are known once the source is opened", step.name)?,
        }
    }
    writeln!(out)?;
    let mut table = Table::new(
        &mut out,
        &[
            ("sink", Align::Left),
            ("takes", Align::Left),
            ("guarantee", Align::Left),
            ("writes", Align::Left),
            ("fence", Align::Left),
            ("because", Align::Left),
        ],
    );
    for sink in &it.sinks {
        let debug = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        table.row(vec![
            sink.name.clone(),
            sink.relation.clone(),
            sink.guarantee.to_string(),
            debug(&sink.write_mode),
            debug(&sink.fence),
            sink.reason.clone(),
        ])?;
    }
    table.finish()?;
    for remark in it.remarks.iter().cloned().chain(repeats(it)) {
        writeln!(out, "note: {remark}")?;
    }
    Ok(())
}

/// What "once" does not cover: a file is read again as a whole, and only a history tells which of its rows are known.
fn repeats(it: &Description) -> Vec<String> {
    let from_files = it.source.get("type").is_some_and(|kind| kind == "file");
    if !from_files || it.history.is_some() {
        return Vec::new();
    }
    let appends = |sink: &&SinkDescription| sink.write_mode == WriteMode::Append && sink.relation != DEAD_LETTERS;
    let again = match it.mode {
        Mode::Incremental => "a file that grows or is touched is read again whole",
        Mode::Full => "each change of a file makes all of them be read again",
    };
    let told = |sink: &SinkDescription| {
        format!("sink `{}` appends, and without a history {again}: its rows come again", sink.name)
    };
    it.sinks.iter().filter(appends).map(told).collect()
}

fn write_relation(out: &mut impl Write, relation: &RelationDescription) -> io::Result<()> {
    if relation.columns.is_empty() {
        return writeln!(out, "  {}: columns are known once the source is opened", relation.name);
    }
    let columns: Vec<String> = relation.columns.iter().map(|(name, data_type)| format!("{name} {data_type}")).collect();
    let key = if relation.key.is_empty() { "no key".to_owned() } else { format!("key {}", relation.key.join(", ")) };
    let version = relation.version.as_ref().map_or_else(String::new, |version| format!(", version {version}"));
    writeln!(out, "  {} ({key}{version})\n    {}", relation.name, columns.join(", "))
}

/// `type (field value, field value)`
fn parameters(definition: &serde_json::Value) -> String {
    let Some(fields) = definition.as_object() else { return definition.to_string() };
    let name = fields.get("type").map_or_else(|| "?".into(), word);
    let rest: Vec<String> = fields
        .iter()
        .filter(|(key, value)| *key != "type" && !value.is_null())
        .map(|(key, value)| format!("{key} {}", word(value)))
        .collect();
    if rest.is_empty() { name } else { format!("{name} ({})", rest.join(", ")) }
}

fn word(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
