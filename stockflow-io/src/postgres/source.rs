//! The source: its settings, and how far an epoch reaches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use async_trait::async_trait;
use datafusion::datasource::TableProvider;
use serde::{Deserialize, Serialize};
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::relation::RelationSchema;
use stockflow_core::source::{EpochLimit, EpochPlan, ReachedAll, Replay, Scan, Source};
use stockflow_core::{Error, ErrorClass, Origin, Result};

use super::connection::{PostgresOptions, Session};
use super::error::Fault;
use super::name::{TableName, quoted, text};
use super::origin::{Described, From, ReadColumn};
use super::read::{Piece, PostgresTable};
use super::types::Wire;

/// How many rows an epoch takes unless the pipeline says otherwise.
const ROWS_PER_EPOCH: u64 = 10_000_000;

/// Reads a table, or what a query gives.
///
/// # Partitions and positions
///
/// With a cursor, a column that only grows from row to row, an epoch takes the rows above the last position up to the highest value
/// there is; the position is that value. The whole is one partition, or each value of another column is one
/// ([`PostgresSource::with_partition_by`]). Without a cursor everything is read each time, and nothing is new while nobody writes to
/// the database; the position is the server's snapshot.
///
/// # Guarantees
///
/// Rows below a cursor may still change or appear in open transactions, so the engine keeps what it has read
/// ([`Replay::BestEffort`]), unless they are declared immutable. What is committed with a cursor at or below a position that has been
/// read is missed: `with_lag` leaves the newest rows for later.
///
/// # Errors
///
/// A column of a type without a counterpart in Arrow; `query` may leave it out or cast it.
///
/// # Example
///
/// ```
/// use stockflow_io::postgres::{PostgresOptions, PostgresSource};
///
/// let options = PostgresOptions::parse("postgres://stockflow@localhost/market?sslmode=disable")?;
/// let bars = PostgresSource::table(options, "bars")?.with_cursor("as_of").with_key(["symbol", "interval", "ts"]);
/// # Ok::<(), stockflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct PostgresSource {
    options: PostgresOptions,
    from: From,
    relation: String,
    key: Vec<String>,
    version: Option<String>,
    cursor: Option<String>,
    partition_by: Option<String>,
    immutable: bool,
    lag: Duration,
    connections: usize,
}

/// What an epoch reads: the pins of its plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Pins {
    /// Everything.
    Everything,
    /// Rows whose cursor is above `after` and not above `upto`; cut at `cuts`, to be read side by side.
    Range { after: Option<String>, upto: String, cuts: Vec<String> },
    /// The same for each value of another column.
    Ranges(BTreeMap<String, (Option<String>, String)>),
}

impl PostgresSource {
    fn new(options: PostgresOptions, from: From, relation: String) -> Self {
        Self {
            options,
            from,
            relation,
            key: Vec::new(),
            version: None,
            cursor: None,
            partition_by: None,
            immutable: false,
            lag: Duration::ZERO,
            connections: 2,
        }
    }

    /// Reads `TABLE` or `SCHEMA.TABLE`, or a view; the relation has the table's name.
    ///
    /// # Errors
    ///
    /// Class config: a name that PostgreSQL does not take.
    pub fn table(options: PostgresOptions, table: &str) -> Result<Self> {
        let name = TableName::parse(table)?;
        let relation = name.table.clone();
        Ok(Self::new(options, From::Table(name), relation))
    }

    /// Reads what a query gives; the relation is called `input`.
    pub fn query(options: PostgresOptions, query: impl Into<String>) -> Self {
        Self::new(options, From::Query(query.into()), "input".into())
    }

    /// Gives the relation another name.
    #[must_use]
    pub fn with_relation(mut self, name: impl Into<String>) -> Self {
        self.relation = name.into();
        self
    }

    /// The columns that name a row.
    #[must_use]
    pub fn with_key<S: Into<String>>(mut self, key: impl IntoIterator<Item = S>) -> Self {
        self.key = key.into_iter().map(Into::into).collect();
        self
    }

    /// The column that decides between two rows of one key.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The column that only grows, by which rows are read once. Rows with NULL there are never read.
    #[must_use]
    pub fn with_cursor(mut self, column: impl Into<String>) -> Self {
        self.cursor = Some(column.into());
        self
    }

