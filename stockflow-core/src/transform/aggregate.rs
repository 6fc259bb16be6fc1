//! Return, volatility, mean volume and the 52-week range, period by period.

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions::expr_fn::{date_trunc, ln, sqrt};
use datafusion::functions_aggregate::expr_fn::{
    avg, count, count_distinct, first_value, last_value, max, min, stddev, sum,
};
use datafusion::functions_window::expr_fn::last_value as last_seen;
use datafusion::logical_expr::expr::NullTreatment;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, WindowFrame, WindowFrameBound, WindowFrameUnits, cast, lit, when,
};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::expr::{all_columns, ascending, column, columns, finite, framed, over, require, whole};
use super::udf::{per_year, required};
use super::{Outputs, Scope, Transform};
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::relation::{REVISION, Relation, Relations};

/// What a row of an aggregate covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Period {
    /// All bars there are.
    #[serde(rename = "all")]
    All,
    /// A calendar year.
    #[serde(rename = "year")]
    Year,
    /// A calendar quarter.
    #[serde(rename = "quarter")]
    Quarter,
    /// A calendar month.
    #[serde(rename = "month")]
    Month,
    /// A week that begins on Monday.
    #[serde(rename = "week")]
    Week,
    /// The 52 weeks that end with the symbol's last bar.
    #[serde(rename = "52w")]
    Weeks52,
}

impl Period {
    const ALL: [Self; 6] = [Self::All, Self::Year, Self::Quarter, Self::Month, Self::Week, Self::Weeks52];

    /// The word in configuration and in the column `period`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Year => "year",
            Self::Quarter => "quarter",
            Self::Month => "month",
            Self::Week => "week",
            Self::Weeks52 => "52w",
        }
    }

    /// Whether there are several periods of one symbol, told apart by their start.
    fn is_calendar(self) -> bool {
        !matches!(self, Self::All | Self::Weeks52)
    }
}

impl std::str::FromStr for Period {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|it| it.as_str() == text);
        found.ok_or_else(|| {
            Error::parameter(
                STEP,
                "period",
                format!("`{text}` is not {}", super::expr::one_of(&Self::ALL.map(Self::as_str))),
            )
        })
    }
}

/// Return, volatility, mean volume and the 52-week range of each symbol (or group of symbols), period by period.
///
/// # Input
///
/// Bars, better on an adjusted basis: a split would count as a loss. Group columns, if any, beside them.
///
/// # Output
///
/// | column | type | meaning |
/// |---|---|---|
/// | `symbol` (or the group's columns), `interval` | Utf8 | whose numbers they are |
/// | `period` | Utf8 | `month`, … |
/// | `period_start` | Date32 | first day of the period; for `all` and `52w` the date of the first bar in it |
/// | `period_end` | Date32 | date of the last bar in it |
/// | `basis` | Utf8 | of the prices; `mixed` if there are several |
/// | `bars` | Int64 | bars in it |
/// | `close` | Float64 | the last close (not for groups) |
/// | `return` | Float64 | last close / last close of the period before - 1; in the first period / first close |
/// | `volatility` | Float64 | sample standard deviation of log returns, close to close, times the square root of the bars a year has; NULL with fewer than two |
/// | `mean_volume` | Float64 | mean of the volumes |
/// | `high_52w`, `low_52w` | Float64 | highest high and lowest low of the 364 days that end with the period, or of what there is |
/// | `symbols` | Int64 | only for groups: how many symbols |
///
/// A year has 252 days, 52 weeks, 12 months, and days of 6.5 hours (see [`Aggregate::with_bars_per_year`]).
/// A group has the means of its symbols' returns, volatilities and mean volumes, the highest high and the lowest low.
///
/// `symbol`, `interval` and `basis` may be among the group's columns; what is measured (`close`, `volume` and so on) may not.
///
/// Key: `symbol` (or the group's columns) and `interval`, and `period_start` for calendar periods; version `revision`.
///
/// # Nulls
///
/// A close that is NULL, not finite or not above zero is passed over.
///
/// # Errors
///
/// [`Error::Schema`] if a column is missing, [`Error::InvalidParameter`] for a number of bars that is not above zero and for
/// a group by something that is measured.
#[derive(Debug, Clone)]
pub struct Aggregate {
    period: Period,
    group: Vec<String>,
    bars_per_year: Option<f64>,
}

