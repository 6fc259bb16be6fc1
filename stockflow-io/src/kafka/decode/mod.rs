//! From a message's bytes to rows. A message is decoded whole or refused whole.

mod arrow;
mod avro;
mod csv;
mod json;

use std::sync::Arc;

use ::arrow::array::{ArrayRef, new_null_array};
use ::arrow::datatypes::{Schema, SchemaRef};
use ::arrow::error::ArrowError;

use super::error::Failure;
use super::registry::SchemaRegistry;
use crate::text::{Column, Objects, Rows, Shape};

/// How the values of messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KafkaFormat {
    /// One JSON object a message.
    #[default]
    Json,
    /// One CSV record a message, without a header: the columns in the declared order.
    Csv,
    /// One Arrow IPC stream a message: any number of rows.
    Arrow,
    /// One Avro record a message, in Confluent's wire format with a schema registry; for sources only.
    Avro,
}

impl KafkaFormat {
    /// The word in configurations, and the format: those that can be read and written.
    pub const ALL: [(&'static str, Self); 3] = [("json", Self::Json), ("csv", Self::Csv), ("arrow", Self::Arrow)];

    /// The word in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Avro => "avro",
        }
    }
}

/// Why a message is refused, and its symbol, if that much could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: String,
    pub(super) symbol: Option<String>,
}

impl Refused {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), symbol: None }
    }
}

/// What all messages of a source have in common.
#[derive(Debug)]
pub(super) struct Decoder {
    format: KafkaFormat,
    schema: SchemaRef,
    shape: Shape,
    /// Columns that may not be NULL.
    required: Vec<usize>,
    /// Whether fields without a column are passed over.
    ignores_unknown: bool,
    csv: csv::Records,
    /// Where the schemas of Avro are.
    registry: Option<SchemaRegistry>,
}

/// What is said of a field without a column.
const UNPLANNED: &str =
    "is none of the declared columns; declare it under `types`, or say `unknown_fields = \"ignore\"`";

impl Decoder {
    pub(super) fn new(format: KafkaFormat, schema: SchemaRef, ignores_unknown: bool, delimiter: u8) -> Self {
        let columns: Arc<[Column]> = schema
            .fields()
            .iter()
            .map(|field| Column { name: field.name().clone(), data_type: field.data_type().clone() })
            .collect();
        let all = (0..columns.len()).collect();
        let mut shape = Shape::new(Arc::clone(&columns), all, Arc::clone(&schema));
        shape.unknown = (!ignores_unknown).then_some(UNPLANNED);
        let required =
            schema.fields().iter().enumerate().filter(|(_, field)| !field.is_nullable()).map(|(idx, _)| idx).collect();
        let csv = csv::Records::new(&columns, delimiter);
        Self { format, schema, shape, required, ignores_unknown, csv, registry: None }
    }

    pub(super) fn with_registry(mut self, registry: Option<SchemaRegistry>) -> Self {
        self.registry = registry;
        self
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows under construction.
    pub(super) fn rows(&self, capacity: usize) -> Decoded<'_> {
        Decoded {
            decoder: self,
            rows: Rows::new(&self.shape, capacity),
            objects: Objects::new(&self.shape),
            batches: Vec::new(),
            avro: avro::Readers::default(),
            n: 0,
        }
    }

    /// A row with a NULL where none may be.
    fn missing(&self, is_null: impl Fn(usize) -> bool) -> Option<String> {
        let idx = self.required.iter().find(|idx| is_null(**idx))?;
        Some(format!("`{}` is missing or null", self.schema.field(*idx).name()))
    }
}

/// Rows of messages that were decoded.
pub(super) struct Decoded<'d> {
    decoder: &'d Decoder,
    rows: Rows<'d>,
    objects: Objects<'d>,
    /// Of a format that gives columns at once.
    batches: Vec<Vec<ArrayRef>>,
    avro: avro::Readers,
    n: usize,
}