    /// Each value of this column (a symbol) is a partition with a position of its own. Rows with NULL there are never read.
    #[must_use]
    pub fn with_partition_by(mut self, column: impl Into<String>) -> Self {
        self.partition_by = Some(column.into());
        self
    }

    /// Promises that a row never changes and that none appears below a cursor that was seen: then the plan gives the same rows
    /// each time.
    #[must_use]
    pub fn with_immutable_rows(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// Leaves rows for later whose cursor, a point in time, is younger than this: transactions that are still open may add to them.
    #[must_use]
    pub fn with_lag(mut self, lag: Duration) -> Self {
        self.lag = lag;
        self
    }

    /// Reads over this many connections side by side; by default two.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    fn place(&self) -> Origin {
        match &self.from {
            From::Table(name) => self.options.origin(&name.to_string()),
            From::Query(_) => self.options.origin("query"),
        }
    }

    async fn described(&self, session: &Session) -> Result<Described> {
        let described = Described::ask(session, &self.from, &self.place()).await?;
        let columns = [("cursor", &self.cursor), ("partition_by", &self.partition_by), ("version", &self.version)];
        for (setting, column) in columns {
            if let Some(column) = column {
                described.column(column, setting)?;
            }
        }
        for column in &self.key {
            described.column(column, "key")?;
        }
        Ok(described)
    }

    async fn session(&self) -> Result<Session> {
        self.options.connect().await.map_err(|fault| fault.at(&self.place()))
    }

    /// The condition that leaves the newest rows for later.
    fn settled(&self, cursor: &ReadColumn) -> Result<Option<String>> {
        if self.lag.is_zero() {
            return Ok(None);
        }
        let now = match cursor.wire {
            Wire::Timestamptz => "now()",
            Wire::Timestamp => "(now() AT TIME ZONE 'UTC')",
            _ => {
                return Err(Error::parameter("postgres", "lag", format!("`{}` is no point in time", cursor.name)));
            }
        };
        Ok(Some(format!("{} <= {now} - INTERVAL '{} milliseconds'", of(cursor), self.lag.as_millis())))
    }

    /// How far the one partition reaches.
    async fn range(
        &self,
        session: &Session,
        cursor: &ReadColumn,
        after: Option<&str>,
        limit: &EpochLimit,
    ) -> Result<Option<(Pins, String)>> {
        let at = |fault: Fault| fault.at("look for new rows", &self.place());
        let partition = self.relation.as_str();
        let upto = limit.upto.as_ref().and_then(|upto| upto.get(partition));
        let mut conditions = vec![format!("{} IS NOT NULL", of(cursor))];
        conditions.extend(after.map(|after| format!("{} > {}", of(cursor), literal(after, cursor))));
        conditions.extend(upto.map(|upto| format!("{} <= {}", of(cursor), literal(upto, cursor))));
        conditions.extend(self.settled(cursor)?);
        let new = format!("FROM {} WHERE {}", self.from.sql(), conditions.join(" AND "));
        let mut highest: Option<String> = None;
        if let Some(rows) = limit.max_rows.filter(|_| !limit.everything) {
            let sql =
                format!("SELECT {0}::text {new} ORDER BY {0} LIMIT 1 OFFSET {1}", of(cursor), rows.saturating_sub(1));
            highest = session.query_opt(&sql, &[]).await.map_err(at)?.map(|row| row.get(0));
        }
        if highest.is_none() {
            let sql = format!("SELECT max({})::text {new}", of(cursor));
            highest = session.query_opt(&sql, &[]).await.map_err(at)?.and_then(|row| row.get(0));
        }
        let Some(upto) = highest else { return Ok(None) };
        let cuts = self.cuts(session, cursor, after, &upto).await?;
        Ok(Some((Pins::Range { after: after.map(str::to_owned), upto: upto.clone(), cuts }, upto)))
    }

