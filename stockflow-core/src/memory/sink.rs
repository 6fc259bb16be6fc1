//! A sink in memory, which is a history, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, AsArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::datasource::{MemTable, TableProvider};
use futures::TryStreamExt;
use serde_json::json;

use crate::error::{Error, ErrorClass, Origin, Result};
use crate::history::History;
use crate::relation::RelationSchema;
use crate::sink::{EpochRows, Fence, Idempotence, RefusedRow, Sink, Staged, WriteMode, Written};
use crate::token::{EpochToken, Generation, SinkId};

/// When a [`MemorySink`] refuses rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefuseIn {
    /// In `stage`: the rows are left out.
    Stage,
    /// In `commit`: it rolls back (transactional) or writes the others (keyed).
    Commit,
}

/// A row with its version, under its key.
#[derive(Debug, Clone)]
struct Row {
    version: Option<i64>,
    row: RecordBatch,
}

#[derive(Debug, Default, Clone)]
struct Table {
    schema: Option<SchemaRef>,
    /// By key; appended rows have a running number as key.
    rows: BTreeMap<String, Row>,
    appended: u64,
}

#[derive(Debug, Default)]
struct Data {
    versions: Vec<Table>,
    token: Option<EpochToken>,
    generation: Option<Generation>,
    commits: u32,
    outage: u32,
    fail_after_commit: bool,
    mended: bool,
}

/// A sink that keeps its rows in memory; every commit is a version of its table.
///
/// # Guarantees
///
/// Transactional with an atomic fence, or keyed or none if told so.
#[derive(Debug)]
pub struct MemorySink {
    mode: WriteMode,
    idempotence: Idempotence,
    refuse: Option<(RefuseIn, String, String)>,
    data: Arc<Mutex<Data>>,
    /// The generation that this handle was opened with.
    own: Mutex<Option<Generation>>,
}

impl Clone for MemorySink {
    /// Another handle on the same rows, not opened yet.
    fn clone(&self) -> Self {
        Self {
            mode: self.mode,
            idempotence: self.idempotence,
            refuse: self.refuse.clone(),
            data: Arc::clone(&self.data),
            own: Mutex::default(),
        }
    }
}

/// What `stage` leaves for `commit`.
#[derive(Debug)]
struct Pending {
    relation: RelationSchema,
    batches: Vec<RecordBatch>,
    generation: Option<Generation>,
}

impl MemorySink {
    /// An empty, transactional sink.
    pub fn new(mode: WriteMode) -> Self {
        Self {
            mode,
            idempotence: Idempotence::Transactional,
            refuse: None,
            data: Arc::default(),
            own: Mutex::default(),
        }
    }

    /// The same sink with another idempotence.
    #[must_use]
    pub fn with_idempotence(mut self, idempotence: Idempotence) -> Self {
        self.idempotence = idempotence;
        self
    }

