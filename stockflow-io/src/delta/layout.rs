//! How the rows of one relation lie in one table: columns, partitions, key, version, order.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, SchemaRef};
use stockflow_core::relation::{AS_OF, RelationSchema};
use stockflow_core::{Error, Result};

use super::partition::{SPAN, span_of};

/// How much two prices may differ and still be one: providers wobble in the seventh digit.
const TOLERANCE: f64 = 1e-6;

/// How the rows of one relation lie in one table. Columns are meant by their index in `schema`.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The relation's name: for errors.
    pub(super) relation: String,
    /// The table's columns, partition columns included.
    pub(super) schema: SchemaRef,
    /// The partition columns.
    pub(super) partition: Vec<String>,
    /// Whether `span` is to be generated.
    pub(super) generates_span: bool,
    /// The key; empty if rows are only ever appended.
    pub(super) key: Vec<usize>,
    /// The version column.
    pub(super) version: Option<usize>,
    /// The order within a partition: symbol, time, the rest of the key.
    pub(super) order: Vec<usize>,
    /// The difference relative to the greater value below which two floats are one.
    pub(super) tolerance: f64,
}

impl Layout {
    /// The layout of a relation in a table of these columns and partitions; `keyed` is false for a sink that only appends.
    pub(super) fn new(
        relation: &RelationSchema,
        schema: SchemaRef,
        partition: Vec<String>,
        keyed: bool,
    ) -> Result<Self> {
        let index = |column: &String| {
            schema.index_of(column).map_err(|_| Error::schema(&relation.name, format!("there is no column `{column}`")))
        };
        let mut declared = relation.key.iter().map(index).collect::<Result<Vec<_>>>()?;
        let version = relation.version.as_ref().map(index).transpose()?;
        if declared.is_empty() {
            declared = ["symbol", "ts", "date"].iter().filter_map(|column| schema.index_of(column).ok()).collect();
        }
        let mut order = declared.clone();
        order.sort_by_key(|&column| rank(schema.field(column).name()));
        let key = if keyed && !relation.key.is_empty() { declared } else { Vec::new() };
        let generates_span = partition.iter().any(|column| column == SPAN) && !relation.has(SPAN);
        let tolerance = if relation.version.as_deref() == Some(AS_OF) { TOLERANCE } else { 0.0 };
        Ok(Self { relation: relation.name.clone(), schema, partition, generates_span, key, version, order, tolerance })
    }

    /// Whether rows are found again by key.
    pub(super) fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }

    /// The partition columns by index.
    pub(super) fn partition_indices(&self) -> Vec<usize> {
        self.partition.iter().filter_map(|column| self.schema.index_of(column).ok()).collect()
    }

    /// The columns that stand in the files: all but the partition columns.
    pub(super) fn file_columns(&self) -> Vec<usize> {
        (0..self.schema.fields().len())
            .filter(|&column| !self.partition.contains(self.schema.field(column).name()))
            .collect()
    }

    /// A column of the key, not of the partitions, that is text: rows are grouped by it.
    pub(super) fn group(&self) -> Option<usize> {
        self.order
            .iter()
            .copied()
            .find(|&column| self.in_files(column) && *self.schema.field(column).data_type() == DataType::Utf8)
    }

    /// A column of the key, not of the partitions, with an order: rows of a group are sorted by it.
    pub(super) fn range(&self) -> Option<usize> {
        let ordered = |of: &DataType| {
            matches!(of, DataType::Timestamp(..) | DataType::Date32 | DataType::Int64 | DataType::Int32)
        };
        self.order
            .iter()
            .copied()
            .find(|&column| self.in_files(column) && ordered(self.schema.field(column).data_type()))
    }

    fn in_files(&self, column: usize) -> bool {
        !self.partition.contains(self.schema.field(column).name())
    }

    /// Rows of the relation in the table's columns and types.
    ///
    /// # Errors
    ///
    /// If a value does not fit the column's type.
    pub(super) fn store(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let safe = CastOptions { safe: false, ..CastOptions::default() };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            columns.push(match rows.column_by_name(field.name()) {
                Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
                Some(column) => cast_with_options(column, field.data_type(), &safe)?,
                None => new_null_array(field.data_type(), rows.num_rows()),
            });
        }
        if self.generates_span {
            let nullable = self.nullable();
            let stored = RecordBatch::try_new(Arc::clone(&nullable), columns.clone())?;
            if let Ok(index) = self.schema.index_of(SPAN) {
                columns[index] = span_of(&self.relation, &stored)?;
            }
        }
        Ok(RecordBatch::try_new(self.nullable(), columns)?)
    }

    /// The table's columns, all of them nullable: rows on their way are checked at their key, not at every step.
    pub(super) fn nullable(&self) -> SchemaRef {
        let fields: Vec<_> =
            self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        Arc::new(arrow::datatypes::Schema::new(fields))
    }
}

/// Symbol first, then time: what queries ask for.
fn rank(column: &str) -> u8 {
    match column {
        "symbol" => 0,
        "ts" => 1,
        "date" => 2,
        _ => 3,
    }
}
