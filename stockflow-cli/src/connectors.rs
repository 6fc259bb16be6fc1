//! The connectors: what a `[source]`, `[[sink]]` or `[tables.…]` table says, and what is made of it.
//!
//! **Invariant:** this is the only file of the command line that names a connector.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::datatypes::{DataType, TimeUnit};
use chrono::NaiveDate;
use datafusion::datasource::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use stockflow_core::history::History;
use stockflow_core::pipeline::{Builder, SinkStep};
use stockflow_core::schema::{action_schema, bar_schema, symbol_schema};
use stockflow_core::sink::{Sink, WriteMode};
use stockflow_core::source::Source;
use stockflow_core::token::SinkId;
use stockflow_core::transform::Interval;
use stockflow_io::ParquetCompression;
use stockflow_io::console::{ConsoleFormat, ConsoleSink};
use stockflow_io::delta::{DeltaHistory, DeltaSink, MaintainOptions, as_of_view};
use stockflow_io::file::{FileFormat, FileSink, FileSource, ManifestTable, RowOrder, SinkMode};
pub(crate) use stockflow_io::file::{Listing, SkippedFile};
use stockflow_io::http::{Fetch, HttpClient, HttpOptions, Limit, Recorder, Replayer};
use stockflow_io::location::Location;
pub(crate) use stockflow_io::postgres::Change;
use stockflow_io::postgres::{PostgresOptions, PostgresSink, PostgresSource, SslMode};
pub(crate) use stockflow_io::yahoo::Endpoint;
use stockflow_io::yahoo::decode::Asked;
use stockflow_io::yahoo::{YahooCompany, YahooSession, YahooSource};

use crate::assemble::Opening;
use crate::config::{Moment, NamedSink, SecretRef, Section};
use crate::elastic::{ElasticConfig, IndexSearch};
use crate::exit::{Failure, Outcome};
use crate::kafka::{KafkaSinkConfig, KafkaSourceConfig, Topic};
use crate::providers::ChainConfig;
use crate::server::Server;
use crate::tables;

/// A `type` and how its table is read.
type Kind<T> = (&'static str, fn(&Section<'_>) -> T);

/// A source, as the pipeline file says it.
#[derive(Debug)]
pub(crate) enum SourceConfig {
    File(FileSourceConfig),
    Kafka(Box<KafkaSourceConfig>),
    Postgres(Box<PostgresSourceConfig>),
    Yahoo(Box<YahooConfig>),
}

/// `type = "yahoo"`
#[derive(Debug)]
pub(crate) struct YahooConfig {
    symbols: Vec<Asked>,
    /// A query over the lake that names more of them.
    symbols_query: Option<String>,
    /// Yahoo's own spelling of some.
    spelling: Vec<(String, String)>,
    asks: YahooAsks,
    requests_per_second: Option<f64>,
    user_agent: Option<String>,
    server: Option<Server>,
    record: Option<PathBuf>,
    replay: Option<PathBuf>,
}

/// The `endpoint`, with what only it has.
#[derive(Debug)]
enum YahooAsks {
    Chart(ChartConfig),
    Company(Endpoint),
}

/// `endpoint = "chart"`
#[derive(Debug)]
struct ChartConfig {
    interval: Interval,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    actions_to: Option<NaiveDate>,
    refetch_days: Option<u64>,
    unfinished: bool,
    pre_post: bool,
    sub_units: bool,
    chain: ChainConfig,
}

/// `type = "file"`
#[derive(Debug, Default)]
pub(crate) struct FileSourceConfig {
    path: String,
    format: Option<FileFormat>,
    relation: Option<String>,
    delimiter: Option<u8>,
    header: Option<bool>,
    infer: Option<bool>,
    columns: Vec<(String, DataType)>,
}

/// `type = "postgres"`, as a source
#[derive(Debug)]
pub(crate) struct PostgresSourceConfig {
    server: PostgresServer,
    table: Option<String>,
    query: Option<String>,
    relation: Option<String>,
    key: Vec<String>,
    version: Option<String>,
    cursor: Option<String>,
    partition_by: Option<String>,
    immutable: bool,
    lag_s: Option<u64>,
    connections: Option<u64>,
}

/// How to reach PostgreSQL.
#[derive(Debug)]
struct PostgresServer {
    /// `None` if it was told already that it is wrong.
    options: Option<PostgresOptions>,
    password: Option<SecretRef>,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self::File(FileSourceConfig::default())
    }
}

impl SourceConfig {
    /// Reads the `[source]` table.
    pub(crate) fn read(section: Section<'_>) -> Self {
        let kinds: [Kind<SourceConfig>; 4] =
            [("file", file_source), ("kafka", kafka_source), ("postgres", postgres_source), ("yahoo", yahoo_source)];
        // Where the kind is not known, nothing can be said about the other fields.
        let Some(read) = section.kind(&kinds) else { return Self::default() };
        let config = read(&section);
        section.finish();
        config
    }

