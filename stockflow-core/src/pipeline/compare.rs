//! At the history relation: what is new, what is corrected, what is already known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ident, lit};
use datafusion::prelude::{DataFrame, SessionContext};

use super::clock::instant;
use super::state::LastBars;
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::history::History;
use crate::relation::Relation;

/// Providers wobble in the seventh digit: a smaller relative difference is no correction.
pub(crate) const TOLERANCE: f64 = 1e-6;

/// Columns that say how we came to know a bar, not what it is.
const PROVENANCE: [&str; 2] = ["provider", "source_ts"];

/// What a symbol's recomputation starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touched {
    /// The first bar that is new or corrected, in µs.
    pub(crate) first: i64,
    /// The last bar of the epoch, in µs.
    pub(crate) last: i64,
    /// The first bar is not newer than the newest one before.
    pub(crate) late: bool,
    /// Bars of it were delivered before.
    pub(crate) known: bool,
    /// The price basis of its new bars, if they have one and only one.
    pub(crate) basis: Option<String>,
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
/// `last` is what the state table knows of the symbols' newest bars: whatever is newer than those is new, and need not be
/// looked up.
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
    last: &LastBars,
) -> Result<Compared> {
    let key = relation.key.clone();
    if key.is_empty() || !key.iter().any(|column| column == "symbol") || !key.iter().any(|column| column == "ts") {
        return Err(Error::schema(name, "a history relation needs a key with `symbol` and `ts`"));
    }
    let relation = &super::latest::latest(epoch, name, relation).await?;
    let rows = epoch.share(relation.frame.clone()).await?;
    let (all, n_rows) = touched(&rows, None, last, epoch).await?;
    // Of a symbol without an entry nothing is known: it may have any bars in the history.
    let is_newer = |symbol: &str, it: &Touched| last.contains_key(symbol) && !it.late;
    let unsure: Vec<String> =
        all.iter().filter(|(symbol, it)| !is_newer(symbol, it)).map(|(symbol, _)| symbol.clone()).collect();
    let known = match version {
        Some(version) if !unsure.is_empty() => {
            let table = epoch.session.read_table(history.table(version, Some(&unsure)).await?)?;
            Some(epoch.share(within_reach(table, &unsure, &all, last)?).await?)
        }
        _ => None,
    };
    let Some(known) = known else {
        return Ok(Compared {
            changed: relation.with_frame(rows.clone()).with_unique_keys(),
            n_changed: n_rows,
            n_unchanged: 0,
            touched: all,
            given: version.map(|_| rows),
            known: None,
            key,
        });
    };
    let session = child(epoch, &[("e", rows.clone()), ("h", known.clone())])?;
    let given = Some(rows);
    let sql = changed_sql(relation, &key, &known);
    let changed = epoch.share(session.sql(&sql).await?).await?;
    let (touched, n_changed) = touched(&changed, Some(&known), last, epoch).await?;
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

/// Of these symbols' history only what the epoch's bars can meet: nothing before the first of them.
fn within_reach(
    table: DataFrame,
    symbols: &[String],
    all: &BTreeMap<String, Touched>,
    last: &LastBars,
) -> Result<DataFrame> {
    let is_time = table.schema().field_with_unqualified_name("ts").is_ok_and(|field| *field.data_type() == instant());
    // Without an entry the newest bar is not known, and must be found.
    if !is_time || symbols.iter().any(|symbol| !last.contains_key(symbol)) {
        return Ok(table);
    }
    let first = symbols.iter().filter_map(|symbol| all.get(symbol)).map(|it| it.first).min();
    match first {
        Some(first) => {
            let first = ScalarValue::TimestampMicrosecond(Some(first), Some("UTC".into()));
            Ok(table.filter(ident("ts").gt_eq(lit(first)))?)
        }
        None => Ok(table),
    }
}

/// The rows of `e` that are not in `h` by key, or differ from it and have a higher version.
pub(crate) fn changed_sql(relation: &Relation, key: &[String], known: &DataFrame) -> String {
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

/// By symbol where the recomputation starts, and whether that is before the end of what was known; and how many rows.
async fn touched(
    changed: &DataFrame,
    known: Option<&DataFrame>,
    last: &LastBars,
    epoch: &EpochContext,
) -> Result<(BTreeMap<String, Touched>, u64)> {
    let micros = |column: &str| format!("arrow_cast({column}, 'Timestamp(Microsecond, None)')");
    let has_basis = changed.schema().has_column_with_unqualified_name("basis");
    let basis = |of: &str| {
        let value = if has_basis { format!("{of}(basis)") } else { "NULL".into() };
        format!("arrow_cast({value}, 'Utf8') AS {of}_basis")
    };
    let first = format!(
        "SELECT symbol, min(ts) AS first, max(ts) AS last, count(*) AS n, {}, {} FROM c GROUP BY symbol",
        basis("min"),
        basis("max")
    );
    let rest = "n, min_basis, max_basis";
    let sql = match known {
        None => format!(
            "SELECT arrow_cast(symbol, 'Utf8') AS symbol, {} AS first, {} AS last, arrow_cast(NULL, 'Timestamp(Microsecond, None)') AS newest, {rest} FROM ({first})",
            micros("first"),
            micros("last")
        ),
        Some(_) => format!(
            "SELECT arrow_cast(f.symbol, 'Utf8') AS symbol, {} AS first, {} AS last, {} AS newest, {rest} FROM ({first}) f \
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
    let mut n_rows = 0;
    for batch in &batches {
        let symbols = batch.column(0).as_string::<i32>();
        let first = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        let until = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        let newest = batch.column(3).as_primitive::<TimestampMicrosecondType>();
        let counts = batch.column(4).as_primitive::<Int64Type>();
        let (least, greatest) = (batch.column(5).as_string::<i32>(), batch.column(6).as_string::<i32>());
        for idx in 0..batch.num_rows() {
            n_rows += counts.value(idx).max(0) as u64;
            if symbols.is_valid(idx) && first.is_valid(idx) {
                let symbol = symbols.value(idx);
                let newest = match last.get(symbol) {
                    Some(last) => Some(last.ts),
                    None => newest.is_valid(idx).then(|| newest.value(idx)),
                };
                let late = newest.is_some_and(|newest| first.value(idx) <= newest);
                let is_one = least.is_valid(idx) && least.value(idx) == greatest.value(idx);
                let touched = Touched {
                    first: first.value(idx),
                    last: until.value(idx),
                    late,
                    known: newest.is_some(),
                    basis: is_one.then(|| least.value(idx).to_owned()),
                };
                found.insert(symbol.to_owned(), touched);
            }
        }
    }
    Ok((found, n_rows))
}

impl Compared {
    /// The changed rows of some symbols.
    pub(crate) async fn of(&self, epoch: &EpochContext, symbols: &BTreeSet<String>) -> Result<Relation> {
        if self.touched.keys().all(|symbol| symbols.contains(symbol)) {
            return Ok(self.changed.clone());
        }
        let wanted = times_table(epoch, "first", symbols.iter().map(|symbol| (symbol, 0)).collect())?;
        let session = child(epoch, &[("e", self.changed.frame.clone()), ("t", wanted)])?;
        let frame = session.sql("SELECT e.* FROM e LEFT SEMI JOIN t ON e.symbol = t.symbol").await?;
        Ok(self.changed.with_frame(epoch.share(frame).await?).with_unique_keys())
    }

    /// History and epoch together, one row a key: of these symbols, or of all.
    pub(crate) async fn merged(
        &self,
        epoch: &EpochContext,
        history: &dyn History,
        version: Option<&str>,
        symbols: Option<&BTreeSet<String>>,
    ) -> Result<Relation> {
        let changed = match symbols {
            Some(symbols) => self.of(epoch, symbols).await?,
            None => self.changed.clone(),
        };
        let Some(version) = version else { return Ok(changed) };
        if symbols.is_some_and(BTreeSet::is_empty) {
            return Ok(changed);
        }
        let symbols: Option<Vec<String>> = symbols.map(|symbols| symbols.iter().cloned().collect());
        let table = history.table(version, symbols.as_deref()).await?;
        let known = epoch.session.read_table(table)?;
        let schema = self.changed.schema();
        let sql = merged_sql(&schema, &self.key, &columns_as(&schema, &known));
        let session = child(epoch, &[("e", changed.frame.clone()), ("h", known)])?;
        Ok(changed.with_frame(session.sql(&sql).await?).with_unique_keys())
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
        let sql = format!("SELECT {} FROM h", columns_as(&self.changed.schema(), &known).join(", "));
        Ok(self.changed.with_frame(child(epoch, &[("h", known)])?.sql(&sql).await?).with_unique_keys())
    }

    /// Treats these symbols as late from their first bar, with or without a bar in this epoch.
    ///
    /// One whose bars all stand in this epoch is computed over all of them as it is.
    pub(crate) fn touch(&mut self, symbols: BTreeSet<String>) {
        for symbol in symbols {
            let unseen = Touched { first: i64::MIN, last: i64::MIN, late: true, known: true, basis: None };
            let touched = self.touched.entry(symbol).or_insert(unseen);
            if touched.known {
                (touched.first, touched.late) = (i64::MIN, true);
            }
        }
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
            for (symbol, all) in touched(&known, None, &LastBars::new(), epoch).await?.0 {
                let last = all.last;
                let own = self.touched.entry(symbol).or_insert(all);
                own.last = own.last.max(last);
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
        let (mut kept, n_changed) = touched(&rows, None, &LastBars::new(), epoch).await?;
        for (symbol, kept) in &mut kept {
            kept.known = self.touched.get(symbol).is_some_and(|before| before.known);
        }
        self.n_changed = n_changed;
        self.touched = kept;
        self.changed = self.changed.with_frame(rows).with_unique_keys();
        Ok(())
    }

    /// The touched symbols as a table `symbol, first` (µs since 1970, Int64).
    pub(crate) fn touched_table(&self, epoch: &EpochContext) -> Result<DataFrame> {
        times_table(epoch, "first", self.touched.iter().map(|(symbol, touched)| (symbol, touched.first)).collect())
    }
}

/// Columns of `schema` as they are to be taken from `h`.
pub(crate) fn columns_as(schema: &Schema, known: &DataFrame) -> Vec<String> {
    let column = |field: &Arc<Field>| {
        let name = quote(field.name());
        let value = if known.schema().has_column_with_unqualified_name(field.name()) {
            format!("h.{name}")
        } else {
            "NULL".into()
        };
        format!("arrow_cast({value}, '{}') AS {name}", field.data_type())
    };
    schema.fields().iter().map(column).collect()
}

/// The rows of `h`, whose columns are taken so, that `e` does not replace, and those of `e`.
pub(crate) fn merged_sql(schema: &Schema, key: &[String], columns: &[String]) -> String {
    let on: Vec<String> = key.iter().map(|column| format!("e.{0} = h.{0}", quote(column))).collect();
    let names: Vec<String> = schema.fields().iter().map(|field| quote(field.name())).collect();
    format!(
        "SELECT {} FROM h LEFT ANTI JOIN e ON {} UNION ALL SELECT {} FROM e",
        columns.join(", "),
        on.join(" AND "),
        names.join(", ")
    )
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
