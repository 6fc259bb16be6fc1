//! The rules for NULL, for every function: values with holes are the values without them, put back in their rows.

use arrow::array::{Array, Float64Array};
use proptest::prelude::*;

use super::data::{Series, shipped, wave};
use super::{assert_close, is_close, numbers};
use crate::indicator::definition::{Definition, OutputKind};
use crate::indicator::kernel::evaluate;
use crate::indicator::tests::parameters::small_parameters;
use crate::indicator::{IndicatorCall, IndicatorError, catalogue};

fn columns(definition: &Definition, series: &Series) -> Vec<Vec<f64>> {
    let column = |name: &str| match name {
        _ if definition.group == "Math Transform" => series.column("scaled"),
        "real" => series.column("close"),
        "real0" => series.column("high"),
        "real1" => series.column("low"),
        other => series.column(other),
    };
    definition.inputs.iter().map(|it| column(&it.name)).collect()
}

fn run(call: &IndicatorCall, inputs: &[Vec<Option<f64>>]) -> Vec<Vec<Option<f64>>> {
    let arrays: Vec<_> = inputs.iter().map(|it| Float64Array::from(it.clone())).collect();
    let evaluation = evaluate(call, &arrays.iter().collect::<Vec<_>>()).unwrap();
    for (output, kind) in evaluation.outputs.iter().zip(&call.definition().outputs) {
        assert_eq!(output.len(), inputs[0].len(), "{call}: as many rows out as in");
        let expected = match kind.kind {
            OutputKind::Float64 => arrow::datatypes::DataType::Float64,
            OutputKind::Int32 => arrow::datatypes::DataType::Int32,
        };
        assert_eq!(output.data_type(), &expected);
    }
    evaluation.outputs.iter().map(numbers).collect()
}

fn all_some(columns: &[Vec<f64>]) -> Vec<Vec<Option<f64>>> {
    columns.iter().map(|it| it.iter().copied().map(Some).collect()).collect()
}

#[test]
fn exactly_the_lookback_is_null_on_ordinary_bars() {
    let (raw, _) = shipped("IBM");
    for definition in catalogue() {
        let call = IndicatorCall::new(definition, &[]).unwrap();
        for output in run(&call, &all_some(&columns(definition, &raw.first(300)))) {
            let first = output.iter().position(Option::is_some);
            assert_eq!(first, Some(call.lookback()), "{call}");
            let n_null = output.iter().skip(call.lookback()).filter(|it| it.is_none()).count();
            assert_eq!(n_null, 0, "{call}");
        }
    }
}

#[test]
fn short_series_are_all_null_and_never_an_error() {
    let series = wave(300, 1);
    for definition in catalogue() {
        let call = IndicatorCall::new(definition, &[]).unwrap();
        for n in [0, 1, 2, call.lookback(), call.lookback() + 1] {
            for output in run(&call, &all_some(&columns(definition, &series.first(n)))) {
                let n_null = output.iter().filter(|it| it.is_none()).count();
                assert_eq!(n_null, n.min(call.lookback()), "{call} over {n} rows");
            }
        }
    }
}

/// What is true of a longer series is true of its beginning: no function looks ahead.
#[test]
fn every_function_is_causal() {
    let series = wave(260, 7);
    for definition in catalogue() {
        let call = IndicatorCall::new(definition, &[]).unwrap();
        let whole = run(&call, &all_some(&columns(definition, &series)));
        for n in [1, 50, 120, 203, 259] {
            let part = run(&call, &all_some(&columns(definition, &series.first(n))));
            for (whole, part) in whole.iter().zip(&part) {
                assert_close(&format!("{call} over {n} of 260 rows"), part, &whole[..n]);
            }
        }
    }
}

#[test]
fn undefined_answers_are_null() {
    let call = IndicatorCall::named("ln", &[]).unwrap();
    assert_eq!(
        run(&call, &[vec![Some(1.0), Some(0.0), Some(-1.0), Some(f64::INFINITY)]]),
        [[Some(0.0), None, None, None]]
    );
    let call = IndicatorCall::named("div", &[]).unwrap();
    assert_eq!(run(&call, &[vec![Some(1.0), Some(0.0)], vec![Some(0.0), Some(0.0)]]), [[None, None]]);
}

#[test]
fn a_flat_series_has_the_rsi_of_the_crate() {
    let call = IndicatorCall::named("rsi", &[]).unwrap();
    assert_eq!(run(&call, &[vec![Some(7.0); 16]])[0][14..], [Some(50.0), Some(50.0)]);
}

