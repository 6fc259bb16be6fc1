//! Brings foreign columns onto the schema of a bar.

pub(crate) mod columns;
mod spacing;

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Fields, TimeUnit};
use async_trait::async_trait;
use datafusion::functions::core::expr_fn::{coalesce, get_field};
use datafusion::functions::expr_fn::{btrim, concat, date_trunc, lower, nullif};
use datafusion::functions_aggregate::expr_fn::{count, min};
use datafusion::logical_expr::{Expr, ExprFunctionExt, cast, lit, try_cast, when};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde_json::json;

use self::columns::{Mapped, SOURCE_FILE, SOURCE_LINE, SOURCE_SEQ, is_text};
use super::expr::{column, midnight, null, shared};
use super::interval::{Interval, IntervalUnit};
use super::udf::{DateOrder, by_symbol, file_symbol, number, required, row_json, stamp, width, zone};
use super::{Action, Outputs, Rule, Scope, Transform, note_frame, reject_frame, reject_frame_with};
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::relation::{AS_OF, Relation, Relations, SOURCE_AS_OF};
use crate::schema::{BAR_KEY, Basis, bar_schema};

/// Where a bar's symbol is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SymbolFrom {
    /// From the column that is known to hold it, else from the file's name.
    #[default]
    Auto,
    /// From this column.
    Column(String),
    /// From the file's name: its stem up to the first `_`.
    FileName,
    /// All bars are of this symbol.
    Given(String),
}

/// Brings foreign columns onto the schema of a bar: names, types, symbol, time, interval and basis.
///
/// # Input
///
/// Any relation with a date or a time stamp and with open, high, low and close, under any of the names that
/// [`bar_column`](crate::schema::bar_column) knows, or under those that [`Normalize::with_column`] gives.
/// Columns of the source itself are used as well: `source_file` for the symbol, `source_seq` for the order, and `source_as_of`,
/// which a replay of dead letters adds, for when a bar was learned.
///
/// # Output
///
/// [`bar_schema`], and `source_seq` (Int64) as a last column if the input has it: `Clean` uses it and takes it away.
/// One bar for each row that is not refused. Key `(symbol, interval, ts)`, version `as_of`.
/// Columns without a place in a bar are left out, and named in a note.
///
/// # Time
///
/// Dates are read in many forms: ISO dates, `20240102`, `01/02/2024` (the month first, unless [`DateOrder`] says otherwise),
/// `02.01.2024`, `2-Jan-2024`, `Jan 2, 2024`; points in time with and without a zone; numbers as seconds, milli-, micro- or
/// nanoseconds since 1970. A time without a zone is meant in the option `timezone`, else in UTC; `date` is the date in
/// `timezone`, else the date as it was written.
/// A date without a time of day, or with midnight in a column that is called date, is that of a daily bar.
/// For an interval of a day and more `ts` is `date` at 00:00 UTC (weeks: their Monday; months: the 1st; `date` likewise),
/// and the stamp as it came is `source_ts`.
///
/// # Interval
///
/// From the option, else from a column, else `1d` for bars without a time of day. Else it is recognised from the distance
/// of a symbol's stamps, if that is regular beyond doubt; what is not is refused. So are dates that are regular and a week,
/// a month, a quarter or a year apart (four of them at least): they are no daily bars.
///
/// An epoch that holds only what is new cannot tell for sure: of a series of 5 minutes it may hold one bar each quarter of
/// an hour, and a wrong interval would be a wrong key. So what had to be recognised depends on the rows of its symbol
/// ([`Scope::Symbol`]), and an incremental pipeline refuses it: give the option there. With `mode = "full"` the whole series
/// is read, and it is taken.
///
/// # Numbers
///
/// Text is read with separators of thousands (`1,234.5`, with `decimal_comma` `1.234,5`), a currency's sign and the
/// suffixes K, M, B, T. A blank, `-`, `null` or `N/A` is NULL.
///
/// # Refused rows
///
/// Dead letters with column and value: no symbol, no date, nonsense in a column of dates or numbers, an unknown basis or
/// interval. The payload is the row as it came. What becomes of rows without a date that can be read is said by
/// [`Normalize::with_bad_dates`]: they have no place among bars, so `Clean` never sees them.
///
/// # Notes
///
/// `normalize.date` by symbol for rows without a date that can be read; `normalize.lost`, a warning, for a symbol that lost
/// all its rows; `normalize.columns` and `normalize.basis` for what was left out and taken for granted.
///
/// # Errors
///
/// [`Error::Schema`] if a column is missing or its type cannot be read, [`Error::InvalidParameter`] for a column that the
/// mapping names and the input has not, for an unknown time zone, and for bad dates that should be let pass.
#[derive(Debug, Clone, Default)]
pub struct Normalize {
    columns: BTreeMap<String, String>,
    symbol: SymbolFrom,
    interval: Option<Interval>,
    basis: Option<Basis>,
    provider: Option<String>,
    currency: Option<String>,
    session: Option<String>,
    date_order: DateOrder,
    decimal_comma: bool,
    timezone: Option<String>,
    bad_dates: Option<Action>,
}

