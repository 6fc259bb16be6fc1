//! A replay: dead letters go through the pipeline again, each from the border that refused it.
//!
//! It is the store's next epoch. What it reads is made durable before its intent: rows that the source decoded again (as
//! Parquet), and the letters themselves, whose payloads are the rows for steps and sinks. So a replay that was killed is
//! repeated with the same rows, whatever has become of the source, and by whoever runs the pipeline next.
//!
//! A letter that is refused again at the same place for the same reason stays as it is; all others are closed when the epoch
//! is committed, because what became of them stands in the sinks or in new letters.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::datasource::MemTable;
use datafusion::prelude::DataFrame;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::builder::{LatePolicy, Pipeline};
use super::clock::instant;
use super::epoch::empty_input;
use super::kill_point::KillPoint;
use super::report::{Note, NoteLevel};
use super::run::{Runner, next_epoch, nothing_after};
use super::spool::read_objects;
use super::state::parquet_bytes;
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::relation::{Relation, SOURCE_AS_OF};
use crate::schema::DeadLetter;
use crate::store::{CheckpointStore, EpochKind, Kept, LetterFilter, RefusedBy, StoredLetter};
use crate::transform::normalize::columns::SOURCE_SEQ;

/// So many letters are replayed in one epoch.
const LETTERS_PER_EPOCH: usize = 10_000;

/// Which dead letters are to be replayed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayLetters {
    /// Which of the open ones.
    pub filter: LetterFilter,
    /// The pipeline's definition was mended since: in how the source decodes, in steps before the history relation, in what
    /// becomes of late bars. What was delivered before stays as it is.
    pub mended: bool,
}

/// A letter that cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotReplayed {
    /// The letter, which stays open.
    pub letter: StoredLetter,
    /// Why, and what to do.
    pub reason: String,
}

/// What a replay reads: durable before its intent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ReplayInput {
    /// The letters.
    pub(crate) letters: Vec<StoredLetter>,
    /// The object with the rows of each relation of the source.
    pub(crate) relations: BTreeMap<String, String>,
    /// What the source refuses still.
    pub(crate) rejects: Vec<DeadLetter>,
}

impl ReplayInput {
    pub(crate) async fn load(store: &CheckpointStore, folder: &str) -> Result<Self> {
        let object = format!("{folder}/input.json");
        let bytes = store.get(&object).await?.ok_or_else(|| Error::StoreCorrupt {
            path: store.path(&object).to_string(),
            reason: "it is missing, and with it what an open replay reads; `run --rebuild` closes it".into(),
        })?;
        store.parse(&object, &bytes)
    }

    /// The source's relations with the rows that were decoded again, and how many those are.
    pub(crate) async fn given(
        &self,
        pipeline: &Pipeline,
        context: &EpochContext,
    ) -> Result<(BTreeMap<String, Relation>, BTreeMap<String, u64>)> {
        let mut given = empty_input(pipeline, context)?;
        let mut rows = BTreeMap::new();
        for (name, object) in &self.relations {
            let (schema, batches) = read_objects(&pipeline.store, std::slice::from_ref(object)).await?;
            rows.insert(name.clone(), batches.iter().map(|batch| batch.num_rows() as u64).sum());
            let frame = context.session.read_table(Arc::new(MemTable::try_new(schema, vec![batches])?))?;
            if let Some(relation) = given.get_mut(name) {
                *relation = relation.with_frame(frame);
            }
        }
        Ok((given, rows))
    }

    /// The letters that a border has refused.
    fn of(&self, border: RefusedBy, name: &str) -> Vec<&StoredLetter> {
        let is_of = |letter: &&StoredLetter| letter.refused_by == Some(border) && letter.letter.connector == name;
        self.letters.iter().filter(is_of).collect()
    }

    /// The frame with the rows of a border's letters; letters whose payload is no row of it are given back.
    pub(crate) async fn joined(
        &self,
        context: &EpochContext,
        border: RefusedBy,
        name: &str,
        frame: DataFrame,
    ) -> Result<(DataFrame, Vec<Unfit>)> {
        let letters = self.of(border, name);
        if letters.is_empty() {
            return Ok((frame, Vec::new()));
        }
        let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
        let (batch, unfit) = rows_of(&letters, &schema)?;
        if batch.num_rows() == 0 {
            return Ok((frame, unfit));
        }
        // Whoever looks at the plan sees one table, as without a replay.
        let joined = frame.union(context.table(schema, vec![vec![batch]])?)?;
        Ok((context.share(joined).await?, unfit))
    }
}

/// A letter whose payload is no row of the relation that it is to enter.
#[derive(Debug, Clone)]
pub(crate) struct Unfit {
    pub(crate) kept: Kept,
    reason: String,
}

