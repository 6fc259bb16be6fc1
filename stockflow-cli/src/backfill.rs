//! What a backfill was asked for and did not find.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::datasource::TableProvider;
use datafusion::prelude::col;
use stockflow_core::pipeline::{Note, NoteLevel, RunReport};

use crate::config::{PipelineConfig, nearest};
use crate::exit::Outcome;
use crate::tables;

/// Adds a warning for each symbol that was asked for and of which the history has no bar even now.
pub(crate) async fn note_unknown(report: &mut RunReport, asked: &[String], config: &PipelineConfig) -> Outcome<()> {
    let Some(epoch) = report.epochs.last_mut().filter(|_| !asked.is_empty()) else { return Ok(()) };
    let Some(sink) = config.history_sink() else { return Ok(()) };
    let known = match sink.sink.open().await? {
        Some(table) => symbols(table).await?,
        None => Vec::new(),
    };
    for symbol in asked.iter().filter(|symbol| !known.contains(symbol)) {
        let hint = nearest(symbol, known.iter().map(String::as_str))
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        epoch.notes.push(Note {
            step: "backfill".into(),
            kind: "backfill.unknown".into(),
            symbol: Some(symbol.clone()),
            rows: 0,
            level: NoteLevel::Warning,
            text: format!("nothing was read of this symbol, and nothing is known of it{hint}"),
        });
    }
    Ok(())
}

async fn symbols(table: Arc<dyn TableProvider>) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for batch in tables::session()?.read_table(table)?.select(vec![col("symbol")])?.distinct()?.collect().await? {
        let text = cast(batch.column(0), &DataType::Utf8)?;
        found.extend(text.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(found)
}
