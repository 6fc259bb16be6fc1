//! Splits undone: from split-adjusted prices, as Yahoo serves them, to prices as traded.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{Date32Type, Float64Type};
use arrow::error::ArrowError;

/// The splits of each symbol: ex-date and the product of all ratios from there on, by date.
type Ratios<'a> = HashMap<&'a str, Vec<(i32, f64)>>;

/// The same bars as traded: `basis` `split` becomes `raw`.
///
/// Prices are multiplied, the volume is divided, by the product of `numerator / denominator` over all splits of the symbol whose
/// ex-date lies after the bar's `date`. Bars of another basis stay as they are, so that doing it twice changes nothing.
///
/// `splits` is a table of actions (other kinds are passed over) and must hold **every split from the first bar up to the time
/// when the bars were fetched**, not only those of the bars' own range: Yahoo has adjusted for all of them. Ask for the events up
/// to now, beside the bars. A bar wider than a day that has a split inside counts as of its first day.
///
/// `adj_close` stays as Yahoo gives it: close adjusted for every split and dividend since. On raw bars `adj_close / close` is
/// therefore the whole factor of a bar, splits and dividends; on the split-adjusted ones it was that of dividends alone.
/// Multiplying open, high, low and close by it gives total-return prices in both cases; the volume takes the splits' part only.
///
/// # Errors
///
/// [`ArrowError`] if a column is missing or of another type, or a ratio is not a positive number.
pub fn undo_splits(bars: &RecordBatch, splits: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let ratios = ratios(splits)?;
    let basis = texts(bars, "basis")?;
    let is_adjusted = |idx: usize| basis.is_valid(idx) && basis.value(idx) == "split";
    let factors = factors(bars, &ratios, is_adjusted)?;
    let mut out = bars.clone();
    for name in ["open", "high", "low", "close"] {
        out = with_column(&out, name, scaled(numbers(bars, name)?, &factors, |price, factor| price * factor))?;
    }
    let volume = scaled(numbers(bars, "volume")?, &factors, |volume, factor| volume / factor);
    out = with_column(&out, "volume", volume)?;
    let word = |(idx, basis): (usize, Option<&str>)| {
        basis.map(|basis| if is_adjusted(idx) { "raw" } else { basis }.to_owned())
    };
    let basis = StringArray::from_iter(basis.iter().enumerate().map(word));
    with_column(&out, "basis", Arc::new(basis))
}

/// The same actions with amounts as paid: dividends and gains dated before a split are multiplied by its ratio.
///
/// For actions as [`chart`](super::chart()) gives them, once: the table has no basis that would tell a second time. `splits` as in
/// [`undo_splits`]; the actions themselves will do if they reach up to now.
///
/// # Errors
///
/// As [`undo_splits`].
pub fn undo_splits_of_actions(actions: &RecordBatch, splits: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let ratios = ratios(splits)?;
    let factors = factors(actions, &ratios, |_| true)?;
    with_column(actions, "value", scaled(numbers(actions, "value")?, &factors, |value, factor| value * factor))
}

fn ratios(splits: &RecordBatch) -> Result<Ratios<'_>, ArrowError> {
    let (symbols, kinds, dates) = (texts(splits, "symbol")?, texts(splits, "kind")?, dates(splits)?);
    let (numerators, denominators) = (numbers(splits, "numerator")?, numbers(splits, "denominator")?);
    let mut ratios = Ratios::new();
    for (idx, ((symbol, kind), date)) in symbols.iter().zip(kinds).zip(dates).enumerate() {
        let (Some(symbol), Some("split"), Some(date)) = (symbol, kind, date) else { continue };
        let part = |parts: &Float64Array| if parts.is_valid(idx) { parts.value(idx) } else { f64::NAN };
        let ratio = part(numerators) / part(denominators);
        if !(ratio.is_finite() && ratio > 0.0) {
            return Err(ArrowError::ComputeError(format!("the split of {symbol} in row {idx} has no positive ratio")));
        }
        ratios.entry(symbol).or_default().push((date, ratio));
    }
    for of_symbol in ratios.values_mut() {
        of_symbol.sort_by_key(|(date, _)| *date);
        let mut product = 1.0;
        for (_, ratio) in of_symbol.iter_mut().rev() {
            product *= *ratio;
            *ratio = product;
        }
    }
    Ok(ratios)
}

/// What each row's prices are multiplied by.
fn factors(table: &RecordBatch, ratios: &Ratios<'_>, applies: impl Fn(usize) -> bool) -> Result<Vec<f64>, ArrowError> {
    let rows = texts(table, "symbol")?.iter().zip(dates(table)?).enumerate();
    let factor = |(idx, (symbol, date)): (usize, (Option<&str>, Option<i32>))| {
        let of_symbol = ratios.get(symbol?)?;
        let date = date.filter(|_| applies(idx))?;
        let later_idx = of_symbol.partition_point(|(ex_date, _)| *ex_date <= date);
        of_symbol.get(later_idx).map(|(_, product)| *product)
    };
    Ok(rows.map(|row| factor(row).unwrap_or(1.0)).collect())
}

