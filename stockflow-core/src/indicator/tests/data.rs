//! Series for tests: the real bars that the repository ships, and generated ones.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

/// One symbol's bars, column by column.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    pub(super) open: Vec<f64>,
    pub(super) high: Vec<f64>,
    pub(super) low: Vec<f64>,
    pub(super) close: Vec<f64>,
    pub(super) volume: Vec<f64>,
}

impl Series {
    pub(super) fn column(&self, name: &str) -> Vec<f64> {
        match name {
            "open" => self.open.clone(),
            "high" => self.high.clone(),
            "low" => self.low.clone(),
            "close" => self.close.clone(),
            "volume" => self.volume.clone(),
            "scaled" => self.close.iter().map(|it| it / (it + 1000.0)).collect(),
            "periods" => self.volume.iter().map(|it| 2.0 + (*it as i64 % 29) as f64).collect(),
            other => panic!("no column {other}"),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.close.len()
    }

    pub(super) fn first(&self, n: usize) -> Self {
        let cut = |it: &Vec<f64>| it[..n.min(it.len())].to_vec();
        Self {
            open: cut(&self.open),
            high: cut(&self.high),
            low: cut(&self.low),
            close: cut(&self.close),
            volume: cut(&self.volume),
        }
    }
}

/// A wave with a trend: every function has something to say about it. The same numbers every time.
pub(super) fn wave(n: usize, seed: u64) -> Series {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut series = Series::default();
    let mut price = 100.0;
    for i in 0..n {
        let open = price;
        let close = (open * (1.0 + (random() - 0.49) * 0.04) + (i as f64 / 9.0).sin()).max(1.0);
        series.open.push(open);
        series.high.push(open.max(close) * (1.0 + random() * 0.01));
        series.low.push(open.min(close) * (1.0 - random() * 0.01));
        series.close.push(close);
        series.volume.push((1000.0 + random() * 1e6).floor());
        price = close;
    }
    series
}

/// The real bars of one symbol in `examples/data`: as traded, and adjusted by the ratio of the adjusted close.
pub(super) fn shipped(symbol: &str) -> (Series, Series) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../examples/data/{symbol}.csv"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut raw, mut adjusted) = (Series::default(), Series::default());
    for line in text.lines().skip(1) {
        let cells: Vec<f64> = line.split(',').skip(1).map(|it| it.parse().unwrap()).collect();
        let ratio = cells[5] / cells[3];
        for (series, factor) in [(&mut raw, 1.0), (&mut adjusted, ratio)] {
            series.open.push(cells[0] * factor);
            series.high.push(cells[1] * factor);
            series.low.push(cells[2] * factor);
            series.close.push(cells[3] * factor);
            series.volume.push(cells[4]);
        }
    }
    (raw, adjusted)
}

/// Several symbols as one table of bars, interleaved by time so that nothing is grouped by chance.
pub(super) fn table(symbols: &[(&str, &Series)]) -> RecordBatch {
    let mut rows: Vec<(usize, usize)> =
        symbols.iter().enumerate().flat_map(|(s, (_, series))| (0..series.len()).map(move |i| (i, s))).collect();
    rows.sort_unstable();
    let column = |name: &str| -> ArrayRef {
        let columns: Vec<_> = symbols.iter().map(|(_, series)| series.column(name)).collect();
        Arc::new(rows.iter().map(|(i, s)| columns[*s][*i]).collect::<Float64Array>())
    };
    let ts = rows.iter().map(|(i, _)| *i as i64 * 86_400_000_000).collect::<Vec<_>>();
    let mut fields = vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("interval", DataType::Utf8, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
    ];
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(_, s)| Some(symbols[*s].0)).collect::<StringArray>()),
        Arc::new(rows.iter().map(|_| Some("1d")).collect::<StringArray>()),
        Arc::new(TimestampMicrosecondArray::from(ts).with_timezone("UTC")),
    ];
    for name in ["open", "high", "low", "close", "volume", "scaled", "periods"] {
        fields.push(Field::new(name, DataType::Float64, true));
        columns.push(column(name));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}
