//! `stockflow sql QUERY`

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::cast::as_string_array;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use stockflow_core::indicator::catalogue;
use stockflow_core::indicator::sql::hint;

use crate::args::{Global, RowFormat, SqlArgs};
use crate::exit::{Exit, Failure, Outcome, is_unplanned};
use crate::render::{RowWriter, stdout};
use crate::tables;

/// Runs a query over the lake's tables or over files, and writes the rows while they come.
pub(crate) async fn run(args: SqlArgs, global: &Global) -> Outcome {
    let query = query(&args.query)?;
    let session = tables::session()?;
    for (name, path) in &args.files {
        tables::register_file(&session, name, path).await?;
    }
    // The lake's tables are there besides, but a file of the same name is what was meant.
    if let Err(failure) = tables::register_lake(&session, &global.data_dir).await
        && args.files.is_empty()
    {
        return Err(failure);
    }
    let rows = execute(&session, &query).await?;
    print(rows, args.format, args.output.as_deref(), global).await?;
    Ok(Exit::Done)
}

/// Writes rows while they come: to a file, or to standard output.
pub(crate) async fn print(
    rows: SendableRecordBatchStream,
    format: Option<RowFormat>,
    output: Option<&Path>,
    global: &Global,
) -> Outcome<()> {
    match output {
        Some(path) => write_file(path, format.unwrap_or_else(|| format_of(path)), rows).await,
        None if format == Some(RowFormat::Parquet) && std::io::IsTerminal::is_terminal(&std::io::stdout()) => {
            Err(Failure::usage("Parquet is not written to a terminal")
                .or_next("name a file with `-o`, or redirect the output"))
        }
        None => {
            let format = format.unwrap_or(if global.json { RowFormat::Json } else { RowFormat::Table });
            let mut out = write(stdout(), format, rows).await?;
            if format == RowFormat::Json {
                writeln!(out)?;
            }
            Ok(out.flush()?)
        }
    }
}

/// The symbols that a query over the lake gives in its first column.
pub(crate) async fn symbols(query: &str, global: &Global) -> Outcome<Vec<String>> {
    let session = tables::session()?;
    tables::register_lake(&session, &global.data_dir).await?;
    let mut rows = execute(&session, query).await?;
    let mut symbols = Vec::new();
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let Some(first) = batch.columns().first() else { continue };
        let texts = cast(first, &DataType::Utf8)?;
        symbols.extend(as_string_array(&texts)?.iter().flatten().map(str::to_owned));
    }
    if symbols.is_empty() {
        return Err(Failure::usage("the query for symbols gives none").or_next("try it with `stockflow sql`"));
    }
    Ok(symbols)
}

fn query(text: &str) -> Outcome<String> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut query = String::new();
    std::io::stdin().read_to_string(&mut query)?;
    Ok(query)
}

async fn execute(session: &SessionContext, query: &str) -> Outcome<SendableRecordBatchStream> {
    // A query looks; it does not change the lake, which only its pipeline may write.
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = session.sql_with_options(query, options).await.map_err(|error| wrong(session, query, error))?;
    frame.execute_stream().await.map_err(|error| wrong(session, query, error))
}

/// A query that does not fit is told in one sentence, with what to do.
fn wrong(session: &SessionContext, query: &str, error: DataFusionError) -> Failure {
    if !is_unplanned(&error) {
        return error.into();
    }
    let text = match error.find_root() {
        DataFusionError::SQL(parser, _) => parser.to_string(),
        other => other.message().trim().to_owned(),
    };
    let told = indicator_sentence(&text);
    let next = match error.find_root() {
        DataFusionError::SQL(..) | DataFusionError::SchemaError(..) if names_interval(query) => {
            "`interval` is a word of SQL: write the column in quotes, \"interval\"".into()
        }
        _ => match hint(&error) {
            Some(hint) => hint,
            None if told.is_some() => "`stockflow indicators NAME` shows how it is called, with an example".into(),
            None => format!("tables here: {}", tables::names(session)),
        },
    };
    Failure::usage(told.unwrap_or(&text)).or_next(next)
}

/// Whether the word `interval` stands in the query as if it were a column: without quotes, and not before a literal.
fn names_interval(query: &str) -> bool {
    let is_word = |it: char| it.is_alphanumeric() || matches!(it, '_' | '"' | '\'');
    query.to_ascii_lowercase().match_indices("interval").any(|(at, word)| {
        let (before, after) = (query.get(..at).unwrap_or_default(), query.get(at + word.len()..).unwrap_or_default());
        let stands_alone = !before.ends_with(is_word) && !after.starts_with(is_word);
        stands_alone && !after.trim_start().starts_with(|it: char| it == '\'' || it.is_ascii_digit())
    })
}

/// What an indicator's own check says, without what the planner puts around it.
fn indicator_sentence(text: &str) -> Option<&str> {
    let own = match text.find("invalid call of ") {
        Some(at) => text.get(at..)?,
        None => text.strip_prefix("invalid ").map(|_| text)?,
    };
    let own = own.split(". No function matches").next().unwrap_or(own);
    let name = own.strip_prefix("invalid call of ").or_else(|| own.split_once(" for ").map(|(_, it)| it))?;
    catalogue().get(name.split(':').next()?).is_ok().then_some(own)
}

