//! The commit: fence, rows and token in one transaction.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use stockflow_core::sink::{RefusedRow, WriteMode};
use stockflow_core::telemetry::WRITTEN;
use stockflow_core::token::EpochToken;
use stockflow_core::{Error, ErrorClass, Origin, Result};
use tokio_postgres::error::SqlState;

use super::attempt::{Attempt, Settings};
use super::decode::{Decoder, Raw};
use super::error::{Fault, reason};
use super::migrate::end;
use super::name::{list, quoted};
use super::stage::STAGE;

/// A page has at most this many rows, whatever its size.
const ROWS_PER_PAGE: u64 = 2048;

/// What a commit came to.
pub(super) enum Committed {
    /// The rows that became visible.
    Visible(u64),
    /// Nothing did: the server refuses these.
    Refused(Vec<RefusedRow>),
}

/// Which rows of the staging table go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All, each key once.
    Unique,
    /// All; of rows of one key the newest, of equal ones the later.
    All,
    /// Those at these places, of which the first is in and the last is out.
    Between(u64, u64),
}

/// Makes a staged epoch visible.
pub(super) async fn commit(settings: &Settings, token: &EpochToken, attempt: &Attempt) -> Result<Committed> {
    let (session, origin) = (&attempt.session, settings.origin());
    // What a table would check at its end only is checked with the rows, so that the one at fault can be told.
    session.batch("BEGIN; SET CONSTRAINTS ALL IMMEDIATE").await.map_err(|fault| fault.at("begin", &origin))?;
    match within(settings, token, attempt, &origin).await {
        Ok(Committed::Refused(rows)) => {
            session.batch("ROLLBACK").await.map_err(|fault| fault.at("roll back", &origin))?;
            Ok(Committed::Refused(rows))
        }
        outcome => end(session, outcome, &origin).await,
    }
}

async fn within(settings: &Settings, token: &EpochToken, attempt: &Attempt, origin: &Origin) -> Result<Committed> {
    let session = &attempt.session;
    let held = attempt.owner.check(session, origin).await?;
    if held.token == Some(*token) {
        return Ok(Committed::Visible(0));
    }
    if settings.mode == WriteMode::Overwrite {
        let sql = format!("DELETE FROM {}", attempt.owner.table.sql());
        session.batch(&sql).await.map_err(|fault| fault.at("empty the table", origin))?;
    }
    let committed = insert(attempt, origin).await?;
    if let Committed::Visible(_) = committed {
        attempt.owner.write(session, token, origin).await?;
        tracing::debug!(name: WRITTEN, table = %settings.name, epoch = token.epoch, "the transaction is committed next");
    }
    Ok(committed)
}

/// Moves the staged rows into the table.
async fn insert(attempt: &Attempt, origin: &Origin) -> Result<Committed> {
    let session = &attempt.session;
    let at = |fault: Fault| fault.at("merge rows", origin);
    session.batch("SAVEPOINT stockflow").await.map_err(at)?;
    let mut outcome = session.execute(&sql(attempt, Part::Unique), &[]).await;
    if outcome.as_ref().err().and_then(Fault::code) == Some(&SqlState::CARDINALITY_VIOLATION) {
        session.batch("ROLLBACK TO SAVEPOINT stockflow").await.map_err(at)?;
        outcome = session.execute(&sql(attempt, Part::All), &[]).await;
    }
    let fault = match outcome {
        Ok(rows) => return Ok(Committed::Visible(rows)),
        Err(fault) if fault.class() == ErrorClass::Data => fault,
        Err(fault) => return Err(at(fault)),
    };
    session.batch("ROLLBACK TO SAVEPOINT stockflow").await.map_err(at)?;
    if attempt.relation.key.is_empty() {
        // Such rows have no name by which they could be left out.
        let reason = format!(
            "{fault}; rows of the relation `{}` have no key, so the one at fault cannot be left out: drop the constraint, or give the relation a key",
            attempt.relation.name
        );
        return Err(Error::refused(origin.clone(), ErrorClass::Config, reason));
    }
    offenders(attempt, origin).await.map(Committed::Refused)
}

/// Finds the rows that the table refuses by putting in all others: halves, and halves of those that fail.
async fn offenders(attempt: &Attempt, origin: &Origin) -> Result<Vec<RefusedRow>> {
    let session = &attempt.session;
    let at = |fault: Fault| fault.at("look for the rows at fault", origin);
    let sql_size = format!("SELECT pg_relation_size('pg_temp.{STAGE}') / current_setting('block_size')::bigint");
    let pages = session.query_opt(&sql_size, &[]).await.map_err(at)?.map_or(0, |row| row.get::<_, i64>(0));
    let mut todo = vec![(0, u64::try_from(pages).unwrap_or_default() * ROWS_PER_PAGE)];
    let mut refused = Vec::new();
    while let Some((start, end)) = todo.pop().filter(|(start, end)| start < end) {
        session.batch("SAVEPOINT stockflow").await.map_err(at)?;
        let fault = match session.execute(&sql(attempt, Part::Between(start, end)), &[]).await {
            Ok(_) => {
                session.batch("RELEASE SAVEPOINT stockflow").await.map_err(at)?;
                continue;
            }
            Err(fault) => fault,
        };
        session.batch("ROLLBACK TO SAVEPOINT stockflow").await.map_err(at)?;
        let Some(db) = fault.db().filter(|_| fault.class() == ErrorClass::Data) else { return Err(at(fault)) };
        if end - start == 1 {
            refused.push(row_at(attempt, start, reason(db), origin).await?);
            continue;
        }
        let middle = start + (end - start) / 2;
        // Taken from the end, so the first half is last.
        todo.extend([(middle, end), (start, middle)]);
    }
    if refused.is_empty() {
        let reason = "the table refuses the rows together, but none of them alone; it will be tried again";
        return Err(Error::refused(origin.clone(), ErrorClass::Transient, reason));
    }
    Ok(refused)
}

