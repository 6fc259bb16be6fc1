//! What a run shows at its end: the quality report, the latest values, a chart, and where everything lies.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::TableProvider;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::prelude::{JoinType, SessionContext, col};

use stockflow_core::pipeline::RunReport;
use stockflow_core::schema::Basis;

use crate::args::Global;
use crate::chart::PriceScale;
use crate::config::PipelineConfig;
use crate::draw::{self, Look, Request};
use crate::exit::{Failure, Outcome};
use crate::render::{Align, Table, say};
use crate::{assemble, tables};

/// Drawn beside the candles if the pipeline file says nothing else.
const CHART_INDICATORS: [&str; 6] = ["sma(20)", "sma(50)", "sma(200)", "bbands(20)", "rsi(14)", "macd"];

/// Symbols of which the latest values stand side by side.
const SHOWN_SYMBOLS: usize = 8;

/// Rows of the quality report that are printed.
const SHOWN_ROWS: usize = 30;

/// What the transform notes of a symbol whose prices it cannot adjust.
const NO_FACTOR: &str = "adjust.no_factor";

/// Columns that say nothing about a value.
const HOUSEKEEPING: [&str; 8] = ["revision", "as_of", "ts", "source_ts", "is_final", "provider", "session", "interval"];

/// What a run left behind, read back from where it lies.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    quality: Option<RecordBatch>,
    latest: Option<RecordBatch>,
    /// The bases of the bars, as they were kept.
    bases: Vec<String>,
    pub(crate) charts: Vec<PathBuf>,
}

/// Reads back what the pipeline file asks for, and draws.
pub(crate) async fn look_back(config: &PipelineConfig) -> Outcome<Ending> {
    let session = tables::session()?;
    let mut ending = Ending::default();
    if let Some(table) = table(config, config.report.quality.as_deref()).await? {
        ending.quality = Some(all(&session, table, "symbol").await?);
    }
    if let Some(table) = table(config, config.report.latest.as_deref()).await? {
        ending.latest = Some(latest(&session, table).await?);
    }
    let bars = config.history_sink().map(|sink| sink.name.as_str()).or(config.report.chart.as_deref());
    if let Some(table) = table(config, bars).await? {
        ending.bases = bases(&session, table).await?;
    }
    if let Some(table) = table(config, config.report.chart.as_deref()).await? {
        // The rows are safe; a picture that fails is no reason to say otherwise.
        match charts(&session, table, config).await {
            Ok(paths) => ending.charts = paths,
            Err(failure) => say(format!("warning: no chart was drawn: {}", failure.causes.join(": "))),
        }
    }
    Ok(ending)
}

async fn table(config: &PipelineConfig, sink: Option<&str>) -> Outcome<Option<Arc<dyn TableProvider>>> {
    match sink.and_then(|name| config.sink(name)) {
        Some(sink) => sink.sink.open().await,
        None => Ok(None),
    }
}

async fn all(session: &SessionContext, table: Arc<dyn TableProvider>, order: &str) -> Outcome<RecordBatch> {
    let frame = session.read_table(table)?;
    let frame = if frame.schema().has_column_with_unqualified_name(order) {
        frame.sort(vec![col(order).sort(true, false)])?
    } else {
        frame
    };
    let schema = Arc::new(frame.schema().as_arrow().clone());
    Ok(concat_batches(&schema, &frame.collect().await?)?)
}

