//! Puts bars together to wider ones.

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::functions::expr_fn::{concat, date_bin};
use datafusion::functions_aggregate::expr_fn::{
    bool_and, count, count_distinct, first_value, last_value, max, min, sum,
};
use datafusion::logical_expr::expr::NullTreatment;
use datafusion::logical_expr::{Expr, ExprFunctionExt, cast, lit, when};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde_json::json;

use super::expr::{column, columns, finite, instant, midnight, require, shared, whole};
use super::interval::{Interval, IntervalUnit};
use super::udf::{part_of, period, required, zone};
use super::{Outputs, Scope, Transform, note_frame};
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::relation::{AS_OF, REVISION, Relation, Relations};
use crate::schema::{BAR_KEY, bar_schema};

/// Puts bars together to wider ones: daily to weekly or monthly, minutes to hours or days.
///
/// # Input
///
/// Bars. Those of `from` are used; without it all whose interval divides the wanted one, which must then be one for each
/// symbol.
///
/// # Output
///
/// Bars of the wanted interval in the columns of [`bar_schema`]: the first open, the highest high, the lowest low, the last
/// close and adjusted close, the sum of the volumes, the last currency, provider and session, the newest `as_of`. A price
/// that is NULL or not finite is passed over. Key `(symbol, interval, ts)`, version `revision`.
///
/// `ts` is the start of the period: for days and more midnight UTC of the trading dates (weeks begin on Monday, months on
/// the 1st, several days or months count from 1970). Within the day periods are counted from midnight, or from the session's
/// start ([`Resample::with_session_start`]), in the time zone of the exchange ([`Resample::with_timezone`]), so that a change
/// of clocks moves none; they begin anew with each local day, so that none runs across midnight, and the last of a day is
/// shorter where the width does not divide it. A period without bars gives no bar.
///
/// `is_final` is false while the period may still be open: as long as the symbol has no bar beyond it, or holds a bar that
/// is not final. So it depends on the bars alone: the last week is open until the next one begins, whatever the day.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if `from` cannot be put together to the wanted interval, or the session's start is not
/// within a day, or nobody knows the time zone; [`Error::Schema`] if columns are missing. Symbols with several intervals that would fit fail the epoch
/// (note `resample.interval`).
#[derive(Debug, Clone)]
pub struct Resample {
    to: Interval,
    from: Option<Interval>,
    session_start: u32,
    timezone: Option<String>,
}

const STEP: &str = "resample";

impl Resample {
    /// To an interval.
    pub fn to(interval: Interval) -> Self {
        Self { to: interval, from: None, session_start: 0, timezone: None }
    }

    /// Only bars of this interval are used.
    #[must_use]
    pub fn with_from(mut self, interval: Interval) -> Self {
        self.from = Some(interval);
        self
    }

    /// Minutes after local midnight from which periods within the day are counted: 570 is 9:30.
    #[must_use]
    pub fn with_session_start(mut self, minutes: u32) -> Self {
        self.session_start = minutes;
        self
    }

    /// The exchange's time zone, for periods within the day; without it days are those of UTC.
    #[must_use]
    pub fn with_timezone(mut self, timezone: impl Into<String>) -> Self {
        self.timezone = Some(timezone.into());
        self
    }

    fn check(&self) -> Result<()> {
        if let Some(from) = self.from.filter(|it| !self.to.is_made_of(*it)) {
            return Err(Error::parameter(
                STEP,
                "from",
                format!("bars of `{from}` cannot be put together to bars of `{}`", self.to),
            ));
        }
        if self.session_start >= 1440 {
            return Err(Error::parameter(
                STEP,
                "session_start",
                format!("{} is not in 0..1440 minutes", self.session_start),
            ));
        }
        match &self.timezone {
            Some(name) => zone(name).map(drop).map_err(|_| {
                let reason = format!("`{name}` is no time zone; write `UTC`, `America/New_York` or `+02:00`");
                Error::parameter(STEP, "timezone", reason)
            }),
            None => Ok(()),
        }
    }

