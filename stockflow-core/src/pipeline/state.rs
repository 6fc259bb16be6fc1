//! The state table: what of each symbol has been delivered, and what its indicators go on from.
//!
//! An epoch writes the symbols that it touched; now and then a snapshot replaces the deltas. Rows of a relation and symbol
//! replace all earlier ones of both. Columns:
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `relation` | Utf8 | the history relation (kind `history`), or the one whose indicators these are |
//! | `symbol` | Utf8 | the symbol |
//! | `kind` | Utf8 | `history`: the symbol's newest bar; `window`, `recursive`: what an indicator keeps |
//! | `last_ts` | Timestamp(us, UTC), nullable | time of the newest delivered bar (`history`) |
//! | `basis` | Utf8, nullable | price basis of that bar |
//! | `function` | Utf8, nullable | the call, by name and a hash of how it is written |
//! | `series` | Utf8, nullable | the key of the series: `AAPL\|1d` |
//! | `numbers` | List(Float64), nullable | what the function goes on from: rows used, then its own numbers |
//!
//! It is Parquet in the store: `SELECT symbol, function, numbers FROM '…/state/bars/0.parquet'`.
//! Which kernels made it is part of the definition's fingerprint; state with another one is never used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Float64Builder, ListBuilder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, TimestampMicrosecondType};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;

use super::clock::instant;
use crate::error::{Error, Result};
use crate::indicator::{StateKind, catalogue};
use crate::store::{CheckpointStore, StateRef};
use crate::window::state::{StateNumbers, States, first_of};

/// A snapshot replaces the deltas after this many.
const SNAPSHOT_EVERY: usize = 32;

/// What is known of a symbol's delivered bars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastBar {
    /// The time of the newest one, in µs.
    pub(crate) ts: i64,
    /// Its price basis, where bars have one.
    pub(crate) basis: Option<String>,
}

/// Symbol to its newest delivered bar.
pub(crate) type LastBars = BTreeMap<String, LastBar>;

/// The states of one symbol, by series and function.
type SymbolStates = BTreeMap<String, BTreeMap<String, StateNumbers>>;

/// The state table in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) last: LastBars,
    /// By relation, then symbol.
    functions: BTreeMap<String, BTreeMap<String, SymbolStates>>,
}

impl State {
    /// Whether the relation's indicators can go on from here for a symbol.
    pub(crate) fn holds(&self, relation: &str, symbol: &str) -> bool {
        self.functions.get(relation).is_some_and(|symbols| symbols.contains_key(symbol))
    }

    /// The states of some symbols.
    pub(crate) fn of(&self, relation: &str, symbols: &BTreeSet<String>) -> States {
        let known = self.functions.get(relation).into_iter().flatten();
        known.filter(|(symbol, _)| symbols.contains(*symbol)).flat_map(|(_, series)| series.clone()).collect()
    }

    /// Takes what an epoch leaves; rows of a relation and symbol replace all earlier ones.
    pub(crate) fn merge(&mut self, epoch: &State) {
        for (symbol, last) in &epoch.last {
            self.last.insert(symbol.clone(), last.clone());
        }
        for (relation, symbols) in &epoch.functions {
            let own = self.functions.entry(relation.clone()).or_default();
            for (symbol, series) in symbols {
                own.insert(symbol.clone(), series.clone());
            }
        }
    }

    /// Adds what a relation's operators were left with.
    pub(crate) fn add(&mut self, relation: &str, states: States) {
        let own = self.functions.entry(relation.to_owned()).or_default();
        for (series, functions) in states {
            own.entry(first_of(&series)).or_default().insert(series, functions);
        }
    }

    fn is_empty(&self) -> bool {
        self.last.is_empty() && self.functions.values().all(BTreeMap::is_empty)
    }
}

