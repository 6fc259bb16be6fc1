//! Reading: pieces of a table side by side, each by a COPY in binary over a connection of its own.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use datafusion::catalog::Session as PlanningSession;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{Stream, StreamExt, TryStreamExt};
use stockflow_core::{Error, Origin, Result};

use super::connection::{PostgresOptions, within};
use super::decode::Decoder;
use super::encode::HEADER;
use super::filter;
use super::name::quoted;
use super::origin::{Described, ReadColumn};
use super::types::Wire;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// A table or query in pieces.
#[derive(Debug)]
pub(super) struct PostgresTable {
    options: PostgresOptions,
    origin: Origin,
    described: Described,
    schema: SchemaRef,
    /// What stands behind `FROM`, condition included, one a piece.
    pieces: Vec<Piece>,
}

/// A part of what is read: what stands behind `FROM`, and the condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from: String,
    pub(super) condition: Option<String>,
}

impl PostgresTable {
    pub(super) fn new(options: PostgresOptions, origin: Origin, described: Described, pieces: Vec<Piece>) -> Self {
        let schema = described.schema();
        Self { options, origin, described, schema, pieces }
    }

    fn wire_of(&self, name: &str) -> Option<Wire> {
        self.described.columns.iter().find(|column| column.name == name).map(|column| column.wire)
    }

    fn filter_sql(&self, filter: &Expr) -> Option<String> {
        filter::sql(filter, &|name| self.wire_of(name))
    }
}

#[async_trait]
impl TableProvider for PostgresTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> PlanResult<Vec<TableProviderFilterPushDown>> {
        let of = |filter: &&Expr| match self.filter_sql(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(of).collect())
    }

    async fn scan(
        &self,
        _state: &dyn PlanningSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let (schema, columns) = match projection {
            None => (Arc::clone(&self.schema), self.described.columns.clone()),
            Some(wanted) => {
                let pick = |idx: &usize| self.described.columns.get(*idx).cloned();
                (Arc::new(self.schema.project(wanted)?), wanted.iter().filter_map(pick).collect())
            }
        };
        let filters: Vec<String> = filters.iter().filter_map(|filter| self.filter_sql(filter)).collect();
        // With a filter that DataFusion looks at again, fewer rows than the limit may be left.
        let limit = limit.filter(|_| filters.is_empty());
        let stream = |piece: &Piece| -> Arc<dyn PartitionStream> {
            Arc::new(Reading {
                options: self.options.clone(),
                origin: self.origin.clone(),
                schema: Arc::clone(&schema),
                sql: select(&columns, piece, &filters, limit),
                columns: columns.clone(),
            })
        };
        let pieces = self.pieces.iter().map(stream).collect();
        Ok(Arc::new(StreamingTableExec::try_new(schema, pieces, None, [], false, limit)?))
    }
}

fn select(columns: &[ReadColumn], piece: &Piece, filters: &[String], limit: Option<usize>) -> String {
    let names: Vec<String> = columns.iter().map(|column| format!("s.{}", quoted(&column.name))).collect();
    let conditions: Vec<&str> =
        piece.condition.iter().map(String::as_str).chain(filters.iter().map(String::as_str)).collect();
    let mut sql = format!("SELECT {} FROM {}", names.join(", "), piece.from);
    if !conditions.is_empty() {
        sql = format!("{sql} WHERE {}", conditions.join(" AND "));
    }
    match limit {
        Some(limit) => format!("{sql} LIMIT {limit}"),
        None => sql,
    }
}

/// One piece while it is read.
struct Reading {
    options: PostgresOptions,
    origin: Origin,
    schema: SchemaRef,
    columns: Vec<ReadColumn>,
    sql: String,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql)
    }
}

impl PartitionStream for Reading {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (options, origin, sql) = (self.options.clone(), self.origin.clone(), self.sql.clone());
        let rows = Rows::new(Arc::clone(&self.schema), self.columns.iter().map(|column| column.wire).collect());
        let batches = futures::stream::once(async move {
            let session = options.connect().await.map_err(|fault| fault.at(&origin))?;
            let sql = format!("COPY ({sql}) TO STDOUT (FORMAT binary)");
            let timeout = session.timeout();
            let copied = within(timeout, session.client().copy_out(&sql)).await;
            let copied = copied.map_err(|fault| fault.at("read", &origin))?;
            // The session lives as long as what it sends.
            let messages = futures::stream::try_unfold(
                (Box::pin(copied), session, origin),
                move |(mut copied, session, origin)| async move {
                    match within(timeout, copied.try_next()).await {
                        Ok(Some(message)) => Ok(Some((message, (copied, session, origin)))),
                        Ok(None) => Ok(None),
                        Err(fault) => Err(fault.at("read", &origin)),
                    }
                },
            );
            Ok::<_, Error>(batches_of(messages, rows))
        });
        let batches = batches.try_flatten().map_err(DataFusionError::from);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// Batches out of the messages of a COPY.
fn batches_of(
    messages: impl Stream<Item = Result<Bytes>> + Send + 'static,
    rows: Rows,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let messages = Box::pin(messages);
    futures::stream::try_unfold((messages, rows, false), |(mut messages, mut rows, is_over)| async move {
        if is_over {
            return Ok(None);
        }
        while let Some(message) = messages.next().await {
            rows.push(&message?)?;
            if rows.count >= BATCH_ROWS {
                return Ok(Some((rows.finish()?, (messages, rows, false))));
            }
        }
        rows.check_end()?;
        let last = (rows.count > 0).then(|| rows.finish()).transpose()?;
        Ok(last.map(|last| (last, (messages, rows, true))))
    })
}

/// Rows while they are decoded.
struct Rows {
    schema: SchemaRef,
    decoders: Vec<Decoder>,
    count: usize,
    /// What has come of a row that is not there in full.
    pending: BytesMut,
    began: bool,
    ended: bool,
}

fn garbled(what: &str) -> Error {
    Error::internal(format!("the server's COPY is not as its protocol says: {what}"))
}

impl Rows {
    fn new(schema: SchemaRef, wires: Vec<Wire>) -> Self {
        let decoders = wires.into_iter().map(Decoder::new).collect();
        Self { schema, decoders, count: 0, pending: BytesMut::new(), began: false, ended: false }
    }

