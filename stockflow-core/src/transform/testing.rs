//! What the tests of the transforms share: frames from text, tables as text.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use chrono::{TimeZone, Utc};
use datafusion::prelude::{DataFrame, SessionContext};

use super::{Outputs, Transform};
use crate::context::EpochContext;
use crate::relation::{Relation, Relations};

/// An epoch at noon of the first of June 2024.
pub(crate) fn epoch() -> EpochContext {
    let mut session = SessionContext::new();
    crate::indicator::register_all(&mut session).unwrap();
    EpochContext::new("test", session, Utc.with_ymd_and_hms(2024, 6, 1, 12, 0, 0).unwrap())
}

/// CSV with a header; columns are text unless `inferred`.
pub(crate) fn csv(text: &str, inferred: bool) -> RecordBatch {
    let format = Format::default().with_header(true);
    let schema = if inferred {
        format.infer_schema(Cursor::new(text), None).unwrap().0
    } else {
        let header = text.lines().next().unwrap();
        Schema::new(header.split(',').map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>())
    };
    let rows = text.lines().count();
    let mut reader = ReaderBuilder::new(Arc::new(schema.clone()))
        .with_format(format)
        .with_batch_size(rows.max(1))
        .build(Cursor::new(text))
        .unwrap();
    reader.next().map_or_else(|| RecordBatch::new_empty(Arc::new(schema)), Result::unwrap)
}

/// Adds a column at the end.
pub(crate) fn with_column(batch: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let mut fields = batch.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(name, values.data_type().clone(), true)));
    let mut columns = batch.columns().to_vec();
    columns.push(values);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Adds the columns of the file source.
pub(crate) fn from_file(batch: &RecordBatch, path: &str, first: i64) -> RecordBatch {
    let n = i64::try_from(batch.num_rows()).unwrap();
    let batch = with_column(batch, "source_file", Arc::new(StringArray::from(vec![path; batch.num_rows()])));
    with_column(&batch, "source_seq", Arc::new(Int64Array::from_iter_values(first..first + n)))
}

pub(crate) fn relation(epoch: &EpochContext, batches: Vec<RecordBatch>) -> Relation {
    let schema = batches.first().unwrap().schema();
    Relation::new(epoch.table(schema, vec![batches]).unwrap())
}

pub(crate) fn inputs(relation: Relation) -> Relations {
    Relations::new("input", BTreeMap::from([("input".to_string(), relation)]))
}

/// Normalised bars out of CSV, by default of interval and basis found by the transform.
pub(crate) async fn bars(epoch: &EpochContext, text: &str) -> Relation {
    normalized(epoch, super::Normalize::new(), text).await
}

pub(crate) async fn normalized(epoch: &EpochContext, normalize: super::Normalize, text: &str) -> Relation {
    let outputs = apply(&normalize, epoch, relation(epoch, vec![csv(text, false)])).await;
    outputs.output.unwrap()
}

pub(crate) async fn apply(transform: &dyn Transform, epoch: &EpochContext, input: Relation) -> Outputs {
    transform.apply(&inputs(input), epoch).await.unwrap()
}

/// The error's whole chain.
pub(crate) async fn refused(transform: &dyn Transform, epoch: &EpochContext, input: Relation) -> String {
    transform.apply(&inputs(input), epoch).await.unwrap_err().chain().join(": ")
}

/// Some columns of a frame as a sorted table without its frame lines.
pub(crate) async fn table(frame: &DataFrame, columns: &[&str]) -> Vec<String> {
    let order = columns.iter().map(|it| super::expr::column(*it).sort(true, true)).collect();
    let sorted = frame.clone().select(super::expr::columns(columns.iter().copied())).unwrap().sort(order).unwrap();
    let batches = sorted.collect().await.unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let lines = text.lines().filter(|it| it.starts_with('|')).skip(1);
    lines
        .map(|it| it.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" ").trim().to_string())
        .collect()
}

/// All rejects: symbol and reason.
pub(crate) async fn rejects(outputs: &Outputs) -> Vec<String> {
    let mut all = Vec::new();
    for frame in &outputs.rejects {
        all.extend(table(frame, &["symbol", "reason"]).await);
    }
    all.sort();
    all
}

/// All notes: kind, symbol, rows and level.
pub(crate) async fn notes(outputs: &Outputs) -> Vec<String> {
    let mut all = Vec::new();
    for frame in &outputs.notes {
        all.extend(table(frame, &["kind", "symbol", "rows", "level"]).await);
    }
    all.sort();
    all
}

pub(crate) async fn count(frame: &DataFrame) -> usize {
    frame.clone().count().await.unwrap()
}

/// A file of the shared data; counted as left out where it is not there.
pub(crate) fn shared_file(path: &str) -> Option<std::path::PathBuf> {
    if let Some(root) = std::env::var_os("STOCKFLOW_SHARED") {
        return Some(std::path::Path::new(&root).join(path));
    }
    let line = format!("left out: {path} (STOCKFLOW_SHARED is not set)");
    println!("{line}");
    if let Some(file) = std::env::var_os("STOCKFLOW_LEFT_OUT_FILE") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        writeln!(file, "{line}").unwrap();
    }
    None
}

/// One of the example files, as the file source would give it.
pub(crate) fn example(symbol: &str) -> RecordBatch {
    let path = format!("{}/../examples/data/{symbol}.csv", env!("CARGO_MANIFEST_DIR"));
    from_file(&csv(&std::fs::read_to_string(&path).unwrap(), true), &path, 0)
}

pub(crate) const EXAMPLES: [&str; 5] = ["AAPL", "FB", "GOOG", "IBM", "MSFT"];