    /// The start of the period that a bar belongs to.
    fn start(&self) -> Expr {
        if let Some(width) = self.to.seconds().filter(|_| self.to.is_intraday()) {
            let zone = self.timezone.as_deref().unwrap_or("UTC");
            return period(column("ts"), zone, i64::from(self.session_start) * 60, width);
        }
        let n = i32::try_from(self.to.n()).unwrap_or(i32::MAX);
        let (months, days) = match self.to.unit() {
            IntervalUnit::Year => (n.saturating_mul(12), 0),
            IntervalUnit::Month => (n, 0),
            IntervalUnit::Week => (0, n.saturating_mul(7)),
            _ => (0, n),
        };
        let width = lit(ScalarValue::new_interval_mdn(months, days, 0));
        // The first Monday of 1970 is the 5th.
        let origin: i64 = if self.to.unit() == IntervalUnit::Week { 4 * 86_400 } else { 0 };
        let origin = lit(ScalarValue::TimestampMicrosecond(Some(origin * 1_000_000), Some("UTC".into())));
        date_bin(width, midnight(column("date")), origin)
    }

    /// The columns of the wider bars, grouped by symbol and start.
    fn grouped(&self, rows: DataFrame) -> Result<DataFrame> {
        let by_time = || vec![column("ts").sort(true, false)];
        let priced = |name: &str| when(finite(column(name)), column(name)).end();
        let ignoring = |expr: Expr| expr.order_by(by_time()).null_treatment(NullTreatment::IgnoreNulls).build();
        let last = |name: &str| ignoring(last_value(column(name), by_time()));
        let staged = rows.with_column("__start", cast(self.start(), instant()))?;
        let aggregates = vec![
            ignoring(first_value(priced("open")?, by_time()))?.alias("open"),
            max(priced("high")?).alias("high"),
            min(priced("low")?).alias("low"),
            ignoring(last_value(priced("close")?, by_time()))?.alias("close"),
            sum(column("volume")).alias("volume"),
            last("adj_close")?.alias("adj_close"),
            last("currency")?.alias("currency"),
            last("provider")?.alias("provider"),
            last("session")?.alias("session"),
            min(column("basis")).alias("least_basis"),
            max(column("basis")).alias("greatest_basis"),
            bool_and(column("is_final")).alias("all_final"),
            min(column("date")).alias("first_date"),
            max(column(AS_OF)).alias(AS_OF),
        ];
        Ok(staged.aggregate(columns(["symbol", "__start"]), aggregates)?)
    }

    fn bars(&self, grouped: DataFrame) -> Result<DataFrame> {
        let newest = whole(max(column("__start")), &["symbol"], vec![])?;
        let mut staged: Vec<Expr> = grouped.schema().fields().iter().map(|it| column(it.name().clone())).collect();
        staged.push(newest.alias("__newest"));
        let staged = grouped.select(staged)?;
        let basis =
            when(column("least_basis").eq(column("greatest_basis")), column("least_basis")).otherwise(lit("mixed"))?;
        let mut out = Vec::new();
        for field in bar_schema().fields() {
            let name = field.name().as_str();
            let value = match name {
                "interval" => lit(self.to.to_string()),
                "ts" => column("__start"),
                "date" if self.to.is_intraday() => column("first_date"),
                "date" => cast(column("__start"), DataType::Date32),
                "basis" => basis.clone(),
                "is_final" => column("all_final").and(column("__start").lt(column("__newest"))),
                "source_ts" => lit(ScalarValue::TimestampMicrosecond(None, Some("UTC".into()))),
                other => column(other),
            };
            let value = cast(value, field.data_type().clone());
            out.push(if field.is_nullable() { value.alias(name) } else { required(value).alias(name) });
        }
        Ok(staged.select(out)?)
    }
}

