//! `stockflow explain [PIPELINE.toml]`

use std::collections::BTreeMap;
use std::io::Write;

use arrow::record_batch::RecordBatch;
use chrono::Utc;
use datafusion::physical_plan::displayable;
use datafusion::prelude::DataFrame;
use serde::Serialize;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::context::EpochContext;
use stockflow_core::relation::{Relation, RelationSchema, Relations};
use stockflow_core::source::EpochLimit;

use crate::args::{ExplainArgs, Global};
use crate::assemble::{self, Opening};
use crate::config::{PipelineConfig, nearest};
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{self, stdout};
use crate::tables;

/// One step's plans.
#[derive(Debug, Serialize)]
struct Explained {
    step: String,
    input: String,
    logical: String,
    physical: String,
}

/// Prints the plans of each step over everything that the source has now. Looks at the source, computes and writes nothing.
pub(crate) async fn run(args: ExplainArgs, global: &Global) -> Outcome {
    let config = assemble::config(&args.pipeline, global)?;
    assemble::check_input(&args.pipeline)?;
    check_step(&config, args.step.as_deref())?;
    // What does not fit is told as `validate` tells it.
    assemble::pipeline(&config, global, Opening::Everything).await?;
    let mut plans = explain(&config).await?;
    plans.retain(|plan| args.step.as_ref().is_none_or(|step| *step == plan.step));
    if global.json {
        render::json(&plans)?;
        return Ok(Exit::Done);
    }
    let mut out = stdout();
    for plan in plans {
        writeln!(
            out,
            "step {} (reads {})\n\nlogical plan\n{}\n\nphysical plan\n{}",
            plan.step, plan.input, plan.logical, plan.physical
        )?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn check_step(config: &PipelineConfig, step: Option<&str>) -> Outcome<()> {
    let names: Vec<&str> = config.steps.iter().map(|step| step.name.as_str()).collect();
    let Some(step) = step.filter(|step| !names.contains(step)) else { return Ok(()) };
    let failure = Failure::usage(format!("there is no step `{step}`"));
    Err(match nearest(step, names.iter().copied()) {
        Some(near) => failure.or_next(format!("did you mean `{near}`?")),
        None => failure.or_next(format!("there are `{}`", names.join("`, `"))),
    })
}

async fn explain(config: &PipelineConfig) -> Outcome<Vec<Explained>> {
    let mut plans = Vec::new();
    for output in planned(config).await?.outputs {
        plans.push(plans_of(&output.step, output.input, &output.frame).await?);
    }
    Ok(plans)
}

/// What a step gives.
pub(super) struct Output {
    step: String,
    input: String,
    frame: DataFrame,
}

/// A pipeline's relations over everything that the source has now.
pub(super) struct Planned {
    pub(super) relations: BTreeMap<String, Relation>,
    outputs: Vec<Output>,
}

/// Plans every step; computes nothing.
pub(super) async fn planned(config: &PipelineConfig) -> Outcome<Planned> {
    let session = tables::session()?;
    let mut epoch = EpochContext::new(&config.name, session.clone(), Utc::now());
    epoch.planning = true;
    let mut relations = source_relations(config, &epoch).await?;
    for (name, table) in &config.tables {
        let table = table.open(Opening::Everything).await?;
        session.register_table(name.as_str(), table.clone())?;
        relations.insert(name.clone(), Relation::new(session.read_table(table)?));
    }
    let mut before = config.source.relation().to_owned();
    let mut found = Vec::new();
    for step in &config.steps {
        let input = step.input.clone().unwrap_or(before);
        let outputs = step.step.transform().apply(&Relations::new(&input, relations.clone()), &epoch).await?;
        relations
            .extend(outputs.others.into_iter().map(|(name, relation)| (format!("{}.{name}", step.name), relation)));
        if let Some(output) = outputs.output {
            found.push(Output { step: step.name.clone(), input, frame: output.frame.clone() });
            relations.insert(step.name.clone(), output);
        }
        before = step.name.clone();
    }
    Ok(Planned { relations, outputs: found })
}

/// What the source has now; an empty table where there is nothing.
async fn source_relations(config: &PipelineConfig, epoch: &EpochContext) -> Outcome<BTreeMap<String, Relation>> {
    let source = config.build_source(Vec::new())?;
    let everything = EpochLimit { everything: true, ..EpochLimit::default() };
    let declared = source.relations();
    let Some(plan) = source.plan(&Checkpoint::new(), &everything).await? else {
        // A topic has its columns from the pipeline file.
        if declared.iter().any(|relation| relation.schema.fields().is_empty()) {
            return Err(Failure::failed("the source has nothing to read, so its columns are not known")
                .or_next("put files where the source looks, see `stockflow status`"));
        }
        let empty = |relation: RelationSchema| {
            let frame = epoch.session.read_batch(RecordBatch::new_empty(relation.schema))?;
            Ok((relation.name, Relation::new(frame).with_key(relation.key).with_version(relation.version)))
        };
        return declared.into_iter().map(empty).collect();
    };
    let scan = source.scan(&plan).await?;
    let mut relations = BTreeMap::new();
    for (name, table) in scan.relations {
        let mut relation = Relation::new(epoch.session.read_table(table)?);
        if let Some(known) = declared.iter().find(|it| it.name == name) {
            relation = relation.with_key(known.key.clone()).with_version(known.version.clone());
        }
        relations.insert(name, relation);
    }
    Ok(relations)
}

async fn plans_of(step: &str, input: String, frame: &DataFrame) -> Outcome<Explained> {
    let (state, plan) = frame.clone().into_parts();
    let logical = state.optimize(&plan)?;
    let physical = state.create_physical_plan(&plan).await?;
    Ok(Explained {
        step: step.into(),
        input,
        logical: logical.display_indent().to_string(),
        physical: displayable(physical.as_ref()).indent(false).to_string(),
    })
}
