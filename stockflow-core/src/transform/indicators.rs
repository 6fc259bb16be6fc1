//! Indicators over bars, as columns.

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::functions::expr_fn::concat;
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::DataFrame;
use serde_json::json;

use super::expr::{column, columns, require, shared};
use super::{Outputs, Scope, Transform, note_frame};
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::indicator::{IndicatorError, IndicatorSpec, KERNEL_VERSION, check_columns, expr_fn, parse_list};
use crate::relation::{REVISION, Relation, Relations};
use crate::schema::{BAR_KEY, Basis};

/// Computes a list of indicators, each as one or more columns beside the bar's key.
///
/// # Input
///
/// Bars, on one basis a series. Put [`Adjust`](super::Adjust) before it: as-traded prices jump at splits, and an RSI across
/// one is nonsense.
///
/// # Output
///
/// `symbol, interval, ts, date, basis, close` and the columns of the indicators
/// ([`IndicatorSpec::columns`]): as many rows as come in. `close` is the price that was used, `basis` says what was done
/// to it. Key `(symbol, interval, ts)`, version `revision`.
///
/// # Nulls
///
/// NULL during the lookback. A NULL or NaN input row gives NULL there and leaves the state untouched. A series that is
/// shorter than the lookback gives NULLs.
///
/// # Errors
///
/// [`Error::InvalidParameter`] for a list that cannot be read or gives a column twice, [`Error::Schema`] if a column is
/// missing. A series on several bases, or on another basis than the one asked for, fails the epoch (note
/// `indicators.basis`). Two bars of one key fail the query.
#[derive(Debug, Clone)]
pub struct Indicators {
    specs: Vec<IndicatorSpec>,
    basis: Option<Basis>,
}

const STEP: &str = "indicators";
const CARRIED: [&str; 6] = ["symbol", "interval", "ts", "date", "basis", "close"];

impl Indicators {
    /// A list in the form of a config file: `sma(20)`, `macd`, `ema(12, input = high)`, `sma(200) as slow`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for the first entry that cannot be read.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self> {
        Self::new(parse_list(texts).map_err(refuse)?)
    }

    /// A list of checked calls.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if there are none, or if two of them, or one and a column of the bar, have the same name:
    /// upper and lower case make no difference, because they make none to many readers of a table.
    pub fn new(specs: Vec<IndicatorSpec>) -> Result<Self> {
        if specs.is_empty() {
            return Err(Error::parameter(STEP, "list", "it is empty; name at least one, such as `sma(20)`"));
        }
        check_columns(&specs).map_err(refuse)?;
        let is_taken = |name: &&String| CARRIED.iter().chain([&REVISION]).any(|it| it.eq_ignore_ascii_case(name));
        for spec in &specs {
            if let Some(name) = spec.columns().iter().find(is_taken) {
                return Err(Error::parameter(
                    STEP,
                    "list",
                    format!("`{spec}` would give the column `{name}`, which is there already; name it with `as`"),
                ));
            }
        }
        Ok(Self { specs, basis: None })
    }

    /// The basis that the prices must be on.
    #[must_use]
    pub fn with_basis(mut self, basis: Basis) -> Self {
        self.basis = Some(basis);
        self
    }

    /// The indicators.
    pub fn specs(&self) -> &[IndicatorSpec] {
        &self.specs
    }

    /// What basis was used, and where it is not the right one.
    fn notes(&self, rows: DataFrame) -> Result<Vec<DataFrame>> {
        let series = rows.aggregate(
            columns(["symbol", "interval"]),
            vec![
                count(lit(1_i64)).alias("n"),
                min(column("basis")).alias("least"),
                max(column("basis")).alias("greatest"),
            ],
        )?;
        let mixed = column("least").not_eq(column("greatest"));
        let wrong = match self.basis {
            Some(basis) => mixed.or(column("least").not_eq(lit(basis.as_str()))),
            None => mixed,
        };
        let wanted = self.basis.map_or("one basis".to_string(), |it| format!("basis `{it}`"));
        let text = concat(vec![
            lit("the prices are on `"),
            column("least"),
            lit("` to `"),
            column("greatest"),
            lit(format!("`, not on {wanted}; put `adjust` before it")),
        ]);
        let failed = note_frame(
            series.clone().filter(wrong.clone())?,
            lit("indicators.basis"),
            column("symbol"),
            column("n"),
            lit("fail"),
            text,
        )?;
        let used = series.filter(Expr::Not(Box::new(wrong)))?.aggregate(
            columns(["least"]),
            vec![datafusion::functions_aggregate::expr_fn::sum(column("n")).alias("n")],
        )?;
        let text = concat(vec![lit("computed on `"), column("least"), lit("` prices")]);
        let nobody = lit(datafusion::scalar::ScalarValue::Utf8(None));
        Ok(vec![failed, note_frame(used, lit("indicators.computed"), nobody, column("n"), lit("info"), text)?])
    }
}

