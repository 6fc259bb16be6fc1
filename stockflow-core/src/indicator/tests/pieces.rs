//! Every function that goes piece by piece, against TA-Lib's batch and against itself in other pieces.

use proptest::prelude::*;

use crate::indicator::definition::BarColumn;
use crate::indicator::running::{Out, Running};
use crate::indicator::{Definition, Domain, OutputKind, Value, catalogue};

/// One series for each input, all of one length.
type Series = Vec<Vec<f64>>;

/// The outputs of some rows: codes as numbers.
type Table = Vec<Vec<f64>>;

/// Prices of a kind that a kernel may stumble over.
#[derive(Debug, Clone, Copy)]
enum Market {
    Walk,
    /// Many equal rows, and rows equal to those of some time before.
    Coarse,
    Flat,
    /// Flat from the middle on.
    Stops,
    Rising,
    /// Small numbers.
    Pennies,
    /// Nothing traded: zeros between rows.
    Gaps,
}

const MARKETS: [Market; 7] =
    [Market::Walk, Market::Coarse, Market::Flat, Market::Stops, Market::Rising, Market::Pennies, Market::Gaps];

/// A small generator, so that a failing case can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Open, high, low, close and volume.
fn bars(market: Market, n: usize, seed: u64) -> [Vec<f64>; 5] {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    (0..3).for_each(|_| {
        dice.roll();
    });
    let mut price = 100.0;
    let mut columns: [Vec<f64>; 5] = Default::default();
    for i in 0..n {
        let mut step = dice.roll() - 0.5;
        let mut spread = dice.roll();
        let mut volume = (dice.roll() * 1e6).round();
        let mut open = price;
        match market {
            Market::Walk => {}
            Market::Coarse => {
                step = (step * 3.0).round();
                spread = (spread * 1.2).round();
                volume = (volume / 5e5).round() * 100.0;
            }
            Market::Flat => (step, spread, volume) = (0.0, 0.0, 1000.0),
            Market::Stops if i > n / 2 => (step, spread, volume) = (0.0, 0.0, 0.0),
            Market::Stops => {}
            Market::Rising => (step, spread) = (step.abs(), 0.1),
            Market::Pennies => (step, spread) = (step * 1e-3, spread * 1e-3),
            Market::Gaps => {
                if (i / 40) % 3 == 1 {
                    volume = 0.0;
                }
            }
        }
        if matches!(market, Market::Pennies) && i == 0 {
            (price, open) = (0.1, 0.1);
        }
        price = (price + step).max(0.01);
        columns[0].push(open);
        columns[1].push(open.max(price) + spread);
        columns[2].push((open.min(price) - spread).max(0.001));
        columns[3].push(price);
        columns[4].push(volume);
    }
    if matches!(market, Market::Gaps) {
        // One series that is nothing for a while, as an indicator of another function may be.
        for (i, close) in columns[3].iter_mut().enumerate() {
            *close = if (i / 60) % 3 == 2 { 0.0 } else { *close };
        }
    }
    columns
}

fn series(definition: &Definition, market: Market, n: usize, seed: u64) -> Series {
    let bars = bars(market, n, seed);
    let column = |it: Option<BarColumn>| match it {
        Some(BarColumn::Open) => 0,
        Some(BarColumn::High) => 1,
        Some(BarColumn::Low) => 2,
        Some(BarColumn::Close) | None => 3,
        Some(BarColumn::Volume) => 4,
    };
    definition.inputs.iter().map(|it| bars[column(it.column)].clone()).collect()
}

