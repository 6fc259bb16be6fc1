//! Indicators in SQL: one window function for every entry of the catalogue, and the checks on their windows.
//!
//! ```sql
//! SELECT symbol, ts, rsi(close, 14) OVER w, (macd(close) OVER w)['signal']
//! FROM bars WINDOW w AS (PARTITION BY symbol ORDER BY ts)
//! ```
//!
//! How the pieces fit:
//!
//! * [`IndicatorUdwf`] is the function: types, parameters, and a batch evaluator that is called once for each symbol.
//! * [`IndicatorRewrite`] runs in the analyzer, before anything is optimised.
//!   It refuses windows that have no meaning (no ORDER BY, a frame, a parameter that is no literal) and appends hidden
//!   arguments to each call: a [`Stamp`], the order keys and the `interval` column.
//! * The evaluator sees those hidden arguments and refuses ties and NULLs in the order key and mixed intervals.
//!
//! A call without a stamp was planned without the rewrite, so nobody has checked its window; it is refused.
//!
//! What is not here: our operator ([`window`](crate::window)), which finds its calls with [`call_of_window`]. Without it
//! DataFusion's own `WindowAggExec` runs the functions by TA-Lib's batch calls, which is right and holds its whole input in
//! memory.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::WindowUDF;
use datafusion::physical_expr::window::{StandardWindowExpr, WindowExpr};
use datafusion::physical_plan::windows::WindowUDFExpr;

mod evaluator;
pub mod expr_fn;
mod order;
mod rewrite;
mod stamp;
mod udwf;

pub(crate) use order::{NULL_KEY, check_interval, tie};
pub use rewrite::IndicatorRewrite;
pub use stamp::Stamp;
pub use udwf::IndicatorUdwf;
pub(crate) use udwf::struct_fields;

use super::call::IndicatorCall;
use super::catalogue::catalogue;
use super::definition::Definition;

static UDWFS: LazyLock<HashMap<&'static str, Arc<WindowUDF>>> = LazyLock::new(|| {
    let function = |it: &'static Definition| (it.name.as_str(), Arc::new(WindowUDF::from(IndicatorUdwf::new(it))));
    catalogue().iter().map(function).collect()
});

/// The window function of a definition.
pub fn udwf(definition: &'static Definition) -> Arc<WindowUDF> {
    UDWFS
        .get(definition.name.as_str())
        .map_or_else(|| Arc::new(WindowUDF::from(IndicatorUdwf::new(definition))), Arc::clone)
}

/// All window functions, in no order.
pub fn udwfs() -> impl Iterator<Item = &'static Arc<WindowUDF>> {
    UDWFS.values()
}

/// What the function is, if it is one of ours.
pub fn definition_of(udwf: &WindowUDF) -> Option<&'static Definition> {
    udwf.inner().downcast_ref::<IndicatorUdwf>().map(IndicatorUdwf::definition)
}

/// The call and the stamp of a physical window expression, if it is one of ours.
///
/// The seam for the operator that runs all indicators of one window together and keeps their state under the stamp's
/// key.
///
/// # Errors
///
/// A plan error if the expression's parameters are damaged.
pub fn call_of_window(expr: &dyn WindowExpr) -> Result<Option<(IndicatorCall, Option<Stamp>)>> {
    let standard = expr.as_any().downcast_ref::<StandardWindowExpr>();
    let function = standard.and_then(|it| it.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>());
    let Some(function) = function else { return Ok(None) };
    let ours = function.fun().inner().downcast_ref::<IndicatorUdwf>();
    ours.map(|it| it.call_of(function.args())).transpose()
}

/// What to say beside DataFusion's message where an indicator was called without a window.
///
/// DataFusion looks for a scalar function then, finds none, and proposes another name.
pub fn hint(error: &DataFusionError) -> Option<String> {
    let message = error.to_string();
    let name = message.split_once("Invalid function '")?.1.split_once('\'')?.0;
    let definition = catalogue().get(name).ok()?;
    let call = super::sample::sample_call(definition);
    Some(format!("`{name}` needs a window: {call} OVER (PARTITION BY symbol ORDER BY ts)"))
}

/// Registers every function and the rewrite that checks their windows; doing it again changes nothing.
///
/// # Errors
///
/// If the registry is read-only.
pub fn register_all(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for udwf in udwfs() {
        if let Some(old) = registry.register_udwf(Arc::clone(udwf))?
            && definition_of(&old).is_none()
        {
            tracing::debug!(function = udwf.name(), "replaced a window function of the same name");
        }
    }
    registry.register_function_rewrite(Arc::new(IndicatorRewrite))
}
