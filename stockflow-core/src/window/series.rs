//! The series of a stream of rows: numbers for the keys, runs of equal ones, and the order within each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::array_value_to_string;
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalSortExpr;

/// Rows next to each other that belong to one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) series: u32,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// Numbers series by their keys, in the order in which they are first seen.
pub(super) struct SeriesIndex {
    by_key: HashMap<Box<[u8]>, u32>,
    keys: Vec<Box<[u8]>>,
    /// The series that came after this one the last time: day by day the symbols come in the same sequence.
    successor: Vec<u32>,
    before: u32,
    converter: Option<RowConverter>,
    labels: Option<Vec<String>>,
}

impl std::fmt::Debug for SeriesIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeriesIndex").field("series", &self.keys.len()).finish_non_exhaustive()
    }
}

impl SeriesIndex {
    /// For keys of these types; with labels, where states are kept by them.
    pub(super) fn new(types: &[DataType], with_labels: bool) -> Result<Self> {
        let converter = match types {
            [one] if one.is_string() => None,
            types => Some(RowConverter::new(types.iter().cloned().map(SortField::new).collect())?),
        };
        Ok(Self {
            by_key: HashMap::new(),
            keys: Vec::new(),
            successor: Vec::new(),
            before: u32::MAX,
            converter,
            labels: with_labels.then(Vec::new),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn key(&self, series: u32) -> &[u8] {
        self.keys.get(series as usize).map_or(&[], AsRef::as_ref)
    }

    /// The key as text: `AAPL`, `AAPL|1d`.
    pub(super) fn label(&self, series: u32) -> &str {
        self.labels.as_ref().and_then(|it| it.get(series as usize)).map_or("", String::as_str)
    }

    /// Bytes held, roughly.
    pub(super) fn size(&self) -> usize {
        self.keys.iter().map(|it| 2 * it.len() + 64).sum()
    }

    /// The runs of these rows, in their order.
    pub(super) fn runs(&mut self, keys: &[ArrayRef], rows: usize, runs: &mut Vec<Run>) -> Result<()> {
        runs.clear();
        if rows == 0 {
            return Ok(());
        }
        match (&self.converter, keys) {
            (None, [key]) => match key.data_type() {
                DataType::Utf8 => {
                    let text = key.as_string::<i32>().clone();
                    self.text_runs(keys, rows, runs, |row| text.is_valid(row).then(|| text.value(row).as_bytes()))
                }
                DataType::LargeUtf8 => {
                    let text = key.as_string::<i64>().clone();
                    self.text_runs(keys, rows, runs, |row| text.is_valid(row).then(|| text.value(row).as_bytes()))
                }
                _ => {
                    let text = key.as_string_view().clone();
                    self.text_runs(keys, rows, runs, |row| text.is_valid(row).then(|| text.value(row).as_bytes()))
                }
            },
            _ => self.any_runs(keys, rows, runs),
        }
    }

    fn text_runs<'a>(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        runs: &mut Vec<Run>,
        key: impl Fn(usize) -> Option<&'a [u8]>,
    ) -> Result<()> {
        // NULL is a key of its own, unlike any text.
        let key = |row| key(row).unwrap_or(b"\xFFNULL");
        let mut start = 0;
        let mut current = key(0);
        for row in 1..rows {
            let next = key(row);
            if next != current {
                let series = self.number(current, keys, start)?;
                runs.push(Run { series, start, len: row - start });
                (start, current) = (row, next);
            }
        }
        let series = self.number(current, keys, start)?;
        runs.push(Run { series, start, len: rows - start });
        Ok(())
    }

    fn any_runs(&mut self, keys: &[ArrayRef], rows: usize, runs: &mut Vec<Run>) -> Result<()> {
        let mut starts: Vec<u64> = vec![0];
        if rows > 1 {
            let mut changes = vec![false; rows - 1];
            for key in keys {
                let key = plain(key)?;
                let differs = distinct(&key.slice(0, rows - 1), &key.slice(1, rows - 1))?;
                differs.values().set_indices().for_each(|row| changes[row] = true);
            }
            starts.extend((1..rows as u64).filter(|row| changes[*row as usize - 1]));
        }
        let at = arrow::array::UInt64Array::from(starts.clone());
        let firsts = keys.iter().map(|key| take(key, &at, None)).collect::<Result<Vec<_>, _>>()?;
        let Some(converter) = &self.converter else {
            return Err(exec_datafusion_err!("keys of series are of other types than they were planned for"));
        };
        let encoded = converter.convert_columns(&firsts)?;
        for (i, start) in starts.iter().enumerate() {
            let start = *start as usize;
            let end = starts.get(i + 1).map_or(rows, |it| *it as usize);
            let series = self.number(encoded.row(i).as_ref(), keys, start)?;
            runs.push(Run { series, start, len: end - start });
        }
        Ok(())
    }

    fn number(&mut self, key: &[u8], keys: &[ArrayRef], row: usize) -> Result<u32> {
        if let Some(guess) = self.successor.get(self.before as usize).copied()
            && self.keys.get(guess as usize).is_some_and(|it| it.as_ref() == key)
        {
            self.before = guess;
            return Ok(guess);
        }
        let next = u32::try_from(self.keys.len())
            .map_err(|_| exec_datafusion_err!("more than {} series in one query", u32::MAX))?;
        let series = match self.by_key.entry(key.into()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.keys.push(new.key().clone());
                self.successor.push(u32::MAX);
                if let Some(labels) = &mut self.labels {
                    let part = |it: &ArrayRef| {
                        let text = array_value_to_string(it, row)?;
                        Ok(if is_date(it.data_type()) { format!("{}{text}", super::state::DAY) } else { text })
                    };
                    let parts: Vec<String> = keys.iter().map(part).collect::<Result<_>>()?;
                    labels.push(super::state::label(&parts));
                }
                *new.insert(next)
            }
        };
        if let Some(successor) = self.successor.get_mut(self.before as usize) {
            *successor = series;
        }
        self.before = series;
        Ok(series)
    }
}

/// What the comparison kernels can read.
fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Dictionary(_, values) => Ok(cast(array, values)?),
        _ => Ok(std::sync::Arc::clone(array)),
    }
}

