//! Which column of a relation goes into which column of a table, and what the table must be like for it.

use std::collections::BTreeSet;

use stockflow_core::relation::{AS_OF, RelationSchema};
use stockflow_core::{Error, Result};

use super::name::{Located, check, list, quoted};
use super::state::TableState;
use super::types::{Wire, column_type};

/// Columns of the seed's table `stocks`, and of which column of a bar they are made.
const STOCKS: [(&str, &str); 9] = [
    ("ticker", "symbol"),
    ("date", "date"),
    ("open", "open"),
    ("high", "high"),
    ("low", "low"),
    ("close", "close"),
    ("adj_close", "adj_close"),
    ("volume", "volume"),
    (AS_OF, AS_OF),
];

/// What names a row of `stocks`.
const STOCKS_KEY: [&str; 2] = ["ticker", "date"];

/// What a sink was told of its table.
#[derive(Debug, Clone, Default)]
pub(super) struct TableSettings {
    /// Table column and relation column, where they differ.
    pub(super) renamed: Vec<(String, String)>,
    pub(super) stocks: bool,
    pub(super) partition_by_month: bool,
    pub(super) indexes: Vec<String>,
}

/// A column of the table that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayoutColumn {
    pub(super) name: String,
    /// Its index in the relation.
    pub(super) source: usize,
    /// Its type where it is made anew.
    pub(super) sql_type: String,
}

/// How a relation lies in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) relation: String,
    pub(super) columns: Vec<LayoutColumn>,
    /// The table's columns that name a row; empty where rows are only appended.
    pub(super) key: Vec<String>,
    /// The table's column by which the newer row wins.
    pub(super) version: Option<String>,
    /// The table's column by whose month it is partitioned.
    pub(super) month: Option<String>,
    pub(super) indexes: Vec<String>,
    /// The relation's column that must be `1d` in every row.
    pub(super) daily: Option<usize>,
}

/// A change that a table needs: what it is, and the SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In a few words.
    pub name: String,
    /// The statement.
    pub sql: String,
}

/// A column as a table has it, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FitColumn {
    pub(super) name: String,
    pub(super) source: usize,
    pub(super) wire: Wire,
    /// `open double precision`, for messages.
    pub(super) target: String,
    pub(super) not_null: bool,
}

impl Layout {
    /// Lays a relation out. `keyed` is false where rows are only appended or the whole table is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] for a column that is missing, stands twice or has a type without a counterpart.
    pub(super) fn new(relation: &RelationSchema, settings: &TableSettings, keyed: bool) -> Result<Self> {
        let pairs: Vec<(String, usize)> =
            if settings.stocks { stocks(relation)? } else { renamed(relation, &settings.renamed)? };
        let mut columns = Vec::with_capacity(pairs.len());
        let mut seen = BTreeSet::new();
        for (name, source) in pairs {
            check("columns", &name)?;
            if !seen.insert(name.clone()) {
                return Err(Error::schema(&relation.name, format!("two columns go into the table's column `{name}`")));
            }
            let field = relation.schema.field(source);
            let Some((sql_type, _)) = column_type(field.data_type()) else {
                let reason = format!(
                    "the column `{}` has the type {}, which PostgreSQL cannot hold; cast it in an SQL step",
                    field.name(),
                    field.data_type()
                );
                return Err(Error::schema(&relation.name, reason));
            };
            columns.push(LayoutColumn { name, source, sql_type });
        }
        let of_relation = |column: &String| {
            let found = columns.iter().find(|it| relation.schema.field(it.source).name() == column);
            found.map(|it| it.name.clone()).ok_or_else(|| {
                Error::schema(
                    &relation.name,
                    format!("its column `{column}` is not among those that go into the table"),
                )
            })
        };
        let declared = if settings.stocks {
            STOCKS_KEY.map(str::to_owned).to_vec()
        } else {
            relation.key.iter().map(of_relation).collect::<Result<_>>()?
        };
        let version = relation.version.as_ref().filter(|version| relation.has(version));
        // `stocks` has no `revision`: of derived rows, such as adjusted prices, those of the later epoch count.
        let version = version.filter(|version| !settings.stocks || *version == AS_OF).map(of_relation).transpose()?;
        let month = settings.partition_by_month.then(|| month_column(relation, &columns, &declared)).transpose()?;
        let mut indexes = settings.indexes.clone();
        if settings.stocks {
            indexes.extend(STOCKS_KEY.map(str::to_owned));
        }
        for index in &indexes {
            if !columns.iter().any(|column| column.name == *index) {
                return Err(Error::schema(
                    &relation.name,
                    format!("`index` names `{index}`, which is no column of the table"),
                ));
            }
        }
        let daily = if settings.stocks { relation.schema.index_of("interval").ok() } else { None };
        let key = if keyed { declared } else { Vec::new() };
        let version = version.filter(|_| keyed);
        Ok(Self { relation: relation.name.clone(), columns, key, version, month, indexes, daily })
    }

