//! `stockflow fetch SYMBOL…`

use chrono::Utc;
use toml::Value;
use toml::map::Map;

use super::run;
use crate::args::{FetchArgs, FetchTo, Global, PipelineArgs, RunArgs};
use crate::config::PipelineConfig;
use crate::exit::{Failure, Outcome};

/// What a message calls the pipeline.
const NAME: &str = "built-in pipeline of `fetch`";

/// Fetches bars and corporate actions: a pipeline like any other, put together from the command line.
pub(crate) async fn run(args: FetchArgs, global: &Global) -> Outcome {
    if !(args.requests_per_second.is_finite() && args.requests_per_second > 0.0) {
        return Err(Failure::usage("`--requests-per-second` must be more than 0"));
    }
    let config = PipelineConfig::parse(&pipeline(&args, global)?, NAME, &|_| None)?;
    let run = RunArgs {
        pipeline: PipelineArgs { pipeline: None, input: None },
        from: None,
        to: None,
        symbols: Vec::new(),
        rebuild: false,
        sink: None,
    };
    run::perform(&config, &run, global).await
}

/// The pipeline as a file would say it.
fn pipeline(args: &FetchArgs, global: &Global) -> Outcome<String> {
    let since = match args.range {
        Some(range) => range.since(Utc::now().date_naive()),
        None => args.since,
    };
    let text = |it: &dyn std::fmt::Display| Value::String(it.to_string());
    let mut source = table([("type", text(&"yahoo")), ("interval", text(&args.interval))]);
    source.insert("symbols".into(), Value::Array(args.symbols.iter().map(|it| text(it)).collect()));
    source.insert("requests_per_second".into(), Value::Float(args.requests_per_second));
    let path = |it: &std::path::PathBuf| text(&it.display());
    let options = [
        ("symbols_file", args.symbols_file.as_ref().map(path)),
        ("from", since.map(|it| text(&it))),
        ("to", args.until.map(|it| text(&it))),
        ("record", args.record.as_ref().map(path)),
        ("replay", args.replay.as_ref().map(path)),
        ("server", args.server.as_ref().map(|it| text(it))),
    ];
    source.extend(options.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    let folder = global.data_dir.trim_end_matches('/');
    let clean = table([("name", text(&"bars")), ("type", text(&"clean"))]);
    let mut root = table([("name", text(&format!("fetch-{}", args.interval)))]);
    let sinks: Vec<Map<String, Value>> = match args.to {
        FetchTo::Lake => {
            root.insert("history".into(), text(&"bars"));
            let sink = |name: &str, relation: &str| {
                let place = format!("{folder}/{relation}");
                table([
                    ("name", text(&name)),
                    ("type", text(&"delta")),
                    ("relation", text(&relation)),
                    ("path", text(&place)),
                ])
            };
            vec![sink("bars", "bars"), sink("actions", "actions")]
        }
        FetchTo::Csv | FetchTo::Parquet => {
            once(&mut root);
            let kind = if args.to == FetchTo::Csv { "csv" } else { "parquet" };
            let sink = |relation: &str| {
                let place = format!("{folder}/fetched/{relation}.{kind}");
                table([
                    ("name", text(&relation)),
                    ("type", text(&kind)),
                    ("relation", text(&relation)),
                    ("path", text(&place)),
                    ("write", text(&"overwrite")),
                ])
            };
            vec![sink("bars"), sink("actions")]
        }
        FetchTo::Stdout => {
            once(&mut root);
            vec![table([
                ("name", text(&"bars")),
                ("type", text(&"console")),
                ("relation", text(&"bars")),
                ("format", text(&"csv")),
            ])]
        }
    };
    root.insert("source".into(), Value::Table(source));
    root.insert("transform".into(), Value::Array(vec![Value::Table(clean)]));
    root.insert("sink".into(), Value::Array(sinks.into_iter().map(Value::Table).collect()));
    // What looks like a variable in a path is none here.
    toml::to_string(&root).map(|text| text.replace("${", "$${")).map_err(|error| Failure::failed(error.to_string()))
}

/// Nothing is remembered: everything is fetched in one epoch, each time.
fn once(root: &mut Map<String, Value>) {
    root.insert("mode".into(), Value::String("full".into()));
    root.insert("store".into(), Value::String("memory".into()));
    root.insert("max_partitions".into(), Value::Integer(i64::MAX));
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
