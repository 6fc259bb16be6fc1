//! `stockflow sql QUERY`

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::SessionContext;
use futures::StreamExt;

use crate::args::{Global, RowFormat, SqlArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{RowWriter, stdout};
use crate::tables;

/// Runs a query over the lake's tables or over files, and writes the rows while they come.
pub(crate) async fn run(args: SqlArgs, global: &Global) -> Outcome {
    let query = query(&args.query)?;
    let session = tables::session()?;
    if args.files.is_empty() {
        tables::register_lake(&session, &global.data_dir).await?;
    }
    for (name, path) in &args.files {
        tables::register_file(&session, name, path).await?;
    }
    let rows = execute(&session, &query).await?;
    match &args.output {
        Some(path) => write_file(path, args.format.unwrap_or_else(|| format_of(path)), rows).await?,
        None if args.format == Some(RowFormat::Parquet) && std::io::IsTerminal::is_terminal(&std::io::stdout()) => {
            return Err(Failure::usage("Parquet is not written to a terminal")
                .or_next("name a file with `-o`, or redirect the output"));
        }
        None => {
            let format = args.format.unwrap_or(if global.json { RowFormat::Json } else { RowFormat::Table });
            let mut out = write(stdout(), format, rows).await?;
            if format == RowFormat::Json {
                writeln!(out)?;
            }
            out.flush()?;
        }
    }
    Ok(Exit::Done)
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
    let wrong = |error| {
        let failure = Failure::from(stockflow_core::Error::from(error));
        Failure { exit: Exit::Usage, next: Some(format!("tables here: {}", tables::names(session))), ..failure }
    };
    let frame = session.sql_with_options(query, options).await.map_err(wrong)?;
    Ok(frame.execute_stream().await?)
}

async fn write<W: Write + Send>(out: W, format: RowFormat, mut rows: SendableRecordBatchStream) -> Outcome<W> {
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
