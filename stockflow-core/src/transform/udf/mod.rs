//! The functions that the transforms' own plans call: small, stateless, known by name.
//!
//! Whatever decides their result is an argument, so a plan that names them means the same on any machine.

mod by_symbol;
mod file_symbol;
mod missing_sessions;
mod no_volume;
mod number;
mod period;
mod product;
mod required;
mod row_json;
mod stamp;
mod width;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::cast::as_string_array;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    AggregateUDF, ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

pub(crate) use by_symbol::{by_symbol, is_by_symbol};
pub(crate) use file_symbol::file_symbol;
pub(crate) use missing_sessions::missing_sessions;
pub(crate) use no_volume::no_volume;
pub(crate) use number::number;
pub(crate) use period::period;
pub(crate) use product::product;
pub(crate) use required::required;
pub(crate) use row_json::row_json;
pub use stamp::DateOrder;
pub(crate) use stamp::{stamp, zone};
pub(crate) use width::{part_of, per_year, width};

/// Every scalar function of the transforms, for a session or a codec.
pub fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut all = vec![
        by_symbol::udf(),
        file_symbol::udf(),
        missing_sessions::udf(),
        no_volume::udf(),
        number::udf(),
        period::udf(),
        required::udf(),
        row_json::udf(),
        stamp::udf(),
    ];
    all.extend(width::udfs());
    all
}

/// Every aggregate function of the transforms, for a session or a codec.
pub fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    vec![product::udf()]
}

/// A scalar function with one type of result.
struct Simple {
    name: &'static str,
    signature: Signature,
    result: DataType,
    call: fn(&ScalarFunctionArgs) -> Result<ColumnarValue>,
}

impl Simple {
    fn udf(
        name: &'static str,
        arguments: usize,
        result: DataType,
        call: fn(&ScalarFunctionArgs) -> Result<ColumnarValue>,
    ) -> Arc<ScalarUDF> {
        let signature = Signature::any(arguments, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { name, signature, result, call }))
    }
}

// The name says what it does: there is one function of a name.
impl PartialEq for Simple {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Simple {}

impl Hash for Simple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl std::fmt::Debug for Simple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl ScalarUDFImpl for Simple {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.call)(&args)
    }
}

/// The argument at a place, as an array of the batch's length.
fn array_arg(args: &ScalarFunctionArgs, place: usize) -> Result<Arc<dyn Array>> {
    match args.args.get(place) {
        Some(value) => value.clone().into_array(args.number_rows),
        None => Err(DataFusionError::Internal(format!("argument {place} is missing"))),
    }
}

/// The literal text at a place; `None` for NULL.
fn literal_arg(args: &ScalarFunctionArgs, place: usize) -> Result<Option<String>> {
    match args.args.get(place) {
        Some(ColumnarValue::Scalar(ScalarValue::Null)) => Ok(None),
        Some(ColumnarValue::Scalar(scalar)) => Ok(scalar.try_as_str().flatten().map(str::to_string)),
        _ => Err(DataFusionError::Internal(format!("argument {place} must be a literal"))),
    }
}

/// A function from text to text, value by value; NULL stays NULL.
fn map_text(args: &ScalarFunctionArgs, convert: impl Fn(&str) -> Option<String>) -> Result<ColumnarValue> {
    let array = array_arg(args, 0)?;
    let texts = as_string_array(&array)?;
    // Runs of one value are the rule: a file's name, an interval.
    let mut last: Option<(&str, Option<String>)> = None;
    let mut out = arrow::array::StringBuilder::with_capacity(texts.len(), texts.len() * 4);
    for text in texts {
        let Some(text) = text else {
            out.append_null();
            continue;
        };
        if last.as_ref().is_none_or(|(seen, _)| *seen != text) {
            last = Some((text, convert(text)));
        }
        out.append_option(last.as_ref().and_then(|(_, value)| value.as_deref()));
    }
    let out: StringArray = out.finish();
    Ok(ColumnarValue::Array(Arc::new(out)))
}
