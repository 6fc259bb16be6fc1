//! No input panics, and a repaired series is repaired by nothing.

use chrono::{Datelike, NaiveDate};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Action, Bar, Context, Kind, Rules, Series, Width, repair};
use super::random::Random;

fn value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        4 => (1.0..200.0_f64).prop_map(Some),
        2 => (0.9..1.1_f64, prop::sample::select(vec![0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0]))
            .prop_map(|(it, by)| Some(it * by * 50.0)),
        1 => any::<f64>().prop_map(Some),
        1 => prop_oneof![Just(None), Just(Some(0.0)), Just(Some(-1.0)), Just(Some(f64::NAN)), Just(Some(f64::INFINITY)),
            Just(Some(f64::MIN_POSITIVE)), Just(Some(f64::MAX)), Just(Some(5e-324))],
    ]
}

fn date(day: i32) -> NaiveDate {
    NaiveDate::from_num_days_from_ce_opt(737_000 + day).unwrap_or_default()
}

fn bar() -> impl Strategy<Value = Bar> {
    (0..80_i32, [value(), value(), value(), value()], value(), value()).prop_map(|(day, prices, volume, adj_close)| {
        let [open, high, low, close] = prices;
        Bar { ts: i64::from(day) * 86_400_000_000, date: date(day), open, high, low, close, volume, adj_close }
    })
}

/// Bars that look like a market: most errors hide here.
fn market() -> impl Strategy<Value = Vec<Bar>> {
    let factor =
        prop_oneof![20 => Just(1.0), 1 => Just(100.0), 1 => Just(0.01), 1 => Just(2.0), 1 => Just(0.1), 1 => Just(0.0)];
    vec((-0.03..0.03_f64, factor, 0.9..1.0_f64), 0..80).prop_map(|days| {
        let mut price = 50.0;
        let bars = days.into_iter().enumerate().map(|(day, (change, by, kept))| {
            price *= 1.0 + change;
            let it = Some(price * by);
            let day = day as i32;
            let adj_close = Some(price * by * if kept > 0.95 { 1.0 } else { 0.97 });
            let ts = i64::from(day) * 86_400_000_000;
            Bar { ts, date: date(day), open: it, high: it, low: it, close: it, volume: Some(1000.0), adj_close }
        });
        bars.collect()
    })
}

fn action() -> impl Strategy<Value = Action> {
    let kind = prop_oneof![Just(Kind::Dividend), Just(Kind::CapitalGain), Just(Kind::Split)];
    let small = prop_oneof![Just(Some(1.0)), Just(Some(2.0)), Just(Some(10.0)), Just(Some(100.0)), value()];
    let amount = prop_oneof![3 => (0.01..5.0_f64).prop_map(Some), 1 => Just(Some(1.0)), 1 => value()];
    (0..90_i32, kind, amount, small.clone(), small).prop_map(|(day, kind, value, numerator, denominator)| Action {
        date: date(day),
        kind,
        value,
        numerator,
        denominator,
    })
}

fn series() -> impl Strategy<Value = Series> {
    let width = prop_oneof![4 => Just(Width::Day), 1 => Just(Width::Intraday), 1 => Just(Width::Longer)];
    let bars = prop_oneof![vec(bar(), 0..40), market()];
    (bars, vec(action(), 0..8), width).prop_map(|(bars, actions, width)| Series { bars, actions, width })
}

fn text(series: &Series) -> String {
    format!("{series:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn nothing_panics_and_twice_is_once(series in series(), finer in vec(bar(), 0..10)) {
        let is_session = |date: NaiveDate| (date.ordinal() > 30).then_some(!date.ordinal().is_multiple_of(5));
        for context in [Context::default(), Context { is_session: Some(&is_session), finer: &finer, may_have_splits: false }] {
            let once = repair(&series, Rules::ALL, context);
            let twice = repair(&once.series, Rules::ALL, context);
            prop_assert_eq!(text(&once.series), text(&twice.series));
            prop_assert!(twice.repairs.is_empty(), "{:?}", twice.repairs.first());
        }
    }

    #[test]
    fn no_rule_changes_nothing(series in series()) {
        let repaired = repair(&series, Rules::NONE, Context::default());
        prop_assert_eq!(text(&repaired.series), text(&series));
        prop_assert!(repaired.repairs.is_empty());
    }

    #[test]
    fn the_order_of_bars_does_not_matter(series in series()) {
        let mut turned = series.clone();
        turned.bars.sort_by_key(|it| it.ts);
        turned.bars.dedup_by_key(|it| it.ts);
        let forward = repair(&turned, Rules::ALL, Context::default());
        turned.bars.reverse();
        let mut backward = repair(&turned, Rules::ALL, Context::default());
        backward.series.bars.reverse();
        prop_assert_eq!(text(&forward.series), text(&backward.series));
    }
}

#[test]
fn nothing_comes_of_nothing() {
    let empty = Series { bars: vec![], actions: vec![], width: Width::Day };
    let repaired = repair(&empty, Rules::ALL, Context::default());
    assert!(repaired.is_settled && repaired.repairs.is_empty() && repaired.series == empty);
}

#[test]
fn most_markets_with_errors_come_to_rest() {
    let mut rng = Random::new(9);
    let mut restless = 0;
    for _ in 0..2000 {
        let mut series = super::clean::walk(&mut rng, 200);
        let mut any = |width: usize| {
            let row = rng.within(0..200 - width);
            (row, series.bars[row].date)
        };
        let (row, _) = any(20);
        let ((_, first), (_, second)) = (any(1), any(1));
        series.actions.push(super::clean::split(first, (10.0, 1.0)));
        series.actions.push(super::clean::payment(second, Kind::Dividend, 0.5));
        for bar in &mut series.bars[row..row + 10] {
            (bar.close, bar.open) = (bar.close.map(|it| it * 10.0), bar.open.map(|it| it * 10.0));
            bar.adj_close = bar.adj_close.map(|it| it / 100.0);
        }
        restless += usize::from(!repair(&series, Rules::ALL, Context::default()).is_settled);
    }
    assert_eq!(restless, 0);
}
