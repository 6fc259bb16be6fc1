//! Tables and what becomes of them: versioned steps, each recorded in `stockflow_migrations`.
//!
//! There are two kinds. Our own tables have fixed steps, numbered from 1 ([`OWN`]). The table of a relation has steps that are
//! derived: what it is like is compared with what the relation needs, and each difference is the next step.
//! A step is done and recorded in one transaction, under a lock, so that two runners that start at once do it once.

use stockflow_core::relation::RelationSchema;
use stockflow_core::{Error, ErrorClass, Origin, Result};

use super::connection::Session;
use super::error::Fault;
use super::layout::{Change, FitColumn, Layout};
use super::name::{Located, text};
use super::state::TableState;

/// The table that says which steps were done.
pub(super) const MIGRATIONS: &str = "stockflow_migrations";

/// The table of tokens and fences.
pub(super) const TOKENS: &str = "stockflow_tokens";

/// Our own steps: name and SQL, in which `{schema}` stands for the schema.
const OWN: [(&str, &str); 1] = [(
    "create table stockflow_tokens",
    "CREATE TABLE {schema}.stockflow_tokens (
    sink text NOT NULL,
    table_name text NOT NULL,
    generation bigint NOT NULL,
    owner bigint NOT NULL,
    epoch bigint,
    hash bigint,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sink, table_name)
)",
)];

/// The scope of our own steps.
const OWN_SCOPE: &str = "stockflow";

/// The key of the advisory lock under which tables are changed: the first bytes of the SHA-256 of `stockflow`.
const LOCK: i64 = 0x2b32_add2_58a2_e7a0;

/// Our own steps that have not been done.
///
/// # Errors
///
/// Class config, if a newer stockflow has done steps that this one does not know.
async fn missing(session: &Session, schema: &str, origin: &Origin) -> Result<Vec<Change>> {
    let at = |fault: Fault| fault.at("look up its own tables", origin);
    let table = Located { schema: schema.to_owned(), table: MIGRATIONS.into() };
    let done = match TableState::load(session, &table).await.map_err(at)? {
        None => 0,
        Some(_) => {
            let sql = format!("SELECT coalesce(max(version), 0) FROM {} WHERE scope = $1", table.sql());
            let row = session.query_opt(&sql, &[&OWN_SCOPE]).await.map_err(at)?;
            row.map_or(0, |row| row.get::<_, i32>(0))
        }
    };
    let done = usize::try_from(done).unwrap_or_default();
    let Some(steps) = OWN.get(done..) else {
        let reason = format!(
            "the schema `{schema}` was made by a newer stockflow: its tables are of version {done}, and this one knows {}; update stockflow",
            OWN.len()
        );
        return Err(Error::refused(origin.clone(), ErrorClass::Config, reason));
    };
    let quoted = super::name::quoted(schema);
    Ok(steps
        .iter()
        .map(|(name, sql)| Change { name: (*name).to_owned(), sql: sql.replace("{schema}", &quoted) })
        .collect())
}

/// The table of steps itself.
fn steps_table(table: &Located) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (
    scope text NOT NULL,
    version integer NOT NULL,
    name text NOT NULL,
    sql text NOT NULL,
    done_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, version)
)",
        table.sql()
    )
}

/// Does steps and records them, within a transaction that holds the lock.
async fn perform(session: &Session, schema: &str, scope: &str, changes: &[Change]) -> std::result::Result<(), Fault> {
    let table = Located { schema: schema.to_owned(), table: MIGRATIONS.into() };
    session.batch(&steps_table(&table)).await?;
    for change in changes {
        let record = format!(
            "INSERT INTO {0} (scope, version, name, sql) SELECT {1}, coalesce(max(version), 0) + 1, {2}, {3} FROM {0} WHERE scope = {1}",
            table.sql(),
            text(scope),
            text(&change.name),
            text(&change.sql)
        );
        session.batch(&format!("{};\n{record}", change.sql)).await?;
        tracing::info!(step = change.name, "database migration");
    }
    Ok(())
}

/// Begins a transaction that holds the lock.
pub(super) async fn lock(session: &Session) -> std::result::Result<(), Fault> {
    session.batch(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})")).await
}

/// Ends a transaction: commits what went well, rolls back what did not.
pub(super) async fn end<T>(session: &Session, outcome: Result<T>, origin: &Origin) -> Result<T> {
    match outcome {
        Ok(done) => {
            session.batch("COMMIT").await.map_err(|fault| fault.at("commit", origin))?;
            Ok(done)
        }
        Err(error) => {
            // The error at hand says more than one of the rollback would; a lost connection rolls back by itself.
            let _ = session.batch("ROLLBACK").await;
            Err(error)
        }
    }
}

/// Makes sure that our own tables are there.
///
/// # Errors
///
/// Class config, if they are not and may not be made.
pub(super) async fn own_tables(session: &Session, schema: &str, create: bool, origin: &Origin) -> Result<()> {
    let steps = missing(session, schema, origin).await?;
    if steps.is_empty() {
        return Ok(());
    }
    if !create {
        return Err(not_allowed(&steps, origin));
    }
    lock(session).await.map_err(|fault| fault.at("lock", origin))?;
    let outcome = async {
        // Somebody else may have been faster.
        let steps = missing(session, schema, origin).await?;
        perform(session, schema, OWN_SCOPE, &steps).await.map_err(|fault| fault.at("make its own tables", origin))
    };
    let outcome = outcome.await;
    end(session, outcome, origin).await
}

fn not_allowed(steps: &[Change], origin: &Origin) -> Error {
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    let reason = format!(
        "the database is not as it must be: {}; run `stockflow db migrate`, or set `create = true`",
        names.join(", ")
    );
    Error::refused(origin.clone(), ErrorClass::Config, reason)
}

/// Our own steps that have not been done, and those of a relation's table.
pub(super) async fn pending(
    session: &Session,
    table: &Located,
    layout: Option<&Layout>,
    origin: &Origin,
) -> Result<Vec<Change>> {
    let mut steps = missing(session, &table.schema, origin).await?;
    if let Some(layout) = layout {
        let state = load(session, table, origin).await?;
        steps.extend(layout.changes(table, state.as_ref())?);
    }
    Ok(steps)
}

async fn load(session: &Session, table: &Located, origin: &Origin) -> Result<Option<TableState>> {
    TableState::load(session, table).await.map_err(|fault| fault.at("look up the table", origin))
}

/// Makes a table fit a relation, and says how the rows go in.
///
/// # Errors
///
/// [`Error::Schema`] with the differences; class config, if it must change and may not.
pub(super) async fn fitted(
    session: &Session,
    table: &Located,
    layout: &Layout,
    relation: &RelationSchema,
    create: bool,
    origin: &Origin,
) -> Result<Vec<FitColumn>> {
    let state = load(session, table, origin).await?;
    let steps = layout.changes(table, state.as_ref())?;
    if let (true, Some(state)) = (steps.is_empty(), &state) {
        return layout.fit(relation, table, state);
    }
    if !create {
        return Err(not_allowed(&steps, origin));
    }
    lock(session).await.map_err(|fault| fault.at("lock", origin))?;
    let outcome = async {
        let state = load(session, table, origin).await?;
        let steps = layout.changes(table, state.as_ref())?;
        let done = perform(session, &table.schema, &table.table, &steps).await;
        done.map_err(|fault| fault.at("change the table", origin))?;
        match load(session, table, origin).await? {
            Some(state) => layout.fit(relation, table, &state),
            None => Err(Error::internal(format!("the table {table} was made and is not there"))),
        }
    };
    let outcome = outcome.await;
    end(session, outcome, origin).await
}