    /// Where a range is cut to be read side by side: into equal widths, for cursors that are numbers or times.
    async fn cuts(
        &self,
        session: &Session,
        cursor: &ReadColumn,
        after: Option<&str>,
        upto: &str,
    ) -> Result<Vec<String>> {
        let is_even = matches!(cursor.wire, Wire::Int2 | Wire::Int4 | Wire::Int8 | Wire::Timestamp | Wire::Timestamptz);
        if self.connections < 2 || !is_even {
            return Ok(Vec::new());
        }
        let low = match after {
            Some(after) => literal(after, cursor),
            None => format!("(SELECT min({}) FROM {})", of(cursor), self.from.sql()),
        };
        // The width as a number, so that the product of two large integers does not overflow.
        let step = match cursor.wire {
            Wire::Timestamp | Wire::Timestamptz => "(high - low) * (i::float8 / n)".to_owned(),
            _ => format!("trunc((high::numeric - low::numeric) * i / n)::{}", cursor.sql_type),
        };
        let sql = format!(
            "SELECT DISTINCT low + {step}, (low + {step})::text FROM (SELECT {low} AS low, {} AS high, {} AS n) b, \
             generate_series(1, n - 1) i WHERE high > low ORDER BY 1",
            literal(upto, cursor),
            self.connections
        );
        let rows = session.query(&sql, &[]).await.map_err(|fault| fault.at("cut the range", &self.place()))?;
        Ok(rows.iter().map(|row| row.get(1)).collect())
    }

    /// How far each partition reaches.
    async fn ranges(
        &self,
        session: &Session,
        cursor: &ReadColumn,
        by: &ReadColumn,
        from: &Checkpoint,
        limit: &EpochLimit,
    ) -> Result<BTreeMap<String, (Option<String>, String)>> {
        let at = |fault: Fault| fault.at("look for new rows", &self.place());
        let start = Checkpoint::new();
        let from = if limit.everything { &start } else { from };
        let (names, positions): (Vec<&str>, Vec<&str>) = from.iter().unzip();
        let skip: Vec<&str> = limit.skip.iter().map(String::as_str).collect();
        let settled = self.settled(cursor)?.map(|it| format!(" AND {it}")).unwrap_or_default();
        let most = limit.max_partitions.map(|most| format!(" LIMIT {most}")).unwrap_or_default();
        let sql = format!(
            "SELECT x.k, p.low, x.high::text FROM \
             (SELECT s.{by}::text AS k, max({cursor}) AS high FROM {from} WHERE s.{by} IS NOT NULL AND {cursor} IS NOT NULL{settled} GROUP BY 1) x \
             LEFT JOIN unnest($1::text[], $2::text[]) AS p(k, low) ON p.k = x.k \
             WHERE (p.low IS NULL OR x.high > p.low::{kind}) AND NOT x.k = ANY ($3::text[]) ORDER BY x.k COLLATE \"C\"{most}",
            by = quoted(&by.name),
            cursor = of(cursor),
            from = self.from.sql(),
            kind = cursor.sql_type,
        );
        let rows = session.query(&sql, &[&names, &positions, &skip]).await.map_err(at)?;
        Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
    }

    fn pieces(&self, pins: &Pins, described: &Described) -> Result<Vec<Piece>> {
        let from = self.from.sql();
        let cursor = || match &self.cursor {
            Some(cursor) => described.column(cursor, "cursor"),
            None => Err(Error::internal("a plan of a PostgreSQL source has a range, and the source no cursor")),
        };
        Ok(match pins {
            Pins::Everything => vec![Piece { from, condition: None }],
            Pins::Range { after, upto, cuts } => {
                let cursor = cursor()?;
                let ends = cuts.iter().chain([upto]);
                let starts = std::iter::once(after.as_ref()).chain(cuts.iter().map(Some));
                let between = |(start, end): (Option<&String>, &String)| {
                    let end = format!("{} <= {}", of(cursor), literal(end, cursor));
                    let condition = match start {
                        Some(start) => format!("{} > {} AND {end}", of(cursor), literal(start, cursor)),
                        None => end,
                    };
                    Piece { from: from.clone(), condition: Some(condition) }
                };
                starts.zip(ends).map(between).collect()
            }
            Pins::Ranges(ranges) => {
                let cursor = cursor()?;
                let by = described.column(self.partition_by.as_deref().unwrap_or_default(), "partition_by")?;
                let mut pieces = vec![Vec::new(); self.connections.min(ranges.len()).max(1)];
                let count = pieces.len();
                for (idx, (name, (after, upto))) in ranges.iter().enumerate() {
                    let low = after
                        .as_ref()
                        .map_or_else(|| format!("NULL::{}", cursor.sql_type), |after| literal(after, cursor));
                    let row = format!("({}, {low}, {})", literal(name, by), literal(upto, cursor));
                    pieces.iter_mut().skip(idx % count).take(1).for_each(|rows| rows.push(row.clone()));
                }
                let piece = |rows: Vec<String>| Piece {
                    from: format!(
                        "{from} JOIN (VALUES {}) AS p(k, low, high) ON s.{} = p.k",
                        rows.join(", "),
                        quoted(&by.name)
                    ),
                    condition: Some(format!("(p.low IS NULL OR {0} > p.low) AND {0} <= p.high", of(cursor))),
                };
                pieces.into_iter().filter(|rows| !rows.is_empty()).map(piece).collect()
            }
        })
    }
}

