//! What is sent: always the same rows, told to the oracles as they go out.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::bar_schema;
use stockflow_core::testing::{Oracle, bars_relation, day};

use super::cell::{Cell, PARTITIONS, SourceKind};

/// Names that need quoting somewhere.
const SYMBOLS: [&str; 6] = ["AAA", "BRK.B", "O'NE\"IL", "Zürich", "A\\B\tC", "LATE"];

/// What no decoder takes: the text, and the symbol that can still be told.
const POISON: [(&str, Option<&str>); 3] = [
    ("no JSON at all", None),
    (r#"{"symbol":"AAA","interval":"1d","close":"ten"}"#, Some("AAA")),
    (r#"{"symbol": "AAA""#, None),
];

/// One bar: which symbol, which day, and how often it has been corrected.
#[derive(Debug, Clone, Copy)]
struct Bar {
    symbol: usize,
    day: i32,
    revision: i64,
}

/// The parts of the input, and what the oracles know of them.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) bars: Oracle,
    pub(super) letters: Oracle,
    parts: u32,
    /// The offset of the next message, by partition of the topic.
    next: Vec<i64>,
}

/// What is compared of a dead letter.
fn letters_relation() -> RelationSchema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let columns = ["pipeline", "connector", "partition", "position", "symbol", "payload"];
    RelationSchema::new("letters", Arc::new(Schema::new(columns.map(text).to_vec())))
        .with_key(["partition", "position"])
}

fn series(symbols: std::ops::Range<usize>, days: std::ops::Range<i32>, revision: i64) -> Vec<Bar> {
    symbols.flat_map(|symbol| days.clone().map(move |day| Bar { symbol, day, revision })).collect()
}

/// The bars of a part, and how many of the poisoned texts come with it.
fn part(number: u32) -> (Vec<Bar>, usize) {
    match number {
        1 => (series(0..5, 0..40, 1), 1),
        // What is new, what is corrected, a symbol that joins, and a bar that is corrected in the same part.
        2 => (
            [series(0..5, 40..60, 1), series(0..5, 30..40, 2), series(5..6, 0..20, 1), series(0..1, 50..51, 2)]
                .concat(),
            3,
        ),
        // A correction of a correction, and one that is older than what is known.
        _ => ([series(0..6, 60..70, 1), series(0..5, 35..45, 3), series(0..1, 5..6, 0)].concat(), 1),
    }
}

/// About half of the rows of the second part, in which faults strike.
pub(super) fn half() -> usize {
    part(2).0.len() / 2
}

fn batch(bars: &[Bar]) -> RecordBatch {
    let text = |value: fn(&Bar) -> Option<&'static str>| -> ArrayRef {
        Arc::new(bars.iter().map(value).collect::<StringArray>())
    };
    // All digits that a number has: as text it must come back to the last bit.
    let price = |change: i64| -> ArrayRef {
        let of = |bar: &Bar| {
            let units = (bar.symbol as i64 + 1) * 100_000 + i64::from(bar.day) * 3_333 + bar.revision * 101 + change;
            units as f64 / 30_000.0
        };
        Arc::new(Float64Array::from_iter_values(bars.iter().map(of)))
    };
    let some = |is_null: fn(&Bar) -> bool, values: ArrayRef| -> ArrayRef {
        let mask: BooleanArray = bars.iter().map(|bar| Some(is_null(bar))).collect();
        arrow::compute::nullif(&values, &mask).unwrap()
    };
    let time = |value: fn(&Bar) -> i64| -> ArrayRef {
        let times = TimestampMicrosecondArray::from_iter_values(bars.iter().map(value));
        Arc::new(times.with_timezone("UTC"))
    };
    let dates = bars.iter().map(|bar| i32::try_from(day(bar.day) / 86_400_000_000).unwrap());
    let columns: Vec<ArrayRef> = vec![
        text(|bar| Some(SYMBOLS[bar.symbol])),
        text(|_| Some("1d")),
        time(|bar| day(bar.day)),
        Arc::new(Date32Array::from_iter_values(dates)),
        price(-2_511),
        price(5_013),
        price(-3_337),
        price(0),
        price(10_000_000_000_001),
        some(|bar| bar.day % 7 == 0, price(-7)),
        text(|bar| (bar.symbol != 3).then_some("USD")),
        text(|bar| (bar.day % 5 != 0).then_some("one, \"two\"\tthree")),
        text(|_| Some("regular")),
        text(|_| Some("raw")),
        Arc::new(BooleanArray::from(vec![true; bars.len()])),
        some(|bar| bar.day % 2 == 0, time(|bar| day(bar.day) + 73_800_000_001)),
        time(|bar| day(100) + bar.revision * 1_000_001),
    ];
    RecordBatch::try_new(bar_schema(), columns).unwrap()
}

