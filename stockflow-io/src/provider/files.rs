//! A folder or bucket of files as a provider.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float64Type, TimeUnit, TimestampMicrosecondType};
use async_trait::async_trait;
use chrono::{DateTime, Duration, NaiveDate};
use datafusion::prelude::SessionContext;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::schema::{Basis, action_schema, bar_column, symbol_schema};
use stockflow_core::source::{EpochLimit, Source};
use stockflow_core::transform::Interval;
use stockflow_core::{Error, ErrorClass};

use super::rows::{self, Row, midnight, period};
use super::{BarRequest, Failure, FailureKind, Found, Provider};
use crate::file::FileSource;

/// CSV, Parquet or NDJSON files on a disk or in an object store, one a symbol or with a column `symbol`.
///
/// The path is as for [`FileSource`]; `{symbol}` in it stands for the spelling of the symbol, and without it all files are
/// looked through for rows of the symbol. Columns go by their usual names (`Date`, `Adj Close`, …).
/// Files tell no corporate actions, and one interval only.
#[derive(Debug, Clone)]
pub struct Files {
    path: String,
    name: String,
    interval: Interval,
    basis: [Basis; 1],
}

impl Files {
    /// Daily bars as traded, at a path or URL.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), name: "files".to_owned(), interval: Interval::DAY, basis: [Basis::Raw] }
    }

    /// States the price basis.
    #[must_use]
    pub fn on(mut self, basis: Basis) -> Self {
        self.basis = [basis];
        self
    }

    /// States the interval.
    #[must_use]
    pub fn of(mut self, interval: Interval) -> Self {
        self.interval = interval;
        self
    }

    async fn read(&self, spelling: &str) -> stockflow_core::Result<Vec<RecordBatch>> {
        let source = FileSource::new(self.path.replace("{symbol}", spelling))?;
        let limit = EpochLimit { everything: true, ..EpochLimit::default() };
        let Some(plan) = source.plan(&Checkpoint::new(), &limit).await? else { return Ok(Vec::new()) };
        let scan = source.scan(&plan).await?;
        let mut batches = Vec::new();
        for table in scan.relations.into_values() {
            batches.extend(SessionContext::new().read_table(table)?.collect().await?);
        }
        let outcome = scan.end.outcome().await?;
        if let Some(left) = outcome.left_out.first() {
            let reason = format!("`{}` cannot be read: {}", left.partition, left.reason);
            return Err(Error::refused(stockflow_core::Origin::new("files"), ErrorClass::Data, reason));
        }
        Ok(batches)
    }
}

#[async_trait]
impl Provider for Files {
    fn name(&self) -> &str {
        &self.name
    }

    fn bases(&self) -> &[Basis] {
        &self.basis
    }

    fn has(&self, interval: Interval) -> bool {
        self.interval == interval
    }

    async fn bars(&self, request: &BarRequest) -> Result<Found, Failure> {
        if request.spelling.contains(['/', '\\', '*', '?', '[']) || request.spelling.contains("..") {
            let reason = format!("`{}` cannot be part of a file's name", request.spelling);
            return Err(Failure::new(FailureKind::Unknown, reason));
        }
        let is_one_each = self.path.contains("{symbol}");
        let batches = self.read(&request.spelling).await.map_err(|error| {
            // A path that is not there is how a folder says that it does not know the symbol.
            let is_absent = is_one_each && error.class() == ErrorClass::Config;
            let kind = if is_absent { FailureKind::Unknown } else { FailureKind::Unavailable };
            Failure::new(kind, error.chain().join(": "))
        })?;
        let (mut rows, mut rejects) = (Vec::new(), Vec::new());
        let mut n_seen = 0;
        for batch in &batches {
            let columns = Columns::of(batch);
            for row_idx in 0..batch.num_rows() {
                if columns.symbol(row_idx).map_or(!is_one_each, |symbol| symbol != request.spelling) {
                    continue;
                }
                n_seen += 1;
                match columns.row(row_idx, request) {
                    Ok(row) => rows.push(row),
                    Err(reason) => {
                        let position = format!("row {n_seen}");
                        rejects.push(rows::refused(&self.name, request, position, reason, String::new()));
                    }
                }
            }
        }
        if n_seen == 0 {
            let reason = format!("the files hold no row of `{}`", request.spelling);
            return Err(Failure::new(FailureKind::Unknown, reason));
        }
        let [basis] = self.basis;
        let bars = rows::bars(rows, &self.name, basis, None, request)
            .map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))?;
        if bars.num_rows() == 0 && rejects.is_empty() {
            return Err(Failure::new(FailureKind::Nothing, "the files have no bars on these dates"));
        }
        Ok(Found {
            bars,
            actions: RecordBatch::new_empty(action_schema()),
            symbols: RecordBatch::new_empty(symbol_schema()),
            rejects,
        })
    }
}

/// The columns of a file under our names and with our types, as far as they can be cast.
struct Columns(BTreeMap<&'static str, ArrayRef>);

impl Columns {
    fn of(batch: &RecordBatch) -> Self {
        let mut found = BTreeMap::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let Some(name) = bar_column(field.name()) else { continue };
            let data_type = match name {
                "date" => DataType::Date32,
                "ts" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                "open" | "high" | "low" | "close" | "volume" | "adj_close" => DataType::Float64,
                _ => DataType::Utf8,
            };
            if let Ok(column) = cast(column, &data_type) {
                found.entry(name).or_insert(column);
            }
        }
        Self(found)
    }

    fn symbol(&self, row_idx: usize) -> Option<&str> {
        let column = self.0.get("symbol")?.as_string_opt::<i32>()?;
        column.is_valid(row_idx).then(|| column.value(row_idx))
    }

    fn number(&self, name: &str, row_idx: usize) -> Option<f64> {
        let column = self.0.get(name)?.as_primitive_opt::<Float64Type>()?;
        column.is_valid(row_idx).then(|| column.value(row_idx)).filter(|it| it.is_finite())
    }

    fn date(&self, row_idx: usize) -> Option<NaiveDate> {
        let column = self.0.get("date")?.as_primitive_opt::<Date32Type>()?;
        column.is_valid(row_idx).then(|| column.value_as_date(row_idx)).flatten()
    }

    fn row(&self, row_idx: usize, request: &BarRequest) -> Result<Row, String> {
        let names = ["open", "high", "low", "close", "volume", "adj_close"];
        let values = names.map(|name| self.number(name, row_idx));
        if values.iter().take(4).all(Option::is_none) {
            return Err("a row without prices".to_owned());
        }
        let stamps = self.0.get("ts").and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
        let stamp = stamps.filter(|it| it.is_valid(row_idx)).map(|it| it.value(row_idx));
        let stamp = stamp.and_then(DateTime::from_timestamp_micros);
        let date = self.date(row_idx).or_else(|| stamp.map(|it| it.date_naive())).ok_or("a row without a date")?;
        if request.interval.is_intraday() {
            let ts = stamp.ok_or("an intraday row without a time")?;
            let width = Duration::seconds(request.interval.seconds().unwrap_or_default());
            return Ok(Row { ts, date, values, is_final: ts + width <= request.now });
        }
        let (first, after) = period(date, request.interval);
        Ok(Row { ts: midnight(first), date: first, values, is_final: after <= request.now.date_naive() })
    }
}
