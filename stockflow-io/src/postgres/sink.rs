//! The sink: its settings, and the four steps of the contract.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::datasource::TableProvider;
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::{EpochRows, Fence, Idempotence, Sink, Staged, WriteMode, Written};
use stockflow_core::token::{EpochToken, Generation, SinkId};
use stockflow_core::{Error, ErrorClass, Result};
use tokio::sync::Mutex;

use super::attempt::{Attempt, Settings};
use super::commit::{Committed, commit};
use super::connection::{PostgresOptions, Session};
use super::layout::{Change, Layout, TableSettings};
use super::migrate::{fitted, own_tables, pending};
use super::name::{Located, TableName};
use super::origin::{Described, From};
use super::read::{Piece, PostgresTable};
use super::state::TableState;
use super::token::Ownership;

/// Writes a relation to a PostgreSQL table.
///
/// # Guarantees
///
/// Rows and the epoch's token become visible in one transaction, in which the fence is checked, too: whoever opened the table last
/// may commit, anyone else fails. A runner that is killed leaves nothing: what it staged goes with its session.
///
/// Of rows of one key the newer version counts, within an epoch and against the table. Other columns of the table are left alone.
///
/// # Errors
///
/// A column of another type is refused with the difference; a new one is added, older rows have NULL there. Rows that PostgreSQL
/// refuses for their values or by a constraint are refused rows.
///
/// # Example
///
/// ```
/// use stockflow_core::sink::{Sink, WriteMode};
/// use stockflow_io::postgres::{PostgresOptions, PostgresSink};
///
/// let options = PostgresOptions::parse("postgres://stockflow@localhost/market?sslmode=disable")?;
/// let bars = PostgresSink::new(options, "bars")?.with_monthly_partitions();
/// assert_eq!(bars.write_mode(), WriteMode::Merge);
/// # Ok::<(), stockflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct PostgresSink {
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    opened: Option<Ownership>,
    /// A session that nothing is staged in.
    idle: Option<Session>,
}

impl PostgresSink {
    /// A sink for `TABLE` or `SCHEMA.TABLE`, which is made if it is not there: rows are merged by the relation's key.
    ///
    /// # Errors
    ///
    /// Class config: a name that PostgreSQL does not take.
    pub fn new(options: PostgresOptions, table: &str) -> Result<Self> {
        let settings = Settings {
            options,
            name: TableName::parse(table)?,
            mode: WriteMode::Merge,
            table: TableSettings::default(),
            create: true,
            lossy: false,
        };
        Ok(Self { settings, state: Mutex::default() })
    }

    /// What a commit does to the rows that are there; by default rows are merged by key, and those without a key appended.
    #[must_use]
    pub fn with_mode(mut self, mode: WriteMode) -> Self {
        self.settings.mode = mode;
        self
    }

    /// For dead letters: rows are only ever appended, and a text gets the sign U+2400 for a NUL, which PostgreSQL cannot hold.
    #[must_use]
    pub fn for_dead_letters(mut self) -> Self {
        self.settings.mode = WriteMode::Append;
        self.settings.lossy = true;
        self
    }

    /// Writes columns of the relation under other names: table column and relation column.
    #[must_use]
    pub fn with_columns<S: Into<String>>(mut self, renamed: impl IntoIterator<Item = (S, S)>) -> Self {
        self.settings.table.renamed = renamed.into_iter().map(|(to, from)| (to.into(), from.into())).collect();
        self
    }

    /// Writes daily bars as the table `stocks`: `ticker, date, open, high, low, close, adj_close, volume, as_of`, named by ticker
    /// and date, with an index by each. A bar of another interval is a refused row.
    #[must_use]
    pub fn with_stocks_layout(mut self) -> Self {
        self.settings.table.stocks = true;
        self
    }

    /// Partitions a new table by the month of the time in its key, and makes partitions as they are needed.
    #[must_use]
    pub fn with_monthly_partitions(mut self) -> Self {
        self.settings.table.partition_by_month = true;
        self
    }

    /// Columns of the table by which a new one gets an index each, besides its key.
    #[must_use]
    pub fn with_indexes<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.settings.table.indexes = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Whether tables and columns that are missing are made; by default they are.
    #[must_use]
    pub fn with_create(mut self, create: bool) -> Self {
        self.settings.create = create;
        self
    }

    /// What must be done to the database before rows of the relation can be written, and does it if told so. Without a relation only
    /// our own tables are looked at.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] for a table that does not fit and cannot be made to; what the server says.
    pub async fn migrate(&self, relation: Option<&RelationSchema>, apply: bool) -> Result<Vec<Change>> {
        let (settings, origin) = (&self.settings, self.settings.origin());
        let session = settings.options.connect().await.map_err(|fault| fault.at(&origin))?;
        let table = locate(&session, settings).await?;
        let layout = relation.map(|it| Layout::new(it, &settings.table, settings.merges(it))).transpose()?;
        let changes = pending(&session, &table, layout.as_ref(), &origin).await?;
        if apply {
            own_tables(&session, &table.schema, true, &origin).await?;
            if let (Some(layout), Some(relation)) = (&layout, relation) {
                fitted(&session, &table, layout, relation, true, &origin).await?;
            }
        }
        Ok(changes)
    }