    /// The source; nothing is opened yet. `as_text`: what reads it wants the cells of CSV as they are written, unless the
    /// file says otherwise. `symbols`: what [`SourceConfig::symbols_query`] gave.
    pub(crate) fn build(&self, as_text: bool, symbols: Vec<String>) -> Outcome<Arc<dyn Source>> {
        match self {
            Self::File(config) => Ok(Arc::new(config.build(as_text)?)),
            Self::Kafka(config) => Ok(Arc::new(config.build())),
            Self::Postgres(config) => Ok(Arc::new(config.build()?)),
            Self::Yahoo(config) => config.build(symbols),
        }
    }

    /// The query over the lake that says whose bars are wanted.
    pub(crate) fn symbols_query(&self) -> Option<&str> {
        match self {
            Self::File(_) | Self::Kafka(_) | Self::Postgres(_) => None,
            Self::Yahoo(config) => config.symbols_query.as_deref(),
        }
    }

    /// Where it reads.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::File(config) => &config.path,
            Self::Kafka(config) => config.path(),
            Self::Postgres(config) => config.table.as_deref().unwrap_or("PostgreSQL"),
            Self::Yahoo(_) => "Yahoo Finance",
        }
    }

    /// Where it reads on this machine or in an object store; `None` for a service.
    pub(crate) fn place(&self) -> Option<&str> {
        match self {
            Self::File(config) => Some(&config.path),
            Self::Kafka(_) | Self::Postgres(_) | Self::Yahoo(_) => None,
        }
    }

    /// The topic that `stockflow topics` looks after.
    pub(crate) fn topic(&self) -> Option<Topic<'_>> {
        match self {
            Self::Kafka(config) => Some(config.topic()),
            _ => None,
        }
    }

    /// Its secrets: field and place.
    pub(crate) fn secrets(&self) -> Vec<(&'static str, &SecretRef)> {
        match self {
            Self::Kafka(config) => config.secrets(),
            Self::Postgres(config) => config.server.secrets(),
            Self::File(_) | Self::Yahoo(_) => Vec::new(),
        }
    }

    /// What is there now, and what is skipped.
    pub(crate) async fn list(&self) -> Outcome<Listing> {
        match self {
            Self::File(config) => Ok(config.build(false)?.list().await?),
            Self::Kafka(_) | Self::Postgres(_) | Self::Yahoo(_) => Ok(Listing::default()),
        }
    }

    /// The relation that the first step reads.
    pub(crate) fn relation(&self) -> &str {
        match self {
            Self::File(config) => config.relation.as_deref().unwrap_or("input"),
            Self::Kafka(config) => config.relation(),
            Self::Postgres(config) => config.relation(),
            Self::Yahoo(config) => match config.asks {
                YahooAsks::Chart(_) => "bars",
                YahooAsks::Company(Endpoint::Holders) => "holders_breakdown",
                YahooAsks::Company(Endpoint::Insights) => "insights",
                YahooAsks::Company(Endpoint::Quote) => "quotes",
                YahooAsks::Company(Endpoint::Search) => "search",
            },
        }
    }
}

fn file_source(section: &Section<'_>) -> SourceConfig {
    SourceConfig::File(FileSourceConfig {
        path: place(section),
        format: section.parsed("format"),
        relation: section.text("relation"),
        delimiter: section.text("delimiter").and_then(|text| one_byte(section, &text)),
        header: section.flag("header"),
        infer: section.flag("infer"),
        columns: declared(section),
    })
}

fn kafka_source(section: &Section<'_>) -> SourceConfig {
    let delimiter = section.text("delimiter").and_then(|text| one_byte(section, &text));
    SourceConfig::Kafka(Box::new(KafkaSourceConfig::read(section, declared(section), delimiter)))
}

/// The columns that `types` declares.
fn declared(section: &Section<'_>) -> Vec<(String, DataType)> {
    let types = section.pairs("types").unwrap_or_default();
    let column = |(name, text): (String, String)| match data_type(&text) {
        Some(data_type) => Some((name, data_type)),
        None => {
            section.problem("types", format!("gives `{name}` the type `{text}`; there are `text`, `integer`, `number`, `boolean`, `date`, `timestamp`"));
            None
        }
    };
    types.into_iter().filter_map(column).collect()
}

