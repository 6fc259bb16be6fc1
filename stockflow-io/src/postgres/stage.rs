//! Staging: rows go by binary COPY into a temporary table of the session that will commit them.
//!
//! A temporary table is seen by nobody else, is not logged, and goes with its session: a runner that is killed leaves nothing, and
//! a server that crashes in between takes the session with it, so that its rows can never be missed in a commit.
//!
//! Partitions are encoded side by side and copied in pieces of a few megabytes. A piece that the server refuses for its data is cut
//! up until single rows are left; the server mostly says which row it was, and then three statements are enough.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::{EpochRows, RefusedRow};
use stockflow_core::{Error, ErrorClass, Origin, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::Statement;

use super::connection::{Session, within};
use super::encode::{Column, HEADER, Prepared, TRAILER, prepare, put_row};
use super::error::{Fault, reason};
use super::layout::{FitColumn, Layout};
use super::months::month_of;
use super::name::{Located, list, quoted};
use super::refused;

/// The temporary table.
pub(super) const STAGE: &str = "stockflow_stage";

/// A piece is copied when it has this many rows or bytes.
const PIECE_ROWS: usize = 32_768;
const PIECE_BYTES: usize = 4 << 20;

/// What goes into one message of the protocol: the server begins to work before the piece has arrived.
const MESSAGE_BYTES: usize = 128 << 10;

/// Encoded rows, and what they were made of.
#[derive(Default)]
struct Piece {
    batches: Vec<RecordBatch>,
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
    refused: Vec<RefusedRow>,
    months: BTreeSet<i32>,
}

/// How rows are made ready.
struct Encoder {
    relation: RelationSchema,
    columns: Vec<FitColumn>,
    daily: Option<usize>,
    /// The relation's column whose months are needed.
    month: Option<usize>,
    lossy: bool,
}

/// What was staged.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) refused: Vec<RefusedRow>,
    pub(super) months: BTreeSet<i32>,
}

impl Encoder {
    /// Adds the rows of a batch to a piece.
    fn add(&self, batch: &RecordBatch, piece: &mut Piece) -> Result<()> {
        let mut reasons = BTreeMap::new();
        if let Some(interval) = self.daily {
            not_daily(batch, interval, &mut reasons)?;
        }
        let mut columns: Vec<Column> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let array = batch.column(column.source);
            let Prepared { column: ready, refused } = prepare(array, column.wire, &column.target, self.lossy)?;
            for (row, reason) in refused {
                reasons.entry(row).or_insert_with(|| format!("column `{}`: {reason}", column.name));
            }
            if column.not_null && array.logical_null_count() > 0 {
                let nulls = array.logical_nulls();
                for row in (0..array.len()).filter(|&row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))) {
                    reasons.entry(row).or_insert_with(|| format!("column `{}` is NULL", column.name));
                }
            }
            columns.push(ready);
        }
        let kept = if reasons.is_empty() {
            batch.clone()
        } else {
            piece.refused.extend(refused::rows(&self.relation, batch, &reasons)?);
            let good: BooleanArray = (0..batch.num_rows()).map(|row| Some(!reasons.contains_key(&row))).collect();
            filter_record_batch(batch, &good)?
        };
        for row in (0..batch.num_rows()).filter(|row| !reasons.contains_key(row)) {
            put_row(&columns, row, &mut piece.bytes);
            piece.ends.push(piece.bytes.len());
        }
        if let Some(column) = self.month {
            months(&kept, column, &mut piece.months)?;
        }
        piece.batches.push(kept);
        Ok(())
    }
}

fn not_daily(batch: &RecordBatch, column: usize, reasons: &mut BTreeMap<usize, String>) -> Result<()> {
    let intervals = cast(batch.column(column), &DataType::Utf8View)?;
    for (row, interval) in intervals.as_string_view().iter().enumerate() {
        if interval != Some("1d") {
            let interval = interval.unwrap_or("NULL");
            reasons
                .insert(row, format!("`layout = \"stocks\"` holds daily bars, and this one is of interval {interval}"));
        }
    }
    Ok(())
}