/// Checks that what is read holds numbers.
fn check_inputs(spec: &IndicatorSpec, input: &Relation) -> Result<()> {
    for name in spec.inputs() {
        let schema = input.frame.schema();
        let data_type = schema.field_with_unqualified_name(name)?.data_type();
        let data_type = match data_type {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        if !(data_type.is_numeric() || data_type.is_null()) {
            let reason = format!("`{spec}` reads `{name}`, which holds no numbers: it is of type {data_type}");
            return Err(Error::parameter(STEP, "list", reason));
        }
    }
    Ok(())
}

fn refuse(error: IndicatorError) -> Error {
    Error::parameter(STEP, "list", error.to_string())
}

#[async_trait]
impl Transform for Indicators {
    async fn apply(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Outputs> {
        let input = inputs.input()?;
        let read = self.specs.iter().flat_map(|it| it.inputs()).map(String::as_str);
        let needed: Vec<&str> = CARRIED.into_iter().chain(read).collect();
        require(STEP, input, &needed)?;
        self.specs.iter().try_for_each(|it| check_inputs(it, input))?;
        let rows = shared(epoch, input.frame.clone()).await?;
        let mut out = columns(CARRIED);
        for spec in &self.specs {
            out.extend(expr_fn::columns(spec)?);
        }
        let mut output = Relation::new(rows.clone().select(out)?).with_key(BAR_KEY).with_version(Some(REVISION.into()));
        output.unique = input.unique;
        let mut outputs = Outputs::one(output);
        outputs.notes = self.notes(rows)?;
        Ok(outputs)
    }

    fn scope(&self) -> Scope {
        Scope::Symbol
    }

    fn keeps_state(&self) -> bool {
        self.specs.iter().all(|it| it.call().goes_piece_by_piece())
    }

    fn definition(&self) -> serde_json::Value {
        // Parameters at their defaults are written out: a default that moves changes the numbers.
        let list: Vec<_> = self
            .specs
            .iter()
            .map(|it| json!({ "call": it.call().canonical(), "inputs": it.inputs(), "columns": it.columns() }))
            .collect();
        json!({ "type": STEP, "list": list, "basis": self.basis, "kernel": KERNEL_VERSION })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use datafusion::common::cast::as_float64_array;

    use super::*;
    use crate::transform::testing::{EXAMPLES, apply, bars, epoch, example, notes, refused, relation, table};
    use crate::transform::{Adjust, Clean, Normalize};

    const HEADER: &str = "Ticker,Date,Open,High,Low,Close,Volume,Adj Close";

    #[tokio::test]
    async fn gives_a_column_for_each_output_and_a_row_for_each_bar() {
        let epoch = epoch();
        let input = bars(&epoch, &format!("{HEADER}\nA,2024-01-02,1,3,1,2,10,2\nA,2024-01-03,1,5,1,4,10,4\nB,2024-01-02,1,9,1,8,10,8\nA,2024-01-04,1,7,1,6,10,6\n")).await;
        let transform = Indicators::parse(&["sma(2)", "macd", "ema(2, input = high) as fast"]).unwrap();
        let outputs = apply(&transform, &epoch, input).await;
        let output = outputs.output.as_ref().unwrap();
        let names: Vec<String> = output.schema().fields().iter().map(|it| it.name().clone()).collect();
        assert_eq!(
            names,
            ["symbol", "interval", "ts", "date", "basis", "close", "sma_2", "macd", "macd_signal", "macd_hist", "fast"]
        );
        assert_eq!(
            table(&output.frame, &["symbol", "date", "close", "sma_2", "fast"]).await,
            ["A 2024-01-02 2.0", "A 2024-01-03 4.0 3.0 4.0", "A 2024-01-04 6.0 5.0 6.0", "B 2024-01-02 8.0"]
        );
        assert_eq!(notes(&outputs).await, ["indicators.computed  4 info"]);
    }

    #[tokio::test]
    async fn several_outputs_are_computed_once() {
        let epoch = epoch();
        let input = bars(&epoch, &format!("{HEADER}\nA,2024-01-02,1,3,1,2,10,2\n")).await;
        let output = apply(&Indicators::parse(&["macd"]).unwrap(), &epoch, input).await.output.unwrap();
        let plan = output.frame.into_optimized_plan().unwrap().display_indent().to_string();
        let windows: Vec<_> = plan.lines().filter(|it| it.contains("WindowAggr")).collect();
        assert_eq!(windows.len(), 1, "{plan}");
        assert_eq!(
            windows[0].matches("macd(").count(),
            windows[0].matches("macd(").count().min(2),
            "one expression (and its alias): {plan}"
        );
    }

    #[tokio::test]
    async fn the_basis_is_checked() {
        let epoch = epoch();
        let input = bars(&epoch, &format!("{HEADER},Basis\nA,2024-01-02,1,3,1,2,10,2,raw\nB,2024-01-02,1,3,1,2,10,2,total\nC,2024-01-02,1,3,1,2,10,2,raw\nC,2024-01-03,1,3,1,2,10,2,total\n")).await;
        let any = apply(&Indicators::parse(&["sma(2)"]).unwrap(), &epoch, input.clone()).await;
        assert_eq!(
            notes(&any).await,
            ["indicators.basis C 2 fail", "indicators.computed  1 info", "indicators.computed  1 info"]
        );
        let total = apply(&Indicators::parse(&["sma(2)"]).unwrap().with_basis(Basis::Total), &epoch, input).await;
        assert_eq!(
            notes(&total).await,
            ["indicators.basis A 1 fail", "indicators.basis C 2 fail", "indicators.computed  1 info"]
        );
    }

    #[tokio::test]
    async fn lists_that_mean_nothing_are_refused() {
        for (list, reason) in [
            (vec!["smaa(20)"], "unknown indicator `smaa`"),
            (vec!["sma(0)"], "timeperiod"),
            (vec!["sma(20)", "sma(20)"], "both give the column `sma_20`"),
            (vec!["sma(20) as close"], "would give the column `close`"),
            (vec!["sma(20) as Close"], "would give the column `Close`"),
            (vec!["sma(20) as fast", "sma(10) as FAST"], "both give the column `FAST`"),
            (vec![], "it is empty"),
        ] {
            let error = Indicators::parse(&list).unwrap_err().to_string();
            assert!(error.starts_with("invalid list for indicators: ") && error.contains(reason), "{error}");
        }
        let epoch = epoch();
        let input = bars(&epoch, &format!("{HEADER}\n")).await;
        let error = refused(&Indicators::parse(&["sma(20, input = vwap)"]).unwrap(), &epoch, input).await;
        assert!(error.contains("schema mismatch at indicators: `vwap` is missing"), "{error}");
        for name in ["symbol", "ts", "is_final"] {
            let list = [format!("sma(2, input = {name})")];
            let input = bars(&epoch, &format!("{HEADER}\n")).await;
            let error = refused(&Indicators::parse(&list).unwrap(), &epoch, input).await;
            assert!(error.contains(&format!("reads `{name}`, which holds no numbers")), "{error}");
        }
    }

    #[tokio::test]
    async fn the_main_job_runs_over_the_examples() {
        let epoch = epoch();
        let bars =
            apply(&Normalize::new(), &epoch, relation(&epoch, EXAMPLES.map(example).to_vec())).await.output.unwrap();
        let clean = apply(&Clean::new(), &epoch, bars).await.output.unwrap();
        let adjusted = apply(&Adjust::by_ratio(), &epoch, clean).await.output.unwrap();
        let list =
            ["sma(20)", "sma(50)", "sma(200)", "ema(12)", "ema(26)", "macd", "rsi(14)", "bbands(20)", "atr(14)", "obv"];
        let outputs = apply(&Indicators::parse(&list).unwrap().with_basis(Basis::Total), &epoch, adjusted).await;
        assert_eq!(notes(&outputs).await, ["indicators.computed  12154 info"]);
        let aapl = outputs
            .output
            .unwrap()
            .frame
            .filter(column("symbol").eq(lit("AAPL")))
            .unwrap()
            .sort(vec![column("ts").sort(true, false)])
            .unwrap();
        let batches = aapl.collect().await.unwrap();
        let of = |name: &str| {
            batches
                .iter()
                .flat_map(|it| as_float64_array(it.column_by_name(name).unwrap()).unwrap().iter().collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        let (close, sma) = (of("close"), of("sma_20"));
        assert!(sma[..19].iter().all(Option::is_none));
        for at in [19, 100, 3269] {
            let mean = close[at - 19..=at].iter().map(|it| it.unwrap()).sum::<f64>() / 20.0;
            assert!((sma[at].unwrap() - mean).abs() <= 1e-9 * mean, "{at}");
        }
    }

    #[test]
    fn the_definition_is_the_same_however_the_list_is_written() {
        let of = |list: &[&str]| Indicators::parse(list).unwrap().definition();
        assert_eq!(of(&["macd"]), of(&["macd(12, 26, 9)"]));
        assert_ne!(of(&["sma(20)"]), of(&["sma(21)"]));
    }
}
