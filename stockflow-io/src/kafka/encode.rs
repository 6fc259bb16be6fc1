//! From rows to messages: key, partition and value.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use memchr::memchr_iter;
use stockflow_core::Result;
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::RefusedRow;

use super::decode::KafkaFormat;
use super::place::partition_of;
use super::spool::Messages;
use crate::text::{write_csv_rows, write_json};

/// What a message weighs besides its key and its value: its frame, and the headers.
const OVERHEAD: usize = 512;
/// Rows of one Arrow message, if they fit.
const ARROW_ROWS: usize = 1024;

/// How the rows of one relation become messages.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    pub(super) format: KafkaFormat,
    pub(super) key: Vec<String>,
    pub(super) partitions: i32,
    /// Bytes that a message may have.
    pub(super) limit: usize,
}

impl Encoder {
    pub(super) fn new(format: KafkaFormat, relation: &RelationSchema, partitions: i32, limit: usize) -> Self {
        Self { format, key: relation.key.clone(), partitions, limit: limit.saturating_sub(OVERHEAD) }
    }

    /// The first column that the format cannot hold, as a reason.
    pub(super) fn unwritable(format: KafkaFormat, schema: &Schema) -> Option<String> {
        let is_bad = |of: &DataType| match format {
            KafkaFormat::Csv => of.is_nested() || of.is_binary() || matches!(of, DataType::Union(..)),
            KafkaFormat::Json | KafkaFormat::Arrow => matches!(of, DataType::Union(..)),
            KafkaFormat::Avro => false,
        };
        if format == KafkaFormat::Avro {
            return Some("rows cannot be written as Avro; write them as JSON, CSV or Arrow".into());
        }
        let bad = schema.fields().iter().find(|field| is_bad(field.data_type()))?;
        Some(format!(
            "column `{}` has the type {}, which {} cannot hold; leave it out or cast it",
            bad.name(),
            bad.data_type(),
            format.as_str()
        ))
    }

    /// A batch as messages, and the rows that no message can hold.
    pub(super) fn encode(&self, batch: &RecordBatch, out: &mut Messages) -> Result<Vec<RefusedRow>> {
        let keys = Keys::new(batch, &self.key)?;
        let partitions: Vec<i32> = (0..batch.num_rows()).map(|row| keys.partition(row, self.partitions)).collect();
        if self.format == KafkaFormat::Arrow {
            return self.encode_arrow(batch, &keys, &partitions, out);
        }
        let (text, ends) = self.text(batch)?;
        let mut refused = Vec::new();
        let mut start = 0;
        let mut key = String::new();
        for (row, (end, partition)) in ends.into_iter().zip(partitions).enumerate() {
            let value = text.get(start..end - 1).unwrap_or_default();
            start = end;
            key.clear();
            let has_key = keys.write(row, &mut key);
            if key.len() + value.len() > self.limit {
                refused.push(self.too_large(batch, &keys, row, key.len() + value.len())?);
                continue;
            }
            out.push(partition, has_key.then_some(key.as_bytes()), value);
        }
        Ok(refused)
    }

    /// All rows as text, and where each ends (behind its line end).
    fn text(&self, batch: &RecordBatch) -> Result<(Vec<u8>, Vec<usize>), ArrowError> {
        let mut text = Vec::with_capacity(batch.num_rows() * 256);
        let mut ends = Vec::with_capacity(batch.num_rows());
        if self.format == KafkaFormat::Csv {
            write_csv_rows(batch, false, &mut text, |end| ends.push(end))?;
        } else {
            write_json(batch, &mut text)?;
            ends.extend(memchr_iter(b'\n', &text).map(|end| end + 1));
        }
        Ok((text, ends))
    }

    /// Rows of one partition together, without a key.
    fn encode_arrow(
        &self,
        batch: &RecordBatch,
        keys: &Keys,
        partitions: &[i32],
        out: &mut Messages,
    ) -> Result<Vec<RefusedRow>> {
        let mut rows: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
        let partition = |row: u32| partitions.get(row as usize).copied().unwrap_or_default();
        rows.sort_by_key(|row| partition(*row));
        let mut refused = Vec::new();
        let mut todo: Vec<&[u32]> = rows.chunk_by(|a, b| partition(*a) == partition(*b)).collect();
        todo.reverse();
        while let Some(rows) = todo.pop() {
            let Some(first) = rows.first() else { continue };
            if rows.len() > ARROW_ROWS {
                let (head, tail) = rows.split_at(ARROW_ROWS);
                todo.extend([tail, head]);
                continue;
            }
            let piece = take_record_batch(batch, &UInt32Array::from(rows.to_vec()))?;
            let value = stream(&piece)?;
            if value.len() <= self.limit {
                out.push_rows(partition(*first), None, &value, rows.len() as u64);
            } else if rows.len() == 1 {
                refused.push(self.too_large(batch, keys, *first as usize, value.len())?);
            } else {
                let (head, tail) = rows.split_at(rows.len() / 2);
                todo.extend([tail, head]);
            }
        }
        Ok(refused)
    }

    fn too_large(&self, batch: &RecordBatch, keys: &Keys, row: usize, bytes: usize) -> Result<RefusedRow> {
        let mut payload = Vec::new();
        write_json(&batch.slice(row, 1), &mut payload)?;
        let key =
            self.key.iter().zip(&keys.columns).map(|(name, column)| (name.clone(), text_at(column, row).to_owned()));
        Ok(RefusedRow {
            key: key.collect(),
            symbol: keys.symbol.as_ref().map(|column| text_at(column, row).to_owned()),
            reason: format!(
                "a message of {bytes} bytes is more than the {} that the topic takes; raise its `max.message.bytes`",
                self.limit
            ),
            payload: String::from_utf8_lossy(payload.trim_ascii_end()).into_owned(),
        })
    }
}

