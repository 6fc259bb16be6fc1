//! What a reader of a sink sees, by ways that are not the connector's where a server has its own.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use datafusion::prelude::SessionContext;
use stockflow_core::schema::{bar_schema, dead_letter_schema};
use stockflow_io::delta::open_table;

use super::cell::{Cell, SinkKind, SourceKind};

pub(super) async fn bars(cell: &Cell) -> Vec<RecordBatch> {
    read(cell, "bars", &bar_schema()).await
}

/// The dead letters, with the refused text itself as payload.
pub(super) async fn letters(cell: &Cell) -> Vec<RecordBatch> {
    let letters = read(cell, "letters", &dead_letter_schema()).await;
    match cell.source {
        SourceKind::File => letters,
        SourceKind::Kafka => letters.into_iter().map(values).collect(),
    }
}

async fn read(cell: &Cell, what: &str, schema: &SchemaRef) -> Vec<RecordBatch> {
    let at = cell.at(what);
    match cell.sink {
        SinkKind::DeltaAppend | SinkKind::DeltaMerge => delta(&at, schema).await,
        SinkKind::Kafka => tokio::task::block_in_place(|| kafka(cell, &at, schema)),
        SinkKind::PostgresAppend | SinkKind::PostgresMerge => cell.place().read(&at, schema).await,
        SinkKind::Elastic => cell.index(&at).read(schema).await,
    }
}

async fn delta(at: &str, schema: &SchemaRef) -> Vec<RecordBatch> {
    let table = match open_table(at).await {
        // It is made when it is opened, and gets its columns with the first epoch.
        Err(error) if error.to_string().contains("nothing was written to it yet") => return Vec::new(),
        table => table.unwrap(),
    };
    let columns: Vec<&str> = schema.fields().iter().map(|it| it.name().as_str()).collect();
    let table = SessionContext::new().read_table(table).unwrap();
    table.select_columns(&columns).unwrap().collect().await.unwrap()
}

/// By `read_committed`, without waiting for the end of a transaction that a killed runner has left.
fn kafka(cell: &Cell, topic: &str, schema: &SchemaRef) -> Vec<RecordBatch> {
    let messages = cell.broker().visible(topic);
    let text: Vec<u8> = messages.into_iter().flat_map(|it| [it.value, vec![b'\n']].concat()).collect();
    let reader = arrow::json::ReaderBuilder::new(Arc::clone(schema)).with_strict_mode(true);
    reader.build(Cursor::new(text)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// A refused message is kept with its key and headers; the text is its value.
fn values(letters: RecordBatch) -> RecordBatch {
    let schema = letters.schema();
    let at = schema.index_of("payload").unwrap();
    let value = |payload: &str| {
        let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
        payload["value"].as_str().unwrap().to_owned()
    };
    let payloads = letters.column(at).as_string::<i32>();
    let values: StringArray = payloads.iter().map(|payload| payload.map(value)).collect();
    let mut columns = letters.columns().to_vec();
    columns[at] = Arc::new(values);
    RecordBatch::try_new(schema, columns).unwrap()
}
