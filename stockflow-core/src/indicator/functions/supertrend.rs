//! Supertrend: a stop some average true ranges from the middle of the bar, which only ever follows the price.
//! Source: TA-Lib `SUPERTREND`.

use std::hint::select_unpredictable;

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period, real};
use super::leap::TILE;
use super::restored::restored;
use super::smooth::Smooth;
use super::true_range::{greater, lesser, true_range};
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit = Unit {
    name: "supertrend",
    kind: StateKind::Recursive,
    keeps: "the average true range, the last close, both bands and the direction",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (average, multiplier) = (Smooth::wilder(period(values, 0)), real(values, 1));
    Some(Box::new(Supertrend { average, multiplier, close: None, bands: None }))
}

#[derive(Debug)]
struct Supertrend {
    average: Smooth,
    multiplier: f64,
    close: Option<f64>,
    bands: Option<Bands>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Bands {
    upper: f64,
    lower: f64,
    is_up: bool,
}

impl Bands {
    /// The bands after a row, given those that would stand alone; never with a branch, which prices make unpredictable.
    #[inline(always)]
    fn next(self, upper: f64, lower: f64, before: f64, close: f64) -> Self {
        let bound = select_unpredictable(before > self.upper, f64::INFINITY, self.upper);
        let upper = lesser(upper, bound);
        let bound = select_unpredictable(before < self.lower, f64::NEG_INFINITY, self.lower);
        let lower = greater(lower, bound);
        Self { upper, lower, is_up: (self.is_up & (close >= lower)) | (!self.is_up & (close > upper)) }
    }

    /// The band that is the stop, and the direction.
    #[inline(always)]
    fn stop(self) -> (f64, i32) {
        if self.is_up { (self.lower, 1) } else { (self.upper, -1) }
    }
}

/// The bands that stand alone around the middle of a bar.
#[inline(always)]
fn around(high: f64, low: f64, width: f64) -> (f64, f64) {
    let middle = (high + low) / 2.0;
    (middle + width, middle - width)
}

impl Supertrend {
    #[inline(always)]
    fn step(&mut self, high: f64, low: f64, close: f64) -> Option<Bands> {
        let before = self.close.replace(close)?;
        let average = self.average.step(true_range(high, low, before))?;
        let (upper, lower) = around(high, low, self.multiplier * average);
        let bands = match self.bands {
            // The first bands belong to an upward trend, whatever the price does.
            None => Bands { upper, lower, is_up: true },
            Some(last) => last.next(upper, lower, before, close),
        };
        self.bands = Some(bands);
        self.bands
    }
}

impl Rows for Supertrend {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [stop, trend]) = (inputs, outputs) else {
            return Err("it reads three series and gives two".into());
        };
        let mut rows = high.iter().zip(*low).zip(*close).zip(stop.real().iter_mut().zip(trend.integer()));
        let (mut bands, mut before) = loop {
            if let (Some(bands), Some(close)) = (self.bands, self.close) {
                break (bands, close);
            }
            let Some((((high, low), close), (stop, trend))) = rows.next() else { return Ok(()) };
            (*stop, *trend) = self.step(*high, *low, *close).unwrap_or_default().stop();
        };
        let (mut average, multiplier) = (self.average.clone(), self.multiplier);
        let mut lowers = [0.0; TILE];
        let rest = rows.len();
        let [high, low, close] = [high, low, close].map(|it| it[it.len() - rest..].chunks(TILE));
        let (stop, trend) = (stop.real(), trend.integer());
        let n = stop.len() - rest;
        let outs = stop[n..].chunks_mut(TILE).zip(trend[n..].chunks_mut(TILE));
        for (((high, low), close), (stop, trend)) in high.zip(low).zip(close).zip(outs) {
            let bars = high.iter().zip(low).zip(close);
            let outs = stop.iter_mut().zip(&mut *trend).zip(&mut lowers);
            for (((high, low), close), ((stop, trend), lowest)) in bars.zip(outs) {
                let (upper, lower) = around(*high, *low, multiplier * average.go(true_range(*high, *low, before)));
                bands = bands.next(upper, lower, before, *close);
                before = *close;
                (*stop, *lowest, *trend) = (bands.upper, bands.lower, 2 * i32::from(bands.is_up) - 1);
            }
            // Chosen afterwards and by bits: a choice of numbers by a flag is a branch, which the prices make
            // unpredictable.
            for ((stop, trend), lower) in stop.iter_mut().zip(trend).zip(&lowers) {
                let is_down = (i64::from(*trend) >> 63) as u64;
                *stop = f64::from_bits((stop.to_bits() & is_down) | (lower.to_bits() & !is_down));
            }
        }
        self.average = average;
        (self.bands, self.close) = (Some(bands), Some(before));
        Ok(())
    }
}

impl Running for Supertrend {
    fn reset(&mut self) {
        self.average.reset();
        (self.close, self.bands) = (None, None);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        let bands = self.bands.unwrap_or_default();
        let flags = [self.close.is_some(), self.bands.is_some(), bands.is_up];
        state.extend(flags.map(|it| f64::from(u8::from(it))));
        state.extend([self.close.unwrap_or(0.0), bands.upper, bands.lower]);
        self.average.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        let (has_close, has_bands) = (saved.count(1)? == 1, saved.count(1)? == 1);
        let is_up = saved.count(1)? == 1;
        let close = saved.number()?;
        let bands = Bands { upper: saved.number()?, lower: saved.number()?, is_up };
        self.close = has_close.then_some(close);
        self.bands = has_bands.then_some(bands);
        self.average.load(&mut saved)?;
        saved.end()
    }
}