impl Decoded<'_> {
    /// Adds a message's rows; gives how many. A message without a value is refused.
    ///
    /// # Errors
    ///
    /// Those of [`Self::add`].
    pub(super) fn add_message(&mut self, value: Option<&[u8]>) -> Result<Result<usize, Refused>, Failure> {
        match value {
            Some(value) => self.add(value),
            None => Ok(Err(Refused::new("it has no value: a tombstone deletes its key, and a row cannot"))),
        }
    }

    /// Adds a value's rows; gives how many.
    ///
    /// # Errors
    ///
    /// If it cannot be known what the message means: the schema registry does not answer.
    pub(super) fn add(&mut self, value: &[u8]) -> Result<Result<usize, Refused>, Failure> {
        let added = match self.decoder.format {
            KafkaFormat::Json => json::decode(self.decoder, value, &mut self.objects, &mut self.rows),
            KafkaFormat::Csv => self.decoder.csv.decode(self.decoder, value, &mut self.rows),
            KafkaFormat::Arrow => arrow::decode(self.decoder, value, &mut self.batches),
            KafkaFormat::Avro => self.avro.decode(self.decoder, value, &mut self.batches)?,
        };
        self.n += added.as_ref().copied().unwrap_or(0);
        Ok(added)
    }

    pub(super) fn len(&self) -> usize {
        self.n
    }

    /// The declared columns.
    pub(super) fn finish(self) -> Result<Vec<ArrayRef>, ArrowError> {
        if matches!(self.decoder.format, KafkaFormat::Arrow | KafkaFormat::Avro) {
            return arrow::concatenate(&self.decoder.schema, &self.batches);
        }
        let finished = self.rows.finish()?;
        let fields = self.decoder.schema.fields().iter();
        let arrays = finished.arrays.into_iter().zip(fields);
        Ok(arrays.map(|(array, field)| array.unwrap_or_else(|| new_null_array(field.data_type(), self.n))).collect())
    }
}