#[test]
fn row_numbers_count_used_rows() {
    let call = IndicatorCall::named("maxindex", &[crate::indicator::Value::Integer(2)]).unwrap();
    let output = run(&call, &[vec![Some(1.0), None, Some(3.0), Some(f64::NAN), Some(2.0)]]);
    assert_eq!(output, [[None, None, Some(1.0), None, Some(1.0)]]);
}

#[test]
fn the_wrong_number_or_length_of_series_is_an_error() {
    let call = IndicatorCall::named("atr", &[]).unwrap();
    let (short, long) = (Float64Array::from(vec![1.0; 3]), Float64Array::from(vec![1.0; 4]));
    assert!(matches!(evaluate(&call, &[&short]), Err(IndicatorError::Call { .. })));
    assert!(matches!(evaluate(&call, &[&short, &short, &long]), Err(IndicatorError::Call { .. })));
}

#[test]
fn extreme_prices_never_panic() {
    let hostile = [0.0, -1.0, 1e308, -1e308, 1e-308, f64::MIN_POSITIVE, 5.0, 5.0, 1e15];
    for definition in catalogue() {
        let call = IndicatorCall::new(definition, &small_parameters(definition)).unwrap();
        let column = |shift: usize| (0..150).map(|i| Some(hostile[(i * 7 + shift + i / 11) % hostile.len()])).collect();
        let inputs: Vec<Vec<Option<f64>>> = (0..definition.inputs.len()).map(column).collect();
        for output in run(&call, &inputs) {
            assert!(output.iter().flatten().all(|it| it.is_finite()), "{call}");
        }
    }
}

/// A hole: which input it strikes and what stands there.
#[derive(Debug, Clone, Copy)]
enum Hole {
    Null(usize),
    Nan(usize),
    Infinite(usize),
}

fn hole() -> impl Strategy<Value = Option<Hole>> {
    prop_oneof![
        6 => Just(None),
        1 => (0usize..5).prop_map(|it| Some(Hole::Null(it))),
        1 => (0usize..5).prop_map(|it| Some(Hole::Nan(it))),
        1 => (0usize..5).prop_map(|it| Some(Hole::Infinite(it))),
    ]
}

fn with_holes(columns: &[Vec<f64>], holes: &[Option<Hole>]) -> Vec<Vec<Option<f64>>> {
    let mut columns = all_some(columns);
    let n = columns.len();
    for (row, hole) in holes.iter().enumerate() {
        match *hole {
            None => {}
            Some(Hole::Null(input)) => columns[input % n][row] = None,
            Some(Hole::Nan(input)) => columns[input % n][row] = Some(f64::NAN),
            Some(Hole::Infinite(input)) => columns[input % n][row] = Some(f64::NEG_INFINITY),
        }
    }
    columns
}

fn check_holes(call: &IndicatorCall, columns: &[Vec<f64>], holes: &[Option<Hole>]) {
    let compacted: Vec<Vec<f64>> = columns
        .iter()
        .map(|it| it.iter().zip(holes).filter(|(_, hole)| hole.is_none()).map(|(value, _)| *value).collect())
        .collect();
    let expected = run(call, &all_some(&compacted));
    for (output, expected) in run(call, &with_holes(columns, holes)).iter().zip(&expected) {
        let kept: Vec<_> = output.iter().zip(holes).filter(|(_, hole)| hole.is_none()).map(|(it, _)| *it).collect();
        assert_eq!(&kept, expected, "{call}");
        assert!(
            output.iter().zip(holes).all(|(it, hole)| hole.is_none() || it.is_none()),
            "{call}: NULL where a hole is"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn holes_are_skipped(which in any::<prop::sample::Index>(), holes in prop::collection::vec(hole(), 0..200), seed in 0u64..1000) {
        let definition = catalogue().iter().nth(which.index(catalogue().len())).unwrap();
        let call = IndicatorCall::new(definition, &small_parameters(definition)).unwrap();
        check_holes(&call, &columns(definition, &wave(holes.len(), seed)), &holes);
    }
}

#[test]
fn holes_are_skipped_by_every_function() {
    let pattern = |row: usize| match row % 17 {
        3 => Some(Hole::Null(row)),
        9 if row > 60 => Some(Hole::Nan(row)),
        10 if row > 60 => Some(Hole::Infinite(row)),
        _ => (row < 2).then_some(Hole::Null(0)),
    };
    let holes: Vec<_> = (0..320).map(pattern).collect();
    for definition in catalogue() {
        let call = IndicatorCall::new(definition, &[]).unwrap();
        check_holes(&call, &columns(definition, &wave(holes.len(), 3)), &holes);
    }
}

#[test]
fn values_equal_within_the_tolerance_are_equal() {
    assert!(is_close(1.0, 1.0 + 1e-10) && !is_close(1.0, 1.0 + 1e-8));
}
