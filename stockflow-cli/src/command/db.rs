//! `stockflow db migrate`

use std::io::Write;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde::Serialize;
use stockflow_core::relation::{REVISION, RelationSchema};
use stockflow_core::schema::dead_letter_relation;

use crate::args::{DbCommand, Global, PipelineArgs};
use crate::assemble::{self, Opening};
use crate::command::explain::planned;
use crate::connectors::{self, Change};
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{self, stdout};

/// What one table needed.
#[derive(Debug, Serialize)]
struct Migrated {
    sink: String,
    place: String,
    changes: Vec<Step>,
    done: bool,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    sql: String,
}

/// Brings tables to what the sinks need, or prints what is missing.
pub(crate) async fn run(command: DbCommand, global: &Global) -> Outcome {
    let DbCommand::Migrate { pipeline, check, url, password, schema } = command;
    let migrated = match url {
        Some(url) => {
            let changes = connectors::database(&url, password, schema.as_deref())?.migrate(None, !check).await?;
            vec![told("stockflow".into(), url, changes, !check)]
        }
        None => of_pipeline(&pipeline, global, !check).await?,
    };
    let is_missing = migrated.iter().any(|table| !table.changes.is_empty());
    if global.json {
        render::json(&migrated)?;
    } else {
        print(&migrated)?;
    }
    Ok(if check && is_missing { Exit::Failed } else { Exit::Done })
}

fn told(sink: String, place: String, changes: Vec<Change>, done: bool) -> Migrated {
    let changes = changes.into_iter().map(|Change { name, sql }| Step { name, sql }).collect();
    Migrated { sink, place, changes, done }
}

async fn of_pipeline(args: &PipelineArgs, global: &Global, apply: bool) -> Outcome<Vec<Migrated>> {
    let config = assemble::config(args, global)?;
    let has_any =
        config.sinks.iter().map(|sink| &sink.sink).chain(&config.dead_letters).any(|sink| sink.database().is_some());
    if !has_any {
        return Err(Failure::usage(format!("pipeline `{}` writes to no database", config.name))
            .or_next("name a pipeline file with a sink of type `postgres`, or a database with `--url`"));
    }
    // What does not fit is told as `validate` tells it.
    assemble::pipeline(&config, global, Opening::Everything).await?;
    let relations = planned(&config).await?.relations;
    let mut migrated = Vec::new();
    for sink in &config.sinks {
        let (Some(database), name) = (sink.sink.database(), config.relation_of(sink)) else { continue };
        let relation = relations.get(name).map(|relation| revised(relation.describe(name)));
        let changes = database?.migrate(relation.as_ref(), apply).await?;
        migrated.push(told(sink.name.clone(), sink.sink.path().unwrap_or_default().into(), changes, apply));
    }
    if let Some(sink) = &config.dead_letters
        && let Some(database) = sink.database()
    {
        let changes = database?.for_dead_letters().migrate(Some(&dead_letter_relation()), apply).await?;
        migrated.push(told("dead_letters".into(), sink.path().unwrap_or_default().into(), changes, apply));
    }
    Ok(migrated)
}

/// The relation as the engine delivers it: derived rows with their revision.
fn revised(mut relation: RelationSchema) -> RelationSchema {
    if relation.version.as_deref() == Some(REVISION) && !relation.has(REVISION) {
        let mut fields: Vec<_> = relation.schema.fields().iter().cloned().collect();
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        fields.push(Field::new(REVISION, instant, false).into());
        relation.schema = Schema::new(fields).into();
    }
    relation
}

fn print(migrated: &[Migrated]) -> std::io::Result<()> {
    let mut out = stdout();
    for table in migrated {
        match (table.changes.len(), table.done) {
            (0, _) => writeln!(out, "{} ({}): up to date", table.sink, table.place)?,
            (n, true) => writeln!(out, "{} ({}): {n} steps done", table.sink, table.place)?,
            (n, false) => {
                writeln!(out, "{} ({}): {n} steps are missing; do them without `--check`", table.sink, table.place)?
            }
        }
        for step in &table.changes {
            writeln!(out, "\n-- {}\n{};", step.name, step.sql)?;
        }
    }
    out.flush()
}
