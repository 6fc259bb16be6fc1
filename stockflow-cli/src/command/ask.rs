//! What all commands share that ask Yahoo Finance: a pipeline like any other, put together from the command line.

use toml::Value;
use toml::map::Map;

use super::run;
use crate::args::{DateArgs, FetchTo, Global, PipelineArgs, RunArgs, SymbolArgs, YahooArgs};
use crate::config::PipelineConfig;
use crate::exit::{Failure, Outcome};

/// The source's bars.
const BARS: &str = "bars";

/// The same, cleaned: what is written under their name.
const CLEAN: &str = "clean";

/// The reference table of symbols.
pub(super) const SYMBOLS: &str = "symbols";

/// What is asked, and what becomes of the answer.
#[derive(Debug)]
pub(super) struct Ask {
    /// The command, for messages.
    pub(super) command: &'static str,
    /// By which the pipeline's store and sinks know it.
    pub(super) name: String,
    /// The fields of `[source]` that only this command has.
    pub(super) source: Map<String, Value>,
    /// Whether there are bars, to be cleaned and compared with those that are there.
    pub(super) has_bars: bool,
    pub(super) outputs: Vec<Output>,
}

/// A relation that is written somewhere.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) relation: String,
    pub(super) print: Print,
}

/// What it looks like on standard output.
#[derive(Debug)]
pub(super) enum Print {
    Nothing,
    Csv,
    /// These columns; all of them if none are named.
    Table(&'static [&'static str]),
}

/// Asks, and tells what came of it.
pub(super) async fn run(ask: &Ask, client: &YahooArgs, global: &Global) -> Outcome {
    if !(client.requests_per_second.is_finite() && client.requests_per_second > 0.0) {
        return Err(Failure::usage("`--requests-per-second` must be more than 0"));
    }
    let name = format!("built-in pipeline of `{}`", ask.command);
    let config = PipelineConfig::parse(&pipeline(ask, client, global)?, &name, &|_| None)?;
    let run = RunArgs {
        pipeline: PipelineArgs { pipeline: None, input: None },
        more: Vec::new(),
        every: None,
        once: true,
        from: None,
        to: None,
        symbols: Vec::new(),
        // Nothing is remembered of what the files held before.
        rebuild: matches!(client.to, FetchTo::Csv | FetchTo::Parquet),
        sink: None,
    };
    run::perform(config, &run, global).await
}

/// The fields that say whose data is wanted.
pub(super) fn symbols(symbols: &SymbolArgs) -> impl Iterator<Item = (String, Value)> {
    let named = Value::Array(symbols.symbols.iter().map(|it| text(it)).collect());
    let file = symbols.symbols_file.as_ref().map(|it| text(&it.display()));
    let query = symbols.symbols_query.as_ref().map(|it| text(it));
    entries([("symbols", Some(named)), ("symbols_file", file), ("symbols_query", query)])
}

/// The fields that say of which days.
pub(super) fn dates(dates: &DateArgs) -> Outcome<impl Iterator<Item = (String, Value)> + use<>> {
    dates.check()?;
    Ok(entries([("from", dates.since().map(|it| text(&it))), ("to", dates.until.map(|it| text(&it)))]))
}

pub(super) fn text(it: &dyn std::fmt::Display) -> Value {
    Value::String(it.to_string())
}

/// The entries that there are.
pub(super) fn entries<const N: usize>(entries: [(&str, Option<Value>); N]) -> impl Iterator<Item = (String, Value)> {
    entries.map(|(key, value)| (key.to_owned(), value)).into_iter().filter_map(|(key, value)| Some((key, value?)))
}

fn table<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    entries(fields.map(|(key, value)| (key, Some(value)))).collect()
}