/// The order keys of some rows, in a form that compares fast.
#[derive(Debug)]
pub(super) enum OrderKeys {
    Numbers(arrow::buffer::ScalarBuffer<i64>),
    Bytes(Rows),
}

/// The order key of one row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OrderKey {
    Number(i64),
    Bytes(Box<[u8]>),
}

/// Reads the order keys of batches.
#[derive(Debug)]
pub(super) struct OrderReader {
    /// Several keys, or one that is no day and no instant.
    converter: Option<RowConverter>,
}

impl OrderReader {
    pub(super) fn new(order_by: &[PhysicalSortExpr], schema: &SchemaRef) -> Result<Self> {
        let mut fields = Vec::new();
        for key in order_by {
            let data_type = key.expr.data_type(schema)?;
            fields.push((data_type, key.options));
        }
        if let [(data_type, options)] = fields.as_slice()
            && !options.descending
            && (data_type.is_temporal() || *data_type == DataType::Int64)
            && !matches!(data_type, DataType::Interval(_))
        {
            return Ok(Self { converter: None });
        }
        let fields = fields.into_iter().map(|(data_type, options)| SortField::new_with_options(data_type, options));
        Ok(Self { converter: Some(RowConverter::new(fields.collect())?) })
    }

    /// NULL is least here, whatever the query says: who cares for it has looked for it.
    pub(super) fn read(&self, keys: &[ArrayRef]) -> Result<OrderKeys> {
        match (&self.converter, keys) {
            (None, [key]) => {
                let numbers = match key.data_type() {
                    DataType::Int64 => std::sync::Arc::clone(key),
                    DataType::Date32 | DataType::Time32(_) => cast(&cast(key, &DataType::Int32)?, &DataType::Int64)?,
                    _ => cast(key, &DataType::Int64)?,
                };
                let numbers = numbers.as_primitive::<Int64Type>();
                if numbers.null_count() == 0 {
                    return Ok(OrderKeys::Numbers(numbers.values().clone()));
                }
                Ok(OrderKeys::Numbers(numbers.iter().map(|it| it.unwrap_or(i64::MIN)).collect()))
            }
            (Some(converter), keys) => Ok(OrderKeys::Bytes(converter.convert_columns(keys)?)),
            (None, _) => Err(exec_datafusion_err!("order keys are others than they were planned for")),
        }
    }
}

impl OrderKeys {
    pub(super) fn key(&self, row: usize) -> OrderKey {
        match self {
            Self::Numbers(numbers) => OrderKey::Number(numbers[row]),
            Self::Bytes(rows) => OrderKey::Bytes(rows.row(row).as_ref().into()),
        }
    }

    /// The first row of `start..start + len` that does not come after the one before it: later, or at the same time
    /// where ties are allowed.
    pub(super) fn break_in(&self, start: usize, len: usize, last: Option<&OrderKey>, ties: bool) -> Option<usize> {
        let is_bad = |order: std::cmp::Ordering| order.is_gt() || (order.is_eq() && !ties);
        if let Some(last) = last
            && is_bad(last.cmp(&self.key(start)))
        {
            return Some(start);
        }
        match self {
            Self::Numbers(numbers) => {
                let rows = &numbers[start..start + len];
                let pairs = || rows.iter().zip(rows.get(1..).unwrap_or_default());
                // Without an early end the compiler can use wide registers.
                let is_sound = if ties {
                    pairs().fold(true, |sound, (a, b)| sound & (a <= b))
                } else {
                    pairs().fold(true, |sound, (a, b)| sound & (a < b))
                };
                if is_sound {
                    return None;
                }
                pairs().position(|(a, b)| is_bad(a.cmp(b))).map(|at| start + at + 1)
            }
            Self::Bytes(rows) => (start + 1..start + len).find(|row| is_bad(rows.row(row - 1).cmp(&rows.row(*row)))),
        }
    }
}

fn is_date(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Date64)
}
