//! From a table of bars to a chart: which bars, on which basis, with which indicators in which panel.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate};
use datafusion::datasource::TableProvider;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, lit, when};
use datafusion::prelude::{DataFrame, SessionContext, col};
use stockflow_core::indicator::sql::expr_fn;
use stockflow_core::indicator::{Flag, IndicatorSpec, parse_list};
use stockflow_core::schema::Basis;

use crate::chart::{self, BarPoint, Chart, Overlay, Panel, Plot, PriceScale, Series, Size, Theme};
use crate::config::nearest;
use crate::exit::{Failure, Outcome};

/// Bars that are drawn if no dates are given: about a year.
const LAST_BARS: usize = 250;

/// Pixels of a PNG for one of the drawing.
const PIXEL_RATIO: u32 = 2;

/// What to draw.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) symbol: String,
    pub(crate) indicators: Vec<IndicatorSpec>,
    pub(crate) from: Option<NaiveDate>,
    pub(crate) to: Option<NaiveDate>,
    pub(crate) scale: PriceScale,
}

/// How to draw it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    pub(crate) theme: Theme,
    /// `None`: as the chart's panels ask for.
    pub(crate) size: Option<Size>,
}

/// Reads a list such as `sma(20), macd`.
pub(crate) fn indicators<S: AsRef<str>>(list: &[S]) -> Outcome<Vec<IndicatorSpec>> {
    parse_list(list).map_err(|error| Failure::usage(error.to_string()).or_next("`stockflow indicators` lists all"))
}

/// The chart of one symbol. Prices are drawn, and indicators computed, adjusted for splits and dividends where the bars
/// have an adjusted close: as-traded prices fall by half at a split.
pub(crate) async fn draw(session: &SessionContext, bars: Arc<dyn TableProvider>, request: &Request) -> Outcome<Chart> {
    let all = session.read_table(bars)?;
    let interval = interval(&all, &request.symbol).await?;
    let own = all.filter(col("symbol").eq(lit(&request.symbol)).and(col("interval").eq(lit(&interval))))?;
    let basis = basis(&own).await?;
    let adjusted = adjust(own)?;
    let rows = compute(adjusted, &request.indicators).await?;
    let rows = cut(&rows, request)?;
    chart_of(&rows, request, &format!("{interval}, {basis}"))
}

/// The interval of which the symbol has most bars; a symbol without bars is an error with the nearest name.
async fn interval(bars: &DataFrame, symbol: &str) -> Outcome<String> {
    let found = bars.clone().filter(col("symbol").eq(lit(symbol)))?;
    let counts = found
        .aggregate(vec![col("interval")], vec![count(lit(1)).alias("n")])?
        .sort(vec![col("n").sort(false, false)])?
        .limit(0, Some(1))?
        .collect()
        .await?;
    if let Some(interval) = texts(&counts, 0)?.into_iter().next() {
        return Ok(interval);
    }
    let symbols = texts(&bars.clone().select(vec![col("symbol")])?.distinct()?.collect().await?, 0)?;
    let failure = Failure::usage(format!("there are no bars of `{symbol}`"));
    Err(match nearest(symbol, symbols.iter().map(String::as_str)) {
        Some(near) => failure.or_next(format!("did you mean `{near}`?")),
        None => failure.or_next("`stockflow sql \"SELECT DISTINCT symbol FROM bars\"` lists the symbols"),
    })
}

fn texts(batches: &[RecordBatch], column: usize) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for batch in batches {
        let text = cast(batch.column(column), &DataType::Utf8)?;
        found.extend(text.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(found)
}

/// What the drawn prices are, in words.
async fn basis(bars: &DataFrame) -> Outcome<&'static str> {
    if bars.clone().filter(col("adj_close").gt(lit(0.0)))?.limit(0, Some(1))?.count().await? > 0 {
        return Ok("adjusted for splits and dividends");
    }
    let basis = texts(&bars.clone().select(vec![col("basis")])?.distinct()?.collect().await?, 0)?;
    Ok(match basis.as_slice() {
        [only] if only == Basis::Total.as_str() => "adjusted for splits and dividends",
        [only] if only == Basis::Split.as_str() => "adjusted for splits",
        [only] if only == Basis::Raw.as_str() => "as traded, not adjusted",
        _ => "on mixed bases",
    })
}

