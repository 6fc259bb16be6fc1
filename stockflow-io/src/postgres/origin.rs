//! What a source reads: a table or a query, with its columns.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use stockflow_core::{Error, ErrorClass, Origin, Result};
use tokio_postgres::types::{Kind, Type};

use super::connection::Session;
use super::name::{TableName, quoted};
use super::types::Wire;

/// A table or a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    Table(TableName),
    Query(String),
}

impl From {
    /// What stands behind SQL's `FROM`.
    pub(super) fn sql(&self) -> String {
        match self {
            Self::Table(TableName { schema: Some(schema), table }) => {
                format!("{}.{} AS s", quoted(schema), quoted(table))
            }
            Self::Table(TableName { schema: None, table }) => format!("{} AS s", quoted(table)),
            // Its last line may be a comment.
            Self::Query(query) => format!("({query}\n) AS s"),
        }
    }
}

/// A column that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadColumn {
    pub(super) name: String,
    pub(super) wire: Wire,
    /// Its type as SQL writes it.
    pub(super) sql_type: String,
}

/// The columns of what is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    /// Where they are, for errors.
    place: String,
    pub(super) columns: Vec<ReadColumn>,
}

fn wire(of: &Type) -> Option<Wire> {
    match of.kind() {
        Kind::Domain(inner) => wire(inner),
        Kind::Enum(_) => Some(Wire::Text),
        _ => Wire::of_oid(of.oid(), 'b'),
    }
}

impl Described {
    /// Asks the server.
    ///
    /// # Errors
    ///
    /// Class config, for a column of a type that has no counterpart; what the server says of the query.
    pub(super) async fn ask(session: &Session, from: &From, origin: &Origin) -> Result<Self> {
        let statement = session.prepare(&format!("SELECT * FROM {}", from.sql())).await;
        let statement = statement.map_err(|fault| fault.at("look up the columns", origin))?;
        let mut unknown = Vec::new();
        let mut columns = Vec::with_capacity(statement.columns().len());
        for column in statement.columns() {
            let name = column.name().to_owned();
            match wire(column.type_()) {
                Some(wire) => columns.push(ReadColumn { name, wire, sql_type: sql_type(column.type_()) }),
                None => unknown.push(format!("`{name}` ({})", column.type_().name())),
            }
        }
        if unknown.is_empty() {
            return Ok(Self { place: origin.to_string(), columns });
        }
        let reason = format!(
            "it has columns of types that are not read: {}; leave them out or cast them to text in a `query`",
            unknown.join(", ")
        );
        Err(Error::refused(origin.clone(), ErrorClass::Config, reason))
    }

    pub(super) fn schema(&self) -> SchemaRef {
        let field = |column: &ReadColumn| Field::new(&column.name, column.wire.read_as(), true);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// A column by name.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] with the names that there are.
    pub(super) fn column(&self, name: &str, setting: &str) -> Result<&ReadColumn> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
            let reason =
                format!("`{setting}` names `{name}`, which is not there; choose one of `{}`", known.join("`, `"));
            Error::schema(&self.place, reason)
        })
    }
}

fn sql_type(of: &Type) -> String {
    match of.kind() {
        Kind::Domain(inner) => sql_type(inner),
        _ => format!("{}.{}", quoted(of.schema()), quoted(of.name())),
    }
}
