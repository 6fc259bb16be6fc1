//! `stockflow_by_symbol(value)`: marks in a plan what was worked out from other rows of the symbol.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, ScalarUDF};

use super::Simple;

const NAME: &str = "stockflow_by_symbol";

static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Simple::udf(NAME, 1, DataType::Utf8, |args| {
        args.args.first().cloned().ok_or_else(|| DataFusionError::Internal(format!("{NAME} needs an argument")))
    })
});

/// The same text. [`scope_of`](crate::transform::scope_of) sees by it that the value depends on other rows of the symbol,
/// which a plan does not show where it holds the result only.
pub(crate) fn by_symbol(text: Expr) -> Expr {
    UDF.call(vec![text])
}

/// Whether an expression is such a value.
pub(crate) fn is_by_symbol(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == NAME)
}

pub(super) fn udf() -> Arc<ScalarUDF> {
    Arc::clone(&UDF)
}