/// The pipeline as a file would say it.
fn pipeline(ask: &Ask, client: &YahooArgs, global: &Global) -> Outcome<String> {
    let path = |it: &std::path::PathBuf| text(&it.display());
    let mut source = table([("type", text(&"yahoo"))]);
    source.extend(ask.source.clone());
    source.extend(entries([
        ("requests_per_second", Some(Value::Float(client.requests_per_second))),
        ("record", client.record.as_ref().map(path)),
        ("replay", client.replay.as_ref().map(path)),
        ("server", client.server.as_ref().map(|it| text(&it.reveal()))),
    ]));
    let folder = global.data_dir.trim_end_matches('/');
    let name = match client.to {
        // Another place, another account of what it holds.
        FetchTo::Kafka => format!("{}-kafka", ask.name),
        _ => ask.name.clone(),
    };
    let mut root = table([("name", text(&name))]);
    if !matches!(client.to, FetchTo::Lake | FetchTo::Kafka) {
        // Nothing is remembered: everything is fetched in one epoch, each time.
        root.insert("store".into(), text(&"memory"));
        root.insert("max_partitions".into(), Value::Integer(i64::MAX));
    }
    if matches!(client.to, FetchTo::Csv | FetchTo::Parquet) {
        root.insert("mode".into(), text(&"full"));
        root.insert("may_lack".into(), Value::Boolean(true));
    }
    // A topic takes bars as they came: whoever reads it cleans them.
    let cleans = ask.has_bars && client.to != FetchTo::Kafka;
    if cleans {
        let clean = table([("name", text(&CLEAN)), ("type", text(&"clean")), ("input", text(&BARS))]);
        root.insert("transform".into(), Value::Array(vec![Value::Table(clean)]));
        if client.to == FetchTo::Lake {
            root.insert("history".into(), text(&CLEAN));
        }
    }
    let sinks = ask.outputs.iter().filter_map(|output| sink(output, cleans, client, folder)).map(Value::Table);
    root.insert("sink".into(), Value::Array(sinks.collect()));
    root.insert("source".into(), Value::Table(source));
    // What looks like a variable in a path is none here.
    toml::to_string(&root).map(|text| text.replace("${", "$${")).map_err(|error| Failure::failed(error.to_string()))
}

/// The sink of a relation; none where it is not printed.
fn sink(output: &Output, cleans: bool, client: &YahooArgs, folder: &str) -> Option<Map<String, Value>> {
    let (relation, to) = (output.relation.as_str(), client.to);
    let taken = if cleans && relation == BARS { CLEAN } else { relation };
    let mut sink = table([("name", text(&relation)), ("relation", text(&taken))]);
    if relation == SYMBOLS && to == FetchTo::Lake {
        // A lake may have been begun before there was this table: each row comes again with its symbol's next bars.
        sink.insert("since".into(), text(&"now"));
    }
    sink.extend(match (to, &output.print) {
        (FetchTo::Lake, _) => table([("type", text(&"delta")), ("path", text(&format!("{folder}/{relation}")))]),
        (FetchTo::Kafka, _) => {
            table([("type", text(&"kafka")), ("brokers", text(&client.brokers)), ("topic", text(&client.topic))])
        }
        (FetchTo::Csv, _) => file(relation, "csv", folder),
        (FetchTo::Parquet, _) => file(relation, "parquet", folder),
        (FetchTo::Stdout, Print::Nothing) => return None,
        (FetchTo::Stdout, Print::Csv) => console("csv"),
        (FetchTo::Stdout, Print::Table(columns)) => {
            let mut console = console("table");
            console.insert("title".into(), text(&relation));
            if !columns.is_empty() {
                console.insert("columns".into(), Value::Array(columns.iter().map(|it| text(it)).collect()));
            }
            console
        }
    });
    Some(sink)
}

fn file(relation: &str, kind: &str, folder: &str) -> Map<String, Value> {
    let place = format!("{folder}/fetched/{relation}.{kind}");
    table([("type", text(&kind)), ("path", text(&place)), ("write", text(&"overwrite"))])
}

/// Every row is printed: who asked for them wants them.
fn console(format: &str) -> Map<String, Value> {
    table([("type", text(&"console")), ("format", text(&format)), ("limit", Value::Integer(i64::MAX))])
}
