//! Indicators as expressions for the DataFrame API.
//!
//! ```
//! use datafusion::prelude::*;
//! use stockflow_core::indicator::expr_fn;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // over the bars of each symbol, in the order of time
//! let rsi = expr_fn::over_bars(expr_fn::rsi(col("close"), 14)?)?.alias("rsi_14");
//! // any function of the catalogue by name
//! let any = expr_fn::over_bars(expr_fn::call("vortex", vec![col("high"), col("low"), col("close")], &[])?)?;
//! # let _ = (rsi, any);
//! # Ok(())
//! # }
//! ```
//!
//! The session must know the functions: [`register_all`](crate::indicator::register_all).

use datafusion::common::plan_datafusion_err;
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, ExprFunctionExt, SortExpr};
use datafusion::prelude::{col, lit};

use super::super::call::{IndicatorCall, IndicatorSpec};
use super::super::definition::Value;
use super::super::error::IndicatorError;
use super::udwf;

/// A call of any function by name, without its window.
///
/// # Errors
///
/// [`IndicatorError`] if there is no such function, its inputs are not as many as it reads, or a parameter is outside
/// its range.
pub fn call(name: &str, inputs: Vec<Expr>, parameters: &[Value]) -> Result<Expr, IndicatorError> {
    of(&IndicatorCall::named(name, parameters)?, inputs)
}

/// A checked call as an expression, without its window.
///
/// # Errors
///
/// [`IndicatorError::Call`] if the inputs are not as many as it reads.
pub fn of(call: &IndicatorCall, inputs: Vec<Expr>) -> Result<Expr, IndicatorError> {
    let definition = call.definition();
    if inputs.len() != definition.inputs.len() {
        let reason = format!("{} series, written as {}", inputs.len(), definition.signature());
        return Err(IndicatorError::call(&definition.name, reason));
    }
    let parameters = call.values().iter().map(|it| match it {
        Value::Integer(value) => lit(i64::from(*value)),
        Value::Real(value) => lit(*value),
    });
    Ok(udwf(definition).call(inputs.into_iter().chain(parameters).collect()))
}

/// Lets a call run over a table of bars: one series for each symbol and interval, in the order of `ts`.
///
/// # Errors
///
/// If the expression is no call of a window function.
pub fn over_bars(call: Expr) -> Result<Expr> {
    over(call, vec![col("symbol"), col("interval")], vec![col("ts").sort(true, false)])
}

/// Lets a call run over a window of your own.
///
/// # Errors
///
/// If the expression is no call of a window function.
pub fn over(call: Expr, partition_by: Vec<Expr>, order_by: Vec<SortExpr>) -> Result<Expr> {
    call.partition_by(partition_by).order_by(order_by).build()
}

/// The output columns of an indicator over a table of bars, named as [`IndicatorSpec::columns`] says.
///
/// All of them share one window expression, so the function runs once.
///
/// # Errors
///
/// A plan error if the call cannot be built.
pub fn columns(spec: &IndicatorSpec) -> Result<Vec<Expr>> {
    let inputs = spec.inputs().iter().map(|it| Expr::Column(datafusion::common::Column::from_name(it))).collect();
    let call = of(spec.call(), inputs).map_err(|error| plan_datafusion_err!("{error}"))?;
    let window = over_bars(call)?;
    let outputs = &spec.call().definition().outputs;
    let named = outputs.iter().zip(spec.columns());
    Ok(named
        .map(|(output, name)| match outputs.len() {
            1 => window.clone().alias(name),
            _ => get_field(window.clone(), output.name.clone()).alias(name),
        })
        .collect())
}

/// Typed helpers: inputs are expressions, periods are whole numbers, factors are reals.
macro_rules! helpers {
    ($($(#[$doc:meta])* $name:ident($($input:ident),+ ; $($parameter:ident: $kind:ident),*);)+) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// [`IndicatorError::Parameter`] if a parameter is outside its range.
            pub fn $name($($input: Expr),+ $(, $parameter: helpers!(@type $kind))*) -> Result<Expr, IndicatorError> {
                call(stringify!($name), vec![$($input),+], &[$(helpers!(@value $kind $parameter)),*])
            }
        )+

        /// Names, inputs and parameters of the helpers, so that a test can hold them against the catalogue.
        #[cfg(test)]
        pub(crate) const HELPERS: &[(&str, usize, &[&str])] =
            &[$((stringify!($name), [$(stringify!($input)),+].len(), &[$(stringify!($parameter)),*])),+];
    };
    (@type period) => { i32 };
    (@type factor) => { f64 };
    (@value period $value:ident) => { Value::Integer($value) };
    (@value factor $value:ident) => { Value::Real($value) };
}

helpers! {
    /// Simple moving average.
    sma(series; timeperiod: period);
    /// Exponential moving average, seeded by the mean of the first values.
    ema(series; timeperiod: period);
    /// Weighted moving average.
    wma(series; timeperiod: period);
    /// Hull moving average.
    hma(series; timeperiod: period);
    /// Kaufman's adaptive moving average.
    kama(series; timeperiod: period);
    /// Relative strength index of Wilder, 0–100.
    rsi(series; timeperiod: period);
    /// Moving average convergence/divergence: `macd`, `signal`, `hist`.
    macd(series; fastperiod: period, slowperiod: period, signalperiod: period);
    /// Bollinger bands: `upper`, `middle`, `lower`.
    bbands(series; timeperiod: period, nbdevup: factor, nbdevdn: factor);
    /// Average true range of Wilder.
    atr(high, low, close; timeperiod: period);
    /// Average true range in percent of the close.
    natr(high, low, close; timeperiod: period);
    /// Average directional index.
    adx(high, low, close; timeperiod: period);
    /// Commodity channel index.
    cci(high, low, close; timeperiod: period);
    /// Williams' %R.
    willr(high, low, close; timeperiod: period);
    /// Money flow index.
    mfi(high, low, close, volume; timeperiod: period);
    /// Rate of change in percent.
    roc(series; timeperiod: period);
    /// Momentum: the difference to the value of `timeperiod` rows before.
    mom(series; timeperiod: period);
    /// On balance volume; starts with the first bar's volume.
    obv(close, volume;);
    /// Chaikin's accumulation/distribution line.
    ad(high, low, close, volume;);
    /// Volume weighted average price since the first row of the partition.
    vwap(high, low, close, volume;);
    /// Supertrend: `supertrend`, `trend`.
    supertrend(high, low, close; timeperiod: period, multiplier: factor);
    /// Keltner channel: `upper`, `middle`, `lower`.
    kc(high, low, close; timeperiod: period, atrperiod: period, nbdev: factor);
    /// Donchian channel: `upper`, `middle`, `lower`.
    donchian(high, low; timeperiod: period);
    /// Parabolic stop and reverse.
    sar(high, low; acceleration: factor, maximum: factor);
    /// Aroon: `down`, `up`.
    aroon(high, low; timeperiod: period);
    /// Ichimoku: `tenkansen`, `kijunsen`, `senkouspana`, `senkouspanb`, none of them shifted.
    ichimoku(high, low; tenkanperiod: period, kijunperiod: period, senkoubperiod: period);
}
