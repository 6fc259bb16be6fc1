//! `stockflow_width(text)`: an interval in its one spelling.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::{Simple, map_text};
use crate::transform::interval::Interval;

static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Simple::udf("stockflow_width", 1, DataType::Utf8, |args| map_text(args, |text| text.parse::<Interval>().ok().map(|it| it.to_string())))
});

/// The interval that a text means, spelled as we do; NULL if it means none.
pub(crate) fn width(text: Expr) -> Expr {
    UDF.call(vec![text])
}

pub(super) fn udf() -> Arc<ScalarUDF> {
    Arc::clone(&UDF)
}