const STEP: &str = "normalize";
const PRICES: [&str; 6] = ["open", "high", "low", "close", "volume", "adj_close"];

impl Normalize {
    /// Everything found by name and recognised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says which foreign column a column of the bar is.
    #[must_use]
    pub fn with_column(mut self, ours: impl Into<String>, foreign: impl Into<String>) -> Self {
        self.columns.insert(ours.into(), foreign.into());
        self
    }

    /// Says where the symbol is read.
    #[must_use]
    pub fn with_symbol(mut self, symbol: SymbolFrom) -> Self {
        self.symbol = symbol;
        self
    }

    /// Gives the interval of all bars.
    #[must_use]
    pub fn with_interval(mut self, interval: Interval) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Gives the basis of all prices. Without it a column `basis` counts, and where there is none, prices are taken to be raw.
    #[must_use]
    pub fn with_basis(mut self, basis: Basis) -> Self {
        self.basis = Some(basis);
        self
    }

    /// Names the provider where no column does.
    #[must_use]
    pub fn with_provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = Some(provider.into());
        self
    }

    /// Names the currency where no column does.
    #[must_use]
    pub fn with_currency(mut self, currency: impl Into<String>) -> Self {
        self.currency = Some(currency.into());
        self
    }

    /// Names the session where no column does.
    #[must_use]
    pub fn with_session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// Says what is the month in `01/02/2024`.
    #[must_use]
    pub fn with_date_order(mut self, order: DateOrder) -> Self {
        self.date_order = order;
        self
    }

    /// Reads `1.234,5` instead of `1,234.5`.
    #[must_use]
    pub fn with_decimal_comma(mut self, comma: bool) -> Self {
        self.decimal_comma = comma;
        self
    }

    /// Gives times without a zone their meaning, and bars their local date: `America/New_York`.
    #[must_use]
    pub fn with_timezone(mut self, timezone: impl Into<String>) -> Self {
        self.timezone = Some(timezone.into());
        self
    }

    /// What becomes of rows without a date that can be read: a dead letter (the default), dropped, or the epoch fails.
    ///
    /// It is the rule [`Rule::Date`](super::Rule::Date) of `Clean`, applied where the row is still as it came.
    #[must_use]
    pub fn with_bad_dates(mut self, action: Action) -> Self {
        self.bad_dates = Some(action);
        self
    }

    /// The same, unless it has been said already: how a `Clean` after it passes its own rule on.
    #[must_use]
    pub fn or_bad_dates(mut self, action: Action) -> Self {
        self.bad_dates.get_or_insert(action);
        self
    }

    fn bad_dates(&self) -> Action {
        self.bad_dates.unwrap_or_else(|| Rule::Date.default_action())
    }

    fn check(&self) -> Result<()> {
        if let Some(name) = &self.timezone {
            zone(name)?;
        }
        if self.bad_dates() == Action::Off {
            return Err(Error::parameter(
                STEP,
                "bad_dates",
                "a row without a date has no place among bars; choose drop, dead-letter or fail",
            ));
        }
        Ok(())
    }

    /// The input's rows as bars with what is needed to refuse some of them: `reason` and `payload`.
    fn parsed(&self, input: &Relation, mapped: &Mapped, epoch: &EpochContext) -> Result<DataFrame> {
        let raw = input.frame.schema().fields().clone();
        let mut first: Vec<Expr> = raw.iter().map(|it| column(it.name().clone())).collect();
        let mut refusals = Refusals::default();
        first.push(self.symbol_of(mapped, &raw)?.alias("__symbol"));
        refusals.push(column("__symbol").is_null(), lit("the symbol is missing"));
        self.time_columns(mapped, &mut first, &mut refusals)?;
        for name in PRICES {
            first.push(self.number_of(name, mapped, &mut refusals)?.alias(format!("__{name}")));
        }
        for name in ["source_ts", AS_OF] {
            let value = match mapped.get(name) {
                Some(field) => self.stamp_of(field)?,
                None => null(&DataType::Null)?,
            };
            first.push(value.alias(format!("__{name}")));
        }
        if self.interval.is_some() || mapped.get("interval").is_some() {
            let no_time = lacks_time("__interval", "__timed").and(column("__ts").is_not_null());
            refusals.push(no_time, needs_time("__interval"));
        }
        let rows = input.frame.clone().select(first)?;
        let rows = rows.with_column("__reason", refusals.reason()?)?;
        let mut second = self.parsed_columns(mapped, &raw, epoch)?;
        second.push(column("__reason").alias("reason"));
        second.push(when(column("__reason").is_not_null(), row_json(&raw)).end()?.alias("payload"));
        second.push(column("__ts").is_null().and(column("__symbol").is_not_null()).alias("undated"));
        second.push(text_or_null(&raw, SOURCE_FILE).alias("file"));
        second.push(text_or_null(&raw, SOURCE_LINE).alias("line"));
        if let Some(field) = raw.iter().find(|it| it.name() == SOURCE_SEQ) {
            second.push(cast(column(field.name().clone()), DataType::Int64).alias(SOURCE_SEQ));
        }
        Ok(rows.select(second)?)
    }

    /// The columns of the bar, but for the interval and what depends on it.
    fn parsed_columns(&self, mapped: &Mapped, raw: &Fields, epoch: &EpochContext) -> Result<Vec<Expr>> {
        let text = |name: &str, given: &Option<String>| {
            let given = given.as_ref().map(|it| lit(it.clone()));
            let column = mapped.get(name).map(|it| trimmed(column(it.name().clone())));
            match (column, given) {
                (Some(column), Some(given)) => coalesce(vec![column, given]),
                (Some(only), None) | (None, Some(only)) => cast(only, DataType::Utf8),
                (None, None) => lit(ScalarValue::Utf8(None)),
            }
        };
        let basis = match (self.basis, mapped.get("basis")) {
            (Some(basis), _) => lit(basis.as_str()),
            (None, Some(field)) => {
                coalesce(vec![lower(trimmed(column(field.name().clone()))), lit(Basis::Raw.as_str())])
            }
            (None, None) => lit(Basis::Raw.as_str()),
        };
        let is_final = match mapped.get("is_final") {
            Some(field) => coalesce(vec![try_cast(column(field.name().clone()), DataType::Boolean), lit(true)]),
            None => lit(true),
        };
        let point = |name: &str| match mapped.get(name) {
            Some(_) => get_field(column(format!("__{name}")), "ts"),
            None => lit(ScalarValue::TimestampMicrosecond(None, Some("UTC".into()))),
        };
        let mut learned = vec![point(AS_OF), epoch.now_expr()];
        if raw.iter().any(|it| it.name() == SOURCE_AS_OF) {
            learned.insert(1, column(SOURCE_AS_OF));
        }
        let mut out = vec![
            column("__symbol").alias("symbol"),
            column("__interval").alias("interval"),
            column("__ts").alias("ts"),
            column("__date").alias("date"),
            column("__timed").alias("timed"),
            column("__whole_day").alias("whole_day"),
        ];
        out.extend(PRICES.map(|name| match mapped.get(name) {
            Some(field) if is_text(field.data_type()) => get_field(column(format!("__{name}")), "value").alias(name),
            _ => column(format!("__{name}")).alias(name),
        }));
        out.extend([
            text("currency", &self.currency).alias("currency"),
            text("provider", &self.provider).alias("provider"),
            text("session", &self.session).alias("session"),
            // Said to be there, or what is planned and what runs would differ once it is simplified.
            required(basis).alias("basis"),
            required(is_final).alias("is_final"),
            point("source_ts").alias("source_ts"),
            required(coalesce(learned)).alias(AS_OF),
        ]);
        Ok(out)
    }

    fn symbol_of(&self, mapped: &Mapped, raw: &Fields) -> Result<Expr> {
        let file =
            || raw.iter().any(|it| it.name() == SOURCE_FILE).then(|| file_symbol(text_or_null(raw, SOURCE_FILE)));
        let no_file = || {
            Error::schema(
                STEP,
                "the input does not come from files, so the symbol cannot be read from a file's name; name its column, or give it",
            )
        };
        match &self.symbol {
            SymbolFrom::Given(symbol) => Ok(lit(symbol.clone())),
            SymbolFrom::FileName => file().ok_or_else(no_file),
            SymbolFrom::Column(name) => {
                let field = raw.iter().find(|it| it.name() == name).ok_or_else(|| {
                    let names = columns::names(raw);
                    Error::parameter(STEP, "symbol", format!("the input has no column `{name}`; it has `{names}`"))
                })?;
                Ok(trimmed(column(field.name().clone())))
            }
            SymbolFrom::Auto => match (mapped.get("symbol"), file()) {
                (Some(field), _) => Ok(trimmed(column(field.name().clone()))),
                (None, Some(file)) => Ok(file),
                (None, None) => Err(Error::schema(
                    STEP,
                    "no column is known to be the symbol, and the input does not come from files; say which it is with `symbol`",
                )),
            },
        }
    }

    /// Adds `__ts`, `__date`, `__timed` and `__interval` by way of `__stamp`.
    fn time_columns(&self, mapped: &Mapped, first: &mut Vec<Expr>, refusals: &mut Refusals) -> Result<()> {
        let (ts, date) = (mapped.get("ts"), mapped.get("date"));
        let stamped = |name: &str, field: &arrow::datatypes::FieldRef| -> Result<Expr> {
            Ok(get_field(self.stamp_of(field)?, name))
        };
        let main = ts.or(date).ok_or_else(|| Error::internal("a bar without time"))?;
        // A date and a time of day in two columns are one stamp.
        let joined = match (ts, date) {
            (Some(ts), Some(date)) if is_clock(ts) => {
                let whole =
                    concat(vec![trimmed(column(date.name().clone())), lit(" "), trimmed(column(ts.name().clone()))]);
                Some(stamp(whole, self.date_order, self.timezone.as_deref()))
            }
            _ => None,
        };
        let part = |name: &str| -> Result<Expr> {
            match (&joined, ts) {
                (Some(joined), Some(ts)) => Ok(coalesce(vec![stamped(name, ts)?, get_field(joined.clone(), name)])),
                _ => stamped(name, main),
            }
        };
        let whole_day = match ts {
            Some(_) => Expr::Not(Box::new(part("timed")?)),
            // Midnight in a column of dates is how many tools write a day.
            None => part("midnight")?,
        };
        let date = match (ts, date) {
            (Some(_), Some(date)) => coalesce(vec![stamped("date", date)?, part("date")?]),
            _ => part("date")?,
        };
        first.extend([
            part("ts")?.alias("__ts"),
            date.alias("__date"),
            part("timed")?.alias("__timed"),
            whole_day.alias("__whole_day"),
        ]);
        refusals.push(column("__ts").is_null(), says(main.name(), "is no date"));
        first.push(self.interval_of(mapped, refusals).alias("__interval"));
        self.refuse_words(mapped, refusals);
        Ok(())
    }

    /// The interval where it is known without looking at other rows.
    fn interval_of(&self, mapped: &Mapped, refusals: &mut Refusals) -> Expr {
        let given = self.interval.map(|it| lit(it.to_string()));
        let known = match (given, mapped.get("interval")) {
            (Some(given), _) => given,
            (None, Some(field)) => {
                let text = trimmed(column(field.name().clone()));
                refusals.push(
                    text.clone().is_not_null().and(column("__interval").is_null()),
                    says(field.name(), "is no interval"),
                );
                width(text)
            }
            (None, None) => lit(ScalarValue::Utf8(None)),
        };
        cast(known, DataType::Utf8)
    }

    fn refuse_words(&self, mapped: &Mapped, refusals: &mut Refusals) {
        if let (None, Some(field)) = (self.basis, mapped.get("basis")) {
            let known = [Basis::Raw, Basis::Split, Basis::Total].map(|it| lit(it.as_str())).to_vec();
            let bad = lower(trimmed(column(field.name().clone()))).in_list(known, true);
            refusals.push(bad, says(field.name(), "is no basis"));
        }
        if let Some(field) = mapped.get(AS_OF) {
            let bad = trimmed(column(field.name().clone()))
                .is_not_null()
                .and(get_field(column(format!("__{AS_OF}")), "ts").is_null());
            refusals.push(bad, says(field.name(), "is no point in time"));
        }
    }

    fn stamp_of(&self, field: &arrow::datatypes::FieldRef) -> Result<Expr> {
        let value = column(field.name().clone());
        let value = match field.data_type() {
            it if is_text(it) => cast(value, DataType::Utf8),
            DataType::Date32 | DataType::Date64 => cast(value, DataType::Date32),
            DataType::Timestamp(_, zone) => cast(value, DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => cast(value, DataType::Float64),
            it if it.is_integer() => cast(value, DataType::Int64),
            other => {
                return Err(Error::schema(
                    STEP,
                    format!(
                        "column `{}` is of type {other}; a date is text, a number, a date or a timestamp",
                        field.name()
                    ),
                ));
            }
        };
        Ok(stamp(value, self.date_order, self.timezone.as_deref()))
    }

    fn number_of(&self, name: &str, mapped: &Mapped, refusals: &mut Refusals) -> Result<Expr> {
        let Some(field) = mapped.get(name) else { return null(&DataType::Float64) };
        let value = column(field.name().clone());
        if is_text(field.data_type()) {
            refusals.push(get_field(column(format!("__{name}")), "bad").is_true(), says(field.name(), "is no number"));
            return Ok(number(cast(value, DataType::Utf8), self.decimal_comma));
        }
        match field.data_type() {
            it if it.is_numeric() => Ok(cast(value, DataType::Float64)),
            other => {
                Err(Error::schema(STEP, format!("column `{}` is of type {other}; `{name}` is a number", field.name())))
            }
        }
    }

    /// Fills in the intervals that only the spacing of the stamps can tell. Reads the rows.
    async fn with_recognised(&self, rows: DataFrame, epoch: &EpochContext) -> Result<DataFrame> {
        if self.interval.is_some() {
            return Ok(rows);
        }
        let missing = || column("interval").is_null();
        let mut interval =
            when(missing().and(column("whole_day")), lit(Interval::DAY.to_string())).otherwise(column("interval"))?;
        if epoch.planning {
            return Ok(rows.with_column("interval", interval)?);
        }
        let unknown = || missing().and(column("reason").is_null());
        let timed = || unknown().and(column("whole_day").is_not_true());
        let dated = || unknown().and(column("whole_day"));
        let stamps = rows.clone().filter(timed())?.select(vec![column("symbol"), column("ts")])?;
        let dates = rows.clone().filter(dated())?.select(vec![column("symbol"), column("date")])?;
        for (found, condition) in
            [(spacing::recognise(stamps).await?, timed()), (spacing::recognise_dates(dates).await?, dated())]
        {
            let mut by_width: BTreeMap<Interval, Vec<Expr>> = BTreeMap::new();
            for (symbol, width) in found {
                by_width.entry(width).or_default().push(lit(symbol));
            }
            for (width, symbols) in by_width {
                let of_these = condition.clone().and(column("symbol").in_list(symbols, false));
                interval = when(of_these, by_symbol(lit(width.to_string()))).otherwise(interval)?;
            }
        }
        Ok(rows.with_column("interval", interval)?)
    }
}