fn postgres_source(section: &Section<'_>) -> SourceConfig {
    let (table, query) = (section.text("table"), section.text("query"));
    match (&table, &query) {
        (Some(_), Some(_)) => section.problem("query", "stands beside `table`; write one of them"),
        (None, None) => section.problem("table", "is missing; write `table` or `query`"),
        _ => {}
    }
    SourceConfig::Postgres(Box::new(PostgresSourceConfig {
        server: PostgresServer::read(section),
        table,
        query,
        relation: section.text("relation"),
        key: section.texts("key").unwrap_or_default(),
        version: section.text("version"),
        cursor: section.text("cursor"),
        partition_by: section.text("partition_by"),
        immutable: section.flag("immutable").unwrap_or(false),
        lag_s: section.count("lag_s"),
        connections: section.count_within("connections", 1..=64),
    }))
}

impl PostgresServer {
    fn read(section: &Section<'_>) -> Self {
        let url = section.required("url");
        let mut options = match PostgresOptions::parse(&url) {
            Ok(options) => Some(options),
            Err(_) if url.is_empty() => None,
            Err(error) => {
                section.problem("url", format!("is wrong: {}", error.chain().join(": ")));
                None
            }
        };
        let password = section.secret("password");
        let sslmode = section.parsed::<SslMode>("sslmode");
        let ca = section.text("ca");
        let (certificate, key) = (section.text("client_cert"), section.text("client_key"));
        if certificate.is_some() != key.is_some() {
            section.problem("client_key", "and `client_cert` belong together");
        }
        let seconds = |count: Option<u64>| count.map(Duration::from_secs);
        let connect_timeout = seconds(section.count_within("connect_timeout_s", 1..=3600));
        let timeout = seconds(section.count_within("timeout_s", 1..=86_400));
        options = options.map(|mut options| {
            if let Some(password) = &password {
                options = options.with_password_from(password.clone());
            }
            if let Some(sslmode) = sslmode {
                options = options.with_sslmode(sslmode);
            }
            if let Some(ca) = ca {
                options = options.with_ca(ca);
            }
            if let (Some(certificate), Some(key)) = (certificate, key) {
                options = options.with_client_certificate(certificate, key);
            }
            if let Some(timeout) = connect_timeout {
                options = options.with_connect_timeout(timeout);
            }
            if let Some(timeout) = timeout {
                options = options.with_timeout(timeout);
            }
            options
        });
        Self { options, password }
    }

    fn options(&self) -> Outcome<PostgresOptions> {
        self.options.clone().ok_or_else(|| Failure::usage("the URL of PostgreSQL is wrong"))
    }

    fn secrets(&self) -> Vec<(&'static str, &SecretRef)> {
        self.password.iter().map(|password| ("password", password)).collect()
    }
}

impl PostgresSourceConfig {
    fn relation(&self) -> &str {
        let table = self.table.as_deref().map(|table| table.rsplit('.').next().unwrap_or(table));
        self.relation.as_deref().or(table).unwrap_or("input")
    }

    fn build(&self) -> Outcome<PostgresSource> {
        let options = self.server.options()?;
        let mut source = match (&self.table, &self.query) {
            (Some(table), _) => PostgresSource::table(options, table)?,
            (None, query) => PostgresSource::query(options, query.clone().unwrap_or_default()),
        };
        source = source.with_relation(self.relation()).with_key(self.key.clone());
        if let Some(version) = &self.version {
            source = source.with_version(version);
        }
        if let Some(cursor) = &self.cursor {
            source = source.with_cursor(cursor);
        }
        if let Some(column) = &self.partition_by {
            source = source.with_partition_by(column);
        }
        if self.immutable {
            source = source.with_immutable_rows();
        }
        if let Some(lag) = self.lag_s {
            source = source.with_lag(Duration::from_secs(lag));
        }
        if let Some(connections) = self.connections {
            source = source.with_connections(usize::try_from(connections).unwrap_or(1));
        }
        Ok(source)
    }
}

fn yahoo_source(section: &Section<'_>) -> SourceConfig {
    let company = |it: Endpoint| (it.name(), Some(it));
    let mut endpoints = vec![("chart", None)];
    endpoints.extend(Endpoint::ALL.map(company));
    let asks = match section.choice("endpoint", &endpoints).flatten() {
        Some(endpoint) => YahooAsks::Company(endpoint),
        None => YahooAsks::Chart(ChartConfig {
            interval: section.parsed("interval").unwrap_or(Interval::DAY),
            from: section.parsed("from"),
            to: section.parsed("to"),
            actions_to: section.parsed("actions_to"),
            refetch_days: section.count("refetch_days"),
            unfinished: section.flag("unfinished").unwrap_or(false),
            pre_post: section.flag("pre_post").unwrap_or(false),
            sub_units: section.flag("sub_units").unwrap_or(false),
            chain: ChainConfig::read(section),
        }),
    };
    if let YahooAsks::Chart(ChartConfig { from: Some(from), to: Some(to), .. }) = &asks
        && to < from
    {
        section.problem("to", format!("{to} is earlier than `from` {from}; exchange the two dates"));
    }
    let (mut symbols_query, mut spelling) = (None, Vec::new());
    let symbols = match asks {
        YahooAsks::Company(Endpoint::Search) => texts(section),
        _ => {
            symbols_query = section.text("symbols_query");
            spelling = section.pairs("spelling").unwrap_or_default();
            symbols(section, symbols_query.is_some())
        }
    };
    let server: Option<Server> = section.parsed("server");
    if let Some(Err(reason)) = server.as_ref().map(Server::url) {
        section.problem("server", reason);
    }
    SourceConfig::Yahoo(Box::new(YahooConfig {
        symbols,
        symbols_query,
        spelling,
        asks,
        requests_per_second: section.number("requests_per_second"),
        user_agent: section.text("user_agent"),
        server,
        record: section.text("record").map(PathBuf::from),
        replay: section.text("replay").map(PathBuf::from),
    }))
}