/// Symbols of which bars of several intervals would be thrown together.
fn several(rows: DataFrame) -> Result<DataFrame> {
    let found = rows.aggregate(columns(["symbol", "interval"]), vec![count(lit(1_i64)).alias("n")])?;
    let found = found.aggregate(
        vec![column("symbol")],
        vec![
            count_distinct(column("interval")).alias("widths"),
            sum(column("n")).alias("n"),
            min(column("interval")).alias("one"),
            max(column("interval")).alias("other"),
        ],
    )?;
    let found = found.filter(column("widths").gt(lit(1_i64)))?;
    let text = concat(vec![
        lit("bars of `"),
        column("one"),
        lit("` and `"),
        column("other"),
        lit("` would be thrown together; choose one with `from`"),
    ]);
    note_frame(found, lit("resample.interval"), column("symbol"), column("n"), lit("fail"), text)
}

#[async_trait]
impl Transform for Resample {
    async fn apply(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Outputs> {
        self.check()?;
        let input = inputs.input()?;
        let schema = bar_schema();
        let needed: Vec<&str> = schema.fields().iter().map(|it| it.name().as_str()).collect();
        require(STEP, input, &needed)?;
        let fits = match self.from {
            Some(from) => column("interval").eq(lit(from.to_string())),
            None => part_of(column("interval"), self.to),
        };
        let rows = shared(epoch, input.frame.clone()).await?.filter(fits)?;
        let bars = self.bars(self.grouped(rows.clone())?)?;
        let bars = Relation::new(bars).with_key(BAR_KEY).with_version(Some(REVISION.into())).with_unique_keys();
        let mut outputs = Outputs::one(bars);
        if self.from.is_none() {
            outputs.notes.push(several(rows)?);
        }
        Ok(outputs)
    }

    fn scope(&self) -> Scope {
        Scope::Symbol
    }

    fn definition(&self) -> serde_json::Value {
        json!({ "type": STEP, "to": self.to.to_string(), "from": self.from.map(|it| it.to_string()), "session_start": self.session_start, "timezone": self.timezone })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::transform::testing::{apply, bars, epoch, normalized, notes, refused, table};
    use crate::transform::{Normalize, Outputs};

    const HEADER: &str = "Ticker,Date,Open,High,Low,Close,Volume,Adj Close";

    async fn daily(resample: Resample, rows: &str) -> Outputs {
        let epoch = epoch();
        let input = bars(&epoch, &format!("{HEADER}\n{rows}")).await;
        apply(&resample, &epoch, input).await
    }

    async fn out(outputs: &Outputs) -> Vec<String> {
        table(
            &outputs.output.as_ref().unwrap().frame,
            &["symbol", "interval", "ts", "date", "open", "high", "low", "close", "volume", "adj_close", "is_final"],
        )
        .await
    }

    /// Wednesday to Tuesday, over the end of a month.
    const DAYS: &str = "A,2024-01-31,1,5,1,2,10,2\nA,2024-02-01,2,6,2,3,10,3\nA,2024-02-02,3,4,0.5,4,10,4\nA,2024-02-05,5,5,4,4.5,7,4.4\nA,2024-02-06,5,8,4,6,7,5.9\nB,2024-02-06,5,8,4,6,7,\n";

    #[tokio::test]
    async fn days_make_weeks_from_monday() {
        assert_eq!(
            out(&daily(Resample::to(Interval::WEEK), DAYS).await).await,
            [
                "A 1wk 2024-01-29T00:00:00Z 2024-01-29 1.0 6.0 0.5 4.0 30.0 4.0 true",
                "A 1wk 2024-02-05T00:00:00Z 2024-02-05 5.0 8.0 4.0 6.0 14.0 5.9 false",
                "B 1wk 2024-02-05T00:00:00Z 2024-02-05 5.0 8.0 4.0 6.0 7.0  false",
            ]
        );
    }

    #[tokio::test]
    async fn days_make_months_and_quarters() {
        assert_eq!(
            out(&daily(Resample::to(Interval::MONTH), DAYS).await).await[..2],
            [
                "A 1mo 2024-01-01T00:00:00Z 2024-01-01 1.0 5.0 1.0 2.0 10.0 2.0 true",
                "A 1mo 2024-02-01T00:00:00Z 2024-02-01 2.0 8.0 0.5 6.0 34.0 5.9 false",
            ]
        );
        let quarters = daily(
            Resample::to("3mo".parse().unwrap()),
            "A,2023-12-29,1,1,1,1,1,\nA,2024-03-28,1,1,1,1,1,\nA,2024-04-02,1,1,1,1,1,\n",
        )
        .await;
        assert_eq!(
            table(&quarters.output.unwrap().frame, &["ts"]).await,
            ["2023-10-01T00:00:00Z", "2024-01-01T00:00:00Z", "2024-04-01T00:00:00Z"]
        );
    }

    async fn intraday(resample: Resample, clocks: &[&str]) -> Vec<String> {
        let epoch = epoch();
        let rows: String =
            clocks.iter().enumerate().map(|(n, clock)| format!("A,2024-01-02 {clock},{n},{n},{n},{n},1,\n")).collect();
        let input =
            normalized(&epoch, Normalize::new().with_interval("5m".parse().unwrap()), &format!("{HEADER}\n{rows}"))
                .await;
        table(
            &apply(&resample, &epoch, input).await.output.unwrap().frame,
            &["interval", "ts", "date", "open", "close", "is_final"],
        )
        .await
    }

    #[tokio::test]
    async fn minutes_make_hours_and_days() {
        let clocks = ["14:30", "14:55", "15:00", "15:25", "15:30"];
        assert_eq!(
            intraday(Resample::to("1h".parse().unwrap()), &clocks).await,
            ["1h 2024-01-02T14:00:00Z 2024-01-02 0.0 1.0 true", "1h 2024-01-02T15:00:00Z 2024-01-02 2.0 4.0 false"]
        );
        assert_eq!(
            intraday(Resample::to("1h".parse().unwrap()).with_session_start(870), &clocks).await,
            ["1h 2024-01-02T14:30:00Z 2024-01-02 0.0 3.0 true", "1h 2024-01-02T15:30:00Z 2024-01-02 4.0 4.0 false"]
        );
        assert_eq!(
            intraday(Resample::to(Interval::DAY), &clocks).await,
            ["1d 2024-01-02T00:00:00Z 2024-01-02 0.0 4.0 false"]
        );
    }

    #[tokio::test]
    async fn periods_within_the_day_follow_the_clocks_of_the_exchange_and_end_with_the_day() {
        let epoch = epoch();
        let of = async |resample: Resample, stamps: &[&str]| {
            let rows: String = stamps.iter().map(|it| format!("A,{it},1,1,1,1,1,\n")).collect();
            let normalize = Normalize::new().with_interval("10m".parse().unwrap()).with_timezone("America/New_York");
            let input = normalized(&epoch, normalize, &format!("{HEADER}\n{rows}")).await;
            table(&apply(&resample, &epoch, input).await.output.unwrap().frame, &["ts", "date", "volume"]).await
        };
        let sessions = Resample::to("2h".parse().unwrap()).with_session_start(570).with_timezone("America/New_York");
        let stamps =
            ["2024-03-08 09:30", "2024-03-08 11:20", "2024-03-11 09:30", "2024-03-11 11:20", "2024-03-11 11:30"];
        assert_eq!(
            of(sessions, &stamps).await,
            [
                "2024-03-08T14:30:00Z 2024-03-08 2.0",
                "2024-03-11T13:30:00Z 2024-03-11 2.0",
                "2024-03-11T15:30:00Z 2024-03-11 1.0"
            ]
        );
        let uneven = Resample::to("50m".parse().unwrap()).with_timezone("America/New_York");
        assert_eq!(
            of(uneven, &["2024-01-02 23:50", "2024-01-03 00:00", "2024-01-03 00:40"]).await,
            ["2024-01-03T04:20:00Z 2024-01-02 1.0", "2024-01-03T05:00:00Z 2024-01-03 2.0"]
        );
    }

    #[tokio::test]
    async fn in_one_step_or_in_two_is_the_same() {
        let clocks: Vec<String> = (0..30).map(|n| format!("{:02}:{:02}", 14 + n / 12, n % 12 * 5)).collect();
        let clocks: Vec<&str> = clocks.iter().map(String::as_str).collect();
        let direct = intraday(Resample::to("1h".parse().unwrap()), &clocks).await;
        let epoch = epoch();
        let rows: String =
            clocks.iter().enumerate().map(|(n, clock)| format!("A,2024-01-02 {clock},{n},{n},{n},{n},1,\n")).collect();
        let input =
            normalized(&epoch, Normalize::new().with_interval("5m".parse().unwrap()), &format!("{HEADER}\n{rows}"))
                .await;
        let half = apply(&Resample::to("30m".parse().unwrap()), &epoch, input).await.output.unwrap();
        let hours = apply(&Resample::to("1h".parse().unwrap()), &epoch, half).await.output.unwrap();
        assert_eq!(table(&hours.frame, &["interval", "ts", "date", "open", "close", "is_final"]).await, direct);
    }

    #[tokio::test]
    async fn missing_prices_are_passed_over() {
        let outputs =
            daily(Resample::to(Interval::WEEK), "A,2024-01-29,,5,1,2,10,2\nA,2024-01-30,3,,NaN,inf,,\n").await;
        assert_eq!(out(&outputs).await, ["A 1wk 2024-01-29T00:00:00Z 2024-01-29 3.0 5.0 1.0 2.0 10.0 2.0 false"]);
        assert_eq!(outputs.output.unwrap().schema(), bar_schema());
    }

    #[tokio::test]
    async fn several_intervals_need_a_choice() {
        let epoch = epoch();
        let text = format!(
            "{HEADER},Interval\nA,2024-01-29 10:00,1,1,1,1,1,,5m\nA,2024-01-29,2,2,2,2,2,,1d\nA,2024-01-29,9,9,9,9,9,,1wk\n"
        );
        let input = bars(&epoch, &text).await;
        let any = apply(&Resample::to(Interval::MONTH), &epoch, input.clone()).await;
        assert_eq!(notes(&any).await, ["resample.interval A 2 fail"], "weeks do not make months");
        let chosen = apply(&Resample::to(Interval::MONTH).with_from(Interval::DAY), &epoch, input.clone()).await;
        assert_eq!(table(&chosen.output.as_ref().unwrap().frame, &["close"]).await, ["2.0"]);
        assert!(notes(&chosen).await.is_empty());
        let error = refused(&Resample::to(Interval::MONTH).with_from(Interval::WEEK), &epoch, input.clone()).await;
        assert_eq!(error, "invalid from for resample: bars of `1wk` cannot be put together to bars of `1mo`");
        assert!(
            refused(&Resample::to(Interval::DAY).with_session_start(1440), &epoch, input)
                .await
                .contains("1440 is not in 0..1440")
        );
        let nowhere = Resample::to("1h".parse().unwrap()).with_timezone("Mars/Base");
        let input = bars(&epoch, &format!("{HEADER}\n")).await;
        assert!(refused(&nowhere, &epoch, input).await.starts_with("invalid timezone for resample: `Mars/Base`"));
    }

    #[tokio::test]
    async fn nothing_in_nothing_out() {
        assert!(out(&daily(Resample::to(Interval::WEEK), "").await).await.is_empty());
    }
}
