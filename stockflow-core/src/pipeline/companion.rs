//! Relations beside the history relation that have a table of their own, such as corporate actions: what an epoch brings of
//! them, and whose bars that reaches.
//!
//! A row of a companion reaches back to the first bar of its symbol: a split changes all prices before it. So a symbol with a
//! new or changed row is late from its first bar. Rows that were known before reach bars of earlier dates only, and those
//! have been delivered with them; a symbol with a row of a later date than its first new bar is late, too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use datafusion::prelude::DataFrame;

use super::compare::{Compared, changed_sql, child, columns_as, merged_sql};
use super::graph::Base;
use super::latest::latest;
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::history::History;
use crate::relation::Relation;

/// A companion in an epoch.
#[derive(Debug)]
pub(crate) struct Companion {
    history: Arc<dyn History>,
    version: Option<String>,
    /// The epoch's rows that are new or differ from what its table holds.
    changed: Relation,
    key: Vec<String>,
    /// The symbols that this epoch looks at: those of its bars and of its changed rows.
    symbols: Vec<String>,
}

impl Companion {
    /// Holds the epoch's rows of a companion against its table.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] if the relation has no key with `symbol`; whatever reading gives.
    pub(crate) async fn compare(
        epoch: &EpochContext,
        name: &str,
        relation: &Relation,
        history: &Arc<dyn History>,
        version: Option<String>,
        compared: &Compared,
    ) -> Result<Self> {
        let key = relation.key.clone();
        if !key.iter().any(|column| column == "symbol") {
            return Err(Error::schema(name, "what is remembered beside the history needs a key with `symbol`"));
        }
        let relation = latest(epoch, name, relation).await?;
        let rows = epoch.share(relation.frame.clone()).await?;
        let given = texts(rows.clone().select_columns(&["symbol"])?.distinct()?).await?;
        let changed = match &version {
            Some(version) if !given.is_empty() => {
                let symbols: Vec<String> = given.iter().cloned().collect();
                let known = epoch.session.read_table(history.table(version, Some(&symbols)).await?)?;
                let session = child(epoch, &[("e", rows), ("h", known.clone())])?;
                epoch.share(session.sql(&changed_sql(&relation, &key, &known)).await?).await?
            }
            _ => rows,
        };
        let mut symbols = texts(changed.clone().select_columns(&["symbol"])?.distinct()?).await?;
        symbols.extend(compared.touched.keys().cloned());
        let changed = relation.with_frame(changed).with_unique_keys();
        Ok(Self { history: Arc::clone(history), version, changed, key, symbols: symbols.into_iter().collect() })
    }

    /// The symbols whose earlier bars are not as they were delivered any more.
    pub(crate) async fn reached(&self, epoch: &EpochContext, compared: &Compared) -> Result<BTreeSet<String>> {
        let changed = self.changed.frame.clone().select_columns(&["symbol"])?.distinct()?;
        let mut reached = texts(changed).await?;
        let rows = self.view(epoch, Base::Touched).await?.frame;
        let bars = compared.changed.frame.clone();
        let is_date = |frame: &DataFrame| {
            frame.schema().field_with_unqualified_name("date").is_ok_and(|field| *field.data_type() == DataType::Date32)
        };
        // Without dates nobody can tell which bars a row reaches.
        let later = if is_date(&rows) && is_date(&bars) {
            "SELECT m.symbol FROM (SELECT symbol, max(date) AS last FROM m GROUP BY symbol) m \
             JOIN (SELECT symbol, min(date) AS first FROM b GROUP BY symbol) b ON m.symbol = b.symbol WHERE m.last > b.first"
        } else {
            "SELECT DISTINCT m.symbol FROM m"
        };
        reached.extend(texts(child(epoch, &[("m", rows), ("b", bars)])?.sql(later).await?).await?);
        Ok(reached)
    }

    /// Its rows over a base: those of the epoch that are new, its table, or both.
    pub(crate) async fn view(&self, epoch: &EpochContext, base: Base) -> Result<Relation> {
        let (with_epoch, symbols) = match base {
            Base::Epoch => return Ok(self.changed.clone()),
            Base::Fresh | Base::Late | Base::Touched => (true, Some(self.symbols.as_slice())),
            Base::All => (true, None),
            Base::TouchedBefore => (false, Some(self.symbols.as_slice())),
            Base::AllBefore => (false, None),
        };
        let known = match (&self.version, symbols) {
            (Some(_), Some([])) | (None, _) => None,
            (Some(version), symbols) => Some(epoch.session.read_table(self.history.table(version, symbols).await?)?),
        };
        let schema = self.changed.schema();
        let frame = match known {
            None if with_epoch => return Ok(self.changed.clone()),
            None => epoch.table(schema, vec![vec![]])?,
            Some(known) => {
                let columns = columns_as(&schema, &known);
                if with_epoch {
                    let sql = merged_sql(&schema, &self.key, &columns);
                    child(epoch, &[("e", self.changed.frame.clone()), ("h", known)])?.sql(&sql).await?
                } else {
                    let sql = format!("SELECT {} FROM h", columns.join(", "));
                    child(epoch, &[("h", known)])?.sql(&sql).await?
                }
            }
        };
        Ok(self.changed.with_frame(frame).with_unique_keys())
    }
}

/// The companions of an epoch by relation.
pub(crate) type Companions = BTreeMap<String, Companion>;

/// The texts of a frame's only column.
async fn texts(frame: DataFrame) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for batch in frame.collect().await? {
        let column = arrow::compute::cast(batch.column(0), &DataType::Utf8)?;
        let column = column.as_string::<i32>();
        found.extend((0..column.len()).filter(|idx| column.is_valid(*idx)).map(|idx| column.value(idx).to_owned()));
    }
    Ok(found)
}