/// What a search looks for.
fn texts(section: &Section<'_>) -> Vec<Asked> {
    let texts = section.texts("texts").unwrap_or_default();
    if texts.is_empty() {
        section.problem("texts", "names none; write what to look for, as in `[\"apple\"]`");
    }
    texts.into_iter().map(Asked::same).collect()
}

fn symbols(section: &Section<'_>, has_query: bool) -> Vec<Asked> {
    let mut symbols: Vec<Asked> = section.texts("symbols").unwrap_or_default().into_iter().map(Asked::same).collect();
    if let Some(path) = section.text("symbols_file") {
        match symbols_of(&path) {
            Ok(more) => symbols.extend(more.into_iter().map(Asked::same)),
            Err(error) => section.problem("symbols_file", format!("`{path}` cannot be read: {error}")),
        }
    }
    if symbols.is_empty() && !has_query {
        section.problem(
            "symbols",
            "names none; write them as in `[\"AAPL\", \"MSFT\"]`, one a line in a `symbols_file`, or as a `symbols_query` over the lake",
        );
    }
    symbols
}

/// One symbol a line; what stands behind a `#` is a comment.
fn symbols_of(path: &str) -> std::io::Result<Vec<String>> {
    let text = std::fs::read_to_string(path)?;
    let symbol = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    Ok(text.trim_start_matches('\u{feff}').lines().map(symbol).filter(|it| !it.is_empty()).collect())
}

impl YahooConfig {
    fn build(&self, found: Vec<String>) -> Outcome<Arc<dyn Source>> {
        let fetch = self.fetch()?;
        let mut symbols = self.symbols.clone();
        symbols.extend(found.into_iter().map(Asked::same));
        // As in `"BRK.B" = "BRK-B"`.
        for (symbol, yahoo) in &self.spelling {
            for asked in symbols.iter_mut().filter(|it| it.symbol == *symbol) {
                asked.yahoo.clone_from(yahoo);
            }
        }
        Ok(match &self.asks {
            YahooAsks::Chart(config) => Arc::new(config.build(&fetch, symbols)?),
            YahooAsks::Company(endpoint) => Arc::new(YahooCompany::new(fetch, *endpoint, symbols)),
        })
    }

    /// The live client, a recorder of it, or recordings.
    fn fetch(&self) -> Outcome<Arc<dyn Fetch>> {
        let refuse = |error: stockflow_io::http::FetchError| Failure::usage(error.to_string());
        if let Some(folder) = &self.replay {
            return Ok(Arc::new(Replayer::open(folder).map_err(refuse)?));
        }
        let mut options = HttpOptions::default();
        if let Some(user_agent) = &self.user_agent {
            options.user_agent.clone_from(user_agent);
        }
        if let Some(rate) = self.requests_per_second {
            options = options.with_limit("yahoo.com", Limit::per_second(rate));
        }
        if let Some(server) = &self.server {
            let server = server.url().map_err(|reason| Failure::usage(format!("`server` {reason}")))?;
            for domain in ["yahoo.com", "stooq.com", "alphavantage.co"] {
                options = options.with_base(domain, server.clone());
            }
        }
        let live = Arc::new(YahooSession::new(HttpClient::new(options).map_err(refuse)?));
        Ok(match &self.record {
            Some(folder) => Arc::new(Recorder::new(live, folder).map_err(refuse)?),
            None => live,
        })
    }
}

impl ChartConfig {
    fn build(&self, fetch: &Arc<dyn Fetch>, symbols: Vec<Asked>) -> Outcome<YahooSource> {
        let chain = self.chain.build(fetch, self.interval)?;
        let mut source = YahooSource::over(chain, symbols)
            .with_interval(self.interval)
            .between(self.from, self.to)
            .with_actions_to(self.actions_to);
        if let Some(days) = self.refetch_days {
            source = source.with_refetch_days(days);
        }
        if self.unfinished {
            source = source.with_unfinished();
        }
        if self.pre_post {
            source = source.with_pre_post();
        }
        Ok(if self.sub_units { source.in_sub_units() } else { source })
    }
}