#[async_trait]
impl Transform for Normalize {
    async fn apply(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Outputs> {
        let input = inputs.input()?;
        let raw = input.frame.schema().fields().clone();
        self.check()?;
        // A source that learns its columns only by opening something knows none while a pipeline is planned, and none when
        // there is nothing to read: then there are no bars, of the type that bars have.
        if raw.is_empty() {
            let none = epoch.table(bar_schema(), vec![vec![]])?;
            return Ok(Outputs::one(Relation::new(none).with_key(BAR_KEY).with_version(Some(AS_OF.into()))));
        }
        let mapped = Mapped::find(&raw, &self.columns)?;
        mapped.require(STEP, &raw)?;
        // Rows are passed on, refused and counted: parsed once. Only what is refused keeps its payload.
        let rows = shared(epoch, self.parsed(input, &mapped, epoch)?).await?;
        let rows = self.with_recognised(rows, epoch).await?;
        let place = inputs.input_name();
        let mut bars = bars(&rows)?;
        if epoch.planning {
            // Whoever reads the plan of a later step sees a table of bars, not how the bars were made.
            bars.frame = epoch.table(bars.schema(), vec![vec![]])?;
        }
        let mut outputs = Outputs::one(bars);
        outputs.rejects.push(refused_as_read(&rows, place, self.bad_dates())?);
        outputs.rejects.push(refused_for_interval(&rows, place)?);
        outputs.notes.push(date_note(&rows, self.bad_dates())?);
        outputs.notes.push(lost_note(&rows)?);
        outputs.notes.extend(left_out_note(epoch, &mapped)?);
        if self.basis.is_none() && mapped.get("basis").is_none() {
            outputs.notes.push(basis_note(&rows)?);
        }
        Ok(outputs)
    }

    fn takes_source_as_of(&self) -> bool {
        true
    }

    fn remedy(&self) -> Option<&str> {
        Some(
            "the interval of its bars can only be told by their spacing, and for that the whole series must be there: give it, as in `interval = \"5m\"` or `interval = \"1wk\"`, or set mode = \"full\"",
        )
    }

    /// Row by row, but where an interval had to be recognised.
    fn scope(&self) -> Scope {
        if self.interval.is_some() { Scope::Row } else { Scope::ByPlan }
    }

    fn definition(&self) -> serde_json::Value {
        let symbol = match &self.symbol {
            SymbolFrom::Auto => json!("auto"),
            SymbolFrom::Column(name) => json!({ "column": name }),
            SymbolFrom::FileName => json!("file_name"),
            SymbolFrom::Given(symbol) => json!({ "given": symbol }),
        };
        json!({
            "type": STEP,
            "columns": self.columns,
            "symbol": symbol,
            "interval": self.interval.map(|it| it.to_string()),
            "basis": self.basis,
            "provider": self.provider,
            "currency": self.currency,
            "session": self.session,
            "date_order": self.date_order,
            "decimal_comma": self.decimal_comma,
            "timezone": self.timezone,
            "bad_dates": self.bad_dates(),
        })
    }
}

/// Conditions under which a row is refused, each with its reason; the first one counts.
#[derive(Default)]
struct Refusals(Vec<(Expr, Expr)>);

impl Refusals {
    fn push(&mut self, condition: Expr, reason: Expr) {
        self.0.push((condition, reason));
    }

