//! The SQL functions of the exchange calendars.
//!
//! | function | result | NULL if |
//! |---|---|---|
//! | `is_session(exchange, date)` | Boolean: the exchange trades on the day | unknown |
//! | `next_session(exchange, date)` | Date32: the first day of trade after it | unknown |
//! | `sessions_between(exchange, from, to)` | Int64: days of trade, both ends included | unknown |
//! | `bar_closes_at(ts, interval, exchange)` | Timestamp(us, UTC): when the bar is complete | unknown, or no trade |
//!
//! An argument that is NULL makes the result NULL. `exchange` is what [`Calendar::of`] understands: `XNYS`, `NYSE`,
//! `NYQ`, `24/7`; another name is an error. Dates may be Date32, timestamps (their UTC date) or text, `ts` also a date
//! (its midnight UTC).
//!
//! SQL takes a bare `interval` before a comma for the beginning of `INTERVAL '1 day'`: write `"interval"`, or
//! `b.interval`.
//!
//! # Joining without looking ahead
//!
//! A bar is stamped with its *open*, and what it says is known at its *close*: whoever joins on `ts` sees the future.
//! DataFusion 55.2 parses `ASOF JOIN` and refuses to plan it, and it runs no `LATERAL` with a limit. The same as-of
//! join, "the newest bar that was complete by then", is a window over both sides; one sort, however many rows:
//!
//! ```sql
//! WITH known AS (
//!     SELECT symbol, bar_closes_at(ts, "interval", 'NYSE') AS at, close, NULL AS headline, 0 AS is_news FROM bars
//!     WHERE "interval" = '1d' AND bar_closes_at(ts, "interval", 'NYSE') IS NOT NULL
//!     UNION ALL
//!     SELECT symbol, at, NULL, headline, 1 FROM news
//! )
//! SELECT symbol, at, headline, last_close FROM (
//!     SELECT *, last_value(close) IGNORE NULLS OVER (
//!         PARTITION BY symbol ORDER BY at, is_news ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
//!     ) AS last_close FROM known
//! ) WHERE is_news = 1
//! ```
//!
//! `is_news` puts a bar before news of the same instant: a bar counts as known from its close on. For few rows a join
//! reads better; it pairs each row with every earlier bar of its symbol:
//!
//! ```sql
//! SELECT DISTINCT ON (n.symbol, n.at, n.headline) n.symbol, n.at, n.headline, b.close
//! FROM news n
//! LEFT JOIN bars b ON b.symbol = n.symbol AND b.interval = '1d' AND bar_closes_at(b.ts, b.interval, 'NYSE') <= n.at
//! ORDER BY n.symbol, n.at, n.headline, b.ts DESC NULLS LAST
//! ```
//!
//! The close is that of continuous trading. Where a closing auction follows (London, Paris, Frankfurt, Hong Kong,
//! Sydney), add its minutes: `bar_closes_at(ts, "interval", 'LSE') + INTERVAL '15 minutes'`.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, BooleanArray, Date32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::common::cast::{as_date32_array, as_string_array, as_timestamp_microsecond_array};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::market::calendar::{BarCloses, Calendar};
use crate::transform::Interval;

static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    [is_session(), next_session(), sessions_between(), bar_closes_at()]
        .map(|it| Arc::new(ScalarUDF::new_from_impl(it)))
        .to_vec()
});

/// Every scalar function of the calendars, for a session or a codec.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    FUNCTIONS.clone()
}

const SECTION: DocSection = DocSection { include: true, label: "Exchange calendars", description: None };

fn is_session() -> CalendarFunction {
    CalendarFunction {
        name: "is_session",
        signature: Signature::user_defined(Volatility::Immutable),
        arguments: &[Kind::Text, Kind::Date],
        result: DataType::Boolean,
        call: |args| {
            let dates = date_arg(args, 1)?;
            let found =
                each(args, 0, |row, it| Ok(date_at(as_date32_array(&dates)?, row).and_then(|day| it.is_session(day))))?;
            Ok(Arc::new(BooleanArray::from(found)))
        },
        documentation: Documentation::builder(
            SECTION,
            "Whether an exchange trades on a day; NULL outside the years that its calendar knows.",
            "is_session(exchange, date)",
        )
        .with_argument("exchange", EXCHANGE)
        .with_argument("date", "The exchange's local date")
        .with_sql_example("```sql\nSELECT is_session('NYSE', DATE '2024-11-28') -- false: Thanksgiving\n```")
        .build(),
    }
}

