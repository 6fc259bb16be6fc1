//! What corrections replaced: the table `<table>_revisions`.
//!
//! Only relations versioned by `as_of` have one: it makes "what was known at t" answerable. Its columns are those of the table and
//! `replaced_as_of`: the `as_of` of the row that took the place, so the old row was what we knew from its own `as_of` on and before
//! `replaced_as_of`. Rows are only ever appended, with the epoch's token, right before the table itself is committed.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use stockflow_core::Result;
use stockflow_core::relation::{AS_OF, RelationSchema};

use super::layout::Layout;
use super::schema::instant;

/// Appended to a table's path.
pub(super) const SUFFIX: &str = "_revisions";

/// The `as_of` of the row that replaced this one.
pub const REPLACED_AS_OF: &str = "replaced_as_of";

/// Whether a relation keeps what corrections replace.
pub(super) fn are_kept(relation: &RelationSchema) -> bool {
    !relation.key.is_empty() && relation.version.as_deref() == Some(AS_OF)
}

/// The columns of the revisions of a table.
pub(super) fn schema(table: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> =
        table.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true))).collect();
    fields.push(Arc::new(Field::new(REPLACED_AS_OF, instant(), true)));
    Arc::new(Schema::new(fields))
}

/// The layout of the revisions of a table: the same, but nothing is looked up.
pub(super) fn layout(of: &Layout) -> Layout {
    Layout { schema: schema(&of.schema), key: Vec::new(), ..of.clone() }
}

/// Replaced rows with the version that took their place.
pub(super) fn rows(old: &RecordBatch, by: &ArrayRef) -> Result<RecordBatch> {
    let mut columns = old.columns().to_vec();
    columns.push(Arc::clone(by));
    Ok(RecordBatch::try_new(schema(&old.schema()), columns)?)
}