fn schema() -> SchemaRef {
    let numbers = DataType::List(Arc::new(Field::new("item", DataType::Float64, true)));
    Arc::new(Schema::new(vec![
        Field::new("relation", DataType::Utf8, false),
        Field::new("symbol", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("last_ts", instant(), true),
        Field::new("basis", DataType::Utf8, true),
        Field::new("function", DataType::Utf8, true),
        Field::new("series", DataType::Utf8, true),
        Field::new("numbers", numbers, true),
    ]))
}

/// Reads the table; state with another fingerprint is never used.
///
/// # Errors
///
/// [`Error::Mismatch`] for a foreign fingerprint, [`Error::StoreCorrupt`] for an unreadable object.
pub(crate) async fn load(
    store: &CheckpointStore,
    pipeline: &str,
    state: &StateRef,
    fingerprint: &str,
) -> Result<State> {
    if !state.objects.is_empty() && state.fingerprint != fingerprint {
        let difference =
            format!("its state was made by definition {} and the definition is {fingerprint} now", state.fingerprint);
        return Err(Error::Mismatch { pipeline: pipeline.into(), difference });
    }
    let mut all = State::default();
    for object in &state.objects {
        let corrupt = |reason: String| Error::StoreCorrupt { path: store.path(object).to_string(), reason };
        let bytes = store.get(object).await?.ok_or_else(|| corrupt("it is missing".into()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(|error| corrupt(error.to_string()))?;
        let mut epoch = State::default();
        for batch in reader {
            let batch = batch.map_err(|error| corrupt(error.to_string()))?;
            read(&batch, &mut epoch).map_err(corrupt)?;
        }
        all.merge(&epoch);
    }
    Ok(all)
}

fn read(batch: &RecordBatch, state: &mut State) -> std::result::Result<(), String> {
    let text = |name: &str| {
        let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        column.ok_or_else(|| format!("it lacks the column `{name}`; `run --rebuild` makes it anew"))
    };
    let (relations, symbols, kinds) = (text("relation")?, text("symbol")?, text("kind")?);
    let times = batch.column_by_name("last_ts").and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.ok_or("it lacks the column `last_ts`")?;
    let (bases, functions, series) = (text("basis")?, text("function")?, text("series")?);
    let numbers = batch.column_by_name("numbers").and_then(|it| it.as_list_opt::<i32>());
    let numbers = numbers.ok_or("it lacks the column `numbers`")?;
    let values = numbers.values().as_primitive_opt::<Float64Type>().ok_or("`numbers` are no numbers")?;
    let offsets = numbers.value_offsets();
    for row in 0..batch.num_rows() {
        let symbol = symbols.value(row);
        if kinds.value(row) == StateKind::History.as_str() {
            if times.is_valid(row) {
                let basis = bases.is_valid(row).then(|| bases.value(row).to_owned());
                state.last.insert(symbol.to_owned(), LastBar { ts: times.value(row), basis });
            }
            continue;
        }
        if functions.is_null(row) || series.is_null(row) || numbers.is_null(row) {
            return Err(format!("row {row} names no function, no series or has no numbers"));
        }
        let own = &values.values()[offsets[row] as usize..offsets[row + 1] as usize];
        let symbols = state.functions.entry(relations.value(row).to_owned()).or_default();
        let all = symbols.entry(symbol.to_owned()).or_default().entry(series.value(row).to_owned()).or_default();
        all.insert(functions.value(row).to_owned(), own.into());
    }
    Ok(())
}

/// Writes what the epoch leaves; says which objects count from now on. `all` is the table with it.
pub(crate) async fn save(
    store: &CheckpointStore,
    name: &str,
    relation: &str,
    before: &StateRef,
    all: &State,
    epoch: &State,
    fingerprint: &str,
) -> Result<StateRef> {
    let same = before.fingerprint == fingerprint;
    if epoch.is_empty() && same {
        return Ok(before.clone());
    }
    let snapshot = !same || before.objects.len() + 1 >= SNAPSHOT_EVERY;
    let rows = if snapshot { all } else { epoch };
    if rows.is_empty() {
        return Ok(StateRef { objects: Vec::new(), fingerprint: fingerprint.into() });
    }
    let batch = write(relation, rows)?;
    store.put(name, parquet_bytes(&batch.schema(), &[batch])?).await?;
    let mut objects = if snapshot { Vec::new() } else { before.objects.clone() };
    objects.push(name.to_owned());
    Ok(StateRef { objects, fingerprint: fingerprint.into() })
}

fn write(history: &str, state: &State) -> Result<RecordBatch> {
    let mut relations = StringBuilder::new();
    let mut symbols = StringBuilder::new();
    let mut kinds = StringBuilder::new();
    let mut times = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    let (mut bases, mut functions, mut series) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let mut numbers = ListBuilder::new(Float64Builder::new());
    for (symbol, last) in &state.last {
        relations.append_value(history);
        symbols.append_value(symbol);
        kinds.append_value(StateKind::History.as_str());
        times.append_value(last.ts);
        bases.append_option(last.basis.as_deref());
        functions.append_null();
        series.append_null();
        numbers.append(false);
    }
    for (relation, by_symbol) in &state.functions {
        for (symbol, by_series) in by_symbol {
            for (label, by_function) in by_series {
                for (function, own) in by_function {
                    relations.append_value(relation);
                    symbols.append_value(symbol);
                    kinds.append_value(kind_of(function).as_str());
                    times.append_null();
                    bases.append_null();
                    functions.append_value(function);
                    series.append_value(label);
                    numbers.values().append_slice(own);
                    numbers.append(true);
                }
            }
        }
    }
    Ok(RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(relations.finish()),
            Arc::new(symbols.finish()),
            Arc::new(kinds.finish()),
            Arc::new(times.finish()),
            Arc::new(bases.finish()),
            Arc::new(functions.finish()),
            Arc::new(series.finish()),
            Arc::new(numbers.finish()),
        ],
    )?)
}

/// `0.rsi-1f0c9b2a77e01d34` is `rsi`, which is recursive; SQL's own aggregates keep their window.
fn kind_of(function: &str) -> StateKind {
    let name = function.split_once('.').map_or(function, |(_, name)| name);
    let name = name.rsplit_once('-').map_or(name, |(name, _)| name);
    catalogue().get(name).map_or(StateKind::Window, |definition| definition.state.kind)
}

/// Batches as one Parquet object in memory.
pub(crate) fn parquet_bytes(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let failed = |error: parquet::errors::ParquetError| {
        Error::internal(format!("a Parquet object in memory cannot be written: {error}"))
    };
    // A dictionary of numbers that are all different costs time and saves nothing.
    let properties = WriterProperties::builder()
        .set_column_dictionary_enabled(vec!["numbers".to_owned(), "list".into(), "item".into()].into(), false)
        .build();
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(schema), Some(properties)).map_err(failed)?;
    for batch in batches {
        writer.write(batch).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::window::state::label;

    fn epoch(symbol: &str, ts: i64, numbers: &[f64]) -> State {
        let mut state = State::default();
        state.last.insert(symbol.into(), LastBar { ts, basis: Some("total".into()) });
        let functions = BTreeMap::from([("0.rsi-12".to_owned(), StateNumbers::from(numbers))]);
        state.add("computed", States::from([(label(&[symbol.to_owned(), "1d".to_owned()]), functions)]));
        state
    }

    #[tokio::test]
    async fn deltas_and_snapshots_give_back_what_was_saved() {
        let store = CheckpointStore::new(Arc::new(InMemory::new()), "state");
        let (mut reference, mut all) = (StateRef::default(), State::default());
        for n in 0..70_i64 {
            let epoch = epoch(if n % 2 == 0 { "A" } else { "B|C" }, n, &[n as f64, f64::INFINITY, -0.5]);
            all.merge(&epoch);
            reference = save(&store, &format!("s{n}"), "bars", &reference, &all, &epoch, "f").await.unwrap();
            assert!(reference.objects.len() <= SNAPSHOT_EVERY, "{n}");
            assert_eq!(load(&store, "p", &reference, "f").await.unwrap(), all, "{n}");
        }
        assert!(all.holds("computed", "A") && all.holds("computed", "B|C") && !all.holds("computed", "C"));
        let error = load(&store, "p", &reference, "g").await.unwrap_err().to_string();
        assert!(error.contains("made by definition f and the definition is g now"), "{error}");
    }
}
