//! The text form and the columns.

use crate::indicator::{IndicatorSpec, catalogue, parse_list};

#[track_caller]
fn check(text: &str, shown: &str, columns: &[&str]) {
    let spec: IndicatorSpec = text.parse().unwrap();
    assert_eq!(spec.to_string(), shown);
    assert_eq!(spec.columns(), columns);
    assert_eq!(spec.to_string().parse::<IndicatorSpec>().unwrap(), spec);
    assert_eq!(serde_json::from_str::<IndicatorSpec>(&serde_json::to_string(&spec).unwrap()).unwrap(), spec);
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    assert_eq!(text.parse::<IndicatorSpec>().unwrap_err().to_string(), expected);
}

#[test]
fn entries_of_a_list() {
    check("sma(20)", "sma(20)", &["sma_20"]);
    check("SMA", "sma(30)", &["sma_30"]);
    check(" rsi ( 14 ) ", "rsi(14)", &["rsi_14"]);
    check("macd", "macd", &["macd", "macd_signal", "macd_hist"]);
    check("macd()", "macd", &["macd", "macd_signal", "macd_hist"]);
    check("macd(12, 26, 9)", "macd", &["macd", "macd_signal", "macd_hist"]);
    check("macd(5,35)", "macd(5, 35)", &["macd_5_35", "macd_5_35_signal", "macd_5_35_hist"]);
    check("bbands(20, 2.0)", "bbands", &["bbands_upper", "bbands_middle", "bbands_lower"]);
    check(
        "bbands(nbdevup = 2.5)",
        "bbands(20, 2.5)",
        &["bbands_20_2p5_upper", "bbands_20_2p5_middle", "bbands_20_2p5_lower"],
    );
    check("atr", "atr(14)", &["atr_14"]);
    check("obv", "obv", &["obv"]);
    check("ta_obv", "obv", &["obv"]);
    check("sum(10)", "sum(10)", &["sum_10"]);
    check("ma(20, ema)", "ma(20, ema)", &["ma_20_ema"]);
    check("ma(20, 1)", "ma(20, ema)", &["ma_20_ema"]);
    check("apo(10, 20)", "apo(10, 20)", &["apo_10_20"]);
    check("ema(12, input = high)", "ema(12, input = high)", &["ema_12_high"]);
    check("ema(12, input = close)", "ema(12)", &["ema_12"]);
    check(
        "correl(10, real0 = close, real1 = volume)",
        "correl(10, input = close, real1 = volume)",
        &["correl_10_close_volume"],
    );
    check("mavp(periods = p)", "mavp(periods = p)", &["mavp_p"]);
    check("sma(200) as slow", "sma(200) as slow", &["slow"]);
    check("sma(200) AS slow", "sma(200) as slow", &["slow"]);
    check("macd as m", "macd as m", &["m", "m_signal", "m_hist"]);
}

#[test]
fn every_default_call_survives_its_text() {
    for definition in catalogue().iter().filter(|it| it.name != "mavp") {
        let spec: IndicatorSpec = definition.name.parse().unwrap();
        assert_eq!(spec.to_string().parse::<IndicatorSpec>().unwrap(), spec);
        assert_eq!(spec.columns(), definition.default_columns());
    }
}

#[test]
fn all_default_columns_differ() {
    let names: Vec<_> = catalogue().iter().map(|it| it.name.as_str()).filter(|it| *it != "mavp").collect();
    parse_list(&names).unwrap();
}

#[test]
fn errors_say_what_and_what_is_allowed() {
    check_error("sma(0)", "invalid timeperiod for sma: 0 is not in 1..=100000");
    check_error("rsi(14.5)", "invalid timeperiod for rsi: 14.5 is not a whole number");
    check_error("rsi(x)", "invalid timeperiod for rsi: `x` is not a number");
    check_error("bbands(20, 1e300)", "invalid nbdevup for bbands: 1e300 is not in -3e37..=3e37");
    check_error("rsi(NaN)", "invalid timeperiod for rsi: NaN is not a whole number");
    check_error("smaa(20)", "unknown indicator `smaa`, did you mean `sma`?");
    check_error("sma(20", "invalid indicator `sma(20`: the closing parenthesis is missing");
    check_error("sma(20) extra", "invalid indicator `sma(20) extra`: the closing parenthesis is missing");
    check_error("", "invalid indicator ``: write it like `sma(20)` or `macd`");
    check_error("sma(20, 3)", "invalid call of sma: it has 1 parameters (timeperiod), 2 given");
    check_error("obv(3)", "invalid call of obv: it has no parameters, 1 given");
    check_error("sma(timeperod = 3)", "invalid timeperod for sma: it has no such argument, did you mean `timeperiod`?");
    check_error(
        "macd(12, fastperiod = 3)",
        "invalid indicator `macd(12, fastperiod = 3)`: `fastperiod` is given twice",
    );
    check_error(
        "macd(slowperiod = 3, 4)",
        "invalid indicator `macd(slowperiod = 3, 4)`: `4` stands after a named argument",
    );
    check_error("mavp", "invalid call of mavp: say which column holds its periods: `periods = COLUMN`");
    check_error("sma(,)", "invalid indicator `sma(,)`: a comma has no argument beside it");
    check_error("sma(20,)", "invalid indicator `sma(20,)`: a comma has no argument beside it");
    check_error("sma as a-b", "invalid indicator `sma as a-b`: `a-b` is no column name");
    check_error(
        "ma(20, foo)",
        "invalid matype for ma: `foo` is none of sma, ema, wma, dema, tema, trima, kama, mama, t3, hma, disabled, zlema, rma, vidya, alma",
    );
}

#[test]
fn two_entries_of_one_column_are_refused() {
    let error = parse_list(&["macd", "macd(12, 26, 9)"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "indicators `macd` and `macd` both give the column `macd`: leave one out or name it with `as`"
    );
    assert!(parse_list(&["sma(20) as rsi_14", "rsi(14)"]).is_err());
    assert!(parse_list(&["sma(20) as RSI_14", "rsi(14)"]).is_err(), "many readers know no upper and lower case");
    assert_eq!(parse_list(&["bbands(20, 2.5)", "bbands(20, 2, 5)", "bbands(10)"]).unwrap().len(), 3);
}