/// On which bases the bars of a table are.
async fn bases(session: &SessionContext, bars: Arc<dyn TableProvider>) -> Outcome<Vec<String>> {
    let bars = session.read_table(bars)?;
    if !bars.schema().has_column_with_unqualified_name("basis") {
        return Ok(Vec::new());
    }
    let found = bars.select(vec![col("basis")])?.distinct()?.sort(vec![col("basis").sort(true, false)])?;
    let mut bases = Vec::new();
    for batch in found.collect().await? {
        let text = cast(batch.column(0), &DataType::Utf8)?;
        bases.extend(text.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(bases)
}

/// The last row of each symbol.
async fn latest(session: &SessionContext, table: Arc<dyn TableProvider>) -> Outcome<RecordBatch> {
    let rows = session.read_table(table)?;
    let last =
        rows.clone().aggregate(vec![col("symbol").alias("last_symbol")], vec![max(col("ts")).alias("last_ts")])?;
    let joined = rows
        .join(last, JoinType::LeftSemi, &["symbol", "ts"], &["last_symbol", "last_ts"], None)?
        .sort(vec![col("symbol").sort(true, false)])?;
    let schema = Arc::new(joined.schema().as_arrow().clone());
    Ok(concat_batches(&schema, &joined.collect().await?)?)
}

async fn charts(
    session: &SessionContext,
    bars: Arc<dyn TableProvider>,
    config: &PipelineConfig,
) -> Outcome<Vec<PathBuf>> {
    let report = &config.report;
    let Some(folder) = report.chart_folder.as_deref().filter(|folder| !folder.contains("://")) else {
        return Err(Failure::failed("`report.chart_folder` names no local folder"));
    };
    let symbols = match report.chart_symbols.as_slice() {
        [] => draw::symbols(session, Arc::clone(&bars)).await?.into_iter().take(1).collect(),
        named => named.to_vec(),
    };
    let list: Vec<String> =
        report.chart_indicators.clone().unwrap_or_else(|| CHART_INDICATORS.map(str::to_owned).to_vec());
    let indicators = draw::indicators(&list)?;
    let mut paths = Vec::new();
    for symbol in symbols {
        let request =
            Request { symbol, indicators: indicators.clone(), from: None, to: None, scale: PriceScale::Linear };
        let chart = draw::draw(session, Arc::clone(&bars), &request).await?;
        paths.extend(draw::write_both(&chart, Look::default(), Path::new(folder), &request.symbol)?);
    }
    Ok(paths)
}

/// Prints it for people.
pub(crate) fn print(mut out: impl Write, ending: &Ending, config: &PipelineConfig, global: &Global) -> Outcome<()> {
    if let Some(basis) = config.basis() {
        writeln!(out, "\nprice basis: {}", meaning(basis, &ending.bases))?;
    }
    if let Some(quality) = &ending.quality {
        writeln!(out, "\nquality report")?;
        print_quality(&mut out, quality)?;
    }
    if let Some(latest) = ending.latest.as_ref().filter(|latest| latest.num_rows() > 0) {
        writeln!(out, "\nlatest values")?;
        print_latest(&mut out, latest)?;
    }
    writeln!(out, "\nwhere everything lies")?;
    for (name, place) in places(config, global) {
        writeln!(out, "  {name:<14} {place}")?;
    }
    for path in &ending.charts {
        writeln!(out, "  {:<14} {}", "chart", path.display())?;
    }
    Ok(())
}

/// What has been done to the prices that indicators see, and to those that are kept.
fn meaning(basis: Basis, kept: &[String]) -> String {
    let seen = match basis {
        Basis::Raw => return "raw: prices as they were traded".into(),
        Basis::Split => "split: indicators see prices adjusted for splits",
        Basis::Total => "total: indicators see prices adjusted for splits and dividends",
    };
    let kept = if kept.is_empty() { String::new() } else { format!(" ({})", kept.join(", ")) };
    format!("{seen}; the bars are kept as they came{kept}")
}

/// What to set where prices could not be adjusted, so that their indicators are NULL.
pub(crate) fn advice(config: &PipelineConfig, report: &RunReport) -> Option<String> {
    config.steps.iter().find(|step| step.step.needs_adjusted_close())?;
    let notes = report.warnings().filter(|note| note.kind == NO_FACTOR);
    let symbols: BTreeSet<&str> = notes.filter_map(|note| note.symbol.as_deref()).collect();
    let (n, have) = match symbols.len() {
        0 => return None,
        1 => ("1 symbol".to_owned(), "has"),
        n => (format!("{n} symbols"), "have"),
    };
    Some(format!(
        "{n} {have} bars without an adjusted close (`Adj Close`), of which all indicators are NULL: in a pipeline file (`stockflow init` writes one) set `to = \"raw\"` in the step of type `adjust` to take prices as they are, or `basis = \"total\"` in `normalize` if they are adjusted already"
    ))
}

/// Name and place of all that the pipeline writes.
pub(crate) fn places(config: &PipelineConfig, global: &Global) -> Vec<(String, String)> {
    let mut places: Vec<(String, String)> =
        config.sinks.iter().filter_map(|sink| Some((sink.name.clone(), sink.sink.path()?.to_owned()))).collect();
    places.extend(
        config.dead_letters.as_ref().and_then(|sink| Some(("dead letters".to_owned(), sink.path()?.to_owned()))),
    );
    places.extend(assemble::store_path(config, global).map(|path| ("checkpoints".to_owned(), path)));
    places
}

/// Columns that are worth showing, with their names.
fn shown(rows: &RecordBatch) -> Vec<usize> {
    let schema = rows.schema();
    (0..rows.num_columns())
        .filter(|idx| {
            !HOUSEKEEPING.contains(&schema.field(*idx).name().as_str())
                && rows.column(*idx).null_count() < rows.num_rows()
        })
        .collect()
}

fn cell(rows: &RecordBatch, column: usize, row: usize) -> String {
    let array = rows.column(column);
    if array.is_null(row) {
        return String::new();
    }
    if let Some(numbers) = array.as_any().downcast_ref::<arrow::array::Float64Array>() {
        return number(numbers.value(row));
    }
    let options = FormatOptions::default().with_display_error(true);
    ArrayFormatter::try_new(array, &options)
        .map_or_else(|error| error.to_string(), |formatter| formatter.value(row).to_string())
}

/// Enough digits to tell prices apart, and no more.
fn number(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || size >= 1e6 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn align(rows: &RecordBatch, column: usize) -> Align {
    if rows.column(column).data_type().is_numeric() { Align::Right } else { Align::Left }
}

/// All symbols if they are few, else those of which there is something to say.
fn print_quality(out: &mut impl Write, rows: &RecordBatch) -> Outcome<()> {
    let Some(verdict) = rows.column_by_name("verdict").filter(|_| rows.num_rows() > SHOWN_ROWS) else {
        return print_rows(out, rows);
    };
    let verdict = cast(verdict, &DataType::Utf8)?;
    let found: BooleanArray = verdict.as_string::<i32>().iter().map(|verdict| Some(verdict != Some("ok"))).collect();
    let found = filter_record_batch(rows, &found)?;
    print_rows(out, &found)?;
    Ok(writeln!(out, "{} of {} are ok", rows.num_rows() - found.num_rows(), rows.num_rows())?)
}

fn print_rows(out: &mut impl Write, rows: &RecordBatch) -> Outcome<()> {
    let columns = shown(rows);
    let schema = rows.schema();
    let header: Vec<(&str, Align)> =
        columns.iter().map(|column| (schema.field(*column).name().as_str(), align(rows, *column))).collect();
    let mut table = Table::new(&mut *out, &header);
    for row in 0..rows.num_rows().min(SHOWN_ROWS) {
        table.row(columns.iter().map(|column| cell(rows, *column, row)).collect())?;
    }
    table.finish()?;
    if rows.num_rows() > SHOWN_ROWS {
        writeln!(out, "and {} more; `stockflow sql` shows all", rows.num_rows() - SHOWN_ROWS)?;
    }
    Ok(())
}

/// One column a symbol: few symbols and many values read best that way.
fn print_latest(out: &mut impl Write, rows: &RecordBatch) -> Outcome<()> {
    let schema = rows.schema();
    let Ok(symbol) = schema.index_of("symbol") else { return print_rows(out, rows) };
    let symbols: Vec<String> = (0..rows.num_rows().min(SHOWN_SYMBOLS)).map(|row| cell(rows, symbol, row)).collect();
    let header: Vec<(&str, Align)> = std::iter::once(("", Align::Left))
        .chain(symbols.iter().map(|symbol| (symbol.as_str(), Align::Right)))
        .collect();
    let mut table = Table::new(&mut *out, &header);
    for column in shown(rows).into_iter().filter(|column| *column != symbol) {
        let values = (0..symbols.len()).map(|row| cell(rows, column, row));
        table.row(std::iter::once(schema.field(column).name().clone()).chain(values).collect())?;
    }
    table.finish()?;
    if rows.num_rows() > symbols.len() {
        writeln!(out, "and {} more symbols; `stockflow sql` shows all", rows.num_rows() - symbols.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_basis_says_what_is_kept() {
        assert!(meaning(Basis::Total, &["split".into()]).ends_with("the bars are kept as they came (split)"));
        assert!(meaning(Basis::Split, &[]).ends_with("the bars are kept as they came"));
    }

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let shown: Vec<String> = [0.0, 0.01234, -0.5, 12.345, 999_999.0, 12_345_678.9, -2e9].map(number).to_vec();
        assert_eq!(shown, ["0", "0.0123", "-0.5000", "12.35", "999999.00", "12345679", "-2000000000"]);
    }
}