/// The `path` of a table, which must be a path or a URL that can be understood.
fn place(section: &Section<'_>) -> String {
    let path = section.required("path");
    section.check_place("path", &path);
    path
}

fn one_byte(section: &Section<'_>, text: &str) -> Option<u8> {
    let wrong = match text.as_bytes() {
        [b'"' | b'\n' | b'\r'] => "has a meaning of its own in CSV",
        [byte] => return Some(*byte),
        _ => "is not one character of ASCII",
    };
    section.problem(
        "delimiter",
        format!("cannot be `{}`, which {wrong}; write one such as `,` `;` or `\\t`", text.escape_debug()),
    );
    None
}

fn data_type(text: &str) -> Option<DataType> {
    Some(match text {
        "text" => DataType::Utf8,
        "integer" => DataType::Int64,
        "number" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => return None,
    })
}

impl FileSourceConfig {
    fn build(&self, as_text: bool) -> Outcome<FileSource> {
        let mut source = FileSource::new(&self.path)?.with_columns(self.columns.clone());
        if let Some(format) = self.format {
            source = source.with_format(format);
        }
        if let Some(relation) = &self.relation {
            source = source.with_relation(relation);
        }
        if let Some(delimiter) = self.delimiter {
            source = source.with_delimiter(delimiter);
        }
        if let Some(header) = self.header {
            source = source.with_header(header);
        }
        // The numbers of NDJSON are written with a point, whatever its texts are.
        let as_text = as_text && !self.is_ndjson();
        if let Some(infer) = self.infer.or(as_text.then_some(false)) {
            source = source.with_infer(infer);
        }
        Ok(source)
    }

    fn is_ndjson(&self) -> bool {
        let name = self.path.to_lowercase();
        let name = [".gz", ".zst", ".zstd"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
        self.format == Some(FileFormat::Ndjson)
            || self.format.is_none() && (name.ends_with(".ndjson") || name.ends_with(".jsonl"))
    }
}

/// A sink, as the pipeline file says it.
#[derive(Debug)]
pub(crate) enum SinkConfig {
    File(FileConfig),
    Delta(DeltaConfig),
    Elastic(Box<ElasticConfig>),
    Kafka(Box<KafkaSinkConfig>),
    Postgres(Box<PostgresConfig>),
    Console(ConsoleConfig),
}

/// `type = "postgres"`, as a sink
#[derive(Debug)]
pub(crate) struct PostgresConfig {
    server: PostgresServer,
    /// Server and table, as a URL.
    place: String,
    table: String,
    mode: Option<WriteMode>,
    columns: Vec<(String, String)>,
    stocks: bool,
    by_month: bool,
    indexes: Vec<String>,
    create: bool,
}

/// `type = "console"`
#[derive(Debug, Default)]
pub(crate) struct ConsoleConfig {
    format: ConsoleFormat,
    limit: Option<usize>,
    title: Option<String>,
    columns: Option<Vec<String>>,
}

/// `type = "parquet"`, `"csv"` or `"ndjson"`
#[derive(Debug)]
pub(crate) struct FileConfig {
    path: String,
    format: FileFormat,
    mode: SinkMode,
    compression: Option<ParquetCompression>,
    order: Option<RowOrder>,
}

/// `type = "delta"`
#[derive(Debug)]
pub(crate) struct DeltaConfig {
    path: String,
    mode: Option<WriteMode>,
    partition_by: Option<Vec<String>>,
    file_mb: Option<u64>,
    compression: Option<ParquetCompression>,
}

impl SinkConfig {
    /// Reads the rest of a `[[sink]]` or `[dead_letters]` table.
    pub(crate) fn read(section: Section<'_>) -> Self {
        let kinds: [Kind<SinkConfig>; 8] = [
            ("delta", delta),
            ("elasticsearch", |section| SinkConfig::Elastic(Box::new(ElasticConfig::read(section)))),
            ("kafka", |section| SinkConfig::Kafka(Box::new(KafkaSinkConfig::read(section)))),
            ("postgres", postgres),
            ("parquet", |section| file_sink(section, FileFormat::Parquet)),
            ("csv", |section| file_sink(section, FileFormat::Csv)),
            ("ndjson", |section| file_sink(section, FileFormat::Ndjson)),
            ("console", console),
        ];
        let Some(read) = section.kind(&kinds) else {
            return Self::Console(ConsoleConfig::default());
        };
        let config = read(&section);
        section.finish();
        config
    }