const STEP: &str = "aggregate";
const SERIES: [&str; 2] = ["symbol", "interval"];
const BASIS: &str = "basis";
/// Columns of the input or the output that hold what is measured: equal values of them make no group.
const MEASURED: [&str; 16] = [
    "ts",
    "date",
    "high",
    "low",
    "close",
    "volume",
    "period",
    "period_start",
    "period_end",
    "bars",
    "return",
    "volatility",
    "mean_volume",
    "high_52w",
    "low_52w",
    "symbols",
];
/// Days before the last one that belong to its 52 weeks.
const DAYS_BEFORE: i64 = 52 * 7 - 1;

impl Aggregate {
    /// Over periods, symbol by symbol.
    pub fn new(period: Period) -> Self {
        Self { period, group: Vec::new(), bars_per_year: None }
    }

    /// Puts symbols together that have equal values in these columns.
    #[must_use]
    pub fn with_group<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.group = columns.into_iter().map(Into::into).collect();
        self
    }

    /// How many bars a year has, if not as the interval says: 365 for crypto.
    #[must_use]
    pub fn with_bars_per_year(mut self, bars: f64) -> Self {
        self.bars_per_year = Some(bars);
        self
    }

    fn check(&self) -> Result<()> {
        if let Some(bars) = self.bars_per_year.filter(|it| !(it.is_finite() && *it > 0.0)) {
            return Err(Error::parameter(STEP, "bars_per_year", format!("{bars} is not a finite number above zero")));
        }
        if let Some(name) = self.group.iter().find(|it| MEASURED.contains(&it.as_str())) {
            return Err(Error::parameter(
                STEP,
                "by",
                format!(
                    "`{name}` is measured, so its equal values put no symbols together; name a column such as a sector, or add one with `sql`"
                ),
            ));
        }
        Ok(())
    }

    /// The group's columns beside symbol and interval, each once.
    fn group_columns(&self) -> impl Iterator<Item = &str> {
        let named = |end: usize| self.group.iter().take(end).map(String::as_str);
        let first = move |(at, name): &(usize, &str)| !SERIES.contains(name) && !named(*at).any(|it| it == *name);
        self.group.iter().map(String::as_str).enumerate().filter(first).map(|(_, name)| name)
    }

    /// The basis of a row, unless it is one of the group's columns.
    fn basis(&self) -> Result<Option<Expr>> {
        if self.group.iter().any(|it| it == BASIS) {
            return Ok(None);
        }
        let one = when(column("__least").eq(column("__greatest")), column("__least")).otherwise(lit("mixed"))?;
        // Said to be there, or what is planned and what runs would differ once it is simplified.
        Ok(Some(required(one).alias(BASIS)))
    }

    /// Whether several symbols come together in a row.
    fn is_grouped(&self) -> bool {
        !self.group.is_empty() && !self.group.iter().any(|it| it == "symbol")
    }

    fn key(&self) -> Vec<String> {
        let first: Vec<String> = if self.is_grouped() { Vec::new() } else { vec!["symbol".into()] };
        let mut key: Vec<String> = first.into_iter().chain(self.group_columns().map(str::to_string)).collect();
        key.push("interval".into());
        if self.period.is_calendar() {
            key.push("period_start".into());
        }
        key
    }

    /// Each bar with its log return, its 52-week range and its period.
    fn measured(&self, rows: DataFrame) -> Result<DataFrame> {
        let by_time = || vec![ascending(column("ts"))];
        let usable = finite(column("close")).and(column("close").gt(lit(0.0)));
        let rows = with(
            rows,
            vec![
                when(usable, column("close")).end()?.alias("__close"),
                when(finite(column("high")), column("high")).end()?.alias("__high"),
                when(finite(column("low")), column("low")).end()?.alias("__low"),
                cast(cast(column("date"), DataType::Int32), DataType::Int64).alias("__day"),
            ],
        )?;
        let before = last_seen(column("__close")).null_treatment(NullTreatment::IgnoreNulls).build()?;
        let unbounded = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
        let before =
            over(before, &SERIES, by_time(), unbounded, WindowFrameBound::Preceding(ScalarValue::UInt64(Some(1))))?;
        let year = |of: Expr| {
            let from = WindowFrameBound::Preceding(ScalarValue::Int64(Some(DAYS_BEFORE)));
            framed(
                of,
                &SERIES,
                vec![ascending(column("__day"))],
                WindowFrame::new_bounds(WindowFrameUnits::Range, from, WindowFrameBound::CurrentRow),
            )
        };
        let newest = whole(max(column("__day")), &SERIES, vec![])?;
        let rows = with(
            rows,
            vec![
                before.alias("__before"),
                year(max(column("__high")))?.alias("__high_52w"),
                year(min(column("__low")))?.alias("__low_52w"),
                newest.alias("__newest"),
            ],
        )?;
        let rows = match self.period {
            Period::Weeks52 => rows.filter(column("__day").gt_eq(column("__newest") - lit(DAYS_BEFORE)))?,
            _ => rows,
        };
        let change = ln(column("__close") / column("__before"));
        with(rows, vec![change.alias("__change"), self.start().alias("__start")])
    }

    fn start(&self) -> Expr {
        if !self.period.is_calendar() {
            return lit(ScalarValue::Date32(Some(0)));
        }
        let midnight = cast(column("date"), DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None));
        cast(date_trunc(lit(self.period.as_str()), midnight), DataType::Date32)
    }

    /// One row a symbol and period.
    fn by_symbol(&self, rows: DataFrame) -> Result<DataFrame> {
        let by_time = || vec![column("ts").sort(true, false)];
        let ignoring = |expr: Expr| expr.order_by(by_time()).null_treatment(NullTreatment::IgnoreNulls).build();
        let mut group = columns(SERIES);
        group.push(column("__start"));
        group.extend(columns(self.group_columns()));
        let rows = rows.aggregate(
            group,
            vec![
                min(column("date")).alias("__first"),
                max(column("date")).alias("period_end"),
                min(column("basis")).alias("__least"),
                max(column("basis")).alias("__greatest"),
                count(lit(1_i64)).alias("bars"),
                ignoring(last_value(column("__close"), by_time()))?.alias("close"),
                ignoring(first_value(column("__close"), by_time()))?.alias("__open"),
                first_value(column("__before"), by_time()).alias("__base"),
                stddev(column("__change")).alias("__deviation"),
                avg(column("volume")).alias("mean_volume"),
                last_value(column("__high_52w"), by_time()).alias("high_52w"),
                last_value(column("__low_52w"), by_time()).alias("low_52w"),
            ],
        )?;
        let bars = self.bars_per_year.map_or_else(|| per_year(column("interval")), lit);
        let start = if self.period.is_calendar() { column("__start") } else { column("__first") };
        let mut out = columns(SERIES);
        out.extend(columns(self.group_columns()));
        out.extend([
            lit(self.period.as_str()).alias("period"),
            required(start).alias("period_start"),
            column("period_end"),
        ]);
        out.extend(self.basis()?);
        out.extend([
            column("bars"),
            column("close"),
            (column("close") / coalesce(vec![column("__base"), column("__open")]) - lit(1.0)).alias("return"),
            (column("__deviation") * sqrt(bars)).alias("volatility"),
            column("mean_volume"),
            column("high_52w"),
            column("low_52w"),
        ]);
        Ok(rows.select(out)?)
    }

    /// One row a group and period.
    fn by_group(&self, rows: DataFrame) -> Result<DataFrame> {
        let mut group = columns(self.group_columns());
        group.push(column("interval"));
        group.push(column("period"));
        if self.period.is_calendar() {
            group.push(column("period_start"));
        }
        let mut aggregates = vec![
            max(column("period_end")).alias("period_end"),
            min(column("basis")).alias("__least"),
            max(column("basis")).alias("__greatest"),
            sum(column("bars")).alias("bars"),
            avg(column("return")).alias("return"),
            avg(column("volatility")).alias("volatility"),
            avg(column("mean_volume")).alias("mean_volume"),
            max(column("high_52w")).alias("high_52w"),
            min(column("low_52w")).alias("low_52w"),
            count_distinct(column("symbol")).alias("symbols"),
        ];
        if !self.period.is_calendar() {
            aggregates.push(min(column("period_start")).alias("period_start"));
        }
        let rows = rows.aggregate(group, aggregates)?;
        let mut out = columns(self.group_columns());
        out.extend(columns(["interval", "period", "period_start", "period_end"]));
        out.extend(self.basis()?);
        out.extend(columns(["bars", "return", "volatility", "mean_volume", "high_52w", "low_52w", "symbols"]));
        Ok(rows.select(out)?)
    }
}