/// The column in SQL.
fn of(column: &ReadColumn) -> String {
    format!("s.{}", quoted(&column.name))
}

/// A value of the column's type, out of its text.
fn literal(value: &str, column: &ReadColumn) -> String {
    format!("{}::{}", text(value), column.sql_type)
}

#[async_trait]
impl Source for PostgresSource {
    fn relations(&self) -> Vec<RelationSchema> {
        let relation = RelationSchema::new(&self.relation, Arc::new(Schema::empty())).with_key(self.key.clone());
        vec![match &self.version {
            Some(version) => relation.with_version(version),
            None => relation,
        }]
    }

    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        let session = self.session().await?;
        let described = self.described(&session).await?;
        let plan = |upto: Checkpoint, pins: &Pins| -> Result<Option<EpochPlan>> {
            let pins = serde_json::to_value(pins).map_err(|error| Error::internal(error.to_string()))?;
            Ok(Some(EpochPlan { from: from.clone(), upto, pins, rows: None, window: limit.window.clone() }))
        };
        let partition = self.relation.as_str();
        let Some(cursor) = &self.cursor else {
            if self.partition_by.is_some() {
                return Err(Error::parameter("postgres", "partition_by", "it needs a `cursor`"));
            }
            if limit.skip.contains(partition) {
                return Ok(None);
            }
            let row = session.query_opt("SELECT pg_current_snapshot()::text", &[]).await;
            let row = row.map_err(|fault| fault.at("look for new rows", &self.place()))?;
            let now: String = row.map(|row| row.get(0)).unwrap_or_default();
            if from.get(partition) == Some(now.as_str()) && !limit.everything {
                return Ok(None);
            }
            return plan(from.clone().with(partition, now), &Pins::Everything);
        };
        let cursor = described.column(cursor, "cursor")?;
        if let Some(by) = &self.partition_by {
            let by = described.column(by, "partition_by")?;
            let ranges = self.ranges(&session, cursor, by, from, limit).await?;
            if ranges.is_empty() {
                return Ok(None);
            }
            let mut upto = from.clone();
            for (name, (_, position)) in &ranges {
                upto.set(name, position);
            }
            return plan(upto, &Pins::Ranges(ranges));
        }
        if limit.skip.contains(partition) {
            return Ok(None);
        }
        let after = from.get(partition).filter(|_| !limit.everything);
        match self.range(&session, cursor, after, limit).await? {
            Some((pins, upto)) => plan(from.clone().with(partition, upto), &pins),
            None => Ok(None),
        }
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        let session = self.session().await?;
        let described = self.described(&session).await?;
        let pins: Pins = serde_json::from_value(plan.pins.clone()).map_err(|error| {
            let reason = format!("the stored plan is not one of this source: {error}; run with `--rebuild`");
            Error::refused(self.place(), ErrorClass::Config, reason)
        })?;
        let pieces = self.pieces(&pins, &described)?;
        let table: Arc<dyn TableProvider> =
            Arc::new(PostgresTable::new(self.options.clone(), self.place(), described, pieces));
        Ok(Scan {
            relations: BTreeMap::from([(self.relation.clone(), table)]),
            end: Arc::new(ReachedAll(plan.upto.clone())),
        })
    }

    async fn commit(&self, _upto: &Checkpoint) -> Result<()> {
        Ok(())
    }

    fn replay(&self) -> Replay {
        if self.immutable && self.cursor.is_some() { Replay::Exact } else { Replay::BestEffort }
    }

    fn rows_per_epoch(&self) -> Option<u64> {
        (self.cursor.is_some() && self.partition_by.is_none()).then_some(ROWS_PER_EPOCH)
    }

    fn definition(&self) -> serde_json::Value {
        let from = match &self.from {
            From::Table(name) => name.to_string(),
            From::Query(query) => query.clone(),
        };
        serde_json::json!({
            "type": "postgres", "url": self.options.to_string(), "from": from, "relation": self.relation,
            "cursor": self.cursor, "partition_by": self.partition_by,
        })
    }
}
