//! At the history relation: what is new, what is corrected, what is already known.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use datafusion::prelude::{DataFrame, SessionContext};

use super::clock::instant;
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::history::History;
use crate::relation::Relation;

/// Providers wobble in the seventh digit: a smaller relative difference is no correction.
pub(crate) const TOLERANCE: f64 = 1e-6;

/// Columns that say how we came to know a bar, not what it is.
const PROVENANCE: [&str; 2] = ["provider", "source_ts"];

/// What a symbol's recomputation starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Touched {
    /// The first bar that is new or corrected, in µs.
    pub(crate) first: i64,
    /// The last bar of the epoch, in µs.
    pub(crate) last: i64,
    /// The first bar is not newer than the newest one before.
    pub(crate) late: bool,
}

/// The epoch held against the history.
#[derive(Debug)]
pub(crate) struct Compared {
    /// New and corrected rows.
    pub(crate) changed: Relation,
    /// How many.
    pub(crate) n_changed: u64,
    /// Rows that the history holds as they are, or newer.
    pub(crate) n_unchanged: u64,
    /// By symbol.
    pub(crate) touched: BTreeMap<String, Touched>,
    /// The epoch's rows, unchanged ones as well.
    given: Option<DataFrame>,
    /// What the history holds of the epoch's symbols.
    pub(crate) known: Option<DataFrame>,
    /// The columns that name a row.
    key: Vec<String>,
}

/// Quotes a name for SQL.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A session of its own over the same functions, so that names of one comparison do not leak.
pub(crate) fn child(epoch: &EpochContext, tables: &[(&str, DataFrame)]) -> Result<SessionContext> {
    let session = crate::functions::without_tables(&epoch.session);
    for (name, frame) in tables {
        session.register_table(*name, frame.clone().into_view())?;
    }
    Ok(session)
}

/// Holds the epoch's rows against the history at a pinned version.
///
/// # Errors
///
/// [`Error::Schema`] if the relation lacks its key or version, whatever reading gives.
pub(crate) async fn compare(
    epoch: &EpochContext,
    name: &str,
    relation: &Relation,
    history: &dyn History,
    version: Option<&str>,
) -> Result<Compared> {
    let key = relation.key.clone();
    if key.is_empty() || !key.iter().any(|column| column == "symbol") || !key.iter().any(|column| column == "ts") {
        return Err(Error::schema(name, "a history relation needs a key with `symbol` and `ts`"));
    }
    let relation = &super::latest::latest(epoch, name, relation).await?;
    let rows = epoch.share(relation.frame.clone()).await?;
    let n_rows = rows.clone().count().await? as u64;
    let symbols = symbols_of(&rows).await?;
    let known = match version {
        Some(version) if !symbols.is_empty() => {
            Some(epoch.session.read_table(history.table(version, Some(&symbols)).await?)?)
        }
        _ => None,
    };
    let Some(known) = known else {
        let touched = touched(&rows, None, epoch).await?;
        return Ok(Compared {
            changed: relation.with_frame(rows).with_unique_keys(),
            n_changed: n_rows,
            n_unchanged: 0,
            touched,
            given: None,
            known: None,
            key,
        });
    };
    let known = epoch.share(known).await?;
    let session = child(epoch, &[("e", rows.clone()), ("h", known.clone())])?;
    let given = Some(rows);
    let sql = changed_sql(relation, &key, &known);
    let changed = epoch.share(session.sql(&sql).await?).await?;
    let n_changed = changed.clone().count().await? as u64;
    let touched = touched(&changed, Some(&known), epoch).await?;
    Ok(Compared {
        changed: relation.with_frame(changed).with_unique_keys(),
        n_changed,
        n_unchanged: n_rows.saturating_sub(n_changed),
        touched,
        given,
        known: Some(known),
        key,
    })
}

/// The rows of `e` that are not in `h` by key, or differ from it and have a higher version.
fn changed_sql(relation: &Relation, key: &[String], known: &DataFrame) -> String {
    let on: Vec<String> = key.iter().map(|column| format!("e.{0} = h.{0}", quote(column))).collect();
    let newer = match &relation.version {
        Some(version) => format!("e.{0} > h.{0}", quote(version)),
        None => "true".into(),
    };
    let is_value = |column: &str| {
        !key.iter().any(|key| key == column)
            && relation.version.as_deref() != Some(column)
            && !PROVENANCE.contains(&column)
    };
    let differs: Vec<String> = relation
        .schema()
        .fields()
        .iter()
        .filter(|field| is_value(field.name()) && known.schema().has_column_with_unqualified_name(field.name()))
        .map(|field| differs(&quote(field.name()), field.data_type().is_floating()))
        .collect();
    let differs = if differs.is_empty() { "false".into() } else { differs.join(" OR ") };
    let first = quote(&key[0]);
    format!(
        "SELECT e.* FROM e LEFT JOIN h ON {} WHERE h.{first} IS NULL OR ({newer} AND ({differs}))",
        on.join(" AND ")
    )
}

