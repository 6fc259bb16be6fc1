//! What was known at a point in time: bars and their revisions together.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use chrono::{DateTime, Months, Utc};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as QueryResult};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{ColumnarValue, Expr, ExprFunctionExt, ScalarUDF, Volatility, create_udf, lit, when};
use datafusion::prelude::{DataFrame, SessionContext, cast, ident};
use stockflow_core::Result;
use stockflow_core::relation::AS_OF;
use stockflow_core::schema::BAR_KEY;
use stockflow_core::transform::{Interval, IntervalUnit};

use super::place::Place;
use super::provider::{load, open_table, rows};
use super::revisions::{REPLACED_AS_OF, SUFFIX};
use super::schema::instant;

const KNOWN_FROM: &str = "__known_from";
const RANK: &str = "__rank";

/// The bars of the table at `url` as they were known at `at`: one row a key, with the table's columns.
///
/// A row counts as known from its `as_of` on, until another one replaced it. The first version of a bar counts as known at its close
/// already, because most histories are loaded long after; `strict` takes its `as_of`, too.
///
/// # Errors
///
/// Class config: there is no table, or its rows are not bars.
pub async fn as_of_view(
    session: &SessionContext,
    url: impl AsRef<str>,
    at: DateTime<Utc>,
    strict: bool,
) -> Result<DataFrame> {
    let place = Place::parse(url.as_ref())?;
    let bars = session.read_table(open_table(&place.text).await?)?;
    let columns: Vec<Expr> = bars.schema().fields().iter().map(|field| ident(field.name())).collect();
    let never = cast(lit(ScalarValue::Null), instant()).alias(REPLACED_AS_OF);
    let mut versions = bars.select(columns.iter().cloned().chain([never]).collect::<Vec<_>>())?;
    let revisions = place.beside(SUFFIX)?;
    if let Some(state) = load(&revisions, None).await? {
        let old = session.read_table(rows(&revisions, state, None)?)?;
        // Columns that the table got later are not in the revisions before the next correction.
        let column = |expr: &Expr| match expr {
            Expr::Column(column) if !old.schema().has_column_with_unqualified_name(&column.name) => {
                let of =
                    versions.schema().field_with_unqualified_name(&column.name).map(|field| field.data_type().clone());
                of.map(|of| cast(lit(ScalarValue::Null), of).alias(&column.name))
            }
            other => Ok(other.clone()),
        };
        let mut all = columns.iter().map(column).collect::<std::result::Result<Vec<_>, _>>()?;
        all.push(ident(REPLACED_AS_OF));
        versions = versions.union(old.clone().select(all)?)?;
    }
    let at = lit(ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), Some("UTC".into())));
    let key: Vec<Expr> = BAR_KEY.iter().map(|column| ident(*column)).collect();
    let ranked = |frame: DataFrame, ascending: bool| -> Result<DataFrame> {
        let rank = row_number().partition_by(key.clone()).order_by(vec![ident(AS_OF).sort(ascending, true)]).build()?;
        Ok(frame.window(vec![rank.alias(RANK)])?)
    };
    let known_from = if strict {
        ident(AS_OF)
    } else {
        let close = bar_close().call(vec![ident("interval"), ident("ts")]);
        let first = ident(RANK).eq(lit(1_u64)).and(close.clone().lt(ident(AS_OF)));
        when(first, close).otherwise(ident(AS_OF))?
    };
    let known = ranked(versions, true)?.with_column(KNOWN_FROM, known_from)?;
    let known = known.filter(
        ident(KNOWN_FROM).lt_eq(at.clone()).and(ident(REPLACED_AS_OF).is_null().or(at.lt(ident(REPLACED_AS_OF)))),
    )?;
    let known = known.drop_columns(&[RANK])?;
    // A correction whose commit is under way has its old row in both tables.
    let one = ranked(known, false)?.filter(ident(RANK).eq(lit(1_u64)))?;
    Ok(one.select(columns)?)
}

/// When a bar closes: `bar_close(interval, ts)`; NULL for an interval that is not known.
fn bar_close() -> ScalarUDF {
    create_udf("bar_close", vec![DataType::Utf8, instant()], instant(), Volatility::Immutable, Arc::new(closes))
}

fn closes(args: &[ColumnarValue]) -> QueryResult<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(args)?;
    let [intervals, times] = arrays.as_slice() else {
        return Err(DataFusionError::Execution("bar_close takes an interval and a time".into()));
    };
    let (intervals, times) = (intervals.as_string::<i32>(), times.as_primitive::<TimestampMicrosecondType>());
    let mut out = TimestampMicrosecondBuilder::with_capacity(times.len()).with_data_type(instant());
    for row in 0..times.len() {
        let known = !intervals.is_null(row) && !times.is_null(row);
        out.append_option(if known { close(intervals.value(row), times.value(row)) } else { None });
    }
    Ok(ColumnarValue::Array(Arc::new(out.finish()) as ArrayRef))
}

/// When a bar that opens at `ts` (µs since 1970, UTC) closes.
fn close(interval: &str, ts: i64) -> Option<i64> {
    let interval: Interval = interval.parse().ok()?;
    if let Some(seconds) = interval.seconds() {
        return ts.checked_add(seconds.checked_mul(1_000_000)?);
    }
    let months = if interval.unit() == IntervalUnit::Year { interval.n().checked_mul(12)? } else { interval.n() };
    Some(DateTime::from_timestamp_micros(ts)?.checked_add_months(Months::new(months))?.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_close() {
        let day = 86_400_000_000;
        assert_eq!(close("5m", 0), Some(300_000_000));
        assert_eq!(close("1wk", 0), Some(7 * day));
        assert_eq!(close("1mo", 31 * day), Some(59 * day));
        assert_eq!(close("1y", 0), Some(365 * day));
        assert_eq!(close("now and then", 0), None);
    }
}
