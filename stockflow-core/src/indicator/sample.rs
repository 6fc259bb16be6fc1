//! One representative call of every function over the columns of a bar: for examples, and for tests of the whole.

use super::catalogue::catalogue;
use super::definition::{Definition, Input};

/// A call of one function that gives sensible values on ordinary bars.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SampleCall {
    /// The function.
    pub definition: &'static Definition,
    /// The call in SQL, without its window: `atr(high, low, close)`.
    pub sql: String,
    /// A column name, unique within the catalogue.
    pub column: String,
}

/// One call for every function of the catalogue, all parameters at their defaults.
///
/// Two-series functions take high and low, `mavp` takes periods that change from row to row, and the functions that
/// are defined near zero only (`acos`, `exp`, …) take the close scaled into 0..1 row by row.
/// So a property such as "any split into epochs is one epoch" can run over the whole catalogue in one pipeline.
pub fn sample_calls() -> Vec<SampleCall> {
    let sample = |definition| SampleCall {
        sql: sample_call(definition),
        column: definition.name.clone(),
        definition,
    };
    catalogue().iter().map(sample).collect()
}

/// One SELECT over all of [`sample_calls`], with the key columns before them.
///
/// `keys` are the columns to keep, `relation` is the table, `window` is what stands within `OVER (…)`.
pub fn sample_select(keys: &[&str], relation: &str, window: &str) -> String {
    let calls = sample_calls();
    let columns = calls.iter().map(|it| format!("{} OVER w AS \"{}\"", it.sql, it.column));
    let columns: Vec<_> = keys.iter().map(|it| (*it).to_string()).chain(columns).collect();
    format!("SELECT {} FROM {relation} WINDOW w AS ({window})", columns.join(", "))
}

pub(crate) fn sample_call(definition: &Definition) -> String {
    let scaled = definition.group == "Math Transform";
    let argument = |input: &Input| match (input.name.as_str(), scaled) {
        (_, true) => "close / (close + 1000.0)".to_string(),
        ("periods", _) => "2.0 + (CAST(volume AS BIGINT) % 29)".to_string(),
        _ => input.usual_column().to_string(),
    };
    let arguments: Vec<_> = definition.inputs.iter().map(argument).collect();
    format!("{}({})", definition.sql_name, arguments.join(", "))
}
