//! Searching what was indexed: filters, a query in words, and pages without end.
//!
//! A search reads one point in time, page after page, each from where the last one ended: it may give more rows than the server
//! returns at once (10,000), and what is written meanwhile changes nothing.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::json::ReaderBuilder;
use chrono::{DateTime, Utc};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stockflow_core::{Error, ErrorClass, Origin, Result};

use super::client::{Client, Info};
use super::error::Failure;
use super::name;
use super::options::ElasticOptions;

/// Rows of a page; the server gives 10,000 at most.
const PAGE: usize = 5000;
/// How long the server keeps the point in time between two pages.
const KEEP_ALIVE: &str = "2m";
/// Fields that say when, the first that is there.
const TIMES: [&str; 4] = ["ts", "date", "at", "as_of"];

/// A field by which rows are sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortBy {
    /// The field.
    pub field: String,
    /// Largest first.
    pub descending: bool,
}

impl FromStr for SortBy {
    type Err = String;

    /// `close`, or `-close` for the largest first.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (field, descending) = match text.strip_prefix('-') {
            Some(field) => (field, true),
            None => (text, false),
        };
        if field.is_empty() {
            return Err("names no field; write `close`, or `-close` for the largest first".into());
        }
        Ok(Self { field: field.to_owned(), descending })
    }
}

/// What is looked for: every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchQuery {
    /// A query in the server's own words, such as `close:>100 AND provider:yahoo`.
    pub text: Option<String>,
    /// One of these symbols.
    pub symbols: Vec<String>,
    /// One of these intervals.
    pub intervals: Vec<String>,
    /// At this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Before this time.
    pub before: Option<DateTime<Utc>>,
    /// The order; by default that of the key.
    pub sort: Vec<SortBy>,
    /// So many rows at most.
    pub limit: Option<u64>,
}

/// An index, or all that stand behind an alias, to be searched.
///
/// # Output
///
/// One row a document. Columns are the index's fields, in the order of the relation that was written; of an index that somebody else
/// made, by name.
///
/// | field | column |
/// |---|---|
/// | numbers with a fraction, without one | Float64, Int64 |
/// | `boolean` | Boolean |
/// | `date` of the form `2024-01-02`; any other | Date32; Timestamp(us, UTC) |
/// | text | Utf8 |
/// | objects, and whatever else | Utf8, as JSON |
///
/// Every column may be NULL.
#[derive(Debug, Clone)]
pub struct IndexSearch {
    options: ElasticOptions,
    index: String,
}

/// The fields of an index.
#[derive(Debug, Clone, PartialEq)]
struct Fields {
    schema: SchemaRef,
    /// Fields that name a document together.
    key: Vec<String>,
    /// Fields of text that cannot be sorted by.
    unsorted: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Described {
    #[serde(default)]
    mappings: Mapping,
}

#[derive(Debug, Default, Deserialize)]
struct Mapping {
    #[serde(default, rename = "_meta")]
    meta: Meta,
    #[serde(default)]
    properties: BTreeMap<String, FieldMapping>,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    stockflow: Written,
}

/// What the sink has left.
#[derive(Debug, Default, Deserialize)]
struct Written {
    #[serde(default)]
    key: Vec<String>,
    #[serde(default)]
    columns: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct FieldMapping {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    format: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default)]
    pit_id: Option<String>,
    hits: Hits,
}

#[derive(Debug, Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Debug, Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source", default)]
    source: Map<String, Value>,
    #[serde(default)]
    sort: Vec<Value>,
}

impl IndexSearch {
    /// A search of an index or an alias; nothing is opened yet.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] for a name that the server does not take.
    pub fn new(options: ElasticOptions, index: &str) -> Result<Self> {
        name::check("index", index)?;
        Ok(Self { options, index: index.to_owned() })
    }

    fn origin(&self) -> Origin {
        self.options.origin(&self.index)
    }