/// Prices times `adj_close / close`, where that is a number.
fn adjust(bars: DataFrame) -> Outcome<DataFrame> {
    let usable = col("adj_close").gt(lit(0.0)).and(col("close").gt(lit(0.0)));
    let ratio = when(usable, col("adj_close") / col("close")).otherwise(lit(1.0))?;
    let scaled = |name: &str| (col(name) * ratio.clone()).alias(name);
    let mut columns: Vec<Expr> = ["symbol", "interval", "ts"].map(col).to_vec();
    columns.extend(["open", "high", "low", "close"].map(scaled));
    columns.push(col("volume"));
    Ok(bars.select(columns)?)
}

async fn compute(bars: DataFrame, indicators: &[IndicatorSpec]) -> Outcome<RecordBatch> {
    let mut columns: Vec<Expr> = ["ts", "open", "high", "low", "close", "volume"].map(col).to_vec();
    for spec in indicators {
        columns.extend(expr_fn::columns(spec)?);
    }
    let frame = bars.select(columns)?.sort(vec![col("ts").sort(true, false)])?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await?;
    Ok(concat_batches(&schema, &batches)?)
}

/// The bars within the dates, else the last ones.
fn cut(rows: &RecordBatch, request: &Request) -> Outcome<RecordBatch> {
    let micros = |date: NaiveDate| date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros();
    let ts = rows.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let end = request.to.and_then(|to| to.succ_opt()).map_or(ts.len(), |to| ts.partition_point(|ts| *ts < micros(to)));
    let start = match (request.from, request.to) {
        (Some(from), _) => ts.partition_point(|ts| *ts < micros(from)),
        (None, Some(_)) => 0,
        (None, None) => end.saturating_sub(LAST_BARS),
    };
    if start >= end {
        let date = |idx: usize| {
            ts.get(idx)
                .and_then(|ts| DateTime::from_timestamp_micros(*ts))
                .map_or_else(String::new, |ts| ts.date_naive().to_string())
        };
        let there = format!("its bars go from {} to {}", date(0), date(ts.len().saturating_sub(1)));
        return Err(
            Failure::usage(format!("there are no bars of `{}` between these dates", request.symbol)).or_next(there)
        );
    }
    Ok(rows.slice(start, end - start))
}

fn chart_of(rows: &RecordBatch, request: &Request, what: &str) -> Outcome<Chart> {
    let ts = rows.column(0).as_primitive::<TimestampMicrosecondType>();
    let [open, high, low, close, volume] = [1, 2, 3, 4, 5].map(|column| values(rows, column));
    let (open, high, low, close, volume) = (open?, high?, low?, close?, volume?);
    let number = |values: &[Option<f64>], row: usize| values.get(row).copied().flatten().unwrap_or(f64::NAN);
    let bars: Vec<BarPoint> = (0..rows.num_rows())
        .filter_map(|row| {
            let ts = DateTime::from_timestamp_micros(ts.value(row))?.naive_utc();
            Some(BarPoint {
                ts,
                open: number(&open, row),
                high: number(&high, row),
                low: number(&low, row),
                close: number(&close, row),
                volume: number(&volume, row),
            })
        })
        .collect();
    let day = |bar: Option<&BarPoint>| bar.map_or_else(String::new, |bar| bar.ts.date().to_string());
    let subtitle = format!("{what}, {} to {}", day(bars.first()), day(bars.last()));
    let mut chart = Chart::new(&request.symbol, subtitle, bars);
    chart.price_scale = request.scale;
    let mut column = 6;
    for spec in &request.indicators {
        let names = spec.columns();
        let series = names
            .iter()
            .enumerate()
            .map(|(idx, name)| Ok(Series::new(name, values(rows, column + idx)?)))
            .collect::<Outcome<Vec<_>>>()?;
        column += names.len();
        place(&mut chart, spec, series);
    }
    Ok(chart)
}

fn values(rows: &RecordBatch, column: usize) -> Outcome<Vec<Option<f64>>> {
    let column = cast(rows.column(column), &DataType::Float64)?;
    Ok(column.as_primitive::<Float64Type>().iter().collect())
}

