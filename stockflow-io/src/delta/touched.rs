//! Which files and row groups may hold one of some keys: told by their bounds, without reading them.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use stockflow_core::Result;

use super::layout::Layout;
use super::live::LiveFile;

/// For each group (symbol) of some rows the lowest and the highest range value (time).
#[derive(Debug)]
pub(super) struct Touched {
    group: Option<String>,
    range: Option<String>,
    spans: BTreeMap<String, (i64, i64)>,
}

impl Touched {
    /// What the rows touch.
    pub(super) fn new(rows: &RecordBatch, layout: &Layout) -> Result<Self> {
        let name = |column: usize| layout.schema.field(column).name().clone();
        let groups = layout.group().and_then(|column| rows.column(column).as_string_opt::<i32>());
        let times = layout.range().map(|column| whole(rows, column)).transpose()?;
        let times = times.as_ref().map(|column| column.as_primitive::<Int64Type>());
        let mut spans: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        let mut current: Option<(&str, i64, i64)> = None;
        let mut note = |(group, low, high): (&str, i64, i64)| match spans.get_mut(group) {
            Some(span) => *span = (span.0.min(low), span.1.max(high)),
            None => drop(spans.insert(group.to_owned(), (low, high))),
        };
        for row in 0..rows.num_rows() {
            let group = groups.map_or("", |groups| groups.value(row));
            let (low, high) = times.map_or((i64::MIN, i64::MAX), |times| (times.value(row), times.value(row)));
            current = match current {
                Some((known, from, to)) if known == group => Some((group, from.min(low), to.max(high))),
                other => {
                    if let Some(done) = other {
                        note(done);
                    }
                    Some((group, low, high))
                }
            };
        }
        if let Some(done) = current {
            note(done);
        }
        Ok(Self { group: layout.group().map(name), range: layout.range().map(name), spans })
    }

    /// Whether a file may hold one of the keys.
    pub(super) fn file(&self, file: &LiveFile) -> bool {
        let groups = self.group.as_ref().and_then(|column| file.texts(column));
        let times = self.range.as_ref().and_then(|column| file.numbers(column));
        self.overlaps(groups.map(|(low, high)| (low.to_owned(), high.to_owned())), times)
    }

    /// Whether a row group may hold one of the keys.
    pub(super) fn row_group(&self, group: &RowGroupMetaData) -> bool {
        let statistics = |column: &Option<String>| {
            let column = column.as_ref()?;
            let found = group.columns().iter().find(|chunk| chunk.column_path().parts() == [column.clone()])?;
            found.statistics()
        };
        let texts = statistics(&self.group).and_then(|statistics| match statistics {
            Statistics::ByteArray(values) => {
                let text = |value: &parquet::data_type::ByteArray| value.as_utf8().ok().map(str::to_owned);
                Some((text(values.min_opt()?)?, text(values.max_opt()?)?))
            }
            _ => None,
        });
        let times = statistics(&self.range).and_then(|statistics| match statistics {
            Statistics::Int64(values) => Some((*values.min_opt()?, *values.max_opt()?)),
            Statistics::Int32(values) => Some((i64::from(*values.min_opt()?), i64::from(*values.max_opt()?))),
            _ => None,
        });
        self.overlaps(texts, times)
    }

    fn overlaps(&self, groups: Option<(String, String)>, times: Option<(i64, i64)>) -> bool {
        let meets = |span: &(i64, i64)| times.is_none_or(|(low, high)| span.0 <= high && low <= span.1);
        match groups {
            Some((low, high)) if low <= high => self.spans.range(low..=high).any(|(_, span)| meets(span)),
            Some(_) => false,
            None => self.spans.values().any(meets),
        }
    }
}

/// A column as whole numbers.
fn whole(rows: &RecordBatch, column: usize) -> Result<arrow::array::ArrayRef> {
    let values = rows.column(column);
    Ok(match values.data_type() {
        DataType::Date32 => cast(&cast(values, &DataType::Int32)?, &DataType::Int64)?,
        _ => cast(values, &DataType::Int64)?,
    })
}