fn months(batch: &RecordBatch, column: usize, months: &mut BTreeSet<i32>) -> Result<()> {
    const DAY: i64 = 86_400_000_000;
    let array = batch.column(column);
    let mut known: Option<(i64, i32)> = None;
    let mut add = |day: i64| {
        if known.is_none_or(|(last, _)| last != day) {
            let month = month_of(day);
            known = Some((day, month));
            months.insert(month);
        }
    };
    if matches!(array.data_type(), DataType::Date32) {
        array.as_primitive::<Date32Type>().iter().flatten().for_each(|day| add(i64::from(day)));
    } else {
        let times = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))?;
        times.as_primitive::<TimestampMicrosecondType>().iter().flatten().for_each(|time| add(time.div_euclid(DAY)));
    }
    Ok(())
}

impl Piece {
    fn is_full(&self) -> bool {
        self.ends.len() >= PIECE_ROWS || self.bytes.len() >= PIECE_BYTES
    }

    /// The bytes of some rows.
    fn bytes_of(bytes: &Bytes, ends: &[usize], rows: &Range<usize>) -> Bytes {
        let end = |row: usize| row.checked_sub(1).and_then(|row| ends.get(row)).copied().unwrap_or_default();
        bytes.slice(end(rows.start)..end(rows.end))
    }
}

/// Makes the temporary table: the columns of the target that are written, with its checks.
pub(super) async fn make(
    session: &Session,
    table: &Located,
    columns: &[FitColumn],
    all: &[String],
) -> std::result::Result<Statement, Fault> {
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut sql = format!(
        "DROP TABLE IF EXISTS pg_temp.{STAGE}; CREATE TEMPORARY TABLE {STAGE} (LIKE {} INCLUDING CONSTRAINTS)",
        table.sql()
    );
    let unused: Vec<String> = all
        .iter()
        .filter(|name| !names.contains(name))
        .map(|name| format!("DROP COLUMN {} CASCADE", quoted(name)))
        .collect();
    if !unused.is_empty() {
        sql = format!("{sql}; ALTER TABLE pg_temp.{STAGE} {}", unused.join(", "));
    }
    session.batch(&sql).await?;
    session.prepare(&format!("COPY pg_temp.{STAGE} ({}) FROM STDIN (FORMAT binary)", list(&names))).await
}

/// Copies an epoch's rows into the temporary table.
pub(super) async fn load(
    session: &Session,
    statement: &Statement,
    rows: &EpochRows,
    layout: &Layout,
    columns: Vec<FitColumn>,
    lossy: bool,
    origin: &Origin,
) -> Result<Loaded> {
    let month = layout.month.as_ref().and_then(|month| layout.columns.iter().find(|column| column.name == *month));
    let encoder = Arc::new(Encoder {
        relation: rows.relation().clone(),
        columns,
        daily: layout.daily,
        month: month.map(|column| column.source),
        lossy,
    });
    let (sender, mut pieces) = mpsc::channel::<Result<Piece>>(2);
    // Ends with this function, whatever happens.
    let mut readers = JoinSet::new();
    for mut partition in rows.partitions().await? {
        let (encoder, sender) = (Arc::clone(&encoder), sender.clone());
        readers.spawn(async move {
            let mut piece = Piece::default();
            while let Some(batch) = partition.next().await {
                let added = batch.map_err(Error::from).and_then(|batch| encoder.add(&batch, &mut piece));
                let is_over = added.is_err();
                let ready = match added {
                    Err(error) => Err(error),
                    Ok(()) if piece.is_full() => Ok(std::mem::take(&mut piece)),
                    Ok(()) => continue,
                };
                if sender.send(ready).await.is_err() || is_over {
                    return;
                }
            }
            let _ = sender.send(Ok(piece)).await;
        });
    }
    drop(sender);
    let mut loaded = Loaded::default();
    while let Some(piece) = pieces.recv().await {
        copy_piece(session, statement, piece?, &encoder.relation, &mut loaded, origin).await?;
    }
    // A reader that panicked has sent nothing: its rows must not be taken for none.
    while let Some(ended) = readers.join_next().await {
        ended.map_err(|error| Error::internal(format!("the rows could not be made ready: {error}")))?;
    }
    Ok(loaded)
}