fn next_session() -> CalendarFunction {
    CalendarFunction {
        name: "next_session",
        signature: Signature::user_defined(Volatility::Immutable),
        arguments: &[Kind::Text, Kind::Date],
        result: DataType::Date32,
        call: |args| {
            let dates = date_arg(args, 1)?;
            let found = each(args, 0, |row, it| {
                let next = date_at(as_date32_array(&dates)?, row).and_then(|day| it.next_session(day));
                Ok(next.map(|day| day.num_days_from_ce() - UNIX_EPOCH_DAY))
            })?;
            Ok(Arc::new(Date32Array::from(found)))
        },
        documentation: Documentation::builder(
            SECTION,
            "The first day of trade after a day; NULL outside the years that the exchange's calendar knows.",
            "next_session(exchange, date)",
        )
        .with_argument("exchange", EXCHANGE)
        .with_argument("date", "The exchange's local date; it need not be a day of trade")
        .with_sql_example("```sql\nSELECT next_session('NYSE', DATE '2024-11-27') -- 2024-11-29\n```")
        .build(),
    }
}

fn sessions_between() -> CalendarFunction {
    CalendarFunction {
        name: "sessions_between",
        signature: Signature::user_defined(Volatility::Immutable),
        arguments: &[Kind::Text, Kind::Date, Kind::Date],
        result: DataType::Int64,
        call: |args| {
            let (from, to) = (date_arg(args, 1)?, date_arg(args, 2)?);
            let found = each(args, 0, |row, it| {
                let (from, to) = (date_at(as_date32_array(&from)?, row), date_at(as_date32_array(&to)?, row));
                Ok(from.zip(to).and_then(|(from, to)| it.sessions_between(from, to)))
            })?;
            Ok(Arc::new(Int64Array::from(found)))
        },
        documentation: Documentation::builder(
            SECTION,
            "How many days of trade there are from one day to another, both included; 0 if `to` is before `from`, \
             NULL if a day is outside the years that the exchange's calendar knows.",
            "sessions_between(exchange, from, to)",
        )
        .with_argument("exchange", EXCHANGE)
        .with_argument("from", "The first day, local to the exchange")
        .with_argument("to", "The last day, local to the exchange")
        .with_sql_example("```sql\nSELECT sessions_between('NYSE', DATE '2024-11-25', DATE '2024-11-29') -- 4\n```")
        .build(),
    }
}

fn bar_closes_at() -> CalendarFunction {
    CalendarFunction {
        name: "bar_closes_at",
        signature: Signature::user_defined(Volatility::Immutable),
        arguments: &[Kind::Instant, Kind::Text, Kind::Text],
        result: Kind::Instant.data_type(),
        call: call_bar_closes_at,
        documentation: Documentation::builder(
            SECTION,
            "When a bar is complete: within the day `ts` and the interval, but no later than the session's close; for \
             days and more the close of the last session of its period. NULL if the calendar does not know, or if \
             there is no trade in the period. Join on it instead of `ts`, which is the bar's open.",
            "bar_closes_at(ts, interval, exchange)",
        )
        .with_argument("ts", "The bar's stamp; for days and more midnight UTC of its first trading date")
        .with_argument("interval", "The bar's width, such as `5m`, `1d`, `1wk`, `1mo`")
        .with_argument("exchange", EXCHANGE)
        .with_sql_example(
            "```sql\nSELECT bar_closes_at(TIMESTAMP '2024-11-29', '1d', 'NYSE') -- 2024-11-29T18:00:00Z\n```",
        )
        .build(),
    }
}

const EXCHANGE: &str =
    "A MIC, a common name or Yahoo's code: `XNYS`, `NYSE`, `NYQ`; `24/7` for crypto, `24/5` for currencies";

/// `1970-01-01`, counted from the Common Era's first day.
pub(crate) const UNIX_EPOCH_DAY: i32 = 719_163;

/// What an argument is read as, whatever it arrives as.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Date,
    Instant,
}

impl Kind {
    fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    fn takes(self, given: &DataType) -> bool {
        match given {
            DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
            DataType::Dictionary(_, value) => self.takes(value),
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => !matches!(self, Self::Text),
            _ => false,
        }
    }
}

/// A function over calendars: its arguments are cast to `arguments` before it is called.
struct CalendarFunction {
    name: &'static str,
    signature: Signature,
    arguments: &'static [Kind],
    result: DataType,
    call: fn(&ScalarFunctionArgs) -> Result<ArrayRef>,
    documentation: Documentation,
}

// The name says what it does: there is one function of a name.
impl PartialEq for CalendarFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for CalendarFunction {}

