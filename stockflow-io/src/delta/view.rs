//! What was known at a point in time: rows and their revisions together.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Schema, TimestampMicrosecondType};
use chrono::{DateTime, Months, Utc};
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl};
use datafusion::common::{ScalarValue, plan_datafusion_err};
use datafusion::datasource::TableProvider;
use datafusion::error::{DataFusionError, Result as QueryResult};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{ColumnarValue, Expr, ExprFunctionExt, ScalarUDF, Volatility, create_udf, lit, when};
use datafusion::prelude::{DataFrame, SessionContext, cast, ident};
use stockflow_core::Result;
use stockflow_core::relation::AS_OF;
use stockflow_core::schema::{ACTION_KEY, BAR_KEY};
use stockflow_core::transform::{Interval, IntervalUnit};

use super::error::refused;
use super::place::Place;
use super::provider::{load, open_table, rows};
use super::revisions::{REPLACED_AS_OF, SUFFIX};
use super::schema::instant;

const KNOWN_FROM: &str = "__known_from";
const RANK: &str = "__rank";

/// The rows of the table at `url` as they were known at `at`: one row a key, with the table's columns. The table holds bars or
/// corporate actions.
///
/// A row counts as known from its `as_of` on, until another one replaced it. The first version of a bar counts as known at its close
/// already, and that of an action at the beginning of its day (UTC), because most histories are loaded long after; `strict` takes
/// its `as_of`, too.
///
/// # Errors
///
/// Class config: there is no table, or its rows are neither bars nor actions.
pub async fn as_of_view(
    session: &SessionContext,
    url: impl AsRef<str>,
    at: DateTime<Utc>,
    strict: bool,
) -> Result<DataFrame> {
    let table = AsOfTable::open(url).await?;
    Ok(session.read_table(table.view(at.timestamp_micros(), strict)?)?)
}

/// A table with what its rows were before they were corrected, opened at its newest version: the SQL function behind `bars_at(t)`
/// and `actions_at(t)`.
///
/// The function takes a time (a timestamp, a date or its text; UTC where no zone is told) and, if wanted, `true` for `strict` (see
/// [`as_of_view`]). Both are constants.
///
/// ```no_run
/// # async fn h(session: &datafusion::prelude::SessionContext) -> stockflow_core::Result<()> {
/// use std::sync::Arc;
/// use stockflow_io::delta::AsOfTable;
///
/// session.register_udtf("bars_at", Arc::new(AsOfTable::open("lake/bars").await?));
/// session.sql("SELECT * FROM bars_at(TIMESTAMP '2024-03-01T21:00:00')").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AsOfTable {
    rows: Arc<dyn TableProvider>,
    /// None was corrected yet.
    replaced: Option<Arc<dyn TableProvider>>,
    kind: Kind,
}

/// What a row is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Bars,
    Actions,
}

impl Kind {
    fn of(schema: &Schema) -> Option<Self> {
        let has = |columns: &[&str]| columns.iter().chain([&AS_OF]).all(|column| schema.index_of(column).is_ok());
        [Self::Bars, Self::Actions].into_iter().find(|it| has(it.key()))
    }

    fn key(self) -> &'static [&'static str] {
        match self {
            Self::Bars => &BAR_KEY,
            Self::Actions => &ACTION_KEY,
        }
    }

    /// When the first version counts as known.
    fn happened(self) -> Expr {
        match self {
            Self::Bars => bar_close().call(vec![ident("interval"), ident("ts")]),
            Self::Actions => cast(ident("date"), instant()),
        }
    }
}

impl AsOfTable {
    /// Opens the table at a path or URL.
    ///
    /// # Errors
    ///
    /// Class config: there is no table, or its rows are neither bars nor actions.
    pub async fn open(url: impl AsRef<str>) -> Result<Self> {
        let place = Place::parse(url.as_ref())?;
        let table = open_table(&place.text).await?;
        let Some(kind) = Kind::of(&table.schema()) else {
            let reason = format!(
                "the rows of `{}` are neither bars ({}, {AS_OF}) nor corporate actions ({}, {AS_OF}); what was known when is kept for these",
                place.text,
                BAR_KEY.join(", "),
                ACTION_KEY.join(", "),
            );
            return Err(refused(&place.text, reason));
        };
        let revisions = place.beside(SUFFIX)?;
        let replaced = match load(&revisions, None).await? {
            Some(state) => Some(rows(&revisions, state, None)?),
            None => None,
        };
        Ok(Self { rows: table, replaced, kind })
    }