    fn reason(self) -> Result<Expr> {
        let mut cases = self.0.into_iter();
        let Some((condition, reason)) = cases.next() else { return Ok(lit(ScalarValue::Utf8(None))) };
        let mut built = when(condition, reason);
        for (condition, reason) in cases {
            built = built.when(condition, reason);
        }
        Ok(built.end()?)
    }
}

/// ``column `Close`: `abc` is no number``.
fn says(name: &str, what: &str) -> Expr {
    let value = coalesce(vec![cast(column(name), DataType::Utf8), lit("NULL")]);
    concat(vec![lit(format!("column `{name}`: `")), value, lit(format!("` {what}"))])
}

/// Text without blanks around it; NULL if nothing is left.
fn trimmed(text: Expr) -> Expr {
    nullif(btrim(vec![cast(text, DataType::Utf8)]), lit(""))
}

fn text_or_null(fields: &Fields, name: &str) -> Expr {
    match fields.iter().find(|it| it.name() == name) {
        Some(_) => cast(column(name), DataType::Utf8),
        None => lit(ScalarValue::Utf8(None)),
    }
}

/// Whether a column may hold a time of day only, to be joined with the date beside it.
fn is_clock(field: &arrow::datatypes::FieldRef) -> bool {
    is_text(field.data_type()) || matches!(field.data_type(), DataType::Time32(_) | DataType::Time64(_))
}

/// Whether a row is a bar.
fn is_bar() -> Expr {
    column("reason").is_null().and(column("interval").is_not_null()).and(refuses_day().is_not_true())
}

/// The rows that are bars, in the canonical columns.
fn bars(rows: &DataFrame) -> Result<Relation> {
    let unit = |units: &[IntervalUnit]| {
        let endings: Vec<Expr> = units.iter().map(|it| lit(ending(*it))).collect();
        datafusion::functions::expr_fn::regexp_replace(column("interval"), lit("^[0-9]+"), lit(""), None)
            .in_list(endings, false)
    };
    use IntervalUnit as Unit;
    let intraday = unit(&[Unit::Second, Unit::Minute, Unit::Hour]);
    let truncated = |to: &str| {
        cast(
            date_trunc(lit(to), cast(column("date"), DataType::Timestamp(TimeUnit::Microsecond, None))),
            DataType::Date32,
        )
    };
    let day = when(unit(&[Unit::Week]), truncated("week"))
        .when(unit(&[Unit::Month]), truncated("month"))
        .when(unit(&[Unit::Year]), truncated("year"))
        .otherwise(column("date"))?;
    let seq = rows.schema().has_column_with_unqualified_name(SOURCE_SEQ);
    let staged = rows.clone().filter(is_bar())?.with_column("__intraday", intraday)?.with_column("__day", day)?;
    let mut out = Vec::new();
    for field in bar_schema().fields() {
        let name = field.name().as_str();
        let value = match name {
            "ts" => when(column("__intraday"), column("ts")).otherwise(midnight(column("__day")))?,
            "date" => when(column("__intraday"), column("date")).otherwise(column("__day"))?,
            "source_ts" => {
                let stamp = when(column("__intraday").is_not_true().and(column("timed")), column("ts")).end()?;
                coalesce(vec![column("source_ts"), stamp])
            }
            other => column(other),
        };
        let value = cast(value, field.data_type().clone());
        out.push(if field.is_nullable() { value.alias(name) } else { required(value).alias(name) });
    }
    if seq {
        out.push(column(SOURCE_SEQ));
    }
    Ok(Relation::new(staged.select(out)?).with_key(BAR_KEY).with_version(Some(AS_OF.into())))
}

fn ending(unit: IntervalUnit) -> &'static str {
    use IntervalUnit as Unit;
    match unit {
        Unit::Second => "s",
        Unit::Minute => "m",
        Unit::Hour => "h",
        Unit::Day => "d",
        Unit::Week => "wk",
        Unit::Month => "mo",
        Unit::Year => "y",
    }
}