/// Over the candles if it is in the unit of the price, else in a panel of its own.
fn place(chart: &mut Chart, spec: &IndicatorSpec, series: Vec<Series>) {
    let definition = spec.call().definition();
    let name = spec.to_string();
    if definition.has(Flag::Overlap) {
        let outputs: Vec<&str> = definition.outputs.iter().map(|output| output.name.as_str()).collect();
        if let (["upper", "middle", "lower"], [upper, middle, lower]) = (outputs.as_slice(), series.as_slice()) {
            chart.overlays.push(Overlay::Band {
                name,
                upper: upper.values.clone(),
                middle: Some(middle.values.clone()),
                lower: lower.values.clone(),
            });
        } else if definition.name.starts_with("sar") {
            chart.overlays.extend(series.into_iter().map(Overlay::Dots));
        } else {
            chart.overlays.extend(series.into_iter().map(Overlay::Line));
        }
        return;
    }
    let is_columns = |idx: usize| {
        definition.has(Flag::Candlestick) || definition.outputs.get(idx).is_some_and(|output| output.name == "hist")
    };
    let plots = series
        .into_iter()
        .enumerate()
        .map(|(idx, series)| if is_columns(idx) { Plot::Histogram(series) } else { Plot::Line(series) })
        .collect();
    let panel = Panel::new(name, plots);
    chart.panels.push(match definition.name.as_str() {
        "rsi" => panel.with_guides(vec![30.0, 70.0]).with_range(0.0, 100.0),
        "stoch" | "stochf" | "stochrsi" | "mfi" => panel.with_guides(vec![20.0, 80.0]).with_range(0.0, 100.0),
        "willr" => panel.with_guides(vec![-80.0, -20.0]).with_range(-100.0, 0.0),
        "cci" => panel.with_guides(vec![-100.0, 100.0]),
        _ => panel,
    });
}

/// Refuses a file that is neither SVG nor PNG by its ending.
pub(crate) fn check_ending(path: &Path) -> Outcome<()> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("svg" | "png") => Ok(()),
        _ => Err(Failure::usage(format!("`{}` ends neither in `.svg` nor in `.png`", path.display()))),
    }
}

/// Writes a chart as SVG or PNG, by the file's ending.
pub(crate) fn write(chart: &Chart, look: Look, path: &Path) -> Outcome<()> {
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("`{}` cannot be written", path.display())).because(error)
    };
    let size = look.size.unwrap_or_else(|| Size::fitting(chart));
    let bytes = match path.extension().and_then(|extension| extension.to_str()) {
        Some("svg") => chart::svg(chart, size, look.theme).into_bytes(),
        Some("png") => chart::png(chart, size, look.theme, PIXEL_RATIO).map_err(|error| cannot(&error))?,
        _ => return check_ending(path),
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| cannot(&error))?;
    }
    std::fs::write(path, bytes).map_err(|error| cannot(&error))
}

/// Writes a chart as SVG and as PNG into a folder; says where.
pub(crate) fn write_both(chart: &Chart, look: Look, folder: &Path, symbol: &str) -> Outcome<Vec<PathBuf>> {
    let stem = file_stem(symbol);
    let paths: Vec<PathBuf> =
        ["svg", "png"].into_iter().map(|ending| folder.join(format!("{stem}.{ending}"))).collect();
    for path in &paths {
        write(chart, look, path)?;
    }
    Ok(paths)
}

/// A symbol may have any character, a file name may not: what is odd is written as in a URL, so that two symbols never share
/// a file.
fn file_stem(symbol: &str) -> String {
    let mut stem = String::new();
    for letter in symbol.chars() {
        if letter.is_alphanumeric() || matches!(letter, '.' | '-' | '^' | '=' | '_') {
            stem.push(letter);
        } else {
            let mut bytes = [0; 4];
            stem.extend(letter.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
    stem
}

/// The symbols of a table of bars, in order.
pub(crate) async fn symbols(session: &SessionContext, bars: Arc<dyn TableProvider>) -> Outcome<Vec<String>> {
    let found = session
        .read_table(bars)?
        .select(vec![col("symbol")])?
        .distinct()?
        .sort(vec![col("symbol").sort(true, false)])?;
    texts(&found.collect().await?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_symbols_never_share_a_file() {
        assert_eq!(file_stem("BRK.B"), "BRK.B");
        assert_eq!(["x'y", "x y", "x/y", "x_y", "x%y"].map(file_stem), ["x%27y", "x%20y", "x%2Fy", "x_y", "x%25y"]);
    }
}