/// Columns that text can be read into; the name of the first that is none.
pub(super) fn unreadable(format: KafkaFormat, schema: &Schema) -> Option<String> {
    if matches!(format, KafkaFormat::Arrow | KafkaFormat::Avro) {
        return None;
    }
    let bad = schema.fields().iter().find(|field| crate::text::Kind::of(field.data_type()).is_none())?;
    Some(format!("column `{}` has the type {}, which {} cannot hold", bad.name(), bad.data_type(), format.as_str()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ::arrow::array::{Float64Array, StringArray};
    use ::arrow::datatypes::{DataType, Field, TimeUnit};
    use ::arrow::record_batch::RecordBatch;
    use ::arrow::util::pretty::pretty_format_batches;

    use super::*;

    fn schema() -> SchemaRef {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Arc::new(Schema::new(vec![
            Field::new("symbol", DataType::Utf8, false),
            Field::new("ts", instant, false),
            Field::new("close", DataType::Float64, true),
            Field::new("n", DataType::Int64, true),
        ]))
    }

    fn decoder(format: KafkaFormat) -> Decoder {
        Decoder::new(format, schema(), false, b',')
    }

    /// The rows that were decoded, and the reasons of those that were not.
    fn decode(format: KafkaFormat, messages: &[&[u8]]) -> (Vec<String>, Vec<String>) {
        let decoder = decoder(format);
        let mut rows = decoder.rows(1);
        let refused: Vec<String> = messages
            .iter()
            .filter_map(|message| rows.add(message).unwrap().err())
            .map(|refused| format!("{}: {}", refused.symbol.unwrap_or_else(|| "?".into()), refused.reason))
            .collect();
        let n = rows.len();
        let batch = RecordBatch::try_new(schema(), rows.finish().unwrap()).unwrap();
        assert_eq!(batch.num_rows(), n);
        let table = pretty_format_batches(&[batch]).unwrap().to_string();
        let lines = table.lines().skip(3).filter(|line| line.starts_with('|'));
        let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|"));
        (cells.collect(), refused)
    }

    #[test]
    fn json_objects_are_rows_and_poison_is_refused() {
        let (rows, refused) = decode(
            KafkaFormat::Json,
            &[
                br#"{"symbol":"A","ts":"2024-01-02T00:00:00Z","close":1.5,"n":3}"#,
                br#" {"n":null,"close":"NaN","TS":"2024-01-03T00:00:00Z","symbol":"\u0042"} "#,
                b"",
                b"null",
                b"[1]",
                b"{\"symbol\":\"A\"",
                br#"{"symbol":"A","ts":"2024-01-02T00:00:00Z"}{}"#,
                br#"{"symbol":"A","close":1}"#,
                br#"{"symbol":null,"ts":"2024-01-02T00:00:00Z"}"#,
                br#"{"symbol":"A","ts":"yesterday"}"#,
                br#"{"symbol":"A","ts":"2024-01-02T00:00:00Z","other":1}"#,
                br#"{"symbol":"A","Symbol":"B","ts":"2024-01-02T00:00:00Z"}"#,
                b"\xff\xfe\x00",
                &[b'['; 100_000],
            ],
        );
        assert_eq!(rows, ["A|2024-01-02T00:00:00Z|1.5|3", "B|2024-01-03T00:00:00Z|NaN|"]);
        assert_eq!(refused.len(), 12, "{refused:#?}");
        for (text, found) in [
            "it is no JSON",
            "it is no JSON object",
            "it is no JSON object",
            "it is no JSON",
            "it is no JSON: trailing characters",
            "A: `ts` is missing or null",
            "`symbol` is missing or null",
            "A: field `ts`: `yesterday` is not a point in time",
            "A: field `other` is none of the declared columns",
            "field `Symbol` is there twice",
            "it is not UTF-8 text",
            "it is no JSON object",
        ]
        .iter()
        .zip(&refused)
        {
            assert!(found.contains(text), "{found}: {text}");
        }
    }

    #[test]
    fn csv_records_are_rows_and_poison_is_refused() {
        let (rows, refused) = decode(
            KafkaFormat::Csv,
            &[
                b"A,2024-01-02T00:00:00Z,1.5,3",
                b"\"B\",2024-01-03T00:00:00Z,,\r\n",
                b"A,2024-01-02T00:00:00Z,1.5",
                b"A,2024-01-02T00:00:00Z,x,3",
                b",2024-01-02T00:00:00Z,1,3",
                b"A,2024-01-02T00:00:00Z,1,3\nB,2024-01-02T00:00:00Z,1,3",
                b"\"A,2024-01-02T00:00:00Z,1,3",
                b"",
                b"\xff,2024-01-02T00:00:00Z,1,3",
            ],
        );
        assert_eq!(rows, ["A|2024-01-02T00:00:00Z|1.5|3", "B|2024-01-03T00:00:00Z||"]);
        for (text, found) in [
            "3 fields where there are 4 columns",
            "A: column `close`: `x` is not a number",
            "`symbol` is missing or null",
            "it holds 2 records",
            "a quote is never closed",
            "it holds no record",
            "column `symbol` is not UTF-8 text",
        ]
        .iter()
        .zip(&refused)
        {
            assert!(found.contains(text), "{found}: {text}");
        }
        assert_eq!(refused.len(), 7);
    }

    fn ipc(batch: &RecordBatch) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = ::arrow::ipc::writer::StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
        writer.write(batch).unwrap();
        writer.finish().unwrap();
        drop(writer);
        bytes
    }

    #[test]
    fn arrow_streams_are_rows_and_poison_is_refused() {
        use ::arrow::array::{Float32Array, StringViewArray, TimestampMillisecondArray};
        let time = Arc::new(TimestampMillisecondArray::from(vec![0, 1000]).with_timezone("UTC"));
        // Other types of the same meaning, and other case.
        let good = RecordBatch::try_from_iter([
            ("close", Arc::new(Float32Array::from(vec![Some(1.5), None])) as ArrayRef),
            ("TS", Arc::clone(&time) as ArrayRef),
            ("symbol", Arc::new(StringViewArray::from(vec!["A", "B"])) as ArrayRef),
        ])
        .unwrap();
        let bad = RecordBatch::try_from_iter_with_nullable([
            ("symbol", Arc::new(StringViewArray::from(vec![Some("A"), None])) as ArrayRef, true),
            ("ts", time as ArrayRef, true),
        ])
        .unwrap();
        let (good, bad) = (ipc(&good), ipc(&bad));
        let mut flipped = good.clone();
        let middle = flipped.len() / 2;
        flipped.truncate(middle);
        let (rows, refused) = decode(KafkaFormat::Arrow, &[&good, &bad, b"", b"not arrow at all", &flipped]);
        assert_eq!(rows, ["A|1970-01-01T00:00:00Z|1.5|", "B|1970-01-01T00:00:01Z||"]);
        assert!(refused[0].contains("`symbol` is missing or null"), "{refused:?}");
        assert!(refused[1..].iter().all(|reason| reason.contains("it is no Arrow IPC stream")), "{refused:?}");
        assert_eq!(refused.len(), 4);
    }

    /// Rows or a reason, and nothing else.
    fn check_bytes(format: KafkaFormat, bytes: &[u8]) {
        let decoder = decoder(format);
        let mut rows = decoder.rows(1);
        let added = rows.add(bytes).unwrap().unwrap_or(0);
        let n = rows.len();
        assert_eq!(added, n);
        assert!(rows.finish().unwrap().iter().all(|column| column.len() == n));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            for (_, format) in KafkaFormat::ALL {
                check_bytes(format, &bytes);
            }
        }

        #[test]
        fn no_change_of_an_arrow_stream_panics(
            changes in proptest::collection::vec((proptest::num::usize::ANY, proptest::num::u8::ANY), 1..5),
        ) {
            let symbols = StringArray::from(vec!["A", "B"]);
            let closes = Float64Array::from(vec![Some(1.5), None]);
            let batch = RecordBatch::try_from_iter([
                ("symbol", Arc::new(symbols) as ArrayRef),
                ("close", Arc::new(closes) as ArrayRef),
            ])
            .unwrap();
            let mut bytes = ipc(&batch);
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            check_bytes(KafkaFormat::Arrow, &bytes);
        }
    }
}
