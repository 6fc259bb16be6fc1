//! Monthly partitions: which month a day is of, and the tables for them.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike};
use stockflow_core::{Origin, Result};

use super::connection::Session;
use super::error::Fault;
use super::migrate::{end, lock};
use super::name::{Located, check, text};

/// Months since January of the year 0, of a day since 1970-01-01.
pub(super) fn month_of(day: i64) -> i32 {
    // Days beyond what chrono counts are beyond what PostgreSQL counts, too.
    let date = day.checked_mul(86_400).and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    date.map_or(0, |date| date.year() * 12 + i32::try_from(date.month0()).unwrap_or_default())
}

fn first_day(month: i32) -> String {
    format!("{:04}-{:02}-01", month.div_euclid(12), month.rem_euclid(12) + 1)
}

fn partition(table: &Located, month: i32) -> Result<Located> {
    let name = format!("{}_y{:04}m{:02}", table.table, month.div_euclid(12), month.rem_euclid(12) + 1);
    check("table", &name)?;
    Ok(table.beside(&name))
}

/// Makes the partitions that are missing.
///
/// Each is made as a table of its own and then attached, which keeps no reader of the others waiting.
pub(super) async fn make_partitions(
    session: &Session,
    table: &Located,
    months: &BTreeSet<i32>,
    origin: &Origin,
) -> Result<()> {
    let at = |fault: Fault| fault.at("make a partition", origin);
    let partitions = months.iter().map(|month| Ok((*month, partition(table, *month)?))).collect::<Result<Vec<_>>>()?;
    let names: Vec<&str> = partitions.iter().map(|(_, it)| it.table.as_str()).collect();
    let sql = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = ANY ($2)";
    let known = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get(0)).collect::<BTreeSet<String>>();
    let there = known(session.query(sql, &[&table.schema, &names]).await.map_err(at)?);
    if partitions.iter().all(|(_, it)| there.contains(&it.table)) {
        return Ok(());
    }
    lock(session).await.map_err(at)?;
    let outcome = async {
        let there = known(session.query(sql, &[&table.schema, &names]).await.map_err(at)?);
        for (month, partition) in partitions.iter().filter(|(_, it)| !there.contains(&it.table)) {
            let sql = format!(
                "CREATE TABLE {1} (LIKE {0} INCLUDING DEFAULTS INCLUDING CONSTRAINTS); \
                 ALTER TABLE {0} ATTACH PARTITION {1} FOR VALUES FROM ({2}) TO ({3})",
                table.sql(),
                partition.sql(),
                text(&first_day(*month)),
                text(&first_day(month + 1))
            );
            session.batch(&sql).await.map_err(at)?;
        }
        Ok(())
    };
    let outcome = outcome.await;
    end(session, outcome, origin).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_month() {
        for (day, first) in [
            (0, "1970-01-01"),
            (-1, "1969-12-01"),
            (19_723, "2024-01-01"),
            (19_753, "2024-01-01"),
            (19_754, "2024-02-01"),
        ] {
            assert_eq!(first_day(month_of(day)), first, "{day}");
        }
    }
}