    /// Where it writes; `None` for the console.
    pub(crate) fn path(&self) -> Option<&str> {
        match self {
            Self::File(FileConfig { path, .. }) | Self::Delta(DeltaConfig { path, .. }) => Some(path),
            Self::Elastic(config) => Some(config.path()),
            Self::Kafka(config) => Some(config.path()),
            Self::Postgres(config) => Some(&config.place),
            Self::Console(_) => None,
        }
    }

    /// Whether a service keeps its rows, and not a folder or an object store.
    pub(crate) fn is_service(&self) -> bool {
        matches!(self, Self::Elastic(_) | Self::Kafka(_) | Self::Postgres(_))
    }

    /// What its service says when it is asked; `None` if it has none.
    pub(crate) async fn probe(&self) -> Option<Outcome<String>> {
        match self {
            Self::Elastic(config) => Some(config.probe().await),
            Self::Kafka(config) => Some(config.probe().await),
            Self::Postgres(config) => Some(match config.server.options() {
                Ok(options) => options.check().await.map_err(Into::into),
                Err(failure) => Err(failure),
            }),
            _ => None,
        }
    }

    /// The topic that `stockflow topics` looks after.
    pub(crate) fn topic(&self, sink: &SinkId, source: &SourceConfig) -> Option<Topic<'_>> {
        let source = match source {
            SourceConfig::Kafka(source) => Some(source.as_ref()),
            _ => None,
        };
        match self {
            Self::Kafka(config) => Some(config.topic(sink, source)),
            _ => None,
        }
    }

    /// Its secrets: field and place.
    pub(crate) fn secrets(&self) -> Vec<(&'static str, &SecretRef)> {
        match self {
            Self::Elastic(config) => config.secrets(),
            Self::Kafka(config) => config.secrets(),
            Self::Postgres(config) => config.server.secrets(),
            _ => Vec::new(),
        }
    }

    /// The database that `stockflow db` looks after, with the sink's table.
    pub(crate) fn database(&self) -> Option<Outcome<PostgresSink>> {
        match self {
            Self::Postgres(config) => Some(config.build()),
            _ => None,
        }
    }

    /// The index that `stockflow search` looks through.
    pub(crate) fn search(&self) -> Option<Outcome<IndexSearch>> {
        match self {
            Self::Elastic(config) => Some(config.search()),
            _ => None,
        }
    }

    /// Whether it has a folder of its own.
    pub(crate) fn is_folder(&self) -> bool {
        !self.is_service()
            && !matches!(self, Self::File(FileConfig { mode: SinkMode::Overwrite, .. }) | Self::Console(_))
    }

    /// Where it keeps what corrections replace, if it may do so.
    pub(crate) fn revisions(&self) -> Option<String> {
        match self {
            Self::Delta(DeltaConfig { path, mode: None | Some(WriteMode::Merge), .. }) => {
                Some(format!("{}_revisions", path.trim_end_matches('/')))
            }
            _ => None,
        }
    }

    /// Whether what it keeps can be read at any version: what a history relation needs.
    pub(crate) fn history(&self) -> Option<Outcome<Arc<dyn History>>> {
        match self {
            Self::Delta(config) => Some(
                DeltaHistory::new(&config.path)
                    .map(|history| Arc::new(history) as Arc<dyn History>)
                    .map_err(Into::into),
            ),
            _ => None,
        }
    }

    /// What it holds now; `None` where nothing can be read back.
    pub(crate) async fn open(&self) -> Outcome<Option<Arc<dyn TableProvider>>> {
        match self {
            Self::Delta(config) => open_delta(&Location::parse(&config.path)?).await,
            Self::File(FileConfig { path, mode: SinkMode::Append, .. }) => {
                Ok(Some(Arc::new(ManifestTable::open(path).await?)))
            }
            Self::File(FileConfig { path, .. }) => Ok(Some(tables::open_file(&tables::session()?, path).await?)),
            Self::Postgres(config) => Ok(config.build()?.read().await?),
            Self::Console(_) | Self::Elastic(_) | Self::Kafka(_) => Ok(None),
        }
    }

    /// Makes it the dead-letter sink of a pipeline.
    pub(crate) fn add_dead_letters(&self, builder: Builder, json: bool) -> Outcome<Builder> {
        Ok(match self {
            Self::File(file) => builder.dead_letters(file.build()?),
            // Dead letters have a key and no version: they are only ever added.
            Self::Delta(config) => builder.dead_letters(config.build()?.keyless()),
            Self::Elastic(config) => builder.dead_letters(config.build()?),
            Self::Kafka(config) => builder.dead_letters(config.build()),
            Self::Postgres(config) => builder.dead_letters(config.build()?.for_dead_letters()),
            Self::Console(config) => builder.dead_letters(config.build(json)),
        })
    }
}