    /// What the table holds now, for queries; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn read(&self) -> Result<Option<Arc<dyn TableProvider>>> {
        let (settings, origin) = (&self.settings, self.settings.origin());
        let session = settings.options.connect().await.map_err(|fault| fault.at(&origin))?;
        let table = locate(&session, settings).await?;
        let there = TableState::load(&session, &table).await.map_err(|fault| fault.at("look up the table", &origin))?;
        if there.is_none() {
            return Ok(None);
        }
        let from = From::Table(TableName { schema: Some(table.schema), table: table.table });
        let described = Described::ask(&session, &from, &origin).await?;
        let pieces = vec![Piece { from: from.sql(), condition: None }];
        Ok(Some(Arc::new(PostgresTable::new(settings.options.clone(), origin, described, pieces))))
    }

    async fn session(&self, state: &mut State) -> Result<Session> {
        match state.idle.take().filter(|session| !session.is_closed()) {
            Some(session) => Ok(session),
            None => self.settings.options.connect().await.map_err(|fault| fault.at(&self.settings.origin())),
        }
    }
}

/// The table with its schema: that of its name, or the user's first.
pub(super) async fn locate(session: &Session, settings: &Settings) -> Result<Located> {
    let origin = settings.origin();
    let table = settings.name.table.clone();
    if let Some(schema) = &settings.name.schema {
        return Ok(Located { schema: schema.clone(), table });
    }
    let row = session
        .query_opt("SELECT current_schema()::text", &[])
        .await
        .map_err(|fault| fault.at("look up the schema", &origin))?;
    let schema: Option<String> = row.and_then(|row| row.get(0));
    let reason = "the user's search_path names no schema that is there; write the table as SCHEMA.TABLE";
    let schema = schema.ok_or_else(|| Error::refused(origin, ErrorClass::Config, reason))?;
    Ok(Located { schema, table })
}

fn not_open() -> Error {
    Error::internal("a PostgreSQL sink was used before it was opened")
}

/// A number that no other handle has.
fn nonce() -> i64 {
    uuid::Uuid::new_v4().as_u64_pair().0.cast_signed()
}

#[async_trait]
impl Sink for PostgresSink {
    async fn open(&self, sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>> {
        let mut state = self.state.lock().await;
        let origin = self.settings.origin();
        let session = self.session(&mut state).await?;
        let table = locate(&session, &self.settings).await?;
        own_tables(&session, &table.schema, self.settings.create, &origin).await?;
        let before =
            state.opened.as_ref().filter(|it| it.sink == *sink && it.generation == generation && it.table == table);
        let (again, owner) = (before.is_some(), before.map_or_else(nonce, |before| before.owner));
        let ownership = Ownership { sink: sink.clone(), generation, owner, table };
        let token = ownership.take(&session, again, &origin).await?;
        *state = State { opened: Some(ownership), idle: Some(session) };
        Ok(token)
    }

    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        let mut state = self.state.lock().await;
        let owner = state.opened.clone().ok_or_else(not_open)?;
        let session = self.session(&mut state).await?;
        drop(state);
        let mut attempt = Attempt::write(&self.settings, &owner, session, epoch, rows).await?;
        let mut staged = Staged::new(*epoch, attempt.rows, ());
        staged.refused = std::mem::take(&mut attempt.refused);
        staged.payload = Box::new(attempt);
        Ok(staged)
    }

    async fn commit(&self, staged: Staged) -> Result<Written> {
        let token = staged.token;
        let attempt: Attempt = staged.into_payload()?;
        let committed = commit(&self.settings, &token, &attempt).await?;
        let location = format!("{}/{}", self.settings.options, attempt.owner.table);
        let bytes = Some(attempt.bytes);
        // The epoch is safe: what is left goes with the session, if not by hand.
        let session = attempt.discard(&self.settings).await.ok();
        self.state.lock().await.idle = session;
        Ok(match committed {
            Committed::Visible(rows) => Written { rows, bytes, location, refused: Vec::new() },
            Committed::Refused(refused) => Written { refused, location, ..Written::default() },
        })
    }

    async fn abort(&self, staged: Staged) -> Result<()> {
        let attempt: Attempt = staged.into_payload()?;
        // Without its session nothing is left of it either.
        let session = attempt.discard(&self.settings).await.ok();
        self.state.lock().await.idle = session;
        Ok(())
    }

    fn idempotence(&self) -> Idempotence {
        Idempotence::Transactional
    }

    fn write_mode(&self) -> WriteMode {
        self.settings.mode
    }

    fn fence(&self) -> Fence {
        Fence::Atomic
    }

    fn definition(&self) -> serde_json::Value {
        let Settings { options, name, mode, table, .. } = &self.settings;
        let mode = match mode {
            WriteMode::Append => "append",
            WriteMode::Merge => "merge",
            WriteMode::Overwrite => "overwrite",
        };
        let mut definition = serde_json::json!({
            "type": "postgres", "url": options.to_string(), "table": name.to_string(), "mode": mode,
        });
        if !table.renamed.is_empty() {
            definition["columns"] = table
                .renamed
                .iter()
                .map(|(to, from)| (to.clone(), from.clone().into()))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        if table.stocks {
            definition["layout"] = "stocks".into();
        }
        definition
    }
}
