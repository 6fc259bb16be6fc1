//! `stockflow_missing_sessions(exchange, from, to)`: the days of trade between two days on which there is a bar.

use std::sync::{Arc, LazyLock};

use arrow::array::{Date32Builder, ListBuilder};
use arrow::datatypes::{DataType, Field};
use chrono::{Datelike, NaiveDate};
use datafusion::common::cast::{as_date32_array, as_string_array};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF};

use super::{Simple, array_arg};
use crate::market::Calendar;
use crate::market::sql::UNIX_EPOCH_DAY;

static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let days = DataType::List(Arc::new(Field::new_list_field(DataType::Date32, true)));
    Simple::udf("stockflow_missing_sessions", 3, days, call)
});

/// The exchange's days of trade after `from` and before `to`, as a list; NULL if there are none, or none are known.
///
/// A name that no calendar is known for knows no days.
pub(crate) fn missing_sessions(exchange: Expr, from: Expr, to: Expr) -> Expr {
    UDF.call(vec![exchange, from, to])
}

pub(super) fn udf() -> Arc<ScalarUDF> {
    Arc::clone(&UDF)
}

fn call(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let (names, from, to) = (array_arg(args, 0)?, array_arg(args, 1)?, array_arg(args, 2)?);
    let (names, from, to) = (as_string_array(&names)?, as_date32_array(&from)?, as_date32_array(&to)?);
    let mut out = ListBuilder::new(Date32Builder::new());
    for ((name, from), to) in names.iter().zip(from).zip(to) {
        let missing = missing(name, from, to).unwrap_or_default();
        if missing.is_empty() {
            out.append_null();
        } else {
            missing.iter().for_each(|it| out.values().append_value(it.num_days_from_ce() - UNIX_EPOCH_DAY));
            out.append(true);
        }
    }
    Ok(ColumnarValue::Array(Arc::new(out.finish())))
}

fn missing(name: Option<&str>, from: Option<i32>, to: Option<i32>) -> Option<Vec<NaiveDate>> {
    let day = |it: i32| NaiveDate::from_num_days_from_ce_opt(it.checked_add(UNIX_EPOCH_DAY)?);
    let (from, to) = (day(from?)?.succ_opt()?, day(to?)?.pred_opt()?);
    if from > to {
        return None;
    }
    Some(Calendar::of(name?)?.gaps(from, to, []).missing)
}