/// An intraday bar without a time of day cannot be placed.
fn refuses_day() -> Expr {
    lacks_time("interval", "timed")
}

fn lacks_time(interval: &str, timed: &str) -> Expr {
    let intraday = datafusion::functions::expr_fn::regexp_like(column(interval), lit("^[0-9]+[smh]$"), None);
    intraday.and(column(timed).is_not_true())
}

fn needs_time(interval: &str) -> Expr {
    concat(vec![lit("a bar of interval `"), column(interval), lit("` needs a time of day")])
}

fn position() -> Expr {
    let seq = column("symbol");
    concat(vec![
        coalesce(vec![seq, lit("?")]),
        lit("|"),
        coalesce(vec![column("interval"), lit("?")]),
        lit("|"),
        coalesce(vec![cast(column("ts"), DataType::Utf8), lit("?")]),
    ])
}

fn refused_as_read(rows: &DataFrame, place: &str, bad_dates: Action) -> Result<DataFrame> {
    let refused = rows.clone().filter(column("reason").is_not_null())?;
    let refused =
        if bad_dates == Action::DeadLetter { refused } else { refused.filter(column("undated").is_not_true())? };
    let partition = coalesce(vec![column("file"), lit(place)]);
    let mut positions = vec![column("line"), position()];
    if refused.schema().has_column_with_unqualified_name(SOURCE_SEQ) {
        positions.insert(1, cast(column(SOURCE_SEQ), DataType::Utf8));
    }
    let position = coalesce(positions);
    reject_frame_with(refused, partition, position, column("symbol"), column("reason"), column("payload"))
}

