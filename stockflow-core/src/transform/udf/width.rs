//! What is known about an interval by its name: its one spelling, how many make a year, what it can be made of.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, BooleanArray, Float64Array};
use arrow::datatypes::DataType;
use datafusion::common::cast::as_string_array;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, lit};

use super::{Simple, array_arg, literal_arg, map_text};
use crate::transform::interval::Interval;

static WIDTH: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Simple::udf("stockflow_width", 1, DataType::Utf8, |args| {
        map_text(args, |text| text.parse::<Interval>().ok().map(|it| it.to_string()))
    })
});
static PER_YEAR: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Simple::udf("stockflow_per_year", 1, DataType::Float64, count_per_year));
static PART_OF: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Simple::udf("stockflow_part_of", 2, DataType::Boolean, is_part_of));

/// The interval that a text means, spelled as we do; NULL if it means none.
pub(crate) fn width(text: Expr) -> Expr {
    WIDTH.call(vec![text])
}

/// How many bars of an interval a year has; NULL if it is none.
pub(crate) fn per_year(interval: Expr) -> Expr {
    PER_YEAR.call(vec![interval])
}

/// Whether bars of an interval can be put together to bars of another one; NULL if it is none.
pub(crate) fn part_of(interval: Expr, whole: Interval) -> Expr {
    PART_OF.call(vec![interval, lit(whole.to_string())])
}

pub(super) fn udfs() -> [Arc<ScalarUDF>; 3] {
    [Arc::clone(&WIDTH), Arc::clone(&PER_YEAR), Arc::clone(&PART_OF)]
}

fn count_per_year(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let counts = each(args, Interval::per_year)?;
    Ok(ColumnarValue::Array(Arc::new(Float64Array::from(counts))))
}

fn is_part_of(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let whole = literal_arg(args, 1)?.and_then(|it| it.parse::<Interval>().ok());
    let parts = each(args, |part| whole.is_some_and(|it| it.is_made_of(part)))?;
    Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(parts))))
}

/// A value for each interval of the first argument; runs of one interval are the rule.
fn each<T: Copy>(args: &ScalarFunctionArgs, value: impl Fn(Interval) -> T) -> Result<Vec<Option<T>>> {
    let array = array_arg(args, 0)?;
    let texts = as_string_array(&array)?;
    let mut last: Option<(&str, Option<T>)> = None;
    let mut out = Vec::with_capacity(texts.len());
    for text in texts {
        let Some(text) = text else {
            out.push(None);
            continue;
        };
        if last.is_none_or(|(seen, _)| seen != text) {
            last = Some((text, text.parse().ok().map(&value)));
        }
        out.push(last.and_then(|(_, value)| value));
    }
    Ok(out)
}