impl Hash for CalendarFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl std::fmt::Debug for CalendarFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl ScalarUDFImpl for CalendarFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let fits = arg_types.len() == self.arguments.len()
            && self.arguments.iter().zip(arg_types).all(|(wanted, given)| wanted.takes(given));
        if fits {
            return Ok(self.arguments.iter().map(|it| it.data_type()).collect());
        }
        let given: Vec<_> = arg_types.iter().map(ToString::to_string).collect();
        let syntax = &self.documentation.syntax_example;
        Err(DataFusionError::Plan(format!("`{syntax}` does not take ({})", given.join(", "))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Array((self.call)(&args)?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The argument at a place, as an array of the batch's length.
fn array_arg(args: &ScalarFunctionArgs, place: usize) -> Result<ArrayRef> {
    match args.args.get(place) {
        Some(value) => value.clone().into_array(args.number_rows),
        None => Err(DataFusionError::Internal(format!("argument {place} is missing"))),
    }
}

fn date_arg(args: &ScalarFunctionArgs, place: usize) -> Result<ArrayRef> {
    let dates = array_arg(args, place)?;
    as_date32_array(&dates)?;
    Ok(dates)
}

fn date_at(dates: &Date32Array, row: usize) -> Option<NaiveDate> {
    let day = dates.is_valid(row).then(|| dates.value(row))?;
    NaiveDate::from_num_days_from_ce_opt(day.checked_add(UNIX_EPOCH_DAY)?)
}

/// A value for each row that has an exchange. The exchange is looked up once for each run of one name.
fn each<T>(
    args: &ScalarFunctionArgs,
    place: usize,
    value: impl Fn(usize, &'static Calendar) -> Result<Option<T>>,
) -> Result<Vec<Option<T>>> {
    let names = array_arg(args, place)?;
    let mut last: Option<(&str, &'static Calendar)> = None;
    let mut out = Vec::with_capacity(names.len());
    for (row, name) in as_string_array(&names)?.iter().enumerate() {
        let Some(name) = name else {
            out.push(None);
            continue;
        };
        let calendar = match last {
            Some((seen, calendar)) if seen == name => calendar,
            _ => calendar_of(name)?,
        };
        last = Some((name, calendar));
        out.push(value(row, calendar)?);
    }
    Ok(out)
}

fn calendar_of(name: &str) -> Result<&'static Calendar> {
    Calendar::of(name).ok_or_else(|| DataFusionError::Execution(unknown(name)))
}

/// Says that no calendar is known for an exchange, and which names are near.
pub(crate) fn unknown(name: &str) -> String {
    let nearest = nearest(name).into_iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
    format!("no calendar is known for exchange `{name}`; near are {nearest}")
}

/// The three known names that are most like this one.
fn nearest(name: &str) -> Vec<&'static str> {
    let name = name.trim().to_ascii_uppercase();
    let names = Calendar::all().iter().flat_map(Calendar::all_names);
    let mut scored: Vec<_> = names.map(|known| (strsim::jaro_winkler(&name, known), known)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.into_iter().take(3).map(|(_, known)| known).collect()
}

fn call_bar_closes_at(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (stamps, widths, names) = (array_arg(args, 0)?, array_arg(args, 1)?, array_arg(args, 2)?);
    let stamps = as_timestamp_microsecond_array(&stamps)?;
    let (widths, names) = (as_string_array(&widths)?, as_string_array(&names)?);
    let mut kinds = Kinds::default();
    let mut out = TimestampMicrosecondArray::builder(stamps.len());
    for row in 0..stamps.len() {
        let close = match (text_at(names, row), text_at(widths, row), stamps.is_valid(row)) {
            (Some(name), Some(width), true) => {
                let ts = DateTime::from_timestamp_micros(stamps.value(row));
                let closes = kinds.of(name, width)?;
                ts.and_then(|ts| closes.at(ts))
            }
            _ => None,
        };
        out.append_option(close.map(|it| it.timestamp_micros()));
    }
    Ok(Arc::new(out.finish().with_timezone("UTC")))
}

fn text_at(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

/// The exchanges and intervals of a batch, each with the day of its last bar. They are few, and come in runs.
#[derive(Default)]
struct Kinds<'a> {
    known: Vec<((&'a str, &'a str), BarCloses<'static>)>,
    last: usize,
}

impl<'a> Kinds<'a> {
    fn of(&mut self, name: &'a str, width: &'a str) -> Result<&mut BarCloses<'static>> {
        let key = (name, width);
        if self.known.get(self.last).is_none_or(|(seen, _)| *seen != key) {
            self.last = match self.known.iter().position(|(seen, _)| *seen == key) {
                Some(place) => place,
                None => {
                    let interval = width.parse::<Interval>().map_err(|it| DataFusionError::External(Box::new(it)))?;
                    self.known.push((key, BarCloses::new(calendar_of(name)?, interval)));
                    self.known.len() - 1
                }
            };
        }
        let found = self.known.get_mut(self.last).map(|(_, closes)| closes);
        found.ok_or_else(|| DataFusionError::Internal("the exchange was not kept".into()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::ArrayRef;
    use datafusion::arrow::util::display::array_value_to_string;
    use datafusion::prelude::SessionContext;

    fn session() -> SessionContext {
        let session = SessionContext::new();
        crate::functions::register(&session).unwrap();
        session
    }

    async fn rows(session: &SessionContext, sql: &str) -> Vec<String> {
        let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
        let row = |batch: &datafusion::arrow::record_batch::RecordBatch, row: usize| {
            let cell = |column: &ArrayRef| array_value_to_string(column, row).unwrap();
            batch.columns().iter().map(cell).collect::<Vec<_>>().join(" ")
        };
        batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |at| row(batch, at))).collect()
    }

    #[tokio::test]
    async fn the_functions_answer_in_a_session() {
        let session = session();
        for (sql, answer) in [
            ("is_session('XNYS', DATE '2024-12-25')", "false"),
            ("is_session('nyse', '2024-12-26')", "true"),
            ("is_session('XNYS', DATE '1889-01-02') IS NULL", "true"),
            ("is_session('XNYS', NULL) IS NULL", "true"),
            ("is_session(NULL, DATE '2024-12-25') IS NULL", "true"),
            ("next_session('XNYS', DATE '2024-11-27')", "2024-11-29"),
            ("sessions_between('XNYS', DATE '2024-11-25', DATE '2024-11-29')", "4"),
            // Black Friday ends at one in the afternoon.
            ("bar_closes_at(TIMESTAMP '2024-11-29T00:00:00Z', '1d', 'XNYS')", "2024-11-29T18:00:00Z"),
            ("bar_closes_at(TIMESTAMP '2024-11-29T17:58:00Z', '5m', 'XNYS')", "2024-11-29T18:00:00Z"),
            ("bar_closes_at(TIMESTAMP '2024-11-28T00:00:00Z', '1d', 'XNYS') IS NULL", "true"),
        ] {
            assert_eq!(rows(&session, &format!("SELECT {sql}")).await, [answer], "{sql}");
        }
        let many = "SELECT d, is_session(x, d) FROM (VALUES ('XNYS', DATE '2024-07-04'), ('XLON', DATE '2024-07-04'), (NULL, DATE '2024-07-04')) AS t(x, d)";
        assert_eq!(rows(&session, many).await, ["2024-07-04 false", "2024-07-04 true", "2024-07-04 "]);
    }

    #[tokio::test]
    async fn an_unknown_exchange_is_refused_with_the_nearest_names() {
        let frame = session().sql("SELECT is_session('XNYZ', DATE '2024-12-25')").await;
        let error = match frame {
            Ok(frame) => frame.collect().await.unwrap_err(),
            Err(error) => error,
        };
        let error = error.to_string();
        assert!(error.contains("XNYZ") && error.contains("XNYS"), "{error}");
    }

    #[tokio::test]
    async fn the_documented_join_never_looks_ahead() {
        let session = session();
        for sql in [
            "CREATE TABLE bars AS SELECT 'A' AS symbol, '1d' AS \"interval\", arrow_cast(t, 'Timestamp(Microsecond, Some(\"UTC\"))') AS ts, close \
             FROM (VALUES ('2024-11-27T00:00:00Z', 1.0), ('2024-11-29T00:00:00Z', 2.0), ('2024-12-02T00:00:00Z', 3.0)) AS v(t, close)",
            // A minute before the half day's close, at the close, and on the Sunday after it.
            "CREATE TABLE news AS SELECT 'A' AS symbol, arrow_cast(t, 'Timestamp(Microsecond, Some(\"UTC\"))') AS at, headline \
             FROM (VALUES ('2024-11-29T17:59:00Z', 'before'), ('2024-11-29T18:00:00Z', 'at'), ('2024-12-01T12:00:00Z', 'sunday')) AS v(t, headline)",
        ] {
            session.sql(sql).await.unwrap().collect().await.unwrap();
        }
        let docs: Vec<&str> = include_str!("sql.rs")
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .map(|line| line.trim_start_matches("//!").trim())
            .collect();
        let queries: Vec<String> = docs
            .split(|line| line.starts_with("```"))
            .filter(|block| block.first().is_some_and(|line| line.starts_with("WITH") || line.starts_with("SELECT")))
            .map(|block| block.join("\n"))
            .collect();
        assert_eq!(queries.len(), 2, "both forms of the join are documented");
        for query in queries {
            let mut found = rows(&session, &query).await;
            found.sort();
            let expected = [
                "A 2024-11-29T17:59:00Z before 1.0",
                "A 2024-11-29T18:00:00Z at 2.0",
                "A 2024-12-01T12:00:00Z sunday 2.0",
            ];
            assert_eq!(found, expected, "{query}");
        }
    }
}