fn refused_for_interval(rows: &DataFrame, place: &str) -> Result<DataFrame> {
    let refused =
        rows.clone().filter(column("reason").is_null().and(column("interval").is_null().or(refuses_day())))?;
    let reason = when(
        column("interval").is_null(),
        lit("the interval cannot be recognised from the time stamps; give it with `interval`"),
    )
    .otherwise(needs_time("interval"))?;
    let refused = refused.drop_columns(&["reason", "payload"])?;
    reject_frame(refused, place, position(), column("symbol"), reason)
}

/// Rows without a date that can be read, by symbol.
fn date_note(rows: &DataFrame, action: Action) -> Result<DataFrame> {
    let found = rows.clone().filter(column("undated"))?;
    let found = found
        .aggregate(vec![column("symbol")], vec![count(lit(1_i64)).alias("n"), min(column("reason")).alias("reason")])?;
    let (level, done) = match action {
        Action::DeadLetter => ("info", "refused"),
        Action::Fail => ("fail", "not allowed"),
        Action::Drop | Action::Off => ("info", "dropped"),
    };
    let text = concat(vec![lit(format!("{done}: ")), column("reason")]);
    note_frame(found, lit("normalize.date"), column("symbol"), column("n"), lit(level), text)
}

/// Symbols of which no row is a bar.
fn lost_note(rows: &DataFrame) -> Result<DataFrame> {
    let kept = count(lit(1_i64)).filter(is_bar()).build()?;
    let found = rows.clone().aggregate(
        vec![column("symbol")],
        vec![count(lit(1_i64)).alias("n"), kept.alias("kept"), min(column("reason")).alias("reason")],
    )?;
    let found = found.filter(column("kept").eq(lit(0_i64)).and(column("symbol").is_not_null()))?;
    let unrecognised = lit("its interval cannot be recognised");
    let text = concat(vec![
        lit("lost all of its rows in this epoch, some because "),
        coalesce(vec![column("reason"), unrecognised]),
    ]);
    note_frame(found, lit("normalize.lost"), column("symbol"), column("n"), lit("warning"), text)
}

fn left_out_note(epoch: &EpochContext, mapped: &Mapped) -> Result<Option<DataFrame>> {
    if mapped.left_out.is_empty() {
        return Ok(None);
    }
    let text = format!("columns without a place in a bar were left out: `{}`", mapped.left_out.join("`, `"));
    let n = i64::try_from(mapped.left_out.len()).unwrap_or(i64::MAX);
    let once = epoch.session.read_empty()?;
    Ok(Some(note_frame(once, lit("normalize.columns"), lit(ScalarValue::Utf8(None)), lit(n), lit("info"), lit(text))?))
}

fn basis_note(rows: &DataFrame) -> Result<DataFrame> {
    let n = rows.clone().filter(column("reason").is_null())?.aggregate(vec![], vec![count(lit(1_i64)).alias("n")])?;
    let n = n.filter(column("n").gt(lit(0_i64)))?;
    note_frame(
        n,
        lit("normalize.basis"),
        lit(ScalarValue::Utf8(None)),
        column("n"),
        lit("info"),
        lit("the prices were taken to be as traded (`raw`); say otherwise with `basis`"),
    )
}

#[cfg(test)]
mod tests;