/// A place in the staging table.
fn place(place: u64) -> String {
    // The first row of a page has the number 1.
    format!("'({},{})'::tid", place / ROWS_PER_PAGE, place % ROWS_PER_PAGE + 1)
}

/// The row at a place, as a refused one.
async fn row_at(attempt: &Attempt, at: u64, reason: String, origin: &Origin) -> Result<RefusedRow> {
    let relation = &attempt.relation;
    let is_told = |name: &String| relation.key.contains(name) || name == "symbol";
    let columns: Vec<_> =
        attempt.columns.iter().filter(|it| is_told(relation.schema.field(it.source).name())).collect();
    let sql = format!(
        "SELECT to_jsonb(s)::text, {} FROM pg_temp.{STAGE} s WHERE ctid = {}",
        columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", "),
        place(at)
    );
    let row = attempt.session.query_opt(&sql, &[]).await.map_err(|fault| fault.at("read a row at fault", origin))?;
    let row = row.ok_or_else(|| Error::internal("a row of the staging table is not there"))?;
    let mut texts = std::collections::BTreeMap::new();
    for (idx, column) in columns.iter().enumerate() {
        let field = relation.schema.field(column.source);
        let mut decoder = Decoder::new(column.wire);
        let raw: Raw<'_> =
            row.try_get(idx + 1).map_err(|error| Fault::from(error).at("read a row at fault", origin))?;
        decoder.push(raw.0)?;
        // As the pipeline writes it, so that it is found again.
        let value = cast(&cast(&decoder.finish(), field.data_type())?, &DataType::Utf8)?;
        let text = value.as_string::<i32>().iter().flatten().next().map(str::to_owned);
        texts.insert(field.name().clone(), text);
    }
    let text = |column: &str| texts.get(column).cloned().flatten();
    Ok(RefusedRow {
        key: relation
            .key
            .iter()
            .map(|column| (column.clone(), text(column).unwrap_or_else(|| "NULL".into())))
            .collect(),
        symbol: text("symbol"),
        reason,
        payload: row.get(0),
    })
}

/// The statement that moves rows from the staging table into the table.
fn sql(attempt: &Attempt, part: Part) -> String {
    let layout = &attempt.layout;
    let names = layout.names();
    let columns = list(&names);
    let key = list(&layout.key);
    let from = format!("pg_temp.{STAGE}");
    let rows = match part {
        Part::Unique => format!("SELECT {columns} FROM {from}"),
        Part::Between(start, end) if layout.key.is_empty() => {
            format!("SELECT {columns} FROM {from} WHERE ctid >= {} AND ctid < {}", place(start), place(end))
        }
        Part::All | Part::Between(..) => {
            let newest = layout.version.as_ref().map(|version| format!("{} DESC NULLS LAST, ", quoted(version)));
            let between = match part {
                Part::Between(start, end) => format!(" WHERE ctid >= {} AND ctid < {}", place(start), place(end)),
                _ => String::new(),
            };
            format!(
                "SELECT DISTINCT ON ({key}) {columns} FROM {from}{between} ORDER BY {key}, {}ctid DESC",
                newest.unwrap_or_default()
            )
        }
    };
    let insert = format!("INSERT INTO {} AS t ({columns}) {rows}", attempt.owner.table.sql());
    if layout.key.is_empty() {
        return insert;
    }
    let others: Vec<&String> = names.iter().filter(|name| !layout.key.contains(name)).collect();
    if others.is_empty() {
        return format!("{insert} ON CONFLICT ({key}) DO NOTHING");
    }
    let set: Vec<String> = others.iter().map(|name| format!("{0} = excluded.{0}", quoted(name))).collect();
    let newer = match &layout.version {
        Some(version) => format!("t.{0} IS NULL OR excluded.{0} > t.{0}", quoted(version)),
        // Without versions the later row counts, and an equal one is no change.
        None => {
            let of = |table: &str| {
                others.iter().map(|name| format!("{table}.{}", quoted(name))).collect::<Vec<_>>().join(", ")
            };
            format!("ROW({}) IS DISTINCT FROM ROW({})", of("t"), of("excluded"))
        }
    };
    format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {} WHERE {newer}", set.join(", "))
}
