//! Judge 1: what yfinance's own repair makes of Yahoo's errors.

use super::super::{Column, Context, Kind, Rules, Series, Width, repair};
use super::input::yahoo;
use crate::transform::testing::shared_file;

const PAIRS: [(&str, Width); 10] = [
    ("AET-L-1d-100x-error", Width::Day),
    ("ASAI-L-1h-bad-unit", Width::Intraday),
    ("SPM-MI-1d-bad-stock-split", Width::Day),
    ("MOB-ST-1d-bad-stock-split", Width::Day),
    ("AV-L-1wk-bad-stock-split", Width::Longer),
    ("8TRA-DE-1d-missing-div-adjust", Width::Day),
    ("1398-HK-1d-bad-div", Width::Day),
    ("SCR-TO-1d-bad-div", Width::Day),
    ("KEN-TA-1d-bad-div", Width::Day),
    ("DODFX-1d-cg-double-count", Width::Day),
];

const UNCHANGED: [(&str, Width); 2] = [("CALM-1d-no-bad-divs", Width::Day), ("EA-15m-no-bad-divs", Width::Intraday)];

const TOLERANCE: f64 = 1e-6;

fn read(name: &str, width: Width) -> Option<Series> {
    Some(yahoo(&shared_file(&format!("data/yahoo/price-repair/{name}.csv"))?, width))
}

fn differ(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() > TOLERANCE * a.abs().max(b.abs()),
        (a, b) => a.is_some() != b.is_some(),
    }
}

/// The cells in which two series differ.
fn differences(got: &Series, want: &Series) -> Vec<String> {
    let columns = [Column::Open, Column::High, Column::Low, Column::Close, Column::AdjClose, Column::Volume];
    let mut found = Vec::new();
    assert_eq!(got.bars.len(), want.bars.len());
    for (a, b) in got.bars.iter().zip(&want.bars) {
        assert_eq!(a.ts, b.ts);
        for column in columns.into_iter().filter(|it| differ(a.get(*it), b.get(*it))) {
            found.push(format!("{} {}: {:?} is not {:?}", a.date, column.as_str(), a.get(column), b.get(column)));
        }
    }
    let paid = |series: &Series| {
        let mut paid: Vec<_> =
            series.actions.iter().filter(|it| it.kind != Kind::Split).map(|it| (it.date, it.kind, it.value)).collect();
        paid.sort_by_key(|it| (it.0, it.1));
        paid
    };
    let (a, b) = (paid(got), paid(want));
    let same = a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.0 == b.0 && a.1 == b.1 && !differ(a.2, b.2));
    if !same {
        found.push(format!("payments {a:?} are not {b:?}"));
    }
    found
}

#[test]
fn yahoo_errors_are_repaired_as_yfinance_repairs_them() {
    let mut failed = Vec::new();
    for (name, width) in PAIRS {
        let Some(series) = read(name, width) else { return };
        let Some(want) = read(&format!("{name}-fixed"), width) else { return };
        let repaired = repair(&series, Rules::ALL, Context::default());
        let wrong = differences(&repaired.series, &want);
        println!("{name}: {} rows, {} repairs, {} cells differ", want.bars.len(), repaired.repairs.len(), wrong.len());
        wrong.iter().take(4).for_each(|it| println!("    {it}"));
        let again = repair(&repaired.series, Rules::ALL, Context::default());
        if !again.repairs.is_empty() {
            println!("    not idempotent: {:?}", again.repairs.first());
        }
        if !wrong.is_empty() || !again.repairs.is_empty() {
            failed.push(name);
        }
    }
    assert_eq!(failed, Vec::<&str>::new());
}

#[test]
fn good_yahoo_series_stay() {
    for (name, width) in UNCHANGED {
        let Some(series) = read(name, width) else { return };
        let repaired = repair(&series, Rules::ALL, Context::default());
        assert_eq!(repaired.repairs, vec![], "{name}");
        assert_eq!(repaired.series, series, "{name}");
    }
}