/// What is said of letters that could not enter.
pub(crate) fn unfit_note(unfit: &[Unfit]) -> Option<Note> {
    let first = unfit.first()?;
    Some(Note {
        step: first.kept.letter.connector.clone(),
        kind: "replay.unfit".into(),
        symbol: None,
        rows: i64::try_from(unfit.len()).unwrap_or(i64::MAX),
        level: NoteLevel::Warning,
        text: format!("letters stay open because their payload is no row there: {}", first.reason),
    })
}

/// The rows in the payloads of letters.
fn rows_of(letters: &[&StoredLetter], schema: &SchemaRef) -> Result<(RecordBatch, Vec<Unfit>)> {
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let nullable = Arc::new(Schema::new(fields));
    let (mut rows, mut unfit) = (Vec::new(), Vec::new());
    for letter in letters {
        match row_of(letter, schema, &nullable) {
            Ok(row) => rows.push(row),
            Err(reason) => unfit.push(Unfit { kept: letter.kept(), reason }),
        }
    }
    Ok((concat_batches(schema, &rows)?, unfit))
}

/// The one row in a payload, or why there is none.
fn row_of(letter: &StoredLetter, schema: &SchemaRef, nullable: &SchemaRef) -> std::result::Result<RecordBatch, String> {
    let payload = letter.letter.payload.trim();
    let fields: BTreeMap<String, IgnoredAny> =
        serde_json::from_str(payload).map_err(|error| format!("it is no JSON object: {error}"))?;
    if let Some(name) = fields.keys().find(|name| schema.column_with_name(name).is_none()) {
        return Err(format!("it has a field `{name}`, and the rows there have no such column"));
    }
    // The payload is not written anew: numbers keep their digits. What says where a row came from need not be in it.
    let at = letter.at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let own = [(SOURCE_AS_OF, format!("\"{at}\"")), (SOURCE_SEQ, "0".to_owned())];
    let (mut text, mut comma) = (payload.to_owned(), if fields.is_empty() { "" } else { "," });
    for (name, value) in own {
        if schema.column_with_name(name).is_some() && !fields.contains_key(name) {
            text.insert_str(1, &format!("\"{name}\":{value}{comma}"));
            comma = ",";
        }
    }
    let read = || {
        let mut decoder = ReaderBuilder::new(Arc::clone(nullable)).build_decoder()?;
        decoder.decode(text.as_bytes())?;
        decoder.flush()
    };
    let row = read().map_err(|error| error.to_string())?.ok_or("it is empty")?;
    let missing = schema
        .fields()
        .iter()
        .zip(row.columns())
        .find(|(field, column)| !field.is_nullable() && column.null_count() > 0);
    if let Some((field, _)) = missing {
        return Err(format!("it lacks `{}`, which no row there may lack", field.name()));
    }
    RecordBatch::try_new(Arc::clone(schema), row.columns().to_vec()).map_err(|error| error.to_string())
}

/// Rows that were learned when their letters were refused.
fn learned_at(batch: &RecordBatch, at: DateTime<Utc>) -> Result<RecordBatch> {
    let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(SOURCE_AS_OF, instant(), true)));
    let mut columns = batch.columns().to_vec();
    let times = TimestampMicrosecondArray::from_value(at.timestamp_micros(), batch.num_rows()).with_timezone("UTC");
    columns.push(Arc::new(times) as ArrayRef);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

impl Pipeline {
    /// Why a letter cannot go through the pipeline from the border that refused it.
    fn closed_to(&self, letter: &StoredLetter) -> Option<String> {
        let name = &letter.letter.connector;
        match letter.refused_by {
            None => Some(
                "it was kept by an older version, which did not note who refused it; `run --rebuild` reads it again"
                    .into(),
            ),
            Some(RefusedBy::Source) => None,
            Some(RefusedBy::Step) => {
                let Some(idx) = self.steps.iter().position(|step| step.name == *name) else {
                    return Some(format!("the pipeline has no step `{name}` any more; `run --rebuild` reads it again"));
                };
                self.is_after_history(&self.step_input(idx)).then(|| {
                    format!(
                        "step `{name}` comes after the history relation, which holds the bar: a backfill (`run --from DATE --symbols SYMBOL`) computes it anew"
                    )
                })
            }
            Some(RefusedBy::Late) => {
                if self.history.as_ref().is_none_or(|history| history.relation != *name) {
                    return Some(format!("`{name}` is not the history relation any more"));
                }
                (self.late == LatePolicy::DeadLetter).then(|| {
                    "late bars are refused still; say `late = \"recompute\"`, then replay with `--mended`".into()
                })
            }
            Some(RefusedBy::Sink) => (!self.sinks.iter().any(|sink| sink.name == *name))
                .then(|| format!("the pipeline has no sink `{name}` any more")),
        }
    }