    /// Refuses rows whose `column` has this value as text.
    #[must_use]
    pub fn refusing(mut self, when: RefuseIn, column: &str, value: &str) -> Self {
        self.refuse = Some((when, column.into(), value.into()));
        self
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next calls fail with a transient error.
    pub fn set_outage(&self, calls: u32) {
        self.data().outage = calls;
    }

    /// The next commit takes place and then reports a transient error, as after a lost answer.
    pub fn set_fail_after_commit(&self) {
        self.data().fail_after_commit = true;
    }

    /// How many commits took place.
    pub fn commits(&self) -> u32 {
        self.data().commits
    }

    /// The epoch that it holds.
    pub fn token(&self) -> Option<EpochToken> {
        self.data().token
    }

    /// Forgets everything, as a lost disk does.
    pub fn wipe(&self) {
        *self.data() = Data::default();
    }

    /// What a reader sees, ordered by key; `None` before the first commit.
    ///
    /// # Errors
    ///
    /// None in practice; Arrow's concatenation is fallible.
    pub fn read(&self) -> Result<Option<RecordBatch>> {
        self.data().versions.last().and_then(Table::batch).transpose()
    }

    /// The number of rows that a reader sees.
    pub fn n_rows(&self) -> usize {
        self.data().versions.last().map_or(0, |table| table.rows.len())
    }

    /// From now on it refuses no row.
    pub fn mend(&self) {
        self.data().mended = true;
    }

    fn check_outage(&self) -> Result<()> {
        let mut data = self.data();
        if data.outage == 0 {
            return Ok(());
        }
        data.outage -= 1;
        Err(Error::refused(Origin::new("memory"), ErrorClass::Transient, "the sink is out of reach"))
    }

    /// Takes the rows that the sink refuses out.
    fn refuse(
        &self,
        when: RefuseIn,
        relation: &RelationSchema,
        batch: &RecordBatch,
    ) -> Result<(RecordBatch, Vec<RefusedRow>)> {
        let Some((at, column, value)) = &self.refuse else { return Ok((batch.clone(), Vec::new())) };
        let Some(values) = batch.column_by_name(column).filter(|_| *at == when && !self.data().mended) else {
            return Ok((batch.clone(), Vec::new()));
        };
        let values = cast(values, &DataType::Utf8)?;
        let bad: Vec<bool> = values.as_string::<i32>().iter().map(|text| text == Some(value.as_str())).collect();
        let mut refused = Vec::new();
        for idx in (0..batch.num_rows()).filter(|idx| bad.get(*idx) == Some(&true)) {
            let text = |column: &str| -> Result<Option<String>> {
                let Some(column) = batch.column_by_name(column) else { return Ok(None) };
                let column = cast(&column.slice(idx, 1), &DataType::Utf8)?;
                Ok(column.as_string::<i32>().iter().flatten().next().map(str::to_owned))
            };
            let key = relation
                .key
                .iter()
                .map(|column| Ok((column.clone(), text(column)?.unwrap_or_default())))
                .collect::<Result<_>>()?;
            let mut payload = Vec::new();
            LineDelimitedWriter::new(&mut payload).write(&batch.slice(idx, 1))?;
            refused.push(RefusedRow {
                key,
                symbol: text("symbol")?,
                reason: format!("`{column}` must not be `{value}`"),
                payload: String::from_utf8_lossy(payload.trim_ascii_end()).into_owned(),
            });
        }
        let keep: arrow::array::BooleanArray = bad.iter().map(|bad| Some(!bad)).collect();
        Ok((arrow::compute::filter_record_batch(batch, &keep)?, refused))
    }
}

impl Table {
    fn batch(&self) -> Option<Result<RecordBatch>> {
        let schema = self.schema.as_ref()?;
        Some(concat_batches(schema, self.rows.values().map(|row| &row.row)).map_err(Into::into))
    }

