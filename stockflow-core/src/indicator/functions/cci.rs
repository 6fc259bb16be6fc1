//! Commodity channel index: how far the typical price is from its mean over the last rows, in mean absolute
//! deviations. Source: TA-Lib `CCI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::decay::PASS;
use super::mfi::typical;
use super::restored::restored;

pub(crate) static UNIT: Unit =
    Unit { name: "cci", kind: StateKind::Window, keeps: "the typical prices of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let period = period(values, 0).max(1);
    Some(Box::new(Cci { period, prices: Vec::with_capacity(period + PASS) }))
}

/// Rows whose windows are summed side by side.
const LANES: usize = 8;

#[derive(Debug)]
struct Cci {
    period: usize,
    /// The typical prices of the last `period - 1` rows or fewer; during a pass, those of its rows behind them.
    prices: Vec<f64>,
}

/// The indices of as many windows as there are lanes, the first of which begins with the first price.
///
/// Each window is summed anew: a running sum would leave a rest where the prices stand still.
#[inline(always)]
fn indices<const N: usize>(prices: &[f64], period: usize) -> [f64; N] {
    let windows = || prices.windows(N).take(period);
    let mut means = [0.0; N];
    for window in windows() {
        for (mean, price) in means.iter_mut().zip(window) {
            *mean += *price;
        }
    }
    for mean in &mut means {
        *mean /= period as f64;
    }
    let mut deviations = [0.0; N];
    for window in windows() {
        for ((deviation, price), mean) in deviations.iter_mut().zip(window).zip(&means) {
            *deviation += (*price - *mean).abs();
        }
    }
    let mut indices = [0.0; N];
    let last = &prices[period - 1..];
    for (((index, deviation), mean), last) in indices.iter_mut().zip(deviations).zip(means).zip(last) {
        let (distance, deviation) = (last - mean, deviation / period as f64);
        let unit = 0.015 * deviation;
        let least = 1e-14 * mean.abs();
        let value = distance / unit;
        let is_any = (distance.abs() > least) & (deviation > least) & (unit != 0.0);
        *index = if is_any { value } else { 0.0 };
    }
    indices
}

impl Running for Cci {
    fn reset(&mut self) {
        self.prices.clear();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [out]) = (inputs, outputs) else { return Err("it reads three series".into()) };
        let bars = high.chunks(PASS).zip(low.chunks(PASS)).zip(close.chunks(PASS));
        for (((high, low), close), out) in bars.zip(out.real().chunks_mut(PASS)) {
            let rows = high.iter().zip(low).zip(close);
            self.prices.extend(rows.map(|((high, low), close)| typical(*high, *low, *close)));
            let n_windows = (self.prices.len() + 1).saturating_sub(self.period).min(out.len());
            let n_short = out.len() - n_windows;
            let (blocks, rest) = out[n_short..].as_chunks_mut::<LANES>();
            let mut at = 0;
            for block in blocks {
                *block = indices::<LANES>(&self.prices[at..], self.period);
                at += LANES;
            }
            for out in rest {
                [*out] = indices::<1>(&self.prices[at..], self.period);
                at += 1;
            }
            self.prices.drain(..at);
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend_from_slice(&self.prices);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        if state.len() >= self.period {
            return Err(format!("{} rows for a period of {}", state.len(), self.period));
        }
        let mut saved = restored(state)?;
        self.prices.clear();
        self.prices.extend_from_slice(saved.numbers(state.len())?);
        saved.end()
    }
}
