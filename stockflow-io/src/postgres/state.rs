//! What the server's catalogue says of a table.

use super::connection::Session;
use super::error::Fault;
use super::name::Located;
use super::types::Wire;

/// A column as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateColumn {
    pub(super) name: String,
    /// `None` for a type that we cannot write.
    pub(super) wire: Option<Wire>,
    /// As PostgreSQL writes it: `character varying(10)`.
    pub(super) type_name: String,
    pub(super) not_null: bool,
    pub(super) has_default: bool,
}

/// A table as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableState {
    pub(super) columns: Vec<StateColumn>,
    /// The columns of each unique index without a condition, sorted by name.
    pub(super) unique: Vec<Vec<String>>,
    pub(super) is_partitioned: bool,
}

impl TableState {
    pub(super) fn column(&self, name: &str) -> Option<&StateColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Looks a table up; `None` if it is not there.
    pub(super) async fn load(session: &Session, table: &Located) -> Result<Option<Self>, Fault> {
        let found = session
            .query_opt(
                "SELECT c.oid, c.relkind = 'p' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
                &[&table.schema, &table.table],
            )
            .await?;
        let Some(row) = found else { return Ok(None) };
        let (oid, is_partitioned): (u32, bool) = (row.get(0), row.get(1));
        // A domain is written as what it is over.
        let columns = session
            .query(
                "SELECT a.attname::text, coalesce(nullif(t.typbasetype, 0), a.atttypid)::oid, \
                        coalesce(b.typtype, t.typtype), format_type(a.atttypid, a.atttypmod), a.attnotnull, \
                        a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '' \
                 FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = nullif(t.typbasetype, 0) \
                 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
                &[&oid],
            )
            .await?;
        let columns = columns
            .iter()
            .map(|row| {
                let (oid, kind): (u32, i8) = (row.get(1), row.get(2));
                StateColumn {
                    name: row.get(0),
                    wire: Wire::of_oid(oid, char::from(kind.unsigned_abs())),
                    type_name: row.get(3),
                    not_null: row.get(4),
                    has_default: row.get(5),
                }
            })
            .collect();
        let unique = session
            .query(
                "SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE \"C\") \
                 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]) \
                 WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate \
                 GROUP BY i.indexrelid",
                &[&oid],
            )
            .await?;
        let unique = unique.iter().map(|row| row.get(0)).collect();
        Ok(Some(Self { columns, unique, is_partitioned }))
    }
}
