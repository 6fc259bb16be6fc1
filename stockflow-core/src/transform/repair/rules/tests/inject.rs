//! Judge 3: errors put into good series at random are undone.

use chrono::{Datelike, TimeDelta, Weekday};

use super::super::{Bar, Column, Context, Kind, Rules, Series, Width, repair};
use super::clean::{RATIOS, payment, split, split_adjusted, with_dividends};
use super::input::{bokeh, sp500};
use super::random::Random;

const TOLERANCE: f64 = 1e-6;
const SEEDS: u64 = 1;
const REQUIRED: f64 = 0.95;

const CELLS: [Column; 6] = [Column::Open, Column::High, Column::Low, Column::Close, Column::AdjClose, Column::Volume];

/// A series with an error, the one it should become, and the rows in which they differ.
struct Case {
    broken: Series,
    good: Series,
    finer: Vec<Bar>,
}

fn case(good: &Series, broken: Series) -> Case {
    Case { broken, good: good.clone(), finer: Vec::new() }
}

fn near(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn same(a: &Bar, b: &Bar) -> bool {
    a.ts == b.ts && CELLS.iter().all(|it| near(a.get(*it), b.get(*it)))
}

/// Whether all is as it was, and how many rows are wrong that were not before.
fn judge(case: &Case) -> (bool, usize) {
    let is_session = |date: chrono::NaiveDate| Some(date.weekday() != Weekday::Sat);
    let context = Context { is_session: Some(&is_session), finer: &case.finer, may_have_splits: false };
    let repaired = repair(&case.broken, Rules::ALL, context);
    assert!(repaired.is_settled);
    let got = repaired.series;
    let paid = |series: &Series| {
        let mut paid: Vec<_> = series.actions.iter().map(|it| (it.date, it.kind, it.value)).collect();
        paid.sort_by_key(|it| (it.0, it.1));
        paid
    };
    let (mine, theirs) = (paid(&got), paid(&case.good));
    let same_paid =
        mine.len() == theirs.len() && mine.iter().zip(&theirs).all(|(a, b)| a.0 == b.0 && a.1 == b.1 && near(a.2, b.2));
    if got.bars.len() != case.good.bars.len() {
        return (false, got.bars.len().abs_diff(case.good.bars.len()));
    }
    let mut broken = case.broken.bars.iter().peekable();
    let (mut undone, mut harmed) = (true, 0);
    for (mine, good) in got.bars.iter().zip(&case.good.bars) {
        while broken.next_if(|it| it.ts < good.ts).is_some() {}
        let was_good = broken.peek().is_some_and(|it| same(it, good));
        let is_good = same(mine, good);
        undone &= is_good;
        harmed += usize::from(was_good && !is_good);
    }
    (undone && same_paid, harmed)
}

fn scale(bar: &mut Bar, columns: &[Column], factor: f64) {
    for column in columns {
        let cell = bar.cell(*column).unwrap();
        *cell = cell.map(|it| it * factor);
    }
}

const PRICED: [Column; 5] = [Column::Open, Column::High, Column::Low, Column::Close, Column::AdjClose];

fn unit(rng: &mut Random) -> f64 {
    if rng.happens(0.5) { 100.0 } else { 0.01 }
}

fn unit_cells(good: &Series, rng: &mut Random) -> Case {
    let mut broken = good.clone();
    let row = rng.within(0..good.bars.len());
    let count = rng.within(1..=2);
    let columns = rng.some_of(&PRICED, count);
    scale(&mut broken.bars[row], &columns, unit(rng));
    case(good, broken)
}

fn unit_rows(good: &Series, rng: &mut Random) -> Case {
    let mut broken = good.clone();
    for _ in 0..rng.within(1..=3) {
        let row = rng.within(0..good.bars.len() - 15);
        let (length, factor) = (rng.within(1..=15), unit(rng));
        if broken.bars[row..row + length] == good.bars[row..row + length] {
            broken.bars[row..row + length].iter_mut().for_each(|it| scale(it, &PRICED, factor));
        }
    }
    case(good, broken)
}

fn unit_switch(good: &Series, rng: &mut Random) -> Case {
    let mut broken = good.clone();
    let (row, factor) = (rng.within(20..good.bars.len() - 20), unit(rng));
    broken.bars[..row].iter_mut().for_each(|it| scale(it, &PRICED, factor));
    case(good, broken)
}

fn out_of_step(bars: &mut [Bar], ratio: f64) {
    for bar in bars {
        scale(bar, &PRICED, ratio);
        bar.volume = bar.volume.map(|it| it / ratio);
    }
}

fn some_split(good: &Series, rng: &mut Random) -> (Series, usize, f64) {
    let row = rng.within(20..good.bars.len() - 20);
    let (numerator, denominator) = rng.one_of(&RATIOS);
    let mut good = good.clone();
    good.actions.push(split(good.bars[row].date, (numerator, denominator)));
    (good, row, numerator / denominator)
}

fn split_missing(good: &Series, rng: &mut Random) -> Case {
    let (good, row, ratio) = some_split(good, rng);
    let mut broken = good.clone();
    out_of_step(&mut broken.bars[..row], ratio);
    case(&good, broken)
}

fn split_doubled(good: &Series, rng: &mut Random) -> Case {
    let (good, row, ratio) = some_split(good, rng);
    let mut broken = good.clone();
    out_of_step(&mut broken.bars[..row], 1.0 / ratio);
    case(&good, broken)
}

fn split_late(good: &Series, rng: &mut Random) -> Case {
    let (mut good, row, _) = some_split(good, rng);
    let ratio = rng.one_of(&[5.0, 10.0, 0.1, 0.04]);
    let date = good.bars[row].date;
    good.actions = vec![split(date, if ratio > 1.0 { (ratio, 1.0) } else { (1.0, (1.0 / ratio).round()) })];
    let mut broken = good.clone();
    let late = rng.within(1..=8);
    let end = if rng.happens(0.5) { row + late } else { row - late };
    out_of_step(&mut broken.bars[..end], ratio);
    case(&good, broken)
}

fn split_run(good: &Series, rng: &mut Random) -> Case {
    let (good, _, ratio) = some_split(good, rng);
    let mut broken = good.clone();
    let row = rng.within(1..good.bars.len() - 31);
    let length = rng.within(1..=30);
    let ratio = if rng.happens(0.5) { ratio } else { 1.0 / ratio };
    out_of_step(&mut broken.bars[row..row + length], ratio);
    case(&good, broken)
}

fn split_row(good: &Series, rng: &mut Random) -> Case {
    let (good, at, ratio) = some_split(good, rng);
    let mut broken = good.clone();
    let row = at + rng.within(0..10) - 5;
    let ratio = if rng.happens(0.5) { ratio } else { 1.0 / ratio };
    out_of_step(&mut broken.bars[row..=row], ratio);
    case(&good, broken)
}

/// The row of a dividend, the close before, its place among the actions.
fn some_dividend(good: &Series, rng: &mut Random) -> Option<(usize, f64, usize)> {
    let place = rng.within(0..good.actions.len().max(1));
    let action = good.actions.get(place)?;
    let row = good.bars.iter().position(|it| it.date == action.date)?;
    Some((row, good.bars[..row].iter().rev().find_map(|it| it.close)?, place))
}

/// Multiplies the step of the adjusted close at a row, as one that contains `held` would have to be to contain `paid`.
fn restep(series: &mut Series, row: usize, before: f64, held: f64, paid: f64) {
    let factor = (1.0 - paid / before) / (1.0 - held / before);
    for bar in &mut series.bars[..row] {
        bar.adj_close = bar.adj_close.map(|it| f64::from((it * factor) as f32));
    }
}

fn dividend_missing(good: &Series, rng: &mut Random) -> Option<Case> {
    let (row, before, place) = some_dividend(good, rng)?;
    let mut broken = good.clone();
    restep(&mut broken, row, before, good.actions[place].value?, 0.0);
    Some(case(good, broken))
}

fn dividend_amount(good: &Series, rng: &mut Random, factor: f64) -> Option<Case> {
    let (row, before, place) = some_dividend(good, rng)?;
    let amount = good.actions[place].value?;
    let mut broken = good.clone();
    let wrong = amount * factor;
    broken.actions[place].value = Some(wrong);
    // An adjusted close at or below zero is not served; then the adjusted close is right and the action alone wrong.
    if wrong < before * 0.95 && rng.happens(0.7) {
        restep(&mut broken, row, before, amount, wrong);
    }
    Some(case(good, broken))
}

/// Another row within a week, and its close before.
fn other_day(good: &Series, row: usize, rng: &mut Random) -> Option<(usize, f64)> {
    let other = (row + rng.within(0..=6)).checked_sub(3).filter(|it| *it != row && *it > 0)?;
    let (bar, before) = (good.bars.get(other)?, good.bars.get(other - 1)?.close?);
    bar.close?;
    Some((other, before))
}

fn wrong_day(good: &Series, rng: &mut Random, adjusted_too: bool) -> Option<Case> {
    let (row, before, place) = some_dividend(good, rng)?;
    let (other, before_other) = other_day(good, row, rng)?;
    let amount = good.actions[place].value?;
    let mut broken = good.clone();
    broken.actions[place].date = good.bars[other].date;
    if adjusted_too {
        restep(&mut broken, row, before, amount, 0.0);
        restep(&mut broken, other, before_other, 0.0, amount);
    }
    Some(case(good, broken))
}

fn twice(good: &Series, rng: &mut Random, adjusted_too: bool) -> Option<Case> {
    let (row, _, place) = some_dividend(good, rng)?;
    let (other, before) = other_day(good, row, rng)?;
    let amount = good.actions[place].value?;
    let mut broken = good.clone();
    broken.actions.push(payment(good.bars[other].date, Kind::Dividend, amount));
    if adjusted_too {
        restep(&mut broken, other, before, 0.0, amount);
    }
    Some(case(good, broken))
}

/// Closes as the value of a fund, and with a capital gain within each dividend.
fn fund(good: &Series) -> Series {
    let mut fund = good.clone();
    for bar in &mut fund.bars {
        (bar.open, bar.high, bar.low, bar.volume) = (bar.close, bar.close, bar.close, Some(0.0));
    }
    let gains: Vec<_> =
        fund.actions.iter().map(|it| payment(it.date, Kind::CapitalGain, it.value.unwrap() * 0.7)).collect();
    fund.actions.extend(gains);
    fund
}

fn counted_twice(good: &Series, rng: &mut Random) -> Option<Case> {
    let good = fund(good);
    let of = good.actions.iter().filter(|it| it.kind == Kind::Dividend).count();
    let place = rng.within(0..of.max(1));
    let action = good.actions.get(place)?;
    let row = good.bars.iter().position(|it| it.date == action.date)?;
    let before = good.bars[..row].iter().rev().find_map(|it| it.close)?;
    let amount = action.value?;
    let mut broken = good.clone();
    restep(&mut broken, row, before, amount, amount * 1.7);
    Some(case(&good, broken))
}

fn zeros(good: &Series, rng: &mut Random) -> Case {
    let (mut good, mut broken) = (good.clone(), good.clone());
    for _ in 0..rng.within(1..=5) {
        let row = rng.within(0..good.bars.len());
        for column in PRICED {
            let had_adjusted = column == Column::AdjClose && good.bars[row].adj_close.is_none();
            if !had_adjusted {
                *good.bars[row].cell(column).unwrap() = None;
                *broken.bars[row].cell(column).unwrap() = Some(0.0);
            }
        }
    }
    case(&good, broken)
}

/// Four bars a day that give the bar back.
fn quarters(bar: &Bar) -> Vec<Bar> {
    let prices = [bar.open, bar.high, bar.low, bar.close];
    let volume = bar.volume.map(|it| it / 4.0);
    let of = |(place, price): (usize, Option<f64>)| {
        let ts = bar.ts + place as i64 * 5_400_000_000;
        Bar { ts, open: price, high: price, low: price, close: price, volume, adj_close: None, ..*bar }
    };
    prices.into_iter().enumerate().map(of).collect()
}

fn lost_with_finer(good: &Series, rng: &mut Random) -> Option<Case> {
    let mut broken = good.clone();
    for _ in 0..rng.within(1..=5) {
        let row = rng.within(0..good.bars.len());
        let bar = &mut broken.bars[row];
        bar.open.and(bar.high).and(bar.low)?;
        (bar.open, bar.high, bar.low, bar.close) = (None, None, None, None);
        bar.volume = None;
    }
    Some(Case { broken, good: good.clone(), finer: good.bars.iter().flat_map(quarters).collect() })
}

fn adjusted_lost(good: &Series, rng: &mut Random) -> Option<Case> {
    let mut broken = good.clone();
    let row = rng.within(1..good.bars.len() - 1);
    let same = |it: usize| Some((good.bars[it].adj_close? / good.bars[it].close? * 1e5).round());
    (same(row - 1)? == same(row)? && same(row)? == same(row + 1)?).then_some(())?;
    if rng.happens(0.5) {
        broken.bars[row].adj_close = None
    } else {
        broken.bars[row].close = None
    }
    Some(case(good, broken))
}

fn phantom_bars(good: &Series, rng: &mut Random) -> Case {
    let mut broken = good.clone();
    for _ in 0..rng.within(1..=5) {
        let row = rng.within(0..broken.bars.len());
        let mut bar = broken.bars[row];
        let days = 5 - i64::from(bar.date.weekday().num_days_from_monday());
        bar.date += TimeDelta::days(days);
        bar.ts += TimeDelta::days(days).num_microseconds().unwrap();
        broken.bars.push(bar);
    }
    broken.bars.sort_by_key(|it| it.ts);
    case(good, broken)
}

#[derive(Default)]
struct Tally {
    injected: usize,
    undone: usize,
    harmed: usize,
}

fn measure(title: &str, base: &[Series], make: impl Fn(&Series, &mut Random) -> Option<Case>) -> f64 {
    let mut tally = Tally::default();
    for seed in 3000..3000 + SEEDS {
        let mut rng = Random::new(seed);
        for good in base {
            let Some(case) = make(good, &mut rng).filter(|it| it.broken != it.good) else { continue };
            let (undone, harmed) = judge(&case);
            tally.injected += 1;
            tally.undone += usize::from(undone);
            tally.harmed += harmed;
        }
    }
    let share = tally.undone as f64 / tally.injected.max(1) as f64;
    println!("| {title} | {} | {} | {:.1} % | {} |", tally.injected, tally.undone, share * 100.0, tally.harmed);
    share
}

#[test]
fn injected_errors_are_undone() {
    // Every second one: without optimisation all of them take minutes.
    let all = sp500().into_iter().map(|(_, it)| it).filter(|it| it.bars.len() >= 200);
    let mut base: Vec<Series> = all.step_by(2).collect();
    if base.is_empty() {
        return;
    }
    for series in &mut base {
        series.bars.iter_mut().for_each(|it| it.adj_close = it.close);
    }
    let mut rng = Random::new(3007);
    let mut paying = |share: f64| -> Vec<Series> {
        base.iter().map(|it| with_dividends(it, 63, share, &mut rng)).filter(|it| !it.actions.is_empty()).collect()
    };
    let (mut small, large) = (paying(0.007), paying(0.12));
    // Dividends that were paid: 52 of IBM, 37 of MSFT. Many times, as each time one of them is broken.
    let mut paid: Vec<Series> = bokeh().iter().map(|(_, it)| split_adjusted(it)).collect();
    for series in &mut paid {
        series.actions.retain(|it| it.kind == Kind::Dividend);
    }
    base.extend(paid.iter().cloned().map(|it| Series { actions: Vec::new(), ..it }));
    paid.retain(|it| it.actions.len() > 10);
    small.extend(std::iter::repeat_n(paid, 25).flatten());
    println!(
        "{} series, {} with small and {} with large dividends, seeds: {SEEDS}",
        base.len(),
        small.len(),
        large.len()
    );
    println!("| kind | injected | undone | share | rows harmed |\n|---|---|---|---|---|");
    let some = |make: fn(&Series, &mut Random) -> Case| move |good: &Series, rng: &mut Random| Some(make(good, rng));
    let times = |factor: f64| move |good: &Series, rng: &mut Random| dividend_amount(good, rng, factor);
    let day = |too: bool| move |good: &Series, rng: &mut Random| wrong_day(good, rng, too);
    let again = |too: bool| move |good: &Series, rng: &mut Random| twice(good, rng, too);
    let required = [
        measure("unit: one or two cells", &base, some(unit_cells)),
        measure("unit: one to three runs of 1 to 15 rows", &base, some(unit_rows)),
        measure("unit: from one day on", &base, some(unit_switch)),
        measure("split: missing", &base, some(split_missing)),
        measure("split: applied twice", &base, some(split_doubled)),
        measure("split: missing, 1 to 8 bars early or late, 5:1 and up", &base, some(split_late)),
        measure("split: run of 1 to 30 rows anywhere", &base, some(split_run)),
        measure("split: one row near the ex-date", &base, some(split_row)),
        measure("dividend: missing from adjusted close, 0.7 %", &small, dividend_missing),
        measure("dividend: missing from adjusted close, 12 %", &large, dividend_missing),
        measure("dividend: 100 times too large, 0.7 %", &small, times(100.0)),
        measure("dividend: 100 times too small, 0.7 %", &small, times(0.01)),
        measure("dividend: 100 times too small, 12 %", &large, times(0.01)),
        measure("dividend: wrong day in action, 0.7 %", &small, day(false)),
        measure("dividend: wrong day in action, 12 %", &large, day(false)),
        measure("dividend: wrong day in action and adjusted close, 12 %", &large, day(true)),
        measure("dividend: twice in actions, 0.7 %", &small, again(false)),
        measure("dividend: twice in actions, 12 %", &large, again(false)),
        measure("dividend: twice in actions and adjusted close, 12 %", &large, again(true)),
        measure("capital gain counted twice, dividend of 12 %", &large, counted_twice),
        measure("gap: rows of zeros marked as missing", &base, some(zeros)),
        measure("gap: rows lost, finer bars given", &base, lost_with_finer),
        measure("gap: close or adjusted close lost", &small, adjusted_lost),
        measure("calendar: copies on Saturdays", &base, some(phantom_bars)),
    ];
    println!("| not decidable by price: | | | | |");
    measure("dividend: wrong day in action and adjusted close, 0.7 %", &small, day(true));
    measure("dividend: twice in actions and adjusted close, 0.7 %", &small, again(true));
    measure("capital gain counted twice, dividend of 0.7 %", &small, counted_twice);
    assert!(required.iter().all(|it| *it >= REQUIRED), "{required:?}");
}

#[test]
fn saturdays_are_no_sessions_of_the_test_data() {
    let is_saturday = |bar: &Bar| bar.date.weekday() == Weekday::Sat;
    assert!(!sp500().iter().any(|(_, it)| it.bars.iter().any(is_saturday) || it.width != Width::Day));
}