    /// The names of the table's columns that are written.
    pub(super) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// How the rows go into a table that is there.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] with every difference.
    pub(super) fn fit(&self, relation: &RelationSchema, table: &Located, state: &TableState) -> Result<Vec<FitColumn>> {
        let mut differences = Vec::new();
        let mut fit = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let Some(there) = state.column(&column.name) else {
                differences.push(format!("the column `{}` is missing", column.name));
                continue;
            };
            let data_type = relation.schema.field(column.source).data_type();
            match there.wire.filter(|wire| wire.takes(data_type).is_some()) {
                Some(wire) => fit.push(FitColumn {
                    name: column.name.clone(),
                    source: column.source,
                    wire,
                    target: format!("`{}` {}", column.name, there.type_name),
                    not_null: there.not_null || self.key.contains(&column.name),
                }),
                None => differences.push(format!(
                    "the column `{}` is {} there and {data_type} in the rows",
                    column.name, there.type_name
                )),
            }
        }
        let written = |name: &str| self.columns.iter().any(|column| column.name == name);
        let unfilled = state.columns.iter().filter(|it| it.not_null && !it.has_default && !written(&it.name));
        differences
            .extend(unfilled.map(|it| format!("its column `{}` may not be NULL and is not among the rows'", it.name)));
        if differences.is_empty() {
            return Ok(fit);
        }
        let reason = format!(
            "the table {table} does not fit the rows: {}; alter it, map the columns by `columns`, or write to another table",
            differences.join(", ")
        );
        Err(Error::schema(&self.relation, reason))
    }

    /// What must be done before the rows go in; nothing if the table is as it should be.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] for what cannot be added to a table that holds rows.
    pub(super) fn changes(&self, table: &Located, state: Option<&TableState>) -> Result<Vec<Change>> {
        let Some(state) = state else { return Ok(self.creation(table)) };
        let mut changes = Vec::new();
        for column in self.columns.iter().filter(|column| state.column(&column.name).is_none()) {
            if self.key.contains(&column.name) {
                let reason = format!("the table {table} has no column `{}`, which is part of the key", column.name);
                return Err(Error::schema(&self.relation, format!("{reason}; write to another table")));
            }
            changes.push(Change {
                name: format!("add column {} to {table}", column.name),
                sql: format!("ALTER TABLE {} ADD COLUMN {} {}", table.sql(), quoted(&column.name), column.sql_type),
            });
        }
        if self.month.is_some() && !state.is_partitioned {
            let reason = format!(
                "the table {table} is not partitioned, and `partition = \"month\"` cannot change that; write to a new table"
            );
            return Err(Error::schema(&self.relation, reason));
        }
        let mut key = self.key.clone();
        key.sort();
        if !key.is_empty() && !state.unique.contains(&key) {
            let reason = format!(
                "the table {table} has no unique index on exactly ({}), by which rows are merged; make one: CREATE UNIQUE INDEX ON {} ({})",
                self.key.join(", "),
                table.sql(),
                list(&self.key)
            );
            return Err(Error::schema(&self.relation, reason));
        }
        Ok(changes)
    }

    fn creation(&self, table: &Located) -> Vec<Change> {
        let mut lines: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let not_null = if self.key.contains(&column.name) { " NOT NULL" } else { "" };
                format!("    {} {}{not_null}", quoted(&column.name), column.sql_type)
            })
            .collect();
        if !self.key.is_empty() {
            lines.push(format!("    PRIMARY KEY ({})", list(&self.key)));
        }
        let partition = self.month.as_ref().map(|column| format!(" PARTITION BY RANGE ({})", quoted(column)));
        let mut changes = vec![Change {
            name: format!("create table {table}"),
            sql: format!("CREATE TABLE {} (\n{}\n){}", table.sql(), lines.join(",\n"), partition.unwrap_or_default()),
        }];
        changes.extend(self.indexes.iter().map(|column| Change {
            name: format!("index {table} by {column}"),
            sql: format!("CREATE INDEX ON {} ({})", table.sql(), quoted(column)),
        }));
        changes
    }
}

