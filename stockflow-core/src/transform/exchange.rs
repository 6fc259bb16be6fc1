//! What says on which exchange a symbol trades, for the transforms that ask its calendar.

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, cast, lit};
use serde_json::{Value, json};

use super::expr::column;
use crate::error::{Error, Result};
use crate::market::Calendar;
use crate::market::sql::unknown;

#[derive(Debug, Clone)]
pub(super) enum Exchange {
    /// All symbols trade on this one.
    Given(String),
    /// This column of the bars has its name.
    Column(String),
}

impl Exchange {
    /// Fails for a name that no calendar is known for.
    pub(super) fn check(&self, step: &str) -> Result<()> {
        match self {
            Self::Given(name) if Calendar::of(name).is_none() => Err(Error::parameter(step, "calendar", unknown(name))),
            _ => Ok(()),
        }
    }

    /// Adds its column to those that a transform needs.
    pub(super) fn need<'a>(&'a self, needed: &mut Vec<&'a str>) {
        if let Self::Column(name) = self
            && !needed.contains(&name.as_str())
        {
            needed.push(name);
        }
    }

    /// The exchange of a row, as text.
    pub(super) fn expr(&self) -> Expr {
        match self {
            Self::Given(name) => lit(name.as_str()),
            Self::Column(name) => cast(column(name), DataType::Utf8),
        }
    }

    /// Its part of a definition.
    pub(super) fn define(&self, definition: &mut Value) {
        match self {
            Self::Given(name) => definition["calendar"] = json!(name),
            Self::Column(name) => definition["exchange_column"] = json!(name),
        }
    }
}