/// CSV has one value a cell, so what holds several is refused with the way to pick one.
fn check_cells(format: RowFormat, schema: &SchemaRef) -> Outcome<()> {
    let nested = schema.fields().iter().find(|it| format == RowFormat::Csv && it.data_type().is_nested());
    let Some(field) = nested else { return Ok(()) };
    let names: Vec<&str> = match field.data_type() {
        DataType::Struct(fields) => fields.iter().map(|it| it.name().as_str()).collect(),
        _ => Vec::new(),
    };
    let next = match names.first() {
        Some(first) => {
            format!("pick one of `{}`, as in (… OVER w)['{first}'], or choose `--format ndjson`", names.join("`, `"))
        }
        None => "choose `--format ndjson`".into(),
    };
    Err(Failure::usage(format!("the column `{}` holds several values, and a cell of CSV only one", field.name()))
        .or_next(next))
}

async fn write<W: Write + Send>(out: W, format: RowFormat, mut rows: SendableRecordBatchStream) -> Outcome<W> {
    check_cells(format, &rows.schema())?;
    let mut writer = RowWriter::new(format, out, &rows.schema())?;
    while let Some(batch) = rows.next().await {
        writer.write(&batch?)?;
    }
    Ok(writer.finish()?)
}

/// The file appears when it is whole.
async fn write_file(path: &Path, format: RowFormat, rows: SendableRecordBatchStream) -> Outcome<()> {
    let cannot =
        |error: std::io::Error| Failure::failed(format!("`{}` cannot be written", path.display())).because(error);
    if path.as_os_str() == "-" {
        return Err(Failure::usage("`-` is no file").or_next("leave `-o` out: rows go to standard output then"));
    }
    // A link, a pipe or a device stays what it is.
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        let file = File::create(path).map_err(cannot)?;
        return write(BufWriter::new(file), format, rows).await?.flush().map_err(cannot);
    }
    let partial = partial(path);
    let file = File::create(&partial).map_err(cannot)?;
    let written = match write(BufWriter::new(file), format, rows).await {
        Ok(mut out) => out.flush().map_err(cannot),
        Err(failure) => Err(failure),
    };
    match written {
        Ok(()) => std::fs::rename(&partial, path).map_err(cannot),
        Err(failure) => {
            let _ = std::fs::remove_file(&partial);
            Err(failure)
        }
    }
}

fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().map_or_else(Default::default, |name| name.to_string_lossy().into_owned());
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

fn format_of(path: &Path) -> RowFormat {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "parquet" => RowFormat::Parquet,
        "json" => RowFormat::Json,
        "ndjson" | "jsonl" => RowFormat::Ndjson,
        "txt" => RowFormat::Table,
        _ => RowFormat::Csv,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use arrow::record_batch::RecordBatch;
    use stockflow_core::schema::bar_schema;

    use super::*;

    async fn failure(query: &str, format: RowFormat) -> Failure {
        let session = tables::session().unwrap();
        session.register_batch("bars", RecordBatch::new_empty(bar_schema())).unwrap();
        match execute(&session, query).await {
            Ok(rows) => write(Vec::new(), format, rows).await.unwrap_err(),
            Err(failure) => failure,
        }
    }

    #[tokio::test]
    async fn a_wrong_query_is_told_in_one_sentence_with_what_to_do() {
        let window = "OVER (PARTITION BY symbol ORDER BY ts)";
        for (query, cause, next) in [
            (
                format!("SELECT rsi(close, 1) {window} FROM bars"),
                "invalid timeperiod for rsi: 1 is not in",
                "stockflow indicators",
            ),
            (
                "SELECT rsi(close) OVER (PARTITION BY symbol) FROM bars".into(),
                "without ORDER BY",
                "stockflow indicators",
            ),
            (
                "SELECT rsi(close) OVER (ORDER BY ts ROWS 3 PRECEDING) FROM bars".into(),
                "has no meaning",
                "stockflow indicators",
            ),
            (format!("SELECT rsi(close, volume) {window} FROM bars"), "is no literal", "stockflow indicators"),
            (format!("SELECT rsi(symbol) {window} FROM bars"), "must be a number", "stockflow indicators"),
            ("SELECT rsi(close) FROM bars".into(), "rsi", "`rsi` needs a window: rsi(close) OVER"),
            ("SELECT symbol, interval FROM bars".into(), "", "\"interval\""),
            ("SELECT clos FROM bars".into(), "clos", "tables here: `bars`"),
            ("SELECT * FROM brs".into(), "brs", "tables here: `bars`"),
        ] {
            let failure = failure(&query, RowFormat::Json).await;
            assert_eq!(failure.exit, Exit::Usage, "{query}: {failure:?}");
            assert!(failure.causes.len() == 1 && failure.causes[0].contains(cause), "{query}: {failure:?}");
            assert!(failure.next.as_ref().is_some_and(|it| it.contains(next)), "{query}: {failure:?}");
        }
    }

    #[tokio::test]
    async fn a_cell_of_csv_holds_one_value() {
        let query = "SELECT macd(close) OVER (PARTITION BY symbol ORDER BY ts) AS m FROM bars";
        let failure = failure(query, RowFormat::Csv).await;
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.causes[0].contains("the column `m` holds several values"), "{failure:?}");
        assert!(failure.next.unwrap().contains("['macd']"));
    }
}