fn scaled(values: &Float64Array, factors: &[f64], by: fn(f64, f64) -> f64) -> ArrayRef {
    let scale = |(value, factor): (Option<f64>, &f64)| {
        value.map(|value| if *factor == 1.0 { value } else { by(value, *factor) })
    };
    Arc::new(Float64Array::from_iter(values.iter().zip(factors).map(scale)))
}

fn with_column(table: &RecordBatch, name: &str, values: ArrayRef) -> Result<RecordBatch, ArrowError> {
    let place = table.schema().index_of(name)?;
    let mut columns = table.columns().to_vec();
    if let Some(column) = columns.get_mut(place) {
        *column = values;
    }
    RecordBatch::try_new(table.schema(), columns)
}

fn column<'a>(table: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    table.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column `{name}`")))
}

fn numbers<'a>(table: &'a RecordBatch, name: &str) -> Result<&'a Float64Array, ArrowError> {
    let found = column(table, name)?.as_primitive_opt::<Float64Type>();
    found.ok_or_else(|| ArrowError::SchemaError(format!("column `{name}` is not Float64")))
}

fn texts<'a>(table: &'a RecordBatch, name: &str) -> Result<&'a StringArray, ArrowError> {
    let found = column(table, name)?.as_string_opt::<i32>();
    found.ok_or_else(|| ArrowError::SchemaError(format!("column `{name}` is not Utf8")))
}

fn dates(table: &RecordBatch) -> Result<&Date32Array, ArrowError> {
    let found = column(table, "date")?.as_primitive_opt::<Date32Type>();
    found.ok_or_else(|| ArrowError::SchemaError("column `date` is not Date32".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yahoo::decode::{Chart, ChartRequest, Reply, chart};
    use arrow::util::pretty::pretty_format_batches;
    use chrono::DateTime;
    use stockflow_core::transform::Interval;

    /// Two days before, on and after a 4:1 split on 2020-08-31, and a 1:2 one on 2020-09-02.
    fn decoded() -> Chart {
        let body = r#"{"chart":{"error":null,"result":[{"meta":{"currency":"USD","exchangeTimezoneName":"America/New_York"},
            "timestamp":[1598621400,1598880600,1599053400],
            "events":{"splits":{"a":{"date":1598880600,"numerator":4,"denominator":1},"1599053400":{"splitRatio":"1:2"}},
                      "dividends":{"x":{"date":1598621400,"amount":0.25}}},
            "indicators":{"quote":[{"open":[10,20,null],"high":[10,20,30],"low":[10,20,30],"close":[10,20,30],
                "volume":[400,100,7]}],"adjclose":[{"adjclose":[9,20,30]}]}}]}}"#;
        let as_of = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        chart(&Reply::new(200, body), &ChartRequest::new("A", Interval::DAY, as_of)).unwrap()
    }

    #[test]
    fn undoes_every_later_split_once() {
        let Chart { bars, actions, .. } = decoded();
        let raw = undo_splits(&bars, &actions).unwrap();
        let table = |batch: &RecordBatch, columns: &[usize]| {
            pretty_format_batches(&[batch.project(columns).unwrap()]).unwrap().to_string()
        };
        let expected = "\
+------------+------+-------+--------+-----------+-------+
| date       | open | close | volume | adj_close | basis |
+------------+------+-------+--------+-----------+-------+
| 2020-08-28 | 20.0 | 20.0  | 200.0  | 9.0       | raw   |
| 2020-08-31 | 10.0 | 10.0  | 200.0  | 20.0      | raw   |
| 2020-09-02 |      | 30.0  | 7.0    | 30.0      | raw   |
+------------+------+-------+--------+-----------+-------+";
        assert_eq!(table(&raw, &[3, 4, 7, 8, 9, 13]), expected);
        assert_eq!(undo_splits(&raw, &actions).unwrap(), raw);

        let paid = undo_splits_of_actions(&actions, &actions).unwrap();
        let expected = "\
+------------+----------+-------+-----------+-------------+----------+
| date       | kind     | value | numerator | denominator | currency |
+------------+----------+-------+-----------+-------------+----------+
| 2020-08-28 | dividend | 0.5   |           |             | USD      |
| 2020-08-31 | split    |       | 4.0       | 1.0         |          |
| 2020-09-02 | split    |       | 1.0       | 2.0         |          |
+------------+----------+-------+-----------+-------------+----------+";
        assert_eq!(table(&paid, &[1, 2, 3, 4, 5, 6]), expected);
    }

    #[test]
    fn other_symbols_and_columns_do_not_matter() {
        let Chart { bars, actions, .. } = decoded();
        let other =
            with_column(&actions, "symbol", Arc::new(StringArray::from(vec!["B"; actions.num_rows()]))).unwrap();
        let raw = undo_splits(&bars, &other).unwrap();
        assert_eq!(raw.column(7), bars.column(7));
        assert!(undo_splits(&actions, &actions).is_err());
    }
}
