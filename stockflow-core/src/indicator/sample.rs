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
    let sample = |definition| SampleCall { sql: sample_call(definition), column: definition.name.clone(), definition };
    catalogue().iter().map(sample).collect()
}

/// One SELECT over all of [`sample_calls`], with the key columns before them; several outputs stay one struct.
///
/// `keys` are the columns to keep, `relation` is the table, `window` is what stands within `OVER (…)`.
pub fn sample_select(keys: &[&str], relation: &str, window: &str) -> String {
    let column = |it: &SampleCall| vec![format!("{} OVER w AS \"{}\"", it.sql, it.column)];
    select(keys, relation, window, column)
}

/// The same with one plain column for every output (`macd`, `macd_signal`, …), as sinks want them.
pub fn sample_select_flat(keys: &[&str], relation: &str, window: &str) -> String {
    let columns = |it: &SampleCall| match it.definition.outputs.as_slice() {
        [_] => vec![format!("{} OVER w AS \"{}\"", it.sql, it.column)],
        many => many
            .iter()
            .map(|output| format!("({} OVER w)['{1}'] AS \"{2}_{1}\"", it.sql, output.name, it.column))
            .collect(),
    };
    select(keys, relation, window, columns)
}

fn select(keys: &[&str], relation: &str, window: &str, columns: impl Fn(&SampleCall) -> Vec<String>) -> String {
    let calls = sample_calls();
    let keys = keys.iter().map(|it| (*it).to_string());
    let columns: Vec<_> = keys.chain(calls.iter().flat_map(columns)).collect();
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
