//! Named tables that flow through a pipeline, each with its key and its version column.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use datafusion::prelude::DataFrame;

use crate::error::{Error, Result};

/// The version column of derived rows: the intent's `now`, added by the engine on the way into a sink.
pub const REVISION: &str = "revision";

/// The version column of bars: when we learned them.
pub const AS_OF: &str = "as_of";

/// A column that a replay adds to what its source decodes again: when the row's dead letter was written, which is when we
/// learned it.
pub const SOURCE_AS_OF: &str = "source_as_of";

/// What a relation promises: name, columns, key and version column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationSchema {
    /// The relation's name within its pipeline.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// The columns that name a row; empty if rows have no identity (they are only ever appended).
    pub key: Vec<String>,
    /// The column that decides between two rows of one key: the higher wins, an equal or lower one changes nothing.
    pub version: Option<String>,
}

impl RelationSchema {
    /// A relation without key and version.
    pub fn new(name: impl Into<String>, schema: SchemaRef) -> Self {
        Self { name: name.into(), schema, key: Vec::new(), version: None }
    }

    /// Declares the key.
    #[must_use]
    pub fn with_key<S: Into<String>>(mut self, key: impl IntoIterator<Item = S>) -> Self {
        self.key = key.into_iter().map(Into::into).collect();
        self
    }

    /// Declares the version column.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Whether there is such a column.
    pub fn has(&self, column: &str) -> bool {
        self.schema.column_with_name(column).is_some()
    }
}

/// A relation within one epoch: a lazy DataFusion frame with its key and version.
#[derive(Debug, Clone)]
pub struct Relation {
    /// The rows, not computed yet.
    pub frame: DataFrame,
    /// See [`RelationSchema::key`].
    pub key: Vec<String>,
    /// See [`RelationSchema::version`].
    pub version: Option<String>,
    /// Whether the step that made it promises that no key stands twice; without it the engine looks for itself.
    pub unique: bool,
}

impl Relation {
    /// A relation without key and version.
    pub fn new(frame: DataFrame) -> Self {
        Self { frame, key: Vec::new(), version: None, unique: false }
    }

    /// Declares the key.
    #[must_use]
    pub fn with_key<S: Into<String>>(mut self, key: impl IntoIterator<Item = S>) -> Self {
        self.key = key.into_iter().map(Into::into).collect();
        self
    }

    /// Declares the version column.
    #[must_use]
    pub fn with_version(mut self, version: Option<String>) -> Self {
        self.version = version;
        self
    }

    /// Promises that no key stands twice.
    #[must_use]
    pub fn with_unique_keys(mut self) -> Self {
        self.unique = true;
        self
    }

    /// The same key and version over other rows; what was promised of the rows is not.
    #[must_use]
    pub fn with_frame(&self, frame: DataFrame) -> Self {
        Self { frame, key: self.key.clone(), version: self.version.clone(), unique: false }
    }

    /// Its columns.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::new(self.frame.schema().as_arrow().clone())
    }

    /// Whether there is such a column.
    pub fn has(&self, column: &str) -> bool {
        self.frame.schema().has_column_with_unqualified_name(column)
    }

    /// The promise under a name.
    pub fn describe(&self, name: impl Into<String>) -> RelationSchema {
        RelationSchema {
            name: name.into(),
            schema: self.schema(),
            key: self.key.clone(),
            version: self.version.clone(),
        }
    }
}

/// The relations that a transform can read.
///
/// One of them is its input: in a linear pipeline the relation before it, else the one that the pipeline names.
#[derive(Debug, Clone, Default)]
pub struct Relations {
    input: String,
    by_name: BTreeMap<String, Relation>,
}

impl Relations {
    /// Relations of which `input` is the one to work on.
    pub fn new(input: impl Into<String>, by_name: BTreeMap<String, Relation>) -> Self {
        Self { input: input.into(), by_name }
    }

    /// The name of the relation to work on.
    pub fn input_name(&self) -> &str {
        &self.input
    }

    /// The relation to work on.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] if the pipeline has no relation of that name.
    pub fn input(&self) -> Result<&Relation> {
        self.get(&self.input)
    }

    /// Any relation by name.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] with the names that there are.
    pub fn get(&self, name: &str) -> Result<&Relation> {
        self.by_name.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
            Error::schema(name, format!("there is no relation `{name}`; there are `{}`", known.join("`, `")))
        })
    }

    /// All relations by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Relation)> {
        self.by_name.iter().map(|(name, relation)| (name.as_str(), relation))
    }
}
