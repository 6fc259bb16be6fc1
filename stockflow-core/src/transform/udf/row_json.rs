//! `stockflow_row_json(row)`: a row as one JSON object, for dead letters.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, StringBuilder};
use arrow::datatypes::{DataType, Fields};
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use datafusion::common::cast::as_struct_array;
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, lit};

use super::{Simple, array_arg};
use crate::transform::expr::column;

static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Simple::udf("stockflow_row_json", 1, DataType::Utf8, call));

/// The named columns of a row as one JSON object; a NULL is left out.
pub(crate) fn row_json(fields: &Fields) -> Expr {
    if fields.is_empty() {
        return lit("{}");
    }
    let args = fields.iter().flat_map(|it| [lit(it.name().clone()), column(it.name().clone())]);
    UDF.call(vec![named_struct(args.collect())])
}

pub(super) fn udf() -> Arc<ScalarUDF> {
    Arc::clone(&UDF)
}

fn call(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let rows = array_arg(args, 0)?;
    let rows = as_struct_array(&rows)?;
    let batch =
        RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(rows.fields().clone())), rows.columns().to_vec())?;
    let mut text = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut text);
    writer.write(&batch)?;
    writer.finish()?;
    let mut out = StringBuilder::with_capacity(rows.len(), text.len());
    // JSON escapes line feeds, so there is one line a row.
    String::from_utf8_lossy(&text).lines().for_each(|line| out.append_value(line));
    Ok(ColumnarValue::Array(Arc::new(out.finish())))
}
