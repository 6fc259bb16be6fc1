//! The catalogue against the registry.

use std::collections::HashSet;

use datafusion::prelude::SessionContext;
use ta_lib::abstract_api::{FUNCS, FuncId};

use crate::indicator::definition::Domain;
use crate::indicator::sql::udwfs;
use crate::indicator::talib::SQL_NAMES;
use crate::indicator::{EXCLUDED, IndicatorCall, IndicatorError, StateKind, catalogue};

#[test]
fn registered_and_excluded_are_all_of_the_registry() {
    assert_eq!(FUNCS.len(), FuncId::COUNT);
    assert_eq!(catalogue().len() + EXCLUDED.len(), FUNCS.len());
    assert_eq!(udwfs().count(), catalogue().len());
    for function in FUNCS {
        let is_excluded =
            EXCLUDED.iter().any(|(name, reason)| name.eq_ignore_ascii_case(function.name) && !reason.is_empty());
        assert_ne!(catalogue().get(function.name).is_ok(), is_excluded, "{}", function.name);
    }
}

#[test]
fn every_function_answers_to_its_prefixed_name_and_no_name_means_two() {
    let mut seen = HashSet::new();
    for definition in catalogue() {
        assert_eq!(catalogue().get(&format!("ta_{}", definition.name)).unwrap().name, definition.name);
        assert_eq!(catalogue().get(&definition.name.to_uppercase()).unwrap().name, definition.name);
        for name in definition.aliases.iter().chain([&definition.sql_name]) {
            assert!(seen.insert(name.clone()), "`{name}` means two functions");
        }
    }
}

#[test]
fn a_plain_name_is_never_one_of_sql() {
    let session = SessionContext::new();
    let state = session.state();
    let sql: HashSet<&String> = state
        .scalar_functions()
        .keys()
        .chain(state.aggregate_functions().keys())
        .chain(state.window_functions().keys())
        .collect();
    for definition in catalogue() {
        for name in definition.aliases.iter().chain([&definition.sql_name]) {
            assert!(!sql.contains(name), "`{name}` is SQL's own");
        }
        let is_listed = SQL_NAMES.contains(&definition.name.as_str());
        assert_eq!(is_listed, definition.sql_name != definition.name, "{}", definition.name);
    }
    for name in SQL_NAMES {
        assert!(catalogue().get(name).is_ok(), "`{name}` is listed and is no function");
    }
}

#[test]
fn inputs_parameters_and_outputs_have_names_of_their_own() {
    for definition in catalogue() {
        let inputs = definition.inputs.iter().map(|it| it.name.as_str());
        let arguments: Vec<_> = inputs.chain(definition.parameters.iter().map(|it| it.name.as_str())).collect();
        assert_eq!(arguments.iter().collect::<HashSet<_>>().len(), arguments.len(), "{arguments:?}");
        let outputs: HashSet<_> = definition.outputs.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(outputs.len(), definition.outputs.len(), "{}", definition.name);
        assert!(outputs.iter().all(|it| !it.is_empty()) && !definition.description.is_empty());
    }
}

/// What an issue of the project names, and all that share its building blocks.
const GOES_ON: &str = "sma ema wma dema tema trima kama t3 bbands macd macdext macdfix rsi stoch stochf stochrsi adx adxr dx \
    plus_di minus_di plus_dm minus_dm cci cmo mom roc rocp rocr rocr100 apo ppo trix willr ultosc mfi aroon aroonosc bop atr \
    natr trange obv ad adosc sar stddev var linearreg linearreg_slope linearreg_intercept linearreg_angle tsf midpoint \
    midprice avgprice medprice typprice wclprice beta correl min max sum minmax minindex maxindex minmaxindex vwap rma";

#[test]
fn the_widely_used_functions_go_on_from_a_state() {
    let patterns = catalogue().iter().map(|it| it.name.as_str()).filter(|it| it.starts_with("cdl"));
    for name in GOES_ON.split_whitespace().chain(patterns) {
        let definition = catalogue().get(name).unwrap();
        assert_ne!(definition.state.kind, StateKind::History, "{name}");
        assert!(IndicatorCall::new(definition, &[]).unwrap().goes_piece_by_piece(), "{name}");
    }
    for definition in catalogue() {
        let is_history = definition.state.kind == StateKind::History;
        assert_eq!(
            IndicatorCall::new(definition, &[]).unwrap().goes_piece_by_piece(),
            !is_history,
            "{}",
            definition.name
        );
        assert!(!definition.state.reason.is_empty(), "{}", definition.name);
    }
}

#[test]
fn bounds_and_defaults_agree() {
    for definition in catalogue() {
        for parameter in &definition.parameters {
            let default = parameter.default_value();
            assert_eq!(parameter.check(&definition.name, default).unwrap(), default);
            if let Domain::Choice { choices, .. } = &parameter.domain {
                assert!(choices.iter().all(|(_, name)| name != "default"), "{}", definition.name);
            }
        }
        assert!(definition.lookback(&definition.defaults()).is_ok(), "{}", definition.name);
    }
}

#[test]
fn lookbacks_are_those_of_the_reference() {
    for (name, lookback) in [
        ("sma", 29),
        ("rsi", 14),
        ("macd", 33),
        ("dema", 58),
        ("tema", 87),
        ("trix", 88),
        ("adx", 27),
        ("obv", 0),
        ("ht_sine", 63),
    ] {
        assert_eq!(catalogue().get(name).unwrap().default_lookback(), lookback, "{name}");
    }
}

#[track_caller]
fn check_fields(name: &str, fields: &[&str], columns: &[&str]) {
    let definition = catalogue().get(name).unwrap();
    assert_eq!(definition.outputs.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), fields);
    assert_eq!(definition.default_columns(), columns);
}

#[test]
fn outputs_say_no_more_than_is_needed_beside_the_function() {
    check_fields("macd", &["macd", "signal", "hist"], &["macd", "macd_signal", "macd_hist"]);
    check_fields("macdext", &["macd", "signal", "hist"], &["macdext_macd", "macdext_signal", "macdext_hist"]);
    check_fields("bbands", &["upper", "middle", "lower"], &["bbands_upper", "bbands_middle", "bbands_lower"]);
    check_fields("aroon", &["down", "up"], &["aroon_down", "aroon_up"]);
    check_fields("ha", &["open", "high", "low", "close"], &["ha_open", "ha_high", "ha_low", "ha_close"]);
    check_fields("mama", &["mama", "fama"], &["mama", "mama_fama"]);
    check_fields("supertrend", &["supertrend", "trend"], &["supertrend", "supertrend_trend"]);
    check_fields("stoch", &["slowk", "slowd"], &["stoch_slowk", "stoch_slowd"]);
    check_fields("rsi", &["value"], &["rsi_14"]);
    check_fields("obv", &["value"], &["obv"]);
}

#[test]
fn an_unknown_name_gets_the_nearest_known_one() {
    let error = catalogue().get("bband").unwrap_err();
    assert_eq!(error.to_string(), "unknown indicator `bband`, did you mean `bbands`?");
    assert_eq!(catalogue().get("qqqq").unwrap_err(), IndicatorError::Unknown { name: "qqqq".into(), nearest: None });
}