fn differs(column: &str, is_float: bool) -> String {
    if !is_float {
        return format!("(e.{column} IS DISTINCT FROM h.{column})");
    }
    // NaN equals NaN in DataFusion's order; the subtraction must not be asked then.
    format!(
        "(CASE WHEN e.{column} IS NULL OR h.{column} IS NULL THEN e.{column} IS DISTINCT FROM h.{column} \
         WHEN e.{column} = h.{column} THEN false \
         ELSE abs(e.{column} - h.{column}) > {TOLERANCE:e} * greatest(abs(e.{column}), abs(h.{column})) END)"
    )
}

async fn symbols_of(rows: &DataFrame) -> Result<Vec<String>> {
    let batches = rows.clone().select_columns(&["symbol"])?.distinct()?.collect().await?;
    let mut symbols = Vec::new();
    for batch in &batches {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
        symbols.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    symbols.sort();
    Ok(symbols)
}

/// By symbol where the recomputation starts, and whether that is before the end of what was known.
async fn touched(
    changed: &DataFrame,
    known: Option<&DataFrame>,
    epoch: &EpochContext,
) -> Result<BTreeMap<String, Touched>> {
    let micros = |column: &str| format!("arrow_cast({column}, 'Timestamp(Microsecond, None)')");
    let first = "SELECT symbol, min(ts) AS first, max(ts) AS last FROM c GROUP BY symbol";
    let sql = match known {
        None => format!(
            "SELECT arrow_cast(symbol, 'Utf8') AS symbol, {} AS first, {} AS last, arrow_cast(NULL, 'Timestamp(Microsecond, None)') AS newest FROM ({first})",
            micros("first"),
            micros("last")
        ),
        Some(_) => format!(
            "SELECT arrow_cast(f.symbol, 'Utf8') AS symbol, {} AS first, {} AS last, {} AS newest FROM ({first}) f \
             LEFT JOIN (SELECT symbol, max(ts) AS newest FROM h GROUP BY symbol) k ON f.symbol = k.symbol",
            micros("f.first"),
            micros("f.last"),
            micros("k.newest")
        ),
    };
    let mut tables = vec![("c", changed.clone())];
    tables.extend(known.map(|known| ("h", known.clone())));
    let batches = child(epoch, &tables)?.sql(&sql).await?.collect().await?;
    let mut found = BTreeMap::new();
    for batch in &batches {
        let symbols = batch.column(0).as_string::<i32>();
        let first = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        let last = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        let newest = batch.column(3).as_primitive::<TimestampMicrosecondType>();
        for idx in 0..batch.num_rows() {
            if symbols.is_valid(idx) && first.is_valid(idx) {
                let newest = newest.is_valid(idx).then(|| newest.value(idx));
                let late = newest.is_some_and(|newest| first.value(idx) <= newest);
                let touched = Touched { first: first.value(idx), last: last.value(idx), late };
                found.insert(symbols.value(idx).to_owned(), touched);
            }
        }
    }
    Ok(found)
}

impl Compared {
    /// History and epoch together, one row a key: of the touched symbols, or of all.
    pub(crate) async fn merged(
        &self,
        epoch: &EpochContext,
        history: &dyn History,
        version: Option<&str>,
        all: bool,
    ) -> Result<Relation> {
        let Some(version) = version else { return Ok(self.changed.clone()) };
        let symbols: Vec<String> = self.touched.keys().cloned().collect();
        if !all && symbols.is_empty() {
            return Ok(self.changed.clone());
        }
        let table = history.table(version, if all { None } else { Some(&symbols) }).await?;
        let known = epoch.session.read_table(table)?;
        let schema = self.changed.schema();
        let columns = self.columns_of(&known);
        let on: Vec<String> = self.key.iter().map(|column| format!("e.{0} = h.{0}", quote(column))).collect();
        let names: Vec<String> = schema.fields().iter().map(|field| quote(field.name())).collect();
        let sql = format!(
            "SELECT {} FROM h LEFT ANTI JOIN e ON {} UNION ALL SELECT {} FROM e",
            columns.join(", "),
            on.join(" AND "),
            names.join(", ")
        );
        let session = child(epoch, &[("e", self.changed.frame.clone()), ("h", known)])?;
        Ok(self.changed.with_frame(session.sql(&sql).await?).with_unique_keys())
    }

    /// How many rows the history has that the epoch does not.
    pub(crate) async fn not_given_again(
        &self,
        epoch: &EpochContext,
        history: &dyn History,
        version: Option<&str>,
    ) -> Result<i64> {
        let (Some(version), Some(given)) = (version, &self.given) else { return Ok(0) };
        let known = epoch.session.read_table(history.table(version, None).await?)?;
        let on: Vec<String> = self.key.iter().map(|column| format!("e.{0} = h.{0}", quote(column))).collect();
        let sql = format!("SELECT h.* FROM h LEFT ANTI JOIN e ON {}", on.join(" AND "));
        let rows = child(epoch, &[("e", given.clone()), ("h", known)])?.sql(&sql).await?.count().await?;
        Ok(i64::try_from(rows).unwrap_or(i64::MAX))
    }

    /// The history alone, in the relation's columns: of the touched symbols, or of all.
    pub(crate) async fn before(
        &self,
        epoch: &EpochContext,
        history: &dyn History,
        version: &str,
        all: bool,
    ) -> Result<Relation> {
        let symbols: Vec<String> = self.touched.keys().cloned().collect();
        let known = epoch.session.read_table(history.table(version, (!all).then_some(&symbols)).await?)?;
        let sql = format!("SELECT {} FROM h", self.columns_of(&known).join(", "));
        Ok(self.changed.with_frame(child(epoch, &[("h", known)])?.sql(&sql).await?).with_unique_keys())
    }

    /// The relation's columns as they are to be taken from `h`.
    fn columns_of(&self, known: &DataFrame) -> Vec<String> {
        let columns = self.changed.schema();
        let column = |field: &Arc<Field>| {
            let name = quote(field.name());
            let value = if known.schema().has_column_with_unqualified_name(field.name()) {
                format!("h.{name}")
            } else {
                "NULL".into()
            };
            format!("arrow_cast({value}, '{}') AS {name}", field.data_type())
        };
        columns.fields().iter().map(column).collect()
    }

    /// Treats every symbol of the history as late from its first bar.
    pub(crate) async fn touch_all(
        &mut self,
        epoch: &EpochContext,
        history: &dyn History,
        version: Option<&str>,
    ) -> Result<()> {
        if let Some(version) = version {
            let known = epoch.session.read_table(history.table(version, None).await?)?;
            for (symbol, all) in touched(&known, None, epoch).await? {
                let own = self.touched.entry(symbol).or_insert(all);
                own.last = own.last.max(all.last);
            }
        }
        for touched in self.touched.values_mut() {
            touched.first = i64::MIN;
            touched.late = true;
        }
        Ok(())
    }

    /// Goes on with these of the changed rows only.
    pub(crate) async fn keep(&mut self, epoch: &EpochContext, rows: DataFrame) -> Result<()> {
        self.n_changed = rows.clone().count().await? as u64;
        self.touched = touched(&rows, None, epoch).await?;
        self.changed = self.changed.with_frame(rows).with_unique_keys();
        Ok(())
    }

    /// The touched symbols as a table `symbol, first` (µs since 1970, Int64).
    pub(crate) fn touched_table(&self, epoch: &EpochContext) -> Result<DataFrame> {
        times_table(epoch, "first", self.touched.iter().map(|(symbol, touched)| (symbol, touched.first)).collect())
    }
}

fn times_table(epoch: &EpochContext, name: &str, times: Vec<(&String, i64)>) -> Result<DataFrame> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new(name, DataType::Int64, false),
    ]));
    let symbols = StringArray::from_iter_values(times.iter().map(|(symbol, _)| symbol));
    let times = Int64Array::from_iter_values(times.iter().map(|(_, time)| *time));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(symbols), Arc::new(times)])?;
    epoch.table(schema, vec![vec![batch]])
}

/// Whether the time axis of a frame can be compared with `first`.
pub(crate) fn has_time(relation: &Relation) -> bool {
    relation.has("symbol")
        && relation.has("ts")
        && relation.frame.schema().field_with_unqualified_name("ts").is_ok_and(|field| *field.data_type() == instant())
}