/// Copies a piece; rows that the server refuses for their data are left out.
async fn copy_piece(
    session: &Session,
    statement: &Statement,
    piece: Piece,
    relation: &RelationSchema,
    loaded: &mut Loaded,
    origin: &Origin,
) -> Result<()> {
    loaded.refused.extend(piece.refused);
    loaded.months.extend(piece.months);
    let bytes = Bytes::from(piece.bytes);
    let mut todo: Vec<Range<usize>> = std::iter::once(0..piece.ends.len()).collect();
    while let Some(rows) = todo.pop().filter(|rows| !rows.is_empty()) {
        let encoded = Piece::bytes_of(&bytes, &piece.ends, &rows);
        let length = encoded.len() as u64;
        let fault = match copy(session, statement, encoded).await {
            Ok(copied) => {
                loaded.rows += copied;
                loaded.bytes += length;
                continue;
            }
            Err(fault) => fault,
        };
        let Some(db) = fault.db().filter(|_| fault.class() == ErrorClass::Data) else {
            return Err(fault.at("copy rows", origin));
        };
        if rows.len() == 1 {
            let (batch, row) = located(&piece.batches, rows.start);
            let Some(batch) = batch else { return Err(Error::internal("a row of a piece is in none of its batches")) };
            let reasons = BTreeMap::from([(row, reason(db))]);
            loaded.refused.extend(refused::rows(relation, batch, &reasons)?);
            continue;
        }
        let told = db.where_().and_then(line_of).and_then(|line| line.checked_sub(1)).map(|line| rows.start + line);
        // Taken from the end, so the first part is last.
        todo.extend(parts(&rows, told).into_iter().rev().filter(|rows| !rows.is_empty()));
    }
    Ok(())
}

/// The rows in smaller parts, in their order: around the row that was told, or halves.
fn parts(rows: &Range<usize>, told: Option<usize>) -> Vec<Range<usize>> {
    let middle = |rows: &Range<usize>| rows.start + rows.len() / 2;
    match told.filter(|row| rows.contains(row)) {
        Some(row) => {
            let rest = row + 1..rows.end;
            let half = middle(&rest);
            vec![rows.start..row, row..row + 1, rest.start..half, half..rest.end]
        }
        None => vec![rows.start..middle(rows), middle(rows)..rows.end],
    }
}

/// The line in `COPY stockflow_stage, line 3, column x`, in any language.
fn line_of(context: &str) -> Option<usize> {
    let behind = context.lines().find(|line| line.contains(STAGE))?.split_once(STAGE)?.1;
    let digits = behind.trim_start_matches(|it: char| !it.is_ascii_digit());
    digits.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
}

fn located(batches: &[RecordBatch], row: usize) -> (Option<&RecordBatch>, usize) {
    let mut row = row;
    for batch in batches {
        if row < batch.num_rows() {
            return (Some(batch), row);
        }
        row -= batch.num_rows();
    }
    (None, row)
}

async fn copy(session: &Session, statement: &Statement, rows: Bytes) -> std::result::Result<u64, Fault> {
    within(session.timeout(), async {
        let mut sink = pin!(session.client().copy_in::<_, Bytes>(statement).await?);
        sink.send(Bytes::from_static(HEADER)).await?;
        let mut rest = rows;
        while !rest.is_empty() {
            let message = rest.split_to(rest.len().min(MESSAGE_BYTES));
            sink.send(message).await?;
        }
        sink.send(Bytes::from_static(TRAILER)).await?;
        sink.finish().await
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_told_row_stands_alone_and_the_rest_is_halved() {
        assert_eq!(parts(&(10..20), Some(12)), [10..12, 12..13, 13..16, 16..20]);
        assert_eq!(parts(&(10..20), Some(10)), [10..10, 10..11, 11..15, 15..20]);
        assert_eq!(parts(&(10..20), Some(19)), [10..19, 19..20, 20..20, 20..20]);
        assert_eq!(parts(&(10..12), Some(3)), [10..11, 11..12]);
        assert_eq!(parts(&(0..3), None), [0..1, 1..3]);
    }

    #[test]
    fn the_line_is_read_in_any_language() {
        assert_eq!(line_of("COPY stockflow_stage, line 17, column x"), Some(17));
        assert_eq!(line_of("PL/pgSQL function f() line 3\nCOPY stockflow_stage, Zeile 5"), Some(5));
        assert_eq!(line_of("COPY stockflow_stage"), None);
        assert_eq!(line_of("something else, line 4"), None);
    }
}
