//! Puts a pipeline together from its file.

use std::path::Path;
use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use stockflow_core::pipeline::{Mode, Pipeline};
use stockflow_core::store::CheckpointStore;
use stockflow_io::location::Location;

use crate::args::{Global, PipelineArgs};
use crate::command::sql;
use crate::config::{PipelineConfig, StoreConfig};
use crate::exit::{Failure, Outcome};
use crate::{environment, places};

/// The main job; `examples/pipelines/main.toml` is the same file, and a test holds them together.
const MAIN: &str = include_str!("config/main.toml");

/// What a message calls it.
const MAIN_NAME: &str = "built-in pipeline";

/// Where the main job looks for bars if nothing else is said.
const MAIN_INPUT: &str = "examples/data";

/// How much of the outside world may be touched while a pipeline is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Nothing at all: to validate.
    Nothing,
    /// Reference tables are opened, the store is the real one.
    Everything,
}

/// The pipeline file that was asked for, or the main job.
pub(crate) fn config(args: &PipelineArgs, global: &Global) -> Outcome<PipelineConfig> {
    // What the command line says counts like a variable of the environment: a file can use it.
    let env = |name: &str| match name {
        "STOCKFLOW_DATA_DIR" => Some(global.data_dir.trim_end_matches('/').to_owned()),
        "STOCKFLOW_INPUT" => args.input.clone(),
        _ => std::env::var(name).ok(),
    };
    let mut config = match &args.pipeline {
        Some(path) => PipelineConfig::load(path, &env)?,
        None => PipelineConfig::parse(MAIN, MAIN_NAME, &env)?,
    };
    // What the command line answered was not set in the environment.
    config.variables.retain(|variable| variable.is_default || std::env::var_os(&variable.name).is_some());
    places::check(&config, global, args.pipeline.is_none())?;
    Ok(config)
}

/// The main job without its input: say where to look, before anything is written.
pub(crate) fn check_input(args: &PipelineArgs) -> Outcome<()> {
    if args.pipeline.is_some() || args.input.is_some() || Path::new(MAIN_INPUT).is_dir() {
        return Ok(());
    }
    Err(Failure::usage(format!("there is no folder `{MAIN_INPUT}` here, which the main job reads"))
        .or_next("go to the repository's folder, name files with `stockflow run --input 'prices/*.csv'`, or write a pipeline of your own with `stockflow init`"))
}

/// The checkpoint store's path or URL; `None` if it is kept in memory.
pub(crate) fn store_path(config: &PipelineConfig, global: &Global) -> Option<String> {
    match &config.store {
        Some(StoreConfig::Memory) => None,
        Some(StoreConfig::Path(path)) => Some(path.clone()),
        None => Some(format!("{}/checkpoints/{}", global.data_dir.trim_end_matches('/'), config.name)),
    }
}

/// Builds the pipeline; what does not fit is refused here.
pub(crate) async fn pipeline(config: &PipelineConfig, global: &Global, opening: Opening) -> Outcome<Pipeline> {
    if opening == Opening::Everything {
        environment::provide(&config.object_store)?;
    }
    let mut builder = Pipeline::builder(&config.name).mode(config.mode).late(config.late);
    if let Some(guarantee) = config.require {
        builder = builder.require(guarantee);
    }
    if let Some(max) = config.max_dead_letters {
        builder = builder.max_dead_letters(Some(max));
    }
    builder = builder.may_lack(config.may_lack);
    builder = builder.max_rows(config.max_rows);
    builder = builder.max_partitions(config.max_partitions.map(|max| usize::try_from(max).unwrap_or(usize::MAX)));
    if let Some(threads) = config.threads {
        builder = builder.threads(usize::try_from(threads).unwrap_or(usize::MAX));
    }
    if let Some(megabytes) = config.memory_mb {
        let bytes = usize::try_from(megabytes.saturating_mul(1024 * 1024)).unwrap_or(usize::MAX);
        builder = builder.runtime(Arc::new(RuntimeEnvBuilder::new().with_memory_limit(bytes, 1.0).build()?));
    }
    let symbols = match config.source.symbols_query().filter(|_| opening == Opening::Everything) {
        Some(query) => sql::symbols(query, global).await?,
        None => Vec::new(),
    };
    builder = builder.source_arc(config.build_source(symbols)?);
    for step in &config.steps {
        builder = builder.step(step.step.build(&step.name, step.input.as_deref()));
    }
    for sink in &config.sinks {
        builder = builder.sink(sink.build(config.relation_of(sink), global.json)?);
    }
    if let Some(sink) = &config.dead_letters {
        builder = sink.add_dead_letters(builder, global.json)?;
    }
    if let Some(relation) = config.history.as_deref().filter(|_| config.mode == Mode::Incremental) {
        builder = builder.history(relation, config.history_table(relation)?);
        for (relation, table) in config.tables_beside(relation)? {
            builder = builder.companion(relation, table);
        }
    }
    for (name, table) in &config.tables {
        builder = builder.table(name, table.open(opening).await?);
    }
    if let Some(store) = store(config, global)?.filter(|_| opening == Opening::Everything) {
        builder = builder.store(store);
    }
    Ok(builder.build()?)
}

/// The checkpoint store; `None` if it is kept in memory.
pub(crate) fn store(config: &PipelineConfig, global: &Global) -> Outcome<Option<CheckpointStore>> {
    let Some(path) = store_path(config, global) else { return Ok(None) };
    let place = Location::parse(&path)?;
    Ok(Some(CheckpointStore::new(Arc::clone(place.store()), place.path().clone())))
}