impl NamedSink {
    /// The sink of a pipeline; nothing is opened yet.
    pub(crate) fn build(&self, relation: &str, json: bool) -> Outcome<SinkStep> {
        let step = match &self.sink {
            SinkConfig::File(file) => self.step(file.build()?),
            SinkConfig::Delta(config) => self.step(config.build()?),
            SinkConfig::Elastic(config) => self.step(config.build()?),
            SinkConfig::Kafka(config) => self.step(config.build()),
            SinkConfig::Postgres(config) => self.step(config.build()?),
            SinkConfig::Console(config) => self.step(config.build(json)),
        };
        Ok(step.relation(relation))
    }

    fn step(&self, sink: impl Sink + 'static) -> SinkStep {
        let step = SinkStep::new(&self.name, sink);
        if self.since_now { step.since_now() } else { step }
    }
}

fn file_sink(section: &Section<'_>, format: FileFormat) -> SinkConfig {
    let mode = section
        .choice("write", &[("append", SinkMode::Append), ("overwrite", SinkMode::Overwrite)])
        .unwrap_or(SinkMode::Append);
    // The other formats are text and stay as they are.
    let compression = match format {
        FileFormat::Parquet => section.choice("compression", &ParquetCompression::ALL),
        FileFormat::Csv | FileFormat::Ndjson => None,
    };
    let order = section.choice("order", &RowOrder::ALL);
    SinkConfig::File(FileConfig { path: place(section), format, mode, compression, order })
}

impl FileConfig {
    fn build(&self) -> Outcome<FileSink> {
        let mut sink = FileSink::new(&self.path, self.format, self.mode)?;
        if let Some(compression) = self.compression {
            sink = sink.with_compression(compression);
        }
        if let Some(order) = self.order {
            sink = sink.with_order(order);
        }
        Ok(sink)
    }
}

fn delta(section: &Section<'_>) -> SinkConfig {
    SinkConfig::Delta(DeltaConfig {
        path: place(section),
        mode: section.choice(
            "write",
            &[("merge", WriteMode::Merge), ("append", WriteMode::Append), ("overwrite", WriteMode::Overwrite)],
        ),
        partition_by: section.texts("partition_by"),
        file_mb: section.count_within("file_mb", 1..=u64::MAX),
        compression: section.choice("compression", &ParquetCompression::ALL),
    })
}

impl DeltaConfig {
    fn build(&self) -> Outcome<DeltaSink> {
        let mut sink = DeltaSink::new(&self.path)?;
        if let Some(mode) = self.mode {
            sink = sink.with_mode(mode);
        }
        if let Some(columns) = &self.partition_by {
            sink = sink.with_partition_by(columns.clone());
        }
        if let Some(compression) = self.compression {
            sink = sink.with_compression(compression);
        }
        if let Some(megabytes) = self.file_mb {
            sink = sink.with_target_file_size(megabytes.saturating_mul(1024 * 1024));
        }
        Ok(sink)
    }
}

fn postgres(section: &Section<'_>) -> SinkConfig {
    let server = PostgresServer::read(section);
    let table = section.required("table");
    let place = server.options.as_ref().map(|options| format!("{options}/{table}")).unwrap_or_default();
    let config = PostgresConfig {
        mode: section.choice(
            "write",
            &[("merge", WriteMode::Merge), ("append", WriteMode::Append), ("overwrite", WriteMode::Overwrite)],
        ),
        columns: section.pairs("columns").unwrap_or_default(),
        stocks: section.choice("layout", &[("stocks", true), ("relation", false)]).unwrap_or(false),
        by_month: section.choice("partition", &[("month", true), ("none", false)]).unwrap_or(false),
        indexes: section.texts("index").unwrap_or_default(),
        create: section.flag("create").unwrap_or(true),
        server,
        place,
        table,
    };
    if config.stocks && !config.columns.is_empty() {
        section.problem("columns", "stands beside `layout = \"stocks\"`, which names the columns by itself");
    }
    if let Some(Err(error)) = (!config.table.is_empty())
        .then(|| config.server.options.clone())
        .flatten()
        .map(|options| PostgresSink::new(options, &config.table))
    {
        section.problem("table", error.chain().join(": "));
    }
    SinkConfig::Postgres(Box::new(config))
}

impl PostgresConfig {
    fn build(&self) -> Outcome<PostgresSink> {
        let mut sink = PostgresSink::new(self.server.options()?, &self.table)?
            .with_columns(self.columns.clone())
            .with_indexes(self.indexes.clone())
            .with_create(self.create);
        if let Some(mode) = self.mode {
            sink = sink.with_mode(mode);
        }
        if self.stocks {
            sink = sink.with_stocks_layout();
        }
        Ok(if self.by_month { sink.with_monthly_partitions() } else { sink })
    }
}

