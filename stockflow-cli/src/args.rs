//! The command line.

mod dlq;

use std::path::PathBuf;
use std::time::Duration;

use chrono::{Datelike, NaiveDate, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use stockflow_core::transform::Interval;

pub(crate) use self::dlq::{DlqCommand, LetterArgs};
use crate::chart::{Size, Theme};
use crate::exit::{Failure, Outcome};
use crate::server::Server;
use crate::time::time;

const EXAMPLES: &str = "\
Examples:
  stockflow run                                    the main job: examples/data/*.csv to ./stockflow-data, report and chart
  stockflow run pipeline.toml                      a pipeline of your own; `stockflow init` writes one to start from
  stockflow sql \"SELECT symbol, count(*) FROM bars GROUP BY symbol\"
  stockflow chart AAPL --indicators sma(50),rsi(14)

Exit codes:
  0 done   1 failed   2 wrong usage or configuration   3 done, with dead letters or partitions left out
  4 fenced by another runner; do not restart";

/// Stock-market data, epoch by epoch: real bars in, clean bars, indicators and a quality report out.
#[derive(Debug, Parser)]
#[command(name = "stockflow", version, about, after_help = EXAMPLES, max_term_width = 110, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Folder or URL of the lake, the checkpoints, the dead letters and the charts
    #[arg(long, global = true, value_name = "DIR", env = "STOCKFLOW_DATA_DIR", default_value = "./stockflow-data", value_hint = ValueHint::DirPath, display_order = 900)]
    pub(crate) data_dir: String,
    /// Print one JSON document to standard output instead of text
    #[arg(long, global = true, display_order = 901)]
    pub(crate) json: bool,
    /// How log lines and progress look on standard error
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text, display_order = 902)]
    pub(crate) log_format: LogFormat,
    /// More log lines: -v what happens, -vv why; RUST_LOG overrides
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = 903)]
    pub(crate) verbose: u8,
    /// No progress and no notes, errors only
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 904)]
    pub(crate) quiet: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline until nothing is new; without a file, the main job
    Run(RunArgs),
    /// Fetch bars and corporate actions from Yahoo Finance
    Fetch(FetchArgs),
    /// Dividends, splits and capital gains from Yahoo Finance
    Actions(ActionsArgs),
    /// Who owns a company, and what its insiders do, from Yahoo Finance
    #[command(after_help = HOLDERS_EXAMPLES)]
    Holders(CompanyArgs),
    /// Ratings, target prices, outlooks, reports and filings from Yahoo Finance
    #[command(after_help = INSIGHTS_EXAMPLES)]
    Insights(CompanyArgs),
    /// The latest prices from Yahoo Finance
    #[command(after_help = QUOTE_EXAMPLES)]
    Quote(CompanyArgs),
    /// Look for symbols at Yahoo Finance by a name or a word
    Symbols(SymbolsArgs),
    /// Check a pipeline file: its typed plan, the guarantee of each sink, where secrets come from; reads nothing
    Validate(PipelineArgs),
    /// Show the query plan of each step
    Explain(ExplainArgs),
    /// Last epoch, lag, and what would be read next
    Status(PipelineArgs),
    /// Show, rewind or reset how far a pipeline has come
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// List, show, replay or remove the rows that a pipeline has refused
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Look after the lake's tables
    #[command(subcommand)]
    Lake(LakeCommand),
    /// Look after the databases that a pipeline writes to
    #[command(subcommand)]
    Db(DbCommand),
    /// Look after the topics that a pipeline reads and writes
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Find rows in the index of Elasticsearch that a pipeline writes to
    Search(SearchArgs),
    /// Query the lake's tables, or files, with SQL and all indicator functions
    Sql(SqlArgs),
    /// List the indicators, or describe one
    Indicators(IndicatorsArgs),
    /// Draw candles, volume and indicators of a symbol as SVG and PNG
    Chart(ChartArgs),
    /// Write a commented pipeline file to start from
    Init(InitArgs),
    /// Check the machine, the folders, the store, the sinks and the secrets; or a provider of prices
    Doctor(DoctorArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
}

/// `stockflow doctor`
#[derive(Debug, Clone, Args)]
pub(crate) struct DoctorArgs {
    /// In place of a pipeline file: `yahoo`, `stooq` or `alpha_vantage`, each endpoint of which is asked once
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// Another server in the provider's place
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<Server>,
    /// The environment variable that holds the provider's API key
    #[arg(long, value_name = "NAME")]
    pub(crate) api_key_env: Option<String>,
}

/// Which pipeline.
#[derive(Debug, Clone, Args)]
pub(crate) struct PipelineArgs {
    /// Pipeline file; without one, the main job
    #[arg(value_name = "PIPELINE.toml", value_hint = ValueHint::FilePath)]
    pub(crate) pipeline: Option<PathBuf>,
    /// Files that the main job reads: a file, a folder or a glob
    #[arg(long, value_name = "PATH", env = "STOCKFLOW_INPUT", value_hint = ValueHint::AnyPath)]
    pub(crate) input: Option<String>,
}

const RUN_EXAMPLES: &str = "\
Examples:
  stockflow run                                            the main job
  stockflow run --input 'prices/*.csv'                     the main job over other files
  stockflow run pipeline.toml --json                       the report as JSON on standard output
  stockflow run pipeline.toml --from 2012-01-01 --symbols AAPL,IBM
                                                           a backfill: these bars again, the checkpoint stays
  stockflow run pipeline.toml --rebuild                    after a changed definition, or over a lost store
  stockflow run pipeline.toml --rebuild --sink search      fill one new sink
  stockflow run pipeline.toml --every 5s                   goes on until Ctrl-C: an epoch every five seconds, or as soon
                                                           as as many rows wait as an epoch takes
  stockflow run producer.toml batch.toml storage.toml      one after the other
  stockflow run producer.toml batch.toml storage.toml --every 5s
                                                           side by side in one process

The first Ctrl-C finishes the epoch or abandons it whole, the second one kills.";

/// `stockflow run`
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// More pipelines: after the first one, or with `--every` beside it
    #[arg(value_name = "MORE.toml", value_hint = ValueHint::FilePath)]
    pub(crate) more: Vec<PathBuf>,
    /// Go on until stopped: the next epoch begins so long after the last one, as 500ms, 5s, 10m or 1h, or as soon as as many
    /// rows wait as an epoch takes
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["from", "to", "symbols"])]
    pub(crate) every: Option<Duration>,
    /// End when nothing is new, whatever `every` in the pipeline file says
    #[arg(long, conflicts_with = "every")]
    pub(crate) once: bool,
    /// Backfill from this trading date on
    #[arg(long, value_name = "DATE", value_parser = date, conflicts_with = "more", help_heading = "Backfill")]
    pub(crate) from: Option<NaiveDate>,
    /// Backfill up to this trading date, included
    #[arg(long, value_name = "DATE", value_parser = date, conflicts_with = "more", help_heading = "Backfill")]
    pub(crate) to: Option<NaiveDate>,
    /// Backfill these symbols only
    #[arg(long, value_name = "SYMBOL,…", value_delimiter = ',', value_parser = symbol, conflicts_with = "more", help_heading = "Backfill")]
    pub(crate) symbols: Vec<String>,
    /// Start over above everything that store and sinks hold; every symbol is computed again
    #[arg(long, conflicts_with_all = ["from", "to", "symbols", "more"], help_heading = "Rebuild")]
    pub(crate) rebuild: bool,
    /// Rebuild this sink only
    #[arg(long, value_name = "NAME", requires = "rebuild", help_heading = "Rebuild")]
    pub(crate) sink: Option<String>,
}

const FETCH_EXAMPLES: &str = "\
Examples:
  stockflow fetch DEMO --replay examples/recordings       without a network, from recorded replies
  stockflow fetch AAPL MSFT --since 2020-01-01            into the lake; the next call fetches only what is new
  stockflow fetch AAPL --range 1y --to -                  CSV on standard output
  stockflow fetch --symbols-file sp500.txt --interval 5m --range 1mo
  stockflow fetch AAPL --to kafka --topic raw-stock-data  into a topic, each relation told by the header `kind`
  stockflow fetch AAPL --record replies                   keeps the replies, to run it again with --replay

Bars come as traded (basis raw), with splits and dividends as a table of their own (actions), and what is known of the
symbols as another (symbols).
An epoch takes 50 symbols: after Ctrl-C the next call goes on with the others. Symbols that cannot be had are listed
with the reason, and make exit code 3. Not tried against the live service yet.";

/// `stockflow fetch`
#[derive(Debug, Args)]
#[command(after_help = FETCH_EXAMPLES, mut_arg("to", |it| it.required(false).default_value("lake")))]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    pub(crate) symbols: SymbolArgs,
    #[command(flatten)]
    pub(crate) dates: DateArgs,
    /// Width of the bars: 1m 2m 5m 15m 30m 60m 90m 1h 1d 5d 1wk 1mo 3mo
    #[arg(long, value_name = "INTERVAL", default_value = "1d", value_parser = interval)]
    pub(crate) interval: Interval,
    #[command(flatten)]
    pub(crate) client: YahooArgs,
}

const ACTIONS_EXAMPLES: &str = "\
Examples:
  stockflow actions DEMO --replay examples/recordings     without a network, from recorded replies
  stockflow actions AAPL MSFT --since 2020-01-01          a table on standard output
  stockflow actions AAPL --to lake                        into the table `actions`, which `fetch` fills, too

Amounts are as paid, not adjusted for later splits. Symbols that cannot be had are listed with the reason, and make exit
code 3. Not tried against the live service yet.";

/// `stockflow actions`
#[derive(Debug, Args)]
#[command(after_help = ACTIONS_EXAMPLES, mut_arg("to", |it| it.required(false).default_value("-")))]
pub(crate) struct ActionsArgs {
    #[command(flatten)]
    pub(crate) symbols: SymbolArgs,
    #[command(flatten)]
    pub(crate) dates: DateArgs,
    #[command(flatten)]
    pub(crate) client: YahooArgs,
}

const HOLDERS_EXAMPLES: &str = "\
Examples:
  stockflow holders DEMO --replay examples/recordings     without a network, from recorded replies
  stockflow holders AAPL MSFT                             tables on standard output
  stockflow holders AAPL --to lake                        all columns, in seven tables of the lake

Shares of a whole are fractions of one. The tables are what Yahoo says today; it gives no history. Symbols that cannot be
had are listed with the reason, and make exit code 3. Not tried against the live service yet.";

const INSIGHTS_EXAMPLES: &str = "\
Examples:
  stockflow insights DEMO --replay examples/recordings    without a network, from recorded replies
  stockflow insights AAPL MSFT                            the main columns on standard output
  stockflow insights AAPL --to csv                        all columns, in five files of the data folder

Titles and ratings only: the texts behind them are licensed research. Symbols that cannot be had are listed with the
reason, and make exit code 3. Not tried against the live service yet.";

const QUOTE_EXAMPLES: &str = "\
Examples:
  stockflow quote DEMO --replay examples/recordings       without a network, from recorded replies
  stockflow quote AAPL MSFT                               the main columns on standard output
  stockflow quote --symbols-file sp500.txt --to parquet   all columns, in a file of the data folder

Prices are in the currency as Yahoo writes it: GBp is pence. Symbols that cannot be had are listed with the reason, and
make exit code 3. Not tried against the live service yet.";

/// `stockflow holders`, `stockflow insights` and `stockflow quote`
#[derive(Debug, Args)]
#[command(mut_arg("to", |it| it.required(false).default_value("-")))]
pub(crate) struct CompanyArgs {
    #[command(flatten)]
    pub(crate) symbols: SymbolArgs,
    #[command(flatten)]
    pub(crate) client: YahooArgs,
}

const SYMBOLS_EXAMPLES: &str = "\
Examples:
  stockflow symbols demo --replay examples/recordings     without a network, from recorded replies
  stockflow symbols berkshire hathaway                    a table on standard output, best first

Not tried against the live service yet.";

/// `stockflow symbols`
#[derive(Debug, Args)]
#[command(after_help = SYMBOLS_EXAMPLES, mut_arg("to", |it| it.required(false).default_value("-")))]
pub(crate) struct SymbolsArgs {
    /// What to look for
    #[arg(value_name = "TEXT", value_parser = symbol, required = true)]
    pub(crate) text: Vec<String>,
    #[command(flatten)]
    pub(crate) client: YahooArgs,
}

/// Whose data is wanted.
#[derive(Debug, Clone, Args)]
pub(crate) struct SymbolArgs {
    /// Symbols as Yahoo writes them
    #[arg(value_name = "SYMBOL", value_parser = symbol, required_unless_present_any = ["symbols_file", "symbols_query"])]
    pub(crate) symbols: Vec<String>,
    /// A file with one symbol a line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) symbols_file: Option<PathBuf>,
    /// A query over the lake whose first column names symbols
    #[arg(long, value_name = "SQL")]
    pub(crate) symbols_query: Option<String>,
}

/// Of which days.
#[derive(Debug, Clone, Args)]
pub(crate) struct DateArgs {
    /// First trading date; without it and --range, all there are
    #[arg(long, value_name = "DATE", value_parser = date, conflicts_with = "range")]
    pub(crate) since: Option<NaiveDate>,
    /// Last trading date, included
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) until: Option<NaiveDate>,
    /// The last days, weeks, months or years, such as 5d, 2wk, 6mo, 1y, or ytd
    #[arg(long, value_name = "RANGE", value_parser = range)]
    pub(crate) range: Option<Range>,
}

impl DateArgs {
    /// The first date.
    pub(crate) fn since(&self) -> Option<NaiveDate> {
        self.range.map_or(self.since, |range| range.since(Utc::now().date_naive()))
    }

    /// Dates between which there may be bars.
    pub(crate) fn check(&self) -> Outcome<()> {
        let Some((since, until)) = self.since().zip(self.until).filter(|(since, until)| until < since) else {
            return Ok(());
        };
        let what = if self.range.is_some() { "the range begins on" } else { "`--since`" };
        let failure = Failure::usage(format!("{what} {since}, which is later than `--until` {until}"));
        Err(failure.or_next("exchange the two dates, or leave one of them out"))
    }
}

/// What every command takes that asks Yahoo.
#[derive(Debug, Clone, Args)]
pub(crate) struct YahooArgs {
    /// Where the rows go: the lake, files in the data folder, a topic, or `-` for standard output
    #[arg(long, value_name = "WHERE", value_enum)]
    pub(crate) to: FetchTo,
    /// With `--to kafka`: the brokers, as host:port, several with commas
    #[arg(long, value_name = "HOST:PORT,…", env = "STOCKFLOW_KAFKA", default_value = "127.0.0.1:9092")]
    pub(crate) brokers: String,
    /// With `--to kafka`: the topic
    #[arg(long, value_name = "TOPIC", default_value = "raw-stock-data")]
    pub(crate) topic: String,
    /// Keep every reply in this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "replay")]
    pub(crate) record: Option<PathBuf>,
    /// Read recorded replies from this folder instead of asking Yahoo
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) replay: Option<PathBuf>,
    /// Requests a second at most
    #[arg(long, value_name = "RATE", default_value_t = 2.0)]
    pub(crate) requests_per_second: f64,
    /// Another server in Yahoo's place, such as a proxy
    #[arg(long, value_name = "URL", env = "STOCKFLOW_YAHOO_SERVER", hide_env_values = true)]
    pub(crate) server: Option<Server>,
}

/// Where fetched rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FetchTo {
    /// A table of the data folder for each relation, such as `bars`.
    Lake,
    /// A file for each, such as `fetched/bars.csv`, in the data folder.
    Csv,
    /// The same as Parquet.
    Parquet,
    /// A topic, each relation by its name in the header `kind`.
    Kafka,
    /// Standard output.
    #[value(name = "-")]
    Stdout,
}

/// How far back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// So many days.
    Days(u64),
    /// So many months.
    Months(u32),
    /// Since New Year.
    ThisYear,
}

impl Range {
    /// The first date of the range that ends today.
    pub(crate) fn since(self, today: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Days(n) => today.checked_sub_days(chrono::Days::new(n)),
            Self::Months(n) => today.checked_sub_months(chrono::Months::new(n)),
            Self::ThisYear => today.with_ordinal(1),
        }
    }
}

fn range(text: &str) -> Result<Range, String> {
    let wrong = || format!("`{text}` is no range; write one such as 5d, 2wk, 6mo, 1y or ytd");
    if text == "ytd" {
        return Ok(Range::ThisYear);
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (n, unit) = text.split_at(digits);
    let n: u32 = n.parse().map_err(|_| wrong())?;
    match unit {
        "d" => Ok(Range::Days(n.into())),
        "wk" => Ok(Range::Days(u64::from(n) * 7)),
        "mo" => Ok(Range::Months(n)),
        "y" => Ok(Range::Months(n.checked_mul(12).ok_or_else(wrong)?)),
        _ => Err(wrong()),
    }
}

fn interval(text: &str) -> Result<Interval, String> {
    let known = ["1m", "2m", "5m", "15m", "30m", "60m", "90m", "1h", "1d", "5d", "1wk", "1mo", "3mo"];
    if !known.contains(&text) {
        return Err(format!("Yahoo has no bars of `{text}`; it has {}", known.join(" ")));
    }
    text.parse().map_err(|error: stockflow_core::Error| error.to_string())
}

/// `stockflow explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// Only this step
    #[arg(long, value_name = "NAME")]
    pub(crate) step: Option<String>,
}

/// `stockflow checkpoint`
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// Print how far each partition has come
    Show(PipelineArgs),
    /// Go back to where the pipeline stood after an epoch; what came later is read again
    Rewind {
        /// The epoch to go back to
        #[arg(value_name = "EPOCH")]
        epoch: u64,
        #[command(flatten)]
        pipeline: PipelineArgs,
    },
    /// Go back to the start; everything is read again
    Reset(PipelineArgs),
}

/// `stockflow lake`
#[derive(Debug, Subcommand)]
pub(crate) enum LakeCommand {
    /// Compact small files and remove old ones; says what it would do unless `--apply` is given
    Maintain {
        /// These tables; without any, all of the data folder
        #[arg(value_name = "TABLE")]
        tables: Vec<String>,
        /// Do it
        #[arg(long)]
        apply: bool,
        /// Keep removed files this many hours for readers of older versions
        #[arg(long, value_name = "HOURS", default_value_t = 168)]
        retain_hours: u64,
    },
}

const MIGRATE_EXAMPLES: &str = "\
Examples:
  stockflow db migrate pipeline.toml            makes and changes the tables of the pipeline's PostgreSQL sinks
  stockflow db migrate pipeline.toml --check    prints the SQL that is missing; exit code 1 if there is any
  stockflow db migrate --url postgres://me@localhost/market --password env:PGPASSWORD";

/// `stockflow db`
#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Bring tables to what the sinks of a pipeline need; each step is recorded in the database
    #[command(after_help = MIGRATE_EXAMPLES)]
    Migrate {
        #[command(flatten)]
        pipeline: PipelineArgs,
        /// Only print what is missing
        #[arg(long)]
        check: bool,
        /// In place of a pipeline file: a database, in which only stockflow's own tables are made
        #[arg(long, value_name = "URL", conflicts_with_all = ["pipeline", "input"])]
        url: Option<String>,
        /// Where the password of `--url` is kept: `env:NAME`, `file:PATH` or `command:LINE`
        #[arg(long, value_name = "PLACE", requires = "url")]
        password: Option<stockflow_io::secret::SecretRef>,
        /// The schema of `--url` in which the tables are
        #[arg(long, value_name = "NAME", requires = "url")]
        schema: Option<String>,
    },
}

/// `stockflow topics`
#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// Make topics that are missing, add partitions and access rules that are missing; say what else differs from the file
    Apply(PipelineArgs),
    /// Say where topics differ from the file, and change nothing; exit code 1 if one does
    Check(PipelineArgs),
}

const SEARCH_EXAMPLES: &str = "\
Examples:
  stockflow search storage.toml --symbol AAPL --from 2024-01-01 --sort -ts --limit 10
  stockflow search storage.toml \"close:>100 AND volume:[1000000 TO *]\" --symbol AAPL,MSFT --interval 1d
  stockflow search storage.toml --sink dead_letters \"reason:negative\" --json
  stockflow search storage.toml -o bars.parquet";

/// `stockflow search`
#[derive(Debug, Args)]
#[command(after_help = SEARCH_EXAMPLES)]
pub(crate) struct SearchArgs {
    /// The pipeline file, for its sink of type `elasticsearch`
    #[arg(value_name = "PIPELINE.toml", value_hint = ValueHint::FilePath)]
    pub(crate) pipeline: PathBuf,
    /// A query in the words of Elasticsearch's query strings
    #[arg(value_name = "QUERY")]
    pub(crate) query: Option<String>,
    /// Whose index: the sink's name, or `dead_letters`; needed where there are several
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,
    /// Only these symbols; repeatable, or with commas
    #[arg(long = "symbol", visible_alias = "symbols", value_name = "LIST", value_delimiter = ',')]
    pub(crate) symbols: Vec<String>,
    /// Only these intervals, such as `1d`; repeatable, or with commas
    #[arg(long = "interval", value_name = "LIST", value_delimiter = ',')]
    pub(crate) intervals: Vec<String>,
    /// The first day (UTC)
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) from: Option<NaiveDate>,
    /// The last day (UTC)
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) to: Option<NaiveDate>,
    /// Fields to sort by, `-close` for the largest first; by default the key
    #[arg(long, value_name = "LIST", value_delimiter = ',', allow_hyphen_values = true)]
    pub(crate) sort: Vec<String>,
    /// So many rows at most
    #[arg(long, value_name = "ROWS")]
    pub(crate) limit: Option<u64>,
    /// How rows are printed; the default follows the name of `-o`, else it is a table
    #[arg(long, value_enum)]
    pub(crate) format: Option<RowFormat>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

const SQL_EXAMPLES: &str = "\
Examples:
  stockflow sql \"SELECT * FROM quality\"
  stockflow sql \"SELECT symbol, ts, rsi(close, 14) OVER (PARTITION BY symbol ORDER BY ts) AS rsi FROM bars\" -o rsi.parquet
  stockflow sql \"SELECT count(*) FROM p\" -f p=prices.csv.gz
  stockflow sql \"SELECT * FROM bars\" --format csv | head";

/// `stockflow sql`
#[derive(Debug, Args)]
#[command(after_help = SQL_EXAMPLES)]
pub(crate) struct SqlArgs {
    /// The query; `-` reads it from standard input
    #[arg(value_name = "QUERY")]
    pub(crate) query: String,
    /// A file, folder, glob, Delta table or object store URL as a table; repeatable
    #[arg(short, long = "file", value_name = "NAME=PATH", value_parser = table)]
    pub(crate) files: Vec<(String, String)>,
    /// How rows are printed; the default follows the name of `-o`, else it is a table
    #[arg(long, value_enum)]
    pub(crate) format: Option<RowFormat>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// Aligned columns.
    Table,
    /// Comma-separated, with a header.
    Csv,
    /// One JSON array.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// A Parquet file.
    Parquet,
}

/// `stockflow indicators`
#[derive(Debug, Args)]
pub(crate) struct IndicatorsArgs {
    /// An indicator's name, such as `rsi`, or a part of it
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// `stockflow chart`
#[derive(Debug, Args)]
pub(crate) struct ChartArgs {
    /// Whose bars
    #[arg(value_name = "SYMBOL")]
    pub(crate) symbol: String,
    /// Indicators to draw, such as `sma(50),rsi(14),macd`
    #[arg(long, value_name = "LIST", default_value = "sma(20),sma(50),sma(200),rsi(14),macd")]
    pub(crate) indicators: String,
    /// First trading date; by default the last 250 bars are drawn
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) from: Option<NaiveDate>,
    /// Last trading date, included
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub(crate) to: Option<NaiveDate>,
    /// `.svg` or `.png`; by default both are written to the data folder
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Equal ratios of prices at equal heights
    #[arg(long)]
    pub(crate) log: bool,
    /// Colours
    #[arg(long, value_enum, default_value_t = Theme::Light)]
    pub(crate) theme: Theme,
    /// Width and height in pixels, such as `1600x900`; by default 1200 wide and as high as the panels ask for
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub(crate) size: Option<Size>,
}

/// `stockflow init`
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where to write it
    #[arg(value_name = "PATH", default_value = "pipeline.toml", value_hint = ValueHint::FilePath)]
    pub(crate) path: PathBuf,
    /// Overwrite a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// `stockflow completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

fn date(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| format!("`{text}` is no date; write YYYY-MM-DD"))
}

fn symbol(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a symbol is empty; write them as in AAPL,IBM".into()),
        symbol => Ok(symbol.into()),
    }
}

fn size(text: &str) -> Result<Size, String> {
    let sides =
        text.split_once(['x', 'X']).and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let (width, height) = sides.ok_or_else(|| format!("`{text}` is not WIDTHxHEIGHT, such as 1600x900"))?;
    Size::new(width, height).map_err(|error| error.to_string())
}

fn table(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.into(), path.into())),
        _ => Err(format!("`{text}` is not NAME=PATH")),
    }
}

/// Splits `sma(20),macd(12, 26, 9),obv` at the commas outside of parentheses.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    let (mut items, mut item, mut depth) = (Vec::new(), String::new(), 0_usize);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                items.push(std::mem::take(&mut item));
                continue;
            }
            _ => {}
        }
        item.push(c);
    }
    items.push(item);
    items.into_iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ranges_end_today() {
        let today = NaiveDate::from_ymd_opt(2024, 3, 31).unwrap_or_default();
        for (text, since) in [
            ("5d", "2024-03-26"),
            ("2wk", "2024-03-17"),
            ("1mo", "2024-02-29"),
            ("1y", "2023-03-31"),
            ("ytd", "2024-01-01"),
        ] {
            assert_eq!(
                range(text).ok().and_then(|it| it.since(today)).map(|it| it.to_string()).as_deref(),
                Some(since)
            );
        }
        for text in ["", "d", "5", "5x", "99999999999y"] {
            assert!(range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_are_split_outside_of_parentheses() {
        assert_eq!(split_list("sma(20), macd(12, 26, 9) ,obv,"), ["sma(20)", "macd(12, 26, 9)", "obv"]);
        assert!(split_list(" ").is_empty());
    }

    #[test]
    fn dates_and_tables_are_checked() {
        assert!(date("2020-02-30").is_err_and(|error| error.contains("YYYY-MM-DD")));
        assert_eq!(table("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(table("a.csv").is_err());
        assert_eq!(symbol(" BRK.B "), Ok("BRK.B".into()));
        assert!(symbol(" ").is_err());
    }
}