fn stream(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(batch)?;
    writer.into_inner()
}

/// The keys of a batch's rows.
struct Keys {
    columns: Vec<StringArray>,
    symbol: Option<StringArray>,
}

impl Keys {
    fn new(batch: &RecordBatch, key: &[String]) -> Result<Self, ArrowError> {
        let text = |column: &ArrayRef| cast(column, &DataType::Utf8).map(|text| text.as_string::<i32>().clone());
        let columns = key.iter().filter_map(|name| batch.column_by_name(name)).map(text).collect::<Result<_, _>>()?;
        let symbol = batch.column_by_name("symbol").map(text).transpose()?;
        Ok(Self { columns, symbol })
    }

    /// `AAPL|1d|2024-01-02T00:00:00Z`; false if rows of this relation have no key.
    fn write(&self, row: usize, into: &mut String) -> bool {
        for (idx, column) in self.columns.iter().enumerate() {
            if idx > 0 {
                into.push('|');
            }
            into.push_str(text_at(column, row));
        }
        !self.columns.is_empty()
    }

    /// By the symbol; rows without one by their key, and rows without a key in turn.
    fn partition(&self, row: usize, partitions: i32) -> i32 {
        if let Some(symbol) = &self.symbol {
            return partition_of(text_at(symbol, row).as_bytes(), partitions);
        }
        let mut key = String::new();
        if self.write(row, &mut key) {
            return partition_of(key.as_bytes(), partitions);
        }
        i32::try_from(row % usize::try_from(partitions.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

/// NULL is the empty text.
fn text_at(column: &StringArray, row: usize) -> &str {
    if column.is_null(row) { "" } else { column.value(row) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, TimeUnit};

    use super::*;
    use crate::kafka::decode::Decoder;

    fn batch() -> RecordBatch {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let schema = Schema::new(vec![
            Field::new("symbol", DataType::Utf8, false),
            Field::new("ts", instant, false),
            Field::new("close", DataType::Float64, true),
            Field::new("note", DataType::Utf8, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["AAPL", "MSFT", "AAPL"])),
            Arc::new(TimestampMicrosecondArray::from(vec![0, 1_500_000, 2_000_000]).with_timezone("UTC")),
            Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN)])),
            Arc::new(StringArray::from(vec![Some("two\nlines, \"quoted\""), None, Some("")])),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn encoder(format: KafkaFormat, limit: usize) -> Encoder {
        let relation = RelationSchema::new("bars", batch().schema()).with_key(["symbol", "ts"]);
        Encoder::new(format, &relation, 4, limit)
    }

    /// Partition, key and value.
    type Message = (i32, Option<String>, Vec<u8>);

    fn messages(encoder: &Encoder) -> (Vec<Message>, Vec<RefusedRow>) {
        let mut out = Messages::default();
        let refused = encoder.encode(&batch(), &mut out).unwrap();
        let mut all = Vec::new();
        for message in out.iter() {
            let key = message.key.map(|key| String::from_utf8(key.to_vec()).unwrap());
            all.push((message.partition, key, message.value.to_vec()));
        }
        (all, refused)
    }

    #[test]
    fn rows_are_keyed_and_placed_by_symbol() {
        let (messages, refused) = messages(&encoder(KafkaFormat::Json, 10_000));
        assert!(refused.is_empty());
        let keys: Vec<_> = messages.iter().map(|(_, key, _)| key.clone().unwrap()).collect();
        assert_eq!(keys, ["AAPL|1970-01-01T00:00:00Z", "MSFT|1970-01-01T00:00:01.500Z", "AAPL|1970-01-01T00:00:02Z"]);
        assert_eq!(messages[0].0, messages[2].0);
        assert_eq!(messages[0].0, partition_of(b"AAPL", 4));
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        for (_, format) in KafkaFormat::ALL {
            let (messages, _) = messages(&encoder(format, 10_000));
            let decoder = Decoder::new(format, batch().schema(), false, b',');
            let mut rows = decoder.rows(3);
            for (_, _, value) in &messages {
                rows.add(value).unwrap().unwrap();
            }
            assert_eq!(rows.len(), 3, "{format:?}");
            let read = RecordBatch::try_new(batch().schema(), rows.finish().unwrap()).unwrap();
            let print = |batch: &RecordBatch| {
                let rows: Vec<String> = (0..batch.num_rows())
                    .map(|row| arrow::util::pretty::pretty_format_batches(&[batch.slice(row, 1)]).unwrap().to_string())
                    .collect();
                let mut rows = rows;
                rows.sort();
                rows
            };
            assert_eq!(print(&read), print(&batch()), "{format:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_with_its_key() {
        for (_, format) in KafkaFormat::ALL {
            let (messages, refused) = messages(&encoder(format, OVERHEAD + 20));
            assert!(messages.is_empty(), "{format:?}");
            assert_eq!(refused.len(), 3);
            let first = refused.iter().find(|row| row.symbol.as_deref() == Some("MSFT")).unwrap();
            assert_eq!(first.key[1], ("ts".to_owned(), "1970-01-01T00:00:01.500Z".to_owned()));
            assert!(first.payload.starts_with("{\"symbol\":\"MSFT\""), "{}", first.payload);
        }
    }
}
