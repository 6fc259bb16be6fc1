//! Parameters other than the defaults, against direct calls of the crate, on raw and adjusted bars, through SQL.

use ta_lib::Core;
use ta_lib::abstract_api::{FuncInfo, InputFlags, InputType, OutputType, get_func_handle};

use super::data::{Series, shipped, table};
use super::{assert_close, numbers, outputs, query, session};
use crate::indicator::{Definition, Domain, IndicatorCall, Parameter, Value, catalogue};

fn value(parameter: &Parameter, factor: f64, choice: usize) -> Value {
    match &parameter.domain {
        Domain::Integer { min, max, default } => {
            let shifted = (f64::from(*default) * factor).round() as i32 + i32::from(factor > 1.0);
            Value::Integer(shifted.clamp(*min, *max))
        }
        Domain::Real { min, max, default } => {
            Value::Real((default * factor + if *default == 0.0 { 0.1 } else { 0.0 }).clamp(*min, *max))
        }
        Domain::Choice { choices, default } => {
            let others: Vec<_> = choices.iter().map(|it| it.0).filter(|it| it != default && *it < 7).collect();
            Value::Integer(others[choice % others.len()])
        }
    }
}

/// Shorter periods and another average.
pub(super) fn small_parameters(definition: &Definition) -> Vec<Value> {
    definition.parameters.iter().map(|it| value(it, 0.5, 0)).collect()
}

/// Longer periods and yet another average.
fn large_parameters(definition: &Definition) -> Vec<Value> {
    let factor = if definition.name == "frama" { 2.0 - 1.0 / 16.0 } else { 1.6 };
    definition.parameters.iter().map(|it| value(it, factor, 1)).collect()
}

/// A call of the crate that shares nothing with ours but the crate.
fn direct(info: &FuncInfo, values: &[Value], series: &Series) -> Vec<Vec<Option<f64>>> {
    let core = Core::new();
    let mut call = info.id.new_call(&core);
    let [open, high, low, close, volume, scaled, periods] =
        ["open", "high", "low", "close", "volume", "scaled", "periods"].map(|it| series.column(it));
    for (slot, input) in info.inputs.iter().enumerate() {
        if input.kind == InputType::Price {
            let part = |flag, column| input.flags.contains(flag).then_some(column);
            call.set_price_input(
                slot,
                part(InputFlags::PRICE_OPEN, open.as_slice()),
                part(InputFlags::PRICE_HIGH, high.as_slice()),
                part(InputFlags::PRICE_LOW, low.as_slice()),
                part(InputFlags::PRICE_CLOSE, close.as_slice()),
                part(InputFlags::PRICE_VOLUME, volume.as_slice()),
                None,
            )
            .unwrap();
            continue;
        }
        let column = match input.param_name {
            "inReal" if info.group.as_str() == "Math Transform" => &scaled,
            "inReal" => &close,
            "inReal0" => &high,
            "inReal1" => &low,
            "inPeriods" => &periods,
            other => panic!("no series for {other}"),
        };
        call.set_input(slot, column).unwrap();
    }
    for (index, value) in values.iter().enumerate() {
        match value {
            Value::Integer(value) => call.set_opt_input(index, *value).map(|_| ()).unwrap(),
            Value::Real(value) => call.set_opt_input(index, *value).map(|_| ()).unwrap(),
        }
    }
    let rows = series.len();
    let mut reals = vec![vec![f64::NAN; rows]; info.outputs.len()];
    let mut integers = vec![vec![0; rows]; info.outputs.len()];
    let range = {
        for (index, (real, integer)) in reals.iter_mut().zip(integers.iter_mut()).enumerate() {
            match info.outputs[index].kind {
                OutputType::Real => call.set_output(index, real).map(|_| ()).unwrap(),
                OutputType::Integer => call.set_int_output(index, integer).map(|_| ()).unwrap(),
            }
        }
        call.call(0, rows - 1).unwrap()
    };
    let packed = |index: usize, i: usize| match info.outputs[index].kind {
        OutputType::Real => reals[index][i],
        OutputType::Integer => f64::from(integers[index][i]),
    };
    let aligned = |index| {
        let value =
            |row: usize| row.checked_sub(range.beg_idx).filter(|it| *it < range.count).map(|it| packed(index, it));
        (0..rows).map(value).collect()
    };
    (0..info.outputs.len()).map(aligned).collect()
}

