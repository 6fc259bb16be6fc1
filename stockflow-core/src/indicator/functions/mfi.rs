//! Money flow index: the part of the money in rising bars over the last rows, in percent. Source: TA-Lib `MFI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::decay::PASS;
use super::restored::restored;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit =
    Unit { name: "mfi", kind: StateKind::Window, keeps: "the sums and the money flows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let period = period(values, 0).max(1);
    let flows = Vec::with_capacity(period + PASS);
    Some(Box::new(Mfi { period, last: None, idle: 0, rising: 0.0, falling: 0.0, up: flows.clone(), down: flows }))
}

#[derive(Debug)]
struct Mfi {
    period: usize,
    /// The typical price of the last bar.
    last: Option<f64>,
    /// Rows without money flow up to the last one, at most the period.
    idle: usize,
    rising: f64,
    falling: f64,
    /// The rising flows of the window, oldest first, as long as it is not full fewer than the period.
    up: Vec<f64>,
    down: Vec<f64>,
}

/// Cheaper than a division, and the last bit of a typical price does not matter here.
const THIRD: f64 = 1.0 / 3.0;

/// The mean of a bar's high, low and close.
#[inline(always)]
pub(crate) fn typical(high: f64, low: f64, close: f64) -> f64 {
    (high + low + close) / 3.0
}

impl Mfi {
    /// At most [`PASS`] rows.
    #[inline(always)]
    fn pass(&mut self, bars: [&[f64]; 4], out: &mut [f64]) {
        let mut bars = bars;
        let mut out = out;
        if self.last.is_none() {
            // The very first bar has nothing to be compared with and no flow.
            self.last = typical_of_first(bars[0], bars[1], bars[2]);
            out[0] = 0.0;
            out = &mut out[1..];
            bars = bars.map(|it| &it[1..]);
        }
        let Some(last) = self.last else { return };
        let [high, low, close, volume] = bars;
        let n = out.len().min(PASS);
        let mut prices = [last; PASS + 1];
        for (((price, high), low), close) in prices[1..].iter_mut().zip(high).zip(low).zip(close) {
            *price = (high + low + close) * THIRD;
        }
        self.last = Some(prices[n]);
        let n_window = self.up.len();
        self.up.resize(n_window + n, 0.0);
        self.down.resize(n_window + n, 0.0);
        let is_idle = flows(&prices[..=n], volume, &mut self.up[n_window..], &mut self.down[n_window..]);
        let filling = self.period.saturating_sub(n_window).min(n);
        let old = n - filling;
        if is_idle || filling > 0 {
            for (k, out) in out.iter_mut().enumerate() {
                let (old_up, old_down) =
                    if k < filling { (0.0, 0.0) } else { (self.up[k - filling], self.down[k - filling]) };
                *out = self.step(self.up[n_window + k] - old_up, self.down[n_window + k] - old_down, n_window + k);
            }
        } else {
            self.idle = 0;
            let mut falling = [0.0; PASS];
            let falling = &mut falling[..n];
            changes(&self.up, &self.up[n_window..], out);
            changes(&self.down, &self.down[n_window..], falling);
            accumulate_pair(&mut self.rising, out, &mut self.falling, falling);
            for (out, falling) in out.iter_mut().zip(falling) {
                *out = index(*out, *falling);
            }
        }
        self.up.drain(..old);
        self.down.drain(..old);
    }

    /// One row, given by how much it changes the sums and where its flows are.
    #[inline(always)]
    fn step(&mut self, up: f64, down: f64, at: usize) -> f64 {
        self.rising += up;
        self.falling += down;
        self.idle = if self.up[at] + self.down[at] == 0.0 { self.idle + 1 } else { 0 };
        // Nothing has flowed in the whole window: what is left in the sums is rounding.
        if self.idle >= self.period {
            (self.idle, self.rising, self.falling) = (self.period, 0.0, 0.0);
        }
        index(self.rising, self.falling)
    }
}

/// The money flows of some bars, by the typical prices of those and of the bar before; whether any is nothing at all.
#[inline(always)]
fn flows(prices: &[f64], volume: &[f64], up: &mut [f64], down: &mut [f64]) -> bool {
    let mut is_idle = false;
    let bars = prices[1..].iter().zip(prices).zip(volume);
    for ((up, down), ((price, before), volume)) in up.iter_mut().zip(down).zip(bars) {
        let rise = price - before;
        let flow = price * volume;
        let flow = if rise.abs() > 1e-14 * (price.abs() + before.abs()) { flow } else { 0.0 };
        *up = if rise < 0.0 { 0.0 } else { flow };
        *down = if rise < 0.0 { flow } else { 0.0 };
        is_idle |= flow == 0.0;
    }
    is_idle
}

/// By how much the sums of a window change when it moves on.
#[inline(always)]
fn changes(old: &[f64], new: &[f64], out: &mut [f64]) {
    for ((out, old), new) in out.iter_mut().zip(old).zip(new) {
        *out = new - old;
    }
}

/// Makes sums of what some rows add, for two series side by side.
#[inline(always)]
fn accumulate_pair(sum: &mut f64, rows: &mut [f64], other_sum: &mut f64, other_rows: &mut [f64]) {
    let (mut total, mut other_total) = (*sum, *other_sum);
    for (row, other_row) in rows.iter_mut().zip(other_rows) {
        total += *row;
        other_total += *other_row;
        (*row, *other_row) = (total, other_total);
    }
    (*sum, *other_sum) = (total, other_total);
}

fn typical_of_first(high: &[f64], low: &[f64], close: &[f64]) -> Option<f64> {
    Some((high.first()? + low.first()? + close.first()?) * THIRD)
}

/// The rising part in percent, kept within its bounds against rounding.
#[inline(always)]
fn index(rising: f64, falling: f64) -> f64 {
    let total = rising + falling;
    let part = if rising > total { total } else { rising };
    let part = if rising < 0.0 { 0.0 } else { part };
    let index = 100.0 * (part / total);
    if total <= 0.0 { 0.0 } else { index }
}

impl Rows for Mfi {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close, volume], [out]) = (inputs, outputs) else { return Err("it reads four series".into()) };
        let bars = high.chunks(PASS).zip(low.chunks(PASS)).zip(close.chunks(PASS).zip(volume.chunks(PASS)));
        for (((high, low), (close, volume)), out) in bars.zip(out.real().chunks_mut(PASS)) {
            self.pass([high, low, close, volume], out);
        }
        Ok(())
    }
}

impl Running for Mfi {
    fn reset(&mut self) {
        (self.last, self.idle, self.rising, self.falling) = (None, 0, 0.0, 0.0);
        self.up.clear();
        self.down.clear();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        let Some(last) = self.last else { return state.push(0.0) };
        state.extend([1.0, last, self.idle as f64, self.rising, self.falling]);
        state.extend_from_slice(&self.up);
        state.extend_from_slice(&self.down);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        self.reset();
        let mut saved = restored(state)?;
        if saved.count(1)? == 1 {
            self.last = Some(saved.number()?);
            self.idle = saved.count(self.period)?;
            self.rising = saved.number()?;
            self.falling = saved.number()?;
            let n = (state.len() - 5) / 2;
            if n > self.period {
                return Err(format!("{n} rows for a period of {}", self.period));
            }
            self.up.extend_from_slice(saved.numbers(n)?);
            self.down.extend_from_slice(saved.numbers(n)?);
        }
        saved.end()
    }
}