fn with(rows: DataFrame, more: Vec<Expr>) -> Result<DataFrame> {
    let mut out = all_columns(&rows);
    out.extend(more);
    Ok(rows.select(out)?)
}

#[async_trait]
impl Transform for Aggregate {
    async fn apply(&self, inputs: &Relations, _epoch: &EpochContext) -> Result<Outputs> {
        self.check()?;
        let input = inputs.input()?;
        let mut needed = vec!["symbol", "interval", "ts", "date", BASIS, "high", "low", "close", "volume"];
        needed.extend(self.group_columns().filter(|it| *it != BASIS));
        require(STEP, input, &needed)?;
        let rows = self.by_symbol(self.measured(input.frame.clone().select(columns(needed))?)?)?;
        let rows = if self.is_grouped() { self.by_group(rows)? } else { rows };
        let groups = Relation::new(rows).with_key(self.key()).with_version(Some(REVISION.into()));
        Ok(Outputs::one(groups.with_unique_keys()))
    }

    fn scope(&self) -> Scope {
        if self.is_grouped() { Scope::Everything } else { Scope::Symbol }
    }

    fn definition(&self) -> serde_json::Value {
        json!({ "type": STEP, "period": self.period, "group": self.group, "bars_per_year": self.bars_per_year })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use datafusion::common::cast::as_float64_array;

    use super::*;
    use crate::transform::testing::{EXAMPLES, apply, bars, epoch, example, inputs, refused, relation, table};
    use crate::transform::{Adjust, Normalize, Sql};

    const HEADER: &str = "Ticker,Date,Open,High,Low,Close,Volume,Adj Close";
    const DAYS: &str = "A,2023-12-29,1,11,9,10,100,\nA,2024-01-02,1,13,9,12,200,\nA,2024-01-31,1,13,8,11,400,\nA,2024-02-01,1,23,9,22,100,\nB,2024-01-02,1,6,4,5,10,\n";

    async fn of(aggregate: Aggregate, rows: &str) -> DataFrame {
        let epoch = epoch();
        let input = bars(&epoch, &format!("{HEADER}\n{rows}")).await;
        apply(&aggregate, &epoch, input).await.output.unwrap().frame
    }

    #[tokio::test]
    async fn months_go_from_close_to_close() {
        let frame = of(Aggregate::new(Period::Month), DAYS).await;
        assert_eq!(
            table(
                &frame,
                &["symbol", "period_start", "period_end", "bars", "close", "mean_volume", "high_52w", "low_52w"]
            )
            .await,
            [
                "A 2023-12-01 2023-12-29 1 10.0 100.0 11.0 9.0",
                "A 2024-01-01 2024-01-31 2 11.0 300.0 13.0 8.0",
                "A 2024-02-01 2024-02-01 1 22.0 100.0 23.0 8.0",
                "B 2024-01-01 2024-01-02 1 5.0 10.0 6.0 4.0",
            ]
        );
        let batches = frame
            .sort(vec![column("symbol").sort(true, false), column("period_start").sort(true, false)])
            .unwrap()
            .collect()
            .await
            .unwrap();
        let of = |name: &str| {
            batches
                .iter()
                .flat_map(|it| as_float64_array(it.column_by_name(name).unwrap()).unwrap().iter().collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        let returns = of("return");
        for (found, expected) in returns.iter().zip([0.0, 0.1, 1.0, 0.0]) {
            assert!((found.unwrap() - expected).abs() < 1e-12);
        }
        let changes = [(12.0_f64 / 10.0).ln(), (11.0_f64 / 12.0).ln()];
        let mean = (changes[0] + changes[1]) / 2.0;
        let deviation = changes.iter().map(|it| (it - mean).powi(2)).sum::<f64>().sqrt();
        let volatility = of("volatility");
        assert!((volatility[1].unwrap() - deviation * 252.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!((volatility[0], volatility[2], volatility[3]), (None, None, None), "one change has no deviation");
    }

    #[tokio::test]
    async fn the_other_periods() {
        for (period, expected) in [
            (Period::All, vec!["A 2023-12-29 2024-02-01 4", "B 2024-01-02 2024-01-02 1"]),
            (Period::Weeks52, vec!["A 2023-12-29 2024-02-01 4", "B 2024-01-02 2024-01-02 1"]),
            (Period::Year, vec!["A 2023-01-01 2023-12-29 1", "A 2024-01-01 2024-02-01 3", "B 2024-01-01 2024-01-02 1"]),
            (
                Period::Quarter,
                vec!["A 2023-10-01 2023-12-29 1", "A 2024-01-01 2024-02-01 3", "B 2024-01-01 2024-01-02 1"],
            ),
            (
                Period::Week,
                vec![
                    "A 2023-12-25 2023-12-29 1",
                    "A 2024-01-01 2024-01-02 1",
                    "A 2024-01-29 2024-02-01 2",
                    "B 2024-01-01 2024-01-02 1",
                ],
            ),
        ] {
            assert_eq!(
                table(&of(Aggregate::new(period), DAYS).await, &["symbol", "period_start", "period_end", "bars"]).await,
                expected,
                "{period:?}"
            );
        }
    }

    #[tokio::test]
    async fn fifty_two_weeks_are_364_days_and_go_back_no_further() {
        let rows = "A,2022-12-30,1,99,1,50,1,\nA,2023-01-02,1,12,9,10,1,\nA,2023-01-03,1,12,9,10,1,\nA,2024-01-01,1,11,8,20,1,\n";
        let frame = of(Aggregate::new(Period::Weeks52), rows).await;
        assert_eq!(
            table(&frame, &["period_start", "bars", "return", "high_52w", "low_52w"]).await,
            ["2023-01-03 2 1.0 12.0 8.0"]
        );
    }

    #[tokio::test]
    async fn groups_are_means_over_their_symbols() {
        let epoch = epoch();
        let bars = bars(&epoch, &format!("{HEADER}\nA,2024-01-02,1,3,1,1,10,\nA,2024-01-03,1,3,1,2,10,\nB,2024-01-02,1,9,2,1,30,\nB,2024-01-03,1,3,1,4,30,\nC,2024-01-03,1,3,1,4,30,\n")).await;
        let sql =
            Sql::new("SELECT *, CASE WHEN symbol = 'C' THEN 'bank' ELSE 'tech' END AS sector FROM input").unwrap();
        let with_sector = sql.apply(&inputs(bars), &epoch).await.unwrap().output.unwrap();
        let aggregate = Aggregate::new(Period::Year).with_group(["sector"]);
        let output = apply(&aggregate, &epoch, with_sector).await.output.unwrap();
        assert_eq!(output.key, ["sector", "interval", "period_start"]);
        assert_eq!(aggregate.scope(), Scope::Everything);
        assert_eq!(
            table(&output.frame, &["sector", "symbols", "bars", "return", "mean_volume", "high_52w", "low_52w"]).await,
            ["bank 1 1 0.0 30.0 3.0 1.0", "tech 2 4 2.0 20.0 9.0 1.0"]
        );
    }

    #[tokio::test]
    async fn groups_run_with_all_their_columns_and_may_be_by_basis() {
        let epoch = epoch();
        let bars = bars(&epoch, &format!("{HEADER},Currency\nA,2024-01-02,1,3,1,1,10,,USD\nB,2024-01-02,1,9,2,1,30,,USD\nC,2024-01-02,1,3,1,4,30,,EUR\n")).await;
        for period in Period::ALL {
            for (group, expected) in [
                (vec!["currency"], ["EUR raw 1", "USD raw 2"].as_slice()),
                (vec!["currency", "currency", "interval"], &["EUR raw 1", "USD raw 2"]),
                (vec!["symbol", "currency"], &["EUR raw 1", "USD raw 1", "USD raw 1"]),
                (vec!["basis", "currency"], &["EUR raw 1", "USD raw 2"]),
            ] {
                let aggregate = Aggregate::new(period).with_group(group.clone());
                let frame = apply(&aggregate, &epoch, bars.clone()).await.output.unwrap().frame;
                // All columns: what is planned and what runs must be of one type.
                frame.clone().collect().await.unwrap();
                assert_eq!(table(&frame, &["currency", "basis", "bars"]).await, expected, "{period:?} {group:?}");
            }
        }
    }

    #[tokio::test]
    async fn unusable_closes_are_passed_over_and_nothing_is_nothing() {
        let frame = of(Aggregate::new(Period::All), "A,2024-01-02,1,3,1,,10,\nA,2024-01-03,1,3,1,2,10,\nA,2024-01-04,1,inf,NaN,-1,10,\nA,2024-01-05,1,3,1,3,10,\n").await;
        assert_eq!(table(&frame, &["bars", "close", "return", "high_52w", "low_52w"]).await, ["4 3.0 0.5 3.0 1.0"]);
        assert!(table(&of(Aggregate::new(Period::All), "").await, &["symbol"]).await.is_empty());
    }

    #[tokio::test]
    async fn bad_parameters_are_refused() {
        let epoch = epoch();
        let input = bars(&epoch, &format!("{HEADER}\n{DAYS}")).await;
        assert!(
            refused(&Aggregate::new(Period::All).with_bars_per_year(f64::NAN), &epoch, input.clone())
                .await
                .contains("NaN is not a finite number")
        );
        assert!(
            refused(&Aggregate::new(Period::All).with_group(["sector"]), &epoch, input)
                .await
                .contains("`sector` is missing")
        );
        let measured = refused(
            &Aggregate::new(Period::All).with_group(["close"]),
            &epoch,
            bars(&epoch, &format!("{HEADER}\n")).await,
        )
        .await;
        assert!(measured.starts_with("invalid by for aggregate: `close` is measured"), "{measured}");
        assert!("fortnight".parse::<Period>().unwrap_err().to_string().contains("one of `all`, `year`"));
        assert_ne!(Aggregate::new(Period::All).definition(), Aggregate::new(Period::Week).definition());
    }

    #[tokio::test]
    async fn the_examples_have_fourteen_years() {
        let epoch = epoch();
        let bars =
            apply(&Normalize::new(), &epoch, relation(&epoch, EXAMPLES.map(example).to_vec())).await.output.unwrap();
        let adjusted = apply(&Adjust::by_ratio(), &epoch, bars).await.output.unwrap();
        let frame = apply(&Aggregate::new(Period::Year), &epoch, adjusted).await.output.unwrap().frame;
        let counted = frame.clone().aggregate(vec![column("symbol")], vec![count(lit(1_i64)).alias("years")]).unwrap();
        assert_eq!(table(&counted, &["symbol", "years"]).await, ["AAPL 14", "FB 2", "GOOG 10", "IBM 14", "MSFT 14"]);
        let sane =
            frame.filter(column("volatility").lt(lit(0.0)).or(column("low_52w").gt(column("high_52w")))).unwrap();
        assert_eq!(sane.count().await.unwrap(), 0);
    }
}