    /// Finds rows; they are fetched while the stream is read.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`]: a field that is not there, a query that the server cannot read. Class config: there is no such
    /// index. Class transient: no answer.
    pub async fn search(&self, query: &SearchQuery) -> Result<SendableRecordBatchStream> {
        let client = self.options.connect().await?;
        let origin = self.origin();
        let at = |failure: Failure| failure.at("search", &origin);
        let info = client.info().await.map_err(at)?;
        let path = format!("{}/_mapping", self.index);
        let found: Option<BTreeMap<String, Described>> = client.look(&path).await.map_err(at)?;
        let found = found.ok_or_else(|| {
            let reason = "there is no such index or alias; has the pipeline been run?";
            Error::refused(origin.clone(), ErrorClass::Config, reason)
        })?;
        let fields = Fields::of(found);
        let body = body(query, &fields)?;
        let pit = PointInTime::open(&client, &info, &self.index).await.map_err(at)?;
        let schema = Arc::clone(&fields.schema);
        let left = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let pages = Pages { client, origin, fields, body, pit, after: None, left };
        let batches = stream::try_unfold(Some(pages), |pages| async move {
            match pages {
                Some(pages) => pages.next().await.map_err(Into::into),
                None => Ok(None),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

impl Fields {
    fn of(found: BTreeMap<String, Described>) -> Self {
        let (mut key, mut order) = (Vec::new(), Vec::new());
        let mut all: BTreeMap<String, FieldMapping> = BTreeMap::new();
        // The newest index is the last by name, and knows the most columns.
        for (_, Described { mappings }) in found {
            let written = mappings.meta.stockflow;
            if !written.columns.is_empty() {
                (key, order) = (written.key, written.columns);
            }
            all.extend(mappings.properties);
        }
        let mut names: Vec<&String> = order.iter().filter(|name| all.contains_key(*name)).collect();
        names.extend(all.keys().filter(|name| !order.contains(name)));
        let columns: Vec<Field> =
            names.into_iter().filter_map(|name| Some(Field::new(name, column_type(all.get(name)?), true))).collect();
        key.retain(|name| all.contains_key(name));
        let is_text = |it: &FieldMapping| matches!(it.kind.as_deref(), Some("text" | "match_only_text") | None);
        let unsorted = all.iter().filter(|(_, it)| is_text(it)).map(|(name, _)| name.clone()).collect();
        Self { schema: Arc::new(Schema::new(columns)), key, unsorted }
    }

    fn names(&self) -> String {
        self.schema.fields().iter().map(|field| format!("`{}`", field.name())).collect::<Vec<_>>().join(", ")
    }

    fn has(&self, name: &str) -> bool {
        self.schema.column_with_name(name).is_some()
    }
}

fn column_type(field: &FieldMapping) -> DataType {
    match field.kind.as_deref() {
        Some("double" | "float" | "half_float" | "scaled_float") => DataType::Float64,
        Some("long" | "integer" | "short" | "byte") => DataType::Int64,
        Some("boolean") => DataType::Boolean,
        Some("date") if field.format.as_deref() == Some("strict_date") => DataType::Date32,
        Some("date" | "date_nanos") => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => DataType::Utf8,
    }
}

/// The query without what changes from page to page.
fn body(query: &SearchQuery, fields: &Fields) -> Result<Value> {
    let wrong = |parameter: &str, reason: String| Error::parameter("search", parameter, reason);
    let needs = |field: &str, parameter: &str| match fields.has(field) {
        true => Ok(()),
        false => Err(wrong(parameter, format!("the documents have no field `{field}`; there are {}", fields.names()))),
    };
    let mut filter = Vec::new();
    for (field, values, what) in [("symbol", &query.symbols, "symbol"), ("interval", &query.intervals, "interval")] {
        if !values.is_empty() {
            needs(field, what)?;
            filter.push(json!({"terms": {field: values}}));
        }
    }
    if query.from.is_some() || query.before.is_some() {
        let time = TIMES.into_iter().find(|time| fields.has(time));
        let time = time.ok_or_else(|| {
            wrong(
                "time",
                format!("the documents have none of the fields `{}`; there are {}", TIMES.join("`, `"), fields.names()),
            )
        })?;
        let mut range = Map::new();
        let mut bound = |which: &str, at: Option<DateTime<Utc>>| {
            if let Some(at) = at {
                range.insert(which.into(), at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into());
            }
        };
        bound("gte", query.from);
        bound("lt", query.before);
        range.insert("format".into(), "strict_date_optional_time".into());
        filter.push(json!({"range": {time: range}}));
    }
    if let Some(text) = &query.text {
        filter.push(json!({"query_string": {"query": text, "default_operator": "AND", "lenient": true}}));
    }
    let mut sort: Vec<Value> = Vec::new();
    for SortBy { field, descending } in &query.sort {
        needs(field, "sort")?;
        if fields.unsorted.contains(field) {
            let reason = format!("rows cannot be sorted by `{field}`, which is a text or an object");
            return Err(wrong("sort", reason));
        }
        sort.push(json!({field: {"order": if *descending { "desc" } else { "asc" }}}));
    }
    let rest = fields.key.iter().filter(|key| !query.sort.iter().any(|it| it.field == **key));
    sort.extend(rest.filter(|key| !fields.unsorted.contains(key)).map(|key| json!({key: {"order": "asc"}})));
    // The key makes the order whole: no two documents stand at the same place. Without one the server's own place does.
    if fields.key.is_empty() || fields.key.iter().any(|key| fields.unsorted.contains(key)) {
        sort.push(json!({"_shard_doc": {"order": "asc"}}));
    }
    Ok(json!({"query": {"bool": {"filter": filter}}, "sort": sort, "track_total_hits": false}))
}

/// A state of the indices that the server keeps for us.
#[derive(Debug)]
struct PointInTime {
    id: String,
    is_opensearch: bool,
}

#[derive(Debug, Deserialize)]
struct Opened {
    #[serde(alias = "pit_id")]
    id: String,
}

impl PointInTime {
    async fn open(client: &Client, info: &Info, index: &str) -> std::result::Result<Self, Failure> {
        let is_opensearch = info.is_opensearch;
        let path = if is_opensearch { "_search/point_in_time" } else { "_pit" };
        let opened: Opened = client.ask(Method::POST, &format!("{index}/{path}?keep_alive={KEEP_ALIVE}"), None).await?;
        Ok(Self { id: opened.id, is_opensearch })
    }

    async fn close(&self, client: &Client) {
        let (path, body) = match self.is_opensearch {
            true => ("_search/point_in_time", json!({"pit_id": [self.id]})),
            false => ("_pit", json!({"id": self.id})),
        };
        if let Err(failure) = client.tell(Method::DELETE, path, Some(&body)).await {
            tracing::debug!(%failure, "a point in time could not be closed; it ends by itself after {KEEP_ALIVE}");
        }
    }
}

/// The pages that are still to come.
struct Pages {
    client: Client,
    origin: Origin,
    fields: Fields,
    body: Value,
    pit: PointInTime,
    after: Option<Vec<Value>>,
    left: usize,
}

impl Pages {
    /// The next rows, and what comes behind them; `None` at the end.
    async fn next(mut self) -> Result<Option<(RecordBatch, Option<Self>)>> {
        let size = self.left.min(PAGE);
        if size == 0 {
            self.pit.close(&self.client).await;
            return Ok(None);
        }
        self.body["size"] = size.into();
        self.body["pit"] = json!({"id": self.pit.id, "keep_alive": KEEP_ALIVE});
        if let Some(after) = &self.after {
            self.body["search_after"] = Value::Array(after.clone());
        }
        let page: Page = match self.client.ask(Method::POST, "_search", Some(&self.body)).await {
            Ok(page) => page,
            Err(failure) => {
                self.pit.close(&self.client).await;
                return Err(match failure.is(StatusCode::BAD_REQUEST) {
                    true => Error::parameter("search", "query", failure.to_string()),
                    false => failure.at("search", &self.origin),
                });
            }
        };
        let hits = page.hits.hits;
        if let Some(id) = page.pit_id {
            self.pit.id = id;
        }
        let is_last = hits.len() < size;
        self.left -= hits.len().min(self.left);
        self.after = hits.last().map(|hit| hit.sort.clone());
        if is_last {
            self.pit.close(&self.client).await;
            if hits.is_empty() {
                return Ok(None);
            }
        }
        let batch = rows(&self.fields.schema, hits, &self.origin)?;
        Ok(Some((batch, (!is_last).then_some(self))))
    }
}

/// Documents as rows.
fn rows(schema: &SchemaRef, hits: Vec<Hit>, origin: &Origin) -> Result<RecordBatch> {
    let n = hits.len();
    if schema.fields().is_empty() {
        return Ok(RecordBatch::try_new_with_options(
            Arc::clone(schema),
            Vec::new(),
            &RecordBatchOptions::new().with_row_count(Some(n)),
        )?);
    }
    let (first, last) = (hits.first().map(|hit| hit.id.clone()), hits.last().map(|hit| hit.id.clone()));
    let documents: Vec<Map<String, Value>> = hits.into_iter().map(|hit| fitted(schema, hit.source)).collect();
    let decoded = || {
        let mut decoder =
            ReaderBuilder::new(Arc::clone(schema)).with_coerce_primitive(true).with_batch_size(n).build_decoder()?;
        decoder.serialize(&documents)?;
        decoder.flush()
    };
    let batch = decoded().map_err(|error| {
        let place = format!("documents `{}` to `{}`", first.unwrap_or_default(), last.unwrap_or_default());
        Error::refused(origin.clone(), ErrorClass::Data, format!("{place} cannot be read as rows: {error}"))
    })?;
    batch.ok_or_else(|| Error::internal("documents gave no rows"))
}

/// A document's values in the form in which they are read.
fn fitted(schema: &SchemaRef, mut source: Map<String, Value>) -> Map<String, Value> {
    let mut document = Map::new();
    for field in schema.fields() {
        let Some(value) = source.remove(field.name()) else { continue };
        let value = match (field.data_type(), value) {
            (_, Value::Null) => continue,
            (DataType::Utf8, Value::String(text)) => Value::String(text),
            (DataType::Utf8, other) => Value::String(other.to_string()),
            // The server counts times in ms.
            (DataType::Timestamp(..), Value::Number(ms)) => {
                let time = ms.as_i64().and_then(DateTime::from_timestamp_millis);
                time.map_or(Value::Null, |time| Value::String(time.to_rfc3339()))
            }
            (_, other) => other,
        };
        document.insert(field.name().clone(), value);
    }
    document
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;

    use super::*;

    fn fields(mapping: Value) -> Fields {
        Fields::of(serde_json::from_value(json!({"i": {"mappings": mapping}})).unwrap())
    }

    fn bars() -> Fields {
        fields(json!({
            "_meta": {"stockflow": {"key": ["symbol", "ts"], "columns": ["symbol", "ts", "close"]}},
            "properties": {
                "close": {"type": "double"}, "extra": {"properties": {}}, "symbol": {"type": "keyword"}, "ts": {"type": "date"},
            },
        }))
    }

    #[test]
    fn columns_stand_as_they_were_written() {
        let names: Vec<String> = bars().schema.fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["symbol", "ts", "close", "extra"]);
    }

    #[test]
    fn conditions_become_filters_and_the_key_makes_the_order_whole() {
        let query = SearchQuery {
            text: Some("close:>1".into()),
            symbols: vec!["A".into()],
            from: DateTime::from_timestamp(0, 0),
            sort: vec!["-close".parse().unwrap(), "ts".parse().unwrap()],
            ..SearchQuery::default()
        };
        let body = body(&query, &bars()).unwrap();
        assert_eq!(body["query"]["bool"]["filter"][0], json!({"terms": {"symbol": ["A"]}}));
        assert_eq!(body["query"]["bool"]["filter"][1]["range"]["ts"]["gte"], "1970-01-01T00:00:00.000Z");
        assert_eq!(
            body["sort"],
            json!([{"close": {"order": "desc"}}, {"ts": {"order": "asc"}}, {"symbol": {"order": "asc"}}])
        );
    }

    #[track_caller]
    fn check_refused(query: SearchQuery, wanted: &str) {
        let error = body(&query, &bars()).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Config);
        assert!(error.to_string().contains(wanted), "{error}");
    }

    #[test]
    fn fields_that_are_not_there_are_told() {
        check_refused(SearchQuery { intervals: vec!["1d".into()], ..SearchQuery::default() }, "no field `interval`");
        let sort = |by: &str| SearchQuery { sort: vec![by.parse().unwrap()], ..SearchQuery::default() };
        check_refused(sort("clos"), "there are `symbol`, `ts`, `close`, `extra`");
        check_refused(sort("extra"), "a text or an object");
        assert!("-".parse::<SortBy>().is_err());
    }

    #[test]
    fn documents_become_rows() {
        let fields = fields(json!({"properties": {
            "a": {"type": "keyword"}, "b": {"type": "date"}, "c": {"type": "date", "format": "strict_date"},
            "d": {"type": "double"}, "e": {"type": "long"}, "f": {"properties": {}}, "g": {"type": "boolean"},
        }}));
        let sources = [
            json!({"a": "x", "b": "2024-01-02T00:00:00.123456Z", "c": "2024-01-02", "d": 1.5, "e": 7, "f": {"g": [1]}, "g": true}),
            json!({"a": 3, "b": 86400000, "d": "2.5", "z": 1}),
        ];
        let hits =
            sources.map(|source| Hit { id: "1".into(), source: source.as_object().unwrap().clone(), sort: Vec::new() });
        let batch = rows(&fields.schema, hits.into(), &Origin::new("elasticsearch")).unwrap();
        let printed = pretty_format_batches(&[batch]).unwrap().to_string();
        let lines: Vec<String> =
            printed.lines().skip(3).take(2).map(|line| line.split_whitespace().collect::<String>()).collect();
        assert_eq!(
            lines,
            ["|x|2024-01-02T00:00:00.123456Z|2024-01-02|1.5|7|{\"g\":[1]}|true|", "|3|1970-01-02T00:00:00Z||2.5||||"]
        );
    }
}