/// The database at a URL, with the tables of ours in a schema.
pub(crate) fn database(url: &str, password: Option<SecretRef>, schema: Option<&str>) -> Outcome<PostgresSink> {
    let mut options = PostgresOptions::parse(url)?;
    if let Some(password) = password {
        options = options.with_password_from(password);
    }
    let table = schema.map_or_else(|| "stockflow".to_owned(), |schema| format!("{schema}.stockflow"));
    Ok(PostgresSink::new(options, &table)?)
}

fn console(section: &Section<'_>) -> SinkConfig {
    SinkConfig::Console(ConsoleConfig {
        format: section.parsed("format").unwrap_or_default(),
        limit: section.count("limit").map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        title: section.text("title"),
        columns: section.texts("columns"),
    })
}

impl ConsoleConfig {
    fn build(&self, json: bool) -> ConsoleSink {
        let mut sink = ConsoleSink::new().with_format(self.format);
        if let Some(limit) = self.limit {
            sink = sink.with_limit(Some(limit));
        }
        if let Some(title) = &self.title {
            sink = sink.with_title(title);
        }
        if let Some(columns) = &self.columns {
            sink = sink.with_columns(columns.clone());
        }
        // With `--json` standard output belongs to the report.
        if json { sink.with_output(Arc::new(Mutex::new(std::io::stderr()))) } else { sink }
    }
}

/// A reference table, as the pipeline file says it.
#[derive(Debug)]
pub(crate) struct TableConfig {
    path: String,
    schema: Option<Known>,
    /// As its rows were known then, and whether strictly so.
    as_of: Option<(Moment, bool)>,
}

/// A schema that is known without opening the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Actions,
    Bars,
    Symbols,
}

impl TableConfig {
    /// Reads a `[tables.<name>]` table.
    pub(crate) fn read(section: Section<'_>) -> Self {
        let (as_of, strict) = (section.parsed::<Moment>("as_of"), section.flag("strict"));
        if as_of.is_none() && strict.is_some() {
            section.problem("strict", "is only read with `as_of`");
        }
        let config = Self {
            path: place(&section),
            schema: section
                .choice("schema", &[("actions", Known::Actions), ("bars", Known::Bars), ("symbols", Known::Symbols)]),
            as_of: as_of.map(|at| (at, strict.unwrap_or(false))),
        };
        section.finish();
        config
    }

    /// The table. Where nothing may be opened, it is empty, with the columns as far as they are known.
    pub(crate) async fn open(&self, opening: Opening) -> Outcome<Arc<dyn TableProvider>> {
        if opening == Opening::Everything {
            if let Some((Moment(at), strict)) = self.as_of {
                return Ok(as_of_view(&tables::session()?, &self.path, at, strict).await?.into_view());
            }
            return tables::open_file(&tables::session()?, &self.path).await;
        }
        let schema = match self.schema {
            Some(Known::Actions) => action_schema(),
            Some(Known::Bars) => bar_schema(),
            Some(Known::Symbols) => symbol_schema(),
            None => Arc::new(arrow::datatypes::Schema::empty()),
        };
        Ok(Arc::new(EmptyTable::new(schema)))
    }
}

/// The Delta table at a place, if there is one.
pub(crate) async fn open_delta(place: &Location) -> Outcome<Option<Arc<dyn TableProvider>>> {
    if place.local_path().is_some_and(|local| !local.join("_delta_log").is_dir()) {
        return Ok(None);
    }
    // A table that only holds the fence has no columns yet: there is nothing to read.
    match DeltaHistory::new(place.text())?.version().await? {
        Some(_) => Ok(Some(stockflow_io::delta::open_table(place.text()).await?)),
        None => Ok(None),
    }
}

/// The table that a folder is by itself: Delta, or what a file sink appends to.
pub(crate) async fn open_table(place: &Location) -> Outcome<Option<Arc<dyn TableProvider>>> {
    if let Some(table) = open_delta(place).await? {
        return Ok(Some(table));
    }
    let log = place.join("_stockflow/log");
    let listed = log.store().list_with_delimiter(Some(log.path())).await;
    if listed.is_ok_and(|listed| !listed.objects.is_empty()) {
        return Ok(Some(Arc::new(ManifestTable::at(place.clone()).await?)));
    }
    Ok(None)
}

/// The files that a path, a folder or a glob means.
pub(crate) async fn list(path: &str) -> Outcome<Listing> {
    Ok(FileSource::new(path)?.list().await?)
}

/// What was done to a table of the lake, or would be.
pub(crate) use stockflow_io::delta::MaintainReport as Maintained;

/// Puts small files of a lake's table together and removes those that no kept version needs; without `apply`, only looks.
pub(crate) async fn maintain(table: &Location, retention: Duration, apply: bool) -> Outcome<Maintained> {
    let options = MaintainOptions { retention, dry_run: !apply, ..MaintainOptions::default() };
    Ok(stockflow_io::delta::maintain(table.text(), &options).await?)
}