/// The rows as JSON, a text each.
fn json(rows: &RecordBatch) -> Vec<String> {
    let mut text = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
    writer.write(rows).unwrap();
    writer.finish().unwrap();
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

impl Feed {
    pub(super) fn new() -> Self {
        Self {
            bars: Oracle::new(bars_relation()),
            letters: Oracle::new(letters_relation()),
            parts: 0,
            next: vec![0; PARTITIONS as usize],
        }
    }

    /// Sends the next part to the source of a cell.
    pub(super) fn send(&mut self, cell: &Cell) {
        self.parts += 1;
        let (bars, n_poisoned) = part(self.parts);
        let poison = &POISON[..n_poisoned];
        match cell.source {
            SourceKind::File => self.write(cell, &bars, poison),
            SourceKind::Kafka => self.produce(cell, &bars, poison),
        }
    }

    /// A file a part: half of the bars, the poison, the other bars.
    fn write(&mut self, cell: &Cell, bars: &[Bar], poison: &[(&str, Option<&str>)]) {
        let file = format!("part{}.ndjson", self.parts);
        let (first, second) = bars.split_at(bars.len() / 2);
        let (first, second) = (batch(first), batch(second));
        let mut lines = json(&first);
        self.bars.sent(self.parts, &file, 1, &first).unwrap();
        for (text, symbol) in poison {
            lines.push((*text).to_owned());
            self.poisoned(cell, &file, lines.len() as i64, text, *symbol);
        }
        self.bars.sent(self.parts, &file, lines.len() as i64 + 1, &second).unwrap();
        lines.extend(json(&second));
        // At once, so that nobody reads half of it.
        let (hidden, path) = (cell.folder.join(".part"), cell.folder.join("input").join(&file));
        std::fs::write(&hidden, lines.join("\n") + "\n").unwrap();
        std::fs::rename(hidden, path).unwrap();
    }

    /// The symbols in turn over the partitions, the poison first.
    fn produce(&mut self, cell: &Cell, bars: &[Bar], poison: &[(&str, Option<&str>)]) {
        for partition in 0..PARTITIONS {
            let is_here = |idx: usize| idx % PARTITIONS as usize == partition as usize;
            let name = format!("{}/{partition}", cell.input());
            let first = self.next[partition as usize];
            let mut messages = Vec::new();
            for (_, (text, symbol)) in poison.iter().enumerate().filter(|(idx, _)| is_here(*idx)) {
                self.poisoned(cell, &name, first + messages.len() as i64, text, *symbol);
                messages.push((*text).to_owned());
            }
            let bars: Vec<Bar> = bars.iter().filter(|bar| is_here(bar.symbol)).copied().collect();
            let rows = batch(&bars);
            self.bars.sent(self.parts, &name, first + messages.len() as i64, &rows).unwrap();
            messages.extend(json(&rows));
            self.next[partition as usize] += messages.len() as i64;
            let messages: Vec<&[u8]> = messages.iter().map(String::as_bytes).collect();
            cell.broker().send(&cell.input(), partition, &messages);
        }
    }

    fn poisoned(&mut self, cell: &Cell, partition: &str, position: i64, text: &str, symbol: Option<&str>) {
        let relation = letters_relation();
        let cells = [
            Some(cell.name.as_str()),
            Some(cell.source.name()),
            Some(partition),
            Some(&position.to_string()),
            symbol,
            Some(text),
        ]
        .map(|value| Arc::new(StringArray::from(vec![value])) as ArrayRef);
        let row = RecordBatch::try_new(relation.schema, cells.to_vec()).unwrap();
        self.letters.sent(self.parts, partition, position, &row).unwrap();
    }
}