    /// Whether everything that reads a relation of the source knows what to do with [`SOURCE_AS_OF`].
    fn takes_source_as_of(&self, relation: &str) -> bool {
        let is_read = |idx: &usize| self.step_input(*idx) == relation;
        let mut readers = (0..self.steps.len()).filter(is_read).filter_map(|idx| self.steps.get(idx)).peekable();
        let beside = self.steps.iter().any(|step| step.transform.reads().iter().any(|name| name == relation));
        let sinks = self.sinks.iter().any(|sink| self.sink_relation(sink) == relation);
        let is_history = self.history.as_ref().is_some_and(|history| history.relation == relation);
        readers.peek().is_some()
            && !beside
            && !sinks
            && !is_history
            && readers.all(|it| it.transform.takes_source_as_of())
    }
}

impl Runner<'_> {
    /// Replays what is open, in epochs of some letters each.
    pub(super) async fn replay(&mut self, asked: &ReplayLetters) -> Result<()> {
        let mut tried = HashSet::new();
        // What it refuses itself is for the next one.
        let before = next_epoch(&self.log.head);
        loop {
            let letters = self.select(&asked.filter, before, &mut tried).await?;
            if letters.is_empty() || self.options.shutdown.is_requested() {
                self.finished = letters.is_empty();
                return Ok(());
            }
            let Some((folder, n)) = self.prepare_replay(letters).await? else { continue };
            self.strike(&KillPoint::AfterPlan)?;
            let plan = nothing_after(self.log.head.checkpoint.clone());
            let kind = EpochKind::Replay { folder, letters: n };
            let intent = self.intent(kind, false, plan, next_epoch(&self.log.head)).await?;
            self.begin(intent).await?;
        }
    }

    /// The next open letters that can be replayed; the others are told.
    async fn select(
        &mut self,
        filter: &LetterFilter,
        before: u64,
        tried: &mut HashSet<String>,
    ) -> Result<Vec<StoredLetter>> {
        let filter = LetterFilter { replayed: false, ..filter.clone() };
        let (mut letters, mut left) = (Vec::new(), Vec::new());
        let mut reader = self.pipeline.store.letters().await?;
        while letters.len() < LETTERS_PER_EPOCH {
            let Some(letter) = reader.next().await? else { break };
            if letter.epoch >= before || !filter.matches(&letter) || !tried.insert(letter.id.clone()) {
                continue;
            }
            match self.pipeline.closed_to(&letter) {
                Some(reason) => left.push(NotReplayed { letter, reason }),
                None => letters.push(letter),
            }
        }
        self.not_replayed.extend(left);
        Ok(letters)
    }

    /// Decodes the source's letters again and makes all that the replay reads durable; says where, and how many letters it is.
    async fn prepare_replay(&mut self, letters: Vec<StoredLetter>) -> Result<Option<(String, u64)>> {
        let pipeline = self.pipeline;
        let mut input = ReplayInput::default();
        let (undecoded, others): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|letter| letter.refused_by == Some(RefusedBy::Source));
        let mut by_epoch: BTreeMap<u64, Vec<StoredLetter>> = BTreeMap::new();
        for letter in undecoded {
            by_epoch.entry(letter.epoch).or_default().push(letter);
        }
        if by_epoch.is_empty() {
            // Without a letter of its own the source tells its columns only.
            by_epoch.insert(0, Vec::new());
        }
        let mut rows: BTreeMap<String, (SchemaRef, Vec<RecordBatch>)> = BTreeMap::new();
        for group in by_epoch.into_values() {
            let of_source: Vec<DeadLetter> = group.iter().map(|letter| letter.letter.clone()).collect();
            let known = &self.log.head.checkpoint;
            let redecode = pipeline.backoff.retry("redecode", || pipeline.source.redecode(&of_source, known));
            let again = self.step("redecode", None, redecode).await?;
            let unable: BTreeMap<&DeadLetter, &String> =
                again.unable.iter().map(|(letter, reason)| (letter, reason)).collect();
            let at = group.first().map_or(DateTime::UNIX_EPOCH, |letter| letter.at);
            for letter in group {
                match unable.get(&letter.letter) {
                    Some(reason) => self.not_replayed.push(NotReplayed { letter, reason: (*reason).clone() }),
                    None => input.letters.push(letter),
                }
            }
            input.rejects.extend(again.rejects);
            for (name, (schema, batches)) in again.rows {
                let dated = pipeline.takes_source_as_of(&name) && !schema.fields().is_empty();
                // A batch without rows tells the schema.
                let batches = std::iter::once(RecordBatch::new_empty(Arc::clone(&schema))).chain(batches);
                let batches: Vec<_> = batches
                    .map(|batch| if dated { learned_at(&batch, at) } else { Ok(batch) })
                    .collect::<Result<_>>()?;
                let schema = batches.first().map_or(schema, RecordBatch::schema);
                let (known, all) = rows.entry(name).or_insert_with(|| (Arc::clone(&schema), Vec::new()));
                if *known != schema {
                    return Err(Error::internal("a source gave other columns for other letters of one relation"));
                }
                all.extend(batches);
            }
        }
        input.letters.extend(others);
        if input.letters.is_empty() {
            return Ok(None);
        }
        let folder = self.save_replay(&mut input, rows).await?;
        Ok(Some((folder, input.letters.len() as u64)))
    }

    async fn save_replay(
        &self,
        input: &mut ReplayInput,
        rows: BTreeMap<String, (SchemaRef, Vec<RecordBatch>)>,
    ) -> Result<String> {
        let store = &self.pipeline.store;
        let generation = self.log.generation().0;
        let of = |path: &str| {
            let (_, name) = path.rsplit_once("/replays/g").or_else(|| path.split_once("replays/g"))?;
            name.split(['-', '/']).next()?.parse::<u64>().ok()
        };
        // No replay is open, so what is there of older runners leads nowhere.
        store.remove("replays", |path| of(path).is_some_and(|of| of <= generation)).await?;
        let folder = format!("replays/g{generation}-{}", next_epoch(&self.log.head));
        for (name, (schema, batches)) in rows.into_iter().filter(|(_, (schema, _))| !schema.fields().is_empty()) {
            let object = format!("{folder}/{name}.parquet");
            store.put(&object, parquet_bytes(&schema, &batches)?).await?;
            input.relations.insert(name, object);
        }
        store.put(&format!("{folder}/input.json"), crate::store::json(input)?).await?;
        Ok(folder)
    }
}