    fn push(&mut self, message: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(message);
        if !self.began {
            if self.pending.len() < HEADER.len() {
                return Ok(());
            }
            if !self.pending.starts_with(HEADER) {
                return Err(garbled("its header"));
            }
            self.pending.advance(HEADER.len());
            self.began = true;
        }
        while !self.ended {
            let Some(length) = row_length(&self.pending)? else { return Ok(()) };
            let row = self.pending.split_to(length);
            self.row(&row)?;
        }
        Ok(())
    }

    fn row(&mut self, row: &[u8]) -> Result<()> {
        let mut rest = row;
        let count = take::<2>(&mut rest).map(i16::from_be_bytes).ok_or_else(|| garbled("a row"))?;
        if count == -1 {
            self.ended = true;
            return Ok(());
        }
        if usize::try_from(count) != Ok(self.decoders.len()) {
            return Err(garbled("the number of its columns"));
        }
        for decoder in &mut self.decoders {
            let length = take::<4>(&mut rest).map(i32::from_be_bytes).ok_or_else(|| garbled("a value"))?;
            let value = match usize::try_from(length) {
                Ok(length) => {
                    let (value, behind) = rest.split_at_checked(length).ok_or_else(|| garbled("a value"))?;
                    rest = behind;
                    Some(value)
                }
                Err(_) => None,
            };
            decoder.push(value)?;
        }
        self.count += 1;
        Ok(())
    }

    fn check_end(&self) -> Result<()> {
        if self.ended { Ok(()) } else { Err(garbled("its end is missing")) }
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = self.decoders.iter_mut().map(Decoder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.count)));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*head)
}

/// How long the first row is; `None` if it is not there in full.
fn row_length(bytes: &[u8]) -> Result<Option<usize>> {
    let mut rest = bytes;
    let Some(count) = take::<2>(&mut rest).map(i16::from_be_bytes) else { return Ok(None) };
    for _ in 0..count.max(0) {
        let Some(length) = take::<4>(&mut rest).map(i32::from_be_bytes) else { return Ok(None) };
        match usize::try_from(length) {
            Ok(length) => match rest.get(length..) {
                Some(behind) => rest = behind,
                None => return Ok(None),
            },
            Err(_) if length == -1 => {}
            Err(_) => return Err(garbled("a length")),
        }
    }
    Ok(Some(bytes.len() - rest.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn columns_conditions_and_limits_become_sql() {
        let columns = [ReadColumn { name: "a b".into(), wire: Wire::Int4, sql_type: "int4".into() }];
        let piece = Piece { from: "t AS s".into(), condition: Some("s.id > 5".into()) };
        let filters = ["\"n\" = 1".to_owned()];
        assert_eq!(
            select(&columns, &piece, &filters, None),
            "SELECT s.\"a b\" FROM t AS s WHERE s.id > 5 AND \"n\" = 1"
        );
        let whole = Piece { condition: None, ..piece };
        assert_eq!(select(&columns, &whole, &[], Some(3)), "SELECT s.\"a b\" FROM t AS s LIMIT 3");
    }

    #[test]
    fn rows_are_put_together_wherever_messages_are_cut() {
        let schema =
            Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, true), Field::new("t", DataType::Utf8, true)]));
        let mut all = HEADER.to_vec();
        all.extend([0, 2, 0, 0, 0, 4, 0, 0, 0, 7, 0, 0, 0, 2, b'a', b'b']);
        all.extend([0, 2, 255, 255, 255, 255, 0, 0, 0, 0]);
        all.extend([255, 255]);
        for size in 1..all.len() {
            let mut rows = Rows::new(Arc::clone(&schema), vec![Wire::Int4, Wire::Text]);
            for message in all.chunks(size) {
                rows.push(message).unwrap();
            }
            rows.check_end().unwrap();
            let batch = rows.finish().unwrap();
            assert_eq!(batch.num_rows(), 2, "{size}");
            assert_eq!(format!("{:?}", batch.column(1).slice(0, 1).to_data().buffers()[1].as_slice()), "[97, 98]");
        }
        let mut cut = Rows::new(schema, vec![Wire::Int4, Wire::Text]);
        cut.push(&all[..all.len() - 2]).unwrap();
        assert!(cut.check_end().is_err());
    }
}