/// Calls `run` with a place for each output of `n` rows, and gives what it left there.
fn with_places<T>(definition: &Definition, n: usize, run: impl FnOnce(&mut [Out<'_>]) -> T) -> (T, Table) {
    let mut reals = vec![vec![f64::NAN; n]; definition.outputs.len()];
    let mut integers = vec![vec![i32::MIN; n]; definition.outputs.len()];
    let buffers = reals.iter_mut().zip(&mut integers);
    let mut places: Vec<Out<'_>> = buffers
        .zip(&definition.outputs)
        .map(|((reals, integers), output)| match output.kind {
            OutputKind::Float64 => Out::Real(reals),
            OutputKind::Int32 => Out::Integer(integers),
        })
        .collect();
    let result = run(&mut places);
    for ((reals, integers), output) in reals.iter_mut().zip(&integers).zip(&definition.outputs) {
        if output.kind == OutputKind::Int32 {
            *reals = integers.iter().map(|it| f64::from(*it)).collect();
        }
    }
    (result, reals)
}

fn talib(definition: &Definition, values: &[Value], series: &Series) -> Table {
    let slices: Vec<&[f64]> = series.iter().map(Vec::as_slice).collect();
    let (result, table) =
        with_places(definition, series[0].len(), |places| definition.kernel.run(values, &slices, places));
    result.unwrap_or_else(|reason| panic!("{}: {reason}", definition.name));
    table
}

/// Goes on with some rows.
fn go_on(definition: &Definition, running: &mut dyn Running, series: &Series, rows: std::ops::Range<usize>) -> Table {
    let slices: Vec<&[f64]> = series.iter().map(|it| &it[rows.clone()]).collect();
    let (result, table) = with_places(definition, rows.len(), |places| running.update(&slices, places));
    result.unwrap_or_else(|reason| panic!("{}: {reason}", definition.name));
    table
}

/// The defaults, and values that make windows of one row, of two, of many and of kinds that are not the usual ones.
fn value_sets(definition: &Definition) -> Vec<Vec<Value>> {
    let mut sets = vec![definition.defaults()];
    let mut push = |set: Vec<Value>| {
        if definition.lookback(&set).is_ok() && !sets.contains(&set) {
            sets.push(set);
        }
    };
    for period in [1, 2, 3, 4, 5, 9, 34, 70] {
        let pick = |it: &Domain| match it {
            Domain::Integer { min, max, .. } => Value::Integer(period.clamp(*min, *max)),
            Domain::Real { default, .. } => Value::Real(*default),
            Domain::Choice { default, .. } => Value::Integer(*default),
        };
        push(definition.parameters.iter().map(|it| pick(&it.domain)).collect());
    }
    for (at, parameter) in definition.parameters.iter().enumerate() {
        let mut with = |value: Value| {
            let mut set = definition.defaults();
            set[at] = value;
            push(set);
        };
        match &parameter.domain {
            Domain::Choice { choices, .. } => choices.iter().for_each(|(code, _)| with(Value::Integer(*code))),
            Domain::Integer { min, .. } => {
                with(Value::Integer(*min));
                with(Value::Integer(40));
            }
            Domain::Real { min, max, default } => {
                with(Value::Real((default * 1.5).clamp(*min, *max)));
                with(Value::Real((default * 0.5).clamp(*min, *max)));
            }
        }
    }
    // All kinds of averages at once.
    for code in [1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 13] {
        let pick = |it: &Domain| match it {
            Domain::Integer { default, .. } => Value::Integer(*default),
            Domain::Real { default, .. } => Value::Real(*default),
            Domain::Choice { .. } => Value::Integer(code),
        };
        push(definition.parameters.iter().map(|it| pick(&it.domain)).collect());
    }
    sets
}

fn close_enough(ours: f64, theirs: f64, scale: f64) -> bool {
    ours == theirs
        || (!ours.is_finite() && !theirs.is_finite())
        || (ours - theirs).abs() <= 1e-9 * ours.abs().max(theirs.abs()) + 1e-9 * scale.max(1.0)
}

/// Functions through whose pieces only rounding shows: TA-Lib itself runs over the last rows.
fn is_exact(definition: &Definition) -> bool {
    crate::indicator::functions::unit(&definition.name).is_some()
}

fn running_functions() -> impl Iterator<Item = (&'static Definition, Vec<Value>, Box<dyn Running>)> {
    catalogue().iter().flat_map(|definition| {
        value_sets(definition).into_iter().filter_map(move |values| {
            let running = definition.kernel.start(&values)?;
            Some((definition, values, running))
        })
    })
}

fn assert_same(what: &str, ours: &Table, theirs: &Table, from: usize, same: impl Fn(f64, f64, f64) -> bool) -> usize {
    for (k, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let mut scale = 0f64;
        for (row, (ours, theirs)) in ours.iter().zip(theirs).enumerate().skip(from) {
            scale = if theirs.is_finite() { scale.max(theirs.abs()) } else { scale };
            if !same(*ours, *theirs, scale) {
                println!("FAIL {what}: output {k} at row {row} is {ours:e}, not {theirs:e} (scale {scale:e})");
                return 1;
            }
        }
    }
    0
}

#[test]
fn one_piece_gives_what_talib_gives() {
    let mut failures = 0;
    for (definition, values, mut running) in running_functions() {
        let lookback = definition.lookback(&values).unwrap_or(0);
        for (k, market) in MARKETS.into_iter().enumerate() {
            for n in [1, 2, lookback.max(1), lookback + 1, lookback + 2, lookback + 700] {
                let series = series(definition, market, n, k as u64 + 7);
                running.reset();
                let ours = go_on(definition, running.as_mut(), &series, 0..n);
                if n > lookback {
                    let theirs = talib(definition, &values, &series);
                    let what = format!("{} {values:?} over {n} rows of {market:?}", definition.name);
                    let failed = assert_same(&what, &ours, &theirs, lookback, close_enough);
                    failures += failed;
                    if failed > 0 {
                        break;
                    }
                }
            }
        }
    }
    assert_eq!(failures, 0);
}

#[test]
fn pieces_and_restarts_change_nothing() {
    let mut failures = 0;
    for (definition, values, mut running) in running_functions() {
        for (k, market) in MARKETS.into_iter().enumerate() {
            let lookback = definition.lookback(&values).unwrap_or(0);
            let n = lookback + 300;
            let series = series(definition, market, n, k as u64 + 77);
            running.reset();
            let whole = go_on(definition, running.as_mut(), &series, 0..n);
            let mut dice = Dice(k as u64 + 3);
            running.reset();
            let mut at = 0;
            let mut table: Table = vec![Vec::new(); definition.outputs.len()];
            while at < n {
                let size = match (dice.roll() * 6.0) as usize {
                    0 => 0,
                    1 | 2 => 1,
                    3 => 5,
                    4 => (dice.roll() * 60.0) as usize,
                    _ => lookback,
                };
                let to = (at + size).min(n);
                let part = go_on(definition, running.as_mut(), &series, at..to);
                table.iter_mut().zip(part).for_each(|(all, part)| all.extend(part));
                at = to;
                if dice.roll() < 0.7 {
                    let mut state = Vec::new();
                    running.save(&mut state);
                    assert!(state.iter().all(|it| it.is_finite()), "{}: {state:?}", definition.name);
                    let Some(mut next) = definition.kernel.start(&values) else { panic!("it started before") };
                    if dice.roll() < 0.3 {
                        // One that has been used does as well.
                        go_on(definition, next.as_mut(), &series, 0..n / 3);
                    }
                    next.load(&state).unwrap_or_else(|reason| panic!("{} {values:?}: {reason}", definition.name));
                    running = next;
                }
            }
            let what = format!("{} {values:?} in pieces of {market:?}", definition.name);
            let same = |a: f64, b: f64, scale: f64| {
                let is_same = a == b || (a.is_nan() && b.is_nan());
                is_same || (!is_exact(definition) && close_enough(a, b, scale))
            };
            failures += assert_same(&what, &table, &whole, lookback, same);
        }
    }
    assert_eq!(failures, 0);
}

#[test]
fn states_that_cannot_be_are_refused() {
    let mut failures = 0;
    for (definition, values, mut running) in running_functions() {
        let n = definition.lookback(&values).unwrap_or(0) + 20;
        let series = series(definition, Market::Walk, n, 5);
        running.reset();
        go_on(definition, running.as_mut(), &series, 0..n);
        let mut state = Vec::new();
        running.save(&mut state);
        let mut wrong = vec![[&state[..], &[1.0]].concat()];
        if !state.is_empty() {
            wrong.push(state[..state.len() - 1].to_vec());
            wrong.push(Vec::new());
        }
        for wrong in &wrong {
            let mut again = Vec::new();
            // The state of a shorter series is one as well where the number of rows is all that tells how many there
            // were.
            if running.load(wrong).is_ok() && {
                running.save(&mut again);
                again != *wrong || wrong.len() > state.len()
            } {
                println!("FAIL {} {values:?} takes {} numbers for {}", definition.name, wrong.len(), state.len());
                failures += 1;
            }
        }
        // Whatever a number may be, it is taken or refused, and what is taken can be gone on with.
        for at in 0..state.len().min(40) {
            for number in [f64::NAN, f64::INFINITY, -1.0, -0.5, 0.5, 0.0, 1.0, 1e300, -1e300, 5e-324, 1e9] {
                let mut odd = state.clone();
                odd[at] = number;
                if running.load(&odd).is_ok() {
                    go_on(definition, running.as_mut(), &series, 0..1);
                    go_on(definition, running.as_mut(), &series, 1..n);
                }
            }
        }
    }
    assert_eq!(failures, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cuts_give_the_same(seed in 0u64..1_000_000, cuts in prop::collection::vec(0usize..120, 1..12)) {
        let market = MARKETS[seed as usize % MARKETS.len()];
        for definition in catalogue().iter() {
            let values = definition.defaults();
            let Some(mut running) = definition.kernel.start(&values) else { continue };
            let n = cuts.iter().sum::<usize>();
            if n == 0 { continue; }
            let series = series(definition, market, n, seed);
            let whole = go_on(definition, running.as_mut(), &series, 0..n);
            running.reset();
            let mut at = 0;
            let mut table: Table = vec![Vec::new(); definition.outputs.len()];
            for cut in &cuts {
                let part = go_on(definition, running.as_mut(), &series, at..at + cut);
                table.iter_mut().zip(part).for_each(|(all, part)| all.extend(part));
                at += cut;
            }
            let lookback = definition.lookback(&values).unwrap_or(0);
            let same = |a: f64, b: f64, scale: f64| {
                a == b || (a.is_nan() && b.is_nan()) || (!is_exact(definition) && close_enough(a, b, scale))
            };
            prop_assert_eq!(assert_same(&definition.name, &table, &whole, lookback, same), 0);
        }
    }
}