fn stocks(relation: &RelationSchema) -> Result<Vec<(String, usize)>> {
    let mut pairs = Vec::with_capacity(STOCKS.len());
    let mut missing = Vec::new();
    for (name, column) in STOCKS {
        match relation.schema.index_of(column) {
            Ok(source) => pairs.push((name.to_owned(), source)),
            Err(_) if matches!(column, "adj_close" | AS_OF) => {}
            Err(_) => missing.push(column),
        }
    }
    if missing.is_empty() {
        return Ok(pairs);
    }
    let reason = format!("`layout = \"stocks\"` is for daily bars; the rows have no `{}`", missing.join("`, `"));
    Err(Error::schema(&relation.name, reason))
}

fn renamed(relation: &RelationSchema, renamed: &[(String, String)]) -> Result<Vec<(String, usize)>> {
    for (name, column) in renamed {
        if !relation.has(column) {
            let reason = format!("`columns` maps `{column}` to `{name}`, but the rows have no such column");
            return Err(Error::schema(&relation.name, reason));
        }
    }
    let name = |column: &String| {
        renamed.iter().find(|(_, from)| from == column).map_or_else(|| column.clone(), |(to, _)| to.clone())
    };
    Ok(relation.schema.fields().iter().enumerate().map(|(source, field)| (name(field.name()), source)).collect())
}

/// The key column by whose month a table is partitioned: PostgreSQL wants it in every unique index.
fn month_column(relation: &RelationSchema, columns: &[LayoutColumn], key: &[String]) -> Result<String> {
    use arrow::datatypes::DataType;
    let is_time = |column: &&LayoutColumn| {
        let data_type = relation.schema.field(column.source).data_type();
        matches!(data_type, DataType::Date32 | DataType::Timestamp(..))
            && (key.is_empty() || key.contains(&column.name))
    };
    columns.iter().find(is_time).map(|column| column.name.clone()).ok_or_else(|| {
        Error::schema(&relation.name, "`partition = \"month\"` needs a date or a point in time among the key's columns")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use stockflow_core::schema::bar_relation;

    use super::*;

    fn table() -> Located {
        Located { schema: "public".into(), table: "stocks".into() }
    }

    #[test]
    fn stocks_are_daily_bars_under_the_seeds_names() {
        let settings = TableSettings { stocks: true, ..TableSettings::default() };
        let layout = Layout::new(&bar_relation("bars"), &settings, true).unwrap();
        assert_eq!(layout.key, ["ticker", "date"]);
        assert_eq!(layout.version.as_deref(), Some("as_of"));
        let changes = layout.changes(&table(), None).unwrap();
        assert_eq!(changes.len(), 3, "the table and two indexes: {changes:?}");
        assert_eq!(
            changes[0].sql.lines().map(str::trim).collect::<Vec<_>>().join(" "),
            "CREATE TABLE \"public\".\"stocks\" ( \"ticker\" text NOT NULL, \"date\" date NOT NULL, \"open\" double precision, \
             \"high\" double precision, \"low\" double precision, \"close\" double precision, \"adj_close\" double precision, \
             \"volume\" double precision, \"as_of\" timestamptz, PRIMARY KEY (\"ticker\", \"date\") )"
        );
    }

    #[test]
    fn columns_are_renamed_and_the_key_with_them() {
        let settings = TableSettings { renamed: vec![("ticker".into(), "symbol".into())], ..TableSettings::default() };
        let layout = Layout::new(&bar_relation("bars"), &settings, true).unwrap();
        assert_eq!(layout.key, ["ticker", "interval", "ts"]);
        let unknown = TableSettings { renamed: vec![("x".into(), "nothing".into())], ..TableSettings::default() };
        assert!(Layout::new(&bar_relation("bars"), &unknown, true).unwrap_err().to_string().contains("no such column"));
        let twice = TableSettings { renamed: vec![("open".into(), "close".into())], ..TableSettings::default() };
        assert!(Layout::new(&bar_relation("bars"), &twice, true).unwrap_err().to_string().contains("two columns"));
    }

    #[test]
    fn months_are_those_of_the_keys_time() {
        let settings = TableSettings { partition_by_month: true, ..TableSettings::default() };
        let layout = Layout::new(&bar_relation("bars"), &settings, true).unwrap();
        assert_eq!(layout.month.as_deref(), Some("ts"));
        let created = layout.changes(&table(), None).unwrap();
        assert!(created[0].sql.ends_with("PARTITION BY RANGE (\"ts\")"), "{created:?}");
    }
}
