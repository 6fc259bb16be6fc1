//! The epoch's only clock: SQL's `now()` is the intent's time.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, Timelike, Utc};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;

use crate::error::{Error, Result};

/// A function that gives a fixed value under the name of one of SQL's clocks.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FixedClock {
    name: &'static str,
    aliases: Vec<String>,
    value: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for FixedClock {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// Makes `now()`, `current_timestamp`, `current_date`, `today()` and `current_time` of a session the given time.
pub(crate) fn fix_clock(session: &SessionContext, now: DateTime<Utc>) {
    let days = i32::try_from(now.timestamp().div_euclid(86_400)).unwrap_or(i32::MAX);
    let time = i64::from(now.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(now.nanosecond());
    let clocks = [
        (
            "now",
            vec!["current_timestamp".to_owned()],
            ScalarValue::TimestampMicrosecond(Some(now.timestamp_micros()), Some("UTC".into())),
        ),
        ("current_date", vec!["today".to_owned()], ScalarValue::Date32(Some(days))),
        ("current_time", vec![], ScalarValue::Time64Nanosecond(Some(time))),
    ];
    for (name, aliases, value) in clocks {
        session.register_udf(ScalarUDF::from(FixedClock {
            name,
            aliases,
            value,
            signature: Signature::nullary(Volatility::Stable),
        }));
    }
}

/// Refuses a plan whose result would differ when the epoch is run again.
///
/// # Errors
///
/// [`Error::Schema`] that names the step and the function.
pub(crate) fn refuse_volatile(step: &str, plan: &LogicalPlan) -> Result<()> {
    let mut found: Option<String> = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(call) = expr
                    && call.func.signature().volatility == Volatility::Volatile
                {
                    found = Some(call.func.name().to_owned());
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match found {
        Some(name) => Err(Error::schema(
            step,
            format!(
                "`{name}()` gives another value each time, so an epoch could not be run again; leave it out, or use `now()`, which is the epoch's own time"
            ),
        )),
        None => Ok(()),
    }
}

/// The type of every point in time.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}
