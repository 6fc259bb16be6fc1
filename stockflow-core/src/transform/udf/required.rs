//! `stockflow_required(value)`: says what a filter made sure of, that there is no NULL.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Required::new())));

/// The value as a column that is declared to hold no NULL.
///
/// The caller has filtered the NULLs away. Should one be left after all, Arrow refuses the batch.
pub(crate) fn required(value: Expr) -> Expr {
    UDF.call(vec![value])
}

pub(super) fn udf() -> Arc<ScalarUDF> {
    Arc::clone(&UDF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Required {
    signature: Signature,
}

impl Required {
    fn new() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Required {
    fn name(&self) -> &str {
        "stockflow_required"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        arg_types.first().cloned().ok_or_else(missing)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = args.arg_fields.first().ok_or_else(missing)?;
        Ok(Arc::new(Field::new(self.name(), field.data_type().clone(), false)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // A filter that the optimizer has moved below the caller's own may still see NULLs here: they pass.
        args.args.into_iter().next().ok_or_else(missing)
    }
}

fn missing() -> DataFusionError {
    DataFusionError::Internal("stockflow_required needs an argument".into())
}