    fn merge(&mut self, mode: WriteMode, relation: &RelationSchema, batch: &RecordBatch) -> Result<u64> {
        let texts = relation
            .key
            .iter()
            .filter_map(|column| batch.column_by_name(column))
            .map(|column| cast(column, &DataType::Utf8))
            .collect::<Result<Vec<_>, _>>()?;
        let versions = relation
            .version
            .as_ref()
            .and_then(|column| batch.column_by_name(column))
            .map(|column| cast(column, &DataType::Int64))
            .transpose()?;
        let mut written = 0;
        for idx in 0..batch.num_rows() {
            let version = versions
                .as_ref()
                .map(|versions| versions.as_primitive::<Int64Type>())
                .filter(|versions| versions.is_valid(idx))
                .map(|versions| versions.value(idx));
            let row = Row { version, row: batch.slice(idx, 1) };
            let key = if mode == WriteMode::Append || texts.is_empty() {
                self.appended += 1;
                format!("{:020}", self.appended)
            } else {
                texts.iter().map(|column| column.as_string::<i32>().value(idx)).collect::<Vec<_>>().join("|")
            };
            // A higher version wins, an equal or lower one changes nothing; without versions the later row does.
            let wins = |known: &Row| mode != WriteMode::Merge || versions.is_none() || version > known.version;
            let wins = self.rows.get(&key).is_none_or(wins);
            if wins {
                self.rows.insert(key, row);
                written += 1;
            }
        }
        Ok(written)
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn open(&self, _sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>> {
        self.check_outage()?;
        let mut data = self.data();
        if let Some(newer) = data.generation.filter(|known| *known > generation) {
            return Err(Error::Fenced { pipeline: "memory".into(), own: generation.0, newer: newer.0 });
        }
        data.generation = Some(generation);
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(generation);
        Ok(if self.idempotence == Idempotence::Transactional { data.token } else { None })
    }

    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        self.check_outage()?;
        let generation = *self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batches = Vec::new();
        let mut refused = Vec::new();
        for stream in rows.partitions().await? {
            for batch in stream.try_collect::<Vec<_>>().await? {
                let (kept, bad) = self.refuse(RefuseIn::Stage, rows.relation(), &batch)?;
                batches.push(kept);
                refused.extend(bad);
            }
        }
        let n_rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let pending = Pending { relation: rows.relation().clone(), batches, generation };
        Ok(Staged { refused, ..Staged::new(*epoch, n_rows, pending) })
    }

    async fn commit(&self, staged: Staged) -> Result<Written> {
        self.check_outage()?;
        let token = staged.token;
        let Pending { relation, batches, generation } = staged.into_payload()?;
        let mut kept = Vec::new();
        let mut refused = Vec::new();
        for batch in &batches {
            let (good, bad) = self.refuse(RefuseIn::Commit, &relation, batch)?;
            kept.push(good);
            refused.extend(bad);
        }
        if !refused.is_empty() && self.idempotence == Idempotence::Transactional {
            return Ok(Written { refused, ..Written::default() });
        }
        let mut data = self.data();
        if let (Some(newer), Some(own)) = (data.generation, generation)
            && newer > own
        {
            return Err(Error::Fenced { pipeline: "memory".into(), own: own.0, newer: newer.0 });
        }
        let transactional = self.idempotence == Idempotence::Transactional;
        if transactional && data.token == Some(token) {
            return Ok(Written { location: "memory".into(), ..Written::default() });
        }
        let mut table = data.versions.last().filter(|_| self.mode != WriteMode::Overwrite).cloned().unwrap_or_default();
        table.schema = Some(Arc::clone(&relation.schema));
        let mut rows = 0;
        for batch in &kept {
            rows += table.merge(self.mode, &relation, batch)?;
        }
        data.versions.push(table);
        data.token = transactional.then_some(token);
        data.commits += 1;
        if std::mem::take(&mut data.fail_after_commit) {
            return Err(Error::refused(
                Origin::new("memory"),
                ErrorClass::Transient,
                "the answer to the commit was lost",
            ));
        }
        Ok(Written { rows, location: "memory".into(), refused, ..Written::default() })
    }

    async fn abort(&self, _staged: Staged) -> Result<()> {
        Ok(())
    }

    fn idempotence(&self) -> Idempotence {
        self.idempotence
    }

    fn write_mode(&self) -> WriteMode {
        self.mode
    }

    fn fence(&self) -> Fence {
        Fence::Atomic
    }

    fn definition(&self) -> serde_json::Value {
        json!({"type": "memory", "mode": self.mode})
    }
}

#[async_trait]
impl History for MemorySink {
    async fn version(&self) -> Result<Option<String>> {
        Ok(self.data().versions.len().checked_sub(1).map(|version| version.to_string()))
    }

    async fn table(&self, version: &str, symbols: Option<&[String]>) -> Result<Arc<dyn TableProvider>> {
        let unknown =
            || Error::refused(Origin::new("memory").position(version), ErrorClass::Config, "there is no such version");
        let table = version
            .parse()
            .ok()
            .and_then(|version: usize| self.data().versions.get(version).cloned())
            .ok_or_else(unknown)?;
        let batch = table.batch().ok_or_else(unknown)??;
        let batch = match (symbols, batch.column_by_name("symbol")) {
            (Some(symbols), Some(column)) => {
                let column = cast(column, &DataType::Utf8)?;
                let wanted: arrow::array::BooleanArray = column
                    .as_string::<i32>()
                    .iter()
                    .map(|symbol| Some(symbol.is_some_and(|symbol| symbols.iter().any(|wanted| wanted == symbol))))
                    .collect();
                arrow::compute::filter_record_batch(&batch, &wanted)?
            }
            _ => batch,
        };
        Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
    }
}
