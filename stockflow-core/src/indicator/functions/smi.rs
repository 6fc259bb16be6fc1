//! Stochastic momentum index: how far the close is from the middle of the window, in percent of half the window's
//! range, both averaged twice, and an average of that. Source: TA-Lib `SMI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::leap::TILE;
use super::peak::{Greatest, Least, Peak};
use super::restored::restored;
use super::smooth::Glide;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit = Unit {
    name: "smi",
    kind: StateKind::Recursive,
    keeps: "the highs and lows of the window and the five averages",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let window = period(values, 0).max(1);
    let (fast, slow) = (Glide::new(period(values, 1)), Glide::new(period(values, 2)));
    Some(Box::new(Smi {
        highs: Peak::new(window),
        lows: Peak::new(window),
        cold: window - 1,
        seen: 0,
        distance: [slow.clone(), fast.clone()],
        range: [slow, fast],
        signal: Glide::new(period(values, 3)),
    }))
}

#[derive(Debug)]
struct Smi {
    highs: Peak<Greatest>,
    lows: Peak<Least>,
    /// Rows before the window is full.
    cold: usize,
    /// Rows so far, at most those.
    seen: usize,
    /// Both averages of the distance from the middle, and of the range.
    distance: [Glide; 2],
    range: [Glide; 2],
    signal: Glide,
}

impl Smi {
    fn averages(&mut self) -> impl Iterator<Item = &mut Glide> {
        self.distance.iter_mut().chain(&mut self.range).chain([&mut self.signal])
    }
}

/// Averages these rows twice in their place, by way of other rows; returns how many come before the first value.
#[inline(always)]
fn twice([slow, fast]: &mut [Glide; 2], rows: &mut [f64], between: &mut [f64]) -> usize {
    let cold = slow.run(rows, between);
    cold + fast.run(&between[cold..rows.len()], &mut rows[cold..])
}

impl Rows for Smi {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [index, signal]) = (inputs, outputs) else {
            return Err("it reads three series and gives two".into());
        };
        let [mut distances, mut ranges, mut between] = [[0.0; TILE]; 3];
        let bars = high.chunks(TILE).zip(low.chunks(TILE)).zip(close.chunks(TILE));
        let lines = index.real().chunks_mut(TILE).zip(signal.real().chunks_mut(TILE));
        for (((high, low), close), (index, signal)) in bars.zip(lines) {
            let n = close.len();
            let (distances, ranges) = (&mut distances[..n], &mut ranges[..n]);
            self.highs.run(high, distances);
            self.lows.run(low, ranges);
            for ((distance, range), close) in distances.iter_mut().zip(&mut *ranges).zip(close) {
                let (highest, lowest) = (*distance, *range);
                (*distance, *range) = (close - (highest + lowest) * 0.5, highest - lowest);
            }
            let skipped = (self.cold - self.seen).min(n);
            self.seen += skipped;
            twice(&mut self.range, &mut ranges[skipped..], &mut between);
            let cold = skipped + twice(&mut self.distance, &mut distances[skipped..], &mut between);
            index[..cold].fill(0.0);
            for ((index, distance), range) in index.iter_mut().zip(distances).zip(ranges).skip(cold) {
                // Divided before anyone asks whether that is allowed: so the compiler divides several rows at once.
                let share = 100.0 * *distance / (0.5 * *range);
                *index = if 0.5 * *range > 0.0 { share } else { 0.0 };
            }
            let first = cold + self.signal.run(&index[cold..], &mut signal[cold..]);
            signal[..first].fill(0.0);
        }
        Ok(())
    }
}

impl Running for Smi {
    fn reset(&mut self) {
        self.highs.reset();
        self.lows.reset();
        self.averages().for_each(Glide::reset);
        self.seen = 0;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.seen as f64);
        self.distance.iter().chain(&self.range).chain([&self.signal]).for_each(|it| it.save(state));
        self.highs.save(state);
        self.lows.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.seen = saved.count(self.cold)?;
        self.averages().try_for_each(|it| it.load(&mut saved))?;
        self.highs.load(&mut saved)?;
        self.lows.load(&mut saved)?;
        saved.end()
    }
}