/// Every given call over three symbols on both bases, in one query.
async fn compare(calls: &[(&'static Definition, Vec<Value>)]) {
    let (aapl, aapl_total) = shipped("AAPL");
    let (ibm, ibm_total) = shipped("IBM");
    let (fb, fb_total) = shipped("FB");
    let named = [
        ("AAPL raw", aapl.first(700)),
        ("AAPL total", aapl_total.first(700)),
        ("FB raw", fb),
        ("FB total", fb_total),
        ("IBM raw", ibm.first(600)),
        ("IBM total", ibm_total.first(600)),
    ];
    let symbols: Vec<_> = named.iter().map(|(name, series)| (*name, series)).collect();
    let session = session(table(&symbols));
    let sql: Vec<_> =
        calls.iter().enumerate().map(|(i, (it, values))| format!("{} OVER w AS c{i}", sql_call(it, values))).collect();
    let window = "WINDOW w AS (PARTITION BY symbol ORDER BY ts)";
    let result = query(&session, &format!("SELECT {} FROM bars {window} ORDER BY symbol, ts", sql.join(", "))).await;

    for (i, (definition, values)) in calls.iter().enumerate() {
        let info = get_func_handle(&definition.name).unwrap().info();
        let mut from = 0;
        for (symbol, series) in &named {
            let ours = outputs(&result.column(i).slice(from, series.len()));
            for (ours, theirs) in ours.iter().zip(direct(info, values, series)) {
                assert_close(&format!("{symbol} {}{values:?}", definition.name), &numbers(ours), &theirs);
            }
            from += series.len();
        }
        assert_eq!(from, result.num_rows());
    }
}

fn sql_call(definition: &Definition, values: &[Value]) -> String {
    let input = |name: &str, usual: &str| match name {
        _ if definition.group == "Math Transform" => "scaled".to_string(),
        "periods" => "periods".to_string(),
        _ => usual.to_string(),
    };
    let inputs = definition.inputs.iter().map(|it| input(&it.name, it.usual_column()));
    let values = definition.parameters.iter().zip(values).map(|(parameter, value)| match parameter.domain {
        Domain::Choice { .. } => format!("'{}'", parameter.show(*value)),
        _ => value.to_string(),
    });
    format!("{}({})", definition.sql_name, inputs.chain(values).collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn all_defaults_equal_direct_calls() {
    let calls: Vec<_> = catalogue().iter().map(|it| (it, it.defaults())).collect();
    assert_eq!(calls.len(), 237);
    compare(&calls).await;
}

#[tokio::test]
async fn two_other_sets_of_parameters_equal_direct_calls() {
    let with_parameters: Vec<_> = catalogue().iter().filter(|it| !it.parameters.is_empty()).collect();
    for definition in &with_parameters {
        let (small, large, default) =
            (small_parameters(definition), large_parameters(definition), definition.defaults());
        assert!(small != large && small != default && large != default, "{}: {small:?} {large:?}", definition.name);
        IndicatorCall::new(definition, &small).unwrap();
        IndicatorCall::new(definition, &large).unwrap();
    }
    let small: Vec<_> = with_parameters.iter().map(|it| (*it, small_parameters(it))).collect();
    let large: Vec<_> = with_parameters.iter().map(|it| (*it, large_parameters(it))).collect();
    compare(&small).await;
    compare(&large).await;
}

/// The registry's binder stands in the middle of all other comparisons, so here are the crate's methods themselves.
#[tokio::test]
async fn typed_methods_of_the_crate_agree() {
    let (raw, _) = shipped("MSFT");
    let n = raw.len();
    let session = session(table(&[("MSFT", &raw)]));
    let window = "OVER (PARTITION BY symbol ORDER BY ts)";
    let sql = format!(
        "SELECT rsi(close, 9) {window}, macd(close, 5, 13, 4) {window}, atr(high, low, close, 7) {window}, obv(close, volume) {window} FROM bars ORDER BY ts"
    );
    let result = query(&session, &sql).await;
    let core = Core::new();
    let mut out = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
    let check = |what: &str, ours: &arrow::array::ArrayRef, beg: usize, packed: &[f64]| {
        let theirs: Vec<_> = (0..n).map(|row| row.checked_sub(beg).map(|it| packed[it])).collect();
        assert_close(what, &numbers(ours), &theirs);
    };
    let range = core.rsi(0, n - 1, &raw.close, 9, &mut out[0]).unwrap();
    check("rsi", result.column(0), range.beg_idx, &out[0]);
    let [a, b, c] = &mut out;
    let range = core.macd(0, n - 1, &raw.close, 5, 13, 4, a, b, c).unwrap();
    for (ours, packed) in outputs(result.column(1)).iter().zip(&out) {
        check("macd", ours, range.beg_idx, packed);
    }
    let range = core.atr(0, n - 1, &raw.high, &raw.low, &raw.close, 7, &mut out[0]).unwrap();
    check("atr", result.column(2), range.beg_idx, &out[0]);
    let range = core.obv(0, n - 1, &raw.close, &raw.volume, &mut out[0]).unwrap();
    check("obv", result.column(3), range.beg_idx, &out[0]);
}