    /// Whether a table of these columns has such a function.
    pub fn has_key(schema: &Schema) -> bool {
        Kind::of(schema).is_some()
    }

    fn view(&self, at: i64, strict: bool) -> QueryResult<Arc<dyn TableProvider>> {
        // Plans a view; whoever asks runs it in a session of their own.
        let session = SessionContext::new();
        let table = session.read_table(Arc::clone(&self.rows))?;
        let columns: Vec<Expr> = table.schema().fields().iter().map(|field| ident(field.name())).collect();
        let never = cast(lit(ScalarValue::Null), instant()).alias(REPLACED_AS_OF);
        let mut versions = table.select(columns.iter().cloned().chain([never]).collect::<Vec<_>>())?;
        if let Some(replaced) = &self.replaced {
            let old = session.read_table(Arc::clone(replaced))?;
            // Columns that the table got later are not in the revisions before the next correction.
            let column = |expr: &Expr| match expr {
                Expr::Column(column) if !old.schema().has_column_with_unqualified_name(&column.name) => {
                    let of = versions.schema().field_with_unqualified_name(&column.name);
                    of.map(|field| cast(lit(ScalarValue::Null), field.data_type().clone()).alias(&column.name))
                }
                other => Ok(other.clone()),
            };
            let mut all = columns.iter().map(column).collect::<QueryResult<Vec<_>>>()?;
            all.push(ident(REPLACED_AS_OF));
            versions = versions.union(old.clone().select(all)?)?;
        }
        let at = lit(ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into())));
        let key: Vec<Expr> = self.kind.key().iter().map(|column| ident(*column)).collect();
        let ranked = |frame: DataFrame, ascending: bool| {
            let rank =
                row_number().partition_by(key.clone()).order_by(vec![ident(AS_OF).sort(ascending, true)]).build()?;
            frame.window(vec![rank.alias(RANK)])
        };
        let known_from = if strict {
            ident(AS_OF)
        } else {
            let happened = self.kind.happened();
            let first = ident(RANK).eq(lit(1_u64)).and(happened.clone().lt(ident(AS_OF)));
            when(first, happened).otherwise(ident(AS_OF))?
        };
        let known = ranked(versions, true)?.with_column(KNOWN_FROM, known_from)?;
        let known = known.filter(
            ident(KNOWN_FROM).lt_eq(at.clone()).and(ident(REPLACED_AS_OF).is_null().or(at.lt(ident(REPLACED_AS_OF)))),
        )?;
        let known = known.drop_columns(&[RANK])?;
        // A correction whose commit is under way has its old row in both tables.
        let one = ranked(known, false)?.filter(ident(RANK).eq(lit(1_u64)))?;
        Ok(one.select(columns)?.into_view())
    }
}

impl TableFunctionImpl for AsOfTable {
    fn call_with_args(&self, args: TableFunctionArgs) -> QueryResult<Arc<dyn TableProvider>> {
        let usage = || {
            plan_datafusion_err!(
                "what was known when is asked for by a time and, if wanted, `true` for the strict form, both constants: \
                 bars_at(TIMESTAMP '2024-03-01T21:00:00'), bars_at('2024-03-01', true)"
            )
        };
        let literal = |expr: &Expr| match expr {
            Expr::Literal(value, _) if !value.is_null() => Ok(value.clone()),
            _ => Err(usage()),
        };
        let (at, strict) = match args.exprs() {
            [at] => (literal(at)?, false),
            [at, strict] => match literal(strict)? {
                ScalarValue::Boolean(Some(strict)) => (literal(at)?, strict),
                _ => return Err(usage()),
            },
            _ => return Err(usage()),
        };
        if at.data_type().is_numeric() {
            return Err(usage());
        }
        match at.cast_to(&instant()).map_err(|error| error.context(usage().strip_backtrace()))? {
            ScalarValue::TimestampMicrosecond(Some(at), _) => self.view(at, strict),
            _ => Err(usage()),
        }
    }
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