/// Removes what a replay that is committed has read.
pub(crate) async fn forget(store: &CheckpointStore, folder: &str) {
    if let Err(error) = store.remove(folder, |_| true).await {
        tracing::warn!(error = %error.chain().join(": "), "what a replay has read could not be removed from the checkpoint store; the next replay does");
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Float64Type};
    use proptest::prelude::*;

    use super::*;

    fn stored(payload: String) -> StoredLetter {
        StoredLetter {
            id: "0".into(),
            epoch: 3,
            at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            refused_by: Some(RefusedBy::Step),
            letter: DeadLetter { payload, ..DeadLetter::default() },
            replayed: None,
        }
    }

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("symbol", DataType::Utf8, false),
            Field::new("ts", instant(), true),
            Field::new("close", DataType::Float64, true),
            Field::new(SOURCE_AS_OF, instant(), true),
        ]))
    }

    fn reason(payload: &str) -> String {
        let letter = stored(payload.into());
        let (rows, unfit) = rows_of(&[&letter], &schema()).unwrap();
        assert_eq!(rows.num_rows(), 0, "{payload}");
        unfit.into_iter().next().unwrap().reason
    }

    #[test]
    fn payloads_that_are_no_rows_say_why() {
        assert!(reason("A,2024-01-02,1.5").contains("no JSON object"));
        assert!(reason("[1]").contains("no JSON object"));
        assert!(reason(r#"{"symbol":"A","volume":1}"#).contains("`volume`"));
        assert!(reason(r#"{"close":1}"#).contains("lacks `symbol`"));
        assert!(reason(r#"{"symbol":"A","close":"x"}"#).contains("close"));
    }

    proptest! {
        /// A row that was refused is the row that enters again, to the last digit.
        #[test]
        fn a_payload_is_the_row_that_was_refused(close in proptest::option::of(proptest::num::f64::NORMAL), micros in 0_i64..4_000_000_000_000_000) {
            let row = RecordBatch::try_new(schema(), vec![
                Arc::new(arrow::array::StringArray::from(vec!["\u{e4}\"{,"])) as ArrayRef,
                Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")),
                Arc::new(arrow::array::Float64Array::from(vec![close])),
                Arc::new(TimestampMicrosecondArray::from(vec![None]).with_timezone("UTC")),
            ]).unwrap();
            let mut text = Vec::new();
            let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
            writer.write(&row).unwrap();
            writer.finish().unwrap();
            let letter = stored(String::from_utf8(text).unwrap());
            let (again, unfit) = rows_of(&[&letter], &schema()).unwrap();
            prop_assert!(unfit.is_empty(), "{:?}", unfit);
            prop_assert_eq!(again.columns().get(..3), row.columns().get(..3));
            let at = again.column(3).as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(0);
            prop_assert_eq!(at, letter.at.timestamp_micros());
            prop_assert_eq!(again.column(2).as_primitive::<Float64Type>().iter().next(), Some(close));
        }
    }
}
